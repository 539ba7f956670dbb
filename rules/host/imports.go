package host

import (
	"slices"
	"strings"
)

// maxImport bounds an import's name: real ones have at most some 80 bytes, but they come from strangers.
const maxImport = 200

// preview1 is the module of WASI under the name that toolchains use today. Envoy registers everything under its older name as well.
const preview1 = "wasi_snapshot_preview1"

// ExplainImport says of an import who registers it since when, which toolchain or library brings it, and what to do. name is written as
// Envoy does, "wasi_snapshot_preview1.fd_readdir", or with "::"; without a module it is looked for in the usual ones. The first
// sentence is always about who registers it, also for names that are in no table; only an empty name gives nothing.
func ExplainImport(name string) []string {
	t := knowledge()
	module, field := t.splitImport(name)
	if module == "" && field == "" {
		return nil
	}
	row := t.origin(module, field)
	said := []string{t.registered(module, field, row)}
	switch real, wrong := t.imports.Misnamed[field]; {
	case row != nil:
		said = append(said, "Brought by "+strings.Join(row.Brought, "; "), row.compiled(), row.Seen, row.Note, strings.Join(row.Remedy, " "))
	case module == "env" && wrong:
		said = append(said, "Declare the host call as "+real+", with its parameters, or call it through an SDK")
	case t.since(module, field).known():
		said = append(said, "Who brings it is not in our tables")
	default:
		said = append(said, "Who brings it is not known; look for its declaration in the plugin and its dependencies (Rust: an extern block; Go: //go:wasmimport; C: import_module)")
	}
	out := said[:0]
	for _, s := range said {
		if s = sentence(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// registration is what the host table knows about an import.
type registration struct {
	since   string   // first Envoy x.y.0; 1.17 is the oldest in the table
	also    []string // patch releases with a backport
	markers []string // only for modules with one of these ABI markers
}

func (r registration) known() bool { return r.since != "" || r.markers != nil }

// since looks an import up in the host table.
func (t *tables) since(module, field string) registration {
	e := &t.hosts.Envoy
	wasi := slices.Contains(e.WASIModules, module)
	for _, a := range e.Additions {
		if _, ok := a.WASI[field]; ok && wasi {
			return registration{since: a.Since, also: a.Also}
		}
		if _, ok := a.Env[field]; ok && module == "env" {
			return registration{since: a.Since, also: a.Also}
		}
	}
	if _, ok := e.Base.WASI[field]; ok && wasi {
		return registration{since: t.oldest()}
	}
	if _, ok := e.Base.Env[field]; ok && module == "env" {
		return registration{since: t.oldest()}
	}
	var r registration
	for abi, calls := range e.Base.EnvByABI {
		if _, ok := calls[field]; ok && module == "env" {
			r.markers = append(r.markers, "proxy_abi_version_"+abi)
		}
	}
	slices.Sort(r.markers)
	return r
}

func (t *tables) oldest() string {
	if len(t.hosts.Envoy.Releases) == 0 {
		return ""
	}
	return t.hosts.Envoy.Releases[0].Version
}

func (t *tables) newest() string {
	if n := len(t.hosts.Envoy.Releases); n > 0 {
		return t.hosts.Envoy.Releases[n-1].Version
	}
	return ""
}

// registered words the host table for one import.
func (t *tables) registered(module, field string, row *origin) string {
	full := module + "." + field
	if module == "" {
		full = field
	}
	r := t.since(module, field)
	switch {
	case r.markers != nil:
		return "Envoy registers " + full + " only for modules that export " + list(r.markers, "or")
	case r.since == t.oldest() && r.since != "":
		return "Every Envoy from " + r.since + " on registers " + full + "; if it is said to be missing, the host is not a plain Envoy"
	case r.since != "":
		s := "Envoy registers " + full + " since " + r.since
		if istio, ok := IstioOfEnvoy(r.since); ok {
			s += " (Istio " + istio + ")"
		} else {
			s += " (which Istio first has it is not known yet)"
		}
		if len(r.also) > 0 {
			s += ", by backport also " + list(r.also, "and")
		}
		return s + "; an older one refuses the module"
	}
	s := "No Envoy from " + t.oldest() + " to " + t.newest() + " registers " + full
	if _, ok := t.hosts.Higress.ExtraEnv[field]; ok && module == "env" {
		return s + "; Higress does"
	}
	if real, ok := t.imports.Misnamed[field]; ok && module == "env" {
		return s + "; the host call is named " + real
	}
	for _, m := range t.modules() {
		if o := t.since(m, field); m != module && o.known() {
			if o.since != "" {
				return s + "; the name exists as " + m + "." + field + ", since " + o.since
			}
			return s + "; the name exists as " + m + "." + field
		}
	}
	if near := t.similar(field); module == "env" && row == nil && near != nil {
		return s + "; a similar name is " + list(near, "or")
	}
	return s
}

// similar finds registered host calls that begin alike: at least three words of a name that starts with proxy_.
func (t *tables) similar(field string) []string {
	parts := strings.Split(field, "_")
	if parts[0] != "proxy" || len(parts) < 3 {
		return nil
	}
	prefix := strings.Join(parts[:3], "_")
	var near []string
	for i := range t.calls.Hostcalls {
		if n := t.calls.Hostcalls[i].Name; n == prefix || strings.HasPrefix(n, prefix+"_") {
			near = append(near, n)
		}
	}
	if len(near) > 4 {
		return nil
	}
	return near
}

// modules are those with functions of Envoy, the usual ones first.
func (t *tables) modules() []string {
	return append([]string{"env", preview1}, t.hosts.Envoy.WASIModules...)
}

// splitImport reads a name as Envoy, wasmtime or a person writes it. Without a module it takes the one that knows the name.
func (t *tables) splitImport(name string) (module, field string) {
	name = strings.Trim(strings.TrimSpace(name), "`'\",")
	if len(name) > maxImport {
		name = strings.ToValidUTF8(name[:maxImport], "") + "…"
	}
	module, field, ok := strings.Cut(name, "::")
	if !ok {
		module, field, ok = strings.Cut(name, ".")
	}
	if ok {
		return module, field
	}
	for _, m := range t.modules() {
		if t.since(m, name).known() {
			return m, name
		}
	}
	if t.origin(preview1, name) != nil {
		return preview1, name
	}
	if strings.HasPrefix(name, "proxy_") || t.origin("env", name) != nil && !strings.HasPrefix(name, "__wbindgen") {
		return "env", name
	}
	return "", name
}

// origin finds the row of an import: one that spells it out before one with a star.
func (t *tables) origin(module, field string) *origin {
	if slices.Contains(t.hosts.Envoy.WASIModules, module) {
		module = preview1
	}
	full := module + "." + field
	if module == "" {
		full = field
	}
	var star *origin
	for i := range t.imports.Imports {
		row := &t.imports.Imports[i]
		for _, pattern := range row.Imports {
			if pattern == full {
				return row
			}
			if head, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(full, head) && star == nil {
				star = row
			}
		}
	}
	return star
}

// compiled says with which library calls the import was seen.
func (o *origin) compiled() string {
	var s []string
	if len(o.Rust) > 0 {
		s = append(s, "Rust "+strings.Join(o.Rust, ", "))
	}
	if len(o.Go) > 0 {
		s = append(s, "Go "+strings.Join(o.Go, ", "))
	}
	if s == nil {
		return ""
	}
	return "Seen in modules compiled with " + strings.Join(s, "; ")
}
