package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/standin"
)

// Options describe one launch.
type Options struct {
	Name    string   // what the launcher is called, for its own syntax
	Args    []string // the command line, argv[0] included
	Link    bool     // we were called by the launcher's name
	Flags   []string // xalt-wrap's own
	Environ []string
	Stderr  io.Writer
	// Settings reads the configuration, and says whether to explain what is
	// done, from xalt-wrap's own flags.
	Settings func(flags []string) (emit.Config, func(string, ...any))
	Tools    Tools
}

// Exit statuses of a shell for a program that could not be run.
const (
	statusNotFound   = 127
	statusNotStarted = 126
)

// Run runs the program and returns the exit status to end with. If the program
// was killed, it ends the process in the same way and does not return; if the
// program took our place, neither.
func Run(o Options) int {
	w := &wrapper{Options: o, inherited: standin.Inheritance(), getenv: lookup(o.Environ)}
	if err := w.find(0); err != nil {
		return w.failed(err)
	}
	if !w.prepare() {
		return w.giveWay()
	}
	return w.supervise()
}

// giveWay lets the program take our place. It returns the exit status if that is
// not possible.
func (w *wrapper) giveWay() int {
	if w.lost != nil {
		return w.failed(w.lost)
	}
	env := w.without(standin.ReplacedVariable)
	if w.base != "" && isScript(w.path) {
		env = append(env, standin.ReplacedVariable+strconv.Itoa(replaced(w.Environ, w.base)+1)+w.base)
	}
	return w.failed(standin.Exec(w.path, w.argv(), env))
}

// without returns the environment without variables, given with their "=".
func (w *wrapper) without(names ...string) []string {
	env := make([]string, 0, len(w.Environ)+2)
	for _, e := range w.Environ {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(e, name) }) {
			env = append(env, e)
		}
	}
	return env
}

// LastResort runs the program in our place after a fault of ours. It returns
// the exit status if even that is not possible.
func LastResort(args, environ []string, stderr io.Writer) int {
	_, command := Command(args)
	if len(command) == 0 {
		return statusNotStarted
	}
	w := &wrapper{Options: Options{Args: command, Link: len(command) == len(args), Environ: environ, Stderr: stderr}, getenv: lookup(environ)}
	if err := w.find(0); err != nil {
		return w.failed(err)
	}
	return w.giveWay()
}

// failed tells why the program does not run, as a shell would.
func (w *wrapper) failed(err error) int {
	fmt.Fprintf(w.Stderr, "%s: %v\n", w.Args[0], err)
	if errors.Is(err, ErrNotFound) || errors.Is(err, syscall.ENOENT) {
		return statusNotFound
	}
	return statusNotStarted
}

type wrapper struct {
	Options
	inherited standin.Inherited
	getenv    func(string) string
	path      string // of the real program
	base      string // the name under which it was found on PATH; empty: it was given by its path
	lost      error  // there is no program after all
	launch    launch
	config    emit.Config
	trace     func(string, ...any)

	signals *standin.Signals
	side    *sideHandle
}

// argv is the program's command line. Called by its name, the program sees
// that name; called by a path to us, it must not take our directory for its own,
// nor may it find us when it looks for itself on PATH.
func (w *wrapper) argv() []string {
	if strings.Contains(w.Args[0], "/") && w.Link || !strings.Contains(w.Args[0], "/") && seeksItself(w.path) {
		return append([]string{w.path}, w.Args[1:]...)
	}
	return w.Args
}

// find sets the path of the real program. repeated is how many wrappers above
// us have run a program of that name.
func (w *wrapper) find(repeated int) error {
	name := w.Args[0]
	f := finder{self: own(), path: w.getenv("PATH")}
	if strings.Contains(name, "/") && !w.Link && !f.ourselves(name) {
		w.path = name // the kernel says whether it can be run
		return nil
	}
	w.base = name[strings.LastIndexByte(name, '/')+1:]
	count := replaced(w.Environ, w.base)
	if max(count, repeated) >= standin.MaxReplaced {
		return errLoop
	}
	f.skip = max(repeated, count-standin.NestedReplaced)
	var err error
	w.path, err = f.named(w.base)
	return err
}

// prepare starts the program and reports whether it runs; if not, it should
// take our place.
func (w *wrapper) prepare() (started bool) {
	defer func() {
		if v := recover(); v != nil {
			started = w.launch.pid > 0
		}
	}()
	tracking := w.getenv("XALT_EXECUTABLE_TRACKING")
	w.config, w.trace = w.Settings(w.Flags)
	if strings.EqualFold(tracking, "no") {
		w.trace("XALT_EXECUTABLE_TRACKING=%s: nothing is recorded", tracking)
		return false
	}
	now := time.Now()
	w.launch = launch{
		uuid: emit.NewUUID(now), start: now, wrapper: syscall.Getpid(), program: w.path, name: w.Name, args: w.argv(), flags: w.Flags,
	}
	if reason := w.aside(); reason != "" {
		w.trace("%s steps aside: %s", w.path, reason)
		r := newRecorder(w.config, w.Tools, w.launch, w.Environ, os.Stdout, w.trace)
		r.skip(reason)
		return false
	}
	if !w.config.Sampled(w.launch.uuid) {
		w.trace("not in the sample of %v", w.config.Chance())
		return false
	}
	return w.start()
}

// aside returns why not to come before the program, "" to do it.
func (w *wrapper) aside() string {
	list := ancestors()
	job := w.Tools.parse(w.Name, "", w.Args, w.getenv)
	nested, repeated := above(list, w.Args, job, w.Tools.parse, w.getenv)
	if repeated > 0 {
		// A program of that name that calls us again: not that one, the next.
		if w.lost = w.find(repeated); w.lost != nil {
			return "a loop"
		}
	}
	s := surroundings{
		getenv: w.getenv, environ: w.Environ, ancestors: list, traced: traced(), args: w.Args, job: job, more: w.config.Tools,
		nested: nested, ignores: w.inherited.Ignores(syscall.SIGCHLD),
	}
	return s.stepAside()
}

// start runs the program beside us.
func (w *wrapper) start() bool {
	var err error
	// Whoever looks for the program by its name must find it once, and wrappers
	// below must know us.
	standin.NameProcess()
	// A signal must not end us when the program is there and we do not know it
	// yet, and what was ignored must be so for the program.
	if w.signals, err = standin.Catch(w.inherited.Ignores); err != nil {
		return false
	}
	w.inherited.Ignore()
	attr := &syscall.ProcAttr{Env: w.environment(), Files: w.inherited.Files()}
	argv := w.argv()
	pid, err := syscall.ForkExec(w.path, argv, attr)
	if errors.Is(err, syscall.ENOEXEC) { // as execvp(3): a script without an interpreter
		pid, err = syscall.ForkExec("/bin/sh", append([]string{"/bin/sh", w.path}, argv[1:]...), attr)
	}
	if err != nil {
		// There may be no room for two processes, or too few descriptors; and if
		// the program cannot be run at all, it says so once more.
		w.trace("the program takes our place: %v", err)
		w.signals.Stop()
		return false
	}
	w.launch.pid = pid
	w.signals.Rest(w.inherited.Ignores)
	return true
}

// environment is the program's: ours, and what those need who record
// packages.
func (w *wrapper) environment() []string {
	set := [...][2]string{
		{"XALT_RUN_UUID=", w.launch.uuid},
		{"XALT_DATE_TIME=", w.launch.start.Format("2006_01_02_15_04_05") + fmt.Sprintf("_%04d", w.launch.start.Nanosecond()/100_000)},
	}
	env := w.without(standin.ReplacedVariable, set[0][0], set[1][0])
	return append(env, set[0][0]+set[0][1], set[1][0]+set[1][1])
}
