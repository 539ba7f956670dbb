package ingest

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// sampleSize is how much of an input's head decides how it is read. It must not depend on the size of blocks.
const sampleSize = 64 << 10

// sampled is a line of the sample with its header.
type sampled struct {
	text   []byte
	meta   meta
	head   head
	headed bool
}

// detect decides from the head of an input what it is and how its lines are to be read.
func (in *Input) detect(sample []byte) {
	if kind := binaryKind(sample); kind != "" {
		in.Kind = kind
		return
	}
	lines := sampleLines(bytes.TrimPrefix(sample, byteOrderMark))
	if format, ok := looksLikeStats(lines); ok {
		in.Kind, in.Format = "stats", format
		return
	}
	var names []wrapper
	if len(lines) > 0 {
		in.columns = parseColumns(lines[0])
	}
	in.wrappers, names = in.detectWrappers(lines)
	in.table = slices.Contains(in.wrappers, wrapCSV)
	seen := make([]sampled, len(lines))
	for i, l := range lines {
		s := &seen[i]
		s.text = in.unwrap(l, &s.meta)
		s.headed = parseHead(s.text, &s.head, false)
	}
	empty := 0
	for i := range seen {
		if len(seen[i].text) == 0 {
			empty++
		}
	}
	in.spaced = empty*3 >= len(seen) && empty > 1
	in.describe(seen, names)
	in.detectOrder(seen)
	in.detectYear(seen)
	in.detectSkew(seen)
	if in.order == newestFirst {
		in.Format += ", newest first"
	}
}

// describe decides what wrote the lines.
func (in *Input) describe(seen []sampled, names []wrapper) {
	var kinds [len(recordKinds)]int
	dialects := map[string]int{}
	headers := 0
	for i := range seen {
		if s := &seen[i]; s.headed {
			headers++
			kinds[s.head.kind]++
			dialects[s.head.dialect]++
		}
	}
	// A log may begin with a long dump of some configuration: then headers are rare in the sample, but many. Around what was quoted
	// stand somebody's own words.
	in.known = headers - dialects["text"]
	in.headed = headers > 0 && (headers*5 >= len(seen) || headers-dialects["text"] >= 20) && !slices.Contains(in.wrappers, wrapQuote)
	switch {
	case kinds[KindLog] > 0:
		in.Kind = "envoy-log"
	case kinds[KindAgent] > 0, dialects["agent-json"] > 0:
		in.Kind = "agent-log"
	case kinds[KindAccess] > 0:
		in.Kind = "access-log"
	case len(seen) > 0:
		in.Kind = "text"
	default:
		in.Kind = "unknown"
	}
	in.Format = formatName(names, dialects)
}

func formatName(ws []wrapper, dialects map[string]int) string {
	best := "text"
	// Envoy's own dialect names the format even where access log entries are more frequent.
	for _, rank := range [][]string{{"envoy", "istio-text", "istio-json", "envoy-json", "nginx", "logfmt", "klog"}, {"agent", "agent-json"}, {"access", "access-json"}} {
		n := 0
		for _, d := range rank {
			if dialects[d] > n {
				best, n = d, dialects[d]
			}
		}
		if n > 0 {
			break
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
	whole := len(sample) < sampleSize-len(byteOrderMark)
	var lines [][]byte
	for len(sample) > 0 {
		l, rest, ended := bytes.Cut(sample, newline)
		if !ended && !whole && len(lines) > 0 {
			break
		}
		if l = bytes.TrimSuffix(l, []byte{'\r'}); len(l) > 0 {
			lines = append(lines, l)
		}
		sample = rest
	}
	return lines
}

// when gives a time by which lines can be put in order, and whether an application wrote it: access log entries tell when a request
// began, and are written when it ends or later.
func (s *sampled) when() (t time.Time, own bool) {
	own = s.headed && s.head.kind != KindAccess
	switch {
	case own && !s.head.time.IsZero():
		return s.head.time, true
	case !s.meta.time.IsZero():
		return s.meta.time, true
	}
	return s.head.time, false
}

// detectOrder decides whether an export lists the newest line first, and how it puts the lines of a record.
func (in *Input) detectOrder(seen []sampled) {
	var own, all []time.Time
	for i := range seen {
		if t, o := seen[i].when(); !t.IsZero() {
			if all = append(all, t); o {
				own = append(own, t)
			}
		}
	}
	if len(own) < 3 {
		own = all
	}
	up, down := 0, 0
	for i := 1; i < len(own); i++ {
		switch {
		case own[i].After(own[i-1]):
			up++
		case own[i].Before(own[i-1]):
			down++
		}
	}
	if down < 2 || down <= 4*up || slices.Contains(in.wrappers, wrapQuote) {
		return
	}
	in.order = newestFirst
	texts, heads := make([][]byte, len(seen)), make([]bool, len(seen))
	for i := range seen {
		texts[i], heads[i] = seen[i].text, seen[i].headed
	}
	in.byRecord = judgeAll(texts, heads) == upright
}

// detectYear finds a time that names its year.
func (in *Input) detectYear(seen []sampled) {
	for i := range seen {
		s := &seen[i]
		switch {
		case !s.head.time.IsZero() && !s.head.yearless:
			in.ref = s.head.time
			return
		case !s.meta.time.IsZero() && !s.meta.yearless:
			in.ref = s.meta.time
			return
		}
	}
}

// detectSkew compares times without a zone with zoned ones that were written at about the same moment: the wrapper's on the same
// line, or that of an access log entry next to it. Only whole quarter hours, the granularity of time zones, are believed.
func (in *Input) detectSkew(seen []sampled) {
	var same, near []time.Duration
	var last time.Time
	for i := range seen {
		h, m := &seen[i].head, &seen[i].meta
		own, outer := h.time, m.time
		if h.yearless {
			own = in.inYear(own)
		}
		if m.yearless {
			outer = in.inYear(outer)
		}
		switch {
		case own.IsZero():
		case !h.zoned && !outer.IsZero() && !m.unzoned:
			same = append(same, outer.Sub(own))
		case h.zoned && !outer.IsZero() && m.unzoned:
			same = append(same, own.Sub(outer))
		case !h.zoned:
			last = own
		case h.kind == KindAccess && !last.IsZero():
			near = append(near, own.Sub(last))
		}
	}
	if len(same) < 3 {
		same = near
	}
	if len(same) < 3 {
		return
	}
	slices.Sort(same)
	mid := same[len(same)/2]
	q := mid.Round(15 * time.Minute)
	if q == 0 || (mid-q).Abs() > 2*time.Minute || q.Abs() > 14*time.Hour {
		return
	}
	in.warn("times without a zone differ from zoned ones by " + q.String() + "; corrected to UTC")
	in.skew = q
}

// packed names the container or compressor whose first bytes these are. Such an input arrives here only when nothing could be unpacked.
func packed(b []byte) string {
	for _, f := range []struct{ name, magic string }{
		{"gzip", "\x1f\x8b"}, {"zip", "PK\x03\x04"}, {"zstd", "\x28\xb5\x2f\xfd"}, {"xz", "\xfd7zXZ"}, {"bzip2", "BZh91AY&SY"},
	} {
		if bytes.HasPrefix(b, []byte(f.magic)) {
			return f.name
		}
	}
	return ""
}

// binaryKind recognises what is no text at all, by its first bytes.
func binaryKind(b []byte) string {
	switch {
	case bytes.HasPrefix(b, magicWasm):
		if bytes.Contains(b[:min(len(b), 512)], []byte("\x04core")) {
			return "wasm-coredump"
		}
		return "wasm-module"
	case packed(b) != "":
		return "unknown"
	case bytes.HasPrefix(b, magicELF):
		if len(b) > 18 && (b[16] == 4 || b[17] == 4) {
			return "elf-core"
		}
		return "unknown"
	}
	// A log that was truncated while somebody wrote to it (logrotate's copytruncate) begins with NULs; one whose machine died may end with them.
	if text := bytes.Trim(b, "\x00"); len(bytes.TrimSpace(text)) > 0 {
		b = text
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
	// The last five characters of a pod of a Deployment or DaemonSet come from this alphabet (k8s.io/apimachinery util/rand).
	podName     = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?-[bcdfghjklmnpqrstvwxz2456789]{5}$`)
	containerID = regexp.MustCompile(`^(.+)_([a-z0-9-]+)_([a-z0-9-]+)-[0-9a-f]{64}$`)
	podDir      = regexp.MustCompile(`^([a-z0-9-]+)_([a-z0-9.-]+)_[0-9a-f-]{32,36}$`)
	rotation    = regexp.MustCompile(`(?:[._-](?:\d{1,3}|\d{8}(?:-\d{6})?|previous|prev|old|current))+$`)
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
		if dir, ok := podParent(segs[:i]); id.Pod == "" && (podName.MatchString(s) || ok && i+1 < len(segs)) {
			id.Pod = s
			if ok {
				id.Pod, id.Namespace = segs[i], dir
			}
		}
	}
	return id
}

// podParent gives the namespace when the folders above one are those that hold pods: `proxies/NAMESPACE` in a bug report of istioctl,
// `namespaces/NAMESPACE/pods` in a must-gather. There the pod needs no telling name.
func podParent(above []string) (namespace string, ok bool) {
	n := len(above)
	if n >= 3 && above[n-1] == "pods" && above[n-3] == "namespaces" {
		return above[n-2], true
	}
	if n < 2 || above[n-1] == "pods" {
		return "", false
	}
	switch above[n-2] {
	case "proxies", "istio", "operator", "namespaces":
		return above[n-1], true
	}
	return "", false
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

var magicWasm, magicELF = []byte("\x00asm"), []byte("\x7fELF")
