package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLittleMemory: where Go's runtime could not even start, the program takes
// our place, found as it would be without us.
func TestLittleMemory(t *testing.T) {
	native(t, "it needs memory itself")
	s := newSite(t)
	dir := t.TempDir()
	place := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if text != "" {
			writeProgram(t, file, text)
			return
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(wrapBinary(), file); err != nil {
			t.Fatal(err)
		}
	}
	const tell = `echo "$0 $* ${XALT_RUN_UUID-unset}"; exit 7` + "\n"
	place("first/mpirun", "")
	place("first/ld", "")
	place("first/srun", "")
	place("other/mpirun", "")
	place("real/mpirun", "#!/bin/sh\n"+tell)
	place("real/plain", tell) // without an interpreter
	place("real/ld", "#!/bin/sh\necho not this one\n")
	place("compiler/ld", "#!/bin/sh\n"+tell)
	place("script/mpirun", "#!/bin/sh\nexec "+wrapBinary()+" -- mpirun \"$@\"\n")
	place("loop/mpirun", "#!/bin/sh\nexec "+dir+"/first/mpirun \"$@\"\n")
	text, err := os.ReadFile(wrapBinary())
	if err != nil {
		t.Fatal(err)
	}
	place("copy/mpirun", string(text)+"another build")
	for _, tt := range []struct {
		name, path, compilerPath string
		command                  []string
		want                     string
		status                   int
	}{
		{"command", "real", "", []string{wrapBinary(), "--syshost", "x", "--", "mpirun", "-n", "2", ""}, dir + "/real/mpirun -n 2  unset\n", 7},
		{"path", "", "", []string{wrapBinary(), "--", dir + "/real/mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"no interpreter", "real", "", []string{wrapBinary(), "--", "plain", "a"}, dir + "/real/plain a unset\n", 7},
		{"link", "first:real", "", []string{"mpirun", "a b", "\xff"}, dir + "/real/mpirun a b \xff unset\n", 7},
		{"link by path", "real", "", []string{dir + "/first/mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"two links", "first:other:real", "", []string{"mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"link and copy", "first:copy:real", "", []string{"mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"copy and link", "copy:first:real", "", []string{"mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"script that calls us", "script:real", "", []string{"mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"link, then script", "first:script:real", "", []string{"mpirun", "a"}, dir + "/real/mpirun a unset\n", 7},
		{"linker", "first:real", dir + "/first:" + dir + "/compiler", []string{dir + "/first/ld", "-o", "x"}, dir + "/compiler/ld -o x unset\n", 7},
		{"linker on PATH", "first:compiler", "", []string{"ld", "-o", "x"}, dir + "/compiler/ld -o x unset\n", 7},
		// Then the runtime says why it does not start.
		{"nothing else", "first", "", []string{"srun", "a"}, "", 2},
		{"a loop", "loop", "", []string{"mpirun", "a"}, "", 2},
	} {
		for _, limit := range []string{"ulimit -v 100000", "ulimit -v 700000", "ulimit -d 50000"} {
			t.Run(tt.name+" "+limit, func(t *testing.T) {
				var dirs []string
				for d := range strings.SplitSeq(tt.path, ":") {
					dirs = append(dirs, dir+"/"+d)
				}
				shell := "/bin/sh"
				cmd := s.command(false, append([]string{shell, "-c", limit + `; exec "$@"`, shell}, tt.command...)...)
				cmd.Env = append(slices.Clone(s.env), "PATH="+strings.Join(dirs, ":"), "COMPILER_PATH="+tt.compilerPath)
				got := runCommand(t, cmd)
				if got.stdout != tt.want || got.status != tt.status {
					t.Errorf("got %+v, want %q and status %d", got, tt.want, tt.status)
				}
			})
		}
	}
	if names := s.recordNames(); len(names) > 0 {
		t.Errorf("records %q", names)
	}
}

// TestEnoughMemory: with a little more it is recorded.
func TestEnoughMemory(t *testing.T) {
	native(t, "it needs memory itself")
	s := newSite(t)
	got := runCommand(t, s.command(false, "sh", "-c", `ulimit -v 1100000; ulimit -d 140000; exec "$@"`, "sh", wrapBinary(), "--", "sh", "-c", "exit 3"))
	if got.status != 3 {
		t.Errorf("got %+v", got)
	}
	s.text("run.", ".zzz.")
}

// TestFewThreads checks that a node's many processors cost nothing: Go's runtime
// would have a thread for many of them, and memory for all.
func TestFewThreads(t *testing.T) {
	s := newSite(t, "transport = 'none'")
	s.env = append(s.env, "GOMAXPROCS=256")
	r := s.probe(true)
	r.sideReady()
	const most = 16 // QEMU has some of its own
	for _, pid := range []int{r.cmd.Process.Pid, r.sideJob()} {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		if len(tasks) > most {
			t.Errorf("%d threads, want at most %d", len(tasks), most)
		}
	}
	if got := r.end(); got.status != 5 {
		t.Errorf("end: %+v", got)
	}
}

// TestSideJobLate: a signal to the group reaches the program once, however late
// the side job reports it. Here it is stopped for a while, as on a machine that
// does not let it run.
func TestSideJobLate(t *testing.T) {
	native(t, "processes have its name")
	s := newSite(t, "transport = 'none'")
	r := s.probe(true)
	r.sideReady()
	side := r.sideJob()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGUSR2} {
		if err := syscall.Kill(side, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		waitState(t, side, "T")
		if err := syscall.Kill(-r.cmd.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
		if got, want := r.line(), fmt.Sprintf("signal %d", sig); got != want {
			t.Fatalf("the probe says %q, want %q", got, want)
		}
		time.Sleep(400 * time.Millisecond) // longer than any grace
		if err := syscall.Kill(side, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(r.cmd.Process.Pid, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if got, want := r.line(), "signal 10"; got != want {
			t.Errorf("after %d to the group: the probe says %q, want %q", sig, got, want)
		}
	}
	// One that stays stopped holds nothing up for ever.
	if err := syscall.Kill(side, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(r.cmd.Process.Pid, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if got, want := r.line(), "signal 10"; got != want {
		t.Errorf("the probe says %q, want %q", got, want)
	}
	if err := syscall.Kill(side, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := r.end(); got.status != 5 || got.stdout != "" {
		t.Errorf("end: %+v", got)
	}
}

// TestShortPrograms: those that end at once do not wait for their records,
// which come all the same, start before end.
func TestShortPrograms(t *testing.T) {
	s := newSite(t)
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), "end-wait = '60s'\n", "", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	const runs = 40
	for range runs {
		if got := runCommand(t, s.command(true, "true")); got != (result{}) {
			t.Fatalf("%+v", got)
		}
	}
	for len(s.recordNames()) < 2*runs {
		time.Sleep(time.Millisecond)
	}
	first := map[string]os.FileInfo{}
	for _, name := range s.recordNames() {
		info, err := os.Stat(filepath.Join(s.records, name))
		if err != nil {
			t.Fatal(err)
		}
		uuid := name[len(name)-len("01a21874-8c2b-7196-9ef7-61a39939bc5d.json"):]
		switch before := first[uuid]; {
		case before == nil:
			first[uuid] = info
		case before.ModTime().After(info.ModTime()) != strings.Contains(before.Name(), ".zzz."):
			t.Errorf("%s came at %v, %s at %v", before.Name(), before.ModTime(), name, info.ModTime())
		}
	}
	if len(first) != runs {
		t.Errorf("%d runs, want %d", len(first), runs)
	}
}
