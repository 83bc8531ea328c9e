package oracle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options say how logs are to be read.
type Options struct {
	ReverseMaps []string          // directories with reverse maps, the first map found counts
	Accounts    map[string]string // default account of a user (u2acct.json)
	Location    *time.Location    // the database's time zone; nil is UTC
	Syshost     string            // only this machine's records, if not empty
}

// Reading is what [Read] makes of logs.
type Reading struct {
	Dump    Dump
	Waiting []string // keys of records of which blocks are missing, in the order of the logs

	runs  map[string][]*run  // all different run records by run_uuid
	links map[string][]*link // all different link records by uuid
	opts  Options
	maps  map[string]map[string]string // reverse maps by syshost
}

// Model returns the dump that a database must have after reading the logs.
func Model(opts Options, logs ...io.Reader) (Dump, error) {
	r, err := Read(opts, logs...)
	if err != nil {
		return nil, err
	}
	return r.Dump, nil
}

// Read reads logs as the project's rules say.
func Read(opts Options, logs ...io.Reader) (*Reading, error) {
	if opts.Location == nil {
		opts.Location = time.UTC
	}
	r := &Reading{
		Dump: newDump(), runs: map[string][]*run{}, links: map[string][]*link{},
		opts: opts, maps: map[string]map[string]string{},
	}
	found, waiting, err := records(logs, opts.Syshost)
	if err != nil {
		return nil, err
	}
	r.Waiting = waiting
	seen := map[record]bool{}
	pkgs := map[pkg]bool{}
	for _, rec := range found {
		if seen[rec] {
			continue
		}
		seen[rec] = true
		if rec.reason != "" {
			r.Dump.add("dead_letter", rec.kind, rec.key, rec.reason)
			continue
		}
		decoded, err := decode(rec.kind, rec.text)
		if err != nil {
			r.Dump.add("dead_letter", rec.kind, rec.key, ReasonRecord)
			continue
		}
		switch decoded := decoded.(type) {
		case *run:
			r.addRun(decoded)
		case *link:
			r.addLink(decoded)
		case *pkg:
			pkgs[*decoded] = true
		}
	}
	if err := r.write(pkgs); err != nil {
		return nil, err
	}
	return r, nil
}

// addRun adds a run record, unless the same text was there.
func (r *Reading) addRun(n *run) {
	same := func(o *run) bool { return o.digest == n.digest }
	if !slices.ContainsFunc(r.runs[n.uuid], same) {
		r.runs[n.uuid] = append(r.runs[n.uuid], n)
	}
}

func (r *Reading) addLink(n *link) {
	same := func(o *link) bool { return o.digest == n.digest }
	if !slices.ContainsFunc(r.links[n.uuid], same) {
		r.links[n.uuid] = append(r.links[n.uuid], n)
	}
}

// write makes the rows of everything that was read.
func (r *Reading) write(pkgs map[pkg]bool) error {
	for _, id := range sortedKeys(r.runs) {
		for _, n := range r.runs[id] {
			if err := r.writeWords(n); err != nil {
				return err
			}
		}
		for i, c := range claims(r.runs[id]) {
			if err := r.writeClaim(c, i == 0); err != nil {
				return err
			}
		}
	}
	for _, id := range sortedKeys(r.links) {
		if err := r.writeLinks(r.links[id]); err != nil {
			return err
		}
	}
	for p := range pkgs {
		r.Dump.add("pkg", p.runUUID, p.program, p.name, p.version, p.path)
		if len(r.runs[p.runUUID]) > 0 {
			r.Dump.add("xalt_pkg", p.runUUID, p.program, p.name, p.version, p.path)
		}
	}
	r.Dump.finish()
	for _, name := range []string{"xalt_object", "xalt_env_name", "xalt_function"} {
		t := r.Dump[name]
		t.dedup()
		r.Dump[name] = t
	}
	return nil
}

// claim is what several records of one run_uuid agree on: they are of one run.
type claim struct {
	syshost, user, start, execPath string
	startTime                      float64
	starts, ends                   []*run
}

// claims sorts the records of one run_uuid into claims, the least first.
func claims(records []*run) []*claim {
	var found []*claim
	for _, n := range records {
		key := claim{syshost: n.syshost, user: n.user, start: fmt.Sprintf("%.4f", n.start), execPath: n.execPath}
		i := slices.IndexFunc(found, func(c *claim) bool { return c.compareKey(&key) == 0 })
		if i < 0 {
			key.startTime = n.start
			i = len(found)
			found = append(found, &key)
		}
		if n.end > 0 {
			found[i].ends = append(found[i].ends, n)
		} else {
			found[i].starts = append(found[i].starts, n)
		}
	}
	slices.SortFunc(found, func(a, b *claim) int {
		if a.startTime != b.startTime {
			if a.startTime < b.startTime {
				return -1
			}
			return 1
		}
		return a.compareKey(b)
	})
	return found
}

func (c *claim) compareKey(o *claim) int {
	return slices.Compare([]string{c.syshost, c.user, c.start, c.execPath}, []string{o.syshost, o.user, o.start, o.execPath})
}

// end returns the end record that counts, nil if there is none.
func (c *claim) end() *run {
	if len(c.ends) == 0 {
		return nil
	}
	return slices.MaxFunc(c.ends, func(a, b *run) int {
		if a.end != b.end {
			return int(math.Copysign(1, a.end-b.end))
		}
		return bytes.Compare(a.digest[:], b.digest[:])
	})
}

// begin returns the start record that counts, nil if there is none.
func (c *claim) begin() *run {
	if len(c.starts) == 0 {
		return nil
	}
	return slices.MinFunc(c.starts, func(a, b *run) int { return bytes.Compare(a.digest[:], b.digest[:]) })
}

// merge returns the run that the records of a claim describe: the end record
// with what of the start record's libraries and environment it lacks.
func (c *claim) merge() *run {
	begin, end := c.begin(), c.end()
	if begin == nil {
		return end
	}
	if end == nil {
		return begin
	}
	merged := *end
	merged.libraries = slices.Concat(end.libraries, lacking(end.libraries, begin.libraries))
	merged.env = slices.Concat(end.env, lacking(end.env, begin.env))
	return &merged
}

// lacking returns the pairs of more with a first part that no pair of has has.
func lacking(has, more []pair) []pair {
	var found []pair
	for _, p := range more {
		if !slices.ContainsFunc(has, func(q pair) bool { return p[0] == q[0] }) {
			found = append(found, p)
		}
	}
	return found
}

// writeClaim writes the rows of one claim: those of the run, if it is the least
// of its run_uuid, else a conflict.
func (r *Reading) writeClaim(c *claim, least bool) error {
	n := c.merge()
	row, err := r.runRow(n)
	if err != nil {
		return err
	}
	if !least {
		r.Dump.add("run_conflict", row...)
		return nil
	}
	r.Dump.add("xalt_run", row...)
	date := r.date(n.start)
	for _, p := range n.libraries {
		r.Dump.add("join_run_object", n.uuid, p[0], p[1], n.syshost, date)
	}
	for _, p := range n.env {
		r.Dump.add("join_run_env", n.uuid, p[0], date, p[1])
	}
	return nil
}

// writeWords writes the dictionary words of a run record. The dictionaries have
// the words of every record that was read, also of those that do not count.
func (r *Reading) writeWords(n *run) error {
	for _, p := range n.env {
		r.Dump.add("xalt_env_name", p[0])
	}
	for _, p := range n.libraries {
		if err := r.writeObject(p, n.syshost); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reading) runRow(n *run) (Row, error) {
	module, err := r.module(n.syshost, n.execPath)
	if err != nil {
		return nil, err
	}
	account := n.account
	if def, ok := r.opts.Accounts[n.user]; ok && account == unknown {
		account = def
	}
	return Row{
		n.uuid, n.jobID, r.time(n.start), n.syshost, orNull(n.linkUUID), n.hash, account, n.execType,
		double(n.start), double(n.end), double(n.runTime), double(n.probability),
		fmt.Sprint(n.cores), fmt.Sprint(n.nodes), fmt.Sprint(n.threads), fmt.Sprint(n.gpus),
		n.queue, fmt.Sprint(n.sumRuns), double(n.sumTime), n.user, n.execPath,
		module, n.cwd, n.cmdline, orNull(n.container),
	}, nil
}

func orNull(s *string) string {
	if s == nil {
		return Null
	}
	return *s
}

// writeLinks writes the link records of one uuid: the least one is the link,
// the others are conflicts.
func (r *Reading) writeLinks(links []*link) error {
	slices.SortFunc(links, func(a, b *link) int {
		if a.epoch != b.epoch {
			return int(math.Copysign(1, a.epoch-b.epoch))
		}
		if a.execPath != b.execPath {
			return strings.Compare(a.execPath, b.execPath)
		}
		return bytes.Compare(a.digest[:], b.digest[:])
	})
	for i, l := range links {
		row, err := r.linkRow(l)
		if err != nil {
			return err
		}
		for _, p := range l.objects {
			if err := r.writeObject(p, l.syshost); err != nil {
				return err
			}
		}
		functions := slices.Compact(slices.Sorted(slices.Values(l.functions)))
		for _, f := range functions {
			r.Dump.add("xalt_function", f)
		}
		if i > 0 {
			r.Dump.add("link_conflict", row...)
			continue
		}
		r.Dump.add("xalt_link", row...)
		date := r.date(l.epoch)
		for _, p := range l.objects {
			r.Dump.add("join_link_object", l.uuid, p[0], p[1], l.syshost, date)
		}
		for _, f := range functions {
			r.Dump.add("join_link_function", l.uuid, f, date)
		}
	}
	return nil
}

func (r *Reading) linkRow(l *link) (Row, error) {
	module, err := r.module(l.syshost, l.path)
	if err != nil {
		return nil, err
	}
	return Row{
		l.uuid, l.hash, r.date(l.epoch) + " 00:00:00", l.program, l.path, module,
		l.line, l.cwd, l.user, l.syshost, double(l.epoch), l.execPath,
	}, nil
}

func (r *Reading) writeObject(p pair, syshost string) error {
	module, err := r.module(syshost, p[0])
	if err != nil {
		return err
	}
	r.Dump.add("xalt_object", p[0], syshost, p[1], module, libType(p[0]))
	return nil
}

func (r *Reading) time(seconds float64) string {
	return time.Unix(int64(math.Floor(seconds)), 0).In(r.opts.Location).Format("2006-01-02 15:04:05")
}

func (r *Reading) date(seconds float64) string { return r.time(seconds)[:len("2006-01-02")] }

// module looks a file's module up by its directory, then each parent, up to but
// without "/".
func (r *Reading) module(syshost, file string) (string, error) {
	names, ok := r.maps[syshost]
	if !ok {
		var err error
		if names, err = readReverseMap(r.opts.ReverseMaps, syshost); err != nil {
			return "", err
		}
		r.maps[syshost] = names
	}
	for {
		i := strings.LastIndex(file, "/")
		if i < 1 {
			return Null, nil
		}
		file = file[:i]
		if name, ok := names[file]; ok {
			return storable(name), nil
		}
	}
}

// readReverseMap reads the map that counts for a machine: the first that there is
// of the machine's own, else of the common ones; xalt_rmapT.json before
// jsonReverseMapT.json, and their copies only if there is neither.
func readReverseMap(dirs []string, syshost string) (map[string]string, error) {
	var own []string
	for _, dir := range dirs {
		if plainHost(syshost) {
			own = append(own, filepath.Join(dir, syshost))
		}
	}
	for _, level := range [][]string{own, dirs} {
		for _, file := range []string{"xalt_rmapT.json", "jsonReverseMapT.json", "xalt_rmapT.old.json", "jsonReverseMapT.old.json"} {
			for _, dir := range level {
				names, err := readMapFile(filepath.Join(dir, file))
				if !errors.Is(err, fs.ErrNotExist) {
					return names, err
				}
			}
		}
	}
	return nil, nil
}

// plainHost reports whether a syshost may be part of a path.
func plainHost(s string) bool {
	for i, c := range s {
		alnum := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", c)) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func readMapFile(name string) (map[string]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var file struct {
		ReverseMapT map[string]json.RawMessage `json:"reverseMapT"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	names := map[string]string{}
	for dir, raw := range file.ReverseMapT {
		var module string
		if json.Unmarshal(raw, &module) == nil {
			names[dir] = module
			continue
		}
		var entry struct {
			Pkg    string   `json:"pkg"`
			Flavor []string `json:"flavor"`
		}
		if err := json.Unmarshal(raw, &entry); err != nil {
			return nil, fmt.Errorf("read %s: %s: %w", name, dir, err)
		}
		names[dir] = entry.Pkg
		if len(entry.Flavor) > 0 {
			if flavor := strings.TrimPrefix(strings.TrimPrefix(entry.Flavor[0], "default"), ":"); flavor != "" {
				names[dir] += "(" + flavor + ")"
			}
		}
	}
	return names, nil
}

// ReadAccounts reads a file of default accounts (u2acct.json).
func ReadAccounts(name string) (map[string]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var accounts map[string]string
	if err := json.Unmarshal(data, &accounts); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	stored := map[string]string{}
	for user, account := range accounts {
		if account != "" {
			stored[storable(user)] = storable(account)
		}
	}
	return stored, nil
}
