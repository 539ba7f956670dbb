package reports

import (
	"fmt"
	"io"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest/index"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// Record is a record of a case as `search` and `timeline` show it.
type Record struct {
	index.Hit
	Evidence []Mark   `json:"evidence,omitempty"` // of which incidents it is evidence
	Before   []string `json:"before,omitempty"`   // neighbouring physical lines, as in [analyze.Evidence]
	After    []string `json:"after,omitempty"`
}

// Mark says what a record is evidence of.
type Mark struct {
	Incident  string `json:"incident"`
	RootCause string `json:"root_cause"`
	Role      string `json:"role"` // cause, consequence, context, against
	Rule      string `json:"rule"`
}

// Colours of records, as ANSI codes: the place is quieter than the time, neighbours are quieter than the record.
const (
	placeColour = "36"
	quietColour = "2"
)

// recordLines is how many lines after its first one a record shows when it is evidence: a backtrace has its own frames at the top.
const recordLines = 20

// roleColours are the colours of the roles of evidence; against is green because it speaks for the accused.
var roleColours = map[string]string{"cause": "1;31", "consequence": "33", "context": "36", "against": "32"}

// WriteRecord writes a record for a person: when and where, of what it is evidence, the line and what else of the record was found, with
// neighbouring lines around if it has any.
func WriteRecord(w io.Writer, r *Record, o Options) error {
	var b strings.Builder
	code := func(code, text string) string {
		if text = escape.Line(text); !o.Color || code == "" {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	when := "no time"
	if !r.Time.IsZero() {
		when = r.Time.UTC().Format("2006-01-02 15:04:05.000")
	} else if !r.Around.IsZero() {
		when = "after " + r.Around.UTC().Format("15:04:05.000")
	}
	fmt.Fprintf(&b, "%s  %s\n", code(levelColour(r.Level), when), code(placeColour, fmt.Sprintf("%s:%d", r.Source, r.Line)))
	for _, m := range r.Evidence {
		fmt.Fprintf(&b, "  %s of %s %s\n", code(roleColours[m.Role], m.Role), escape.Line(m.Incident), code(quietColour, "("+m.RootCause+", rule "+m.Rule+")"))
	}
	around := func(lines []string) {
		for _, l := range lines {
			fmt.Fprintf(&b, "    %s\n", code(quietColour, "| "+l))
		}
	}
	around(r.Before)
	fmt.Fprintf(&b, "    %s\n", escape.Line(r.Text))
	if len(r.Evidence) > 0 { // all of it, not only what was searched for
		rest := strings.Split(r.Message, "\n")[1:]
		shown, more := upTo(rest, recordLines)
		for _, l := range shown {
			fmt.Fprintf(&b, "    %s\n", escape.Line(l))
		}
		if more > 0 {
			fmt.Fprintf(&b, "    … and %s more\n", count(more, "line"))
		}
	}
	for _, l := range r.Found {
		if len(r.Evidence) == 0 && l.Line != r.Line {
			fmt.Fprintf(&b, "    %d: %s\n", l.Line, escape.Line(l.Text))
		}
	}
	around(r.After)
	return writeText(w, b.String())
}

// levelColour is that of the severity which a level comes nearest to, none for what is no trouble.
func levelColour(level string) string {
	switch level {
	case "critical", "fatal", "panic", "emergency", "alert":
		return colours[analyze.Critical]
	case "error":
		return colours[analyze.Error]
	case "warning", "warn":
		return colours[analyze.Warning]
	}
	return ""
}
