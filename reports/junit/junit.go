// Package junit writes results as JUnit XML, which CI services show as tests.
//
// What goes in is a list of suites, what comes out is one document. There is no one schema; the result follows both that are in use,
// that of Ant and that of Jenkins' xUnit plugin (junit-10.xsd), which is why elements stand in this order and why attributes are there
// that say nothing ("hostname", "time").
//
// Strings may come from a log or a module. All pass through package escape, so that a CI log shows them as they were and XML can hold
// them. The same suites give the same bytes: no clock, host name or environment is read.
package junit

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/reports/escape"
)

// Suite is what one analysis looked at: a report, or a module on one host.
type Suite struct {
	Name       string    // shown as the group: "gate.wasm on envoy 1.36"
	Time       time.Time // of what was analysed; zero when not known
	Properties [][2]string
	Cases      []Case
	Output     string // shown beside the suite, such as what was skipped
}

// Case is one thing that may have failed.
type Case struct {
	Name    string // what was looked at: "imports", "guest-panic in gate"
	Class   string // dotted group in which CI services fold cases: "wasmortem.preflight"
	Outcome Outcome
	Type    string // kind of failure: a cause such as missing-import
	Message string // one line
	Details string // the rest, lines
}

// Outcome is how a case ended.
type Outcome int

// The outcomes. A failure is what the analysis was for; an error, that it could not be done.
const (
	Passed Outcome = iota
	Failed
	Errored
	Skipped
)

type document struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []suite  `xml:"testsuite"`
}

type suite struct {
	Name       string     `xml:"name,attr"`
	Package    string     `xml:"package,attr"`
	ID         int        `xml:"id,attr"`
	Timestamp  string     `xml:"timestamp,attr"`
	Hostname   string     `xml:"hostname,attr"`
	Tests      int        `xml:"tests,attr"`
	Failures   int        `xml:"failures,attr"`
	Errors     int        `xml:"errors,attr"`
	Skipped    int        `xml:"skipped,attr"`
	Seconds    string     `xml:"time,attr"`
	Properties properties `xml:"properties"`
	Cases      []testcase `xml:"testcase"`
	Out        string     `xml:"system-out"`
	Err        string     `xml:"system-err"`
}

type properties struct {
	List []property `xml:"property"`
}

type property struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type testcase struct {
	Name    string   `xml:"name,attr"`
	Class   string   `xml:"classname,attr"`
	Seconds string   `xml:"time,attr"`
	Skipped *outcome `xml:"skipped"`
	Error   *outcome `xml:"error"`
	Failure *outcome `xml:"failure"`
}

type outcome struct {
	Message string `xml:"message,attr,omitempty"`
	Type    string `xml:"type,attr,omitempty"`
	Details string `xml:",chardata"`
}

var spelled = strings.NewReplacer("&#xA;", "\n", "&#x9;", "\t")

// Write writes one document.
func Write(w io.Writer, suites []Suite) error {
	doc := document{}
	for i := range suites {
		doc.Suites = append(doc.Suites, suites[i].element(i))
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	b.WriteByte('\n')
	// No attribute holds a line break or a tab, and between elements they need not be spelled out.
	_, err := w.Write([]byte(spelled.Replace(b.String())))
	return err
}

func (s *Suite) element(id int) suite {
	out := suite{
		Name: word(s.Name), Package: "wasmortem", ID: id, Hostname: "localhost", Tests: len(s.Cases), Seconds: "0",
		Timestamp: time.Unix(s.Time.Unix(), 0).UTC().Format("2006-01-02T15:04:05"),
		Out:       escape.Text(s.Output),
	}
	if s.Time.IsZero() {
		out.Timestamp = "1970-01-01T00:00:00"
	}
	for _, p := range s.Properties {
		out.Properties.List = append(out.Properties.List, property{word(p[0]), escape.Line(p[1])})
	}
	for i := range s.Cases {
		c := &s.Cases[i]
		el := testcase{Name: word(c.Name), Class: word(c.Class), Seconds: "0"}
		o := &outcome{Message: escape.Line(c.Message), Type: word(c.Type), Details: escape.Text(c.Details)}
		switch c.Outcome {
		case Failed:
			el.Failure = o
			out.Failures++
		case Errored:
			el.Error = o
			out.Errors++
		case Skipped:
			o.Type = "" // Ant's schema knows none here
			el.Skipped = o
			out.Skipped++
		}
		out.Cases = append(out.Cases, el)
	}
	return out
}

// word is a text that is not empty, on one line, without spaces at its ends or several in a row.
func word(s string) string {
	if s = strings.Join(strings.Fields(escape.Line(s)), " "); s == "" {
		return "-"
	}
	return s
}
