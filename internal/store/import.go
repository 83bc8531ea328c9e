package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// An import copies a database of XALT's own: table by table, in the order of
// its keys, a chunk of rows a transaction. The transaction also holds how far
// the table has been read, so an import may be killed at any time and run
// again. Rows become records first (importread.go) and go the way of all
// records: several rows of one UUID form claims, libraries become sets, content
// is stored once. They are marked, and a log's own record replaces them.

// Errors of [DB.Import].
var (
	// ErrNotXALT is wrapped when the source is no database of XALT's.
	ErrNotXALT = errors.New("not a database of XALT's")
	// ErrImportMoved is wrapped when another process imports from the same
	// source at the same time.
	ErrImportMoved = errors.New("another import from this database is at work")
)

// ImportOptions say how to import.
type ImportOptions struct {
	// Full reads all rows again, not only those behind the last ones read, and
	// replaces what was imported of those that have changed.
	Full bool
	// Rows is how many rows of a table make one transaction; 0: 500.
	Rows int
	// Bytes is how much of a table may be in memory at once, unless it is one
	// row; 0: 64 MiB.
	Bytes int
	// Progress, if not nil, is called after each chunk with the key it ends at
	// and the greatest key of the table.
	Progress func(table string, key, last int64)
}

// ImportCount says what became of the rows of one table, since the import from
// this source began. Every row that was read is in one of the other counts.
type ImportCount struct {
	Table      string `json:"table"`
	Read       int64  `json:"read"`
	Stored     int64  `json:"stored"`      // became a row
	Merged     int64  `json:"merged"`      // start and end of one run became one row, or it has changed in the source
	Folded     int64  `json:"folded"`      // the same was there already
	Superseded int64  `json:"superseded"`  // lost to another record of the same claim
	Conflicts  int64  `json:"conflicts"`   // another claim on the same UUID
	Logged     int64  `json:"logged"`      // the log's own record is there
	Dead       int64  `json:"dead_letter"` // cannot be stored: a dead letter
	Left       int64  `json:"left"`        // refer to rows that are missing, or have no place here
	Unpacked   int64  `json:"not_packed"`  // of those read: compressed text that was plain or broken, and was kept as it is
	Missing    bool   `json:"missing"`     // the source has no such table, or hides it
}

// ImportReport is the result of an import.
type ImportReport struct {
	Source string        `json:"source"` // its address without password
	Tables []ImportCount `json:"tables"`
	// New is how many rows became dead letters or conflicts, or were left,
	// this time.
	New int64 `json:"new_attention"`
}

// attention is how many rows somebody should look at.
func attention(counts map[string]*ImportCount) (n int64) {
	for _, c := range counts {
		n += c.Dead + c.Left + c.Conflicts
	}
	return n
}

const (
	importRows  = 500
	importBytes = 64 << 20
)

// errLargeChunk: fewer rows are to be read at once.
var errLargeChunk = errors.New("chunk is too large")

// chunk is what was read of a table, and how to store it.
type chunk struct {
	rows    int
	last    int64 // key of its last row
	counts  map[string]*ImportCount
	keys    map[int64]bool
	name    string   // of its last row, see phase
	size    int      // of its texts
	spelled []string // UUIDs that are in neither case
	again   bool     // of rows that were read before
	store   func(context.Context, *writer) error
	// If it is one row: what it is called, and what it has.
	key string
	row map[string]string
}

func newChunk() *chunk {
	return &chunk{keys: make(map[int64]bool), counts: make(map[string]*ImportCount)}
}

// of returns the counter of a table.
func (c *chunk) of(table string) *ImportCount {
	if c.counts[table] == nil {
		c.counts[table] = &ImportCount{Table: table}
	}
	return c.counts[table]
}

// add takes the outcome of a writer that has stored the chunk's records.
func (n *ImportCount) add(w *writer) {
	n.Stored += w.outcome.Stored
	n.Merged += w.outcome.Updated
	n.Folded += w.outcome.Repeated
	n.Superseded += w.outcome.Superseded
	n.Conflicts += w.outcome.Conflicts
	n.Logged += w.outrun
}

// addAgain is add for rows that were read before: those count that have brought something.
func (n *ImportCount) addAgain(w *writer) {
	n.Read += w.outcome.Updated + w.outcome.Conflicts
	n.Merged += w.outcome.Updated
	n.Conflicts += w.outcome.Conflicts
}

func (n *ImportCount) sum(o *ImportCount) {
	n.Read += o.Read
	n.Stored += o.Stored
	n.Merged += o.Merged
	n.Folded += o.Folded
	n.Superseded += o.Superseded
	n.Conflicts += o.Conflicts
	n.Logged += o.Logged
	n.Dead += o.Dead
	n.Left += o.Left
	n.Unpacked += o.Unpacked
}

// phase copies one table.
type phase struct {
	table, key, name string // name is what its rows are called, which does not change
	read             func(context.Context, span) (*chunk, error)
	columns          []string // instead of name and read: of a table that is read whole
}

// only is the phase for rows with these keys.
func (p phase) only(keys []int64) phase {
	read, among := p.read, make([]any, len(keys))
	for i, key := range keys {
		among[i] = key
	}
	p.read = func(ctx context.Context, s span) (*chunk, error) {
		s.column, s.among = p.key, among
		return read(ctx, s)
	}
	return p
}

// phaseState is how far a phase has come; its JSON is a value of ingest_meta.
type phaseState struct {
	After  int64                   `json:"after"`
	Name   string                  `json:"name,omitempty"` // of the row that After is the key of, or of all rows, hashed
	Late   []int64                 `json:"late,omitempty"` // keys before it that were not there
	Had    []string                `json:"had,omitempty"`  // rows of a table that is read whole, hashed
	Counts map[string]*ImportCount `json:"counts"`
}

// lateKeys is how far behind the greatest key a row may be that is committed later: who
// writes at the same time as others takes its key first.
const lateKeys = 1000

// take notes that a chunk was read, which is behind what was read before, or of late rows.
func (s *phaseState) take(c *chunk) {
	late := slices.Clone(s.Late)
	if c.last > s.After {
		for key := max(s.After, c.last-lateKeys) + 1; key < c.last; key++ {
			late = append(late, key)
		}
		s.After, s.Name = c.last, hashedName(c.name)
	}
	s.Late = slices.DeleteFunc(late, func(key int64) bool { return key <= s.After-lateKeys || c.keys[key] })
}

func hashedName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// importer is one import.
type importer struct {
	db    *DB
	src   *DB
	has   map[string]map[string]bool // the source's columns by table
	name  string                     // of the import, in ingest_meta
	o     ImportOptions
	cache importCache
	news  int64
	mine  sourceSet // this source
}

// Import copies the database of XALT's own at an address; see [ImportOptions].
// A second import reads what came since the first, and runs again that had not
// ended then.
func (db *DB) Import(ctx context.Context, from Address, o ImportOptions) (ImportReport, error) {
	report := ImportReport{Source: from.String()}
	if o.Rows <= 0 {
		o.Rows = importRows
	}
	if o.Bytes <= 0 {
		o.Bytes = importBytes
	}
	if from.Kind != "mysql" {
		return report, fmt.Errorf("%w: %s: XALT's databases are MySQL's or MariaDB's", ErrNotXALT, report.Source)
	}
	pool, d, err := openMySQL(ctx, from, db.tell)
	if err != nil {
		return report, fmt.Errorf("open %s: %w", report.Source, err)
	}
	defer pool.Close()
	im := &importer{db: db, src: &DB{sql: pool, dialect: d, name: report.Source, now: db.now, tell: db.tell}, o: o, cache: newImportCache()}
	from.User = "" // whoever reads it, it is the same
	im.name = "import:" + hashedName(from.String()) + ":"
	if err := im.inspect(ctx); err != nil {
		return report, fmt.Errorf("import from %s: %w", report.Source, err)
	}
	if err := im.enroll(ctx); err != nil {
		return report, fmt.Errorf("import from %s: %w", report.Source, err)
	}
	for _, p := range im.phases() {
		if im.has[p.table] == nil {
			report.Tables = append(report.Tables, ImportCount{Table: p.table, Missing: true})
			continue
		}
		counts, err := im.run(ctx, p)
		if err != nil {
			return report, fmt.Errorf("import %s: %w", p.table, err)
		}
		report.Tables = append(report.Tables, counts...)
	}
	report.New = im.news
	return report, nil
}

// inspect finds out which tables and columns the source has.
func (im *importer) inspect(ctx context.Context) error {
	im.has = make(map[string]map[string]bool)
	err := im.src.query(ctx, im.src.sql, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE()", nil, func(rows *sql.Rows) error {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return err
		}
		if im.has[table] == nil {
			im.has[table] = make(map[string]bool)
		}
		im.has[table][column] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("read its columns: %w", err)
	}
	if im.has["schema_version"] != nil {
		return fmt.Errorf("%w: it was made by syslog2db (there is a table schema_version)", ErrNotXALT)
	}
	for table, columns := range map[string][]string{
		"xalt_run":    {"run_id", "run_uuid", "date", "syshost", "start_time", "end_time", "user", "exec_path"},
		"xalt_link":   {"link_id", "uuid", "date", "build_epoch", "exec_path"},
		"xalt_object": {"obj_id", "object_path", "syshost", "hash_id"},
	} {
		if im.has[table] == nil {
			return fmt.Errorf("%w: it has no table %s", ErrNotXALT, table)
		}
		for _, c := range columns {
			if !im.has[table][c] {
				return fmt.Errorf("%w: its table %s has no column %s", ErrNotXALT, table, c)
			}
		}
	}
	return nil
}

// enroll gives the source its bit among those that are imported.
func (im *importer) enroll(ctx context.Context) error {
	var n int64
	err := im.db.row(ctx, im.db.sql, "SELECT value FROM ingest_meta WHERE name = ?", []any{im.name + "number"}, &n)
	if errors.Is(err, sql.ErrNoRows) {
		err = im.db.retryWrite(ctx, func(t *try, slow bool) error {
			_, err := im.db.write(ctx, t, slow, func(w *writer) error {
				err := im.db.row(ctx, w.tx, "SELECT COUNT(*) + 1 FROM ingest_meta WHERE name LIKE 'import:%:number'", nil, &n)
				if err != nil || n > maxSources {
					return err
				}
				return im.advance(ctx, w, "number", "", strconv.FormatInt(n, 10))
			})
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("look up its number: %w", err)
	}
	if n > maxSources {
		return fmt.Errorf("%d databases were imported before, which is the most there can be", maxSources)
	}
	im.mine = 1 << (n - 1)
	return nil
}

func (im *importer) phases() []phase {
	return []phase{
		{table: "xalt_object", key: "obj_id", name: "t.object_path", read: im.objects},
		{table: "xalt_env_name", key: "env_id", name: "t.env_name", read: im.envNames},
		{table: "xalt_function", key: "func_id", name: "t.function_name", read: im.functions},
		{table: "xalt_link", key: "link_id", name: "t.uuid", read: im.links},
		{table: "xalt_run", key: "run_id", name: "t.run_uuid", read: im.runs},
		{table: "xalt_pkg", key: "pkg_id", name: "(SELECT r.run_uuid FROM xalt_run r WHERE r.run_id = t.run_id)", read: im.pkgs},
		{table: "xalt_user", key: "usr_id", columns: []string{"user", "anon_user"}},
		{table: "xalt_account", key: "acct_id", columns: []string{"account", "anon_user", "field_of_science"}},
		{table: "xalt_field_of_science", key: "fos_id", columns: []string{"account", "field_of_science", "directorate"}},
		{table: "xalt_total_env", key: "envT_id", name: "t.run_id", read: im.totalEnv},
	}
}

// run copies what is behind the last row that was read.
func (im *importer) run(ctx context.Context, p phase) ([]ImportCount, error) {
	state := phaseState{Counts: make(map[string]*ImportCount)}
	var stored string
	err := im.db.row(ctx, im.db.sql, "SELECT value FROM ingest_meta WHERE name = ?", []any{im.name + p.table}, &stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return nil, fmt.Errorf("read how far it has come: %w", err)
	case !im.o.Full || p.columns != nil:
		if err := json.Unmarshal([]byte(stored), &state); err != nil {
			return nil, fmt.Errorf("read how far it has come: ingest_meta %s%s: %w", im.name, p.table, err)
		}
	}
	if p.columns != nil {
		count, err := im.whole(ctx, p, &state, stored)
		return []ImportCount{count}, err
	}
	later := stored != "" && !im.o.Full
	if there, err := im.lastThere(ctx, p, &state); err != nil {
		return nil, err
	} else if !there {
		state = phaseState{Counts: make(map[string]*ImportCount)}
	}
	var last sql.NullInt64
	if err := im.src.row(ctx, im.src.sql, "SELECT MAX("+p.key+") FROM "+p.table, nil, &last); err != nil {
		return nil, err
	}
	before := attention(state.Counts)
	if len(state.Late) > 0 {
		if err := im.pass(ctx, p.only(state.Late), state.Late[0]-1, false, &state, &stored, last.Int64); err != nil {
			return nil, fmt.Errorf("rows that came late: %w", err)
		}
	}
	if err := im.pass(ctx, p, state.After, false, &state, &stored, last.Int64); err != nil {
		return nil, err
	}
	if later && p.table == "xalt_run" {
		for _, table := range [...]string{"xalt_run", "run_conflict"} {
			p.read = im.underWay(table)
			if err := im.pass(ctx, p, 0, true, &state, &stored, last.Int64); err != nil {
				return nil, fmt.Errorf("runs that were under way: %w", err)
			}
		}
	}
	im.news += attention(state.Counts) - before
	list := []ImportCount{{Table: p.table}}
	if n := state.Counts[p.table]; n != nil {
		list[0] = *n
	}
	for _, table := range joinsOf[p.table] {
		if n := state.Counts[table]; im.has[table] == nil {
			list = append(list, ImportCount{Table: table, Missing: true})
		} else if n != nil {
			list = append(list, *n)
		}
	}
	return list, nil
}

// joinsOf are the tables that are read with one.
var joinsOf = map[string][]string{
	"xalt_link": {"join_link_object", "join_link_function"},
	"xalt_run":  {"join_run_object", "join_run_env"},
}

// lastThere reports whether the row that was read last is there as it was. If it is not, rows
// with lesser keys may be new: the tables were filled anew, or it is another database at the address.
func (im *importer) lastThere(ctx context.Context, p phase, state *phaseState) (bool, error) {
	if state.Name == "" {
		return true, nil
	}
	var name sql.NullString
	query := "SELECT " + p.name + " FROM " + p.table + " t WHERE t." + p.key + " = ?"
	err := im.src.row(ctx, im.src.sql, query, []any{state.After}, &name)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("look for the row that was read last: %w", err)
	}
	return hashedName(name.String) == state.Name, nil
}

// pass copies what is behind a key, chunk by chunk. If the database refuses one, it is
// read again in halves down to the row at fault, which becomes a dead letter, see [DB.Write].
func (im *importer) pass(ctx context.Context, p phase, after int64, again bool, state *phaseState, stored *string, last int64) error {
	s := span{after: after, limit: im.o.Rows}
	for {
		var c *chunk
		err := im.src.retry(ctx, func() (err error) {
			c, err = p.read(ctx, s)
			return err
		})
		if errors.Is(err, errLargeChunk) {
			s.limit = max(1, s.limit/2)
			continue
		} else if err != nil {
			return fmt.Errorf("read behind %s %d: %w", p.key, s.after, err)
		}
		if c.rows == 0 {
			return nil
		}
		if c.store != nil || !again { // else nothing is new
			next, err := im.write(ctx, p, *state, *stored, c)
			bad := err != nil && im.db.classify(err) == badData
			switch {
			case s.limit > 1 && (bad || errors.Is(err, errLargeChunk)):
				s.limit = max(1, min(s.limit, c.rows)/2)
				continue
			case bad:
				if c, err = im.refused(p, c, err); err == nil {
					next, err = im.write(ctx, p, *state, *stored, c)
				}
			}
			if err != nil {
				return fmt.Errorf("store %s %d to %d: %w", p.key, s.after+1, c.last, err)
			}
			*stored = next
			*state = phaseState{}
			if err := json.Unmarshal([]byte(next), state); err != nil {
				return err
			}
		}
		s.after, s.limit = c.last, min(im.o.Rows, 2*s.limit)
		if im.o.Progress != nil && !again {
			im.o.Progress(p.table, c.last, last)
		}
	}
}

// refused returns a chunk for one that is a row that the database refuses.
func (im *importer) refused(p phase, c *chunk, refusal error) (*chunk, error) {
	letter, err := im.letter(strings.TrimPrefix(p.table, "xalt_"), p.table, c.key, xalt.Storable(refusal.Error()), c.row)
	letter.Reason = ingest.ReasonStore
	dead := newChunk()
	dead.rows, dead.last, dead.keys, dead.name, dead.again = c.rows, c.last, c.keys, c.name, c.again
	for table, n := range c.counts { // what it refers to is left with it
		*dead.of(table) = ImportCount{Table: table, Read: n.Read, Left: n.Read, Unpacked: n.Unpacked}
	}
	*dead.of(p.table) = ImportCount{Table: p.table, Read: 1, Dead: 1, Unpacked: dead.of(p.table).Unpacked}
	dead.store = func(ctx context.Context, w *writer) error {
		return w.writeDead(ctx, &ingest.Batch{Dead: []ingest.DeadLetter{letter}})
	}
	return dead, err
}

// write stores a chunk and how far the phase has come then, in one
// transaction; it returns the new value of ingest_meta.
func (im *importer) write(ctx context.Context, p phase, state phaseState, stored string, c *chunk) (string, error) {
	var next string
	step := func(t *try, slow bool) error {
		if err := im.db.fault("before " + p.table); err != nil {
			return err
		}
		_, err := im.db.write(ctx, t, slow, func(w *writer) error {
			w.importing, w.source, w.spelled = true, im, c.spelled
			counts := *c
			counts.counts = make(map[string]*ImportCount)
			for table, n := range c.counts { // the transaction may be tried again
				again := *n
				counts.counts[table] = &again
			}
			if c.store != nil {
				if err := c.store(ctx, w); err != nil {
					return err
				}
			}
			after := state
			if c.again {
				if n := counts.of(p.table); n.Dead > w.outcome.NewDead { // it was refused before
					*n = ImportCount{Table: p.table}
				}
				counts.of(p.table).addAgain(w)
			} else {
				counts.of(p.table).add(w)
				after.take(c)
			}
			for table, n := range state.Counts {
				counts.of(table).sum(n)
			}
			after.Counts = counts.counts
			text, err := json.Marshal(after)
			if err != nil {
				return err
			}
			next = string(text)
			if err := im.db.fault("rows of " + p.table); err != nil {
				return err
			}
			return im.advance(ctx, w, p.table, stored, next)
		})
		if err == nil {
			err = im.db.fault("after " + p.table)
		}
		return err
	}
	return next, im.db.retryWrite(ctx, step)
}

// advance notes how far a phase has come, if nobody else has meanwhile.
func (im *importer) advance(ctx context.Context, w *writer, table, old, next string) error {
	if next == old { // rows that were read again changed nothing
		return nil
	}
	n := int64(0)
	var err error
	if old == "" {
		n, err = im.db.exec(ctx, w.tx, "INSERT INTO ingest_meta (name, value) VALUES (?, ?)"+im.db.dialect.keep([]string{"name"}), im.name+table, next)
	} else {
		n, err = im.db.exec(ctx, w.tx, "UPDATE ingest_meta SET value = ? WHERE name = ? AND value = ?", next, im.name+table, old)
	}
	if err == nil && n == 0 {
		err = ErrImportMoved
	}
	if err != nil {
		return fmt.Errorf("note how far it has come: %w", err)
	}
	return nil
}

// letter makes a dead letter of a row that cannot be stored.
func (im *importer) letter(kind, table, key, detail string, row map[string]string) (ingest.DeadLetter, error) {
	raw, err := json.Marshal(row)
	return ingest.DeadLetter{
		Reason: ingest.ReasonRecord, Detail: detail, Kind: kind, Syshost: row["syshost"], Key: key,
		Source: im.src.name + " " + table, Raw: raw,
	}, err
}
