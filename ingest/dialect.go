package ingest

import (
	"bytes"
	"encoding/json"
	"sort"
	"time"
)

// head is what the first line of a record says before its message.
type head struct {
	dialect  string // "envoy", "istio-text", "istio-json", "envoy-json", "agent", "agent-json", "access", "access-json", "nginx", "logfmt", "klog", "text"
	kind     RecordKind
	time     time.Time
	zoned    bool
	yearless bool // time names no year, see [parseYearless]
	level    Level
	logger   []byte
	caller   []byte
	thread   []byte
	message  []byte // rest of the line
	access   access // for KindAccess
	single   bool   // the record ends with this line, whatever follows
}

// hasHeader reports whether a line begins a record in some known dialect.
func hasHeader(b []byte) bool {
	var h head
	return parseHead(b, &h, true)
}

// parseHead reads the header of a line. With peek, it only has to find out that there is one and fills in dialect, kind and single: the
// answer is the same.
//
// The dialects are tried by the first byte: `[` Envoy or its access log, `{` JSON, a digit anything with a time in front.
func parseHead(b []byte, h *head, peek bool) bool {
	*h = head{}
	if len(b) >= 8 && h.parse(b, peek) {
		return true
	}
	*h = head{}
	return false
}

func (h *head) parse(b []byte, peek bool) bool {
	switch c := b[0]; {
	case c == '[':
		return parseBracketed(b, h, peek) || parseUntimed(b, h, peek) || h.anyOrder(b)
	case c == '{':
		return parseJSONLine(b, h, peek)
	case c == ' ' || c == '\t':
		return false // a continuation: nobody indents the first line of a record
	case '0' <= c && c <= '9':
		if parseTimed(b, h, peek) {
			return true
		}
	case klogLevel(c) != LevelUnknown:
		if parseKlog(b, h) {
			return true
		}
	}
	if 'a' <= b[0]|0x20 && b[0]|0x20 <= 'z' && (parseLogfmt(b, h) || parseUntimedIstio(b, h)) {
		return true
	}
	if t, n, ok := parseYearless(b); ok && parseMonth(b) > 0 {
		h.text(b[n:], t, false)
		h.yearless = true
		return true
	}
	if t, n, ok := parseViewerTime(b); ok {
		h.text(b[n:], t, false)
		return true
	}
	return parseRequest(b, h, peek) || h.fields(b, b) || h.anyOrder(b)
}

// anyOrder reads a header that somebody made up: few words, among them a level, and a time that is not first or of another form than usual.
func (h *head) anyOrder(b []byte) bool {
	const marks = " \t[](){}<>|,;"
	var g head
	r := b
	for n := 0; ; n++ {
		r = bytes.TrimLeft(r, marks)
		if t, zoned, k, ok := parseAnyTime(r); ok {
			h.text(r[k:], t, zoned)
			break
		}
		end := bytes.IndexAny(r[:min(len(r), 40)], marks)
		if n == 4 || end < 1 {
			return false
		}
		w := bytes.TrimRight(r[:end], ":")
		switch lv := levelOf(w); {
		case g.level == LevelUnknown && lv != LevelUnknown:
			g.level = lv
		case g.logger == nil && isLogger(w):
			g.logger = w
		case g.thread == nil && digits(w) >= 0:
			g.thread = w
		case !isWord(w):
			return false
		}
		r = r[end:]
	}
	if g.level == LevelUnknown {
		if h.level != LevelUnknown {
			return true
		}
		w, rest := nextWord(h.message)
		if len(w) != 1 || klogLevel(w[0]) == LevelUnknown { // spdlog's %L
			return false
		}
		g.level, h.message = klogLevel(w[0]), rest
	}
	h.level, h.thread = g.level, g.thread
	for r = h.message; ; {
		w, rest := nextWord(r)
		w = bytes.Trim(w, "[](){}<>|:")
		switch {
		case g.logger == nil && isLogger(w):
			g.logger = w
		case h.thread == nil && len(w) > 0 && digits(w) >= 0:
			h.thread = w
		case h.caller == nil && isCaller(w):
			h.caller = w
		default:
			if h.logger = g.logger; h.logger != nil {
				h.kind = KindLog
			}
			h.message = bytes.TrimLeft(r, " \t|")
			return true
		}
		r = rest
	}
}

// text makes a header of nothing but a time.
func (h *head) text(message []byte, t time.Time, zoned bool) {
	h.dialect, h.kind, h.time, h.zoned = "text", KindText, t, zoned
	h.message = bytes.TrimLeft(message, " \t|,;]")
	h.loose()
}

// parseBracketed reads `[time][thread][level][logger] [file:line] message` (Envoy's default --log-format, see
// source/common/common/base_logger.cc) and every variant of it: without thread, logger or file, with blanks between the groups.
// An access log line is `[time] "METHOD …`.
func parseBracketed(b []byte, h *head, peek bool) bool {
	t, zoned, n, ok := parseTime(b[1:])
	if !ok {
		t, zoned, n, ok = parseCommonTime(b[1:])
	}
	if !ok || 1+n >= len(b) || b[1+n] != ']' {
		return false
	}
	h.time, h.zoned = t, zoned
	r := b[n+2:]
	if len(r) > 1 && r[0] == ' ' && r[1] == '"' {
		h.accessText(b, r[1:], peek)
		return true
	}
	if len(r) > 22 && r[0] == ' ' && r[1] == '[' {
		if _, _, _, ok := parseTime(r[2:]); ok {
			return false // a build server's time in front of a line that has its own
		}
	}
	if (len(r) < 2 || r[0] != '[' && r[1] != '[') && parseRequest(b, h, peek) { // `[time] MESH "METHOD …` and other orders
		h.time, h.zoned = t, zoned
		return true
	}
	if len(r) > 1 && r[0] != '[' && r[1] != '[' && h.fields(b, r) {
		h.time, h.zoned = t, zoned
		return true
	}
	h.dialect, h.kind = "envoy", KindLog
	if peek {
		return true
	}
	h.message = bytes.TrimPrefix(h.groups(r), []byte{' '})
	if h.level == LevelUnknown && h.logger == nil {
		h.loose()
	}
	return true
}

// parseUntimed reads Envoy's default format when somebody cut the time away: `[critical][wasm] [file:line] message`, with the thread
// in front or without. A file or one of Envoy's loggers must be among the groups, or ordinary words in brackets would do.
func parseUntimed(b []byte, h *head, peek bool) bool {
	var g head
	r := g.groups(b)
	if g.level == LevelUnknown || g.caller == nil && !isLogger(g.logger) {
		return false
	}
	h.dialect, h.kind = "envoy", KindLog
	if !peek {
		h.level, h.logger, h.caller, h.thread = g.level, g.logger, g.caller, g.thread
		h.message = bytes.TrimPrefix(r, []byte{' '})
	}
	return true
}

// parseUntimedIstio is the like for Istio's format: `error⇥envoy wasm file:line⇥message`.
func parseUntimedIstio(b []byte, h *head) bool {
	word, rest := nextWord(b)
	next, _ := nextWord(rest)
	if string(next) != "envoy" || levelOf(word) == LevelUnknown {
		return false
	}
	h.level = levelOf(word)
	h.istio(rest, rest[0] == '\t')
	return h.logger != nil
}

// groups takes the bracketed groups of a header and gives what follows them.
func (h *head) groups(r []byte) []byte {
	for h.caller == nil {
		s, apart := bytes.CutPrefix(r, []byte{' '})
		if len(s) == 0 || s[0] != '[' {
			break
		}
		end := bytes.IndexByte(s[:min(len(s), 256)], ']')
		if end < 0 || !h.group(s[1:end], apart, s[end+1:]) {
			break
		}
		r = s[end+1:]
	}
	return r
}

// group takes one bracketed group of a header. apart means that a blank stands before it, rest is what follows it.
func (h *head) group(g []byte, apart bool, rest []byte) bool {
	switch {
	case len(g) == 0:
		return true
	case h.level == LevelUnknown && h.thread == nil && digits(g) >= 0:
		h.thread = g
	case h.level == LevelUnknown && levelOf(g) != LevelUnknown:
		h.level = levelOf(g)
	case isCaller(g):
		h.caller = g
	case h.logger == nil && h.level != LevelUnknown && isWord(g) && (!apart || isLogger(g)):
		h.logger = g // `[C7]` of a connection stands apart too, where a format has no logger
	case h.logger == nil && h.level == LevelUnknown && isLogger(g) && bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte{'['}):
		h.logger = g // spdlog's own order: `[time] [logger] [level]`
	default:
		return false
	}
	return true
}

// isCaller recognises `source/extensions/common/wasm/wasm.cc:104`.
func isCaller(g []byte) bool {
	i := bytes.LastIndexByte(g, ':')
	return i > 2 && i+1 < len(g) && digits(g[i+1:]) >= 0 && bytes.LastIndexByte(g[:i], '.') > 0 && bytes.IndexByte(g, ' ') < 0
}

// isWord recognises a logger or scope name. With --enable-fine-grain-logging it is the path of a source file.
func isWord(g []byte) bool {
	if len(g) == 0 || len(g) > 120 {
		return false
	}
	for _, c := range g {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == '/') {
			return false
		}
	}
	return true
}

// isLogger reports whether a word is one of Envoy's loggers (source/common/common/logger.h, up to 1.40).
func isLogger(w []byte) bool {
	if len(w) == 0 || len(w) > 24 {
		return false
	}
	return loggers[string(w)]
}

var loggers = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range bytes.Fields([]byte(`a2a admin alternate_protocols_cache aws assert backtrace basic_auth cache_filter client config connection
		conn_handler compression credential_injector decompression dns dubbo dynamic_modules envoy_bug ext_authz ext_proc file filter
		forward_proxy geolocation golang grpc happy_eyeballs hc health_checker http http2 hystrix init io ip_tagging json_rpc jwt kafka
		key_value_store local_rate_limit lua main matcher mcp misc mongo multi_connection notification oauth2 pool quic quic_stream
		rate_limit_quota rbac rds redis rocketmq router runtime secret sse stats stats_sinks tap testing thrift tracing udp upstream
		wasm websocket`)) {
		m[string(w)] = true
	}
	return m
}()

// parseTimed reads lines that start with a bare time: Istio text (tabs, or blanks once copied), the agent and istiod, nginx-based
// hosts, Envoy with a --log-format of its own, and anything else that puts a time and soon after a level in front of its message.
func parseTimed(b []byte, h *head, peek bool) bool {
	t, zoned, n, ok := parseTime(b)
	if !ok || n >= len(b) {
		return false
	}
	r := b[n:]
	switch r[0] {
	case ' ', '\t', '|', ',', ';', ']':
	case '\\': // Istio's tabs, escaped by --log-format-escaped
		if len(r) < 2 || r[1] != 't' {
			return false
		}
		if r, ok = unescapeC(r); !ok {
			r = bytes.ReplaceAll(b[n:], []byte(`\t`), []byte{'\t'})
		}
	default:
		return false
	}
	h.time, h.zoned = t, zoned
	word, rest := nextWord(r)
	switch {
	case len(word) == 0:
	case word[0] == '[':
		if h.timedGroups(bytes.TrimLeft(r, " \t")) {
			return true
		}
	case levelOf(bytes.TrimRight(word, ":")) != LevelUnknown && zoned && b[10] == 'T' && (word[0] >= 'a' || r[0] == '\t') && !(n == len(kubectlTime) && r[0] == ' '):
		h.level = levelOf(bytes.TrimRight(word, ":"))
		h.istio(rest, r[0] == '\t')
		return true
	case word[0] == '|' || word[0] == '-':
		if h.columns(bytes.TrimLeft(r, " \t"), word) {
			return true
		}
	}
	if parseRequest(b, h, peek) {
		h.time, h.zoned = t, zoned
		return true
	}
	if h.fields(b, r) {
		h.time, h.zoned = t, zoned
		return true
	}
	h.text(r, t, zoned)
	return true
}

// kubectlTime is what `kubectl logs --timestamps` puts before a line: a level behind it is a word of the message. Istio prints microseconds.
const kubectlTime = "2006-01-02T15:04:05.000000000Z"

// timedGroups reads `[36][error][wasm] [file:line] message` after a bare time, and nginx's `[error] 12#12: *5 message`.
func (h *head) timedGroups(r []byte) bool {
	var g head
	rest := g.groups(r)
	if g.level == LevelUnknown {
		return false
	}
	h.level, h.logger, h.caller, h.thread = g.level, g.logger, g.caller, g.thread
	w, r2 := nextWord(rest)
	if bytes.IndexByte(w, '#') > 0 && w[len(w)-1] == ':' {
		h.dialect, h.kind, h.thread = "nginx", KindLog, w[:len(w)-1]
		h.message = bytes.TrimLeft(r2, " ")
		if c, r3 := nextWord(h.message); len(c) > 1 && c[0] == '*' && digits(c[1:]) >= 0 { // number of the connection
			h.message = bytes.TrimLeft(r3, " ")
		}
		return true
	}
	if g.logger == nil && h.consul(w) {
		rest = r2
	}
	h.dialect, h.kind = "envoy", KindLog
	if g.caller == nil && !isLogger(h.logger) {
		h.dialect, h.kind = "text", KindText
	}
	h.message = bytes.TrimPrefix(rest, []byte{' '})
	return true
}

// consul takes `envoy.wasm(22)`, logger and thread as consul-dataplane has them printed.
func (h *head) consul(w []byte) bool {
	w, ok := bytes.CutPrefix(w, []byte("envoy."))
	logger, thread, ok2 := bytes.Cut(w, []byte{'('})
	thread, ok3 := bytes.CutSuffix(thread, []byte{')'})
	if !ok || !ok2 || !ok3 || !isLogger(logger) || digits(thread) < 0 {
		return false
	}
	h.logger, h.thread = logger, thread
	return true
}

// columns reads `| error | wasm | 36 | message` after a bare time: level, logger, thread and file in any order, with the given separator
// before each. What is none of them begins the message.
func (h *head) columns(r, separator []byte) bool {
	var g head
	for r = r[len(separator):]; ; {
		f, rest, ok := bytes.Cut(r, separator)
		f = bytes.Trim(f, " ")
		switch lv := levelOf(f); {
		case !ok:
		case g.level == LevelUnknown && lv != LevelUnknown:
			g.level, r = lv, rest
			continue
		case g.logger == nil && isLogger(f):
			g.logger, r = f, rest
			continue
		case g.thread == nil && len(f) > 0 && digits(f) >= 0:
			g.thread, r = f, rest
			continue
		case g.caller == nil && isCaller(f):
			g.caller, r = f, rest
			continue
		}
		break
	}
	if g.level == LevelUnknown {
		return false
	}
	h.dialect, h.kind = "text", KindText
	if g.logger != nil || g.caller != nil {
		h.dialect, h.kind = "envoy", KindLog
	}
	h.level, h.logger, h.caller, h.thread = g.level, g.logger, g.caller, g.thread
	h.message = bytes.TrimPrefix(r, []byte{' '})
	return true
}

// istio reads what follows the level in Istio's formats: `envoy LOGGER[ FILE:LINE]\tmessage[\tthread=N]` for the proxy,
// `[SCOPE\t]message` for agent and istiod. Once the tabs were lost, `envoy` and the file tell the parts.
func (h *head) istio(rest []byte, tabs bool) {
	h.dialect, h.kind = "agent", KindAgent
	word, r := nextWord(rest)
	if string(word) == "envoy" {
		h.dialect, h.kind = "istio-text", KindLog
		h.logger, r = nextWord(r)
		w, r2 := nextWord(r)
		switch {
		case isCaller(w) && (!tabs || r[0] == ' '): // after a tab it is the message that begins so
			h.caller, r = w, r2
		case len(w) > 2 && w[0] == '[' && w[len(w)-1] == ']' && isCaller(w[1:len(w)-1]): // Istio up to 1.6: `[external/…/wasm.cc:292] message`
			h.caller, r = w[1:len(w)-1], r2
		}
		h.message = trimOne(r)
		return
	}
	body := trimOne(rest)
	if tabs {
		if i := bytes.IndexByte(body, '\t'); i > 0 && i < 40 && isWord(body[:i]) {
			h.logger, body = body[:i], body[i+1:]
		}
	} else if isWord(word) && knownScope(word) {
		h.logger, body = word, bytes.TrimLeft(r, " \t")
	}
	h.message = body
}

// knownScope lists scopes of pilot-agent and istiod, needed only where tabs became blanks.
func knownScope(w []byte) bool {
	switch string(w) {
	case "wasm", "xdsproxy", "cache", "sds", "healthcheck", "ads", "delta", "citadelclient", "googleca", "model", "kube", "controller":
		return true
	}
	return false
}

// parseKlog reads `E0501 10:00:00.123456   1 reflector.go:147] message`, the format of Kubernetes components, in which Envoy is asked to
// log too (`%L%m%d %T.%f %t %s:%#] %v`).
func parseKlog(b []byte, h *head) bool {
	t, n, ok := parseYearless(b[1:])
	if !ok || n < 13 || 1+n >= len(b) || b[1+n] != ' ' {
		return false
	}
	r := bytes.TrimLeft(b[1+n:], " ")
	end := bytes.IndexByte(r[:min(len(r), 160)], ']')
	if end < 0 {
		return false
	}
	thread, caller := nextWord(r[:end])
	caller = bytes.TrimLeft(caller, " ")
	if digits(thread) < 0 || !isCaller(caller) && !isLogger(caller) {
		return false
	}
	h.dialect, h.kind, h.time, h.yearless = "klog", KindText, t, true
	if isLogger(caller) { // `%L%m%d %T.%f %t %n] %v`
		h.kind, h.logger = KindLog, caller
		caller = nil
	} else if bytes.Contains(caller, []byte(".cc:")) || bytes.Contains(caller, []byte(".h:")) {
		h.kind = KindLog
	}
	h.level = klogLevel(b[0])
	h.thread, h.caller, h.message = thread, caller, bytes.TrimPrefix(r[end+1:], []byte{' '})
	return true
}

// klogLevel reads the letter of a level; C, D and T are what spdlog prints for `%L`.
func klogLevel(c byte) Level {
	switch c {
	case 'T':
		return LevelTrace
	case 'D':
		return LevelDebug
	case 'I':
		return LevelInfo
	case 'W':
		return LevelWarning
	case 'E':
		return LevelError
	case 'C', 'F':
		return LevelCritical
	}
	return LevelUnknown
}

// parseLogfmt reads `time="…" level=error logger=wasm msg="…"`. Where nothing says that Envoy wrote it, the message is left whole: rules
// look for words, and the keys are words too.
func parseLogfmt(b []byte, h *head) bool {
	eq := bytes.IndexByte(b[:min(len(b), 40)], '=')
	if eq < 1 || !isWord(b[:eq]) {
		return false
	}
	var l fieldSet
	l.pairs(b)
	if l.accessTo(h, b) {
		h.single = false
		return true
	}
	switch string(b[:eq]) {
	case "time", "ts", "t", "timestamp", "level", "lvl", "loglevel":
	default:
		return false
	}
	if l.at == nil && l.level == nil {
		return false
	}
	l.logTo(h)
	h.dialect, h.kind = "logfmt", KindLog
	if h.message == nil || !isLogger(h.logger) && !isCaller(h.caller) {
		h.kind, h.message = KindText, b
	}
	h.single = false
	return true
}

// pairs reads `key=value key="value"`; what is neither stands between them and is passed over.
func (l *fieldSet) pairs(b []byte) {
	for r := b; len(r) > 0; {
		eq := bytes.IndexByte(r, '=')
		if eq < 0 {
			break
		}
		key, v := r[bytes.LastIndexAny(r[:eq], " \t,;|[{")+1:eq], r[eq+1:]
		if len(v) > 0 && v[0] == '"' {
			end := stringEnd(v[1:])
			if end < 0 {
				break
			}
			v, r = v[:end+2], v[end+2:]
		} else if sp := bytes.IndexAny(v, " \t,;|]}"); sp >= 0 {
			if v[sp] == ',' && sp+1 < len(v) && areKnownFlags(v[:max(bytes.IndexAny(v, " \t"), sp)]) { // UF,URX
				sp = max(bytes.IndexAny(v, " \t"), sp)
			}
			v, r = v[:sp], v[sp:]
		} else {
			r = nil
		}
		var w jsonWalker
		if n := w.spell(0, key); n > 0 && n <= len(w.path) && len(v) > 0 {
			l.visit(w.path[:n], v)
		}
	}
}

// loose finds a level and a logger among the first words of a message in an unknown format, so that rules that ask for them
// still work: `ERROR wasm: …`, `host-3 (error) [wasm] …`. A level that is a plain word must stand first or before a logger: `connection
// error` is prose. Unless the message begins with both, it is left whole.
func (h *head) loose() {
	r, first := h.message, true
	if _, _, n, ok := parseTime(r); ok { // the log's own, behind that of a wrapper
		r = r[n:]
	}
	for range 6 {
		word, rest := nextWord(r)
		if len(word) == 0 {
			return
		}
		w := bytes.Trim(word, "[]():|<>,\"")
		w = bytes.TrimPrefix(bytes.TrimPrefix(w, []byte("level=")), []byte("lvl="))
		w = bytes.Trim(w, `"`)
		next, rest2 := nextWord(rest)
		n := bytes.Trim(next, "[]():|\"")
		named := isLogger(n) && (string(n) == "wasm" || len(n) < len(next))
		if lv := levelOf(w); lv != LevelUnknown && (first || named || len(w) < len(word) || w[0] < 'a') {
			h.level = lv
			if named {
				h.logger, h.kind = n, KindLog
			}
			if named && first { // nothing but a header stands before
				h.message = bytes.TrimLeft(rest2, " ")
			}
			return
		}
		r, first = rest, false
	}
}

// nextWord splits off the next run of non-blanks.
func nextWord(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	j := i
	for j < len(b) && b[j] != ' ' && b[j] != '\t' {
		j++
	}
	return b[i:j], b[j:]
}

// trimOne removes the separator in front of a message, but no blanks of the message itself (fragments begin with blanks).
func trimOne(b []byte) []byte {
	if len(b) > 0 && b[0] == '\t' {
		return b[1:]
	}
	return bytes.TrimLeft(b, " ")
}

// fieldSet is what the keys of a line in JSON or logfmt say, whatever they are called.
type fieldSet struct {
	msg, level, at, caller, thread, scope                               []byte
	msgRank                                                             int
	method, path, request, status, flags, details, upstream, took, sent []byte
	unit                                                                time.Duration // of took
	strong                                                              bool          // there is a key that only access logs have
	scoped                                                              bool          // the logger's name stands under `scope`
}

// visit takes one member of an object, see [jsonWalk].
func (l *fieldSet) visit(path, v []byte) jsonStep {
	if v[0] == '{' {
		return jsonEnter
	}
	switch string(path) {
	case "msg":
		l.message(v, 4)
	case "message":
		l.message(v, 3)
	case "text":
		l.message(v, 2)
	case "event", "body":
		l.message(v, 1)
	case "level", "severity", "severitytext", "loglevel", "lvl", "levelname":
		l.level = v
	case "time", "timestamp", "ts", "t", "starttime", "datetime", "asctime":
		if l.at == nil || string(path) != "timestamp" {
			l.at = v
		}
	case "caller", "file", "source", "sourceline", "logoriginfilename":
		l.caller = v
	case "thread", "tid", "threadid", "processthreadid":
		l.thread = v
	case "scope", "logger", "loglogger", "loggername", "name", "component":
		if own := string(path) == "scope"; own || l.scope == nil {
			l.scope, l.scoped = v, own
		}
	default:
		l.visitAccess(path, v)
	}
	return jsonSkip
}

func (l *fieldSet) message(v []byte, rank int) {
	if rank > l.msgRank && v[0] == '"' {
		l.msg, l.msgRank = v, rank
	}
}

// visitAccess takes what access logs say. Envoy has no names of its own for JSON: they are what somebody wrote into the configuration, from
// `status` to `envoy.http.response.status_code`. The last words of a key decide, and where they say nothing, values that only Envoy writes.
func (l *fieldSet) visitAccess(path, v []byte) {
	ends := func(words ...string) bool {
		for _, w := range words {
			if len(path) >= len(w) && string(path[len(path)-len(w):]) == w {
				return true
			}
		}
		return false
	}
	switch upstream := bytes.Contains(path, []byte("upstream")); {
	case ends("responseflags", "responseflag", "respflags", "responseflagslong", "responseflagsshort"):
		if l.flags == nil || !ends("long") {
			l.flags, l.strong = v, true
		}
	case string(path) == "flags" || ends("envoyflags"):
		l.flags = v
	case ends("codedetails", "responsedetails", "respdetails"):
		l.details, l.strong = v, true
	case string(path) == "details":
		l.details = v
	case upstream && ends("upstream", "host", "addr", "address", "ip") && !ends("localaddress", "localaddr"):
		if l.upstream == nil || ends("host") {
			l.upstream = v
		}
	case ends("responsecode", "responsestatuscode", "respcode"):
		l.status, l.strong = v, true
	case ends("statuscode", "status", "httpcode") && !ends("grpcstatus", "grpcstatuscode", "mixerstatus") || string(path) == "code":
		if l.status == nil {
			l.status = v
		}
	case ends("method", "verb"):
		l.method = v
	case ends("path", "uri", "url", "urloriginal", "xenvoyoriginpath"):
		if !ends("filepath", "logpath") && (l.path == nil || string(v) != "null" && string(v) != `"-"`) {
			l.path = v
		}
	case string(path) == "request" || ends("requestline", "httprequest"):
		l.request = v
	case string(path) == "requesttime": // nginx
		l.took, l.unit = v, time.Second
	case !upstream && ends("duration", "durationms", "responsetime", "latency", "latencyms", "dur", "elapsed", "tooktime", "totaltime"):
		if l.took == nil || !bytes.Contains(path, []byte("request")) && !bytes.Contains(path, []byte("response")) {
			l.took, l.unit = v, time.Millisecond
		}
	case ends("bytessent", "responsebytes", "responsesize", "sentbytes", "respsize", "responsebodybytes", "bytesout") || string(path) == "bytes":
		l.sent = v
	case l.details == nil && isDetails(bare(v)):
		l.details, l.strong = v, true
	}
}

// isDetails recognises response code details that no other program writes.
func isDetails(v []byte) bool {
	for _, d := range []string{"wasm_fail_stream", "wasm_close_stream", "via_upstream", "upstream_reset_before_response_started", "rbac_access_denied_matched_policy", "stream_idle_timeout",
		"route_not_found", "no_healthy_upstream", "downstream_remote_disconnect", "downstream_local_disconnect"} {
		if len(v) >= len(d) && string(v[:len(d)]) == d {
			return true
		}
	}
	return false
}

// clock reads the time.
func (l *fieldSet) clock(h *head) {
	ts := jsonText(l.at)
	if ts == nil {
		ts = l.at // logfmt has no quotes
	}
	if t, zoned, _, ok := parseTime(ts); ok {
		h.time, h.zoned = t, zoned
	} else if t, ok := parseEpoch(ts); ok {
		h.time, h.zoned = t, true
	} else if t, zoned, _, ok := parseCommonTime(ts); ok {
		h.time, h.zoned = t, zoned
	}
}

// logTo fills in what a line of an application log says.
func (l *fieldSet) logTo(h *head) {
	word := func(v []byte) []byte {
		if len(v) > 0 && v[0] != '"' && v[0] != '[' && string(v) != "null" {
			return v
		}
		return jsonText(v)
	}
	h.level = levelOf(word(l.level))
	h.caller, h.thread, h.logger, h.message = jsonText(l.caller), word(l.thread), word(l.scope), jsonText(l.msg)
	if len(h.logger) == 0 {
		h.logger = nil
	}
	l.clock(h)
}

// parseJSONLine reads one JSON object as a record: Envoy's or Istio's application log in any of its key sets, or an access log.
func parseJSONLine(b []byte, h *head, peek bool) bool {
	if b[len(b)-1] != '}' {
		return false
	}
	h.single = true
	var l fieldSet
	if !jsonWalk(b, l.visit) {
		return brokenJSON(b, h)
	}
	if l.accessTo(h, b) {
		return true
	}
	if l.msg == nil {
		return false
	}
	l.logTo(h)
	if logger, ok := bytes.CutPrefix(h.logger, []byte("envoy ")); ok {
		h.dialect, h.kind, h.logger = "istio-json", KindLog, logger
		return true
	}
	// `scope` is a key of Istio's Go programs. The agent has a scope "wasm" too; Envoy's loggers stand behind the word "envoy" there.
	if ours := h.thread != nil || isCaller(h.caller) || isLogger(h.logger); ours && !l.scoped && !bytes.Contains(h.caller, []byte(".go:")) {
		h.dialect, h.kind = "envoy-json", KindLog
		return true
	}
	h.dialect, h.kind = "agent-json", KindAgent
	switch {
	case h.logger == nil && h.caller == nil && len(jsonText(l.at)) != len("2026-11-22T14:50:09.970123Z"):
		h.kind = KindText // level, time and message could be Envoy's as well; the agent prints microseconds
	case l.scoped && bytes.IndexByte(h.logger, '.') > 0:
		h.kind = KindText // Istio's scopes are single words; Dapr, another host of plugins, has `dapr.runtime.…`
	}
	if !peek {
		h.message = append(h.message[:len(h.message):len(h.message)], otherKeys(b)...)
	}
	return true
}

// otherKeys gives the keys that an agent's JSON line has beside the usual ones, as its text format would print them.
func otherKeys(line []byte) []byte {
	var e map[string]any
	if json.Unmarshal(line, &e) != nil {
		return nil
	}
	var names []string
	for k := range e {
		switch k {
		case "level", "time", "scope", "msg", "caller", "thread", "message", "logger", "timestamp", "@timestamp", "ts", "severity", "stream":
		default:
			names = append(names, k)
		}
	}
	sort.Strings(names)
	var b []byte
	for _, k := range names {
		if s, ok := e[k].(string); ok {
			b = append(append(append(append(b, '\t'), k...), '='), s...)
		}
	}
	return b
}

// brokenJSON keeps what can be had of an object that is no valid JSON, as Envoy wrote before 1.24 when a message held a quote.
func brokenJSON(b []byte, h *head) bool {
	msg, ok := looseString(b, `"msg":"`)
	if !ok {
		if msg, ok = looseString(b, `"message":"`); !ok {
			return false
		}
	}
	h.dialect, h.kind, h.message = "istio-json", KindLog, unescapeJSON(msg)
	if v, ok := looseString(b, `"level":"`); ok {
		h.level = levelOf(v)
	}
	if v, ok := looseString(b, `"time":"`); ok {
		h.time, h.zoned, _, _ = parseTime(v)
	}
	if v, ok := looseString(b, `"caller":"`); ok && isCaller(v) {
		h.caller = v
	}
	if v, ok := looseString(b, `"thread":"`); ok && digits(v) >= 0 {
		h.thread = v
	}
	if v, ok := looseString(b, `"scope":"envoy `); ok && isWord(v) {
		h.logger = v
	}
	return true
}

// looseString gives the value behind a key, up to where the next of the usual keys begins or the object ends.
func looseString(b []byte, key string) ([]byte, bool) {
	i := bytes.Index(b, []byte(key))
	if i < 0 {
		return nil, false
	}
	v := b[i+len(key):]
	end := -1
	for _, next := range []string{`","msg":`, `","message":`, `","caller":`, `","thread":`, `","scope":`, `","level":`, `","time":`} {
		if j := bytes.Index(v, []byte(next)); j >= 0 && (end < 0 || j < end) {
			end = j
		}
	}
	if end < 0 {
		if end = bytes.LastIndex(v, []byte(`"`)); end < 0 {
			return nil, false
		}
	}
	return v[:end], true
}
