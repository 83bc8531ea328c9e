package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// writer is one transaction that stores a batch.
type writer struct {
	db       *DB
	tx       *session
	objects  *session // for objects, their maps and their sets; tx, or a second transaction beside it; nil: tx
	stamp    string
	outcome  ingest.Outcome
	sourceID int64                  // of a source that this transaction makes
	spared   map[xalt.Identity]bool // groups that are not buried, so that they have no dead letter
	// What becomes part of the DB's caches with the commit.
	learned    map[*dimension]map[ingest.Hash]int64
	complete   map[*dimension]bool // of which all rows are known; nil: it is not relied on
	objectSets setCache[int64, ingest.Object]
	envSets    setCache[int64, ingest.EnvVar]

	importing bool      // the rows come from another database, see import.go
	source    *importer // what reads that
	spelled   []string  // UUIDs of the rows as the source has them, unless in one case
	outrun    int64     // imported rows that were left because the log's are there
}

// writeBatch stores a batch in one transaction; slow does without the bulk way.
func (db *DB) writeBatch(ctx context.Context, t *try, b *ingest.Batch, slow bool) (ingest.Outcome, error) {
	w, err := db.write(ctx, t, slow, func(w *writer) error {
		for _, step := range [...]struct {
			name string
			do   func(context.Context, *ingest.Batch) error
		}{
			{"position", w.advance},
			{"identities", w.remember},
			{"sets", w.storeSets},
			{"runs", func(ctx context.Context, b *ingest.Batch) error { return w.writeRuns(ctx, b.Runs) }},
			{"links", func(ctx context.Context, b *ingest.Batch) error { return w.writeLinks(ctx, b.Links) }},
			{"packages", func(ctx context.Context, b *ingest.Batch) error { return w.writePkgs(ctx, b.Pkgs) }},
			{"skips", w.writeSkips},
			{"blocks", w.writeBlocks},
			{"dead letters", w.writeDead},
		} {
			if err := db.fault("before " + step.name); err != nil {
				return err
			}
			if err := step.do(ctx, b); err != nil {
				return fmt.Errorf("store %s: %w", step.name, err)
			}
		}
		return db.fault("before commit")
	})
	if err != nil {
		return ingest.Outcome{}, err
	}
	db.grew = db.grew || len(b.Wait) > 0
	if w.sourceID != 0 { // only now: a transaction that is tried again makes it again
		b.Advance.ID = w.sourceID
	}
	return w.outcome, nil
}

// write runs steps as the only writer, in one transaction, unless an attempt before
// was stored. It returns the writer of what is stored.
func (db *DB) write(ctx context.Context, t *try, slow bool, steps func(*writer) error) (*writer, error) {
	w := &writer{db: db, stamp: db.stamp(), learned: make(map[*dimension]map[ingest.Hash]int64)}
	if !slow {
		w.complete = make(map[*dimension]bool)
	}
	err := db.transact(ctx, func(tx *session) error {
		w.tx, w.objects = tx, tx
		tx.slow = slow
		err := w.lock(ctx, t)
		switch {
		case err != nil:
		case slow || !db.dialect.aside:
			err = errors.Join(steps(w), tx.settle())
		default:
			err = w.aside(ctx, steps)
		}
		if err == nil {
			t.writer = w
		}
		return err
	})
	if errors.Is(err, errLanded) {
		db.last = t.word
		db.commits.Add(1)
		return t.writer, nil
	}
	if err == nil {
		err = db.fault("after commit")
	}
	db.trusted = len(w.complete) > 0
	if err != nil {
		clear(db.known.complete)
		return nil, err
	}
	db.commits.Add(1)
	db.grew = db.grew || w.outcome.Stored+w.outcome.NewDead > 0
	if db.dialect.sign != "" {
		db.last = t.word
	}
	maps.Copy(db.known.complete, w.complete)
	for d, ids := range w.learned {
		db.known.put(d, ids)
	}
	db.unions.objectSets.keep(&w.objectSets)
	db.unions.envSets.keep(&w.envSets)
	return w, nil
}

// aside runs steps with a second transaction for objects and their sets, most of what
// a first load writes, so that a server writes them beside all else: ids derived
// from content need not be waited for. It is committed when nothing can go wrong
// any more but the first one's commit; then it leaves objects that nothing refers
// to, until the batch is written again.
func (w *writer) aside(ctx context.Context, steps func(*writer) error) error {
	return w.db.transactOn(ctx, &w.db.aside, true, func(s *session) error {
		w.objects = s
		return errors.Join(steps(w), w.tx.settle())
	})
}

// lockWriters is how many writers the lock row remembers.
const lockWriters = 64

// lock waits for other writers; their transactions end before this one reads. A
// table is known completely only as long as nobody else writes. In the lock row
// stand the writers that came last, the last one first, each with the word of the
// transaction that it has stored last: however much others have written meanwhile,
// an attempt finds its own.
func (w *writer) lock(ctx context.Context, t *try) error {
	d := &w.db.dialect
	var mark string
	err := w.db.row(ctx, w.tx, d.lock, nil, &mark)
	if errors.Is(err, sql.ErrNoRows) {
		return errors.New("wait for other writers: the row 'lock' of ingest_meta is missing; syslog2db verify --repair puts it back")
	} else if err != nil {
		return fmt.Errorf("wait for other writers: %w", err)
	}
	me := w.db.id + ":"
	writers := strings.Fields(mark)
	if t.writer != nil && slices.Contains(writers, me+t.word) {
		return errLanded
	}
	if mark == "" || mark != w.tx.mark {
		clear(w.db.known.complete)
	}
	if last := w.db.last; last != "" && !slices.Contains(writers, me+last) {
		// The server was set back, by a failover or from a backup, and may not have
		// what is remembered. (Or very many others have written since.)
		w.db.known, w.db.unions, w.db.last = newIDCache(), &unionCache{}, ""
	}
	if w.complete != nil {
		maps.Copy(w.complete, w.db.known.complete)
	}
	if w.tx.mark = mark; d.sign == "" {
		return nil
	}
	writers = slices.DeleteFunc(writers, func(word string) bool { return strings.HasPrefix(word, me) })
	w.tx.mark = strings.Join(append([]string{me + t.word}, writers[:min(len(writers), lockWriters-1)]...), " ")
	if _, err := w.db.exec(ctx, w.tx, d.sign, w.tx.mark); err != nil {
		return fmt.Errorf("tell other writers: %w", err)
	}
	return nil
}

func (db *DB) fault(step string) error {
	if db.onWrite == nil {
		return nil
	}
	return db.onWrite(step)
}

// Links of one UUID: the least is the row of xalt_link, the others are rows of
// link_conflict.
type linkRow struct {
	link     ingest.Link
	module   string
	mapID    int64
	objects  objectRef
	function setRef[ingest.Function]
	sources  sourceSet // empty: a log
	id       int64
	main     bool
	changed  bool
}

func compareLinks(a, b *linkRow) int {
	return cmp.Or(
		cmp.Compare(a.link.BuildEpoch, b.link.BuildEpoch),
		strings.Compare(a.link.ExecPath, b.link.ExecPath),
		bytes.Compare(a.link.Digest[:], b.link.Digest[:]),
	)
}

var linkColumns = []string{
	"uuid", "hash_id", "date", "link_program", "link_path", "link_module_name", "link_line", "cwd", "build_user", "build_syshost",
	"build_epoch", "exec_path", "object_set_id", "function_set_id", "map_id", "digest", "imported",
}

func (r *linkRow) columns(d *dialect) []any {
	l := &r.link
	return []any{
		l.UUID, l.HashID, l.Date, l.LinkProgram, l.LinkPath, null(r.module), d.pack(l.LinkLine), l.Cwd, l.BuildUser, l.BuildSyshost,
		l.BuildEpoch, l.ExecPath, nullID(r.objects.id), nullID(r.function.id), nullID(r.mapID), l.Digest[:], int64(r.sources),
	}
}

func (d *dialect) scanLink(rows *sql.Rows) (*linkRow, error) {
	r := &linkRow{}
	l := &xalt.Link{}
	line := packedText{to: &l.LinkLine, packed: d.packer != nil}
	var module sql.NullString
	var objects, functions, mapID sql.NullInt64
	var digest []byte
	err := rows.Scan(&r.id, &l.UUID, &l.HashID, dateText{&r.link.Date}, &l.LinkProgram, &l.LinkPath, &module, line, &l.Cwd, &l.BuildUser,
		&l.BuildSyshost, &l.BuildEpoch, &l.ExecPath, &objects, &functions, &mapID, &digest, &r.sources)
	r.link.Link = l
	r.link.Digest = toHash[xalt.Digest](digest)
	r.module, r.mapID, r.objects.id, r.function.id = module.String, mapID.Int64, objects.Int64, functions.Int64
	return r, err
}

// writeLinks merges a batch's link records with what is stored.
func (w *writer) writeLinks(ctx context.Context, links []ingest.Link) error {
	if len(links) == 0 {
		return nil
	}
	uuids := make([]string, 0, len(links))
	seen := make(map[string]bool, len(links))
	for i := range links {
		if uuid := links[i].UUID; !seen[uuid] {
			seen[uuid] = true
			uuids = append(uuids, uuid)
		}
	}
	rows, err := w.loadLinks(ctx, uuids)
	if err != nil {
		return err
	}
	var gone []int64
	var renewed map[string]*renewal
	if w.importing {
		if renewed, gone, err = w.renewLinks(ctx, rows, changedLinks(links, rows, w.mine())); err != nil {
			return err
		}
	}
	for i := range links {
		l := &links[i]
		if n := renewed[l.UUID]; n != nil {
			n.fate(l.Digest).count(&w.outcome)
			continue
		}
		list := rows[l.UUID]
		logged := slices.ContainsFunc(list, func(r *linkRow) bool { return r.sources == 0 })
		if w.importing && logged { // the log knows better
			w.outrun++
			continue
		}
		if at := slices.IndexFunc(list, func(r *linkRow) bool { return r.link.Digest == l.Digest && (r.sources != 0) == w.importing }); at >= 0 {
			list[at].changed = list[at].sources.add(w.mine()) || list[at].changed
			w.outcome.Repeated++
			continue
		}
		row := newLinkRow(l, w.mine())
		switch {
		case len(list) == 0:
			w.outcome.Stored++
			rows[l.UUID] = []*linkRow{row}
		case !w.importing && !logged: // all that was imported about this link gives way
			w.outcome.Updated++
			row.main = true
			for _, old := range list {
				if old.main {
					row.id = old.id
				} else {
					gone = append(gone, old.id)
				}
			}
			rows[l.UUID] = []*linkRow{row}
		default:
			w.outcome.Conflicts++
			rows[l.UUID] = append(list, row)
		}
	}
	var write []*linkRow
	for _, uuid := range uuids {
		list := rows[uuid]
		if len(list) == 0 {
			continue
		}
		if leaving := arrangeLinks(list); leaving != 0 {
			gone = append(gone, leaving)
		}
		for _, r := range list {
			if r.changed {
				write = append(write, r)
			}
		}
	}
	return w.storeLinks(ctx, write, gone)
}

func newLinkRow(l *ingest.Link, sources sourceSet) *linkRow {
	return &linkRow{link: *l, module: l.Module, objects: objectRef{set: l.Objects}, function: setRef[ingest.Function]{set: l.Functions}, sources: sources, changed: true}
}

// loadLinks reads the rows of links.
func (w *writer) loadLinks(ctx context.Context, uuids []string) (map[string][]*linkRow, error) {
	rows := make(map[string][]*linkRow, len(uuids))
	tables, err := w.unlessEmpty(ctx, "xalt_link", "link_conflict")
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		query := "SELECT link_id, " + strings.Join(linkColumns, ", ") + " FROM " + table + " WHERE uuid IN (%s)"
		err := in(ctx, w.db, w.tx, query, uuids, textArg, func(r *sql.Rows) error {
			row, err := w.db.dialect.scanLink(r)
			row.main = table == "xalt_link"
			rows[row.link.UUID] = append(rows[row.link.UUID], row)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", table, err)
		}
	}
	return rows, nil
}

// unlessEmpty returns a table and its table of conflicts, which on most sites
// is empty and then need not be asked for each record.
func (w *writer) unlessEmpty(ctx context.Context, table, conflicts string) ([]string, error) {
	var one int
	err := w.db.row(ctx, w.tx, "SELECT 1 FROM "+conflicts+" LIMIT 1", nil, &one)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return []string{table}, nil
	case err != nil:
		return nil, fmt.Errorf("look at %s: %w", conflicts, err)
	}
	return []string{table, conflicts}, nil
}

// arrangeLinks gives the row of xalt_link to the least; its id stays with the
// table. It returns the id of the row of link_conflict that goes, or 0.
func arrangeLinks(list []*linkRow) (gone int64) {
	least := slices.MinFunc(list, compareLinks)
	if least.main {
		return 0
	}
	gone = least.id // 0 if it is new
	var mainID int64
	for _, r := range list {
		if r.main {
			mainID = r.id
			r.main, r.id, r.changed = false, 0, true
		}
	}
	least.main, least.id, least.changed = true, mainID, true
	return gone
}

func (w *writer) storeLinks(ctx context.Context, list []*linkRow, gone []int64) error {
	objects := make([]*ingest.Set[ingest.Object], len(list))
	functions := make([]*ingest.Set[ingest.Function], len(list))
	maps := make([]ingest.Hash, len(list))
	for i, r := range list {
		objects[i], functions[i], maps[i] = r.objects.set, r.function.set, r.link.MapID
	}
	objectIDs, err := w.objectSetIDs(ctx, objects)
	if err != nil {
		return err
	}
	functionIDs, err := w.functionSetIDs(ctx, functions)
	if err != nil {
		return err
	}
	mapIDs, err := w.mapIDs(ctx, maps)
	if err != nil {
		return err
	}
	var fresh, changed, conflicts [][]any
	for i, r := range list {
		if r.objects.set != nil {
			r.objects.id = objectIDs[i]
		}
		if r.function.set != nil {
			r.function.id = functionIDs[i]
		}
		if mapIDs[i] != 0 {
			r.mapID = mapIDs[i]
		}
		switch {
		case !r.main:
			conflicts = append(conflicts, r.columns(&w.db.dialect))
		case r.id == 0:
			fresh = append(fresh, r.columns(&w.db.dialect))
		default:
			changed = append(changed, r.columns(&w.db.dialect))
		}
	}
	for _, id := range gone {
		if _, err := w.db.exec(ctx, w.tx, "DELETE FROM link_conflict WHERE link_id = ?", id); err != nil {
			return err
		}
	}
	if err := w.db.insert(ctx, w.tx, "xalt_link", linkColumns, fresh, ""); err != nil {
		return err
	}
	if err := w.db.insert(ctx, w.tx, "xalt_link", linkColumns, changed, w.db.dialect.upsert([]string{"uuid"}, linkColumns)); err != nil {
		return err
	}
	return w.db.insert(ctx, w.tx, "link_conflict", linkColumns, conflicts, w.db.dialect.upsert([]string{"uuid", "digest"}, linkColumns))
}

// skipColumns are those of wrap_skip; skipRow has their values in this order.
func (d *dialect) skipColumns() []string {
	return []string{"uuid", "date", "syshost", d.types.User, "role", "program", "reason"}
}

// skipRow is a row of wrap_skip. Of several skips of one UUID the least counts, by date
// and then by all else: there is one of them unless somebody makes it up, so that the
// others are not kept, but which one counts must not depend on the order.
type skipRow [7]string

func (r *skipRow) compare(other *skipRow) int { return slices.Compare(r[:], other[:]) }

// writeSkips merges a batch's notes of xalt-wrap with what is stored.
func (w *writer) writeSkips(ctx context.Context, b *ingest.Batch) error {
	if len(b.Skips) == 0 {
		return nil
	}
	uuids := make([]string, len(b.Skips))
	for i, s := range b.Skips {
		uuids[i] = s.UUID
	}
	slices.Sort(uuids)
	uuids = slices.Compact(uuids)
	columns := w.db.dialect.skipColumns()
	stored := make(map[string]skipRow, len(uuids))
	err := in(ctx, w.db, w.tx, "SELECT "+strings.Join(columns, ", ")+" FROM wrap_skip WHERE uuid IN (%s)", uuids, textArg, func(rows *sql.Rows) error {
		var r skipRow
		err := rows.Scan(&r[0], dateText{&r[1]}, &r[2], &r[3], &r[4], &r[5], &r[6])
		stored[r[0]] = r
		return err
	})
	if err != nil {
		return fmt.Errorf("look up wrap_skip: %w", err)
	}
	least := maps.Clone(stored)
	for _, s := range b.Skips {
		r := skipRow{s.UUID, s.Date, s.Syshost, s.User, s.Role, s.Program, s.Reason}
		known, ok := least[s.UUID]
		switch order := r.compare(&known); {
		case !ok:
			w.outcome.Stored++
		case order == 0:
			w.outcome.Repeated++
			continue
		case order > 0:
			w.outcome.Superseded++
			continue
		default:
			w.outcome.Updated++
		}
		least[s.UUID] = r
	}
	var fresh, changed [][]any
	for _, uuid := range uuids {
		r := least[uuid]
		row := make([]any, len(r))
		for i := range r {
			row[i] = r[i]
		}
		if old, ok := stored[uuid]; !ok {
			fresh = append(fresh, row)
		} else if old != r {
			changed = append(changed, row)
		}
	}
	if err := w.db.insert(ctx, w.tx, "wrap_skip", columns, fresh, ""); err != nil {
		return err
	}
	return w.db.insert(ctx, w.tx, "wrap_skip", columns, changed, w.db.dialect.upsert(columns[:1], columns))
}
