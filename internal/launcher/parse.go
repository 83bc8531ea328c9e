package launcher

import (
	"path"
	"strings"
)

// A parser reads one command line.
type parser struct {
	job   Job
	host  Host
	depth int
	table *table
}

func (p *parser) doubt(why string) {
	if p.job.Doubt == "" {
		p.job.Doubt = why
	}
}

// parse reads args into the job. Where something cannot be understood the job has
// no programs and no numbers, but a doubt.
func (p *parser) parse(args []string) {
	p.table = loadTable(string(p.job.Flavour))
	if p.table == nil {
		p.doubt("a launcher that is not known")
		return
	}
	i := 0
	if p.job.Flavour == Flux {
		if i = p.fluxCommand(args); i < 0 {
			return
		}
	}
	var before settings
	for first := true; ; first = false {
		var s settings
		if !first && p.table.has("inherit") {
			s = settings{perNode: before.perNode, threads: before.threads, omp: before.omp, dir: before.dir}
		}
		next, ok := p.segment(args, i, &s)
		if !ok {
			break
		}
		before = s
		if next >= len(args) {
			break
		}
		if i = next + 1; i >= len(args) {
			p.doubt("no program after the last \":\"")
		}
		if len(p.job.Programs) >= maxPrograms {
			p.doubt("more programs than can be told")
		}
		if p.job.Doubt != "" {
			break
		}
	}
	if p.job.Doubt != "" || !p.job.Launches {
		j := p.job
		p.job = Job{Launcher: j.Launcher, Flavour: j.Flavour, Launches: j.Launches, StepsAside: j.StepsAside, Doubt: j.Doubt}
		return
	}
	if !p.job.whole {
		p.job.total(p.table.has("apart"))
	}
}

// fluxCommand finds the command of flux that launches, and returns where its
// options begin, or -1 if it launches nothing.
func (p *parser) fluxCommand(args []string) int {
	var s settings
	i, _, doubt := loadTable("flux/global").scan(args, 0, s.see)
	if doubt != "" {
		p.doubt(doubt)
		return -1
	}
	if !s.stop && i < len(args) && args[i] == "mini" {
		i++
	}
	if s.stop || i >= len(args) {
		p.job.Launches = false
		return -1
	}
	switch args[i] {
	case "run", "submit":
		return i + 1
	case "bulksubmit":
		p.doubt("flux bulksubmit makes its command lines itself")
		return -1
	}
	p.job.Launches = false
	return -1
}

// segment reads the options and the program from args[i] on, up to a ":" or the
// end, and returns where that is. It is false if reading should end.
func (p *parser) segment(args []string, i int, s *settings) (next int, ok bool) {
	i, ended, doubt := p.table.scan(args, i, s.see)
	if doubt == "" && !ended && p.table.has("hosts") {
		i, ended = p.hostWords(args, i, s)
	}
	if doubt != "" {
		p.doubt(doubt)
		return 0, false
	}
	if s.stop {
		p.job.Launches = false
		return 0, false
	}
	if s.aside != "" {
		p.job.StepsAside = s.aside
	}
	if p.table.has("ranks") && !ended {
		i = p.rankWords(args, i, s)
	}
	end := len(args)
	if p.table.has("colon") {
		for k := i; k < end; k++ {
			if args[k] == ":" {
				end = k
			}
		}
	}
	switch {
	case s.ranksFile, s.configWord: // the next word is a file
		if i >= end {
			p.doubt("no file that names the programs")
			return 0, false
		}
		if s.ranksFile {
			p.ranksFile(args[i], s)
		} else {
			p.linesFile(args[i], s)
		}
	case s.appFile != "":
		p.linesFile(s.appFile, s)
	case s.configFile != "":
		p.linesFile(s.configFile, s)
	case s.erfFile != "":
		p.erf(args[i:end], i, s)
	default:
		p.add(args[i:end], i, s)
	}
	return end, p.job.Doubt == ""
}

// hostWords reads what MPT allows before the program: a host list, a number of
// tasks, and options behind the host list. The number holds for each host.
func (p *parser) hostWords(args []string, i int, s *settings) (next int, ended bool) {
	if s.tasks.told || i >= len(args) || p.job.Launcher == "mpiexec_mpt" {
		return i, false
	}
	if isDigits(args[i]) {
		s.tasks = tell(parseCount(args[i]))
		return i + 1, false
	}
	if i+1 >= len(args) || strings.ContainsAny(args[i], "/.=") && !strings.Contains(args[i], ",") {
		return i, false
	}
	hosts := countHosts(args[i])
	next = i + 1
	switch {
	case isDigits(args[next]):
		s.tasks = tell(parseCount(args[next]))
		next++
	case strings.HasPrefix(args[next], "-"):
		var more settings
		var doubt string
		next, ended, doubt = p.table.scan(args, next, more.see)
		if doubt != "" || !more.tasks.told {
			return i, false // they are the arguments of a program
		}
		s.tasks = more.tasks
		s.threads = more.threads.or(s.threads)
	default:
		return i, false
	}
	s.tasks.count = s.tasks.count.times(hosts)
	s.nodes = tell(hosts)
	return next, ended
}

// rankWords skips what mpirun_rsh has before the program: a host for each task,
// and variables.
func (p *parser) rankWords(args []string, i int, s *settings) int {
	if s.hostFile == "" {
		n := s.tasks.count
		if !n.Known || n.N > len(args)-i {
			p.doubt("the hosts before the program cannot be told")
			return i
		}
		hosts := make(map[string]bool)
		for _, h := range args[i : i+n.N] {
			hosts[h] = true
		}
		s.nodes = tell(known(len(hosts)))
		i += n.N
	}
	for i < len(args) {
		name, value, ok := strings.Cut(args[i], "=")
		if !ok || !isVariable(name) {
			break
		}
		s.env(name, value)
		i++
	}
	return i
}

// add appends the program with the words of a segment, which begin at args[base].
func (p *parser) add(words []string, base int, s *settings) {
	prog := Program{Index: -1, Dir: s.dir, Container: s.container, Image: s.image}
	if len(words) > 0 {
		prog.Start = words[0]
	}
	inner := p.behind(words, base, s, &prog)
	if p.job.Doubt != "" {
		return
	}
	prog.Tasks, prog.Nodes, prog.Threads, prog.GPUs = p.table.derive(*s)
	if inner == nil {
		p.job.Programs = append(p.job.Programs, prog)
	} else {
		p.nest(prog, inner)
	}
	p.job.segments = append(p.job.segments, *s)
}

// nest appends the programs of a launcher that the program prog is.
func (p *parser) nest(prog Program, inner *Job) {
	if inner.StepsAside != "" {
		p.job.StepsAside = inner.StepsAside
	}
	p.job.nested = true
	for _, q := range inner.Programs {
		q.Start = prog.Start
		q.Through = append(append([]string(nil), prog.Through...), q.Through...)
		if q.Container == "" {
			q.Container, q.Image = prog.Container, prog.Image
		}
		if q.Dir == "" {
			q.Dir = prog.Dir
		}
		if !q.Threads.Known {
			q.Threads = prog.Threads
		}
		if prog.Tasks != known(1) {
			q.Tasks, q.Nodes, q.GPUs = q.Tasks.times(prog.Tasks), Count{}, Count{}
		}
		p.job.Programs = append(p.job.Programs, q)
	}
	if len(p.job.Programs) > maxPrograms {
		p.doubt("more programs than can be told")
	}
}

// behind follows words through tools to the program, and sets it in prog. If it
// is a launcher, its job is returned.
func (p *parser) behind(words []string, base int, s *settings, prog *Program) *Job {
	for range maxHops {
		if len(words) == 0 {
			if len(prog.Through) == 0 {
				p.doubt("no program")
			}
			return nil // the tool itself runs: Path is it already
		}
		word := words[0]
		prog.Path, prog.Args, prog.Index = word, words[1:len(words):len(words)], -1
		if base >= 0 {
			prog.Index = base
		}
		if word == "" {
			p.doubt("an empty word where the program should be")
			return nil
		}
		if relative(word) {
			return nil
		}
		name := path.Base(word)
		flavour, isLauncher := FlavourOf(name)
		if isLauncher && p.depth < 4 {
			if inner := parse(name, words[1:], flavour, p.host, p.depth+1); inner.Launches && inner.Doubt == "" {
				for i := range inner.Programs {
					if q := &inner.Programs[i]; q.Index >= 0 && base >= 0 {
						q.Index += base + 1
					} else {
						q.Index = -1
					}
				}
				prog.Through = append(prog.Through, name)
				return &inner
			} else if inner.Launches {
				p.doubt(name + ": " + inner.Doubt)
			}
			return nil
		}
		t := loadTable(name)
		if t == nil || isLauncher {
			return nil
		}
		next, nextBase, more := p.tool(t, name, words, base, s, prog)
		if !more {
			return nil
		}
		prog.Through = append(prog.Through, name)
		words, base = next, nextBase
	}
	p.doubt("more tools in front of the program than can be told")
	return nil
}

// tool reads the words of one tool, words[0], and returns the words of the
// program behind it; more is false if the tool itself is the program.
func (p *parser) tool(t *table, name string, words []string, base int, s *settings, prog *Program) (next []string, nextBase int, more bool) {
	i := 1
	for sub := t.value("sub"); sub != ""; sub = t.value("sub") {
		if g := loadTable(name + "/global"); g != nil {
			var gs settings
			var doubt string
			if i, _, doubt = g.scan(words, i, gs.see); doubt != "" {
				p.doubt(name + ": " + doubt)
				return nil, 0, false
			}
			if gs.stop {
				return nil, 0, false
			}
		}
		if i >= len(words) || !contains(sub, words[i]) {
			return nil, 0, false
		}
		container := t.has("image")
		name += "/" + words[i]
		if t = loadTable(name); t == nil {
			return nil, 0, false // a test sees to it that this does not happen
		}
		if container && prog.Container == "" {
			prog.Container = path.Base(words[0])
		}
		i++
	}
	if t.has("image") && prog.Container == "" {
		prog.Container = path.Base(words[0])
	}
	if t.has("first") && i < len(words) && !strings.HasPrefix(words[i], "-") {
		i++
	}
	var own settings
	i, words, base = p.toolOptions(t, words, i, base, &own)
	if p.job.Doubt != "" || own.stop || i < 0 {
		return nil, 0, false
	}
	s.omp, s.threads = own.omp.or(s.omp), own.threads.or(s.threads)
	if own.dir != "" {
		prog.Dir = own.dir
	}
	if t.has("aside") {
		p.job.StepsAside = path.Base(prog.Path)
	}
	if n := t.value("word"); n != "" {
		i += int(n[0] - '0')
	}
	if t.has("image") {
		if !t.has("optioned") && i < len(words) {
			prog.Image = words[i]
			i++
			if i < len(words) && words[i] == "--" {
				i++
			}
		} else if own.image != "" {
			prog.Image = own.image
		}
		if t.has("own") || t.has("bring") && i >= len(words) {
			prog.Path, prog.Index = "", -1
			prog.Args = words[min(i, len(words)):]
			prog.Through = append(prog.Through, path.Base(words[0]))
			return nil, 0, false
		}
	}
	if i >= len(words) {
		return nil, base, true // nothing follows
	}
	if base >= 0 {
		base += i
	}
	next = words[i:]
	if t.has("last") && !own.rest {
		next = next[:1:1]
	}
	return next, base, true
}

// toolOptions reads a tool's options from words[i] on, and the variables of env.
// The words and base change where a word is split.
func (p *parser) toolOptions(t *table, words []string, i, base int, own *settings) (next int, rest []string, restBase int) {
	for hops := 0; ; hops++ {
		start := i
		n, ended, doubt := t.scan(words, i, own.see)
		i = n
		if ended && t.has("last") {
			own.rest = true
		}
		if t.has("after") && !ended && !own.stop && (doubt != "" || !t.has("plain")) {
			// What is not known, or may be the tool's own word, does not matter here.
			k := start
			for k < len(words) && words[k] != "--" {
				k++
			}
			if k == len(words) {
				p.doubt(path.Base(words[0]) + ": no \"--\" before the program")
				return -1, words, base
			}
			return k + 1, words, base
		}
		if doubt != "" {
			p.doubt(path.Base(words[0]) + ": " + doubt)
			return -1, words, base
		}
		if own.split {
			if hops > 8 {
				p.doubt("env: words within words")
				return -1, words, base
			}
			inside, ok := splitWords(own.splitWords)
			if !ok {
				p.doubt("env: a word that cannot be split")
				return -1, words, base
			}
			words = append(append([]string{words[0]}, inside...), words[i:]...)
			own.split, own.splitWords, i, base = false, "", 1, -1
			continue
		}
		if !t.has("assign") || own.stop {
			return i, words, base
		}
		if !ended && i < len(words) && words[i] == "-" { // the same as -i
			i++
			continue
		}
		for i < len(words) {
			name, value, ok := strings.Cut(words[i], "=")
			if !ok || name == "" {
				break
			}
			own.env(name, value)
			i++
		}
		return i, words, base
	}
}

// contains reports whether a list that commas separate has the word.
func contains(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// isVariable reports whether s may be the name of an environment variable.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
