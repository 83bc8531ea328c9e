package linker_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkLink measures a link without a wrapper, with the least one that there
// can be in Go (testdata/floor), and with the real command, in turn, and reports
// medians in milliseconds, of the time that passed and of the processor's: "small"
// is a program of one object, linked through the compiler; "large" is one of 300
// objects with debugging information. The records go to a socket that is read.
func BenchmarkLink(b *testing.B) {
	p := newPlace(b)
	dir := b.TempDir()
	least, real := filepath.Join(dir, "floor"), filepath.Join(dir, "real")
	installLinker(b, least, "./testdata/floor")
	installLinker(b, real, "xaltpipe/cmd/xalt-wrap")
	config := p.write("config.toml", "syshost = 'bench'\nsocket = '"+drained(b)+"'\n")
	p.env = append(p.env, "XALT_WRAP_CONFIG="+config, "HOME="+dir)
	p.write("a.c", hello)
	p.write("a.cc", "#include <iostream>\nint main() { std::cout << \"hello\" << std::endl; }\n")
	p.must("gcc", "-c", "a.c")
	p.must("g++", "-c", "a.cc", "-o", "acc.o")
	objects := p.objects(300)
	for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
		for _, c := range []struct {
			name, compiler string
			args           []string
		}{
			{"small", "gcc", []string{"a.o"}},
			{"small C++", "g++", []string{"acc.o"}},
			{"large", "gcc", objects},
		} {
			b.Run(ld+" "+c.name, func(b *testing.B) {
				args := append([]string{"-fuse-ld=" + ld, "-o", "out"}, c.args...)
				// Differences of links that were made one after the other: what
				// disturbs all three of a turn is in none of them.
				var plain, floor, added [2][]float64 // wall and processor time
				for b.Loop() {
					x := p.timed(b, c.compiler, args...)
					y := p.timed(b, c.compiler, append([]string{"-B" + least + "/"}, args...)...)
					z := p.timed(b, c.compiler, append([]string{"-B" + real + "/"}, args...)...)
					for i := range x {
						plain[i], floor[i], added[i] = append(plain[i], x[i]), append(floor[i], y[i]-x[i]), append(added[i], z[i]-x[i])
					}
					if c.name == "large" {
						time.Sleep(200 * time.Millisecond) // the side job hashes what was linked
					}
				}
				b.ReportMetric(0, "ns/op")
				for i, what := range [...]string{"ms", "cpu-ms"} {
					x, y, z := median(plain[i]), median(floor[i]), median(added[i])
					b.ReportMetric(x, "plain-"+what)
					b.ReportMetric(y, "floor-"+what)
					b.ReportMetric(z, "added-"+what)
					b.ReportMetric(100*z/x, strings.TrimSuffix("added-"+what, "ms")+"%")
				}
			})
		}
	}
}

// BenchmarkLinkAlone measures what the wrapper takes beside a large link: the linker
// is testdata/replay, which takes no time, with the wrapper before it and without, in
// turn. It reports that as a share of what such a link takes the real linker: the large
// one of [BenchmarkLink], and one of four times as many objects. What the watermark adds to the linker's own work is not in it.
func BenchmarkLinkAlone(b *testing.B) {
	p := newPlace(b)
	dir := b.TempDir()
	wrapper, replay := filepath.Join(dir, "wrapper"), filepath.Join(dir, "replay")
	installLinker(b, wrapper, "xaltpipe/cmd/xalt-wrap")
	installLinker(b, replay, "./testdata/replay")
	config := p.write("config.toml", "syshost = 'bench'\nsocket = '"+drained(b)+"'\n")
	p.env = append(p.env, "XALT_WRAP_CONFIG="+config, "HOME="+dir, "REPLAY="+filepath.Join(dir, "made"))
	p.write("a.c", hello)
	p.must("gcc", "-c", "a.c")
	objects := p.objects(1200)
	for _, c := range []struct {
		ld    string
		count int
	}{{"bfd", 300}, {"gold", 300}, {"lld", 300}, {"mold", 300}, {"bfd", 1200}, {"gold", 1200}, {"lld", 1200}, {"mold", 1200}} {
		b.Run(fmt.Sprintf("%s %d", c.ld, c.count), func(b *testing.B) {
			args := append([]string{"-fuse-ld=" + c.ld, "-o", "out", "a.o"}, objects[:c.count]...)
			if err := os.RemoveAll(filepath.Join(dir, "made")); err != nil { // it is another link
				b.Fatal(err)
			}
			var plain []float64
			for range 5 {
				plain = append(plain, p.timed(b, "gcc", args...)[0])
			}
			replayed := append([]string{"-B" + replay + "/"}, args...)
			wrapped := append([]string{"-B" + wrapper + "/"}, replayed...)
			p.timed(b, "gcc", wrapped...) // it is linked
			var added []float64
			for b.Loop() {
				without := p.timed(b, "gcc", replayed...)
				added = append(added, p.timed(b, "gcc", wrapped...)[0]-without[0])
				time.Sleep(200 * time.Millisecond) // the side job hashes what was linked
			}
			x, y := median(plain), median(added)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(x, "plain-ms")
			b.ReportMetric(y, "added-ms")
			b.ReportMetric(100*y/x, "added-%")
		})
	}
}

// installLinker builds a program and puts it into a directory by the names of
// linkers, as a copy: see BenchmarkLaunch.
func installLinker(b *testing.B, dir, what string) {
	b.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	made := filepath.Join(dir, "made")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", made, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(made)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ld"), text, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, name := range linkers[1:] {
		if err := os.Symlink("ld", filepath.Join(dir, name)); err != nil {
			b.Fatal(err)
		}
	}
}

// drained returns a socket from which somebody reads, as from /dev/log.
func drained(b *testing.B) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
		}
	}()
	b.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return name
}

// timed returns the milliseconds that a command took, and those of the processor
// that it and what it waited for used.
func (p *place) timed(b *testing.B, name string, args ...string) [2]float64 {
	b.Helper()
	cmd := p.command(name, args...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return [2]float64{float64(took.Microseconds()) / 1000, float64(used.Microseconds()) / 1000}
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// objects makes many objects from one by renaming its symbols.
func (p *place) objects(count int) (names []string) {
	p.t.Helper()
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "struct s%d { int a, b[%d]; }; int f%d(struct s%d *p, int n) { int i; for (i = 0; i < n; i++) p->b[i] += p->a; return p->a; }\n", i, i+1, i, i)
	}
	p.write("many.c", b.String())
	p.must("gcc", "-g", "-O1", "-ffunction-sections", "-c", "many.c")
	for i := range count {
		name := fmt.Sprintf("many%d.o", i)
		p.must("objcopy", fmt.Sprintf("--prefix-symbols=p%d_", i), "many.o", name)
		names = append(names, name)
	}
	return append(names, "a.o")
}
