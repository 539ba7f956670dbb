package document

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	versionForm = regexp.MustCompile(`^(?:[a-z0-9][a-z0-9.-]*/)?v[0-9]+[a-z0-9]*$`)
	kindForm    = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
)

// validVersion says whether s may be the apiVersion of an object. The API server's audit log consists of lines that have apiVersion and
// kind too, but is a log.
func validVersion(s string) bool {
	return len(s) < 300 && versionForm.MatchString(s) && !strings.HasPrefix(s, "audit.k8s.io/")
}

func validKind(s string) bool { return len(s) < 100 && kindForm.MatchString(s) }

func (t *tree) isKubernetes(n ref) bool {
	return validVersion(t.text(n, "apiVersion")) && validKind(t.text(n, "kind"))
}

// isObjects says whether n is a Kubernetes object, an array of them, or the start of a List: kubectl writes its kind last, so that a List
// that was cut off has none.
func (t *tree) isObjects(n ref) bool {
	items := t.get(n, "items")
	if t.is(n, shapeArray) {
		items = n
	}
	return t.isKubernetes(n) || t.is(items, shapeArray) && t.isKubernetes(t.nodes[items].first)
}

// readers are the kinds that have something to say. Other groups have kinds of the same name: where groups are listed, it has to be one.
var readers = map[string]struct {
	groups []string
	read   func(*collector, *tree, ref)
}{
	"Pod":                  {nil, (*collector).podObject},
	"Event":                {nil, (*collector).eventObject},
	"Node":                 {nil, (*collector).nodeObject},
	"ConfigMap":            {nil, (*collector).configMap},
	"WasmPlugin":           {[]string{"extensions.istio.io", "extensions.higress.io"}, (*collector).wasmPlugin},
	"TrafficExtension":     {[]string{"extensions.istio.io"}, (*collector).trafficExtension},
	"EnvoyFilter":          {[]string{"networking.istio.io"}, (*collector).envoyFilter},
	"EnvoyExtensionPolicy": {[]string{"gateway.envoyproxy.io"}, (*collector).extensionPolicy},
}

// interesting says whether objects of a kind, or lists of them, may hold a part.
func interesting(kind string) bool {
	_, ok := readers[strings.TrimSuffix(kind, "List")]
	return ok || kind == "List"
}

// object takes the parts of a Kubernetes object, of a list, or of an array of objects. hint is the kind of the items of a typed list,
// which the API server does not repeat in each.
func (c *collector) object(t *tree, n ref, hint string) {
	kind := cmp.Or(t.text(n, "kind"), hint)
	items := t.get(n, "items")
	if t.is(n, shapeArray) {
		items = n
	}
	if t.is(items, shapeArray) && (n == items || kind == "" || strings.HasSuffix(kind, "List")) {
		for item := range t.each(items) {
			if t.get(item, "items") != none {
				continue // lists do not nest
			}
			c.object(t, item, strings.TrimSuffix(kind, "List"))
		}
		return
	}
	r, ok := readers[kind]
	if !ok {
		return
	}
	group, _, _ := strings.Cut(t.text(n, "apiVersion"), "/")
	if r.groups == nil || slices.Contains(r.groups, group) || hint != "" && group == "" {
		r.read(c, t, n)
	}
}

// part starts a part of the object n.
func (t *tree) part(kind string, n ref) Part {
	return Part{Kind: kind, Namespace: t.text(n, "metadata", "namespace"), Fields: fields{}}
}

func (c *collector) put(t *tree, p Part, n ref, best ...ref) {
	c.add(p, int(t.nodes[n].at), int(t.nodes[n].end), t.best(n, best...))
}

// pod is what a pod and its containers have in common, whichever way it was printed.
type pod struct {
	name, namespace, node, phase string
}

func (c *collector) podObject(t *tree, n ref) {
	p := pod{t.text(n, "metadata", "name"), t.text(n, "metadata", "namespace"), t.text(n, "spec", "nodeName"), t.text(n, "status", "phase")}
	c.podPart(t, n, p)
	for i, list := range []string{"initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"} {
		word := []string{"init container", "container", "ephemeral container"}[i]
		spec := t.get(n, "spec", []string{"initContainers", "containers", "ephemeralContainers"}[i])
		for status := range t.each(t.get(n, "status", list)) {
			if t.is(status, shapeObject) {
				c.containerStatus(t, status, p, word, t.named(spec, t.text(status, "name")))
			}
		}
	}
}

// named finds the item of a list whose name is the one given.
func (t *tree) named(list ref, name string) ref {
	for item := range t.each(list) {
		if t.text(item, "name") == name {
			return item
		}
	}
	return none
}

// podPart is the pod itself: which proxy it runs, how it logs, and why it was evicted, if it was.
func (c *collector) podPart(t *tree, n ref, p pod) {
	out := t.part("object", n)
	out.Pod, out.Node = p.name, p.node
	f := fields(out.Fields)
	f.set("object", "pod")
	f.set("object_name", p.name)
	labels := t.get(n, "metadata", "labels")
	f.set("app", cmp.Or(t.text(labels, "app"), t.text(labels, "app.kubernetes.io/name"), t.text(labels, "service.istio.io/canonical-name")))
	f.set("phase", p.phase)
	f.set("reason", t.text(n, "status", "reason"))
	f.set("event_message", t.text(n, "status", "message"))
	proxy := t.proxy(n)
	f.set("image", t.text(proxy, "image"))

	notes := t.get(n, "metadata", "annotations")
	level, components := t.get(notes, "sidecar.istio.io/logLevel"), t.get(notes, "sidecar.istio.io/componentLogLevel")
	arguments := t.arguments(proxy)
	config := c.proxyConfig(t.text(notes, "proxy.istio.io/config"))
	f.set("log_level", wasmLevel(arguments["level"], arguments["component"], t.text(level), t.text(components)))
	f.set("concurrency", cmp.Or(config, arguments["concurrency"]))
	out.Message = podMessage(p, out.Fields)
	c.put(t, out, n, t.get(n, "status", "reason"), components, level, t.get(n, "metadata", "name"))
}

func podMessage(p pod, f fields) string {
	m := "pod " + strings.TrimPrefix(p.namespace+"/"+p.name, "/")
	switch {
	case f["reason"] != "":
		m += fmt.Sprintf(" %s: %s", p.phase, f["reason"])
	case p.phase != "":
		m += " " + p.phase
	}
	if f["image"] != "" {
		m += ", proxy image " + f["image"]
	}
	if f["log_level"] != "" {
		m += ", wasm log level " + f["log_level"]
	}
	return m
}

// proxy is the container that runs Envoy, in the specification of a pod. Istio may run it as an init container that stays.
func (t *tree) proxy(n ref) ref {
	containers := slices.Collect(t.each(t.get(n, "spec", "containers")))
	containers = append(containers, slices.Collect(t.each(t.get(n, "spec", "initContainers")))...)
	i := proxyIndex(len(containers), func(i int) (string, string) { return t.text(containers[i], "name"), t.text(containers[i], "image") })
	if i < 0 {
		return none
	}
	return containers[i]
}

// proxyIndex picks the container that runs Envoy by its name, else by its image, else because it is the only one.
func proxyIndex(n int, at func(int) (name, image string)) int {
	for _, want := range []string{"istio-proxy", "envoy", "higress-gateway"} {
		for i := range n {
			if name, _ := at(i); name == want {
				return i
			}
		}
	}
	for i := range n {
		_, image := at(i)
		image = image[strings.LastIndexByte(image, '/')+1:]
		if strings.Contains(image, "envoy") || strings.HasPrefix(image, "proxyv2") {
			return i
		}
	}
	return min(n, 1) - 1
}

// flagNames are the flags of Envoy and of the Istio agent that matter here.
var flagNames = map[string]string{
	"--proxyLogLevel": "level", "--log-level": "level", "-l": "level",
	"--proxyComponentLogLevel": "component", "--component-log-level": "component",
	"--concurrency": "concurrency",
}

// arguments reads the command line of a container.
func (t *tree) arguments(container ref) map[string]string {
	var words []string
	for _, list := range []string{"command", "args"} {
		for w := range t.each(t.get(container, list)) {
			words = append(words, t.text(w))
		}
	}
	return arguments(words)
}

func arguments(words []string) map[string]string {
	found := map[string]string{}
	for i, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok && i+1 < len(words) {
			value = words[i+1]
		}
		if key := flagNames[name]; key != "" {
			found[key] = value
		}
	}
	return found
}

// proxyConfig reads the number of workers from the annotation proxy.istio.io/config, which is YAML.
func (c *collector) proxyConfig(text string) string {
	if text == "" || len(text) > maxHead {
		return ""
	}
	t, err := yamlTree([]byte(text))
	if err != nil || len(t.nodes) == 0 {
		return ""
	}
	return t.text(root, "concurrency")
}

// wasmLevel is the level that lines of a wasm plugin are logged from: `wasm:debug` in a list of components, else the general level.
// Later settings win. Istio accepts both in one value: `warning,wasm:debug`.
func wasmLevel(settings ...string) string {
	general, wasm := "", ""
	for _, setting := range settings {
		for item := range strings.SplitSeq(setting, ",") {
			component, level, ok := strings.Cut(strings.TrimSpace(item), ":")
			switch {
			case !ok && component != "":
				general = component
			case ok && component == "wasm":
				wasm = level
			}
		}
	}
	return cmp.Or(wasm, general)
}

// containerStatus is what became of a container. Its part is the whole status; when it has terminated twice, the earlier end, which is
// in lastState, is a part inside it.
func (c *collector) containerStatus(t *tree, n ref, p pod, word string, spec ref) {
	name := t.text(n, "name")
	state, last := t.get(n, "state"), t.get(n, "lastState", "terminated")
	now, waiting, running := t.object(state, "terminated"), t.object(state, "waiting"), t.object(state, "running")

	base := container{pod: p, word: word, name: name}
	base.image = cmp.Or(t.text(n, "image"), t.text(spec, "image"))
	base.ready, base.restarts = t.text(n, "ready"), t.text(n, "restartCount")
	base.limit = t.text(spec, "resources", "limits", "memory")
	base.waiting = t.text(waiting, "reason")

	ended := base.end(t, last, "last-terminated")
	switch {
	case now != none:
		c.put(t, base.end(t, now, "terminated").part(), n, t.get(now, "reason"), t.get(now, "exitCode"), now)
		if t.is(last, shapeObject) {
			c.put(t, ended.part(), t.get(n, "lastState"), t.get(last, "reason"), t.get(last, "exitCode"), last)
		}
	case t.is(last, shapeObject):
		ended.message = cmp.Or(ended.message, t.text(waiting, "message"))
		c.put(t, ended.part(), n, t.get(last, "reason"), t.get(last, "exitCode"), last)
	case waiting != none:
		base.state, base.message = "waiting", t.text(waiting, "message")
		c.put(t, base.part(), n, t.get(waiting, "reason"), waiting)
	case running != none:
		base.state, base.started = "running", t.text(running, "startedAt")
		c.put(t, base.part(), n, t.get(n, "name"))
	}
}

// container is the state of a container, whichever way it was printed.
type container struct {
	pod
	word, name, image, ready, restarts, limit, waiting string
	state                                              string // terminated, last-terminated, waiting, running
	reason, exit, started, finished, message           string
}

// end completes a container with the terminated state n.
func (s container) end(t *tree, n ref, state string) container {
	s.state = state
	s.reason, s.exit, s.message = t.text(n, "reason"), t.text(n, "exitCode"), t.text(n, "message")
	s.started, s.finished = t.text(n, "startedAt"), t.text(n, "finishedAt")
	return s
}

func (s container) part() Part {
	p := Part{Kind: "object", Namespace: s.namespace, Pod: s.pod.name, Container: s.name, Node: s.node, Time: parseTime(s.finished), Fields: fields{}}
	f := fields(p.Fields)
	f.set("object", "pod")
	f.set("object_name", s.pod.name)
	f.set("image", s.image)
	f.set("state", s.state)
	f.set("reason", s.reason)
	f.set("exit_code", s.exit)
	f.set("restart_count", s.restarts)
	f.set("ready", strings.ToLower(s.ready))
	f.set("phase", s.phase)
	f.set("memory_limit", s.limit)
	f.set("waiting", s.waiting)
	f.set("started_at", s.started)
	f.set("finished_at", s.finished)
	f.set("event_message", s.message)
	p.Message = s.sentence()
	return p
}

func (s container) sentence() string {
	m := s.word + " " + s.name
	switch s.state {
	case "running":
		return m + " running"
	case "waiting":
		return m + " waiting: " + cmp.Or(s.waiting, "unknown reason")
	}
	m += " terminated"
	if s.reason != "" {
		m += ": " + s.reason
	}
	if s.exit != "" {
		m += " (exit " + s.exit + ")"
	}
	if s.state == "last-terminated" && s.waiting != "" {
		m += ", now waiting: " + s.waiting
	}
	return m
}

// event is a Kubernetes event, whichever way it was printed.
type event struct {
	namespace, involved, name, field string
	reason, message, count, kind     string
	node                             string
}

var fieldPathContainer = regexp.MustCompile(`^spec\.(?:initContainers|containers|ephemeralContainers)\{(.+)\}$`)

func (c *collector) eventObject(t *tree, n ref) {
	// events.k8s.io/v1 says regarding and note where v1 says involvedObject and message.
	who := t.object(n, "involvedObject")
	if who == none {
		who = t.object(n, "regarding")
	}
	e := event{
		namespace: cmp.Or(t.text(who, "namespace"), t.text(n, "metadata", "namespace")),
		involved:  t.text(who, "kind"), name: t.text(who, "name"), field: t.text(who, "fieldPath"),
		reason: t.text(n, "reason"), message: cmp.Or(t.text(n, "message"), t.text(n, "note")), kind: t.text(n, "type"),
		count: cmp.Or(t.text(n, "series", "count"), t.text(n, "count"), t.text(n, "deprecatedCount")),
		node:  cmp.Or(t.text(n, "source", "host"), t.text(n, "deprecatedSource", "host")),
	}
	p := e.part()
	for _, path := range [][]string{{"series", "lastObservedTime"}, {"lastTimestamp"}, {"deprecatedLastTimestamp"}, {"eventTime"}, {"metadata", "creationTimestamp"}} {
		if p.Time.IsZero() {
			p.Time = parseTime(t.text(n, path...))
		}
	}
	c.put(t, p, n, t.get(n, "reason"))
}

func (e event) part() Part {
	p := Part{Kind: "object", Namespace: e.namespace, Node: e.node, Fields: fields{}}
	involved := strings.ToLower(e.involved)
	switch involved {
	case "pod":
		p.Pod = e.name
	case "node":
		p.Node = e.name
	}
	if m := fieldPathContainer.FindStringSubmatch(e.field); m != nil {
		p.Container = m[1]
	}
	f := fields(p.Fields)
	f.set("object", "event")
	f.set("object_name", e.name)
	f.set("involved", involved)
	f.set("reason", e.reason)
	f.set("event_message", e.message)
	f.set("count", e.count)
	f.set("type", e.kind)
	p.Message = fmt.Sprintf("event %s on %s %s: %s", cmp.Or(e.reason, "without reason"), cmp.Or(involved, "object"), e.name, e.message)
	if n, _ := strconv.Atoi(e.count); n > 1 {
		p.Message += fmt.Sprintf(" (%d times)", n)
	}
	return p
}

func (c *collector) nodeObject(t *tree, n ref) {
	for cond := range t.each(t.get(n, "status", "conditions")) {
		p, ok := condition{
			node: t.text(n, "metadata", "name"), name: t.text(cond, "type"), status: t.text(cond, "status"),
			reason: t.text(cond, "reason"), message: t.text(cond, "message"),
		}.part()
		if ok {
			p.Time = parseTime(t.text(cond, "lastTransitionTime"))
			c.put(t, p, cond, t.get(cond, "reason"), t.get(cond, "type"))
		}
	}
}

// condition is a condition of a node, whichever way it was printed.
type condition struct{ node, name, status, reason, message string }

// part is a part for MemoryPressure, and for anything else that is not as it should be.
func (d condition) part() (Part, bool) {
	good := "False"
	if d.name == "Ready" {
		good = "True"
	}
	if d.name == "" || d.name != "MemoryPressure" && d.status == good {
		return Part{}, false
	}
	p := Part{Kind: "object", Node: d.node, Fields: fields{}}
	f := fields(p.Fields)
	f.set("object", "node")
	f.set("object_name", d.node)
	f.set("condition", d.name)
	f.set("status", d.status)
	f.set("reason", d.reason)
	f.set("event_message", d.message)
	p.Message = fmt.Sprintf("node %s %s is %s: %s", d.node, d.name, d.status, d.reason)
	return p, true
}

// configMap looks for Envoy configurations among the texts of a ConfigMap.
func (c *collector) configMap(t *tree, n ref) {
	for v := range t.each(t.get(n, "data")) {
		text := t.nodes[v].text
		if !looksString(text) {
			continue
		}
		if c.embedded++; c.embedded > maxEmbedded {
			c.warn("only the first %d configurations in ConfigMaps were read", maxEmbedded)
			return
		}
		inner := embeddedTree(text)
		if inner == nil || !inner.isEnvoy(root) {
			continue
		}
		inner.move(t.embedded(c.data, v))
		extra := fields{"declared_by": "configmap", "object_name": clean(t.text(n, "metadata", "name")), "key": clean(t.nodes[v].key)}
		c.walk(inner, root, place{holder: none, namespace: t.text(n, "metadata", "namespace"), extra: extra})
	}
}

func looksString(text string) bool {
	return text != "" && Looks([]byte(text[:min(len(text), maxHead)]))
}

// embeddedTree reads a document that is a text in another one.
func embeddedTree(text string) *tree {
	if first := skipSpace(text, 0); text[first] == '{' || text[first] == '[' {
		if t, _, err := readValue(text, first, maxNodes/10); err == nil {
			return t
		}
		return nil
	}
	t, err := yamlTree([]byte(text))
	if err != nil || len(t.nodes) == 0 {
		return nil
	}
	return t
}

func (c *collector) wasmPlugin(t *tree, n ref) {
	c.istioPlugin(t, n, t.get(n, "spec"), "wasmplugin")
}

// trafficExtension is what follows WasmPlugin from Istio 1.30 on: the same below spec.wasm.
func (c *collector) trafficExtension(t *tree, n ref) {
	if wasm := t.object(n, "spec", "wasm"); wasm != none {
		c.istioPlugin(t, n, wasm, "trafficextension")
	}
}

func (c *collector) istioPlugin(t *tree, n, wasm ref, kind string) {
	p := t.part("config", n)
	name, spec := t.text(n, "metadata", "name"), t.get(n, "spec")
	f := fields(p.Fields)
	f.set("object", kind)
	f.set("object_name", name)
	// istiod calls the plugin by namespace and name (pilot/pkg/model/extensions.go), and so do the log lines.
	f.set("plugin", strings.TrimPrefix(p.Namespace+"."+name, "."))
	f.set("root_id", t.text(wasm, "pluginName"))
	f.set("url", t.text(wasm, "url"))
	f.set("code", t.text(wasm, "url"))
	f.set("sha256", t.text(wasm, "sha256"))
	f.policy(t.text(wasm, "failStrategy"), "")
	f.set("phase", cmp.Or(t.text(wasm, "phase"), t.text(spec, "phase")))
	f.set("priority", cmp.Or(t.text(wasm, "priority"), t.text(spec, "priority")))
	f.set("has_config", strconv.FormatBool(t.hasPluginConfig(wasm)))
	f.set("has_workload_selector", strconv.FormatBool(t.selects(spec)))
	f.set("default_config_disabled", t.text(wasm, "defaultConfigDisable"))
	f.set("vm_env", t.names(t.get(wasm, "vmConfig", "env")))
	f.set("selector", t.labels(t.get(spec, "selector", "matchLabels")))
	f.set("targets", t.targets(spec))
	f.set("traffic", t.traffic(t.get(spec, "match")))
	f.set("image_pull_policy", t.text(wasm, "imagePullPolicy"))
	f.set("image_pull_secret", t.text(wasm, "imagePullSecret"))
	p.module = digest(t.text(wasm, "url"), t.text(wasm, "sha256"))
	p.Message = fmt.Sprintf("%s %s loads %s, %s", t.text(n, "kind"), f["plugin"], cmp.Or(f["url"], "nothing"), f["fail_policy"])
	c.put(t, p, n, t.get(wasm, "url"), t.get(n, "metadata", "name"))
}

// hasPluginConfig knows Istio's pluginConfig and the configurations for all and for some routes that Higress has instead.
func (t *tree) hasPluginConfig(spec ref) bool {
	if t.filled(t.get(spec, "pluginConfig")) || t.filled(t.get(spec, "defaultConfig")) {
		return true
	}
	for rule := range t.each(t.get(spec, "matchRules")) {
		if t.filled(t.get(rule, "config")) {
			return true
		}
	}
	return false
}

// selects says whether a resource is for some workloads only.
func (t *tree) selects(spec ref) bool {
	return t.filled(t.get(spec, "selector", "matchLabels")) || t.filled(t.get(spec, "workloadSelector", "labels")) ||
		t.filled(t.get(spec, "targetRef")) || t.filled(t.get(spec, "targetRefs"))
}

// targets names what a resource is attached to.
func (t *tree) targets(spec ref) string {
	targets := t.get(spec, "targetRefs")
	if targets == none {
		targets = t.get(spec, "targetRef")
	}
	if !t.filled(targets) {
		return ""
	}
	return cmp.Or(t.names(targets), t.text(targets, "name"), "unnamed")
}

// traffic writes down for which traffic of its workloads a WasmPlugin is: `SERVER:8080,CLIENT`.
func (t *tree) traffic(match ref) string {
	var list []string
	for m := range t.each(match) {
		mode := cmp.Or(t.text(m, "mode"), "CLIENT_AND_SERVER")
		ports := false
		for p := range t.each(t.get(m, "ports")) {
			list, ports = append(list, mode+":"+t.text(p, "number")), true
		}
		if !ports {
			list = append(list, mode)
		}
	}
	return strings.Join(list, ",")
}

// labels writes down what a selector asks for: `app=edge,track=canary`.
func (t *tree) labels(n ref) string {
	var list []string
	for l := range t.each(n) {
		list = append(list, t.nodes[l].key+"="+t.text(l))
	}
	return strings.Join(list, ",")
}

// names lists the names of environment variables. Values may be secrets and are not needed.
func (t *tree) names(list ref) string {
	var names []string
	for item := range t.each(list) {
		names = append(names, cmp.Or(t.text(item, "name"), t.text(item)))
	}
	return strings.Join(names, ",")
}

func (c *collector) envoyFilter(t *tree, n ref) {
	spec := t.get(n, "spec")
	for patch := range t.each(t.get(spec, "configPatches")) {
		extra := fields{"declared_by": "envoyfilter"}
		extra.set("object_name", t.text(n, "metadata", "name"))
		extra.set("apply_to", t.text(patch, "applyTo"))
		extra.set("context", cmp.Or(t.text(patch, "match", "context"), "ANY"))
		extra.set("operation", t.text(patch, "patch", "operation"))
		filter := t.get(patch, "match", "listener", "filterChain", "filter")
		extra.set("match_filter", t.text(filter, "name"))
		extra.set("match_subfilter", t.text(filter, "subFilter", "name"))
		extra.set("selector", t.labels(t.get(spec, "workloadSelector", "labels")))
		extra.set("targets", t.targets(spec))
		extra.set("has_workload_selector", strconv.FormatBool(t.selects(spec)))
		c.walk(t, t.get(patch, "patch", "value"), place{holder: none, namespace: t.text(n, "metadata", "namespace"), extra: extra})
	}
}

// extensionPolicy is Envoy Gateway's way to load a plugin.
func (c *collector) extensionPolicy(t *tree, n ref) {
	i := 0
	for wasm := range t.each(t.get(n, "spec", "wasm")) {
		p := t.part("config", n)
		name := t.text(n, "metadata", "name")
		// The gateway names VM and filter so, and the plugin too when the policy gives it no name.
		id := fmt.Sprintf("envoyextensionpolicy/%s/%s/wasm/%d", p.Namespace, name, i)
		i++
		f := fields(p.Fields)
		f.set("object", "envoyextensionpolicy")
		f.set("object_name", name)
		f.set("plugin", cmp.Or(t.text(wasm, "name"), id))
		f.set("filter", "envoy.filters.http.wasm/"+id)
		f.set("vm_id", id)
		f.set("root_id", t.text(wasm, "rootID"))
		code := t.object(wasm, "code", "image")
		if code == none {
			code = t.object(wasm, "code", "http")
		}
		f.set("url", t.text(code, "url"))
		f.set("code", t.text(code, "url"))
		f.set("sha256", t.text(code, "sha256"))
		f.policy("", t.text(wasm, "failOpen"))
		f.set("has_config", strconv.FormatBool(t.filled(t.get(wasm, "config"))))
		f.set("has_workload_selector", strconv.FormatBool(t.selects(t.get(n, "spec"))))
		f.set("vm_env", t.names(t.get(wasm, "env", "hostKeys")))
		p.Message = fmt.Sprintf("EnvoyExtensionPolicy plugin %s loads %s, %s", f["plugin"], cmp.Or(f["url"], "nothing"), f["fail_policy"])
		c.put(t, p, wasm, t.get(code, "url"), t.get(wasm, "name"))
	}
}
