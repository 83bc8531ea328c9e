package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// Records of one run UUID form claims: records that agree on machine, user,
// start and program. The least claim is the row of xalt_run, the others are
// rows of run_conflict. Within a claim the end record with the greatest end
// time counts and the start record with the least digest; the row has the
// end's members and those of the start that the end lacks. All of this is
// independent of the order in which records come.

// setRef is a set that is in the store (id) or on its way there (set).
type setRef[T any] struct {
	id  int64 // 0 if it has no members, or not known yet
	set *ingest.Set[T]
}

type (
	objectRef = setRef[ingest.Object]
	envRef    = setRef[ingest.EnvVar]
)

// part is what one record of a claim said: its digest and its sets.
type part struct {
	there   bool
	digest  xalt.Digest
	objects objectRef
	env     envRef
}

// claim is a row of xalt_run or run_conflict.
type claim struct {
	run     xalt.Run // scalars
	date    string
	module  string
	mapHash ingest.Hash
	mapID   int64 // once known
	objects objectRef
	env     envRef
	start   part
	end     part
	sources sourceSet // empty: a log

	name    ingest.Hash // of the four fields
	id      int64       // of the row, 0 if new
	main    bool        // the row is in xalt_run
	changed bool
	was     []any // values of the row of xalt_run that it was read from
	wasID   int64
	// Parts that this batch brought and replaced.
	replaced []part
}

// claimHash names a claim among those of a run.
func claimHash(r *xalt.Run) (h ingest.Hash) {
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Syshost, r.User, startText(r), r.ExecPath}, "\x00")))
	copy(h[:], sum[:])
	return h
}

func startText(r *xalt.Run) string { return strconv.FormatFloat(r.StartTime, 'f', 4, 64) }

// compareClaims orders claims by start time, then by the rest, as bytes.
func compareClaims(a, b *claim) int {
	return cmp.Or(
		cmp.Compare(a.run.StartTime, b.run.StartTime),
		strings.Compare(a.run.Syshost, b.run.Syshost),
		strings.Compare(a.run.User, b.run.User),
		strings.Compare(a.run.ExecPath, b.run.ExecPath),
	)
}

// merge takes a record into its claim and says what became of it.
func (c *claim) merge(r *ingest.Run) (fate recordFate) {
	in := part{there: true, digest: r.Digest, objects: objectRef{set: r.Objects}, env: envRef{set: r.Env}}
	mine := &c.start
	if r.Ended() {
		mine = &c.end
	}
	isNew := !c.start.there && !c.end.there
	switch {
	case !mine.there:
	case mine.digest == in.digest:
		return repeated
	case r.Ended():
		order := cmp.Or(cmp.Compare(r.EndTime, c.run.EndTime), bytes.Compare(r.Digest[:], mine.digest[:]))
		if order < 0 {
			return superseded
		}
	case bytes.Compare(r.Digest[:], mine.digest[:]) > 0:
		return superseded
	}
	if mine.there && mine.objects.set != nil { // it came in this batch, and was not stored yet
		c.replaced = append(c.replaced, *mine)
	}
	*mine = in
	c.changed = true
	if r.Ended() || !c.end.there {
		c.run, c.date, c.module, c.mapHash, c.mapID = *r.Run, r.Date, r.Module, r.MapID, 0
	}
	if isNew {
		return stored
	}
	return updated
}

type recordFate int

const (
	stored recordFate = iota
	updated
	repeated
	superseded
	conflict
)

func (o recordFate) count(out *ingest.Outcome) {
	switch o {
	case stored:
		out.Stored++
	case updated:
		out.Updated++
	case repeated:
		out.Repeated++
	case superseded:
		out.Superseded++
	case conflict:
		out.Conflicts++
	}
}

// writeRuns merges a batch's run records with what is stored.
func (w *writer) writeRuns(ctx context.Context, runs []ingest.Run) error {
	if len(runs) == 0 {
		return nil
	}
	uuids := make([]string, 0, len(runs))
	seen := make(map[string]bool, len(runs))
	for i := range runs {
		if uuid := runs[i].RunUUID; !seen[uuid] {
			seen[uuid] = true
			uuids = append(uuids, uuid)
		}
	}
	claims, err := w.loadClaims(ctx, uuids)
	if err != nil {
		return err
	}
	var lost []*ingest.Run
	var gone []int64
	var renewed map[string]*renewal
	if w.importing {
		if renewed, gone, err = w.renewClaims(ctx, claims, changedRuns(runs, claims, w.mine())); err != nil {
			return err
		}
	}
	for i := range runs {
		r := &runs[i]
		if n := renewed[r.RunUUID]; n != nil {
			fate := n.fate(r.Digest)
			fate.count(&w.outcome)
			if fate == superseded {
				lost = append(lost, r)
			}
			continue
		}
		list := claims[r.RunUUID]
		logged := slices.ContainsFunc(list, func(c *claim) bool { return c.sources == 0 })
		if w.importing && logged { // the log knows better
			w.outrun++
			continue
		}
		c := findClaim(list, r.Run)
		replaces := !w.importing && len(list) > 0 && !logged
		if replaces { // all that was imported about this run gives way
			c = &claim{run: *r.Run, name: claimHash(r.Run), main: true}
			for _, old := range list {
				if old.main {
					c.id = old.id
				} else {
					gone = append(gone, old.id)
				}
			}
			list = []*claim{c}
			claims[r.RunUUID] = list
		}
		if c == nil {
			c = &claim{run: *r.Run, name: claimHash(r.Run)}
			list = append(list, c)
			claims[r.RunUUID] = list
		}
		fate := c.merge(r)
		c.changed = c.sources.add(w.mine()) || c.changed
		switch {
		case len(list) > 1 && (fate == stored || fate == updated):
			fate = conflict
		case replaces:
			fate = updated
		}
		fate.count(&w.outcome)
		if fate == superseded {
			lost = append(lost, r)
		}
	}
	if err := w.keepWords(ctx, lost); err != nil {
		return err
	}
	return w.keepClaims(ctx, claims, gone)
}

// keepClaims stores the claims that have changed, in their order.
func (w *writer) keepClaims(ctx context.Context, claims map[string][]*claim, gone []int64) error {
	var write []*claim
	for _, list := range claims {
		if len(list) == 0 {
			continue
		}
		leaving := arrange(list)
		if leaving != 0 {
			gone = append(gone, leaving)
		}
		for _, c := range list {
			if c.changed {
				write = append(write, c)
			}
		}
	}
	// The order of a map is random; rows should come as the records do.
	slices.SortFunc(write, func(a, b *claim) int {
		return cmp.Or(strings.Compare(a.run.RunUUID, b.run.RunUUID), compareClaims(a, b))
	})
	slices.Sort(gone)
	return w.storeClaims(ctx, write, gone)
}

// keepWords stores the sets of records that lost to others of their claim: had
// they come first, they would have been stored, and the dictionaries must not
// depend on the order.
func (w *writer) keepWords(ctx context.Context, lost []*ingest.Run) error {
	objects := make([]*ingest.Set[ingest.Object], len(lost))
	envs := make([]*ingest.Set[ingest.EnvVar], len(lost))
	for i, r := range lost {
		objects[i], envs[i] = r.Objects, r.Env
	}
	if _, err := w.objectSetIDs(ctx, objects); err != nil {
		return err
	}
	_, err := w.envSetIDs(ctx, envs)
	return err
}

func findClaim(list []*claim, r *xalt.Run) *claim {
	for _, c := range list {
		if c.run.StartTime == r.StartTime && c.run.Syshost == r.Syshost && c.run.User == r.User && c.run.ExecPath == r.ExecPath {
			return c
		}
	}
	return nil
}

// arrange gives the row of xalt_run to the least claim; its id stays with the
// table. It returns the id of the row of run_conflict that goes, or 0.
func arrange(list []*claim) (gone int64) {
	least := slices.MinFunc(list, compareClaims)
	if least.main {
		return 0
	}
	gone = least.id // 0 if it is new
	var mainID int64
	for _, c := range list {
		if c.main {
			mainID = c.id
			c.main, c.id, c.changed = false, 0, true
		}
	}
	least.main, least.id, least.changed = true, mainID, true
	return gone
}

// Columns of xalt_run and run_conflict without run_id, in the order of
// claim.columns.
func runColumns(d *dialect) []string {
	return []string{
		"job_id", "run_uuid", "date", "syshost", "uuid", "hash_id", "account", "exec_type", "start_time", "end_time", "run_time",
		"probability", "num_cores", "num_nodes", "num_threads", "num_gpus", "queue", "sum_runs", "sum_time", d.types.User, "exec_path",
		"module_name", "cwd", "cmdline", "container", "object_set_id", "env_set_id", "exit_status", "exit_signal", "map_id", "claim",
		"start_digest", "start_object_set_id", "start_env_set_id", "end_digest", "end_object_set_id", "end_env_set_id", "imported",
	}
}

// columns are the values of a row.
func (c *claim) columns(d *dialect) []any {
	row := c.values()
	row[cmdlineColumn] = d.pack(c.run.Cmdline)
	return row
}

const cmdlineColumn = 23

// values are columns with the command line as it is.
func (c *claim) values() []any {
	r := &c.run
	return []any{
		r.JobID, r.RunUUID, c.date, r.Syshost, null(r.LinkUUID), r.HashID, r.Account, r.ExecType, r.StartTime, r.EndTime, r.RunTime,
		r.Probability, r.NumCores, r.NumNodes, r.NumThreads, r.NumGPUs, r.Queue, r.SumRuns, r.SumTime, r.User, r.ExecPath,
		null(c.module), r.Cwd, r.Cmdline, null(r.Container), nullID(c.objects.id), nullID(c.env.id), nullInt(r.ExitStatus), nullInt(r.ExitSignal), nullID(c.mapID), c.name[:],
		c.start.digestArg(), nullID(c.start.objects.id), nullID(c.start.env.id), c.end.digestArg(), nullID(c.end.objects.id), nullID(c.end.env.id), int64(c.sources),
	}
}

func (p *part) digestArg() any {
	if !p.there {
		return nil
	}
	return p.digest[:]
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// scanClaim reads run_id and [runColumns].
func (d *dialect) scanClaim(rows *sql.Rows) (*claim, error) {
	c := &claim{}
	r := &c.run
	cmdline := packedText{to: &r.Cmdline, packed: d.packer != nil}
	var linkUUID, module, container sql.NullString
	var objects, env, mapID, startObjects, startEnv, endObjects, endEnv, exitStatus, exitSignal sql.NullInt64
	var name, startDigest, endDigest []byte
	err := rows.Scan(&c.id, &r.JobID, &r.RunUUID, dateText{&c.date}, &r.Syshost, &linkUUID, &r.HashID, &r.Account, &r.ExecType, &r.StartTime,
		&r.EndTime, &r.RunTime, &r.Probability, &r.NumCores, &r.NumNodes, &r.NumThreads, &r.NumGPUs, &r.Queue, &r.SumRuns, &r.SumTime,
		&r.User, &r.ExecPath, &module, &r.Cwd, cmdline, &container, &objects, &env, &exitStatus, &exitSignal, &mapID, &name,
		&startDigest, &startObjects, &startEnv, &endDigest, &endObjects, &endEnv, &c.sources)
	if err != nil {
		return nil, err
	}
	r.LinkUUID, c.module, r.Container = linkUUID.String, module.String, container.String
	r.ExitStatus, r.ExitSignal = intPointer(exitStatus), intPointer(exitSignal)
	c.objects.id, c.env.id, c.mapID = objects.Int64, env.Int64, mapID.Int64
	c.start = part{startDigest != nil, toHash[xalt.Digest](startDigest), objectRef{id: startObjects.Int64}, envRef{id: startEnv.Int64}}
	c.end = part{endDigest != nil, toHash[xalt.Digest](endDigest), objectRef{id: endObjects.Int64}, envRef{id: endEnv.Int64}}
	c.name = toHash[ingest.Hash](name)
	return c, nil
}

func intPointer(n sql.NullInt64) *int64 {
	if !n.Valid {
		return nil
	}
	return &n.Int64
}

// loadClaims reads the rows of runs, and sorts the UUIDs.
func (w *writer) loadClaims(ctx context.Context, uuids []string) (map[string][]*claim, error) {
	claims := make(map[string][]*claim, len(uuids))
	if len(uuids) == 0 {
		return claims, nil
	}
	columns := strings.Join(runColumns(&w.db.dialect), ", ")
	tables, err := w.unlessEmpty(ctx, "xalt_run", "run_conflict")
	if err != nil {
		return nil, err
	}
	// A row of run_conflict may have lost its row of xalt_run, to somebody who deleted
	// old runs.
	uuids, err = w.notNewer(ctx, uuids, tables)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		query := "SELECT run_id, " + columns + " FROM " + table + " WHERE run_uuid IN (%s)"
		err := in(ctx, w.db, w.tx, query, uuids, textArg, func(rows *sql.Rows) error {
			c, err := w.db.dialect.scanClaim(rows)
			if err != nil {
				return err
			}
			if c.main = table == "xalt_run"; c.main {
				before := *c // which has the memory of its digests for itself
				c.was, c.wasID = before.values(), c.id
			}
			claims[c.run.RunUUID] = append(claims[c.run.RunUUID], c)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", table, err)
		}
	}
	return claims, nil
}

// notNewer returns those of the runs, in order, that may be in one of the tables:
// most are newer than all that are, see [gap].
func (w *writer) notNewer(ctx context.Context, uuids, tables []string) ([]string, error) {
	slices.Sort(uuids)
	most := 0
	for _, table := range tables {
		var last string
		err := w.db.row(ctx, w.tx, "SELECT run_uuid FROM "+table+" WHERE run_uuid <= ? ORDER BY run_uuid DESC LIMIT 1", []any{uuids[len(uuids)-1]}, &last)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", table, err)
		}
		n, found := slices.BinarySearch(uuids, last)
		if found {
			n++
		}
		most = max(most, n)
	}
	return uuids[:most], nil
}

// storeClaims writes changed claims with their sets.
func (w *writer) storeClaims(ctx context.Context, list []*claim, gone []int64) error {
	if err := w.resolveSets(ctx, list); err != nil {
		return err
	}
	hashes := make([]ingest.Hash, len(list))
	for i, c := range list {
		hashes[i] = c.mapHash
	}
	mapIDs, err := w.mapIDs(ctx, hashes)
	if err != nil {
		return err
	}
	columns := runColumns(&w.db.dialect)
	var fresh, conflicts [][]any
	var changed changedRows
	for i, c := range list {
		if mapIDs[i] != 0 {
			c.mapID = mapIDs[i]
		}
		switch {
		case c.main && c.id != 0:
			changed.add(c)
		case c.main:
			fresh = append(fresh, c.columns(&w.db.dialect))
		default:
			conflicts = append(conflicts, c.columns(&w.db.dialect))
		}
	}
	for _, id := range gone {
		if _, err := w.db.exec(ctx, w.tx, "DELETE FROM run_conflict WHERE run_id = ?", id); err != nil {
			return err
		}
	}
	w.db.insertLater(ctx, w.tx, "xalt_run", columns, fresh)
	if err := w.updateRuns(ctx, &changed); err != nil {
		return err
	}
	return w.db.insert(ctx, w.tx, "run_conflict", columns, conflicts, w.db.dialect.upsert([]string{"run_uuid", "claim"}, columns))
}

// changedRows are rows of xalt_run that are there and change, by the columns in
// which they do: bit n stands for column n of [runColumns].
type changedRows struct {
	claims map[uint64][]*claim
	whole  []*claim // all of their columns may change
}

// add takes in a claim whose row is there. The end of a run changes few columns
// of what its start brought.
func (r *changedRows) add(c *claim) {
	if c.was == nil || c.wasID != c.id {
		r.whole = append(r.whole, c)
		return
	}
	var mask uint64
	for i, v := range c.values() {
		if !sameValue(c.was[i], v) {
			mask |= 1 << i
		}
	}
	if mask == 0 {
		return
	}
	if r.claims == nil {
		r.claims = make(map[uint64][]*claim)
	}
	r.claims[mask] = append(r.claims[mask], c)
}

func sameValue(a, b any) bool {
	if x, ok := a.([]byte); ok {
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}

// updateRuns changes rows of xalt_run.
func (w *writer) updateRuns(ctx context.Context, changed *changedRows) error {
	d := &w.db.dialect
	columns := runColumns(d)
	var union uint64
	var together []*claim
	whole := changed.whole
	for _, mask := range slices.Sorted(maps.Keys(changed.claims)) {
		list := changed.claims[mask]
		switch can, err := w.canUpdate(ctx, "xalt_run", columns, mask); {
		case err != nil:
			return err
		case !can:
			whole = append(whole, list...)
		case d.updateOne == nil: // few statements of many rows
			together = append(together, list...)
			union |= mask
		default:
			if err := w.updateRunColumns(ctx, columns, mask, list); err != nil {
				return err
			}
		}
	}
	if err := w.updateRunColumns(ctx, columns, union, together); err != nil {
		return err
	}
	rows := make([][]any, len(whole))
	for i, c := range whole {
		rows[i] = c.columns(d)
	}
	return w.db.insert(ctx, w.tx, "xalt_run", columns, rows, d.upsert([]string{"run_uuid"}, columns))
}

// updateRunColumns sets the columns of mask in the claims' rows.
func (w *writer) updateRunColumns(ctx context.Context, columns []string, mask uint64, list []*claim) error {
	set := make([]string, 0, bits.OnesCount64(mask))
	for i, name := range columns {
		if mask>>i&1 != 0 {
			set = append(set, name)
		}
	}
	rows := make([][]any, len(list))
	for k, c := range list {
		values := c.values()
		if mask>>cmdlineColumn&1 != 0 {
			values = c.columns(&w.db.dialect)
		}
		row := make([]any, 0, len(set)+1)
		for i, v := range values {
			if mask>>i&1 != 0 {
				row = append(row, v)
			}
		}
		rows[k] = append(row, c.id)
	}
	return w.update(ctx, "xalt_run", "run_id", set, rows)
}
