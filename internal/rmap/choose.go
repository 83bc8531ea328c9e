package rmap

import (
	"fmt"
	"slices"
	"strings"
)

// A choice is the decision on one path.
type choice struct {
	rule    string
	name    uint32 // the best claimant, if there is one
	ev      evidence
	one     bool // there is a best claimant
	several bool // and it has rivals
	level   bool // ev is known
	out     bool // nobody owns the path
}

// A frame is a path on the way down to the current one, in decide.
type frame struct {
	path  uint32
	below []uint32 // packages of other modules below, at most sharedBy
}

// decide finds the winner of every path, then takes the umbrellas out.
func (m *merger) decide() {
	all := make([]choice, len(m.paths))
	var stack []frame
	pop := func() {
		f := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(f.below) < sharedBy {
			return
		}
		c := &all[f.path]
		if !c.level {
			c.ev, _ = evidenceOf(m.paths[f.path], m.names[c.name].name)
			c.level = true
		}
		if c.ev == evNone && c.rule != RulePin && !m.preferred(c.name) {
			c.out, c.rule = true, RuleUmbrella
		}
	}
	var buf []uint32
	for p, path := range m.paths {
		for len(stack) > 0 && !strings.HasPrefix(path, m.paths[stack[len(stack)-1].path]) {
			pop()
		}
		all[p], buf = m.choose(uint32(p), buf)
		c := &all[p]
		if c.out || !c.one {
			continue
		}
		pkg := m.names[c.name].pkg
		for i := range stack {
			f := &stack[i]
			if path[len(m.paths[f.path])] != '/' || len(f.below) >= sharedBy {
				continue
			}
			if m.names[all[f.path].name].pkg != pkg && !slices.Contains(f.below, pkg) {
				f.below = append(f.below, pkg)
			}
		}
		stack = append(stack, frame{path: uint32(p)})
	}
	for len(stack) > 0 {
		pop()
	}
	m.conclude(all)
}

// conclude makes the result of the choices.
func (m *merger) conclude(all []choice) {
	long := make(map[string]bool)
	m.res.Keys = make([]Key, 0, len(all))
	var last *Owner
	for p := range all {
		c := &all[p]
		pin := c.rule == RulePin
		if (c.out || c.several || pin) && (m.head[p] >= 0 || pin) {
			m.conflict(uint32(p), c)
		}
		if c.out {
			continue
		}
		owner, kind := m.owner(uint32(p), c)
		k := Key{Path: m.paths[p], Owner: last, kind: kind}
		// Directories of one module mostly follow each other.
		if last == nil || !last.equal(&owner) {
			fresh := owner
			last = &fresh
			if k.Owner = last; len(last.Module) > maxName/2 {
				m.checkLength(uint32(p), &k, long)
			}
		}
		m.res.Keys = append(m.res.Keys, k)
	}
}

// checkLength tells once of a name that XALT's tables would cut.
func (m *merger) checkLength(p uint32, k *Key, told map[string]bool) {
	name := k.Name()
	if len(name) <= maxName || told[name] {
		return
	}
	told[name] = true
	m.res.Problems = append(m.res.Problems, Problem{
		Input: m.source(p), Kind: "long-name", Path: name[:min(len(name), maxPath)],
		Text: fmt.Sprintf("module name %s of %s has %d bytes: XALT's own tables cut it to %d, xaltpipe's do not; a shorter name, or --ignore-flavor, avoids it", show([]byte(name)), show([]byte(k.Path)), len(name), maxName),
	})
}

// source gives the label of an input that names a path; "map" if none does.
func (m *merger) source(p uint32) string {
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		for _, s := range m.sets.list(m.cands[i].inputs) {
			return m.labels[setNumber(s)]
		}
	}
	return "map"
}

// choose ranks the claimants of one path.
func (m *merger) choose(p uint32, buf []uint32) (choice, []uint32) {
	path := m.paths[p]
	if _, ok := m.opts.Pins[path]; ok {
		return choice{rule: RulePin}, buf
	}
	names := buf[:0]
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		if n := m.modules[m.cands[i].module].name; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	buf = names
	if len(m.opts.Deny) > 0 {
		names = slices.DeleteFunc(names, func(n uint32) bool {
			return slices.ContainsFunc(m.opts.Deny, func(pat string) bool { return matchName(pat, m.names[n].name) })
		})
		if len(names) == 0 {
			return choice{out: true, rule: RuleDenied}, buf
		}
	}
	if len(names) > 1 {
		names = m.shortNames(names)
	}
	if len(names) == 1 {
		return m.only(path, names[0]), buf
	}
	return m.rank(p, names), buf
}

// only makes the choice where there is one claimant.
func (m *merger) only(path string, n uint32) choice {
	c := choice{rule: RuleOnly, name: n, one: true}
	if rule := m.doubt(path, n); rule != "" && !m.preferred(n) {
		c.out, c.rule = true, rule
	}
	return c
}

// preferred tells whether the site prefers a module.
func (m *merger) preferred(n uint32) bool {
	return slices.ContainsFunc(m.opts.Prefer, func(pat string) bool { return matchName(pat, m.names[n].name) })
}

// shortNames leaves out a name that is another one with more in front: the
// same modulefile, found once more from a directory further up.
func (m *merger) shortNames(names []uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(names), func(n uint32) bool {
		long := m.names[n].name
		return slices.ContainsFunc(names, func(o uint32) bool {
			short := m.names[o].name
			return len(short) < len(long) && strings.HasSuffix(long, short) && long[len(long)-len(short)-1] == '/'
		})
	})
}

// containsRow tells whether the components of name are in the path in a row.
func containsRow(path, name string) bool {
	for i := 0; ; {
		j := strings.Index(path[i:], name)
		if j < 0 {
			return false
		}
		j += i
		end := j + len(name)
		if j > 0 && path[j-1] == '/' && (end == len(path) || path[end] == '/') {
			return true
		}
		i = j + 1
	}
}

// indexComponent gives where component c begins in path; -1 if nowhere.
func indexComponent(path, c string) int {
	for i := 0; ; {
		j := strings.Index(path[i:], c)
		if j < 0 {
			return -1
		}
		j += i
		end := j + len(c)
		if (j == 0 || path[j-1] == '/') && (end == len(path) || path[end] == '/') {
			return j
		}
		i = j + 1
	}
}
