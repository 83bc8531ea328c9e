package rmap

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// A Memory is what one run leaves to the next: every claim that any run saw,
// as spider names the owner of a shared directory by chance. It is kept as
// text, the same as in its file:
//
//	rmap-merge candidates 1
//	m  DAY NAME MODULEFILE FLAVOR...    a module, last named by an input on DAY (since 1970)
//	f  FLAVOR...                        a list of flavors
//	p  PATH MODULE,KIND,FLAVORS...      a directory and its claimants
//	end
//
// Fields are separated by tabs. Modules and lists count from 0 and 1 in the
// order of their lines, before they are used; list 0 stands for the module's
// own flavors.
type Memory struct {
	name string // of its file
	text []byte
}

// memoryHead is the first line of a memory.
const memoryHead = "rmap-merge candidates 1"

// kindUnsure marks, in a memory, a claim that holds only if no symlink is
// before a ".." in its path.
const kindUnsure kind = 1 << 7

// A remembered is what a memory says of a module; the parts are valid only
// until the next one.
type remembered struct {
	name, file []byte
	day        int      // last named by an input, in days since 1970
	flavors    [][]byte // escaped
}

type memoryEntry struct {
	module uint32
	flavor uint32 // number of the list; 0: those of the module
	kind   kind
}

// encodeMemory writes the memory of this run. As it is as large as a map, it
// is not kept.
func (m *merger) encodeMemory(emit func([]byte) error) error {
	text := append(append(make([]byte, 0, encodeChunk+64<<10), memoryHead...), '\n')
	full := func() (err error) {
		if len(text) > encodeChunk {
			err = emit(text)
			text = text[:0]
		}
		return err
	}
	moduleAt := make([]int32, len(m.modules))
	for i := range moduleAt {
		moduleAt[i] = -1
	}
	flavorAt := make(map[uint32]uint32)
	modules := int32(0)
	for p := range m.paths {
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			c := &m.cands[i]
			if !c.kept() {
				continue
			}
			if moduleAt[c.module] < 0 {
				moduleAt[c.module] = modules
				modules++
				text = m.appendModule(text, &m.modules[c.module])
			}
			if _, ok := flavorAt[c.flavors]; !ok && c.flavors != 0 {
				flavorAt[c.flavors] = uint32(len(flavorAt) + 1)
				text = append(text, 'f')
				for _, flavor := range m.flavors.list(c.flavors) {
					text = appendField(text, flavor)
				}
				text = append(text, '\n')
			}
		}
		if err := full(); err != nil {
			return err
		}
	}
	for p, path := range m.paths {
		start := len(text)
		text = appendField(append(text, 'p'), path)
		any := false
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			c := &m.cands[i]
			if !c.kept() {
				continue
			}
			any = true
			e := memoryEntry{module: uint32(moduleAt[c.module]), kind: c.kind, flavor: flavorAt[c.flavors]}
			if c.flags&candSure == 0 {
				e.kind |= kindUnsure
			}
			text = e.append(text)
		}
		if text = append(text, '\n'); !any {
			text = text[:start]
		}
		if err := full(); err != nil {
			return err
		}
	}
	return emit(append(text, "end\n"...))
}

// kept tells whether the next run should know of a candidate.
func (c *cand) kept() bool { return c.flags&(candMap|candDirect|candRemembered) != 0 }

// appendModule appends the line of a module.
func (m *merger) appendModule(b []byte, mod *moduleInfo) []byte {
	day := m.opts.Day
	if mod.lastOnly {
		day = int(mod.day)
	}
	b = strconv.AppendInt(append(b, "m\t"...), int64(day), 10)
	b = appendField(appendField(b, m.names[mod.name].name), mod.file)
	for _, f := range m.flavors.list(mod.flavors) {
		b = appendField(b, f)
	}
	return append(b, '\n')
}

// append appends "\tMODULE,KIND,FLAVORS".
func (e *memoryEntry) append(b []byte) []byte {
	b = strconv.AppendUint(append(b, '\t'), uint64(e.module), 10)
	b = strconv.AppendUint(append(b, ','), uint64(e.kind), 10)
	return strconv.AppendUint(append(b, ','), uint64(e.flavor), 10)
}

// appendField appends a tab and a text in which backslash, tab and newline are
// escaped.
func appendField(b []byte, s string) []byte {
	b = append(b, '\t')
	for {
		i := 0
		for i < len(s) && s[i] != '\\' && s[i] != '\t' && s[i] != '\n' {
			i++
		}
		if i == len(s) {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		switch s[i] {
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, `\\`...)
		}
		s = s[i+1:]
	}
}

// unescape is the inverse of appendField; it gives s itself where nothing is
// escaped.
func unescape(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	return []byte(strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n").Replace(string(s)))
}

func unescaped(fields [][]byte) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = string(unescape(f))
	}
	return list
}

// read gives the claims and the lists of flavors as those of an input, and each
// module, in its order, to a function. Where the text is damaged it ends, and
// tells the line and what is wrong.
func (mem *Memory) read(onModule func(*remembered)) (in *Input, line int, bad string) {
	in = &Input{text: slices.Clip(mem.text)}
	modules := uint32(0)
	var mod remembered
	var fields [][]byte
	var last []byte
	sorted := true
	defer func() {
		if !sorted {
			slices.SortStableFunc(in.entries, func(a, b entry) int { return bytes.Compare(in.path(&a), in.path(&b)) })
		}
	}()
	for start, end := 0, 0; start < len(mem.text); start = end + 1 {
		text := mem.text[start:]
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[:i]
		}
		end = start + len(text)
		if line++; line == 1 {
			if string(text) != memoryHead {
				return in, line, "this is not a file of remembered candidates"
			}
			continue
		}
		fields = fields[:0]
		for f := range bytes.SplitSeq(text, []byte{'\t'}) {
			fields = append(fields, f)
		}
		switch string(fields[0]) {
		case "m":
			if len(fields) < 4 {
				return in, line, "bad module"
			}
			day, err := strconv.Atoi(string(fields[1]))
			if err != nil {
				return in, line, "bad module"
			}
			mod = remembered{unescape(fields[2]), unescape(fields[3]), day, fields[4:]}
			onModule(&mod)
			modules++
		case "f":
			in.flavors = append(in.flavors, unescaped(fields[1:]))
		case "p":
			if len(fields) < 3 {
				return in, line, "bad claim"
			}
			path := fields[1]
			at := start + len("p\t")
			if bytes.IndexByte(path, '\\') >= 0 { // it gets a place of its own
				at = len(in.text)
				in.text = append(in.text, unescape(path)...)
				path = in.text[at:]
			}
			for _, f := range fields[2:] {
				e, ok := parseEntry(f)
				if !ok || e.module >= modules || int(e.flavor) > len(in.flavors) {
					return in, line, "bad claim"
				}
				in.entries = append(twice(in.entries), entry{at: uint32(at), size: uint32(len(path)), module: e.module, flavor: e.flavor, kind: e.kind})
			}
			sorted = sorted && bytes.Compare(last, path) <= 0
			last = path
		case "end":
			if end+1 < len(mem.text) {
				return in, line, "text after the end"
			}
			return in, 0, ""
		default:
			return in, line, "unknown line"
		}
	}
	return in, line, "the file is cut short"
}

// parseEntry reads "MODULE,KIND,FLAVORS".
func parseEntry(s []byte) (e memoryEntry, ok bool) {
	var n [3]uint32
	field, digits := 0, 0
	for _, c := range s {
		switch {
		case c == ',' && field < 2 && digits > 0:
			field++
			digits = 0
		case isDigit(c) && digits < 9:
			n[field] = 10*n[field] + uint32(c-'0')
			digits++
		default:
			return e, false
		}
	}
	return memoryEntry{module: n[0], kind: kind(n[1]), flavor: n[2]}, field == 2 && digits > 0
}
