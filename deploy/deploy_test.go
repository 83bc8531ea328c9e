// Package deploy_test tries the files of this directory with the programs that
// they are for: rsyslogd, logrotate, systemd's tools, Lmod.
package deploy_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/testdb"
)

// program is syslog2db, built by TestMain.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "deploy")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "syslog2db")
	if out, err := exec.Command("go", "build", "-o", program, "xaltpipe/cmd/syslog2db").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build syslog2db: %v\n%s", err, out))
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	status := testdb.Main(m)
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(status)
}

// need returns a program's path. One that is missing is a failure with
// REQUIRE_TOOLS=1, else the test is skipped.
func need(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	without(t, name+" is not installed")
	return ""
}

// without ends a test that cannot run here. With REQUIRE_TOOLS=1 it has failed.
func without(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("REQUIRE_TOOLS") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mustWrite(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freePort is a port of the loopback address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// rsyslog is a private rsyslogd with one of the shipped configurations.
type rsyslog struct {
	t       *testing.T
	dir     string // what it writes, apart from the shipped configuration's files
	pidFile string
	cmd     *exec.Cmd
	out     bytes.Buffer
}

// newRsyslog prepares a daemon whose configuration is main, behind which the
// shipped file stands with replacements as an administrator makes them.
func newRsyslog(t *testing.T, shipped, main string, replace ...string) *rsyslog {
	t.Helper()
	d := &rsyslog{t: t, dir: t.TempDir()}
	d.pidFile = filepath.Join(d.dir, "pid")
	spool := filepath.Join(d.dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	text := mustRead(t, filepath.Join("rsyslog", shipped))
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%s does not say %q", shipped, replace[i])
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	text = strings.ReplaceAll(text, `"xaltpipe"`, `"root"`) // the group
	mustWrite(t, filepath.Join(d.dir, "10-xalt.conf"), text, 0o600)
	mustWrite(t, filepath.Join(d.dir, "rsyslog.conf"), fmt.Sprintf("global(workDirectory=%q)\n%s\n$IncludeConfig %s/10-xalt.conf\n*.* %s/rest.log\n",
		spool, main, d.dir, d.dir), 0o600)
	return d
}

// check is rsyslogd -N1.
func (d *rsyslog) check() {
	d.t.Helper()
	out, err := exec.Command(need(d.t, "rsyslogd"), "-N1", "-f", filepath.Join(d.dir, "rsyslog.conf")).CombinedOutput()
	said := regexpNotNews.ReplaceAllString(string(out), "")
	if err != nil || strings.TrimSpace(said) != "" {
		d.t.Errorf("rsyslogd -N1: %v\n%s", err, said)
	}
}

func (d *rsyslog) start() {
	d.t.Helper()
	d.cmd = exec.Command(need(d.t, "rsyslogd"), "-n", "-f", filepath.Join(d.dir, "rsyslog.conf"), "-i", d.pidFile)
	d.cmd.Stdout, d.cmd.Stderr = &d.out, &d.out
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	cmd := d.cmd
	d.t.Cleanup(func() {
		if d.cmd == cmd {
			d.stop()
		}
	})
}

// stop ends it as systemd does, and waits.
func (d *rsyslog) stop() {
	d.t.Helper()
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	err := d.cmd.Wait()
	d.cmd = nil
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		d.t.Errorf("rsyslogd: %v\n%s", err, d.out.String())
	}
	os.Remove(d.pidFile)
}

// listens reports whether somebody listens on a port.
func listens(port string) bool {
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return false
	}
	_ = c.Close() // it was only to see
	return true
}
