package rmap

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The forms of an input, as [Input.Form] names them.
const (
	FormJSON   = "jsonReverseMapT"
	FormXALT   = "xalt_rmapT"
	FormMixed  = "mixed"
	FormSpider = "spider-json"
)

// maxProblems is the number of problems of one input that are kept one by one;
// the rest is counted.
const maxProblems = 1000

// A Problem is something in an input that was repaired or left out.
type Problem struct {
	Input string `json:"input"`          // label of the input
	Line  int    `json:"line,omitempty"` // from 1; 0 if it is not about one place
	Kind  string `json:"kind"`           // a stable word, as "control-character"
	Path  string `json:"path,omitempty"` // the key it is about
	Text  string `json:"text"`           // what, what was done, and the remedy
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Input + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.Input, p.Line, p.Text)
}

// An Input is one output of spider, read and normalised, ready for [Merge].
// Nothing changes it after [ReadInput].
type Input struct {
	Label    string    // who it is, the same from run to run
	Form     string    // FormJSON, FormXALT, FormMixed or FormSpider
	Digest   string    // SHA-256 of the unpacked text in hexadecimal
	Entries  int       // entries of the reverse map, or modules of a spider-json
	Libs     []string  // xlibmap
	Problems []Problem // at most maxProblems, in the order of the text
	More     int       // problems beyond those

	entries []entry
	modules []module   // what entries refer to
	flavors [][]string // likewise; each sorted, with spider's "default:" prefix
	spider  []spiderModule
}

// An entry is one claim of a reverse map.
type entry struct {
	path   string
	module uint32
	flavor uint32
	line   int32
	kind   kind
	// lexical says that a ".." was taken out of the path by its text alone:
	// where a symlink is before it, the real directory is another one.
	lexical bool
}

// A module is a name with the file that defines it, "" if unknown.
type module struct{ name, file string }

// String names the module and, where it is known, its modulefile.
func (m module) String() string {
	if m.file == "" {
		return m.name
	}
	return m.name + " (" + m.file + ")"
}

// kind is the set of ways in which a module claims a directory.
type kind uint8

const (
	kindBin kind = 1 << iota
	kindLib
	kindDir
)

func kindOf(s []byte) kind {
	switch string(s) {
	case "bin":
		return kindBin
	case "lib":
		return kindLib
	case "dir":
		return kindDir
	}
	return 0
}

func (k kind) String() string {
	switch {
	case k&kindLib != 0:
		return "lib"
	case k&kindBin != 0:
		return "bin"
	}
	return "dir"
}

// A spiderModule is what a spider-json says of one modulefile.
type spiderModule struct {
	module
	root      string // the MODULEPATH directory it was found in
	hidden    bool
	isDefault bool
	flavors   []string
	claims    []claim
	line      int32
}

type claim struct {
	path string
	kind kind
}

// ReadInput reads one output of spider: a reverse map of either form or a
// spider-json, told by its values, plain or gzip. It repairs what spider is
// known to get wrong, and tells so in [Input.Problems]; what is not a whole
// document gives a [*SyntaxError]. The label names the input in problems.
func ReadInput(r io.Reader, label string) (*Input, error) {
	data, err := readAll(r, label)
	if err != nil {
		return nil, err
	}
	return parseInput(data, label, label)
}

type shortID struct{ module, flavor uint32 }

// inputReader is the state of parseInput.
type inputReader struct {
	*decoder
	in        *Input
	chunk     *builder
	moduleIDs pathTable // NAME, NUL, modulefile
	flavorIDs map[string]uint32
	seen      pathTable          // raw keys
	shortIDs  map[string]shortID // of the xalt form
	rawFlavor map[string]uint32  // flavor lists as they stand in the text
	raw       []byte             // flavor list of the entry, each followed by NUL
	ids       []byte             // scratch of moduleID
	pkg, file []byte             // scratch for object1
	key       []byte
	lineAt    int // offset up to which lines were counted
	lines     int
	isJSON    bool
	isXALT    bool
}

func parseInput(data []byte, label, file string) (*Input, error) {
	r := &inputReader{
		in:      &Input{Label: label, Digest: digest(data)},
		decoder: &decoder{data: data, name: file, lenient: true, ascii: isASCII(data)},
		chunk:   &builder{},
	}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		r.problem(0, "bom", "byte order mark skipped: write the file without one")
		r.pos = 3
	}
	if hint := hintText(data[r.pos:]); hint != "" {
		return nil, r.errAt(r.pos, "%s", hint)
	}
	found := false
	err := r.object(func(key []byte, off int, _ flaw) error {
		switch string(key) {
		case "reverseMapT":
			if found {
				r.problem(off, "duplicate-key", "reverseMapT is there twice: the last one counts, as with XALT")
			}
			found = true
			return r.reverseMap()
		case "xlibmap":
			return r.libs()
		}
		if r.peek() == '{' {
			return r.spiderPackage()
		}
		return r.skip()
	})
	if err != nil {
		return nil, err
	}
	if r.peek() != 0 || r.pos < len(data) {
		if data[r.pos] == '{' || data[r.pos] == '[' {
			return nil, r.errAt(r.pos, "a second document begins here: was the file appended to (>> in place of >)?")
		}
		return nil, r.errAt(r.pos, "text after the document: %q; keep other output out of the file", excerpt(data[r.pos:]))
	}
	switch {
	case found && r.isJSON && r.isXALT:
		r.in.Form = FormMixed
	case found && r.isXALT:
		r.in.Form = FormXALT
	case found:
		r.in.Form = FormJSON
	case len(r.in.spider) > 0:
		r.in.Form = FormSpider
	default:
		return nil, r.errAt(0, "no reverseMapT in it: this is no output of spider; run it with -o jsonReverseMapT, xalt_rmapT or spider-json")
	}
	if found {
		r.in.spider = nil
		r.in.Entries = len(r.in.entries)
		r.normalise()
	} else {
		r.in.Entries = len(r.in.spider)
	}
	return r.in, nil
}

// Claims gives the claims of a spider-json as a reverse map would hold them, if
// every directory existed: what [Merge] says of it shows the mistakes of the
// modulefiles. It gives nil for another form.
func (in *Input) Claims() *Input {
	if in.Form != FormSpider {
		return nil
	}
	out := &Input{Label: in.Label, Form: FormJSON, flavors: [][]string{{"default"}}}
	for i := range in.spider {
		s := &in.spider[i]
		out.modules = append(out.modules, s.module)
		for _, c := range s.claims {
			out.entries = append(out.entries, entry{path: cleanPath(c.path, true), module: uint32(i), kind: c.kind, line: s.line, lexical: hasDotDot(c.path)})
		}
	}
	out.Entries = len(out.entries)
	return out
}

// lineOf is line for offsets that mostly grow.
func (r *inputReader) lineOf(off int) int {
	if off < r.lineAt {
		return r.line(off)
	}
	r.lines += bytes.Count(r.data[r.lineAt:off], []byte{'\n'})
	r.lineAt = off
	return r.lines + 1
}

func (r *inputReader) problem(off int, kind, format string, args ...any) {
	r.problemLine(r.lineOf(off), kind, string(r.key), format, args...)
}

func (r *inputReader) problemLine(line int, kind, path, format string, args ...any) {
	if len(r.in.Problems) >= maxProblems {
		r.in.More++
		return
	}
	path = strings.ToValidUTF8(path[:min(len(path), maxPath)], "\ufffd")
	r.in.Problems = append(r.in.Problems, Problem{Input: r.in.Label, Line: line, Kind: kind, Path: path, Text: fmt.Sprintf(format, args...) + remedy(kind)})
}

// remedy is what to do about a kind of problem, where the text does not say it
// already.
func remedy(kind string) string {
	switch kind {
	case "duplicate-key":
		return "; spider never writes that: was the file put together by something else?"
	case "dropped-entry":
		return "; correct the modulefile, or what wrote the file"
	case "dropped-key", "dropped-claim":
		return "; correct the modulefile"
	case "control-character":
		return "; correct the path in the modulefile"
	case "hex-escape", "vt-escape", "unknown-escape":
		return "; JSON has no such escape: use the spider that Lmod brings"
	case "flavor-missing", "flavor-string", "xlibmap":
		return "; spider writes a list: was the file put together by something else?"
	}
	return ""
}

// show quotes a key for a message, cut to a readable length.
func show(b []byte) string {
	const n = 120
	if len(b) > n {
		return fmt.Sprintf("%q... (%d bytes)", b[:n], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func (r *inputReader) reverseMap() error {
	r.in.entries, r.isJSON, r.isXALT = nil, false, false
	n := estimate(r.data)
	r.seen = newPathTable(n)
	r.in.entries = make([]entry, 0, n)
	r.moduleIDs = newPathTable(n / 3)
	r.flavorIDs, r.rawFlavor = make(map[string]uint32), make(map[string]uint32)
	r.shortIDs = make(map[string]shortID)
	r.in.modules, r.in.flavors = nil, nil
	if r.peek() == '[' {
		r.isJSON = true
		r.problem(r.pos, "empty-list", `"reverseMapT":[] is an empty map: spider found no modulefile; is its MODULEPATH right?`)
		off := r.pos
		return r.array(func(int) error { return r.errAt(off, "reverseMapT is a list, not an object") })
	}
	err := r.object(func(key []byte, off int, fl flaw) error {
		r.key = append(r.key[:0], key...)
		return r.entry(off, fl)
	})
	r.key = r.key[:0]
	return err
}

// entry reads the value of r.key.
func (r *inputReader) entry(off int, fl flaw) error {
	var mod, flavor uint32
	var err error
	var k kind
	bad := ""
	switch r.peek() {
	case '"':
		r.isXALT = true
		var s []byte
		var vfl flaw
		if s, vfl, err = r.str(); err != nil {
			return err
		}
		fl |= vfl
		if id, ok := r.shortIDs[string(s)]; ok {
			mod, flavor = id.module, id.flavor
			break
		}
		name, f := splitFlavor(string(s))
		bad = badName(name)
		text := string(s)
		mod = r.moduleID([]byte(name), nil)
		flavor = r.flavorID([]string{flavorText(f)})
		if bad == "" && fl == 0 {
			r.shortIDs[text] = shortID{mod, flavor}
		}
	case '{':
		r.isJSON = true
		var vfl flaw
		if mod, flavor, k, vfl, bad, err = r.object1(off); err != nil {
			return err
		}
		fl |= vfl
	default:
		start := r.pos
		if err := r.skip(); err != nil {
			return err
		}
		bad = fmt.Sprintf("its value %.20s is neither a name nor an object", r.data[start:r.pos])
	}
	if fl&flawSurrogate != 0 {
		bad = "half a surrogate pair in it"
	}
	if fl&flawUTF8 != 0 {
		bad = "it is not UTF-8"
	}
	if bad == "" && len(r.key) == 0 {
		bad = "the path is empty"
	}
	if bad != "" {
		r.problem(off, "dropped-entry", "entry %s left out: %s", show(r.key), bad)
		return nil
	}
	for _, f := range []struct {
		flaw       flaw
		kind, text string
	}{
		{flawControl, "control-character", "raw control character in entry %s taken as it is"},
		{flawHex, "hex-escape", `\xHH escape in entry %s taken as a byte`},
		{flawVT, "vt-escape", `\v escape in entry %s taken as a vertical tab`},
		{flawEscape, "unknown-escape", "unknown escape in entry %s taken as the character after it"},
	} {
		if fl&f.flaw != 0 {
			r.problem(off, f.kind, f.text, show(r.key))
		}
	}
	e := entry{module: mod, flavor: flavor, line: int32(r.lineOf(off)), kind: k}
	at := r.seen.find(r.key)
	if at.found {
		r.problem(off, "duplicate-key", "%s is there twice: the last one counts, as with XALT", show(r.key))
		e.path = r.in.entries[at.id].path
		r.in.entries[at.id] = e
		return nil
	}
	e.path = r.chunk.keep(r.key)
	r.seen.add(at, e.path)
	r.in.entries = append(r.in.entries, e)
	return nil
}

// object1 reads an entry of the json form.
func (r *inputReader) object1(at int) (mod, flavor uint32, k kind, fl flaw, bad string, err error) {
	r.pkg, r.file, r.raw = r.pkg[:0], r.file[:0], r.raw[:0]
	haveFlavor := false
	// text appends a string to buf; another value is passed over.
	text := func(buf []byte) ([]byte, error) {
		if r.peek() != '"' {
			return buf, r.skip()
		}
		s, f, err := r.str()
		fl |= f
		return append(buf, s...), err
	}
	err = r.object(func(key []byte, off int, _ flaw) error {
		var err error
		switch string(key) {
		case "pkg":
			r.pkg, err = text(r.pkg[:0])
		case "moduleFn":
			r.file, err = text(r.file[:0])
		case "kind":
			if r.peek() != '"' {
				return r.skip()
			}
			s, _, err := r.str()
			k = kindOf(s)
			return err
		case "flavor":
			haveFlavor = true
			r.raw = r.raw[:0]
			switch r.peek() {
			case '"':
				r.raw, err = text(r.raw)
				r.raw = append(r.raw, 0)
				r.problem(off, "flavor-string", "the flavor of %s is a string: taken as a list of one", show(r.key))
			case '[':
				err = r.array(func(int) error {
					var err error
					r.raw, err = text(r.raw)
					r.raw = append(r.raw, 0)
					return err
				})
			default:
				return r.skip()
			}
		default:
			return r.skip()
		}
		return err
	})
	if err != nil {
		return 0, 0, 0, 0, "", err
	}
	if len(r.pkg) == 0 {
		bad = "it names no module (pkg)"
	} else {
		bad = badName(string(r.pkg))
	}
	switch {
	case bad != "":
	case !haveFlavor:
		r.problem(at, "flavor-missing", "entry %s has no flavor: taken as default", show(r.key))
	case len(r.raw) == 0:
		r.problem(at, "flavor-empty", "the flavor of %s is empty: taken as default; do modulefiles add each other's directories to MODULEPATH?", show(r.key))
	}
	return r.moduleID(r.pkg, r.file), r.flavors(), k, fl, bad, nil
}

// badName tells why a text cannot be a module's name; "" if it can.
func badName(name string) string {
	switch {
	case name == "":
		return "the module name is empty"
	case name[0] == '/' || name[len(name)-1] == '/' || strings.Contains(name, "//"):
		return "a component of the module name is empty"
	case strings.IndexByte(name, 0) >= 0:
		return "the module name holds a NUL byte"
	}
	return ""
}

// flavors gives the number of the list in r.raw.
func (r *inputReader) flavors() uint32 {
	if id, ok := r.rawFlavor[string(r.raw)]; ok {
		return id
	}
	raw := string(r.raw)
	var list []string
	for f := range strings.SplitSeq(strings.TrimSuffix(raw, "\x00"), "\x00") {
		list = append(list, flavorText(f))
	}
	slices.Sort(list)
	id := r.flavorID(slices.Compact(list))
	r.rawFlavor[raw] = id
	return id
}

// flavorText gives a flavor with spider's prefix.
func flavorText(f string) string {
	if f == "" || f == "default" {
		return "default"
	}
	if strings.HasPrefix(f, "default:") {
		return f
	}
	return "default:" + f
}

func (r *inputReader) moduleID(name, file []byte) uint32 {
	r.ids = append(append(append(r.ids[:0], name...), 0), file...)
	at := r.moduleIDs.find(r.ids)
	if at.found {
		return at.id
	}
	key := r.chunk.keep(r.ids)
	r.in.modules = append(r.in.modules, module{key[:len(name)], key[len(name)+1:]})
	return r.moduleIDs.add(at, key)
}

// flavorID gives the number of a sorted list of flavors.
func (r *inputReader) flavorID(list []string) uint32 {
	key := strings.Join(list, "\x00")
	if id, ok := r.flavorIDs[key]; ok {
		return id
	}
	id := uint32(len(r.in.flavors))
	r.flavorIDs[key] = id
	r.in.flavors = append(r.in.flavors, list)
	return id
}

func (r *inputReader) libs() error {
	if r.peek() != '[' {
		start := r.pos
		if err := r.skip(); err != nil {
			return err
		}
		// An empty table of Lua has no form of its own.
		if v := r.data[start:r.pos]; v[0] != '{' || len(bytes.TrimSpace(v[1:len(v)-1])) > 0 {
			r.problem(start, "xlibmap", "xlibmap is not a list: left out")
		}
		return nil
	}
	return r.array(func(off int) error {
		if r.peek() != '"' {
			r.problem(off, "xlibmap", "an element of xlibmap is not a string: left out")
			return r.skip()
		}
		s, fl, err := r.str()
		switch {
		case err != nil:
			return err
		case fl != 0 || len(s) == 0 || bytes.IndexByte(s, '/') >= 0 || bytes.IndexByte(s, 0) >= 0:
			r.problem(off, "xlibmap", "%s in xlibmap is no file name: left out", show(s))
		default:
			r.in.Libs = append(r.in.Libs, string(s))
		}
		return nil
	})
}

// spiderPackage reads the value of one top-level key of a spider-json: an
// object of modulefiles. Another object is passed over.
func (r *inputReader) spiderPackage() error {
	return r.object(func(key []byte, off int, fl flaw) error {
		if r.peek() != '{' {
			return r.skip()
		}
		m := spiderModule{module: module{file: string(key)}, line: int32(r.lineOf(off))}
		var parents [][]string
		err := r.object(func(key []byte, _ int, _ flaw) error {
			switch string(key) {
			case "fullName", "mpath", "wV":
				name := string(key)
				if r.peek() != '"' {
					return r.skip()
				}
				s, f, err := r.str()
				fl |= f
				switch name {
				case "fullName":
					m.name = string(s)
				case "mpath":
					m.root = string(s)
				case "wV":
					m.isDefault = bytes.HasPrefix(s, []byte("^"))
				}
				return err
			case "hidden":
				m.hidden = r.peek() == 't'
				return r.skip()
			case "pathA":
				return r.claims(&m, kindBin)
			case "lpathA":
				return r.claims(&m, kindLib)
			case "dirA":
				return r.claims(&m, kindDir)
			case "parentAA":
				if r.peek() != '[' {
					return r.skip()
				}
				return r.array(func(int) error {
					if r.peek() != '[' {
						return r.skip()
					}
					var p []string
					err := r.array(func(int) error {
						if r.peek() != '"' {
							return r.skip()
						}
						s, f, err := r.str()
						fl |= f
						p = append(p, string(s))
						return err
					})
					parents = append(parents, p)
					return err
				})
			}
			return r.skip()
		})
		if err != nil {
			return err
		}
		switch {
		case badName(m.name) != "" || !strings.HasPrefix(m.file, "/"):
			return nil // not a modulefile: a key that some other program added
		case fl&(flawUTF8|flawSurrogate) != 0:
			r.problem(off, "dropped-entry", "module %s left out: it is not UTF-8", show([]byte(m.file)))
			return nil
		}
		for _, p := range parents {
			m.flavors = append(m.flavors, flavorText(strings.Join(p, ":")))
		}
		if len(m.flavors) == 0 {
			m.flavors = []string{"default"}
		}
		slices.Sort(m.flavors)
		m.flavors = slices.Compact(m.flavors)
		r.in.spider = append(r.in.spider, m)
		return nil
	})
}

func (r *inputReader) claims(m *spiderModule, k kind) error {
	if r.peek() != '{' {
		return r.skip()
	}
	return r.object(func(key []byte, off int, fl flaw) error {
		why := badKey(string(key))
		if fl&(flawUTF8|flawSurrogate) != 0 {
			why = "it is not UTF-8"
		}
		if why == "" {
			m.claims = append(m.claims, claim{r.chunk.keep(key), k})
		} else {
			r.problemLine(r.lineOf(off), "dropped-claim", string(key), "path %s of %s left out: %s", show(key), m.file, why)
		}
		return r.skip()
	})
}
