package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"xaltpipe/internal/ingest"
)

// connection is one that writes, with its prepared statements.
type connection struct {
	conn  *sql.Conn // nil until the first transaction, and after a fault
	stmts map[string]*sql.Stmt
	slow  bool   // this transaction does without the bulk way, see errBulk
	mark  string // what dialect.lock tells if nobody else has written since; empty: not known
}

// session is the use of that connection, which is in a transaction or idle. Some of
// what it does may be done [session.later], one after the other.
type session struct {
	connection
	mu       sync.Mutex
	underway chan error // the outcome of what is done later; nil: nothing is
}

// maxStatements bounds how many prepared statements are kept.
const maxStatements = 300

// transact runs f in a transaction of the writer. One runs at a time.
func (db *DB) transact(ctx context.Context, f func(*session) error) error {
	return db.transactOn(ctx, &db.writer, true, f)
}

// look runs f in a transaction of the writer's connection that only reads: f sees
// the database as it is at one moment, waits for no writer, and needs no more
// than a reader's rights and a server that takes no changes.
func (db *DB) look(ctx context.Context, f func(*session) error) error {
	return db.transactOn(ctx, &db.writer, false, f)
}

// transactOn runs f in a transaction of a session, which writes or only looks; it
// is the only place that begins one.
func (db *DB) transactOn(ctx context.Context, s *session, writes bool, f func(*session) error) (err error) {
	defer func() { err = explain(err) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		conn, err := db.sql.Conn(ctx)
		if err != nil {
			return err
		}
		s.conn, s.stmts = conn, make(map[string]*sql.Stmt)
		if db.dialect.writer != "" {
			if _, err := conn.ExecContext(ctx, db.dialect.writer); err != nil {
				s.drop()
				return err
			}
		}
	}
	committed := false
	defer func() {
		if !committed { // something failed, or panicked
			s.rollback()
		}
	}()
	begins := db.dialect.begin
	if !writes {
		begins = db.dialect.beginLook
	}
	for _, begin := range begins {
		if _, err := s.conn.ExecContext(ctx, begin); err != nil {
			return err
		}
	}
	if err := errors.Join(f(s), s.settle()); err != nil {
		return err
	}
	if _, err := s.conn.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	committed = true
	if !writes {
		return nil
	}
	if db.dialect.committed != nil {
		db.dialect.committed(db, ctx)
	}
	return nil
}

// later lets do run beside what the caller does next, behind what is done later
// already. What else needs the connection waits for all of it, and returns its first
// error.
func (s *session) later(do func(*connection) error) {
	before, done := s.underway, make(chan error, 1)
	s.underway = done
	go func() {
		if before != nil {
			if err := <-before; err != nil {
				done <- err
				return
			}
		}
		done <- ingest.Caught(func() error { return do(&s.connection) })
	}()
}

// settle waits for what is done later.
func (s *session) settle() error {
	if s.underway == nil {
		return nil
	}
	err := <-s.underway
	s.underway = nil
	return err
}

// rollback ends the transaction whatever the state of the caller's context; a
// connection on which that fails is not used again.
func (s *session) rollback() {
	_ = s.settle() // it is undone with the rest
	if _, err := s.conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
		s.drop()
	}
}

// drop gives the connection up.
func (c *connection) drop() {
	if c.conn == nil {
		return
	}
	for _, stmt := range c.stmts {
		stmt.Close()
	}
	// Raw with ErrBadConn takes the connection out of the pool.
	_ = c.conn.Raw(func(any) error { return errBadConn })
	c.conn.Close()
	c.conn, c.stmts, c.mark = nil, nil, ""
}

// stmt returns a prepared statement; the caller's text is the key, so texts
// must be few.
func (c *connection) stmt(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := c.stmts[query]; ok {
		return stmt, nil
	}
	stmt, err := c.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if len(c.stmts) >= maxStatements {
		for text, old := range c.stmts {
			old.Close()
			delete(c.stmts, text)
		}
	}
	c.stmts[query] = stmt
	return stmt, nil
}

// ExecContext executes a statement that returns no rows.
func (c *connection) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	stmt, err := c.stmt(ctx, query) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// ExecContext executes a statement that returns no rows.
func (s *session) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	return s.connection.ExecContext(ctx, query, args...)
}

// QueryContext executes a query.
func (s *session) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	return s.connection.QueryContext(ctx, query, args...)
}

// lookups are the prepared statements of the pool, for look-ups by many keys:
// to prepare one takes as long as to execute it.
type lookups struct {
	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

// query executes one of a few queries.
func (l *lookups) query(ctx context.Context, db *sql.DB, query string, args ...any) (*sql.Rows, error) {
	l.mu.Lock()
	stmt := l.stmts[query]
	if stmt == nil {
		var err error
		if stmt, err = db.PrepareContext(ctx, query); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		if l.stmts == nil {
			l.stmts = make(map[string]*sql.Stmt)
		}
		l.stmts[query] = stmt
	}
	l.mu.Unlock()
	return stmt.QueryContext(ctx, args...)
}

func (l *lookups) close() {
	for _, stmt := range l.stmts {
		stmt.Close()
	}
}

// QueryContext executes a query.
func (c *connection) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := c.stmt(ctx, query) //nolint:sqlclosecheck // it is kept for the next time
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

// querier is the pool, the session or its connection.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (db *DB) exec(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	res, err := q.ExecContext(ctx, db.dialect.rebind(query), args...)
	if err != nil {
		return 0, explain(err)
	}
	return res.RowsAffected()
}

// row reads the first row of a query; [sql.ErrNoRows] if there is none.
func (db *DB) row(ctx context.Context, q querier, query string, args []any, to ...any) error {
	found := false
	err := db.query(ctx, q, query, args, func(rows *sql.Rows) error {
		if found {
			return nil
		}
		found = true
		return rows.Scan(to...)
	})
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

// query calls scan for every row.
func (db *DB) query(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, db.dialect.rebind(query), args...)
	if err != nil {
		return explain(err)
	}
	return each(rows, scan)
}

func each(rows *sql.Rows, scan func(*sql.Rows) error) (err error) {
	defer func() {
		err = explain(errors.Join(err, rows.Close()))
	}()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// inChunk is how many keys one IN list has; a shorter rest is filled up by
// repeating its last key, so that few different statements are in use.
const inChunk = 256

// anyChunk is how many keys one array has.
const anyChunk = 4096

// in calls query for the keys in chunks; the query has one "IN (%s)" where the
// condition on the keys goes.
func in[K, A any](ctx context.Context, db *DB, q querier, query string, keys []K, arg func(K) A, scan func(*sql.Rows) error) error {
	return byKeys(db, query, keys, arg, func(query string, args []any) error {
		if db.dialect.arrays {
			return db.query(ctx, q, query, args, scan)
		}
		return db.lookUp(ctx, q, query, args, scan)
	})
}

// execIn executes a statement for the keys in chunks; args are what comes before
// the keys.
func execIn[K, A any](ctx context.Context, db *DB, q querier, query string, args []any, keys []K, arg func(K) A) error {
	return byKeys(db, query, keys, arg, func(query string, list []any) error {
		_, err := db.exec(ctx, q, query, append(slices.Clone(args), list...)...)
		return err
	})
}

// byKeys calls do for the keys in chunks. Where there are arrays, they are one
// parameter: for hundreds of parameters PostgreSQL would read the whole table, as
// long as that is small, and compare each row with all of them.
func byKeys[K, A any](db *DB, query string, keys []K, arg func(K) A, do func(query string, args []any) error) error {
	if db.dialect.arrays {
		query = strings.Replace(query, "IN (%s)", "= ANY(?)", 1)
		for chunk := range slices.Chunk(keys, anyChunk) {
			list := make([]A, len(chunk))
			for i, k := range chunk {
				list[i] = arg(k)
			}
			if err := do(query, []any{list}); err != nil {
				return err
			}
		}
		return nil
	}
	for chunk := range slices.Chunk(keys, inChunk) {
		size := padded(len(chunk), inChunk)
		list := make([]any, size)
		for i := range list {
			list[i] = arg(chunk[min(i, len(chunk)-1)])
		}
		if err := do(fmt.Sprintf(query, placeholders(size)), list); err != nil {
			return err
		}
	}
	return nil
}

// padded returns how many of most a statement for n is made for: the least of most
// and its quarters that is enough, so that few different statements are in use.
func padded(n, most int) int {
	for most/4 >= n {
		most /= 4
	}
	return most
}

// lookUp is query with prepared statements on the pool as well.
func (db *DB) lookUp(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	if q != querier(db.sql) {
		return db.query(ctx, q, query, args, scan)
	}
	rows, err := db.lookups.query(ctx, db.sql, db.dialect.rebind(query), args...)
	if err != nil {
		return explain(err)
	}
	return each(rows, scan)
}

func placeholders(n int) string { return strings.Repeat("?,", n-1) + "?" }

// rowsPerStatement are the sizes in which rows are inserted, so that few
// different statements are in use.
var rowsPerStatement = [...]int{128, 16, 1}

// bulkRows is from how many rows on the engine's bulk way is worth its while.
const bulkRows = 16

// insert adds rows, many a statement; suffix is what follows the values. Rows
// without a suffix are not there yet.
func (db *DB) insert(ctx context.Context, q querier, table string, columns []string, rows [][]any, suffix string) error {
	if err := db.fit(table, rows); err != nil {
		return err
	}
	if s, ok := q.(*session); ok {
		if err := s.settle(); err != nil {
			return err
		}
		q = &s.connection
	}
	if c, ok := q.(*connection); ok && suffix == "" && c.bulky(db, rows) {
		if err := db.dialect.bulk(ctx, c, table, columns, rows); err != nil {
			return fmt.Errorf("insert into %s: %w", table, err)
		}
		return nil
	}
	var args []any
	for _, n := range rowsPerStatement {
		if n > 1 && n*len(columns) > db.dialect.maxParams || len(rows) < n {
			continue
		}
		query := db.dialect.rebind(insertQuery("INSERT INTO ", table, columns, n, suffix))
		for len(rows) >= n {
			args = args[:0]
			for _, row := range rows[:n] {
				args = append(args, row...)
			}
			if _, err := q.ExecContext(ctx, query, args...); err != nil {
				return fmt.Errorf("insert into %s: %w", table, err)
			}
			rows = rows[n:]
		}
	}
	return nil
}

// insertLater adds rows that are not there yet, beside what the caller does next.
// The rows are no longer the caller's.
func (db *DB) insertLater(ctx context.Context, s *session, table string, columns []string, rows [][]any) {
	if len(rows) > 0 {
		s.later(func(c *connection) error { return db.insert(ctx, c, table, columns, rows, "") })
	}
}

// insertNew adds rows that are most likely not there: the bulk way, or if some
// are there after all, with the suffix.
func (db *DB) insertNew(ctx context.Context, c *connection, table string, columns []string, rows [][]any, suffix string) error {
	if !c.bulky(db, rows) || !db.dialect.savepoints {
		return db.insert(ctx, c, table, columns, rows, suffix)
	}
	if _, err := c.conn.ExecContext(ctx, "SAVEPOINT bulk"); err != nil {
		return err
	}
	err := db.insert(ctx, c, table, columns, rows, "")
	end := "RELEASE SAVEPOINT bulk"
	if err != nil {
		if !errors.Is(err, errBulk) && db.classify(err) != badData {
			return err
		}
		end = "ROLLBACK TO SAVEPOINT bulk"
	}
	if _, endErr := c.conn.ExecContext(ctx, end); endErr != nil || err == nil {
		return endErr
	}
	return db.insert(ctx, c, table, columns, rows, suffix)
}

// bulky tells rows for the engine's bulk way.
func (c *connection) bulky(db *DB, rows [][]any) bool {
	return db.dialect.bulk != nil && len(rows) >= bulkRows && !c.slow
}

// insertQuery inserts n rows.
func insertQuery(verb, table string, columns []string, n int, suffix string) string {
	one := "(" + placeholders(len(columns)) + ")"
	return verb + table + " (" + join(columns) + ") VALUES " + strings.Repeat(one+",", n-1) + one + suffix
}

func join(columns []string) string { return strings.Join(columns, ", ") }
