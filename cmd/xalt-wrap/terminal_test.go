package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// terminal is a pseudo-terminal with an interactive shell on it.
type terminal struct {
	t      *testing.T
	master *os.File
	shell  int
	name   string
	seen   bytes.Buffer // everything that came
	at     int          // up to where it was waited for
}

// ioctl leaves the file as it is, so that reads may have a deadline.
func ioctl(f *os.File, request uintptr, argument unsafe.Pointer) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	if err := conn.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument))
	}); err != nil {
		return err
	}
	if errno != 0 {
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
	return &terminal{t: t, master: master, name: slave.Name(), shell: shell.Process.Pid}
}

func (x *terminal) send(text string) {
	x.t.Helper()
	if _, err := x.master.WriteString(text); err != nil {
		x.t.Fatal(err)
	}
}

// settle waits until a process group has had the terminal for a while and the
// shell sleeps: an interactive bash loses what comes while it is changing its
// terminal, and takes a job that has just stopped for one that runs.
func (x *terminal) settle(pgrp int) {
	x.t.Helper()
	const looks = 8
	for seen, deadline := 0, time.Now().Add(time.Minute); seen < looks; time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.shell))
		if err != nil {
			x.t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(after); f[0] == "S" && f[5] == strconv.Itoa(pgrp) { // state and tpgid of proc(5)
			seen++
		} else {
			seen = 0
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("the terminal is not for %d; seen:\n%s\n%s", pgrp, x.seen.String(), x.state())
		}
	}
}

// command types a line for the shell.
func (x *terminal) command(line string) {
	x.t.Helper()
	x.settle(x.shell)
	x.send(line + "\n")
}

// wait reads until the words come, after what was waited for before.
func (x *terminal) wait(words string) {
	x.t.Helper()
	buf := make([]byte, 4096)
	if err := x.master.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		x.t.Fatal(err)
	}
	for {
		if i := bytes.Index(x.seen.Bytes()[x.at:], []byte(words)); i >= 0 {
			x.at += i + len(words)
			return
		}
		n, err := x.master.Read(buf)
		if err != nil {
			x.t.Fatalf("waiting for %q: %v; seen:\n%s\n%s", words, err, x.seen.String(), x.state())
		}
		x.seen.Write(buf[:n])
	}
}

// state describes who has the terminal and how it is set.
func (x *terminal) state() string {
	out, err := exec.Command("sh", "-c", "ps -eo pid,ppid,pgid,tpgid,stat,tty,wchan:20,args | grep -E 'pts|TPGID'; stty -a <"+x.name).CombinedOutput()
	return fmt.Sprintf("%s%v", out, err)
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
			x.command(command)
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
			job := pid // the process group's leader
			if wrapped {
				job = parent
			}
			stop := func() {
				t.Helper()
				x.settle(job)
				x.send("\x1a")
				x.wait("Stopped")
				x.wait("prompt> ")
			}
			resume := func() {
				t.Helper()
				x.command("fg")
				x.wait("fg\r\n")
				x.settle(job)
			}
			for range 2 {
				stop()
				resume()
				x.send("again\n")
				x.wait("line again")
			}
			stop()
			x.command("bg") // it reads from the terminal, which stops it
			x.wait("prompt> ")
			waitState(t, pid, "T")
			waitState(t, job, "T")
			x.command("jobs")
			x.wait("Stopped")
			x.wait("prompt> ")
			resume()
			x.send("third\n")
			x.wait("line third")
			x.settle(job)
			x.send("\x04")
			x.wait("prompt> ")
			x.command("echo status=$?")
			x.wait("status=5")
			x.wait("prompt> ")
			x.command(strings.Replace(command, filepath.Join(built, "probe"), "sleep 98765", 1) + "; echo status=$?")
			x.wait("\n")
			waitChild(t, "sleep\x0098765\x00")
			time.Sleep(50 * time.Millisecond) // the shell's handlers
			x.send("\x03")
			x.wait("prompt> ")
			x.command("echo after=$?")
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
