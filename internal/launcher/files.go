package launcher

import (
	"strings"
)

// ranksFile reads srun's --multi-prog file: lines of a list of tasks, a program
// and its arguments; "#" begins a comment, "\" at the end continues a line, "*"
// are the tasks that no other line names.
func (p *parser) ranksFile(name string, s *settings) {
	text, ok := p.host.readFile(name)
	if !ok {
		p.doubt("the file of programs cannot be read")
		return
	}
	total := s.tasks.count
	p.job.Tasks, p.job.Nodes, p.job.Threads, p.job.GPUs = p.table.derive(*s)
	p.job.whole = true
	p.job.segments = append(p.job.segments, *s)
	named, star, starAt := known(0), false, 0
	for line := range logicalLines(text) {
		list, rest := cutWord(line)
		if list == "" {
			continue
		}
		words, ok := splitWords(rest)
		if !ok || len(words) == 0 {
			p.doubt("a line of the file of programs that names none")
			return
		}
		if len(p.job.Programs) >= maxPrograms {
			p.doubt("more programs than can be told")
			return
		}
		prog := Program{Index: -1, Dir: s.dir, Container: s.container, Image: s.image, Start: words[0], Threads: p.job.Threads}
		inside := *s
		if p.behind(words, -1, &inside, &prog) != nil {
			p.doubt("a launcher in the file of programs")
		}
		if p.job.Doubt != "" {
			return
		}
		prog.Threads = inside.omp.or(inside.threads).count
		if list == "*" {
			star, starAt = true, len(p.job.Programs)
		} else {
			prog.Tasks = countRanks(list)
			named = plus(named, prog.Tasks)
		}
		p.job.Programs = append(p.job.Programs, prog)
	}
	if len(p.job.Programs) == 0 {
		p.doubt("the file of programs names none")
		return
	}
	if star && named.Known && total.Known && total.N >= named.N {
		p.job.Programs[starAt].Tasks = known(total.N - named.N)
	}
}

// linesFile reads a file of lines that each have options and a program, or
// several with ":": Open MPI's --app, -configfile of Hydra and PALS, MPT's -f.
func (p *parser) linesFile(name string, outer *settings) {
	text, ok := p.host.readFile(name)
	if !ok {
		p.doubt("the file of programs cannot be read")
		return
	}
	for line := range logicalLines(text) {
		words, ok := splitWords(line)
		if !ok {
			p.doubt("a line of the file of programs that cannot be read")
			return
		}
		for len(words) > 0 && words[0] == ":" {
			words = words[1:]
		}
		for len(words) > 0 {
			s := settings{perNode: outer.perNode, threads: outer.threads, omp: outer.omp, dir: outer.dir}
			i, ended, doubt := p.table.scan(words, 0, s.see)
			if doubt == "" && !ended && p.table.has("hosts") {
				i, _ = p.hostWords(words, i, &s)
			}
			if doubt == "" && (s.stop || s.ranksFile || s.configWord || s.appFile != "" || s.configFile != "") {
				doubt = "an option that a file of programs cannot have"
			}
			if doubt != "" {
				p.doubt(doubt)
				return
			}
			end := i
			for end < len(words) && words[end] != ":" {
				end++
			}
			if len(p.job.Programs) >= maxPrograms {
				p.doubt("more programs than can be told")
				return
			}
			p.add(words[i:end:end], -1, &s)
			if p.job.Doubt != "" {
				return
			}
			words = words[min(end+1, len(words)):]
		}
	}
	if len(p.job.Programs) == 0 {
		p.doubt("the file of programs names none")
	}
}

// erf reads jsrun's explicit resource file. Its lines are
//
//	app N: COMMAND
//	rank: LIST: { host: ...; cpu: ... } [: app N]
//	COUNT: { ... } [: app N]
//
// Without "app" lines the program stands on the command line.
func (p *parser) erf(words []string, base int, s *settings) {
	text, ok := p.host.readFile(s.erfFile)
	if !ok {
		p.doubt("the explicit resource file cannot be read")
		return
	}
	type app struct {
		number string
		words  []string
		tasks  Count
	}
	var apps []app
	all := known(0)
	for line := range logicalLines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "app "); ok {
			number, command, ok := strings.Cut(rest, ":")
			w, good := splitWords(command)
			if !ok || !good || len(w) == 0 || len(apps) >= maxPrograms {
				p.doubt("an \"app\" of the explicit resource file")
				return
			}
			apps = append(apps, app{strings.TrimSpace(number), w, known(0)})
			continue
		}
		head, resources, ok := strings.Cut(line, "{")
		if !ok {
			continue // the preamble
		}
		head = strings.TrimSuffix(strings.TrimSpace(head), ":")
		var n Count
		if list, ok := strings.CutPrefix(head, "rank:"); ok {
			n = countRanks(strings.TrimSpace(list))
		} else {
			n = parseCount(strings.TrimSpace(head))
		}
		all = plus(all, n)
		if i := strings.LastIndex(resources, "app "); i >= 0 {
			number := strings.TrimSpace(resources[i+4:])
			for k := range apps {
				if apps[k].number == number {
					apps[k].tasks = plus(apps[k].tasks, n)
				}
			}
		}
	}
	if all == known(0) {
		all = Count{}
	}
	s.tasks, s.sets, s.perSet = tell(all), number{}, number{}
	if len(apps) == 0 {
		p.add(words, base, s)
		return
	}
	for _, a := range apps {
		one := *s
		one.tasks = tell(a.tasks)
		p.add(a.words, -1, &one)
	}
}

// logicalLines returns the lines of a file without comments and empty lines,
// those that end in "\" joined with the next.
func logicalLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var joined []byte
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\r\n")
			if t := strings.TrimSpace(line); len(joined) == 0 && (t == "" || t[0] == '#') {
				continue
			}
			if before, ok := strings.CutSuffix(strings.TrimRight(line, " \t"), "\\"); ok {
				joined = append(append(joined, before...), ' ')
				continue
			}
			if len(joined) > 0 {
				line, joined = string(append(joined, line...)), joined[:0]
			}
			if !yield(line) {
				return
			}
		}
		if last := strings.TrimSpace(string(joined)); last != "" {
			yield(last)
		}
	}
}

// cutWord returns the first word of a line, and what follows.
func cutWord(line string) (word, rest string) {
	line = strings.TrimLeft(line, " \t")
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return line, ""
	}
	return line[:i], line[i:]
}

// splitWords splits a line as a shell would, with quotes and "\" but without
// variables. It is false if a quote is open, or "$" would need a shell.
func splitWords(line string) (words []string, ok bool) {
	var word []byte
	inWord := false
	var quote byte
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != '\'':
			word = append(word, c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\':
			i++
			if i >= len(line) {
				return nil, false
			}
			if quote == '"' && line[i] != '"' && line[i] != '\\' && line[i] != '$' {
				word = append(word, '\\')
			}
			word, inWord = append(word, line[i]), true
		case c == '$' && i+1 < len(line) && (line[i+1] == '{' || line[i+1] == '('):
			return nil, false
		case quote == '"':
			word = append(word, c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if inWord {
				words, word, inWord = append(words, string(word)), word[:0], false
			}
		default:
			word, inWord = append(word, c), true
		}
	}
	if inWord {
		words = append(words, string(word))
	}
	return words, quote == 0
}
