package index

import (
	"bytes"

	"github.com/wasmortem/wasmortem/ingest"
)

// StretchLines is how many lines one document of the index covers. Fewer make the index larger and slower to fill, more make every
// answer read more lines.
const StretchLines = 64

// stretch is a part of a block: StretchLines lines, the last one of a block fewer.
type stretch struct {
	n        int   // number in the block
	from, to int   // in the block's Data
	line     int64 // number of the first line
}

// stretches lists the parts of a block.
func stretches(b *ingest.Block) []stretch {
	var list []stretch
	line := b.Line
	for from := 0; from < len(b.Data); {
		to, lines := from, 0
		for to < len(b.Data) && lines < StretchLines {
			to, lines = b.LineEnd(to), lines+1
		}
		list = append(list, stretch{len(list), from, to, line})
		from, line = to, line+int64(lines)
	}
	return list
}

// walker enumerates the units of blocks. A record belongs to the stretch that its first line stands in, whatever the rest of it does. All
// units together cover every line but those beyond [ingest.MaxLine].
type walker struct {
	b    *ingest.Block // the stretch as a block
	text []byte        // b with its context
	data int           // where b begins in text
	f    func(*unit) bool
}

// walk calls f for the units of a stretch in order of their offsets, until f returns false. A unit is valid until f returns. The time of a
// unit whose record tells none is zero.
func walk(b *ingest.Block, s stretch, f func(*unit) bool) {
	if b.Tail {
		return
	}
	w := walker{b: b.Part(s.from, s.to, s.line), f: f}
	w.text, w.data = w.b.Text()
	if b.Input.IsDocument() {
		w.document()
		return
	}
	w.records()
}

// at is where an offset of the input lies in text.
func (w *walker) at(offset int64) int { return int(offset-w.b.Offset) + w.data }

// lineAt is the physical line around a position of text.
func (w *walker) lineAt(pos int) span {
	s := span{start: bytes.LastIndexByte(w.text[:pos], '\n') + 1, end: len(w.text)}
	if i := bytes.IndexByte(w.text[pos:], '\n'); i >= 0 {
		s.end = pos + i
	}
	return s
}

// piece is the text of a physical line.
func (w *walker) piece(s span) []byte { return bytes.TrimSuffix(w.text[s.start:s.end], []byte{'\r'}) }

// records enumerates the records of lines.
func (w *walker) records() {
	var u unit
	line := w.b.Line - 1
	taken := map[int]bool{} // where lines begin that are part of a record which has been looked at
	for pos := 0; pos < len(w.b.Data); pos = w.b.LineEnd(pos) {
		line++
		if len(taken) > 0 && taken[pos] {
			continue
		}
		r := w.b.RecordAt(pos)
		u = unit{rec: r, offset: w.b.Offset + int64(pos), line: line, lines: u.lines[:0], pieces: u.pieces[:0]}
		switch {
		case r == nil:
			u.add(w, pos)
		case r.Offset == u.offset:
			u.add(w, pos)
			if r.Lines > 1 {
				for _, p := range w.b.LinesOf(r)[1:] {
					u.add(w, p)
					taken[p] = true
				}
			}
			u.join()
		default:
			w.claim(r, taken)
			if taken[pos] {
				continue
			}
			u.add(w, pos) // the end of a record that is too long to be one
		}
		if r != nil {
			u.time = r.Time
		}
		if !w.f(&u) {
			return
		}
	}
}

// claim takes the lines of the record that r's first line begins. That may not be r: records are bounded, and the end of a very long one, cut
// by itself, begins in the middle of it.
func (w *walker) claim(r *ingest.Record, taken map[int]bool) {
	start := w.at(r.Offset)
	if start < 0 || start >= len(w.text) {
		return
	}
	if x := w.b.RecordAt(start - w.data); x != nil && x.Offset == r.Offset {
		for _, p := range w.b.LinesOf(x)[1:] { // the first is where it is found itself
			taken[p] = true
		}
	}
}

// add adds the line at a position of the stretch.
func (u *unit) add(w *walker, pos int) {
	s := w.lineAt(w.data + pos)
	u.lines = append(u.lines, s)
	u.pieces = append(u.pieces, w.piece(s))
}

// join sets the joined text where the pieces do not say it.
func (u *unit) join() {
	if len(u.pieces) > 1 || !bytes.Contains(u.pieces[0], []byte(u.rec.Message)) {
		u.joined = u.rec.Message
	}
}

// document enumerates the parts of a structured document, line by line: what each part has of the line is a unit, and if several share
// one, so is the whole line.
func (w *walker) document() {
	line := w.b.Line - 1
	for pos := 0; pos < len(w.b.Data); pos = w.b.LineEnd(pos) {
		line++
		whole := w.lineAt(w.data + pos)
		parts := w.parts(whole, line)
		for i := range parts {
			if !w.f(&parts[i]) {
				return
			}
		}
	}
}

// parts divides a line among the innermost parts around its words. Of an ordinary line only the first and the last word are looked at: a document
// that was printed for people begins a line with every part.
func (w *walker) parts(whole span, line int64) []unit {
	text := w.piece(whole)
	d := divider{offset: w.b.Offset + int64(whole.start-w.data), line: line, whole: whole}
	ask := func(t token) *ingest.Record { return w.b.RecordAt(whole.start - w.data + t.start) }
	first, ok := nextToken(text, 0)
	if !ok {
		d.give(nil, text)
		return d.units
	}
	if r := ask(first); len(text) < 1024 && ask(lastToken(text)) == r {
		d.give(r, text)
		return d.units
	}
	start, last := 0, ask(first)
	for t, ok := nextToken(text, first.end); ok; t, ok = nextToken(text, t.end) {
		if r := ask(t); r != last {
			d.give(last, text[start:t.start])
			start, last = t.start, r
		}
	}
	d.give(last, text[start:])
	if len(d.units) > 1 { // words that no single part has next to each other
		d.units = append(d.units, unit{rec: d.units[0].rec, offset: d.offset, line: line, lines: []span{whole}, pieces: [][]byte{text},
			time: d.units[0].time, whole: true})
	}
	return d.units
}

// divider collects the units of a line of a document.
type divider struct {
	offset, line int64
	whole        span
	units        []unit
	of           map[*ingest.Record]int // which unit
}

func (d *divider) give(r *ingest.Record, piece []byte) {
	if i, ok := d.of[r]; ok {
		d.units[i].pieces = append(d.units[i].pieces, piece)
		return
	}
	u := unit{rec: r, offset: d.offset, line: d.line, lines: []span{d.whole}, pieces: [][]byte{piece}}
	if r != nil {
		u.time = r.Time
		if r.Offset == d.offset {
			u.joined = r.Message
		}
	}
	if d.of == nil {
		d.of = map[*ingest.Record]int{}
	}
	d.of[r] = len(d.units)
	d.units = append(d.units, u)
}
