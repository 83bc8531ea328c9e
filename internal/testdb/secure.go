package testdb

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Secure is a server on a loopback port that lets its user in over TLS only,
// and with a password.
type Secure struct {
	Host, Port     string
	User, Password string
	Database       string
	CA             string // file with the certificate that signed the server's, which is for Host
	OtherCA        string // the same for a certificate that has nothing to do with it

	driver, dsn string
}

// Admin opens a connection with all rights; the test closes it.
func (s Secure) Admin(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open(s.driver, s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// NewSecure starts a server of a kind that has one, for one test.
func NewSecure(t testing.TB, kind string) Secure {
	t.Helper()
	return NewSecureOn(t, kind, "127.0.0.1")
}

// NewSecureOn starts a server that listens on a loopback address of its own.
func NewSecureOn(t testing.TB, kind, host string) Secure {
	t.Helper()
	certs := t.TempDir()
	s := Secure{Host: host, User: "secure", Password: "p@ss:w/o'rd", Database: "secure"}
	ca := certificate(t, nil, filepath.Join(certs, "ca"))
	s.CA = filepath.Join(certs, "ca.crt")
	certificate(t, nil, filepath.Join(certs, "other"))
	s.OtherCA = filepath.Join(certs, "other.crt")

	l, err := net.Listen("tcp", net.JoinHostPort(s.Host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	_ = l.Close() // free for the server

	server := &server{}
	server.command = func(dir string) (*exec.Cmd, error) {
		// In a directory that will be the server's user's own.
		name := filepath.Join(dir, "server")
		certificate(t, ca, name)
		inside := systemOf(kind).inside(name)
		var cmd *exec.Cmd
		var err error
		if kind == "postgres" {
			cmd, err = startPostgres(dir, "-h", s.Host, "-p", s.Port, "-c", "password_encryption=scram-sha-256", "-c", "ssl=on", "-c", "ssl_cert_file="+inside+".crt", "-c", "ssl_key_file="+inside+".key")
			if err == nil {
				hba := "local all all trust\nhostssl all all samehost scram-sha-256\n"
				err = os.WriteFile(filepath.Join(dir, "data", "pg_hba.conf"), []byte(hba), 0o600)
			}
		} else {
			cmd, err = startMySQL(dir, "--skip-networking=0", "--bind-address="+s.Host, "--port="+s.Port, "--ssl-cert="+inside+".crt", "--ssl-key="+inside+".key")
		}
		if err == nil && cmd.SysProcAttr.Credential != nil {
			c := cmd.SysProcAttr.Credential
			err = os.Chown(name+".key", int(c.Uid), int(c.Gid))
		}
		return cmd, err
	}
	t.Cleanup(server.stop)
	server.port = s.Port
	server.start(kind)
	server.check(t, kind)

	s.driver, s.dsn = server.driver(kind)
	admin := s.Admin(t)
	statements := []string{
		"CREATE USER secure@'%' IDENTIFIED BY 'p@ss:w/o''rd' REQUIRE SSL",
		"CREATE DATABASE secure",
		"GRANT ALL ON secure.* TO secure@'%'",
	}
	if kind == "postgres" {
		statements = []string{"CREATE ROLE secure LOGIN PASSWORD 'p@ss:w/o''rd'", "CREATE DATABASE secure OWNER secure"}
	}
	for _, statement := range statements {
		if _, err := admin.ExecContext(context.Background(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return s
}

// signer is a certificate with its key.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// certificate writes NAME.crt and NAME.key: an authority if by is nil, else a
// server's certificate for the loopback addresses.
func certificate(t testing.TB, by *signer, name string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: filepath.Base(name)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	parent := &signer{template, key}
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent = by
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		mode := os.FileMode(0o600)
		if file == ".crt" {
			mode = 0o644
		}
		if err := os.WriteFile(name+file, pem.EncodeToMemory(block), mode); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{made, key}
}
