package xalt

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// escapeRune introduces an escape in stored text: U+FFFD, which decoders
// already use for what is not text.
const escapeRune = utf8.RuneError

// Storable returns s as valid UTF-8 without NUL, reversibly: a byte that is
// neither becomes U+FFFD and two lower-case hexadecimal digits, and a U+FFFD
// that was there becomes U+FFFD and "=". Everything else stays as it is. A
// lone UTF-16 surrogate from a JSON text counts as its three bytes.
func Storable(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && !strings.Contains(s, string(escapeRune)) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1, r == 0:
			b.WriteRune(escapeRune)
			b.WriteByte(hexDigits[s[i]>>4])
			b.WriteByte(hexDigits[s[i]&0xF])
		case r == escapeRune:
			b.WriteRune(escapeRune)
			b.WriteByte('=')
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

const hexDigits = "0123456789abcdef"

// Unstorable undoes [Storable].
func Unstorable(s string) string {
	if !strings.ContainsRune(s, escapeRune) {
		return s
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, string(escapeRune))
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if c, err := hex.DecodeString(after[:min(2, len(after))]); err == nil && len(c) == 1 {
			b.WriteByte(c[0])
			after = after[2:]
		} else {
			b.WriteRune(escapeRune)
			after = strings.TrimPrefix(after, "=")
		}
		s = after
	}
}

// unquote reads the inside of a JSON string. Lone surrogates come out as the
// three bytes that UTF-8 would have for them, invalid UTF-8 as it is. ok is
// false if an escape is malformed or a quote stands there unescaped.
func unquote(raw string) (text string, ok bool) {
	i := special(raw)
	if i < 0 {
		return raw, true
	}
	b := make([]byte, 0, len(raw))
	for {
		b = append(b, raw[:i]...)
		if raw[i] == '"' || i+1 >= len(raw) {
			return "", false
		}
		c := raw[i+1]
		raw = raw[i+2:]
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			unit, ok := hex4(raw)
			if !ok {
				return "", false
			}
			raw = raw[4:]
			r := rune(unit)
			if utf16.IsSurrogate(r) && strings.HasPrefix(raw, `\u`) {
				if low, ok := hex4(raw[2:]); ok {
					if pair := utf16.DecodeRune(r, rune(low)); pair != utf8.RuneError {
						r = pair
						raw = raw[6:]
					}
				}
			}
			b = appendRune(b, r)
		default:
			return "", false
		}
		i = special(raw)
		if i < 0 {
			return string(append(b, raw...)), true
		}
	}
}

// special returns the position of the first backslash or quote, -1 if there is
// none.
func special(raw string) int {
	quote := strings.IndexByte(raw, '"')
	if quote >= 0 {
		raw = raw[:quote]
	}
	if i := strings.IndexByte(raw, '\\'); i >= 0 {
		return i
	}
	return quote
}

// appendRune is utf8.AppendRune, but for surrogates, which it writes in the
// same way instead of replacing them.
func appendRune(b []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(b, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
	}
	return utf8.AppendRune(b, r)
}

func hex4(s string) (uint16, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n := uint16(0)
	for i := range 4 {
		digit, ok := hexDigit(s[i])
		if !ok {
			return 0, false
		}
		n = n<<4 | digit
	}
	return n, true
}

func hexDigit(c byte) (uint16, bool) {
	switch {
	case c >= '0' && c <= '9':
		return uint16(c - '0'), true
	case c >= 'a' && c <= 'f':
		return uint16(c - 'a' + 10), true
	case c >= 'A' && c <= 'F':
		return uint16(c - 'A' + 10), true
	}
	return 0, false
}

// rawString returns what a JSON string token stands for, not yet [Storable].
func rawString(v gjson.Result) string {
	if v.Type != gjson.String || len(v.Raw) < 2 {
		return v.Raw
	}
	if text, ok := unquote(v.Raw[1 : len(v.Raw)-1]); ok {
		return text
	}
	return v.Raw[1 : len(v.Raw)-1]
}

// pythonDumps writes a JSON array as Python's json.dumps does by default:
// ", " between items and everything outside printable ASCII as \u escapes.
func pythonDumps(array gjson.Result) string {
	b := append(make([]byte, 0, len(array.Raw)+64), '[')
	array.ForEach(func(_, item gjson.Result) bool {
		if len(b) > 1 {
			b = append(b, ", "...)
		}
		if plain(item.Raw) {
			b = append(b, item.Raw...) // as Python prints it
		} else if item.Type == gjson.String {
			b = appendQuoted(b, rawString(item), func(dst []byte, rest string) ([]byte, int) {
				if unit, ok := surrogateAt(rest); ok {
					return fmt.Appendf(dst, `\u%04x`, unit), 3
				}
				return fmt.Appendf(dst, `\u%04x%02x`, escapeRune, rest[0]), 1 // not text at all: as Storable would have it
			})
		} else {
			b = append(b, Storable(item.Raw)...)
		}
		return true
	})
	return string(append(b, ']'))
}

// plain reports whether a JSON token is printable ASCII without an escape.
func plain(token string) bool {
	for i := range len(token) {
		if c := token[i]; c < ' ' || c > '~' || c == '\\' {
			return false
		}
	}
	return true
}

// AppendString adds s to dst as a JSON string in ASCII, in which a byte that is
// not UTF-8 is a lone surrogate, U+DC80 to U+DCFF, as Python has it in the names
// of files. [Decode] keeps it reversibly, and XALT's own reader takes it.
func AppendString(dst []byte, s string) []byte {
	return appendQuoted(dst, s, func(dst []byte, rest string) ([]byte, int) { return fmt.Appendf(dst, `\udc%02x`, rest[0]), 1 })
}

// appendQuoted adds s as Python's json.dumps prints it. invalid adds what rest
// begins with, which is not UTF-8, and tells of how many bytes it took care.
func appendQuoted(dst []byte, s string, invalid func(dst []byte, rest string) ([]byte, int)) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c <= '~' {
			if c == '"' || c == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst, n = invalid(dst, s[i:])
			i += n
			continue
		}
		i += n
		switch r {
		case '\b':
			dst = append(dst, `\b`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			if r > 0xFFFF {
				high, low := utf16.EncodeRune(r)
				dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
			} else {
				dst = fmt.Appendf(dst, `\u%04x`, r)
			}
		}
	}
	return append(dst, '"')
}

// surrogateAt reads a surrogate as appendRune writes it.
func surrogateAt(s string) (rune, bool) {
	if len(s) < 3 || s[0] != 0xED || s[1] < 0xA0 || s[1] > 0xBF || s[2]&0xC0 != 0x80 {
		return 0, false
	}
	return rune(s[0]&0x0F)<<12 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), true
}

// Nesting deeper than maxDepth is no record; a JSON validator that recurses
// would need memory for every level.
const maxDepth = 200

var errDepth = errors.New("JSON is nested too deeply")

// normalJSON returns text as JSON that gjson accepts: valid, not nested too
// deeply, and NaN, Infinity and -Infinity outside strings, which Python's json
// reads and some producers write, as null. The result shares text's memory
// where nothing had to be changed. The error tells the offset in bytes.
func normalJSON(text []byte) ([]byte, error) {
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > maxDepth && depth(text) > maxDepth {
		return nil, errDepth
	}
	if gjson.ValidBytes(text) {
		return text, nil
	}
	if fixed := nonFinite(text); fixed != nil && gjson.ValidBytes(fixed) {
		return fixed, nil
	}
	var any json.RawMessage
	err := json.Unmarshal(text, &any)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return nil, fmt.Errorf("not JSON at offset %d: %w", syntax.Offset, err)
	}
	return nil, fmt.Errorf("not JSON: %w", err)
}

// depth returns how deeply brackets outside strings are nested.
func depth(text []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}

// nonFinite replaces Python's words for numbers that JSON has not; nil if
// there are none.
func nonFinite(text []byte) []byte {
	if !bytes.Contains(text, []byte("NaN")) && !bytes.Contains(text, []byte("Infinity")) {
		return nil
	}
	out := make([]byte, 0, len(text)+16)
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if inString {
			out = append(out, c)
			if c == '\\' && i+1 < len(text) {
				i++
				out = append(out, text[i])
			} else if c == '"' {
				inString = false
			}
			continue
		}
		replaced := false
		for _, word := range [...]string{"NaN", "-Infinity", "Infinity"} {
			if bytes.HasPrefix(text[i:], []byte(word)) {
				out = append(out, "null"...)
				i += len(word) - 1
				replaced = true
				break
			}
		}
		if !replaced {
			inString = c == '"'
			out = append(out, c)
		}
	}
	return out
}
