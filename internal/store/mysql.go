package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/klauspost/compress/zlib"

	"xaltpipe/internal/ingest"
)

// mysqlDialect is MySQL's and MariaDB's; what the servers differ in is filled
// in when the version is known.
var mysqlDialect = dialect{
	name: "mysql",
	types: schemaTypes{
		Serial: "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY", Int: "BIGINT", Real: "DOUBLE", Text: "LONGTEXT", Name: "VARCHAR(64)",
		Time: "DATETIME", Hash: "BINARY(16)", Blob: "LONGBLOB", Packed: "LONGBLOB", User: "`user`", quote: "`", prefix: true,
		date: "CAST(%s AS DATE)",
	},
	begin:     []string{"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"},
	beginLook: []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY"},
	lock:      lockRow,
	sign:      signRow,
	aside:     true,
	maxParams: 65535,
	maxBytes:  ingest.MaxTexts,
	upsert: func(_, columns []string) string {
		var set []string
		for _, c := range columns {
			set = append(set, c+" = VALUES("+c+")") // the spelling that MySQL and MariaDB share
		}
		return " ON DUPLICATE KEY UPDATE " + strings.Join(set, ", ")
	},
	keep:       func(key []string) string { return " ON DUPLICATE KEY UPDATE " + key[0] + " = " + key[0] },
	savepoints: true,
	// Without a cast, a value's type and length would be those of the first
	// time. Text, for which there is no such cast, does not change often.
	typed: func(t string) string {
		switch t {
		case "BIGINT":
			return "CAST(? AS SIGNED)"
		case "DOUBLE":
			return "CAST(? AS DOUBLE)"
		case "DATETIME":
			return "CAST(? AS DATETIME)"
		case "BINARY":
			return "CAST(? AS BINARY(16))"
		}
		return ""
	},
	updateQuery: func(table, key string, columns, values []string, n int) string {
		names := make([]string, len(values))
		for i, v := range values {
			names[i] = fmt.Sprintf("%s AS c%d", v, i)
		}
		more := strings.Repeat(" UNION ALL SELECT "+join(values), n-1)
		return fmt.Sprintf("UPDATE %s JOIN (SELECT %s%s) v ON %s.%s = v.c%d SET %s",
			table, join(names), more, table, key, len(columns), assignments(columns))
	},
	classify: classifyMySQL,
}

// mysqlConfig is for an address that is complete.
func mysqlConfig(a Address) (*mysql.Config, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = a.User, a.Password, a.Database
	c.Net, c.Addr = "tcp", net.JoinHostPort(cmp.Or(a.Host, "localhost"), strconv.Itoa(cmp.Or(a.Port, 3306)))
	if a.Socket != "" {
		c.Net, c.Addr = "unix", a.Socket
	}
	c.Timeout = 20 * time.Second
	c.Logger = &mysql.NopLogger{} // what it would say comes back as an error
	c.MaxAllowedPacket = 0        // ask the server
	c.Collation = "utf8mb4_bin"
	// LOAD DATA LOCAL reads from handlers that this process registers, never
	// from files that a server names.
	c.AllowAllFiles = false
	c.Params = map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
		"innodb_lock_wait_timeout": "600",
		// What a server may have set otherwise for all, and would change results.
		"autocommit":       "1",
		"completion_type":  "0",
		"sql_select_limit": "18446744073709551615", // DEFAULT would be the server's
	}
	mode := a.tls()
	if mode == "off" {
		return c, nil
	}
	c.TLS = &tls.Config{ServerName: a.Host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: mode == "require"} //nolint:gosec // it was asked for
	if a.CAFile != "" {
		pem, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", a.CAFile)
		}
		c.TLS.RootCAs = roots
		if mode == "require" { // as with PostgreSQL: who signed it is checked, the name is not
			c.TLS.VerifyConnection = func(state tls.ConnectionState) error {
				o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
				for _, cert := range state.PeerCertificates[1:] {
					o.Intermediates.AddCert(cert)
				}
				_, err := state.PeerCertificates[0].Verify(o)
				return err
			}
		}
	}
	return c, nil
}

func openMySQL(ctx context.Context, a Address, tell func(error)) (*sql.DB, dialect, error) {
	d := mysqlDialect
	if err := a.complete(); err != nil {
		return nil, d, err
	}
	c, err := mysqlConfig(a)
	if err != nil {
		return nil, d, err
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, d, errors.New("mysql: the address cannot be used")
	}
	pool := sql.OpenDB(greeted{connector})
	pool.SetMaxOpenConns(poolSize)
	pool.SetMaxIdleConns(poolIdle)
	var version, localInfile string
	var packet int
	server := &DB{name: a.String(), dialect: d, now: time.Now, tell: tell}
	err = server.retryFor(ctx, openTotal, func() error {
		return pool.QueryRowContext(ctx, "SELECT VERSION(), @@local_infile, @@max_allowed_packet").Scan(&version, &localInfile, &packet)
	})
	if err != nil {
		pool.Close()
		return nil, d, err
	}
	// Text compares as bytes, and blanks at its end count.
	collation := "utf8mb4_0900_bin"
	if strings.Contains(version, "MariaDB") {
		collation = "utf8mb4_nopad_bin"
	}
	d.types.Options = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=" + collation
	d.types.Clustered = d.types.Options
	d.packer = &packer{}
	d.maxBytes = min(d.maxBytes, packet/4*3) // the rest is for what goes with them
	d.bulkWay = "INSERT of many rows, as the server has local_infile off"
	if localInfile == "1" {
		d.bulk, d.bulkWay = loadData, "LOAD DATA LOCAL"
	}
	return pool, d, nil
}

// greeted connects. If the connection is lost while server and driver greet each
// other, the driver returns an error that it does not export, and that is not
// [driver.ErrBadConn] except for its text.
type greeted struct{ driver.Connector }

func (g greeted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := g.Connector.Connect(ctx)
	if err != nil && err.Error() == "bad connection" {
		err = driver.ErrBadConn
	}
	return conn, err
}

// loads numbers the readers of LOAD DATA LOCAL.
var loads atomic.Int64

// loadData adds rows with LOAD DATA LOCAL, which is about as fast as the server
// can be. It implies IGNORE: what does not fit is cut or dropped with a warning
// only, so a warning, or a row too few, is an error here, and the transaction
// with it.
func loadData(ctx context.Context, c *connection, table string, columns []string, rows [][]any) error {
	name := "xaltpipe" + strconv.FormatInt(loads.Add(1), 10)
	mysql.RegisterReaderHandler(name, func() io.Reader { return &tabReader{rows: rows} })
	defer mysql.DeregisterReaderHandler(name)
	// As bytes: texts are UTF-8 already, which the server checks.
	query := "LOAD DATA LOCAL INFILE 'Reader::" + name + "' INTO TABLE " + table +
		` CHARACTER SET binary FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (` + join(columns) + ")"
	res, err := c.conn.ExecContext(ctx, query)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	var warnings int64
	if err := c.conn.QueryRowContext(ctx, "SELECT @@warning_count").Scan(&warnings); err != nil {
		return err
	}
	if warnings > 0 || n != int64(len(rows)) {
		return fmt.Errorf("%w: %d of %d rows of %s arrived, with %d warnings", errBulk, n, len(rows), table, warnings)
	}
	return nil
}

// tabReader writes rows as LOAD DATA reads them.
type tabReader struct {
	rows [][]any
	buf  bytes.Buffer
}

func (t *tabReader) Read(p []byte) (int, error) {
	for t.buf.Len() < len(p) && len(t.rows) > 0 {
		for i, v := range t.rows[0] {
			if i > 0 {
				t.buf.WriteByte('\t')
			}
			t.field(v)
		}
		t.buf.WriteByte('\n')
		t.rows = t.rows[1:]
	}
	if t.buf.Len() == 0 {
		return 0, io.EOF
	}
	return t.buf.Read(p)
}

const tabSpecial = "\\\t\n\r\x00"

var tabEscapes = strings.NewReplacer("\\", `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)

func (t *tabReader) field(v any) {
	switch v := v.(type) {
	case nil:
		t.buf.WriteString(`\N`)
	case string:
		if strings.ContainsAny(v, tabSpecial) {
			v = tabEscapes.Replace(v)
		}
		t.buf.WriteString(v)
	case []byte:
		for start := 0; ; {
			n := slices.IndexFunc(v[start:], func(b byte) bool { return b <= '\\' && strings.IndexByte(tabSpecial, b) >= 0 })
			if n < 0 {
				t.buf.Write(v[start:])
				return
			}
			n += start
			t.buf.Write(v[start:n])
			t.buf.WriteString(tabEscapes.Replace(string(v[n : n+1])))
			start = n + 1
		}
	case int:
		t.buf.WriteString(strconv.Itoa(v))
	case int64:
		t.buf.WriteString(strconv.FormatInt(v, 10))
	case float64:
		t.buf.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	default:
		fmt.Fprintf(&t.buf, "%v", v)
	}
}

// pack writes text as MySQL's COMPRESS() does, so that UNCOMPRESS() reads it:
// the length in four bytes, low byte first, then zlib.
func (p *packer) pack(text string) []byte {
	if text == "" {
		return []byte{}
	}
	p.buf.Reset()
	_ = binary.Write(&p.buf, binary.LittleEndian, uint32(len(text))) // a Buffer takes everything
	if len(text) < packedBytes {
		p.store(text)
		return p.packed()
	}
	if p.z == nil {
		var err error
		if p.z, err = zlib.NewWriterLevel(&p.buf, zlib.BestSpeed); err != nil {
			panic(err) // the level is a constant
		}
	} else {
		p.z.Reset(&p.buf)
	}
	_, _ = io.WriteString(p.z, text)
	_ = p.z.Close()
	return p.packed()
}

// packedBytes is from what length on a text is made smaller: a short one hardly
// becomes so (120 bytes of 133, on average, of command lines of the model log).
const packedBytes = 256

// store writes text as zlib does what it cannot make smaller: one stored block
// (RFC 1951, section 3.2.4) and the checksum (RFC 1950).
func (p *packer) store(text string) {
	n := uint16(len(text))
	head := [...]byte{0x78, 0x01, 0x01, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)}
	p.buf.Write(head[:])
	p.buf.WriteString(text)
	p.buf.Write(binary.BigEndian.AppendUint32(nil, adler32.Checksum([]byte(text))))
}

// packed returns a copy of what is in the buffer.
func (p *packer) packed() []byte {
	if b := p.buf.Bytes(); b[len(b)-1] == ' ' { // COMPRESS() does the same: a blank at the end could be trimmed
		p.buf.WriteByte('.')
	}
	return bytes.Clone(p.buf.Bytes())
}

// packer packs texts one after the other: its tables, most of a megabyte, are
// used again.
type packer struct {
	buf bytes.Buffer
	z   *zlib.Writer // nil until the first text
}

// unpackers are readers of zlib; a new one takes longer than most texts.
var unpackers sync.Pool

// unpack reads what pack or COMPRESS() wrote.
func unpack(packed []byte) (string, error) {
	if len(packed) == 0 {
		return "", nil
	}
	if len(packed) < 5 {
		return "", errors.New("compressed text is cut off")
	}
	z, _ := unpackers.Get().(io.ReadCloser)
	var err error
	if from := bytes.NewReader(packed[4:]); z == nil {
		z, err = zlib.NewReader(from)
	} else {
		err = z.(zlib.Resetter).Reset(from, nil)
	}
	if err != nil {
		return "", fmt.Errorf("compressed text: %w", err)
	}
	defer unpackers.Put(z)
	size := binary.LittleEndian.Uint32(packed) & 0x3FFFFFFF
	text, err := io.ReadAll(io.LimitReader(z, int64(size)+1))
	if err != nil || len(text) != int(size) {
		return "", fmt.Errorf("compressed text: %d bytes instead of %d: %w", len(text), size, err)
	}
	return string(text), nil
}

// classifyMySQL sorts errors by the server's numbers.
func classifyMySQL(err error) errorClass {
	var my *mysql.MySQLError
	switch {
	case errors.Is(err, mysql.ErrInvalidConn):
		return transient
	case errors.Is(err, mysql.ErrPktTooLarge):
		return badData
	case !errors.As(err, &my):
		return classifyConnection(err)
	}
	switch my.Number {
	case 1205, 1213, // lock wait timeout, deadlock
		1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1290, 1836, 1927, 2006, 2013, 3024, // connections, shutdown, read-only
		1203, 1226, // too many connections of a user: the server's limit, and the user's own
		4031: // MySQL: idle for longer than wait_timeout
		return transient
	case 1048, 1062, 1153, 1264, 1292, 1366, 1406, 1411, 1690, 3819, 3988, 4025:
		return badData
	case 1105: // anything; among others a value that is too long for a statement
		if strings.Contains(my.Message, "max_allowed_packet") {
			return badData
		}
	}
	return fatal
}
