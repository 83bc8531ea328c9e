package launch

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// The os/signal package hands each signal to a goroutine of its own for a
// moment when it is asked for it, 50 microseconds each, which is 3 milliseconds
// for all of them and before the program is started. So handlers are set by
// system call, and write the number into a pipe. Those of the os/signal
// package are left to signals that may mean a fault of our own, to SIGURG,
// which Go's scheduler uses, and to nothing else; it is asked for them when the
// program runs already.

// catchFD is where the handler writes to. There is one of them in a process.
var catchFD = ^uintptr(0)

// catcher returns the addresses of the handler, and of the code that leaves it,
// 0 if the kernel has that.
func catcher() (handler, restore uintptr)

// isGo reports whether a signal is left to the os/signal package.
func isGo(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGURG:
		return true
	}
	return false
}

// forwards reports whether a signal is passed on: all but those that cannot be
// caught, SIGCHLD, which is about our own children, and 32 and 33, which are C
// libraries' and Go's own for talking to their threads.
func forwards(sig syscall.Signal) bool {
	return sig != syscall.SIGKILL && sig != syscall.SIGSTOP && sig != syscall.SIGCHLD && sig != 32 && sig != 33
}

// catch is the signals that are passed on.
type catch struct {
	pipe int // to read numbers from
	C    chan syscall.Signal
}

// newCatch catches signals, but for those that except reports.
func newCatch(except func(syscall.Signal) bool) (*catch, error) {
	var p [2]int
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return nil, err
	}
	if err := syscall.SetNonblock(p[1], true); err != nil { // a handler must not wait
		return nil, err
	}
	catchFD = uintptr(p[1])
	c := &catch{pipe: p[0], C: make(chan syscall.Signal, 256)}
	for sig := syscall.Signal(1); sig <= maxSignal; sig++ {
		if forwards(sig) && !isGo(sig) && !except(sig) {
			setHandler(sig)
		}
	}
	return c, nil
}

// rest catches what newCatch left out. It takes longer.
func (c *catch) rest(excepted func(syscall.Signal) bool) {
	for sig := syscall.Signal(1); sig <= maxSignal; sig++ {
		if forwards(sig) && !isGo(sig) && excepted(sig) {
			setHandler(sig)
		}
	}
	go func() {
		buf := make([]byte, 64)
		for {
			n, err := retry(func() (int, error) { return syscall.Read(c.pipe, buf) })
			if n <= 0 || err != nil {
				return
			}
			for _, sig := range buf[:n] {
				c.C <- syscall.Signal(sig)
			}
		}
	}()
	goes := make(chan os.Signal, 64)
	go func() {
		for s := range goes {
			if sig, ok := s.(syscall.Signal); ok {
				c.C <- sig
			}
		}
	}()
	for sig := syscall.Signal(1); sig <= maxSignal; sig++ {
		if isGo(sig) {
			signal.Notify(goes, sig)
		}
	}
}

// stop lets signals have their default effect again.
func (c *catch) stop() {
	for sig := syscall.Signal(1); sig <= maxSignal; sig++ {
		if forwards(sig) && !isGo(sig) {
			var none sigaction
			none.set(sig, nil)
		}
	}
}

// sigaction is the kernel's struct where it has a restorer; where it has none,
// only the place of the mask differs.
type sigaction [4]uint64

// set sets a signal's action and stores the one before in old.
func (a *sigaction) set(sig syscall.Signal, old *sigaction) {
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(a)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
}

// Flags of a struct sigaction.
const (
	saOnStack  = 0x08000000
	saRestart  = 0x10000000
	saRestorer = 0x04000000
)

func setHandler(sig syscall.Signal) {
	handler, restore := catcher()
	a := sigaction{uint64(handler), saOnStack | saRestart, 0, 0}
	all := ^uint64(0) // one at a time
	if restore != 0 {
		a[1] |= saRestorer
		a[2], a[3] = uint64(restore), all
	} else {
		a[2] = all
	}
	a.set(sig, nil)
}
