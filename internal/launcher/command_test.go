package launcher_test

import (
	"strings"
	"testing"

	"xaltpipe/internal/launcher"
)

func TestCommand(t *testing.T) {
	for _, tt := range []struct {
		line, path, through, aside string
		tasks                      int
		known                      bool
	}{
		{"./a.out -n 3", "./a.out", "", "", 0, false},
		{"env -u B A=1 ./a.out", "./a.out", "env", "", 0, false},
		{"time -p numactl -C 0-3 ./a.out x", "./a.out", "time numactl", "", 0, false},
		{"env X=1 srun -n 4 ./a.out", "./a.out", "env srun", "", 4, true},
		{"gdb --args ./a.out", "./a.out", "gdb", "gdb", 0, false},
		{"", "", "", "", 0, false},
	} {
		t.Run(tt.line, func(t *testing.T) {
			job := launcher.Command(strings.Fields(tt.line), launcher.Host{})
			var p launcher.Program
			if len(job.Programs) == 1 {
				p = job.Programs[0]
			}
			if p.Path != tt.path || strings.Join(p.Through, " ") != tt.through || job.StepsAside != tt.aside || p.Tasks.N != tt.tasks || p.Tasks.Known != tt.known {
				t.Errorf("Command(%q) = %+v, want program %q through %q, %d tasks (%v), stepping aside for %q", tt.line, job, tt.path, tt.through, tt.tasks, tt.known, tt.aside)
			}
		})
	}
}
