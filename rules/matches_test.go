package rules_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
)

const alphaRule = `
causes: {trouble: {title: t, severity: error, summary: s}}
rules:
  - {id: alpha, cause: trouble, match: {literals: [alpha], regex: alpha}, by: [key], examples: {hit: [a], near: [b]}}
`

func alphas(t *testing.T) (*rules.Set, *rules.Rule) {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: []byte(alphaRule)})
	if err != nil {
		t.Fatal(err)
	}
	return set, set.Rule("alpha")
}

// Five hundred proxies that fail again and again do not fill the memory: beyond a bound only a few matches of each group are kept. Counts
// and times stay true.
func TestMatchesAreBounded(t *testing.T) {
	set, alpha := alphas(t)
	in := &ingest.Input{Path: "a.log"}
	start := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	m := &rules.Matches{}
	const proxies, each = 500, 600
	for i := range each {
		for p := range proxies {
			r := &ingest.Record{Input: in, Line: int64(i*proxies + p + 1), Time: start.Add(time.Duration(i) * time.Second)}
			if !m.Add(&rules.Found{Rule: alpha, Record: r, Proxy: fmt.Sprint("shop-", p)}) {
				t.Fatalf("Add did not count match %d of proxy %d", i, p)
			}
		}
	}
	kept := len(m.Kept(alpha))
	if kept > 220_000 {
		t.Errorf("%d of %d matches are kept, want about 200,000", kept, proxies*each)
	}
	for _, f := range set.Evaluate(m, nil) {
		if f.Count != each || !f.From.Equal(start) || !f.To.Equal(start.Add((each-1)*time.Second)) {
			t.Fatalf("%s: count %d from %v to %v, want %d from %v on for %v", f.Proxy, f.Count, f.From, f.To, each, start, (each-1)*time.Second)
		}
		if last := f.Anchors[len(f.Anchors)-1]; !last.Record.Time.Equal(f.To) {
			t.Fatalf("%s: the last match that is kept is of %v, want %v", f.Proxy, last.Record.Time, f.To)
		}
	}
}

// When every match differs, those beyond the bound on groups are refused, so that the caller can say so.
func TestGroupsAreBounded(t *testing.T) {
	_, alpha := alphas(t)
	in := &ingest.Input{Path: "a.log"}
	m := &rules.Matches{}
	refused := 0
	for i := range 60_000 {
		f := &rules.Found{Rule: alpha, Record: &ingest.Record{Input: in, Line: int64(i + 1)}, Captures: map[string]string{"key": fmt.Sprint(i)}}
		if !m.Add(f) {
			refused++
		}
	}
	if refused != 10_000 || len(m.Groups()) != 50_000 {
		t.Errorf("%d matches were refused and %d groups made, want 10000 and 50000", refused, len(m.Groups()))
	}
}

// Matches may be added after somebody looked: a log that is followed grows.
func TestMatchesGrow(t *testing.T) {
	set, alpha := alphas(t)
	in := &ingest.Input{Path: "a.log"}
	m := &rules.Matches{}
	for i := range 3 {
		m.Add(&rules.Found{Rule: alpha, Record: &ingest.Record{Input: in, Line: int64(i + 1)}, Proxy: "p"})
		if n := len(m.Kept(alpha)); n != i+1 {
			t.Errorf("after %d matches Kept lists %d", i+1, n)
		}
		if fs := set.Evaluate(m, set.Facts(m)); len(fs) != 1 || fs[0].Count != int64(i+1) {
			t.Errorf("after %d matches Evaluate gives %v", i+1, fs)
		}
	}
}

// Two inputs that turn out to be of one proxy are evaluated as one.
func TestRename(t *testing.T) {
	set, alpha := alphas(t)
	m := &rules.Matches{}
	for i, p := range []string{"a.log", "b.log"} {
		in := &ingest.Input{Path: p}
		m.Add(&rules.Found{Rule: alpha, Record: &ingest.Record{Input: in, Line: int64(i + 1)}, Proxy: p})
	}
	m.Rename(func(string) string { return "shop" })
	for _, f := range set.Evaluate(m, set.Facts(m)) {
		if f.Proxy != "shop" || f.Anchors[0].Proxy != "shop" {
			t.Errorf("a finding is of %s, its anchor of %s, want shop", f.Proxy, f.Anchors[0].Proxy)
		}
	}
}

// A rule that is switched off stays known, but has no matches: not even those of the rule that took its place.
func TestDisabledRulesHaveNoMatches(t *testing.T) {
	two := alphaRule + "  - {id: bravo, match: {literals: [bravo], regex: bravo}, examples: {hit: [a], near: [b]}}\n"
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: []byte(two)}, rules.File{Name: "off.yaml", Data: []byte("overrides: [{rule: alpha, disabled: true}]")})
	if err != nil {
		t.Fatal(err)
	}
	m := &rules.Matches{}
	m.Add(&rules.Found{Rule: set.Rule("bravo"), Record: &ingest.Record{Input: &ingest.Input{Path: "a.log"}, Line: 1}})
	if got := m.Kept(set.Rule("alpha")); len(got) != 0 {
		t.Errorf("Kept(alpha) lists %d matches, want none: the rule is disabled", len(got))
	}
	if got := m.Kept(set.Rule("bravo")); len(got) != 1 {
		t.Errorf("Kept(bravo) lists %d matches, want 1", len(got))
	}
}

// The searched forms of a literal are those in which it reaches us; each once.
func TestVariants(t *testing.T) {
	for _, c := range []struct {
		literal string
		want    int
	}{{"missing malloc", 1}, {`"code":503`, 8}, {"a <b> c", 3}, {`say "<b>"`, 10}} {
		got := rules.Variants(c.literal)
		seen := map[string]bool{}
		for _, v := range got {
			if seen[v] {
				t.Errorf("Variants(%q) lists %q twice", c.literal, v)
			}
			seen[v] = true
		}
		if len(got) != c.want || got[0] != c.literal {
			t.Errorf("Variants(%q) = %q, want %d forms, the literal first", c.literal, got, c.want)
		}
	}
}
