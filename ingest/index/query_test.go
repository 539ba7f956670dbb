package index_test

import (
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/ingest/index"
)

// A query that means nothing is one sentence that says what to write instead.
func TestWrongQueries(t *testing.T) {
	for query, want := range map[string]string{
		`"not closed`:                     "the quote at position 1 is not closed",
		`http://x/y`:                      `"http" is no field`,
		`lvl:error`:                       `"lvl" is no field: fields are text, time, level, `,
		`level:`:                          "level:: nothing to search for",
		`level:loud`:                      "no such level: there are trace, debug, info, warning, error, critical and off",
		`level:>=loud`:                    "no such level",
		`status:>=often`:                  "a status is a number",
		`status:often`:                    "a status is a number",
		`kind:thing`:                      "no such kind: there are text, log, access, agent, stat, object and config",
		`pod:>=a`:                         "only time, level and status can be compared",
		`time:yesterday`:                  `not a time: write it like "2026-11-22T14:50:09Z"`,
		`time:>="2026-13-41"`:             "not a time",
		`panicked AND wasm`:               "AND joins nothing in this language: put + in front",
		`NOT wasm`:                        "NOT joins nothing",
		`(panicked wasm)`:                 "parentheses have no meaning",
		`"::"`:                            "holds nothing that can be searched for",
		`/(unclosed/`:                     "not a regular expression: missing closing ): `(unclosed`",
		`src/lib*`:                        "a pattern is compared with single words, and '/' is no part of a word",
		`word~7`:                          "after ~ stands how many letters may be wrong, 1 or 2",
		`two.words~`:                      "~ belongs to a single word",
		`source:/a.*/`:                    "source takes words of the path",
		`source:a*`:                       "source takes words of the path",
		`+`:                               "nothing to search for",
		`""`:                              "nothing to search for",
		`text:"` + "\x00" + `"`:           "holds nothing",
		`level:error source:x status:/(/`: "not a regular expression",
	} {
		_, err := index.ParseQuery(query)
		switch {
		case err == nil:
			t.Errorf("ParseQuery(%s) finds nothing wrong; want an error with %q", query, want)
		case !strings.Contains(err.Error(), want):
			t.Errorf("ParseQuery(%s): %v; want %q in it", query, err, want)
		case strings.Contains(err.Error(), "\n"):
			t.Errorf("ParseQuery(%s): %q has more than one line", query, err)
		}
	}
}

// What is written in bleve's syntax is read.
func TestQueries(t *testing.T) {
	for _, query := range []string{
		"", "  ", "panicked", "+panicked -wasm", `"a b"`, `"quoted \"inside\" \\ it"`, `+level:error^5 panicked^2`, `"a phrase"^2`,
		`time:>="2026-11-22T14:50:00Z"`, `time:<2026-11-22T14:50:00Z`, `time:"2026-11-22 14:50:09.970"`, `time:2026-11-22`, `time:"2026-11-22T14:50+02:00"`,
		`status:503`, `status:>=500`, `LEVEL:WARN`, `level:>warning`, `pod:reviews-*`, `pod:/reviews-.*/`, `logger:wasm~`,
		`Option::unwrap`, `[C12345]`, `src/lib.rs:15:51`, `\+1`, `foo\:bar`, `source:proxies/a.log`, `/on_[a-z]+/`, `a?c*`, `text:"and" or`, `thread:32275`,
		"größe", "\xff\xfe", "14:50:09",
	} {
		if _, err := index.ParseQuery(query); err != nil {
			t.Errorf("ParseQuery(%s): %v", query, err)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{`+level:>=error -text:"a b" w?ld* /re/ fuz~1 time:>="2026-11-22"`, `"`, `\`, `:::`, `a:b:c^~`, `/[/`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = index.ParseQuery(s)
	})
}
