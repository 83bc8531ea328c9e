package linker_test

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/watermark"
	"xaltpipe/internal/xalt"
)

func TestResponseFiles(t *testing.T) {
	p := newPlace(t)
	p.write("a b.c", hello)
	p.must("gcc", "-c", "a b.c")
	p.write("inner.rsp", "\"a b.o\"\n")
	p.write("outer.rsp", "@inner.rsp -o 'out put'\n")
	for _, args := range [][]string{{"@outer.rsp"}, {"-Wl,@inner.rsp", "-o", "out put"}} {
		p.must("gcc", p.wrapped(args...)...)
		r, _ := p.one()
		if want := filepath.Join(p.work, "out put"); r.ExecPath != want {
			t.Errorf("%v: exec_path %q, want %q", args, r.ExecPath, want)
		}
		if got := p.must("./out put"); got != "hello\n" {
			t.Errorf("%v: prints %q", args, got)
		}
	}
}

// asDecoded is how a reader sees a name that is not UTF-8: a lone surrogate for
// each bad byte, as three bytes.
func asDecoded(name string) string {
	return strings.ReplaceAll(name, "\xef", "\xed\xb3\xaf")
}

// Any byte but NUL and "/" may stand in a name.
func TestOddNames(t *testing.T) {
	for _, name := range []string{"a b", "quote\"s'", "new\nline", "d\xefr", "d\u00e4r 漢", "back\\slash", "per%%cent$x#y", "-dash", "@at", "<a>%%b%%"} {
		p := newPlace(t)
		dir := filepath.Join(p.work, name)
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		p.work = dir
		p.write("a.c", hello)
		p.write("lib/"+name+"/f.c", "int f(void) { return 1; }\n")
		p.must("gcc", "-shared", "-fPIC", "./lib/"+name+"/f.c", "-o", "./lib/"+name+"/libf.so")
		dir = asDecoded(dir)
		named := asDecoded(name)
		for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
			p.must("gcc", p.wrapped("-fuse-ld="+ld, "a.c", "-Wl,--no-as-needed", "./lib/"+name+"/libf.so", "-o", "./"+name)...)
			r, text := p.one()
			if got, want := xalt.Unstorable(r.ExecPath), filepath.Join(dir, named); got != want {
				t.Errorf("%s: exec_path %q, want %q", ld, got, want)
			}
			if got := xalt.Unstorable(r.Cwd); got != dir {
				t.Errorf("%s: wd %q, want %q", ld, got, dir)
			}
			mark, err := watermark.Read(filepath.Join(p.work, name))
			if err != nil || mark.CWD != p.work || mark.UUID != r.UUID {
				t.Errorf("%s: watermark %+v, %v", ld, mark, err)
			}
			found := false
			objects, _ := xalt.DecodeObjects(r.LinkA)
			for _, o := range objects {
				found = found || xalt.Unstorable(o.Path) == filepath.Join(dir, "lib", named, "libf.so")
			}
			// lld makes a slash of a backslash in its dependency file.
			if !found && (ld != "lld" || !strings.Contains(name, "\\")) {
				t.Errorf("%s: %q is not in %s", ld, name, text)
			}
			for i := range len(text) {
				if text[i] < ' ' || text[i] > '~' {
					t.Fatalf("%s: byte %#x in %q", ld, text[i], text)
				}
			}
		}
	}
}

func TestReproducible(t *testing.T) {
	for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
		tool(t, "ld."+ld)
		for _, mode := range []string{"", "omit", "ignore"} {
			var outputs [2][]byte
			var records [2]xalt.Link
			for i := range outputs {
				// Another directory, user and module each time.
				p := newPlace(t)
				p.write("a.c", hello)
				p.env = append(p.env, "SOURCE_DATE_EPOCH=1700000000", "TEST_REPRODUCIBLE="+mode, fmt.Sprintf("USER=u%d", i), fmt.Sprintf("LOADEDMODULES=m/%d", i))
				p.must("gcc", "-c", "a.c")
				p.must("gcc", p.wrapped("-fuse-ld="+ld, "a.o", "-o", "out")...)
				out := filepath.Join(p.work, "out")
				text, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				outputs[i] = text
				records[i], _ = p.one()
				mark, err := watermark.Read(out)
				switch mode {
				case "":
					want := watermark.Watermark{
						XALTVersion: "xalt-wrap/test", Host: "unknown", Syshost: "testhost", Compiler: "gcc", CompilerPath: records[i].LinkPath, OS: "unknown",
						User: "unknown", UUID: records[i].UUID, Year: "2023", Date: "Tue Nov 14 22:13:20 2023", CWD: "unknown", Epoch: "1700000000.0000",
					}
					if diff := cmp.Diff(want, mark); err != nil || diff != "" {
						t.Errorf("%s: %v\n%s", ld, err, diff)
					}
				case "omit":
					if err == nil {
						t.Errorf("%s: omitted, but there: %+v", ld, mark)
					}
				case "ignore":
					if err != nil || mark.User != fmt.Sprintf("u%d", i) || mark.LoadedModules != fmt.Sprintf("m/%d", i) {
						t.Errorf("%s: ignored: %+v, %v", ld, mark, err)
					}
				}
				if records[i].BuildUser != fmt.Sprintf("u%d", i) {
					t.Errorf("%s: the record is of %q", ld, records[i].BuildUser)
				}
			}
			if same := bytes.Equal(outputs[0], outputs[1]); same != (mode != "ignore") {
				t.Errorf("%s %q: same bytes: %v", ld, mode, same)
			}
			if same := records[0].UUID == records[1].UUID; same != (mode == "") {
				t.Errorf("%s %q: UUIDs %s and %s", ld, mode, records[0].UUID, records[1].UUID)
			}
		}
	}
}

// Other programs get other UUIDs.
func TestDerivedUUID(t *testing.T) {
	p := newPlace(t)
	p.env = append(p.env, "SOURCE_DATE_EPOCH=1700000000")
	seen := map[string]string{}
	link := func(what string, args ...string) {
		t.Helper()
		p.must("gcc", p.wrapped(args...)...)
		r, _ := p.one()
		if other, ok := seen[r.UUID]; ok {
			t.Errorf("%s and %s have the UUID %s", what, other, r.UUID)
		}
		seen[r.UUID] = what
	}
	p.write("a.c", hello)
	link("hello", "a.c", "-o", "out")
	link("another name", "a.c", "-o", "out2")
	link("another option", "a.c", "-o", "out", "-static")
	p.write("a.c", strings.Replace(hello, "hello", "hallo", 1))
	link("another text", "a.c", "-o", "out")
	for _, word := range []string{"hullo", "hollo"} { // only the response file names the object
		p.write("a.c", strings.Replace(hello, "hello", word, 1))
		p.must("gcc", "-c", "a.c", "-o", word+".o")
		p.write("a.rsp", word+".o -o out\n")
		link(word, "@a.rsp")
	}
}

func TestFunctions(t *testing.T) {
	for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
		tool(t, "ld."+ld)
		p := newPlace(t)
		p.env = append(p.env, "TEST_TRACKED="+p.write("xlibmap.list", "libalpha.so\nlibstat.a\n"+p.work+"/libpath.so.1.0\nlibother.so\n"))
		p.write("alpha.c", "int alpha_var; int alpha_inner(void) { return 1; } int alpha_add(int a) { return a + alpha_inner(); } int alpha_unused(void) { return 0; }\n")
		p.write("stat.c", "int stat_inner(int); int stat_mul(int a) { return stat_inner(a); } int stat_alone(void) { return 1; }\n")
		p.write("inner.c", "int stat_inner(int a) { return 2 * a; }\n")
		p.write("unused.c", "int stat_unused(int a) { return 2 * a; }\n")
		p.write("mid.c", "int stat_alone(void); int mid(void) { return stat_alone(); }\n")
		p.write("path.c", "int path_fn(void) { return 1; }\n")
		p.write("beta.c", "int beta(void) { return 1; }\n")
		p.write("main.c", "int alpha_add(int), stat_mul(int), path_fn(void), beta(void), mid(void); extern int alpha_var;\n"+
			"int main(void) { return alpha_add(stat_mul(3)) + path_fn() + beta() + mid() + alpha_var - 10; }\n")
		for _, lib := range []string{"alpha", "beta"} {
			p.must("gcc", "-shared", "-fPIC", lib+".c", "-o", "lib"+lib+".so")
		}
		p.must("gcc", "-shared", "-fPIC", "path.c", "-Wl,-soname,libpath.so.1", "-o", "libpath.so.1.0")
		for from, to := range map[string]string{"libpath.so": "libpath.so.1.0", "libpath.so.1": "libpath.so.1.0"} {
			if err := os.Symlink(to, filepath.Join(p.work, from)); err != nil {
				t.Fatal(err)
			}
		}
		p.must("gcc", "-c", "stat.c", "inner.c", "unused.c", "mid.c", "main.c")
		p.must("ar", "rcs", "libstat.a", "stat.o", "inner.o", "unused.o")
		p.must("ar", "rcs", "libmid.a", "mid.o")
		libs := []string{"-L.", "-lmid", "-lstat", "-lalpha", "-lbeta", "-lpath", "-Wl,-rpath," + p.work, "-fuse-ld=" + ld, "-o", "out"}
		for _, mode := range [][]string{{"main.o"}, {"-s", "main.o"}, {"main.c"}} {
			p.must("gcc", p.wrapped(append(mode, libs...)...)...)
			p.must("./out")
			r, _ := p.one()
			got := xalt.DecodeNames(r.Functions)
			want := []string{"alpha_add", "path_fn", "stat_alone", "stat_mul"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %v: functions (-want +got):\n%s\n%s", ld, mode, diff, p.traced())
			}
		}
		if ld == "lld" {
			continue
		}
		// Link-time optimization hides who calls whom: all that came along counts.
		p.must("gcc", p.wrapped(append([]string{"-flto", "main.c"}, libs...)...)...)
		r, _ := p.one()
		if diff := cmp.Diff([]string{"alpha_add", "path_fn", "stat_alone", "stat_inner", "stat_mul"}, xalt.DecodeNames(r.Functions)); diff != "" {
			t.Errorf("%s with LTO: functions (-want +got):\n%s", ld, diff)
		}
		// Without a list nothing is looked for.
		p.env = append(p.env, "TEST_TRACKED=")
		p.must("gcc", p.wrapped(append([]string{"main.o"}, libs...)...)...)
		if r, _ := p.one(); string(r.Functions) != "[]" {
			t.Errorf("%s: functions without a list: %s", ld, r.Functions)
		}
	}
}

// A linker without dependency files, as GNU ld before 2.35, is asked for its map;
// it also tells archives of which nothing was taken.
func TestMapInstead(t *testing.T) {
	for _, ld := range []string{"bfd", "gold"} {
		p := newPlace(t)
		tool(t, "ld."+ld)
		p.write("a.c", hello)
		p.write("f.c", "int f(void) { return 1; }\n")
		p.must("gcc", "-c", "a.c", "f.c")
		p.must("ar", "rcs", "libunused.a", "f.o")
		options := map[string]string{"bfd": "usage", "gold": "--print-symbol-counts FILENAME"}[ld]
		p.stub("ld."+ld, `case "$*" in
*--help*) echo `+options+` ;;
*--dependency-file*) echo unknown option >&2; exit 1 ;;
*) exec /usr/bin/ld.`+ld+` "$@" ;;
esac
`)
		for _, args := range [][]string{{"a.o"}, {"-static", "a.o"}, {"a.o", "-Wl,-Map=user.map"}, {"a.o", "libunused.a"}} {
			p.must("gcc", p.wrapped(append(args, "-fuse-ld="+ld, "-o", "out")...)...)
			r, text := p.one()
			checkLibraries(t, fmt.Sprint(ld, args), filepath.Join(p.work, "out"), r.LinkA)
			if strings.Contains(text, `libunused.a","0"`) {
				t.Errorf("%s %v: libunused.a in %s", ld, args, text)
			}
		}
		p.must("gcc", p.wrapped("a.o", "-fuse-ld="+ld, "-o", "out", "-Wl,-M")...)
		p.one()
	}
}

// A script that replaces the linker's own decides over memory: the output is what
// it would be, to the byte, and recorded.
func TestScript(t *testing.T) {
	p := newPlace(t)
	p.write("a.c", "int _start(void) { return 3; }\n")
	p.write("s.ld", "ENTRY(_start) SECTIONS { . = 0x100000; .text : { *(.text*) } .rest : { *(.eh_frame) *(.note*) *(.comment) } }\n")
	p.must("gcc", "-ffreestanding", "-c", "a.c")
	for _, ld := range []string{"ld.bfd", "ld.gold", "ld.lld"} {
		for _, args := range [][]string{{"-T", "s.ld"}, {"-Ts.ld"}, {"--script=s.ld"}, {"--oformat=binary"}} {
			if ld == "ld.gold" && strings.HasPrefix(args[0], "--oformat") {
				continue // writes times of its own
			}
			args = append(args, "a.o", "-o", "kernel")
			p.must(ld, args...)
			want := sha1Of(t, filepath.Join(p.work, "kernel"))
			p.must(filepath.Join(p.bin, ld), args...)
			if r, _ := p.one(); r.HashID != want {
				t.Errorf("%s %v: %s, want %s", ld, args, r.HashID, want)
			}
		}
	}
}

// The object is of the output's machine, as the emulation or the first object says.
func TestMachines(t *testing.T) {
	p := newPlace(t)
	tool(t, "clang", "ld.lld", "ld.bfd", "aarch64-linux-gnu-ld")
	p.write("a.c", "int _start(void) { return 3; }\n")
	if err := os.Symlink("ld", filepath.Join(p.bin, "aarch64-linux-gnu-ld")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		target, emulation string
		linkers           []string
		machine           elf.Machine
		class             elf.Class
	}{
		{"x86_64-linux-gnu", "elf_x86_64", []string{"ld.bfd", "ld.gold", "ld.lld", "ld.mold"}, elf.EM_X86_64, elf.ELFCLASS64},
		{"i386-linux-gnu", "elf_i386", []string{"ld.bfd", "ld.gold", "ld.lld", "ld.mold"}, elf.EM_386, elf.ELFCLASS32},
		{"x86_64-linux-gnux32", "elf32_x86_64", []string{"ld.bfd", "ld.gold", "ld.lld"}, elf.EM_X86_64, elf.ELFCLASS32},
		{"aarch64-linux-gnu", "aarch64linux", []string{"ld.lld", "ld.mold", "aarch64-linux-gnu-ld"}, elf.EM_AARCH64, elf.ELFCLASS64},
	} {
		flags := []string{"--target=" + c.target, "-c", "a.c"}
		if c.machine == elf.EM_AARCH64 {
			flags = append(flags, "-mbranch-protection=standard")
		} else {
			flags = append(flags, "-fcf-protection=full")
		}
		p.must("clang", flags...)
		for _, ld := range c.linkers {
			for _, args := range [][]string{{"-m", c.emulation, "a.o"}, {"a.o"}} {
				if len(args) == 1 && (ld == "ld.bfd" || ld == "ld.mold") && c.emulation != "elf_x86_64" {
					continue // they go by the emulation only
				}
				p.must(ld, append(args, "-o", "plain")...)
				p.must(filepath.Join(p.bin, ld), append(args, "-o", "out")...)
				p.one()
				out := filepath.Join(p.work, "out")
				if _, err := watermark.Read(out); err != nil {
					t.Errorf("%s %v %s: %v\n%s", ld, args, c.target, err, p.traced())
				}
				f, err := elf.Open(out)
				if err != nil {
					t.Fatal(err)
				}
				f.Close()
				if f.Machine != c.machine || f.Class != c.class {
					t.Errorf("%s %s: %v %v", ld, c.target, f.Machine, f.Class)
				}
				if diff := sameBut(t, filepath.Join(p.work, "plain"), out); diff != "" {
					t.Errorf("%s %v %s: sections (-plain +wrapped):\n%s", ld, args, c.target, diff)
				}
				notes := func(name string) string {
					return p.must("readelf", "--wide", "--notes", name)
				}
				want := "IBT, SHSTK"
				if c.machine == elf.EM_AARCH64 {
					want = "BTI, PAC"
				}
				if strings.Contains(notes("plain"), want) != strings.Contains(notes("out"), want) {
					t.Errorf("%s %s: properties differ: %s", ld, c.target, notes("out"))
				}
			}
		}
	}
}
