package reports

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
	"github.com/wasmortem/wasmortem/reports/junit"
	"github.com/wasmortem/wasmortem/reports/sarif"
)

// writeSARIF writes every incident as a result. With a stack that has source lines it points at the innermost one of the plugin's own code, and
// its evidence is related to it; otherwise at the first line of evidence.
func writeSARIF(w io.Writer, r *analyze.Report, _ Options) error {
	run := sarif.Run{Version: r.Tool.Version, Failed: blind(r) != ""}
	for i := range r.Incidents {
		in := &r.Incidents[i]
		run.Rules = append(run.Rules, sarif.Rule{ID: in.RootCause, Title: in.Runbook.Title, About: in.Runbook.Summary, Help: runbookMarkdown(&in.Runbook),
			Level: sarif.LevelOf(string(in.Severity)), Tags: []string{"envoy", "wasm"}})
		run.Results = append(run.Results, sarifResult(in))
	}
	for _, d := range doubts(r) {
		level := sarif.Note
		if strings.HasPrefix(d.what, "not read") || strings.HasPrefix(d.what, "read in part") {
			level = sarif.Error
		}
		run.Notes = append(run.Notes, sarif.Notice{Level: level, Text: d.what, Path: d.path})
	}
	if why := blind(r); why != "" {
		run.Notes = append(run.Notes, sarif.Notice{Level: sarif.Error, Text: "nothing can be said: " + why})
	}
	return sarif.Write(w, &run)
}

func sarifResult(in *analyze.Incident) sarif.Result {
	res := sarif.Result{Rule: in.RootCause, Level: sarif.LevelOf(string(in.Severity)), Fingerprint: in.ID, Count: int(min(in.Count, 1<<31-1)),
		Message: sentence(in), Properties: map[string]any{"severity": escape.Line(string(in.Severity)), "confidence": in.Confidence}}
	for name, value := range map[string]string{"plugin": in.Subject.Plugin, "callback": in.Subject.Callback, "envoy": in.Subject.EnvoyVersion, "istio": in.Subject.IstioVersion} {
		if value != "" {
			res.Properties[name] = escape.Line(value)
		}
	}
	if in.Known {
		res.Properties["known"] = true
	}
	var source *sarif.Location
	for _, f := range in.Stack {
		at := sarif.Location{Path: f.File, Line: f.Line, Column: f.Column, Function: functionOf(f)}
		res.Stack = append(res.Stack, at)
		if f.Kind == "user" && f.File != "" && f.Line > 0 && source == nil {
			source = &at
		}
	}
	var lines []sarif.Location
	for _, e := range onceEach(byRule(ofRole(in, "cause", "context", "consequence", "against"))) {
		lines = append(lines, sarif.Location{Path: e.Source, Line: int(e.Line), Lines: e.Lines, Text: raw(e), Message: e.Role + ", rule " + strings.Join(alsoBy(in, e), ", ")})
	}
	switch {
	case source != nil:
		res.At, res.Related = []sarif.Location{*source}, lines
	case len(lines) > 0:
		res.At, res.Related = lines[:1], lines[1:]
	}
	return res
}

// sentence is an incident in one line: what, how sure, how often, who.
func sentence(in *analyze.Incident) string {
	s := fmt.Sprintf("%s. %s (%s), seen %s", strings.TrimRight(in.Title, "."), in.RootCause, percent(in.Confidence), seenPlain(in))
	if in.Subject.Plugin != "" {
		s += ", plugin " + in.Subject.Plugin
	}
	if n := len(in.Subject.Pods); n > 0 {
		s += ", in " + count(n, "pod")
	}
	if in.Subject.Message != "" {
		s += ": " + shorten(in.Subject.Message)
	}
	return s
}

// writeJUnit writes one suite: incidents above info fail unless they are known, remarks pass, inputs that could not be read are errors.
func writeJUnit(w io.Writer, r *analyze.Report, _ Options) error {
	s := junit.Suite{Name: "wasmortem", Output: amount(r) + ", " + covered(r), Properties: [][2]string{{"version", r.Tool.Version}, {"rules", r.Tool.Rules}}}
	failures, _ := split(r)
	for i := range r.Incidents {
		in := &r.Incidents[i]
		c := junit.Case{Name: in.RootCause, Class: "wasmortem.incidents", Type: in.RootCause, Message: sentence(in)}
		if in.Subject.Plugin != "" {
			c.Name += " in " + in.Subject.Plugin
		}
		c.Name += " " + in.ID
		switch {
		case in.Known:
			c.Outcome, c.Message = junit.Skipped, "known, in the baseline: "+c.Message
		case in.Severity.Rank() > 0:
			c.Outcome, c.Details = junit.Failed, junitDetails(in)
		}
		s.Cases = append(s.Cases, c)
	}
	for _, in := range r.Inputs {
		if in.Last != nil && in.Last.After(s.Time) {
			s.Time = in.Last.Time
		}
		if in.Error != "" {
			s.Cases = append(s.Cases, junit.Case{Name: in.Path, Class: "wasmortem.inputs", Outcome: junit.Errored, Type: "unreadable", Message: in.Error})
		}
	}
	switch why := blind(r); {
	case why != "":
		s.Cases = append(s.Cases, junit.Case{Name: "inputs", Class: "wasmortem.inputs", Outcome: junit.Errored, Type: "unreadable", Message: "nothing can be said: " + why})
	case len(failures) == 0:
		s.Cases = append(s.Cases, junit.Case{Name: "no failure found", Class: "wasmortem.incidents"})
	}
	return junit.Write(w, []junit.Suite{s})
}

// junitDetails are evidence, own frames and first steps, for the log of a CI service.
func junitDetails(in *analyze.Incident) string {
	var b strings.Builder
	for _, e := range onceEach(byRule(ofRole(in, "cause"))) {
		fmt.Fprintf(&b, "%s\n  %s\n", position(e), raw(e))
	}
	for _, f := range userFrames(in.Stack) {
		fmt.Fprintf(&b, "at %s %s\n", functionOf(f), where(f))
	}
	do, _ := working(in.Runbook.Steps)
	shown, _ := upTo(do, 3)
	for i, s := range shown {
		fmt.Fprintf(&b, "%d. %s\n", i+1, s.Title)
	}
	return b.String() + "Full runbook: wasmortem runbook " + in.RootCause + "\n"
}

// writePrometheus writes gauges in the text format of Prometheus (exposition format 0.0.4), for a textfile collector or a push gateway.
func writePrometheus(w io.Writer, r *analyze.Report, _ Options) error {
	var m metrics
	m.gauge("wasmortem_build_info", "The program and the rules that made the report.")
	m.sample(1, "version", r.Tool.Version, "commit", r.Tool.Commit, "rules", r.Tool.Rules)
	m.gauge("wasmortem_inputs", "Inputs of the report.")
	m.sample(float64(inputsTotal(r)))
	unread := 0
	for _, in := range r.Inputs {
		if in.Error != "" {
			unread++
		}
	}
	m.gauge("wasmortem_inputs_with_errors", "Inputs that could not be read, or not to their end.")
	m.sample(float64(unread))
	m.gauge("wasmortem_input_bytes", "Bytes that were read, unpacked.")
	m.sample(float64(r.Stats.Bytes))
	m.gauge("wasmortem_input_lines", "Lines that were read.")
	m.sample(float64(r.Stats.Lines))
	m.gauge("wasmortem_incidents", "Incidents by severity; those of a baseline are known.")
	for _, severity := range []analyze.Severity{analyze.Critical, analyze.Error, analyze.Warning, analyze.Info} {
		for _, known := range []bool{false, true} {
			n := 0
			for i := range r.Incidents {
				if r.Incidents[i].Severity == severity && r.Incidents[i].Known == known {
					n++
				}
			}
			m.sample(float64(n), "severity", string(severity), "known", strconv.FormatBool(known))
		}
	}
	for _, g := range incidentGauges {
		m.gauge(g.name, g.help)
		seen := map[string]bool{}
		for i := range r.Incidents {
			in := &r.Incidents[i]
			v, ok := g.value(in)
			if !ok || seen[in.ID] { // two samples of one series would make the whole text invalid
				continue
			}
			seen[in.ID] = true
			m.sample(v, "id", in.ID, "root_cause", in.RootCause, "severity", string(in.Severity), "plugin", in.Subject.Plugin, "known", strconv.FormatBool(in.Known))
		}
	}
	return writeText(w, m.String())
}

var incidentGauges = []struct {
	name, help string
	value      func(*analyze.Incident) (float64, bool)
}{
	{"wasmortem_incident_count", "How often the root failure of the incident was seen.", func(in *analyze.Incident) (float64, bool) { return float64(in.Count), true }},
	{"wasmortem_incident_confidence", "How often such a diagnosis is right, 0 to 1.", func(in *analyze.Incident) (float64, bool) { return in.Confidence, true }},
	{"wasmortem_incident_pods", "Pods that the incident hit.", func(in *analyze.Incident) (float64, bool) { return float64(len(in.Subject.Pods)), true }},
	{"wasmortem_incident_requests_failed", "Failed requests that were seen.", func(in *analyze.Incident) (float64, bool) { return float64(in.Impact.RequestsFailed), true }},
	{"wasmortem_incident_first_seen_timestamp_seconds", "First sight, seconds since 1970.", func(in *analyze.Incident) (float64, bool) { return unixSeconds(in.FirstSeen) }},
	{"wasmortem_incident_last_seen_timestamp_seconds", "Last sight, seconds since 1970.", func(in *analyze.Incident) (float64, bool) { return unixSeconds(in.LastSeen) }},
}

func unixSeconds(t *analyze.Time) (float64, bool) {
	if t == nil {
		return 0, false
	}
	return float64(t.UnixMilli()) / 1000, true
}

// metrics collects samples. A family's name is written with its first sample: a family without any is left out.
type metrics struct {
	strings.Builder
	name, help string
	begun      bool
}

func (m *metrics) gauge(name, help string) { m.name, m.help, m.begun = name, help, false }

// sample adds a value with labels, as pairs of name and value; those with an empty value are left out, which is the same to Prometheus.
func (m *metrics) sample(value float64, labels ...string) {
	if !m.begun {
		fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s gauge\n", m.name, m.help, m.name)
		m.begun = true
	}
	var list []string
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			list = append(list, labels[i]+`="`+labelValue.Replace(escape.Line(labels[i+1]))+`"`)
		}
	}
	in := strings.Join(list, ",")
	if in != "" {
		in = "{" + in + "}"
	}
	m.WriteString(m.name + in + " " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}

// labelValue escapes what the format gives a meaning inside a label value.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
