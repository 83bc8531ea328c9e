package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestLimitMemory wants the limit to leave room above what is in use, however
// much that is: below it, the collector would be at work all the time.
func TestLimitMemory(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer debug.SetMemoryLimit(math.MaxInt64)
	limitMemory()
	if got := debug.SetMemoryLimit(-1); got != leastMemory {
		t.Errorf("at first the limit is %d, want %d", got, leastMemory)
	}
	useServer()
	if got := debug.SetMemoryLimit(-1); got != serverMemory {
		t.Errorf("with a server the limit is %d, want %d", got, serverMemory)
	}
	wait := func(what string, ok func(limit int64) bool) {
		t.Helper()
		var limit int64
		for range 200 {
			runtime.GC()
			if limit = debug.SetMemoryLimit(-1); ok(limit) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("%s the limit is %d", what, limit)
	}
	const much = 200 << 20
	maps := make([]byte, much)
	wait("with much in use", func(limit int64) bool { return limit >= much*3/2 })
	runtime.KeepAlive(maps)
	wait("with little in use again", func(limit int64) bool { return limit < much })
}

func TestLimitProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, tt := range []struct {
		set       string
		now, want int
	}{{"", 256, mostProcessors}, {"", 2, 2}, {"", mostProcessors, mostProcessors}, {"256", 256, 256}} {
		t.Setenv("GOMAXPROCS", tt.set)
		runtime.GOMAXPROCS(tt.now)
		limitProcessors()
		if got := runtime.GOMAXPROCS(0); got != tt.want {
			t.Errorf("GOMAXPROCS=%s on %d processors: %d, want %d", tt.set, tt.now, got, tt.want)
		}
	}
}
