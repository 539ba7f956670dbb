package replay

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Scenario is what the plugin is given: configuration, requests, answers to its calls. docs/replay.md explains it, scenario.schema.json checks
// it in editors. The zero Scenario is one GET of / that the upstream answers with 200.
type Scenario struct {
	Envoy        string            `yaml:"envoy,omitempty" json:"envoy,omitempty"` // version whose behaviour is imitated; default [DefaultEnvoy]
	Plugin       Plugin            `yaml:"plugin,omitempty" json:"plugin,omitzero"`
	PluginConfig string            `yaml:"plugin_config,omitempty" json:"plugin_config,omitempty"`
	VMConfig     string            `yaml:"vm_config,omitempty" json:"vm_config,omitempty"`
	Environment  map[string]string `yaml:"environment,omitempty" json:"environment,omitempty"`
	Properties   map[string]string `yaml:"properties,omitempty" json:"properties,omitempty"` // "node.id": value, before those of the request
	SharedData   map[string]string `yaml:"shared_data,omitempty" json:"shared_data,omitempty"`
	Capabilities []string          `yaml:"capabilities,omitempty" json:"capabilities,omitempty"` // what a capability restriction allows; nil: everything
	Clusters     []string          `yaml:"clusters,omitempty" json:"clusters,omitempty"`         // those that exist; nil: every name does
	Calls        []Call            `yaml:"calls,omitempty" json:"calls,omitempty"`               // answers, the first that matches
	Requests     []Request         `yaml:"requests,omitempty" json:"requests,omitempty"`         // in order; nil: one GET of /
	Ticks        *int              `yaml:"ticks,omitempty" json:"ticks,omitempty"`               // how many ticks follow the last request when the plugin asked for them; default 5
	Time         string            `yaml:"time,omitempty" json:"time,omitempty"`                 // RFC 3339, where the guest's clock begins
	Seed         uint64            `yaml:"seed,omitempty" json:"seed,omitempty"`                 // of random_get
	Limits       Limits            `yaml:"limits,omitempty" json:"limits,omitzero"`
	Expect       *Recorded         `yaml:"expect,omitempty" json:"expect,omitempty"` // the failure that is to be reproduced
}

// DefaultEnvoy is the newest version whose behaviour is known from measurements.
const DefaultEnvoy = "1.40.0"

// Plugin is how the proxy's configuration names the plugin.
type Plugin struct {
	Name   string `yaml:"name,omitempty" json:"name,omitempty"`
	RootID string `yaml:"root_id,omitempty" json:"root_id,omitempty"`
	VMID   string `yaml:"vm_id,omitempty" json:"vm_id,omitempty"`
}

// Limits end a guest.
type Limits struct {
	Callback Duration `yaml:"callback,omitempty" json:"callback,omitempty"` // how long one callback may take; default 5s
	Memory   int      `yaml:"memory,omitempty" json:"memory,omitempty"`     // MiB of linear memory; default 1024, which is Envoy's
	Depth    int      `yaml:"depth,omitempty" json:"depth,omitempty"`       // of calls; default: what the engine's stack holds
}

// Request is one request, and what the upstream answers.
type Request struct {
	Headers  Headers  `yaml:"headers,omitempty" json:"headers,omitempty"` // pseudo headers that are missing are filled in: GET / of example.com
	Body     Body     `yaml:"body,omitempty" json:"body,omitempty"`
	Chunks   int      `yaml:"chunks,omitempty" json:"chunks,omitempty"` // in how many pieces the body comes; default: one for each 16 KiB
	Trailers Headers  `yaml:"trailers,omitempty" json:"trailers,omitempty"`
	Response Response `yaml:"response,omitempty" json:"response,omitzero"`
	After    Duration `yaml:"after,omitempty" json:"after,omitempty"` // of the guest's time since the one before
	Times    int      `yaml:"times,omitempty" json:"times,omitempty"` // default 1
}

// Response is the answer of the upstream.
type Response struct {
	Headers  Headers `yaml:"headers,omitempty" json:"headers,omitempty"` // :status 200 when it is missing
	Body     Body    `yaml:"body,omitempty" json:"body,omitempty"`
	Chunks   int     `yaml:"chunks,omitempty" json:"chunks,omitempty"`
	Trailers Headers `yaml:"trailers,omitempty" json:"trailers,omitempty"`
}

// Call says how HTTP and gRPC calls of the plugin end.
type Call struct {
	Cluster string `yaml:"cluster,omitempty" json:"cluster,omitempty"` // empty: any
	Path    string `yaml:"path,omitempty" json:"path,omitempty"`       // of HTTP, or /service/method of gRPC; empty: any
	Times   int    `yaml:"times,omitempty" json:"times,omitempty"`     // how often it may be used; 0: always
	Answer  `yaml:",inline"`
	used    int
}

// Answer is the end of a call. Outcome is one of [Outcomes], empty for an answer.
type Answer struct {
	Outcome    string   `yaml:"outcome,omitempty" json:"outcome,omitempty"`
	After      Duration `yaml:"after,omitempty" json:"after,omitempty"`
	Headers    Headers  `yaml:"headers,omitempty" json:"headers,omitempty"`
	Body       Body     `yaml:"body,omitempty" json:"body,omitempty"`
	Trailers   Headers  `yaml:"trailers,omitempty" json:"trailers,omitempty"`
	GRPCStatus uint32   `yaml:"grpc_status,omitempty" json:"grpc_status,omitempty"`
}

// Outcomes of a call: the answer; Envoy's own answer after the time-out; a reset connection; refused at once (InternalFailure); an unknown cluster
// (BadArgument, of gRPC ParseFailure).
var Outcomes = []string{"answer", "timeout", "reset", "refused", "unknown-cluster"}

// Headers is a list in order. In YAML each is "NAME: VALUE", or {name: NAME, base64: VALUE} when the value is no text.
type Headers []Header

// Header is one header. Names are lower case, and may begin with a colon.
type Header struct{ Name, Value string }

// Body is bytes. In YAML a text, or {base64: TEXT}, or {text: TEXT, times: N}.
type Body []byte

// Duration is written "250ms", "2s".
type Duration time.Duration

// MaxScenario bounds a scenario file, in bytes.
const MaxScenario = 8 << 20

// maxBody bounds bodies that a scenario makes by repeating, in bytes.
const maxBody = 64 << 20

// ParseScenario reads a scenario file. All mistakes are reported, each with its line.
func ParseScenario(data []byte) (*Scenario, error) {
	if len(data) > MaxScenario {
		return nil, fmt.Errorf("the scenario is larger than %d MiB", MaxScenario>>20)
	}
	s := &Scenario{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(s); err != nil && !errors.Is(err, io.EOF) {
		var mistakes *yaml.TypeError
		if errors.As(err, &mistakes) {
			return nil, errors.New(goType.ReplaceAllString(strings.Join(mistakes.Errors, "\n"), ""))
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if d.Decode(new(yaml.Node)) == nil {
		return nil, errors.New("the file holds more than one document")
	}
	return s, s.Check()
}

// goType is what the library says of our types, which nobody needs to know.
var goType = regexp.MustCompile(` in type [\w.]+| into [\w.\[\]]+$`)

// YAML writes a scenario so that [ParseScenario] reads it again.
func (s *Scenario) YAML() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err := e.Encode(s)
	return b.Bytes(), err
}

// Check says everything that is wrong with a scenario.
func (s *Scenario) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Envoy != "" {
		if _, known := parseVersion(s.Envoy); !known {
			wrong("envoy: %q is no version (want 1.36 or 1.36.2)", s.Envoy)
		}
	}
	if s.Time != "" {
		if t, err := time.Parse(time.RFC3339Nano, s.Time); err != nil || t.Year() < 1970 || t.Year() > 2200 {
			wrong("time: %q is no time (want 2026-01-02T15:04:05Z, from 1970 to 2200)", s.Time)
		}
	}
	if s.Ticks != nil && (*s.Ticks < 0 || *s.Ticks > 100_000) {
		wrong("ticks: want 0 to 100000, have %d", *s.Ticks)
	}
	if len(s.Requests) > 10_000 {
		wrong("requests: at most 10000, have %d", len(s.Requests))
	}
	for i := range s.Requests {
		r := &s.Requests[i]
		if r.Times < 0 || r.Times > 10_000 || r.Chunks < 0 || r.Chunks > 10_000 || r.Response.Chunks < 0 || r.Response.Chunks > 10_000 {
			wrong("requests[%d]: times and chunks are 1 to 10000", i)
		}
		if r.After < 0 || r.After > Duration(24*time.Hour) {
			wrong("requests[%d]: after is at most 24h", i)
		}
	}
	for i := range s.Calls {
		if c := &s.Calls[i]; c.Outcome != "" && !slices.Contains(Outcomes, c.Outcome) {
			wrong("calls[%d]: no outcome %q (want %s)", i, c.Outcome, strings.Join(Outcomes, ", "))
		} else if c.After < 0 || c.After > Duration(24*time.Hour) || c.Times < 0 {
			wrong("calls[%d]: after is at most 24h, times not negative", i)
		}
	}
	if l := s.Limits; l.Callback < 0 || l.Callback > Duration(10*time.Minute) {
		wrong("limits.callback: at most 10m")
	} else if l.Memory < 0 || l.Memory > 4096 {
		wrong("limits.memory: 1 to 4096 MiB, have %d", l.Memory)
	} else if l.Depth < 0 || l.Depth > 1_000_000 {
		wrong("limits.depth: 1 to 1000000, have %d", l.Depth)
	}
	if s.Expect != nil {
		errs = append(errs, s.Expect.check()...)
	}
	return errors.Join(errs...)
}

// UnmarshalYAML reads "NAME: VALUE".
func (h *Header) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		var m struct {
			Name, Value string
			Base64      *string
		}
		if err := known(n, "name", "value", "base64"); err != nil {
			return err
		}
		if err := n.Decode(&m); err != nil {
			return err
		}
		h.Name, h.Value = strings.ToLower(m.Name), m.Value
		if m.Base64 != nil {
			b, err := base64.StdEncoding.DecodeString(*m.Base64)
			if err != nil {
				return fmt.Errorf("line %d: header %s: no base64", n.Line, m.Name)
			}
			h.Value = string(b)
		}
		if h.Name == "" {
			return fmt.Errorf("line %d: a header without a name", n.Line)
		}
		return nil
	}
	var text string
	if err := n.Decode(&text); err != nil {
		return err
	}
	x, err := ParseHeader(text)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*h = x
	return nil
}

// known refuses keys that are not listed: decoding within a custom type forgets to.
func known(n *yaml.Node, keys ...string) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !slices.Contains(keys, n.Content[i].Value) {
			return fmt.Errorf("line %d: there is no field %q here (want %s)", n.Content[i].Line, n.Content[i].Value, strings.Join(keys, ", "))
		}
	}
	return nil
}

// MarshalYAML writes it so that it can be read again.
func (h Header) MarshalYAML() (any, error) {
	if !plain.MatchString(h.Value) || strings.TrimSpace(h.Value) != h.Value {
		return map[string]string{"name": h.Name, "base64": base64.StdEncoding.EncodeToString([]byte(h.Value))}, nil
	}
	return h.Name + ": " + h.Value, nil
}

// MarshalText writes "NAME: VALUE".
func (h Header) MarshalText() ([]byte, error) {
	return []byte(strings.ToValidUTF8(h.Name+": "+h.Value, "\uFFFD")), nil
}

var plain = regexp.MustCompile(`^[ -~]*$`)

// ParseHeader reads "NAME: VALUE"; NAME may begin with a colon.
func ParseHeader(text string) (Header, error) {
	if len(text) > 0 {
		if name, value, found := strings.Cut(text[1:], ":"); found {
			if name = strings.ToLower(text[:1] + name); strings.TrimSpace(name) == name && name != ":" {
				return Header{name, strings.TrimSpace(value)}, nil
			}
		}
	}
	return Header{}, fmt.Errorf("%q is no header (want 'NAME: VALUE')", text)
}

// UnmarshalYAML reads a text, {base64: …} or {text: …, times: …}.
func (b *Body) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		var text string
		if err := n.Decode(&text); err != nil {
			return err
		}
		*b = Body(text)
		return nil
	}
	var m struct {
		Base64, Text string
		Times        int
	}
	if err := known(n, "base64", "text", "times"); err != nil {
		return err
	}
	if err := n.Decode(&m); err != nil {
		return err
	}
	out, err := base64.StdEncoding.DecodeString(m.Base64)
	if err != nil {
		return fmt.Errorf("line %d: no base64", n.Line)
	}
	out = append(out, m.Text...)
	if m.Times < 0 || m.Times > maxBody || len(out)*max(m.Times, 1) > maxBody {
		return fmt.Errorf("line %d: the body has more than %d MiB", n.Line, maxBody>>20)
	}
	*b = bytes.Repeat(out, max(m.Times, 1))
	return nil
}

// MarshalYAML writes it so that it can be read again.
func (b Body) MarshalYAML() (any, error) {
	if plain.Match(b) {
		return string(b), nil
	}
	return map[string]string{"base64": base64.StdEncoding.EncodeToString(b)}, nil
}

// UnmarshalYAML reads "250ms".
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	var text string
	if err := n.Decode(&text); err != nil {
		return err
	}
	x, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("line %d: %q is no duration (want 250ms or 2s)", n.Line, text)
	}
	*d = Duration(x)
	return nil
}

// MarshalYAML writes "250ms".
func (d Duration) MarshalYAML() (any, error) { return time.Duration(d).String(), nil }

// MarshalText writes "250ms".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (h Headers) clone() *headers {
	out := &headers{}
	for _, x := range h {
		out.list = append(out.list, header{x.Name, x.Value})
	}
	return out
}

// start is where the guest's clock begins.
func (s *Scenario) start() time.Time {
	if t, err := time.Parse(time.RFC3339Nano, s.Time); err == nil {
		return t
	}
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
}

// refuses says whether a capability restriction forbids a call. Envoy restricts host calls, WASI and callbacks by their bare names.
func (s *Scenario) refuses(name string) bool {
	return s.Capabilities != nil && !slices.Contains(s.Capabilities, name)
}

// version is a version of Envoy.
type version struct{ major, minor int }

func (v version) before(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

var versionText = regexp.MustCompile(`^v?(\d{1,3})\.(\d{1,3})(?:[.-].*)?$`)

func parseVersion(s string) (v version, known bool) {
	m := versionText.FindStringSubmatch(s)
	if m == nil {
		return version{1, 40}, false
	}
	v.major, _ = strconv.Atoi(m[1])
	v.minor, _ = strconv.Atoi(m[2])
	return v, true
}
