package store

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrPassword is wrapped when a password stands where others can read it.
var ErrPassword = errors.New("a password does not belong here")

// Address says how to reach a database server. SQLite has a path only.
type Address struct {
	Kind     string // sqlite, postgres or mysql
	Path     string // sqlite: the file
	Host     string // a name or an address; empty with Socket
	Port     int    // 0: the default
	Socket   string // path of the socket; postgres: of the directory with it
	User     string
	Password string
	Database string
	// TLS is "verify" (certificate and name are checked), "require" (encrypted;
	// with CAFile the certificate is checked, but not the name), or "off". Empty:
	// verify for a host that is not this one, off for this one.
	TLS    string
	CAFile string // certificates to trust instead of the system's
}

// String returns the address without its password.
func (a Address) String() string {
	if a.Kind == "sqlite" {
		return "sqlite:" + a.Path
	}
	u := url.URL{Scheme: a.Kind, Host: a.Host, Path: "/" + a.Database}
	if a.Port != 0 {
		u.Host = net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	} else if strings.Contains(a.Host, ":") {
		u.Host = "[" + a.Host + "]"
	}
	if a.User != "" {
		u.User = url.User(a.User)
	}
	if a.Socket != "" {
		u.RawQuery = url.Values{"socket": {a.Socket}}.Encode()
	}
	return u.String()
}

// ParseURL reads a database URL:
//
//	sqlite:FILE
//	postgres://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE[?socket=DIR&tls=verify|require|off&ca=FILE]
//	mysql://[USER[:PASSWORD]@][HOST[:PORT]]/DATABASE[?socket=FILE&tls=verify|require|off&ca=FILE]
//
// host= is another name for socket= if its value begins with "/", otherwise it
// is the host. The error wraps [ErrURL] and holds nothing of the URL but its
// scheme: a password with a character that should be written as %XX can end up
// in any part of it.
func ParseURL(text string) (Address, error) {
	if path, ok := strings.CutPrefix(text, "sqlite:"); ok {
		switch {
		case path == "":
			return Address{}, fmt.Errorf("%w: no file name behind \"sqlite:\"", ErrURL)
		case strings.HasPrefix(path, "//") && !strings.HasPrefix(path, "///"):
			return Address{}, fmt.Errorf("%w: a file has no host: it is sqlite:FILE, without \"//\"", ErrURL)
		case path == ":memory:" || strings.HasPrefix(path, "file::memory:"):
			return Address{}, fmt.Errorf("%w: a database in memory would be gone at the end; name a file", ErrURL)
		}
		return Address{Kind: "sqlite", Path: path}, nil
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return Address{}, fmt.Errorf("%w: it is not like sqlite:xalt.db or postgres://user@host/database", ErrURL)
	}
	a := Address{}
	switch scheme {
	case "postgres", "postgresql":
		a.Kind = "postgres"
	case "mysql", "mariadb":
		a.Kind = "mysql"
	default:
		return a, fmt.Errorf("%w: unknown kind %q", ErrURL, scheme)
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 && strings.ContainsAny(rest[end:], "@#") {
		return a, fmt.Errorf("%w: a \"/\", \"?\" or \"#\" in a password, and an \"@\" or \"#\" behind the host, is written %%2F, %%3F, %%23, %%40", ErrURL)
	}
	u, err := url.Parse(text)
	if err != nil {
		return a, fmt.Errorf("%w: it is not like %s://user@host/database", ErrURL, scheme)
	}
	a.Host, a.User, a.Database = u.Hostname(), u.User.Username(), strings.TrimPrefix(u.Path, "/")
	a.Password, _ = u.User.Password()
	if port := u.Port(); port != "" {
		if a.Port, err = strconv.Atoi(port); err != nil || a.Port < 1 || a.Port > 65535 {
			return a, fmt.Errorf("%w: the port is no number from 1 to 65535", ErrURL)
		}
	}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return a, fmt.Errorf("%w: its options are not like ?tls=verify&ca=FILE", ErrURL)
	}
	for key, values := range options {
		value := values[len(values)-1]
		switch key {
		case "socket":
			a.Socket = value
		case "host":
			if strings.HasPrefix(value, "/") {
				a.Socket = value
			} else {
				a.Host = unbracketed(value)
			}
		case "tls":
			a.TLS = value
		case "ca":
			a.CAFile = value
		default:
			return a, fmt.Errorf("%w: unknown option; there are socket, host, tls and ca", ErrURL)
		}
	}
	if a.Database == "" {
		return a, fmt.Errorf("%w: it names no database", ErrURL)
	}
	return a, a.checkTLS()
}

func (a *Address) checkTLS() error {
	switch a.TLS {
	case "verify", "require":
	case "":
		if a.CAFile != "" && a.Socket == "" {
			a.TLS = "verify" // on this host, too: why else would it be named
		}
	case "off":
		if a.CAFile != "" {
			return fmt.Errorf("%w: ca= is of no use with tls=off", ErrURL)
		}
	default:
		return fmt.Errorf("%w: tls is not verify, require or off", ErrURL)
	}
	return nil
}

// tls is what TLS stands for. The host must be known: it need not be in the URL.
func (a *Address) tls() string {
	switch {
	case a.TLS != "":
		return a.TLS
	case a.Socket != "" || local(a.Host):
		return "off"
	}
	return "verify"
}

// local tells this host: a loopback address, the directory of a socket, or nothing.
func local(host string) bool {
	if host == "" || host == "localhost" || strings.HasPrefix(host, "/") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// unbracketed returns an IPv6 address that is written as in a URL without its
// brackets.
func unbracketed(host string) string {
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.Contains(host, ":") {
		return strings.TrimSuffix(inner, "]")
	}
	return host
}

// ReadConf reads XALT's own xalt_db.conf: an INI file with HOST, USER, PASSWD
// (base64) and DB in the section MYSQL, and PORT and SSL (verify, require or
// off) besides. Others than its owner must not be able to read it.
func ReadConf(name string) (Address, error) {
	a := Address{Kind: "mysql"}
	values, exposed, err := readINI(name, "mysql", false)
	if err = errors.Join(err, exposed); err != nil {
		return a, err
	}
	for key, value := range values {
		switch key {
		case "host":
			a.Host = value
		case "user":
			a.User = value
		case "db":
			a.Database = value
		case "passwd":
			password, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				return a, fmt.Errorf("%s: PASSWD is not base64", name)
			}
			a.Password = string(password)
		case "port":
			if a.Port, err = readPort(value); err != nil {
				return a, fmt.Errorf("%s: PORT is %w", name, err)
			}
		case "ssl":
			a.TLS = value
		}
	}
	if a.Host == "" && a.Socket == "" || a.Database == "" {
		return a, fmt.Errorf("%s: HOST or DB is missing in the section MYSQL", name)
	}
	if strings.HasPrefix(a.Host, "/") {
		a.Socket, a.Host = a.Host, ""
	}
	a.Host = unbracketed(a.Host)
	return a, a.checkTLS()
}

// usualSockets are where MySQL and MariaDB listen on Debian, Red Hat and SUSE. The
// one in /tmp is not among them: there anybody can listen.
var usualSockets = []string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/run/mysql/mysql.sock"}

// complete fills in what the address does not say as the clients of MySQL and
// MariaDB do: from ~/.my.cnf, by the name that the user has here, and for
// localhost by a socket. (pgx reads ~/.pgpass itself.)
func (a *Address) complete() error {
	if a.Kind != "mysql" {
		return nil
	}
	values, err := a.myCnf()
	if err != nil {
		return err
	}
	if a.User == "" {
		a.User = values["user"]
	}
	if a.User == "" {
		if u, err := user.Current(); err == nil {
			a.User = u.Username
		}
	}
	if a.Password == "" && (values["user"] == "" || values["user"] == a.User) {
		a.Password = cmp.Or(values["password"], values["passwd"])
	}
	port := a.Port
	if a.Host == "" && a.Socket == "" {
		a.Host = values["host"]
	}
	if a.Port == 0 && values["port"] != "" {
		if a.Port, err = readPort(values["port"]); err != nil {
			return fmt.Errorf("~/.my.cnf: port is %w", err)
		}
	}
	// Who wants TLS, or names a port, does not mean the socket.
	if a.Socket == "" && (a.Host == "" || a.Host == "localhost") && port == 0 && a.tls() == "off" {
		a.Socket = values["socket"]
		for _, path := range usualSockets {
			if info, err := os.Stat(path); a.Socket == "" && err == nil && info.Mode()&fs.ModeSocket != 0 {
				a.Socket = path
			}
		}
	}
	return nil
}

// myCnf reads ~/.my.cnf for what is missing. A file that others can read is refused
// only if its password is needed.
func (a *Address) myCnf() (map[string]string, error) {
	whole := a.User != "" && a.Password != "" && (a.Socket != "" || a.Host != "")
	if whole && (a.Socket != "" || a.Port != 0) {
		return nil, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, nil //nolint:nilerr // no home, nothing to complete
	}
	values, exposed, err := readINI(filepath.Join(home, ".my.cnf"), "client", true)
	switch {
	case errors.Is(err, fs.ErrNotExist), err != nil && whole: // the port has a default
		return nil, nil
	case err == nil && a.Password == "" && (a.User == "" || values["user"] == "" || values["user"] == a.User):
		err = exposed
	}
	return values, err
}

// readPort reads a port; the error is what it is instead.
func readPort(text string) (int, error) {
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, fmt.Errorf("%q, not a number from 1 to 65535", text)
	}
	return port, nil
}

// readINI reads the keys, in lower case, of one section, whose name is in lower
// case. A file with a password must be its owner's alone: exposed is the error if
// it is not. option is for the syntax of MySQL's option files (MySQL manual,
// section "Using Option Files"), else it is that of XALT's file.
func readINI(name, section string, option bool) (values map[string]string, exposed, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	values = make(map[string]string)
	current, separators := "", "=:"
	if option {
		separators = "="
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff")) // editors on Windows begin a file with it
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		if option {
			line = uncommented(line)
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			current = strings.ToLower(strings.TrimSpace(line[1 : len(line)-1]))
			continue
		}
		at := strings.IndexAny(line, separators)
		if at < 0 || current != section {
			continue
		}
		value := strings.TrimSpace(line[at+1:])
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		if option {
			value = optionEscapes.Replace(value)
		}
		values[strings.ToLower(strings.TrimSpace(line[:at]))] = value
	}
	if err := lines.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	if values["passwd"]+values["password"] != "" {
		exposed = exposedFile(name, info)
	}
	return values, exposed, nil
}

// exposedFile is the error of a file with a password that others than its owner can
// read.
func exposedFile(name string, info fs.FileInfo) error {
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s holds one and can be read by others (mode %04o): chmod 600", ErrPassword, name, info.Mode().Perm())
}

// optionEscapes are those of an option file's values, quoted or not. A backslash
// before anything else is one.
var optionEscapes = strings.NewReplacer(`\\`, "\\", `\n`, "\n", `\t`, "\t", `\r`, "\r", `\b`, "\b", `\s`, " ", `\"`, `"`, `\'`, "'")

// uncommented cuts the comment off a line of an option file: what follows a "#"
// that does not stand in quotes.
func uncommented(line string) string {
	var quote rune
	escaped := false
	for i, r := range line {
		switch {
		case (r == '\'' || r == '"') && !escaped:
			switch quote {
			case 0:
				quote = r
			case r:
				quote = 0
			}
		case r == '#' && quote == 0:
			return strings.TrimSpace(line[:i])
		}
		escaped = quote != 0 && r == '\\' && !escaped
	}
	return line
}
