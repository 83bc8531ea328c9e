package ingest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"xaltpipe/internal/xalt"
)

// readLines reads all lines and clones their texts.
func readLines(r *lineReader) (list []line, err error) {
	for {
		l, err := r.next()
		if err != nil {
			return list, err
		}
		l.text = bytes.Clone(l.text)
		list = append(list, l)
	}
}

var errBroken = errors.New("broken")

func TestLineReader(t *testing.T) {
	text := func(s string) []byte { return []byte(s) }
	long, nuls := strings.Repeat("x", 30), strings.Repeat("\x00", 30)
	for _, tt := range []struct {
		name, input string
		want        []line
	}{
		{"nothing", "", nil},
		{"one", "a\n", []line{{text: text("a"), number: 1, end: 2}}},
		{"two", "a\nbc\n", []line{{text: text("a"), number: 1, end: 2}, {text: text("bc"), number: 2, offset: 2, end: 5}}},
		{"empty lines", "\n\n", []line{{text: text(""), number: 1, end: 1}, {text: text(""), number: 2, offset: 1, end: 2}}},
		{"CRLF", "a\r\n\r\n", []line{{text: text("a"), number: 1, end: 3}, {text: text(""), number: 2, offset: 3, end: 5}}},
		{"CR within", "a\rb\r\r\n", []line{{text: text("a\rb\r"), number: 1, end: 6}}},
		{"NUL", "a\x00b\n", []line{{text: text("a\x00b"), number: 1, end: 4}}},
		{"NULs before", "\x00\x00b\n", []line{{text: text("b"), number: 1, end: 4}}},
		{"many NULs before", nuls + "b\r\nc\n", []line{{text: text("b"), number: 1, end: 33}, {text: text("c"), number: 2, offset: 33, end: 35}}},
		{"many NULs and too long", nuls + long + "\n", []line{{text: text(long[:10]), number: 1, end: 61, long: true}}},
		{"many NULs unfinished", nuls + "b", []line{{text: text("b"), number: 1, end: 31, unfinished: true}}},
		{"NULs alone", "a\n" + nuls, []line{{text: text("a"), number: 1, end: 2}, {number: 2, offset: 2, end: 32, unfinished: true}}},
		{"unfinished", "a\nbc", []line{{text: text("a"), number: 1, end: 2}, {text: text("bc"), number: 2, offset: 2, end: 4, unfinished: true}}},
		{"at the limit", "0123456789\nb\n", []line{{text: text("0123456789"), number: 1, end: 11}, {text: text("b"), number: 2, offset: 11, end: 13}}},
		{"at the limit with CR", "0123456789\r\nb\n", []line{{text: text("0123456789"), number: 1, end: 12}, {text: text("b"), number: 2, offset: 12, end: 14}}},
		{"one too long", "0123456789x\nb\n", []line{{text: text("0123456789"), number: 1, end: 12, long: true}, {text: text("b"), number: 2, offset: 12, end: 14}}},
		{"much too long", long + "\nb\n", []line{{text: text(long[:10]), number: 1, end: 31, long: true}, {text: text("b"), number: 2, offset: 31, end: 33}}},
		{"too long at the end", "a\n" + long, []line{{text: text("a"), number: 1, end: 2}, {text: text(long[:10]), number: 2, offset: 2, end: 32, long: true, unfinished: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, src := range map[string]io.Reader{
				"whole":         strings.NewReader(tt.input),
				"byte by byte":  iotest.OneByteReader(strings.NewReader(tt.input)),
				"halves":        iotest.HalfReader(strings.NewReader(tt.input)),
				"end with data": iotest.DataErrReader(strings.NewReader(tt.input)),
			} {
				got, err := readLines(newLineReader(src, 10, 0, 0, nil))
				if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(line{}), cmpopts.EquateEmpty()); diff != "" || !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v, lines of %q: -want +got\n%s", name, err, tt.input, diff)
				}
			}
		})
	}
}

// TestLineReaderBreaksOff wants the line at which a source breaks off not to
// be taken for a whole one.
func TestLineReaderBreaksOff(t *testing.T) {
	var hashed bytes.Buffer
	src := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errBroken))
	r := newLineReader(src, 10, 0, 0, func(p []byte) { hashed.Write(p) })
	got, err := readLines(r)
	r.flush()
	if !errors.Is(err, errBroken) || len(got) != 2 || !got[1].unfinished || string(got[1].text) != "b" {
		t.Errorf("lines %+v, %v, want an unfinished line and the error", got, err)
	}
	if hashed.String() != "a\n" {
		t.Errorf("hashed %q, want the whole line", hashed.String())
	}
}

// TestLineReaderContinues reads on from a position.
func TestLineReaderContinues(t *testing.T) {
	l, err := newLineReader(strings.NewReader("a\n"), 10, 100, 7, nil).next()
	if err != nil || l.number != 8 || l.offset != 100 || l.end != 102 {
		t.Errorf("line %+v, %v, want number 8 at 100 to 102", l, err)
	}
}

// checkLines wants what was handed to the tee to be the input up to the
// unfinished line, and positions without gaps.
func checkLines(t *testing.T, input []byte, src io.Reader, limit int) {
	t.Helper()
	var hashed []byte
	r := newLineReader(src, limit, 0, 0, func(p []byte) { hashed = append(hashed, p...) })
	r.mark = func() func() {
		n := len(hashed)
		return func() { hashed = hashed[:n] }
	}
	list, err := readLines(r)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	r.flush()
	end := int64(0)
	whole := 0
	for i, l := range list {
		if l.offset != end || l.number != int64(i+1) {
			t.Fatalf("line %d has number %d and offset %d, want %d", i+1, l.number, l.offset, end)
		}
		end = l.end
		text := input[l.offset:l.end]
		if !l.unfinished {
			whole = int(l.end)
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		text = bytes.TrimSuffix(bytes.TrimLeft(text, "\x00"), []byte("\r"))
		if l.long != (len(text) > limit) && (!l.long || i != len(list)-1) {
			t.Fatalf("line of %d bytes: long is %t", len(text), l.long)
		}
		if l.long {
			text = text[:limit]
		}
		if !bytes.Equal(l.text, text) {
			t.Fatalf("line %d = %q, want %q", i+1, l.text, text)
		}
	}
	if end != int64(len(input)) || !bytes.Equal(hashed, input[:whole]) {
		t.Fatalf("read to %d of %d bytes and hashed %d, want %d", end, len(input), len(hashed), whole)
	}
}

func TestLineReaderChunks(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var input []byte
	for len(input) < 3*readSize {
		input = append(input, bytes.Repeat([]byte("x"), rng.IntN(3000))...)
		input = append(input, [...]string{"\n", "\r\n", "\n\n", "\x00\n"}[rng.IntN(4)]...)
	}
	checkLines(t, input, bytes.NewReader(input), 2000)
	checkLines(t, input, iotest.HalfReader(bytes.NewReader(input)), 2000)
	checkLines(t, append(input, "unfinished"...), bytes.NewReader(append(input, "unfinished"...)), 2000)
	for _, c := range "\x00y" { // too long, and unfinished
		input = append(input, bytes.Repeat([]byte{byte(c)}, 5*readSize)...)
		checkLines(t, input, iotest.HalfReader(bytes.NewReader(input)), 2000)
	}
}

func FuzzLineReader(f *testing.F) {
	f.Add([]byte("a\nb\r\n\x00\nlong line\nunfinished"), uint8(5))
	f.Add([]byte("\n\n\r\n\r\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, input []byte, limit uint8) {
		if limit == 0 {
			return
		}
		checkLines(t, input, bytes.NewReader(input), int(limit))
		checkLines(t, input, iotest.OneByteReader(bytes.NewReader(input)), int(limit))
	})
}

// endless is a line of one character.
type endless struct {
	c    byte
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range p[:n] {
		p[i] = e.c
	}
	e.left -= n
	return n, nil
}

// TestLineReaderMemory reads one line of 256 MiB, and so many NULs.
func TestLineReaderMemory(t *testing.T) {
	const most = 256 << 20
	r := newLineReader(io.MultiReader(&endless{'x', most}, strings.NewReader("\n"), &endless{0, most}, strings.NewReader("b\n")), 1000, 0, 0, func([]byte) {})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	list, err := readLines(r)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, io.EOF) || len(list) != 2 || !list[0].long || string(list[1].text) != "b" {
		t.Errorf("%d lines, %v, want a long one and b", len(list), err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("allocated %d bytes, want less than 1 MiB", got)
	}
}

const plainText = "one\ntwo\nthree\n"

// packers write the compressed forms; bzip2 cannot be written here.
var packers = map[string]func(testing.TB, string) []byte{
	"gzip": func(t testing.TB, s string) []byte {
		var b bytes.Buffer
		return finish(t, &b, gzip.NewWriter(&b), s)
	},
	"zstd": func(t testing.TB, s string) []byte {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		return finish(t, &b, z, s)
	},
	"xz": func(t testing.TB, s string) []byte {
		var b bytes.Buffer
		z, err := xz.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		return finish(t, &b, z, s)
	},
	"bzip2": func(t testing.TB, s string) []byte {
		if s == "" {
			return []byte("\x42\x5a\x68\x39\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00")
		}
		if s != plainText {
			t.Skip("no writer for bzip2")
		}
		return bytes.Clone(bzip2Text)
	},
}

func finish(t testing.TB, b *bytes.Buffer, w io.WriteCloser, s string) []byte {
	_, err := io.WriteString(w, s)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpack(data []byte) (content []byte, name string, err error) {
	r, name, release, err := decompress(bufio.NewReader(bytes.NewReader(data)))
	defer release()
	if err != nil {
		return nil, name, err
	}
	content, err = io.ReadAll(r)
	return content, name, err
}

func TestDecompress(t *testing.T) {
	for name, pack := range packers {
		t.Run(name, func(t *testing.T) {
			one := pack(t, plainText)
			for what, tt := range map[string]struct{ data, want string }{
				"one":   {string(one), plainText},
				"twice": {string(one) + string(one), plainText + plainText},
				"empty": {string(pack(t, "")), ""},
			} {
				got, as, err := unpack([]byte(tt.data))
				if string(got) != tt.want || as != name || err != nil {
					t.Errorf("%s: %q as %q, %v, want %q as %q", what, got, as, err, tt.want, name)
				}
			}
			for n := 6; n < len(one)-1; n++ { // cut off anywhere
				if got, as, err := unpack(one[:n]); as != "" && !errors.Is(err, ErrDamaged) || err == nil || !strings.HasPrefix(plainText, string(got)) {
					t.Errorf("%d of %d bytes: %q as %q, %v, want a beginning and ErrDamaged", n, len(one), got, as, err)
				}
			}
			damaged := bytes.Clone(one)
			damaged[len(damaged)/2] ^= 0xFF
			if got, _, err := unpack(damaged); !errors.Is(err, ErrDamaged) {
				t.Errorf("damaged: %q, %v, want ErrDamaged", got, err)
			}
		})
	}
}

// bzip2Text is plainText as bzip2 writes it.
var bzip2Text = []byte("\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x08\x7b\x7d\xd7\x00\x00\x04\xc1\x80\x00\x10\x02\x41\x94\x80\x20\x00\x31\x0c\x08\x21\xa3\xd4\xc8\x85\x47\x32\x38\xa8\xf1\x77\x24\x53\x85\x09\x00\x87\xb7\xdd\x70")

// TestDecompressCut wants what stands before the damage to be read.
func TestDecompressCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var b strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&b, "line %d %x\n", i, rng.Uint64())
	}
	text := b.String()
	for _, name := range []string{"gzip", "zstd", "xz"} {
		data := packers[name](t, text)
		got, _, err := unpack(data[:len(data)*9/10])
		if !errors.Is(err, ErrDamaged) || !strings.HasPrefix(text, string(got)) || len(got) < len(text)/4 {
			t.Errorf("%s: %d of %d bytes, %v, want a good part and ErrDamaged", name, len(got), len(text), err)
		}
	}
}

// TestDecompressUnreadable wants a file that cannot be read on not to be called damaged.
func TestDecompressUnreadable(t *testing.T) {
	lost := &fs.PathError{Op: "read", Path: "x.log.gz", Err: syscall.EIO}
	for name, pack := range packers {
		data := pack(t, plainText)
		for n := 6; n < len(data); n++ {
			r, _, release, err := decompress(bufio.NewReader(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(lost))))
			if err == nil {
				_, err = io.ReadAll(r)
			}
			release()
			if !errors.Is(err, syscall.EIO) || errors.Is(err, ErrDamaged) {
				t.Errorf("%s: after %d bytes: %v, want the file's error and no damage", name, n, err)
			}
		}
	}
}

func TestDecompressPlain(t *testing.T) {
	for _, text := range []string{"", "a", "BZ", "\x1f", "\x1fa\n", "PK\n", "P*M\n", plainText} {
		if got, name, err := unpack([]byte(text)); string(got) != text || name != "" || err != nil {
			t.Errorf("%q: %q as %q, %v", text, got, name, err)
		}
	}
	if _, _, release, err := decompress(bufio.NewReader(iotest.ErrReader(errBroken))); !errors.Is(err, errBroken) {
		t.Errorf("unreadable: %v, want its error", err)
	} else {
		release()
	}
}

// TestDecompressOther refuses what it cannot decompress. pzstd's frame of the size is
// none of the content.
func TestDecompressOther(t *testing.T) {
	for name, text := range map[string]string{
		"lz4": "\x04\x22\x4d\x18\x64\x40", "lzip": "LZIP\x01\x14", "lzma": "\x5d\x00\x00\x80\x00\xff", "compress": "\x1f\x9d\x90\x6f\xdc",
		"zip": "PK\x03\x04\x14\x00",
	} {
		if got, as, err := unpack([]byte(text)); err == nil || !strings.Contains(err.Error(), "compressed by "+name) {
			t.Errorf("%s: %q as %q, %v, want an error that names it", name, got, as, err)
		}
	}
	pzstd := "\x50\x2a\x4d\x18\x04\x00\x00\x00\x16\x00\x00\x00" + string(packers["zstd"](t, plainText))
	if got, as, err := unpack([]byte(pzstd)); string(got) != plainText || as != "zstd" || err != nil {
		t.Errorf("pzstd: %q as %q, %v", got, as, err)
	}
}

func TestOldestFirst(t *testing.T) {
	for _, tt := range []struct{ name, given, want string }{
		{"numbers", "xalt.log xalt.log.1 xalt.log.2.gz", "xalt.log.2.gz xalt.log.1 xalt.log"},
		{"ten", "xalt.log.1 xalt.log.10 xalt.log.2 xalt.log.9", "xalt.log.10 xalt.log.9 xalt.log.2 xalt.log.1"},
		{"dates", "xalt.log xalt.log-20261120.gz xalt.log-20261119", "xalt.log-20261119 xalt.log-20261120.gz xalt.log"},
		{"dates with dashes", "xalt.log xalt.log-2026-11-20 xalt.log-2026-02-19.zst", "xalt.log-2026-02-19.zst xalt.log-2026-11-20 xalt.log"},
		{"dates with hours", "l l-2026112010 l-2026112009 l-20261120-08", "l-20261120-08 l-2026112009 l-2026112010 l"},
		{"dates before numbers", "l.1 l-20261120 l l.2", "l-20261120 l.2 l.1 l"},
		{"two logs", "b.log a.log.1 b.log.1 a.log", "b.log.1 b.log a.log.1 a.log"},
		{"directories", "/b/l /a/l /a/l.1 /b/l.1", "/b/l.1 /b/l /a/l.1 /a/l"},
		{"the same directory", "./l l.1", "l.1 ./l"},
		{"compressions", "l.4.xz l.1.bz2 l.2.zst l.3.gz", "l.4.xz l.3.gz l.2.zst l.1.bz2"},
		{"standard input", "- l l.1", "- l.1 l"},
		{"twice", "l l", "l l"},
		{"other names", "z.log y.log x.log", "z.log y.log x.log"},
		{"a number of seven digits is a name", "l l.1234567", "l l.1234567"},
		{"epochs", "l-1795167839 l l-1795067839", "l-1795067839 l-1795167839 l"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(oldestFirst(strings.Fields(tt.given)), " ")
			if got != tt.want {
				t.Errorf("oldestFirst(%s) = %s, want %s", tt.given, got, tt.want)
			}
		})
	}
	// The order in which generations of one log are given is no matter.
	want := []string{"l-20261119", "l-20261120", "l.10", "l.2", "l.1.gz", "l"}
	rng := rand.New(rand.NewPCG(9, 10))
	for range 50 {
		given := slices.Clone(want)
		rng.Shuffle(len(given), func(i, j int) { given[i], given[j] = given[j], given[i] })
		if got := oldestFirst(given); !slices.Equal(got, want) {
			t.Errorf("oldestFirst(%q) = %q, want %q", given, got, want)
		}
	}
}

func TestCache(t *testing.T) {
	key := func(n int) Hash { return contentHash("test", fmt.Append(nil, n)) }
	c := newCache[Hash, int](20)
	weight := func() int { return 3 * (len(c.young) + len(c.old)) }
	for n := range 100 {
		c.put(key(n), n, 3)
		if got, ok := c.get(key(n)); !ok || got != n {
			t.Fatalf("get(%d) = %d, %t, just put", n, got, ok)
		}
		if got, ok := c.get(key(0)); !ok || got != 0 { // always in use
			t.Fatalf("after %d: get(0) = %d, %t, though it is in use", n, got, ok)
		}
		if weight() > 23 { // the one that is in use may be in both halves
			t.Fatalf("after %d the cache weighs %d, limit 20", n, weight())
		}
	}
	if _, ok := c.get(key(1)); ok {
		t.Error("what was not used is still there")
	}
	// What is used again and again keeps its weight.
	for round := range 100 {
		for n := range 50 {
			if _, ok := c.get(key(n)); !ok {
				c.put(key(n), n, 3)
			}
		}
		if weight() > 20 {
			t.Fatalf("after round %d the cache weighs %d, limit 20", round, weight())
		}
	}
	c.put(key(1000), 1000, 11)
	if _, ok := c.get(key(1000)); ok || weight() > 20 {
		t.Errorf("what is heavier than a half is kept: weight %d", weight())
	}
}

// TestContent wants the state to depend on the bytes and the secret alone, not
// on how they came, and to go on from any position.
func TestContent(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	data := make([]byte, 5*contentBlock+100)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	secret := xalt.NewSecret()
	whole := func(secret xalt.Secret, data []byte) []byte {
		c := newContent(secret)
		c.add(data)
		return c.state()
	}
	for range 50 {
		c := newContent(secret)
		for at := 0; at < len(data); {
			n := min(1+rng.IntN(2*contentBlock), len(data)-at)
			c.add(data[at : at+n])
			at += n
			state := c.state()
			if !bytes.Equal(state, whole(secret, data[:at])) {
				t.Fatalf("after %d bytes the state is another one than of these bytes in one piece", at)
			}
			var err error
			if c, err = contentOf(state); err != nil {
				t.Fatal(err)
			}
		}
	}
	seen := map[string]string{string(whole(secret, data)): "itself", string(whole(xalt.NewSecret(), data)): "under another secret"}
	for what, other := range map[string][]byte{
		"one byte less":  data[:len(data)-1],
		"one byte more":  append(slices.Clip(data), 0),
		"one block less": data[contentBlock:],
		"nothing":        nil,
	} {
		seen[string(whole(secret, other))] = what
	}
	for i := 0; i < len(data); i += 997 {
		other := bytes.Clone(data)
		other[i] ^= 1
		seen[string(whole(secret, other))] = fmt.Sprint("another byte ", i)
	}
	if want := 6 + (len(data)+996)/997; len(seen) != want {
		t.Errorf("%d states of %d contents", len(seen), want)
	}
	good := whole(secret, data)
	for what, state := range map[string][]byte{
		"none": {}, "short": good[:20], "of another version": append([]byte{1}, good[1:]...),
		"too long": append(bytes.Clone(good), make([]byte, contentBlock)...), "of no hash": append(good[:17:17], make([]byte, 200)...),
	} {
		if _, err := contentOf(state); !errors.Is(err, errState) {
			t.Errorf("a state that is %s: %v", what, err)
		}
	}
}

// BenchmarkContent is the content of a log, in units of its SHA-256.
func BenchmarkContent(b *testing.B) {
	data := make([]byte, readSize)
	c, sum := newContent(xalt.NewSecret()), sha256.New()
	b.SetBytes(int64(len(data)))
	var ours, theirs time.Duration
	for b.Loop() {
		began := time.Now()
		c.add(data)
		ours += time.Since(began)
		began = time.Now()
		sum.Write(data)
		theirs += time.Since(began)
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-sha256")
}

func TestTotalSize(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"a": 10, "b": 20} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"link": "a", "dir": "."} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for files, want := range map[string]int64{"a b": 30, "link": 10, "dir": 30, "missing": 0, "missing b": 20} {
		var paths []string
		for f := range strings.FieldsSeq(files) {
			paths = append(paths, filepath.Join(dir, f))
		}
		if got := TotalSize(paths); got != want {
			t.Errorf("TotalSize(%s) = %d, want %d", files, got, want)
		}
	}
	if got := TotalSize([]string{filepath.Join(dir, "a"), "-"}); got != -1 {
		t.Errorf("TotalSize with standard input = %d, want -1", got)
	}
}

func BenchmarkLineReader(b *testing.B) {
	line := strings.Repeat("x", 650) + "\n"
	data := bytes.Repeat([]byte(line), 16<<20/len(line))
	var scan float64
	b.Run("scan", func(b *testing.B) { // the floor: find the newlines in memory
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			for rest := data; len(rest) > 0; {
				rest = rest[bytes.IndexByte(rest, '\n')+1:]
			}
		}
		scan = float64(b.Elapsed()) / float64(b.N)
	})
	b.Run("lines", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			r := newLineReader(bytes.NewReader(data), 64<<10, 0, 0, nil)
			for {
				if _, err := r.next(); err != nil {
					break
				}
			}
		}
		if scan > 0 {
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/scan, "x/scan")
		}
	})
}
