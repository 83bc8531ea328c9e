package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// mostProcessors is on how many processors we are at work. No more than these
// have something to do, and with each of a node of 256 collecting the garbage of
// so little memory would take half as long again as everything else.
const mostProcessors = 8

// limitProcessors takes no more of them, unless GOMAXPROCS in the environment says
// otherwise.
func limitProcessors() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > mostProcessors {
		runtime.GOMAXPROCS(mostProcessors)
	}
}

// How many bytes the Go runtime may take before it collects garbage more often
// than memory alone would ask for. SQLite has memory of its own besides.
const (
	leastMemory  = 72 << 20
	serverMemory = 96 << 20 // with a database server
)

// least is the one that applies; 0 if the user's settings do.
var least atomic.Int64

// limitMemory lets garbage be collected rarely while there is little, and often
// enough that memory stays flat once there is more: up to half as much as is in
// use, which reverse maps of many libraries can make much. GOGC and GOMEMLIMIT in
// the environment leave it to the user.
func limitMemory() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetGCPercent(400)
	least.Store(leastMemory)
	debug.SetMemoryLimit(leastMemory)
	afterGC(leastMemory)
}

// useServer takes the memory that is there with a database server.
func useServer() {
	if least.CompareAndSwap(leastMemory, serverMemory) {
		debug.SetMemoryLimit(serverMemory)
	}
}

// afterGC sets the limit anew after each collection; limit is the last one.
func afterGC(limit int64) {
	type sentinel struct{ _ *int } // not among the tiny ones, which share their fate
	runtime.AddCleanup(&sentinel{}, func(limit int64) {
		used := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(used)
		const besides = 16 << 20 // stacks, and what the runtime needs itself
		next := max(least.Load(), int64(used[0].Value.Uint64())*3/2+besides)
		if next != limit {
			debug.SetMemoryLimit(next)
		}
		afterGC(next)
	}, limit)
}
