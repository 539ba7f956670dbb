package analyze

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
)

// proxies decides which inputs are of one proxy, so that its log, its statistics and its pod object speak about the same thing, and
// renames matches accordingly. What belongs to nobody in particular gets the proxy "" and counts for all.
//
// The reasons, strongest first: the log names its pod; a file lies beside exactly one log; there is only one log at all.
func joinProxies(m *rules.Matches, facts rules.Facts, inputs []*ingest.Input) {
	byDir := map[string][]string{} // directory → log proxies in it
	isLog := map[string]bool{}
	var logs []string
	for _, in := range ofProxies(m, inputs) {
		name := inputProxy(in)
		if !isLog[name] {
			isLog[name] = true
			logs = append(logs, name)
			byDir[path.Dir(in.Path)] = append(byDir[path.Dir(in.Path)], name)
		}
	}
	spoke, wrote := map[string]bool{}, map[string]map[string]bool{} // proxies that have matches; those whose lines stand in one file
	nameOf := map[*ingest.Input]string{}
	for _, g := range m.Groups() {
		spoke[g.Proxy] = true
		for _, f := range g.Kept() {
			name, known := nameOf[f.Record.Input]
			if !known {
				name = inputProxy(f.Record.Input)
				nameOf[f.Record.Input] = name
			}
			if wrote[name] == nil {
				wrote[name] = map[string]bool{}
			}
			wrote[name][g.Proxy] = true
		}
	}
	// A file that is no pod's log, but whose lines name pods, stands for no proxy of its own.
	silent := func(name string) bool {
		return strings.HasPrefix(name, filePrefix) && !spoke[name] && len(wrote[name]) > 0
	}
	logs = slices.DeleteFunc(logs, silent)
	for dir, list := range byDir {
		var named []string
		for _, name := range list {
			if !silent(name) {
				named = append(named, name)
				continue
			}
			named = append(named, keysOf(wrote[name])...)
		}
		byDir[dir] = named
	}
	for _, g := range m.Groups() { // wrappers name pods that no path does
		if strings.HasPrefix(g.Proxy, podPrefix) && g.Rule.Match != nil && !isLog[g.Proxy] {
			if k := g.Kept(); len(k) > 0 && hasLines(k[0].Record.Input.Kind) {
				isLog[g.Proxy] = true
				logs = append(logs, g.Proxy)
			}
		}
	}
	names := map[string]string{}
	for _, l := range logs {
		if v := distinct(facts[l]["pod"]); strings.HasPrefix(l, filePrefix) && len(v) == 1 {
			names[l] = podPrefix + v[0]
		}
	}
	pods := map[string]bool{}
	for _, g := range m.Groups() {
		if !isLog[g.Proxy] && strings.HasPrefix(g.Proxy, podPrefix) {
			pods[g.Proxy] = true
		}
	}
	// One anonymous log and one pod object: they belong together.
	if len(logs) == 1 && len(pods) == 1 && strings.HasPrefix(logs[0], filePrefix) && names[logs[0]] == "" {
		for p := range pods {
			names[logs[0]] = p
		}
	}
	final := func(p string) string {
		if n := names[p]; n != "" {
			return n
		}
		return p
	}
	m.Rename(func(p string) string {
		switch {
		case isLog[p] || strings.HasPrefix(p, podPrefix):
			return final(p)
		case len(byDir[path.Dir(strings.TrimPrefix(p, filePrefix))]) == 1:
			return final(byDir[path.Dir(strings.TrimPrefix(p, filePrefix))][0])
		case len(logs) == 1:
			return final(logs[0])
		case len(logs) == 0:
			return p
		}
		return ""
	})
}

func hasLines(kind string) bool {
	return kind == "envoy-log" || kind == "access-log" || kind == "agent-log" || kind == "text"
}

// ofProxies lists the inputs that a proxy wrote. Text of no known dialect is one only when a rule recognised something in it: a README or a
// label that lies beside a log is no second proxy.
func ofProxies(m *rules.Matches, inputs []*ingest.Input) []*ingest.Input {
	spoke := map[string]bool{}
	for _, g := range m.Groups() {
		spoke[g.Proxy] = true
	}
	var out []*ingest.Input
	for _, in := range inputs {
		if hasLines(in.Kind) && (in.Kind != "text" || spoke[inputProxy(in)]) {
			out = append(out, in)
		}
	}
	return out
}

// several reports whether there are logs of several proxies: only then a file's name may stand for a pod.
func several(logs []*ingest.Input) bool {
	seen := map[string]bool{}
	for _, in := range logs {
		seen[inputProxy(in)] = true
	}
	return len(seen) > 1
}

func inputProxy(in *ingest.Input) string {
	if in.Identity.Pod != "" {
		return podPrefix + in.Identity.Pod
	}
	return filePrefix + path.Join(path.Dir(in.Path), ingest.Stem(in.Path))
}

func distinct(fs []rules.Fact) []string {
	var v []string
	seen := map[string]bool{}
	for _, f := range fs {
		if !seen[f.Value] {
			seen[f.Value] = true
			v = append(v, f.Value)
		}
	}
	return v
}

// longGap is how much time may be missing between two files of one proxy before the report says so.
const longGap = 10 * time.Minute

// gaps tells where the files of one proxy (its rotated log) leave time uncovered, or overlap in a way that rotation never does.
func gaps(inputs []*ingest.Input) map[*ingest.Input]string {
	byProxy := map[string][]*ingest.Input{}
	for _, in := range inputs {
		if hasLines(in.Kind) && !in.First.IsZero() {
			byProxy[inputProxy(in)] = append(byProxy[inputProxy(in)], in)
		}
	}
	notes := map[*ingest.Input]string{}
	for _, list := range byProxy {
		sort.SliceStable(list, func(i, j int) bool { return list[i].First.Before(list[j].First) })
		for i := 1; i < len(list); i++ {
			if d := list[i].First.Sub(list[i-1].Last); d > longGap {
				notes[list[i]] = fmt.Sprintf("nothing is known of the %s before it: %s ends at %s", d.Round(time.Second), path.Base(list[i-1].Path), list[i-1].Last.Format(time.RFC3339))
			}
		}
	}
	return notes
}

// podNameOf is how a proxy is called in a report: its pod, or, where only files tell them apart, the folder or file.
func podNameOf(proxy string, many bool) string {
	if n, ok := strings.CutPrefix(proxy, podPrefix); ok {
		return n
	}
	p, ok := strings.CutPrefix(proxy, filePrefix)
	if !ok || !many {
		return ""
	}
	base := path.Base(p)
	if base == "-" {
		return ""
	}
	if generic(base) {
		if d := path.Base(path.Dir(strings.ReplaceAll(p, "!", "/"))); d != "." && d != "/" {
			return d
		}
	}
	return base
}

// generic recognises file names that say nothing about whose log it is.
func generic(s string) bool {
	switch s {
	case "envoy", "istio-proxy", "proxy", "gateway", "log", "logs", "kubectl", "kubectl-logs", "stderr", "stdout", "output", "current", "0", "sidecar":
		return true
	}
	return false
}
