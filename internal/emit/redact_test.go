package emit_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/emit"
)

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "mpirun -n 4 ./a.out -p 3 --input x", "mpirun -n 4 ./a.out -p 3 --input x"},
		{"value attached", "x --password=hunter2 y", "x --password=*** y"},
		{"value apart", "x --token abc y", "x --token *** y"},
		{"one dash", "x -password abc y", "x -password *** y"},
		{"upper case", "x --API-Key=abc", "x --API-Key=***"},
		{"composed flag", "x --mysql-root-password=abc --auth-token abc", "x --mysql-root-password=*** --auth-token ***"},
		{"site's flag", "x --pin 1234", "x --pin ***"},
		{"variable", "env DB_PASSWORD=x AWS_SECRET_ACCESS_KEY=y PATH=/bin ./a", "env DB_PASSWORD=*** AWS_SECRET_ACCESS_KEY=*** PATH=/bin ./a"},
		{"variable in a flag", "srun --export=DB_PASSWORD=x ./a", "srun --export=DB_PASSWORD=*** ./a"},
		{"variable in a list", "srun --export=ALL,A=1,DB_PASSWORD=x,y=z --export A=1,API_TOKEN=x ./a B=1,C=,d", "srun --export=ALL,A=1,DB_PASSWORD=*** --export A=1,API_TOKEN=*** ./a B=1,C=,d"},
		{"Hydra's variables", "mpirun -genv DB_PASSWORD x -env A TOKEN -genv API_TOKEN=x -n 2 ./a", "mpirun -genv DB_PASSWORD *** -env A TOKEN -genv API_TOKEN=*** -n 2 ./a"},
		{"PWD is a directory", "env PWD=/home OLDPWD=/ ./a", "env PWD=/home OLDPWD=/ ./a"},
		{"mysql", "mpirun -n 1 /usr/bin/mysql -psecret -u root", "mpirun -n 1 /usr/bin/mysql -p*** -u root"},
		{"mysql asks", "mysql -p -u root", "mysql -p -u root"},
		{"mpirun's -p", "mpirun -ppn 4 -p4 ./a.out", "mpirun -ppn 4 -p4 ./a.out"},
		{"sshpass", "sshpass -p secret ssh host", "sshpass -p *** ssh host"},
		{"curl user", "curl -u alice:secret -ualice:secret --user=alice:s http://x", "curl -u alice:*** -ualice:*** --user=alice:*** http://x"},
		{"curl header", "curl -H Authorization:Bearer_x http://h", "curl -H Authorization: *** http://h"},
		{"redis", "redis-cli -a secret get x", "redis-cli -a *** get x"},
		{"URL", "git clone https://bob:secret@example.org/r.git", "git clone https://bob:***@example.org/r.git"},
		{"URL with @ in the password", "x ftp://u:a@b@host/p", "x ftp://u:***@host/p"},
		{"URL without password", "x ssh://git@host/p https://h:8080/a@b:c", "x ssh://git@host/p https://h:8080/a@b:c"},
		{"URL in a flag", "x --db=postgres://u:p@h/d", "x --db=postgres://u:***@h/d"},
		{"query", "x https://h/p?a=1&token=abc&sig=xyz", "x https://h/p?a=1&token=***&sig=***"},
		{"last argument", "x --password", "x --password"},
		{"non-UTF-8", "x --password=\xff \xfe", "x --password=*** \xfe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := emit.Config{RedactFlags: []string{"--pin"}}
			in := strings.Split(tt.in, " ")
			got := c.Redact(in)
			if diff := cmp.Diff(strings.Fields(tt.want), strings.Fields(strings.Join(got, " "))); diff != "" {
				t.Errorf("Redact(%q): -want +got\n%s", tt.in, diff)
			}
			if strings.Join(in, " ") != tt.in {
				t.Error("Redact changed its argument")
			}
		})
	}
	off := emit.Config{NoRedact: true}
	if got := off.Redact([]string{"--password=x"}); got[0] != "--password=x" {
		t.Errorf("no-redact: %q", got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("curl -u a:b https://u:p@h?x=y --password")
	f.Add("mysql -p:// ?&=@:")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		var c emit.Config
		once := c.Redact(args)
		if len(once) != len(args) {
			t.Fatalf("Redact(%q) has %d arguments", args, len(once))
		}
		if diff := cmp.Diff(once, c.Redact(once)); diff != "" {
			t.Errorf("Redact(%q) is not the same when done again:\n%s", args, diff)
		}
	})
}

func TestEnvironment(t *testing.T) {
	c := emit.Config{Env: []string{"PATH", "OMP_*", "MY_TOKEN", "PROXY"}, EnvAdd: []string{"SITE_?"}}
	got := c.Environment([]string{
		"PATH=/bin", "PATH=/second", "OMP_NUM_THREADS=4", "OMP_EMPTY=", "HOME=/root", "MY_TOKEN=abc", "OMP_PASSWORD=x", "SITE_A=1", "SITE_AB=2",
		"PROXY=http://u:p@h:3128", "broken", "=x", "OMP_BIG=" + strings.Repeat("x", 100_000),
	})
	want := []emit.Variable{{"OMP_EMPTY", ""}, {"OMP_NUM_THREADS", "4"}, {"PATH", "/bin"}, {"PROXY", "http://u:***@h:3128"}, {"SITE_A", "1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Environment: -want +got\n%s", diff)
	}
}
