package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"xaltpipe/internal/oracle"
	"xaltpipe/internal/testdb"
)

// BenchmarkFollow is the time from a record's line in a log to its row in the
// database, with syslog2db --follow and its default interval: the median and the
// 99th percentile. The floor is the poll itself, half an interval.
func BenchmarkFollow(b *testing.B) {
	const interval = 250 * time.Millisecond
	for _, kind := range testdb.Kinds() {
		b.Run(kind, func(b *testing.B) {
			d := testdb.New(b, kind)
			log := filepath.Join(b.TempDir(), "xalt.log")
			file, err := os.Create(log)
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			var out bytes.Buffer
			command := exec.Command(program, "--follow", "--quiet", "--config", os.DevNull, "--db", d.URL, "--timezone", "UTC", "--interval", interval.String(), log)
			command.Stdout, command.Stderr = &out, &out
			if err := command.Start(); err != nil {
				b.Fatal(err)
			}
			defer func() {
				_ = command.Process.Signal(syscall.SIGTERM)
				if err := command.Wait(); err != nil {
					b.Errorf("%v\n%s", err, out.String())
				}
			}()
			db := d.Open(b)
			query := "SELECT COUNT(*) FROM xalt_run WHERE run_uuid = "
			there := func(uuid string) bool {
				var n int
				return db.QueryRow(query+"'"+uuid+"'").Scan(&n) == nil && n > 0
			}
			var took []time.Duration
			n := 0
			for b.Loop() {
				n++
				uuid := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
				text := fmt.Sprintf(`{"crc":"0x0000","cmdlineA":["a"],"hash_id":"0","libA":[["/lib/a%d.so","h"]],"ptA":[],"envT":{},"userT":{"syshost":"s","run_uuid":%q,"exec_path":"/bin/a","exec_type":"binary","cwd":"/","user":"u","account":"a","job_id":"1","queue":"q"},"userDT":{"start_time":1700000000,"end_time":0,"run_time":0,"probability":1,"num_cores":1,"num_nodes":1,"num_threads":1,"num_gpus":0},"xaltLinkT":{},"XALT_measureT":{},"XALT_qaT":{}}`, n%50, uuid)
				began := time.Now()
				for _, line := range oracle.Lines("run", "s", "run_strt_"+uuid, text, 512) {
					fmt.Fprintln(file, line)
				}
				for !there(uuid) {
					time.Sleep(time.Millisecond)
				}
				took = append(took, time.Since(began))
				time.Sleep(time.Duration(n*37%250) * time.Millisecond) // not in step with the polls
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)/2])/float64(interval/2), "x-half-interval")
		})
	}
}
