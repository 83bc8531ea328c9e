package linker_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/linker"
	"xaltpipe/internal/xalt"
)

// The test binary is the linker when it is called by another name than its own:
// through links in a directory that the compiler looks into first.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); strings.HasPrefix(name, "ld") || strings.HasSuffix(name, "-ld") {
		os.Exit(asLinker())
	}
	os.Exit(m.Run())
}

// recorder writes each record to a file of its own.
type recorder struct{ dir string }

func (r recorder) Send(kind xalt.Kind, key string, text []byte) {
	if os.Getenv("TEST_SEND_PANICS") != "" {
		panic("sender")
	}
	if _, err := xalt.Split(kind, "testhost", key, text, 512); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, key), text, 0o666); err != nil {
		panic(err)
	}
}

func asLinker() int {
	n := 0
	cfg := linker.Config{
		Version: "test", Syshost: "testhost", Env: os.Environ(), CacheDir: os.Getenv("TEST_CACHE"), TrackedFile: os.Getenv("TEST_TRACKED"),
		NewUUID: func() string {
			n++
			return fmt.Sprintf("0196%04x-%04x-7000-8000-%012x", os.Getpid()>>16&0xffff, os.Getpid()&0xffff, time.Now().UnixNano()&0xffffffffffff)
		},
		Reproducible: map[string]linker.Reproducible{"": linker.Derive, "omit": linker.Omit, "ignore": linker.Ignore}[os.Getenv("TEST_REPRODUCIBLE")],
	}
	if os.Getenv("TEST_PANIC") == "early" {
		cfg.NewUUID = func() string { panic("no UUID") }
	}
	if path := os.Getenv("TEST_TRACE"); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
		if err != nil {
			panic(err)
		}
		cfg.Trace = f
	}
	return linker.Run(cfg, os.Args, os.Stdin, os.Stdout, os.Stderr, recorder{os.Getenv("TEST_RECORDS")})
}

// linkers are the names under which compilers call linkers.
var linkers = []string{"ld", "ld.bfd", "ld.gold", "ld.lld", "ld.mold"}

// bench is a place to build in: a directory with the wrapper's links, one for
// records, one to work in.
type place struct {
	t                         testing.TB
	bin, records, work, trace string
	env                       []string
}

func newPlace(t testing.TB) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{t: t, bin: filepath.Join(dir, "bin"), records: filepath.Join(dir, "records"), work: filepath.Join(dir, "work"), trace: filepath.Join(dir, "trace")}
	for _, d := range []string{p.bin, p.records, p.work} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range linkers {
		if err := os.Symlink(self, filepath.Join(p.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SOURCE_DATE_EPOCH=") && !strings.HasPrefix(e, "COMPILER_PATH=") && !strings.HasPrefix(e, "MAKEFLAGS=") {
			p.env = append(p.env, e)
		}
	}
	p.env = append(p.env, "TEST_RECORDS="+p.records, "TEST_CACHE="+filepath.Join(dir, "cache"), "TEST_TRACE="+p.trace, "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0")
	return p
}

// tool skips the test without a program, or fails it where CI says so.
func tool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("REQUIRE_TOOLS") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}

func (p *place) write(name, text string) string {
	p.t.Helper()
	path := filepath.Join(p.work, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// outcome is what can be seen of a command.
type outcome struct {
	stdout, stderr, state string
}

func (p *place) command(name string, args ...string) *exec.Cmd {
	p.t.Helper()
	if !strings.Contains(name, "/") { // what was built here is not a tool
		tool(p.t, name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = p.work, p.env
	return cmd
}

func see(cmd *exec.Cmd) outcome {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	state := "not started: " + fmt.Sprint(err)
	if cmd.ProcessState != nil {
		state = cmd.ProcessState.String()
	}
	return outcome{stdout.String(), stderr.String(), state}
}

// must runs a command that succeeds.
func (p *place) must(name string, args ...string) string {
	p.t.Helper()
	got := see(p.command(name, args...))
	if got.state != "exit status 0" {
		trace := p.traced()
		p.t.Fatalf("%s %q: %s\n%s%s\ntrace:\n%s", name, args, got.state, got.stdout, got.stderr, trace)
	}
	return got.stdout
}

// wrapped makes a compiler look for its linker in our directory first.
func (p *place) wrapped(args ...string) []string {
	return append([]string{"-B" + p.bin + "/"}, args...)
}

// taken returns the records sent since the last call.
func (p *place) taken() (all []xalt.Record, texts []string) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.records, "*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			p.t.Fatal(err)
		}
		r, err := xalt.Decode(xalt.KindLink, text)
		if err != nil {
			p.t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if len(r.Defaulted) > 0 {
			p.t.Errorf("%s: fields missing: %v\n%s", name, r.Defaulted, text)
		}
		all, texts = append(all, r), append(texts, string(text))
		if err := os.Remove(name); err != nil {
			p.t.Fatal(err)
		}
	}
	return all, texts
}

// one returns the only record.
func (p *place) one() (xalt.Link, string) {
	p.t.Helper()
	all, texts := p.taken()
	if len(all) != 1 {
		trace := p.traced()
		p.t.Fatalf("%d records, want 1: %s\ntrace:\n%s", len(all), texts, trace)
	}
	return *all[0].Link, texts[0]
}

func (p *place) none(what string) {
	p.t.Helper()
	if _, texts := p.taken(); len(texts) > 0 {
		p.t.Errorf("%s: recorded: %s", what, texts)
	}
}

// traced returns the end of what the wrapper said of itself.
func (p *place) traced() string {
	text, err := os.ReadFile(p.trace)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}
