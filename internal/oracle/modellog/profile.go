package modellog

import (
	"fmt"
	"strings"
	"time"
)

// profile is one user's use of one application.
type profile struct {
	user, account, queue string
	execPath, hash, cwd  string
	linkUUID             string // of the last link, empty if there was none
	libraries            []string
	loaded               []string // libraries that are loaded while it runs
	linked               []string // object files and libraries of its link
	functions            []string
	env                  []string // "name":"value"
	packages             []string
	cores, nodes, tasks  int
	libA, moreLibA, envT string // the same as JSON
}

var (
	compilers = []string{"gcc/12.2.0", "intel/19.1.3", "nvhpc/24.7", "aocc/4.1.0"}
	mpis      = []string{"openmpi/4.1.6", "mvapich2/2.3.7", "impi/2021.9"}
	products  = []string{
		"hdf5", "netcdf", "fftw", "petsc", "trilinos", "boost", "openblas", "mkl", "gsl", "cuda", "hypre", "mumps",
		"scotch", "parmetis", "superlu", "zlib", "szip", "pnetcdf", "adios2", "eigen", "kokkos", "magma", "slepc", "metis",
	}
	variables = []string{
		"OMP_NUM_THREADS", "OMP_PLACES", "OMP_PROC_BIND", "MKL_NUM_THREADS", "KMP_AFFINITY", "I_MPI_PIN", "I_MPI_FABRICS",
		"MV2_ENABLE_AFFINITY", "OMPI_MCA_btl", "OMPI_MCA_pml", "UCX_TLS", "SLURM_CPU_BIND", "CUDA_VISIBLE_DEVICES",
		"PYTHONPATH", "R_LIBS", "CONDA_PREFIX", "VIRTUAL_ENV", "TACC_FAMILY_COMPILER", "TACC_FAMILY_MPI", "LMOD_SYSTEM_DEFAULT_MODULES",
		"MODULEPATH_ROOT", "LD_PRELOAD", "MALLOC_ARENA_MAX", "HDF5_USE_FILE_LOCKING", "FI_PROVIDER", "FFTW_DIR", "PETSC_DIR", "BOOST_DIR",
	}
)

// libraryDirs returns the directories of installed libraries, and tells the
// reverse map about their modules.
func (g *generator) libraryDirs() (dirs []string) {
	for _, compiler := range compilers {
		for _, product := range products {
			for version := range 3 {
				mpi := mpis[g.rand.IntN(len(mpis))]
				name := fmt.Sprintf("%s/%d.%d.%d", product, 1+version, g.rand.IntN(12), g.rand.IntN(9))
				dir := fmt.Sprintf("/opt/apps/%s/%s/%s/lib64", compiler, mpi, name)
				g.modules[dir] = fmt.Sprintf("%s(%s:%s)", name, compiler, mpi)
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

func (g *generator) makeProfiles() {
	dirs := g.libraryDirs()
	for i := range g.opts.Profiles {
		g.profiles = append(g.profiles, g.newProfile(i, dirs))
	}
}

func (g *generator) newProfile(i int, dirs []string) *profile {
	user := fmt.Sprintf("user%03d", g.rand.IntN(g.opts.Profiles/3+1))
	application := fmt.Sprintf("%s_%d", products[g.rand.IntN(len(products))], i)
	p := &profile{
		user: user, account: fmt.Sprintf("ACCT-%03d", g.rand.IntN(90)), queue: []string{"normal", "development", "gpu", "large"}[g.rand.IntN(4)],
		execPath: fmt.Sprintf("/work/%02d/%s/%s/build/bin/%s.x", g.rand.IntN(60), user, application, application),
		hash:     g.hash(), cwd: fmt.Sprintf("/scratch/%02d/%s/%s/case%03d", g.rand.IntN(60), user, application, g.rand.IntN(300)),
		cores: 1 << g.rand.IntN(7), nodes: 1 << g.rand.IntN(5), tasks: 1 << g.rand.IntN(8),
	}
	for range 28 + g.rand.IntN(34) {
		p.libraries = append(p.libraries, g.library(dirs))
	}
	for _, name := range []string{"ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libgcc_s.so.1"} {
		p.libraries = append(p.libraries, "/usr/lib64/"+name)
	}
	for range g.rand.IntN(5) {
		p.loaded = append(p.loaded, g.library(dirs))
	}
	p.makeEnv(g, dirs)
	for range 10 + g.rand.IntN(25) {
		p.linked = append(p.linked, strings.TrimSuffix(g.library(dirs), ".1")+".a")
	}
	for f := range g.rand.IntN(8) {
		p.functions = append(p.functions, fmt.Sprintf("%s_routine_%d", application, f))
	}
	if i%16 == 5 { // an interpreter
		p.execPath = fmt.Sprintf("/opt/apps/python/3.%d/bin/python3.%[1]d", 8+i%5)
		for range 2 + g.rand.IntN(5) {
			p.packages = append(p.packages, fmt.Sprintf("%s_py%d", products[g.rand.IntN(len(products))], g.rand.IntN(40)))
		}
	}
	p.libA, p.moreLibA = pairList(p.libraries), pairList(append(append([]string{}, p.libraries...), p.loaded...))
	p.envT = "{" + strings.Join(p.env, ",") + "}"
	return p
}

func (g *generator) library(dirs []string) string {
	dir := dirs[g.rand.IntN(len(dirs))]
	return fmt.Sprintf("%s/lib%s_%d.so.%d", dir, products[g.rand.IntN(len(products))], g.rand.IntN(6), 1+g.rand.IntN(4))
}

// makeEnv makes the environment, mostly search paths and switches.
func (p *profile) makeEnv(g *generator, dirs []string) {
	add := func(name, val string) { p.env = append(p.env, quoted(name)+":"+quoted(val)) }
	paths := func(n int) string {
		var parts []string
		for range n {
			parts = append(parts, dirs[g.rand.IntN(len(dirs))])
		}
		return strings.Join(parts, ":")
	}
	add("PATH", paths(14)+":/usr/bin:/bin")
	add("LD_LIBRARY_PATH", paths(27))
	add("LOADEDMODULES", strings.ReplaceAll(paths(17), "/opt/apps/", ""))
	add("_LMFILES_", paths(18))
	for _, name := range variables {
		if g.rand.IntN(10) < 9 {
			add(name, fmt.Sprintf("%s-%d", strings.ToLower(name), g.rand.IntN(30)))
		}
	}
}

// pairList returns a libA or linkA.
func pairList(paths []string) string {
	items := make([]string, len(paths))
	for i, path := range paths {
		items[i] = list([]string{path, "0"})
	}
	return "[" + strings.Join(items, ",") + "]"
}

// run is one run of a profile.
type run struct {
	*profile
	uuid, jobID, host string
	started           time.Time
	duration          time.Duration
	cmdline           string
}

func (g *generator) newRun(p *profile) *run {
	args := []string{p.execPath, "-i", fmt.Sprintf("%s/input_%05d.nml", p.cwd, g.rand.IntN(100000)), "--steps", fmt.Sprint(g.rand.IntN(100000))}
	return &run{
		profile: p, uuid: g.uuid(), jobID: fmt.Sprint(4000000 + g.rand.IntN(900000)), host: fmt.Sprintf("c%03d-%03d", g.rand.IntN(120), g.rand.IntN(100)),
		started: g.clock, duration: time.Duration(g.rand.ExpFloat64() * float64(90*time.Second)), cmdline: list(args),
	}
}

func epoch(at time.Time) float64 { return float64(at.UnixMicro()) / 1e6 }

func (g *generator) runRecord(n *run, ended bool) *record {
	libraries, size, end, runTime, key := n.libA, len(n.libraries), 0.0, 0.0, "run_strt_"+n.uuid
	g.stats.Starts++
	if ended {
		g.stats.Starts--
		g.stats.Ends++
		libraries, size, key = n.moreLibA, size+len(n.loaded), "run_fini_"+n.uuid
		end, runTime = epoch(n.started.Add(n.duration)), n.duration.Seconds()
	}
	g.stats.Objects += size
	g.stats.Variables += len(n.env)
	linkT := "{}"
	if n.linkUUID != "" {
		linkT = fmt.Sprintf(`{"XALT_Version":"3.2.4","Build_host":"login1","Build_Syshost":%q,"Build_compiler":"gcc","Build_compilerPath":"/usr/bin/gcc",`+
			`"Build_OS":"Linux 5.14.0","Build_User":%q,"Build_UUID":%q,"Build_Year":"2026","Build_date":"Fri Nov 20 09:44:00 2026",`+
			`"Build_LOADEDMODULES":"","Build_LMFILES":"","Build_CWD":%q,"Build_Epoch":"1795167840.9446"}`, g.opts.Syshost, n.user, n.linkUUID, n.cwd)
	}
	text := fmt.Sprintf(`{"crc":"0xFFFF","cmdlineA":%s,"hash_id":%q,"libA":%s,"ptA":[{"cmd_name":"bash","cmd_path":"/usr/bin/bash","pid":%d,`+
		`"cmdlineA":["/bin/bash","/var/spool/slurmd/job%s/slurm_script"]}],"envT":%s,`+
		`"userT":{"syshost":%q,"run_uuid":%q,"exec_path":%q,"exec_type":"binary","cwd":%q,"currentEpoch":"%.6f",`+
		`"start_date":"x","user":%q,"execModify":"x","scheduler":"SLURM","account":%q,"job_id":%q,"queue":%q,"submit_host":"login1"},`+
		`"userDT":{"start_time":%.4f,"end_time":%.4f,"run_time":%.4f,"probability":1.0000,"num_tasks":%d.0000,"num_gpus":0.0000,`+
		`"exec_epoch":1795167850.0000,"num_threads":1.0000,"num_cores":%d.0000,"num_nodes":%d.0000},"xaltLinkT":%s,`+
		`"XALT_measureT":{"08____total______":0.0004},"XALT_qaT":{"XALT_GIT_VERSION":"xalt-3.2.4","XALT_SAMPLING":"no"}}`,
		n.cmdline, n.hash, libraries, 1000+g.rand.IntN(90000), n.jobID, n.envT, g.opts.Syshost, n.uuid, n.execPath, n.cwd, epoch(n.started),
		n.user, n.account, n.jobID, n.queue, epoch(n.started), end, runTime, n.tasks, n.cores, n.nodes, linkT)
	return g.record(n.host, "run", key, text)
}

func (g *generator) link(p *profile) *record {
	g.stats.Links++
	p.linkUUID = g.uuid()
	text := fmt.Sprintf(`{"crc":"0xFFFF","resultT":{"uuid":%q,"link_program":"gcc","link_path":"/usr/bin/gcc","build_user":%q,`+
		`"build_epoch":"%.4f","exec_path":%q,"hash_id":%q,"wd":%q,"build_syshost":%q,"build_host":"login1"},"linkA":%s,"function":%s,"link_line":%s}`,
		p.linkUUID, p.user, epoch(g.stats.Last), p.execPath, p.hash, p.cwd, g.opts.Syshost, pairList(p.linked), list(p.functions),
		list([]string{"gcc", "-O3", "-march=native", "-o", p.execPath, "main.o", "solver.o", "-lm"}))
	return g.record("login1", "link", "link_"+p.linkUUID, text)
}

func (g *generator) pkg(n *run, i int) *record {
	g.stats.Pkgs++
	name := n.packages[i]
	text := fmt.Sprintf(`{"crc":"0xFFFF","program":"python","xalt_run_uuid":%q,"package_name":%q,"package_version":"3.11.2","package_path":"/opt/apps/python/lib/%s/__init__.py"}`,
		n.uuid, name, name)
	return g.record(n.host, "pkg", fmt.Sprintf("pkg_%s_%012x", n.uuid, g.rand.Uint64()&0xFFFFFFFFFFFF), text)
}
