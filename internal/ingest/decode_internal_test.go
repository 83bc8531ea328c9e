package ingest

import (
	"errors"
	"strings"
	"testing"

	"xaltpipe/internal/xalt"
)

// A fault of the decoder's concerns its record only.
func TestDecoderFault(t *testing.T) {
	rec := decode(nil, &ready{kind: xalt.KindPkg, text: []byte(`{}`)})
	if !errors.Is(rec.err, xalt.ErrRecord) || !strings.Contains(rec.err.Error(), "fault of this program") {
		t.Errorf("error %v", rec.err)
	}
}

// A question that is given up keeps its decoder; the collector makes another.
func TestTakeDecoder(t *testing.T) {
	c := newCollector(&Options{}, nil)
	first := c.takeDecoder()
	if second := c.takeDecoder(); second == nil || second == first {
		t.Errorf("decoders %p and %p", first, second)
	}
	c.decoder = first
	if got := c.takeDecoder(); got != first {
		t.Errorf("decoder %p, want the one that was put back, %p", got, first)
	}
}
