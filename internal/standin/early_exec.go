//go:build linux && !cgo && (amd64 || arm64)

package standin

import (
	"syscall"
	"unsafe"
)

// Where the runtime could not start, the program takes our place at once,
// found in the simplest way: behind ourselves on COMPILER_PATH, if we are a
// linker, or PATH.

// atCWD is AT_FDCWD: paths count from the working directory.
const atCWD = ^uintptr(99)

// What earlyExec works with.
var (
	earlySelf, earlyFile syscall.Stat_t
	earlyPath            [4096]byte
	earlyGuard           [512]byte
)

// earlyExec lets the program take our place. If it returns, that was not
// possible, and all is as before.
func earlyExec(argv unsafe.Pointer) {
	count := earlyCount(argv)
	environ := unsafe.Add(argv, (count+1)*8)
	base, slash := earlyBase(earlyWord(argv, 0))
	linked := !earlyEqual(base, CommandName)
	if !linked {
		first := 1
		for first < count && !earlyEqual(earlyWord(argv, first), "--") {
			first++
		}
		if first++; first >= count {
			return // a command of our own
		}
		argv = unsafe.Add(argv, first*8)
		if base, slash = earlyBase(earlyWord(argv, 0)); slash {
			earlyRun(earlyWord(argv, 0), argv, environ)
			return
		}
	}
	skip, ok := earlyReplaced(environ, base)
	if !ok || !earlyFind(environ, base, skip, linked) {
		return
	}
	name := earlyWord(argv, 0)
	if slash || earlyHydra() { // as launch does
		earlySet(argv, 0, unsafe.Pointer(&earlyPath))
	}
	execute := earlyUnguarded
	if earlyScript() {
		execute = earlyGuarded
	}
	if errno := execute(argv, environ); errno == syscall.ENOEXEC {
		earlyRun(unsafe.Pointer(&earlyPath), argv, environ)
	}
	earlySet(argv, 0, name)
}

// earlyGuarded executes the program in earlyPath with ReplacedVariable set.
func earlyGuarded(argv, environ unsafe.Pointer) syscall.Errno {
	path := uintptr(unsafe.Pointer(&earlyPath))
	for i := range earlyCount(environ) {
		if before := earlyWord(environ, i); earlyPrefix(before, ReplacedVariable) != nil {
			earlySet(environ, i, unsafe.Pointer(&earlyGuard))
			_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, path, uintptr(argv), uintptr(environ))
			earlySet(environ, i, before)
			return errno
		}
	}
	// What stands before the arguments is not needed any more: they move down by
	// one, which leaves a place for a variable between them and the environment.
	count := earlyCount(argv)
	before := earlyWord(argv, -1)
	for i := range count + 1 {
		earlySet(argv, i-1, earlyWord(argv, i))
	}
	earlySet(argv, count, unsafe.Pointer(&earlyGuard))
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, path, uintptr(argv)-8, uintptr(environ)-8)
	for i := count; i >= 0; i-- {
		earlySet(argv, i, earlyWord(argv, i-1))
	}
	earlySet(argv, -1, before)
	return errno
}

// earlyUnguarded executes the program in earlyPath without ReplacedVariable.
func earlyUnguarded(argv, environ unsafe.Pointer) syscall.Errno {
	count, at := earlyCount(environ), 0
	for at < count && earlyPrefix(earlyWord(environ, at), ReplacedVariable) == nil {
		at++
	}
	before := earlyWord(environ, at)
	for i := at; i < count; i++ {
		earlySet(environ, i, earlyWord(environ, i+1))
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(&earlyPath)), uintptr(argv), uintptr(environ))
	for i := count - 1; i > at; i-- {
		earlySet(environ, i, earlyWord(environ, i-1))
	}
	earlySet(environ, at, before)
	return errno
}

// earlyScript reports whether the program in earlyPath is no ELF file, but, most
// likely, a script.
func earlyScript() bool {
	fd, _, errno := syscall.RawSyscall6(syscall.SYS_OPENAT, atCWD, uintptr(unsafe.Pointer(&earlyPath)), syscall.O_RDONLY|syscall.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return false
	}
	var head [4]byte
	_, _, _ = syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&head)), 4)
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	return head != [4]byte{0x7f, 'E', 'L', 'F'}
}

// earlyRun executes a program, as execvp(3): a file without an interpreter is
// a script for sh. There must be a place before the arguments.
func earlyRun(path, argv, environ unsafe.Pointer) {
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(path), uintptr(argv), uintptr(environ))
	if errno != syscall.ENOEXEC {
		return
	}
	shell := unsafe.Pointer(unsafe.StringData("/bin/sh\x00"))
	before, name := earlyWord(argv, -1), earlyWord(argv, 0)
	earlySet(argv, -1, shell)
	earlySet(argv, 0, path)
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(shell), uintptr(argv)-8, uintptr(environ))
	earlySet(argv, -1, before)
	earlySet(argv, 0, name)
}

// earlyFind puts the path of a program into earlyPath.
func earlyFind(environ, base unsafe.Pointer, skip int, linked bool) bool {
	if _, _, errno := syscall.RawSyscall6(sysStat, atCWD, uintptr(unsafe.Pointer(unsafe.StringData("/proc/self/exe\x00"))), uintptr(unsafe.Pointer(&earlySelf)), 0, 0, 0); errno != 0 {
		return false // without it we could find ourselves
	}
	path := earlyVariable(environ, "PATH=")
	if path == nil {
		path = unsafe.Pointer(unsafe.StringData(DefaultPath + "\x00"))
	}
	// A program that skip passes over may be all there is.
	if list := earlyVariable(environ, "COMPILER_PATH="); list != nil && linked && earlyLinker(base) {
		if earlySearch(list, base, skip) || skip > 0 && earlySearch(list, base, 0) {
			return true
		}
	}
	return earlySearch(path, base, skip) || skip > 0 && earlySearch(path, base, 0)
}

// earlySearch looks through a list of directories, from behind the first that
// we are in ourselves.
func earlySearch(list, base unsafe.Pointer, skip int) bool {
	from := 0
	for at, end := 0, false; !end; {
		at, end = earlyJoin(list, at, base)
		if earlyUsable() == itself {
			from = at
			break
		}
	}
	for at, end := from, from > 0 && earlyByte(list, from-1) == 0; !end; {
		at, end = earlyJoin(list, at, base)
		if earlyUsable() == usable {
			if skip == 0 {
				return true
			}
			skip--
		}
	}
	return false
}

// earlyJoin puts the directory at an offset of the list and the name into
// earlyPath, and returns where the next one begins, and whether there is none.
// A path that is too long becomes an empty one, which does not exist.
func earlyJoin(list unsafe.Pointer, at int, base unsafe.Pointer) (next int, end bool) {
	n := 0
	c := earlyByte(list, at)
	for ; c != 0 && c != ':'; c = earlyByte(list, at) {
		if n < len(earlyPath) {
			earlyPath[n] = c
		}
		n++
		at++
	}
	if n == 0 { // the working directory
		earlyPath[0] = '.'
		n = 1
	}
	if n < len(earlyPath) {
		earlyPath[n] = '/'
	}
	n++
	for i := 0; earlyByte(base, i) != 0; i++ {
		if n < len(earlyPath) {
			earlyPath[n] = earlyByte(base, i)
		}
		n++
	}
	if n < len(earlyPath) {
		earlyPath[n] = 0
	} else {
		earlyPath[0] = 0
	}
	return at + 1, c == 0
}

// What a path can be.
const (
	unusable = iota
	usable
	itself
)

// earlyUsable tells what the path in earlyPath is.
func earlyUsable() int {
	path := uintptr(unsafe.Pointer(&earlyPath))
	if _, _, errno := syscall.RawSyscall6(sysStat, atCWD, path, uintptr(unsafe.Pointer(&earlyFile)), 0, 0, 0); errno != 0 {
		return unusable
	}
	if earlyFile.Dev == earlySelf.Dev && earlyFile.Ino == earlySelf.Ino {
		return itself
	}
	const execute = 1
	if earlyFile.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return unusable
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_FACCESSAT, atCWD, path, execute); errno != 0 {
		return unusable
	}
	return usable
}

// earlyHydra reports whether the program in earlyPath stands beside a file of
// Hydra's, and may look for itself on PATH.
func earlyHydra() bool {
	base, _ := earlyBase(unsafe.Pointer(&earlyPath))
	const file = "hydra_pmi_proxy\x00"
	if earlyPrefix(base, "mpi") == nil {
		return false
	}
	at := int(uintptr(base) - uintptr(unsafe.Pointer(&earlyPath)))
	if at+len(file) > len(earlyPath) {
		return false
	}
	var before [len(file)]byte
	for i := range len(file) {
		before[i], earlyPath[at+i] = earlyPath[at+i], file[i]
	}
	_, _, errno := syscall.RawSyscall6(sysStat, atCWD, uintptr(unsafe.Pointer(&earlyPath)), uintptr(unsafe.Pointer(&earlyFile)), 0, 0, 0)
	for i := range len(file) {
		earlyPath[at+i] = before[i]
	}
	return errno == 0
}

// earlyVariable returns the value of a variable, whose name ends with =, nil if
// it is not set or empty.
func earlyVariable(environ unsafe.Pointer, name string) unsafe.Pointer {
	for i := range earlyCount(environ) {
		if value := earlyPrefix(earlyWord(environ, i), name); value != nil {
			if earlyByte(value, 0) == 0 {
				return nil
			}
			return value
		}
	}
	return nil
}

// earlyReplaced reads ReplacedVariable and writes the next one into earlyGuard.
// It returns how many programs of that name are to be passed over; ok is false if
// there is a loop.
func earlyReplaced(environ, base unsafe.Pointer) (skip int, ok bool) {
	count := 0
	if value := earlyVariable(environ, ReplacedVariable); value != nil && earlyByte(value, 0) >= '1' && earlyByte(value, 0) <= '9' {
		i := 0
		for earlyByte(base, i) != 0 && earlyByte(value, i+1) == earlyByte(base, i) {
			i++
		}
		if earlyByte(value, i+1) == earlyByte(base, i) { // that name
			count = int(earlyByte(value, 0) - '0')
		}
	}
	n := 0
	for ; n < len(ReplacedVariable); n++ {
		earlyGuard[n] = ReplacedVariable[n]
	}
	earlyGuard[n] = byte('1' + count)
	n++
	for i := 0; earlyByte(base, i) != 0; i++ {
		if n+1 >= len(earlyGuard) {
			return 0, false
		}
		earlyGuard[n] = earlyByte(base, i)
		n++
	}
	earlyGuard[n] = 0
	return max(0, count-NestedReplaced), count < MaxReplaced
}

// earlyLinker tells the names of linkers.
func earlyLinker(base unsafe.Pointer) bool {
	if earlyEqual(base, "ld") || earlyPrefix(base, "ld.") != nil {
		return true
	}
	for i := 0; earlyByte(base, i) != 0; i++ {
		if rest := earlyPrefix(unsafe.Add(base, i), "-ld"); rest != nil && (earlyByte(rest, 0) == 0 || earlyByte(rest, 0) == '.') {
			return true
		}
	}
	return false
}

// earlyCount is the number of entries before the zero that ends a vector.
func earlyCount(vector unsafe.Pointer) (n int) {
	for earlyWord(vector, n) != nil {
		n++
	}
	return n
}

func earlySet(vector unsafe.Pointer, i int, to unsafe.Pointer) {
	*(*unsafe.Pointer)(unsafe.Add(vector, i*8)) = to
}
