package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestZoneName wants names that every host knows, or an error.
func TestZoneName(t *testing.T) {
	dir := t.TempDir()
	zones := filepath.Join(dir, "share", "zoneinfo", "Europe")
	if err := os.MkdirAll(zones, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(zones, "Vienna"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "here")
	if err := os.Symlink(filepath.Join(zones, "Vienna"), link); err != nil {
		t.Fatal(err)
	}
	for tz, want := range map[string]string{
		"Europe/Berlin": "Europe/Berlin", ":Europe/Berlin": "Europe/Berlin", "": "UTC", ":": "UTC", "UTC": "UTC",
		"/usr/share/zoneinfo/Asia/Tokyo": "Asia/Tokyo", ":/nowhere/zoneinfo/right/Asia/Tokyo": "Asia/Tokyo", link: "Europe/Vienna",
		"CET-1CEST": "", "Mars/Olympus": "", "Local": "", "/etc/hostname": "", "/usr/share/zoneinfo/../../../etc/hostname": "",
	} {
		t.Setenv("TZ", tz)
		for _, zone := range []*time.Location{nil, time.Local} {
			if zone != nil && zone.String() != "Local" {
				continue // these tests have a zone that has a name
			}
			got, err := zoneName(zone)
			if got != want || errors.Is(err, ErrZoneName) != (want == "") {
				t.Errorf("TZ=%s: %q, %v, want %q", tz, got, err, want)
			}
		}
	}
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := zoneName(tokyo); got != "Asia/Tokyo" || err != nil {
		t.Errorf("Asia/Tokyo: %q, %v", got, err)
	}
	t.Setenv("TZ", ":/etc/localtime")
	local, err := zoneName(nil)
	if err := os.Unsetenv("TZ"); err != nil { // the test's end sets it again
		t.Fatal(err)
	}
	if again, errAgain := zoneName(nil); again != local || (err == nil) != (errAgain == nil) {
		t.Errorf("/etc/localtime: %q, %v, without TZ %q, %v", local, err, again, errAgain)
	}
}
