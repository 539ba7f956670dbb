package analyze

import (
	"iter"
	"sync"

	"github.com/wasmortem/wasmortem/ingest"
)

const (
	// maxAhead is how many findings may wait until the parts before theirs were read. One takes a kilobyte or two.
	maxAhead = 16 << 10
	// maxParts is how many parts may wait, and maxBlocks how many blocks of each.
	maxParts  = 256
	maxBlocks = 1024
)

// parts reads the parts of a corpus at the same time and puts what their blocks gave into the order of the corpus. The first part that was not
// taken yet is never kept waiting; those behind it wait when they are too far ahead.
type parts struct {
	work   chan job
	list   chan *part    // in order
	tokens chan struct{} // for as many as are read at once
	done   chan struct{} // nobody takes any more

	mu    sync.Mutex
	moved sync.Cond
	first *part // of those not taken yet
	found int   // findings that wait
	over  bool
}

// part is what the blocks of one part give, in order.
type part struct{ order chan chan yield }

// job is a block to search.
type job struct {
	block  *ingest.Block
	result chan yield
}

func newParts(jobs int) *parts {
	p := &parts{work: make(chan job, jobs), list: make(chan *part, maxParts), tokens: make(chan struct{}, jobs), done: make(chan struct{})}
	p.moved.L = &p.mu
	return p
}

// start begins to read a part, once fewer than jobs are being read. It gives up when nobody takes results any more; then the blocks are asked for
// all the same and let go, because a part has to be begun.
func (p *parts) start(blocks iter.Seq2[*ingest.Block, error]) bool {
	x := &part{order: make(chan chan yield, maxBlocks)}
	select {
	case p.tokens <- struct{}{}:
	case <-p.done:
		leave(blocks)
		return false
	}
	select {
	case p.list <- x:
	case <-p.done:
		leave(blocks)
		return false
	}
	go func() {
		defer func() { <-p.tokens }()
		defer close(x.order)
		for b, err := range blocks {
			if !p.offer(x, b, err) {
				return
			}
		}
	}()
	return true
}

func leave(blocks iter.Seq2[*ingest.Block, error]) {
	for b, err := range blocks {
		if err == nil {
			b.Release()
		}
		return
	}
}

// offer hands a block to the workers.
func (p *parts) offer(x *part, b *ingest.Block, err error) bool {
	if !p.turn(x) {
		return false
	}
	result := make(chan yield, 1)
	if err != nil {
		result <- yield{err: err}
	}
	select {
	case x.order <- result:
	case <-p.done:
		return false
	}
	if err == nil {
		select {
		case p.work <- job{b, result}:
		case <-p.done:
			return false
		}
	}
	return true
}

// turn waits while a part is too far ahead, and reports whether anybody still wants it.
func (p *parts) turn(x *part) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.first != x && p.found >= maxAhead && !p.over {
		p.moved.Wait()
	}
	return !p.over
}

// ahead counts findings that wait, or were taken.
func (p *parts) ahead(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found += n
	if n < 0 {
		p.moved.Broadcast()
	}
}

// merge gives what the parts give, one part after the other.
func (p *parts) merge(order chan<- chan yield) {
	defer close(order)
	for x := range p.list {
		p.mu.Lock()
		p.first = x
		p.moved.Broadcast()
		p.mu.Unlock()
		for result := range x.order {
			select {
			case order <- result:
			case <-p.done:
				return
			}
		}
	}
}

// stop lets all goroutines end, as soon as what they read lets them.
func (p *parts) stop() {
	close(p.done)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.moved.Broadcast()
}
