package ingest

import (
	"bytes"
	"time"
)

// access is an [Access] that still points into the line. Numbers that are absent are -1.
type access struct {
	method, path, flags, details, upstream []byte
	status                                 int
	duration                               time.Duration
	sent                                   int64
}

var noAccess = access{status: -1, duration: -1, sent: -1}

// accessText reads an access log line after its `[time] `. b is the whole line, r starts at the quote of the request.
//
// Envoy:  "METHOD PATH PROTOCOL" CODE FLAGS RECEIVED SENT DURATION UPSTREAM-DURATION "XFF" "UA" "ID" "AUTHORITY" "UPSTREAM"
// Istio ≥ 1.9:  … CODE FLAGS DETAILS CONNECTION-DETAILS "TRANSPORT-FAILURE" RECEIVED SENT DURATION … "UPSTREAM" CLUSTER …
// Istio ≤ 1.8:  … CODE FLAGS "MIXER-STATUS" "TRANSPORT-FAILURE" RECEIVED SENT DURATION … "UPSTREAM" CLUSTER …
func (h *head) accessText(b, r []byte, peek bool) {
	h.dialect, h.kind, h.single, h.message = "access", KindAccess, true, b
	if peek {
		return
	}
	h.access = noAccess
	end := requestEnd(r)
	if end < 0 {
		return
	}
	h.access.request(r[1:end])
	h.access.results(r[end+1:], isFlags)
}

// requestEnd finds the quote that ends `"METHOD PATH PROTOCOL"`. A path may hold quotes: Envoy does not escape them in text formats.
func requestEnd(r []byte) int {
	first := -1
	for i := 1; i < len(r); {
		q := bytes.IndexByte(r[i:], '"')
		if q < 0 {
			break
		}
		i += q
		if i+1 == len(r) || r[i+1] == ' ' {
			proto := r[1+bytes.LastIndexByte(r[1:i], ' ')+1 : i]
			if string(proto) == "-" || bytes.HasPrefix(proto, []byte("HTTP/")) {
				return i
			}
			if first < 0 {
				first = i
			}
		}
		i++
	}
	return first
}

// request reads `METHOD PATH PROTOCOL`; the protocol may be missing.
func (a *access) request(req []byte) {
	method, path, ok := bytes.Cut(req, []byte{' '})
	if !ok {
		return
	}
	if i := bytes.LastIndexByte(path, ' '); i >= 0 {
		path = path[:i]
	}
	a.method, a.path = method, path
}

// results reads what follows the request: code, flags and, depending on the version, details, then bytes and durations.
func (a *access) results(r []byte, isFlags func([]byte) bool) {
	f, n := fields(r)
	if n == 0 {
		return
	}
	a.status = status(f[0])
	i := 1
	if i < n && isFlags(f[i]) {
		a.flags = f[i]
		i++
	}
	if i < n && number(f[i]) < 0 && f[i][0] != '"' { // Istio from 1.9 on
		a.details = f[i]
		i++
		if i < n && f[i][0] != '"' && number(f[i]) < 0 { // connection termination details
			i++
		}
	}
	for i < n && f[i][0] == '"' { // transport failure, mixer status
		i++
	}
	if i+2 < n {
		a.sent = number(f[i+1])
		if v := digits(f[i+2]); v >= 0 {
			a.duration = time.Duration(v) * time.Millisecond
		}
	}
	// The upstream host is the fifth string after the durations, which is the last one. A user agent with quotes in it makes it
	// another than the fifth, other formats another than the last.
	var last []byte
	for ; i < n; i++ {
		if f[i][0] == '"' && (last == nil || isHost(f[i])) {
			last = f[i]
		}
	}
	if last = bytes.Trim(last, `"`); isHost(last) {
		a.upstream = last
	}
}

// isHost recognises an upstream host: `-`, `10.0.0.1:8080`, `[::1]:80`, `envoy://internal/`, a socket's path.
func isHost(f []byte) bool {
	f = bytes.Trim(f, `"`)
	if len(f) == 0 || bytes.IndexByte(f, ' ') >= 0 {
		return false
	}
	return string(f) == "-" || f[0] == '/' || bytes.HasPrefix(f, []byte("envoy://")) || digits(f[bytes.LastIndexByte(f, ':')+1:]) > 0
}

// isFlags recognises Envoy's response flags: `-`, `UF,URX`, custom ones too. Other servers have a number in their place.
func isFlags(f []byte) bool {
	if string(f) == "-" {
		return true
	}
	if len(f) < 2 || len(f) > 60 {
		return false
	}
	for _, c := range f {
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == ',' || c == '_') {
			return false
		}
	}
	return digits(f[:1]) < 0
}

// areKnownFlags recognises the flags that Envoy has (source/common/stream_info/utility.h). In an unknown format a word in capitals may be
// something else: `200 OK`.
func areKnownFlags(f []byte) bool {
	if !isFlags(f) {
		return false
	}
	for len(f) > 0 {
		var flag []byte
		flag, f, _ = bytes.Cut(f, []byte{','})
		switch string(flag) {
		case "-", "DC", "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "URX", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "SI", "IH", "DPE", "UMSDR",
			"RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO":
		default:
			return false
		}
	}
	return true
}

// longFlags are the names that %RESPONSE_FLAGS_LONG% prints (source/common/stream_info/utility.h).
var longFlags = map[string]string{"FailedLocalHealthCheck": "LH", "NoHealthyUpstream": "UH", "UpstreamRequestTimeout": "UT", "LocalReset": "LR",
	"UpstreamRemoteReset": "UR", "UpstreamConnectionFailure": "UF", "UpstreamConnectionTermination": "UC", "UpstreamOverflow": "UO", "NoRouteFound": "NR",
	"DelayInjected": "DI", "FaultInjected": "FI", "RateLimited": "RL", "UnauthorizedExternalService": "UAEX", "RateLimitServiceError": "RLSE",
	"DownstreamConnectionTermination": "DC", "UpstreamRetryLimitExceeded": "URX", "StreamIdleTimeout": "SI", "InvalidEnvoyRequestHeaders": "IH",
	"DownstreamProtocolError": "DPE", "UpstreamMaxStreamDurationReached": "UMSDR", "ResponseFromCacheFilter": "RFCF", "NoFilterConfigFound": "NFCF",
	"DurationTimeout": "DT", "UpstreamProtocolError": "UPE", "NoClusterFound": "NC", "OverloadManagerTerminated": "OM", "DnsResolutionFailed": "DF",
	"DropOverLoad": "DO", "DownstreamRemoteReset": "DR", "UnconditionalDropOverload": "UDO"}

// shortFlags gives flags in their short form.
func shortFlags(f []byte) []byte {
	if len(f) < 10 || f[1] < 'a' {
		return f
	}
	var out []byte
	for name := range bytes.SplitSeq(f, []byte{','}) {
		short, ok := longFlags[string(name)]
		if !ok {
			return f
		}
		if out != nil {
			out = append(out, ',')
		}
		out = append(out, short...)
	}
	return out
}

// status reads an HTTP status; 0 is what Envoy prints when there was none.
func status(f []byte) int {
	if v := digits(f); v == 0 && len(f) == 1 || v >= 100 && v <= 999 {
		return v
	}
	return -1
}

// number reads a count of bytes, which needs more digits than [digits] takes; -1 when it is none.
func number(b []byte) int64 {
	if len(b) == 0 || len(b) > 18 {
		return -1
	}
	var v int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		v = v*10 + int64(c-'0')
	}
	return v
}

const maxFields = 32

// fields splits an access log line at blanks; a quoted field keeps its quotes.
func fields(b []byte) (f [maxFields][]byte, n int) {
	for i := 0; i < len(b) && n < maxFields; {
		if b[i] == ' ' || b[i] == '\t' {
			i++
			continue
		}
		s := i
		if b[i] == '"' {
			for i++; i < len(b) && (b[i] != '"' || b[i-1] == '\\'); i++ {
			}
			i = min(i+1, len(b))
		} else {
			for i < len(b) && b[i] != ' ' && b[i] != '\t' {
				i++
			}
		}
		f[n] = b[s:i]
		n++
	}
	return f, n
}

// parseRequest finds an access log entry in any order of fields: somewhere stands METHOD PATH HTTP/…, quoted or not, and soon after it
// a status. What stands before may tell the time.
func parseRequest(b []byte, h *head, peek bool) bool {
	i := bytes.Index(b, []byte(" HTTP/"))
	if i < 0 {
		return false
	}
	path := bytes.LastIndexByte(b[:i], ' ') + 1
	if path < 4 {
		return false
	}
	method := bytes.LastIndexAny(b[:path-1], " \t\"'=|") + 1
	end := i + len(" HTTP/")
	for end < len(b) && ('0' <= b[end] && b[end] <= '9' || b[end] == '.') {
		end++
	}
	if !isMethod(b[method:path-1]) || end-i > 10 {
		return false
	}
	r := bytes.TrimLeft(b[end:], "\"' \t|,;")
	word, rest := nextWord(r)
	if status(word) < 100 {
		if word, rest = nextWord(rest); status(word) < 100 {
			return false
		}
		r = r[len(r)-len(rest)-len(word):]
	}
	h.dialect, h.kind, h.single, h.message = "access", KindAccess, true, b
	if peek {
		return true
	}
	h.access = noAccess
	h.access.method, h.access.path = b[method:path-1], b[path:i]
	h.access.results(r, areKnownFlags)
	if h.access.details == nil {
		h.access.details = detailsIn(r)
	}
	h.requestTime(b[:method])
	return true
}

// detailsIn finds response code details anywhere behind a request, bare or as `key=value`.
func detailsIn(r []byte) []byte {
	f, n := fields(r)
	for _, v := range f[:n] {
		v = bytes.Trim(v[bytes.LastIndexByte(v, '=')+1:], `"',;`)
		if isDetails(v) {
			return v
		}
	}
	return nil
}

// fields finds an access log entry in r, a part of line b, that names no protocol: one of key=value pairs, or one of columns in any order and
// with any marks between them, among which a method, a path, a status and something that only Envoy writes can be told by their values.
func (h *head) fields(b, r []byte) bool {
	if bytes.IndexByte(r, '=') > 0 {
		var l fieldSet
		if l.pairs(r); (l.strong || l.status != nil && (l.method != nil || l.path != nil)) && l.accessTo(h, b) {
			return true
		}
	}
	if bytes.IndexByte(r, '/') < 0 {
		return false
	}
	a, known, seps := noAccess, false, " \t|;\""
	if !bytes.ContainsAny(r, " \t|;") {
		seps = ","
	}
	for n := 0; len(r) > 0 && n < 60; n++ {
		i := bytes.IndexAny(r, seps)
		if i < 0 {
			i = len(r)
		}
		f := bytes.Trim(r[:i], "[](),'")
		r = r[min(i+1, len(r)):]
		switch {
		case len(f) == 0:
		case a.method == nil && isVerb(f):
			a.method = f
		case a.method != nil && a.path == nil && f[0] == '/':
			a.path = f
		case a.path != nil && a.status < 0 && len(f) == 3 && status(f) >= 100 && f[0] <= '5':
			a.status = status(f)
		case a.path != nil && a.flags == nil && len(f) > 1 && areKnownFlags(f):
			a.flags, known = f, true
		case a.status >= 0 && a.flags == nil && string(f) == "-":
			a.flags = f
		case a.details == nil && isDetails(f):
			a.details, known = f, true
		}
	}
	if a.method == nil || a.path == nil || a.status < 0 || !known {
		return false
	}
	h.dialect, h.kind, h.single, h.message = "access", KindAccess, true, b
	h.access = a
	h.requestTime(b)
	return true
}

// isVerb recognises the methods of HTTP that are in use.
func isVerb(f []byte) bool {
	switch string(f) {
	case "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE":
		return true
	}
	return false
}

// requestTime finds a time in what stands before a request: at its start, or after a bracket as in the common log format.
func (h *head) requestTime(b []byte) {
	for _, s := range [][]byte{b, b[bytes.IndexByte(b, '[')+1:]} {
		if t, zoned, _, ok := parseTime(s); ok {
			h.time, h.zoned = t, zoned
			return
		}
		if t, zoned, _, ok := parseCommonTime(s); ok {
			h.time, h.zoned = t, zoned
			return
		}
	}
}

func isMethod(m []byte) bool {
	if len(m) < 3 || len(m) > 16 {
		return false
	}
	for _, c := range m {
		if !('A' <= c && c <= 'Z' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// accessTo decides whether an object is an access log entry, and reads it as one: Istio's keys, Envoy's command operators under their
// usual names, and what other servers call the same.
func (l *fieldSet) accessTo(h *head, b []byte) bool {
	var line access
	if l.request != nil && l.method == nil && l.path == nil {
		line.request(jsonText(l.request))
	}
	if !l.strong && (l.msg != nil || l.status == nil || l.method == nil && l.path == nil && !isMethod(line.method)) {
		return false
	}
	h.dialect, h.kind, h.single, h.message = "access", KindAccess, true, b
	if b[0] == '{' {
		h.dialect = "access-json"
	}
	h.access = access{method: orDash(l.method), path: orDash(l.path), flags: shortFlags(orDash(l.flags)), details: orDash(l.details), upstream: orDash(l.upstream),
		status: status(bare(l.status)), duration: duration(bare(l.took), l.unit), sent: number(bare(l.sent))}
	if isMethod(line.method) {
		h.access.method, h.access.path = line.method, line.path
	}
	l.clock(h)
	return true
}

// bare is a value without its quotes.
func bare(v []byte) []byte { return bytes.Trim(v, `"`) }

// orDash is the text of a value, and what Envoy's text formats print for null.
func orDash(v []byte) []byte {
	switch {
	case len(v) == 0:
		return nil
	case string(v) == "null":
		return []byte{'-'}
	case v[0] == '"':
		return jsonText(v)
	}
	return v
}

// duration reads a number of units, or one that names its unit: `12`, `12.5`, `0.012s`, `12ms`.
func duration(b []byte, unit time.Duration) time.Duration {
	if s, ok := bytes.CutSuffix(b, []byte("ms")); ok {
		b, unit = s, time.Millisecond
	} else if s, ok := bytes.CutSuffix(b, []byte("s")); ok {
		b, unit = s, time.Second
	}
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	v := number(whole)
	if v < 0 || v > 1e9 {
		return -1
	}
	d := time.Duration(v) * unit
	if len(frac) > 0 && len(frac) < 10 {
		ns, _ := parseFraction(append([]byte{'.'}, frac...))
		d += time.Duration(ns) * unit / time.Second
	}
	return d
}
