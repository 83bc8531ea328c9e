package store

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// setKind is one of the three kinds of sets.
type setKind struct {
	sets, members, memberID, dictionary, role string
}

var setKinds = [...]setKind{
	{"object_set", "object_set_member", "obj_id", "xalt_object", "objects"},
	{"env_set", "env_set_member", "value_id", "env_value", "env"},
	{"function_set", "function_set_member", "func_id", "xalt_function", "functions"},
}

// chainLength is how many ids of one content are looked at.
const chainLength = 16

// derives reports whether an id is one that the content may have.
func (db *DB) derives(h ingest.Hash, id int64) bool {
	for n := range chainLength {
		if db.deriveID(h, n) == id {
			return true
		}
	}
	return false
}

// member is a row of a set.
type member struct {
	ordinal, id int64
	hash        []byte // nil: the dictionary has no such row
}

// membersOf reads the members of sets.
func (v *verifier) membersOf(ctx context.Context, k *setKind, ids []int64) (map[int64][]member, error) {
	found := make(map[int64][]member, len(ids))
	query := fmt.Sprintf("SELECT m.set_id, m.ordinal, m.%[2]s, d.hash FROM %[1]s m LEFT JOIN %[3]s d ON d.%[2]s = m.%[2]s WHERE m.set_id IN (%%s)", k.members, k.memberID, k.dictionary)
	err := in(ctx, v.db, v.db.sql, query, ids, idArg, func(rows *sql.Rows) error {
		var id int64
		var m member
		if err := rows.Scan(&id, &m.ordinal, &m.id, &m.hash); err != nil {
			return err
		}
		found[id] = append(found[id], m)
		return nil
	})
	for _, list := range found {
		slices.SortFunc(list, func(a, b member) int { return bytes.Compare(a.hash, b.hash) })
	}
	return found, err
}

// hashOf is the hash that a set with these members has.
func hashOf(k *setKind, members []member) ingest.Hash {
	hashes := make([]ingest.Hash, len(members))
	for i, m := range members {
		hashes[i] = toHash[ingest.Hash](m.hash)
	}
	return ingest.SetHash(k.role, hashes)
}

// lostAtOnce is how many sets are read at once of which it is not known how many
// members they have.
const lostAtOnce = 20

// lostSets looks for members of sets that are not there. If the members are
// all there, the set is too: its id comes from them.
func (v *verifier) lostSets(ctx context.Context) error {
	for i := range setKinds {
		k := &setKinds[i]
		v.begin("reference set_id", k.members)
		if err := v.db.row(ctx, v.db.sql, "SELECT COUNT(*) FROM "+k.members, nil, &v.check.Rows); err != nil {
			return err
		}
		after := int64(math.MinInt64)
		for {
			var ids []int64
			query := fmt.Sprintf("SELECT DISTINCT m.set_id FROM %s m LEFT JOIN %s s ON s.set_id = m.set_id WHERE s.set_id IS NULL AND m.set_id > ? ORDER BY m.set_id LIMIT %d", k.members, k.sets, lostAtOnce)
			err := v.db.query(ctx, v.db.sql, query, []any{after}, func(rows *sql.Rows) error {
				err := rows.Scan(&after)
				ids = append(ids, after)
				return err
			})
			if err != nil {
				return err
			}
			found, err := v.membersOf(ctx, k, ids)
			if err != nil {
				return err
			}
			for _, id := range ids {
				f := Finding{Key: fmt.Sprintf("set_id %d", id), Detail: "is not in " + k.sets}
				h := hashOf(k, found[id])
				var fix func(*writer) error
				if v.db.derives(h, id) {
					fix = v.update(ctx, "INSERT INTO "+k.sets+" (set_id, hash, members) VALUES (?, ?, ?)", id, h[:], len(found[id]))
				} else {
					f.Hopeless = "members are missing as well"
				}
				if err := v.found(ctx, f, fix); err != nil {
					return err
				}
			}
			if len(ids) < lostAtOnce {
				break
			}
		}
	}
	return nil
}

func (v *verifier) objectSets(ctx context.Context) error   { return v.sets(ctx, &setKinds[0]) }
func (v *verifier) envSets(ctx context.Context) error      { return v.sets(ctx, &setKinds[1]) }
func (v *verifier) functionSets(ctx context.Context) error { return v.sets(ctx, &setKinds[2]) }

// sets checks each set against its members.
func (v *verifier) sets(ctx context.Context, k *setKind) error {
	v.begin("hash, count and ordinals", k.sets)
	type set struct {
		id, members int64
		hash        []byte
	}
	var list []set
	return v.each(ctx, k.sets, "set_id", "members, hash", func(rows *sql.Rows) (int64, error) {
		var s set
		err := rows.Scan(&s.id, &s.members, &s.hash)
		list = append(list, s)
		return s.id, err
	}, func() error {
		for rest := list; len(rest) > 0; {
			var ids []int64
			for members := int64(0); len(ids) < len(rest) && (len(ids) == 0 || members < mergedAtOnce); {
				s := &rest[len(ids)]
				ids, members = append(ids, s.id), members+s.members
			}
			found, err := v.membersOf(ctx, k, ids)
			if err != nil {
				return err
			}
			for _, s := range rest[:len(ids)] {
				if err := v.set(ctx, k, s.id, s.members, s.hash, found[s.id]); err != nil {
					return err
				}
			}
			rest = rest[len(ids):]
		}
		list = list[:0]
		return nil
	})
}

// set checks one set. Its id comes from its members: if they agree, the hash,
// the count and the ordinals can be mended.
func (v *verifier) set(ctx context.Context, k *setKind, id, count int64, hash []byte, members []member) error {
	key := fmt.Sprintf("set_id %d", id)
	h := hashOf(k, members)
	derived := v.db.derives(h, id)
	switch same := string(h[:]) == string(hash); {
	case same && !derived:
		return v.found(ctx, Finding{Key: key, Detail: "the id is not derived from its content", Hopeless: "what refers to it is not known"}, nil)
	case !same && !derived:
		return v.found(ctx, Finding{Key: key, Detail: fmt.Sprintf("its %d members, of %d, do not give its hash", len(members), count), Hopeless: "members are lost or foreign"}, nil)
	case !same:
		if err := v.found(ctx, Finding{Key: key, Detail: "the hash is not that of its members"}, v.update(ctx, "UPDATE "+k.sets+" SET hash = ? WHERE set_id = ?", h[:], id)); err != nil {
			return err
		}
	}
	if int64(len(members)) != count {
		err := v.found(ctx, Finding{Key: key, Detail: fmt.Sprintf("members is %d, but there are %d", count, len(members))}, v.update(ctx, "UPDATE "+k.sets+" SET members = ? WHERE set_id = ?", len(members), id))
		if err != nil {
			return err
		}
	}
	for i, m := range members {
		if m.ordinal == int64(i) {
			continue
		}
		return v.found(ctx, Finding{Key: key, Detail: fmt.Sprintf("ordinals are not 0 to %d in the order of hashes", len(members)-1)}, func(w *writer) error {
			if _, err := v.db.exec(ctx, w.tx, "DELETE FROM "+k.members+" WHERE set_id = ?", id); err != nil {
				return err
			}
			rows := make([][]any, len(members))
			for i, m := range members {
				rows[i] = []any{id, i, m.id}
			}
			return v.db.insert(ctx, w.tx, k.members, []string{"set_id", "ordinal", k.memberID}, rows, "")
		})
	}
	return nil
}

// contents checks that the hash of each dictionary's row is that of its
// content, and its id derived from it.
func (v *verifier) contents(ctx context.Context) error {
	text := func(n int) (values []string, places []any) {
		values, places = make([]string, n), make([]any, n)
		for i := range values {
			places[i] = &values[i]
		}
		return values, places
	}
	for _, d := range [...]struct {
		table, from, key, hash, columns string
		n                               int
		content                         func(c []string) ingest.Hash
	}{
		{"xalt_object", "xalt_object", "obj_id", "hash", "syshost, object_path, hash_id", 3, func(c []string) ingest.Hash { return ingest.ObjectHash(c[0], c[1], c[2]) }},
		{"xalt_env_name", "xalt_env_name", "env_id", "hash", "env_name", 1, func(c []string) ingest.Hash { return ingest.EnvNameHash(c[0]) }},
		{"env_value", "env_value v JOIN xalt_env_name n ON n.env_id = v.env_id", "v.value_id", "v.hash", "n.env_name, v.env_value", 2, func(c []string) ingest.Hash { return ingest.EnvHash(c[0], c[1]) }},
		{"xalt_function", "xalt_function", "func_id", "hash", "function_name", 1, func(c []string) ingest.Hash { return ingest.FunctionHash(c[0]) }},
		{"pkg", "pkg", "pkg_id", "hash", "run_uuid, program, pkg_name, pkg_version, pkg_path", 5, func(c []string) ingest.Hash {
			return ingest.PkgHash(&xalt.Pkg{RunUUID: c[0], Program: c[1], Name: c[2], Version: c[3], Path: c[4]})
		}},
		{"reverse_map", "reverse_map", "map_id", "hash", "", 0, nil},
	} {
		v.begin("hash and id of content", d.table)
		values, places := text(d.n)
		var id int64
		var hash []byte
		type wrong struct {
			id      int64
			content ingest.Hash
		}
		var list []wrong
		columns := d.hash
		if d.columns != "" {
			columns += ", " + d.columns
		}
		err := v.each(ctx, d.from, d.key, columns, func(rows *sql.Rows) (int64, error) {
			if err := rows.Scan(append([]any{&id, &hash}, places...)...); err != nil {
				return 0, err
			}
			h := toHash[ingest.Hash](hash)
			if d.content != nil {
				h = d.content(values)
			}
			if string(h[:]) != string(hash) || !v.db.derives(h, id) {
				list = append(list, wrong{id, h})
			}
			return id, nil
		}, func() error {
			for _, b := range list {
				f := Finding{Key: fmt.Sprintf("%s %d", d.key, b.id), Detail: "the hash is not that of its content"}
				var fix func(*writer) error
				if v.db.derives(b.content, b.id) {
					key := plainKey(d.key)
					fix = v.update(ctx, fmt.Sprintf("UPDATE %s SET hash = ? WHERE %s = ?", d.table, key), b.content[:], b.id)
				} else {
					f.Detail, f.Hopeless = "the id is not derived from its content", "its content was changed; what it was is not known"
				}
				if err := v.found(ctx, f, fix); err != nil {
					return err
				}
			}
			list = list[:0]
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// plainKey is a column without its table's alias.
func plainKey(key string) string {
	if _, name, ok := strings.Cut(key, "."); ok {
		return name
	}
	return key
}
