package acceptance_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"xaltpipe/internal/oracle"
)

// lines returns the lines of a log, each with its newline.
func lines(data []byte) []string {
	all := strings.SplitAfter(string(data), "\n")
	return slices.DeleteFunc(all, func(line string) bool { return line == "" })
}

// reversed returns a log with its lines in reverse order.
func reversed(data []byte) []byte {
	all := lines(data)
	slices.Reverse(all)
	return []byte(strings.Join(all, ""))
}

// shuffled returns a log with its lines in random order.
func shuffled(data []byte, random *rand.Rand) []byte {
	all := lines(data)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return []byte(strings.Join(all, ""))
}

// orderLogs are the logs for the tests of order: the sample, and the real logs.
// The run in owen.syslog.log, of which ten records without a CRC share a key,
// is left out.
func orderLogs(t *testing.T) map[string]input {
	t.Helper()
	name, in := sample(t)
	logs := map[string]input{name: in}
	if dir, err := oracle.SharedData(); err == nil && !testing.Short() {
		for _, log := range []string{"live/xalt_rfc5424.log", "static/V2_syslog.log", "static/dup_uuid_syslog.log", "static/example_syslog.log"} {
			logs[filepath.Join(dir, log)] = in
		}
	}
	return logs
}

// eachLog runs a test of order on every database with every log.
func eachLog(t *testing.T, test func(t *testing.T, db database, in input, log string, want oracle.Dump)) {
	for log, in := range orderLogs(t) {
		want := in.want(t, log).Dump
		t.Run(filepath.Base(log), func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, db database) { test(t, db, in, log, want) })
		})
	}
}

func TestReversed(t *testing.T) {
	eachLog(t, func(t *testing.T, db database, in input, log string, want oracle.Dump) {
		to := db.fresh(t)
		in.read(t, to, write(t, "reversed.log", reversed(contents(t, log))))
		equal(t, "reversed", to.dump(t), want)
	})
}

func TestShuffled(t *testing.T) {
	eachLog(t, func(t *testing.T, db database, in input, log string, want oracle.Dump) {
		data := contents(t, log)
		for seed := range uint64(rounds(4)) {
			to := db.fresh(t)
			in.read(t, to, "--batch-records", "7", write(t, "shuffled.log", shuffled(data, rand.New(rand.NewPCG(seed, 1)))))
			equal(t, "shuffled", to.dump(t), want)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

func TestTwice(t *testing.T) {
	eachLog(t, func(t *testing.T, db database, in input, log string, want oracle.Dump) {
		to := db.fresh(t)
		in.read(t, to, log, write(t, "copy.log", append([]byte("a line of another program\n"), contents(t, log)...)), log)
		equal(t, "given twice", to.dump(t), want)
		doubled := db.fresh(t)
		var twice []string
		for _, line := range lines(contents(t, log)) {
			twice = append(twice, line, line)
		}
		in.read(t, doubled, write(t, "doubled.log", []byte(strings.Join(twice, ""))))
		if !strings.Contains(log, "V2_") { // repeated blocks without a CRC are another record's
			equal(t, "every line twice", doubled.dump(t), want)
		}
	})
}

// TestCut reads a log that is cut in mid-line, then the whole of it.
func TestCut(t *testing.T) {
	eachLog(t, func(t *testing.T, db database, in input, log string, want oracle.Dump) {
		data := contents(t, log)
		random := rand.New(rand.NewPCG(2, 2))
		for range rounds(5) {
			n := 1 + random.IntN(len(data)-1)
			to := db.fresh(t)
			growing := write(t, "growing.log", data[:n])
			if r, err := in.try(to, growing); err != nil || r.exit != 0 && r.exit != 3 && n > 2000 {
				t.Fatalf("cut at %d: %v, exit status %d\n%s", n, err, r.exit, r.stderr)
			}
			part := to.dump(t)
			equal(t, "cut", part, in.want(t, growing).Dump)
			if err := os.WriteFile(growing, data, 0o600); err != nil {
				t.Fatal(err)
			}
			in.read(t, to, growing)
			equal(t, "grown", to.dump(t), want)
			if t.Failed() {
				t.Fatalf("cut at byte %d", n)
			}
		}
	})
}

// TestGrowing reads a log again and again while it grows, mostly in mid-line.
func TestGrowing(t *testing.T) {
	eachLog(t, func(t *testing.T, db database, in input, log string, want oracle.Dump) {
		data := contents(t, log)
		random := rand.New(rand.NewPCG(3, 3))
		to := db.fresh(t)
		growing := write(t, "growing.log", nil)
		var blocks int64
		for n, step := 0, len(data)/rounds(12); n < len(data); {
			n = min(n+1+random.IntN(step*2), len(data))
			if err := os.WriteFile(growing, data[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := in.try(to, growing)
			if err != nil {
				t.Fatal(err)
			}
			if r.exit != 0 && r.exit != 3 && n > 2000 {
				t.Fatalf("%d bytes: exit status %d\n%s", n, r.exit, r.stderr)
			}
			blocks += r.stats.Lines.Block
		}
		equal(t, "grown", to.dump(t), want)
		if lines := int64(bytes.Count(data, []byte("\n"))); blocks > lines+int64(rounds(13)) {
			t.Errorf("%d blocks were read of %d lines", blocks, lines)
		}
	})
}

// TestSplit splits a log at every line over two files, which are read in
// either order, and by one run or two.
func TestSplit(t *testing.T) {
	log, in := sample(t)
	data := contents(t, log)
	all := lines(data)
	want := in.want(t, log).Dump
	step := 1
	if testing.Short() {
		step = len(all) / 12
	} else if os.Getenv("XALT_SOAK") != "1" {
		step = 4
	}
	eachDatabase(t, func(t *testing.T, db database) {
		for i := step; i < len(all); i += step {
			head := write(t, "head.log", []byte(strings.Join(all[:i], "")))
			tail := write(t, "tail.log", []byte(strings.Join(all[i:], "")))
			to := db.fresh(t)
			if i%2 == 0 {
				head, tail = tail, head
			}
			if i%3 == 0 {
				in.read(t, to, head, tail)
			} else {
				in.read(t, to, head)
				in.read(t, to, tail)
			}
			equal(t, "split", to.dump(t), want)
			if t.Failed() {
				t.Fatalf("split before line %d", i+1)
			}
			if waiting := to.pending(t); len(waiting) > 0 {
				t.Fatalf("split before line %d: %q still wait", i+1, waiting)
			}
		}
	})
}

// TestCompressed reads compressed logs, and knows them again as the logs that
// they are of.
func TestCompressed(t *testing.T) {
	log, in := sample(t)
	data := contents(t, log)
	want := in.want(t, log).Dump
	files := map[string][]byte{
		"gzip":              gzipped(t, data),
		"gzip, two members": append(gzipped(t, data[:5000]), gzipped(t, data[5000:])...),
		"zstd":              compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		"xz":                compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"bzip2":             contents(t, filepath.Join("testdata", "xalt.log.bz2")),
	}
	eachDatabase(t, func(t *testing.T, db database) {
		for name, packed := range files {
			t.Run(name, func(t *testing.T) {
				to := db.fresh(t)
				in.read(t, to, write(t, "xalt.log.1", packed)) // the name tells nothing
				equal(t, "compressed", to.dump(t), want)
				if r := in.read(t, to, log); r.stats.Lines.Block != 0 {
					t.Errorf("the plain log was read again: %d blocks", r.stats.Lines.Block)
				}
				other := db.fresh(t)
				in.read(t, other, log)
				if r := in.read(t, other, write(t, "xalt.log.2.gz", packed)); r.stats.Lines.Block != 0 {
					t.Errorf("the compressed log was read again: %d blocks", r.stats.Lines.Block)
				}
			})
		}
	})
}

// TestTruncatedGzip reads what is there of a damaged file, and the rest when
// the file is whole.
func TestTruncatedGzip(t *testing.T) {
	log, in := sample(t)
	packed := gzipped(t, contents(t, log))
	eachDatabase(t, func(t *testing.T, db database) {
		to := db.fresh(t)
		damaged := write(t, "damaged.gz", packed[:len(packed)/2])
		if _, err := in.try(to, damaged); err != nil {
			t.Fatal(err)
		}
		if n := len(to.dump(t)["xalt_link"].Rows); n == 0 {
			t.Error("nothing was read of the damaged file")
		}
		in.read(t, to, write(t, "whole.gz", packed))
		equal(t, "whole", to.dump(t), in.want(t, log).Dump)
	})
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	return compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

func compressed(t *testing.T, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var packed bytes.Buffer
	w, err := open(&packed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// TestRotated renames and compresses a log and starts a new one, as logrotate
// does. Nothing is read twice.
func TestRotated(t *testing.T) {
	log, in := sample(t)
	data := contents(t, log)
	half := bytes.LastIndexByte(data[:len(data)/2], '\n') + 1
	eachDatabase(t, func(t *testing.T, db database) {
		to, dir := db.fresh(t), t.TempDir()
		current := filepath.Join(dir, "xalt.log")
		put := func(name string, data []byte) {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(current, data[:half-100])
		read := in.read(t, to, current).stats.Lines.Block
		put(current, data[:half])
		if err := os.Rename(current, current+".1"); err != nil {
			t.Fatal(err)
		}
		put(current, data[half:len(data)-300])
		read += in.read(t, to, current, current+".1").stats.Lines.Block
		put(current+".1.gz", gzipped(t, data[:half]))
		if err := os.Remove(current + ".1"); err != nil {
			t.Fatal(err)
		}
		put(current, data[half:])
		read += in.read(t, to, current, current+".1.gz").stats.Lines.Block
		equal(t, "rotated", to.dump(t), in.want(t, log).Dump)
		if lines := int64(bytes.Count(data, []byte("\n"))); read > lines+2 {
			t.Errorf("%d blocks were read of %d lines", read, lines)
		}
	})
}

// TestAtOnce lets several processes read the same and overlapping logs at once.
func TestAtOnce(t *testing.T) {
	eachLog(t, func(t *testing.T, db database, in input, log string, want oracle.Dump) {
		data := contents(t, log)
		random := rand.New(rand.NewPCG(5, 5))
		for range rounds(3) {
			to := db.fresh(t)
			in.read(t, to, write(t, "none.log", []byte("no line of XALT\n")))
			logs := []string{log, log, write(t, "a.log", shuffled(data, random)), write(t, "b.log", reversed(data))}
			if strings.Contains(log, "V2_") {
				logs = []string{log, log}
			}
			var group sync.WaitGroup
			for i, log := range logs {
				group.Go(func() {
					r, err := in.try(to, "--batch-records", []string{"5", "11", "3", "4000"}[i], log)
					if err != nil || r.exit != 0 && r.exit != 3 {
						t.Errorf("%v, exit status %d\n%s", err, r.exit, r.stderr)
					}
				})
			}
			group.Wait()
			equal(t, "at once", to.dump(t), want)
			if waiting := to.pending(t); !slices.Equal(waiting, in.want(t, log).Waiting) {
				t.Errorf("%q wait", waiting)
			}
		}
	})
}

// TestFirstAtOnce lets several processes meet at a database that is not there
// yet.
func TestFirstAtOnce(t *testing.T) {
	log, in := sample(t)
	want := in.want(t, log).Dump
	eachDatabase(t, func(t *testing.T, db database) {
		for round := range rounds(20) {
			to := db.fresh(t)
			var group sync.WaitGroup
			for range 4 {
				group.Go(func() {
					r, err := in.try(to, log)
					if err != nil || r.exit != 0 {
						t.Errorf("%v, exit status %d\n%s", err, r.exit, r.stderr)
					}
				})
			}
			group.Wait()
			equal(t, "first at once", to.dump(t), want)
			if t.Failed() {
				t.Fatalf("round %d", round)
			}
		}
	})
}

// TestHalves lets two processes bring one half of every record each, at once.
func TestHalves(t *testing.T) {
	log, in := sample(t)
	want := in.want(t, log).Dump
	var halves [2][]string
	for i, line := range lines(contents(t, log)) {
		halves[i%2] = append(halves[i%2], line)
	}
	eachDatabase(t, func(t *testing.T, db database) {
		for range rounds(3) {
			to := db.fresh(t)
			in.read(t, to, write(t, "none.log", []byte("no line of XALT\n")))
			var group sync.WaitGroup
			for _, half := range halves {
				name := write(t, "half.log", []byte(strings.Join(half, "")))
				group.Go(func() {
					r, err := in.try(to, "--batch-records", "4", name)
					if err != nil || r.exit != 0 && r.exit != 3 {
						t.Errorf("%v, exit status %d\n%s", err, r.exit, r.stderr)
					}
				})
			}
			group.Wait()
			in.read(t, to, write(t, "none.log", []byte("no line of XALT again\n"))) // its sweep
			equal(t, "halves", to.dump(t), want)
			if waiting := to.pending(t); len(waiting) > 0 {
				t.Errorf("%q wait", waiting)
			}
		}
	})
}
