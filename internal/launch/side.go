package launch

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"xaltpipe/internal/emit"
)

// SideCommand is the first argument of the command that runs as a side job.
// Only a wrapper calls it so, with a socket to it as descriptor 3.
const (
	SideCommand = "side-job"

	sideSocket = 3
)

// maxLaunch bounds the message that tells about the launch, in bytes. A socket
// takes about 200 KiB at once.
const maxLaunch = 160 << 10

// Messages between wrapper and side job: one byte, then what belongs to it.
const (
	msgReady   = 'R' // side job: signals are watched
	msgSignal  = 'S' // side job: got this signal (1 byte)
	msgDone    = 'D' // side job: the end record is out
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
	lateDetail  = 25 * time.Millisecond // the same for the end record after the program ended, or most of end-wait
	stoppedPoll = 100 * time.Millisecond
)

// Side is the side job. settings reads the configuration, and says whether to
// explain what is done, from xalt-wrap's own flags.
func Side(settings func(flags []string) (emit.Config, func(string, ...any)), tools Tools) error {
	// The kernel gives signals to the first thread, which must not be the one
	// whose priority is lowered.
	runtime.LockOSThread()
	closeInherited()
	syscall.CloseOnExec(sideSocket)
	buf := make([]byte, maxLaunch)
	n, err := retry(func() (int, error) { return syscall.Read(sideSocket, buf) })
	if n <= 0 || err != nil {
		return errLaunch
	}
	l, err := decodeLaunch(buf[:n])
	if err != nil {
		return err
	}
	s := &side{launch: l, messages: make(chan []byte, 4)}
	s.watchSignals()
	s.program = openProcess(l.pid)
	go s.listen()
	config, trace := settings(l.flags)
	// Descriptor 1 is the program's standard output for the transport stdout,
	// and the null device otherwise, see [wrapper.startSide].
	r := newRecorder(config, tools, l, os.Environ(), os.Stdout, trace)
	stages := make(chan []emit.Run, 2)
	go func() {
		defer func() { _ = recover() }() // then there is no detail
		lowerPriority()
		runs := r.runs()
		stages <- slices.Clone(runs)
		for i := range runs {
			r.detail(&runs[i])
		}
		stages <- runs
	}()
	s.record(r, stages)
	return nil
}

type side struct {
	launch   launch
	messages chan []byte
	program  int // a descriptor for the program's process, or -1
}

func (s *side) say(message ...byte) {
	_ = syscall.Sendto(sideSocket, message, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT, nil)
}

// watchSignals reports the signals that we get, most of all those for our
// process group.
func (s *side) watchSignals() {
	c, err := newCatch(func(syscall.Signal) bool { return false })
	if err != nil {
		return
	}
	s.say(msgReady)
	c.listen()
	go func() {
		for sig := range c.C {
			s.say(msgSignal, byte(sig))
		}
	}()
}

// listen passes on the wrapper's messages. If the wrapper is gone without a
// word about the end, the program may go on without it.
func (s *side) listen() {
	defer close(s.messages)
	for {
		buf := make([]byte, maxMessage)
		n, err := retry(func() (int, error) { return syscall.Read(sideSocket, buf) })
		if n <= 0 || err != nil {
			break
		}
		s.messages <- buf[:n]
		if buf[0] == msgEnd {
			return
		}
	}
	if s.program >= 0 {
		waitReadable(s.program)
		s.messages <- ending{at: time.Now()}.message()
	}
}

// record sends the records at their times.
func (s *side) record(r *recorder, stages <-chan []emit.Run) {
	var runs []emit.Run
	started, got := false, 0
	start := func() {
		if !started && got > 0 {
			started = true
			r.sendStart(runs)
		}
	}
	slow := time.NewTimer(slowDetail)
	defer slow.Stop()
	for {
		select {
		case list := <-stages:
			if runs = list; got+1 == 2 {
				got = 2
				stages = nil
				start()
			} else {
				got = 1
			}
		case <-slow.C:
			start()
		case m, ok := <-s.messages:
			if !ok {
				start()
				return // nobody can tell when it ended
			}
			if m[0] == msgStopped {
				s.untilContinued()
				continue
			}
			late := time.NewTimer(max(lateDetail, time.Duration(r.config.EndWait)*3/4))
			for got < 2 && stages != nil {
				select {
				case runs = <-stages:
					got++
				case <-late.C:
					stages = nil
				}
			}
			late.Stop()
			if got == 0 {
				runs = r.runs()
				got = 1
			}
			start()
			r.sendEnd(runs, parseEnding(m))
			s.say(msgDone)
			return
		}
	}
}

// untilContinued wakes the wrapper, which is stopped because its program is,
// when somebody has continued the program alone.
func (s *side) untilContinued() {
	ticker := time.NewTicker(stoppedPoll)
	defer ticker.Stop()
	odd := 0
	for range ticker.C {
		wrapper, program := state(s.launch.wrapper), state(s.launch.pid)
		switch {
		case wrapper != 'T':
			return
		case program == 'T' || program == 't':
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

// state returns the state of a process in proc(5)'s letters, 0 if it is gone.
func state(pid int) byte {
	text := string(readSmall("/proc/"+strconv.Itoa(pid)+"/stat", 4096))
	if i := strings.LastIndexByte(text, ')'); i >= 0 && i+2 < len(text) {
		return text[i+2]
	}
	return 0
}

// closeInherited closes what the program's pipes and files are to us: who
// reads from a pipe waits until everybody has closed it. The runtime's own
// descriptors stay.
func closeInherited() {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	names, _ := d.Readdirnames(-1)
	own := int(d.Fd())
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= sideSocket || fd == own {
			continue
		}
		if target, _ := os.Readlink("/proc/self/fd/" + name); strings.HasPrefix(target, "anon_inode:[event") {
			continue
		}
		_ = syscall.Close(fd)
	}
	_ = d.Close()
}

// lowerPriority makes the calling goroutine's thread yield to everybody: the
// lowest nice value, batch scheduling, and disk time that nobody else wants.
func lowerPriority() {
	runtime.LockOSThread()
	tid := syscall.Gettid()
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, tid, 19)
	const schedBatch = 3
	var param int32
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(tid), schedBatch, uintptr(unsafe.Pointer(&param)))
	const whoProcess, classIdle = 1, 3 << 13
	_, _, _ = syscall.RawSyscall(syscall.SYS_IOPRIO_SET, whoProcess, uintptr(tid), classIdle)
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

// waitReadable waits for a descriptor.
func waitReadable(fd int) {
	poll := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: 1}
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, 0, 0, 0, 0)
		if errno != syscall.EINTR {
			return
		}
	}
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR { //nolint:errorlint // a system call's bare value
			return n, err
		}
	}
}
