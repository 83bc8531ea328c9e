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
