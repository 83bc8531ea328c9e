package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// Known returns what became of records; see [ingest.Store].
func (db *DB) Known(ctx context.Context, selection ingest.Hash, ids []xalt.Identity) ([]ingest.Fate, error) {
	at := make(map[xalt.Identity]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	return read(ctx, db, "look up known records", func() ([]ingest.Fate, error) {
		fates := make([]ingest.Fate, len(ids))
		old, err := db.outsideGap(ctx, ids)
		if err != nil {
			return nil, err
		}
		err = in(ctx, db, db.sql, "SELECT id, fate, selection FROM ingest_identity WHERE id IN (%s)", old, identityArg, func(rows *sql.Rows) error {
			var id, chosen []byte
			var fate ingest.Fate
			if err := rows.Scan(&id, &fate, &chosen); err != nil {
				return err
			}
			if fate == ingest.FateFiltered && toHash[ingest.Hash](chosen) != selection {
				return nil
			}
			fates[at[toHash[xalt.Identity](id)]] = fate
			return nil
		})
		for i, id := range ids { // the same id may be asked for twice
			fates[i] = fates[at[id]]
		}
		return fates, err
	})
}

// gap lies between two identities that are stored, with none between them. XALT's
// UUIDs begin with the time, and logs are read as time goes by, so that most of what
// is read lies in the gap behind what was stored last.
type gap struct {
	mu            sync.Mutex
	known         bool
	commits       int64          // how many of this process's batches were stored when it was found
	after, before *xalt.Identity // nil: there is none
}

// outsideGap returns those of the identities that may be stored. What somebody else
// stores in the gap is found when this process has stored a batch; until then it is
// decoded for nothing.
func (db *DB) outsideGap(ctx context.Context, ids []xalt.Identity) ([]xalt.Identity, error) {
	g := &db.gap
	g.mu.Lock()
	defer g.mu.Unlock()
	commits := db.commits.Load()
	if g.commits != commits {
		g.known = false
	}
	ids = slices.DeleteFunc(slices.Clone(ids), g.holds)
	if len(ids) == 0 {
		return nil, nil
	}
	last := slices.MaxFunc(ids, compareIdentities)
	if g.known && g.after != nil && compareIdentities(last, *g.after) <= 0 {
		return ids, nil
	}
	after, err := db.identity(ctx, "SELECT id FROM ingest_identity WHERE id <= ? ORDER BY id DESC LIMIT 1", last)
	if err != nil {
		return nil, err
	}
	before, err := db.identity(ctx, "SELECT id FROM ingest_identity WHERE id > ? ORDER BY id LIMIT 1", last)
	if err != nil {
		return nil, err
	}
	g.known, g.commits, g.after, g.before = true, commits, after, before
	return slices.DeleteFunc(ids, g.holds), nil
}

// holds reports whether an identity lies in the gap.
func (g *gap) holds(id xalt.Identity) bool {
	return g.known && (g.after == nil || compareIdentities(id, *g.after) > 0) && (g.before == nil || compareIdentities(id, *g.before) < 0)
}

func compareIdentities(a, b xalt.Identity) int { return bytes.Compare(a[:], b[:]) }

// identity reads one, nil if there is none.
func (db *DB) identity(ctx context.Context, query string, of xalt.Identity) (found *xalt.Identity, err error) {
	err = db.lookUp(ctx, db.sql, query, []any{of[:]}, func(rows *sql.Rows) error {
		var id sql.RawBytes
		err := rows.Scan(&id)
		h := toHash[xalt.Identity](id)
		found = &h
		return err
	})
	return found, err
}

// remember stores what became of the batch's records.
func (w *writer) remember(ctx context.Context, b *ingest.Batch) error {
	rows := make([][]any, 0, len(b.Remember))
	at := make(map[xalt.Identity]int, len(b.Remember))
	for _, r := range b.Remember {
		var selection any
		if r.Fate == ingest.FateFiltered {
			selection = b.Selection[:]
		}
		row := []any{r.ID[:], int(r.Fate), selection}
		if i, ok := at[r.ID]; ok {
			rows[i] = row
			continue
		}
		at[r.ID] = len(rows)
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b []any) int { return bytes.Compare(a[0].([]byte), b[0].([]byte)) })
	columns := []string{"id", "fate", "selection"}
	// They are mostly not there: that was asked before they were decoded.
	w.tx.later(func(c *connection) error {
		return w.db.insertNew(ctx, c, "ingest_identity", columns, rows, w.db.dialect.upsert(columns[:1], columns[1:]))
	})
	return nil
}

// Waiting returns stored blocks; see [ingest.Store].
func (db *DB) Waiting(ctx context.Context, ids []xalt.Identity, limit int) ([][]xalt.Part, error) {
	return read(ctx, db, "read waiting blocks", func() ([][]xalt.Part, error) { return db.waiting(ctx, ids, limit) })
}

func (db *DB) waiting(ctx context.Context, ids []xalt.Identity, limit int) ([][]xalt.Part, error) {
	at := make(map[xalt.Identity]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	parts := make([][]xalt.Part, len(ids))
	sizes := make(map[xalt.Identity]int64)
	err := in(ctx, db, db.sql, "SELECT group_id, "+blockBytes+" FROM ingest_block WHERE group_id IN (%s) GROUP BY group_id", ids, identityArg, func(rows *sql.Rows) error {
		var id []byte
		var size int64
		if err := rows.Scan(&id, &size); err != nil {
			return err
		}
		sizes[toHash[xalt.Identity](id)] = size
		return nil
	})
	if err != nil {
		return nil, err
	}
	var wanted []xalt.Identity
	var total int64
	for i, id := range ids {
		size, ok := sizes[id]
		if !ok {
			continue
		}
		if total+size > maxRipe && len(wanted) > 0 {
			parts = parts[:i] // the others are asked for again
			break
		}
		switch fits, err := db.fits(ctx, id, size, limit); {
		case err != nil:
			return nil, err
		case fits: // what does not is left to the sweep
			wanted = append(wanted, id)
			total += size
		}
		delete(sizes, id)
	}
	err = in(ctx, db, db.sql, "SELECT group_id, idx, copy, line, value FROM ingest_block WHERE group_id IN (%s) ORDER BY group_id, idx, copy", wanted, identityArg, func(rows *sql.Rows) error {
		var id []byte
		var p xalt.Part
		if err := rows.Scan(&id, &p.Index, &p.Copy, &p.Line, &p.Value); err != nil {
			return err
		}
		i := at[toHash[xalt.Identity](id)]
		parts[i] = append(parts[i], p)
		return nil
	})
	return parts, err
}

// blocksAtOnce is how many blocks are inserted at once: the rows of short ones take more
// than the blocks themselves.
const blocksAtOnce = 4096

var blockColumns = []string{"group_id", "idx", "copy", "state", "version", "kind", "syshost", "key", "crc", "nb", "epoch", "seen", "source", "line", "value"}

// writeBlocks adds and removes waiting blocks.
func (w *writer) writeBlocks(ctx context.Context, b *ingest.Batch) error {
	if err := w.eachGroup(ctx, "DELETE FROM ingest_block WHERE group_id IN (%s)", b.Done); err != nil {
		return err
	}
	if err := w.eachGroup(ctx, "UPDATE ingest_block SET state = ? WHERE group_id IN (%s)", b.Filtered, int(ingest.WaitFiltered)); err != nil {
		return err
	}
	if err := w.eachGroup(ctx, "DELETE FROM dead_letter WHERE group_id IN (%s)", slices.Concat(b.Done, b.Filtered)); err != nil {
		return err
	}
	if err := w.deleteBlocks(ctx, b.Used); err != nil {
		return err
	}
	next, err := w.nextCopies(ctx, b.Wait)
	if err != nil {
		return err
	}
	columns := append([]string(nil), blockColumns...)
	columns[7] = w.db.dialect.types.Quote("key")
	var rows [][]any
	var late []xalt.Identity // a block that comes late brings the whole group back to life
	for _, wait := range b.Wait {
		if wait.State == ingest.Waiting {
			late = append(late, wait.Group.ID)
		}
		g := wait.Group
		var crc any
		if g.HasCRC {
			crc = int(g.CRC)
		}
		for _, p := range wait.Parts {
			if len(rows) == blocksAtOnce {
				if err := w.db.insert(ctx, w.tx, "ingest_block", columns, rows, ""); err != nil {
					return err
				}
				rows = rows[:0]
			}
			rows = append(rows, []any{
				g.ID[:], p.Index, next[blockPlace{g.ID, p.Index}], int(wait.State), g.Version, []byte(g.Kind), []byte(g.Syshost), []byte(g.Key), crc,
				g.Count, g.Epoch, wait.Seen, wait.Source, p.Line, notNil(p.Value),
			})
			next[blockPlace{g.ID, p.Index}]++
		}
	}
	if err := w.db.insert(ctx, w.tx, "ingest_block", columns, rows, ""); err != nil {
		return err
	}
	if err := w.eachGroup(ctx, "UPDATE ingest_block SET state = ? WHERE state <> ? AND group_id IN (%s)", late, int(ingest.Waiting), int(ingest.Waiting)); err != nil {
		return err
	}
	if err := w.eachGroup(ctx, "DELETE FROM dead_letter WHERE group_id IN (%s)", late); err != nil {
		return err
	}
	if err := w.markCopies(ctx, b.Copies); err != nil {
		return err
	}
	return w.bury(ctx, b.Bury)
}

// markCopies marks the blocks of groups as copies, if all of them were seen.
func (w *writer) markCopies(ctx context.Context, list []ingest.Judged) error {
	seen, err := w.allSeen(ctx, list)
	if err != nil {
		return err
	}
	var copies []xalt.Identity
	for _, j := range list {
		if seen[j.Group] {
			copies = append(copies, j.Group)
		}
	}
	return w.eachGroup(ctx, "UPDATE ingest_block SET state = ? WHERE group_id IN (%s)", copies, int(ingest.WaitCopy))
}

// bury makes dead letters' blocks of groups, and spares those of which there are
// blocks that were not seen.
func (w *writer) bury(ctx context.Context, list []ingest.Judged) error {
	seen, err := w.allSeen(ctx, list)
	if err != nil {
		return err
	}
	var dead, spared []xalt.Identity
	w.spared = make(map[xalt.Identity]bool)
	for _, j := range list {
		if seen[j.Group] {
			dead = append(dead, j.Group)
			continue
		}
		spared = append(spared, j.Group)
		w.spared[j.Group] = true
		w.outcome.Spared++
		w.outcome.SparedBlocks += int64(j.Fresh)
	}
	const become = "UPDATE ingest_block SET state = ? WHERE group_id IN (%s)"
	if err := w.eachGroup(ctx, become, spared, int(ingest.Waiting)); err != nil {
		return err
	}
	return w.eachGroup(ctx, become, dead, int(ingest.WaitDead))
}

// allSeen tells the groups that have no more blocks than were seen. Blocks that
// others have taken away belonged to a record that came whole; the sweep knows it.
func (w *writer) allSeen(ctx context.Context, list []ingest.Judged) (map[xalt.Identity]bool, error) {
	seen := make(map[xalt.Identity]bool, len(list))
	blocks := make(map[xalt.Identity]int, len(list))
	groups := make([]xalt.Identity, len(list))
	for i, j := range list {
		seen[j.Group], blocks[j.Group], groups[i] = true, j.Blocks, j.Group
	}
	err := in(ctx, w.db, w.tx, "SELECT group_id, COUNT(*) FROM ingest_block WHERE group_id IN (%s) GROUP BY group_id", groups, identityArg, func(rows *sql.Rows) error {
		var id []byte
		var n int
		err := rows.Scan(&id, &n)
		group := toHash[xalt.Identity](id)
		seen[group] = n <= blocks[group]
		return err
	})
	return seen, err
}

// usedAtOnce is how many blocks one statement deletes.
const usedAtOnce = 64

// deleteBlocks deletes blocks that became part of a record, when others of their
// group still wait.
func (w *writer) deleteBlocks(ctx context.Context, used []ingest.UsedPart) error {
	const one = "group_id = ? AND idx = ? AND copy = ?"
	for chunk := range slices.Chunk(used, usedAtOnce) {
		size := padded(len(chunk), usedAtOnce)
		args := make([]any, 0, 3*size)
		for i := range size { // the last one again fills it up
			u := &chunk[min(i, len(chunk)-1)]
			args = append(args, u.Group[:], u.Index, u.Copy)
		}
		query := "DELETE FROM ingest_block WHERE " + one + strings.Repeat(" OR "+one, size-1)
		if _, err := w.db.exec(ctx, w.tx, query, args...); err != nil {
			return fmt.Errorf("delete blocks: %w", err)
		}
	}
	return nil
}

// eachGroup executes a statement for many groups.
func (w *writer) eachGroup(ctx context.Context, query string, groups []xalt.Identity, args ...any) error {
	return execIn(ctx, w.db, w.tx, query, args, groups, identityArg)
}

func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// blockPlace is the place of a block in its group.
type blockPlace struct {
	group xalt.Identity
	index int
}

// nextCopies returns the next free copy number of each place that is taken.
func (w *writer) nextCopies(ctx context.Context, list []ingest.Wait) (map[blockPlace]int, error) {
	groups := make([]xalt.Identity, len(list))
	for i := range list {
		groups[i] = list[i].Group.ID
	}
	next := make(map[blockPlace]int)
	err := in(ctx, w.db, w.tx, "SELECT group_id, idx, MAX(copy) FROM ingest_block WHERE group_id IN (%s) GROUP BY group_id, idx", groups, identityArg, func(rows *sql.Rows) error {
		var id []byte
		var index, last int
		err := rows.Scan(&id, &index, &last)
		next[blockPlace{toHash[xalt.Identity](id), index}] = last + 1
		return err
	})
	return next, err
}

// Pending describes a record whose blocks wait.
type Pending struct {
	ID      xalt.Identity
	Kind    string
	Syshost string
	Key     string
	Have    int // distinct indexes
	Count   int
	Seen    time.Time // log time of its newest block; zero if unknown
	Source  string    // file that brought a block
}

// Pending lists records whose blocks wait for the others, oldest first.
func (db *DB) Pending(ctx context.Context) ([]Pending, error) {
	var list []Pending
	err := db.query(ctx, db.sql, `SELECT g.group_id, g.have, g.nb, g.seen, b.kind, b.syshost, b.`+db.dialect.types.Quote("key")+`, b.source
FROM (SELECT group_id, COUNT(DISTINCT idx) AS have, MAX(nb) AS nb, MAX(seen) AS seen, MIN(idx) AS first_idx FROM ingest_block WHERE state = ? GROUP BY group_id) g
JOIN ingest_block b ON b.group_id = g.group_id AND b.idx = g.first_idx
AND b.copy = (SELECT MIN(c.copy) FROM ingest_block c WHERE c.group_id = g.group_id AND c.idx = g.first_idx)
ORDER BY g.seen, g.group_id`, []any{int(ingest.Waiting)}, func(rows *sql.Rows) error {
		var p Pending
		var id, kind, syshost, key []byte
		var seen int64
		if err := rows.Scan(&id, &p.Have, &p.Count, &seen, &kind, &syshost, &key, &p.Source); err != nil {
			return err
		}
		p.ID = toHash[xalt.Identity](id)
		p.Kind, p.Syshost, p.Key = xalt.Storable(string(kind)), xalt.Storable(string(syshost)), xalt.Storable(string(key))
		if seen > 0 {
			p.Seen = time.Unix(seen, 0).In(db.zone)
		}
		list = append(list, p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list waiting records: %w", err)
	}
	return list, nil
}

// CountPending counts the records that [DB.Pending] lists.
func (db *DB) CountPending(ctx context.Context) (n int64, err error) {
	query := "SELECT COUNT(*) FROM (SELECT 1 FROM ingest_block WHERE state = ? GROUP BY group_id) g"
	if err := db.row(ctx, db.sql, query, []any{int(ingest.Waiting)}, &n); err != nil {
		return 0, fmt.Errorf("count waiting records: %w", err)
	}
	return n, nil
}
