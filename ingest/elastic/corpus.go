package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

const (
	// beforeLines and afterLines are how much of its surroundings a candidate is fetched with at first: most records of several lines are shorter. What
	// seems to go on is fetched further, up to maxLines.
	beforeLines, afterLines, maxLines = 24, 48, ingest.MaxRecordLines
	// headLines decide how the lines of a stream are read.
	headLines = 40
	// maxStreams is how many streams are listed.
	maxStreams = 10_000
	// margin is how far the time of a document may be from the one that its line tells: a shipper may set when it read the line.
	margin = time.Hour
	// apart is the distance in synthetic offsets between stretches of a stream that do not touch.
	apart = 4 * ingest.MaxRecord
)

// Options say what of the documents is read.
type Options struct {
	Query        string            // in the server's query string syntax; empty: all documents. It chooses streams, since context obeys it, too
	Since, Until time.Time         // zero: no bound
	Fields       map[string]string // field names by role, where they are not found by themselves; see [Roles]
	Slices       int               // how many parts of the candidates are asked for at once; 0: two
	Progress     func(*ingest.Input)
}

// Corpus is the logs that a shipper has put into the indices of a pattern, by streams: a stream is what one file, or one container, has written, and
// each is an input. It implements [ingest.Corpus].
type Corpus struct {
	c       *Client
	pattern string
	o       Options
	f       fields
	p       *PointInTime
	filter  []any // what all documents obey
	streams map[string]*stream
	inputs  []*ingest.Input
	notes   []string
	moved   int64 // bytes that Client had received before
}

// stream is one input.
type stream struct {
	at    int      // in inputs
	names []string // values of the stream's fields; a missing one is empty
	lines bool     // documents are lines, all of them: they can be counted
}

// Corpus gives the logs in the indices of a pattern. Nothing is asked of the cluster before [Corpus.Blocks].
func (c *Client) Corpus(pattern string, o Options) *Corpus {
	if o.Slices <= 0 {
		o.Slices = 2
	}
	return &Corpus{c: c, pattern: pattern, o: o, streams: map[string]*stream{}}
}

// Inputs lists the streams, whether blocks of them were yielded or not. Bytes are those that were fetched.
func (k *Corpus) Inputs() []*ingest.Input { return k.inputs }

// Notes tells what could not be asked for, and how much travelled.
func (k *Corpus) Notes() []string { return k.notes }

// Moved is how many bytes of answers were received.
func (k *Corpus) Moved() int64 { return k.c.received.Load() - k.moved }

// Blocks yields, of each stream in order of its name, the stretches around what may hold one of the literals; nil means everything.
func (k *Corpus) Blocks(ctx context.Context, literals [][]byte) iter.Seq2[*ingest.Block, error] {
	return func(yield func(*ingest.Block, error) bool) {
		if err := k.blocks(ctx, literals, yield); err != nil && !errors.Is(err, errEnough) {
			yield(nil, fmt.Errorf("reading %s/%s: %w", k.c.Address, k.pattern, err))
		}
	}
}

var errEnough = errors.New("the caller has enough")

func (k *Corpus) blocks(ctx context.Context, literals [][]byte, yield func(*ingest.Block, error) bool) (err error) {
	k.moved = k.c.received.Load()
	if k.f, err = k.c.discover(ctx, k.pattern, k.o.Fields); err != nil {
		return err
	}
	k.narrow()
	if k.p, err = k.c.Open(ctx, k.pattern); err != nil {
		return err
	}
	defer k.p.Close(ctx)
	if err := k.list(ctx); err != nil {
		return err
	}
	next, stop := iter.Pull2(k.candidates(ctx, literals))
	defer stop()
	w := walk{k: k, ctx: ctx, next: next, yield: yield, all: literals == nil}
	if err := w.run(); err != nil {
		return err
	}
	k.note(fmt.Sprintf("%s/%s: %d documents may have held a literal of the rules, %d do; the others did not travel", k.c.Address, k.pattern, w.asked, w.held))
	return nil
}

func (k *Corpus) note(s string) { k.notes = append(k.notes, s) }

// narrow makes the filter that all documents obey.
func (k *Corpus) narrow() {
	k.filter = nil
	if k.o.Query != "" {
		k.filter = append(k.filter, object{"query_string": object{"query": k.o.Query, "default_field": k.f.message.field, "default_operator": "AND"}})
	}
	span := object{"format": "strict_date_optional_time_nanos"}
	if !k.o.Since.IsZero() {
		span["gte"] = k.o.Since.Add(-margin).UTC().Format(time.RFC3339Nano)
	}
	if !k.o.Until.IsZero() {
		span["lte"] = k.o.Until.Add(margin).UTC().Format(time.RFC3339Nano)
	}
	if len(span) > 1 {
		k.filter = append(k.filter, object{"range": object{k.f.time: span}})
	}
}

// names lists the fields that tell streams apart.
func (f *fields) names() (list []string) {
	for _, n := range []string{f.file, f.generation, f.namespace, f.pod, f.container, f.node} {
		if n != "" {
			list = append(list, n)
		}
	}
	return list
}

// list lists the streams.
func (k *Corpus) list(ctx context.Context) error {
	names := k.f.names()
	if len(names) == 0 {
		k.add(nil, 0, time.Time{}, time.Time{}, false)
		return nil
	}
	var sources []any
	for i, n := range names {
		sources = append(sources, object{fmt.Sprint("n", i): object{"terms": object{"field": n, "missing_bucket": true, "missing_order": "last"}}})
	}
	within := object{"first": object{"min": object{"field": k.f.time, "format": "strict_date_optional_time_nanos"}}, "last": object{"max": object{"field": k.f.time, "format": "strict_date_optional_time_nanos"}},
		"multiline": object{"filter": object{"term": object{"log.flags": "multiline"}}}}
	if k.f.offset != "" {
		within["offset"] = object{"min": object{"field": k.f.offset}}
	}
	var after json.RawMessage
	for {
		composite := object{"size": 500, "sources": sources}
		if after != nil {
			composite["after"] = after
		}
		var out struct {
			Aggregations struct {
				Streams struct {
					After   json.RawMessage `json:"after_key"`
					Buckets []struct {
						Key         map[string]*string
						Count       int64 `json:"doc_count"`
						First, Last struct {
							Text string `json:"value_as_string"`
						}
						Offset    struct{ Value *float64 }
						Multiline struct {
							Count int64 `json:"doc_count"`
						}
					}
				}
			}
		}
		if err := k.c.Search(ctx, object{"size": 0, "track_total_hits": false, "pit": k.p.ref(), "query": k.where(), "aggs": object{"streams": object{"composite": composite, "aggs": within}}}, &out); err != nil {
			return err
		}
		for _, b := range out.Aggregations.Streams.Buckets {
			if len(k.inputs) == maxStreams {
				k.note(fmt.Sprintf("%s/%s: more than %d streams: the others were not listed", k.c.Address, k.pattern, maxStreams))
				return nil
			}
			values := make([]string, len(names))
			for i := range names {
				if v := b.Key[fmt.Sprint("n", i)]; v != nil {
					values[i] = *v
				}
			}
			first, _ := time.Parse(time.RFC3339Nano, b.First.Text)
			last, _ := time.Parse(time.RFC3339Nano, b.Last.Text)
			k.add(values, b.Count, first, last, b.Offset.Value != nil && *b.Offset.Value == 0 && b.Multiline.Count == 0)
		}
		if after = out.Aggregations.Streams.After; len(out.Aggregations.Streams.Buckets) == 0 || after == nil {
			return nil
		}
	}
}

func (k *Corpus) add(names []string, lines int64, first, last time.Time, counted bool) *stream {
	s := &stream{at: len(k.inputs), names: names, lines: counted}
	k.streams[strings.Join(names, "\x00")] = s
	in := ingest.Restore(k.path(names), nil, nil)
	in.Kind, in.Lines, in.First, in.Last = "text", lines, first, last
	k.inputs = append(k.inputs, in)
	return s
}

// value is the value of a field of a stream.
func (k *Corpus) value(names []string, field string) string {
	for i, n := range k.f.names() {
		if n == field && field != "" && i < len(names) {
			return names[i]
		}
	}
	return ""
}

// path is how a stream is called: ADDRESS/PATTERN!FILE, or the container where no file is known.
func (k *Corpus) path(names []string) string {
	file := k.value(names, k.f.file)
	pod, container, node := k.value(names, k.f.pod), k.value(names, k.f.container), k.value(names, k.f.node)
	if file == "" {
		file = strings.Trim(strings.Join([]string{k.value(names, k.f.namespace), pod, container}, "/"), "/")
	}
	if pod == "" && node != "" {
		file = node + "/" + strings.TrimPrefix(file, "/")
	}
	return k.c.Address + "/" + k.pattern + "!" + strings.TrimPrefix(file, "/")
}

// where is the filter as a query.
func (k *Corpus) where(more ...any) any {
	list := append(append([]any{}, k.filter...), more...)
	if len(list) == 0 {
		return object{"match_all": object{}}
	}
	return object{"bool": object{"filter": list}}
}

// within is the filter that only a stream's documents pass.
func (k *Corpus) within(s *stream) (list []any) {
	for i, n := range k.f.names() {
		if s.names[i] == "" {
			list = append(list, object{"bool": object{"must_not": object{"exists": object{"field": n}}}})
		} else {
			list = append(list, object{"term": object{n: s.names[i]}})
		}
	}
	return list
}

// order is by what the documents of a stream are ordered: by offset, when it is known which file it counts in; else by time, and where that is equal, by
// offset. The last resort is the order in which they came.
func (k *Corpus) order(direction string) (list []any) {
	by := []string{k.f.time}
	if k.f.offset != "" {
		by = append(by, k.f.offset)
		if k.f.generation != "" {
			by[0], by[1] = by[1], by[0]
		}
	}
	missing := map[string]string{"asc": "_last", "desc": "_first"}[direction]
	for _, n := range by {
		list = append(list, object{n: object{"order": direction, "missing": missing}})
	}
	return append(list, object{"_shard_doc": direction})
}

// candidate is a document that may hold a literal.
type candidate struct {
	names []string
	line  line
	held  bool // it does
}

// source are the fields that are fetched of a document.
func (k *Corpus) source() []string {
	list := []string{k.f.message.field, k.f.time}
	if k.f.offset != "" {
		list = append(list, k.f.offset)
	}
	return list
}

// candidates gives, in order of streams and of documents in them, those that may hold a literal. The parts of the answer are fetched at once.
func (k *Corpus) candidates(ctx context.Context, literals [][]byte) iter.Seq2[*candidate, error] {
	return func(yield func(*candidate, error) bool) {
		questions, why := k.ask(ctx, literals)
		if why != "" {
			k.note(fmt.Sprintf("%s/%s: the rules' literals cannot be asked of the field %s (%s): every document travels", k.c.Address, k.pattern, k.f.message.field, why))
		}
		for i, query := range questions {
			started := false
			err := k.merge(ctx, query(), literals, func(c *candidate) bool { started = true; return yield(c, nil) })
			if err != nil && i+1 < len(questions) && !started && ctx.Err() == nil && IsStatus(err, 400, 500) {
				continue
			}
			if err != nil {
				yield(nil, err)
			}
			return
		}
	}
}

// ask makes the queries for candidates, each wider than the one before, for a server that refuses that. why: all documents have to come.
func (k *Corpus) ask(ctx context.Context, literals [][]byte) (questions []func() any, why string) {
	if literals == nil {
		return []func() any{func() any { return k.where() }}, ""
	}
	if k.f.message.text {
		if ok, why := k.c.standard(ctx, k.pattern, k.f.message.field); !ok {
			return []func() any{func() any { return k.where() }}, why
		}
	}
	for _, may := range []func(any) bool{always, k.sifted(ctx), never} {
		questions = append(questions, func() any { return k.where(k.f.message.query(literals, may)) })
	}
	return questions, ""
}

func always(any) bool { return true }
func never(any) bool  { return false }

// sifted asks for each part of a refused question by itself whether the server takes it. A beginning such as 503, which many ids have, is no reason to do
// without the others.
func (k *Corpus) sifted(ctx context.Context) func(any) bool {
	known := map[string]bool{}
	return func(part any) bool {
		text, err := json.Marshal(part)
		if err != nil {
			return false
		}
		may, asked := known[string(text)]
		if !asked {
			err := k.c.Search(ctx, object{"size": 0, "track_total_hits": false, "pit": k.p.ref(), "query": k.where(part)}, nil)
			may = err == nil
			known[string(text)] = may
		}
		return may
	}
}

// merge asks for the slices at once, and gives their hits in one order.
func (k *Corpus) merge(ctx context.Context, query any, literals [][]byte, yield func(*candidate) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	names := k.f.names()
	var sort []any
	for _, n := range names {
		sort = append(sort, object{n: object{"order": "asc", "missing": "_last"}})
	}
	sort = append(sort, k.order("asc")...)
	type result struct {
		h   *Hit
		key []any
		err error
	}
	var sources []chan result
	for i := range k.o.Slices {
		ch := make(chan result, 64)
		sources = append(sources, ch)
		go func() {
			defer close(ch)
			for h, err := range k.p.Hits(ctx, Search{Query: query, Source: k.source(), Sort: sort, Slice: [2]int{i, k.o.Slices}, Size: 2000}) {
				r := result{h: h, err: err}
				if err == nil {
					r.key = decode(h.Sort)
				}
				select {
				case ch <- r:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	heads := make([]*result, len(sources))
	for {
		best := -1
		for i, ch := range sources {
			if heads[i] == nil && ch != nil {
				if r, ok := <-ch; ok {
					if r.err != nil {
						return r.err
					}
					heads[i] = &r
				} else {
					sources[i] = nil
				}
			}
			if heads[i] != nil && (best < 0 || compareKeys(heads[i].key, heads[best].key) < 0) {
				best = i
			}
		}
		if best < 0 {
			return ctx.Err()
		}
		h := heads[best].h
		heads[best] = nil
		c := &candidate{names: make([]string, len(names)), line: k.line(h, h.Sort[len(names):])}
		for i := range names {
			_ = json.Unmarshal(h.Sort[i], &c.names[i]) // null stays empty
		}
		c.held = literals == nil || holds(c.line.text, literals)
		if !yield(c) {
			return nil
		}
	}
}

func holds(text string, literals [][]byte) bool {
	b := []byte(text)
	for _, l := range literals {
		if bytes.Contains(b, l) {
			return true
		}
	}
	return false
}

// messageOf finds a field by its path; shippers write {"a": {"b": …}}, {"a.b": …}, and mixtures.
func messageOf(source json.RawMessage, path string) string {
	var o map[string]json.RawMessage
	if json.Unmarshal(source, &o) != nil {
		return ""
	}
	for i := len(path); i > 0; i = strings.LastIndexByte(path[:i], '.') {
		v, ok := o[path[:i]]
		if !ok {
			continue
		}
		if i < len(path) {
			if s := messageOf(v, path[i+1:]); s != "" {
				return s
			}
			continue
		}
		var s string
		if json.Unmarshal(v, &s) == nil {
			return s
		}
		var list []string
		if json.Unmarshal(v, &list) == nil {
			return strings.Join(list, "\n")
		}
	}
	return ""
}

// decode makes sort values comparable.
func decode(list []json.RawMessage) []any {
	out := make([]any, len(list))
	for i, r := range list {
		d := json.NewDecoder(bytes.NewReader(r))
		d.UseNumber()
		_ = d.Decode(&out[i])
		if n, ok := out[i].(json.Number); ok {
			if v, err := n.Int64(); err == nil {
				out[i] = v
			} else if v, err := n.Float64(); err == nil {
				out[i] = v
			}
		}
	}
	return out
}

// compareKeys compares as the server orders: what is missing comes last.
func compareKeys(a, b []any) int {
	for i := range min(len(a), len(b)) {
		if c := compareValues(a[i], b[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b)
		}
	case int64:
		switch b := b.(type) {
		case int64:
			switch {
			case a < b:
				return -1
			case a > b:
				return 1
			}
			return 0
		case float64:
			return compareFloats(float64(a), b)
		}
	case float64:
		switch b := b.(type) {
		case int64:
			return compareFloats(a, float64(b))
		case float64:
			return compareFloats(a, b)
		}
	}
	return 0
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
