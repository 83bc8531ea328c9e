package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Summary says what a database holds, in a few numbers.
type Summary struct {
	Links        int64  `json:"links"`
	Runs         int64  `json:"runs"`
	Ended        int64  `json:"runs_ended"` // runs whose end is known
	FirstRun     string `json:"first_run"`  // date and time, empty without runs
	LastRun      string `json:"last_run"`
	Packages     int64  `json:"packages"`
	Libraries    int64  `json:"libraries"`       // libraries and object files
	Named        int64  `json:"libraries_named"` // of them with a module
	Functions    int64  `json:"functions"`
	Conflicts    int64  `json:"conflicts"` // further claims on a run's or link's UUID
	Waiting      int64  `json:"waiting"`   // records that wait for blocks
	DeadLetters  int64  `json:"dead_letters"`
	ModuleRunSQL string `json:"-"` // the statement that gave Modules
	// Modules are those with the most runs that loaded a library of theirs.
	Modules []ModuleRuns `json:"modules"`
}

// ModuleRuns is how many runs loaded a library of a module, and how many users
// these runs had.
type ModuleRuns struct {
	Module string `json:"module"`
	Runs   int64  `json:"runs"`
	Users  int64  `json:"users"`
}

// moduleRunsSQL looks at each set of libraries once for each user, however many
// runs have it; %[1]s is the name user as the database wants it quoted.
const moduleRunsSQL = `SELECT s.module_name, SUM(r.runs) AS runs, COUNT(DISTINCT r.%[1]s) AS users
FROM (
  SELECT object_set_id, %[1]s, COUNT(*) AS runs FROM xalt_run GROUP BY object_set_id, %[1]s
) r JOIN (
  SELECT DISTINCT m.set_id, o.module_name
  FROM xalt_object o JOIN object_set_member m ON m.obj_id = o.obj_id
  WHERE o.module_name IS NOT NULL
) s ON s.set_id = r.object_set_id
GROUP BY s.module_name ORDER BY runs DESC, s.module_name LIMIT %[2]d`

// Summary counts what is stored; top bounds the list of modules.
func (db *DB) Summary(ctx context.Context, top int) (Summary, error) {
	var s Summary
	for _, q := range []struct {
		query string
		into  []any
	}{
		{"SELECT COUNT(*) FROM xalt_link", []any{&s.Links}},
		{"SELECT COUNT(*), COALESCE(SUM(CASE WHEN end_time > 0 THEN 1 ELSE 0 END), 0) FROM xalt_run", []any{&s.Runs, &s.Ended}},
		{"SELECT COUNT(*) FROM pkg", []any{&s.Packages}},
		{"SELECT COUNT(*), COUNT(module_name) FROM xalt_object", []any{&s.Libraries, &s.Named}},
		{"SELECT COUNT(*) FROM xalt_function", []any{&s.Functions}},
		{"SELECT (SELECT COUNT(*) FROM run_conflict) + (SELECT COUNT(*) FROM link_conflict)", []any{&s.Conflicts}},
		{"SELECT COUNT(*) FROM dead_letter", []any{&s.DeadLetters}},
	} {
		if err := db.row(ctx, db.sql, q.query, nil, q.into...); err != nil {
			return s, fmt.Errorf("summarise: %w", err)
		}
	}
	waiting, err := db.CountPending(ctx)
	if err != nil {
		return s, fmt.Errorf("summarise: %w", err)
	}
	s.Waiting = waiting
	if s.Runs > 0 {
		if err := db.row(ctx, db.sql, "SELECT MIN(date), MAX(date) FROM xalt_run", nil, dateText{&s.FirstRun}, dateText{&s.LastRun}); err != nil {
			return s, fmt.Errorf("summarise: %w", err)
		}
	}
	s.ModuleRunSQL = fmt.Sprintf(moduleRunsSQL, db.dialect.types.User, top)
	s.Modules = make([]ModuleRuns, 0, top)
	err = db.query(ctx, db.sql, s.ModuleRunSQL, nil, func(rows *sql.Rows) error {
		var m ModuleRuns
		err := rows.Scan(&m.Module, &m.Runs, &m.Users)
		s.Modules = append(s.Modules, m)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("summarise the modules: %w", err)
	}
	return s, nil
}
