package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"xaltpipe/internal/cli"
	"xaltpipe/internal/fileio"
	"xaltpipe/internal/ingest"
	"xaltpipe/internal/rmap"
	"xaltpipe/internal/store"
	"xaltpipe/internal/xalt"
)

// database are the flags of every sub-command that opens the database.
type database struct {
	fs       *pflag.FlagSet
	db       string
	conf     string
	config   string
	secret   bool // db came from where a password may stand
	timezone string
	version  bool
	once     []string // flags that are for one call: the configuration file does not give them
}

// defaultDB is the database in the working directory; packages configure
// another one.
const defaultDB = "sqlite:xalt.db"

func (d *database) define(name, text string, stdout io.Writer) {
	d.fs = cli.NewFlagSet("syslog2db "+name, text, stdout)
	d.fs.StringVar(&d.db, "db", "", "database `URL`: sqlite:FILE, postgres://USER@HOST/DB or mysql://USER@HOST/DB, with ?socket= or ?host=, tls=verify|require|off and ca=FILE (default: $XALT_DB, else "+defaultDB+")")
	d.fs.StringVar(&d.conf, "conf", "", "take the database from XALT's own `FILE`, xalt_db.conf; --db comes before it")
	d.fs.StringVar(&d.conf, "confFn", "", "the same `FILE` as --conf (XALT's name)")
	d.fs.StringVar(&d.timezone, "timezone", "", "time `ZONE` of the database's dates, such as UTC or Europe/Berlin; it is stored when the database is made, and another one later is refused (default: the host's)")
	d.fs.StringVar(&d.config, "config", "", "configuration `FILE`: TOML whose keys are the long flags (default: /etc/xaltpipe/syslog2db.toml if it is there)")
	d.fs.BoolVar(&d.version, "version", false, "print the version and exit")
}

// parse reads arguments, configuration and environment.
func (d *database) parse(args []string, stdout io.Writer) error {
	if err := cli.Parse(d.fs, args); err != nil {
		return err
	}
	if d.version {
		cli.PrintVersion(stdout, "syslog2db")
		return cli.Status(cli.OK)
	}
	given := d.db != "" || d.conf != ""
	confGiven := d.db == "" && d.conf != ""
	// One file serves all sub-commands: what the others know is no mistake here.
	var all readCommand
	all.define(io.Discard)
	lasting := pflag.NewFlagSet(d.fs.Name(), pflag.ContinueOnError)
	d.fs.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(d.once, f.Name) {
			lasting.AddFlag(f)
		}
	})
	if err := cli.Configure(lasting, "syslog2db", d.config, all.fs); err != nil {
		return err
	}
	if confGiven {
		d.db = "" // the command line comes before the configuration
	}
	if env := os.Getenv("XALT_DB"); !given && env != "" {
		d.db, d.conf, d.secret = env, "", true
	}
	if d.db == "" && d.conf == "" {
		d.db = defaultDB
	}
	return nil
}

// address is where the database is. A password in an argument can be read by
// everybody on the host.
func (d *database) address() (store.Address, error) {
	if d.db == "" {
		a, err := store.ReadConf(d.conf)
		if err != nil {
			return a, cli.UsageError("--conf: %w", err)
		}
		return a, nil
	}
	a, err := store.ParseURL(d.db)
	if err != nil {
		return a, cli.UsageError("--db: %w", err)
	}
	if a.Password != "" && !d.secret {
		return a, cli.UsageError("--db: %w: put it into $XALT_DB, ~/.pgpass, ~/.my.cnf or a file for --conf", store.ErrPassword)
	}
	return a, nil
}

// open opens the database; create says whether it may be made or updated.
func (d *database) open(ctx context.Context, create bool, stderr io.Writer) (*store.DB, error) {
	o := store.Options{Create: create, Waiting: func(err error) {
		if err == nil {
			note(stderr, "the database is there again")
		} else {
			note(stderr, "%v", err)
		}
	}}
	if d.timezone != "" {
		zone, err := time.LoadLocation(d.timezone)
		if err != nil {
			return nil, cli.UsageError("--timezone: %w", err)
		}
		o.Zone = zone
	}
	a, err := d.address()
	if err != nil {
		return nil, err
	}
	if a.Kind != "sqlite" {
		useServer()
	}
	db, err := store.Open(ctx, a, o)
	switch {
	case errors.Is(err, store.ErrZone):
		return nil, cli.UsageError("%w", err)
	case errors.Is(err, store.ErrZoneName):
		return nil, cli.UsageError("%w: give --timezone", err)
	}
	return db, err
}

// closeRead closes a database that was read, when a command returns err. What came
// out of one that changed meanwhile may be wrong, whatever it was.
func closeRead(db *store.DB, err *error) {
	if cerr := db.Close(); errors.Is(cerr, store.ErrChanged) {
		*err = cerr
	}
}

// reading are the flags of sub-commands that turn records into rows.
type reading struct {
	database
	maps        string
	accounts    string
	filter      string
	syshost     string
	full        bool
	quiet       bool
	verbose     bool
	debug       bool
	maxLine     int
	maxRecord   int
	batch       int
	keepWaiting int
}

func (r *reading) define(name, text string, stdout io.Writer) {
	r.database.define(name, text, stdout)
	fs := r.fs
	fs.StringVar(&r.maps, "reverseMapD", "", "`DIR[:DIR...]` of the reverse maps that name modules; DIR/<syshost>/ comes before DIR/")
	fs.StringVar(&r.accounts, "u2acct", "", "JSON `FILE` {\"user\": \"account\"}: account of a run that says unknown")
	fs.StringVar(&r.filter, "filter", "", "TOML `FILE` of rules: which records and environment variables to store")
	fs.StringVar(&r.syshost, "syshost", "", "read the records of machine `NAME` only")
	fs.BoolVarP(&r.verbose, "verbose", "v", false, "say which reverse maps are used, and explain the decisions that are out of the ordinary: bad lines and records, defaulted fields, filtered records")
	fs.BoolVarP(&r.debug, "debug", "D", false, "explain the decision on each record on standard error")
	fs.IntVar(&r.maxLine, "max-line", 64<<10, "longest line, in `BYTES`; longer ones are counted, and kept as dead letters if they are XALT's")
	fs.IntVar(&r.maxRecord, "max-record", 64<<20, "largest record, in `BYTES`, also after inflating")
	fs.IntVar(&r.keepWaiting, "keep-waiting", 30, "`DAYS` of log time after which an incomplete record becomes a dead letter")
}

// options makes the pipeline's options; maps, filter and accounts are read
// before anything else is.
func (r *reading) options(stderr io.Writer) (ingest.Options, error) {
	o := ingest.Options{
		Syshost: r.syshost, Full: r.full, MaxLine: r.maxLine, BatchRecords: r.batch,
		KeepWaiting: time.Duration(r.keepWaiting) * 24 * time.Hour,
		Limits:      xalt.Limits{Record: r.maxRecord, Inflated: r.maxRecord},
		Warn:        func(format string, args ...any) { note(stderr, format, args...) },
	}
	if r.maxLine < 256 || r.maxLine > 64<<20 {
		return o, cli.UsageError("--max-line is %d, not between 256 and %d", r.maxLine, 64<<20)
	}
	if r.maxRecord < 1024 || r.maxRecord > 1<<30 {
		return o, cli.UsageError("--max-record is %d, not between 1024 and %d", r.maxRecord, 1<<30)
	}
	if r.keepWaiting < 1 || r.keepWaiting > 36500 {
		return o, cli.UsageError("--keep-waiting is %d, not between 1 and 36500 days", r.keepWaiting)
	}
	if r.debug || r.verbose {
		level := slog.LevelInfo
		if r.debug {
			level = slog.LevelDebug
		}
		o.Debug = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))
	}
	if r.maps != "" {
		maps, err := ingest.OpenMaps(strings.Split(r.maps, ":"))
		if errors.Is(err, rmap.ErrNotFound) {
			return o, fmt.Errorf("%w in %s", rmap.ErrNotFound, r.maps)
		} else if err != nil {
			return o, err
		}
		o.Modules = maps
		if r.verbose || r.debug {
			note(stderr, "reverse maps: %s", strings.Join(maps.Files(), ", "))
		}
	}
	var err error
	if o.Filter, err = readFilter(r.filter); err != nil {
		return o, err
	}
	o.Accounts, err = readAccounts(r.accounts)
	return o, err
}

// sayNoMap tells that modules will not be named.
func (r *reading) sayNoMap(stderr io.Writer) {
	if r.maps == "" && !r.quiet {
		note(stderr, "no reverse map (--reverseMapD): modules are not named")
	}
}

// maxSetting bounds a file of settings, in bytes.
const maxSetting = 16 << 20

// readSetting reads a file of settings, which with --follow must be there to be
// read again.
func readSetting(name string) ([]byte, error) {
	f, err := fileio.Regular(name)
	if err != nil {
		return nil, cli.UsageError("%w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSetting+1))
	if err == nil && len(text) > maxSetting {
		err = fmt.Errorf("%s: larger than %d bytes", name, maxSetting)
	}
	if err != nil {
		return nil, cli.UsageError("%w", err)
	}
	return text, nil
}

func readFilter(name string) (*ingest.Filter, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no filter keeps everything
	}
	text, err := readSetting(name)
	if err != nil {
		return nil, err
	}
	f, err := ingest.ParseFilter(text, name)
	if err != nil {
		return nil, cli.UsageError("%w", err)
	}
	return f, nil
}

func readAccounts(name string) (map[string]string, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // no defaults
	}
	text, err := readSetting(name)
	if err != nil {
		return nil, err
	}
	var table map[string]string
	if err := json.Unmarshal(text, &table); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, cli.UsageError("%s: offset %d: %w", name, syntax.Offset, err)
		}
		return nil, cli.UsageError("%s: %w", name, err)
	}
	return ingest.ParseAccounts(table), nil
}
