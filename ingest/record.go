package ingest

import (
	"strconv"
	"time"
)

// RecordKind says what wrote a record. A log file holds several kinds: Envoy's own lines, the access log, the Istio agent.
type RecordKind uint8

const (
	KindText   RecordKind = iota // text in no known dialect
	KindLog                      // a line of Envoy's application log
	KindAccess                   // a line of an access log
	KindAgent                    // pilot-agent, istiod or another control plane component
	KindStat                     // one line of admin /stats, text or Prometheus
	KindObject                   // a part of a Kubernetes object
	KindConfig                   // a part of an Envoy or Istio configuration
)

var recordKinds = [...]string{"text", "log", "access", "agent", "stat", "object", "config"}

// String gives the word that rules use in `kind:`.
func (k RecordKind) String() string { return recordKinds[k] }

// ParseRecordKind is the inverse of [RecordKind.String].
func ParseRecordKind(s string) (RecordKind, bool) {
	for i, w := range recordKinds {
		if w == s {
			return RecordKind(i), true
		}
	}
	return 0, false
}

// Level is the severity a record was written with. LevelUnknown is not below anything: a rule that asks for a level accepts a
// record whose dialect does not tell it.
type Level uint8

const (
	LevelUnknown Level = iota
	LevelTrace
	LevelDebug
	LevelInfo
	LevelWarning
	LevelError
	LevelCritical
	LevelOff
)

var levels = [...]string{"", "trace", "debug", "info", "warning", "error", "critical", "off"}

// String gives Envoy's word for the level (spdlog's `%l`), empty when it is unknown.
func (l Level) String() string { return levels[l] }

// ParseLevel understands Envoy's words and those of the Istio agent, klog and common shippers ("warn", "err", "fatal", "CRITICAL").
func ParseLevel(s string) Level {
	if len(s) > maxLevel {
		return LevelUnknown
	}
	return levelOf([]byte(s))
}

const maxLevel = len("information")

// levelOf is [ParseLevel] for a piece of a line. It runs on every candidate line and must not allocate.
func levelOf(w []byte) Level {
	if len(w) < 3 || len(w) > maxLevel {
		return LevelUnknown
	}
	var l [maxLevel]byte
	for i, c := range w {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		l[i] = c
	}
	switch string(l[:len(w)]) {
	case "trace", "trc", "trac":
		return LevelTrace
	case "debug", "dbg", "debu":
		return LevelDebug
	case "info", "information", "notice", "inf":
		return LevelInfo
	case "warning", "warn", "wrn":
		return LevelWarning
	case "error", "err", "erro":
		return LevelError
	case "critical", "fatal", "crit", "panic", "emerg", "alert", "fata", "pani": // logrus has four letters
		return LevelCritical
	case "off":
		return LevelOff
	}
	return LevelUnknown
}

// Access is a parsed access log entry. Fields that the format does not carry are empty, numbers -1.
type Access struct {
	Method, Path string
	Status       int           // HTTP status sent to the client; 0 when the client left first
	Flags        string        // response flags: "-", "UF,URX", "DC"
	Details      string        // response code details, e.g. "wasm_fail_stream"
	Upstream     string        // upstream host, "-" when none was chosen
	Duration     time.Duration // as logged; -1 when absent
	BytesSent    int64
}

// Record is one event: the lines that one writer wrote at once, unwrapped and parsed. It shares no memory with the block that it was cut from.
type Record struct {
	Input  *Input
	Offset int64  // byte offset of the first physical line in the unpacked member
	Line   int64  // number of that line, 1-based
	Lines  int    // physical lines from the first to the last that belong to the record
	Raw    string // the first physical line as it stands in the input, wrapper included, line end excluded

	Kind    RecordKind
	Time    time.Time // zero when the record tells none
	Zoned   bool      // the time named its zone (or came from a wrapper that does); otherwise UTC was assumed
	Level   Level
	Logger  string // Envoy's logger ("wasm", "main") or the agent's scope; empty when unknown
	Caller  string // "source/extensions/common/wasm/wasm.cc:104"
	Thread  string // Envoy's thread id; empty when the dialect has none
	Message string // text without wrapper and header, continuation lines joined by "\n", escapes undone

	Pod, Namespace, Container, Node string // from the wrapper; empty when it does not tell (see also Input.Identity)

	Document *Document // where the first line is from, when that is no file; set by who keeps the record

	Access *Access           // for KindAccess
	Fields map[string]string // for KindStat, KindObject and KindConfig
}

// Field returns a typed field by the name that rules use, and whether the record has it.
func (r *Record) Field(name string) (string, bool) {
	switch name {
	case "kind":
		return r.Kind.String(), true
	case "level":
		return r.Level.String(), r.Level != LevelUnknown
	case "logger":
		return r.Logger, r.Logger != ""
	case "caller":
		return r.Caller, r.Caller != ""
	case "thread":
		return r.Thread, r.Thread != ""
	case "message":
		return r.Message, true
	case "pod":
		return r.Pod, r.Pod != ""
	case "namespace":
		return r.Namespace, r.Namespace != ""
	case "container":
		return r.Container, r.Container != ""
	case "node":
		return r.Node, r.Node != ""
	}
	if a := r.Access; a != nil {
		switch name {
		case "method":
			return a.Method, a.Method != ""
		case "path":
			return a.Path, a.Path != ""
		case "status":
			return strconv.Itoa(a.Status), a.Status >= 0
		case "flags":
			return a.Flags, a.Flags != ""
		case "details":
			return a.Details, a.Details != ""
		case "upstream":
			return a.Upstream, a.Upstream != ""
		case "bytes_sent":
			return strconv.FormatInt(a.BytesSent, 10), a.BytesSent >= 0
		case "duration_ms":
			return strconv.FormatInt(a.Duration.Milliseconds(), 10), a.Duration >= 0
		}
	}
	v, ok := r.Fields[name]
	return v, ok
}

// FieldNames lists every name that [Record.Field] knows for log and access records; stat and object records add their own.
// rules lint uses it to refuse a misspelt field.
var FieldNames = []string{
	"kind", "level", "logger", "caller", "thread", "message", "pod", "namespace", "container", "node",
	"method", "path", "status", "flags", "details", "upstream", "duration_ms", "bytes_sent",
	// stats
	"name", "value",
	// Kubernetes objects and configuration
	"object", "object_name", "app", "image", "state", "reason", "exit_code", "restart_count", "phase", "ready", "waiting", "memory_limit",
	"started_at", "finished_at", "event_message", "involved", "count", "type", "condition", "log_level", "concurrency",
	"plugin", "filter", "extension", "listener", "root_id", "vm_id", "vm_key", "vm_env", "runtime", "code", "url", "sha256", "fail_policy",
	"fail_policy_default", "has_config", "allow_precompiled", "nack_on_code_cache_miss", "capability_restricted", "rejected", "declared_by",
	"apply_to", "context", "operation", "has_workload_selector", "key", "priority", "default_config_disabled", "layer", "runtime_key",
	"runtime_value", "admin_address", "envoy_version", "istio_version", "node_id", "wasm_plugins", "wasm_vms", "type_url", "uptime",
	"component_log_level", "fail_open", "failure_policy", "has_sha256", "fetch_cluster", "fetch_timeout", "fetch_cluster_unknown",
	"filters_before", "filters_after", "vm_id_other_code", "sibling_root_ids", "sibling_configured", "selector", "targets", "traffic", "has_default",
	"image_pull_policy", "image_pull_secret", "match_filter", "match_subfilter", "wasm_vm_total",
}
