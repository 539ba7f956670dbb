package ingest

import (
	"bytes"
	"strings"
	"time"
)

// stat is one line of admin /stats, text or Prometheus.
type stat struct {
	name, value []byte
	time        time.Time // Prometheus may tell one
	prometheus  bool
}

// parseStat reads `wasm.envoy.wasm.runtime.v8.active: 5`, `control_plane.identifier: "istiod"`, `x.y: P0(1,1) P25(…)` or, for Prometheus,
// `name{tag="value"} 5 1395066363000`.
func parseStat(t []byte) (s stat, ok bool) {
	if len(t) < 4 || t[0] <= ' ' || t[0] == '#' {
		return s, false
	}
	if i := bytes.Index(t, []byte(": ")); i > 0 && isStatName(t[:i]) && isStatValue(t[i+2:]) {
		s.name, s.value = t[:i], t[i+2:]
		return s, true
	}
	return parsePrometheus(t)
}

// isStatName: Envoy's names are dotted and may hold anything but blanks (`cluster.outbound|80||a.b.svc.upstream_cx_total`).
func isStatName(n []byte) bool {
	return bytes.IndexByte(n, '.') > 0 && !bytes.ContainsAny(n, " \t\"") && n[0] != '[' && n[0] != '{'
}

func isStatValue(v []byte) bool {
	v = bytes.TrimSpace(v)
	switch {
	case len(v) == 0:
		return false
	case v[0] == '"':
		return v[len(v)-1] == '"'
	}
	return isCount(bytes.TrimPrefix(v, []byte{'-'})) || bytes.HasPrefix(v, []byte("P0(")) || bytes.Equal(v, []byte("No recorded values"))
}

// isCount recognises a decimal number of up to 64 bits.
func isCount(v []byte) bool {
	return len(v) > 0 && len(v) <= 20 && bytes.Trim(v, "0123456789") == nil
}

func parsePrometheus(t []byte) (s stat, ok bool) {
	i := 0
	for i < len(t) && (isWord(t[i:i+1]) && t[i] != '-' && t[i] != '.' && t[i] != '/' || t[i] == ':') {
		i++
	}
	if i == 0 || i == len(t) || '0' <= t[0] && t[0] <= '9' {
		return s, false
	}
	labels := t[i] == '{'
	if !labels && bytes.IndexByte(t[:i], '_') < 0 {
		return s, false
	}
	s.name = t[:i]
	if labels {
		end := labelsEnd(t[i:], '}')
		if end < 0 {
			return s, false
		}
		i += end
		s.name = bytes.TrimSuffix(t[:i], []byte("{}"))
	}
	rest, _, _ := bytes.Cut(t[i:], []byte(" # ")) // an exemplar
	f := bytes.Fields(rest)
	if len(f) < 1 || len(f) > 2 || t[i] != ' ' && t[i] != '\t' || !isSample(f[0]) {
		return s, false
	}
	if len(f) == 2 {
		if s.time, ok = parseEpoch(f[1]); !ok {
			return s, false
		}
	}
	s.value, s.prometheus = f[0], true
	return s, true
}

// labelsEnd gives the length of `{name="value",…}`; values may hold the closing bracket and escaped quotes.
func labelsEnd(t []byte, closing byte) int {
	for i := 1; i < len(t); i++ {
		switch t[i] {
		case closing:
			return i + 1
		case '"':
			end := stringEnd(t[i+1:])
			if end < 0 {
				return -1
			}
			i += end + 1
		}
	}
	return -1
}

// isSample recognises a number as Prometheus writes it: `5`, `-1.5e+09`, `NaN`, `+Inf`.
func isSample(v []byte) bool {
	v = bytes.TrimLeft(v, "+-")
	if s := string(v); s == "NaN" || s == "Inf" {
		return true
	}
	for _, c := range v {
		if (c < '0' || c > '9') && c != '.' && c != 'e' && c != 'E' && c != '+' && c != '-' {
			return false
		}
	}
	return len(v) > 0 && (v[0] == '.' || digits(v[:1]) >= 0)
}

// isStatNoise lists lines that surround statistics without being any: comments, and what kubectl and curl say.
func isStatNoise(l []byte) bool {
	l = bytes.TrimLeft(l, " \t")
	if len(l) == 0 || l[0] == '#' || l[0] == '$' || l[0] == '%' {
		return true
	}
	for _, p := range []string{"Defaulted container", "Defaulting container", "Unable to use a TTY", "Use 'kubectl", "command terminated", "% Total", "Dload", "HTTP/", "< ", "> ", "* "} {
		if bytes.HasPrefix(l, []byte(p)) {
			return true
		}
	}
	for _, c := range l { // curl's progress meter
		if (c < '0' || c > '9') && c != ' ' && c != ':' && c != '-' && c != '\r' && c != 'k' && c != 'M' {
			return false
		}
	}
	return true
}

// looksLikeStats recognises an answer of admin /stats: nearly every line is a name and a number.
func looksLikeStats(lines [][]byte) (format string, ok bool) {
	stats, prometheus, comments, other := 0, 0, 0, 0
	for _, l := range lines {
		s, ok := parseStat(l)
		switch {
		case ok:
			stats++
			if s.prometheus {
				prometheus++
			}
		case bytes.HasPrefix(l, []byte("# TYPE ")) || bytes.HasPrefix(l, []byte("# HELP ")):
			comments++
		case !isStatNoise(l):
			other++
		}
	}
	format = "text"
	if prometheus*2 > stats {
		format = "prometheus"
	}
	return format, other*5 <= stats && (stats > 1 || stats+comments > 1 || stats == 1 && isRoot(lines))
}

// isRoot reports whether the only statistic of an input begins like one of Envoy's: other things look like `a.b: 5`.
func isRoot(lines [][]byte) bool {
	for _, l := range lines {
		if root, _, ok := bytes.Cut(l, []byte{'.'}); ok {
			switch string(root) {
			case "wasm", "wasmcustom", "cluster", "cluster_manager", "listener", "listener_manager", "http", "server", "extension_config_discovery", "control_plane":
				return true
			}
		}
	}
	return false
}

// statRecord reads a line of admin /stats. What is none becomes an ordinary record: somebody put more into the file.
func (b *Block) statRecord(l *line) *Record {
	s, ok := parseStat(l.text)
	if !ok {
		if isStatNoise(l.text) {
			return nil
		}
		return b.build(l, &head{}, course{up: true, alone: true})
	}
	r := &Record{Input: b.Input, Kind: KindStat, Offset: b.bufOffset() + int64(l.start), Line: b.lineNumber(l.start), Lines: 1,
		Raw: string(b.buf[l.start:l.end]), Message: string(l.text)}
	t := newTexts(b.buf[l.start:l.end], l.text)
	r.setMeta(&l.meta, &t)
	if !s.time.IsZero() {
		r.Time, r.Zoned = s.time, true
	}
	r.Fields = map[string]string{"name": t.of(s.name), "value": strings.TrimSpace(t.of(s.value))}
	return r
}
