// Package modellog generates the model log with which speed and size are
// measured: a big machine's XALT records as rsyslog writes them.
//
// The log is made of user-and-application profiles. A profile has an
// executable, a set of libraries with modules, an environment, and perhaps
// packages; how often a profile runs follows Zipf's law, so that a few of them
// make most of the log, as on real machines. Most runs have a start record and,
// later, an end record, which names some more libraries; some never end. Records
// are cut into blocks of 512 bytes with their CRC, and records that are written
// at one time mix their lines. With the default options a record has about 17
// lines and 11.6 KB.
//
// The same options give the same bytes. The package shares no code with the
// reader that is measured, not even the CRC.
package modellog

import (
	"bufio"
	"container/heap"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// Options say what log to make. The zero value of a field is its default.
type Options struct {
	Seed     uint64    // another seed, another log
	Records  int       // records: links, starts, ends and packages; default 22,951
	Scale    int       // how many times as many, of the same profiles; default 1
	Profiles int       // user-and-application profiles, default 800
	Start    time.Time // time of the first line, default 2026-11-01 00:00 UTC
	Syshost  string    // default "model"
}

// Stats are what a log has.
type Stats struct {
	Lines, Bytes                       int64
	Records, Links, Starts, Ends, Pkgs int
	Objects, Variables                 int // members of the run records' sets
	First, Last                        time.Time
}

// blockSize is the size of all blocks of a record but the last.
const blockSize = 512

func (o Options) withDefaults() Options {
	if o.Records == 0 {
		o.Records = 22951
	}
	if o.Scale == 0 {
		o.Scale = 1
	}
	if o.Profiles == 0 {
		o.Profiles = 800
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.Syshost == "" {
		o.Syshost = "model"
	}
	return o
}

// Generate writes a log.
func Generate(w io.Writer, opts Options) (Stats, error) {
	g := newGenerator(opts)
	out := bufio.NewWriterSize(w, 1<<20)
	for {
		line, ok := g.line()
		if !ok {
			break
		}
		g.stats.Lines++
		g.stats.Bytes += int64(len(line))
		if _, err := out.WriteString(line); err != nil {
			return g.stats, fmt.Errorf("write log: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return g.stats, fmt.Errorf("write log: %w", err)
	}
	return g.stats, nil
}

// WriteReverseMap writes the reverse map (xalt_rmapT.json) that knows the
// modules of a log with the same options.
func WriteReverseMap(w io.Writer, opts Options) error {
	g := newGenerator(opts)
	file := struct {
		ReverseMapT map[string]string `json:"reverseMapT"`
		Xlibmap     []string          `json:"xlibmap"`
	}{g.modules, []string{}}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(file); err != nil {
		return fmt.Errorf("write reverse map: %w", err)
	}
	return nil
}

// generator makes one log.
type generator struct {
	opts     Options
	rand     *rand.Rand
	zipf     *rand.Zipf
	profiles []*profile
	modules  map[string]string // directory -> module
	stats    Stats

	clock   time.Time
	later   events    // records that are due later
	planned int       // how many were ever due later
	writing []*record // records of which lines are still to be written
	current int       // the one of which the last line was
}

// record is a record of which lines are still to be written.
type record struct{ lines []string }

func newGenerator(opts Options) *generator {
	opts = opts.withDefaults()
	source := rand.New(rand.NewPCG(opts.Seed, 0x58414c54))
	g := &generator{opts: opts, rand: source, modules: map[string]string{}, clock: opts.Start}
	g.makeProfiles()
	g.zipf = rand.NewZipf(source, 1.1, 8, uint64(len(g.profiles)-1))
	g.stats.First = g.clock
	return g
}

// maxWriting is how many records mix their lines at most.
const maxWriting = 6

// line returns the next line; ok is false at the end.
func (g *generator) line() (line string, ok bool) {
	for len(g.writing) < maxWriting {
		r := g.next()
		if r == nil {
			break
		}
		g.writing = append(g.writing, r)
	}
	if len(g.writing) == 0 {
		return "", false
	}
	if g.current >= len(g.writing) || g.rand.IntN(20) == 0 {
		g.current = g.rand.IntN(len(g.writing))
	}
	r := g.writing[g.current]
	line, r.lines = r.lines[0], r.lines[1:]
	if len(r.lines) == 0 {
		g.writing = append(g.writing[:g.current], g.writing[g.current+1:]...)
	}
	return line, true
}

// next makes the next record, nil if there are enough.
func (g *generator) next() *record {
	if g.stats.Records == g.opts.Records*g.opts.Scale {
		return nil
	}
	g.stats.Records++
	for len(g.later) == 0 || g.later[0].at.After(g.clock) {
		g.clock = g.clock.Add(time.Duration(g.rand.ExpFloat64() * float64(300*time.Millisecond)))
		g.launch()
	}
	e := heap.Pop(&g.later).(event)
	g.stats.Last = e.at
	return e.make()
}

// launch plans the records of one link or one run.
func (g *generator) launch() {
	p := g.profiles[g.zipf.Uint64()]
	if g.rand.IntN(14) == 0 {
		g.plan(0, func() *record { return g.link(p) })
		return
	}
	n := g.newRun(p)
	g.plan(0, func() *record { return g.runRecord(n, false) })
	for i := range len(p.packages) {
		g.plan(time.Duration(i+1)*time.Millisecond, func() *record { return g.pkg(n, i) })
	}
	if g.rand.IntN(33) > 0 { // else it was killed
		g.plan(n.duration, func() *record { return g.runRecord(n, true) })
	}
}

func (g *generator) plan(after time.Duration, make func() *record) {
	g.planned++
	heap.Push(&g.later, event{g.clock.Add(after), g.planned, make})
}

// event is a record that is due at a time.
type event struct {
	at    time.Time
	order int // among those of one time
	make  func() *record
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].order < e[j].order
	}
	return e[i].at.Before(e[j].at)
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// record cuts a text into blocks and makes their lines. The text begins with
// `{"crc":"0xFFFF"`.
func (g *generator) record(host, kind, key, text string) *record {
	crc := fmt.Sprintf("0x%04X", crc16(text))
	text = `{"crc":"` + crc + text[len(`{"crc":"0xFFFF`):]
	nb := (len(text) + blockSize - 1) / blockSize
	r := &record{lines: make([]string, nb)}
	for i := range nb {
		part := text[i*blockSize : min((i+1)*blockSize, len(text))]
		at := g.stats.Last.Add(time.Duration(i) * 40 * time.Microsecond)
		r.lines[i] = fmt.Sprintf("<14>1 %s %s XALT_LOGGING_%s - - -  V:4 kind:%s syshost:%s key:%s crcStr:%s nb:%02d idx:%02d value:%s\n",
			at.Format("2006-01-02T15:04:05.000000-07:00"), host, g.opts.Syshost, kind, g.opts.Syshost, key, crc, nb, i, part)
	}
	return r
}

// uuid returns a UUID of version 7, as XALT 3.2 makes them: it begins with the
// milliseconds since 1970, the rest is random.
func (g *generator) uuid() string {
	at, a, b := g.clock.UnixMilli(), g.rand.Uint64(), g.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", at>>16, at&0xFFFF, a&0xFFF, b>>48&0x3FFF|0x8000, b&0xFFFFFFFFFFFF)
}

// hash returns a random SHA-1 in hexadecimal digits.
func (g *generator) hash() string {
	return fmt.Sprintf("%016x%016x%08x", g.rand.Uint64(), g.rand.Uint64(), g.rand.Uint32())
}

// quoted returns a JSON string of a text that needs no escapes.
func quoted(s string) string { return `"` + s + `"` }

// list returns a JSON array of texts that need no escapes.
func list(items []string) string {
	if len(items) == 0 {
		return "[]"
	}
	return `["` + strings.Join(items, `","`) + `"]`
}

// crcTable has the CRC-16/CCITT-FALSE of each byte.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
		table[i] = crc
	}
	return table
}()

func crc16(text string) uint16 {
	crc := uint16(0xFFFF)
	for i := range len(text) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^text[i]]
	}
	return crc
}
