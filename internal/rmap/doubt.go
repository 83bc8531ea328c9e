package rmap

import (
	"slices"
	"strings"
)

// What follows is about directories of which only reverse maps tell: spider
// names one owner, perhaps by chance, and its aliases of symlinks overwrite
// others. Where the path itself speaks against the only claimant, nobody is
// named; a spider-json, which lists every claim, settles it.

// A doubter knows which modules the paths name. It is made when the first path
// needs it, and learns of a part of the paths when that is asked for.
type doubter struct {
	named    map[string][]uint32     // NAME/VERSION in lower case, also less a vendor's prefix, to names
	versions [256]uint64             // lengths of the VERSIONs, as bits, by their first byte
	own      map[root]map[shape]bool // what directories an owner has below a root
	packages map[place]bool          // see packages; nil until it is needed
}

// A root is a directory NAME/VERSION and the module of that name.
type root struct {
	owner uint32 // name
	path  string
}

// A shape is what directories of one product have in common below their root.
type shape struct {
	first, last string // components
	depth       int
}

// A place is where packages stand side by side, as ABOVE/NAME/VERSION/TAIL.
type place struct{ above, tail string }

// doubt gives the rule that leaves a directory out although its best claimant
// has no rival; "" if there is none.
func (m *merger) doubt(path string, name uint32) string {
	info := &m.names[name]
	for i := info.first; i >= 0; i = m.modules[i].next {
		if m.modules[i].exact {
			return ""
		}
	}
	base, version := info.name, ""
	if slash := strings.LastIndexByte(base, '/'); slash >= 0 {
		base, version = base[:slash], base[slash+1:]
	}
	base = base[strings.LastIndexByte(base, '/')+1:]
	if strings.Contains(path, base) {
		if m.aliased(path, base, version, name) {
			return RuleAlias
		}
		return ""
	}
	if m.doubts == nil {
		m.doubts = m.newDoubter()
	}
	switch {
	case m.namesOther(path, name):
		return RuleNamed
	case m.namesTree(path, name):
		return RuleTree
	}
	return ""
}

// aliased tells whether a module such as libxc/latest claims both
// /apps/libxc/latest/lib and, through the symlink, /apps/libxc/9.9/lib. The
// module libxc/9.9, if there is one, is in no map then.
func (m *merger) aliased(path, base, version string, name uint32) bool {
	if version == "" || strings.ContainsAny(version, "0123456789") {
		return false
	}
	at := indexComponent(path, base)
	if at < 0 {
		return false
	}
	at += len(base) + 1
	if at >= len(path) {
		return false
	}
	real, tail := path[at:], ""
	if i := strings.IndexByte(real, '/'); i >= 0 {
		real, tail = real[:i], real[i:]
	}
	if !looksLikeVersion(real) {
		return false
	}
	twin, ok := slices.BinarySearch(m.paths, path[:at]+version+tail)
	return ok && m.claims(uint32(twin), name)
}

// looksLikeVersion tells whether a component begins as versions do.
func looksLikeVersion(s string) bool {
	if len(s) > 1 && (s[0] == 'v' || s[0] == 'V') {
		s = s[1:]
	}
	return s != "" && isDigit(s[0])
}

// namesOther tells whether the path names, with name and version in a row,
// another module that owns a directory beside this one: cray-mpich/8.1 has
// .../mpich/8.1/ofi/nvidia/23.3/lib, so .../mpich/8.1/ofi/gnu/12.3/lib is
// hardly that of the meta-module whose name spider happened to pick.
func (m *merger) namesOther(path string, name uint32) bool {
	base := m.baseOf(name)
	found := false
	rows(path, func(r row) {
		s := shapeOf(path[r.end+1:])
		if s == (shape{}) && alike(strings.FieldsFunc(base, isJoint), r.low[:r.slash]) {
			return
		}
		for _, o := range m.doubts.modules(r) {
			if m.names[o].pkg != m.names[name].pkg && m.ownShapes(root{o, path[:r.end]})[s] {
				found = true
			}
		}
	})
	// A name of which each word is in the path is not disproved: mpich-ucx
	// in .../mpich/8.1/ucx/lib.
	return found && !m.allWords(path, name)
}

// A row are two components of a path that stand before others.
type row struct {
	low        string // in lower case
	slash      int    // between them
	start, end int    // of it in the path
}

// rows calls f for each row of a path.
func rows(path string, f func(row)) {
	low := lower(path)
	for start := 1; ; {
		slash := strings.IndexByte(low[start:], '/')
		if slash < 0 {
			return
		}
		end := strings.IndexByte(low[start+slash+1:], '/')
		if end < 0 {
			return
		}
		end += start + slash + 1
		f(row{low[start:end], slash, start, end})
		start += slash + 1
	}
}

// modules gives the names that a row stands for.
func (d *doubter) modules(r row) []uint32 {
	version := r.low[r.slash+1:]
	if version == "" || d.versions[version[0]]&lengthBit(len(version)) == 0 { // most are none
		return nil
	}
	return d.named[r.low]
}

func lengthBit(n int) uint64 { return 1 << min(n, 63) }

// shapeOf gives the shape of what is below a root; what is directly in it, as
// bin and lib, has one shape.
func shapeOf(tail string) shape {
	first, _, deep := strings.Cut(tail, "/")
	if !deep {
		return shape{}
	}
	return shape{first, tail[strings.LastIndexByte(tail, '/')+1:], strings.Count(tail, "/")}
}

func (m *merger) newDoubter() *doubter {
	d := &doubter{named: make(map[string][]uint32), own: make(map[root]map[shape]bool)}
	for i := range m.names {
		if !m.names[i].current {
			continue
		}
		name := lower(m.names[i].name)
		slash := strings.LastIndexByte(name, '/')
		if slash < 0 || slash == len(name)-1 {
			continue
		}
		d.versions[name[slash+1]] |= lengthBit(len(name) - slash - 1)
		row := name[strings.LastIndexByte(name[:slash], '/')+1:]
		d.named[row] = append(d.named[row], uint32(i))
		if _, rest, ok := strings.Cut(row, "-"); ok && strings.IndexByte(rest, '/') > 0 {
			d.named[rest] = append(d.named[rest], uint32(i))
		}
	}
	return d
}

// ownShapes gives the shapes of the directories that the owner of a root has
// below it.
func (m *merger) ownShapes(r root) map[shape]bool {
	shapes, known := m.doubts.own[r]
	if known {
		return shapes
	}
	shapes = make(map[shape]bool)
	top := r.path + "/"
	start, _ := slices.BinarySearch(m.paths, top)
	for p := start; p < len(m.paths) && strings.HasPrefix(m.paths[p], top); p++ {
		if m.claims(uint32(p), r.owner) {
			shapes[shapeOf(m.paths[p][len(top):])] = true
		}
	}
	m.doubts.own[r] = shapes
	return shapes
}

// namesTree tells whether a module is named after a whole tree, in which
// packages stand side by side, each with a module of its name, and the path
// names a package of it: oneapi-all in .../oneapi/tbb/2023.1/lib/intel64, where
// .../oneapi/mkl/2023.1/lib/intel64 is mkl/2023.1's. The module tbb/2023.1, if
// there is one, is hidden then by the one for everything.
func (m *merger) namesTree(path string, name uint32) bool {
	base := m.baseOf(name)
	words := strings.FieldsFunc(base, isJoint)
	if len(words) < 2 || !slices.ContainsFunc(words, func(w string) bool { return hasComponent(lower(path), w) }) {
		return false
	}
	found := false
	rows(path, func(r row) {
		above, pkg := path[:r.start-1], r.low[:r.slash]
		if found || !looksLikeVersion(r.low[r.slash+1:]) || !namedAfter(words, lower(above), pkg) || strings.Contains(base, pkg) {
			return
		}
		if m.doubts.packages == nil {
			m.doubts.packages = m.packages()
		}
		found = m.doubts.packages[place{above, path[r.end+1:]}]
	})
	return found
}

// baseOf gives the last component of a module's name before its version, in
// lower case.
func (m *merger) baseOf(name uint32) string {
	base := lower(packageName(m.names[name].name))
	return base[strings.LastIndexByte(base, '/')+1:]
}

// alike tells whether one of the words of a module's name is in the name of a
// package, or that in a word.
func alike(words []string, pkg string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(pkg, w) || strings.Contains(w, pkg) })
}

// namedAfter tells whether one of the words is a component of a path, and none
// of the others is in the name of the package.
func namedAfter(words []string, above, pkg string) bool {
	tree := false
	for _, w := range words {
		if hasComponent(above, w) {
			tree = true
		} else if strings.Contains(pkg, w) {
			return false
		}
	}
	return tree
}

// packages gives the places where a package has a module of its name.
func (m *merger) packages() map[place]bool {
	places := make(map[place]bool)
	for p, path := range m.paths {
		rows(path, func(r row) {
			for _, o := range m.doubts.modules(r) {
				if m.claims(uint32(p), o) {
					places[place{path[:r.start-1], path[r.end+1:]}] = true
				}
			}
		})
	}
	return places
}

// claims tells whether a name is among the candidates of a path.
func (m *merger) claims(p, name uint32) bool {
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		if m.modules[m.cands[i].module].name == name {
			return true
		}
	}
	return false
}

// allWords tells whether every word of a module's name, less a vendor's, is a
// component of the path.
func (m *merger) allWords(path string, name uint32) bool {
	low := lower(path)
	base := lower(packageName(m.names[name].name))
	words := 0
	for w := range strings.FieldsFuncSeq(base, func(r rune) bool { return r == '-' || r == '_' || r == '/' }) {
		if !hasComponent(low, w) {
			return false
		}
		words++
	}
	return words > 1
}
