package rmap_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"xaltpipe/internal/rmap"
)

// site writes a reverse map of n directories as spider does: common ones of
// the site and some of the PrgEnv's own.
func site(n int, env string, common float64, short bool) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(len(env))))
	var b bytes.Buffer
	b.WriteString(`{"reverseMapT":{`)
	sep := ""
	for i := range n {
		tree := "common"
		if float64(i) >= common*float64(n) {
			tree = env
		}
		pkg := fmt.Sprintf("package%d", i/6)
		version := fmt.Sprintf("%d.%d.%d", i/3%7, i/3%13, i/3%5)
		dir := fmt.Sprintf(`\/opt\/software\/%s\/gcc-12.2.0\/%s\/%s\/%s`, tree, pkg, version, []string{"bin", "lib", "lib64"}[i%3])
		b.WriteString(sep)
		sep = ","
		if short {
			fmt.Fprintf(&b, `"%s":"%s\/%s(gcc\/12.2.0:mpich\/%d.1)"`, dir, pkg, version, rng.IntN(3))
			continue
		}
		fmt.Fprintf(&b, `"%s":{"pkg":"%s\/%s","kind":"%s","flavor":["default:gcc\/12.2.0","default:gcc\/12.2.0:mpich\/4.%d"],"moduleFn":"\/opt\/modulefiles\/%s\/gcc\/12.2.0\/%s\/%s.lua"}`,
			dir, pkg, version, []string{"bin", "lib", "lib"}[i%3], rng.IntN(3), tree, pkg, version)
	}
	b.WriteString(`},"xlibmap":["liba.so","libb.a"],"timestampFn":false}`)
	return b.Bytes()
}

func peak(b *testing.B, f func()) {
	b.Helper()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "held-MB")
}

func BenchmarkRead(b *testing.B) {
	for _, form := range []string{"xalt", "json"} {
		text := site(200_000, "none", 1, form == "xalt")
		file := filepath.Join(b.TempDir(), "map.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(form, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				f, err := os.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				m, err := rmap.Read(f, file)
				if err != nil || m.Len() == 0 {
					b.Fatal(err)
				}
				if err := f.Close(); err != nil {
					b.Fatal(err)
				}
			}
			var keep *rmap.Map
			peak(b, func() { keep, _ = rmap.Read(bytes.NewReader(text), file) })
			runtime.KeepAlive(keep)
		})
		b.Run(form+"-only-reading-the-file", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := os.ReadFile(file); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLookup does 100,000 lookups per round, two of three below a key,
// beside one lookup each in a plain Go map.
func BenchmarkLookup(b *testing.B) {
	text := site(200_000, "none", 1, true)
	m, err := rmap.Read(bytes.NewReader(text), "map.json")
	if err != nil {
		b.Fatal(err)
	}
	plain := make(map[string]string)
	var paths, dirs []string
	for i := range 100_000 {
		dir := fmt.Sprintf("/opt/software/common/gcc-12.2.0/package%d/%d.%d.%d/%s", i/3, 2*i/3%7, 2*i/3%13, 2*i/3%5, []string{"bin", "lib", "lib64"}[2*i%3])
		plain[dir] = dir
		dirs = append(dirs, dir)
		paths = append(paths, dir+[]string{"/libx.so", "/sub/dir/liby.so", "-none/libz.so"}[i%3])
	}
	b.Run("map", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, p := range paths {
				m.Lookup(p)
			}
		}
	})
	b.Run("plain-map", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, d := range dirs {
				n += len(plain[d])
			}
		}
	})
}

// BenchmarkMerge merges 8 inputs of 100,000 entries, half of them common to
// all, as bytes in to bytes out.
func BenchmarkMerge(b *testing.B) {
	var texts [][]byte
	for i := range 8 {
		texts = append(texts, site(100_000, strings.Repeat("e", i+1), 0.5, false))
	}
	b.Run("8x100000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			inputs := make([]*rmap.Input, len(texts))
			next := make(chan int)
			var wg sync.WaitGroup
			for range 2 { // as the command does
				wg.Go(func() {
					for i := range next {
						in, err := rmap.ReadInput(bytes.NewReader(texts[i]), fmt.Sprint(i))
						if err != nil {
							b.Error(err)
						}
						inputs[i] = in
					}
				})
			}
			for i := range texts {
				next <- i
			}
			close(next)
			wg.Wait()
			res := rmap.Merge(inputs, nil, rmap.Options{})
			if len(res.EncodeXALT())+len(res.EncodeJSON()) == 0 {
				b.Fatal("no output")
			}
		}
	})
}
