package rmap

import (
	"bytes"
	"cmp"
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

	// The entries have no pointers, so that the garbage collector need not
	// look at them, and stand in the order of their paths, so that inputs are
	// merged from their beginning to their end.
	text    []byte // the paths of the entries, one after the other
	entries []entry
	modules []module       // what entries refer to
	flavors [][]string     // likewise; each sorted, with spider's "default:" prefix
	spider  []spiderModule // of a spider-json, beside modules
}

// An entry is one claim: of a reverse map, or of a modulefile in a spider-json.
type entry struct {
	at     uint32 // where its path begins in the text
	size   uint32
	module uint32
	flavor uint32
	line   int32
	kind   kind
	// lexical says that a ".." was taken out of the path by its text alone:
	// where a symlink is before it, the real directory is another one.
	lexical bool
}

// path gives the path of an entry.
func (in *Input) path(e *entry) []byte { return in.text[e.at : e.at+e.size] }

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

// A spiderModule is what a spider-json says of one modulefile, besides its
// claims.
type spiderModule struct {
	module
	root      string // the MODULEPATH directory it was found in
	hidden    bool
	isDefault bool
	flavors   []string
	line      int32
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
	return parseInput(data, label, label, &workshop{})
}

// A workshop is memory that serves for one input after the other: while an
// input is read it is in pieces that the finished one does not keep.
type workshop struct {
	raw     []byte     // what was read, perhaps packed
	text    []byte     // paths in the order in which they came
	entries []entry    // of the reverse map
	claims  []entry    // of modulefiles in a spider-json
	items   []sortItem // of take
	names   []byte     // NAME, NUL, modulefile of each entry of the reverse map
	noted   []span     // where they are

	distinct []byte    // the same, each once
	ends     []uint32  // of each in distinct
	modules  hashIndex // of them
}

type span struct{ start, end uint32 }

// inputReader is the state of parseInput.
type inputReader struct {
	*decoder
	*workshop
	in         *Input
	flavorIDs  map[string]uint32  // sorted lists, joined by NUL
	rawFlavors map[string]uint32  // lists as they stand in the text
	shortIDs   map[string]shortID // of the xalt form
	key        []byte             // of the entry, and its parts
	pkg, file  []byte
	list       []byte // flavors, each followed by NUL
	lineAt     int    // where the line that lineOf knows begins
	lineEnd    int    // and where it ends
	lines      int    // line ends before it
	isJSON     bool
	isXALT     bool
}

func parseInput(data []byte, label, file string, shop *workshop) (*Input, error) {
	r := &inputReader{
		in:       &Input{Label: label, Digest: digest(data)},
		decoder:  &decoder{data: data, name: file, lenient: true, ascii: isASCII(data)},
		workshop: shop,
		lineEnd:  -1,
	}
	shop.text, shop.claims = shop.text[:0], shop.claims[:0]
	r.nextLine()
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
		if data[r.pos] == '{' {
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
		r.in.Entries = r.finishMap()
	} else {
		r.in.Entries = len(r.in.spider)
		r.finishClaims()
	}
	slices.SortStableFunc(r.in.Problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return r.in, nil
}

// Claims gives the claims of a spider-json as a reverse map would hold them, if
// every directory existed: what [Merge] says of it shows the mistakes of the
// modulefiles. It gives nil for another form.
func (in *Input) Claims() *Input {
	if in.Form != FormSpider {
		return nil
	}
	return &Input{
		Label: in.Label, Form: FormJSON, Entries: len(in.entries),
		text: in.text, entries: in.entries, modules: in.modules, flavors: [][]string{{"default"}},
	}
}

// nextLine goes to the next line end.
func (r *inputReader) nextLine() {
	if i := bytes.IndexByte(r.data[r.lineEnd+1:], '\n'); i >= 0 {
		r.lineEnd += i + 1
	} else {
		r.lineEnd = len(r.data)
	}
}

// lineOf is line for offsets that grow, or go back a little.
func (r *inputReader) lineOf(off int) int {
	if off <= r.lineAt {
		if r.lines == 0 {
			return 1
		}
		return r.lines + 1 - bytes.Count(r.data[off:r.lineAt+1], []byte{'\n'})
	}
	for r.lineEnd < off {
		r.lineAt = r.lineEnd
		r.lines++
		r.nextLine()
	}
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
