package emit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// ConfigFile is read if the environment names no other.
const ConfigFile = "/etc/xaltpipe/xalt-wrap.toml"

// maxConfig bounds the configuration file, in bytes.
const maxConfig = 1 << 20

// Transports.
const (
	TransportSyslog = "syslog" // a local socket, as syslog(3)
	TransportUDP    = "udp"
	TransportTCP    = "tcp"
	TransportTLS    = "tls"
	TransportFile   = "file"
	TransportStdout = "stdout"
	TransportNone   = "none"
)

// What SOURCE_DATE_EPOCH makes of a link's watermark.
const (
	ReproducibleDerive = "derive"
	ReproducibleOmit   = "omit"
	ReproducibleIgnore = "ignore"
)

// Formats of a syslog message.
const (
	FormatRFC3164 = "rfc3164"
	FormatRFC5424 = "rfc5424"
)

// Config is what a site decides. The TOML keys are the manual's.
type Config struct {
	Syshost     string       `toml:"syshost"`      // the machine's name
	SyshostEnv  string       `toml:"syshost-env"`  // or the variable that holds it
	SyshostPart int          `toml:"syshost-part"` // or which part of the host name it is, from 1
	SyshostMap  []SyshostMap `toml:"syshost-map"`  // or what patterns of the host name stand for

	Transport string   `toml:"transport"`
	Format    string   `toml:"format"` // default: RFC 3164 for the local socket, RFC 5424 for a server
	Socket    string   `toml:"socket"`
	Server    string   `toml:"server"` // host:port
	CAFile    string   `toml:"ca-file"`
	Facility  string   `toml:"facility"`
	Severity  string   `toml:"severity"`
	Directory string   `toml:"directory"` // of the transport file
	FileMode  string   `toml:"file-mode"` // octal
	BlockSize int      `toml:"block-size"`
	Deadline  Duration `toml:"deadline"` // for sending one record
	// EndWait is how long the end of a program may be delayed by its record; nil:
	// at most as long as it ran, and [DefaultEndWait].
	EndWait *Duration `toml:"end-wait"`

	Spool     string `toml:"spool"`
	SpoolSize int64  `toml:"spool-size"` // bytes for each user

	Rules       []Rule   `toml:"rule"`
	Probability *float64 `toml:"probability"`
	Tools       []string `toml:"tools"` // more names of tools that no wrapper may come before

	HashLimit     int64 `toml:"hash-limit"` // bytes of files that are hashed for one record
	HashLibraries bool  `toml:"hash-libraries"`

	Env              []string `toml:"env"`               // replaces the built-in list of names that are kept
	EnvAdd           []string `toml:"env-add"`           // names that are kept as well
	TrackedLibraries string   `toml:"tracked-libraries"` // file with names of libraries whose functions are recorded at links
	Reproducible     string   `toml:"reproducible"`      // the watermark with SOURCE_DATE_EPOCH; default: derive

	NoRedact    bool     `toml:"no-redact"`
	RedactFlags []string `toml:"redact-flags"` // more flags whose values are secret
}

// Duration is a time.Duration that TOML writes as "50ms".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err == nil && (v <= 0 || v > time.Minute) {
		err = fmt.Errorf("%q is not between 0 and one minute", text)
	}
	*d = Duration(v)
	return err
}

// MarshalText writes a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Text writes the configuration as TOML.
func (c *Config) Text() ([]byte, error) { return toml.Marshal(c) }

// DefaultEndWait is the most that a program's end is delayed by its record.
const DefaultEndWait = 100 * time.Millisecond

// SyshostMap names the machine of hosts whose name matches the pattern.
type SyshostMap struct {
	Host string `toml:"host"`
	Name string `toml:"name"`
}

// Default is the compiled-in configuration.
func Default() Config {
	return Config{
		Transport: TransportSyslog, Socket: "/dev/log", Facility: "user", Severity: "info", FileMode: "0640",
		BlockSize: 512, Deadline: Duration(50 * time.Millisecond),
		SpoolSize: 16 << 20, HashLimit: 2 << 30, Env: defaultEnv(),
	}
}

// Load reads the configuration that the environment names in
// XALT_WRAP_CONFIG, or else the one in [ConfigFile], if it is there. After an
// error the returned configuration is the compiled-in one, and usable.
func Load(getenv func(string) string) (Config, error) {
	path := getenv("XALT_WRAP_CONFIG")
	if path != "" {
		return read(path)
	}
	c, err := read(ConfigFile)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return c, err
}

func read(path string) (Config, error) {
	// os.Open would set up the runtime's poller first, for which a launch waits.
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	for errors.Is(err, syscall.EINTR) {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	}
	if err != nil {
		return Default(), fmt.Errorf("read configuration: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return Default(), fmt.Errorf("read configuration %s: not a file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return Default(), fmt.Errorf("read configuration: %w", err)
	}
	if len(text) > maxConfig {
		return Default(), fmt.Errorf("read configuration %s: more than %d bytes", path, maxConfig)
	}
	c, err := Parse(text)
	if err != nil {
		return Default(), fmt.Errorf("%s:%w", path, err)
	}
	return c, nil
}

// Parse reads a configuration. The error begins with line and column, or a
// blank.
func Parse(text []byte) (Config, error) {
	c := Default()
	d := toml.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(missing.Errors) > 0 {
			row, col := missing.Errors[0].Position()
			return Default(), fmt.Errorf("%d:%d: unknown key %q", row, col, strings.Join(missing.Errors[0].Key(), "."))
		}
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, col := de.Position()
			return Default(), fmt.Errorf("%d:%d: %w", row, col, err)
		}
		return Default(), fmt.Errorf(" %w", err)
	}
	if err := c.Check(); err != nil {
		return Default(), fmt.Errorf(" %w", err)
	}
	return c, nil
}

// Check tells what is wrong with the settings, each with its key.
func (c *Config) Check() error {
	one := func(key, value string, of ...string) error {
		if !slices.Contains(of, value) {
			return fmt.Errorf("%s: %q is none of %s", key, value, strings.Join(of, ", "))
		}
		return nil
	}
	errs := []error{
		one("transport", c.Transport, TransportSyslog, TransportUDP, TransportTCP, TransportTLS, TransportFile, TransportStdout, TransportNone),
		one("reproducible", c.Reproducible, "", ReproducibleDerive, ReproducibleOmit, ReproducibleIgnore),
		one("format", c.Format, "", FormatRFC3164, FormatRFC5424),
	}
	if c.Facility == "" || facility(c.Facility) < 0 {
		errs = append(errs, fmt.Errorf("facility: %q is none of syslog's", c.Facility))
	}
	if severity(c.Severity) < 0 {
		errs = append(errs, fmt.Errorf("severity: %q is none of syslog's", c.Severity))
	}
	if c.BlockSize < minBlock || c.BlockSize > maxBlock {
		errs = append(errs, fmt.Errorf("block-size: %d is not between %d and %d", c.BlockSize, minBlock, maxBlock))
	}
	if c.Syshost != "" && !ValidSyshost(c.Syshost) {
		errs = append(errs, fmt.Errorf("syshost: %q is no machine's name", c.Syshost))
	}
	for _, m := range c.SyshostMap {
		if !ValidSyshost(m.Name) {
			errs = append(errs, fmt.Errorf("syshost-map: %q is no machine's name", m.Name))
		}
	}
	if p := c.Probability; p != nil && !(*p >= 0 && *p <= 1) {
		errs = append(errs, fmt.Errorf("probability: %v is not between 0 and 1", *p))
	}
	switch c.Transport {
	case TransportUDP, TransportTCP, TransportTLS:
		if c.Server == "" {
			errs = append(errs, fmt.Errorf("server: the transport %s needs one", c.Transport))
		}
	case TransportFile:
		if !strings.HasPrefix(c.Directory, "/") {
			errs = append(errs, errors.New("directory: the transport file needs an absolute one"))
		}
	}
	if c.Spool != "" && !strings.HasPrefix(c.Spool, "/") {
		errs = append(errs, errors.New("spool: not an absolute path"))
	}
	if _, err := c.fileMode(); err != nil {
		errs = append(errs, err)
	}
	for i := range c.Rules {
		if err := c.Rules[i].check(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// Bounds of a block: a syslog message may have 1024 bytes by RFC 3164, and
// what the header takes is about 150.
const minBlock, maxBlock = 64, 16384

func (c *Config) fileMode() (fs.FileMode, error) {
	var mode uint32
	if n, err := fmt.Sscanf(c.FileMode, "%o", &mode); n != 1 || err != nil || mode > 0o777 {
		return 0, fmt.Errorf("file-mode: %q is no octal mode", c.FileMode)
	}
	return fs.FileMode(mode), nil
}
