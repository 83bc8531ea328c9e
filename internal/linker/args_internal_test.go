package linker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	rsp := filepath.Join(dir, "r.rsp")
	if err := os.WriteFile(rsp, []byte("-r 'x y.o'\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(dir, "deep.rsp")
	if err := os.WriteFile(deep, []byte("@"+deep), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		want   invocation
		plain  bool
		failed bool
	}{
		{args: "", want: invocation{output: "a.out"}, plain: true},
		{args: "a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-o x a.o", want: invocation{output: "x", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-ox a.o", want: invocation{output: "x", inputs: []string{"a.o"}, atEnd: true}},
		{args: "--output=x a.o", want: invocation{output: "x", inputs: []string{"a.o"}, atEnd: true}},
		{args: "--output x a.o", want: invocation{output: "x", inputs: []string{"a.o"}, atEnd: true}},
		{args: "a.o -o x", want: invocation{output: "x", inputs: []string{"a.o"}}},
		{args: "a.o -o", want: invocation{output: "a.out", inputs: []string{"a.o"}}},
		{args: "-omagic a.o", want: invocation{output: "magic", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, relocatable: true, atEnd: true}, plain: true},
		{args: "-relocatable a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, relocatable: true, atEnd: true}, plain: true},
		{args: "-Ur a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, relocatable: true, atEnd: true}, plain: true},
		{args: "-rpath r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-rpath=r -rpath-link r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-soname -r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-h -r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-e --version a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "a.o --version", want: invocation{output: "a.out", inputs: []string{"a.o"}, informative: true}, plain: true},
		{args: "a.o -help", want: invocation{output: "a.out", inputs: []string{"a.o"}, informative: true}, plain: true},
		{args: "-v", want: invocation{output: "a.out", printing: true}, plain: true},
		{args: "-v a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, printing: true, atEnd: true}},
		{args: "-m elf_i386 a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, emulation: "elf_i386", atEnd: true}},
		{args: "-melf_i386 a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, emulation: "elf_i386", atEnd: true}},
		{args: "-mllvm -r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-lfoo -Lx -L x -l foo", want: invocation{output: "a.out", libraries: 2}},
		{args: "-T s a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, layout: true, atEnd: true}},
		{args: "-Ts.ld a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, layout: true, atEnd: true}},
		{args: "-Ttext 0 -Ttext=0 -Tdata=1 a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, layout: true, atEnd: true}},
		{args: "-N a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, layout: true, atEnd: true}},
		{args: "-dT s a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "--oformat binary a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, format: "binary", atEnd: true}},
		{args: "-b binary blob", want: invocation{output: "a.out", inputs: []string{"blob"}}},
		{args: "-b binary blob -b default a.o", want: invocation{output: "a.out", inputs: []string{"blob", "a.o"}, atEnd: true}},
		{args: "--format=elf64-x86-64 a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "--start-lib a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}}},
		{args: "--start-lib a.o --end-lib b.o", want: invocation{output: "a.out", inputs: []string{"a.o", "b.o"}, atEnd: true}},
		{args: "-Map=x a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, mapped: "x", atEnd: true}},
		{args: "-Map x a.o -M", want: invocation{output: "a.out", inputs: []string{"a.o"}, mapped: "-"}},
		{args: "--dependency-file x a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, dependency: "x", atEnd: true}},
		{args: "-plugin p.so -plugin-opt=-fresolution=x -plugin-opt -r a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-z now -znow -O1 -Bstatic --build-id --eh-frame-hdr --hash-style=gnu -export-dynamic -pie a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, atEnd: true}},
		{args: "-T /dev/stdin a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, layout: true, special: true, atEnd: true}, plain: true},
		{args: "-Map=/dev/stdout a.o", want: invocation{output: "a.out", inputs: []string{"a.o"}, mapped: "/dev/stdout", special: true, atEnd: true}, plain: true},
		{args: "- a.o", want: invocation{output: "a.out", inputs: []string{"-", "a.o"}, special: true, atEnd: true}, plain: true},
		{args: "a.o -o /dev/null", want: invocation{output: "/dev/null", inputs: []string{"a.o"}}, plain: true},
		{args: "a.o -o d/conftest", want: invocation{output: "d/conftest", inputs: []string{"a.o"}}, plain: true},
		{args: "a.o -o cmTC_12345", want: invocation{output: "cmTC_12345", inputs: []string{"a.o"}}, plain: true},
		{args: "a.o -o cmTryCompileExec17", want: invocation{output: "cmTryCompileExec17", inputs: []string{"a.o"}}, plain: true},
		{args: "a.o -o myconftest", want: invocation{output: "myconftest", inputs: []string{"a.o"}}},
		{args: "@" + rsp, want: invocation{output: "a.out", inputs: []string{"x y.o"}, relocatable: true}, plain: true},
		{args: "@" + rsp + " b.o", want: invocation{output: "a.out", inputs: []string{"x y.o", "b.o"}, relocatable: true, atEnd: true}, plain: true},
		{args: "b.o @" + rsp, want: invocation{output: "a.out", inputs: []string{"b.o", "x y.o"}, relocatable: true}, plain: true},
		{args: "@absent", want: invocation{output: "a.out", inputs: []string{"@absent"}}},
		{args: "@" + deep, failed: true},
		{args: "@/proc/self/fd/0", failed: true},
	} {
		args := strings.Fields(c.args)
		before := slices.Clone(args)
		got, _, ok := parse(args)
		if ok == c.failed {
			t.Errorf("parse(%q): ok = %v", c.args, ok)
			continue
		}
		if !slices.Equal(args, before) {
			t.Errorf("parse(%q) changed its argument to %q", before, args)
		}
		if c.failed {
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(invocation{})); diff != "" {
			t.Errorf("parse(%q) (-want +got):\n%s", c.args, diff)
		}
		if plain := got.plain() != ""; plain != c.plain {
			t.Errorf("parse(%q).plain() = %q", c.args, got.plain())
		}
	}
}

func TestSplit(t *testing.T) {
	for in, want := range map[string][]string{
		"":                        nil,
		" a  b\nc\t":              {"a", "b", "c"},
		"'a b' \"c d\" e\\ f":     {"a b", "c d", "e f"},
		"'a\\b' \"a\\\"b\"":       {"a\\b", "a\"b"},
		"'' x":                    {"", "x"},
		"a'b'c":                   {"abc"},
		"'open":                   {"open"},
		"trailing\\":              {"trailing\\"},
		"\"new\nline\" \xff\x00b": {"new\nline", "\xff\x00b"},
	} {
		if got := split([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("split(%q) = %q, want %q", in, got, want)
		}
	}
}

// quote writes a word so that split gives it back.
func quote(word string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(word) {
		if word[i] == '"' || word[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(word[i])
	}
	b.WriteByte('"')
	return b.String()
}

// The same words mean the same in a response file, and every word that follows
// "--" options that are unknown is an input or an option, never lost.
func FuzzParse(f *testing.F) {
	f.Add("-o\x00out\x00a.o\x00-lc")
	f.Add("-r\x00@x\x00--output=")
	f.Add("-Ttext\x00-b\x00binary\x00-Map\x00")
	f.Add("-\x00--\x00-o")
	f.Fuzz(func(t *testing.T, joined string) {
		args := strings.Split(joined, "\x00")
		args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, "@") })
		got, words, ok := parse(args)
		if !ok {
			t.Fatalf("parse(%q) fails without response files", args)
		}
		quoted := make([]string, len(args))
		for i, a := range args {
			quoted[i] = quote(a)
		}
		path := filepath.Join(t.TempDir(), "rsp")
		if err := os.WriteFile(path, []byte(strings.Join(quoted, "\n")), 0o666); err != nil {
			t.Fatal(err)
		}
		again, wordsAgain, ok := parse([]string{"@" + path})
		got.atEnd = false // a response file is not added to
		if !ok || !cmp.Equal(got, again, cmp.AllowUnexported(invocation{})) {
			t.Errorf("parse(%q) = %+v, in a file %+v, %v", args, got, again, ok)
		}
		if !slices.Equal(words, wordsAgain) {
			t.Errorf("parse(%q): words %v, in a file %v", args, words, wordsAgain)
		}
		if n := len(got.inputs); n > len(args) {
			t.Errorf("parse(%q) has %d inputs", args, n)
		}
	})
}

func FuzzDynamic(f *testing.F) {
	for _, path := range []string{"/proc/self/exe", "/lib64/ld-linux-x86-64.so.2"} {
		if text, err := os.ReadFile(path); err == nil {
			f.Add(text[:min(len(text), 8192)])
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := dynamicOf(strings.NewReader(string(text)))
		if err == nil && len(d.needed)*8 > len(text) {
			t.Errorf("%d names from %d bytes", len(d.needed), len(text))
		}
	})
}

func TestToolName(t *testing.T) {
	for in, want := range map[string]string{
		"/usr/bin/x86_64-linux-gnu-gcc-12": "gcc", "gcc": "gcc", "g++-12.2": "g++", "clang-14": "clang", "clang++-14": "clang++",
		"/opt/x/aarch64-unknown-linux-gnu-gfortran-13": "gfortran", "flang-new": "flang-new", "flang-new-18": "flang-new", "nvc++": "nvc++",
		"icx": "icx", "make": "make", "my-tool": "my-tool", "ld.bfd": "ld.bfd", "ibm-clang": "ibm-clang", "cc": "cc", "": "", "-": "-", "gcc-": "gcc-",
	} {
		if got := toolName(in); got != want {
			t.Errorf("toolName(%q) = %q, want %q", in, got, want)
		}
	}
}

// Processes are found in what looks like /proc.
func TestFindCompiler(t *testing.T) {
	proc := t.TempDir()
	process := func(pid, parent, exe, cmdline string) {
		dir := filepath.Join(proc, pid)
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"cmdline": cmdline, "stat": pid + " (odd ) name (x) S " + parent + " 1 1"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		os.Remove(filepath.Join(dir, "exe"))
		if err := os.Symlink(exe, filepath.Join(dir, "exe")); err != nil {
			t.Fatal(err)
		}
	}
	process("10", "9", "/usr/lib/gcc/collect2", "/usr/lib/gcc/collect2\x00-o\x00x\x00")
	process("9", "8", "/usr/bin/x86_64-linux-gnu-gcc-12", "gcc\x00-o\x00a b\x00\x00x.c\x00")
	process("8", "7", "/usr/bin/opal_wrapper", "mpicc\x00x.c\x00")
	process("20", "21", "/usr/bin/dash", "sh\x00-c\x00ld x.o\x00")
	process("21", "22", "/usr/bin/make", "make\x00")
	process("22", "1", "/usr/bin/gcc", "gcc\x00")
	process("30", "31", "/opt/special/newlang", "newlang\x00x.n\x00")
	process("31", "1", "/usr/bin/bash", "bash\x00")
	process("40", "40", "/usr/bin/dash", "sh\x00") // its own parent
	for pid, want := range map[int][]string{
		10: {"gcc", "-o", "a b", "", "x.c"}, 20: nil, 30: {"newlang", "x.n"}, 40: nil, 50: nil,
	} {
		p := findCompiler(proc, pid)
		var got []string
		if p != nil {
			got = p.args
		}
		if !slices.Equal(got, want) {
			t.Errorf("findCompiler(%d) = %q, want %q", pid, got, want)
		}
	}
}

func TestTraces(t *testing.T) {
	if err := os.Chdir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d$x#y", `d\ir`} {
		if err := os.WriteFile(name, nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		read func([]byte) []string
		text string
		want []string
	}{
		{dependencies, "out: \\\n  a.o \\\n  b c.so \\\n  a.o\n\na.o:\n\nb c.so:\n\na.o:\n", []string{"a.o", "b c.so"}},
		{dependencies, "out: \\\n a.o \\\n d$$x\\#y\n\na.o:\n\nd$$x\\#y:\n", []string{"a.o", "d$x#y"}},
		{dependencies, "out: a.o d\\ir new\nline.so\n\na.o:\n\nd\\ir:\n\nnew\nline.so:\n", []string{"a.o", "d\\ir", "new\nline.so"}},
		{dependencies, "", nil},
		{dependencies, "out:\n", nil},
		{
			mapped, "Archive member included to satisfy reference by file (symbol)\n\n/l/libf.a(f.o)                   a.o (f)\n/l/b c.a(g.o)\n   x\n\nLOAD a.o\nLOAD /l/libf.a\nLOAD /l/b c.a\nLOAD /l/libu.a\nLOAD /l/libc.so.6\nLOAD /l/libf.a\n",
			[]string{"a.o", "/l/libf.a", "/l/b c.a", "/l/libc.so.6"},
		},
		{mapped, "", nil},
		{
			counted, "symbols a b.o 1 1\nsymbols /l/c.so.6 3025 2986\narchive ./libu.a 1 0\narchive ./libf.a 10 1\nsymbols ./libf.a(f.o) 1 1\nodd\n",
			[]string{"a b.o", "/l/c.so.6", "./libf.a"},
		},
	} {
		if got := c.read([]byte(c.text)); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// The cache is used only if nobody else could have written it.
func TestCache(t *testing.T) {
	dir := t.TempDir()
	private := filepath.Join(dir, "private")
	for _, c := range []struct {
		what string
		make func(path string) error
		want bool
	}{
		{"not there", func(string) error { return nil }, true},
		{"ours", func(path string) error { return os.Mkdir(path, 0o700) }, true},
		{"open to others", func(path string) error {
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			return os.Chmod(path, 0o770)
		}, false},
		{"a link", func(path string) error {
			if err := os.Mkdir(private, 0o700); err != nil {
				return err
			}
			return os.Symlink(private, path)
		}, false},
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, false},
	} {
		path := filepath.Join(dir, c.what)
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		cfg := Config{CacheDir: path}
		key := []string{"a", "b"}
		cfg.remember(key, "value\nof two lines")
		got, ok := cfg.cached(key)
		if ok != c.want || ok && got != "value\nof two lines" {
			t.Errorf("%s: cached = %q, %v, want %v", c.what, got, ok, c.want)
		}
		if _, ok := cfg.cached([]string{"ab"}); ok {
			t.Errorf("%s: another question has the same answer", c.what)
		}
	}
	// A file that was cut is none.
	cfg := Config{CacheDir: filepath.Join(dir, "ours")}
	if err := os.WriteFile(filepath.Join(dir, "ours", cacheName([]string{"cut"})), []byte("val"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, ok := cfg.cached([]string{"cut"}); ok {
		t.Errorf("half an answer counts: %q", got)
	}
}

// The real linker's way to our files works for both kinds of them.
func TestNamelessFiles(t *testing.T) {
	dir := t.TempDir()
	memory, err := memoryFile(filepath.Join(dir, "absent"))
	if err != nil {
		t.Fatal(err)
	}
	nameless, err := namelessFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{memory, nameless} {
		defer f.Close()
		if _, err := f.WriteString("object"); err != nil {
			t.Fatal(err)
		}
		path, err := inherit(f)
		if err != nil {
			t.Fatal(err)
		}
		out, err := answer("/bin/cat", []string{"cat", path}, nil)
		if err != nil || string(out) != "object" {
			t.Errorf("a child reads %q, %v from %s", out, err, path)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := namelessFile(filepath.Join(dir, "absent")); err == nil {
		t.Error("a file in a directory that is not there")
	}
}

// Without /proc we know ourselves by the name that we were called by.
func TestCalledAs(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, name := range []string{filepath.Join(a, "dir"), filepath.Join(b, "ld")} {
		if err := os.WriteFile(name, nil, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(a, "ld"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"ld": filepath.Join(b, "ld"), "./x/ld": "./x/ld", "absent": ""} {
		if got := calledAs(name, a+":"+b); got != want {
			t.Errorf("calledAs(%q) = %q, want %q", name, got, want)
		}
	}
}
