package ldso_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/ldso"
)

// A site is a directory with libraries and programs that gcc builds.
type site struct {
	t   *testing.T
	dir string
	cc  string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), cc: tool(t, "gcc")}
	if p, err := filepath.EvalSymlinks(s.dir); err == nil {
		s.dir = p
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) string {
	s.t.Helper()
	p := s.path(name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// run builds; a word that begins with "@" is a path in the site.
func (s *site) run(args ...string) {
	s.t.Helper()
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "@", s.dir+"/")
	}
	cmd := exec.Command(s.cc, args...)
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s %q: %v\n%s", s.cc, args, err, out)
	}
}

// lib builds DIR/libNAME.so, which needs what the arguments say.
func (s *site) lib(file string, args ...string) string {
	s.t.Helper()
	out := s.path(file)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		s.t.Fatal(err)
	}
	name := strings.NewReplacer(".", "_", "-", "_").Replace(filepath.Base(file))
	src := s.write("src/"+name+".c", fmt.Sprintf("int %s(void) { return 1; }\n", name))
	s.run(append([]string{"-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", "-o", out, src}, args...)...)
	return out
}

// prog builds a program that prints its mapped files.
func (s *site) prog(file string, args ...string) string {
	s.t.Helper()
	src := s.write("src/main.c", `#include <stdio.h>
#include <string.h>
int main(void) {
	char line[8192];
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f)) {
		char *p = strchr(line, '/');
		if (p) fputs(p, stdout);
	}
	return 0;
}
`)
	s.run(append([]string{"-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined", "-o", s.path(file), src}, args...)...)
	return s.path(file)
}

// maps runs the program, and returns the files that it has mapped.
func (s *site) maps(prog string, attr *syscall.SysProcAttr, vars ...string) []string {
	s.t.Helper()
	cmd := exec.Command(prog)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.dir, vars, attr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("run %s: %v", prog, err)
	}
	files := strings.Fields(string(out))
	slices.Sort(files)
	return slices.Compact(files)
}

// reals returns what should be mapped.
func reals(r ldso.Result) []string {
	files := []string{r.Real}
	if r.InterpReal != "" {
		files = append(files, r.InterpReal)
	}
	for _, l := range r.Libraries {
		if l.Real != "" {
			files = append(files, l.Real)
		}
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// same compares with ldd, and with what is mapped if the program can run.
func (s *site) same(prog string, vars ...string) ldso.Result {
	s.t.Helper()
	for i, v := range vars {
		vars[i] = strings.ReplaceAll(v, "@", s.dir+"/")
	}
	s.t.Chdir(s.dir)
	r := resolve(s.t, prog, vars...)
	if d := cmp.Diff(ldd(s.t, prog, vars...), lines(r)); d != "" {
		s.t.Errorf("Resolve(%q) with %q, -ldd +got:\n%s", prog, vars, d)
	}
	for _, l := range r.Libraries {
		if l.Path == "" && !l.Preload {
			return r
		}
	}
	if d := cmp.Diff(s.maps(prog, nil, vars...), reals(r)); d != "" {
		s.t.Errorf("Resolve(%q) with %q, -mapped +got:\n%s", prog, vars, d)
	}
	return r
}

// names returns each library's name, and where it was found in the site.
func (s *site) names(r ldso.Result) string {
	var all []string
	for _, l := range r.Libraries {
		if strings.HasPrefix(l.Name, "libc.so") {
			continue
		}
		p := "-"
		if l.Path != "" {
			p = strings.TrimPrefix(l.Path, s.dir+"/")
		}
		all = append(all, p)
	}
	return strings.Join(all, " ")
}

const (
	asRpath   = "-Wl,--disable-new-dtags,-rpath,"
	asRunpath = "-Wl,--enable-new-dtags,-rpath,"
)
