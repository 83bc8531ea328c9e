package watermark_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/watermark"
)

func sample() watermark.Watermark {
	return watermark.Watermark{
		XALTVersion: "xalt-wrap/1.0", Host: "c123-045", Syshost: "frontera", Compiler: "gcc",
		CompilerPath: "/usr/bin/x86_64-linux-gnu-gcc-12", OS: "Linux 6.18.44", User: "alice",
		UUID: "01a1f857-6604-7e63-9098-67e4891362c2", Year: "2026", Date: "Fri Nov 20 09:44:00 2026",
		LoadedModules: "gcc/12.2:openmpi/4.1", LMFiles: "/m/gcc/12.2.lua:/m/openmpi/4.1.lua", CWD: "/work", Epoch: "1795167839.7545",
	}
}

// tool returns the path of a program, without which the test is skipped or, where
// CI says so, fails.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatalf("no %s: %v", name, err)
		}
		t.Skipf("no %s: %v", name, err)
	}
	return path
}

func run(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool(t, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func object(t testing.TB, w watermark.Watermark, target watermark.Target) string {
	t.Helper()
	text, err := watermark.Object(&w, target)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// assembly is what the sections look like to the assembler, written from the
// description of the format and not from the code under test.
func assembly(w watermark.Watermark) string {
	var b, fields strings.Builder
	for _, f := range w.Fields() {
		value := f.Value
		if f.Name == "Build_OS" || f.Name == "Build_date" {
			value = strings.ReplaceAll(value, " ", "_%_%_")
		}
		fmt.Fprintf(&fields, "\t.asciz \"<%s>%%%%%s%%%%\"\n", f.Name, value)
	}
	b.WriteString("\t.section .note.GNU-stack,\"\",@progbits\n\t.section .xalt\n\t.asciz \"XALT_Link_Info\"\n\t.zero 7\n")
	b.WriteString(fields.String())
	b.WriteString("\t.zero 7\n\t.asciz \"XALT_Link_Info_End\"\n")
	b.WriteString("\t.section .note.xalt.info,\"a\",@note\n\t.p2align 2\n\t.long 1f - 0f\n\t.long 3f - 2f\n\t.long 0x746c6158\n")
	b.WriteString("0:\t.asciz \"XALT\"\n1:\t.p2align 2\n2:\t.byte 0x02\n\t.asciz \"XALT_Link_Info\"\n")
	b.WriteString(fields.String())
	b.WriteString("\t.zero 7\n\t.asciz \"XALT_Link_Info_End\"\n3:\t.p2align 2\n")
	return b.String()
}

func sectionOf(t testing.TB, path, name string) *elf.Section {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Section(name)
	if s == nil {
		t.Errorf("%s: no section %s", path, name)
		return nil
	}
	return s
}

func bytesOf(t testing.TB, path, name string) []byte {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := f.Section(name)
	if s == nil {
		t.Errorf("%s: no section %s", path, name)
		return nil
	}
	data, err := s.Data()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The sections are those that the assembler makes of the same text, for values of
// any length: the note's padding differs with it.
func TestObjectAgainstAssembler(t *testing.T) {
	dir := t.TempDir()
	for extra := range 5 {
		w := sample()
		w.LMFiles += strings.Repeat("x", extra)
		run(t, dir, "as", "-o", "want.o", write(t, dir, "w.s", assembly(w)))
		got := write(t, dir, "got.o", object(t, w, watermark.AMD64))
		want := filepath.Join(dir, "want.o")
		for _, name := range []string{".xalt", ".note.xalt.info"} {
			if diff := cmp.Diff(bytesOf(t, want, name), bytesOf(t, got, name)); diff != "" {
				t.Errorf("%d: section %s (-assembler +ours):\n%s", extra, name, diff)
			}
			g, w := sectionOf(t, got, name), sectionOf(t, want, name)
			if g.Type != w.Type || g.Flags != w.Flags || g.Addralign != w.Addralign {
				t.Errorf("section %s = %v, want %v", name, g.SectionHeader, w.SectionHeader)
			}
		}
	}
}

func TestReadelf(t *testing.T) {
	dir := t.TempDir()
	for name, target := range map[string]watermark.Target{
		"X86-64": watermark.AMD64, "AArch64": watermark.ARM64, "80386": watermark.I386, "ELF32": watermark.X32,
	} {
		path := write(t, dir, "x.o", object(t, sample(), target))
		out := run(t, dir, "readelf", "--wide", "--all", "--notes", path)
		for _, want := range []string{name, "REL (Relocatable file)", ".note.GNU-stack", "0x746c6158", ".note.gnu.property", "XALT"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: readelf does not say %q:\n%s", name, want, out)
			}
		}
		for _, bad := range []string{"arning", "rror", "corrupt", "unknown type"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: readelf complains:\n%s", name, out)
			}
		}
	}
	if _, err := watermark.Object(new(watermark.Watermark), watermark.Target{Machine: elf.EM_PPC64, Class: elf.ELFCLASS64}); !errors.Is(err, watermark.ErrTarget) {
		t.Errorf("Object for PowerPC = %v, want ErrTarget", err)
	}
}

// What every linker makes of the object can be read, stripped or not.
func TestReadAfterLink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "main.c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n")
	write(t, dir, "lib.c", "int answer(void) { return 42; }\n")
	want := sample()
	write(t, dir, "mark.o", object(t, want, watermark.AMD64))
	for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
		for _, mode := range [][]string{
			{"main.c"},
			{"-static", "main.c"},
			{"-no-pie", "main.c"},
			{"-shared", "-fPIC", "lib.c"},
			{"-s", "main.c"},
			{"-Wl,--gc-sections", "-ffunction-sections", "main.c"},
			{"-flto", "main.c"},
		} {
			name := ld + " " + strings.Join(mode, " ")
			compiler := "gcc"
			if ld == "lld" {
				compiler = "clang" // whose plugin lld has built in
			}
			tool(t, "ld."+ld)
			out := filepath.Join(dir, "out")
			run(t, dir, compiler, append([]string{"-fuse-ld=" + ld, "-o", out, "mark.o"}, mode...)...)
			check := func(what, path string) {
				t.Helper()
				got, err := watermark.Read(path)
				if err != nil {
					t.Errorf("%s, %s: %v", name, what, err)
				} else if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, %s: (-want +got)\n%s", name, what, diff)
				}
				if bytesOf(t, path, ".xalt") == nil {
					t.Errorf("%s %s", name, what)
				}
				bytesOf(t, path, ".note.xalt.info")
				if stack := run(t, dir, "readelf", "-lW", path); strings.Contains(stack, "RWE") {
					t.Errorf("%s, %s: the stack is executable", name, what)
				}
			}
			check("linked", out)
			if strings.Contains(name, "main.c") {
				if got := run(t, dir, out); got != "hello\n" {
					t.Errorf("%s prints %q", name, got)
				}
			}
			run(t, dir, "objcopy", out, out+".copied")
			check("copied", out+".copied")
			run(t, dir, "objcopy", "--only-keep-debug", out, out+".debug") // leaves no contents of loaded sections
			if got, err := watermark.Read(out + ".debug"); err == nil && got != want {
				t.Errorf("%s, only debug: %v", name, got)
			}
			run(t, dir, "strip", "--strip-all", out)
			check("stripped", out)
			// Without the section table only the program headers are left.
			text, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			clear(text[40:48]) // e_shoff
			clear(text[58:64]) // e_shentsize, e_shnum, e_shstrndx
			if got, err := watermark.Read(write(t, dir, "sstripped", string(text))); err != nil || got != want {
				t.Errorf("%s without section table: %v, %v", name, got, err)
			}
			// Without the note the other section is left.
			run(t, dir, "objcopy", "--remove-section=.note.xalt.info", out)
			if got, err := watermark.Read(out); err != nil || got != want {
				t.Errorf("%s without note: %v, %v", name, got, err)
			}
		}
	}
}

func TestReadOther(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		path string
		want error
	}{
		{"no ELF", write(t, dir, "text", strings.Repeat("hello\n", 100)), watermark.ErrFormat},
		{"empty", write(t, dir, "empty", ""), watermark.ErrFormat},
		{"directory", dir, watermark.ErrFormat},
		{"device", "/dev/zero", watermark.ErrFormat},
		{"none there", filepath.Join(dir, "absent"), os.ErrNotExist},
		{"no mark", "/proc/self/exe", watermark.ErrNone},
	} {
		if _, err := watermark.Read(c.path); !errors.Is(err, c.want) {
			t.Errorf("%s: Read(%q) = %v, want %v", c.name, c.path, err, c.want)
		}
	}
}

// Of several marks the newest counts, wherever it stands.
func TestSeveral(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "main.c", "int main(void) { return 0; }\n")
	older, newer := sample(), sample()
	older.Epoch, older.User = "999999999.0000", "bob" // less, but not as text
	write(t, dir, "older.o", object(t, older, watermark.AMD64))
	write(t, dir, "newer.o", object(t, newer, watermark.AMD64))
	for _, order := range [][]string{{"older.o", "newer.o"}, {"newer.o", "older.o"}} {
		run(t, dir, "gcc", append(order, "main.c", "-o", "out")...)
		for _, without := range []string{".none", ".note.xalt.info"} {
			run(t, dir, "objcopy", "--remove-section="+without, "out", "copy")
			if got, err := watermark.Read(filepath.Join(dir, "copy")); err != nil || got != newer {
				t.Errorf("%v without %s: %v, %v, want %v", order, without, got, err, newer)
			}
		}
	}
}

// XALT wrote Build.UUID in older versions, escapes nothing, and cuts values nowhere.
func TestXALT(t *testing.T) {
	dir := t.TempDir()
	text := "\t.section .xalt\n\t.asciz \"XALT_Link_Info\"\n\t.zero 7\n\t.asciz \"<XALT_Version>%%2.7%%\"\n\t.asciz \"<Build.UUID>%%u-1%%\"\n" +
		"\t.asciz \"<Build.OS>%%Linux_%_%_3.10%%\"\n\t.asciz \"<Build_CWD>%%/a%25b%%\"\n\t.asciz \"<Build_Else>%%x%%\"\n\t.zero 7\n\t.asciz \"XALT_Link_Info_End\"\n"
	run(t, dir, "as", "-o", "x.o", write(t, dir, "x.s", text))
	got, err := watermark.Read(filepath.Join(dir, "x.o"))
	want := watermark.Watermark{XALTVersion: "2.7", UUID: "u-1", OS: "Linux 3.10", CWD: "/a%25b"}
	if err != nil || got != want {
		t.Errorf("Read = %+v, %v, want %+v", got, err, want)
	}
}

// The object takes no protection away and adds none: the properties of a program
// are the same with it as without.
func TestProperties(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.c", "int f(void); int _start(void) { return f(); }\n")
	write(t, dir, "b.c", "int f(void) { return 0; }\n")
	write(t, dir, "mark.o", object(t, sample(), watermark.AMD64))
	for _, ld := range []string{"bfd", "gold", "lld", "mold"} {
		tool(t, "ld."+ld)
		for _, flags := range [][2]string{
			{"-fcf-protection=full", "-fcf-protection=full"},
			{"-fcf-protection=branch", "-fcf-protection=full"},
			{"-fcf-protection=none", "-fcf-protection=full"},
			{"-fcf-protection=none", "-fcf-protection=none"},
		} {
			for _, note := range []string{"no", "yes"} {
				run(t, dir, "gcc", flags[0], "-Wa,-mx86-used-note="+note, "-c", "a.c")
				run(t, dir, "gcc", flags[1], "-Wa,-mx86-used-note="+note, "-c", "b.c")
				run(t, dir, "ld."+ld, "-o", "without", "a.o", "b.o")
				for _, order := range [][]string{{"mark.o", "a.o", "b.o"}, {"a.o", "b.o", "mark.o"}} {
					run(t, dir, "ld."+ld, append(order, "-o", "with")...)
					want := properties(run(t, dir, "readelf", "--wide", "--notes", "without"))
					got := properties(run(t, dir, "readelf", "--wide", "--notes", "with"))
					if want != got {
						t.Errorf("%s %v %s %v: properties %q, without the mark %q", ld, flags, note, order, got, want)
					}
				}
			}
		}
	}
}

func properties(out string) string {
	_, after, found := strings.Cut(out, "Properties: ")
	if !found {
		return ""
	}
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(line)
}

func TestValues(t *testing.T) {
	dir := t.TempDir()
	for i, value := range []string{
		"", "%", "%%", "%%%", "a%%b", "ends%", "%25", "%00", "nul\x00s\x00", "line\nline\r\n", "\"quotes'\\", "d\xefr", "dïr",
		"50%", "50%/a", "a%b_%c", "_%_%_", "_%_ %_%", "_% ", " %_", "%2", "2%5%0", "x%2\x005", "_%_%", "%_%_", "<Build_UUID>%%x%%", "XALT_Link_Info", "XALT_Link_Info_End", "%25%2525", strings.Repeat("m/1:", 40_000),
	} {
		w := sample()
		w.CWD, w.OS, w.XALTVersion = value, value, "xalt-wrap/"+value
		got, err := watermark.Read(write(t, dir, fmt.Sprint(i), object(t, w, watermark.AMD64)))
		if err != nil || got != w {
			t.Errorf("Read of %.40q = %.200v, %v", value, got, err)
		}
	}
}

// A value cannot be told from the end of the value by XALT's own reader, which
// cuts the whole section at "%%".
func TestNoDelimiterInValues(t *testing.T) {
	w := sample()
	w.CWD = "/a%%b%"
	pieces := strings.Split(object(t, w, watermark.AMD64), "%%")
	if got, want := (len(pieces)-1)/2, 2*len(w.Fields()); got != want {
		t.Errorf("%d pairs of %%%%, want %d", got, want)
	}
}

// TestPercent wants a "%" to stand as it is where XALT's readers, which undo no
// escapes, then read the value, and only there.
func TestPercent(t *testing.T) {
	for value, want := range map[string]string{
		"/w/50%/x": "/w/50%/x", "/w/%s": "/w/%s", "/w/50%": "/w/50%25", "/w/%%": "/w/%25%25", "a%25b%": "a%2525b%25", "_%_%_": "_%25_%25_",
	} {
		w := sample()
		w.CWD = value
		if text := object(t, w, watermark.AMD64); strings.Count(text, "<Build_CWD>%%"+want+"%%\x00") != 2 {
			t.Errorf("%q does not stand there twice as %q", value, want)
		}
	}
}

// TestSizeOfNote wants none of the sizes that xalt_extract_record takes for a
// field, whatever the length of the values.
func TestSizeOfNote(t *testing.T) {
	dir := t.TempDir()
	longer := 0
	for n := range 600 {
		w := sample()
		w.LMFiles = strings.Repeat("m", n)
		if n >= 300 { // a size whose second byte is a "<"
			w.LMFiles = strings.Repeat("m", 15_000+n)
		}
		text := object(t, w, watermark.AMD64)
		i := strings.Index(text, "\x05\x00\x00\x00")
		size := text[i+4 : i+8]
		if strings.Contains(size, "<") {
			t.Errorf("%d: the size of the note is %q", n, size)
		}
		if strings.Contains(text, strings.Repeat("\x00", 9)+"XALT_Link_Info_End") {
			longer++
		}
		got, err := watermark.Read(write(t, dir, "object", text))
		if err != nil || got != w {
			t.Errorf("%d: Read = %v, %v", n, got, err)
		}
	}
	if longer == 0 {
		t.Error("no note is longer for it")
	}
}

func FuzzValues(f *testing.F) {
	f.Add("/work", "Linux 6.1", "1795167839.7545")
	f.Add("a%%b%", "\x00", "nan")
	f.Fuzz(func(t *testing.T, cwd, system, epoch string) {
		w := sample()
		w.CWD, w.OS, w.Epoch = cwd, system, epoch
		for _, target := range []watermark.Target{watermark.AMD64, watermark.I386} {
			text, err := watermark.Object(&w, target)
			if err != nil {
				t.Fatal(err)
			}
			got, err := watermark.ReadFrom(bytes.NewReader(text))
			if len(cwd)+len(system)+len(epoch) < 1<<18 && (err != nil || got != w) {
				t.Errorf("ReadFrom(Object(%+v)) = %+v, %v", w, got, err)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	for _, target := range []watermark.Target{watermark.AMD64, watermark.I386, watermark.ARM64} {
		w := sample()
		text, err := watermark.Object(&w, target)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		huge := bytes.Clone(text)
		if target.Class == elf.ELFCLASS64 {
			binary.LittleEndian.PutUint64(huge[40:], 1<<63)
			binary.LittleEndian.PutUint16(huge[60:], 0)
		} else {
			binary.LittleEndian.PutUint16(huge[48:], 0xffff)
		}
		f.Add(huge)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := watermark.ReadFrom(bytes.NewReader(text))
		if err != nil {
			return
		}
		// What can be read can be written and read again, if XALT's reading rules
		// for other versions do not come between.
		if strings.HasPrefix(w.XALTVersion, "xalt-wrap/") && !strings.Contains(fmt.Sprint(w), "_%_%_") {
			again, err := watermark.ReadFrom(strings.NewReader(object(t, w, watermark.AMD64)))
			if err != nil || again != w {
				t.Errorf("%+v is read again as %+v, %v", w, again, err)
			}
		}
	})
}
