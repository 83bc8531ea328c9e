package acceptance_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/oracle/modellog"
)

// follower is a syslog2db that follows.
type follower struct {
	t   *testing.T
	cmd *exec.Cmd
	out bytes.Buffer
}

func follow(t *testing.T, to *instance, args ...string) *follower {
	t.Helper()
	f := &follower{t: t}
	f.cmd = exec.Command(program, append([]string{"--follow", "--interval", "20ms", "--config", "/dev/null", "--timezone", "UTC", "--db", to.url, "--stats", "json"}, args...)...)
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.cmd.Process.Kill() })
	return f
}

// end asks it to end as systemd does, and wants exit status 0.
func (f *follower) end() {
	f.t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		f.t.Fatal(err)
	}
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("syslog2db --follow: %v\n%s", err, f.out.String())
	}
}

// eventually waits until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// writer writes a log as rsyslog does, and rotates it.
type writer struct {
	t    *testing.T
	name string
	file *os.File
	gen  int
}

func newWriter(t *testing.T, name string) *writer {
	t.Helper()
	w := &writer{t: t, name: name}
	w.reopen()
	return w
}

// reopen is what HUP does.
func (w *writer) reopen() {
	w.t.Helper()
	if w.file != nil {
		w.check(w.file.Close())
	}
	f, err := os.OpenFile(w.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	w.check(err)
	w.file = f
}

func (w *writer) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// say writes lines, cut at a place that is no line's end at times.
func (w *writer) say(lines []string) {
	w.t.Helper()
	text := strings.Join(lines, "")
	cut := len(text) / 3
	for _, part := range []string{text[:cut], text[cut:]} {
		_, err := io.WriteString(w.file, part)
		w.check(err)
	}
}

// rename makes the log the next generation; the writer holds it still.
func (w *writer) rename() string {
	w.t.Helper()
	for n := w.gen; n > 0; n-- {
		old := fmt.Sprintf("%s.%d", w.name, n)
		for _, suffix := range []string{"", ".gz"} {
			if _, err := os.Stat(old + suffix); err == nil {
				w.check(os.Rename(old+suffix, fmt.Sprintf("%s.%d%s", w.name, n+1, suffix)))
			}
		}
	}
	w.gen++
	w.check(os.Rename(w.name, w.name+".1"))
	return w.name + ".1"
}

// compress replaces a file by its compressed form, as logrotate does a day later.
func (w *writer) compress(name string) {
	w.t.Helper()
	data, err := os.ReadFile(name)
	w.check(err)
	info, err := os.Stat(name)
	w.check(err)
	f, err := os.Create(name + ".gz")
	w.check(err)
	z := gzip.NewWriter(f)
	_, err = z.Write(data)
	w.check(err)
	w.check(z.Close())
	w.check(f.Close())
	day := info.ModTime().Add(-24 * time.Hour) // it is not written to any more
	w.check(os.Chtimes(name+".gz", day, day))
	w.check(os.Remove(name))
}

// TestFollow follows a log while it is written and rotated in every way, and is
// itself killed in between; what is stored is what the batch command stores, and
// the batch command finds nothing more.
func TestFollow(t *testing.T) {
	records := 2000
	if os.Getenv("XALT_SOAK") == "1" {
		records = 50_000
	}
	var log bytes.Buffer
	if _, err := modellog.Generate(&log, modellog.Options{Records: records, Profiles: 50}); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(log.String(), "\n")
	lines = lines[:len(lines)-1]
	eachDatabase(t, func(t *testing.T, db database) {
		want := db.fresh(t)
		whole := filepath.Join(t.TempDir(), "whole.log")
		if err := os.WriteFile(whole, log.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(program, "--quiet", "--config", "/dev/null", "--timezone", "UTC", "--db", want.url, whole).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		expected := want.dump(t)
		for name, rotate := range map[string]func(w *writer, held []string){
			"renamed": func(w *writer, held []string) {
				w.rename()
				w.say(held) // to the file that has another name now
				w.reopen()
			},
			"compressed later": func(w *writer, held []string) {
				if w.gen > 0 {
					w.compress(w.name + ".1")
				}
				w.rename()
				w.say(held)
				w.reopen()
			},
			"compressed at once": func(w *writer, held []string) {
				w.say(held)
				old := w.rename()
				w.reopen()
				w.compress(old)
			},
			"removed": func(w *writer, held []string) {
				old := w.rename()
				w.say(held)
				w.reopen()
				w.check(os.Remove(old)) // who follows holds it
			},
			"truncated": func(w *writer, held []string) {
				w.say(held)
				data, err := os.ReadFile(w.name)
				w.check(err)
				for n := w.gen; n > 0; n-- {
					w.check(os.Rename(fmt.Sprintf("%s.%d", w.name, n), fmt.Sprintf("%s.%d", w.name, n+1)))
				}
				w.gen++
				w.check(os.WriteFile(w.name+".1", data, 0o640))
				w.check(os.Truncate(w.name, 0))
			},
		} {
			if db.name != "sqlite" && name != "compressed later" {
				continue // the way of rotation is no matter of the database
			}
			t.Run(name, func(t *testing.T) {
				to := db.fresh(t)
				dir := t.TempDir()
				file := filepath.Join(dir, "xalt.log")
				f := follow(t, to, file)
				eventually(t, "the database", func() bool { return to.count(t, "ingest_meta") > 0 })
				w := newWriter(t, file)
				const chunks = 60
				for i := range chunks {
					part := lines[len(lines)*i/chunks : len(lines)*(i+1)/chunks]
					if i%10 == 9 {
						if name == "removed" { // what nobody has seen yet would be lost by the method
							eventually(t, "what was written", func() bool { return to.readBytes(t) == size(lines[:len(lines)*i/chunks]) })
						}
						rotate(w, part)
					} else {
						w.say(part)
					}
					if i == chunks/2 && name != "removed" {
						// Killed, while it works, and started again.
						_ = f.cmd.Process.Kill()
						_ = f.cmd.Wait()
						f = follow(t, to, file)
					}
				}
				eventually(t, "the end of the log", func() bool { return oracle.Diff(to.dump(t), expected) == "" })
				f.end()
				files, err := filepath.Glob(file + "*")
				if err != nil {
					t.Fatal(err)
				}
				args := append([]string{"--config", "/dev/null", "--db", to.url, "--stats", "json"}, files...)
				out, err := exec.Command(program, args...).Output()
				if err != nil || !strings.Contains(string(out), `"stored": 0`) || !strings.Contains(string(out), `"updated": 0`) {
					t.Errorf("the batch command afterwards: %v\n%s", err, out)
				}
				equal(t, "after the batch command", to.dump(t), expected)
			})
		}
	})
}

// readBytes is how many bytes of all sources were read and stored.
func (in *instance) readBytes(t *testing.T) (n int64) {
	t.Helper()
	db, err := in.open()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT COALESCE(SUM(position), 0) FROM ingest_source").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func size(lines []string) (n int64) {
	for _, line := range lines {
		n += int64(len(line))
	}
	return n
}

// TestFollowSettings: under systemd, the program tells that it is ready, alive,
// reloading and stopping; new reverse maps are taken in, broken ones are not.
func TestFollowSettings(t *testing.T) {
	dir := t.TempDir()
	maps := filepath.Join(dir, "maps")
	if err := os.Mkdir(maps, 0o755); err != nil {
		t.Fatal(err)
	}
	setMap := func(text string) {
		t.Helper()
		temporary := filepath.Join(dir, "new")
		if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(maps, "xalt_rmapT.json")); err != nil {
			t.Fatal(err)
		}
	}
	setMap(`{"reverseMapT":{"/apps/one":"one/1"},"xlibmap":[]}`)
	socket := filepath.Join(dir, "notify")
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = notified.Close() }()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "60000000")
	wait := func(state string) {
		t.Helper()
		buf := make([]byte, 4096)
		if err := notified.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := notified.Read(buf)
			if err != nil {
				t.Fatalf("systemd was not told %s: %v", state, err)
			}
			if strings.HasPrefix(string(buf[:n]), state) {
				return
			}
		}
	}
	log := filepath.Join(dir, "xalt.log")
	record := func(n int) {
		t.Helper()
		text := fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["a"],"hash_id":"0","libA":[["/apps/one/lib%d.so","h"]],"ptA":[],"envT":{},"userT":{"syshost":"s","run_uuid":"00000000-0000-4000-8000-%012d","exec_path":"/bin/a","exec_type":"binary","cwd":"/","user":"u","account":"a","job_id":"1","queue":"q"},"userDT":{"start_time":1700000000,"end_time":0,"run_time":0,"probability":1,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0},"xaltLinkT":{},"XALT_measureT":{},"XALT_qaT":{}}`, n, n)
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range oracle.Lines("run", "s", fmt.Sprintf("run_strt_00000000-0000-4000-8000-%012d", n), text, 512) {
			fmt.Fprintln(f, line)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := databases()[0].fresh(t)
	module := func(n int) string {
		d, err := db.open()
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var name sql.NullString
		if d.QueryRow("SELECT module_name FROM xalt_object WHERE object_path = ?", fmt.Sprintf("/apps/one/lib%d.so", n)).Scan(&name) != nil {
			return "nothing yet"
		}
		return name.String
	}
	f := follow(t, db, "-reverseMapD="+maps, "--metrics-file", filepath.Join(dir, "xalt.prom"), log)
	wait("READY=1")
	record(1)
	eventually(t, "the first record", func() bool { return module(1) == "one/1" })
	wait("WATCHDOG=1")
	setMap(`{"reverseMapT":{"/apps/one":"one/2"},"xlibmap":[]}`)
	hup := func() {
		t.Helper()
		if err := f.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		wait("RELOADING=1")
		wait("READY=1")
	}
	hup()
	record(2)
	eventually(t, "the second record", func() bool { return module(2) == "one/2" })
	setMap(`{"reverseMapT":`)
	hup()
	record(3)
	eventually(t, "the third record, with the map as it was", func() bool { return module(3) == "one/2" })
	setMap(`{"reverseMapT":{"/apps/one":"one/4"},"xlibmap":[]}`) // no signal
	n := 3
	newest := func(name string) {
		t.Helper()
		eventually(t, "a record with the newest map", func() bool {
			if module(n) != "nothing yet" && module(n) != name {
				n++
				record(n)
			}
			return module(n) == name
		})
	}
	newest("one/4")
	own := filepath.Join(maps, "s") // the machine's first map of its own
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "xalt_rmapT.json"), []byte(`{"reverseMapT":{"/apps/one":"one/5"},"xlibmap":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	newest("one/5")
	f.end()
	wait("STOPPING=1")
	for _, said := range []string{"settings are kept as they were", "new reverse maps: "} {
		if !strings.Contains(f.out.String(), said) {
			t.Errorf("it did not say %q:\n%s", said, f.out.String())
		}
	}
	if metrics := string(contents(t, filepath.Join(dir, "xalt.prom"))); !strings.Contains(metrics, fmt.Sprintf(`xaltpipe_records{fate="stored"} %d`, n)) {
		t.Errorf("metrics do not tell of %d records:\n%s", n, metrics)
	}
}
