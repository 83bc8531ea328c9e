package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"
)

// A stubbed launch: what is called, in which environment, and what the record
// says of it; @ stands for the directory with the programs.
type stubbed struct {
	name  string // of the launcher
	real  string // what stands in its file, to tell whose it is
	args  []string
	env   []string
	want  []string // executables
	tasks []float64
	nodes float64
	more  map[string]string // members of the records
}

func stubs() []stubbed {
	return []stubbed{
		{name: "srun", args: []string{"-n", "8", "-N2", "--cpus-per-task=4", "@/app", "in put", "\xff\n"}, want: []string{"@/app"}, tasks: []float64{8}, nodes: 2, more: map[string]string{"userDT.num_threads": "4.0000"}},
		{name: "srun", args: []string{"--multi-prog", "-n4", "@/multi.conf"}, env: []string{"SLURM_JOB_ID=77", "SLURM_JOB_NUM_NODES=3", "SLURM_JOB_ACCOUNT=a-1"}, want: []string{"@/app", "@/other"}, tasks: []float64{1, 3}, nodes: 3, more: map[string]string{"userT.job_id": "77", "userT.account": "a-1", "userT.scheduler": "SLURM"}},
		{name: "aprun", args: []string{"-n", "32", "-N", "16", "-d2", "@/app"}, want: []string{"@/app"}, tasks: []float64{32}, nodes: 2, more: map[string]string{"userDT.num_threads": "2.0000"}},
		{name: "aprun", args: []string{"-n4", "@/app", ":", "-n", "2", "@/other", "x"}, want: []string{"@/app", "@/other"}, tasks: []float64{4, 2}},
		{name: "jsrun", args: []string{"-n", "6", "-a2", "-c", "7", "-g1", "@/app"}, want: []string{"@/app"}, tasks: []float64{12}},
		{name: "ibrun", args: []string{"-n", "4", "-o", "2", "@/app", "-n", "9"}, want: []string{"@/app"}, tasks: []float64{4}},
		{name: "mpirun.lsf", args: []string{"@/app", "-n", "3"}, env: []string{"LSB_JOBID=5", "LSB_MCPU_HOSTS=h1 8 h2 8", "LSB_QUEUE=q"}, want: []string{"@/app"}, tasks: []float64{16}, nodes: 2, more: map[string]string{"userT.queue": "q", "userT.scheduler": "LSF"}},
		{name: "mympirun", args: []string{"--hybrid", "2", "@/app"}, want: []string{"@/app"}, tasks: []float64{0}},
		{name: "flux", args: []string{"run", "-n", "4", "-N", "2", "--cores-per-task=3", "@/app"}, want: []string{"@/app"}, tasks: []float64{4}, nodes: 2},
		{name: "flux", args: []string{"jobs", "-a"}, want: []string{"@/bin/flux"}, tasks: []float64{0}},
		{name: "prun", args: []string{"-n", "4", "--map-by", "ppr:2:node", "@/app"}, want: []string{"@/app"}, tasks: []float64{4}, nodes: 2},
		{name: "mpiexec.hydra", args: []string{"-genv", "A", "b", "-n", "4", "-ppn", "2", "@/app"}, want: []string{"@/app"}, tasks: []float64{4}},
		{name: "mpiexec", real: "HYDRA_", args: []string{"-n", "2", "@/app", ":", "-n", "1", "-env", "X=y", "@/other"}, want: []string{"@/app", "@/other"}, tasks: []float64{2, 1}},
		{name: "mpirun", real: "MPI_SGI", args: []string{"hosta,hostb", "8", "@/app"}, want: []string{"@/app"}, tasks: []float64{16}, nodes: 2},
		{name: "mpiexec", real: "PALS_NRANKS", args: []string{"-n", "8", "--ppn", "4", "--depth=2", "@/app"}, want: []string{"@/app"}, tasks: []float64{8}, nodes: 2, more: map[string]string{"userDT.num_threads": "2.0000"}},
		{name: "mpirun", real: "Intel(R) MPI Library", args: []string{"-perhost", "2", "-n", "4", "@/app"}, want: []string{"@/app"}, tasks: []float64{4}},
		{name: "mpirun", real: "OMPI_MCA_", args: []string{"--mca", "btl", "self", "-np", "4", "env", "A=b", "taskset", "-c", "0", "@/app"}, want: []string{"@/app"}, tasks: []float64{4}},
		{name: "mpiexec_mpt", args: []string{"-np", "4", "omplace", "-nt", "2", "@/app"}, env: []string{"PBS_JOBID=9.host"}, want: []string{"@/app"}, tasks: []float64{4}, more: map[string]string{"userT.job_id": "9.host", "userT.scheduler": "PBS"}},
		// What is not understood is the run of the launcher itself.
		{name: "srun", args: []string{"--no-such-option", "7", "@/app"}, want: []string{"@/bin/srun"}, tasks: []float64{0}},
		{name: "aprun", args: nil, want: []string{"@/bin/aprun"}, tasks: []float64{0}},
	}
}

// TestLaunchers: by each launcher's name the launcher behind us is run, with the
// very same arguments and environment, and the records tell what it starts. The
// launchers are stubs that write down what they got.
func TestLaunchers(t *testing.T) {
	stub, err := os.ReadFile(filepath.Join(built, "stub"))
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range stubs() {
		t.Run(fmt.Sprintf("%d %s %s", i, tt.name, tt.real), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			dir := t.TempDir()
			write := func(name, text string) {
				t.Helper()
				writeProgram(t, filepath.Join(dir, name), text)
			}
			write("bin/"+tt.name, string(stub)+tt.real)
			write("app", "#!/bin/sh\n")
			write("other", "#!/bin/sh\n")
			write("multi.conf", "0 "+dir+"/app\n1-3 "+dir+"/other\n")
			link := filepath.Join(dir, "wrap", tt.name)
			if err := os.Mkdir(filepath.Dir(link), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(wrapBinary(), link); err != nil {
				t.Fatal(err)
			}
			here := func(words []string) []string {
				var full []string
				for _, w := range words {
					full = append(full, strings.ReplaceAll(w, "@", dir))
				}
				return full
			}
			args := here(tt.args)
			env := append([]string{
				"XALT_WRAP_CONFIG=" + s.config, "ODD=a=b\n\xff", "EMPTY=", "HOME=/", "TZ=UTC", "OMP_NUM_THREADS=",
			}, tt.env...)
			look := func(wrapped bool) (arguments, environment []string) {
				t.Helper()
				out := filepath.Join(dir, "out")
				cmd := s.command(false, append([]string{filepath.Join(dir, "bin", tt.name)}, args...)...)
				path := dir + "/bin:/usr/bin:/bin"
				if wrapped {
					cmd.Path = link
				}
				cmd.Args[0] = tt.name
				cmd.Env = append(slices.Clone(env), "STUB_OUT="+out, "PATH="+dir+"/wrap:"+path)
				if got := runCommand(t, cmd); got != (result{status: 7}) {
					t.Fatalf("%+v", got)
				}
				text, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				a, e, _ := strings.Cut(string(text), "\x00\n\n")
				environment = strings.Split(strings.TrimSuffix(e, "\x00"), "\x00")
				if wrapped && emulated { // QEMU turns it round
					slices.Reverse(environment)
					environment = append(environment[2:], environment[1], environment[0])
				}
				return strings.Split(a, "\x00"), environment
			}
			wantArgs, wantEnv := look(false)
			gotArgs, gotEnv := look(true)
			if !slices.Equal(wantArgs, append([]string{tt.name}, args...)) {
				t.Fatalf("the stub got %q", wantArgs)
			}
			if diff := cmp.Diff(wantArgs, gotArgs); diff != "" {
				t.Errorf("arguments: -bare +wrapped\n%s", diff)
			}
			added := len(wantEnv)
			if len(gotEnv) != added+2 || !slices.Equal(gotEnv[:added], wantEnv) || !strings.HasPrefix(gotEnv[added], "XALT_RUN_UUID=") || !strings.HasPrefix(gotEnv[added+1], "XALT_DATE_TIME=") {
				t.Errorf("environment %q, bare %q", gotEnv, wantEnv)
			}
			s.launched(t, tt, here(tt.want))
		})
	}
}

// launched checks the records of a stubbed launch.
func (s *site) launched(t *testing.T, tt stubbed, want []string) {
	t.Helper()
	for _, part := range []string{".aaa.", ".zzz."} {
		got := map[string]gjson.Result{}
		for _, name := range s.recordNames() {
			if !strings.Contains(name, part) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(s.records, name))
			if err != nil {
				t.Fatal(err)
			}
			got[gjson.GetBytes(text, "userT.exec_path").String()] = gjson.ParseBytes(text)
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d records, want those of %q: %v", part, len(got), want, got)
		}
		for i, exec := range want {
			r := got[exec]
			if !r.Exists() {
				t.Errorf("%s: no record of %s: %v", part, exec, got)
				continue
			}
			if tasks := r.Get("userDT.num_tasks").Num; tasks != tt.tasks[i] {
				t.Errorf("%s: %s has %v tasks, want %v", part, exec, tasks, tt.tasks[i])
			}
			if nodes := r.Get("userDT.num_nodes").Num; nodes != tt.nodes {
				t.Errorf("%s: %s has %v nodes, want %v", part, exec, nodes, tt.nodes)
			}
			for member, value := range tt.more {
				if v := r.Get(member); v.String() != value && v.Raw != value {
					t.Errorf("%s: %s of %s is %s, want %s", part, member, exec, v.Raw, value)
				}
			}
			if status := r.Get("userT.exit_status"); (part == ".zzz.") != (status.Raw == "7") {
				t.Errorf("%s: exit status %q", part, status.Raw)
			}
		}
	}
}

// TestHydra: MPICH's launcher, the real one, under its own name.
func TestHydra(t *testing.T) {
	tool(t, "/usr/bin/mpiexec.hydra")
	s := newSite(t)
	dir := t.TempDir()
	if err := os.Symlink(wrapBinary(), filepath.Join(dir, "mpiexec.hydra")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) result {
		cmd := s.command(false, append([]string{"mpiexec.hydra", "-launcher", "fork"}, args...)...)
		cmd.Path = filepath.Join(dir, "mpiexec.hydra")
		cmd.Env = append(slices.Clone(s.env), "PATH="+dir+":/usr/bin:/bin")
		return runCommand(t, cmd)
	}
	got := run("-n", "2", "/bin/sh", "-c", "echo rank $PMI_RANK ${#XALT_RUN_UUID}")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	slices.Sort(lines)
	if want := []string{"rank 0 36", "rank 1 36"}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q; %s", lines, want, got.stderr)
	}
	if got := run("-n", "1", "/bin/sh", "-c", "exit 9", ":", "-n", "2", "/bin/true"); got.status != 9 {
		t.Errorf("exit 9: %+v", got)
	}
	db := ingest(t, s.records)
	if n := query(t, db, "SELECT count(*), group_concat(DISTINCT exec_path), max(exit_status) FROM xalt_run"); n != "3|/usr/bin/dash,/usr/bin/true|9" {
		t.Errorf("runs, tasks and statuses: %s", n)
	}
}

// TestContainers: of a program in an image its path there is recorded, and
// nothing of the file out here that has the same path; of an image's own program
// the runtime is.
func TestContainers(t *testing.T) {
	stub, err := os.ReadFile(filepath.Join(built, "stub"))
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		args      []string
		exec      string // @ is the directory of the runtimes
		container string
	}{
		{[]string{"apptainer", "exec", "--nv", "img.sif", "/bin/sh", "-c", "x"}, "/bin/sh", "img.sif"},
		{[]string{"singularity", "exec", "docker://me/app:1", "sh"}, "sh", "docker://me/app:1"},
		{[]string{"apptainer", "run", "img.sif", "/bin/sh"}, "@/apptainer", "img.sif"},
		{[]string{"podman", "run", "--rm", "-v", "/a:/b", "me/app:1", "/bin/sh", "x"}, "/bin/sh", "me/app:1"},
		{[]string{"podman", "run", "me/app:1"}, "@/podman", "me/app:1"},
		{[]string{"docker", "run", "-e", "A=b", "me/app:1", "./sh"}, "./sh", "me/app:1"},
		{[]string{"shifter", "--image=docker:ubuntu:22.04", "/bin/sh"}, "/bin/sh", "docker:ubuntu:22.04"},
		{[]string{"srun", "-n", "4", "apptainer", "exec", "img.sif", "/bin/sh"}, "/bin/sh", "img.sif"},
		{[]string{"srun", "-n", "4", "--container-image=me/app:1", "/bin/sh"}, "/bin/sh", "me/app:1"},
		{[]string{"srun", "-n", "4", "shifter", "/bin/sh"}, "/bin/sh", "shifter"},
	} {
		t.Run(fmt.Sprintf("%d %s", i, tt.args[0]), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			dir := t.TempDir()
			writeProgram(t, filepath.Join(dir, tt.args[0]), string(stub))
			writeProgram(t, filepath.Join(dir, "sh"), string(stub))
			cmd := s.command(true, tt.args...)
			cmd.Dir = dir
			cmd.Env = append(slices.Clone(s.env), "PATH="+dir+":/usr/bin:/bin", "STUB_OUT="+filepath.Join(dir, "out"))
			if got := runCommand(t, cmd); got != (result{status: 7}) {
				t.Fatalf("%+v", got)
			}
			for _, part := range []string{".aaa.", ".zzz."} {
				r := gjson.Parse(s.text("run.", part))
				exec := r.Get("userT.exec_path").String()
				if exec != strings.ReplaceAll(tt.exec, "@", dir) || r.Get("userT.container").String() != tt.container {
					t.Errorf("%s in %s", exec, r.Get("userT.container"))
				}
				outside := strings.HasPrefix(tt.exec, "@")
				if known := r.Get("hash_id").String() != "unknown"; known != outside {
					t.Errorf("hash %s", r.Get("hash_id"))
				}
				if !outside && (r.Get("libA.#").Num != 0 || r.Get("userT.exec_type").String() != "unknown" || r.Get("userT.execModify").String() != "unknown") {
					t.Errorf("of a file out here: %s", r.Raw)
				}
			}
		})
	}
}
