package rules

import (
	"math/rand"
	"slices"
	"testing"
	"time"
)

// The same events give the same series in any order and in any parts, and none is lost.
func TestSeriesDoesNotDependOnTheOrder(t *testing.T) {
	start := time.Date(2026, 3, 14, 2, 17, 3, 114e6, time.UTC)
	for _, spread := range []time.Duration{time.Millisecond, 700 * time.Millisecond, time.Minute, 40 * time.Hour, 400 * 24 * time.Hour} {
		r := rand.New(rand.NewSource(int64(spread)))
		var times []time.Time
		for range 500 {
			times = append(times, start.Add(time.Duration(r.Int63n(int64(spread)))))
		}
		var forward, shuffled, parts, other Series
		for _, x := range times {
			forward.Add(x, 1)
		}
		r.Shuffle(len(times), func(i, j int) { times[i], times[j] = times[j], times[i] })
		for i, x := range times {
			shuffled.Add(x, 1)
			if i%3 == 0 {
				parts.Add(x, 1)
			} else {
				other.Add(x, 1)
			}
		}
		parts.Merge(&other)
		begin, step, counts := forward.Steps()
		for name, s := range map[string]*Series{"shuffled": &shuffled, "merged": &parts} {
			b, st, c := s.Steps()
			if !b.Equal(begin) || st != step || !slices.Equal(c, counts) {
				t.Errorf("over %v, %s: %v of %v %v, want %v of %v %v", spread, name, b, st, c, begin, step, counts)
			}
		}
		var sum int64
		for _, c := range counts {
			sum += c
		}
		if sum != 500 || len(counts) > MaxSteps {
			t.Errorf("over %v: %d events in %d steps, want 500 in at most %d", spread, sum, len(counts), MaxSteps)
		}
		first := slices.MinFunc(times, time.Time.Compare)
		if first.Before(begin) || !first.Before(begin.Add(step)) {
			t.Errorf("over %v: the first event %v is not in the first step, %v of %v", spread, first, begin, step)
		}
	}
}

func TestSeriesWithoutTimes(t *testing.T) {
	var s Series
	s.Add(time.Time{}, 1)
	s.Add(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 1)
	if _, _, counts := s.Steps(); counts != nil {
		t.Errorf("a series without times has steps %v", counts)
	}
}
