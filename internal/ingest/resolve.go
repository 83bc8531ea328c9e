package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"xaltpipe/internal/xalt"
)

// Modules tells which module a path belongs to on a machine.
type Modules interface {
	// Module returns the module of a library or program, empty if there is
	// none, and the identity of the reverse map that said so, zero if the
	// machine has no map.
	Module(syshost, path string) (module string, mapID Hash)
}

// resolver turns decoded records into rows: filter, default account, local
// date, modules, and the sets of objects, variables and functions, each made
// once for the same raw bytes.
type resolver struct {
	modules  Modules // nil: none
	filter   *Filter
	accounts map[string]string // default account by user
	zone     *time.Location

	words     *cache[Hash, *Object] // objects that sets share
	variables *cache[Hash, *EnvVar] // the same
	names     *cache[Hash, *Function]
	objects   *cache[objectsKey, objectSet]
	env       *cache[xalt.Key, *Set[EnvVar]]
	functions *cache[xalt.Key, *Set[Function]]
}

// objectsKey names the raw bytes of a set of objects on a machine.
type objectsKey struct {
	syshost string
	raw     xalt.Key
}

// objectSet is a set of objects, and how many entries of the record's list were none.
type objectSet struct {
	*Set[Object]
	bad int64
}

// cachedMembers bounds how many set members a resolver keeps; each costs some
// hundred bytes.
const cachedMembers = 60_000

func newResolver(o *Options) *resolver {
	return &resolver{
		modules: o.Modules, filter: o.Filter, accounts: o.Accounts, zone: o.Zone,
		words: newCache[Hash, *Object](cachedMembers), variables: newCache[Hash, *EnvVar](cachedMembers), names: newCache[Hash, *Function](cachedMembers),
		objects: newCache[objectsKey, objectSet](cachedMembers),
		env:     newCache[xalt.Key, *Set[EnvVar]](cachedMembers), functions: newCache[xalt.Key, *Set[Function]](cachedMembers),
	}
}

// add puts a decoded record into the batch, or counts it as filtered; fate is
// what is to be remembered of it.
func (r *resolver) add(b *Batch, rec *xalt.Record) Fate {
	b.counts.Defaulted += int64(len(rec.Defaulted))
	switch {
	case rec.Run != nil:
		return r.addRun(b, rec)
	case rec.Link != nil:
		return r.addLink(b, rec)
	case rec.Pkg != nil:
		p := rec.Pkg
		d := r.filter.Decide(Subject{UUID: p.RunUUID, Package: true, PackageName: p.Name, PackagePath: p.Path})
		if !d.Keep {
			return r.filtered(b)
		}
		b.Pkgs = append(b.Pkgs, p)
		b.bytes += len(p.Program) + len(p.Name) + len(p.Version) + len(p.Path) + rowBytes
	case rec.Skip != nil:
		s := rec.Skip
		b.Skips = append(b.Skips, Skip{Skip: s, Date: r.local(s.Time, time.DateTime)})
		b.bytes += len(s.Syshost) + len(s.User) + len(s.Role) + len(s.Program) + len(s.Reason) + rowBytes
	}
	return FateStored
}

// What costs how many bytes of memory, about, besides its texts: here, and as a row
// with its place in the store's indexes while it is written.
const (
	rowBytes    = 500 // a record
	wordBytes   = 800 // an object, variable or function that was not seen before
	memberBytes = 120 // a member of a set that was not seen before
)

func (r *resolver) filtered(b *Batch) Fate {
	b.counts.Records.Filtered++
	return FateFiltered
}

func (r *resolver) local(seconds float64, layout string) string {
	return time.Unix(int64(seconds), 0).In(r.zone).Format(layout)
}

func (r *resolver) module(syshost, path string) (string, Hash) {
	if r.modules == nil {
		return "", Hash{}
	}
	return r.modules.Module(syshost, path)
}

func (r *resolver) addRun(b *Batch, rec *xalt.Record) Fate {
	run := rec.Run
	d := r.filter.Decide(Subject{UUID: run.RunUUID, ExecPath: run.ExecPath, User: run.User, Queue: run.Queue})
	if !d.Keep {
		return r.filtered(b)
	}
	run.Probability *= d.Probability
	if run.Account == xalt.Unknown {
		if account, ok := r.accounts[run.User]; ok {
			run.Account = account
		}
	}
	row := Run{Run: run, Digest: rec.Digest, Date: r.local(run.StartTime, time.DateTime)}
	row.Module, row.MapID = r.module(run.Syshost, run.ExecPath)
	row.Objects = r.objectSet(b, objectsKey{run.Syshost, rec.Objects}, run.LibA)
	row.Env = r.envSet(b, rec.Others, run.EnvT)
	run.LibA, run.EnvT = nil, nil // they hold the whole text
	b.counts.newest(run.Syshost, run.StartTime)
	b.bytes += len(run.Cmdline) + len(run.ExecPath) + len(run.Cwd) + rowBytes
	b.Runs = append(b.Runs, row)
	return FateStored
}

func (r *resolver) addLink(b *Batch, rec *xalt.Record) Fate {
	link := rec.Link
	d := r.filter.Decide(Subject{UUID: link.UUID, ExecPath: link.ExecPath, User: link.BuildUser})
	if !d.Keep {
		return r.filtered(b)
	}
	row := Link{Link: link, Digest: rec.Digest, Date: r.local(link.BuildEpoch, time.DateOnly) + " 00:00:00"}
	row.Module, row.MapID = r.module(link.BuildSyshost, link.LinkPath)
	row.Objects = r.objectSet(b, objectsKey{link.BuildSyshost, rec.Objects}, link.LinkA)
	row.Functions = r.functionSet(b, rec.Others, link.Functions)
	link.LinkA, link.Functions = nil, nil
	b.counts.newest(link.BuildSyshost, link.BuildEpoch)
	b.bytes += len(link.LinkLine) + len(link.ExecPath) + len(link.Cwd) + rowBytes
	b.Links = append(b.Links, row)
	return FateStored
}

func (r *resolver) objectSet(b *Batch, key objectsKey, raw []byte) *Set[Object] {
	if s, ok := r.objects.get(key); ok {
		b.counts.Defaulted += s.bad
		return s.Set
	}
	list, bad := xalt.DecodeObjects(raw)
	b.counts.Defaulted += int64(bad)
	members := make([]*Object, 0, len(list))
	fresh := 0
	for _, o := range list {
		hash := ObjectHash(key.syshost, o.Path, o.HashID)
		m, ok := r.words.get(hash)
		if !ok {
			m = &Object{Hash: hash, Syshost: key.syshost}
			m.Path, m.HashID = detach(o.Path, o.HashID)
			m.LibType = xalt.LibType(m.Path)
			m.Module, m.MapID = r.module(key.syshost, o.Path)
			r.words.put(hash, m, 1+len(o.Path)/256)
			b.bytes += len(o.Path) + len(o.HashID) + wordBytes
			fresh += 1 + len(o.Path)/256
		}
		members = append(members, m)
	}
	b.bytes += len(members) * memberBytes
	s := NewSet("objects", members, func(o *Object) Hash { return o.Hash })
	r.objects.put(key, objectSet{s, int64(bad)}, 1+fresh+len(members)/16) // the others belong to other sets as well
	return s
}

func (r *resolver) envSet(b *Batch, key xalt.Key, raw []byte) *Set[EnvVar] {
	if s, ok := r.env.get(key); ok {
		return s
	}
	list := xalt.DecodeEnv(raw, r.filter.KeepEnv)
	members := make([]*EnvVar, 0, len(list))
	fresh := 0
	for _, e := range list {
		hash := EnvHash(e.Name, e.Value)
		m, ok := r.variables.get(hash)
		if !ok {
			m = &EnvVar{Hash: hash}
			m.Name, m.Value = detach(e.Name, e.Value)
			size := len(e.Name) + len(e.Value)
			r.variables.put(hash, m, 1+size/256)
			b.bytes += size + wordBytes
			fresh += 1 + size/256
		}
		members = append(members, m)
	}
	b.bytes += len(members) * memberBytes
	s := NewSet("env", members, func(e *EnvVar) Hash { return e.Hash })
	r.env.put(key, s, 1+fresh+len(members)/16)
	return s
}

func (r *resolver) functionSet(b *Batch, key xalt.Key, raw []byte) *Set[Function] {
	if s, ok := r.functions.get(key); ok {
		return s
	}
	names := xalt.DecodeNames(raw)
	members := make([]*Function, 0, len(names))
	fresh := 0
	for _, name := range names {
		hash := FunctionHash(name)
		m, ok := r.names.get(hash)
		if !ok {
			m = &Function{Hash: hash, Name: strings.Clone(name)}
			r.names.put(hash, m, 1+len(name)/256)
			b.bytes += len(name) + wordBytes
			fresh += 1 + len(name)/256
		}
		members = append(members, m)
	}
	b.bytes += len(members) * memberBytes
	s := NewSet("functions", members, func(f *Function) Hash { return f.Hash })
	r.functions.put(key, s, 1+fresh+len(members)/16)
	return s
}

// detach gives texts memory of their own instead of that of the record's text.
func detach(a, b string) (string, string) {
	both := a + b
	if a == "" || b == "" {
		both = strings.Clone(both) // it could be one of them
	}
	return both[:len(a)], both[len(a):]
}

// The content that names a row. Every part is preceded by its length, so that
// no two contents are written alike.

// ObjectHash names an object on one machine.
func ObjectHash(syshost, path, hashID string) Hash {
	return contentHash("object", syshost, path, hashID)
}

// EnvHash names an environment variable with a value.
func EnvHash(name, value string) Hash { return contentHash("variable", name, value) }

// EnvNameHash names an environment variable.
func EnvNameHash(name string) Hash { return contentHash("variable name", name) }

// FunctionHash names a function.
func FunctionHash(name string) Hash { return contentHash("function", name) }

// PkgHash names a package of a run.
func PkgHash(p *xalt.Pkg) Hash {
	return contentHash("package", p.RunUUID, p.Program, p.Name, p.Version, p.Path)
}

// SetHash names a set by its members' hashes, which must be in order.
func SetHash(role string, members []Hash) Hash {
	flat := make([]byte, 0, len(members)*len(Hash{}))
	for i := range members {
		flat = append(flat, members[i][:]...)
	}
	return contentHash(role, flat)
}

func contentHash[T string | []byte](role string, parts ...T) (h Hash) {
	size := 8 + len(role)
	for _, p := range parts {
		size += 8 + len(p)
	}
	var stack [512]byte
	if size > len(stack) {
		return longHash(role, parts)
	}
	buf := stack[:0]
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(role)))
	buf = append(buf, role...)
	for _, p := range parts {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	copy(h[:], sum[:])
	return h
}

// longHash is contentHash for what is not worth a copy.
func longHash[T string | []byte](role string, parts []T) (h Hash) {
	sum := sha256.New()
	var full [sha256.Size]byte
	length := full[:8]
	write := func(p []byte) {
		binary.LittleEndian.PutUint64(length, uint64(len(p)))
		sum.Write(length)
		sum.Write(p)
	}
	write([]byte(role))
	for _, p := range parts {
		write([]byte(p))
	}
	copy(h[:], sum.Sum(full[:0]))
	return h
}

// NewSet makes a set of members, in any order and with repeats; role keeps
// sets of different things apart.
func NewSet[T any](role string, members []*T, hash func(*T) Hash) *Set[T] {
	slices.SortFunc(members, func(a, b *T) int {
		x, y := hash(a), hash(b)
		return bytes.Compare(x[:], y[:])
	})
	members = slices.CompactFunc(members, func(a, b *T) bool { return hash(a) == hash(b) })
	hashes := make([]Hash, len(members))
	for i, m := range members {
		hashes[i] = hash(m)
	}
	return &Set[T]{Hash: SetHash(role, hashes), Members: members}
}

// cache keeps what was used lately, bounded by weight: when the young half is
// full, it becomes the old half, and the old half is forgotten.
type cache[K comparable, V any] struct {
	young, old map[K]cached[V]
	weight     int // of young
	limit      int
}

type cached[V any] struct {
	value  V
	weight int
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{young: make(map[K]cached[V]), limit: limit / 2}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	if e, ok := c.young[key]; ok {
		return e.value, true
	}
	e, ok := c.old[key]
	if ok {
		c.put(key, e.value, e.weight)
	}
	return e.value, ok
}

// put keeps v under a key that is not there; what weighs more than the whole
// half is not kept.
func (c *cache[K, V]) put(key K, v V, weight int) {
	if weight > c.limit {
		return
	}
	if c.weight += weight; c.weight > c.limit {
		c.old, c.young, c.weight = c.young, make(map[K]cached[V]), weight
	}
	c.young[key] = cached[V]{v, weight}
}

// ParseAccounts checks a table of default accounts by user; blanks around
// names are dropped, and so is a user without an account.
func ParseAccounts(table map[string]string) map[string]string {
	accounts := make(map[string]string, len(table))
	for _, user := range slices.Sorted(maps.Keys(table)) { // two may be the same without blanks
		if account := strings.TrimSpace(table[user]); account != "" {
			accounts[xalt.Storable(strings.TrimSpace(user))] = xalt.Storable(account)
		}
	}
	return accounts
}
