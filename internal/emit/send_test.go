package emit_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"xaltpipe/internal/emit"
	"xaltpipe/internal/xalt"
)

// long is a deadline that no test reaches.
const long = emit.Duration(time.Minute)

func newSender(t *testing.T, c emit.Config, out io.Writer) *emit.Sender {
	t.Helper()
	d := emit.Default()
	d.Transport, d.Deadline = c.Transport, long
	d.Format, d.Socket, d.Server, d.CAFile, d.Directory, d.Spool = c.Format, c.Socket, c.Server, c.CAFile, c.Directory, c.Spool
	if c.Deadline > 0 {
		d.Deadline = c.Deadline
	}
	if c.SpoolSize > 0 {
		d.SpoolSize = c.SpoolSize
	}
	return emit.NewSender(d, emit.SenderOptions{
		Syshost: "oracle", User: "alice", Host: "vm1", Stdout: out, Trace: t.Logf,
		Now: func() time.Time { return time.Date(2026, 11, 20, 9, 43, 59, 874_026_000, time.UTC) },
	})
}

func startText() (key string, text []byte) {
	run := sampleRun()
	return emit.StartKey(run.UUID), run.AppendJSON(nil)
}

// join parses the blocks and joins them; heads are what stands before the
// tag's end in each message.
func join(t *testing.T, messages []string) (heads []string, text []byte) {
	t.Helper()
	var group *xalt.Group
	for i, m := range messages {
		const tag = "XALT_LOGGING_oracle"
		at := strings.Index(m, tag)
		if at < 0 {
			t.Fatalf("message %d has no tag: %q", i, m)
		}
		heads = append(heads, m[:at+len(tag)])
		var b xalt.Block
		if err := xalt.ParseBlock([]byte(m[at+len(tag):]), nil, &b); err != nil {
			t.Fatalf("message %d: %v: %q", i, err, m)
		}
		if b.Version != 4 || !b.HasCRC || len(b.Value) > 512 || i < len(messages)-1 && len(b.Value) != 512 {
			t.Errorf("block %d: version %d, CRC %t, %d bytes", i, b.Version, b.HasCRC, len(b.Value))
		}
		if group == nil {
			group = xalt.NewGroup(b.Identity(), &b)
		}
		group.Add(xalt.Part{Index: b.Index, Value: b.Value, Copy: -1})
	}
	if group == nil || !group.Complete() {
		t.Fatalf("%d messages are no record", len(messages))
	}
	a, err := group.Assemble(xalt.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return heads, a.Text
}

func checkRecord(t *testing.T, text []byte) {
	t.Helper()
	rec, err := xalt.Decode(xalt.KindRun, text)
	if err != nil || rec.Run.RunUUID != runUUID {
		t.Errorf("record: %v, %v", rec.Run, err)
	}
}

func TestLocal(t *testing.T) {
	for _, network := range []string{"unixgram", "unix"} {
		for format, head := range map[string]string{
			"": "<14>Nov 20 09:43:59 XALT_LOGGING_oracle", "rfc5424": "<14>1 2026-11-20T09:43:59.874026Z vm1 XALT_LOGGING_oracle",
		} {
			t.Run(network+format, func(t *testing.T) {
				socket := filepath.Join(t.TempDir(), "log")
				messages := make(chan []string, 1)
				if network == "unixgram" {
					conn, err := net.ListenUnixgram(network, &net.UnixAddr{Name: socket, Net: network})
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = conn.Close() }()
					go func() {
						var list []string
						buf := make([]byte, 64<<10)
						for {
							n, err := conn.Read(buf)
							if err != nil {
								return
							}
							if list = append(list, string(buf[:n])); !strings.Contains(list[0], "nb:"+twoDigits(len(list))) {
								continue
							}
							messages <- list
							return
						}
					}()
				} else {
					l, err := net.Listen(network, socket)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = l.Close() }()
					go func() {
						conn, err := l.Accept()
						if err != nil {
							return
						}
						all, _ := io.ReadAll(conn)
						messages <- strings.Split(strings.TrimSuffix(string(all), "\x00"), "\x00")
					}()
				}
				key, text := startText()
				if err := newSender(t, emit.Config{Transport: "syslog", Socket: socket, Format: format}, nil).Deliver(xalt.KindRun, key, text); err != nil {
					t.Fatal(err)
				}
				heads, joined := join(t, <-messages)
				for _, h := range heads {
					if h != head {
						t.Errorf("message begins %q, want %q", h, head)
					}
				}
				checkRecord(t, joined)
				if !bytes.Equal(joined, text) {
					t.Error("the text was changed on its way")
				}
			})
		}
	}
}

func twoDigits(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// framed reads messages with their lengths before them.
func framed(t *testing.T, r io.Reader) []string {
	t.Helper()
	in := bufio.NewReader(r)
	var list []string
	for {
		n, err := in.ReadString(' ')
		if err == io.EOF && n == "" {
			return list
		}
		size, numErr := strconv.Atoi(strings.TrimSuffix(n, " "))
		if err != nil || numErr != nil {
			t.Errorf("length %q: %v, %v", n, err, numErr)
			return list
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(in, message); err != nil {
			t.Error(err)
			return list
		}
		list = append(list, string(message))
	}
}

func TestTCPAndTLS(t *testing.T) {
	cert, ca := certificate(t)
	for _, transport := range []string{"tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			if transport == "tls" {
				l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
			}
			messages := make(chan []string, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				messages <- framed(t, conn)
			}()
			key, text := startText()
			if err := newSender(t, emit.Config{Transport: transport, Server: l.Addr().String(), CAFile: ca}, nil).Deliver(xalt.KindRun, key, text); err != nil {
				t.Fatal(err)
			}
			heads, joined := join(t, <-messages)
			if want := "<14>1 2026-11-20T09:43:59.874026Z vm1 XALT_LOGGING_oracle"; heads[0] != want {
				t.Errorf("message begins %q, want %q", heads[0], want)
			}
			checkRecord(t, joined)
		})
	}
}

func TestTLSRefusesUnknownCertificate(t *testing.T) {
	cert, _ := certificate(t)
	_, other := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		if conn, err := l.Accept(); err == nil {
			_, _ = io.ReadAll(conn)
		}
	}()
	key, text := startText()
	if err := newSender(t, emit.Config{Transport: "tls", Server: l.Addr().String(), CAFile: other}, nil).Deliver(xalt.KindRun, key, text); err == nil {
		t.Error("a record went to a server with a certificate of somebody else's")
	}
}

// certificate makes one for 127.0.0.1, and a file with it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	key, text := startText()
	if err := newSender(t, emit.Config{Transport: "udp", Server: conn.LocalAddr().String(), Format: "rfc3164"}, nil).Deliver(xalt.KindRun, key, text); err != nil {
		t.Fatal(err)
	}
	var messages []string
	buf := make([]byte, 64<<10)
	for len(messages) == 0 || !strings.Contains(messages[0], "nb:"+twoDigits(len(messages))) {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(buf[:n]))
	}
	heads, joined := join(t, messages)
	if want := "<14>Nov 20 09:43:59 vm1 XALT_LOGGING_oracle"; heads[0] != want {
		t.Errorf("message begins %q, want %q", heads[0], want)
	}
	checkRecord(t, joined)
}

func TestStdout(t *testing.T) {
	var out bytes.Buffer
	key, text := startText()
	if err := newSender(t, emit.Config{Transport: "stdout"}, &out).Deliver(xalt.KindRun, key, text); err != nil {
		t.Fatal(err)
	}
	_, joined := join(t, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"))
	checkRecord(t, joined)
}

// transmission is the name of a file of XALT's file transmission.
var transmission = regexp.MustCompile(`^run\.oracle\.2026_11_20_09_43_59_8740\.alice\.aaa\.` + runUUID + `\.json$`)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	key, text := startText()
	s := newSender(t, emit.Config{Transport: "file", Directory: dir}, nil)
	if err := s.Deliver(xalt.KindRun, key, text); err != nil {
		t.Fatal(err)
	}
	list := names(t, dir)
	if len(list) != 1 || !transmission.MatchString(list[0]) {
		t.Fatalf("files %q", list)
	}
	info, err := os.Stat(filepath.Join(dir, list[0]))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	got, err := os.ReadFile(filepath.Join(dir, list[0]))
	if err != nil || !bytes.Equal(bytes.TrimSuffix(got, []byte("\n")), text) {
		t.Errorf("content differs: %v", err)
	}
	checkRecord(t, got)
	if err := newSender(t, emit.Config{Transport: "file", Directory: dir + "/missing"}, nil).Deliver(xalt.KindRun, key, text); err == nil {
		t.Error("no error without the directory")
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestBlocked: a syslog daemon that does not read is given up after the
// deadline, which this test could not end without.
func TestBlocked(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s := newSender(t, emit.Config{Transport: "syslog", Socket: socket, Deadline: emit.Duration(20 * time.Millisecond)}, nil)
	for range 10_000 { // more than any queue holds
		key, text := startText()
		if err = s.Deliver(xalt.KindRun, key, text); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("Deliver to a daemon that does not read = %v, want a timeout", err)
	}
}

// TestSilentServer: a TLS server that accepts and says nothing.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	key, text := startText()
	s := newSender(t, emit.Config{Transport: "tls", Server: l.Addr().String(), Deadline: emit.Duration(20 * time.Millisecond)}, nil)
	if err := s.Deliver(xalt.KindRun, key, text); err == nil {
		t.Error("Deliver to a server that says nothing = nil")
	}
}

func TestSendNeverPanics(t *testing.T) {
	s := newSender(t, emit.Config{Transport: "stdout"}, panicWriter{})
	key, text := startText()
	s.Send(xalt.KindRun, key, text)
	s.Send(xalt.KindRun, key, []byte("no record"))
	s.Send(xalt.KindRun, key, nil)
}

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("writer") }
