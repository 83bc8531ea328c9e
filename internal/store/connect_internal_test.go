package store

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"
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
		"host = 192.0.2.2":                       "verify",
		"host = db.example.org":                  "verify",
		"host = 127.0.0.1":                       "off",
		"socket = /run/x/sock":                   "off",
		"host = 192.0.2.2\nsocket = /run/x/sock": "verify",
		"":                                       "off",
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
		if got := encryption(c.TLS); got != want {
			t.Errorf("with %q in ~/.my.cnf: TLS %s, want %s", text, got, want)
		}
	}
}

// TestMyCnf wants ~/.my.cnf to be read as the clients of MySQL and MariaDB read it.
func TestMyCnf(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	usual := filepath.Join(dir, "usual")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", usual)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	saved := usualSockets
	defer func() { usualSockets = saved }()
	type want struct{ user, password, network, address string }
	for _, tt := range []struct {
		name, url, text string
		there           bool // the usual socket
		want            want
	}{
		{"host and socket", "mysql://u:p@/x", "host=192.0.2.2\nsocket=/s", true, want{"u", "p", "tcp", "192.0.2.2:3306"}},
		{"localhost and socket", "mysql://u:p@/x", "host=localhost\nsocket=/s", true, want{"u", "p", "unix", "/s"}},
		{"socket", "mysql://u:p@/x", "socket=/s", true, want{"u", "p", "unix", "/s"}},
		{"localhost in the URL", "mysql://u:p@localhost/x", "socket=/s", true, want{"u", "p", "unix", "/s"}},
		{"the usual socket", "mysql://u:p@localhost/x", "", true, want{"u", "p", "unix", usual}},
		{"the usual socket without a host", "mysql://u:p@/x", "", true, want{"u", "p", "unix", usual}},
		{"no usual socket", "mysql://u:p@localhost/x", "", false, want{"u", "p", "tcp", "localhost:3306"}},
		{"a port", "mysql://u:p@localhost:3307/x", "socket=/s", true, want{"u", "p", "tcp", "localhost:3307"}},
		{"a port in the file", "mysql://u:p@localhost/x", "port=3307", true, want{"u", "p", "unix", usual}},
		{"a port in the file alone", "mysql://u:p@localhost/x", "port=3307", false, want{"u", "p", "tcp", "localhost:3307"}},
		{"encrypted", "mysql://u:p@localhost/x?tls=require", "socket=/s", true, want{"u", "p", "tcp", "localhost:3306"}},
		{"an address", "mysql://u:p@127.0.0.1/x", "socket=/s\nhost=h", true, want{"u", "p", "tcp", "127.0.0.1:3306"}},
		{"comments", "mysql://h/x", "user = a # b\npassword = 'p#q' # 'r'\nport=3307#x", true, want{"a", "p#q", "tcp", "h:3307"}},
		{"escapes", "mysql://u@h/x", `password = "a\\b\sc\td\"e\q#f"`, true, want{"u", "a\\b c\td\"e\\q#f", "tcp", "h:3306"}},
		{"escapes without quotes", "mysql://u@h/x", `password = \sa\\nb`, true, want{"u", ` a\nb`, "tcp", "h:3306"}},
		{"colon", "mysql://u@h/x", "password : p\npassword=a:b", true, want{"u", "a:b", "tcp", "h:3306"}},
		{"no user", "mysql://h/x", "password=p", true, want{me.Username, "p", "tcp", "h:3306"}},
		{"another user", "mysql://u@h/x", "user=v\npassword=p", true, want{"u", "", "tcp", "h:3306"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			myCnf(t, "[client]\n"+tt.text+"\n[mysqldump]\nuser=w\n", 0o600)
			if usualSockets = []string{filepath.Join(dir, "none")}; tt.there {
				usualSockets = append(usualSockets, usual)
			}
			a, err := ParseURL(tt.url)
			if err == nil {
				err = a.complete()
			}
			if err != nil {
				t.Fatal(err)
			}
			c, err := mysqlConfig(a)
			if err != nil {
				t.Fatal(err)
			}
			if got := (want{c.User, c.Passwd, c.Net, c.Addr}); got != tt.want {
				t.Errorf("%q with %q: %q, want %q", tt.url, tt.text, got, tt.want)
			}
		})
	}
}

// TestMyCnfOfOthers has a ~/.my.cnf that others can read: it matters only if its
// password does.
func TestMyCnfOfOthers(t *testing.T) {
	myCnf(t, "[client]\nuser=u\npassword=p\nport=3307\n", 0o644)
	for url, want := range map[string]error{
		"mysql://u:p@h:3306/x": nil, "mysql://u:p@h/x": nil, "mysql://u:p@/x?socket=/s": nil, "mysql://v@h/x": nil,
		"mysql://u@h/x": ErrPassword, "mysql://h/x": ErrPassword,
	} {
		a, err := ParseURL(url)
		if err == nil {
			err = a.complete()
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", url, err, want)
		}
	}
	if err := os.Chmod(filepath.Join(os.Getenv("HOME"), ".my.cnf"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "xalt_db.conf")
	if err := os.WriteFile(conf, []byte("[MYSQL]\nHOST=localhost\nUSER=u\nDB=x#y\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	saved := usualSockets
	usualSockets = nil
	defer func() { usualSockets = saved }()
	a, err := ReadConf(conf)
	if err == nil {
		err = a.complete()
	}
	if err != nil || a.Database != "x#y" || a.Password != "p" || a.Port != 3307 {
		t.Errorf("with xalt_db.conf: %s, %v", a, err)
	}
}

func TestReadConf(t *testing.T) {
	for text, want := range map[string]string{
		"\ufeff[MYSQL]\nHOST=h\nDB=x\n":             "mysql://h/x",
		"[MYSQL]\nHOST=h\nDB=x\nPORT=3307\n":        "mysql://h:3307/x",
		"[MYSQL]\nHOST=h\nDB=x\nPORT=99999\n":       `PORT is "99999"`,
		"[MYSQL]\nHOST=h\nDB=x\nPORT=0\n":           `PORT is "0"`,
		"[MYSQL]\nHOST=h\nDB=x\nSSL=sometimes\n":    "tls is not",
		"[MYSQL]\nHOST=h\n":                         "DB is missing",
		"[MYSQL]\r\nHOST=h\r\nDB=x # not a comment": "mysql://h/x%20%23%20not%20a%20comment",
	} {
		file := filepath.Join(t.TempDir(), "xalt_db.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := ReadConf(file)
		got := a.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("ReadConf of %q = %s, want %s", text, got, want)
		}
	}
}

// TestPassFile: a password file that others can read is refused if its password is
// taken.
func TestPassFile(t *testing.T) {
	for _, tt := range []struct {
		name, url, line string
		mode            os.FileMode
		env, service    string
		refused         bool
	}{
		{name: "alone", url: "postgres://u@db/x", line: "db:*:*:u:secret", mode: 0o600},
		{name: "readable", url: "postgres://u@db/x", line: "db:*:*:u:secret", mode: 0o640, refused: true},
		{name: "readable, by a socket", url: "postgres://u@/x?socket=/run/p", line: "localhost:*:*:u:secret", mode: 0o604, refused: true},
		{name: "for another host", url: "postgres://u@db/x", line: "other:*:*:u:secret", mode: 0o644},
		{name: "password in the URL", url: "postgres://u:other@db/x", line: "db:*:*:u:secret", mode: 0o644},
		{name: "password in the environment", url: "postgres://u@db/x", line: "db:*:*:u:secret", mode: 0o644, env: "PGPASSWORD=other"},
		{name: "password of a service", url: "postgres://u@db/x", line: "db:*:*:u:secret", mode: 0o644, env: "PGSERVICE=s", service: "password=other"},
		{name: "file of a service", url: "postgres://u@db/x", line: "db:*:*:u:secret", mode: 0o644, env: "PGSERVICE=s", service: "passfile=DIR/passwords", refused: true},
		{name: "file of the environment", url: "postgres://u@db/x", line: "db:*:*:u:secret", mode: 0o644, env: "PGPASSFILE=DIR/passwords", refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			name, value, _ := strings.Cut(strings.ReplaceAll(tt.env, "DIR", home), "=")
			file := ".pgpass"
			if strings.Contains(tt.env+tt.service, "passwords") {
				file = "passwords"
			}
			for f, text := range map[string]string{file: tt.line + "\n", ".pg_service.conf": "[s]\n" + strings.ReplaceAll(tt.service, "DIR", home) + "\n"} {
				if err := os.WriteFile(filepath.Join(home, f), []byte(text), tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			if name != "" {
				t.Setenv(name, value)
			}
			a, err := ParseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			_, err = postgresConfig(a)
			if refused := errors.Is(err, ErrPassword); refused != tt.refused || !refused && err != nil || refused && !strings.Contains(err.Error(), filepath.Join(home, file)) {
				t.Errorf("postgresConfig = %v, want it refused: %v", err, tt.refused)
			}
		})
	}
}
