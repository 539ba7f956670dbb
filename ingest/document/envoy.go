package document

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// nullRuntime runs plugins that are compiled into Envoy: no module, no VM. Istio's own telemetry was loaded like this up to 1.17.
const nullRuntime = "envoy.wasm.runtime.null"

// typeURL is the type of the message n, also when it is packed into a TypedStruct.
func (t *tree) typeURL(n ref) string {
	typ := t.text(n, "@type")
	if strings.HasSuffix(typ, ".TypedStruct") || typ == "" {
		return cmp.Or(t.text(n, "type_url"), typ)
	}
	return typ
}

// envoyType says whether a type URL names an Envoy message that is a configuration. Entries of an access log service are not.
func envoyType(typ string) bool {
	_, name, ok := strings.Cut(typ, "/")
	if !ok || strings.HasPrefix(name, "envoy.data.") || strings.HasPrefix(name, "envoy.service.accesslog.") {
		return false
	}
	return strings.HasPrefix(name, "envoy.") || strings.HasPrefix(name, "udpa.type.") || strings.HasPrefix(name, "xds.type.")
}

// isEnvoy says whether n is an Envoy configuration: a bootstrap, a dump, an xDS resource, a filter, /server_info, or a list of those.
func (t *tree) isEnvoy(n ref) bool {
	if t.is(n, shapeArray) {
		first := t.nodes[n].first
		return t.is(first, shapeObject) && t.isEnvoy(first)
	}
	if !t.is(n, shapeObject) {
		return false
	}
	if typ := t.text(n, "@type"); typ != "" {
		return envoyType(typ)
	}
	for _, list := range []string{"configs", "resources", "ecds_filters"} {
		if items := t.get(n, list); t.is(items, shapeArray) {
			first := t.nodes[items].first
			return first != none && (envoyType(t.typeURL(first)) || envoyType(t.typeURL(t.get(first, "ecds_filter"))))
		}
	}
	return t.isBootstrap(n) || t.isBootstrap(t.get(n, "bootstrap")) || t.isServerInfo(n) || t.isFragment(n)
}

// isFragment recognises what people paste: a listener, a filter, the configuration of a plugin.
func (t *tree) isFragment(n ref) bool {
	vm := t.object(n, "vm_config")
	return envoyType(t.typeURL(t.get(n, "typed_config"))) || vm != none && (t.get(vm, "code") != none || t.get(vm, "runtime") != none) ||
		t.is(t.get(n, "filter_chains"), shapeArray) && t.get(n, "address") != none
}

func (t *tree) isBootstrap(n ref) bool {
	for _, key := range []string{"static_resources", "dynamic_resources", "layered_runtime"} {
		if t.object(n, key) != none {
			return true
		}
	}
	return t.is(t.get(n, "bootstrap_extensions"), shapeArray) || t.object(n, "admin", "address") != none
}

// isServerInfo recognises the answer of /server_info.
func (t *tree) isServerInfo(n ref) bool {
	return strings.Count(t.text(n, "version"), "/") >= 3 && t.text(n, "state") != "" && t.object(n, "command_line_options") != none
}

// envoy takes the parts of an Envoy configuration.
func (c *collector) envoy(t *tree) {
	if t.isServerInfo(root) {
		c.serverInfo(t, root)
		return
	}
	c.walk(t, root, place{holder: none})
}

// place is where in a configuration the walk is.
type place struct {
	holder    ref    // the named extension around: the object that has name and typed_config
	filter    string // and its name
	typ       string // the type URL of the message around
	listener  string
	chain     ref // the http_filters around; root when there are none
	namespace string
	rejected  bool   // inside the failed_configuration of an error_state
	extra     fields // of the Kubernetes object that this configuration is part of
}

// walk looks for everything of interest below n. The tree is at most maxDepth deep.
func (c *collector) walk(t *tree, n ref, p place) {
	if !t.is(n, shapeObject) {
		for item := range t.each(n) {
			c.walk(t, item, p)
		}
		return
	}
	if t.object(n, "typed_config") != none || t.text(n, "name") != "" && t.object(n, "config", "config") != none {
		p.holder, p.filter = n, t.text(n, "name")
	}
	p.typ = cmp.Or(t.typeURL(n), p.typ)
	if t.is(t.get(n, "filter_chains"), shapeArray) {
		p.listener = t.text(n, "name")
	}
	if t.isPluginConfig(n, p) {
		c.plugin(t, n, p)
		return // what is below is the plugin's own configuration
	}
	if t.object(n, "config_discovery") != none && p.extra["declared_by"] == "envoyfilter" {
		c.discovery(t, n, p)
		return
	}
	if t.isBootstrap(n) && p.extra["declared_by"] != "envoyfilter" {
		c.bootstrap(t, n, p)
	}
	c.runtimeKeys(t, t.get(n, "layered_runtime", "layers"), p)
	for k := range t.each(n) {
		in := p
		if keyIs(t.nodes[k].key, "error_state") {
			c.rejected(t, n, k, p)
			in.rejected = true
		}
		if keyIs(t.nodes[k].key, "http_filters") {
			in.chain = k
		}
		c.walk(t, k, in)
	}
}

// isPluginConfig says whether n is an envoy.extensions.wasm.v3.PluginConfig: it has vm_config, or is the config of a wasm extension.
func (t *tree) isPluginConfig(n ref, p place) bool {
	if t.object(n, "vm_config") != none {
		return true
	}
	return t.nodes[n].key == "config" && strings.Contains(p.typ, ".wasm.v") && t.object(n, "config") == none
}

// discovery is a filter whose configuration comes by ECDS, under the filter's name. Only those that may be a wasm plugin are of interest.
func (c *collector) discovery(t *tree, n ref, p place) {
	wasm := false
	for typ := range t.each(t.get(n, "config_discovery", "type_urls")) {
		wasm = wasm || strings.Contains(t.text(typ), ".wasm.v")
	}
	if !wasm {
		return
	}
	out := Part{Kind: "config", Namespace: p.namespace, Fields: fields{}}
	f := fields(out.Fields)
	for k, v := range p.extra {
		f[k] = v
	}
	f.set("object", "discovery")
	f.set("filter", t.text(n, "name"))
	f.set("has_default", strconv.FormatBool(t.filled(t.get(n, "config_discovery", "default_config"))))
	out.Message = "filter " + f["filter"] + " gets its configuration by ECDS"
	c.put(t, out, n, t.get(n, "name"), t.get(n, "config_discovery"))
}

// extensions tells by its type where Envoy runs a plugin.
var extensions = []struct{ typ, name string }{
	{".http.wasm.", "http-filter"},
	{".network.wasm.", "network-filter"},
	{".access_loggers.wasm.", "access-logger"},
	{".stat_sinks.wasm.", "stats-sink"},
	{".wasm.v3.WasmService", "bootstrap"},
	{".wasm.v2.WasmService", "bootstrap"},
}

func (c *collector) plugin(t *tree, n ref, p place) {
	out := Part{Kind: "config", Namespace: p.namespace, Fields: fields{}}
	f := fields(out.Fields)
	for k, v := range p.extra {
		f[k] = v
	}
	f.set("object", "plugin")
	f.set("plugin", t.text(n, "name"))
	f.set("filter", p.filter)
	for _, e := range extensions {
		if strings.Contains(p.typ+" "+p.filter+".", e.typ) { // before typed_config the name was the type
			f.set("extension", e.name)
		}
	}
	f.set("listener", p.listener)
	f.set("root_id", t.text(n, "root_id"))
	t.vm(t.get(n, "vm_config"), f)
	f.policy(t.text(n, "failure_policy"), t.text(n, "fail_open"))
	f.set("fail_open", t.text(n, "fail_open"))
	f.set("failure_policy", t.text(n, "failure_policy"))
	t.neighbours(p.chain, p.holder, f)
	out.module = t.code(t.get(n, "vm_config", "code"), fields{})
	f.set("has_config", strconv.FormatBool(t.hasConfiguration(t.get(n, "configuration"))))
	if t.filled(t.get(n, "capability_restriction_config")) {
		f.set("capability_restricted", "true")
	}
	if p.rejected {
		f.set("rejected", "true")
	}
	out.Message = pluginMessage(f)
	whole := n
	if p.holder != none {
		whole = p.holder
	}
	c.put(t, out, whole, t.get(n, "name"), t.get(n, "root_id"), t.get(n, "vm_config"))
}

func pluginMessage(f fields) string {
	m := "wasm plugin " + cmp.Or(f["plugin"], f["root_id"], f["filter"], "without a name")
	if f["code"] != "" {
		m += " runs " + f["code"]
	}
	if f["runtime"] != "" {
		m += " in " + f["runtime"]
	}
	return m + ", " + f["fail_policy"]
}

// vm reads a VmConfig.
func (t *tree) vm(vm ref, f fields) {
	f.set("vm_id", t.text(vm, "vm_id"))
	f.set("runtime", t.text(vm, "runtime"))
	f.set("allow_precompiled", t.text(vm, "allow_precompiled"))
	f.set("nack_on_code_cache_miss", t.text(vm, "nack_on_code_cache_miss"))
	environment := t.get(vm, "environment_variables")
	names := []string{}
	for v := range t.each(t.get(environment, "key_values")) {
		names = append(names, t.nodes[v].key)
	}
	if host := t.names(t.get(environment, "host_env_keys")); host != "" {
		names = append(names, host)
	}
	f.set("vm_env", strings.Join(names, ","))

	code := t.code(t.get(vm, "code"), f)
	// cpp-host shares a VM between plugins whose vm_id, vm configuration and code are the same.
	f.set("vm_key", digest(t.text(vm, "vm_id"), t.text(vm, "runtime"), code, t.flat(t.get(vm, "configuration"))))
}

// code reads an AsyncDataSource. The result tells one module from another.
func (t *tree) code(code ref, f fields) string {
	local, remote := t.get(code, "local"), t.get(code, "remote")
	name := t.text(local, "filename")
	inline := cmp.Or(t.text(local, "inline_string"), t.text(local, "inline_bytes"))
	switch {
	case name != "":
		f.set("code", name)
		// The Istio agent stores what it fetched under the checksum of the module.
		if sum := strings.TrimSuffix(path.Base(name), ".wasm"); len(sum) == 64 {
			if _, err := hex.DecodeString(sum); err == nil {
				f.set("sha256", sum)
			}
		}
	case inline != "":
		f.set("code", "inline")
	case t.text(local, "environment_variable") != "":
		f.set("code", "environment variable "+t.text(local, "environment_variable"))
	case remote != none:
		f.set("code", cmp.Or(t.text(remote, "http_uri", "uri"), "remote"))
		f.set("url", t.text(remote, "http_uri", "uri"))
		f.set("fetch_cluster", t.text(remote, "http_uri", "cluster"))
		f.set("fetch_timeout", t.text(remote, "http_uri", "timeout"))
		// istiod writes "nil" when the resource gives no checksum.
		switch sum := t.text(remote, "sha256"); sum {
		case "nil":
			f.set("has_sha256", "nil")
		case "":
			f.set("has_sha256", "false")
		default:
			f.set("has_sha256", "true")
			f.set("sha256", sum)
		}
	}
	return digest(name, inline, f["url"], f["sha256"])
}

// maxChain is how many filters before a plugin and behind it are named.
const maxChain = 100

// neighbours names the HTTP filters that run before a plugin and after it: jwt_authn of envoy.extensions.filters.http.jwt_authn.v3.
func (t *tree) neighbours(chain, holder ref, f fields) {
	if chain == root || holder == none {
		return
	}
	var before, after []string
	met, n := false, 0
	for filter := range t.each(chain) {
		if n++; n > 2*maxChain {
			break
		}
		switch {
		case filter == holder:
			met, n = true, maxChain
		case met:
			after = append(after, t.filterName(filter))
		default:
			before = append(before, t.filterName(filter))
		}
	}
	if met {
		f.set("filters_before", strings.Join(before, ","))
		f.set("filters_after", strings.Join(after, ","))
	}
}

// filterName is the short name of the extension that a filter is; a filter may be called anything.
func (t *tree) filterName(filter ref) string {
	typ := t.typeURL(t.get(filter, "typed_config"))
	if pieces := strings.Split(typ[strings.LastIndexByte(typ, '/')+1:], "."); len(pieces) >= 3 {
		return pieces[len(pieces)-3]
	}
	name := t.text(filter, "name")
	return name[strings.LastIndexByte(name, '.')+1:]
}

// flat writes down a value so that two can be compared. Of a very large one the start is enough.
func (t *tree) flat(n ref) string {
	var b strings.Builder
	var write func(ref)
	write = func(n ref) {
		if n == none || b.Len() > 1<<20 {
			return
		}
		fmt.Fprintf(&b, "%q:%q%d{", t.nodes[n].key, t.nodes[n].text, t.nodes[n].shape)
		for k := range t.each(n) {
			write(k)
		}
		b.WriteByte('}')
	}
	write(n)
	return b.String()
}

// hasConfiguration says whether an Any holds anything: an empty StringValue is no configuration.
func (t *tree) hasConfiguration(n ref) bool {
	if !t.is(n, shapeObject) {
		return t.filled(n)
	}
	for k := range t.each(n) {
		if key := t.nodes[k].key; key != "@type" && key != "type_url" && t.filled(k) {
			return true
		}
	}
	return false
}

// policies translates the words, and numbers, of Envoy's failure_policy and of Istio's failStrategy into Envoy's.
var policies = map[string]string{
	"FAIL_OPEN": "FAIL_OPEN", "FAIL_CLOSED": "FAIL_CLOSED", "FAIL_CLOSE": "FAIL_CLOSED", "FAIL_RELOAD": "FAIL_RELOAD",
	"1": "FAIL_RELOAD", "2": "FAIL_CLOSED", "3": "FAIL_OPEN",
}

// policy sets what happens to requests once the VM has failed. Without any setting that is FAIL_CLOSED, also from 1.33 on, whatever
// the changelog of that release says.
func (f fields) policy(named, open string) {
	switch {
	case policies[named] != "":
		f.set("fail_policy", policies[named])
	case open == "true":
		f.set("fail_policy", "FAIL_OPEN")
	default:
		f.set("fail_policy", "FAIL_CLOSED")
		if open == "" {
			f.set("fail_policy_default", "true")
		}
	}
}

// bootstrap is the proxy as a whole: who it is and how many workers it runs.
func (c *collector) bootstrap(t *tree, n ref, p place) {
	out := Part{Kind: "config", Namespace: p.namespace, Fields: fields{}}
	f := fields(out.Fields)
	for k, v := range p.extra {
		f[k] = v
	}
	f.set("object", "bootstrap")
	f.set("admin_address", t.address(t.get(n, "admin", "address")))
	proxy := t.get(n, "node")
	metadata := t.get(proxy, "metadata")
	f.set("concurrency", cmp.Or(t.text(metadata, "PROXY_CONFIG", "concurrency"), t.text(n, "concurrency")))
	f.set("envoy_version", t.buildVersion(t.get(proxy, "user_agent_build_version", "version")))
	f.set("istio_version", t.text(metadata, "ISTIO_VERSION"))
	f.set("node_id", t.text(proxy, "id"))
	out.Pod, out.Namespace = t.identity(proxy, out.Namespace)
	if p.extra == nil {
		c.pod, c.namespace = cmp.Or(c.pod, clean(out.Pod)), cmp.Or(c.namespace, clean(out.Namespace))
	}
	if p.extra == nil {
		for cluster := range t.each(t.get(n, "static_resources", "clusters")) {
			c.clusters = append(c.clusters, t.text(cluster, "name"))
		}
		dynamic := t.get(n, "dynamic_resources")
		c.discovers = c.discovers || t.filled(t.get(dynamic, "cds_config")) || t.filled(t.get(dynamic, "ads_config"))
	}
	out.Message = "bootstrap"
	if f["node_id"] != "" {
		out.Message += " of " + f["node_id"]
	}
	if f["admin_address"] != "" {
		out.Message += ", admin " + f["admin_address"]
	}
	if f["concurrency"] != "" {
		out.Message += ", " + f["concurrency"] + " workers"
	}
	c.put(t, out, n, t.get(n, "admin"), proxy)
}

// identity is the pod that a proxy says it runs in. Istio's node id is `sidecar~10.1.2.3~pod.namespace~domain`.
func (t *tree) identity(proxy ref, namespace string) (string, string) {
	pod, ns := t.text(proxy, "metadata", "NAME"), t.text(proxy, "metadata", "NAMESPACE")
	if pieces := strings.Split(t.text(proxy, "id"), "~"); len(pieces) == 4 {
		if name, space, ok := strings.Cut(pieces[2], "."); ok {
			pod, ns = cmp.Or(pod, name), cmp.Or(ns, space)
		}
	}
	return pod, cmp.Or(ns, namespace)
}

// address writes a SocketAddress or Pipe as people do.
func (t *tree) address(n ref) string {
	if s := t.get(n, "socket_address"); s != none {
		return t.text(s, "address") + ":" + cmp.Or(t.text(s, "port_value"), t.text(s, "named_port"))
	}
	return t.text(n, "pipe", "path")
}

func (t *tree) buildVersion(n ref) string {
	if n == none {
		return ""
	}
	// Numbers that are zero are left out of protobuf JSON.
	return fmt.Sprintf("%s.%s.%s", cmp.Or(t.text(n, "major_number"), "0"), cmp.Or(t.text(n, "minor_number"), "0"), cmp.Or(t.text(n, "patch"), "0"))
}

// runtimeKeys makes a part of each runtime key that mentions wasm, or stands in a layer that does. People try to switch logging on here.
func (c *collector) runtimeKeys(t *tree, layers ref, p place) {
	for layer := range t.each(layers) {
		name := t.text(layer, "name")
		var visit func(n ref, key string)
		visit = func(n ref, key string) {
			if len(key)+len(t.nodes[n].key) > maxText {
				return
			}
			key = strings.TrimPrefix(key+"."+t.nodes[n].key, ".")
			if t.is(n, shapeObject) {
				for k := range t.each(n) {
					visit(k, key)
				}
				return
			}
			if strings.Contains(key, "wasm") || strings.Contains(name, "wasm") {
				c.runtimeKey(t, n, name, key, p)
			}
		}
		for k := range t.each(t.get(layer, "static_layer")) {
			visit(k, "")
		}
	}
}

func (c *collector) runtimeKey(t *tree, n ref, layer, key string, p place) {
	out := Part{Kind: "config", Namespace: p.namespace, Fields: fields{}}
	f := fields(out.Fields)
	for k, v := range p.extra {
		f[k] = v
	}
	f.set("object", "runtime")
	f.set("layer", layer)
	f.set("runtime_key", key)
	f.set("runtime_value", t.text(n))
	out.Message = fmt.Sprintf("runtime layer %s sets %s: %s", layer, key, f["runtime_value"])
	c.put(t, out, n)
}

// rejected is a resource that the proxy refused and says so in its dump. entry is the resource, state its error_state.
func (c *collector) rejected(t *tree, entry, state ref, p place) {
	details, failed := t.get(state, "details"), t.get(state, "failed_configuration")
	if !t.filled(details) && failed == none {
		return
	}
	out := Part{Kind: "config", Namespace: p.namespace, Time: parseTime(t.text(state, "last_update_attempt")), Fields: fields{}}
	f := fields(out.Fields)
	f.set("object", "rejected")
	f.set("object_name", cmp.Or(t.text(entry, "name"), t.text(failed, "name"), t.text(entry, "ecds_filter", "name")))
	f.set("type_url", cmp.Or(t.text(failed, "@type"), t.text(entry, "ecds_filter", "@type"), p.typ))
	f.set("event_message", t.text(details))
	short := f["type_url"][strings.LastIndexAny(f["type_url"], "./")+1:]
	out.Message = strings.Join(strings.Fields(short+" "+f["object_name"]+" rejected: "+f["event_message"]), " ")
	c.put(t, out, state, details)
}

// serverInfo is the answer of /server_info.
func (c *collector) serverInfo(t *tree, n ref) {
	out := Part{Kind: "config", Fields: fields{}}
	f := fields(out.Fields)
	options := t.get(n, "command_line_options")
	f.set("object", "server")
	// "<commit>/1.36.2/Clean/RELEASE/BoringSSL"
	if pieces := strings.Split(t.text(n, "version"), "/"); len(pieces) > 1 {
		f.set("envoy_version", pieces[1])
	}
	f.set("state", t.text(n, "state"))
	f.set("uptime", cmp.Or(t.text(n, "uptime_current_epoch"), t.text(n, "uptime_all_epochs")))
	f.set("concurrency", t.text(options, "concurrency"))
	f.set("log_level", wasmLevel(t.text(options, "log_level"), t.text(options, "component_log_level")))
	f.set("component_log_level", t.text(options, "component_log_level"))
	out.Pod, out.Namespace = t.identity(t.get(n, "node"), "")
	out.Message = fmt.Sprintf("Envoy %s %s for %s, wasm log level %s", f["envoy_version"], f["state"], f["uptime"], f["log_level"])
	c.put(t, out, n, t.get(n, "version"))
}
