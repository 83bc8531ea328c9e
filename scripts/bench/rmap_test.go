package bench_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pythonMerge merges maps the way a script of some lines does, without any
// rule: the last one wins.
const pythonMerge = `
import json, sys
table = {}
for name in sys.argv[2:]:
    with open(name) as f:
        table.update(json.load(f)["reverseMapT"])
with open(sys.argv[1], "w") as f:
    json.dump({"reverseMapT": table}, f, sort_keys=True, indent=1)
`

// spiderMap writes a map of n directories as spider does, in no order and half of
// them common to all PrgEnvs of the site.
func spiderMap(n int, env string) []byte {
	rng := rand.New(rand.NewPCG(1, uint64(len(env))))
	var b bytes.Buffer
	b.WriteString(`{"reverseMapT":{`)
	for at, i := range rng.Perm(n) {
		tree := "common"
		if i >= n/2 {
			tree = env
		}
		pkg, version := fmt.Sprintf("package%d", i/6), fmt.Sprintf("%d.%d.%d", i/3%7, i/3%13, i/3%5)
		if at > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"\/opt\/software\/%s\/gcc-12.2.0\/%s\/%s\/%s":{"pkg":"%s\/%s","kind":"%s","flavor":["default:gcc\/12.2.0","default:gcc\/12.2.0:mpich\/4.%d"],"moduleFn":"\/opt\/modulefiles\/%s\/gcc\/12.2.0\/%s\/%s.lua"}`,
			tree, pkg, version, []string{"bin", "lib", "lib64"}[i%3], pkg, version, []string{"bin", "lib", "lib"}[i%3], rng.IntN(3), tree, pkg, version)
	}
	b.WriteString(`},"xlibmap":["liba.so","libb.a"],"timestampFn":false}`)
	return b.Bytes()
}

// measured runs a command and adds its processor time and largest memory.
func measured(b *testing.B, cpu *time.Duration, rss *int64, name string, args ...string) {
	b.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	var exit *exec.ExitError
	kB, err := runPeak(cmd)
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		b.Fatalf("%s: %v\n%s", name, err, stderr.String())
	}
	*cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	*rss = max(*rss, kB)
}

// BenchmarkReverseMaps merges 8 inputs of 100,000 entries by the command, into
// an empty directory and again, and beside it by a Python script, which reads
// and writes the same without deciding anything.
func BenchmarkReverseMaps(b *testing.B) {
	work := b.TempDir()
	command := filepath.Join(work, "rmap-merge")
	build := exec.Command("go", "build", "-o", command, "xaltpipe/cmd/rmap-merge")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build rmap-merge: %v\n%s", err, out)
	}
	var inputs []string
	for i := range 8 {
		name := filepath.Join(work, fmt.Sprintf("in%d.json", i))
		if err := os.WriteFile(name, spiderMap(100_000, strings.Repeat("e", i+1)), 0o600); err != nil {
			b.Fatal(err)
		}
		inputs = append(inputs, name)
	}
	report := func(b *testing.B, run func(round int, cpu *time.Duration, rss *int64)) {
		b.Helper()
		var cpu time.Duration
		var rss int64
		n := 0
		for b.Loop() {
			run(n, &cpu, &rss)
			n++
		}
		b.ReportMetric(cpu.Seconds()/float64(n), "cpu-s/op")
		b.ReportMetric(float64(rss)/1024, "MB")
	}
	merge := func(b *testing.B, dir string, cpu *time.Duration, rss *int64) {
		b.Helper()
		measured(b, cpu, rss, command, append([]string{"--config", os.DevNull, "-o", dir}, inputs...)...)
	}
	b.Run("first", func(b *testing.B) {
		report(b, func(round int, cpu *time.Duration, rss *int64) {
			dir := filepath.Join(work, fmt.Sprintf("maps%d", round))
			merge(b, dir, cpu, rss)
			if err := os.RemoveAll(dir); err != nil {
				b.Fatal(err)
			}
		})
	})
	b.Run("again", func(b *testing.B) {
		var cpu time.Duration
		var rss int64
		merge(b, filepath.Join(work, "maps"), &cpu, &rss)
		report(b, func(_ int, cpu *time.Duration, rss *int64) { merge(b, filepath.Join(work, "maps"), cpu, rss) })
	})
	b.Run("python", func(b *testing.B) {
		python, err := exec.LookPath("python3")
		if err != nil {
			b.Skip("no python3")
		}
		report(b, func(_ int, cpu *time.Duration, rss *int64) {
			measured(b, cpu, rss, python, append([]string{"-c", pythonMerge, filepath.Join(work, "python.json")}, inputs...)...)
		})
	})
}
