package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
)

var followStep = time.Second // how often files are looked at

// followShare is the part of the time that analyses may take: an analysis that took 1 s is followed by a pause of 4 s.
const followShare = 5

// follower analyses paths again whenever they have changed. Each analysis is an ordinary one of the files as they are, so it cites true lines,
// whatever rotation does; what is no longer in any of the files is not in the report, and the report says so.
type follower struct {
	a     *app
	paths []string
	f     *analyzeFlags
	o     analyze.Options

	report *analyze.Report // the last one
	took   time.Duration
	seen   map[string]bool // incidents of the analysis before: a record that is still being written may look like another failure
	told   []*analyze.Incident
	notes  []string
}

// follow tells incidents as they come, until ctx ends or one is as bad as --fail-on says. Then it writes the report.
func (a *app) follow(ctx context.Context, paths []string, f *analyzeFlags, o analyze.Options, format reports.Format) error {
	w := &follower{a: a, paths: paths, f: f, o: o}
	files := w.files()
	if err := w.analyze(ctx); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "wasmortem: following files (%d now); Ctrl-C ends with the report\n", len(files))
	failed := w.tell()
	for !failed && ctx.Err() == nil {
		w.settle()
		pause(ctx, max(followStep, time.Duration(followShare-1)*w.took))
		now := w.files()
		w.lost(files, now)
		if !slices.Equal(files, now) && ctx.Err() == nil {
			files = now
			if err := w.analyze(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		failed = w.tell()
	}
	if ctx.Err() != nil { // what was written since the last look
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(followStep, 2*w.took))
		defer cancel()
		if !slices.Equal(files, w.files()) {
			_ = w.analyze(late) // the report before stands
		}
		w.settle()
		w.tell()
	}
	if err := w.write(format); err != nil {
		return err
	}
	if failed || fails(w.report, f.failOn) {
		return status{exitFound, nil}
	}
	return status{exitInterrupted, nil}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// file is what shows that a file has changed.
type file struct {
	path string
	size int64
	at   int64
}

// maxFollowed is how many files are looked at.
const maxFollowed = 100_000

// files are those of the paths that are there now.
func (w *follower) files() (list []file) {
	for _, p := range w.paths {
		_ = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil //nolint:nilerr // a file that rotation moves away just now is looked for again
			}
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
				list = append(list, file{path, info.Size(), info.ModTime().UnixNano()})
			}
			if len(list) == maxFollowed {
				return fs.SkipAll
			}
			return nil
		})
	}
	return list
}

// lost notes files that have become shorter: what stood in them may be nowhere any more.
func (w *follower) lost(before, now []file) {
	sizes := map[string]int64{}
	for _, f := range now {
		sizes[f.path] = f.size
	}
	for _, f := range before {
		note := ""
		if size, there := sizes[f.path]; !there {
			note = " was taken away while it was followed"
		} else if size < f.size {
			note = " was cut off or begun anew while it was followed"
		}
		if note != "" && len(w.notes) < 20 && !slices.Contains(w.notes, f.path+note) {
			w.notes = append(w.notes, f.path+note)
		}
	}
}

// analyze looks at everything. When that fails, as while a file is being moved, the report before stays, if there is one.
func (w *follower) analyze(ctx context.Context) error {
	began := time.Now()
	o := w.o
	o.Binaries = analyze.NewBinaries(o.Rules)
	quiet := func(string, string) {}
	if w.report == nil {
		quiet = w.a.tell
	}
	if err := o.Binaries.Open(ctx, w.f.modules, quiet); err != nil {
		return unreadablePath(ctx, err)
	}
	o.Binaries.Programs(w.f.binaries)
	c := ingest.Files(w.paths, ingest.Options{Hash: w.f.custody, Binary: o.Binaries.Take})
	r, err := analyze.Run(ctx, c, o)
	w.took = time.Since(began)
	switch {
	case w.report != nil && (err != nil || unreadable(r)):
		return nil //nolint:nilerr // the next look may find the files again
	case err != nil && ctx.Err() != nil:
		r.Stats.Skipped = append(r.Stats.Skipped, interruptedNote)
	case err != nil:
		return status{exitUnreadable, err}
	}
	r.Stats.Skipped = append(r.Stats.Skipped, c.Notes()...)
	r.Accept(w.f.known)
	if w.f.hide != nil {
		r.Redact(w.f.hide)
	}
	w.report = r
	return nil
}

// settle remembers which incidents there are.
func (w *follower) settle() {
	w.seen = map[string]bool{}
	for i := range w.report.Incidents {
		w.seen[w.report.Incidents[i].ID] = true
	}
}

// tell says on stderr which incidents are new, once they were there twice, and reports whether one is as bad as --fail-on says.
func (w *follower) tell() (failed bool) {
	for i := range w.report.Incidents {
		in := &w.report.Incidents[i]
		if !w.seen[in.ID] || in.Known {
			continue
		}
		alone := &analyze.Report{Incidents: []analyze.Incident{*in}}
		failed = failed || fails(alone, w.f.failOn)
		if slices.ContainsFunc(w.told, func(t *analyze.Incident) bool { return t.ID == in.ID }) {
			continue
		}
		w.told = append(w.told, in)
		text := fmt.Sprintf("%s %s (%.0f %%)", in.Severity, in.RootCause, 100*in.Confidence)
		if in.Subject.Plugin != "" {
			text += ", " + in.Subject.Plugin
		}
		if in.FirstSeen != nil {
			text += ", " + in.FirstSeen.Format("2006-01-02 15:04:05") + " UTC"
		}
		fmt.Fprintf(w.a.err, "wasmortem: new: %s: %s\n", escape.Line(text), escape.Line(in.Title))
	}
	return failed
}

// write writes the last report, with what was told and is not in it.
func (w *follower) write(format reports.Format) error {
	r := w.report
	if w.f.hide != nil {
		w.f.hide.All(&w.notes)
	}
	r.Stats.Skipped = append(r.Stats.Skipped, w.notes...)
	for _, t := range w.told {
		if !slices.ContainsFunc(r.Incidents, func(in analyze.Incident) bool { return in.ID == t.ID }) {
			r.Stats.Skipped = append(r.Stats.Skipped, fmt.Sprintf("%s %s was told while the files were followed, and what showed it is not in them any more", t.ID, t.RootCause))
		}
	}
	if err := w.a.write(w.f.output, func(out io.Writer) error { return format.Write(out, r, w.a.reportOptions(w.f.output)) }); err != nil {
		return err
	}
	w.a.warnInputs(r)
	if unreadable(r) {
		return status{exitUnreadable, errors.New("nothing could be read: every input has an error")}
	}
	return nil
}

// checkFollow says what --follow does not go with.
func (f *analyzeFlags) checkFollow(paths, addresses []string) error {
	switch {
	case f.caseName != "":
		return usage("--follow is for files; a case does not grow by itself")
	case f.batch:
		return usage("--follow tells one case; it does not go with --batch")
	case len(addresses) > 0:
		return usage("--follow is for files, not for %s", withoutPassword(addresses[0]))
	case slices.Contains(paths, "-"):
		return usage("--follow is for files; standard input is read until it ends or Ctrl-C anyway: kubectl logs -f … | wasmortem analyze -")
	}
	return nil
}
