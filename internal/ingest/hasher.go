package ingest

import (
	"encoding"
	"hash"
)

// hasher hashes what was read while the next lines are parsed.
type hasher struct {
	sum     hash.Hash
	buf     []byte
	work    chan []byte
	free    chan []byte
	done    chan struct{}
	written int64
	skip    int64 // of what is written first, which sum has already
}

func newHasher(sum hash.Hash, skip int64) *hasher {
	h := &hasher{
		sum: sum, skip: skip, buf: make([]byte, 0, readSize),
		work: make(chan []byte), free: make(chan []byte, 2), done: make(chan struct{}),
	}
	h.free <- make([]byte, 0, readSize)
	go func() {
		defer close(h.done)
		for p := range h.work {
			h.sum.Write(p)
			h.free <- p[:0]
		}
	}()
	return h
}

func (h *hasher) write(p []byte) {
	h.written += int64(len(p))
	if n := int64(len(p)); h.written-n < h.skip {
		p = p[min(n, h.skip-(h.written-n)):]
	}
	if len(h.buf)+len(p) > cap(h.buf) && len(h.buf) > 0 {
		h.work <- h.buf
		h.buf = <-h.free
	}
	h.buf = append(h.buf, p...)
}

// state returns the hash's state after everything written.
func (h *hasher) state() []byte {
	h.work <- h.buf
	h.buf = <-h.free
	spare := <-h.free // both buffers are back: the worker is done
	h.free <- spare
	state, err := h.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err) // sha256 cannot fail here
	}
	return state
}

func (h *hasher) close() {
	close(h.work)
	<-h.done
}
