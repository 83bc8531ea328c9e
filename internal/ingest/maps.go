package ingest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"xaltpipe/internal/rmap"
	"xaltpipe/internal/xalt"
)

// Maps are the reverse maps of all machines, loaded before anything is read.
type Maps struct {
	machines map[string]loadedMap
	common   loadedMap // for machines without one of their own
}

type loadedMap struct {
	*rmap.Map
	id Hash
}

// OpenMaps loads the map of every machine that has a directory of its own
// below one of dirs, and the common one. A map that is there and does not
// parse is an error that names the place; [rmap.ErrNotFound] means that there
// is no map at all.
func OpenMaps(dirs []string) (*Maps, error) {
	m := &Maps{machines: make(map[string]loadedMap)}
	machines, err := rmap.Machines(dirs)
	if err != nil {
		return nil, fmt.Errorf("look for reverse maps: %w", err)
	}
	for _, name := range machines {
		loaded, err := rmap.Open(dirs, name)
		if err != nil {
			return nil, fmt.Errorf("reverse map of %s: %w", name, err)
		}
		m.machines[name] = newLoadedMap(loaded)
	}
	common, err := rmap.Open(dirs, "")
	switch {
	case err == nil:
		m.common = newLoadedMap(common)
	case errors.Is(err, rmap.ErrNotFound) && len(machines) > 0:
	default:
		return nil, fmt.Errorf("reverse map: %w", err)
	}
	return m, nil
}

func newLoadedMap(m *rmap.Map) loadedMap {
	l := loadedMap{Map: m}
	if id, err := hex.DecodeString(m.ID()); err == nil {
		copy(l.id[:], id)
	}
	return l
}

// Module tells which module a path belongs to; see [Modules].
func (m *Maps) Module(syshost, path string) (string, Hash) {
	l, ok := m.machines[syshost]
	if !ok {
		l = m.common
	}
	if l.Map == nil {
		return "", Hash{}
	}
	module, _, _ := l.Lookup(path)
	return xalt.Storable(module), l.id
}

// FindMaps lists the files that [OpenMaps] would load.
func FindMaps(dirs []string) ([]string, error) {
	machines, err := rmap.Machines(dirs)
	if err != nil {
		return nil, fmt.Errorf("look for reverse maps: %w", err)
	}
	var files []string
	for _, machine := range append(machines, "") {
		switch name, err := rmap.Find(dirs, machine); {
		case err == nil:
			files = append(files, name)
		case !errors.Is(err, rmap.ErrNotFound):
			return nil, fmt.Errorf("look for reverse maps: %w", err)
		}
	}
	return files, nil
}

// Files lists the files that were loaded.
func (m *Maps) Files() []string {
	var names []string
	if m.common.Map != nil {
		names = append(names, m.common.Name())
	}
	for _, l := range m.machines {
		names = append(names, l.Name())
	}
	return names
}

// ID names the maps of all machines together.
func (m *Maps) ID() Hash {
	names := make([]string, 0, len(m.machines))
	for name := range m.machines {
		names = append(names, name)
	}
	slices.Sort(names)
	parts := [][]byte{m.common.id[:]}
	for _, name := range names {
		id := m.machines[name].id
		parts = append(parts, []byte(name), id[:])
	}
	return contentHash("maps", parts...)
}
