package linker

import (
	"os"
	"path/filepath"
	"syscall"
	"unsafe"
)

// isTerminal reports whether f is one.
func isTerminal(f *os.File) bool {
	var attributes syscall.Termios
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&attributes)))
	return errno == 0
}

// realPath resolves links, as /proc names a running program.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return filepath.Clean(path)
}
