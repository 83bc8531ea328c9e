package main

import "testing"

func TestPrintable(t *testing.T) {
	const text, want = "a\tb\x1b[2J\nü\xff\x00", "a\tb\uFFFD[2J\nü\uFFFD\uFFFD"
	if got := string(printable([]byte(text))); got != want {
		t.Errorf("printable(%q) = %q, want %q", text, got, want)
	}
}
