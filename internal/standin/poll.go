package standin

import (
	"syscall"
	"time"
	"unsafe"
)

// Never is the time after which [Poll] returns if nothing happens.
const Never = time.Duration(-1)

// Poll waits until one of the descriptors has something to read or is at its
// end, or the time is over. Those below zero are left out. It may return early.
func Poll(timeout time.Duration, fds ...int) {
	const (
		pollIn = 1
		most   = 4
	)
	var list [most]struct {
		fd              int32
		events, revents int16
	}
	for i, fd := range fds {
		list[i].fd, list[i].events = int32(fd), pollIn
	}
	var limit *syscall.Timespec
	if timeout >= 0 {
		t := syscall.NsecToTimespec(int64(timeout))
		limit = &t
	}
	_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&list)), uintptr(len(fds)), uintptr(unsafe.Pointer(limit)), 0, 0, 0)
}

// Pause waits, as time.Sleep does with another thread's help.
func Pause(d time.Duration) { Poll(d) }

// Retry calls again what a signal has interrupted.
func Retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR { //nolint:errorlint // a system call's bare value
			return n, err
		}
	}
}
