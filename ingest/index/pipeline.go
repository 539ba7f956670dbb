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
	mark    end       // where the store ended then
	before  time.Time // of the last record of cur that tells a time
	docs    []Doc
	stale   []string // replaced inputs whose documents are to be deleted once case.json does not list them
	unsaved int64    // bytes finished since case.json was written
	pending bool     // something is
	saved   time.Time
}

// step is what collect does next: begin an input, take a block, finish an input.
type step struct {
	begin       *input
	block       chan *prepared
	finish, was *input
}

type job struct {
	input uint32
	b     *ingest.Block
	done  chan *prepared
}

func startPipeline(ctx context.Context, c *Case, jobs int, stop context.CancelCauseFunc) (*pipeline, error) {
	p := &pipeline{ctx: ctx, stop: stop, c: c, steps: make(chan step, 2*jobs), work: make(chan job), gone: make(chan struct{}),
		ended: make(chan struct{}), saved: time.Now()}
	for range jobs {
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

func (p *pipeline) begin(to *input) { p.send(step{begin: to}) }

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

// collect works until the end, then drops the input that was not finished, and saves.
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
		p.failed = errors.Join(p.abandon(), p.save())
	}
	p.c.failed = p.failed
}

func (p *pipeline) step(s step) error {
	switch {
	case s.begin != nil:
		p.cur, p.before, p.mark = s.begin, time.Time{}, p.c.blocks.end
		p.cur.Start = p.mark.Entries
	case s.block != nil:
		b := <-s.block
		if b != nil && p.cur != nil {
			return p.take(b)
		}
		return p.abandon() // interrupted
	case s.finish == p.cur:
		return p.done(s.was)
	}
	return nil
}

// take puts a block into the store, and its documents on their way into the index.
func (p *pipeline) take(b *prepared) error {
	p.before = b.settle(p.before)
	if err := p.c.blocks.add(b.frame, b.entry); err != nil {
		return fmt.Errorf("writing a block: %w", err)
	}
	p.cur.Count++
	if p.c.index == nil {
		return nil
	}
	for i := range b.docs {
		p.docs = append(p.docs, b.docs[i].doc)
	}
	if len(p.docs) < batchDocs {
		return nil
	}
	return p.flush()
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
	st.Next = p.cur.ID + 1
	p.unsaved += p.cur.Bytes
	p.pending, p.cur = true, nil
	if p.unsaved < saveBytes && time.Since(p.saved) < saveEvery {
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
		if err := p.c.index.DeleteInput(context.WithoutCancel(p.ctx), key); err != nil {
			return fmt.Errorf("removing from the index what was replaced: %w", err)
		}
	}
	p.stale = nil
	return nil
}

// abandon drops the input that was begun and not finished.
func (p *pipeline) abandon() error {
	if p.cur == nil {
		return nil
	}
	key := p.cur.key()
	p.cur = nil
	p.docs = slices.DeleteFunc(p.docs, func(d Doc) bool { return d.Input == key })
	if err := p.c.blocks.trim(p.mark); err != nil {
		return err
	}
	if p.c.index == nil {
		return nil
	}
	return p.c.index.DeleteInput(context.WithoutCancel(p.ctx), key)
}
