package rmap

import (
	"cmp"
	"slices"
	"strings"
)

// A Key is one line of the map.
type Key struct {
	Path string
	*Owner
	kind kind
}

// An Owner is what a key says of the module that owns the directory. Keys that
// follow each other share it.
type Owner struct {
	Module  string   // NAME/VERSION
	File    string   // modulefile, "" if no input tells
	Flavors []string // at least one
}

// Name is the module name as XALT uses it: with the first flavor.
func (o *Owner) Name() string {
	return string(moduleName([]byte(o.Module), []byte(o.Flavors[0])))
}

func (o *Owner) equal(p *Owner) bool {
	return o.Module == p.Module && o.File == p.File && slices.Equal(o.Flavors, p.Flavors)
}

// A Claimant is one module that claims a directory.
type Claimant struct {
	Module string   `json:"module"`
	File   string   `json:"modulefile,omitempty"`
	Inputs []string `json:"inputs,omitempty"` // labels; none if only remembered
	Why    string   `json:"why,omitempty"`    // "remembered" or "inferred", if no input claims it
}

// A Conflict is a directory with more than one claimant, or one that was left
// out of the map.
type Conflict struct {
	Path      string     `json:"path"`
	Module    string     `json:"module"` // the winner; "" if left out
	Rule      string     `json:"rule"`
	Claimants []Claimant `json:"claimants"` // sorted by name
}

// A Result is what [Merge] makes. It depends on the inputs, the memory and the
// options only, not on the order of the inputs.
type Result struct {
	Keys      []Key      // sorted bytewise by path
	Libs      []string   // xlibmap, sorted
	Conflicts []Conflict // sorted by path
	Problems  []Problem  // of the inputs, in the order of their labels, then of the whole
	Memory    *Memory    // what the next run should know
}

// owner gives the owner of a decided path, and the kind of the directory.
func (m *merger) owner(p uint32, c *choice) (o Owner, k kind) {
	if c.rule == RulePin {
		name, flavor := splitFlavor(m.opts.Pins[m.paths[p]])
		o = Owner{Module: name, Flavors: []string{flavorText(flavor)}}
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			if mod := &m.modules[m.cands[i].module]; m.names[mod.name].name == name {
				o.File = mod.file
				k |= m.cands[i].kind
			}
		}
		return o, k
	}
	o.Module = m.names[c.name].name
	var exact, common, short, old uint32
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		cd := &m.cands[i]
		mod := &m.modules[cd.module]
		if mod.name != c.name {
			continue
		}
		k |= cd.kind
		if mod.file != "" && (o.File == "" || mod.file < o.File) {
			o.File = mod.file
		}
		switch {
		case mod.exact:
			exact = m.flavors.union(exact, mod.flavors)
		case mod.file != "" && mod.current:
			common = m.flavors.union(common, mod.flavors)
		case mod.file != "":
			old = m.flavors.union(old, mod.flavors)
		default:
			short = m.flavors.union(short, cd.flavors)
		}
	}
	o.Flavors = m.withoutIgnored(cmp.Or(exact, common, short, old))
	return o, k
}

// withoutIgnored gives the flavors of a set less the ignored ones. A flavor
// with an ignored module in it goes; if that leaves none, the ignored modules
// alone go.
func (m *merger) withoutIgnored(set uint32) []string {
	list := m.flavors.list(set)
	if len(list) == 0 {
		return []string{"default"}
	}
	if len(m.opts.IgnoreFlavor) == 0 {
		return list
	}
	return m.flavors.filtered(set, func(list []string) []string {
		var kept, stripped []string
		for _, f := range list {
			parts := strings.Split(f, ":")
			rest := slices.DeleteFunc(slices.Clone(parts), func(mod string) bool {
				return mod != "default" && ignored(m.opts.IgnoreFlavor, mod)
			})
			if len(rest) == len(parts) {
				kept = append(kept, f)
			} else {
				stripped = append(stripped, strings.Join(rest, ":"))
			}
		}
		if len(kept) == 0 {
			kept = stripped
			slices.Sort(kept)
			kept = slices.Compact(kept)
		}
		return kept
	})
}

// ignored tells whether a module of a flavor is meant by one of the patterns.
func ignored(patterns []string, mod string) bool {
	for _, p := range patterns {
		if strings.ContainsAny(p, "*?") {
			if matchName(p, mod) {
				return true
			}
		} else if rest, ok := strings.CutPrefix(mod, p); ok && (rest == "" || strings.IndexByte("/-_.", rest[0]) >= 0) {
			return true
		}
	}
	return false
}

// conflict records a path that had several claimants, or was left out.
func (m *merger) conflict(p uint32, c *choice) {
	out := Conflict{Path: m.paths[p], Rule: c.rule}
	switch {
	case c.rule == RulePin:
		out.Module = m.opts.Pins[out.Path]
	case !c.out:
		out.Module = m.names[c.name].name
	}
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		cd := &m.cands[i]
		mod := &m.modules[cd.module]
		cl := Claimant{Module: m.names[mod.name].name, File: mod.file}
		for _, s := range m.sets.list(cd.inputs) {
			cl.Inputs = append(cl.Inputs, m.labels[setNumber(s)])
		}
		switch {
		case len(cl.Inputs) > 0:
		case cd.flags&candRemembered != 0:
			cl.Why = "remembered"
		default:
			cl.Why = "inferred"
		}
		out.Claimants = append(out.Claimants, cl)
	}
	slices.SortFunc(out.Claimants, func(a, b Claimant) int {
		return cmp.Or(strings.Compare(a.Module, b.Module), strings.Compare(a.File, b.File))
	})
	m.res.Conflicts = append(m.res.Conflicts, out)
}
