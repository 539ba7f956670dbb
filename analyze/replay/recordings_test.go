package replay

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func unpack(tb testing.TB, path string) []byte {
	tb.Helper()
	return testkit.Unpack(tb, path)
}

// labModules is a folder with all of the crash lab's modules: then every recording is tried instead of those whose modules are kept here.
func labModules() string { return os.Getenv("REPLAY_MODULES") }

func ruleSet(tb testing.TB) *rules.Set {
	tb.Helper()
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

// labScenario is what the crash lab's scenarios.yaml says of a run.
type labScenario struct {
	ID      string
	Plugins []struct {
		Name, Module string
		Config       *string
		VMConfig     *string `yaml:"vm_config"`
		Filter       struct {
			Capabilities struct {
				Allowed map[string]struct{} `yaml:"allowed_capabilities"`
			} `yaml:"capability_restriction_config"`
		}
	}
	Requests []yaml.Node
	Route    map[string]any
}

func labScenarios(tb testing.TB) []labScenario {
	tb.Helper()
	data, err := os.ReadFile("../../lab/scenarios.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct{ Scenarios []labScenario }
	if err := yaml.Unmarshal(data, &file); err != nil {
		tb.Fatal(err)
	}
	return file.Scenarios
}

// scenario writes down for the replay what the lab did to a real Envoy.
func (l *labScenario) scenario(tb testing.TB, version string) *Scenario {
	tb.Helper()
	p := l.Plugins[len(l.Plugins)-1]
	sc := &Scenario{Envoy: version, Plugin: Plugin{Name: p.Name, RootID: p.Name}, Clusters: []string{"backend"}}
	if p.Config != nil {
		sc.PluginConfig = *p.Config
	}
	if p.VMConfig != nil {
		sc.VMConfig = *p.VMConfig
	}
	for c := range p.Filter.Capabilities.Allowed {
		sc.Capabilities = append(sc.Capabilities, c)
	}
	for i := range l.Requests {
		var r struct {
			Path, Method, Body string
			Headers            map[string]string
		}
		if l.Requests[i].Kind == yaml.ScalarNode {
			r.Path = l.Requests[i].Value
		} else if err := l.Requests[i].Decode(&r); err != nil {
			tb.Fatal(err)
		}
		q := Request{Headers: Headers{{":authority", "shop.example.com"}, {":path", r.Path}}, Body: Body(expand(r.Body))}
		if r.Method != "" {
			q.Headers = append(q.Headers, Header{":method", r.Method})
		}
		for k, v := range r.Headers {
			q.Headers = append(q.Headers, Header{k, expand(v)})
		}
		q.Response = Response{Headers: Headers{{":status", "200"}, {"content-length", "3"}, {"content-type", "text/plain"}}, Body: Body("ok\n")}
		sc.Requests = append(sc.Requests, q)
	}
	return sc
}

// expand does what the lab's requests do: "x*3" is "xxx", "hex*00ff" two bytes.
func expand(s string) string {
	what, n, found := strings.Cut(s, "*")
	if !found {
		return s
	}
	if what == "hex" {
		b, _ := hex.DecodeString(n)
		return string(b)
	}
	times, _ := strconv.Atoi(n)
	return strings.Repeat(what, times)
}

// recorded finds the first trap in a recording of the lab.
func recorded(tb testing.TB, set *rules.Set, version, id string) *Recorded {
	tb.Helper()
	path := filepath.Join("../../testdata/lab", version, id+".default.log.zst")
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	log := string(unpack(tb, path))
	_, rest, found := strings.Cut(log, "] Function: ")
	if !found {
		return nil
	}
	rest = "Function: " + rest
	lines := strings.SplitAfter(rest, "\n")
	n := 1
	for n < len(lines) && !strings.HasPrefix(lines[n], "[") {
		n++
	}
	t, _ := set.ParseTrap(strings.TrimRight(strings.Join(lines[:n], ""), "\n"))
	w := &Recorded{Callback: t.Callback, Trap: t.Class}
	for _, f := range t.Frames {
		w.Offsets = append(w.Offsets, f.Offset)
	}
	return w
}

// module reads a module of testdata/modules, or of the lab's folder; nil when it is in neither.
func module(tb testing.TB, name string) *wasm.Module {
	tb.Helper()
	var data []byte
	if dir := labModules(); dir != "" {
		data, _ = os.ReadFile(filepath.Join(dir, name+".wasm"))
	}
	if data == nil {
		packed := filepath.Join("testdata/modules", name+".wasm.zst")
		if _, err := os.Stat(packed); err != nil {
			return nil
		}
		data = unpack(tb, packed)
	}
	m, err := wasm.Parse(data)
	if err != nil {
		tb.Fatalf("reading %s: %v", name, err)
	}
	return m
}

func open(tb testing.TB, m *wasm.Module) *Machine {
	tb.Helper()
	x, err := Open(ruleSet(tb), "plugin.wasm", m, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(x.Close)
	return x
}

// Every recorded trap whose module is here happens again: in the same callback, of the same kind, with the offsets that a real Envoy printed.
func TestRecordings(t *testing.T) {
	set := ruleSet(t)
	machines := map[string]*Machine{}
	compared := 0
	for _, l := range labScenarios(t) {
		if len(l.Plugins) == 0 || strings.HasPrefix(l.ID, "native-") {
			continue // what those recordings show is the end of Envoy itself
		}
		name := l.Plugins[len(l.Plugins)-1].Module
		if testing.Short() && (name == "go" || strings.HasPrefix(l.ID, "oom")) {
			continue // a large module; a GiB of memory
		}
		for _, version := range []string{"1.36.2", "1.40.0"} {
			w := recorded(t, set, version, l.ID)
			if w == nil {
				continue
			}
			if machines[name] == nil {
				m := module(t, name)
				if m == nil {
					break
				}
				machines[name] = open(t, m)
			}
			t.Run(l.ID+" "+version, func(t *testing.T) {
				sc := l.scenario(t, version)
				sc.Expect = w
				res, err := machines[name].Run(context.Background(), sc, false)
				if err != nil {
					t.Fatal(err)
				}
				if res.Verdict != Reproduced {
					t.Errorf("replay of %s: %s (%s), want reproduced\nrecorded: %+v\nhere:     %+v", l.ID, res.Verdict, strings.Join(res.Reasons, "; "), w, res.Failure)
				}
				if len(w.Offsets) > 0 {
					compared++
				}
			})
		}
	}
	if want := map[bool]int{true: 50, false: 70}[testing.Short()]; compared < want {
		t.Errorf("%d recordings with offsets were compared, want at least %d", compared, want)
	}
}
