package rmap_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/rmap"
)

func read(t *testing.T, text string) *rmap.Map {
	t.Helper()
	m, err := rmap.Read(strings.NewReader(text), "test.json")
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return m
}

func TestLookup(t *testing.T) {
	const text = `{"reverseMapT":{
 "\/apps\/hdf5\/1.10\/lib":"hdf5\/1.10(gcc\/9.1)",
 "/apps/hdf5":"hdf5-top/1",
 "/apps/new/lib":{"pkg":"new/1","kind":"lib","flavor":["default:gcc/9.1:mpich/3.2","x"],"moduleFn":"/mf/new/1.lua"},
 "/apps/plain":{"pkg":"plain/2","flavor":["default"]},
 "/apps/none":{"pkg":"none/3","flavor":[]},
 "/apps/missing":{"pkg":"missing/4"},
 "/apps/str":{"pkg":"str/5","flavor":"default:gcc/9"},
 "/apps/word":{"pkg":"word/6","flavor":["default:mydefault/1.0:mpi/default"]},
 "/apps/bare":{"pkg":"bare/7","flavor":["gcc/9.1:mpich/3.2"]},
 "/apps/caf\u00e9/\ud83d\ude00":"cafe/8"
},"xlibmap":["liba.so"],"timestampFn":false}`
	m := read(t, text)
	for _, c := range []struct{ path, module, dir string }{
		{"/apps/hdf5/1.10/lib/libhdf5.so", "hdf5/1.10(gcc/9.1)", "/apps/hdf5/1.10/lib"},
		{"/apps/hdf5/1.10/lib/sub/x.so", "hdf5/1.10(gcc/9.1)", "/apps/hdf5/1.10/lib"},
		{"/apps/hdf5/1.10/lib", "hdf5-top/1", "/apps/hdf5"},
		{"/apps/hdf5/1.10/lib/ \r\n", "hdf5/1.10(gcc/9.1)", "/apps/hdf5/1.10/lib"},
		{"/apps/new/lib/x.so", "new/1(gcc/9.1:mpich/3.2)", "/apps/new/lib"},
		{"/apps/plain/x", "plain/2", "/apps/plain"},
		{"/apps/none/x", "none/3", "/apps/none"},
		{"/apps/missing/x", "missing/4", "/apps/missing"},
		{"/apps/str/x", "str/5(gcc/9)", "/apps/str"},
		{"/apps/word/x", "word/6(mydefault/1.0:mpi/default)", "/apps/word"},
		{"/apps/bare/x", "bare/7(gcc/9.1:mpich/3.2)", "/apps/bare"},
		{"/apps/café/😀/x", "cafe/8", "/apps/café/😀"},
		{"/apps/other/x", "", ""},
		{"/x", "", ""},
		{"x", "", ""},
		{"/", "", ""},
		{"", "", ""},
	} {
		module, dir, ok := m.Lookup(c.path)
		if module != c.module || dir != c.dir || ok != (c.module != "") {
			t.Errorf("Lookup(%q) = %q, %q, %v, want %q, %q", c.path, module, dir, ok, c.module, c.dir)
		}
	}
	if got, want := m.Len(), 10; got != want {
		t.Errorf("Len() = %d, want %d", got, want)
	}
	if got, want := m.Name(), "test.json"; got != want {
		t.Errorf("Name() = %q, want %q", got, want)
	}
	if got := read(t, text).ID(); got != m.ID() || len(got) != 64 {
		t.Errorf("ID() of the same text = %q, want %q", got, m.ID())
	}
	if got := read(t, `{"reverseMapT":[]}`); got.ID() == m.ID() || got.Len() != 0 {
		t.Errorf("empty map: ID %q, Len %d", got.ID(), got.Len())
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"truncated", "{\"reverseMapT\":{\n\"/a\":\"b", "test.json:2: offset 24: the document ends in the middle"},
		{"truncated escape", `{"reverseMapT":{"/a":"b\`, "ends in the middle"},
		{"truncated unicode", `{"reverseMapT":{"/a":"b\u00`, "ends in the middle"},
		{"truncated word", `{"timestampFn":fal`, "ends in the middle"},
		{"empty", "", "test.json:1: offset 0: the file is empty"},
		{"blank", " \n\n", "only white space"},
		{"no map", "{}", "no reverseMapT"},
		{"html", "<html></html>", "HTML"},
		{"lua", "reverseMapT = {\n}", "Lua table"},
		{"utf16", "\xff\xfe{\x00", "UTF-16"},
		{"leading text", "Warning\n{}", "text before"},
		{"bom", "\xef\xbb\xbf{}", "text before"},
		{"two documents", "{\"reverseMapT\":{}}\n{\"reverseMapT\":{}}", "test.json:2: offset 19: text after"},
		{"control character", "{\"reverseMapT\":{\"/a\tb\":\"b\"}}", "control character 0x09"},
		{"hex escape", `{"reverseMapT":{"/\x41":"b"}}`, "unknown escape"},
		{"vt escape", `{"reverseMapT":{"/\v":"b"}}`, "unknown escape"},
		{"bad unicode", `{"reverseMapT":{"/\uzz00":"b"}}`, "bad escape"},
		{"lone surrogate", `{"reverseMapT":{"/\ud800":"b"}}`, "half a surrogate pair"},
		{"not UTF-8", "{\"reverseMapT\":{\"/\xff\":\"b\"}}", "not UTF-8"},
		{"null", `{"reverseMapT":{"/a":null}}`, "neither a string nor an object"},
		{"no pkg", `{"reverseMapT":{"/a":{}}}`, "without pkg"},
		{"empty name", `{"reverseMapT":{"/a":""}}`, "empty path or module"},
		{"list", `{"reverseMapT":["a"]}`, "list"},
		{"deep", `{"x":` + strings.Repeat("[", 100000) + `}`, "nested more than"},
		{"bad number", `{"x":1e}`, "a number expected"},
		{"twice", `{"reverseMapT":{},"reverseMapT":{}}`, "twice"},
		{"comma", `{"reverseMapT":{"/a":"b",}}`, "a key in double quotes expected"},
		{"colon", `{"reverseMapT" {}}`, ": expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := rmap.Read(strings.NewReader(c.text), "test.json")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Read(%.40q) = %v, want an error with %q", c.text, err, c.want)
			}
			var syn *rmap.SyntaxError
			if !errors.As(err, &syn) || syn.File != "test.json" || syn.Line < 1 {
				t.Errorf("error %#v is not a SyntaxError with a place", err)
			}
		})
	}
}

func pack(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadGzip(t *testing.T) {
	const text = `{"reverseMapT":{"/a/lib":"a/1"}}`
	z := pack(t, text)
	m, err := rmap.Read(bytes.NewReader(z), "a.gz")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, text).ID(); got != m.ID() {
		t.Errorf("ID of the packed map = %s, want %s", m.ID(), got)
	}
	if _, err := rmap.Read(bytes.NewReader(z[:len(z)-9]), "a.gz"); err == nil || !strings.Contains(err.Error(), "a.gz") {
		t.Errorf("Read of a truncated gzip file = %v, want an error", err)
	}
}

func write(t *testing.T, text string, elem ...string) string {
	t.Helper()
	name := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestOpen(t *testing.T) {
	one := func(module string) string { return `{"reverseMapT":{"/a":"` + module + `"}}` }
	for _, c := range []struct {
		name    string
		files   map[string]string
		syshost string
		want    string // the module of /a, or "error: TEXT"
	}{
		{"none", nil, "m1", "error: no reverse map found"},
		{"xalt before json", map[string]string{"d1/jsonReverseMapT.json": one("json"), "d2/xalt_rmapT.json": one("xalt")}, "", "xalt"},
		{"first directory", map[string]string{"d1/xalt_rmapT.json": one("one"), "d2/xalt_rmapT.json": one("two")}, "", "one"},
		{"json before old", map[string]string{"d1/xalt_rmapT.old.json": one("old"), "d2/jsonReverseMapT.json": one("fresh")}, "", "fresh"},
		{"old alone", map[string]string{"d2/jsonReverseMapT.old.json": one("old")}, "", "old"},
		{"machine first", map[string]string{"d1/xalt_rmapT.json": one("all"), "d2/m1/jsonReverseMapT.json": one("m1")}, "m1", "m1"},
		{"other machine", map[string]string{"d1/xalt_rmapT.json": one("all"), "d1/m2/xalt_rmapT.json": one("m2")}, "m1", "all"},
		{"no escape", map[string]string{"d1/xalt_rmapT.json": one("all"), "xalt_rmapT.json": one("outside")}, "..", "all"},
		{"damaged", map[string]string{"d1/xalt_rmapT.json": `{"rev`, "d1/xalt_rmapT.old.json": one("old")}, "", "error: xalt_rmapT.json:1: offset 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range c.files {
				write(t, text, root, name)
			}
			m, err := rmap.Open([]string{filepath.Join(root, "d1"), "", filepath.Join(root, "d2")}, c.syshost)
			if want, ok := strings.CutPrefix(c.want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Fatalf("Open = %v, want an error with %q", err, want)
				}
				if len(c.files) == 0 && !errors.Is(err, rmap.ErrNotFound) {
					t.Errorf("Open = %v, want ErrNotFound", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, _, _ := m.Lookup("/a/x"); got != c.want {
				t.Errorf("module = %q from %s, want %q", got, m.Name(), c.want)
			}
		})
	}
}

func TestMachines(t *testing.T) {
	root := t.TempDir()
	write(t, "{}", root, "m2", "xalt_rmapT.json")
	write(t, "{}", root, "m1", "jsonReverseMapT.old.json")
	write(t, "{}", root, "empty", "other.json")
	write(t, "{}", root, ".rmap-merge", "xalt_rmapT.json")
	write(t, "{}", root, "xalt_rmapT.json")
	got, err := rmap.Machines([]string{root, filepath.Join(root, "none"), root})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"m1", "m2"}, got); diff != "" {
		t.Errorf("Machines (-want +got):\n%s", diff)
	}
}

func TestMachineName(t *testing.T) {
	for name, want := range map[string]bool{
		"m1": true, "Archer2-login.example": true, "9": true, strings.Repeat("a", 64): true,
		"": false, ".": false, "..": false, "-a": false, "a/b": false, "a b": false, strings.Repeat("a", 65): false, "ü": false,
	} {
		if got := rmap.MachineName(name); got != want {
			t.Errorf("MachineName(%q) = %v, want %v", name, got, want)
		}
	}
}
