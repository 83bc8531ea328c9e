package xalt

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/tidwall/gjson"
)

// scanned wants scan to find what gjson finds, or to leave it to that.
func scanned(t *testing.T, d *Decoder, text []byte) bool {
	t.Helper()
	if !d.scan(text) {
		return false
	}
	if !gjson.ValidBytes(text) || depth(text) > maxDepth {
		t.Fatalf("scan(%q) takes what is no JSON, or nested %d deep", text, depth(text))
	}
	if diff := cmp.Diff(membersOf(gjson.ParseBytes(text)), append([]member(nil), d.list...), cmp.AllowUnexported(member{}), cmpopts.IgnoreFields(member{}, "key")); diff != "" {
		t.Fatalf("scan(%q): -gjson +scan\n%s", text, diff)
	}
	return true
}

func TestScan(t *testing.T) {
	var d Decoder
	for text, want := range map[string]bool{
		`{"a":1}`: true,
		" {\t\"a\" : \"b\\\\\" ,\n\"c\":[{\"d\":\"}\"},[]] , \"e\" : null }\r\n": true,
		`{"libA":[["/a","0"]],"envT":{"A":"\"\\"},"libA":[]}`:                    true,
		`{"a":` + strings.Repeat("[", 199) + strings.Repeat("]", 199) + `}`:      true,
		`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`:      false,
		`{}`:                    false, // nothing ordinary
		`{"a\u0062":1}`:         false, // a name that is escaped
		`{"a":NaN}`:             false,
		`{"a":1`:                false,
		`{"a":1]`:               false,
		`{"a":[1}`:              false,
		`{"a":1,}`:              false,
		`{"a":,"b":1}`:          false,
		`{"a":1 2}`:             false,
		`{"a":"b}`:              false,
		`{"a":"b\"}`:            false,
		`{"a" 1}`:               false,
		`{"a`:                   false,
		`{"a":`:                 false,
		`{"a":01}`:              false,
		`{"a":tru}`:             false,
		"{\"a\":\"\n\"}":        false,
		`{"libA":[["/a","0"]}`:  false,
		`{"libA":[["/a" "0"]]}`: false,
		`{"a":1} x`:             false,
		`[1]`:                   false,
		``:                      false,
	} {
		for range 2 { // the second time some is known
			if got := scanned(t, &d, []byte(text)); got != want {
				t.Errorf("scan(%q) = %t, want %t", text, got, want)
			}
		}
	}
}

// TestScanForgets wants what is known to be bounded, and to be right after
// something was forgotten.
func TestScanForgets(t *testing.T) {
	var d Decoder
	for n := range 3 * maxValid {
		text := []byte(`{"libA":[["/` + strings.Repeat("x", n%7) + string(rune('a'+n%26)) + `",` + strings.Repeat("1", n/26%50+1) + strings.Repeat("0", n/1300) + `]]}`)
		if !d.scan(text) {
			t.Fatalf("scan(%s) = false", text)
		}
		if d.scan(bytes.Replace(text, []byte("["), []byte("]"), 1)) {
			t.Fatal("scan takes what is damaged")
		}
	}
	if got := len(d.valid) + len(d.old); got > maxValid {
		t.Errorf("%d members are known, want %d at most", got, maxValid)
	}
}

// TestKeyWithoutMAC wants keys to tell texts apart also where GMAC is not to
// be had.
func TestKeyWithoutMAC(t *testing.T) {
	for name, k := range map[string]*Keyer{"mac": NewKeyer(NewSecret()), "hash": {secret: NewSecret()}} {
		once, again := k.Key([]byte("a")), k.Key([]byte("a"))
		if once != again || once == k.Key([]byte("b")) || k.Key(nil) == k.Key([]byte{0}) {
			t.Errorf("%s: keys do not tell texts apart", name)
		}
	}
	if one, other := NewKeyer(NewSecret()).Key([]byte("a")), NewKeyer(NewSecret()).Key([]byte("a")); one == other {
		t.Error("two keyers have the same secret")
	}
}

// FuzzScan wants scan to agree with gjson.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"libA":[["/a","0"]],"envT":{"A":"\"\\"} , "c":1.5e3,"d":true}`), []byte(`{"envT":{"A":"}"}}`))
	f.Add([]byte(`{"a":{"b":[1,{"c":"]"}]}}`), []byte(`{"a":-0,"linkA":[],"function":["f"]}`))
	f.Fuzz(func(t *testing.T, one, other []byte) {
		var d Decoder
		scanned(t, &d, one)
		scanned(t, &d, other)
		scanned(t, &d, one)
	})
}
