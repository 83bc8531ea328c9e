package emit

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
)

// Rule keeps or skips the records of runs that match all of its patterns; a
// pattern that is empty matches everything. In patterns * stands for any
// characters, also slashes, and ? for one.
type Rule struct {
	Action string `toml:"action"` // keep or skip
	Path   string `toml:"path"`   // of the executable
	Host   string `toml:"host"`
	User   string `toml:"user"`
}

func (r *Rule) check() error {
	if r.Action != "keep" && r.Action != "skip" {
		return errors.New("action is keep or skip")
	}
	return nil
}

// Keeps reports whether a run is recorded: the first rule that matches says
// so, and without one it is.
func (c *Config) Keeps(path, host, user string) bool {
	for _, r := range c.Rules {
		if (r.Path == "" || Match(r.Path, path)) && (r.Host == "" || Match(r.Host, host)) && (r.User == "" || Match(r.User, user)) {
			return r.Action == "keep"
		}
	}
	return true
}

// Chance is the part of runs that is recorded, 0 to 1.
func (c *Config) Chance() float64 {
	if c.Probability == nil {
		return 1
	}
	return *c.Probability
}

// Sampled reports whether the run is among those that are recorded. It is
// decided by a hash of the UUID, so that everybody who asks decides alike.
func (c *Config) Sampled(uuid string) bool {
	if c.Chance() >= 1 {
		return true
	}
	sum := sha256.Sum256([]byte(uuid))
	return float64(binary.BigEndian.Uint64(sum[:8]))/math.MaxUint64 < c.Chance()
}

// Match reports whether s matches a pattern in which * stands for any
// characters and ? for one byte.
func Match(pattern, s string) bool {
	star, back := -1, 0
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, back = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			back++
			p, i = star+1, back
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
