package linker_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/watermark"
)

// present skips the test without a file of a Debian package, or fails it where CI
// says so.
func present(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatalf("no %s", pattern)
		}
		t.Skipf("no %s", pattern)
	}
	return found[0]
}

// executables returns the executables and shared libraries below dir.
func executables(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.Contains(path, "CMakeFiles") {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&0o111 == 0 {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		var magic [4]byte
		if _, err := f.Read(magic[:]); err == nil && string(magic[:]) == "\x7fELF" {
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// compareBuild checks that each output of a wrapped build has its record and its
// watermark, links all again without us, and compares.
func (p *place) compareBuild(t *testing.T, dir string, relink func()) (count int) {
	t.Helper()
	outputs := executables(t, dir)
	records, _ := p.taken()
	var recorded []string
	byPath := map[string]string{}
	for _, r := range records {
		recorded = append(recorded, r.Link.ExecPath)
		byPath[r.Link.ExecPath] = r.Link.UUID
		if !strings.HasPrefix(r.Link.LinkProgram, "g") && !strings.HasPrefix(r.Link.LinkProgram, "c") {
			t.Errorf("%s: linked by %q", r.Link.ExecPath, r.Link.LinkProgram)
		}
	}
	slices.Sort(recorded)
	if diff := cmp.Diff(outputs, recorded); diff != "" {
		t.Errorf("outputs and records (-output +record):\n%s", diff)
	}
	for _, name := range outputs {
		if mark, err := watermark.Read(name); err != nil || mark.UUID != byPath[name] {
			t.Errorf("%s: %v, %v", name, mark, err)
		}
		if err := os.Rename(name, name+".wrapped"); err != nil {
			t.Fatal(err)
		}
	}
	relink()
	p.none("a build without us")
	for _, name := range outputs {
		if diff := sameBut(t, name, name+".wrapped"); diff != "" {
			t.Errorf("%s: sections (-plain +wrapped):\n%s", name, diff)
		}
	}
	return len(outputs)
}

// through makes compilers look for their linker in our directory first, as a
// module file would.
func (p *place) through(on bool) {
	p.env = slices.DeleteFunc(p.env, func(e string) bool { return strings.HasPrefix(e, "COMPILER_PATH=") })
	if on {
		p.env = append(p.env, "COMPILER_PATH="+p.bin)
	}
}

// GoogleTest, of Debian's source package, with CMake: libraries and samples.
func TestCMakeProject(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles for half a minute")
	}
	p := newPlace(t)
	source := filepath.Dir(present(t, "/usr/src/googletest/CMakeLists.txt"))
	tool(t, "cmake", "g++", "make")
	p.through(true)
	p.must("cmake", "-S", source, "-B", "build", "-DBUILD_GMOCK=OFF", "-Dgtest_build_samples=ON", "-DBUILD_SHARED_LIBS=ON", "-DCMAKE_CXX_FLAGS=-O0")
	p.none("CMake's own tests")
	p.must("make", "-C", "build", "-j2")
	count := p.compareBuild(t, filepath.Join(p.work, "build"), func() {
		p.through(false)
		p.must("make", "-C", "build", "-j2")
	})
	if count < 10 {
		t.Errorf("%d outputs", count)
	}
	tests := 0
	for _, name := range executables(t, filepath.Join(p.work, "build")) {
		if !strings.Contains(name, "unittest") {
			continue
		}
		tests++
		want, got := see(p.command(strings.TrimSuffix(name, ".wrapped"))), see(p.command(name))
		if want.state != got.state || !strings.Contains(got.stdout, "[  PASSED  ]") && got.state == "exit status 0" {
			t.Errorf("%s: %s, plain %s\n%s", name, got.state, want.state, got.stdout)
		}
	}
	if tests < 18 {
		t.Errorf("%d tests were run", tests)
	}
}

// libiberty, of Debian's binutils-source, with autoconf: a configure script that
// links about a hundred probes, an archive and the programs of its own tests.
func TestAutotoolsProject(t *testing.T) {
	if testing.Short() {
		t.Skip("configures for half a minute")
	}
	p := newPlace(t)
	archive := present(t, "/usr/src/binutils/binutils-*.tar.*")
	tool(t, "gcc", "make", "tar")
	p.must("tar", "xf", archive, "--strip-components=1", "--wildcards", "*/libiberty", "*/include", "*/config", "*/config.sub", "*/config.guess",
		"*/config-ml.in", "*/install-sh", "*/move-if-change", "*/mkinstalldirs", "*/missing")
	for _, dir := range []string{"plain", "build"} {
		if err := os.Mkdir(filepath.Join(p.work, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	configure := func(dir string) string {
		cmd := p.command("../libiberty/configure")
		cmd.Dir = filepath.Join(p.work, dir)
		if got := see(cmd); got.state != "exit status 0" {
			t.Fatalf("configure: %q", got)
		}
		text, err := os.ReadFile(filepath.Join(cmd.Dir, "config.h"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	want := configure("plain")
	p.through(true)
	if diff := cmp.Diff(want, configure("build")); diff != "" {
		t.Errorf("config.h (-plain +wrapped):\n%s", diff)
	}
	p.none("configure")
	p.must("make", "-C", "build", "-j2")
	p.must("make", "-C", "build", "check")
	tests := filepath.Join(p.work, "build/testsuite")
	count := p.compareBuild(t, tests, func() {
		p.through(false)
		p.must("make", "-C", "build", "check")
	})
	if count < 3 {
		t.Errorf("%d outputs", count)
	}
}
