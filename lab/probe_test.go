package main

import (
	"bytes"
	"slices"
	"testing"

	"github.com/wasmortem/wasmortem/rules/host"
)

// TestProbed compares what real Envoys register, answer and do with the tables of rules/host.
func TestProbed(t *testing.T) {
	p, err := loadProbed(".")
	if err != nil {
		t.Fatal(err)
	}
	table, err := loadHostTable("../rules/host/hosts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range p.differences(table) {
		t.Error(d)
	}
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Envoys, m.Versions) {
		t.Errorf("probed on %v, the matrix has %v; run `go run ./lab probe`", p.Envoys, m.Versions)
	}
	if got := len(p.Imports); got < len(table.candidates()) {
		t.Errorf("%d imports were probed, hosts.yaml has %d", got, len(table.candidates()))
	}
	if got := len(p.Effects); got != len(host.Effects("", "")) {
		t.Errorf("%d effects were probed, phases.yaml has %d", got, len(host.Effects("", "")))
	}
	if !bytes.Equal(p.bytes(), must(t, probedName)) {
		t.Error("probed.yaml is not as the probe writes it")
	}
}

// TestDifferencesAreTold changes one answer of each kind and wants it named.
func TestDifferencesAreTold(t *testing.T) {
	table, err := loadHostTable("../rules/host/hosts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	change := map[string]func(p *Probed){
		"env.proxy_log for ABI 0_1_0 on Envoy 1.36.2: hosts.yaml says registered true, the probe false": func(p *Probed) {
			i := slices.IndexFunc(p.Imports, func(r probedImport) bool { return r.Import == "env.proxy_log" })
			p.Imports[i].Envoys = p.Imports[i].Envoys[1:]
		},
		"proxy_done in proxy_on_tick on Envoy 1.40.0: phases.yaml says 1, the probe 0": func(p *Probed) {
			i := slices.IndexFunc(p.Calls, func(c probedCall) bool { return c.Call == "proxy_done" })
			p.Calls[i].But = map[string][]string{"0": {"proxy_on_tick"}}
		},
		"proxy_send_local_response(418) in proxy_on_log on Envoy 1.40.0: phases.yaml says SIGSEGV, the probe saw 200": func(p *Probed) {
			i := slices.IndexFunc(p.Effects, func(e probedEffect) bool {
				return e.In == "proxy_on_log" && slices.Equal(e.Do, []string{"proxy_send_local_response(418)"})
			})
			p.Effects[i].Gives = "200"
		},
	}
	for want, f := range change {
		p, err := loadProbed(".")
		if err != nil {
			t.Fatal(err)
		}
		f(p)
		if got := p.differences(table); !slices.Contains(got, want) {
			t.Errorf("differences are %q; want %q among them", got, want)
		}
	}
}

// TestProbeModules wants modules that begin like one and hold every export of a plugin.
func TestProbeModules(t *testing.T) {
	plans := quietPlans()
	for _, e := range host.Effects("", "") {
		plan, err := effectPlan(e)
		if err != nil {
			t.Error(err)
			continue
		}
		plans[effectKey(e)] = plan
	}
	for name, plan := range plans {
		module := plan.module()
		for _, want := range []string{"\x00asm\x01\x00\x00\x00", "proxy_abi_version_0_2_1", "proxy_on_memory_allocate", "proxy_on_context_create"} {
			if !bytes.Contains(module, []byte(want)) {
				t.Errorf("the module of %q has no %q", name, want)
			}
		}
	}
}
