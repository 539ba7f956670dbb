package analyze_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
)

func hours(from, to float64) analyze.Input {
	at := func(h float64) *analyze.Time {
		return analyze.NewTime(time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC).Add(time.Duration(h * float64(time.Hour))))
	}
	return analyze.Input{Path: "a.log", First: at(from), Last: at(to)}
}

func seen(id, cause string, s analyze.Severity, n int64, pods ...string) analyze.Incident {
	return analyze.Incident{ID: id, RootCause: cause, Title: cause, Severity: s, Count: n, Subject: analyze.Subject{Pods: pods}}
}

func TestCompare(t *testing.T) {
	before := &analyze.Report{Inputs: []analyze.Input{hours(0, 2), hours(1, 3), hours(10, 11)}, Incidents: []analyze.Incident{
		seen("a", "guest-panic", analyze.Error, 8, "p1"), seen("b", "guest-out-of-memory", analyze.Error, 40, "p1", "p2"),
		seen("c", "fetch-failed", analyze.Warning, 3), seen("d", "abi-mismatch", analyze.Warning, 1), seen("moved", "guest-abort", analyze.Error, 2),
	}}
	after := &analyze.Report{Inputs: []analyze.Input{hours(20, 22)}, Incidents: []analyze.Incident{
		seen("a", "guest-panic", analyze.Error, 5, "p1"), seen("b", "guest-out-of-memory", analyze.Error, 200, "p1", "p2"),
		seen("d", "abi-mismatch", analyze.Critical, 1), seen("e", "vm-dead", analyze.Critical, 1, "p9"), seen("moved2", "guest-abort", analyze.Error, 2),
	}}
	c := analyze.Compare(before, after, "old", "new")
	if c.Before.Hours != 4 || c.After.Hours != 2 {
		t.Errorf("the sides cover %v and %v hours, want 4 (with a gap) and 2", c.Before.Hours, c.After.Hours)
	}
	var got []string
	for _, x := range c.Changes {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", x.ID, x.Status, x.Direction, x.Related, strings.Join(x.Why, "; ")))
	}
	want := []string{
		"e new   ",
		"moved2 new  moved ",
		"d changed worse  severity critical, was warning",
		"b changed worse  100 an hour, was 10 (10 times as often)",
		"moved gone  moved2 ",
		"c gone   ",
		"a same   ", // 2.5 an hour, was 2: chance
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("Compare gave\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if p := c.Changes[0].After.PerPod; p != 1 {
		t.Errorf("per pod it is %v, want 1", p)
	}
}

// A report compared with itself has nothing but the same.
func TestCompareWithItself(t *testing.T) {
	r := run(t, ruleSet(t), ingest.Options{}, false, "../testdata/scene-0217")
	for _, x := range analyze.Compare(r, r, "a", "b").Changes {
		if x.Status != analyze.Same || len(x.Why) > 0 {
			t.Errorf("%s is %s of itself: %v", x.ID, x.Status, x.Why)
		}
	}
}

func TestCompareWithoutTimes(t *testing.T) {
	one := func(n int64) *analyze.Report {
		return &analyze.Report{Incidents: []analyze.Incident{seen("a", "guest-panic", analyze.Error, n)}}
	}
	x := analyze.Compare(one(10), one(100), "a", "b").Changes[0]
	if x.Status != analyze.Changed || x.Direction != "worse" || !strings.Contains(x.Why[0], "not known") || x.After.PerHour != 0 {
		t.Errorf("ten times as many without any time is %s %s %v", x.Status, x.Direction, x.Why)
	}
	if x := analyze.Compare(one(2), one(4), "a", "b").Changes[0]; x.Status != analyze.Same {
		t.Errorf("2 and 4 is %s %v, want the same: that is chance", x.Status, x.Why)
	}
	if x := analyze.Compare(one(100), one(10), "a", "b").Changes[0]; x.Direction != "better" {
		t.Errorf("a tenth is %s", x.Direction)
	}
}
