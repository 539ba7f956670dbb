package rules

import (
	"fmt"

	"github.com/wasmortem/wasmortem/rules/literal"
)

// Lint gives warnings about rules that load, but could be better: literals that slow the search down for all, rules that can never
// fire, causes that no rule supports. Mistakes are what [Load] reports.
func (s *Set) Lint() []string {
	var out []string
	warn := func(r *Rule, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s:%d: warning: rule %s: %s", r.File, r.Line, r.ID, fmt.Sprintf(format, args...)))
	}
	supported := map[string]bool{}
	for _, r := range s.Rules {
		supported[r.Cause] = true
		if r.About == "" {
			warn(r, "about is empty: nobody will know what a match means")
		}
		if r.Source == "" {
			warn(r, "source is empty: where does this wording come from?")
		}
		if r.Match == nil {
			continue
		}
		for _, l := range r.Match.Literals {
			if len(l) < literal.MinLength {
				warn(r, "literal %q has %d bytes; below %d every search gets slower", l, len(l), literal.MinLength)
			}
		}
		if r.Match.Regex == nil && len(r.Match.Fields) == 0 {
			warn(r, "the literal alone decides: no regex, no fields")
		}
	}
	for _, c := range s.Causes {
		if !supported[c.ID] && c.ID == Parent(c.ID) {
			out = append(out, fmt.Sprintf("warning: no rule supports cause %s", c.ID))
		}
	}
	return out
}
