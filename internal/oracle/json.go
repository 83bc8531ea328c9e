package oracle

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// value is a JSON value: nil, bool, number, string, []value or object.
//
// Strings are byte strings: a lone UTF-16 surrogate, which is no character, has
// the three bytes that UTF-8 would have for it, and bytes that are not UTF-8
// stay as they are.
type value any

// number is the text of a JSON number. NaN, Infinity and -Infinity, which
// Python writes, are read and kept as such.
type number string

// object keeps the last of several members with one name, as Python does.
type object map[string]value

var errJSON = errors.New("not JSON")

// parseJSON reads a JSON text.
func parseJSON(text string) (value, error) {
	p := parser{text: text}
	v, err := p.value(0)
	if err != nil {
		return nil, fmt.Errorf("%w at byte %d: %w", errJSON, p.at, err)
	}
	p.blanks()
	if p.at != len(text) {
		return nil, fmt.Errorf("%w at byte %d: text behind the value", errJSON, p.at)
	}
	return v, nil
}

type parser struct {
	text string
	at   int
}

func (p *parser) blanks() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.text[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

var numberText = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`)

func (p *parser) value(depth int) (value, error) {
	if depth > 1000 {
		return nil, errors.New("nested too deep")
	}
	p.blanks()
	switch {
	case p.take("null"):
		return nil, nil
	case p.take("true"):
		return true, nil
	case p.take("false"):
		return false, nil
	case p.take("NaN"):
		return number("NaN"), nil
	case p.take("Infinity"):
		return number("Infinity"), nil
	case p.take("-Infinity"):
		return number("-Infinity"), nil
	case p.take(`"`):
		return p.str()
	case p.take("["):
		return p.array(depth)
	case p.take("{"):
		return p.object(depth)
	}
	if n := numberText.FindString(p.text[p.at:]); n != "" {
		p.at += len(n)
		return number(n), nil
	}
	return nil, errors.New("no value")
}

func (p *parser) array(depth int) (value, error) {
	list := []value{}
	p.blanks()
	if p.take("]") {
		return list, nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		p.blanks()
		if p.take("]") {
			return list, nil
		}
		if !p.take(",") {
			return nil, errors.New("no comma in an array")
		}
	}
}

func (p *parser) object(depth int) (value, error) {
	o := object{}
	p.blanks()
	if p.take("}") {
		return o, nil
	}
	for {
		p.blanks()
		if !p.take(`"`) {
			return nil, errors.New("no name of a member")
		}
		name, err := p.str()
		if err != nil {
			return nil, err
		}
		p.blanks()
		if !p.take(":") {
			return nil, errors.New("no colon")
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o[name] = v
		p.blanks()
		if p.take("}") {
			return o, nil
		}
		if !p.take(",") {
			return nil, errors.New("no comma in an object")
		}
	}
}

// str reads a string behind its opening quote.
func (p *parser) str() (string, error) {
	var b []byte
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		switch {
		case c == '"':
			return string(b), nil
		case c < ' ':
			return "", errors.New("control character in a string")
		case c != '\\':
			b = append(b, c)
			continue
		}
		if p.at == len(p.text) {
			break
		}
		c = p.text[p.at]
		p.at++
		if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
			b = append(b, "\"\\/\b\f\n\r\t"[i])
			continue
		}
		if c != 'u' {
			return "", errors.New("unknown escape")
		}
		unit, err := p.hex4()
		if err != nil {
			return "", err
		}
		if 0xD800 <= unit && unit < 0xDC00 && p.take(`\u`) {
			low, err := p.hex4()
			if err != nil {
				return "", err
			}
			if pair := utf16.DecodeRune(unit, low); pair != utf8.RuneError {
				b = utf8.AppendRune(b, pair)
				continue
			}
			p.at -= 6 // the second is a character of its own
		}
		b = appendUnit(b, unit)
	}
	return "", errors.New("string without end")
}

func (p *parser) hex4() (rune, error) {
	if p.at+4 > len(p.text) {
		return 0, errors.New("escape cut off")
	}
	n, err := strconv.ParseUint(p.text[p.at:p.at+4], 16, 16)
	if err != nil {
		return 0, errors.New("bad digits in an escape")
	}
	p.at += 4
	return rune(n), nil
}

// appendUnit appends a character below 0x10000, surrogates in the bytes that
// UTF-8 would have for them.
func appendUnit(b []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(b, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0xBF, 0x80|byte(r)&0xBF)
	}
	return utf8.AppendRune(b, r)
}

// storable returns a string in the form in which every database can hold it:
// valid UTF-8 without NUL. What is not becomes U+FFFD and the byte in two
// hexadecimal digits; U+FFFD itself becomes U+FFFD and "=", so that the way
// back is clear.
func storable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == 0, r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "\uFFFD%02x", s[0])
		case r == utf8.RuneError:
			b.WriteString("\uFFFD=")
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// pythonJSON prints a list as Python's json.dumps does: ", " between the items,
// everything outside ASCII as \u escapes. Bytes that are no characters are made
// storable first, except surrogates, which have an escape.
func pythonJSON(items []value) string {
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i] = pythonValue(item)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func pythonValue(v value) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case number:
		return string(v)
	case string:
		return pythonString(v)
	case []value:
		return pythonJSON(v)
	case object:
		var members []string
		for _, name := range sortedKeys(v) {
			members = append(members, pythonString(name)+": "+pythonValue(v[name]))
		}
		return "{" + strings.Join(members, ", ") + "}"
	}
	panic(fmt.Sprintf("no JSON value: %T", v))
}

func pythonString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for len(s) > 0 {
		if len(s) >= 3 && s[0] == 0xED && s[1]&0xE0 == 0xA0 && s[2]&0xC0 == 0x80 {
			fmt.Fprintf(&b, `\u%04x`, 0xD000|int(s[1]&0x3F)<<6|int(s[2]&0x3F))
			s = s[3:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\ufffd%02x`, s[0])
		} else {
			writeEscaped(&b, r)
		}
		s = s[n:]
	}
	b.WriteByte('"')
	return b.String()
}

func writeEscaped(b *strings.Builder, r rune) {
	if i := strings.IndexRune("\"\\\b\f\n\r\t", r); i >= 0 {
		b.WriteByte('\\')
		b.WriteByte(`"\bfnrt`[i])
		return
	}
	switch {
	case r >= 0x10000:
		high, low := utf16.EncodeRune(r)
		fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
	case r < ' ' || r > '~':
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		b.WriteRune(r)
	}
}

var plainNumber = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`)

// toNumber reads a number, also one in a string. ok is false if there is none,
// or if it is not finite. Zero has no sign.
func toNumber(v value) (f float64, ok bool) {
	var text string
	switch v := v.(type) {
	case number:
		text = string(v)
	case string:
		text = strings.TrimSpace(v)
	}
	if !plainNumber.MatchString(text) {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if f == 0 {
		f = 0
	}
	return f, err == nil && !math.IsInf(f, 0)
}
