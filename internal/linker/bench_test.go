package linker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkLink measures a link without us, with us, and with a program in our
// place that does nothing, in turn, and reports medians in milliseconds: "small" is a program of one object, linked through the
// compiler; "large" is one of 300 objects with debugging information. The command
// is a binary of the link role alone.
func BenchmarkLink(b *testing.B) {
	p := newPlace(b)
	p.env = append(p.env, "TEST_TRACE=")
	self := filepath.Join(p.bin, "ld")
	for _, name := range linkers {
		if err := os.Remove(filepath.Join(p.bin, name)); err != nil {
			b.Fatal(err)
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		b.Fatal(err)
	}
	idle := filepath.Join(b.TempDir(), "idle")
	for out, command := range map[string]string{self: "./testdata/xalt-ld", filepath.Join(idle, "ld"): "./testdata/floor"} {
		build := p.command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, command)
		build.Dir = dir
		if got := see(build); got.state != "exit status 0" {
			b.Fatalf("build: %q", got)
		}
		for _, name := range linkers[1:] {
			if err := os.Symlink("ld", filepath.Join(filepath.Dir(out), name)); err != nil {
				b.Fatal(err)
			}
		}
	}
	p.write("a.c", hello)
	p.write("a.cc", "#include <iostream>\nint main() { std::cout << \"hello\" << std::endl; }\n")
	p.must("gcc", "-c", "a.c")
	p.must("g++", "-c", "a.cc", "-o", "acc.o")
	large := p.objects()
	for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
		for _, c := range []struct {
			name, compiler string
			args           []string
		}{
			{"small", "gcc", []string{"a.o"}},
			{"small C++", "g++", []string{"acc.o"}},
			{"large", "gcc", large},
		} {
			b.Run(ld+" "+c.name, func(b *testing.B) {
				args := append([]string{"-fuse-ld=" + ld, "-o", "out"}, c.args...)
				var plain, wrapped, nothing []float64
				for b.Loop() {
					nothing = append(nothing, p.timed(b, c.compiler, append([]string{"-B" + idle}, args...)...))
					plain = append(plain, p.timed(b, c.compiler, args...))
					wrapped = append(wrapped, p.timed(b, c.compiler, p.wrapped(args...)...))
				}
				x, y, floor := median(plain), median(wrapped), median(nothing)
				b.ReportMetric(floor-x, "floor-added-ms")
				b.ReportMetric(x, "plain-ms")
				b.ReportMetric(y, "wrapped-ms")
				b.ReportMetric(y-x, "added-ms")
				b.ReportMetric(y/x, "ratio")
			})
		}
	}
}

func (p *place) timed(b *testing.B, name string, args ...string) float64 {
	b.Helper()
	cmd := p.command(name, args...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return float64(took.Microseconds()) / 1000
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// objects makes many objects from one by renaming its symbols.
func (p *place) objects() (names []string) {
	p.t.Helper()
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "struct s%d { int a, b[%d]; }; int f%d(struct s%d *p, int n) { int i; for (i = 0; i < n; i++) p->b[i] += p->a; return p->a; }\n", i, i+1, i, i)
	}
	p.write("many.c", b.String())
	p.must("gcc", "-g", "-O1", "-ffunction-sections", "-c", "many.c")
	for i := range 300 {
		name := fmt.Sprintf("many%d.o", i)
		p.must("objcopy", fmt.Sprintf("--prefix-symbols=p%d_", i), "many.o", name)
		names = append(names, name)
	}
	return append(names, "a.o")
}
