package launch

import (
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/standin"
)

// supervise waits for the program's end. It is one thread that sleeps until
// something happens: each hand-over from thread to thread would cost as much as
// all the rest.
func (w *wrapper) supervise() (status int) {
	defer func() {
		if v := recover(); v != nil { // what remains is to wait
			status = w.waitOnly()
		}
	}()
	w.side = startSide(w)
	debug.SetGCPercent(-1) // there is nothing to collect, and the program should not be disturbed
	g := newGroup(w.launch.pid, func() bool { return w.side.alive })
	g.ask = w.side.ask
	g.stopped = func() bool { return isStopped(w.side.pid) }
	var held syscall.Signal // by which the program is stopped, and we are not yet
	for {
		w.listen(g) // always before it is looked what SIGCHLD tells of
		w.side.hear(w, g)
		if e, ended := w.reap(&held); ended {
			return w.end(e)
		}
		if held != 0 {
			e, ended, decided := w.stop(g, &held)
			if ended {
				return w.end(e)
			}
			if decided {
				continue
			}
		}
		standin.Poll(g.expire(time.Now()), w.signals.FD, w.side.socket)
	}
}

// reap takes in the changes of the program's state.
func (w *wrapper) reap(held *syscall.Signal) (e ending, ended bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := standin.Retry(func() (int, error) {
			return syscall.Wait4(w.launch.pid, &ws, syscall.WUNTRACED|syscall.WNOHANG, nil)
		})
		switch {
		case err != nil:
			// Somebody else waited for it; how it ended is lost.
			return ending{at: time.Now()}, true
		case pid != w.launch.pid:
			return e, false
		case ws.Stopped():
			*held = ws.StopSignal()
		case ws.Signaled():
			return ending{at: time.Now(), known: true, signal: int(ws.Signal())}, true
		case ws.Exited():
			return ending{at: time.Now(), known: true, status: ws.ExitStatus()}, true
		}
	}
}

// waitOnly waits for the program's end and ends in the same way.
func (w *wrapper) waitOnly() int {
	for {
		var ws syscall.WaitStatus
		_, err := standin.Retry(func() (int, error) { return syscall.Wait4(w.launch.pid, &ws, 0, nil) })
		switch {
		case err != nil:
			return 0
		case ws.Signaled():
			standin.Die(ws.Signal())
			return 128 + int(ws.Signal())
		case ws.Exited():
			return ws.ExitStatus()
		}
	}
}

// listen takes in the signals that we got.
func (w *wrapper) listen(g *group) {
	for _, sig := range w.signals.Take() {
		if standin.Forwards(sig) {
			g.ours(sig, time.Now())
		}
	}
}

// stop stops us as the program is stopped, unless it is continued already, and
// takes note in held. It is not decided while the program may be about to be.
func (w *wrapper) stop(g *group, held *syscall.Signal) (e ending, ended, decided bool) {
	if !w.stillStopped() {
		*held = 0
		return e, false, true
	}
	continued := w.continued(g)
	if e, ended = w.reap(held); ended {
		return e, true, true
	}
	if continued {
		return e, false, false
	}
	w.side.say(msgStopped)
	standin.Raise(*held)
	g.resumed(time.Now())
	*held = 0
	return e, false, true
}

// stillStopped reports whether the program is stopped now. If SIGSTOP came to
// all of us, we hear of it when all are continued, and must not stop again.
func (w *wrapper) stillStopped() bool {
	const looks = 3
	for range looks {
		if !isStopped(w.launch.pid) {
			return false
		}
		standin.Pause(time.Millisecond) // who continues a group takes one after the other
	}
	return true
}

// continued reports whether somebody has just sent us SIGCONT, and it is not
// known yet whether to the whole group.
func (w *wrapper) continued(g *group) bool {
	w.listen(g)
	return g.awaits(syscall.SIGCONT)
}

// end sees to the end record and ends as the program did.
func (w *wrapper) end(e ending) int {
	if !w.side.finish(e, w.patience(e.at.Sub(w.launch.start), w.side.ready)) {
		w.recordAlone(e)
	}
	if e.signal != 0 {
		standin.Die(syscall.Signal(e.signal))
		return 128 + e.signal // a signal that does not kill us, as a shell says it
	}
	return e.status
}

// patience is how long our end may be held up for the end record of a program that
// ran for a time. A side job that is not ready, having hardly begun, goes on without
// us, so that a program which ends at once is not kept for as long again; but
// nothing may come on a terminal after our end.
func (w *wrapper) patience(ran time.Duration, ready bool) time.Duration {
	switch {
	case w.config.EndWait != nil:
		return time.Duration(*w.config.EndWait)
	case w.config.Transport == emit.TransportStdout || w.getenv("XALT_TRACING") != "":
		return emit.DefaultEndWait
	case !ready:
		return 0
	}
	return min(max(ran, 0), emit.DefaultEndWait)
}

// recordAlone sends the end record without a side job.
func (w *wrapper) recordAlone(e ending) {
	defer func() { _ = recover() }() // the program has ended well; so do we
	w.trace("there is no side job: hashes are unknown")
	r := newRecorder(w.config, w.Tools, w.launch, w.Environ, os.Stdout, w.trace)
	r.sendEnd(r.runs(), e)
}
