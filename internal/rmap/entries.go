package rmap

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// maxFlavors bounds the flavors of an entry, in bytes together.
const (
	maxFlavors  = 1 << 20
	longFlavors = "its flavors are longer than 1 MiB"
)

type shortID struct{ module, flavor uint32 }

func (r *inputReader) reverseMap() error {
	r.isJSON, r.isXALT, r.in.flavors = false, false, nil
	// Room for what spider's entries mostly are; more is made where it lacks.
	n := estimate(r.data)
	r.entries, r.noted = slices.Grow(r.entries[:0], n+n/8), slices.Grow(r.noted[:0], n+n/8)
	r.text, r.names = slices.Grow(r.text[:0], len(r.data)/4), slices.Grow(r.names[:0], 2*len(r.data)/5)
	r.flavorIDs, r.rawFlavors = make(map[string]uint32), make(map[string]uint32)
	r.shortIDs = make(map[string]shortID)
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
		text := string(s)
		name, f := splitFlavor(text)
		if bad = badName(name); bad == "" && len(f) > maxFlavors {
			bad = longFlavors
		}
		if bad != "" {
			break
		}
		mod = r.noteModule([]byte(name), nil)
		flavor = r.flavorID([]string{flavorText(f)})
		if fl == 0 {
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
	r.entries = append(twice(r.entries), entry{at: r.keep(r.key), size: uint32(len(r.key)), module: mod, flavor: flavor, line: int32(r.lineOf(off)), kind: k})
	return nil
}

// keep puts a path at the end of the text and tells where it is.
func (r *inputReader) keep(path []byte) uint32 {
	at := len(r.text)
	r.text = append(room(r.text, len(path)), path...)
	return uint32(at)
}

// object1 reads an entry of the json form.
func (r *inputReader) object1(at int) (mod, flavor uint32, k kind, fl flaw, bad string, err error) {
	r.pkg, r.file = r.pkg[:0], r.file[:0]
	const none, empty, some = 0, 1, 2
	flavors := none
	err = r.object(func(key []byte, off int, _ flaw) error {
		var f flaw
		var err error
		switch string(key) {
		case "pkg":
			r.pkg, f, err = r.textOr(r.pkg[:0])
		case "moduleFn":
			r.file, f, err = r.textOr(r.file[:0])
		case "kind":
			if r.peek() != '"' {
				return r.skip()
			}
			s, _, err := r.str()
			k = kindOf(s)
			return err
		case "flavor":
			flavors = some
			if r.peek() == '"' {
				r.list, f, err = r.textOr(r.list[:0])
				r.list = append(r.list, 0)
				flavor = r.flavorsID()
				r.problem(off, "flavor-string", "the flavor of %s is a string: taken as a list of one", show(r.key))
				break
			}
			var n int
			if flavor, n, f, err = r.flavorList(); n == 0 {
				flavors = empty
			}
		default:
			return r.skip()
		}
		fl |= f
		return err
	})
	if err != nil {
		return 0, 0, 0, 0, "", err
	}
	switch {
	case len(r.pkg) == 0:
		bad = "it names no module (pkg)"
	case len(r.list) > maxFlavors && flavors != none:
		bad = longFlavors
	case len(r.file) > maxPath:
		bad = "the path of its modulefile is longer than 4096 bytes"
	default:
		bad = badName(string(r.pkg))
	}
	if flavors == none {
		r.list = r.list[:0]
		flavor = r.flavorsID()
	}
	switch {
	case bad != "":
	case flavors == none:
		r.problem(at, "flavor-missing", "entry %s has no flavor: taken as default", show(r.key))
	case flavors == empty:
		r.problem(at, "flavor-empty", "the flavor of %s is empty: taken as default; do modulefiles add each other's directories to MODULEPATH?", show(r.key))
	}
	if bad == "" {
		mod = r.noteModule(r.pkg, r.file)
	}
	return mod, flavor, k, fl, bad, nil
}

// textOr appends the string that begins here to buf; another value is passed
// over.
func (r *inputReader) textOr(buf []byte) ([]byte, flaw, error) {
	if r.peek() != '"' {
		return buf, 0, r.skip()
	}
	s, fl, err := r.str()
	return append(buf, s...), fl, err
}

// flavorList reads a list of flavors and gives its number and how many there
// are; another value has none. There are few different lists, so that one whose
// text was seen before is not decoded again.
func (r *inputReader) flavorList() (id uint32, n int, fl flaw, err error) {
	r.list = r.list[:0]
	if r.peek() != '[' {
		err = r.skip()
		return r.flavorsID(), 0, 0, err
	}
	start := r.pos
	text := r.data[start : start+1+bytes.IndexByte(r.data[start:], ']')]
	if id, ok := r.rawFlavors[string(text)]; ok {
		r.pos += len(text)
		return id, 1, 0, nil
	}
	err = r.array(func(int) error {
		var f flaw
		var err error
		r.list, f, err = r.textOr(r.list)
		r.list = append(r.list, 0)
		n++
		fl |= f
		return err
	})
	id = r.flavorsID()
	if err == nil && fl == 0 && n > 0 && r.pos == start+len(text) { // no "]" in a name
		r.rawFlavors[string(text)] = id
	}
	return id, n, fl, err
}

// badName tells why a text cannot be a module's name; "" if it can.
func badName(name string) string {
	switch {
	case name == "":
		return "the module name is empty"
	case len(name) > maxPath:
		return "the module name is longer than 4096 bytes"
	case name[0] == '/' || name[len(name)-1] == '/' || strings.Contains(name, "//"):
		return "a component of the module name is empty"
	case strings.IndexByte(name, 0) >= 0:
		return "the module name holds a NUL byte"
	}
	return ""
}

// flavorsID gives the number of the flavors in r.list; those that are too long
// have none.
func (r *inputReader) flavorsID() uint32 {
	if len(r.list) > maxFlavors {
		return 0
	}
	var list []string
	for f := range strings.SplitSeq(strings.TrimSuffix(string(r.list), "\x00"), "\x00") {
		list = append(list, flavorText(f))
	}
	slices.Sort(list)
	return r.flavorID(slices.Compact(list))
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

// noteModule notes the module of an entry; its number is for this entry alone.
func (r *inputReader) noteModule(name, file []byte) uint32 {
	start := len(r.names)
	r.names = append(append(append(room(r.names, len(name)+1+len(file)), name...), 0), file...)
	r.noted = append(twice(r.noted), span{uint32(start), uint32(len(r.names))})
	return uint32(len(r.noted) - 1)
}

// takeModules keeps the modules that were noted for the input, each once and
// in the order in which the sorted entries name them. Neighbours mostly have
// one module, so that few are looked up, and what is used together in the
// merge is together in memory.
func (r *inputReader) takeModules() {
	r.modules.reset()
	r.distinct, r.ends = r.distinct[:0], r.ends[:0]
	var last []byte
	id := uint32(0)
	for i := range r.in.entries {
		e := &r.in.entries[i]
		at := r.noted[e.module]
		if key := r.names[at.start:at.end]; !bytes.Equal(key, last) {
			id, last = r.moduleID(key), key
		}
		e.module = id
	}
	text := string(r.distinct)
	r.in.modules = make([]module, len(r.ends))
	start := uint32(0)
	for i, end := range r.ends {
		name, file, _ := strings.Cut(text[start:end], "\x00")
		r.in.modules[i] = module{name, file}
		start = end
	}
}

// moduleID gives the number of NAME, NUL, modulefile.
func (r *inputReader) moduleID(key []byte) uint32 {
	hash := hashOf(key)
	id, at, ok := r.modules.next(hash, hash)
	for ok && !bytes.Equal(r.moduleKey(id), key) {
		id, at, ok = r.modules.next(at+1, hash)
	}
	if ok {
		return id
	}
	id = uint32(len(r.ends))
	r.modules.add(hash, id)
	r.distinct = append(room(r.distinct, len(key)), key...)
	r.ends = append(twice(r.ends), uint32(len(r.distinct)))
	return id
}

// moduleKey is the inverse of moduleID.
func (r *inputReader) moduleKey(id uint32) []byte {
	start := uint32(0)
	if id > 0 {
		start = r.ends[id-1]
	}
	return r.distinct[start:r.ends[id]]
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
		case fl != 0 || len(s) == 0 || len(s) > 255 || bytes.IndexByte(s, '/') >= 0 || bytes.IndexByte(s, 0) >= 0:
			r.problem(off, "xlibmap", "%s in xlibmap is no file name: left out", show(s))
		default:
			r.in.Libs = append(r.in.Libs, string(s))
		}
		return nil
	})
}
