package reports

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// heads are the beginnings of log lines that say nothing about a failure, best first: what follows the match is the message. A line of
// Envoy in Istio's format has 100 columns of them, which is all that would be left of it on a terminal.
var heads = []*regexp.Regexp{
	// Structured lines, from Istio's logAsJson or from a container runtime around any other format.
	regexp.MustCompile(`^.{0,400}?"(?:msg|message|log)":\s?"`),
	// Envoy's file and line stand last: `[source/extensions/common/wasm/wasm_vm.cc:38] `, in Istio's format with a tab.
	regexp.MustCompile(`^.{0,300}?[a-z0-9_]+\.(?:cc|h):[0-9]+\]?[\t ]+`),
	// Istio up to 1.16, the agent and control planes: time, level, perhaps "envoy" and the logger.
	regexp.MustCompile(`^.{0,200}?[0-9]Z?[\t ]+(?:trace|debug|info|warn|warning|error|critical|fatal)[\t ]+(?:envoy [a-z_]+[\t ]+|[a-z0-9-]+\t)?`),
	// Envoy's format with the file left out: `[time][thread][level][logger] `.
	regexp.MustCompile(`^.{0,100}?\[(?:trace|debug|info|warning|error|critical)\]\[[a-z_ ]+\] `),
	// An access log line in the default formats begins with the time.
	regexp.MustCompile(`^.{0,100}?\[[0-9-]{10}T[0-9:.]+Z\] `),
}

// gist is the part of an evidence line worth reading on a terminal, safe and on one line: the record's message, or, where the report
// has none, what is left of the raw line without the wrapper, time and logger before it. A line in no known format, or one that only
// is a head, is given whole.
func gist(e analyze.Evidence) string {
	if m := opening(e.Message); m != "" {
		return escape.Line(m)
	}
	text := e.Text
	if r := request(text); r != "" {
		return escape.Line(r)
	}
	for _, h := range heads {
		if at := h.FindStringIndex(text); at != nil && strings.TrimSpace(text[at[1]:]) != "" {
			text = text[at[1]:]
			break
		}
	}
	text = thread.ReplaceAllString(text, "")
	return strings.TrimSpace(escape.Line(text))
}

// request is an access log entry in JSON in the order of the text format: what was asked, then the answer and its reason. Istio writes
// its fields by the alphabet, which puts the status into the middle of a line of 800 columns.
func request(text string) string {
	at := strings.IndexByte(text, '{')
	if at < 0 || !strings.Contains(text, `"response_code"`) {
		return ""
	}
	var f map[string]any
	if json.NewDecoder(strings.NewReader(text[at:])).Decode(&f) != nil || f["response_code"] == nil {
		return ""
	}
	var parts []string
	for _, name := range []string{"method", "path", "response_code", "response_flags", "response_code_details"} {
		if v := f[name]; v != nil && v != "" {
			parts = append(parts, fmt.Sprint(v))
		}
	}
	return strings.Join(parts, " ")
}

// opening is the first line of a message, with the lines after it as long as one ends in a colon: since Rust 1.73 `panicked at
// src/lib.rs:35:94:` has the panic's own words on the next line. A backtrace is not part of it.
func opening(message string) string {
	var parts []string
	for line := range strings.SplitSeq(message, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if parts = append(parts, line); !strings.HasSuffix(line, ":") || len(parts) == 4 {
			break
		}
	}
	return strings.Join(parts, " ")
}

// thread is the end of a line in Istio's format.
var thread = regexp.MustCompile(`\tthread=[0-9]+$`)
