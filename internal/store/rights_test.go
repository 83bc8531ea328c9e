package store_test

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

// statements are those of a shipped file, without its comments; or those that its
// comments tell an administrator of PostgreSQL to execute in the new database.
func statements(t *testing.T, kind string, ofAdministrator bool) []string {
	t.Helper()
	text, err := os.ReadFile(shipped(t, "deploy", "sql", "grants-"+kind+".sql")[0])
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	var whole strings.Builder
	connected, quoted := false, false
	for line := range strings.Lines(string(text)) {
		comment, ok := strings.CutPrefix(line, "--")
		connected = ok && (connected || strings.Contains(comment, `\connect xalt`))
		if ok != ofAdministrator || ok && (!connected || !strings.HasSuffix(comment, ";\n")) {
			continue
		}
		whole.WriteString(strings.TrimPrefix(line, "--"))
		quoted = quoted != (strings.Count(line, "$$") == 1)
		if !quoted && strings.HasSuffix(line, ";\n") {
			list = append(list, strings.TrimSpace(whole.String()))
			whole.Reset()
		}
	}
	if len(list) == 0 || whole.Len() > 0 && strings.TrimSpace(whole.String()) != "" {
		t.Fatalf("grants-%s.sql has %d statements, and at its end %q", kind, len(list), whole.String())
	}
	return list
}

// granted makes the three users of a database as the shipped file says, and
// returns how to open it as one of them. PostgreSQL's database is one in which
// everybody may make tables, as before PostgreSQL 15; without prepared nobody
// changes that, and what the file says about it is returned.
func granted(t *testing.T, d testdb.Database, prepared bool) (as func(user string) store.Address, refused error) {
	t.Helper()
	a, err := store.ParseURL(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	admin := d.Open(t)
	// Users belong to the server: tests of one database each have their own.
	user := func(name string) string { return a.Database + "_" + strings.TrimPrefix(name, "xalt_") }
	own := func(text string) string {
		for _, name := range []string{"xalt_owner", "xalt_ingest", "xalt_read"} {
			text = strings.ReplaceAll(text, name, user(name))
		}
		return strings.ReplaceAll(text, " xalt.", " "+a.Database+".")
	}
	host := ""
	if d.Kind == "mysql" {
		host = "@localhost"
	}
	for _, name := range []string{"xalt_owner", "xalt_ingest", "xalt_read"} {
		name := user(name)
		if d.Kind == "postgres" {
			mustExec(t, admin, "CREATE ROLE "+name+" LOGIN")
		} else {
			mustExec(t, admin, "CREATE USER "+name+host)
		}
	}
	if d.Kind == "postgres" {
		mustExec(t, admin, "ALTER DATABASE "+a.Database+" OWNER TO "+user("xalt_owner"))
		mustExec(t, admin, "ALTER SCHEMA public OWNER TO CURRENT_USER")
		mustExec(t, admin, "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC")
		for _, statement := range statements(t, d.Kind, true) {
			if prepared {
				mustExec(t, admin, own(statement))
			}
		}
	} else {
		mustExec(t, admin, "GRANT ALL ON "+a.Database+".* TO "+user("xalt_owner")+host)
	}
	t.Cleanup(func() {
		admin := testdb.Admin(t, d.Kind)
		for _, name := range []string{"xalt_owner", "xalt_ingest", "xalt_read"} {
			_, _ = admin.Exec("DROP USER " + user(name) + host) // roles that own what the test leaves stay
		}
	})
	as = func(name string) store.Address {
		b := a
		b.User = user(name)
		return b
	}
	db, err := store.Open(t.Context(), as("xalt_owner"), store.Options{Create: true, Zone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	owner := admin
	if d.Kind == "postgres" {
		if owner, err = sql.Open(d.Driver, strings.Replace(d.DSN, "user=test", "user="+user("xalt_owner"), 1)); err != nil {
			t.Fatal(err)
		}
		defer owner.Close()
	}
	list := statements(t, d.Kind, false)
	for _, statement := range list[:len(list)-1] {
		mustExec(t, owner, own(statement))
	}
	_, refused = owner.Exec(own(list[len(list)-1]))
	return as, refused
}

// TestRightsUnprepared: before PostgreSQL 15 a database's owner cannot take the
// right to make tables from everybody, and the shipped file must not pass over that.
func TestRightsUnprepared(t *testing.T) {
	_, err := granted(t, testdb.New(t, "postgres"), false)
	if err == nil || !strings.Contains(err.Error(), "may make tables in the schema public") {
		t.Errorf("the end of the file = %v, want that everybody may make tables", err)
	}
}

// TestNotGranted opens a database as a user to whom nothing is granted yet.
func TestNotGranted(t *testing.T) {
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			open(t, d).Close()
			a, err := store.ParseURL(d.URL)
			if err != nil {
				t.Fatal(err)
			}
			a.User = a.Database + "_new"
			admin := testdb.Admin(t, kind)
			if kind == "postgres" {
				mustExec(t, admin, "CREATE ROLE "+a.User+" LOGIN")
				defer mustExec(t, admin, "DROP ROLE "+a.User)
			} else {
				mustExec(t, admin, "CREATE USER "+a.User+"@localhost")
				defer mustExec(t, admin, "DROP USER "+a.User+"@localhost")
				mustExec(t, admin, "GRANT SELECT ON "+a.Database+".xalt_user TO "+a.User+"@localhost")
			}
			for _, create := range []bool{false, true} {
				db, err := store.Open(t.Context(), a, store.Options{Create: create})
				if err == nil {
					db.Close()
				}
				if !errors.Is(err, store.ErrRight) || errors.Is(err, store.ErrSchema) || errors.Is(err, store.ErrForeign) {
					t.Errorf("Open with Create %v = %v, want %v alone", create, err, store.ErrRight)
				}
			}
		})
	}
}

// TestNoUsage opens a database as a user who may read its tables, but not use the
// schema they are in: for him PostgreSQL has no such tables.
func TestNoUsage(t *testing.T) {
	d := testdb.New(t, "postgres")
	open(t, d).Close()
	a, err := store.ParseURL(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.User = a.Database + "_new"
	admin := d.Open(t)
	mustExec(t, admin, "CREATE ROLE "+a.User+" LOGIN")
	defer mustExec(t, admin, "DROP ROLE "+a.User)
	mustExec(t, admin, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+a.User)
	defer mustExec(t, admin, "DROP OWNED BY "+a.User)
	mustExec(t, admin, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
	for _, path := range []string{`"$user", public`, `public,"$user"`, `"public"`} {
		mustExec(t, admin, "ALTER ROLE "+a.User+" SET search_path = "+path)
		for _, create := range []bool{false, true} {
			db, err := store.Open(t.Context(), a, store.Options{Create: create})
			if err == nil {
				db.Close()
			}
			if !errors.Is(err, store.ErrRight) || errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "schema public") {
				t.Errorf("search path %s: Open with Create %v = %v, want %v for schema public", path, create, err, store.ErrRight)
			}
		}
	}
}

// TestEncoding opens databases of PostgreSQL with other encodings.
func TestEncoding(t *testing.T) {
	d := testdb.New(t, "postgres")
	admin := testdb.Admin(t, "postgres")
	for encoding, want := range map[string]error{"LATIN1": store.ErrEncoding, "EUC_JP": store.ErrEncoding, "SQL_ASCII": nil} {
		a, err := store.ParseURL(d.URL)
		if err != nil {
			t.Fatal(err)
		}
		a.Database += "_" + strings.ToLower(encoding)
		mustExec(t, admin, "CREATE DATABASE "+a.Database+" ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
		defer mustExec(t, admin, "DROP DATABASE "+a.Database)
		db, err := store.Open(t.Context(), a, store.Options{Create: true, Zone: time.UTC})
		if err == nil {
			db.Close()
		}
		if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), encoding) {
			t.Errorf("%s: %v, want %v", encoding, err, want)
		}
	}
}

func TestRights(t *testing.T) {
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			d := testdb.New(t, kind)
			as, err := granted(t, d, true)
			if err != nil {
				t.Fatal(err)
			}
			openAs := func(name string) *store.DB {
				t.Helper()
				db, err := store.Open(t.Context(), as(name), store.Options{Create: true})
				if err != nil {
					t.Fatalf("open as %s: %v", name, err)
				}
				t.Cleanup(func() { db.Close() })
				return db
			}
			ingester := openAs("xalt_ingest")
			log := sample(t, "xalt.log")
			if err := ingest.New(ingester, options(t)).Run(t.Context(), []string{log}, nil); err != nil {
				t.Fatalf("read a log as the ingester: %v", err)
			}
			same(t, "stored by the ingester", dump(t, d), model(t, log))
			if err := ingest.New(ingester, options(t)).Run(t.Context(), []string{rivals(t)}, nil); err != nil {
				t.Fatalf("read claims as the ingester: %v", err)
			}
			if r, err := ingester.Verify(t.Context(), true); err != nil || r.Wrong > 0 {
				t.Errorf("Verify as the ingester = %+v, %v", r, err)
			}
			if err := ingester.SetAccounts(t.Context(), []store.Account{{Account: "unknown", FieldOfScience: "physics"}}); err != nil {
				t.Errorf("SetAccounts as the ingester: %v", err)
			}
			x := newXALT(t, "utf8mb3")
			x.load(t, logs(t)[0].expected)
			importInto(t, ingester, x, store.ImportOptions{})
			reader := openAs("xalt_read")
			if _, err := reader.Summary(t.Context(), 5); err != nil {
				t.Errorf("Summary as the reader: %v", err)
			}
			if r, err := reader.Verify(t.Context(), false); err != nil || r.Wrong > 0 {
				t.Errorf("Verify as the reader = %+v, %v", r, err)
			}
			o := options(t)
			o.Full = true
			err = ingest.New(reader, o).Run(t.Context(), []string{log}, nil)
			if err == nil || !strings.Contains(err.Error(), "lacks a right") || !strings.Contains(err.Error(), "ingest_") {
				t.Errorf("read a log as the reader = %v, want a right that is missing, and the table", err)
			}
			// The documented queries, with the reader's own connection.
			u := as("xalt_read")
			dsn := strings.Replace(d.DSN, "user=test", "user="+u.User, 1)
			if kind == "mysql" {
				dsn = strings.Replace(d.DSN, "root@", u.User+"@", 1)
			}
			raw, err := sql.Open(d.Driver, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			for _, query := range documented(kind) {
				answer(t, raw, query)
			}
			for _, forbidden := range []string{
				"DELETE FROM xalt_run", "UPDATE xalt_object SET module_name = 'x'", "SELECT raw FROM dead_letter", "SELECT value FROM ingest_block", "CREATE TABLE mine (a INT)",
			} {
				if _, err := raw.Exec(forbidden); err == nil {
					t.Errorf("the reader may %s", forbidden)
				}
			}
			writer, err := sql.Open(d.Driver, strings.Replace(dsn, u.User, as("xalt_ingest").User, 1))
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			for _, forbidden := range []string{"CREATE TABLE mine (a INT)", "DROP TABLE xalt_user", "DELETE FROM schema_version", "ALTER TABLE xalt_run ADD COLUMN x INT"} {
				if _, err := writer.Exec(forbidden); err == nil {
					t.Errorf("the ingester may %s", forbidden)
				}
			}
			if kind == "postgres" { // as on a standby
				mustExec(t, d.Open(t), "ALTER ROLE "+u.User+" SET default_transaction_read_only = on")
				if r, err := openAs("xalt_read").Verify(t.Context(), false); err != nil || r.Wrong > 0 {
					t.Errorf("Verify where nothing can be changed = %+v, %v", r, err)
				}
			}
			// An ingester cannot make the schema, and is told so.
			empty := testdb.New(t, kind)
			a, err := store.ParseURL(empty.URL)
			if err != nil {
				t.Fatal(err)
			}
			a.User = as("xalt_ingest").User
			if kind == "postgres" {
				mustExec(t, empty.Open(t), "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
			}
			if _, err := store.Open(t.Context(), a, store.Options{Create: true}); err == nil || !strings.Contains(err.Error(), "lacks a right") {
				t.Errorf("open an empty database as the ingester = %v, want a right that is missing", err)
			}
		})
	}
}
