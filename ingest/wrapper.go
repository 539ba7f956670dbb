package ingest

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// wrapper is something that a container runtime, kubectl or a person put around each line of a log.
type wrapper uint8

const (
	wrapANSI    wrapper = iota // terminal colours
	wrapCRI                    // `2024-01-01T00:00:00.000000000Z stderr F text` (Kubernetes CRI log format)
	wrapDocker                 // `{"log":"text\n","stream":"stderr","time":"…"}` (docker json-file)
	wrapJSON                   // `{"@timestamp":…,"message":"text","kubernetes":{…}}` and other shippers' envelopes
	wrapPrefix                 // `[pod/NAME/CONTAINER] text` (kubectl logs --prefix)
	wrapTimes                  // `2024-01-01T00:00:00.000000000Z text` (kubectl logs --timestamps)
	wrapStern                  // `POD CONTAINER text` (stern)
	wrapCompose                // `service-1  | text` (docker compose)
	wrapEpoch                  // `[Envoy (Epoch 0)] text` (Istio up to 1.4)
	wrapLoki                   // `2024-01-01T00:00:00Z {pod="x"} text` (logcli)
	wrapSyslog                 // `Nov 22 14:50:09 host envoy[12]: text`
	wrapQuote                  // `> text`, `| text`, indentation: pasted from a chat or an issue
	wrappers
)

var wrapperNames = [wrappers]string{"ansi", "cri", "docker", "json-envelope", "kubectl-prefix", "kubectl-timestamps", "stern", "compose", "epoch", "loki", "syslog", "quoted"}

// meta is what wrappers tell about a line.
type meta struct {
	pod, namespace, container, node []byte
	stream                          []byte    // stdout or stderr
	time                            time.Time // always zoned
	partial                         bool      // the runtime split the line; the next one continues it
}

// strip removes one wrapper from b. It is liberal in what it takes, since detection has decided that lines of this input have
// this wrapper; a line that has not is left as it is (ok is false).
func (w wrapper) strip(b []byte, m *meta) (rest []byte, ok bool) {
	switch w {
	case wrapANSI:
		if bytes.IndexByte(b, 0x1b) < 0 {
			return b, false
		}
		return stripANSI(b), true
	case wrapCRI:
		return stripCRI(b, m)
	case wrapDocker:
		return stripDocker(b, m)
	case wrapJSON:
		return stripJSON(b, m)
	case wrapPrefix:
		return stripPrefix(b, m)
	case wrapTimes:
		return stripTimes(b, m)
	case wrapStern:
		return stripStern(b, m)
	case wrapCompose:
		return stripCompose(b, m)
	case wrapEpoch:
		return stripEpoch(b)
	case wrapLoki:
		return stripLoki(b, m)
	case wrapSyslog:
		return stripSyslog(b, m)
	case wrapQuote:
		return stripQuote(b)
	}
	return b, false
}

// stripANSI removes CSI and OSC sequences and other escapes.
func stripANSI(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != 0x1b {
			out = append(out, b[i])
			continue
		}
		if i+1 >= len(b) {
			break
		}
		switch b[i+1] {
		case '[':
			i += 2
			for i < len(b) && (b[i] < 0x40 || b[i] > 0x7e) {
				i++
			}
		case ']':
			i += 2
			for i < len(b) && b[i] != 0x07 && b[i] != 0x1b {
				i++
			}
			if i+1 < len(b) && b[i] == 0x1b && b[i+1] == '\\' {
				i++
			}
		default:
			i++
		}
	}
	return out
}

func stripCRI(b []byte, m *meta) ([]byte, bool) {
	t, zoned, n, ok := parseTime(b)
	if !ok || !zoned || len(b) < n+10 || b[n] != ' ' {
		return b, false
	}
	r := b[n+1:]
	if !bytes.HasPrefix(r, []byte("stdout ")) && !bytes.HasPrefix(r, []byte("stderr ")) {
		return b, false
	}
	tag := r[7:]
	sp := bytes.IndexByte(tag, ' ')
	if sp < 0 {
		sp = len(tag)
	}
	if sp < 1 || (tag[0] != 'P' && tag[0] != 'F') {
		return b, false
	}
	m.time, m.stream, m.partial = t, r[:6], tag[0] == 'P'
	return tag[min(sp+1, len(tag)):], true
}

func stripDocker(b []byte, m *meta) ([]byte, bool) {
	if !bytes.HasPrefix(b, []byte(`{"log":"`)) {
		return b, false
	}
	// The common case by hand: the log string ends at the first unescaped quote, the two other keys follow.
	s := b[8:]
	end := stringEnd(s)
	if end < 0 {
		return b, false
	}
	text := unescapeJSON(s[:end])
	rest := s[end:]
	if i := bytes.Index(rest, []byte(`"stream":"`)); i >= 0 {
		v := rest[i+10:]
		if j := bytes.IndexByte(v, '"'); j >= 0 {
			m.stream = v[:j]
		}
	}
	if i := bytes.Index(rest, []byte(`"time":"`)); i >= 0 {
		if t, zoned, _, ok := parseTime(rest[i+8:]); ok && zoned {
			m.time = t
		}
	}
	m.partial = true
	if n := len(text); n > 0 && text[n-1] == '\n' {
		m.partial = false
		text = bytes.TrimSuffix(text[:n-1], []byte{'\r'})
	}
	return text, true
}

// stringEnd finds the quote that ends a JSON string whose first quote was consumed, -1 when there is none.
func stringEnd(s []byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescapeJSON undoes the escapes of a JSON string body. What is no valid escape is kept as it stands.
func unescapeJSON(s []byte) []byte {
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	var v string
	q := make([]byte, 0, len(s)+2)
	q = append(append(append(q, '"'), s...), '"')
	if json.Unmarshal(q, &v) == nil {
		return []byte(v)
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case '"', '\\', '/', '\'':
			out = append(out, s[i])
		default:
			out = append(out, '\\', s[i])
		}
	}
	return out
}

// stripJSON takes a line out of the envelope that a log shipper made: one of the text keys holds the line, the others tell who
// wrote it. Envoy's and Istio's own JSON logs are no envelopes: their message has no header of its own.
func stripJSON(b []byte, m *meta) ([]byte, bool) {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return b, false
	}
	var e map[string]any
	if json.Unmarshal(b, &e) != nil {
		return b, false
	}
	var text string
	found := false
	for _, k := range []string{"log", "message", "textPayload", "line", "body", "_raw", "MESSAGE", "msg"} {
		if s, ok := e[k].(string); ok {
			if k == "msg" || k == "message" {
				// Without a header inside, this is the record itself, not its envelope.
				if _, own := e["scope"]; own || !hasHeader([]byte(s)) {
					if _, k8s := e["kubernetes"]; !k8s {
						continue
					}
				}
			}
			text, found = s, true
			break
		}
	}
	if !found {
		return b, false
	}
	set := func(dst *[]byte, paths ...string) {
		for _, p := range paths {
			if s, ok := dig(e, p).(string); ok && s != "" {
				*dst = []byte(s)
				return
			}
		}
	}
	set(&m.pod, "kubernetes.pod_name", "kubernetes.pod.name", "resource.labels.pod_name", "k8s.pod.name", "pod", "pod_name")
	set(&m.namespace, "kubernetes.namespace_name", "kubernetes.namespace", "resource.labels.namespace_name", "namespace", "namespace_name")
	set(&m.container, "kubernetes.container_name", "kubernetes.container.name", "resource.labels.container_name", "container", "container_name")
	set(&m.node, "kubernetes.host", "kubernetes.node.name", "host.name", "node")
	set(&m.stream, "stream")
	for _, k := range []string{"@timestamp", "time", "timestamp"} {
		if s, ok := e[k].(string); ok {
			if t, zoned, _, ok := parseTime([]byte(s)); ok && zoned {
				m.time = t
				break
			}
		}
	}
	m.partial = dig(e, "logtag") == "P"
	return bytes.TrimRight([]byte(text), "\r\n"), true
}

// dig follows a dotted path through nested objects; a key that itself contains the dots is found too (ECS is logged both ways).
func dig(e map[string]any, path string) any {
	if v, ok := e[path]; ok {
		return v
	}
	head, tail, more := strings.Cut(path, ".")
	if !more {
		return nil
	}
	sub, _ := e[head].(map[string]any)
	if sub == nil {
		return nil
	}
	return dig(sub, tail)
}

func stripPrefix(b []byte, m *meta) ([]byte, bool) {
	if !bytes.HasPrefix(b, []byte("[pod/")) {
		return b, false
	}
	end := bytes.IndexByte(b, ']')
	if end < 0 {
		return b, false
	}
	pod, container, _ := bytes.Cut(b[5:end], []byte{'/'})
	m.pod, m.container = pod, container
	return bytes.TrimPrefix(b[end+1:], []byte{' '}), true
}

// stripTimes must not take the time of an Istio text line: there a tab (or, once copied, a run of blanks and a level) follows.
func stripTimes(b []byte, m *meta) ([]byte, bool) {
	t, zoned, n, ok := parseTime(b)
	if !ok || !zoned || b[10] != 'T' || n >= len(b) || b[n] != ' ' {
		return b, false
	}
	if rest := bytes.TrimLeft(b[n:], " \t"); len(rest) > 0 {
		word := rest
		if i := bytes.IndexAny(rest, " \t"); i >= 0 {
			word = rest[:i]
		}
		if len(word) <= 8 && ParseLevel(string(word)) != LevelUnknown {
			return b, false
		}
	}
	m.time = t
	return b[n+1:], true
}

// k8sName reads a Kubernetes object name at the start of b and returns its length.
func k8sName(b []byte) int {
	i := 0
	for i < len(b) && (('a' <= b[i] && b[i] <= 'z') || ('0' <= b[i] && b[i] <= '9') || b[i] == '-' || b[i] == '.') {
		i++
	}
	return i
}

func stripStern(b []byte, m *meta) ([]byte, bool) {
	i := k8sName(b)
	if i < 3 || i+2 >= len(b) || b[i] != ' ' || bytes.IndexByte(b[:i], '-') < 0 {
		return b, false
	}
	r := b[i+1:]
	if bytes.HasPrefix(r, []byte("› ")) {
		r = r[len("› "):]
	}
	j := k8sName(r)
	if j < 2 || (j < len(r) && r[j] != ' ') {
		return b, false
	}
	m.pod, m.container = b[:i], r[:j]
	return r[min(j+1, len(r)):], true
}

func stripCompose(b []byte, m *meta) ([]byte, bool) {
	i := bytes.IndexByte(b, '|')
	if i < 2 || i > 64 {
		return b, false
	}
	name := bytes.TrimRight(b[:i], " ")
	if len(name) == 0 || bytes.IndexAny(name, " \t[]{}\"'") >= 0 {
		return b, false
	}
	m.pod = name
	return bytes.TrimPrefix(b[i+1:], []byte{' '}), true
}

func stripEpoch(b []byte) ([]byte, bool) {
	if !bytes.HasPrefix(b, []byte("[Envoy (Epoch ")) {
		return b, false
	}
	i := bytes.Index(b, []byte(")] "))
	if i < 0 {
		return b, false
	}
	return b[i+3:], true
}

func stripLoki(b []byte, m *meta) ([]byte, bool) {
	t, zoned, n, ok := parseTime(b)
	if !ok || !zoned || n+2 > len(b) || b[n] != ' ' || b[n+1] != '{' {
		return b, false
	}
	end := bytes.IndexByte(b, '}')
	if end < 0 {
		return b, false
	}
	for _, kv := range bytes.Split(b[n+2:end], []byte{','}) {
		k, v, _ := bytes.Cut(bytes.TrimSpace(kv), []byte{'='})
		v = bytes.Trim(v, `"`)
		switch string(k) {
		case "pod":
			m.pod = v
		case "namespace":
			m.namespace = v
		case "container":
			m.container = v
		case "node", "node_name":
			m.node = v
		case "cluster":
		}
	}
	m.time = t
	return bytes.TrimLeft(b[end+1:], " \t"), true
}

func stripSyslog(b []byte, m *meta) ([]byte, bool) {
	r := b
	if _, _, _, n, ok := parseSyslogTime(b); ok {
		r = b[n:]
	} else if t, zoned, n, ok := parseTime(b); ok && zoned && n < len(b) && b[n] == ' ' {
		m.time, r = t, b[n:]
	} else {
		return b, false
	}
	r = bytes.TrimLeft(r, " ")
	host, r, ok := bytes.Cut(r, []byte{' '})
	if !ok {
		return b, false
	}
	i := bytes.Index(r, []byte(": "))
	if i < 1 || i > 64 || bytes.IndexByte(r[:i], ' ') >= 0 {
		return b, false
	}
	m.node = host
	tag := r[:i]
	if j := bytes.IndexByte(tag, '['); j > 0 {
		tag = tag[:j]
	}
	m.container = tag
	return r[i+2:], true
}

func stripQuote(b []byte) ([]byte, bool) {
	i := 0
	for i < len(b) && (b[i] == '>' || b[i] == '|' || b[i] == '`' || bytes.HasPrefix(b[i:], []byte("│"))) {
		if b[i] == 0xe2 {
			i += 2
		}
		i++
		if i < len(b) && b[i] == ' ' {
			i++
		}
	}
	if i == 0 {
		t := bytes.TrimLeft(b, " \t")
		if len(t) < len(b) && hasHeader(t) {
			return t, true // indented code block
		}
		return b, false
	}
	return b[i:], true
}

// unwrap removes the input's wrappers from a physical line.
func (in *Input) unwrap(b []byte, m *meta) []byte {
	for _, w := range in.wrappers {
		b, _ = w.strip(b, m)
	}
	return b
}

// detectWrappers finds the wrappers of an input from its first lines: outermost first, each one carried by most of the lines
// that the one before left. The sample must not depend on how the input is divided into blocks.
func detectWrappers(sample [][]byte) []wrapper {
	var found []wrapper
	for range 4 {
		w, rest, ok := detectWrapper(sample, found)
		if !ok {
			break
		}
		found, sample = append(found, w), rest
	}
	return found
}

func detectWrapper(sample [][]byte, found []wrapper) (best wrapper, rest [][]byte, ok bool) {
	if len(sample) == 0 {
		return
	}
	plain := 0
	for _, l := range sample {
		if hasHeader(l) {
			plain++
		}
	}
	bestScore := 0
	for w := range wrappers {
		if contains(found, w) {
			continue
		}
		n, headers, lines := 0, 0, make([][]byte, 0, len(sample))
		for _, l := range sample {
			var m meta
			s, stripped := w.strip(l, &m)
			if stripped {
				n++
			}
			if hasHeader(s) {
				headers++
			}
			lines = append(lines, s)
		}
		// Most lines must carry it, and it must hide headers, or at least cost none: an access log's `[time]` is no wrapper.
		need := len(sample) * 6 / 10
		if w == wrapANSI || w == wrapEpoch || w == wrapQuote {
			need = len(sample) / 5
		}
		loses := headers < plain
		if w == wrapStern || w == wrapSyslog || w == wrapCompose || w == wrapQuote || w == wrapTimes {
			// these could be ordinary words: they must uncover something
			loses = headers <= plain && !(w == wrapCompose && headers >= plain && n == len(sample))
		}
		if n == 0 || n <= need-1 || loses {
			continue
		}
		if score := n + 2*headers; score > bestScore {
			best, bestScore, rest, ok = w, score, lines, true
		}
	}
	return best, rest, ok
}

func contains(ws []wrapper, w wrapper) bool {
	for _, x := range ws {
		if x == w {
			return true
		}
	}
	return false
}
