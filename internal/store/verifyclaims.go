package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// runRow is what verify looks at of a run.
type runRow struct {
	id                        int64
	run                       xalt.Run
	claim, start, end         []byte
	objects, startObj, endObj sql.NullInt64
	env, startEnv, endEnv     sql.NullInt64
}

// merged is the set of a row of which two records have sets; ok is false if
// they would have to be merged to know it.
func merged(start, end []byte, startSet, endSet sql.NullInt64) (want sql.NullInt64, ok bool) {
	switch {
	case end == nil, !endSet.Valid && start != nil:
		return startSet, true
	case start == nil, !startSet.Valid, startSet == endSet:
		return endSet, true
	}
	return want, false
}

// runs checks the rows of runs one by one.
func (v *verifier) runs(ctx context.Context) error {
	for _, table := range [...]string{"xalt_run", "run_conflict"} {
		v.begin("claim and sets", table)
		columns := "run_uuid, syshost, " + v.db.dialect.types.User + `, start_time, exec_path, claim, start_digest, end_digest,
object_set_id, start_object_set_id, end_object_set_id, env_set_id, start_env_set_id, end_env_set_id`
		var list []runRow
		err := v.each(ctx, table, "run_id", columns, func(rows *sql.Rows) (int64, error) {
			var r runRow
			err := rows.Scan(&r.id, &r.run.RunUUID, &r.run.Syshost, &r.run.User, &r.run.StartTime, &r.run.ExecPath, &r.claim, &r.start, &r.end,
				&r.objects, &r.startObj, &r.endObj, &r.env, &r.startEnv, &r.endEnv)
			list = append(list, r)
			return r.id, err
		}, func() error {
			for i := range list {
				if err := v.run(ctx, table, &list[i]); err != nil {
					return err
				}
			}
			if err := v.unions(ctx, table, list); err != nil {
				return err
			}
			list = list[:0]
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) run(ctx context.Context, table string, r *runRow) error {
	key := "run_uuid " + r.run.RunUUID
	if h := claimHash(&r.run); string(h[:]) != string(r.claim) {
		// With another hash it would look whole, and that it was changed would be forgotten.
		err := v.found(ctx, Finding{Key: key, Detail: "the claim's hash is not that of its machine, user, start and program", Hopeless: "its hash or one of them was changed; which is not known"}, nil)
		if err != nil {
			return err
		}
	}
	if r.start == nil && r.end == nil {
		return v.found(ctx, Finding{Key: key, Detail: "it has neither a start nor an end record", Hopeless: "their digests are lost"}, nil)
	}
	for _, s := range [...]struct {
		column          string
		got, start, end sql.NullInt64
	}{{"object_set_id", r.objects, r.startObj, r.endObj}, {"env_set_id", r.env, r.startEnv, r.endEnv}} {
		want, ok := merged(r.start, r.end, s.start, s.end)
		if !ok || want == s.got {
			continue
		}
		err := v.found(ctx, Finding{Key: key, Detail: s.column + " is not that of its records"}, func(w *writer) error {
			return w.mendSet(ctx, table, s.column, r.id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mendSet gives a row the set of its start or its end, unless they have changed meanwhile
// so that they are merged.
func (w *writer) mendSet(ctx context.Context, table, column string, id int64) error {
	var start, end []byte
	var startSet, endSet sql.NullInt64
	query := fmt.Sprintf("SELECT start_digest, end_digest, start_%[1]s, end_%[1]s FROM %[2]s WHERE run_id = ?", column, table)
	err := w.db.row(ctx, w.tx, query, []any{id}, &start, &end, &startSet, &endSet)
	want, ok := merged(start, end, startSet, endSet)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !ok {
		return nil
	}
	if err == nil {
		_, err = w.db.exec(ctx, w.tx, "UPDATE "+table+" SET "+column+" = ? WHERE run_id = ?", nullID(want.Int64), id)
	}
	return err
}

// unions checks the sets of rows that have merged ones of a start and an end.
func (v *verifier) unions(ctx context.Context, table string, list []runRow) error {
	var wrong []*runRow
	err := v.db.look(ctx, func(tx *session) error {
		wrong = wrong[:0]
		w := &writer{db: v.db, tx: tx}
		type row struct {
			*runRow
			sets  [6]int64
			claim *claim
		}
		var rows []row
		var claims []*claim
		for i := range list {
			r := &list[i]
			_, objects := merged(r.start, r.end, r.startObj, r.endObj)
			_, env := merged(r.start, r.end, r.startEnv, r.endEnv)
			sets := [6]int64{r.objects.Int64, r.startObj.Int64, r.endObj.Int64, r.env.Int64, r.startEnv.Int64, r.endEnv.Int64}
			if objects && env || v.merged[sets] {
				continue
			}
			c := &claim{
				start: part{there: true, objects: objectRef{id: r.startObj.Int64}, env: envRef{id: r.startEnv.Int64}},
				end:   part{there: true, objects: objectRef{id: r.endObj.Int64}, env: envRef{id: r.endEnv.Int64}},
			}
			rows, claims = append(rows, row{r, sets, c}), append(claims, c)
		}
		if err := w.mergeSets(ctx, claims, keepHashes[ingest.Object], keepHashes[ingest.EnvVar]); err != nil {
			return err
		}
		for _, r := range rows {
			c := r.claim
			objects, err := isSet(ctx, w, "object_set", r.objects.Int64, c.objects)
			if err != nil {
				return err
			}
			env, err := isSet(ctx, w, "env_set", r.env.Int64, c.env)
			if err != nil {
				return err
			}
			if !objects || !env {
				if whole, err := w.whole(ctx, c); err != nil {
					return err
				} else if !whole { // what it would be merged of is lost, as was told
					continue
				}
				wrong = append(wrong, r.runRow)
				continue
			}
			if len(v.merged) >= cachedIDs {
				clear(v.merged)
			}
			v.merged[r.sets] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range wrong {
		uuid := r.run.RunUUID
		err := v.found(ctx, Finding{Key: "run_uuid " + uuid, Detail: "its sets are not those of its start and its end"}, func(w *writer) error {
			claims, err := w.loadClaims(ctx, []string{uuid})
			if err != nil {
				return err
			}
			// Other claims of the run may have lost what they are merged of.
			list := slices.DeleteFunc(claims[uuid], func(c *claim) bool { return c.main != (table == "xalt_run") || c.id != r.id })
			return w.storeClaims(ctx, list, nil) // which merges again
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keepHashes lets go of the members of merged sets, which need only be compared.
func keepHashes[T any](refs []*setRef[T]) error {
	for _, ref := range refs {
		ref.set = &ingest.Set[T]{Hash: ref.set.Hash, Members: make([]*T, 1)} // not the empty one
	}
	return nil
}

// whole reports whether the sets of a claim's start and end have their hashes.
func (w *writer) whole(ctx context.Context, c *claim) (bool, error) {
	for _, p := range [...]*part{&c.start, &c.end} {
		if whole, err := isWhole(ctx, w, &objectMerging, "object_set", p.objects.id); err != nil || !whole {
			return false, err
		}
		if whole, err := isWhole(ctx, w, &envMerging, "env_set", p.env.id); err != nil || !whole {
			return false, err
		}
	}
	return true, nil
}

// isWhole reports whether a stored set has its hash.
func isWhole[T any](ctx context.Context, w *writer, m *merging[T], table string, id int64) (bool, error) {
	if id == 0 {
		return true, nil
	}
	sets := map[int64]*ingest.Set[T]{id: nil}
	if err := readSets(ctx, w, m, sets, 0, &setCache[int64, T]{}); err != nil {
		return false, err
	}
	var hash []byte
	err := w.db.row(ctx, w.tx, "SELECT hash FROM "+table+" WHERE set_id = ?", []any{id}, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return toHash[ingest.Hash](hash) == sets[id].Hash, err
}

// isSet reports whether a stored set is the one that is wanted.
func isSet[T any](ctx context.Context, w *writer, table string, id int64, want setRef[T]) (bool, error) {
	if want.empty() || want.id != 0 {
		return id == want.id, nil
	}
	var hash []byte
	err := w.db.row(ctx, w.tx, "SELECT hash FROM "+table+" WHERE set_id = ?", []any{id}, &hash)
	if errors.Is(err, sql.ErrNoRows) { // the check of references has told
		return true, nil
	}
	return string(hash) == string(want.set.Hash[:]), err
}

// runOrder checks that the row of xalt_run is the least claim, and that what
// was imported and what came from logs are not mixed.
func (v *verifier) runOrder(ctx context.Context) error {
	v.begin("least claim", "run_conflict")
	var uuids []string
	return v.each(ctx, "run_conflict", "run_id", "run_uuid", func(rows *sql.Rows) (id int64, err error) {
		var uuid string
		err = rows.Scan(&id, &uuid)
		uuids = append(uuids, uuid)
		return id, err
	}, func() error {
		slices.Sort(uuids)
		for _, uuid := range slices.Compact(uuids) {
			f := Finding{Key: "run_uuid " + uuid}
			look := func(w *writer) ([]*claim, []int64, error) {
				f.Detail, f.Hopeless = "", ""
				claims, err := w.loadClaims(ctx, []string{uuid})
				list := claims[uuid]
				if err != nil || len(list) == 0 {
					return nil, nil, err
				}
				if slices.ContainsFunc(list, func(c *claim) bool { return c.name != claimHash(&c.run) }) {
					f.Hopeless = "one of its claims was changed; the order may be right for what it was"
				}
				var gone []int64
				list, gone, f.Detail = orderClaims(list)
				for _, c := range list {
					if f.Detail == "" || !c.changed || !c.start.there || !c.end.there {
						continue
					}
					whole, err := w.whole(ctx, c) // its sets would be merged again
					if err != nil {
						return nil, nil, err
					}
					if !whole {
						f.Hopeless = "what the sets of one of its claims are merged of is lost"
					}
				}
				return list, gone, nil
			}
			err := v.order(ctx, &f, func(w *writer) error {
				_, _, err := look(w)
				return err
			}, func(w *writer) error {
				list, gone, err := look(w)
				if err != nil || f.Detail == "" || f.Hopeless != "" {
					return err
				}
				list = slices.DeleteFunc(list, func(c *claim) bool { return !c.changed })
				return w.storeClaims(ctx, list, gone)
			})
			if err != nil {
				return err
			}
		}
		uuids = uuids[:0]
		return nil
	})
}

// order looks, which fills in the finding, and mends what is found as the only
// writer, looking again.
func (v *verifier) order(ctx context.Context, f *Finding, look, mend func(*writer) error) error {
	err := v.db.look(ctx, func(tx *session) error { return look(&writer{db: v.db, tx: tx}) })
	if err != nil || f.Detail == "" {
		return err
	}
	if f.Hopeless != "" {
		mend = nil
	}
	return v.found(ctx, *f, mend)
}

// orderClaims arranges the claims of one run as they should be, and says what
// was wrong.
func orderClaims(list []*claim) (ordered []*claim, gone []int64, detail string) {
	hasMain := slices.ContainsFunc(list, func(c *claim) bool { return c.main })
	logged := slices.DeleteFunc(slices.Clone(list), func(c *claim) bool { return c.sources != 0 })
	if len(logged) > 0 && len(logged) < len(list) {
		detail = "imported rows stand beside the log's"
		var mainID int64
		for _, c := range list {
			switch {
			case c.sources == 0:
			case c.main:
				mainID = c.id
			default:
				gone = append(gone, c.id)
			}
		}
		list = logged
		if mainID != 0 {
			least := slices.MinFunc(list, compareClaims)
			gone = append(gone, least.id)
			least.main, least.id, least.changed = true, mainID, true
		}
	}
	if leaving := arrange(list); leaving != 0 {
		gone = append(gone, leaving)
		switch {
		case detail != "":
		case hasMain:
			detail = "a lesser claim than that of xalt_run is here"
		default:
			detail = "xalt_run has no row of it"
		}
	}
	return list, gone, detail
}

// linkOrder checks that the row of xalt_link is the least.
func (v *verifier) linkOrder(ctx context.Context) error {
	v.begin("least link", "link_conflict")
	var uuids []string
	return v.each(ctx, "link_conflict", "link_id", "uuid", func(rows *sql.Rows) (id int64, err error) {
		var uuid string
		err = rows.Scan(&id, &uuid)
		uuids = append(uuids, uuid)
		return id, err
	}, func() error {
		slices.Sort(uuids)
		for _, uuid := range slices.Compact(uuids) {
			f := Finding{Key: "uuid " + uuid}
			look := func(w *writer) ([]*linkRow, []int64, error) {
				f.Detail = ""
				links, err := w.loadLinks(ctx, []string{uuid})
				list := links[uuid]
				if err != nil || len(list) == 0 {
					return nil, nil, err
				}
				var gone []int64
				if leaving := arrangeLinks(list); leaving != 0 {
					gone, f.Detail = append(gone, leaving), "a lesser link than that of xalt_link is here, or xalt_link has no row of it"
				}
				return list, gone, nil
			}
			err := v.order(ctx, &f, func(w *writer) error {
				_, _, err := look(w)
				return err
			}, func(w *writer) error {
				list, gone, err := look(w)
				if err != nil {
					return err
				}
				list = slices.DeleteFunc(list, func(r *linkRow) bool { return !r.changed })
				return w.storeLinks(ctx, list, gone)
			})
			if err != nil {
				return err
			}
		}
		uuids = uuids[:0]
		return nil
	})
}
