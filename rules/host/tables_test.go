package host

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestFilesParse(t *testing.T) {
	if err := knowledge().err; err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, data := range map[string][]byte{"hostcalls.yaml": hostcallsYAML, "imports.yaml": importsYAML, "hosts.yaml": hostsYAML, "phases.yaml": phasesYAML, "versions.yaml": versionsYAML} {
		var all map[string]any // also finds double keys in the parts of hosts.yaml that no struct reads
		if err := yaml.Unmarshal(data, &all); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.HasPrefix(data, []byte("# ")) || !bytes.Contains(data, []byte("How it was found out:")) {
			t.Errorf("%s does not begin by saying what its columns mean and how they were found out", name)
		}
		total += len(data)
	}
	if total >= 300_000 {
		t.Errorf("the tables have %d bytes; they are part of every binary and should stay under 300000", total)
	}
}

func TestEveryStatusHasWords(t *testing.T) {
	for i, s := range knowledge().calls.Statuses {
		if s.Number != i || s.Name == "" || s.Meaning == "" {
			t.Errorf("status %d: number %d, name %q, meaning %q; want all, in order", i, s.Number, s.Name, s.Meaning)
		}
		if i > 0 && s.GoText == "" || s.Rust.Name != "" && s.Rust.Since == "" || s.Go.Name != "" && s.Go.Since == "" {
			t.Errorf("status %d: what the SDKs print is incomplete: %+v", i, s)
		}
	}
	if n := len(knowledge().calls.Statuses); n != 13 {
		t.Errorf("%d statuses; proxy-wasm has 0 to 12", n)
	}
}

func TestEveryHostcallRowIsComplete(t *testing.T) {
	k := knowledge()
	checkAnswers := func(name string, answers []answer) {
		seen := map[int]bool{}
		for _, a := range answers {
			if k.status(a.Status) == nil || a.Status == 0 || a.When == "" || a.Source == "" || seen[a.Status] {
				t.Errorf("%s, status %d: when %q, source %q; want both, and each status once", name, a.Status, a.When, a.Source)
			}
			if !strings.Contains(a.Source, ":") || !strings.Contains(a.Source, "@") {
				t.Errorf("%s, status %d: source %q is not repository:path @commit", name, a.Status, a.Source)
			}
			seen[a.Status] = true
		}
	}
	checkAnswers("any_call", k.calls.AnyCall)
	for _, c := range k.calls.Hostcalls {
		if c.Name == "" || c.ABI == "" || c.Does == "" {
			t.Errorf("%q: abi %q, does %q; want all", c.Name, c.ABI, c.Does)
		}
		if len(c.NonOK) == 0 && !c.Pointers && c.Note == "" && c.OKBut == "" {
			t.Errorf("%s has no non_ok and says nothing about that", c.Name)
		}
		checkAnswers(c.Name, c.NonOK)
	}
	for _, f := range k.calls.Foreign {
		if f.Name == "" || f.Takes == "" {
			t.Errorf("foreign function %+v is incomplete", f)
		}
		checkAnswers(f.Name, f.NonOK)
	}
}

// TestHostcallsAreThoseOfEnvoy: what hosts.yaml says that Envoy registers in env has a row, and nothing else has.
func TestHostcallsAreThoseOfEnvoy(t *testing.T) {
	k := knowledge()
	rows := map[string]bool{}
	for _, c := range k.calls.Hostcalls {
		if rows[c.Name] {
			t.Errorf("%s has two rows", c.Name)
		}
		rows[c.Name] = true
		if !k.since("env", c.Name).known() {
			t.Errorf("%s is not in hosts.yaml", c.Name)
		}
	}
	registered := []map[string]string{k.hosts.Envoy.Base.Env}
	for _, calls := range k.hosts.Envoy.Base.EnvByABI {
		registered = append(registered, calls)
	}
	for _, calls := range registered {
		for name := range calls {
			if name != "pthread_equal" && !rows[name] {
				t.Errorf("%s is in hosts.yaml and has no row in hostcalls.yaml", name)
			}
		}
	}
}

// TestNamesLeadToTheirCall: SDKs may share a name, but then it is the same call.
func TestNamesLeadToTheirCall(t *testing.T) {
	k := knowledge()
	for i := range k.calls.Hostcalls {
		c := &k.calls.Hostcalls[i]
		for _, name := range slices.Concat([]string{c.Name}, c.Rust, c.Go) {
			if got, _ := k.resolve(name); got != c {
				t.Errorf("%s of %s leads to %v", name, c.Name, got)
			}
		}
	}
}

func TestPhasesAreComplete(t *testing.T) {
	k := knowledge()
	callbacks := map[string]bool{}
	for _, c := range k.calls.Callbacks {
		callbacks[c.Name] = true
		if !slices.Contains([]string{"http", "tcp", "root", "callout", "any"}, c.Context) {
			t.Errorf("%s: context %q", c.Name, c.Context)
		}
	}
	reached := map[*phase]bool{}
	for i := range k.calls.Hostcalls {
		c := &k.calls.Hostcalls[i]
		for _, f := range slices.Concat(c.Rust, c.Go) {
			if p := k.phase(c, f); p != nil {
				reached[p] = true
			}
		}
	}
	for i := range k.calls.Phases {
		p := &k.calls.Phases[i]
		if !strings.HasPrefix(p.What, "the ") || p.Where == "" || p.Remedy == "" || len(p.OK) == 0 || !slices.Contains([]string{"read", "list", "change"}, p.Do) {
			t.Errorf("%s, %s: incomplete", p.What, p.Do)
		}
		if !reached[p] {
			t.Errorf("%s, %s: no SDK function leads here", p.What, p.Do)
		}
		for _, name := range p.OK {
			if !callbacks[name] || !strings.Contains(p.Where, name) {
				t.Errorf("%s, %s: %s is unknown or not named in %q", p.What, p.Do, name, p.Where)
			}
		}
		for name := range p.But {
			if !callbacks[name] {
				t.Errorf("%s, %s: unknown callback %s", p.What, p.Do, name)
			}
		}
		for name := range p.Other {
			if !callbacks[name] {
				t.Errorf("%s, %s: unknown callback %s", p.What, p.Do, name)
			}
		}
	}
	for _, c := range k.calls.Crashes {
		for _, call := range c.Calls {
			if !slices.ContainsFunc(k.calls.Hostcalls, func(h hostcall) bool { return h.Name == call }) {
				t.Errorf("crash of an unknown call %s", call)
			}
		}
		for _, f := range c.SDK {
			if h, _ := k.resolve(f); h == nil || !slices.Contains(c.Calls, h.Name) {
				t.Errorf("crash %q: %s is not a function of %v", c.What, f, c.Calls)
			}
		}
		for _, name := range c.Where {
			if !callbacks[name] {
				t.Errorf("crash %q: unknown callback %s", c.What, name)
			}
		}
		if c.What == "" || c.Signal == "" || c.Remedy == "" || len(c.Envoy) == 0 {
			t.Errorf("crash %q: incomplete", c.What)
		}
	}
}

// TestImportsAgreeWithHosts: what imports.yaml says about Envoy is what the host table says.
func TestImportsAgreeWithHosts(t *testing.T) {
	k := knowledge()
	for _, row := range k.imports.Imports {
		if len(row.Imports) == 0 || len(row.Brought) == 0 || len(row.Remedy) == 0 || len(row.Sources) == 0 {
			t.Errorf("%v: incomplete", row.Imports)
		}
		for _, name := range row.Imports {
			module, field, _ := strings.Cut(name, ".")
			r := k.since(module, field)
			want := r.since
			switch {
			case r.markers != nil:
				want = "by marker"
			case want == "":
				want = "never"
			}
			if row.Envoy != want {
				t.Errorf("%s: imports.yaml says %q, hosts.yaml %q", name, row.Envoy, want)
			}
		}
	}
	for wrong, real := range k.imports.Misnamed {
		if k.since("env", wrong).known() || !k.since("env", real).known() {
			t.Errorf("misnamed %s: %s: the first must not exist in Envoy, the second must", wrong, real)
		}
	}
	for name := range k.hosts.Higress.ExtraEnv {
		if k.origin("env", name) == nil {
			t.Errorf("env.%s is Higress's and has no row in imports.yaml", name)
		}
	}
}

func TestVersionsAreInOrder(t *testing.T) {
	k := knowledge()
	var last version
	for _, m := range k.versions.Istio {
		v, ok := parseVersion(m.Istio)
		if !ok || v.compare(last) <= 0 || m.Envoy == "" || m.Date == "" {
			t.Errorf("Istio %q: not a version after %v, or incomplete", m.Istio, last)
		}
		last = v
	}
	ids, sdks := map[string]bool{}, map[string]bool{"": true}
	for _, s := range k.versions.SDKs {
		sdks[s.SDK] = true
		last = version{}
		for _, r := range s.Releases {
			v, ok := parseVersion(r.Version)
			if !ok || v.compare(last) <= 0 || r.Date == "" {
				t.Errorf("%s %s: not a version after %v, or without date", s.SDK, r.Version, last)
			}
			last = v
		}
	}
	for _, p := range k.versions.BadPairs {
		if p.ID == "" || ids[p.ID] || p.Left == "" || p.Right == "" || p.Seen == "" || p.Fix == "" || len(p.Sources) == 0 || !sdks[p.SDK] {
			t.Errorf("bad pair %q: double or incomplete", p.ID)
		}
		ids[p.ID] = true
		if !slices.Contains([]string{"versions", "import", "export", "build"}, p.Decided) || p.Decided == "versions" && p.SDK == "" {
			t.Errorf("bad pair %q: decided %q by SDK %q", p.ID, p.Decided, p.SDK)
		}
	}
}
