package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatuses(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	for status := range 256 {
		got := runCommand(t, s.command(true, "sh", "-c", fmt.Sprintf("echo out; echo err >&2; exit %d", status)))
		if want := (result{stdout: "out\n", stderr: "err\n", status: status}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestDeaths: every signal that kills ends us in the same way, and leaves the
// same core dump, which is none here, and none of ours.
func TestDeaths(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	for sig := 1; sig <= 64; sig++ {
		switch syscall.Signal(sig) {
		case syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU:
			continue
		}
		script := fmt.Sprintf("ulimit -c 0; kill -%d $$; exit 9", sig)
		want := runCommand(t, s.command(false, "sh", "-c", script))
		cmd := s.command(true, "sh", "-c", script)
		cmd.Dir = t.TempDir()
		got := runCommand(t, cmd)
		if got != want {
			t.Errorf("signal %d: got %+v, want %+v", sig, got, want)
		}
		if files, err := os.ReadDir(cmd.Dir); err != nil || len(files) > 0 {
			t.Errorf("signal %d: %v, %v left in the working directory", sig, files, err)
		}
	}
}

// TestSameAsBare compares what programs find, with and without the wrapper.
func TestSameAsBare(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	if err := os.Chmod(filepath.Dir(s.config), 0o755); err != nil {
		t.Fatal(err)
	}
	status := "grep -E '^(Umask|State|Uid|Gid|Groups|Sig[PBIC]|Shd|Cap|NoNewPrivs|Seccomp|Cpus_allowed|Mems_allowed)' /proc/self/status"
	realTime := "34 40 64"
	environment := "env -0"
	if emulated { // QEMU keeps the first of these signals, and turns the environment round
		realTime = "40"
		environment += " | sort -z"
	}
	environment += " | tr '\\0' '|' | sed 's/XALT_RUN_UUID=[^|]*|//; s/XALT_DATE_TIME=[^|]*|//'"
	for _, tt := range []struct{ name, setup, program string }{
		{"environment", "export ODD='a=b\n c' EMPTY=; unset LANG", environment},
		{"environment of Go programs", "export GOMAXPROCS=200", environment},
		{"an empty variable of theirs", "export GOMAXPROCS=", environment},
		{"environment without tracking", "export XALT_EXECUTABLE_TRACKING=no", environment},
		{"status", ":", status},
		{"umask", "umask 0137", "umask; touch $TMPDIR/x; stat -c %a $TMPDIR/x; rm $TMPDIR/x"},
		{"limits", "ulimit -S -n 200; ulimit -S -s 4096; ulimit -c 0; ulimit -S -t 1000", "cat /proc/self/limits"},
		{"hard limit of files", "ulimit -n 100", "cat /proc/self/limits"},
		{"ignored", "trap '' HUP INT QUIT PIPE USR1 USR2 TERM TSTP TTIN TTOU ALRM WINCH XFSZ " + realTime, status},
		{"ignored by nohup", "trap '' HUP", "nohup sh -c \"" + status + "\" 2>&1"},
		{"working directory", "cd /proc/self", "pwd -P | sed s/[0-9]*$//"},
		{"descriptors", "exec 3</etc/passwd 5>/dev/null 7<>/dev/zero", "ls -l /proc/self/fd | sed 's/.*[0-9] \\([0-9]* ->\\)/\\1/; s/[0-9]*.$//; s,/proc/[0-9]*,,'"},
		{"scheduling", ":", "nice; cat /proc/self/timerslack_ns /proc/self/oom_score_adj /proc/self/coredump_filter; cut -d' ' -f18,19,40,41 /proc/self/stat"},
		{"niceness", ":", "nice -n 3 nice"},
		{"groups", ":", "cut -d' ' -f5,6,7,8 /proc/self/stat"},
		{"session", ":", "test $(cut -d' ' -f5 /proc/self/stat) = $(cut -d' ' -f5 /proc/$PPID/stat) && echo in one group"},
		{"standard input", "echo some input | { read x; echo $x", "cat; }"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := func(wrapped bool) result {
				args := []string{"bash", "-c", tt.setup + `; exec "$@"`, "bash"}
				if tt.name == "standard input" {
					args = []string{"bash", "-c", `echo a line | "$@"`, "bash"}
					tt.program = "cat; echo $?"
				}
				if wrapped {
					args = append(args, wrapBinary(), "--")
				}
				cmd := s.command(false, append(args, "bash", "-c", tt.program)...)
				cmd.Env = append(slices.Clone(s.env), "TMPDIR="+t.TempDir())
				return runCommand(t, cmd)
			}
			want, got := run(false), run(true)
			same := func(r result) string { // names that differ from run to run
				return regexp.MustCompile(`TMPDIR=[^|]*\||/tmp/\S*|_=[^|]*\||pipe:\S*|State:.*`).ReplaceAllString(r.stdout+r.stderr, "")
			}
			if diff := cmp.Diff(same(want), same(got)); diff != "" || want.status != got.status || len(want.stdout) < 2 {
				t.Errorf("status %d bare, %d wrapped, %q; -bare +wrapped\n%s", want.status, got.status, want.stdout, diff)
			}
		})
	}
}

func TestClosedDescriptors(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	for _, closed := range []string{"<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"} {
		run := func(wrapped bool) string {
			file := filepath.Join(t.TempDir(), "fds")
			args := []string{"bash", "-c", `exec "$@" ` + closed, "bash"}
			if wrapped {
				args = append(args, wrapBinary(), "--")
			}
			// Without them nothing can be opened without taking their place, so
			// the shell asks the kernel for each.
			r := runCommand(t, s.command(false, append(args, "bash", "-c", `for i in 0 1 2; do [ -e /proc/$$/fd/$i ] && x+=" $i"; done; echo "open:$x" > `+file)...))
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v: %+v", err, r)
			}
			return string(text)
		}
		if want, got := run(false), run(true); got != want || strings.Count(want, " ") == 3 {
			t.Errorf("%s: %q, want %q", closed, got, want)
		}
	}
}

func TestArguments(t *testing.T) {
	s := newSite(t)
	args := []string{"", " ", "a b", "\n", "'\"\\", "\xff\xfe", "ü€😀", "--", "-n", "--version", "$(x)", strings.Repeat("y", 100_000)}
	cat := append([]string{"sh", "-c", "cat /proc/$$/cmdline; exit 3", "name\xff"}, args...)
	want, got := runCommand(t, s.command(false, cat...)), runCommand(t, s.command(true, cat...))
	if got != want || len(want.stdout) < 100_000 {
		t.Errorf("arguments differ: %d bytes, want %d", len(got.stdout), len(want.stdout))
	}
	if text := s.text("run.", ".zzz."); !strings.Contains(text, `"name\udcff","`) || !strings.Contains(text, `"exit_status":3`) {
		t.Errorf("record: %.600s", text)
	}
}

// TestNotRunnable: the message and the status are a shell's.
func TestNotRunnable(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, tt := range []struct {
		name, program  string
		status         int
		stdout, stderr string
	}{
		{"not there", "nosuchprogram", 127, "", "nosuchprogram: command not found\n"},
		{"path not there", dir + "/no", 127, "", dir + "/no: no such file or directory\n"},
		{"directory", dir, 126, "", dir + ": permission denied\n"},
		{"not executable", write("plain", "echo x\n", 0o644), 126, "", dir + "/plain: permission denied\n"},
		{"no interpreter line", write("script", "echo from sh $1\n", 0o755), 0, "from sh\n", ""},
		{"interpreter not there", write("bad", "#!/no/such\n", 0o755), 127, "", dir + "/bad: no such file or directory\n"},
		{"empty", write("empty", "", 0o755), 0, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := runCommand(t, s.command(true, tt.program))
			if want := (result{stdout: tt.stdout, stderr: tt.stderr, status: tt.status}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// TestByName: links and copies find the real program behind them, never
// themselves, and it sees the name that it was called by.
func TestByName(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	for _, d := range []string{first, second} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(wrapBinary(), filepath.Join(first, "mpirun")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(wrapBinary())
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, filepath.Join(second, "mpirun"), string(text)+"another build")
	// A directory with a script called mpirun.
	place := func(name, text string) string {
		t.Helper()
		d := filepath.Join(dir, name)
		writeProgram(t, filepath.Join(d, "mpirun"), text)
		return d
	}
	real := place("real", "#!/bin/bash\necho \"real $0 $*\"\n")
	// Scripts of a site's that call the wrapper by a full path.
	script := place("script", "#!/bin/bash\nexec "+wrapBinary()+" -- mpirun \"$@\"\n")
	more := place("more", "#!/bin/sh\n"+first+"/mpirun \"$@\"\n")
	run := func(t *testing.T, path, command, want, env string) {
		cmd := s.command(false, "bash", "-c", `exec "$0" -n 2`, command)
		cmd.Env = append(slices.Clone(s.env), "PATH="+path+":/usr/bin:/bin", env)
		if want == "" { // without the system's
			cmd.Env = append(slices.Clone(s.env), "PATH="+path, env)
			cmd.Path = "/bin/bash"
		}
		got := runCommand(t, cmd)
		if want == "" {
			if got.status != 127 || !strings.HasPrefix(got.stderr, "mpirun: command not found") || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("got %+v, want status 127", got)
			}
		} else if got.stdout != want || got.status != 0 {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	for _, tt := range []struct{ name, path, command, want string }{
		{"link", first + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"link and copy", first + ":" + second + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"copy and link", second + ":" + first + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"full path of the link", first + ":" + real, first + "/mpirun", "real " + real + "/mpirun -n 2\n"},
		{"full path, not on PATH", second + ":" + real, first + "/mpirun", "real " + real + "/mpirun -n 2\n"},
		{"only ourselves", first + ":" + second, "mpirun", ""},
		{"script that calls us", script + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"link, then script", first + ":" + script + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"empty element", ":" + first + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"two scripts that call us", script + ":" + more + ":" + real, "mpirun", "real " + real + "/mpirun -n 2\n"},
		{"only scripts that call us", first + ":" + script, "mpirun", ""},
	} {
		for mode, env := range map[string]string{"": "", " untracked": "XALT_EXECUTABLE_TRACKING=no", " aside": "LOADEDMODULES=totalview/1"} {
			t.Run(tt.name+mode, func(t *testing.T) { run(t, tt.path, tt.command, tt.want, env) })
		}
	}
	t.Run("argv[0]", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(first, "sh"))
		if err := os.Symlink(wrapBinary(), cmd.Path); err != nil {
			t.Fatal(err)
		}
		cmd.Args = []string{"sh", "-c", "tr '\\0' ' ' < /proc/$$/cmdline"}
		cmd.Env = append(slices.Clone(s.env), "PATH="+first+":/usr/bin:/bin")
		if got := runCommand(t, cmd); !strings.HasPrefix(got.stdout, "sh -c tr") {
			t.Errorf("the program's arguments are %q", got.stdout)
		}
	})
}
