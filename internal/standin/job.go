package standin

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// CloseBehind closes what a side job has inherited behind the last of its own
// descriptors: who reads from a pipe waits until everybody has closed it. The
// runtime's own descriptors stay. Mostly early.go has done it in one call.
func CloseBehind(last int) {
	if earlyRangeClosed {
		return
	}
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(-1)
	own := int(d.Fd())
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= last || fd == own {
			continue
		}
		if target, _ := os.Readlink("/proc/self/fd/" + name); strings.HasPrefix(target, "anon_inode:[event") {
			continue
		}
		_ = syscall.Close(fd)
	}
	_ = d.Close()
}

// LowerPriority makes the calling goroutine's thread yield to everybody: the
// lowest nice value, batch scheduling, and disk time that nobody else wants.
func LowerPriority() {
	runtime.LockOSThread()
	tid := syscall.Gettid()
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, tid, 19)
	const schedBatch = 3
	var param int32
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(tid), schedBatch, uintptr(unsafe.Pointer(&param)))
	const whoProcess, classIdle = 1, 3 << 13
	_, _, _ = syscall.RawSyscall(syscall.SYS_IOPRIO_SET, whoProcess, uintptr(tid), classIdle)
}
