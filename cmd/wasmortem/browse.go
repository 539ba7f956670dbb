package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/cmd/wasmortem/internal/browse"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/redact"
)

// browseFlags are the flags of browse.
type browseFlags struct {
	caseName, since, until   string
	rules, modules, binaries []string
	jobs                     int
	elastic                  elasticFlags
	redact                   redactFlags
}

func (a *app) browseCommand() *cobra.Command {
	var f browseFlags
	cmd := &cobra.Command{
		Use:   "browse PATH…",
		Short: "Leaf through a report on a terminal: incidents, evidence, the lines around it, runbook",
		Long: `Analyses what it is given, as analyze does, or reads a report that analyze --format json wrote, and shows it screen by screen: the incidents; of each
a summary, the stack, the evidence, other causes and the runbook; of each line of evidence the lines around it in its file.

Keys: enter opens, esc goes back, tab shows the next pane, / filters, c copies a snippet (through the terminal, OSC 52, so it works over ssh),
? lists all of them, q quits. With a stored report, there are no more lines around the evidence than the report keeps.

It wants a terminal. Where there is none, analyze writes the same as text: --format markdown, --format html.`,
		Example: `  wasmortem browse bug-report.tar.gz
  wasmortem browse --case monday
  wasmortem browse report.json
  kubectl logs -n shop deploy/checkout -c istio-proxy --previous | wasmortem browse -`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.browse(cmd.Context(), args, &f) },
	}
	fl := cmd.Flags()
	a.caseFlag(cmd, &f.caseName, "browse a kept case (see: wasmortem ingest --help)")
	fl.StringArrayVar(&f.rules, "rules", nil, "rules file or folder to add (repeatable)")
	fl.StringArrayVar(&f.modules, "module", nil, "wasm module, or folder or archive with modules, for source lines of stacks (repeatable); matched by code, not by name")
	fl.StringArrayVar(&f.binaries, "binary", nil, "program, library or debug file, or folder of them, for ELF core dumps among the inputs (repeatable); matched by build id")
	fl.StringVar(&f.since, "since", "", "ignore records before: a time (2026-11-22T14:50:00Z) or an age (2h)")
	fl.StringVar(&f.until, "until", "", "ignore records after: a time or an age")
	fl.IntVar(&f.jobs, "jobs", 0, "how many blocks to work on at once (default: number of cores)")
	f.elastic.add(cmd, readPatience)
	f.redact.add(cmd, "what is shown")
	return cmd
}

func (a *app) browse(ctx context.Context, paths []string, f *browseFlags) error {
	out, err := a.screen(paths, f.caseName)
	if err != nil {
		return err
	}
	if (len(paths) == 0) == (f.caseName == "") {
		return usage("browse: what? Give paths or a report, or --case NAME (see: wasmortem browse --help)")
	}
	o := analyze.Options{Jobs: f.jobs}
	if o.Since, err = parseWhen(f.since, time.Now()); err != nil {
		return usage("--since: %v", err)
	}
	if o.Until, err = parseWhen(f.until, time.Now()); err != nil {
		return usage("--until: %v", err)
	}
	hide, err := f.redact.redactor()
	if err != nil {
		return err
	}
	if err := missing(append(append(append([]string{}, paths...), f.modules...), f.binaries...)); err != nil {
		return err
	}
	if paths, err = distinctPaths(paths); err != nil {
		return err
	}
	keys, err := a.keys()
	if err != nil {
		return err
	}
	shown := browse.Options{Title: strings.Join(paths, " ")}
	_, noColor := a.env("NO_COLOR")
	shown.Color = !noColor

	var r *analyze.Report
	if len(paths) == 1 && paths[0] != "-" {
		if r, err = storedReport(paths[0]); err != nil {
			return err
		}
	}
	if r == nil {
		var corpus func() noted
		if f.caseName != "" {
			c, err := a.open(ctx, f.caseName, false, &f.elastic)
			if err != nil {
				return err
			}
			defer c.Close()
			shown.Title = "case " + filepath.Base(c.Dir)
			corpus = func() noted { return c.Corpus(ingest.Options{}) }
		}
		if r, err = a.analyzed(ctx, paths, corpus, o, f); err != nil {
			return err
		}
		if corpus == nil {
			corpus = func() noted { return ingest.Files(paths, ingest.Options{}) }
		}
		shown.Page = pages(corpus, hide)
	}
	if hide != nil {
		r.Redact(hide)
	}
	var environ []string
	for _, name := range []string{"TERM", "COLORTERM", "TERM_PROGRAM", "NO_COLOR", "SSH_TTY", "TMUX", "STY", "WT_SESSION", "LANG", "LC_ALL", "LC_CTYPE"} {
		if v, ok := a.env(name); ok {
			environ = append(environ, name+"="+v)
		}
	}
	err = browse.Run(ctx, browse.New(r, shown), keys, out, environ)
	if errors.Is(err, browse.ErrInterrupted) {
		return status{exitInterrupted, nil}
	}
	return err
}

// screen is the terminal to show something on, or says what to run without one.
func (a *app) screen(paths []string, name string) (*os.File, error) {
	instead := "wasmortem analyze"
	if name != "" {
		instead += " --case " + name
	}
	for _, p := range paths {
		instead += " " + p
	}
	if len(paths) == 1 && strings.HasSuffix(paths[0], ".json") {
		instead += " (or what the report was made of)"
	}
	out, ok := a.out.(*os.File)
	if !ok || !isTerminal(out) {
		return nil, usage("browse: standard output is no terminal; run: %s --format markdown", instead)
	}
	if t, _ := a.env("TERM"); t == "dumb" || t == "" {
		return nil, usage("browse: the terminal cannot place its cursor (TERM is %q); run: %s --format table", t, instead)
	}
	return out, nil
}

// keys is where keys come from: standard input, or the terminal itself when that is taken.
func (a *app) keys() (*os.File, error) {
	if f, ok := a.in.(*os.File); ok && isTerminal(f) {
		return f, nil
	}
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, usage("browse: standard input is no terminal, and there is no other one to take keys from: %v", bare(err))
	}
	return f, nil
}

// analyzed is the report of paths, or of a corpus when there is one.
func (a *app) analyzed(ctx context.Context, paths []string, corpus func() noted, o analyze.Options, f *browseFlags) (*analyze.Report, error) {
	var err error
	if o.Rules, err = a.loadRules(f.rules); err != nil {
		return nil, err
	}
	o.Version, o.Commit = buildVersion()
	o.Binaries = analyze.NewBinaries(o.Rules)
	if err := o.Binaries.Open(ctx, f.modules, a.tell); err != nil {
		return nil, unreadablePath(ctx, err)
	}
	o.Binaries.Programs(f.binaries)
	b := a.startBar()
	defer b.stop()
	var from noted
	if corpus != nil {
		from = corpus()
	} else {
		b.measure(paths)
		reading := ingest.Options{Progress: func(in *ingest.Input) { b.at(in.Path) }, Limits: b.limits(), Binary: o.Binaries.Take}
		for _, p := range paths {
			if p == "-" { // only then: nobody else may read what is typed
				reading.Stdin = interruptible(ctx, bufio.NewReader(a.in))
			}
		}
		from = ingest.Files(paths, reading)
	}
	r, err := analyze.Run(ctx, from, o)
	b.stop()
	switch {
	case ctx.Err() != nil:
		return nil, status{exitInterrupted, errors.New("interrupted while reading: there is nothing to show yet")}
	case err != nil:
		return nil, status{exitUnreadable, err}
	case unreadable(r):
		a.warnInputs(r)
		return nil, status{exitUnreadable, errors.New("nothing could be read: every input has an error")}
	}
	r.Stats.Skipped = append(r.Stats.Skipped, from.Notes()...)
	return r, nil
}

// pageLines is how many lines are read before a record, and how many from it on.
const pageLines = 500

// pages reads the lines around a record again. A member of an archive is looked for from the archive's beginning.
func pages(corpus func() noted, hide *redact.Redactor) func(context.Context, *analyze.Evidence) (int64, []string, error) {
	return func(ctx context.Context, e *analyze.Evidence) (first int64, lines []string, err error) {
		if e.Source == "-" {
			return 0, nil, errors.New("standard input can be read only once")
		}
		for b, err := range corpus().Blocks(ctx, literalOf(e)) {
			if err != nil {
				return 0, nil, err
			}
			path := b.Input.Path
			if hide != nil {
				hide.All(&path)
			}
			if path == e.Source {
				var raw [][]byte
				first, raw = b.Page(e.Offset, pageLines)
				for _, l := range raw {
					lines = append(lines, strings.ToValidUTF8(string(l), "\uFFFD"))
				}
			}
			b.Release()
			if len(lines) > 0 {
				break
			}
		}
		i := e.Line - first
		switch {
		case ctx.Err() != nil:
			return 0, nil, ctx.Err()
		case len(lines) == 0:
			return 0, nil, fmt.Errorf("%s is not there any more, or shorter", e.Source)
		case i < 0 || i >= int64(len(lines)):
			return 0, nil, errors.New("it has no lines of its own")
		}
		if hide != nil {
			hide.All(&lines)
		}
		if !e.Truncated && !e.Redacted && strings.TrimRight(lines[i], "\r") != strings.TrimRight(e.Text, "\r") {
			return 0, nil, fmt.Errorf("%s is not what it was when it was analysed", e.Source)
		}
		return first, lines, nil
	}
}

// literalOf is what a corpus that has an index finds the block of a record by; nil when the record's line is not a text.
func literalOf(e *analyze.Evidence) [][]byte {
	longest := ""
	for _, part := range strings.Split(e.Text, string(utf8.RuneError)) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	if len(longest) < 8 || e.Redacted {
		return nil
	}
	return [][]byte{[]byte(longest[:min(len(longest), 200)])}
}
