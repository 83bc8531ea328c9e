package rmap

import (
	"bytes"
	"errors"
	"fmt"
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

// stage writes data beside dir/name if that would change it; nil if not. The
// file is read back and compared before anything is replaced.
func stage(dir, name, old string, data []byte, mode fs.FileMode) (s *staged, err error) {
	target := filepath.Join(dir, name)
	switch same, err := holds(target, data); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("write %s: %w", target, err)
	case same:
		return nil, nil
	}
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", target, err)
	}
	s = &staged{dir: dir, name: name, temp: f.Name(), old: old}
	_, err = f.Write(data)
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
		var same bool
		if same, err = holds(s.temp, data); err == nil && !same {
			err = errors.New("the file reads back other than it was written")
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", target, err), s.drop())
	}
	return s, nil
}

// holds tells whether a file holds exactly data.
func holds(name string, data []byte) (same bool, err error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	st, err := f.Stat()
	if err != nil || st.Size() != int64(len(data)) {
		return false, err
	}
	buf := make([]byte, 256<<10)
	for len(data) > 0 {
		n, err := f.Read(buf)
		if n > len(data) || !bytes.Equal(buf[:n], data[:n]) {
			return false, nil
		}
		data = data[n:]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
	}
	return len(data) == 0, nil
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
	s, err := stage(filepath.Dir(name), filepath.Base(name), "", data, mode)
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
