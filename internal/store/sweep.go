package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strconv"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// Ripe finds groups that need a decision; see [ingest.Sweeper].
func (db *DB) Ripe(ctx context.Context, selection ingest.Hash, syshost string, expired int64, limit int) ([]ingest.Ripe, error) {
	return read(ctx, db, "sweep waiting blocks", func() ([]ingest.Ripe, error) { return db.ripe(ctx, selection, syshost, expired, limit) })
}

func (db *DB) ripe(ctx context.Context, selection ingest.Hash, syshost string, expired int64, limit int) ([]ingest.Ripe, error) {
	// Of all tables that of identities is the longest: it must not be gone through.
	_, err := db.exec(ctx, db.sql, `DELETE FROM ingest_block WHERE crc IS NOT NULL AND EXISTS
(SELECT 1 FROM ingest_identity i WHERE i.id = ingest_block.group_id AND i.fate <> ?)`, int(ingest.FateFiltered))
	if err == nil { // who reads under another selection may have brought them, and wait for the others
		_, err = db.exec(ctx, db.sql, `UPDATE ingest_block SET state = ? WHERE crc IS NOT NULL AND state <> ? AND EXISTS
(SELECT 1 FROM ingest_identity i WHERE i.id = ingest_block.group_id AND i.fate = ? AND i.selection = ?)`,
			int(ingest.WaitFiltered), int(ingest.WaitFiltered), int(ingest.FateFiltered), selection[:])
	}
	if err == nil {
		_, err = db.exec(ctx, db.sql, "DELETE FROM ingest_block WHERE state = ? AND seen < ?", int(ingest.WaitFiltered), expired)
	}
	if err == nil { // letters of records that came whole after all
		_, err = db.exec(ctx, db.sql, `DELETE FROM dead_letter WHERE EXISTS
(SELECT 1 FROM ingest_identity i WHERE i.id = dead_letter.group_id AND i.fate <> ?)`, int(ingest.FateDead))
	}
	if err != nil {
		return nil, err
	}
	// Whoever reads another machine's log may have another filter. What was filtered
	// under another selection is decided again under this one. It is asked by COUNT,
	// because PostgreSQL may answer EXISTS with all that was filtered.
	return db.someGroups(ctx, `SELECT group_id, `+blockBytes+` FROM ingest_block WHERE state <> ? AND NOT (state = ? AND
(SELECT COUNT(*) FROM ingest_identity i WHERE i.id = ingest_block.group_id AND i.fate = ? AND i.selection = ?) > 0) GROUP BY group_id
HAVING COUNT(DISTINCT idx) = MAX(nb) AND MAX(CASE WHEN syshost = ? THEN 1 ELSE 0 END) >= ? OR MAX(seen) < ? AND MAX(seen) > 0 ORDER BY group_id LIMIT ?`,
		int(ingest.WaitDead), int(ingest.WaitFiltered), int(ingest.FateFiltered), selection[:], []byte(syshost), boolInt(syshost != ""), expired, limit)
}

// Unsigned finds groups without a CRC; see [ingest.Sweeper].
func (db *DB) Unsigned(ctx context.Context, after xalt.Identity, limit int) ([]ingest.Ripe, error) {
	return read(ctx, db, "sweep waiting blocks without a CRC", func() ([]ingest.Ripe, error) {
		return db.someGroups(ctx, `SELECT group_id, `+blockBytes+` FROM ingest_block WHERE state = ? AND crc IS NULL AND group_id > ?
GROUP BY group_id ORDER BY group_id LIMIT ?`, int(ingest.Waiting), after[:], limit)
	})
}

// someGroups reads the groups of which the query gives the identity and the size, in
// its order, as far as they are to be in memory at once.
func (db *DB) someGroups(ctx context.Context, query string, args ...any) ([]ingest.Ripe, error) {
	var ids []xalt.Identity
	var total int64
	err := db.query(ctx, db.sql, query, args, func(rows *sql.Rows) error {
		var id []byte
		var size int64
		if err := rows.Scan(&id, &size); err != nil {
			return err
		}
		if total += size; total <= maxRipe || len(ids) == 0 {
			ids = append(ids, toHash[xalt.Identity](id))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return db.groups(ctx, ids)
}

// maxRipe is how many bytes of waiting blocks are read at once, if that is more
// than one group.
const maxRipe = 16 << 20

// groups reads whole groups of waiting blocks.
func (db *DB) groups(ctx context.Context, ids []xalt.Identity) ([]ingest.Ripe, error) {
	found := make(map[xalt.Identity]*ingest.Ripe, len(ids))
	err := in(ctx, db, db.sql, db.blockQuery()+"WHERE group_id IN (%s) ORDER BY group_id, copy, idx", ids, identityArg, func(rows *sql.Rows) error {
		return addBlock(found, rows)
	})
	if err != nil {
		return nil, err
	}
	list := make([]ingest.Ripe, 0, len(ids))
	for _, id := range ids {
		if r := found[id]; r != nil {
			list = append(list, *r)
		}
	}
	return list, nil
}

// blockQuery reads what [addBlock] takes.
func (db *DB) blockQuery() string {
	return "SELECT group_id, idx, copy, state, version, kind, syshost, " + db.dialect.types.Quote("key") + ", crc, nb, epoch, source, line, value FROM ingest_block "
}

// addBlock adds a block to its group.
func addBlock(found map[xalt.Identity]*ingest.Ripe, rows *sql.Rows) error {
	var b xalt.Block
	var p xalt.Part
	var group []byte
	var state int
	var crc sql.NullInt64
	var source string
	if err := rows.Scan(&group, &p.Index, &p.Copy, &state, &b.Version, &b.Kind, &b.Syshost, &b.Key, &crc, &b.Count, &b.Epoch, &source, &p.Line, &p.Value); err != nil {
		return err
	}
	id := toHash[xalt.Identity](group)
	r := found[id]
	if r == nil {
		b.HasCRC, b.CRC = crc.Valid, uint16(crc.Int64)
		r = &ingest.Ripe{Group: xalt.NewGroup(id, &b), State: ingest.WaitState(state), Source: source, Line: p.Line}
		found[id] = r
	}
	r.Group.Add(p)
	r.Blocks++
	return nil
}

// blockBytes is about what the blocks of a group take in memory, which of short ones
// is more than their values.
const blockBytes = "SUM(LENGTH(value) + 96)"

// leastRoom is what the blocks of any group may take, in bytes, however little a
// record of them needs.
const leastRoom = 8 << 20

// fits reports whether a group whose blocks take size bytes is small enough to be
// read: they are no more than twice what one record of limit bytes needs of them,
// which is room for each block with the blanks at its end and without.
func (db *DB) fits(ctx context.Context, id xalt.Identity, size int64, limit int) (bool, error) {
	if size <= leastRoom {
		return true, nil
	}
	var one int64
	err := db.row(ctx, db.sql, "SELECT SUM(longest + 96) FROM (SELECT MAX(LENGTH(value)) AS longest FROM ingest_block WHERE group_id = ? GROUP BY idx) t", []any{id[:]}, &one)
	return size <= 2*min(one, int64(limit)+leastRoom), err
}

// Outgrown returns groups that are too large to be read; see [ingest.Sweeper].
func (db *DB) Outgrown(ctx context.Context, limit int) ([]ingest.Outgrown, error) {
	return read(ctx, db, "look for outgrown groups", func() ([]ingest.Outgrown, error) {
		sizes := make(map[xalt.Identity]int64)
		err := db.query(ctx, db.sql, "SELECT group_id, "+blockBytes+" FROM ingest_block GROUP BY group_id HAVING "+blockBytes+" > ?", []any{leastRoom}, func(rows *sql.Rows) error {
			var id []byte
			var size int64
			err := rows.Scan(&id, &size)
			sizes[toHash[xalt.Identity](id)] = size
			return err
		})
		if err != nil {
			return nil, err
		}
		var list []ingest.Outgrown
		for _, id := range slices.SortedFunc(maps.Keys(sizes), compareIdentities) {
			fits, err := db.fits(ctx, id, sizes[id], limit)
			if err != nil {
				return nil, err
			}
			if fits {
				continue
			}
			found := make(map[xalt.Identity]*ingest.Ripe)
			err = db.query(ctx, db.sql, db.blockQuery()+"WHERE group_id = ? ORDER BY idx, copy LIMIT ?", []any{id[:], keptBlocks}, func(rows *sql.Rows) error {
				return addBlock(found, rows)
			})
			if err != nil {
				return nil, err
			}
			if r := found[id]; r != nil {
				list = append(list, ingest.Outgrown{Ripe: *r, Bytes: sizes[id]})
			}
		}
		return list, nil
	})
}

// keptBlocks is how many blocks are kept of a group that is too large.
const keptBlocks = 4

// Clock raises and returns the newest log time; see [ingest.Sweeper].
func (db *DB) Clock(ctx context.Context, atLeast int64) (int64, error) {
	return read(ctx, db, "keep the newest log time", func() (int64, error) {
		var text string
		err := db.row(ctx, db.sql, "SELECT value FROM ingest_meta WHERE name = 'clock'", nil, &text)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		now, _ := strconv.ParseInt(text, 10, 64) // 0 if it is not there
		if atLeast <= now {
			return now, nil
		}
		columns := []string{"name", "value"}
		return atLeast, db.insert(ctx, db.sql, "ingest_meta", columns, [][]any{{"clock", strconv.FormatInt(atLeast, 10)}}, db.dialect.upsert(columns[:1], columns[1:]))
	})
}
