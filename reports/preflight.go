package reports

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/preflight"
	"github.com/wasmortem/wasmortem/reports/junit"
	"github.com/wasmortem/wasmortem/reports/sarif"
)

// WritePreflight writes what preflight found as table, markdown, json, sarif or junit. version is that of wasmortem.
func WritePreflight(w io.Writer, r *preflight.Report, format, version string, o Options) error {
	switch format {
	case "json":
		return encode(w, r)
	case "sarif":
		return sarif.Write(w, preflightSARIF(r, version))
	case "junit":
		return junit.Write(w, preflightJUnit(r))
	}
	return WritePage(w, preflightPage(r), format, o)
}

// preflightPage tells a finding once, with the hosts that it is about.
func preflightPage(r *preflight.Report) *Page {
	p := &Page{Title: "Preflight"}
	modules := modulesOf(r)
	for _, list := range modules {
		title := list[0].Module
		if len(modules) == 1 {
			p.Title = "Preflight of " + title
			title = ""
		}
		verdicts := Part{Title: title, Header: []string{"host", "loads", "why"}}
		verdicts.Rows = verdictRows(list)
		p.Parts = append(p.Parts, verdicts)
		p.Parts = append(p.Parts, findingParts(list)...)
		p.Parts = append(p.Parts, visiblePart(list))
		unknowns := Part{Title: "What is not known", Sub: true}
		for _, x := range list {
			for _, u := range x.Unknowns {
				if !slices.Contains(unknowns.List, u) {
					unknowns.List = append(unknowns.List, u)
				}
			}
		}
		p.Parts = append(p.Parts, unknowns)
	}
	return p
}

// verdictRows puts hosts that follow each other and get the same verdict on one row.
func verdictRows(list []preflight.Result) [][]string {
	kind := func(x preflight.Result) string { k, _, _ := strings.Cut(x.Host, " "); return k }
	var rows [][]string
	for i := 0; i < len(list); {
		x := list[i]
		without := func(x preflight.Result) string {
			return strings.TrimSpace(strings.ReplaceAll(x.Verdict, x.Host+" ", ""))
		}
		j := i + 1
		for j < len(list) && kind(list[j]) == kind(x) && list[j].Loads == x.Loads && without(list[j]) == without(x) {
			j++
		}
		host, why := x.Host, x.Verdict
		if j > i+1 {
			host, why = x.Host+" to "+list[j-1].Host, without(x)
		}
		rows = append(rows, []string{host, cond(x.Loads, "yes", "no"), why})
		i = j
	}
	return rows
}

// modulesOf splits the results by module.
func modulesOf(r *preflight.Report) [][]preflight.Result {
	var out [][]preflight.Result
	for i, x := range r.Results {
		if i == 0 || x.Module != r.Results[i-1].Module {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], x)
	}
	return out
}

// grouped findings: the same text about several hosts.
type groupedFinding struct {
	preflight.Finding
	hosts []string
}

func findings(list []preflight.Result) []groupedFinding {
	var out []groupedFinding
	at := map[string]int{}
	for _, x := range list {
		for _, f := range x.Findings {
			// Sentences may name the host.
			key := f.Check + f.Cause + f.Subject + strings.ReplaceAll(f.Text, x.Host, "")
			i, ok := at[key]
			if !ok {
				i = len(out)
				at[key] = i
				f.Text = strings.ReplaceAll(f.Text, " in "+x.Host+".", cond(len(list) > 1, ".", " in "+x.Host+"."))
				out = append(out, groupedFinding{Finding: f})
			}
			out[i].hosts = append(out[i].hosts, x.Host)
		}
	}
	slices.SortStableFunc(out, func(a, b groupedFinding) int {
		return cmp.Compare(slices.Index(preflight.Checks, a.Check), slices.Index(preflight.Checks, b.Check))
	})
	slices.SortStableFunc(out, func(a, b groupedFinding) int { return cmp.Compare(weight(b), weight(a)) })
	return out
}

func weight(f groupedFinding) int {
	return cond(f.Blocks, 10, 0) - slices.Index([]preflight.Severity{preflight.Critical, preflight.Error, preflight.Warning, preflight.Info}, f.Severity)
}

func findingParts(list []preflight.Result) []Part {
	var parts []Part
	all := findings(list)
	for i, f := range all {
		p := Part{Title: fmt.Sprintf("%d. %s", i+1, plainTitle(f.Text)), Sub: true}
		p.Facts = append(p.Facts, Fact{"cause", f.Cause + ", " + string(f.Severity) + cond(f.Blocks, ", does not load", ""), false})
		if len(list) > 1 {
			p.Facts = append(p.Facts, Fact{"hosts", hostRange(list, f.hosts), false})
		}
		if f.Says != "" {
			p.Facts = append(p.Facts, Fact{"Envoy prints", f.Says, true})
		}
		if f.Source != "" {
			p.Facts = append(p.Facts, Fact{"known from", strings.TrimSuffix(f.Source+"; "+f.Checked, "; "), false})
		}
		p.List = f.Details
		parts = append(parts, p)
	}
	return parts
}

// plainTitle is a sentence without its code spans, for a heading.
func plainTitle(s string) string {
	return strings.TrimSuffix(strings.ReplaceAll(s, "`", ""), ".")
}

// hostRange shortens a list of hosts: "all", "envoy 1.17 to envoy 1.32".
func hostRange(list []preflight.Result, hosts []string) string {
	if len(hosts) == len(list) {
		return "all of these"
	}
	var out []string
	for i := 0; i < len(list); i++ {
		j := i
		for j < len(list) && slices.Contains(hosts, list[j].Host) {
			j++
		}
		switch {
		case j-i > 2:
			out = append(out, list[i].Host+" to "+list[j-1].Host)
		case j > i:
			for _, x := range list[i:j] {
				out = append(out, x.Host)
			}
		}
		i = max(i, j)
	}
	return strings.Join(out, ", ")
}

func visiblePart(list []preflight.Result) Part {
	p := Part{Title: "If it fails later", Sub: true}
	said := map[string][]string{}
	var order []string
	for _, x := range list {
		v := x.Visible
		stack := "no backtrace, because functions have no names"
		if v.Backtrace {
			stack = fmt.Sprintf("a backtrace of at most %d frames", v.Frames)
		}
		panics := map[string]string{
			"yes": "panics are logged" + cond(v.Level != "", " at "+v.Level, ""), "no": "panics say nothing", "unknown": "whether panics are logged is not known",
		}[v.Panics]
		s := fmt.Sprintf("%s; %s%s; this file %s.", stack, panics, cond(v.Why != "", " ("+v.Why+")", ""), cond(v.Lines, "gives lines of source", "has no lines of source, keep the build that has"))
		if x.SHA256 == "" {
			continue
		}
		if said[s] == nil {
			order = append(order, s)
		}
		said[s] = append(said[s], x.Host)
	}
	for _, s := range order {
		who := ""
		if len(list) > 1 {
			who = hostRange(list, said[s]) + ": "
		}
		p.List = append(p.List, who+s)
	}
	return p
}

func preflightSARIF(r *preflight.Report, version string) *sarif.Run {
	run := &sarif.Run{Version: version}
	for _, list := range modulesOf(r) {
		for _, f := range findings(list) {
			if !slices.ContainsFunc(run.Rules, func(x sarif.Rule) bool { return x.ID == f.Cause }) {
				run.Rules = append(run.Rules, sarif.Rule{ID: f.Cause, Title: f.Cause, About: "See: wasmortem runbook " + f.Cause, Level: sarif.LevelOf(string(f.Severity)), Tags: []string{"wasm", "proxy-wasm"}})
			}
			text := f.Text
			if len(f.Details) > 0 {
				text += " " + strings.Join(f.Details, " ")
			}
			run.Results = append(run.Results, sarif.Result{
				Rule: f.Cause, Level: sarif.LevelOf(string(f.Severity)), Message: text,
				At: []sarif.Location{{Path: list[0].Module, Message: "on " + strings.Join(f.hosts, ", ")}}, Fingerprint: f.Cause + "/" + f.Check + "/" + f.Subject,
				Properties: map[string]any{"hosts": f.hosts, "blocks": f.Blocks, "check": f.Check, "source": f.Source, "checked": f.Checked},
			})
		}
	}
	for _, w := range r.Warnings {
		run.Notes = append(run.Notes, sarif.Notice{Level: sarif.Warning, Text: w})
	}
	return run
}

// preflightJUnit makes a suite of each module on each host, with a case for each check: what blocks is a failure.
func preflightJUnit(r *preflight.Report) []junit.Suite {
	var out []junit.Suite
	for _, x := range r.Results {
		s := junit.Suite{Name: x.Module + " on " + x.Host, Properties: [][2]string{{"module", x.Module}, {"sha256", x.SHA256}, {"host", x.Host}, {"verdict", x.Verdict}}}
		var output []string
		for _, check := range preflight.Checks {
			c := junit.Case{Name: check, Class: "wasmortem.preflight"}
			var blocking, remarks []string
			for _, f := range x.Findings {
				if f.Check != check {
					continue
				}
				line := f.Cause + ": " + f.Text
				if !f.Blocks {
					remarks = append(remarks, string(f.Severity)+" "+line)
					continue
				}
				c.Outcome, c.Type = junit.Failed, cmp.Or(c.Type, f.Cause)
				blocking = append(blocking, strings.Join(append([]string{line}, f.Details...), "\n  "))
			}
			if len(blocking) > 0 {
				c.Message = strings.SplitN(blocking[0], "\n", 2)[0]
				if len(blocking) > 1 {
					c.Message = fmt.Sprintf("%d reasons; the first: %s", len(blocking), c.Message)
				}
				c.Details = strings.Join(blocking, "\n")
			}
			output = append(output, remarks...)
			if x.SHA256 == "" && check != "code" {
				c.Outcome, c.Message = junit.Skipped, "there is no module to look at"
			}
			s.Cases = append(s.Cases, c)
		}
		for _, u := range x.Unknowns {
			output = append(output, "not known: "+u)
		}
		s.Output = strings.Join(output, "\n")
		out = append(out, s)
	}
	return out
}
