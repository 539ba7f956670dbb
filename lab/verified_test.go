package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"go.yaml.in/yaml/v3"
)

const verifiedPage = "../docs/verified.md"

// TestVerified holds verified.yaml against fixes.yaml, the recordings it points to, and the titles of rules.yaml.
func TestVerified(t *testing.T) {
	x := index(t)
	list, err := loadVerified(".")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := loadFixes(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(plan) {
		t.Errorf("verified.yaml has %d entries, fixes.yaml %d; run `go run ./lab fixes`", len(list), len(plan))
	}
	titles := stepTitles(t)
	for _, v := range list {
		if !slices.ContainsFunc(plan, func(f Fix) bool { return f.Step == v.Step && f.Status == v.Status && slices.Equal(f.Causes, v.Causes) }) {
			t.Errorf("%s: not in fixes.yaml like this", v.Step)
		}
		for _, c := range v.Causes {
			s, ok := titles[c+"\x00"+v.Step]
			if !ok {
				t.Errorf("rules.yaml has no step %q in %s", v.Step, c)
				continue
			}
			// What only a toolchain shows has no Envoy to name, and rules.yaml wants one.
			toolchain := v.Status == "verified" && len(v.VerifiedOn) == 0 && s.Status == "untested"
			if !toolchain && s.Status != v.Status || s.Status == "verified" && !slices.Equal(s.VerifiedOn, v.VerifiedOn) {
				t.Errorf("%s, %q: rules.yaml says %s on %v, verified.yaml %s on %v", c, v.Step, s.Status, s.VerifiedOn, v.Status, v.VerifiedOn)
			}
		}
		for _, p := range []*Proof{v.Before, v.After} {
			if p != nil {
				checkProof(t, x, p)
			}
		}
	}
}

func checkProof(t *testing.T, x *Index, p *Proof) {
	t.Helper()
	i := slices.IndexFunc(x.Recordings, func(r Recording) bool { return r.File == p.File })
	if i < 0 {
		t.Errorf("%s: no such recording", p.File)
		return
	}
	if r := &x.Recordings[i]; !slices.Equal(r.Codes, p.Codes) || r.Exit != p.Exit {
		t.Errorf("%s: recorded %v exit %d, verified.yaml says %v exit %d", p.File, r.Codes, r.Exit, p.Codes, p.Exit)
	}
	if p.Line == 0 {
		return
	}
	data, err := readRecording(filepath.Join(recordings, p.File))
	if err != nil {
		t.Error(err)
		return
	}
	lines := strings.Split(string(data), "\n")
	if p.Line > len(lines) || !strings.HasPrefix(lines[p.Line-1], p.Text) {
		t.Errorf("%s:%d does not say %q", p.File, p.Line, p.Text)
	}
}

// stepTitles are the steps of rules.yaml by "cause NUL title", shared steps under shared:ID.
func stepTitles(t *testing.T) map[string]step {
	t.Helper()
	var file struct {
		Shared map[string][]step `yaml:"shared_steps"`
		Causes map[string]struct {
			Steps []step `yaml:"steps"`
		} `yaml:"causes"`
	}
	if err := yaml.Unmarshal(wasmortem.Rules, &file); err != nil {
		t.Fatal(err)
	}
	m := map[string]step{}
	for id, steps := range file.Shared {
		for _, s := range steps {
			m["shared:"+id+"\x00"+s.Title] = s
		}
	}
	for id, c := range file.Causes {
		for _, s := range c.Steps {
			m[id+"\x00"+s.Title] = s
		}
	}
	return m
}

// TestUntried wants a test or a reason for every step that claims something testable.
func TestUntried(t *testing.T) {
	list, err := loadVerified(".")
	if err != nil {
		t.Fatal(err)
	}
	missing, err := uncovered(wasmortem.Rules, list)
	if err != nil {
		t.Fatal(err)
	}
	untried, err := loadUntried(".")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, u := range untried {
		named = append(named, u.Cause+": "+u.Step)
		if u.Why == "" {
			t.Errorf("untried.yaml: %s: %s: no reason", u.Cause, u.Step)
		}
	}
	for _, m := range missing {
		if !slices.Contains(named, m) {
			t.Errorf("%s: neither tried in fixes.yaml nor named in untried.yaml", m)
		}
	}
	for _, m := range named {
		if !slices.Contains(missing, m) {
			t.Errorf("untried.yaml: %s is no such step, or has a test", m)
		}
	}
}

// TestVerifiedPage keeps docs/verified.md what the data says.
func TestVerifiedPage(t *testing.T) {
	x := index(t)
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	list, err := loadVerified(".")
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := loadMeasured(".")
	if err != nil {
		t.Fatal(err)
	}
	missing, err := loadUntried(".")
	if err != nil {
		t.Fatal(err)
	}
	probed, err := loadProbed(".")
	if err != nil {
		t.Fatal(err)
	}
	got, err := page(m, x, recordings, list, numbers, probed, missing)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, verifiedPage, got)
}

// TestHandmade wants every handmade module of scenarios.yaml to exist and to begin like what it is.
func TestHandmade(t *testing.T) {
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	made := handmadeModules()
	for name, module := range m.Modules {
		if module.Handmade == "" {
			continue
		}
		h, ok := made[module.Handmade]
		if !ok {
			t.Errorf("%s: no handmade module %s", name, module.Handmade)
			continue
		}
		if b := h.bytes(); h.raw == nil && !bytes.HasPrefix(b, []byte("\x00asm\x01\x00\x00\x00")) {
			t.Errorf("%s begins with % x", name, b[:min(8, len(b))])
		}
	}
	if _, err := os.Stat("plugins/gate/src/lib.rs"); err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
