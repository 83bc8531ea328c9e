package rmap_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/rmap"
)

// BenchmarkUpdate is one run over a directory with 8 inputs of 100,000
// entries, half of them common to all: into an empty directory, and again.
func BenchmarkUpdate(b *testing.B) {
	var sources []rmap.Source
	for i := range 8 {
		sources = append(sources, text(fmt.Sprint(i), site(100_000, strings.Repeat("e", i+1), 0.5, false)))
	}
	run := func(b *testing.B, dir string) {
		b.Helper()
		u := &rmap.Update{Dir: dir, Sources: sources, MaxShrink: 10, Now: now, Wait: time.Minute, Parallel: 2}
		if rep, err := u.Run(b.Context()); err != nil || rep.Refused != "" {
			b.Fatal(rep.Refused, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			run(b, b.TempDir())
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		b.ReportAllocs()
		dir := b.TempDir()
		run(b, dir)
		for b.Loop() {
			run(b, dir)
		}
	})
}
