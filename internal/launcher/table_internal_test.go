package launcher

import (
	"slices"
	"strings"
	"testing"
)

// TestOptions reads options.txt more strictly than the package does.
func TestOptions(t *testing.T) {
	styles := strings.Fields("launcher getopt dashes abbrev colon inherit one strict fill apart bare numeric assign hosts ranks first last after plain aside image optioned own bring")
	meanings := strings.Fields("tasks nodes threads gpus pernode gpupernode gpupertask sets perset cpuset gpuset sethost gres tres map onepernode bynode env envs dir hosts nodelist hostfile ranksfile appfile configfile erf many split rest aside stop")
	tables := make(map[string]bool)
	var options map[string]bool
	var style []string
	table := ""
	for i, line := range strings.Split(optionsText, "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0][0] == '#':
		case line[0] == '[':
			head, rest, ok := strings.Cut(line[1:], "]")
			if !ok {
				t.Fatalf("line %d: no end of the names", i+1)
			}
			for n := range strings.SplitSeq(head, " ") {
				if tables[n] || n == "" {
					t.Errorf("line %d: a second table %q", i+1, n)
				}
				tables[n] = true
			}
			table, style, options = head, strings.Fields(rest), make(map[string]bool)
			for _, s := range style {
				if key, _, ok := strings.Cut(s, "="); !slices.Contains(styles, s) && (!ok || key != "word" && key != "sub") {
					t.Errorf("line %d: no such style: %q", i+1, s)
				}
			}
			if slices.Contains(style, "getopt") == slices.Contains(style, "dashes") && !strings.Contains(rest, "sub=") {
				t.Errorf("line %d: %q is to be getopt or dashes", i+1, head)
			}
		case line[0] == '+':
			if len(fields) != 1 || len(options) > 0 {
				t.Errorf("line %d: what is taken over stands alone, and first", i+1)
			}
			if _, _, ok := section(fields[0][1:]); !ok {
				t.Errorf("line %d: no table %q", i+1, fields[0][1:])
			}
		case line[0] == '-':
			n := slices.IndexFunc(fields, func(f string) bool { return f[0] != '-' })
			if n < 0 {
				t.Errorf("line %d: no form", i+1)
				continue
			}
			if !slices.Contains([]string{".", "=", "?", "==", "e", "o"}, fields[n]) || len(fields) > n+2 {
				t.Errorf("line %d: form %q", i+1, fields[n:])
			}
			if len(fields) == n+2 && !slices.Contains(meanings, fields[n+1]) && !strings.HasPrefix(fields[n+1], "image=") {
				t.Errorf("line %d: no such meaning: %q", i+1, fields[n+1])
			}
			for _, o := range fields[:n] {
				if options[o] {
					t.Errorf("line %d: %q has a second %q", i+1, table, o)
				}
				options[o] = true
				if slices.Contains(style, "dashes") && strings.HasPrefix(o, "--") {
					t.Errorf("line %d: %q has one dash in a table of dashes", i+1, o)
				}
				if slices.Contains(style, "getopt") && len(o) > 2 && o[1] != '-' && !slices.Contains([]string{"aprun", "srun"}, table) && fields[n] == "=" {
					t.Errorf("line %d: %q: a long option with one dash in a table of getopt", i+1, o)
				}
			}
		default:
			t.Errorf("line %d: %q", i+1, line)
		}
	}
	// Each command of a tool with commands has a table.
	for n := range tables {
		tab := loadTable(n)
		if tab == nil {
			t.Errorf("no table %q", n)
			continue
		}
		for s := range strings.SplitSeq(tab.value("sub"), ",") {
			if s == "" {
				continue
			}
			if base, _, ok := strings.Cut(n, "/"); ok && s == base {
				continue
			}
			if sub := loadTable(n + "/" + s); sub == nil && !missing[n+"/"+s] {
				t.Errorf("%q has no table for %q", n, s)
			}
		}
	}
}

// missing are commands that only one of several programs of a table has.
var missing = map[string]bool{"podman/shared-run": true, "docker/shared-run": true, "nerdctl/shared-run": true}

func TestSplitWords(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string
		ok   bool
	}{
		{"", nil, true},
		{"  a  b\t", []string{"a", "b"}, true},
		{`'a b' "c d" e\ f`, []string{"a b", "c d", "e f"}, true},
		{`"a\"b\n" ''`, []string{`a"b\n`, ""}, true},
		{`a'b'"c"`, []string{"abc"}, true},
		{`'a`, nil, false},
		{`a\`, nil, false},
		{`${HOME}`, nil, false},
		{`'${HOME}' %t $x`, []string{"${HOME}", "%t", "$x"}, true},
	} {
		got, ok := splitWords(tt.line)
		if ok != tt.ok || ok && !slices.Equal(got, tt.want) {
			t.Errorf("splitWords(%q) = %q, %t, want %q, %t", tt.line, got, ok, tt.want, tt.ok)
		}
	}
}
