package literal

import "sync/atomic"

const (
	// tuneAfter is how many bytes a Searcher sees before it learns what is rare in them, and relearn how many until it does again: another
	// input may be of another dialect. Learning from a block costs about as much as searching twenty.
	tuneAfter = 2 << 20
	relearn   = 128 << 20
	// maxSample is how much of a block it learns from.
	maxSample = 512 << 10
)

// Searcher is a Set that learns from the texts it searches. It finds the same, sooner. It is safe for concurrent use.
type Searcher struct {
	set  atomic.Pointer[Set]
	seen atomic.Int64
	next atomic.Int64 // when seen passes it, the text at hand is the sample
}

// NewSearcher compiles literals. Empty ones never match.
func NewSearcher(lits [][]byte) *Searcher {
	s := &Searcher{}
	s.set.Store(New(lits))
	s.next.Store(tuneAfter)
	return s
}

// Find is [Set.Find].
func (s *Searcher) Find(text []byte, hits []Hit) []Hit {
	set := s.set.Load()
	seen := s.seen.Add(int64(len(text)))
	if next := s.next.Load(); seen >= next && s.next.CompareAndSwap(next, seen+relearn) {
		set = set.For(text[:min(len(text), maxSample)])
		s.set.Store(set)
	}
	return set.Find(text, hits)
}
