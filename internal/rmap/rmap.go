// Package rmap is the reverse map: library path to module.
//
// Lmod's spider writes, for one machine, which module owns which directory.
// XALT and syslog2db use it to name the module of every library of a link or
// a run. The terms:
//
//   - A map is the whole of it for one machine; on disk it is xalt_rmapT.json
//     (path to module name) or jsonReverseMapT.json (path to module, kind,
//     flavors and modulefile). Either holds, besides, xlibmap, the names of
//     the library files whose functions are tracked.
//   - A key is a directory of the map, a module its owner, written
//     NAME/VERSION.
//   - A flavor is the list of modules that must be loaded first,
//     "gcc/9.1:mpich/3.2"; the module name of a map is NAME/VERSION(FLAVOR),
//     or NAME/VERSION where there is none.
//
// [Read] and [Open] load a map and [Map.Lookup] resolves a path by the rule of
// XALT's own readers. A map that is not well-formed is refused with the place;
// nothing is guessed there. [ReadInput] is the lenient reader for what spider
// writes, and [Merge] makes one trustworthy map of any number of such inputs:
// the same bytes whatever their order.
package rmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"xaltpipe/internal/fileio"
)

// The file names under which XALT looks for a map, and the copies of the map
// before.
const (
	XALTFile    = "xalt_rmapT.json"
	JSONFile    = "jsonReverseMapT.json"
	XALTOldFile = "xalt_rmapT.old.json"
	JSONOldFile = "jsonReverseMapT.old.json"
)

// ErrNotFound says that no directory holds a map under any of its names.
var ErrNotFound = errors.New("no reverse map found")

// A Map is a reverse map, read-only and safe for concurrent use.
type Map struct {
	name    string
	id      string
	keys    pathTable // directories
	owners  []uint32  // of each key, index in modules
	modules []string  // each name once
}

// Read reads a map of either form, told by its values, plain or gzip. The name
// is used in errors. A map that is not well-formed gives a [*SyntaxError].
// At most [MaxSize] bytes are read.
func Read(r io.Reader, name string) (*Map, error) {
	data, err := readAll(r, name)
	if err != nil {
		return nil, err
	}
	return parse(data, name)
}

func readFile(name string) (*Map, error) {
	data, err := loadFile(name)
	if err != nil {
		return nil, err
	}
	return parse(data, name)
}

// loadFile reads a file whole and unpacks it.
func loadFile(name string) (data []byte, err error) {
	f, err := fileio.Regular(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	return readAll(f, name)
}

// Open loads the map of the machine syshost from the first of dirs that holds
// one. The directories DIR/syshost come before the directories DIR
// themselves; within either, xalt_rmapT.json of any directory comes before
// jsonReverseMapT.json, and a present map before the .old.json copies, which
// are read only if there is no present one. A map that is there and is not
// well-formed is an error: nothing else is tried in its place. A syshost that
// cannot be a directory name (see [MachineName]) has no directory of its own.
// The error is [ErrNotFound] if there is no map.
func Open(dirs []string, syshost string) (*Map, error) {
	name, err := Find(dirs, syshost)
	if err != nil {
		return nil, err
	}
	return readFile(name)
}

// MachineName tells whether s can be the name of a machine's directory: a
// letter or digit, then at most 63 letters, digits, dots, underscores and
// hyphens.
func MachineName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return true
}

// Find gives the file that [Open] loads.
func Find(dirs []string, syshost string) (string, error) {
	levels := [][]string{dirs}
	if MachineName(syshost) {
		own := make([]string, 0, len(dirs))
		for _, dir := range dirs {
			if dir != "" {
				own = append(own, filepath.Join(dir, syshost))
			}
		}
		levels = [][]string{own, dirs}
	}
	for _, level := range levels {
		name, err := findLevel(level)
		if err != nil || name != "" {
			return name, err
		}
	}
	where := strings.Join(dirs, ":")
	if others, err := Machines(dirs); err == nil && len(others) > 0 {
		if len(others) > 5 {
			others = append(others[:5], "...")
		}
		return "", fmt.Errorf("%w in %s; there are those of the machines %s", ErrNotFound, where, strings.Join(others, ", "))
	}
	return "", fmt.Errorf("%w in %s; rmap-merge -o DIR makes one", ErrNotFound, where)
}

func findLevel(dirs []string) (string, error) {
	for _, base := range []string{XALTFile, JSONFile, XALTOldFile, JSONOldFile} {
		for _, dir := range dirs {
			if dir == "" {
				continue
			}
			name := filepath.Join(dir, base)
			switch _, err := os.Stat(name); {
			case err == nil:
				return name, nil
			case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
				return "", err
			}
		}
	}
	return "", nil
}

// Machines gives the names, sorted, of the machines that have a map of their
// own in DIR/NAME/ for any DIR of dirs. A directory that does not exist holds
// none.
func Machines(dirs []string) ([]string, error) {
	var names []string
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
				continue
			}
			return nil, fmt.Errorf("look for maps: %w", err)
		}
		for _, e := range entries {
			if !MachineName(e.Name()) || slices.Contains(names, e.Name()) {
				continue
			}
			own, err := findLevel([]string{filepath.Join(dir, e.Name())})
			if err != nil {
				return nil, fmt.Errorf("look for maps: %w", err)
			}
			if own != "" {
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// Lookup gives the module of a path and the directory that decided, by the
// rule of XALT's obj2module: the path's directory, then each parent, up to but
// without "/". Blanks and line ends after the path are ignored.
func (m *Map) Lookup(path string) (module, dir string, ok bool) {
	dir = strings.TrimRight(path, " \r\n")
	for {
		i := strings.LastIndexByte(dir, '/')
		if i < 1 {
			return "", "", false
		}
		dir = dir[:i]
		if at := m.keys.findString(dir); at.found {
			return m.modules[m.owners[at.id]], dir, true
		}
	}
}

// All gives every key with its module, in no order.
func (m *Map) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, dir := range m.keys.list {
			if !yield(dir, m.modules[m.owners[i]]) {
				return
			}
		}
	}
}

// ID is the SHA-256 of the map's text in hexadecimal: maps of one ID give the
// same answers.
func (m *Map) ID() string { return m.id }

// Name is the file the map came from.
func (m *Map) Name() string { return m.name }

// Len is the number of keys.
func (m *Map) Len() int { return len(m.owners) }

// builder collects a Map: names of modules once, keys in large chunks, so
// that the map holds on to nothing of the text it was read from.
type builder struct {
	m     *Map
	names pathTable // its list is the map's modules
	chunk *strings.Builder
}

// parse makes the map of a text.
func parse(data []byte, name string) (*Map, error) {
	n := estimate(data)
	b := &builder{
		m:     &Map{name: name, id: digest(data), keys: newPathTable(n), owners: make([]uint32, 0, n)},
		names: newPathTable(n / 3),
	}
	d := &decoder{data: data, name: name, ascii: isASCII(data)}
	if hint := hintText(data); hint != "" {
		return nil, d.errAt(0, "%s", hint)
	}
	found := false
	err := d.object(func(key []byte, off int, _ flaw) error {
		switch string(key) {
		case "reverseMapT":
			if found {
				return d.errAt(off, "reverseMapT is there twice; rmap-merge repairs such a map")
			}
			found = true
			return b.entries(d)
		}
		return d.skip()
	})
	if err != nil {
		return nil, err
	}
	if d.peek() != 0 || d.pos < len(d.data) {
		return nil, d.errAt(d.pos, "text after the JSON document: %q", excerpt(d.data[d.pos:]))
	}
	if !found {
		return nil, d.errAt(0, "no reverseMapT in it: this is not a reverse map")
	}
	b.m.modules = b.names.list
	return b.m, nil
}

// digest is the SHA-256 of data in hexadecimal.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// estimate guesses the number of keys from the length of the first entries, so
// that the table need not grow; a wrong guess costs only time.
func estimate(data []byte) int {
	const sample = 16 << 10
	head := data[:min(len(data), sample)]
	commas, braces := strings.Count(string(head), ","), strings.Count(string(head), "}")
	n := max(braces, 1)
	if braces < commas/8 {
		n = max(commas, 1)
	}
	return min(len(data)/max(len(head)/n, 8), len(data)/32, 1<<20)
}

func (b *builder) entries(d *decoder) error {
	if d.peek() == '[' { // spider's empty table
		off := d.pos
		return d.array(func(int) error { return d.errAt(off, "reverseMapT is a list, not an object") })
	}
	var name, pkg, flavor []byte
	return d.object(func(key []byte, off int, _ flaw) error {
		at := b.m.keys.find(key)
		path := ""
		if at.found {
			path = b.m.keys.list[at.id]
		} else {
			path = b.keep(key)
		}
		var err error
		switch d.peek() {
		case '"':
			if name, _, err = d.str(); err != nil {
				return err
			}
		case '{':
			if pkg, flavor, err = d.entry(pkg[:0], flavor[:0]); err != nil {
				return err
			}
			pkg = moduleName(pkg, flavor)
			name = pkg
		default:
			return d.errAt(d.pos, "the module of %q is neither a string nor an object; rmap-merge drops such an entry", path)
		}
		if len(path) == 0 || len(name) == 0 {
			return d.errAt(off, "empty path or module name; rmap-merge drops such an entry")
		}
		who := b.names.find(name)
		id := who.id
		if !who.found {
			id = b.names.add(who, b.keep(name))
		}
		if at.found { // the last one counts, as with XALT
			b.m.owners[at.id] = id
			return nil
		}
		b.m.keys.add(at, path)
		b.m.owners = append(b.m.owners, id)
		return nil
	})
}

// entry reads the value of a key in the json form: the package and its first
// flavor, both appended to the slices given.
func (d *decoder) entry(pkg, flavor []byte) (p, f []byte, err error) {
	off := d.pos
	err = d.object(func(key []byte, _ int, _ flaw) error {
		switch string(key) {
		case "pkg":
			d.space()
			s, _, err := d.str()
			pkg = append(pkg[:0], s...)
			return err
		case "flavor":
			if d.peek() == '"' {
				s, _, err := d.str()
				flavor = append(flavor[:0], s...)
				return err
			}
			flavor = flavor[:0]
			first := true
			return d.array(func(int) error {
				s, _, err := d.str()
				if first {
					flavor, first = append(flavor, s...), false
				}
				return err
			})
		}
		return d.skip()
	})
	if err == nil && len(pkg) == 0 {
		err = d.errAt(off, "an entry without pkg; rmap-merge drops such an entry")
	}
	return pkg, flavor, err
}

// moduleName joins a package and a flavor as spider writes it; the word
// "default" and the prefix "default:" are no part of it. It may change pkg.
func moduleName(pkg, flavor []byte) []byte {
	if string(flavor) == "default" {
		return pkg
	}
	flavor = bytes.TrimPrefix(flavor, []byte("default:"))
	if len(flavor) == 0 {
		return pkg
	}
	pkg = append(pkg, '(')
	pkg = append(pkg, flavor...)
	return append(pkg, ')')
}

// keep copies a key into the current chunk.
func (b *builder) keep(key []byte) string {
	start := b.room(len(key))
	b.chunk.Write(key)
	return b.chunk.String()[start:]
}

func (b *builder) room(n int) (start int) {
	const size = 256 << 10
	if b.chunk == nil || b.chunk.Cap()-b.chunk.Len() < n {
		b.chunk = new(strings.Builder)
		b.chunk.Grow(max(size, n))
	}
	return b.chunk.Len()
}
