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
func (r *lineReader) next() (line, error) {
	scanned := r.start
	for {
		if i := bytes.IndexByte(r.buf[scanned:r.filled], '\n'); i >= 0 {
			return r.take(scanned+i-r.start, 1, false), nil
		}
		scanned = r.filled
		if scanned-r.start > r.limit+1 { // a "\r" may stand before the newline
			return r.longLine()
		}
		if r.err != nil {
			if r.filled > r.start {
				return r.take(r.filled-r.start, 0, true), nil
			}
			return line{}, r.err
		}
		scanned -= r.fill()
	}
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
	if n := len(l.text); n > 0 && l.text[n-1] == '\r' {
		l.text = l.text[:n-1]
	}
	if len(l.text) > r.limit {
		l.text, l.long = l.text[:r.limit], true
	}
	return l
}

// longLine hands out the beginning of a line and reads over the rest.
func (r *lineReader) longLine() (line, error) {
	l := line{text: bytes.Clone(r.buf[r.start : r.start+r.limit]), number: r.number + 1, offset: r.offset, long: true}
	r.flush()
	back := func() {}
	if r.mark != nil {
		back = r.mark() // the line is not kept until its end is known
	}
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
	return l, nil
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
