package analyze

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// The summary does not depend on the order in which cases become ready.
func TestBatchOrder(t *testing.T) {
	day := time.Date(2026, 3, 14, 2, 17, 0, 0, time.UTC)
	report := func(i int) *Report {
		at := NewTime(day.AddDate(0, 0, i))
		return &Report{Schema: Schema, Inputs: []Input{{First: at, Last: at}}, Stats: Stats{Bytes: 10, Lines: 1}, Incidents: []Incident{
			{ID: "aa", RootCause: "guest-panic", Severity: Error, Confidence: 0.5 + float64(i)/20, Count: int64(1 + i), FirstSeen: at, LastSeen: at,
				Subject: Subject{Plugin: "auth"}, Timeline: Timeline{From: at, StepSeconds: 1, Failures: []int64{int64(1 + i)}}},
			{ID: "bb", RootCause: "fail-closed", Severity: Critical, Confidence: 0.9, Count: 1, FirstSeen: at, LastSeen: at,
				Subject: Subject{Plugin: string(rune('a' + i))}, Timeline: Timeline{From: at, StepSeconds: 1, Failures: []int64{1}}},
			{ID: "cc", RootCause: "restart", Severity: Info, Count: 5},
		}}
	}
	var want *Summary
	for range 20 {
		var b Batch
		for _, i := range rand.Perm(8) {
			if i == 7 {
				b.Fail("z", "z.tar", errors.New("damaged"))
				continue
			}
			b.Add(string(rune('a'+i)), "p", report(i))
		}
		s := b.Summary()
		if want == nil {
			want = s
		}
		if !reflect.DeepEqual(s, want) {
			t.Fatalf("another order of cases gives\n%+v, before\n%+v", s, want)
		}
	}
	if want.CasesTotal != 8 || want.Failed != 1 || want.Healthy != 0 || len(want.Incidents) != 2 {
		t.Fatalf("%+v", want)
	}
	bb, aa := want.Incidents[0], want.Incidents[1]
	if aa.Count != 28 || aa.Direction != "rising" || aa.Plugin != "auth" || aa.Confidence != 0.8 || len(aa.Cases) != 7 {
		t.Errorf("aa: %+v", aa)
	}
	if bb.Plugin != "" || bb.Direction != "steady" {
		t.Errorf("bb: %+v; cases differ in the plugin, so it is not known", bb)
	}
	var sum int64
	for _, n := range aa.Trend {
		sum += n
	}
	if sum != aa.Count {
		t.Errorf("the trend of aa has %d failures, it counts %d", sum, aa.Count)
	}
}

func TestDirection(t *testing.T) {
	for _, c := range []struct {
		cases int
		trend []int64
		want  string
	}{
		{1, []int64{1, 2}, "once"}, {2, []int64{3}, "unknown"}, {2, nil, "unknown"}, {2, []int64{0, 0, 4, 5}, "new"}, {2, []int64{4, 5, 0, 0}, "gone"},
		{2, []int64{4, 9, 6}, "rising"}, {2, []int64{6, 9, 4}, "falling"}, {2, []int64{5, 9, 6}, "steady"}, {2, []int64{0, 9, 0}, "steady"},
	} {
		if got := direction(&IncidentOverTime{Cases: make([]string, c.cases), Trend: c.trend}); got != c.want {
			t.Errorf("%d cases, %v: %s, want %s", c.cases, c.trend, got, c.want)
		}
	}
}
