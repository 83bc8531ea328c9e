package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"xaltpipe/internal/ingest"
)

// ReResolve says which stored module names are looked at again.
type ReResolve struct {
	Modules ingest.Modules
	Syshost string // one machine only; empty: all
	Since   string // "2006-01-02": only rows from that day on; empty: all
	DryRun  bool   // change nothing
	// Token names the maps and the choice above: a run that was interrupted is
	// continued by the next one with the same token.
	Token string
}

// Renamed counts the changes of one kind in one table.
type Renamed struct {
	Table string `json:"table"`
	Old   string `json:"old"` // empty: none
	New   string `json:"new"` // empty: none
	Rows  int64  `json:"rows"`
}

// ReResolved is what [DB.ReResolve] did.
type ReResolved struct {
	Looked  int64     `json:"looked_at"`
	Changed int64     `json:"changed"`
	Named   int64     `json:"named"`   // had no module
	Removed int64     `json:"removed"` // have none now
	Resumed bool      `json:"resumed"` // an interrupted run was continued
	Changes []Renamed `json:"changes"` // most rows first
}

// resolvable is a table with a path and the name of its module.
type resolvable struct{ table, id, syshost, path, module, date string }

var resolvables = []resolvable{
	{"xalt_object", "obj_id", "syshost", "object_path", "module_name", "timestamp"},
	{"xalt_run", "run_id", "syshost", "exec_path", "module_name", "date"},
	{"run_conflict", "run_id", "syshost", "exec_path", "module_name", "date"},
	{"xalt_link", "link_id", "build_syshost", "link_path", "link_module_name", "date"},
	{"link_conflict", "link_id", "build_syshost", "link_path", "link_module_name", "date"},
}

// resolveRows is how many rows are looked at in one transaction.
const resolveRows = 5000

// resolveProgress is how far an interrupted run came, kept in ingest_meta.
type resolveProgress struct {
	Token string
	Table int   // in resolvables
	ID    int64 // the last one done
}

const resolveKey = "re-resolve"

// ReResolve brings the stored module names to other reverse maps, missing and
// wrong ones alike. Rows of machines without a map are left alone. It works in
// batches; if it is interrupted, the next call goes on where it stopped.
func (db *DB) ReResolve(ctx context.Context, o ReResolve) (ReResolved, error) {
	var done ReResolved
	var at resolveProgress
	if !o.DryRun {
		var text string
		err := db.row(ctx, db.sql, "SELECT value FROM ingest_meta WHERE name = ?", []any{resolveKey}, &text)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return done, fmt.Errorf("read how far re-resolve came: %w", err)
		}
		if json.Unmarshal([]byte(text), &at) != nil || at.Token != o.Token || at.Table >= len(resolvables) {
			at = resolveProgress{}
		}
		done.Resumed = at.Token != ""
	}
	at.Token = o.Token
	counts := make(map[Renamed]int64)
	for ; at.Table < len(resolvables); at.Table, at.ID = at.Table+1, 0 {
		for more := true; more; {
			err := db.retry(ctx, func() error {
				next := at
				batch := make(map[Renamed]int64)
				var looked int64
				err := db.transact(ctx, func(tx *session) (err error) {
					w := &writer{db: db, tx: tx, stamp: db.stamp(), learned: make(map[*dimension]map[ingest.Hash]int64)}
					if err := w.lock(ctx); err != nil {
						return err
					}
					looked, err = w.resolveBatch(ctx, &o, &next, batch)
					if err != nil || o.DryRun {
						return err
					}
					return w.noteProgress(ctx, next)
				})
				if err != nil {
					return err
				}
				more = looked == resolveRows
				at = next
				done.Looked += looked
				for r, n := range batch {
					counts[r] += n
				}
				return nil
			})
			if err != nil {
				return done, fmt.Errorf("re-resolve %s: %w", resolvables[at.Table].table, err)
			}
		}
	}
	if !o.DryRun {
		if _, err := db.exec(ctx, db.sql, "DELETE FROM ingest_meta WHERE name = ?", resolveKey); err != nil {
			return done, fmt.Errorf("re-resolve: %w", err)
		}
	}
	for r, n := range counts {
		r.Rows = n
		done.Changes = append(done.Changes, r)
		done.Changed += n
		switch {
		case r.Old == "":
			done.Named += n
		case r.New == "":
			done.Removed += n
		}
	}
	slices.SortFunc(done.Changes, func(a, b Renamed) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Old, b.Old), cmp.Compare(a.New, b.New))
	})
	return done, nil
}

func (w *writer) noteProgress(ctx context.Context, at resolveProgress) error {
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	columns := []string{"name", "value"}
	return w.db.insert(ctx, w.tx, "ingest_meta", columns, [][]any{{resolveKey, string(text)}}, w.db.dialect.upsert(columns[:1], columns[1:]))
}

// resolveBatch looks at the next rows of a table, in the order of their ids.
func (w *writer) resolveBatch(ctx context.Context, o *ReResolve, at *resolveProgress, counts map[Renamed]int64) (looked int64, err error) {
	t := resolvables[at.Table]
	query := "SELECT " + t.id + ", " + t.syshost + ", " + t.path + ", " + t.module + " FROM " + t.table + " WHERE " + t.id + " > ?"
	args := []any{at.ID}
	if o.Syshost != "" {
		query += " AND " + t.syshost + " = ?"
		args = append(args, o.Syshost)
	}
	if o.Since != "" {
		query += " AND " + t.date + " >= ?"
		args = append(args, o.Since+" 00:00:00")
	}
	query += " ORDER BY " + t.id + " LIMIT " + strconv.Itoa(resolveRows)
	type change struct {
		id     int64
		module string
		mapID  ingest.Hash
	}
	var changes []change
	err = w.db.query(ctx, w.tx, query, args, func(rows *sql.Rows) error {
		var id int64
		var syshost, path string
		var old sql.NullString
		if err := rows.Scan(&id, &syshost, &path, &old); err != nil {
			return err
		}
		looked++
		at.ID = id
		module, mapID := o.Modules.Module(syshost, path)
		if mapID == (ingest.Hash{}) || module == old.String {
			return nil
		}
		changes = append(changes, change{id, module, mapID})
		counts[Renamed{Table: t.table, Old: old.String, New: module}]++
		return nil
	})
	if err != nil || o.DryRun {
		return looked, err
	}
	update := "UPDATE " + t.table + " SET " + t.module + " = ?, map_id = ? WHERE " + t.id + " = ?"
	for _, c := range changes {
		mapIDs, err := w.mapIDs(ctx, []ingest.Hash{c.mapID})
		if err != nil {
			return looked, err
		}
		if _, err := w.db.exec(ctx, w.tx, update, null(c.module), nullID(mapIDs[0]), c.id); err != nil {
			return looked, err
		}
	}
	return looked, nil
}
