package launcher_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/launcher"
)

// A command is one case of testdata/commands.txt.
type command struct {
	line    int
	env     map[string]string // nil: Fill is not called
	flavour launcher.Flavour
	words   []string
	want    string
}

func commands(t testing.TB) []command {
	t.Helper()
	text, err := os.ReadFile("testdata/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []command
	var env map[string]string
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
		case line[0] == '\t':
			if len(all) == 0 {
				t.Fatalf("line %d: an answer without a command line", i+1)
			}
			all[len(all)-1].want += line[1:] + "\n"
		case strings.HasPrefix(line, "with "):
			env = make(map[string]string)
			for _, w := range unquoted(t, i+1, line[5:]) {
				name, value, _ := strings.Cut(w, "=")
				env[name] = value
			}
		default:
			c := command{line: i + 1, env: env}
			env = nil
			if rest, ok := strings.CutPrefix(line, "["); ok {
				f, after, _ := strings.Cut(rest, "] ")
				c.flavour, line = launcher.Flavour(f), after
			}
			c.words = unquoted(t, i+1, line)
			all = append(all, c)
		}
	}
	return all
}

// unquoted splits a line at blanks; what is in double quotes is a Go string.
func unquoted(t testing.TB, line int, s string) []string {
	t.Helper()
	var words []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		var word string
		for s != "" && s[0] != ' ' {
			if s[0] != '"' {
				word, s = word+s[:1], s[1:]
				continue
			}
			q, err := strconv.QuotedPrefix(s)
			if err != nil {
				t.Fatalf("line %d: %v", line, err)
			}
			u, err := strconv.Unquote(q)
			if err != nil {
				t.Fatalf("line %d: %v", line, err)
			}
			word, s = word+u, s[len(q):]
		}
		words = append(words, word)
	}
	return words
}

func quoted(w string) string {
	if w == "" || strings.ContainsAny(w, " \"#") || strconv.Quote(w) != `"`+w+`"` {
		return strconv.Quote(w)
	}
	return w
}

// files reads from testdata/files, as if it were the working directory.
func files(name string, limit int) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join("testdata/files", filepath.Base(name)))
	if len(text) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", name, limit)
	}
	return text, err
}

// show prints a job as testdata/commands.txt states it.
func show(j launcher.Job) string {
	var b strings.Builder
	number := func(name string, c launcher.Count) {
		if c.Known {
			fmt.Fprintf(&b, " %s %d", name, c.N)
		} else if c.N != 0 {
			fmt.Fprintf(&b, " %s UNKNOWN BUT %d", name, c.N)
		}
	}
	if j.Doubt != "" {
		fmt.Fprintf(&b, "doubt %s\n", j.Doubt)
	}
	if !j.Launches {
		b.WriteString("nothing\n")
	}
	for _, p := range j.Programs {
		if p.Path == "" {
			b.WriteByte('?')
		} else {
			b.WriteString(quoted(p.Path))
		}
		for _, a := range p.Args {
			b.WriteString(" " + quoted(a))
		}
		b.WriteString(" |")
		number("tasks", p.Tasks)
		number("nodes", p.Nodes)
		number("threads", p.Threads)
		number("gpus", p.GPUs)
		if p.Dir != "" {
			b.WriteString(" dir " + p.Dir)
		}
		if p.Container != "" {
			b.WriteString(" in " + p.Container + " " + p.Image)
		}
		if len(p.Through) > 0 {
			b.WriteString(" via " + strings.Join(p.Through, ","))
		}
		b.WriteByte('\n')
	}
	if len(j.Programs) > 1 {
		b.WriteString("job |")
		number("tasks", j.Tasks)
		number("nodes", j.Nodes)
		number("threads", j.Threads)
		number("gpus", j.GPUs)
		b.WriteByte('\n')
	}
	if j.StepsAside != "" {
		b.WriteString("aside " + j.StepsAside + "\n")
	}
	return strings.ReplaceAll(b.String(), " |\n", "\n")
}

func TestCommands(t *testing.T) {
	all := commands(t)
	for _, c := range all {
		t.Run(fmt.Sprintf("line%d", c.line), func(t *testing.T) {
			host := launcher.Host{ReadFile: files, Getenv: func(n string) string { return c.env[n] }}
			j := launcher.Parse(c.words[0], c.words[1:], c.flavour, host)
			if c.env != nil {
				j.Fill(host)
			}
			got, want := show(j), strings.ReplaceAll(c.want, " |\n", "\n")
			if d, ok := strings.CutPrefix(want, "doubt "); ok && j.Doubt != "" {
				if len(j.Programs) != 0 || !strings.Contains(j.Doubt, strings.TrimSpace(d)) {
					t.Errorf("Parse(%q) = %s, want a doubt about %s", c.words, got, d)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Parse(%q), -want +got:\n%s", c.words, d)
			}
			if len(j.Programs) == 1 {
				if p := j.Programs[0]; p.Tasks != j.Tasks || p.Nodes != j.Nodes || p.Threads != j.Threads || p.GPUs != j.GPUs {
					t.Errorf("Parse(%q): the job's numbers are not its only program's: %+v", c.words, j)
				}
			}
			check(t, c.words[1:], j)
		})
	}
	if len(all) < 200 {
		t.Errorf("%d command lines, want 200 or more", len(all))
	}
}

// check tells whether what holds for each job holds for this.
func check(t *testing.T, args []string, j launcher.Job) {
	t.Helper()
	if j.Doubt != "" && (len(j.Programs) > 0 || j.Tasks.Known || j.Nodes.Known) {
		t.Errorf("%q: a doubt, and yet an answer: %+v", args, j)
	}
	for _, p := range j.Programs {
		for _, c := range []launcher.Count{p.Tasks, p.Nodes, p.Threads, p.GPUs, j.Tasks, j.Nodes, j.Threads, j.GPUs} {
			if c.N < 0 || !c.Known && c.N != 0 {
				t.Errorf("%q: a number that cannot be: %+v", args, j)
			}
		}
		if p.Index < 0 {
			continue
		}
		if p.Index >= len(args) || args[p.Index] != p.Path || p.Path == "" {
			t.Errorf("%q: index %d is not that of %q", args, p.Index, p.Path)
			continue
		}
		rest := args[p.Index+1:]
		if len(p.Args) > len(rest) || !slices.Equal(rest[:len(p.Args)], p.Args) {
			t.Errorf("%q: arguments %q are not those behind %d", args, p.Args, p.Index)
		}
	}
}

func TestManyArguments(t *testing.T) {
	const n = 100_000
	many := func(w ...string) []string { return slices.Repeat(w, n) }
	tests := []struct {
		name string
		args []string
		want string // of the doubt, or the program
	}{
		{"arguments", append([]string{"-n", "4", "./a.out"}, many("-n")...), "./a.out"},
		{"flags", append(many("-v"), "./a.out"), "./a.out"},
		{"clusters", []string{"-" + strings.Repeat("v", n), "./a.out"}, "./a.out"},
		{"abbreviations", append(many("--verb"), "./a.out"), "./a.out"},
		{"values", append(many("-n", "4"), "./a.out"), "./a.out"},
		{"tools", append(many("env"), "./a.out"), "more tools"},
		{"launchers", append(many("srun"), "./a.out"), "srun"},
		{"splits", append(many("env", "-S", "env -S env"), "./a.out"), ""},
		{"variables", append(append([]string{"env"}, many("A=b")...), "./a.out"), "./a.out"},
		{"programs", many("./a.out", ":"), "more programs"},
		{"colons", many(":"), "no program"},
		{"hosts", []string{"-w", "n[" + strings.Repeat("[", n), "./a.out"}, "./a.out"},
		{"ranges", []string{"-w", "n[0-999999999][0-999999999][0-9]", "./a.out"}, "./a.out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"srun", "mpirun", "aprun", "mpiexec_mpt"} {
				j := launcher.Parse(name, tt.args, launcher.Unknown, launcher.Host{})
				check(t, tt.args, j)
				got := j.Doubt
				if len(j.Programs) > 0 {
					got = j.Programs[0].Path
				}
				if name == "srun" && !strings.Contains(got, tt.want) {
					t.Errorf("Parse: %q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestBigFiles(t *testing.T) {
	for name, line := range map[string]string{
		"ranks": "0-3 ./a.out\n", "lines": "-n 1 ./a.out\n", "continued": "\\\n", "open": "0 './a\n", "apps": "app 0: x\n", "no": "\n",
	} {
		text := bytes.Repeat([]byte(line), (4<<20)/len(line))
		host := launcher.Host{ReadFile: func(string, int) ([]byte, error) { return text, nil }}
		for _, c := range [][]string{
			{"srun", "--multi-prog", "x"}, {"mpirun", "--app", "x"}, {"mpiexec.hydra", "-configfile", "x"}, {"jsrun", "-U", "x"},
		} {
			if j := launcher.Parse(c[0], c[1:], launcher.Unknown, host); j.Doubt == "" {
				t.Errorf("%s of %s: %d programs, want a doubt", name, c[0], len(j.Programs))
			}
		}
		tooBig := launcher.Host{ReadFile: func(string, int) ([]byte, error) { return append(text, make([]byte, 4096)...), nil }}
		if j := launcher.Parse("srun", []string{"--multi-prog", "x"}, launcher.Unknown, tooBig); !strings.Contains(j.Doubt, "cannot be read") {
			t.Errorf("a file that is too long: %q", j.Doubt)
		}
		j := launcher.Parse("mpirun.openmpi", []string{"--hostfile", "x", "./a.out"}, launcher.Unknown, host)
		j.Fill(host) // it ends
	}
}

func TestFlavourOf(t *testing.T) {
	for name, want := range map[string]launcher.Flavour{
		"srun": launcher.Slurm, "/usr/bin/aprun": launcher.ALPS, "mpirun": launcher.Unknown, "mpiexec": launcher.Unknown,
		"mpiexec.hydra": launcher.MPICH, "mpiexec_mpt": launcher.MPT, "ibrun": launcher.IBRun, "jsrun": launcher.JSRun,
		"mpirun.lsf": launcher.LSF, "mympirun": launcher.MyMPI, "flux": launcher.Flux, "prun": launcher.PRRTE,
		"orterun": launcher.OpenMPI, "mpirun.openmpi": launcher.OpenMPI, "palsrun": launcher.PALS, "lrun": launcher.LRun,
	} {
		if got, ok := launcher.FlavourOf(name); got != want || !ok {
			t.Errorf("FlavourOf(%q) = %q, %t, want %q, true", name, got, ok, want)
		}
	}
	for _, name := range []string{"env", "gdb", "ls", "", "/", "flux/global", "srun]", "a b", "launcher"} {
		if got, ok := launcher.FlavourOf(name); ok {
			t.Errorf("FlavourOf(%q) = %q, true, want no launcher", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range commands(f) {
		f.Add(string(c.flavour), strings.Join(c.words, "\x00"), "")
	}
	for _, n := range []string{"multi.conf", "star.conf", "appfile", "hydra.conf", "mpmd.erf", "hosts.ompi"} {
		text, err := files(n, 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("", "srun\x00--multi-prog\x00x", string(text))
		f.Add("openmpi", "mpirun\x00--app\x00x", string(text))
		f.Add("", "mpiexec.hydra\x00-configfile\x00x", string(text))
		f.Add("", "jsrun\x00-U\x00x", string(text))
		f.Add("openmpi", "mpirun\x00--hostfile\x00x\x00a", string(text))
	}
	f.Fuzz(func(t *testing.T, flavour, line, file string) {
		words := strings.Split(line, "\x00")
		host := launcher.Host{
			ReadFile: func(string, int) ([]byte, error) { return []byte(file), nil },
			Getenv:   func(string) string { return file },
		}
		before := slices.Clone(words)
		j := launcher.Parse(words[0], words[1:], launcher.Flavour(flavour), host)
		check(t, words[1:], j)
		j.Fill(host)
		check(t, words[1:], j)
		if !slices.Equal(before, words) {
			t.Errorf("Parse changed %q to %q", before, words)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, line string }{
		{"srun", "srun -N 4 --ntasks-per-node=32 -c 4 --exclusive numactl -l ./solver -i x"},
		{"unknown", "mpirun -np 4 ./a.out"},
		{"container", "srun -n 4 apptainer exec --nv -B /data docker://me/app:1 /opt/app -i x"},
	} {
		words := strings.Fields(c.line)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				launcher.Parse(words[0], words[1:], launcher.Unknown, launcher.Host{})
			}
		})
	}
}
