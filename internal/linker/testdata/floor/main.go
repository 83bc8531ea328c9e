// Command floor stands in the linker's place and does nothing but run it: what
// that takes is the least that any wrapper written in Go adds to a link.
package main

import (
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	pid, err := syscall.ForkExec(filepath.Join("/usr/bin", filepath.Base(os.Args[0])), os.Args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		os.Exit(127)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		os.Exit(127)
	}
	os.Exit(status.ExitStatus())
}
