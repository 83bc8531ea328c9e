package launch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"xaltpipe/internal/standin"
)

// ErrNotFound says that there is no such program on PATH.
var ErrNotFound = errors.New("command not found")

// errPermission says that there is one, but it may not be run.
var errPermission = errors.New("permission denied")

// errLoop says that whatever is there calls us again.
var errLoop error = loopError{}

type loopError struct{}

func (loopError) Error() string {
	return ErrNotFound.Error() + ": what PATH has of that name calls xalt-wrap again"
}

func (loopError) Unwrap() error { return ErrNotFound }

// finder finds the program that would run if we were not there.
type finder struct {
	self os.FileInfo // of our own executable; nil if it cannot be told
	path string      // PATH
	// skip is how many programs of that name are passed over because they call
	// us again: such a script gets the next one, or the last.
	skip int
}

// named finds the program for a name without a slash on PATH, leaving out
// ourselves whatever we are called. What stands before the place where we are
// ourselves was passed over by the caller, who may have his own reason.
func (f finder) named(name string) (string, error) {
	list := f.path
	if list == "" {
		list = standin.DefaultPath
	}
	dirs := strings.Split(list, ":")
	from := 0
	for i, dir := range dirs {
		if info, err := os.Stat(join(dir, name)); err == nil && f.self != nil && os.SameFile(info, f.self) {
			from = i + 1
			break
		}
	}
	err := ErrNotFound
	skip, last := f.skip, ""
	for _, dir := range dirs[from:] {
		path := join(dir, name)
		if why := f.usable(path); why != nil {
			if errors.Is(why, errPermission) {
				err = why
			}
			continue
		}
		if last = path; skip == 0 {
			return path, nil
		}
		skip--
	}
	if last == "" {
		return "", err
	}
	return last, nil
}

// join is not filepath.Join: the program's name should be what a shell makes
// of it. An empty directory is the working directory.
func join(dir, name string) string {
	switch {
	case dir == "":
		return "./" + name
	case strings.HasSuffix(dir, "/"):
		return dir + name
	}
	return dir + "/" + name
}

// usable returns nil for an executable that is not ourselves.
func (f finder) usable(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return ErrNotFound
	}
	const execute = 1
	if syscall.Faccessat(-100, path, execute, 0x200) != nil { // AT_FDCWD, AT_EACCESS
		return errPermission
	}
	if f.ourselves(path) {
		return ErrNotFound
	}
	return nil
}

// ourselves reports whether a file is this command, by whatever name.
func (f finder) ourselves(path string) bool {
	info, err := os.Stat(path)
	return err == nil && (f.self != nil && os.SameFile(info, f.self) || info.Mode().IsRegular() && isWrapper(path))
}

// marker is in every build of this command, put there by Go with the other
// facts of the build. It is not written here in one piece, so that it is in
// nothing else.
func marker() []byte { return []byte(strings.Join([]string{"path", "xaltpipe/cmd/xalt-wrap\n"}, "\t")) }

// buildFacts is how much of what a program can write is looked through for the
// marker, in bytes: Go puts the facts of a build at its beginning (debug/buildinfo),
// and has a few hundred bytes of them.
const buildFacts = 16 << 10

// isWrapper tells other copies of this command, also of other versions. They
// are static, which launchers are not, so that hardly a file is read twice.
func isWrapper(path string) bool {
	at, ok := staticData(readOnce(path, make([]byte, 4096), 0))
	return ok && bytes.Contains(readOnce(path, make([]byte, buildFacts), at), marker())
}

// staticData returns where in its file the first segment is that a program can
// write to, if the file begins like a 64-bit ELF executable that names no
// interpreter.
func staticData(head []byte) (at int64, ok bool) {
	if len(head) < 64 || string(head[:4]) != "\x7fELF" || head[4] != 2 || head[5] != 1 {
		return 0, false
	}
	table, size, count := binary.LittleEndian.Uint64(head[32:]), binary.LittleEndian.Uint16(head[54:]), binary.LittleEndian.Uint16(head[56:])
	const entry = 56 // bytes, at least
	if size < entry {
		return 0, false
	}
	for i := range uint64(count) {
		p := table + i*uint64(size)
		if table > uint64(len(head)) || p+entry > uint64(len(head)) {
			break
		}
		kind, flags := binary.LittleEndian.Uint32(head[p:]), binary.LittleEndian.Uint32(head[p+4:])
		const load, interp, write = 1, 3, 2
		switch {
		case kind == interp:
			return 0, false
		case kind == load && flags&write != 0 && !ok:
			at, ok = int64(binary.LittleEndian.Uint64(head[p+8:])), true
		}
	}
	return at, ok && at >= 0
}

// isScript reports whether a program is no ELF file, but, most likely, a script.
func isScript(path string) bool { return string(readOnce(path, make([]byte, 4), 0)) != "\x7fELF" }

// replaced returns how often programs of that name have taken our place before
// we were called; see [standin.ReplacedVariable].
func replaced(environ []string, name string) int {
	for _, e := range environ {
		if value, ok := strings.CutPrefix(e, standin.ReplacedVariable); ok && len(value) > 1 && value[1:] == name && value[0] >= '0' && value[0] <= '9' {
			return int(value[0] - '0')
		}
	}
	return 0
}

// own returns our own executable's identity.
func own() os.FileInfo {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil
	}
	return info
}

// absolute returns the path with symlinks resolved, as XALT records it, or as
// it is if that is not possible.
func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}

// seeksItself reports whether a program that is called by its bare name looks
// for itself on PATH, where it would find us, to learn where its own files are.
// Hydra, the launcher of MPICH and Intel MPI, does, and starts what stands
// beside it; Open MPI may stand there too, and takes a path for an order to set
// up its directory on all nodes.
func seeksItself(path string) bool {
	dir, name := filepath.Split(path)
	if !strings.HasPrefix(name, "mpi") {
		return false
	}
	var st syscall.Stat_t
	if syscall.Stat(dir+"hydra_pmi_proxy", &st) != nil && syscall.Stat(dir+"hydra_bstrap_proxy", &st) != nil {
		return false
	}
	real := filepath.Base(absolute(path))
	return real != "orterun" && real != "prterun" && !strings.HasSuffix(real, ".openmpi")
}
