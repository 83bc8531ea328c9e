package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// packageFile is the package of a kind, deb or rpm, that "make packages" made.
func packageFile(t *testing.T, kind string) string {
	t.Helper()
	files, err := filepath.Glob("../dist/xaltpipe?*." + kind)
	if err != nil || len(files) != 1 {
		without(t, fmt.Sprintf("packages in dist: %q, want one .%s: make packages", files, kind))
	}
	path, err := filepath.Abs(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// host is a copy of this system that can be changed at will: an overlay in
// memory, in a mount namespace of its own, in which commands run.
type host struct {
	t    *testing.T
	dir  string
	init *exec.Cmd // holds the namespace
}

func newHost(t *testing.T, name string) *host {
	t.Helper()
	if os.Getuid() != 0 {
		without(t, "only root can make a copy of the system")
	}
	h := &host{t: t, dir: filepath.Join(t.TempDir(), name)}
	script := fmt.Sprintf(`set -e
mkdir -p %[1]s/top %[1]s/root
mount -t tmpfs -o size=2g tmpfs %[1]s/top
mkdir %[1]s/top/up %[1]s/top/work
mount -t overlay overlay -o lowerdir=/,upperdir=%[1]s/top/up,workdir=%[1]s/top/work %[1]s/root
cd %[1]s/root
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
for n in null zero full random urandom tty; do cp -a /dev/$n dev/; done
ln -s /proc/self/fd dev/fd
mkdir dev/shm run/lock
chmod 1777 tmp dev/shm
echo ready
exec cat
`, h.dir)
	h.init = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	stdin, err := h.init.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := h.init.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.init.Stderr = os.Stderr
	if err := h.init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.stop()
		_ = stdin.Close()
		_ = h.init.Wait()
	})
	line := make([]byte, 6)
	if _, err := stdout.Read(line); err != nil || string(line) != "ready\n" {
		without(t, fmt.Sprintf("this system does not let root make a copy of it: %q, %v", line, err))
	}
	return h
}

// command runs a shell script on the host.
func (h *host) command(script string) *exec.Cmd {
	cmd := exec.Command("nsenter", "--mount", fmt.Sprintf("--target=%d", h.init.Process.Pid), "chroot", h.dir+"/root", "bash", "-c", script)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TZ=UTC", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return cmd
}

// do runs a script and wants it to succeed; it returns what it said.
func (h *host) do(script string) string {
	h.t.Helper()
	// Through a file, as what it starts in the background keeps a pipe open.
	out, err := os.CreateTemp(h.t.TempDir(), "out")
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	cmd := h.command("set -e\n" + script)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		h.t.Fatalf("%s\n%v\n%s", script, err, mustRead(h.t, out.Name()))
	}
	return mustRead(h.t, out.Name())
}

// put copies a file into root's home directory and returns its name.
func (h *host) put(file string) string {
	h.t.Helper()
	f, err := os.Open(file)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	cmd := h.command("cat >/root/" + filepath.Base(file))
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Base(file)
}

// stop ends what runs on the host: all processes whose root it is.
func (h *host) stop() {
	roots, _ := filepath.Glob("/proc/[0-9]*/root")
	for _, root := range roots {
		if to, err := os.Readlink(root); err == nil && strings.HasPrefix(to, h.dir+"/root") {
			var pid int
			if _, err := fmt.Sscanf(root, "/proc/%d/root", &pid); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// systemctl does on a host what systemd would: starts what units say.
const systemctl = `#!/bin/bash
run() { # the commands of a unit
	sed -n 's/^ExecStart=//p' "/usr/lib/systemd/system/$1" | while read -r line; do (cd /var/lib/xaltpipe && runuser -u xaltpipe -- sh -c "$line") </dev/null; done
}
verb=$1; shift
[ "$1" = --now ] && shift
for unit; do
	case $verb/$unit in
	restart/rsyslog)
		[ ! -f /run/rsyslogd.pid ] || { kill "$(cat /run/rsyslogd.pid)"; while [ -f /run/rsyslogd.pid ]; do sleep 0.1; done; }
		rsyslogd ;;
	enable/xaltpipe-follow.service)
		run $unit >>/run/follow.out 2>&1 &
		while ! pgrep --ns $$ --nslist mnt -x syslog2db >/run/follow.pid; do sleep 0.1; done ;;
	enable/*.timer) run "${unit%.timer}.service" ;;
	try-restart/xaltpipe-follow.service) [ ! -f /run/follow.pid ] || { "$0" disable $unit; "$0" enable $unit; } ;;
	disable/xaltpipe-follow.service) [ ! -f /run/follow.pid ] || {
		kill $(cat /run/follow.pid)
		while kill -0 $(cat /run/follow.pid); do sleep 0.1; done 2>/dev/null
		rm /run/follow.pid; } ;;
	disable/*.timer) ;;
	*) echo "systemctl $verb $unit?" >&2; exit 1 ;;
	esac
done
`

// commands are those of the guide that stand between two texts: what follows
// root's prompt in blocks of a console.
func commands(t *testing.T, guide, from, to string) (list []string) {
	t.Helper()
	_, part, ok := strings.Cut(guide, from)
	if !ok {
		t.Fatalf("the guide has no %q", from)
	}
	part, _, ok = strings.Cut(part, to)
	if !ok {
		t.Fatalf("the guide has no %q", to)
	}
	for {
		_, rest, ok := strings.Cut(part, "```console\n")
		if !ok {
			return list
		}
		var block string
		block, part, _ = strings.Cut(rest, "```")
		for line := range strings.Lines(block) {
			if command, ok := strings.CutPrefix(line, "# "); ok {
				list = append(list, command)
			} else {
				list[len(list)-1] += line
			}
		}
	}
}

// TestGuide does what the administrator's guide says, on a collector and a node.
func TestGuide(t *testing.T) {
	deb := packageFile(t, "deb")
	need(t, "rsyslogd")
	guide := mustRead(t, "../docs/admin-guide.md")
	collector, node := newHost(t, "collector"), newHost(t, "node")
	for _, h := range []*host{collector, node} {
		h.do("rm /usr/bin/systemctl; cat >/usr/bin/systemctl <<'END'\n" + systemctl + "END\nchmod 755 /usr/bin/systemctl\necho 127.0.0.1 collector.cluster >>/etc/hosts\n" +
			"mkdir -p /apps/modulefiles/Core/alpha /apps/alpha/1.0/lib\necho 'setenv(\"ALPHA_DIR\", \"/apps/alpha/1.0\") prepend_path(\"LD_LIBRARY_PATH\", \"/apps/alpha/1.0/lib\")' >/apps/modulefiles/Core/alpha/1.0.lua\n")
	}
	collector.put(deb)
	does := func(h *host, from, to string) {
		t.Helper()
		list := commands(t, guide, from, to)
		if len(list) == 0 {
			t.Fatalf("the guide has no command between %q and %q", from, to)
		}
		for _, command := range list {
			out := h.do("cd /root\n" + command)
			t.Logf("# %s%s", command, out)
		}
	}
	does(collector, "**On the collector**", "**On every node**")
	node.do("mkdir -p /usr/share/xaltpipe/rsyslog")
	cmd := node.command("cat >/usr/share/xaltpipe/rsyslog/xalt_syslog.conf")
	cmd.Stdin = strings.NewReader(mustRead(t, "rsyslog/xalt_syslog.conf"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	does(node, "**On every node**", "**Does it work?**")

	// Something runs on the node.
	var texts strings.Builder
	for line := range strings.Lines(mustRead(t, "../testdata/xalt.log")) {
		if at := strings.Index(line, "V:4 "); at >= 0 {
			texts.WriteString(line[at:])
		}
	}
	cmd = node.command("logger --size 65536 -t XALT_LOGGING_oracle")
	cmd.Stdin = strings.NewReader(texts.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("logger: %v\n%s", err, out)
	}
	// The service that follows stores it.
	deadline := time.Now().Add(3 * time.Minute)
	for {
		out := collector.do("runuser -u xaltpipe -- syslog2db summary")
		if number(out, "runs") == 14 && number(out, "packages") == 39 && number(out, "links") == 11 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain for the records:\n%s\n%s", out, collector.do("ls -l /var/log/xalt; cat /run/follow.out; tail -5 /var/log/syslog || true"))
		}
		time.Sleep(100 * time.Millisecond)
	}
	does(collector, "**Does it work?**", "**Watch it.**")
	does(collector, "XALT's own command line", "What is different from XALT")
	if out := collector.do("cat /run/follow.out"); out != "" {
		t.Errorf("the service that follows said:\n%s", out)
	}
	// A day later.
	if out := collector.do("logrotate -f /etc/logrotate.d/xalt; ls /var/log/xalt"); strings.TrimSpace(out) != "oracle.log\noracle.log.1" {
		t.Errorf("after a rotation: %s", out)
	}
	// Installed again, the package has what follows the logs started anew.
	before := collector.do("mkdir -p /run/systemd/system; cat /run/follow.pid")
	collector.do("dpkg -i /root/xaltpipe_*.deb")
	if after := collector.do("cat /run/follow.pid; kill -0 $(cat /run/follow.pid)"); after == before {
		t.Errorf("after the installation of an update the old program still follows the logs: process %s", after)
	}
	// Removed, it leaves what is the site's, and nothing runs.
	after := strings.TrimSpace(collector.do("cat /run/follow.pid"))
	collector.do("apt-get remove -y xaltpipe")
	eventually(t, "the end of what followed the logs", func() bool { _, err := os.Stat("/proc/" + after); return err != nil })
	if out := collector.do("ls /usr/bin/syslog2db /usr/lib/xaltpipe 2>/dev/null || true; ls -d /etc/xaltpipe /var/lib/xaltpipe/xalt.db /var/log/xalt"); out != "/etc/xaltpipe\n/var/lib/xaltpipe/xalt.db\n/var/log/xalt\n" {
		t.Errorf("after the package was removed: %s", out)
	}
}

// TestRsyslogNotRoot does what deploy/rsyslog says of a collector whose rsyslogd gives
// up root's rights, as on Ubuntu, with a rotation in between.
func TestRsyslogNotRoot(t *testing.T) {
	deb := packageFile(t, "deb")
	need(t, "rsyslogd")
	h := newHost(t, "ubuntu")
	h.put(deb)
	port := freePort(t)
	h.do("rm /usr/bin/systemctl; cat >/usr/bin/systemctl <<'END'\n" + systemctl + "END\nchmod 755 /usr/bin/systemctl\n" + strings.ReplaceAll(`cd /root
dpkg -i xaltpipe_*.deb
useradd --system --no-create-home syslog
chown syslog /var/spool/rsyslog
sed 's/"2514"/"PORT"/' /usr/share/xaltpipe/rsyslog/xalt_collector.conf >/etc/rsyslog.d/10-xalt.conf
cp /usr/share/xaltpipe/logrotate/xalt /etc/logrotate.d/xalt
printf '#!/bin/sh\nkill -HUP $(cat /run/rsyslogd.pid)\n' >/usr/lib/rsyslog/rsyslog-rotate
printf '$PrivDropToUser syslog\n$PrivDropToGroup syslog\nglobal(workDirectory="/var/spool/rsyslog")\n$IncludeConfig /etc/rsyslog.d/*.conf\n' >/etc/rsyslog.conf
{
	echo 'global(workDirectory="/tmp") module(load="imuxsock" SysSock.Use="off") input(type="imuxsock" Socket="/tmp/log")'
	sed 's/collector.example.org/127.0.0.1/; s/"2514"/"PORT"/; s/resumeInterval="5"/resumeInterval="1"/' /usr/share/xaltpipe/rsyslog/xalt_syslog.conf
} >/etc/node.conf
rsyslogd -f /etc/node.conf -i /run/node.pid
`, "PORT", port))
	for _, command := range commands(t, mustRead(t, "rsyslog/README.md"), "## A collector whose rsyslog is not root", "## journald") {
		h.do(command)
	}
	sends := func(file, word string) {
		t.Helper()
		h.do("logger -u /tmp/log -t XALT_LOGGING_oracle " + word)
		eventually(t, word, func() bool { return h.command("grep -q "+word+" /var/log/xalt/"+file).Run() == nil })
	}
	sends("oracle.log", "before")
	h.do("logrotate -f /etc/logrotate.d/xalt 2>/dev/null || true") // what is no record fails to be ingested
	sends("oracle.log", "behind")
	if out := h.do("stat -c '%n %U:%G %a' /var/log/xalt /var/log/xalt/*"); out != "/var/log/xalt syslog:xaltpipe 750\n/var/log/xalt/oracle.log syslog:xaltpipe 640\n/var/log/xalt/oracle.log.1 syslog:xaltpipe 640\n" {
		t.Errorf("files:\n%s", out)
	}
}

// TestPackage has lintian look at the Debian package.
func TestPackage(t *testing.T) {
	out, err := exec.Command(need(t, "lintian"), "--allow-root", "--fail-on", "error,warning", packageFile(t, "deb")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "" {
		t.Errorf("lintian: %v\n%s", err, out)
	}
}

// TestRPM installs the package with rpm, uses it, replaces and removes it.
func TestRPM(t *testing.T) {
	need(t, "rpm")
	file := packageFile(t, "rpm")
	h := newHost(t, "redhat")
	// Debian's rpm has a database of its own, and knows nothing of dpkg's packages.
	rpm := "cd /root && rpm --dbpath /var/lib/rpm-of-the-test "
	file = h.put(file)
	h.do(rpm + "--install --nodeps " + file)
	if out := h.do(rpm + "--verify --nodeps xaltpipe"); out != "" {
		t.Errorf("rpm --verify: %s", out)
	}
	if out := h.do("stat -c '%U:%G %a' /var/lib/xaltpipe /var/log/xalt; man --path >/dev/null 2>&1; ls /usr/share/man/man1/syslog2db.1* /usr/lib/systemd/system/xaltpipe-follow.service | wc -l"); out != "xaltpipe:xaltpipe 750\nroot:xaltpipe 750\n2\n" {
		t.Errorf("directories, manual and units: %s", out)
	}
	h.do("cd / && runuser -u xaltpipe -- syslog2db --quiet --timezone UTC /usr/share/doc/xaltpipe/examples/xalt.log")
	if out := h.do("cd / && runuser -u xaltpipe -- syslog2db summary"); number(out, "runs") != 14 {
		t.Errorf("summary:\n%s", out)
	}
	// What the site changed stays when the package comes again.
	h.do("echo '# ours' >>/etc/xaltpipe/syslog2db.toml")
	h.do(rpm + "--upgrade --force --nodeps " + file)
	if out := h.do("tail -1 /etc/xaltpipe/syslog2db.toml"); out != "# ours\n" {
		t.Errorf("the configuration after an upgrade ends with %q", out)
	}
	h.do(rpm + "--erase xaltpipe")
	if out := h.do("ls /usr/bin/syslog2db 2>/dev/null || true; find /usr -path '*/xaltpipe*'; ls /var/lib/xaltpipe/xalt.db; ls -d /var/log/xalt /etc/xaltpipe/syslog2db.toml*; getent passwd xaltpipe | cut -d: -f1"); out != "/var/lib/xaltpipe/xalt.db\n/etc/xaltpipe/syslog2db.toml.rpmsave\n/var/log/xalt\nxaltpipe\n" {
		t.Errorf("after the package was removed: %s", out)
	}
}
