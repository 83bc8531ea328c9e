package main

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// tool returns the path of a program of .ci/packages.
func tool(t *testing.T, path string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	if err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return found
}

// ingest reads logs or directories with our syslog2db and returns the database.
// Anything that it could not store fails the test.
func ingest(t *testing.T, sources ...string) *sql.DB {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.db")
	args := append([]string{"--config", "/dev/null", "--db", "sqlite:" + file, "--timezone", "UTC"}, sources...)
	if out, err := exec.CommandContext(t.Context(), filepath.Join(built, "syslog2db"), args...).CombinedOutput(); err != nil {
		t.Fatalf("syslog2db: %v\n%s", err, out)
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for _, table := range []string{"dead_letter", "run_conflict", "ingest_block"} {
		if n := query(t, db, "SELECT count(*) FROM "+table); n != "0" {
			t.Errorf("%s rows in %s", n, table)
		}
	}
	return db
}

// query returns the first row, its cells joined by bars.
func query(t *testing.T, db *sql.DB, text string) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	cells := make([]any, len(columns))
	for i := range cells {
		cells[i] = new(any)
	}
	if !rows.Next() {
		t.Fatalf("%s: no row, %v", text, rows.Err())
	}
	if err := rows.Scan(cells...); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i, c := range cells {
		if i > 0 {
			b.WriteByte('|')
		}
		if v, ok := c.(*any); ok {
			fmt.Fprint(&b, *v)
		}
	}
	return b.String()
}

// launchThree runs programs that end in three ways, of one with a package.
func (s *site) launchThree(t *testing.T) {
	t.Helper()
	script := "echo fine; " + wrapBinary() + " pkg --program python --name numpy --version 1.26 --path /opt/numpy; exit 3"
	for _, want := range []struct {
		command []string
		result  result
	}{
		{[]string{"/bin/sh", "-c", script}, result{stdout: "fine\n", status: 3}},
		{[]string{"/bin/sh", "-c", "kill -9 $$"}, result{signal: 9}},
		{[]string{"/bin/true", "ü\xff", "--password=hunter2"}, result{}},
	} {
		if got := runCommand(t, s.command(true, want.command...)); got != want.result {
			t.Errorf("%q: %+v, want %+v", want.command, got, want.result)
		}
	}
}

func checkThree(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, tt := range []struct{ query, want string }{
		{"SELECT count(*), count(DISTINCT run_uuid), min(syshost), min(end_time > start_time) FROM xalt_run", "3|3|oracle|1"},
		{"SELECT exit_status, exit_signal FROM xalt_run WHERE exit_status = 3", "3|<nil>"},
		{"SELECT exit_status, exit_signal FROM xalt_run WHERE exit_signal = 9", "<nil>|9"},
		{"SELECT count(*) FROM xalt_run WHERE exit_status = 0 AND exec_path LIKE '%/true'", "1"},
		{"SELECT program, pkg_name, pkg_version, pkg_path FROM xalt_pkg", "python|numpy|1.26|/opt/numpy"},
		{"SELECT count(*) FROM pkg p JOIN xalt_run r ON r.run_uuid = p.run_uuid AND r.exit_status = 3", "1"},
	} {
		if got := query(t, db, tt.query); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.query, got, tt.want)
		}
	}
}

func TestIngestFiles(t *testing.T) {
	s := newSite(t)
	s.launchThree(t)
	checkThree(t, ingest(t, s.records))
	hidden := 0
	for _, name := range s.recordNames() {
		text, err := os.ReadFile(filepath.Join(s.records, name))
		if err != nil || strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: %v, or a password in it", name, err)
		}
		hidden += strings.Count(string(text), `"--password=***"`)
	}
	if hidden != 2 {
		t.Errorf("%d records with a hidden password, want 2", hidden)
	}
}

func TestIngestStdout(t *testing.T) {
	s := newSite(t, "transport = 'stdout'")
	log := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"/bin/sh", "-c", wrapBinary() + " pkg --program python --name numpy --version 1.26 --path /opt/numpy; exit 3"}, {"/bin/sh", "-c", "kill -9 $$"}, {"/bin/true"}} {
		cmd := s.command(true, command...)
		cmd.Stdout = f
		runCommand(t, cmd)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	checkThree(t, ingest(t, log))
}

var blockHeader = regexp.MustCompile(`key:(\S+) crcStr:\S+ nb:(\d+) idx:(\d+) `)

// completeRecords counts the records of a log all of whose blocks are there.
func completeRecords(log string) (n int) {
	text, _ := os.ReadFile(log) // not there yet: no record
	blocks := make(map[string]map[string]bool)
	for line := range strings.Lines(string(text)) {
		m := blockHeader.FindStringSubmatch(line)
		if m == nil || !strings.HasSuffix(line, "\n") {
			continue
		}
		if blocks[m[1]] == nil {
			blocks[m[1]] = make(map[string]bool)
		}
		blocks[m[1]][m[3]] = true
		if want, err := strconv.Atoi(m[2]); err == nil && len(blocks[m[1]]) == want {
			n++
		}
	}
	return n
}

// TestRsyslog: records go through a real daemon, by its socket and over TCP,
// in each form, into a file, and from there into the database.
func TestRsyslog(t *testing.T) {
	daemon := tool(t, "/usr/sbin/rsyslogd")
	for _, tt := range []struct{ name, template, transport, format string }{
		{"socket, file format", "RSYSLOG_FileFormat", "syslog", "rfc3164"},
		{"socket, traditional", "RSYSLOG_TraditionalFileFormat", "syslog", "rfc3164"},
		{"socket, RFC 5424", "RSYSLOG_SyslogProtocol23Format", "syslog", "rfc5424"},
		{"TCP, RFC 5424", "RSYSLOG_SyslogProtocol23Format", "tcp", "rfc5424"},
		{"TCP, file format", "RSYSLOG_FileFormat", "tcp", "rfc3164"},
		{"UDP, file format", "RSYSLOG_FileFormat", "udp", "rfc5424"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			socket, log, port := filepath.Join(dir, "log.sock"), filepath.Join(dir, "xalt.log"), freePort(t)
			config := fmt.Sprintf(`global(workDirectory=%[1]q maxMessageSize="16k" parser.escapeControlCharactersOnReceive="off")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket=%[2]q UseSpecialParser=%[6]q)
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="%[3]d")
module(load="imudp")
input(type="imudp" address="127.0.0.1" port="%[3]d")
if $programname startswith "XALT_LOGGING" then action(type="omfile" file=%[4]q template=%[5]q asyncWriting="off" flushOnTXEnd="on")
`, dir, socket, port, log, tt.template, map[string]string{"rfc3164": "on", "rfc5424": "off"}[tt.format])
			file := filepath.Join(dir, "rsyslog.conf")
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), daemon, "-n", "-f", file, "-i", filepath.Join(dir, "pid"))
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			stop := func() {
				_ = cmd.Process.Signal(syscall.SIGTERM) // it writes what it has, and ends
				_ = cmd.Wait()
			}
			defer stop()
			for {
				_, err := os.Stat(socket)
				conn, dialErr := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if dialErr == nil {
					_ = conn.Close()
				}
				if err == nil && dialErr == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			s := newSite(t, "transport = '"+tt.transport+"'", "format = '"+tt.format+"'", "socket = '"+socket+"'", fmt.Sprintf("server = '127.0.0.1:%d'", port))
			s.launchThree(t)
			// UDP and TCP take their time.
			deadline := time.Now().Add(2 * time.Minute)
			for completeRecords(log) < 7 {
				if time.Now().After(deadline) {
					text, _ := os.ReadFile(log)
					t.Fatalf("waited in vain for six run records and a package:\n%s", text)
				}
				time.Sleep(5 * time.Millisecond)
			}
			stop()
			checkThree(t, ingest(t, log))
		})
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	address, _ := l.Addr().(*net.TCPAddr)
	return address.Port
}

// TestTrouble: whatever is wrong with syslog, the program does not notice, and
// the record is in the spool directory.
func TestTrouble(t *testing.T) {
	for name, socket := range map[string]func(t *testing.T, path string){
		"missing": func(*testing.T, string) {},
		"a directory": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"nobody listens": func(t *testing.T, path string) {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
			if err == nil {
				err = errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Close(fd))
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		"blocked": func(t *testing.T, path string) {
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			fill, err := net.Dial("unixgram", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = fill.Close() })
			for { // until the queue is full
				_ = fill.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				if _, err := fill.Write([]byte("x")); errors.Is(err, os.ErrDeadlineExceeded) {
					return
				} else if err != nil {
					t.Fatal(err)
				}
			}
		},
		"slow": func(t *testing.T, path string) { // takes one message in a while
			conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			if err != nil {
				t.Fatal(err)
			}
			ticker := time.NewTicker(30 * time.Millisecond)
			done := make(chan struct{})
			go func() {
				defer close(done)
				buf := make([]byte, 64<<10)
				for range ticker.C {
					if _, err := conn.Read(buf); err != nil {
						return
					}
				}
			}()
			t.Cleanup(func() { _ = conn.Close(); <-done; ticker.Stop() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, spool := filepath.Join(dir, "log"), filepath.Join(dir, "spool")
			if err := os.Mkdir(spool, 0o777); err != nil {
				t.Fatal(err)
			}
			socket(t, path)
			s := newSite(t, "transport = 'syslog'", "socket = '"+path+"'", "spool = '"+spool+"'")
			text, err := os.ReadFile(s.config)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), "deadline = '30s'", "deadline = '20ms'", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got := runCommand(t, s.command(true, "/bin/sh", "-c", "echo x; exit 4")); got != (result{stdout: "x\n", status: 4}) {
					t.Errorf("%+v", got)
				}
			}
			own, err := os.ReadDir(filepath.Join(spool, fmt.Sprint(os.Geteuid())))
			if name == "slow" {
				return // some got through
			}
			if err != nil || len(own) != 6 {
				t.Errorf("%d records in the spool, %v, want 6", len(own), err)
			}
		})
	}
}

// TestFullDisk: what cannot be written is lost, and nobody notices.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k,nr_inodes=3"); err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skipf("a small file system needs root: %v", err)
	}
	defer func() { _ = syscall.Unmount(dir, 0) }()
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lines := range [][]string{
		{"transport = 'file'", "directory = '" + dir + "'"},
		{"transport = 'syslog'", "socket = '/nosuch'", "spool = '" + dir + "'"},
	} {
		s := newSite(t, lines...)
		if got := runCommand(t, s.command(true, "/bin/sh", "-c", "echo x; exit 4")); got != (result{stdout: "x\n", status: 4}) {
			t.Errorf("%q: %+v", lines, got)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".json") {
			t.Errorf("%s on a full disk", e.Name())
		}
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	s := newSite(t, "transport = 'stdout'")
	for _, wrapped := range []bool{false, true} {
		cmd := s.command(wrapped, "/bin/echo", "x")
		cmd.Stdout = full
		if got := runCommand(t, cmd); got.status != 1 || !strings.Contains(got.stderr, "No space left") {
			t.Errorf("wrapped %t, output to a full disk: %+v", wrapped, got)
		}
	}
}

// TestReadOnly: no place that a user may write to, and no HOME.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	cmd := s.command(true, "/bin/sh", "-c", "pwd; exit 4")
	cmd.Dir, cmd.Env = dir, append(slices.Clone(s.env), "HOME="+dir, "TMPDIR="+dir)
	if got := runCommand(t, cmd); got.status != 4 || got.stdout != dir+"\n" || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	s.text("run.", ".zzz.")
}

// TestReplaced: the wrapper's file is replaced, as by an update, and removed
// while a program runs, before the side job is up and after.
func TestReplaced(t *testing.T) {
	s := newSite(t)
	own := filepath.Join(t.TempDir(), "xalt-wrap")
	text, err := os.ReadFile(wrapBinary())
	if err != nil {
		t.Fatal(err)
	}
	writeProgram(t, own, string(text))
	cmd := exec.CommandContext(t.Context(), own, "--", "/bin/sh", "-c", "rm $0; echo broken > $0; echo done; read x; exit 6", own)
	cmd.Env = s.env
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 5)
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	_ = cmd.Wait()
	if cmd.ProcessState.ExitCode() != 6 {
		t.Errorf("%v", cmd.ProcessState)
	}
	if text := s.text("run.", ".zzz."); !strings.Contains(text, `"exit_status":6`) {
		t.Errorf("end record: %s", text)
	}
}

// TestOpenMPI: the real mpirun, under its own name.
func TestOpenMPI(t *testing.T) {
	tool(t, "/usr/bin/mpirun")
	s := newSite(t)
	dir := t.TempDir()
	if err := os.Symlink(wrapBinary(), filepath.Join(dir, "mpirun")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result {
		cmd := s.command(false, append([]string{"mpirun", "--allow-run-as-root", "--oversubscribe"}, args...)...)
		cmd.Path = filepath.Join(dir, "mpirun")
		cmd.Env = append(slices.Clone(s.env), "PATH="+dir+":/usr/bin:/bin", "OMPI_MCA_btl=self,vader", "OMPI_MCA_plm_rsh_agent=/bin/false")
		return runCommand(t, cmd)
	}
	if got := run("-n", "2", "/bin/true"); got.status != 0 {
		t.Errorf("true: %+v", got)
	}
	// Every process of the job sees the run that its packages belong to.
	got := run("-n", "2", "/bin/sh", "-c", "echo rank $OMPI_COMM_WORLD_RANK ${#XALT_RUN_UUID}")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	slices.Sort(lines)
	if want := []string{"rank 0 36", "rank 1 36"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q; %s", lines, want, got.stderr)
	}
	if got := run("-n", "1", "/bin/sh", "-c", "exit 9"); got.status != 9 {
		t.Errorf("exit 9: %+v", got)
	}
	db := ingest(t, s.records)
	if n := query(t, db, "SELECT count(*), sum(exit_status) FROM xalt_run"); n != "3|9" {
		t.Errorf("runs and statuses: %s", n)
	}
}
