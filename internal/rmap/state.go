package rmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A State is what the last [Update] of a directory of maps left beside them.
type State struct {
	Provenance
	All []Conflict // every conflict, sorted by path

	dir    string
	inputs []*Input // stored copies, once they were asked for
	read   bool
}

// OpenState reads the state of a directory of maps. The error is
// [ErrNotFound] if rmap-merge never wrote there.
func OpenState(dir string) (*State, error) {
	s := &State{dir: filepath.Join(dir, StateDir)}
	if _, err := os.Stat(filepath.Join(s.dir, provenanceFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: rmap-merge has not written to %s", ErrNotFound, dir)
	}
	if err := readJSON(filepath.Join(s.dir, provenanceFile), &s.Provenance); err != nil {
		return nil, err
	}
	return s, readJSON(filepath.Join(s.dir, conflictsFile), &s.All)
}

// Conflict gives the conflict on a directory, nil if there is none.
func (s *State) Conflict(dir string) *Conflict {
	i, ok := slices.BinarySearchFunc(s.All, dir, func(c Conflict, dir string) int { return strings.Compare(c.Path, dir) })
	if !ok {
		return nil
	}
	return &s.All[i]
}

// Inputs gives the labels of the inputs that hold a directory, sorted.
func (s *State) Inputs(dir string) ([]string, error) {
	if !s.read {
		r := &updateRun{Update: &Update{}, state: s.dir, prior: s.Provenance}
		shop := &workshop{}
		for _, rec := range s.Provenance.Inputs {
			in, _, err := r.copyOf(rec.Label, shop)
			if err != nil {
				return nil, err
			}
			s.inputs = append(s.inputs, in)
		}
		s.read = true
	}
	var labels []string
	for _, in := range s.inputs {
		if in.holds(dir) {
			labels = append(labels, in.Label)
		}
	}
	slices.Sort(labels)
	return labels, nil
}

// holds tells whether an input names a directory.
func (in *Input) holds(dir string) bool {
	_, ok := slices.BinarySearchFunc(in.entries, dir, func(e entry, dir string) int { return bytes.Compare(in.path(&e), []byte(dir)) })
	return ok
}

// A Change is a directory whose module is not the same in two maps.
type Change struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"` // "" if the old map has no such key
	New  string `json:"new,omitempty"` // likewise
}

// Diff gives the changes from one map to another, sorted by path.
func Diff(old, now *Map) []Change {
	var out []Change
	for dir, m := range old.All() {
		if n := now.module(dir); n != m {
			out = append(out, Change{dir, m, n})
		}
	}
	for dir, n := range now.All() {
		if old.module(dir) == "" {
			out = append(out, Change{Path: dir, New: n})
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		switch {
		case a.Path < b.Path:
			return -1
		case a.Path > b.Path:
			return 1
		}
		return 0
	})
	return out
}

// module gives the module of a key, "" if there is no such key.
func (m *Map) module(dir string) string {
	if at := m.keys.findString(dir); at.found {
		return m.modules[m.owners[at.id]]
	}
	return ""
}
