package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"xaltpipe/internal/testdb"
)

// TestWhole goes all the way with real parts: a library under a module of Lmod's,
// a program that gcc links with it, Open MPI's mpirun that launches it, xalt-wrap
// around both, rsyslog on node and collector, logrotate, the map that spider and
// rmap-merge make, and syslog2db --follow, which is killed and started again.
func TestWhole(t *testing.T) {
	gcc, logrotate := need(t, "gcc"), need(t, "logrotate")
	need(t, "mpirun")
	const spider = "/usr/share/lmod/lmod/libexec/spider"
	if _, err := os.Stat(spider); err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	bin, wrap, apps := filepath.Join(dir, "bin"), filepath.Join(dir, "wrap"), filepath.Join(dir, "apps/answer/4.2/lib")
	for _, d := range []string{bin, wrap, apps, filepath.Join(dir, "modulefiles/answer"), filepath.Join(dir, "log/xalt")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", bin+"/", "xaltpipe/cmd/xalt-wrap", "xaltpipe/cmd/rmap-merge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"ld", "mpirun"} {
		if err := os.Symlink(filepath.Join(bin, "xalt-wrap"), filepath.Join(wrap, name)); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(dir, "modulefiles/answer/4.2.lua"), fmt.Sprintf("prepend_path(\"LD_LIBRARY_PATH\", %q)\n", apps), 0o644)
	mustWrite(t, filepath.Join(dir, "answer.c"), "int answer(void) { return 0; }\n", 0o644)
	mustWrite(t, filepath.Join(dir, "main.c"), "int answer(void); int main(void) { return answer(); }\n", 0o644)

	port := freePort(t)
	collector := newRsyslog(t, "xalt_collector.conf", "", `"2514"`, `"`+port+`"`, "/var/log/xalt", dir+"/log/xalt")
	collector.start()
	eventually(t, "the collector", func() bool { return listens(port) })
	socket := filepath.Join(dir, "devlog")
	node := newRsyslog(t, "xalt_syslog.conf", nodeMain(socket), `"2514"`, `"`+port+`"`, "collector.example.org", "127.0.0.1", `resumeInterval="5"`, `resumeInterval="1"`)
	node.start()
	logSocket(t, socket)
	config := filepath.Join(dir, "xalt-wrap.toml")
	mustWrite(t, config, fmt.Sprintf("syshost = \"oracle\"\nsocket = %q\ntracked-libraries = %q\ndeadline = \"20s\"\nend-wait = \"20s\"\n", socket, dir+"/maps/xlibmap.list"), 0o644)

	sh := func(script string) {
		t.Helper()
		cmd := exec.Command("sh", "-e", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "XALT_WRAP_CONFIG="+config, "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	sh(gcc + " -shared -fPIC -o " + apps + "/libanswer.so answer.c")
	// The map: spider, then rmap-merge.
	sh(fmt.Sprintf("cd / && %s -o jsonReverseMapT %s/modulefiles >%s/map.json && %s -o spider-json %s/modulefiles >%s/modules.json", spider, dir, dir, spider, dir, dir))
	sh("bin/rmap-merge --config /dev/null --system-dir '!/tmp/**' -o maps map.json modules.json")

	d := testdb.New(t, "postgres")
	log := filepath.Join(dir, "log/xalt/oracle.log")
	var out bytes.Buffer
	follow := func() *exec.Cmd {
		cmd := exec.Command(program, "--follow", "--quiet", "--config", "/dev/null", "--timezone", "UTC", "-reverseMapD="+dir+"/maps", "--db", d.URL, filepath.Dir(log))
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	follower := follow()
	db := d.Open(t)
	count := func(query string) (n int) {
		if db.QueryRow(query).Scan(&n) != nil {
			return -1 // no table yet
		}
		return n
	}
	const links, runs = 3, 8
	for i := range links {
		sh(fmt.Sprintf("COMPILER_PATH=%s %s -o program%d main.c -L%s -lanswer -Wl,-rpath,%s", wrap, gcc, i, apps, apps))
	}
	conf, state := rotation(t, dir+"/log", collector.pidFile)
	for i := range runs {
		sh(fmt.Sprintf("PATH=%s:$PATH mpirun --oversubscribe -n 2 ./program%d", wrap, i%links))
		switch i {
		case 2: // the ingester dies
			_ = follower.Process.Kill()
			_ = follower.Wait()
			follower = follow()
		case 4:
			eventually(t, "the log", func() bool { info, err := os.Stat(log); return err == nil && info.Size() > 0 })
			cmd := exec.Command(logrotate, "-f", "-s", state, conf)
			cmd.Env = append(os.Environ(), "SYSLOG2DB="+program, "XALTPIPE_USER=", "XALT_DB="+d.URL, "TZ=UTC")
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("logrotate: %v\n%s", err, said)
			}
		case 5:
			collector.stop()
		case 6:
			collector.start()
		}
	}
	eventually(t, "the end of every run", func() bool { return count("SELECT COUNT(*) FROM xalt_run WHERE end_time > 0") == runs })
	if n := count("SELECT COUNT(*) FROM xalt_link"); n != links {
		t.Errorf("%d links, want %d", n, links)
	}
	if n := count("SELECT COUNT(*) FROM xalt_run r JOIN xalt_link l ON l.uuid = r.uuid WHERE r.exec_path = l.exec_path AND r.num_cores = 2"); n != runs {
		t.Errorf("%d runs of linked programs with two tasks, want %d", n, runs)
	}
	for _, join := range []string{"run", "link"} {
		query := "SELECT COUNT(*) FROM join_" + join + "_object j JOIN xalt_object o ON o.obj_id = j.obj_id WHERE o.module_name = 'answer/4.2' AND o.object_path LIKE '%/libanswer.so'"
		if n, want := count(query), map[string]int{"run": runs, "link": links}[join]; n != want {
			t.Errorf("%d %ss have the library with its module, want %d", n, join, want)
		}
	}
	if n := count("SELECT COUNT(*) FROM join_link_function j JOIN xalt_function f ON f.func_id = j.func_id WHERE f.function_name = 'answer'"); n != links {
		t.Errorf("%d links took the function answer, want %d", n, links)
	}
	if n := count("SELECT COUNT(*) FROM dead_letter") + count("SELECT COUNT(*) FROM run_conflict") + count("SELECT COUNT(*) FROM ingest_block"); n != 0 {
		t.Errorf("%d dead letters, conflicts and waiting blocks, want none", n)
	}
	if t.Failed() {
		logs, _ := filepath.Glob(log + "*")
		for _, file := range logs {
			t.Logf("%s:\n%s", file, readIfThere(file))
		}
	}
	_ = follower.Process.Signal(syscall.SIGTERM)
	if err := follower.Wait(); err != nil || strings.TrimSpace(out.String()) != "" {
		t.Errorf("syslog2db --follow: %v\n%s", err, out.String())
	}
}
