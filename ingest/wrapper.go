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
	wrapFluent                 // `[0] TAG: [[1700000000.123, {}], {"log"=>"text"}]` (Fluent Bit's stdout)
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
	wrapRespelt                // `""GET /"" 503`, `&quot;GET /&quot;`, `”GET /”`: quotes that a table, a page or an editor spells otherwise
	wrapLead                   // `12:text`, `logs/a.log:12:text`, `00:00:07 text`: what looks alike on every line, see [lead]
	wrappers
)

var wrapperNames = [wrappers]string{"ansi", "cri", "docker", "kubectl-prefix", "epoch", "fluent-bit", "json-envelope", "kubectl-timestamps", "stern", "compose", "loki", "syslog",
	"log-stream", "json-pretty", "csv", "quoted", "respelt", "prefixed"}

// doubtful are the wrappers that ordinary text may look like: they are removed only where the head of the input shows that it has
// them. The others cannot be mistaken, and are removed from any line that has one: files are put together from several sources.
var doubtful = []wrapper{wrapJSON, wrapTimes, wrapStern, wrapCompose, wrapLoki, wrapSyslog, wrapStream, wrapMember, wrapCSV, wrapQuote, wrapRespelt, wrapLead}

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
		case c == '[' && '0' <= b[1] && b[1] <= '9':
			w = wrapFluent
			s, ok = stripFluent(b, m)
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
	case wrapRespelt:
		return respell(b)
	case wrapLead:
		return in.stripLead(b, m)
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
	all, told := 0, 0
	for _, l := range sample {
		if known, bare, _ := knownHeader(l); known {
			if all++; !bare {
				told++
			}
		}
	}
	most := 0
	for _, w := range doubtful {
		if slices.Contains(found, w) {
			continue
		}
		if w == wrapLead {
			if in.leads = findLeads(sample); in.leads == nil || !slices.Contains(found, wrapCSV) && in.columns.fits(sample) {
				continue
			}
		}
		n, clear, timed, lines := 0, 0, 0, make([][]byte, 0, len(sample))
		for _, l := range sample {
			var m meta
			s, stripped := in.strip(w, l, &m)
			if stripped {
				s = stripCertain(s, &m, nil)
				n++
			}
			known, bare, time := knownHeader(s)
			if !known && stripped && w == wrapLead { // an envelope may stand behind it
				inner, _ := stripJSON(s, &m)
				known, bare, _ = knownHeader(inner)
			}
			if known && (w != wrapLead || !bare) {
				clear++
			}
			if time && stripped {
				timed++
			}
			lines = append(lines, s)
		}
		gain := clear - all
		if w == wrapLead { // a build server's time in front of a line without one looks like a header
			gain = clear - told
		}
		holds := w.holds(n, gain, timed, len(sample)) || w == wrapCSV && in.columns.n > 1 && n*10 >= len(sample)*6 && gain >= 0
		if holds && n+2*gain > most {
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
	case w == wrapRespelt:
		return gain >= 0 && n*10 >= lines
	}
	return gain > 1 || gain > 0 && most
}

// knownHeader reports whether a line has a header of a known dialect, not just a time or some JSON, whether that is no more than a time in
// brackets, and whether it tells a time.
func knownHeader(l []byte) (known, bare, timed bool) {
	var h head
	if !parseHead(l, &h, false) || h.dialect == "text" || h.dialect == "agent-json" && h.logger == nil {
		return false, false, false
	}
	return true, h.dialect == "envoy" && h.level == LevelUnknown && h.logger == nil, !h.time.IsZero()
}
