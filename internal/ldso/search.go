package ldso

import (
	"path/filepath"
	"slices"
	"strings"
)

// A mapped is a file in the loader's list.
type mapped struct {
	*object        // nil if it is missing
	path    string // as the loader names it, "" if it is missing
	real    string
	origin  string   // $ORIGIN
	names   []string // what it was asked for by; the first is the first
	parent  *mapped  // nil for the program and its loader
	preload bool
	again   bool // the file is in the list already, by another name

	rpathDirs, runpathDirs *[]string
}

// isLoader reports whether it is a dynamic loader that is listed as a library.
func (m *mapped) isLoader() bool {
	if m.object == nil {
		return false
	}
	for _, p := range []string{"ld-linux", "ld-musl-", "ld64.so", "ld.so.", "ld-2."} {
		if strings.HasPrefix(m.soname, p) {
			return true
		}
	}
	return false
}

// A dir is what is known of one directory of a search path.
type dir struct {
	exists bool
	subs   []string // glibc-hwcaps directories that exist, the best first
}

// A loader does what ld.so does.
type loader struct {
	opt    Options
	secure bool
	musl   bool

	main, interp *mapped
	list         []*mapped // the program, what is preloaded, and then breadth first
	ids          map[fileID]*mapped
	dirs         map[string]*dir
	tries        int
	incomplete   string

	envDirs *[]string // LD_LIBRARY_PATH
	sysDirs *[]string
	musDirs *[]string
	cache   *cache
	levels  *[]string // glibc-hwcaps that the processor has
	x86Name string    // what $PLATFORM stands for; empty: not looked at yet
}

func (l *loader) run() {
	for _, name := range l.preloads() {
		l.need(name, l.main, true)
	}
	for i := 0; i < len(l.list) && l.incomplete == ""; i++ {
		m := l.list[i]
		if m.object == nil {
			continue
		}
		for _, name := range m.needed {
			l.need(name, m, false)
		}
	}
}

// preloads returns the names in LD_PRELOAD and ld.so.preload.
func (l *loader) preloads() []string {
	var names []string
	for _, n := range strings.FieldsFunc(l.opt.getenv("LD_PRELOAD"), func(r rune) bool { return r == ' ' || r == ':' }) {
		if l.secure && (l.musl || strings.Contains(n, "/")) {
			continue
		}
		names = append(names, n)
	}
	if !l.musl {
		if text, ok := readSmall(l.opt.etc("ld.so.preload")); ok {
			for line := range strings.Lines(text) {
				line, _, _ = strings.Cut(line, "#")
				names = append(names, strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\n:", r) })...)
			}
		}
	}
	if len(names) > maxLibraries {
		names = names[:maxLibraries]
		l.incomplete = "too many libraries to preload"
	}
	return names
}

// need adds the library that parent asks for, unless it is there.
func (l *loader) need(name string, parent *mapped, preload bool) {
	if l.incomplete != "" || name == "" {
		return
	}
	if l.known(name) {
		return
	}
	if len(l.list) > maxLibraries {
		l.incomplete = "too many libraries"
		return
	}
	m := &mapped{names: []string{name}, parent: parent, preload: preload}
	if strings.Contains(name, "/") {
		if path, ok := l.expand(name, parent.origin); ok {
			l.try(m, path)
		}
	} else if l.musl {
		l.searchMusl(m, name)
	} else {
		l.search(m, name)
	}
	if m.object == nil && l.incomplete != "" {
		return // it may be there
	}
	if !m.again {
		l.list = append(l.list, m)
	}
}

// known reports whether the name is that of a file in the list, or of the loader.
func (l *loader) known(name string) bool {
	if l.musl && isMuslItself(name) {
		return true
	}
	for _, m := range append([]*mapped{l.interp}, l.list...) {
		if m.path == name || slices.Contains(m.names, name) {
			return true
		}
		if m.object != nil && m.soname == name && !l.musl {
			m.names = append(m.names, name)
			return true
		}
	}
	return false
}

// try takes path for m if it is a library for this program. It returns true if
// the search is over.
func (l *loader) try(m *mapped, path string) bool {
	if l.incomplete != "" {
		return true
	}
	if l.tries++; l.tries > maxTries {
		l.incomplete = "too many files were looked for"
		return true
	}
	if l.tries%16 == 0 && l.opt.Stop != nil && l.opt.Stop() {
		l.incomplete = "stopped"
		return true
	}
	if len(path) > maxPath {
		return false
	}
	f, err := open(path)
	if err != nil {
		return false
	}
	defer f.close()
	if old, ok := l.ids[f.id]; ok {
		old.names = append(old.names, m.names[0])
		m.again = true
		return true
	}
	o, err := readObject(f, f.size)
	if err != nil || !o.same(l.main.object) || o.etype != etDyn {
		return false
	}
	if l.secure && m.preload && f.mode&0o4000 == 0 {
		return false
	}
	m.object, m.path, m.real = o, path, f.real(path)
	m.origin = filepath.Dir(path)
	if !filepath.IsAbs(path) {
		if abs, err := filepath.Abs(path); err == nil {
			m.origin = filepath.Dir(abs)
		}
	}
	l.ids[f.id] = m
	return true
}

// search looks for a name without slash as glibc's _dl_map_object does.
func (l *loader) search(m *mapped, name string) {
	parent := m.parent
	if l.secure && m.preload {
		l.inDirs(m, name, l.system())
		return
	}
	if !parent.hasRunpath {
		sawMain := false
		for p := parent; p != nil; p = p.parent {
			sawMain = sawMain || p == l.main
			if p.object != nil && l.inDirs(m, name, l.rpath(p)) {
				return
			}
		}
		if !sawMain && l.inDirs(m, name, l.rpath(l.main)) {
			return
		}
	}
	if l.inDirs(m, name, l.env()) || l.inDirs(m, name, l.runpath(parent)) {
		return
	}
	if path := l.cached(name); path != "" && (!parent.noDefLib || !l.isSystem(path)) && l.try(m, path) {
		return
	}
	if !parent.noDefLib {
		l.inDirs(m, name, l.system())
	}
}

// searchMusl looks for a name as musl's load_library does.
func (l *loader) searchMusl(m *mapped, name string) {
	if l.inDirs(m, name, l.env()) {
		return
	}
	for p := m.parent; p != nil; p = p.parent {
		if p.object == nil {
			continue
		}
		dirs := l.rpath(p)
		if p.hasRunpath {
			dirs = l.runpath(p)
		}
		if l.inDirs(m, name, dirs) {
			return
		}
	}
	l.inDirs(m, name, l.muslDirs())
}

// isMuslItself reports whether musl's loader is the library of this name.
func isMuslItself(name string) bool {
	rest, ok := strings.CutPrefix(name, "lib")
	if !ok {
		return false
	}
	for _, r := range []string{"c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."} {
		if strings.HasPrefix(rest, r) {
			return true
		}
	}
	return false
}

// inDirs tries the directories in turn.
func (l *loader) inDirs(m *mapped, name string, dirs []string) bool {
	for _, d := range dirs {
		k := l.dir(d)
		if !k.exists {
			continue
		}
		for _, sub := range k.subs {
			if l.try(m, sub+"/"+name) {
				return true
			}
		}
		if l.try(m, join(d, name)) {
			return true
		}
	}
	return false
}

// dir looks once whether a directory is there.
func (l *loader) dir(name string) *dir {
	if d, ok := l.dirs[name]; ok {
		return d
	}
	d := &dir{exists: isDir(name)}
	if l.tries++; d.exists && !l.musl {
		if caps := join(name, "glibc-hwcaps"); isDir(caps) {
			for _, level := range l.hwcaps() {
				if sub := caps + "/" + level; isDir(sub) {
					d.subs = append(d.subs, sub)
				}
			}
		}
	}
	l.dirs[name] = d
	return d
}

func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

// rpath returns the directories of m's DT_RPATH, runpath those of DT_RUNPATH, and
// env those of LD_LIBRARY_PATH.
func (l *loader) rpath(m *mapped) []string {
	if m.rpathDirs == nil {
		dirs := l.split(m.rpath, ":", m.origin)
		m.rpathDirs = &dirs
	}
	return *m.rpathDirs
}

func (l *loader) runpath(m *mapped) []string {
	if m.runpathDirs == nil {
		dirs := l.split(m.runpath, ":", m.origin)
		m.runpathDirs = &dirs
	}
	return *m.runpathDirs
}

func (l *loader) env() []string {
	if l.envDirs == nil {
		var dirs []string
		if v := l.opt.getenv("LD_LIBRARY_PATH"); !l.secure {
			seps := ":;"
			if l.musl {
				seps = ":\n"
			}
			dirs = l.split(v, seps, l.main.origin)
		}
		l.envDirs = &dirs
	}
	return *l.envDirs
}

// split returns the directories of a search path; an empty one is the current
// directory.
func (l *loader) split(list, seps, origin string) []string {
	if list == "" {
		return nil
	}
	var dirs []string
	for list != "\x00" {
		one := list
		if i := strings.IndexAny(list, seps); i >= 0 {
			one, list = list[:i], list[i+1:]
		} else {
			list = "\x00"
		}
		if len(dirs) == maxDirs {
			l.incomplete = "a search path of too many directories"
			break
		}
		d, ok := l.expand(one, origin)
		if !ok {
			continue
		}
		for len(d) > 1 && d[len(d)-1] == '/' {
			d = d[:len(d)-1]
		}
		if d == "" {
			d = "."
		}
		dirs = append(dirs, d)
	}
	return dirs
}

// expand replaces $ORIGIN, $LIB and $PLATFORM, also in braces. It is false if the
// loader would not use the path.
func (l *loader) expand(path, origin string) (string, bool) {
	if !strings.Contains(path, "$") {
		return path, true
	}
	var b strings.Builder
	usesOrigin := false
	for i := 0; i < len(path); {
		if path[i] != '$' {
			b.WriteByte(path[i])
			i++
			continue
		}
		token, n := dst(path[i+1:])
		if l.musl && token != "ORIGIN" {
			return path, token == ""
		}
		switch token {
		case "ORIGIN":
			if l.secure && i > 0 {
				return "", false
			}
			usesOrigin = true
			b.WriteString(origin)
		case "LIB":
			b.WriteString(l.libName())
		case "PLATFORM":
			p := l.platform()
			if p == "" {
				return "", false
			}
			b.WriteString(p)
		default:
			b.WriteByte('$')
		}
		i += 1 + n
		if b.Len() > maxPath {
			return "", false
		}
	}
	out := b.String()
	if l.secure && usesOrigin && (l.musl || !l.isSystem(filepath.Clean(out)+"/")) {
		return "", false
	}
	return out, true
}

// dst returns the token at the start of s, and the length of its writing.
func dst(s string) (token string, n int) {
	braces := strings.HasPrefix(s, "{")
	if braces {
		s = s[1:]
	}
	for _, t := range []string{"ORIGIN", "PLATFORM", "LIB"} {
		rest, ok := strings.CutPrefix(s, t)
		if !ok {
			continue
		}
		if braces {
			if strings.HasPrefix(rest, "}") {
				return t, len(t) + 2
			}
			continue
		}
		if rest != "" && (rest[0] == '_' || rest[0] >= '0' && rest[0] <= '9' || rest[0] >= 'A' && rest[0] <= 'Z' || rest[0] >= 'a' && rest[0] <= 'z') {
			continue
		}
		return t, len(t)
	}
	return "", 0
}
