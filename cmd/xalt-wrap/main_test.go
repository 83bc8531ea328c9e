package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// emulated: the wrapper alone is built for the architecture TEST_WRAP_ARCH, and
// binfmt_misc has QEMU run it (scripts/arm64); what it runs is this machine's
// own.
var emulated = os.Getenv("TEST_WRAP_ARCH") != ""

// native skips a test that cannot do with an emulator.
func native(t *testing.T, why string) {
	t.Helper()
	if emulated {
		t.Skip("not with an emulator: " + why)
	}
}

// built is the directory of the real, static commands, which the tests of
// transparency run: what a test binary is like inside is not what counts.
var built string

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"xalt-wrap": main})
}

type tests struct{ *testing.M }

// Run builds the commands before the tests run.
func (t tests) Run() int {
	dir, err := os.MkdirTemp("", "xalt-wrap")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	_ = os.Chmod(dir, 0o755)
	build := func(env string, packages ...string) bool {
		cmd := exec.Command("go", append([]string{"build", "-trimpath", "-o", dir + "/"}, packages...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", env)
		out, err := cmd.CombinedOutput()
		if err != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		}
		return err == nil
	}
	wrapper := ""
	if emulated {
		wrapper = "GOARCH=" + os.Getenv("TEST_WRAP_ARCH")
	}
	if !build("", "xaltpipe/cmd/syslog2db", "./testdata/probe", "./testdata/stub") || !build(wrapper, "xaltpipe/cmd/xalt-wrap") {
		return 1
	}
	built = dir
	return t.M.Run()
}

func wrapBinary() string { return filepath.Join(built, "xalt-wrap") }

// TestScripts runs testdata/*.txtar, one behaviour each.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", "UTC")
			env.Setenv("WRAP", wrapBinary())
			return nil
		},
		Cmds:               map[string]func(*testscript.TestScript, bool, []string){"status": statusCommand},
		RequireUniqueNames: true,
	})
}

// statusCommand is "status N COMMAND ARG...": the exit status is N.
func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARG...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit status = %d, want %s", got, args[0])
	}
}

// site is a place where the wrapper is installed.
type site struct {
	t       *testing.T
	config  string // the configuration file
	records string // where the transport file puts records
	env     []string
}

// newSite configures the transport file, and what more lines say. A waiting
// end record gets all the time it may need.
func newSite(t *testing.T, lines ...string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, config: filepath.Join(dir, "xalt-wrap.toml"), records: filepath.Join(dir, "records")}
	if err := os.Mkdir(s.records, 0o777); err != nil {
		t.Fatal(err)
	}
	text := "syshost = 'oracle'\nend-wait = '60s'\ndeadline = '30s'\n"
	if !strings.Contains(strings.Join(lines, "\n"), "transport") {
		text += "transport = 'file'\ndirectory = '" + s.records + "'\n"
	}
	if err := os.WriteFile(s.config, []byte(text+strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "XALT_WRAP_CONFIG="+s.config)
	return s
}

// command returns a command that is wrapped, or bare for comparison.
func (s *site) command(wrapped bool, args ...string) *exec.Cmd {
	if wrapped {
		args = append([]string{wrapBinary(), "--"}, args...)
	}
	cmd := exec.CommandContext(s.t.Context(), args[0], args[1:]...)
	cmd.Env = s.env
	return cmd
}

// writeProgram writes a program, and the directories above it. No process is
// started meanwhile: it would hold the file open for writing until it executes
// its own program, and a file that is written cannot be executed.
func writeProgram(tb testing.TB, file, text string) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		tb.Fatal(err)
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		tb.Fatal(err)
	}
}

// result is what one sees of a program from outside.
type result struct {
	stdout, stderr string
	status, signal int
}

func runCommand(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &stdout
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	ws, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		r.signal = int(ws.Signal())
	} else {
		r.status = ws.ExitStatus()
	}
	return r
}

// recordNames lists the records, by their files' names.
func (s *site) recordNames() []string {
	s.t.Helper()
	list, err := os.ReadDir(s.records)
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// text returns the text of the only record of a kind: the beginning of its
// file's name and what is in it.
func (s *site) text(prefix, part string) string {
	s.t.Helper()
	var found []string
	for _, name := range s.recordNames() {
		if strings.HasPrefix(name, prefix) && strings.Contains(name, part) {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("records %s*%s*: %q, of %q, want one", prefix, part, found, s.recordNames())
	}
	text, err := os.ReadFile(filepath.Join(s.records, found[0]))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}
