package store

import (
	"context"
	"database/sql"

	"xaltpipe/internal/ingest"
)

// Sources finds sources by their head; see [ingest.Positions].
func (db *DB) Sources(ctx context.Context, selection ingest.Hash, head func(n int64) (ingest.Hash, bool)) ([]ingest.Source, error) {
	return read(ctx, db, "look up sources", func() ([]ingest.Source, error) { return db.sources(ctx, selection, head) })
}

func (db *DB) sources(ctx context.Context, selection ingest.Hash, head func(n int64) (ingest.Hash, bool)) ([]ingest.Source, error) {
	var lengths []int64
	err := db.query(ctx, db.sql, "SELECT DISTINCT head_len FROM ingest_source WHERE selection = ?", []any{selection[:]}, func(rows *sql.Rows) error {
		var n int64
		err := rows.Scan(&n)
		lengths = append(lengths, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []ingest.Source
	for _, n := range lengths {
		h, ok := head(n)
		if !ok {
			continue
		}
		err := db.query(ctx, db.sql, `SELECT source_id, name, device, inode, position, line_count, state, tail, tail_len
FROM ingest_source WHERE selection = ? AND head_len = ? AND head = ?`, []any{selection[:], n, h[:]}, func(rows *sql.Rows) error {
			s := ingest.Source{Selection: selection, Head: h, HeadLen: n}
			var device, inode int64
			var tail []byte
			if err := rows.Scan(&s.ID, &s.Name, &device, &inode, &s.Position, &s.Lines, &s.State, &tail, &s.TailLen); err != nil {
				return err
			}
			s.Device, s.Inode, s.Tail = uint64(device), uint64(inode), toHash[ingest.Hash](tail)
			list = append(list, s)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// advance moves the position of the batch's source, or makes the source.
func (w *writer) advance(ctx context.Context, b *ingest.Batch) error {
	a := b.Advance
	if a == nil {
		return nil
	}
	if a.ID == 0 {
		columns := []string{"selection", "head", "head_len", "name", "device", "inode", "position", "line_count", "state", "tail", "tail_len", "updated"}
		row := []any{a.Selection[:], a.Head[:], a.HeadLen, a.Name, int64(a.Device), int64(a.Inode), a.Position, a.Lines, a.State, a.Tail[:], a.TailLen, w.stamp}
		id, err := w.insertID(ctx, "ingest_source", "source_id", columns, row)
		w.sourceID = id
		return err
	}
	n, err := w.db.exec(ctx, w.tx, `UPDATE ingest_source SET name = ?, device = ?, inode = ?, position = ?, line_count = ?, state = ?, tail = ?, tail_len = ?, updated = ?
WHERE source_id = ? AND position = ?`, a.Name, int64(a.Device), int64(a.Inode), a.Position, a.Lines, a.State, a.Tail[:], a.TailLen, w.stamp, a.ID, a.Old)
	if err == nil && n == 0 {
		return ingest.ErrMoved
	}
	return err
}

// insertID adds one row to a table with an identity and returns it.
func (w *writer) insertID(ctx context.Context, table, id string, columns []string, row []any) (int64, error) {
	query := "INSERT INTO " + table + " (" + join(columns) + ") VALUES (" + placeholders(len(columns)) + ")"
	if w.db.dialect.numbered { // its driver knows no last id
		var n int64
		err := w.db.row(ctx, w.tx, query+" RETURNING "+id, row, &n)
		return n, err
	}
	res, err := w.tx.ExecContext(ctx, w.db.dialect.rebind(query), row...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}
