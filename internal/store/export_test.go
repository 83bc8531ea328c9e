package store

import "database/sql"

// FailWrites makes every step of a transaction ask f first; f's error ends it
// as a fault of the database would.
func (db *DB) FailWrites(f func(step string) error) { db.onWrite = f }

// NarrowIDs derives ids of that many bits, so that they collide.
func (db *DB) NarrowIDs(bits uint) { db.idBits = bits }

// Forget empties the caches.
func (db *DB) Forget() {
	db.known, db.unions = newIDCache(), &unionCache{}
	db.commits.Add(1)
}

// Encryption returns what is done with TLS once the host is known.
func (a Address) Encryption() string { return a.tls() }

// SQL returns the pool of connections.
func (db *DB) SQL() *sql.DB { return db.sql }

// Complete returns how many tables are known completely.
func (db *DB) Complete() int { return len(db.known.complete) }
