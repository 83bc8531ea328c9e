package xalt

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Limits bound what a hostile producer can make the reader allocate, in bytes.
type Limits struct {
	Record   int // a record's text
	Inflated int // a version 2 record's text after inflating
}

// DefaultLimits are those of docs/architecture.md: 64 MiB each.
func DefaultLimits() Limits { return Limits{Record: 64 << 20, Inflated: 64 << 20} }

// What keeps a complete group from becoming a record.
var (
	ErrCRC      = errors.New("no fitting of the blocks has the CRC of the header")
	ErrFit      = errors.New("no fitting of the blocks is a JSON text")
	ErrEncoding = errors.New("blocks are not base64 of zlib")
	ErrTooLarge = errors.New("record is larger than the limit")
)

// maxFittings bounds how many combinations of differing copies are tried, and
// maxJoined how many bytes are joined in trying them.
const (
	maxFittings = 64
	maxJoined   = 512 << 20
	inflateCost = 2 // of inflating against joining
)

// Part is one block of a group.
type Part struct {
	Index int
	Value []byte
	// Copy numbers the copies of an index that wait in a store; -1 for a
	// block that was not stored yet.
	Copy int
	// Line is the number of the line that brought the block, from 1.
	Line int64
}

// Group collects the blocks of one [Identity]: in any order, with repeats,
// from several sources. The zero value is not ready, see [NewGroup].
//
// With a CRC in the header, a block that is there already with the same bytes
// is a repeat, and differing ones are variants among which the CRC decides.
// Without one, every copy counts: the n-th copy of an index belongs to the
// n-th record.
type Group struct {
	ID      Identity
	Version int
	Kind    Kind
	Syshost string
	Key     string
	HasCRC  bool
	CRC     uint16
	Count   int // blocks in a record
	Epoch   int64

	parts  []Part
	buf    []byte        // the values in order of arrival
	copies map[int][]int // index -> positions in parts; nil while parts[i].Index == i for all i
	gone   int           // of parts: taken, their Index is -1; see [Group.compact]
	size   int           // bytes held
	// sums finds the parts with equal bytes; nil until an index has many
	// variants, so that comparing them does not take quadratic time.
	sums map[[sha256.Size]byte]int
}

// manyVariants is how many variants of an index are compared one by one.
const manyVariants = 16

// NewGroup returns an empty group for blocks like b.
func NewGroup(id Identity, b *Block) *Group {
	return &Group{
		ID: id, Version: b.Version, Kind: kindOf(b.Kind), Syshost: string(b.Syshost), Key: string(b.Key),
		HasCRC: b.HasCRC, CRC: b.CRC, Count: b.Count, Epoch: b.Epoch,
		size: groupOverhead + len(b.Kind) + len(b.Syshost) + len(b.Key),
	}
}

// Matches reports whether b belongs to the group, without hashing.
func (g *Group) Matches(b *Block) bool {
	return g.Key == string(b.Key) && g.Count == b.Count && g.CRC == b.CRC && g.HasCRC == b.HasCRC &&
		g.Syshost == string(b.Syshost) && g.Kind == Kind(b.Kind) && (g.Version == 2) == (b.Version == 2) && b.Version != 1
}

// Add takes in one block, copying its value, and reports whether it was new:
// false means that a group with a CRC has these bytes already.
func (g *Group) Add(p Part) bool {
	if g.copies == nil && p.Index == len(g.parts) {
		g.append(p)
		return true
	}
	if g.copies == nil {
		g.copies = make(map[int][]int, len(g.parts)+1)
		for i, q := range g.parts {
			g.copies[q.Index] = append(g.copies[q.Index], i)
		}
	}
	if g.HasCRC {
		if i := g.find(p); i >= 0 {
			if p.Copy >= 0 { // now known to be stored
				g.parts[i].Copy = p.Copy
			}
			return false
		}
	}
	g.copies[p.Index] = append(g.copies[p.Index], len(g.parts))
	g.append(p)
	return true
}

// find returns the position of a part with p's index and bytes, -1 if there is
// none.
func (g *Group) find(p Part) int {
	variants := g.copies[p.Index]
	if g.sums == nil && len(variants) >= manyVariants {
		g.sums = make(map[[sha256.Size]byte]int, len(g.parts))
		for i, q := range g.parts {
			g.sums[partSum(q)] = i
		}
	}
	if g.sums != nil {
		sum := partSum(p)
		if i, ok := g.sums[sum]; ok {
			return i
		}
		g.sums[sum] = len(g.parts) // it is appended next
		return -1
	}
	for _, i := range variants {
		if bytes.Equal(g.parts[i].Value, p.Value) {
			return i
		}
	}
	return -1
}

func partSum(p Part) [sha256.Size]byte {
	return sha256.Sum256(append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(p.Value)), uint32(p.Index)), p.Value...))
}

// Reuse gives an empty group memory for its blocks and their values.
func (g *Group) Reuse(parts []Part, buf []byte) { g.parts, g.buf = parts[:0], buf[:0] }

// Of what a header announces, this much memory is taken before it comes.
const (
	announcedParts = 64
	announcedBytes = 32 << 10
)

// bufferStep is of what the sizes of larger buffers are multiples, so that one that
// was for one record is good for others.
const bufferStep = 4 << 10

func (g *Group) append(p Part) {
	if len(g.parts) == 0 {
		if expected := min(g.Count, announcedParts); cap(g.parts) < expected {
			g.parts = make([]Part, 0, expected)
		}
		if expected := min(g.Count*len(p.Value), announcedBytes); cap(g.buf) < expected {
			if expected > bufferStep {
				expected = (expected + bufferStep - 1) / bufferStep * bufferStep
			}
			g.buf = make([]byte, 0, expected)
		}
	}
	if len(g.buf)+len(p.Value) > cap(g.buf) && len(g.parts) > 0 {
		// Appending moves the bytes: the parts keep pointing to the old ones,
		// which stays right, but the values would no longer be contiguous.
		grown := make([]byte, len(g.buf), max(2*cap(g.buf), len(g.buf)+len(p.Value)))
		copy(grown, g.buf)
		g.buf = grown
		off := 0
		for i := range g.parts {
			n := len(g.parts[i].Value)
			g.parts[i].Value = grown[off : off+n : off+n]
			off += n
		}
	}
	start := len(g.buf)
	g.buf = append(g.buf, p.Value...)
	p.Value = g.buf[start:len(g.buf):len(g.buf)]
	g.parts = append(g.parts, p)
	g.size += len(p.Value) + partOverhead
}

// What a part costs besides its value, and a group besides its names and
// parts, in bytes, about.
const (
	partOverhead  = 96
	groupOverhead = 512
)

// Size is about how much memory the group holds, in bytes.
func (g *Group) Size() int { return g.size }

// Parts returns the blocks that are there, in order of arrival.
func (g *Group) Parts() []Part {
	if g.gone > 0 {
		g.compact()
	}
	return g.parts
}

// Len returns how many blocks are there.
func (g *Group) Len() int { return len(g.parts) - g.gone }

// Complete reports whether every index is there.
func (g *Group) Complete() bool {
	if g.copies == nil {
		return len(g.parts) == g.Count
	}
	return len(g.copies) == g.Count
}

// Missing returns how many indexes are not there.
func (g *Group) Missing() int {
	if g.copies == nil {
		return g.Count - len(g.parts)
	}
	return g.Count - len(g.copies)
}

// Assembled is a record's text and the blocks it was made of.
type Assembled struct {
	Text  []byte
	Parts []Part
}

// Assemble joins a complete group's blocks to a record's text. Trailing blanks
// that a transport trimmed are put back; the CRC, or without one the JSON
// grammar, chooses between candidates. With a CRC one success ends the group:
// what remains are repeats. Without one the used copies are taken out, and
// Assemble can be called again while the group is [Group.Complete].
//
// The error wraps [ErrCRC], [ErrFit], [ErrEncoding] or [ErrTooLarge]; the group
// is then unchanged, and later blocks may still complete it.
func (g *Group) Assemble(limits Limits) (Assembled, error) {
	if g.copies == nil && g.plainJoin() {
		if text, err := g.accept(g.buf, limits); err == nil {
			return Assembled{Text: text, Parts: g.take(nil)}, nil
		}
	}
	choice := g.choices()
	pick := make([]int, g.Count)
	var last error
	var fallback *Assembled // has the CRC by chance, perhaps: it is no JSON
	var fallbackUsed []int
	joinedBytes, tried := 0, 0
	for range maxFittings {
		values := make([][]byte, g.Count)
		for i := range values {
			values[i] = g.parts[choice[i][pick[i]]].Value
		}
		for _, size := range paddings(values, g.HasCRC) {
			joined, err := join(values, size, limits.Record)
			joinedBytes += len(joined)
			if err == nil {
				joined, err = g.accept(joined, limits)
			}
			if g.Version == 2 && (errors.Is(err, ErrFit) || errors.Is(err, ErrTooLarge)) {
				joinedBytes += inflateCost * limits.Inflated // or somewhat less
			}
			tried++
			if err != nil {
				if !errors.Is(last, ErrCRC) { // it tells most: a JSON text, but a damaged one
					last = err
				}
				continue
			}
			used := make([]int, g.Count)
			for i := range used {
				used[i] = choice[i][pick[i]]
			}
			if g.HasCRC && tried > 1 {
				// Of many candidates one in 65,536 has the CRC by chance.
				if _, err := normalJSON(joined); err != nil {
					if fallback == nil {
						fallback, fallbackUsed = &Assembled{Text: joined}, used
					}
					continue
				}
			}
			return Assembled{Text: joined, Parts: g.take(used)}, nil
		}
		if !advance(pick, choice) || joinedBytes > maxJoined {
			break
		}
	}
	if fallback != nil {
		fallback.Parts = g.take(fallbackUsed)
		return *fallback, nil
	}
	return Assembled{}, fmt.Errorf("assemble %s: %w", g.Key, last)
}

// plainJoin reports whether the parts in order need no padding: all but the
// last have the same length.
func (g *Group) plainJoin() bool {
	if len(g.parts) == 2 && !g.HasCRC && !slices.Contains(blockSizes[:], len(g.parts[0].Value)) {
		return false // it may have been trimmed, and nothing else would tell
	}
	for _, p := range g.parts[:len(g.parts)-1] {
		if len(p.Value) != len(g.parts[0].Value) {
			return false
		}
	}
	return true
}

// choices lists for each index the positions of its copies: in bytewise order
// where a CRC will decide, so that the order of arrival does not, otherwise in
// order of arrival.
func (g *Group) choices() [][]int {
	choice := make([][]int, g.Count)
	for i := range choice {
		if g.copies == nil {
			choice[i] = []int{i}
			continue
		}
		choice[i] = g.copies[i]
		if g.HasCRC && len(choice[i]) > 1 {
			choice[i] = slices.Clone(choice[i])
			slices.SortFunc(choice[i], func(a, b int) int { return bytes.Compare(g.parts[a].Value, g.parts[b].Value) })
		}
	}
	return choice
}

// advance moves pick to the next combination, false after the last.
func advance(pick []int, choice [][]int) bool {
	for i := len(pick) - 1; i >= 0; i-- {
		if pick[i]+1 < len(choice[i]) {
			pick[i]++
			return true
		}
		pick[i] = 0
	}
	return false
}

// blockSizes are the sizes in use (XALT's syslog_msg_sz).
var blockSizes = [...]int{256, 512, 1024}

// paddings returns the block sizes to try, most likely first: all blocks but
// the last have one size; a transport may have trimmed their trailing blanks. That
// several have one length is no chance, but one alone says nothing.
func paddings(values [][]byte, hasCRC bool) []int {
	body := values[:len(values)-1]
	longest, equal := 0, true
	for _, v := range body {
		longest = max(longest, len(v))
		equal = equal && len(v) == len(body[0])
	}
	var sizes []int
	if equal && (hasCRC || len(body) > 1) {
		sizes = append(sizes, longest)
	}
	for _, size := range blockSizes {
		if size >= longest && !slices.Contains(sizes, size) && len(body) > 0 {
			sizes = append(sizes, size)
		}
	}
	if !slices.Contains(sizes, longest) {
		sizes = append(sizes, longest)
	}
	return sizes
}

// join concatenates the values, all but the last padded with blanks to size.
func join(values [][]byte, size, limit int) ([]byte, error) {
	total := len(values[len(values)-1])
	for _, v := range values[:len(values)-1] {
		total += max(size, len(v))
	}
	if total > limit {
		return nil, ErrTooLarge
	}
	text := make([]byte, 0, total)
	for i, v := range values {
		text = append(text, v...)
		if i < len(values)-1 {
			for n := len(v); n < size; n++ {
				text = append(text, ' ')
			}
		}
	}
	return text, nil
}

// accept undoes the version's encoding and checks the result.
func (g *Group) accept(joined []byte, limits Limits) (text []byte, err error) {
	if len(joined) > limits.Record {
		return nil, ErrTooLarge
	}
	text = joined
	switch {
	case g.Version == 1 && !bytes.HasPrefix(joined, []byte("{")):
		if text, err = decodeBase64(joined); err != nil {
			return nil, err
		}
	case g.Version == 2:
		packed, err := decodeBase64(joined)
		if err != nil {
			return nil, err
		}
		if text, err = inflate(packed, limits.Inflated); err != nil {
			return nil, err
		}
	}
	if g.HasCRC {
		if CRC(bytes.TrimRight(text, "\n")) != g.CRC {
			return nil, ErrCRC
		}
		return text, nil
	}
	if _, err := normalJSON(text); err != nil {
		return nil, ErrFit
	}
	if g.Version >= 4 {
		if crc, ok := statedCRC(text); ok && CRC(bytes.TrimRight(text, "\n")) != crc {
			return nil, ErrCRC
		}
	}
	return text, nil
}

// statedCRC returns the CRC that a text begins with, {"crc":"0x1A2B".
func statedCRC(text []byte) (crc uint16, ok bool) {
	if len(text) <= crcEnd || !bytes.HasPrefix(text, []byte(`{"crc":"`)) || text[crcEnd] != '"' {
		return 0, false
	}
	crc, err := parseCRC(text[crcStart:crcEnd])
	return crc, err == nil
}

func decodeBase64(text []byte) ([]byte, error) {
	text = bytes.TrimRight(text, " \n")
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	return out[:n], nil
}

func inflate(packed []byte, limit int) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	text, err := io.ReadAll(io.LimitReader(z, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	if len(text) > limit {
		return nil, ErrTooLarge
	}
	return text, nil
}

// take removes the parts at the given positions, all if nil, and returns them.
// A group with a CRC is empty afterwards.
func (g *Group) take(used []int) []Part {
	if used == nil {
		old := g.parts
		g.clear()
		return old
	}
	taken := make([]Part, 0, len(used))
	for _, i := range used {
		taken = append(taken, g.parts[i])
	}
	if g.HasCRC || len(used) == g.Len() {
		g.clear()
		return taken
	}
	for index, i := range used {
		rest := g.copies[index]
		if k := slices.Index(rest, i); k == 0 {
			rest = rest[1:]
		} else {
			rest = slices.Delete(rest, k, k+1)
		}
		if g.copies[index] = rest; len(rest) == 0 {
			delete(g.copies, index)
		}
		g.size -= len(g.parts[i].Value) + partOverhead
		g.parts[i].Index = -1
	}
	if g.gone += len(used); g.gone > len(g.parts)/2 {
		g.compact()
	}
	return taken
}

// clear takes out all parts.
func (g *Group) clear() {
	g.parts, g.buf, g.copies, g.sums, g.gone = nil, nil, nil, nil, 0
	g.size = groupOverhead + len(g.Kind) + len(g.Syshost) + len(g.Key)
}

// compact lets go of the parts that were taken: not each time, which would take
// quadratic time where there are very many copies.
func (g *Group) compact() {
	old := g.parts
	g.clear()
	for _, p := range old {
		if p.Index >= 0 {
			g.Add(p)
		}
	}
}
