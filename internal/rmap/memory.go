package rmap

import (
	"bytes"
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

type remembered struct {
	module
	day     int // last named by an input, in days since 1970
	flavors []string
}

type memoryEntry struct {
	module uint32
	flavor uint32 // number of the list; 0: those of the module
	kind   kind
}

// remember makes the memory of this run.
func (m *merger) remember() {
	const keep = candMap | candDirect | candRemembered
	// The text is large: its room is taken at once.
	room := len(memoryHead) + 64
	for i := range m.modules {
		room += len(m.modules[i].file) + len(m.names[m.modules[i].name].name) + 40
	}
	for _, path := range m.paths {
		room += len(path) + 20
	}
	text := append(append(make([]byte, 0, room+8*len(m.cands)), memoryHead...), '\n')
	moduleAt := make([]int32, len(m.modules))
	for i := range moduleAt {
		moduleAt[i] = -1
	}
	flavorAt := make(map[uint32]uint32)
	modules := int32(0)
	for _, p := range m.order {
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			c := &m.cands[i]
			if c.flags&keep == 0 {
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
	}
	for _, p := range m.order {
		start := len(text)
		text = appendField(append(text, 'p'), m.paths[p])
		any := false
		for i := m.head[p]; i >= 0; i = m.cands[i].next {
			c := &m.cands[i]
			if c.flags&keep == 0 {
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
	}
	m.res.Memory = &Memory{text: append(text, "end\n"...)}
}

// appendModule appends the line of a module.
func (m *merger) appendModule(b []byte, mod *moduleInfo) []byte {
	day := m.opts.Day
	if mod.lastOnly {
		day = mod.day
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

// walk calls a function for each module, list of flavors and claim, in the
// order of the text; a path is valid only during the call. If the text is
// damaged it ends there and tells the line and what is wrong.
func (mem *Memory) walk(onModule func(remembered), onFlavors func([]string), onClaim func([]byte, memoryEntry)) (line int, bad string) {
	modules, lists := uint32(0), uint32(0)
	for data := mem.text; len(data) > 0; {
		text := data
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			text, data = data[:i], data[i+1:]
		} else {
			data = nil
		}
		if line++; line == 1 {
			if string(text) != memoryHead {
				return line, "this is not a file of remembered candidates"
			}
			continue
		}
		kind, rest, _ := bytes.Cut(text, []byte{'\t'})
		switch string(kind) {
		case "m":
			parts := strings.Split(string(rest), "\t")
			day, err := strconv.Atoi(parts[0])
			if err != nil || len(parts) < 3 {
				return line, "bad module"
			}
			for i := range parts {
				parts[i] = string(unescape([]byte(parts[i])))
			}
			onModule(remembered{module: module{parts[1], parts[2]}, day: day, flavors: parts[3:]})
			modules++
		case "f":
			var list []string
			for f := range bytes.SplitSeq(rest, []byte{'\t'}) {
				list = append(list, string(unescape(f)))
			}
			onFlavors(list)
			lists++
		case "p":
			path, rest, _ := bytes.Cut(rest, []byte{'\t'})
			path = unescape(path)
			for more := true; more; {
				var claim []byte
				claim, rest, more = bytes.Cut(rest, []byte{'\t'})
				e, ok := parseEntry(claim)
				if !ok || e.module >= modules || e.flavor > lists {
					return line, "bad claim"
				}
				onClaim(path, e)
			}
		case "end":
			if len(data) > 0 {
				return line, "text after the end"
			}
			return 0, ""
		default:
			return line, "unknown line"
		}
	}
	return line, "the file is cut short"
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
