package ingest

import (
	"bytes"
	"time"

	"github.com/influxdata/go-syslog/v3"
	"github.com/influxdata/go-syslog/v3/rfc5424"
)

// tag is how every XALT message's program name begins; _<syshost> follows.
const tag = "XALT_LOGGING"

// message is one syslog message that XALT wrote.
type message struct {
	syshost []byte // from the tag; empty if the tag has none
	text    []byte // what follows the tag
	stamp   []byte // the time as it is written, see messageParser.time; empty if there is none
}

// messageParser takes syslog lines apart. RFC 5424 is read by go-syslog, which
// is given the header only, because the text behind it is opaque to it. It has
// holes (it wants a PRI, an app-name of at most 48 bytes and no control
// characters, and may return nothing at all); a line that falls into one is
// read like the older forms, so that no line of XALT's is lost to them.
type messageParser struct {
	machine syslog.Machine
	// Headers that go-syslog has accepted, without their time: log lines
	// differ in little else.
	accepted map[string]struct{}
	last     lastHeader
	// reference is when the log was last written; a time without a year is
	// less than a year before that.
	reference time.Time
}

func newMessageParser(reference time.Time) *messageParser {
	return &messageParser{machine: rfc5424.NewParser(rfc5424.WithBestEffort()), accepted: make(map[string]struct{}), reference: reference}
}

// lastHeader is the header of the last line of XALT's that has a time of one
// word: what is before it, what is between it and the text, and where the
// syshost is in that.
type lastHeader struct {
	before, after []byte
	from, to      int
	plain         bool // no RFC 5424: the time must look like one
}

// again reads a line whose header differs from the last one in its time only.
func (h *lastHeader) again(line []byte) (m message, ok bool) {
	if len(h.after) == 0 || !bytes.HasPrefix(line, h.before) {
		return m, false
	}
	rest := line[len(h.before):]
	n := 0
	for n < len(rest) && isStamp[rest[n]] {
		n++
	}
	if n == 0 || rest[n-1] == ':' || h.plain && !looksLikeTime(rest[:n]) || !bytes.HasPrefix(rest[n:], h.after) {
		return m, false
	}
	m.stamp = rest[:n]
	m.syshost, m.text = rest[n+h.from:n+h.to], rest[n+len(h.after):]
	return m, len(m.text) == 0 || m.text[0] == ' ' || m.text[0] == ':'
}

// isStamp tells the characters of a time in RFC 3339.
var isStamp = func() (set [256]bool) {
	for _, c := range "0123456789-:.+TZ" {
		set[c] = true
	}
	return set
}()

// keep remembers a header: that of m, whose tag begins at the offset at.
func (h *lastHeader) keep(header []byte, at int, m message, plain bool) {
	if len(m.stamp) == 0 || bytes.Count(header, m.stamp) != 1 || plain && !looksLikeTime(m.stamp) {
		return
	}
	start := bytes.Index(header, m.stamp)
	end := start + len(m.stamp)
	if end >= at || header[end] != ' ' {
		return
	}
	h.before, h.after, h.plain = append(h.before[:0], header[:start]...), append(h.after[:0], header[end:]...), plain
	h.from = at + len(tag) - end
	if len(m.syshost) > 0 {
		h.from++ // the underscore
	}
	h.to = h.from + len(m.syshost)
}

// maxAccepted bounds how many headers are remembered: some for each node that
// writes at a time, with its process ids.
const maxAccepted = 4096

// parse returns false for a line that another program wrote. line is without
// its line end.
func (p *messageParser) parse(line []byte) (message, bool) {
	if m, ok := p.last.again(line); ok {
		return m, true
	}
	at := 0
	for {
		i := bytes.Index(line[at:], []byte(tag))
		if i < 0 {
			return message{}, false
		}
		if at += i; at == 0 || isBorder(line[at-1]) {
			break
		}
		at += len(tag) // in the middle of a word, such as grep's file name
	}
	rest := line[at+len(tag):]
	var m message
	if len(rest) > 0 && rest[0] == '_' {
		end := 1
		for end < len(rest) && rest[end] != ' ' && rest[end] != ':' && rest[end] != '[' {
			end++
		}
		m.syshost = rest[1:end]
		rest = rest[end:]
	}
	if len(rest) > 0 && rest[0] == '[' { // a process id
		if end := bytes.IndexByte(rest, ']'); end > 0 {
			rest = rest[end+1:]
		}
	}
	if len(rest) > 0 && rest[0] != ' ' && rest[0] != ':' {
		return message{}, false // a longer word
	}
	m.text = rest
	if at == 0 {
		return m, true
	}
	header := line[:at]
	if header[0] == '<' {
		header := line[:len(line)-len(rest)]
		if stamp, ok := p.rfc5424(header, at); ok {
			m.stamp = stamp
			p.last.keep(header, at, m, false)
			return m, true
		}
	}
	stamp, ok := plainHeader(header)
	m.stamp = stamp
	if ok {
		p.last.keep(line[:len(line)-len(rest)], at, m, true)
	}
	return m, ok
}

// isBorder reports whether a tag may follow c.
func isBorder(c byte) bool { return c == ' ' || c == '\t' || c == ':' }

// rfc5424 reads a header that ends with the tag, which begins at the offset
// at, and returns its time as it is written.
func (p *messageParser) rfc5424(header []byte, at int) (stamp []byte, ok bool) {
	start := bytes.IndexByte(header, ' ') + 1
	length := bytes.IndexByte(header[start:], ' ')
	if start == 0 || length < 1 || start+length > at {
		return nil, false
	}
	stamp = header[start : start+length]
	var stack [256]byte
	timeless := append(append(stack[:0], header[:start]...), header[start+length:]...)
	if _, ok := p.accepted[string(timeless)]; ok && stamp[length-1] != ':' {
		return stamp, true
	}
	input := make([]byte, 0, len(header)+6)
	input = append(append(input, header...), " - - -"...)
	parsed, err := p.machine.Parse(input)
	if err != nil || parsed == nil {
		return nil, false
	}
	msg, isSyslog := parsed.(*rfc5424.SyslogMessage)
	if !isSyslog || msg.Appname == nil || !bytes.HasPrefix([]byte(*msg.Appname), []byte(tag)) {
		return nil, false
	}
	if len(p.accepted) >= maxAccepted {
		clear(p.accepted)
	}
	p.accepted[string(timeless)] = struct{}{}
	return stamp, true
}

// plainHeader looks at what stands before the tag in the forms without a
// grammar: RFC 3164, rsyslog's file format, grep output, damaged lines. It is
// another program's line if that program's tag, a word that ends with a colon
// or a process id and a colon, stands there. For RFC 5424 lines that go-syslog
// refused it is one if the tag is not the app-name, the fourth word.
func plainHeader(header []byte) (stamp []byte, ours bool) {
	words := bytes.Fields(header)
	adjacent := len(header) > 0 && header[len(header)-1] == ':'
	for i, w := range words {
		if w[len(w)-1] == ':' && (i < len(words)-1 || !adjacent) {
			return nil, false
		}
	}
	if len(words) > 0 && len(words[0]) > 2 && words[0][0] == '<' {
		if end := bytes.IndexByte(words[0], '>'); end > 0 && end < len(words[0])-1 && isDigits(words[0][end+1:]) {
			if len(words) != 3 { // PRI and version, time, host
				return nil, false
			}
			return words[1], true
		}
	}
	for i, w := range words {
		if end := bytes.IndexByte(w, '>'); i == 0 && end > 0 && w[0] == '<' {
			w = w[end+1:] // RFC 3164 with its PRI
		}
		// grep puts FILE:LINE: before the time.
		for colon := 0; colon >= 0; colon = bytes.IndexByte(w, ':') + 1 {
			w = w[colon:]
			if looksLikeTime(w) {
				return w, true
			}
			if len(w) == 3 && i+2 < len(words) && isMonth(w) {
				start := bytes.Index(header, words[i]) + len(words[i]) - 3
				if start+15 <= len(header) {
					return header[start : start+15], true
				}
			}
			if bytes.IndexByte(w, ':') < 0 {
				break
			}
		}
	}
	return nil, true
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// looksLikeTime tells an RFC 3339 time from other words.
func looksLikeTime(w []byte) bool {
	return len(w) >= 19 && isDigits(w[:4]) && w[4] == '-' && w[7] == '-' && w[10] == 'T'
}

func isMonth(w []byte) bool {
	_, err := time.Parse("Jan", string(w))
	return err == nil
}

// time returns when the message was written, in seconds since 1970; 0 if it
// does not say so in a form that is known.
func (p *messageParser) time(m message) int64 {
	if len(m.stamp) == 0 {
		return 0
	}
	if t, err := time.Parse(time.RFC3339Nano, string(m.stamp)); err == nil {
		return t.Unix()
	}
	t, err := time.ParseInLocation(time.Stamp, string(m.stamp), p.reference.Location())
	if err != nil {
		return 0
	}
	// time.Stamp has year 0; 29 February is there in some years only.
	for year := p.reference.Year() + 1; year >= p.reference.Year()-8; year-- {
		dated := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, t.Location())
		if dated.Day() == t.Day() && !dated.After(p.reference.Add(24*time.Hour)) {
			return dated.Unix()
		}
	}
	return 0
}
