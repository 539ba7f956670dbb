package ingest

import "bytes"

// Restore makes the input of a kept case again, from what a store has kept of it: head is its first 64 KiB (or all, if it is
// shorter), document the whole of it when it was read as a structured document ([Input.IsDocument]), else nil. Detection is a
// function of these bytes and the path alone, so the records that are cut from its blocks are the same as the first time.
//
// Sizes, times, warnings and errors are not restored: the store has recorded them and sets them.
func Restore(path string, head, document []byte) *Input {
	in := &Input{Path: path, Identity: identify(path)}
	in.detect(head[:min(len(head), sampleSize)])
	if document != nil {
		_, _ = in.readDocument(bytes.NewReader(document)) // a bytes.Reader does not fail
	}
	return in
}

// Text returns the block's data together with its [Block.Context], in one piece, and where Data begins in it. Positions that
// [Block.RecordAt] takes are relative to Data: those of the context are negative, or len(Data) and more.
func (b *Block) Text() (text []byte, data int) { return b.buf, b.lo }

// Part is the block of Data[from:to], whole lines, with all around it as context. line is the number of its first line. It shares the
// memory of b and lives as long; a store indexes a block, and finds a line of it again, part by part.
func (b *Block) Part(from, to int, line int64) *Block {
	p := *b
	p.Offset, p.Line, p.pool = b.Offset+int64(from), line, nil
	p.lo, p.hi = b.lo+from, b.lo+to
	p.Data = b.buf[p.lo:p.hi:p.hi]
	p.Lines = countLines(p.Data)
	return &p
}

// LinesOf gives the positions in Data where the physical lines of a record begin, in the order of writing; those that lie in the context are
// negative, or len(Data) and more. The record must have been cut from this input, and begin in sight.
func (b *Block) LinesOf(r *Record) []int {
	first, ok := b.lineAt(int(r.Offset - b.bufOffset()))
	if !ok || b.Input.doc != nil {
		return nil
	}
	_, c := b.find(&first)
	positions := append(make([]int, 0, r.Lines), first.start-b.lo)
	for cur := first; len(positions) < r.Lines && !c.alone; {
		if cur, ok = b.forth(&cur, first.start, c.up); !ok {
			break
		}
		positions = append(positions, cur.start-b.lo)
	}
	return positions
}
