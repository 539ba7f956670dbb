package host

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Host is one proxy of the table: what it registers for plugins, requires of them and allows. It is the zero value of nothing: get one from
// [ParseHost] or [Hosts].
type Host struct {
	Name  string // as a person writes it: "envoy 1.36", "istio 1.28"
	Envoy string // minor of its Envoy: "1.36"
	Patch string // its whole version when the person gave one: "1.36.2"; otherwise that of x.y.0 is meant

	at      version // of Envoy
	release *release
}

// Fact is where something in the table comes from.
type Fact struct {
	Source  string // repository, path and commit
	Checked string // on which Envoys it was seen to be so; "read, not run" otherwise
}

// ParseHost reads "envoy:1.36", "envoy:1.36.2", "istio:1.24". The error says what is known instead.
func ParseHost(text string) (Host, error) {
	t := knowledge()
	product, number, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), ":")
	number, _, _ = strings.Cut(number, "-") // 1.28.1-dev, 1.24-alpha.1
	v, ok := parseVersion(number)
	if product != "envoy" && product != "istio" || !ok || strings.Trim(number, "v.0123456789") != "" {
		return Host{}, fmt.Errorf("unknown host %q: want envoy:%s, istio:1.24 or all", text, t.newest())
	}
	patch := ""
	if strings.Count(strings.TrimPrefix(number, "v"), ".") > 1 {
		patch = fmt.Sprintf("%s.%d", v.minor(), v.patch)
	}
	name := product + " " + cmp.Or(patch, v.minor())
	if product == "istio" {
		minor, ok := EnvoyOfIstio(number)
		if !ok {
			return Host{}, fmt.Errorf("which Envoy is in Istio %s is not in the table, which has %s", number, t.istios())
		}
		v, _ = parseVersion(minor)
		patch = "" // Istio's patch releases do not tell that of their Envoy
	}
	h, ok := t.host(v)
	if !ok {
		return Host{}, fmt.Errorf("envoy %s is not in the table, which has %s to %s", number, t.oldest(), t.newest())
	}
	h.Name, h.Patch = name, patch
	return h, nil
}

// Hosts are all Envoy minors of the table, the oldest first.
func Hosts() []Host {
	t := knowledge()
	var out []Host
	for i := range t.hosts.Envoy.Releases {
		v, _ := parseVersion(t.hosts.Envoy.Releases[i].Version)
		if h, ok := t.host(v); ok {
			h.Name = "envoy " + h.Envoy
			out = append(out, h)
		}
	}
	return out
}

func (t *tables) host(v version) (Host, bool) {
	for i := range t.hosts.Envoy.Releases {
		if r := &t.hosts.Envoy.Releases[i]; r.Version == v.minor() {
			return Host{Envoy: r.Version, at: v, release: r}, true
		}
	}
	return Host{}, false
}

func (t *tables) istios() string {
	var known []string
	for _, m := range t.versions.Istio {
		if m.Envoy != "unknown" {
			known = append(known, m.Istio)
		}
	}
	if len(known) == 0 {
		return "none"
	}
	return known[0] + " to " + known[len(known)-1]
}

// has says whether the host is at least of a version, or a patch release with a backport.
func (h *Host) has(since string, also []string) bool {
	s, ok := parseVersion(since)
	if !ok {
		return false
	}
	if h.at.compare(s) >= 0 {
		return true
	}
	for _, a := range also {
		if b, ok := parseVersion(a); ok && b.minor() == h.at.minor() && h.at.patch >= b.patch && h.Patch != "" {
			return true
		}
	}
	return false
}

// Since says whether the host's Envoy is at least x.y.
func (h *Host) Since(minor string) bool { return h.has(minor, nil) }

// Runs are the Envoy versions on which the host's row was checked; empty when it was only read from the source.
func (h *Host) Runs() []string { return h.release.Verified }

// checked words where the row of the host was run.
func (h *Host) checked() string {
	if len(h.release.Verified) > 0 {
		return "run on Envoy " + list(h.release.Verified, "and")
	}
	return "read from the source, not run on this version"
}

// Imports is the source of what the host registers.
func (h *Host) Imports() Fact {
	return Fact{"proxy-wasm/proxy-wasm-cpp-host:src/wasm.cc, include/proxy-wasm/exports.h @" + h.release.CPPHost + ", which Envoy " + h.Envoy + ".0 pins", h.checked()}
}

// Function is what the host registers under a name for a module with that ABI marker ("0_2_1").
func (h *Host) Function(module, name, abi string) (signature string, ok bool) {
	e := &knowledge().hosts.Envoy
	wasi := slices.Contains(e.WASIModules, module)
	pick := func(env, preview map[string]string) (string, bool) {
		if wasi {
			s, ok := preview[name]
			return s, ok
		}
		s, ok := env[name]
		return s, ok && module == "env"
	}
	if s, ok := pick(e.Base.Env, e.Base.WASI); ok {
		return s, true
	}
	if s, ok := pick(e.Base.EnvByABI[abi], nil); ok && !wasi {
		return s, true
	}
	for _, a := range e.Additions {
		if s, ok := pick(a.Env, a.WASI); ok && h.has(a.Since, a.Also) {
			return s, true
		}
	}
	return "", false
}

// From says since which Envoy a name is registered, and in which earlier patch releases; both are empty for what no Envoy has.
func From(module, name string) (since string, also []string) {
	r := knowledge().since(module, name)
	return r.since, r.also
}

// ABIs are the markers that the host accepts, without "proxy_abi_version_": "0_2_1".
func (h *Host) ABIs() ([]string, Fact) {
	m := &knowledge().hosts.Envoy.Markers
	var out []string
	for _, a := range m.Accepted {
		out = append(out, strings.TrimPrefix(a, "proxy_abi_version_"))
	}
	return out, fact(m.Source, m.Verified)
}

// Callback is what the host wants of an export, when it looks it up at all: "i32 i32 -> i32". A module without it is fine; one with
// another type is refused.
func (h *Host) Callback(name, abi string) (signature string, ok bool) {
	e := &knowledge().hosts.Envoy.Exports
	if s, ok := e.Optional[name]; ok {
		return s, true
	}
	if s, ok := e.EnvoyOnly[name]; ok {
		return s, true
	}
	s, ok := e.ByABI[name][abi]
	return s, ok && strings.Contains(s, "->")
}

// Exports is the source of what the host looks up in a module.
func (h *Host) Exports() Fact {
	return fact(knowledge().hosts.Envoy.Exports.Source, knowledge().hosts.Envoy.Exports.Verified.Versions)
}

// Allocators are the exports of which a module needs one, with their type.
func (h *Host) Allocators() (names []string, signature string) {
	r := &knowledge().hosts.Envoy.Exports.Required
	return r.AnyOf, r.Signature
}

// StartOf lists the exports that the host calls when a module starts, out of those that it has, in the order of the calls, and the type that
// each must have.
func (h *Host) StartOf(exported func(name string) bool) (names []string, signatures map[string]string) {
	signatures = knowledge().hosts.Envoy.Exports.Start.Signatures
	switch {
	case exported("_initialize"):
		names = append(names, "_initialize")
		switch {
		case h.Since("1.18") && exported("main"):
			names = append(names, "main")
		case h.Since("1.39") && exported("__main_void"):
			names = append(names, "__main_void")
		}
	case exported("_start"):
		names = append(names, "_start")
	case !h.Since("1.18") && exported("__wasm_call_ctors"):
		names = append(names, "__wasm_call_ctors")
	}
	return names, signatures
}

// RestrictedAtStart says whether calling an import while a module starts is forbidden and traps, and where that comes from.
func (h *Host) RestrictedAtStart(module, name string) (bool, Fact) {
	e := &knowledge().hosts.Envoy
	r := &e.Restricted
	f := fact(r.Source, r.Verified.Versions)
	if !h.has(r.Since, nil) {
		return false, f
	}
	if module == "env" {
		name = "env." + name
	} else if !slices.Contains(e.WASIModules, module) {
		return false, f
	}
	for _, a := range r.Allowed {
		if slices.Contains(a.Names, name) && h.has(a.Since, a.Also) {
			return false, f
		}
	}
	return true, f
}

// MaxPages is how large a memory may be at the start, in pages of 64 KiB; 0 when the table does not know.
func (h *Host) MaxPages() (pages uint64, f Fact) {
	l := &knowledge().hosts.Envoy.Limits
	for _, p := range l.Pages {
		if h.has(p.Since, nil) {
			pages = p.Pages
		}
	}
	return pages, Fact{"proxy-wasm/proxy-wasm-cpp-host:include/proxy-wasm/limits.h @61135c5", runOn(l.Memory.Verified.Versions)}
}

// Frames is how many frames of a backtrace the host's engine keeps.
func (h *Host) Frames() (n int, f Fact) {
	for _, x := range knowledge().hosts.Envoy.Limits.Frames {
		if h.has(x.Since, nil) {
			n = x.Frames
		}
	}
	return n, Fact{"proxy-wasm/proxy-wasm-cpp-host:src/v8/v8.cc @ad71f14 (20 since Envoy 1.39; V8's own 10 before)", "run on Envoy 1.36.2, 1.37.0, 1.39.3 and 1.40.0"}
}

// V8 is the version of the engine: "13.8.258.26"; empty when the table does not know.
func (h *Host) V8() string {
	r := h.release
	if from, ok := parseVersion(r.Later.From); ok && h.Patch != "" && h.at.compare(from) >= 0 {
		return r.Later.V8
	}
	if r.V8 == "unknown" {
		return ""
	}
	return r.V8
}

// Feature says since which V8 a wasm feature needs no flag, and whether the host's has it. known is false when the table lacks the feature
// or the engine's version.
func (h *Host) Feature(name string) (since string, has, known bool, f Fact) {
	e := &knowledge().hosts.Envoy
	since = e.Features.Shipped[name]
	f = Fact{"webassembly.org/features; V8 " + cmp.Or(h.V8(), "(unknown)") + " is pinned by Envoy " + h.Envoy + " (bazel/repository_locations.bzl)", "read, not run on this version"}
	run := len(h.release.Verified) > 0 && slices.ContainsFunc(e.Features.Accepted.Features, func(s string) bool {
		return strings.HasPrefix(strings.ReplaceAll(s, "-", " "), strings.ReplaceAll(name, "-", " "))
	})
	if run {
		f.Checked = "a module with the feature was loaded into Envoy " + list(e.Features.Accepted.Versions, "and")
	}
	need, ok := parseVersion(since)
	v, have := parseVersion(h.V8())
	if !have { // an engine is never older than that of the release before
		for i := range e.Releases {
			if x, ok := parseVersion(e.Releases[i].V8); ok {
				v, have = x, true
			}
			if e.Releases[i].Version == h.release.Version {
				break
			}
		}
	}
	return since, v.major > need.major || v.major == need.major && v.minorN >= need.minorN, ok && have, f
}

func fact(s source, runs []string) Fact {
	text := s.Repo
	if p := cmp.Or(s.Path, strings.Join(s.Paths, ", ")); p != "" {
		text += ":" + p
	}
	if c := cmp.Or(s.Commit, strings.Join(s.Commits, ", ")); c != "" {
		text += " @" + c
	}
	return Fact{text, runOn(runs)}
}

func runOn(versions []string) string {
	if len(versions) == 0 {
		return "read from the source, not run"
	}
	return "run on Envoy " + list(versions, "and")
}

// source is how hosts.yaml names a place.
type source struct {
	Repo, Path, Commit string
	Paths, Commits     []string
}

// release is a row of hosts.yaml's releases.
type release struct {
	Version  string
	CPPHost  string `yaml:"cpp_host"`
	V8       string
	Later    struct{ From, V8 string } `yaml:"v8_later"`
	Verified []string                  `yaml:"verified_by_run"`
}

// runs is how hosts.yaml says on which versions something was tried.
type runs struct{ Versions []string }

// additions is what a release adds.
type additions struct {
	Since     string
	Also      []string
	Env, WASI map[string]string
}

// contract is the part of hosts.yaml about what a module has to have and may do.
type contract struct {
	Markers struct {
		Accepted []string
		Verified []string `yaml:"verified_by_run"`
		Source   source
	} `yaml:"abi_markers"`
	Exports struct {
		Required struct {
			AnyOf     []string `yaml:"any_of"`
			Signature string
		}
		Start     struct{ Signatures map[string]string }
		Optional  map[string]string
		ByABI     map[string]map[string]string `yaml:"optional_by_abi"`
		EnvoyOnly map[string]string            `yaml:"envoy_only"`
		Source    source
		Verified  runs `yaml:"verified_by_run"`
	}
	Restricted struct {
		Since   string
		Allowed []struct {
			Since string
			Also  []string
			Names []string
		}
		Source   source
		Verified runs `yaml:"verified_by_run"`
	} `yaml:"restricted_at_start"`
	Limits struct {
		Pages []struct {
			Since string
			Pages uint64
		} `yaml:"memory_pages"`
		Frames []struct {
			Since  string
			Frames int
		}
		Memory struct {
			Verified runs `yaml:"verified_by_run"`
		} `yaml:"wasm_memory"`
	}
	Features struct {
		Accepted struct{ Versions, Features []string } `yaml:"accepted_in"`
		Shipped  map[string]string
	} `yaml:"wasm_features_v8"`
}
