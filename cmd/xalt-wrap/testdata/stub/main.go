// Command stub stands in tests for launchers that cannot be installed: it
// writes its arguments, and behind an empty line its environment, to the file
// that STUB_OUT names, each with a NUL behind it, and ends with status 7.
package main

import (
	"os"
	"strings"
)

func main() {
	text := strings.Join(os.Args, "\x00") + "\x00\n\n" + strings.Join(os.Environ(), "\x00") + "\x00"
	if err := os.WriteFile(os.Getenv("STUB_OUT"), []byte(text), 0o600); err != nil {
		os.Exit(1)
	}
	os.Exit(7)
}
