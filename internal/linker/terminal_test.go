package linker_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
)

// onTerminal runs a command whose standard error is a terminal of its own, and
// returns what it wrote there.
func onTerminal(t *testing.T, p *place, path string, args ...string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	ioctl := func(request uintptr, arg *int32) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, master.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Fatal(errno)
		}
	}
	var unlock, number int32
	ioctl(syscall.TIOCSPTLCK, &unlock)
	ioctl(syscall.TIOCGPTN, &number)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := p.command(path, args...)
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stderr = slave
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	// The read ends with EIO when the last writer is gone.
	text, _ := io.ReadAll(master)
	_ = cmd.Wait()
	return string(text)
}

// On a terminal linkers colour their messages; they still do.
func TestColours(t *testing.T) {
	p := newPlace(t)
	p.write("a.c", "int main(void) { return 0; }\n")
	p.must("gcc", "-c", "a.c")
	start := append(p.startFiles(), "-z", "no-such-keyword", "-o", "out")
	for _, ld := range []string{"ld.bfd", "ld.lld", "ld.mold"} {
		tool(t, ld)
		want := onTerminal(t, p, ld, start...)
		got := onTerminal(t, p, filepath.Join(p.bin, ld), start...)
		// GNU ld calls itself by the path under which it was found.
		got = strings.ReplaceAll(got, "/usr/bin/"+ld, ld)
		want = strings.ReplaceAll(want, "/usr/bin/"+ld, ld)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-plain +wrapped):\n%s", ld, diff)
		}
		if ld != "ld.bfd" && !strings.Contains(got, "\x1b[") {
			t.Errorf("%s: no colours in %q", ld, got)
		}
		p.one()
	}
}
