package linker

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// guardVariable is set for the linker and what it starts. It names the files in the
// chain of calls, as "w" and "device:inode" for those that have been this program
// and "l" for those that were taken for the linker, with commas between. A link
// under it (of link-time optimization, or because what was found leads back here,
// as a script would) is run plainly, by a program that is none of the first and not
// often among the second, so that a chain of any links, copies and scripts ends.
const guardVariable = "XALT_WRAP_LINKER"

// maxNested is how often a linker may be started below itself.
const maxNested = 3

// identity tells files apart whatever their name is.
type identity struct{ device, inode uint64 }

func identify(info os.FileInfo) (identity, bool) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return identity{uint64(s.Dev), s.Ino}, true //nolint:unconvert // 32 bits wide on some machines
	}
	return identity{}, false
}

func (id identity) String() string {
	return strconv.FormatUint(id.device, 10) + ":" + strconv.FormatUint(id.inode, 10)
}

// finder looks for the real linker.
type finder struct {
	cfg    *Config
	name   string // by which we were called
	self   os.FileInfo
	marker []byte   // the beginning of our executable, with its build id
	passed []string // of the guard
}

const selfPath = "/proc/self/exe"

func newFinder(cfg *Config, name string) *finder {
	f := &finder{cfg: cfg, name: name}
	for _, path := range []string{selfPath, calledAs(name, cfg.getenv("PATH"))} {
		if info, err := os.Stat(path); err == nil {
			f.self, f.marker = info, beginning(path)
			break
		}
	}
	if guard := cfg.getenv(guardVariable); guard != "" {
		f.passed = strings.Split(guard, ",")
	}
	return f
}

// calledAs is the path of a program called by a name, for where there is no /proc.
func calledAs(name, path string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return ""
}

// beginning returns the first page of a file, in which Go's linker puts the build
// id, by which copies of a program are alike and others are not.
func beginning(path string) []byte {
	d, err := openFile(path)
	if err != nil {
		return nil
	}
	defer d.close()
	p := make([]byte, 4096)
	if _, err := d.ReadAt(p, 0); err != nil {
		return nil
	}
	return p
}

// guard returns the guard's value for a linker that we start, "" for another program.
func (f *finder) guard(real string) string {
	all := slices.Clone(f.passed)
	if f.self != nil {
		if id, ok := identify(f.self); ok {
			all = append(all, "w"+id.String())
		}
	}
	if info, err := os.Stat(real); err == nil {
		if id, ok := identify(info); ok {
			all = append(all, "l"+id.String())
		}
	}
	return strings.Join(all, ",")
}

// usable reports whether path is a program that is not this one.
func (f *finder) usable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return false
	}
	if f.self == nil {
		return true
	}
	if os.SameFile(info, f.self) {
		return false
	}
	if id, ok := identify(info); ok {
		name, nested := id.String(), 0
		for _, p := range f.passed {
			if p == "l"+name {
				nested++
			}
		}
		if nested >= maxNested || slices.Contains(f.passed, "w"+name) {
			return false
		}
	}
	return info.Size() != f.self.Size() || f.marker == nil || !bytes.Equal(beginning(path), f.marker)
}

// find returns the real linker's path, "" if there is none: the rest of
// COMPILER_PATH, then what the compiler itself would take, then PATH. compiler may
// be nil.
func (f *finder) find(compiler *process) string {
	base := filepath.Base(f.name)
	if path := f.search(f.cfg.getenv("COMPILER_PATH"), base); path != "" {
		return path
	}
	if compiler != nil {
		if path := f.ask(compiler, base); path != "" {
			return path
		}
	}
	path := f.search(f.cfg.getenv("PATH"), base)
	if path == "" && strings.HasSuffix(base, "-ld") {
		// real-ld, collect-ld, or with a target before it.
		path = f.search(f.cfg.getenv("PATH"), "ld")
	}
	return path
}

// search looks through a list of directories: from behind the one that we were
// called from, if it is there, and then from the beginning.
func (f *finder) search(list, base string) string {
	dirs := filepath.SplitList(list)
	found := make([]bool, len(dirs))
	own := -1
	for i, dir := range dirs {
		info, err := os.Stat(filepath.Join(dir, base))
		found[i] = err == nil
		if own < 0 && err == nil && f.self != nil && os.SameFile(info, f.self) {
			own = i
		}
	}
	for i := range dirs {
		i = (own + 1 + i) % len(dirs)
		if path := filepath.Join(dirs[i], base); found[i] && f.usable(path) {
			return path
		}
	}
	return ""
}

// ask lets the compiler say where its linker is. The answer is kept, because the
// question costs as much as the rest of our work.
func (f *finder) ask(compiler *process, base string) string {
	if !compiler.known {
		return ""
	}
	key := []string{"prog", compiler.exe, stamp(compiler.exe), base}
	args := []string{compiler.args[0]}
	// Where the compiler looks is also said by these; our own directory is left out.
	for i := 1; i < len(compiler.args) && i < 4096; i++ {
		a := compiler.args[i]
		next := a == "-B" || a == "-target" || a == "--sysroot" || a == "-gcc-toolchain"
		switch {
		case next && i+1 < len(compiler.args):
			i++
			if a != "-B" || !f.ours(compiler.args[i], base) {
				args = append(args, a, compiler.args[i])
			}
		case strings.HasPrefix(a, "-B") && len(a) > 2:
			if !f.ours(a[2:], base) {
				args = append(args, a)
			}
		case strings.HasPrefix(a, "--target="), strings.HasPrefix(a, "--gcc-toolchain="), strings.HasPrefix(a, "--sysroot="),
			a == "-m32", a == "-m64", a == "-mx32":
			args = append(args, a)
		}
	}
	args = append(args, "-print-prog-name="+base)
	key = append(key, args...)
	key = append(key, f.cfg.getenv("GCC_EXEC_PREFIX"), f.cfg.getenv("PATH"))
	path, ok := f.cfg.cached(key)
	if !ok {
		out, err := f.output(compiler.exe, args)
		if err != nil {
			return ""
		}
		path = strings.TrimRight(string(out), "\n")
		f.cfg.remember(key, path)
	}
	if !filepath.IsAbs(path) || !f.usable(path) {
		return ""
	}
	return path
}

// ours reports whether dir holds this program under the name base.
func (f *finder) ours(dir, base string) bool {
	info, err := os.Stat(filepath.Join(dir, base))
	return err == nil && f.self != nil && os.SameFile(info, f.self)
}

// stamp tells versions of a file apart.
func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	id, _ := identify(info)
	return id.String() + " " + strconv.FormatInt(info.Size(), 10) + " " + strconv.FormatInt(info.ModTime().UnixNano(), 10)
}

// output runs a program that answers a question, and returns the answer. It sees
// neither our directory nor the compiler's.
func (f *finder) output(path string, args []string) ([]byte, error) {
	env := f.cfg.environ()
	env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, "COMPILER_PATH=") })
	for i, e := range env {
		if list, ok := strings.CutPrefix(e, "PATH="); ok {
			dirs := slices.DeleteFunc(filepath.SplitList(list), func(dir string) bool { return f.ours(dir, filepath.Base(f.name)) })
			env[i] = "PATH=" + strings.Join(dirs, string(filepath.ListSeparator))
		}
	}
	env = setenv(env, guardVariable, f.guard(""))
	return answer(path, args, env)
}

func setenv(env []string, name, value string) []string {
	env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	return append(env, name+"="+value)
}
