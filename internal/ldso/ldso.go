// Package ldso tells which libraries the dynamic loader will take for a program,
// without running it.
//
// [Resolve] reads the program's ELF headers and follows what it needs as
// ld.so(8) of glibc does: breadth first, by DT_RPATH, LD_LIBRARY_PATH, DT_RUNPATH,
// the cache that ldconfig(8) writes, and the default directories, each with its
// glibc-hwcaps directories; programs of musl are followed as musl does. Static
// programs have no libraries, scripts those of their interpreter.
//
// Nothing is run or mapped, and everything read is bounded: files may be hostile,
// and change while they are read.
//
// Not looked at are the directories "tls", "haswell" and the like, which glibc has
// given up in 2.37, GLIBC_TUNABLES, LD_AUDIT, DT_FILTER and DT_AUXILIARY, and what
// the program itself loads by dlopen(3).
package ldso

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrFormat means that a file is neither an ELF file that can be read nor a script.
var ErrFormat = errors.New("neither a readable ELF file nor a script")

// The bounds. Beyond them a result is incomplete, and says so.
const (
	maxLibraries = 4096
	maxTries     = 1 << 16 // files that are tried to be opened
	maxDirs      = 1024    // of one search path
	maxScripts   = 4       // scripts whose interpreter is a script; the kernel has 5
	maxPath      = 4096
)

// Options are what the loader knows besides the file.
type Options struct {
	// Getenv returns the variables that the program will see: LD_LIBRARY_PATH,
	// LD_PRELOAD and, for scripts that env starts, PATH. Nil is no variables.
	Getenv func(name string) string
	// UID and GID are those of the user who starts the program. If the program's
	// set-user-ID bit or the like makes a difference to them, it is secure.
	UID, GID int
	// Etc is the directory with ld.so.cache, ld.so.preload and ld-musl-*.path;
	// empty is /etc.
	Etc string
	// Stop is asked now and then; if it returns true the search ends, incomplete.
	Stop func() bool
}

func (o *Options) getenv(name string) string {
	if o.Getenv == nil {
		return ""
	}
	return o.Getenv(name)
}

func (o *Options) etc(name string) string {
	if o.Etc == "" {
		return "/etc/" + name
	}
	return filepath.Join(o.Etc, name)
}

// A Library is one that the loader takes, or would if it were there.
type Library struct {
	// Name is what asked for it: the DT_NEEDED entry, or an element of LD_PRELOAD.
	Name string
	// Path is the file as the loader names it, empty if it is missing.
	Path string
	// Real is the path without symbolic links, as in /proc/PID/maps.
	Real string
	// Parent is the Path of the file that needed it first, the program's own for
	// what is preloaded.
	Parent string
	// Preload is true if LD_PRELOAD or ld.so.preload names it.
	Preload bool
}

// A Result is what the loader will do.
type Result struct {
	// Path is the ELF file that will run: that of the program, or of the
	// interpreter of a script. Real is the same without symbolic links.
	Path, Real string
	// Script has the words that a script's "#!" line puts before the script's
	// path, as the kernel splits it. It is empty for other programs.
	Script []string
	// Interp is the loader that the program names, InterpReal without symbolic
	// links. Both are empty for static programs. The loader is not in Libraries.
	Interp, InterpReal string
	// Static is true for programs without loader and libraries.
	Static bool
	// Secure is true if the loader will not trust the environment.
	Secure bool
	// Libraries are in the order of the loader. The vdso is not among them.
	Libraries []Library
	// Incomplete says which bound was met, and is empty else.
	Incomplete string
}

// Resolve returns what the loader will do when the program is started.
func Resolve(path string, opt Options) (Result, error) {
	var script []string
	for range maxScripts {
		f, err := open(path)
		if err != nil {
			return Result{}, fmt.Errorf("resolve libraries: %w", err)
		}
		words := f.scriptWords()
		if words == nil {
			r, err := resolve(path, f, opt)
			f.close()
			if err != nil {
				return Result{}, fmt.Errorf("resolve libraries of %q: %w", path, err)
			}
			r.Script = script
			return r, nil
		}
		f.close()
		if script == nil {
			script = words
		}
		path = interpreter(words, opt)
	}
	return Result{}, fmt.Errorf("resolve libraries of %q: scripts of scripts: %w", path, ErrFormat)
}

// scriptWords returns the words after "#!", nil if the file is not a script.
func (f *file) scriptWords() []string {
	var head [256]byte // the kernel's BINPRM_BUF_SIZE
	n, _ := f.ReadAt(head[:], 0)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	line, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return nil
	}
	word, arg, _ := strings.Cut(strings.ReplaceAll(strings.Trim(line, " \t"), "\t", " "), " ")
	if word == "" {
		return nil
	}
	if arg = strings.Trim(arg, " "); arg != "" {
		return []string{word, arg}
	}
	return []string{word}
}

// interpreter returns the file that runs a script: the one that "#!" names, or,
// if that is env, the program that env will find in PATH.
func interpreter(words []string, opt Options) string {
	if filepath.Base(words[0]) != "env" || len(words) < 2 {
		return words[0]
	}
	arg := words[1]
	if rest, ok := strings.CutPrefix(arg, "-S"); ok {
		arg = ""
		for w := range strings.FieldsSeq(rest) {
			if !strings.HasPrefix(w, "-") && !strings.Contains(w, "=") {
				arg = w
				break
			}
		}
	}
	switch {
	case arg == "" || arg[0] == '-' || len(arg) > maxPath:
		return words[0]
	case strings.Contains(arg, "/"):
		return arg
	}
	for i, dir := range strings.Split(opt.getenv("PATH"), ":") {
		if i == maxDirs {
			break
		}
		name := filepath.Join(dir, arg)
		if dir == "" {
			name = "./" + arg
		}
		if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return name
		}
	}
	return words[0]
}

// resolve follows an ELF file.
func resolve(path string, f *file, opt Options) (Result, error) {
	main, err := readObject(f, f.size)
	if err != nil {
		return Result{}, err
	}
	r := Result{Path: path, Real: f.real(path), Interp: main.interp}
	r.Secure = f.secure(opt)
	if main.etype != etExec && main.etype != etDyn {
		return Result{}, ErrFormat
	}
	if main.interp == "" && len(main.needed) == 0 {
		r.Static = true
		return r, nil
	}
	l := &loader{opt: opt, secure: r.Secure, ids: make(map[fileID]*mapped), dirs: make(map[string]*dir)}
	l.main = &mapped{object: main, path: path, origin: filepath.Dir(r.Real), names: []string{path}}
	l.ids[f.id] = l.main
	l.list = []*mapped{l.main}
	if main.interp != "" {
		if i, err := open(main.interp); err == nil {
			r.InterpReal = i.real(main.interp)
			if o, err := readObject(i, i.size); err == nil {
				l.interp = &mapped{object: o, path: main.interp, names: []string{main.interp}}
				l.ids[i.id] = l.interp
			}
			i.close()
		}
	}
	if l.interp == nil { // it is missing, or a library is to be run: by its name
		l.interp = &mapped{object: &object{}, path: main.interp}
		if main.interp != "" {
			l.interp.names = []string{main.interp, filepath.Base(main.interp)}
		}
	}
	l.musl = strings.HasPrefix(filepath.Base(main.interp), "ld-musl-")
	l.run()
	for _, m := range l.list[1:] {
		if m.isLoader() && r.Interp == "" {
			r.Interp, r.InterpReal = m.path, m.real
			continue
		}
		r.Libraries = append(r.Libraries, Library{Name: m.names[0], Path: m.path, Real: m.real, Parent: m.parent.path, Preload: m.preload})
	}
	r.Incomplete = l.incomplete
	return r, nil
}
