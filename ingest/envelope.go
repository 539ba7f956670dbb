package ingest

import (
	"bytes"
	"time"
)

// envelope is what [stripJSON] finds in an object.
type envelope struct {
	meta
	at        time.Time // when the shipper read the line
	text      []byte    // value of the text key
	rank      int       // of that key among the text keys, see [envelope.visit]
	inner     []byte    // an object that the shipper made of a line which was JSON
	innerText []byte    // its message
	own       bool      // there is a key that loggers write and shippers do not
	level     bool      // there is a level: a logger's, or guessed by the shipper
	named     bool      // there is Kubernetes identity
}

// Text keys up to lastFixed are used by shippers only; the later ones name the message in loggers' own JSON too.
const (
	lastFixed = 5
	rankMsg   = 9
	noText    = 99
)

// stripJSON takes a line out of the envelope that a log shipper made: one of the text keys holds the line, the others tell who
// wrote it (fluent-bit, fluentd, filebeat, vector, promtail, Cloud Logging, journald, and the exports of Elasticsearch, Splunk and
// Loki). A line that was JSON itself may have been taken apart: then the object with its keys is the line. Envoy's and
// Istio's own JSON logs are no envelopes: their message has no header of its own.
func stripJSON(b []byte, m *meta) ([]byte, bool) {
	o := element(b)
	if len(o) < 2 || o[0] != '{' || o[len(o)-1] != '}' {
		return b, false
	}
	e := envelope{rank: noText, meta: *m}
	if !jsonWalk(o, e.visit) {
		return b, false
	}
	text, ok := e.line(o)
	if !ok {
		return o, len(o) < len(b) && hasHeader(o)
	}
	if e.partial && len(text) > 0 && text[len(text)-1] == '\n' {
		e.partial = false
	}
	if !e.at.IsZero() {
		e.time, e.unzoned, e.yearless = e.at, false, false
	}
	*m = e.meta
	return bytes.TrimRight(text, "\r\n"), true
}

// element takes an object out of an array of which each stands on its own line: `[{…},`, `  {…}`, `{…}]`.
func element(b []byte) []byte {
	o := bytes.TrimLeft(b, " \t[")
	o = bytes.TrimRight(o, " \t,")
	if len(o) > 2 && o[len(o)-1] == ']' && o[len(o)-2] == '}' {
		o = o[:len(o)-1]
	}
	return o
}

// line gives the line that stood in the envelope b, and whether b is one.
func (e *envelope) line(b []byte) ([]byte, bool) {
	text := jsonText(e.text)
	if text != nil && e.rank <= lastFixed {
		return text, true
	}
	if e.inner != nil {
		if t := jsonText(e.innerText); hasHeader(t) {
			return t, true
		}
		return e.inner, true
	}
	loggers := e.own || e.level && !e.named || e.rank == rankMsg
	if text == nil || loggers && !hasHeader(text) {
		return b, e.named // the keys of the line stand beside those of the shipper; without a shipper, it is the line itself
	}
	return text, true
}

func (e *envelope) visit(path, v []byte) jsonStep {
	if v[0] == '{' {
		switch string(path) {
		case "source", "result", "attributes", "resource", "labels", "fields": // exports put all or a part in there
			return jsonFlat
		case "jsonpayload", "json", "logprocessed", "parsed", "structured":
			e.inner = v
			return jsonEnter
		}
		return jsonEnter
	}
	if len(path) > 10 && string(path[:10]) == "kubernetes" {
		path = path[10:]
	} else if len(path) > 3 && string(path[:3]) == "k8s" {
		path = path[3:]
	}
	switch string(path) {
	case "log":
		e.take(v, 1)
	case "textpayload":
		e.take(v, 2)
	case "raw":
		e.take(v, 3)
	case "line":
		e.take(v, 4)
	case "eventoriginal":
		e.take(v, lastFixed)
	case "message":
		e.take(v, 6)
	case "body":
		e.take(v, 7)
	case "content":
		e.take(v, 8)
	case "msg":
		e.take(v, rankMsg)
	case "jsonpayloadmessage", "jsonmessage", "logprocessedmessage", "parsedmessage", "structuredmessage":
		e.innerText = v
	case "scope", "logger", "caller", "sourceline", "thread", "threadid", "tid":
		e.own = true
	case "level", "severity":
		e.level = true
	case "podname", "pod":
		e.pod, e.named = jsonText(v), true
	case "namespacename", "namespace", "podnamespace":
		e.namespace = jsonText(v)
	case "containername", "container":
		e.container = jsonText(v)
	case "host", "hostname", "nodename", "node", "podnodename":
		e.node = jsonText(v)
	case "stream":
		e.stream = jsonText(v)
	case "logtag":
		e.runtime, e.partial = true, string(v) == `"P"`
	case "partialmessage":
		e.runtime, e.partial = true, string(v) == `true` || string(v) == `"true"`
	case "timestamp", "realtimetimestamp":
		e.stamp(v, true)
	case "time", "ts":
		e.stamp(v, false)
	}
	return jsonSkip
}

func (e *envelope) take(v []byte, rank int) {
	if rank < e.rank && v[0] == '"' {
		e.text, e.rank = v, rank
	}
}

// stamp takes a time; surely means that the key is the shipper's own and goes before others.
func (e *envelope) stamp(v []byte, surely bool) {
	if !surely && !e.at.IsZero() {
		return
	}
	text := jsonText(v)
	if t, zoned, _, ok := parseTime(text); ok && zoned {
		e.at = t
	} else if t, ok := parseEpoch(text); ok {
		e.at = t
	}
}

// stripMember reads a line of an export in JSON that was printed over many lines: the text of the log stands in one member of each
// object; the others and the brackets are not of the log.
func stripMember(b []byte, m *meta) ([]byte, bool) {
	t := bytes.TrimSuffix(bytes.Trim(b, " \t"), []byte{','})
	if len(t) == 0 {
		return b, false
	}
	switch t[0] {
	case '{', '}', '[', ']':
		m.frame = len(t) <= 2
		return b, m.frame
	case '"':
	default:
		return b, false
	}
	end := stringEnd(t[1:])
	if end < 0 {
		return b, false
	}
	v, ok := bytes.CutPrefix(t[end+2:], []byte{':'})
	if v = bytes.TrimLeft(v, " "); !ok || len(v) == 0 {
		return b, false
	}
	switch string(t[1 : end+1]) {
	case "message", "textPayload", "log", "line", "@message", "msg", "_raw", "body":
		if v[0] == '"' && len(v) > 1 && stringEnd(v[1:]) == len(v)-2 {
			return bytes.TrimRight(jsonText(v), "\r\n"), true
		}
	}
	m.frame = true
	return b, true
}
