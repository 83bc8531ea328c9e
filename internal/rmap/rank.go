package rmap

import (
	"slices"
	"strings"
)

// A ranking is all that the total order looks at, for one claimant.
type ranking struct {
	name      uint32
	text      string
	prefer    int
	ev        evidence
	at        int
	ownDir    int
	direct    int // 2: the modulefile says so; 1: spider found it; 0: only if no symlink is before a ".."
	fit       bool
	visible   bool
	isDefault bool
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareRank is the total order: above 0 if a is better, with the rule that
// told.
func compareRank(a, b *ranking) (int, string) {
	for _, c := range []struct {
		d    int
		rule string
	}{
		{b.prefer - a.prefer, RulePrefer},
		{int(a.ev) - int(b.ev), RuleEvidence},
		{a.ownDir - b.ownDir, RuleOwnDir},
		{a.direct - b.direct, RuleDirect},
		{bit(a.fit) - bit(b.fit), RuleKind},
		{bit(a.visible) - bit(b.visible), RuleHidden},
		{bit(a.isDefault) - bit(b.isDefault), RuleDefault},
	} {
		if c.d != 0 {
			return c.d, c.rule
		}
	}
	if d := compareVersions(versionOf(a.text), versionOf(b.text)); d != 0 {
		return d, RuleVersion
	}
	if d := len(b.text) - len(a.text); d != 0 {
		return d, RuleShorter
	}
	return strings.Compare(b.text, a.text), RuleBytes
}

func versionOf(name string) string {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[i+1:]
	}
	return ""
}

func (m *merger) rank(p uint32, names []uint32) choice {
	path := m.paths[p]
	ranks := make([]ranking, 0, len(names))
	for _, n := range names {
		ranks = append(ranks, m.ranking(p, n))
	}
	m.weakenName(p, path, ranks)
	slices.SortFunc(ranks, func(a, b ranking) int { d, _ := compareRank(&b, &a); return d })
	best := &ranks[0]
	_, rule := compareRank(best, &ranks[1])
	if rule == RuleEvidence {
		rule = RuleEvidence + ": " + best.ev.String()
	}
	c := choice{rule: rule, name: best.name, one: true, several: true, ev: best.ev, level: true}
	var pkgs []uint32
	for i := range ranks {
		if pkg := m.names[ranks[i].name].pkg; ranks[i].direct > 0 && !slices.Contains(pkgs, pkg) {
			pkgs = append(pkgs, pkg)
		}
	}
	switch {
	case best.prefer < len(m.opts.Prefer):
	case best.ev == evNone && len(pkgs) >= sharedBy:
		c.out, c.rule = true, RuleShared
	case best.ev <= evVersion && m.families(ranks, best.ev) >= sharedBy:
		c.out, c.rule = true, RuleShared
	case best.ev <= evWordRow:
		if rule := m.doubt(path, best.name); rule != "" {
			c.out, c.rule = true, rule
		}
	}
	return c
}

// families counts the products among the claimants for which the path speaks as
// much as for the best: that three have the version in the path is evidence for
// none, unless they are one product's modules, as nvhpc and nvhpc-nompi.
func (m *merger) families(ranks []ranking, ev evidence) int {
	var seen []string
	for i := range ranks {
		if ranks[i].ev != ev || ranks[i].direct == 0 {
			continue
		}
		base := lower(packageName(ranks[i].text))
		base = base[strings.LastIndexByte(base, '/')+1:]
		first, _, _ := strings.Cut(base, "-")
		if !slices.Contains(seen, first) {
			seen = append(seen, first)
		}
	}
	return len(seen)
}

func (m *merger) ranking(p, name uint32) ranking {
	path, info := m.paths[p], &m.names[name]
	r := ranking{
		name:      name,
		text:      info.name,
		prefer:    len(m.opts.Prefer),
		visible:   !info.hidden || info.visible,
		isDefault: info.isDefault,
	}
	if !info.hidden && strings.Contains("/"+info.name, "/.") {
		r.visible = false
	}
	for i, pat := range m.opts.Prefer {
		if matchName(pat, info.name) {
			r.prefer = i
			break
		}
	}
	r.ev, r.at = evidenceOf(path, info.name)
	for _, d := range info.dirs {
		if within(path, d) {
			r.ownDir = max(r.ownDir, strings.Count(d, "/"))
		}
	}
	var k kind
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		if c := &m.cands[i]; m.modules[c.module].name == name {
			k |= c.kind
			switch {
			case c.flags&candDirect != 0:
				r.direct = 2
			case c.flags&candSure != 0:
				r.direct = max(r.direct, 1)
			}
		}
	}
	r.fit = fits(path, k)
	return r
}

// weakenName takes away the evidence of a name alone where the component that
// matches is the root of a whole tree of other modules: "cray" in
// /opt/cray/pe/lib64 says nothing.
func (m *merger) weakenName(p uint32, path string, ranks []ranking) {
	for i := range ranks {
		r := &ranks[i]
		if r.at == 0 { // more than a name matched
			continue
		}
		if m.othersBelow(path[:r.at], p, m.names[r.name].pkg) >= sharedBy {
			r.ev = evNone
		}
	}
}

// A neighbour is a package that claims directories below another one.
type neighbour struct {
	pkg, path uint32
	more      bool // than that path
}

type subtree struct {
	dir string
	pkg uint32
}

// othersBelow counts, up to sharedBy, the packages other than pkg that claim
// directories below dir, other than the path p itself.
func (m *merger) othersBelow(dir string, p, pkg uint32) int {
	list, known := m.below[subtree{dir, pkg}]
	if !known {
		list = m.neighbours(dir, pkg)
		if m.below == nil {
			m.below = make(map[subtree][]neighbour)
		}
		m.below[subtree{dir, pkg}] = list
	}
	n := 0
	for _, o := range list {
		if o.more || o.path != p {
			n++
		}
	}
	return min(n, sharedBy)
}

// neighbours lists packages other than pkg that claim directories below dir: all,
// or so many that sharedBy are left whichever path is out of account.
func (m *merger) neighbours(dir string, pkg uint32) []neighbour {
	dir += "/"
	start, _ := slices.BinarySearch(m.paths, dir)
	var seen []neighbour
	for o := uint32(start); int(o) < len(m.paths) && strings.HasPrefix(m.paths[o], dir); o++ {
		fresh := 0
		for i := m.head[o]; i >= 0 && fresh < sharedBy; i = m.cands[i].next {
			other := m.names[m.modules[m.cands[i].module].name].pkg
			if other == pkg {
				continue
			}
			if at := slices.IndexFunc(seen, func(n neighbour) bool { return n.pkg == other }); at >= 0 {
				seen[at].more = seen[at].more || seen[at].path != o
				continue
			}
			seen = append(seen, neighbour{pkg: other, path: o})
			fresh++
		}
		if len(seen) >= 2*sharedBy { // no path alone has more than sharedBy of them
			break
		}
	}
	return seen
}
