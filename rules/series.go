package rules

import "time"

// MaxSteps is how many steps a [Series] has at most.
const MaxSteps = 128

// Series counts events over time in at most [MaxSteps] steps of equal length: a millisecond, doubled as often as it takes. Steps begin at
// multiples of their length since 1970, so the same events give the same series in any order. The zero value is ready.
type Series struct {
	doubled int   // the length of a step is 1 ms << doubled
	begin   int64 // number of the first step
	counts  []int64
}

// Add counts n events at a time. A zero time, or one that is centuries off, is not counted.
func (s *Series) Add(t time.Time, n int64) {
	if t.IsZero() || t.Year() < 1970 || t.Year() > 2200 {
		return
	}
	s.add(t.UnixMilli(), n)
}

// Merge adds all events of another series.
func (s *Series) Merge(o *Series) {
	if len(o.counts) > 0 && len(s.counts) == 0 {
		s.doubled = o.doubled
	}
	for s.doubled < o.doubled {
		s.double()
	}
	for i, n := range o.counts {
		if n > 0 {
			s.add((o.begin+int64(i))<<o.doubled, n)
		}
	}
}

// Steps gives the beginning of the first step, the length of each, and how many events each has. The counts belong to the caller.
func (s *Series) Steps() (begin time.Time, step time.Duration, counts []int64) {
	if len(s.counts) == 0 {
		return time.Time{}, 0, nil
	}
	return time.UnixMilli(s.begin << s.doubled).UTC(), time.Millisecond << s.doubled, append([]int64(nil), s.counts...)
}

func (s *Series) add(ms, n int64) {
	if len(s.counts) == 0 {
		s.begin, s.counts = ms>>s.doubled, []int64{0}
	}
	i := ms >> s.doubled
	for max(i, s.begin+int64(len(s.counts))-1)-min(i, s.begin) >= MaxSteps {
		s.double()
		i = ms >> s.doubled
	}
	if i < s.begin {
		s.counts = append(make([]int64, s.begin-i, MaxSteps), s.counts...)
		s.begin = i
	}
	for int64(len(s.counts)) <= i-s.begin {
		s.counts = append(s.counts, 0)
	}
	s.counts[i-s.begin] += n
}

// double makes one step of two.
func (s *Series) double() {
	if len(s.counts) > 0 {
		begin := s.begin >> 1
		n := (s.begin+int64(len(s.counts))-1)>>1 - begin + 1
		out := make([]int64, n)
		for i, c := range s.counts {
			out[(s.begin+int64(i))>>1-begin] += c
		}
		s.begin, s.counts = begin, out
	}
	s.doubled++
}
