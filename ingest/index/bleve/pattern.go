package bleve

import (
	"strings"

	"github.com/blevesearch/bleve/v2/search/query"
	bindex "github.com/blevesearch/bleve_index_api"

	"github.com/wasmortem/wasmortem/ingest/index"
)

// patterns are the patterns of an expression, with the terms of the index that fit each. An analysis asks for hundreds at once (every literal
// of every rule, in four spellings), so equal ones are looked up once, and all that need the whole dictionary in one pass over it.
type patterns map[string][]*resolved // by what they have in common

// resolved is a pattern and the terms that fit it.
type resolved struct {
	index.Pattern
	terms []string
	many  bool // more than maxTerms
}

func key(p *index.Pattern) string {
	k := strings.Join([]string{p.Field, p.Prefix, p.Suffix, p.Infix}, "\x00")
	if p.Match != nil {
		k += "\x00match"
	}
	return k
}

// collect finds the patterns of an expression.
func (p patterns) collect(e index.Expr) {
	switch e := e.(type) {
	case index.Pattern:
		if k := key(&e); e.Match != nil || len(p[k]) == 0 {
			p[k] = append(p[k], &resolved{Pattern: e})
		}
	case index.And:
		for _, x := range e {
			p.collect(x)
		}
	case index.Or:
		for _, x := range e {
			p.collect(x)
		}
	}
}

// find gives the resolved form of a pattern. Patterns that differ only in Match are given in the order in which they were collected.
func (p patterns) find(e index.Pattern) *resolved {
	k := key(&e)
	r := p[k][0]
	if e.Match != nil {
		p[k] = append(p[k][1:], r)
	}
	return r
}

// resolve looks up which terms fit.
func (p patterns) resolve(r bindex.IndexReader) error {
	scans := map[string]*scan{} // by field
	for _, list := range p {
		for _, x := range list {
			if x.Prefix != "" {
				if err := each(r, x.Field, x.Prefix, func(t string) { x.offer(t) }); err != nil {
					return err
				}
				continue
			}
			if scans[x.Field] == nil {
				scans[x.Field] = &scan{parts: map[[3]byte][]*resolved{}}
			}
			scans[x.Field].add(x)
		}
	}
	for field, s := range scans {
		if err := each(r, field, "", s.offer); err != nil {
			return err
		}
	}
	return nil
}

// each calls f with every term of a field that begins with a prefix.
func each(r bindex.IndexReader, field, prefix string, f func(term string)) error {
	d, err := r.FieldDictPrefix(field, []byte(prefix))
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		t, err := d.Next()
		if err != nil || t == nil {
			return err
		}
		f(t.Term)
	}
}

// offer takes a term if it fits.
func (x *resolved) offer(t string) {
	switch {
	case x.many, !strings.HasPrefix(t, x.Prefix), !strings.HasSuffix(t, x.Suffix), !strings.Contains(t, x.Infix), x.Match != nil && !x.Match(t):
	case len(x.terms) == maxTerms:
		x.terms, x.many = nil, true
	case len(x.terms) > 0 && x.terms[len(x.terms)-1] == t: // it occurs twice in the term
	default:
		x.terms = append(x.terms, strings.Clone(t))
	}
}

func (x *resolved) query() query.Query {
	if x.many {
		return query.NewMatchAllQuery()
	}
	if len(x.terms) == 0 {
		return query.NewMatchNoneQuery()
	}
	list := make([]query.Query, len(x.terms))
	for i, t := range x.terms {
		list[i] = term(x.Field, t)
	}
	return query.NewDisjunctionQuery(list)
}

// scan is one pass over all terms of a field.
type scan struct {
	parts map[[3]byte][]*resolved // by the first three bytes of Suffix or Infix
	rest  []*resolved             // those that have to be asked about every term
}

func (s *scan) add(x *resolved) {
	part := x.Suffix
	if part == "" {
		part = x.Infix
	}
	if len(part) < 3 {
		s.rest = append(s.rest, x)
		return
	}
	k := [3]byte([]byte(part[:3]))
	s.parts[k] = append(s.parts[k], x)
}

func (s *scan) offer(t string) {
	for i := 0; i+3 <= len(t) && len(s.parts) > 0; i++ {
		for _, x := range s.parts[[3]byte{t[i], t[i+1], t[i+2]}] {
			x.offer(t)
		}
	}
	for _, x := range s.rest {
		x.offer(t)
	}
}
