package ingest

import (
	"bytes"
	"io"
)

// line is one line of a source, without its line end.
type line struct {
	text       []byte // valid until the next call
	number     int64  // from 1
	offset     int64  // of its first byte, in the decompressed source
	end        int64  // offset of the next line
	long       bool   // longer than the limit: text is its beginning
	unfinished bool   // the source ends, or breaks off, without a newline
	settled    bool   // unfinished, and nobody has written on for long
}

// lineReader cuts a source into lines. Memory does not grow with the source or
// with its longest line.
type lineReader struct {
	src    io.Reader
	buf    []byte
	start  int // of what is not handed out yet
	filled int
	limit  int
	offset int64 // of buf[start]
	number int64
	err    error
	// tee sees every byte of lines that were handed out, in order: at the
	// latest with flush.
	tee  func([]byte)
	teed int // what it has seen of buf
	// mark is called before tee sees a line that may turn out to have no end; back
	// makes what tee has seen since unseen. nil without a tee.
	mark func() (back func())
}

// readSize is how much is asked of the source at a time, in bytes.
const readSize = 256 << 10

func newLineReader(src io.Reader, limit int, offset, number int64, tee func([]byte)) *lineReader {
	return &lineReader{src: src, buf: make([]byte, 2*readSize+limit), limit: limit, offset: offset, number: number, tee: tee}
}

// next returns the next line, or io.EOF, or the source's error; what stands
// before an error is handed out first.
//
// NULs before a line are none of its text: a log that was truncated under a writer that
// does not append, or that lost its end in a crash, has any number of them there.
func (r *lineReader) next() (line, error) {
	scanned, begin := r.start, r.offset
	var back func() // if NULs were passed over
	for {
		if i := bytes.IndexByte(r.buf[scanned:r.filled], '\n'); i >= 0 {
			l := r.take(scanned+i-r.start, 1, false)
			l.offset = begin // also before NULs
			return l, nil
		}
		scanned = r.filled
		if scanned-r.start > r.limit+1 { // a "\r" may stand before the newline
			nuls := scanned - r.start - len(bytes.TrimLeft(r.buf[r.start:scanned], "\x00"))
			if nuls == 0 {
				l := r.longLine()
				if l.offset = begin; l.unfinished && back != nil {
					back()
				}
				return l, nil
			}
			if back == nil {
				r.flush()
				back = r.marked()
			}
			r.skip(nuls)
		}
		if r.err != nil {
			if back == nil && r.filled == r.start {
				return line{}, r.err
			}
			l := r.take(r.filled-r.start, 0, true)
			if l.offset = begin; back != nil {
				back()
			}
			return l, nil
		}
		scanned -= r.fill()
	}
}

// marked marks what tee has seen. Nothing is kept of a line until its end is known.
func (r *lineReader) marked() (back func()) {
	if r.mark == nil {
		return func() {}
	}
	return r.mark()
}

// fill reads more; it returns by how much what is in the buffer moved down.
func (r *lineReader) fill() (moved int) {
	if r.start > 0 && len(r.buf)-r.filled < readSize {
		r.flush()
		moved = r.start
		r.filled = copy(r.buf, r.buf[r.start:r.filled])
		r.start, r.teed = 0, 0
	}
	n, err := r.src.Read(r.buf[r.filled:min(len(r.buf), r.filled+readSize)])
	r.filled += n
	r.err = err
	return moved
}

// take hands out length bytes and skips the newline behind them.
func (r *lineReader) take(length, newline int, unfinished bool) line {
	l := line{text: r.buf[r.start : r.start+length], number: r.number + 1, offset: r.offset, unfinished: unfinished}
	if !unfinished {
		r.number++
	}
	if unfinished {
		r.flush()
		r.teed += length // tee does not see it
	}
	r.start += length + newline
	r.offset += int64(length + newline)
	l.end = r.offset
	if len(l.text) > 0 && l.text[0] == 0 {
		l.text = bytes.TrimLeft(l.text, "\x00")
	}
	if n := len(l.text); n > 0 && l.text[n-1] == '\r' {
		l.text = l.text[:n-1]
	}
	if len(l.text) > r.limit {
		l.text, l.long = l.text[:r.limit], true
	}
	return l
}

// longLine hands out the beginning of a line and reads over the rest.
func (r *lineReader) longLine() line {
	l := line{text: bytes.Clone(r.buf[r.start : r.start+r.limit]), number: r.number + 1, offset: r.offset, long: true}
	r.flush()
	back := r.marked()
	for {
		if i := bytes.IndexByte(r.buf[r.start:r.filled], '\n'); i >= 0 {
			r.skip(i + 1)
			r.number++
			break
		}
		r.skip(r.filled - r.start)
		if r.err != nil { // the rest may still come
			l.unfinished = true
			r.flush()
			back()
			break
		}
		r.fill()
	}
	l.end = r.offset
	return l
}

func (r *lineReader) skip(n int) {
	r.start += n
	r.offset += int64(n)
}

// flush shows tee what was handed out since.
func (r *lineReader) flush() {
	if r.tee != nil && r.teed < r.start {
		r.tee(r.buf[r.teed:r.start])
	}
	r.teed = r.start
}
