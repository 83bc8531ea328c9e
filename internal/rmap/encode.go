package rmap

import (
	"unicode/utf16"
	"unicode/utf8"
)

// EncodeXALT gives the text of xalt_rmapT.json: exactly the keys reverseMapT
// and xlibmap, one entry a line, ASCII only.
func (r *Result) EncodeXALT() []byte {
	size := 64
	for i := range r.Keys {
		size += len(r.Keys[i].Path) + len(r.Keys[i].Module) + len(r.Keys[i].Flavors[0]) + 9
	}
	b := append(make([]byte, 0, size), `{"reverseMapT":{`...)
	var name []byte
	for i := range r.Keys {
		k := &r.Keys[i]
		b = separate(b, i)
		b = appendJSON(b, k.Path)
		b = append(b, ':')
		name = moduleName(append(name[:0], k.Module...), []byte(k.Flavors[0]))
		b = appendJSON(b, string(name))
	}
	return r.encodeLibs(b)
}

// EncodeJSON gives the text of jsonReverseMapT.json, likewise.
func (r *Result) EncodeJSON() []byte {
	size := 64
	for i := range r.Keys {
		size += len(r.Keys[i].Path) + len(r.Keys[i].Module) + len(r.Keys[i].File) + 64
		for _, f := range r.Keys[i].Flavors {
			size += len(f) + 3
		}
	}
	b := append(make([]byte, 0, size), `{"reverseMapT":{`...)
	for i := range r.Keys {
		k := &r.Keys[i]
		b = separate(b, i)
		b = appendJSON(b, k.Path)
		b = append(b, `:{"flavor":[`...)
		for j, f := range k.Flavors {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, f)
		}
		b = append(b, `],"kind":"`...)
		b = append(b, k.Kind...)
		b = append(b, '"')
		if k.File != "" {
			b = append(b, `,"moduleFn":`...)
			b = appendJSON(b, k.File)
		}
		b = append(b, `,"pkg":`...)
		b = appendJSON(b, k.Module)
		b = append(b, '}')
	}
	return r.encodeLibs(b)
}

func separate(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(b, '\n')
}

func (r *Result) encodeLibs(b []byte) []byte {
	if len(r.Keys) > 0 {
		b = append(b, '\n')
	}
	b = append(b, "},\n\"xlibmap\":["...)
	for i, l := range r.Libs {
		b = separate(b, i)
		b = appendJSON(b, l)
	}
	if len(r.Libs) > 0 {
		b = append(b, '\n')
	}
	return append(b, "]}\n"...)
}

// checkText reads an encoded map as its readers do, and compares every entry.
func (r *Result) checkText(text []byte) error {
	d := &decoder{data: text, name: "the new map"}
	tables := 0
	err := d.object(func(key []byte, _ int, _ flaw) error {
		if string(key) != "reverseMapT" {
			return d.skip()
		}
		tables++
		n := 0
		var want, pkg, flavor []byte
		err := d.object(func(key []byte, off int, _ flaw) error {
			if n >= len(r.Keys) || string(key) != r.Keys[n].Path {
				return d.errAt(off, "entry %d is not the one that was meant", n)
			}
			k := &r.Keys[n]
			n++
			want = moduleName(append(want[:0], k.Module...), []byte(k.Flavors[0]))
			var got []byte
			var err error
			if d.peek() == '"' {
				got, _, err = d.str()
			} else {
				pkg, flavor, err = d.entry(pkg[:0], flavor[:0])
				pkg = moduleName(pkg, flavor)
				got = pkg
			}
			if err == nil && string(got) != string(want) {
				err = d.errAt(off, "module %q, not %q", got, want)
			}
			return err
		})
		if err == nil && n != len(r.Keys) {
			err = d.errAt(d.pos, "%d entries, not %d", n, len(r.Keys))
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case tables != 1 || d.peek() != 0:
		return d.errAt(d.pos, "not one reverse map and nothing else")
	}
	return nil
}

// EncodeList gives the text of xlibmap.list: one name a line. A name that does
// not fit on a line has no place there.
func (r *Result) EncodeList() []byte {
	var b []byte
next:
	for _, l := range r.Libs {
		for i := range len(l) {
			if l[i] < ' ' {
				continue next
			}
		}
		b = append(append(b, l...), '\n')
	}
	return b
}

// appendJSON appends a string in double quotes, in ASCII.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if !special[c] && c < 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		size := 1
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < utf8.RuneSelf:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			units := [2]rune{r}
			n := 1
			if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
				units, n = [2]rune{hi, lo}, 2
			}
			for _, u := range units[:n] {
				b = append(b, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
			}
		}
		i += size
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
