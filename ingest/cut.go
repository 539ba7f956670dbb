package ingest

import (
	"bytes"
	"slices"
	"sort"
	"strings"
	"time"
)

// How far a record reaches. A block shows MaxRecord bytes before it, so that for any line of it one can see the record that it
// belongs to and, if it belongs to none, whether the lines before it do.
const (
	recordReach = MaxRecord * 3 / 4 // bytes from the first to the last of a record with a header
	pasteReach  = MaxRecord - recordReach
	looseLines  = 64  // lines of a record where lines without a header are the rule
	manyLines   = 6   // a record of so many lines is remembered
	maxForeign  = 128 // lines of other writers between two of one
	interrupts  = 8   // access log entries that may stand inside a record, see [interrupted]
)

// line is one physical line in a block's buffer with its wrapper removed.
type line struct {
	start, end int // in buf; end excludes the line end ("\n" or "\r\n")
	text       []byte
	meta       meta
	class      class
}

// class says what a line is for the cutting of records.
type class uint8

const (
	classUnknown class = iota // not yet looked at
	classPlain                // has no header: the continuation of a record, or a text of its own
	classHead                 // begins a record that may go on
	classSingle               // is a record: an object
	classAccess               // is a record: an access log entry
	classNative               // begins what native code prints to stderr without any header, see [startsAlone]
)

func (l *line) classify() class {
	if l.class != classUnknown {
		return l.class
	}
	var h head
	switch {
	case l.meta.partial && len(l.text) > 0 && l.text[0] == '{':
		l.class = classSingle // the object ends in another line
	case parseHead(l.text, &h, true):
		l.class = classHead
		if h.kind == KindAccess {
			l.class = classAccess
		} else if h.single {
			l.class = classSingle
		}
	case startsAlone(l.text):
		l.class = classNative
	default:
		l.class = classPlain
	}
	return l.class
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// physical finds the physical line that contains position pos of buf. ok is false when its start is out of sight: it belongs to a line
// longer than [MaxLine], or to the world before or after the context.
func (b *Block) physical(pos int) (l line, ok bool) {
	if pos < 0 || pos >= len(b.buf) {
		return l, false
	}
	l.start = bytes.LastIndexByte(b.buf[:pos], '\n') + 1
	if l.start == 0 && b.bufOffset() > 0 {
		return l, false
	}
	if end := bytes.IndexByte(b.buf[pos:], '\n'); end >= 0 {
		l.end = pos + end
	} else {
		l.end = min(len(b.buf), l.start+MaxLine)
	}
	if l.end > l.start && b.buf[l.end-1] == '\r' {
		l.end--
	}
	return l, true
}

// unwrap removes the wrappers of a physical line.
func (b *Block) unwrap(l *line) {
	l.text = b.buf[l.start:l.end]
	if l.start == 0 && b.bufOffset() == 0 {
		l.text = bytes.TrimPrefix(l.text, byteOrderMark)
	}
	l.text = b.Input.unwrap(l.text, &l.meta)
}

// lineAt is the line that contains position pos of buf.
func (b *Block) lineAt(pos int) (l line, ok bool) {
	if l, ok = b.physical(pos); ok {
		b.unwrap(&l)
	}
	return l, ok
}

// bufOffset is the offset of buf[0] in the member.
func (b *Block) bufOffset() int64 { return b.Offset - int64(b.lo) }

// lineNumber is the number of the line that starts at pos in buf. It counts from the place it was last asked for: candidates come in the
// order of lines, and counting from the start of the block for each would take longer than all the rest.
func (b *Block) lineNumber(pos int) int64 {
	m := &b.memo
	if m.marked == 0 {
		m.mark, m.marked = b.lo, b.Line
	}
	if pos >= m.mark {
		m.marked += int64(bytes.Count(b.buf[m.mark:pos], newline))
	} else {
		m.marked -= int64(bytes.Count(b.buf[pos:m.mark], newline))
	}
	m.mark = pos
	return m.marked
}

// neighbour is the physical line above or below another one, not further than MaxRecord from origin. It is not yet unwrapped.
func (b *Block) neighbour(l *line, origin int, up bool) (line, bool) {
	if up {
		if l.start == 0 {
			return line{}, false
		}
		p, ok := b.physical(l.start - 1)
		return p, ok && origin-p.start <= MaxRecord
	}
	nl := bytes.IndexByte(b.buf[l.end:], '\n')
	if nl < 0 || l.end+nl+1 >= len(b.buf) {
		return line{}, false
	}
	n, ok := b.physical(l.end + nl + 1)
	return n, ok && n.end-origin <= MaxRecord
}

// sibling is the next line above or below that the same writer wrote. Logs of several pods interleave.
func (b *Block) sibling(l *line, origin int, up bool) (line, bool) {
	if b.Input.table {
		return b.cellSibling(l, origin, up)
	}
	p, own := *l, b.buf[l.start:l.end]
	for range maxForeign {
		var ok bool
		if p, ok = b.neighbour(&p, origin, up); !ok {
			break
		}
		raw := b.buf[p.start:p.end]
		if l.meta.runtime && otherStream(raw, l.meta.stream) || len(l.meta.pod) > 0 && otherPod(raw, own) {
			continue
		}
		if b.unwrap(&p); b.Input.spaced && len(p.text) == 0 {
			continue
		}
		if sameWriter(&p.meta, &l.meta) {
			return p, true
		}
	}
	return line{}, false
}

// cellSibling is sibling for a table. The lines inside a cell belong to the row above them; a row with such lines is a record of its own.
func (b *Block) cellSibling(l *line, origin int, up bool) (line, bool) {
	p, inside := *l, false // p is a row that has lines inside a cell
	for range maxForeign {
		var ok bool
		if p, ok = b.neighbour(&p, origin, up); !ok {
			break
		}
		b.unwrap(&p)
		switch {
		case l.meta.inCell:
			return p, up || p.meta.inCell
		case p.meta.inCell && !up && !inside:
			return p, true
		case p.meta.inCell:
			inside = true
			continue
		case sameWriter(&p.meta, &l.meta):
			return p, !up || !inside
		}
		inside = !up
	}
	return line{}, false
}

// otherStream says of many a line that it was not written to a stream, without unwrapping it: an access log on stdout may have hundreds
// of lines between two on stderr.
func otherStream(raw, stream []byte) bool {
	if len(raw) < 40 || len(stream) != len("stdout") {
		return false
	}
	if raw[0] == '{' {
		const key = `","stream":"`
		tail := raw[max(0, len(raw)-100):]
		i := bytes.LastIndex(tail, []byte(key))
		return i >= 0 && string(raw[:8]) == `{"log":"` && bytes.HasPrefix(tail[i+len(key):], []byte("std")) && !bytes.HasPrefix(tail[i+len(key):], stream)
	}
	i := bytes.IndexByte(raw[:40], ' ')
	return i >= 20 && i < 32 && string(raw[i+1:i+4]) == "std" && !bytes.Equal(raw[i+1:i+7], stream)
}

// otherPod is the like for `kubectl logs --prefix`.
func otherPod(raw, own []byte) bool {
	const prefix = "[pod/"
	if len(raw) < 10 || len(own) < 10 || string(raw[:5]) != prefix || string(own[:5]) != prefix {
		return false
	}
	i, j := bytes.IndexByte(raw, ']'), bytes.IndexByte(own, ']')
	return i > 0 && j > 0 && max(i, j) <= 600 && !bytes.Equal(raw[:i], own[:j])
}

// sameWriter reports whether two lines come from one container, as far as the wrapper tells.
func sameWriter(a, b *meta) bool {
	return bytes.Equal(a.pod, b.pod) && bytes.Equal(a.container, b.container) && bytes.Equal(a.stream, b.stream) &&
		bytes.Equal(a.namespace, b.namespace) && bytes.Equal(a.node, b.node) && a.frame == b.frame
}

// extent is how many bytes two lines and all between them have.
func extent(a, b *line) int { return max(a.end, b.end) - min(a.start, b.start) }

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
// absolute offset of that line alone, never on where blocks begin; nil means that nothing sensible stands there. In a structured
// document it is the innermost part that contains the offset.
//
// It is cheap to ask for records in the order of lines.
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
		return b.statRecord(&at)
	}
	var h head
	if !at.meta.runtime && in.order == oldestFirst && parseHead(at.text, &h, false) {
		return b.build(&at, &h, course{up: true, sure: true}) // nearly every line
	}
	if _, ok := slices.BinarySearch(b.memo.members, at.start); ok {
		r := *b.memo.last
		return &r
	}
	first, c := b.find(&at)
	h, c.sure = head{}, true
	return b.build(&first, &h, c)
}

// barren reports whether a line is known to be out of the reach of any header.
func (b *Block) barren(l *line) (_ barren, ok bool) {
	for _, x := range b.memo.barren {
		if x.start == l.start+1 {
			return x, true
		}
	}
	return barren{}, false
}

// setBarren remembers that a line is out of the reach of any header, and so are those that continue it.
func (b *Block) setBarren(l *line, lonely bool) {
	if b.Input.order == oldestFirst {
		b.memo.barren[b.memo.turn] = barren{l.start + 1, lonely}
		b.memo.turn = (b.memo.turn + 1) % len(b.memo.barren)
	}
}

// course is how the lines of a record are found.
type course struct {
	up    bool // what was written before a line stands above it; else, in a newest-first export, below
	paste bool // no header: only what looks like parts of one trap or panic belongs together
	alone bool // the line is all
	sure  bool // the first line does begin a record
}

// limit is how many lines a record may have.
func (in *Input) limit() int {
	if in.headed {
		return MaxRecordLines
	}
	return looseLines
}

// find gives the first line of the record that a line belongs to.
//
// The line may be far behind a header, so the walk goes twice as far as a record can: what is beyond the reach of one header is not
// to be taken for a part of it, nor to be joined with something that is.
func (b *Block) find(at *line) (first line, c course) {
	limit := b.Input.limit()
	c.up = true
	if b.Input.order == newestFirst {
		c.up, c.alone = b.orient(at)
	}
	start, n, known := *at, 1, false
	for n < 2*limit && !known {
		p, ok := b.back(&start, at.start, c.up)
		if !ok {
			break
		}
		start, n = p, n+1
		_, known = b.barren(&start)
	}
	headed := !known && start.classify() != classPlain
	if headed && n <= limit && extent(&start, at) <= recordReach {
		return start, c
	}
	first, c.paste, c.alone = b.findPaste(at, c, func(p *line, k int) bool {
		return headed && n-k <= limit && extent(&start, p) <= recordReach
	})
	if !headed {
		b.setBarren(at, c.alone)
	}
	return first, c
}

// findPaste gives the first line of what belongs together by its look alone, at least of what owned, given how far back a line is, does
// not say to be of another record.
func (b *Block) findPaste(at *line, c course, owned func(p *line, k int) bool) (first line, paste, alone bool) {
	first = *at
	for k := 1; ; k++ {
		p, ok := b.back(&first, at.start, c.up)
		if !ok || !p.meta.partial && !pasteJoins(p.text, first.text) || owned(&p, k) {
			return first, true, c.alone
		}
		if x, _ := b.barren(&p); x.lonely || k == b.Input.limit() || extent(&p, at) > pasteReach {
			return *at, true, true
		}
		first = p
	}
}

// back gives the line that l continues, if it continues one.
func (b *Block) back(l *line, origin int, up bool) (p line, ok bool) {
	if p, ok = b.sibling(l, origin, up); !ok || p.meta.partial {
		return p, ok
	}
	if !b.Input.headed && len(p.text) == 0 && bytes.HasPrefix(l.text, causedBy) {
		if q, ok := b.sibling(&p, origin, up); ok && isFrame(q.text) {
			return q, b.joins(&q, l)
		}
	}
	if l.classify() == classPlain && p.classify() == classAccess {
		for q, n := p, 0; n < interrupts; n++ {
			if q, ok = b.sibling(&q, origin, up); !ok {
				return p, false
			}
			if q.classify() != classAccess {
				return q, interrupted(q.text, l.text) && b.joins(&q, l)
			}
		}
	}
	return p, b.joins(&p, l)
}

// forth gives the line that continues l, if one does.
func (b *Block) forth(l *line, origin int, up bool) (n line, ok bool) {
	if n, ok = b.sibling(l, origin, !up); !ok || l.meta.partial {
		return n, ok
	}
	if !b.Input.headed && len(n.text) == 0 && isFrame(l.text) {
		if m, ok := b.sibling(&n, origin, !up); ok && bytes.HasPrefix(m.text, causedBy) {
			return m, b.joins(l, &m)
		}
	}
	for m, k := n, 0; mayPause(l.text) && m.classify() == classAccess && k < interrupts; k++ {
		if m, ok = b.sibling(&m, origin, !up); !ok {
			return n, false
		}
		if m.classify() == classPlain {
			return m, interrupted(l.text, m.text) && b.joins(l, &m)
		}
	}
	return n, b.joins(l, &n)
}

// interrupted decides whether t goes on where before ended although access log entries stand between them. Envoy writes its log to
// stderr and its access log to stdout: where both end up in one file, entries may stand between the lines of a backtrace.
func interrupted(before, t []byte) bool {
	if !mayPause(before) {
		return false
	}
	switch i := frameIndex(t); {
	case i > 0:
		return frameIndex(before) == i-1
	case i == 0:
		return bytes.HasSuffix(before, []byte("backtrace:"))
	}
	return bytes.HasPrefix(t, []byte("Proxy-Wasm plugin in-VM backtrace")) && frameIndex(before) < 0 || bytes.HasPrefix(t, []byte("\tthread=")) && frameIndex(before) >= 0
}

// mayPause reports whether a line is one of those behind which [interrupted] may find more.
func mayPause(t []byte) bool {
	return frameIndex(t) >= 0 || bytes.HasSuffix(t, []byte("backtrace:")) || bytes.Contains(t, []byte("Function: "))
}

// joins decides whether l continues the record that p belongs to. p is the line that the same writer wrote before.
func (b *Block) joins(p, l *line) bool {
	switch l.classify() {
	case classPlain:
	case classNative:
		return p.classify() == classNative && p.text[0] == '#' && l.text[0] == '#'
	default:
		return false
	}
	switch p.classify() {
	case classSingle, classAccess:
		return false
	case classNative:
		return len(l.text) > 0 && (l.text[0] == ' ' || l.text[0] == '\t') // the members of a dumped object
	}
	// Where lines without a header are the rule, what is behind an empty line is something else; so is what is not quoted too.
	return b.Input.headed || len(p.text) > 0 && len(l.text) > 0 && p.meta.quoted == l.meta.quoted
}

// startsAlone lists what native code prints to stderr without any header: V8's fatal error block, libc++abi, tcmalloc, and the
// dump of the request in flight. They follow whatever was logged before, but are no part of it. `#1: symbol [0x…]` is: since 1.39 a
// native backtrace may be one record of many lines.
func startsAlone(t []byte) bool {
	if len(t) == 0 {
		return false
	}
	switch t[0] {
	case '#':
		return len(t) == 1 || t[1] < '0' || t[1] > '9'
	case 'l':
		return bytes.HasPrefix(t, []byte("libc++abi"))
	case 't':
		return bytes.HasPrefix(t, []byte("terminate called")) || bytes.HasPrefix(t, []byte("tcmalloc:"))
	case 'A', 'F':
		return bytes.HasPrefix(t, []byte("ActiveStream 0x")) || bytes.HasPrefix(t, []byte("FilterManager 0x"))
	}
	return false
}

// pasteJoins decides whether a line continues the one before where no header tells: only what looks like a part of a trap or panic does.
func pasteJoins(before, text []byte) bool {
	if len(before) == 0 || len(text) == 0 {
		return false
	}
	return isFrame(text) || opensMore(before) || bytes.HasPrefix(text, []byte("Proxy-Wasm plugin in-VM backtrace")) ||
		bytes.HasPrefix(text, causedBy)
}

// causedBy begins what wasmtime prints below a backtrace, behind an empty line.
var causedBy = []byte("Caused by:")

// frameIndex reads the number of a frame of V8's backtrace, `  3:  0x17d70 - abort`; -1 when it is none.
func frameIndex(t []byte) int {
	s := bytes.TrimLeft(t, " \t")
	i := bytes.IndexByte(s[:min(len(s), 6)], ':')
	if i < 1 || !bytes.HasPrefix(bytes.TrimLeft(s[i+1:], " "), []byte("0x")) {
		return -1
	}
	return digits(s[:i])
}

// isFrame recognises a line of a wasm backtrace: `  0:  0x17d70 - abort` (V8), `    0: 0x1234 - m!f` (wasmtime), `\t.f(i32)` (wazero).
// Without the indentation, which gets lost on the way, an address must follow.
func isFrame(t []byte) bool {
	s := bytes.TrimLeft(t, " \t")
	if len(s) == len(t) {
		return frameIndex(t) >= 0
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
	return bytes.Contains(t, []byte("panicked at ")) || bytes.HasSuffix(t, []byte("backtrace:")) || bytes.HasSuffix(t, []byte("stack trace:")) ||
		bytes.HasSuffix(t, causedBy)
}

// build makes the record that begins at first. h is its header, if it was parsed already.
func (b *Block) build(first *line, h *head, c course) *Record {
	in := b.Input
	r := &Record{Input: in, Offset: b.bufOffset() + int64(first.start), Line: b.lineNumber(first.start), Lines: 1}
	text, last := first.text, first
	if first.meta.partial && !c.alone {
		last = new(line)
		text = b.whole(r, first, last, c)
		*h = head{}
	}
	if h.dialect == "" && !parseHead(text, h, false) {
		h.message = text
	}
	raw := b.buf[first.start:first.end]
	t := newTexts(raw, text)
	r.Raw = t.of(raw)
	r.setMeta(&first.meta, &t)
	r.Kind, r.Level = h.kind, h.level
	r.Logger, r.Caller, r.Thread = t.of(h.logger), t.of(h.caller), t.of(h.thread)
	r.Time, r.Zoned = in.timeOf(h, &first.meta)
	if r.Kind == KindAccess {
		r.Message, r.Access = t.of(h.message), h.access.keep(&t)
		return r
	}
	if h.single || c.alone {
		r.Message = finish(t.of(h.message), r, h)
		return r
	}
	r.Message = finish(b.extend(r, t.of(h.message), first, last, c), r, h)
	return r
}

// whole joins what the container runtime has split: the lines from first to last are one line of the program.
func (b *Block) whole(r *Record, first, last *line, c course) []byte {
	text := append([]byte(nil), first.text...)
	*last = *first
	for last.meta.partial && r.Lines < MaxRecordLines {
		n, ok := b.sibling(last, first.start, !c.up)
		if !ok || extent(first, &n) > recordReach {
			break
		}
		text = append(text, n.text...)
		r.Lines++
		*last = n
	}
	last.meta.partial = false
	return text
}

// extend appends the continuation lines of a record to its message.
func (b *Block) extend(r *Record, message string, first, last *line, c course) string {
	var sb strings.Builder
	cur, limit, reach := *last, b.Input.limit(), recordReach
	if c.paste {
		reach = pasteReach
	}
	var members []int
	for r.Lines < limit {
		n, ok := b.forth(&cur, first.start, c.up)
		if !ok || c.paste && !cur.meta.partial && !pasteJoins(cur.text, n.text) || extent(first, &n) > reach {
			break
		}
		if members == nil {
			members = append(make([]int, 0, 16), first.start)
			sb.WriteString(message)
		}
		if !cur.meta.partial {
			sb.WriteByte('\n')
		}
		sb.Write(n.text)
		r.Lines++
		members = append(members, n.start)
		cur = n
	}
	if members == nil {
		return message
	}
	if len(members) >= manyLines && c.sure && b.Input.order == oldestFirst {
		b.memo.last, b.memo.members = r, members
	}
	return sb.String()
}

// timeOf gives the time of a record: its own, else the wrapper's. Times without a zone are corrected by the input's skew.
func (in *Input) timeOf(h *head, m *meta) (t time.Time, zoned bool) {
	t, zoned = h.time, h.zoned
	if h.yearless {
		t = in.inYear(t)
	}
	if t.IsZero() {
		if t, zoned = m.time, !m.unzoned; m.yearless {
			t = in.inYear(t)
		}
	}
	if t.IsZero() {
		return t, false
	}
	if !zoned {
		t = t.Add(in.skew)
	}
	return t, zoned
}

// inYear puts a time that names no year into the year in which it is nearest to the other times of the input; where there are none, the
// time stays unknown.
func (in *Input) inYear(t time.Time) time.Time {
	if in.ref.IsZero() || t.IsZero() {
		return time.Time{}
	}
	var best time.Time
	for y := in.ref.Year() - 1; y <= in.ref.Year()+1; y++ {
		c := time.Date(y, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
		if c.Day() == t.Day() && (best.IsZero() || apart(c, in.ref) < apart(best, in.ref)) { // 29 February
			best = c
		}
	}
	return best
}

// texts turns pieces of a line into strings that share one copy of it: a record of an access log would have ten small ones.
type texts struct {
	b []byte
	s string // string(b)
}

// newTexts copies the raw line, or the text when it is no piece of that.
func newTexts(raw, text []byte) texts {
	t := texts{b: raw}
	if len(text) > 0 && t.find(text) < 0 {
		t.b = text
	}
	t.s = string(t.b)
	return t
}

// find gives the position of a piece in b, by its address; -1 when it is none.
func (t *texts) find(p []byte) int {
	i := cap(t.b) - cap(p)
	if i < 0 || i >= len(t.b) || i+len(p) > len(t.b) || &t.b[i] != &p[0] {
		return -1
	}
	return i
}

func (t *texts) of(p []byte) string {
	if len(p) == 0 {
		return ""
	}
	if i := t.find(p); i >= 0 {
		return t.s[i : i+len(p)]
	}
	return string(p)
}

// keep makes an [Access] of what points into a line.
func (a *access) keep(t *texts) *Access {
	return &Access{Method: t.of(a.method), Path: t.of(a.path), Status: a.status, Flags: t.of(a.flags), Details: t.of(a.details),
		Upstream: t.of(a.upstream), Duration: a.duration, BytesSent: a.sent}
}

// finish cleans the joined message: the thread that Istio's format puts at its very end, and escapes of --log-format-escaped.
func finish(m string, r *Record, h *head) string {
	m = strings.TrimRight(m, "\n\r")
	if h.dialect == "istio-text" && r.Thread == "" {
		if i := strings.LastIndex(m, "thread="); i > 0 && (m[i-1] == '\t' || m[i-1] == ' ') && len(m) > i+7 && digits([]byte(m[i+7:])) >= 0 {
			r.Thread = m[i+7:]
			m = strings.TrimRight(m[:i], "\t \n")
		}
	}
	if r.Lines == 1 && strings.Contains(m, `\n`) {
		if t, ok := unescapeC([]byte(m)); ok {
			m = strings.TrimRight(string(t), "\n\r")
		}
	}
	return m
}

// unescapeC undoes absl::CEscape, which --log-format-escaped applies to a whole line and `%_` to the message. ok is false when the text
// was not escaped: then it would hold no quote and no backslash of its own (`C:\new` is a path, `{"a":"b\n"}` is JSON).
func unescapeC(s []byte) (_ []byte, ok bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' || c == '\'' {
			return nil, false
		}
		if c != '\\' {
			out = append(out, c)
			continue
		}
		if i++; i == len(s) {
			return nil, false
		}
		switch c := s[i]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case '"', '\'', '\\':
			out = append(out, c)
		case '0', '1', '2', '3':
			if i+2 >= len(s) || s[i+1] < '0' || s[i+1] > '7' || s[i+2] < '0' || s[i+2] > '7' {
				return nil, false
			}
			out = append(out, (c-'0')<<6|(s[i+1]-'0')<<3|(s[i+2]-'0'))
			i += 2
		default:
			return nil, false
		}
	}
	return out, true
}

func (r *Record) setMeta(m *meta, t *texts) {
	id := &r.Input.Identity
	r.Pod, r.Namespace, r.Container, r.Node = id.Pod, id.Namespace, id.Container, id.Node
	if len(m.pod) > 0 {
		r.Pod = t.of(m.pod)
	}
	if len(m.namespace) > 0 {
		r.Namespace = t.of(m.namespace)
	}
	if len(m.container) > 0 {
		r.Container = t.of(m.container)
	}
	if len(m.node) > 0 {
		r.Node = t.of(m.node)
	}
}

// Joined returns r with the fragments that follow it. A guest's stderr reaches the log one write at a time: an allocation error
// of Rust is three records, a panic of Go about twenty, all of one thread within milliseconds. r is returned as it is when
// nothing follows. r must be a record of this block.
func (b *Block) Joined(r *Record) *Record {
	prefix, text, ok := GuestText(r.Message)
	if !ok || b.Input.doc != nil {
		return r
	}
	cur, ok := b.lineAt(int(r.Offset - b.bufOffset()))
	if !ok {
		return r
	}
	j := *r
	var sb strings.Builder
	sb.WriteString(text)
	c := course{up: b.Input.order == oldestFirst}
	first := cur
	for n := 0; n < MaxRecordLines && j.Lines < MaxRecordLines; n++ {
		rest := cur.meta.partial
		if cur, ok = b.sibling(&cur, first.start, !c.up); !ok {
			break
		}
		var h head
		if rest || !parseHead(cur.text, &h, false) {
			continue
		}
		f := b.build(&cur, &h, c)
		if f.Thread != r.Thread || f.Kind == KindAccess {
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
	if j.Lines > r.Lines {
		if j.Message = prefix + ": " + sb.String(); strings.HasPrefix(prefix, NginxGuest) {
			j.Message = prefix + " " + sb.String()
		}
	}
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
//
// ngx_wasm_module (Kong) has `[proxy-wasm]["NAME" #CONTEXT] text`, in front of its own words about a filter too.
func GuestText(message string) (prefix, text string, ok bool) {
	if strings.HasPrefix(message, NginxGuest) {
		if i := strings.Index(message, "] "); i > len(NginxGuest) && strings.LastIndexByte(message[:i], '#') > len(NginxGuest) {
			return message[:i+1], message[i+2:], true
		}
		return "", message, false
	}
	if !strings.HasPrefix(message, "wasm log") {
		return "", message, false
	}
	for i := len("wasm log"); i < len(message) && message[i] != '\n'; i++ {
		if message[i] != ':' {
			continue
		}
		switch rest := message[i+1:]; {
		case rest == "" || rest[0] == '\n': // editors cut the blank at the end of a line
			return message[:i], rest, true
		case rest[0] == ' ':
			return message[:i], rest[1:], true
		}
	}
	return "", message, false
}

// NginxGuest begins what a plugin logs under ngx_wasm_module.
const NginxGuest = `[proxy-wasm]["`

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
