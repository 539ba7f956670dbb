package literal

import (
	"bytes"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
)

// naive finds occurrences the obvious way: the oracle of this package.
func naive(lits [][]byte, text []byte) []Hit {
	var hits []Hit
	for i, l := range lits {
		for p := 0; len(l) > 0 && p+len(l) <= len(text); p++ {
			if bytes.Equal(text[p:p+len(l)], l) {
				hits = append(hits, Hit{p, i})
			}
		}
	}
	return hits
}

func sorted(h []Hit) []Hit {
	sort.Slice(h, func(i, j int) bool { return h[i].Pos < h[j].Pos || h[i].Pos == h[j].Pos && h[i].Lit < h[j].Lit })
	return h
}

func equal(a, b []Hit) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestFindEqualsNaiveSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var lits [][]byte
		for range 1 + r.IntN(12) {
			lits = append(lits, randomText(r, 3+r.IntN(14)))
		}
		text := randomText(r, r.IntN(400))
		for range 6 {
			text = append(text, lits[r.IntN(len(lits))]...)
			text = append(text, randomText(r, r.IntN(9))...)
		}
		got, want := sorted(New(lits).Find(text, nil)), sorted(naive(lits, text))
		if !equal(got, want) {
			t.Fatalf("Find(%q) with %q gave %v, want %v", text, lits, got, want)
		}
		learned := New(lits).For(randomText(r, r.IntN(400)))
		if got := sorted(learned.Find(text, nil)); !equal(got, want) {
			t.Fatalf("Find(%q) with %q, after learning from other text, gave %v, want %v", text, lits, got, want)
		}
	}
}

// What a Searcher learns from is what it searches, so the blocks before and after that one are searched with different sets.
func TestSearcherFindsTheSameWhileItLearns(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	lits := [][]byte{randomText(r, 11), randomText(r, 9), randomText(r, 14)}
	s, fixed := NewSearcher(lits), New(lits)
	for i := range 8 {
		text := append(randomText(r, tuneAfter/4), lits[i%3]...)
		before := s.set.Load()
		if got, want := sorted(s.Find(text, nil)), sorted(fixed.Find(text, nil)); !equal(got, want) {
			t.Fatalf("block %d: Find gave %d hits, want %d", i, len(got), len(want))
		}
		if learned := s.set.Load() != before; learned != (i == 3) {
			t.Errorf("block %d: learned: %v", i, learned)
		}
	}
}

func randomText(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abc_"[r.IntN(4)]
	}
	return b
}

func FuzzFind(f *testing.F) {
	f.Add("missing import\nFunction: \nwasm_fail_stream", "Function: proxy_on_log failed")
	f.Fuzz(func(t *testing.T, list, text string) {
		var lits [][]byte
		for _, l := range strings.Split(list, "\n") {
			if len(l) > 0 {
				lits = append(lits, []byte(l))
			}
		}
		got, want := sorted(New(lits).Find([]byte(text), nil)), sorted(naive(lits, []byte(text)))
		if !equal(got, want) {
			t.Fatalf("Find gave %v, want %v", got, want)
		}
		if got := sorted(New(lits).For([]byte(text)).Find([]byte(text), nil)); !equal(got, want) {
			t.Fatalf("after learning from the text, Find gave %v, want %v", got, want)
		}
	})
}
