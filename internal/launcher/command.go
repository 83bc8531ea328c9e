package launcher

// Command reads a command line that does not begin with a launcher, args[0]
// included: it follows env, time, numactl and the like to the program, or to a
// launcher, whose line is then read as [Parse] does. The flavour of such a
// launcher is told by its name alone.
func Command(args []string, host Host) Job {
	p := &parser{job: Job{Launches: true}, host: host, table: loadTable(string(Unknown))}
	prog := Program{Index: -1}
	if len(args) > 0 {
		prog.Start = args[0]
	}
	inner := p.behind(args, 0, &settings{}, &prog)
	switch {
	case p.job.Doubt != "":
	case inner != nil:
		prog.Tasks = known(1) // what stands in front runs it once
		p.nest(prog, inner)
		if len(p.job.Programs) == 1 {
			p.job.Tasks, p.job.Nodes, p.job.Threads, p.job.GPUs = inner.Tasks, inner.Nodes, inner.Threads, inner.GPUs
		}
		p.job.Launcher, p.job.Flavour = inner.Launcher, inner.Flavour
	default:
		p.job.Programs = []Program{prog}
	}
	return p.job
}
