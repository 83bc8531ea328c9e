package store

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestLater wants what is done later to be done in order, and nothing of it after a
// fault, which settle tells once.
func TestLater(t *testing.T) {
	fault := errors.New("fault")
	for _, tt := range []struct {
		name string
		ends func() error
		want string
	}{
		{"well", func() error { return nil }, ""},
		{"fault", func() error { return fault }, "fault"},
		{"panic", func() error { panic("boom") }, "internal fault: boom"},
	} {
		var s session
		var done []int
		for n := range 5 {
			s.later(func(*connection) error {
				if done = append(done, n); n == 2 {
					return tt.ends()
				}
				return nil
			})
		}
		err := s.settle()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: settle = %v, want %q", tt.name, err, tt.want)
		}
		want := []int{0, 1, 2, 3, 4}
		if tt.want != "" {
			want = want[:3]
		}
		if !slices.Equal(done, want) {
			t.Errorf("%s: %v were done, want %v", tt.name, done, want)
		}
		if err := s.settle(); err != nil {
			t.Errorf("%s: settle again = %v", tt.name, err)
		}
	}
}
