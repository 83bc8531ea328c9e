package store

import (
	"context"
	"database/sql"
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
			StartTime: seconds(v[8]), EndTime: seconds(v[9]), RunTime: seconds(v[10]), Probability: 1,
			NumCores: integer(v[12]), NumNodes: integer(v[13]), NumThreads: integer(v[14]), NumGPUs: integer(v[15]),
			Queue: storable(v[16], xalt.Unknown), SumRuns: integer(v[17]), SumTime: seconds(v[18]), User: storable(v[19], xalt.Unknown),
			ExecPath: storable(v[20], ""), Cwd: storable(v[22], xalt.Unknown), Cmdline: c.unpacked("xalt_run", v[23]), Container: storable(v[24], ""),
		}
		if v[11].Valid {
			r.Probability = number(v[11])
		}
		if detail := lacks(ok, "run_uuid", r.ExecPath, "start_time", r.StartTime); detail != "" {
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
		query := "SELECT run_id, run_uuid, run_time FROM " + table + " WHERE imported = 1 AND end_time = 0 AND run_id > ? ORDER BY run_id LIMIT ?"
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
			if known, ok := times[uuid]; ok && (seconds(v[1]) != 0 || seconds(v[2]) != known) {
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
func lacks(hasUUID bool, uuid, execPath, start string, at float64) string {
	switch {
	case !hasUUID:
		return uuid + " is no UUID"
	case execPath == "":
		return "no exec_path"
	case at < 1 || at > xalt.MaxTime: // as for records of logs
		return fmt.Sprintf("%s is %v", start, at)
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
		if detail := lacks(ok, "uuid", l.ExecPath, "build_epoch", l.BuildEpoch); detail != "" {
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

// pkgs copies the packages of runs.
func (im *importer) pkgs(ctx context.Context, s span) (*chunk, error) {
	c := newChunk()
	var pkgs []*xalt.Pkg
	var dead []ingest.DeadLetter
	err := im.each(ctx, c, "xalt_pkg", sourcePkgColumns, "r.run_uuid LEFT JOIN xalt_run r ON r.run_id = t.run_id", s, func(id int64, v []sql.NullString) error {
		c.name = v[5].String
		uuid, ok := uuidOf(v[5])
		p := &xalt.Pkg{
			RunUUID: uuid, Program: storable(v[1], xalt.Unknown), Name: storable(v[2], ""), Version: storable(v[3], xalt.Unknown),
			Path: storable(v[4], xalt.Unknown),
		}
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
		if err := w.writePkgs(ctx, pkgs); err != nil {
			return err
		}
		return w.writeDead(ctx, &ingest.Batch{Dead: dead})
	}
	return c, err
}

// plain returns how to copy a table that scripts fill: rows that are not there
// yet are added.
func (im *importer) plain(table, key string, columns ...string) func(context.Context, span) (*chunk, error) {
	return func(ctx context.Context, s span) (*chunk, error) {
		c := newChunk()
		var list [][]string
		var firsts []string
		err := im.each(ctx, c, table, append([]string{key}, columns...), "", s, func(_ int64, v []sql.NullString) error {
			row := make([]string, len(columns))
			for i := range row {
				row[i] = storable(v[i], "")
			}
			list, firsts = append(list, row), append(firsts, row[0])
			return nil
		})
		c.store = func(ctx context.Context, w *writer) error {
			names := append([]string(nil), columns...)
			if names[0] == "user" {
				names[0] = w.db.dialect.types.User
			}
			there := make(map[string]bool)
			values, places := make([]string, len(columns)), make([]any, len(columns))
			for i := range values {
				places[i] = &values[i]
			}
			err := in(ctx, w.db, w.tx, "SELECT "+join(names)+" FROM "+table+" WHERE "+names[0]+" IN (%s)", firsts, textArg, func(rows *sql.Rows) error {
				if err := rows.Scan(places...); err != nil {
					return err
				}
				there[fmt.Sprintf("%q", values)] = true
				return nil
			})
			if err != nil {
				return fmt.Errorf("look up %s: %w", table, err)
			}
			var fresh [][]any
			for _, row := range list {
				content := fmt.Sprintf("%q", row)
				if there[content] {
					continue
				}
				there[content] = true
				cells := make([]any, len(row))
				for i := range row {
					cells[i] = row[i]
				}
				fresh = append(fresh, cells)
			}
			w.words(len(list), len(fresh))
			return w.db.insert(ctx, w.tx, table, names, fresh, "")
		}
		return c, err
	}
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
