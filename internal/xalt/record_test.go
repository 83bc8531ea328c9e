package xalt_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/xalt"
)

const (
	uuidA = "01a1f857-8ff2-77c7-b206-21bd6d9f3d9a"
	uuidB = "01a1f857-6604-7e63-9098-67e4891362c2"
)

// runMembers are the members of the run record that most tests change.
var runMembers = []string{
	`"cmdlineA":["./a.out","x"]`,
	`"hash_id":"faf1"`,
	`"libA":[["/lib/libc.so.6","0"]]`,
	`"envT":{"PATH":"/bin"}`,
	`"userT":{"syshost":"rios","run_uuid":"` + uuidA + `","exec_path":"/home/u/a.out","exec_type":"binary","cwd":"/home/u","user":"alice","account":"acct","job_id":"17","queue":"normal"}`,
	`"userDT":{"start_time":1795000000.25,"end_time":1795000010.5,"run_time":10.25,"probability":0.5,"num_cores":4,"num_nodes":2,"num_threads":8,"num_gpus":1}`,
	`"xaltLinkT":{"Build_UUID":"` + uuidB + `"}`,
	`"XALT_qaT":{"XALT_GIT_VERSION":"xalt-3.2.4"}`,
}

// runText returns a run record's text with members in the place of those of
// the same name.
func runText(members ...string) []byte {
	list := slices.Clone(runMembers)
	for _, m := range members {
		name, _, _ := strings.Cut(m, ":")
		list = slices.DeleteFunc(list, func(old string) bool { return strings.HasPrefix(old, name+":") })
		list = append(list, m)
	}
	return []byte("{" + strings.Join(list, ",") + "}")
}

// changed returns the run record's text with old replaced by new.
func changed(t *testing.T, old, new string) []byte {
	t.Helper()
	text := string(runText())
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q is %d times in the record", old, strings.Count(text, old))
	}
	return []byte(strings.Replace(text, old, new, 1))
}

func wantRun(change func(*xalt.Run)) *xalt.Run {
	r := &xalt.Run{
		RunUUID: uuidA, LinkUUID: uuidB, Syshost: "rios", User: "alice", Account: "acct", JobID: "17", Queue: "normal",
		ExecPath: "/home/u/a.out", ExecType: "binary", HashID: "faf1", Cwd: "/home/u", Cmdline: `["./a.out", "x"]`,
		StartTime: 1795000000.25, EndTime: 1795000010.5, RunTime: 10.25, NumCores: 4, NumNodes: 2, NumThreads: 8, NumGPUs: 1,
		Probability: 0.5, LibA: []byte(`[["/lib/libc.so.6","0"]]`), EnvT: []byte(`{"PATH":"/bin"}`),
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestDecodeRun(t *testing.T) {
	const (
		unknown = xalt.Unknown
		times   = `"start_time":1795000000.25,"end_time":1795000010.5,"run_time":10.25,`
	)
	for _, tt := range []struct {
		name      string
		text      []byte
		change    func(*xalt.Run)
		defaulted []string
	}{
		{"whole", runText(), nil, nil},
		{"newline behind", append(runText(), '\n'), nil, nil},
		{"blanks before", append([]byte(" \t"), runText()...), nil, nil},

		{"no cmdlineA", changed(t, `"cmdlineA":["./a.out","x"],`, ""), func(r *xalt.Run) { r.Cmdline = "[]" }, []string{"cmdlineA"}},
		{"cmdlineA is a text", changed(t, `["./a.out","x"]`, `"./a.out x"`), func(r *xalt.Run) { r.Cmdline = "[]" }, []string{"cmdlineA"}},
		{"no hash_id", changed(t, `"hash_id":"faf1",`, ""), func(r *xalt.Run) { r.HashID = unknown }, []string{"hash_id"}},
		{"hash_id is null", changed(t, `"faf1"`, "null"), func(r *xalt.Run) { r.HashID = unknown }, []string{"hash_id"}},
		{"hash_id is a number", changed(t, `"faf1"`, "17"), func(r *xalt.Run) { r.HashID = "17" }, nil},
		{"no libA", changed(t, `"libA":[["/lib/libc.so.6","0"]],`, ""), func(r *xalt.Run) { r.LibA = nil }, []string{"libA"}},
		{"libA is null", changed(t, `[["/lib/libc.so.6","0"]]`, " null"), func(r *xalt.Run) { r.LibA = []byte("null") }, []string{"libA"}},
		{"envT is a list", changed(t, `{"PATH":"/bin"}`, "[]"), func(r *xalt.Run) { r.EnvT = []byte("[]") }, []string{"envT"}},
		{"no envT", changed(t, `"envT":{"PATH":"/bin"},`, ""), func(r *xalt.Run) { r.EnvT = nil }, []string{"envT"}},

		{"no syshost", changed(t, `"syshost":"rios",`, ""), func(r *xalt.Run) { r.Syshost = unknown }, []string{"userT.syshost"}},
		{"no user", changed(t, `"user":"alice",`, ""), func(r *xalt.Run) { r.User = unknown }, []string{"userT.user"}},
		{"no account", changed(t, `"account":"acct",`, ""), func(r *xalt.Run) { r.Account = unknown }, []string{"userT.account"}},
		{"no job_id", changed(t, `"job_id":"17",`, ""), func(r *xalt.Run) { r.JobID = unknown }, []string{"userT.job_id"}},
		{"job_id is a number", changed(t, `"job_id":"17"`, `"job_id":17`), nil, nil},
		{"job_id is an object", changed(t, `"job_id":"17"`, `"job_id":{}`), func(r *xalt.Run) { r.JobID = unknown }, []string{"userT.job_id"}},
		{"no queue", changed(t, `,"queue":"normal"`, ""), func(r *xalt.Run) { r.Queue = unknown }, []string{"userT.queue"}},
		{"no exec_type", changed(t, `"exec_type":"binary",`, ""), func(r *xalt.Run) { r.ExecType = unknown }, []string{"userT.exec_type"}},
		{"no cwd", changed(t, `"cwd":"/home/u",`, ""), func(r *xalt.Run) { r.Cwd = unknown }, []string{"userT.cwd"}},
		{"text is empty", changed(t, `"acct"`, `""`), func(r *xalt.Run) { r.Account = "" }, nil},
		{"list of queues", changed(t, `"normal"`, `"normal,debug,big"`), nil, nil},
		{"container", changed(t, `"user":"alice"`, `"user":"alice","container":"ubuntu"`), func(r *xalt.Run) { r.Container = "ubuntu" }, nil},
		{"container is null", changed(t, `"user":"alice"`, `"user":"alice","container":null`), nil, nil},

		{"UUID in upper case", changed(t, uuidA, strings.ToUpper(uuidA)), nil, nil},
		{"Build.UUID", changed(t, "Build_UUID", "Build.UUID"), nil, nil},
		{"Build_UUID in upper case", changed(t, uuidB, strings.ToUpper(uuidB)), nil, nil},
		{"Build_UUID is no UUID", changed(t, uuidB, "none"), func(r *xalt.Run) { r.LinkUUID = "" }, []string{"xaltLinkT.Build_UUID"}},
		{"no watermark", changed(t, `"Build_UUID":"`+uuidB+`"`, ""), func(r *xalt.Run) { r.LinkUUID = "" }, nil},
		{"no xaltLinkT", changed(t, `"xaltLinkT":{"Build_UUID":"`+uuidB+`"},`, ""), func(r *xalt.Run) { r.LinkUUID = "" }, nil},
		{"xaltLinkT is a list", changed(t, `{"Build_UUID":"`+uuidB+`"}`, `[]`), func(r *xalt.Run) { r.LinkUUID = "" }, nil},

		{"numbers as texts", runText(`"userDT":{"start_time":"1795000000.25","end_time":" 1795000010.5 ","run_time":"10.25","probability":"0.5","num_cores":"4","num_nodes":"2.0","num_threads":"8e0","num_gpus":"1"}`), nil, nil},
		{
			"numbers are null", runText(`"userDT":{"start_time":1795000000.25,"end_time":null,"run_time":null,"probability":null,"num_cores":null,"num_nodes":null,"num_threads":null,"num_gpus":null}`),
			func(r *xalt.Run) {
				r.EndTime, r.RunTime, r.Probability, r.NumCores, r.NumNodes, r.NumThreads, r.NumGPUs = 0, 0, 1, 0, 0, 0, 0
			},
			[]string{"userDT.end_time", "userDT.run_time", "userDT.probability", "userDT.num_cores", "userDT.num_nodes", "userDT.num_threads", "userDT.num_gpus"},
		},
		{
			"numbers are missing", runText(`"userDT":{"start_time":1795000000.25}`),
			func(r *xalt.Run) {
				r.EndTime, r.RunTime, r.Probability, r.NumCores, r.NumNodes, r.NumThreads, r.NumGPUs = 0, 0, 1, 0, 0, 0, 0
			},
			[]string{"userDT.end_time", "userDT.run_time", "userDT.probability", "userDT.num_cores", "userDT.num_nodes", "userDT.num_threads", "userDT.num_gpus"},
		},
		{
			"numbers are out of range", runText(`"userDT":{` + times + `"probability":1.5,"num_cores":1e999,"num_nodes":-1,"num_threads":-1e999,"num_gpus":9007199254740993e3}`),
			func(r *xalt.Run) {
				r.Probability, r.NumCores, r.NumNodes, r.NumThreads, r.NumGPUs = 1, 0, 0, 0, 0
			},
			[]string{"userDT.probability", "userDT.num_cores", "userDT.num_nodes", "userDT.num_threads", "userDT.num_gpus"},
		},
		{
			"numbers are no numbers", runText(`"userDT":{` + times + `"probability":"NaN","num_cores":"Inf","num_nodes":"four","num_threads":[],"num_gpus":true}`),
			func(r *xalt.Run) {
				r.Probability, r.NumCores, r.NumNodes, r.NumThreads, r.NumGPUs = 1, 0, 0, 0, 0
			},
			[]string{"userDT.probability", "userDT.num_cores", "userDT.num_nodes", "userDT.num_threads", "userDT.num_gpus"},
		},
		{"negative end", changed(t, `"end_time":1795000010.5`, `"end_time":-1`), func(r *xalt.Run) { r.EndTime = 0 }, []string{"userDT.end_time"}},
		{"counts are rounded", changed(t, `"num_cores":4`, `"num_cores":3.6`), nil, nil},
		{"nothing is capped", changed(t, `"num_threads":8`, `"num_threads":100000`), func(r *xalt.Run) { r.NumThreads = 100000 }, nil},
		{"four decimals", changed(t, `1795000000.25`, `1795000000.25004`), nil, nil},
		{"sums", changed(t, `"probability":0.5`, `"probability":0.5,"sum_runs":7,"sum_times":3.5`), func(r *xalt.Run) { r.SumRuns, r.SumTime = 7, 3.5 }, nil},

		{"exec_path twice escaped", changed(t, "/home/u/a.out", `/home/d\\u00efr/\\ud83d\\ude00\\\\x`), func(r *xalt.Run) { r.ExecPath = `/home/dïr/😀\x` }, nil},
		{"exec_path once escaped", changed(t, "/home/u/a.out", `/home/d\u00efr/x`), func(r *xalt.Run) { r.ExecPath = "/home/dïr/x" }, nil},
		{"exec_path is no second JSON text", changed(t, "/home/u/a.out", `/home/\\x\"`), func(r *xalt.Run) { r.ExecPath = `/home/\x"` }, nil},
		{"exec_path with NUL", changed(t, "/home/u/a.out", `/home/\\u0000x`), func(r *xalt.Run) { r.ExecPath = "/home/\uFFFD00x" }, nil},
		{
			"wrapper's exec_path", []byte(strings.NewReplacer("/home/u/a.out", `/home/d\\u00efr/x`, "xalt-3.2.4", "xalt-wrap/1.0").Replace(string(runText()))),
			func(r *xalt.Run) { r.ExecPath = `/home/d\u00efr/x` }, nil,
		},

		{"exit_status", changed(t, `"user":"alice"`, `"user":"alice","exit_status":3`), func(r *xalt.Run) { r.ExitStatus = new(int64(3)) }, nil},
		{"exit_status zero", changed(t, `"user":"alice"`, `"user":"alice","exit_status":"0"`), func(r *xalt.Run) { r.ExitStatus = new(int64(0)) }, nil},
		{"exit_signal", changed(t, `"user":"alice"`, `"user":"alice","exit_signal":9,"exit_status":null`), func(r *xalt.Run) { r.ExitSignal = new(int64(9)) }, nil},
		{"bad exit_status", changed(t, `"user":"alice"`, `"user":"alice","exit_status":"x"`), nil, []string{"userT.exit_status"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := xalt.Decode(xalt.KindRun, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantRun(tt.change), rec.Run); diff != "" {
				t.Errorf("run: -want +got\n%s", diff)
			}
			sort := func(list []string) []string { slices.Sort(list); return list }
			if diff := cmp.Diff(sort(tt.defaulted), sort(rec.Defaulted)); diff != "" {
				t.Errorf("defaulted: -want +got\n%s", diff)
			}
		})
	}
}

func TestDecodeRunErrors(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"no run_uuid", `"run_uuid":"` + uuidA + `",`, "", "run_uuid"},
		{"run_uuid is short", uuidA, uuidA[1:], "run_uuid"},
		{"run_uuid is long", uuidA, uuidA + "0", "run_uuid"},
		{"run_uuid without dashes", uuidA, strings.ReplaceAll(uuidA, "-", "0"), "run_uuid"},
		{"run_uuid is no hexadecimal", uuidA, "g" + uuidA[1:], "run_uuid"},
		{"run_uuid is a number", `"` + uuidA + `"`, "17", "run_uuid"},
		{"no exec_path", `"exec_path":"/home/u/a.out",`, "", "exec_path"},
		{"empty exec_path", `"/home/u/a.out"`, `""`, "exec_path"},
		{"exec_path is a number", `"/home/u/a.out"`, "17", "exec_path"},
		{"no start_time", `"start_time":1795000000.25,`, "", "start_time"},
		{"start_time is zero", `1795000000.25`, "0", "start_time"},
		{"start_time is below 1", `1795000000.25`, "0.99", "start_time"},
		{"start_time is negative", `1795000000.25`, "-5", "start_time"},
		{"start_time is null", `1795000000.25`, "null", "start_time"},
		{"start_time is NaN", `1795000000.25`, "NaN", "start_time"},
		{"start_time is infinite", `1795000000.25`, "1e999", "start_time"},
		{"start_time is after the year 9999", `1795000000.25`, "253402300800", "start_time"},
		{"start_time is after the year 9999 in some zone", `1795000000.25`, "253402250400", "start_time"},
		{"no userT", `"userT":`, `"userX":`, "run_uuid"},
		{"no userDT", `"userDT":`, `"userDX":`, "start_time"},
		{"cut", `"xalt-3.2.4"}`, `"xalt-3`, "not JSON"},
		{"text behind", `"xalt-3.2.4"}`, `"xalt-3.2.4"}}`, "not JSON"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := changed(t, tt.old, tt.new)
			rec, err := xalt.Decode(xalt.KindRun, text)
			if !errors.Is(err, xalt.ErrRecord) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode(%s) = %+v, %v, want ErrRecord about %s", text, rec.Run, err, tt.want)
			}
			if rec.Digest == (xalt.Digest{}) {
				t.Error("no digest")
			}
		})
	}
	for _, text := range []string{"", "[]", `"text"`, "null", "17", "{", "\x00"} {
		if _, err := xalt.Decode(xalt.KindRun, []byte(text)); !errors.Is(err, xalt.ErrRecord) {
			t.Errorf("Decode(%q) = %v, want ErrRecord", text, err)
		}
	}
	if _, err := xalt.Decode("pony", runText()); !errors.Is(err, xalt.ErrRecord) || !strings.Contains(err.Error(), "pony") {
		t.Errorf("Decode of a pony = %v, want ErrRecord", err)
	}
}

func TestDigest(t *testing.T) {
	digest := func(text []byte) xalt.Digest {
		rec, err := xalt.Decode(xalt.KindRun, text)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Digest
	}
	base := digest(runText())
	if got := digest(append(runText(), "\n\n"...)); got != base {
		t.Errorf("a newline behind changes the digest to %x", got)
	}
	if got := digest(changed(t, "faf1", "faf2")); got == base {
		t.Error("another text has the same digest")
	}
}

const linkText = `{"crc":"0x0000","resultT":{"uuid":"` + uuidB + `","link_program":"gcc","link_path":"/usr/bin/gcc","build_user":"alice",` +
	`"build_epoch":"1795167839.7545","exec_path":"/home/d\u00efr/x\\u00ef","hash_id":"faf1","wd":"/home","build_syshost":"rios","build_host":"vm"},` +
	`"linkA":[["/lib/libm.a","0"]],"function":["dgemm"],"link_line":["gcc","-o","x y"]}`

func TestDecodeLink(t *testing.T) {
	want := xalt.Link{
		UUID: uuidB, LinkProgram: "gcc", LinkPath: "/usr/bin/gcc", BuildUser: "alice", BuildSyshost: "rios", BuildEpoch: 1795167839.7545,
		ExecPath: `/home/dïr/x\u00ef`, HashID: "faf1", Cwd: "/home", LinkLine: "gcc -o x y",
		LinkA: []byte(`[["/lib/libm.a","0"]]`), Functions: []byte(`["dgemm"]`),
	}
	for _, tt := range []struct {
		name, old, new string
		change         func(*xalt.Link)
		defaulted      []string
	}{
		{"whole", "", "", func(*xalt.Link) {}, nil},
		{"without build_host", `,"build_host":"vm"`, "", func(*xalt.Link) {}, nil},
		{"members at the top", `"resultT":{`, "", func(*xalt.Link) {}, nil},
		{"epoch is a number", `"1795167839.7545"`, "1795167839.7545", func(*xalt.Link) {}, nil},
		{"no link_program", `"link_program":"gcc",`, "", func(l *xalt.Link) { l.LinkProgram = xalt.Unknown }, []string{"resultT.link_program"}},
		{"no link_path", `"link_path":"/usr/bin/gcc",`, "", func(l *xalt.Link) { l.LinkPath = xalt.Unknown }, []string{"resultT.link_path"}},
		{"no build_user", `"build_user":"alice",`, "", func(l *xalt.Link) { l.BuildUser = xalt.Unknown }, []string{"resultT.build_user"}},
		{"no build_syshost", `"build_syshost":"rios",`, "", func(l *xalt.Link) { l.BuildSyshost = xalt.Unknown }, []string{"resultT.build_syshost"}},
		{"hash_id is null", `"faf1"`, "null", func(l *xalt.Link) { l.HashID = xalt.Unknown }, []string{"resultT.hash_id"}},
		{"no wd", `"wd":"/home",`, "", func(l *xalt.Link) { l.Cwd = xalt.Unknown }, []string{"resultT.wd"}},
		{"no linkA", `"linkA":[["/lib/libm.a","0"]],`, "", func(l *xalt.Link) { l.LinkA = nil }, []string{"linkA"}},
		{"linkA is a text", `[["/lib/libm.a","0"]]`, `"x"`, func(l *xalt.Link) { l.LinkA = []byte(`"x"`) }, []string{"linkA"}},
		{"function is null", `["dgemm"]`, "null", func(l *xalt.Link) { l.Functions = []byte("null") }, []string{"function"}},
		{"no function", `"function":["dgemm"],`, "", func(l *xalt.Link) { l.Functions = nil }, nil},
		{"no link_line", `,"link_line":["gcc","-o","x y"]`, "", func(l *xalt.Link) { l.LinkLine = xalt.Unknown }, []string{"link_line"}},
		{"link_line is null", `["gcc","-o","x y"]`, "null", func(l *xalt.Link) { l.LinkLine = xalt.Unknown }, []string{"link_line"}},
		{"link_line is empty", `["gcc","-o","x y"]`, "[]", func(l *xalt.Link) { l.LinkLine = "" }, nil},
		{"link_line is a text", `["gcc","-o","x y"]`, `"gcc -o x y"`, func(*xalt.Link) {}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(linkText, tt.old, tt.new, 1)
			if tt.name == "members at the top" {
				text = strings.Replace(text, `"build_host":"vm"}`, `"build_host":"vm"`, 1)
			}
			rec, err := xalt.Decode(xalt.KindLink, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			want := want
			tt.change(&want)
			if diff := cmp.Diff(&want, rec.Link); diff != "" {
				t.Errorf("link: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.defaulted, rec.Defaulted); diff != "" {
				t.Errorf("defaulted: -want +got\n%s", diff)
			}
		})
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"no uuid", `"uuid":"` + uuidB + `",`, "", "uuid"},
		{"uuid of 40", uuidB, uuidB + "0000", "uuid"},
		{"no exec_path", `"exec_path":"/home/d\u00efr/x\\u00ef",`, "", "exec_path"},
		{"no build_epoch", `"build_epoch":"1795167839.7545",`, "", "build_epoch"},
		{"bad build_epoch", "1795167839.7545", "yesterday", "build_epoch"},
		{"build_epoch is zero", "1795167839.7545", "0", "build_epoch"},
		{"build_epoch is after the year 9999 in some zone", "1795167839.7545", "253402250400", "build_epoch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := xalt.Decode(xalt.KindLink, []byte(strings.Replace(linkText, tt.old, tt.new, 1)))
			if !errors.Is(err, xalt.ErrRecord) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Decode = %+v, %v, want ErrRecord about %s", rec.Link, err, tt.want)
			}
		})
	}
}

func TestDecodePkg(t *testing.T) {
	const text = `{"crc":"0x8409","program":"R","xalt_run_uuid":"` + uuidA + `","package_name":"methods","package_version":"3.0","package_path":"/opt/R"}`
	want := xalt.Pkg{RunUUID: uuidA, Program: "R", Name: "methods", Version: "3.0", Path: "/opt/R"}
	for _, tt := range []struct {
		name, old, new string
		change         func(*xalt.Pkg)
		defaulted      []string
	}{
		{"whole", "", "", func(*xalt.Pkg) {}, nil},
		{"no program", `"program":"R",`, "", func(p *xalt.Pkg) { p.Program = xalt.Unknown }, []string{"program"}},
		{"no version", `"package_version":"3.0",`, "", func(p *xalt.Pkg) { p.Version = xalt.Unknown }, []string{"package_version"}},
		{"version is a number", `"3.0"`, "3.0", func(*xalt.Pkg) {}, nil},
		{"path is null", `"/opt/R"`, "null", func(p *xalt.Pkg) { p.Path = xalt.Unknown }, []string{"package_path"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := xalt.Decode(xalt.KindPkg, []byte(strings.Replace(text, tt.old, tt.new, 1)))
			if err != nil {
				t.Fatal(err)
			}
			want := want
			tt.change(&want)
			if diff := cmp.Diff(&want, rec.Pkg); diff != "" {
				t.Errorf("package: -want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.defaulted, rec.Defaulted); diff != "" {
				t.Errorf("defaulted: -want +got\n%s", diff)
			}
		})
	}
	for _, tt := range []struct{ old, new, want string }{
		{uuidA, "x", "xalt_run_uuid"},
		{`"package_name":"methods",`, "", "package_name"},
		{`"methods"`, `""`, "package_name"},
		{`"methods"`, `null`, "package_name"},
	} {
		if rec, err := xalt.Decode(xalt.KindPkg, []byte(strings.Replace(text, tt.old, tt.new, 1))); !errors.Is(err, xalt.ErrRecord) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s as %s: Decode = %+v, %v, want ErrRecord about %s", tt.old, tt.new, rec.Pkg, err, tt.want)
		}
	}
}

func TestDecodeSkip(t *testing.T) {
	const text = `{"crc":"0x0000","uuid":"` + uuidA + `","epoch":1795000000.5,"syshost":"rios","user":"alice","role":"ld","program":"gcc","reason":"no lock"}`
	want := &xalt.Skip{UUID: uuidA, Time: 1795000000.5, Syshost: "rios", User: "alice", Role: "ld", Program: "gcc", Reason: "no lock"}
	rec, err := xalt.Decode(xalt.KindSkip, []byte(text))
	if diff := cmp.Diff(want, rec.Skip); err != nil || diff != "" {
		t.Errorf("%v, skip: -want +got\n%s", err, diff)
	}
	rec, err = xalt.Decode(xalt.KindSkip, []byte(`{"uuid":"`+uuidA+`","epoch":"5"}`))
	if err != nil || rec.Skip.Reason != xalt.Unknown || len(rec.Defaulted) != 5 {
		t.Errorf("almost empty: %v, %+v, defaulted %q", err, rec.Skip, rec.Defaulted)
	}
	for _, tt := range []struct{ old, new, want string }{{uuidA, "x", "uuid"}, {"1795000000.5", "0", "epoch"}} {
		if _, err := xalt.Decode(xalt.KindSkip, []byte(strings.Replace(text, tt.old, tt.new, 1))); !errors.Is(err, xalt.ErrRecord) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s as %s: %v, want ErrRecord about %s", tt.old, tt.new, err, tt.want)
		}
	}
}

func TestDecodeObjects(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		want      []xalt.Object
		bad       int
	}{
		{"plain", `[["/a","0"],["/b","faf1"]]`, []xalt.Object{{"/a", "0"}, {"/b", "faf1"}}, 0},
		{"empty", `[]`, nil, 0},
		{"no array", `{}`, nil, 0},
		{"nothing", ``, nil, 0},
		{"repeats", `[["/a","0"],["/b","0"],["/a","0"]]`, []xalt.Object{{"/a", "0"}, {"/b", "0"}, {"/a", "0"}}, 0},
		{"other hash", `[["/a","0"],["/a","1"]]`, []xalt.Object{{"/a", "0"}, {"/a", "1"}}, 0},
		{"unknown hash", `[["/a","unknown"],["/b","0"]]`, []xalt.Object{{"/b", "0"}}, 0},
		{"hash is a number", `[["/a",0]]`, []xalt.Object{{"/a", "0"}}, 0},
		{"blanks behind", `[["/a ","0"],["/b\r\n","0"],["/c d","0"]]`, []xalt.Object{{"/a", "0"}, {"/b", "0"}, {"/c d", "0"}}, 0},
		{"escapes", `[["/d\u00efr\u0000","0"]]`, []xalt.Object{{"/dïr\uFFFD00", "0"}}, 0},
		{"no hash", `[["/a"],["/b",null]]`, []xalt.Object{{"/a", "0"}, {"/b", "0"}}, 2},
		{"no pair", `["/a",17,[],[17,"0"],["","0"],[" \n","0"],{"a":"b"}]`, nil, 7},
		{"more than a pair", `[["/a","0","x"]]`, []xalt.Object{{"/a", "0"}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, bad := xalt.DecodeObjects([]byte(tt.raw))
			if diff := cmp.Diff(tt.want, got); diff != "" || bad != tt.bad {
				t.Errorf("DecodeObjects(%s): bad %d, want %d, -want +got\n%s", tt.raw, bad, tt.bad, diff)
			}
		})
	}
}

func TestDecodeEnv(t *testing.T) {
	all := func(string) bool { return true }
	for _, tt := range []struct {
		name, raw string
		keep      func(string) bool
		want      []xalt.Env
	}{
		{"plain", `{"A":"1","B":"2"}`, all, []xalt.Env{{"A", "1"}, {"B", "2"}}},
		{"last counts", `{"A":"1","B":"2","A":"3"}`, all, []xalt.Env{{"A", "3"}, {"B", "2"}}},
		{"some", `{"A":"1","B":"2"}`, func(name string) bool { return name == "B" }, []xalt.Env{{"B", "2"}}},
		{"no text", `{"A":1,"B":null,"C":["x"]}`, all, []xalt.Env{{"A", "1"}, {"B", "null"}, {"C", `["x"]`}}},
		{"escapes", `{"\u0000A":"\ud83d"}`, all, []xalt.Env{{"\uFFFD00A", xalt.Storable("\xed\xa0\xbd")}}},
		{"empty", `{}`, all, nil},
		{"no object", `["A"]`, all, nil},
		{"nothing", ``, all, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, xalt.DecodeEnv([]byte(tt.raw), tt.keep)); diff != "" {
				t.Errorf("DecodeEnv(%s): -want +got\n%s", tt.raw, diff)
			}
		})
	}
}

func TestDecodeNames(t *testing.T) {
	for raw, want := range map[string][]string{
		`["a","b","a"]`: {"a", "b", "a"},
		`["\u0000",17]`: {"\uFFFD00", "17"},
		`[]`:            nil,
		`{}`:            nil,
		``:              nil,
	} {
		if diff := cmp.Diff(want, xalt.DecodeNames([]byte(raw))); diff != "" {
			t.Errorf("DecodeNames(%s): -want +got\n%s", raw, diff)
		}
	}
}

func TestLibType(t *testing.T) {
	for path, want := range map[string]string{
		"/lib/libc.so":          "so",
		"/lib/libc.so.6":        "so",
		"/lib/libc.so.6.0.17":   "so",
		"/lib/libm.a":           "a",
		"/lib/crt1.o":           "o",
		"crt1.o":                "o",
		"/lib/libc-2.31.so":     "so",
		"/lib/libfoo.so.1.2a":   "--",
		"/lib/libc.so.":         "--",
		"/lib/libfoo.dylib":     "--",
		"/lib/libm.A":           "--",
		"/lib.so/program":       "--",
		"/lib.so/program.1":     "--",
		"/usr/bin/python3.11":   "--",
		"/lib/so":               "--",
		"/lib/libc.so \r\n":     "so",
		"":                      "--",
		"/":                     "--",
		"/lib/libfoo.a.so.o.12": "o",
	} {
		if got := xalt.LibType(path); got != want {
			t.Errorf("LibType(%q) = %s, want %s", path, got, want)
		}
	}
}

// TestDecodeMemory holds decoded records and wants their texts to be freed.
func TestDecodeMemory(t *testing.T) {
	const records, size = 64, 1 << 20
	held := make([]*xalt.Run, 0, records)
	before := heap()
	for range records {
		rec, err := xalt.Decode(xalt.KindRun, runText(`"ptA":["`+strings.Repeat("x", size)+`"]`))
		if err != nil {
			t.Fatal(err)
		}
		rec.Run.LibA, rec.Run.EnvT = nil, nil
		held = append(held, rec.Run)
	}
	if got, limit := heap()-before, int64(records*size/8); got > limit {
		t.Errorf("%d records of %d bytes hold %d bytes, want less than %d", records, size, got, limit)
	}
	runtime.KeepAlive(held)
}

// TestDecodeDetaches overwrites a record's text, which readers use again: what
// was decoded stays as it is.
func TestDecodeDetaches(t *testing.T) {
	type sampleText struct {
		kind xalt.Kind
		text string
	}
	texts := []sampleText{
		{xalt.KindLink, linkText},
		{xalt.KindLink, strings.Replace(linkText, `"link_line":[`, `"link_line":["gcc"],"was":[`, 1)},
		{xalt.KindLink, strings.Replace(linkText, `"link_line":[`, `"link_line":"gcc -o x","was":[`, 1)},
		{xalt.KindSkip, `{"uuid":"` + uuidA + `","epoch":5,"user":"u","program":"p"}`},
		{xalt.KindRun, string(runText(`"cmdlineA":"no array"`, `"a":NaN`))},
	}
	for _, r := range sample(t) {
		texts = append(texts, sampleText{r.kind, string(r.text)})
	}
	var d xalt.Decoder
	for _, s := range texts {
		text := []byte(s.text)
		rec, err := d.Decode(s.kind, text)
		if err != nil {
			t.Fatalf("%s: %v", s.text, err)
		}
		if rec.Run != nil {
			rec.Run.LibA, rec.Run.EnvT = nil, nil
		}
		if rec.Link != nil {
			rec.Link.LinkA, rec.Link.Functions = nil, nil
		}
		show := func() string {
			return fmt.Sprintf("%+v %+v %+v %+v %q", rec.Run, rec.Link, rec.Pkg, rec.Skip, rec.Defaulted)
		}
		before := show()
		for i := range text {
			text[i] = '#'
		}
		if after := show(); after != before {
			t.Errorf("%s: what was decoded changed with its text:\n%s\n%s", s.kind, before, after)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestDecodeSample decodes every record of the sample log without a default.
func TestDecodeSample(t *testing.T) {
	for _, r := range sample(t) {
		rec, err := xalt.Decode(r.kind, r.text)
		if err != nil || len(rec.Defaulted) > 0 {
			t.Errorf("%s: %v, defaulted %q", r.blocks[0].Key, err, rec.Defaulted)
			continue
		}
		if rec.Run != nil {
			objects, bad := xalt.DecodeObjects(rec.Run.LibA)
			env := xalt.DecodeEnv(rec.Run.EnvT, func(string) bool { return true })
			if len(objects) == 0 || bad != 0 || len(env) == 0 {
				t.Errorf("%s: %d objects, %d bad, %d variables", r.blocks[0].Key, len(objects), bad, len(env))
			}
		}
	}
}

// FuzzDecode wants text that can be stored, or an error.
func FuzzDecode(f *testing.F) {
	for i, r := range sample(f) {
		if i%10 == 0 {
			f.Add(string(r.kind), r.text)
		}
	}
	f.Add("skip", []byte(`{"uuid":"`+uuidA+`","epoch":5}`))
	f.Add("run", runText(`"cmdlineA":["\ud83d\u0000`+"\xff"+`"]`, `"libA":[[" ",1],["/a"],[]]`, `"envT":{"\u0000":NaN}`))
	f.Add("link", []byte(linkText))
	f.Fuzz(func(t *testing.T, kind string, text []byte) {
		rec, err := xalt.Decode(xalt.Kind(kind), text)
		if err != nil {
			if !errors.Is(err, xalt.ErrRecord) {
				t.Fatalf("Decode = %v, want ErrRecord", err)
			}
			return
		}
		var texts []string
		if r := rec.Run; r != nil {
			texts = append(texts, r.RunUUID, r.LinkUUID, r.Syshost, r.User, r.Account, r.JobID, r.Queue, r.ExecPath, r.ExecType, r.HashID, r.Cwd, r.Cmdline, r.Container)
			if !(r.StartTime >= 1) || !(r.EndTime >= 0) || !(r.RunTime >= 0) || !(r.Probability >= 0 && r.Probability <= 1) || r.NumCores < 0 || r.NumGPUs < 0 {
				t.Errorf("numbers out of range: %+v", r)
			}
			texts = append(texts, members(r.LibA, r.EnvT)...)
		}
		if l := rec.Link; l != nil {
			texts = append(texts, l.UUID, l.LinkProgram, l.LinkPath, l.BuildUser, l.BuildSyshost, l.ExecPath, l.HashID, l.Cwd, l.LinkLine)
			texts = append(texts, members(l.LinkA, nil)...)
			texts = append(texts, xalt.DecodeNames(l.Functions)...)
		}
		if p := rec.Pkg; p != nil {
			texts = append(texts, p.RunUUID, p.Program, p.Name, p.Version, p.Path)
		}
		if s := rec.Skip; s != nil {
			texts = append(texts, s.UUID, s.Syshost, s.User, s.Role, s.Program, s.Reason)
		}
		if len(texts) == 0 {
			t.Fatal("no record and no error")
		}
		for i, s := range texts {
			checkText(t, fmt.Sprintf("text %d", i), s)
		}
	})
}

func members(objects, env []byte) (texts []string) {
	list, _ := xalt.DecodeObjects(objects)
	for _, o := range list {
		texts = append(texts, o.Path, o.HashID)
	}
	for _, e := range xalt.DecodeEnv(env, func(string) bool { return true }) {
		texts = append(texts, e.Name, e.Value)
	}
	return texts
}

func BenchmarkDecode(b *testing.B) {
	records := sample(b)
	total := 0
	for _, r := range records {
		total += len(r.text)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	var d xalt.Decoder
	for b.Loop() {
		for _, r := range records {
			if _, err := d.Decode(r.kind, r.text); err != nil {
				b.Fatal(err)
			}
		}
	}
}
