// Command xalt-wrap stands in front of launchers, runs them so that nobody
// notices, and emits XALT records of what ran.
package main

import "os"

func main() { os.Exit(run(os.Args, os.Environ(), os.Stdout, os.Stderr)) }
