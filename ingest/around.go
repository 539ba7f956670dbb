package ingest

import "bytes"

const (
	// MaxAround is how many neighbours [Block.Around] gives on each side.
	MaxAround = 3
	// maxAroundBytes is how far it looks on each side. It is less than the context of any block, so the neighbours do not depend on where
	// blocks begin.
	maxAroundBytes = 2 << 10
)

// Around gives the physical lines that stand directly before and after a record cut from this block, in the order of the input, joined by
// newlines: at most MaxAround on each side, and only those that lie within 2 KiB as a whole. Lines of other writers between the first
// line of the record and its last are not among them. Parts of a structured document have no neighbours, nor have records of several lines
// that stand upside down, the newest line first. The bytes belong to the block.
func (b *Block) Around(r *Record) (before, after []byte) {
	if b.Input.doc != nil {
		return nil, nil
	}
	start := int(r.Offset - b.bufOffset())
	if start < 0 || start > len(b.buf) || r.Lines > 1 && b.Input.NewestFirst() {
		return nil, nil
	}
	last := start
	if r.Lines > 1 {
		for _, p := range b.LinesOf(r) {
			start, last = min(start, p+b.lo), max(last, p+b.lo)
		}
	}
	return b.linesBefore(start), b.linesAfter(last)
}

// linesBefore are the whole lines before the one that starts at pos of buf.
func (b *Block) linesBefore(pos int) []byte {
	if pos == 0 {
		return nil
	}
	end := pos - 1 // the newline before
	from := end
	for range MaxAround {
		i := bytes.LastIndexByte(b.buf[max(0, pos-maxAroundBytes):from], '\n')
		switch {
		case i >= 0:
			from = max(0, pos-maxAroundBytes) + i
			continue
		case pos <= maxAroundBytes && b.bufOffset() == 0:
			return b.buf[:end] // the input begins here
		}
		break
	}
	if from == end {
		return nil
	}
	return b.buf[from+1 : end]
}

// linesAfter are the whole lines after the one that starts at pos of buf.
func (b *Block) linesAfter(pos int) []byte {
	i := bytes.IndexByte(b.buf[pos:], '\n')
	if i < 0 {
		return nil
	}
	from := pos + i + 1
	reach := min(len(b.buf), from+maxAroundBytes)
	end := from
	for range MaxAround {
		i := bytes.IndexByte(b.buf[end:reach], '\n')
		if i < 0 {
			if reach == len(b.buf) && reach < from+maxAroundBytes && end < reach {
				end = reach + 1 // the last line of the input, without a newline
			}
			break
		}
		end += i + 1
	}
	if end == from {
		return nil
	}
	return b.buf[from : end-1]
}

// Page gives the physical lines around a line of the block, the one that offset lies in: at most n before it, and n from it on, as far as the
// block and what it knows of its surroundings reach; and the number of the first. There are none when offset is not in the block. The
// bytes belong to the block.
func (b *Block) Page(offset int64, n int) (first int64, lines [][]byte) {
	at := int(offset - b.bufOffset())
	if at < b.lo || at >= b.hi {
		return 0, nil
	}
	at = bytes.LastIndexByte(b.buf[:at], '\n') + 1
	from := at
	for range n {
		i := bytes.LastIndexByte(b.buf[:max(from-1, 0)], '\n')
		if i < 0 && b.bufOffset() > 0 {
			break // it begins before what is known
		}
		from = i + 1
	}
	first = b.Line + int64(bytes.Count(b.buf[b.lo:max(from, b.lo)], newline)) - int64(bytes.Count(b.buf[min(from, b.lo):b.lo], newline))
	end := at
	for range n {
		i := bytes.IndexByte(b.buf[end:], '\n')
		if i < 0 {
			if end < b.hi || len(b.buf)-b.hi < contextAfter {
				end = len(b.buf) // the last line of the input, or as much of a very long one as is kept
			}
			break
		}
		end += i + 1
	}
	return first, bytes.Split(bytes.TrimSuffix(b.buf[from:end], newline), newline)
}
