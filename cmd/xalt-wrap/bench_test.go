package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkLaunch measures what the wrapper adds to a program that does
// nothing and to one that runs for 20 milliseconds, which hides the side job,
// and compares with the least that a wrapper in Go can add: one that starts the
// program, waits, and ends. All take turns, so that what else runs on the
// machine hurts all; the medians of the differences of each pair are reported.
// "start" is the wrapper alone, with its size and memory.
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
	env := append(os.Environ(), "XALT_WRAP_CONFIG="+config)
	run := func(args ...string) (time.Duration, *os.ProcessState) {
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
	for _, command := range [][]string{{"/bin/true"}, {"/bin/sleep", "0.02"}} {
		b.Run(fmt.Sprint(command), func(b *testing.B) {
			var bare, least, added []time.Duration
			for b.Loop() {
				without, _ := run(command...)
				low, _ := run(append([]string{floor}, command...)...)
				with, _ := run(append([]string{wrapBinary(), "--"}, command...)...)
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
			d, state := run(wrapBinary(), "--version")
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
