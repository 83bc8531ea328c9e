package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Filter says which records are stored. Its rules are tried in order and the
// first that matches wins; a record that no rule matches is kept. The nil
// Filter keeps everything.
type Filter struct {
	name  string
	rules []rule
	env   []*regexp.Regexp // nil: all variables
	hash  Hash
}

// rule is one [[rule]] of the file. Every pattern given must match its whole
// text.
type rule struct {
	action   string // KEEP, SKIP or SAMPLE
	percent  float64
	patterns [len(ruleFields)]*regexp.Regexp
}

// What a rule can look at. Rules with package fields speak of packages, all
// others of runs and links; a rule with no field matches both.
var ruleFields = [...]string{"exec_path", "user", "queue", "package_name", "package_path"}

const packageFields = 3 // index of the first of them

type filterFile struct {
	Rule []struct {
		Action      string   `toml:"action"`
		Percent     *float64 `toml:"percent"`
		ExecPath    string   `toml:"exec_path"`
		User        string   `toml:"user"`
		Queue       string   `toml:"queue"`
		PackageName string   `toml:"package_name"`
		PackagePath string   `toml:"package_path"`
	} `toml:"rule"`
	Environment struct {
		Keep []string `toml:"keep"`
	} `toml:"environment"`
}

// ParseFilter reads a filter from TOML text; name is the file's, for messages.
func ParseFilter(text []byte, name string) (*Filter, error) {
	var file filterFile
	dec := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) && len(strict.Errors) > 0 {
			row, col := strict.Errors[0].Position()
			return nil, fmt.Errorf("filter %s:%d:%d: unknown key %q", name, row, col, strings.Join(strict.Errors[0].Key(), "."))
		}
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, col := de.Position()
			return nil, fmt.Errorf("filter %s:%d:%d: %w", name, row, col, err)
		}
		return nil, fmt.Errorf("filter %s: %w", name, err)
	}
	sum := sha256.Sum256(text)
	f := &Filter{name: name}
	copy(f.hash[:], sum[:])
	for i, r := range file.Rule {
		made := rule{action: strings.ToUpper(r.Action), percent: 100}
		switch made.action {
		case "KEEP", "SKIP":
			if r.Percent != nil {
				return nil, fmt.Errorf("filter %s: rule %d: percent goes with action = \"SAMPLE\"", name, i+1)
			}
		case "SAMPLE":
			if r.Percent == nil || !(*r.Percent > 0 && *r.Percent <= 100) { // NaN is neither
				return nil, fmt.Errorf("filter %s: rule %d: SAMPLE needs a percent above 0 and up to 100", name, i+1)
			}
			made.percent = *r.Percent
		default:
			return nil, fmt.Errorf("filter %s: rule %d: action is %q, not KEEP, SKIP or SAMPLE", name, i+1, r.Action)
		}
		for k, text := range [...]string{r.ExecPath, r.User, r.Queue, r.PackageName, r.PackagePath} {
			if text == "" {
				continue
			}
			var err error
			if made.patterns[k], err = whole(text); err != nil {
				return nil, fmt.Errorf("filter %s: rule %d: %s: %w", name, i+1, ruleFields[k], err)
			}
		}
		if made.about(0, packageFields) && made.about(packageFields, len(ruleFields)) {
			return nil, fmt.Errorf("filter %s: rule %d: a rule is about packages or about runs and links, not both", name, i+1)
		}
		f.rules = append(f.rules, made)
	}
	if file.Environment.Keep != nil { // an empty list keeps none
		f.env = make([]*regexp.Regexp, 0, len(file.Environment.Keep))
	}
	for _, text := range file.Environment.Keep {
		re, err := whole(text)
		if err != nil {
			return nil, fmt.Errorf("filter %s: environment: %w", name, err)
		}
		f.env = append(f.env, re)
	}
	return f, nil
}

func whole(text string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil { // such as "a)|(b", which would fit into the brackets
		return nil, err
	}
	return regexp.Compile(`^(?s:` + text + `)$`)
}

func (r *rule) about(from, to int) bool {
	for _, p := range r.patterns[from:to] {
		if p != nil {
			return true
		}
	}
	return false
}

// Decision is what a filter says of one record.
type Decision struct {
	Keep bool
	// Probability is the chance that such a record is kept; a record's own is
	// multiplied by it.
	Probability float64
	Rule        int // from 1; 0: no rule matched
}

// Subject is what a filter looks at: of a run or link its executable, user and
// queue (a link has none), of a package its name and path. UUID is the run's
// or link's, and decides on sampling: a package goes with its run where the
// same percentage holds for both.
type Subject struct {
	UUID        string
	ExecPath    string
	User        string
	Queue       string
	Package     bool
	PackageName string
	PackagePath string
}

// Decide finds the first rule that matches.
func (f *Filter) Decide(s Subject) Decision {
	if f == nil {
		return Decision{Keep: true, Probability: 1}
	}
	values := [...]string{s.ExecPath, s.User, s.Queue, s.PackageName, s.PackagePath}
	for i := range f.rules {
		r := &f.rules[i]
		if r.matches(values, s.Package) {
			d := Decision{Keep: r.action != "SKIP", Probability: 1, Rule: i + 1}
			if r.action == "SAMPLE" {
				d.Probability = r.percent / 100
				d.Keep = sample(s.UUID) < d.Probability
			}
			return d
		}
	}
	return Decision{Keep: true, Probability: 1}
}

func (r *rule) matches(values [len(ruleFields)]string, isPackage bool) bool {
	if isPackage && r.about(0, packageFields) || !isPackage && r.about(packageFields, len(ruleFields)) {
		return false
	}
	for k, p := range r.patterns {
		if p != nil && !p.MatchString(values[k]) {
			return false
		}
	}
	return true
}

// sample maps a UUID to [0, 1), always in the same way.
func sample(uuid string) float64 {
	sum := sha256.Sum256([]byte(uuid))
	return float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53)
}

// KeepEnv reports whether an environment variable is stored.
func (f *Filter) KeepEnv(name string) bool {
	if f == nil || f.env == nil {
		return true
	}
	for _, re := range f.env {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}

// Describe returns one rule as the file has it, in one line.
func (f *Filter) Describe(number int) string {
	if f == nil || number < 1 || number > len(f.rules) {
		return "no rule matches: KEEP"
	}
	r := f.rules[number-1]
	var b strings.Builder
	fmt.Fprintf(&b, "%s: rule %d: %s", f.name, number, r.action)
	if r.action == "SAMPLE" {
		fmt.Fprintf(&b, " %g%%", r.percent)
	}
	for k, p := range r.patterns {
		if p != nil {
			text := strings.TrimSuffix(strings.TrimPrefix(p.String(), `^(?s:`), `)$`)
			fmt.Fprintf(&b, " %s=%q", ruleFields[k], text)
		}
	}
	return b.String()
}
