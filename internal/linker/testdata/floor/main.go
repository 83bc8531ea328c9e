// Command floor is the least that a wrapper in Go can be: it runs a program,
// waits, and ends in the same way. Benchmarks compare with it. Called by a
// linker's name it runs the system's, otherwise the program that its first
// argument names.
package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	args := os.Args[1:]
	program := ""
	if name := filepath.Base(os.Args[0]); strings.HasPrefix(name, "ld") {
		args, program = os.Args, "/usr/bin/"+name
	} else if len(args) > 0 {
		program = args[0]
	}
	pid, err := syscall.ForkExec(program, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		os.Exit(126)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		os.Exit(126)
	}
	os.Exit(status.ExitStatus())
}
