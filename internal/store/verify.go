package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"

	"xaltpipe/internal/xalt"
)

// The database has no foreign keys, which made loading several times as slow
// (docs: STORAGE, section 1). Verify looks for what they, and the rules of claims and of ids
// derived from content, promise. It reads in chunks, so its memory does not
// grow with the database; what could be a change of the moment it looks at in one
// transaction. Only to mend does it write, and wait for other writers.

// Finding is one thing that is wrong.
type Finding struct {
	Key      string `json:"key"` // of the row
	Detail   string `json:"detail"`
	Repaired bool   `json:"repaired"`
	Hopeless string `json:"hopeless,omitempty"` // why it cannot be repaired
}

// Check is one kind of check of one table.
type Check struct {
	Name     string    `json:"check"`
	Table    string    `json:"table"`
	Rows     int64     `json:"rows"` // looked at
	Wrong    int64     `json:"wrong"`
	Repaired int64     `json:"repaired"`
	Findings []Finding `json:"findings,omitempty"` // the first ones
}

// VerifyReport is the result of [DB.Verify].
type VerifyReport struct {
	Checks   []Check `json:"checks"`
	Wrong    int64   `json:"wrong"`
	Repaired int64   `json:"repaired"`
	// Unused counts rows by table that nothing refers to, which is no fault: a
	// record that lost to another one leaves its words behind.
	Unused map[string]int64 `json:"unused"`
}

const (
	verifyRows    = 1000 // in a chunk
	shownFindings = 5    // of one check
)

type verifier struct {
	db     *DB
	repair bool
	report VerifyReport
	check  *Check
	merged map[[6]int64]bool // sets of a row, its start and its end that are well
}

// Verify checks that the database is whole, and with repair mends what can be
// mended.
func (db *DB) Verify(ctx context.Context, repair bool) (VerifyReport, error) {
	v := &verifier{db: db, repair: repair, merged: make(map[[6]int64]bool), report: VerifyReport{Unused: make(map[string]int64)}}
	db.known, db.unions = newIDCache(), &unionCache{} // what is remembered is not looked at
	for _, step := range [...]func(context.Context) error{
		v.meta, v.contents, v.lostSets, v.references, v.objectSets, v.envSets, v.functionSets, v.runs, v.runOrder, v.linkOrder, v.duplicates, v.blocks, v.unused,
	} {
		if err := step(ctx); err != nil {
			name := "the database"
			if v.check != nil {
				name = v.check.Table
			}
			return v.report, fmt.Errorf("verify %s: %w", name, err)
		}
	}
	for i := range v.report.Checks {
		v.report.Wrong += v.report.Checks[i].Wrong
		v.report.Repaired += v.report.Checks[i].Repaired
	}
	return v.report, nil
}

// begin begins a check.
func (v *verifier) begin(name, table string) {
	v.report.Checks = append(v.report.Checks, Check{Name: name, Table: table})
	v.check = &v.report.Checks[len(v.report.Checks)-1]
}

// found notes a finding, and mends it if it can be and shall be; without fix
// it is hopeless for the reason given.
func (v *verifier) found(ctx context.Context, f Finding, fix func(*writer) error) error {
	v.check.Wrong++
	if fix != nil && v.repair {
		err := v.db.retryWrite(ctx, func(t *try, slow bool) error {
			_, err := v.db.write(ctx, t, slow, fix)
			return err
		})
		if err != nil {
			return fmt.Errorf("repair %s: %w", f.Key, err)
		}
		f.Repaired = true
		v.check.Repaired++
	}
	if len(v.check.Findings) < shownFindings {
		v.check.Findings = append(v.check.Findings, f)
	}
	return nil
}

// update returns a repair: one statement.
func (v *verifier) update(ctx context.Context, query string, args ...any) func(*writer) error {
	return func(w *writer) error {
		_, err := w.db.exec(ctx, w.tx, query, args...)
		return err
	}
}

// each reads a table in chunks in the order of an integer key; done is called
// behind each chunk.
func (v *verifier) each(ctx context.Context, table, key, columns string, row func(*sql.Rows) (int64, error), done func() error) error {
	after := int64(math.MinInt64)
	query := fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s > ? ORDER BY %s LIMIT %d", key, columns, table, key, key, verifyRows)
	for {
		n := 0
		err := v.db.query(ctx, v.db.sql, query, []any{after}, func(rows *sql.Rows) error {
			id, err := row(rows)
			after = id
			n++
			return err
		})
		if err != nil {
			return err
		}
		v.check.Rows += int64(n)
		if n > 0 {
			if err := done(); err != nil {
				return err
			}
		}
		if n < verifyRows {
			return nil
		}
	}
}

// meta checks the row that writers wait at for each other.
func (v *verifier) meta(ctx context.Context) error {
	v.begin("lock row", "ingest_meta")
	v.check.Rows = 1
	var value string
	err := v.db.row(ctx, v.db.sql, "SELECT value FROM ingest_meta WHERE name = 'lock'", nil, &value)
	if !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	v.check.Wrong++
	f := Finding{Key: "lock", Detail: "the row is missing, nobody can write"}
	if v.repair { // not as a writer, who would wait for the row
		if _, err := v.db.exec(ctx, v.db.sql, "INSERT INTO ingest_meta (name, value) VALUES ('lock', '')"+v.db.dialect.keep([]string{"name"})); err != nil {
			return err
		}
		f.Repaired = true
		v.check.Repaired++
	}
	v.check.Findings = append(v.check.Findings, f)
	return nil
}

// reference is a column that holds another table's key.
type reference struct{ table, key, column, to, toKey string }

func references() []reference {
	var list []reference
	for _, table := range [...]string{"xalt_run", "run_conflict"} {
		for _, c := range [...]string{"object_set_id", "start_object_set_id", "end_object_set_id"} {
			list = append(list, reference{table, "run_id", c, "object_set", "set_id"})
		}
		for _, c := range [...]string{"env_set_id", "start_env_set_id", "end_env_set_id"} {
			list = append(list, reference{table, "run_id", c, "env_set", "set_id"})
		}
		list = append(list, reference{table, "run_id", "map_id", "reverse_map", "map_id"})
	}
	for _, table := range [...]string{"xalt_link", "link_conflict"} {
		list = append(list,
			reference{table, "link_id", "object_set_id", "object_set", "set_id"},
			reference{table, "link_id", "function_set_id", "function_set", "set_id"},
			reference{table, "link_id", "map_id", "reverse_map", "map_id"})
	}
	return append(list,
		reference{"object_set_member", "set_id", "obj_id", "xalt_object", "obj_id"},
		reference{"env_set_member", "set_id", "value_id", "env_value", "value_id"},
		reference{"function_set_member", "set_id", "func_id", "xalt_function", "func_id"},
		reference{"env_value", "value_id", "env_id", "xalt_env_name", "env_id"},
		reference{"xalt_object", "obj_id", "map_id", "reverse_map", "map_id"})
}

// references checks that what is referred to is there. Only a reverse map can
// be done without.
func (v *verifier) references(ctx context.Context) error {
	for _, r := range references() {
		v.begin("reference "+r.column, r.table)
		query := fmt.Sprintf("SELECT COUNT(*) FROM %s WHERE %s IS NOT NULL", r.table, r.column)
		if err := v.db.row(ctx, v.db.sql, query, nil, &v.check.Rows); err != nil {
			return err
		}
		type broken struct{ key, value int64 }
		// A chunk after the other, so that repairing does not disturb reading.
		after := broken{math.MinInt64, math.MinInt64}
		for {
			var list []broken
			query := fmt.Sprintf(`SELECT DISTINCT t.%[2]s, t.%[3]s FROM %[1]s t LEFT JOIN %[4]s o ON o.%[5]s = t.%[3]s
WHERE t.%[3]s IS NOT NULL AND o.%[5]s IS NULL AND (t.%[2]s > ? OR t.%[2]s = ? AND t.%[3]s > ?) ORDER BY t.%[2]s, t.%[3]s LIMIT %[6]d`,
				r.table, r.key, r.column, r.to, r.toKey, verifyRows)
			err := v.db.query(ctx, v.db.sql, query, []any{after.key, after.key, after.value}, func(rows *sql.Rows) error {
				err := rows.Scan(&after.key, &after.value)
				list = append(list, after)
				return err
			})
			if err != nil {
				return err
			}
			for _, b := range list {
				f := Finding{Key: fmt.Sprintf("%s %d", r.key, b.key), Detail: fmt.Sprintf("%s %d is not in %s", r.column, b.value, r.to)}
				var fix func(*writer) error
				if r.column == "map_id" {
					fix = v.update(ctx, fmt.Sprintf("UPDATE %s SET map_id = NULL WHERE %s = ? AND map_id = ?", r.table, r.key), b.key, b.value)
				} else {
					f.Hopeless = "what it refers to is lost"
				}
				if err := v.found(ctx, f, fix); err != nil {
					return err
				}
			}
			if len(list) < verifyRows {
				break
			}
		}
	}
	return nil
}

// duplicates looks for keys that a lost unique index let in twice.
func (v *verifier) duplicates(ctx context.Context) error {
	for _, d := range [...]struct{ table, key, columns string }{
		{"xalt_run", "run_uuid", "run_uuid"},
		{"run_conflict", "run_uuid", "run_uuid, claim"},
		{"xalt_link", "uuid", "uuid"},
		{"link_conflict", "uuid", "uuid, digest"},
		{"xalt_object", "obj_id", "hash"},
		{"xalt_env_name", "env_id", "hash"},
		{"env_value", "value_id", "hash"},
		{"xalt_function", "func_id", "hash"},
		{"object_set", "set_id", "hash"},
		{"env_set", "set_id", "hash"},
		{"function_set", "set_id", "hash"},
		{"pkg", "pkg_id", "hash"},
	} {
		v.begin("duplicates", d.table)
		if err := v.db.row(ctx, v.db.sql, "SELECT COUNT(*) FROM "+d.table, nil, &v.check.Rows); err != nil {
			return err
		}
		// By the number of rows first: the few that are wrong need not be sorted.
		query := fmt.Sprintf("SELECT MIN(%s), COUNT(*) FROM %s GROUP BY %s HAVING COUNT(*) > 1", d.key, d.table, d.columns)
		err := v.db.query(ctx, v.db.sql, query, nil, func(rows *sql.Rows) error {
			var key string
			var n int64
			if err := rows.Scan(&key, &n); err != nil {
				return err
			}
			return v.found(ctx, Finding{Key: d.key + " " + key, Detail: fmt.Sprintf("%d rows have one %s", n, d.columns), Hopeless: "a unique index is missing; which row is right is not known"}, nil)
		})
		if err != nil {
			return err
		}
	}
	v.begin("claim in both tables", "run_conflict")
	if err := v.db.row(ctx, v.db.sql, "SELECT COUNT(*) FROM run_conflict", nil, &v.check.Rows); err != nil {
		return err
	}
	return v.db.query(ctx, v.db.sql, "SELECT c.run_uuid FROM run_conflict c JOIN xalt_run r ON r.run_uuid = c.run_uuid AND r.claim = c.claim", nil, func(rows *sql.Rows) error {
		var uuid string
		if err := rows.Scan(&uuid); err != nil {
			return err
		}
		return v.found(ctx, Finding{Key: "run_uuid " + uuid, Detail: "xalt_run has the same claim", Hopeless: "which row is right is not known"}, nil)
	})
}

// blocks checks waiting blocks: a group's id comes from its header.
func (v *verifier) blocks(ctx context.Context) error {
	v.begin("identity", "ingest_block")
	after := []byte{}
	index, copied := int64(-1), int64(-1)
	query := "SELECT group_id, idx, copy, version, kind, syshost, " + v.db.dialect.types.Quote("key") + `, crc, nb FROM ingest_block
WHERE group_id > ? OR group_id = ? AND (idx > ? OR idx = ? AND copy > ?) ORDER BY group_id, idx, copy LIMIT 1000`
	for {
		n := 0
		err := v.db.query(ctx, v.db.sql, query, []any{after, after, index, index, copied}, func(rows *sql.Rows) error {
			var b xalt.Block
			var crc sql.NullInt64
			if err := rows.Scan(&after, &index, &copied, &b.Version, &b.Kind, &b.Syshost, &b.Key, &crc, &b.Count); err != nil {
				return err
			}
			n++
			v.check.Rows++
			b.HasCRC, b.CRC = crc.Valid, uint16(crc.Int64)
			f := Finding{Key: fmt.Sprintf("group_id %x idx %d copy %d", after, index, copied), Hopeless: "its header was changed; what it was is not known"}
			switch want := b.Identity(); {
			case string(want[:]) != string(after):
				f.Detail = "group_id is not that of its header"
			case index < 0 || index >= int64(b.Count):
				f.Detail = fmt.Sprintf("block %d of %d", index, b.Count)
			default:
				return nil
			}
			return v.found(ctx, f, nil)
		})
		if err != nil || n < verifyRows {
			return err
		}
	}
}

// users are the columns that refer to a table's key.
var users = []struct {
	table, key string
	columns    [][2]string // table and column
}{
	{"xalt_object", "obj_id", [][2]string{{"object_set_member", "obj_id"}}},
	{"env_value", "value_id", [][2]string{{"env_set_member", "value_id"}}},
	{"xalt_function", "func_id", [][2]string{{"function_set_member", "func_id"}}},
	{"reverse_map", "map_id", [][2]string{
		{"xalt_object", "map_id"}, {"xalt_run", "map_id"}, {"xalt_link", "map_id"}, {"run_conflict", "map_id"}, {"link_conflict", "map_id"},
	}},
	{"object_set", "set_id", [][2]string{
		{"xalt_run", "object_set_id"},
		{"xalt_run", "start_object_set_id"},
		{"xalt_run", "end_object_set_id"},
		{"run_conflict", "object_set_id"},
		{"run_conflict", "start_object_set_id"},
		{"run_conflict", "end_object_set_id"},
		{"xalt_link", "object_set_id"},
		{"link_conflict", "object_set_id"},
	}},
	{"env_set", "set_id", [][2]string{
		{"xalt_run", "env_set_id"},
		{"xalt_run", "start_env_set_id"},
		{"xalt_run", "end_env_set_id"},
		{"run_conflict", "env_set_id"},
		{"run_conflict", "start_env_set_id"},
		{"run_conflict", "end_env_set_id"},
	}},
	{"function_set", "set_id", [][2]string{{"xalt_link", "function_set_id"}, {"link_conflict", "function_set_id"}}},
}

// unused counts what nothing refers to.
func (v *verifier) unused(ctx context.Context) error {
	for _, u := range users {
		var used []string
		for _, c := range u.columns {
			used = append(used, "SELECT "+c[1]+" AS id FROM "+c[0]+" WHERE "+c[1]+" IS NOT NULL")
		}
		// Joined, because MySQL and MariaDB go through a NOT IN of a union for every row.
		query := fmt.Sprintf("SELECT COUNT(*) FROM %s t LEFT JOIN (%s) u ON u.id = t.%s WHERE u.id IS NULL", u.table, strings.Join(used, " UNION "), u.key)
		if len(used) == 1 { // it has an index
			query = fmt.Sprintf("SELECT COUNT(*) FROM %s t WHERE NOT EXISTS (SELECT 1 FROM %s u WHERE u.%s = t.%s)", u.table, u.columns[0][0], u.columns[0][1], u.key)
		}
		var n int64
		if err := v.db.row(ctx, v.db.sql, query, nil, &n); err != nil {
			return fmt.Errorf("count what is not used of %s: %w", u.table, err)
		}
		v.report.Unused[u.table] = n
	}
	return nil
}
