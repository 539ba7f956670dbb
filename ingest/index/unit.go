package index

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
)

// unit is what a query is asked about, and what a search gives: a record with all its physical lines; a line that belongs to no record;
// or, in a structured document, what one part of it has of a line.
type unit struct {
	rec    *ingest.Record // nil when nothing sensible stands there
	offset int64          // of its first line in the input
	line   int64          // number of that line
	lines  []span         // the physical lines, first line first
	pieces [][]byte       // the text of lines (or the part's share of them), line ends excluded
	joined string         // the message, when it does not stand like this in one of the pieces
	time   time.Time      // of the record, or of the one before it that tells one
	whole  bool           // a line of a document that several parts share, as a whole: asked only when none of them answers
}

// span is a physical line in the text of a block: text[start:end], line end excluded.
type span struct{ start, end int }

// kindOf is the kind of a unit.
func (u *unit) kindOf() ingest.RecordKind {
	if u.rec == nil {
		return ingest.KindText
	}
	return u.rec.Kind
}

// eachValue calls f with every value that a unit has in the fields that hold values instead of words, in lower case. It stops when f returns
// true.
func (u *unit) eachValue(f func(field, value string) bool) bool {
	if f("kind", u.kindOf().String()) {
		return true
	}
	r := u.rec
	if r == nil {
		return false
	}
	for _, v := range [...][2]string{{"level", r.Level.String()}, {"logger", r.Logger}, {"pod", r.Pod}, {"namespace", r.Namespace},
		{"container", r.Container}, {"node", r.Node}, {"thread", r.Thread}} {
		if v[1] != "" && f(v[0], fold(v[1])) {
			return true
		}
	}
	if r.Access == nil {
		return false
	}
	if r.Access.Status >= 0 && f("status", strconv.Itoa(r.Access.Status)) {
		return true
	}
	flags := fold(r.Access.Flags)
	if flags != "" && f("flags", flags) {
		return true
	}
	for one := range strings.SplitSeq(flags, ",") {
		if one != flags && f("flags", one) {
			return true
		}
	}
	return false
}

// anomalous reports whether a record belongs in a timeline whatever the rules say: a warning or worse, a request that got no answer or a
// server error, something that happened to a Kubernetes object.
func (u *unit) anomalous() bool {
	r := u.rec
	switch {
	case r == nil:
		return false
	case r.Kind == ingest.KindAccess:
		return r.Access != nil && (r.Access.Status == 0 || r.Access.Status >= 500)
	case r.Kind == ingest.KindObject:
		return !r.Time.IsZero() && r.Offset == u.offset && !u.whole
	}
	return r.Level >= ingest.LevelWarning && r.Level <= ingest.LevelCritical
}

// matches decides whether a unit satisfies the query. path is that of the input.
func (q *Query) matches(u *unit, path string) bool {
	if !q.Since.IsZero() && u.time.Before(q.Since) || !q.Until.IsZero() && (u.time.IsZero() || u.time.After(q.Until)) {
		return false
	}
	musts, shoulds, should := 0, 0, false
	for i := range q.clauses {
		c := &q.clauses[i]
		switch {
		case c.not:
			if c.matches(u, path) {
				return false
			}
		case c.must:
			musts++
			if !c.matches(u, path) {
				return false
			}
		default:
			shoulds++
			should = should || musts == 0 && c.matches(u, path)
		}
	}
	return should || musts > 0 || shoulds == 0
}

func (c *clause) matches(u *unit, path string) bool {
	switch c.field {
	case "time":
		return !u.time.IsZero() && !u.time.Before(c.since) && (c.until.IsZero() || u.time.Before(c.until))
	case "source":
		return c.inText([]byte(path))
	case TextField:
		return c.inPieces(u) || u.joined != "" && c.inText([]byte(u.joined))
	}
	return u.eachValue(func(field, value string) bool {
		return field == c.field && (c.test == nil && value == c.value || c.test != nil && c.test(value))
	})
}

func (c *clause) inPieces(u *unit) bool {
	return slices.ContainsFunc(u.pieces, c.inText)
}

// inText decides whether a text holds the phrase, or a word that passes the test.
func (c *clause) inText(text []byte) bool {
	if c.test != nil {
		return anyForm(text, func(w []byte) bool { return c.test(string(w)) })
	}
	if indexFold(text, longest(c.phrase)) < 0 { // every form of a word stands in the text as it is
		return false
	}
	if len(c.phrase) == 1 {
		return anyForm(text, func(w []byte) bool { return string(w) == c.phrase[0] })
	}
	return holdsPhrase(text, c.phrase)
}

// anyForm reports whether f is true for a form of a word of the text.
func anyForm(text []byte, f func([]byte) bool) bool {
	var scratch [256]byte
	buf := scratch[:]
	for t, ok := nextToken(text, 0); ok; t, ok = nextToken(text, t.end) {
		if t.end-t.start > len(buf) {
			buf = make([]byte, 2*(t.end-t.start))
		}
		if forms(text, t, buf, f) {
			return true
		}
	}
	return false
}

// holdsPhrase reports whether the words of a phrase follow one another in a text, each in some form.
func holdsPhrase(text []byte, phrase []string) bool {
	var scratch [256]byte
	buf := scratch[:]
	var begun []int // how many words have been found, for each place where the phrase may have begun
	for t, ok := nextToken(text, 0); ok; t, ok = nextToken(text, t.end) {
		if t.end-t.start > len(buf) {
			buf = make([]byte, 2*(t.end-t.start))
		}
		is := func(word string) bool {
			return forms(text, t, buf, func(w []byte) bool { return string(w) == word })
		}
		keep := begun[:0]
		for _, n := range begun {
			if is(phrase[n]) {
				if n+1 == len(phrase) {
					return true
				}
				keep = append(keep, n+1)
			}
		}
		if begun = keep; is(phrase[0]) {
			begun = append(begun, 1)
		}
	}
	return false
}

func longest(list []string) string {
	best := ""
	for _, s := range list {
		if len(s) > len(best) {
			best = s
		}
	}
	return best
}

// touches reports whether a piece of a hit is worth showing: it holds a phrase or word of the query, or, with part, the first word of one.
func (q *Query) touches(piece []byte, part bool) bool {
	for i := range q.clauses {
		c := &q.clauses[i]
		if c.not || c.field != TextField {
			continue
		}
		if c.inText(piece) {
			return true
		}
		if part && len(c.phrase) > 1 && (&clause{phrase: c.phrase[:1]}).inText(piece) {
			return true
		}
	}
	return false
}

// needles are words of which at least one stands in every text that satisfies the query, in lower case; nil when nothing can be said.
func (q *Query) needles() []string {
	var found []string
	musts := false
	for i := range q.clauses {
		c := &q.clauses[i]
		if c.not {
			continue
		}
		n := c.literal
		if c.test == nil {
			n = longest(c.phrase)
		}
		if c.field != TextField {
			n = ""
		}
		if c.must {
			musts = true
			if len(n) > 1 {
				return []string{n}
			}
			continue
		}
		found = append(found, n)
	}
	if musts || slices.Contains(found, "") {
		return nil
	}
	return found
}

// expr says which stretches may hold a record that satisfies the query. sources gives the ids of the inputs whose path satisfies a
// condition.
func (q *Query) expr(sources func(func(path string) bool) []string) Expr {
	var must, should []Expr
	musts := false
	for i := range q.clauses {
		c := &q.clauses[i]
		switch {
		case c.not:
		case c.must:
			musts = true
			must = append(must, c.expr(sources))
		default:
			should = append(should, c.expr(sources))
		}
	}
	if !musts && len(should) > 0 {
		must = append(must, or(should...))
	}
	if !q.Since.IsZero() || !q.Until.IsZero() {
		must = append(must, Within{q.Since, q.Until})
	}
	return and(must...)
}

func (c *clause) expr(sources func(func(path string) bool) []string) Expr {
	switch {
	case c.field == "time":
		return Within{c.since, c.until}
	case c.field == "source":
		list := Or{}
		for _, id := range sources(func(path string) bool { return c.inText([]byte(path)) }) {
			list = append(list, Term{"input", id})
		}
		return list
	case c.field == TextField && c.test != nil:
		if c.noisy {
			return All{}
		}
		return orLong(Pattern{Field: TextField, Prefix: c.prefix, Match: c.test})
	case c.field == TextField:
		var list []Expr
		for _, w := range c.phrase {
			indexed([]byte(w), func(t []byte) bool {
				list = append(list, Term{TextField, string(t)})
				return false
			})
		}
		return and(list...)
	case c.test != nil:
		return Pattern{Field: c.field, Prefix: c.prefix, Match: c.test}
	}
	return Term{c.field, c.value}
}

// literalsExpr says which stretches may hold one of some literals inside a line: those that have the words in it. The first and the last
// word of a literal may go on beyond it.
func literalsExpr(literals [][]byte) Expr {
	if literals == nil {
		return All{}
	}
	var list []Expr
	for _, l := range literals {
		e := literalExpr(l)
		if _, all := e.(All); all {
			return All{}
		}
		list = append(list, e)
	}
	return or(list...)
}

func literalExpr(l []byte) Expr {
	var list []Expr
	for t, ok := nextToken(l, 0); ok; t, ok = nextToken(l, t.end) {
		word := fold(string(l[t.start:t.end]))
		left, right := t.start > 0, t.end < len(l)
		if left && t.end-t.start <= maxCode && isPair(l, t) {
			flags, _ := nextToken(l, t.end)
			list = append(list, Pattern{Field: TextField, Prefix: string(pair(l, t, flags))})
		}
		if left && right {
			indexed([]byte(word), func(t []byte) bool {
				list = append(list, Term{TextField, string(t)})
				return false
			})
			continue
		}
		if len(word) < 3 || !foreign(word, 0) {
			continue // says too little, or may be the middle of an id, which is not indexed as it is
		}
		p := Pattern{Field: TextField}
		switch {
		case left:
			p.Prefix = word
		case right:
			p.Suffix = word
		default:
			p.Infix = word
		}
		list = append(list, orLong(p))
	}
	return and(list...)
}

// orLong adds to a pattern of words what may fit it beyond maxTerm.
func orLong(p Pattern) Expr { return or(p, Term{TextField, longMark}) }

// holdsAny reports whether one of the literals stands in a piece of a unit.
func (u *unit) holdsAny(literals [][]byte) bool {
	for _, p := range u.pieces {
		for _, l := range literals {
			if len(l) > 0 && bytes.Contains(p, l) {
				return true
			}
		}
	}
	return false
}
