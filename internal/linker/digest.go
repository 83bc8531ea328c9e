package linker

import (
	"crypto/sha256"
	"hash"
	"io"
	"os"
	"strconv"
)

// digest hashes a sequence of texts and files, each with its length, so that
// their borders count.
type digest struct{ h hash.Hash }

func newDigest() digest { return digest{sha256.New()} }

func (d digest) text(s string) {
	_, _ = io.WriteString(d.h, "t"+strconv.Itoa(len(s))+" "+s)
}

// file adds a file's content, or its name if it is not there.
func (d digest) file(path string) {
	f, err := os.Open(path)
	if err != nil {
		d.text(path)
		return
	}
	defer f.Close()
	one := sha256.New()
	if _, err := io.Copy(one, struct{ io.Reader }{f}); err != nil {
		d.text(path)
		return
	}
	_, _ = d.h.Write(one.Sum([]byte("f")))
}

func (d digest) sum() []byte { return d.h.Sum(nil) }
