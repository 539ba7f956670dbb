package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/index/bleve"
	"github.com/wasmortem/wasmortem/ingest/redact"
)

// The lines around any evidence are those of its file, out of archives and out of a case, and with secrets taken out of them.
func TestPages(t *testing.T) {
	set, err := (&app{}).loadRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"scene-0217", "configurations"} {
		path = filepath.Join("..", "..", "testdata", path)
		files := func() noted { return ingest.Files([]string{path}, ingest.Options{}) }
		c, err := index.Open(t.TempDir(), index.Options{Engine: bleve.Open, Write: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.IngestFiles(t.Context(), []string{path}, ingest.Options{}, index.IngestOptions{}); err != nil {
			t.Fatal(err)
		}
		for name, corpus := range map[string]func() noted{"files": files, "case": func() noted { return c.Corpus(ingest.Options{}) }} {
			r, err := analyze.Run(t.Context(), corpus(), analyze.Options{Rules: set})
			if err != nil || len(r.Incidents) == 0 {
				t.Fatalf("%s: %d incidents, %v", path, len(r.Incidents), err)
			}
			x, err := redact.New([]byte("key"))
			if err != nil {
				t.Fatal(err)
			}
			plain, redacted := pages(corpus, nil), pages(corpus, x)
			seen := 0
			for i := range r.Incidents {
				for j := range r.Incidents[i].Evidence {
					e := &r.Incidents[i].Evidence[j]
					first, lines, err := plain(t.Context(), e)
					if err != nil || strings.TrimRight(lines[e.Line-first], "\r") != strings.TrimRight(e.Text, "\r") {
						t.Fatalf("%s, %s: %s:%d: %v", path, name, e.Source, e.Line, err)
					}
					if have, want := int64(len(lines)), e.Line-first+int64(max(e.Lines, 1)); have < want || first < 1 {
						t.Errorf("%s, %s: %s:%d: %d lines from %d", path, name, e.Source, e.Line, have, first)
					}
					seen++
				}
			}
			r.Redact(x)
			e := &r.Incidents[0].Evidence[0]
			if _, lines, err := redacted(t.Context(), e); err != nil || strings.Contains(strings.Join(lines, "\n"), "10.40.5.") {
				t.Errorf("%s, %s, redacted: %v: %q", path, name, err, lines)
			}
			t.Logf("%s, %s: %d lines of evidence", path, name, seen)
		}
	}
}

// A file that changed since is not shown as what it was.
func TestPagesOfAnotherFile(t *testing.T) {
	page := pages(func() noted {
		return ingest.Files([]string{"-"}, ingest.Options{Stdin: strings.NewReader("one\ntwo\nthree\n")})
	}, nil)
	for _, c := range []struct {
		e    analyze.Evidence
		want string
	}{
		{analyze.Evidence{Source: "-", Line: 2, Offset: 4, Text: "two"}, "only once"},
		{analyze.Evidence{Source: "gone.log", Line: 2, Offset: 4, Text: "two"}, "not there any more"},
	} {
		if _, _, err := page(t.Context(), &c.e); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.e, err)
		}
	}
	file := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(file, []byte("one\nTWO\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	page = pages(func() noted { return ingest.Files([]string{file}, ingest.Options{}) }, nil)
	if _, _, err := page(t.Context(), &analyze.Evidence{Source: file, Line: 2, Offset: 4, Text: "two"}); err == nil || !strings.Contains(err.Error(), "not what it was") {
		t.Errorf("changed: %v", err)
	}
	if _, _, err := page(t.Context(), &analyze.Evidence{Source: file, Line: 9, Offset: 90, Text: "nine"}); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("shorter: %v", err)
	}
}
