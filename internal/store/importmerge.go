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

// A row that was read differs from what was imported under its UUID if it is
// another row of that UUID, or if it has changed since. Nothing tells which stored
// row came from which row of the source, so all that the source has under the UUID
// by now is read, and takes the place of all that was imported under it. So the
// outcome is the same whatever the chunks, and the same as if the source had been
// imported as it is now. What another imported database has as well stays.

// sourceSet is a set of imported databases, a bit for each, as in the column imported. What
// a log has brought has none.
type sourceSet int64

const maxSources = 62

// add and drop report whether they have changed the set.
func (s *sourceSet) add(other sourceSet) bool {
	before := *s
	*s |= other
	return *s != before
}

func (s *sourceSet) drop(other sourceSet) bool {
	before := *s
	*s &^= other
	return *s != before
}

// mine is the database that is imported.
func (w *writer) mine() sourceSet {
	if w.source == nil {
		return 0
	}
	return w.source.mine
}

// renewal is what all rows of a UUID became.
type renewal struct {
	before, now map[xalt.Digest]bool // of the records that count
	several     bool                 // claims or links
}

// fate says what became of one of the rows.
func (n *renewal) fate(d xalt.Digest) recordFate {
	switch {
	case !n.now[d]:
		return superseded
	case n.before[d]:
		return repeated
	}
	n.before[d] = true
	if n.several {
		return conflict
	}
	return updated
}

// alone reports whether all that is imported came from one database.
func (w *writer) alone(ctx context.Context) (bool, error) {
	var others int64
	err := w.db.row(ctx, w.tx, "SELECT COUNT(*) FROM ingest_meta WHERE name LIKE 'import:%:number' AND name <> ?", []any{w.source.name + "number"}, &others)
	if err != nil {
		return false, fmt.Errorf("look up imports: %w", err)
	}
	return others == 0, nil
}

// under reads all rows that the source has under UUIDs, some at a time.
func under[T any](ctx context.Context, im *importer, column string, uuids, spelled []string,
	rows func(context.Context, *chunk, span) ([]T, error), take func([]T) error,
) error {
	for some := range slices.Chunk(uuids, inChunk) {
		s := span{limit: im.o.Rows, column: column}
		for _, uuid := range some {
			s.among = append(s.among, uuid, strings.ToUpper(uuid))
		}
		for _, uuid := range spelled {
			s.among = append(s.among, uuid)
		}
		for {
			var c *chunk
			var list []T
			err := im.src.retry(ctx, func() (err error) {
				c = newChunk()
				list, err = rows(ctx, c, s)
				return err
			})
			if errors.Is(err, errLargeChunk) {
				s.limit = max(1, s.limit/2)
				continue
			} else if err != nil {
				return fmt.Errorf("read all rows of a UUID: %w", err)
			}
			if c.rows == 0 {
				break
			}
			if err := take(list); err != nil {
				return err
			}
			s.after, s.limit = c.last, min(im.o.Rows, 2*s.limit)
		}
	}
	return nil
}

// perMember is about what a member of a set takes in memory besides its text.
const perMember = 64

// sizeOf is about what a record takes in memory.
func sizeOf(text string, objects *ingest.Set[ingest.Object]) int {
	return len(text) + (len(objects.Members)+10)*perMember
}

// says tells whether the claim's row has what a record said.
func (c *claim) says(d xalt.Digest) bool {
	return c.start.there && c.start.digest == d || c.end.there && c.end.digest == d
}

// changedRuns returns the UUIDs under which something else was imported from the same
// database than one of the records.
func changedRuns(runs []ingest.Run, claims map[string][]*claim, mine sourceSet) (uuids []string) {
	seen := make(map[string]bool)
	for i := range runs {
		r := &runs[i]
		list := claims[r.RunUUID]
		if len(list) == 0 || seen[r.RunUUID] || slices.ContainsFunc(list, func(c *claim) bool { return c.sources == 0 || c.sources&mine != 0 && c.says(r.Digest) }) {
			continue
		}
		seen[r.RunUUID] = true
		uuids = append(uuids, r.RunUUID)
	}
	return uuids
}

// renewClaims makes the imported claims of UUIDs what the source has now, and
// returns the rows of run_conflict that go.
func (w *writer) renewClaims(ctx context.Context, claims map[string][]*claim, uuids []string) (renewed map[string]*renewal, gone []int64, err error) {
	if len(uuids) == 0 {
		return nil, nil, nil
	}
	fresh := make(map[string][]*claim, len(uuids))
	for _, uuid := range uuids {
		fresh[uuid] = nil
	}
	im := w.source
	rows := func(ctx context.Context, c *chunk, s span) ([]ingest.Run, error) {
		runs, _, err := im.readRuns(ctx, c, s)
		return runs, err
	}
	size := 0
	err = under(ctx, im, "run_uuid", uuids, w.spelled, rows, func(runs []ingest.Run) error {
		for i := range runs {
			r := &runs[i]
			list, ok := fresh[r.RunUUID]
			if !ok {
				continue
			}
			c := findClaim(list, r.Run)
			if c == nil {
				c = &claim{run: *r.Run, name: claimHash(r.Run), sources: w.mine()}
				fresh[r.RunUUID] = append(list, c)
			}
			if fate := c.merge(r); fate == stored || fate == updated {
				size += sizeOf(r.Cmdline, r.Objects) + len(r.Env.Members)*perMember
				for _, e := range r.Env.Members {
					size += len(e.Value)
				}
			}
			c.replaced = nil // its own chunk stores what a row that lost said
		}
		if size > im.o.Bytes && len(uuids) > 1 {
			return errLargeChunk
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	renewed = make(map[string]*renewal, len(uuids))
	for _, uuid := range uuids {
		old := claims[uuid]
		n := &renewal{before: digests(old), now: make(map[xalt.Digest]bool)}
		renewed[uuid] = n
		if len(fresh[uuid]) > 0 { // else they were deleted meanwhile
			var left []int64
			claims[uuid], left = replaceClaims(old, fresh[uuid], w.mine(), im.o.Full)
			gone = append(gone, left...)
		}
		n.now, n.several = digests(claims[uuid]), len(claims[uuid]) > 1
	}
	return renewed, gone, nil
}

func digests(list []*claim) map[xalt.Digest]bool {
	all := make(map[xalt.Digest]bool)
	for _, c := range list {
		for _, p := range [...]*part{&c.start, &c.end} {
			if p.there {
				all[p.digest] = true
			}
		}
	}
	return all
}

// replaceClaims returns the claims of a UUID and the ids of the rows of run_conflict
// that go.
func replaceClaims(old, fresh []*claim, mine sourceSet, full bool) (list []*claim, gone []int64) {
	var mainID int64
	for _, o := range old {
		c := findClaim(fresh, &o.run)
		switch {
		case c == nil && o.sources != mine:
			o.changed = o.sources.drop(mine)
			list = append(list, o)
			continue
		case c == nil && o.main:
			mainID = o.id
			continue
		case c == nil:
			gone = append(gone, o.id)
			continue
		case o.sources != mine:
			c.meet(o, full)
		}
		shared := o.sources.add(mine)
		if c.start.same(&o.start) && c.end.same(&o.end) {
			*c = *o
			c.changed = shared
		} else {
			c.id, c.main, c.was, c.wasID = o.id, o.main, o.was, o.wasID
			c.sources = o.sources
			c.keepModule(o)
		}
	}
	list = append(list, fresh...)
	if mainID != 0 { // the row of xalt_run gets another claim
		heir := list[0]
		if heir.id != 0 {
			gone = append(gone, heir.id)
		}
		heir.id, heir.main, heir.changed = mainID, true, true
	}
	return list, gone
}

func (p *part) same(o *part) bool { return p.there == o.there && p.digest == o.digest }

// keepModule keeps a name that re-resolve has found here.
func (c *claim) keepModule(o *claim) {
	if o.mapID != 0 {
		c.module, c.mapID = o.module, o.mapID
	}
}

// meet merges a claim with what may be another database's: as records are merged, only that
// the one that is read in full replaces the other.
func (c *claim) meet(o *claim, full bool) {
	keepEnd, keepStart := o.end.there, o.start.there
	if c.end.there && keepEnd {
		order := cmp.Compare(c.run.EndTime, o.run.EndTime)
		if order == 0 && !full {
			order = bytes.Compare(c.end.digest[:], o.end.digest[:])
		}
		keepEnd = order < 0
	}
	if c.start.there && keepStart {
		keepStart = !full && bytes.Compare(c.start.digest[:], o.start.digest[:]) > 0
	}
	if keepEnd || !c.end.there && keepStart {
		c.run, c.date, c.module, c.mapID = o.run, o.date, o.module, o.mapID
	}
	if keepEnd {
		c.end = o.end
	}
	if keepStart {
		c.start = o.start
	}
}

// renewRuns brings imported runs up to date.
func (w *writer) renewRuns(ctx context.Context, uuids []string) error {
	claims, err := w.loadClaims(ctx, slices.Clone(uuids))
	if err != nil {
		return err
	}
	uuids = slices.DeleteFunc(slices.Clone(uuids), func(uuid string) bool {
		return len(claims[uuid]) == 0 || slices.ContainsFunc(claims[uuid], func(c *claim) bool { return c.sources == 0 })
	})
	renewed, gone, err := w.renewClaims(ctx, claims, uuids)
	if err != nil {
		return err
	}
	for _, n := range renewed {
		for d := range n.now {
			if fate := n.fate(d); fate != repeated {
				fate.count(&w.outcome)
			}
		}
	}
	return w.keepClaims(ctx, claims, gone)
}

// changedLinks is [changedRuns] for links.
func changedLinks(links []ingest.Link, rows map[string][]*linkRow, mine sourceSet) (uuids []string) {
	seen := make(map[string]bool)
	for i := range links {
		l := &links[i]
		list := rows[l.UUID]
		if len(list) == 0 || seen[l.UUID] || slices.ContainsFunc(list, func(r *linkRow) bool { return r.sources == 0 || r.sources&mine != 0 && r.link.Digest == l.Digest }) {
			continue
		}
		seen[l.UUID] = true
		uuids = append(uuids, l.UUID)
	}
	return uuids
}

// renewLinks is [writer.renewClaims] for links.
func (w *writer) renewLinks(ctx context.Context, stored map[string][]*linkRow, uuids []string) (renewed map[string]*renewal, gone []int64, err error) {
	if len(uuids) == 0 {
		return nil, nil, nil
	}
	fresh := make(map[string][]*linkRow, len(uuids))
	renewed = make(map[string]*renewal, len(uuids))
	for _, uuid := range uuids {
		fresh[uuid] = nil
		renewed[uuid] = &renewal{before: make(map[xalt.Digest]bool), now: make(map[xalt.Digest]bool)}
		for _, r := range stored[uuid] {
			renewed[uuid].before[r.link.Digest] = true
		}
	}
	im := w.source
	rows := func(ctx context.Context, c *chunk, s span) ([]ingest.Link, error) {
		links, _, err := im.readLinks(ctx, c, s)
		return links, err
	}
	size := 0
	err = under(ctx, im, "uuid", uuids, w.spelled, rows, func(links []ingest.Link) error {
		for i := range links {
			l := &links[i]
			if n := renewed[l.UUID]; n != nil && !n.now[l.Digest] {
				n.now[l.Digest] = true
				fresh[l.UUID] = append(fresh[l.UUID], newLinkRow(l, w.mine()))
				size += sizeOf(l.LinkLine, l.Objects) + len(l.Functions.Members)*perMember
			}
		}
		if size > im.o.Bytes && len(uuids) > 1 {
			return errLargeChunk
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for _, uuid := range uuids {
		n := renewed[uuid]
		if len(fresh[uuid]) > 0 { // else they were deleted meanwhile
			var left []int64
			stored[uuid], left = replaceLinks(stored[uuid], fresh[uuid], w.mine())
			gone = append(gone, left...)
		}
		for _, r := range stored[uuid] {
			n.now[r.link.Digest] = true
		}
		n.several = len(stored[uuid]) > 1
	}
	return renewed, gone, nil
}

// replaceLinks returns the links of a UUID and the ids of the rows of link_conflict
// that go.
func replaceLinks(old, fresh []*linkRow, mine sourceSet) (list []*linkRow, gone []int64) {
	var mainID int64
	for _, o := range old {
		same := slices.IndexFunc(fresh, func(r *linkRow) bool { return r.link.Digest == o.link.Digest })
		switch {
		case same >= 0:
			o.changed = o.sources.add(mine)
			fresh[same] = o
			continue
		case o.sources != mine:
			o.changed = o.sources.drop(mine)
			list = append(list, o)
			continue
		case o.main:
			mainID = o.id
		default:
			gone = append(gone, o.id)
		}
		for _, r := range fresh { // a name that re-resolve has found here is kept
			if o.mapID != 0 && r.id == 0 && r.link.BuildEpoch == o.link.BuildEpoch && r.link.ExecPath == o.link.ExecPath && r.link.LinkPath == o.link.LinkPath {
				r.module, r.mapID = o.module, o.mapID
			}
		}
	}
	list = append(list, fresh...)
	if mainID != 0 { // the row of xalt_link gets another link
		heir := list[0]
		if heir.id != 0 {
			gone = append(gone, heir.id)
		}
		heir.id, heir.main, heir.changed = mainID, true, true
	}
	return list, gone
}

// dropPkgs deletes the imported packages that the source has no more of runs of which it has
// some, if it is read in full. Nothing tells which database an imported package came
// from, so if there are several, they stay. It returns how many it has deleted.
func (w *writer) dropPkgs(ctx context.Context, pkgs []*xalt.Pkg) (gone int64, err error) {
	im := w.source
	if !im.o.Full {
		return 0, nil
	}
	if alone, err := w.alone(ctx); err != nil || !alone {
		return 0, err
	}
	now := make(map[ingest.Hash]bool)
	var uuids []string
	for _, p := range pkgs {
		now[ingest.PkgHash(p)] = true
		uuids = append(uuids, p.RunUUID)
	}
	slices.Sort(uuids)
	uuids = slices.Compact(uuids)
	left := make(map[ingest.Hash]int64)
	runs := make(map[string]bool)
	err = in(ctx, w.db, w.tx, "SELECT pkg_id, hash, run_uuid FROM pkg WHERE imported <> 0 AND run_uuid IN (%s)", uuids, textArg, func(rows *sql.Rows) error {
		var id int64
		var hash []byte
		var uuid string
		err := rows.Scan(&id, &hash, &uuid)
		if h := toHash[ingest.Hash](hash); !now[h] {
			left[h] = id
			runs[uuid] = true
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("look up pkg: %w", err)
	}
	if len(left) == 0 {
		return 0, nil
	}
	names := slices.Clone(w.spelled)
	for _, uuid := range slices.Sorted(maps.Keys(runs)) {
		names = append(names, uuid, strings.ToUpper(uuid))
	}
	values := make([]sql.NullString, len(sourcePkgColumns))
	places := make([]any, len(values))
	for i := range values {
		places[i] = &values[i]
	}
	query := "SELECT " + im.list("xalt_pkg", sourcePkgColumns[1:]...) + ", r.run_uuid FROM xalt_pkg t JOIN xalt_run r ON r.run_id = t.run_id WHERE r.run_uuid IN (%s)"
	err = im.src.retry(ctx, func() error {
		return in(ctx, im.src, im.src.sql, query, names, textArg, func(rows *sql.Rows) error {
			err := rows.Scan(places...)
			delete(left, ingest.PkgHash(pkgOf(values)))
			return err
		})
	})
	if err != nil {
		return 0, fmt.Errorf("read all packages of a run: %w", err)
	}
	var ids []int64
	for h, id := range left {
		ids = append(ids, id)
		delete(w.db.known.ids[&pkgTable], h) // its id stays unused, see yieldPkgs
	}
	slices.Sort(ids)
	return int64(len(ids)), execIn(ctx, w.db, w.tx, "DELETE FROM pkg WHERE pkg_id IN (%s)", nil, ids, idArg)
}
