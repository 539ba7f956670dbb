package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/reports"
)

// maxReport is how large a stored report may be.
const maxReport = 256 << 20

// compareFlags are the flags of compare.
type compareFlags struct {
	format, output, failOn string
	rules                  []string
	jobs                   int
	redact                 redactFlags
}

func (a *app) compareCommand() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "Say which incidents are new, gone or changed between two reports or two inputs",
		Long: `Sets two post-mortems side by side, incident by incident. BEFORE and AFTER are reports (what analyze --format json wrote) or anything that analyze
reads. Incidents are the same when their fingerprints are: cause, plugin, callback, trap kind and place, never time or pod.

Rates are per hour of the time that the inputs cover and per pod that was hit. An incident counts as changed when its severity is another,
when the pods that it hit doubled or halved, or when its rate differs by a half or more and by more than chance would.

--fail-on new exits with 1 when something above info is new; a severity, when something new or worse is at least as severe.`,
		Example: `  wasmortem compare monday.json tuesday.json
  wasmortem compare before-rollout/ after-rollout/ --format html --output change.html
  wasmortem compare baseline.json logs/ --fail-on new`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("compare: want two, BEFORE and AFTER, have %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.compare(cmd.Context(), args[0], args[1], f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "", strings.Join(reports.ComparisonFormats, ", ")+" (default: table on a terminal, else markdown)")
	fl.StringVarP(&f.output, "output", "o", "", "write to this file instead of standard output")
	fl.StringVar(&f.failOn, "fail-on", "", "exit 1 when an incident is new, or new or worse and at least this severe: new, info, warning, error, critical")
	fl.StringArrayVar(&f.rules, "rules", nil, "rules file or folder to add (repeatable)")
	fl.IntVar(&f.jobs, "jobs", 0, "how many blocks to work on at once (default: number of cores)")
	f.redact.add(cmd, "what is written")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(reports.ComparisonFormats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("fail-on", cobra.FixedCompletions(failLevels, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) compare(ctx context.Context, before, after string, f compareFlags) error {
	format, err := a.chooseFormat(f.format, f.output)
	if err == nil && !slices.Contains(reports.ComparisonFormats, format.Name) {
		err = usage("compare: no format %q (want one of %s)", format.Name, strings.Join(reports.ComparisonFormats, ", "))
	}
	if err != nil {
		return err
	}
	if err := checkFailOn(f.failOn); err != nil {
		return err
	}
	hide, err := f.redact.redactor()
	if err != nil {
		return err
	}
	if before == "-" && after == "-" {
		return usage("standard input (-) can be read only once")
	}
	if err := missing([]string{before, after}); err != nil {
		return err
	}
	if err := writable(f.output); err != nil {
		return err
	}
	x, err := a.reportOrInput(ctx, before, f)
	if err != nil {
		return err
	}
	y, err := a.reportOrInput(ctx, after, f)
	if err != nil {
		return err
	}
	c := analyze.Compare(x, y, before, after)
	if hide != nil {
		hide.All(c)
	}
	if err := a.write(f.output, func(w io.Writer) error {
		return reports.WriteComparison(w, c, format.Name, a.reportOptions(f.output))
	}); err != nil {
		return err
	}
	for _, ch := range c.Changes {
		fresh := ch.Status == analyze.New || ch.Direction == "worse"
		switch {
		case f.failOn == "new" && ch.Status == analyze.New && ch.Severity.Rank() > 0:
			return status{exitFound, nil}
		case f.failOn != "" && f.failOn != "new" && fresh && ch.Severity.Rank() >= analyze.Severity(f.failOn).Rank():
			return status{exitFound, nil}
		}
	}
	return nil
}

// reportOrInput reads a stored report, or analyses what is none.
func (a *app) reportOrInput(ctx context.Context, path string, f compareFlags) (*analyze.Report, error) {
	if path != "-" {
		if r, err := storedReport(path); r != nil || err != nil {
			return r, err
		}
	}
	set, err := a.loadRules(f.rules)
	if err != nil {
		return nil, err
	}
	o := analyze.Options{Jobs: f.jobs, Rules: set}
	o.Version, o.Commit = buildVersion()
	b := a.startBar()
	b.measure([]string{path})
	reading := ingest.Options{Stdin: interruptible(ctx, a.in), Progress: func(in *ingest.Input) { b.at(in.Path) }, Limits: b.limits()}
	r, err := analyze.Run(ctx, ingest.Files([]string{path}, reading), o)
	b.stop()
	switch {
	case ctx.Err() != nil:
		return nil, status{exitInterrupted, fmt.Errorf("interrupted while reading %s: there is nothing to compare", path)}
	case err != nil:
		return nil, status{exitUnreadable, err}
	case unreadable(r):
		return nil, status{exitUnreadable, fmt.Errorf("nothing in %s could be read", path)}
	}
	a.warnInputs(r)
	return r, nil
}

// storedReport reads a file that analyze --format json wrote; nil when the file is something else.
func storedReport(path string) (*analyze.Report, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, status{exitUnreadable, fmt.Errorf("reading %s: %w", path, bare(err))}
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, nil // a folder, a pipe: to be analysed, which tells what is wrong with it
	}
	in := bufio.NewReader(file)
	head, _ := in.Peek(512)
	if !bytes.HasPrefix(bytes.TrimSpace(head), []byte("{")) || !bytes.Contains(head, []byte(`"wasmortem.report/`)) {
		return nil, nil
	}
	var r analyze.Report
	if err := json.NewDecoder(io.LimitReader(in, maxReport)).Decode(&r); err != nil {
		return nil, status{exitUnreadable, fmt.Errorf("reading the report %s: %w", path, err)}
	}
	if r.Schema != analyze.Schema {
		return nil, status{exitUnreadable, fmt.Errorf("reading the report %s: its schema is %q, this program knows %q", path, r.Schema, analyze.Schema)}
	}
	return &r, nil
}

// failLevels are what --fail-on may be.
var failLevels = []string{"new", "info", "warning", "error", "critical"}

func checkFailOn(level string) error {
	if level != "" && !slices.Contains(failLevels, level) {
		return usage("--fail-on: unknown severity %q (want new, info, warning, error or critical)", level)
	}
	return nil
}

// baseline reads the fingerprints that a file accepts: those of a report, or one a line. What follows a # is a comment.
func baseline(path string) (map[string]bool, error) {
	known := map[string]bool{}
	if r, err := storedReport(path); err != nil {
		return nil, err
	} else if r != nil {
		for _, in := range r.Incidents {
			known[in.ID] = true
		}
		return known, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, status{exitUnreadable, fmt.Errorf("reading the baseline %s: %w", path, bare(err))}
	}
	for i, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if strings.Trim(line, "0123456789abcdef") != "" || len(line) < 12 || len(line) > 64 {
			return nil, usage("%s:%d: %q is no fingerprint: want the id of an incident (12 hexadecimal digits or more), or a report in JSON", path, i+1, line)
		}
		known[line] = true
	}
	return known, nil
}

// fails reports whether an incident that is not known is as bad as --fail-on says.
func fails(r *analyze.Report, level string) bool {
	for i := range r.Incidents {
		in := &r.Incidents[i]
		if in.Known || level == "" {
			continue
		}
		if level == "new" && in.Severity.Rank() > 0 || level != "new" && in.Severity.Rank() >= analyze.Severity(level).Rank() {
			return true
		}
	}
	return false
}
