// Package bleve keeps the documents of a case in a bleve index on disk. It is the only package that knows bleve.
//
// [Open] is an [index.Engine]. What is indexed is decided by package index, which also cuts text into terms: this package puts them into
// bleve as they are, past its analysers. Nothing is stored but the ids; no positions, frequencies or norms are kept, since hits are confirmed on
// the records themselves and put in order of time.
//
// Fields: text (the terms of a stretch), input, level and the other fields of [index.Doc.Fields], and from and until: the minutes of the
// earliest and the latest record, written 2026-11-22T14:50, so that a span of time is a range of terms. Numbers would be indexed sixteen times.
package bleve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
	bindex "github.com/blevesearch/bleve_index_api"

	"github.com/wasmortem/wasmortem/ingest/index"
)

const (
	inputField = "input"
	fromField  = "from"
	untilField = "until"

	// minute is how times are indexed.
	minute = "2006-01-02T15:04"

	// maxTerms is how many terms a pattern may stand for. One that more terms fit says next to nothing, and is taken for everything.
	maxTerms = 1000
)

// Index implements [index.Index].
type Index struct {
	b bleve.Index
	m mapping.IndexMapping
}

// Open opens the index in a directory; see [index.Engine].
func Open(dir string, write bool) (index.Index, error) {
	if !write {
		b, err := bleve.OpenUsing(dir, map[string]any{"read_only": true, "bolt_timeout": "2s"})
		if err != nil {
			return nil, err
		}
		return &Index{b, b.Mapping()}, nil
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := create(dir); err != nil {
			return nil, err
		}
	}
	b, err := bleve.OpenUsing(dir, map[string]any{"bolt_timeout": "2s"})
	if err != nil {
		return nil, err
	}
	return &Index{b, b.Mapping()}, nil
}

// create makes an empty index. It appears at once or not at all: bleve cannot open one that is half made.
func create(dir string) error {
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	b, err := bleve.NewUsing(tmp, fields(), scorch.Name, scorch.Name, map[string]any{"numSnapshotsToKeep": 1})
	if err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// fields is the mapping: nothing is found that is not said here. Documents are made past it, but queries look at it.
func fields() mapping.IndexMapping {
	m := bleve.NewIndexMapping()
	m.DefaultMapping = bleve.NewDocumentStaticMapping()
	m.DefaultAnalyzer = "keyword"
	m.StoreDynamic, m.IndexDynamic, m.DocValuesDynamic = false, false, false
	return m
}

// Add implements [index.Index]. bleve has written a batch to the disk when it returns.
func (x *Index) Add(ctx context.Context, docs []index.Doc) error {
	if len(docs) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	batch := x.b.NewBatch()
	for i := range docs {
		if err := batch.IndexAdvanced(convert(&docs[i])); err != nil {
			return err
		}
	}
	return x.b.Batch(batch)
}

func convert(d *index.Doc) *document.Document {
	out := document.NewDocument(strings.Clone(d.ID))
	add := func(name string, terms []string) {
		if len(terms) > 0 {
			out.AddField(newField(name, terms))
		}
	}
	add(index.TextField, d.Terms)
	add(inputField, []string{d.Input})
	for name, values := range d.Fields {
		add(name, values)
	}
	if !d.From.IsZero() {
		add(fromField, []string{d.From.UTC().Format(minute)})
		add(untilField, []string{d.Until.UTC().Format(minute)})
	}
	return out
}

// Find implements [index.Index].
func (x *Index) Find(ctx context.Context, e index.Expr) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		advanced, err := x.b.Advanced()
		if err != nil {
			yield("", err)
			return
		}
		r, err := advanced.Reader()
		if err != nil {
			yield("", err)
			return
		}
		defer r.Close()
		q, err := translate(e, r)
		if err != nil {
			yield("", err)
			return
		}
		if err := x.each(ctx, r, q, yield); err != nil {
			yield("", err)
		}
	}
}

// each yields the ids of the documents that satisfy a query. Scores are not computed, so whole sets are joined at once.
func (x *Index) each(ctx context.Context, r bindex.IndexReader, q query.Query, yield func(string, error) bool) error {
	s, err := q.Searcher(ctx, r, x.m, search.SearcherOptions{Score: "none"})
	if err != nil {
		return err
	}
	defer s.Close()
	sc := &search.SearchContext{DocumentMatchPool: search.NewDocumentMatchPool(s.DocumentMatchPoolSize()+1, 0), IndexReader: r}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		d, err := s.Next(sc)
		if err != nil || d == nil {
			return err
		}
		id, err := r.ExternalID(d.IndexInternalID)
		if err != nil {
			return err
		}
		sc.DocumentMatchPool.Put(d)
		if !yield(id, nil) {
			return nil
		}
	}
}

// translate makes a query of an expression.
func translate(e index.Expr, r bindex.IndexReader) (query.Query, error) {
	p := patterns{}
	p.collect(e)
	if err := p.resolve(r); err != nil {
		return nil, err
	}
	return p.query(e)
}

// query makes a query of an expression whose patterns are resolved.
func (p patterns) query(e index.Expr) (query.Query, error) {
	switch e := e.(type) {
	case index.All:
		return query.NewMatchAllQuery(), nil
	case index.Term:
		return term(e.Field, e.Text), nil
	case index.Pattern:
		return p.find(e).query(), nil
	case index.Within:
		return within(e), nil
	case index.And:
		list, err := p.queries(e)
		return query.NewConjunctionQuery(list), err
	case index.Or:
		list, err := p.queries(e)
		if len(list) == 0 {
			return query.NewMatchNoneQuery(), err
		}
		return query.NewDisjunctionQuery(list), err
	}
	return nil, fmt.Errorf("bleve: no such expression: %T", e)
}

func (p patterns) queries(list []index.Expr) ([]query.Query, error) {
	out := make([]query.Query, 0, len(list))
	for _, e := range list {
		q, err := p.query(e)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	return out, nil
}

func term(field, text string) query.Query {
	q := query.NewTermQuery(text)
	q.SetField(field)
	return q
}

// within is a range of minutes: a document must not end before it or begin after it.
func within(w index.Within) query.Query {
	inclusive := true
	span := func(field, from, until string) query.Query {
		q := query.NewTermRangeInclusiveQuery(from, until, &inclusive, &inclusive)
		q.SetField(field)
		return q
	}
	var list []query.Query
	if !w.Since.IsZero() {
		list = append(list, span(untilField, w.Since.UTC().Format(minute), ""))
	}
	if !w.Until.IsZero() {
		list = append(list, span(fromField, "", w.Until.UTC().Format(minute)))
	}
	if len(list) == 0 {
		list = append(list, span(fromField, "0", ""))
	}
	return query.NewConjunctionQuery(list)
}

// Delete implements [index.Index].
func (x *Index) Delete(ctx context.Context, input, from string) error {
	for {
		var ids []string
		for id, err := range x.Find(ctx, index.Term{Field: inputField, Text: input}) {
			if err != nil {
				return err
			}
			if id < from {
				continue
			}
			if ids = append(ids, id); len(ids) == 10_000 {
				break
			}
		}
		if len(ids) == 0 {
			return nil
		}
		batch := x.b.NewBatch()
		for _, id := range ids {
			batch.Delete(id)
		}
		if err := x.b.Batch(batch); err != nil {
			return err
		}
	}
}

// Inputs implements [index.Index].
func (x *Index) Inputs(ctx context.Context) ([]string, error) {
	d, err := x.b.FieldDict(inputField)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var list []string
	for {
		t, err := d.Next()
		if err != nil || t == nil {
			return list, errors.Join(err, ctx.Err())
		}
		list = append(list, strings.Clone(t.Term))
	}
}

// Close implements [index.Index].
func (x *Index) Close() error { return x.b.Close() }

// field is a field of a document with its terms ready made. bleve's own would run an analyser over a text.
type field struct {
	name  string
	freqs bindex.TokenFrequencies
}

func newField(name string, terms []string) *field {
	f := &field{strings.Clone(name), make(bindex.TokenFrequencies, len(terms))}
	size := 0
	for _, t := range terms {
		size += len(t)
	}
	arena, all := make([]byte, 0, size), make([]bindex.TokenFreq, len(terms))
	for i, t := range terms {
		start := len(arena)
		arena = append(arena, t...)
		all[i].Term = arena[start:len(arena):len(arena)]
		all[i].SetFrequency(1)
		f.freqs[t] = &all[i]
	}
	return f
}

func (f *field) Name() string                                      { return f.name }
func (f *field) Value() []byte                                     { return nil }
func (f *field) ArrayPositions() []uint64                          { return nil }
func (f *field) EncodedFieldType() byte                            { return 't' }
func (f *field) Analyze()                                          {}
func (f *field) Options() bindex.FieldIndexingOptions              { return bindex.IndexField | bindex.SkipFreqNorm }
func (f *field) AnalyzedLength() int                               { return len(f.freqs) }
func (f *field) AnalyzedTokenFrequencies() bindex.TokenFrequencies { return f.freqs }
func (f *field) NumPlainTextBytes() uint64                         { return 0 }
func (f *field) Size() int                                         { return 64 * len(f.freqs) }
