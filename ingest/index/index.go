package index

import (
	"context"
	"iter"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// Doc is an entry of an index: a stretch of lines, and what the records that begin in it tell.
type Doc struct {
	ID    string // unique; the same place of the same input has the same ID for ever
	Input string // the input's id in the case: what [Index.Delete] takes

	// Terms are distinct, in lower case, at most 64 bytes long, and not always UTF-8: all words of all lines of the stretch and of the records that begin
	// in it. They are searched in the field "text".
	Terms []string

	// Fields holds the values of the other fields, distinct, in lower case: level, logger, pod, …, of any record that begins in the stretch.
	Fields map[string][]string

	// From and Until are the times of the earliest and the latest of these records; zero when none tells a time.
	From, Until time.Time

	// Entries are the records that begin in the stretch, in order of offset; nil unless the engine asks for them (see [Lister]).
	Entries []Entry
}

// Entry is a record as an engine gets it that shows records to people.
type Entry struct {
	*ingest.Record           // one that is no record (a line in no known dialect) has only Kind, place and Message
	Around         time.Time // when Time is zero: that of the record before it, zero when there is none
}

// Lister is an [Index] that also keeps the records themselves, for programs that know nothing of this one.
type Lister interface {
	Index
	ListsEntries() bool
}

// TextField is the field of [Doc.Terms].
const TextField = "text"

// Index finds documents by their terms. It is the back end of a case: bleve, or a search server.
//
// Promises, tested by indextest.Run:
//   - A document can be found once Add has returned, also after a Close (or a kill) and a new Open.
//   - Adding a document again replaces it: nothing is doubled.
//   - Find gives every document that satisfies the expression, each once, in no particular order. It may give more than
//     those, where being exact is dear (a [Pattern] that too many terms fit); for [All], [Term], and what [And] and [Or] make of them, it gives no others.
//     An error ends the sequence.
//   - Delete removes all documents of an input whose ID is not less than from, and no other; there need not be any.
//   - Inputs lists each Doc.Input of which there are documents. After a deletion it may still list an input that has no more.
//   - Nothing is kept of what Add was given; it may be reused afterwards.
//   - Any number of Find may run at once; Add, Delete and Close are called by one goroutine, while nothing else runs.
type Index interface {
	Add(ctx context.Context, docs []Doc) error
	Find(ctx context.Context, e Expr) iter.Seq2[string, error] // IDs
	Delete(ctx context.Context, input, from string) error
	Inputs(ctx context.Context) ([]string, error)
	Close() error
}

// Engine opens the index in a directory. With write it makes a new one where there is none; without, several processes may open it
// at once. A case locks itself before it opens its index.
type Engine func(dir string, write bool) (Index, error)

// Expr says which documents are wanted: one of [All], [Term], [Pattern], [Within], [And], [Or].
type Expr interface{ expr() }

type (
	// All is every document.
	All struct{}
	// Term is every document that has this very term in a field.
	Term struct{ Field, Text string }
	// Pattern is every document that has, in a field, a term that begins with Prefix, ends with Suffix, has Infix in it, and for which Match, unless
	// nil, is true. An engine that cannot ask for one of these leaves it out, and gives more documents.
	Pattern struct {
		Field, Prefix, Suffix, Infix string
		Match                        func(term string) bool
	}
	// Within is every document that tells a time and does not end before Since or begin after Until; zero means no bound. An index may
	// look at whole minutes.
	Within struct{ Since, Until time.Time }
	// And is what satisfies all; it is not empty.
	And []Expr
	// Or is what satisfies any; an empty one is satisfied by nothing.
	Or []Expr
)

func (All) expr()     {}
func (Term) expr()    {}
func (Pattern) expr() {}
func (Within) expr()  {}
func (And) expr()     {}
func (Or) expr()      {}

// and joins conditions; All adds nothing.
func and(list ...Expr) Expr {
	var out And
	for _, e := range list {
		if _, all := e.(All); !all {
			out = append(out, e)
		}
	}
	switch len(out) {
	case 0:
		return All{}
	case 1:
		return out[0]
	}
	return out
}

// or joins alternatives; one that is All makes the others idle.
func or(list ...Expr) Expr {
	var out Or
	for _, e := range list {
		if _, all := e.(All); all {
			return e
		}
		out = append(out, e)
	}
	if len(out) == 1 {
		return out[0]
	}
	return out
}
