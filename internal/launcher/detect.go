package launcher

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxDetect is how many bytes of a launcher are looked at.
const maxDetect = 4 << 20

// Detect finds out whose launcher the file is, which is the path of an mpirun or
// mpiexec that was found in PATH. The first of these that tells anything decides:
// its name, and the name of the file that links lead to; what stands in the file,
// of which no more than 4 MiB are read; its directory and what else is there; the
// variables that say where an MPI is installed, if the file is in there. If they
// contradict each other, or nothing tells, it is Unknown.
func Detect(file string, getenv func(string) string) Flavour {
	if f, isLauncher := FlavourOf(file); f != Unknown || !isLauncher {
		return f
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return Unknown
	}
	if abs, err := filepath.Abs(real); err == nil {
		real = abs
	}
	if f, _ := FlavourOf(real); f != Unknown {
		if f == MPICH && isIntel(real) {
			return Intel
		}
		return f
	}
	if f := byContent(real); f != Unknown {
		return f
	}
	if f := byPlace(real); f != Unknown {
		return f
	}
	return byVariables(real, getenv)
}

// A sign is what tells a flavour.
type sign struct {
	flavour Flavour
	text    string
}

// contentSigns returns what stands in launchers, the more special first: Spectrum
// MPI is made from Open MPI, and Intel MPI from MPICH's Hydra.
func contentSigns() []sign {
	return []sign{
		{Spectrum, "Spectrum MPI"},
		{Intel, "Intel(R) MPI Library"},
		{Intel, "I_MPI_HYDRA"},
		{Intel, "I_MPI_ROOT"},
		{PALS, "PALS_NRANKS"},
		{PALS, "libpals.so"},
		{MPT, "libarray.so"},
		{MPT, "MPI_SGI"},
		{PRRTE, "libprrte.so"},
		{OpenMPI, "libopen-rte.so"},
		{OpenMPI, "libopen-pal.so"},
		{OpenMPI, "OMPI_MCA_"},
		{OpenMPI, "prterun"},
		{MPICH, "HYDRA_"},
		{MPICH, "hydra_pmi_proxy"},
	}
}

// byContent looks for the signs in the first part of the file.
func byContent(file string) Flavour {
	f, err := os.Open(file)
	if err != nil {
		return Unknown
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return Unknown
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDetect))
	if err != nil {
		return Unknown
	}
	for _, s := range contentSigns() {
		if bytes.Contains(text, []byte(s.text)) {
			if s.flavour == PRRTE { // Open MPI 5 hands over to it
				return OpenMPI
			}
			return s.flavour
		}
	}
	return Unknown
}

// byPlace looks at the path and at the neighbours.
func byPlace(file string) Flavour {
	dir := filepath.Dir(file)
	for _, s := range []sign{{PALS, "/cray/pals/"}, {MPT, "/hpe/hpc/mpt/"}, {MPT, "/sgi/mpt/"}, {Spectrum, "/ibm/spectrum_mpi/"}} {
		if strings.Contains(file, s.text) {
			return s.flavour
		}
	}
	found := Unknown
	for _, s := range []sign{
		{OpenMPI, "ompi_info"}, {MPICH, "mpichversion"}, {Intel, "impi_info"}, {MPT, "mpiexec_mpt"}, {PALS, "palstat"},
	} {
		if _, err := os.Stat(filepath.Join(dir, s.text)); err != nil {
			continue
		}
		if found != Unknown {
			return Unknown // a directory for all, such as /usr/bin
		}
		found = s.flavour
	}
	if found == Unknown && isIntel(file) {
		return Intel
	}
	if found == OpenMPI {
		if _, err := os.Stat(filepath.Join(dir, "../jsm_pmix")); err == nil {
			return Spectrum
		}
	}
	return found
}

// isIntel reports whether a Hydra is Intel MPI's.
func isIntel(file string) bool {
	for _, n := range []string{"impi_info", "impi_cpuinfo", "IMB-MPI1-shared", "mpitune_fast"} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(file), n)); err == nil {
			return true
		}
	}
	return byContent(file) == Intel
}

// byVariables tells the flavour if the file is inside of an installation that a
// variable names. That the variable is set alone means nothing.
func byVariables(file string, getenv func(string) string) Flavour {
	if getenv == nil {
		return Unknown
	}
	for _, s := range []sign{
		{Intel, "I_MPI_ROOT"},
		{OpenMPI, "OPAL_PREFIX"},
		{OpenMPI, "OMPI_PREFIX"},
		{OpenMPI, "OPENMPI_ROOT"},
		{OpenMPI, "OMPI_HOME"},
		{MPT, "MPT_ROOT"},
		{MPICH, "MPICH_HOME"},
		{MPICH, "MV2_HOME"},
		{Spectrum, "OMPI_SPECTRUM_ROOT"},
	} {
		root := getenv(s.text)
		if root == "" || !filepath.IsAbs(root) {
			continue
		}
		if real, err := filepath.EvalSymlinks(root); err == nil {
			root = real
		}
		if root = filepath.Clean(root); root != "/" && strings.HasPrefix(file, root+"/") {
			return s.flavour
		}
	}
	return Unknown
}
