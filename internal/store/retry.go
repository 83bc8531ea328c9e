package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"xaltpipe/internal/ingest"
)

// errorClass says what to do about an error of the database.
type errorClass int

const (
	fatal     errorClass = iota // a full disk, a missing right: stop, nothing is half done
	transient                   // a deadlock, a server that restarts: try again
	badData                     // a record that the database refuses: find it, and go on with the others
)

// errBulk: the bulk way reported warnings or lost rows. The batch goes again
// without it.
var errBulk = errors.New("bulk load is not complete")

// errTooLong: a value is longer than the database takes. A server must not see it:
// MariaDB refuses what the same prepared statement is given afterwards, too.
var errTooLong = errors.New("a value is too long for the database")

// classify sorts an error of the database or of what was to be sent to it.
func (db *DB) classify(err error) errorClass {
	if errors.Is(err, errTooLong) {
		return badData
	}
	return db.dialect.classify(err)
}

// fit looks for values that are too long.
func (db *DB) fit(table string, rows [][]any) error {
	for _, row := range rows {
		for _, v := range row {
			n := 0
			switch v := v.(type) {
			case string:
				n = len(v)
			case []byte:
				n = len(v)
			}
			if n > db.dialect.maxBytes {
				return fmt.Errorf("%w: %d bytes for a column of %s, at most %d", errTooLong, n, table, db.dialect.maxBytes)
			}
		}
	}
	return nil
}

// classifyConnection sorts errors that come from the driver or the network.
func classifyConnection(err error) errorClass {
	var network net.Error
	var name *net.DNSError
	switch {
	case errors.As(err, &name) && name.IsNotFound:
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network), errors.Is(err, net.ErrClosed):
		return transient
	}
	return fatal
}

// How long a batch is tried again: the pauses double from retryFirst to
// retryMost, each with up to half of it at random added, until retryTotal.
const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
	retryTotal = 5 * time.Minute
	openTotal  = 20 * time.Second // for the first connection: the address may be wrong
	retryQuiet = time.Second      // after that somebody is told
)

// retry runs f again while its error is transient.
func (db *DB) retry(ctx context.Context, f func() error) error {
	return db.retryFor(ctx, retryTotal, f)
}

func (db *DB) retryFor(ctx context.Context, total time.Duration, f func() error) error {
	pause := retryFirst
	began := db.now()
	for told := false; ; {
		err := f()
		switch {
		case err == nil:
			if told {
				db.tell(nil)
			}
			return nil
		case ctx.Err() != nil && !errors.Is(err, ctx.Err()): // a driver may only know that its connection is closed
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case ctx.Err() != nil || db.classify(err) != transient:
			return err
		}
		waited := db.now().Sub(began)
		if waited > total {
			return fmt.Errorf("gave up after %v: %w", total, err)
		}
		if waited > retryQuiet && !told && db.tell != nil {
			told = true
			db.tell(fmt.Errorf("%s is tried again for %v: %w", db.name, total, explain(err)))
		}
		if tooManyConnections(err) || readOnly(err) {
			db.giveUpIdle()
		}
		timer := time.NewTimer(pause + rand.N(pause/2))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, retryMost)
	}
}

// tooManyConnections tells an error of a server that has no connection left, for
// anybody or for this user.
func tooManyConnections(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		return pg.Code == "53300" // too_many_connections
	case errors.As(err, &my):
		return my.Number == 1040 || my.Number == 1203 || my.Number == 1226
	}
	return false
}

// readOnly tells the error of a server that takes no changes, perhaps because another
// has taken over: what led here may lead there now, but only new connections do.
func readOnly(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.As(err, &pg):
		return pg.Code == "25006" // read_only_sql_transaction
	case errors.As(err, &my):
		return my.Number == 1290 || my.Number == 1836
	}
	return false
}

// giveUpIdle closes the connections that nothing uses: ingesters that each wait for
// one more and keep those that they have would wait for each other.
func (db *DB) giveUpIdle() {
	for _, s := range [...]*session{&db.writer, &db.aside} {
		if s.mu.TryLock() {
			s.drop()
			s.mu.Unlock()
		}
	}
	if db.sql != nil {
		db.sql.SetMaxIdleConns(-1)
		db.sql.SetMaxIdleConns(poolIdle)
	}
}

// poolSize is how many connections an ingester has at most, poolIdle how many of
// those that read it keeps.
const (
	poolSize = 4
	poolIdle = 2
)

// read calls f, which reads with the pool, again while its error is transient;
// f begins anew each time.
func read[T any](ctx context.Context, db *DB, what string, f func() (T, error)) (value T, err error) {
	err = db.retry(ctx, func() error {
		value, err = f()
		return err
	})
	if err != nil {
		return value, fmt.Errorf("%s: %w", what, err)
	}
	return value, nil
}

// Write stores a batch in one transaction; see [ingest.Store]. A transient
// error is tried again. If the database refuses the data, the records are
// stored in halves until the ones at fault are found; those become dead
// letters. Then the rest is several transactions, the last of which moves the
// position, so that a crash in between does no harm: what is read again is
// known by its digest.
func (db *DB) Write(ctx context.Context, b *ingest.Batch) (outcome ingest.Outcome, err error) {
	defer func() {
		if err != nil && !errors.Is(err, ingest.ErrMoved) {
			err = fmt.Errorf("write to %s: %w", db.name, err)
		}
	}()
	outcome, err = db.writeOnce(ctx, b)
	if err == nil || db.classify(err) != badData || b.Records() == 0 {
		return outcome, err
	}
	if !b.HasOrigins() {
		return outcome, fmt.Errorf("%w: %w", ingest.ErrRefused, err)
	}
	records, rest := b.Split()
	total, err := db.bisect(ctx, records, rest, err)
	if err != nil {
		return total, err
	}
	outcome, err = db.writeOnce(ctx, rest)
	total.Add(outcome)
	return total, err
}

// bisect stores the records of b; those that are refused alone become dead
// letters in rest.
func (db *DB) bisect(ctx context.Context, b, rest *ingest.Batch, refusal error) (ingest.Outcome, error) {
	if b.Records() == 1 {
		rest.Refuse(b, refusal.Error())
		return ingest.Outcome{Refused: 1}, nil
	}
	var total ingest.Outcome
	one, other := b.Halve()
	for _, half := range [...]*ingest.Batch{one, other} {
		outcome, err := db.writeOnce(ctx, half)
		if err != nil && db.classify(err) == badData {
			outcome, err = db.bisect(ctx, half, rest, err)
		}
		total.Add(outcome)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// writeOnce writes a batch in one transaction, again and again while the error
// is transient.
func (db *DB) writeOnce(ctx context.Context, b *ingest.Batch) (outcome ingest.Outcome, err error) {
	err = db.retryWrite(ctx, func(t *try, slow bool) error {
		outcome, err = db.writeBatch(ctx, t, b, slow)
		return err
	})
	return outcome, err
}

// try is what the attempts at one transaction have in common. If the answer to a
// COMMIT is lost, nobody knows whether it came to pass; the next attempt looks for
// the transaction's word, see [writer.lock].
type try struct {
	word   string  // its own
	writer *writer // of the last attempt that came as far as COMMIT; nil: there is none
}

func newTry() *try { return &try{word: newWord()} }

// newWord returns a word that nobody else has.
func newWord() string { return strconv.FormatUint(rand.Uint64(), 36) }

// errLanded ends an attempt at a transaction that is stored.
var errLanded = errors.New("an attempt before was stored")

// retryWrite is retry for a transaction that adds rows. What goes wrong may be the
// fault of the fast way: of a bulk load, or of trust in what is known. Then it goes
// the slow way.
func (db *DB) retryWrite(ctx context.Context, write func(t *try, slow bool) error) error {
	db.series.Lock()
	defer db.series.Unlock()
	slow, t := false, newTry()
	return db.retry(ctx, func() error {
		err := write(t, slow)
		if !slow && (errors.Is(err, errBulk) || err != nil && db.trusted && db.classify(err) == badData) {
			slow = true
			err = write(t, slow)
		}
		return err
	})
}
