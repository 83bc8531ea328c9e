package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// sideJobEnds is longer than a side job lives on after its program.
const sideJobEnds = 30 * time.Millisecond

// install copies a program.
func install(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// BenchmarkLaunch measures what the wrapper adds to a program that does
// nothing and to one that runs for 20 milliseconds, which hides the side job,
// and compares with the least that a wrapper in Go can add: one that starts the
// program, waits, and ends. All take turns, so that what else runs on the
// machine hurts all; the medians of the differences of each pair are reported.
// The side job of one turn ends before the next begins. Both wrappers are
// copies, as an installed program is: the linker writes a file page by page, and
// the kernel keeps, and maps, what is written in one go in larger pieces, which
// takes half a millisecond less. "start" is the wrapper alone, with its size and
// memory.
func BenchmarkLaunch(b *testing.B) {
	dir := b.TempDir()
	config := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(config, []byte("transport = 'none'\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	floor := filepath.Join(dir, "floor")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", floor, "xaltpipe/internal/linker/testdata/floor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	wrapper := filepath.Join(dir, "bin", "xalt-wrap")
	for from, to := range map[string]string{floor: floor + "-copy", wrapBinary(): wrapper} {
		if err := install(from, to); err != nil {
			b.Fatal(err)
		}
	}
	floor += "-copy"
	env := append(os.Environ(), "XALT_WRAP_CONFIG="+config)
	run := func(env []string, args ...string) (time.Duration, *os.ProcessState) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = env
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start), cmd.ProcessState
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2]) / float64(time.Millisecond)
	}
	for _, tt := range []struct {
		name    string
		command []string
		env     []string
	}{
		{"true", []string{"/bin/true"}, env},
		{"sleep", []string{"/bin/sleep", "0.02"}, env},
		// What Go's runtime does on a node of 256 processors.
		{"true-256", []string{"/bin/true"}, append(slices.Clip(env), "GOMAXPROCS=256")},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var bare, least, added []time.Duration
			for b.Loop() {
				without, _ := run(tt.env, tt.command...)
				low, _ := run(tt.env, append([]string{floor}, tt.command...)...)
				with, _ := run(tt.env, append([]string{wrapper, "--"}, tt.command...)...)
				time.Sleep(sideJobEnds)
				bare, least, added = append(bare, without), append(least, low-without), append(added, with-without)
			}
			x, y := median(least), median(added)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(bare), "bare-ms")
			b.ReportMetric(x, "floor-ms")
			b.ReportMetric(y, "added-ms")
			b.ReportMetric(y/x, "x-floor")
		})
	}
	b.Run("start", func(b *testing.B) {
		var took []time.Duration
		var memory int64
		for b.Loop() {
			d, state := run(env, wrapper, "--version")
			took = append(took, d)
			if u, ok := state.SysUsage().(*syscall.Rusage); ok {
				memory = max(memory, u.Maxrss)
			}
		}
		info, err := os.Stat(wrapBinary())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(took), "ms")
		b.ReportMetric(float64(memory)/1024, "resident-MB")
		b.ReportMetric(float64(info.Size())/(1<<20), "binary-MB")
	})
}
