package index

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/wasmortem/wasmortem/ingest"
)

// ref is a document as the case knows it: a stretch of a block of an input.
type ref struct {
	input          uint32
	block, stretch int
}

func (r ref) id() string { return fmt.Sprintf("%08x.%06x.%04x", r.input, r.block, r.stretch) }

func parseRef(id string) (r ref, ok bool) {
	p := strings.Split(id, ".")
	if len(p) != 3 {
		return r, false
	}
	input, err1 := strconv.ParseUint(p[0], 16, 32)
	block, err2 := strconv.ParseUint(p[1], 16, 31)
	stretch, err3 := strconv.ParseUint(p[2], 16, 31)
	return ref{uint32(input), int(block), int(stretch)}, err1 == nil && err2 == nil && err3 == nil
}

// anomalyField marks documents in which something anomalous begins, so that a timeline finds them.
const anomalyField = "anomaly"

// prepared is a block on its way into the case. What depends on the blocks before it is still missing.
type prepared struct {
	entry entry
	frame []byte // packed
	docs  []preparedDoc

	document bool // of a structured document: what stands before means nothing
}

// preparedDoc is a document whose times do not know yet when the record before it was written.
type preparedDoc struct {
	doc   Doc
	early bool      // a record without a time stands before all that have one
	last  time.Time // of the last record that tells one
}

// preparer turns blocks into documents. Each goroutine has its own.
type preparer struct {
	terms termSet
	enc   *zstd.Encoder // nil: the block is in the store already

	entries bool // the engine lists records
}

// newEncoder makes an encoder for blocks. Logs shrink to a tenth even at the fastest level.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}

func (p *preparer) block(input uint32, b *ingest.Block) *prepared {
	out := &prepared{document: b.Input.IsDocument(), entry: entry{Offset: b.Offset, Line: b.Line, Bytes: uint32(len(b.Data)), Lines: uint32(b.Lines),
		First: momentOf(b.First), Last: momentOf(b.Last)}}
	if p.enc != nil {
		out.frame = p.enc.EncodeAll(b.Data, make([]byte, 0, len(b.Data)/6))
	}
	if b.Tail {
		out.entry.Tail = 1
		return out
	}
	for _, s := range stretches(b) {
		d := p.stretch(b, s)
		d.doc.ID, d.doc.Input = ref{input, b.Index, s.n}.id(), inputKey(input)
		out.docs = append(out.docs, d)
	}
	return out
}

// stretch makes the document of a stretch: the words of its lines, and those that the records which begin in it have elsewhere.
func (p *preparer) stretch(b *ingest.Block, s stretch) (d preparedDoc) {
	p.terms.reset()
	p.terms.addText(b.Data[s.from:s.to])
	text, data := b.Text()
	from, to := data+s.from, data+s.to
	fields := map[string][]string{}
	put := func(field, value string) bool {
		if !slices.Contains(fields[field], value) {
			fields[field] = append(fields[field], value)
		}
		return false
	}
	walk(b, s, func(u *unit) bool {
		u.eachValue(put)
		if u.anomalous() {
			put(anomalyField, "yes")
		}
		for _, l := range u.lines[1:] {
			if l.start < from || l.end > to {
				p.terms.addText(text[l.start:l.end])
			}
		}
		if u.joined != "" {
			p.terms.addText([]byte(u.joined))
		}
		if p.entries && !u.whole && (u.rec == nil || u.rec.Offset == u.offset || !b.Input.IsDocument()) {
			d.doc.Entries = append(d.doc.Entries, u.entry(b.Input, d.last))
		}
		d.see(u.time)
		return true
	})
	d.doc.Terms, d.doc.Fields = p.terms.terms(), fields
	return d
}

// entry is a unit for an engine that lists records. around is the time of the record before it.
func (u *unit) entry(in *ingest.Input, around time.Time) Entry {
	if u.rec != nil && (u.rec.Offset == u.offset || in.IsDocument()) {
		return Entry{u.rec, around}
	}
	return Entry{&ingest.Record{Input: in, Kind: ingest.KindText, Offset: u.offset, Line: u.line, Lines: 1, Message: string(u.pieces[0])}, around}
}

// see takes the time of the next record.
func (d *preparedDoc) see(t time.Time) {
	if t.IsZero() {
		d.early = d.early || d.last.IsZero()
		return
	}
	d.last = t
	d.doc.widen(t)
}

func (d *Doc) widen(t time.Time) {
	if t.IsZero() {
		return
	}
	if d.From.IsZero() || t.Before(d.From) {
		d.From = t
	}
	if t.After(d.Until) {
		d.Until = t
	}
}

// settle completes a block with the time of the last record before it, and returns that of the last one in it.
func (p *prepared) settle(before time.Time) time.Time {
	var all Doc
	if p.document {
		before = time.Time{}
	}
	p.entry.Before = momentOf(before)
	for i := range p.docs {
		d := &p.docs[i]
		if d.early {
			d.doc.widen(before)
			for n := range d.doc.Entries {
				if d.doc.Entries[n].Around.IsZero() {
					d.doc.Entries[n].Around = before
				}
			}
		}
		if !d.last.IsZero() && !p.document {
			before = d.last
		}
		all.widen(d.doc.From)
		all.widen(d.doc.Until)
	}
	p.entry.Earliest, p.entry.Latest = momentOf(all.From), momentOf(all.Until)
	return before
}

// reindex adds the documents of the i-th input to the index, from its blocks.
func (c *Case) reindex(ctx context.Context, i int) error {
	in, err := c.restore(i)
	if err != nil {
		return err
	}
	p := preparer{entries: c.lists()}
	var docs []Doc
	k, before := c.state.Inputs[i], time.Time{}
	for n := range k.Count {
		b, err := c.block(in, i, n)
		if err != nil {
			return err
		}
		made := p.block(k.ID, b)
		before = made.settle(before)
		for _, d := range made.docs {
			docs = append(docs, d.doc)
		}
		if len(docs) >= batchDocs {
			if err := c.index.Add(ctx, docs); err != nil {
				return err
			}
			docs = docs[:0]
		}
	}
	if len(docs) == 0 {
		return nil
	}
	return c.index.Add(ctx, docs)
}
