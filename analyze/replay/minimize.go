package replay

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxTrials bounds how often a scenario is played to make it smaller.
const maxTrials = 3000

// Minimize reduces a scenario to what still fails in the same way: the same kind, callback and trap, at the same places in the code. It takes away requests,
// headers, trailers, bytes of bodies and configuration, answers and everything else, half of it at a time, then less (delta debugging), until
// nothing more can go. The same scenario gives the same result. trials says how often it was played.
func (x *Machine) Minimize(ctx context.Context, sc *Scenario) (small *Scenario, trials int, err error) {
	first, err := x.Run(ctx, sc, false)
	if err != nil {
		return nil, 0, err
	}
	if first.Failure == nil {
		return nil, 1, fmt.Errorf("nothing to reduce: %s", strings.Join(first.Reasons, "; "))
	}
	if first.Failure.Kind == Load {
		return nil, 1, fmt.Errorf("nothing to reduce: the module does not run: %s", first.Failure.Text)
	}
	m := &minimizer{ctx: ctx, x: x, want: first.Failure, trials: 1}
	s := *sc
	s.Requests = slices.Clone(sc.Requests)
	if s.Requests == nil {
		s.Requests = []Request{{}}
	}
	if first.Failure.Kind == Hang && s.Limits.Callback == 0 {
		s.Limits.Callback = Duration(time.Second) // each trial that still hangs takes as long
	}
	for {
		before := size(&s)
		m.all(&s)
		if m.err != nil {
			return nil, m.trials, m.err
		}
		if size(&s) >= before || m.trials >= maxTrials {
			return &s, m.trials, nil
		}
	}
}

type minimizer struct {
	ctx    context.Context
	x      *Machine
	want   *Failure
	trials int
	err    error
}

// fails says whether a scenario still fails in the same way.
func (m *minimizer) fails(s *Scenario) bool {
	if m.err != nil || m.trials >= maxTrials {
		return false
	}
	m.trials++
	r, err := m.x.Run(m.ctx, s, false)
	if err != nil {
		m.err = m.ctx.Err()
		return false
	}
	f := r.Failure
	if f == nil || f.Kind != m.want.Kind || f.Callback != m.want.Callback || f.Trap != m.want.Trap {
		return false
	}
	return f.Kind == Hang || slices.Equal(f.places, m.want.places)
}

// all tries every part once.
func (m *minimizer) all(s *Scenario) {
	for i := range s.Requests {
		if s.Requests[i].Times > 1 {
			m.try(s, func(s *Scenario) { s.Requests[i].Times = 0 })
		}
	}
	reduce(m, s, s.Requests, func(s *Scenario, l []Request) { s.Requests = l })
	reduce(m, s, s.Calls, func(s *Scenario, l []Call) { s.Calls = l })
	m.words(s, s.PluginConfig, func(s *Scenario, t string) { s.PluginConfig = t })
	m.words(s, s.VMConfig, func(s *Scenario, t string) { s.VMConfig = t })
	keys(m, s, s.Environment, func(s *Scenario, v map[string]string) { s.Environment = v })
	keys(m, s, s.Properties, func(s *Scenario, v map[string]string) { s.Properties = v })
	keys(m, s, s.SharedData, func(s *Scenario, v map[string]string) { s.SharedData = v })
	for i := range s.Requests {
		at := func(change func(*Request)) func(*Scenario) {
			return func(s *Scenario) {
				s.Requests = slices.Clone(s.Requests)
				change(&s.Requests[i])
			}
		}
		q := &s.Requests[i]
		reduce(m, s, q.Headers, func(s *Scenario, l Headers) { at(func(q *Request) { q.Headers = l })(s) })
		reduce(m, s, q.Trailers, func(s *Scenario, l Headers) { at(func(q *Request) { q.Trailers = none(l) })(s) })
		if q.Chunks > 1 {
			m.try(s, at(func(q *Request) { q.Chunks = 1 }))
		}
		reduce(m, s, q.Body, func(s *Scenario, l Body) { at(func(q *Request) { q.Body = l })(s) })
		reduce(m, s, q.Response.Headers, func(s *Scenario, l Headers) { at(func(q *Request) { q.Response.Headers = l })(s) })
		reduce(m, s, q.Response.Trailers, func(s *Scenario, l Headers) { at(func(q *Request) { q.Response.Trailers = none(l) })(s) })
		reduce(m, s, q.Response.Body, func(s *Scenario, l Body) { at(func(q *Request) { q.Response.Body = l })(s) })
		for j := range s.Requests[i].Headers {
			value := s.Requests[i].Headers[j].Value
			reduce(m, s, []byte(value), func(s *Scenario, l []byte) {
				at(func(q *Request) {
					q.Headers = slices.Clone(q.Headers)
					q.Headers[j].Value = string(l)
				})(s)
			})
		}
	}
}

func none(l Headers) Headers {
	if len(l) == 0 {
		return nil
	}
	return l
}

func (m *minimizer) try(s *Scenario, change func(*Scenario)) bool {
	t := *s
	t.Requests = slices.Clone(s.Requests)
	change(&t)
	if !m.fails(&t) {
		return false
	}
	*s = t
	return true
}

// words takes away from a text words first, then bytes.
func (m *minimizer) words(s *Scenario, text string, set func(*Scenario, string)) {
	if text == "" {
		return
	}
	left := reduce(m, s, strings.SplitAfter(text, " "), func(s *Scenario, l []string) { set(s, strings.Join(l, "")) })
	reduce(m, s, []byte(strings.Join(left, "")), func(s *Scenario, l []byte) { set(s, string(l)) })
}

func keys(m *minimizer, s *Scenario, values map[string]string, set func(*Scenario, map[string]string)) {
	names := slices.Sorted(maps.Keys(values))
	reduce(m, s, names, func(s *Scenario, l []string) {
		kept := map[string]string{}
		for _, n := range l {
			kept[n] = values[n]
		}
		set(s, kept)
	})
}

// reduce is delta debugging over a list: nothing at all, then without each half, quarter and so on. It leaves the smallest list found in the scenario and
// returns it.
func reduce[L ~[]T, T any](m *minimizer, s *Scenario, list L, set func(*Scenario, L)) L {
	if len(list) == 0 {
		return list
	}
	if m.try(s, func(s *Scenario) { set(s, L{}) }) {
		return L{}
	}
	for n := 2; len(list) > 1; {
		smaller := false
		for i := 0; i < n; i++ {
			from, to := len(list)*i/n, len(list)*(i+1)/n
			rest := slices.Concat(list[:from], list[to:])
			if to > from && m.try(s, func(s *Scenario) { set(s, rest) }) {
				list, smaller = rest, true
				n = max(n-1, 2)
				break
			}
		}
		if smaller {
			continue
		}
		if n >= len(list) {
			break
		}
		n = min(2*n, len(list))
	}
	return list
}

// size is what is left to take away.
func size(s *Scenario) int {
	n := len(s.PluginConfig) + len(s.VMConfig) + len(s.Calls) + len(s.Environment) + len(s.Properties) + len(s.SharedData)
	for i := range s.Requests {
		q := &s.Requests[i]
		n += 1 + len(q.Body) + len(q.Response.Body) + len(q.Trailers) + len(q.Response.Headers) + len(q.Response.Trailers) + q.Times + q.Chunks
		for _, h := range q.Headers {
			n += 1 + len(h.Value)
		}
	}
	return n
}
