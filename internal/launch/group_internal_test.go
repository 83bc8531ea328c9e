package launch

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// TestGroup: steps are o (ours), t (theirs), with a signal and a time in
// milliseconds, x (expire), a (the answer to the last question), and s (the
// side job is stopped).
func TestGroup(t *testing.T) {
	const term, intr, winch = syscall.SIGTERM, syscall.SIGINT, syscall.SIGWINCH
	const tstp, ttin, cont = syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGCONT
	type step struct {
		what byte
		sig  syscall.Signal
		at   int
	}
	for _, tt := range []struct {
		name     string
		alone    bool // there is no side job
		terminal bool // in the foreground
		steps    []step
		want     []syscall.Signal
	}{
		{"to us alone", false, false, []step{{'o', term, 0}, {'x', 0, 99}, {'x', 0, 100}, {'a', 0, 101}}, []syscall.Signal{term}},
		{"no answer", false, false, []step{{'o', term, 0}, {'x', 0, 100}, {'x', 0, 60_000}}, nil},
		{"answer to another question", false, false, []step{{'a', 0, 0}, {'o', term, 0}, {'a', 0, 99}, {'x', 0, 100}}, nil},
		{"late answer", false, false, []step{{'o', term, 0}, {'x', 0, 100}, {'x', 0, 60_000}, {'a', 0, 60_001}}, []syscall.Signal{term}},
		{"late report", false, false, []step{{'o', term, 0}, {'x', 0, 100}, {'t', term, 60_000}, {'a', 0, 60_001}}, nil},
		{"came while the answer was under way", false, false, []step{{'o', term, 0}, {'x', 0, 100}, {'o', intr, 101}, {'x', 0, 300}, {'a', 0, 301}}, []syscall.Signal{term}},
		{"and after the next one", false, false, []step{{'o', term, 0}, {'x', 0, 100}, {'o', intr, 101}, {'a', 0, 301}, {'x', 0, 302}, {'a', 0, 303}}, []syscall.Signal{term, intr}},
		{"the side job is stopped", false, false, []step{{'o', term, 0}, {'x', 0, 100}, {'s', 0, 101}, {'x', 0, 1000}, {'x', 0, 1101}}, []syscall.Signal{term}},
		{"not yet", false, false, []step{{'o', term, 0}, {'x', 0, 99}}, nil},
		{"to the group, report after", false, false, []step{{'o', term, 0}, {'t', term, 5}, {'x', 0, 120}, {'a', 0, 121}}, nil},
		{"to the group, report before", false, false, []step{{'t', term, 0}, {'o', term, 5}, {'x', 0, 120}, {'a', 0, 121}}, nil},
		{"once to the group and once to us", false, false, []step{{'o', term, 0}, {'o', term, 1}, {'t', term, 5}, {'x', 0, 120}, {'a', 0, 121}}, []syscall.Signal{term}},
		{"another signal is reported", false, false, []step{{'o', term, 0}, {'t', intr, 5}, {'x', 0, 120}, {'a', 0, 121}}, []syscall.Signal{term}},
		{"an old report does not count", false, false, []step{{'t', term, 0}, {'o', term, 1500}, {'x', 0, 1660}, {'a', 0, 1661}}, []syscall.Signal{term}},
		{"in order", false, false, []step{{'o', term, 0}, {'o', intr, 1}, {'o', winch, 2}, {'x', 0, 120}, {'a', 0, 121}}, []syscall.Signal{term, intr, winch}},
		{"continued and stopped, one report", false, false, []step{{'o', cont, 0}, {'o', tstp, 5}, {'t', tstp, 9}, {'x', 0, 120}, {'a', 0, 121}}, nil},
		{"stopped and continued, one report", false, false, []step{{'o', ttin, 0}, {'o', cont, 5}, {'t', cont, 9}, {'x', 0, 120}, {'a', 0, 121}}, nil},
		{"stopped and continued, us alone", false, false, []step{{'o', term, 0}, {'o', ttin, 1}, {'o', cont, 5}, {'x', 0, 120}, {'a', 0, 121}}, []syscall.Signal{term, cont}},
		{"continued twice, one report", false, false, []step{{'o', cont, 0}, {'o', cont, 50}, {'t', cont, 60}, {'x', 0, 160}, {'a', 0, 161}}, nil},
		{"continued and stopped, all, and continued, us alone", false, false, []step{{'o', cont, 0}, {'o', tstp, 5}, {'o', cont, 9}, {'t', cont, 10}, {'t', tstp, 10}, {'x', 0, 120}, {'a', 0, 121}}, []syscall.Signal{cont}},
		{"continued, all, and stopped, us alone", false, false, []step{{'o', cont, 0}, {'o', tstp, 5}, {'t', cont, 9}, {'x', 0, 120}, {'a', 0, 121}, {'o', cont, 130}, {'x', 0, 240}, {'a', 0, 241}}, []syscall.Signal{tstp, cont}},
		{"continued and stopped, we got one", false, false, []step{{'t', cont, 0}, {'t', tstp, 5}, {'o', tstp, 9}, {'o', cont, 20}, {'x', 0, 120}, {'a', 0, 121}}, []syscall.Signal{cont}},
		{"without side job", true, false, []step{{'o', term, 0}, {'o', intr, 0}}, []syscall.Signal{term, intr}},
		{"without side job in the foreground", true, true, []step{{'o', term, 0}, {'o', intr, 0}}, []syscall.Signal{term}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []syscall.Signal
			g := newGroup(1, func() bool { return !tt.alone })
			g.terminal = func() bool { return tt.terminal }
			g.kill = func(_ int, sig syscall.Signal) error { got = append(got, sig); return nil }
			g.ask = func(byte) bool { return true }
			stopped := false
			g.stopped = func() bool { return stopped }
			start := time.Unix(0, 0)
			for _, s := range tt.steps {
				now := start.Add(time.Duration(s.at) * time.Millisecond)
				switch s.what {
				case 'o':
					g.ours(s.sig, now)
				case 't':
					g.report([]byte{msgSignal, byte(s.sig)}, now)
				case 'x':
					g.expire(now)
				case 'a':
					g.report([]byte{msgAnswer, g.number}, now)
				case 's':
					stopped = true
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("passed on %v, want %v", got, tt.want)
			}
		})
	}
}

func TestEnding(t *testing.T) {
	for _, e := range []ending{
		{at: time.Unix(5, 6), known: true, status: 255}, {at: time.Unix(1_800_000_000, 0), known: true, signal: 64}, {at: time.Unix(7, 0)},
	} {
		if got := parseEnding(e.message()); got != e {
			t.Errorf("parseEnding(%+v) = %+v", e, got)
		}
	}
	if got := parseEnding([]byte{msgEnd}); got.known {
		t.Errorf("a short message says how the program ended: %+v", got)
	}
}

func FuzzDecodeLaunch(f *testing.F) {
	l := launch{
		uuid: "u", start: time.Unix(1_795_000_000, 5), pid: 7, wrapper: 8, program: "/bin/x", name: "x", args: []string{"x", "", "\xff"}, flags: []string{"--syshost", "a"},
	}
	f.Add(l.encode())
	f.Add([]byte{1, 0, 0, 0, 'x'})
	f.Add(bigCount())
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decodeLaunch(text)
		if err != nil {
			return
		}
		again, err := decodeLaunch(got.encode())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("decoded %+v, and again %+v, %v", got, again, err)
		}
	})
}

// bigCount is a launch that claims more flags than there are.
func bigCount() []byte {
	l := launch{start: time.Unix(0, 0), flags: make([]string, 9)}
	text := l.encode()
	return text[:len(text)-9*4]
}

func TestBoundArgs(t *testing.T) {
	short := []string{"a", "b"}
	if got := boundArgs(short); !slices.Equal(got, short) {
		t.Errorf("%q", got)
	}
	long := make([]string, 20_000)
	for i := range long {
		long[i] = "argument"
	}
	got := boundArgs(long)
	size := 0
	for _, a := range got {
		size += len(a) + 1
	}
	if want := fmt.Sprintf("[%d more arguments]", 20_000-len(got)+1); got[len(got)-1] != want || size > maxArgs+64 || long[len(got)-1] != "argument" {
		t.Errorf("%d arguments of %d bytes, the last is %q, want %q", len(got), size, got[len(got)-1], want)
	}
}

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		args []string
		name string
		want []string
	}{
		{[]string{"/x/mpirun", "-n", "2"}, "mpirun", []string{"/x/mpirun", "-n", "2"}},
		{[]string{"/usr/bin/xalt-wrap", "--config", "x", "--", "/opt/bin/srun", "--", "a"}, "srun", []string{"/opt/bin/srun", "--", "a"}},
		{[]string{"xalt-wrap", "--"}, "", nil},
		{[]string{"xalt-wrap", "flush"}, "", nil},
		{nil, "", nil},
	} {
		if name, command := Command(tt.args); name != tt.name || !slices.Equal(command, tt.want) {
			t.Errorf("Command(%q) = %q, %q", tt.args, name, command)
		}
	}
}
