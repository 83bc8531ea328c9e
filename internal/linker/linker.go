package linker

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xaltpipe/internal/standin"
	"xaltpipe/internal/watermark"
	"xaltpipe/internal/xalt"
)

// Sender takes records. It does not fail visibly, and does not take long.
type Sender interface {
	// Send takes a record's text, which it may change. key is the key of its blocks.
	Send(kind xalt.Kind, key string, text []byte)
}

// Reproducible says what becomes of the watermark when SOURCE_DATE_EPOCH asks for
// an output that is the same on every machine and at every time.
type Reproducible int

// What SOURCE_DATE_EPOCH makes of the watermark.
const (
	// Derive writes one with that time, a UUID made of what is linked, and nothing
	// of the machine, the user, the directory or the modules.
	Derive Reproducible = iota
	// Omit writes none. The link is recorded all the same.
	Omit
	// Ignore writes one as always.
	Ignore
)

// Config is what the link role must be told.
type Config struct {
	Version string // of xalt-wrap
	Syshost string
	User    string   // default: $USER, else the number
	Host    string   // default: the node's name
	Env     []string // the environment, as of os.Environ
	// NewUUID makes the link's UUID. Without it nothing is recorded.
	NewUUID func() string
	// Now is the time; default time.Now.
	Now func() time.Time
	// Off runs the real linker only. XALT_EXECUTABLE_TRACKING=no does the same.
	Off bool
	// Tracked and TrackedFile (rmap-merge's xlibmap.list) name the libraries whose
	// functions are recorded: by base name or path.
	Tracked      []string
	TrackedFile  string
	Reproducible Reproducible
	// Redact replaces what is secret in the compiler's command line; nil: nothing is.
	Redact func([]string) []string
	// CacheDir keeps what compilers and linkers say of themselves. It must belong to
	// the user alone. Default: xalt-wrap in $XDG_CACHE_HOME or ~/.cache, or else in
	// the temporary directory.
	CacheDir string
	// Background is the command line by which this program is run to call [Job],
	// which then records links of large outputs after they are made. Nil: they are
	// recorded at once.
	Background []string
	// Trace is told what is done and why; nil for nothing.
	Trace io.Writer
}

func (c *Config) tracef(format string, args ...any) {
	if c.Trace != nil {
		fmt.Fprintf(c.Trace, "xalt-wrap: ld: "+format+"\n", args...)
	}
}

func (c *Config) environ() []string { return append([]string(nil), c.Env...) }

func (c *Config) getenv(name string) string {
	for _, e := range c.Env {
		if value, ok := strings.CutPrefix(e, name); ok && strings.HasPrefix(value, "=") {
			return value[1:]
		}
	}
	return ""
}

func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// notFound is the shell's status of a command that is not there.
const notFound = 127

// Run links. args are the linker's, with its name first; the files are those of
// the process, which may be given to another program. The result is the exit
// status, if Run returns: often the real linker takes the process's place, and
// where it dies of a signal, so does the process.
func Run(cfg Config, args []string, stdin, stdout, stderr *os.File, sender Sender) (status int) {
	std := streams{stdin, stdout, stderr}
	if len(args) == 0 {
		args = []string{"ld"}
	}
	l := &link{cfg: &cfg, args: args, std: std, sender: sender}
	status, done := l.try()
	if done {
		return status
	}
	return l.plain()
}

// link is one call.
type link struct {
	cfg    *Config
	args   []string
	std    streams
	sender Sender

	wd       string // working directory
	words    []word // what makes the output what it is
	find     *finder
	real     string // the real linker
	compiler *process
	opened   []*os.File // that the child inherits
}

// try links with the watermark. done is false if the link is still to be done.
// A panic is a fault of ours: it ends as any other, with the plain link if there
// is no result yet.
func (l *link) try() (status int, done bool) {
	ended := false
	defer func() {
		if p := recover(); p != nil {
			l.cfg.tracef("panic: %v", p)
			done = ended
		}
		for _, f := range l.opened {
			f.Close()
		}
	}()
	cfg := l.cfg
	l.find = newFinder(cfg, l.args[0])
	inv, words, ok := parse(l.args[1:])
	l.words = words
	reason := inv.plain()
	l.wd = workingDirectory()
	switch {
	case !ok:
		reason = "its arguments are not understood"
	case reason != "":
	case isProbe(absolute(l.wd, inv.output)):
		reason = "it is a test of CMake or Meson"
	case cfg.Off || cfg.getenv("XALT_EXECUTABLE_TRACKING") == "no":
		reason = "tracking is off"
	case l.find.passed != nil:
		reason = "a link above it is recorded"
	case standin.Inheritance().Ignores(syscall.SIGCHLD):
		reason = "SIGCHLD is ignored"
	case cfg.NewUUID == nil || l.sender == nil:
		reason = "nothing is recorded"
	}
	if reason != "" {
		cfg.tracef("run plainly: %s", reason)
		return 0, false
	}
	l.compiler = findCompiler("/proc", os.Getppid())
	if l.compiler.probes() {
		cfg.tracef("run plainly: it is configure's first test")
		return 0, false
	}
	if l.real = l.find.find(l.compiler); l.real == "" {
		return 0, false
	}
	return l.linked(&inv, &ended)
}

// linked runs the linker with our arguments added, and records what came of it.
// *ended becomes true when its result counts.
func (l *link) linked(inv *invocation, ended *bool) (status int, done bool) {
	cfg := l.cfg
	able := cfg.abilities(l.find, l.real)
	rec, mark := l.describe(inv)

	args := append([]string{l.argv0()}, l.args[1:]...)
	object := ""
	if mark != nil {
		f, err := l.memory()
		if err == nil {
			_, err = f.Write(mark)
		}
		if err == nil {
			object, err = inherit(f)
		}
		if err != nil {
			cfg.tracef("watermark: %v", err)
			return 0, false
		}
		if inv.atEnd {
			args = append(args, object)
		} else {
			args = append(args[:1], append([]string{object}, args[1:]...)...)
		}
	}
	trace, traceArgs, err := l.traceWith(inv, able)
	if err != nil {
		cfg.tracef("trace: %v", err)
		return 0, false
	}
	args = append(args[:1], append(traceArgs, args[1:]...)...)

	held, err := newCapture(l.std, cfg.tempDir())
	if err != nil {
		cfg.tracef("%v", err)
		return 0, false
	}
	defer held.close()
	cfg.tracef("run %q", append([]string{l.real}, args[1:]...))
	env := setenv(cfg.environ(), guardVariable, l.find.guard(l.real))
	files := []uintptr{l.std[0].Fd(), held.out.Fd(), held.err.Fd()}
	if standin.Inheritance().Closed(0) {
		files[0] = ^uintptr(0)
	}
	res, err := run(l.real, args, env, files)
	switch {
	case err != nil:
		cfg.tracef("%v", err)
		return 0, false
	case res.interrupted && !res.succeeded():
		*ended = true
		held.release(l.std, nil)
		return res.end(), true
	case !res.succeeded():
		cfg.tracef("the link ended with %v, run plainly", res.status)
		return 0, false
	}
	var drop func([]byte) bool
	if object != "" {
		if drop, err = l.cleaned(inv, held, object); err != nil {
			cfg.tracef("%v, run plainly", err)
			return 0, false
		}
	}
	*ended = true
	held.release(l.std, drop)
	l.record(inv, rec, trace, object)
	return 0, true
}

// plain lets the real linker take this process's place.
func (l *link) plain() int {
	l.search()
	if l.real == "" {
		fmt.Fprintf(l.std[2], "xalt-wrap: %s: no linker found in COMPILER_PATH or PATH\n", l.args[0])
		return notFound
	}
	args := append([]string{l.argv0()}, l.args[1:]...)
	env := setenv(l.cfg.environ(), guardVariable, l.find.guard(l.real))
	err := replace(l.real, args, env, l.std)
	if errors.Is(err, syscall.E2BIG) {
		err = replace(l.real, args, l.cfg.Env, l.std)
	}
	fmt.Fprintf(l.std[2], "xalt-wrap: run %s: %v\n", l.real, err)
	return notFound
}

// search finds the real linker, if it is not found yet.
func (l *link) search() {
	defer func() {
		if p := recover(); p != nil && l.find != nil {
			l.cfg.tracef("panic: %v", p)
			l.real = l.find.search(l.cfg.getenv("PATH"), filepath.Base(l.args[0]))
		}
	}()
	if l.find == nil {
		l.find = newFinder(l.cfg, l.args[0])
	}
	if l.real == "" {
		l.compiler = findCompiler("/proc", os.Getppid())
		l.real = l.find.find(l.compiler)
	}
}

// argv0 is the name under which the real linker is run, and by which it calls
// itself in messages: its path if ours was one.
func (l *link) argv0() string {
	if strings.Contains(l.args[0], "/") {
		return l.real
	}
	return l.args[0]
}

// memory returns an empty file in memory that is closed at the end.
func (l *link) memory() (*os.File, error) {
	f, err := memoryFile(l.cfg.tempDir())
	if err != nil {
		return nil, err
	}
	l.opened = append(l.opened, f)
	return f, nil
}

// describe returns what is known of the link before it is made, and the object
// with its watermark, nil if it is to have none.
func (l *link) describe(inv *invocation) (rec *record, mark []byte) {
	cfg := l.cfg
	now := cfg.now()
	rec = &record{
		uuid: cfg.NewUUID(), program: filepath.Base(l.args[0]), path: l.real, line: append([]string{filepath.Base(l.args[0])}, l.args[1:]...),
		user: cfg.User, host: cfg.Host, syshost: cfg.Syshost, wd: l.wd, time: now,
	}
	if c := l.compiler; c != nil {
		rec.program, rec.path, rec.line = c.name(), c.exe, c.args
		if rec.path == "" {
			rec.path = c.args[0]
		}
	}
	if cfg.Redact != nil {
		rec.line = cfg.Redact(rec.line)
	}
	if rec.user == "" {
		rec.user = cfg.getenv("USER")
	}
	if rec.user == "" {
		rec.user = strconv.Itoa(os.Getuid())
	}
	var system syscall.Utsname
	_ = syscall.Uname(&system)
	if rec.host == "" {
		rec.host = utsname(system.Nodename)
	}
	if !inv.marked() {
		cfg.tracef("no watermark: the user decides over memory or format")
		return rec, nil
	}
	w := watermark.Watermark{
		XALTVersion: "xalt-wrap/" + cfg.Version, Host: rec.host, Syshost: rec.syshost, Compiler: rec.program, CompilerPath: rec.path,
		OS: utsname(system.Sysname) + " " + utsname(system.Release), User: rec.user, UUID: rec.uuid,
		Year: now.Format("2006"), Date: now.Format("Mon Jan 02 15:04:05 2006"),
		LoadedModules: cfg.getenv("LOADEDMODULES"), LMFiles: cfg.getenv("_LMFILES_"), CWD: rec.wd, Epoch: epoch(now),
	}
	if date, ok := sourceDate(cfg.getenv("SOURCE_DATE_EPOCH")); ok && cfg.Reproducible != Ignore {
		if cfg.Reproducible == Omit {
			cfg.tracef("no watermark: SOURCE_DATE_EPOCH")
			return rec, nil
		}
		rec.uuid = cfg.derivedUUID(l.words)
		w = watermark.Watermark{
			XALTVersion: w.XALTVersion, Host: xalt.Unknown, Syshost: w.Syshost, Compiler: w.Compiler, CompilerPath: w.CompilerPath,
			OS: xalt.Unknown, User: xalt.Unknown, UUID: rec.uuid,
			Year: date.Format("2006"), Date: date.Format("Mon Jan 02 15:04:05 2006"), CWD: xalt.Unknown, Epoch: epoch(date),
		}
	}
	target, ok := inv.target()
	if !ok {
		cfg.tracef("no watermark: emulation %q", inv.emulation)
		return rec, nil
	}
	mark, err := watermark.Object(&w, target)
	if err != nil {
		cfg.tracef("%v", err)
		return rec, nil
	}
	return rec, mark
}

func utsname[T int8 | uint8](field [65]T) string {
	var b strings.Builder
	for _, c := range field {
		if c == 0 {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}

// sourceDate reads SOURCE_DATE_EPOCH. Like what reads the records, it takes no time
// on the last day of the year 9999, which is the year 10000 in some zones.
func sourceDate(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 253402300799-24*60*60 {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// workingDirectory is the kernel's name of it, not $PWD.
func workingDirectory() string {
	var buf [4096]byte
	n, err := syscall.Getcwd(buf[:])
	if err != nil || n < 1 {
		return xalt.Unknown
	}
	return string(buf[:n-1])
}

// absolute returns a path as from the root.
func absolute(wd, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return wd + "/" + path
}

// target is what the output will be: as the emulation says, or as the first object.
func (inv *invocation) target() (watermark.Target, bool) {
	switch inv.emulation {
	case "elf_x86_64":
		return watermark.AMD64, true
	case "elf_i386":
		return watermark.I386, true
	case "elf32_x86_64":
		return watermark.X32, true
	case "aarch64linux", "aarch64elf":
		return watermark.ARM64, true
	case "":
	default:
		return watermark.Target{}, false
	}
	for _, name := range inv.inputs {
		if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if d, err := readDynamic(name); err == nil {
			return watermark.Target{Machine: d.machine, Class: d.class}, true
		}
	}
	switch runtime.GOARCH {
	case "amd64":
		return watermark.AMD64, true
	case "arm64":
		return watermark.ARM64, true
	}
	return watermark.Target{}, false
}
