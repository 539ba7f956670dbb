package ingest

import (
	"bytes"
	"sort"
	"strings"
	"time"
)

// line is one physical line in a block's buffer with its wrapper removed.
type line struct {
	start, end int // in buf; end excludes the line end ("\n" or "\r\n")
	text       []byte
	meta       meta
}

// lineAt cuts the physical line that contains position pos of buf. ok is false when its start or end is out of sight: it belongs
// to a line longer than [MaxLine], or to the world before or after the context.
func (b *Block) lineAt(pos int) (l line, ok bool) {
	if pos < 0 || pos >= len(b.buf) {
		return l, false
	}
	l.start = bytes.LastIndexByte(b.buf[:pos], '\n') + 1
	if l.start == 0 && b.bufOffset() > 0 {
		return l, false
	}
	end := bytes.IndexByte(b.buf[pos:], '\n')
	if end < 0 {
		l.end = len(b.buf)
		if l.end-l.start > MaxLine {
			l.end = l.start + MaxLine
		}
	} else {
		l.end = pos + end
	}
	if l.end > l.start && b.buf[l.end-1] == '\r' {
		l.end--
	}
	l.text = b.Input.unwrap(b.buf[l.start:l.end], &l.meta)
	return l, true
}

// bufOffset is the offset of buf[0] in the member.
func (b *Block) bufOffset() int64 { return b.Offset - int64(b.lo) }

// prev and next give the physical neighbours of a line, not further than MaxRecord from origin.
func (b *Block) prev(l line, origin int) (line, bool) {
	if l.start == 0 {
		return line{}, false
	}
	p, ok := b.lineAt(l.start - 1)
	if !ok || origin-p.start > MaxRecord {
		return line{}, false
	}
	return p, true
}

func (b *Block) next(l line, origin int) (line, bool) {
	pos := l.end
	for pos < len(b.buf) && b.buf[pos] != '\n' {
		pos++
	}
	if pos+1 >= len(b.buf) {
		return line{}, false
	}
	n, ok := b.lineAt(pos + 1)
	if !ok || n.end-origin > MaxRecord {
		return line{}, false
	}
	return n, true
}

// before and after walk in the order of writing, which in a newest-first export is the other way round.
func (b *Block) before(l line, origin int) (line, bool) {
	if b.Input.order == newestFirst {
		return b.next(l, origin)
	}
	return b.prev(l, origin)
}

func (b *Block) after(l line, origin int) (line, bool) {
	if b.Input.order == newestFirst {
		p, ok := b.prev(l, origin)
		return p, ok && origin-p.start <= MaxRecord
	}
	return b.next(l, origin)
}

// sameWriter reports whether two lines come from one container, as far as the wrapper tells. Logs of several pods interleave.
func sameWriter(a, b *meta) bool {
	return bytes.Equal(a.pod, b.pod) && bytes.Equal(a.container, b.container) && bytes.Equal(a.stream, b.stream)
}

// LineStart returns the position in Data where the line that contains pos begins.
func (b *Block) LineStart(pos int) int {
	return max(bytes.LastIndexByte(b.buf[:b.lo+pos], '\n')+1-b.lo, 0)
}

// LineEnd returns the position in Data just after the line that contains pos, its newline included.
func (b *Block) LineEnd(pos int) int {
	if i := bytes.IndexByte(b.Data[pos:], '\n'); i >= 0 {
		return pos + i + 1
	}
	return len(b.Data)
}

// RecordAt cuts and parses the record that the line at position pos of Data belongs to. The result depends on the input and the
// absolute offset alone, never on where blocks begin; nil means that nothing sensible stands there.
func (b *Block) RecordAt(pos int) *Record {
	in := b.Input
	if in.doc != nil {
		return in.docRecord(b.Offset + int64(pos))
	}
	if b.Tail {
		return nil
	}
	at, ok := b.lineAt(b.lo + pos)
	if !ok {
		return nil
	}
	if in.Kind == "stats" {
		return b.statRecord(at)
	}
	var h head
	first, found := b.findStart(at, &h)
	return b.build(first, found, &h)
}

// findStart walks back from a line to the one that begins its record and parses its header.
func (b *Block) findStart(at line, h *head) (first line, headed bool) {
	in := b.Input
	cur, origin := at, at.start
	for range MaxRecordLines {
		split := false // cur is the rest of a line that the container runtime split
		if in.splits() {
			if p, ok := b.beforeSame(cur, origin); ok && p.meta.partial {
				split = true
				cur = p
				continue
			}
		}
		if !split && parseHead(cur.text, h, false) {
			return cur, true
		}
		*h = head{}
		if startsAlone(cur.text) {
			return cur, false
		}
		p, ok := b.beforeSame(cur, origin)
		if !ok || !in.continues(p.text, cur.text) {
			return cur, false
		}
		cur = p
	}
	return cur, false
}

// splits reports whether the container runtime may have split lines.
func (in *Input) splits() bool {
	for _, w := range in.wrappers {
		if w == wrapCRI || w == wrapDocker || w == wrapJSON {
			return true
		}
	}
	return false
}

// beforeSame is the line that the same writer wrote before l.
func (b *Block) beforeSame(l line, origin int) (line, bool) {
	p := l
	for range MaxRecordLines {
		var ok bool
		if p, ok = b.before(p, origin); !ok {
			return p, false
		}
		if sameWriter(&p.meta, &l.meta) {
			return p, true
		}
	}
	return p, false
}

func (b *Block) afterSame(l line, origin int) (line, bool) {
	p := l
	for range MaxRecordLines {
		var ok bool
		if p, ok = b.after(p, origin); !ok {
			return p, false
		}
		if sameWriter(&p.meta, &l.meta) {
			return p, true
		}
	}
	return p, false
}

// startsAlone lists what native code prints to stderr without any header: V8's fatal error block, libc++abi, tcmalloc, and the
// dump of the request in flight. They follow whatever was logged before, but are no part of it.
func startsAlone(t []byte) bool {
	if len(t) == 0 {
		return false
	}
	switch t[0] {
	case '#':
		return true
	case 'l':
		return bytes.HasPrefix(t, []byte("libc++abi"))
	case 't':
		return bytes.HasPrefix(t, []byte("terminate called")) || bytes.HasPrefix(t, []byte("tcmalloc:"))
	case 'A', 'F':
		return bytes.HasPrefix(t, []byte("ActiveStream 0x")) || bytes.HasPrefix(t, []byte("FilterManager 0x"))
	}
	return false
}

// continues decides whether a line without a header continues the record of the line before it.
//
// Where most lines have a header, a line without one is a continuation, except after an access log entry, a JSON object or a
// stderr block. Elsewhere (a paste without prefixes) only what looks like a part of a trap or panic is.
func (in *Input) continues(before, text []byte) bool {
	if in.headed {
		var h head
		if parseHead(before, &h, true) {
			return !h.single && h.dialect != "access" && !(len(before) > 0 && before[0] == '{')
		}
		return !startsAlone(before) || text == nil || startsAlone(text)
	}
	return isFrame(text) || opensMore(before) || bytes.HasPrefix(text, []byte("Proxy-Wasm plugin in-VM backtrace"))
}

// isFrame recognises a line of a wasm backtrace: `  0:  0x17d70 - abort` (V8), `    0: 0x1234 - m!f` (wasmtime), `\t.f(i32)` (wazero).
func isFrame(t []byte) bool {
	s := bytes.TrimLeft(t, " \t")
	if len(s) == len(t) && !bytes.HasPrefix(s, []byte("0:")) {
		i := 0
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i > 0 && i < 4 && bytes.HasPrefix(s[i:], []byte(":  0x"))
	}
	i := 0
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return (i > 0 && i < len(s) && s[i] == ':') || (len(s) > 1 && s[0] == '.')
}

// opensMore recognises lines whose text goes on on the next one.
func opensMore(t []byte) bool {
	t = bytes.TrimRight(t, " \r")
	if len(t) == 0 || t[len(t)-1] != ':' {
		return false
	}
	return bytes.Contains(t, []byte("panicked at ")) || bytes.HasSuffix(t, []byte("backtrace:")) || bytes.HasSuffix(t, []byte("stack trace:"))
}

// build makes the record that begins at first, adding continuation lines.
func (b *Block) build(first line, headed bool, h *head) *Record {
	in := b.Input
	r := &Record{Input: in, Offset: b.bufOffset() + int64(first.start), Lines: 1, Raw: b.buf[first.start:first.end:first.end]}
	r.Line = b.Line + int64(bytes.Count(b.buf[b.lo:max(first.start, b.lo)], newline))
	if first.start < b.lo {
		r.Line = b.Line - int64(bytes.Count(b.buf[first.start:b.lo], newline))
	}
	r.setMeta(&first.meta)
	msg := first.text
	if headed {
		msg = h.message
		r.Kind, r.Level, r.Access = h.kind, h.level, h.access
		r.Logger, r.Caller, r.Thread = string(h.logger), string(h.caller), string(h.thread)
		if !h.time.IsZero() {
			r.Time, r.Zoned = h.time, h.zoned
		}
	}
	if !r.Zoned && !r.Time.IsZero() {
		r.Time = r.Time.Add(in.skew)
	}
	if r.Time.IsZero() && !first.meta.time.IsZero() {
		r.Time, r.Zoned = first.meta.time, true
	}
	if r.Kind == KindAccess {
		r.Message = string(msg)
		return r
	}
	var sb strings.Builder
	sb.Write(msg)
	if !h.single || first.meta.partial {
		b.extend(r, first, &sb)
	}
	r.Message = finish(sb.String(), r, h)
	return r
}

// extend appends the continuation lines of a record to its message.
func (b *Block) extend(r *Record, first line, sb *strings.Builder) {
	in, cur := b.Input, first
	var probe head
	for r.Lines < MaxRecordLines {
		n, ok := b.afterSame(cur, first.start)
		if !ok {
			return
		}
		if !cur.meta.partial {
			if parseHead(n.text, &probe, true) || startsAlone(n.text) && !startsAlone(cur.text) || !in.continues(cur.text, n.text) {
				return
			}
			sb.WriteByte('\n')
		}
		sb.Write(n.text)
		r.Lines++
		cur = n
	}
}

// finish cleans the joined message: the thread that Istio's format puts at its very end, and escapes of --log-format-escaped.
func finish(m string, r *Record, h *head) string {
	m = strings.TrimRight(m, "\n\r")
	if r.Thread == "" && (h.dialect == "istio-text" || h.dialect == "agent") {
		if i := strings.LastIndex(m, "thread="); i > 0 && (m[i-1] == '\t' || m[i-1] == ' ') && digits([]byte(m[i+7:])) >= 0 && len(m) > i+7 {
			r.Thread = m[i+7:]
			m = strings.TrimRight(m[:i], "\t ")
		}
	}
	if r.Lines == 1 && strings.Contains(m, `\n`) {
		m = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\"`, `"`, `\\`, `\`).Replace(m)
	}
	return m
}

func (r *Record) setMeta(m *meta) {
	id := &r.Input.Identity
	r.Pod, r.Namespace, r.Container, r.Node = id.Pod, id.Namespace, id.Container, id.Node
	if len(m.pod) > 0 {
		r.Pod = string(m.pod)
	}
	if len(m.namespace) > 0 {
		r.Namespace = string(m.namespace)
	}
	if len(m.container) > 0 {
		r.Container = string(m.container)
	}
	if len(m.node) > 0 {
		r.Node = string(m.node)
	}
}

// Joined returns r with the fragments that follow it. A guest's stderr reaches the log one write at a time: an allocation error
// of Rust is three records, a panic of Go about twenty, all of one thread within milliseconds. r is returned as it is when
// nothing follows.
func (b *Block) Joined(r *Record) *Record {
	prefix, text, ok := GuestText(r.Message)
	if !ok || b.Input.doc != nil {
		return r
	}
	pos := int(r.Offset - b.bufOffset())
	cur, ok := b.lineAt(pos)
	if !ok {
		return r
	}
	j := *r
	var sb strings.Builder
	sb.WriteString(text)
	first := cur
	for n := 0; n < 512 && j.Lines < MaxRecordLines; n++ {
		if cur, ok = b.afterSame(cur, first.start); !ok {
			break
		}
		var h head
		if !parseHead(cur.text, &h, false) {
			continue
		}
		f := b.build(cur, true, &h)
		if f.Thread != r.Thread {
			continue
		}
		p, t, guest := GuestText(f.Message)
		if !guest || p != prefix || f.Level != r.Level || apart(f.Time, r.Time) > 20*time.Millisecond {
			break
		}
		if strings.HasPrefix(t, "note: ") || strings.HasPrefix(t, "goroutine ") || strings.HasPrefix(t, "thread '") {
			sb.WriteByte('\n')
		}
		sb.WriteString(t)
		j.Lines += f.Lines
	}
	j.Message = prefix + ": " + sb.String()
	return &j
}

func apart(a, b time.Time) time.Duration {
	if d := a.Sub(b); d >= 0 {
		return d
	}
	return b.Sub(a)
}

// GuestText splits what a plugin logged from the prefix that Envoy put in front of it: `wasm log NAME ROOT VM: text`. The prefix
// comes back without the colon.
func GuestText(message string) (prefix, text string, ok bool) {
	if !strings.HasPrefix(message, "wasm log") {
		return "", message, false
	}
	i := strings.Index(message, ": ")
	if i < 0 {
		if strings.HasSuffix(message, ":") {
			return message[:len(message)-1], "", true
		}
		return "", message, false
	}
	if nl := strings.IndexByte(message, '\n'); nl >= 0 && nl < i {
		return "", message, false
	}
	return message[:i], message[i+2:], true
}

// statRecord reads a line of admin /stats, text or Prometheus.
func (b *Block) statRecord(l line) *Record {
	t := l.text
	var name, value []byte
	if len(t) == 0 || t[0] == '#' {
		return nil
	}
	if i := bytes.IndexByte(t, '{'); i > 0 {
		if j := bytes.IndexByte(t[i:], '}'); j > 0 {
			name, value = t[:i+j+1], t[i+j+1:]
		}
	}
	if name == nil {
		if i := bytes.Index(t, []byte(": ")); i > 0 {
			name, value = t[:i], t[i+2:]
		} else if i := bytes.IndexByte(t, ' '); i > 0 {
			name, value = t[:i], t[i+1:]
		} else {
			return nil
		}
	}
	r := &Record{Input: b.Input, Kind: KindStat, Offset: b.bufOffset() + int64(l.start), Lines: 1, Raw: b.buf[l.start:l.end:l.end], Message: string(t)}
	r.Line = b.Line + int64(bytes.Count(b.buf[b.lo:max(l.start, b.lo)], newline))
	r.setMeta(&l.meta)
	r.Fields = map[string]string{"name": strings.TrimSuffix(string(name), "{}"), "value": string(bytes.TrimSpace(value))}
	return r
}

// span is a record of a structured document, ready made.
type span struct {
	start, end int64
	rec        *Record
}

// docRecord finds the innermost part of a document around an offset.
func (in *Input) docRecord(off int64) *Record {
	// Parts are sorted by start, outer before inner: the last one that starts at or before off and still covers it is innermost.
	i := sort.Search(len(in.doc), func(i int) bool { return in.doc[i].start > off })
	for i--; i >= 0; i-- {
		if in.doc[i].end > off {
			return in.doc[i].rec
		}
	}
	return nil
}
