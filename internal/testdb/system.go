package testdb

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// system is where a server's programs are: on this machine if it is empty, or
// in the tree of another system below a directory (scripts/servers), which
// root can use as its root.
type system string

// systemOf returns the system of TEST_POSTGRES_ROOT or TEST_MYSQL_ROOT.
func systemOf(kind string) system {
	return system(os.Getenv("TEST_" + strings.ToUpper(kind) + "_ROOT"))
}

// tempDir makes a directory for a server: in memory where there is such a
// place, because tests make many small databases.
func (s system) tempDir(kind string) (dir string, err error) {
	pattern := "xaltpipe-" + kind + "-"
	if s != "" {
		return os.MkdirTemp(filepath.Join(string(s), "tmp"), pattern)
	}
	if dir, err = os.MkdirTemp("/dev/shm", pattern); err != nil {
		dir, err = os.MkdirTemp("", pattern)
	}
	return dir, err
}

// inside returns a path as the system's programs see it.
func (s system) inside(path string) string { return strings.TrimPrefix(path, string(s)) }

// find returns the path, as seen inside, of the first of names that is there.
func (s system) find(places []string, names ...string) (string, error) {
	for _, name := range names {
		if s == "" {
			if path, err := exec.LookPath(name); err == nil {
				return path, nil
			}
		}
		for _, place := range places {
			if found, _ := filepath.Glob(filepath.Join(string(s), place, name)); len(found) > 0 {
				return s.inside(found[len(found)-1]), nil
			}
		}
	}
	return "", &missingError{strings.Join(names, " or ")}
}

// missingError tells a server that is not installed.
type missingError struct{ what string }

func (e *missingError) Error() string { return e.what + " is not there" }

// command makes a command of the system's that works in dir. If this is root it
// runs as another user, because the servers refuse to be root; the directory
// becomes that user's.
func (s system) command(dir, owner, path string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(path, args...)
	cmd.Dir = s.inside(dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: string(s)}
	if os.Getuid() != 0 {
		return cmd, nil
	}
	u, err := user.Lookup(owner)
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, err
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return cmd, nil
}
