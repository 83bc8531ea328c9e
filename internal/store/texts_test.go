package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/store"
	"xaltpipe/internal/testdb"
	"xaltpipe/internal/xalt"
)

// TestLargeTexts wants texts of any size to be stored the same way on every
// database, or not at all: MariaDB takes no statement of more than 16 MiB. Neither a
// record nor a dead letter may keep what is behind it from being stored.
func TestLargeTexts(t *testing.T) {
	text := func(n int, cwd, value string) string {
		return fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["./a.out"],"hash_id":"faf1","libA":[["/lib/libc.so.6","0"]],"envT":{"BIG":"%s"},`+
			`"userT":{"syshost":"rios","run_uuid":"00000000-0000-4000-8000-%012d","exec_path":"/a.out","exec_type":"binary","cwd":"%s","user":"alice"},`+
			`"userDT":{"start_time":1795000000,"end_time":0},"xaltLinkT":{},"XALT_qaT":{}}`, value, n, cwd)
	}
	var log strings.Builder
	add := func(n int, text string, crc uint16) {
		blocks, err := xalt.Split(xalt.KindRun, "rios", fmt.Sprintf("run_strt_%d", n), []byte(text), 60_000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range blocks {
			blocks[i].CRC ^= crc
			log.Write(blocks[i].Append([]byte("2026-11-20T10:00:00+00:00 vm XALT_LOGGING_rios: ")))
			log.WriteByte('\n')
		}
	}
	add(1, text(1, "/", "first"), 0)
	add(2, text(2, strings.Repeat("c", ingest.MaxTexts+1), ""), 0)
	add(3, text(3, "/", strings.Repeat("e", ingest.MaxTexts-10)), 0)
	add(4, text(4, "/", strings.Repeat("v", ingest.MaxTexts)), 0)
	add(5, text(5, "/", strings.Repeat("w", 17<<20)), 1) // a CRC that does not fit
	add(6, text(6, "/", "last"), 0)
	file := filepath.Join(t.TempDir(), "xalt.log")
	if err := os.WriteFile(file, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		for range 2 {
			if err := ingest.New(db, ingest.Options{Zone: db.Zone(), Full: true}).Run(t.Context(), []string{file}, nil); err != nil {
				t.Fatal(err)
			}
		}
		var runs, longest int
		reader := d.Open(t)
		if err := reader.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM xalt_run").Scan(&runs); err != nil || runs != 3 {
			t.Errorf("%d runs, %v, want 3", runs, err)
		}
		if err := reader.QueryRowContext(t.Context(), "SELECT MAX(LENGTH(env_value)) FROM env_value").Scan(&longest); err != nil || longest != ingest.MaxTexts-10 {
			t.Errorf("the longest value has %d bytes, %v, want %d", longest, err, ingest.MaxTexts-10)
		}
		letters, err := db.Letters(t.Context())
		if err != nil || len(letters) != 3 {
			t.Fatalf("%d dead letters, %v, want 3", len(letters), err)
		}
		const most = ingest.MaxTexts
		for _, want := range []struct{ reason, detail string }{
			{ingest.ReasonRecord, "with Cwd a row has texts of"}, {ingest.ReasonRecord, `the environment variable "BIG"`}, {ingest.ReasonCRC, ""},
		} {
			i := slices.IndexFunc(letters, func(l store.Letter) bool { return l.Reason == want.reason && strings.Contains(l.Detail, want.detail) })
			if i < 0 {
				t.Errorf("no dead letter %q, %q among %+v", want.reason, want.detail, letters)
				continue
			}
			l := letters[i]
			if l.Bytes != most || !strings.Contains(l.Detail, fmt.Sprintf("only the first %d of", most)) {
				t.Errorf("dead letter of %d bytes: %s, %s", l.Bytes, l.Reason, l.Detail)
			}
			if whole, err := db.Letter(t.Context(), l.ID); err != nil || len(whole.Raw) != most {
				t.Errorf("read it: %d bytes, %v", len(whole.Raw), err)
			}
		}
	})
}

// TestSmallPackets wants a record that a server takes no statement for to become a
// dead letter, with as much of it as there is room for.
func TestSmallPackets(t *testing.T) {
	d := testdb.New(t, "mysql")
	admin := testdb.Admin(t, "mysql")
	var before int
	if err := admin.QueryRowContext(t.Context(), "SELECT @@GLOBAL.max_allowed_packet").Scan(&before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Exec("SET GLOBAL max_allowed_packet = ?", before) }) //nolint:errcheck // the next test would tell
	if _, err := admin.ExecContext(t.Context(), "SET GLOBAL max_allowed_packet = 1048576"); err != nil {
		t.Fatal(err)
	}
	db := open(t, d)
	log, err := os.ReadFile(sample(t, "xalt.log"))
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := xalt.Split(xalt.KindRun, "rios", "run_strt_1", fmt.Appendf(nil, `{"crc":"0x0000","userT":{"syshost":"rios","run_uuid":"00000000-0000-4000-8000-000000000001","exec_path":"/a",`+
		`"cwd":"%s"},"userDT":{"start_time":1795000000}}`, strings.Repeat("c", 2<<20)), 60_000)
	if err != nil {
		t.Fatal(err)
	}
	var large []byte
	for i := range blocks {
		large = append(blocks[i].Append(append(large, "2026-11-20T10:00:00+00:00 vm XALT_LOGGING_rios: "...)), '\n')
	}
	file := filepath.Join(t.TempDir(), "xalt.log")
	if err := os.WriteFile(file, append(large, log...), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := ingest.New(db, ingest.Options{Zone: db.Zone(), Full: true}).Run(t.Context(), []string{file}, nil); err != nil {
			t.Fatal(err)
		}
	}
	letters, err := db.Letters(t.Context())
	if err != nil || len(letters) != 1 || letters[0].Reason != ingest.ReasonStore || letters[0].Bytes != 1048576/4*3 {
		t.Errorf("dead letters %+v, %v", letters, err)
	}
	var runs int
	if err := d.Open(t).QueryRowContext(t.Context(), "SELECT COUNT(*) FROM xalt_run").Scan(&runs); err != nil || runs == 0 {
		t.Errorf("%d runs, %v, want those of the sample", runs, err)
	}
}
