// Command replay stands for a linker that takes no time: what it is called for a
// first time the system's linker of its name does, and the same again is taken
// from what that has made, in $REPLAY. Benchmarks find out with it what a wrapper
// takes beside a link that takes long.
package main

import (
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	base := filepath.Base(os.Args[0])
	real := "/usr/bin/" + base
	output, told := "", "" // told is where the linker says what it read
	for i, arg := range os.Args {
		if arg == "-o" && i+1 < len(os.Args) {
			output = os.Args[i+1]
		}
		for _, option := range []string{"--dependency-file=", "--print-symbol-counts=", "-Map="} {
			if value, ok := strings.CutPrefix(arg, option); ok {
				told = value
			}
		}
	}
	if output == "" {
		log.Fatal(syscall.Exec(real, os.Args, os.Environ()))
	}
	dir := filepath.Join(os.Getenv("REPLAY"), base)
	if _, err := os.Stat(filepath.Join(dir, "output")); err != nil {
		record(dir, real, output, told)
		return
	}
	_ = os.Remove(output)
	if err := os.Link(filepath.Join(dir, "output"), output); err != nil {
		log.Fatal(err)
	}
	if told != "" {
		transfer(filepath.Join(dir, "told"), told)
	}
}

// record links, and keeps what comes of it.
func record(dir, real, output, told string) {
	cmd := exec.Command(real, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		log.Fatal(err)
	}
	if told != "" {
		transfer(told, filepath.Join(dir, "told"))
	}
	if err := os.Link(output, filepath.Join(dir, "output")); err != nil {
		log.Fatal(err)
	}
}

func transfer(from, to string) {
	in, err := os.Open(from)
	if err != nil {
		log.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		log.Fatal(err)
	}
	if err := out.Close(); err != nil {
		log.Fatal(err)
	}
}
