package ingest

import (
	"context"
	"errors"
	"slices"

	"xaltpipe/internal/xalt"
)

// Hash is 16 bytes of the SHA-256 of some content: what names it everywhere.
type Hash [16]byte

// Object is a library or object file on one machine, with its module.
type Object struct {
	Hash    Hash // of syshost, path and hash id
	Path    string
	HashID  string
	Syshost string
	Module  string // empty: none
	MapID   Hash   // the reverse map that was asked; zero: none
	LibType string
}

// EnvVar is an environment variable with one of its values.
type EnvVar struct {
	Hash  Hash // of name and value
	Name  string
	Value string
}

// Function is a function that a link took from a tracked library.
type Function struct {
	Hash Hash
	Name string
}

// Set is a set of objects, variables or functions that is stored once however
// many records have it. Members are in order of their hash.
type Set[T any] struct {
	Hash    Hash // of the members' hashes
	Members []*T // shared between sets, not to be changed
}

// Run is a run record on its way into the store.
type Run struct {
	*xalt.Run
	Digest  xalt.Digest
	Date    string // local start time, "2006-01-02 15:04:05"
	Module  string // of the executable; empty: none
	MapID   Hash
	Objects *Set[Object]
	Env     *Set[EnvVar]
}

// Link is a link record on its way into the store.
type Link struct {
	*xalt.Link
	Digest    xalt.Digest
	Date      string // local midnight of the link, "2006-01-02 00:00:00"
	Module    string // of the program that linked
	MapID     Hash
	Objects   *Set[Object]
	Functions *Set[Function]
}

// Skip is a note of xalt-wrap's on its way into the store.
type Skip struct {
	*xalt.Skip
	Date string
}

// Fate is what became of a record that was read before.
type Fate byte

// The fates of records. Filtered holds for one selection only: with another
// filter the record is read again.
const (
	FateUnknown  Fate = iota
	FateStored        // in the tables, or superseded by what is
	FateFiltered      // left out by the filter
	FateDead          // a dead letter
	FateBlock         // not a record: a block without a CRC that became part of one
)

// Remembered is an identity and what became of it.
type Remembered struct {
	ID   xalt.Identity
	Fate Fate
}

// Reasons of dead letters.
const (
	ReasonLine       = "malformed line"    // a line with XALT's tag that is no block
	ReasonLong       = "line too long"     // its beginning is kept
	ReasonCRC        = "CRC mismatch"      // all blocks are there, but do not fit
	ReasonFit        = "blocks do not fit" // the same without a CRC
	ReasonLarge      = "record too large"
	ReasonRecord     = "bad record"   // the text is no record that can be stored
	ReasonIncomplete = "incomplete"   // blocks waited too long for the others
	ReasonStore      = "not storable" // the database refused this record alone
)

// DeadLetter is input that could not be stored, kept with its raw bytes.
type DeadLetter struct {
	Reason  string
	Detail  string
	Kind    string
	Syshost string
	Key     string
	Source  string         // file name
	Line    int64          // from 1; 0 if unknown
	Group   *xalt.Identity // the record's identity, under which its blocks are kept
	Raw     []byte         // lines, or for ReasonRecord the record's text
}

// Wait is an incomplete group whose new blocks the store keeps.
type Wait struct {
	Group  *xalt.Group
	Parts  []xalt.Part // the new ones
	State  WaitState
	Seen   int64  // log time in seconds since 1970
	Source string // file name
}

// WaitState says why blocks are kept.
type WaitState byte

// The states of waiting blocks.
const (
	Waiting  WaitState = iota // for the others
	WaitDead                  // a dead letter that another block may still complete
	WaitCopy                  // copies of blocks without a CRC that are part of a stored record already
	// WaitFiltered are blocks with a CRC of a record that a filter left out. They are
	// kept, until they are as old as blocks may be, for a run under another filter,
	// which may have read past them.
	WaitFiltered
)

// UsedPart is a waiting block that became part of a record.
type UsedPart struct {
	Group xalt.Identity
	Index int
	Copy  int
}

// Judged is a group with the blocks that were seen when it was decided on. If there
// are others when the batch is written, another ingester has brought them: the
// group waits, and has no dead letter, until a sweep has seen all.
type Judged struct {
	Group  xalt.Identity
	Blocks int // in the store, when the batch is written
	Fresh  int // those of them that the batch brings
}

// Batch is what one transaction writes: rows, blocks still waiting for the
// rest of their record, and how far the source has been read.
type Batch struct {
	Selection Hash // that filtered records were filtered under

	Runs  []Run
	Links []Link
	Pkgs  []*xalt.Pkg
	Skips []Skip

	Remember []Remembered
	Wait     []Wait
	Done     []xalt.Identity // groups with a CRC: their waiting blocks go
	Filtered []xalt.Identity // groups with a CRC whose waiting blocks become WaitFiltered
	Used     []UsedPart      // blocks without one
	Bury     []Judged        // groups whose waiting blocks become WaitDead
	Copies   []Judged        // groups without a CRC whose waiting blocks become WaitCopy
	Dead     []DeadLetter
	Raised   []Raised // dead letters that were replayed and go

	Advance *Advance // nil without a source

	// Where the records of Runs, Links, Pkgs and Skips came from, in their
	// order; empty if that was not asked for.
	RunOrigins, LinkOrigins, PkgOrigins, SkipOrigins []Origin

	counts  Stats // what reading this batch counted
	records int
	bytes   int
}

// Raised is a dead letter that was replayed.
type Raised struct {
	Letter  int64         // its number in the store
	Record  xalt.Identity // zero if it was not a whole record
	Refusal string        // set by [Store.Write]: why the database does not take the record
}

// Origin is a record as it was read, for the case that the store refuses it.
type Origin struct {
	ID     xalt.Identity
	Letter DeadLetter // but for reason and detail
}

// Records is the number of rows of records in the batch.
func (b *Batch) Records() int { return len(b.Runs) + len(b.Links) + len(b.Pkgs) + len(b.Skips) }

// HasOrigins reports whether the batch knows where its records came from.
func (b *Batch) HasOrigins() bool {
	return len(b.RunOrigins)+len(b.LinkOrigins)+len(b.PkgOrigins)+len(b.SkipOrigins) == b.Records()
}

// Split separates the rows of records from everything else.
func (b *Batch) Split() (records, rest *Batch) {
	records = &Batch{
		Selection: b.Selection, Runs: b.Runs, Links: b.Links, Pkgs: b.Pkgs, Skips: b.Skips,
		RunOrigins: b.RunOrigins, LinkOrigins: b.LinkOrigins, PkgOrigins: b.PkgOrigins, SkipOrigins: b.SkipOrigins,
	}
	rest = &Batch{
		Selection: b.Selection, Remember: slices.Clone(b.Remember), Wait: b.Wait, Done: b.Done, Filtered: b.Filtered, Used: b.Used, Bury: b.Bury, Copies: b.Copies,
		Dead: slices.Clone(b.Dead), Raised: b.Raised, Advance: b.Advance,
	}
	return records, rest
}

// Halve cuts rows of records, of which there are two at least, in two.
func (b *Batch) Halve() (one, other *Batch) {
	one, other = &Batch{Selection: b.Selection}, &Batch{Selection: b.Selection}
	left := b.Records() / 2
	one.Runs, other.Runs, one.RunOrigins, other.RunOrigins = cut(b.Runs, b.RunOrigins, &left)
	one.Links, other.Links, one.LinkOrigins, other.LinkOrigins = cut(b.Links, b.LinkOrigins, &left)
	one.Pkgs, other.Pkgs, one.PkgOrigins, other.PkgOrigins = cut(b.Pkgs, b.PkgOrigins, &left)
	one.Skips, other.Skips, one.SkipOrigins, other.SkipOrigins = cut(b.Skips, b.SkipOrigins, &left)
	return one, other
}

func cut[T any](rows []T, origins []Origin, left *int) (a, b []T, aOrigins, bOrigins []Origin) {
	n := min(len(rows), *left)
	*left -= n
	return rows[:n], rows[n:], origins[:n], origins[n:]
}

// Refuse makes a dead letter of the one record in refused, another one if it was
// raised from one.
func (b *Batch) Refuse(refused *Batch, detail string) {
	for _, o := range slices.Concat(refused.RunOrigins, refused.LinkOrigins, refused.PkgOrigins, refused.SkipOrigins) {
		letter := o.Letter
		letter.Reason, letter.Detail, letter.Group = ReasonStore, xalt.Storable(detail), &o.ID
		b.Dead = append(b.Dead, letter)
		b.Remember = append(b.Remember, Remembered{o.ID, FateDead})
		for i := range b.Raised { // which the original has in common with b
			if b.Raised[i].Record == o.ID {
				b.Raised[i].Refusal = letter.Detail
			}
		}
	}
}

// Outcome is what [Store.Write] did with a batch's records. Every record is in
// one of the first six.
type Outcome struct {
	Stored     int64 // a new row
	Updated    int64 // changed a row
	Repeated   int64 // was there already
	Superseded int64 // lost to a record of the same role
	Conflicts  int64 // another claim on the same UUID
	Refused    int64 // the database does not take it: a dead letter
	NewDead    int64 // dead letters that were not there yet
	// Groups of the batch's that were not buried, because there are blocks that it
	// has not seen, and how many blocks it has brought of them.
	Spared, SparedBlocks int64
}

// Add adds o to the outcome.
func (out *Outcome) Add(o Outcome) {
	out.Stored += o.Stored
	out.Updated += o.Updated
	out.Repeated += o.Repeated
	out.Superseded += o.Superseded
	out.Conflicts += o.Conflicts
	out.Refused += o.Refused
	out.NewDead += o.NewDead
	out.Spared += o.Spared
	out.SparedBlocks += o.SparedBlocks
}

// ErrRefused is wrapped by the error of [Store.Write] when the database does
// not take a record, and the batch does not know where its records came from.
// Nothing was written; the source is to be read again with origins.
var ErrRefused = errors.New("the database refuses a record")

// ErrMoved is returned by [Store.Write] when the source was read on by another
// ingester: nothing was written, and reading goes on from the stored position.
var ErrMoved = errors.New("another ingester has read this source on")

// Store is where batches go. A batch is written whole or not at all.
type Store interface {
	// Known returns for each identity what became of it; [FateUnknown] if
	// nothing, or if it was filtered under another selection.
	Known(ctx context.Context, selection Hash, ids []xalt.Identity) ([]Fate, error)
	// Waiting returns the blocks that wait in the store for each group, in the
	// order in which they came, with Copy set. To save memory it may answer for
	// the first ids only, but not for none. Of a group that has outgrown a
	// record of limit bytes it returns none; see [Sweeper].
	Waiting(ctx context.Context, ids []xalt.Identity, limit int) (parts [][]xalt.Part, err error)
	// Write stores a batch in one transaction.
	Write(ctx context.Context, b *Batch) (Outcome, error)
}
