package linker

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

var errTooLarge = errors.New("file is too large")

// descriptor is an open file without what package os does for files that can
// block, which costs five system calls for each. Everything that is read here is
// a regular file or one of /proc, and an open that would wait for a FIFO's writer
// does not.
type descriptor int

func openFile(path string) (descriptor, error) {
	for {
		fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		return descriptor(fd), nil
	}
}

func (d descriptor) close() { _ = syscall.Close(int(d)) }

// Read implements io.Reader.
func (d descriptor) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(d), p)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// ReadAt implements io.ReaderAt.
func (d descriptor) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		m, err := syscall.Pread(int(d), p[n:], at+int64(n))
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return n, err
		case m == 0:
			return n, io.EOF
		default:
			n += m
		}
	}
	return n, nil
}

// path is the file's real path, as the kernel knows it.
func (d descriptor) path() (string, error) { return os.Readlink(fdPath(uintptr(d))) }

// readLimited reads a file that has at most limit bytes.
func readLimited(path string, limit int) ([]byte, error) {
	d, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer d.close()
	p := make([]byte, 0, 4096)
	for {
		n, err := d.Read(p[len(p):cap(p)])
		p = p[:len(p)+n]
		switch {
		case len(p) > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return p, nil
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case len(p) == cap(p):
			p = append(make([]byte, 0, 4*cap(p)), p...)
		}
	}
}

// size returns a file's size in bytes, and whether it is a regular file.
func (d descriptor) size() (int64, bool) {
	var s syscall.Stat_t
	if err := syscall.Fstat(int(d), &s); err != nil {
		return 0, false
	}
	return s.Size, s.Mode&syscall.S_IFMT == syscall.S_IFREG
}

// hash returns the SHA-1 of a file.
func (d descriptor) hash() (string, error) {
	h := sha1.New()
	buf := make([]byte, 64<<10)
	for at := int64(0); ; {
		n, err := d.ReadAt(buf, at)
		h.Write(buf[:n])
		at += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("hash the output: %w", err)
		}
	}
}
