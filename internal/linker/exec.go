package linker

import (
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"xaltpipe/internal/standin"
)

// memoryFile returns an empty file that has no name and goes away with its last
// descriptor: no disk can be full, and nothing is left behind. Where the kernel has
// no such files, it is one of the temporary directory whose name is removed.
func memoryFile(temp string) (*os.File, error) {
	if number := memfdCreate(); number != 0 {
		name, err := syscall.BytePtrFromString("xalt-wrap")
		if err != nil {
			return nil, err
		}
		const closeOnExec = 1
		fd, _, errno := syscall.Syscall(number, uintptr(unsafe.Pointer(name)), closeOnExec, 0)
		if errno == 0 {
			return os.NewFile(fd, fdPath(fd)), nil
		}
	}
	return namelessFile(temp)
}

func namelessFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "xalt-wrap-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// memfdCreate is the number of the system call, which package syscall lacks; 0
// where it is not known.
func memfdCreate() uintptr {
	switch runtime.GOARCH {
	case "amd64":
		return 319
	case "arm64", "riscv64", "loong64":
		return 279
	case "ppc64le":
		return 360
	}
	return 0
}

func fdPath(fd uintptr) string { return "/proc/self/fd/" + strconv.FormatUint(uint64(fd), 10) }

// inherit keeps f open for a child under the same number, and returns the name by
// which the child can open it. Numbers are not chosen, so that descriptors which
// the caller hands down, such as make's job server, stay what they are.
func inherit(f *os.File) (string, error) {
	fd := f.Fd()
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_SETFD, 0); errno != 0 {
		return "", errno
	}
	return fdPath(fd), nil
}

// streams are the standard files.
type streams [3]*os.File

// same reports whether two open files are one, so that what is written to both
// must stay in order.
func same(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// capture holds back what a child writes.
type capture struct {
	out, err *os.File // one file if both are to stay in order
}

func newCapture(std streams, temp string) (c capture, err error) {
	if c.out, err = memoryFile(temp); err != nil {
		return c, err
	}
	if c.err = c.out; !same(std[1], std[2]) {
		if c.err, err = memoryFile(temp); err != nil {
			c.out.Close()
		}
	}
	return c, err
}

func (c capture) close() {
	c.out.Close()
	if c.err != c.out {
		c.err.Close()
	}
}

// release writes what was held back to where it belongs, but for the lines that
// drop names.
func (c capture) release(std streams, drop func(line []byte) bool) {
	if c.err != c.out {
		pass(std[2], c.err, drop)
	}
	pass(std[1], c.out, drop)
}

// pass copies from to to. What cannot be written is lost as it would be without us.
func pass(to, from *os.File, drop func(line []byte) bool) {
	if size, err := from.Seek(0, io.SeekEnd); err != nil || size == 0 {
		return
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return
	}
	if drop == nil {
		_, _ = io.Copy(to, from)
		return
	}
	_ = eachLine(from, func(line []byte) error {
		if drop(line) {
			return nil
		}
		_, err := to.Write(line)
		return err
	})
}

// result is how a child ended.
type result struct {
	status syscall.WaitStatus
	// interrupted tells that a signal came which ends builds: to us, or the child
	// died of one. It is not tried again then.
	interrupted bool
}

func (r result) succeeded() bool { return r.status.Exited() && r.status.ExitStatus() == 0 }

// passesOn reports whether a signal is one that a caller may send to the
// linker's process alone.
func passesOn(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2:
		return true
	}
	return false
}

// run runs a program to its end, in our process group, and passes signals on.
// What was ignored when we were started, as by nohup, is so for it.
func run(path string, args, env []string, files []uintptr) (result, error) {
	in := standin.Inheritance()
	signals, err := standin.Catch(func(sig syscall.Signal) bool {
		return !passesOn(sig) && sig != syscall.SIGCHLD || in.Ignores(sig)
	})
	if err != nil {
		return result{}, err
	}
	in.Ignore()
	child, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		return result{}, err
	}
	var r result
	for {
		caught := signals.Take() // before it is looked what SIGCHLD tells of
		pid, err := standin.Retry(func() (int, error) { return syscall.Wait4(child, &r.status, syscall.WNOHANG, nil) })
		if err != nil {
			return result{}, err
		}
		for _, sig := range caught {
			if passesOn(sig) {
				r.interrupted = true
				if pid == 0 {
					_ = syscall.Kill(child, sig)
				}
			}
		}
		if pid == child {
			break
		}
		standin.Poll(standin.Never, signals.FD)
	}
	if r.status.Signaled() {
		switch r.status.Signal() {
		case syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGXCPU:
			r.interrupted = true
		}
	}
	return r, nil
}

// end returns the exit status that reproduces the child's, or dies of its signal.
func (r result) end() int {
	if !r.status.Signaled() {
		return r.status.ExitStatus()
	}
	standin.Die(r.status.Signal())
	return 128 + int(r.status.Signal())
}

// answerTime bounds how long a compiler or linker may think about a question.
const answerTime = 10 * time.Second

// answer runs a program and returns what it writes, up to maxAnswer bytes.
func answer(path string, args, env []string) ([]byte, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out, err := memoryFile(os.TempDir())
	if err != nil {
		return nil, err
	}
	defer out.Close()
	child, err := os.StartProcess(path, args, &os.ProcAttr{Env: env, Files: []*os.File{null, out, null}})
	if err != nil {
		return nil, err
	}
	timer := time.AfterFunc(answerTime, func() { _ = child.Kill() })
	state, err := child.Wait()
	timer.Stop()
	if err != nil {
		return nil, err
	}
	if !state.Success() {
		return nil, errors.New(state.String())
	}
	return io.ReadAll(io.NewSectionReader(out, 0, maxAnswer))
}

// replace lets the real linker take this process's place. It returns only if that
// is not possible.
func replace(path string, args, env []string, std streams) error {
	for i, f := range std {
		if f.Fd() != uintptr(i) {
			if err := syscall.Dup3(int(f.Fd()), i, 0); err != nil {
				return err
			}
		}
	}
	return standin.Exec(path, args, env)
}
