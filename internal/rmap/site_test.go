package rmap_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/rmap"
)

// A simModule is a modulefile of a made-up site.
type simModule struct {
	name    string   // NAME/VERSION
	flags   string   // h hidden, d default
	parents []string // flavors without "default:"
	dirs    []string // "DIR", "bin:DIR" or "dir:DIR"; without a prefix a library directory
}

// A simSite is a module tree with its answers, and spider as REVERSE_MAP
// describes it: the owner of a shared directory is the module that comes first
// by chance, all claimants' flavors are mixed into its entry, and the real path
// of a symlink overwrites whoever owns it.
type simSite struct {
	modules []simModule
	links   map[string]string // symlink to directory
	truth   map[string]string // directory to module, "" for none
	untold  string            // a directory of which reverse maps do not tell what decides
}

func (s *simSite) file(m *simModule) string {
	base := path.Base(m.name)
	return "/mf/" + strings.TrimSuffix(m.name, base) + base + ".lua"
}

// real resolves the symlinks of the site.
func (s *simSite) real(dir string) string {
	for range 10 {
		before := dir
		for link, target := range s.links {
			if dir == link || strings.HasPrefix(dir, link+"/") {
				dir = target + dir[len(link):]
			}
		}
		if dir == before {
			break
		}
	}
	return dir
}

func simDir(d string) (dir, kind string) {
	if k, rest, ok := strings.Cut(d, ":"); ok {
		return rest, k
	}
	return d, "lib"
}

type simEntry struct {
	Pkg      string   `json:"pkg"`
	Kind     string   `json:"kind"`
	Flavor   []string `json:"flavor"`
	ModuleFn string   `json:"moduleFn"`
}

func (m *simModule) flavors() []string {
	out := []string{"default"}
	if len(m.parents) > 0 {
		out = nil
	}
	for _, p := range m.parents {
		out = append(out, "default:"+p)
	}
	return out
}

// reverseMap is one run of spider.
func (s *simSite) reverseMap(t *testing.T, rng *rand.Rand, label string) (*rmap.Input, map[string]*simEntry) {
	t.Helper()
	table := make(map[string]*simEntry)
	for _, i := range rng.Perm(len(s.modules)) {
		m := &s.modules[i]
		for _, d := range m.dirs {
			dir, kind := simDir(d)
			if e := table[dir]; e != nil {
				e.Flavor = append(e.Flavor, m.flavors()...)
				slices.Sort(e.Flavor)
				e.Flavor = slices.Compact(e.Flavor)
				continue
			}
			table[dir] = &simEntry{m.name, kind, m.flavors(), s.file(m)}
		}
	}
	dirs := slices.Sorted(maps.Keys(table))
	rng.Shuffle(len(dirs), func(i, j int) { dirs[i], dirs[j] = dirs[j], dirs[i] })
	for _, dir := range dirs {
		if real := s.real(dir); real != dir {
			table[real] = table[dir]
		}
	}
	return jsonInput(t, label, map[string]any{"reverseMapT": table, "xlibmap": []string{}}), table
}

func (s *simSite) spider(t *testing.T) *rmap.Input {
	t.Helper()
	table := make(map[string]map[string]any)
	for i := range s.modules {
		m := &s.modules[i]
		wV := "0001.*zfinal"
		if strings.Contains(m.flags, "d") {
			wV = "^" + wV
		}
		out := map[string]any{"fullName": m.name, "hidden": strings.Contains(m.flags, "h"), "mpath": "/mf", "wV": wV}
		for _, d := range m.dirs {
			dir, kind := simDir(d)
			field := map[string]string{"lib": "lpathA", "bin": "pathA", "dir": "dirA"}[kind]
			if out[field] == nil {
				out[field] = make(map[string]int)
			}
			out[field].(map[string]int)[dir] = 1
		}
		var parents [][]string
		for _, p := range m.parents {
			parents = append(parents, strings.Split(p, ":"))
		}
		if parents != nil {
			out["parentAA"] = parents
		}
		name, _, _ := strings.Cut(m.name, "/")
		if table[name] == nil {
			table[name] = make(map[string]any)
		}
		table[name][s.file(m)] = out
	}
	return jsonInput(t, "modules", table)
}

func jsonInput(t *testing.T, label string, v any) *rmap.Input {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	in, err := rmap.ReadInput(bytes.NewReader(text), label)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// own makes the modules of a package with versions, each with bin and lib in
// root, where %n and %v stand for name and version.
func own(s *simSite, name, root string, versions ...string) {
	for _, v := range versions {
		dir := strings.NewReplacer("%n", name, "%v", v).Replace(root)
		full := name + "/" + v
		s.modules = append(s.modules, simModule{name: full, dirs: []string{"bin:" + dir + "/bin", dir + "/lib"}})
		s.truth[dir+"/bin"], s.truth[dir+"/lib"] = full, full
	}
}

func newSim() *simSite {
	return &simSite{links: make(map[string]string), truth: make(map[string]string)}
}

func (s *simSite) add(name string, dirs ...string) *simModule {
	s.modules = append(s.modules, simModule{name: name, dirs: dirs})
	return &s.modules[len(s.modules)-1]
}

// libs gives the library directories that have an owner, sorted.
func (s *simSite) libs() []string {
	var out []string
	for dir, owner := range s.truth {
		if owner != "" && strings.Contains(path.Base(dir), "lib") {
			out = append(out, dir)
		}
	}
	slices.Sort(out)
	return out
}

// simSites are the ways in which sites name things.
var simSites = map[string]func() *simSite{
	"EasyBuild": func() *simSite {
		s := newSim()
		for _, v := range []string{"1.12.2-gompi-2022b", "1.14.0-gompi-2023a", "1.14.0-iimpi-2023a"} {
			own(s, "HDF5", "/apps/eb/software/%n/%v", v)
		}
		own(s, "GCCcore", "/apps/eb/software/%n/%v", "12.2.0", "12.3.0")
		own(s, "Python", "/apps/eb/software/%n/%v", "3.10.8-GCCcore-12.2.0", "3.11.3-GCCcore-12.3.0")
		own(s, "SciPy-bundle", "/apps/eb/software/%n/%v", "2023.07-gfbf-2023a")
		own(s, "OpenMPI", "/apps/eb/software/%n/%v", "4.1.5-GCC-12.3.0")
		for i := range s.modules { // EasyBuild's *_DIR
			root := strings.TrimSuffix(s.modules[i].dirs[1], "/lib")
			s.modules[i].dirs = append(s.modules[i].dirs, "dir:"+root)
			s.truth[root] = s.modules[i].name
		}
		s.add("foss/2023a")
		s.add("site-all/2023a", s.libs()...)
		s.add("everything/12.3.0", s.libs()...)
		return s
	},
	"EasyBuild, found from a directory further up too": func() *simSite {
		s := newSim()
		own(s, "Java", "/apps/eb/software/%n/%v", "11.0.20", "17.0.6")
		own(s, "BLAST+", "/apps/eb/software/%n/%v", "2.14.0-gompi-2023a")
		for _, m := range slices.Clone(s.modules) {
			s.add("all/"+m.name, m.dirs...)
			s.add("bio/"+m.name, m.dirs...)
		}
		return s
	},
	"Spack with hashes": func() *simSite {
		s := newSim()
		h := func(i int) string { return strings.Repeat(fmt.Sprintf("%cq3", 'a'+i), 11)[:32] }
		for i, n := range []string{"hdf5", "netcdf-c", "netcdf-fortran", "py-numpy", "zlib", "openmpi"} {
			for j, comp := range []string{"gcc-12.2.0", "oneapi-2023.2.0"} {
				v := fmt.Sprintf("%d.14.%d", i, i)
				dir := fmt.Sprintf("/opt/spack/linux-rocky9-zen3/%s/%s-%s-%s", comp, n, v, h(2*i+j))
				full := fmt.Sprintf("%s/%s-%s-%s", n, v, comp, h(2*i + j)[:7])
				s.add(full, "bin:"+dir+"/bin", dir+"/lib")
				s.truth[dir+"/bin"], s.truth[dir+"/lib"] = full, full
			}
		}
		s.add("e4s/23.05", s.libs()...)
		return s
	},
	"Spack without hashes in the name, and a view": func() *simSite {
		s := newSim()
		for i, n := range []string{"cmake", "fftw", "petsc"} {
			v := fmt.Sprintf("3.%d.1", i)
			dir := fmt.Sprintf("/opt/spack/%s-%s-%032d", n, v, i)
			s.add(n+"/"+v, "bin:"+dir+"/bin", dir+"/lib", "/opt/view/lib")
			s.truth[dir+"/bin"], s.truth[dir+"/lib"] = n+"/"+v, n+"/"+v
		}
		s.truth["/opt/view/lib"] = ""
		s.add("spack-env/2023", s.libs()...)
		return s
	},
	"Cray PE": func() *simSite {
		s := newSim()
		own(s, "cce", "/opt/cray/pe/cce/%v/cce/x86_64", "16.0.1", "17.0.0")
		for name, root := range map[string]string{
			"cray-python/3.11.5":                    "/opt/cray/pe/python/3.11.5",
			"perftools-base/23.12.0":                "/opt/cray/pe/perftools/23.12.0",
			"cray-libsci/23.12.5":                   "/opt/cray/pe/libsci/23.12.5/gnu/12.3/x86_64",
			"cray-dsmml/0.2.2":                      "/opt/cray/pe/dsmml/0.2.2/dsmml",
			"libfabric/1.15.2.0":                    "/opt/cray/libfabric/1.15.2.0",
			"xpmem/2.6.2-2.5_2.22__gd067c3f.shasta": "/opt/cray/xpmem/2.6.2-2.5_2.22__gd067c3f.shasta",
			"cray-netcdf/4.9.0.9":                   "/opt/cray/pe/netcdf/4.9.0.9/gnu/12.3",
			"cray-netcdf-hdf5parallel/4.9.0.9":      "/opt/cray/pe/netcdf-hdf5parallel/4.9.0.9/gnu/12.3",
			"craype/2.7.30":                         "/opt/cray/pe/craype/2.7.30",
			"cray-R/4.3.1":                          "/opt/cray/pe/R/4.3.1",
			"cray-mpich/8.1.28":                     "/opt/cray/pe/mpich/8.1.28/ofi/gnu/12.3",
			"cray-mpich-ucx/8.1.28":                 "/opt/cray/pe/mpich/8.1.28/ucx/gnu/12.3",
			"intel-oneapi/2023.2.0":                 "/opt/intel/oneapi/2023.2.0",
			"rocm/5.5.1":                            "/opt/rocm-5.5.1",
			"gcc-native/12.3":                       "/opt/gcc-native/12.3",
			"cray-openshmemx/11.6.1":                "/opt/cray/pe/openshmemx/11.6.1",
			"cray-pmi/6.1.13":                       "/opt/cray/pe/pmi/6.1.13",
			"nvidia/23.9":                           "/opt/nvidia/hpc_sdk/Linux_x86_64/23.9/compilers",
			"cudatoolkit/23.9_12.2":                 "/opt/nvidia/hpc_sdk/Linux_x86_64/23.9/cuda/12.2",
			"cray-fftw/3.3.10.6":                    "/opt/cray/pe/fftw/3.3.10.6/x86_milan",
			"cray-parallel-netcdf/1.12.3.9":         "/opt/cray/pe/parallel-netcdf/1.12.3.9/gnu/12.3",
			"atp/3.15.2":                            "/opt/cray/pe/atp/3.15.2",
		} {
			s.add(name, root+"/lib", "bin:"+root+"/bin")
			s.truth[root+"/lib"], s.truth[root+"/bin"] = name, name
		}
		s.add("cray-mpich-abi/8.1.28", "/opt/cray/pe/mpich/8.1.28/ofi/gnu/12.3/lib")
		s.add("cpe/23.12", s.libs()...)
		for _, e := range []string{"gnu", "cray", "intel", "nvidia"} {
			s.add("PrgEnv-"+e+"/8.5.0", "/opt/cray/pe/gcc-libs", "dir:/opt/cray/pe")
		}
		s.truth["/opt/cray/pe/gcc-libs"], s.truth["/opt/cray/pe"] = "", ""
		for i := range s.modules {
			s.modules[i].dirs = append(s.modules[i].dirs, "/opt/cray/pe/lib64")
		}
		s.truth["/opt/cray/pe/lib64"] = ""
		// cudatoolkit/23.9_12.2 and nvidia/23.9 are named only by the version.
		return s
	},
	"NVIDIA HPC SDK": func() *simSite {
		s := newSim()
		base := "/opt/nvidia/hpc_sdk/Linux_x86_64/23.9"
		for _, n := range []string{"nvhpc", "nvhpc-nompi", "nvhpc-byo-compiler", "nvhpc-hpcx"} {
			s.add(n+"/23.9", base+"/compilers/lib", "bin:"+base+"/compilers/bin", base+"/math_libs/lib64", base+"/cuda/12.2/lib64")
		}
		for _, d := range []string{"/compilers/lib", "/compilers/bin", "/math_libs/lib64"} {
			s.truth[base+d] = "nvhpc/23.9"
		}
		s.add("cuda/12.2", base+"/cuda/12.2/lib64", "bin:"+base+"/cuda/12.2/bin")
		s.truth[base+"/cuda/12.2/lib64"], s.truth[base+"/cuda/12.2/bin"] = "cuda/12.2", "cuda/12.2"
		return s
	},
	"oneAPI with latest": func() *simSite {
		s := newSim()
		for _, n := range []string{"mkl", "mpi", "tbb", "compiler"} {
			for _, v := range []string{"2022.2.1", "2023.2.0"} {
				dir := "/opt/intel/oneapi/" + n + "/" + v
				s.add(n+"/"+v, dir+"/lib/intel64", "dir:"+dir)
				s.truth[dir+"/lib/intel64"], s.truth[dir] = n+"/"+v, n+"/"+v
			}
			s.links["/opt/intel/oneapi/"+n+"/latest"] = "/opt/intel/oneapi/" + n + "/2023.2.0"
			s.add(n+"/latest", "/opt/intel/oneapi/"+n+"/latest/lib/intel64")
			s.truth["/opt/intel/oneapi/"+n+"/latest/lib/intel64"] = n + "/latest"
		}
		s.add("oneapi/2023.2", s.libs()...)
		s.add("intel-all/2023.2.0", s.libs()...)
		return s
	},
	"oneAPI by Spack": func() *simSite {
		s := newSim()
		for _, n := range []string{"mkl", "mpi", "tbb"} {
			full := "intel-oneapi-" + n + "/2023.2.0"
			dir := "/opt/intel/oneapi/" + n + "/2023.2.0/lib"
			s.add(full, dir)
			s.truth[dir] = full
		}
		s.add("intel/2023.2.0", s.libs()...)
		s.add("toolkit/2023", s.libs()...)
		return s
	},
	"v before versions": func() *simSite {
		s := newSim()
		for _, v := range []string{"1.9.0", "1.10.0"} {
			s.add("foo/v"+v, "/apps/foo/"+v+"/lib", "/apps/foo-common/lib")
			s.truth["/apps/foo/"+v+"/lib"] = "foo/v" + v
			s.add("bar/"+v, "/apps/bar/v"+v+"/lib")
			s.truth["/apps/bar/v"+v+"/lib"] = "bar/" + v
			s.add("baz/v"+v, "/apps/baz-v"+v+"/lib", "/apps/baz/V"+v+"/lib")
			s.truth["/apps/baz-v"+v+"/lib"], s.truth["/apps/baz/V"+v+"/lib"] = "baz/v"+v, "baz/v"+v
		}
		s.add("all/9", s.libs()...)
		s.add("more/v9", s.libs()...)
		s.truth["/apps/foo-common/lib"] = "foo/v1.10.0"
		return s
	},
	"upper and lower case": func() *simSite {
		s := newSim()
		for name, dir := range map[string]string{"R/4.3.1": "/apps/r/4.3.1", "gromacs/2023": "/apps/GROMACS/2023", "VASP/6.4": "/apps/Vasp-6.4-std", "openFOAM/v2306": "/apps/OpenFOAM/2306"} {
			s.add(name, dir+"/lib")
			s.truth[dir+"/lib"] = name
		}
		s.add("ALL/2023", s.libs()...)
		return s
	},
	"modules without version": func() *simSite {
		s := newSim()
		s.add("gcc", "/apps/gcc/12.2/lib", "/apps/gcc/11.1/lib")
		s.add("gcc/12.2", "/apps/gcc/12.2/lib")
		s.add("gcc/11.1", "/apps/gcc/11.1/lib")
		s.add("lonely", "/apps/lonely/lib")
		s.add("tools", "/apps/tools/x/lib", "/apps/lonely/lib", "/apps/gcc/12.2/lib")
		s.truth = map[string]string{
			"/apps/gcc/12.2/lib": "gcc/12.2", "/apps/gcc/11.1/lib": "gcc/11.1",
			"/apps/lonely/lib": "lonely", "/apps/tools/x/lib": "tools",
		}
		return s
	},
	"hidden modules": func() *simSite {
		s := newSim()
		s.add("foo/.1.0", "/apps/foo/1.0/lib").flags = "h"
		s.add(".base/2.0", "/apps/base/2.0/lib", "/apps/common/lib").flags = "h"
		s.add("app/3.0", "/apps/app/3.0/lib", "/apps/common/lib")
		s.truth = map[string]string{"/apps/foo/1.0/lib": "foo/.1.0", "/apps/base/2.0/lib": ".base/2.0", "/apps/app/3.0/lib": "app/3.0", "/apps/common/lib": "app/3.0"}
		s.add("meta/2023", "/apps/foo/1.0/lib", "/apps/base/2.0/lib", "/apps/app/3.0/lib")
		s.add("zmeta/.9", "/apps/foo/1.0/lib", "/apps/base/2.0/lib", "/apps/app/3.0/lib").flags = "h"
		return s
	},
	"several versions share a directory": func() *simSite {
		s := newSim()
		own(s, "octave", "/apps/%n/%v", "6.1.0", "7.2.0", "8.10.0", "8.9.0")
		for i := range s.modules {
			s.modules[i].dirs = append(s.modules[i].dirs, "/apps/octave-site/lib")
			if s.modules[i].name == "octave/7.2.0" {
				s.modules[i].flags = "d"
			}
		}
		s.truth["/apps/octave-site/lib"] = "octave/7.2.0"
		s.untold = "/apps/octave-site/lib" // which version is the default
		return s
	},
	"symlinked default": func() *simSite {
		s := newSim()
		own(s, "cuda", "/usr/local/%n-%v", "11.8", "12.2")
		own(s, "matlab", "/apps/%n/%v", "R2022b", "R2023a")
		s.links["/usr/local/cuda"] = "/usr/local/cuda-12.2"
		s.links["/apps/matlab/default"] = "/apps/matlab/R2023a"
		s.add("cuda/default", "/usr/local/cuda/lib")
		s.truth["/usr/local/cuda/lib"] = "cuda/default"
		s.add("matlab/default", "/apps/matlab/default/lib")
		s.truth["/apps/matlab/default/lib"] = "matlab/default"
		return s
	},
	"a version that is part of the directory's": func() *simSite {
		s := newSim()
		for name, dir := range map[string]string{
			"python/3.11": "/apps/python/3.11.4/lib", "perl/5.36.0": "/apps/perl/5.36/lib", "gcc/12": "/apps/gcc-12.2.0/lib",
			"openmpi/4.1.5-gcc12": "/apps/openmpi/4.1.5/gcc12/lib", "boost/1.82.0": "/apps/boost1.82.0/lib",
		} {
			s.add(name, dir)
			s.truth[dir] = name
		}
		s.add("stack/2023.1", s.libs()...)
		s.add("zz/99", s.libs()...)
		return s
	},
	"compilers in the name": func() *simSite {
		s := newSim()
		for _, c := range []string{"gnu12", "intel"} {
			for _, m := range []string{"openmpi4", "mpich"} {
				dir := "/opt/ohpc/pub/libs/" + c + "/" + m + "/hdf5/1.14.0/lib"
				full := c + "/" + m + "/hdf5/1.14.0"
				s.add(full, dir)
				s.truth[dir] = full
			}
			s.add(c+"/boost/1.81", "/opt/ohpc/pub/libs/"+c+"/boost/1.81/lib")
			s.truth["/opt/ohpc/pub/libs/"+c+"/boost/1.81/lib"] = c + "/boost/1.81"
		}
		s.add("ohpc/2", s.libs()...)
		return s
	},
	"hierarchy with flavors": func() *simSite {
		s := newSim()
		for _, c := range []string{"gcc/12.2", "intel/2023.2"} {
			dir := "/apps/" + c + "/zlib/1.3/lib"
			m := s.add("zlib/1.3", dir, "/apps/shared/lib")
			m.parents = []string{c}
			s.truth[dir] = "zlib/1.3"
		}
		s.truth["/apps/shared/lib"] = "zlib/1.3"
		return s
	},
	"an umbrella and three at one version": func() *simSite {
		s := newSim()
		own(s, "aa", "/site/%n/%v", "7.0")
		own(s, "bb", "/site/%n/%v", "7.0")
		own(s, "cc", "/site/%n/%v", "7.0")
		for i := range s.modules {
			s.modules[i].dirs = append(s.modules[i].dirs, "/site/7.0/common/lib")
		}
		s.add("release/7.0", "dir:/site")
		s.truth["/site"], s.truth["/site/7.0/common/lib"] = "", ""
		return s
	},
}

// TestSites merges what spider says of sites of many styles, several runs with
// other owners by chance, and looks at every answer. With spider-json all are
// right. From maps alone no answer is wrong where some map names the owner.
func TestSites(t *testing.T) {
	for name, site := range simSites {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				s := site()
				rng := rand.New(rand.NewPCG(seed, 7))
				var inputs []*rmap.Input
				shown := make(map[string]bool) // DIR and owner, by some map
				for i := range 1 + seed%3 {
					in, table := s.reverseMap(t, rng, fmt.Sprintf("map%d", i))
					inputs = append(inputs, in)
					for dir, e := range table {
						shown[dir+" "+e.Pkg] = true
					}
				}
				res := rmap.Merge(inputs, nil, rmap.Options{})
				for _, a := range s.judge(res) {
					if a.got != "" && a.want != "" && shown[a.dir+" "+a.want] && a.dir != s.untold {
						t.Errorf("seed %d, maps alone: %+v", seed, a)
					}
				}
				for _, a := range s.judge(rmap.Merge(append(inputs, s.spider(t)), nil, rmap.Options{})) {
					t.Errorf("seed %d, with spider-json: %+v", seed, a)
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

type simAnswer struct{ dir, got, want, rule string }

// judge gives the keys of a result that differ from the truth.
func (s *simSite) judge(res *rmap.Result) (bad []simAnswer) {
	got := names(res)
	for _, dir := range slices.Sorted(maps.Keys(s.truth)) {
		module, _ := cutFlavor(got[dir])
		if module == s.truth[dir] {
			continue
		}
		a := simAnswer{dir, module, s.truth[dir], ""}
		for i := range res.Conflicts {
			if res.Conflicts[i].Path == dir {
				a.rule = res.Conflicts[i].Rule
			}
		}
		bad = append(bad, a)
	}
	return bad
}
