// Package reports writes an [analyze.Report] for its readers.
//
// What goes in is a finished report, from an analysis or from stored JSON; what comes out is text on an [io.Writer]. [Formats] is the
// list of formats: the table is for the person on call, whose first screen has to be enough to act; markdown is what is sent to
// the team; json is for programs and is the only format that holds everything ([Schema] describes it). [Lookup] finds a format
// by name. [WriteRunbook] writes one runbook without a report around it.
//
// Nothing here judges: order, severity and wording of causes come from the report. Nothing is trusted either: any string of a report
// may come from a log, so all of them pass through [escape] before they are shown. The same report gives the same bytes: no
// clock, locale or environment is read, and how long the run took is told by json only.
package reports

import (
	"fmt"
	"io"

	"github.com/wasmortem/wasmortem/analyze"
)

// Format is one way to write a report.
type Format struct {
	Name  string // as in --format
	Write func(w io.Writer, r *analyze.Report, o Options) error
	About string // one line for the help text
}

// Formats are all formats, in the order in which the help text shows them.
var Formats = []Format{
	{"table", writeTable, "for a terminal: what happened and what to do first, one screen an incident"},
	{"markdown", writeMarkdown, "the post-mortem with its full runbooks, to send to the team"},
	{"html", writeHTML, "the post-mortem as one page for a browser, with a plot over time; it loads nothing and can be sent and printed"},
	{"slack", writeSlack, "the post-mortem as one message in Slack's Block Kit, for chat.postMessage or an incoming webhook"},
	{"json", writeJSON, "everything, as reports/report.schema.json describes it"},
	{"sarif", writeSARIF, "SARIF 2.1.0, for code scanning: results at source lines, else at lines of evidence"},
	{"junit", writeJUnit, "JUnit XML, for a CI service: a failed test for each incident"},
	{"prometheus", writePrometheus, "gauges in the text format of Prometheus"},
}

// Lookup returns the format called name.
func Lookup(name string) (Format, bool) {
	for _, f := range Formats {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}

// Options are what a format may know of the place it is shown at.
type Options struct {
	Color bool // use ANSI colours; only for a terminal
	Width int  // columns; 0 means 100, and less than 40 is taken as 40
}

// columns is the width to lay text out for.
func (o Options) columns() int {
	if o.Width == 0 {
		return 100
	}
	return max(o.Width, 40)
}

// WriteRunbook writes one runbook as table (text for a terminal), markdown or json. Snippets are never wrapped.
func WriteRunbook(w io.Writer, rb *analyze.Runbook, format string, o Options) error {
	switch format {
	case "table":
		return writeText(w, runbookText(rb, o))
	case "markdown":
		return writeText(w, runbookMarkdown(rb))
	case "json":
		return encode(w, rb)
	}
	return fmt.Errorf("writing the runbook of %s: no format %q, there are table, markdown and json", rb.Cause, format)
}

// writeText writes a whole text at once, so that a report is not left half written by an error of ours.
func writeText(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}
