package launcher

// derive computes one program's numbers from its options.
func (t *table) derive(s settings) (tasks, nodes, threads, gpus Count) {
	if s.sets.told || s.perSet.told || s.setHosts.told {
		return deriveSets(s)
	}
	tasks, nodes = s.tasks.count, s.nodes.count
	if s.nodeList && !s.nodes.told {
		nodes = countHosts(s.hosts)
	}
	switch {
	case s.many:
		tasks = Count{}
	case s.tasks.told:
	case s.perNode.told && nodes.Known:
		tasks = nodes.times(s.perNode.count)
	case t.has("one") && t.name != "pals" && !s.perNode.told: // pals: see Fill
		tasks = known(1)
		if s.nodes.told {
			tasks = nodes // Flux: one task a node
		}
	}
	if !nodes.Known && !s.nodes.told {
		nodes = nodesOf(t, s, tasks)
	}
	threads = s.omp.or(s.threads).count
	if threads == known(0) {
		threads = Count{}
	}
	switch {
	case s.gpus.told:
		gpus = s.gpus.count
	case s.gpusPerTask.told:
		gpus = tasks.times(s.gpusPerTask.count)
	case s.gpusPerNode.told:
		gpus = nodes.times(s.gpusPerNode.count)
	}
	return tasks, nodes, threads, gpus
}

// nodesOf tells the nodes from the tasks where that is sure.
func nodesOf(t *table, s settings, tasks Count) Count {
	per := s.perNode.count
	switch {
	case tasks == known(1):
		return known(1)
	case t.has("strict") && per.Known && per.N > 0 && tasks.Known:
		return known((tasks.N + per.N - 1) / per.N)
	}
	return Count{}
}

// deriveSets computes jsrun's numbers: resource sets of tasks, processors, GPUs.
func deriveSets(s settings) (tasks, nodes, threads, gpus Count) {
	switch {
	case s.tasks.told:
		tasks = s.tasks.count
	case s.perSet.told:
		tasks = s.sets.count.times(s.perSet.count)
	}
	if per := s.setHosts.count; per.Known && per.N > 0 && s.sets.count.Known {
		nodes = known((s.sets.count.N + per.N - 1) / per.N)
	} else if s.sets.count == known(1) {
		nodes = known(1) // a set does not span nodes
	}
	gpus = s.sets.count.times(s.gpuSet.count)
	threads = s.omp.count
	if cpus, per := s.cpuSet.count, s.perSet.count; !s.omp.told && cpus.Known && per.Known && per.N > 0 && cpus.N%per.N == 0 && cpus.N > 0 {
		threads = known(cpus.N / per.N)
	}
	return tasks, nodes, threads, gpus
}

// total computes the job's numbers from its programs' numbers, where no option
// tells them.
func (j *Job) total(apart bool) {
	if len(j.Programs) == 0 {
		return
	}
	first := j.Programs[0]
	if len(j.Programs) == 1 {
		j.Tasks, j.Nodes, j.Threads, j.GPUs = first.Tasks, first.Nodes, first.Threads, first.GPUs
		return
	}
	tasks, nodes, gpus := known(0), known(0), known(0)
	threads := first.Threads
	for _, p := range j.Programs {
		tasks, nodes, gpus = plus(tasks, p.Tasks), plus(nodes, p.Nodes), plus(gpus, p.GPUs)
		threads = same(threads, p.Threads)
	}
	j.Tasks, j.Threads, j.GPUs = tasks, threads, gpus
	if apart { // else the programs may share nodes
		j.Nodes = nodes
	}
}

func plus(a, b Count) Count {
	if !a.Known || !b.Known {
		return Count{}
	}
	return known(a.N + b.N)
}
