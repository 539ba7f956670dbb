package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// page is docs/verified.md, made from recordings, verified.yaml and measured.yaml alone.
func page(m *Matrix, x *Index, dir string, list []Verified, numbers *Measured, probed *Probed, missing []Untried) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`# Verified

What the runbooks advise, tried. For each step a real plugin fails in a real Envoy, the step is applied, and both runs are recorded below
testdata/lab; steps about tools were run with those tools. lab/README.md says how to repeat it. This page is made from lab/verified.yaml,
lab/measured.yaml and the recordings by ` + "`go test ./lab -update`" + `; do not edit it.

`)
	writeCoverage(&b, m, x)
	writeSteps(&b, list)
	if err := writeDifferences(&b, m, x, dir); err != nil {
		return nil, err
	}
	writeNumbers(&b, numbers)
	writeProbed(&b, probed)
	fmt.Fprintf(&b, `## Not shown here

Registry login, istiod, the Istio agent, a kernel that kills for memory and kubectl need more than Envoy; the cases for them in
testdata/corpus are reconstructed from the format strings. TinyGo was not at hand. %d steps of rules.yaml
have no test of their own:

| cause | step | why |
|---|---|---|
`, len(missing))
	for _, u := range missing {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", u.Cause, u.Step, u.Why)
	}
	return b.Bytes(), nil
}

func writeCoverage(b *bytes.Buffer, m *Matrix, x *Index) {
	counts := map[string]map[string]int{}
	for _, r := range x.Recordings {
		if counts[r.Envoy] == nil {
			counts[r.Envoy] = map[string]int{}
		}
		counts[r.Envoy][r.Dialect]++
	}
	fmt.Fprintf(b, "## Recordings\n\n%d scenarios, %d recordings, each dialect by a run of its own.\n\n| Envoy |", len(m.Scenarios), len(x.Recordings))
	for _, d := range m.Dialects {
		fmt.Fprintf(b, " %s |", d.Name)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("---|", len(m.Dialects)))
	for _, v := range sortedVersions(counts) {
		fmt.Fprintf(b, "| %s |", v)
		for _, d := range m.Dialects {
			fmt.Fprintf(b, " %d |", counts[v][d.Name])
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

func writeSteps(b *bytes.Buffer, list []Verified) {
	b.WriteString("## Steps\n\n")
	for _, origin := range []string{"guide", "ours"} {
		title := map[string]string{"guide": "Of the published guide", "ours": "Ours"}[origin]
		fmt.Fprintf(b, "### %s\n\n| step | cause | status | Envoy | before → after |\n|---|---|---|---|---|\n", title)
		for _, v := range list {
			if v.Origin != origin {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | **%s** | %s | %s |\n", cell(v.Step), cell(strings.Join(v.Causes, ", ")), v.Status,
				or(strings.Join(v.VerifiedOn, " "), "–"), cell(evidence(v)))
		}
		b.WriteByte('\n')
	}
	b.WriteString("Remarks:\n\n")
	for _, v := range list {
		if v.Note != "" {
			fmt.Fprintf(b, "- *%s*: %s\n", v.Step, strings.Join(strings.Fields(v.Note), " "))
		}
	}
	b.WriteByte('\n')
}

func evidence(v Verified) string {
	if v.Toolchain != "" {
		return "`" + v.Toolchain + "`"
	}
	s := outcomeOf(v.After)
	if v.Before != nil {
		s = outcomeOf(v.Before) + " → " + s
	}
	return s
}

func outcomeOf(p *Proof) string {
	codes := runLength(p.Codes)
	if len(p.Codes) == 0 || p.Codes[0] == "000" && p.Exit != 0 {
		codes = fmt.Sprintf("exit status %d", p.Exit)
	}
	at := ""
	if p.Line > 0 {
		at = fmt.Sprintf(", line %d", p.Line)
	}
	return fmt.Sprintf("%s (%s%s)", p.Scenario, codes, at)
}

// runLength writes 503 503 503 as 503×3.
func runLength(codes []string) string {
	var out []string
	for i := 0; i < len(codes); {
		j := i
		for j < len(codes) && codes[j] == codes[i] {
			j++
		}
		if j-i > 1 {
			out = append(out, fmt.Sprintf("%s×%d", codes[i], j-i))
		} else {
			out = append(out, codes[i])
		}
		i = j
	}
	return strings.Join(out, " ")
}

// failure is a record of Envoy's default format at error or critical.
var failure = regexp.MustCompile(`(?m)^\[[^\]]+\]\[\d+\]\[(?:error|critical)\]\[(\w+)\] \[([^\]]+)\] (.*)$`)

var frame = regexp.MustCompile(`(?m)^ {1,2}\d+:  0x`)

// changing are the parts of a message that differ from run to run.
var changing = []struct {
	regex *regexp.Regexp
	with  string
}{
	{regexp.MustCompile(`goo\.gle/debug\w*`), "goo.gle/debug"},
	{regexp.MustCompile(`0x[0-9a-f]+|\b[0-9a-f]{12,}\b`), "0x…"},
	{regexp.MustCompile(`::h[0-9a-f]{16}`), ""},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:…"},
	{regexp.MustCompile(`\d+-\d+ /usr`), "… /usr"},
	{regexp.MustCompile(`tid \d+`), "tid …"},
	{regexp.MustCompile(`: \d{5,}$`), ": …"},
	{regexp.MustCompile(`src/lib\.rs:\d+:\d+`), "src/lib.rs:…"},
	{regexp.MustCompile(`Envoy version: .*`), "Envoy version: …"},
	{regexp.MustCompile(`Address mapping: .*`), "Address mapping: …"},
	{regexp.MustCompile(`^#\d+: .*`), "#n: …"},
	{regexp.MustCompile(`\s+`), " "},
}

func normal(s string) string {
	for _, c := range changing {
		s = c.regex.ReplaceAllString(s, c.with)
	}
	return strings.TrimSpace(s)
}

// writeDifferences compares what the versions print for the same scenario.
func writeDifferences(b *bytes.Buffer, m *Matrix, x *Index, dir string) error {
	frames := map[string]int{}
	places := map[string]map[string]map[string]bool{} // message kind → place → versions
	words := map[string]map[string]map[string]bool{}  // scenario → message → versions
	recorded := map[string][]string{}
	for _, r := range x.Recordings {
		if r.Dialect != "default" || !slices.Contains(m.Versions, r.Envoy) {
			continue
		}
		data, err := readRecording(filepath.Join(dir, r.File))
		if err != nil {
			return err
		}
		recorded[r.Scenario] = append(recorded[r.Scenario], r.Envoy)
		for _, block := range bytes.Split(data, []byte("in-VM backtrace:\n"))[1:] {
			n := 0
			for _, line := range bytes.Split(block, []byte("\n")) {
				if !frame.Match(line) {
					break
				}
				n++
			}
			frames[r.Envoy] = max(frames[r.Envoy], n)
		}
		for _, f := range failure.FindAllSubmatch(data, -1) {
			message := normal(string(f[3]))
			note(words, r.Scenario, message, r.Envoy)
			if k := kindOf(string(f[1]), message); k != "" {
				note(places, k, strings.TrimPrefix(string(f[2]), "./"), r.Envoy)
			}
		}
	}
	b.WriteString("## What differs between the versions\n\nFrom the recordings in Envoy's default format, run by run the same scenario.\n\n| Envoy | longest backtrace of a plugin |\n|---|---|\n")
	for _, v := range sortedVersions(frames) {
		fmt.Fprintf(b, "| %s | %d frames |\n", v, frames[v])
	}
	b.WriteString("\nWhere the lines come from:\n\n| line | file and line | Envoy |\n|---|---|---|\n")
	for _, k := range sorted(places) {
		for _, p := range sorted(places[k]) {
			fmt.Fprintf(b, "| %s | `%s` | %s |\n", cell(k), p, strings.Join(sortedVersions(places[k][p]), " "))
		}
	}
	writeWords(b, words, recorded)
	b.WriteString("\nWhat is there on some versions only:\n\n")
	for i := range m.Scenarios {
		if s := &m.Scenarios[i]; s.From != "" || s.Until != "" || len(s.Only) > 0 {
			fmt.Fprintf(b, "- %s (%s): %s\n", s.ID, strings.Join(s.versions(m), " "), s.Title)
		}
	}
	b.WriteByte('\n')
	return nil
}

// writeWords lists the messages that some versions print for a scenario and others do not, once each.
func writeWords(b *bytes.Buffer, words map[string]map[string]map[string]bool, recorded map[string][]string) {
	scenarios := map[string]map[string]map[string]bool{} // message → versions → scenarios
	for s, messages := range words {
		for w, on := range messages {
			if len(on) < len(recorded[s]) {
				note(scenarios, w, strings.Join(sortedVersions(on), " "), s)
			}
		}
	}
	b.WriteString("\nLines at error or critical that not every version prints for a scenario; numbers and addresses are left out, long lines cut:\n\n| line | Envoy | scenarios |\n|---|---|---|\n")
	for _, w := range sorted(scenarios) {
		for _, on := range sorted(scenarios[w]) {
			names := sorted(scenarios[w][on])
			list := strings.Join(names[:min(3, len(names))], ", ")
			if len(names) > 3 {
				list += fmt.Sprintf(" and %d more", len(names)-3)
			}
			cut := []rune(strings.ReplaceAll(w, "`", "'"))
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(string(cut[:min(len(cut), 160)])), on, list)
		}
	}
}

func kindOf(logger, message string) string {
	if logger != "wasm" {
		return ""
	}
	for _, k := range []string{"Function: ", "Failed to load Wasm module", "Wasm VM failed", "failed to load", "wasm log"} {
		if strings.Contains(message, k) {
			return "`" + strings.TrimSpace(k) + "`"
		}
	}
	return ""
}

func note(m map[string]map[string]map[string]bool, a, b, version string) {
	if m[a] == nil {
		m[a] = map[string]map[string]bool{}
	}
	if m[a][b] == nil {
		m[a][b] = map[string]bool{}
	}
	m[a][b][version] = true
}

// writeNumbers merges rows that are the same on several versions.
func writeNumbers(b *bytes.Buffer, n *Measured) {
	b.WriteString("## Measured\n\n### How many VMs a configuration makes\n\n`wasm.envoy.wasm.runtime.v8.created` and `.active` of /stats. Memory is the resident size of Envoy; compare it with the row without a plugin.\n\n| configuration | concurrency | created | active | MiB | Envoy |\n|---|---|---|---|---|---|\n")
	type row struct{ what, vms string }
	var order []row
	on, mib := map[row][]string{}, map[row][]int{}
	for _, v := range n.VMs {
		k := row{fmt.Sprintf("%s | %d", v.What, v.Concurrency), fmt.Sprintf("%d | %d", v.Created, v.Active)}
		if on[k] == nil {
			order = append(order, k)
		}
		on[k] = append(on[k], v.Envoy)
		mib[k] = append(mib[k], v.RSSMiB)
	}
	for _, k := range order {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", k.what, k.vms, span(mib[k]), strings.Join(on[k], " "))
	}
	writePerVM(b, n)
	b.WriteString("\n### What a fail policy does\n\nAnswers to four requests: before the failure, the one that traps, one 0.1 s later and one 3 s later; 000 is no answer.\n\n| failure | policy | answers | exit status | Envoy |\n|---|---|---|---|---|\n")
	var rows []row
	versions := map[row][]string{}
	policies := slices.Clone(n.Policies)
	sort.SliceStable(policies, func(i, j int) bool { return policies[i].Failure < policies[j].Failure })
	for _, p := range policies {
		k := row{p.Failure + " | " + p.Policy, fmt.Sprintf("%s | %d", strings.Join(p.Codes, " "), p.Exit)}
		if versions[k] == nil {
			rows = append(rows, k)
		}
		versions[k] = append(versions[k], p.Envoy)
	}
	for _, k := range rows {
		fmt.Fprintf(b, "| %s | %s | %s |\n", k.what, k.vms, strings.Join(versions[k], " "))
	}
	b.WriteByte('\n')
}

func span(n []int) string {
	low, high := slices.Min(n), slices.Max(n)
	if low == high {
		return itoa(low)
	}
	return fmt.Sprintf("%d–%d", low, high)
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func sorted[V any](m map[string]V) []string {
	var ks []string
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

func sortedVersions[V any](m map[string]V) []string {
	ks := sorted(m)
	slices.SortFunc(ks, compareVersions)
	return ks
}

// writePerVM tells what one more VM of a small plugin costs: the same configuration with more workers.
func writePerVM(b *bytes.Buffer, n *Measured) {
	const what = "two plugins, two vm_id"
	rows := map[string][]VMCount{}
	for _, v := range n.VMs {
		if v.What == what {
			rows[v.Envoy] = append(rows[v.Envoy], v)
		}
	}
	var costs []string
	for _, v := range sortedVersions(rows) {
		if r := rows[v]; len(r) == 2 && r[1].Created > r[0].Created {
			costs = append(costs, fmt.Sprintf("%.1f MiB on %s", float64(r[1].RSSMiB-r[0].RSSMiB)/float64(r[1].Created-r[0].Created), v))
		}
	}
	fmt.Fprintf(b, "\nOne more VM of the small plugin costs %s (the rows %q with one and with four workers; a worker's own memory is part of it).\n", strings.Join(costs, ", "), what)
}

// writeProbed tells what the probe found to differ between versions, and what brings Envoy down.
func writeProbed(b *bytes.Buffer, p *Probed) {
	fmt.Fprintf(b, "## Probed\n\n%d imports, %d calls in %d callbacks and %d sequences of calls, asked on Envoy %s by `go run ./lab probe`; lab/probed.yaml has the answers.\n",
		countImports(p), len(p.Calls), len(probeCallbacks), len(p.Effects), strings.Join(p.Envoys, " "))
	b.WriteString("\nImports that not every one of these versions has, or not for every ABI marker:\n\n| import | ABI | Envoy |\n|---|---|---|\n")
	groups := map[string][]string{}
	var order []string
	for _, r := range p.Imports {
		if len(r.Envoys) == 0 || len(r.Envoys) == len(p.Envoys) && r.ABI == nil {
			continue
		}
		k := fmt.Sprintf("%s | %s", or(strings.Join(r.ABI, " "), "all"), strings.Join(r.Envoys, " "))
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], r.Import)
	}
	for _, k := range order {
		fmt.Fprintf(b, "| %s | %s |\n", strings.Join(withoutTwins(groups[k]), " "), k)
	}
	b.WriteString("\nCalls whose answer differs between the versions:\n\n| call | Envoy | otherwise there |\n|---|---|---|\n")
	for _, c := range p.Calls {
		for _, v := range sortedVersions(c.Unlike) {
			other := c.Unlike[v]
			places := 0
			var sample string
			for _, cb := range probeCallbacks {
				if a, o := c.Answers.in(cb), other.in(cb); a != o {
					places++
					sample = fmt.Sprintf("%s instead of %s in %s", o, a, cb)
				}
			}
			if places > 1 {
				sample += fmt.Sprintf(" and %d more", places-1)
			}
			fmt.Fprintf(b, "| `%s` | %s | %s |\n", cell(c.Call), v, sample)
		}
	}
	b.WriteString("\nWhat brings Envoy down, or a worker to a standstill:\n\n| callback | calls | gives | Envoy |\n|---|---|---|---|\n")
	for _, e := range p.Effects {
		by := map[string][]string{}
		for _, v := range p.Envoys {
			gives := e.Gives
			if g, ok := e.Unlike[v]; ok {
				gives = g
			}
			by[gives] = append(by[gives], v)
		}
		for _, gives := range sorted(by) {
			if gives != "hang" && !strings.HasPrefix(gives, "SIG") {
				continue
			}
			where := e.In
			if e.Then != "" {
				where += ", then " + e.Then
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", where, cell("`"+strings.Join(e.Do, "`, `")+"`"), gives, strings.Join(by[gives], " "))
		}
	}
	b.WriteByte('\n')
}

func countImports(p *Probed) int {
	names := map[string]bool{}
	for _, r := range p.Imports {
		names[r.Import] = true
	}
	return len(names)
}

// withoutTwins names a function of WASI once, not under both of its modules.
func withoutTwins(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(names, strings.Replace(n, "wasi_unstable.", "wasi_snapshot_preview1.", 1)) || !strings.HasPrefix(n, "wasi_unstable.") {
			out = append(out, n)
		}
	}
	return out
}
