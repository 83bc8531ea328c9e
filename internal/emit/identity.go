package emit

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"
)

// Unknown stands for what cannot be told.
const Unknown = "unknown"

// NewUUID returns a UUID of version 7 (RFC 9562, section 5.7) for a time. Its
// random bits must differ from all others, and need not be secret: they come
// from the runtime's generator, which the kernel has seeded. To set up that of
// crypto/rand would take a good part of a launch.
func NewUUID(now time.Time) string {
	var u [16]byte
	binary.LittleEndian.PutUint64(u[:], rand.Uint64())  //nolint:gosec // see above
	binary.LittleEndian.PutUint64(u[8:], rand.Uint64()) //nolint:gosec // see above
	ms := now.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0F | 0x70
	u[8] = u[8]&0x3F | 0x80
	var s [36]byte
	hex.Encode(s[:], u[:4])
	s[8] = '-'
	hex.Encode(s[9:], u[4:6])
	s[13] = '-'
	hex.Encode(s[14:], u[6:8])
	s[18] = '-'
	hex.Encode(s[19:], u[8:10])
	s[23] = '-'
	hex.Encode(s[24:], u[10:])
	return string(s[:])
}

// NewPackageID returns the twelve digits that tell the packages of a run apart.
func NewPackageID() string {
	return fmt.Sprintf("%012x", rand.Uint64()>>16) //nolint:gosec // as in NewUUID
}

// IsUUID reports whether s has the form 8-4-4-4-12.
func IsUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !isHex(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// ValidSyshost reports whether a machine's name may be part of a tag and of a
// file's name: [A-Za-z0-9][A-Za-z0-9._-]{0,63}.
func ValidSyshost(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// Host returns the host's name.
func Host() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return Unknown
	}
	return name
}

// Machine returns the machine's name: the configured one; else the variable's;
// else what a pattern of the host name stands for; else the part of the host
// name; else its first part without the digits at its end.
func (c *Config) Machine(host string, getenv func(string) string) string {
	if c.Syshost != "" {
		return c.Syshost
	}
	if c.SyshostEnv != "" {
		if name := getenv(c.SyshostEnv); ValidSyshost(name) {
			return name
		}
	}
	for _, m := range c.SyshostMap {
		if Match(m.Host, host) {
			return m.Name
		}
	}
	parts := strings.Split(host, ".")
	if n := c.SyshostPart; n > 0 && n <= len(parts) && ValidSyshost(parts[n-1]) {
		return parts[n-1]
	}
	name := strings.TrimRight(parts[0], "0123456789-")
	if !ValidSyshost(name) {
		name = parts[0]
	}
	if !ValidSyshost(name) {
		return Unknown
	}
	return name
}

// User returns the name of the effective user: from /etc/passwd, else, on
// machines whose users are elsewhere, from USER or LOGNAME, else the number.
func User(getenv func(string) string) string { return userName("/etc/passwd", os.Geteuid(), getenv) }

// maxPasswd bounds how much of /etc/passwd is read, in bytes.
const maxPasswd = 4 << 20

func userName(passwd string, uid int, getenv func(string) string) string {
	id := strconv.Itoa(uid)
	if f, err := os.Open(passwd); err == nil {
		text, _ := io.ReadAll(io.LimitReader(f, maxPasswd))
		f.Close()
		for line := range bytes.Lines(text) {
			fields := bytes.SplitN(line, []byte(":"), 4)
			if len(fields) == 4 && string(fields[2]) == id && len(fields[0]) > 0 {
				return string(fields[0])
			}
		}
	}
	for _, name := range [...]string{"USER", "LOGNAME"} {
		if v := getenv(name); v != "" {
			return v
		}
	}
	return id
}
