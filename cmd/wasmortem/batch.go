package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/reports"
)

// batchCase is one archive, folder or file that is analysed by itself.
type batchCase struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"` // as they lie on disk
	State string `json:"state"` // what its report depends on: files, their sizes and times, rules, version, flags
}

// batch analyses every archive, folder and file directly under the paths as a case of its own.
type batch struct {
	*app
	f       analyzeFlags
	o       analyze.Options
	formats []reports.Format // of the files of each case
	sum     analyze.Batch
	resumed int
	done    map[string]batchCase // finished earlier, by path
	journal *os.File

	mu       sync.Mutex
	finished int
	bytes    int64
	found    bool  // something that --fail-on names
	failed   error // of writing: nothing can go on
}

// journalName lists the finished cases, one JSON object a line. It is what --resume believes.
const journalName = ".wasmortem-batch.jsonl"

func (a *app) analyzeBatch(ctx context.Context, paths []string, f analyzeFlags, o analyze.Options, extra []reports.Format) error {
	start := time.Now()
	b := &batch{app: a, f: f, o: o, done: map[string]batchCase{}}
	for _, name := range []string{"json", "markdown"} {
		format, _ := reports.Lookup(name)
		b.formats = append(b.formats, format)
	}
	for _, x := range extra {
		if x.Name != "json" && x.Name != "markdown" {
			b.formats = append(b.formats, x)
		}
	}
	switch {
	case f.output == "" || f.output == "-":
		return usage("--batch writes a report for each case: give the folder with --output DIR")
	case f.caseName != "":
		return usage("--batch makes a case of each archive; --case is one case: give one of the two")
	case slices.Contains(paths, "-"):
		return usage("--batch takes files and folders, not standard input")
	}
	if err := os.MkdirAll(f.output, 0o755); err != nil {
		return status{exitUnreadable, fmt.Errorf("making the folder %s: %w", f.output, bare(err))}
	}
	cases, err := b.cases(paths)
	if err != nil {
		return err
	}
	if len(cases) == 0 {
		return status{exitUnreadable, fmt.Errorf("no archive, folder or file in %s", strings.Join(paths, ", "))}
	}
	if f.resume {
		b.readJournal()
	}
	if err := a.write(filepath.Join(f.output, journalName), b.writeJournal); err != nil {
		return err
	}
	if b.journal, err = os.OpenFile(filepath.Join(f.output, journalName), os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return status{exitUnreadable, fmt.Errorf("opening the list of finished cases: %w", err)}
	}
	defer b.journal.Close()

	b.run(ctx, cases, start)
	a.clearProgress()
	s := b.sum.Summary()
	s.Tool.Version, s.Tool.Commit = o.Version, o.Commit
	s.Stats.Resumed, s.Stats.Seconds = b.resumed, time.Since(start).Seconds()
	for name, format := range map[string]string{"summary.json": "json", "summary.md": "markdown"} {
		if err := a.write(filepath.Join(f.output, name), func(w io.Writer) error { return reports.WriteSummary(w, s, format) }); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.err, "wasmortem: %d of %d cases, %d with failures, %d healthy, %d not read: %s\n",
		s.CasesTotal, len(cases), s.CasesTotal-s.Healthy-s.Failed, s.Healthy, s.Failed, filepath.Join(f.output, "summary.md"))
	switch {
	case b.failed != nil:
		return b.failed
	case ctx.Err() != nil:
		return status{exitInterrupted, nil}
	case s.Failed == len(cases):
		return status{exitUnreadable, errors.New("nothing could be read: every case has an error")}
	case b.found:
		return status{exitFound, nil}
	}
	return nil
}

// cases lists what lies directly under the paths, in order of path. A path that is a file is a case by itself.
func (b *batch) cases(paths []string) ([]batchCase, error) {
	out, err := filepath.Abs(b.f.output)
	if err != nil {
		return nil, err
	}
	var list []batchCase
	add := func(p string) {
		if abs, err := filepath.Abs(p); err == nil && abs == out {
			return // reports of an earlier run are no input
		}
		if !slices.ContainsFunc(list, func(c batchCase) bool { return c.Path == p }) {
			list = append(list, batchCase{Name: caseName(p), Path: p})
		}
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, status{exitUnreadable, fmt.Errorf("cannot read %s: %w", p, bare(err))}
		}
		if !info.IsDir() {
			add(p)
			continue
		}
		entries, err := os.ReadDir(p)
		if err != nil {
			return nil, status{exitUnreadable, fmt.Errorf("listing %s: %w", p, bare(err))}
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") && (e.IsDir() || e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0) {
				add(filepath.Join(p, e.Name()))
			}
		}
	}
	slices.SortFunc(list, func(x, y batchCase) int { return strings.Compare(x.Path, y.Path) })
	count := map[string]int{"summary": 2} // the summary's own name
	for _, c := range list {
		count[strings.ToLower(c.Name)]++
	}
	for i := range list {
		c := &list[i]
		if count[strings.ToLower(c.Name)] > 1 { // a name that does not depend on which others there are
			sum := sha256.Sum256([]byte(c.Path))
			c.Name += "-" + hex.EncodeToString(sum[:4])
		}
		c.Bytes, c.State = b.state(c.Path)
	}
	return list, nil
}

// containerExtensions are left out of a case's name; what a file is, its content tells.
var containerExtensions = []string{".gz", ".tgz", ".zst", ".tzst", ".xz", ".txz", ".bz2", ".tbz2", ".tar", ".zip"}

// caseName makes a file name of a path: without the extensions of containers, and of nothing but harmless characters.
func caseName(p string) string {
	base := filepath.Base(p)
	for {
		ext := filepath.Ext(base)
		if ext == "" || ext == base || !slices.Contains(containerExtensions, strings.ToLower(ext)) {
			break
		}
		base = strings.TrimSuffix(base, ext)
	}
	base = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, base)
	return strings.TrimLeft(base[:min(len(base), 120)], ".")
}

// state sums up what a report depends on. Contents are not read: a file that changed has another size or time.
func (b *batch) state(path string) (size int64, sum string) {
	h := sha256.New()
	fmt.Fprintln(h, b.o.Version, b.o.Commit, b.o.Rules.Sum, b.f.since, b.f.until, b.f.custody, b.f.known, b.f.redact)
	for _, f := range b.formats {
		fmt.Fprintln(h, f.Name)
	}
	walk := func(path string) (size int64) {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			path = resolved
		}
		_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() { // the analysis will say what cannot be read
				if info, err := d.Info(); err == nil {
					size += info.Size()
					fmt.Fprintln(h, p, info.Size(), info.ModTime().UnixNano())
				}
			}
			return nil
		})
		return size
	}
	for _, m := range b.f.modules {
		walk(m)
	}
	size = walk(path)
	return size, hex.EncodeToString(h.Sum(nil)[:16])
}

// run works on a few cases at once, each on its share of the cores.
func (b *batch) run(ctx context.Context, cases []batchCase, start time.Time) {
	jobs := b.o.Jobs
	if jobs == 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	workers := min(jobs, len(cases))
	b.o.Jobs = max(1, jobs/workers)
	var total int64
	for _, c := range cases {
		total += c.Bytes
	}
	work := make(chan batchCase)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for c := range work {
				b.one(ctx, c)
				b.mu.Lock()
				b.finished++
				b.bytes += c.Bytes
				b.tell(len(cases), total, time.Since(start))
				b.mu.Unlock()
			}
		})
	}
	for _, c := range cases {
		b.mu.Lock()
		stop := b.failed != nil
		b.mu.Unlock()
		if stop || ctx.Err() != nil {
			break
		}
		work <- c
	}
	close(work)
	wg.Wait()
}

// one analyses a case and writes its reports. What goes wrong with it is its own: the others go on.
func (b *batch) one(ctx context.Context, c batchCase) {
	if r, ok := b.finishedBefore(c); ok {
		b.mu.Lock()
		b.resumed++
		b.mu.Unlock()
		b.note(c, r)
		return
	}
	r, notes, err := b.report(ctx, c)
	if ctx.Err() != nil {
		return // half a report is none; --resume makes it
	}
	if err == nil && (unreadable(r) || len(r.Inputs) == 0) {
		err = errors.New("nothing in it could be read")
	}
	if err != nil {
		b.mu.Lock()
		b.sum.Fail(c.Name, c.Path, err)
		fmt.Fprintf(b.err, "wasmortem: case %s: %v\n", c.Name, err)
		b.mu.Unlock()
	}
	if r == nil {
		return
	}
	r.Stats.Skipped = append(r.Stats.Skipped, notes...)
	r.Accept(b.f.known)
	if b.f.hide != nil {
		r.Redact(b.f.hide.Again()) // the same tokens in all cases, each with counts of its own
	}
	for _, f := range b.formats {
		path := filepath.Join(b.f.output, c.Name+extension(f.Name))
		if werr := b.write(path, func(w io.Writer) error { return f.Write(w, r, reports.Options{}) }); werr != nil {
			b.mu.Lock()
			b.failed = werr
			b.mu.Unlock()
			return
		}
	}
	if err == nil {
		b.note(c, r)
		b.remember(c)
	}
}

// report analyses one case. A defect of ours that one case brings to light must not cost the other nine hundred.
func (b *batch) report(ctx context.Context, c batchCase) (r *analyze.Report, notes []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("wasmortem has a defect, please report it with the archive: %v\n%s", p, debug.Stack())
		}
	}()
	o := b.o
	o.Binaries = analyze.NewBinaries(o.Rules) // those of one case say nothing about another
	if err := o.Binaries.Open(ctx, b.f.modules, func(string, string) {}); err != nil {
		return nil, nil, err
	}
	corpus := ingest.Files([]string{c.Path}, ingest.Options{Hash: b.f.custody, Binary: o.Binaries.Take})
	r, err = analyze.Run(ctx, corpus, o)
	return r, corpus.Notes(), err
}

func (b *batch) note(c batchCase, r *analyze.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum.Add(c.Name, c.Path, r)
	b.found = b.found || fails(r, b.f.failOn)
}

// remember writes a line of the journal, after the reports are there.
func (b *batch) remember(c batchCase) {
	line, _ := json.Marshal(c)
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.journal.Write(append(line, '\n')); err != nil {
		b.failed = status{exitUnreadable, fmt.Errorf("noting that case %s is finished: %w", c.Name, err)}
	}
}

// readJournal takes in what an earlier run finished. A line that was cut off by a kill is no case.
func (b *batch) readJournal() {
	data, err := os.ReadFile(filepath.Join(b.f.output, journalName))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(data)) {
		var c batchCase
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &c) == nil {
			b.done[c.Path] = c
		}
	}
}

// writeJournal begins a journal with what is known to be finished, in order of path.
func (b *batch) writeJournal(w io.Writer) error {
	e := json.NewEncoder(w)
	for _, p := range slices.Sorted(maps.Keys(b.done)) {
		if err := e.Encode(b.done[p]); err != nil {
			return err
		}
	}
	return nil
}

// finishedBefore gives the report of an earlier run when nothing that it depends on has changed.
func (b *batch) finishedBefore(c batchCase) (*analyze.Report, bool) {
	if b.done[c.Path] != c {
		return nil, false
	}
	for _, f := range b.formats[1:] {
		if _, err := os.Stat(filepath.Join(b.f.output, c.Name+extension(f.Name))); err != nil {
			return nil, false
		}
	}
	data, err := os.ReadFile(filepath.Join(b.f.output, c.Name+".json"))
	if err != nil {
		return nil, false
	}
	var r analyze.Report
	return &r, json.Unmarshal(data, &r) == nil && r.Schema == analyze.Schema
}

// tell shows on a terminal how far it is. The estimate goes by bytes on disk and is given once a twentieth is done.
func (b *batch) tell(cases int, total int64, took time.Duration) {
	if !isTerminal(b.err) {
		return
	}
	left := ""
	if total > 0 && b.bytes*20 >= total {
		rest := time.Duration(float64(took) * float64(total-b.bytes) / float64(b.bytes))
		left = fmt.Sprintf(", about %v left", rest.Round(time.Second))
	}
	fmt.Fprintf(b.err, "\r\x1b[K%d of %d cases, %d of %d MB%s", b.finished, cases, b.bytes>>20, total>>20, left)
}

// extension is the one of a format's files.
func extension(format string) string {
	switch format {
	case "markdown":
		return ".md"
	case "table":
		return ".txt"
	case "junit":
		return ".xml"
	case "prometheus":
		return ".prom"
	case "sarif", "slack":
		return "." + format + ".json"
	}
	return "." + format
}
