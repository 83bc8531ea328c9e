package rmap

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// stage writes a text beside dir/name if that would change it; nil if not. The
// file is read back and compared, and given to check if there is one, before
// anything is replaced.
func stage(dir, name, old string, mode fs.FileMode, encode encoding, check func(io.Reader) error) (s *staged, err error) {
	target := filepath.Join(dir, name)
	switch equal, err := same(target, encode); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("write %s: %w", target, err)
	case equal:
		return nil, nil
	}
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", target, err)
	}
	s = &staged{dir: dir, name: name, temp: f.Name(), old: old}
	var hash maphash.Hash // to compare with what is read back
	hash.SetSeed(hashSeed)
	err = encode(func(b []byte) error {
		_, _ = hash.Write(b) // never fails
		_, err := f.Write(b)
		return err
	})
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = readBack(s.temp, hash.Sum64(), check)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", target, err), s.drop())
	}
	return s, nil
}

// text is the encoding of a text that is there already.
func text(data []byte) encoding {
	return func(emit func([]byte) error) error { return emit(data) }
}

// errDiffers ends a comparison.
var errDiffers = errors.New("the file differs")

// same tells whether a file holds exactly a text.
func same(name string, encode encoding) (equal bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	buf := make([]byte, encodeChunk)
	err = encode(func(b []byte) error {
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

// readBack reads a file that was just written, compares its hash and has it
// checked.
func readBack(name string, want uint64, check func(io.Reader) error) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	var got maphash.Hash
	got.SetSeed(hashSeed)
	r := io.TeeReader(f, &got)
	if check != nil {
		if err := check(r); err != nil {
			return fmt.Errorf("check it before it is installed: %w", err)
		}
	}
	if _, err := io.CopyBuffer(io.Discard, r, make([]byte, encodeChunk)); err != nil {
		return err
	}
	if got.Sum64() != want {
		return errors.New("the file reads back other than it was written")
	}
	return nil
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
	s, err := stage(filepath.Dir(name), filepath.Base(name), "", mode, text(data), nil)
	if err != nil || s == nil {
		return err
	}
	return s.commit()
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
