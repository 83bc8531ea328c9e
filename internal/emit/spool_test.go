package emit_test

import (
	"bytes"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/xalt"
)

// spooling returns a sender that can send nothing, and its spool directory,
// made like /tmp.
func spooling(t *testing.T, size int64) (s *emit.Sender, spool, own string) {
	t.Helper()
	spool = t.TempDir()
	if err := os.Chmod(spool, 0o777|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	s = newSender(t, emit.Config{Transport: "syslog", Socket: filepath.Join(spool, "nosuch"), Spool: spool, SpoolSize: size}, nil)
	return s, spool, filepath.Join(spool, strconv.Itoa(os.Geteuid()))
}

func sendAll(s *emit.Sender) int {
	run := sampleRun()
	s.Send(xalt.KindRun, emit.StartKey(run.UUID), run.AppendJSON(nil))
	run.End, run.Exited = run.Start.Add(time.Second), true
	s.Send(xalt.KindRun, emit.EndKey(run.UUID), run.AppendJSON(nil))
	p := emit.Pkg{RunUUID: runUUID, Program: "R", Name: "x", Version: "1", Path: "/p"}
	s.Send(xalt.KindPkg, emit.PkgKey(runUUID, "0123456789ab"), p.AppendJSON(nil))
	k := emit.Skip{UUID: runUUID, Time: run.Start, Syshost: "oracle", User: "a", Role: "launch", Program: "x", Reason: "y"}
	s.Send(xalt.KindSkip, emit.SkipKey(runUUID), k.AppendJSON(nil))
	return 4
}

func TestSpoolAndFlush(t *testing.T) {
	s, spool, own := spooling(t, 0)
	n := sendAll(s)
	list := names(t, own)
	if len(list) != n {
		t.Fatalf("%d files in the spool: %q", len(list), list)
	}
	for _, name := range append(list, ".") {
		info, err := os.Stat(filepath.Join(own, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v: others may read it", name, info.Mode(), err)
		}
	}
	if f, err := s.Flush(); f.Sent != 0 || f.Kept != n || err == nil {
		t.Errorf("Flush without a daemon = %+v, %v", f, err)
	}
	var out bytes.Buffer
	f, err := newSender(t, emit.Config{Transport: "stdout", Spool: spool}, &out).Flush()
	if err != nil || f.Sent != n || len(names(t, own)) != 0 {
		t.Errorf("Flush = %+v, %v; left %q", f, err, names(t, own))
	}
	keys := make(map[string]bool)
	for line := range strings.Lines(out.String()) {
		var b xalt.Block
		_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "XALT_LOGGING_oracle")
		if err := xalt.ParseBlock([]byte(text), nil, &b); err != nil {
			t.Fatal(err)
		}
		keys[string(b.Kind)+" "+string(b.Key)+" "+string(b.Syshost)] = true
	}
	for _, want := range []string{"run run_strt_" + runUUID, "run run_fini_" + runUUID, "pkg pkg_" + runUUID + "_0123456789ab", "skip skip_" + runUUID} {
		if !keys[want+" oracle"] {
			t.Errorf("%s was not sent; sent: %v", want, keys)
		}
	}
}

// TestFlushTogether: with many at work every record is sent once.
func TestFlushTogether(t *testing.T) {
	s, spool, own := spooling(t, 0)
	const n = 60
	for i := range n {
		run := sampleRun()
		run.UUID = emit.NewUUID(time.Unix(int64(1_795_000_000+i), 0))
		s.Send(xalt.KindRun, emit.StartKey(run.UUID), run.AppendJSON(nil))
	}
	if len(names(t, own)) != n {
		t.Fatalf("%d spooled", len(names(t, own)))
	}
	out := t.TempDir()
	var group sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for range 8 {
		group.Go(func() {
			f, err := newSender(t, emit.Config{Transport: "file", Directory: out, Spool: spool}, nil).Flush()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sent += f.Sent
		})
	}
	group.Wait()
	if sent != n || len(names(t, out)) != n || len(names(t, own)) != 0 {
		t.Errorf("%d sent, %d arrived, %d left; want %d, %d, 0", sent, len(names(t, out)), len(names(t, own)), n, n)
	}
}

func TestSpoolIsBounded(t *testing.T) {
	s, _, own := spooling(t, 5000)
	for range 10 {
		run := sampleRun()
		run.UUID = emit.NewUUID(time.Now())
		s.Send(xalt.KindRun, emit.StartKey(run.UUID), run.AppendJSON(nil))
	}
	size := int64(0)
	for _, name := range names(t, own) {
		info, err := os.Stat(filepath.Join(own, name))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size == 0 || size > 5100 {
		t.Errorf("%d bytes in a spool of 5000", size)
	}
}

// TestHostileSpool: what somebody else put where our directory goes is not
// used, and what is no record of ours is not sent.
func TestHostileSpool(t *testing.T) {
	t.Run("symlink", func(t *testing.T) {
		s, _, own := spooling(t, 0)
		elsewhere := t.TempDir()
		if err := os.Symlink(elsewhere, own); err != nil {
			t.Fatal(err)
		}
		sendAll(s)
		if list := names(t, elsewhere); len(list) > 0 {
			t.Errorf("records went through a symlink: %q", list)
		}
	})
	t.Run("writable by others", func(t *testing.T) {
		s, _, own := spooling(t, 0)
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(own, 0o777); err != nil {
			t.Fatal(err)
		}
		sendAll(s)
		if list := names(t, own); len(list) > 0 {
			t.Errorf("records went into a directory that others may write to: %q", list)
		}
	})
	t.Run("file", func(t *testing.T) {
		s, _, own := spooling(t, 0)
		if err := os.WriteFile(own, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		sendAll(s)
	})
	t.Run("contents", func(t *testing.T) {
		s, spool, own := spooling(t, 0)
		n := sendAll(s)
		list := names(t, own)
		secret := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(secret, []byte(`{"crc":"0x0000"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		other := func(i int) string {
			return filepath.Join(own, strings.Replace(list[0], runUUID[:8], "0000000"+strconv.Itoa(i), 1))
		}
		bad := []error{
			os.WriteFile(filepath.Join(own, "notes.txt"), []byte("x"), 0o600),
			os.WriteFile(other(1), []byte("no record"), 0o600),
			os.Symlink(secret, other(2)),
			syscall.Mkfifo(other(3), 0o600),
			os.Link(secret, other(4)),
			os.Mkdir(other(5), 0o700),
		}
		for _, err := range bad {
			if err != nil {
				t.Fatal(err)
			}
		}
		var out bytes.Buffer
		f, err := newSender(t, emit.Config{Transport: "stdout", Spool: spool}, &out).Flush()
		if err != nil || f.Sent != n || f.Bad != len(bad) || len(names(t, own)) != len(bad) {
			t.Errorf("Flush = %+v, %v, want %d sent and %d bad; left %q", f, err, n, len(bad), names(t, own))
		}
	})
}

// TestFlushSlowDaemon: a daemon that takes one record and then no more leaves
// the others in the spool.
func TestFlushSlowDaemon(t *testing.T) {
	s, spool, own := spooling(t, 0)
	n := sendAll(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := l.Addr().String()
	_ = l.Close() // nobody listens
	f, err := newSender(t, emit.Config{Transport: "tcp", Server: server, Spool: spool}, nil).Flush()
	if err == nil || f.Sent != 0 || f.Kept != n || len(names(t, own)) != n {
		t.Errorf("Flush = %+v, %v; %d left of %d", f, err, len(names(t, own)), n)
	}
}
