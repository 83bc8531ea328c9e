package ingest_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
)

func parseFilter(t *testing.T, text string) *ingest.Filter {
	t.Helper()
	f, err := ingest.ParseFilter([]byte(text), "filter.toml")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const filterText = `
[[rule]]
action = "keep"
exec_path = "/opt/keep/.*"

[[rule]]
action = "SKIP"
exec_path = "/opt/.*"
user = "alice|bob"

[[rule]]
action = "SKIP"
queue = "debug"

[[rule]]
action = "SKIP"
package_name = "(?i)secret.*"

[[rule]]
action = "SKIP"
package_path = "/home/.*"

[[rule]]
action = "SAMPLE"
percent = 25
user = "many"
`

func TestFilterDecide(t *testing.T) {
	f := parseFilter(t, filterText)
	for _, tt := range []struct {
		name string
		s    ingest.Subject
		keep bool
		rule int
	}{
		{"first rule wins", ingest.Subject{ExecPath: "/opt/keep/x", User: "alice"}, true, 1},
		{"all patterns of a rule", ingest.Subject{ExecPath: "/opt/x", User: "bob"}, false, 2},
		{"one pattern does not match", ingest.Subject{ExecPath: "/opt/x", User: "carol"}, true, 0},
		{"the whole text", ingest.Subject{ExecPath: "/x/opt/x", User: "alice"}, true, 0},
		{"the whole of alternatives", ingest.Subject{ExecPath: "/opt/x", User: "alicex"}, true, 0},
		{"newline in a text", ingest.Subject{ExecPath: "/opt/a\nb", User: "bob"}, false, 2},
		{"queue", ingest.Subject{ExecPath: "/x", Queue: "debug"}, false, 3},
		{"package by name", ingest.Subject{Package: true, PackageName: "SecretStuff"}, false, 4},
		{"package by path", ingest.Subject{Package: true, PackageName: "x", PackagePath: "/home/u"}, false, 5},
		{"package rules are not about runs", ingest.Subject{ExecPath: "/x", PackageName: "secret"}, true, 0},
		{"run rules are not about packages", ingest.Subject{Package: true, Queue: "debug", PackageName: "x"}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := f.Decide(tt.s)
			if want := (ingest.Decision{Keep: tt.keep, Probability: 1, Rule: tt.rule}); got != want {
				t.Errorf("Decide(%+v) = %+v, want %+v", tt.s, got, want)
			}
		})
	}
	if got, want := (*ingest.Filter)(nil).Decide(ingest.Subject{}), (ingest.Decision{Keep: true, Probability: 1}); got != want {
		t.Errorf("no filter: %+v, want %+v", got, want)
	}
	both := parseFilter(t, "[[rule]]\naction = \"SKIP\"\n")
	for _, isPackage := range []bool{false, true} {
		if d := both.Decide(ingest.Subject{Package: isPackage}); d.Keep || d.Rule != 1 {
			t.Errorf("a rule without fields, package %t: %+v, want skipped", isPackage, d)
		}
	}
}

func TestFilterSample(t *testing.T) {
	for _, percent := range []float64{0.5, 25, 99.9, 100} {
		f := parseFilter(t, fmt.Sprintf("[[rule]]\naction = \"SAMPLE\"\npercent = %g\n", percent))
		const all = 20_000
		kept := 0
		for n := range all {
			d := f.Decide(ingest.Subject{UUID: uuid(n)})
			if again := f.Decide(ingest.Subject{UUID: uuid(n), User: "other"}); again != d {
				t.Fatalf("%g%%: %+v, then %+v for one UUID", percent, d, again)
			}
			if d.Probability != percent/100 {
				t.Fatalf("probability %g, want %g", d.Probability, percent/100)
			}
			if d.Keep {
				kept++
			}
		}
		want := all * percent / 100
		if deviation := 4 * math.Sqrt(want*(1-percent/100)+1); math.Abs(float64(kept)-want) > deviation {
			t.Errorf("%g%%: %d of %d kept, want %.0f or within %.0f of it", percent, kept, all, want, deviation)
		}
	}
}

func TestFilterEnvironment(t *testing.T) {
	for _, tt := range []struct{ name, text, kept string }{
		{"no list", ``, "PATH OMP_NUM_THREADS SLURM_JOB_ID"},
		{"list", "[environment]\nkeep = [\"OMP_.*\", \"PATH\"]\n", "PATH OMP_NUM_THREADS"},
		{"whole name", "[environment]\nkeep = [\"OMP\"]\n", ""},
		{"empty list", "[environment]\nkeep = []\n", ""},
	} {
		f := parseFilter(t, tt.text)
		var kept []string
		for _, name := range []string{"PATH", "OMP_NUM_THREADS", "SLURM_JOB_ID"} {
			if f.KeepEnv(name) {
				kept = append(kept, name)
			}
		}
		if got := strings.Join(kept, " "); got != tt.kept {
			t.Errorf("%s: %q kept, want %q", tt.name, got, tt.kept)
		}
	}
	if !(*ingest.Filter)(nil).KeepEnv("X") {
		t.Error("no filter: X is not kept")
	}
}

func TestFilterErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no TOML", "[[rule]]\naction = \"KEEP\nx", "filter.toml:2:"},
		{"unknown key", "[[rule]]\naction = \"KEEP\"\nusr = \"x\"\n", `filter.toml:3:1: unknown key "rule.usr"`},
		{"unknown table", "[rules]\nx = 1\n", "unknown key"},
		{"wrong type", "[[rule]]\naction = \"KEEP\"\nuser = 17\n", "filter.toml:3:"},
		{"no action", "[[rule]]\nuser = \"x\"\n", `rule 1: action is ""`},
		{"unknown action", "[[rule]]\naction = \"KEEP\"\n[[rule]]\naction = \"DROP\"\n", `rule 2: action is "DROP"`},
		{"percent with KEEP", "[[rule]]\naction = \"KEEP\"\npercent = 5\n", "percent"},
		{"SAMPLE without percent", "[[rule]]\naction = \"SAMPLE\"\n", "percent"},
		{"percent is zero", "[[rule]]\naction = \"SAMPLE\"\npercent = 0\n", "percent"},
		{"percent is above 100", "[[rule]]\naction = \"SAMPLE\"\npercent = 101\n", "percent"},
		{"percent is no number", "[[rule]]\naction = \"SAMPLE\"\npercent = nan\n", "percent"},
		{"bad expression", "[[rule]]\naction = \"KEEP\"\nuser = \"(\"\n", "rule 1: user:"},
		{"expression that leaves its brackets", "[[rule]]\naction = \"SKIP\"\nuser = \"a)|(?:.*\"\n", "rule 1: user:"},
		{"bad expression for the environment", "[environment]\nkeep = [\"(\"]\n", "environment:"},
		{"packages and runs", "[[rule]]\naction = \"KEEP\"\nuser = \"x\"\npackage_name = \"y\"\n", "not both"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ingest.ParseFilter([]byte(tt.text), "filter.toml")
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "filter.toml") {
				t.Errorf("ParseFilter(%q) = %v, want an error with %q", tt.text, err, tt.want)
			}
		})
	}
}

func TestFilterDescribe(t *testing.T) {
	f := parseFilter(t, filterText)
	for number, want := range map[int]string{
		0: "no rule matches: KEEP",
		2: `filter.toml: rule 2: SKIP exec_path="/opt/.*" user="alice|bob"`,
		6: `filter.toml: rule 6: SAMPLE 25% user="many"`,
		7: "no rule matches: KEEP",
	} {
		if got := f.Describe(number); got != want {
			t.Errorf("Describe(%d) = %q, want %q", number, got, want)
		}
	}
}

// TestFilterRun reads records through a filter: what is left out is counted
// and known, and what is sampled has its probability multiplied.
func TestFilterRun(t *testing.T) {
	s := newSite(t)
	f := parseFilter(t, "[[rule]]\naction = \"SAMPLE\"\npercent = 50\n")
	file := s.file("xalt.log", runLog(t, 1, 200))
	filtered := func(o *ingest.Options) { o.Filter = f }
	stats := s.with(filtered, file)
	if stats.Records.Stored+stats.Records.Filtered != 200 || stats.Records.Stored < 50 || stats.Records.Filtered < 50 {
		t.Errorf("records %+v, want 200 stored or filtered", stats.Records)
	}
	if got := s.count("SELECT COUNT(*) FROM xalt_run WHERE probability <> 0.5"); got != 0 {
		t.Errorf("%d runs whose probability is not 0.5", got)
	}
	full := s.with(func(o *ingest.Options) { filtered(o); o.Full = true }, file)
	if full.Records.Repeated != 200 || full.Records.Total() != 200 {
		t.Errorf("again: records %+v, want 200 repeated", full.Records)
	}
	all := s.run(file)
	if all.Records.Stored != stats.Records.Filtered {
		t.Errorf("without the filter: records %+v, want %d stored", all.Records, stats.Records.Filtered)
	}
}
