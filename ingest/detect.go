package ingest

import (
	"bytes"
	"path"
	"regexp"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// sampleSize is how much of an input's head decides how it is read. It must not depend on the size of blocks.
const sampleSize = 64 << 10

// detect decides from the head of an input what it is and how its lines are to be read.
func (in *Input) detect(sample []byte) {
	if kind := binaryKind(sample); kind != "" {
		in.Kind = kind
		return
	}
	lines := sampleLines(sample)
	in.wrappers = detectWrappers(lines)
	if looksLikeStats(lines) {
		in.Kind, in.Format = "stats", "text"
		if bytes.Contains(sample, []byte("# TYPE ")) || bytes.Contains(sample, []byte("} ")) {
			in.Format = "prometheus"
		}
		return
	}
	var headers, logs, access, agents int
	dialects := map[string]int{}
	var ts []time.Time
	for _, l := range lines {
		var m meta
		t := in.unwrap(l, &m)
		var h head
		if !parseHead(t, &h, false) {
			continue
		}
		headers++
		switch h.kind {
		case KindLog:
			logs++
		case KindAccess:
			access++
		case KindAgent:
			agents++
		}
		dialects[h.dialect]++
		if h.kind != KindAccess && !h.time.IsZero() {
			ts = append(ts, h.time)
		} else if !m.time.IsZero() {
			ts = append(ts, m.time)
		}
	}
	in.headed = headers*5 >= len(lines) && headers > 0
	in.order = detectOrder(ts)
	in.skew = in.detectSkew(lines)
	switch {
	case logs > 0:
		in.Kind = "envoy-log"
	case agents > 0:
		in.Kind = "agent-log"
	case access > 0:
		in.Kind = "access-log"
	case len(lines) > 0:
		in.Kind = "text"
	default:
		in.Kind = "unknown"
	}
	in.Format = formatName(in.wrappers, dialects)
	if in.order == newestFirst {
		in.Format += ", newest first"
	}
}

func formatName(ws []wrapper, dialects map[string]int) string {
	best := "text"
	rank := []string{"envoy", "istio-text", "istio-json", "envoy-json", "nginx", "agent", "agent-json", "access", "access-json"}
	n := 0
	for _, d := range rank {
		// Envoy's own dialect names the format even where access log entries are more frequent.
		c := dialects[d]
		if d == "access" || d == "access-json" || d == "agent" || d == "agent-json" {
			if n > 0 {
				continue
			}
		}
		if c > n {
			best, n = d, c
		}
	}
	parts := make([]string, 0, 4)
	for _, w := range ws {
		parts = append(parts, wrapperNames[w])
	}
	return strings.Join(append(parts, best), "+")
}

// sampleLines splits a sample into lines and drops a last one that is cut off.
func sampleLines(sample []byte) [][]byte {
	whole := len(sample) < sampleSize
	var lines [][]byte
	for len(sample) > 0 && len(lines) < 400 {
		i := bytes.IndexByte(sample, '\n')
		if i < 0 {
			if whole || len(lines) == 0 {
				lines = append(lines, sample)
			}
			break
		}
		if l := bytes.TrimSuffix(sample[:i], []byte{'\r'}); len(l) > 0 {
			lines = append(lines, l)
		}
		sample = sample[i+1:]
	}
	return lines
}

// detectOrder decides whether an export lists the newest line first.
func detectOrder(ts []time.Time) order {
	up, down := 0, 0
	for i := 1; i < len(ts); i++ {
		switch {
		case ts[i].After(ts[i-1]):
			up++
		case ts[i].Before(ts[i-1]):
			down++
		}
	}
	if down >= 2 && down > 4*up {
		return newestFirst
	}
	return oldestFirst
}

// detectSkew compares times without a zone with zoned ones that were written at about the same moment: the wrapper's on the same
// line, or that of an access log entry next to it. Only whole quarter hours, the granularity of time zones, are believed.
func (in *Input) detectSkew(lines [][]byte) time.Duration {
	var same, near []time.Duration
	var last time.Time
	for _, l := range lines {
		var m meta
		var h head
		if !parseHead(in.unwrap(l, &m), &h, false) || h.time.IsZero() {
			continue
		}
		switch {
		case !h.zoned && !m.time.IsZero():
			same = append(same, m.time.Sub(h.time))
		case !h.zoned:
			last = h.time
		case h.kind == KindAccess && !last.IsZero():
			near = append(near, h.time.Sub(last))
		}
	}
	if len(same) < 3 {
		same = near
	}
	if len(same) < 3 {
		return 0
	}
	sort.Slice(same, func(i, j int) bool { return same[i] < same[j] })
	mid := same[len(same)/2]
	q := mid.Round(15 * time.Minute)
	if q == 0 || apartD(mid, q) > 2*time.Minute || q > 14*time.Hour || q < -14*time.Hour {
		return 0
	}
	in.warn("times without a zone differ from zoned ones by " + q.String() + "; corrected to UTC")
	return q
}

func apartD(a, b time.Duration) time.Duration {
	if a > b {
		return a - b
	}
	return b - a
}

// binaryKind recognises what is no text at all, by its first bytes.
func binaryKind(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\x00asm")):
		if bytes.Contains(b[:min(len(b), 512)], []byte("\x04core")) {
			return "wasm-coredump"
		}
		return "wasm-module"
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		if len(b) > 18 && (b[16] == 4 || b[17] == 4) {
			return "elf-core"
		}
		return "unknown"
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		return "unknown"
	}
	if n := bytes.Count(b, []byte{0}); n > 0 && n*10 > len(b) {
		return "unknown"
	}
	if len(b) > 512 && !utf8.Valid(b[:512]) {
		bad := 0
		for i := 0; i < 512; {
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				bad++
			}
			i += n
		}
		if bad > 128 {
			return "unknown"
		}
	}
	return ""
}

var (
	statLine = regexp.MustCompile(`^[A-Za-z_][\w.|:;\[\]/@~*\-]*: (?:-?\d+|"|P0\(|No recorded values)`)
	promLine = regexp.MustCompile(`^(?:# (?:TYPE|HELP) |[a-z_][A-Za-z0-9_]*(?:\{[^}]*\})? -?[0-9.e+\-NaInf]+$)`)
)

// looksLikeStats recognises an answer of admin /stats: nearly every line is a name and a number.
func looksLikeStats(lines [][]byte) bool {
	if len(lines) < 2 {
		return false
	}
	n := 0
	for _, l := range lines {
		if statLine.Match(l) || promLine.Match(l) {
			n++
		}
	}
	return n*10 >= len(lines)*9 && bytes.ContainsAny(bytes.Join(lines[:min(len(lines), 50)], nil), "._")
}

var (
	// The last five characters of a pod of a Deployment or DaemonSet come from this alphabet (k8s.io/apimachinery util/rand).
	podName     = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?-[bcdfghjklmnpqrstvwxz2456789]{5}$`)
	containerID = regexp.MustCompile(`^(.+)_([a-z0-9-]+)_([a-z0-9-]+)-[0-9a-f]{64}$`)
	podDir      = regexp.MustCompile(`^([a-z0-9-]+)_([a-z0-9.-]+)_[0-9a-f-]{32,36}$`)
	rotation    = regexp.MustCompile(`(?:[._-](?:\d{1,3}|\d{8}(?:-\d{6})?|previous|prev|old))+$`)
	extension   = regexp.MustCompile(`\.(?:log|txt|json|jsonl|out|gz|zst|xz|bz2|yaml|yml|prom|logs)$`)
)

// identify reads identity from a path: the layouts of /var/log/pods, /var/log/containers, `istioctl bug-report`, and any folder or
// file that is named like a pod.
func identify(p string) (id Identity) {
	p = strings.ReplaceAll(p, "!", "/")
	segs := strings.Split(path.Clean(strings.ReplaceAll(p, "\\", "/")), "/")
	for i := len(segs) - 1; i >= 0; i-- {
		s := Stem(segs[i])
		if m := containerID.FindStringSubmatch(s); m != nil {
			id.Pod, id.Namespace, id.Container = m[1], m[2], m[3]
			return id
		}
		if m := podDir.FindStringSubmatch(s); m != nil {
			id.Namespace, id.Pod = m[1], m[2]
			if i+1 < len(segs)-1 {
				id.Container = segs[i+1]
			}
			return id
		}
		if parts := strings.Split(s, "_"); id.Pod == "" && len(parts) == 3 { // container_pod_namespace or namespace_pod_container
			if podName.MatchString(parts[1]) {
				id.Pod = parts[1]
				id.Container, id.Namespace = parts[0], parts[2]
				if proxyContainer(parts[2]) {
					id.Container, id.Namespace = parts[2], parts[0]
				}
				continue
			}
		}
		if id.Pod == "" && podName.MatchString(s) {
			id.Pod = s
			if i >= 2 && (segs[i-2] == "proxies" || segs[i-2] == "istio" || segs[i-2] == "operator" || segs[i-2] == "namespaces") {
				id.Namespace = segs[i-1]
			}
		}
	}
	return id
}

func proxyContainer(s string) bool {
	return s == "envoy" || s == "istio-proxy" || s == "proxy" || s == "gateway"
}

// Stem is a file's name without folders, rotation number and known extensions: rotated files of one log share it.
func Stem(name string) string {
	name = path.Base(name)
	for {
		s := extension.ReplaceAllString(name, "")
		s = rotation.ReplaceAllString(s, "")
		if s == name || s == "" {
			return name
		}
		name = s
	}
}
