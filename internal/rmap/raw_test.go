package rmap_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/rmap"
)

// rawCase is what rmap-merge does with one file of nasty/raw.
type rawCase struct {
	refused string   // text of the error
	keys    []string // "PATH MODULE"
	kinds   []string // of the problems, each once
}

var rawCases = map[string]rawCase{
	"01_truncated":               {refused: `:1: offset 40: the document ends in the middle`},
	"02_empty_file":              {refused: `:1: offset 0: the file is empty`},
	"03_whitespace":              {refused: `only white space`},
	"04_spider_empty":            {keys: nil, kinds: []string{"empty-list"}},
	"05_no_reverseMapT":          {refused: `no reverseMapT`},
	"06_duplicate_keys":          {keys: []string{"/site/a/lib beta/2"}, kinds: []string{"duplicate-key"}},
	"07_duplicate_toplevel":      {keys: []string{"/site/a/bin alpha/1.0"}, kinds: []string{"duplicate-key"}},
	"08_bom":                     {keys: []string{"/site/a/lib alpha/1.0"}, kinds: []string{"bom"}},
	"09_invalid_utf8":            {keys: []string{"/site/a/lib alpha/1.0"}, kinds: []string{"dropped-entry"}},
	"10_xHH_escape":              {keys: []string{"/site/a/lib alpha/1.0", "/site/a/é/lib alpha/1.0"}, kinds: []string{"hex-escape"}},
	"11_v_escape":                {keys: []string{"/site/a/a\vb/lib alpha/1.0", "/site/a/lib alpha/1.0"}, kinds: []string{"vt-escape"}},
	"12_raw_control_chars":       {keys: []string{"/site/a/a\v\x01\tb/lib alpha/1.0", "/site/a/lib alpha/1.0"}, kinds: []string{"control-character"}},
	"13_flavor_empty":            {keys: []string{"/site/a/lib alpha/1.0"}, kinds: []string{"flavor-empty"}},
	"14_flavor_missing":          {keys: []string{"/site/a/lib alpha/1.0"}, kinds: []string{"flavor-missing"}},
	"15_flavor_string":           {keys: []string{"/site/a/lib alpha/1.0(gcc/9)"}, kinds: []string{"flavor-string"}},
	"16_flavor_unsorted":         {keys: []string{"/site/a/lib alpha/1.0"}},
	"17_flavor_noprefix":         {keys: []string{"/site/a/lib alpha/1.0(gcc/9.1:mpich/3.2)"}},
	"18_flavor_word_default":     {keys: []string{"/site/a/lib alpha/1.0(mydefault/1.0:mpi/default)"}},
	"19_mixed_values":            {keys: []string{"/site/a/bin beta/2(gcc/9.1)", "/site/a/lib alpha/1.0"}},
	"20_objects_under_xalt_name": {keys: []string{"/site/a/lib alpha/1.0(gcc/9.1)"}},
	"21_extra_toplevel":          {keys: []string{"/site/a/lib alpha/1.0"}},
	"22_no_xlibmap":              {keys: []string{"/site/a/lib alpha/1.0"}},
	"23_old_2014":                {keys: []string{"/site/a/lib alpha/1.0"}},
	"24_null_value":              {keys: []string{"/site/a/bin alpha/1.0"}, kinds: []string{"dropped-entry"}},
	"25_number_value":            {keys: []string{"/site/a/bin alpha/1.0"}, kinds: []string{"dropped-entry"}},
	"26_empty_strings":           {keys: []string{"/site/a/bin alpha/1.0"}, kinds: []string{"dropped-entry"}},
	"27_leading_text":            {refused: `text before the JSON document`},
	"28_two_documents":           {refused: `:2: offset 70: a second document begins here`},
	"29_trailing_garbage":        {refused: `:2: offset 70: text after the document`},
	"30_surrogates":              {keys: []string{"/site/a/😀/lib alpha/1.0"}, kinds: []string{"dropped-entry"}},
	"31_nul_in_key":              {keys: []string{"/site/a/lib alpha/1.0"}, kinds: []string{"dropped-key"}},
	"32_crlf_pretty":             {keys: []string{"/site/a/lib alpha/1.0"}},
	"33_huge_key":                {keys: []string{"/site/a/lib alpha/1.0"}, kinds: []string{"dropped-key"}},
	"34_deep_nesting":            {refused: `nested more than`},
	"35_lua_format":              {refused: `-o jsonReverseMapT`},
	"36_html":                    {refused: `HTML`},
	"37_utf16":                   {refused: `UTF-16`},
	"38_gzip":                    {keys: []string{"/site/a/lib alpha/1.0"}},
	"39_unnormalised_keys":       {keys: []string{"/site/a/lib beta/2"}, kinds: []string{"dropped-key", "system-directory"}},
	"40_trailing_space_key":      {keys: []string{"/site/a/lib beta/2", "/site/a/lib  alpha/1.0"}},
	"41_paren_names": {keys: []string{
		"/site/a/l1 boost(serial)/1.8", "/site/a/l2 boost(serial)/1.8(gcc/9.1:mpich/3)", "/site/a/l3 f90(x)",
		"/site/a/l4 odd/1(", "/site/a/l5 odd)/1", "/site/a/l6 x/1(boost(serial)/1.8:mpich/3)",
	}},
	"42_long_names": {keys: []string{"/site/a/lib " + strings.Repeat("p", 40) + "/" + strings.Repeat("1", 20) + "(" + strings.Repeat("c", 30) + "/9:" + strings.Repeat("m", 30) + "/4)"}, kinds: []string{"long-name"}},
}

func TestRawCases(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(string(fixture(t, "nasty/raw_cases.tsv"))), "\n")[1:]
	if got, want := len(rawCases), len(lines); got != want {
		t.Errorf("%d cases, want %d", got, want)
	}
	for _, line := range lines {
		file, _, _ := strings.Cut(line, "\t")
		name := strings.TrimSuffix(file, ".json")
		t.Run(name, func(t *testing.T) {
			want, ok := rawCases[name]
			if !ok {
				t.Fatal("no expectation")
			}
			in, err := rmap.ReadInput(bytes.NewReader(fixture(t, "nasty/raw/"+file)), file)
			if want.refused != "" {
				if err == nil || !strings.Contains(err.Error(), want.refused) || !strings.Contains(err.Error(), file) {
					t.Fatalf("ReadInput = %v, want an error that names the file and has %q", err, want.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			res := rmap.Merge([]*rmap.Input{in}, nil, rmap.Options{})
			var keys []string
			for i := range res.Keys {
				keys = append(keys, res.Keys[i].Path+" "+res.Keys[i].Name())
			}
			if diff := cmp.Diff(want.keys, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			kinds := make(map[string]bool)
			for _, p := range res.Problems {
				kinds[p.Kind] = true
				if p.Text == "" || p.Input == "" {
					t.Errorf("problem %+v says nothing", p)
				}
			}
			if diff := cmp.Diff(want.kinds, slices.Sorted(maps.Keys(kinds))); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			load(t, res.EncodeXALT())
			load(t, res.EncodeJSON())
		})
	}
}

// TestOutputForm holds the written map against the rules of XALT's readers.
func TestOutputForm(t *testing.T) {
	for name, inputs := range map[string][]*rmap.Input{"nasty": fixtures(t, "nasty/in/main*"), "empty": fixtures(t, "nasty/in/empty.jsonReverseMapT.json")} {
		t.Run(name, func(t *testing.T) {
			res := rmap.Merge(inputs, nil, rmap.Options{})
			for _, text := range [][]byte{res.EncodeXALT(), res.EncodeJSON()} {
				for i, c := range text {
					if c > 0x7e || c < ' ' && c != '\n' {
						t.Fatalf("byte 0x%02x at offset %d: not ASCII", c, i)
					}
				}
				var doc map[string]json.RawMessage
				if err := json.Unmarshal(text, &doc); err != nil {
					t.Fatal(err)
				}
				if got, want := slices.Sorted(maps.Keys(doc)), []string{"reverseMapT", "xlibmap"}; !slices.Equal(got, want) {
					t.Errorf("keys %v, want %v", got, want)
				}
				if c := doc["reverseMapT"][0]; c != '{' {
					t.Errorf("reverseMapT begins with %c", c)
				}
			}
			var short struct{ ReverseMapT map[string]string }
			if err := json.Unmarshal(res.EncodeXALT(), &short); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(names(res), short.ReverseMapT); diff != "" {
				t.Errorf("what is read back (-want +got):\n%s", diff)
			}
			list := strings.Fields(string(res.EncodeList()))
			if !slices.Equal(list, res.Libs) && len(list)+len(res.Libs) > 0 {
				t.Errorf("list %v, want %v", list, res.Libs)
			}
		})
	}
}

// FuzzReadMap reads any text by both readers; what the lenient one accepts is
// merged, written, read back by the strict one, and merged once more without a
// change.
func FuzzReadMap(f *testing.F) {
	for name := range rawCases {
		if name != "33_huge_key" {
			f.Add(fixture(f, "nasty/raw/"+name+".json"))
		}
	}
	f.Add(fixture(f, "nasty/in/main.jsonReverseMapT.json"))
	f.Add(fixture(f, "nasty/in/main.xalt_rmapT.json"))
	f.Add(fixture(f, "nasty/in/main.spider.json"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := rmap.Read(bytes.NewReader(text), "fuzz"); err == nil {
			for dir, module := range m.All() {
				if got, at, ok := m.Lookup(dir + "/x"); strings.Trim(dir, "/ \r\n") != "" && dir[0] == '/' && (got != module || at != dir || !ok) {
					t.Fatalf("Lookup(%q) = %q, %q, want %q", dir+"/x", got, at, module)
				}
			}
		}
		in, err := rmap.ReadInput(bytes.NewReader(text), "fuzz")
		if err != nil {
			return
		}
		res := rmap.Merge([]*rmap.Input{in}, nil, rmap.Options{})
		for _, out := range [][]byte{res.EncodeXALT(), res.EncodeJSON()} {
			m, err := rmap.Read(bytes.NewReader(out), "merged")
			if err != nil {
				t.Fatalf("what was written does not read: %v\n%s", err, out)
			}
			if m.Len() != len(res.Keys) {
				t.Fatalf("%d keys read back of %d", m.Len(), len(res.Keys))
			}
			for i := range res.Keys {
				k := &res.Keys[i]
				if got, _, _ := m.Lookup(k.Path + "/x"); got != k.Name() {
					t.Fatalf("Lookup(%q) = %q, want %q", k.Path, got, k.Name())
				}
			}
		}
		again := rmap.Merge([]*rmap.Input{in}, res.Memory, rmap.Options{})
		if !bytes.Equal(again.EncodeJSON(), res.EncodeJSON()) {
			t.Fatalf("a rerun gives another map")
		}
	})
}

// TestCheck damages a map that was written; the check before it is installed
// must see it.
func TestCheck(t *testing.T) {
	long := make([]string, 0, 3000)
	for i := range 3000 { // a line that is longer than the reader's buffer
		long = append(long, fmt.Sprintf("default:compiler-%04d/1.0:%s/4", i, strings.Repeat("m", 100)))
	}
	res := rmap.Merge([]*rmap.Input{input(t, "a", "/s/a/1/lib a/1 lib "+strings.Join(long, " "), "/s/b\u00e9/1/lib b/1", "/s/c/1/lib c/1"), fixtures(t, "nasty/in/main.jsonReverseMapT.json")[0]}, nil, rmap.Options{})
	for form, text := range map[string][]byte{"xalt_rmapT": res.EncodeXALT(), "jsonReverseMapT": res.EncodeJSON()} {
		if err := res.Check(bytes.NewReader(text)); err != nil {
			t.Fatalf("%s: Check = %v of what was written", form, err)
		}
		s := string(text)
		for name, damaged := range map[string]string{
			"cut":            s[:len(s)-3],
			"cut in a line":  s[:len(s)/2],
			"empty":          "",
			"a line gone":    s[:strings.Index(s, "\n\"/s/b")] + s[strings.Index(s, "\n\"/s/c"):],
			"a line twice":   strings.Replace(s, "\n\"/s/c", s[strings.Index(s, "\n\"/s/b"):strings.Index(s, "\n\"/s/c")]+"\n\"/s/c", 1),
			"a path":         strings.Replace(s, "/s/c/1/lib", "/s/c/1/lab", 1),
			"a module":       strings.Replace(s, "\"c/1", "\"c/2", 1),
			"the keyword":    strings.Replace(s, "reverseMapT", "reverseMapU", 1),
			"a library":      strings.Replace(s, "libc.so", "libd.so", 1),
			"a library more": strings.Replace(s, "\"xlibmap\":[", "\"xlibmap\":[\"x.so\",", 1),
			"another key":    strings.Replace(s, "]}\n", "],\"timestampFn\":false}\n", 1),
			"text after":     s + "{}",
			"no comma":       strings.Replace(s, ",\n", "\n", 1),
			"NULs":           strings.Replace(s, "/s/c", "\x00\x00\x00\x00", 1),
		} {
			if damaged == s {
				t.Errorf("%s, %s: nothing was damaged", form, name)
			}
			if err := res.Check(strings.NewReader(damaged)); err == nil {
				t.Errorf("%s, %s: Check = nil, want an error", form, name)
			}
		}
	}
	empty := rmap.Merge(nil, nil, rmap.Options{})
	if err := empty.Check(bytes.NewReader(empty.EncodeXALT())); err != nil {
		t.Errorf("Check of an empty map = %v", err)
	}
}

// TestEveryTruncation cuts texts at every byte: none of the pieces is taken for
// a whole document.
func TestEveryTruncation(t *testing.T) {
	for name, text := range map[string][]byte{
		"map":    []byte(`{"reverseMapT":{"\/a\/b":{"pkg":"a\/1.0","kind":"lib","flavor":["default:gcc\/9","default"],"moduleFn":"\/mf\/a.lua"},"/c":"c\u00e9/1(x)"},"xlibmap":["liba.so"],"timestampFn":false}`),
		"spider": []byte(`{"a":{"\/mf\/a\/1.lua":{"fullName":"a\/1","hidden":false,"lpathA":{"\/a\/lib":1},"parentAA":[["gcc\/9","mpi"]],"wV":"^1.*zfinal"}}}`),
	} {
		if _, err := rmap.ReadInput(bytes.NewReader(text), name); err != nil {
			t.Fatal(err)
		}
		for n := range text {
			in, err := rmap.ReadInput(bytes.NewReader(text[:n]), name)
			var syn *rmap.SyntaxError
			if err == nil || !errors.As(err, &syn) || syn.Offset > n {
				t.Errorf("%s cut to %d bytes: %+v, %v, want an error with a place", name, n, in, err)
			}
			if _, err := rmap.Read(bytes.NewReader(text[:n]), name); err == nil {
				t.Errorf("%s cut to %d bytes: Read = nil, want an error", name, n)
			}
		}
	}
}
