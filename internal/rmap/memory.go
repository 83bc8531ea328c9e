package rmap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
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
// order of their lines; list 0 stands for the module's own flavors. The
// directories follow them, sorted bytewise.
type Memory struct {
	name string // of its file
	open func() (io.ReadCloser, error)
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

// memory gives the text of the memory of this run, once all is collected. As it
// is as large as a map, it is not kept.
func (m *merger) memory() encoding {
	flavors := m.flavors.lists // the merge may add some
	return func(emit func([]byte) error) error { return m.encodeMemory(flavors, emit) }
}

func (m *merger) encodeMemory(flavors [][]string, emit func([]byte) error) error {
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
				text = m.appendModule(text, &m.modules[c.module], flavors)
			}
			if _, ok := flavorAt[c.flavors]; !ok && c.flavors != 0 {
				flavorAt[c.flavors] = uint32(len(flavorAt) + 1)
				text = append(text, 'f')
				for _, flavor := range flavors[c.flavors] {
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
func (m *merger) appendModule(b []byte, mod *moduleInfo, flavors [][]string) []byte {
	day := m.opts.Day
	if mod.lastOnly {
		day = int(mod.day)
	}
	b = strconv.AppendInt(append(b, "m\t"...), int64(day), 10)
	b = appendField(appendField(b, m.names[mod.name].name), mod.file)
	for _, f := range flavors[mod.flavors] {
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

// A memoryReader reads a memory from its beginning to its end. Where the text is
// damaged it ends.
type memoryReader struct {
	in      *bufio.Reader
	line    int
	bad     string   // what is wrong with the line
	ended   bool     // the end was there
	fields  [][]byte // of the line, escaped
	long    []byte   // scratch of readLine
	modules uint32
	lists   uint32
	path    []byte // of the claims that come next
	before  []byte // the path before
	claims  [][]byte
}

// next reads the next line and tells whether there is one.
func (r *memoryReader) next() bool {
	if r.ended {
		return false
	}
	text, err := readLine(r.in, &r.long)
	r.line++
	if err != nil && (!errors.Is(err, io.EOF) || len(text) == 0) {
		r.bad = "the file is cut short"
		if !errors.Is(err, io.EOF) {
			r.bad = err.Error()
		}
		return false
	}
	text = bytes.TrimSuffix(text, []byte{'\n'})
	if r.line == 1 {
		if string(text) != memoryHead {
			r.bad = "this is not a file of remembered candidates"
			return false
		}
		return r.next()
	}
	if string(text) == "end" {
		r.ended = true
		if _, err := r.in.ReadByte(); err == nil {
			r.bad = "text after the end"
		}
		return false
	}
	r.fields = r.fields[:0]
	for f := range bytes.SplitSeq(text, []byte{'\t'}) {
		r.fields = append(r.fields, f)
	}
	return true
}

// header reads up to the first directory.
func (r *memoryReader) header(onModule func(*remembered), onFlavors func([]string)) {
	for r.next() {
		switch f := r.fields; string(f[0]) {
		case "m":
			if len(f) < 4 {
				r.bad = "bad module"
				return
			}
			day, err := strconv.Atoi(string(f[1]))
			name := unescape(f[2])
			if err != nil || badName(string(name)) != "" {
				r.bad = "bad module"
				return
			}
			onModule(&remembered{name, unescape(f[3]), day, f[4:]})
			r.modules++
		case "f":
			onFlavors(unescaped(f[1:]))
			r.lists++
		default:
			r.directory()
			return
		}
	}
}

// directory takes the line in as one of a directory.
func (r *memoryReader) directory() bool {
	if string(r.fields[0]) != "p" || len(r.fields) < 3 {
		r.bad = "unknown line"
		return false
	}
	r.path, r.before = append(r.before[:0], unescape(r.fields[1])...), r.path
	if bytes.Compare(r.path, r.before) < 0 {
		r.bad = "the directory is out of order"
		return false
	}
	r.claims = r.fields[2:]
	return true
}

// claim reads the next claim, on r.path, and tells whether there is one. The
// path before stays as it is.
func (r *memoryReader) claim() (e memoryEntry, ok bool) {
	if r.bad != "" || len(r.claims) == 0 && (!r.next() || !r.directory()) {
		return e, false
	}
	e, ok = parseEntry(r.claims[0])
	if r.claims = r.claims[1:]; !ok || e.module >= r.modules || e.flavor > r.lists {
		r.bad = "bad claim"
		return e, false
	}
	return e, true
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
