package ingest

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// The first bytes of compressed files. What has no reader is refused: taken for a plain
// log it would be one of other programs' lines, and complete.
var magic = []struct {
	name  string
	bytes []byte
	open  func(io.Reader) (io.Reader, func(), error)
}{
	{"gzip", []byte{0x1f, 0x8b}, func(r io.Reader) (io.Reader, func(), error) {
		z, err := gzip.NewReader(r)
		return z, func() {}, err
	}},
	{"zstd", []byte{0x28, 0xb5, 0x2f, 0xfd}, func(r io.Reader) (io.Reader, func(), error) {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, func() {}, err
		}
		return z, z.Close, nil
	}},
	{"xz", []byte{0xfd, '7', 'z', 'X', 'Z', 0}, func(r io.Reader) (io.Reader, func(), error) {
		whole := &xzSource{r: bufio.NewReader(r)}
		z, err := xz.NewReader(whole)
		return xzReader{z, whole}, func() {}, err
	}},
	{"bzip2", []byte("BZh"), func(r io.Reader) (io.Reader, func(), error) {
		return bzip2.NewReader(r), func() {}, nil
	}},
	{"lz4", []byte{0x04, 0x22, 0x4d, 0x18}, nil},
	{"lzip", []byte("LZIP"), nil},
	{"lzma", []byte{0x5d, 0, 0}, nil},
	{"compress", []byte{0x1f, 0x9d}, nil},
	{"zip", []byte("PK\x03\x04"), nil},
}

// skippable begins, but for the lower half of its first byte, a frame that readers of
// zstd pass over. pzstd writes one in front.
var skippable = []byte{0x50, 0x2a, 0x4d, 0x18}

// ErrDamaged is wrapped by the error of reading a compressed source that is
// cut off or broken. What stood before the damage has been read.
var ErrDamaged = errors.New("compressed data is damaged")

// decompress returns r's content, told by its first bytes, the name of the
// compression ("" for plain) and what frees its memory.
func decompress(r *bufio.Reader) (io.Reader, string, func(), error) {
	head, err := r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", func() {}, err
	}
	if len(head) >= len(skippable) && head[0]&0xf0 == skippable[0] && bytes.Equal(head[1:len(skippable)], skippable[1:]) {
		head = []byte{0x28, 0xb5, 0x2f, 0xfd}
	}
	for _, m := range magic {
		if bytes.HasPrefix(head, m.bytes) {
			if m.open == nil {
				return nil, "", func() {}, fmt.Errorf("compressed by %s, which is not read: decompress it first", m.name)
			}
			z, release, err := m.open(r)
			if err != nil {
				return nil, "", func() {}, damage(m.name, err)
			}
			return damageReader{z, m.name}, m.name, release, nil
		}
	}
	return r, "", func() {}, nil
}

// xzSource remembers the last two bytes that were read but for padding: those
// of a whole file are the footer's magic, YZ.
type xzSource struct {
	r    *bufio.Reader
	last [2]byte
}

func (s *xzSource) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for _, c := range p[max(0, n-8):n] {
		s.note(c)
	}
	return n, err
}

func (s *xzSource) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.note(c)
	}
	return c, err
}

func (s *xzSource) note(c byte) {
	if c != 0 {
		s.last = [2]byte{s.last[1], c}
	}
}

// xzReader tells a file that is cut off where a block could begin from a whole
// one, which the package xz does not.
type xzReader struct {
	z      io.Reader
	source *xzSource
}

func (x xzReader) Read(p []byte) (int, error) {
	n, err := x.z.Read(p)
	if errors.Is(err, io.EOF) && x.source.last != [2]byte{'Y', 'Z'} {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// damageReader marks the errors of a decompressor.
type damageReader struct {
	z    io.Reader
	name string
}

func (d damageReader) Read(p []byte) (int, error) {
	n, err := d.z.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = damage(d.name, err)
	}
	return n, err
}

// damage makes a decompressor's error one of damage, unless it is the file's: the rest
// of that may be there the next time.
func damage(name string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w (%s): cut off", ErrDamaged, name)
	}
	return fmt.Errorf("%w (%s): %w", ErrDamaged, name, err)
}
