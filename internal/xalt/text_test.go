package xalt_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"xaltpipe/internal/xalt"
)

func TestStorable(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "/usr/lib", "/usr/lib"},
		{"empty", "", ""},
		{"text", "dïr 😀", "dïr 😀"},
		{"NUL", "a\x00b", "a\uFFFD00b"},
		{"bytes", "a\xff\xfeb", "a\uFFFDff\uFFFDfeb"},
		{"replacement", "a\uFFFDb", "a\uFFFD=b"},
		{"replacement and digits", "\uFFFD41", "\uFFFD=41"},
		{"replacement and =", "\uFFFD=", "\uFFFD=="},
		{"lone surrogate", "\xed\xa0\xbd", "\uFFFDed\uFFFDa0\uFFFDbd"},
		{"cut character", "a\xc3", "a\uFFFDc3"},
		{"control", "\x01\x7f", "\x01\x7f"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := xalt.Storable(tt.in)
			if got != tt.want {
				t.Errorf("Storable(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if back := xalt.Unstorable(got); back != tt.in {
				t.Errorf("Unstorable(%q) = %q, want %q", got, back, tt.in)
			}
		})
	}
}

// TestUnstorable reads what Storable never writes.
func TestUnstorable(t *testing.T) {
	for in, want := range map[string]string{
		"\uFFFD":       "\uFFFD",
		"\uFFFD4":      "\uFFFD4",
		"\uFFFDzz":     "\uFFFDzz",
		"\uFFFD 4":     "\uFFFD 4",
		"\uFFFD\uFFFD": "\uFFFD\uFFFD",
	} {
		if got := xalt.Unstorable(in); got != want {
			t.Errorf("Unstorable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestStorableOfAllBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		p := make([]byte, rng.IntN(12))
		for i := range p {
			p[i] = "\x00\xff\xef\xbf\xbd=0aA\xed\xa0\xc3"[rng.IntN(12)]
		}
		checkStorable(t, string(p))
	}
}

func checkStorable(t *testing.T, s string) {
	t.Helper()
	stored := xalt.Storable(s)
	checkText(t, "Storable", stored)
	if back := xalt.Unstorable(stored); back != s {
		t.Errorf("Unstorable(Storable(%q)) = %q", s, back)
	}
}

// checkText wants text that every database takes.
func checkText(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		t.Errorf("%s is %q, want UTF-8 without NUL", what, s)
	}
}

func FuzzStorable(f *testing.F) {
	for _, s := range []string{"", "plain", "\x00", "\uFFFD", "\uFFFD=00", "\xed\xa0\xbd", "a\xc3"} {
		f.Add(s)
	}
	f.Fuzz(checkStorable)
}

// pkgName decodes a package record whose name is the JSON token.
func pkgName(t *testing.T, token string) string {
	t.Helper()
	rec, err := xalt.Decode(xalt.KindPkg, fmt.Appendf(nil, `{"xalt_run_uuid":"%s","package_name":%s}`, uuidA, token))
	if err != nil {
		t.Fatalf("package_name %s: %v", token, err)
	}
	return rec.Pkg.Name
}

// TestStrings reads JSON strings.
func TestStrings(t *testing.T) {
	for _, tt := range []struct{ name, token, want string }{
		{"plain", `"numpy"`, "numpy"},
		{"escapes", `"a\"\\\/\b\f\n\r\t\u0041"`, "a\"\\/\b\f\n\r\tA"},
		{"pair", `"\ud83d\ude00"`, "😀"},
		{"raw", `"😀ï"`, "😀ï"},
		{"high surrogate alone", `"a\ud83d"`, xalt.Storable("a\xed\xa0\xbd")},
		{"low surrogate alone", `"\ude00b"`, xalt.Storable("\xed\xb8\x80b")},
		{"two high surrogates", `"\ud83d\ud83d\ude00"`, xalt.Storable("\xed\xa0\xbd😀")},
		{"surrogates the wrong way round", `"\ude00\ud83d"`, xalt.Storable("\xed\xb8\x80\xed\xa0\xbd")},
		{"surrogate and text", `"\ud83dxyz"`, xalt.Storable("\xed\xa0\xbdxyz")},
		{"surrogate and another escape", `"\ud83d\n"`, xalt.Storable("\xed\xa0\xbd\n")},
		{"NUL", `"a\u0000b"`, "a\uFFFD00b"},
		{"invalid bytes", "\"a\xffb\"", "a\uFFFDffb"},
		{"replacement", `"\ufffd"`, "\uFFFD="},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := pkgName(t, tt.token); got != tt.want {
				t.Errorf("%s = %q, want %q", tt.token, got, tt.want)
			}
		})
	}
}

// FuzzAppendString writes a string as JSON and reads it back.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"numpy", "😀ï\uFFFD", "a\x00\xff\xc3", "\"\\\b\f\n\r\t\x7f", "\xed\xa0\xbd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token := string(xalt.AppendString(nil, s))
		if i := strings.IndexFunc(token, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
			t.Errorf("AppendString(%q) = %s, want printable ASCII", s, token)
		}
		// Invalid bytes come back as surrogates.
		var want strings.Builder
		for i := 0; i < len(s); {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				want.WriteString(s[i : i+n])
			} else {
				want.WriteString("\xed" + string([]byte{0xB0 | s[i]>>6, 0x80 | s[i]&0x3F}))
			}
			i += n
		}
		if s == "" {
			return // no package has this name
		}
		if got := pkgName(t, token); got != xalt.Storable(want.String()) {
			t.Errorf("AppendString(%q) = %s, which is read as %q, want %q", s, token, got, xalt.Storable(want.String()))
		}
	})
}

// FuzzString compares with encoding/json where both say the same: lone
// surrogates and invalid bytes are kept here and replaced there.
func FuzzString(f *testing.F) {
	for _, s := range []string{"numpy", `\ud83d\ude00`, `\u0000`, `a\"\\\/\b\f\n\r\t`, "ï"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, inside string) {
		token := `"` + inside + `"`
		var want string
		if json.Unmarshal([]byte(token), &want) != nil || want == "" {
			return
		}
		got := pkgName(t, token)
		checkText(t, token, got)
		if !strings.ContainsRune(want, utf8.RuneError) && utf8.ValidString(inside) {
			if back := xalt.Unstorable(got); back != want {
				t.Errorf("%s = %q, want %q", token, back, want)
			}
		}
	})
}

// TestCmdline compares with what Python prints:
// python3 -c 'import json; print(json.dumps(json.loads(...)))'.
func TestCmdline(t *testing.T) {
	for _, tt := range []struct{ name, array, want string }{
		{"empty", `[]`, `[]`},
		{"plain", `["./a.out","-x","1"]`, `["./a.out", "-x", "1"]`},
		{"blanks between", "[ \"a\" ,\n\"b\" ]", `["a", "b"]`},
		{"Latin", `["é"]`, `["\u00e9"]`},
		{"delete", `["\u007f"]`, `["\u007f"]`},
		{"NUL", `["\u0000"]`, `["\u0000"]`},
		{"line separator", `["\u2028"]`, `["\u2028"]`},
		{"pair", `["😀"]`, `["\ud83d\ude00"]`},
		{"lone surrogate", `["\ud83d"]`, `["\ud83d"]`},
		{"lone surrogate within", `["\u00ef\udc00x"]`, `["\u00ef\udc00x"]`},
		{"quotes", `["\"\\\/"]`, `["\"\\/"]`},
		{"control", `["\b\f\n\r\t\u001f"]`, `["\b\f\n\r\t\u001f"]`},
		{"HTML stays", `["<&>"]`, `["<&>"]`},
		{"numbers", `[1,2.50,true,null]`, `[1, 2.50, true, null]`},
		// Python cannot read this one.
		{"invalid byte", "[\"a\xffb\"]", `["a\ufffdffb"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := xalt.Decode(xalt.KindRun, runText(`"cmdlineA":`+tt.array))
			if err != nil {
				t.Fatal(err)
			}
			if got := rec.Run.Cmdline; got != tt.want {
				t.Errorf("cmdline of %s = %s, want %s", tt.array, got, tt.want)
			}
		})
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) []byte {
		return runText(`"ptA":` + strings.Repeat(`[{"a":`, n/2) + `1` + strings.Repeat(`}]`, n/2))
	}
	if _, err := xalt.Decode(xalt.KindRun, nested(100)); err != nil {
		t.Errorf("nested 100 times: %v", err)
	}
	for _, n := range []int{202, 1_000_000} {
		if _, err := xalt.Decode(xalt.KindRun, nested(n)); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("nested %d times: %v, want nested too deeply", n, err)
		}
	}
	// Brackets side by side or in texts are no nesting.
	wide := runText(`"libA":[` + strings.Repeat(`["/lib","0"],`, 500) + `["[[[{{{` + strings.Repeat(`[`, 500) + `\"[","0"]]`)
	if _, err := xalt.Decode(xalt.KindRun, wide); err != nil {
		t.Errorf("many brackets: %v", err)
	}
}

// TestNonFinite reads what Python's json writes for numbers that JSON has not.
func TestNonFinite(t *testing.T) {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		rec, err := xalt.Decode(xalt.KindRun, runText(
			`"cmdlineA":["`+word+`","a\"`+word+`"],"userDT":{"start_time":1795000000.25,"run_time":`+word+`,"num_cores":`+word+`}`))
		if err != nil {
			t.Errorf("%s: %v", word, err)
			continue
		}
		if want := `["` + word + `", "a\"` + word + `"]`; rec.Run.Cmdline != want || rec.Run.RunTime != 0 || rec.Run.NumCores != 0 {
			t.Errorf("%s: cmdline %s, run_time %v, num_cores %d; want %s, 0, 0", word, rec.Run.Cmdline, rec.Run.RunTime, rec.Run.NumCores, want)
		}
	}
	if _, err := xalt.Decode(xalt.KindRun, runText(`"a":NaNa`)); err == nil {
		t.Error("NaNa is a record")
	}
}
