package rmap

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// A stream is a source of claims on its way through the merge: its entries in
// the order of their paths. All are passed over together, from the least path
// to the greatest, so that nothing need be looked up.
type stream struct {
	from      origin
	label     string // of the input
	number    int    // likewise
	text      []byte // as in an Input
	entries   []entry
	moduleIDs []uint32 // of the input's modules, in the merger; dead if it expired
	flavorIDs []uint32 // likewise of its lists of flavors

	memory *memoryReader // in the place of text and entries
	claim  entry         // that memory gave

	order int    // among the streams
	next  int    // entry
	entry *entry // the same
	path  []byte // of the entry

	set, with uint32 // the last set of inputs that got the number, and what it became
}

// origin is what a stream comes from. In this order the claims on a path are
// looked at.
type origin uint8

const (
	fromMap    origin = iota // makes a path, unless it is a system directory
	fromSpider               // adds candidates to a path that is there
	fromMemory               // likewise
	fromPins                 // makes a path without candidates
)

// dead stands for a module that expired.
const dead = ^uint32(0)

func newStream(from origin, number int, in *Input) *stream {
	return &stream{
		from: from, label: in.Label, number: number, text: in.text, entries: in.entries,
		moduleIDs: make([]uint32, len(in.modules)), flavorIDs: make([]uint32, len(in.flavors)),
	}
}

// advance goes to the next entry and tells whether there is one. The path
// before stays valid.
func (s *stream) advance() bool {
	if s.memory != nil {
		e, ok := s.memory.claim()
		s.claim = entry{module: e.module, flavor: e.flavor, kind: e.kind}
		s.entry, s.path = &s.claim, s.memory.path
		return ok
	}
	s.next++
	if s.next >= len(s.entries) {
		return false
	}
	s.entry = &s.entries[s.next]
	s.path = s.text[s.entry.at : s.entry.at+s.entry.size]
	return true
}

// before orders streams by their next path, then by their place.
func (s *stream) before(t *stream) bool {
	c := bytes.Compare(s.path, t.path)
	return c < 0 || c == 0 && s.order < t.order
}

// sink puts the first stream of a heap in its place.
func sink(heap []*stream) {
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(heap) && heap[child].before(heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// mergeStreams makes the paths and their candidates.
func (m *merger) mergeStreams() {
	var heap []*stream
	for i, s := range m.streams {
		s.order, s.next = i, -1
		if s.advance() {
			heap = append(heap, s)
		}
	}
	slices.SortFunc(heap, func(a, b *stream) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for len(heap) > 0 {
		g := pathGroup{path: heap[0].path}
		for len(heap) > 0 && bytes.Equal(heap[0].path, g.path) {
			s := heap[0]
			m.take(&g, s, s.entry)
			if !s.advance() {
				heap[0] = heap[len(heap)-1]
				heap = heap[:len(heap)-1]
			}
			sink(heap)
		}
		if g.isPath {
			m.infer(g.id)
		}
	}
}

// A pathGroup is the state of the claims on one path.
type pathGroup struct {
	path   []byte
	id     uint32 // of the path, once it is one
	isPath bool
	system bool
}

// take takes in one claim on a path.
func (m *merger) take(g *pathGroup, s *stream, e *entry) {
	switch s.from {
	case fromMap:
		if !g.isPath && !m.mapped(g, s, e) {
			return
		}
		mod := s.moduleIDs[e.module]
		c := m.claim(g.id, mod)
		c.flags |= candMap
		if !e.lexical {
			c.flags |= candSure
		}
		c.kind |= e.kind
		c.inputs = m.withInput(s, c.inputs)
		if m.modules[mod].file == "" {
			c.flavors = m.flavors.union(c.flavors, s.flavorIDs[e.flavor])
		}
		if e.kind&kindDir != 0 {
			m.ownDir(mod, m.paths[g.id])
		}
	case fromSpider:
		mod := s.moduleIDs[e.module]
		if e.kind == kindDir {
			m.ownDir(mod, string(g.path))
		}
		if !g.isPath { // no map holds it: nothing tells that it exists
			return
		}
		c := m.claim(g.id, mod)
		if c.flags |= candListed; e.lexical {
			c.flags |= candMap
		} else {
			c.flags |= candDirect | candSure
		}
		c.kind |= e.kind
		c.inputs = m.withInput(s, c.inputs)
	case fromMemory:
		mod := s.moduleIDs[e.module]
		if !g.isPath || mod == dead {
			return
		}
		c := m.claimed(g.id, mod)
		if m.modules[mod].exact && (c == nil || c.flags&candListed == 0) {
			return // the modulefile does not name it any more
		}
		if c == nil {
			c = m.claim(g.id, mod)
			c.kind = e.kind &^ kindUnsure
			if e.flavor > 0 {
				c.flavors = s.flavorIDs[e.flavor-1]
			}
		}
		c.flags |= candRemembered
		if e.kind&kindUnsure == 0 {
			c.flags |= candSure
		}
	case fromPins:
		if !g.isPath {
			m.newPath(g)
		}
	}
}

// mapped makes the path of a reverse map's first claim on it, unless the site
// lets nobody own it.
func (m *merger) mapped(g *pathGroup, s *stream, e *entry) bool {
	info := &m.modules[s.moduleIDs[e.module]]
	mod := module{m.names[info.name].name, info.file}
	switch {
	case g.system:
	case m.sys.has(g.path):
		g.system = true
		m.res.Problems = append(m.res.Problems, Problem{
			Input: s.label, Line: int(e.line), Kind: "system-directory", Path: string(g.path),
			Text: fmt.Sprintf("key %q of %s left out: it is a system directory; correct the modulefile, or the symlink that leads there", g.path, mod),
		})
	default:
		m.newPath(g)
		return true
	}
	if who := mod.String(); e.kind != kindBin && len(m.suspects) < 100 && !slices.Contains(m.suspects, who) {
		m.suspects = append(m.suspects, who)
	}
	return false
}

func (m *merger) newPath(g *pathGroup) {
	g.id, g.isPath = uint32(len(m.paths)), true
	m.paths = append(twice(m.paths), m.text.keep(g.path))
	m.head = append(twice(m.head), -1)
}

// claimed finds the candidate for a module on a path, nil if there is none.
func (m *merger) claimed(path, mod uint32) *cand {
	for i := m.head[path]; i >= 0; i = m.cands[i].next {
		if m.cands[i].module == mod {
			return &m.cands[i]
		}
	}
	return nil
}

// claim finds or makes the candidate for a module on a path.
func (m *merger) claim(path, mod uint32) *cand {
	last := int32(-1)
	for i := m.head[path]; i >= 0; i = m.cands[i].next {
		if m.cands[i].module == mod {
			return &m.cands[i]
		}
		last = i
	}
	n := int32(len(m.cands))
	m.cands = append(twice(m.cands), cand{module: mod, next: -1})
	if last < 0 {
		m.head[path] = n
	} else {
		m.cands[last].next = n
	}
	return &m.cands[n]
}

// withInput adds a stream's input to a set of inputs.
func (m *merger) withInput(s *stream, set uint32) uint32 {
	if set != s.set || s.with == 0 {
		s.set, s.with = set, m.sets.with(set, s.number)
	}
	return s.with
}

// ownDir notes that a module has a *_DIR. It is called in the order of the paths.
func (m *merger) ownDir(mod uint32, path string) {
	if n := &m.names[m.modules[mod].name]; len(n.dirs) == 0 || n.dirs[len(n.dirs)-1] != path {
		n.dirs = append(n.dirs, path)
	}
}

// infer adds, for each claimant of a path, the module of another version that
// the path names.
func (m *merger) infer(path uint32) {
	if _, ok := m.opts.Pins[m.paths[path]]; ok {
		return
	}
	for i := m.head[path]; i >= 0; i = m.cands[i].next {
		other, ok := m.otherVersion(m.paths[path], m.modules[m.cands[i].module].name)
		if !ok || m.claims(path, other) {
			continue
		}
		best := int32(-1)
		for j := m.names[other].first; j >= 0; j = m.modules[j].next {
			if mod := &m.modules[j]; mod.current && (best < 0 || mod.file < m.modules[best].file) {
				best = j
			}
		}
		if best < 0 {
			continue
		}
		var kinds kind
		for j := m.head[path]; j >= 0; j = m.cands[j].next {
			kinds |= m.cands[j].kind
		}
		c := m.claim(path, uint32(best))
		c.flags |= candInferred | candSure
		c.kind |= kinds
	}
}

// otherVersion gives the module that the path names as NAME/VERSION in a row,
// if it is another version of the claimant: then the claimant reached the
// directory through a symlink such as "latest".
func (m *merger) otherVersion(path string, n uint32) (uint32, bool) {
	name := m.names[n].name
	slash := strings.LastIndexByte(name, '/')
	if slash < 0 || containsRow(path, name) {
		return 0, false
	}
	base := name[:slash]
	base = base[strings.LastIndexByte(base, '/')+1:]
	for rest := path; ; {
		i := indexComponent(rest, base)
		if i < 0 || i+len(base)+1 >= len(rest) {
			return 0, false
		}
		rest = rest[i+len(base)+1:]
		version, _, _ := strings.Cut(rest, "/")
		if at := m.nameID.findString(name[:slash+1] + version); at.found && at.id != n && m.names[at.id].current {
			return at.id, true
		}
	}
}
