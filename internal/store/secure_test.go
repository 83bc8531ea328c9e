package store_test

import (
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
)

// TestTLS connects to servers that take encrypted connections only.
func TestTLS(t *testing.T) {
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			s := testdb.NewSecure(t, kind)
			t.Setenv("HOME", t.TempDir()) // no ~/.my.cnf, ~/.pgpass or certificates of its own
			for _, tt := range []struct {
				name, host, query, password string
				want                        string // part of the error; empty: it connects
			}{
				{"verified", s.Host, "tls=verify&ca=" + s.CA, s.Password, ""},
				{"encrypted", s.Host, "tls=require", s.Password, ""},
				{"another authority", s.Host, "tls=verify&ca=" + s.OtherCA, s.Password, "certificate"},
				{"the system's authorities", s.Host, "tls=verify", s.Password, "certificate"},
				{"another name", "localhost", "tls=verify&ca=" + s.CA, s.Password, "certificate"},
				{"the authority alone", s.Host, "ca=" + s.CA, s.Password, ""},
				{"another authority alone", s.Host, "ca=" + s.OtherCA, s.Password, "certificate"},
				{"encrypted, with the authority", "localhost", "tls=require&ca=" + s.CA, s.Password, ""},
				{"encrypted, with another authority", s.Host, "tls=require&ca=" + s.OtherCA, s.Password, "certificate"},
				{"plain", s.Host, "tls=off", s.Password, "denied"},
				{"wrong password", s.Host, "tls=verify&ca=" + s.CA, "not" + s.Password, "denied"},
				{"no such file", s.Host, "tls=verify&ca=/nonexistent", s.Password, "nonexistent"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					u := url.URL{Scheme: kind, User: url.UserPassword(s.User, tt.password), Host: tt.host + ":" + s.Port, Path: "/" + s.Database, RawQuery: tt.query}
					a, err := store.ParseURL(u.String())
					if err != nil {
						t.Fatal(err)
					}
					db, err := store.Open(t.Context(), a, store.Options{Create: true})
					if err == nil {
						db.Close()
					}
					switch {
					case tt.want == "" && err != nil:
						t.Errorf("Open = %v, want a connection", err)
					case tt.want != "" && err == nil:
						t.Errorf("Open connected, want an error about %q", tt.want)
					case err != nil && strings.Contains(err.Error(), s.Password):
						t.Errorf("Open = %v, which holds the password", err)
					case tt.want == "denied" && (strings.Contains(err.Error(), "authentication failed") || strings.Contains(err.Error(), "pg_hba")):
					case err != nil && !strings.Contains(err.Error(), tt.want):
						t.Errorf("Open = %v, want an error about %q", err, tt.want)
					}
				})
			}
			t.Run("password file", func(t *testing.T) {
				home := t.TempDir()
				t.Setenv("HOME", home)
				name, text := ".my.cnf", "[client]\nuser = "+s.User+"\npassword = \""+s.Password+"\"\n"
				if kind == "postgres" {
					name, text = ".pgpass", "*:*:*:"+s.User+":"+strings.ReplaceAll(s.Password, ":", `\:`)+"\n"
				}
				if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				a, err := store.ParseURL(kind + "://" + s.User + "@" + s.Host + ":" + s.Port + "/" + s.Database + "?tls=verify&ca=" + s.CA)
				if err != nil {
					t.Fatal(err)
				}
				db, err := store.Open(t.Context(), a, store.Options{Create: true})
				if err != nil {
					t.Fatalf("Open with a password in ~/%s: %v", name, err)
				}
				db.Close()
				if err := os.Chmod(filepath.Join(home, name), 0o644); err != nil {
					t.Fatal(err)
				}
				db, err = store.Open(t.Context(), a, store.Options{Create: true})
				if err == nil {
					db.Close()
				}
				if !errors.Is(err, store.ErrPassword) || strings.Contains(err.Error(), s.Password) || !strings.Contains(err.Error(), name) {
					t.Errorf("Open with a password in ~/%s, which others can read = %v, want %v", name, err, store.ErrPassword)
				}
			})
		})
	}
}

// TestIPv6 connects to ::1.
func TestIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip(err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"postgres", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			s := testdb.NewSecureOn(t, kind, "::1")
			t.Setenv("HOME", t.TempDir())
			u := url.URL{Scheme: kind, User: url.UserPassword(s.User, s.Password), Host: "[::1]:" + s.Port, Path: "/" + s.Database, RawQuery: "ca=" + s.CA + "&tls=verify"}
			a, err := store.ParseURL(u.String())
			if err != nil {
				t.Fatal(err)
			}
			addresses := []store.Address{a}
			if kind == "mysql" {
				file := filepath.Join(t.TempDir(), "xalt_db.conf")
				text := "[MYSQL]\nHOST = ::1\nPORT = " + s.Port + "\nSSL = require\nUSER = " + s.User + "\nPASSWD = " + base64.StdEncoding.EncodeToString([]byte(s.Password)) + "\nDB = " + s.Database + "\n"
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				a, err := store.ReadConf(file)
				if err != nil {
					t.Fatal(err)
				}
				addresses = append(addresses, a)
			}
			for _, a := range addresses {
				db, err := store.Open(t.Context(), a, store.Options{Create: true})
				if err != nil {
					t.Fatal(err)
				}
				db.Close()
				if got, want := a.String(), kind+"://"+s.User+"@[::1]:"+s.Port+"/"+s.Database; got != want {
					t.Errorf("String = %s, want %s", got, want)
				}
			}
		})
	}
	for text, want := range map[string]string{
		"postgres://u@[::1]/x":         "postgres://u@[::1]/x",
		"mysql://u@[fe80::1%25lo]:1/x": "mysql://u@[fe80::1%25lo]:1/x",
		"mysql://u@/x?host=[::1]":      "mysql://u@[::1]/x",
		"mysql://u@/x?host=::1":        "mysql://u@[::1]/x",
	} {
		if a, err := store.ParseURL(text); err != nil || a.String() != want {
			t.Errorf("ParseURL(%q) = %s, %v, want %s", text, a, err, want)
		}
	}
}

// TestTLSDefault: a connection that leaves the host is verified unless that is
// switched off.
func TestTLSDefault(t *testing.T) {
	for text, want := range map[string]string{
		"mysql://u@db.example.org/x":              "verify",
		"postgres://u@192.0.2.1:5432/x":           "verify",
		"postgres://u@/x?host=db.example.org":     "verify",
		"postgres://u@db.example.org/x?tls=off":   "off",
		"mysql://u@localhost/x":                   "off",
		"mysql://u@[::1]:3306/x":                  "off",
		"mysql://u@/x?socket=/run/mysqld/my.sock": "off",
		"mysql://u@127.0.0.1/x?tls=verify":        "verify",
		"mysql://u@127.0.0.1/x?ca=/c":             "verify",
		"postgres://u@localhost/x?ca=/c":          "verify",
	} {
		a, err := store.ParseURL(text)
		if err != nil || a.Encryption() != want {
			t.Errorf("ParseURL(%q) has TLS %q (%v), want %q", text, a.Encryption(), err, want)
		}
	}
}

// TestURLKeepsPassword has a password in each part of a URL that it can slip into.
func TestURLKeepsPassword(t *testing.T) {
	for _, text := range []string{
		"mysql//u1:SECRET@h/db",
		"mysql:/u1:SECRET@h/db",
		"mysql:u1:SECRET@h/db",
		"u1:SECRET@h/db",
		"SECRET",
		"mysql:///u1:SECRET@h/db",
		"mysql://u1:12/SECRET@127.0.0.1/xalt",
		"postgres://u1:123?SECRET@h/db",
		"postgres://u1:123?SECRET",
		"postgres://u1:123?x=SECRET",
		"postgres://u1:123?a;SECRET",
		"postgres://u1:123?%SECRET",
		"postgres://u1:123#SECRET@h/db",
		"postgres://u1@h/db#SECRET",
		"postgres://u1@h/db?tls=SECRET",
		"postgres://u1@h/db?tls=off&ca=SECRET",
		"sqlite://u1:SECRET@h/x.db",
		"postgres://u1:SECRET",
		"postgres://u1:SECRET/db",
		"postgres://u1:S%ZZECRET@h/db",
		"postgres://u1:SECRET@h:x/db",
		"postgres://u1:SECRET@h:99999/db",
		"postgres://u1:SECRET@h",
		"postgres://u1:SECRET@h/db\x00",
		" postgres://u1:SECRET@h/db",
	} {
		a, err := store.ParseURL(text)
		if !errors.Is(err, store.ErrURL) {
			t.Errorf("ParseURL(%q) = %v, want %v", text, err, store.ErrURL)
			continue
		}
		if said := err.Error() + a.String(); strings.Contains(said, "SECRET") || strings.Contains(said, "ECRET") {
			t.Errorf("ParseURL(%q) = %s, %v, which holds the password", text, a, err)
		}
	}
	if _, err := store.ParseURL("mysql://u1:99999"); err == nil || strings.Contains(err.Error(), "99999") {
		t.Errorf("a password as the port: %v", err)
	}
	for _, text := range []string{"mysql://u1:SECRET@h/db", "mysql://u1:S@SECRET@h:3306/db", "postgres://u1:a%2FSECRET@h/d%40b?socket=/run/a%40b&tls=off"} {
		a, err := store.ParseURL(text)
		if err != nil || !strings.HasSuffix(a.Password, "SECRET") || strings.Contains(a.String(), "SECRET") {
			t.Errorf("ParseURL(%q) = %s, %v", text, a, err)
		}
	}
}

func TestSQLiteURL(t *testing.T) {
	for text, want := range map[string]string{
		"sqlite:x.db": "x.db", "sqlite:/tmp/x.db": "/tmp/x.db", "sqlite:///tmp/x.db": "///tmp/x.db", "sqlite:a@b#c?d": "a@b#c?d",
		"sqlite://tmp/x.db": "", "sqlite://localhost/x.db": "", "sqlite://": "", "sqlite::memory:": "", "sqlite:file::memory:?cache=shared": "", "sqlite:": "",
	} {
		a, err := store.ParseURL(text)
		if a.Path != want || (want == "") != errors.Is(err, store.ErrURL) {
			t.Errorf("ParseURL(%q) = %q, %v, want %q", text, a.Path, err, want)
		}
	}
}
