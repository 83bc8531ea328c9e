package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"xaltpipe/internal/emit"
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
	runtime.LockOSThread()
	w := &wrapper{Options: o, inherited: inheritance(), getenv: lookup(o.Environ)}
	path, err := w.find()
	if err != nil {
		return w.failed(err)
	}
	w.path = path
	if !w.prepare() {
		return w.failed(Exec(w.path, w.argv(), o.Environ))
	}
	w.statuses = make(chan syscall.WaitStatus, 4)
	go await(w.launch.pid, w.statuses)
	return w.supervise()
}

// LastResort runs the program in our place after a fault of ours. It returns
// the exit status if even that is not possible.
func LastResort(args, environ []string, stderr io.Writer) int {
	_, command := Command(args)
	if len(command) == 0 {
		return statusNotStarted
	}
	w := &wrapper{Options: Options{Args: command, Link: len(command) == len(args), Environ: environ, Stderr: stderr}, getenv: lookup(environ)}
	path, err := w.find()
	if err != nil {
		return w.failed(err)
	}
	w.path = path
	return w.failed(Exec(path, w.argv(), environ))
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
	inherited inherited
	getenv    func(string) string
	path      string // of the real program
	launch    launch
	config    emit.Config
	trace     func(string, ...any)

	signals  *catch
	side     *sideHandle
	statuses chan syscall.WaitStatus
}

// argv is the program's command line. Called by its name, the program sees
// that name; called by a path to us, it must not take our directory for its own.
func (w *wrapper) argv() []string {
	if !w.Link || !strings.Contains(w.Args[0], "/") {
		return w.Args
	}
	return append([]string{w.path}, w.Args[1:]...)
}

// find returns the path of the real program.
func (w *wrapper) find() (string, error) {
	name := w.Args[0]
	f := finder{self: own(), path: w.getenv("PATH")}
	if strings.Contains(name, "/") && !w.Link && !f.ourselves(name) {
		return name, nil // the kernel says whether it can be run
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	path, err := f.named(base)
	if err != nil {
		return "", err
	}
	return path, nil
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
	if repeated > 0 && !strings.Contains(w.Args[0], "/") {
		// A program of that name that calls us again: not that one, the next.
		f := finder{self: own(), path: w.getenv("PATH"), skip: repeated}
		if path, err := f.named(w.Args[0]); err == nil {
			w.path = path
		}
	}
	s := surroundings{
		getenv: w.getenv, environ: w.Environ, ancestors: list, traced: traced(), args: w.Args, job: job, more: w.config.Tools,
		nested: nested, ignores: w.inherited.ignores(syscall.SIGCHLD),
	}
	return s.stepAside()
}

// start runs the program beside us.
func (w *wrapper) start() bool {
	var err error
	// Whoever looks for the program by its name must find it once, and wrappers
	// below must know us.
	_ = os.WriteFile("/proc/self/comm", []byte(commandName), 0)
	// A signal must not end us when the program is there and we do not know it
	// yet, and what was ignored must be so for the program.
	if w.signals, err = newCatch(w.inherited.ignores); err != nil {
		return false
	}
	w.inherited.ignore()
	attr := &syscall.ProcAttr{Env: w.environment(), Files: w.inherited.files()}
	argv := w.argv()
	pid, err := syscall.ForkExec(w.path, argv, attr)
	if errors.Is(err, syscall.ENOEXEC) { // as execvp(3): a script without an interpreter
		pid, err = syscall.ForkExec("/bin/sh", append([]string{"/bin/sh", w.path}, argv[1:]...), attr)
	}
	if err != nil {
		// There may be no room for two processes, or too few descriptors; and if
		// the program cannot be run at all, it says so once more.
		w.trace("the program takes our place: %v", err)
		w.signals.stop()
		return false
	}
	w.launch.pid = pid
	w.signals.rest(w.inherited.ignores)
	debug.SetGCPercent(-1) // there is nothing to collect, and its threads would be seen
	return true
}

// environment is the program's: ours, and what those need who record
// packages.
func (w *wrapper) environment() []string {
	env := make([]string, 0, len(w.Environ)+2)
	set := [...][2]string{
		{"XALT_RUN_UUID=", w.launch.uuid},
		{"XALT_DATE_TIME=", w.launch.start.Format("2006_01_02_15_04_05") + fmt.Sprintf("_%04d", w.launch.start.Nanosecond()/100_000)},
	}
	for _, e := range w.Environ {
		if !strings.HasPrefix(e, set[0][0]) && !strings.HasPrefix(e, set[1][0]) {
			env = append(env, e)
		}
	}
	return append(env, set[0][0]+set[0][1], set[1][0]+set[1][1])
}

// groupGrace is how long a signal waits for the side job to say that it got
// the same.
const groupGrace = 100 * time.Millisecond

// supervise waits for the program's end.
func (w *wrapper) supervise() (status int) {
	defer func() {
		if v := recover(); v != nil { // what remains is to wait
			for ws := range w.statuses {
				switch {
				case ws.Exited():
					status = ws.ExitStatus()
				case ws.Signaled():
					die(ws.Signal())
				}
			}
		}
	}()
	w.side = startSide(w)
	w.signals.listen()
	g := newGroup(w.launch.pid, func() bool { return w.side.alive })
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var held syscall.Signal // by which the program is stopped, and we are not yet
	for {
		select {
		case ws, ok := <-w.statuses:
			switch {
			case !ok:
				// Somebody else waited for it; how it ended is lost.
				return w.end(ending{at: time.Now()})
			case ws.Stopped():
				held = ws.StopSignal()
			case ws.Signaled():
				return w.end(ending{at: time.Now(), known: true, signal: int(ws.Signal())})
			case ws.Exited():
				return w.end(ending{at: time.Now(), known: true, status: ws.ExitStatus()})
			}
		case sig := <-w.signals.C:
			g.ours(sig, time.Now())
			timer.Reset(groupGrace)
		case m, ok := <-w.side.messages:
			if !ok {
				w.side.gone(w, g)
				continue
			}
			w.side.take(g, m)
		case now := <-timer.C:
			w.side.drain(w, g) // what was said in time counts, also if nobody listened
			if next := g.expire(now); next > 0 {
				timer.Reset(next)
			}
		}
		if held != 0 && !w.continued(g, timer) {
			if w.stillStopped() && !w.continued(g, timer) {
				w.side.say(msgStopped)
				raise(held)
				g.resumed(time.Now())
				timer.Reset(groupGrace)
			}
			held = 0
		}
	}
}

// stillStopped reports whether the program is stopped now. If SIGSTOP came to
// all of us, we hear of it when all are continued, and must not stop again.
func (w *wrapper) stillStopped() bool {
	const looks = 3
	for range looks {
		if s := state(w.launch.pid); s != 'T' && s != 't' {
			return false
		}
		<-time.After(time.Millisecond) // who continues a group takes one after the other
	}
	return true
}

// continued reports whether somebody has just sent us SIGCONT, and it is not
// known yet whether to the whole group.
func (w *wrapper) continued(g *group, timer *time.Timer) bool {
	for {
		select {
		case sig := <-w.signals.C:
			g.ours(sig, time.Now())
			timer.Reset(groupGrace)
		default:
			return g.awaits(syscall.SIGCONT)
		}
	}
}

// await reports the changes of a child's state until it has ended.
func await(pid int, statuses chan<- syscall.WaitStatus) {
	defer close(statuses)
	for {
		var ws syscall.WaitStatus
		_, err := retry(func() (int, error) { return syscall.Wait4(pid, &ws, syscall.WUNTRACED, nil) })
		if err != nil {
			return
		}
		statuses <- ws
		if ws.Exited() || ws.Signaled() {
			return
		}
	}
}

// end sees to the end record and ends as the program did.
func (w *wrapper) end(e ending) int {
	if !w.side.finish(e, time.Duration(w.config.EndWait)) {
		w.recordAlone(e)
	}
	if e.signal != 0 {
		die(syscall.Signal(e.signal))
		return 128 + e.signal // a signal that does not kill us, as a shell says it
	}
	return e.status
}

// recordAlone sends the end record without a side job.
func (w *wrapper) recordAlone(e ending) {
	defer func() { _ = recover() }() // the program has ended well; so do we
	w.trace("there is no side job: hashes are unknown")
	r := newRecorder(w.config, w.Tools, w.launch, w.Environ, os.Stdout, w.trace)
	r.sendEnd(r.runs(), e)
}

// sideHandle is the wrapper's end of the side job.
type sideHandle struct {
	pid      int
	socket   int
	alive    bool
	ready    bool // it watches signals
	restarts int
	messages chan []byte
}

// startSide starts the side job. Whatever goes wrong, there is a handle.
func startSide(w *wrapper) (h *sideHandle) {
	h = &sideHandle{socket: -1}
	defer func() {
		if v := recover(); v != nil {
			w.trace("no side job: %v", v)
		}
	}()
	if err := h.start(w); err != nil {
		w.trace("no side job: %v", err)
	}
	return h
}

func (h *sideHandle) start(w *wrapper) error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	h.socket = pair[0]
	defer func() { _ = syscall.Close(pair[1]) }()
	// The side job holds none of the program's streams open, unless it has
	// something to say there.
	closed := ^uintptr(0)
	files := []uintptr{closed, closed, closed, uintptr(pair[1])}
	if w.config.Transport == emit.TransportStdout && w.inherited.closed>>1&1 == 0 {
		files[1] = 1
	}
	if w.getenv("XALT_TRACING") != "" && w.inherited.closed>>2&1 == 0 {
		files[2] = 2
	}
	attr := &syscall.ProcAttr{Env: w.Environ, Files: files}
	if h.pid, err = syscall.ForkExec("/proc/self/exe", []string{commandName, SideCommand}, attr); err != nil {
		return err
	}
	h.alive = true
	h.say(w.launch.encode()...)
	h.messages = make(chan []byte, 16)
	go func() {
		defer close(h.messages)
		for {
			buf := make([]byte, maxMessage)
			n, err := retry(func() (int, error) { return syscall.Read(h.socket, buf) })
			if n <= 0 || err != nil {
				return
			}
			h.messages <- buf[:n]
		}
	}()
	return nil
}

func (h *sideHandle) say(message ...byte) {
	if h.alive {
		_ = syscall.Sendto(h.socket, message, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, nil)
	}
}

// maxRestarts bounds how often a side job is started that signals end before
// it is ready for them.
const maxRestarts = 3

// gone takes note of the side job's end. A signal that ended it tells that its
// group got it, and that it had not come far.
func (h *sideHandle) gone(w *wrapper, g *group) {
	h.alive = false
	h.messages = nil
	_ = syscall.Close(h.socket)
	var ws syscall.WaitStatus
	pid, _ := retry(func() (int, error) { return syscall.Wait4(h.pid, &ws, 0, nil) })
	if pid != h.pid || !ws.Signaled() && ws.ExitStatus() == 0 {
		return
	}
	if ws.Signaled() {
		g.theirs(ws.Signal(), time.Now())
	}
	if h.restarts++; h.restarts <= maxRestarts && !h.ready {
		if err := h.start(w); err != nil {
			w.trace("no side job: %v", err)
		}
	}
}

// drain takes in the reports that are there.
func (h *sideHandle) drain(w *wrapper, g *group) {
	for {
		select {
		case m, ok := <-h.messages:
			if !ok {
				h.gone(w, g)
				return
			}
			h.take(g, m)
		default:
			return
		}
	}
}

// take takes in a message.
func (h *sideHandle) take(g *group, m []byte) {
	h.ready = h.ready || m[0] == msgReady
	g.report(m, time.Now())
}

// finish tells the side job about the end, and waits for it to send the
// record. It returns false if there is no side job that could.
func (h *sideHandle) finish(e ending, wait time.Duration) bool {
	if !h.alive {
		return false
	}
	h.say(e.message()...)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-h.messages:
			if !ok {
				return false
			}
			if m[0] == msgDone {
				return true
			}
		case <-timer.C:
			return true // it goes on without us
		}
	}
}
