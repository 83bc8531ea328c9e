package xalt_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"xaltpipe/internal/xalt"
)

const runKey = "run_fini_01a1f857-8ff2-77c7-b206-21bd6d9f3d9a"

// block returns the block that most rows of TestParseBlock speak of.
func block(change func(*xalt.Block)) xalt.Block {
	b := xalt.Block{
		Version: 4, Kind: []byte("run"), Syshost: []byte("rios"), Key: []byte(runKey),
		HasCRC: true, CRC: 0x1A2B, Index: 1, Count: 3, Value: []byte(`{"a":1}`),
	}
	if change != nil {
		change(&b)
	}
	return b
}

func noCRC(b *xalt.Block) { b.HasCRC, b.CRC = false, 0 }

func TestParseBlock(t *testing.T) {
	const key = "key:" + runKey
	for _, tt := range []struct {
		name, text string
		want       xalt.Block
	}{
		// The orders of FORMATS.md, section 1.
		{"kind idx nb syshost key", " V:4 kind:run idx:1 nb:3 syshost:rios " + key + ` value:{"a":1}`, block(noCRC)},
		{"kind nb syshost key idx", " V:4 kind:run nb:3 syshost:rios " + key + ` idx:1 value:{"a":1}`, block(noCRC)},
		{"kind nb syshost key crc idx", " V:4 kind:run nb:3 syshost:rios " + key + ` crc:0x1A2B idx:1 value:{"a":1}`, block(nil)},
		{"kind nb syshost key crcStr idx", " V:4 kind:run nb:3 syshost:rios " + key + ` crcStr:0x1A2B idx:1 value:{"a":1}`, block(nil)},
		{"kind idx nb syshost crcStr key", " V:4 kind:run idx:1 nb:3 syshost:rios crcStr:0x1A2B " + key + ` value:{"a":1}`, block(nil)},
		{"3.2.4", " V:4 kind:run syshost:rios " + key + ` crcStr:0x1A2B nb:03 idx:01 value:{"a":1}`, block(nil)},
		{"idx and crc before kind", " V:4 idx:1 crc:0x1a2b nb:3 " + key + ` syshost:rios kind:run value:{"a":1}`, block(nil)},

		// What may stand between tag and version.
		{"colon", ": V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"RFC 5424", " - - -  V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"nothing", "V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"procid", " 4711 - -  V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"repeated", ": message repeated 2 times: [ V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}]`, block(nil)},
		{"not repeated", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:["a"]`, block(func(b *xalt.Block) { b.Value = []byte(`["a"]`) })},

		// Versions.
		{"version 2", " V:2 kind:run syshost:rios " + key + ` nb:3 idx:1 value:eJyr`, block(func(b *xalt.Block) { noCRC(b); b.Version, b.Value = 2, []byte("eJyr") })},
		{"version 3", " V:3 kind:run syshost:rios " + key + ` nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { noCRC(b); b.Version = 3 })},
		{"version 3 has no CRC", " V:3 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { noCRC(b); b.Version = 3 })},
		{"version 5", " V:5 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Version = 5 })},
		{"version 12", " V:12 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Version = 12 })},

		// Values.
		{"value with a version", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:x V:4 kind:link nb:9 y`, block(func(b *xalt.Block) { b.Value = []byte("x V:4 kind:link nb:9 y") })},
		{"value with value:", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:x value:y`, block(func(b *xalt.Block) { b.Value = []byte("x value:y") })},
		{"empty value", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:`, block(func(b *xalt.Block) { b.Value = []byte{} })},
		{"blanks around", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:  x `, block(func(b *xalt.Block) { b.Value = []byte("  x ") })},
		{"bytes that are no text", " V:4 kind:run syshost:rios " + key + " crc:0x1A2B nb:3 idx:1 value:\xff\x00", block(func(b *xalt.Block) { b.Value = []byte("\xff\x00") })},

		// Numbers.
		{"142 blocks", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:142 idx:141 value:x`, block(func(b *xalt.Block) { b.Index, b.Count, b.Value = 141, 142, []byte("x") })},
		{"padded", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:0142 idx:0007 value:x`, block(func(b *xalt.Block) { b.Index, b.Count, b.Value = 7, 142, []byte("x") })},
		{"as many as there may be", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:65536 idx:65535 value:x`, block(func(b *xalt.Block) { b.Index, b.Count, b.Value = 65535, 65536, []byte("x") })},
		{"short CRC", " V:4 kind:run syshost:rios " + key + ` crc:0x2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.CRC = 0x2B })},
		{"epoch", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B epoch:1795167839 nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Epoch = 1795167839 })},
		{"epoch with a fraction", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B epoch:1795167839.75 nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Epoch = 1795167839 })},
		{"bad epoch", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B epoch:now nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"epoch out of range", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B epoch:1e300 nb:3 idx:1 value:{"a":1}`, block(nil)},

		// Odd headers.
		{"tag's syshost", " V:4 kind:run " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Syshost = []byte("tagged") })},
		{"unknown field", " V:4 kind:run color:red syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"word without a colon", " V:4 kind:run red syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(nil)},
		{"word before the value", " V:4 kind:run syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 red value:{"a":1}`, block(nil)},
		{"several blanks", " V:4  kind:run   syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1   value:{"a":1}`, block(nil)},
		{"colons in a field", " V:4 kind:run syshost:ri:os " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Syshost = []byte("ri:os") })},
		{"other kind", " V:4 kind:pony syshost:rios " + key + ` crc:0x1A2B nb:3 idx:1 value:{"a":1}`, block(func(b *xalt.Block) { b.Kind = []byte("pony") })},

		// Version 1: a record in one line.
		{"version 1 base64", `: run:eyJhIjoxfQ==`, xalt.Block{Version: 1, Kind: []byte("run"), Syshost: []byte("tagged"), Count: 1, Value: []byte("eyJhIjoxfQ==")}},
		{"version 1 raw", `: link:{"a":1}`, xalt.Block{Version: 1, Kind: []byte("link"), Syshost: []byte("tagged"), Count: 1, Value: []byte(`{"a":1}`)}},
		{"version 1 with version", ` V:1 run:{"a":1}`, xalt.Block{Version: 1, Kind: []byte("run"), Syshost: []byte("tagged"), Count: 1, Value: []byte(`{"a":1}`)}},
		{"version 1 RFC 5424", ` - - - pkg:{"a":" V:4 "} `, xalt.Block{Version: 1, Kind: []byte("pkg"), Syshost: []byte("tagged"), Count: 1, Value: []byte(`{"a":" V:4 "}`)}},
		{"version 1 repeated", `: message repeated 3 times: [ run:{"a":1}]`, xalt.Block{Version: 1, Kind: []byte("run"), Syshost: []byte("tagged"), Count: 1, Value: []byte(`{"a":1}`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got xalt.Block
			if err := xalt.ParseBlock([]byte(tt.text), []byte("tagged"), &got); err != nil {
				t.Fatalf("ParseBlock(%q) = %v", tt.text, err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseBlock(%q): -want +got\n%s", tt.text, diff)
			}
		})
	}
}

func TestParseBlockErrors(t *testing.T) {
	const good = " V:4 kind:run syshost:rios key:k crc:0x1A2B nb:3 idx:1 value:x"
	if err := xalt.ParseBlock([]byte(good), nil, new(xalt.Block)); err != nil {
		t.Fatalf("ParseBlock(%q) = %v", good, err)
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"no version", " V:4", "", "no version"},
		{"version zero", "V:4", "V:0", "version"},
		{"version is no number", "V:4", "V:four", `V is "four"`},
		{"version is negative", "V:4", "V:-4", `V is "-4"`},
		{"version 1 with a header", "V:4", "V:1", "version 1"},
		{"no kind", "kind:run ", "", "no kind"},
		{"empty kind", "kind:run", "kind:", "no kind"},
		{"no syshost anywhere", "syshost:rios ", "", "no syshost"},
		{"no key", "key:k ", "", "no key"},
		{"empty key", "key:k", "key:", "no key"},
		{"no idx", "idx:1 ", "", "no idx"},
		{"empty idx", "idx:1", "idx:", "idx is empty"},
		{"negative idx", "idx:1", "idx:-1", `idx is "-1"`},
		{"idx is nb", "idx:1", "idx:3", "idx 3 is not below nb 3"},
		{"huge idx", "idx:1", "idx:18446744073709551617", "idx is"},
		{"no nb", "nb:3 ", "", "no nb"},
		{"nb is zero", "nb:3 idx:1", "nb:0 idx:0", "nb 0 is not between"},
		{"nb is too large", "nb:3", "nb:65537", "nb 65537 is not between"},
		{"huge nb", "nb:3", "nb:99999999999999999999999", "nb is"},
		{"no crc in its field", "crc:0x1A2B", "crc:", "crc is"},
		{"crc without 0x", "crc:0x1A2B", "crc:1A2B", "crc is"},
		{"crc has 17 bits", "crc:0x1A2B", "crc:0x1A2B0", "crc is"},
		{"crc is no number", "crc:0x1A2B", "crc:0xXYZW", "crc is"},
		{"no value", " value:x", "", "no value"},
		{"cut in the header", " idx:1 value:x", " id", "no value"},
		{"key too long", "key:k", "key:" + strings.Repeat("k", 256), "longer than 255"},
		{"kind too long", "kind:run", "kind:" + strings.Repeat("k", 256), "longer than 255"},
		{"syshost too long", "syshost:rios", "syshost:" + strings.Repeat("k", 256), "longer than 255"},
		{"empty", good, "", "no version"},
		{"only colons", good, ":::", "no version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			err := xalt.ParseBlock([]byte(text), nil, new(xalt.Block))
			if !errors.Is(err, xalt.ErrBlock) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ParseBlock(%q) = %v, want ErrBlock with %q", text, err, tt.want)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	base := block(nil)
	id := base.Identity()
	if want := "01a1f8578ff2"; !strings.HasPrefix(id.String(), want) {
		t.Errorf("identity %s does not begin with the UUID's %s", id, want)
	}
	for name, change := range map[string]func(*xalt.Block){
		"index":   func(b *xalt.Block) { b.Index = 2 },
		"value":   func(b *xalt.Block) { b.Value = []byte("other") },
		"epoch":   func(b *xalt.Block) { b.Epoch = 1 },
		"version": func(b *xalt.Block) { b.Version = 7 },
	} {
		if b := block(change); b.Identity() != id {
			t.Errorf("another %s changes the identity", name)
		}
	}
	for name, change := range map[string]func(*xalt.Block){
		"kind":    func(b *xalt.Block) { b.Kind = []byte("link") },
		"syshost": func(b *xalt.Block) { b.Syshost = []byte("rio") },
		"key":     func(b *xalt.Block) { b.Key = []byte("run_strt_01a1f857-8ff2-77c7-b206-21bd6d9f3d9a") },
		"no CRC":  noCRC,
		"CRC":     func(b *xalt.Block) { b.CRC++ },
		"count":   func(b *xalt.Block) { b.Count++ },
		"coding":  func(b *xalt.Block) { noCRC(b); b.Version = 2 },
		"border":  func(b *xalt.Block) { b.Syshost, b.Key = []byte("riosr"), []byte(runKey[1:]) },
	} {
		if b := block(change); b.Identity() == id {
			t.Errorf("another %s does not change the identity", name)
		}
	}
}

func TestContentIdentity(t *testing.T) {
	id := xalt.ContentIdentity("record", []byte("k"), []byte("text"))
	if again := xalt.ContentIdentity("record", []byte("k"), []byte("text")); again != id {
		t.Errorf("the same content has identities %s and %s", id, again)
	}
	for _, other := range []xalt.Identity{
		xalt.ContentIdentity("block", []byte("k"), []byte("text")),
		xalt.ContentIdentity("record", []byte("j"), []byte("text")),
		xalt.ContentIdentity("record", []byte("k"), []byte("texts")),
		xalt.ContentIdentity("record", []byte("kt"), []byte("ext")),
	} {
		if other == id {
			t.Errorf("different content has the identity %s", id)
		}
	}
}

// TestSplit cuts records, prints the blocks, reads and joins them.
func TestSplit(t *testing.T) {
	for _, r := range sample(t)[:20] {
		for _, size := range []int{7, 100, 256, 512, 1024, len(r.text), 1 << 20} {
			blank := bytes.Clone(r.text)
			copy(blank[8:14], "0x0000")
			blocks, err := xalt.Split(r.kind, "rios", runKey, blank, size)
			if err != nil {
				t.Fatal(err)
			}
			if want := (len(r.text) + size - 1) / size; len(blocks) != want {
				t.Fatalf("Split into %d blocks, want %d", len(blocks), want)
			}
			var read []xalt.Block
			for _, b := range blocks {
				got := parse(t, string(b.Append(nil)))
				if diff := cmp.Diff(b, got); diff != "" {
					t.Fatalf("printed and read: -want +got\n%s", diff)
				}
				read = append(read, got)
			}
			a, err := newGroup(read...).Assemble(xalt.DefaultLimits())
			if err != nil || !bytes.Equal(a.Text, r.text) {
				t.Fatalf("joined from blocks of %d bytes: %q, %v, want %q", size, a.Text, err, r.text)
			}
		}
	}
}

func TestSplitErrors(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		size       int
	}{
		{"empty", "", 512},
		{"no crc", `{"result":"0x0000"}`, 512},
		{"short crc", `{"crc":"0x00","a":1}`, 512},
		{"crc is a number", `{"crc":123456789012}`, 512},
		{"size zero", `{"crc":"0x0000","a":1}`, 0},
		{"too many blocks", `{"crc":"0x0000","a":"` + strings.Repeat("x", xalt.MaxBlocks) + `"}`, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := []byte(tt.text)
			if blocks, err := xalt.Split(xalt.KindRun, "rios", "k", text, tt.size); err == nil {
				t.Errorf("Split(%.40q, %d) = %d blocks, want an error", tt.text, tt.size, len(blocks))
			}
			if string(text) != tt.text {
				t.Errorf("Split changed the text to %.40q", text)
			}
		})
	}
}

// FuzzParseBlock wants what was read to be printed and read again alike.
func FuzzParseBlock(f *testing.F) {
	for i, m := range logLines(f, "xalt.log") {
		if i%20 == 0 {
			f.Add(m)
		}
	}
	for _, name := range edgeLogs(f) {
		for i, m := range logLines(f, name) {
			if i == 2 {
				f.Add(m)
			}
		}
	}
	f.Add([]byte(`: message repeated 2 times: [ V:3 kind:run syshost:a key:b nb:1 idx:0 value:{}]`))
	f.Add([]byte(`: run:eyJhIjoxfQ==`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b, again xalt.Block
		sameAsBefore(t, text)
		if err := xalt.ParseBlock(text, []byte("tag"), &b); err != nil {
			if !errors.Is(err, xalt.ErrBlock) {
				t.Fatalf("ParseBlock(%q) = %v, want ErrBlock", text, err)
			}
			return
		}
		if b.Index < 0 || b.Index >= b.Count || b.Count > xalt.MaxBlocks || len(b.Kind) == 0 || len(b.Syshost) == 0 {
			t.Fatalf("ParseBlock(%q) = %+v, out of bounds", text, b)
		}
		printed := b.Append(nil)
		if err := xalt.ParseBlock(printed, []byte("tag"), &again); err != nil {
			t.Fatalf("ParseBlock(%q) = %v, printed from %q", printed, err, text)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Fatalf("%q, printed as %q: -first +again\n%s", text, printed, diff)
		}
	})
}

// sameAsBefore reads a text, and others that are much like it, behind each
// other: remembering a header must change nothing.
func sameAsBefore(t *testing.T, text []byte) {
	t.Helper()
	var p xalt.BlockParser
	at := min(bytes.Index(text, []byte("idx:"))+len("idx:"), len(text))
	for _, like := range [][]byte{
		text, text, slices.Insert(bytes.Clone(text), at, '0'), slices.Insert(bytes.Clone(text), at, '1'), text[:len(text)/2], append(bytes.Clone(text), ']'),
		bytes.Replace(text, []byte("value:"), []byte("value: value:"), 1), bytes.Replace(text, []byte(" value:"), []byte("  value:"), 1),
		slices.Delete(bytes.Clone(text), 0, min(1, len(text))), text,
	} {
		for _, host := range []string{"tag", "other"} {
			var got, want xalt.Block
			gotErr := p.Parse(like, []byte(host), &got)
			wantErr := xalt.ParseBlock(like, []byte(host), &want)
			if (gotErr == nil) != (wantErr == nil) {
				t.Fatalf("Parse(%q) = %v, ParseBlock = %v", like, gotErr, wantErr)
			}
			if gotErr == nil && !equalBlocks(&got, &want) {
				t.Fatalf("Parse(%q) = %+v, ParseBlock %+v", like, got, want)
			}
		}
	}
}

func equalBlocks(a, b *xalt.Block) bool {
	return a.Version == b.Version && bytes.Equal(a.Kind, b.Kind) && bytes.Equal(a.Syshost, b.Syshost) && bytes.Equal(a.Key, b.Key) &&
		a.HasCRC == b.HasCRC && a.CRC == b.CRC && a.Index == b.Index && a.Count == b.Count && a.Epoch == b.Epoch && bytes.Equal(a.Value, b.Value)
}

func TestBlockParser(t *testing.T) {
	for _, m := range logLines(t, "xalt.log") {
		sameAsBefore(t, m)
	}
	for _, name := range edgeLogs(t) {
		for _, m := range logLines(t, name) {
			sameAsBefore(t, m)
		}
	}
	sameAsBefore(t, []byte(": message repeated 2 times: [ V:3 kind:run syshost:a key:b nb:9 idx:0 value:]]"))
	sameAsBefore(t, []byte(" V:4 kind:run syshost:a key:b idx:0 nb:9 idx:1 value:x"))
}

func BenchmarkParseBlock(b *testing.B) {
	messages := logLines(b, "xalt.log")
	total := 0
	for _, m := range messages {
		total += len(m)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	host := []byte("oracle")
	for b.Loop() {
		var block xalt.Block
		for _, m := range messages {
			if err := xalt.ParseBlock(m, host, &block); err != nil {
				b.Fatal(err)
			}
		}
	}
}
