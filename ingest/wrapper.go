package ingest

import (
	"bytes"
	"slices"
	"time"
)

// wrapper is something that a container runtime, kubectl or a person put around each line of a log.
type wrapper uint8

const (
	wrapANSI    wrapper = iota // terminal colours
	wrapCRI                    // `2024-01-01T00:00:00.000000000Z stderr F text` (Kubernetes CRI log format)
	wrapDocker                 // `{"log":"text\n","stream":"stderr","time":"…"}` (docker json-file)
	wrapPrefix                 // `[pod/NAME/CONTAINER] text` (kubectl logs --prefix)
	wrapEpoch                  // `[Envoy (Epoch 0)] text` (Istio up to 1.4)
	wrapJSON                   // `{"@timestamp":…,"message":"text","kubernetes":{…}}` and other shippers' envelopes
	wrapTimes                  // `2024-01-01T00:00:00.000000000Z text` (kubectl logs --timestamps)
	wrapStern                  // `POD CONTAINER text` (stern)
	wrapCompose                // `service-1  | text` (docker compose)
	wrapLoki                   // `2024-01-01T00:00:00Z {pod="x"} text` (logcli)
	wrapSyslog                 // `Nov 22 14:50:09 host envoy[12]: text`
	wrapStream                 // `2024-01-01T00:00:00+00:00 STREAM text` (aws logs tail)
	wrapMember                 // `    "message": "text",` (an export in JSON, printed over many lines)
	wrapCSV                    // `"Mar 4, 2026 @ 10:20:30.100",POD,"text"` (Kibana and other viewers)
	wrapQuote                  // `> text`, `| text`, indentation: pasted from a chat or an issue
	wrappers
)

var wrapperNames = [wrappers]string{"ansi", "cri", "docker", "kubectl-prefix", "epoch", "json-envelope", "kubectl-timestamps", "stern", "compose", "loki", "syslog",
	"log-stream", "json-pretty", "csv", "quoted"}

// doubtful are the wrappers that ordinary text may look like: they are removed only where the head of the input shows that it has
// them. The others cannot be mistaken, and are removed from any line that has one: files are put together from several sources.
var doubtful = []wrapper{wrapJSON, wrapTimes, wrapStern, wrapCompose, wrapLoki, wrapSyslog, wrapStream, wrapMember, wrapCSV, wrapQuote}

// meta is what wrappers tell about a line.
type meta struct {
	pod, namespace, container, node []byte
	stream                          []byte    // stdout or stderr
	time                            time.Time // when the runtime or shipper read the line
	unzoned                         bool      // time names no zone
	yearless                        bool      // time names no year, see [parseYearless]
	runtime                         bool      // a container runtime wrote the line: it splits long ones
	partial                         bool      // it did: the next line goes on where this one ends
	quoted                          bool      // the line has marks of quotation
	frame                           bool      // the line is of the export, not of the log
	inCell                          bool      // the line is inside a cell of a table: only the first of them tells who wrote it
}

// unwrap removes the wrappers from a physical line.
func (in *Input) unwrap(b []byte, m *meta) []byte {
	b = stripCertain(b, m, nil)
	for _, w := range in.wrappers {
		s, ok := in.strip(w, b, m)
		if b = s; ok {
			b = stripCertain(s, m, nil)
		}
	}
	return b
}

// stripCertain removes every wrapper that cannot be mistaken. Those that were there are added to seen, unless it is nil.
func stripCertain(b []byte, m *meta, seen *[]wrapper) []byte {
	if bytes.IndexByte(b, 0x1b) >= 0 {
		b = stripANSI(b)
		note(seen, wrapANSI)
	}
	for range 4 { // a log of a log: `[pod/x/y] 2024-… stderr F [Envoy (Epoch 0)] …`
		if len(b) < 12 {
			return b
		}
		w, ok := wrappers, false
		s := b
		switch c := b[0]; {
		case c == '[' && b[1] == 'p':
			w = wrapPrefix
			s, ok = stripPrefix(b, m)
		case c == '[' && b[1] == 'E':
			w = wrapEpoch
			s, ok = stripEpoch(b)
		case c == '{':
			w = wrapDocker
			s, ok = stripDocker(b, m)
			if bytes.IndexByte(s, 0x1b) >= 0 {
				s = stripANSI(s)
			}
		case '0' <= c && c <= '9':
			w = wrapCRI
			s, ok = stripCRI(b, m)
		}
		if !ok {
			return b
		}
		b = s
		note(seen, w)
	}
	return b
}

func note(seen *[]wrapper, w wrapper) {
	if seen != nil && !slices.Contains(*seen, w) {
		*seen = append(*seen, w)
	}
}

// strip removes one doubtful wrapper from b; a line that has not got it is left as it is.
func (in *Input) strip(w wrapper, b []byte, m *meta) (rest []byte, ok bool) {
	switch w {
	case wrapJSON:
		return stripJSON(b, m)
	case wrapTimes:
		return stripTimes(b, m)
	case wrapStern:
		return stripStern(b, m)
	case wrapCompose:
		return stripCompose(b, m)
	case wrapLoki:
		return stripLoki(b, m)
	case wrapSyslog:
		return stripSyslog(b, m)
	case wrapStream:
		return stripStream(b, m)
	case wrapMember:
		return stripMember(b, m)
	case wrapCSV:
		return in.columns.strip(b, m)
	case wrapQuote:
		return stripQuote(b, m)
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

// stripCRI reads `TIME STREAM TAGS TEXT`. Tags are separated by colons; the first one is P (partial) or F (full).
func stripCRI(b []byte, m *meta) ([]byte, bool) {
	n := bytes.IndexByte(b[:min(len(b), 40)], ' ')
	if n < 20 || len(b) < n+9 || b[n+1] != 's' || string(b[n+1:n+8]) != "stdout " && string(b[n+1:n+8]) != "stderr " {
		return b, false
	}
	tag, text, _ := bytes.Cut(b[n+8:], []byte{' '})
	if len(tag) == 0 || tag[0] != 'P' && tag[0] != 'F' || len(tag) > 1 && tag[1] != ':' {
		return b, false
	}
	t, zoned, _, ok := parseTime(b[:n])
	if !ok || !zoned {
		return b, false
	}
	m.time, m.unzoned, m.yearless = t, false, false
	m.stream, m.runtime, m.partial = b[n+1:n+7], true, tag[0] == 'P'
	return text, true
}

// stripDocker reads a line of docker's json-file driver, which writes its keys in this order. Others (fluent-bit puts `kubernetes`
// behind the same keys) are envelopes, see [stripJSON].
func stripDocker(b []byte, m *meta) ([]byte, bool) {
	if len(b) < 30 || string(b[:8]) != `{"log":"` || b[len(b)-1] != '}' {
		return b, false
	}
	s := b[8:]
	end := stringEnd(s)
	if end < 0 {
		return b, false
	}
	rest, ok := bytes.CutPrefix(s[end:], []byte(`","stream":"`))
	i := bytes.Index(rest, []byte(`"time":"`))
	if !ok || i < 8 {
		return b, false
	}
	t, zoned, n, ok := parseTime(rest[i+8:])
	if !ok || !zoned || string(rest[i+8+n:]) != `"}` {
		return b, false
	}
	m.time, m.unzoned, m.yearless = t, false, false
	m.stream, m.runtime = rest[:bytes.IndexByte(rest, '"')], true
	s = s[:end]
	// Docker splits at 16 KiB: what does not end with a newline goes on in the next line.
	if s, m.partial = cutEscapedNewline(s); m.partial {
		return unescapeJSON(s), true
	}
	return bytes.TrimSuffix(unescapeJSON(s), []byte{'\r'}), true
}

// cutEscapedNewline removes `\n` from the end of a JSON string body, and reports whether there was none.
func cutEscapedNewline(s []byte) (_ []byte, partial bool) {
	n := len(s) - 2
	if n < 0 || s[n] != '\\' || s[n+1] != 'n' {
		return s, true
	}
	slashes := 0
	for n-slashes >= 0 && s[n-slashes] == '\\' {
		slashes++
	}
	if slashes%2 == 0 {
		return s, true
	}
	return s[:n], false
}

func stripPrefix(b []byte, m *meta) ([]byte, bool) {
	if !bytes.HasPrefix(b, []byte("[pod/")) {
		return b, false
	}
	end := bytes.IndexByte(b, ']')
	if end < 0 || end > 600 {
		return b, false
	}
	m.pod, m.container, _ = bytes.Cut(b[5:end], []byte{'/'})
	return bytes.TrimPrefix(b[end+1:], []byte{' '}), true
}

func stripEpoch(b []byte) ([]byte, bool) {
	if !bytes.HasPrefix(b, []byte("[Envoy (Epoch ")) {
		return b, false
	}
	i := bytes.Index(b[:min(len(b), 40)], []byte(")]"))
	if i < 0 {
		return b, false
	}
	return bytes.TrimPrefix(b[i+2:], []byte{' '}), true
}

// stripTimes must not take the time of an Istio text line: there a tab (or, once copied, a run of blanks) and a level follow. kubectl
// prints nanoseconds, Istio microseconds; by that a message that begins with `fatal error` is told from a level. Grafana puts a
// tab behind the time.
func stripTimes(b []byte, m *meta) ([]byte, bool) {
	t, zoned, n, ok := parseTime(b)
	if !ok || !zoned || b[10] != 'T' || n >= len(b) || b[n] != ' ' && b[n] != '\t' {
		return b, false
	}
	if n <= len("2006-01-02T15:04:05.000000Z") || b[n] == '\t' {
		if word, _ := nextWord(b[n:]); len(word) <= 10 && levelOf(word) != LevelUnknown {
			return b, false
		}
	}
	m.time, m.unzoned, m.yearless = t, false, false
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

// stripStern reads `POD CONTAINER text`, or `NAMESPACE POD CONTAINER text` with --all-namespaces. Two words begin many a line: the first must
// be named as controllers name pods, or the second be a proxy.
func stripStern(b []byte, m *meta) ([]byte, bool) {
	var namespace []byte
	pod, r := nameWord(b)
	container, rest := nameWord(bytes.TrimPrefix(r, []byte("› ")))
	if len(pod) < 3 || len(container) < 2 {
		return b, false
	}
	if !looksLikePod(pod) && looksLikePod(container) {
		if third, r3 := nameWord(rest); len(third) >= 2 {
			namespace, pod, container, rest = pod, container, third, r3
		}
	}
	if !looksLikePod(pod) && !proxyContainer(string(container)) {
		return b, false
	}
	m.namespace, m.pod, m.container = namespace, pod, container
	return rest, true
}

// nameWord splits off a name that a blank or the end of the line ends; word is nil when there is none.
func nameWord(b []byte) (word, rest []byte) {
	n := k8sName(b)
	if n == 0 || n < len(b) && b[n] != ' ' {
		return nil, nil
	}
	return b[:n], b[min(n+1, len(b)):]
}

// looksLikePod recognises the suffix that a ReplicaSet, DaemonSet or StatefulSet gives its pods.
func looksLikePod(name []byte) bool {
	i := bytes.LastIndexByte(name, '-')
	if i < 1 {
		return false
	}
	if s := name[i+1:]; len(s) == 5 {
		for _, c := range s {
			if bytes.IndexByte([]byte("bcdfghjklmnpqrstvwxz2456789"), c) < 0 {
				return false
			}
		}
		return true
	}
	return i+1 < len(name) && digits(name[i+1:]) >= 0
}

func stripCompose(b []byte, m *meta) ([]byte, bool) {
	i := bytes.IndexByte(b[:min(len(b), 128)], '|')
	if i < 2 || b[i-1] != ' ' || i+1 < len(b) && b[i+1] != ' ' {
		return b, false
	}
	name := bytes.TrimRight(b[:i], " ")
	if len(name) == 0 || bytes.ContainsAny(name, " \t[]{}\"'|") {
		return b, false
	}
	m.pod = name
	return b[min(i+2, len(b)):], true
}

// stripLoki reads `TIME {pod="x", container="y"} text`, as logcli prints it.
func stripLoki(b []byte, m *meta) ([]byte, bool) {
	t, zoned, n, ok := parseTime(b)
	if !ok || !zoned || n+2 > len(b) || b[n] != ' ' || b[n+1] != '{' {
		return b, false
	}
	var l meta
	r := b[n+2:]
	for len(r) > 0 && r[0] != '}' {
		eq := bytes.Index(r, []byte(`="`))
		if eq < 0 {
			return b, false
		}
		end := stringEnd(r[eq+2:])
		if end < 0 {
			return b, false
		}
		l.label(bytes.TrimLeft(r[:eq], ", "), r[eq+2:eq+2+end])
		r = r[eq+3+end:]
	}
	if len(r) == 0 {
		return b, false
	}
	m.pod, m.namespace, m.container, m.node = l.pod, l.namespace, l.container, l.node
	m.time, m.unzoned, m.yearless = t, false, false
	if t := bytes.TrimLeft(r[1:], " "); hasHeader(t) { // labels are padded to one width
		return t, true
	}
	return bytes.TrimPrefix(r[1:], []byte{' '}), true
}

func (m *meta) label(key, value []byte) {
	switch string(key) {
	case "pod", "pod_name", "k8s_pod_name":
		m.pod = value
	case "namespace", "namespace_name", "k8s_namespace_name":
		m.namespace = value
	case "container", "container_name", "k8s_container_name":
		m.container = value
	case "node", "node_name", "host", "hostname":
		m.node = value
	}
}

// stripSyslog reads `TIME HOST TAG[PID]: text` of syslog files and journalctl. The time may name no year (RFC 3164) and may stand behind a
// priority. RFC 5424 has more columns: `<27>1 TIME HOST APP PID ID DATA text`.
func stripSyslog(b []byte, m *meta) ([]byte, bool) {
	r := b
	if len(b) > 4 && b[0] == '<' {
		if i := bytes.IndexByte(b[:min(len(b), 6)], '>'); i > 0 && digits(b[1:i]) >= 0 {
			r = b[i+1:]
			if len(r) > 2 && r[0] == '1' && r[1] == ' ' {
				return stripRFC5424(b, r[2:], m)
			}
		}
	}
	t, n, yearless := parseYearless(r)
	zoned := false
	if !yearless {
		var ok bool
		if t, zoned, n, ok = parseTime(r); !ok {
			return b, false
		}
	}
	if n >= len(r) || r[n] != ' ' {
		return b, false
	}
	host, r, _ := bytes.Cut(bytes.TrimLeft(r[n:], " "), []byte{' '})
	i := bytes.IndexByte(r[:min(len(r), 64)], ':')
	if i < 1 || len(host) == 0 || bytes.IndexByte(r[:i], ' ') >= 0 || i+1 < len(r) && r[i+1] != ' ' {
		return b, false
	}
	tag, _, _ := bytes.Cut(r[:i], []byte{'['})
	if !isWord(tag) {
		return b, false
	}
	m.time, m.unzoned, m.yearless = t, !zoned, yearless
	m.node, m.container = host, tag
	return r[min(i+2, len(r)):], true
}

func stripRFC5424(b, r []byte, m *meta) ([]byte, bool) {
	var f [5][]byte // time, host, application, process, message id
	for i := range f {
		f[i], r, _ = bytes.Cut(r, []byte{' '})
	}
	for len(r) > 0 && r[0] == '[' { // structured data
		end := labelsEnd(r, ']')
		if end < 0 {
			return b, false
		}
		r = r[end:]
	}
	r = bytes.TrimPrefix(bytes.TrimPrefix(bytes.TrimPrefix(r, []byte{'-'}), []byte{' '}), byteOrderMark)
	t, zoned, _, ok := parseTime(f[0])
	if !ok {
		return b, false
	}
	m.time, m.unzoned, m.yearless = t, !zoned, false
	m.node, m.container = f[1], f[2]
	return r, true
}

// stripStream reads `TIME STREAM text`, as `aws logs tail` prints it. ECS names its streams PREFIX/CONTAINER/TASK.
func stripStream(b []byte, m *meta) ([]byte, bool) {
	t, zoned, n, ok := parseTime(b)
	if !ok || !zoned || n >= len(b) || b[n] != ' ' {
		return b, false
	}
	stream, text, _ := bytes.Cut(b[n+1:], []byte{' '})
	if len(stream) < 4 || !bytes.ContainsAny(stream, "/-") || bytes.ContainsAny(stream, "\t{}\"'=|") || stream[0] == '[' {
		return b, false
	}
	m.time, m.unzoned, m.yearless = t, false, false
	m.pod = stream
	if _, rest, ok := bytes.Cut(stream, []byte{'/'}); ok {
		if container, task, ok := bytes.Cut(rest, []byte{'/'}); ok {
			m.container, m.pod = container, task
		}
	}
	return text, true
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

// csvColumns says what the columns of a table are. The zero value is a time, then anything, then the text.
type csvColumns struct {
	text, pod, namespace, container, node int // numbers of columns from 1, 0 when there is none; text 0 is the last
}

// parseColumns reads the first line of a table.
func parseColumns(l []byte) (c csvColumns) {
	n := 0
	for rest, more := l, true; more; {
		var name []byte
		name, rest, more = csvField(rest)
		n++
		var w jsonWalker
		k := w.spell(0, name)
		switch string(bytes.TrimPrefix(w.path[:min(k, len(w.path))], []byte("kubernetes"))) {
		case "message", "log", "raw", "line", "content", "textpayload":
			c.text = n
		case "podname", "pod":
			c.pod = n
		case "namespacename", "namespace":
			c.namespace = n
		case "containername", "container":
			c.container = n
		case "nodename", "node", "host", "hostname":
			c.node = n
		}
	}
	if c.text == n {
		c.text = 0
	}
	return c
}

// csvField splits off a field; quotes are removed, doubled ones inside stay.
func csvField(b []byte) (field, rest []byte, more bool) {
	if len(b) == 0 || b[0] != '"' {
		return bytes.Cut(b, []byte{','})
	}
	b = b[1:]
	end := cellEnd(b)
	if end+1 < len(b) && b[end+1] == ',' {
		return b[:end], b[end+2:], true
	}
	return b[:end], nil, false
}

// cellEnd finds the quote that ends a cell, or the end of the line when the cell goes on in the next.
func cellEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] == '"' {
			if i+1 == len(b) || b[i+1] != '"' {
				return i
			}
			i++
		}
	}
	return len(b)
}

// strip reads one line of a table whose first column is a time. A line without one is a part of the cell of another: a cell may hold
// the lines of a record.
func (c csvColumns) strip(b []byte, m *meta) ([]byte, bool) {
	first, rest, more := csvField(b)
	t, zoned, _, ok := parseTime(first)
	if !ok {
		t, _, ok = parseViewerTime(first)
	}
	if !ok || !more {
		m.inCell = true
		return undouble(b[:cellEnd(b)]), false
	}
	var l meta
	var field []byte
	for n := 2; ; n++ {
		field, rest, more = csvField(rest)
		switch n {
		case c.pod:
			l.pod = field
		case c.namespace:
			l.namespace = field
		case c.container:
			l.container = field
		case c.node:
			l.node = field
		}
		if n == c.text || !more {
			break
		}
	}
	m.pod, m.namespace, m.container, m.node = l.pod, l.namespace, l.container, l.node
	m.time, m.unzoned, m.yearless = t, !zoned, false
	return undouble(field), true
}

// undouble makes one of two quotes.
func undouble(b []byte) []byte {
	if !bytes.Contains(b, []byte(`""`)) {
		return b
	}
	return bytes.ReplaceAll(b, []byte(`""`), []byte(`"`))
}

// stripQuote removes the marks of a quotation, the frame that k9s draws, and the indentation of a code block.
func stripQuote(b []byte, m *meta) ([]byte, bool) {
	const frame = "│"
	i := 0
	for i < len(b) {
		if bytes.HasPrefix(b[i:], []byte(frame)) {
			i += len(frame)
		} else if b[i] == '>' || b[i] == '|' || b[i] == '`' {
			i++
		} else {
			break
		}
		if i < len(b) && b[i] == ' ' {
			i++
		}
	}
	if i == 0 {
		if t := bytes.TrimLeft(b, " \t"); len(t) < len(b) && hasHeader(t) {
			return t, true // indented code block
		}
		return b, false
	}
	m.quoted = true
	if bytes.HasPrefix(b, []byte(frame)) {
		return bytes.TrimRight(bytes.TrimSuffix(bytes.TrimRight(b[i:], " "), []byte(frame)), " "), true
	}
	return b[i:], true
}

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

// detectWrappers finds the wrappers of an input from its first lines: outermost first. names are all that were seen, for the user;
// those that [Input.unwrap] has to be told of come back in ws. The sample must not depend on how the input is divided into blocks.
func (in *Input) detectWrappers(sample [][]byte) (ws, names []wrapper) {
	lines := make([][]byte, len(sample))
	copy(lines, sample)
	names = certainWrappers(lines, names)
	for range 3 {
		w, rest, ok := in.detectWrapper(lines, ws)
		if !ok {
			break
		}
		lines = rest
		ws, names = append(ws, w), append(names, w)
		names = certainWrappers(lines, names)
	}
	return ws, names
}

// certainWrappers strips the lines of a sample in place and adds to names what more than a few of them had.
func certainWrappers(lines [][]byte, names []wrapper) []wrapper {
	var count [wrappers]int
	var order, seen []wrapper
	for i, l := range lines {
		var m meta
		seen = seen[:0]
		lines[i] = stripCertain(l, &m, &seen)
		for _, w := range seen {
			count[w]++
			note(&order, w)
		}
	}
	for _, w := range order {
		if count[w]*10 >= len(lines) {
			note(&names, w)
		}
	}
	return names
}

// detectWrapper finds the doubtful wrapper that hides most headers.
func (in *Input) detectWrapper(sample [][]byte, found []wrapper) (best wrapper, rest [][]byte, ok bool) {
	plain := 0
	for _, l := range sample {
		if known, _ := knownHeader(l); known {
			plain++
		}
	}
	most := 0
	for _, w := range doubtful {
		if slices.Contains(found, w) {
			continue
		}
		n, clear, timed, lines := 0, 0, 0, make([][]byte, 0, len(sample))
		for _, l := range sample {
			var m meta
			s, stripped := in.strip(w, l, &m)
			if stripped {
				s = stripCertain(s, &m, nil)
				n++
			}
			known, time := knownHeader(s)
			if known {
				clear++
			}
			if time && stripped {
				timed++
			}
			lines = append(lines, s)
		}
		if gain := clear - plain; w.holds(n, gain, timed, len(sample)) && n+2*gain > most {
			best, most, rest, ok = w, n+2*gain, lines, true
		}
	}
	return best, rest, ok
}

// holds decides whether an input has a wrapper that n of its lines carry, when gain more of them have a header without it, and timed have
// one with a time of their own.
func (w wrapper) holds(n, gain, timed, lines int) bool {
	most := n*10 >= lines*6
	switch {
	case n == 0:
		return false
	case w == wrapJSON: // decides by itself, line by line; an object looks like a header, what is in it may be a continuation
		return most || n*5 >= lines && gain >= 0
	case w == wrapTimes && n*10 >= lines*9 && timed*5 >= lines:
		return true // an access log entry looks like one with the time before it, too
	case w == wrapCompose && n == lines && gain >= 0:
		return true // every line has it, even if what is in them is nothing we know
	case w == wrapQuote:
		return gain > 0
	}
	return gain > 1 || gain > 0 && most
}

// knownHeader reports whether a line has a header of a known dialect, not just a time or some JSON, and whether that tells a time.
func knownHeader(l []byte) (known, timed bool) {
	var h head
	if !parseHead(l, &h, false) || h.dialect == "text" || h.dialect == "agent-json" && h.logger == nil {
		return false, false
	}
	return true, !h.time.IsZero()
}
