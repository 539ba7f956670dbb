package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// pipeline takes blocks in order, prepares them concurrently, and puts them into the store and the index in order. One goroutine
// gives it work; another, collect, changes the case.
type pipeline struct {
	ctx    context.Context
	stop   context.CancelCauseFunc
	c      *Case
	steps  chan step
	work   chan job
	gone   chan struct{} // closed when nobody gives work any more, without having said so
	ended  chan struct{}
	failed error // of collect; read it after ended

	// Of collect:
	cur     *input    // begun and not finished
	over    bool      // interrupted: what comes now has gaps before it
	begun   *begun    // what case.json tells of it
	before  time.Time // of the last record of cur that tells a time
	docs    []Doc
	stale   []string // inputs whose documents are to be deleted once case.json does not tell of them
	unsaved int64    // bytes finished since case.json was written
	pending bool     // something is to be told there
	saved   time.Time
	every   time.Duration
}

// step is what collect does next: begin an input, take a block, finish an input.
type step struct {
	begin       *beginning
	block       chan *prepared
	finish, was *input
}

// beginning is an input with what case.json tells of it before it is finished.
type beginning struct {
	to           *input
	path, origin string
	keep         int  // so many blocks of the input that an earlier ingest has begun stay; -1: a new one
	read         bool // the blocks of that other one are still being read
}

type job struct {
	input uint32
	b     *ingest.Block
	done  chan *prepared
}

func startPipeline(ctx context.Context, c *Case, o IngestOptions, stop context.CancelCauseFunc) (*pipeline, error) {
	p := &pipeline{ctx: ctx, stop: stop, c: c, steps: make(chan step, 2*o.Jobs), work: make(chan job), gone: make(chan struct{}),
		ended: make(chan struct{}), saved: time.Now(), every: o.SaveEvery}
	for range o.Jobs {
		enc, err := newEncoder()
		if err != nil {
			return nil, err
		}
		go func() {
			defer enc.Close()
			w := preparer{enc: enc, entries: c.lists()}
			for j := range p.work {
				j.done <- w.block(j.input, j.b)
				j.b.Release()
			}
		}()
	}
	go p.collect()
	return p, nil
}

// send gives collect its next step. Once the context has ended nothing may arrive any more; who reads the corpus sees that too, and does
// not finish the input.
func (p *pipeline) send(s step) {
	select {
	case p.steps <- s:
	case <-p.ctx.Done():
	}
}

func (p *pipeline) begin(b *beginning) { p.send(step{begin: b}) }

func (p *pipeline) finish(to, was *input) { p.send(step{finish: to, was: was}) }

func (p *pipeline) block(input uint32, b *ingest.Block) {
	done := make(chan *prepared, 1)
	p.send(step{block: done})
	select {
	case p.work <- job{input, b, done}:
	case <-p.ctx.Done():
		close(done)
	}
}

// end says that there is no more work. Who gives work calls it.
func (p *pipeline) end() {
	close(p.steps)
	close(p.work)
}

// collect works until the end, and saves; an input that was not finished waits for the next ingest.
func (p *pipeline) collect() {
	defer close(p.ended)
	for more := true; more; {
		var s step
		select {
		case s, more = <-p.steps:
		case <-p.gone:
			more = false
		}
		if !more || p.failed != nil {
			continue
		}
		if err := p.step(s); err != nil {
			p.failed = err
			p.stop(err)
		}
	}
	if p.failed == nil {
		p.suspend()
		p.failed = p.save()
	}
	p.c.failed = p.failed
}

func (p *pipeline) step(s step) error {
	switch {
	case p.over:
	case s.begin != nil:
		return p.start(s.begin)
	case s.block != nil:
		b := <-s.block
		if b != nil && p.cur != nil {
			return p.take(b)
		}
		p.over = true
	case s.finish == p.cur:
		return p.done(s.was)
	}
	return nil
}

// start begins an input, or goes on with the one that an earlier ingest has begun. Only the last blocks of the store can be gone on with, so when it is another,
// those of that one go.
func (p *pipeline) start(b *beginning) error {
	p.cur, p.before = b.to, time.Time{}
	u := p.c.state.Begun
	switch {
	case u != nil && b.keep >= 0:
		if err := p.goOn(u, b.keep); err != nil {
			return fmt.Errorf("going on with %s: %w", u.Path, err)
		}
		p.cur.Start, p.cur.Count = u.Mark.Entries, b.keep
		p.begun = u
		return nil
	case u != nil && b.read:
		p.c.state.Begun, p.stale = nil, append(p.stale, u.key())
	case u != nil:
		if err := p.flush(); err != nil { // forget saves
			return err
		}
		if err := p.c.forget(); err != nil {
			return fmt.Errorf("dropping what there was of %s: %w", u.Path, err)
		}
	}
	mark := p.c.blocks.end
	p.cur.Start = mark.Entries
	p.begun = &begun{p.cur.ID, b.path, b.origin, mark, 0, p.c.index != nil}
	return nil
}

// goOn drops all but the first blocks of an input that was begun. Until they have been replaced by the same ones, case.json tells of more than there is.
func (p *pipeline) goOn(u *begun, keep int) error {
	at := u.Mark
	if at.Entries += keep; keep > 0 {
		e := p.c.blocks.table[at.Entries-1]
		at.Segment, at.Pos = e.Segment, e.Pos+int64(e.Packed)
	}
	if keep < u.Count {
		p.before = p.c.blocks.table[at.Entries].Before.time()
	}
	u.Count = keep
	if err := p.c.blocks.trim(at); err != nil || p.c.index == nil {
		return err
	}
	return p.c.index.Delete(context.WithoutCancel(p.ctx), u.key(), ref{input: u.ID, block: keep}.id())
}

// take puts a block into the store, and its documents on their way into the index.
func (p *pipeline) take(b *prepared) error {
	p.before = b.settle(p.before)
	if err := p.c.blocks.add(b.frame, b.entry); err != nil {
		return fmt.Errorf("writing a block: %w", err)
	}
	p.cur.Count++
	if p.c.index != nil {
		for i := range b.docs {
			p.docs = append(p.docs, b.docs[i].doc)
		}
		if len(p.docs) >= batchDocs {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if time.Since(p.saved) < p.every {
		return nil
	}
	p.note()
	return p.save()
}

// note tells case.json how far the input has come that is being read.
func (p *pipeline) note() {
	u := *p.begun
	u.Count = p.cur.Count
	p.c.state.Begun, p.c.state.Next, p.pending = &u, u.ID+1, true
}

// suspend leaves the input that was begun and not finished to the next ingest.
func (p *pipeline) suspend() {
	if p.cur == nil {
		return
	}
	if p.cur.Count > 0 {
		p.note()
	}
	p.cur = nil
}

func (p *pipeline) flush() error {
	if len(p.docs) == 0 {
		return nil
	}
	if err := p.c.index.Add(context.WithoutCancel(p.ctx), p.docs); err != nil {
		return fmt.Errorf("writing the index: %w", err)
	}
	clear(p.docs)
	p.docs = p.docs[:0]
	return nil
}

// done lists an input that is complete.
func (p *pipeline) done(was *input) error {
	st := &p.c.state
	if i := slices.Index(st.Inputs, was); was != nil && i >= 0 {
		st.Inputs[i] = p.cur
		p.stale = append(p.stale, was.key())
	} else {
		st.Inputs = append(st.Inputs, p.cur)
	}
	st.Next, st.Begun = p.cur.ID+1, nil
	p.unsaved += p.cur.Bytes
	p.pending, p.cur = true, nil
	if p.unsaved < saveBytes && time.Since(p.saved) < p.every {
		return nil
	}
	return p.save()
}

// save makes what is listed last.
func (p *pipeline) save() error {
	if !p.pending {
		return nil
	}
	if err := errors.Join(p.flush(), p.c.save()); err != nil {
		return err
	}
	p.pending, p.unsaved, p.saved = false, 0, time.Now()
	for _, key := range p.stale {
		if p.c.index == nil {
			break
		}
		if err := p.c.index.Delete(context.WithoutCancel(p.ctx), key, ""); err != nil {
			return fmt.Errorf("removing from the index what was replaced: %w", err)
		}
	}
	p.stale = nil
	return nil
}
