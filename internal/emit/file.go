package emit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// keyOf reads kind, syshost and key from the name of a record's file:
// KIND.SYSHOST.TIME.USER[.SUFFIX].UUID.json.
func keyOf(name string) (kind xalt.Kind, syshost, key string, ok bool) {
	first, rest, _ := strings.Cut(name, ".")
	kind = xalt.Kind(first)
	rest, isJSON := strings.CutSuffix(rest, ".json")
	dot := strings.LastIndexByte(rest, '.')
	if !isJSON || dot < 0 {
		return "", "", "", false
	}
	uuid := rest[dot+1:]
	syshost, suffix, ok := cutName(rest[:dot])
	if !ok || !IsUUID(uuid) || uuid != strings.ToLower(uuid) {
		return "", "", "", false
	}
	switch {
	case kind == xalt.KindRun && suffix == "aaa":
		key = StartKey(uuid)
	case kind == xalt.KindRun && suffix == "zzz":
		key = EndKey(uuid)
	case kind == xalt.KindPkg && len(suffix) == 12:
		key = PkgKey(uuid, suffix)
	case (kind == xalt.KindLink || kind == xalt.KindSkip) && suffix == "":
		key = string(kind) + "_" + uuid
	default:
		return "", "", "", false
	}
	return kind, syshost, key, true
}

// cutName reads SYSHOST.TIME.USER[.SUFFIX]. Only a syshost may have dots.
func cutName(s string) (syshost, suffix string, ok bool) {
	parts := strings.Split(s, ".")
	for _, behind := range [...]int{3, 2} { // time, user, and perhaps a suffix
		at := len(parts) - behind
		if at < 1 || !isRecordTime(parts[at]) || !isMadeOf(parts[at+1], nameBytes) {
			continue
		}
		if suffix = strings.Join(parts[at+2:], "."); behind == 3 && !isMadeOf(suffix, suffixBytes) {
			continue
		}
		if syshost = strings.Join(parts[:at], "."); ValidSyshost(syshost) {
			return syshost, suffix, true
		}
	}
	return "", "", false
}

const (
	suffixBytes = "0123456789abcdefghijklmnopqrstuvwxyz"
	nameBytes   = suffixBytes + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
)

// isMadeOf reports whether s has some of the bytes, and no others.
func isMadeOf(s, some string) bool { return s != "" && strings.Trim(s, some) == "" }

// isRecordTime tells times such as 2026_11_20_09_43_59_8740.
func isRecordTime(s string) bool {
	const form = "0000_00_00_00_00_00_0000"
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; form[i] == '_' && c != '_' || form[i] == '0' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
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
