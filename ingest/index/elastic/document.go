package elastic

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/index"
)

// maxValue bounds a term with its field, in bytes: Lucene refuses keywords beyond 32,766 bytes, and a byte beyond ASCII becomes two.
const maxValue = 8000

// term is how a term of a field is indexed: all fields of package index are one of the server's, so that what a field is called is data. Bytes
// become the characters of the same number (Latin-1), since terms need not be UTF-8: equal bytes and only they are equal, and what begins or
// ends a term does so here.
func term(field, text string) string {
	all := field + "=" + text
	if len(all) > maxValue {
		all = all[:maxValue]
	}
	return latin(all)
}

func latin(s string) string {
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		return s
	}
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// appendString writes a JSON string.
func appendString(to *bytes.Buffer, s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			b, _ := json.Marshal(s)
			to.Write(b)
			return
		}
	}
	to.WriteByte('"')
	to.WriteString(s)
	to.WriteByte('"')
}

// stretchText is the source of the document by which a stretch is found. See [mapping].
func stretchText(to *bytes.Buffer, d *index.Doc) {
	to.WriteString(`{"wasmortem":{"type":"stretch","input":`)
	appendString(to, latin(d.Input))
	to.WriteString(`,"terms":[`)
	first := true
	add := func(field, text string) {
		if !first {
			to.WriteByte(',')
		}
		first = false
		appendString(to, term(field, text))
	}
	add(inputTerm, d.Input)
	for _, t := range d.Terms {
		add(index.TextField, t)
	}
	for field, values := range d.Fields {
		for _, v := range values {
			add(field, v)
		}
	}
	to.WriteByte(']')
	if !d.From.IsZero() {
		to.WriteString(`,"from":` + strconv.FormatInt(d.From.Unix(), 10) + `,"until":` + strconv.FormatInt(d.Until.Unix(), 10))
	}
	to.WriteString("}}\n")
}

// inputTerm is the field of [index.Doc.Input], as in bleve's index.
const inputTerm = "input"

// event is a record in the names of the Elastic Common Schema, as Kibana and other programs look for them.
type event struct {
	Timestamp string `json:"@timestamp,omitempty"`
	Message   string `json:"message"`
	ECS       ver    `json:"ecs"`
	Event     struct {
		Kind     string `json:"kind"`
		Module   string `json:"module"`
		Dataset  string `json:"dataset"`            // envoy.log, envoy.access, …
		Original string `json:"original,omitempty"` // the first physical line, when it is more than the message
	} `json:"event"`
	Log struct {
		Level  string `json:"level,omitempty"`
		Logger string `json:"logger,omitempty"`
		Offset int64  `json:"offset"`
		File   struct {
			Path string `json:"path"`
			Line int64  `json:"line"` // ours: ECS has no field for it
		} `json:"file"`
		Origin *origin `json:"origin,omitempty"`
	} `json:"log"`
	Kubernetes *kubernetes `json:"kubernetes,omitempty"`
	Process    *process    `json:"process,omitempty"`
	HTTP       *exchange   `json:"http,omitempty"`
	URL        *address    `json:"url,omitempty"`
	Envoy      *envoy      `json:"envoy,omitempty"`
	Own        struct {
		Type   string `json:"type"`
		Input  string `json:"input"`
		Around string `json:"around,omitempty"` // where the record tells no time: that of the record before it; @timestamp then is the same
	} `json:"wasmortem"`
}

type (
	ver struct {
		Version string `json:"version"`
	}
	name struct {
		Name string `json:"name,omitempty"`
	}
	origin struct {
		File name `json:"file"`
	}
	process struct {
		Thread name `json:"thread"`
	}
	address struct {
		Path string `json:"path"`
	}
	envoy struct {
		Flags   string `json:"response_flags,omitempty"`
		Details string `json:"response_code_details,omitempty"`
	}
	kubernetes struct {
		Pod       *name  `json:"pod,omitempty"`
		Namespace string `json:"namespace,omitempty"`
		Container *name  `json:"container,omitempty"`
		Node      *name  `json:"node,omitempty"`
	}
	exchange struct {
		Request  method `json:"request"`
		Response code   `json:"response"`
	}
	method struct {
		Method string `json:"method,omitempty"`
	}
	code struct {
		Status int `json:"status_code"`
	}
)

// ecsVersion is the schema that the names are taken from.
const ecsVersion = "8.17.0"

// eventText is the source of the document of a record.
func eventText(to *bytes.Buffer, input string, r *index.Entry) {
	var e event
	e.ECS.Version = ecsVersion
	e.Event.Kind, e.Event.Module, e.Event.Dataset = "event", "envoy", "envoy."+r.Kind.String()
	e.Message = r.Message
	if r.Raw != r.Message {
		e.Event.Original = r.Raw
	}
	if e.Message == "" {
		e.Message = r.Raw
	}
	e.Log.Level, e.Log.Logger, e.Log.Offset, e.Log.File.Path, e.Log.File.Line = r.Level.String(), r.Logger, r.Offset, r.Input.Path, r.Line
	if r.Caller != "" {
		e.Log.Origin = &origin{name{r.Caller}}
	}
	if r.Thread != "" {
		e.Process = &process{name{r.Thread}}
	}
	if r.Pod+r.Namespace+r.Container+r.Node != "" {
		e.Kubernetes = &kubernetes{named(r.Pod), r.Namespace, named(r.Container), named(r.Node)}
	}
	if a := r.Access; a != nil && r.Kind == ingest.KindAccess {
		e.HTTP = &exchange{method{a.Method}, code{max(a.Status, 0)}}
		e.Envoy = &envoy{a.Flags, a.Details}
		if a.Path != "" {
			e.URL = &address{a.Path}
		}
	}
	e.Own.Type, e.Own.Input = "record", latin(input)
	when := r.Time
	if when.IsZero() {
		when = r.Around
		e.Own.Around = stamp(when)
	}
	e.Timestamp = stamp(when)
	b, _ := json.Marshal(&e) // strings and numbers only
	to.Write(append(b, '\n'))
}

func named(s string) *name {
	if s == "" {
		return nil
	}
	return &name{s}
}

// stamp writes a time as a date of the server; one that it could not hold is left out.
func stamp(t time.Time) string {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}
