package emit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/xalt"
)

const (
	runUUID = "01a1f857-8ff2-77c7-b206-21bd6d9f3d9a"
	odd     = "a \"b\"\\\n\x00\xffü€😀"
)

func sampleRun() emit.Run {
	start := time.Unix(1795167850, 482_000_000).UTC()
	return emit.Run{
		UUID: runUUID, Syshost: "oracle", User: "alice", Args: []string{"./plain", odd}, Exec: "/opt/" + odd, ExecType: "binary",
		ExecHash: "faf1467842b5aaea5351889807121855a5949bd7", ExecTime: start, Cwd: "/opt", Libraries: []emit.Library{{Path: "/lib/" + odd, Hash: "0"}},
		Ancestors: []emit.Process{{Name: "bash", Path: "/usr/bin/bash", PID: 9328, Args: []string{"bash", odd}}},
		Env:       []emit.Variable{{Name: "PATH", Value: odd}}, Job: emit.Job{Scheduler: "SLURM", Account: "a", ID: "1", Queue: "q", SubmitHost: "l"},
		Watermark: []emit.Variable{{Name: "XALT_Version", Value: "3.2.4"}, {Name: "Build_UUID", Value: runUUID}, {Name: "Build_Epoch", Value: "1795167839.7545"}},
		Start:     start, Now: start.Add(time.Second), Probability: 1, Tasks: 4, Threads: 2, Nodes: 2, GPUs: 1,
	}
}

// shape lists the members of a JSON value with their types, as FORMATS.md's
// list of keys does.
func shape(prefix string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		out[prefix] = "object"
		for k, e := range v {
			if prefix == "envT" {
				k = "*"
			}
			shape(strings.TrimPrefix(prefix+"."+k, "."), e, out)
		}
	case []any:
		out[prefix] = "array"
		for _, e := range v {
			shape(prefix+"[]", e, out)
		}
	case string:
		out[prefix] = "str"
	case json.Number:
		out[prefix] = "int"
		if strings.Contains(v.String(), ".") {
			out[prefix] = "float"
		}
	default:
		out[prefix] = fmt.Sprintf("%T", v)
	}
}

// runKeys are the members that a run of XALT 3.2.4 has.
const runKeys = `: object
XALT_measureT: object
XALT_measureT.01_BuildUserT____: float
XALT_measureT.02_Sha1_exec_____: float
XALT_measureT.03_BuildEnvT_____: float
XALT_measureT.04_WalkProcTree__: float
XALT_measureT.05_Build_RecordT_: float
XALT_measureT.06_ParseProcMaps_: float
XALT_measureT.07_GPU_Setup_____: float
XALT_measureT.08____total______: float
XALT_qaT: object
XALT_qaT.XALT_GIT_VERSION: str
XALT_qaT.XALT_MPI_ALWAYS_RECORD: str
XALT_qaT.XALT_MPI_TRACKING: str
XALT_qaT.XALT_SAMPLING: str
XALT_qaT.XALT_SCALAR_TRACKING: str
cmdlineA: array
cmdlineA[]: str
crc: str
envT: object
envT.*: str
hash_id: str
libA: array
libA[]: array
libA[][]: str
ptA: array
ptA[]: object
ptA[].cmd_name: str
ptA[].cmd_path: str
ptA[].cmdlineA: array
ptA[].cmdlineA[]: str
ptA[].pid: int
userDT: object
userDT.Build_Epoch: float
userDT.end_time: float
userDT.exec_epoch: float
userDT.num_cores: float
userDT.num_gpus: float
userDT.num_nodes: float
userDT.num_tasks: float
userDT.num_threads: float
userDT.probability: float
userDT.run_time: float
userDT.start_time: float
userT: object
userT.account: str
userT.currentEpoch: str
userT.cwd: str
userT.execModify: str
userT.exec_path: str
userT.exec_type: str
userT.job_id: str
userT.queue: str
userT.run_uuid: str
userT.scheduler: str
userT.start_date: str
userT.submit_host: str
userT.syshost: str
userT.user: str
xaltLinkT: object
xaltLinkT.Build_Epoch: str
xaltLinkT.Build_UUID: str
xaltLinkT.XALT_Version: str
`

func shapeOf(t *testing.T, text []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	members := make(map[string]string)
	shape("", v, members)
	var lines []string
	for k, kind := range members {
		lines = append(lines, k+": "+kind+"\n")
	}
	return sorted(strings.Join(lines, ""))
}

func sorted(text string) string {
	lines := slices.Sorted(strings.Lines(text))
	return strings.Join(lines, "")
}

// stored is what a reader stores for s: a byte that is not UTF-8 travels as a
// lone surrogate.
func stored(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			c := rune(0xDC00) + rune(s[i])
			b.Write([]byte{0xE0 | byte(c>>12), 0x80 | byte(c>>6)&0x3F, 0x80 | byte(c)&0x3F})
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return xalt.Storable(b.String())
}

func TestRunHasXALTsMembers(t *testing.T) {
	run := sampleRun()
	if diff := cmp.Diff(sorted(runKeys), shapeOf(t, run.AppendJSON(nil))); diff != "" {
		t.Errorf("start record: -want +got\n%s", diff)
	}
	run.End, run.Exited, run.Status, run.Container = run.Start.Add(90*time.Second), true, 3, "/img.sif"
	want := strings.Replace(runKeys, "userT.job_id", "userT.exit_status: int\nuserT.job_id", 1)
	want = strings.Replace(want, "userT.cwd", "userT.container: str\nuserT.cwd", 1)
	if diff := cmp.Diff(sorted(want), shapeOf(t, run.AppendJSON(nil))); diff != "" {
		t.Errorf("end record: -want +got\n%s", diff)
	}
}

func TestRunDecodes(t *testing.T) {
	run := sampleRun()
	run.End, run.Exited, run.Signal = run.Start.Add(90*time.Second), true, 9
	text := run.AppendJSON(nil)
	for _, c := range text {
		if c < ' ' || c > '~' {
			t.Fatalf("byte %#x is not printable ASCII: %s", c, text)
		}
	}
	if !bytes.HasPrefix(text, []byte(`{"crc":"0x0000",`)) {
		t.Errorf("text begins %.20q", text)
	}
	rec, err := xalt.Decode(xalt.KindRun, text)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Defaulted) > 0 {
		t.Errorf("defaulted: %v", rec.Defaulted)
	}
	r := rec.Run
	if r.ExecPath != stored("/opt/"+odd) || r.RunUUID != runUUID || r.LinkUUID != runUUID || r.StartTime != 1795167850.482 || r.RunTime != 90 ||
		r.NumCores != 8 || r.NumNodes != 2 || r.NumGPUs != 1 || r.NumThreads != 2 || r.ExitSignal == nil || *r.ExitSignal != 9 || r.ExitStatus != nil {
		t.Errorf("decoded run: %+v", r)
	}
	if env := xalt.DecodeEnv(r.EnvT, func(string) bool { return true }); len(env) != 1 || env[0].Value != stored(odd) {
		t.Errorf("environment: %q", env)
	}
}

func TestPkgAndSkipDecode(t *testing.T) {
	p := emit.Pkg{RunUUID: runUUID, Program: "python", Name: "numpy " + odd, Version: "1.26", Path: "/opt/" + odd}
	rec, err := xalt.Decode(xalt.KindPkg, p.AppendJSON(nil))
	if err != nil || len(rec.Defaulted) > 0 || rec.Pkg.Name != stored(p.Name) || rec.Pkg.Path != stored(p.Path) || rec.Pkg.Version != "1.26" || rec.Pkg.Program != "python" {
		t.Errorf("package: %+v, %v", rec.Pkg, err)
	}
	s := emit.Skip{UUID: runUUID, Time: time.Unix(1795167850, 5e8), Syshost: "oracle", User: "alice", Role: "launch", Program: odd, Reason: "gdb"}
	rec, err = xalt.Decode(xalt.KindSkip, s.AppendJSON(nil))
	if err != nil || len(rec.Defaulted) > 0 || rec.Skip.Program != stored(odd) || rec.Skip.Time != 1795167850.5 || rec.Skip.Reason != "gdb" {
		t.Errorf("skip: %+v, %v", rec.Skip, err)
	}
}

// FuzzRun: whatever the strings are, the record is one, and they come back.
func FuzzRun(f *testing.F) {
	f.Add("/bin/x", "arg", "PATH", "value")
	f.Add(odd, "\xed\xa0\x80", "", "\u2028</script>")
	f.Fuzz(func(t *testing.T, exec, arg, name, value string) {
		if exec == "" {
			return
		}
		run := sampleRun()
		run.Exec, run.Args = exec, []string{arg}
		run.Env = []emit.Variable{{Name: name, Value: value}}
		text := run.AppendJSON(nil)
		rec, err := xalt.Decode(xalt.KindRun, text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if rec.Run.ExecPath != stored(exec) {
			t.Errorf("exec_path = %q, want %q", rec.Run.ExecPath, stored(exec))
		}
	})
}
