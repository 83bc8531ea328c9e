package rmap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The names below a directory of maps.
const (
	StateDir       = ".rmap-merge"     // state, copies, provenance, conflicts and lock
	LibListFile    = "xlibmap.list"    // xlibmap, one name a line, for the link wrapper
	provenanceFile = "provenance.json" // in StateDir, a [Provenance]
	conflictsFile  = "conflicts.json"  // in StateDir, a list of [Conflict]
	memoryFile     = "candidates"      // in StateDir, a [Memory]
	inputsDir      = "inputs"          // in StateDir, the last good copy of each input
	lockFile       = "lock"            // in StateDir
)

// ErrNoInput says that no input could be used and none had a good copy.
var ErrNoInput = errors.New("no usable input")

// ErrLocked says that another merge held the lock for too long.
var ErrLocked = errors.New("another rmap-merge is at work")

// A Source is one input of an [Update].
type Source struct {
	Label string // its identity from run to run; see [LabelOK]
	File  string // where it comes from, for messages
	// Open begins to read it; the text is bounded by MaxSize.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// LabelOK tells whether s can be the label of an input: 1 to 255 bytes, no
// control character, no "/" and no "=".
func LabelOK(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f || c == '/' || c == '=' {
			return false
		}
	}
	return true
}

// An Update is one run of rmap-merge for one machine.
type Update struct {
	Options
	Dir        string // the directory of the machine's maps
	Machine    string // its name, "" for the only one; for provenance
	Sources    []Source
	Only       bool          // the stored copies of other inputs complete the Sources
	MaxShrink  float64       // percent of an input's or the map's keys whose loss is too much
	AllowEmpty bool          // inputs and maps without a key are good
	Force      bool          // no guard against loss
	Wait       time.Duration // how long to wait for the lock
	Now        time.Time
	Parallel   int // inputs read at a time; below 1 is 1

	step func() // called between the steps of the replacement, in tests
}

// An InputRecord is what the provenance says of one input.
type InputRecord struct {
	Label    string `json:"label"`
	File     string `json:"file"`
	Form     string `json:"form"`
	Digest   string `json:"sha256"`
	Entries  int    `json:"entries"`
	Accepted string `json:"accepted"`           // RFC 3339, when this text first came
	Fallback string `json:"fallback,omitempty"` // why its last good copy was used
}

// A Provenance tells where an installed map comes from.
type Provenance struct {
	Version   int               `json:"version"` // 1
	Machine   string            `json:"machine,omitempty"`
	Checked   string            `json:"checked"`   // RFC 3339, last run that came to an end
	Installed string            `json:"installed"` // RFC 3339, last run that changed a map
	Keys      int               `json:"keys"`
	Conflicts int               `json:"conflicts"`
	LeftOut   int               `json:"left_out"` // of the conflicts
	Files     map[string]string `json:"files"`    // name to SHA-256
	Inputs    []InputRecord     `json:"inputs"`
	Problems  []Problem         `json:"problems"`
}

// A Report tells what an [Update] did.
type Report struct {
	Provenance
	Changed      bool       // some map was replaced
	Refused      string     // which guard kept the old map; "" if none did
	Fallbacks    []string   // inputs replaced by their last good copy, or missing, with the reason
	NewConflicts []Conflict // not in the run before, or with new claimants
	NewProblems  []Problem  // not in the run before
}

// Run merges the sources into the maps of u.Dir. The map of a directory is
// replaced as a whole or not at all; where it would not change it is not
// touched. A guard that refuses is no error: see [Report].
func (u *Update) Run(ctx context.Context) (rep *Report, err error) {
	state := filepath.Join(u.Dir, StateDir)
	if err := makePublic(u.Dir); err != nil {
		return nil, fmt.Errorf("make the directory of the maps: %w", err)
	}
	for _, dir := range []string{state, filepath.Join(state, inputsDir)} {
		if err := mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the state directory: %w", err)
		}
	}
	lock, err := lockState(ctx, filepath.Join(state, lockFile), u.Wait)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := lock.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	for _, dir := range []string{u.Dir, state, filepath.Join(state, inputsDir)} {
		if err := sweep(dir); err != nil {
			return nil, fmt.Errorf("clean up %s: %w", dir, err)
		}
	}
	r := &updateRun{Update: u, state: state, rep: &Report{Provenance: Provenance{Version: 1, Machine: u.Machine}}}
	defer r.dropStaged()
	return r.rep, r.run(ctx)
}

// makePublic makes a directory, and those above it that are missing, for
// everybody to read whatever the umask: every link on the machine reads maps.
func makePublic(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if up := filepath.Dir(dir); up != dir {
		if err := makePublic(up); err != nil {
			return err
		}
	}
	switch err := mkdir(dir, 0o755); {
	case errors.Is(err, fs.ErrExist): // another run was faster
		return os.MkdirAll(dir, 0o755) //nolint:gosec // an error if it is a file
	case err != nil:
		return err
	}
	return os.Chmod(dir, 0o755) //nolint:gosec // public
}

type updateRun struct {
	*Update
	state   string
	rep     *Report
	prior   Provenance
	sees    bool      // this host sees the modulefiles
	copies  []*staged // new copies of inputs
	maps    []*staged
	records []*staged // conflicts and provenance
	memory  *staged   // nil if it does not change
}

func (r *updateRun) dropStaged() {
	for _, s := range append(slices.Concat(r.copies, r.maps, r.records), r.memory) {
		if s == nil {
			continue
		}
		_ = s.drop() // the next run sweeps up what is left
	}
}

func (r *updateRun) run(ctx context.Context) error {
	if err := r.readState(); err != nil {
		return err
	}
	m, err := r.gather(ctx)
	if err != nil || r.rep.Refused != "" {
		return err
	}
	m.opts.Day = int(r.Now.Unix() / 86400)
	if r.Gone == nil && r.sees {
		m.opts.Gone = gone
	}
	m.collect(r.lastMemory())
	// What is remembered is written while the winners are found.
	memory := &output{dir: r.state, name: memoryFile, mode: 0o640, encode: m.memory()}
	var wg sync.WaitGroup
	wg.Go(memory.stage)
	res := m.finish()
	r.rep.Problems = append(r.rep.Problems, res.Problems...)
	err = r.stage(res)
	wg.Wait()
	r.memory = memory.staged
	if err = errors.Join(err, memory.err); err != nil || r.rep.Refused != "" {
		return err
	}
	return r.install(ctx, res)
}

// note adds a problem of the state directory.
func (r *updateRun) note(kind, text string) {
	r.rep.Problems = append(r.rep.Problems, Problem{Input: r.state, Kind: kind, Text: text})
}

func (r *updateRun) readState() error {
	err := readJSON(filepath.Join(r.state, provenanceFile), &r.prior)
	if err != nil {
		r.note("provenance", err.Error()+"; it is written anew")
		r.prior = Provenance{}
	}
	return nil
}

// lastMemory gives what the run before left, nil if there was none.
func (r *updateRun) lastMemory() *Memory {
	name := filepath.Join(r.state, memoryFile)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &Memory{name: name, open: func() (io.ReadCloser, error) { return os.Open(name) }}
}

// readJSON reads a file of the state; one that is not there leaves v alone.
func readJSON(name string, v any) error {
	data, err := loadFile(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// guardEmpty refuses a map without a key.
func (r *updateRun) guardEmpty(res *Result) {
	r.rep.Keys = len(res.Keys)
	if len(res.Keys) > 0 || r.AllowEmpty {
		return
	}
	r.rep.Refused = "the map would be empty (--allow-empty takes it as it is)"
	if n := len(res.Conflicts); n > 0 {
		r.rep.Refused = fmt.Sprintf("the map would be empty: each of %d directories is left out (--allow-empty takes it as it is)", n)
	}
	if n := len(res.Problems); n > 0 {
		r.rep.Refused += fmt.Sprintf("; the first of %d problems: %s", n, res.Problems[0])
	}
}

// guardMap compares the new map with the one that is installed.
func (r *updateRun) guardMap(res *Result) {
	if r.Force {
		return
	}
	name := filepath.Join(r.Dir, XALTFile)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		name = filepath.Join(r.Dir, JSONFile)
	}
	old, err := readFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		r.note("installed-map", fmt.Sprintf("the installed map cannot be compared with: %v", err))
		return
	}
	kept := make([]bool, old.Len())
	keep := func(path string) {
		if at := old.keys.findString(path); at.found {
			kept[at.id] = true
		}
	}
	for i := range res.Keys {
		keep(res.Keys[i].Path)
	}
	for i := range res.Conflicts { // left out on purpose: not lost
		keep(res.Conflicts[i].Path)
	}
	sys := newSystemDirs(r.SystemDirs)
	lost, total := 0, 0
	for i, path := range old.keys.list {
		clean := path
		if !kept[i] {
			clean = cleanPath(path, true)
		}
		if badKey(path) != "" || sys.has([]byte(clean)) {
			continue
		}
		total++
		if kept[i] {
			continue
		}
		if _, ok := slices.BinarySearchFunc(res.Keys, clean, func(k Key, s string) int { return strings.Compare(k.Path, s) }); !ok {
			lost++
		}
	}
	if tooMuch(lost, total, r.MaxShrink) {
		r.rep.Refused = fmt.Sprintf("%d of the %d keys of %s would be gone, at or above --max-shrink of %v%%; is an input missing? (--force takes it as it is)", lost, total, name, r.MaxShrink)
	}
}

// stage writes the maps beside their places, unless a guard refuses.
func (r *updateRun) stage(res *Result) error {
	if r.guardEmpty(res); r.rep.Refused != "" {
		return nil
	}
	files := []*output{
		{name: LibListFile, encode: res.encodeList},
		{name: JSONFile, old: JSONOldFile, encode: res.encodeJSON, check: res.check},
		{name: XALTFile, old: XALTOldFile, encode: res.encodeXALT, check: res.check},
	}
	var wg sync.WaitGroup
	for _, f := range files {
		f.dir, f.mode, f.sum = r.Dir, 0o644, sha256.New()
		wg.Go(f.stage)
	}
	wg.Wait()
	r.rep.Files = make(map[string]string)
	var errs []error
	for _, f := range files {
		r.rep.Files[f.name] = hex.EncodeToString(f.sum.Sum(nil))
		if f.staged != nil {
			r.maps = append(r.maps, f.staged)
			r.rep.Changed = true
		}
		errs = append(errs, f.err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if files[2].staged != nil {
		r.guardMap(res)
	}
	return nil
}

// install puts the result, XALT's own file last, and the state in place, once all
// of it is written: a full disk leaves everything as it was.
func (r *updateRun) install(ctx context.Context, res *Result) error {
	if err := r.stageState(res); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, s := range slices.Concat(r.maps, r.copies, r.records) {
		s.step = r.step
		if err := s.commit(); err != nil {
			return err
		}
	}
	if r.memory != nil {
		if err := r.memory.commit(); err != nil {
			return err
		}
	}
	return r.prune()
}

// stageState completes the report and writes the state beside its place.
func (r *updateRun) stageState(res *Result) error {
	var old []Conflict
	if err := readJSON(filepath.Join(r.state, conflictsFile), &old); err != nil {
		r.note("conflicts", err.Error()+"; it is written anew")
	}
	r.rep.NewConflicts = newConflicts(old, res.Conflicts)
	r.rep.NewProblems = newProblems(r.prior.Problems, r.rep.Problems)
	r.rep.Conflicts = len(res.Conflicts)
	for i := range res.Conflicts {
		if res.Conflicts[i].Module == "" {
			r.rep.LeftOut++
		}
	}
	now := r.Now.UTC().Format(time.RFC3339)
	r.rep.Checked, r.rep.Installed = now, r.prior.Installed
	if r.rep.Changed || r.rep.Installed == "" {
		r.rep.Installed = now
	}
	conflicts := res.Conflicts
	if conflicts == nil {
		conflicts = []Conflict{}
	}
	for _, f := range []struct {
		name string
		v    any
	}{{conflictsFile, conflicts}, {provenanceFile, &r.rep.Provenance}} {
		data, err := json.MarshalIndent(f.v, "", " ")
		if err != nil {
			return fmt.Errorf("encode %s: %w", f.name, err)
		}
		o := &output{dir: r.state, name: f.name, mode: 0o640, encode: text(append(data, '\n'))}
		if o.stage(); o.err != nil {
			return o.err
		}
		if o.staged != nil {
			r.records = append(r.records, o.staged)
		}
	}
	return nil
}

// prune removes the copies of inputs that are no more.
func (r *updateRun) prune() error {
	keep := make(map[string]bool)
	for _, rec := range r.rep.Inputs {
		keep[copyName(rec.Label)] = true
	}
	dir := filepath.Join(r.state, inputsDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// No copy's name begins with a dot; NFS gives such names to files that
		// somebody still reads, and does not let them be removed.
		if !keep[e.Name()] && e.Name()[0] != '.' {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// newConflicts gives the conflicts of now whose path or one of whose claimants
// is not among those of old.
func newConflicts(old, now []Conflict) []Conflict {
	known := make(map[string][]Claimant, len(old))
	for i := range old {
		known[old[i].Path] = old[i].Claimants
	}
	var out []Conflict
	for i := range now {
		was, ok := known[now[i].Path]
		if !ok || slices.ContainsFunc(now[i].Claimants, func(c Claimant) bool {
			return !slices.ContainsFunc(was, func(w Claimant) bool { return w.Module == c.Module })
		}) {
			out = append(out, now[i])
		}
	}
	return out
}

func newProblems(old, now []Problem) []Problem {
	key := func(p Problem) [3]string {
		if p.Path == "" {
			return [3]string{p.Input, p.Kind, p.Text}
		}
		return [3]string{p.Input, p.Kind, p.Path}
	}
	known := make(map[[3]string]bool, len(old))
	for _, p := range old {
		known[key(p)] = true
	}
	var out []Problem
	for _, p := range now {
		if !known[key(p)] {
			out = append(out, p)
		}
	}
	return out
}

// lockState takes the lock of a state directory; closing the file gives it
// back, as does the end of the process.
func lockState(ctx context.Context, name string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if err == nil {
		inherit(f)
	} else if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	const pause = 50 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for waited := time.Duration(0); ; waited += pause {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		case waited >= wait:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, ErrLocked), f.Close())
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-timer.C:
		}
	}
}
