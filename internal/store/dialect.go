package store

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"text/template"
)

// dialect is everything in which the databases differ.
type dialect struct {
	name string
	// Column types and table options of the schema.
	types schemaTypes

	writer    string   // prepares the connection that writes; empty: nothing to do
	begin     []string // begins a transaction that will write
	beginLook []string // begins one that only reads, and sees what is there at one moment
	lock      string   // serialises writers, as the first statement of a transaction, if begin does not; tells whether others have written
	sign      string   // leaves a word for the next lock to read; empty: no need to
	aside     bool     // two connections write faster than one
	maxParams int      // in one statement
	maxBytes  int      // of a value
	// numbered placeholders ($1) instead of "?".
	numbered bool
	// arrays can be parameters.
	arrays bool
	// upsert returns what follows VALUES (...) so that a row whose key columns
	// exist is updated in the others.
	upsert func(key, columns []string) string
	// keep returns what follows VALUES (...) so that a row whose key columns
	// exist stays as it is.
	keep func(key []string) string
	// typed returns the placeholder of a value for a column of a type of the
	// database's in updateQuery; empty if it cannot be in one.
	typed func(databaseType string) string
	// updateQuery sets columns in n rows, by key; values are the placeholders
	// of the columns and the key.
	updateQuery func(table, key string, columns, values []string, n int) string
	// updateOne sets columns row by row, where that is faster.
	updateOne func(ctx context.Context, c *connection, table, key string, columns []string, rows [][]any) error
	// bulk adds rows that are not there in the engine's fastest way; nil: with
	// INSERT.
	bulk    func(ctx context.Context, c *connection, table string, columns []string, rows [][]any) error
	bulkWay string // what bulk is, or why there is none, for people
	// savepoints cost nothing. (In SQLite they cost a copy of every page that
	// is changed.)
	savepoints bool
	// packer packs long texts as COMPRESS() does; nil: they are stored as they
	// are. Only the writer packs, and there is one at a time.
	packer *packer
	// transactional tells whether DDL can be rolled back.
	transactional bool
	// optimize keeps the planner's figures about the tables up to date; empty:
	// the server does that itself.
	optimize string
	// committed is called after a commit; nil: nothing to do.
	committed func(*DB, context.Context)
	classify  func(error) errorClass
}

// schemaTypes are the words that the schema's templates use.
type schemaTypes struct {
	Serial    string // identity, primary key
	Int       string // 64 bits
	Real      string // 64 bits
	Text      string // any length, compared as bytes
	Name      string // short text that can be a key
	Time      string // date and time without zone, to the second
	Hash      string // 16 bytes
	Blob      string
	Packed    string // long text that may be stored compressed
	Options   string // after a table's columns
	Clustered string // the same for tables whose rows are stored in the order of the primary key
	User      string // the name user, quoted where it is reserved
	quote     string
	prefix    bool // an index on text takes a length
	hashIndex bool // long text can only be in an index of hashes
	date      string
}

// Index is what follows the table's name to index a text column for equality.
// Texts of any length must fit, so MySQL takes the first bytes and PostgreSQL
// a hash.
func (t schemaTypes) Index(column string, length int) string {
	switch {
	case t.prefix:
		return fmt.Sprintf("(%s(%d))", column, length)
	case t.hashIndex:
		return "USING hash (" + column + ")"
	}
	return "(" + column + ")"
}

// Quote quotes a name.
func (t schemaTypes) Quote(name string) string { return t.quote + name + t.quote }

// Date returns the day of a date and time.
func (t schemaTypes) Date(column string) string { return fmt.Sprintf(t.date, column) }

// render fills the schema's words into a statement.
func (d *dialect) render(name, text string) (string, error) {
	tmpl, err := template.New(name).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := tmpl.Execute(&b, d.types); err != nil {
		return "", err
	}
	return b.String(), nil
}

// rebind writes a statement's placeholders as the database wants them. Only
// our own constant statements come here; they hold no "?" in texts.
func (d *dialect) rebind(query string) string {
	if !d.numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		n++
		fmt.Fprintf(&b, "$%d", n)
		query = after
	}
}
