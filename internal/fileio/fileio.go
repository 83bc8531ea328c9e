// Package fileio opens and reads what may keep its reader waiting: terminals,
// pipes, FIFOs, also those that nobody has opened for writing yet.
//
// [Open] and [NewReader] wait no longer than a context. They do not make a file
// that others share non-blocking, because for the shell that started us it would
// be that, too: they ask the kernel whether there is something to read. [Regular]
// opens what must be there whole, and refuses all else.
package fileio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotRegular is wrapped when a regular file is wanted: a pipe, for example,
// cannot be read twice.
var ErrNotRegular = errors.New("not a regular file")

// A Reader reads until its context ends: then the error is the context's. It is
// for one goroutine.
type Reader struct {
	ctx  context.Context //nolint:containedctx // io.Reader takes none
	r    io.Reader
	file *os.File // r, if it is a file
	own  bool     // the file is closed with the reader

	// A file's reader waits for the other end of a pipe, too, which is closed when
	// the context ends.
	wake, waker *os.File
	forget      func() bool
}

// NewReader reads r, which stays open when the reader is closed. What is no file
// is asked for more only while the context lasts, but keeps the reader waiting.
func NewReader(ctx context.Context, r io.Reader) (*Reader, error) {
	f, ok := r.(*os.File)
	if !ok {
		return &Reader{ctx: ctx, r: r}, nil
	}
	wake, waker, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	reader := &Reader{ctx: ctx, r: f, file: f, wake: wake, waker: waker}
	reader.forget = context.AfterFunc(ctx, func() { waker.Close() })
	return reader, nil
}

// IsFile reports whether the reader reads a file, so that its context ends a Read
// that waits.
func (r *Reader) IsFile() bool { return r.file != nil }

// Open opens a file of any kind. Where a FIFO has no writer yet, it is reading
// that waits for one.
func Open(ctx context.Context, name string) (*Reader, error) {
	fd, err := openNow(name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	r, err := NewReader(ctx, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.own = true
	return r, nil
}

// openNow opens a file without waiting for the writer of a FIFO. Its reads may
// wait, because who reads it has asked whether they do.
func openNow(name string) (fd int, err error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	for {
		fd, err = unix.Open(name, flags, 0)
		switch {
		case errors.Is(err, unix.EAGAIN) && flags&unix.O_NONBLOCK != 0:
			flags &^= unix.O_NONBLOCK // a file server's lease, which it gives back to who waits
			continue
		case errors.Is(err, unix.EINTR): // which a network file system may give
			continue
		}
		break
	}
	if err == nil {
		err = unix.SetNonblock(fd, false)
	}
	if err != nil {
		return fd, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

// Regular opens a regular file; the error is [ErrNotRegular] for any other kind.
func Regular(name string) (*os.File, error) {
	fd, err := openNow(name)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
		if info.IsDir() {
			err = &fs.PathError{Op: "read", Path: name, Err: syscall.EISDIR}
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Read implements [io.Reader].
func (r *Reader) Read(p []byte) (int, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		if r.file == nil {
			return r.r.Read(p)
		}
		ready, err := r.poll()
		if err != nil {
			return 0, &fs.PathError{Op: "read", Path: r.file.Name(), Err: err}
		}
		if !ready {
			continue
		}
		n, err := r.file.Read(p)
		if n > 0 || !errors.Is(err, unix.EAGAIN) { // another reader of the same file was faster
			return n, err
		}
	}
}

// poll waits until there is something to read, the end of the file included, or
// the context has ended.
func (r *Reader) poll() (ready bool, err error) {
	fd, err := descriptor(r.file)
	if err != nil {
		return false, err
	}
	wake, err := descriptor(r.wake)
	if err != nil {
		return false, err
	}
	fds := []unix.PollFd{{Fd: fd, Events: unix.POLLIN}, {Fd: wake, Events: unix.POLLIN}}
	for {
		if _, err = unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return fds[0].Revents != 0, err
}

// descriptor is that of an open file, whose mode stays as it is.
func descriptor(f *os.File) (fd int32, err error) {
	c, err := f.SyscallConn()
	if err == nil {
		err = c.Control(func(n uintptr) { fd = int32(n) })
	}
	return fd, err
}

// Stat tells what is read; the error is [fs.ErrInvalid] if it is no file.
func (r *Reader) Stat() (fs.FileInfo, error) {
	if r.file == nil {
		return nil, fs.ErrInvalid
	}
	return r.file.Stat()
}

// Close closes what [Open] opened.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	if r.forget() { // else the context's end closes it
		r.waker.Close()
	}
	err := r.wake.Close()
	if r.own {
		err = errors.Join(err, r.file.Close())
	}
	return err
}
