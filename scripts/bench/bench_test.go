// Package bench_test measures syslog2db from outside, on every database: first
// load against the engine's own bulk copy of the same rows, reruns, memory and
// size. docs/benchmarks.md has results and says how to run it.
package bench_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"xaltpipe/internal/testdb"
)

var (
	program string // the command, built by TestMain
	dir     string
)

func TestMain(m *testing.M) { os.Exit(runMain(m)) }

func runMain(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "bench"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "syslog2db")
	build := exec.Command("go", "build", "-o", program, "xaltpipe/cmd/syslog2db")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build syslog2db: %v\n%s", err, out))
	}
	return testdb.Main(m)
}

// records is the size of the model log: XALT_BENCH_RECORDS, or 5,000.
func records() int {
	if n, err := strconv.Atoi(os.Getenv("XALT_BENCH_RECORDS")); err == nil && n > 0 {
		return n
	}
	return 5000
}

// modelLog writes the model log of so many times the size once.
func modelLog(b *testing.B, scale int) (log, maps string, size int64) {
	b.Helper()
	maps = filepath.Join(dir, "maps")
	if err := os.MkdirAll(maps, 0o755); err != nil {
		b.Fatal(err)
	}
	log = filepath.Join(dir, fmt.Sprintf("model%d.log", scale))
	return log, maps, generate(b, log, "--records", strconv.Itoa(records()), "--scale", strconv.Itoa(scale), "--rmap", filepath.Join(maps, "xalt_rmapT.json"))
}

// generate writes a log once and returns its size.
func generate(b *testing.B, log string, args ...string) int64 {
	b.Helper()
	if info, err := os.Stat(log); err == nil {
		return info.Size()
	}
	command := exec.Command("go", append([]string{"run", "xaltpipe/scripts/bench/genlog"}, args...)...)
	out, err := os.Create(log)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	var stderr bytes.Buffer
	command.Stdout, command.Stderr = out, &stderr
	if err := command.Run(); err != nil {
		b.Fatalf("genlog: %v\n%s", err, stderr.String())
	}
	info, err := out.Stat()
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// ingest runs the command and returns its wall time and peak memory in MB.
func ingest(b *testing.B, d testdb.Database, args ...string) (seconds, peak float64, total int64) {
	b.Helper()
	command := exec.Command(program, append([]string{"--config", os.DevNull, "--db", d.URL, "--timezone", "UTC", "--stats", "json"}, args...)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	began := time.Now()
	kB, err := runPeak(command)
	if err != nil {
		b.Errorf("syslog2db: %v\n%s", err, stderr.String()) // not Fatal: several may be at it
		return 0, 0, 0
	}
	seconds = time.Since(began).Seconds()
	var stats struct{ Records map[string]int64 }
	if err := json.Unmarshal(stdout.Bytes(), &stats); err != nil {
		b.Error(err)
		return 0, 0, 0
	}
	for _, n := range stats.Records {
		total += n
	}
	return seconds, float64(kB) / 1024, total
}

// BenchmarkLoad is the first load of the model log into the empty tables that
// syslog2db migrate made: records/s, peak memory, and the time in units of the
// engine's own bulk copy of the rows into the same tables.
func BenchmarkLoad(b *testing.B) {
	log, maps, size := modelLog(b, 1)
	for _, kind := range testdb.Kinds() {
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(size)
			var spent, floor, memory, n float64
			for b.Loop() {
				b.StopTimer()
				d := testdb.New(b, kind)
				migrate(b, d)
				b.StartTimer()
				seconds, peak, total := ingest(b, d, "-reverseMapD="+maps, log)
				b.StopTimer()
				spent += seconds
				memory = max(memory, peak)
				n += float64(total)
				floor += bulkCopy(b, d)
				b.StartTimer()
			}
			b.ReportMetric(n/spent, "records/s")
			b.ReportMetric(spent/floor, "x-bulk-copy")
			b.ReportMetric(memory, "peak-MB")
		})
	}
}

// BenchmarkRerun is reading the same log again: with its position there is
// nothing to do, with --full everything is known.
func BenchmarkRerun(b *testing.B) {
	log, maps, size := modelLog(b, 1)
	for _, mode := range []string{"position", "full"} {
		b.Run(mode, func(b *testing.B) {
			d := testdb.New(b, "sqlite")
			ingest(b, d, "-reverseMapD="+maps, log)
			if mode == "full" {
				b.SetBytes(size)
			}
			for b.Loop() {
				ingest(b, d, "--full="+strconv.FormatBool(mode == "full"), log)
			}
		})
	}
}

// BenchmarkWriters reads four logs of different users with one process and with
// four at once: writers that hindered each other more than a batch needs would
// take longer.
func BenchmarkWriters(b *testing.B) {
	var logs []string
	var size int64
	for seed := 1; seed <= 4; seed++ {
		log := filepath.Join(dir, fmt.Sprintf("writer%d.log", seed))
		size += generate(b, log, "--records", strconv.Itoa(records()/4), "--seed", strconv.Itoa(seed))
		logs = append(logs, log)
	}
	for _, kind := range testdb.Kinds() {
		for _, writers := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/%d", kind, writers), func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					b.StopTimer()
					d := testdb.New(b, kind)
					migrate(b, d)
					b.StartTimer()
					var group sync.WaitGroup
					for part := range slices.Chunk(logs, len(logs)/writers) {
						group.Go(func() { ingest(b, d, part...) })
					}
					group.Wait()
				}
			})
		}
	}
}

// BenchmarkEnds is the end records of a log, read into a database that has the
// starts, in units of the time that the starts and all the rest took: most runs
// of a large machine end in another batch than they began in.
func BenchmarkEnds(b *testing.B) {
	log, maps, _ := modelLog(b, 1)
	starts, ends := filepath.Join(dir, "starts.log"), filepath.Join(dir, "ends.log")
	if err := errors.Join(grep(starts, "-v", log), grep(ends, "-h", log)); err != nil {
		b.Fatal(err)
	}
	for _, kind := range testdb.Kinds() {
		b.Run(kind, func(b *testing.B) {
			var first, second, n float64
			for b.Loop() {
				d := testdb.New(b, kind)
				seconds, _, _ := ingest(b, d, "-reverseMapD="+maps, starts)
				first += seconds
				seconds, _, total := ingest(b, d, "-reverseMapD="+maps, ends)
				second, n = second+seconds, n+float64(total)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(second/first, "x-starts")
			b.ReportMetric(n/second, "records/s")
		})
	}
}

// grep writes the lines of end records, or with -v all others, to a file.
func grep(to, option, log string) error {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	command := exec.Command("grep", "-a", option, " key:run_fini_", log)
	command.Stdout = out
	return errors.Join(command.Run(), out.Close())
}

// BenchmarkWhole is commands that go through the whole database, of one and of
// four times the model log: what takes more than four times as long for four
// times as much does not scale.
func BenchmarkWhole(b *testing.B) {
	for _, kind := range testdb.Kinds() {
		var databases [2]testdb.Database
		for i, scale := range [...]int{1, 4} {
			log, maps, _ := modelLog(b, scale)
			databases[i] = testdb.New(b, kind)
			ingest(b, databases[i], "-reverseMapD="+maps, log)
		}
		for _, command := range [][]string{{"verify"}, {"summary"}, {"report", "modules-at-run-time"}} {
			b.Run(kind+"/"+command[len(command)-1], func(b *testing.B) {
				var took [2]time.Duration
				var memory int64
				for b.Loop() {
					for i, d := range databases {
						cmd := exec.Command(program, append(slices.Clone(command), "--config", os.DevNull, "--db", d.URL)...)
						began := time.Now()
						var out bytes.Buffer
						cmd.Stdout, cmd.Stderr = &out, &out
						kB, err := runPeak(cmd)
						if err != nil {
							b.Fatalf("%v\n%s", err, out.String())
						}
						took[i] += time.Since(began)
						memory = max(memory, kB)
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(took[1].Seconds()/float64(b.N), "s-of-4x")
				b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "x-of-1x")
				b.ReportMetric(float64(memory)/1024, "peak-MB")
			})
		}
	}
}

// scales are the sizes of the log in units of the model's.
func scales() []int {
	if os.Getenv("XALT_SOAK") == "1" {
		return []int{1, 4, 16}
	}
	return []int{1, 4}
}

// BenchmarkMemory is the peak memory at 1, 4 and, with XALT_SOAK=1, 16 times
// the input, and the size of the database.
func BenchmarkMemory(b *testing.B) {
	for _, scale := range scales() {
		b.Run(strconv.Itoa(scale)+"x", func(b *testing.B) {
			log, maps, size := modelLog(b, scale)
			b.SetBytes(size)
			var memory, stored float64
			for b.Loop() {
				d := testdb.New(b, "sqlite")
				_, peak, _ := ingest(b, d, "-reverseMapD="+maps, log)
				memory = max(memory, peak)
				info, err := os.Stat(strings.TrimPrefix(d.URL, "sqlite:"))
				if err != nil {
					b.Fatal(err)
				}
				stored = float64(info.Size()) / 1e6
			}
			b.ReportMetric(memory, "peak-MB")
			b.ReportMetric(stored, "database-MB")
		})
	}
}

// BenchmarkSize is the size of the database on MariaDB, in units of the size of
// XALT's own tables with the same links, runs, libraries, variables and packages.
func BenchmarkSize(b *testing.B) {
	for _, scale := range scales() {
		b.Run(strconv.Itoa(scale)+"x", func(b *testing.B) {
			log, maps, _ := modelLog(b, scale)
			for b.Loop() {
				d := testdb.New(b, "mysql")
				ingest(b, d, "-reverseMapD="+maps, log)
				ours, theirs := sizeOf(b, d), sizeOf(b, asXALT(b, d))
				b.ReportMetric(ours/1e6, "database-MB")
				b.ReportMetric(ours/theirs, "x-of-XALT")
			}
		})
	}
}

// asXALT copies a database into XALT's own tables, and numbers anew what XALT
// numbers in 32 bits.
func asXALT(b *testing.B, d testdb.Database) testdb.Database {
	b.Helper()
	x := testdb.New(b, "mysql")
	db, from := x.Open(b), mysqlName(d)+"."
	for _, create := range testdb.XALTTables {
		execute(b.Context(), b, db, create+testdb.XALTOptions("utf8mb3"))
	}
	const temporary = "CREATE TEMPORARY TABLE %s (id BIGINT NOT NULL PRIMARY KEY, n INT UNSIGNED NOT NULL AUTO_INCREMENT, KEY (n))"
	conn, err := db.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for _, query := range []string{
		"SET sql_mode = ''", // cut what is too long, as XALT does
		fmt.Sprintf(temporary, "object_number"), "INSERT INTO object_number (id) SELECT obj_id FROM " + from + "xalt_object",
		fmt.Sprintf(temporary, "env_number"), "INSERT INTO env_number (id) SELECT env_id FROM " + from + "xalt_env_name",
		fmt.Sprintf(temporary, "function_number"), "INSERT INTO function_number (id) SELECT func_id FROM " + from + "xalt_function",
		`INSERT INTO xalt_link SELECT link_id, uuid, hash_id, date, link_program, link_path, link_module_name, link_line, cwd, build_user, build_syshost,
build_epoch, exec_path FROM ` + from + "xalt_link ORDER BY link_id",
		"INSERT INTO xalt_object SELECT n, object_path, syshost, hash_id, module_name, timestamp, lib_type FROM " + from + "xalt_object JOIN object_number ON id = obj_id ORDER BY n",
		`INSERT INTO xalt_run SELECT run_id, job_id, run_uuid, date, syshost, uuid, hash_id, account, exec_type, start_time, end_time, run_time, probability, num_cores,
num_nodes, num_threads, num_gpus, queue, sum_runs, sum_time, user, exec_path, module_name, cwd, cmdline, container FROM ` + from + "xalt_run ORDER BY run_id",
		"INSERT INTO xalt_env_name SELECT n, env_name FROM " + from + "xalt_env_name JOIN env_number ON id = env_id ORDER BY n",
		"INSERT INTO xalt_function SELECT n, function_name FROM " + from + "xalt_function JOIN function_number ON id = func_id ORDER BY n",
		"INSERT INTO join_link_object (obj_id, link_id, date) SELECT n, link_id, date FROM " + from + "join_link_object JOIN object_number ON id = obj_id",
		"INSERT INTO join_run_object (obj_id, run_id, date) SELECT n, run_id, date FROM " + from + "join_run_object JOIN object_number ON id = obj_id",
		"INSERT INTO join_run_env (env_id, run_id, date, env_value) SELECT n, run_id, date, env_value FROM " + from + "join_run_env JOIN env_number ON id = env_id",
		"INSERT INTO join_link_function (func_id, link_id, date) SELECT n, link_id, date FROM " + from + "join_link_function JOIN function_number ON id = func_id",
		`INSERT INTO xalt_pkg (run_id, program, pkg_name, pkg_version, pkg_path) SELECT run_id, program, pkg_name, pkg_version, pkg_path FROM ` + from + "xalt_pkg WHERE run_id IS NOT NULL",
	} {
		if _, err := conn.ExecContext(b.Context(), query); err != nil {
			b.Fatalf("%.60s: %v", query, err)
		}
	}
	return x
}

func mysqlName(d testdb.Database) string {
	return strings.TrimPrefix(strings.SplitN(d.URL, "?", 2)[0], "mysql://root@/")
}

// sizeOf returns how many bytes a MariaDB database's tables and indexes take.
func sizeOf(b *testing.B, d testdb.Database) (size float64) {
	b.Helper()
	db := d.Open(b)
	execute(b.Context(), b, db, "ANALYZE TABLE "+strings.Join(tablesOf(b.Context(), b, "mysql", db), ", "))
	err := db.QueryRowContext(b.Context(), "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()").Scan(&size)
	if err != nil {
		b.Fatal(err)
	}
	return size
}

// bulkCopy copies all rows into empty tables of the same schema in the
// engine's own way, and returns how long that took, in seconds.
func bulkCopy(b *testing.B, d testdb.Database) float64 {
	b.Helper()
	ctx := b.Context()
	copied := testdb.New(b, d.Kind)
	migrate(b, copied)
	from, to := d.Open(b), copied.Open(b)
	tables := tablesOf(ctx, b, d.Kind, from)
	for _, table := range tables { // the few rows that a new database has
		if _, err := to.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			b.Fatal(err)
		}
	}
	switch d.Kind {
	case "postgres":
		return copyPostgres(ctx, b, d.DSN, copied.DSN, tables)
	case "mysql":
		source := mysqlName(d)
		return timed(func() {
			for _, table := range tables {
				execute(ctx, b, to, "INSERT INTO "+table+" SELECT * FROM "+source+"."+table)
			}
		})
	}
	conn, err := to.Conn(ctx)
	if err != nil {
		b.Fatal(err)
	}
	// As durable as what it is compared with, and with as much memory.
	for _, pragma := range []string{"synchronous = NORMAL", "cache_size = -8192", "temp_store = MEMORY", "wal_autocheckpoint = 2000"} {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := conn.ExecContext(ctx, "ATTACH ? AS source", strings.TrimPrefix(d.URL, "sqlite:")); err != nil {
		b.Fatal(err)
	}
	return timed(func() {
		for _, table := range tables {
			// The ORDER BY keeps SQLite from copying pages instead of rows.
			if _, err := conn.ExecContext(ctx, "INSERT INTO main."+table+" SELECT * FROM source."+table+" ORDER BY 1"); err != nil {
				b.Fatal(err)
			}
		}
		// With the last connection, SQLite's log is copied into the database.
		if err := errors.Join(conn.Close(), to.Close()); err != nil {
			b.Fatal(err)
		}
	})
}

// migrate makes the tables.
func migrate(b *testing.B, d testdb.Database) {
	b.Helper()
	if out, err := exec.Command(program, "migrate", "--config", os.DevNull, "--db", d.URL, "--timezone", "UTC").CombinedOutput(); err != nil {
		b.Fatalf("migrate: %v\n%s", err, out)
	}
}

func timed(f func()) float64 {
	began := time.Now()
	f()
	return time.Since(began).Seconds()
}

func execute(ctx context.Context, b *testing.B, db *sql.DB, query string) {
	b.Helper()
	if _, err := db.ExecContext(ctx, query); err != nil {
		b.Fatal(err)
	}
}

func tablesOf(ctx context.Context, b *testing.B, kind string, db *sql.DB) []string {
	b.Helper()
	query := map[string]string{
		"sqlite":   "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
		"postgres": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
		"mysql":    "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'",
	}[kind]
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			b.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	return tables
}

// copyPostgres times COPY FROM only.
func copyPostgres(ctx context.Context, b *testing.B, from, to string, tables []string) (seconds float64) {
	b.Helper()
	source, err := pgx.Connect(ctx, from)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = source.Close(ctx) }() // nothing is lost with it
	target, err := pgx.Connect(ctx, to)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = target.Close(ctx) }() // nothing is lost with it
	for _, table := range tables {
		var rows bytes.Buffer
		if _, err := source.PgConn().CopyTo(ctx, &rows, "COPY "+table+" TO STDOUT BINARY"); err != nil {
			b.Fatal(err)
		}
		seconds += timed(func() {
			if _, err := target.PgConn().CopyFrom(ctx, io.Reader(&rows), "COPY "+table+" FROM STDIN BINARY"); err != nil {
				b.Fatal(err)
			}
		})
	}
	return seconds
}
