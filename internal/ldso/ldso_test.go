package ldso_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/ldso"
)

// tool returns the path of a program, or skips the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return p
}

// env returns a Getenv for NAME=VALUE words.
func env(words []string) func(string) string {
	return func(name string) string {
		for _, w := range words {
			if v, ok := strings.CutPrefix(w, name+"="); ok {
				return v
			}
		}
		return ""
	}
}

func resolve(t testing.TB, path string, vars ...string) ldso.Result {
	t.Helper()
	r, err := ldso.Resolve(path, ldso.Options{Getenv: env(vars), UID: os.Getuid(), GID: os.Getgid()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Incomplete != "" {
		t.Fatalf("incomplete: %s", r.Incomplete)
	}
	return r
}

// lines prints libraries as ldd does.
func lines(r ldso.Result) []string {
	var all []string
	for _, l := range r.Libraries {
		switch {
		case l.Path == "" && l.Preload: // ldd tells it on stderr
		case l.Path == "":
			all = append(all, l.Name+" => not found")
		case l.Path == l.Name:
			all = append(all, l.Path)
		default:
			all = append(all, l.Name+" => "+l.Path)
		}
	}
	return all
}

// ldd asks the loader itself.
func ldd(t testing.TB, path string, vars ...string) []string {
	t.Helper()
	cmd := exec.Command(tool(t, "ldd"), path)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, vars...)
	out, err := cmd.CombinedOutput()
	var all []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndex(line, " (0x"); i >= 0 {
			line = line[:i]
		}
		name := filepath.Base(line)
		switch {
		case strings.HasPrefix(line, "linux-vdso"), strings.HasPrefix(line, "linux-gate"), strings.HasPrefix(name, "ld-linux"):
		case strings.Contains(line, "statically linked"), strings.Contains(line, "not a dynamic executable"):
		case strings.HasPrefix(line, "ERROR: ld.so: object"):
		default:
			all = append(all, line)
		}
	}
	if err != nil && len(all) > 0 {
		t.Fatalf("ldd %s: %v\n%s", path, err, out)
	}
	return all
}

// TestPrograms compares with ldd for programs of this machine.
func TestPrograms(t *testing.T) {
	tool(t, "ldd")
	names := []string{"/bin/bash", "/bin/true", "/bin/ls", "/usr/bin/tar", "/usr/bin/ssh", "/usr/bin/curl", "/usr/sbin/ldconfig"}
	for _, n := range []string{"gcc", "g++", "clang", "git", "perl", "python3", "mariadbd", "psql", "mpirun", "ld"} {
		if p, err := exec.LookPath(n); err == nil {
			names = append(names, p)
		}
	}
	if out, err := exec.Command("gcc", "-print-prog-name=cc1").Output(); err == nil {
		names = append(names, strings.TrimSpace(string(out)))
	}
	if more, err := filepath.Glob("/usr/bin/[a-e]*"); err == nil {
		names = append(names, more[:min(len(more), 60)]...)
	}
	compared := 0
	for _, n := range names {
		real, err := filepath.EvalSymlinks(n)
		if err != nil {
			continue
		}
		r, err := ldso.Resolve(real, ldso.Options{UID: os.Getuid(), GID: os.Getgid()})
		if errors.Is(err, ldso.ErrFormat) || len(r.Script) > 0 {
			continue
		}
		if err != nil {
			t.Errorf("Resolve(%q): %v", n, err)
			continue
		}
		compared++
		if d := cmp.Diff(ldd(t, real), lines(r)); d != "" {
			t.Errorf("Resolve(%q), -ldd +got:\n%s", n, d)
		}
		for _, l := range r.Libraries {
			if want, err := filepath.EvalSymlinks(l.Path); err != nil || want != l.Real {
				t.Errorf("Resolve(%q): %s is %q, want %q", n, l.Path, l.Real, want)
			}
		}
	}
	t.Logf("%d programs compared", compared)
	if compared < 10 {
		t.Errorf("%d programs compared, want 10 or more", compared)
	}
}

func TestSearchPaths(t *testing.T) {
	s := newSite(t)
	s.lib("b/libb.so")
	s.lib("b2/libb.so")
	s.lib("plain/liba.so", "-L@b", "-lb")
	s.lib("rpath/liba.so", "-L@b", "-lb", asRpath+"@b2")
	s.lib("runpath/liba.so", "-L@b", "-lb", asRunpath+"$ORIGIN/../b2")
	s.lib("other/liba.so", "-L@b", "-lb", asRunpath+"@nowhere")
	s.lib("deep/libd.so", "-L@plain", "-la", asRpath+"@plain")
	if err := os.Symlink("plain", s.path("link")); err != nil {
		t.Fatal(err)
	}
	link := func(dir string) []string { return []string{"-L" + s.path(dir), "-la"} }
	tests := []struct {
		name string
		args []string
		vars []string
		want string
	}{
		{"missing", link("plain"), nil, "-"},
		{"rpath is inherited", append(link("plain"), asRpath+"@plain:@b"), nil, "plain/liba.so b/libb.so"},
		{"runpath is not", append(link("plain"), asRunpath+"@plain:@b"), nil, "plain/liba.so -"},
		{"own rpath first", append(link("rpath"), asRpath+"@rpath:@b"), nil, "rpath/liba.so b2/libb.so"},
		{"own rpath, runpath above", append(link("rpath"), asRunpath+"@rpath:@b"), nil, "rpath/liba.so b2/libb.so"},
		{"own runpath, rpath above", append(link("runpath"), asRpath+"@runpath:@b"), nil, "runpath/liba.so runpath/../b2/libb.so"},
		{"runpath hides inherited rpath", append(link("other"), asRpath+"@other:@b"), nil, "other/liba.so -"},
		{"rpath over variable", append(link("plain"), asRpath+"@plain:@b"), []string{"LD_LIBRARY_PATH=@b2"}, "plain/liba.so b/libb.so"},
		{"variable over runpath", append(link("runpath"), asRunpath+"@runpath"), []string{"LD_LIBRARY_PATH=@b"}, "runpath/liba.so b/libb.so"},
		{"variable", link("plain"), []string{"LD_LIBRARY_PATH=@nowhere:@plain;@b/:@b2"}, "plain/liba.so b/libb.so"},
		{"variable, relative", link("plain"), []string{"LD_LIBRARY_PATH=plain:./b2//"}, "plain/liba.so ./b2/libb.so"},
		{"variable, empty", append(link("plain"), asRunpath+"@plain"), []string{"LD_LIBRARY_PATH="}, "plain/liba.so -"},
		{"origin", append(link("plain"), asRpath+"$ORIGIN/plain:${ORIGIN}/b"), nil, "plain/liba.so b/libb.so"},
		{"no token", append(link("plain"), asRpath+"$ORIGINAL:@plain:${ORIGIN:$ORIGIN_x"), nil, "plain/liba.so -"},
		{"origin of a link", append(link("plain"), asRpath+"@link:$ORIGIN/b"), nil, "link/liba.so b/libb.so"},
		{"variable with origin", link("plain"), []string{"LD_LIBRARY_PATH=$ORIGIN/plain:$ORIGIN/b"}, "plain/liba.so b/libb.so"},
		{"chain", []string{"-L@deep", "-ld", asRpath + "@deep:@b"}, nil, "deep/libd.so plain/liba.so b/libb.so"},
		{"chain, runpath above", []string{"-L@deep", "-ld", asRunpath + "@deep:@b"}, nil, "deep/libd.so plain/liba.so -"},
		{"no default directories", append(link("plain"), asRpath+"@plain:@b", "-Wl,-z,nodefaultlib"), nil, "plain/liba.so b/libb.so"},
		{"pie", append(link("plain"), asRpath+"@plain:@b", "-pie", "-fPIE"), nil, "plain/liba.so b/libb.so"},
		{"no pie", append(link("plain"), asRpath+"@plain:@b", "-no-pie"), nil, "plain/liba.so b/libb.so"},
		{"preload path", append(link("plain"), asRpath+"@plain:@b"), []string{"LD_PRELOAD=@b2/libb.so"}, "b2/libb.so plain/liba.so b/libb.so"},
		{"preload name", append(link("plain"), asRpath+"@plain"), []string{"LD_PRELOAD=libb.so", "LD_LIBRARY_PATH=@b2"}, "b2/libb.so plain/liba.so"},
		{"preload many", append(link("plain"), asRpath+"@plain:@b"), []string{"LD_PRELOAD=@b/libb.so:@nowhere/x.so @b2/libb.so"}, "b/libb.so - b2/libb.so plain/liba.so"},
		{"platform", append(link("plain"), asRpath+"@plain:@p/$PLATFORM/${LIB}"), nil, "plain/liba.so -"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sub := *s
			sub.t = t
			prog := sub.prog("prog", tt.args...)
			r := sub.same(prog, tt.vars...)
			if got := sub.names(r); got != tt.want {
				t.Errorf("libraries %q, want %q", got, tt.want)
			}
			if r.Static || r.Interp == "" || r.InterpReal == "" || r.Secure {
				t.Errorf("Resolve = %+v", r)
			}
		})
	}
}

func TestNodefLibForAll(t *testing.T) {
	s := newSite(t)
	s.lib("n/libn.so", "-lc", "-Wl,-z,nodefaultlib")
	// It is found by the program before libn asks for it: the name is known then.
	s.same(s.prog("prog", "-L@n", "-ln", asRpath+"@n"))
	// The program itself may not use the default directories.
	r := s.same(s.prog("alone", "-Wl,-z,nodefaultlib"))
	if len(r.Libraries) != 1 || r.Libraries[0].Path != "" {
		t.Errorf("libraries %+v, want a missing libc", r.Libraries)
	}
}

func TestTokens(t *testing.T) {
	s := newSite(t)
	libDir := "lib/x86_64-linux-gnu"
	if _, err := os.Stat("/usr/" + libDir); err != nil || runtime.GOARCH != "amd64" {
		t.Skip("the directories of another distribution")
	}
	// The loader's name for this processor is one of them; same compares with it.
	var want []string
	for _, platform := range []string{"x86_64", "haswell", "xeon_phi"} {
		name := "t/" + platform + "/" + libDir + "/libt.so"
		s.lib(name)
		want = append(want, name)
	}
	r := s.same(s.prog("prog", "-L@t/x86_64/"+libDir, "-lt", asRunpath+"@t/$PLATFORM/$LIB"))
	if got := s.names(r); !slices.Contains(want, got) {
		t.Errorf("libraries %q, want one of %q", got, want)
	}
}

func TestNames(t *testing.T) {
	s := newSite(t)
	// One file by two names is one library; a link's real path is told.
	s.lib("n/libx.so.1.2", "-Wl,-soname,libx.so.1")
	for _, n := range []string{"n/libx.so.1", "n/libx.so", "n/liby.so"} {
		if err := os.Symlink("libx.so.1.2", s.path(n)); err != nil {
			t.Fatal(err)
		}
	}
	// A library without soname is needed by the path that it was linked by.
	s.lib("n/libz.so", "-L@n", "-lx")
	prog := s.prog("prog", "-L@n", "-lx", s.path("n/libz.so"), asRunpath+"@n")
	r := s.same(prog, "LD_PRELOAD=liby.so", "LD_LIBRARY_PATH=@n")
	if got, want := s.names(r), "n/liby.so n/libz.so"; got != want {
		t.Errorf("libraries %q, want %q", got, want)
	}
	if got := r.Libraries[0].Real; got != s.path("n/libx.so.1.2") {
		t.Errorf("the real path is %q", got)
	}
	// The program by a link: $ORIGIN is where the file is.
	p2 := s.prog("n/prog2", "-L@n", "-lx", asRunpath+"$ORIGIN")
	if err := os.Symlink("n/prog2", s.path("linked")); err != nil {
		t.Fatal(err)
	}
	r = resolve(t, s.path("linked"))
	if d := cmp.Diff(s.maps(s.path("linked"), nil), reals(r)); d != "" {
		t.Errorf("a linked program, -mapped +got:\n%s", d)
	}
	if r.Path != s.path("linked") || r.Real != p2 {
		t.Errorf("Path %q, Real %q", r.Path, r.Real)
	}
}

func TestCandidates(t *testing.T) {
	s := newSite(t)
	lib := s.lib("good/libx.so")
	text, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	foreign := bytes.Clone(text)
	foreign[18], foreign[19] = 0x2a, 0 // another machine
	s.write("foreign/libx.so", string(foreign))
	class := bytes.Clone(text)
	class[4] = 3 - class[4]
	s.write("class/libx.so", string(class))
	if err := os.MkdirAll(s.path("dir/libx.so"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.path("pipe"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(s.path("pipe/libx.so"), 0o644); err != nil {
		t.Fatal(err)
	}
	prog := s.prog("prog", "-L@good", "-lx", asRunpath+"@good")
	s.same(prog, "LD_LIBRARY_PATH=@foreign:@class")
	// ld.so gives up on these, or hangs; what matters is that we do not.
	for _, d := range []string{"dir", "pipe"} {
		if got := s.names(resolve(t, prog, "LD_LIBRARY_PATH="+s.path(d))); got != "good/libx.so" {
			t.Errorf("%s: libraries %q", d, got)
		}
	}
}

func TestHwcaps(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the levels of x86-64")
	}
	s := newSite(t)
	s.lib("h/libh.so")
	prog := s.prog("prog", "-L@h", "-lh", asRunpath+"@h")
	for _, level := range []string{"x86-64-v9", "x86-64-v2", "x86-64-v3", "x86-64-v4"} {
		s.lib("h/glibc-hwcaps/" + level + "/libh.so")
		s.same(prog)
		s.same(prog, "LD_LIBRARY_PATH=@h")
	}
}

func TestStatic(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{{"-static"}, {"-static-pie"}} {
		r := resolve(t, s.prog("prog", args...))
		if !r.Static || r.Interp != "" || len(r.Libraries) > 0 || r.Real != s.path("prog") {
			t.Errorf("%q: Resolve = %+v, want a static program", args, r)
		}
		if d := cmp.Diff(s.maps(s.path("prog"), nil), reals(r)); d != "" {
			t.Errorf("%q, -mapped +got:\n%s", args, d)
		}
	}
	// A library as a program, as ldd takes it.
	s.lib("l/libb.so", "-lc")
	lib := s.lib("l/liba.so", "-L@l", "-lb", "-lc", asRunpath+"$ORIGIN")
	r := resolve(t, lib)
	if d := cmp.Diff(ldd(t, lib), lines(r)); d != "" || r.Static || r.Interp == "" {
		t.Errorf("Resolve(%q) = %+v, -ldd +got:\n%s", lib, r, d)
	}
}

func Test32Bits(t *testing.T) {
	s := newSite(t)
	src := s.write("src/x.c", "int main(void) { return 0; }\n")
	if out, err := exec.Command(s.cc, "-m32", "-o", s.path("probe"), src).CombinedOutput(); err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" && runtime.GOARCH == "amd64" {
			t.Fatalf("gcc -m32: %v\n%s", err, out)
		}
		t.Skipf("gcc -m32: %v", err)
	}
	if err := exec.Command(s.path("probe")).Run(); errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this kernel runs no 32-bit programs") // nor does their loader, which is compared with
	}
	s.lib("l64/libx.so")
	s.lib("l32/libx.so", "-m32")
	prog := s.prog("prog", "-m32", "-L@l32", "-lx", asRpath+"@l64:@l32", "-lm")
	if got, want := s.names(s.same(prog)), "l32/libx.so"; !strings.HasPrefix(got, want) {
		t.Errorf("libraries %q, want %q", got, want)
	}
}

func TestSecure(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make a program of another user")
	}
	s := newSite(t)
	s.lib("a/libx.so")
	s.lib("b/libx.so")
	prog := s.prog("prog", "-L@a", "-lx", asRunpath+"@a:$ORIGIN/b")
	if err := os.Chmod(prog, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd := exec.Command("/bin/true")
	if cmd.SysProcAttr = nobody; cmd.Run() != nil {
		t.Skip("cannot change the user")
	}
	vars := []string{"LD_LIBRARY_PATH=" + s.path("b"), "LD_PRELOAD=" + s.path("b/libx.so") + " libm.so.6"}
	if err := os.Chmod(filepath.Dir(s.dir), 0o755); err != nil { // nobody needs a way to it
		t.Fatal(err)
	}
	for _, uid := range []int{65534, 0} {
		r, err := ldso.Resolve(prog, ldso.Options{Getenv: env(vars), UID: uid, GID: uid})
		if err != nil {
			t.Fatal(err)
		}
		attr := nobody
		if uid == 0 {
			attr = nil
		}
		if r.Secure != (uid != 0) {
			t.Errorf("user %d: secure is %t", uid, r.Secure)
		}
		if d := cmp.Diff(s.maps(prog, attr, vars...), reals(r)); d != "" {
			t.Errorf("user %d, -mapped +got:\n%s", uid, d)
		}
	}
	// $ORIGIN is not trusted, unless it leads to a default directory.
	prog = s.prog("prog2", "-L@a", "-lx", asRunpath+"$ORIGIN/a")
	if err := os.Chmod(prog, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	r, err := ldso.Resolve(prog, ldso.Options{UID: 65534, GID: 65534})
	if err != nil {
		t.Fatal(err)
	}
	if r.Libraries[0].Path != "" {
		t.Errorf("libraries %+v, want a missing libx.so", r.Libraries)
	}
	cmd = exec.Command(prog)
	if cmd.SysProcAttr = nobody; cmd.Run() == nil {
		t.Errorf("the loader trusts $ORIGIN")
	}
}

func TestMusl(t *testing.T) {
	cc := tool(t, "musl-gcc")
	s := newSite(t)
	s.cc = cc
	s.lib("b/libb.so")
	s.lib("a/liba.so", "-L@b", "-lb", asRunpath+"$ORIGIN/../b")
	s.lib("c/liba.so", "-L@b", "-lb")
	for _, tt := range []struct {
		args []string
		vars []string
		want string
	}{
		{[]string{"-L@a", "-la", asRunpath + "@a"}, nil, "a/liba.so a/../b/libb.so"},
		{[]string{"-L@c", "-la", asRunpath + "@c:@b"}, nil, "c/liba.so b/libb.so"}, // runpath is inherited
		{[]string{"-L@c", "-la", "-L@b"}, []string{"LD_LIBRARY_PATH=" + s.path("c") + ":" + s.path("b")}, "c/liba.so b/libb.so"},
		{[]string{"-L@c", "-la", asRpath + "@c"}, nil, "c/liba.so -"},
		{[]string{"-L@c", "-la", asRpath + "@c:@b"}, []string{"LD_PRELOAD=" + s.path("b/libb.so")}, "b/libb.so c/liba.so"},
	} {
		prog := s.prog("prog", tt.args...)
		r := resolve(t, prog, tt.vars...)
		if got := s.names(r); got != tt.want || !strings.Contains(r.Interp, "musl") {
			t.Errorf("%q: libraries %q of %q, want %q", tt.args, got, r.Interp, tt.want)
		}
		if !strings.Contains(tt.want, "-") {
			if d := cmp.Diff(s.maps(prog, nil, tt.vars...), reals(r)); d != "" {
				t.Errorf("%q, -mapped +got:\n%s", tt.args, d)
			}
		}
	}
}

func TestScripts(t *testing.T) {
	s := newSite(t)
	bash, err := filepath.EvalSymlinks("/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		text, path string
		script     []string
	}{
		{"#!/bin/bash\n", "/bin/bash", []string{"/bin/bash"}},
		{"#! /bin/bash  -e -u \nfalse\n", "/bin/bash", []string{"/bin/bash", "-e -u"}},
		{"#!/usr/bin/env bash\n", "bash", []string{"/usr/bin/env", "bash"}},
		{"#!/usr/bin/env -S A=1 bash -e\n", "bash", []string{"/usr/bin/env", "-S A=1 bash -e"}},
		{"#!/usr/bin/env no-such-program\n", "/usr/bin/env", []string{"/usr/bin/env", "no-such-program"}},
		{"#!" + s.path("script0") + "\n", "/bin/bash", []string{s.path("script0")}},
	}
	for i, tt := range tests {
		path := s.write(fmt.Sprintf("script%d", i), tt.text)
		r := resolve(t, path, "PATH=/nowhere::/bin")
		if (r.Path != tt.path && r.Path != "/bin/"+tt.path) || !slices.Equal(r.Script, tt.script) {
			t.Errorf("Resolve(%q): %q, %q, want %q, %q", tt.text, r.Path, r.Script, tt.path, tt.script)
		}
		if strings.HasSuffix(tt.path, "bash") {
			if d := cmp.Diff(ldd(t, bash), lines(r)); d != "" || r.Real != bash {
				t.Errorf("Resolve(%q): %q, -ldd +got:\n%s", tt.text, r.Real, d)
			}
		}
	}
	loop := s.path("loop")
	for text, want := range map[string]error{
		"#!" + loop + "\n": ldso.ErrFormat, "#!/nowhere/x\n": os.ErrNotExist, "#!\n": ldso.ErrFormat,
		"": ldso.ErrFormat, "echo\n": ldso.ErrFormat, "\x7fELF": ldso.ErrFormat,
	} {
		s.write("loop", text)
		if r, err := ldso.Resolve(loop, ldso.Options{}); !errors.Is(err, want) {
			t.Errorf("Resolve(%q) = %+v, %v, want %v", text, r, err, want)
		}
	}
	if _, err := ldso.Resolve(s.dir, ldso.Options{}); !errors.Is(err, ldso.ErrFormat) {
		t.Errorf("Resolve of a directory: %v", err)
	}
}

// TestCache compares with what ldconfig prints of a cache that it made, in each
// of its formats.
func TestCache(t *testing.T) {
	ldconfig := "/sbin/ldconfig"
	if _, err := os.Stat(ldconfig); err != nil {
		tool(t, "ldconfig")
	}
	s := newSite(t)
	for _, n := range []string{"libx.so.1", "libx.so.2", "libx.so.10", "lib9.so.1", "libxa.so.1"} {
		s.lib("c/"+n, "-Wl,-soname,"+n)
	}
	s.lib("c/glibc-hwcaps/x86-64-v2/libx.so.2", "-Wl,-soname,libx.so.2")
	s.lib("c/glibc-hwcaps/x86-64-v3/libx.so.2", "-Wl,-soname,libx.so.2")
	prog := s.prog("prog", s.path("c/libx.so.1"), s.path("c/libx.so.2"), s.path("c/libx.so.10"), s.path("c/lib9.so.1"), s.path("c/libxa.so.1"))
	s.write("etc/conf", s.path("c")+"\n")
	for _, format := range []string{"new", "compat"} {
		cmd := exec.Command(ldconfig, "-X", "-c", format, "-C", s.path("etc/ld.so.cache"), "-f", s.path("etc/conf"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ldconfig: %v\n%s", err, out)
		}
		opt := ldso.Options{Etc: s.path("etc")}
		r, err := ldso.Resolve(prog, opt)
		if err != nil {
			t.Fatal(err)
		}
		best := "c/libx.so.2"
		// In the format "compat" ldconfig and ld.so disagree about offsets of names
		// below glibc-hwcaps, and ld.so (2.36) takes the plain library. So do we.
		if format == "new" && runtime.GOARCH == "amd64" { // there is no other way to know the level than the loader's
			out, err := exec.Command(r.Interp, "--help").Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, level := range []string{"x86-64-v2", "x86-64-v3"} {
				if strings.Contains(string(out), level+" (supported") {
					best = "c/glibc-hwcaps/" + level + "/libx.so.2"
				}
			}
		}
		want := "c/libx.so.1 " + best + " c/libx.so.10 c/lib9.so.1 c/libxa.so.1"
		if got := s.names(r); got != want {
			t.Errorf("%s: libraries %q, want %q", format, got, want)
		}
		// A cache that is cut short, or damaged, finds nothing or something, but ends.
		text, err := os.ReadFile(s.path("etc/ld.so.cache"))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(text); n += 1 + n/8 {
			s.write("etc/ld.so.cache", string(text[:n]))
			if _, err := ldso.Resolve(prog, opt); err != nil {
				t.Errorf("a cache of %d bytes: %v", n, err)
			}
		}
	}
}

func TestPreloadFile(t *testing.T) {
	s := newSite(t)
	lib := s.lib("p/libp.so")
	s.write("etc/ld.so.preload", "# a comment\n"+lib+" # another\n\n/nowhere/x.so:libm.so.6\n")
	r, err := ldso.Resolve("/bin/true", ldso.Options{Etc: s.path("etc")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range r.Libraries {
		if l.Preload {
			got = append(got, l.Name, l.Path)
		}
	}
	if len(got) != 6 || got[1] != lib || got[3] != "" || filepath.Base(got[5]) != "libm.so.6" {
		t.Errorf("preloaded %q", got)
	}
}

func TestStop(t *testing.T) {
	n := 0
	r, err := ldso.Resolve("/bin/bash", ldso.Options{
		Getenv: env([]string{"LD_LIBRARY_PATH=" + strings.Repeat("/:", 200)}),
		Stop:   func() bool { n++; return true },
	})
	if err != nil || r.Incomplete != "stopped" || n != 1 || len(r.Libraries) != 0 {
		t.Errorf("Resolve = %+v, %v after %d questions, want it stopped", r, err, n)
	}
	r, err = ldso.Resolve("/bin/bash", ldso.Options{Getenv: env([]string{"LD_LIBRARY_PATH=" + strings.Repeat("/:", 100_000)})})
	if err != nil || r.Incomplete == "" {
		t.Errorf("Resolve with 100,000 directories = %+v, %v, want it incomplete", r, err)
	}
	r, err = ldso.Resolve("/bin/bash", ldso.Options{Getenv: env([]string{"LD_PRELOAD=" + strings.Repeat("x:", 100_000)})})
	if err != nil || r.Incomplete == "" {
		t.Errorf("Resolve with 100,000 libraries to preload = %+v, %v, want it incomplete", r, err)
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, name := range []string{"/bin/true", "/bin/bash", "/usr/bin/git"} {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		b.Run(filepath.Base(name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ldso.Resolve(name, ldso.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLdd(b *testing.B) {
	path := tool(b, "ldd")
	for b.Loop() {
		if err := exec.Command(path, "/bin/bash").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
