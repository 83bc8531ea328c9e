package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// importCache remembers the source's dictionaries by their ids, bounded.
type importCache struct {
	objects   map[int64]ingest.Object
	names     map[int64]string // of variables
	functions map[int64]string
}

func newImportCache() importCache {
	return importCache{make(map[int64]ingest.Object), make(map[int64]string), make(map[int64]string)}
}

// list returns columns of a table, NULL for those that an older schema lacks.
func (im *importer) list(table string, columns ...string) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = "NULL"
		if im.has[table][c] {
			list[i] = "t.`" + c + "`"
		}
	}
	return join(list)
}

// span is which rows of a table are read: those behind a key, some at a time.
type span struct {
	after  int64
	limit  int
	column string // if not empty, only rows that have one of these values in it
	among  []any
}

// each reads a chunk of a table in the order of its key, which is the first
// column.
func (im *importer) each(ctx context.Context, c *chunk, table string, columns []string, from string, s span, row func(id int64, v []sql.NullString) error) error {
	query := "SELECT t." + columns[0] + ", " + im.list(table, columns[1:]...)
	if from != "" { // one more column, of another table
		query += ", " + strings.Fields(from)[0]
		from = strings.TrimPrefix(from, strings.Fields(from)[0])
	}
	query += " FROM " + table + " t" + from + " WHERE t." + columns[0] + " > ?"
	args := []any{s.after}
	if s.column != "" {
		query += " AND t." + s.column + " IN (" + placeholders(len(s.among)) + ")"
		args = append(args, s.among...)
	}
	query += " ORDER BY t." + columns[0] + " LIMIT ?"
	values := make([]sql.NullString, len(columns))
	places := []any{&c.last}
	for i := range values {
		places = append(places, &values[i])
	}
	if from == "" {
		places = places[:len(columns)]
	}
	return im.src.query(ctx, im.src.sql, query, append(args, s.limit), func(rows *sql.Rows) error {
		if err := rows.Scan(places...); err != nil {
			return fmt.Errorf("read %s behind %d: %w", table, s.after, err)
		}
		for _, v := range values {
			c.size += len(v.String)
		}
		c.rows++
		c.keys[c.last], c.name = true, values[0].String
		if s.limit == 1 { // the database may refuse it
			c.key, c.row = fmt.Sprintf("%s %d", columns[0], c.last), rowOf(columns, values)
		}
		c.of(table).Read++
		err := row(c.last, values)
		if err == nil && c.size > im.o.Bytes && s.limit > 1 {
			err = errLargeChunk
		}
		return err
	})
}

// Values as records have them.

func storable(v sql.NullString, byDefault string) string {
	if !v.Valid {
		return byDefault
	}
	return xalt.Storable(v.String)
}

func number(v sql.NullString) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(v.String), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}

// seconds have four decimals, as those of a record.
func seconds(v sql.NullString) float64 { return math.Round(number(v)*1e4) / 1e4 }

// upTo is a number from 0 to what records of logs have at most, or what it is by default.
func upTo(most, f, byDefault float64) float64 {
	if f < 0 || f > most {
		return byDefault
	}
	return f
}

// duration is seconds, of an end or of what took time.
func duration(v sql.NullString) float64 { return upTo(xalt.MaxTime, seconds(v), 0) }

func integer(v sql.NullString) int64 { return int64(upTo(1<<53, number(v), 0)) }

// dateOr returns a date and time, made of seconds if it is none, or in no year
// that every database can hold.
func (im *importer) dateOr(v sql.NullString, start float64) string {
	for _, layout := range [...]string{time.DateTime, time.DateOnly} {
		if len(v.String) >= len(layout) {
			if at, err := time.Parse(layout, v.String[:len(layout)]); err == nil && at.Year() >= 1 {
				return at.Format(time.DateTime)
			}
		}
	}
	at := time.Unix(int64(start), 0)
	if local := at.In(im.db.zone); local.Year() <= 9999 {
		return local.Format(time.DateTime)
	}
	return at.UTC().Format(time.DateTime)
}

// uuidOf returns a UUID as it is stored.
func uuidOf(v sql.NullString) (string, bool) {
	id := strings.ToLower(strings.TrimSpace(v.String))
	if len(id) != 36 {
		return "", false
	}
	for i := range len(id) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (id[i] == '-') || !dash && !strings.ContainsRune("0123456789abcdef", rune(id[i])) {
			return "", false
		}
	}
	return id, true
}

// uuid is uuidOf, and notes an odd spelling, for the source may compare UUIDs as
// bytes.
func (c *chunk) uuid(v sql.NullString) (string, bool) {
	id, ok := uuidOf(v)
	if ok && v.String != id && v.String != strings.ToUpper(id) {
		c.spelled = append(c.spelled, v.String)
	}
	return id, ok
}

// digestOf stands for a record's text, which is not there any more.
func digestOf(parts ...any) (d xalt.Digest) {
	sum := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(sum, "%q\n", fmt.Sprint(p))
	}
	copy(d[:], sum.Sum(nil))
	return d
}

var objectColumns = []string{"obj_id", "object_path", "syshost", "hash_id", "module_name", "lib_type", "timestamp"}

func objectOf(v []sql.NullString) ingest.Object {
	o := ingest.Object{Path: storable(v[0], ""), Syshost: storable(v[1], xalt.Unknown), HashID: storable(v[2], "0"), Module: storable(v[3], "")}
	if o.LibType = storable(v[4], ""); o.LibType == "" {
		o.LibType = xalt.LibType(o.Path)
	}
	o.Hash = ingest.ObjectHash(o.Syshost, o.Path, o.HashID)
	return o
}

// objects copies the libraries and object files, with their modules and times.
func (im *importer) objects(ctx context.Context, s span) (*chunk, error) {
	c := newChunk()
	var list []ingest.Object
	var hashes []ingest.Hash
	var stamps []string
	first := make(map[ingest.Hash]int) // of several rows, the first one's name counts
	err := im.each(ctx, c, "xalt_object", objectColumns, "", s, func(_ int64, v []sql.NullString) error {
		o := objectOf(v)
		if i, ok := first[o.Hash]; !ok {
			first[o.Hash] = len(list)
		} else if list[i].Module == "" {
			list[i].Module = o.Module
		}
		list, hashes = append(list, o), append(hashes, o.Hash)
		stamps = append(stamps, im.dateOr(v[5], 0))
		return nil
	})
	c.store = func(ctx context.Context, w *writer) error {
		ids, added, err := w.ensure(ctx, &objectTable, hashes, func(row []any, i int) []any {
			o := &list[i]
			return append(row, o.Path, o.Syshost, o.HashID, null(o.Module), stamps[i], o.LibType, nil)
		})
		if err != nil {
			return err
		}
		there := make(map[int64]*ingest.Object)
		for _, i := range first {
			there[ids[i]] = &list[i]
		}
		for _, i := range added {
			delete(there, ids[i])
		}
		named, err := w.nameObjects(ctx, there)
		w.words(len(list), len(added))
		w.outcome.Repeated -= named
		w.outcome.Updated += named
		return err
	}
	return c, err
}

// nameObjects gives objects that are there, by id, the names that the source has for
// them, if no reverse map has a say about them: those that have none, or if
// all is read again, all. It returns how many it has changed.
func (w *writer) nameObjects(ctx context.Context, there map[int64]*ingest.Object) (named int64, err error) {
	im := w.source
	var ids []int64
	for _, id := range slices.Sorted(maps.Keys(there)) {
		if im.o.Full || there[id].Module != "" {
			ids = append(ids, id)
		}
	}
	query := "SELECT obj_id, module_name FROM xalt_object WHERE map_id IS NULL AND obj_id IN (%s)"
	differ := make(map[int64]string)
	err = in(ctx, w.db, w.on(&objectTable), query, ids, idArg, func(rows *sql.Rows) error {
		var id int64
		var module sql.NullString
		err := rows.Scan(&id, &module)
		if module.String != there[id].Module && (im.o.Full || module.String == "") {
			differ[id] = module.String
		}
		return err
	})
	if err != nil || len(differ) == 0 {
		return 0, err
	}
	names := make(map[ingest.Hash]string)
	alone := false
	if im.o.Full { // the first row may have been in another chunk
		var paths []string
		for id := range differ {
			// The source has no path that was escaped, and cannot compare it as latin1.
			if path := there[id].Path; !strings.ContainsRune(path, '\uFFFD') {
				paths = append(paths, path)
			}
		}
		if names, err = im.objectNames(ctx, paths); err == nil {
			alone, err = w.alone(ctx)
		}
		if err != nil {
			return 0, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(differ)) {
		module, ok := names[there[id].Hash]
		if !ok {
			module = there[id].Module
		}
		if module == differ[id] || module == "" && !alone { // the name may be another database's
			continue
		}
		if _, err := w.db.exec(ctx, w.on(&objectTable), "UPDATE xalt_object SET module_name = ? WHERE obj_id = ?", null(module), id); err != nil {
			return 0, err
		}
		named++
	}
	return named, nil
}

// objectNames returns the first name that the source has for each of its objects of
// these paths; empty if it has none.
func (im *importer) objectNames(ctx context.Context, paths []string) (names map[ingest.Hash]string, err error) {
	query := "SELECT " + im.list("xalt_object", objectColumns[1:]...) + " FROM xalt_object t WHERE t.object_path IN (%s) ORDER BY t.obj_id"
	values := make([]sql.NullString, len(objectColumns)-1)
	places := make([]any, len(values))
	for i := range values {
		places[i] = &values[i]
	}
	err = im.src.retry(ctx, func() error {
		names = make(map[ingest.Hash]string)
		return in(ctx, im.src, im.src.sql, query, paths, textArg, func(rows *sql.Rows) error {
			if err := rows.Scan(places...); err != nil {
				return err
			}
			if o := objectOf(values); names[o.Hash] == "" {
				names[o.Hash] = o.Module
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read the names of objects: %w", err)
	}
	return names, nil
}

// words counts content that was stored, and what was there already.
func (w *writer) words(read, added int) {
	w.outcome.Stored += int64(added)
	w.outcome.Repeated += int64(read - added)
}

// dictionary copies a table of names.
func (im *importer) dictionary(ctx context.Context, d *dimension, hash func(string) ingest.Hash, s span) (*chunk, error) {
	c := newChunk()
	var list []string
	var hashes []ingest.Hash
	err := im.each(ctx, c, d.table, []string{d.id, d.columns[0]}, "", s, func(_ int64, v []sql.NullString) error {
		name := storable(v[0], "")
		list, hashes = append(list, name), append(hashes, hash(name))
		return nil
	})
	c.store = func(ctx context.Context, w *writer) error {
		_, added, err := w.ensure(ctx, d, hashes, func(row []any, i int) []any { return append(row, list[i]) })
		w.words(len(list), len(added))
		return err
	}
	return c, err
}

func (im *importer) envNames(ctx context.Context, s span) (*chunk, error) {
	return im.dictionary(ctx, &envNameTable, ingest.EnvNameHash, s)
}

func (im *importer) functions(ctx context.Context, s span) (*chunk, error) {
	return im.dictionary(ctx, &functionTable, ingest.FunctionHash, s)
}

// perWord is about what a library, variable or function takes in memory until it is stored.
const perWord = 500

// pair is a row of a join.
type pair struct {
	id    int64 // of the object, variable or function
	value string
}

// joined reads the rows of a join for the records of a chunk.
func (im *importer) joined(ctx context.Context, c *chunk, table, record, id, value string, keys []int64) (map[int64][]pair, error) {
	found := make(map[int64][]pair, len(keys))
	if im.has[table] == nil {
		return found, nil
	}
	size := 0
	same := make(map[string]string) // most values repeat from run to run
	seen := make(map[int64]bool)    // and so do libraries
	query := "SELECT t." + record + ", t." + id + ", " + value + " FROM " + table + " t WHERE t." + record + " IN (%s) ORDER BY t." + record + ", t." + id
	err := in(ctx, im.src, im.src.sql, query, keys, idArg, func(rows *sql.Rows) error {
		var key int64
		var p pair
		var text sql.NullString
		if err := rows.Scan(&key, &p.id, &text); err != nil {
			return err
		}
		known, ok := same[text.String]
		if !ok {
			known = xalt.Storable(text.String)
			same[text.String] = known
			size += len(known) + perWord
		}
		if !seen[p.id] {
			seen[p.id] = true
			size += perWord
		}
		if size += perMember; size > im.o.Bytes && len(keys) > 1 {
			return errLargeChunk
		}
		p.value = known
		found[key] = append(found[key], p)
		c.of(table).Read++
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	return found, nil
}

// learn reads those rows of a dictionary that are not cached.
func learn[T any](ctx context.Context, im *importer, cache *map[int64]T, table string, columns []string, joins map[int64][]pair, make1 func([]sql.NullString) T) error {
	if len(*cache) > cachedIDs {
		*cache = make(map[int64]T)
	}
	want := make(map[int64]bool)
	var ids []int64
	for _, list := range joins {
		for _, p := range list {
			if _, ok := (*cache)[p.id]; !ok && !want[p.id] {
				want[p.id] = true
				ids = append(ids, p.id)
			}
		}
	}
	if len(ids) == 0 || im.has[table] == nil {
		return nil
	}
	values := make([]sql.NullString, len(columns)-1)
	var id int64
	places := []any{&id}
	for i := range values {
		places = append(places, &values[i])
	}
	query := "SELECT t." + columns[0] + ", " + im.list(table, columns[1:]...) + " FROM " + table + " t WHERE t." + columns[0] + " IN (%s)"
	err := in(ctx, im.src, im.src.sql, query, ids, idArg, func(rows *sql.Rows) error {
		if err := rows.Scan(places...); err != nil {
			return err
		}
		(*cache)[id] = make1(values)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", table, err)
	}
	return nil
}

// setOf makes a record's set of its rows of a join.
func setOf[T any](c *chunk, table, role string, pairs []pair, member func(pair) (T, bool), hash func(*T) ingest.Hash) *ingest.Set[T] {
	members := make([]*T, 0, len(pairs))
	n := c.of(table)
	for _, p := range pairs {
		m, ok := member(p)
		if !ok { // it refers to a row that is missing
			n.Left++
			continue
		}
		members = append(members, &m)
	}
	all := len(members)
	s := ingest.NewSet(role, members, hash)
	n.Stored += int64(len(s.Members))
	n.Folded += int64(all - len(s.Members))
	return s
}

// objectSets reads the sets of objects of a chunk's records.
func (im *importer) objectSets(ctx context.Context, c *chunk, table, record string, keys []int64) (map[int64]*ingest.Set[ingest.Object], error) {
	joins, err := im.joined(ctx, c, table, record, "obj_id", "NULL", keys)
	if err != nil {
		return nil, err
	}
	if err := learn(ctx, im, &im.cache.objects, "xalt_object", objectColumns, joins, objectOf); err != nil {
		return nil, err
	}
	sets := make(map[int64]*ingest.Set[ingest.Object], len(keys))
	for _, key := range keys {
		sets[key] = setOf(c, table, "objects", joins[key], func(p pair) (ingest.Object, bool) {
			o, ok := im.cache.objects[p.id]
			return o, ok
		}, func(o *ingest.Object) ingest.Hash { return o.Hash })
	}
	return sets, nil
}

func nameOf(v []sql.NullString) string { return storable(v[0], "") }
