package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// BenchmarkLaunch measures what the wrapper adds to a program that does
// nothing and to one that runs for 20 milliseconds, which hides the side job.
// Bare and wrapped take turns, so that what else runs on the machine hurts both;
// the median of the difference of each pair is reported.
func BenchmarkLaunch(b *testing.B) {
	config := b.TempDir() + "/c.toml"
	if err := os.WriteFile(config, []byte("transport = 'none'\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	env := append(os.Environ(), "XALT_WRAP_CONFIG="+config)
	run := func(args ...string) time.Duration {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = env
		start := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	for _, command := range [][]string{{"/bin/true"}, {"/bin/sleep", "0.02"}} {
		b.Run(fmt.Sprint(command), func(b *testing.B) {
			var bare, added []time.Duration
			for b.Loop() {
				without := run(command...)
				with := run(append([]string{wrapBinary(), "--"}, command...)...)
				bare, added = append(bare, without), append(added, with-without)
			}
			median := func(d []time.Duration) float64 {
				slices.Sort(d)
				return float64(d[len(d)/2]) / float64(time.Millisecond)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(bare), "bare-ms")
			b.ReportMetric(median(added), "added-ms")
		})
	}
	b.Run("start", func(b *testing.B) {
		for b.Loop() {
			run(wrapBinary(), "--version")
		}
	})
}
