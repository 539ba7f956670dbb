package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	source "github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/redact"
	"github.com/wasmortem/wasmortem/reports"
)

// analyzeFlags are the flags of analyze.
type analyzeFlags struct {
	format, output, caseName, since, until, failOn string
	rules, modules, binaries                       []string
	jobs                                           int
	custody, batch, resume, follow                 bool
	elastic                                        elasticFlags

	query    string   // of documents in Elasticsearch
	fields   []string // ROLE=NAME
	baseline string
	known    map[string]bool // what the baseline holds
	redact   redactFlags
	hide     *redact.Redactor // nil when nothing is to be taken out
}

func (a *app) analyzeCommand() *cobra.Command {
	var f analyzeFlags
	cmd := &cobra.Command{
		Use:   "analyze PATH…",
		Short: "Find what failed first, why, and what to do",
		Long: `Reads files, directories, archives (gz, zst, xz, bz2, tar, zip, nested) and standard input (-), and reports incidents with runbooks.
All paths of one run are one case: twenty sidecars in a directory are one input. Nothing is left on disk. Modules and core dumps among
the inputs, and modules given with --module, put source lines to the stacks.

Exit status: 0 done, whatever was found; 1 something at or above --fail-on; 2 wrong command line, rules or configuration;
3 a path that does not exist, or nothing could be read; 130 interrupted, after what was found so far is printed.`,
		Example: `  wasmortem analyze istio-proxy.log
  wasmortem analyze bug-report.tar.gz --format markdown --output post-mortem.md
  kubectl logs -n shop deploy/checkout -c istio-proxy --previous | wasmortem analyze -
  wasmortem analyze logs/ --format json --fail-on error
  wasmortem analyze logs/ --rules our-rules.yaml
  wasmortem analyze logs/ --module target/wasm32-wasip1/release/
  wasmortem analyze --follow /var/log/canary/ --fail-on error
  wasmortem analyze --case monday --since 2026-11-22T02:00
  wasmortem analyze --batch archives/ --output reports/ --resume
  wasmortem analyze 'elasticsearch+https://es.example.com:9200/filebeat-*' --query kubernetes.namespace:shop --since 6h`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.analyze(cmd.Context(), args, f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "", strings.Join(formatNames(), ", ")+" (default: table on a terminal, else markdown)")
	fl.StringVarP(&f.output, "output", "o", "", "write the report to this file instead of standard output")
	a.caseFlag(cmd, &f.caseName, "analyse a kept case (see: wasmortem ingest --help); with PATHs, keep them in it first")
	fl.StringArrayVar(&f.rules, "rules", nil, "rules file or folder to add (repeatable)")
	fl.StringArrayVar(&f.binaries, "binary", nil, "program, library or debug file, or folder of them, for ELF core dumps among the inputs (repeatable); matched by build id")
	fl.StringArrayVar(&f.modules, "module", nil, "wasm module, or folder or archive with modules, for source lines of stacks (repeatable); matched by code, not by name")
	fl.StringVar(&f.since, "since", "", "ignore records before: a time (2026-11-22T14:50:00Z) or an age (2h)")
	fl.StringVar(&f.until, "until", "", "ignore records after: a time or an age")
	fl.IntVar(&f.jobs, "jobs", 0, "how many blocks to work on at once (default: number of cores)")
	fl.StringVar(&f.failOn, "fail-on", "", "exit 1 when an incident that is not in the baseline has at least this severity: info, warning, error, critical; new: any above info")
	fl.StringVar(&f.baseline, "baseline", "", "file of known incidents: a report in JSON, or fingerprints, one a line; they are marked and do not count for --fail-on")
	fl.BoolVar(&f.batch, "batch", false, "take every archive, folder and file directly under PATH as a case of its own: NAME.json and NAME.md each, and a summary, in --output DIR")
	fl.BoolVar(&f.resume, "resume", false, "with --batch: skip cases that were finished before and have not changed")
	fl.BoolVar(&f.custody, "custody", false, "record the sha256 of every input in the report")
	fl.BoolVar(&f.follow, "follow", false, "go on while the files grow, and tell on stderr which incidents are new; ends with the report at Ctrl-C, or at the first that --fail-on means")
	f.elastic.add(cmd, readPatience)
	fl.StringVar(&f.query, "query", "", "with elasticsearch+https://…: only documents that this query string finds, such as kubernetes.namespace:shop")
	fl.StringArrayVar(&f.fields, "elastic-field", nil, "with elasticsearch+https://…: ROLE=FIELD where the documents name them unusually ("+strings.Join(source.Roles(), ", ")+"; repeatable)")
	f.redact.add(cmd, "the report")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formatNames(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(failLevels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func formatNames() []string {
	var n []string
	for _, f := range reports.Formats {
		n = append(n, f.Name)
	}
	return n
}

func (a *app) analyze(ctx context.Context, paths []string, f analyzeFlags) error {
	if len(paths) == 0 && f.caseName == "" {
		return usage("analyze: which files? Give paths, - for standard input, or --case NAME (see: wasmortem analyze --help)")
	}
	if f.elastic.index != "" && f.caseName == "" {
		return usage("--index names the search engine of a case: give --case NAME, too")
	}
	format, err := a.chooseFormat(f.format, f.output)
	if err != nil {
		return err
	}
	o := analyze.Options{Jobs: f.jobs}
	if f.jobs < 0 {
		return usage("--jobs: want a positive number, have %d", f.jobs)
	}
	if o.Since, err = parseWhen(f.since, time.Now()); err != nil {
		return usage("--since: %v", err)
	}
	if o.Until, err = parseWhen(f.until, time.Now()); err != nil {
		return usage("--until: %v", err)
	}
	if !o.Since.IsZero() && !o.Until.IsZero() && o.Until.Before(o.Since) {
		return usage("--until %s lies before --since %s: that leaves nothing", f.until, f.since)
	}
	if err := checkFailOn(f.failOn); err != nil {
		return err
	}
	if f.hide, err = f.redact.redactor(); err != nil {
		return err
	}
	if f.baseline != "" {
		if f.known, err = baseline(f.baseline); err != nil {
			return err
		}
	}
	if o.Rules, err = a.loadRules(f.rules); err != nil {
		return err
	}
	o.Version, o.Commit = buildVersion()

	addresses, paths := splitAddresses(paths)
	if len(addresses) > 0 && f.caseName != "" {
		return usage("%s: documents of Elasticsearch are not kept in a case", withoutPassword(addresses[0]))
	}
	if len(addresses) > 0 && f.batch {
		return usage("%s: --batch is for archives and folders", withoutPassword(addresses[0]))
	}
	if (f.query != "" || len(f.fields) > 0) && len(addresses) == 0 {
		return usage("--query and --elastic-field are for an address: elasticsearch+https://HOST:9200/INDEX")
	}
	if err := missing(slices.Concat(paths, f.modules, f.binaries)); err != nil {
		return err
	}
	if paths, err = distinctPaths(paths); err != nil {
		return err
	}
	if f.resume && !f.batch {
		return usage("--resume goes on with a batch: give --batch, too")
	}
	if f.follow && f.batch {
		return f.checkFollow(paths, addresses)
	}
	if f.batch {
		extra := []reports.Format{format}
		if f.format == "" {
			extra = nil
		}
		return a.analyzeBatch(ctx, paths, f, o, extra)
	}
	if err := writable(f.output); err != nil {
		return err
	}
	if f.follow {
		if err := f.checkFollow(paths, addresses); err != nil {
			return err
		}
		return a.follow(ctx, paths, &f, o, format)
	}
	var corpus noted
	o.Binaries = analyze.NewBinaries(o.Rules)
	if err := o.Binaries.Open(ctx, f.modules, a.tell); err != nil {
		return unreadablePath(ctx, err)
	}
	o.Binaries.Programs(f.binaries)
	var b *bar
	if f.caseName == "" {
		b = a.startBar()
		defer b.stop()
		if len(addresses) == 0 {
			b.measure(paths)
		}
	}
	reading := ingest.Options{Stdin: interruptible(ctx, a.in), Hash: f.custody, Progress: func(in *ingest.Input) { b.at(in.Path) }, Limits: b.limits(), Binary: o.Binaries.Take}
	if f.caseName == "" {
		if corpus, err = a.sources(ctx, addresses, paths, reading, &f, &o); err != nil {
			return err
		}
	} else {
		c, kept, err := a.caseCorpus(ctx, f.caseName, paths, reading, &f.elastic, f.hide)
		if err != nil {
			return err
		}
		defer c.Close()
		corpus = kept
		b = a.startBar()
		defer b.stop()
	}
	r, runErr := analyze.Run(ctx, corpus, o)
	b.stop()
	interrupted := runErr != nil && ctx.Err() != nil
	if interrupted {
		r.Stats.Skipped = append(r.Stats.Skipped, interruptedNote)
	}
	r.Stats.Skipped = append(r.Stats.Skipped, corpus.Notes()...)
	r.Accept(f.known)
	if f.hide != nil {
		r.Redact(f.hide)
	}
	if err := a.write(f.output, func(w io.Writer) error { return format.Write(w, r, a.reportOptions(f.output)) }); err != nil {
		return err
	}
	a.warnInputs(r)
	switch {
	case interrupted:
		return status{exitInterrupted, nil}
	case runErr != nil:
		return status{exitUnreadable, runErr}
	case unreadable(r):
		return status{exitUnreadable, errors.New("nothing could be read: every input has an error")}
	case fails(r, f.failOn):
		return status{exitFound, nil}
	}
	return nil
}

const interruptedNote = "interrupted: what follows the last input listed was not read"

// missing reports paths that do not exist before any work is done.
func missing(paths []string) error {
	for _, p := range paths {
		if p == "-" {
			continue
		}
		if strings.Contains(p, "://") {
			return usage("%s: addresses are not supported here; give a file, a folder or -", withoutPassword(p))
		}
		if _, err := os.Stat(p); err != nil {
			return status{exitUnreadable, fmt.Errorf("cannot read %s: %w", p, errors.Unwrap(err))}
		}
	}
	return nil
}

// distinctPaths leaves out paths that name a file named before: given twice, it would count twice.
func distinctPaths(paths []string) ([]string, error) {
	var out []string
	var seen []os.FileInfo
	stdin := false
next:
	for _, p := range paths {
		if p == "-" {
			if stdin {
				return nil, usage("standard input (-) can be read only once")
			}
			stdin = true
			out = append(out, p)
			continue
		}
		if info, err := os.Stat(p); err == nil {
			for _, s := range seen {
				if os.SameFile(s, info) {
					continue next
				}
			}
			seen = append(seen, info)
		}
		out = append(out, p)
	}
	return out, nil
}

// writable finds out before a long analysis whether its report could be written.
func writable(path string) error {
	if path == "" || path == "-" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return status{exitUnreadable, fmt.Errorf("cannot write %s: it is a folder", path)}
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return status{exitUnreadable, fmt.Errorf("cannot write %s: %w", path, errors.Unwrap(err))}
	}
	return nil
}

// interruptible gives a reader that ends when ctx does, also while a read of r blocks.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, r)
		pw.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { pw.Close() })
	return pr
}

func unreadable(r *analyze.Report) bool {
	for i := range r.Inputs {
		if in := &r.Inputs[i]; in.Error == "" || in.Lines > 0 {
			return false
		}
	}
	return len(r.Inputs) > 0
}

// warnInputs tells on stderr what a person may overlook in the report.
func (a *app) warnInputs(r *analyze.Report) {
	if len(r.Inputs) == 0 {
		fmt.Fprintln(a.err, "wasmortem: nothing to read: the paths hold no files")
	}
	logs := false
	for i := range r.Inputs {
		logs = logs || r.Inputs[i].First != nil || r.Inputs[i].Records > 0
	}
	for i := range r.Inputs {
		in := &r.Inputs[i]
		switch {
		case in.Error != "":
			fmt.Fprintf(a.err, "wasmortem: %s: %s\n", in.Path, in.Error)
		case in.Bytes == 0 && in.Lines == 0:
			fmt.Fprintf(a.err, "wasmortem: %s is empty\n", in.Path)
		case in.Kind == "unknown":
			fmt.Fprintf(a.err, "wasmortem: %s is no text, and nothing else that is known: not read\n", in.Path)
		case in.Kind == "text" && !logs:
			fmt.Fprintf(a.err, "wasmortem: %s holds no record that looks like a log\n", in.Path)
		}
	}
}

func (a *app) chooseFormat(name, output string) (reports.Format, error) {
	if name == "" {
		name = "markdown"
		if output == "" && isTerminal(a.out) {
			name = "table"
		}
	}
	f, ok := reports.Lookup(name)
	if !ok {
		return f, usage("unknown format %q (want one of %s)", name, strings.Join(formatNames(), ", "))
	}
	return f, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) reportOptions(output string) reports.Options {
	o := reports.Options{}
	if output == "" && isTerminal(a.out) {
		_, no := a.env("NO_COLOR")
		o.Color = !no
		if f, ok := a.out.(*os.File); ok {
			if w, _, err := term.GetSize(int(f.Fd())); err == nil {
				o.Width = w
			}
		}
	}
	return o
}

// write sends a report to standard output, or to a file that is complete or not there at all.
func (a *app) write(path string, render func(io.Writer) error) error {
	var buf bytes.Buffer
	if err := render(&buf); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if path == "" || path == "-" {
		_, err := a.out.Write(buf.Bytes())
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".wasmortem-*")
	if err != nil {
		return status{exitUnreadable, fmt.Errorf("writing %s: %w", path, bare(err))}
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(buf.Bytes()); err == nil {
		err = tmp.Chmod(0o644)
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return status{exitUnreadable, fmt.Errorf("writing %s: %w", path, bare(err))}
	}
	return nil
}

// bare takes the path off an error: that of a temporary file says nothing to anybody.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}

// parseWhen reads a time or an age. An empty text is no bound.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-22T14:50:00Z nor an age such as 2h", s)
}

func (a *app) clearProgress() {
	if isTerminal(a.err) {
		fmt.Fprint(a.err, "\r\x1b[K")
	}
}
