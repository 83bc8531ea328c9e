package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
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
	// What records said is stored whatever comes of it, and sets that have their
	// ids can be compared without being read.
	var objects []*objectRef
	var envs []*envRef
	for _, c := range list {
		for i := range c.replaced { // as if they had been stored before
			objects, envs = append(objects, &c.replaced[i].objects), append(envs, &c.replaced[i].env)
		}
		objects, envs = append(objects, &c.start.objects, &c.end.objects), append(envs, &c.start.env, &c.end.env)
	}
	if err := w.nameSets(ctx, objects, envs); err != nil {
		return err
	}
	if err := w.mergeSets(ctx, list); err != nil {
		return err
	}
	objects, envs = objects[:0], envs[:0]
	for _, c := range list {
		objects, envs = append(objects, &c.objects), append(envs, &c.env)
	}
	return w.nameSets(ctx, objects, envs)
}

// nameSets stores the sets that have no id yet.
func (w *writer) nameSets(ctx context.Context, objects []*objectRef, envs []*envRef) error {
	if err := nameSets(ctx, objects, w.objectSetIDs, &w.objectSets); err != nil {
		return err
	}
	return nameSets(ctx, envs, w.envSetIDs, &w.envSets)
}

func nameSets[T any](ctx context.Context, refs []*setRef[T], ids func(context.Context, []*ingest.Set[T]) ([]int64, error), cache *setCache[T]) error {
	var sets []*ingest.Set[T]
	var to []*int64
	for _, ref := range refs {
		if ref.set != nil && ref.id == 0 {
			sets, to = append(sets, ref.set), append(to, &ref.id)
		}
	}
	named, err := ids(ctx, sets)
	if err != nil {
		return err
	}
	for i, id := range named {
		*to[i] = id
		cache.put(id, sets[i])
	}
	return nil
}

// merging is how sets of one kind are merged.
type merging[T any] struct {
	role string
	refs func(*claim) (start, end, row *setRef[T])
	// members reads set_id and the member's id, which rows and scan turn into
	// members. They are not joined: a server that has not counted its rows yet
	// would read all of them.
	members, rows string
	scan          func(*sql.Rows) (id int64, member *T, err error)
	name          func(*T) string // under which a member of the end hides one of the start
	hash          func(*T) ingest.Hash
}

var objectMerging = merging[ingest.Object]{
	role:    "objects",
	refs:    func(c *claim) (start, end, row *objectRef) { return &c.start.objects, &c.end.objects, &c.objects },
	members: "SELECT set_id, obj_id FROM object_set_member WHERE set_id IN (%s)",
	rows:    "SELECT obj_id, hash, object_path, syshost, hash_id, module_name, lib_type FROM xalt_object WHERE obj_id IN (%s)",
	scan: func(rows *sql.Rows) (id int64, _ *ingest.Object, err error) {
		o := &ingest.Object{}
		var hash sql.RawBytes
		var module sql.NullString
		err = rows.Scan(&id, &hash, &o.Path, &o.Syshost, &o.HashID, &module, &o.LibType)
		o.Hash, o.Module = toHash[ingest.Hash](hash), module.String
		return id, o, err
	},
	name: func(o *ingest.Object) string { return o.Path },
	hash: func(o *ingest.Object) ingest.Hash { return o.Hash },
}

var envMerging = merging[ingest.EnvVar]{
	role:    "env",
	refs:    func(c *claim) (start, end, row *envRef) { return &c.start.env, &c.end.env, &c.env },
	members: "SELECT set_id, value_id FROM env_set_member WHERE set_id IN (%s)",
	rows:    "SELECT v.value_id, v.hash, n.env_name, v.env_value FROM env_value v JOIN xalt_env_name n ON n.env_id = v.env_id WHERE v.value_id IN (%s)",
	scan: func(rows *sql.Rows) (id int64, _ *ingest.EnvVar, err error) {
		e := &ingest.EnvVar{}
		var hash sql.RawBytes
		err = rows.Scan(&id, &hash, &e.Name, &e.Value)
		e.Hash = toHash[ingest.Hash](hash)
		return id, e, err
	},
	name: func(e *ingest.EnvVar) string { return e.Name },
	hash: func(e *ingest.EnvVar) ingest.Hash { return e.Hash },
}

// mergedAtOnce is how many claims' sets are in memory to be merged.
const mergedAtOnce = 256

// mergeSets gives claims' rows their sets: the end's and what the start has
// besides.
func (w *writer) mergeSets(ctx context.Context, list []*claim) error {
	for some := range slices.Chunk(list, mergedAtOnce) {
		err := mergeSets(ctx, w, &objectMerging, some, w.db.unions.objects, &w.objectSets, &w.db.unions.objectSets)
		if err != nil {
			return err
		}
		if err := mergeSets(ctx, w, &envMerging, some, w.db.unions.env, &w.envSets, &w.db.unions.envSets); err != nil {
			return err
		}
	}
	return nil
}

func mergeSets[T any](ctx context.Context, w *writer, m *merging[T], list []*claim, unions map[[2]ingest.Hash]*ingest.Set[T], caches ...*setCache[T]) error {
	var differ []*claim
	sets := make(map[int64]*ingest.Set[T]) // nil: to be read
	for _, c := range list {
		start, end, row := m.refs(c)
		switch {
		case !c.start.there:
			*row = *end
		case !c.end.there || end.empty():
			*row = *start
		case start.empty() || start.id == end.id:
			*row = *end
		default:
			differ = append(differ, c)
			for _, ref := range [...]*setRef[T]{start, end} {
				if ref.set != nil {
					sets[ref.id] = ref.set
				} else if sets[ref.id] == nil {
					sets[ref.id] = cached(ref.id, caches)
				}
			}
		}
	}
	if err := readSets(ctx, w, m, sets, caches[0]); err != nil {
		return err
	}
	for _, c := range differ {
		start, end, row := m.refs(c)
		*row = *end
		if s := union(m, sets[end.id], sets[start.id], unions); s != sets[end.id] {
			*row = setRef[T]{set: s}
		}
	}
	return nil
}

// readSets reads the sets that are nil.
func readSets[T any](ctx context.Context, w *writer, m *merging[T], sets map[int64]*ingest.Set[T], cache *setCache[T]) error {
	var ids []int64
	for id, s := range sets {
		if s == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	of := make(map[int64][]int64, len(ids))
	members := make(map[int64]*T)
	err := in(ctx, w.db, w.tx, m.members, ids, idArg, func(rows *sql.Rows) error {
		var set, id int64
		if err := rows.Scan(&set, &id); err != nil {
			return err
		}
		of[set] = append(of[set], id)
		members[id] = nil
		return nil
	})
	if err == nil {
		err = in(ctx, w.db, w.tx, m.rows, slices.Sorted(maps.Keys(members)), idArg, func(rows *sql.Rows) error {
			id, member, err := m.scan(rows)
			members[id] = member
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("read sets of %s: %w", m.role, err)
	}
	for _, set := range ids {
		list := make([]*T, 0, len(of[set]))
		for _, id := range of[set] {
			if members[id] != nil { // one that is lost is for verify to tell
				list = append(list, members[id])
			}
		}
		sets[set] = ingest.NewSet(m.role, list, m.hash)
		cache.put(set, sets[set])
	}
	return nil
}

// union adds to end what start has under other names.
func union[T any](m *merging[T], end, start *ingest.Set[T], known map[[2]ingest.Hash]*ingest.Set[T]) *ingest.Set[T] {
	key := [2]ingest.Hash{end.Hash, start.Hash}
	if s := known[key]; s != nil {
		return s
	}
	have := make(map[string]bool, len(end.Members))
	for _, member := range end.Members {
		have[m.name(member)] = true
	}
	members := slices.Clone(end.Members)
	for _, member := range start.Members {
		if !have[m.name(member)] {
			members = append(members, member)
		}
	}
	s := end
	if len(members) > len(end.Members) {
		s = ingest.NewSet(m.role, members, m.hash)
	}
	if len(known) >= cachedUnions {
		clear(known)
	}
	known[key] = s
	return s
}

func (r setRef[T]) empty() bool { return r.id == 0 && (r.set == nil || len(r.set.Members) == 0) }

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

// cached returns the set that one of the caches has.
func cached[T any](id int64, caches []*setCache[T]) *ingest.Set[T] {
	for _, c := range caches {
		if s := c.sets[id]; s != nil {
			return s
		}
	}
	return nil
}

// keep takes over what from has.
func (c *setCache[T]) keep(from *setCache[T]) {
	for id, s := range from.sets {
		c.put(id, s)
	}
}
