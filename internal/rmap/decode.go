package rmap

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxSize is the largest map or spider output, in bytes after unpacking, that
// is read. A map of a big site is 40 MB.
const MaxSize = 1 << 30

// maxDepth bounds the nesting of JSON values; spider's output has five levels.
const maxDepth = 64

// errTooLarge is the cause of the error that readAll gives beyond its limit.
var errTooLarge = errors.New("larger than the limit")

// A SyntaxError tells where an input is not a reverse map.
type SyntaxError struct {
	File   string // as the user named it
	Line   int    // from 1
	Offset int    // in bytes from 0, after unpacking
	Msg    string // what is wrong, and where one is known the remedy
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d: offset %d: %s", e.File, e.Line, e.Offset, e.Msg)
}

// readAll reads r to its end, unpacks gzip, and gives up beyond MaxSize bytes.
func readAll(r io.Reader, name string) ([]byte, error) {
	data, _, err := readInto(r, name, nil)
	return data, err
}

// readInto is readAll into a buffer, which it gives back, perhaps larger; what
// was read is mostly a part of it.
func readInto(r io.Reader, name string, buf []byte) (data, raw []byte, err error) {
	size := int64(0)
	switch r := r.(type) {
	case interface{ Len() int }:
		size = int64(r.Len())
	case interface{ Stat() (fs.FileInfo, error) }:
		if st, err := r.Stat(); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
	}
	raw, err = readLimit(r, size, MaxSize, buf)
	if err != nil {
		return nil, raw, fmt.Errorf("read %s: %w", name, err)
	}
	if len(raw) < 2 || raw[0] != 0x1f || raw[1] != 0x8b {
		return raw, raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, raw, fmt.Errorf("unpack %s: %w", name, err)
	}
	// The last four bytes of a gzip file are the unpacked size modulo 2^32;
	// it is only a hint, so a file that lies about it costs at most MaxSize.
	hint := int64(0)
	if n := len(raw); n >= 18 {
		t := raw[n-4:]
		hint = int64(t[0]) | int64(t[1])<<8 | int64(t[2])<<16 | int64(t[3])<<24
		if hint > 1024*int64(n) { // beyond what deflate can do
			hint = 0
		}
	}
	data, err = readLimit(z, hint, MaxSize, nil)
	if err != nil {
		return nil, raw, fmt.Errorf("unpack %s: %w; the file is cut short or damaged: make it again", name, err)
	}
	return data, raw, nil
}

func readLimit(r io.Reader, size, limit int64, buf []byte) ([]byte, error) {
	if size > limit {
		return buf, fmt.Errorf("%w of %d bytes", errTooLarge, limit)
	}
	b := buf[:0]
	if int64(cap(b)) < size+512 {
		b = make([]byte, 0, size+size/16+512)
	}
	for {
		if len(b) == cap(b) {
			grow := make([]byte, len(b), 2*cap(b))
			copy(grow, b)
			b = grow
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if int64(len(b)) > limit {
			return b, fmt.Errorf("%w of %d bytes", errTooLarge, limit)
		}
		switch {
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		}
	}
}

// A flaw is a set of things that were wrong with a string and were repaired or
// must be judged by whoever asked for it.
type flaw uint8

const (
	flawControl   flaw = 1 << iota // raw control character, kept
	flawHex                        // \xHH, taken as a byte
	flawVT                         // \v, taken as 0x0b
	flawEscape                     // another unknown escape, taken as the character
	flawSurrogate                  // half a surrogate pair
	flawUTF8                       // not UTF-8
)

// special are the bytes inside a string that need care.
var special = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

// A decoder walks over one JSON document. In lenient mode it reads on over
// what spider is known to get wrong inside strings, and tells by a flaw.
type decoder struct {
	data    []byte
	name    string
	pos     int
	depth   int
	lenient bool
	ascii   bool // there is no byte above 0x7f in data
	scratch []byte
}

// isASCII tells whether a text has no byte above 0x7f.
func isASCII(data []byte) bool {
	const high = 0x8080808080808080
	for len(data) >= 32 {
		if (binary.LittleEndian.Uint64(data)|binary.LittleEndian.Uint64(data[8:])|binary.LittleEndian.Uint64(data[16:])|binary.LittleEndian.Uint64(data[24:]))&high != 0 {
			return false
		}
		data = data[32:]
	}
	for _, c := range data {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// line gives the line of an offset, from 1.
func (d *decoder) line(off int) int {
	return 1 + bytes.Count(d.data[:min(off, len(d.data))], []byte{'\n'})
}

func (d *decoder) errAt(off int, format string, args ...any) error {
	return &SyntaxError{File: d.name, Line: d.line(off), Offset: off, Msg: fmt.Sprintf(format, args...)}
}

func (d *decoder) truncated() error {
	return d.errAt(len(d.data), "the document ends in the middle; the file is truncated: run spider again")
}

func (d *decoder) space() {
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

// peek gives the next byte that is not white space, 0 at the end.
func (d *decoder) peek() byte {
	d.space()
	if d.pos < len(d.data) {
		return d.data[d.pos]
	}
	return 0
}

func (d *decoder) unexpected(want string) error {
	if d.pos >= len(d.data) {
		return d.truncated()
	}
	return d.errAt(d.pos, "%s expected, found %q", want, excerpt(d.data[d.pos:]))
}

func excerpt(b []byte) string {
	const n = 20
	if len(b) > n {
		b = b[:n]
	}
	return string(b)
}

// object calls f for every key of the object that begins here; f must consume
// the value. The key is valid only until the next call of the decoder.
func (d *decoder) object(f func(key []byte, off int, fl flaw) error) error {
	if d.peek() != '{' {
		return d.unexpected("{")
	}
	if err := d.enter(); err != nil {
		return err
	}
	if d.peek() == '}' {
		d.leave()
		return nil
	}
	for {
		if d.peek() != '"' {
			return d.unexpected(`a key in double quotes`)
		}
		off := d.pos
		key, fl, err := d.str()
		if err != nil {
			return err
		}
		if d.peek() != ':' {
			return d.unexpected(":")
		}
		d.pos++
		if err := f(key, off, fl); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.leave()
			return nil
		default:
			return d.unexpected(", or }")
		}
	}
}

// array calls f for every element of the array that begins here; f must
// consume it.
func (d *decoder) array(f func(off int) error) error {
	if d.peek() != '[' {
		return d.unexpected("[")
	}
	if err := d.enter(); err != nil {
		return err
	}
	if d.peek() == ']' {
		d.leave()
		return nil
	}
	for {
		d.space()
		if err := f(d.pos); err != nil {
			return err
		}
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.leave()
			return nil
		default:
			return d.unexpected(", or ]")
		}
	}
}

func (d *decoder) enter() error {
	if d.depth++; d.depth > maxDepth {
		return d.errAt(d.pos, "values are nested more than %d deep; no spider writes that: run spider -o jsonReverseMapT again", maxDepth)
	}
	d.pos++
	return nil
}

func (d *decoder) leave() {
	d.depth--
	d.pos++
}

// skip passes over one value of any type.
func (d *decoder) skip() error {
	switch c := d.peek(); {
	case c == '"':
		_, _, err := d.str()
		return err
	case c == '{':
		return d.object(func([]byte, int, flaw) error { return d.skip() })
	case c == '[':
		return d.array(func(int) error { return d.skip() })
	case c == 't':
		return d.word("true")
	case c == 'f':
		return d.word("false")
	case c == 'n':
		return d.word("null")
	case c == '-' || c >= '0' && c <= '9':
		return d.number()
	}
	return d.unexpected("a value")
}

func (d *decoder) word(w string) error {
	if !bytes.HasPrefix(d.data[d.pos:], []byte(w)) {
		if bytes.HasPrefix([]byte(w), d.data[d.pos:]) {
			return d.truncated()
		}
		return d.unexpected(w)
	}
	d.pos += len(w)
	return nil
}

func (d *decoder) number() error {
	start := d.pos
	for d.pos < len(d.data) {
		c := d.data[d.pos]
		if c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E' && (c < '0' || c > '9') {
			break
		}
		d.pos++
	}
	if _, err := strconv.ParseFloat(string(d.data[start:d.pos]), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
		d.pos = start
		return d.unexpected("a number")
	}
	return nil
}

// plainLen gives the number of bytes at the beginning of s that stand for
// themselves in a JSON string: no control character, quote or backslash.
func plainLen(s []byte) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		if m := specials(binary.LittleEndian.Uint64(s[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(s) && !special[s[i]] {
		i++
	}
	return i
}

// specials marks, of eight bytes, by its highest bit the first one that needs
// care inside a string; 0 if there is none. Marks above that one may be wrong.
func specials(x uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^ones*'"', x^ones*'\\'
	return ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & high
}

// str decodes the string that begins here. The bytes are valid only until the
// next call of str.
func (d *decoder) str() ([]byte, flaw, error) {
	if d.pos >= len(d.data) || d.data[d.pos] != '"' {
		return nil, 0, d.unexpected("a string")
	}
	data := d.data
	start := d.pos + 1
	i := start + plainLen(data[start:])
	if i < len(data) && data[i] == '"' {
		d.pos = i + 1
		return d.checked(data[start:i], 0, start)
	}
	buf := append(d.scratch[:0], data[start:i]...)
	var fl flaw
	for i < len(data) {
		// Eight bytes are taken as they are; those from the first one that
		// needs care on are taken back.
		if n := len(buf); cap(buf)-n >= 8 && len(data)-i >= 8 {
			x := binary.LittleEndian.Uint64(data[i:])
			binary.LittleEndian.PutUint64(buf[n:n+8], x)
			m := specials(x)
			if m == 0 {
				buf, i = buf[:n+8], i+8
				continue
			}
			plain := bits.TrailingZeros64(m) / 8
			buf, i = buf[:n+plain], i+plain
		}
		c := data[i]
		switch {
		case c == '"':
			d.pos, d.scratch = i+1, buf
			return d.checked(buf, fl, start)
		case c == '\\':
			if i+1 < len(data) && data[i+1] == '/' { // spider escapes every slash
				buf = append(buf, '/')
				i += 2
				break
			}
			n, f, b, err := d.escape(buf, i)
			if err != nil {
				return nil, 0, err
			}
			buf, fl, i = b, fl|f, i+n
		case c >= ' ':
			buf = append(buf, c)
			i++
		case !d.lenient:
			return nil, 0, d.errAt(i, "raw control character 0x%02x in a string; rmap-merge repairs such a map", c)
		default:
			fl |= flawControl
			buf = append(buf, c)
			i++
		}
	}
	return nil, 0, d.truncated()
}

func (d *decoder) checked(s []byte, fl flaw, start int) ([]byte, flaw, error) {
	// In an ASCII text only \xHH makes other than UTF-8.
	if d.ascii && fl&flawHex == 0 || utf8.Valid(s) {
		return s, fl, nil
	}
	if d.lenient {
		return s, fl | flawUTF8, nil
	}
	return nil, 0, d.errAt(start, "string is not UTF-8; rmap-merge drops such an entry")
}

// escape appends the character of the escape at offset i to buf and tells how
// many bytes it took.
func (d *decoder) escape(buf []byte, i int) (n int, fl flaw, out []byte, err error) {
	if i+1 >= len(d.data) {
		return 0, 0, nil, d.truncated()
	}
	switch c := d.data[i+1]; c {
	case '"', '\\', '/':
		return 2, 0, append(buf, c), nil
	case 'b':
		return 2, 0, append(buf, '\b'), nil
	case 'f':
		return 2, 0, append(buf, '\f'), nil
	case 'n':
		return 2, 0, append(buf, '\n'), nil
	case 'r':
		return 2, 0, append(buf, '\r'), nil
	case 't':
		return 2, 0, append(buf, '\t'), nil
	case 'u':
		r, err := d.hex(i+2, 4)
		if err != nil {
			return 0, 0, nil, err
		}
		if !utf16.IsSurrogate(r) {
			return 6, 0, utf8.AppendRune(buf, r), nil
		}
		if i+7 < len(d.data) && d.data[i+6] == '\\' && d.data[i+7] == 'u' {
			if low, err := d.hex(i+8, 4); err == nil {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					return 12, 0, utf8.AppendRune(buf, pair), nil
				}
			}
		}
		if !d.lenient {
			return 0, 0, nil, d.errAt(i, "half a surrogate pair; rmap-merge drops such an entry")
		}
		return 6, flawSurrogate, utf8.AppendRune(buf, utf8.RuneError), nil
	case 'v':
		if d.lenient {
			return 2, flawVT, append(buf, '\v'), nil
		}
	case 'x':
		if d.lenient {
			r, err := d.hex(i+2, 2)
			if err != nil {
				return 0, 0, nil, err
			}
			return 4, flawHex, append(buf, byte(r)), nil
		}
	default:
		if d.lenient && c >= ' ' && c < utf8.RuneSelf {
			return 2, flawEscape, append(buf, c), nil
		}
	}
	return 0, 0, nil, d.errAt(i, "unknown escape %q in a string; rmap-merge repairs such a map", excerpt(d.data[i:i+2]))
}

func (d *decoder) hex(i, n int) (rune, error) {
	if i+n > len(d.data) {
		return 0, d.truncated()
	}
	v, err := strconv.ParseUint(string(d.data[i:i+n]), 16, 32)
	if err != nil {
		return 0, d.errAt(i-2, "bad escape %q in a string", excerpt(d.data[i-2:i+n]))
	}
	return rune(v), nil
}

// hintText looks at a text that cannot be a reverse map and says what it
// seems to be; "" if it may be one.
func hintText(data []byte) string {
	t := bytes.TrimLeft(data, " \t\r\n\x00")
	low := bytes.ToLower(t[:min(len(t), 256)])
	switch {
	case len(data) == 0:
		return "the file is empty: spider did not run, or its disk was full; run it again"
	case len(t) == 0:
		return "the file holds only white space: spider did not run to its end; run it again"
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}),
		len(data) > 3 && data[0] == 0 && data[1] == '{', len(data) > 3 && data[0] == '{' && data[1] == 0:
		return "the text is UTF-16: write it again as UTF-8, as spider does"
	case bytes.HasPrefix(low, []byte("<!doctype")), bytes.HasPrefix(low, []byte("<html")), t[0] == '<':
		return "this is HTML or XML, not the output of spider -o jsonReverseMapT: is the file the right one, and did its download fail?"
	case luaStart(t):
		return "this is a Lua table: run spider with -o jsonReverseMapT (or -o xalt_rmapT) in place of -o reverseMapT"
	case string(bytes.TrimSpace(t)) == "[]":
		return "the list is empty: spider -o spider-json found no modulefile; is its MODULEPATH right?"
	case t[0] != '{':
		return "there is text before the JSON document, which begins with {: keep spider's messages out of the file (2>/dev/null, or a log of their own)"
	}
	return ""
}

// luaStart tells whether the text begins as "name = {" does.
func luaStart(t []byte) bool {
	i := 0
	for i < len(t) && (t[i] == '_' || t[i] >= 'a' && t[i] <= 'z' || t[i] >= 'A' && t[i] <= 'Z' || i > 0 && t[i] >= '0' && t[i] <= '9') {
		i++
	}
	rest := bytes.TrimLeft(t[i:], " \t\r\n")
	return i > 0 && len(rest) > 1 && rest[0] == '=' && bytes.HasPrefix(bytes.TrimLeft(rest[1:], " \t\r\n"), []byte("{"))
}
