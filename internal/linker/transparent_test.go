package linker_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/watermark"
)

// both runs the same linker command without and with us, and compares what can be
// seen of it. The output is left by the second.
func (p *place) both(what, ld string, args ...string) (got outcome) {
	p.t.Helper()
	tool(p.t, ld)
	real, err := exec.LookPath(ld)
	if err != nil {
		p.t.Fatal(err)
	}
	do := func(path string) outcome {
		return see(p.command(path, args...))
	}
	want := do(real)
	got = do(filepath.Join(p.bin, ld))
	random := regexp.MustCompile(`\.mold-[A-Za-z0-9]+`) // mold names its file at random
	mask := func(o outcome) string { return random.ReplaceAllString(fmt.Sprintf("%q", o), ".mold-X") }
	if diff := cmp.Diff(mask(want), mask(got)); diff != "" {
		p.t.Errorf("%s with %s %q (-plain +wrapped):\n%s\ntrace:\n%s", what, ld, args, diff, p.traced())
	}
	return got
}

// startFiles are what a compiler passes to the linker for a program in a.o.
func (p *place) startFiles() []string {
	p.t.Helper()
	find := func(name string) string {
		return strings.TrimSpace(p.must("gcc", "-print-file-name="+name))
	}
	gcc := filepath.Dir(find("libgcc.a"))
	return []string{
		"-m", "elf_x86_64", "-dynamic-linker", "/lib64/ld-linux-x86-64.so.2", "-pie", find("Scrt1.o"), find("crti.o"), find("crtbeginS.o"),
		"-L" + gcc, "-L" + filepath.Dir(find("libc.so")), "a.o", "-lc", "-lgcc", find("crtendS.o"), find("crtn.o"),
	}
}

func TestTransparent(t *testing.T) {
	for _, ld := range linkers[1:] {
		t.Run(ld, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			tool(t, ld)
			p.write("a.c", "int main(void) { return 3; }\n")
			p.write("bad.c", "int missing(void); int main(void) { return missing(); }\n")
			p.write("warn.c", "#include <stdio.h>\nint main(void) { return tmpnam(0) == 0; }\n")
			p.write("second.c", "int main(void) { return 4; }\n")
			p.write("conftest.c", "int main(void) { return 0; }\n")
			for _, name := range []string{"a", "bad", "warn", "second", "conftest"} {
				p.must("gcc", "-c", name+".c")
			}
			start := p.startFiles()
			instead := func(object string) []string {
				return strings.Split(strings.Replace(strings.Join(start, "\x00"), "\x00a.o\x00", "\x00"+object+"\x00", 1), "\x00")
			}
			none := func(what string, args ...string) {
				t.Helper()
				p.both(what, ld, args...)
				p.none(what)
			}
			none("no arguments")
			none("version", "--version")
			none("version", "-v")
			none("version", "-V")
			none("help", "--help")
			none("library only", "-lc", "--verbose")
			none("undefined symbol", append(instead("bad.o"), "-o", "out")...)
			none("no such file", append(instead("absent.o"), "-o", "out")...)
			none("no such library", append(start, "-labsent", "-o", "out")...)
			none("twice", append(start, "second.o", "-o", "out")...)
			none("bad option", append(start, "--no-such-option", "-o", "out")...)
			none("dangling option", append(start, "-o")...)
			none("unwritable", append(start, "-o", "absent/out")...)
			none("not an object", append(start, "a.c", "-o", "out")...)
			none("device", append(start, "-o", "/dev/null")...)
			none("configure", append(instead("conftest.o"), "-o", "conftest")...)
			none("CMake", append(start, "-o", "cmTC_1a2b3")...)
			none("CMake", append(start, "-o", "sub/../cmTryCompileExec1")...)
			if _, err := watermark.Read(filepath.Join(p.work, "conftest")); err == nil {
				t.Error("conftest has a watermark")
			}
			none("relocatable", "-r", "a.o", "bad.o", "-o", "both.o")
			none("relocatable in a response file", "@"+p.write("r.rsp", "-r a.o -o both.o"))
			none("no response file", "@absent.rsp")

			p.both("plain", ld, append(start, "-o", "out")...)
			p.one()
			// Not all warn of the same: of a function, of a keyword.
			warning, args := "no-such-keyword", append(start, "-z", "no-such-keyword", "-o", "out")
			if ld == "ld.gold" {
				warning, args = "tmpnam", append(instead("warn.o"), "-o", "out")
			}
			if got := p.both("warning", ld, args...); !strings.Contains(got.stderr, warning) {
				t.Errorf("no warning in %q", got)
			}
			p.one()
			p.both("trace", ld, append(start, "-o", "out", "--trace")...)
			p.one()
			if ld != "ld.mold" { // it does not know the short form
				p.both("trace", ld, append(start, "-t", "-o", "out")...)
				p.one()
			}
			none("standard input", append(start, "-o", "out", "--version-script=/dev/stdin")...)
			p.both("version and link", ld, append(start, "-v", "-o", "out")...)
			p.one()
			if n := see(p.command(filepath.Join(p.work, "out"))).state; n != "exit status 3" {
				t.Errorf("the program ends with %s", n)
			}
		})
	}
}

// Files that the user asks for are what they would be.
func TestUsersFiles(t *testing.T) {
	for _, ld := range linkers[1:] {
		p := newPlace(t)
		tool(t, ld)
		p.write("a.c", "int main(void) { return 3; }\n")
		p.write("file with blanks $x #y.c", "int other(void) { return 3; }\n")
		p.must("gcc", "-c", "a.c")
		p.must("gcc", "-c", "file with blanks $x #y.c")
		start := append(p.startFiles(), "file with blanks $x #y.o", "-o", "out", "--dependency-file=out.d", "-Map=out.map")
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join(p.work, name))
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		for _, args := range [][]string{start, append(start, "--start-lib", "a.o", "--end-lib")} { // the object at the end, at the beginning
			if ld == "ld.bfd" && len(args) > len(start) {
				continue // it does not know --start-lib
			}
			p.must(ld, args...)
			want := read("out.d")
			p.must(filepath.Join(p.bin, ld), args...)
			if diff := cmp.Diff(want, read("out.d")); diff != "" {
				t.Errorf("%s: dependency file (-plain +wrapped):\n%s", ld, diff)
			}
			r, _ := p.one()
			if !strings.Contains(string(r.LinkA), "libc.so.6") {
				t.Errorf("%s: linked %s", ld, r.LinkA)
			}
			if !strings.Contains(read("out.map"), ".text") {
				t.Errorf("%s: the map is %q", ld, read("out.map"))
			}
			if _, err := watermark.Read(filepath.Join(p.work, "out")); err != nil {
				t.Errorf("%s: %v", ld, err)
			}
		}
	}
}

// stub puts a script in the place of a linker and returns where.
func (p *place) stub(name, script string) {
	p.t.Helper()
	dir := filepath.Join(filepath.Dir(p.bin), "stubs")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o777); err != nil {
		p.t.Fatal(err)
	}
	for i, e := range p.env {
		if strings.HasPrefix(e, "PATH=") && !strings.Contains(e, dir) {
			p.env[i] = "PATH=" + dir + ":" + e[len("PATH="):]
		}
	}
}

func TestStatusAndSignals(t *testing.T) {
	p := newPlace(t)
	p.write("a.o", "x")
	ld := filepath.Join(p.bin, "ld.bfd")
	for _, n := range []int{1, 2, 42, 127, 255} {
		p.stub("ld.bfd", fmt.Sprintf("[ \"$1\" != --help ] || exit 0\necho out; echo err >&2; exit %d\n", n))
		got := see(p.command(ld, "a.o"))
		if want := (outcome{"out\n", "err\n", fmt.Sprintf("exit status %d", n)}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		p.none("failed")
	}
	for _, s := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGINT, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGXCPU} {
		if signal.Ignored(s) {
			continue // by who started the test, as nohup does: it kills nobody below
		}
		p.stub("ld.bfd", fmt.Sprintf("[ \"$1\" != --help ] || exit 0\nulimit -c 0; echo out; echo err >&2; kill -%d $$\n", s))
		cmd := p.command(ld, "a.o")
		got := see(cmd)
		if got.stdout != "out\n" || got.stderr != "err\n" || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != s {
			t.Errorf("%v: %q", s, got)
		}
		p.none("killed")
	}
}

// A signal to our process alone reaches the linker, and is not answered by a
// second try.
func TestSignalIsPassedOn(t *testing.T) {
	p := newPlace(t)
	p.write("a.o", "x")
	for _, c := range []struct {
		wait, state string
	}{
		{"sleep 60 & pid=$!; trap 'kill $pid; exit 7' TERM; echo x >started; wait $pid", "exit status 7"},
		{"echo x >started; exec sleep 60", "signal: terminated"},
	} {
		p.stub("ld.bfd", "[ \"$1\" != --help ] || exit 0\necho run >>runs\n"+c.wait+"\n")
		if err := syscall.Mkfifo(filepath.Join(p.work, "started"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := p.command(filepath.Join(p.bin, "ld.bfd"), "a.o")
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.ReadFile(filepath.Join(p.work, "started")); err != nil { // waits for the writer
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if got := cmd.ProcessState.String(); got != c.state {
			t.Errorf("%q: ended with %s, want %s", c.wait, got, c.state)
		}
		runs, err := os.ReadFile(filepath.Join(p.work, "runs"))
		if err != nil || string(runs) != "run\n" {
			t.Errorf("%q: runs %q, %v", c.wait, runs, err)
		}
		os.Remove(filepath.Join(p.work, "runs"))
		os.Remove(filepath.Join(p.work, "started"))
		p.none("interrupted")
	}
}

// If the link with our object fails, the plain one counts, and nothing is seen of
// the first.
func TestPlainLinkCounts(t *testing.T) {
	p := newPlace(t)
	p.write("a.o", "x")
	p.stub("ld.bfd", `case "$*" in
--help) echo --dependency-file ;;
*/proc/self/fd/*) echo first; echo first >&2; exit 1 ;;
*) echo second; echo second >&2; read line; echo "$line"; echo "$@" >out ;;
esac
`)
	cmd := p.command(filepath.Join(p.bin, "ld.bfd"), "a.o", "-o", "out")
	cmd.Stdin = strings.NewReader("input\n")
	if got, want := see(cmd), (outcome{"second\ninput\n", "second\n", "exit status 0"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.none("plain")

	// The linker warns of our object: nobody should see that.
	p.stub("ld.bfd", `case "$*" in
--help) echo --dependency-file ;;
*/proc/self/fd/*) for a; do case $a in /proc/*) echo "warning: $a is odd" >&2 ;; esac; done; echo x >out ;;
*) echo second ;;
esac
`)
	if got, want := see(p.command(filepath.Join(p.bin, "ld.bfd"), "a.o", "-o", "out")), (outcome{"second\n", "", "exit status 0"}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	p.none("warned")
}

// What fails on our side does not matter.
func TestFaultsOfOurs(t *testing.T) {
	p := newPlace(t)
	p.write("a.c", hello)
	p.must("gcc", "-c", "a.c")
	absent := filepath.Join(p.work, "absent")
	for _, env := range [][]string{
		{"TEST_PANIC=early"},
		{"TEST_SEND_PANICS=1"},
		{"TEST_CACHE=/proc/none"},
		{"HOME=" + absent + "/home", "TMPDIR=" + p.work, "TEST_CACHE="},
		{"TEST_RECORDS=" + absent},
		{"TEST_TRACKED=" + absent},
		{"XALT_EXECUTABLE_TRACKING=no"},
		{"XALT_WRAP_LINKER=,,w1:,x"},
	} {
		os.Remove(filepath.Join(p.work, "out"))
		cmd := p.command("gcc", p.wrapped("a.o", "-o", "out")...)
		cmd.Env = append(cmd.Env, env...)
		if got, want := see(cmd), (outcome{"", "", "exit status 0"}); got != want {
			t.Errorf("%v: %q", env, got)
		}
		if got := p.must("./out"); got != "hello\n" {
			t.Errorf("%v: the program prints %q", env, got)
		}
		p.taken()
		if _, err := os.Lstat(absent); err == nil {
			t.Errorf("%v: made %s", env, absent)
		}
	}
}

// Descriptors that the caller hands down, as make does, arrive under their numbers;
// so do resource limits, the mask of new files and the working directory.
func TestInherited(t *testing.T) {
	p := newPlace(t)
	p.write("a.o", "x")
	p.stub("ld.bfd", "[ \"$1\" != --help ] || exit 0\necho tokens >&5; umask; ulimit -n; pwd; echo \"$LANGUAGE\"; read line; echo $line; echo $0 \"$1\" >out\n")
	script := `umask 027; ulimit -n 77; exec 5>` + p.work + `/five; echo typed | LANGUAGE=xx "$0" a.o -o out`
	got := see(p.command("sh", "-c", script, filepath.Join(p.bin, "ld.bfd")))
	if want := (outcome{"0027\n77\n" + p.work + "\nxx\ntyped\n", "", "exit status 0"}); got != want {
		t.Errorf("%q, want %q\n%s", got, want, p.traced())
	}
	if text, err := os.ReadFile(filepath.Join(p.work, "five")); err != nil || string(text) != "tokens\n" {
		t.Errorf("descriptor 5 got %q, %v", text, err)
	}
	p.one()
}

// A copy, a link to a copy, and a script that leads back: the real linker is found.
func TestNeverItself(t *testing.T) {
	p := newPlace(t)
	p.write("a.c", hello)
	p.must("gcc", "-c", "a.c")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{"copy", "other", "linked"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	write("copy/ld", text)
	write("other/ld", append(text, "another version"...)) // of another size: told by the guard only
	if err := os.Symlink("../copy/ld", filepath.Join(dir, "linked/ld")); err != nil {
		t.Fatal(err)
	}
	p.stub("ld", "exec "+p.bin+"/ld \"$@\"\n")
	for i, e := range p.env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			p.env[i] = fmt.Sprintf("PATH=%s/linked:%s/copy:%s/other:%s:%s", dir, dir, dir, p.bin, path)
		}
	}
	for _, args := range [][]string{
		{"a.o", "-o", "out"}, p.wrapped("a.o", "-o", "out"), {"-B" + dir + "/copy", "-B" + dir + "/other", "-B" + p.bin, "a.o", "-o", "out"},
	} {
		p.must("gcc", args...)
		if got := p.must("./out"); got != "hello\n" {
			t.Errorf("%v: prints %q", args, got)
		}
		p.one()
		if _, err := watermark.Read(filepath.Join(p.work, "out")); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
	// Without any linker there is a message, and no loop.
	cmd := p.command(filepath.Join(p.bin, "ld"), "a.o")
	cmd.Env = append(cmd.Env, "PATH="+p.bin+":"+dir+"/copy:"+dir+"/other", "COMPILER_PATH=")
	if got := see(cmd); got.state != "exit status 127" || !strings.Contains(got.stderr, "no linker found") {
		t.Errorf("without linker: %q", got)
	}
}
