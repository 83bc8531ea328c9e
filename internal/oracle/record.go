package oracle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// unknown is the default of text.
const unknown = "unknown"

// maxSeconds is a day before the end of the year 9999, which leaves room for every
// time zone.
const maxSeconds = 253402300799 - 86400

// pair is a library or object file (path, hash) or an environment variable
// (name, value).
type pair [2]string

// run is a run record.
type run struct {
	digest                                              [32]byte
	uuid, syshost, user, execPath                       string
	rawExecPath                                         string // as it is in the record
	jobID, account, execType, queue, cwd, cmdline, hash string
	linkUUID, container                                 *string
	start, end, runTime, probability, sumTime           float64
	cores, nodes, threads, gpus, sumRuns                int64
	libraries                                           []pair
	env                                                 []pair
}

// link is a link record.
type link struct {
	digest                                              [32]byte
	uuid, hash, program, path, line, cwd, user, syshost string
	epoch                                               float64
	execPath                                            string
	objects                                             []pair
	functions                                           []string
}

// pkg is a package record.
type pkg struct{ runUUID, program, name, version, path string }

var errField = errors.New("needed field missing or bad")

// decode reads a record's text. It returns a *run, *link or *pkg, or an error
// that is errJSON or errField, if it is none.
func decode(kind, text string) (any, error) {
	v, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	o, ok := v.(object)
	if !ok {
		return nil, fmt.Errorf("%w: no object", errJSON)
	}
	digest := sha256.Sum256([]byte(text))
	switch kind {
	case "run":
		r := &run{digest: digest}
		return r, r.decode(o)
	case "link":
		l := &link{digest: digest}
		return l, l.decode(o)
	case "pkg":
		p := &pkg{}
		return p, p.decode(o)
	}
	return nil, fmt.Errorf("%w: kind %s", errField, kind)
}

func (r *run) decode(o object) error {
	userT, userDT, linkT, qaT := o.member("userT"), o.member("userDT"), o.member("xaltLinkT"), o.member("XALT_qaT")
	r.syshost, r.user, r.hash = userT.text("syshost"), userT.text("user"), o.text("hash_id")
	r.jobID, r.account, r.execType = userT.text("job_id"), userT.text("account"), userT.text("exec_type")
	r.cwd, r.container = userT.text("cwd"), userT.optional("container")
	r.end, r.runTime, r.sumTime = userDT.seconds("end_time"), userDT.seconds("run_time"), userDT.seconds("sum_times")
	r.cores, r.nodes, r.threads = userDT.count("num_cores"), userDT.count("num_nodes"), userDT.count("num_threads")
	r.gpus, r.sumRuns, r.probability = userDT.count("num_gpus"), userDT.count("sum_runs"), 1
	r.queue, _, _ = strings.Cut(userT.text("queue"), ",")
	if p, ok := toNumber(userDT["probability"]); ok && 0 <= p && p <= 1 {
		r.probability = p
	}
	args, _ := o["cmdlineA"].([]value)
	r.cmdline = pythonJSON(args)
	for _, name := range []string{"Build_UUID", "Build.UUID"} {
		if id, ok := uuidOf(linkT[name]); ok && r.linkUUID == nil {
			r.linkUUID = &id
		}
	}
	r.libraries = pairs(o["libA"])
	for _, name := range sortedKeys(o.member("envT")) {
		if val, ok := o.member("envT")[name].(string); ok {
			r.env = append(r.env, pair{storable(name), storable(val)})
		}
	}

	var ok bool
	if r.uuid, ok = uuidOf(userT["run_uuid"]); !ok {
		return fmt.Errorf("%w: run_uuid", errField)
	}
	execPath, _ := userT["exec_path"].(string)
	if execPath == "" {
		return fmt.Errorf("%w: exec_path", errField)
	}
	r.rawExecPath = storable(execPath)
	if version, _ := qaT["XALT_GIT_VERSION"].(string); !strings.HasPrefix(version, "xalt-wrap/") {
		execPath = unescapeOnce(execPath)
	}
	r.execPath = storable(execPath)
	if r.start, ok = time4(userDT["start_time"]); !ok {
		return fmt.Errorf("%w: start_time", errField)
	}
	return nil
}

// unescapeOnce undoes one JSON escaping of a text. A text that is not the
// inside of a JSON string stays as it is.
func unescapeOnce(s string) string {
	p := parser{text: s + `"`}
	plain, err := p.str()
	if err != nil || p.at != len(p.text) {
		return s
	}
	return plain
}

func (l *link) decode(o object) error {
	resultT := o.member("resultT")
	l.hash, l.program, l.path = resultT.text("hash_id"), resultT.text("link_program"), resultT.text("link_path")
	l.cwd, l.user, l.syshost = resultT.text("wd"), resultT.text("build_user"), resultT.text("build_syshost")
	l.line = unknown
	switch line := o["link_line"].(type) {
	case []value:
		l.line = storable(strings.Join(texts(line), " "))
	case string:
		l.line = storable(line)
	}
	l.objects = pairs(o["linkA"])
	functions, _ := o["function"].([]value)
	for _, f := range texts(functions) {
		l.functions = append(l.functions, storable(f))
	}

	var ok bool
	if l.uuid, ok = uuidOf(resultT["uuid"]); !ok {
		return fmt.Errorf("%w: uuid", errField)
	}
	execPath, _ := resultT["exec_path"].(string)
	if execPath == "" {
		return fmt.Errorf("%w: exec_path", errField)
	}
	l.execPath = storable(execPath)
	if l.epoch, ok = toNumber(resultT["build_epoch"]); !ok || l.epoch < 1 || l.epoch > maxSeconds {
		return fmt.Errorf("%w: build_epoch", errField)
	}
	return nil
}

func (p *pkg) decode(o object) error {
	id, ok := uuidOf(o["xalt_run_uuid"])
	if !ok {
		return fmt.Errorf("%w: xalt_run_uuid", errField)
	}
	if name, _ := o["package_name"].(string); name == "" {
		return fmt.Errorf("%w: package_name", errField)
	}
	*p = pkg{id, o.text("program"), o.text("package_name"), o.text("package_version"), o.text("package_path")}
	return nil
}

// member returns a member that is an object, or an empty one.
func (o object) member(name string) object {
	m, _ := o[name].(object)
	return m
}

// text returns a member that is a string in storable form, a number or a word as
// it is written, or the default.
func (o object) text(name string) string {
	switch v := o[name].(type) {
	case string:
		return storable(v)
	case number:
		if plainNumber.MatchString(string(v)) { // and not NaN
			return string(v)
		}
	case bool:
		return fmt.Sprint(v)
	}
	return unknown
}

// optional returns a member's text, or nil if it is missing, null or empty.
func (o object) optional(name string) *string {
	if o[name] == nil || o[name] == "" {
		return nil
	}
	s := o.text(name)
	return &s
}

// count returns a number that counts something, rounded, or 0 if it is missing,
// negative or beyond what a double counts exactly.
func (o object) count(name string) int64 {
	f, ok := toNumber(o[name])
	if !ok || f < 0 || f > 1<<53 {
		return 0
	}
	return int64(math.Round(f))
}

// seconds returns a duration or time to four decimals, or 0 if it is missing,
// negative or out of range.
func (o object) seconds(name string) float64 {
	f, ok := toNumber(o[name])
	if !ok || f < 0 || f > maxSeconds {
		return 0
	}
	return round4(f)
}

func round4(f float64) float64 { return math.Round(f*1e4) / 1e4 }

// time4 reads a time of at least 1 to four decimals.
func time4(v value) (float64, bool) {
	f, ok := toNumber(v)
	return round4(f), ok && f >= 1 && f <= maxSeconds
}

var uuidText = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

func uuidOf(v value) (string, bool) {
	s, _ := v.(string)
	return strings.ToLower(s), uuidText.MatchString(s)
}

// texts returns the strings of a list.
func texts(list []value) []string {
	var found []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			found = append(found, s)
		}
	}
	return found
}

// pairs reads libA or linkA: lists of path and hash, without those whose hash
// is "unknown", each once.
func pairs(v value) []pair {
	list, _ := v.([]value)
	seen := map[pair]bool{}
	var found []pair
	for _, item := range list {
		entry, _ := item.([]value)
		words := texts(entry)
		if len(words) != 2 || words[1] == unknown {
			continue
		}
		p := pair{storable(strings.TrimRight(words[0], " \r\n")), storable(words[1])}
		if p[0] != "" && !seen[p] {
			seen[p] = true
			found = append(found, p)
		}
	}
	return found
}

// libType tells the kind of a library by the last suffix that is not a number.
func libType(path string) string {
	base := path[strings.LastIndex(path, "/")+1:]
	for _, suffix := range slices.Backward(strings.Split(base, ".")[1:]) {
		if strings.Trim(suffix, "0123456789") == "" && suffix != "" {
			continue
		}
		if suffix == "so" || suffix == "a" || suffix == "o" {
			return suffix
		}
		break
	}
	return "--"
}
