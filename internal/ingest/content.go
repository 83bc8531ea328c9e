package ingest

import (
	"crypto/sha256"
	"encoding"
	"errors"
	"hash"

	"xaltpipe/internal/xalt"
)

// content names the bytes of a log up to a position, three times as fast as
// SHA-256 would: it is the SHA-256 of the keys of its blocks, under a secret of the
// source. Nobody who writes into a log knows the secret, and so nobody can
// make another log with the same content.
type content struct {
	secret xalt.Secret
	keyer  *xalt.Keyer
	keys   hash.Hash // of whole blocks
	rest   []byte    // of the block that is not whole
}

const (
	// contentBlock is the size of a block in bytes.
	contentBlock = 16 << 10
	// contentVersion is the first byte of a state.
	contentVersion = 2
)

var errState = errors.New("no state of a content")

// stateHead is how long a state is without the block that is not whole.
var stateHead = len(newContent(xalt.Secret{}).state())

// newContent returns that of no bytes.
func newContent(secret xalt.Secret) *content {
	return &content{secret: secret, keyer: xalt.NewKeyer(secret), keys: sha256.New(), rest: make([]byte, 0, contentBlock)}
}

// contentOf reads a state.
func contentOf(state []byte) (*content, error) {
	if len(state) < stateHead || len(state) >= stateHead+contentBlock || state[0] != contentVersion {
		return nil, errState
	}
	c := newContent(xalt.Secret(state[1 : 1+len(xalt.Secret{})]))
	if err := c.keys.(encoding.BinaryUnmarshaler).UnmarshalBinary(state[1+len(c.secret) : stateHead]); err != nil {
		return nil, errors.Join(errState, err)
	}
	c.rest = append(c.rest, state[stateHead:]...)
	return c, nil
}

// Write implements [io.Writer]; it does not fail.
func (c *content) Write(p []byte) (int, error) {
	c.add(p)
	return len(p), nil
}

// add takes in the bytes that come next.
func (c *content) add(p []byte) {
	if len(c.rest) > 0 {
		fill := min(contentBlock-len(c.rest), len(p))
		c.rest = append(c.rest, p[:fill]...)
		p = p[fill:]
		if len(c.rest) < contentBlock {
			return
		}
		c.block(c.rest)
		c.rest = c.rest[:0]
	}
	for ; len(p) >= contentBlock; p = p[contentBlock:] {
		c.block(p[:contentBlock])
	}
	c.rest = append(c.rest, p...)
}

func (c *content) block(p []byte) {
	key := c.keyer.Key(p)
	c.keys.Write(key[:])
}

// state is what is kept of the content: contentOf goes on from it.
func (c *content) state() []byte {
	state := append([]byte{contentVersion}, c.secret[:]...)
	keys, err := c.keys.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err) // sha256 cannot fail here
	}
	return append(append(state, keys...), c.rest...)
}
