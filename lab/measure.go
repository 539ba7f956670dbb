package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Measured is measured.yaml: numbers no log line tells.
type Measured struct {
	VMs      []VMCount `yaml:"vms"`
	Policies []Policy  `yaml:"policies"`
}

// VMCount is how many VMs a configuration makes, from /stats, and what they weigh.
type VMCount struct {
	Envoy       string `yaml:"envoy"`
	What        string `yaml:"what"`
	Plugins     int    `yaml:"plugins"`
	Concurrency int    `yaml:"concurrency"`
	Created     int    `yaml:"created"` // wasm.envoy.wasm.runtime.v8.created
	Active      int    `yaml:"active"`  // wasm.envoy.wasm.runtime.v8.active
	RSSMiB      int    `yaml:"rss_mib"` // resident memory of the process after a few requests
}

// Policy is what clients see before, at and after a failure.
type Policy struct {
	Envoy   string   `yaml:"envoy"`
	Policy  string   `yaml:"policy"`
	Failure string   `yaml:"failure"`
	Codes   []string `yaml:"http_codes,flow"` // before, at the trap, 0.1 s later, 3 s later
	Exit    int      `yaml:"exit"`
}

const (
	vmsCreated = "wasm.envoy.wasm.runtime.v8.created"
	vmsActive  = "wasm.envoy.wasm.runtime.v8.active"
)

// measure runs the configurations below on every version and writes measured.yaml.
func (l *lab) measure() error {
	parts, errs := make([]Measured, len(l.Versions)), make([]error, len(l.Versions))
	slots := make(chan struct{}, maxEnvoys)
	var wg sync.WaitGroup
	for i, version := range l.Versions {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if errs[i] = l.countVMs(&parts[i], version); errs[i] == nil {
				errs[i] = l.tryPolicies(&parts[i], version)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	m := &Measured{}
	for _, p := range parts {
		m.VMs, m.Policies = append(m.VMs, p.VMs...), append(m.Policies, p.Policies...)
	}
	data, err := yaml.Marshal(m)
	if err != nil {
		return err
	}
	head := "# Written by `go run ./lab measure`. See lab/README.md.\n"
	return os.WriteFile(filepath.Join(l.dir, "measured.yaml"), append([]byte(head), data...), 0o644)
}

func (l *lab) countVMs(m *Measured, version string) error {
	config := "mode=none tenants=a,b"
	one := func(name, vm, module string) Plugin {
		return Plugin{Name: name, VM: vm, Module: module, Config: &config}
	}
	cases := []struct {
		what        string
		plugins     []Plugin
		concurrency int
	}{
		{"no plugin", nil, 1},
		{"one plugin", []Plugin{one("a", "vm", "gate")}, 1},
		{"one plugin", []Plugin{one("a", "vm", "gate")}, 2},
		{"one plugin", []Plugin{one("a", "vm", "gate")}, 4},
		{"two plugins, one vm_id", []Plugin{one("a", "vm", "gate"), one("b", "vm", "gate")}, 1},
		{"two plugins, one vm_id", []Plugin{one("a", "vm", "gate"), one("b", "vm", "gate")}, 4},
		{"two plugins, two vm_id", []Plugin{one("a", "vm1", "gate"), one("b", "vm2", "gate")}, 1},
		{"two plugins, two vm_id", []Plugin{one("a", "vm1", "gate"), one("b", "vm2", "gate")}, 4},
		{"two plugins, one vm_id, two modules", []Plugin{one("a", "vm", "gate"), one("b", "vm", "gate-dwarf")}, 1},
		{"one Go plugin", []Plugin{one("a", "vm", "go")}, 4},
		{"no plugin", nil, 4},
	}
	for _, c := range cases {
		sc := &Scenario{ID: "measure", Plugins: c.plugins, Concurrency: c.concurrency, Requests: slices.Repeat([]Request{{Path: "/a"}}, 8)}
		o, err := l.run(sc, version, l.Dialects[0])
		if err != nil {
			return err
		}
		_ = os.RemoveAll(o.site.dir)
		m.VMs = append(m.VMs, VMCount{Envoy: version, What: c.what, Plugins: len(c.plugins), Concurrency: c.concurrency,
			Created: o.vms[vmsCreated], Active: o.vms[vmsActive], RSSMiB: o.rssMiB})
		fmt.Printf("%s %-36s concurrency %d: created %d active %d, %d MiB\n", version, c.what, c.concurrency, o.vms[vmsCreated], o.vms[vmsActive], o.rssMiB)
	}
	return nil
}

func (l *lab) tryPolicies(m *Measured, version string) error {
	trap, refuse := "mode=unwrap-none tenants=a", "mode=refuse tenants=a"
	failures := []struct {
		what   string
		plugin Plugin
	}{
		{"trap in a request", Plugin{Module: "gate", Config: &trap}},
		{"configuration refused", Plugin{Module: "gate", Config: &refuse}},
		{"module does not load", Plugin{Module: "import-env"}},
	}
	for _, policy := range []string{"UNSPECIFIED", "FAIL_CLOSED", "FAIL_OPEN", "FAIL_RELOAD"} {
		for _, f := range failures {
			p := f.plugin
			p.Name, p.VM, p.Filter = "gate", "vm", map[string]any{"failure_policy": policy}
			sc := &Scenario{ID: "measure", Plugins: []Plugin{p},
				Requests: []Request{{Path: "/a"}, {Path: "/boom"}, {Path: "/a", Wait: 0.1}, {Path: "/a", Wait: 3}}}
			o, err := l.run(sc, version, l.Dialects[0])
			if err != nil {
				return err
			}
			_ = os.RemoveAll(o.site.dir)
			m.Policies = append(m.Policies, Policy{Envoy: version, Policy: policy, Failure: f.what, Codes: o.codes, Exit: o.exit})
			fmt.Printf("%s %-11s %-22s %s exit %d\n", version, policy, f.what, strings.Join(o.codes, " "), o.exit)
		}
	}
	return nil
}

func loadMeasured(dir string) (*Measured, error) {
	data, err := os.ReadFile(filepath.Join(dir, "measured.yaml"))
	if err != nil {
		return nil, err
	}
	m := &Measured{}
	return m, yaml.Unmarshal(data, m)
}

func loadVerified(dir string) ([]Verified, error) {
	data, err := os.ReadFile(filepath.Join(dir, "verified.yaml"))
	if err != nil {
		return nil, err
	}
	var list []Verified
	return list, yaml.Unmarshal(data, &list)
}
