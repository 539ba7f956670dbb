package reports

import (
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
)

func TestWords(t *testing.T) {
	at := func(s string) *analyze.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return analyze.NewTime(v)
	}
	for _, c := range []struct{ got, want string }{
		{percent(0.94), "94 %"}, {percent(0.999), "over 99 %"}, {percent(1), "100 %"}, {percent(0), "0 %"}, {percent(0.001), "under 1 %"},
		{likelihood(1), "almost certain"}, {likelihood(0.85), "very likely"}, {likelihood(0.1), "a weak guess"},
		{count(1, "line"), "1 line"}, {count(12345, "line"), "12,345 lines"}, {grouped(-1234567), "-1,234,567"}, {grouped(999), "999"},
		{size(0), "0 bytes"}, {size(999), "999 bytes"}, {size(1000), "1.0 kB"}, {size(9_949_000), "9.9 MB"}, {size(999_600), "1.0 MB"}, {size(2_100_000_000), "2.1 GB"},
		{span(at("2025-03-04T02:17:04.118Z"), at("2025-03-04T02:17:32.9Z")), "2025-03-04 02:17:04.118 – 02:17:32.900 UTC"},
		{span(at("2025-03-04T23:59:00Z"), at("2025-03-05T00:01:00Z")), "2025-03-04 23:59:00 – 2025-03-05 00:01:00 UTC"},
		{span(at("2025-03-04T23:59:00+02:00"), nil), "from 2025-03-04 21:59:00 UTC"},
		{span(nil, nil), ""},
		{duration(28800 * time.Millisecond), "28.8 s"}, {duration(300 * time.Microsecond), "1 ms"}, {duration(3 * time.Second), "3 s"},
		{duration(125 * time.Second), "2 min 5 s"}, {duration(25 * time.Hour), "1 d 1 h"},
		{some([]string{"a", "b", "c"}, 3), "a, b, c"}, {some([]string{"a", "b", "c", "d"}, 3), "a, b, c and 1 more"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestReached(t *testing.T) {
	at := func(pod string, second int, count int64) analyze.Spread {
		s := analyze.Spread{Pod: pod, Count: count}
		if second >= 0 {
			s.FirstSeen = analyze.NewTime(time.Date(2026, 3, 14, 2, 17, second, 5e6, time.UTC))
		}
		return s
	}
	for _, c := range []struct {
		why    string
		spread []analyze.Spread
		want   string
	}{
		{"one pod has no spread", []analyze.Spread{at("a", 3, 1)}, ""},
		{"all pods with a time", []analyze.Spread{at("a", 3, 1), at("b", 31, 1)}, "first a 02:17:03 … 2 pods within 28 s"},
		{"some only with what followed", []analyze.Spread{at("a", 3, 1), at("b", 31, 1), at("c", -1, 0)}, "first a 02:17:03 … 2 of 3 pods within 28 s"},
		{"the same moment", []analyze.Spread{at("a", 3, 1), at("b", 3, 1)}, "first a 02:17:03 … 2 pods at once"},
		{"no times at all", []analyze.Spread{at("a", -1, 1), at("b", -1, 1)}, ""},
	} {
		if got := spreading(&analyze.Incident{Spread: c.spread}); got != c.want {
			t.Errorf("%s: got %q, want %q", c.why, got, c.want)
		}
	}
}

func TestLayout(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{cut("short", 5), "short"}, {cut("longer", 5), "long…"}, {cut("取消取消", 5), "取消…"}, {cut("取消取消", 6), "取消…"},
		{cutMiddle("cannot fetch the module: GET https://registry.example/v2: UNAUTHORIZED", 40), "cannot fetch the …ample/v2: UNAUTHORIZED"},
		{cutMiddle("short", 5), "short"}, {cutMiddle("onewordthatislong", 9), "one …long"},
		{cutWord("whole words, where that is cheap", 22), "whole words, where …"}, {cutWord("a unbreakablewordofmanyletters", 12), "a unbreakab…"},
		{strings.Join(sentences("One. Two `a.b` words. Three words here.", 9, 2), "|"), "One."},
		{strings.Join(sentences("One. Two `a.b` words. Three words here.", 12, 3), "|"), "One. Two|`a.b` words."},
		{strings.Join(sentences("One. Two", 12, 1), "|"), "One. Two"}, {strings.Join(sentences("a sentence too long", 5, 2), "|"), ""},
		{cutFront("a/b/c.log:12", 8), "….log:12"}, {cutFront("取消取消", 5), "…取消"}, {cutFront("ab", 2), "ab"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	for _, s := range []string{"a bb ccc dddd", "取消取消取消 x", "unbreakablewordofmanyletters", "", "two\n\nparagraphs here"} {
		for _, line := range wrap(s, 7) {
			if width(line) > 7 {
				t.Errorf("wrap(%q, 7) has the line %q", s, line)
			}
		}
	}
}
