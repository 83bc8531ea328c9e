package rmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// keepDays is for how long a candidate is remembered whose modulefile nothing
// names and nothing disproves.
const keepDays = 60

// sharedBy is the number of different packages that make a directory without
// evidence a shared one, or one above them an umbrella.
const sharedBy = 3

// maxName is the longest module name that XALT's tables hold.
const maxName = 63

// Options steer [Merge]. The zero value is good for most sites.
type Options struct {
	Pins         map[string]string // directory to module, "NAME/VERSION" or "NAME/VERSION(FLAVOR)"
	Prefer       []string          // patterns of modules that win, the first the most
	Deny         []string          // patterns of modules that own nothing
	IgnoreFlavor []string          // patterns of modules that are no flavor; "X" also means X/VERSION and X-anything
	SystemDirs   []string          // changes to DefaultSystemDirs: "/x", "/x/**", "!/x"
	Day          int               // today, in days since 1970; remembered candidates age by it
	// Gone tells that a modulefile does not exist any more; nil if that
	// cannot be known here.
	Gone func(file string) bool
}

// The rules that decide, as [Conflict.Rule] and lookup show them.
const (
	RuleOnly     = "only claimant"
	RulePin      = "pinned by the site"
	RulePrefer   = "preferred by the site"
	RuleEvidence = "evidence in the path"
	RuleOwnDir   = "longest own *_DIR"
	RuleDirect   = "claimed by its own path"
	RuleKind     = "kind fits the directory"
	RuleHidden   = "not hidden"
	RuleDefault  = "default version"
	RuleVersion  = "highest version"
	RuleShorter  = "shorter name"
	RuleBytes    = "bytewise order"
	RuleShared   = "left out: shared by several modules, and the path names none"
	RuleUmbrella = "left out: an umbrella over the directories of other modules"
	RuleDenied   = "left out: denied by the site"
	// The next two hold only where no spider-json lists the claimant.
	RuleAlias = "left out: reached through a symlink from another version's directory, and no spider-json tells the owner"
	RuleNamed = "left out: the path names another module, which owns directories beside this one, and no spider-json tells the owner"
)

// A Key is one line of the map.
type Key struct {
	Path    string
	Module  string // NAME/VERSION
	File    string // modulefile, "" if no input tells
	Kind    string // "bin", "lib" or "dir"
	Flavors []string
}

// Name is the module name as XALT uses it: with the first flavor.
func (k *Key) Name() string {
	return string(moduleName([]byte(k.Module), []byte(k.Flavors[0])))
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

// flags of a candidate
const (
	candMap        = 1 << iota // a reverse map names it
	candDirect                 // a spider-json names it: the modulefile says so itself
	candRemembered             // an earlier run saw it
	candSure                   // candMap, and not through a ".." alone
	candInferred               // the path names another version of the claimant
)

type cand struct {
	module  uint32
	next    int32  // index of the next candidate of the path, -1 at the end
	inputs  uint32 // set of inputs
	flavors uint32 // set of flavors, from inputs that tell no modulefile
	kind    kind
	flags   uint8
}

// A nameInfo is what is known of a module name over all its modulefiles.
type nameInfo struct {
	name      string
	pkg       uint32
	modules   []uint32 // one for each modulefile
	dirs      []string // its *_DIR
	hidden    bool
	visible   bool // some modulefile of the name is not hidden
	isDefault bool
	current   bool // an input names it
}

type moduleInfo struct {
	name     uint32
	file     string
	flavors  uint32
	exact    bool // a spider-json told the flavors
	current  bool // an input names it
	day      int
	claims   map[string]bool // of the spider-json; nil if there is none
	lastOnly bool            // known from memory only
}

type merger struct {
	opts     Options
	sys      *systemDirs
	spiders  []numbered
	libs     map[string]string // to the label of the first input that has it
	labels   []string          // of the inputs
	text     builder           // copies of names and paths: the inputs themselves are large
	table    pathTable
	paths    []string // of the table
	head     []int32
	cands    []cand
	nameID   pathTable // of names
	names    []nameInfo
	pkgID    map[string]uint32
	modules  []moduleInfo
	flavors  setTable
	sets     setTable // of input numbers, as text
	sysSeen  map[string]bool
	suspects []string        // modules that claim a system directory with libraries
	roots    map[string]bool // MODULEPATH directories that a spider-json covers
	ones     []uint32        // for one
	order    []uint32        // path numbers, sorted by path
	doubts   *doubter        // nil until it is needed
	below    map[subtree][]neighbour
	res      *Result
}

// Merge makes one map of the inputs, whose labels must differ. Outputs of
// spider-json are evidence: they name the claimants of directories that some
// reverse map holds. The memory is that of the run before, or nil.
func Merge(inputs []*Input, memory *Memory, opts Options) *Result {
	m := newMerger(opts)
	for _, in := range slices.SortedFunc(slices.Values(inputs), func(a, b *Input) int { return strings.Compare(a.Label, b.Label) }) {
		m.add(in)
	}
	return m.finish(memory)
}

func newMerger(opts Options) *merger {
	m := &merger{
		opts:    opts,
		sys:     newSystemDirs(opts.SystemDirs),
		table:   newPathTable(1000),
		nameID:  newPathTable(1000),
		pkgID:   make(map[string]uint32),
		sysSeen: make(map[string]bool),
		roots:   make(map[string]bool),
		libs:    make(map[string]string),
		res:     &Result{},
	}
	m.flavors.id(nil) // 0 is the empty set
	m.sets.id(nil)
	return m
}

// add takes an input in, in the order of the labels, and keeps nothing of a
// reverse map's text: the inputs are large.
func (m *merger) add(in *Input) {
	number := len(m.labels)
	m.labels = append(m.labels, in.Label)
	m.res.Problems = append(m.res.Problems, in.Problems...)
	if in.More > 0 {
		m.res.Problems = append(m.res.Problems, Problem{Input: in.Label, Kind: "more", Text: fmt.Sprintf("and %d problems more", in.More)})
	}
	if number == 0 && len(in.entries) > 1000 {
		m.table = newPathTable(2 * len(in.entries))
	}
	m.addMap(number, in)
	for _, l := range in.Libs {
		if m.libs[l] == "" {
			m.libs[l] = in.Label
		}
	}
	if len(in.spider) > 0 {
		m.spiders = append(m.spiders, numbered{in, number})
	}
}

// A numbered is a spider-json that waits until all reverse maps are in.
type numbered struct {
	*Input
	number int
}

// finish makes the map of what was added.
func (m *merger) finish(memory *Memory) *Result {
	for _, in := range m.spiders {
		m.addSpider(in.number, in.Input)
	}
	m.spiders = nil
	m.addMemory(memory)
	m.addPins()
	for l := range m.libs {
		m.res.Libs = append(m.res.Libs, l)
	}
	slices.Sort(m.res.Libs)
	for _, l := range m.res.Libs {
		if systemLib(l) {
			text := fmt.Sprintf("xlibmap has %s, a library of the operating system; a modulefile leads to its directory, perhaps through a symlink: correct it", l)
			if len(m.suspects) > 0 {
				text += " (" + strings.Join(m.suspects[:min(len(m.suspects), 3)], ", ") + " leads to a system directory)"
			}
			m.res.Problems = append(m.res.Problems, Problem{Kind: "system-library", Input: m.libs[l], Path: l, Text: text})
		}
	}
	m.order = sortedOrder(m.paths)
	m.decide()
	m.remember()
	return m.res
}

// systemLib tells whether a library file belongs to the C library or the
// compiler's runtime.
func systemLib(file string) bool {
	base, _, _ := strings.Cut(file, ".")
	switch base {
	case "libc", "libm", "libdl", "libpthread", "librt", "libutil", "libresolv", "libnsl", "libcrypt", "libanl", "libmvec",
		"libBrokenLocale", "libthread_db", "ld-linux-x86-64", "ld-linux", "ld64", "libgcc_s", "libgcc", "linux-vdso":
		return true
	}
	return false
}

func (m *merger) name(s string) uint32 {
	at := m.nameID.findString(s)
	if at.found {
		return at.id
	}
	s = m.text.keepString(s)
	pkg := packageName(s)
	p, ok := m.pkgID[pkg]
	if !ok {
		p = uint32(len(m.pkgID))
		m.pkgID[pkg] = p
	}
	m.names = append(m.names, nameInfo{name: s, pkg: p})
	return m.nameID.add(at, s)
}

// find gives a module that is known.
func (m *merger) find(mod module) (uint32, bool) {
	at := m.nameID.findString(mod.name)
	if !at.found {
		return 0, false
	}
	for _, id := range m.names[at.id].modules {
		if m.modules[id].file == mod.file {
			return id, true
		}
	}
	return 0, false
}

func (m *merger) module(mod module) uint32 {
	if id, ok := m.find(mod); ok {
		return id
	}
	id := uint32(len(m.modules))
	name := m.name(mod.name)
	m.names[name].modules = append(m.names[name].modules, id)
	m.modules = append(m.modules, moduleInfo{name: name, file: m.text.keepString(mod.file)})
	return id
}

// system tells whether the site lets nobody own a directory.
func (m *merger) system(path string) bool {
	return m.sys.has(path)
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
	m.cands = append(m.cands, cand{module: mod, next: -1})
	if last < 0 {
		m.head[path] = n
	} else {
		m.cands[last].next = n
	}
	return &m.cands[n]
}

func (m *merger) addMap(number int, in *Input) {
	modID := make([]uint32, len(in.modules))
	for i, mod := range in.modules {
		modID[i] = m.module(mod)
		m.modules[modID[i]].current = true
		m.names[m.modules[modID[i]].name].current = true
	}
	flavorID := make([]uint32, len(in.flavors))
	for i, f := range in.flavors {
		flavorID[i] = m.flavors.id(f)
	}
	common := m.commonFlavors(in, flavorID)
	for i := range in.modules {
		if mod := &m.modules[modID[i]]; mod.file != "" && common[i] != 0 {
			mod.flavors = m.flavors.union(mod.flavors, common[i])
		}
	}
	for i := range in.entries {
		e := &in.entries[i]
		at := m.table.findString(e.path)
		id := at.id
		if !at.found {
			if m.system(e.path) {
				if !m.sysSeen[e.path] {
					m.sysSeen[e.path] = true
					m.res.Problems = append(m.res.Problems, Problem{
						Input: in.Label, Line: int(e.line), Kind: "system-directory", Path: e.path,
						Text: fmt.Sprintf("key %q of %s left out: it is a system directory; correct the modulefile, or the symlink that leads there", e.path, in.modules[e.module]),
					})
				}
				if who := in.modules[e.module].String(); e.kind != kindBin && !slices.Contains(m.suspects, who) && len(m.suspects) < 100 {
					m.suspects = append(m.suspects, who)
				}
				continue
			}
			id = m.table.add(at, m.text.keepString(e.path))
			m.head = append(m.head, -1)
		}
		c := m.claim(id, modID[e.module])
		c.flags |= candMap
		if !e.lexical {
			c.flags |= candSure
		}
		c.kind |= e.kind
		c.inputs = m.sets.with(c.inputs, number)
		if in.modules[e.module].file == "" {
			c.flavors = m.flavors.union(c.flavors, flavorID[e.flavor])
		}
		if e.kind&kindDir != 0 {
			n := &m.names[m.modules[modID[e.module]].name]
			if path := m.table.list[id]; !slices.Contains(n.dirs, path) {
				n.dirs = append(n.dirs, path)
			}
		}
	}
}

// commonFlavors gives, for each module of an input, the flavors that all of
// its keys have. Spider mixes the flavors of all claimants of a directory into
// one entry; what is mixed in is not on the module's other keys.
func (m *merger) commonFlavors(in *Input, flavorID []uint32) []uint32 {
	common := make([]uint32, len(in.modules))
	fewest := make([]uint32, len(in.modules))
	seen := make([]bool, len(in.modules))
	for i := range in.entries {
		e := &in.entries[i]
		f := flavorID[e.flavor]
		switch {
		case !seen[e.module]:
			seen[e.module], common[e.module], fewest[e.module] = true, f, f
		case common[e.module] != f:
			common[e.module] = m.flavors.intersect(common[e.module], f)
			if m.flavors.less(f, fewest[e.module]) {
				fewest[e.module] = f
			}
		}
	}
	for i := range common {
		if common[i] == 0 {
			common[i] = fewest[i]
		}
	}
	return common
}

func (m *merger) addSpider(number int, in *Input) {
	for i := range in.spider {
		s := &in.spider[i]
		id := m.module(s.module)
		mod := &m.modules[id]
		n := &m.names[mod.name]
		mod.current, n.current = true, true
		f := m.flavors.id(s.flavors)
		if mod.exact {
			f = m.flavors.union(mod.flavors, f)
		} else {
			mod.claims = make(map[string]bool, len(s.claims))
		}
		mod.flavors, mod.exact = f, true
		n.visible = n.visible || !s.hidden
		n.hidden = n.hidden || s.hidden
		n.isDefault = n.isDefault || s.isDefault
		if s.root != "" {
			m.roots[strings.TrimRight(s.root, "/")] = true
		}
		for _, c := range s.claims {
			path := cleanPath(c.path, true)
			mod.claims[path] = true
			if c.kind == kindDir && !slices.Contains(n.dirs, path) {
				n.dirs = append(n.dirs, path)
			}
			at := m.table.findString(path)
			if !at.found { // no map holds it: nothing tells that it exists
				continue
			}
			cd := m.claim(at.id, id)
			if hasDotDot(c.path) {
				cd.flags |= candMap
			} else {
				cd.flags |= candDirect | candSure
			}
			cd.kind |= c.kind
			cd.inputs = m.sets.with(cd.inputs, number)
		}
	}
}

// addMemory adds the candidates of earlier runs: the owner that spider gives a
// shared directory is random, so the others of yesterday are still claimants.
// They expire with their modulefile.
func (m *merger) addMemory(mem *Memory) {
	if mem == nil {
		return
	}
	const dead = ^uint32(0)
	var ids, lists []uint32
	line, bad := mem.walk(func(r remembered) {
		if !m.alive(r) {
			ids = append(ids, dead)
			return
		}
		_, known := m.find(r.module)
		id := m.module(r.module)
		ids = append(ids, id)
		if mod := &m.modules[id]; !known {
			mod.lastOnly, mod.day = true, r.day
			mod.flavors = m.flavors.id(r.flavors)
		}
	}, func(list []string) {
		lists = append(lists, m.flavors.id(list))
	}, func(path []byte, e memoryEntry) {
		id := ids[e.module]
		if id == dead {
			return
		}
		at := m.table.find(path)
		if !at.found {
			return
		}
		mod := &m.modules[id]
		if mod.claims != nil && !mod.claims[string(path)] {
			return // the modulefile does not name it any more
		}
		c := m.claim(at.id, id)
		if c.flags == 0 {
			c.kind = e.kind &^ kindUnsure
			if e.flavor > 0 {
				c.flavors = lists[e.flavor-1]
			}
		}
		c.flags |= candRemembered
		if e.kind&kindUnsure == 0 {
			c.flags |= candSure
		}
	})
	if bad != "" {
		m.res.Problems = append(m.res.Problems, Problem{
			Input: mem.name, Line: line, Kind: "candidates",
			Text: bad + "; what follows is not known, and the owners of shared directories are learned anew",
		})
	}
}

func (m *merger) alive(r remembered) bool {
	if r.file == "" {
		at := m.nameID.findString(r.name)
		return at.found && m.names[at.id].current
	}
	if _, ok := m.find(r.module); ok {
		return true
	}
	for root := range m.roots {
		if within(r.file, root) { // a spider-json covers it and does not list it
			return false
		}
	}
	if m.opts.Gone != nil && m.opts.Gone(r.file) {
		return false
	}
	return m.opts.Day-r.day <= keepDays
}

func (m *merger) addPins() {
	for path := range m.opts.Pins {
		if at := m.table.findString(path); !at.found {
			m.table.add(at, path)
			m.head = append(m.head, -1)
		}
	}
	m.paths = m.table.list
}

// A choice is the decision on one path before the umbrellas are known.
type choice struct {
	names []uint32 // claimants, best first
	rule  string
	ev    evidence // of the best
	level bool     // ev is known
	out   bool
}

// A frame is a path on the way down to the current one, in decide.
type frame struct {
	index  int      // in keys
	below  []uint32 // packages of other modules below, at most sharedBy
	length int
}

// decide finds the winner of every path, then takes the umbrellas out.
func (m *merger) decide() {
	type decided struct {
		path uint32
		choice
	}
	all := make([]decided, 0, len(m.order))
	umbrella := make(map[int]bool)
	var stack []frame
	pop := func() {
		f := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if len(f.below) < sharedBy {
			return
		}
		d := &all[f.index]
		if !d.level {
			d.ev, _ = evidenceOf(m.paths[d.path], m.names[d.names[0]].name)
			d.level = true
		}
		if d.ev == evNone && d.rule != RulePin && d.rule != RulePrefer {
			umbrella[f.index] = true
		}
	}
	var buf []uint32
	for _, p := range m.order {
		path := m.paths[p]
		for len(stack) > 0 {
			if top := m.paths[all[stack[len(stack)-1].index].path]; strings.HasPrefix(path, top) {
				break
			}
			pop()
		}
		var c choice
		c, buf = m.choose(p, buf)
		all = append(all, decided{p, c})
		if c.out || len(c.names) == 0 && c.rule != RulePin {
			continue
		}
		pkg, known := uint32(0), false
		if len(c.names) > 0 {
			pkg, known = m.names[c.names[0]].pkg, true
		}
		for i := range stack {
			f := &stack[i]
			if path[f.length] != '/' || !known || len(f.below) >= sharedBy {
				continue
			}
			if own := all[f.index].names; len(own) > 0 && m.names[own[0]].pkg != pkg && !slices.Contains(f.below, pkg) {
				f.below = append(f.below, pkg)
			}
		}
		if known {
			stack = append(stack, frame{index: len(all) - 1, length: len(path)})
		}
	}
	for len(stack) > 0 {
		pop()
	}
	long := make(map[string]bool)
	m.res.Keys = make([]Key, 0, len(all))
	for i := range all {
		d := &all[i]
		if umbrella[i] {
			d.out, d.rule = true, RuleUmbrella
		}
		if d.out || len(d.names) > 1 || d.rule == RulePin {
			if m.head[d.path] >= 0 || d.rule == RulePin {
				m.conflict(d.path, &d.choice)
			}
		}
		if d.out {
			continue
		}
		k := m.key(d.path, &d.choice)
		m.res.Keys = append(m.res.Keys, k)
		if len(k.Module) > maxName/2 {
			if name := k.Name(); len(name) > maxName && !long[name] {
				long[name] = true
				m.res.Problems = append(m.res.Problems, Problem{
					Input: m.source(d.path), Kind: "long-name", Path: name,
					Text: fmt.Sprintf("module name %q of %q has %d bytes: XALT's own tables cut it to %d, xaltpipe's do not; a shorter name, or --ignore-flavor, avoids it", name, k.Path, len(name), maxName),
				})
			}
		}
	}
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
	first := m.head[p]
	if c := &m.cands[first]; c.next < 0 && len(m.opts.Deny) == 0 { // the common case
		n := m.modules[c.module].name
		if other, ok := m.otherVersion(path, n); ok {
			m.infer(p, other)
		} else {
			return m.only(path, n), buf
		}
	}
	names := buf[:0]
	for i := first; i >= 0; i = m.cands[i].next {
		if n := m.modules[m.cands[i].module].name; !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		if other, ok := m.otherVersion(path, n); ok && !slices.Contains(names, other) {
			m.infer(p, other)
			names = append(names, other)
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
	names = m.shortNames(names)
	if len(names) == 1 {
		return m.only(path, names[0]), buf
	}
	return m.rank(p, names), buf
}

// only makes the choice where there is one claimant.
func (m *merger) only(path string, n uint32) choice {
	c := choice{names: m.one(n), rule: RuleOnly}
	if rule := m.doubt(path, n); rule != "" && !m.preferred(n) {
		c.out, c.rule = true, rule
	}
	return c
}

// preferred tells whether the site prefers a module.
func (m *merger) preferred(n uint32) bool {
	return slices.ContainsFunc(m.opts.Prefer, func(pat string) bool { return matchName(pat, m.names[n].name) })
}

// one gives a list of one name; lists are cut from a larger one.
func (m *merger) one(n uint32) []uint32 {
	if len(m.ones) == cap(m.ones) {
		m.ones = make([]uint32, 0, 4096)
	}
	m.ones = append(m.ones, n)
	return m.ones[len(m.ones)-1:]
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

// infer makes every current modulefile of a name a candidate for a path.
func (m *merger) infer(p, name uint32) {
	best := -1
	for _, i := range m.names[name].modules {
		if mod := &m.modules[i]; mod.current && (best < 0 || mod.file < m.modules[best].file) {
			best = int(i)
		}
	}
	if best >= 0 {
		c := m.claim(p, uint32(best))
		c.flags |= candInferred | candSure
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			c.kind |= m.cands[i].kind
		}
	}
}

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
	c := choice{rule: rule, ev: best.ev, level: true}
	var pkgs []uint32
	for i := range ranks {
		c.names = append(c.names, ranks[i].name)
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
	start, _ := slices.BinarySearchFunc(m.order, dir+"/", func(o uint32, s string) int { return strings.Compare(m.paths[o], s) })
	var seen []neighbour
	for _, o := range m.order[start:] {
		if !strings.HasPrefix(m.paths[o], dir) || len(m.paths[o]) <= len(dir) || m.paths[o][len(dir)] != '/' {
			break
		}
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

// key makes the line of the map for a decided path.
func (m *merger) key(p uint32, c *choice) Key {
	k := Key{Path: m.paths[p]}
	if c.rule == RulePin {
		name, flavor := splitFlavor(m.opts.Pins[k.Path])
		k.Module, k.Flavors = name, []string{flavorText(flavor)}
		var kinds kind
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			if mod := &m.modules[m.cands[i].module]; m.names[mod.name].name == name {
				k.File = mod.file
				kinds |= m.cands[i].kind
			}
		}
		k.Kind = kinds.String()
		return k
	}
	name := c.names[0]
	k.Module = m.names[name].name
	var kinds kind
	var exact, common, short, old uint32
	for i := m.head[p]; i >= 0; i = m.cands[i].next {
		cd := &m.cands[i]
		mod := &m.modules[cd.module]
		if mod.name != name {
			continue
		}
		kinds |= cd.kind
		if mod.file != "" && (k.File == "" || mod.file < k.File) {
			k.File = mod.file
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
	k.Kind = kinds.String()
	set := cmp.Or(exact, common, short, old)
	k.Flavors = m.withoutIgnored(set)
	return k
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
		out.Module = m.names[c.names[0]].name
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
