package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestStepsAside: the program takes the wrapper's place at once, so its parent
// is the one that called, and a note of it is all that is sent.
func TestStepsAside(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		env          []string
		lines        string
		through      string // a parent process of that name
		shell        string // what happens before
	}{
		{name: "libxalt_init", env: []string{"LD_PRELOAD=/nonexistent/libxalt_init.so"}, reason: "tracked by libxalt_init"},
		{name: "Valgrind's preload", env: []string{"LD_PRELOAD=/nonexistent/vgpreload_core.so"}, reason: "Valgrind by LD_PRELOAD"},
		{name: "TotalView's variable", env: []string{"TVDSVRLAUNCHCMD=ssh"}, reason: "TotalView by environment"},
		{name: "Forge's variable", env: []string{"ALLINEA_TOOLS_PATH=/opt"}, reason: "Forge by environment"},
		{name: "module", env: []string{"LOADEDMODULES=gcc/12:arm-forge/22.1"}, reason: "Forge in LOADEDMODULES"},
		{name: "parent", through: "gdb", reason: "gdb is a parent process"},
		{name: "site's tool", through: "sitedebug", lines: "tools = ['sitedebug']", reason: "a tool of the site is a parent process"},
		{name: "SIGCHLD ignored", shell: "trap '' CHLD; ", reason: "SIGCHLD is ignored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.lines)
			shell := "bash"
			if tt.through != "" {
				shell = filepath.Join(t.TempDir(), tt.through)
				text, err := os.ReadFile("/bin/bash")
				if err != nil {
					t.Fatal(err)
				}
				writeProgram(t, shell, string(text))
			}
			// The shell's child is the wrapper, or, in its place, the program.
			cmd := s.command(false, shell, "-c", tt.shell+`"$@" & echo $!; wait $!; exit $?`, "bash", wrapBinary(), "--", "/bin/sh", "-c", "echo $$; exit 3")
			cmd.Env = append(slices.Clone(s.env), tt.env...)
			got := runCommand(t, cmd)
			pids := strings.Fields(got.stdout)
			if len(pids) != 2 || pids[0] != pids[1] || got.status != 3 && tt.shell == "" {
				t.Errorf("the shell's child and the program are %q, status %d; %s", pids, got.status, got.stderr)
			}
			names := s.recordNames()
			if len(names) != 1 {
				t.Fatalf("records %q, want one", names)
			}
			if text := s.text("skip.oracle.", ".json"); !strings.Contains(text, `"reason":"`+tt.reason+`"`) || !strings.Contains(text, `"role":"launch","program":"sh"`) {
				t.Errorf("skip record: %s", text)
			}
			db := ingest(t, s.records)
			if n := query(t, db, "SELECT role, program, reason, syshost FROM wrap_skip"); n != "launch|sh|"+tt.reason+"|oracle" {
				t.Errorf("wrap_skip: %s", n)
			}
		})
	}
}

// TestNotRecorded: no record at all, of any kind, and no wrapper.
func TestNotRecorded(t *testing.T) {
	for _, tt := range []struct{ name, env, lines string }{
		{"switched off", "XALT_EXECUTABLE_TRACKING=no", ""},
		{"not in the sample", "X=", "probability = 0.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.lines)
			cmd := s.command(false, "bash", "-c", `"$@" & echo $!; wait $!`, "bash", wrapBinary(), "--", "/bin/sh", "-c", "echo $$ ${XALT_RUN_UUID-none}")
			cmd.Env = append(slices.Clone(s.env), tt.env)
			got := strings.Fields(runCommand(t, cmd).stdout)
			if len(got) != 3 || got[0] != got[1] || got[2] != "none" {
				t.Errorf("%q", got)
			}
			if names := s.recordNames(); len(names) > 0 {
				t.Errorf("records %q", names)
			}
		})
	}
}

// TestRules: a run that a rule skips is wrapped, because only then is it known
// which executable it is, and leaves no record.
func TestRules(t *testing.T) {
	s := newSite(t, "[[rule]]", "action = 'keep'", "path = '*/true'", "[[rule]]", "action = 'skip'", "path = '/*'")
	runCommand(t, s.command(true, "/bin/true"))
	runCommand(t, s.command(true, "/bin/echo"))
	s.text("run.", ".zzz.")
	if names := s.recordNames(); len(names) != 2 {
		t.Errorf("records %q, want two of true", names)
	}
}

// TestNested: a wrapper below one that launches the same steps aside, and one
// that launches something else does not.
func TestNested(t *testing.T) {
	native(t, "processes have its name")
	s := newSite(t)
	got := runCommand(t, s.command(true, "/bin/sh", "-c", fmt.Sprintf("%[1]s -- /bin/sh -c 'exit 3'; %[1]s -- /bin/true", wrapBinary())))
	if got.status != 0 {
		t.Errorf("%+v", got)
	}
	if text := s.text("skip.", ".json"); !strings.Contains(text, "tracked by a wrapper above") {
		t.Errorf("skip record: %s", text)
	}
	if names := s.recordNames(); len(names) != 5 {
		t.Errorf("records %q, want two of sh, two of true, one skip", names)
	}
}

// TestTwice: a wrapper that is the command of another one is the same as one.
func TestTwice(t *testing.T) {
	s := newSite(t)
	got := runCommand(t, s.command(true, wrapBinary(), "--syshost", "other", "--", wrapBinary(), "--", "/bin/sh", "-c", "exit 3", "--", "x"))
	if got.status != 3 || got.stderr != "" {
		t.Errorf("%+v, want status 3", got)
	}
	if text := s.text("run.other.", ".zzz."); !strings.Contains(text, `"cmdlineA":["/bin/sh","-c","exit 3","--","x"]`) {
		t.Errorf("end record: %s", text)
	}
	if names := s.recordNames(); len(names) != 2 {
		t.Errorf("records %q, want two", names)
	}
}

// TestTracing: what is done is told on standard error, if that is asked for.
func TestTracing(t *testing.T) {
	for value, told := range map[string]bool{"yes": true, "run": true, "link": false, "": false} {
		s := newSite(t)
		cmd := s.command(true, "/bin/true")
		cmd.Env = append(slices.Clone(s.env), "XALT_TRACING="+value)
		got := runCommand(t, cmd)
		if strings.Contains(got.stderr, "xalt-wrap: record run_fini_") != told || !told && got.stderr != "" {
			t.Errorf("XALT_TRACING=%s: %q", value, got.stderr)
		}
	}
}
