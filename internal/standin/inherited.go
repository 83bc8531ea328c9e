package standin

import (
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"
)

// Inherited is what the process was started with and Go's runtime has changed
// since.
type Inherited struct {
	ignored uint64 // bit n-1: signal n
	closed  uint64 // bit n: descriptor n, of 0 to 2
}

// Inheritance returns it.
func Inheritance() Inherited { return Inherited{earlyIgnored, earlyClosed} }

// Environ is the environment that the process was started with. That of package
// os differs, see early_procs.go.
func Environ() []string { return originalEnviron(os.Environ()) }

// Ignores reports whether a signal was ignored.
func (in Inherited) Ignores(sig syscall.Signal) bool { return in.ignored>>(sig-1)&1 == 1 }

// Closed reports whether a standard stream, 0 to 2, was closed.
func (in Inherited) Closed(fd int) bool { return in.closed>>fd&1 == 1 }

// Files returns the descriptors 0 to 2 for a child: a closed one stays closed.
func (in Inherited) Files() []uintptr {
	files := []uintptr{0, 1, 2}
	for i := range files {
		if in.Closed(i) {
			files[i] = ^uintptr(0)
		}
	}
	return files
}

// Ignore makes the process ignore what it ignored at first, for a child or for
// a program that takes its place.
func (in Inherited) Ignore() {
	for sig := syscall.Signal(1); sig <= MaxSignal; sig++ {
		if in.Ignores(sig) && sig != syscall.SIGKILL && sig != syscall.SIGSTOP {
			signal.Ignore(sig)
		}
	}
}

// Exec replaces the process by the program, which finds everything as it was
// before this process began. It returns only an error.
func Exec(path string, args, env []string) error {
	in := Inheritance()
	in.Ignore()
	for fd := range 3 {
		if in.Closed(fd) {
			_ = syscall.Close(fd)
		}
	}
	err := syscall.Exec(path, args, env)
	if err == syscall.ENOEXEC { // as execvp(3): a script without an interpreter
		err = syscall.Exec("/bin/sh", append([]string{"/bin/sh", path}, args[1:]...), env)
	}
	return err
}

// MaxSignal is the last one.
const MaxSignal = syscall.Signal(64)

// What rt_sigprocmask does with a mask.
const (
	sigUnblock = 1
	sigSetMask = 2
)

// Raise makes the calling thread, and with it the process, take the default
// action of a signal. It returns if that is not the end.
func Raise(sig syscall.Signal) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if sig != syscall.SIGSTOP && sig != syscall.SIGKILL {
		var none, before sigaction // all zero is the default action
		none.set(sig, &before)
		defer before.set(sig, nil)
	}
	var unblock [8]byte
	unblock[(sig-1)/8] = 1 << ((sig - 1) % 8)
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigUnblock, uintptr(unsafe.Pointer(&unblock)), 0, 8, 0, 0)
	_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(syscall.Getpid()), uintptr(syscall.Gettid()), uintptr(sig))
}

// UnblockSignals lets the calling thread get signals.
func UnblockSignals() {
	var none [8]byte
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&none)), 0, 8, 0, 0)
}

// Prctl options of linux/prctl.h.
const (
	prSetDumpable = 4
	prSetName     = 15
)

// NameProcess gives the process our own name, for who looks through the
// processes. It is that of the first thread, which we are mostly.
func NameProcess() {
	if syscall.Gettid() != syscall.Getpid() {
		_ = os.WriteFile("/proc/self/comm", []byte(CommandName), 0)
		return
	}
	name := []byte(CommandName + "\x00")
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetName, uintptr(unsafe.Pointer(&name[0])), 0)
}

// Die ends the process as the program ended: by the same signal, but without a
// dump of our memory, which nobody wants beside the program's.
func Die(sig syscall.Signal) {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0)
	Raise(sig)
}
