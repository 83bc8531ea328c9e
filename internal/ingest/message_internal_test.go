package ingest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// read is when the logs of the tests were last written.
var read = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func at(year int, month time.Month, day, hour, minute, second int) int64 {
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC).Unix()
}

func TestMessageParser(t *testing.T) {
	june := at(2021, 6, 10, 4, 0, 0)
	longHost := strings.Repeat("h", 60)
	for _, tt := range []struct {
		name, line    string
		syshost, text string
		seconds       int64
	}{
		// The forms of FORMATS.md, section 1.
		{"RFC 5424", `<14>1 2021-06-10T00:00:00.874026-04:00 vm XALT_LOGGING_oracle - - -  V:4 x`, "oracle", " - - -  V:4 x", june},
		{"rsyslog's file format", `2021-06-10T00:00:00.883030-04:00 p0199 XALT_LOGGING_pitzer: V:4 x`, "pitzer", ": V:4 x", june},
		{"traditional", `Jun 10 04:00:00 p0199 XALT_LOGGING_pitzer: V:4 x`, "pitzer", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},
		{"traditional, one digit", `Jun  9 04:00:00 p0199 XALT_LOGGING_pitzer: V:4 x`, "pitzer", ": V:4 x", at(2026, 6, 9, 4, 0, 0)},
		{"bare", `XALT_LOGGING_rios V:4 x`, "rios", " V:4 x", 0},
		{"grep", `23/owens.log:730359:2021-06-10T00:00:00.059291-04:00 o0442 XALT_LOGGING_owens: V:4 x`, "owens", ": V:4 x", june},
		{"grep of traditional", `owens.log:17:Jun 10 04:00:00 o0442 XALT_LOGGING_owens: V:4 x`, "owens", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},
		{"grep of bare", `owens.log:17:XALT_LOGGING_owens V:4 x`, "owens", " V:4 x", 0},
		{"grep of RFC 5424", `owens.log:<14>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_owens - - - V:4 x`, "owens", " - - - V:4 x", june},
		{"file name with the tag", `/var/XALT_LOGGING_x.log:2021-06-10T00:00:00-04:00 vm XALT_LOGGING_owens: V:4 x`, "owens", ": V:4 x", june},

		// The holes of go-syslog.
		{"no PRI", `1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_oracle - - - V:4 x`, "oracle", " - - - V:4 x", june},
		{"app-name over 48 bytes", `<14>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_` + longHost + ` - - - V:4 x`, longHost, " - - - V:4 x", june},
		{"control character in the header", "<14>1 2021-06-10T00:00:00-04:00 v\x01m XALT_LOGGING_oracle - - - V:4 x", "oracle", " - - - V:4 x", june},
		{"control character in the text", "<14>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_oracle - - - V:4 \x00\x07", "oracle", " - - - V:4 \x00\x07", june},
		{"bytes that are no text", "<14>1 2021-06-10T00:00:00-04:00 v\xff\xfem XALT_LOGGING_oracle - - - V:4 \xff", "oracle", " - - - V:4 \xff", june},
		{"PRI out of range", `<999>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_oracle - - - V:4 x`, "oracle", " - - - V:4 x", june},
		{"time that is none", `<14>1 yesterday vm XALT_LOGGING_oracle - - - V:4 x`, "oracle", " - - - V:4 x", 0},
		{"no time", `<14>1 - vm XALT_LOGGING_oracle - - - V:4 x`, "oracle", " - - - V:4 x", 0},
		{"host over 255 bytes", `<14>1 2021-06-10T00:00:00-04:00 ` + strings.Repeat("v", 300) + ` XALT_LOGGING_oracle - - - V:4 x`, "oracle", " - - - V:4 x", june},
		{"RFC 3164 with a PRI", `<14>Jun 10 04:00:00 vm XALT_LOGGING_oracle: V:4 x`, "oracle", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},
		{"RFC 3164 with a fraction", `<14>Jun 10 04:00:00.123456 vm XALT_LOGGING_oracle: V:4 x`, "oracle", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},
		{"traditional with a fraction", `Jun 10 04:00:00.123456 vm XALT_LOGGING_oracle: V:4 x`, "oracle", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},

		// Tags.
		{"process id", `Jun 10 04:00:00 vm XALT_LOGGING_oracle[4711]: V:4 x`, "oracle", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},
		{"process id in RFC 5424", `<14>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_oracle 4711 - - V:4 x`, "oracle", " 4711 - - V:4 x", june},
		{"without a syshost", `Jun 10 04:00:00 vm XALT_LOGGING: V:4 x`, "", ": V:4 x", at(2026, 6, 10, 4, 0, 0)},
		{"empty syshost", `XALT_LOGGING_ V:4 x`, "", " V:4 x", 0},
		{"the tag in the value too", `XALT_LOGGING_a: V:4 value:XALT_LOGGING_b: V:4`, "a", ": V:4 value:XALT_LOGGING_b: V:4", 0},
		{"a tab before the tag", "vm\tXALT_LOGGING_a: V:4", "a", ": V:4", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newMessageParser(read)
			for range 2 { // the second time by the header that is remembered
				m, ours := p.parse([]byte(tt.line))
				if !ours || string(m.syshost) != tt.syshost || string(m.text) != tt.text {
					t.Fatalf("parse(%q) = %q, %q, %t, want %q, %q", tt.line, m.syshost, m.text, ours, tt.syshost, tt.text)
				}
				if got := p.time(m); got != tt.seconds {
					t.Errorf("time of %q = %s, want %s", tt.line, time.Unix(got, 0).UTC(), time.Unix(tt.seconds, 0).UTC())
				}
			}
		})
	}
}

// TestForeignLines are not XALT's, though some speak of it.
func TestForeignLines(t *testing.T) {
	for _, text := range []string{
		"",
		"Jun 10 04:00:00 vm kernel: hello",
		"Jun 10 04:00:00 vm sudo: alice : TTY=pts/0 ; COMMAND=/usr/bin/logger -t XALT_LOGGING_x V:4 kind:run",
		"Jun 10 04:00:00 vm sudo[17]: alice : COMMAND=/usr/bin/logger -t XALT_LOGGING_x V:4 kind:run",
		"2021-06-10T00:00:00-04:00 vm sudo: alice : COMMAND=/usr/bin/logger -t XALT_LOGGING_x V:4 kind:run",
		"<85>1 2021-06-10T00:00:00-04:00 vm sudo 17 - -  COMMAND=/usr/bin/logger -t XALT_LOGGING_x V:4 kind:run",
		"<85>1 2021-06-10T00:00:00-04:00 vm sudo - - - alice XALT_LOGGING_x V:4 kind:run",
		"<85>Jun 10 04:00:00 vm sudo: alice -t XALT_LOGGING_x: V:4 kind:run",
		"Jun 10 04:00:00 vm rsyslogd: action XALT_LOGGING_x suspended",
		"Jun 10 04:00:00 vm MY_XALT_LOGGING_x: V:4 kind:run",
		"Jun 10 04:00:00 vm XALT_LOGGINGS: V:4 kind:run",
		"XALT_LOGGIN",
	} {
		if m, ours := newMessageParser(read).parse([]byte(text)); ours {
			t.Errorf("parse(%q) = %q, %q, want another program's line", text, m.syshost, m.text)
		}
	}
}

func TestTimeWithoutYear(t *testing.T) {
	for _, tt := range []struct {
		name      string
		reference time.Time
		stamp     string
		want      int64
	}{
		{"this year", read, "Nov 20 10:00:00", at(2026, 11, 20, 10, 0, 0)},
		{"last year", read, "Dec 31 23:59:59", at(2025, 12, 31, 23, 59, 59)},
		{"across New Year", time.Date(2027, 1, 1, 0, 5, 0, 0, time.UTC), "Dec 31 23:59:59", at(2026, 12, 31, 23, 59, 59)},
		{"after New Year", time.Date(2027, 1, 1, 0, 5, 0, 0, time.UTC), "Jan  1 00:00:01", at(2027, 1, 1, 0, 0, 1)},
		{"a clock that is ahead", read, "Nov 21 13:00:00", at(2026, 11, 21, 13, 0, 0)},
		{"ahead across New Year", time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC), "Jan  1 00:00:01", at(2027, 1, 1, 0, 0, 1)},
		{"a day ahead is a year ago", read, "Nov 23 13:00:00", at(2025, 11, 23, 13, 0, 0)},
		{"leap day", time.Date(2028, 3, 1, 0, 0, 0, 0, time.UTC), "Feb 29 10:00:00", at(2028, 2, 29, 10, 0, 0)},
		{"leap day before New Year", time.Date(2029, 1, 5, 0, 0, 0, 0, time.UTC), "Feb 29 10:00:00", at(2028, 2, 29, 10, 0, 0)},
		{"no time", read, "Nov 31 10:00:00", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := newMessageParser(tt.reference).time(message{stamp: []byte(tt.stamp)})
			if got != tt.want {
				t.Errorf("time(%q) = %s, want %s", tt.stamp, time.Unix(got, 0).UTC(), time.Unix(tt.want, 0).UTC())
			}
		})
	}
	zone := time.FixedZone("", -5*3600)
	got := newMessageParser(read.In(zone)).time(message{stamp: []byte("Nov 20 10:00:00")})
	if want := at(2026, 11, 20, 15, 0, 0); got != want {
		t.Errorf("in another zone = %s, want %s", time.Unix(got, 0).UTC(), time.Unix(want, 0).UTC())
	}
}

// TestRememberedHeader wants a header that was accepted to say nothing about
// another one.
func TestRememberedHeader(t *testing.T) {
	p := newMessageParser(read)
	if _, ours := p.parse([]byte("<14>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING_a - - - V:4")); !ours {
		t.Fatal("not ours")
	}
	for _, text := range []string{
		"<14>1 2021-06-10T00:00:00-04:00 vm sudo - - - XALT_LOGGING_a - - - V:4",
		"<14>1 2021-06-10T00:00:00-04:00 vm XALT_LOGGING XALT_LOGGINGS_a - - - V:4",
	} {
		if m, ours := p.parse([]byte(text)); ours && string(m.syshost) == "a" {
			t.Errorf("parse(%q) = %q, want another program's line", text, m.text)
		}
	}
}

func logFile(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "testdata"}, elem...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// FuzzParseMessage puts any header before a tag and a text behind it: the
// parser takes nothing from the one for the other, and remembering a header
// changes nothing.
func FuzzParseMessage(f *testing.F) {
	for _, header := range []string{
		"", "Jun 10 04:00:00 vm ", "<14>1 2021-06-10T00:00:00-04:00 vm ", "<14>Jun 10 04:00:00 vm ", "x.log:17:", "2021-06-10T00:00:00-04:00 p0199 ",
		"vm sudo: ", "<", "<>", "<1>2 : ",
	} {
		f.Add([]byte(header), []byte("pitzer"), []byte(": V:4 kind:run"))
	}
	f.Add([]byte("a"), []byte("[]x"), []byte("[1]: XALT_LOGGING_b: V:4"))
	f.Fuzz(func(t *testing.T, header, host, text []byte) {
		line := fmt.Appendf(nil, "%sXALT_LOGGING_%s%s", header, host, text)
		p := newMessageParser(read)
		m, ours := p.parse(line)
		again, oursAgain := p.parse(line)
		if ours != oursAgain || !bytes.Equal(m.text, again.text) || !bytes.Equal(m.syshost, again.syshost) || !bytes.Equal(m.stamp, again.stamp) {
			t.Fatalf("parse(%q) = %q, %t, then %q, %t", line, m, ours, again, oursAgain)
		}
		// Nor does it change another line.
		for _, stamp := range []string{"2022-01-02T03:04:05+01:00", "2022-01-02T03:04:05:", "17", "-", "17:", "x"} {
			if len(m.stamp) == 0 {
				break
			}
			other := bytes.Replace(line, m.stamp, []byte(stamp), 1)
			fresh, oursFresh := newMessageParser(read).parse(other)
			if again, oursAgain := p.parse(other); oursFresh != oursAgain || !bytes.Equal(fresh.text, again.text) || !bytes.Equal(fresh.syshost, again.syshost) || !bytes.Equal(fresh.stamp, again.stamp) {
				t.Fatalf("parse(%q) = %q, %t, after %q = %q, %t", other, fresh, oursFresh, line, again, oursAgain)
			}
			p.parse(line)
		}
		if !ours {
			return
		}
		if !bytes.HasSuffix(line, m.text) || bytes.ContainsAny(m.syshost, " :[") {
			t.Fatalf("parse(%q) = %q", line, m)
		}
		if p.time(m) > read.Add(24*time.Hour).Unix() && !bytes.ContainsRune(m.stamp, 'T') {
			t.Fatalf("time of %q is in the future", m.stamp)
		}
	})
}

func BenchmarkParseMessage(b *testing.B) {
	lines := bytes.Split(bytes.TrimSpace(logFile(b, "xalt.log")), []byte("\n"))
	total := 0
	for _, l := range lines {
		total += len(l)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	p := newMessageParser(read)
	for b.Loop() {
		for _, l := range lines {
			if _, ours := p.parse(l); !ours {
				b.Fatalf("%q is not ours", l)
			}
		}
	}
}
