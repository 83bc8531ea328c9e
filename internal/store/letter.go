package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// Letter is a stored dead letter.
type Letter struct {
	ID       int64  `json:"id"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
	Kind     string `json:"kind"`
	Syshost  string `json:"syshost"`
	Key      string `json:"key"`
	Source   string `json:"source"` // file
	Line     int64  `json:"line"`   // from 1; 0 if unknown
	Received string `json:"received"`
	Bytes    int64  `json:"bytes"`         // length of Raw
	Raw      []byte `json:"raw,omitempty"` // only from [DB.Letter]

	group *xalt.Identity
}

// DeadLetter returns what [ingest.Ingester.Replay] wants.
func (l *Letter) DeadLetter() ingest.DeadLetter {
	return ingest.DeadLetter{
		Reason: l.Reason, Detail: l.Detail, Kind: l.Kind, Syshost: l.Syshost, Key: l.Key, Source: l.Source, Line: l.Line,
		Group: l.group, Raw: l.Raw,
	}
}

// ErrNoLetter means that there is no dead letter of that number.
var ErrNoLetter = errors.New("no such dead letter")

func (db *DB) letterColumns() string {
	return "letter_id, reason, detail, kind, syshost, " + db.dialect.types.Quote("key") + ", source, line, received, LENGTH(raw)"
}

func (l *Letter) scan(rows *sql.Rows, more ...any) error {
	return rows.Scan(append([]any{&l.ID, &l.Reason, &l.Detail, &l.Kind, &l.Syshost, &l.Key, &l.Source, &l.Line, dateText{&l.Received}, &l.Bytes}, more...)...)
}

// Letters lists the dead letters, without their bytes, in the order in which
// they came.
func (db *DB) Letters(ctx context.Context) ([]Letter, error) {
	var list []Letter
	err := db.query(ctx, db.sql, "SELECT "+db.letterColumns()+" FROM dead_letter ORDER BY letter_id", nil, func(rows *sql.Rows) error {
		var l Letter
		err := l.scan(rows)
		list = append(list, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return list, nil
}

// Letter returns one dead letter with its bytes.
func (db *DB) Letter(ctx context.Context, id int64) (Letter, error) {
	var found *Letter
	err := db.query(ctx, db.sql, "SELECT "+db.letterColumns()+", raw, group_id FROM dead_letter WHERE letter_id = ?", []any{id}, func(rows *sql.Rows) error {
		found = &Letter{}
		var group []byte
		err := found.scan(rows, &found.Raw, &group)
		if group != nil {
			found.group = new(xalt.Identity)
			*found.group = toHash[xalt.Identity](group)
		}
		return err
	})
	if err != nil {
		return Letter{}, fmt.Errorf("read dead letter %d: %w", id, err)
	}
	if found == nil {
		return Letter{}, fmt.Errorf("%w: %d", ErrNoLetter, id)
	}
	return *found, nil
}
