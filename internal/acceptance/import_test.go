package acceptance_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/testdb"
)

// oldXALT makes a database with XALT's tables as an old version had them, with
// n runs and m libraries each, and a user who may read it, with a password.
func oldXALT(t *testing.T, n, m int) (socket, name string) {
	t.Helper()
	d := testdb.New(t, "mysql")
	db := d.Open(t)
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	socket, name = u.Query().Get("socket"), strings.TrimPrefix(u.Path, "/")
	var numbers strings.Builder // 1, 2, ...
	for i := range max(n, 2*m) {
		fmt.Fprintf(&numbers, ", (%d)", i+1)
	}
	for _, statement := range []string{
		"CREATE TABLE numbers (seq INT PRIMARY KEY)",
		"INSERT INTO numbers VALUES " + numbers.String()[2:],
		"CREATE TABLE xalt_run (run_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, job_id CHAR(64), run_uuid CHAR(36), date DATETIME, syshost VARCHAR(64), account VARCHAR(20), start_time DOUBLE, end_time DOUBLE, run_time DOUBLE, num_cores INT UNSIGNED, user VARCHAR(32), exec_path VARCHAR(1024), module_name VARCHAR(64), cmdline BLOB)",
		"CREATE TABLE xalt_link (link_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36), date DATETIME, build_epoch DOUBLE, exec_path VARCHAR(1024))",
		"CREATE TABLE xalt_object (obj_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, object_path VARCHAR(1024), syshost VARCHAR(64), hash_id CHAR(40), module_name VARCHAR(64))",
		"CREATE TABLE join_run_object (join_id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, obj_id INT UNSIGNED, run_id INT UNSIGNED, KEY (run_id))",
		fmt.Sprintf("INSERT INTO xalt_run SELECT seq, seq, CONCAT(LPAD(HEX(seq), 8, '0'), '-0000-4000-8000-000000000000'), '2020-01-02 03:04:05', 'mach', 'acc', 1577934245 + seq, 0, 0, 4, 'alice', '/p', NULL, COMPRESS('[]') FROM numbers WHERE seq <= %d", n),
		fmt.Sprintf("INSERT INTO xalt_object SELECT seq, CONCAT('/l/', seq, '.so'), 'mach', '0', IF(seq %% 2, 'mod/1', NULL) FROM numbers WHERE seq <= %d", 2*m),
		fmt.Sprintf("INSERT INTO join_run_object SELECT NULL, 1 + (r.seq * 7 + o.seq) %% %d, r.seq FROM numbers r JOIN numbers o ON r.seq <= %d AND o.seq <= %d", 2*m, n, m),
		"CREATE USER " + name + "@localhost IDENTIFIED BY 'se%cret'",
		"GRANT SELECT ON " + name + ".* TO " + name + "@localhost",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	t.Cleanup(func() { _, _ = testdb.Admin(t, "mysql").Exec("DROP USER " + name + "@localhost") })
	return socket, name
}

// importing prepares "syslog2db import" with an environment.
func importing(in *instance, environ []string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.Command(program, append([]string{"import", "--config", os.DevNull, "--timezone", "UTC", "--db", in.url}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(environment(), environ...)
	return cmd, &stdout, &stderr
}

// TestImportCommand gives the password in each of the ways there are.
func TestImportCommand(t *testing.T) {
	socket, name := oldXALT(t, 10, 3)
	dir := t.TempDir()
	conf := filepath.Join(dir, "xalt_db.conf")
	home := filepath.Join(dir, "home")
	plainURL := "mysql://" + name + "@/" + name + "?socket=" + socket
	files := map[string]string{
		conf:                           "[MYSQL]\nHOST = " + socket + "\nUSER = " + name + "\nPASSWD = " + base64.StdEncoding.EncodeToString([]byte("se%cret")) + "\nDB = " + name + "\n",
		filepath.Join(home, ".my.cnf"): "[client]\nuser = " + name + "\npassword = se%cret\n",
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for way, x := range map[string]struct{ environ, args []string }{
		"conf":        {nil, []string{"--from-conf", conf}},
		"environment": {[]string{"XALT_IMPORT_DB=mysql://" + name + ":se%25cret@/" + name + "?socket=" + socket}, nil},
		"my.cnf":      {[]string{"HOME=" + home}, []string{plainURL}},
	} {
		t.Run(way, func(t *testing.T) {
			in := freshSQLiteFor(t)
			cmd, stdout, stderr := importing(in, x.environ, append(x.args, "--json")...)
			if err := cmd.Run(); err != nil {
				t.Fatalf("import: %v\n%s", err, stderr)
			}
			var report struct {
				Source string
				Tables []struct {
					Table        string
					Read, Stored int64
					Missing      bool
				}
			}
			if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			for _, n := range report.Tables {
				if n.Table == "xalt_run" && (n.Read != 10 || n.Stored != 10) || n.Table == "xalt_pkg" && !n.Missing {
					t.Errorf("%+v", n)
				}
			}
			if strings.Contains(stdout.String()+stderr.String(), "cret") {
				t.Error("the password is printed")
			}
			if n := in.count(t, "join_run_object"); n != 30 {
				t.Errorf("%d rows in join_run_object, want 30", n)
			}
		})
	}
	in := freshSQLiteFor(t)
	cmd, _, stderr := importing(in, []string{"HOME=" + dir}, plainURL)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "denied") {
		t.Errorf("import without the password: %v\n%s", err, stderr)
	}
}

// TestImportKilled kills imports at random instants; the last one finds all.
func TestImportKilled(t *testing.T) {
	socket, name := oldXALT(t, 6000, 10)
	source := "XALT_IMPORT_DB=mysql://" + name + ":se%25cret@/" + name + "?socket=" + socket
	straight := freshSQLiteFor(t)
	cmd, _, stderr := importing(straight, []string{source})
	if err := cmd.Run(); err != nil {
		t.Fatalf("import: %v\n%s", err, stderr)
	}
	want := straight.dump(t)
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.fresh(t)
		for i := range rounds(6) {
			cmd, _, _ := importing(in, []string{source})
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(50+90*i)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			_ = cmd.Wait()
			timer.Stop()
		}
		cmd, stdout, stderr := importing(in, []string{source})
		if err := cmd.Run(); err != nil {
			t.Fatalf("import: %v\n%s", err, stderr)
		}
		equal(t, "after kills", in.dump(t), want)
		if !strings.Contains(stdout.String(), "6000") {
			t.Errorf("counts: %s", stdout)
		}
		verify := exec.Command(program, "verify", "--config", os.DevNull, "--db", in.url)
		if out, err := verify.CombinedOutput(); err != nil {
			t.Errorf("verify: %v\n%s", err, out)
		}
	})
}

// freshSQLiteFor makes an empty SQLite database.
func freshSQLiteFor(t *testing.T) *instance {
	t.Helper()
	for _, db := range databases() {
		if db.name == "sqlite" {
			return db.fresh(t)
		}
	}
	t.Fatal("no SQLite")
	return nil
}
