package emit

import (
	"sort"
	"strings"
)

// defaultEnv names the variables of a run that are worth keeping: what decides
// which program and libraries run, and how parallel they are. A name may end
// with *.
func defaultEnv() []string {
	return []string{
		"PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "LOADEDMODULES", "_LMFILES_", "LMOD_*", "MODULEPATH", "MODULESHOME",
		"OMP_*", "KMP_*", "GOMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "ACC_*", "OCL_*",
		"I_MPI_*", "OMPI_MCA_*", "PMIX_MCA_*", "PRTE_MCA_*", "MPICH_*", "MV2_*", "UCX_*", "FI_*", "NCCL_*", "PALS_*",
		"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "GPU_DEVICE_ORDINAL",
		"SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_JOB_NUM_NODES", "SLURM_TASKS_PER_NODE",
		"SLURM_CPUS_PER_TASK", "SLURM_GPUS*", "SLURM_JOB_GPUS", "SLURM_STEP_*",
		"PBS_JOBID", "PBS_JOBNAME", "PBS_QUEUE", "LSB_JOBID", "LSB_JOBNAME", "LSB_QUEUE", "COBALT_JOBID", "FLUX_JOB_ID", "JOB_ID", "QUEUE",
		"PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
		"R_HOME", "R_LIBS", "R_LIBS_SITE", "R_LIBS_USER", "JULIA_*", "MATLABPATH",
		"SINGULARITY_*", "APPTAINER_*", "SHIFTER_*", "CHARLIECLOUD_*", "TZ", "LANG", "LC_ALL",
	}
}

// maxValue bounds a variable's value in a record, in bytes, and maxVariables
// their number.
const (
	maxValue     = 64 << 10
	maxVariables = 2000
)

// Variable is a variable of the environment.
type Variable struct{ Name, Value string }

// Environment returns the variables that the configuration keeps, by name.
// Those that are named like a secret are left out whatever it says, and
// passwords in URLs are hidden.
func (c *Config) Environment(environ []string) []Variable {
	exact := make(map[string]bool)
	var patterns []string
	for _, list := range [...][]string{c.Env, c.EnvAdd} {
		for _, name := range list {
			if strings.ContainsAny(name, "*?") {
				patterns = append(patterns, name)
			} else {
				exact[name] = true
			}
		}
	}
	r := redactor{flags: secretFlags(), words: secretWords()}
	seen := make(map[string]bool)
	var kept []Variable
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || name == "" || seen[name] || len(value) > maxValue || len(kept) == maxVariables {
			continue
		}
		if !exact[name] && !matchesAny(patterns, name) {
			continue
		}
		seen[name] = true // of two with one name the first counts, as for getenv
		if !c.NoRedact {
			if r.secretName(name) {
				continue
			}
			value = r.text(value)
		}
		kept = append(kept, Variable{name, value})
	}
	sort.Slice(kept, func(i, j int) bool { return kept[i].Name < kept[j].Name })
	return kept
}

func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if Match(p, s) {
			return true
		}
	}
	return false
}
