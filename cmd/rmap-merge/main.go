// Command rmap-merge makes one reverse map per machine from any number of
// outputs of Lmod's spider. See docs/man/rmap-merge.1.
package main

import (
	"os"

	"xaltpipe/internal/cli"
)

func main() { os.Exit(cli.Main("rmap-merge", run)) }
