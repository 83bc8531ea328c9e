package rmap_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/rmap"
)

func TestScores(t *testing.T) {
	easyBuild := rmap.Options{IgnoreFlavor: []string{"EasyBuild"}}
	for _, c := range []struct {
		name, tree string
		inputs     []string
		opts       rmap.Options
		right      int // at least
		wrong      int // wrong modules, exactly
		otherwise  int // missing and other flavors, at most
	}{
		{"cray, maps and spider-json", "cray", []string{"cray/in/rmapT_*", "cray/in/spider_*"}, easyBuild, 427, 0, 2},
		// Of some claims only spider-json tells; who is in doubt is left out.
		{"cray, maps alone", "cray", []string{"cray/in/rmapT_*"}, easyBuild, 422, 0, 7},
		{"flat, parent map last, with spider-json", "flat", []string{"flat/in/main.jsonReverseMapT.json", "flat/in/nosite.jsonReverseMapT.json", "flat/in/ebparent.jsonReverseMapT.json", "flat/in/main.spider.json"}, rmap.Options{}, 874, 0, 0},
		{"flat, parent map last, maps alone", "flat", []string{"flat/in/main.jsonReverseMapT.json", "flat/in/nosite.jsonReverseMapT.json", "flat/in/ebparent.jsonReverseMapT.json"}, rmap.Options{}, 873, 0, 2},
		{"hier", "hier", []string{"hier/in/main.jsonReverseMapT.json", "hier/in/main.spider.json"}, rmap.Options{}, 4156, 0, 0},
		{"hier, maps alone", "hier", []string{"hier/in/main.jsonReverseMapT.json"}, rmap.Options{}, 4155, 0, 1},
		{"nasty", "nasty", []string{"nasty/in/main.jsonReverseMapT.json", "nasty/in/main.spider.json", "nasty/in/loop_emptyflavor.jsonReverseMapT.json"}, rmap.Options{}, 44, 0, 0},
		{"nasty, maps alone", "nasty", []string{"nasty/in/main.jsonReverseMapT.json", "nasty/in/loop_emptyflavor.jsonReverseMapT.json"}, rmap.Options{}, 44, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := rmap.Merge(fixtures(t, c.inputs...), nil, c.opts)
			for form, text := range map[string][]byte{"xalt_rmapT": res.EncodeXALT(), "jsonReverseMapT": res.EncodeJSON()} {
				counts, bad := score(t, fixture(t, c.tree+"/truth_dirs.json"), load(t, text))
				wrong := counts["wrong module"] + counts["wrong, should be none"]
				if counts["right"] < c.right || wrong != c.wrong || counts["missing"]+counts["other flavor"] > c.otherwise {
					t.Errorf("%s: %v, want at least %d right, %d wrong, at most %d missing\n%s", form, counts, c.right, c.wrong, c.otherwise, strings.Join(bad, "\n"))
				}
			}
		})
	}
}

// TestSharedScores merges what Lmod 8 and 9, reruns and the xalt form give,
// all at once: more evidence must not make an answer wrong.
func TestSharedScores(t *testing.T) {
	dir := shared(t)
	for tree, opts := range map[string]rmap.Options{"cray": {IgnoreFlavor: []string{"EasyBuild"}}, "flat": {}, "hier": {}, "nasty": {}} {
		t.Run(tree, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(dir, tree, "in", "*"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no inputs: %v", err)
			}
			var inputs []*rmap.Input
			for _, name := range files {
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				in, err := rmap.ReadInput(f, filepath.Base(name))
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				inputs = append(inputs, in)
			}
			truths, err := os.ReadFile(filepath.Join(dir, tree, "truth_dirs.json"))
			if err != nil {
				t.Fatal(err)
			}
			counts, bad := score(t, truths, load(t, rmap.Merge(inputs, nil, opts).EncodeXALT()))
			if n := counts["wrong module"] + counts["wrong, should be none"]; n != 0 {
				t.Errorf("%v\n%s", counts, strings.Join(bad, "\n"))
			}
		})
	}
}

// TestOrder gives the same inputs in many orders.
func TestOrder(t *testing.T) {
	for name, patterns := range map[string][]string{
		"cray":  {"cray/in/rmapT_*", "cray/in/spider_*"},
		"flat":  {"flat/in/*"},
		"nasty": {"nasty/in/*"},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := fixtures(t, patterns...)
			first := rmap.Merge(inputs, nil, rmap.Options{})
			wantXALT, wantJSON := first.EncodeXALT(), first.EncodeJSON()
			rng := rand.New(rand.NewPCG(4, 2))
			for range 30 {
				rng.Shuffle(len(inputs), func(i, j int) { inputs[i], inputs[j] = inputs[j], inputs[i] })
				res := rmap.Merge(inputs, nil, rmap.Options{})
				if !bytes.Equal(res.EncodeXALT(), wantXALT) || !bytes.Equal(res.EncodeJSON(), wantJSON) {
					t.Fatalf("another order of the inputs gives another map")
				}
				if diff := cmp.Diff(first.Conflicts, res.Conflicts); diff != "" {
					t.Fatalf("another order gives other conflicts:\n%s", diff)
				}
			}
			again := rmap.Merge(inputs, first.Memory, rmap.Options{})
			if !bytes.Equal(again.EncodeXALT(), wantXALT) || !bytes.Equal(again.EncodeJSON(), wantJSON) {
				t.Fatalf("a rerun with what the first run remembers gives another map")
			}
		})
	}
}

// input makes an input of entries "PATH MODULE [KIND [FLAVOR...]]", with the
// modulefile /mf/MODULE.lua.
func input(t testing.TB, label string, entries ...string) *rmap.Input {
	t.Helper()
	table := make(map[string]any)
	for _, e := range entries {
		f := strings.Fields(e)
		k := "lib"
		if len(f) > 2 {
			k = f[2]
		}
		flavors := []string{"default"}
		if len(f) > 3 {
			flavors = f[3:]
		}
		table[f[0]] = map[string]any{"pkg": f[1], "kind": k, "flavor": flavors, "moduleFn": "/mf/" + f[1] + ".lua"}
	}
	text, err := json.Marshal(map[string]any{"reverseMapT": table, "xlibmap": []string{}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := rmap.ReadInput(bytes.NewReader(text), label)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// spider makes a spider-json, labelled s, of modules "MODULE FLAGS DIR...", with h hidden, d
// default and - nothing in FLAGS, and a colon and the kind after a DIR that is
// not a library directory.
func spider(t testing.TB, modules ...string) *rmap.Input {
	t.Helper()
	table := make(map[string]map[string]any)
	for _, m := range modules {
		f := strings.Fields(m)
		wV := "0001.*zfinal"
		if strings.Contains(f[1], "d") {
			wV = "^" + wV
		}
		mod := map[string]any{"fullName": f[0], "hidden": strings.Contains(f[1], "h"), "mpath": "/mf", "wV": wV}
		for _, d := range f[2:] {
			dir, k, _ := strings.Cut(d, ":")
			field := map[string]string{"": "lpathA", "bin": "pathA", "dir": "dirA"}[k]
			if mod[field] == nil {
				mod[field] = make(map[string]int)
			}
			mod[field].(map[string]int)[dir] = 1
		}
		name, _, _ := strings.Cut(f[0], "/")
		if table[name] == nil {
			table[name] = make(map[string]any)
		}
		table[name]["/mf/"+f[0]+".lua"] = mod
	}
	text, err := json.Marshal(table)
	if err != nil {
		t.Fatal(err)
	}
	in, err := rmap.ReadInput(bytes.NewReader(text), "s")
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// names gives path to module name of a result.
func names(res *rmap.Result) map[string]string {
	out := make(map[string]string)
	for i := range res.Keys {
		out[res.Keys[i].Path] = res.Keys[i].Name()
	}
	return out
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name   string
		inputs []*rmap.Input
		opts   rmap.Options
		want   map[string]string
		rule   string // of the first conflict
	}{
		{
			"name and version in a row",
			[]*rmap.Input{input(t, "a", "/s/hdf5/1.2/lib meta/3"), input(t, "b", "/s/hdf5/1.2/lib hdf5/1.2")},
			rmap.Options{},
			map[string]string{"/s/hdf5/1.2/lib": "hdf5/1.2"},
			"evidence",
		},
		{
			"name-version-hash",
			[]*rmap.Input{input(t, "a", "/s/HDF5-1.2-abc/lib meta/3"), input(t, "b", "/s/HDF5-1.2-abc/lib hdf5/1.2")},
			rmap.Options{},
			map[string]string{"/s/HDF5-1.2-abc/lib": "hdf5/1.2"},
			"evidence",
		},
		{
			"vendor's prefix",
			[]*rmap.Input{input(t, "a", "/opt/acme/mpi/8.1/lib acme-mpi-abi/8.1"), input(t, "b", "/opt/acme/mpi/8.1/lib acme-mpi/8.1")},
			rmap.Options{},
			map[string]string{"/opt/acme/mpi/8.1/lib": "acme-mpi/8.1"},
			"evidence",
		},
		{
			"three names and a version",
			[]*rmap.Input{input(t, "a", "/s/v/2.0/x/lib zeta/1.0"), input(t, "b", "/s/v/2.0/x/lib alpha/2.0")},
			rmap.Options{},
			map[string]string{"/s/v/2.0/x/lib": "alpha/2.0"},
			"evidence",
		},
		{
			"a version is a whole component",
			[]*rmap.Input{input(t, "a", "/s/1.10/lib aa/1.1"), input(t, "b", "/s/1.10/lib bb/1.10")},
			rmap.Options{},
			map[string]string{"/s/1.10/lib": "bb/1.10"},
			"evidence",
		},
		{
			"own directory",
			[]*rmap.Input{input(t, "a", "/s/x/lib aa/1", "/s/x bb/1 dir"), input(t, "b", "/s/x/lib bb/1")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "bb/1", "/s/x": "bb/1"},
			rmap.RuleOwnDir,
		},
		{
			"direct claim",
			[]*rmap.Input{input(t, "a", "/s/x/lib zz/9", "/s/z/lib zz/9"), spider(t, "zz/9 - /s/z/lib", "aa/1 - /s/x/lib")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "aa/1", "/s/z/lib": "zz/9"},
			rmap.RuleDirect,
		},
		{
			"kind",
			[]*rmap.Input{input(t, "a", "/s/x/lib aa/1 lib"), input(t, "b", "/s/x/lib bb/2 bin")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "aa/1"},
			rmap.RuleKind,
		},
		{
			"not hidden",
			[]*rmap.Input{input(t, "a", "/s/x/lib aa/1"), spider(t, "aa/1 h /s/x/lib", "bb/1 - /s/x/lib")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "bb/1"},
			rmap.RuleHidden,
		},
		{
			"default version",
			[]*rmap.Input{input(t, "a", "/s/x/lib aa/2"), spider(t, "aa/2 - /s/x/lib", "aa/1 d /s/x/lib")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "aa/1"},
			rmap.RuleDefault,
		},
		{
			"highest version",
			[]*rmap.Input{input(t, "a", "/s/x/lib aa/1.9"), input(t, "b", "/s/x/lib aa/1.10"), input(t, "c", "/s/x/lib aa/1.10-beta"), input(t, "d", "/s/x/lib aa/latest")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "aa/1.10"},
			rmap.RuleVersion,
		},
		{
			"shorter name",
			[]*rmap.Input{input(t, "a", "/s/x/lib abc/1"), input(t, "b", "/s/x/lib zz/1")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "zz/1"},
			rmap.RuleShorter,
		},
		{
			"bytewise",
			[]*rmap.Input{input(t, "a", "/s/x/lib b/1"), input(t, "b", "/s/x/lib a/1")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "a/1"},
			rmap.RuleBytes,
		},
		{
			"a longer name of one module",
			[]*rmap.Input{input(t, "a", "/s/x/lib all/Java/17"), input(t, "b", "/s/x/lib Java/17")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "Java/17"},
			"",
		},
		{
			"shared",
			[]*rmap.Input{input(t, "a", "/s/shared/lib a/1"), input(t, "b", "/s/shared/lib b/1"), input(t, "c", "/s/shared/lib c/1")},
			rmap.Options{},
			map[string]string{},
			rmap.RuleShared,
		},
		{
			"a name in the root of the tree is no evidence",
			[]*rmap.Input{input(t, "a", "/opt/pe/lib64 pe/7", "/opt/pe/u/1/lib u/1", "/opt/pe/v/1/lib v/1", "/opt/pe/w/1/lib w/1"), input(t, "b", "/opt/pe/lib64 b/1"), input(t, "c", "/opt/pe/lib64 c/1")},
			rmap.Options{},
			map[string]string{"/opt/pe/u/1/lib": "u/1", "/opt/pe/v/1/lib": "v/1", "/opt/pe/w/1/lib": "w/1"},
			rmap.RuleShared,
		},
		{
			"a name in the root of the tree, and only those who share it below",
			[]*rmap.Input{input(t, "a", "/opt/pe/lib64 pe/7", "/opt/pe/u/1/lib u/1"), input(t, "b", "/opt/pe/lib64 b/1"), input(t, "c", "/opt/pe/lib64 c/1"), input(t, "d", "/opt/pe/lib64 d/1"), input(t, "e", "/opt/pe/lib64 e/1")},
			rmap.Options{},
			map[string]string{"/opt/pe/lib64": "pe/7", "/opt/pe/u/1/lib": "u/1"},
			"evidence in the path: name in the path",
		},
		{
			"three versions are one module",
			[]*rmap.Input{input(t, "a", "/s/x/lib a/1"), input(t, "b", "/s/x/lib a/2"), input(t, "c", "/s/x/lib a/3")},
			rmap.Options{},
			map[string]string{"/s/x/lib": "a/3"},
			rmap.RuleVersion,
		},
		{
			"umbrella",
			[]*rmap.Input{input(t, "a", "/site base/1 dir", "/site/x/1/lib x/1", "/site/y/1/lib y/1", "/site/z/1/lib z/1", "/site-b b/1 dir")},
			rmap.Options{},
			map[string]string{"/site/x/1/lib": "x/1", "/site/y/1/lib": "y/1", "/site/z/1/lib": "z/1", "/site-b": "b/1"},
			rmap.RuleUmbrella,
		},
		{
			"two below are no umbrella",
			[]*rmap.Input{input(t, "a", "/site base/1 dir", "/site/x/1/lib x/1", "/site/y/1/lib y/1", "/site/y/1/bin y/1")},
			rmap.Options{},
			map[string]string{"/site": "base/1", "/site/x/1/lib": "x/1", "/site/y/1/lib": "y/1", "/site/y/1/bin": "y/1"},
			"",
		},
		{
			"its own name is no umbrella",
			[]*rmap.Input{input(t, "a", "/s/base/1 base/1 dir", "/s/base/1/x/1/lib x/1", "/s/base/1/y/1/lib y/1", "/s/base/1/z/1/lib z/1")},
			rmap.Options{},
			map[string]string{"/s/base/1": "base/1", "/s/base/1/x/1/lib": "x/1", "/s/base/1/y/1/lib": "y/1", "/s/base/1/z/1/lib": "z/1"},
			"",
		},
		{
			"a version behind a symlink",
			[]*rmap.Input{input(t, "a", "/s/xc/9.9/lib xc/latest", "/s/xc/latest/lib xc/latest", "/s/xc/9.9/bin xc/9.9 bin")},
			rmap.Options{},
			map[string]string{"/s/xc/9.9/lib": "xc/9.9", "/s/xc/9.9/bin": "xc/9.9", "/s/xc/latest/lib": "xc/latest"},
			"evidence",
		},
		{
			"latest behind a symlink, and its real version in no map",
			[]*rmap.Input{input(t, "a", "/s/xc/9.9/lib xc/latest", "/s/xc/latest/lib xc/latest", "/s/xc/9.9/share xc/latest")},
			rmap.Options{},
			map[string]string{"/s/xc/latest/lib": "xc/latest", "/s/xc/9.9/share": "xc/latest"},
			rmap.RuleAlias,
		},
		{
			"latest behind a symlink, and spider-json knows no other",
			[]*rmap.Input{input(t, "a", "/s/xc/9.9/lib xc/latest", "/s/xc/latest/lib xc/latest"), spider(t, "xc/latest - /s/xc/latest/lib")},
			rmap.Options{},
			map[string]string{"/s/xc/latest/lib": "xc/latest", "/s/xc/9.9/lib": "xc/latest"},
			"",
		},
		{
			"the path names another module that owns what is beside",
			[]*rmap.Input{input(t, "a", "/opt/mpi/8.1/ofi/x/1/lib v-mpi/8.1", "/opt/mpi/8.1/ofi/y/2/lib all/23", "/opt/mpi/8.1/data/lib all/23", "/opt/mpi/8.1/ofi/z/lib all/23")},
			rmap.Options{},
			map[string]string{"/opt/mpi/8.1/ofi/x/1/lib": "v-mpi/8.1", "/opt/mpi/8.1/data/lib": "all/23", "/opt/mpi/8.1/ofi/z/lib": "all/23"},
			rmap.RuleNamed,
		},
		{
			"the path names another module that owns the directory beside",
			[]*rmap.Input{input(t, "a", "/s/Hdf/1.2/bin hdf/1.2 bin", "/s/Hdf/1.2/lib site-all/7", "/s/Hdf/1.2/lib64 hdf-extra/1", "/s/fftw/3/bin all/7 bin", "/s/fftw/3/lib all/7")},
			rmap.Options{},
			map[string]string{"/s/Hdf/1.2/bin": "hdf/1.2", "/s/Hdf/1.2/lib64": "hdf-extra/1", "/s/fftw/3/bin": "all/7", "/s/fftw/3/lib": "all/7"},
			rmap.RuleNamed,
		},
		{
			"the same, and spider-json says it is so",
			[]*rmap.Input{input(t, "a", "/opt/mpi/8.1/ofi/x/1/lib v-mpi/8.1", "/opt/mpi/8.1/ofi/y/2/lib all/23"), spider(t, "all/23 - /opt/mpi/8.1/ofi/y/2/lib")},
			rmap.Options{},
			map[string]string{"/opt/mpi/8.1/ofi/x/1/lib": "v-mpi/8.1", "/opt/mpi/8.1/ofi/y/2/lib": "all/23"},
			"",
		},
		{
			"the same, and the site prefers it",
			[]*rmap.Input{input(t, "a", "/opt/mpi/8.1/ofi/x/1/lib v-mpi/8.1", "/opt/mpi/8.1/ofi/y/2/lib all/23")},
			rmap.Options{Prefer: []string{"all"}},
			map[string]string{"/opt/mpi/8.1/ofi/x/1/lib": "v-mpi/8.1", "/opt/mpi/8.1/ofi/y/2/lib": "all/23"},
			"",
		},
		{
			"the name of a tree in which each package has a module",
			[]*rmap.Input{input(t, "a", "/opt/Suite/aa/1.2/lib/x aa/1.2", "/opt/Suite/bb/2.0/lib/x suite-all/1.2", "/opt/Suite/bb/2.0/bin/x suite-all/1.2 bin", "/opt/Suite/all/1.2/lib/x suite-all/1.2", "/opt/cc/1.2/lib/x suite-all/1.2")},
			rmap.Options{},
			map[string]string{"/opt/Suite/aa/1.2/lib/x": "aa/1.2", "/opt/Suite/bb/2.0/bin/x": "suite-all/1.2", "/opt/Suite/all/1.2/lib/x": "suite-all/1.2", "/opt/cc/1.2/lib/x": "suite-all/1.2"},
			rmap.RuleTree,
		},
		{
			"the same, and spider-json says it is so",
			[]*rmap.Input{input(t, "a", "/opt/Suite/aa/1.2/lib/x aa/1.2", "/opt/Suite/bb/2.0/lib/x suite-all/1.2"), spider(t, "suite-all/1.2 - /opt/Suite/bb/2.0/lib/x")},
			rmap.Options{},
			map[string]string{"/opt/Suite/aa/1.2/lib/x": "aa/1.2", "/opt/Suite/bb/2.0/lib/x": "suite-all/1.2"},
			"",
		},
		{
			"three of one version",
			[]*rmap.Input{input(t, "a", "/s/7.0/x/lib aa/7.0"), input(t, "b", "/s/7.0/x/lib bb/7.0"), input(t, "c", "/s/7.0/x/lib cc/7.0")},
			rmap.Options{},
			map[string]string{},
			rmap.RuleShared,
		},
		{
			"three of one version and one product",
			[]*rmap.Input{input(t, "a", "/s/7.0/x/lib aa/7.0"), input(t, "b", "/s/7.0/x/lib aa-nompi/7.0"), input(t, "c", "/s/7.0/x/lib aa-byo/7.0")},
			rmap.Options{},
			map[string]string{"/s/7.0/x/lib": "aa/7.0"},
			rmap.RuleShorter,
		},
		{
			"letters that are longer in lower case",
			[]*rmap.Input{input(t, "a", "/İİİİİİ/aa aa/1", "/İİİİİİ/aa/b/lib b/1", "/İİİİİİ/aa/c/lib c/1", "/İİİİİİ/aa/d/lib d/1"), input(t, "b", "/İİİİİİ/aa x/1")},
			rmap.Options{},
			map[string]string{"/İİİİİİ/aa/b/lib": "b/1", "/İİİİİİ/aa/c/lib": "c/1", "/İİİİİİ/aa/d/lib": "d/1"},
			rmap.RuleUmbrella,
		},
		{
			"pin",
			[]*rmap.Input{input(t, "a", "/s/a/1/lib a/1")},
			rmap.Options{Pins: map[string]string{"/s/a/1/lib": "own/2(gcc/9)", "/s/new/lib": "new/1"}},
			map[string]string{"/s/a/1/lib": "own/2(gcc/9)", "/s/new/lib": "new/1"},
			rmap.RulePin,
		},
		{
			"prefer",
			[]*rmap.Input{input(t, "a", "/s/a/1/lib a/1"), input(t, "b", "/s/a/1/lib meta/2")},
			rmap.Options{Prefer: []string{"other", "me*"}},
			map[string]string{"/s/a/1/lib": "meta/2"},
			rmap.RulePrefer,
		},
		{
			"a name that begins with a joint",
			[]*rmap.Input{input(t, "a", "/s/foo/1.0/lib -foo/1.0"), input(t, "b", "/s/foo/1.0/lib bar/2.0")},
			rmap.Options{},
			map[string]string{"/s/foo/1.0/lib": "-foo/1.0"},
			rmap.RuleEvidence + ": the words of the name and the version in the path",
		},
		{
			"prefer the only claimant of an umbrella",
			[]*rmap.Input{input(t, "a", "/opt/stack tools/2.0", "/opt/stack/a/1/lib a/1", "/opt/stack/b/1/lib b/1", "/opt/stack/c/1/lib c/1")},
			rmap.Options{Prefer: []string{"tools"}},
			map[string]string{"/opt/stack": "tools/2.0", "/opt/stack/a/1/lib": "a/1", "/opt/stack/b/1/lib": "b/1", "/opt/stack/c/1/lib": "c/1"},
			"",
		},
		{
			"deny",
			[]*rmap.Input{input(t, "a", "/s/a/1/lib a/1"), input(t, "b", "/s/a/1/lib b/2", "/s/c/lib b/2")},
			rmap.Options{Deny: []string{"b/*"}},
			map[string]string{"/s/a/1/lib": "a/1"},
			rmap.RuleDenied,
		},
		{
			"system directories",
			[]*rmap.Input{input(t, "a", "/usr/lib/x/y a/1", "/library/a a/1", "/scratch/x a/1", "/home/a a/1", "/home a/1")},
			rmap.Options{SystemDirs: []string{"/scratch/**", "!/home"}},
			map[string]string{"/library/a": "a/1", "/home/a": "a/1", "/home": "a/1"},
			"",
		},
		{
			"mixed flavors",
			[]*rmap.Input{input(t, "a", "/s/x/1/lib x/1 lib default:a/1 default:b/1", "/s/x/1/bin x/1 bin default:b/1")},
			rmap.Options{},
			map[string]string{"/s/x/1/lib": "x/1(b/1)", "/s/x/1/bin": "x/1(b/1)"},
			"",
		},
		{
			"ignored flavor",
			[]*rmap.Input{input(t, "a", "/s/x/1/lib x/1 lib default:EasyBuild-custom/cscs default:p", "/s/y/1/lib y/1 lib default:EasyBuild/4:gcc/9", "/s/z/1/lib z/1 lib default:EasyBuilder/1")},
			rmap.Options{IgnoreFlavor: []string{"EasyBuild"}},
			map[string]string{"/s/x/1/lib": "x/1(p)", "/s/y/1/lib": "y/1(gcc/9)", "/s/z/1/lib": "z/1(EasyBuilder/1)"},
			"",
		},
		{
			".. through a symlink",
			[]*rmap.Input{input(t, "a", "/s/link/../lib a/1", "/real/lib a/1", "/s/x/../y/lib b/1", "/s/y/lib b/1", "/s/q/../r/lib c/1")},
			rmap.Options{},
			map[string]string{"/s/link/../lib": "a/1", "/real/lib": "a/1", "/s/y/lib": "b/1", "/s/r/lib": "c/1"},
			"",
		},
		{
			"working directory",
			[]*rmap.Input{input(t, "a", ". a/1 bin", "rel/bin b/1 bin", "/var/cron/rel/bin b/1 bin", "/var/cron a/1 bin", "/s/a/1/bin a/1 bin", "/s/b/bin b/1 bin")},
			rmap.Options{},
			map[string]string{"/s/a/1/bin": "a/1", "/s/b/bin": "b/1"},
			"",
		},
		{
			"working directory that nothing tells",
			[]*rmap.Input{input(t, "a", ". a/1 bin", "/var/cron a/1 bin", "/s/x/bin a/1 bin", "/s/x/lib a/1 lib")},
			rmap.Options{},
			map[string]string{"/s/x/bin": "a/1", "/s/x/lib": "a/1"},
			"",
		},
		{
			"spider-json adds no directory",
			[]*rmap.Input{input(t, "a", "/s/a/1/lib a/1"), spider(t, "a/1 - /s/a/1/lib /s/a/1/gone")},
			rmap.Options{},
			map[string]string{"/s/a/1/lib": "a/1"},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := rmap.Merge(c.inputs, nil, c.opts)
			if diff := cmp.Diff(c.want, names(res)); diff != "" {
				t.Errorf("map (-want +got):\n%s", diff)
			}
			rule := ""
			if len(res.Conflicts) > 0 {
				rule = res.Conflicts[0].Rule
				if c.rule == rmap.RuleDenied {
					rule = res.Conflicts[len(res.Conflicts)-1].Rule
				}
			}
			if !strings.HasPrefix(rule, c.rule) || c.rule == "" && rule != "" {
				t.Errorf("rule %q, want %q", rule, c.rule)
			}
		})
	}
}

// TestMemory follows a directory whose owner spider picks by chance.
func TestMemory(t *testing.T) {
	night := func(owner string, mem *rmap.Memory, day int, gone ...string) *rmap.Result {
		return rmap.Merge([]*rmap.Input{input(t, "map", "/s/shared/lib "+owner, "/s/d/1/lib d/1")}, mem, rmap.Options{
			Day: day, Gone: func(file string) bool { return slices.Contains(gone, file) },
		})
	}
	first := night("a/1", nil, 1)
	if diff := cmp.Diff(map[string]string{"/s/shared/lib": "a/1", "/s/d/1/lib": "d/1"}, names(first)); diff != "" {
		t.Errorf("first night (-want +got):\n%s", diff)
	}
	second := night("b/1", first.Memory, 2)
	if got, want := names(second)["/s/shared/lib"], "a/1"; got != want {
		t.Errorf("second night: %s, want %s, the remembered one first in the order", got, want)
	}
	third := night("c/1", second.Memory, 3)
	if got := names(third)["/s/shared/lib"]; got != "" {
		t.Errorf("third night: %s, want none: three modules share it", got)
	}
	if got := names(night("c/1", third.Memory, 4, "/mf/a/1.lua"))["/s/shared/lib"]; got != "b/1" {
		t.Errorf("after the modulefile of a/1 is gone: %q, want b/1", got)
	}
	if got := names(night("c/1", third.Memory, 90))["/s/shared/lib"]; got != "c/1" {
		t.Errorf("after months without a and b: %q, want c/1", got)
	}
	exact := rmap.Merge([]*rmap.Input{
		input(t, "map", "/s/shared/lib c/1", "/s/d/1/lib d/1"),
		spider(t, "a/1 - /s/other/lib", "c/1 - /s/shared/lib"),
	}, third.Memory, rmap.Options{Day: 4})
	if got := names(exact)["/s/shared/lib"]; got != "c/1" {
		t.Errorf("with a spider-json that lists neither a nor b for it: %q, want c/1", got)
	}
}

func ExampleMap_Lookup() {
	m, err := rmap.Read(strings.NewReader(`{"reverseMapT":{"/apps/hdf5/1.10/lib":"hdf5/1.10(gcc/9.1)"},"xlibmap":[]}`), "xalt_rmapT.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	module, dir, _ := m.Lookup("/apps/hdf5/1.10/lib/plugin/libx.so")
	fmt.Println(module, "by", dir)
	// Output: hdf5/1.10(gcc/9.1) by /apps/hdf5/1.10/lib
}
