package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinkAndRun links a program with the wrapper in the place of ld, runs it by
// Open MPI's mpirun with the wrapper in front, and finds both in the database,
// joined by the watermark.
func TestLinkAndRun(t *testing.T) {
	gcc, mpirun := tool(t, "gcc"), tool(t, "mpirun")
	dir := t.TempDir()
	tracked := filepath.Join(dir, "xlibmap.list")
	s := newSite(t, `tracked-libraries = "`+tracked+`"`)
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("xlibmap.list", "libours.so\n")
	if out, err := exec.Command(gcc, "-shared", "-fPIC", "-o", filepath.Join(dir, "libours.so"), write("ours.c", "int ours_answer(void) { return 0; }\n")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write("main.c", "int ours_answer(void); int main(void) { return ours_answer(); }\n")
	wrap := filepath.Join(dir, "wrap")
	if err := os.Mkdir(wrap, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ld", "mpirun"} {
		if err := os.Symlink(wrapBinary(), filepath.Join(wrap, name)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		t.Helper()
		cmd := s.command(false, args...)
		cmd.Env = append(cmd.Env, "COMPILER_PATH="+wrap, "LD_LIBRARY_PATH="+dir, "PATH="+wrap+":"+os.Getenv("PATH"), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
		cmd.Dir = dir
		if r := runCommand(t, cmd); r.status != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
	}
	run(gcc, "-o", "program", "main.c", "-L.", "-lours")
	_ = mpirun // found behind the wrapper
	run(filepath.Join(wrap, "mpirun"), "--oversubscribe", "-n", "2", "-x", "OMP_NUM_THREADS=3", "./program")

	out, err := exec.Command(wrapBinary(), "extract", filepath.Join(dir, "program")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `Build_compiler: "gcc"`) {
		t.Errorf("extract: %v\n%s", err, out)
	}
	db := ingest(t, s.records)
	program := filepath.Join(dir, "program")
	if got, want := query(t, db, "SELECT l.link_program, l.exec_path, r.exec_path, r.num_cores, r.num_threads, r.end_time > 0 FROM xalt_run r JOIN xalt_link l ON l.uuid = r.uuid"),
		strings.Join([]string{"gcc", program, program, "6", "3", "1"}, "|"); got != want {
		t.Errorf("run and link are %s, want %s", got, want)
	}
	if got := query(t, db, "SELECT count(*) FROM join_run_object j JOIN xalt_object o ON o.obj_id = j.obj_id WHERE o.object_path = '"+filepath.Join(dir, "libours.so")+"'"); got != "1" {
		t.Errorf("the run has libours.so %s times, want once", got)
	}
	if got := query(t, db, "SELECT f.function_name FROM join_link_function j JOIN xalt_function f ON f.func_id = j.func_id"); got != "ours_answer" {
		t.Errorf("the link took the function %s, want ours_answer", got)
	}
	if got := query(t, db, "SELECT l.hash_id = r.hash_id FROM xalt_run r JOIN xalt_link l ON l.uuid = r.uuid"); got != "1" {
		t.Error("the run's SHA-1 is not the link's")
	}
}
