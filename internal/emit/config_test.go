package emit_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/emit"
)

func TestParse(t *testing.T) {
	c, err := emit.Parse([]byte(`
syshost = "frontera"
transport = "tls"
server = "logs.example.org:6514"
format = "rfc3164"
facility = "local3"
block-size = 1024
deadline = "80ms"
spool = "/var/spool/xalt-wrap"
probability = 0.25
env = ["PATH"]
env-add = ["FOO_*"]

[[rule]]
action = "skip"
path = "/usr/bin/*"
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.Syshost != "frontera" || c.Transport != "tls" || c.BlockSize != 1024 || time.Duration(c.Deadline) != 80*time.Millisecond || c.Chance() != 0.25 || len(c.Rules) != 1 {
		t.Errorf("Parse = %+v", c)
	}
	if c.Severity != "info" || c.SpoolSize != 16<<20 {
		t.Errorf("what is not said has not its default: %+v", c)
	}
	text, err := c.Text()
	if err != nil {
		t.Fatal(err)
	}
	again, err := emit.Parse(text)
	if err != nil || again.Deadline != c.Deadline || again.Server != c.Server || len(again.Rules) != 1 {
		t.Errorf("Parse(Text()) = %+v, %v", again, err)
	}
}

func TestParseWrong(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"nosuch = 1\n", `1:1: unknown key "nosuch"`},
		{"syshost = \n", "1:"},
		{"block-size = 'x'\n", "1:"},
		{"block-size = 3\n", "block-size"},
		{"transport = 'pigeon'\n", "transport"},
		{"transport = 'tcp'\n", "server"},
		{"transport = 'file'\n", "directory"},
		{"transport = 'file'\ndirectory = 'relative'\n", "directory"},
		{"format = 'xml'\n", "format"},
		{"facility = ''\n", "facility"},
		{"facility = 'none'\n", "facility"},
		{"severity = 'loud'\n", "severity"},
		{"syshost = '../etc'\n", "syshost"},
		{"probability = 1.5\n", "probability"},
		{"probability = nan\n", "probability"},
		{"deadline = '2h'\n", "one minute"},
		{"deadline = '-1s'\n", "one minute"},
		{"spool = 'here'\n", "spool"},
		{"file-mode = 'rw'\n", "file-mode"},
		{"[[rule]]\npath = 'x'\n", "action"},
		{"[[syshost-map]]\nhost = '*'\nname = '/'\n", "syshost-map"},
	} {
		c, err := emit.Parse([]byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%q) = %v, want %q in it", tt.text, err, tt.want)
		}
		if c.Transport != "syslog" || c.BlockSize != 512 {
			t.Errorf("Parse(%q): the configuration after an error is not the compiled-in one", tt.text)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(file, []byte("syshost = 'a'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(path string) (emit.Config, error) {
		return emit.Load(func(name string) string {
			if name == "XALT_WRAP_CONFIG" {
				return path
			}
			return ""
		})
	}
	if c, err := load(file); err != nil || c.Syshost != "a" {
		t.Errorf("Load(%s) = %+v, %v", file, c, err)
	}
	for _, path := range []string{dir, file + ".missing"} {
		if c, err := load(path); err == nil || c.Transport != "syslog" {
			t.Errorf("Load(%s) = %+v, %v, want an error and the compiled-in configuration", path, c, err)
		}
	}
	large := filepath.Join(dir, "large.toml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# x\n", 400_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(large); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("Load of a large file: %v", err)
	}
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"*", "", true},
		{"*", "/a/b", true},
		{"/usr/*", "/usr/bin/x", true},
		{"/usr/*", "/opt", false},
		{"*/bin/?cc", "/usr/bin/gcc", true},
		{"*/bin/?cc", "/usr/bin/gc", false},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbY", false},
		{"abc", "abcd", false},
		{"abc*", "abc", true},
		{"**a**", "xay", true},
	} {
		if got := emit.Match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("Match(%q, %q) = %t", tt.pattern, tt.s, got)
		}
	}
}

func TestKeeps(t *testing.T) {
	c := emit.Config{Rules: []emit.Rule{
		{Action: "keep", Path: "/usr/bin/python*"},
		{Action: "skip", Path: "/usr/bin/*", Host: "login*"},
		{Action: "skip", User: "monitor"},
	}}
	for _, tt := range []struct {
		path, host, user string
		want             bool
	}{
		{"/usr/bin/python3", "login1", "monitor", true},
		{"/usr/bin/ls", "login1", "alice", false},
		{"/usr/bin/ls", "c1", "alice", true},
		{"/home/x", "c1", "monitor", false},
	} {
		if got := c.Keeps(tt.path, tt.host, tt.user); got != tt.want {
			t.Errorf("Keeps(%q, %q, %q) = %t", tt.path, tt.host, tt.user, got)
		}
	}
}

func TestSampled(t *testing.T) {
	p := 0.3
	c := emit.Config{Probability: &p}
	kept := 0
	const n = 4000
	for i := range n {
		uuid := emit.NewUUID(time.Unix(int64(1_700_000_000+i), 0))
		if c.Sampled(uuid) {
			kept++
		}
		if again := c; again.Sampled(uuid) != c.Sampled(uuid) {
			t.Fatal("two answers for one UUID")
		}
	}
	// Six standard deviations: it fails once in a billion runs.
	if off := math.Abs(float64(kept)/n - p); off > 6*math.Sqrt(p*(1-p)/n) {
		t.Errorf("%d of %d are in a sample of %v", kept, n, p)
	}
	zero := 0.0
	if none := (emit.Config{Probability: &zero}); none.Sampled(emit.NewUUID(time.Now())) {
		t.Error("probability 0 samples")
	}
}

func TestMachine(t *testing.T) {
	env := func(name string) string { return map[string]string{"SYSHOST": "fromenv", "BAD": "a/b"}[name] }
	for _, tt := range []struct {
		name, host, want string
		config           emit.Config
	}{
		{"named", "c1", "x", emit.Config{Syshost: "x", SyshostEnv: "SYSHOST"}},
		{"variable", "c1", "fromenv", emit.Config{SyshostEnv: "SYSHOST"}},
		{"bad variable", "c1", "c", emit.Config{SyshostEnv: "BAD"}},
		{"pattern", "c101-001.frontera.tacc", "frontera", emit.Config{SyshostMap: []emit.SyshostMap{{"login*", "no"}, {"*.frontera.*", "frontera"}}}},
		{"part", "c101-001.stampede3.tacc.utexas.edu", "stampede3", emit.Config{SyshostPart: 2}},
		{"part that is not there", "c101", "c", emit.Config{SyshostPart: 4}},
		{"default", "pitzer0199.osc.edu", "pitzer", emit.Config{}},
		{"default with dashes", "c101-001", "c", emit.Config{}},
		{"only digits", "0199", "0199", emit.Config{}},
		{"hostile", "../../x", "unknown", emit.Config{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.config.Machine(tt.host, env); got != tt.want {
				t.Errorf("Machine(%q) = %q, want %q", tt.host, got, tt.want)
			}
		})
	}
}

func TestNewUUID(t *testing.T) {
	at := time.Date(2026, 11, 20, 9, 44, 10, 492_700_000, time.UTC)
	seen := make(map[string]bool)
	for range 1000 {
		u := emit.NewUUID(at)
		if !emit.IsUUID(u) || u[14] != '7' || !strings.ContainsRune("89ab", rune(u[19])) {
			t.Fatalf("NewUUID = %q", u)
		}
		if seen[u] {
			t.Fatalf("%s twice", u)
		}
		seen[u] = true
	}
	a, b := emit.NewUUID(at), emit.NewUUID(at.Add(time.Millisecond))
	if a[:13] >= b[:13] {
		t.Errorf("UUIDs do not sort by time: %s, %s", a, b)
	}
	for _, bad := range []string{"", "x", strings.Repeat("0", 36), "01a1f857-8ff2-77c7-b206-21bd6d9f3d9g"} {
		if emit.IsUUID(bad) {
			t.Errorf("IsUUID(%q)", bad)
		}
	}
}

func TestUser(t *testing.T) {
	env := func(name string) string {
		if name == "USER" {
			return "carol"
		}
		return ""
	}
	if os.Geteuid() == 0 {
		if got := emit.User(env); got != "root" {
			t.Errorf("User() = %q, want that of /etc/passwd", got)
		}
	}
}

func TestFindJob(t *testing.T) {
	files := func(name string) string { return map[string]string{"/nodes": "n1\nn1\nn2\n"}[name] }
	for _, tt := range []struct {
		name string
		env  map[string]string
		want emit.Job
	}{
		{"none", nil, emit.Job{Scheduler: "unknown", Account: "unknown", ID: "unknown", Queue: "unknown", SubmitHost: "unknown"}},
		{"Slurm", map[string]string{
			"SLURM_JOB_ID": "77", "SLURM_JOB_ACCOUNT": "phy", "SLURM_JOB_PARTITION": "normal,large", "SLURM_SUBMIT_HOST": "login1", "SLURM_JOB_NUM_NODES": "4",
		}, emit.Job{Scheduler: "SLURM", Account: "phy", ID: "77", Queue: "normal,large", SubmitHost: "login1", Nodes: 4}},
		{
			"PBS",
			map[string]string{"PBS_JOBID": "9.pbs", "PBS_QUEUE": "workq", "PBS_O_HOST": "l2", "PBS_ACCOUNT": "a", "PBS_NODEFILE": "/nodes"},
			emit.Job{Scheduler: "PBS", Account: "a", ID: "9.pbs", Queue: "workq", SubmitHost: "l2", Nodes: 2},
		},
		{
			"PALS in PBS",
			map[string]string{"PALS_APID": "x", "PBS_JOBID": "9", "PBS_QUEUE": "q"},
			emit.Job{Scheduler: "PBS", Account: "unknown", ID: "9", Queue: "q", SubmitHost: "unknown"},
		},
		{
			"PALS alone",
			map[string]string{"PALS_APID": "apid", "PALS_NNODES": "3"},
			emit.Job{Scheduler: "PALS", Account: "unknown", ID: "apid", Queue: "unknown", SubmitHost: "unknown", Nodes: 3},
		},
		{
			"LSF",
			map[string]string{"LSB_JOBID": "5", "LSB_QUEUE": "batch", "LSB_SUB_HOST": "l", "LSB_PROJECT_NAME": "p", "LSB_HOSTS": "a a b"},
			emit.Job{Scheduler: "LSF", Account: "p", ID: "5", Queue: "batch", SubmitHost: "l", Nodes: 2},
		},
		{
			"SGE",
			map[string]string{"SGE_ROOT": "/opt/sge", "JOB_ID": "12", "QUEUE": "all.q", "SGE_O_HOST": "l", "SGE_ACCOUNT": "sge", "NHOSTS": "2"},
			emit.Job{Scheduler: "SGE", Account: "sge", ID: "12", Queue: "all.q", SubmitHost: "l", Nodes: 2},
		},
		{
			"a login shell with SGE_ROOT",
			map[string]string{"SGE_ROOT": "/opt/sge"},
			emit.Job{Scheduler: "unknown", Account: "unknown", ID: "unknown", Queue: "unknown", SubmitHost: "unknown"},
		},
		{
			"Cobalt",
			map[string]string{"COBALT_JOBID": "3", "COBALT_PROJECT": "p", "COBALT_QUEUE": "default", "COBALT_JOBSIZE": "128"},
			emit.Job{Scheduler: "COBALT", Account: "p", ID: "3", Queue: "default", SubmitHost: "unknown", Nodes: 128},
		},
		{
			"Flux",
			map[string]string{"FLUX_JOB_ID": "f2k", "FLUX_JOB_NNODES": "2"},
			emit.Job{Scheduler: "FLUX", Account: "unknown", ID: "f2k", Queue: "unknown", SubmitHost: "unknown", Nodes: 2},
		},
		{
			"bad number",
			map[string]string{"SLURM_JOB_ID": "7", "SLURM_NNODES": "many"},
			emit.Job{Scheduler: "SLURM", Account: "unknown", ID: "7", Queue: "unknown", SubmitHost: "unknown"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := emit.FindJob(func(n string) string { return tt.env[n] }, files); got != tt.want {
				t.Errorf("FindJob = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestGPUs(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		want        int
	}{
		{"NOTHING", "1", 0},
		{"SLURM_JOB_GPUS", "0,1,3", 3},
		{"SLURM_JOB_GPUS", "0-3,6", 5},
		{"SLURM_GPUS_ON_NODE", "4", 4},
		{"SLURM_GPUS", "a100:2,v100:1", 3},
		{"SLURM_GPUS", "8", 8},
		{"CUDA_VISIBLE_DEVICES", "GPU-8f2e-1,GPU-9a", 2},
		{"CUDA_VISIBLE_DEVICES", "0,-1,1", 1},
		{"CUDA_VISIBLE_DEVICES", "NoDevFiles", 0},
		{"CUDA_VISIBLE_DEVICES", " 0 , 1 ", 2},
		{"ROCR_VISIBLE_DEVICES", "0,1", 2},
		{"ZE_AFFINITY_MASK", "0.0,0.1,1.0", 2},
		{"ZE_AFFINITY_MASK", "0,1,2", 3},
		{"SLURM_GPUS_ON_NODE", "-3", 0},
		{"SLURM_GPUS_ON_NODE", "99999999", 4096},
		{"SLURM_JOB_GPUS", "0-999999999", 4096},
	} {
		if got := emit.GPUs(func(n string) string {
			if n == tt.name {
				return tt.value
			}
			return ""
		}); got != tt.want {
			t.Errorf("GPUs with %s=%s = %d, want %d", tt.name, tt.value, got, tt.want)
		}
	}
}
