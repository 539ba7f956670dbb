package reports

import (
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

// gist is the part of an evidence line worth reading on a terminal, safe and on one line: the message without the wrapper, time and
// logger before it. A line in no known format, or one that only is a head, is given whole.
func gist(e analyze.Evidence) string {
	text := e.Text
	for _, h := range heads {
		if at := h.FindStringIndex(text); at != nil && strings.TrimSpace(text[at[1]:]) != "" {
			text = text[at[1]:]
			break
		}
	}
	text = thread.ReplaceAllString(text, "")
	return strings.TrimSpace(escape.Line(text))
}

// thread is the end of a line in Istio's format.
var thread = regexp.MustCompile(`\tthread=[0-9]+$`)
