package launch

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xaltpipe/internal/standin"
)

// sooner is the lesser of two times that poll may wait.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// receive reads a message from a socket without waiting. ended tells that the
// other side is gone.
func receive(socket int) (message []byte, ended bool) {
	var buf [maxMessage]byte
	read := func() (int, error) {
		n, _, err := syscall.Recvfrom(socket, buf[:], syscall.MSG_DONTWAIT)
		return n, err
	}
	n, err := standin.Retry(read)
	if err == syscall.ECONNRESET { //nolint:errorlint // a system call's bare value
		// The other side has ended without reading all that was said to it. What
		// it said itself stands behind this error.
		n, err = standin.Retry(read)
	}
	switch {
	case err == syscall.EAGAIN: //nolint:errorlint // a system call's bare value
		return nil, false
	case err != nil || n == 0:
		return nil, true
	}
	return slices.Clone(buf[:n]), false
}

// state returns the state of a process in proc(5)'s letters, 0 if it is gone.
func state(pid int) byte {
	text := string(readSmall("/proc/"+strconv.Itoa(pid)+"/stat", 4096))
	if i := strings.LastIndexByte(text, ')'); i >= 0 && i+2 < len(text) {
		return text[i+2]
	}
	return 0
}

// pending reports whether there are signals for this process that no thread
// has taken yet.
func pending() bool {
	for line := range strings.Lines(string(readSmall("/proc/self/status", 8192))) {
		if value, ok := strings.CutPrefix(line, "ShdPnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err == nil && set != 0
		}
	}
	return false
}

func isStopped(pid int) bool {
	s := state(pid)
	return s == 'T' || s == 't'
}
