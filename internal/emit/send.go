package emit

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"xaltpipe/internal/xalt"
)

// Sender sends records. It keeps nothing open between them, so it costs
// nothing while a program runs, and it is safe to make one and never use it.
type Sender struct {
	config  Config
	syshost string
	user    string
	host    string
	now     func() time.Time
	stdout  io.Writer
	trace   func(format string, args ...any)
}

// SenderOptions are what a [Sender] needs besides the configuration.
type SenderOptions struct {
	Syshost, User, Host string
	Now                 func() time.Time                 // default time.Now
	Stdout              io.Writer                        // of the transport stdout
	Trace               func(format string, args ...any) // explains what is done; may be nil
}

// NewSender returns a sender.
func NewSender(c Config, o SenderOptions) *Sender {
	s := &Sender{config: c, syshost: o.Syshost, user: o.User, host: o.Host, now: o.Now, stdout: o.Stdout, trace: o.Trace}
	if s.now == nil {
		s.now = time.Now
	}
	if s.stdout == nil {
		s.stdout = io.Discard
	}
	if s.trace == nil {
		s.trace = func(string, ...any) {}
	}
	return s
}

// Send sends a record's text, which begins with {"crc":"0x0000" and is changed:
// its checksum is written into it. It takes no longer than the configured
// deadline. What could not be sent goes to the spool directory; what cannot be
// kept there either is lost, which only the trace tells, because nothing may
// come of it for the program.
func (s *Sender) Send(kind xalt.Kind, key string, text []byte) {
	defer func() {
		if v := recover(); v != nil {
			s.trace("record %s is lost: %v", key, v)
		}
	}()
	err := s.Deliver(kind, key, text)
	if err == nil {
		s.trace("record %s of %d bytes sent (%s)", key, len(text), s.config.Transport)
		return
	}
	if s.config.Spool == "" || s.config.Transport == TransportNone || s.config.Transport == TransportStdout {
		s.trace("record %s is lost: %v", key, err)
		return
	}
	if spoolErr := s.spool(kind, key, text); spoolErr != nil {
		s.trace("record %s is lost: %v; %v", key, err, spoolErr)
		return
	}
	s.trace("record %s is in %s: %v", key, s.config.Spool, err)
}

// Deliver sends a record or returns why it could not be sent within the
// deadline; it spools nothing. Part of the blocks may have gone out.
func (s *Sender) Deliver(kind xalt.Kind, key string, text []byte) error {
	blocks, err := xalt.Split(kind, s.syshost, key, text, s.config.BlockSize)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(time.Duration(s.config.Deadline))
	switch s.config.Transport {
	case TransportNone:
		return nil
	case TransportStdout:
		return s.print(blocks)
	case TransportFile:
		mode, err := s.config.fileMode()
		if err != nil {
			return err
		}
		return writeFile(s.config.Directory, s.fileName(kind, key, s.now()), text, mode)
	case TransportSyslog:
		return s.local(blocks, deadline)
	case TransportUDP, TransportTCP, TransportTLS:
		return s.remote(blocks, deadline)
	}
	return fmt.Errorf("unknown transport %q", s.config.Transport)
}

func (s *Sender) print(blocks []xalt.Block) error {
	var line []byte
	for i := range blocks {
		line = append(line, "XALT_LOGGING_"+s.syshost+" "...)
		line = append(blocks[i].Append(line), '\n')
	}
	_, err := s.stdout.Write(line)
	return err
}

// local sends to the socket of the host's syslog daemon, a datagram for each
// block; where it is a stream a NUL ends a message, as syslog(3) does it.
func (s *Sender) local(blocks []xalt.Block, deadline time.Time) error {
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.DialContext(context.Background(), "unixgram", s.config.Socket)
	stream := false
	if err != nil {
		var streamErr error
		if conn, streamErr = dialer.DialContext(context.Background(), "unix", s.config.Socket); streamErr != nil {
			return err
		}
		stream = true
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	var message []byte
	for i := range blocks {
		message = s.header(message[:0], false)
		message = blocks[i].Append(message)
		if stream {
			message = append(message, 0)
		}
		if _, err := conn.Write(message); err != nil {
			return fmt.Errorf("block %d of %d: %w", i+1, len(blocks), err)
		}
	}
	return nil
}

// remote sends to a syslog server: a datagram for each block, or over a stream
// each with its length before it (RFC 6587, section 3.4.1; RFC 5425).
func (s *Sender) remote(blocks []xalt.Block, deadline time.Time) error {
	network := "tcp"
	if s.config.Transport == TransportUDP {
		network = "udp"
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	dialer := net.Dialer{}
	conn, err := dialer.DialContext(ctx, network, s.config.Server)
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		_ = conn.Close()
		return err
	}
	if s.config.Transport == TransportTLS {
		secured, err := s.secure(ctx, conn)
		if err != nil {
			_ = conn.Close()
			return err
		}
		conn = secured
	}
	err = s.writeMessages(conn, blocks)
	if closeErr := conn.Close(); err == nil && network == "tcp" {
		err = closeErr
	}
	return err
}

func (s *Sender) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	host, _, err := net.SplitHostPort(s.config.Server)
	if err != nil {
		return nil, err
	}
	options := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.config.CAFile != "" {
		text, err := os.ReadFile(s.config.CAFile)
		if err != nil {
			return nil, err
		}
		options.RootCAs = x509.NewCertPool()
		if !options.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("ca-file %s: no certificate in it", s.config.CAFile)
		}
	}
	c := tls.Client(conn, options)
	return c, c.HandshakeContext(ctx)
}

func (s *Sender) writeMessages(conn net.Conn, blocks []xalt.Block) error {
	datagrams := s.config.Transport == TransportUDP
	w := bufio.NewWriterSize(conn, 32<<10)
	var message []byte
	for i := range blocks {
		message = s.header(message[:0], true)
		message = blocks[i].Append(message)
		var err error
		if datagrams {
			_, err = conn.Write(message)
		} else {
			_, err = w.WriteString(strconv.Itoa(len(message)) + " ")
			if err == nil {
				_, err = w.Write(message)
			}
		}
		if err != nil {
			return fmt.Errorf("block %d of %d: %w", i+1, len(blocks), err)
		}
	}
	return w.Flush()
}

// header adds what stands before the block's text.
func (s *Sender) header(dst []byte, remote bool) []byte {
	priority := max(facility(s.config.Facility), 0)*8 + max(severity(s.config.Severity), 0)
	format := s.config.Format
	if format == "" {
		format = FormatRFC3164
		if remote {
			format = FormatRFC5424
		}
	}
	now := s.now()
	if format == FormatRFC5424 {
		return fmt.Appendf(dst, "<%d>1 %s %s XALT_LOGGING_%s - - - ", priority, now.Format("2006-01-02T15:04:05.000000Z07:00"), s.host, s.syshost)
	}
	dst = fmt.Appendf(dst, "<%d>%s ", priority, now.Format(time.Stamp))
	if remote {
		dst = append(append(dst, s.host...), ' ') // the local daemon knows its host
	}
	return append(dst, "XALT_LOGGING_"+s.syshost+": "...)
}

var errTooFull = errors.New("spool directory is full")

// facility returns syslog's number of a facility, -1 for an unknown name.
func facility(name string) int {
	return slices.Index([]string{
		"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "", "",
		"local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
	}, name)
}

// severity returns syslog's number of a severity, -1 for an unknown name.
func severity(name string) int {
	return slices.Index([]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}, name)
}
