package rmap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// seesModulefile tells whether a modulefile of an input exists on this host.
func seesModulefile(in *Input) bool {
	for i := range in.modules {
		if file := in.modules[i].file; file != "" {
			_, err := os.Stat(file)
			return err == nil // one try for each input
		}
	}
	return false
}

// gone tells that a modulefile was removed, on a host that sees the module tree.
func gone(file string) bool {
	_, err := os.Stat(file)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// A reading is what became of one source.
type reading struct {
	record  InputRecord
	input   *Input
	copied  *staged
	bad     string // why it cannot be used
	instead string // what was done then
	empty   bool   // it is bad because it has no key
	err     error  // its copy could not be written
}

// A job is one input of the map: a source, or a stored copy alone.
type job struct {
	label string
	src   *Source
}

// jobs lists the inputs by their labels.
func (r *updateRun) jobs() []job {
	var list []job
	for i := range r.Sources {
		list = append(list, job{r.Sources[i].Label, &r.Sources[i]})
	}
	if r.Only {
		for _, rec := range r.prior.Inputs {
			if !slices.ContainsFunc(r.Sources, func(s Source) bool { return s.Label == rec.Label }) {
				list = append(list, job{label: rec.Label})
			}
		}
	}
	slices.SortFunc(list, func(a, b job) int { return strings.Compare(a.label, b.label) })
	return list
}

// gather reads the sources, puts good copies in the place of bad ones, and
// completes them with the stored copies if Only is set. Each goes into the map
// while the next ones are read.
func (r *updateRun) gather(ctx context.Context) (*merger, error) {
	jobs := r.jobs()
	done := make([]chan reading, len(jobs))
	for i := range done {
		done[i] = make(chan reading, 1)
	}
	work := make(chan int, len(jobs))
	for i := range jobs {
		work <- i
	}
	close(work)
	var wg sync.WaitGroup
	for range max(1, min(r.Parallel, len(jobs))) {
		wg.Go(func() {
			shop := &workshop{}
			for i := range work {
				done[i] <- r.do(ctx, jobs[i], shop)
			}
		})
	}
	m := newMerger(r.Options)
	var refused, bad []string
	var failed error
	maps := 0
	for i := range jobs {
		rd := <-done[i]
		if rd.copied != nil {
			r.copies = append(r.copies, rd.copied)
		}
		failed = errors.Join(failed, rd.err)
		if rd.bad != "" {
			bad = append(bad, rd.bad)
			r.rep.Fallbacks = append(r.rep.Fallbacks, rd.bad+rd.instead)
		}
		if rd.empty {
			refused = append(refused, rd.bad)
		}
		if rd.input == nil {
			continue
		}
		r.rep.Inputs = append(r.rep.Inputs, rd.record)
		if rd.input.Form != FormSpider {
			maps++
		}
		r.sees = r.sees || seesModulefile(rd.input)
		m.add(rd.input)
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	slices.Sort(r.rep.Fallbacks)
	switch {
	case maps > 0:
		return m, nil
	case len(refused) > 0:
		r.rep.Refused = strings.Join(refused, "; ")
		r.rep.Fallbacks = nil
		return nil, nil
	case len(r.rep.Inputs) > 0:
		return nil, fmt.Errorf("%w: spider-json is evidence beside a reverse map and holds no map itself; add the output of spider -o jsonReverseMapT", ErrNoInput)
	case len(bad) == 0:
		bad = []string{"none was given, and no copy is stored"}
	}
	return nil, fmt.Errorf("%w: %s", ErrNoInput, strings.Join(bad, "; "))
}

// do reads the input of a job, or what is used in its place.
func (r *updateRun) do(ctx context.Context, j job, shop *workshop) reading {
	if j.src == nil {
		in, rec, err := r.copyOf(j.label, shop)
		if err != nil {
			return reading{bad: err.Error(), instead: "; it is missing from the map"}
		}
		return reading{record: rec, input: in}
	}
	rd := r.read(ctx, j.src, shop)
	if rd.bad == "" {
		return rd
	}
	in, rec, err := r.copyOf(j.label, shop)
	if err != nil {
		rd.instead = "; there is no good copy, so it is missing from the map"
		return rd
	}
	rd.instead = fmt.Sprintf("; the copy of %s is used in its place", rec.Accepted)
	rec.Fallback = rd.bad
	rd.record, rd.input = rec, in
	return rd
}

// read reads one source and judges it against its last good copy.
func (r *updateRun) read(ctx context.Context, src *Source, shop *workshop) reading {
	rd := reading{record: InputRecord{Label: src.Label, File: src.File, Accepted: r.Now.UTC().Format(time.RFC3339)}}
	data, err := readSource(ctx, src, shop)
	if err != nil {
		rd.bad = err.Error()
		return rd
	}
	return r.judge(rd, src, data, shop)
}

func (r *updateRun) judge(rd reading, src *Source, data []byte, shop *workshop) reading {
	in, err := parseInput(data, src.Label, src.File, shop)
	if err != nil {
		rd.bad = fmt.Sprintf("read input: %v", err)
		return rd
	}
	rd.record.Form, rd.record.Digest, rd.record.Entries = in.Form, in.Digest, in.Entries
	if in.Entries == 0 && !r.AllowEmpty {
		rd.bad = fmt.Sprintf("%s: no module in it: is spider's MODULEPATH right? (--allow-empty takes it as it is)", src.File)
		rd.empty = true
		return rd
	}
	same := false
	for _, p := range r.prior.Inputs {
		if p.Label == src.Label && p.Digest == in.Digest {
			rd.record.Accepted, same = p.Accepted, true
		}
	}
	if !same && !r.Force {
		if old, _, err := r.copyOf(src.Label, shop); err == nil {
			if lost, total := vanished(old, in); tooMuch(lost, total, r.MaxShrink) {
				rd.bad = fmt.Sprintf("%s: %d of %d keys of its last good copy are gone, at or above --max-shrink of %v%% (--force takes it as it is)", src.File, lost, total, r.MaxShrink)
				return rd
			}
		}
	}
	dir := filepath.Join(r.state, inputsDir)
	name := copyName(src.Label)
	if st, err := os.Stat(filepath.Join(dir, name)); !same || err != nil || st.Size() != int64(len(data)) {
		if rd.copied, err = stageCopy(dir, name, data); err != nil {
			rd.err = fmt.Errorf("keep a copy of %s: %w", src.File, err)
			return rd
		}
	}
	rd.input = in
	return rd
}

func readSource(ctx context.Context, src *Source, shop *workshop) (data []byte, err error) {
	f, err := src.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}()
	data, shop.raw, err = readInto(f, src.File, shop.raw)
	return data, err
}

// copyName is the file name of the copy of an input.
func copyName(label string) string {
	var b strings.Builder
	for i := range len(label) {
		c := label[i]
		if isDigit(c) || c < 0x80 && isLetter(c) || c == '_' || c == '-' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	const longest = 200 // a file name has at most 255 bytes, a temporary one more
	if name := b.String(); len(name) > longest {
		return name[:longest-17] + "%" + digest([]byte(label))[:16]
	}
	return b.String()
}

// stageCopy writes a copy that is put in place once the map is. It is not
// synced: a damaged copy does not parse, and is then as if there were none.
func stageCopy(dir, name string, data []byte) (*staged, error) {
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	s := &staged{dir: dir, name: name, temp: f.Name()}
	_, err = f.Write(data)
	if err == nil {
		inherit(f)
		err = f.Chmod(0o640)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, errors.Join(err, s.drop())
	}
	return s, nil
}

// copyOf reads the last good copy of an input.
func (r *updateRun) copyOf(label string, shop *workshop) (*Input, InputRecord, error) {
	i := slices.IndexFunc(r.prior.Inputs, func(rec InputRecord) bool { return rec.Label == label })
	if i < 0 {
		return nil, InputRecord{}, fmt.Errorf("%s: no copy is stored", label)
	}
	rec := r.prior.Inputs[i]
	rec.Fallback = ""
	name := filepath.Join(r.state, inputsDir, copyName(label))
	data, err := loadFile(name)
	if err != nil {
		return nil, rec, fmt.Errorf("%s: read the stored copy: %w", label, err)
	}
	in, err := parseInput(data, label, name, shop)
	if err != nil {
		return nil, rec, fmt.Errorf("read the stored copy: %w", err)
	}
	// A run that was killed after it put the copy in place has not recorded it.
	rec.Form, rec.Digest, rec.Entries = in.Form, in.Digest, in.Entries
	return in, rec, nil
}

// vanished counts the keys of an input (the modulefiles of a spider-json) that
// another version of it has no more.
func vanished(old, now *Input) (lost, total int) {
	had, have := old.marks(), now.marks()
	for _, key := range had {
		for len(have) > 0 && bytes.Compare(have[0], key) < 0 {
			have = have[1:]
		}
		if len(have) == 0 || !bytes.Equal(have[0], key) {
			lost++
		}
	}
	return lost, len(had)
}

// marks lists, sorted, what vanished counts.
func (in *Input) marks() [][]byte {
	var list [][]byte
	if in.Form == FormSpider {
		for i := range in.spider {
			list = append(list, []byte(in.spider[i].file))
		}
		slices.SortFunc(list, bytes.Compare)
		return list
	}
	list = make([][]byte, len(in.entries))
	for i := range list {
		list[i] = in.path(&in.entries[i])
	}
	return list
}

func tooMuch(lost, total int, percent float64) bool {
	return lost > 0 && float64(lost)*100 >= percent*float64(total)
}
