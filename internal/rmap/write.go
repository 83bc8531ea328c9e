package rmap

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// tempPrefix begins the names of temporary files; what a killed run left
// behind is removed by the next one, which holds the lock.
const tempPrefix = ".rmap-merge-tmp-"

// A staged file is written and synced under a temporary name.
type staged struct {
	dir, name, temp string
	old             string // file that keeps the present content, or ""
	step            func() // called between the steps, in tests; may be nil
}

func (s *staged) between() {
	if s.step != nil {
		s.step()
	}
}

// An output is a text on its way to its file.
type output struct {
	dir, name string
	old       string // file that keeps the present content; "" for none
	mode      fs.FileMode
	encode    encoding
	check     func(io.Reader) error // of what was written; nil for none
	sum       hash.Hash             // gets the text; nil if nobody wants it

	staged *staged // once it is written; nil if the file would not change
	err    error
}

// stage writes the text beside its place if that would change the file. What
// was written is read back and compared, and given to check, before anything is
// replaced.
func (o *output) stage() {
	target := filepath.Join(o.dir, o.name)
	if o.staged, o.err = o.write(target); o.err != nil {
		o.err = fmt.Errorf("write %s: %w", target, o.err)
	}
}

func (o *output) write(target string) (*staged, error) {
	switch equal, err := o.same(target); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case equal:
		return nil, nil
	}
	f, err := os.CreateTemp(o.dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	s := &staged{dir: o.dir, name: o.name, temp: f.Name(), old: o.old}
	var quick maphash.Hash // to compare with what is read back
	quick.SetSeed(hashSeed)
	err = o.encode(func(b []byte) error {
		_, _ = quick.Write(b) // never fails
		_, err := f.Write(b)
		return err
	})
	if err == nil {
		inherit(f)
		err = f.Chmod(o.mode)
	}
	if err == nil {
		// What is read back comes from memory anyway, so that it need not
		// wait for the disk.
		var wg sync.WaitGroup
		var serr error
		wg.Go(func() { serr = f.Sync() })
		err = o.readBack(s.temp, quick.Sum64())
		wg.Wait()
		err = errors.Join(err, serr)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, errors.Join(err, s.drop())
	}
	return s, nil
}

// inherit gives a file or directory that root has just made to the owner of the
// directory it is in: that user's next run must be able to read and replace it.
// Where root may not do that, it stays root's.
func inherit(f *os.File) {
	if os.Geteuid() != 0 {
		return
	}
	st, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return
	}
	if up, ok := st.Sys().(*syscall.Stat_t); ok && up.Uid != 0 {
		_ = f.Chown(int(up.Uid), int(up.Gid))
	}
}

// mkdir makes a directory, which inherits its owner.
func mkdir(name string, mode fs.FileMode) error {
	if err := os.Mkdir(name, mode); err != nil {
		return err
	}
	// Whoever owns the directory above may have put something else there.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	inherit(f)
	return f.Close()
}

// text is the encoding of a text that is there already.
func text(data []byte) encoding {
	return func(emit func([]byte) error) error { return emit(data) }
}

// errDiffers ends a comparison.
var errDiffers = errors.New("the file differs")

// same tells whether a file holds exactly the text.
func (o *output) same(name string) (equal bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	if o.sum != nil {
		o.sum.Reset()
	}
	buf := make([]byte, encodeChunk)
	err = o.encode(func(b []byte) error {
		if o.sum != nil {
			_, _ = o.sum.Write(b) // never fails
		}
		for len(b) > 0 {
			n, err := io.ReadFull(f, buf[:min(len(b), len(buf))])
			if !bytes.Equal(buf[:n], b[:n]) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return errDiffers
			}
			if err != nil {
				return err
			}
			b = b[n:]
		}
		return nil
	})
	if err == nil {
		switch _, err = f.Read(buf[:1]); {
		case errors.Is(err, io.EOF):
			return true, nil
		case err == nil:
			return false, nil
		}
	}
	if errors.Is(err, errDiffers) {
		err = nil
	}
	return false, err
}

// readBack reads a file that was just written, has it checked, and compares its
// hash.
func (o *output) readBack(name string, want uint64) error {
	var wg sync.WaitGroup
	var cerr error
	if o.check != nil {
		wg.Go(func() {
			if cerr = readFrom(name, o.check); cerr != nil {
				cerr = fmt.Errorf("check it before it is installed: %w", cerr)
			}
		})
	}
	var quick maphash.Hash
	quick.SetSeed(hashSeed)
	var to io.Writer = &quick
	if o.sum != nil {
		o.sum.Reset()
		to = io.MultiWriter(to, o.sum)
	}
	err := readFrom(name, func(r io.Reader) error {
		_, err := io.CopyBuffer(to, r, make([]byte, encodeChunk))
		return err
	})
	wg.Wait()
	if err == nil && quick.Sum64() != want {
		err = errors.New("the file reads back other than it was written")
	}
	return errors.Join(cerr, err)
}

// readFrom gives an open file to a function.
func readFrom(name string, f func(io.Reader) error) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := file.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	return f(file)
}

func (s *staged) drop() error {
	if err := os.Remove(s.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// commit puts a staged file in its place. At every instant the name leads to
// the whole of the old or of the new content.
func (s *staged) commit() error {
	target := filepath.Join(s.dir, s.name)
	s.between()
	if s.old != "" {
		if err := s.keepOld(target); err != nil {
			return fmt.Errorf("keep the old %s: %w", target, err)
		}
	}
	s.between()
	if err := os.Rename(s.temp, target); err != nil {
		return fmt.Errorf("replace %s: %w", target, err)
	}
	s.between()
	return syncDir(s.dir)
}

// keepOld makes s.old another name of target's content; where the file system
// has no hard links, a copy.
func (s *staged) keepOld(target string) error {
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	temp, err := os.CreateTemp(s.dir, tempPrefix)
	if err != nil {
		return err
	}
	name := temp.Name()
	if err := temp.Close(); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	if err := os.Link(target, name); err != nil {
		data, rerr := os.ReadFile(target)
		if rerr != nil {
			return errors.Join(err, rerr)
		}
		if werr := os.WriteFile(name, data, 0o644); werr != nil { //nolint:gosec // a map is public
			return errors.Join(err, werr)
		}
	}
	s.between()
	// A rename between two names of one file does nothing and leaves both.
	if err := os.Rename(name, filepath.Join(s.dir, s.old)); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// WriteFile replaces a file of this package's user as the maps are replaced:
// temporary file in the same directory, sync, rename. An equal file is left
// alone.
func WriteFile(name string, data []byte, mode fs.FileMode) error {
	o := &output{dir: filepath.Dir(name), name: filepath.Base(name), mode: mode, encode: text(data)}
	if o.stage(); o.staged == nil {
		return o.err
	}
	return o.staged.commit()
}

// sweep removes temporary files that a killed run left in dir.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
