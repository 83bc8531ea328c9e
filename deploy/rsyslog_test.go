package deploy_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// regexpNotNews is what rsyslogd -N1 says of a good configuration.
var regexpNotNews = regexp.MustCompile(`(?m)^rsyslogd: (version .*|End of config validation run.*)\n`)

// withInputs switches on what stands in comments, with certificates.
func withInputs(t *testing.T, certs string) []string {
	t.Helper()
	return []string{
		"#module(load=\"imptcp\")", "module(load=\"imptcp\")", "#input(", "input(", "#    tls", "    tls", "/etc/xaltpipe/tls", certs,
		"*.example.org", "node.example.org",
	}
}

// TestRsyslogSyntax has rsyslogd check every shipped configuration, also with
// what stands in comments for the variants.
func TestRsyslogSyntax(t *testing.T) {
	files, err := filepath.Glob("rsyslog/*.conf")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d configurations, %v", len(files), err)
	}
	certs := certificates(t)
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			var replace []string
			if strings.Contains(name, "_tls") {
				replace = []string{"/etc/xaltpipe/tls", certs}
			}
			newRsyslog(t, name, "", replace...).check()
			if strings.Contains(name, "collector") {
				newRsyslog(t, name, "", withInputs(t, certs)...).check()
			}
		})
	}
}

// nodeMain is the main configuration of a node, with Ubuntu's default that
// reduces repeated messages.
func nodeMain(socket string) string {
	return fmt.Sprintf("module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=%q)\n$RepeatedMsgReduction on", socket)
}

// logSocket connects to a node's /dev/log.
func logSocket(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	var c *net.UnixConn
	eventually(t, "the node's socket", func() (ok bool) {
		var err error
		c, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
		return err == nil
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say writes one message as syslog(3) does.
func say(t *testing.T, c *net.UnixConn, tag, text string) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "<14>%s %s: %s", time.Now().Format(time.Stamp), tag, text); err != nil {
		t.Fatal(err)
	}
}

// texts returns the messages of a log, without what stands before them.
func texts(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var list []string
	for line := range strings.Lines(string(data)) {
		_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " - - -  ")
		list = append(list, text)
	}
	slices.Sort(list)
	return slices.Compact(list) // RELP sends again what it is not sure of
}

// TestRsyslogWays sends messages from a node to the collector by every shipped
// pair of configurations.
func TestRsyslogWays(t *testing.T) {
	certs := certificates(t)
	for _, tt := range []struct{ name, node, port, collector, relay string }{
		{"relp", "xalt_syslog.conf", "2514", "xalt_collector.conf", ""},
		{"tcp", "xalt_syslog_tcp.conf", "2515", "xalt_collector.conf", ""},
		{"tls", "xalt_syslog_tls.conf", "2516", "xalt_collector.conf", ""},
		{"single file", "xalt_syslog.conf", "2514", "xalt_collector_single.conf", ""},
		{"relay", "xalt_syslog.conf", "2514", "xalt_collector.conf", "xalt_relay.conf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ports := map[string]string{"2514": freePort(t), "2515": freePort(t), "2516": freePort(t)}
			var replace []string
			for _, name := range []string{"2514", "2515", "2516"} {
				replace = append(replace, `"`+name+`"`, `"`+ports[name]+`"`)
			}
			logs := t.TempDir()
			collector := newRsyslog(t, tt.collector, "", append(append(withInputs(t, certs), replace...), "/var/log/xalt", logs+"/xalt")...)
			collector.start()
			to := ports[tt.port]
			eventually(t, "the collector", func() bool { return listens(to) })
			if tt.relay != "" {
				port := freePort(t)
				// Its own port stands last in the file.
				text := mustRead(t, filepath.Join("rsyslog", tt.relay))
				at := strings.LastIndex(text, `"2514"`)
				relay := newRsyslog(t, tt.relay, "", text, strings.ReplaceAll(text[:at]+`"`+port+`"`+text[at+6:], `"2514"`, `"`+to+`"`), "collector.example.org", "127.0.0.1")
				relay.start()
				eventually(t, "the relay", func() bool { return listens(port) })
				to = port
			}
			socket := filepath.Join(t.TempDir(), "log")
			replace = []string{`"` + tt.port + `"`, `"` + to + `"`}
			if tt.name == "tls" {
				replace = append(replace, `target="collector.example.org"`, `target="127.0.0.1"`, "/etc/xaltpipe/tls", certs)
			} else {
				replace = append(replace, "collector.example.org", "127.0.0.1")
			}
			node := newRsyslog(t, tt.node, nodeMain(socket), replace...)
			node.start()
			c := logSocket(t, socket)
			long := "a-machine-whose-name-is-longer-than-the-48-bytes-of-an-app-name"
			say(t, c, "XALT_LOGGING_oracle", "V:4 the same value:")
			say(t, c, "XALT_LOGGING_oracle", "V:4 the same value:")
			say(t, c, "XALT_LOGGING_oracle", "V:4 another value:"+strings.Repeat("x", 4000))
			say(t, c, "XALT_LOGGING_"+long, "V:4 long value:")
			say(t, c, "XALT_LOGGING_../../tmp/evil", "V:4 evil value:")
			say(t, c, "other", "not XALT's")
			want := map[string][]string{
				"oracle": {"V:4 another value:" + strings.Repeat("x", 4000), "V:4 the same value:"},
				long:     {"V:4 long value:"},
				"other":  {"V:4 evil value:"},
			}
			file := func(name string) string { return filepath.Join(logs, "xalt", name+".log") }
			if strings.Contains(tt.collector, "single") {
				var all []string
				for _, list := range want {
					all = append(all, list...)
				}
				slices.Sort(all)
				want = map[string][]string{"": all}
				file = func(string) string { return filepath.Join(logs, "xalt.log") }
			}
			for name, list := range want {
				eventually(t, "messages in "+file(name), func() bool { return len(texts(t, file(name))) >= len(list) })
				if got := texts(t, file(name)); !slices.Equal(got, list) {
					t.Errorf("%s: %q, want %q", file(name), got, list)
				}
				if info, err := os.Stat(file(name)); err != nil || info.Mode().Perm() != 0o640 {
					t.Errorf("%s: mode %v (%v), want 0640", file(name), info.Mode(), err)
				}
			}
			// Nothing else went anywhere.
			eventually(t, "the other program's message", func() bool { return strings.Contains(readIfThere(node.dir+"/rest.log"), "not XALT's") })
			if rest := readIfThere(node.dir+"/rest.log") + readIfThere(collector.dir+"/rest.log"); strings.Contains(rest, "XALT_LOGGING") {
				t.Errorf("XALT's messages are in the other logs as well:\n%s", rest)
			}
			if files, _ := filepath.Glob(filepath.Join(logs, "xalt*", "*")); len(files) > len(want) {
				t.Errorf("files %q, want %d", files, len(want))
			}
		})
	}
}

// TestRsyslogRestart: while the collector is away, messages survive a restart of a node's
// rsyslogd in its own work directory. /var/spool/rsyslog is not everywhere.
func TestRsyslogRestart(t *testing.T) {
	logs, socket, port := t.TempDir(), filepath.Join(t.TempDir(), "log"), freePort(t)
	collector := newRsyslog(t, "xalt_collector.conf", "", `"2514"`, `"`+port+`"`, "/var/log/xalt", logs+"/xalt")
	node := newRsyslog(t, "xalt_syslog.conf", nodeMain(socket), `"2514"`, `"`+port+`"`, "collector.example.org", "127.0.0.1", `resumeInterval="5"`, `resumeInterval="1"`)
	node.start()
	c := logSocket(t, socket)
	const messages = 20
	for n := range messages {
		say(t, c, "XALT_LOGGING_oracle", fmt.Sprintf("V:4 message %02d value:", n))
	}
	say(t, c, "other", "last")
	eventually(t, "the last message", func() bool { return strings.Contains(readIfThere(node.dir+"/rest.log"), "last") })
	node.stop()
	if files, _ := filepath.Glob(filepath.Join(node.dir, "spool", "xalt_forward.*")); len(files) == 0 {
		t.Error("no file of the queue is in rsyslogd's work directory")
	}
	collector.start()
	node.start()
	file := filepath.Join(logs, "xalt", "oracle.log")
	eventually(t, "all messages", func() bool { return len(texts(t, file)) == messages })
}

func readIfThere(name string) string {
	text, _ := os.ReadFile(name)
	return string(text)
}
