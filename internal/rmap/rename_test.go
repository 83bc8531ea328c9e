package rmap_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/rmap"
)

// A renamer gives every word of a tree another one, the same everywhere: what
// is right must not hang on how a site names its software.
type renamer struct {
	rng  *rand.Rand
	word map[string]string
	used map[string]bool
}

var (
	words = regexp.MustCompile(`[A-Za-z]+`)
	// What means something to the file system, to spider or to score.
	fixedWords = strings.Fields("default latest bin sbin lib include share usr opt tmp root home var etc a so beta rc alpha v zfinal shared by")
	jsonKeys   = strings.Fields("reverseMapT pkg kind flavor moduleFn xlibmap timestampFn fullName hidden mpath lpathA pathA dirA parentAA wV pV Version pkgs flavors note")
)

func newRenamer(seed uint64) *renamer {
	r := &renamer{rand.New(rand.NewPCG(seed, 3)), make(map[string]string), make(map[string]bool)}
	for _, w := range fixedWords {
		r.word[w], r.used[w] = w, true
	}
	return r
}

func (r *renamer) text(s string) string {
	return words.ReplaceAllStringFunc(s, func(w string) string {
		low := strings.ToLower(w)
		name, ok := r.word[low]
		for !ok {
			b := make([]byte, 2+r.rng.IntN(8))
			for i := range b {
				b[i] = byte('a' + r.rng.IntN(26))
			}
			name = string(b)
			if strings.HasPrefix(low, "lib") {
				name = "lib" + name
			} else if strings.HasPrefix(name, "lib") || strings.HasPrefix(name, "bin") {
				continue
			}
			if !r.used[name] {
				r.word[low], r.used[name], ok = name, true, true
			}
		}
		switch w {
		case low:
			return name
		case strings.ToUpper(w):
			return strings.ToUpper(name)
		}
		return strings.ToUpper(name[:1]) + name[1:]
	})
}

func (r *renamer) value(key string, v any) any {
	switch v := v.(type) {
	case string:
		if key == "kind" || key == "note" || key == "wV" || key == "pV" {
			return v
		}
		return r.text(v)
	case []any:
		for i := range v {
			v[i] = r.value(key, v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) { // names come in the order of their words
			e := v[k]
			name := k
			if !strings.Contains(" "+strings.Join(jsonKeys, " ")+" ", " "+k+" ") {
				name = r.text(k)
			}
			out[name] = r.value(k, e)
		}
		return out
	}
	return v
}

func (r *renamer) json(t *testing.T, text []byte) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(r.value("", v))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRenamed scores the trees of TestScores under other names.
func TestRenamed(t *testing.T) {
	for _, c := range []struct {
		tree   string
		inputs []string
		ignore string
		right  int
	}{
		{"cray", []string{"cray/in/rmapT_*", "cray/in/spider_*"}, "EasyBuild", 427},
		{"flat", []string{"flat/in/main.jsonReverseMapT.json", "flat/in/nosite.jsonReverseMapT.json", "flat/in/ebparent.jsonReverseMapT.json", "flat/in/main.spider.json"}, "", 874},
		{"nasty", []string{"nasty/in/main.jsonReverseMapT.json", "nasty/in/main.spider.json", "nasty/in/loop_emptyflavor.jsonReverseMapT.json"}, "", 44},
	} {
		t.Run(c.tree, func(t *testing.T) {
			for seed := range uint64(3) {
				r := newRenamer(seed)
				var inputs []*rmap.Input
				for _, pattern := range c.inputs {
					files, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(pattern)+".gz"))
					if err != nil || len(files) == 0 {
						t.Fatalf("no fixture matches %s (%v)", pattern, err)
					}
					for _, file := range files {
						label := strings.TrimSuffix(filepath.Base(file), ".gz")
						in, err := rmap.ReadInput(bytes.NewReader(r.json(t, fixture(t, c.tree+"/in/"+label))), label)
						if err != nil {
							t.Fatal(err)
						}
						inputs = append(inputs, in)
					}
				}
				var opts rmap.Options
				if c.ignore != "" {
					opts.IgnoreFlavor = []string{r.text(c.ignore)}
				}
				counts, bad := score(t, r.json(t, fixture(t, c.tree+"/truth_dirs.json")), load(t, rmap.Merge(inputs, nil, opts).EncodeXALT()))
				if wrong := counts["wrong module"] + counts["wrong, should be none"]; wrong > 0 || counts["right"] < c.right {
					t.Errorf("seed %d: %v, want at least %d right, none wrong\n%s", seed, counts, c.right, strings.Join(bad, "\n"))
				}
			}
		})
	}
}
