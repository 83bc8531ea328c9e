package emit

import (
	"fmt"
	"strconv"
	"time"

	"xaltpipe/internal/xalt"
)

// Version is xalt-wrap's, and says in a record who made it.
const Version = "0.1.0"

// Producer is the value of XALT_qaT.XALT_GIT_VERSION: a reader knows by its
// beginning that exec_path is escaped once only.
const Producer = "xalt-wrap/" + Version

// crcMember is how a record begins; [xalt.Split] writes the checksum.
const crcMember = `{"crc":"0x0000"`

// Library is a library of a run with its SHA-1, or "0" if none was computed.
type Library struct{ Path, Hash string }

// Process is an ancestor of a run.
type Process struct {
	Name, Path string
	PID        int
	Args       []string
}

// Measure is the time that a step took.
type Measure struct {
	Name string
	Time time.Duration
}

// Run is what a start record and an end record say. Zero numbers are unknown.
type Run struct {
	UUID      string
	Syshost   string
	User      string
	Args      []string // redacted already
	Exec      string   // absolute path
	ExecType  string   // binary or script
	ExecHash  string   // SHA-1, or "unknown"
	ExecTime  time.Time
	Cwd       string
	Container string // image, empty if there is none
	Inside    bool   // Exec is a path in there
	Libraries []Library
	Ancestors []Process
	Env       []Variable
	Watermark []Variable // the build's fields in XALT's order
	Job       Job

	Start time.Time
	Now   time.Time // when the record was made
	End   time.Time // zero in a start record
	// Exited is false if nobody saw how the program ended.
	Exited         bool
	Status, Signal int
	Probability    float64
	Tasks, Threads int
	Nodes, GPUs    int
	Sampling       bool
	Measured       []Measure
}

// StartKey and EndKey are the keys of a run's records, [PkgKey] and [SkipKey]
// those of others.
func StartKey(uuid string) string { return "run_strt_" + uuid }

// EndKey returns the key of a run's end record.
func EndKey(uuid string) string { return "run_fini_" + uuid }

// PkgKey returns the key of a package record; id are twelve hexadecimal digits.
func PkgKey(uuid, id string) string { return "pkg_" + uuid + "_" + id }

// SkipKey returns the key of a skip record.
func SkipKey(uuid string) string { return "skip_" + uuid }

// object writes a JSON object in ASCII.
type object struct {
	b     []byte
	first bool
}

func (o *object) key(k string) {
	if !o.first {
		o.b = append(o.b, ',')
	}
	o.first = false
	o.b = xalt.AppendString(o.b, k)
	o.b = append(o.b, ':')
}

func (o *object) open(k string)    { o.key(k); o.b = append(o.b, '{'); o.first = true }
func (o *object) closeObject()     { o.b = append(o.b, '}'); o.first = false }
func (o *object) text(k, v string) { o.key(k); o.b = xalt.AppendString(o.b, v) }

func (o *object) number(k string, v float64) {
	o.key(k)
	o.b = strconv.AppendFloat(o.b, v, 'f', 4, 64)
}

func (o *object) list(k string, items []string) { o.key(k); o.b = appendList(o.b, items) }

func appendList(b []byte, items []string) []byte {
	b = append(b, '[')
	for i, s := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = xalt.AppendString(b, s)
	}
	return append(b, ']')
}

// ctime is how C's ctime prints a time.
const ctime = "Mon Jan _2 15:04:05 2006"

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

func known(s string) string {
	if s == "" {
		return Unknown
	}
	return s
}

// AppendJSON adds the record's text to dst: a start record if End is zero.
func (r *Run) AppendJSON(dst []byte) []byte {
	o := object{b: append(dst, crcMember...)}
	o.list("cmdlineA", r.Args)
	o.text("hash_id", known(r.ExecHash))
	o.key("libA")
	o.b = append(o.b, '[')
	for i, l := range r.Libraries {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendList(o.b, []string{l.Path, l.Hash})
	}
	o.b = append(o.b, ']')
	o.key("ptA")
	o.b = append(o.b, '[')
	for i, p := range r.Ancestors {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = append(o.b, '{')
		o.first = true
		o.text("cmd_name", p.Name)
		o.text("cmd_path", p.Path)
		o.key("pid")
		o.b = strconv.AppendInt(o.b, int64(p.PID), 10)
		o.list("cmdlineA", p.Args)
		o.closeObject()
	}
	o.b = append(o.b, ']')
	o.open("envT")
	for _, v := range r.Env {
		o.text(v.Name, v.Value)
	}
	o.closeObject()
	r.userText(&o)
	r.userNumbers(&o)
	o.open("xaltLinkT")
	for _, v := range r.Watermark {
		o.text(v.Name, v.Value)
	}
	o.closeObject()
	r.measures(&o)
	o.open("XALT_qaT")
	sampling := "no"
	if r.Sampling {
		sampling = "yes"
	}
	o.text("XALT_GIT_VERSION", Producer)
	o.text("XALT_MPI_ALWAYS_RECORD", "1")
	o.text("XALT_MPI_TRACKING", "yes")
	o.text("XALT_SCALAR_TRACKING", "yes")
	o.text("XALT_SAMPLING", sampling)
	o.closeObject()
	o.closeObject()
	return o.b
}

func (r *Run) userText(o *object) {
	o.open("userT")
	o.text("syshost", r.Syshost)
	o.text("run_uuid", r.UUID)
	o.text("exec_path", r.Exec)
	o.text("exec_type", known(r.ExecType))
	o.text("cwd", known(r.Cwd))
	o.text("currentEpoch", strconv.FormatFloat(seconds(r.Now), 'f', 6, 64))
	o.text("start_date", r.Start.Format(ctime))
	o.text("user", r.User)
	if r.ExecTime.IsZero() {
		o.text("execModify", Unknown)
	} else {
		o.text("execModify", r.ExecTime.Format(ctime))
	}
	o.text("scheduler", known(r.Job.Scheduler))
	o.text("account", known(r.Job.Account))
	o.text("job_id", known(r.Job.ID))
	o.text("queue", known(r.Job.Queue))
	o.text("submit_host", known(r.Job.SubmitHost))
	if r.Container != "" {
		o.text("container", r.Container)
	}
	if !r.End.IsZero() && r.Exited {
		if r.Signal != 0 {
			o.key("exit_signal")
			o.b = strconv.AppendInt(o.b, int64(r.Signal), 10)
		} else {
			o.key("exit_status")
			o.b = strconv.AppendInt(o.b, int64(r.Status), 10)
		}
	}
	o.closeObject()
}

func (r *Run) userNumbers(o *object) {
	build := 0.0
	for _, v := range r.Watermark {
		if v.Name == "Build_Epoch" {
			build, _ = strconv.ParseFloat(v.Value, 64)
		}
	}
	runTime := 0.0
	if !r.End.IsZero() {
		runTime = max(r.End.Sub(r.Start).Seconds(), 0)
	}
	o.open("userDT")
	o.number("Build_Epoch", build)
	o.number("start_time", seconds(r.Start))
	o.number("end_time", seconds(r.End))
	o.number("run_time", runTime)
	o.number("probability", r.Probability)
	o.number("num_tasks", float64(r.Tasks))
	o.number("num_gpus", float64(r.GPUs))
	o.number("exec_epoch", seconds(r.ExecTime))
	o.number("num_threads", float64(r.Threads))
	o.number("num_cores", float64(r.Tasks*max(r.Threads, 1)))
	o.number("num_nodes", float64(r.Nodes))
	o.closeObject()
}

// measures are XALT's, by their numbers.
func (r *Run) measures(o *object) {
	o.open("XALT_measureT")
	for _, name := range [...]string{
		"01_BuildUserT____", "02_Sha1_exec_____", "03_BuildEnvT_____", "04_WalkProcTree__",
		"05_Build_RecordT_", "06_ParseProcMaps_", "07_GPU_Setup_____", "08____total______",
	} {
		value := 0.0
		for _, m := range r.Measured {
			if m.Name == name {
				value = m.Time.Seconds()
			}
		}
		o.number(name, value)
	}
	o.closeObject()
}

// Pkg is what a package record says.
type Pkg struct{ RunUUID, Program, Name, Version, Path string }

// AppendJSON adds the record's text to dst.
func (p *Pkg) AppendJSON(dst []byte) []byte {
	o := object{b: append(dst, crcMember...)}
	o.text("program", p.Program)
	o.text("xalt_run_uuid", p.RunUUID)
	o.text("package_name", p.Name)
	o.text("package_version", p.Version)
	o.text("package_path", p.Path)
	o.closeObject()
	return o.b
}

// Skip notes that the wrapper stepped aside.
type Skip struct {
	UUID          string
	Time          time.Time
	Syshost, User string
	Role          string // launch or ld
	Program       string // as it was called
	Reason        string
}

// AppendJSON adds the record's text to dst.
func (s *Skip) AppendJSON(dst []byte) []byte {
	o := object{b: append(dst, crcMember...)}
	o.text("uuid", s.UUID)
	o.key("epoch")
	o.b = fmt.Appendf(o.b, "%.4f", seconds(s.Time))
	o.text("syshost", s.Syshost)
	o.text("user", s.User)
	o.text("role", s.Role)
	o.text("program", s.Program)
	o.text("reason", s.Reason)
	o.closeObject()
	return o.b
}
