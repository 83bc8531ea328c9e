package emit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"xaltpipe/internal/xalt"
)

// Bounds of a user's spool directory.
const (
	maxSpooled      = 10000    // files
	maxSpooledBytes = 64 << 20 // of one file
)

// spool keeps a record in the user's own directory of the spool directory.
func (s *Sender) spool(kind xalt.Kind, key string, text []byte) error {
	root, err := s.userSpool()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	used, files, err := usage(root)
	if err != nil {
		return err
	}
	if used+int64(len(text)) > s.config.SpoolSize || files >= maxSpooled {
		return fmt.Errorf("%w: %d files, %d bytes", errTooFull, files, used)
	}
	return writeInRoot(root, s.fileName(kind, key, s.now()), text, 0o600)
}

// userSpool opens the directory SPOOL/<uid>, and makes it if it is not there.
// The spool directory is one like /tmp: anybody may have put something of that
// name there, a symlink for one. So it must be a directory of this user's that
// nobody else may write to, and everything in it is reached through the open
// directory.
func (s *Sender) userSpool() (*os.Root, error) {
	uid := os.Geteuid()
	spool, err := os.OpenRoot(s.config.Spool)
	if err != nil {
		return nil, err
	}
	defer func() { _ = spool.Close() }()
	name := strconv.Itoa(uid)
	if err := spool.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	info, err := spool.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("spool: %s is no directory", filepath.Join(s.config.Spool, name))
	}
	root, err := spool.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("spool: %s was replaced", filepath.Join(s.config.Spool, name))
	}
	if st, ok := opened.Sys().(*syscall.Stat_t); err == nil && (!ok || int(st.Uid) != uid || opened.Mode().Perm()&0o022 != 0) {
		err = fmt.Errorf("spool: %s belongs to somebody else or may be written to by others", filepath.Join(s.config.Spool, name))
	}
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return root, nil
}

func usage(root *os.Root) (size int64, files int, err error) {
	list, err := readDir(root)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			size += info.Size()
		}
	}
	return size, len(list), nil
}

func readDir(root *os.Root) ([]fs.DirEntry, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	list, err := d.ReadDir(maxSpooled + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return list, err
}

// Flushed is what became of the records in a spool directory.
type Flushed struct{ Sent, Kept, Bad int }

// Flush sends what the spool directory holds: of this user, or for root of
// everybody. A record is removed after it was sent; those that cannot be sent
// stay, and files that are no record of their owner's are counted as bad and
// stay too. Several may be at work at once: each record is locked by one of
// them.
func (s *Sender) Flush() (Flushed, error) {
	var total Flushed
	spool, err := os.OpenRoot(s.config.Spool)
	if err != nil {
		return total, err
	}
	defer func() { _ = spool.Close() }()
	names := []string{strconv.Itoa(os.Geteuid())}
	if os.Geteuid() == 0 {
		names = nil
		list, err := readDir(spool)
		if err != nil {
			return total, err
		}
		for _, e := range list {
			if _, err := strconv.ParseUint(e.Name(), 10, 32); err == nil && e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	var errs []error
	for _, name := range names {
		root, err := spool.OpenRoot(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = s.flushUser(root, name, &total)
			_ = root.Close()
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return total, errors.Join(errs...)
}

// staleAfter is when a temporary file has been left behind.
const staleAfter = time.Hour

func (s *Sender) flushUser(root *os.Root, uid string, total *Flushed) error {
	list, err := readDir(root)
	if err != nil {
		return err
	}
	failures := 0
	var last error
	for _, e := range list {
		if isTemporary(e.Name()) {
			if info, err := e.Info(); err == nil && s.now().Sub(info.ModTime()) > staleAfter {
				_ = root.Remove(e.Name())
			}
			continue
		}
		if failures == maxFailures { // nobody is there to take them
			total.Kept++
			continue
		}
		sent, err := s.flushFile(root, e.Name(), uid)
		switch {
		case errors.Is(err, errNotOurs):
			total.Bad++
		case err != nil:
			total.Kept++
			failures++
			last = err
		case sent:
			total.Sent++
			failures = 0
		}
	}
	return last
}

// maxFailures in a row end a flush.
const maxFailures = 3

var errNotOurs = errors.New("no record")

// flushFile sends one record. sent is false without an error if another flush
// has it.
func (s *Sender) flushFile(root *os.Root, name, uid string) (sent bool, err error) {
	kind, syshost, key, ok := keyOf(name)
	if !ok {
		return false, errNotOurs
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, errNotOurs
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return false, nil
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && st.Nlink == 0 {
		return false, nil // it was sent between opening and locking
	}
	// The owner of the directory may have linked another's file into it.
	if !ok || !info.Mode().IsRegular() || st.Nlink != 1 || strconv.FormatUint(uint64(st.Uid), 10) != uid || info.Size() > maxSpooledBytes {
		return false, errNotOurs
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSpooledBytes))
	if err != nil {
		return false, err
	}
	text = bytes.TrimRight(text, "\n")
	if _, err := xalt.Decode(kind, text); err != nil {
		return false, errNotOurs
	}
	if s.config.Transport == TransportFile { // its name tells whose it is
		mode, err := s.config.fileMode()
		if err == nil {
			err = writeFile(s.config.Directory, name, text, mode)
		}
		if err != nil {
			return false, err
		}
		return true, root.Remove(name)
	}
	of := *s
	of.syshost = syshost
	of.now = func() time.Time { return info.ModTime() } // the messages' time is that of the record
	if err := of.Deliver(kind, key, text); err != nil {
		return false, err
	}
	return true, root.Remove(name)
}
