package store

import (
	"bytes"
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
	Batch   int    // rows that one transaction looks at; 0: 5,000
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

// renameRows are the numbers of rows that one statement changes, so that few
// different statements are in use.
var renameRows = [...]int{128, 16, 1}

// resolveProgress is how far an interrupted run came, kept in ingest_meta.
type resolveProgress struct {
	Token string
	Table int   // in resolvables
	ID    int64 // the last one done
}

const resolveKey = "re-resolve"

// ReResolve brings the stored module names to other reverse maps, missing and
// wrong ones alike. Rows of machines without a map are left alone. It works in
// batches; if it is interrupted, the next call goes on where it stopped. What it
// tells is what was committed, also beside an error.
func (db *DB) ReResolve(ctx context.Context, o ReResolve) (done ReResolved, err error) {
	var at resolveProgress
	if o.Batch <= 0 {
		o.Batch = resolveRows
	}
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
	defer func() { done.sum(counts) }()
	for ; at.Table < len(resolvables); at.Table, at.ID = at.Table+1, 0 {
		for more := true; more; {
			err := db.retry(ctx, func() error {
				next := at
				batch := make(map[Renamed]int64)
				var looked int64
				err := db.transact(ctx, func(tx *session) (err error) {
					w := &writer{db: db, tx: tx, stamp: db.stamp(), learned: make(map[*dimension]map[ingest.Hash]int64)}
					if !o.DryRun {
						if err := w.lock(ctx, newTry()); err != nil {
							return err
						}
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
				more = looked == int64(o.Batch)
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
	return done, nil
}

// sum makes the summary of the changes that were counted.
func (done *ReResolved) sum(counts map[Renamed]int64) {
	done.Changes = make([]Renamed, 0, len(counts))
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
	query += " ORDER BY " + t.id + " LIMIT " + strconv.Itoa(o.Batch)
	changes := make(map[rename][]int64)
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
		to := rename{module, mapID}
		changes[to] = append(changes[to], id)
		counts[Renamed{Table: t.table, Old: old.String, New: module}]++
		return nil
	})
	if err != nil || o.DryRun {
		return looked, err
	}
	names := make([]rename, 0, len(changes))
	for to := range changes {
		names = append(names, to)
	}
	slices.SortFunc(names, func(a, b rename) int {
		return cmp.Or(cmp.Compare(a.module, b.module), bytes.Compare(a.mapID[:], b.mapID[:]))
	})
	for _, to := range names {
		if err := w.rename(ctx, &t, to, changes[to]); err != nil {
			return looked, err
		}
	}
	return looked, nil
}

// A rename is the module that rows get, and the map that says so.
type rename struct {
	module string
	mapID  ingest.Hash
}

// rename gives rows of a table one module.
func (w *writer) rename(ctx context.Context, t *resolvable, to rename, ids []int64) error {
	mapIDs, err := w.mapIDs(ctx, []ingest.Hash{to.mapID})
	if err != nil {
		return err
	}
	for len(ids) > 0 {
		n := 0
		for _, n = range renameRows {
			if n <= len(ids) {
				break
			}
		}
		args := []any{null(to.module), nullID(mapIDs[0])}
		for _, id := range ids[:n] {
			args = append(args, id)
		}
		update := "UPDATE " + t.table + " SET " + t.module + " = ?, map_id = ? WHERE " + t.id + " IN (" + placeholders(n) + ")"
		if _, err := w.db.exec(ctx, w.tx, update, args...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}
