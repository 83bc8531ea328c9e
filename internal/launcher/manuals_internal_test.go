package launcher

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// helpLine is an option of GNU's and Slurm's help: "-n, --ntasks=number",
// "--immediate[=secs]", "-c, --class <class>".
var helpLine = regexp.MustCompile(`^\s{1,2}(-\w)?(?:(?:,\s*|\s{1,5})(--[a-zA-Z][\w-]*))?(\[?=|\s<)?`)

// hydraLine is one of Hydra's: "-n/-np {value}".
var hydraLine = regexp.MustCompile(`^\s{4}(-[\w-]+(?:/-[\w-]+)*)(?:\s(\{\w+\}(?:\s\{\w+\})?))?`)

// openLine is one of Open MPI's: "-c|-np|--np <arg0>  Number of processes".
var openLine = regexp.MustCompile(`^\s*(-[\w-]+(?:\|-[\w-]+)*)((?:\s<arg\d>)*)\s`)

// TestManuals compares the tables with what the launchers and tools that are
// installed say of themselves: each option is known, and takes as many words.
func TestManuals(t *testing.T) {
	config := filepath.Join(t.TempDir(), "slurm.conf")
	if err := os.WriteFile(config, []byte("ClusterName=test\nSlurmctldHost=localhost\nNodeName=localhost CPUs=2\nPartitionName=p Nodes=localhost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tool, table string
		args        []string
		line        *regexp.Regexp
		least       int
		// but are options whose help says less than the manual, or which another
		// version takes otherwise.
		but string
	}{
		{"srun", "srun", []string{"--help"}, helpLine, 100, " --container --bcast "},
		{"mpiexec.hydra", "hydra", []string{"--help"}, hydraLine, 40, ""},
		{"orterun", "openmpi", []string{"--help", "full"}, openLine, 60, " -dvm --dvm "},
		{"env", "env", []string{"--help"}, helpLine, 10, ""},
		{"nice", "nice", []string{"--help"}, helpLine, 3, ""},
		{"timeout", "timeout", []string{"--help"}, helpLine, 6, ""},
		{"stdbuf", "stdbuf", []string{"--help"}, helpLine, 5, ""},
		{"nohup", "nohup", []string{"--help"}, helpLine, 2, ""},
		{"taskset", "taskset", []string{"--help"}, helpLine, 4, ""},
		{"chrt", "chrt", []string{"--help"}, helpLine, 14, ""},
		{"ionice", "ionice", []string{"--help"}, helpLine, 7, ""},
		{"setsid", "setsid", []string{"--help"}, helpLine, 4, ""},
	} {
		t.Run(tt.tool, func(t *testing.T) {
			path, err := exec.LookPath(tt.tool)
			if err != nil {
				if os.Getenv("REQUIRE_TOOLS") == "1" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			cmd := exec.Command(path, tt.args...)
			cmd.Env = append(os.Environ(), "LC_ALL=C", "SLURM_CONF="+config, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
			help, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, help)
			}
			table := loadTable(tt.table)
			seen := 0
			for line := range strings.Lines(string(help)) {
				m := tt.line.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				names, words := optionsOf(tt.line, m)
				for _, name := range names {
					seen++
					if strings.Contains(tt.but, " "+name+" ") {
						continue
					}
					o, ok := table.opts[name]
					if !ok && table.dashes {
						o, ok = table.opts[strings.TrimPrefix(name, "-")]
					}
					if !ok {
						t.Errorf("%s is not in the table: %s", name, line)
					} else if words != "" && !strings.ContainsRune(words, rune(o.form)) && o.meaning != "stop" {
						t.Errorf("%s has the form %c, want one of %q: %s", name, o.form, words, line)
					}
				}
			}
			if seen < tt.least {
				t.Errorf("%d options in the help, want %d:\n%s", seen, tt.least, help)
			}
		})
	}
}

// optionsOf returns the names in a line of help, and the forms that they can
// have, "" if it does not say.
func optionsOf(kind *regexp.Regexp, m []string) (names []string, forms string) {
	if kind == helpLine {
		for _, name := range m[1:3] {
			if name != "" {
				names = append(names, name)
			}
		}
		switch m[3] {
		case "":
			return names, ".?"
		case "[=":
			return names, "?"
		}
		return names, "="
	}
	if kind == openLine {
		for name := range strings.SplitSeq(m[1], "|") {
			names = append(names, name)
		}
		return names, []string{".", "=", "2"}[strings.Count(m[2], "<")]
	}
	for name := range strings.SplitSeq(m[1], "/") {
		names = append(names, name)
	}
	switch strings.Count(m[2], "{") {
	case 0:
		return names, "" // most take a value, which the help does not show
	case 1:
		return names, "="
	}
	return names, "2e"
}
