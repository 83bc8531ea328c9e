package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"xaltpipe/internal/ingest"
)

// storeSets stores the objects of a batch's runs and links in one go, so that
// each index is gone through once; the records find them when they are merged.
func (w *writer) storeSets(ctx context.Context, b *ingest.Batch) error {
	objects := make([]*ingest.Set[ingest.Object], 0, len(b.Runs)+len(b.Links))
	for i := range b.Runs {
		objects = append(objects, b.Runs[i].Objects)
	}
	for i := range b.Links {
		objects = append(objects, b.Links[i].Objects)
	}
	_, err := w.objectSetIDs(ctx, objects)
	return err
}

// resolveSets makes the merged sets of changed claims and gives all their sets
// an id.
func (w *writer) resolveSets(ctx context.Context, list []*claim) error {
	var objects []*ingest.Set[ingest.Object]
	var objectIDs []*int64
	var envs []*ingest.Set[ingest.EnvVar]
	var envIDs []*int64
	for _, c := range list {
		if err := w.mergeSets(ctx, c); err != nil {
			return err
		}
		for i := range c.replaced { // as if they had been stored before
			objects, objectIDs = append(objects, c.replaced[i].objects.set), append(objectIDs, &c.replaced[i].objects.id)
			envs, envIDs = append(envs, c.replaced[i].env.set), append(envIDs, &c.replaced[i].env.id)
		}
		for _, ref := range [...]*objectRef{&c.start.objects, &c.end.objects, &c.objects} {
			if ref.set != nil && ref.id == 0 {
				objects = append(objects, ref.set)
				objectIDs = append(objectIDs, &ref.id)
			}
		}
		for _, ref := range [...]*envRef{&c.start.env, &c.end.env, &c.env} {
			if ref.set != nil && ref.id == 0 {
				envs = append(envs, ref.set)
				envIDs = append(envIDs, &ref.id)
			}
		}
	}
	ids, err := w.objectSetIDs(ctx, objects)
	if err != nil {
		return err
	}
	for i, id := range ids {
		*objectIDs[i] = id
		w.objectSets.put(id, objects[i])
	}
	if ids, err = w.envSetIDs(ctx, envs); err != nil {
		return err
	}
	for i, id := range ids {
		*envIDs[i] = id
		w.envSets.put(id, envs[i])
	}
	return nil
}

// mergeSets sets the row's sets: the end's and what the start has besides.
func (w *writer) mergeSets(ctx context.Context, c *claim) error {
	switch {
	case !c.start.there:
		c.objects, c.env = c.end.objects, c.end.env
		return nil
	case !c.end.there:
		c.objects, c.env = c.start.objects, c.start.env
		return nil
	}
	var err error
	c.objects, err = union(ctx, "objects", c.end.objects, c.start.objects, w.loadObjects,
		func(o *ingest.Object) string { return o.Path }, func(o *ingest.Object) ingest.Hash { return o.Hash }, w.db.unions.objects)
	if err != nil {
		return err
	}
	c.env, err = union(ctx, "env", c.end.env, c.start.env, w.loadEnv,
		func(e *ingest.EnvVar) string { return e.Name }, func(e *ingest.EnvVar) ingest.Hash { return e.Hash }, w.db.unions.env)
	return err
}

// union adds to a what b has under other names.
func union[T any](ctx context.Context, role string, a, b setRef[T], load func(context.Context, int64) (*ingest.Set[T], error),
	name func(*T) string, hash func(*T) ingest.Hash, cache map[[2]ingest.Hash]*ingest.Set[T],
) (setRef[T], error) {
	if same(a, b) || b.empty() {
		return a, nil
	}
	if a.empty() {
		return b, nil
	}
	for _, ref := range [...]*setRef[T]{&a, &b} {
		if ref.set == nil {
			set, err := load(ctx, ref.id)
			if err != nil {
				return a, err
			}
			ref.set = set
		}
	}
	key := [2]ingest.Hash{a.set.Hash, b.set.Hash}
	if s, ok := cache[key]; ok {
		return setRef[T]{set: s}, nil
	}
	have := make(map[string]bool, len(a.set.Members))
	for i := range a.set.Members {
		have[name(a.set.Members[i])] = true
	}
	members := slices.Clone(a.set.Members)
	for i := range b.set.Members {
		if !have[name(b.set.Members[i])] {
			members = append(members, b.set.Members[i])
		}
	}
	s := a.set
	if len(members) > len(a.set.Members) {
		s = ingest.NewSet(role, members, hash)
	}
	if len(cache) >= cachedUnions {
		clear(cache)
	}
	cache[key] = s
	if s == a.set {
		return a, nil
	}
	return setRef[T]{set: s}, nil
}

func (r setRef[T]) empty() bool { return r.id == 0 && (r.set == nil || len(r.set.Members) == 0) }

func same[T any](a, b setRef[T]) bool {
	if a.id != 0 && b.id != 0 {
		return a.id == b.id
	}
	return a.set != nil && b.set != nil && a.set.Hash == b.set.Hash
}

// unionCache remembers sets by their ids and the unions that were made of them;
// most runs that load more while they run do it in the same way. It holds what
// is committed only: an id belongs to its content from then on.
type unionCache struct {
	objects    map[[2]ingest.Hash]*ingest.Set[ingest.Object]
	env        map[[2]ingest.Hash]*ingest.Set[ingest.EnvVar]
	objectSets setCache[ingest.Object]
	envSets    setCache[ingest.EnvVar]
}

// How many unions, and how many members of sets, are remembered.
const (
	cachedUnions  = 5000
	cachedMembers = 120_000
)

func newUnionCache() *unionCache {
	return &unionCache{objects: make(map[[2]ingest.Hash]*ingest.Set[ingest.Object]), env: make(map[[2]ingest.Hash]*ingest.Set[ingest.EnvVar])}
}

// setCache remembers sets by id.
type setCache[T any] struct {
	sets    map[int64]*ingest.Set[T]
	members int
}

func (c *setCache[T]) put(id int64, s *ingest.Set[T]) {
	if c.sets == nil || c.members > cachedMembers {
		c.sets, c.members = make(map[int64]*ingest.Set[T]), 0
	}
	if c.sets[id] == nil {
		c.members += len(s.Members) + 1
	}
	c.sets[id] = s
}

// get looks in c and then in behind.
func (c *setCache[T]) get(id int64, behind *setCache[T]) *ingest.Set[T] {
	if s := c.sets[id]; s != nil {
		return s
	}
	return behind.sets[id]
}

// keep takes over what from has.
func (c *setCache[T]) keep(from *setCache[T]) {
	for id, s := range from.sets {
		c.put(id, s)
	}
}

// loadObjects reads a stored set.
func (w *writer) loadObjects(ctx context.Context, id int64) (*ingest.Set[ingest.Object], error) {
	if s := w.objectSets.get(id, &w.db.unions.objectSets); s != nil {
		return s, nil
	}
	var members []*ingest.Object
	err := w.db.query(ctx, w.tx, `SELECT o.hash, o.object_path, o.syshost, o.hash_id, o.module_name, o.lib_type
FROM object_set_member m JOIN xalt_object o ON o.obj_id = m.obj_id WHERE m.set_id = ?`, []any{id}, func(rows *sql.Rows) error {
		o := &ingest.Object{}
		var hash []byte
		var module sql.NullString
		if err := rows.Scan(&hash, &o.Path, &o.Syshost, &o.HashID, &module, &o.LibType); err != nil {
			return err
		}
		o.Hash, o.Module = toHash[ingest.Hash](hash), module.String
		members = append(members, o)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read set of objects %d: %w", id, err)
	}
	set := ingest.NewSet("objects", members, func(o *ingest.Object) ingest.Hash { return o.Hash })
	w.objectSets.put(id, set)
	return set, nil
}

func (w *writer) loadEnv(ctx context.Context, id int64) (*ingest.Set[ingest.EnvVar], error) {
	if s := w.envSets.get(id, &w.db.unions.envSets); s != nil {
		return s, nil
	}
	var members []*ingest.EnvVar
	err := w.db.query(ctx, w.tx, `SELECT v.hash, n.env_name, v.env_value
FROM env_set_member m JOIN env_value v ON v.value_id = m.value_id JOIN xalt_env_name n ON n.env_id = v.env_id WHERE m.set_id = ?`, []any{id}, func(rows *sql.Rows) error {
		e := &ingest.EnvVar{}
		var hash []byte
		if err := rows.Scan(&hash, &e.Name, &e.Value); err != nil {
			return err
		}
		e.Hash = toHash[ingest.Hash](hash)
		members = append(members, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read environment set %d: %w", id, err)
	}
	set := ingest.NewSet("env", members, func(e *ingest.EnvVar) ingest.Hash { return e.Hash })
	w.envSets.put(id, set)
	return set, nil
}
