package launcher

import (
	"strconv"
	"strings"
)

// A number is what options say about one quantity.
type number struct {
	count Count
	told  bool // an option speaks of it, understood or not
}

func tell(c Count) number { return number{c, true} }

// or returns n, or m if no option tells n.
func (n number) or(m number) number {
	if n.told {
		return n
	}
	return m
}

// settings are what the options in front of one program say.
type settings struct {
	tasks, nodes, threads, gpus            number
	perNode, gpusPerNode, gpusPerTask      number
	sets, perSet, cpuSet, gpuSet, setHosts number // jsrun's resource sets
	omp                                    number // OMP_NUM_THREADS

	dir              string
	hosts, hostFile  string
	nodeList         bool // Slurm's and ALPS's --nodelist: exactly these nodes
	byNode           bool // tasks go round the nodes
	noMap            bool // a mapping that does not fill host after host
	container, image string

	ranksFile, configWord        bool
	appFile, configFile, erfFile string
	aside                        string
	stop, split, rest, many      bool
	splitWords                   string
}

// see takes one option.
func (s *settings) see(_ string, o option, vals []string) bool {
	last := ""
	if len(vals) > 0 {
		last = vals[len(vals)-1]
	}
	meaning, arg, _ := strings.Cut(o.meaning, "=")
	switch meaning {
	case "tasks":
		s.tasks = tell(parseCount(last))
	case "nodes":
		s.nodes = tell(parseCount(last))
	case "threads":
		s.threads = tell(parseCount(last))
	case "gpus":
		s.gpus = tell(parseTyped(last))
	case "pernode":
		s.perNode = tell(parseCount(last))
	case "onepernode":
		s.perNode = tell(known(1))
	case "gpupernode":
		s.gpusPerNode = tell(parseTyped(last))
	case "gpupertask":
		s.gpusPerTask = tell(parseTyped(last))
	case "sets":
		s.sets = tell(parseCount(last))
	case "perset":
		s.perSet = tell(parseCount(last))
	case "cpuset":
		s.cpuSet = tell(parseCount(last))
	case "gpuset":
		s.gpuSet = tell(parseCount(last))
	case "sethost":
		s.setHosts = tell(parseCount(last))
	case "gres":
		if n, ok := parseGres(last, "gpu"); ok {
			s.gpusPerNode = tell(n)
		}
	case "tres":
		if n, ok := parseGres(last, "gres/gpu"); ok {
			s.gpusPerTask = tell(n)
		}
		if n, ok := parseGres(last, "cpu"); ok {
			s.threads = tell(n)
		}
	case "map":
		s.mapBy(last)
	case "bynode":
		s.byNode = true
	case "env":
		if len(vals) == 2 {
			s.env(vals[0], vals[1])
		} else if name, value, ok := strings.Cut(last, "="); ok {
			s.env(name, value)
		}
	case "envs":
		for v := range strings.SplitSeq(last, ",") {
			if name, value, ok := strings.Cut(v, "="); ok {
				s.env(name, value)
			}
		}
	case "dir":
		s.dir = last
	case "hosts":
		s.hosts = last
	case "nodelist":
		s.hosts, s.nodeList = last, true
	case "hostfile":
		s.hostFile = last
	case "image":
		s.container, s.image = arg, last
	case "ranksfile":
		s.ranksFile = true
	case "appfile":
		s.appFile = last
	case "configfile":
		s.configFile, s.configWord = last, len(vals) == 0
	case "erf":
		s.erfFile = last
	case "many":
		s.many = true
	case "aside":
		s.aside = "the launcher's debugger"
	case "split":
		s.split, s.splitWords = true, last
		return false
	case "rest":
		s.rest = true
		return false
	case "stop":
		s.stop = true
		return false
	}
	return true
}

// env takes a variable that the command line sets for the program.
func (s *settings) env(name, value string) {
	if name == "OMP_NUM_THREADS" {
		first, _, _ := strings.Cut(value, ",") // of nested levels the outer one
		s.omp = tell(parseCount(first))
	}
}

// mapBy takes Open MPI's --map-by: ppr:2:node:PE=4, slot:PE=2, node.
func (s *settings) mapBy(v string) {
	parts := strings.FieldsFunc(strings.ToLower(v), func(r rune) bool { return r == ':' || r == ',' })
	for i, part := range parts {
		if n, ok := strings.CutPrefix(part, "pe="); ok {
			s.threads = tell(parseCount(n))
			s.noMap = true
			continue
		}
		switch {
		case part == "ppr" && i+2 < len(parts):
			if parts[i+2] == "node" {
				s.perNode = tell(parseCount(parts[i+1]))
			} else {
				s.noMap = true
			}
		case i == 0 && part == "node":
			s.byNode = true
		case i == 0 && part != "slot" && part != "core" && part != "hwthread":
			s.noMap = true
		}
	}
}

// parseCount reads a decimal number, with Slurm's suffix k or m.
func parseCount(v string) Count {
	unit := 1
	if n := len(v); n > 1 {
		switch v[n-1] {
		case 'k', 'K':
			v, unit = v[:n-1], 1024
		case 'm', 'M':
			v, unit = v[:n-1], 1024*1024
		}
	}
	if !isDigits(v) || len(v) > 12 {
		return Count{}
	}
	n, err := strconv.Atoi(v)
	if err != nil || n > maxCount {
		return Count{}
	}
	return known(n * unit)
}

// parseTyped reads Slurm's [TYPE:]NUMBER[,...].
func parseTyped(v string) Count {
	sum := 0
	for part := range strings.SplitSeq(v, ",") {
		n := parseCount(part[strings.LastIndexByte(part, ':')+1:])
		if !n.Known || sum > maxCount {
			return Count{}
		}
		sum += n.N
	}
	return known(sum)
}

// parseGres reads the amount of one resource in Slurm's lists: gpu, gpu:2,
// gpu:a100:4, gres/gpu=2; ok is false if it is not in there.
func parseGres(v, name string) (n Count, ok bool) {
	sum := known(0)
	for part := range strings.SplitSeq(v, ",") {
		part, _, _ = strings.Cut(part, "(") // gpu:2(S:0-1)
		part = strings.TrimPrefix(part, "gres:")
		rest, found := strings.CutPrefix(part, name)
		if !found || rest != "" && rest[0] != ':' && rest[0] != '=' {
			continue
		}
		ok = true
		one := known(1)
		if i := strings.LastIndexAny(rest, ":="); i >= 0 && i+1 < len(rest) {
			if last := rest[i+1:]; isDigits(last) || i > 0 {
				one = parseCount(last)
			} // else only a type: one of it
		}
		if !one.Known || !sum.Known {
			sum = Count{}
			continue
		}
		sum = known(sum.N + one.N)
	}
	return sum, ok
}

// countHosts returns how many hosts a list names: "n[001-004,7],m1".
func countHosts(list string) Count {
	if list == "" || len(list) > maxFile || strings.ContainsAny(list, "/ ") {
		return Count{} // the name of a file
	}
	total, depth, start := 0, 0, 0
	for i := 0; i <= len(list); i++ {
		switch {
		case i < len(list) && list[i] == '[':
			depth++
		case i < len(list) && list[i] == ']':
			depth--
		case i == len(list) || list[i] == ',' && depth == 0:
			n := countBrackets(list[start:i])
			if !n.Known {
				return Count{}
			}
			total += n.N
			start = i + 1
		}
		if depth < 0 || depth > 1 || total > maxHosts {
			return Count{}
		}
	}
	if depth != 0 {
		return Count{}
	}
	return known(total)
}

// countBrackets returns how many hosts "rack[1-2]n[1,3-5]" stands for.
func countBrackets(one string) Count {
	if one == "" {
		return Count{}
	}
	total := known(1)
	for {
		_, after, ok := strings.Cut(one, "[")
		if !ok {
			return total
		}
		list, rest, ok := strings.Cut(after, "]")
		if !ok {
			return Count{}
		}
		total, one = total.times(countRanks(list)), rest
	}
}

// countRanks returns how many numbers a list such as "0-3,7" has.
func countRanks(list string) Count {
	total := 0
	for part := range strings.SplitSeq(list, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a := parseCount(from)
		b := a
		if ranged {
			b = parseCount(to)
		}
		if !a.Known || !b.Known || b.N < a.N {
			return Count{}
		}
		total += b.N - a.N + 1
		if total > maxCount {
			return Count{}
		}
	}
	return known(total)
}
