package rmap_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/rmap"
)

// TestSorted reads keys in any order, with much in common, with NULs, and some
// twice: the map has them in order, and of a repeated one the last.
func TestSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	want := make(map[string]string)
	var text strings.Builder
	text.WriteString(`{"reverseMapT":{"/s/nul\u0000/lib":"nul/1"`)
	for i := range 20_000 {
		id := strings.Repeat("common", rng.IntN(3))
		for range 1 + rng.IntN(20) {
			id += string("ab-"[rng.IntN(3)])
		}
		path := "/site/with/a/long/name/" + id + "x/lib"
		want[path] = fmt.Sprintf("%sx/%d", id, i)
		key, err := json.Marshal(path)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // another spelling of the same
			key = bytes.ReplaceAll(key, []byte("/"), []byte(`\/`))
		}
		fmt.Fprintf(&text, ",%s:%q", key, want[path])
		if i%10 == 0 {
			fmt.Fprintf(&text, `,"/s/nul\u0000\u0000/%s":"nul/1"`, id)
		}
	}
	text.WriteString(`},"xlibmap":[]}`)
	in, err := rmap.ReadInput(strings.NewReader(text.String()), "in")
	if err != nil {
		t.Fatal(err)
	}
	res := rmap.Merge([]*rmap.Input{in}, nil, rmap.Options{})
	if diff := cmp.Diff(want, names(res)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff[:min(len(diff), 2000)])
	}
	var order []string
	for i := range res.Keys {
		order = append(order, res.Keys[i].Path)
	}
	if !slices.Equal(order, slices.Sorted(maps.Keys(want))) {
		t.Error("the keys are not in order")
	}
}

// TestLines reads a large map, indented by another program, of which every entry
// is repaired: the places are right, and to find them takes no longer for the last
// entry than for the first.
func TestLines(t *testing.T) {
	const n = 200_000
	var b strings.Builder
	b.WriteString("{\"reverseMapT\": {\n")
	for i := range n {
		fmt.Fprintf(&b, " \"/s/p%d/1/lib\": {\n  \"pkg\": \"p%d/1\",\n  \"flavor\": \"default\"\n },\n", i, i)
	}
	b.WriteString(" \"rel\": {\"pkg\": \"r/1\",\n  \"flavor\": \"default\"}}}")
	start := time.Now()
	in, err := rmap.ReadInput(strings.NewReader(b.String()), "in")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	for i, p := range in.Problems {
		if p.Line != 4+4*i {
			t.Fatalf("problem %d is at line %d, want %d", i, p.Line, 4+4*i)
		}
	}
	res := rmap.Merge([]*rmap.Input{in}, nil, rmap.Options{SystemDirs: []string{"/s/p199999/**"}})
	for _, p := range res.Problems {
		if p.Kind == "system-directory" && p.Line == 4*n-2 {
			return
		}
	}
	t.Errorf("no problem is about line %d", 4*n-2)
}

// TestOneModule reads a map in which one module has very many *_DIR.
func TestOneModule(t *testing.T) {
	const n = 200_000
	var b strings.Builder
	b.WriteString("{\"reverseMapT\":{")
	for i := range n {
		fmt.Fprintf(&b, "\"/s/p/1/%d\":{\"pkg\":\"p/1\",\"kind\":\"dir\",\"flavor\":[\"default\"]},", i)
	}
	b.WriteString("\"/s/p/1\":{\"pkg\":\"p/1\",\"kind\":\"dir\",\"flavor\":[\"default\"]}}}")
	in, err := rmap.ReadInput(strings.NewReader(b.String()), "in")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	res := rmap.Merge([]*rmap.Input{in}, nil, rmap.Options{})
	if took := time.Since(start); len(res.Keys) != n+1 || took > 20*time.Second {
		t.Errorf("%d keys in %v, want %d", len(res.Keys), took, n+1)
	}
}

// TestLimits gives entries that no file system and no module tree can have; what
// is said of them is short.
func TestLimits(t *testing.T) {
	long, huge := strings.Repeat("x", 5000), strings.Repeat("x", 1<<20)
	var many []string
	for i := range 1 << 17 {
		many = append(many, fmt.Sprintf("default:m%d/1", i))
	}
	entry := func(pkg, file string, flavor any) map[string]any {
		return map[string]any{"pkg": pkg, "kind": "lib", "moduleFn": file, "flavor": flavor}
	}
	text, err := json.Marshal(map[string]any{
		"reverseMapT": map[string]any{
			"/s/a/1/lib": entry("a/1", "/mf/a/1.lua", many[:100]),
			"/s/b/1/lib": entry(long+"/1", "/mf/b/1.lua", many[:1]),
			"/s/c/1/lib": entry("c/1", "/mf/"+long, many[:1]),
			"/s/d/1/lib": entry("d/1", "/mf/d/1.lua", many),
			"/s/e/1/lib": entry("e/1", "/mf/e/1.lua", huge),
			"/s/f/1/lib": long + "/1",
			"/s/g/1/lib": "g/1(" + huge + "x)",
			"/s/" + long: entry("h/1", "/mf/h/1.lua", many[:1]),
		},
		"xlibmap": []string{"liba.so", "lib" + long + ".so"},
	})
	if err != nil {
		t.Fatal(err)
	}
	spiderText, err := json.Marshal(map[string]any{"s": map[string]any{
		"/mf/a/1.lua": map[string]any{"fullName": "a/1", "lpathA": map[string]any{"/s/a/1/lib": 1}},
		"/mf/b/1.lua": map[string]any{"fullName": long + "/1", "lpathA": map[string]any{"/s/a/1/lib": 1}},
		"/mf/" + long: map[string]any{"fullName": "c/1", "lpathA": map[string]any{"/s/a/1/lib": 1}},
		"/mf/d/1.lua": map[string]any{"fullName": "d/1", "lpathA": map[string]any{"/s/a/1/lib": 1}, "parentAA": [][]string{many}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var inputs []*rmap.Input
	for label, c := range map[string]struct {
		text  []byte
		kinds []string
	}{
		"map":    {text, []string{"dropped-entry", "dropped-entry", "dropped-entry", "dropped-entry", "dropped-entry", "dropped-entry", "dropped-key", "flavor-string", "xlibmap"}},
		"spider": {spiderText, []string{"dropped-entry", "dropped-entry", "dropped-entry"}},
	} {
		in, err := rmap.ReadInput(bytes.NewReader(c.text), label)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []string
		for _, p := range in.Problems {
			kinds = append(kinds, p.Kind)
			if len(p.Text) > 500 || len(p.Path) > 5000 {
				t.Errorf("%s: a problem has %d bytes of text and %d of path", label, len(p.Text), len(p.Path))
			}
		}
		slices.Sort(kinds)
		if diff := cmp.Diff(c.kinds, kinds); diff != "" {
			t.Errorf("%s: problems (-want +got):\n%s", label, diff)
		}
		inputs = append(inputs, in)
	}
	res := rmap.Merge(inputs, nil, rmap.Options{})
	if diff := cmp.Diff(map[string]string{"/s/a/1/lib": "a/1"}, names(res)); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"liba.so"}, res.Libs); diff != "" {
		t.Errorf("libraries (-want +got):\n%s", diff)
	}
}
