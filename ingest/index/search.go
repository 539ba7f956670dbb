package index

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/ingest"
)

// MaxText is how much of a line, and of a message, a hit shows.
const MaxText = 16 << 10

// maxFound is how many lines of a record a hit lists in Found.
const maxFound = 32

// Hit is a record that satisfies a query, or a line that belongs to no record.
type Hit struct {
	Source string `json:"source"` // the input's path
	Line   int64  `json:"line"`   // number of the first physical line, 1-based
	Lines  int    `json:"lines"`  // how many physical lines belong to it; other writers' lines may lie between them
	Offset int64  `json:"offset"` // of that line in the unpacked member

	Time      time.Time `json:"time,omitzero"`   // as the record tells it
	Around    time.Time `json:"around,omitzero"` // where Time is zero: that of the record before it, by which it is ordered
	Kind      string    `json:"kind"`
	Level     string    `json:"level,omitempty"`
	Logger    string    `json:"logger,omitempty"`
	Thread    string    `json:"thread,omitempty"`
	Pod       string    `json:"pod,omitempty"`
	Namespace string    `json:"namespace,omitempty"`
	Container string    `json:"container,omitempty"`
	Node      string    `json:"node,omitempty"`
	Status    string    `json:"status,omitempty"` // of an access log entry
	Flags     string    `json:"flags,omitempty"`

	Text      string `json:"text"`              // the first physical line as it stands, invalid UTF-8 replaced
	Message   string `json:"message,omitempty"` // of the record: without wrapper and header, continuation lines joined, escapes undone
	Truncated bool   `json:"truncated,omitempty"`
	Found     []Line `json:"found,omitempty"` // of a record of several lines, those that hold what was searched for, at most 32
}

// Line is a physical line of a record.
type Line struct {
	Line   int64  `json:"line"`
	Offset int64  `json:"offset"`
	Text   string `json:"text"`
}

// Search gives the records that satisfy a query, in order of time; those of the same time in order of the inputs and the offset; those of
// no known time first. It gives all of them and no others, with an index or without. An error ends it.
func (c *Case) Search(ctx context.Context, q Query) iter.Seq2[Hit, error] {
	return c.search(ctx, &q, q.expr(c.inputsWith), q.matches)
}

// Timeline gives what is worth knowing, in the same order: the records that hold one of the literals, and those that look bad whatever the
// rules say (a warning or worse, a request that failed at the server or got no answer, an event of a Kubernetes object). q narrows it down.
func (c *Case) Timeline(ctx context.Context, q Query, literals [][]byte) iter.Seq2[Hit, error] {
	e := or(Term{anomalyField, "yes"})
	if len(literals) > 0 {
		e = or(e, literalsExpr(literals))
	}
	return c.search(ctx, &q, and(e, q.expr(c.inputsWith)), func(u *unit, path string) bool {
		return (u.anomalous() || u.holdsAny(literals)) && q.matches(u, path)
	})
}

// inputsWith lists the keys of the inputs whose path passes a test.
func (c *Case) inputsWith(test func(path string) bool) []string {
	var keys []string
	for _, in := range c.state.Inputs {
		if test(in.shown()) {
			keys = append(keys, in.key())
		}
	}
	return keys
}

// candidates are the stretches that have to be read.
type candidates struct {
	all       bool
	stretches map[int][]int // by entry
}

func (k *candidates) block(entry int) bool {
	return k.all || len(k.stretches[entry]) > 0
}

// find asks the index. Without one, everything is a candidate.
func (c *Case) find(ctx context.Context, e Expr) (*candidates, error) {
	if _, all := e.(All); all || c.index == nil {
		return &candidates{all: true}, nil
	}
	k := &candidates{stretches: map[int][]int{}}
	inputs := map[uint32]*input{}
	for _, in := range c.state.Inputs {
		inputs[in.ID] = in
	}
	for id, err := range c.index.Find(ctx, e) {
		if err != nil {
			return nil, err
		}
		r, ok := parseRef(id)
		if in := inputs[r.input]; ok && in != nil && r.block < in.Count {
			k.stretches[in.Start+r.block] = append(k.stretches[in.Start+r.block], r.stretch)
		}
	}
	return k, nil
}

// search is one run of Search or Timeline.
type search struct {
	c       *Case
	q       *Query
	accept  func(u *unit, path string) bool
	found   *candidates
	needles []string

	mu       sync.Mutex
	restored map[int]*ingest.Input
	blocks   map[int]*ingest.Block // made last, for hits
	recent   []int
}

// place is where a hit is: enough to order it, and to make it when its turn comes.
type place struct {
	time  time.Time
	input int // position in the case
	block int
	pos   int // of its line in the block
	line  int64
	nth   int // which unit of that line
}

func (a *place) compare(b *place) int {
	return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.input, b.input), cmp.Compare(a.block, b.block), cmp.Compare(a.pos, b.pos), cmp.Compare(a.nth, b.nth))
}

// places is a heap, the earliest first.
type places []place

func (p places) Len() int           { return len(p) }
func (p places) Less(i, j int) bool { return p[i].compare(&p[j]) < 0 }
func (p places) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *places) Push(x any)        { *p = append(*p, x.(place)) }
func (p *places) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// task is a block to be read.
type task struct {
	input, block int
	earliest     time.Time // no hit in it is earlier
	done         chan result
}

type result struct {
	places []place
	err    error
}

// search reads the candidate blocks in order of their earliest record, several at a time, and hands out hits as soon as no block that is still to be
// read can have an earlier one. What waits for its turn is kept as places, so that memory does not grow with the text of hits.
func (c *Case) search(ctx context.Context, q *Query, e Expr, accept func(*unit, string) bool) iter.Seq2[Hit, error] {
	return func(yield func(Hit, error) bool) {
		found, err := c.find(ctx, e)
		if err != nil {
			yield(Hit{}, err)
			return
		}
		s := &search{c: c, q: q, accept: accept, found: found, needles: q.needles(), restored: map[int]*ingest.Input{}, blocks: map[int]*ingest.Block{}}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		tasks := s.tasks()
		next := s.start(ctx, tasks)
		var waiting places
		given := 0
		for t := range next {
			// Everything earlier than this block can go.
			for len(waiting) > 0 && waiting[0].time.Before(t.earliest) {
				if !s.give(heap.Pop(&waiting).(place), yield) {
					return
				}
				if given++; given == q.Limit {
					return
				}
			}
			r := <-t.done
			if r.err != nil {
				yield(Hit{}, r.err)
				return
			}
			for _, p := range r.places {
				heap.Push(&waiting, p)
			}
		}
		if err := context.Cause(ctx); err != nil {
			yield(Hit{}, err)
			return
		}
		for len(waiting) > 0 {
			if !s.give(heap.Pop(&waiting).(place), yield) {
				return
			}
			if given++; given == q.Limit {
				return
			}
		}
	}
}

// tasks lists the blocks to be read, in order.
func (s *search) tasks() []*task {
	since, until := s.q.bounds()
	var list []*task
	for i, in := range s.c.state.Inputs {
		for n := range in.Count {
			e := &s.c.blocks.table[in.Start+n]
			if e.Tail != 0 || !s.found.block(in.Start+n) {
				continue
			}
			latest := e.Latest.time()
			if !since.IsZero() && latest.Before(since) || !until.IsZero() && (latest.IsZero() || e.Earliest.time().After(until)) {
				continue
			}
			t := &task{input: i, block: n, done: make(chan result, 1)}
			if !e.Before.time().IsZero() { // else it may begin with records of no known time
				t.earliest = e.Earliest.time()
			}
			list = append(list, t)
		}
	}
	slices.SortStableFunc(list, func(a, b *task) int { return a.earliest.Compare(b.earliest) })
	return list
}

// bounds are the times outside of which nothing can satisfy the query.
func (q *Query) bounds() (since, until time.Time) {
	since, until = q.Since, q.Until
	for i := range q.clauses {
		c := &q.clauses[i]
		if c.field != "time" || !c.must {
			continue
		}
		if c.since.After(since) {
			since = c.since
		}
		if !c.until.IsZero() && (until.IsZero() || c.until.Before(until)) {
			until = c.until
		}
	}
	return since, until
}

// start works on tasks concurrently, not far ahead of who takes them from the channel.
func (s *search) start(ctx context.Context, tasks []*task) <-chan *task {
	jobs := runtime.GOMAXPROCS(0)
	out, work := make(chan *task, 2*jobs), make(chan *task)
	for range jobs {
		go func() {
			for t := range work {
				var r result
				r.places, r.err = s.read(t)
				t.done <- r
			}
		}()
	}
	go func() {
		defer close(out)
		defer close(work)
		for _, t := range tasks {
			select {
			case out <- t:
			case <-ctx.Done():
				return
			}
			select {
			case work <- t:
			case <-ctx.Done():
				t.done <- result{err: ctx.Err()}
				return
			}
		}
	}()
	return out
}

// read finds the hits of a block.
func (s *search) read(t *task) ([]place, error) {
	in, err := s.input(t.input)
	if err != nil {
		return nil, err
	}
	b, err := s.c.block(in, t.input, t.block)
	if err != nil {
		return nil, err
	}
	entry := s.c.state.Inputs[t.input].Start + t.block
	r := reader{search: s, b: b, task: t, carried: carried{b: b, time: s.c.blocks.table[entry].Before.time(), list: stretches(b)}}
	wanted := s.found.stretches[entry]
	if s.found.all {
		wanted = s.promising(b, r.carried.list)
	}
	slices.Sort(wanted)
	for _, n := range wanted {
		if n < len(r.carried.list) {
			r.stretch(r.carried.list[n])
		}
	}
	return r.places, nil
}

// promising leaves out stretches that cannot hold what every hit holds.
func (s *search) promising(b *ingest.Block, list []stretch) []int {
	text, data := b.Text()
	all := len(s.needles) == 0 || b.Tail || mayHide(b.Input, text)
	var at []int
	if !all {
		for _, word := range s.needles {
			for from := 0; ; {
				i := indexFold(text[from:], word)
				if i < 0 {
					break
				}
				at = append(at, from+i-data)
				from += i + 1
			}
		}
		slices.Sort(at)
	}
	var wanted []int
	for _, st := range list {
		from, to := st.from, st.to+ingest.MaxRecord // a record that begins in it ends before that
		if b.Input.NewestFirst() {
			from, to = st.from-ingest.MaxRecord, st.to
		}
		i, _ := slices.BinarySearch(at, from)
		if all || i < len(at) && at[i] < to {
			wanted = append(wanted, st.n)
		}
	}
	return wanted
}

// mayHide reports whether a record's message may hold words that do not stand in its lines: letters written as JSON escapes, words
// that a container runtime cut in two.
func mayHide(in *ingest.Input, text []byte) bool {
	return bytes.Contains(text, []byte(`\u`)) || strings.Contains(in.Format, "docker") || strings.Contains(in.Format, "json-envelope") ||
		strings.Contains(in.Format, "cri") && bytes.Contains(text, []byte(" P "))
}

// reader finds the hits of a block.
type reader struct {
	*search
	b       *ingest.Block
	task    *task
	carried carried
	places  []place
}

func (r *reader) stretch(st stretch) {
	document, path := r.b.Input.IsDocument(), r.b.Input.Path
	var last time.Time
	var line, any int64 // any: the line of a document that a part has answered for
	nth := 0
	walk(r.b, st, func(u *unit) bool {
		if u.line != line {
			line, nth = u.line, 0
		}
		nth++
		switch {
		case document, !u.time.IsZero():
		case !last.IsZero():
			u.time = last
		default:
			u.time = r.carried.at(st.n)
		}
		if !document {
			last = u.time
		}
		if u.whole && any == u.line || !r.accept(u, path) {
			return true
		}
		any = u.line
		r.places = append(r.places, place{u.time, r.task.input, r.task.block, int(u.offset - r.b.Offset), u.line, nth - 1})
		return true
	})
}

// carried is the time of the last record before a stretch that tells one. It has to be looked for only where a record does not.
type carried struct {
	b    *ingest.Block
	list []stretch
	time time.Time
	n    int // stretches looked at
}

func (k *carried) at(n int) time.Time {
	for ; k.n < n; k.n++ {
		walk(k.b, k.list[k.n], func(u *unit) bool {
			if !u.time.IsZero() {
				k.time = u.time
			}
			return true
		})
	}
	return k.time
}

// input restores an input once.
func (s *search) input(i int) (*ingest.Input, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.restored[i]; in != nil {
		return in, nil
	}
	in, err := s.c.restore(i)
	if err == nil {
		s.restored[i] = in
	}
	return in, err
}

// blockOf makes the block of a hit. Hits come in order of time, so blocks of several inputs alternate.
func (s *search) blockOf(p *place) (*ingest.Block, error) {
	entry := s.c.state.Inputs[p.input].Start + p.block
	if b := s.blocks[entry]; b != nil {
		return b, nil
	}
	in, err := s.input(p.input)
	if err != nil {
		return nil, err
	}
	b, err := s.c.block(in, p.input, p.block)
	if err != nil {
		return nil, err
	}
	if len(s.recent) == cachedBlocks {
		delete(s.blocks, s.recent[0])
		s.recent = s.recent[1:]
	}
	s.blocks[entry], s.recent = b, append(s.recent, entry)
	return b, nil
}

// give makes a hit of a place and hands it out.
func (s *search) give(p place, yield func(Hit, error) bool) bool {
	b, err := s.blockOf(&p)
	if err != nil {
		yield(Hit{}, err)
		return false
	}
	var h Hit
	n := 0
	walk(b, stretch{from: p.pos, to: b.LineEnd(p.pos), line: p.line}, func(u *unit) bool {
		if n++; n <= p.nth {
			return true
		}
		u.time = p.time
		h = s.hit(b, u)
		return false
	})
	if h.Source == "" {
		yield(Hit{}, errors.New("searching: a block changed while it was read"))
		return false
	}
	return yield(h, nil)
}

func (s *search) hit(b *ingest.Block, u *unit) Hit {
	text, data := b.Text()
	first := u.lines[0]
	h := Hit{Source: b.Input.Path, Line: u.line, Lines: len(u.lines), Offset: u.offset, Kind: u.kindOf().String()}
	h.Text, h.Truncated = shorten(bytes.TrimSuffix(text[first.start:first.end], []byte{'\r'}))
	if r := u.rec; r != nil {
		h.Time, h.Level, h.Logger, h.Thread = r.Time, r.Level.String(), r.Logger, r.Thread
		h.Pod, h.Namespace, h.Container, h.Node = r.Pod, r.Namespace, r.Container, r.Node
		if r.Offset == u.offset {
			cut := false
			h.Message, cut = shorten([]byte(r.Message))
			h.Truncated = h.Truncated || cut
		}
		if a := r.Access; a != nil {
			h.Flags = a.Flags
			if a.Status >= 0 {
				h.Status = strconv.Itoa(a.Status)
			}
		}
	}
	if h.Time.IsZero() {
		h.Around = u.time
	}
	if len(u.lines) > 1 {
		h.Found = s.linesOf(u, text, b.Offset-int64(data))
	}
	return h
}

// linesOf lists the lines of a record that hold what was searched for; where only several together do, those that hold the first word of it.
func (s *search) linesOf(u *unit, text []byte, base int64) []Line {
	var found []Line
	for _, part := range []bool{false, true} {
		for i, l := range u.lines {
			if len(found) == maxFound || !s.q.touches(u.pieces[i], part) {
				continue
			}
			line := u.line + int64(bytes.Count(text[min(u.lines[0].start, l.start):l.start], []byte{'\n'}))
			line -= int64(bytes.Count(text[l.start:max(l.start, u.lines[0].start)], []byte{'\n'}))
			shown, _ := shorten(u.pieces[i])
			found = append(found, Line{line, base + int64(l.start), shown})
		}
		if len(found) > 0 {
			break
		}
	}
	return found
}

// shorten makes text fit to be shown: valid UTF-8, one U+FFFD for each byte that is not, at most MaxText bytes.
func shorten(b []byte) (s string, cut bool) {
	if len(b) > MaxText {
		b, cut = b[:MaxText], true
		for i := len(b) - 1; i > len(b)-utf8.UTFMax; i-- { // not in the middle of a character
			if utf8.RuneStart(b[i]) {
				if !utf8.FullRune(b[i:]) {
					b = b[:i]
				}
				break
			}
		}
	}
	if utf8.Valid(b) {
		return string(b), cut
	}
	var sb strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		sb.WriteRune(r)
		b = b[n:]
	}
	return sb.String(), cut
}
