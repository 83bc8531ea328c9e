package launcher

import (
	_ "embed" // the table of options
	"slices"
	"strings"
)

//go:embed options.txt
var optionsText string

// An option is one line's form and meaning; see options.txt for both.
type option struct {
	form    byte
	meaning string
}

// A table is what one launcher or tool understands.
type table struct {
	name   string // the first name
	styles []string
	opts   map[string]option // by name with its dashes; one dash where one or two are the same
	dashes bool
	getopt bool
	abbrev bool
}

// has reports whether the table is of the style.
func (t *table) has(style string) bool {
	return slices.Contains(t.styles, style)
}

// value returns what follows "key=" in the styles.
func (t *table) value(key string) string {
	for _, s := range t.styles {
		if k, v, ok := strings.Cut(s, "="); ok && k == key {
			return v
		}
	}
	return ""
}

// loadTable returns the table of a launcher or tool, nil if there is none. Only
// this table is read: a run uses few of them, and the wrapper must start fast.
func loadTable(name string) *table {
	t := &table{opts: make(map[string]option)}
	if !t.load(name, 0) {
		return nil
	}
	return t
}

func (t *table) load(name string, depth int) bool {
	head, body, ok := section(name)
	if !ok || depth > 4 {
		return false
	}
	names, styles, _ := strings.Cut(head, "]")
	if depth == 0 {
		t.name, _, _ = strings.Cut(names, " ")
		t.styles = strings.Fields(styles)
		t.dashes, t.getopt, t.abbrev = t.has("dashes"), t.has("getopt"), t.has("abbrev")
	}
	for line := range strings.Lines(body) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if other, ok := strings.CutPrefix(fields[0], "+"); ok {
			t.load(other, depth+1)
			continue
		}
		n := 0
		for n < len(fields) && fields[n][0] == '-' {
			n++
		}
		if n == len(fields) {
			continue // a test sees to it that each line has a form
		}
		o := option{form: fields[n][0]}
		if fields[n] == "==" {
			o.form = '2'
		}
		if n+1 < len(fields) {
			o.meaning = fields[n+1]
		}
		for _, f := range fields[:n] {
			t.opts[f] = o
		}
	}
	return true
}

// section finds the table with the name: its head after "[", and its lines.
func section(name string) (head, body string, ok bool) {
	rest := optionsText
	if name == "" || strings.ContainsAny(name, " []\n") {
		return "", "", false
	}
	for {
		i := strings.Index(rest, "\n[")
		if i < 0 {
			return "", "", false
		}
		text := rest[i+2:]
		end := strings.Index(text, "\n[")
		if end < 0 {
			end = len(text)
		}
		rest = text[end:]
		head, body, _ = strings.Cut(text[:end], "\n")
		names, _, _ := strings.Cut(head, "]")
		for n := range strings.SplitSeq(names, " ") {
			if n == name {
				return head, body, true
			}
		}
	}
}

// scan reads options from args[i] on, calls see for each, and returns the index
// of the first word that is none. Its doubt is empty if all options are known.
// see returns false to end it.
func (t *table) scan(args []string, i int, see func(name string, o option, vals []string) bool) (next int, ended bool, doubt string) {
	for i < len(args) {
		a := args[i]
		if a == "--" {
			return i + 1, true, ""
		}
		if len(a) < 2 || a[0] != '-' {
			return i, false, ""
		}
		i++
		key, value, attached := strings.Cut(a, "=")
		if t.dashes && strings.HasPrefix(key, "--") {
			key = key[1:]
		}
		o, ok := t.opts[key]
		if !ok {
			if o, ok = t.opts[a]; ok { // an option that contains "="
				key, value, attached = a, "", false
			}
		}
		if !ok && strings.HasPrefix(a, "--") {
			o, ok = t.abbreviation(key)
		}
		if !ok && t.has("numeric") && isDigits(a[1:]) {
			continue
		}
		if !ok && t.getopt && a[1] != '-' {
			var goOn bool
			i, goOn, doubt = t.cluster(args, i, a, see)
			if doubt != "" || !goOn {
				return i, false, doubt
			}
			continue
		}
		if !ok && t.dashes && isDigits(a[2:]) && a[1] != '-' { // -n4
			if o, ok = t.opts[a[:2]]; ok && o.form == '=' {
				key, value, attached = a[:2], a[2:], true
			} else {
				ok = false
			}
		}
		if !ok && (t.has("bare") || attached && strings.HasPrefix(a, "--")) {
			continue // its value, if it has one, is attached: no other word belongs to it
		}
		if !ok {
			return i - 1, false, "unknown option " + a
		}
		var vals []string
		vals, i, doubt = take(args, i, o, a, value, attached)
		if doubt != "" {
			return i, false, doubt
		}
		if !see(key, o, vals) {
			return i, false, ""
		}
	}
	return i, false, ""
}

// take collects the values of an option that stands before args[i].
func take(args []string, i int, o option, name, value string, attached bool) (vals []string, next int, doubt string) {
	n := 0
	switch o.form {
	case '.':
		return nil, i, ""
	case '?':
		if attached {
			vals = []string{value}
		}
		return vals, i, ""
	case 'o':
		if attached {
			return []string{value}, i, ""
		}
		if i < len(args) && !strings.HasPrefix(args[i], "-") {
			return nil, i, "the word after " + name + " may be its value or the program"
		}
		return nil, i, ""
	case '=':
		n = 1
	case '2':
		n = 2
	case 'e':
		n = 2
		if attached && strings.Contains(value, "=") || !attached && i < len(args) && strings.Contains(args[i], "=") {
			n = 1
		}
	}
	if attached {
		vals = append(vals, value)
		n--
	}
	if i+n > len(args) {
		return nil, len(args), "option " + name + " lacks a value"
	}
	return append(vals, args[i:i+n]...), i + n, ""
}

// cluster reads short options that share a dash, a = "-vn4". Its second result is
// false if see ended the reading.
func (t *table) cluster(args []string, i int, a string, see func(string, option, []string) bool) (next int, goOn bool, doubt string) {
	for j := 1; j < len(a); j++ {
		key := "-" + a[j:j+1]
		o, ok := t.opts[key]
		if !ok {
			return i - 1, false, "unknown option " + a
		}
		if o.form == '.' {
			if !see(key, o, nil) {
				return i, false, ""
			}
			continue
		}
		var vals []string
		vals, i, doubt = take(args, i, o, key, a[j+1:], j+1 < len(a))
		if doubt != "" {
			return i, false, doubt
		}
		return i, see(key, o, vals), ""
	}
	return i, true, ""
}

// abbreviation finds the long option that key cuts short, if all that it may
// stand for are the same in form and meaning.
func (t *table) abbreviation(key string) (o option, ok bool) {
	if !t.abbrev || len(key) < 3 {
		return option{}, false
	}
	for name, p := range t.opts {
		if !strings.HasPrefix(name, key) {
			continue
		}
		if ok && p != o {
			return option{}, false
		}
		o, ok = p, true
	}
	return o, ok
}

// isDigits reports whether s is a decimal number.
func isDigits(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
