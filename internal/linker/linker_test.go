package linker_test

import (
	"crypto/sha1"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/watermark"
	"xaltpipe/internal/xalt"
)

const hello = "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n"

// sections returns an ELF file's sections but ours, without where they stand: the
// size, type and flags are what an unwrapped link gives.
func sections(t testing.TB, path string) map[string]elf.SectionHeader {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]elf.SectionHeader{}
	for _, s := range f.Sections {
		if s.Name == ".xalt" || s.Name == ".note.xalt.info" || s.Name == ".shstrtab" || s.Name == ".relro_padding" {
			continue
		}
		h := s.SectionHeader
		h.Offset, h.Addr, h.Link, h.Info = 0, 0, 0, 0
		if h.Type == elf.SHT_SYMTAB || h.Type == elf.SHT_STRTAB && h.Name == ".strtab" {
			h.Size, h.FileSize = 0, 0
		}
		all[s.Name] = h
	}
	return all
}

// sameBut reports how a wrapped output differs from a plain one.
func sameBut(t testing.TB, plain, wrapped string) string {
	t.Helper()
	return cmp.Diff(sections(t, plain), sections(t, wrapped))
}

func sha1Of(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum(text)
	return hex.EncodeToString(sum[:])
}

// Compilers with linkers, in their modes: the program is what it would have been,
// carries the watermark, and is recorded.
func TestCompilersAndLinkers(t *testing.T) {
	all := []string{"", "-static", "-no-pie", "-pie", "-static-pie", "-s", "-shared -fPIC", "-flto"}
	for _, c := range []struct {
		compiler, source string
		linkers          []string
		modes            []string
	}{
		{"gcc", "hello.c", []string{"", "bfd", "gold", "lld", "mold"}, all},
		{"clang", "hello.c", []string{"", "bfd", "gold", "lld", "mold"}, all},
		{"g++", "hello.cc", []string{"", "gold"}, []string{"", "-static", "-flto"}},
		{"gfortran", "hello.f90", []string{"", "lld"}, []string{"", "-static", "-shared -fPIC"}},
		{"clang++", "hello.cc", []string{"", "mold"}, []string{""}},
	} {
		for _, ld := range c.linkers {
			t.Run(c.compiler+" "+ld, func(t *testing.T) {
				t.Parallel()
				p := newPlace(t)
				p.write("hello.c", hello)
				p.write("hello.cc", "#include <iostream>\nint main() { std::cout << \"hello\" << std::endl; }\n")
				p.write("hello.f90", "program hello\n  print '(a)', 'hello'\nend program\n")
				p.write("plain/out", "")
				var with []string
				if ld != "" {
					tool(t, "ld."+ld)
					with = []string{"-fuse-ld=" + ld}
				}
				for _, mode := range c.modes {
					if mode == "-flto" && (strings.HasPrefix(c.compiler, "clang") != (ld == "lld")) {
						continue // clang's bitcode is lld's, GCC's is read by GCC's plugin
					}
					if mode == "-static-pie" && ld == "gold" {
						continue // gold lacks an option for it
					}
					args := append(append(with, strings.Fields(mode)...), c.source)
					// Under the same name, because gold writes it into shared libraries.
					p.must(c.compiler, append(args, "-o", "out")...)
					if err := os.Rename(filepath.Join(p.work, "out"), filepath.Join(p.work, "plain/out")); err != nil {
						t.Fatal(err)
					}
					args = append(p.wrapped(args...), "-o", "out")
					p.must(c.compiler, args...)
					checkOutcome(t, p, c.compiler, mode, args)
				}
			})
		}
	}
}

// checkOutcome compares out with plain/out and holds it against its record.
func checkOutcome(t *testing.T, p *place, compiler, mode string, args []string) {
	t.Helper()
	r, text := p.one()
	out := filepath.Join(p.work, "out")
	if diff := sameBut(t, filepath.Join(p.work, "plain/out"), out); diff != "" {
		t.Errorf("%s: sections (-plain +wrapped):\n%s", mode, diff)
	}
	if !strings.HasPrefix(mode, "-shared") {
		if got := p.must(out); got != "hello\n" {
			t.Errorf("%s prints %q", mode, got)
		}
	}
	mark, err := watermark.Read(out)
	if err != nil {
		t.Fatalf("%s: %v", mode, err)
	}
	want := xalt.Link{
		UUID: mark.UUID, LinkProgram: compiler, LinkPath: r.LinkPath, BuildUser: mark.User, BuildSyshost: "testhost",
		BuildEpoch: r.BuildEpoch, ExecPath: out, HashID: sha1Of(t, out), Cwd: p.work,
		LinkLine: compiler + " " + strings.Join(args, " "),
		LinkA:    r.LinkA, Functions: []byte("[]"),
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("%s: record (-want +got):\n%s", mode, diff)
	}
	if mark.Compiler != compiler || mark.CompilerPath != r.LinkPath || !filepath.IsAbs(r.LinkPath) || mark.CWD != p.work {
		t.Errorf("%s: watermark %+v", mode, mark)
	}
	if !strings.Contains(text, `"build_epoch":"`+mark.Epoch+`"`) {
		t.Errorf("%s: epoch %s is not that of %s", mode, mark.Epoch, text)
	}
	checkLibraries(t, mode, out, r.LinkA)
}

// checkLibraries holds the record against what the output says it needs.
func checkLibraries(t *testing.T, what, out string, linkA []byte) {
	t.Helper()
	objects, bad := xalt.DecodeObjects(linkA)
	if bad > 0 {
		t.Errorf("%s: %d bad entries of %s", what, bad, linkA)
	}
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	needed, _ := f.ImportedLibraries()
	found := map[string]bool{}
	static := false
	for _, o := range objects {
		if !filepath.IsAbs(o.Path) || o.HashID != "0" {
			t.Errorf("%s: object %v", what, o)
		}
		if strings.HasSuffix(o.Path, ".o") || strings.Contains(o.Path, "/proc/") {
			t.Errorf("%s: object file %v", what, o)
		}
		static = static || filepath.Base(o.Path) == "libc.a"
		lib, err := elf.Open(o.Path)
		if err != nil {
			continue // an archive or linker script
		}
		names, _ := lib.DynString(elf.DT_SONAME)
		lib.Close()
		for _, name := range names {
			found[name] = true
		}
	}
	for _, name := range needed {
		if !found[name] {
			t.Errorf("%s: %s is needed, but not recorded: %s", what, name, linkA)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("%s: recorded, but not needed: %v", what, found)
	}
	if len(needed) == 0 && !static {
		t.Errorf("%s: libc.a is not recorded: %s", what, linkA)
	}
}
