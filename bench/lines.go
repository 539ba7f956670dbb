package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/registry"
	bindex "github.com/blevesearch/bleve_index_api"
)

// The rival of a case's index: the best layout in trials of one document a line that answers phrases. Every field is declared, nothing is
// stored, numbers and ids are left out as a case leaves them out, and only the text has positions.

const (
	perLine   = "one document a line"
	phrase    = "connection refused"
	lineBatch = 1000
)

// minute is the one that is asked for, see [loggen.Write] for what it is in.
var minute = time.Date(2026, 11, 20, 10, 1, 0, 0, time.UTC)

func phraseQuery() string {
	return fmt.Sprintf(`+"%s" +time:>="%s" +time:<"%s"`, phrase, minute.Format(time.RFC3339), minute.Add(time.Minute).Format(time.RFC3339))
}

// lineWords is the tokenizer: words in lower case, numbers left out.
type lineWords struct{}

func init() {
	_ = registry.RegisterTokenizer("lines", func(map[string]any, *registry.Cache) (analysis.Tokenizer, error) { return lineWords{}, nil })
}

func (lineWords) Tokenize(text []byte) (out analysis.TokenStream) {
	text = bytes.ToLower(text)
	word := func(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '_' || c >= 0x80 }
	position := 0
	for i := 0; i < len(text); {
		if !word(text[i]) {
			i++
			continue
		}
		start, hex, digits := i, true, 0
		for ; i < len(text) && word(text[i]); i++ {
			if '0' <= text[i] && text[i] <= '9' {
				digits++
			} else if text[i] > 'f' || text[i] < 'a' {
				hex = false
			}
		}
		if position++; hex && digits > 0 && i-start > 3 {
			continue
		}
		out = append(out, &analysis.Token{Term: text[start:i], Start: start, End: i, Position: position, Type: analysis.AlphaNumeric})
	}
	return out
}

// lines makes such an index of a log, asks it for a phrase in a minute, and compares time and answer with those of a case of the same log.
func (b *bench) lines(log string, size int64) error {
	wm, dir := b.path("wasmortem"), b.path("lines-case")
	b.one(perLine, size, func() error { return indexLines(log, b.path("lines-index")) })
	runs := b.runs
	b.runs = 1
	b.run("ingest, the same log", size, wm, "ingest", log, "--case", dir)
	b.runs = runs
	b.than(perLine)

	var theirs uint64
	var err error
	b.one("phrase in a minute, "+perLine, size, func() error {
		theirs, err = askLines(b.path("lines-index"))
		return err
	})
	query := phraseQuery()
	if err := os.Rename(log, log+".away"); err != nil { // a case answers when the log is gone
		return err
	}
	b.run("phrase in a minute, in the case of the same log", size, wm, "search", query, "--case", dir)
	ours, err := exec.Command(wm, "search", query, "--case", dir, "--format", "json").Output()
	if err != nil {
		return fmt.Errorf("searching the case: %w", err)
	}
	if err := os.Rename(log+".away", log); err != nil {
		return err
	}
	if n := uint64(bytes.Count(ours, []byte(`"offset"`))); n != theirs || n == 0 {
		return fmt.Errorf("the case has %d lines with %q in that minute, an index of lines %d", n, phrase, theirs)
	}
	return nil
}

// one measures something in this process, once.
func (b *bench) one(name string, size int64, do func() error) {
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	start := time.Now()
	if err := do(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return
	}
	s := sample{name: name, wall: time.Since(start), bytes: size}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	s.cpu = time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.samples = append(b.samples, s)
}

func indexLines(log, dir string) error {
	m := bleve.NewIndexMapping()
	if err := m.AddCustomAnalyzer("lines", map[string]any{"type": custom.Name, "tokenizer": "lines"}); err != nil {
		return err
	}
	m.DefaultMapping = bleve.NewDocumentStaticMapping()
	m.StoreDynamic, m.IndexDynamic, m.DocValuesDynamic = false, false, false
	text := bleve.NewTextFieldMapping()
	text.Analyzer, text.Store, text.DocValues, text.IncludeInAll = "lines", false, false, false
	at := bleve.NewKeywordFieldMapping()
	at.Store, at.DocValues, at.IncludeInAll = false, false, false
	m.DefaultMapping.AddFieldMappingsAt("text", text)
	m.DefaultMapping.AddFieldMappingsAt("second", at)
	x, err := bleve.NewUsing(dir, m, scorch.Name, scorch.Name, map[string]any{"numSnapshotsToKeep": 1})
	if err != nil {
		return err
	}
	defer x.Close()
	f, err := os.Open(filepath.Clean(log))
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(make([]byte, 1<<20), 1<<20)
	batch := x.NewBatch()
	for n := 0; s.Scan(); n++ {
		if err := batch.IndexAdvanced(lineDocument(m, n, s.Text())); err != nil {
			return err
		}
		if batch.Size() == lineBatch {
			if err := x.Batch(batch); err != nil {
				return err
			}
			batch.Reset()
		}
	}
	if err := x.Batch(batch); err != nil {
		return err
	}
	return s.Err()
}

// lineDocument is a line with its second, made past the slow reflection of bleve's mapping.
func lineDocument(m mapping.IndexMapping, n int, line string) *document.Document {
	d := document.NewDocument(fmt.Sprintf("%09d", n))
	const second = len("2026-11-20T10:01:00")
	stamp := strings.TrimPrefix(line, "[")
	if len(stamp) > second && stamp[4] == '-' {
		d.AddField(document.NewTextFieldCustom("second", nil, []byte(stamp[:second]), bindex.IndexField, m.AnalyzerNamed("keyword")))
	}
	d.AddField(document.NewTextFieldCustom("text", nil, []byte(line), bindex.IndexField|bindex.IncludeTermVectors, m.AnalyzerNamed("lines")))
	return d
}

func askLines(dir string) (uint64, error) {
	x, err := bleve.Open(dir)
	if err != nil {
		return 0, err
	}
	defer x.Close()
	const second = "2006-01-02T15:04:05"
	p := bleve.NewMatchPhraseQuery(phrase)
	p.SetField("text")
	r := bleve.NewTermRangeQuery(minute.Format(second), minute.Add(time.Minute).Format(second))
	r.SetField("second")
	found, err := x.Search(bleve.NewSearchRequestOptions(bleve.NewConjunctionQuery(p, r), 10, 0, false))
	if err != nil {
		return 0, err
	}
	return found.Total, nil
}
