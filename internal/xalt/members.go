package xalt

import (
	"bytes"
	"unsafe"

	"github.com/tidwall/gjson"
)

// Decoder decodes records one after the other; see [Decoder.Decode]. Libraries
// and environment are most of a record's text, and mostly they are those of a
// record before: their JSON is checked the first time only. A Decoder is for
// one goroutine; the zero value is ready.
type Decoder struct {
	keyer      *Keyer
	valid, old map[Key]struct{} // members that are JSON and not nested too deeply
	list       []member
}

// maxValid bounds the memory for that: when so many are known, only the latest
// ones are kept.
const maxValid = 16_384

// member is one member of a record's JSON text.
type member struct {
	name string
	raw  []byte
	key  Key // of raw, if it is large
}

// large tells the members that are most of a record's text and mostly alike.
func large(name string) bool {
	switch name {
	case "libA", "envT", "linkA", "function":
		return true
	}
	return false
}

// value reads the member; it shares the text's memory. gjson wants a string. A
// copy of every record would be most of what the garbage collector has to do,
// and nothing changes the bytes any more.
func (m member) value() gjson.Result { return gjson.Parse(textOf(m.raw)) }

func textOf(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// members returns the members of a record's text. The error is that of
// normalJSON, or that the text is no object.
func (d *Decoder) members(text []byte) ([]member, error) {
	if d.scan(text) {
		return d.list, nil
	}
	// Something is out of the ordinary, or wrong.
	normal, err := normalJSON(text)
	if err != nil {
		return nil, err
	}
	root := gjson.Parse(textOf(normal))
	if !root.IsObject() {
		return nil, errNoObject
	}
	list := membersOf(root)
	for i := range list {
		if m := &list[i]; large(m.name) {
			m.key = d.key(m.raw)
		}
	}
	return list, nil
}

func (d *Decoder) key(raw []byte) Key {
	if d.keyer == nil {
		d.keyer = NewKeyer(NewSecret())
	}
	return d.keyer.Key(raw)
}

// membersOf returns the members of an object.
func membersOf(object gjson.Result) []member {
	var list []member
	object.ForEach(func(name, v gjson.Result) bool {
		list = append(list, member{name: name.Str, raw: bytesOf(v.Raw)})
		return true
	})
	return list
}

// scan finds the members of an object in list, and checks the JSON of each
// that is not known. False means only that it takes a closer look.
func (d *Decoder) scan(text []byte) bool {
	d.list = d.list[:0]
	i := blanks(text, 0)
	if i >= len(text) || text[i] != '{' {
		return false
	}
	for {
		i = blanks(text, i+1) // behind the brace or comma
		if i >= len(text) || text[i] != '"' {
			return false
		}
		end := stringEnd(text, i)
		if end < 0 {
			return false
		}
		name := text[i:end]
		if bytes.IndexByte(name, '\\') >= 0 || !gjson.ValidBytes(name) {
			return false
		}
		i = blanks(text, end)
		if i >= len(text) || text[i] != ':' {
			return false
		}
		i = blanks(text, i+1)
		end = valueEnd(text, i)
		if end < 0 {
			return false
		}
		m := member{name: textOf(name[1 : len(name)-1]), raw: text[i:end]}
		if !d.check(&m) {
			return false
		}
		d.list = append(d.list, m)
		if i = blanks(text, end); i >= len(text) {
			return false
		}
		if text[i] == '}' {
			return blanks(text, i+1) == len(text)
		}
		if text[i] != ',' {
			return false
		}
	}
}

// check reports whether a member's value is JSON, and gives a large one its key.
func (d *Decoder) check(m *member) bool {
	if !large(m.name) {
		return gjson.ValidBytes(m.raw)
	}
	m.key = d.key(m.raw)
	if _, ok := d.valid[m.key]; ok {
		return true
	}
	if _, ok := d.old[m.key]; !ok && !gjson.ValidBytes(m.raw) {
		return false
	}
	if len(d.valid) >= maxValid/2 || d.valid == nil {
		d.valid, d.old = make(map[Key]struct{}), d.valid
	}
	d.valid[m.key] = struct{}{}
	return true
}

// blanks returns the position of the first byte from i on that is no blank.
func blanks(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// stringEnd returns the position behind the string that begins at i, -1 if it
// does not end.
func stringEnd(text []byte, i int) int {
	start := i + 1
	for i = start; ; i++ {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		escapes := i
		for escapes > start && text[escapes-1] == '\\' {
			escapes--
		}
		if (i-escapes)%2 == 0 {
			return i + 1
		}
	}
}

// valueEnd returns the position behind the value that begins at i, if it is
// one; -1 if it does not end or is nested too deeply.
func valueEnd(text []byte, i int) int {
	depth := 1 // the object that the value is in
	for i < len(text) {
		switch text[i] {
		case '"':
			if i = stringEnd(text, i); i < 0 {
				return -1
			}
			if depth == 1 {
				return i
			}
			continue
		case '[', '{':
			if depth++; depth > maxDepth {
				return -1
			}
		case ']', '}':
			if depth--; depth == 1 {
				return i + 1
			}
			if depth < 1 {
				return i // an empty value, which is none
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 1 { // a number or a word ends
				return i
			}
		}
		i++
	}
	return -1
}
