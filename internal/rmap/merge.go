package rmap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
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
	// The next three hold only where no spider-json lists the claimant.
	RuleAlias = "left out: reached through a symlink from another version's directory, and no spider-json tells the owner"
	RuleNamed = "left out: the path names another module, which owns directories beside this one, and no spider-json tells the owner"
	RuleTree  = "left out: the module has the name of a whole tree, the path that of a package in it, and no spider-json tells the owner"
)

// flags of a candidate
const (
	candMap        = 1 << iota // a reverse map names it
	candDirect                 // a spider-json names it: the modulefile says so itself
	candRemembered             // an earlier run saw it
	candSure                   // candMap, and not through a ".." alone
	candInferred               // the path names another version of the claimant
	candListed                 // the spider-json of the module lists it
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
	first     int32    // of its modules, one for each modulefile
	dirs      []string // its *_DIR
	hidden    bool
	visible   bool // some modulefile of the name is not hidden
	isDefault bool
	current   bool // an input names it
}

type moduleInfo struct {
	name     uint32
	next     int32 // module of the same name, -1 at the end
	file     string
	flavors  uint32
	exact    bool // a spider-json lists it, and told the flavors
	current  bool // an input names it
	lastOnly bool // known from memory only
	day      int32
}

type merger struct {
	opts     Options
	sys      *systemDirs
	streams  []*stream         // the claims of the reverse maps, in the order of the labels
	spiders  []numbered        // which wait until all reverse maps are in
	libs     map[string]string // to the label of the first input that has it
	labels   []string          // of the inputs
	text     builder           // copies of names and paths: the inputs themselves are large
	paths    []string          // sorted bytewise
	head     []int32           // first candidate of each path, -1 if there is none
	cands    []cand
	nameID   pathTable // of names
	names    []nameInfo
	pkgID    map[string]uint32
	moduleID pathTable // of NAME, NUL, modulefile
	modules  []moduleInfo
	scratch  []byte // of find
	flavors  setTable
	sets     setTable        // of input numbers, as text
	suspects []string        // modules that claim a system directory with libraries
	roots    map[string]bool // MODULEPATH directories that a spider-json covers
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
	m.collect(memory)
	res := m.finish()
	text := whole(m.memory())
	res.Memory = &Memory{open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }}
	return res
}

func newMerger(opts Options) *merger {
	m := &merger{
		opts:     opts,
		sys:      newSystemDirs(opts.SystemDirs),
		nameID:   newPathTable(1000),
		pkgID:    make(map[string]uint32),
		moduleID: newPathTable(1000),
		roots:    make(map[string]bool),
		libs:     make(map[string]string),
		res:      &Result{},
	}
	m.flavors.id(nil) // 0 is the empty set
	m.sets.id(nil)
	return m
}

// add takes an input in, in the order of the labels. Its claims wait for those
// of the others.
func (m *merger) add(in *Input) {
	number := len(m.labels)
	m.labels = append(m.labels, in.Label)
	m.res.Problems = append(m.res.Problems, in.Problems...)
	if in.More > 0 {
		m.res.Problems = append(m.res.Problems, Problem{Input: in.Label, Kind: "more", Text: fmt.Sprintf("and %d problems more", in.More)})
	}
	for _, l := range in.Libs {
		if m.libs[l] == "" {
			m.libs[l] = in.Label
		}
	}
	if in.Form == FormSpider {
		m.spiders = append(m.spiders, numbered{in, number})
	} else {
		m.addMap(number, in)
	}
}

type numbered struct {
	*Input
	number int
}

// collect makes the paths and their candidates of what was added, of the memory,
// which may be nil, and of the pins. They do not change any more then.
func (m *merger) collect(memory *Memory) {
	for _, in := range m.spiders {
		m.addSpider(in.number, in.Input)
	}
	done := m.addMemory(memory)
	m.addPins()
	m.mergeStreams()
	done()
	m.streams, m.spiders = nil, nil
}

// finish makes the map of what was collected.
func (m *merger) finish() *Result {
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
	m.decide()
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
	pkg := packageName(s)
	p, ok := m.pkgID[pkg]
	if !ok {
		p = uint32(len(m.pkgID))
		m.pkgID[pkg] = p
	}
	m.names = append(twice(m.names), nameInfo{name: s, pkg: p, first: -1})
	return m.nameID.add(at, s)
}

// findModule tells where a module is, or belongs; m.scratch is then what it is
// found by.
func findModule[T string | []byte](m *merger, name, file T) tablePlace {
	m.scratch = append(append(append(m.scratch[:0], name...), 0), file...)
	return m.moduleID.find(m.scratch)
}

func (m *merger) module(mod module) uint32 {
	at := findModule(m, mod.name, mod.file)
	if at.found {
		return at.id
	}
	key := m.text.keep(m.scratch)
	name := m.name(key[:len(mod.name)])
	n := &m.names[name]
	m.modules = append(twice(m.modules), moduleInfo{name: name, next: n.first, file: key[len(mod.name)+1:]})
	id := m.moduleID.add(at, key)
	n.first = int32(id)
	return id
}

// addMap takes in the modules of a reverse map.
func (m *merger) addMap(number int, in *Input) {
	s := newStream(fromMap, number, in)
	for i, mod := range in.modules {
		id := m.module(mod)
		s.moduleIDs[i] = id
		m.modules[id].current = true
		m.names[m.modules[id].name].current = true
	}
	for i, f := range in.flavors {
		s.flavorIDs[i] = m.flavors.id(f)
	}
	common := m.commonFlavors(in, s.flavorIDs)
	for i := range in.modules {
		if mod := &m.modules[s.moduleIDs[i]]; mod.file != "" && common[i] != 0 {
			mod.flavors = m.flavors.union(mod.flavors, common[i])
		}
	}
	m.streams = append(m.streams, s)
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

// addSpider takes in the modules of a spider-json, whose flavors count alone.
func (m *merger) addSpider(number int, in *Input) {
	s := newStream(fromSpider, number, in)
	m.streams = append(m.streams, s)
	for i := range in.spider {
		sp := &in.spider[i]
		id := m.module(sp.module)
		s.moduleIDs[i] = id
		mod := &m.modules[id]
		n := &m.names[mod.name]
		mod.current, n.current = true, true
		f := m.flavors.id(sp.flavors)
		if mod.exact {
			f = m.flavors.union(mod.flavors, f)
		}
		mod.flavors, mod.exact = f, true
		n.visible = n.visible || !sp.hidden
		n.hidden = n.hidden || sp.hidden
		n.isDefault = n.isDefault || sp.isDefault
		if sp.root != "" {
			m.roots[strings.TrimRight(sp.root, "/")] = true
		}
	}
}

// addMemory takes in the candidates of earlier runs: the owner that spider
// gives a shared directory is random, so the others of yesterday are still
// claimants. They expire with their modulefile. The function that it gives is
// to be called once the streams were merged.
func (m *merger) addMemory(mem *Memory) (done func()) {
	if mem == nil {
		return func() {}
	}
	text, err := mem.open()
	if err != nil {
		m.res.Problems = append(m.res.Problems, Problem{Input: mem.name, Kind: "candidates", Text: err.Error()})
		return func() {}
	}
	s := &stream{from: fromMemory, memory: &memoryReader{in: bufio.NewReaderSize(text, encodeChunk)}}
	s.memory.header(func(r *remembered) {
		id := dead
		if at := findModule(m, r.name, r.file); at.found {
			id = at.id
		} else if mod := (module{string(r.name), string(r.file)}); m.alive(mod, r.day) {
			id = m.module(mod)
			info := &m.modules[id]
			info.lastOnly, info.day = true, int32(r.day)
			info.flavors = m.flavors.id(unescaped(r.flavors))
		}
		s.moduleIDs = append(twice(s.moduleIDs), id)
	}, func(list []string) {
		s.flavorIDs = append(s.flavorIDs, m.flavors.id(list))
	})
	m.streams = append(m.streams, s)
	return func() {
		if r := s.memory; r.bad != "" {
			m.res.Problems = append(m.res.Problems, Problem{
				Input: mem.name, Line: r.line, Kind: "candidates",
				Text: r.bad + "; what follows is not known, and the owners of shared directories are learned anew",
			})
		}
		_ = text.Close() // it was only read
	}
}

// alive tells whether a module that no input names, last on a day, is to be
// remembered.
func (m *merger) alive(mod module, day int) bool {
	if mod.file == "" {
		at := m.nameID.findString(mod.name)
		return at.found && m.names[at.id].current
	}
	for root := range m.roots {
		if within(mod.file, root) { // a spider-json covers it and does not list it
			return false
		}
	}
	if m.opts.Gone != nil && m.opts.Gone(mod.file) {
		return false
	}
	return m.opts.Day-day <= keepDays
}

// addPins has a path for each pin.
func (m *merger) addPins() {
	if len(m.opts.Pins) == 0 {
		return
	}
	in := &Input{}
	for _, path := range slices.Sorted(maps.Keys(m.opts.Pins)) {
		in.entries = append(in.entries, entry{at: uint32(len(in.text)), size: uint32(len(path))})
		in.text = append(in.text, path...)
	}
	m.streams = append(m.streams, newStream(fromPins, 0, in))
}
