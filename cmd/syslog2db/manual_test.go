package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestManual compares the manual page with the flags of every sub-command.
func TestManual(t *testing.T) {
	manual := readManual(t, "../../docs/man/syslog2db.1")
	names := append(slices.Collect(maps.Keys(commands())), "Reading")
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			section, ok := manual[name]
			if !ok {
				t.Fatalf("the manual has no sub-section %s", name)
			}
			documented := slices.Clone(section.flags)
			for _, group := range section.groups {
				documented = append(documented, manual[group].flags...)
			}
			slices.Sort(documented)
			if diff := cmp.Diff(flagsOf(t, name), documented); diff != "" {
				t.Errorf("flags (-program +manual):\n%s", diff)
			}
		})
	}
}

type manualSection struct {
	flags  []string
	groups []string // sub-sections whose flags belong to it too
}

var (
	flagItem  = regexp.MustCompile(`^\.It (?:Fl \w , )?Fl -(\S+)`)
	helpLine  = regexp.MustCompile(`^\s+(?:-\w, )?--(\S+)`)
	reference = regexp.MustCompile(`^\.Sx (\w+ flags)`)
)

func readManual(t *testing.T, file string) map[string]manualSection {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]manualSection)
	name := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if heading, ok := strings.CutPrefix(line, ".Ss "); ok {
			name = heading
			sections[name] = manualSection{}
		} else if strings.HasPrefix(line, ".Sh ") {
			name = ""
		}
		s := sections[name]
		if m := flagItem.FindStringSubmatch(line); m != nil {
			s.flags = append(s.flags, m[1])
		} else if m := reference.FindStringSubmatch(line); m != nil {
			s.groups = append(s.groups, m[1])
		}
		if name != "" {
			sections[name] = s
		}
	}
	return sections
}

// flagsOf returns the long flags that a sub-command's help lists.
func flagsOf(t *testing.T, name string) []string {
	t.Helper()
	args := []string{name, "--help"}
	if name == "Reading" {
		args = args[1:]
	}
	var stdout bytes.Buffer
	_ = run(t.Context(), args, strings.NewReader(""), &stdout, io.Discard) // help is an error to pflag
	var list []string
	for line := range strings.Lines(stdout.String()) {
		if m := helpLine.FindStringSubmatch(line); m != nil {
			list = append(list, m[1])
		}
	}
	if stdout.Len() == 0 {
		t.Fatalf("%s --help prints nothing", name)
	}
	slices.Sort(list)
	return list
}
