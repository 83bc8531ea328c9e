package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// runPeak runs a command and returns the most memory that it had, in kB. The
// kernel's ru_maxrss would not do: it begins with what this process has, which
// shares its memory with the other until that is on its way.
func runPeak(cmd *exec.Cmd) (kB int64, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for {
			if text, err := os.ReadFile(status); err == nil {
				if m := peakLine.FindSubmatch(text); m != nil {
					n, _ := strconv.ParseInt(string(m[1]), 10, 64)
					kB = max(kB, n)
				}
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	err = cmd.Wait()
	close(stop)
	<-done
	return kB, err
}

var peakLine = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)
