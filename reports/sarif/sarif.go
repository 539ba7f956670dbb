// Package sarif writes results as SARIF 2.1.0, the format that code scanning services read (OASIS Standard, errata 01).
//
// What goes in is a [Run]: the rules that reported something, the results, and what was not looked at. What comes out is one SARIF log with
// one run. Nothing is judged here; [LevelOf] puts our severities into SARIF's levels.
//
// All strings may come from a log or a module. Messages pass through [escape.Text], so they are safe on a terminal, and cannot contain
// SARIF's embedded links. Paths become URI references (section 3.4), whose special characters are percent-encoded. The same run
// gives the same bytes: no clock, host name or environment is read.
package sarif

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/wasmortem/wasmortem/reports/escape"
)

// Level is how grave a result is, as SARIF names it.
type Level string

// The levels (section 3.27.10).
const (
	Error   Level = "error"
	Warning Level = "warning"
	Note    Level = "note"
	None    Level = "none"
)

// LevelOf is the level of a severity: critical and error are an error, info is a note.
func LevelOf(severity string) Level {
	switch severity {
	case "critical", "error":
		return Error
	case "warning":
		return Warning
	}
	return Note
}

// Run is what one analysis found.
type Run struct {
	Version string // of wasmortem; empty when not known
	Rules   []Rule // every rule that a result names; others may be listed
	Results []Result
	Notes   []Notice // what was skipped, cut or could not be read
	Failed  bool     // the analysis ended before it had looked at everything
}

// Rule is a kind of result: a cause of CAUSES.md.
type Rule struct {
	ID    string // the slug: missing-import
	Title string // one line
	About string // what it means, plain text
	Help  string // what to do, Markdown; shown as text where Markdown is not
	Level Level  // what most of its results have; warning when empty
	Tags  []string
}

// Result is one thing that was found.
type Result struct {
	Rule        string // its ID
	Level       Level  // note when empty
	Message     string // plain text; one or more sentences
	At          []Location
	Related     []Location // what else belongs to it, such as evidence in other files
	Stack       []Location // frames of the failure, innermost first
	Fingerprint string     // the same for the same finding in another run; empty when there is none
	Count       int        // how often it occurred; 0 when that is not counted
	Properties  map[string]any
}

// Location is a place in a file, in a program, or both.
type Location struct {
	Path     string // as users gave it, "bundle.tar.gz!proxies/a.log" inside archives; empty when there is no file
	Line     int    // 1-based; 0 when not known
	Lines    int    // how many, when more than one
	Column   int    // 1-based; 0 when not known
	Offset   int    // of a byte in a file that has no lines, such as a module; meaningful when Length is not 0
	Length   int    // in bytes
	Text     string // what stands there
	Function string // fully qualified
	Message  string
}

// Notice is a remark on the run itself.
type Notice struct {
	Level Level // note when empty
	Text  string
	Path  string // of the file it is about; may be empty
}

// Schema is the address by which readers know the version.
const schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// object is a JSON object; encoding/json writes its keys in order, which makes the bytes the same each time.
type object = map[string]any

// Write writes one log with the run in it.
func Write(w io.Writer, run *Run) error {
	index := map[string]int{}
	rules := []object{}
	for i := range run.Rules {
		r := &run.Rules[i]
		if _, ok := index[r.ID]; !ok {
			index[r.ID] = len(rules)
			rules = append(rules, r.object())
		}
	}
	results := []object{}
	for i := range run.Results {
		o := run.Results[i].object()
		if n, ok := index[run.Results[i].Rule]; ok {
			o["ruleIndex"] = n
		}
		results = append(results, o)
	}
	notes := []object{}
	for _, n := range run.Notes {
		o := object{"level": level(n.Level), "message": message(n.Text)}
		if n.Path != "" {
			at := Location{Path: n.Path}
			o["locations"] = []object{at.object()}
		}
		notes = append(notes, o)
	}
	driver := object{"name": "wasmortem", "informationUri": "https://github.com/wasmortem/wasmortem", "rules": rules}
	if run.Version != "" {
		driver["version"] = escape.Line(run.Version)
	}
	return encode(w, object{"$schema": schema, "version": "2.1.0", "runs": []object{{
		"tool":        object{"driver": driver},
		"columnKind":  "unicodeCodePoints",
		"invocations": []object{{"executionSuccessful": !run.Failed, "toolExecutionNotifications": notes}},
		"results":     results,
	}}})
}

func encode(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing SARIF: %w", err)
	}
	_, err := w.Write(escape.JSON(b.Bytes()))
	return err
}

func (r *Rule) object() object {
	o := object{"id": r.ID, "defaultConfiguration": object{"level": level(r.Level)}}
	if r.Level == "" {
		o["defaultConfiguration"] = object{"level": Warning}
	}
	if r.Title != "" {
		o["shortDescription"] = message(r.Title)
	}
	if r.About != "" {
		o["fullDescription"] = message(r.About)
	}
	if r.Help != "" {
		o["help"] = object{"text": text(r.Help), "markdown": escape.Text(r.Help)}
	}
	if len(r.Tags) > 0 {
		o["properties"] = object{"tags": r.Tags}
	}
	return o
}

func (r *Result) object() object {
	o := object{"ruleId": r.Rule, "level": level(r.Level), "message": message(r.Message)}
	if list := locations(r.At); len(list) > 0 {
		o["locations"] = list
	}
	if list := locations(r.Related); len(list) > 0 {
		for i := range list {
			list[i]["id"] = i + 1
		}
		o["relatedLocations"] = list
	}
	if list := locations(r.Stack); len(list) > 0 {
		frames := []object{}
		for _, l := range list {
			frames = append(frames, object{"location": l})
		}
		o["stacks"] = []object{{"frames": frames}}
	}
	if r.Fingerprint != "" {
		o["partialFingerprints"] = object{"wasmortem/v1": r.Fingerprint}
	}
	if r.Count > 0 {
		o["occurrenceCount"] = r.Count
	}
	if len(r.Properties) > 0 {
		o["properties"] = r.Properties
	}
	return o
}

func locations(list []Location) []object {
	var out []object
	for i := range list {
		if o := list[i].object(); len(o) > 0 {
			out = append(out, o)
		}
	}
	return out
}

func (l *Location) object() object {
	o := object{}
	if l.Path != "" {
		physical := object{"artifactLocation": object{"uri": URI(l.Path)}}
		if region := l.region(); len(region) > 0 {
			physical["region"] = region
		}
		o["physicalLocation"] = physical
	}
	if l.Function != "" {
		o["logicalLocations"] = []object{{"fullyQualifiedName": escape.Line(l.Function), "kind": "function"}}
	}
	if l.Message != "" {
		o["message"] = message(l.Message)
	}
	return o
}

// region is by lines for text and by bytes for everything else: the two are kept apart (section 3.30.1).
func (l *Location) region() object {
	o := object{}
	switch {
	case l.Line > 0:
		o["startLine"] = l.Line
		if l.Lines > 1 {
			o["endLine"] = l.Line + l.Lines - 1
		}
		if l.Column > 0 {
			o["startColumn"] = l.Column
		}
	case l.Length > 0:
		o["byteOffset"], o["byteLength"] = l.Offset, l.Length
	}
	if l.Text != "" && len(o) > 0 {
		o["snippet"] = object{"text": escape.Text(l.Text)}
	}
	return o
}

// URI is a path as a URI reference: relative paths stay relative, absolute ones become file addresses.
func URI(path string) string {
	path = filepath.ToSlash(path)
	u := url.URL{Path: strings.ToValidUTF8(path, "�")}
	switch {
	case strings.HasPrefix(path, "/"):
		u.Scheme = "file"
	case len(path) > 2 && path[1] == ':' && path[2] == '/': // C:/logs
		u.Scheme, u.Path = "file", "/"+u.Path
	}
	s := u.String() // writes "./a:b" for a relative path whose colon would make a scheme of it
	if u.Scheme == "file" && !strings.HasPrefix(s, "file:///") {
		s = "file://" + strings.TrimPrefix(s, "file:") // both are right, and some readers know only this
	}
	return s
}

func level(l Level) Level {
	if l == "" {
		return Note
	}
	return l
}

func message(s string) object { return object{"text": text(s)} }

// text is plain text that stays plain: "[a](b)" would be a link (section 3.11.6). Braces would only be placeholders where a message
// has arguments, and ours have none.
func text(s string) string { return strings.ReplaceAll(escape.Text(s), "](", "] (") }
