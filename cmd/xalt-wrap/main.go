// How many processors a control group leaves does not matter to a process
// that only waits, and finding out takes time at each start.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command xalt-wrap stands in front of launchers, runs them so that nobody
// notices, and emits XALT records of what ran.
package main

import (
	"os"

	"xaltpipe/internal/standin"
)

func main() { os.Exit(run(os.Args, standin.Environ(), os.Stdout, os.Stderr)) }
