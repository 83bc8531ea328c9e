package emit

import (
	"slices"
	"strings"
)

// hidden replaces a secret.
const hidden = "***"

// secretFlags are flags, without dashes and in lower case, whose value is a
// secret whatever the program.
func secretFlags() []string {
	return []string{
		"password", "passwd", "pass", "passphrase", "pwd", "token", "secret", "api-key", "apikey", "api_key", "access-key", "access_key",
		"secret-key", "secret_key", "secret-access-key", "client-secret", "auth-token", "access-token", "bearer", "private-key",
		"db-password", "http-password", "proxy-password", "ftp-password", "storepass", "keypass", "passin", "passout", "proxy-user",
	}
}

// secretWords mark a variable as secret, in NAME=VALUE among arguments and in
// the environment. A word stands alone or between underscores.
func secretWords() []string {
	return []string{"PASSWORD", "PASSWD", "PASSPHRASE", "PASS", "TOKEN", "SECRET", "SECRETS", "APIKEY", "PWD", "CREDENTIAL", "CREDENTIALS", "COOKIE"}
}

// A tool reads secrets from short flags.
type tool struct {
	names    []string
	attached []string // -pSECRET only: -p alone asks for it
	flags    []string // -u SECRET and -uSECRET
	partial  []string // the same, and only what follows the colon or % is secret
}

func secretTools() []tool {
	return []tool{
		{names: []string{"mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlcheck", "mysqlshow", "mariadb", "mariadb-dump", "mariadb-admin", "mariadb-import", "mariadb-check"}, attached: []string{"-p"}},
		{names: []string{"sshpass", "docker", "podman", "mongo", "mongosh", "mongodump", "mongoimport"}, flags: []string{"-p"}},
		{names: []string{"curl"}, flags: []string{"-b", "--cookie"}, partial: []string{"-u", "--user", "-U", "--proxy-user"}},
		{names: []string{"redis-cli"}, flags: []string{"-a"}},
		{names: []string{"ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldapwhoami"}, flags: []string{"-w"}},
		{names: []string{"smbclient", "smbget", "rpcclient"}, partial: []string{"-U", "--user"}},
		{names: []string{"zip", "unzip", "ipmitool"}, flags: []string{"-P"}},
		{names: []string{"7z", "7za", "7zr"}, attached: []string{"-p"}},
		{names: []string{"sqlcmd", "bcp", "rdesktop", "xfreerdp"}, flags: []string{"-P", "-p"}},
		{names: []string{"openssl", "gpg", "gpg2"}, flags: []string{"-pass", "-k", "-K"}},
	}
}

// redactor knows what is secret at the place of a command line that it has
// reached.
type redactor struct {
	flags []string
	words []string
	tools []tool
	tool  *tool
	next  func(string) string // what to do with the next argument
}

func hideAll(string) string { return hidden }

// hideAfter keeps the user's name of user:password and user%password.
func hideAfter(s string) string {
	if i := strings.IndexAny(s, ":%"); i >= 0 {
		return s[:i+1] + hidden
	}
	return s
}

// Redact returns args without their secrets: values of flags such as
// --password, of short flags of tools that are known for them, of variables
// that are named like a secret, of HTTP headers for authorization, and
// passwords in URLs.
func (c *Config) Redact(args []string) []string {
	if c.NoRedact {
		return args
	}
	r := redactor{flags: secretFlags(), words: secretWords(), tools: secretTools()}
	for _, f := range c.RedactFlags {
		r.flags = append(r.flags, strings.ToLower(strings.TrimLeft(f, "-")))
	}
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = r.argument(a)
	}
	return out
}

func (r *redactor) argument(a string) string {
	if r.next != nil {
		hide := r.next
		r.next = nil
		return hide(a)
	}
	if !strings.HasPrefix(a, "-") {
		if s, ok := r.assignments(a); ok {
			return s
		}
		if t := r.named(a); t != nil {
			r.tool = t
		}
		return r.text(a)
	}
	if a == "-genv" || a == "--genv" || a == "-env" { // Hydra's: name and value are two arguments
		r.next = r.variable
		return a
	}
	name, value, attached := strings.Cut(a, "=")
	if bare := strings.ToLower(strings.TrimLeft(name, "-")); slices.Contains(r.flags, bare) || len(bare) > 1 && strings.HasPrefix(a, "--") && r.secretName(strings.ReplaceAll(bare, "-", "_")) {
		if attached {
			return name + "=" + hidden
		}
		r.next = hideAll
		return a
	}
	if r.tool != nil {
		if s, ok := r.toolFlag(a); ok {
			return s
		}
	}
	if attached {
		if s, ok := r.assignments(value); ok { // --export=DB_PASSWORD=x
			return name + "=" + s
		}
		return name + "=" + r.text(value)
	}
	return r.text(a)
}

// variable is a variable's name, whose value comes next.
func (r *redactor) variable(name string) string {
	if s, ok := r.assignments(name); ok {
		return s
	}
	if r.secretName(name) {
		r.next = hideAll
	}
	return name
}

// assignments hides the value of a variable that is named like a secret, alone or in
// a list as of srun's --export: NAME=VALUE,NAME=VALUE. What follows it could be more
// of the value.
func (r *redactor) assignments(list string) (string, bool) {
	for from := 0; ; {
		item, _, more := strings.Cut(list[from:], ",")
		if name, value, ok := strings.Cut(item, "="); ok && value != "" && r.secretName(name) {
			return list[:from+len(name)+1] + hidden, true
		}
		if !more {
			return "", false
		}
		from += len(item) + 1
	}
}

func (r *redactor) named(a string) *tool {
	base := a[strings.LastIndexByte(a, '/')+1:]
	for i := range r.tools {
		if slices.Contains(r.tools[i].names, base) {
			return &r.tools[i]
		}
	}
	return nil
}

// toolFlag deals with the tool's own flags.
func (r *redactor) toolFlag(a string) (string, bool) {
	for _, f := range r.tool.attached {
		if len(a) > len(f) && strings.HasPrefix(a, f) {
			return f + hidden, true
		}
	}
	both := func(flags []string, hide func(string) string) (string, bool) {
		for _, f := range flags {
			if a == f {
				r.next = hide
				return a, true
			}
			if long := strings.HasPrefix(f, "--"); long && strings.HasPrefix(a, f+"=") {
				return f + "=" + hide(a[len(f)+1:]), true
			} else if !long && len(f) == 2 && strings.HasPrefix(a, f) && !strings.HasPrefix(a, "--") {
				return f + hide(a[2:]), true
			}
		}
		return "", false
	}
	if s, ok := both(r.tool.flags, hideAll); ok {
		return s, true
	}
	return both(r.tool.partial, hideAfter)
}

// secretName reports whether a variable is named like a secret.
func (r *redactor) secretName(name string) bool {
	if name == "PWD" || name == "OLDPWD" {
		return false
	}
	upper := strings.ToUpper(name)
	if strings.HasSuffix(upper, "API_KEY") || strings.HasSuffix(upper, "ACCESS_KEY") || strings.HasSuffix(upper, "PRIVATE_KEY") {
		return true
	}
	for part := range strings.SplitSeq(upper, "_") {
		if slices.Contains(r.words, part) {
			return true
		}
	}
	return strings.HasSuffix(upper, "PASSWORD") || strings.HasSuffix(upper, "PASSWD")
}

// text hides what is secret within an argument: passwords in URLs, secrets in
// their queries, and headers.
func (r *redactor) text(s string) string {
	if lower := strings.ToLower(s); strings.Contains(lower, "authorization:") || strings.Contains(lower, "x-api-key:") || strings.Contains(lower, "private-token:") {
		return s[:strings.IndexByte(s, ':')+1] + " " + hidden
	}
	from := 0
	for {
		i := strings.Index(s[from:], "://")
		if i < 0 {
			break
		}
		start := from + i + len("://")
		end := start + len(s[start:])
		if j := strings.IndexAny(s[start:], "/?# \t\n\"'"); j >= 0 {
			end = start + j
		}
		from = start
		if at := strings.LastIndexByte(s[start:end], '@'); at >= 0 {
			if colon := strings.IndexByte(s[start:start+at], ':'); colon >= 0 {
				s = s[:start+colon+1] + hidden + s[start+at:]
			}
		}
	}
	if q := strings.IndexByte(s, '?'); q >= 0 && strings.Contains(s[:q], "://") {
		parts := strings.Split(s[q+1:], "&")
		for i, p := range parts {
			if name, value, ok := strings.Cut(p, "="); ok && value != "" && (r.secretName(name) || strings.EqualFold(name, "sig") || strings.EqualFold(name, "key")) {
				parts[i] = name + "=" + hidden
			}
		}
		s = s[:q+1] + strings.Join(parts, "&")
	}
	return s
}
