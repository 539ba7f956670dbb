package rules

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules/literal"
)

// Cost is what a rule costs on some log: every candidate is cut out, parsed and tried.
type Cost struct {
	Rule       string  `json:"rule"`
	Literal    string  `json:"literal"`    // of the rule, the one that occurs most often
	Occurs     int64   `json:"occurs"`     // how often
	Candidates int64   `json:"candidates"` // records with any of the rule's literals
	Matches    int64   `json:"matches"`    // of those, records that it recognises
	PerMB      float64 `json:"candidates_per_mb"`
}

// Costs counts candidates of every rule in a corpus, the dearest rule first. Rules without any are left out.
func (s *Set) Costs(ctx context.Context, corpus ingest.Corpus) (list []Cost, bytes int64, err error) {
	lits := s.Literals()
	find := literal.New(lits)
	occurs := make([]int64, len(lits))
	costs := make([]Cost, len(s.Rules))
	seen := make([]int64, len(s.Rules)) // where the last candidate of each rule begins, plus one
	var input *ingest.Input
	var hits []literal.Hit
	traps := &Traps{}
	for b, e := range corpus.Blocks(ctx, lits) {
		if e != nil {
			err = e
			continue
		}
		if b.Input != input {
			input = b.Input
			clear(seen)
		}
		bytes += int64(len(b.Data))
		if !b.Tail {
			hits = find.Find(b.Data, hits[:0])
			slices.SortFunc(hits, func(x, y literal.Hit) int { return cmp.Compare(x.Pos, y.Pos) })
			for _, h := range hits {
				occurs[h.Lit]++
				c := Candidate{Record: b.RecordAt(h.Pos), Block: b, Traps: traps}
				if c.Record == nil {
					continue
				}
				for _, r := range s.RulesOf(h.Lit) {
					if seen[r] == c.Record.Offset+1 {
						continue
					}
					seen[r] = c.Record.Offset + 1
					costs[r].Candidates++
					if _, _, ok := s.Confirm(r, &c); ok {
						costs[r].Matches++
					}
				}
			}
		}
		b.Release()
	}
	for l, n := range occurs {
		for _, r := range s.RulesOf(l) {
			if n > costs[r].Occurs {
				costs[r].Literal, costs[r].Occurs = string(lits[l]), n
			}
		}
	}
	for i, c := range costs {
		if c.Candidates > 0 {
			c.Rule, c.PerMB = s.Rules[i].ID, float64(c.Candidates)*1e6/float64(bytes)
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b Cost) int { return cmp.Compare(b.Candidates, a.Candidates) })
	return list, bytes, err
}

// LintCosts gives warnings about rules that are tried far more often than they match.
func (s *Set) LintCosts(list []Cost) (out []string) {
	for _, c := range list {
		if c.PerMB > dear && c.Matches*100 < c.Candidates {
			r := s.Rule(c.Rule)
			out = append(out, fmt.Sprintf("%s:%d: warning: rule %s: it is tried %d times and matches %d: literal %q is no help, is there a rarer one?", r.File, r.Line, r.ID, c.Candidates, c.Matches, c.Literal))
		}
	}
	return out
}

// dear is how many candidates in a megabyte are too many when hardly any matches: one line in a hundred or so.
const dear = 50
