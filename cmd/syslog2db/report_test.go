package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSetMonth: where the last month ends is told by the database's time zone,
// not by that of the host.
func TestSetMonth(t *testing.T) {
	now := time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)
	for _, test := range []struct{ month, zone, since, before string }{
		{"last", "UTC", "2026-11-01", "2026-12-01"},
		{"last", "America/Chicago", "2026-10-01", "2026-11-01"},
		{"last", "Asia/Tokyo", "2026-11-01", "2026-12-01"},
		{"2026-12", "America/Chicago", "2026-12-01", "2027-01-01"},
	} {
		zone, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]string)
		setMonth(got, test.month, now, zone)
		if diff := cmp.Diff(map[string]string{"since": test.since, "before": test.before}, got); diff != "" {
			t.Errorf("month %q in %s (-want +got):\n%s", test.month, test.zone, diff)
		}
	}
	end := make(map[string]string)
	setMonth(end, "9999-12", now, time.UTC)
	if diff := cmp.Diff(map[string]string{"since": "9999-12-01"}, end); diff != "" {
		t.Errorf("the month behind which there are no dates (-want +got):\n%s", diff)
	}
	none := make(map[string]string)
	if setMonth(none, "", now, time.UTC); len(none) != 0 {
		t.Errorf("no month sets %v", none)
	}
}
