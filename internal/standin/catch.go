package standin

import (
	"syscall"
	"unsafe"
)

// The os/signal package hands each signal to a goroutine of its own for a
// moment when it is asked for it, 50 microseconds each, which is 3 milliseconds
// for all of them and before the program is started; and it cannot tell a
// SIGURG from somebody from those of Go's own scheduler. So handlers are set by
// system call, and write the number into a pipe.

// What the handlers use; there is one of each in a process.
var (
	catchFD   = ^uintptr(0) //nolint:unused // where numbers are written to; assembly uses it
	catchPID  int32         //nolint:unused // our own; assembly uses it
	goHandler uintptr       //nolint:unused // the runtime's; assembly uses it
)

// catchers returns the addresses of the handler, of the one for signals that
// Go's runtime needs too, and of the code that leaves them, 0 if the kernel has
// that.
func catchers() (plain, both, restore uintptr)

// isGo reports whether Go's runtime needs a signal: it may come of a fault of
// ours, or be SIGURG, by which the scheduler wakes threads.
func isGo(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGURG:
		return true
	}
	return false
}

// catches reports whether a signal is caught: all but those that cannot be, and
// 32 and 33, which are C libraries' and Go's own for talking to their threads.
func catches(sig syscall.Signal) bool {
	return sig != syscall.SIGKILL && sig != syscall.SIGSTOP && sig != 32 && sig != 33
}

// Forwards reports whether a signal is passed on: SIGCHLD is about our own
// children.
func Forwards(sig syscall.Signal) bool { return catches(sig) && sig != syscall.SIGCHLD }

// Signals are those that are caught.
type Signals struct {
	// FD is readable when some came.
	FD int
}

// Catch catches signals, but for those that except reports.
func Catch(except func(syscall.Signal) bool) (*Signals, error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil { // a handler must not wait
		return nil, err
	}
	var runtimes sigaction
	(*sigaction)(nil).set(syscall.SIGURG, &runtimes)
	catchFD, catchPID, goHandler = uintptr(p[1]), int32(syscall.Getpid()), uintptr(runtimes[0])
	c := &Signals{FD: p[0]}
	for sig := syscall.Signal(1); sig <= MaxSignal; sig++ {
		if catches(sig) && !except(sig) {
			setHandler(sig)
		}
	}
	return c, nil
}

// Take returns what was caught since, in its order.
func (c *Signals) Take() (list []syscall.Signal) {
	var buf [64]byte
	for {
		n, err := Retry(func() (int, error) { return syscall.Read(c.FD, buf[:]) })
		if n <= 0 || err != nil {
			return list
		}
		for _, sig := range buf[:n] {
			list = append(list, syscall.Signal(sig))
		}
	}
}

// Rest catches what Catch left out.
func (c *Signals) Rest(excepted func(syscall.Signal) bool) {
	for sig := syscall.Signal(1); sig <= MaxSignal; sig++ {
		if catches(sig) && excepted(sig) {
			setHandler(sig)
		}
	}
}

// Stop lets signals have their default effect again.
func (c *Signals) Stop() {
	for sig := syscall.Signal(1); sig <= MaxSignal; sig++ {
		if catches(sig) && !isGo(sig) {
			var none sigaction
			none.set(sig, nil)
		}
	}
}

// sigaction is the kernel's struct where it has a restorer; where it has none,
// only the place of the mask differs.
type sigaction [4]uint64

// set sets a signal's action, unless it is nil, and stores the one before in
// old.
func (a *sigaction) set(sig syscall.Signal, old *sigaction) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}

// Flags of a struct sigaction.
const (
	saSigInfo  = 0x4
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
	saRestorer = 0x04000000
)

func setHandler(sig syscall.Signal) {
	handler, both, restore := catchers()
	if isGo(sig) {
		handler = both
	}
	a := sigaction{uint64(handler), saSigInfo | saOnStack | saRestart, 0, 0}
	all := ^uint64(0) // one at a time
	if restore != 0 {
		a[1] |= saRestorer
		a[2], a[3] = uint64(restore), all
	} else {
		a[2] = all
	}
	a.set(sig, nil)
}
