package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
	"github.com/wasmortem/wasmortem/rules"
)

func (a *app) rulesCommand() *cobra.Command {
	var paths []string
	cmd := &cobra.Command{Use: "rules", Short: "The knowledge: list, show, check and test rules", Args: cobra.NoArgs,
		Long: "What wasmortem knows is data: rules that recognise records and say which cause they support, and causes with their runbooks. Rules of one's\n" +
			"own are added with --rules; docs/rules.md describes the language.",
		Example: "  wasmortem rules list\n  wasmortem rules lint our-rules.yaml",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.PersistentFlags().StringArrayVar(&paths, "rules", nil, "rules file or folder to add (repeatable)")
	var format string
	var costs []string
	list := &cobra.Command{Use: "list", Short: "List all rules with the cause that each supports", Args: cobra.NoArgs,
		Long:    "Prints id, cause, role and meaning of every rule in force.",
		Example: "  wasmortem rules list\n  wasmortem rules list --rules our-rules.yaml --format json",
		RunE:    func(*cobra.Command, []string) error { return a.listRules(paths, format) }}
	show := &cobra.Command{Use: "show ID", Short: "Show one rule", Args: exactly(1, "rules show: which rule? (see: wasmortem rules list)"),
		Long:    "Prints what a rule means, where its wording comes from, what it looks for, and lines that it matches and does not match.",
		Example: "  wasmortem rules show rust-panic",
		RunE:    func(_ *cobra.Command, args []string) error { return a.showRule(paths, args[0], format) }}
	lint := &cobra.Command{Use: "lint [FILE…]", Short: "Check rules files and report every mistake with file and line",
		Long: "Checks the shipped rules together with FILEs and prints every mistake and warning at once. Exit status 2 when there is a mistake.\n\n" +
			"With --cost LOG it prints how many records of a log each rule makes wasmortem look at, and warns of rules that are tried often and hardly ever match.",
		Example: "  wasmortem rules lint our-rules.yaml\n  wasmortem rules lint our-rules.yaml --cost healthy-day.log",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.lintRules(cmd.Context(), append(paths, args...), costs, format)
		}}
	lint.Flags().StringArrayVar(&costs, "cost", nil, "log to measure the rules with (repeatable)")
	test := &cobra.Command{Use: "test [FILE…]", Short: "Run the examples of every rule: each hit must match, each near miss must not",
		Long:    "Runs the examples of the shipped rules and of FILEs and prints those that came out wrong. Exit status 2 when there are any.",
		Example: "  wasmortem rules test our-rules.yaml",
		RunE:    func(_ *cobra.Command, args []string) error { return a.testRules(append(paths, args...), format) }}
	for _, c := range []*cobra.Command{list, show, lint, test} {
		formatFlag(c, &format)
		cmd.AddCommand(c)
	}
	show.ValidArgsFunction = a.once(func(set *rules.Set) (ids []cobra.Completion) {
		for _, r := range set.Rules {
			ids = append(ids, cobra.CompletionWithDesc(r.ID, r.About))
		}
		return ids
	})
	return cmd
}

// once completes the only argument of a command. The rules are loaded when somebody asks: that takes longer than many a command.
func (a *app) once(list func(*rules.Set) []cobra.Completion) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		set, err := a.loadRules(nil)
		if len(args) > 0 || err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(set), cobra.ShellCompDirectiveNoFileComp
	}
}

// exactly is cobra.ExactArgs with a sentence that says what to do.
func exactly(n int, help string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s", help)
		}
		return nil
	}
}

// ruleRow is a rule as list and show print it in JSON.
type ruleRow struct {
	ID     string   `json:"id"`
	Cause  string   `json:"cause,omitempty"`
	Role   string   `json:"role"`
	Weight float64  `json:"weight"`
	About  string   `json:"about"`
	Source string   `json:"source,omitempty"`
	File   string   `json:"file"`
	Line   int      `json:"line"`
	YAML   string   `json:"yaml,omitempty"`
	Hits   []string `json:"hits,omitempty"`
	Near   []string `json:"near_misses,omitempty"`
}

func rowOf(r *rules.Rule) ruleRow {
	return ruleRow{ID: r.ID, Cause: r.Cause, Role: string(r.Role), Weight: r.Weight, About: r.About, Source: r.Source, File: r.File, Line: r.Line}
}

func (a *app) listRules(paths []string, format string) error {
	set, err := a.loadRules(paths)
	if err != nil {
		return err
	}
	rows := []ruleRow{}
	for _, r := range set.Rules {
		rows = append(rows, rowOf(r))
	}
	return a.textOrJSON(format, rows, func() error {
		for _, r := range rows {
			fmt.Fprintf(a.out, "%-28s %-26s %-12s %s\n", r.ID, r.Cause, r.Role, r.About)
		}
		return nil
	})
}

func (a *app) showRule(paths []string, id, format string) error {
	set, err := a.loadRules(paths)
	if err != nil {
		return err
	}
	r := set.Rule(id)
	if r == nil {
		return usage("no rule %q; wasmortem rules list shows all", id)
	}
	row := rowOf(r)
	row.YAML = r.YAML()
	for _, e := range r.Hits {
		row.Hits = append(row.Hits, e.Text)
	}
	for _, e := range r.Near {
		row.Near = append(row.Near, e.Text)
	}
	return a.textOrJSON(format, row, func() error { return a.printRule(r) })
}

func (a *app) printRule(r *rules.Rule) error {
	fmt.Fprintf(a.out, "%s  (%s:%d)\n%s\n\ncause   %s\nrole    %s\nweight  %g\nsource  %s\n", r.ID, r.File, r.Line, r.About, orDash(r.Cause), r.Role, r.Weight, orDash(r.Source))
	if m := r.Match; m != nil {
		fmt.Fprintf(a.out, "\nlooks at records that hold one of\n  %s\n", strings.Join(quoteAll(m.Literals), "\n  "))
	}
	definition, _, _ := strings.Cut(r.YAML(), "\nexamples:")
	fmt.Fprintf(a.out, "\ndefinition:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(definition), "\n", "\n  "))
	for _, e := range r.Hits {
		fmt.Fprintf(a.out, "\nhit:\n%s\n", escape.Text(strings.TrimRight(e.Text, "\n")))
	}
	for _, e := range r.Near {
		fmt.Fprintf(a.out, "\nnear miss:\n%s\n", escape.Text(strings.TrimRight(e.Text, "\n")))
	}
	return nil
}

func quoteAll(s []string) []string {
	out := make([]string, len(s))
	for i, x := range s {
		out[i] = fmt.Sprintf("%q", x)
	}
	return out
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) lintRules(ctx context.Context, paths, logs []string, format string) error {
	set, err := a.loadRules(paths)
	if err != nil {
		return err
	}
	warnings := append([]string{}, set.Lint()...)
	result := map[string]any{"rules": len(set.Rules), "causes": len(set.Causes), "literals": len(set.Literals()), "warnings": warnings}
	var costs []rules.Cost
	if len(logs) > 0 {
		var bytes int64
		if costs, bytes, err = set.Costs(ctx, ingest.Files(logs, ingest.Options{Stdin: a.in})); err != nil {
			return err
		}
		warnings = append(warnings, set.LintCosts(costs)...)
		result["costs"], result["bytes"], result["warnings"] = append([]rules.Cost{}, costs...), bytes, warnings
	}
	return a.textOrJSON(format, result, func() error {
		if len(logs) > 0 {
			fmt.Fprintf(a.out, "%-32s %10s %10s %10s  %s\n", "rule", "candidates", "per MB", "matches", "most frequent literal")
		}
		for _, c := range costs {
			fmt.Fprintf(a.out, "%-32s %10d %10.1f %10d  %q\n", c.Rule, c.Candidates, c.PerMB, c.Matches, c.Literal)
		}
		for _, w := range warnings {
			fmt.Fprintln(a.out, w)
		}
		fmt.Fprintf(a.out, "%d rules, %d causes, %d literals: no mistakes, %d warnings\n", len(set.Rules), len(set.Causes), len(set.Literals()), len(warnings))
		return nil
	})
}

func (a *app) testRules(paths []string, format string) error {
	set, err := a.loadRules(paths)
	if err != nil {
		return err
	}
	failed := append([]string{}, analyze.TestRules(set)...)
	n := 0
	for _, r := range set.Rules {
		n += len(r.Hits) + len(r.Near)
	}
	err = a.textOrJSON(format, map[string]any{"rules": len(set.Rules), "examples": n, "failed": failed}, func() error {
		for _, f := range failed {
			fmt.Fprintln(a.out, f)
		}
		fmt.Fprintf(a.out, "%d rules, %d examples, %d failed\n", len(set.Rules), n, len(failed))
		return nil
	})
	if err == nil && len(failed) > 0 {
		err = status{exitUsage, nil}
	}
	return err
}

func (a *app) runbookCommand() *cobra.Command {
	var paths []string
	var format, output string
	cmd := &cobra.Command{Use: "runbook CAUSE", Short: "Print the runbook of a cause",
		Long:    "Prints what a cause means and what to do about it. `wasmortem runbook --help` lists the causes.",
		Example: "  wasmortem runbook missing-malloc\n  wasmortem runbook guest-panic --format json",
		Args:    exactly(1, "runbook: of which cause? (wasmortem runbook --help lists them)"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.runbook(args[0], paths, format, output) }}
	cmd.Flags().StringVar(&format, "format", "", "table, markdown or json (default: table on a terminal, else markdown)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "markdown", "json"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this file instead of standard output")
	cmd.Flags().StringArrayVar(&paths, "rules", nil, "rules file or folder to add (repeatable)")
	cmd.ValidArgsFunction = a.once(func(set *rules.Set) (described []cobra.Completion) {
		for _, id := range causeIDs(set) {
			described = append(described, cobra.CompletionWithDesc(id, set.Cause(id).Title))
		}
		return described
	})
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(c *cobra.Command, args []string) {
		if set, err := a.loadRules(nil); err == nil {
			c.Long = "Prints what a cause means and what to do about it. Causes:\n\n  " + strings.Join(causeIDs(set), "\n  ")
		}
		help(c, args)
	})
	return cmd
}

func causeIDs(set *rules.Set) []string {
	var ids []string
	for _, c := range set.Causes {
		ids = append(ids, c.ID)
	}
	sort.Strings(ids)
	return ids
}

func (a *app) runbook(id string, paths []string, format, output string) error {
	set, err := a.loadRules(paths)
	if err != nil {
		return err
	}
	c := set.Cause(id)
	if c == nil {
		return usage("no cause %q; known are: %s", id, strings.Join(causeIDs(set), ", "))
	}
	f, err := a.chooseFormat(format, output)
	if err != nil {
		return err
	}
	rb := analyze.Fill(c, nil)
	return a.write(output, func(w io.Writer) error { return reports.WriteRunbook(w, &rb, f.Name, a.reportOptions(output)) })
}

func (a *app) versionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{Use: "version", Short: "Print version and rules", Args: cobra.NoArgs,
		Long:    "Prints the version of the program and the sum (sha256) of its rules: two reports with both the same were made alike.",
		Example: "  wasmortem version --format json",
		RunE: func(*cobra.Command, []string) error {
			set, err := a.loadRules(nil)
			if err != nil {
				return err
			}
			v, c := buildVersion()
			return a.textOrJSON(format, map[string]string{"version": v, "commit": c, "rules": set.Sum}, func() error {
				fmt.Fprintf(a.out, "wasmortem %s %s\nrules %s (%d rules, %d causes)\n", v, c, set.Sum[:12], len(set.Rules), len(set.Causes))
				return nil
			})
		}}
	formatFlag(cmd, &format)
	return cmd
}
