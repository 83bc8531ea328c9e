package acceptance_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
)

// records returns the records of the sample.
func records(t *testing.T) []oracle.Record {
	t.Helper()
	log, _ := sample(t)
	all, err := oracle.Records(bytes.NewReader(contents(t, log)))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parts cuts a text.
func parts(text string, size int) (all []string) {
	for ; len(text) > size; text = text[size:] {
		all = append(all, text[:size])
	}
	return append(all, text)
}

// deflated is a text as V:2 carries it.
func deflated(t *testing.T, text string) string {
	t.Helper()
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes())
}

// versions are the ways in which versions of XALT write a record.
var versions = map[string]func(t *testing.T, r oracle.Record) []string{
	"V1 base64": func(_ *testing.T, r oracle.Record) []string {
		return []string{fmt.Sprintf("XALT_LOGGING_%s: %s:%s", r.Syshost, r.Kind, base64.StdEncoding.EncodeToString([]byte(r.Text)))}
	},
	"V1 plain": func(_ *testing.T, r oracle.Record) []string {
		return []string{fmt.Sprintf("Nov 20 09:43:59 vm XALT_LOGGING_%s: %s:%s", r.Syshost, r.Kind, r.Text)}
	},
	"V2": func(t *testing.T, r oracle.Record) []string {
		return blocks("V:2", r, "", parts(deflated(t, r.Text), 512))
	},
	"V3": func(_ *testing.T, r oracle.Record) []string {
		return blocks("V:3", r, "", parts(r.Text, 512))
	},
	"V4 1024": func(_ *testing.T, r oracle.Record) []string {
		return oracle.Lines(r.Kind, r.Syshost, r.Key, r.Text, 1024)
	},
	"V7": func(_ *testing.T, r oracle.Record) []string {
		return blocks("V:7", r, fmt.Sprintf("crc:%s ", r.Text[8:14]), parts(r.Text, 256))
	},
}

// blocks makes the lines of a record's blocks.
func blocks(version string, r oracle.Record, crc string, values []string) (all []string) {
	for i, val := range values {
		all = append(all, fmt.Sprintf("2021-06-10T00:00:00.883030-04:00 p0199 XALT_LOGGING_%s: %s kind:%s nb:%d syshost:%s key:%s %sidx:%d value:%s",
			r.Syshost, version, r.Kind, len(values), r.Syshost, r.Key, crc, i, val))
	}
	return all
}

// TestVersions reads the sample's records as every version of XALT writes them.
func TestVersions(t *testing.T) {
	log, in := sample(t)
	want := in.want(t, log).Dump
	eachDatabase(t, func(t *testing.T, db database) {
		for name, version := range versions {
			t.Run(name, func(t *testing.T) {
				var all []string
				for _, r := range records(t) {
					all = append(all, version(t, r)...)
				}
				to := db.fresh(t)
				in.read(t, to, write(t, "version.log", []byte(strings.Join(all, "\n")+"\n")))
				equal(t, name, to.dump(t), want)
			})
		}
		t.Run("all", func(t *testing.T) {
			random := rand.New(rand.NewPCG(17, 17))
			names := []string{"V1 base64", "V1 plain", "V2", "V3", "V4 1024", "V7"}
			var all []string
			for _, r := range records(t) {
				all = append(all, versions[names[random.IntN(len(names))]](t, r)...)
			}
			random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			to := db.fresh(t)
			in.read(t, to, "--batch-records", "3", write(t, "versions.log", []byte(strings.Join(all, "\n")+"\n")))
			equal(t, "all versions", to.dump(t), want)
		})
	})
}

// prefixes are what stands before the text of XALT in files, with the tag.
var prefixes = []string{
	"<14>1 2026-11-20T09:43:59.874026+00:00 vm XALT_LOGGING_%s - - -  ",
	"1 2026-11-20T09:43:59.874026+00:00 vm XALT_LOGGING_%s - - -  ", // no PRI
	"<14>1 - - XALT_LOGGING_%s - - - ",
	"<14>1 2026-11-20T09:43:59Z vm XALT_LOGGING_%s 123 - [x@1 a=\"b\"] ",
	"2021-06-10T00:00:00.883030-04:00 p0199 XALT_LOGGING_%s: ",
	"2021-06-10T00:00:00Z p0199 XALT_LOGGING_%s: ",
	"Jun 10 00:00:00 p0199 XALT_LOGGING_%s: ",
	"Jun  1 00:00:00.883 p0199 XALT_LOGGING_%s: ",
	"<14>Jun 10 00:00:00 p0199 XALT_LOGGING_%s: ",
	"XALT_LOGGING_%s ",
	"XALT_LOGGING_%s: ",
	"23/owens.log:730359:2021-05-23T22:58:02.059291-04:00 o0442 XALT_LOGGING_%s: ",
	"xalt.log:Jun 10 00:00:00 p0199 XALT_LOGGING_%s: ",
	"Jun 10 00:00:00 h\xe4\xfft XALT_LOGGING_%s: ",
	"Nov 20 09:00:00 h XALT_LOGGING_%s: message repeated 2 times: [ ",
	"<14>1 2026-11-20T09:43:59Z vm XALT_LOGGING_%s - - - message repeated 2 times: [ ",
}

// TestPrefixes reads the sample's records behind every prefix, with the fields
// of the header in any order and form.
func TestPrefixes(t *testing.T) {
	log, in := sample(t)
	want := in.want(t, log).Dump
	random := rand.New(rand.NewPCG(19, 19))
	eachDatabase(t, func(t *testing.T, db database) {
		for i, prefix := range prefixes {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				var all strings.Builder
				for _, r := range records(t) {
					values := parts(r.Text, 512)
					for i, val := range values {
						number := []string{"%d", "%02d", "%04d"}[random.IntN(3)]
						fields := []string{
							"kind:" + r.Kind, "syshost:" + r.Syshost, "key:" + r.Key,
							[]string{"crc:", "crcStr:"}[random.IntN(2)] + r.Text[8:14],
							fmt.Sprintf("idx:"+number, i), fmt.Sprintf("nb:"+number, len(values)),
						}
						if random.IntN(3) == 0 {
							fields = append(fields, "epoch:1795167839")
						}
						random.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
						end := "\n"
						if strings.HasSuffix(prefix, "[ ") {
							end = "]\n"
						}
						if random.IntN(3) == 0 {
							end = strings.Replace(end, "\n", "\r\n", 1)
						}
						fmt.Fprintf(&all, prefix+"V:4 %s value:%s%s", r.Syshost, strings.Join(fields, " "), val, end)
					}
				}
				to := db.fresh(t)
				in.read(t, to, write(t, "prefix.log", []byte(all.String())))
				equal(t, prefix, to.dump(t), want)
			})
		}
	})
}

// TestTrimmed reads records with many blanks, of which a transport has trimmed
// those at the ends of lines.
func TestTrimmed(t *testing.T) {
	_, in := sample(t)
	w := world{rand.New(rand.NewPCG(23, 23))}
	var trimmed, whole []string
	cut := 0
	for i := range 60 {
		id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		args := make([]string, 6)
		for j := range args {
			args[j] = `"` + strings.Repeat("x", w.IntN(40)) + strings.Repeat(" ", w.IntN(900)) + `é"`
		}
		text := fmt.Sprintf(`{"crc":"0xFFFF","cmdlineA":[%s],"hash_id":"aa","libA":[],"ptA":[],"envT":{},"userT":{"syshost":"oracle","run_uuid":%q,`+
			`"exec_path":"/x/p","user":"alice"},"userDT":{"start_time":1795000000.5,"end_time":0.0},"xaltLinkT":{}}`, strings.Join(args, ","), id)
		for _, line := range oracle.Lines("run", "oracle", "run_strt_"+id, text, []int{256, 512, 1024}[i%3]) {
			whole = append(whole, line+"\n")
			trimmed = append(trimmed, strings.TrimRight(line, " ")+"\n")
			if strings.HasSuffix(line, " ") {
				cut++
			}
		}
	}
	if cut < 20 {
		t.Fatalf("only %d blocks end in blanks", cut)
	}
	wholeLog := write(t, "whole.log", []byte(strings.Join(whole, "")))
	want := in.want(t, wholeLog).Dump
	eachDatabase(t, func(t *testing.T, db database) {
		for name, log := range map[string]string{"whole": wholeLog, "trimmed": write(t, "trimmed.log", []byte(strings.Join(trimmed, "")))} {
			to := db.fresh(t)
			in.read(t, to, log)
			equal(t, name, to.dump(t), want)
		}
	})
}

// TestDirectory reads records from files as XALT's file transmission writes
// them.
func TestDirectory(t *testing.T) {
	log, in := sample(t)
	want := in.want(t, log).Dump
	dir := t.TempDir()
	for i, r := range records(t) {
		id := r.Key[strings.IndexByte(r.Key, '_')+1:]
		name := fmt.Sprintf("%s.%s.2026_11_20_09_44_10_%04d.alice.aaa.%s.json", r.Kind, r.Syshost, i, strings.TrimPrefix(strings.TrimPrefix(id, "strt_"), "fini_"))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(r.Text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	eachDatabase(t, func(t *testing.T, db database) {
		to := db.fresh(t)
		in.read(t, to, dir)
		equal(t, "directory", to.dump(t), want)
		in.read(t, to, dir)
		equal(t, "directory again", to.dump(t), want)
		in.read(t, to, log)
		equal(t, "log behind the directory", to.dump(t), want)
	})
}

// TestStandardInput reads a log from standard input.
func TestStandardInput(t *testing.T) {
	log, in := sample(t)
	data := contents(t, log)
	want := in.want(t, log).Dump
	eachDatabase(t, func(t *testing.T, db database) {
		for name, input := range map[string][]byte{"plain": data, "gzip": gzipped(t, data), "no newline": bytes.TrimRight(data, "\n")} {
			to := db.fresh(t)
			cmd := exec.Command(program, slices.Concat([]string{"--db", to.url, "-q"}, in.flags(), []string{"-"})...)
			cmd.Env, cmd.Stdin = environment(), bytes.NewReader(input)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			equal(t, name, to.dump(t), want)
		}
	})
}
