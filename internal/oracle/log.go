package oracle

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Reasons of dead letters, in a dump's dead_letter.
const (
	ReasonLine   = "malformed line"    // an XALT line without a readable header
	ReasonCRC    = "CRC mismatch"      // the text does not have the CRC that it should
	ReasonFit    = "blocks do not fit" // blocks without a CRC do not make a text
	ReasonRecord = "bad record"        // no JSON object, or a field without which it is nothing is missing or bad
)

// maxBlocks bounds the blocks of one record, maxText its size.
const (
	maxBlocks = 65536
	maxText   = 64 << 20
)

// block is one line's part of a record.
type block struct {
	version    int
	kind       string
	syshost    string
	key        string
	crc        string // as four hexadecimal digits, empty without
	idx, nb    int
	text       string
	unfinished bool // from a last line without newline
}

// record is the text of a record, or the reason why there is none.
type record struct {
	kind, syshost, key string
	text               string
	reason             string
}

var errNotXALT = errors.New("line of another program")

var (
	tagText     = regexp.MustCompile(`XALT_LOGGING(_[^ :]*)?`)
	versionText = regexp.MustCompile(` V:([0-9]+) `)
	oneLineText = regexp.MustCompile(`^:?[ ]*(?:- - -)?[ ]*(?:V:1 )?[ ]*(link|run|pkg):(.*)$`)
	repeatText  = regexp.MustCompile(`^:?[ ]*(?:- - -)?[ ]*message repeated [0-9]+ times: \[`)
)

// readLine reads the block in a line, which comes without its newline. A
// record of V:1, which needs no blocks, comes as the only block of its record.
func readLine(line string) (block, error) {
	line = strings.TrimSuffix(line, "\r")
	tag := tagText.FindStringIndex(line)
	if tag == nil {
		return block{}, errNotXALT
	}
	name := strings.TrimPrefix(line[tag[0]:tag[1]], "XALT_LOGGING")
	rest := line[tag[1]:]
	if repeatText.MatchString(rest) {
		rest = strings.TrimSuffix(rest, "]")
		rest = rest[len(repeatText.FindString(rest)):]
	}
	if name == "" {
		return block{}, errors.New("tag without a syshost")
	}
	if m := oneLineText.FindStringSubmatch(rest); m != nil {
		return block{version: 1, kind: m[1], syshost: name[1:], nb: 1, text: m[2]}, nil
	}
	at := versionText.FindStringSubmatchIndex(rest)
	if at == nil {
		return block{}, errors.New("no version")
	}
	version, err := strconv.Atoi(rest[at[2]:at[3]])
	if err != nil {
		return block{}, err
	}
	header, text, found := strings.Cut(rest[at[1]:], "value:")
	if !found {
		return block{}, errors.New("no value")
	}
	return readHeader(version, header, text)
}

func readHeader(version int, header, text string) (block, error) {
	fields := map[string]string{}
	for field := range strings.FieldsSeq(header) {
		name, val, _ := strings.Cut(field, ":")
		fields[name] = val
	}
	b := block{version: version, kind: fields["kind"], syshost: fields["syshost"], key: fields["key"], text: text}
	if !slices.Contains([]string{"link", "run", "pkg", "skip"}, b.kind) {
		return block{}, fmt.Errorf("kind %q", b.kind)
	}
	if b.key == "" || b.syshost == "" {
		return block{}, errors.New("no key or no syshost")
	}
	var err error
	if b.idx, err = strconv.Atoi(fields["idx"]); err != nil || b.idx < 0 {
		return block{}, fmt.Errorf("idx %q", fields["idx"])
	}
	if b.nb, err = strconv.Atoi(fields["nb"]); err != nil || b.nb < 1 || b.nb > maxBlocks {
		return block{}, fmt.Errorf("nb %q", fields["nb"])
	}
	if b.idx >= b.nb {
		return block{}, fmt.Errorf("idx %d of %d", b.idx, b.nb)
	}
	crc, ok := fields["crc"]
	if !ok {
		crc, ok = fields["crcStr"]
	}
	if ok && version >= 4 {
		n, err := strconv.ParseUint(strings.TrimPrefix(crc, "0x"), 16, 16)
		if err != nil {
			return block{}, fmt.Errorf("crc %q", crc)
		}
		b.crc = fmt.Sprintf("%04X", n)
	}
	return b, nil
}

// records reads logs and returns the records in them that are complete or
// dead, each once, and the keys of those that still wait for blocks.
func records(logs []io.Reader, syshost string) (found []record, waiting []string, err error) {
	groups := map[string][]block{}
	var order []string
	for _, log := range logs {
		data, err := io.ReadAll(log)
		if err != nil {
			return nil, nil, fmt.Errorf("read log: %w", err)
		}
		for rest := string(data); rest != ""; {
			var line string
			var finished bool
			line, rest, finished = strings.Cut(rest, "\n")
			b, err := readLine(line)
			if errors.Is(err, errNotXALT) {
				continue
			}
			if err != nil {
				if finished {
					found = append(found, record{text: line, reason: ReasonLine})
				}
				continue
			}
			if syshost != "" && b.syshost != syshost {
				continue
			}
			b.unfinished = !finished
			id := fmt.Sprintf("%q %q %s %d", b.syshost, b.key, b.crc, b.nb)
			switch {
			case b.version == 1:
				id = "V:1 " + b.kind + " " + b.text
			case b.crc == "":
				id += fmt.Sprintf(" V:%d", b.version)
			}
			if groups[id] == nil {
				order = append(order, id)
			}
			groups[id] = append(groups[id], b)
		}
	}
	for _, id := range order {
		records, complete := assemble(groups[id])
		found = append(found, records...)
		if !complete {
			waiting = append(waiting, groups[id][0].key)
		}
	}
	return found, waiting, nil
}

// assemble makes records of the blocks of one identity. complete is false if
// blocks are left that wait for others.
func assemble(blocks []block) (found []record, complete bool) {
	first := blocks[0]
	switch {
	case first.version == 1:
		return oneLine(blocks)
	case first.version >= 4 && first.crc != "":
		return assembleByCRC(blocks)
	}
	return assembleByOrder(blocks)
}

// oneLine makes the record of V:1 lines, which are all the same.
func oneLine(lines []block) (found []record, complete bool) {
	b := lines[0]
	r := record{kind: b.kind, syshost: b.syshost, text: b.text}
	if !strings.HasPrefix(b.text, "{") {
		text, err := base64.StdEncoding.DecodeString(b.text)
		if err != nil {
			r.reason = ReasonFit
		} else {
			r.text = string(text)
		}
	}
	if _, err := parseJSON(r.text); err != nil && allUnfinished(lines) {
		return nil, false
	}
	return []record{r}, true
}

func allUnfinished(blocks []block) bool {
	return !slices.ContainsFunc(blocks, func(b block) bool { return !b.unfinished })
}

// maxFittings bounds the combinations that are tried for blocks of which there
// are several with one index.
const maxFittings = 4096

// assembleByCRC makes the one record that blocks with one CRC are.
func assembleByCRC(blocks []block) ([]record, bool) {
	first := blocks[0]
	texts := make([][]string, first.nb)
	certain := make([]bool, first.nb)
	for _, b := range blocks {
		if !slices.Contains(texts[b.idx], b.text) {
			texts[b.idx] = append(texts[b.idx], b.text)
		}
		certain[b.idx] = certain[b.idx] || !b.unfinished
	}
	r := record{kind: first.kind, syshost: first.syshost, key: first.key}
	for _, parts := range fittings(texts) {
		for _, text := range paddings(parts) {
			if hasCRC(text, first.crc) {
				r.text = text
				return []record{r}, true
			}
		}
	}
	if slices.Contains(certain, false) {
		return nil, false
	}
	r.reason = ReasonCRC
	for _, t := range texts {
		r.text += t[0]
	}
	return []record{r}, true
}

// fittings returns the ways to choose one text for each index, at most
// maxFittings, and none if an index has no text.
func fittings(texts [][]string) [][]string {
	ways := [][]string{nil}
	for _, choices := range texts {
		var longer [][]string
		for _, way := range ways {
			for _, choice := range choices {
				if len(longer) < maxFittings {
					longer = append(longer, append(slices.Clone(way), choice))
				}
			}
		}
		ways = longer
	}
	return ways
}

// paddings returns the texts that blocks may be the parts of: as they are, and
// with the blanks that a transport has trimmed put back.
func paddings(parts []string) []string {
	texts := []string{strings.Join(parts, "")}
	longest := 0
	for _, part := range parts[:len(parts)-1] {
		longest = max(longest, len(part))
	}
	for _, size := range []int{256, 512, 1024, longest} {
		if size < longest {
			continue
		}
		var b strings.Builder
		for i, part := range parts {
			b.WriteString(part)
			if i < len(parts)-1 {
				b.WriteString(strings.Repeat(" ", size-len(part)))
			}
		}
		texts = append(texts, b.String())
	}
	return texts
}

// assembleByOrder makes records of blocks without a CRC: the n-th copy of an
// index belongs to the n-th record.
func assembleByOrder(blocks []block) (found []record, complete bool) {
	first := blocks[0]
	copies := make([][]block, first.nb)
	for _, b := range blocks {
		copies[b.idx] = append(copies[b.idx], b)
	}
	complete = true
	for n := 0; ; n++ {
		var parts []string
		unfinished, more := false, false
		for _, c := range copies {
			if n < len(c) {
				parts = append(parts, c[n].text)
				unfinished = unfinished || c[n].unfinished
			}
			more = more || n+1 < len(c)
		}
		r := record{kind: first.kind, syshost: first.syshost, key: first.key}
		if len(parts) == first.nb {
			r.text, r.reason = decodeParts(first.version, parts)
		}
		if len(parts) < first.nb || unfinished && r.reason != "" {
			complete = false
		} else {
			found = append(found, r)
		}
		if !more {
			return found, complete
		}
	}
}

// decodeParts joins the blocks of a record without a CRC in its header. Of a
// text that does not decode it returns the blocks as they are.
func decodeParts(version int, parts []string) (text, reason string) {
	if version <= 2 {
		text, err := inflate(strings.Join(parts, ""))
		if err != nil {
			return strings.Join(parts, ""), ReasonFit
		}
		return text, ""
	}
	reason = ReasonFit
	texts := paddings(parts)
	if body := parts[:len(parts)-1]; len(body) == 1 || slices.ContainsFunc(body, func(part string) bool { return len(part) != len(body[0]) }) {
		texts = append(texts[1:], texts[0]) // they have been trimmed, or may have been
	}
	for _, text := range texts {
		if _, err := parseJSON(text); err != nil {
			continue
		}
		crc, ok := ownCRC(text)
		if version < 4 || !ok || hasCRC(text, crc) {
			return text, ""
		}
		reason = ReasonCRC
	}
	return strings.Join(parts, ""), reason
}

func inflate(text string) (string, error) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", err
	}
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return "", err
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxText+1))
	if err != nil {
		return "", err
	}
	if len(plain) > maxText {
		return "", errors.New("too large")
	}
	return string(plain), nil
}

// The CRC of a record covers its text with crcBlank in the place of the value
// of the leading member "crc".
const (
	crcLead  = `{"crc":"`
	crcBlank = "0xFFFF"
)

// ownCRC returns the CRC that a text states itself.
func ownCRC(text string) (crc string, ok bool) {
	if !strings.HasPrefix(text, crcLead+"0x") || len(text) < len(crcLead)+len(crcBlank) {
		return "", false
	}
	return strings.ToUpper(text[len(crcLead)+2 : len(crcLead)+6]), true
}

func hasCRC(text, crc string) bool {
	at := len(crcLead)
	if len(text) < at+len(crcBlank) {
		return false
	}
	return fmt.Sprintf("%04X", CRC(text[:at]+crcBlank+text[at+len(crcBlank):])) == crc
}

// CRC is CRC-16/CCITT-FALSE, bit by bit.
func CRC(text string) uint16 {
	crc := uint16(0xFFFF)
	for i := range len(text) {
		crc ^= uint16(text[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// Lines returns the syslog lines that carry a record's text in blocks of a
// size, as XALT 3.2.4 writes them, bare and without newlines. The text begins
// with a member "crc" of six characters; its CRC is put there.
func Lines(kind, syshost, key, text string, size int) []string {
	at := len(crcLead)
	crc := fmt.Sprintf("0x%04X", CRC(text[:at]+crcBlank+text[at+len(crcBlank):]))
	text = text[:at] + crc + text[at+len(crcBlank):]
	nb := (len(text) + size - 1) / size
	lines := make([]string, nb)
	for i := range nb {
		part := text[i*size : min((i+1)*size, len(text))]
		lines[i] = fmt.Sprintf("XALT_LOGGING_%s V:4 kind:%s syshost:%s key:%s crcStr:%s nb:%02d idx:%02d value:%s",
			syshost, kind, syshost, key, crc, nb, i, part)
	}
	return lines
}

// Record is a complete record of a log.
type Record struct{ Kind, Syshost, Key, Text string }

// Records returns the complete records in logs, in the order of their first
// blocks.
func Records(logs ...io.Reader) ([]Record, error) {
	found, _, err := records(logs, "")
	if err != nil {
		return nil, err
	}
	var complete []Record
	for _, r := range found {
		if r.reason == "" {
			complete = append(complete, Record{r.kind, r.syshost, r.key, r.text})
		}
	}
	return complete, nil
}
