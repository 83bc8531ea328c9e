//go:build linux && !cgo && (amd64 || arm64)

package standin

import (
	"syscall"
	"unsafe"
)

// Go's runtime installs its handlers over inherited "ignore" and opens
// /dev/null where 0, 1 or 2 is closed; both are lost to the program that we
// start if nobody looks before. And it needs more than half a gigabyte of
// address space: where ulimit -v leaves less it ends the process, and with it
// the job, before any of our code runs. The runtime calls what _cgo_init points
// to first of all. It is meant for runtime/cgo, which is not there in a static
// binary; the same way is used by others to run without cgo. A test
// checks what comes of it, and with cgo nothing is known, see early_other.go.
//
// The functions of this file run on the first thread's stack before there are
// goroutines, a heap and signal handlers. They may use nothing but the stack,
// of which there are 64 KiB, global variables and system calls.

var (
	earlyIgnored uint64    // bit n-1: signal n was ignored
	earlyClosed  uint64    // bit n: descriptor n was closed
	earlyTLS     [8]uint64 //nolint:unused // where the main thread keeps its g; assembly (amd64) uses it
)

//go:linkname xaltpipe_early xaltpipe_early
var xaltpipe_early byte //nolint:revive,staticcheck // the name of an assembly function

//go:linkname _cgo_init _cgo_init
var _cgo_init = &xaltpipe_early //nolint:revive,staticcheck // the name is the runtime's

// What Go's runtime needs at least, in bytes, with some room for ourselves. At
// 700 MB of address space it does not start, at 800 it does; of data it takes
// 45 MB.
const (
	leastAddressSpace = 1 << 30
	leastData         = 128 << 20
)

var _ = early // for tools that do not read assembly

// early is called by xaltpipe_early; stack is where the first thread's was.
func early(stack unsafe.Pointer) {
	var action sigaction
	for sig := uintptr(1); sig <= uintptr(MaxSignal); sig++ {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, sig, 0, uintptr(unsafe.Pointer(&action)), 8, 0, 0)
		const ignore = 1
		if errno == 0 && action[0] == ignore {
			earlyIgnored |= 1 << (sig - 1)
		}
	}
	for fd := range uintptr(3) {
		if _, _, errno := syscall.RawSyscall6(syscall.SYS_FCNTL, fd, syscall.F_GETFD, 0, 0, 0, 0); errno != 0 {
			earlyClosed |= 1 << fd
		}
	}
	kept := earlyArguments(stack)
	if kept == nil {
		return
	}
	argv := *kept
	if earlyEqual(earlyWord(argv, 0), CommandName) {
		switch {
		case earlyEqual(earlyWord(argv, 1), SideCommand):
			earlyJob(SideSocket)
			if earlyEqual(earlyWord(argv, 2), SideYields) {
				earlyYield()
			}
			earlyProcessors(kept)
			return
		case earlyEqual(earlyWord(argv, 1), LinkCommand):
			earlyJob(LinkLast)
			earlyProcessors(kept)
			return
		}
	}
	if earlyLimit(syscall.RLIMIT_AS) < leastAddressSpace || earlyLimit(syscall.RLIMIT_DATA) < leastData {
		earlyExec(argv)
	}
	earlyProcessors(kept)
}

// earlyArguments finds the arguments' vector, as the kernel has put it on the
// stack: their number, they themselves, and behind a zero the environment. The
// runtime keeps number and address somewhere between stack and there, and the
// place of the latter is returned; nil if it is not found.
func earlyArguments(stack unsafe.Pointer) *unsafe.Pointer {
	const look = 64 // words
	for i := range look {
		count := *(*uint32)(unsafe.Add(stack, i*8))
		argv := *(*unsafe.Pointer)(unsafe.Add(stack, (i+1)*8))
		far := uintptr(argv) - uintptr(stack)
		if count == 0 || count > 1<<24 || far%8 != 0 || far < 8 || far > 4*look*8 {
			continue
		}
		if *(*uint64)(unsafe.Add(argv, -8)) == uint64(count) && earlyWord(argv, int(count)) == nil && earlyWord(argv, 0) != nil {
			return (*unsafe.Pointer)(unsafe.Add(stack, (i+1)*8))
		}
	}
	return nil
}

// earlyJob prepares a side job: signals wait until it is ready for them, which
// only its first thread will take, and what is open behind the last of its
// descriptors is none of its business.
func earlyJob(last uintptr) {
	all := ^uint64(0)
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, sigSetMask, uintptr(unsafe.Pointer(&all)), 0, 8, 0, 0)
	_, _, errno := syscall.RawSyscall6(sysCloseRange, last+1, 1<<31-1, 0, 0, 0, 0)
	earlyRangeClosed = errno == 0
}

// earlyYield waits until whoever started a side job has ended, or for a moment:
// a program that ends at once, and the threads of who waited for it, need not
// share the processors with a job that has only begun.
func earlyYield() {
	const moment = 5_000_000 // ns: longer than most programs take to be loaded
	list := struct {
		fd              int32
		events, revents int16 // no event: that the other end is closed is always told
	}{fd: SideSocket}
	limit := syscall.Timespec{Nsec: moment}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&list)), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
}

var earlyRangeClosed bool // a side job has closed what it inherited

// The number of close_range (Linux 5.9) is the same on every architecture.
const sysCloseRange = 436

// earlyLimit returns a soft limit.
func earlyLimit(resource uintptr) uint64 {
	var limit syscall.Rlimit
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, resource, 0, uintptr(unsafe.Pointer(&limit)), 0, 0); errno != 0 {
		return ^uint64(0)
	}
	return limit.Cur
}

// earlyWord is an entry of a vector of C strings.
func earlyWord(vector unsafe.Pointer, i int) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(vector, i*8))
}

// earlyByte is a byte of a C string.
func earlyByte(s unsafe.Pointer, i int) byte { return *(*byte)(unsafe.Add(s, i)) }

// earlyPrefix returns what is behind the prefix of a C string, nil if it
// begins otherwise.
func earlyPrefix(s unsafe.Pointer, prefix string) unsafe.Pointer {
	if s == nil {
		return nil
	}
	for i := range len(prefix) {
		if earlyByte(s, i) != prefix[i] {
			return nil
		}
	}
	return unsafe.Add(s, len(prefix))
}

func earlyEqual(s unsafe.Pointer, to string) bool {
	rest := earlyPrefix(s, to)
	return rest != nil && earlyByte(rest, 0) == 0
}

// earlyBase is the name behind the last slash.
func earlyBase(s unsafe.Pointer) (base unsafe.Pointer, slash bool) {
	base = s
	for i := 0; earlyByte(s, i) != 0; i++ {
		if earlyByte(s, i) == '/' {
			base, slash = unsafe.Add(s, i+1), true
		}
	}
	return base, slash
}
