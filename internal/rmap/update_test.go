package rmap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/rmap"
)

var now = time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)

// text makes a source of a text.
func text(label string, data []byte) rmap.Source {
	return rmap.Source{Label: label, File: label, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

func update(t testing.TB, dir string, sources ...rmap.Source) *rmap.Report {
	t.Helper()
	u := &rmap.Update{Dir: dir, Sources: sources, MaxShrink: 10, Now: now, Wait: time.Minute}
	rep, err := u.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// TestGuards runs the guards over the fixtures made for them.
func TestGuards(t *testing.T) {
	main := fixture(t, "flat/in/main.jsonReverseMapT.json")
	for _, c := range []struct {
		name, file, label string
		refused           bool
		fallback          string
		err               string
	}{
		{"yesterday", "flat/derived/yesterday.jsonReverseMapT.json", "main", false, "", ""},
		{"truncated", "flat/derived/truncated.jsonReverseMapT.json", "main", false, "ends in the middle", ""},
		{"truncated, as another input", "flat/derived/truncated.jsonReverseMapT.json", "other", false, "", "ends in the middle"},
		{"a third of the entries", "flat/derived/truncated_valid.jsonReverseMapT.json", "main", false, "are gone", ""},
		{"a third of the entries, as another input", "flat/derived/truncated_valid.jsonReverseMapT.json", "other", true, "", ""},
		{"MODULEPATH missing", "flat/in/short_one_modulepath_missing.jsonReverseMapT.json", "main", false, "are gone", ""},
		{"MODULEPATH missing, as another input", "flat/in/short_one_modulepath_missing.jsonReverseMapT.json", "other", true, "", ""},
		{"rerun", "flat/in/rerun1.jsonReverseMapT.json", "main", false, "", ""},
		{"empty", "nasty/in/empty.jsonReverseMapT.json", "main", false, "no module in it", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			update(t, dir, text("main", main))
			before, err := os.ReadFile(filepath.Join(dir, rmap.XALTFile))
			if err != nil {
				t.Fatal(err)
			}
			u := &rmap.Update{Dir: dir, Sources: []rmap.Source{text(c.label, fixture(t, c.file))}, MaxShrink: 10, Now: now.Add(time.Hour)}
			rep, err := u.Run(t.Context())
			after, rerr := os.ReadFile(filepath.Join(dir, rmap.XALTFile))
			if rerr != nil {
				t.Fatal(rerr)
			}
			if c.err != "" {
				if !errors.Is(err, rmap.ErrNoInput) || !strings.Contains(err.Error(), c.err) || !bytes.Equal(before, after) {
					t.Errorf("Run = %v, want %q and the old map", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (rep.Refused != "") != c.refused {
				t.Errorf("refused: %q, want %v", rep.Refused, c.refused)
			}
			if got := strings.Join(rep.Fallbacks, "\n"); !strings.Contains(got, c.fallback) || c.fallback == "" && got != "" {
				t.Errorf("fallbacks %q, want %q", got, c.fallback)
			}
			if (c.refused || c.fallback != "") && !bytes.Equal(before, after) {
				t.Error("the map changed")
			}
		})
	}
}

// TestCrayGuards leaves out a PrgEnv, and forgets spider's --preload.
func TestCrayGuards(t *testing.T) {
	var all, fewer []rmap.Source
	for _, env := range []string{"cray_cce_160", "cray_cce_170", "gnu_gcc_112", "gnu_gcc_122", "intel_intel_20222", "intel_intel_20232", "nvidia_nvidia_227", "nvidia_nvidia_233"} {
		src := text(env, fixture(t, "cray/in/rmapT_PrgEnv-"+env+".JSON"))
		all = append(all, src)
		if !strings.HasPrefix(env, "nvidia") {
			fewer = append(fewer, src)
		}
	}
	dir := t.TempDir()
	update(t, dir, all...)
	if rep := update(t, dir, fewer...); rep.Refused == "" {
		t.Error("a map without one PrgEnv was not refused")
	}
	all[3] = text("gnu_gcc_122", fixture(t, "cray/in/nopreload_PrgEnv-gnu_gcc_122.JSON"))
	if rep := update(t, dir, all...); len(rep.Fallbacks) != 1 || rep.Changed {
		t.Errorf("spider without --preload: fallbacks %v, changed %v", rep.Fallbacks, rep.Changed)
	}
}

// TestTogether starts many runs at once; each waits for the others, or says
// that it does not.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	main := fixture(t, "flat/in/main.jsonReverseMapT.json")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			u := &rmap.Update{Dir: dir, Sources: []rmap.Source{text("main", main)}, MaxShrink: 10, Now: now, Wait: time.Minute}
			if rep, err := u.Run(t.Context()); err != nil || rep.Refused != "" {
				t.Errorf("Run = %+v, %v", rep, err)
			}
		})
	}
	wg.Wait()

	block, held := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		src := text("main", main)
		open := src.Open
		src.Open = func(ctx context.Context) (io.ReadCloser, error) {
			close(held)
			<-block
			return open(ctx)
		}
		update(t, dir, src)
	})
	<-held
	u := &rmap.Update{Dir: dir, Sources: []rmap.Source{text("main", main)}, MaxShrink: 10, Now: now}
	if _, err := u.Run(t.Context()); !errors.Is(err, rmap.ErrLocked) {
		t.Errorf("Run while another one is at work = %v, want ErrLocked", err)
	}
	close(block)
	wg.Wait()
}

// TestTogetherOnly starts runs that each bring one input: the map has all.
func TestTogetherOnly(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := []byte(fmt.Sprintf(`{"reverseMapT":{"/s/p%d/1/lib":"p%d/1"},"xlibmap":["lib%d.so"]}`, i, i, i))
			u := &rmap.Update{Dir: dir, Sources: []rmap.Source{text(fmt.Sprintf("in%d", i), in)}, Only: true, MaxShrink: 10, Now: now, Wait: time.Minute}
			if rep, err := u.Run(t.Context()); err != nil || rep.Refused != "" || len(rep.Fallbacks) > 0 {
				t.Errorf("Run = %+v, %v", rep, err)
			}
		})
	}
	wg.Wait()
	m, err := rmap.Open([]string{dir}, "")
	if err != nil {
		t.Fatal(err)
	}
	if m.Len() != 8 {
		t.Errorf("the map has %d keys, want those of all 8 runs", m.Len())
	}
}

// TestUpdateOrder gives the same sources in many orders, read so many at a time:
// every file is the same, also of what is remembered.
func TestUpdateOrder(t *testing.T) {
	var sources []rmap.Source
	for _, pattern := range []string{"cray/in/rmapT_*", "cray/in/spider_*", "cray/in/nopreload*"} {
		files, err := filepath.Glob(filepath.Join("testdata", filepath.FromSlash(pattern)+".gz"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no fixture matches %s (%v)", pattern, err)
		}
		for _, f := range files {
			name := strings.TrimSuffix(filepath.Base(f), ".gz")
			sources = append(sources, text(name, fixture(t, "cray/in/"+name)))
		}
	}
	run := func(parallel int) map[string]string {
		t.Helper()
		dir := t.TempDir()
		u := &rmap.Update{Dir: dir, Sources: sources, MaxShrink: 10, Now: now, Parallel: parallel, Options: rmap.Options{IgnoreFlavor: []string{"EasyBuild"}}}
		if rep, err := u.Run(t.Context()); err != nil || rep.Refused != "" {
			t.Fatalf("Run = %+v, %v", rep, err)
		}
		files := make(map[string]string)
		for _, sub := range []string{"", rmap.StateDir} {
			entries, err := os.ReadDir(filepath.Join(dir, sub))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.IsDir() {
					continue
				}
				data, err := os.ReadFile(filepath.Join(dir, sub, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				files[sub+"/"+e.Name()] = string(data)
			}
		}
		return files
	}
	want := run(1)
	if len(want) < 7 {
		t.Fatalf("only %d files", len(want))
	}
	rng := rand.New(rand.NewPCG(8, 1))
	for i := range 8 {
		rng.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
		for name, data := range run(1 + i%4) {
			if data != want[name] {
				t.Errorf("shuffle %d: %s is another", i, name)
			}
		}
	}
}

// TestUnwritable writes where nothing can be written.
func TestUnwritable(t *testing.T) {
	file := write(t, "x", t.TempDir(), "file")
	u := &rmap.Update{Dir: filepath.Join(file, "maps"), Sources: []rmap.Source{text("a", []byte(`{"reverseMapT":{"/a/lib":"a/1"}}`))}, Now: now}
	if _, err := u.Run(t.Context()); err == nil {
		t.Error("Run below a file = nil, want an error")
	}
}

// TestOwner: what root makes in a user's directory is that user's, whose next run
// could not read or replace it otherwise.
func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make files of others")
	}
	const user = 65534
	dir := t.TempDir()
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	for _, lib := range []string{"liba.so", "libb.so"} { // the second run keeps the old map
		update(t, filepath.Join(dir, "maps/frontier"), text("in", bytes.ReplaceAll(killMap("a"), []byte("liba.so"), []byte(lib))))
	}
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != user || st.Gid != user {
			t.Errorf("%s is not its user's", path)
		}
		files++
		return nil
	})
	if err != nil || files < 15 {
		t.Errorf("looked at %d files, %v", files, err)
	}
}

// TestWriteError: what cannot be written, be it a copy or the state, ends the run
// before a map is replaced.
func TestWriteError(t *testing.T) {
	one := func(name string) []byte { return fmt.Appendf(nil, `{"reverseMapT":{"/s/%s/1/lib":"%[1]s/1"}}`, name) }
	for name, breakIt := range map[string]func(state string, b, c *rmap.Source) error{
		"copy": func(state string, b, c *rmap.Source) error {
			inputs, away := filepath.Join(state, "inputs"), filepath.Join(state, "away")
			move := func(s *rmap.Source, from, to string) {
				open := s.Open
				s.Open = func(ctx context.Context) (io.ReadCloser, error) {
					if err := os.Rename(from, to); err != nil {
						return nil, err
					}
					return open(ctx)
				}
			}
			move(b, inputs, away)
			move(c, away, inputs)
			return nil
		},
		"conflicts": func(state string, _, _ *rmap.Source) error {
			file := filepath.Join(state, "conflicts.json")
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a, b, c := text("a", one("a")), text("b", one("b")), text("c", one("c"))
			update(t, dir, a, c)
			before, err := os.ReadFile(filepath.Join(dir, rmap.XALTFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := breakIt(filepath.Join(dir, rmap.StateDir), &b, &c); err != nil {
				t.Fatal(err)
			}
			u := &rmap.Update{Dir: dir, Sources: []rmap.Source{a, b, c}, MaxShrink: 10, Now: now}
			rep, err := u.Run(t.Context())
			if err == nil {
				t.Errorf("Run = %+v, want an error", rep)
			}
			after, err := os.ReadFile(filepath.Join(dir, rmap.XALTFile))
			if err != nil || !bytes.Equal(before, after) {
				t.Errorf("the map is %q (%v), want that of before", after, err)
			}
		})
	}
}

// TestPrune: the copies of inputs that are no more go; what cannot be removed, as a
// file that NFS keeps for its reader, is no reason to fail once all is in place.
func TestPrune(t *testing.T) {
	dir := t.TempDir()
	one := []byte(`{"reverseMapT":{"/s/a/1/lib":"a/1"}}`)
	update(t, dir, text("a", one), text("b", one))
	inputs := filepath.Join(dir, rmap.StateDir, "inputs")
	if err := os.MkdirAll(filepath.Join(inputs, ".nfs0001", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	update(t, dir, text("a", one))
	entries, err := os.ReadDir(inputs)
	if err != nil || len(entries) != 2 || entries[1].Name() != "a" {
		t.Errorf("copies %v, %v, want that of a", entries, err)
	}
}

// killMap is a map of which every module is called name.
func killMap(name string) []byte {
	var b strings.Builder
	b.WriteString(`{"reverseMapT":{`)
	for i := range 3000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"/apps/p%d/lib":{"pkg":"%s/1","kind":"lib","flavor":["default"],"moduleFn":"/mf/p%d/%s"}`, i, name, i, name)
	}
	b.WriteString(`},"xlibmap":["liba.so"]}`)
	return []byte(b.String())
}

// TestMain runs the programs that TestKill kills and that TestSteps has end.
func TestMain(m *testing.M) {
	if dir := os.Getenv("RMAP_TEST_STEP_DIR"); dir != "" {
		left, err := strconv.Atoi(os.Getenv("RMAP_TEST_STEP"))
		if err != nil {
			os.Exit(1)
		}
		u := &rmap.Update{Dir: dir, Sources: []rmap.Source{text("in", killMap("b"))}, MaxShrink: 10, Now: now.Add(time.Hour)}
		u.SetStep(func() {
			if left--; left < 0 {
				os.Exit(9) // as a kill: nothing is cleaned up
			}
		})
		if _, err := u.Run(context.Background()); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir := os.Getenv("RMAP_TEST_KILL")
	if dir == "" {
		os.Exit(m.Run())
	}
	for i := 0; ; i++ {
		u := &rmap.Update{Dir: dir, Sources: []rmap.Source{text("in", killMap([]string{"a", "b"}[i%2]))}, MaxShrink: 10, Wait: time.Minute, Now: time.Now()}
		// What earlier rounds remember would make the winner the same.
		_ = os.Remove(filepath.Join(dir, rmap.StateDir, "candidates"))
		if _, err := u.Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// TestSteps ends a program between any two steps of the replacement: the maps
// are whole, and the next run makes up for it.
func TestSteps(t *testing.T) {
	for step := 0; ; step++ {
		dir := t.TempDir()
		update(t, dir, text("in", killMap("a")))
		// What the first run remembers would make its module the winner.
		if err := os.Remove(filepath.Join(dir, rmap.StateDir, "candidates")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0]) //nolint:gosec // the test itself
		cmd.Env = append(os.Environ(), "RMAP_TEST_STEP_DIR="+dir, fmt.Sprintf("RMAP_TEST_STEP=%d", step))
		err := cmd.Run()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() != 9 || err != nil && !errors.As(err, &exit) {
			t.Fatalf("step %d: %v", step, err)
		}
		for _, name := range []string{rmap.XALTFile, rmap.JSONFile} {
			if err := wholeMap(filepath.Join(dir, name)); err != nil {
				t.Errorf("after step %d: %v", step, err)
			}
		}
		rep := update(t, dir, text("in", killMap("b")))
		if rep.Refused != "" || len(rep.Fallbacks) > 0 {
			t.Errorf("the run after step %d: refused %q, fallbacks %v", step, rep.Refused, rep.Fallbacks)
		}
		m, oerr := rmap.Open([]string{dir}, "")
		if oerr != nil {
			t.Fatal(oerr)
		}
		if got, _, _ := m.Lookup("/apps/p1/lib/x.so"); got != "b/1" {
			t.Errorf("the run after step %d leaves %q", step, got)
		}
		if err == nil { // it came to its end
			if step < 10 {
				t.Errorf("the replacement has %d steps: is it still watched?", step)
			}
			return
		}
	}
}

// wholeMap tells what is wrong with a map that killMap's inputs made.
func wholeMap(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := rmap.Read(f, name)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, module := range m.All() {
		seen[module] = true
	}
	if m.Len() != 3000 || len(seen) != 1 {
		return fmt.Errorf("%s has %d keys of %d runs", name, m.Len(), len(seen))
	}
	return nil
}

// TestKill kills a program that replaces maps all the time, and looks at the
// maps all the time: each is whole, and of one run.
func TestKill(t *testing.T) {
	kills := 20
	if os.Getenv("XALT_SOAK") == "1" {
		kills = 200
	}
	dir := t.TempDir()
	update(t, dir, text("in", killMap("a")))
	whole := func(name string) error { return wholeMap(filepath.Join(dir, name)) }
	rng := rand.New(rand.NewPCG(20, 200))
	changes, last := 0, ""
	for range kills {
		cmd := exec.Command(os.Args[0]) //nolint:gosec // the test itself
		cmd.Env = append(os.Environ(), "RMAP_TEST_KILL="+dir)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The clock of the kill starts once the program was seen at work.
		start, seen := time.Now(), false
		deadline := start.Add(30 * time.Second)
		for time.Now().Before(deadline) {
			if st, err := os.Stat(filepath.Join(dir, rmap.XALTFile)); err != nil {
				t.Fatal(err)
			} else if !seen && st.ModTime().After(start) {
				seen = true
				deadline = time.Now().Add(time.Duration(rng.IntN(100)) * time.Millisecond)
			}
			for _, name := range []string{rmap.XALTFile, rmap.JSONFile} {
				if err := whole(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if stderr.Len() > 0 {
			t.Fatalf("the program that was to be killed failed: %s", stderr.String())
		}
		for _, name := range []string{rmap.XALTFile, rmap.JSONFile} {
			if err := whole(name); err != nil {
				t.Fatal(err)
			}
		}
		if m, err := rmap.Open([]string{dir}, ""); err != nil {
			t.Fatal(err)
		} else if m.ID() != last {
			last = m.ID()
			changes++
		}
	}
	if changes < 2 {
		t.Errorf("in %d rounds the map was seen to change %d times: nothing was tested", kills, changes)
	}
	// The next run is a usual one and leaves no temporary files.
	update(t, dir, text("in", killMap("a")))
	for _, sub := range []string{"", rmap.StateDir, rmap.StateDir + "/inputs"} {
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), "tmp") {
				t.Errorf("%s was left behind in %q", e.Name(), sub)
			}
		}
	}
}
