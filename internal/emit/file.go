package emit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"xaltpipe/internal/xalt"
)

// fileName is how XALT's file transmission names a record:
//
//	<kind>.<syshost>.<%Y_%m_%d_%H_%M_%S>_<%04d>.<user><suffix>.<uuid>.json
//
// The suffix is .aaa for the start of a run and .zzz for its end, so that they
// sort in that order; that of a package holds its twelve digits. So the key can
// be read from the name, see keyOf.
func (s *Sender) fileName(kind xalt.Kind, key string, now time.Time) string {
	var suffix, uuid string
	switch {
	case strings.HasPrefix(key, "run_strt_"):
		suffix, uuid = ".aaa", key[len("run_strt_"):]
	case strings.HasPrefix(key, "run_fini_"):
		suffix, uuid = ".zzz", key[len("run_fini_"):]
	case kind == xalt.KindPkg:
		uuid = strings.TrimPrefix(key, "pkg_")
		if before, id, ok := strings.Cut(uuid, "_"); ok {
			suffix, uuid = "."+id, before
		}
	default:
		uuid = strings.TrimPrefix(key, string(kind)+"_")
	}
	return fmt.Sprintf("%s.%s.%s_%04d.%s%s.%s.json", kind, s.syshost, now.Format("2006_01_02_15_04_05"), now.Nanosecond()/100_000, safeName(s.user), suffix, uuid)
}

// safeName makes a user's name part of a file's name.
func safeName(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
		default:
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "_"
	}
	return string(b[:min(len(b), 64)])
}

// recordName is compiled only by who needs it: the command starts very often.
var recordName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(link|run|pkg|skip)\.([A-Za-z0-9][A-Za-z0-9._-]{0,63}?)\.\d{4}(?:_\d\d){5}_\d{4}\.[A-Za-z0-9_-]+(\.[0-9a-z]+)?\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.json$`)
})

// keyOf reads kind, syshost and key from the name of a record's file.
func keyOf(name string) (kind xalt.Kind, syshost, key string, ok bool) {
	m := recordName().FindStringSubmatch(name)
	if m == nil {
		return "", "", "", false
	}
	kind, syshost = xalt.Kind(m[1]), m[2]
	switch {
	case kind == xalt.KindRun && m[3] == ".aaa":
		key = StartKey(m[4])
	case kind == xalt.KindRun && m[3] == ".zzz":
		key = EndKey(m[4])
	case kind == xalt.KindPkg && len(m[3]) == 13:
		key = PkgKey(m[4], m[3][1:])
	case (kind == xalt.KindLink || kind == xalt.KindSkip) && m[3] == "":
		key = string(kind) + "_" + m[4]
	default:
		return "", "", "", false
	}
	return kind, syshost, key, true
}

// writeFile writes a file of that name and content, whole or not at all. It
// does not wait for the disk: a record is not worth that to a program.
func writeFile(dir, name string, text []byte, mode fs.FileMode) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return writeInRoot(root, name, text, mode)
}

func writeInRoot(root *os.Root, name string, text []byte, mode fs.FileMode) (err error) {
	temporary := "." + name + ".tmp"
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(append(slices.Clip(text), '\n'))
	if chmodErr := f.Chmod(mode); err == nil { // the user's umask does not decide who reads it
		err = chmodErr
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(root.Remove(temporary)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// isTemporary tells what writeFile left behind when it was killed.
func isTemporary(name string) bool {
	return strings.HasPrefix(name, ".") && filepath.Ext(name) == ".tmp"
}
