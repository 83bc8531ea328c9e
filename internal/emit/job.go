package emit

import (
	"strconv"
	"strings"
)

// Job is what a batch system's environment says.
type Job struct {
	Scheduler  string
	Account    string
	ID         string
	Queue      string
	SubmitHost string
	Nodes      int // 0: unknown
}

// scheduler is one row of the table of batch systems. Of several variables the
// first that is set counts.
type scheduler struct {
	name     string
	present  []string // one of them is set in its jobs
	absent   string   // not if this is set: somebody else's, who uses the same names
	id       []string
	account  []string
	queue    []string
	submit   []string
	nodes    []string // a number
	nodeFile []string // a file with one line for each slot
	hosts    []string // a list of hosts, repeated for each slot
}

// schedulers is in the order in which they are looked for: PALS runs inside
// PBS or Slurm, and Flux may run inside any of them, but the job that is
// accounted is the outer one's, so they come last.
func schedulers() []scheduler {
	return []scheduler{
		{
			name: "SLURM", present: []string{"SLURM_JOB_ID", "SLURM_JOBID"}, id: []string{"SLURM_JOB_ID", "SLURM_JOBID"},
			account: []string{"SLURM_JOB_ACCOUNT", "SLURM_TACC_ACCOUNT", "SLURM_ACCOUNT"}, queue: []string{"SLURM_JOB_PARTITION", "SLURM_QUEUE", "SLURM_PARTITION"},
			submit: []string{"SLURM_SUBMIT_HOST"}, nodes: []string{"SLURM_JOB_NUM_NODES", "SLURM_NNODES"},
		},
		{
			name: "COBALT", present: []string{"COBALT_JOBID"}, id: []string{"COBALT_JOBID"},
			account: []string{"COBALT_PROJECT"}, queue: []string{"COBALT_QUEUE"}, submit: []string{"COBALT_SUBMITHOST", "PBS_O_HOST"},
			nodes: []string{"COBALT_JOBSIZE", "COBALT_PARTSIZE"}, nodeFile: []string{"COBALT_NODEFILE"},
		},
		{
			name: "LSF", present: []string{"LSB_JOBID"}, id: []string{"LSB_JOBID"},
			account: []string{"LSB_ACCOUNT_NAME", "LSB_PROJECT_NAME", "LSB_JOB_ACCOUNT"}, queue: []string{"LSB_QUEUE"}, submit: []string{"LSB_SUB_HOST"},
			nodes: []string{"LSB_DJOB_NUMHOSTS"}, hosts: []string{"LSB_HOSTS"}, nodeFile: []string{"LSB_DJOB_HOSTFILE"},
		},
		{
			name: "PBS", present: []string{"PBS_JOBID"}, id: []string{"PBS_JOBID"},
			account: []string{"PBS_ACCOUNT", "PBS_PROJECT"}, queue: []string{"PBS_QUEUE", "PBS_O_QUEUE"}, submit: []string{"PBS_O_HOST"},
			nodes: []string{"PBS_NUM_NODES"}, nodeFile: []string{"PBS_NODEFILE"},
		},
		{
			name: "SGE", present: []string{"SGE_TASK_ID", "SGE_ROOT"}, absent: "SLURM_JOB_ID", id: []string{"JOB_ID"},
			account: []string{"SGE_ACCOUNT", "ACCOUNT"}, queue: []string{"QUEUE"}, submit: []string{"SGE_O_HOST"}, nodes: []string{"NHOSTS"},
		},
		{
			name: "FLUX", present: []string{"FLUX_JOB_ID"}, id: []string{"FLUX_JOB_ID"},
			account: []string{"FLUX_JOB_BANK"}, queue: []string{"FLUX_JOB_QUEUE"}, submit: []string{"FLUX_JOB_SUBMIT_HOST"}, nodes: []string{"FLUX_JOB_NNODES"},
		},
		{
			name: "PALS", present: []string{"PALS_APID", "PALS_RANKID"}, id: []string{"PALS_APID"},
			nodes: []string{"PALS_NNODES"},
		},
	}
}

// FindJob reads the environment of a job. readFile reads a node file.
func FindJob(getenv func(string) string, readFile func(string) string) Job {
	first := func(names []string) string {
		for _, n := range names {
			if v := strings.TrimSpace(getenv(n)); v != "" {
				return v
			}
		}
		return ""
	}
	text := func(names []string) string {
		if v := first(names); v != "" {
			return v
		}
		return Unknown
	}
	for _, s := range schedulers() {
		if first(s.present) == "" || first(s.id) == "" || s.absent != "" && getenv(s.absent) != "" {
			continue
		}
		j := Job{Scheduler: s.name, Account: text(s.account), ID: text(s.id), Queue: text(s.queue), SubmitHost: text(s.submit)}
		if n, err := strconv.Atoi(first(s.nodes)); err == nil && n > 0 {
			j.Nodes = n
		} else if hosts := strings.Fields(first(s.hosts)); len(hosts) > 0 {
			j.Nodes = distinct(hosts)
		} else if file := first(s.nodeFile); file != "" {
			j.Nodes = distinct(strings.Fields(readFile(file)))
		}
		return j
	}
	return Job{Scheduler: Unknown, Account: Unknown, ID: Unknown, Queue: Unknown, SubmitHost: Unknown}
}

func distinct(list []string) int {
	seen := make(map[string]bool, len(list))
	for _, s := range list {
		seen[s] = true
	}
	return len(seen)
}

// gpuVariables say which GPUs a job may use; the first that is set counts.
// count says how to read it.
func gpuVariables() []gpuVariable {
	return []gpuVariable{
		{"SLURM_JOB_GPUS", listed},
		{"SLURM_STEP_GPUS", listed},
		{"SLURM_GPUS_ON_NODE", number},
		{"SLURM_GPUS", typed},
		{"CUDA_VISIBLE_DEVICES", listed},
		{"ROCR_VISIBLE_DEVICES", listed},
		{"HIP_VISIBLE_DEVICES", listed},
		{"GPU_DEVICE_ORDINAL", listed},
		{"ZE_AFFINITY_MASK", masked},
		{"FLUX_JOB_NGPUS", number},
		{"PBS_NGPUS", number},
	}
}

type gpuVariable struct {
	name  string
	count func(value string) int
}

// GPUs returns how many GPUs this node has for the job, 0 if none is named.
func GPUs(getenv func(string) string) int {
	for _, v := range gpuVariables() {
		if value := strings.TrimSpace(getenv(v.name)); value != "" {
			return v.count(value)
		}
	}
	return 0
}

// maxGPUs bounds what a range can claim.
const maxGPUs = 4096

// listed counts "0,1", "0-3", "GPU-8f2e..."; CUDA ends at the first -1, and
// "NoDevFiles" is Slurm's word for none.
func listed(value string) int {
	n := 0
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if item == "-1" || strings.EqualFold(item, "NoDevFiles") || item == "" {
			break
		}
		from, to, isRange := strings.Cut(item, "-")
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if isRange && err1 == nil && err2 == nil && b >= a {
			n += b - a + 1
		} else {
			n++
		}
	}
	return min(n, maxGPUs)
}

func number(value string) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return 0
	}
	return min(n, maxGPUs)
}

// typed counts "4", "a100:2", "a100:1,v100:3".
func typed(value string) int {
	n := 0
	for item := range strings.SplitSeq(value, ",") {
		n += number(item[strings.LastIndexByte(item, ':')+1:])
	}
	return min(n, maxGPUs)
}

// masked counts the devices of Level Zero's "0.0,0.1,1": tiles of one card are
// one GPU.
func masked(value string) int {
	var cards []string
	for item := range strings.SplitSeq(value, ",") {
		card, _, _ := strings.Cut(strings.TrimSpace(item), ".")
		if card != "" {
			cards = append(cards, card)
		}
	}
	return min(distinct(cards), maxGPUs)
}
