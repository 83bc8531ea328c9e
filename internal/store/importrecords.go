package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// unpacked reads a compressed text; one that is not compressed, or broken, is
// kept as it is and counted.
func (c *chunk) unpacked(table string, v sql.NullString) string {
	text, err := unpack([]byte(v.String))
	if err != nil {
		c.of(table).Unpacked++
		text = v.String
	}
	c.size += len(text)
	return xalt.Storable(text)
}

// rowOf is a row for a dead letter.
func rowOf(columns []string, v []sql.NullString) map[string]string {
	row := make(map[string]string)
	for i, c := range columns[1:] {
		if v[i].Valid {
			row[c] = xalt.Storable(v[i].String)
		}
	}
	return row
}

var sourceRunColumns = []string{
	"run_id", "run_uuid", "job_id", "date", "syshost", "uuid", "hash_id", "account", "exec_type", "start_time", "end_time", "run_time",
	"probability", "num_cores", "num_nodes", "num_threads", "num_gpus", "queue", "sum_runs", "sum_time", "user", "exec_path",
	"module_name", "cwd", "cmdline", "container",
}

// runs copies run records with their libraries and environment.
func (im *importer) runs(ctx context.Context, s span) (*chunk, error) {
	c := newChunk()
	runs, dead, err := im.readRuns(ctx, c, s)
	c.of("xalt_run").Dead = int64(len(dead))
	c.store = func(ctx context.Context, w *writer) error {
		if err := w.writeRuns(ctx, runs); err != nil {
			return err
		}
		return w.writeDead(ctx, &ingest.Batch{Dead: dead})
	}
	return c, err
}

// readRuns reads run records; rows that are none are dead letters.
func (im *importer) readRuns(ctx context.Context, c *chunk, s span) (runs []ingest.Run, dead []ingest.DeadLetter, err error) {
	var keys []int64
	err = im.each(ctx, c, "xalt_run", sourceRunColumns, "", s, func(id int64, v []sql.NullString) error {
		uuid, ok := c.uuid(v[0])
		r := &xalt.Run{
			RunUUID: uuid, JobID: storable(v[1], xalt.Unknown), Syshost: storable(v[3], xalt.Unknown), LinkUUID: linkUUID(v[4]),
			HashID: storable(v[5], xalt.Unknown), Account: storable(v[6], xalt.Unknown), ExecType: storable(v[7], xalt.Unknown),
			StartTime: seconds(v[8]), EndTime: duration(v[9]), RunTime: duration(v[10]), Probability: 1,
			NumCores: integer(v[12]), NumNodes: integer(v[13]), NumThreads: integer(v[14]), NumGPUs: integer(v[15]),
			Queue: storable(v[16], xalt.Unknown), SumRuns: integer(v[17]), SumTime: duration(v[18]), User: storable(v[19], xalt.Unknown),
			ExecPath: storable(v[20], ""), Cwd: storable(v[22], xalt.Unknown), Cmdline: c.unpacked("xalt_run", v[23]), Container: storable(v[24], ""),
		}
		if v[11].Valid {
			r.Probability = upTo(1, number(v[11]), 1)
		}
		if detail := lacks(ok, "run_uuid", r.ExecPath, "start_time", r.StartTime, r.Cmdline); detail != "" {
			letter, err := im.letter("run", "xalt_run", fmt.Sprintf("run_id %d", id), detail, rowOf(sourceRunColumns, v))
			dead = append(dead, letter)
			return err
		}
		runs = append(runs, ingest.Run{Run: r, Date: im.dateOr(v[2], r.StartTime), Module: storable(v[21], "")})
		keys = append(keys, id)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	objects, err := im.objectSets(ctx, c, "join_run_object", "run_id", keys)
	if err != nil {
		return nil, nil, err
	}
	values, err := im.joined(ctx, c, "join_run_env", "run_id", "env_id", "t.env_value", keys)
	if err != nil {
		return nil, nil, err
	}
	if err := learn(ctx, im, &im.cache.names, "xalt_env_name", []string{"env_id", "env_name"}, values, nameOf); err != nil {
		return nil, nil, err
	}
	for i, key := range keys {
		r := &runs[i]
		r.Objects = objects[key]
		r.Env = setOf(c, "join_run_env", "env", values[key], func(p pair) (ingest.EnvVar, bool) {
			name, ok := im.cache.names[p.id]
			return ingest.EnvVar{Hash: ingest.EnvHash(name, p.value), Name: name, Value: p.value}, ok
		}, func(e *ingest.EnvVar) ingest.Hash { return e.Hash })
		r.Digest = digestOf(*r.Run, r.Date, r.Module, r.Objects.Hash, r.Env.Hash)
	}
	return runs, dead, nil
}

// underWay reads again the runs that had not ended when they were read: XALT
// changes a run's row when the run ends. It goes through the rows of ours that have no end, and
// takes those of which the source knows more.
func (im *importer) underWay(table string) func(context.Context, span) (*chunk, error) {
	return func(ctx context.Context, s span) (*chunk, error) {
		c := &chunk{again: true, counts: make(map[string]*ImportCount)}
		var uuids []string
		times := make(map[string]float64) // that the run has taken so far
		query := "SELECT run_id, run_uuid, run_time FROM " + table + " WHERE imported <> 0 AND end_time = 0 AND run_id > ? ORDER BY run_id LIMIT ?"
		err := im.db.retry(ctx, func() error {
			c.rows, uuids = 0, uuids[:0]
			return im.db.query(ctx, im.db.sql, query, []any{s.after, s.limit}, func(rows *sql.Rows) error {
				var uuid string
				var runTime float64
				if err := rows.Scan(&c.last, &uuid, &runTime); err != nil {
					return err
				}
				c.rows++
				uuids = append(uuids, uuid)
				times[uuid] = runTime
				return nil
			})
		})
		if err != nil {
			return c, fmt.Errorf("look up runs that are under way: %w", err)
		}
		names := slices.Clone(uuids)
		for _, uuid := range uuids {
			names = append(names, strings.ToUpper(uuid))
		}
		more := make(map[string]bool)
		query = "SELECT " + im.list("xalt_run", "run_uuid", "end_time", "run_time") + " FROM xalt_run t WHERE t.run_uuid IN (%s)"
		err = in(ctx, im.src, im.src.sql, query, names, textArg, func(rows *sql.Rows) error {
			var v [3]sql.NullString
			if err := rows.Scan(&v[0], &v[1], &v[2]); err != nil {
				return err
			}
			uuid, _ := uuidOf(v[0])
			if known, ok := times[uuid]; ok && (duration(v[1]) != 0 || duration(v[2]) != known) {
				more[uuid] = true
			}
			return nil
		})
		if err != nil || len(more) == 0 {
			return c, err
		}
		uuids = slices.Sorted(maps.Keys(more))
		if s.limit == 1 { // the database may refuse it
			c.key, c.row = "run_uuid "+uuids[0], map[string]string{"run_uuid": uuids[0]}
		}
		c.store = func(ctx context.Context, w *writer) error { return w.renewRuns(ctx, uuids) }
		return c, nil
	}
}

// lacks says what keeps a row from being a record.
func lacks(hasUUID bool, uuid, execPath, start string, at float64, line string) string {
	switch {
	case !hasUUID:
		return uuid + " is no UUID"
	case execPath == "":
		return "no exec_path"
	case at < 1 || at > xalt.MaxTime: // as for records of logs
		return fmt.Sprintf("%s is %v", start, at)
	case len(line) > ingest.MaxTexts: // whether or not this database would compress it
		return fmt.Sprintf("its command line has %d bytes, of which a database takes %d", len(line), ingest.MaxTexts)
	}
	return ""
}

// linkUUID is a run's reference to its link.
func linkUUID(v sql.NullString) string {
	uuid, _ := uuidOf(v)
	return uuid
}

var sourceLinkColumns = []string{
	"link_id", "uuid", "hash_id", "date", "link_program", "link_path", "link_module_name", "link_line", "cwd", "build_user", "build_syshost",
	"build_epoch", "exec_path",
}

// links copies link records with their objects and functions.
func (im *importer) links(ctx context.Context, s span) (*chunk, error) {
	c := newChunk()
	links, dead, err := im.readLinks(ctx, c, s)
	c.of("xalt_link").Dead = int64(len(dead))
	c.store = func(ctx context.Context, w *writer) error {
		if err := w.writeLinks(ctx, links); err != nil {
			return err
		}
		return w.writeDead(ctx, &ingest.Batch{Dead: dead})
	}
	return c, err
}

// readLinks reads link records; rows that are none are dead letters.
func (im *importer) readLinks(ctx context.Context, c *chunk, s span) (links []ingest.Link, dead []ingest.DeadLetter, err error) {
	var keys []int64
	err = im.each(ctx, c, "xalt_link", sourceLinkColumns, "", s, func(id int64, v []sql.NullString) error {
		uuid, ok := c.uuid(v[0])
		l := &xalt.Link{
			UUID: uuid, HashID: storable(v[1], xalt.Unknown), LinkProgram: storable(v[3], xalt.Unknown), LinkPath: storable(v[4], xalt.Unknown),
			LinkLine: c.unpacked("xalt_link", v[6]), Cwd: storable(v[7], xalt.Unknown), BuildUser: storable(v[8], xalt.Unknown),
			BuildSyshost: storable(v[9], xalt.Unknown), BuildEpoch: seconds(v[10]), ExecPath: storable(v[11], ""),
		}
		if detail := lacks(ok, "uuid", l.ExecPath, "build_epoch", l.BuildEpoch, l.LinkLine); detail != "" {
			letter, err := im.letter("link", "xalt_link", fmt.Sprintf("link_id %d", id), detail, rowOf(sourceLinkColumns, v))
			dead = append(dead, letter)
			return err
		}
		links = append(links, ingest.Link{Link: l, Date: im.dateOr(v[2], l.BuildEpoch), Module: storable(v[5], "")})
		keys = append(keys, id)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	objects, err := im.objectSets(ctx, c, "join_link_object", "link_id", keys)
	if err != nil {
		return nil, nil, err
	}
	functions, err := im.joined(ctx, c, "join_link_function", "link_id", "func_id", "NULL", keys)
	if err != nil {
		return nil, nil, err
	}
	if err := learn(ctx, im, &im.cache.functions, "xalt_function", []string{"func_id", "function_name"}, functions, nameOf); err != nil {
		return nil, nil, err
	}
	for i, key := range keys {
		l := &links[i]
		l.Objects = objects[key]
		l.Functions = setOf(c, "join_link_function", "functions", functions[key], func(p pair) (ingest.Function, bool) {
			name, ok := im.cache.functions[p.id]
			return ingest.Function{Hash: ingest.FunctionHash(name), Name: name}, ok
		}, func(f *ingest.Function) ingest.Hash { return f.Hash })
		l.Digest = digestOf(*l.Link, l.Date, l.Module, l.Objects.Hash, l.Functions.Hash)
	}
	return links, dead, nil
}

var sourcePkgColumns = []string{"pkg_id", "run_id", "program", "pkg_name", "pkg_version", "pkg_path"}

// pkgOf is a row of xalt_pkg, with the UUID of its run.
func pkgOf(v []sql.NullString) *xalt.Pkg {
	uuid, _ := uuidOf(v[5])
	return &xalt.Pkg{
		RunUUID: uuid, Program: storable(v[1], xalt.Unknown), Name: storable(v[2], ""), Version: storable(v[3], xalt.Unknown),
		Path: storable(v[4], xalt.Unknown),
	}
}

// pkgs copies the packages of runs.
func (im *importer) pkgs(ctx context.Context, s span) (*chunk, error) {
	c := newChunk()
	var pkgs []*xalt.Pkg
	var dead []ingest.DeadLetter
	err := im.each(ctx, c, "xalt_pkg", sourcePkgColumns, "r.run_uuid LEFT JOIN xalt_run r ON r.run_id = t.run_id", s, func(id int64, v []sql.NullString) error {
		c.name = v[5].String
		_, ok := c.uuid(v[5])
		p := pkgOf(v)
		detail := ""
		switch {
		case !ok:
			detail = "its run is missing, or has no UUID"
		case p.Name == "":
			detail = "no pkg_name"
		}
		if detail != "" {
			letter, err := im.letter("pkg", "xalt_pkg", fmt.Sprintf("pkg_id %d", id), detail, rowOf(sourcePkgColumns, v))
			dead = append(dead, letter)
			return err
		}
		pkgs = append(pkgs, p)
		return nil
	})
	c.of("xalt_pkg").Dead = int64(len(dead))
	c.store = func(ctx context.Context, w *writer) error {
		gone, err := w.dropPkgs(ctx, pkgs)
		if err != nil {
			return err
		}
		if err := w.writePkgs(ctx, pkgs); err != nil {
			return err
		}
		gone = min(gone, w.outcome.Stored)
		w.outcome.Stored -= gone
		w.outcome.Updated += gone
		return w.writeDead(ctx, &ingest.Batch{Dead: dead})
	}
	return c, err
}

// whole copies a table that scripts fill, and fill anew, so that its keys say nothing about
// what is new: it is read whole. A row that it had the last time gives way to others that it has
// by now of the same user or account, unless another imported database has it; those that were
// deleted there stay. What did not come by import counts more.
func (im *importer) whole(ctx context.Context, p phase, state *phaseState, stored string) (ImportCount, error) {
	columns := p.columns
	values, places := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	var list [][]string
	err := im.src.retry(ctx, func() error {
		list = nil
		query := "SELECT " + im.list(p.table, columns...) + " FROM " + p.table + " t ORDER BY t." + p.key
		return im.src.query(ctx, im.src.sql, query, nil, func(rows *sql.Rows) error {
			row := make([]string, len(columns))
			err := rows.Scan(places...)
			for i := range row {
				row[i] = storable(values[i], "")
			}
			list = append(list, row)
			return err
		})
	})
	if err != nil {
		return ImportCount{}, fmt.Errorf("read it: %w", err)
	}
	if im.o.Progress != nil {
		im.o.Progress(p.table, int64(len(list)), int64(len(list)))
	}
	had, now, named := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for _, h := range state.Had {
		had[h] = true
	}
	for _, row := range list {
		now[hashedRow(row)], named[row[0]] = true, true
	}
	all := hashedRow(slices.Sorted(maps.Keys(now)))
	if all == state.Name && !im.o.Full {
		return ImportCount{Table: p.table, Read: int64(len(list)), Folded: int64(len(list))}, nil
	}
	names := slices.Clone(columns)
	if names[0] == "user" {
		names[0] = im.db.dialect.types.User
	}
	var count ImportCount
	steps := func(w *writer) error {
		others, err := im.hadElsewhere(ctx, w, p.table)
		if err != nil {
			return err
		}
		var gone []int64
		changed, foreign, there, has := make(map[string]bool), make(map[string]bool), make(map[string]bool), maps.Clone(now)
		err = w.db.query(ctx, w.tx, "SELECT "+p.key+", "+join(names)+" FROM "+p.table, nil, func(rows *sql.Rows) error {
			var id int64
			if err := rows.Scan(append([]any{&id}, places...)...); err != nil {
				return err
			}
			row := make([]string, len(columns))
			for i := range row {
				row[i] = values[i].String
			}
			switch h := hashedRow(row); {
			case now[h] || others[h]:
				there[h] = true
			case had[h] && named[row[0]]:
				gone, changed[row[0]] = append(gone, id), true
			case had[h]:
				has[h] = true
			default:
				foreign[row[0]] = true
			}
			return nil
		})
		if err != nil {
			return err
		}
		count = ImportCount{Table: p.table, Read: int64(len(list))}
		var fresh [][]any
		for _, row := range list {
			h := hashedRow(row)
			switch {
			case there[h] || had[h] && !im.o.Full: // somebody may have deleted it here
				count.Folded++
				continue
			case foreign[row[0]]:
				count.Superseded++
				continue
			case changed[row[0]]:
				count.Merged++
			default:
				count.Stored++
			}
			there[h] = true
			cells := make([]any, len(row))
			for i := range row {
				cells[i] = row[i]
			}
			fresh = append(fresh, cells)
		}
		if err := execIn(ctx, w.db, w.tx, "DELETE FROM "+p.table+" WHERE "+p.key+" IN (%s)", nil, gone, idArg); err != nil {
			return err
		}
		if err := w.db.insert(ctx, w.tx, p.table, names, fresh, ""); err != nil {
			return err
		}
		if err := w.db.fault("rows of " + p.table); err != nil {
			return err
		}
		text, err := json.Marshal(phaseState{Name: all, Had: slices.Sorted(maps.Keys(has))})
		if err != nil {
			return err
		}
		return im.advance(ctx, w, p.table, stored, string(text))
	}
	err = im.db.retryWrite(ctx, func(t *try, slow bool) error {
		if err := im.db.fault("before " + p.table); err != nil {
			return err
		}
		if _, err := im.db.write(ctx, t, slow, steps); err != nil {
			return err
		}
		return im.db.fault("after " + p.table)
	})
	if err != nil {
		return count, fmt.Errorf("store it: %w", err)
	}
	return count, nil
}

// hashedRow stands for a row in [phaseState].
func hashedRow(row []string) string { return hashedName(fmt.Sprintf("%q", row)) }

// hadElsewhere returns the rows of a table that other imported databases had.
func (im *importer) hadElsewhere(ctx context.Context, w *writer, table string) (map[string]bool, error) {
	had := make(map[string]bool)
	err := w.db.query(ctx, w.tx, "SELECT name, value FROM ingest_meta WHERE name >= 'import:' AND name < 'import;'", nil, func(rows *sql.Rows) error {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		if name == im.name+table || !strings.HasSuffix(name, ":"+table) {
			return nil
		}
		var state phaseState
		if err := json.Unmarshal([]byte(value), &state); err != nil {
			return fmt.Errorf("ingest_meta %s: %w", name, err)
		}
		for _, h := range state.Had {
			had[h] = true
		}
		return nil
	})
	return had, err
}

// totalEnv counts rows of a table that XALT stopped filling; here it is empty
// as well, and they are left.
func (im *importer) totalEnv(ctx context.Context, s span) (*chunk, error) {
	c := newChunk()
	err := im.each(ctx, c, "xalt_total_env", []string{"envT_id", "run_id"}, "", s, func(int64, []sql.NullString) error {
		c.of("xalt_total_env").Left++
		return nil
	})
	return c, err
}
