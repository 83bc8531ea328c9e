package launch

import (
	"slices"
	"syscall"
	"time"
	"unsafe"

	"xaltpipe/internal/standin"
)

// group decides which of our signals the program has to get from us: those
// that its process group did not get.
//
// The side job is in the group and reports what it got. A signal that came to
// both of us was sent to the group, or to every process of the job one by one;
// one that came to us alone is passed on. Which of the two it is, is known for
// sure: after groupGrace, in which somebody may be sending to one after the
// other, the side job is asked. Its answer comes behind all its reports, and a
// group's processes get a signal while nothing else can happen. So it does not
// matter how long the answer takes.
type group struct {
	pid      int // of the program
	reporter func() bool
	kill     func(pid int, sig syscall.Signal) error
	ask      func(number byte) bool // asks for an answer of that number
	stopped  func() bool            // the side job is stopped
	terminal func() bool
	waiting  []arrival // ours, not reported yet
	credit   []arrival // reported, not ours yet
	asked    time.Time // when the question went out that is not answered yet
	number   byte      // of that question
}

// groupGrace is how long a signal of ours waits for the one that the side job
// gets from who sends it to every process.
const groupGrace = 100 * time.Millisecond

type arrival struct {
	sig  syscall.Signal
	at   time.Time
	void bool // overtaken: it has no effect any more
}

func newGroup(pid int, reporter func() bool) *group {
	return &group{
		pid: pid, reporter: reporter, kill: syscall.Kill, terminal: foreground,
		ask: func(byte) bool { return false }, stopped: func() bool { return false },
	}
}

// lasting is how long a report is good for; signals to a group arrive
// together, but a stopped or starved process sees them late.
const lasting = time.Second

// ours takes in a signal that we got.
func (g *group) ours(sig syscall.Signal, now time.Time) {
	overtake(g.waiting, sig)
	for i, c := range g.credit {
		if c.sig == sig && !c.void && now.Sub(c.at) < lasting {
			g.credit = append(g.credit[:i], g.credit[i+1:]...)
			return
		}
	}
	if !g.reporter() {
		// Nobody can tell. What a terminal sends to its foreground group comes
		// from it most likely.
		if !fromTerminal(sig) || !g.terminal() {
			_ = g.kill(g.pid, sig)
		}
		return
	}
	if sig == syscall.SIGCONT && g.awaits(sig) {
		return // once is enough, and a SIGSTOP may have taken one from the side job
	}
	g.waiting = append(g.waiting, arrival{sig: sig, at: now})
}

// overtake takes in that a signal takes back others: the kernel takes a pending
// SIGCONT from who gets a signal that stops, and the other way round. So of two
// that came to all of us in short order the side job may report one, or we may
// have got one.
func overtake(list []arrival, by syscall.Signal) {
	for i, a := range list {
		if by == syscall.SIGCONT && stops(a.sig) || stops(by) && a.sig == syscall.SIGCONT {
			list[i].void = true
		}
	}
}

func stops(sig syscall.Signal) bool {
	return sig == syscall.SIGTSTP || sig == syscall.SIGTTIN || sig == syscall.SIGTTOU
}

// report takes in a message of the side job.
func (g *group) report(m []byte, now time.Time) {
	switch {
	case len(m) > 1 && m[0] == msgSignal:
		g.theirs(syscall.Signal(m[1]), now)
	case len(m) > 1 && m[0] == msgAnswer && m[1] == g.number && !g.asked.IsZero():
		g.pass(g.asked)
		g.asked = time.Time{}
	}
}

// awaits reports whether a signal of ours has not been reported yet.
func (g *group) awaits(sig syscall.Signal) bool {
	return slices.ContainsFunc(g.waiting, func(a arrival) bool { return a.sig == sig && !a.void })
}

// resumed begins the waiting anew after this process was stopped.
func (g *group) resumed(now time.Time) {
	for i := range g.waiting {
		g.waiting[i].at = now
	}
}

// theirs takes in a report.
func (g *group) theirs(sig syscall.Signal, now time.Time) {
	overtake(g.credit, sig)
	for i, a := range g.waiting {
		if a.sig == sig {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			return
		}
	}
	kept := g.credit[:0]
	for _, c := range g.credit {
		if now.Sub(c.at) < lasting {
			kept = append(kept, c)
		}
	}
	g.credit = append(kept, arrival{sig: sig, at: now})
}

// expire does what is due, and returns how long nothing is.
func (g *group) expire(now time.Time) time.Duration {
	if len(g.waiting) == 0 {
		return standin.Never
	}
	if left := groupGrace - now.Sub(g.waiting[0].at); left > 0 {
		return left
	}
	switch {
	case !g.reporter():
		g.asked = time.Time{}
		g.pass(now)
	case g.asked.IsZero():
		if g.ask(g.number + 1) {
			g.number++
			g.asked = now
		}
	case now.Sub(g.asked) > lasting && g.stopped():
		// It alone is stopped, and may never answer.
		g.asked = time.Time{}
		g.pass(now)
	}
	if len(g.waiting) == 0 {
		return standin.Never
	}
	return groupGrace
}

// lost takes note that a question will not be answered.
func (g *group) lost() { g.asked = time.Time{} }

// pass passes on what had waited long enough at a time, in the order in which
// it came.
func (g *group) pass(at time.Time) {
	for len(g.waiting) > 0 && at.Sub(g.waiting[0].at) >= groupGrace {
		if a := g.waiting[0]; !a.void {
			_ = g.kill(g.pid, a.sig)
		}
		g.waiting = g.waiting[1:]
	}
}

// fromTerminal lists what terminals send.
func fromTerminal(sig syscall.Signal) bool {
	switch sig {
	case syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGWINCH, syscall.SIGHUP, syscall.SIGCONT:
		return true
	}
	return false
}

// foreground reports whether our process group is in the foreground of its
// terminal.
func foreground() bool {
	fd, err := syscall.Open("/dev/tty", syscall.O_RDONLY|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(fd) }()
	var pgrp int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&pgrp)))
	return errno == 0 && int(pgrp) == syscall.Getpgrp()
}
