package rules_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func golden(t *testing.T, file, got string) {
	t.Helper()
	testkit.Golden(t, file, got, *update)
}

var update = flag.Bool("update", false, "write the golden files")

func load(t testing.TB) *rules.Set {
	t.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatalf("Load(rules.yaml):\n%v", err)
	}
	return set
}

func TestShippedRulesLoad(t *testing.T) {
	set := load(t)
	if len(set.Rules) < 60 || len(set.Causes) < 35 {
		t.Errorf("Load gave %d rules and %d causes, want at least 60 and 35", len(set.Rules), len(set.Causes))
	}
}

// A name that nothing gives a value makes a rule that loads and never fires. Lint tells it; the shipped rules have none.
func TestLintTellsNamesWithoutValue(t *testing.T) {
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: []byte(`
causes: {trouble: {title: t, severity: error, summary: s}}
rules:
  - id: alpha
    about: a
    source: s
    by: [stage, stagge, thread, guest]
    set: {x: "{stage}{version}", y: "{thread}"}
    match: {literals: [alpha text], regex: '(?P<stage>a)(?P<stage2>b)', fields: {logger: '/(?P<part>.)/'}}
    examples: {hit: [a], near: [b]}
  - id: bravo
    about: b
    source: s
    cause: trouble
    when: {anchor: alpha, where: {part: a, callback: b, calls: c}, none: [{rule: alpha, where: {stage: a, stge: b}}]}
    examples: {hit: [a], near: [b]}
  - id: charlie
    about: c
    source: s
    cause: trouble
    when: {anchor: alpha, all: [{rule: alpha, scope: case, same: [stage, namespacce], differs: [part, prt]}]}
    examples: {hit: [a], near: [b]}
`)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range set.Lint() {
		if _, name, ok := strings.Cut(w, "nothing gives "); ok {
			got = append(got, strings.Fields(name)[0])
		}
	}
	if want := []string{`"stagge"`, `"thread"`, `"version"`, `"calls"`, `"stge"`, `"namespacce"`, `"prt"`}; !slices.Equal(got, want) {
		t.Errorf("Lint says that nothing gives %v a value, want %v", got, want)
	}
	for _, w := range load(t).Lint() {
		if strings.Contains(w, "nothing gives") || strings.Contains(w, "every search gets slower") {
			t.Error(w)
		}
	}
}

// Costs counts records, not lines or literals, and tells those that match.
func TestCosts(t *testing.T) {
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rules[0]
	for _, x := range set.Rules {
		if x.Match != nil && x.ID == "guest-panic" {
			r = x
		}
	}
	var log strings.Builder
	for range 300 {
		fmt.Fprintf(&log, "nothing but %s here\n", r.Match.Literals[0])
	}
	list, n, err := set.Costs(context.Background(), ingest.Files([]string{"-"}, ingest.Options{Stdin: strings.NewReader(log.String())}))
	if err != nil || n != int64(log.Len()) {
		t.Fatalf("Costs: %d bytes of %d, error %v", n, log.Len(), err)
	}
	i := slices.IndexFunc(list, func(c rules.Cost) bool { return c.Rule == r.ID })
	if i < 0 || list[i].Candidates != 300 || list[i].Occurs != 300 || list[i].Literal != r.Match.Literals[0] {
		t.Errorf("Costs gave %+v, want 300 candidates of %s", list, r.ID)
	}
}
