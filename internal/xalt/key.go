package xalt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
)

// Key names bytes for those who know a secret: under one secret, equal keys
// mean equal bytes.
type Key [16]byte

// Secret is what keys are made with.
type Secret [16]byte

// NewSecret returns a random secret.
func NewSecret() (s Secret) {
	_, _ = rand.Read(s[:]) // it never fails
	return s
}

// Keyer makes keys, several times faster than SHA-256: the key is a MAC
// (GMAC), and who does not know its secret and sees no key cannot make two
// texts with one key better than by chance, which is below 2^-100. A Keyer is
// for one goroutine.
type Keyer struct {
	mac    cipher.AEAD
	nonce  []byte
	out    []byte // memory for a key
	secret Secret // for SHA-256 where GMAC is not to be had
}

// NewKeyer returns a Keyer with a secret.
func NewKeyer(secret Secret) *Keyer {
	k := &Keyer{secret: secret}
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		return k
	}
	if k.mac, err = cipher.NewGCM(block); err != nil { // in FIPS 140 mode
		k.mac = nil
		return k
	}
	k.nonce, k.out = make([]byte, k.mac.NonceSize()), make([]byte, 0, len(Key{}))
	return k
}

// Key returns the key of text.
func (k *Keyer) Key(text []byte) (key Key) {
	if k.mac == nil {
		sum := sha256.New()
		sum.Write(k.secret[:])
		sum.Write(text)
		copy(key[:], sum.Sum(nil))
		return key
	}
	copy(key[:], k.mac.Seal(k.out, k.nonce, nil, text))
	return key
}
