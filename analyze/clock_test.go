package analyze_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
)

// moment is a time as logs of the corpus write it: `2026-11-22 14:50:06.705`, `2026-11-22T14:50:06Z`, `2026/11/22 14:50:06`.
var moment = regexp.MustCompile(`\b(\d{4})([-/])(\d\d)[-/](\d\d)([T ])(\d\d):(\d\d):(\d\d)`)

// shift moves all times of a text.
func shift(text []byte, d time.Duration) []byte {
	return moment.ReplaceAllFunc(text, func(b []byte) []byte {
		layout := "2006" + string(b[4]) + "01" + string(b[4]) + "02" + string(b[10]) + "15:04:05"
		t, err := time.Parse(layout, string(b))
		if err != nil {
			return b
		}
		return []byte(t.Add(d).Format(layout))
	})
}

// isLog reports whether a file is lines that somebody wrote one after the other, no document.
func isLog(path string, data []byte) bool {
	ext := filepath.Ext(path)
	return ext != ".yaml" && ext != ".wasm" && !bytes.HasPrefix(data, []byte("{\n")) && !bytes.HasPrefix(data, []byte("[\n")) && bytes.IndexByte(data, 0) < 0
}

// A clock that is set in the middle of a log (NTP, a zone that changes, a virtual machine that is resumed), or right before a line that a diagnosis rests
// on, and proxies whose clocks are hours apart, change hardly a diagnosis. That a clock goes back is told, and no time span of a report is negative. A
// clock that is set forward looks like silence: where it happens between a panic and its trap, the two are not taken for one.
func TestClockJumps(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of analyses")
	}
	set := ruleSet(t)
	const back, forward, apart = "set back by an hour", "set forward by an hour", "two hours ahead of the others"
	type count struct{ all, other, told int }
	tally := map[string]count{}
	for _, c := range cases(t) {
		files := unpacked(t, filepath.Join(c.dir, "input"))
		write := func(change func(name string, data []byte) []byte) string {
			dir := t.TempDir()
			for name, data := range files {
				if isLog(name, data) {
					data = change(name, data)
				}
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			return dir
		}
		dir := write(func(_ string, data []byte) []byte { return data })
		before := run(t, set, ingest.Options{}, false, dir)
		want, _ := c.verdict(before)
		check := func(kind, where, dir string) {
			r := run(t, set, ingest.Options{}, false, dir)
			spans(t, c.name+", "+kind+where, r)
			n := tally[kind]
			n.all++
			if slices.ContainsFunc(r.Inputs, func(in analyze.Input) bool {
				return slices.ContainsFunc(in.Warnings, func(w string) bool { return strings.HasPrefix(w, "the clock goes back by ") })
			}) {
				n.told++
			}
			if v, _ := c.verdict(r); v != want {
				var got []string
				for _, inc := range failures(r) {
					got = append(got, fmt.Sprintf("%s %.2f", inc.RootCause, inc.Confidence))
				}
				t.Logf("%s, %s%s: %s: %q", c.name, kind, where, v, got)
				n.other++
			}
			tally[kind] = n
		}
		for _, d := range []time.Duration{-time.Hour, time.Hour} {
			kind := forward
			if d < 0 {
				kind = back
			}
			check(kind, " in the middle", write(func(_ string, data []byte) []byte { return jump(data, bytes.Count(data, []byte("\n"))/2, d) }))
			for _, in := range before.Incidents {
				for i, e := range in.Evidence {
					if i == 4 {
						break
					}
					rel, _ := filepath.Rel(dir, e.Source)
					if i > 0 && e.Line > 1 && e.Source == in.Evidence[0].Source {
						check(kind, fmt.Sprintf(" before line %d of %s", e.Line, rel), write(func(name string, data []byte) []byte {
							if name != rel {
								return data
							}
							return jump(data, int(e.Line)-1, d)
						}))
					}
				}
			}
		}
		first := sortedKeys(files)[0]
		if len(files) > 1 {
			check(apart, " "+first, write(func(name string, data []byte) []byte {
				if name == first {
					return shift(data, 2*time.Hour)
				}
				return data
			}))
		}
	}
	for _, k := range sortedKeys(tally) {
		t.Logf("%s: %d inputs, %d other diagnoses, told %d times", k, tally[k].all, tally[k].other, tally[k].told)
	}
	if n := tally[back]; n.all < 500 || n.other*100 > n.all || n.told*100 < n.all*80 {
		t.Errorf("%s: of %d inputs %d have another diagnosis and %d are told of: want at most 1 %% and at least 80 %%", back, n.all, n.other, n.told)
	}
	if n := tally[forward]; n.all < 500 || n.other*100 > 4*n.all {
		t.Errorf("%s: of %d inputs %d have another diagnosis: want at most 4 %%", forward, n.all, n.other)
	}
	if n := tally[apart]; n.all < 20 || n.other > 0 || n.told > 0 {
		t.Errorf("%s: of %d inputs %d have another diagnosis, and %d are told to go back: want none", apart, n.all, n.other, n.told)
	}
}

// jump moves the times behind the first n lines.
func jump(data []byte, n int, d time.Duration) []byte {
	at := 0
	for ; n > 0; n-- {
		at += bytes.IndexByte(data[at:], '\n') + 1
	}
	return append(bytes.Clone(data[:at]), shift(data[at:], d)...)
}

// spans fails for any span of time in a report that ends before it begins.
func spans(t *testing.T, what string, r *analyze.Report) {
	t.Helper()
	wrong := func(of string, from, to *analyze.Time) {
		if from != nil && to != nil && to.Before(from.Time) {
			t.Errorf("%s: %s is from %v to %v", what, of, from, to)
		}
	}
	for _, in := range r.Inputs {
		wrong(in.Path, in.First, in.Last)
	}
	for _, inc := range r.Incidents {
		wrong(inc.RootCause, inc.FirstSeen, inc.LastSeen)
		wrong("the impact of "+inc.RootCause, inc.Impact.From, inc.Impact.To)
	}
}
