package launcher_test

import (
	"os"
	"path/filepath"
	"testing"

	"xaltpipe/internal/launcher"
)

func TestDetect(t *testing.T) {
	binary := "\x7fELF\x02\x01\x01\x00\x00 libc.so.6\x00"
	tests := []struct {
		name  string
		files map[string]string // by path; "-> x" is a link
		file  string
		env   map[string]string // in values DIR is the test's directory
		want  launcher.Flavour
	}{
		{"name", map[string]string{}, "bin/srun", nil, launcher.Slurm},
		{"nothing", map[string]string{"bin/mpirun": binary}, "bin/mpirun", nil, launcher.Unknown},
		{"absent", map[string]string{}, "bin/mpirun", nil, launcher.Unknown},
		{"directory", map[string]string{"bin/mpirun/x": ""}, "bin/mpirun", nil, launcher.Unknown},
		{"loop", map[string]string{"bin/mpirun": "-> mpirun"}, "bin/mpirun", nil, launcher.Unknown},
		{"link to orterun", map[string]string{"bin/mpirun": "-> orterun", "bin/orterun": binary}, "bin/mpirun", nil, launcher.OpenMPI},
		{"alternatives", map[string]string{"bin/mpirun": "-> ../etc/mpirun", "etc/mpirun": "-> ../bin/mpirun.mpich", "bin/mpirun.mpich": binary}, "bin/mpirun", nil, launcher.MPICH},
		{"link to hydra", map[string]string{"bin/mpiexec": "-> mpiexec.hydra", "bin/mpiexec.hydra": binary + "HYDRA_DEBUG"}, "bin/mpiexec", nil, launcher.MPICH},
		{"Intel's hydra", map[string]string{"bin/mpiexec": "-> mpiexec.hydra", "bin/mpiexec.hydra": binary, "bin/impi_info": ""}, "bin/mpiexec", nil, launcher.Intel},
		{"Intel's hydra by content", map[string]string{"bin/mpiexec": "-> mpiexec.hydra", "bin/mpiexec.hydra": binary + "HYDRA_ Intel(R) MPI Library"}, "bin/mpiexec", nil, launcher.Intel},
		{"Intel's script", map[string]string{"bin/mpirun": "#!/bin/bash\nif [ -n \"$I_MPI_ROOT\" ]; then mpiexec.hydra \"$@\"; fi\n"}, "bin/mpirun", nil, launcher.Intel},
		{"needs Open MPI", map[string]string{"bin/mpirun": binary + "libopen-rte.so.40"}, "bin/mpirun", nil, launcher.OpenMPI},
		{"Open MPI 5", map[string]string{"bin/mpirun": binary + "OMPI_MCA_\x00prterun"}, "bin/mpirun", nil, launcher.OpenMPI},
		{"Spectrum", map[string]string{"bin/mpirun": binary + "IBM Spectrum MPI\x00libopen-rte.so"}, "bin/mpirun", nil, launcher.Spectrum},
		{"PALS", map[string]string{"bin/mpiexec": binary + "PALS_NRANKS"}, "bin/mpiexec", nil, launcher.PALS},
		{"place of PALS", map[string]string{"opt/cray/pals/1.2/bin/mpiexec": binary}, "opt/cray/pals/1.2/bin/mpiexec", nil, launcher.PALS},
		{"neighbour", map[string]string{"bin/mpirun": binary, "bin/ompi_info": ""}, "bin/mpirun", nil, launcher.OpenMPI},
		{"neighbours of two", map[string]string{"bin/mpirun": binary, "bin/ompi_info": "", "bin/mpichversion": ""}, "bin/mpirun", nil, launcher.Unknown},
		{"neighbour of MPT", map[string]string{"bin/mpirun": binary, "bin/mpiexec_mpt": ""}, "bin/mpirun", nil, launcher.MPT},
		{"variable", map[string]string{"impi/bin/mpirun": binary}, "impi/bin/mpirun", map[string]string{"I_MPI_ROOT": "DIR/impi"}, launcher.Intel},
		{"variable of another", map[string]string{"bin/mpirun": binary, "impi/x": ""}, "bin/mpirun", map[string]string{"I_MPI_ROOT": "DIR/impi"}, launcher.Unknown},
		{"variable of all", map[string]string{"bin/mpirun": binary}, "bin/mpirun", map[string]string{"OPAL_PREFIX": "/"}, launcher.Unknown},
		{"beyond the bound", map[string]string{"bin/mpirun": string(make([]byte, 4<<20)) + "libopen-rte.so"}, "bin/mpirun", nil, launcher.Unknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				name = filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				var err error
				if len(text) > 3 && text[:3] == "-> " {
					err = os.Symlink(text[3:], name)
				} else {
					err = os.WriteFile(name, []byte(text), 0o755)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			getenv := func(n string) string {
				v := tt.env[n]
				if len(v) > 3 && v[:3] == "DIR" {
					v = dir + v[3:]
				}
				return v
			}
			if got := launcher.Detect(filepath.Join(dir, tt.file), getenv); got != tt.want {
				t.Errorf("Detect(%q) = %q, want %q", tt.file, got, tt.want)
			}
		})
	}
}

// TestDetectReal looks at Debian's Open MPI, under a name that tells nothing.
func TestDetectReal(t *testing.T) {
	const real = "/usr/bin/orterun"
	text, err := os.ReadFile(real)
	if err != nil {
		if os.Getenv("REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if got := launcher.Detect("/usr/bin/mpirun.openmpi", nil); got != launcher.OpenMPI {
		t.Errorf("Detect = %q, want %q", got, launcher.OpenMPI)
	}
	copied := filepath.Join(t.TempDir(), "mpirun")
	if err := os.WriteFile(copied, text, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := launcher.Detect(copied, nil); got != launcher.OpenMPI {
		t.Errorf("Detect of a copy = %q, want %q", got, launcher.OpenMPI)
	}
}
