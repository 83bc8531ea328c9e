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
// needs it.
type doubter struct {
	named  map[string][]uint32 // NAME/VERSION in lower case, also less a vendor's prefix, to names
	beside map[sibling]bool
}

// A sibling is the place of a directory below the root NAME/VERSION of its
// owner: what two directories of one product have in common.
type sibling struct {
	owner       uint32 // name
	root        string
	first, last string // components below the root
	depth       int
}

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
	if m.namesOther(path, name) {
		return RuleNamed
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
	if m.doubts == nil {
		m.doubts = m.newDoubter()
	}
	found := false
	m.rows(path, func(row, root, tail string) {
		for _, o := range m.doubts.named[row] {
			if m.names[o].pkg == m.names[name].pkg {
				continue
			}
			if s, ok := siblingOf(o, root, tail); ok && m.doubts.beside[s] {
				found = true
			}
		}
	})
	// A name of which each word is in the path is not disproved: mpich-ucx
	// in .../mpich/8.1/ucx/lib.
	return found && !m.allWords(path, name)
}

// rows calls f for each two components of a path in a row that stand before
// others, in lower case, with the path up to and with them, and what follows.
func (m *merger) rows(path string, f func(row, root, tail string)) {
	low := lower(path)
	start := 1
	for {
		mid := strings.IndexByte(low[start:], '/')
		if mid < 0 {
			return
		}
		end := strings.IndexByte(low[start+mid+1:], '/')
		if end < 0 {
			return
		}
		end += start + mid + 1
		f(low[start:end], path[:end], path[end+1:])
		start += mid + 1
	}
}

func siblingOf(owner uint32, root, tail string) (sibling, bool) {
	first, _, deep := strings.Cut(tail, "/")
	if !deep {
		return sibling{}, false
	}
	return sibling{owner, root, first, tail[strings.LastIndexByte(tail, '/')+1:], strings.Count(tail, "/")}, true
}

func (m *merger) newDoubter() *doubter {
	d := &doubter{named: make(map[string][]uint32), beside: make(map[sibling]bool)}
	for i := range m.names {
		if !m.names[i].current {
			continue
		}
		name := lower(m.names[i].name)
		slash := strings.LastIndexByte(name, '/')
		if slash < 0 {
			continue
		}
		row := name[strings.LastIndexByte(name[:slash], '/')+1:]
		d.named[row] = append(d.named[row], uint32(i))
		if _, rest, ok := strings.Cut(row, "-"); ok && strings.IndexByte(rest, '/') > 0 {
			d.named[rest] = append(d.named[rest], uint32(i))
		}
	}
	for p, path := range m.paths {
		if m.head[p] < 0 {
			continue
		}
		m.rows(path, func(row, root, tail string) {
			for _, o := range d.named[row] {
				if !m.claims(uint32(p), o) {
					continue
				}
				if s, ok := siblingOf(o, root, tail); ok {
					d.beside[s] = true
				}
			}
		})
	}
	return d
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
