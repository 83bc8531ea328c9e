package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"xaltpipe/internal/oracle"
)

// wireLine is XALT 3.2.4's form of a line, with its order of fields.
var wireLine = regexp.MustCompile(`^XALT_LOGGING_oracle V:4 kind:(link|run|pkg|skip) syshost:oracle key:(\S+) crcStr:(0x[0-9A-F]{4}) nb:(\d\d) idx:(\d\d) value:(.*)\n$`)

// wireKeys are the forms of keys.
var wireKeys = map[string]*regexp.Regexp{
	"link": regexp.MustCompile(`^link_` + uuid7 + `$`),
	"run":  regexp.MustCompile(`^run_(strt|fini)_` + uuid7 + `$`),
	"pkg":  regexp.MustCompile(`^pkg_` + uuid7 + `_[0-9a-f]{12}$`),
	"skip": regexp.MustCompile(`^skip_` + uuid7 + `$`),
}

const uuid7 = `[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`

// wireMembers are the members of records in XALT's order, one inside another
// with a dot; ours are the exit status and signal, and all of skip.
var wireMembers = map[string]string{
	"run": "crc cmdlineA hash_id libA ptA envT userT userDT xaltLinkT XALT_measureT XALT_qaT",
	"link": "crc resultT resultT.uuid resultT.link_program resultT.link_path resultT.build_user resultT.build_epoch resultT.exec_path " +
		"resultT.hash_id resultT.wd resultT.build_syshost resultT.build_host linkA function link_line",
	"pkg":  "crc program xalt_run_uuid package_name package_version package_path",
	"skip": "crc uuid epoch syshost user role program reason",
}

// definedCRC is the CRC by its definition, as records write it.
func definedCRC(text string) string { return fmt.Sprintf("0x%04X", oracle.CRC(text)) }

// members lists an object's members in their order, those of objects inside
// behind a dot if deep asks for them.
func members(t *testing.T, text []byte, prefix string, deep func(string) bool) (names []string) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(prefix, name))
		if deep(fmt.Sprint(name)) {
			names = append(names, members(t, value, fmt.Sprint(name, "."), deep)...)
		}
	}
	return names
}

// TestWireFormat reads records of every kind by the letter of the format, with
// nothing of what the product reads them with.
func TestWireFormat(t *testing.T) {
	if got := definedCRC("123456789"); got != "0x29B1" {
		t.Fatalf("the check value is %s", got)
	}
	s := newSite(t, "transport = 'stdout'")
	dir := t.TempDir()
	if err := os.Symlink(wrapBinary(), filepath.Join(dir, "ld")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.c"), []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	script := wrapBinary() + " pkg --program python --name näme --version 1.26 --path /opt/numpy; " +
		"LOADEDMODULES=totalview/1 " + wrapBinary() + " -- /bin/true; " + tool(t, "gcc") + " -B" + dir + "/ -o " + dir + "/ä " + dir + "/a.c"
	out := runCommand(t, s.command(true, "/bin/sh", "-c", script, "sh", "ü", "\xff", "𝄞", strings.Repeat("long ", 300)))
	if out.stderr != "" || out.status != 0 {
		t.Fatalf("%+v", out)
	}
	type block struct{ kind, crc, value string }
	records := make(map[string][]block)
	for line := range strings.Lines(out.stdout) {
		m := wireLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("not a line of XALT's: %q", line)
		}
		if !wireKeys[m[1]].MatchString(m[2]) {
			t.Errorf("key %q of kind %s", m[2], m[1])
		}
		if n, err := strconv.Atoi(m[5]); err != nil || n != len(records[m[2]]) {
			t.Errorf("%s: block %s is number %d", m[2], m[5], len(records[m[2]]))
		}
		records[m[2]] = append(records[m[2]], block{m[1], m[3], m[6]})
	}
	seen := make(map[string]int)
	for key, blocks := range records {
		var text strings.Builder
		for i, b := range blocks {
			if len(b.value) != 512 && (i < len(blocks)-1 || b.value == "" || len(b.value) > 512) {
				t.Errorf("%s: block %d of %d has %d bytes", key, i, len(blocks), len(b.value))
			}
			if b.kind != blocks[0].kind || b.crc != blocks[0].crc {
				t.Errorf("%s: block %d is of another record", key, i)
			}
			text.WriteString(b.value)
		}
		crc, record := blocks[0].crc, text.String()
		seen[blocks[0].kind]++
		rest, ok := strings.CutPrefix(record, `{"crc":"`+crc+`"`)
		if !ok {
			t.Errorf("%s begins with %.40q, not with its CRC %s", key, record, crc)
		}
		if got := definedCRC(`{"crc":"0xFFFF"` + rest); got != crc {
			t.Errorf("%s: CRC %s, want %s", key, crc, got)
		}
		if strings.ContainsFunc(record, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s is not of printable ASCII: %q", key, record)
		}
		if !json.Valid([]byte(record)) {
			t.Fatalf("%s is not JSON: %s", key, record)
		}
		got := members(t, []byte(record), "", func(name string) bool { return name == "resultT" })
		if want := strings.Fields(wireMembers[blocks[0].kind]); !slices.Equal(got, want) {
			t.Errorf("%s has members %q, want %q", key, got, want)
		}
	}
	// The shell's run begins and ends; the rest once.
	if want := map[string]int{"run": 2, "link": 1, "pkg": 1, "skip": 1}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("records %v, want %v", seen, want)
	}
	for key, blocks := range records {
		if n := strings.Count(out.stdout, " key:"+key+" crcStr:"+blocks[0].crc+fmt.Sprintf(" nb:%02d ", len(blocks))); n != len(blocks) {
			t.Errorf("%s: %d lines of %d say how many there are", key, n, len(blocks))
		}
	}
}
