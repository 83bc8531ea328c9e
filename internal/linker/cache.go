package linker

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The cache holds what compilers and linkers said of themselves, one small file
// for each question. It is a directory that only the user can write, or there is
// none. An answer is kept under the hash of the question, which includes device,
// inode, size and time of the program that was asked, so that a new version is
// asked again.

const (
	maxAnswer  = 64 << 10
	cacheLines = "\n"
)

// cacheDir returns the directory, made if need be, or "".
func (c *Config) cacheDir() string {
	var tries []string
	if c.CacheDir != "" {
		tries = append(tries, c.CacheDir)
	} else {
		if dir := c.getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
			tries = append(tries, filepath.Join(dir, "xalt-wrap"))
		} else if home := c.getenv("HOME"); filepath.IsAbs(home) {
			tries = append(tries, filepath.Join(home, ".cache", "xalt-wrap"))
		}
		tries = append(tries, filepath.Join(c.tempDir(), "xalt-wrap-"+strconv.Itoa(os.Geteuid())))
	}
	for _, dir := range tries {
		if private(dir) {
			return dir
		}
		// A home may lack .cache, but a home that is not there is not made.
		_ = os.Mkdir(filepath.Dir(dir), 0o700)
		if os.Mkdir(dir, 0o700) == nil && private(dir) {
			return dir
		}
	}
	return ""
}

// private reports whether dir is a directory, not a link to one, that belongs to
// us and that nobody else can enter.
func private(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

func (c *Config) tempDir() string {
	if dir := c.getenv("TMPDIR"); filepath.IsAbs(dir) {
		return dir
	}
	return "/tmp"
}

func cacheName(key []string) string {
	h := sha256.New()
	for _, k := range key {
		h.Write([]byte(strconv.Itoa(len(k)) + " " + k + cacheLines))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func (c *Config) cached(key []string) (value string, ok bool) {
	dir := c.cacheDir()
	if dir == "" {
		return "", false
	}
	text, err := readLimited(filepath.Join(dir, cacheName(key)), maxAnswer)
	if err != nil {
		return "", false
	}
	// A file that was not written to its end lacks the line end.
	return strings.CutSuffix(string(text), cacheLines)
}

func (c *Config) remember(key []string, value string) {
	dir := c.cacheDir()
	if dir == "" || len(value) >= maxAnswer {
		return
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return
	}
	_, err = f.WriteString(value + cacheLines)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, cacheName(key)))
	}
	if err != nil {
		os.Remove(f.Name())
	}
}
