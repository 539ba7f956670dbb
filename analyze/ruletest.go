package analyze

import (
	"context"
	"fmt"
	"strings"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// TestRules runs the examples of all rules: a hit must fire its rule, a near miss must not, and must hold a literal of it (or of its
// anchor), or it would prove nothing. The result lists what failed, each with file and line.
func TestRules(set *rules.Set) []string {
	var failed []string
	for _, r := range set.Rules {
		for _, e := range r.Hits {
			if !Fires(set, r, e.Text) {
				failed = append(failed, fmt.Sprintf("%s:%d: rule %s does not fire on its hit", r.File, e.Line, r.ID))
			}
		}
		for _, e := range r.Near {
			if Fires(set, r, e.Text) {
				failed = append(failed, fmt.Sprintf("%s:%d: rule %s fires on its near miss", r.File, e.Line, r.ID))
			}
			if !holdsLiteral(set, r, e.Text) {
				failed = append(failed, fmt.Sprintf("%s:%d: the near miss of rule %s holds none of its literals", r.File, e.Line, r.ID))
			}
		}
	}
	return failed
}

// Fires reports whether a rule fires on a text, taken as one input.
func Fires(set *rules.Set, r *rules.Rule, text string) bool {
	s := &scan{set: set, lits: set.Literals(), matches: &rules.Matches{}, records: map[*ingest.Input]int64{}, o: Options{Jobs: 1}}
	s.search = literal.NewSearcher(s.lits)
	c := ingest.Files([]string{"-"}, ingest.Options{Stdin: strings.NewReader(text)})
	if err := s.run(context.Background(), c); err != nil {
		return false
	}
	if r.Match != nil {
		for _, g := range s.matches.Groups() {
			if g.Rule == r {
				return true
			}
		}
		return false
	}
	regions(set, s.matches)
	for _, f := range set.Evaluate(s.matches, set.Facts(s.matches)) {
		if f.Rule == r {
			return true
		}
	}
	return false
}

func holdsLiteral(set *rules.Set, r *rules.Rule, text string) bool {
	if r.Match == nil {
		r = set.Rule(r.When.Anchor)
	}
	for _, l := range r.Match.Literals {
		for _, v := range rules.Variants(l) {
			if strings.Contains(text, v) {
				return true
			}
		}
	}
	return false
}
