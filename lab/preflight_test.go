package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze/preflight"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules/host"
)

// loading are the causes by which a host refuses a module for what is in it.
var loading = []string{"missing-malloc", "missing-import", "import-type-mismatch", "unknown-abi", "export-signature", "module-corrupt", "start-trap"}

// elsewhere are scenarios that fail before or beside the module: fetched code, another engine, a process without memory, a module that replaces a good one.
var elsewhere = []string{"missing-import-update", "remote-", "runtime-", "module-not-found", "start-address-space", "process-oom"}

// TestPreflight holds what preflight predicts of every module of the lab against what each Envoy did with it: loaded it or not, for the same
// cause, with the line that preflight quotes. Modules that a compiler makes are looked for where `go run ./lab run` builds them; without
// them, and with -short, only those made byte by byte are compared.
func TestPreflight(t *testing.T) {
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip("no cache folder: ", err)
	}
	handmade := handmadeModules()
	modules := map[string]*preflight.Module{}
	built, missing := 0, 0
	for name, mod := range m.Modules {
		data, err := os.ReadFile(filepath.Join(cache, "wasmortem-lab", "modules", name+".wasm"))
		if mod.Handmade != "" {
			data, err = handmade[mod.Handmade].bytes(), nil
		}
		if err != nil || testing.Short() && mod.Handmade == "" {
			missing++
			continue
		}
		built++
		parsed, perr := wasm.Parse(data)
		modules[name] = preflight.New(wasm.Found{Path: name + ".wasm", Module: parsed, Err: perr})
	}
	if missing > 0 {
		t.Logf("%d modules are not built; `go run ./lab run` builds them", missing)
	}
	scenarios := map[string]*Scenario{}
	for i := range m.Scenarios {
		scenarios[m.Scenarios[i].ID] = &m.Scenarios[i]
	}
	right, rows := 0, map[string][]string{}
	for _, r := range index(t).Recordings {
		s := scenarios[r.Scenario]
		if s == nil || len(s.Plugins) == 0 || slices.ContainsFunc(elsewhere, func(p string) bool { return strings.HasPrefix(s.ID, p) }) {
			continue
		}
		f, ok := modules[s.Plugins[0].Module]
		if !ok {
			continue
		}
		h, err := host.ParseHost("envoy:" + r.Envoy)
		if err != nil {
			t.Fatal(err)
		}
		if why := disagree(t, &r, f.On(h)); why != "" {
			rows[s.Plugins[0].Module+" in "+s.ID+": "+why] = append(rows[s.Plugins[0].Module+" in "+s.ID+": "+why], r.Envoy)
			continue
		}
		right++
	}
	var wrong []string
	for row, versions := range rows {
		slices.Sort(versions)
		wrong = append(wrong, fmt.Sprintf("%s (%s)", row, strings.Join(slices.Compact(versions), ", ")))
	}
	sort.Strings(wrong)
	t.Logf("%d modules, %d recordings agree", built, right)
	if missing == 0 {
		golden(t, "testdata/preflight.golden", fmt.Appendf(nil, "modules %d\nrecordings that agree %d\n\nand those that do not:\n%s\n", built, right, strings.Join(wrong, "\n")))
		return
	}
	for _, w := range wrong {
		if known, err := os.ReadFile("testdata/preflight.golden"); err != nil || !bytes.Contains(known, []byte(strings.Split(w, " (")[0])) {
			t.Error(w)
		}
	}
}

// disagree says what is different; empty when the recording is as predicted.
func disagree(t *testing.T, r *Recording, p preflight.Result) string {
	refused := false
	for _, c := range r.Accept {
		refused = refused || slices.Contains(loading, c)
	}
	if refused == p.Loads {
		return fmt.Sprintf("loads %v, recorded %s", p.Loads, strings.Join(r.Accept, "|"))
	}
	if !refused {
		return ""
	}
	log := testkit.Unpack(t, filepath.Join(recordings, r.File))
	var causes, says []string
	for _, f := range p.Findings {
		if !f.Blocks {
			continue
		}
		if slices.Contains(r.Accept, f.Cause) && bytes.Contains(log, []byte(f.Says)) {
			return ""
		}
		causes, says = append(causes, f.Cause), append(says, f.Says)
	}
	return fmt.Sprintf("predicted %s with %q, recorded %s", strings.Join(causes, "|"), says, strings.Join(r.Accept, "|"))
}
