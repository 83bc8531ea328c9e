package rmap

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// encodeChunk is how much text is held at a time: the maps of a large site
// have 100 MB and more.
const encodeChunk = 256 << 10

// EncodeXALT gives the text of xalt_rmapT.json: exactly the keys reverseMapT
// and xlibmap, one entry a line, ASCII only.
func (r *Result) EncodeXALT() []byte { return whole(r.encodeXALT) }

// EncodeJSON gives the text of jsonReverseMapT.json, likewise.
func (r *Result) EncodeJSON() []byte { return whole(r.encodeJSON) }

// EncodeList gives the text of xlibmap.list: one name a line. A name that does
// not fit on a line has no place there.
func (r *Result) EncodeList() []byte { return whole(r.encodeList) }

// An encoding gives a text piece by piece; a piece is valid only during the
// call of emit, whose error ends it.
type encoding func(emit func([]byte) error) error

func whole(encode encoding) []byte {
	var parts [][]byte
	_ = encode(func(b []byte) error { // that never fails
		parts = append(parts, bytes.Clone(b))
		return nil
	})
	return slices.Concat(parts...)
}

func (r *Result) encodeXALT(emit func([]byte) error) error {
	return r.encode(emit, func(b []byte, o *Owner) ([]byte, int) {
		return appendJSON(b, o.Name()), -1
	})
}

func (r *Result) encodeJSON(emit func([]byte) error) error {
	return r.encode(emit, func(b []byte, o *Owner) ([]byte, int) {
		b = append(b, `{"flavor":[`...)
		for j, f := range o.Flavors {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, f)
		}
		b = append(b, `],"kind":"`...)
		kind := len(b)
		b = append(b, '"')
		if o.File != "" {
			b = append(b, `,"moduleFn":`...)
			b = appendJSON(b, o.File)
		}
		b = append(b, `,"pkg":`...)
		b = appendJSON(b, o.Module)
		return append(b, '}'), kind
	})
}

// The parts of a map's text around its entries. An entry has a line of its own,
// and so has a library.
const (
	mapHead   = `{"reverseMapT":{`
	mapMiddle = "},\n\"xlibmap\":["
	mapEnd    = "]}\n"
)

// encode writes a map whose values value appends: all of an entry that depends
// on the owner, and where the kind goes in, below 0 for nowhere.
func (r *Result) encode(emit func([]byte) error, value func([]byte, *Owner) ([]byte, int)) error {
	b := append(make([]byte, 0, encodeChunk+64<<10), mapHead...)
	var owner *Owner
	var text []byte // of the owner
	var at int      // of the kind in it
	for i := range r.Keys {
		if len(b) > encodeChunk {
			if err := emit(b); err != nil {
				return err
			}
			b = b[:0]
		}
		k := &r.Keys[i]
		if k.Owner != owner {
			owner = k.Owner
			text, at = value(text[:0], owner)
		}
		b = separate(b, i)
		b = appendJSON(b, k.Path)
		b = append(b, ':')
		if at < 0 {
			b = append(b, text...)
			continue
		}
		b = append(b, text[:at]...)
		b = append(b, k.kind.String()...)
		b = append(b, text[at:]...)
	}
	if len(r.Keys) > 0 {
		b = append(b, '\n')
	}
	b = append(b, mapMiddle...)
	for i, l := range r.Libs {
		b = separate(b, i)
		b = appendJSON(b, l)
	}
	if len(r.Libs) > 0 {
		b = append(b, '\n')
	}
	return emit(append(b, mapEnd...))
}

func separate(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(b, '\n')
}

func (r *Result) encodeList(emit func([]byte) error) error {
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
	return emit(b)
}

// check reads an encoded map back as its readers do, entry by entry, and
// compares each with what was meant.
func (r *Result) check(text io.Reader) error {
	in := bufio.NewReaderSize(text, encodeChunk)
	want := mapHead
	if len(r.Keys) > 0 {
		want += "\n"
	}
	head := make([]byte, len(want))
	if _, err := io.ReadFull(in, head); err != nil {
		return fmt.Errorf("read the head of the new map: %w", err)
	}
	if string(head) != want {
		return fmt.Errorf("the new map begins with %q, not %q", head, want)
	}
	c := &entryCheck{}
	var long []byte
	for i := range r.Keys {
		line, err := readLine(in, &long)
		if err == nil {
			err = c.entry(line, &r.Keys[i], i+1 < len(r.Keys))
		}
		if err != nil {
			return fmt.Errorf("entry %d of %d: %w", i+1, len(r.Keys), err)
		}
	}
	rest, err := io.ReadAll(io.LimitReader(in, MaxSize))
	if err != nil {
		return err
	}
	return r.checkEnd(rest)
}

// readLine reads up to and with the next line end; long serves for a line that
// is longer than the reader's buffer. The line is valid until the next one is
// read.
func readLine(in *bufio.Reader, long *[]byte) (line []byte, err error) {
	line, err = in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	all := (*long)[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		all = append(all, line...)
		if len(all) > MaxSize {
			return nil, fmt.Errorf("line: %w of %d bytes", errTooLarge, MaxSize)
		}
		line, err = in.ReadSlice('\n')
	}
	*long = append(all, line...)
	return *long, err
}

// entryCheck compares entries of a new map.
type entryCheck struct {
	decoder
	owner       *Owner
	want        string // its name
	pkg, flavor []byte
}

// entry compares the line of an entry with its key.
func (c *entryCheck) entry(line []byte, k *Key, more bool) error {
	c.decoder = decoder{data: line, name: "the new map", scratch: c.scratch, ascii: true}
	if !isASCII(line) {
		return c.errAt(0, "%q is not ASCII", excerpt(line))
	}
	key, _, err := c.str()
	if err != nil {
		return err
	}
	if string(key) != k.Path || c.peek() != ':' {
		return c.errAt(0, "%q is not the entry that was meant", excerpt(line))
	}
	c.pos++
	if k.Owner != c.owner {
		c.owner, c.want = k.Owner, k.Name()
	}
	var got []byte
	if c.peek() == '"' {
		got, _, err = c.str()
	} else {
		c.pkg, c.flavor, err = c.decoder.entry(c.pkg[:0], c.flavor[:0])
		c.pkg = moduleName(c.pkg, c.flavor)
		got = c.pkg
	}
	end := "\n"
	if more {
		end = ",\n"
	}
	switch {
	case err != nil:
		return err
	case string(got) != c.want:
		return c.errAt(0, "module %q, not %q", got, c.want)
	case string(line[c.pos:]) != end:
		return c.errAt(c.pos, "%q follows the entry", excerpt(line[c.pos:]))
	}
	return nil
}

// checkEnd compares what follows the entries: the end of the table, and xlibmap.
func (r *Result) checkEnd(rest []byte) error {
	d := &decoder{data: append([]byte(mapHead), rest...), name: "the end of the new map"}
	tables, libs := 0, 0
	err := d.object(func(key []byte, off int, _ flaw) error {
		switch string(key) {
		case "reverseMapT":
			tables++
			return d.object(func(_ []byte, off int, _ flaw) error { return d.errAt(off, "there are more entries than were meant") })
		case "xlibmap":
			return d.array(func(off int) error {
				s, _, err := d.str()
				if err == nil && (libs >= len(r.Libs) || string(s) != r.Libs[libs]) {
					err = d.errAt(off, "library %q is not the one that was meant", s)
				}
				libs++
				return err
			})
		}
		return d.errAt(off, "key %q", key)
	})
	switch {
	case err != nil:
		return err
	case tables != 1 || libs != len(r.Libs) || d.peek() != 0:
		return d.errAt(d.pos, "not one reverse map with %d libraries and nothing else", len(r.Libs))
	}
	return nil
}

// appendJSON appends a string in double quotes, in ASCII.
func appendJSON(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	begin := len(b)
	if b = append(b, s...); asItIs(b[begin:]) { // nearly always
		return append(b, '"')
	}
	b = b[:begin]
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

// asItIs tells whether a text stands for itself in a JSON string of printable
// ASCII.
func asItIs(s []byte) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		x := binary.LittleEndian.Uint64(s)
		if specials(x) != 0 || (x|(x&^high+ones))&high != 0 { // above 0x7e
			return false
		}
		s = s[8:]
	}
	for _, c := range s {
		if special[c] || c >= 0x7f {
			return false
		}
	}
	return true
}
