package store

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestTLSOfEnvironment has the server named elsewhere than in the URL.
func TestTLSOfEnvironment(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		env       map[string]string
		service   string // ~/.pg_service.conf
		want      string // verify, encrypt or off
	}{
		{"host", "postgres://u:p@/xalt", map[string]string{"PGHOST": "192.0.2.2"}, "", "verify"},
		{"this host", "postgres://u:p@/xalt", map[string]string{"PGHOST": "127.0.0.1"}, "", "off"},
		{"socket", "postgres://u:p@/xalt", map[string]string{"PGHOST": "/run"}, "", "off"},
		{"this host and another one", "postgres://u:p@/xalt", map[string]string{"PGHOST": "localhost,192.0.2.2"}, "", "verify"},
		{"host in the URL", "postgres://u:p@192.0.2.2/xalt", nil, "", "verify"},
		{"hosts in the URL", "postgres://u:p@127.0.0.1,192.0.2.2/xalt", nil, "", "verify"},
		{"mode", "postgres://u:p@127.0.0.1/xalt", map[string]string{"PGSSLMODE": "verify-full"}, "", "verify"},
		{"host and mode", "postgres://u:p@/xalt", map[string]string{"PGHOST": "192.0.2.2", "PGSSLMODE": "verify-full"}, "", "verify"},
		{"weaker mode", "postgres://u:p@/xalt", map[string]string{"PGHOST": "192.0.2.2", "PGSSLMODE": "require"}, "", "encrypt"},
		{"mode off", "postgres://u:p@/xalt", map[string]string{"PGHOST": "192.0.2.2", "PGSSLMODE": "disable"}, "", "off"},
		{"URL before mode", "postgres://u:p@/xalt?tls=verify", map[string]string{"PGHOST": "192.0.2.2", "PGSSLMODE": "disable"}, "", "verify"},
		{"service", "postgres://u:p@/xalt", map[string]string{"PGSERVICE": "s"}, "[s]\nhost=192.0.2.2\n", "verify"},
		{"service with TLS at once", "postgres://u:p@/xalt", map[string]string{"PGSERVICE": "s"}, "[s]\nhost=192.0.2.2\nsslnegotiation=direct\n", "verify"},
		{"service with mode", "postgres://u:p@/xalt", map[string]string{"PGSERVICE": "s"}, "[s]\nhost=127.0.0.1\nsslmode=verify-full\n", "verify"},
		{"service before mode", "postgres://u:p@/xalt", map[string]string{"PGSERVICE": "s", "PGSSLMODE": "verify-full"}, "[s]\nhost=192.0.2.2\nsslmode=disable\n", "off"},
		{"service with mode empty", "postgres://u:p@/xalt", map[string]string{"PGSERVICE": "s", "PGSSLMODE": "disable"}, "[s]\nhost=192.0.2.2\nsslmode=\n", "verify"},
		{"another service", "postgres://u:p@192.0.2.2/xalt", map[string]string{"PGSERVICE": "s"}, "[s]\nport=1\n[r]\nsslmode=disable\n", "verify"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			for _, name := range []string{"PGHOST", "PGSSLMODE", "PGSERVICE", "PGSERVICEFILE", "PGSSLROOTCERT"} {
				t.Setenv(name, tt.env[name])
			}
			if err := os.WriteFile(filepath.Join(home, ".pg_service.conf"), []byte(tt.service), 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := ParseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			c, err := postgresConfig(a)
			if err != nil {
				t.Fatal(err)
			}
			all := append([]*pgconn.FallbackConfig{{Host: c.Host, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
			for _, f := range all {
				if got := encryption(f.TLSConfig); got != tt.want {
					t.Errorf("to %s: %s, want %s", f.Host, got, tt.want)
				}
			}
		})
	}
}

func encryption(c *tls.Config) string {
	switch {
	case c == nil:
		return "off"
	case c.InsecureSkipVerify:
		return "encrypt"
	}
	return "verify"
}

// myCnf makes a home directory with a ~/.my.cnf.
func myCnf(t *testing.T, text string, mode os.FileMode) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.WriteFile(filepath.Join(home, ".my.cnf"), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestTLSOfMyCnf(t *testing.T) {
	for text, want := range map[string]string{
		"host = 192.0.2.2":      "verify",
		"host = db.example.org": "verify",
		"host = 127.0.0.1":      "off",
		"socket = /run/x/sock":  "off",
		"":                      "off",
	} {
		myCnf(t, "[client]\n"+text+"\n", 0o600)
		a, err := ParseURL("mysql://u:p@/xalt")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.complete(); err != nil {
			t.Fatal(err)
		}
		c, err := mysqlConfig(a)
		if err != nil {
			t.Fatal(err)
		}
		got := "off"
		if c.TLSConfig != "" {
			got = encryption(c.TLS)
			if c.TLS == nil {
				got = "verify" // a configuration of ours, by its name
			}
		}
		if got != want {
			t.Errorf("with %q in ~/.my.cnf: TLS %s, want %s", text, got, want)
		}
	}
}
