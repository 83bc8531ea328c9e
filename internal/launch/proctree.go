package launch

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"xaltpipe/internal/standin"
)

// process is an ancestor.
type process struct {
	pid, parent int
	name        string // of the command, at most 15 bytes
}

// Bounds of what is looked at.
const (
	maxAncestors   = 64
	maxProcessArgs = 16 << 10 // bytes of one ancestor's arguments
)

// ancestors returns our ancestors from the parent up, without the first
// process.
func ancestors() []process {
	var list []process
	buf := make([]byte, 4096)
	for pid := os.Getppid(); pid > 1 && len(list) < maxAncestors; {
		p, ok := readProcess(pid, buf)
		if !ok {
			break
		}
		list = append(list, p)
		pid = p.parent
	}
	return list
}

func readProcess(pid int, buf []byte) (process, bool) {
	text := readOnce("/proc/"+strconv.Itoa(pid)+"/stat", buf, 0)
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return process{}, false
	}
	_, number, _ := bytes.Cut(text[end+1:][min(1, len(text)-end-1):], []byte(" ")) // behind the state
	number, _, _ = bytes.Cut(number, []byte(" "))
	parent, err := strconv.Atoi(string(number))
	return process{pid: pid, parent: parent, name: string(text[open+1 : end])}, err == nil
}

// args returns a process's arguments, cut off at the limit.
func (p process) args(limit int) []string {
	text := readSmall("/proc/"+strconv.Itoa(p.pid)+"/cmdline", limit)
	if len(text) == 0 {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
}

func (p process) executable() string {
	path, err := os.Readlink("/proc/" + strconv.Itoa(p.pid) + "/exe")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(path, " (deleted)")
}

// readOnce reads what a file gives at once from an offset on, into buf: of a file of
// proc(5) that is all, if there is room.
func readOnce(path string, buf []byte, at int64) []byte {
	fd, err := openSmall(path)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }()
	n, _ := standin.Retry(func() (int, error) { return syscall.Pread(fd, buf, at) })
	return buf[:max(n, 0)]
}

func openSmall(path string) (fd int, err error) {
	return standin.Retry(func() (int, error) {
		return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	})
}

// readSmall reads at most limit bytes of a file; nothing if it cannot. It goes
// past the os package, which asks the kernel a lot about a file that it opens,
// because it is called before the program is started.
func readSmall(path string, limit int) []byte {
	fd, err := openSmall(path)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }()
	text := make([]byte, 0, min(limit, 4096))
	for len(text) < limit {
		if len(text) == cap(text) {
			text = slices.Grow(text, min(limit-len(text), 2*len(text)))
		}
		n, err := standin.Retry(func() (int, error) { return syscall.Read(fd, text[len(text):min(cap(text), limit)]) })
		if n <= 0 || err != nil {
			break
		}
		text = text[:len(text)+n]
	}
	return text
}
