package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Matrix is scenarios.yaml: what is built, what is run, where, and what must come of it.
type Matrix struct {
	// Versions are the Envoys every scenario runs on in its default format; one without a wasm engine is named by scenarios only.
	Versions []string `yaml:"versions"`
	// Reference is the version on which every scenario is recorded in every dialect.
	Reference string            `yaml:"reference"`
	Dialects  []Dialect         `yaml:"dialects"`
	Modules   map[string]Module `yaml:"modules"`
	Scenarios []Scenario        `yaml:"scenarios"`
}

// Dialect is a way Envoy writes its log and its access log. Each is recorded by a run of its own.
type Dialect struct {
	Name   string         `yaml:"name"`
	Args   []string       `yaml:"args"`   // command line of Envoy
	Access map[string]any `yaml:"access"` // log_format of the access logger
}

// Scenario is one failure, or one look-alike, and how to see it.
type Scenario struct {
	ID     string `yaml:"id"`
	Title  string `yaml:"title"`
	Accept []string
	// Contributing are ids the report should give beside the root cause.
	Contributing []string `yaml:"contributing"`
	Decoy        bool     `yaml:"decoy"` // a wasm plugin must not be blamed
	// From and Until bound the versions (1.39); Only names them, also ones outside the matrix.
	From  string   `yaml:"from"`
	Until string   `yaml:"until"`
	Only  []string `yaml:"only"`

	Plugins     []Plugin         `yaml:"plugins"`
	Before      []map[string]any `yaml:"before"`    // http filters ahead of the plugins
	After       []map[string]any `yaml:"after"`     // and behind them
	Route       map[string]any   `yaml:"route"`     // route action; default: 200 from Envoy itself; "backend" is the runner's server
	Clusters    []map[string]any `yaml:"clusters"`  // beside backend
	Bootstrap   map[string]any   `yaml:"bootstrap"` // laid over the configuration's top level
	Dynamic     bool             `yaml:"dynamic"`   // the listener comes by LDS from a file
	Backend     string           `yaml:"backend"`   // "refuses": nothing listens there
	Concurrency int              `yaml:"concurrency"`
	Args        []string         `yaml:"args"`
	AddressMiB  int64            `yaml:"address_mib"` // limit of the address space of the process

	Requests []Request `yaml:"requests"`
	Codes    []string  `yaml:"codes"` // wanted, in order; "000" is no answer, alternatives with |
	Signal   int       `yaml:"signal"`
	Exit     []int     `yaml:"exit"` // wanted; negative is a signal; default 0
	Says     []string  `yaml:"says"` // must stand in the log in Envoy's default format
	Silent   []string  `yaml:"silent"`
	Stats    bool      `yaml:"stats"` // keep the admin's /stats beside the log
	Settle   float64   `yaml:"settle"`
}

// Plugin is one wasm filter of a scenario.
type Plugin struct {
	Name   string         `yaml:"name"` // default gate
	Module string         `yaml:"module"`
	Remote string         `yaml:"remote"` // path on the runner's server instead of a local file
	SHA    *string        `yaml:"sha256"` // of remote code; default the true one
	Retry  map[string]any `yaml:"retry"`  // retry_policy of remote code
	VM     string         `yaml:"vm_id"`
	Config *string        `yaml:"config"`
	// VMConfig, Filter and VMFields are laid over vm_config.configuration, the plugin's configuration and vm_config.
	VMConfig *string        `yaml:"vm_config"`
	Filter   map[string]any `yaml:"filter"`
	VMFields map[string]any `yaml:"vm"`
}

// Request is one HTTP request of the runner. In YAML a string is a path.
type Request struct {
	Path    string            `yaml:"path"`
	Method  string            `yaml:"method"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	Timeout float64           `yaml:"timeout"` // seconds, default 3
	Wait    float64           `yaml:"wait"`    // seconds before
	Admin   bool              `yaml:"admin"`   // to the admin port
	Times   int               `yaml:"times"`   // that many at once, each with a code of its own
	// LDS is laid over the first plugin of a dynamic scenario, and the listener is sent again, before the wait.
	LDS *Plugin `yaml:"lds"`
}

// updated is the scenario with the plugin that a request sends.
func (s *Scenario) updated(r *Request) *Scenario {
	next := *s
	next.Plugins = slices.Clone(s.Plugins)
	p := &next.Plugins[0]
	p.Module, p.VM = or(r.LDS.Module, p.Module), or(r.LDS.VM, p.VM)
	if r.LDS.Config != nil {
		p.Config = r.LDS.Config
	}
	return &next
}

// modules are the names of all modules the scenario needs.
func (s *Scenario) modules() []string {
	var list []string
	for _, p := range s.Plugins {
		list = append(list, p.Module)
	}
	for _, r := range s.Requests {
		if r.LDS != nil {
			list = append(list, r.LDS.Module)
		}
	}
	return slices.DeleteFunc(list, func(m string) bool { return m == "" })
}

// UnmarshalYAML takes a path or a mapping.
func (r *Request) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		r.Path = n.Value
		return nil
	}
	type plain Request
	return n.Decode((*plain)(r))
}

func loadMatrix(dir string) (*Matrix, error) {
	data, err := os.ReadFile(filepath.Join(dir, "scenarios.yaml"))
	if err != nil {
		return nil, err
	}
	m := &Matrix{}
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("reading scenarios.yaml: %w", err)
	}
	return m, m.check()
}

// check collects every mistake of the file.
func (m *Matrix) check() error {
	var bad []string
	seen := map[string]bool{}
	for i := range m.Scenarios {
		s := &m.Scenarios[i]
		if s.ID == "" || seen[s.ID] {
			bad = append(bad, fmt.Sprintf("scenario %d: id %q is empty or used twice", i, s.ID))
		}
		seen[s.ID] = true
		if len(s.Accept) == 0 || s.Title == "" {
			bad = append(bad, s.ID+": accept and title are needed")
		}
		requests := 0
		for _, r := range s.Requests {
			requests += max(r.Times, 1)
			if r.LDS != nil && (!s.Dynamic || len(s.Plugins) == 0) {
				bad = append(bad, s.ID+": a request with lds needs dynamic, and a plugin")
			}
		}
		if len(s.Codes) != requests {
			bad = append(bad, fmt.Sprintf("%s: %d requests, %d codes", s.ID, requests, len(s.Codes)))
		}
		for j := range s.Plugins {
			p := &s.Plugins[j]
			if p.Name == "" {
				p.Name = "gate"
			}
			if p.VM == "" {
				p.VM = "vm-" + p.Name
			}
			if _, ok := m.Modules[p.Module]; !ok && p.Module != "" {
				bad = append(bad, s.ID+": no module "+p.Module)
			}
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("scenarios.yaml:\n  %s", strings.Join(bad, "\n  "))
	}
	return nil
}

// on says whether the scenario belongs on that version.
func (s *Scenario) on(version string) bool {
	if len(s.Only) > 0 {
		return slices.Contains(s.Only, version)
	}
	return (s.From == "" || compareVersions(version, s.From) >= 0) && (s.Until == "" || compareVersions(version, s.Until) < 0)
}

// versions are all the scenario runs on.
func (s *Scenario) versions(m *Matrix) []string {
	if len(s.Only) > 0 {
		return s.Only
	}
	var list []string
	for _, v := range m.Versions {
		if s.on(v) {
			list = append(list, v)
		}
	}
	return list
}

func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		n, _ := strconv.Atoi(x[i])
		k, _ := strconv.Atoi(y[i])
		if n != k {
			return n - k
		}
	}
	return 0
}
