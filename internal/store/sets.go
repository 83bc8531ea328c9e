package store

import (
	"context"
	"database/sql"
	"errors"
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
	if err := nameSets(ctx, objects, w.objectSetIDs, &w.objectSets); err != nil {
		return err
	}
	if err := nameSets(ctx, envs, w.envSetIDs, &w.envSets); err != nil {
		return err
	}
	return w.mergeSets(ctx, list, func(refs []*objectRef) error {
		return nameUnions(ctx, refs, w.objectSetIDs, &w.objectSets)
	}, func(refs []*envRef) error {
		return nameUnions(ctx, refs, w.envSetIDs, &w.envSets)
	})
}

// setIDsFunc stores sets of one kind and returns their ids.
type setIDsFunc[T any] func(context.Context, []*ingest.Set[T]) ([]int64, error)

// nameSets stores the sets that have no id yet.
func nameSets[T any](ctx context.Context, refs []*setRef[T], ids setIDsFunc[T], cache *setCache[int64, T]) error {
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

// nameUnions stores merged sets, of which the id is enough then.
func nameUnions[T any](ctx context.Context, refs []*setRef[T], ids setIDsFunc[T], cache *setCache[int64, T]) error {
	err := nameSets(ctx, refs, ids, cache)
	for _, ref := range refs {
		ref.set = nil
	}
	return err
}

// merging is how sets of one kind are merged.
type merging[T any] struct {
	role string
	refs func(*claim) (start, end, row *setRef[T])
	// members reads set_id and the member's id, which rows and scan turn into
	// members. They are not joined: a server that has not counted its rows yet
	// would read all of them.
	members, rows string
	sizes         string // reads set_id and how many members it has
	scan          func(*sql.Rows) (id int64, member *T, err error)
	name          func(*T) string // under which a member of the end hides one of the start
	hash          func(*T) ingest.Hash
}

var objectMerging = merging[ingest.Object]{
	role:    "objects",
	refs:    func(c *claim) (start, end, row *objectRef) { return &c.start.objects, &c.end.objects, &c.objects },
	sizes:   "SELECT set_id, members FROM object_set WHERE set_id IN (%s)",
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
	sizes:   "SELECT set_id, members FROM env_set WHERE set_id IN (%s)",
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

// How many members the sets may have that are read from the database to be merged,
// or that were made of them and have no id yet, and what they may weigh, see
// [weight], if they are more than one claim's: a member costs some hundred bytes.
const (
	mergedAtOnce = 20_000
	mergedWeight = 4 * mergedAtOnce
)

// errLargeSets says that sets weigh more than may be in memory at once.
var errLargeSets = errors.New("large sets")

// mergeSets gives claims' rows their sets: the end's and what the start has
// besides. Those that this makes come to the functions, some at a time.
func (w *writer) mergeSets(ctx context.Context, list []*claim, objects func([]*objectRef) error, env func([]*envRef) error) error {
	known := w.db.unions
	if err := mergeSets(ctx, w, &objectMerging, list, objects, &known.objects, &w.objectSets, &known.objectSets); err != nil {
		return err
	}
	return mergeSets(ctx, w, &envMerging, list, env, &known.env, &w.envSets, &known.envSets)
}

func mergeSets[T any](ctx context.Context, w *writer, m *merging[T], list []*claim, made func([]*setRef[T]) error, unions *setCache[[2]ingest.Hash, T], caches ...*setCache[int64, T]) error {
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
	sizes, err := setSizes(ctx, w, m, sets)
	if err != nil {
		return err
	}
	var fresh []*setRef[T]
	members, total := 0, 0 // of those, and their weight
	for len(differ) > 0 {
		var some []*claim
		if some, differ, err = readSome(ctx, w, m, differ, sets, sizes, caches); err != nil {
			return err
		}
		for _, c := range some {
			start, end, row := m.refs(c)
			*row = *end
			s := union(m, sets[end.id], sets[start.id], unions)
			if s == sets[end.id] {
				continue
			}
			*row = setRef[T]{set: s}
			fresh = append(fresh, row)
			members += len(s.Members)
			total += weight(s)
			if members > mergedAtOnce || total > mergedWeight {
				if err := made(fresh); err != nil {
					return err
				}
				fresh, members, total = fresh[:0], 0, 0
			}
		}
		for id := range sizes {
			sets[id] = nil // it is read again, or is in the cache
		}
	}
	return made(fresh)
}

// setSizes returns how many members the sets have that are nil.
func setSizes[T any](ctx context.Context, w *writer, m *merging[T], sets map[int64]*ingest.Set[T]) (map[int64]int, error) {
	var ids []int64
	for id, s := range sets {
		if s == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	sizes := make(map[int64]int, len(ids))
	err := in(ctx, w.db, w.tx, m.sizes, ids, idArg, func(rows *sql.Rows) error {
		var id int64
		var size int
		err := rows.Scan(&id, &size)
		sizes[id] = size
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up the sizes of sets of %s: %w", m.role, err)
	}
	return sizes, nil
}

// readSome reads the sets of the first claims of the list, as many as may be in
// memory at once, and returns those claims and the others.
func readSome[T any](ctx context.Context, w *writer, m *merging[T], list []*claim, sets map[int64]*ingest.Set[T], sizes map[int64]int, caches []*setCache[int64, T]) (some, rest []*claim, err error) {
	// By their members at first; how long those are turns out when they are read.
	members, n := 0, 0
	counted := make(map[int64]bool)
	for ; n < len(list) && (n == 0 || members < mergedAtOnce); n++ {
		start, end, _ := m.refs(list[n])
		for _, id := range [...]int64{start.id, end.id} {
			if sets[id] == nil {
				sets[id] = cached(id, caches)
			}
			if sets[id] == nil && !counted[id] {
				counted[id] = true
				members += sizes[id]
			}
		}
	}
	for {
		read := make(map[int64]*ingest.Set[T])
		for _, c := range list[:n] {
			start, end, _ := m.refs(c)
			for _, id := range [...]int64{start.id, end.id} {
				if sets[id] == nil {
					read[id] = nil
				}
			}
		}
		limit := mergedWeight
		if n == 1 {
			limit = 0
		}
		err := readSets(ctx, w, m, read, limit, caches[0])
		if errors.Is(err, errLargeSets) {
			n /= 2
			continue
		} else if err != nil {
			return nil, nil, err
		}
		maps.Copy(sets, read)
		return list[:n], list[n:], nil
	}
}

// readSets reads the sets that are nil; [errLargeSets] if they weigh more than limit,
// unless that is 0.
func readSets[T any](ctx context.Context, w *writer, m *merging[T], sets map[int64]*ingest.Set[T], limit int, cache *setCache[int64, T]) error {
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
		total := 0
		err = in(ctx, w.db, w.tx, m.rows, slices.Sorted(maps.Keys(members)), idArg, func(rows *sql.Rows) error {
			id, member, err := m.scan(rows)
			if err != nil {
				return err
			}
			members[id] = member
			if total += memberWeight(member); limit > 0 && total > limit {
				return errLargeSets
			}
			return nil
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
func union[T any](m *merging[T], end, start *ingest.Set[T], known *setCache[[2]ingest.Hash, T]) *ingest.Set[T] {
	key := [2]ingest.Hash{end.Hash, start.Hash}
	if s := known.sets[key]; s != nil {
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
	known.put(key, s)
	return s
}

func (r setRef[T]) empty() bool { return r.id == 0 && (r.set == nil || len(r.set.Members) == 0) }

// unionCache remembers sets by their ids and the unions that were made of them;
// most runs that load more while they run do it in the same way. It holds what
// is committed only: an id belongs to its content from then on.
type unionCache struct {
	objects    setCache[[2]ingest.Hash, ingest.Object]
	env        setCache[[2]ingest.Hash, ingest.EnvVar]
	objectSets setCache[int64, ingest.Object]
	envSets    setCache[int64, ingest.EnvVar]
}

// cachedMembers is how many members of sets one cache remembers.
const cachedMembers = 40_000

// setCache remembers sets by what names them.
type setCache[K comparable, T any] struct {
	sets   map[K]*ingest.Set[T]
	weight int
}

func (c *setCache[K, T]) put(key K, s *ingest.Set[T]) {
	if c.sets[key] != nil {
		return
	}
	w := weight(s)
	if w > cachedMembers {
		return
	}
	if c.weight += w; c.sets == nil || c.weight > cachedMembers {
		c.sets, c.weight = make(map[K]*ingest.Set[T]), w
	}
	c.sets[key] = s
}

// weight is what a set costs in memory: its members, long ones for more.
func weight[T any](s *ingest.Set[T]) int {
	n := 1
	for _, member := range s.Members {
		n += memberWeight(member)
	}
	return n
}

func memberWeight[T any](member *T) int {
	switch m := any(member).(type) {
	case *ingest.Object:
		return 1 + (len(m.Path)+len(m.HashID))/weighed
	case *ingest.EnvVar:
		return 1 + (len(m.Name)+len(m.Value))/weighed
	}
	return 1
}

// weighed is how many bytes of text cost as much as a member.
const weighed = 200

// cached returns the set that one of the caches has.
func cached[T any](id int64, caches []*setCache[int64, T]) *ingest.Set[T] {
	for _, c := range caches {
		if s := c.sets[id]; s != nil {
			return s
		}
	}
	return nil
}

// keep takes over what from has.
func (c *setCache[K, T]) keep(from *setCache[K, T]) {
	for key, s := range from.sets {
		c.put(key, s)
	}
}
