package deploy_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/oracle/modellog"
	"xaltpipe/internal/testdb"
)

// site is software that a chain's tests have in common: xalt-wrap and a library
// under a module of Lmod's, with the map that spider and rmap-merge make of it.
type site struct{ dir, gcc, wrap, libraries, maps string }

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), gcc: need(t, "gcc")}
	need(t, "mpirun")
	const spider = "/usr/share/lmod/lmod/libexec/spider"
	if _, err := os.Stat(spider); err != nil {
		without(t, err.Error())
	}
	s.wrap, s.libraries, s.maps = filepath.Join(s.dir, "wrap"), filepath.Join(s.dir, "apps/answer/4.2/lib"), filepath.Join(s.dir, "maps")
	bin := filepath.Join(s.dir, "bin")
	for _, d := range []string{bin, s.wrap, s.libraries, filepath.Join(s.dir, "modulefiles/answer")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("go", "build", "-o", bin+"/", "xaltpipe/cmd/xalt-wrap", "xaltpipe/cmd/rmap-merge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"ld", "mpirun"} {
		if err := os.Symlink(filepath.Join(bin, "xalt-wrap"), filepath.Join(s.wrap, name)); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, filepath.Join(s.dir, "modulefiles/answer/4.2.lua"), fmt.Sprintf("prepend_path(\"LD_LIBRARY_PATH\", %q)\n", s.libraries), 0o644)
	mustWrite(t, filepath.Join(s.dir, "answer.c"), "int answer(void) { return 0; }\n", 0o644)
	mustWrite(t, filepath.Join(s.dir, "main.c"), "int answer(void); int main(void) { return answer(); }\n", 0o644)
	s.sh(t, s.gcc+" -shared -fPIC -o "+s.libraries+"/libanswer.so answer.c")
	s.sh(t, fmt.Sprintf("cd / && %s -o jsonReverseMapT %s/modulefiles >%s/map.json && %s -o spider-json %s/modulefiles >%s/modules.json", spider, s.dir, s.dir, spider, s.dir, s.dir))
	s.sh(t, "bin/rmap-merge --config /dev/null --system-dir '!/tmp/**' -o maps map.json modules.json")
	return s
}

// sh runs a script in the site's directory.
func (s *site) sh(t *testing.T, script string, env ...string) {
	t.Helper()
	cmd := exec.Command("sh", "-e", "-c", script)
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "HOME="+s.dir), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// follower is a syslog2db --follow that is killed and started again.
type follower struct {
	t    *testing.T
	args []string
	cmd  *exec.Cmd
	out  bytes.Buffer
}

func (f *follower) start() {
	f.t.Helper()
	f.cmd = exec.Command(program, f.args...)
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	if err := f.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) kill() {
	_ = f.cmd.Process.Kill()
	_ = f.cmd.Wait()
}

// TestChain goes all the way with real parts, into both kinds of database at
// once: one is filled as cron does, through logrotate's script, the other by
// syslog2db --follow. 2,000 records flow from a node's /dev/log through rsyslog on
// node and collector into the log, and beside them those of xalt-wrap around
// gcc's ld and Open MPI's mpirun. Meanwhile the log is rotated five times, the
// collector and the database server are stopped for a while, and ingesters are
// killed. In the end every record is in both databases, once.
func TestChain(t *testing.T) {
	logrotate := need(t, "logrotate")
	s := newSite(t)
	var log bytes.Buffer
	stats, err := modellog.Generate(&log, modellog.Options{Records: 2000, Profiles: 60, Syshost: "oracle"})
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	for line := range strings.Lines(log.String()) {
		_, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "XALT_LOGGING_oracle")
		if !ok {
			t.Fatalf("a line of the model log without a tag: %.100q", line)
		}
		messages = append(messages, strings.TrimLeft(text, " :-"))
	}
	for _, tt := range []struct{ cron, followed string }{{"sqlite", "postgres"}, {"postgres", "sqlite"}} {
		t.Run(tt.cron+" by cron and "+tt.followed+" followed", func(t *testing.T) {
			cron, followed := testdb.New(t, tt.cron), testdb.New(t, tt.followed)
			port, logs, dir := freePort(t), t.TempDir(), t.TempDir()
			if err := os.Mkdir(filepath.Join(logs, "xalt"), 0o750); err != nil {
				t.Fatal(err)
			}
			collector := newRsyslog(t, "xalt_collector.conf", "", `"2514"`, `"`+port+`"`, "/var/log/xalt", logs+"/xalt")
			startCollector := func() {
				t.Helper()
				collector.start()
				eventually(t, "the collector", func() bool { return listens(port) })
			}
			startCollector()
			socket := filepath.Join(dir, "log")
			node := newRsyslog(t, "xalt_syslog.conf", nodeMain(socket), `"2514"`, `"`+port+`"`, "collector.example.org", "127.0.0.1", `resumeInterval="5"`, `resumeInterval="1"`)
			node.start()

			config, script := filepath.Join(dir, "syslog2db.toml"), filepath.Join(dir, "syslog2db")
			mustWrite(t, config, fmt.Sprintf("reverseMapD = %q\ntimezone = \"UTC\"\n", s.maps), 0o644)
			mustWrite(t, script, fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" --config %s\n", program, config), 0o755)
			env := append(os.Environ(), "SYSLOG2DB="+script, "XALTPIPE_USER=", "XALT_DB="+cron.URL)
			quietly := func(name string, args ...string) {
				t.Helper()
				cmd := exec.Command(name, args...)
				cmd.Env = env
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("%s %q: %v\n%s", name, args, err, out)
				}
			}
			conf, state := rotation(t, logs, collector.pidFile)
			file := filepath.Join(logs, "xalt", "oracle.log")
			rotate := func() {
				t.Helper()
				eventually(t, "the log", func() bool { info, err := os.Stat(file); return err == nil && info.Size() > 0 })
				quietly(logrotate, "-f", "-s", state, conf)
			}
			follow := &follower{t: t, args: []string{"--follow", "--quiet", "--config", config, "--db", followed.URL, filepath.Dir(file)}}
			follow.start()
			t.Cleanup(follow.kill)
			killIngesters := func() { // they do not come far
				cmd := exec.Command(script, "--quiet", "--batch-records", "10", file)
				cmd.Env = env
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				follow.kill()
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				follow.start()
			}

			wrapped := filepath.Join(dir, "xalt-wrap.toml")
			mustWrite(t, wrapped, fmt.Sprintf("syshost = \"wrapped\"\nsocket = %q\ntracked-libraries = %q\ndeadline = \"20s\"\nend-wait = \"20s\"\n", socket, s.maps+"/xlibmap.list"), 0o644)
			links, runs := 0, 0
			link := func() {
				t.Helper()
				s.sh(t, fmt.Sprintf("COMPILER_PATH=%s %s -o program%d main.c -L%s -lanswer -Wl,-rpath,%s", s.wrap, s.gcc, links, s.libraries, s.libraries), "XALT_WRAP_CONFIG="+wrapped)
				links++
			}
			run := func() {
				t.Helper()
				s.sh(t, fmt.Sprintf("PATH=%s:$PATH mpirun --oversubscribe -n 2 ./program%d", s.wrap, runs%links), "XALT_WRAP_CONFIG="+wrapped)
				runs++
			}
			// What happens between the 16 parts of the messages. The log of "wrapped"
			// begins behind the first rotation, so that all of it is there in the end.
			do := func(list ...func()) []func() { return list }
			steps := [][]func(){
				2: do(rotate, link, link, run), 3: do(killIngesters, run), 4: do(collector.stop, run), 5: do(link, run), 6: do(startCollector, rotate),
				7: do(run), 8: do(killIngesters, run), 9: do(func() { testdb.Halt(t, "postgres") }, run), 10: do(func() { testdb.Relaunch(t, "postgres") }, rotate),
				11: do(run), 12: do(rotate), 13: do(killIngesters, run), 14: do(rotate, run),
			}
			c := logSocket(t, socket)
			part := len(messages)/(len(steps)+1) + 1
			for i, text := range messages {
				if i%part == 0 && i/part < len(steps) {
					for _, f := range steps[i/part] {
						f()
					}
				}
				say(t, c, "XALT_LOGGING_oracle", text)
			}

			counts := map[string]int{
				"xalt_link": stats.Links + links, "xalt_run": stats.Starts + runs, "pkg": stats.Pkgs,
				"xalt_run WHERE end_time > 0": stats.Ends + runs, "dead_letter": 0, "run_conflict": 0, "link_conflict": 0, "ingest_block": 0,
				"xalt_run r JOIN xalt_link l ON l.uuid = r.uuid WHERE r.exec_path = l.exec_path AND r.num_cores = 2 AND r.syshost = 'wrapped'":            runs,
				"join_run_object j JOIN xalt_object o ON o.obj_id = j.obj_id WHERE o.module_name = 'answer/4.2' AND o.object_path LIKE '%/libanswer.so'":  runs,
				"join_link_object j JOIN xalt_object o ON o.obj_id = j.obj_id WHERE o.module_name = 'answer/4.2' AND o.object_path LIKE '%/libanswer.so'": links,
				"join_link_function j JOIN xalt_function f ON f.func_id = j.func_id WHERE f.function_name = 'answer'":                                     links,
			}
			ingest, err := filepath.Abs("logrotate/xalt-ingest")
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []testdb.Database{followed, cron} {
				db := d.Open(t)
				different := func() (list []string) {
					for from, want := range counts {
						var n int
						if err := db.QueryRow("SELECT COUNT(*) FROM " + from).Scan(&n); err != nil || n != want {
							list = append(list, fmt.Sprintf("%d of %d in %s (%v)", n, want, from, err))
						}
					}
					return list
				}
				deadline := time.Now().Add(time.Minute)
				for len(different()) > 0 && time.Now().Before(deadline) {
					if d == cron { // the next hour
						quietly("sh", ingest, "all", logs+"/xalt/*.log")
					}
					time.Sleep(50 * time.Millisecond)
				}
				if list := different(); list != nil {
					t.Fatalf("%s has\n%s", d.Kind, strings.Join(list, "\n"))
				}
			}
			// Every record is there as it was sent, and the summary says so.
			want, err := oracle.Model(oracle.Options{ReverseMaps: []string{s.maps}}, bytes.NewReader(log.Bytes()), generations(t, filepath.Join(logs, "xalt/wrapped.log")))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []testdb.Database{followed, cron} {
				got, err := oracle.FromDB(context.Background(), d.Open(t), d.Kind)
				if err != nil {
					t.Fatal(err)
				}
				if diff := oracle.Diff(got, want); diff != "" {
					t.Errorf("%s (+got -want):\n%s", d.Kind, diff)
				}
				out, err := exec.Command(program, "summary", "--config", config, "--db", d.URL).Output()
				if err != nil {
					t.Fatal(err)
				}
				for name, n := range map[string]int{"links": stats.Links + links, "runs": stats.Starts + runs, "packages": stats.Pkgs, "conflicts": 0, "waiting": 0, "dead": 0} {
					if got := number(strings.ReplaceAll(string(out), "dead letters", "dead"), name); got != n {
						t.Errorf("%s: the summary says %d %s, want %d", d.Kind, got, name, n)
					}
				}
			}
			if files, _ := filepath.Glob(file + ".*"); !slices.Contains(files, file+".4.gz") || slices.Contains(files, file+".5.gz") {
				t.Errorf("generations %q, want four", files)
			}
			_ = follow.cmd.Process.Signal(syscall.SIGTERM)
			if err := follow.cmd.Wait(); err != nil || strings.TrimSpace(follow.out.String()) != "" {
				t.Errorf("syslog2db --follow: %v\n%s", err, follow.out.String())
			}
		})
	}
}

// generations are the lines of a log and all that it was before.
func generations(t *testing.T, log string) io.Reader {
	t.Helper()
	files, err := filepath.Glob(log + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no generations, %v", log, err)
	}
	var all bytes.Buffer
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(file, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := all.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
	}
	return &all
}

// noMap is what syslog2db says without a reverse map.
const noMap = "syslog2db: no reverse map (--reverseMapD): modules are not named\n"

// number finds a count in the output of syslog2db summary.
func number(summary, name string) int {
	for line := range strings.Lines(summary) {
		fields := strings.Fields(strings.ReplaceAll(line, ":", ""))
		if len(fields) > 1 && fields[0] == name {
			n, _ := strconv.Atoi(fields[1])
			return n
		}
	}
	return 0
}

// rotation writes the shipped configuration of logrotate with a test's paths.
func rotation(t *testing.T, logs, pidFile string) (conf, state string) {
	t.Helper()
	dir := t.TempDir()
	script, err := filepath.Abs("logrotate/xalt-ingest")
	if err != nil {
		t.Fatal(err)
	}
	text := mustRead(t, "logrotate/xalt")
	for _, pair := range [][2]string{
		{"/var/log/xalt", logs + "/xalt"},
		{"/usr/lib/xaltpipe/xalt-ingest", script},
		{"[ -x /usr/lib/rsyslog/rsyslog-rotate ]", "true"},
		{"/usr/lib/rsyslog/rsyslog-rotate", "kill -HUP $(cat " + pidFile + ")"},
		{"root xaltpipe", "root root"},
	} {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("logrotate/xalt does not say %q", pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	conf = filepath.Join(dir, "xalt")
	mustWrite(t, conf, text, 0o644)
	return conf, filepath.Join(dir, "state")
}

// TestRotationRefused: while a generation is not in the database, logrotate
// leaves everything as it is, however often it is called.
func TestRotationRefused(t *testing.T) {
	logrotate := need(t, "logrotate")
	logs, dir := t.TempDir(), t.TempDir()
	log := filepath.Join(logs, "xalt.log")
	conf, state := rotation(t, logs, "/nonexistent")
	mustWrite(t, conf, strings.ReplaceAll(mustRead(t, conf), "kill -HUP $(cat /nonexistent)", "true"), 0o644)
	database := filepath.Join(dir, "xalt.db")
	rotate := func() (string, error) {
		cmd := exec.Command(logrotate, "-f", "-s", state, conf)
		cmd.Env = append(os.Environ(), "SYSLOG2DB="+program, "XALTPIPE_USER=", "XALT_DB=sqlite:"+database, "TZ=UTC")
		out, err := cmd.CombinedOutput()
		return strings.ReplaceAll(string(out), noMap, ""), err
	}
	lines := strings.SplitAfter(mustRead(t, "../testdata/xalt.log"), "\n")
	day := func(n int) { mustWrite(t, log, strings.Join(lines[n*20:n*20+20], ""), 0o640) }
	for n := range 5 {
		day(n)
		if out, err := rotate(); err != nil || out != "" {
			t.Fatalf("day %d: %v\n%s", n, err, out)
		}
	}
	day(5)
	// The database is away, and a directory in its place.
	if err := os.Rename(database, database+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(database, 0o700); err != nil {
		t.Fatal(err)
	}
	before := contents(t, logs)
	for range 3 {
		out, err := rotate()
		if err == nil || !strings.Contains(out, "xalt-ingest: not rotated") {
			t.Errorf("without a database: %v\n%s", err, out)
		}
		if after := contents(t, logs); !slices.Equal(after, before) {
			t.Errorf("refused, but changed: %q, want %q", after, before)
		}
	}
	if err := os.Remove(database); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(database+".away", database); err != nil {
		t.Fatal(err)
	}
	if out, err := rotate(); err != nil || out != "" {
		t.Errorf("with the database again: %v\n%s", err, out)
	}
	if after := contents(t, logs); slices.Equal(after, before) {
		t.Error("with the database again nothing was rotated")
	}
}

// TestRotationCutOff: a line that a crash has cut off, and that is never finished,
// does not keep logs from being rotated for ever.
func TestRotationCutOff(t *testing.T) {
	logrotate := need(t, "logrotate")
	logs, dir := t.TempDir(), t.TempDir()
	log := filepath.Join(logs, "xalt.log")
	conf, state := rotation(t, logs, "/nonexistent")
	mustWrite(t, conf, strings.ReplaceAll(mustRead(t, conf), "kill -HUP $(cat /nonexistent)", "true"), 0o644)
	env := append(os.Environ(), "SYSLOG2DB="+program, "XALTPIPE_USER=", "XALT_DB=sqlite:"+dir+"/xalt.db", "TZ=UTC")
	rotate := func() (string, error) {
		cmd := exec.Command(logrotate, "-f", "-s", state, conf)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		return strings.ReplaceAll(string(out), noMap, ""), err
	}
	text := mustRead(t, "../testdata/xalt.log")
	mustWrite(t, log, text[:60_000], 0o640)
	if out, err := rotate(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mustWrite(t, log, text[60_000:], 0o640)
	before := contents(t, logs)
	if out, err := rotate(); err == nil || !slices.Equal(contents(t, logs), before) {
		t.Errorf("with a line that may be finished: %v\n%s", err, out)
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(log+".1", old, old); err != nil {
		t.Fatal(err)
	}
	if out, err := rotate(); err != nil || slices.Equal(contents(t, logs), before) {
		t.Errorf("with one that never is: %v\n%s", err, out)
	}
	cmd := exec.Command(program, "dead-letters")
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "CRC mismatch") != 1 {
		t.Errorf("dead letters: %v\n%s", err, out)
	}
}

// TestMachineLikeGeneration: the log of a machine that calls itself x.log.1 is written
// to, and so never whole; it is no generation of x.log's that must be before a rotation.
func TestMachineLikeGeneration(t *testing.T) {
	logs, said := t.TempDir(), filepath.Join(t.TempDir(), "said")
	for _, name := range []string{"x.log", "x.log.1", "x.log.2.gz", "x.log.1.log", "x.log.1.log.1"} {
		mustWrite(t, filepath.Join(logs, name), "", 0o600)
	}
	mustWrite(t, said+".sh", "#!/bin/sh\necho \"$@\" >>"+said+"\n", 0o755)
	for action, want := range map[string]string{
		"check": "status x.log.1 x.log.2.gz x.log.1.log.1\n", "newest": "--quiet x.log.1 x.log.1.log.1\n",
		"all": "--quiet x.log.1 x.log.2.gz x.log x.log.1.log.1 x.log.1.log\n",
	} {
		_ = os.Remove(said)
		cmd := exec.Command("sh", "logrotate/xalt-ingest", action, "/nonexistent "+logs+"/*.log")
		cmd.Env = append(os.Environ(), "SYSLOG2DB="+said+".sh", "XALTPIPE_USER=", "LC_ALL=C")
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		got := strings.Fields(strings.ReplaceAll(mustRead(t, said), logs+"/", ""))
		slices.Sort(got)
		list := strings.Fields(want)
		slices.Sort(list)
		if !slices.Equal(slices.Compact(got), list) { // to be given twice does no harm
			t.Errorf("%s: syslog2db %q, want %q", action, got, list)
		}
	}
}

// contents lists the files of a directory with their sizes.
func contents(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %d", e.Name(), info.Size()))
	}
	return list
}

// TestLogrotateSyntax has logrotate check the shipped file.
func TestLogrotateSyntax(t *testing.T) {
	logs := t.TempDir()
	conf, state := rotation(t, logs, "/nonexistent")
	out, err := exec.Command(need(t, "logrotate"), "-d", "-s", state, conf).CombinedOutput()
	if err != nil || strings.Contains(string(out), "error") {
		t.Errorf("logrotate -d: %v\n%s", err, out)
	}
	text := mustRead(t, "logrotate/xalt")
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "copytruncate" {
			t.Error("copytruncate loses lines")
		}
	}
}
