package ingest

import (
	"bytes"
	"encoding/json"
	"sort"
	"strconv"
	"strings"
	"time"
)

// head is what the first line of a record says before its message.
type head struct {
	dialect string // "envoy", "istio-text", "istio-json", "agent", "access", "nginx", "text"
	kind    RecordKind
	time    time.Time
	zoned   bool
	level   Level
	logger  []byte
	caller  []byte
	thread  []byte
	message []byte // rest of the line
	access  *Access
	single  bool // the record ends with this line, whatever follows
}

// hasHeader reports whether a line begins a record in some known dialect.
func hasHeader(b []byte) bool {
	var h head
	return parseHead(b, &h, true)
}

// parseHead reads the header of a line. With peek, it only has to find out that there is one.
//
// The dialects are tried by the first byte: `[` Envoy or its access log, `{` JSON, a digit anything with a time in front.
func parseHead(b []byte, h *head, peek bool) bool {
	if len(b) < 8 {
		return false
	}
	switch c := b[0]; {
	case c == '[':
		return parseBracketed(b, h, peek)
	case c == '{':
		return parseJSONLine(b, h, peek)
	case '0' <= c && c <= '9':
		return parseTimed(b, h, peek)
	case c == '#' && (len(b) < 12 || b[1] == ' '):
		return parseStat(b, h)
	}
	return parseStat(b, h)
}

// parseBracketed reads `[time][thread][level][logger] [file:line] message` (Envoy's default --log-format, see
// source/common/common/base_logger.cc) and every variant of it: without thread, logger or file, with blanks between the groups.
// An access log line is `[time] "METHOD …`.
func parseBracketed(b []byte, h *head, peek bool) bool {
	t, zoned, n, ok := parseTime(b[1:])
	if !ok || 1+n >= len(b) || b[1+n] != ']' {
		return false
	}
	h.time, h.zoned = t, zoned
	r := b[n+2:]
	if len(r) > 1 && r[0] == ' ' && r[1] == '"' {
		return parseAccessText(b, r[1:], h, peek)
	}
	h.dialect, h.kind = "envoy", KindLog
	if peek {
		return true
	}
	for {
		s := r
		if len(s) > 0 && s[0] == ' ' {
			s = s[1:]
		}
		if len(s) == 0 || s[0] != '[' {
			break
		}
		end := bytes.IndexByte(s, ']')
		if end < 0 || end > 256 {
			break
		}
		g := s[1:end]
		if !h.group(g) {
			break
		}
		r = s[end+1:]
		if h.caller != nil {
			break
		}
	}
	h.message = bytes.TrimPrefix(r, []byte{' '})
	if h.level == LevelUnknown && h.logger == nil {
		h.loose()
	}
	return true
}

// group takes one bracketed group of a header.
func (h *head) group(g []byte) bool {
	switch {
	case len(g) == 0:
		return true
	case h.level == LevelUnknown && h.thread == nil && digits(g) >= 0:
		h.thread = g
	case h.level == LevelUnknown && len(g) <= 8 && ParseLevel(string(g)) != LevelUnknown:
		h.level = ParseLevel(string(g))
	case isCaller(g):
		h.caller = g
	case h.logger == nil && h.level != LevelUnknown && isWord(g):
		h.logger = g
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

// isWord recognises a logger or scope name.
func isWord(g []byte) bool {
	if len(g) == 0 || len(g) > 40 {
		return false
	}
	for _, c := range g {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == '/') {
			return false
		}
	}
	return true
}

// parseTimed reads lines that start with a bare time: Istio text (tabs, or blanks once copied), the agent and istiod, nginx-based
// hosts, and anything else that puts a time and soon after a level in front of its message.
func parseTimed(b []byte, h *head, peek bool) bool {
	t, zoned, n, ok := parseTime(b)
	if !ok {
		return false
	}
	h.time, h.zoned = t, zoned
	if n >= len(b) {
		return false
	}
	r := b[n:]
	if r[0] != ' ' && r[0] != '\t' && r[0] != '|' && r[0] != ',' && r[0] != ';' && r[0] != ']' {
		return false
	}
	h.dialect, h.kind = "text", KindText
	if peek {
		return true
	}
	tabs := r[0] == '\t'
	word, rest := nextWord(r)
	if lv := ParseLevel(string(bytes.Trim(word, "[]:"))); lv != LevelUnknown && len(word) <= 12 {
		h.level = lv
		if word[0] == '[' { // nginx: `2024/05/01 10:00:00 [error] 12#12: *5 message`
			h.dialect, h.kind = "nginx", KindLog
			if w, r2 := nextWord(rest); bytes.IndexByte(w, '#') > 0 {
				h.thread, rest = bytes.TrimRight(w, ":"), r2
			}
			h.message = bytes.TrimLeft(rest, " ")
			return true
		}
		h.istio(rest, tabs)
		return true
	}
	h.message = bytes.TrimLeft(r, " \t|,;]")
	h.loose()
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
		if w, r2 := nextWord(r); isCaller(w) {
			h.caller, r = w, r2
		} else if len(w) > 2 && w[0] == '[' && isCaller(w[1:len(w)-1]) { // Istio up to 1.6: `[external/…/wasm.cc:292] message`
			h.caller, r = w[1:len(w)-1], r2
		}
		h.message = trimOne(r)
		return
	}
	body := trimOne(rest)
	if tabs {
		if i := bytes.IndexByte(body, '\t'); i > 0 && i < 40 && isWord(body[:i]) && bytes.IndexByte(body[:i], '=') < 0 {
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

// loose finds a level and a logger among the first words of a message in an unknown format, so that rules that ask for them
// still work: `ERROR wasm: …`, `level=error logger=wasm msg="…"`. The message is left whole.
func (h *head) loose() {
	r := h.message
	for range 6 {
		word, rest := nextWord(r)
		if len(word) == 0 {
			return
		}
		w := bytes.Trim(word, "[]():|<>,\"")
		w = bytes.TrimPrefix(bytes.TrimPrefix(w, []byte("level=")), []byte("lvl="))
		if len(w) >= 3 && len(w) <= 11 {
			if lv := ParseLevel(string(bytes.Trim(w, `"`))); lv != LevelUnknown {
				h.level = lv
				if h.kind == KindText {
					h.kind = KindLog
				}
				if next, _ := nextWord(rest); len(next) > 2 {
					if n := bytes.Trim(next, "[]():|\""); isWord(n) && (string(n) == "wasm" || next[0] == '[') {
						h.logger = n
					}
				}
				return
			}
		}
		r = rest
	}
}

// nextWord splits off the next run of non-blanks.
func nextWord(b []byte) (word, rest []byte) {
	b = bytes.TrimLeft(b, " \t")
	if i := bytes.IndexAny(b, " \t"); i >= 0 {
		return b[:i], b[i:]
	}
	return b, nil
}

// trimOne removes the separator in front of a message, but no blanks of the message itself (fragments begin with blanks).
func trimOne(b []byte) []byte {
	if len(b) > 0 && b[0] == '\t' {
		return b[1:]
	}
	return bytes.TrimLeft(b, " ")
}

// parseJSONLine reads one JSON object as a record: Envoy's or Istio's application log in any of its key sets, or an access log.
func parseJSONLine(b []byte, h *head, peek bool) bool {
	if b[len(b)-1] != '}' {
		return false
	}
	if peek {
		return bytes.Contains(b[:min(len(b), 4096)], []byte(`":`)) && (jsonHas(b, "msg") || jsonHas(b, "message") || jsonHas(b, "response_code") || jsonHas(b, "level"))
	}
	h.single = true
	if jsonHas(b, "response_code") || jsonHas(b, "response_flags") || jsonHas(b, "responseCode") {
		if parseAccessJSON(b, h) {
			return true
		}
	}
	var e map[string]any
	if json.Unmarshal(b, &e) != nil {
		return brokenJSON(b, h)
	}
	str := func(keys ...string) []byte {
		for _, k := range keys {
			switch v := dig(e, k).(type) {
			case string:
				return []byte(v)
			case float64:
				return strconv.AppendFloat(nil, v, 'f', -1, 64)
			}
		}
		return nil
	}
	h.message = str("msg", "message", "text", "event", "Message")
	if h.message == nil {
		return false
	}
	h.level = ParseLevel(string(str("level", "severity", "log.level", "lvl", "Level")))
	if ts := str("time", "timestamp", "@timestamp", "ts", "Time"); ts != nil {
		if t, zoned, _, ok := parseTime(ts); ok {
			h.time, h.zoned = t, zoned
		} else if f, err := strconv.ParseFloat(string(ts), 64); err == nil && f > 1e8 && f < 1e11 {
			h.time, h.zoned = time.UnixMicro(int64(f*1e6)).UTC(), true
		}
	}
	h.caller = str("caller", "file", "source", "log.origin.file.name")
	h.thread = str("thread", "tid", "process.thread.id")
	scope := string(str("scope", "logger", "log.logger", "name", "component"))
	if l, ok := strings.CutPrefix(scope, "envoy "); ok {
		h.dialect, h.kind, h.logger = "istio-json", KindLog, []byte(l)
		return true
	}
	h.logger = []byte(scope)
	if scope == "" {
		h.logger = nil
	}
	if h.thread != nil || isCaller(h.caller) || scope == "wasm" {
		h.dialect, h.kind = "envoy-json", KindLog
		return true
	}
	h.dialect, h.kind = "agent-json", KindAgent
	h.message = append(h.message, otherKeys(e)...)
	return true
}

// otherKeys gives the keys that an agent's JSON line has beside the usual ones, as its text format would print them.
func otherKeys(e map[string]any) []byte {
	var names []string
	for k := range e {
		switch k {
		case "level", "time", "scope", "msg", "caller", "thread", "message", "logger", "timestamp", "ts":
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

// jsonHas reports whether the object has the key somewhere, without parsing.
func jsonHas(b []byte, key string) bool {
	for r := b; ; {
		i := bytes.Index(r, []byte(key))
		if i < 0 {
			return false
		}
		if i > 0 && r[i-1] == '"' && i+len(key) < len(r) && r[i+len(key)] == '"' {
			return true
		}
		r = r[i+len(key):]
	}
}

// brokenJSON keeps what can be had of an object that is no valid JSON, as Envoy wrote before 1.24 when a message held a quote.
func brokenJSON(b []byte, h *head) bool {
	for _, k := range []string{`"msg":"`, `"message":"`} {
		i := bytes.Index(b, []byte(k))
		if i < 0 {
			continue
		}
		v := b[i+len(k):]
		end := bytes.LastIndex(v, []byte(`","`))
		if end < 0 {
			end = len(v) - 2
		}
		if end < 0 {
			return false
		}
		h.dialect, h.kind, h.message = "istio-json", KindLog, unescapeJSON(v[:end])
		if i := bytes.Index(b, []byte(`"level":"`)); i >= 0 {
			if j := bytes.IndexByte(b[i+9:], '"'); j >= 0 {
				h.level = ParseLevel(string(b[i+9 : i+9+j]))
			}
		}
		if i := bytes.Index(b, []byte(`"time":"`)); i >= 0 {
			h.time, h.zoned, _, _ = parseTime(b[i+8:])
		}
		return true
	}
	return false
}

// parseStat reads a line of admin /stats: `wasm.envoy.wasm.runtime.v8.active: 5` or, for Prometheus, `name{tags} 5`. It never
// begins a record of several lines, and reports false: whether a line is a statistic is decided by the input (see statRecord).
func parseStat([]byte, *head) bool { return false }
