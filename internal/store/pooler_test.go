package store_test

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

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

// TestPooler connects through a real PgBouncer: a session of it is as good as
// the server, and where transactions get other connections the error says what
// to do.
func TestPooler(t *testing.T) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			d := testdb.New(t, "postgres")
			pooled, err := store.ParseURL(d.URL)
			if err != nil {
				t.Fatal(err)
			}
			pooled.Socket, pooled.Port = pooler(t, program, mode, pooled.Socket), 6432
			load := func() error {
				db, err := store.Open(t.Context(), pooled, store.Options{Create: true, Zone: time.UTC})
				if err != nil {
					return err
				}
				defer db.Close()
				o := options(t)
				o.Full = true
				return ingest.New(db, o).Run(t.Context(), []string{sample(t, "xalt.log")}, nil)
			}
			err = load()
			for range 3 { // as the pooler's connections come round
				err = errors.Join(err, load())
			}
			if mode == "transaction" {
				if !errors.Is(err, store.ErrPooler) {
					t.Errorf("%v, want ErrPooler", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := oracle.Diff(dump(t, d), model(t, sample(t, "xalt.log"))); diff != "" {
				t.Errorf("through the pooler (+got -want):\n%s", diff)
			}
		})
	}
}

// pooler starts a PgBouncer for the test in front of the server whose socket is
// in a directory, and returns the directory of its own.
func pooler(t *testing.T, program, mode, server string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pooler") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s\n[pgbouncer]\nunix_socket_dir=%s\nlisten_port=6432\nauth_type=trust\nauth_file=%s\npool_mode=%s\n"+
		"ignore_startup_parameters=extra_float_digits\n", server, dir, filepath.Join(dir, "users"), mode)
	for file, text := range map[string]string{config: text, filepath.Join(dir, "users"): "\"test\" \"\"\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, config)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if os.Getuid() == 0 { // it refuses to be root; the server's user may use the server's socket
		info, err := os.Stat(server)
		if err != nil {
			t.Fatal(err)
		}
		owner, _ := info.Sys().(*syscall.Stat_t)
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("pgbouncer: %s", strings.TrimSpace(out.String()))
		}
	})
	for range 200 {
		if c, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432")); err == nil {
			_ = c.Close()
			return dir
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("pgbouncer does not answer: %s", out.String())
	return ""
}
