// Package indextest tests that an engine keeps the promises of [index.Index]. A new back end is done when [Run] passes.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest/index"
)

// Run tests an engine. Each test gets a directory of its own, named after the test, whose last element is "index" and does not exist.
func Run(t *testing.T, engine index.Engine) {
	for _, c := range []struct {
		name string
		test func(*suite)
	}{
		{"an empty index finds nothing", empty},
		{"terms are found in their field only", terms},
		{"terms are bytes", bytes},
		{"expressions", expressions},
		{"a pattern finds at least what fits", patterns},
		{"within finds at least what overlaps", times},
		{"adding again replaces", replacing},
		{"deleting an input leaves the others", deleting},
		{"everything is there after opening again", reopening},
		{"readers share an index", readers},
		{"a long list of documents", many},
		{"finding ends when told", ending},
		{"many find at once", concurrent},
		{"random expressions agree with looking at every document", random},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, engine: engine, dir: filepath.Join(t.TempDir(), "index")}
			s.open(true)
			defer s.close()
			c.test(s)
		})
	}
}

// suite is one test with its index.
type suite struct {
	*testing.T
	engine index.Engine
	dir    string
	x      index.Index
}

func (s *suite) open(write bool) {
	s.Helper()
	x, err := s.engine(s.dir, write)
	if err != nil {
		s.Fatalf("opening the index: %v", err)
	}
	s.x = x
}

func (s *suite) close() {
	s.Helper()
	if s.x == nil {
		return
	}
	if err := s.x.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	s.x = nil
}

func (s *suite) add(docs ...index.Doc) {
	s.Helper()
	if err := s.x.Add(context.Background(), docs); err != nil {
		s.Fatalf("Add: %v", err)
	}
}

// find gives the sorted ids, and fails when one comes twice.
func (s *suite) find(e index.Expr) []string {
	s.Helper()
	ids := []string{}
	for id, err := range s.x.Find(context.Background(), e) {
		if err != nil {
			s.Fatalf("Find(%+v): %v", e, err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if n := len(ids); len(slices.Compact(slices.Clone(ids))) != n {
		s.Errorf("Find(%+v) gave a document twice: %v", e, ids)
	}
	return ids
}

// exactly wants these documents and no others.
func (s *suite) exactly(e index.Expr, want ...string) {
	s.Helper()
	slices.Sort(want)
	if got := s.find(e); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		s.Errorf("Find(%+v) gave %v, want %v", e, got, want)
	}
}

// atLeast wants these documents among others.
func (s *suite) atLeast(e index.Expr, want ...string) {
	s.Helper()
	got := s.find(e)
	for _, id := range want {
		if !slices.Contains(got, id) {
			s.Errorf("Find(%+v) gave %v, want also %s", e, got, id)
		}
	}
}

func text(t string) index.Expr { return index.Term{Field: index.TextField, Text: t} }

func doc(id, input string, terms ...string) index.Doc {
	return index.Doc{ID: id, Input: input, Terms: terms}
}

func empty(s *suite) {
	s.exactly(index.All{})
	s.exactly(text("panicked"))
	s.exactly(index.Or{})
	s.add()
	if list, err := s.x.Inputs(context.Background()); err != nil || len(list) > 0 {
		s.Errorf("Inputs() = %v, %v; want none", list, err)
	}
	if err := s.x.Delete(context.Background(), "1", ""); err != nil {
		s.Errorf("Delete of an input that is not there: %v", err)
	}
}

func terms(s *suite) {
	d := doc("a", "1", "error", "panicked")
	d.Fields = map[string][]string{"level": {"error", "critical"}, "pod": {"reviews-v1-abcde"}}
	s.add(d, doc("b", "1", "error"), index.Doc{ID: "c", Input: "2", Fields: map[string][]string{"level": {"error"}}}, index.Doc{ID: "d", Input: "2"})
	s.exactly(text("error"), "a", "b")
	s.exactly(text("panicked"), "a")
	s.exactly(text("panick"))
	s.exactly(text("critical"))
	s.exactly(index.Term{Field: "level", Text: "error"}, "a", "c")
	s.exactly(index.Term{Field: "level", Text: "critical"}, "a")
	s.exactly(index.Term{Field: "pod", Text: "reviews-v1-abcde"}, "a")
	s.exactly(index.Term{Field: "pod", Text: "reviews"})
	s.exactly(index.Term{Field: "nothing", Text: "error"})
	s.exactly(index.Term{Field: "input", Text: "2"}, "c", "d")
	s.exactly(index.All{}, "a", "b", "c", "d")
}

func bytes(s *suite) {
	long := strings.Repeat("x", 64)
	list := []string{"#a3f", "a b", "\xff\xfe", "größe", "日本", `back\slash`, `qu"ote`, "*", "?", "a*", "\x00", long, "ＵＴＦ", "e\u0301"}
	for i, t := range list {
		s.add(doc(fmt.Sprint(i), "1", t))
	}
	for i, t := range list {
		// What is not UTF-8 may be found together with other such terms.
		if t == "\xff\xfe" {
			s.atLeast(text(t), fmt.Sprint(i))
			continue
		}
		s.exactly(text(t), fmt.Sprint(i))
	}
}

func expressions(s *suite) {
	s.add(doc("a", "1", "x", "y"), doc("b", "1", "x"), doc("c", "1", "y", "z"), doc("d", "1"))
	s.exactly(index.And{text("x"), text("y")}, "a")
	s.exactly(index.And{text("x")}, "a", "b")
	s.exactly(index.And{text("x"), text("z")})
	s.exactly(index.And{index.All{}, text("y")}, "a", "c")
	s.exactly(index.And{text("x"), index.Or{}})
	s.exactly(index.Or{text("x"), text("z")}, "a", "b", "c")
	s.exactly(index.Or{text("none"), text("z")}, "c")
	s.exactly(index.Or{index.And{text("x"), text("y")}, index.And{text("z"), index.Or{text("x"), text("y")}}}, "a", "c")
	s.exactly(index.Or{text("x"), index.All{}}, "a", "b", "c", "d")
	var wide index.Or
	for i := range 2000 {
		wide = append(wide, index.And{text(fmt.Sprint("none", i)), text("x")})
	}
	s.exactly(append(wide, index.And{text("z"), text("y")}), "c")
}

func patterns(s *suite) {
	s.add(doc("a", "1", "proxy_on_request_headers"), doc("b", "1", "proxy_on_tick"), doc("c", "1", "on_tick"), doc("d", "1", "other"))
	s.atLeast(index.Pattern{Field: index.TextField, Prefix: "proxy_on_"}, "a", "b")
	s.atLeast(index.Pattern{Field: index.TextField, Prefix: "proxy", Match: func(t string) bool { return strings.HasSuffix(t, "tick") }}, "b")
	s.atLeast(index.Pattern{Field: index.TextField, Suffix: "tick"}, "b", "c")
	s.atLeast(index.Pattern{Field: index.TextField, Infix: "on_"}, "a", "b", "c")
	s.atLeast(index.Or{index.Pattern{Field: index.TextField, Suffix: "headers"}, index.Pattern{Field: index.TextField, Infix: "the"}}, "a", "d")
	s.atLeast(index.Pattern{Field: index.TextField, Prefix: "proxy", Suffix: "tick", Infix: "_on"}, "b")
	s.atLeast(index.Pattern{Field: index.TextField, Match: func(t string) bool { return strings.Contains(t, "on_tick") }}, "b", "c")
	s.find(index.Pattern{Field: index.TextField, Prefix: "nothing"})
	s.find(index.Pattern{Field: "no such field"})
	s.atLeast(index.Or{index.Pattern{Field: index.TextField, Prefix: "oth"}, text("on_tick")}, "c", "d")
	s.atLeast(index.And{index.Pattern{Field: index.TextField, Prefix: "proxy"}, text("proxy_on_tick")}, "b")

	var all []string
	var docs []index.Doc
	for i := range 3000 { // more terms than anybody wants to look at one by one
		id := fmt.Sprint("n", i)
		docs, all = append(docs, doc(id, "1", "term"+id)), append(all, id)
	}
	s.add(docs...)
	s.atLeast(index.Pattern{Field: index.TextField, Prefix: "term"}, all...)
}

func at(minutes int) time.Time {
	return time.Date(2026, 11, 22, 14, 50, 9, 970e6, time.UTC).Add(time.Duration(minutes) * time.Minute)
}

func times(s *suite) {
	between := func(id string, from, until int) index.Doc {
		return index.Doc{ID: id, Input: "1", From: at(from), Until: at(until)}
	}
	zoned := between("e", 30, 30)
	zoned.From = zoned.From.In(time.FixedZone("", 7200))
	zoned.Until = zoned.From
	s.add(between("a", 0, 10), between("b", 5, 20), between("c", 20, 20), doc("d", "1", "no time"), zoned,
		index.Doc{ID: "old", Input: "1", From: time.Date(1, 2, 3, 0, 0, 0, 0, time.UTC), Until: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)})
	for _, c := range []struct {
		since, until int
		want, not    string
	}{{0, 4, "a", "bce"}, {10, 10, "ab", "ce"}, {12, 18, "b", "ace"}, {20, 29, "bc", "ae"}, {30, 40, "e", "abc"}, {-10, -5, "", "abce"}, {-10, 60, "abce", ""}} {
		e := index.Within{Since: at(c.since), Until: at(c.until)}
		got := s.find(e)
		for _, id := range strings.Split(c.want, "") {
			if !slices.Contains(got, id) {
				s.Errorf("minutes %d to %d: found %v, want %s too", c.since, c.until, got, id)
			}
		}
		// Whole minutes may be looked at, not whole hours.
		for _, id := range strings.Split(c.not, "") {
			if slices.Contains(got, id) {
				s.Errorf("minutes %d to %d: found %v, %s is minutes away", c.since, c.until, got, id)
			}
		}
		if slices.Contains(got, "d") {
			s.Errorf("minutes %d to %d: found a document without a time", c.since, c.until)
		}
	}
	s.atLeast(index.Within{Since: at(20)}, "b", "c", "e")
	s.atLeast(index.Within{Until: at(5)}, "a", "b", "old")
}

func replacing(s *suite) {
	d := doc("a", "1", "x", "y")
	s.add(d, doc("b", "1", "x"))
	s.add(d)
	s.exactly(text("x"), "a", "b")
	s.exactly(index.All{}, "a", "b")
	s.add(doc("a", "1", "z"))
	s.exactly(text("x"), "b")
	s.exactly(text("y"))
	s.exactly(text("z"), "a")

	// What Add was given is the caller's again.
	docs := []index.Doc{doc("c", "1", "first")}
	s.add(docs...)
	docs[0].Terms[0], docs[0].ID = "second", "d"
	s.exactly(text("first"), "c")
}

func deleting(s *suite) {
	docs := []index.Doc{doc("c", "2", "x")}
	for i := range 50 {
		docs = append(docs, doc(fmt.Sprint("a", i), "1", "x"), doc(fmt.Sprint("b", i), "10", "x"))
	}
	s.add(docs...)
	if err := s.x.Delete(context.Background(), "1", "a7"); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	if got := s.find(text("x")); len(got) != 98 || !slices.Contains(got, "a69"[:2]) || slices.Contains(got, "a7") || slices.Contains(got, "a8") || slices.Contains(got, "a9") {
		s.Errorf("after deleting what input 1 has from a7 on, %d documents are found: %v; want 98, without a7, a8 and a9", len(got), got)
	}
	if err := s.x.Delete(context.Background(), "1", ""); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	if got := s.find(text("x")); len(got) != 51 || got[0] != "b0" {
		s.Errorf("after deleting input 1, %d documents are found, beginning with %v; want 51 of inputs 10 and 2", len(got), got[:1])
	}
	list, err := s.x.Inputs(context.Background())
	if err != nil || !slices.Contains(list, "10") || !slices.Contains(list, "2") {
		s.Errorf("Inputs() = %v, %v; want 10 and 2 among them", list, err)
	}
	s.add(doc("a1", "3", "x"))
	if got := s.find(text("x")); len(got) != 52 {
		s.Errorf("a document that was deleted can be added again: found %d, want 52", len(got))
	}
}

func reopening(s *suite) {
	s.add(doc("a", "1", "x"), doc("b", "2", "y"))
	if err := s.x.Delete(context.Background(), "1", ""); err != nil {
		s.Fatalf("Delete: %v", err)
	}
	s.add(doc("c", "3", "x"))
	s.close()
	s.open(true)
	s.exactly(text("x"), "c")
	s.exactly(index.All{}, "b", "c")
	s.add(doc("d", "4", "x"))
	s.close()
	s.open(false)
	s.exactly(text("x"), "c", "d")
	if list, err := s.x.Inputs(context.Background()); err != nil || !slices.Contains(list, "2") || !slices.Contains(list, "3") || !slices.Contains(list, "4") {
		s.Errorf("Inputs() = %v, %v; want 2, 3 and 4 among them", list, err)
	}
}

func readers(s *suite) {
	s.add(doc("a", "1", "x"))
	s.close()
	s.open(false)
	other, err := s.engine(s.dir, false)
	if err != nil {
		s.Fatalf("opening for reading a second time: %v", err)
	}
	defer other.Close()
	s.exactly(text("x"), "a")
	for id, err := range other.Find(context.Background(), text("x")) {
		if id != "a" || err != nil {
			s.Errorf("the second reader finds %q, %v", id, err)
		}
	}
}

func many(s *suite) {
	docs := make([]index.Doc, 5000)
	for i := range docs {
		docs[i] = doc(fmt.Sprintf("%05d", i), fmt.Sprint(i%7), "all", fmt.Sprint("n", i), fmt.Sprint("mod", i%100))
	}
	s.add(docs...)
	s.exactly(text("n4999"), "04999")
	if got := s.find(text("all")); len(got) != 5000 {
		s.Errorf("found %d documents, want 5000", len(got))
	}
	if got := s.find(index.And{text("mod42"), index.Term{Field: "input", Text: "0"}}); len(got) != 8 {
		s.Errorf("found %v, want 8 documents", got)
	}
	if list, err := s.x.Inputs(context.Background()); err != nil || len(list) != 7 {
		s.Errorf("Inputs() = %v, %v; want 7", list, err)
	}
}

func ending(s *suite) {
	s.add(doc("a", "1", "x"), doc("b", "1", "x"))
	for _, err := range s.x.Find(context.Background(), text("x")) {
		if err != nil {
			s.Errorf("Find: %v", err)
		}
		break
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var got error
	for _, err := range s.x.Find(ctx, text("x")) {
		got = err
	}
	if !errors.Is(got, context.Canceled) {
		s.Errorf("Find after its context ended: %v, want %v", got, context.Canceled)
	}
	if err := s.x.Add(ctx, []index.Doc{doc("late", "1", "x")}); !errors.Is(err, context.Canceled) {
		s.Errorf("Add after its context ended: %v, want %v", err, context.Canceled)
	}
}

func concurrent(s *suite) {
	s.add(doc("a", "1", "x", "y"), doc("b", "1", "y"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				n := 0
				for _, err := range s.x.Find(context.Background(), index.Or{text("x"), text("y")}) {
					if err != nil {
						s.Errorf("Find: %v", err)
					}
					n++
				}
				if n != 2 {
					s.Errorf("found %d documents, want 2", n)
				}
			}
		})
	}
	wg.Wait()
}

// random compares with the plain meaning of expressions.
func random(s *suite) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string { return string(rune('a'+r.IntN(6))) + string(rune('a'+r.IntN(3))) }
	docs := make([]index.Doc, 300)
	for i := range docs {
		d := doc(fmt.Sprintf("%03d", i), fmt.Sprint(r.IntN(3)))
		for range r.IntN(4) {
			if w := word(); !slices.Contains(d.Terms, w) {
				d.Terms = append(d.Terms, w)
			}
		}
		if r.IntN(2) == 0 {
			d.Fields = map[string][]string{"level": {word()}}
		}
		docs[i] = d
	}
	for chunk := range slices.Chunk(docs, 37) {
		s.add(chunk...)
	}
	var expr func(depth int) index.Expr
	expr = func(depth int) index.Expr {
		n := r.IntN(7)
		if depth == 0 {
			n = r.IntN(4)
		}
		switch n {
		case 0:
			return index.Term{Field: "level", Text: word()}
		case 1:
			if r.IntN(4) == 0 {
				return index.All{}
			}
			fallthrough
		case 2, 3:
			return text(word())
		case 4:
			return index.And{expr(depth - 1), expr(depth - 1)}
		case 5:
			return index.Or{expr(depth - 1), expr(depth - 1), expr(depth - 1)}
		}
		return index.Or{expr(depth - 1), expr(depth - 1)}
	}
	for range 300 {
		e := expr(3)
		var want []string
		for i := range docs {
			if holds(e, &docs[i]) {
				want = append(want, docs[i].ID)
			}
		}
		s.exactly(e, want...)
	}
}

// holds is what an expression means.
func holds(e index.Expr, d *index.Doc) bool {
	switch e := e.(type) {
	case index.All:
		return true
	case index.Term:
		if e.Field == index.TextField {
			return slices.Contains(d.Terms, e.Text)
		}
		return slices.Contains(d.Fields[e.Field], e.Text)
	case index.And:
		return !slices.ContainsFunc(e, func(x index.Expr) bool { return !holds(x, d) })
	case index.Or:
		return slices.ContainsFunc(e, func(x index.Expr) bool { return holds(x, d) })
	}
	return false
}
