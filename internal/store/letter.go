package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// Letter is a stored dead letter.
type Letter struct {
	ID       int64  `json:"id"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
	Kind     string `json:"kind"`
	Syshost  string `json:"syshost"`
	Key      string `json:"key"`
	Source   string `json:"source"` // file
	Line     int64  `json:"line"`   // from 1; 0 if unknown
	Received string `json:"received"`
	Bytes    int64  `json:"bytes"`         // length of Raw
	Raw      []byte `json:"raw,omitempty"` // only from [DB.Letter]
}

// ErrNoLetter means that there is no dead letter of that number.
var ErrNoLetter = errors.New("no such dead letter")

func (db *DB) letterColumns() string {
	return "letter_id, reason, detail, kind, syshost, " + db.dialect.types.Quote("key") + ", source, line, received, LENGTH(raw)"
}

func (l *Letter) scan(rows *sql.Rows, more ...any) error {
	return rows.Scan(append([]any{&l.ID, &l.Reason, &l.Detail, &l.Kind, &l.Syshost, &l.Key, &l.Source, &l.Line, dateText{&l.Received}, &l.Bytes}, more...)...)
}

// Letters lists the dead letters, without their bytes, in the order in which
// they came.
func (db *DB) Letters(ctx context.Context) ([]Letter, error) {
	var list []Letter
	err := db.query(ctx, db.sql, "SELECT "+db.letterColumns()+" FROM dead_letter ORDER BY letter_id", nil, func(rows *sql.Rows) error {
		var l Letter
		err := l.scan(rows)
		list = append(list, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// Letter returns one dead letter with its bytes.
func (db *DB) Letter(ctx context.Context, id int64) (Letter, error) {
	var l Letter
	err := db.query(ctx, db.sql, "SELECT "+db.letterColumns()+", raw FROM dead_letter WHERE letter_id = ?", []any{id}, func(rows *sql.Rows) error {
		return l.scan(rows, &l.Raw)
	})
	switch {
	case err != nil:
		return Letter{}, fmt.Errorf("read dead letter %d: %w", id, err)
	case l.ID != id:
		return Letter{}, fmt.Errorf("%w: %d", ErrNoLetter, id)
	}
	return l, nil
}

// Buried returns dead letters for [ingest.Ingester.Replay], which must be there,
// or without ids all, as far as they are still there in their turn.
func (db *DB) Buried(ctx context.Context, ids ...int64) iter.Seq2[ingest.Buried, error] {
	return func(yield func(ingest.Buried, error) bool) {
		all := len(ids) == 0
		if err := db.eachBuried(ctx, ids, all, yield); err != nil {
			yield(ingest.Buried{}, fmt.Errorf("read dead letters: %w", err))
		}
	}
}

// buriedBytes is about how many bytes of letters are read at once.
const buriedBytes = 8 << 20

func (db *DB) eachBuried(ctx context.Context, ids []int64, all bool, yield func(ingest.Buried, error) bool) error {
	sizes, err := db.letterSizes(ctx, ids)
	if err != nil {
		return err
	}
	if all {
		ids = slices.Sorted(maps.Keys(sizes))
	}
	for len(ids) > 0 {
		n, size := 0, int64(0)
		for n < len(ids) && n < inChunk && (n == 0 || size+sizes[ids[n]] <= buriedBytes) {
			size += sizes[ids[n]]
			n++
		}
		letters, err := db.buried(ctx, ids[:n])
		if err != nil {
			return err
		}
		for _, id := range ids[:n] {
			l, ok := letters[id]
			if !ok && !all {
				return fmt.Errorf("%w: %d", ErrNoLetter, id)
			}
			if ok && !yield(l, nil) {
				return nil
			}
		}
		ids = ids[n:]
	}
	return nil
}

// letterSizes returns the lengths of letters, in bytes; without ids of all.
func (db *DB) letterSizes(ctx context.Context, ids []int64) (map[int64]int64, error) {
	sizes := make(map[int64]int64)
	note := func(rows *sql.Rows) error {
		var id, size int64
		err := rows.Scan(&id, &size)
		sizes[id] = size
		return err
	}
	const query = "SELECT letter_id, LENGTH(raw) FROM dead_letter"
	if len(ids) == 0 {
		return sizes, db.query(ctx, db.sql, query, nil, note)
	}
	return sizes, in(ctx, db, db.sql, query+" WHERE letter_id IN (%s)", ids, idArg, note)
}

// buried reads letters.
func (db *DB) buried(ctx context.Context, ids []int64) (map[int64]ingest.Buried, error) {
	letters := make(map[int64]ingest.Buried)
	query := "SELECT letter_id, reason, detail, kind, syshost, " + db.dialect.types.Quote("key") + ", source, line, group_id, raw FROM dead_letter WHERE letter_id IN (%s)"
	return letters, in(ctx, db, db.sql, query, ids, idArg, func(rows *sql.Rows) error {
		var l ingest.Buried
		var group []byte
		err := rows.Scan(&l.ID, &l.Reason, &l.Detail, &l.Kind, &l.Syshost, &l.Key, &l.Source, &l.Line, &group, &l.Raw)
		if group != nil {
			id := toHash[xalt.Identity](group)
			l.Group = &id
		}
		letters[l.ID] = l
		return err
	})
}

// writeDead stores dead letters. One is named by its reason and its bytes; of a
// group there is one only, the last. Of bytes that are more than a database takes,
// the beginning is kept, and the letter says so.
func (w *writer) writeDead(ctx context.Context, b *ingest.Batch) error {
	gone := make([]int64, len(b.Raised))
	for i, r := range b.Raised {
		gone[i] = r.Letter
	}
	dead := b.Dead
	if len(w.spared) > 0 {
		dead = slices.DeleteFunc(slices.Clone(dead), func(d ingest.DeadLetter) bool { return d.Group != nil && w.spared[*d.Group] })
	}
	if err := w.deleteLetters(ctx, gone); err != nil || len(dead) == 0 {
		return err
	}
	last := make(map[xalt.Identity]int) // letter of a group
	groups := make([]xalt.Identity, 0, len(dead))
	sums := make([]ingest.Hash, len(dead))
	for i := range dead {
		d := &dead[i]
		h := sha256.New()
		h.Write([]byte(d.Reason + "\x00"))
		h.Write(d.Raw)
		sums[i] = toHash[ingest.Hash](h.Sum(nil))
		if d.Group != nil {
			last[*d.Group] = i
			groups = append(groups, *d.Group)
		}
	}
	wanted := func(group xalt.Identity) ingest.Hash { return sums[last[group]] }
	if err := w.deleteOthers(ctx, groups, wanted); err != nil {
		return err
	}
	there := make(map[ingest.Hash]bool)
	err := in(ctx, w.db, w.tx, "SELECT hash FROM dead_letter WHERE hash IN (%s)", sums, hashArg, func(rows *sql.Rows) error {
		var hash []byte
		err := rows.Scan(&hash)
		there[toHash[ingest.Hash](hash)] = true
		return err
	})
	if err != nil {
		return err
	}
	columns := []string{"hash", "group_id", "reason", "detail", "kind", "syshost", w.db.dialect.types.Quote("key"), "source", "line", "received", "raw"}
	var rows [][]any
	size := 0
	for i := range dead {
		d := &dead[i]
		var group any
		if d.Group != nil {
			if last[*d.Group] != i {
				continue
			}
			group = d.Group[:]
		}
		if there[sums[i]] {
			continue
		}
		there[sums[i]] = true
		w.outcome.NewDead++
		raw, detail := d.Raw, d.Detail
		if most := w.db.dialect.maxBytes; len(raw) > most {
			raw, detail = raw[:most], fmt.Sprintf("%s; only the first %d of %d bytes are kept", detail, most, len(raw))
		}
		if size += len(raw); size > deadBytes {
			if err := w.db.insert(ctx, w.tx, "dead_letter", columns, rows, ""); err != nil {
				return err
			}
			rows, size = rows[:0], len(raw)
		}
		rows = append(rows, []any{sums[i][:], group, d.Reason, detail, d.Kind, d.Syshost, d.Key, d.Source, d.Line, w.stamp, notNil(raw)})
	}
	return w.db.insert(ctx, w.tx, "dead_letter", columns, rows, "")
}

// deadBytes is about how many bytes of dead letters are inserted at once, which
// is less than servers take in a statement.
const deadBytes = 4 << 20

// deleteOthers deletes the letters of groups that are not the wanted ones.
func (w *writer) deleteOthers(ctx context.Context, groups []xalt.Identity, wanted func(group xalt.Identity) ingest.Hash) error {
	var gone []int64
	err := in(ctx, w.db, w.tx, "SELECT letter_id, group_id, hash FROM dead_letter WHERE group_id IN (%s)", groups, identityArg, func(rows *sql.Rows) error {
		var id int64
		var group, hash []byte
		err := rows.Scan(&id, &group, &hash)
		if wanted(toHash[xalt.Identity](group)) != toHash[ingest.Hash](hash) {
			gone = append(gone, id)
		}
		return err
	})
	if err != nil {
		return err
	}
	return w.deleteLetters(ctx, gone)
}

func (w *writer) deleteLetters(ctx context.Context, ids []int64) error {
	return execIn(ctx, w.db, w.tx, "DELETE FROM dead_letter WHERE letter_id IN (%s)", nil, ids, idArg)
}
