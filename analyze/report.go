package analyze

import "time"

// Schema names the version of the JSON report. Fields are added under the same name, never renamed or given another meaning.
const Schema = "wasmortem.report/1"

// Report is the result of one analysis: everything that any output format needs. Its JSON form is public
// (reports/report.schema.json). Slices are never nil, unknown scalars are omitted.
type Report struct {
	Schema      string     `json:"schema"`
	Tool        Tool       `json:"tool"`
	Inputs      []Input    `json:"inputs"`              // at most [MaxInputs]
	InputsTotal int        `json:"inputs_total"`        // how many there were
	Incidents   []Incident `json:"incidents"`           // by severity, then first_seen; empty when healthy
	Redaction   *Redaction `json:"redaction,omitempty"` // what was taken out; nil when nothing was to be
	Stats       Stats      `json:"stats"`
}

// MaxInputs is how many inputs a report lists.
const MaxInputs = 10_000

// Tool says what produced the report.
type Tool struct {
	Version   string   `json:"version"`
	Commit    string   `json:"commit,omitempty"`
	Rules     string   `json:"rules"` // sha256 of the rules in force, hex
	Overrides []string `json:"overrides"`
}

// Input is one unpacked member of what was given.
type Input struct {
	Path     string   `json:"path"`
	Kind     string   `json:"kind"`
	Format   string   `json:"format,omitempty"`
	Bytes    int64    `json:"bytes"`
	Lines    int64    `json:"lines"`
	Records  int64    `json:"records"` // records that held a rule's literal and were therefore cut and parsed
	First    *Time    `json:"first,omitempty"`
	Last     *Time    `json:"last,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`
	Warnings []string `json:"warnings"`
	Error    string   `json:"error,omitempty"`
}

// Incident is one failure, over all workers and pods it hit, with its consequences set apart.
type Incident struct {
	ID           string        `json:"id"`              // fingerprint: cause, plugin, callback, trap kind, panic location or first user function
	Known        bool          `json:"known,omitempty"` // it is in the baseline that was given
	RootCause    string        `json:"root_cause"`
	Title        string        `json:"title"`
	Confidence   float64       `json:"confidence"` // 0…1: how often such a diagnosis is right, measured on the corpus
	Severity     Severity      `json:"severity"`
	Subject      Subject       `json:"subject"`
	FirstSeen    *Time         `json:"first_seen,omitempty"`
	LastSeen     *Time         `json:"last_seen,omitempty"`
	Count        int64         `json:"count"` // how often the root failure was seen
	Evidence     []Evidence    `json:"evidence"`
	EvidenceAll  int64         `json:"evidence_total"`
	Contributing []string      `json:"contributing"`
	Alternatives []Alternative `json:"alternatives"`
	Unknowns     []Unknown     `json:"unknowns"`
	Impact       Impact        `json:"impact"`
	Timeline     Timeline      `json:"timeline"`
	Spread       []Spread      `json:"spread"` // how the failure went from pod to pod, in order of time; at most [MaxSpread]
	Stack        []Frame       `json:"stack"`
	Symbols      *Symbols      `json:"symbols,omitempty"` // which module the lines come from; nil when none was there
	Explained    []string      `json:"explained"`         // sentences that put words to numbers of this incident (a host status, an import)
	Runbook      Runbook       `json:"runbook"`
}

// Severity orders incidents: critical (the process died, or every request of a listener or worker fails), error (a plugin failed
// and requests fail), warning (degraded or refused), info (a remark; an input with nothing above it is healthy).
type Severity string

const (
	Critical Severity = "critical"
	Error    Severity = "error"
	Warning  Severity = "warning"
	Info     Severity = "info"
)

// Rank is 3 for critical down to 0 for info and anything unknown.
func (s Severity) Rank() int {
	switch s {
	case Critical:
		return 3
	case Error:
		return 2
	case Warning:
		return 1
	}
	return 0
}

// Subject is what is known of what failed.
type Subject struct {
	Plugin       string   `json:"plugin,omitempty"`
	RootID       string   `json:"root_id,omitempty"`
	VMID         string   `json:"vm_id,omitempty"`
	Module       string   `json:"module,omitempty"`
	Cluster      string   `json:"cluster,omitempty"`
	Namespaces   []string `json:"namespaces"`
	Pods         []string `json:"pods"`
	Nodes        []string `json:"nodes"`
	Workers      []string `json:"workers"` // thread ids, "pod/thread" when several pods are hit
	Engine       string   `json:"engine,omitempty"`
	EnvoyVersion string   `json:"envoy_version,omitempty"`
	IstioVersion string   `json:"istio_version,omitempty"`
	Callback     string   `json:"callback,omitempty"`
	Function     string   `json:"function,omitempty"`
	Location     string   `json:"location,omitempty"`
	Trap         string   `json:"trap,omitempty"`
	Message      string   `json:"message,omitempty"` // what the guest or the engine said, one line
	Import       string   `json:"import,omitempty"`
}

// Evidence is one record that speaks for or against the diagnosis.
type Evidence struct {
	Source    string `json:"source"`
	Document  string `json:"document,omitempty"` // the line's in Elasticsearch, "INDEX/_doc/ID"; then line and offset are those of the shipped file, if known
	Line      int64  `json:"line,omitempty"`     // 1-based, the first of a multi-line record
	Lines     int    `json:"lines,omitempty"`    // how many, when more than one
	Offset    int64  `json:"offset"`
	Time      *Time  `json:"time,omitempty"`
	Message   string `json:"message,omitempty"` // the whole record unwrapped, continuation lines joined, cut at 4 KiB
	Pod       string `json:"pod,omitempty"`
	Text      string `json:"text"` // the raw physical line, wrapper included, invalid UTF-8 as U+FFFD
	Truncated bool   `json:"truncated,omitempty"`
	Redacted  bool   `json:"redacted,omitempty"` // Text is the line after secrets were taken out of it
	Rule      string `json:"rule"`
	Role      string `json:"role"` // cause, consequence, context, against

	// The physical lines that stand directly before and after the record in its input, whatever wrote them: at most three each, and only
	// those that lie within 2 KiB of it. Parts of structured documents have none.
	Before []string `json:"before"`
	After  []string `json:"after"`
}

// Alternative is another cause that was considered.
type Alternative struct {
	RootCause  string  `json:"root_cause"`
	Confidence float64 `json:"confidence"`
	WhyNot     string  `json:"why_not"`
}

// Unknown is what could not be decided, and the command that would collect it.
type Unknown struct {
	What    string `json:"what"`
	Command string `json:"command,omitempty"`
}

// Impact is what the failure did to requests and pods, as far as the inputs tell.
type Impact struct {
	RequestsFailed int64 `json:"requests_failed"`
	Pods           int   `json:"pods"`
	From           *Time `json:"from,omitempty"`
	To             *Time `json:"to,omitempty"`
}

// Timeline counts an incident over time, in at most 128 steps of equal length: what a plot needs. Records without a time are not in it.
type Timeline struct {
	From        *Time   `json:"from,omitempty"`         // the beginning of the first step
	StepSeconds float64 `json:"step_seconds,omitempty"` // how long each step is
	Failures    []int64 `json:"failures"`               // how often the root failure was seen in each step
	Requests    []int64 `json:"requests_failed"`        // requests that failed in each step, counted as in Impact; as many steps
}

// MaxSpread is how many pods an incident's spread lists.
const MaxSpread = 500

// Spread is what one pod saw of an incident.
type Spread struct {
	Pod       string `json:"pod"`
	FirstSeen *Time  `json:"first_seen,omitempty"`
	LastSeen  *Time  `json:"last_seen,omitempty"`
	Count     int64  `json:"count"`
}

// Frame is one frame of the guest's (or, for a native crash, Envoy's) stack, innermost first.
type Frame struct {
	Index    int    `json:"index"`
	Offset   string `json:"offset,omitempty"` // hex as logged: for V8 a file offset of the module, for native frames an address
	Function string `json:"function,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Inlined  bool   `json:"inlined,omitempty"`
	Kind     string `json:"kind"` // user, sdk, runtime
}

// Runbook is what to do, filled with what is known of this incident.
type Runbook struct {
	Cause      string   `json:"cause"`
	Title      string   `json:"title"`
	Summary    string   `json:"summary"`
	Steps      []Step   `json:"steps"`
	Verify     string   `json:"verify,omitempty"` // how to see that the fix worked
	References []string `json:"references"`
}

// Step is one step of a runbook.
type Step struct {
	Title      string   `json:"title"`
	Text       string   `json:"text"`
	Snippet    string   `json:"snippet,omitempty"`
	Language   string   `json:"language,omitempty"`
	Origin     string   `json:"origin"` // guide (a published snippet) or ours
	Status     string   `json:"status"` // verified, disproved, untested, advice
	VerifiedOn []string `json:"verified_on"`
	Caveat     string   `json:"caveat,omitempty"`
}

// Stats is what the run cost and what it left out.
type Stats struct {
	Bytes   int64    `json:"bytes"`
	Lines   int64    `json:"lines"`
	Records int64    `json:"records"`
	Seconds float64  `json:"seconds"` // the only field that differs between two runs over the same input
	Skipped []string `json:"skipped"` // what was skipped or cut, and why
}

// Time is a point in time that prints as RFC 3339 in UTC with the precision it was logged with, at most nanoseconds.
type Time struct{ time.Time }

// NewTime returns nil for the zero time, and for one that RFC 3339 cannot write: 9999-12-31T23:59:59-01:00 is in the year 10000 of UTC.
func NewTime(t time.Time) *Time {
	if t = t.UTC(); t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return &Time{t}
}

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.Format(time.RFC3339Nano)), nil }

// MarshalJSON overrides the one of the embedded time.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(`"` + t.Format(time.RFC3339Nano) + `"`), nil
}

// UnmarshalJSON reads RFC 3339.
func (t *Time) UnmarshalJSON(b []byte) error { return t.Time.UnmarshalJSON(b) }
