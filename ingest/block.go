package ingest

import (
	"bytes"
	"errors"
	"io"
	"sort"
	"sync"
	"time"
)

const (
	// BlockSize is how large a block is by default. It fits the second-level cache; larger ones are slower to search.
	BlockSize = 512 << 10
	// MaxLine is how much of a physical line is looked at. Longer lines exist (a dumped configuration, a broken shipper);
	// what is beyond is counted, but never matched, and the input gets a warning.
	MaxLine = 64 << 10
	// MaxRecord is how far a record may reach from its first byte to its last, other writers' lines between them included.
	MaxRecord = 64 << 10
	// MaxRecordLines is how many physical lines a record may have.
	MaxRecordLines = 512
)

// Block is a stretch of an input: whole lines, with enough of what stands before and after to cut any record that touches it. A block is
// for one goroutine at a time; different blocks of an input may be worked on at once.
type Block struct {
	Input       *Input
	Index       int       // number of the block in its input, from 0
	Offset      int64     // byte offset of Data in the unpacked member
	Line        int64     // 1-based number of the first line of Data
	Lines       int64     // newlines in Data, plus one for an unterminated last line
	Data        []byte    // at most BlockSize bytes
	Tail        bool      // Data is the rest of a line longer than MaxLine: counted, not matched
	First, Last time.Time // first and last time seen in Data, zero when none

	// Documents tells what the lines of the block and its context were made of, in order of offsets, when that is no file; else nil.
	Documents []Document

	buf    []byte // Data == buf[lo:hi], with up to contextBefore bytes before and contextAfter after
	lo, hi int
	pool   *sync.Pool
	memo   memo
}

// Document is a document of a store that a line, or several, were made of.
type Document struct {
	Offset int64  // in the input, where its text begins
	ID     string // how the store calls it: "INDEX/_doc/ID"
	Place  int64  // byte offset in the file that was shipped; negative: not known
	Line   int64  // number of its line there; 0: not known
}

// Document is the document that an offset of the input lies in; nil when the block is of a file.
func (b *Block) Document(offset int64) *Document {
	i := sort.Search(len(b.Documents), func(i int) bool { return b.Documents[i].Offset > offset })
	if i == 0 {
		return nil
	}
	return &b.Documents[i-1]
}

// memo is what cutting one record has shown and the next one may use. It changes no result: candidates come in the order of lines, and
// many may lie in one record, or in a stretch where there is no header to be found.
type memo struct {
	mark    int   // a position in buf where a line starts
	marked  int64 // its line number, 0 before the first use; see [Block.lineNumber]
	barren  [4]barren
	turn    int     // which of barren is the oldest
	last    *Record // a record of many lines
	members []int   // where they start
}

// barren is a line that is out of the reach of any header.
type barren struct {
	start  int  // in buf, plus one
	lonely bool // what it continues, by the look of it, is out of reach too
}

const (
	contextBefore = MaxRecord + 1 // the newline before the first line that a record may reach back to
	contextAfter  = 2 * MaxRecord
)

// Release gives the block's memory back. Records cut from it must have been kept by then.
func (b *Block) Release() {
	if b.pool != nil && b.buf != nil {
		if buf := b.buf[:cap(b.buf)]; len(buf) >= blockBuf {
			b.pool.Put(&buf)
		}
		b.buf, b.Data, b.memo = nil, nil, memo{}
	}
}

// Context returns what stands around Data: a little more than MaxRecord bytes before it and twice as many after. A store keeps a block
// together with it, so that the same records can be cut later.
func (b *Block) Context() (before, after []byte) { return b.buf[:b.lo], b.buf[b.hi:] }

// NewBlock makes a block from bytes that a store kept. before and after are what Context returned.
func NewBlock(in *Input, index int, offset, line int64, before, data, after []byte) *Block {
	buf := make([]byte, 0, len(before)+len(data)+len(after))
	buf = append(append(append(buf, before...), data...), after...)
	b := &Block{Input: in, Index: index, Offset: offset, Line: line, buf: buf, lo: len(before), hi: len(before) + len(data)}
	b.Data = buf[b.lo:b.hi:b.hi]
	b.Lines = countLines(b.Data)
	if b.Lines > 0 && len(after) == 0 && len(data)-1-bytes.LastIndexByte(data, '\n') >= MaxLine {
		b.Lines-- // the line goes on in a Tail block, which counts it
	}
	return b
}

func countLines(data []byte) int64 {
	n := int64(bytes.Count(data, newline))
	if len(data) > 0 && data[len(data)-1] != '\n' {
		n++
	}
	return n
}

var newline = []byte{'\n'}

// blockReader divides a stream into blocks.
type blockReader struct {
	in     *Input
	r      io.Reader
	size   int // wanted size of Data
	pool   *sync.Pool
	index  int
	buf    []byte // read but not handed out; buf[:lo] is context before
	lo     int
	offset int64 // of buf[lo]
	line   int64 // of buf[lo]
	inTail bool  // buf[lo] is inside an over-long line
	eof    bool
	err    error
}

func newBlockReader(in *Input, r io.Reader, size int, pool *sync.Pool) *blockReader {
	if size <= 0 || size > BlockSize {
		size = BlockSize
	}
	return &blockReader{in: in, r: r, size: size, pool: pool, line: 1}
}

// blockBuf is the capacity that a block's buffer needs.
const blockBuf = contextBefore + BlockSize + MaxLine + contextAfter + 8192

// fill reads until n bytes stand after lo, or the input ends.
func (r *blockReader) fill(n int) {
	for !r.eof && len(r.buf)-r.lo < n {
		if cap(r.buf)-len(r.buf) < 4096 {
			nb := make([]byte, len(r.buf), max(4*cap(r.buf), blockBuf/16)) // most inputs of a case are small
			copy(nb, r.buf)
			r.buf = nb
		}
		m, err := r.r.Read(r.buf[len(r.buf):min(cap(r.buf), r.lo+n+4096)])
		r.buf = r.buf[:len(r.buf)+m]
		if err != nil {
			r.eof = true
			if !errors.Is(err, io.EOF) {
				r.err = err
			}
		}
	}
}

// next returns the next block, nil at the end of the input. Reading errors end the input after what was read.
func (r *blockReader) next() *Block {
	r.fill(r.size + MaxLine + contextAfter)
	data := r.buf[r.lo:]
	if len(data) == 0 {
		return nil
	}
	n, tail := r.cut(data)
	b := &Block{Input: r.in, Index: r.index, Offset: r.offset, Line: r.line, Tail: tail, pool: r.pool}
	b.lo, b.hi = r.lo, r.lo+n
	more := len(r.buf) > b.hi || !r.eof
	b.buf = r.take(n)
	b.Data = b.buf[b.lo:b.hi:b.hi]
	nl := int64(bytes.Count(b.Data, newline))
	b.Lines = nl
	if b.Data[n-1] != '\n' && !more {
		b.Lines++
	}
	r.index++
	r.offset += int64(n)
	r.line += nl
	return b
}

// cut decides how many bytes of data the next block takes and whether they are the rest of an over-long line.
func (r *blockReader) cut(data []byte) (n int, tail bool) {
	if r.inTail {
		w := data[:min(len(data), r.size)]
		if i := bytes.IndexByte(w, '\n'); i >= 0 {
			r.inTail = false
			return i + 1, true
		}
		return len(w), true
	}
	if len(data) <= r.size && r.eof {
		return r.whole(data, len(data))
	}
	limit := min(r.size, len(data))
	if i := bytes.LastIndexByte(data[:limit], '\n'); i >= 0 {
		return r.whole(data, i+1)
	}
	// The first line is longer than the block is to be: take it whole, up to MaxLine.
	if i := bytes.IndexByte(data[:min(len(data), MaxLine+1)], '\n'); i >= 0 {
		return i + 1, false
	}
	return r.whole(data, min(len(data), MaxLine))
}

// whole makes sure that no line inside data[:n] is longer than MaxLine: the block ends MaxLine after the start of the first that
// is, and what follows is tail. Only lines near the size of a block can be that long, so the check looks at newlines sparsely.
func (r *blockReader) whole(data []byte, n int) (int, bool) {
	start := 0
	for start < n {
		end := min(start+MaxLine, len(data))
		i := bytes.LastIndexByte(data[start:min(end, n)], '\n')
		if i < 0 {
			if j := bytes.IndexByte(data[start:min(len(data), start+MaxLine+1)], '\n'); j >= 0 && start+j < n {
				start += j + 1
				continue
			}
			if n-start < MaxLine || (n-start == MaxLine && len(data) == n && r.eof) {
				return n, false // an ordinary unterminated last line
			}
			r.inTail = len(data) > start+MaxLine || !r.eof
			r.in.warn("lines longer than 64 KiB: only their first 64 KiB were searched")
			return start + MaxLine, false
		}
		start += i + 1
	}
	return n, false
}

// take hands the buffer out as a block's own: what was read after its n bytes is the block's context after, and is copied for the next one.
func (r *blockReader) take(n int) []byte {
	pos := r.lo + n
	buf := r.buf[:min(len(r.buf), pos+contextAfter)]
	keep := min(pos, contextBefore)
	if rest := r.buf[pos-keep:]; r.eof && len(rest) == keep {
		r.buf = rest // nothing follows, nothing is read into it
	} else {
		r.buf = append(r.buffer(len(rest)), rest...)
	}
	r.lo = keep
	if r.inTail { // what follows belongs to an over-long line: it is no context
		buf = buf[:pos]
	}
	return buf
}

// buffer gives an empty buffer for n bytes and what is read after them.
func (r *blockReader) buffer(n int) []byte {
	if p, _ := r.pool.Get().(*[]byte); p != nil && cap(*p) >= blockBuf {
		return (*p)[:0]
	}
	return make([]byte, 0, max(n, blockBuf-BlockSize+r.size))
}
