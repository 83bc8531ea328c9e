package xalt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// Kind says what a record is about.
type Kind string

// The kinds of records; Skip is written by xalt-wrap only.
const (
	KindLink Kind = "link"
	KindRun  Kind = "run"
	KindPkg  Kind = "pkg"
	KindSkip Kind = "skip"
)

// Limits on what a block's header may say. MaxBlocks times the largest block
// in use is well above any record seen; a header name is bounded because it
// becomes part of an index.
const (
	MaxBlocks = 65536
	maxName   = 255
)

// Version is the newest version of blocks that XALT 3.2 writes; above it they are read
// in the same way.
const Version = 4

// ErrBlock is wrapped by every error of [ParseBlock].
var ErrBlock = errors.New("malformed XALT block")

// Block is one part of a record, as one syslog message carries it. The byte
// slices point into the message.
type Block struct {
	Version int    // 1 to ...
	Kind    []byte // not checked against the known kinds
	Syshost []byte // from the field, else from the tag
	Key     []byte // link_<uuid>, run_strt_<uuid>, run_fini_<uuid>, pkg_<uuid>_<12 hex>; empty in version 1
	HasCRC  bool   // the header names a CRC (versions 4 and up)
	CRC     uint16
	Index   int   // 0 to Count-1
	Count   int   // 1 to MaxBlocks
	Epoch   int64 // seconds since 1970 when the record was made, 0 if not said
	Value   []byte
}

// ParseBlock reads the text that follows the tag XALT_LOGGING_<syshost> in a
// syslog message; syshost is the tag's, for headers that name none. The text
// may begin with ":", blanks and RFC 5424's "- - -". It may be wrapped in
// rsyslog's "message repeated 2 times: [ ...]". The error wraps [ErrBlock] and
// says which field is wrong.
func ParseBlock(text, syshost []byte, b *Block) error {
	*b = Block{Syshost: syshost}
	rest := unwrap(bytes.TrimLeft(text, ": -"))
	if kind, value, ok := bytes.Cut(bytes.TrimPrefix(rest, []byte("V:1 ")), []byte(":")); ok && isVersion1(kind) {
		b.Version, b.Kind, b.Value, b.Count = 1, kind, bytes.TrimSpace(value), 1
		return nil
	}
	if len(rest) < 4 || rest[0] != 'V' || rest[1] != ':' {
		i := bytes.Index(rest, []byte(" V:"))
		if i < 0 {
			return fmt.Errorf("%w: no version (V:n)", ErrBlock)
		}
		rest = rest[i+1:]
	}
	var seen fieldSet
	for {
		for len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
		colon := bytes.IndexByte(rest, ':')
		if colon < 0 {
			return fmt.Errorf("%w: no value", ErrBlock)
		}
		name := rest[:colon]
		name = name[bytes.LastIndexByte(name, ' ')+1:] // a word without a colon is no field
		rest = rest[colon+1:]
		if string(name) == "value" {
			b.Value = rest
			break
		}
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			return fmt.Errorf("%w: no value", ErrBlock)
		}
		value := rest[:end]
		rest = rest[end:]
		if err := b.field(name, value, &seen); err != nil {
			return err
		}
	}
	return b.check(seen)
}

// BlockParser reads blocks one after the other. In the headers of one record
// nothing differs but the index, so that mostly a header need only be compared
// with the one before. The zero value is ready.
type BlockParser struct {
	header  []byte // of the block before, from the text's start to "value:"
	index   int    // where the digits of idx begin in it
	rest    int    // where they end
	syshost []byte // the tag's
	block   Block
}

// Parse is [ParseBlock], but that the block's slices are valid only until the
// next call.
func (p *BlockParser) Parse(text, syshost []byte, b *Block) error {
	if p.again(text, syshost, b) {
		return nil
	}
	err := ParseBlock(text, syshost, b)
	if err == nil {
		p.remember(text, syshost, b)
	}
	return err
}

// again reads a block whose header is that of the block before but for the
// index.
func (p *BlockParser) again(text, syshost []byte, b *Block) bool {
	if p.rest == 0 || len(text) < p.rest || string(text[:p.index]) != string(p.header[:p.index]) || string(syshost) != string(p.syshost) {
		return false
	}
	index, i := 0, p.index
	for i < len(text) && i < p.index+6 && text[i] >= '0' && text[i] <= '9' {
		index = index*10 + int(text[i]-'0')
		i++
	}
	rest := p.header[p.rest:]
	if i == p.index || index >= p.block.Count || len(text) < i+len(rest) || string(text[i:i+len(rest)]) != string(rest) {
		return false
	}
	*b = p.block
	b.Index, b.Value = index, text[i+len(rest):]
	return true
}

// remember keeps the header of a block, if it is like most.
func (p *BlockParser) remember(text, syshost []byte, b *Block) {
	p.rest = 0
	length := len(text) - len(b.Value)
	if b.Version < 2 || !bytes.HasSuffix(text[:length], []byte(" value:")) || bytes.Contains(text[:length], []byte("repeated")) {
		return
	}
	p.header = append(p.header[:0], text[:length]...)
	p.syshost = append(p.syshost[:0], syshost...)
	i := bytes.Index(p.header, []byte(" idx:"))
	if i < 0 || bytes.Count(p.header, []byte("idx:")) != 1 || ParseBlock(p.header, p.syshost, &p.block) != nil {
		return
	}
	p.index = i + len(" idx:")
	p.rest = p.index + bytes.IndexByte(p.header[p.index:], ' ')
}

// unwrap takes a message out of "message repeated 2 times: [ ...]".
func unwrap(text []byte) []byte {
	if !bytes.HasPrefix(text, []byte("message repeated ")) {
		return text
	}
	_, inside, ok := bytes.Cut(text, []byte("times: ["))
	if !ok {
		return text
	}
	return bytes.TrimLeft(bytes.TrimSuffix(inside, []byte("]")), ": -")
}

func isVersion1(kind []byte) bool {
	switch Kind(kind) {
	case KindLink, KindRun, KindPkg, KindSkip:
		return true
	}
	return false
}

// fieldSet remembers which of the fields that a block needs were there.
type fieldSet struct{ version, kind, key, index, count bool }

func (b *Block) field(name, value []byte, seen *fieldSet) (err error) {
	switch string(name) {
	case "V":
		b.Version, err = number(name, value)
		seen.version = true
	case "kind":
		b.Kind, seen.kind = value, true
	case "syshost":
		b.Syshost = value
	case "key":
		b.Key, seen.key = value, true
	case "idx":
		b.Index, err = number(name, value)
		seen.index = true
	case "nb":
		b.Count, err = number(name, value)
		seen.count = true
	case "crc", "crcStr":
		b.CRC, err = parseCRC(value)
		b.HasCRC = true
	case "epoch":
		var f float64
		if f, err = strconv.ParseFloat(string(value), 64); err == nil && f > 0 && f < MaxTime {
			b.Epoch = int64(f)
		}
		err = nil // only a hint
	}
	return err
}

func (b *Block) check(seen fieldSet) error {
	if b.Version < 4 {
		b.HasCRC, b.CRC = false, 0
	}
	switch {
	case !seen.version || b.Version < 1:
		return fmt.Errorf("%w: bad version", ErrBlock)
	case b.Version == 1:
		return fmt.Errorf("%w: version 1 has no header", ErrBlock)
	case !seen.kind || len(b.Kind) == 0:
		return fmt.Errorf("%w: no kind", ErrBlock)
	case len(b.Syshost) == 0:
		return fmt.Errorf("%w: no syshost", ErrBlock)
	case !seen.key || len(b.Key) == 0:
		return fmt.Errorf("%w: no key", ErrBlock)
	case !seen.index:
		return fmt.Errorf("%w: no idx", ErrBlock)
	case !seen.count:
		return fmt.Errorf("%w: no nb", ErrBlock)
	case b.Count < 1 || b.Count > MaxBlocks:
		return fmt.Errorf("%w: nb %d is not between 1 and %d", ErrBlock, b.Count, MaxBlocks)
	case b.Index >= b.Count:
		return fmt.Errorf("%w: idx %d is not below nb %d", ErrBlock, b.Index, b.Count)
	case len(b.Kind) > maxName || len(b.Syshost) > maxName || len(b.Key) > maxName:
		return fmt.Errorf("%w: kind, syshost or key is longer than %d bytes", ErrBlock, maxName)
	}
	return nil
}

// number reads a small decimal number, zero-padded or not.
func number(name, value []byte) (int, error) {
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' || n > 1e8 {
			return 0, fmt.Errorf("%w: %s is %.40q", ErrBlock, name, value)
		}
		n = n*10 + int(c-'0')
	}
	if len(value) == 0 {
		return 0, fmt.Errorf("%w: %s is empty", ErrBlock, name)
	}
	return n, nil
}

func parseCRC(value []byte) (crc uint16, err error) {
	if len(value) < 3 || len(value) > 6 || value[0] != '0' || value[1]|0x20 != 'x' {
		return 0, fmt.Errorf("%w: crc is %.40q", ErrBlock, value)
	}
	for _, c := range value[2:] {
		digit, ok := hexDigit(c)
		if !ok {
			return 0, fmt.Errorf("%w: crc is %.40q", ErrBlock, value)
		}
		crc = crc<<4 | digit
	}
	return crc, nil
}

// kindOf is a conversion, without memory for those that are known.
func kindOf(b []byte) Kind {
	for _, k := range [...]Kind{KindRun, KindLink, KindPkg, KindSkip} {
		if string(b) == string(k) {
			return k
		}
	}
	return Kind(b)
}

// encoding is how a version writes a record's text into blocks.
type encoding byte

const (
	plainText  encoding = 'p' // versions 3 and up
	base64zlib encoding = 'z' // version 2
)

func (b *Block) encoding() encoding {
	if b.Version == 2 {
		return base64zlib
	}
	return plainText
}

// Identity names the blocks that belong together: a hash of encoding, kind,
// syshost, key, CRC and nb. Its first six bytes are those of the key's UUID,
// so that identities of time-ordered UUIDs sort by time and an index on them
// grows at its end.
type Identity [16]byte

// String returns the identity in hexadecimal.
func (id Identity) String() string { return hex.EncodeToString(id[:]) }

// Identity returns the identity of the block's group.
func (b *Block) Identity() Identity {
	var stack [256]byte
	h := append(stack[:0], byte(b.encoding()))
	for _, part := range [...][]byte{b.Kind, b.Syshost, b.Key} {
		h = binary.LittleEndian.AppendUint32(h, uint32(len(part)))
		h = append(h, part...)
	}
	h = binary.LittleEndian.AppendUint32(h, uint32(b.Count))
	if b.HasCRC {
		h = binary.LittleEndian.AppendUint16(h, b.CRC)
	}
	return newIdentity(b.Key, h)
}

// ContentIdentity is the identity of a record that is known by its text alone:
// a record without a CRC, of version 1, or from a file of its own. role keeps
// identities of different things apart.
func ContentIdentity(role string, key, content []byte) Identity {
	sum := sha256.New()
	sum.Write([]byte(role))
	sum.Write([]byte{0})
	sum.Write(key)
	sum.Write([]byte{0})
	sum.Write(content)
	return newIdentity(key, sum.Sum(nil))
}

func newIdentity(key, material []byte) (id Identity) {
	sum := sha256.Sum256(material)
	copy(id[:], sum[:])
	// A UUID stands at the end of a key, or is followed by _<12 hex> in a pkg key.
	for _, name := range [...]string{"run_fini_", "run_strt_", "pkg_", "link_", "skip_"} {
		if uuid, ok := bytes.CutPrefix(key, []byte(name)); ok && len(uuid) >= 13 && uuid[8] == '-' {
			var prefix [6]byte
			if _, err := hex.Decode(prefix[:4], uuid[:8]); err != nil {
				break
			}
			if _, err := hex.Decode(prefix[4:], uuid[9:13]); err != nil {
				break
			}
			copy(id[:6], prefix[:])
			break
		}
	}
	return id
}

// Append adds the block's message text (what follows the tag) to dst, in the
// field order of XALT 3.2.4. [ParseBlock] reads it back. It is also the form
// in which dead blocks are kept.
func (b *Block) Append(dst []byte) []byte {
	if b.Version == 1 {
		dst = append(dst, b.Kind...)
		dst = append(dst, ':')
		return append(dst, b.Value...)
	}
	dst = fmt.Appendf(dst, "V:%d kind:%s syshost:%s key:%s ", b.Version, b.Kind, b.Syshost, b.Key)
	if b.HasCRC {
		dst = fmt.Appendf(dst, "crcStr:0x%04X ", b.CRC)
	}
	dst = fmt.Appendf(dst, "nb:%02d idx:%02d ", b.Count, b.Index)
	if b.Epoch > 0 {
		dst = fmt.Appendf(dst, "epoch:%d ", b.Epoch)
	}
	dst = append(dst, "value:"...)
	return append(dst, b.Value...)
}
