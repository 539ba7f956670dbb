package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	source "github.com/wasmortem/wasmortem/ingest/elastic"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/ingest/redact"
	"github.com/wasmortem/wasmortem/reports"
)

// place is where a line stands.
type place struct {
	source string
	line   int64
}

// marks are the evidence of a report by where it stands.
type marks struct {
	at    map[place][]reports.Mark
	first map[place]*analyze.Evidence
	met   map[place]bool
	shown map[place]string // lines that were shown, or will be as evidence
}

func newMarks(r *analyze.Report) *marks {
	m := &marks{at: map[place][]reports.Mark{}, first: map[place]*analyze.Evidence{}, met: map[place]bool{}, shown: map[place]string{}}
	for i := range r.Incidents {
		in := &r.Incidents[i]
		for j := range in.Evidence {
			e := &in.Evidence[j]
			at := place{e.Source, e.Line}
			m.at[at] = append(m.at[at], reports.Mark{Incident: in.ID, RootCause: in.RootCause, Role: e.Role, Rule: e.Rule})
			m.first[at], m.shown[at] = e, e.Text
			for k, l := range strings.Split(e.Message, "\n")[1:] {
				m.shown[place{e.Source, e.Line + 1 + int64(k)}] = l
			}
		}
	}
	return m
}

// put marks a record and gives it its neighbours, or says that it is no evidence. A neighbour that is shown elsewhere is left out. Where
// other writers' lines lie within a record, numbers of neighbours are not known for sure, so their text has to agree, too, but for a wrapper.
func (m *marks) put(r *reports.Record) bool {
	at := place{r.Source, r.Line}
	e := m.first[at]
	if e == nil {
		return false
	}
	m.met[at] = true
	r.Evidence = m.at[at]
	neighbours := func(lines []string, from int64) (out []string) {
		for i, l := range lines {
			p := place{r.Source, from + int64(i)}
			if text, ok := m.shown[p]; !ok || !strings.HasSuffix(l, text) {
				m.shown[p] = l
				out = append(out, l)
			}
		}
		return out
	}
	r.Before = neighbours(e.Before, e.Line-int64(len(e.Before)))
	r.After = neighbours(e.After, e.Line+int64(max(e.Lines, 1)))
	return true
}

// left is how many lines of evidence were not met.
func (m *marks) left() int { return len(m.at) - len(m.met) }

const caseHelp = "name of the case (kept below $WASMORTEM_HOME, by default the user's data folder), or a folder"

// caseFlag adds --case, which a shell completes with the kept cases and folders.
func (a *app) caseFlag(cmd *cobra.Command, name *string, help string) {
	cmd.Flags().StringVar(name, "case", "", help)
	_ = cmd.RegisterFlagCompletionFunc("case", func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return index.Cases(func(key string) string { v, _ := a.env(key); return v }), cobra.ShellCompDirectiveDefault
	})
}

func (a *app) ingestCommand() *cobra.Command {
	var name, format string
	var jobs int
	var e elasticFlags
	var hide redactFlags
	cmd := &cobra.Command{Use: "ingest PATH… --case NAME", Short: "Keep inputs in a searchable case",
		Long: `Reads files, directories, archives and standard input (-) into a case: a folder that holds an index and the unpacked bytes,
so that it can be searched and analysed after the source is gone. Run again with more files, only the new ones cost.
Killed or interrupted and run again, it goes on where it was.

With --index https://HOST:9200 the index is in Elasticsearch, where Kibana shows the records, too; the bytes stay in the folder.`,
		Example: "  wasmortem ingest bug-report.tar.gz --case monday\n  wasmortem search 'panicked' --case monday\n  wasmortem analyze --case monday",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ingest(cmd.Context(), args, name, format, jobs, &e, hide)
		}}
	a.caseFlag(cmd, &name, caseHelp)
	formatFlag(cmd, &format)
	cmd.Flags().IntVar(&jobs, "jobs", 0, "how many blocks to work on at once (default: number of cores)")
	e.add(cmd, source.DefaultPatience)
	hide.add(cmd, "what is kept")
	return cmd
}

func (a *app) ingest(ctx context.Context, paths []string, name, format string, jobs int, e *elasticFlags, hide redactFlags) error {
	if len(paths) == 0 || name == "" {
		return usage("ingest: give paths and --case NAME (see: wasmortem ingest --help)")
	}
	if format != "text" && format != "json" {
		return usage("unknown format %q (want text or json)", format)
	}
	if err := missing(paths); err != nil {
		return err
	}
	x, err := hide.redactor()
	if err != nil {
		return err
	}
	result, err := a.fill(ctx, paths, name, jobs, e, x)
	if err != nil {
		return err
	}
	a.tellRedacted(x)
	if x != nil && result.Unchanged > 0 {
		fmt.Fprintf(a.err, "wasmortem: %d inputs were in the case before and stay as they were kept then: use a new case to keep them redacted\n", result.Unchanged)
	}
	return a.textOrJSON(format, result, func() error {
		_, err := fmt.Fprintf(a.out, "%d inputs added, %d replaced, %d unchanged; %d lines, %d bytes read into %s\n",
			result.Added, result.Replaced, result.Unchanged, result.Lines, result.Bytes, result.Case)
		if err == nil && result.Resumed > 0 {
			_, err = fmt.Fprintf(a.out, "%d of these bytes had been kept by an ingest that did not come to its end\n", result.Resumed)
		}
		return err
	})
}

// filled is what an ingest did.
type filled struct {
	Case string `json:"case"`
	index.Summary
}

// fill reads paths into a case.
func (a *app) fill(ctx context.Context, paths []string, name string, jobs int, ef *elasticFlags, x *redact.Redactor) (f filled, err error) {
	c, err := a.open(ctx, name, true, ef)
	if err != nil {
		return f, err
	}
	f.Case = c.Dir
	b := a.startBar()
	f.Summary, err = c.IngestFiles(ctx, paths, ingest.Options{Stdin: a.in, Redact: stream(x), Limits: b.limits()},
		index.IngestOptions{Jobs: jobs, Progress: func(p index.Progress) { b.at(p.Path) }, Begin: b.measure})
	b.stop()
	if e := c.Close(); err == nil {
		err = e
	}
	switch {
	case ctx.Err() != nil:
		return f, status{exitInterrupted, nil}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return f, status{exitUnreadable, err}
	case err != nil:
		return f, status{exitUnreadable, fmt.Errorf("filling the case %s: %w", name, err)}
	}
	return f, nil
}

// open opens a case by name.
func (a *app) open(ctx context.Context, name string, write bool, e *elasticFlags) (*index.Case, error) {
	get := func(key string) string { v, _ := a.env(key); return v }
	dir, err := index.ResolveCase(name, get)
	if err != nil {
		return nil, usage("--case: %v", err)
	}
	engine, err := a.engine(ctx, dir, e)
	if err != nil {
		return nil, err
	}
	c, err := index.Open(dir, index.Options{Engine: engine, Write: write})
	if err != nil {
		return nil, status{exitUnreadable, err}
	}
	for _, w := range c.Warnings {
		fmt.Fprintln(a.err, "wasmortem:", w)
	}
	return c, nil
}

// hitFlags are what search and timeline have in common.
type hitFlags struct {
	name, format, since, until string
	limit                      int
	noPager                    bool
	elastic                    elasticFlags
	redact                     redactFlags
}

func (f *hitFlags) add(a *app, cmd *cobra.Command) {
	a.caseFlag(cmd, &f.name, caseHelp)
	formatFlag(cmd, &f.format)
	cmd.Flags().StringVar(&f.since, "since", "", "only records from then on: a time (2026-11-22T14:50:00Z) or an age (2h)")
	cmd.Flags().StringVar(&f.until, "until", "", "only records up to then: a time or an age")
	cmd.Flags().IntVar(&f.limit, "limit", 0, "stop after so many (0: all)")
	cmd.Flags().BoolVar(&f.noPager, "no-pager", false, "do not show what is longer than the terminal through $PAGER")
	f.elastic.add(cmd, readPatience)
	f.redact.add(cmd, "what is shown")
}

func (f *hitFlags) apply(q *index.Query) (err error) {
	if q.Since, err = parseWhen(f.since, time.Now()); err != nil {
		return usage("--since: %v", err)
	}
	if q.Until, err = parseWhen(f.until, time.Now()); err != nil {
		return usage("--until: %v", err)
	}
	if f.limit < 0 {
		return usage("--limit: want 0 or more, have %d", f.limit)
	}
	q.Limit = f.limit
	if f.format != "text" && f.format != "json" {
		return usage("unknown format %q (want text or json)", f.format)
	}
	if f.name == "" {
		return usage("which case? Give --case NAME")
	}
	return nil
}

func (a *app) searchCommand() *cobra.Command {
	var f hitFlags
	cmd := &cobra.Command{Use: "search QUERY --case NAME", Short: "Search a case: exact records, in order of time",
		Long: `Finds records by words, phrases and fields (the syntax of bleve's query strings):

  panicked                                   a word
  "memory access out of bounds"              a phrase
  proxy_on_*                                 any ending
  +level:>=warning +logger:wasm -text:waf    fields; + must, - must not
  status:>=500  flags:UF  pod:checkout-1     fields of access log entries and identity
  time:>="2026-11-22T14:50:00Z"              times

Fields: text (when none is named), time, level, logger, pod, namespace, container, node, thread, kind, status, flags, source.`,
		Example: "  wasmortem search 'on_http_request_headers' --case monday\n  wasmortem search '+level:error +logger:wasm' --case monday --limit 20",
		Args:    exactly(1, "search: give one query; quote it (see: wasmortem search --help)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := index.ParseQuery(args[0])
			if err != nil {
				return usage("query: %v", err)
			}
			if err := f.apply(&q); err != nil {
				return err
			}
			c, err := a.open(cmd.Context(), f.name, false, &f.elastic)
			if err != nil {
				return err
			}
			defer c.Close()
			return a.hits(cmd.Context(), c.Search(cmd.Context(), q), &f, nil)
		}}
	f.add(a, cmd)
	return cmd
}

func (a *app) timelineCommand() *cobra.Command {
	var f hitFlags
	var query string
	var follow bool
	cmd := &cobra.Command{Use: "timeline --case NAME", Short: "What happened, over all files of a case, in order of time",
		Long: `Shows, merged over all files, the records that hold a rule's literal and those that look bad whatever the rules say:
warnings and worse, failed requests, events.

With --follow-evidence, the case is analysed, and only the records are shown that a report would show as evidence: for each incident, rule
and role the first and the last. Each is marked with its role, the id of the incident and the rule, and stands between its neighbouring lines.`,
		Example: "  wasmortem timeline --case monday --since 2026-11-22T02:10 --until 2026-11-22T02:30\n  wasmortem timeline --case monday --follow-evidence",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := index.ParseQuery(query)
			if err != nil {
				return usage("--query: %v", err)
			}
			if err := f.apply(&q); err != nil {
				return err
			}
			set, err := a.loadRules(nil)
			if err != nil {
				return err
			}
			c, err := a.open(cmd.Context(), f.name, false, &f.elastic)
			if err != nil {
				return err
			}
			defer c.Close()
			if !follow {
				return a.hits(cmd.Context(), timed(c.Timeline(cmd.Context(), q, set.Literals())), &f, nil)
			}
			v, commit := buildVersion()
			// The corpus is read as analyze --case does, so that ids are the same.
			b := a.startBar()
			r, err := analyze.Run(cmd.Context(), c.Corpus(ingest.Options{Progress: func(in *ingest.Input) { b.at(in.Path) }}),
				analyze.Options{Rules: set, Since: q.Since, Until: q.Until, Version: v, Commit: commit, Binaries: analyze.NewBinaries(set)})
			b.stop()
			switch {
			case cmd.Context().Err() != nil:
				return status{exitInterrupted, nil}
			case err != nil:
				return status{exitUnreadable, err}
			}
			m := newMarks(r)
			q.Limit = 0 // of those that are evidence
			if err := a.hits(cmd.Context(), c.Timeline(cmd.Context(), q, set.Literals()), &f, m); err != nil {
				return err
			}
			if n := m.left(); n > 0 && query == "" && f.limit == 0 {
				fmt.Fprintf(a.err, "wasmortem: %d more lines of evidence are no records of the timeline: wasmortem analyze --case %s shows them\n", n, f.name)
			}
			return nil
		}}
	cmd.Flags().StringVar(&query, "query", "", "narrow it down, as in search")
	cmd.Flags().BoolVar(&follow, "follow-evidence", false, "only what is evidence of an incident, with its role and neighbouring lines")
	f.add(a, cmd)
	return cmd
}

// timed leaves out what has no place in time: statistics, parts of a configuration.
func timed(hits iter.Seq2[index.Hit, error]) iter.Seq2[index.Hit, error] {
	return func(yield func(index.Hit, error) bool) {
		for h, err := range hits {
			if err == nil && h.Time.IsZero() && h.Around.IsZero() {
				continue
			}
			if !yield(h, err) {
				return
			}
		}
	}
}

// hits prints records as they are found. marks, when there are any, leave only what is evidence.
func (a *app) hits(ctx context.Context, found iter.Seq2[index.Hit, error], f *hitFlags, marks *marks) (err error) {
	x, err := f.redact.redactor()
	if err != nil {
		return err
	}
	out, end := a.paged(ctx, f.noPager || f.format == "json")
	defer func() {
		if e := end(); err == nil {
			err = e
		}
	}()
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	n := 0
	for h, err := range found {
		if err != nil {
			if ctx.Err() != nil {
				return status{exitInterrupted, nil}
			}
			return status{exitUnreadable, err}
		}
		r := reports.Record{Hit: h}
		if marks != nil && !marks.put(&r) {
			continue
		}
		n++
		if x != nil {
			x.All(&r.Hit)
			x.All(&r.Before)
			x.All(&r.After)
		}
		if f.format == "json" {
			err = e.Encode(r)
		} else {
			err = reports.WriteRecord(out, &r, a.reportOptions(""))
		}
		if errors.Is(err, errQuit) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.limit > 0 && n == f.limit {
			break
		}
	}
	if n == 0 {
		fmt.Fprintln(a.err, "wasmortem: nothing found")
	} else {
		a.tellRedacted(x)
	}
	return nil
}

// caseCorpus opens a kept case for analyze, after filling it with paths if there are any.
func (a *app) caseCorpus(ctx context.Context, name string, paths []string, o ingest.Options, e *elasticFlags, x *redact.Redactor) (*index.Case, *index.Corpus, error) {
	if len(paths) > 0 {
		if _, err := a.fill(ctx, paths, name, 0, e, x); err != nil {
			return nil, nil, err
		}
	}
	c, err := a.open(ctx, name, false, e)
	if err != nil {
		return nil, nil, err
	}
	return c, c.Corpus(o), nil
}
