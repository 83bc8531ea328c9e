package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/testdb"
	"xaltpipe/internal/xalt"
)

// recordLines are a record's blocks as lines of a log.
func recordLines(t *testing.T, kind xalt.Kind, key, text string) string {
	t.Helper()
	blocks, err := xalt.Split(kind, "rios", key, []byte(text), 400)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for i := range blocks {
		log.Write(blocks[i].Append([]byte("2026-11-20T10:00:00+00:00 vm XALT_LOGGING_rios: ")))
		log.WriteByte('\n')
	}
	return log.String()
}

// TestEndOfTime has runs, links and skips at the end of the year 9999 in a zone where
// the next one has begun: every database stores the same ones, and none of them says
// no, which would make a dead letter.
func TestEndOfTime(t *testing.T) {
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Skip(err)
	}
	var log, skips strings.Builder
	for i, at := range []int64{1795000000, 253402214399, 253402214400, 253402268399, 253402268400, 253402300799, 253402300800} {
		uuid := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		log.WriteString(recordLines(t, xalt.KindRun, "run_fini_"+uuid, fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["./a"],"hash_id":"1","libA":[],"envT":{},`+
			`"userT":{"syshost":"rios","run_uuid":%q,"exec_path":"/a","exec_type":"binary","cwd":"/","user":"u","account":"a","job_id":"1","queue":"q"},`+
			`"userDT":{"start_time":%d,"end_time":%[2]d,"run_time":1,"probability":1,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0},`+
			`"xaltLinkT":{},"XALT_qaT":{}}`, uuid, at)))
		log.WriteString(recordLines(t, xalt.KindLink, "link_"+uuid, fmt.Sprintf(`{"crc":"0x0000","resultT":{"uuid":%q,"link_program":"ld","link_path":"/ld","build_user":"u",`+
			`"build_epoch":"%d.5","exec_path":"/a","hash_id":"1","wd":"/","build_syshost":"rios"},"linkA":[],"function":[],"link_line":["ld"]}`, uuid, at-1)))
		skips.WriteString(recordLines(t, xalt.KindSkip, "skip_"+uuid, fmt.Sprintf(`{"crc":"0x0000","uuid":%q,"epoch":%d,"syshost":"rios","user":"u","role":"launch","program":"p",`+
			`"reason":"r"}`, uuid, at)))
	}
	want, err := oracle.Model(oracle.Options{Location: tokyo}, strings.NewReader(log.String()))
	if err != nil {
		t.Fatal(err)
	}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		in := ingest.New(db, ingest.Options{Zone: tokyo})
		if err := in.Run(t.Context(), []string{"-"}, strings.NewReader(log.String())); err != nil {
			t.Fatal(err)
		}
		if diff := oracle.Diff(dump(t, d), want); diff != "" {
			t.Errorf("dump (+got -want):\n%s", diff)
		}
		if err := in.Run(t.Context(), []string{"-"}, strings.NewReader(skips.String())); err != nil {
			t.Fatal(err)
		}
		if got := count(t, d, "SELECT COUNT(*) FROM wrap_skip"); got != 2 {
			t.Errorf("%d skips are stored, want 2", got)
		}
		letters, err := db.Letters(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			if l.Reason != ingest.ReasonRecord {
				t.Errorf("dead letter %+v, want only %q", l, ingest.ReasonRecord)
			}
		}
		if got := in.Stats().Records; got.Stored != 6 || got.Dead != 15 {
			t.Errorf("records %+v, want 6 stored, 15 dead letters", got)
		}
	})
}

// count returns the number that a query gives.
func count(t *testing.T, d testdb.Database, query string) (n int64) {
	t.Helper()
	if err := d.Open(t).QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
