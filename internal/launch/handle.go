package launch

import (
	"syscall"
	"time"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/standin"
)

// sideHandle is the wrapper's end of the side job.
type sideHandle struct {
	pid      int
	socket   int // -1 if there is no side job
	alive    bool
	ready    bool // it watches signals
	done     bool // the end record is out
	restarts int
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
	defer func() { _ = syscall.Close(pair[1]) }()
	// The side job holds none of the program's streams open, unless it has
	// something to say there.
	closed := ^uintptr(0)
	files := []uintptr{closed, closed, closed, uintptr(pair[1])}
	if w.config.Transport == emit.TransportStdout && !w.inherited.Closed(1) {
		files[1] = 1
	}
	if w.getenv("XALT_TRACING") != "" && !w.inherited.Closed(2) {
		files[2] = 2
	}
	attr := &syscall.ProcAttr{Env: w.Environ, Files: files}
	argv := []string{standin.CommandName, standin.SideCommand}
	if h.restarts == 0 && w.patience(0, false) == 0 { // nobody waits for it
		argv = append(argv, standin.SideYields)
	}
	pid, err := syscall.ForkExec("/proc/self/exe", argv, attr)
	if err != nil {
		_ = syscall.Close(pair[0])
		return err
	}
	h.pid, h.socket, h.alive = pid, pair[0], true
	h.say(w.launch.encode()...)
	return nil
}

// say sends a message and reports whether it is under way.
func (h *sideHandle) say(message ...byte) bool {
	return h.alive && syscall.Sendto(h.socket, message, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, nil) == nil
}

// ask asks whether there are signals that were not reported yet.
func (h *sideHandle) ask(number byte) bool { return h.say(msgAsk, number) }

// hear takes in the messages that are there.
func (h *sideHandle) hear(w *wrapper, g *group) {
	for h.alive {
		m, ended := receive(h.socket)
		switch {
		case ended:
			h.gone(w, g)
		case m == nil:
			return
		default:
			h.take(m)
			g.report(m, time.Now())
		}
	}
}

func (h *sideHandle) take(m []byte) {
	h.ready = h.ready || m[0] == msgReady
	h.done = h.done || m[0] == msgDone
}

// maxRestarts bounds how often a side job is started that signals end before
// it is ready for them.
const maxRestarts = 3

// gone takes note of the side job's end. A signal that ended it tells that its
// group got it, and that it had not come far.
func (h *sideHandle) gone(w *wrapper, g *group) {
	h.alive = false
	_ = syscall.Close(h.socket)
	h.socket = -1
	g.lost()
	var ws syscall.WaitStatus
	pid, _ := standin.Retry(func() (int, error) { return syscall.Wait4(h.pid, &ws, 0, nil) })
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

// finish tells the side job about the end, and waits for it to send the
// record. It returns false if there is no side job that could.
func (h *sideHandle) finish(e ending, wait time.Duration) bool {
	if !h.say(e.message()...) {
		return false
	}
	until := time.Now().Add(wait)
	for {
		for {
			m, ended := receive(h.socket)
			if ended {
				return h.done
			}
			if m == nil {
				break
			}
			if h.take(m); h.done {
				return true
			}
		}
		left := time.Until(until)
		if left <= 0 {
			return true // it goes on without us
		}
		standin.Poll(left, h.socket)
	}
}
