package linker

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestChanged: whatever becomes of an output after its link, its hash is that of
// what the linker made, or it is known to be of something else.
func TestChanged(t *testing.T) {
	content := bytes.Repeat([]byte("what the linker made\n"), 1<<16)
	sum := sha1.Sum(content)
	original := hex.EncodeToString(sum[:])
	// Many tools put the old time back.
	restoring := func(change func(string) error) func(string) error {
		return func(name string) error {
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			if err := change(name); err != nil {
				return err
			}
			return os.Chtimes(name, time.Time{}, info.ModTime())
		}
	}
	overwrite := restoring(func(name string) error {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte("strip"), 100); err != nil {
			return err
		}
		return f.Close()
	})
	for _, tt := range []struct {
		name   string
		change func(name string) error
		want   bool // the content is another one
	}{
		{"nothing", func(string) error { return nil }, false},
		{"read", func(name string) error { _, err := os.ReadFile(name); return err }, false},
		{"chmod", func(name string) error { return os.Chmod(name, 0o700) }, false},
		{"linked", func(name string) error { return os.Link(name, name+".2") }, false},
		{"renamed", func(name string) error { return os.Rename(name, name+".2") }, false},
		{"removed", os.Remove, false},
		{"replaced", func(name string) error {
			if err := os.WriteFile(name+".2", []byte("another"), 0o600); err != nil {
				return err
			}
			return os.Rename(name+".2", name)
		}, false},
		{"overwritten", overwrite, true},
		{"truncated", func(name string) error { return os.Truncate(name, 100) }, true},
		{"truncated and extended", restoring(func(name string) error {
			if err := os.Truncate(name, 100); err != nil {
				return err
			}
			return os.Truncate(name, int64(len(content)))
		}), true},
		{"written through a map", restoring(func(name string) error {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			p, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			if err != nil {
				return err
			}
			p[7] = 'X'
			if err := syscall.Munmap(p); err != nil {
				return err
			}
			return f.Close()
		}), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "output")
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := openFile(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.close()
			watch, err := watched(f)
			if err != nil {
				t.Fatal(err)
			}
			defer watch.close()
			var before syscall.Stat_t
			if err := syscall.Fstat(int(f), &before); err != nil {
				t.Fatal(err)
			}
			if err := tt.change(name); err != nil {
				t.Fatal(err)
			}
			hash, err := f.hash()
			if err != nil {
				t.Fatal(err)
			}
			got := changed(f, watch, version(&before))
			if got != tt.want || !got && hash != original {
				t.Errorf("changed = %v, want %v; hash %s, original %s", got, tt.want, hash, original)
			}
		})
	}
	t.Run("strip", func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "output")
		text, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(name, name+".2"); err != nil { // strip then writes in place
			t.Fatal(err)
		}
		f, err := openFile(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.close()
		watch, err := watched(f)
		if err != nil {
			t.Fatal(err)
		}
		defer watch.close()
		var before syscall.Stat_t
		if err := syscall.Fstat(int(f), &before); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("strip", "-p", name).CombinedOutput(); err != nil {
			t.Skipf("%v\n%s", err, out)
		}
		if !changed(f, watch, version(&before)) {
			t.Error("strip was not noticed")
		}
	})
}

func FuzzDecodeMade(f *testing.F) {
	m := made{
		record: record{uuid: "u", program: "gcc", path: "/usr/bin/gcc", line: []string{"gcc", "", "\xff"}, user: "x", host: "h", syshost: "s", wd: "/", exec: "/a", time: time.Unix(1_800_000_000, 5)},
		form:   asMap, told: []byte("LOAD a.o\n"), object: "/proc/self/fd/9",
	}
	f.Add(m.encode(&syscall.Stat_t{Size: 7}))
	f.Add((&made{form: 255}).encode(&syscall.Stat_t{})) // a form is a byte, not a character
	f.Add([]byte{1, 0, 0, 0, 'x'})
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, text []byte) {
		got, _, err := decodeMade(text)
		if err != nil {
			return
		}
		again, _, err := decodeMade(got.encode(&syscall.Stat_t{}))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) || !slices.Equal(again.line, got.line) {
			t.Errorf("decoded %+v, and again %+v, %v", got, again, err)
		}
	})
}
