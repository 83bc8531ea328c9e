package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/emit"
)

const manualFile = "../../docs/man/xalt-wrap.1"

// section returns the lines of the manual from a heading to the next.
func section(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(manualFile)
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("the manual has no %s", heading)
	}
	var lines []string
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, ".Sh ") || strings.HasPrefix(heading, ".Ss ") && strings.HasPrefix(line, ".Ss ") {
			break
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// TestManual compares the manual page with the flags of every command.
func TestManual(t *testing.T) {
	item, help := regexp.MustCompile(`^\.It Fl -(\S+)`), regexp.MustCompile(`^\s+(?:-\w, )?--(\S+)`)
	for _, command := range append(slices.Collect(maps.Keys(commands())), "Running") {
		t.Run(command, func(t *testing.T) {
			args := []string{command, "--help"}
			if command == "Running" {
				args = args[1:]
			}
			var stdout bytes.Buffer
			_ = top(t.Context(), args, strings.NewReader(""), &stdout, io.Discard) // help is an error to pflag
			if stdout.Len() == 0 {
				t.Fatal("there is no help")
			}
			var has, documented []string
			for line := range strings.Lines(stdout.String()) {
				if m := help.FindStringSubmatch(line); m != nil {
					has = append(has, m[1])
				}
			}
			for _, line := range section(t, ".Ss "+command) {
				if m := item.FindStringSubmatch(line); m != nil {
					documented = append(documented, m[1])
				}
			}
			slices.Sort(has)
			slices.Sort(documented)
			if diff := cmp.Diff(has, documented); diff != "" {
				t.Errorf("flags (-program +manual):\n%s", diff)
			}
		})
	}
}

// TestManualConfiguration compares it with the keys of the configuration.
func TestManualConfiguration(t *testing.T) {
	var has, documented []string
	for field := range reflect.TypeFor[emit.Config]().Fields() {
		has = append(has, field.Tag.Get("toml"))
	}
	for _, line := range section(t, ".Sh CONFIGURATION") {
		if names, ok := strings.CutPrefix(line, ".It Li "); ok && !strings.HasPrefix(names, "syslog") && !strings.HasPrefix(names, "udp") {
			for name := range strings.SplitSeq(names, " , ") {
				documented = append(documented, strings.Trim(name, "[]"))
			}
		}
	}
	documented = slices.DeleteFunc(documented, func(s string) bool { return s == "file" || s == "stdout" || s == "none" })
	slices.Sort(has)
	slices.Sort(documented)
	if diff := cmp.Diff(has, documented); diff != "" {
		t.Errorf("keys (-program +manual):\n%s", diff)
	}
}
