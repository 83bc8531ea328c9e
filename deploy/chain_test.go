package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/oracle/modellog"
	"xaltpipe/internal/testdb"
)

// TestChain sends 2,000 records from a node through rsyslog, the collector's
// log, logrotate and syslog2db into a database, while the log is rotated five
// times, the collector is stopped and started, and ingesters are killed. Every
// record is in the database in the end, once.
func TestChain(t *testing.T) {
	logrotate := need(t, "logrotate")
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
	want, err := oracle.Model(oracle.Options{}, &log)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			port, logs := freePort(t), t.TempDir()
			if err := os.Mkdir(filepath.Join(logs, "xalt"), 0o750); err != nil {
				t.Fatal(err)
			}
			collector := newRsyslog(t, "xalt_collector.conf", "", `"2514"`, `"`+port+`"`, "/var/log/xalt", logs+"/xalt")
			collector.start()
			eventually(t, "the collector", func() bool { return listens(port) })
			socket := filepath.Join(t.TempDir(), "log")
			node := newRsyslog(t, "xalt_syslog.conf", nodeMain(socket), `"2514"`, `"`+port+`"`, "collector.example.org", "127.0.0.1", `resumeInterval="5"`, `resumeInterval="1"`)
			node.start()

			env := append(os.Environ(), "SYSLOG2DB="+program, "XALTPIPE_USER=", "XALT_DB="+d.URL, "TZ=UTC")
			ingest := func(args ...string) *exec.Cmd {
				cmd := exec.Command(program, args...)
				cmd.Env = env
				return cmd
			}
			conf, state := rotation(t, logs, collector.pidFile)
			rotate := func() {
				t.Helper()
				cmd := exec.Command(logrotate, "-f", "-s", state, conf)
				cmd.Env = env
				out, err := cmd.CombinedOutput()
				if said := strings.ReplaceAll(string(out), noMap, ""); err != nil || said != "" {
					t.Fatalf("logrotate: %v\n%s", err, said)
				}
			}
			file := filepath.Join(logs, "xalt", "oracle.log")
			written := func() bool { info, err := os.Stat(file); return err == nil && info.Size() > 0 }

			c := logSocket(t, socket)
			fifteenth := len(messages) / 15
			for i, text := range messages {
				if i%fifteenth == 0 {
					switch step := i / fifteenth; {
					case step == 0:
					case step == 4:
						collector.stop()
					case step == 6:
						collector.start()
						eventually(t, "the collector again", func() bool { return listens(port) })
					case step == 3 || step == 8 || step == 13: // an ingester that does not come far
						cmd := ingest("--quiet", "--batch-records", "10", file)
						if err := cmd.Start(); err != nil {
							t.Fatal(err)
						}
						_ = cmd.Process.Kill()
						_ = cmd.Wait()
					case step%2 == 0 || step == 11:
						eventually(t, "the log", written)
						rotate()
					}
				}
				say(t, c, "XALT_LOGGING_oracle", text)
			}
			// Nothing is removed before its time: all generations together hold
			// every message, or the database has it.
			stored := func() int {
				out, err := ingest("summary").CombinedOutput()
				if err != nil {
					return 0
				}
				return number(string(out), "links") + number(string(out), "runs") + number(string(out), "packages")
			}
			rows := stats.Links + stats.Starts + stats.Pkgs
			eventually(t, fmt.Sprintf("%d rows", rows), func() bool {
				files, err := filepath.Glob(file + "*")
				if err != nil {
					t.Fatal(err)
				}
				out, err := ingest(append([]string{"--quiet"}, files...)...).CombinedOutput()
				if said := strings.ReplaceAll(string(out), noMap, ""); err != nil || said != "" {
					t.Fatalf("syslog2db: %v\n%s", err, said)
				}
				return stored() >= rows
			})
			// The end records of the last runs may still be under way.
			db := d.Open(t)
			var got oracle.Dump
			eventually(t, "the last records", func() bool {
				files, _ := filepath.Glob(file + "*")
				if out, err := ingest(append([]string{"--quiet"}, files...)...).CombinedOutput(); err != nil {
					t.Fatalf("syslog2db: %v\n%s", err, out)
				}
				if got, err = oracle.FromDB(context.Background(), db, kind); err != nil {
					t.Fatal(err)
				}
				return oracle.Diff(got, want) == ""
			})
			if files, _ := filepath.Glob(file + ".*"); !slices.Contains(files, file+".4.gz") || slices.Contains(files, file+".5.gz") {
				t.Errorf("generations %q, want four", files)
			}
			if out, err := ingest("pending").CombinedOutput(); err != nil || strings.Contains(string(out), "oracle") {
				t.Errorf("records wait: %v\n%s", err, out)
			}
		})
	}
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
