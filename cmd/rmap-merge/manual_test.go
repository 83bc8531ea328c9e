package main

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestManual compares the manual page with the flags of every sub-command.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/man/rmap-merge.1")
	if err != nil {
		t.Fatal(err)
	}
	item := regexp.MustCompile(`^\.It (?:Fl \w , )?Fl -(\S+)`)
	manual := make(map[string][]string)
	name := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, ".Ss "); ok {
			name = heading
		} else if strings.HasPrefix(line, ".Sh ") {
			name = ""
		}
		if m := item.FindStringSubmatch(line); m != nil {
			manual[name] = append(manual[name], m[1])
		}
	}
	help := regexp.MustCompile(`^\s+(?:-\w, )?--(\S+)`)
	for _, name := range []string{"merge", "check", "lookup", "diff", "conflicts", "completion"} {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			if err := run(t.Context(), []string{name, "--help"}, strings.NewReader(""), &stdout, io.Discard); err != nil {
				t.Fatal(err)
			}
			var flags []string
			for line := range strings.Lines(stdout.String()) {
				if m := help.FindStringSubmatch(line); m != nil {
					flags = append(flags, m[1])
				}
			}
			slices.Sort(flags)
			slices.Sort(manual[name])
			if diff := cmp.Diff(flags, manual[name]); diff != "" {
				t.Errorf("flags (-program +manual):\n%s", diff)
			}
		})
	}
}
