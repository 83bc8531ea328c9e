package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"xaltpipe/internal/ingest"
	"xaltpipe/internal/oracle"
	"xaltpipe/internal/testdb"
)

// old is a log of years that are to be forgotten: claims and links of one UUID on
// both sides of 2024's beginning, packages of their run, and one of a run that never came.
func old(t *testing.T) string {
	t.Helper()
	var lines []string
	for i, user := range []string{"zoe", "bob"} {
		epoch := 1704067200 - 86400 + 2*86400*i // 2023-12-31 and 2024-01-02
		lines = append(lines, oracle.Lines("run", "mach", "run_strt_"+uuidB, fmt.Sprintf(
			`{"crc":"0xFFFF","cmdlineA":["a"],"hash_id":"h","libA":[["/l/%[1]s.so","0"]],"ptA":[],"envT":{"WHO":"%[1]s"},"userT":{"run_uuid":"%[2]s","syshost":"mach","user":"%[1]s","exec_path":"/p/a","account":"acc","exec_type":"binary","job_id":"1","queue":"q","cwd":"/"},"userDT":{"start_time":%[3]d.5,"end_time":0,"run_time":0,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0,"probability":1},"xaltLinkT":{}}`,
			user, uuidB, epoch), 512)...)
		lines = append(lines, oracle.Lines("link", "mach", "link_"+uuidB, fmt.Sprintf(
			`{"crc":"0xFFFF","resultT":{"uuid":"%s","link_program":"%s","link_path":"/usr/bin/ld","build_user":"u","build_epoch":"%d.5","exec_path":"/p/a","hash_id":"h","wd":"/","build_syshost":"mach","build_host":"n1"},"linkA":[["/l/%s.a","0"]],"function":["f_%s"],"link_line":["ld","a"]}`,
			uuidB, user, epoch, user, user), 512)...)
		run := []string{uuidB, "eeeeeeee-0000-4000-8000-00000000000e"}[i]
		lines = append(lines, oracle.Lines("pkg", "mach", "pkg_"+run+"_0123456789ab", fmt.Sprintf(
			`{"crc":"0xFFFF","program":"R","xalt_run_uuid":"%s","package_name":"%s","package_version":"1.0","package_path":"/opt"}`, run, user), 512)...)
	}
	name := filepath.Join(t.TempDir(), "old.log")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestForget executes the statements by which docs/database.md forgets old years:
// all of a run and a link goes, and nothing else, nothing is found wrong then, and
// reading the logs again does not bring them back.
func TestForget(t *testing.T) {
	text, err := os.ReadFile(shipped(t, "docs", "database.md")[0])
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile("(?s)forget old years.*?\n```sql\n(.*?)```").FindSubmatch(text)
	if match == nil {
		t.Fatal("docs/database.md has no statements to forget old years")
	}
	logs := []string{sample(t, "xalt.log"), rivals(t), old(t)}
	testdb.Each(t, func(t *testing.T, d testdb.Database) {
		db := open(t, d)
		read := func() {
			t.Helper()
			if err := ingest.New(db, options(t)).Run(t.Context(), logs, nil); err != nil {
				t.Fatal(err)
			}
		}
		read()
		raw := d.Open(t)
		conn, err := raw.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for query, want := range map[string]string{
			"SELECT COUNT(*) FROM run_conflict": "2", "SELECT COUNT(*) FROM link_conflict": "2", "SELECT COUNT(*) FROM pkg WHERE pkg_name IN ('zoe', 'bob')": "2",
		} {
			if got := strings.Join(answer(t, raw, query), " "); got != want {
				t.Fatalf("%s = %q, want %q", query, got, want)
			}
		}
		mustExecConn(t, conn, "INSERT INTO wrap_skip SELECT 'a', '2023-12-31 00:00:00', 'mach', 'u', 'run', 'a', 'b'")
		mustExecConn(t, conn, "INSERT INTO wrap_skip SELECT 'b', '2024-01-01 00:00:00', 'mach', 'u', 'run', 'a', 'b'")
		for statement := range strings.SplitSeq(string(sqlComment.ReplaceAll(match[1], nil)), ";") {
			if strings.TrimSpace(statement) != "" {
				mustExecConn(t, conn, statement)
			}
		}
		check := func(when string) {
			t.Helper()
			got, want := dump(t, d), model(t, logs[0])
			for _, table := range []string{"xalt_run", "run_conflict", "xalt_link", "link_conflict"} {
				same(t, when+": "+table, oracle.Dump{table: got[table]}, oracle.Dump{table: want[table]})
			}
			for query, want := range map[string]string{
				"SELECT pkg_name FROM pkg WHERE pkg_name IN ('zoe', 'bob')": "bob", // whose run may still come
				"SELECT uuid FROM wrap_skip":                                "b",
			} {
				if got := strings.Join(answer(t, raw, query), " "); got != want {
					t.Errorf("%s: %s = %q, want %q", when, query, got, want)
				}
			}
			if r, err := db.Verify(t.Context(), false); err != nil || r.Wrong != 0 {
				t.Errorf("%s: Verify = %+v, %v, want nothing wrong", when, r, err)
			}
		}
		check("forgotten")
		read()
		check("read again")
	})
}

var sqlComment = regexp.MustCompile(`--.*`)
