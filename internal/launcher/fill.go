package launcher

import (
	"slices"
	"strconv"
	"strings"
)

// Fill adds what the launcher takes from its surroundings where the command line
// says nothing: the batch system's variables and files, host files that the
// command line names, and OMP_NUM_THREADS. It changes no number that the command
// line tells, nor one that it tells in a way that was not understood; only a
// number of processors for each task gives way to OMP_NUM_THREADS, which is what
// the program really uses.
//
//	srun        tasks: SLURM_NTASKS, SLURM_NPROCS; else nodes times
//	            --ntasks-per-node or SLURM_NTASKS_PER_NODE; else one a node, unless
//	            processors for each task are asked for.
//	            nodes: SLURM_JOB_NUM_NODES, SLURM_NNODES, but not more than tasks.
//	            threads: SRUN_CPUS_PER_TASK, SLURM_CPUS_PER_TASK.
//	Open MPI, PRRTE, Spectrum MPI, MPICH, Intel MPI, MPT, ibrun, mympirun, mpirun.lsf
//	            hosts and their slots: the hosts or the host file of the command
//	            line; else of Slurm (SLURM_TASKS_PER_NODE), PBS (PBS_NODEFILE), LSF
//	            (LSB_MCPU_HOSTS) or SGE (PE_HOSTFILE).
//	            tasks: hosts times tasks per node, else all slots.
//	            nodes: hosts that the tasks need, where the launcher fills them one
//	            after the other; all hosts if there is a task for each slot.
//	PALS        tasks: PALS_NRANKS, else 1. PALS_PPN, PALS_DEPTH.
//	all         threads: OMP_NUM_THREADS
//
// Others (aprun, flux, jsrun, lrun) take no numbers from the environment. The
// numbers of several programs, and of a launcher behind a launcher, stay as they
// are.
func (j *Job) Fill(host Host) {
	if !j.Launches || j.Doubt != "" || len(j.Programs) == 0 {
		return
	}
	if t := loadTable(string(j.Flavour)); t != nil && len(j.segments) == 1 && !j.nested {
		one := &Program{Tasks: j.Tasks, Nodes: j.Nodes, Threads: j.Threads, GPUs: j.GPUs}
		s := j.segments[0]
		switch j.Flavour {
		case Slurm:
			fillSlurm(one, s, host)
		case PALS:
			fillPALS(one, s, host)
		case OpenMPI, PRRTE, Spectrum, MPICH, Intel, MPT, IBRun, MyMPI, LSF:
			fillHosts(one, s, t, host)
		}
		fillGPUs(one, s)
		j.Tasks, j.Nodes, j.Threads, j.GPUs = one.Tasks, one.Nodes, one.Threads, one.GPUs
		if len(j.Programs) == 1 && !j.whole {
			p := &j.Programs[0]
			p.Tasks, p.Nodes, p.Threads, p.GPUs = j.Tasks, j.Nodes, j.Threads, j.GPUs
		}
	}
	first, _, _ := strings.Cut(host.getenv("OMP_NUM_THREADS"), ",")
	omp := parseCount(first)
	if !omp.Known || omp.N == 0 {
		return
	}
	for i := range j.Programs {
		if i < len(j.segments) && j.segments[i].omp.told && !j.whole {
			continue
		}
		j.Programs[i].Threads = omp
	}
	j.Threads = j.Programs[0].Threads
	for _, p := range j.Programs {
		j.Threads = same(j.Threads, p.Threads)
	}
}

// first returns the first of the variables that is a number.
func (h Host) first(names ...string) Count {
	for _, n := range names {
		if c := parseCount(h.getenv(n)); c.Known && c.N > 0 {
			return c
		}
	}
	return Count{}
}

func fillSlurm(p *Program, s settings, h Host) {
	cpus := h.first("SRUN_CPUS_PER_TASK", "SLURM_CPUS_PER_TASK")
	if !s.threads.told && !s.omp.told {
		p.Threads = cpus
	}
	if !p.Tasks.Known && !s.tasks.told && !s.many {
		p.Tasks = h.first("SLURM_NTASKS", "SLURM_NPROCS")
	}
	if !p.Nodes.Known && !s.nodes.told && !s.nodeList && s.hostFile == "" {
		p.Nodes = h.first("SLURM_JOB_NUM_NODES", "SLURM_NNODES")
	}
	if !p.Tasks.Known && !s.tasks.told && !s.many {
		per := s.perNode
		if !per.told {
			if c := h.first("SLURM_NTASKS_PER_NODE"); c.Known {
				per = tell(c)
			} else if !s.threads.told && !cpus.Known {
				per = tell(known(1))
			}
		}
		p.Tasks = p.Nodes.times(per.count)
	}
	if p.Nodes.Known && p.Tasks.Known && p.Nodes.N > p.Tasks.N && p.Tasks.N > 0 {
		p.Nodes = p.Tasks
	}
}

func fillPALS(p *Program, s settings, h Host) {
	if !s.tasks.told && !s.many {
		if p.Tasks = h.first("PALS_NRANKS"); !p.Tasks.Known {
			p.Tasks = known(1)
		}
	}
	if !s.threads.told && !s.omp.told {
		p.Threads = h.first("PALS_DEPTH")
	}
	per := s.perNode.or(tell(h.first("PALS_PPN"))).count
	switch {
	case p.Nodes.Known:
	case p.Tasks == known(1):
		p.Nodes = known(1)
	case p.Tasks.Known && per.Known && per.N > 0:
		p.Nodes = known((p.Tasks.N + per.N - 1) / per.N)
	}
}

// fillGPUs computes the GPUs from the numbers that are known by now.
func fillGPUs(p *Program, s settings) {
	switch {
	case p.GPUs.Known || s.gpus.told:
	case s.gpusPerTask.told:
		p.GPUs = p.Tasks.times(s.gpusPerTask.count)
	case s.gpusPerNode.told:
		p.GPUs = p.Nodes.times(s.gpusPerNode.count)
	}
}

// fillHosts is for launchers that fill the slots of hosts with tasks.
func fillHosts(p *Program, s settings, t *table, h Host) {
	slots, ok := hostSlots(s, t, h)
	if !ok {
		return
	}
	hosts, total := known(len(slots)), known(0)
	for _, n := range slots {
		if n == 0 {
			total = Count{}
			break
		}
		total = plus(total, known(n))
	}
	if !p.Tasks.Known && !s.tasks.told && !s.many {
		if s.perNode.told {
			p.Tasks = hosts.times(s.perNode.count)
		} else if !s.noMap {
			p.Tasks = total
		}
	}
	if p.Nodes.Known || s.nodes.told || !p.Tasks.Known {
		return
	}
	per := s.perNode.count
	switch {
	case p.Tasks == known(1):
		p.Nodes = p.Tasks
	case per.Known && per.N > 0:
		p.Nodes = known(min(hosts.N, (p.Tasks.N+per.N-1)/per.N))
	case hosts == known(1), total.Known && p.Tasks.N >= total.N:
		p.Nodes = hosts
	case s.byNode:
		p.Nodes = known(min(hosts.N, p.Tasks.N))
	case total.Known && !s.noMap && t.has("fill"):
		left := p.Tasks.N
		for i, n := range slots {
			if left -= n; left <= 0 {
				p.Nodes = known(i + 1)
				break
			}
		}
	}
}

// hostSlots returns how many tasks each host takes, in order; 0 is unknown.
func hostSlots(s settings, t *table, h Host) (slots []int, ok bool) {
	openMPI := t.has("fill") && t.name != string(MPT)
	switch {
	case s.hosts != "":
		if strings.Contains(s.hosts, "[") {
			return nil, false
		}
		return gather(func(add func(string, int)) {
			for one := range strings.SplitSeq(s.hosts, ",") {
				name, n := hostColon(one)
				add(name, n)
			}
		})
	case s.hostFile != "":
		text, good := h.readFile(s.hostFile)
		if !good {
			return nil, false
		}
		return gather(func(add func(string, int)) { hostFile(text, openMPI, add) })
	case h.getenv("SLURM_JOB_ID") != "":
		return slurmSlots(h.getenv("SLURM_TASKS_PER_NODE"))
	case h.getenv("PBS_NODEFILE") != "":
		text, good := h.readFile(h.getenv("PBS_NODEFILE"))
		if !good {
			return nil, false
		}
		return gather(func(add func(string, int)) {
			for line := range strings.Lines(text) {
				if name := strings.TrimSpace(line); name != "" {
					add(name, 1)
				}
			}
		})
	case h.getenv("LSB_MCPU_HOSTS") != "":
		return gather(func(add func(string, int)) {
			words := strings.Fields(h.getenv("LSB_MCPU_HOSTS"))
			for i := 0; i+1 < len(words); i += 2 {
				n, err := strconv.Atoi(words[i+1])
				if err != nil {
					n = 0
				}
				add(words[i], n)
			}
		})
	case h.getenv("PE_HOSTFILE") != "":
		text, good := h.readFile(h.getenv("PE_HOSTFILE"))
		if !good {
			return nil, false
		}
		return gather(func(add func(string, int)) {
			for line := range strings.Lines(text) {
				if words := strings.Fields(line); len(words) > 1 {
					n, err := strconv.Atoi(words[1])
					if err != nil {
						n = 0
					}
					add(words[0], n)
				}
			}
		})
	}
	return nil, false
}

// gather sums the slots of hosts that are named again, in the order of their
// first naming. A host with unknown slots is 0. There is no answer if there are
// too many hosts, or none.
func gather(each func(add func(name string, n int))) (slots []int, ok bool) {
	at := make(map[string]int)
	ok = true
	each(func(name string, n int) {
		if n < 0 || n > maxCount {
			n = 0
		}
		i, seen := at[name]
		switch {
		case seen && slots[i] > 0 && n > 0 && slots[i] <= maxCount:
			slots[i] += n
		case seen:
			slots[i] = 0
		case len(slots) >= maxHosts:
			ok = false
		default:
			at[name] = len(slots)
			slots = append(slots, n)
		}
	})
	return slots, ok && len(slots) > 0
}

// hostColon reads HOST[:SLOTS]; without a number it is one, "*" is unknown.
func hostColon(one string) (name string, n int) {
	name, slots, ok := strings.Cut(one, ":")
	if !ok {
		return name, 1
	}
	n, err := strconv.Atoi(slots)
	if err != nil {
		return name, 0
	}
	return name, n
}

// hostFile reads the host files of Open MPI (HOST slots=N; no number is as many
// as there are cores, which nobody here knows) and of Hydra (HOST[:N]).
func hostFile(text string, openMPI bool, add func(string, int)) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if !openMPI {
			add(hostColon(words[0]))
			continue
		}
		n := 0
		rest := strings.Fields(strings.ReplaceAll(strings.Join(words[1:], " "), "=", " "))
		for i := 0; i+1 < len(rest); i++ {
			if slices.Contains([]string{"slots", "cpu", "count"}, rest[i]) {
				n, _ = strconv.Atoi(rest[i+1])
			}
		}
		add(words[0], n)
	}
}

// slurmSlots reads "4(x2),3": 4, 4 and 3.
func slurmSlots(v string) (slots []int, ok bool) {
	if v == "" {
		return nil, false
	}
	for part := range strings.SplitSeq(v, ",") {
		number, times, repeated := strings.Cut(strings.TrimSuffix(part, ")"), "(x")
		n, k := parseCount(number), known(1)
		if repeated {
			k = parseCount(times)
		}
		if !n.Known || !k.Known || len(slots)+k.N > maxHosts {
			return nil, false
		}
		slots = append(slots, slices.Repeat([]int{n.N}, k.N)...)
	}
	return slots, len(slots) > 0
}
