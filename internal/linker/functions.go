package linker

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Limits on the search for functions. It is done only where a tracked library was
// linked; a file beyond a limit is passed over, and said so in the trace.
const (
	maxTracked  = 16 << 20  // the list of tracked libraries
	maxIndex    = 256 << 20 // an archive's index
	maxObjects  = 4096      // objects that are looked into
	maxMembers  = 65536     // of an archive
	maxUntraced = 256 << 20 // bytes of an archive whose members are looked into
)

// tracked are the names of libraries whose functions are recorded.
type tracked map[string]bool

func (c *Config) tracked() tracked {
	names := tracked{}
	for _, name := range c.Tracked {
		names[name] = true
	}
	if c.TrackedFile != "" {
		text, err := readLimited(c.TrackedFile, maxTracked)
		if err != nil {
			c.tracef("tracked libraries: %v", err)
		}
		for line := range bytes.Lines(text) {
			if name := strings.TrimSpace(string(line)); name != "" {
				names[name] = true
			}
		}
	}
	return names
}

// has reports whether a library is in the list, by its base name or path, as the
// linker found it or as it is called really.
func (t tracked) has(l library) bool {
	return t[filepath.Base(l.given)] || t[filepath.Base(l.path)] || t[l.given] || t[l.path]
}

// functions returns the names of the functions that output takes from tracked
// libraries, sorted. The rules are in the package comment.
func (c *Config) functions(output string, files []string, libraries []library) []string {
	list := c.tracked()
	if len(list) == 0 {
		return nil
	}
	var shared, archives []library
	for _, l := range libraries {
		switch {
		case !list.has(l):
		case l.archive:
			archives = append(archives, l)
		default:
			shared = append(shared, l)
		}
	}
	if len(shared)+len(archives) == 0 {
		return nil
	}
	out, err := elf.Open(output)
	if err != nil {
		c.tracef("functions: %v", err)
		return nil
	}
	defer out.Close()

	found := map[string]bool{}
	if len(shared) > 0 {
		wanted := map[string]bool{}
		symbols, _ := out.DynamicSymbols()
		for _, s := range symbols {
			if s.Section == elf.SHN_UNDEF {
				wanted[s.Name] = true
			}
		}
		for _, l := range shared {
			if err := definedFunctions(l.path, wanted, found); err != nil {
				c.tracef("functions of %q: %v", l.path, err)
			}
		}
	}
	if len(archives) > 0 {
		c.staticFunctions(out, files, list, archives, libraries, found)
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// definedFunctions adds those of wanted that the shared library defines.
func definedFunctions(path string, wanted, found map[string]bool) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if s.Section != elf.SHN_UNDEF && isFunction(s) && wanted[s.Name] {
			found[s.Name] = true
		}
	}
	return nil
}

// sttGNUIfunc is a function that is chosen when the program starts.
const sttGNUIfunc = 10

func isFunction(s elf.Symbol) bool {
	t := elf.ST_TYPE(s.Info)
	return t == elf.STT_FUNC || t == sttGNUIfunc
}

// staticFunctions adds the functions taken from archives.
func (c *Config) staticFunctions(out *elf.File, files []string, list tracked, archives, libraries []library, found map[string]bool) {
	index := map[string]bool{}
	for _, l := range archives {
		if err := archiveIndex(l.path, index); err != nil {
			c.tracef("functions of %q: %v", l.path, err)
		}
	}
	// A stripped output cannot be asked; then the references alone decide.
	var defined map[string]bool
	if symbols, err := out.Symbols(); err == nil {
		defined = map[string]bool{}
		for _, s := range symbols {
			if s.Section != elf.SHN_UNDEF && isFunction(s) && index[s.Name] {
				defined[s.Name] = true
			}
		}
	}
	wanted, told := map[string]bool{}, true
	objects := 0
	for _, name := range files {
		if isObject(name) {
			if objects++; objects > maxObjects || !references(name, wanted) {
				told = false
			}
		}
	}
	for _, l := range libraries {
		if l.archive && !list.has(l) && !systemLibrary(l.path) {
			if err := archiveReferences(l.path, wanted); err != nil {
				c.tracef("references of %q: %v", l.path, err)
			}
		}
	}
	for name := range index {
		if (wanted[name] || !told && defined != nil) && (defined == nil || defined[name]) {
			found[name] = true
		}
	}
}

// systemLibrary reports whether a library is the system's own, which calls none of
// a site's.
func systemLibrary(path string) bool {
	return strings.HasPrefix(path, "/usr/lib") || strings.HasPrefix(path, "/lib")
}

func isObject(name string) bool {
	return strings.HasSuffix(name, ".o") || strings.HasSuffix(name, ".obj") || strings.HasSuffix(name, ".oS")
}

// references adds what an object refers to, and reports whether it could be told.
func references(path string, wanted map[string]bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return referencesOf(f, wanted)
}

func referencesOf(r io.ReaderAt, wanted map[string]bool) bool {
	f, err := elf.NewFile(r)
	if err != nil {
		return false // LLVM's bitcode among others
	}
	for _, s := range f.Sections {
		if strings.HasPrefix(s.Name, ".gnu.lto_") {
			return false
		}
	}
	symbols, err := f.Symbols()
	if err != nil {
		return errors.Is(err, elf.ErrNoSymbols)
	}
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF {
			wanted[s.Name] = true
		}
	}
	return true
}

// An archive begins with a line, and each member with a header of 60 bytes, which
// is text: the name in 16, and in 10 from 48 on the size.
const (
	archiveLine = "!<arch>\n"
	thinLine    = "!<thin>\n"
	memberSize  = 60
)

var errArchive = errors.New("not an archive with an index")

// member reads the header at an offset.
func member(r io.ReaderAt, at int64) (name string, size int64, err error) {
	var head [memberSize]byte
	if n, err := r.ReadAt(head[:], at); n != memberSize {
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		return "", 0, err
	}
	size, err = strconv.ParseInt(strings.TrimSpace(string(head[48:58])), 10, 64)
	if err != nil || size < 0 || head[58] != '`' {
		return "", 0, errArchive
	}
	return strings.TrimRight(string(head[:16]), " "), size, nil
}

// archiveIndex adds the names in an archive's index: those of the functions and
// variables that its members define.
func archiveIndex(path string, index map[string]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var line [len(archiveLine)]byte
	if n, _ := f.ReadAt(line[:], 0); n != len(line) || string(line[:]) != archiveLine && string(line[:]) != thinLine {
		return errArchive
	}
	name, size, err := member(f, int64(len(line)))
	if err != nil {
		return err
	}
	width := 4
	switch name {
	case "/":
	case "/SYM64/":
		width = 8
	default:
		return errArchive
	}
	if size > maxIndex || size < int64(width) {
		return errArchive
	}
	text := make([]byte, 0, min(size, 1<<20))
	text, err = appendAll(text, io.NewSectionReader(f, int64(len(line))+memberSize, size))
	if err != nil || int64(len(text)) != size {
		return errors.Join(errArchive, err)
	}
	count := uint64(binary.BigEndian.Uint32(text))
	if width == 8 {
		count = binary.BigEndian.Uint64(text)
	}
	if count > uint64(len(text)/width)-1 {
		return errArchive
	}
	text = text[width*int(count+1):]
	for range count {
		name, rest, ok := bytes.Cut(text, []byte{0})
		if !ok {
			return errArchive
		}
		index[string(name)] = true
		text = rest
	}
	return nil
}

func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// archiveReferences adds what the members of an archive refer to.
func archiveReferences(path string, wanted map[string]bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > maxUntraced {
		return errTooLarge
	}
	at := int64(len(archiveLine))
	for range maxMembers {
		name, size, err := member(f, at)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(name, "/") || len(name) > 1 && name[1] >= '0' && name[1] <= '9' {
			referencesOf(io.NewSectionReader(f, at+memberSize, size), wanted)
		}
		at += memberSize + size + size%2
	}
	return nil
}
