// Package document recognises a structured document by its content and turns it into [Part]s that rules can match.
//
// What goes in are the bytes of one file, unpacked: a Kubernetes object in JSON or YAML (also a List, a stream of objects, several
// YAML documents), an Envoy configuration (bootstrap, /config_dump, xDS resources, /server_info), the text of `kubectl describe`,
// the table of `kubectl get events`, what docker, podman, crictl and ECS say about containers. What comes out is a [Document]: what it is, and one Part for each thing in it that matters when a
// filter has failed: the last state of a container, an event, the configuration of a wasm plugin. Every Part points at a line of
// the file, so that a finding can quote what the user can look up.
//
// Call [Looks] with the first bytes of a file and, when it says yes, [Parse] with all of it.
//
// A log is never a document, not even when its lines are JSON: Parse wants one JSON value, or nothing but Kubernetes objects. A
// document that was cut off gives the parts that were read before the cut, and a warning.
//
// What this package does not do: it does not judge what it reads, resolves no reference (an ECDS name, a Secret, a YAML alias
// other than a merge key), and reads only the first [MaxBytes].
//
// # Fields
//
// Every Part has the field object, which says what it is. An empty value is left out; a switch that Envoy defaults to false is given
// only when the document sets it. Values are cut at 2 KiB.
//
// Parts of kind "object":
//
//	object=pod            Container empty: object_name app image phase reason event_message log_level concurrency
//	object=pod            Container set: object_name image state reason exit_code restart_count ready phase memory_limit waiting
//	                      started_at finished_at event_message
//	object=event          object_name involved reason event_message count type
//	object=node           object_name condition status reason event_message
//
// Parts of kind "config":
//
//	object=plugin         plugin filter extension listener root_id vm_id vm_key vm_env runtime code url sha256 fail_policy
//	                      fail_policy_default has_config allow_precompiled nack_on_code_cache_miss capability_restricted rejected
//	                      fail_open failure_policy has_sha256 fetch_cluster fetch_timeout fetch_cluster_unknown filters_before
//	                      filters_after vm_id_other_code sibling_root_ids sibling_configured
//	object=wasmplugin|trafficextension|envoyextensionpolicy
//	                      object_name plugin filter root_id vm_id vm_env code url sha256 fail_policy fail_policy_default phase priority
//	                      has_config has_workload_selector default_config_disabled selector targets traffic image_pull_policy
//	                      image_pull_secret sibling_root_ids sibling_configured
//	object=discovery      filter has_default (only in an EnvoyFilter: a plugin that comes by ECDS under the filter's name)
//	object=runtime        layer runtime_key runtime_value
//	object=bootstrap      admin_address concurrency envoy_version istio_version node_id wasm_plugins wasm_vms
//	                      wasm_vm_total
//	object=rejected       object_name type_url event_message
//	object=server         envoy_version state uptime concurrency log_level component_log_level
//
// Those that come from a Kubernetes object which holds a piece of Envoy configuration also have
//
//	declared_by=envoyfilter  object_name apply_to context operation has_workload_selector selector targets match_filter
//	                         match_subfilter
//	declared_by=configmap    object_name key
//
// What is meant by some of them:
//   - state: running, waiting, terminated, or last-terminated when the end is told by lastState. waiting is the reason of the state now.
//   - log_level: from where the lines of a wasm plugin are logged: wasm in the component levels, else the general level.
//   - plugin: the name in the log lines. For a WasmPlugin "<namespace>.<name>", as istiod calls it.
//   - extension: http-filter, network-filter, access-logger, stats-sink, bootstrap.
//   - code: the local file, "inline", or the address of a remote module (then also url).
//   - fail_policy: FAIL_OPEN, FAIL_CLOSED or FAIL_RELOAD, whatever the document calls it; fail_policy_default when it says nothing.
//   - vm_env: names of environment variables, comma separated. Their values may be secrets.
//   - vm_key: equal for plugins that share a VM (vm_id, runtime, code and VM configuration). wasm_vms counts the different ones without
//     the null runtime: every thread has so many VMs.
//   - rejected=true: the plugin stands in a configuration that Envoy refused, so it does not run.
package document

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxBytes is how much of a document is read. What follows is left out, with a warning.
const MaxBytes = 32 << 20

// Bounds for hostile input. A document that hits one says so in its warnings.
const (
	maxHead     = 64 << 10  // what Looks reads
	maxDepth    = 200       // levels of nesting; kubectl and Envoy stay below 60
	maxNodes    = 2_000_000 // values in memory at a time
	maxParts    = 100_000
	maxEmbedded = 1000    // documents inside texts of a document
	maxText     = 2 << 10 // bytes of a field; a termination message has at most 4 KiB
)

// The values of [Document.Kind].
const (
	KindObject = "k8s-object"
	KindConfig = "envoy-config"
)

// Part is one thing a document says: a container's last state, an event, the configuration of a wasm plugin.
type Part struct {
	// Start and End are the bytes that belong to it. Parts nest or are apart; of those that contain an offset the innermost is meant.
	Start, End int64
	// Offset is where the physical line starts that says it best (the `reason:` line of a terminated container), Line its number,
	// 1-based. In a document without newlines that is the start of the document, which may lie before Start.
	Offset, Line int64
	Kind         string    // "object" (Kubernetes) or "config" (Envoy, Istio)
	Time         time.Time // finishedAt, lastTimestamp, last_update_attempt …; zero when absent or only relative ("5m ago")

	Namespace, Pod, Container, Node string // as far as the document tells

	Fields  map[string]string // see the package comment
	Message string            // one line in the field's words: `container istio-proxy terminated: OOMKilled (exit 137)`

	module string // tells the code of one plugin from that of another
}

// Document is what was recognised.
type Document struct {
	Kind     string // KindObject or KindConfig
	Format   string // "json", "yaml", "kubectl-describe", "kubectl-events"
	Parts    []Part // by Start, an outer part before those inside it; may be empty: a Service is a document too
	Warnings []string
}

// Looks says whether data that starts with head may be a document. It is cheap, reads at most 64 KiB, and errs on the side of yes.
func Looks(head []byte) bool {
	head = head[:min(len(head), maxHead)]
	head = head[bom(head):]
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 || bytes.IndexByte(head[:min(len(head), 4096)], 0) >= 0 {
		return false
	}
	if text[0] == '{' || text[0] == '[' {
		return containsAny(text, jsonMarks)
	}
	return looksTable(text) || looksDescribe(text) || looksYAML(head)
}

// Parse reads a document. It returns false when data is none: a log, an access log in JSON lines, plain text, somebody else's JSON.
func Parse(data []byte) (Document, bool) {
	if !Looks(data) {
		return Document{}, false
	}
	c := &collector{data: data}
	if len(data) > MaxBytes {
		c.data = data[:MaxBytes]
		c.warn("only the first %d MiB were read", MaxBytes>>20)
	}
	if !c.read() {
		return Document{}, false
	}
	c.finish()
	return c.doc, true
}

// collector gathers the parts of one document.
type collector struct {
	data []byte
	doc  Document

	embedded       int    // documents inside texts that were parsed
	namespace, pod string // who the proxy says it is, in a bootstrap; for parts that do not tell

	clusters  []string // static ones of a bootstrap
	discovers bool     // it gets others from somewhere
}

func (c *collector) read() bool {
	text := bytes.TrimLeft(c.data[bom(c.data):], " \t\r\n")
	switch {
	case text[0] == '{' || text[0] == '[':
		c.doc.Format = "json"
		return c.readJSON()
	case looksTable(text):
		c.doc.Kind, c.doc.Format = KindObject, "kubectl-events"
		return c.readEvents()
	case looksDescribe(text):
		c.doc.Kind, c.doc.Format = KindObject, "kubectl-describe"
		return c.readDescribe()
	}
	c.doc.Format = "yaml"
	return c.readYAML()
}

func (c *collector) warn(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	if len(c.doc.Warnings) < 20 && !slices.Contains(c.doc.Warnings, w) {
		c.doc.Warnings = append(c.doc.Warnings, w)
	}
}

// add appends a part that spans start to end and is said best at offset best; finish turns best into the start of its line.
func (c *collector) add(p Part, start, end, best int) {
	start, end = max(start, 0), min(end, len(c.data))
	if start >= end || best >= end {
		return
	}
	if len(c.doc.Parts) == maxParts {
		c.warn("only the first %d parts are listed", maxParts)
		return
	}
	p.Start, p.End, p.Offset = int64(start), int64(end), int64(max(best, start))
	p.Namespace, p.Pod, p.Container, p.Node = clean(p.Namespace), clean(p.Pod), clean(p.Container), clean(p.Node)
	p.Message = clean(p.Message)
	c.doc.Parts = append(c.doc.Parts, p)
}

// finish completes what is known only at the end: line numbers, the proxy's identity, the sums of a bootstrap.
func (c *collector) finish() {
	parts := c.doc.Parts
	slices.SortStableFunc(parts, func(a, b Part) int { return cmp.Compare(a.Offset, b.Offset) })
	line, start, seen := int64(1), int64(0), int64(0)
	for i := range parts {
		between := c.data[seen:parts[i].Offset]
		seen = parts[i].Offset
		if last := bytes.LastIndexByte(between, '\n'); last >= 0 {
			line += int64(bytes.Count(between, []byte{'\n'}))
			start = seen - int64(len(between)) + int64(last) + 1
		}
		parts[i].Offset, parts[i].Line = start, line
	}
	slices.SortStableFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(b.End, a.End))
	})
	c.sumUp()
}

// sumUp fills in what a part knows only from others: a configuration dump belongs to one proxy and is one set of VMs.
func (c *collector) sumUp() {
	plugins, vms := 0, map[string]bool{}
	for i := range c.doc.Parts {
		p := &c.doc.Parts[i]
		if p.Kind == "config" && p.Pod == "" && c.doc.Kind == KindConfig {
			p.Pod, p.Namespace = c.pod, cmp.Or(p.Namespace, c.namespace)
		}
		if p.Fields["object"] == "plugin" && p.Fields["rejected"] == "" {
			plugins++
			if p.Fields["runtime"] != nullRuntime {
				vms[p.Fields["vm_key"]] = true
			}
		}
	}
	for i := range c.doc.Parts {
		if f := c.doc.Parts[i].Fields; f["object"] == "bootstrap" && c.doc.Kind == KindConfig {
			f["wasm_plugins"], f["wasm_vms"] = strconv.Itoa(plugins), strconv.Itoa(len(vms))
			// The base VM, the main thread's and one for each worker: docs/verified.md, "How many VMs".
			if workers, _ := strconv.Atoi(f["concurrency"]); workers > 0 && workers < 10_000 {
				f["wasm_vm_total"] = strconv.Itoa(len(vms) * (workers + 2))
			}
		}
	}
	c.compare()
}

// compare fills in how a plugin differs from others of the document: their code under its vm_id, what they give to its code.
func (c *collector) compare() {
	type code struct {
		roots      []string
		configured bool
	}
	codes, ids := map[string]*code{}, map[string]string{}
	several := map[string]bool{} // vm_ids with more than one module
	each := func(do func(p *Part)) {
		for i := range c.doc.Parts {
			if p := &c.doc.Parts[i]; p.module != "" && p.Fields["code"] != "" && p.Fields["rejected"] == "" {
				do(p)
			}
		}
	}
	each(func(p *Part) {
		m := codes[p.module]
		if m == nil {
			m = &code{}
			codes[p.module] = m
		}
		if r := p.Fields["root_id"]; r != "" && len(m.roots) < 5 && !slices.Contains(m.roots, r) {
			m.roots = append(m.roots, r)
		}
		m.configured = m.configured || p.Fields["has_config"] == "true"
		if id := p.Fields["vm_id"]; id != "" && p.Fields["declared_by"] != "envoyfilter" { // whether two patches meet in a proxy is not known here
			if first, seen := ids[id]; seen && first != p.module {
				several[id] = true
			} else if !seen {
				ids[id] = p.module
			}
		}
	})
	each(func(p *Part) {
		f, m := fields(p.Fields), codes[p.module]
		if f["root_id"] == "" {
			f.set("sibling_root_ids", strings.Join(m.roots, ","))
		}
		if f["has_config"] == "false" && m.configured {
			f.set("sibling_configured", "true")
		}
		if several[f["vm_id"]] && f["declared_by"] != "envoyfilter" {
			f.set("vm_id_other_code", "true")
		}
		if name := f["fetch_cluster"]; name != "" && c.clusters != nil && !c.discovers && !slices.Contains(c.clusters, name) {
			f.set("fetch_cluster_unknown", "true")
		}
	})
}

// fields are the fields of a part under construction.
type fields map[string]string

// set keeps a value unless it is empty.
func (f fields) set(key, value string) {
	if value != "" {
		f[key] = clean(value)
	}
}

// clean gives a copy of s that fits on a line and does not keep the whole document in memory.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.ContainsFunc(s, isControl) {
		s = strings.Join(strings.FieldsFunc(s, isControl), " ")
	}
	return strings.Clone(strings.TrimSpace(s))
}

func isControl(r rune) bool {
	return r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == '\u0085'
}

// digest is a short name for a combination of values.
func digest(values ...string) string {
	h := sha256.New()
	for _, v := range values {
		fmt.Fprintf(h, "%d:%s", len(v), v)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func bom(b []byte) int {
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		return 3
	}
	return 0
}

func containsAny(b []byte, words []string) bool {
	for _, w := range words {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

// parseTime reads the timestamps of Kubernetes and of protobuf JSON; zero when s is none.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}
