package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"xaltpipe/internal/ingest"
)

// Ids of objects, values and sets come from their content: the first 52 bits
// of a 128-bit hash, which is stored as well. So no id has to be read back, no
// sequence is shared, two databases can be merged, and a second load gives the
// same ids. Where an id is taken by other content, the newcomer takes the next
// derived one: a lookup walks the same chain.

// deriveID returns the n-th id for content, from 1.
func (db *DB) deriveID(h ingest.Hash, n int) int64 {
	if n > 0 {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint64(h[:], uint64(n)))
		copy(h[:], sum[:])
	}
	return max(1, int64(binary.BigEndian.Uint64(h[:8])>>(64-db.idBits))) // 0 means none
}

// dimension is a table whose rows are named by their content.
type dimension struct {
	table, id string
	columns   []string // besides id and hash
}

var (
	objectTable    = dimension{"xalt_object", "obj_id", []string{"object_path", "syshost", "hash_id", "module_name", "timestamp", "lib_type", "map_id"}}
	envNameTable   = dimension{"xalt_env_name", "env_id", []string{"env_name"}}
	envValueTable  = dimension{"env_value", "value_id", []string{"env_id", "env_value"}}
	functionTable  = dimension{"xalt_function", "func_id", []string{"function_name"}}
	objectSets     = dimension{"object_set", "set_id", []string{"members"}}
	envSets        = dimension{"env_set", "set_id", []string{"members"}}
	functionSets   = dimension{"function_set", "set_id", []string{"members"}}
	pkgTable       = dimension{"pkg", "pkg_id", []string{"run_uuid", "program", "pkg_name", "pkg_version", "pkg_path", "imported"}}
	reverseMapping = dimension{"reverse_map", "map_id", []string{"first_used"}}
)

// on returns the session that writes a table.
func (w *writer) on(d *dimension) *session {
	if w.objects != nil && (d == &objectTable || d == &objectSets || d == &reverseMapping) { // objects name the last
		return w.objects
	}
	return w.tx
}

// ensure gives every hash an id, adding rows that are not there, and returns
// which were added. values appends the columns of an added row.
func (w *writer) ensure(ctx context.Context, d *dimension, hashes []ingest.Hash, values func(row []any, i int) []any) (ids []int64, added []int, err error) {
	ids = make([]int64, len(hashes))
	type open struct{ index, n int }
	var todo []open
	first := make(map[ingest.Hash]int, len(hashes))
	var repeats []int
	for i, h := range hashes {
		if id, ok := w.lookup(d, h); ok {
			ids[i] = id
		} else if _, ok := first[h]; ok {
			repeats = append(repeats, i)
		} else {
			first[h] = i
			todo = append(todo, open{i, 0})
		}
	}
	rows := make([][]any, 0, len(todo))
	cells := make([]any, 0, len(todo)*(2+len(d.columns))) // of all rows
	for len(todo) > 0 {
		// In the order of the key, which for most is that of the hash, a look-up
		// and an insertion touch each page once.
		slices.SortFunc(todo, func(a, b open) int { return bytes.Compare(hashes[a.index][:], hashes[b.index][:]) })
		candidates := make([]int64, len(todo))
		for k, o := range todo {
			candidates[k] = w.db.deriveID(hashes[o.index], o.n)
		}
		taken, err := w.holders(ctx, d, candidates)
		if err != nil {
			return nil, nil, fmt.Errorf("look up %s: %w", d.table, err)
		}
		var again []open
		for k, o := range todo {
			h, id := hashes[o.index], candidates[k]
			holder, used := taken[id]
			switch {
			case used && holder == h:
				if ids[o.index] = id; len(w.learned[d]) >= cachedIDs {
					continue // it is found again
				}
			case used: // other content has this id
				again = append(again, open{o.index, o.n + 1})
				continue
			default:
				taken[id] = h
				added = append(added, o.index)
				start := len(cells)
				cells = values(append(cells, id, hashes[o.index][:]), o.index)
				rows = append(rows, cells[start:len(cells):len(cells)])
			}
			ids[o.index] = id
			w.learn(d, h, id)
		}
		todo = again
	}
	for _, i := range repeats {
		ids[i] = ids[first[hashes[i]]]
	}
	if len(rows) > 0 {
		slices.SortFunc(rows, func(a, b []any) int { return cmp.Compare(a[0].(int64), b[0].(int64)) })
		w.db.insertLater(ctx, w.on(d), d.table, append([]string{d.id, "hash"}, d.columns...), rows)
	}
	return ids, added, err
}

// holders returns whose the ids are that are in use. Of a table that is known
// completely no row can be found that was not known; should an id be in use all the
// same, by other content, the database refuses the row, and the batch goes again
// with a look at the table.
func (w *writer) holders(ctx context.Context, d *dimension, ids []int64) (map[int64]ingest.Hash, error) {
	holders := make(map[int64]ingest.Hash)
	if complete, err := w.isComplete(ctx, d); complete || err != nil {
		return holders, err
	}
	query := fmt.Sprintf("SELECT %s, hash FROM %s WHERE %s IN (%%s)", d.id, d.table, d.id)
	err := in(ctx, w.db, w.on(d), query, ids, idArg, func(rows *sql.Rows) error {
		var id int64
		var hash []byte
		if err := rows.Scan(&id, &hash); err != nil {
			return err
		}
		holders[id] = toHash[ingest.Hash](hash)
		return nil
	})
	return holders, err
}

// isComplete reports whether all rows of a table are known: it was empty when it was
// first looked at, and nobody else has written since.
func (w *writer) isComplete(ctx context.Context, d *dimension) (bool, error) {
	if w.complete == nil || w.complete[d] || w.learned[d] != nil || w.db.known.ids[d] != nil {
		return w.complete[d], nil
	}
	var one int
	err := w.db.row(ctx, w.on(d), "SELECT 1 FROM "+d.table+" LIMIT 1", nil, &one)
	if errors.Is(err, sql.ErrNoRows) {
		w.complete[d] = true
		return true, nil
	}
	return false, err
}

// idCache remembers ids of content that is committed. It is bounded, and
// correctness does not depend on it.
type idCache struct {
	ids      map[*dimension]map[ingest.Hash]int64
	complete map[*dimension]bool // of which tables it has all, unless somebody else has written
}

// cachedIDs is how many ids of one table are remembered.
const cachedIDs = 100_000

func newIDCache() *idCache {
	return &idCache{ids: make(map[*dimension]map[ingest.Hash]int64), complete: make(map[*dimension]bool)}
}

func (c *idCache) put(d *dimension, learned map[ingest.Hash]int64) {
	ids := c.ids[d]
	if ids == nil || len(ids)+len(learned) > cachedIDs {
		if ids != nil {
			delete(c.complete, d)
		}
		ids = make(map[ingest.Hash]int64, len(learned))
		c.ids[d] = ids
	}
	maps.Copy(ids, learned)
}

// lookup finds an id that this transaction or one before it has seen.
func (w *writer) lookup(d *dimension, h ingest.Hash) (int64, bool) {
	if id, ok := w.learned[d][h]; ok {
		return id, true
	}
	id, ok := w.db.known.ids[d][h]
	return id, ok
}

func (w *writer) learn(d *dimension, h ingest.Hash, id int64) {
	if w.learned[d] == nil {
		w.learned[d] = make(map[ingest.Hash]int64)
	}
	w.learned[d][h] = id
}

// objectSetIDs stores sets of objects with their members, and returns their ids.
// The empty set has id 0 and no row.
func (w *writer) objectSetIDs(ctx context.Context, sets []*ingest.Set[ingest.Object]) ([]int64, error) {
	return setIDs(ctx, w, &objectSets, "object_set_member", "obj_id", sets, func(members []*ingest.Object) ([]int64, error) {
		hashes := make([]ingest.Hash, len(members))
		for i := range members {
			hashes[i] = members[i].Hash
		}
		var maps []ingest.Hash
		for i := range members {
			maps = append(maps, members[i].MapID)
		}
		mapIDs, err := w.mapIDs(ctx, maps)
		if err != nil {
			return nil, err
		}
		ids, _, err := w.ensure(ctx, &objectTable, hashes, func(row []any, i int) []any {
			o := members[i]
			return append(row, o.Path, o.Syshost, o.HashID, null(o.Module), w.stamp, o.LibType, nullID(mapIDs[i]))
		})
		return ids, err
	})
}

// mapIDs returns the ids of reverse maps, 0 for none.
func (w *writer) mapIDs(ctx context.Context, maps []ingest.Hash) ([]int64, error) {
	ids := make([]int64, len(maps))
	for i, h := range maps {
		if h == (ingest.Hash{}) {
			continue
		}
		id, ok := w.lookup(&reverseMapping, h)
		if !ok {
			one, _, err := w.ensure(ctx, &reverseMapping, []ingest.Hash{h}, func(row []any, _ int) []any { return append(row, w.stamp) })
			if err != nil {
				return nil, err
			}
			id = one[0]
		}
		ids[i] = id
	}
	return ids, nil
}

func (w *writer) envSetIDs(ctx context.Context, sets []*ingest.Set[ingest.EnvVar]) ([]int64, error) {
	return setIDs(ctx, w, &envSets, "env_set_member", "value_id", sets, func(members []*ingest.EnvVar) ([]int64, error) {
		names := make([]ingest.Hash, len(members))
		values := make([]ingest.Hash, len(members))
		for i := range members {
			names[i] = ingest.EnvNameHash(members[i].Name)
			values[i] = members[i].Hash
		}
		nameIDs, _, err := w.ensure(ctx, &envNameTable, names, func(row []any, i int) []any { return append(row, members[i].Name) })
		if err != nil {
			return nil, err
		}
		ids, _, err := w.ensure(ctx, &envValueTable, values, func(row []any, i int) []any { return append(row, nameIDs[i], members[i].Value) })
		return ids, err
	})
}

func (w *writer) functionSetIDs(ctx context.Context, sets []*ingest.Set[ingest.Function]) ([]int64, error) {
	return setIDs(ctx, w, &functionSets, "function_set_member", "func_id", sets, func(members []*ingest.Function) ([]int64, error) {
		hashes := make([]ingest.Hash, len(members))
		for i := range members {
			hashes[i] = members[i].Hash
		}
		ids, _, err := w.ensure(ctx, &functionTable, hashes, func(row []any, i int) []any { return append(row, members[i].Name) })
		return ids, err
	})
}

// setIDs stores sets and their members. Members are looked at only for sets
// that are new; ensureMembers gets those of all of them together.
func setIDs[T any](ctx context.Context, w *writer, d *dimension, memberTable, memberID string, sets []*ingest.Set[T], ensureMembers func([]*T) ([]int64, error)) ([]int64, error) {
	var hashes []ingest.Hash
	var at []int // in sets
	ids := make([]int64, len(sets))
	for i, s := range sets {
		if s != nil && len(s.Members) > 0 {
			hashes = append(hashes, s.Hash)
			at = append(at, i)
		}
	}
	found, added, err := w.ensure(ctx, d, hashes, func(row []any, i int) []any { return append(row, len(sets[at[i]].Members)) })
	if err != nil {
		return nil, err
	}
	for k, i := range at {
		ids[i] = found[k]
	}
	var members []*T
	for _, k := range added {
		members = append(members, sets[at[k]].Members...)
	}
	memberIDs, err := ensureMembers(members)
	if err != nil {
		return nil, err
	}
	rows := make([][]any, 0, len(members))
	cells := make([]any, 0, 3*len(members)) // of all rows
	for _, k := range added {
		var set any = found[k]
		for ordinal := range sets[at[k]].Members {
			cells = append(cells, set, ordinal, memberIDs[len(rows)])
			rows = append(rows, cells[len(cells)-3:len(cells):len(cells)])
		}
	}
	slices.SortStableFunc(rows, func(a, b []any) int { return cmp.Compare(a[0].(int64), b[0].(int64)) })
	w.db.insertLater(ctx, w.on(d), memberTable, []string{"set_id", "ordinal", memberID}, rows)
	return ids, nil
}
