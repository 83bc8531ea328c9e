package xalt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
)

// Run is a run record: the start record of a program or its end record.
type Run struct {
	RunUUID    string // lower case
	LinkUUID   string // lower case; empty without a watermark
	Syshost    string
	User       string
	Account    string
	JobID      string
	Queue      string // the first of a comma list
	ExecPath   string
	ExecType   string
	HashID     string
	Cwd        string
	Cmdline    string  // JSON as Python's json.dumps prints it
	Container  string  // empty: none
	StartTime  float64 // seconds since 1970, four decimals
	EndTime    float64 // 0 in a start record
	RunTime    float64 // seconds
	SumTime    float64
	NumCores   int64
	NumNodes   int64
	NumThreads int64
	NumGPUs    int64
	SumRuns    int64
	// Probability is the chance with which the producer recorded such a run.
	Probability float64
	ExitStatus  *int64 // from xalt-wrap only
	ExitSignal  *int64

	LibA []byte // raw JSON, see DecodeObjects
	EnvT []byte // raw JSON, see DecodeEnv
}

// Ended reports whether this is the record of a run's end.
func (r *Run) Ended() bool { return r.EndTime > 0 }

func (d *noting) run(list []member) (*Run, error) {
	r := &Run{}
	var cmdline, userT, userDT, linkT, qaT, hash gjson.Result
	for _, m := range list {
		switch m.name {
		case "cmdlineA":
			cmdline = m.value()
		case "hash_id":
			hash = m.value()
		case "libA":
			r.LibA, d.objects = m.raw, m.key
		case "envT":
			r.EnvT, d.others = m.raw, m.key
		case "userT":
			userT = m.value()
		case "userDT":
			userDT = m.value()
		case "xaltLinkT":
			linkT = m.value()
		case "XALT_qaT":
			qaT = m.value()
		}
	}
	r.HashID = d.string(hash, "hash_id")
	if cmdline.IsArray() {
		r.Cmdline = pythonDumps(cmdline)
	} else {
		d.note("cmdlineA")
		r.Cmdline = "[]"
	}
	if !isList(r.LibA) {
		d.note("libA")
	}
	if len(r.EnvT) == 0 || r.EnvT[0] != '{' {
		d.note("envT")
	}
	if err := d.runUser(r, userT, producerEscapesTwice(qaT)); err != nil {
		return nil, err
	}
	if err := d.runNumbers(r, userDT); err != nil {
		return nil, err
	}
	linkT.ForEach(func(key, v gjson.Result) bool {
		if key.Str == "Build_UUID" || key.Str == "Build.UUID" {
			if uuid, ok := canonicalUUID(v.Str); ok {
				r.LinkUUID = uuid
			} else if v.Type != gjson.Null {
				d.note("xaltLinkT.Build_UUID")
			}
		}
		return true
	})
	detach(&r.RunUUID, &r.LinkUUID, &r.Syshost, &r.User, &r.Account, &r.JobID, &r.Queue, &r.ExecPath, &r.ExecType, &r.HashID, &r.Cwd, &r.Container)
	return r, nil
}

// producerEscapesTwice tells XALT itself, which escapes a run's exec_path
// twice, from xalt-wrap, which does it once.
func producerEscapesTwice(qaT gjson.Result) bool {
	twice := true
	if !strings.Contains(qaT.Raw, "xalt-wrap") && strings.IndexByte(qaT.Raw, '\\') < 0 {
		return twice // which a look at each member would come to
	}
	qaT.ForEach(func(key, v gjson.Result) bool {
		if key.Str == "XALT_GIT_VERSION" && strings.HasPrefix(v.Str, "xalt-wrap/") {
			twice = false
		}
		return true
	})
	return twice
}

// runText are the text members of userT that every producer writes.
var runText = [...]string{"userT.syshost", "userT.user", "userT.account", "userT.job_id", "userT.queue", "userT.exec_type", "userT.cwd"}

func (d *noting) runUser(r *Run, userT gjson.Result, escapedTwice bool) error {
	var uuid, path string
	var havePath bool
	fields := [len(runText)]*string{&r.Syshost, &r.User, &r.Account, &r.JobID, &r.Queue, &r.ExecType, &r.Cwd}
	var seen [len(runText)]bool
	userT.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "run_uuid":
			uuid = v.Str
		case "exec_path":
			if v.Type == gjson.String && v.Str != "" {
				path, havePath = rawString(v), true
			}
		case "container":
			r.Container = d.optional(v, "userT.container")
		case "exit_status":
			r.ExitStatus = d.optionalInt(v, "userT.exit_status")
		case "exit_signal":
			r.ExitSignal = d.optionalInt(v, "userT.exit_signal")
		default:
			for i, name := range runText {
				if key.Str == name[len("userT."):] {
					*fields[i] = d.string(v, name)
					seen[i] = true
				}
			}
		}
		return true
	})
	for i, name := range runText {
		if !seen[i] {
			d.note(name)
			*fields[i] = Unknown
		}
	}
	var ok bool
	if r.RunUUID, ok = canonicalUUID(uuid); !ok {
		return fmt.Errorf("userT.run_uuid is no UUID: %.60q", uuid)
	}
	if !havePath {
		return errors.New("no userT.exec_path")
	}
	if escapedTwice {
		if once, ok := unquote(path); ok {
			path = once
		}
	}
	r.ExecPath = Storable(path)
	r.Queue, _, _ = strings.Cut(r.Queue, ",")
	return nil
}

func (d *noting) optionalInt(v gjson.Result, field string) *int64 {
	if v.Type == gjson.Null {
		return nil
	}
	f, ok := number64(v, -maxCount, maxCount)
	if !ok {
		d.note(field)
		return nil
	}
	n := int64(f)
	return &n
}

func (d *noting) runNumbers(r *Run, userDT gjson.Result) error {
	var start, end, runTime, probability, cores, nodes, threads, gpus gjson.Result
	userDT.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "start_time":
			start = v
		case "end_time":
			end = v
		case "run_time":
			runTime = v
		case "probability":
			probability = v
		case "num_cores":
			cores = v
		case "num_nodes":
			nodes = v
		case "num_threads":
			threads = v
		case "num_gpus":
			gpus = v
		case "sum_runs":
			r.SumRuns = d.count(v, "userDT.sum_runs")
		case "sum_times":
			r.SumTime = d.seconds(v, "userDT.sum_times")
		}
		return true
	})
	t, ok := number64(start, 1, MaxTime)
	if !ok {
		return fmt.Errorf("userDT.start_time is no time: %.40q", start.Raw)
	}
	r.StartTime = round4(t)
	r.EndTime = d.seconds(end, "userDT.end_time")
	r.RunTime = d.seconds(runTime, "userDT.run_time")
	if r.Probability, ok = number64(probability, 0, 1); !ok {
		d.note("userDT.probability")
		r.Probability = 1
	}
	r.NumCores = d.count(cores, "userDT.num_cores")
	r.NumNodes = d.count(nodes, "userDT.num_nodes")
	r.NumThreads = d.count(threads, "userDT.num_threads")
	r.NumGPUs = d.count(gpus, "userDT.num_gpus")
	return nil
}
