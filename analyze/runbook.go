package analyze

import (
	"regexp"
	"strings"

	"github.com/wasmortem/wasmortem/rules"
)

// Fill makes a runbook of a cause: its steps, with what is known of the incident in the placeholders. What is not known stands as
// <name>, so that nobody runs a command that looks complete and is not.
func Fill(c *rules.Cause, values map[string]string) Runbook {
	rb := Runbook{Cause: c.ID, Title: c.Title, Summary: fillIn(c.Summary, values), Verify: fillIn(possible(c.Verify, ". "), values), Steps: []Step{}, References: append([]string{}, c.References...)}
	for _, s := range c.Steps {
		if !applies(s.When, values) {
			continue
		}
		snippet := possible(s.Snippet, "\n")
		if snippet == "" && s.Snippet != "" {
			continue // nothing of it can be run yet
		}
		s.Snippet = snippet
		rb.Steps = append(rb.Steps, Step{Title: fillIn(s.Title, values), Text: fillIn(possible(s.Text, ". "), values), Snippet: fillSnippet(s, values), Language: s.Language,
			Origin: s.Origin, Status: s.Status, VerifiedOn: append([]string{}, s.VerifiedOn...), Caveat: fillIn(s.Caveat, values)})
	}
	return rb
}

// applies reports whether a step is about this incident. What is not known cannot rule it out.
func applies(when map[string]rules.Test, values map[string]string) bool {
	for name, t := range when {
		if v := values[name]; v != "" && !t.Holds(v, true) {
			return false
		}
	}
	return true
}

// fillSnippet leaves documented snippets alone: people search for them as they were published.
func fillSnippet(s rules.Step, values map[string]string) string {
	if s.Origin == "guide" {
		return s.Snippet
	}
	return fillIn(s.Snippet, values)
}

var placeholder = regexp.MustCompile(`\{(` + strings.Join(rules.Placeholders, "|") + `)\}`)

func fillIn(s string, values map[string]string) string {
	return placeholder.ReplaceAllStringFunc(s, func(m string) string {
		name := m[1 : len(m)-1]
		if v := values[name]; v != "" {
			return v
		}
		return "<" + name + ">"
	})
}

// unsafe is what must not get from a log into a command: everything that a shell gives a meaning.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9 _.,:/@%+=~^()\[\]<>-]`)

// shellName keeps of a name what names of Kubernetes objects and plugins are made of.
func shellName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '.', r == '_', r == '/', r == ':':
			return r
		}
		return -1
	}, s)
}

// placeholders are the values of an incident that runbooks use. They come from logs, hence they are cleaned for a shell.
func placeholders(inc *Incident) map[string]string {
	s := &inc.Subject
	v := map[string]string{"plugin": s.Plugin, "root_id": s.RootID, "vm_id": s.VMID, "callback": s.Callback, "location": s.Location, "function": s.Function,
		"import": s.Import, "trap": s.Trap, "message": s.Message, "envoy_version": s.EnvoyVersion, "istio_version": s.IstioVersion, "container": "istio-proxy"}
	if s.IstioVersion == "" && s.EnvoyVersion != "" && len(s.Pods) == 0 {
		v["container"] = ""
	}
	first := func(list []string) string {
		if len(list) > 0 {
			return list[0]
		}
		return ""
	}
	v["pod"], v["namespace"], v["node"] = first(s.Pods), first(s.Namespaces), first(s.Nodes)
	for k, x := range v {
		if k == "pod" || k == "namespace" || k == "node" || k == "plugin" {
			v[k] = shellName(x)
		} else {
			v[k] = unsafe.ReplaceAllString(x, "")
		}
	}
	return v
}

// capturedPlaceholders are those that only rules can fill: what their regular expressions took from a line.
var capturedPlaceholders = []string{"url", "status", "runtime", "sha256"}

// Commands lists the commands of the program. The knowledge names later ones too: what needs a command that is not here is left out of
// runbooks until it is. A test of the program keeps the list true.
var Commands = []string{"analyze", "browse", "ingest", "search", "timeline", "rules", "runbook", "collect", "compare", "symbolize", "replay", "inspect", "preflight", "serve", "completion", "version", "help"}

var ownCommand = regexp.MustCompile(`wasmortem ([a-z]+)`)

// possible leaves out those parts of a text (lines, sentences) that use a command which does not exist.
func possible(text, separator string) string {
	if !strings.Contains(text, "wasmortem ") {
		return text
	}
	var kept []string
	parts := strings.Split(text, separator)
	dropped := false
	for _, p := range parts {
		m := ownCommand.FindStringSubmatch(p)
		missing := m != nil && !contains(Commands, m[1])
		if missing {
			dropped = true
			continue
		}
		kept = append(kept, p)
	}
	if !dropped {
		return text
	}
	out := strings.TrimSpace(strings.Join(kept, separator))
	if separator == "\n" {
		if onlyComments(out) {
			return ""
		}
		return out + "\n"
	}
	if out != "" && !strings.HasSuffix(out, ".") {
		out += "."
	}
	return out
}

func onlyComments(snippet string) bool {
	for _, l := range strings.Split(snippet, "\n") {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			return false
		}
	}
	return true
}
