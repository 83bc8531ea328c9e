package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// DB is one database. Its methods may be called from several goroutines; batches
// are written one after the other.
type DB struct {
	sql     *sql.DB
	dialect dialect
	name    string // for messages; without password
	zone    *time.Location
	now     func() time.Time

	lookups     lookups
	idBits      uint // of ids derived from content
	known       *idCache
	gap         gap
	commits     atomic.Int64 // batches that were stored
	trusted     bool         // that known was complete, by the last transaction
	unions      *unionCache
	columnTypes map[string]map[string]string // by table and column; of the writer
	writer      session
	id          string     // of this writer among others, see writer.lock
	last        string     // the word of the last transaction of which ids are known
	series      sync.Mutex // one transaction is tried until it is stored, then the next
	aside       session    // the writer's second one, see writer.aside
	checkpoints sync.WaitGroup
	copying     atomic.Bool             // a checkpoint is under way
	grew        bool                    // rows were added
	tell        func(error)             // Options.Waiting
	changed     func() error            // see openSQLite
	onWrite     func(step string) error // a test's fault
}

// idBits is how many bits an id derived from content has: JavaScript and R
// round integers above 2^53.
const idBits = 52

// Options say how to open a database.
type Options struct {
	// Create makes the database and its tables, or brings them to this
	// program's schema, if needed; without it, one that is not there or not
	// at this schema is an error.
	Create bool
	// Zone is the time zone of the database's dates. It is stored when the
	// database is made; another one later is refused. nil: the stored one, or
	// the host's when the database is made.
	Zone *time.Location
	Now  func() time.Time // nil: time.Now
	// Waiting is told, from any goroutine, that a server is waited for and why,
	// and with nil that it is there again. nil: nobody is.
	Waiting func(err error)
}

// ErrZone is wrapped when a database has another time zone than the one asked
// for.
var ErrZone = errors.New("the database has another time zone")

// ErrURL is wrapped when a database's URL is wrong.
var ErrURL = errors.New("bad database URL")

// Open opens the database at an address. Errors do not contain passwords.
func Open(ctx context.Context, a Address, o Options) (*DB, error) {
	db := &DB{name: a.String(), now: o.Now, tell: o.Waiting, id: newWord(), idBits: idBits, known: newIDCache(), unions: &unionCache{}}
	if db.now == nil {
		db.now = time.Now
	}
	var err error
	switch a.Kind {
	case "sqlite":
		db.dialect = sqlite
		db.sql, db.changed, err = openSQLite(a.Path, o.Create)
	case "postgres":
		db.dialect = postgres
		db.sql, err = openPostgres(ctx, a)
	case "mysql":
		db.sql, db.dialect, err = openMySQL(ctx, a, db.tell)
	default:
		err = fmt.Errorf("%w: unknown kind %q", ErrURL, a.Kind)
	}
	if err == nil {
		err = db.retryFor(ctx, openTotal, func() error { return db.prepare(ctx, o) })
	}
	if err != nil {
		if db.sql != nil {
			db.sql.Close()
		}
		return nil, fmt.Errorf("open database %s: %w", db.name, explain(err))
	}
	return db, nil
}

var errBadConn = driver.ErrBadConn

// prepare checks or makes the schema and the time zone.
func (db *DB) prepare(ctx context.Context, o Options) error {
	if o.Create {
		if err := db.migrate(ctx); err != nil {
			return err
		}
	} else if err := db.checkSchema(ctx); err != nil {
		return err
	}
	return db.setZone(ctx, o)
}

// setZone reads the database's time zone, and stores it the first time.
func (db *DB) setZone(ctx context.Context, o Options) error {
	const query = "SELECT value FROM ingest_meta WHERE name = 'timezone'"
	var stored string
	err := db.row(ctx, db.sql, query, nil, &stored)
	if errors.Is(err, sql.ErrNoRows) && o.Create {
		name, err := zoneName(o.Zone)
		if err != nil {
			return err
		}
		// The zone comes last: who finds it looks for nothing else that may be missing.
		for _, meta := range [...][2]string{{"lock", ""}, {"timezone", name}} {
			_, err = db.exec(ctx, db.sql, "INSERT INTO ingest_meta (name, value) VALUES (?, ?)"+db.dialect.keep([]string{"name"}), meta[0], meta[1])
			if err != nil {
				return fmt.Errorf("store the time zone: %w", err)
			}
		}
		if err := db.row(ctx, db.sql, query, nil, &stored); err != nil { // another process may have been faster
			return fmt.Errorf("read the time zone: %w", err)
		}
	} else if err != nil {
		return fmt.Errorf("read the time zone: %w", err)
	}
	if o.Zone != nil {
		switch name, err := zoneName(o.Zone); {
		case err != nil:
			return err
		case name != stored:
			return fmt.Errorf("%w: %s, not %s", ErrZone, stored, name)
		}
	}
	if db.zone, err = time.LoadLocation(stored); err != nil {
		return fmt.Errorf("the database's time zone: %w", err)
	}
	return nil
}

// Zone is the time zone of the database's dates.
func (db *DB) Zone() *time.Location { return db.zone }

// BulkWay says how new rows reach the database, for people.
func (db *DB) BulkWay() string { return db.dialect.bulkWay }

// Close closes the database. The error is [ErrChanged] if what was read may be
// wrong.
func (db *DB) Close() error {
	db.writer.mu.Lock()
	defer db.writer.mu.Unlock()
	db.aside.mu.Lock()
	defer db.aside.mu.Unlock()
	if db.grew && db.dialect.optimize != "" {
		// The planner's figures are for speed only: what fails now is tried
		// when the next writer closes.
		_, _ = db.sql.ExecContext(context.Background(), db.dialect.optimize)
	}
	db.checkpoints.Wait()
	db.writer.drop()
	db.aside.drop()
	db.lookups.close()
	var changed error
	if db.changed != nil {
		changed = db.changed()
	}
	return errors.Join(changed, db.sql.Close())
}

// stamp is the present in the database's time zone.
func (db *DB) stamp() string { return db.now().In(db.zone).Format(time.DateTime) }

// Small conversions between rows and Go.

func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullInt(p *int64) any {
	if p == nil {
		return nil
	}
	return *p
}

func nullID(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

func toHash[H ~[16]byte](b []byte) (h H) {
	copy(h[:], b)
	return h
}

func identityArg(id xalt.Identity) []byte { return id[:] }
func hashArg(h ingest.Hash) []byte        { return h[:] }
func idArg(id int64) int64                { return id }
func textArg(s string) string             { return s }

// dateText reads a date and time as text, whatever the driver makes of it.
type dateText struct{ to *string }

// Scan implements [sql.Scanner].
func (d dateText) Scan(src any) error {
	switch v := src.(type) {
	case time.Time:
		*d.to = v.Format(time.DateTime)
	case string:
		*d.to = v
	case []byte:
		*d.to = string(v)
	default:
		return fmt.Errorf("a date is wanted, not %T", src)
	}
	return nil
}

// packedText reads a long text that may be stored compressed.
type packedText struct {
	to     *string
	packed bool
}

// Scan implements [sql.Scanner].
func (p packedText) Scan(src any) (err error) {
	switch v := src.(type) {
	case nil:
		*p.to = ""
	case string:
		*p.to = v
	case []byte:
		if *p.to = string(v); p.packed {
			*p.to, err = unpack(v)
		}
	default:
		err = fmt.Errorf("text is wanted, not %T", src)
	}
	return err
}

// pack writes a long text as it is stored.
func (d *dialect) pack(text string) any {
	if d.packer != nil {
		return d.packer.pack(text)
	}
	return text
}
