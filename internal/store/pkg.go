package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode/utf8"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/xalt"
)

// Packages have no claims: each distinct one is a row. What XALT's ingester
// stored of one may be cut, so an imported row gives way to the package of a
// log that it was cut from.

// writePkgs adds packages that are not there yet.
func (w *writer) writePkgs(ctx context.Context, pkgs []*xalt.Pkg) error {
	if len(pkgs) == 0 {
		return nil
	}
	// Where nothing was imported there is nothing to compare with.
	var imports int64
	if err := w.db.row(ctx, w.tx, "SELECT COUNT(*) FROM ingest_meta WHERE name >= 'import:' AND name < 'import;'", nil, &imports); err != nil {
		return fmt.Errorf("look up imports: %w", err)
	}
	if imports > 0 {
		var err error
		if pkgs, err = w.yieldPkgs(ctx, pkgs); err != nil {
			return err
		}
	}
	hashes := make([]ingest.Hash, len(pkgs))
	for i, p := range pkgs {
		hashes[i] = ingest.PkgHash(p)
	}
	_, added, err := w.ensure(ctx, &pkgTable, hashes, func(row []any, i int) []any {
		p := pkgs[i]
		return append(row, p.RunUUID, p.Program, p.Name, p.Version, p.Path, boolInt(w.importing))
	})
	w.outcome.Stored += int64(len(added))
	w.outcome.Repeated += int64(len(pkgs) - len(added))
	return err
}

// yieldPkgs makes imported rows give way to the same packages from logs, and
// returns those that are to be stored.
func (w *writer) yieldPkgs(ctx context.Context, pkgs []*xalt.Pkg) ([]*xalt.Pkg, error) {
	type row struct {
		xalt.Pkg
		id   int64
		hash ingest.Hash
	}
	others := make(map[string][]row) // by run: rows of the other origin
	var uuids []string
	for _, p := range pkgs {
		if _, ok := others[p.RunUUID]; !ok {
			others[p.RunUUID] = nil
			uuids = append(uuids, p.RunUUID)
		}
	}
	query := fmt.Sprintf("SELECT pkg_id, hash, run_uuid, program, pkg_name, pkg_version, pkg_path FROM pkg WHERE imported = %d AND run_uuid IN (%%s)", boolInt(!w.importing))
	err := in(ctx, w.db, w.tx, query, uuids, textArg, func(rows *sql.Rows) error {
		var r row
		var hash []byte
		if err := rows.Scan(&r.id, &hash, &r.RunUUID, &r.Program, &r.Name, &r.Version, &r.Path); err != nil {
			return err
		}
		r.hash = toHash[ingest.Hash](hash)
		others[r.RunUUID] = append(others[r.RunUUID], r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up pkg: %w", err)
	}
	keep := make([]*xalt.Pkg, 0, len(pkgs))
	for _, p := range pkgs {
		outrun := false
		for _, r := range others[p.RunUUID] {
			switch {
			case w.importing:
				outrun = outrun || cutPkg(p, &r.Pkg)
			case r.Pkg == *p:
				_, err = w.db.exec(ctx, w.tx, "UPDATE pkg SET imported = 0 WHERE pkg_id = ?", r.id)
			case cutPkg(&r.Pkg, p):
				// Its id stays unused; that an id was derived past it is as
				// good as impossible, and verify would tell.
				_, err = w.db.exec(ctx, w.tx, "DELETE FROM pkg WHERE pkg_id = ?", r.id)
				delete(w.db.known.ids[&pkgTable], r.hash)
			}
			if err != nil {
				return nil, fmt.Errorf("replace package %d: %w", r.id, err)
			}
		}
		if outrun {
			w.outrun++
			continue
		}
		keep = append(keep, p)
	}
	return keep, nil
}

// cutPkg reports whether XALT's ingester makes short of long: it cuts a
// program at 12 characters, a name at 64, a version at 32, and a path, by its
// age, at 10 or 1024.
func cutPkg(short, long *xalt.Pkg) bool {
	return isCut(short.Program, long.Program, 12) && isCut(short.Name, long.Name, 64) && isCut(short.Version, long.Version, 32) &&
		(isCut(short.Path, long.Path, 1024) || isCut(short.Path, long.Path, 10))
}

func isCut(short, long string, n int) bool {
	return short == long || utf8.RuneCountInString(short) == n && strings.HasPrefix(long, short)
}
