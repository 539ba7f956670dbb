package analyze

import (
	"bytes"
	"context"
	"path"
	"runtime"
	"sync"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// Options say how [Run] works.
type Options struct {
	Rules *rules.Set
	Jobs  int // workers; 0: as many as there are cores

	// EveryLine offers every line to the rules instead of searching for their literals. The result is the same; it exists to
	// prove that.
	EveryLine bool

	Binaries *Binaries // modules and core dumps for the stacks; may be nil

	Since, Until time.Time // records outside are ignored; zero: no bound
	Now          func() time.Time
	Version      string
	Commit       string
}

// scan is one pass over a corpus.
type scan struct {
	set     *rules.Set
	o       Options
	search  *literal.Searcher
	lits    [][]byte
	matches *rules.Matches
	records map[*ingest.Input]int64
	total   int64
	outside int64 // matches outside of Since and Until
	dropped int64 // matches not counted because of the bound on groups
	recent  map[place]bool
	input   *ingest.Input
	desks   sync.Pool // of *desk, one for each goroutine at work
}

// place is a record that a rule matched, or was offered (rule -1), near the end of a block: the next block may find it again.
type place struct {
	rule   int
	offset int64
}

// yield is what one block gave.
type yield struct {
	block   *ingest.Block // released; only its position is still used
	end     int64
	found   []*rules.Found
	offered []int64 // offsets of candidate records
	outside int64
	err     error
}

// weight is how much memory it takes while it waits, in findings.
func (y *yield) weight() int { return 1 + len(y.found) + len(y.offered)/64 }

// desk is what a goroutine uses for one block after the other.
type desk struct {
	traps rules.Traps
	hits  []literal.Hit
	seen  map[int64]int // offsets of a block's records → their order in tried
	tried []uint64      // for each of them a bit a rule
}

// run searches all blocks. Parts of the corpus are read, and blocks worked on, concurrently; what they gave is taken in order, so the result does not depend on it.
func (s *scan) run(ctx context.Context, corpus ingest.Corpus) error {
	jobs := s.o.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	p := newParts(jobs)
	defer p.stop()
	for range jobs {
		go func() {
			for {
				select {
				case j := <-p.work:
					y := s.block(j.block)
					p.ahead(y.weight())
					j.result <- y
				case <-p.done:
					return
				}
			}
		}()
	}
	go func() {
		defer close(p.list)
		if c, ok := corpus.(ingest.Parallel); ok {
			for blocks := range c.Parts(ctx, s.lits) {
				if !p.start(blocks) {
					return
				}
			}
			return
		}
		p.start(corpus.Blocks(ctx, s.lits))
	}()
	order := make(chan chan yield)
	go p.merge(order)
	return s.collect(ctx, order, p)
}

// grace is how long an interrupted analysis waits for what is being read. A read may block for ever.
const grace = 2 * time.Second

// collect takes what blocks gave, in their order, until all were read. After an interrupt it takes what is on its way.
func (s *scan) collect(ctx context.Context, order <-chan chan yield, p *parts) error {
	var failed error
	interrupted := ctx.Done()
	var late <-chan time.Time
	for {
		select {
		case <-interrupted:
			interrupted, late = nil, time.After(grace)
		case <-late:
			return context.Cause(ctx)
		case result, more := <-order:
			if !more {
				if failed == nil {
					failed = context.Cause(ctx)
				}
				return failed
			}
			if y := <-result; y.err == nil {
				p.ahead(-y.weight())
				s.take(y)
			} else if failed == nil {
				failed = y.err
			}
		}
	}
}

// block finds the candidates of a block and confirms them.
func (s *scan) block(b *ingest.Block) (y yield) {
	defer b.Release()
	y.block, y.end = b, b.Offset+int64(len(b.Data))
	if b.Tail {
		return y
	}
	d, _ := s.desks.Get().(*desk)
	if d == nil {
		d = &desk{seen: map[int64]int{}}
	}
	defer s.desks.Put(d)
	clear(d.seen)
	d.tried = d.tried[:0]
	c := &candidates{scan: s, block: b, y: &y, desk: d}
	defer c.surroundings()
	if s.o.EveryLine {
		for pos := 0; pos < len(b.Data); {
			end := b.LineEnd(pos)
			for id, l := range s.lits {
				if bytes.Contains(b.Data[pos:end], l) {
					c.offer(pos, id)
				}
			}
			pos = end
		}
		return y
	}
	d.hits = s.search.Find(b.Data, d.hits[:0])
	sortHits(d.hits)
	for _, h := range d.hits {
		c.offer(h.Pos, h.Lit)
	}
	return y
}

// sortHits puts hits in the order of lines; they are nearly so already.
func sortHits(h []literal.Hit) {
	for i := 1; i < len(h); i++ {
		for j := i; j > 0 && (h[j].Pos < h[j-1].Pos || h[j].Pos == h[j-1].Pos && h[j].Lit < h[j-1].Lit); j-- {
			h[j], h[j-1] = h[j-1], h[j]
		}
	}
}

// candidates collects what one block gives.
type candidates struct {
	scan  *scan
	block *ingest.Block
	y     *yield

	start, end int // of the current line
	valid      bool
	cand       rules.Candidate
	tried      int    // where the bits of the current record begin in the desk's tried
	proxy      string // of records that name no pod
	desk       *desk

	// What was kept of the last record that matched, for all rules that it matches.
	of   *ingest.Record
	kept *ingest.Record
}

// offer takes one occurrence of a literal: the record around it is tried against the literal's rules.
func (c *candidates) offer(pos, lit int) {
	if !c.valid || pos < c.start || pos >= c.end {
		c.start, c.end, c.valid = c.block.LineStart(pos), c.block.LineEnd(pos), true
		rec := c.block.RecordAt(pos)
		if rec == nil || c.cand.Record == nil || rec.Offset != c.cand.Record.Offset || rec.Kind != c.cand.Record.Kind {
			c.cand, c.of = rules.Candidate{Record: rec, Block: c.block, Traps: &c.desk.traps}, nil
			if rec != nil {
				c.offered(rec.Offset)
			}
		}
	}
	if c.cand.Record == nil {
		return
	}
	for _, r := range c.scan.set.RulesOf(lit) {
		if bits := &c.desk.tried[c.tried+r/64]; *bits&(1<<(r%64)) == 0 {
			*bits |= 1 << (r % 64)
			c.confirm(r)
		}
	}
}

// offered counts a record once, and finds out which rules it was tried against.
func (c *candidates) offered(offset int64) {
	d := c.desk
	words := (len(c.scan.set.Rules) + 63) / 64
	n, again := d.seen[offset]
	if !again {
		n = len(d.seen)
		d.seen[offset] = n
		for range words {
			d.tried = append(d.tried, 0)
		}
		c.y.offered = append(c.y.offered, offset)
	}
	c.tried = n * words
}

func (c *candidates) confirm(rule int) {
	s := c.scan
	rec, captures, ok := s.set.Confirm(rule, &c.cand)
	if !ok {
		return
	}
	if !s.inTime(rec.Time) {
		c.y.outside++
		return
	}
	if rec != c.of {
		c.of, c.kept = rec, rec
		if d := c.block.Document(rec.Offset); d != nil {
			kept := *rec
			kept.Document = d
			c.kept = &kept
		}
	}
	f := &rules.Found{Rule: s.set.Rules[rule], Record: c.kept, Captures: captures, Proxy: c.proxyOf(rec)}
	if rec.Kind == ingest.KindLog || rec.Kind == ingest.KindText {
		f.Trap = c.cand.Trap(s.set)
	}
	c.y.found = append(c.y.found, f)
}

// surroundings keeps the lines around the matches that may come to stand at an end of their group. An earlier block may have given those
// that begin before this one, so nothing is concluded from them; in some inputs that may be any.
func (c *candidates) surroundings() {
	anywhere := c.block.Input.NewestFirst() || c.block.Input.IsDocument()
	var ends rules.Ends
	middle := map[*rules.Found]bool{}
	for _, f := range c.y.found {
		if !anywhere && f.Record.Offset >= c.block.Offset {
			if m := ends.Add(f); m != nil {
				middle[m] = true
			}
		}
	}
	var of *ingest.Record
	var around *rules.Around
	for _, f := range c.y.found {
		if middle[f] {
			continue
		}
		if f.Record != of {
			of, around = f.Record, nil
			if before, after := c.block.Around(of); len(before)+len(after) > 0 {
				around = &rules.Around{Before: string(before), After: string(after)}
			}
		}
		f.Around = around
	}
}

// proxyOf remembers the name that belongs to the input: all records of a block are of one, and most tell nothing else.
func (c *candidates) proxyOf(r *ingest.Record) string {
	if r.Pod != "" {
		return proxyOf(r)
	}
	if c.proxy == "" {
		c.proxy = proxyOf(r)
	}
	return c.proxy
}

func (s *scan) inTime(t time.Time) bool {
	if t.IsZero() {
		return s.o.Since.IsZero() && s.o.Until.IsZero()
	}
	return (s.o.Since.IsZero() || !t.Before(s.o.Since)) && (s.o.Until.IsZero() || !t.After(s.o.Until))
}

// take adds what a block gave, leaving out what the block before gave already: a record that reaches over the border is found in both.
func (s *scan) take(y yield) {
	b := y.block
	if b.Input != s.input {
		s.input, s.recent = b.Input, map[place]bool{}
	}
	for p := range s.recent {
		if !b.Input.IsDocument() && p.offset < b.Offset-2*ingest.MaxRecord {
			delete(s.recent, p)
		}
	}
	s.outside += y.outside
	for _, off := range y.offered {
		if !s.again(place{-1, off}, b, y.end) {
			s.records[b.Input]++
			s.total++
		}
	}
	for _, f := range y.found {
		if !s.again(place{s.set.Index(f.Rule), f.Record.Offset}, b, y.end) && !s.matches.Add(f) {
			s.dropped++
		}
	}
}

// again reports whether a place was given by an earlier block, and remembers it as long as a later one may give it too. In an input
// that runs forward only records that begin before the block can have been seen.
func (s *scan) again(p place, b *ingest.Block, end int64) bool {
	anywhere := b.Input.NewestFirst() || b.Input.IsDocument()
	if (p.offset < b.Offset || anywhere) && s.recent[p] {
		return true
	}
	if anywhere || p.offset >= end-ingest.MaxRecord {
		s.recent[p] = true
	}
	return false
}

// proxyOf names the proxy that wrote a record, as far as one record tells: its pod, else the file without its rotation number.
// Inputs that turn out to be of one proxy are joined later, see [proxies].
func proxyOf(r *ingest.Record) string {
	if r.Pod != "" {
		return podPrefix + r.Pod
	}
	p := r.Input.Path
	return filePrefix + path.Join(path.Dir(p), ingest.Stem(p))
}

const (
	podPrefix  = "pod:"
	filePrefix = "file:"
)
