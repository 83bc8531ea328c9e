package rmap

import (
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
