package launch

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/standin"
)

// maxLaunch bounds the message that tells about the launch, in bytes. A socket
// takes about 200 KiB at once.
const maxLaunch = 160 << 10

// Messages between wrapper and side job: one byte, then what belongs to it.
const (
	msgReady   = 'R' // side job: signals are watched
	msgSignal  = 'S' // side job: got this signal (1 byte)
	msgAnswer  = 'A' // side job: all signals that it got are reported (number, 1 byte)
	msgDone    = 'D' // side job: the end record is out
	msgAsk     = 'Q' // wrapper: are they? (number, 1 byte)
	msgEnd     = 'E' // wrapper: the program ended: time (8 bytes), known, signal, status (1, 1 and 4)
	msgStopped = 'T' // wrapper: stops itself, because the program is stopped
	maxMessage = 32
)

func (e ending) message() []byte {
	m := append(make([]byte, 0, maxMessage), msgEnd)
	m = binary.LittleEndian.AppendUint64(m, uint64(e.at.UnixNano()))
	known := byte(0)
	if e.known {
		known = 1
	}
	m = append(m, known, byte(e.signal))
	return binary.LittleEndian.AppendUint32(m, uint32(e.status))
}

func parseEnding(m []byte) ending {
	if len(m) < 15 {
		return ending{at: time.Now()}
	}
	return ending{
		at: time.Unix(0, int64(binary.LittleEndian.Uint64(m[1:]))), known: m[9] == 1, signal: int(m[10]),
		status: int(binary.LittleEndian.Uint32(m[11:])),
	}
}

// encode writes a launch as strings, each with its length before it. What a
// record would not have anyway is left out.
func (l launch) encode() []byte {
	var b []byte
	put := func(list ...string) {
		for _, s := range list {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
	}
	put(l.uuid, strconv.FormatInt(l.start.UnixNano(), 10), strconv.Itoa(l.pid), strconv.Itoa(l.wrapper), l.program, l.name, strconv.Itoa(len(l.flags)))
	put(l.flags...)
	put(boundArgs(l.args)...)
	return b
}

var errLaunch = errors.New("this is for xalt-wrap itself")

func decodeLaunch(b []byte) (launch, error) {
	var list []string
	for len(b) >= 4 {
		n := int(binary.LittleEndian.Uint32(b))
		if b = b[4:]; n > len(b) {
			return launch{}, errLaunch
		}
		list = append(list, string(b[:n]))
		b = b[n:]
	}
	if len(list) < 7 {
		return launch{}, errLaunch
	}
	var numbers [4]int64
	for i, at := range [...]int{1, 2, 3, 6} {
		n, err := strconv.ParseInt(list[at], 10, 64)
		if err != nil {
			return launch{}, errLaunch
		}
		numbers[i] = n
	}
	flags := int(numbers[3])
	if flags < 0 || flags > len(list)-7 {
		return launch{}, errLaunch
	}
	return launch{
		uuid: list[0], start: time.Unix(0, numbers[0]), pid: int(numbers[1]), wrapper: int(numbers[2]), program: list[4], name: list[5],
		flags: list[7 : 7+flags], args: list[7+flags:],
	}, nil
}

// How long the side job lets things take.
const (
	slowDetail  = 5 * time.Second       // then the start record goes out without hashes
	lateDetail  = 25 * time.Millisecond // the same for the end record after the program ended, at least
	stoppedPoll = 100 * time.Millisecond
)

// Side is the side job. settings reads the configuration, and says whether to
// explain what is done, from xalt-wrap's own flags.
func Side(settings func(flags []string) (emit.Config, func(string, ...any)), tools Tools) error {
	// The kernel gives signals to the first thread, which must not be the one
	// whose priority is lowered. It alone talks with the wrapper; the others
	// let signals wait, if early_*.s has seen to it.
	runtime.LockOSThread()
	standin.CloseBehind(standin.SideSocket)
	syscall.CloseOnExec(standin.SideSocket)
	buf := make([]byte, maxLaunch)
	n, err := standin.Retry(func() (int, error) { return syscall.Read(standin.SideSocket, buf) })
	if n <= 0 || err != nil {
		return errLaunch
	}
	l, err := decodeLaunch(buf[:n])
	if err != nil {
		return err
	}
	s := &side{launch: l, socket: standin.SideSocket, program: openProcess(l.pid), stages: make(chan []emit.Run, 2)}
	if s.signals, err = standin.Catch(func(syscall.Signal) bool { return false }); err != nil {
		return err
	}
	standin.UnblockSignals()
	s.say(msgReady)
	pipe := make([]int, 2)
	if err := syscall.Pipe2(pipe, syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return err
	}
	s.woken, s.wake = pipe[0], pipe[1]
	config, trace := settings(l.flags)
	// Descriptor 1 is the program's standard output for the transport stdout,
	// and the null device otherwise, see [sideHandle.start].
	s.recorder = newRecorder(config, tools, l, standin.Environ(), os.Stdout, trace)
	go s.look()
	s.run()
	return nil
}

type side struct {
	launch   launch
	recorder *recorder
	signals  *standin.Signals
	socket   int // to the wrapper, -1 when that is gone
	program  int // a descriptor for the program's process, or -1

	// What look has found out: first what needs no file to be read, then all.
	stages      chan []emit.Run
	wake, woken int // a pipe that tells of it
	runs        []emit.Run
	got         int
	started     bool // the start record is out
}

// look finds out what the records say, on a thread of its own, which yields to
// everybody.
func (s *side) look() {
	defer func() {
		_ = recover() // then there is no detail
		close(s.stages)
		_, _ = syscall.Write(s.wake, []byte{0})
	}()
	standin.LowerPriority()
	runs := s.recorder.runs()
	s.stages <- slices.Clone(runs)
	for i := range runs {
		s.recorder.detail(&runs[i])
	}
	s.stages <- runs
}

func (s *side) say(message ...byte) {
	_ = syscall.Sendto(s.socket, message, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, nil)
}

// run reports signals, and sends the records at their times.
func (s *side) run() {
	began := time.Now()
	var end *ending
	var late time.Time // when the end record goes out without what is not known yet
	for {
		s.report()
		if m := s.hear(); m != nil {
			end = m
			late = time.Now().Add(s.patience())
		}
		if s.collect(); s.stages == nil || time.Since(began) > slowDetail {
			s.start()
		}
		if end != nil && (s.stages == nil || !time.Now().Before(late)) {
			s.end(*end)
			return
		}
		if s.socket < 0 && s.program < 0 && end == nil {
			s.finishAlone()
			return
		}
		wait := standin.Never
		if !s.started && s.stages != nil {
			wait = max(0, slowDetail-time.Since(began))
		}
		if end != nil {
			wait = sooner(wait, max(0, time.Until(late)))
		}
		program := s.program
		if s.socket >= 0 { // the wrapper tells more
			program = -1
		}
		standin.Poll(wait, s.signals.FD, s.socket, s.woken, program)
	}
}

// patience is how long the end record may wait for what is not known yet: most
// of the time for which the wrapper waits for the record, if it waits.
func (s *side) patience() time.Duration {
	wait := emit.DefaultEndWait
	if w := s.recorder.config.EndWait; w != nil {
		wait = time.Duration(*w)
	}
	return max(lateDetail, wait*3/4)
}

// report reports the signals that we got, most of all those for our process
// group.
func (s *side) report() {
	for _, sig := range s.signals.Take() {
		if standin.Forwards(sig) {
			s.say(msgSignal, byte(sig))
		}
	}
}

// settle reports the signals that we got, also those that the kernel has given
// to another thread, which has not come to it yet.
func (s *side) settle() {
	const most = 1000
	for range most {
		s.report()
		if !pending() {
			break
		}
		standin.Pause(time.Millisecond)
	}
	s.report()
}

// hear takes in the wrapper's messages, and returns the program's end when it
// is told. If the wrapper is gone without a word about it, the program may go
// on without it.
func (s *side) hear() *ending {
	for s.socket >= 0 {
		m, gone := receive(s.socket)
		switch {
		case gone:
			_ = syscall.Close(s.socket)
			s.socket = -1
		case m == nil:
			return nil
		case m[0] == msgEnd:
			e := parseEnding(m)
			return &e
		case m[0] == msgStopped:
			s.untilContinued()
		case m[0] == msgAsk && len(m) > 1:
			s.settle()
			s.say(msgAnswer, m[1])
		}
	}
	if s.program >= 0 && readable(s.program) {
		return &ending{at: time.Now()}
	}
	return nil
}

// collect takes over what look has found out.
func (s *side) collect() {
	var buf [16]byte
	_, _ = syscall.Read(s.woken, buf[:])
	for s.stages != nil {
		select {
		case runs, ok := <-s.stages:
			if !ok {
				s.stages = nil
				return
			}
			s.runs = runs
			s.got++
		default:
			return
		}
	}
}

// start sends the start record, once.
func (s *side) start() {
	if !s.started && s.got > 0 {
		s.started = true
		s.recorder.sendStart(s.runs)
	}
}

// end sends the end record, and the start record before it.
func (s *side) end(e ending) {
	if s.got == 0 {
		s.runs = s.recorder.runs()
		s.got = 1
	}
	s.start()
	s.recorder.sendEnd(s.runs, e)
	s.say(msgDone)
	s.letPass()
}

// letPass waits a moment for the wrapper to end: to take down our memory at the
// same time would keep it.
func (s *side) letPass() {
	const moment = 10 * time.Millisecond
	for until := time.Now().Add(moment); s.socket >= 0 && time.Now().Before(until); {
		standin.Poll(time.Until(until), s.socket)
		if _, gone := receive(s.socket); gone {
			return
		}
	}
}

// finishAlone is what remains where nobody can tell when the program ended.
func (s *side) finishAlone() {
	for s.stages != nil {
		standin.Poll(standin.Never, s.woken)
		s.collect()
	}
	s.start()
}

// untilContinued wakes the wrapper, which is stopped because its program is,
// when somebody has continued the program alone.
func (s *side) untilContinued() {
	odd := 0
	for {
		for until := time.Now().Add(stoppedPoll); time.Now().Before(until); {
			standin.Poll(max(0, time.Until(until)), s.signals.FD)
			s.report()
		}
		switch {
		case state(s.launch.wrapper) != 'T':
			return
		case isStopped(s.launch.pid):
			odd = 0
		default:
			if odd++; odd == 2 { // not just between the two
				s.say(msgSignal, byte(syscall.SIGCONT)) // it is not for the program
				_ = syscall.Kill(s.launch.wrapper, syscall.SIGCONT)
				return
			}
		}
	}
}

// openProcess returns a descriptor that is readable when the process has
// ended, -1 if the kernel has no such thing (before 5.3).
func openProcess(pid int) int {
	const pidfdOpen = 434 // the same number on every architecture
	fd, _, errno := syscall.RawSyscall(pidfdOpen, uintptr(pid), 0, 0)
	if errno != 0 {
		return -1
	}
	return int(fd)
}

// readable reports whether a descriptor has something to read.
func readable(fd int) bool {
	list := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: 1}
	var none syscall.Timespec
	n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&list)), 1, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	return errno == 0 && n == 1
}
