package rules

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// Lint gives warnings about rules that load, but could be better: literals that slow the search down for all, names that nothing gives a
// value, causes that no rule supports. Mistakes are what [Load] reports.
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
		for _, name := range s.unheard(r) {
			warn(r, "nothing gives %q a value: no group of the rule's regular expressions, no field", name)
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

// unheard lists the names that a rule tests, counts by or states, but that no match can tell.
func (s *Set) unheard(r *Rule) (names []string) {
	check := func(where map[string]Test, rules ...string) {
		for name := range where {
			if !slices.ContainsFunc(rules, func(id string) bool { return s.rules[id].tells(name, true) }) {
				names = append(names, name)
			}
		}
	}
	for _, name := range r.By {
		if !r.tells(name, true) {
			names = append(names, name)
		}
	}
	for _, template := range r.Set {
		for _, m := range inBraces.FindAllStringSubmatch(template, -1) {
			if !r.tells(m[1], false) {
				names = append(names, m[1])
			}
		}
	}
	compared := func(c *Cond, anchor string) { // both sides have to be able to tell it: a misspelt name would be the same everywhere
		for _, name := range slices.Concat(c.Same, c.Differs) {
			check(map[string]Test{name: {}}, c.Rules...)
			check(map[string]Test{name: {}}, anchor)
		}
	}
	for i := range r.Also {
		check(r.Also[i].Where, r.Also[i].Rules...)
		if r.When == nil {
			compared(&r.Also[i], r.ID)
		} else {
			compared(&r.Also[i], r.When.Anchor)
		}
	}
	if w := r.When; w != nil {
		check(w.Where, w.Anchor)
		for _, list := range [][]Cond{w.All, w.Any, w.None, w.Sequence} {
			for i := range list {
				check(list[i].Where, list[i].Rules...)
				compared(&list[i], w.Anchor)
			}
		}
	}
	sort.Strings(names)
	return slices.Compact(names)
}

var inBraces = regexp.MustCompile(`\{([^{}]*)\}`)

// tells reports whether a match of a rule can have a capture of this name or, with fields, a field. The guest's name is always captured,
// and package analyze tells the region of native frames.
func (r *Rule) tells(name string, fields bool) bool {
	m := r.Match
	if name == "guest" || name == "region" || captures(m.Regex, name) {
		return true
	}
	for _, t := range m.Fields {
		if captures(t.regex, name) {
			return true
		}
	}
	for _, k := range m.Kinds {
		fields = fields || k == ingest.KindObject || k == ingest.KindConfig || k == ingest.KindStat // their fields become captures
	}
	return fields && knownField(name)
}

func captures(re *regexp.Regexp, name string) bool {
	return re != nil && slices.ContainsFunc(re.SubexpNames(), func(n string) bool {
		return n != "" && (n == name || strings.TrimRight(n, "0123456789") == name)
	})
}
