package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// walk goes through the candidates of all streams, fetches their surroundings, and makes blocks of them.
type walk struct {
	k     *Corpus
	ctx   context.Context
	next  func() (*candidate, error, bool)
	yield func(*ingest.Block, error) bool
	all   bool // every document is a candidate

	asked, held int64
}

// advance gives the next candidate that holds a literal; nil at the end.
func (w *walk) advance() (*candidate, error) {
	for {
		c, err, ok := w.next()
		if err != nil || !ok {
			return nil, err
		}
		if w.asked++; c.held {
			w.held++
			return c, nil
		}
	}
}

func (w *walk) run() error {
	c, err := w.advance()
	for c != nil && err == nil {
		c, err = w.stream(c)
	}
	if err == nil {
		err = w.ctx.Err()
	}
	return err
}

// line is a document on its way into a block.
type line struct {
	id   string
	text string
	time time.Time
	key  []json.RawMessage
	at   []any // key, comparable
	off  int64 // in the shipped file; -1: not known
}

// stream works on the stream of its first candidate, and returns the first of the next stream.
func (w *walk) stream(c *candidate) (*candidate, error) {
	id := strings.Join(c.names, "\x00")
	s := w.k.streams[id]
	if s == nil { // listed by another pattern of missing fields, or beyond maxStreams
		s = w.k.add(c.names, 0, time.Time{}, time.Time{}, false)
	}
	t := &tape{w: w, s: s}
	if err := t.begin(); err != nil {
		return nil, err
	}
	if w.k.o.Progress != nil {
		w.k.o.Progress(t.in)
	}
	for c != nil && strings.Join(c.names, "\x00") == id {
		var err error
		if c, err = t.stretch(c, id); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// tape makes the blocks of one stream.
type tape struct {
	w      *walk
	s      *stream
	in     *ingest.Input
	stamps bool // lines tell no time: that of the document is put before them, as `kubectl logs --timestamps` does
	index  int
	end    int64 // offset after the last block
	last   []any // key of the last document that is in a block

	before  []byte // what stands before pend, for context
	pend    []byte
	pending []ingest.Document
	offset  int64 // of pend
	row     int64 // number of the next line, 0: not known
}

// begin decides by the head of the stream how its lines are read.
func (t *tape) begin() error {
	head, err := t.fetch(nil, headLines, "asc")
	if err != nil {
		return err
	}
	k, old := t.w.k, t.w.k.inputs[t.s.at]
	restore := func() {
		t.in = ingest.Restore(old.Path, t.join(head), nil)
		for _, f := range []struct {
			field string
			to    *string
		}{{k.f.namespace, &t.in.Identity.Namespace}, {k.f.pod, &t.in.Identity.Pod}, {k.f.container, &t.in.Identity.Container}, {k.f.node, &t.in.Identity.Node}} {
			if v := k.value(t.s.names, f.field); v != "" {
				*f.to = v
			}
		}
	}
	restore()
	if !t.tellsTime(head) {
		t.stamps = true
		restore()
	}
	t.in.Lines, t.in.First, t.in.Last, t.in.Bytes = old.Lines, old.First, old.Last, 0
	k.inputs[t.s.at] = t.in
	return nil
}

// tellsTime reports whether a record of the head has a time of its own.
func (t *tape) tellsTime(head []line) bool {
	data := t.join(head)
	if len(data) == 0 {
		return true
	}
	b := ingest.NewBlock(t.in, 0, 0, 1, nil, data, nil)
	for pos := 0; pos < len(b.Data); pos = b.LineEnd(pos) {
		if r := b.RecordAt(pos); r != nil && !r.Time.IsZero() {
			return true
		}
	}
	return false
}

// render writes a document as the line, or lines, that it was. What a shipper kept of a line end goes.
func (t *tape) render(to []byte, l *line) []byte {
	for text := range strings.SplitSeq(strings.TrimRight(l.text, "\r\n"), "\n") {
		if t.stamps && !l.time.IsZero() {
			to = append(l.time.UTC().AppendFormat(to, "2006-01-02T15:04:05.000000000Z"), ' ')
		}
		if len(text) > ingest.MaxLine-64 {
			text = text[:ingest.MaxLine-64]
			t.warn("lines longer than 64 KiB: only their first 64 KiB were searched")
		}
		to = append(append(to, text...), '\n')
	}
	return to
}

func (t *tape) warn(s string) {
	if !slices.Contains(t.in.Warnings, s) {
		t.in.Warnings = append(t.in.Warnings, s)
	}
}

func (t *tape) join(list []line) (b []byte) {
	for i := range list {
		b = t.render(b, &list[i])
	}
	return b
}

// fetch gives up to n documents of the stream after a place in its order; with desc, before it, the nearest first.
func (t *tape) fetch(after []json.RawMessage, n int, direction string) ([]line, error) {
	k := t.w.k
	s := Search{Query: k.where(k.within(t.s)...), Source: k.source(), Sort: k.order(direction), Size: n}
	hits, err := k.p.page(t.w.ctx, &s, after)
	if err != nil {
		return nil, err
	}
	list := make([]line, len(hits))
	for i := range hits {
		list[i] = k.line(&hits[i], hits[i].Sort)
	}
	return list, nil
}

// line reads a document. key is its place in the order of its stream.
func (k *Corpus) line(h *Hit, key []json.RawMessage) line {
	l := line{id: h.Index + "/_doc/" + h.ID, text: messageOf(h.Source, k.f.message.field), key: key, at: decode(key), off: -1}
	if k.f.offset != "" {
		if v, ok := decode([]json.RawMessage{numberOf(h.Source, k.f.offset)})[0].(int64); ok {
			l.off = v
		}
	}
	l.time, _ = time.Parse(time.RFC3339Nano, messageOf(h.Source, k.f.time))
	return l
}

// numberOf finds a number by its path.
func numberOf(source json.RawMessage, path string) json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal(source, &o) != nil {
		return json.RawMessage("null")
	}
	if v, ok := o[path]; ok {
		return v
	}
	if first, rest, ok := strings.Cut(path, "."); ok && o[first] != nil {
		return numberOf(o[first], rest)
	}
	return json.RawMessage("null")
}

// stretch fetches what is around a candidate, and around the following ones as long as their surroundings touch, and hands it out. It returns the first
// candidate that lies further away.
func (t *tape) stretch(c *candidate, id string) (*candidate, error) {
	if t.last == nil || compareKeys(c.line.at, t.last) > 0 {
		if err := t.back(c); err != nil {
			return nil, err
		}
	}
	next, err := t.w.advance()
	if err != nil {
		return nil, err
	}
	since, want := 0, afterLines // since: documents after the last candidate
	pos := c.line.key
	for {
		list, err := t.fetch(pos, want, "asc")
		if err != nil {
			return nil, err
		}
		for i := range list {
			l := &list[i]
			if t.last != nil && compareKeys(l.at, t.last) <= 0 {
				continue
			}
			for next != nil && strings.Join(next.names, "\x00") == id && compareKeys(next.line.at, l.at) <= 0 {
				since = 0
				if next, err = t.w.advance(); err != nil {
					return nil, err
				}
			}
			since++
			if err := t.put(l); err != nil {
				return nil, err
			}
		}
		if len(list) > 0 {
			pos = list[len(list)-1].key
		}
		if len(list) < want {
			break // the end of the stream
		}
		if since >= afterLines && (since >= maxLines || !t.goesOn(since)) {
			break
		}
		if want < 1000 {
			want *= 2
		}
	}
	return next, t.flush(true)
}

// back begins a stretch with what stands before a candidate, and the candidate. Where that touches what was handed out last, it goes on from there.
func (t *tape) back(c *candidate) error {
	for n := beforeLines; ; n = min(4*n, maxLines) {
		list, err := t.fetch(c.line.key, n, "desc")
		if err != nil {
			return err
		}
		slices.Reverse(list)
		if len(list) == n && n < maxLines && !t.headed(list, &c.line) {
			continue
		}
		fresh := slices.DeleteFunc(slices.Clone(list), func(l line) bool { return t.last != nil && compareKeys(l.at, t.last) <= 0 })
		touches := t.last != nil && len(fresh) < len(list)
		all := append(fresh, c.line)
		if !touches {
			if err := t.start(&all[0]); err != nil {
				return err
			}
		}
		for i := range all {
			if err := t.put(&all[i]); err != nil {
				return err
			}
		}
		return nil
	}
}

// headed reports whether the record that holds a candidate begins in sight.
func (t *tape) headed(before []line, own *line) bool {
	data := t.join(before)
	pos := len(data)
	b := ingest.NewBlock(t.in, 0, 0, 1, nil, t.render(data, own), nil)
	r := b.RecordAt(pos)
	return r != nil && r.Kind != ingest.KindText && r.Line > 2
}

// goesOn reports whether the last record of what is pending may be part of one that a candidate belongs to: no record with a header has begun since.
func (t *tape) goesOn(since int) bool {
	if len(t.pend) == 0 {
		return false
	}
	b := ingest.NewBlock(t.in, 0, 0, 1, t.before, t.pend, nil)
	pos := len(t.pend) - 1
	for range min(since, 16) { // far from the end another record has begun, or has not
		pos = b.LineStart(pos)
		if r := b.RecordAt(pos); r != nil && r.Kind != ingest.KindText && r.Offset == int64(pos) {
			return false
		}
		if pos == 0 {
			break
		}
		pos--
	}
	return true
}

// start begins a stretch at a document: it gets an offset, and its line a number.
func (t *tape) start(l *line) error {
	t.before, t.pend, t.pending = nil, nil, nil
	t.offset = t.end
	if t.end > 0 {
		t.offset += apart
	}
	t.row = 0
	if l.off < 0 {
		return nil
	}
	t.offset = max(t.end, l.off)
	if !t.s.lines {
		return nil
	}
	var out struct {
		Hits struct{ Total struct{ Value int64 } }
	}
	k := t.w.k
	query := k.where(append(k.within(t.s), object{"range": object{k.f.offset: object{"lt": l.off}}})...)
	if err := k.c.Search(t.w.ctx, object{"size": 0, "track_total_hits": true, "pit": k.p.ref(), "query": query}, &out); err != nil {
		return err
	}
	t.row = out.Hits.Total.Value + 1
	return nil
}

// put adds a document to the stretch.
func (t *tape) put(l *line) error {
	t.last = l.at
	d := ingest.Document{Offset: t.offset + int64(len(t.pend)), ID: l.id, Place: l.off, Line: t.row}
	if t.row > 0 {
		t.row++
	}
	t.pending = append(t.pending, d)
	t.pend = t.render(t.pend, l)
	if len(t.pend) < ingest.BlockSize/2+2*ingest.MaxRecord {
		return nil
	}
	return t.flush(false)
}

// flush hands out what is pending; unless it is the end of the stretch, as much is kept as a block needs for context.
func (t *tape) flush(end bool) error {
	for len(t.pend) > 0 {
		n := len(t.pend)
		if !end || n > ingest.BlockSize {
			n = bytes.LastIndexByte(t.pend[:ingest.BlockSize/2], '\n') + 1
		}
		after := t.pend[n:min(len(t.pend), n+2*ingest.MaxRecord)]
		b := ingest.NewBlock(t.in, t.index, t.offset, 1, t.before, t.pend[:n], after)
		b.Documents = slices.Clone(t.pending)
		t.index++
		t.in.Bytes += int64(n)
		context := append(slices.Clone(t.before), t.pend[:n]...)
		t.before = slices.Clone(context[max(0, len(context)-ingest.MaxRecord-1):])
		t.pend = slices.Clone(t.pend[n:])
		t.offset += int64(n)
		t.end = t.offset
		t.drop()
		if !t.w.yield(b, nil) {
			return errEnough
		}
		if err := t.w.ctx.Err(); err != nil {
			return err
		}
		if !end {
			return nil
		}
	}
	return nil
}

// drop forgets the documents that are out of the reach of the next block.
func (t *tape) drop() {
	i := 0
	for i < len(t.pending) && t.pending[i].Offset < t.offset-2*ingest.MaxRecord {
		i++
	}
	t.pending = t.pending[i:]
}

func (p *PointInTime) ref() object { return object{"id": p.id, "keep_alive": keepAlive} }
