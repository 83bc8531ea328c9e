package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMaps calls the hook many times in a row: the map is rebuilt once, and the
// module names in the database follow it.
func TestMaps(t *testing.T) {
	need(t, "flock")
	dir := t.TempDir()
	merge := filepath.Join(dir, "rmap-merge")
	if out, err := exec.Command("go", "build", "-o", merge, "xaltpipe/cmd/rmap-merge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	calls := filepath.Join(dir, "calls")
	counted := filepath.Join(dir, "counted")
	mustWrite(t, counted, fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s\nexec %s -o %s/maps %s/spider.json \"$@\"\n", calls, merge, dir, dir), 0o755)
	mustWrite(t, filepath.Join(dir, "spider.json"), `{"reverseMapT":{"/opt/appsvr/apps/alpha/1.0/lib":{"pkg":"renamed/9","kind":"lib","flavor":["default"],"moduleFn":"/mf/renamed/9"}},"xlibmap":[],"timestampFn":false}`, 0o644)
	config := filepath.Join(dir, "syslog2db.toml")
	mustWrite(t, config, fmt.Sprintf("db = %q\ntimezone = \"UTC\"\nreverseMapD = %q\n", "sqlite:"+dir+"/xalt.db", dir+"/maps"), 0o600)
	ours := filepath.Join(dir, "syslog2db")
	mustWrite(t, ours, fmt.Sprintf("#!/bin/sh\nsub=$1\nshift\nexec %s \"$sub\" --config %s \"$@\"\n", program, config), 0o755)
	if err := os.Mkdir(dir+"/maps", 0o755); err != nil {
		t.Fatal(err)
	}
	// A first map without the module, and runs.
	mustWrite(t, dir+"/maps/xalt_rmapT.json", `{"reverseMapT":{},"xlibmap":[]}`, 0o644)
	if out, err := exec.Command(program, "--config", config, "-q", "../testdata/xalt.log").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	env := append(os.Environ(), "RMAP_MERGE="+counted, "SYSLOG2DB="+ours, "XALTPIPE_USER=", "XALT_MAPS_STATE="+dir+"/state", "XALT_MAPS_DELAY=2", "XALT_MAPS_MOST=60")
	call := func(args ...string) {
		t.Helper()
		cmd := exec.Command("hooks/xalt-maps", args...)
		cmd.Env = env
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("xalt-maps %q: %v\n%s", args, err, out)
		}
	}
	for range 20 {
		call("soon")
	}
	modules := func() string {
		out, err := exec.Command(program, "summary", "--config", config).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	eventually(t, "the map", func() bool { _, err := os.Stat(dir + "/maps/.rmap-merge"); return err == nil })
	eventually(t, "the requests to be done", func() bool { f, _ := filepath.Glob(dir + "/state/*.request"); return len(f) == 0 })
	if n := strings.Count(mustRead(t, calls), "\n"); n != 1 {
		t.Errorf("20 calls in a row made the map %d times, want once", n)
	}
	// Later ones make it again, for one machine.
	call("soon", "--machine", "frontier")
	eventually(t, "another map", func() bool { return strings.Count(mustRead(t, calls), "\n") == 2 })
	if got := mustRead(t, calls); !strings.HasSuffix(got, "--machine frontier\n") {
		t.Errorf("calls of rmap-merge: %q", got)
	}
	call("now")
	if got := modules(); !strings.Contains(got, "renamed/9") {
		t.Errorf("the database does not have the new module:\n%s", got)
	}
}

// stand puts programs in the place of rmap-merge and syslog2db that note what they
// were called with, and by whom; RMAP_STATUS and RESOLVE_STATUS are their statuses.
func stand(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	for name, status := range map[string]string{"rmap-merge": "RMAP_STATUS", "syslog2db": "RESOLVE_STATUS"} {
		mustWrite(t, filepath.Join(dir, name), fmt.Sprintf("#!/bin/sh\necho \"%s $* by $(id -u)\" >>%s/calls\nexit ${%s:-0}\n", name, dir, status), 0o755)
	}
	mustWrite(t, dir+"/xalt-maps", mustRead(t, "hooks/xalt-maps"), 0o755)
	mustWrite(t, dir+"/calls", "", 0o666)
	return dir, append(os.Environ(), "RMAP_MERGE="+dir+"/rmap-merge", "SYSLOG2DB="+dir+"/syslog2db", "XALT_MAPS_STATE="+dir+"/state", "XALT_MAPS_DELAY=1")
}

// TestMapsStatus: a machine that has no new map keeps the others' modules out of
// the database no more than it keeps their maps from being made.
func TestMapsStatus(t *testing.T) {
	for _, c := range []struct {
		merge, resolve, want int
		resolved             bool
	}{
		{0, 0, 0, true},
		{3, 0, 3, true},
		{0, 3, 3, true},
		{4, 0, 4, true},
		{4, 3, 4, true},
		{1, 0, 1, true},
		{4, 1, 1, true},
		{3, 1, 1, true},
		{2, 0, 2, false},
		{127, 0, 127, false},
	} {
		dir, env := stand(t)
		cmd := exec.Command(dir+"/xalt-maps", "now", "--machine", "m")
		cmd.Env = append(env, "XALTPIPE_USER=", fmt.Sprintf("RMAP_STATUS=%d", c.merge), fmt.Sprintf("RESOLVE_STATUS=%d", c.resolve))
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatalf("%v\n%s", err, out)
		}
		calls := mustRead(t, dir+"/calls")
		if got := cmd.ProcessState.ExitCode(); got != c.want || strings.Contains(calls, "syslog2db re-resolve") != c.resolved {
			t.Errorf("rmap-merge ends with %d, re-resolve with %d: status %d, want %d; calls\n%s", c.merge, c.resolve, got, c.want, calls)
		}
	}
}

// TestMapsUser: root becomes the user whose maps and database they are, for all of
// it; a request waits for a run that is at work.
func TestMapsUser(t *testing.T) {
	if os.Getuid() != 0 {
		without(t, "only root can become another user")
	}
	need(t, "runuser")
	dir, env := stand(t)
	for name, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o777, dir + "/calls": 0o666} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, action := range []string{"now", "soon"} {
		cmd := exec.Command(dir+"/xalt-maps", action)
		cmd.Env = append(env, "XALTPIPE_USER=nobody", "RMAP_STATUS=3")
		out, err := cmd.CombinedOutput()
		if want := map[string]int{"now": 3}[action]; cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want || len(out) > 0 {
			t.Fatalf("xalt-maps %s: %v, want status %d\n%s", action, err, want, out)
		}
	}
	want := "rmap-merge  by 65534\nsyslog2db re-resolve --quiet by 65534\nrmap-merge --wait 1h by 65534\nsyslog2db re-resolve --quiet by 65534\n"
	eventually(t, "both to be done", func() bool { return strings.Count(mustRead(t, dir+"/calls"), "\n") == 4 })
	if got := mustRead(t, dir+"/calls"); got != want {
		t.Errorf("calls:\n%swant\n%s", got, want)
	}
	// A user that does not exist is no reason for an installation to fail.
	cmd := exec.Command(dir+"/xalt-maps", "soon")
	cmd.Env = append(env, "XALTPIPE_USER=nobody-at-all")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("soon without the user: %v\n%s", err, out)
	}
}

// TestHooksCompile: the hooks for other programs are Python.
func TestHooksCompile(t *testing.T) {
	python := need(t, "python3")
	for _, file := range []string{"hooks/easybuild_hooks.py", "hooks/spack_xaltpipe.py"} {
		cmd := exec.Command(python, "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
