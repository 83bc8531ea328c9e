package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// terminal is a pseudo-terminal with an interactive shell on it.
type terminal struct {
	t      *testing.T
	master *os.File
	seen   bytes.Buffer // everything that came
	at     int          // up to where it was waited for
}

func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

func newTerminal(t *testing.T, s *site) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	var unlock, number int32
	if err := ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)); err != nil {
		t.Fatal(err)
	}
	if err := ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number)); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("bash", "--norc", "--noprofile", "-i")
	shell.Env = append(s.env, "PS1=prompt> ", "HISTFILE=/dev/null", "TERM=dumb", "GODEBUG=asyncpreemptoff=1")
	shell.Stdin, shell.Stdout, shell.Stderr = slave, slave, slave
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	t.Cleanup(func() { _ = shell.Process.Kill(); _ = shell.Wait() })
	return &terminal{t: t, master: master}
}

func (x *terminal) send(text string) {
	x.t.Helper()
	if _, err := x.master.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// wait reads until the words come, after what was waited for before.
func (x *terminal) wait(words string) {
	x.t.Helper()
	buf := make([]byte, 4096)
	for {
		if i := bytes.Index(x.seen.Bytes()[x.at:], []byte(words)); i >= 0 {
			x.at += i + len(words)
			return
		}
		n, err := x.master.Read(buf)
		if err != nil {
			x.t.Fatalf("waiting for %q: %v; seen:\n%s", words, err, x.seen.String())
		}
		x.seen.Write(buf[:n])
	}
}

// TestTerminal: a program in the foreground reads, is interrupted, stopped,
// continued in the foreground and in the background, and its terminal changes
// size, all as without a wrapper.
func TestTerminal(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		t.Run(map[bool]string{false: "bare", true: "wrapped"}[wrapped], func(t *testing.T) {
			s := newSite(t)
			x := newTerminal(t, s)
			x.wait("prompt> ")
			command := filepath.Join(built, "probe")
			if wrapped {
				command = wrapBinary() + " -- " + command
			}
			x.send(command + "\n")
			x.wait("ready ")
			x.wait("\n")
			var pid, parent int
			if _, err := fmt.Sscanf(x.seen.String()[strings.LastIndex(x.seen.String(), "ready "):], "ready %d %d", &pid, &parent); err != nil {
				t.Fatal(err)
			}
			if wrapped {
				r := running{t: t, pid: pid, cmd: &exec.Cmd{Process: &os.Process{Pid: parent}}}
				r.sideReady()
			}
			only := func(signal int) { // and nothing that we pass on
				t.Helper()
				x.wait(fmt.Sprintf("signal %d\r\n", signal))
				if wrapped {
					if err := syscall.Kill(parent, syscall.SIGUSR1); err != nil {
						t.Fatal(err)
					}
					x.wait("signal 10\r\n")
				}
			}
			x.send("hello\n")
			x.wait("line hello")
			x.send("\x03")
			only(2)
			x.send("\x1c")
			only(3)
			size := [4]uint16{33, 99}
			if err := ioctl(x.master, syscall.TIOCSWINSZ, unsafe.Pointer(&size)); err != nil {
				t.Fatal(err)
			}
			only(28)
			for range 2 {
				x.send("\x1a")
				x.wait("Stopped")
				x.wait("prompt> ")
				x.send("fg\n")
				x.wait("\n")
				x.send("again\n")
				x.wait("line again")
			}
			x.send("\x1a")
			x.wait("Stopped")
			x.wait("prompt> ")
			x.send("bg\n") // it reads from the terminal, which stops it
			x.wait("prompt> ")
			waitState(t, pid, "T")
			if wrapped {
				waitState(t, parent, "T")
			}
			x.send("fg\n")
			x.wait("\n")
			x.send("third\n")
			x.wait("line third")
			x.send("\x04")
			x.wait("prompt> ")
			x.send("echo status=$?\n")
			x.wait("status=5")
			x.send(strings.Replace(command, filepath.Join(built, "probe"), "sleep 98765", 1) + "; echo status=$?\n")
			x.wait("\n")
			waitChild(t, "sleep\x0098765\x00")
			x.send("\x03")
			x.wait("prompt> ")
			x.send("echo after=$?\n")
			x.wait("after=130")
			for _, signal := range []int{2, 3, 28} {
				if n := strings.Count(x.seen.String(), fmt.Sprintf("signal %d\r\n", signal)); n != 1 {
					t.Errorf("signal %d came %d times:\n%s", signal, n, x.seen.String())
				}
			}
		})
	}
}

// waitChild waits for a process with that command line.
func waitChild(t *testing.T, cmdline string) {
	t.Helper()
	for {
		list, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range list {
			if text, _ := os.ReadFile(file); string(text) == cmdline {
				return
			}
		}
	}
}
