package replay

import (
	"regexp"
	"strings"
)

// maxLine is how much of a line is kept, in bytes; keptLines how many lines are kept at the start, and how many at the end.
const (
	maxLine   = 16 << 10
	keptLines = 1000
	keptBytes = 4 << 20 // at the start, and at the end
)

// logBuffer keeps the first and the last lines of a log: the first say how the plugin began, the last why it ended.
type logBuffer struct {
	first, last []Line
	bytes       int
	lastBytes   int
	total       int64
}

func (b *logBuffer) add(l Line) {
	b.total++
	n := len(l.Text) + 64
	if len(b.last) == 0 && len(b.first) < keptLines && b.bytes+n <= keptBytes {
		b.first, b.bytes = append(b.first, l), b.bytes+n
		return
	}
	b.last, b.lastBytes = append(b.last, l), b.lastBytes+n
	for len(b.last) > keptLines || b.lastBytes > keptBytes {
		b.lastBytes -= len(b.last[0].Text) + 64
		b.last[0] = Line{}
		b.last = b.last[1:]
	}
}

// lines gives what was kept, and how many lines between were not.
func (b *logBuffer) lines() ([]Line, int64) {
	all := append(append([]Line{}, b.first...), b.last...)
	return all, b.total - int64(len(all))
}

// ring keeps the last things that were added.
type ring[T any] struct {
	items []T
	next  int
	limit int
	total int64
}

func newRing[T any](limit int) ring[T] { return ring[T]{limit: limit} }

func (r *ring[T]) add(x T) {
	r.total++
	if r.limit == 0 {
		r.limit = 256
	}
	if len(r.items) < r.limit {
		r.items = append(r.items, x)
		return
	}
	r.items[r.next] = x
	r.next = (r.next + 1) % r.limit
}

func (r *ring[T]) list() []T { return append(append([]T{}, r.items[r.next:]...), r.items[:r.next]...) }

// panicPlace is where Rust and Go say that a panic happened. From Rust 1.73 on the message stands below.
var panicPlace = regexp.MustCompile(`panicked at (?:'.*', |".*", )?([^ :'"\n]+:\d+:\d+)`)

// said finds the guest's last words: the message of a panic, with its place; else the last line at error level or above in the callback that failed.
func said(log []Line, phase string) (message, location string) {
	for i := len(log) - 1; i >= 0 && i >= len(log)-50; i-- {
		l := log[i]
		if l.Source != "plugin" {
			continue
		}
		if m := panicPlace.FindStringSubmatch(l.Text); m != nil {
			message, rest, _ := strings.Cut(l.Text, "\n")
			if rest == "" && i+1 < len(log) && strings.HasSuffix(message, ":") { // standard error, a line at a time
				rest = log[i+1].Text
			}
			return printable(strings.TrimSpace(message + " " + strings.ReplaceAll(rest, "\n", " "))), m[1]
		}
	}
	for i := len(log) - 1; i >= 0; i-- { // Go and Rust's allocator write their last words piece by piece
		if l := log[i]; l.Source == "plugin" && l.Callback == phase && l.Level == "error" && lastWords.MatchString(l.Text) {
			return printable(pieces(log[i:])), ""
		}
	}
	for i := len(log) - 1; i >= 0; i-- {
		if l := log[i]; l.Source == "plugin" && l.Callback == phase && (l.Level == "critical" || l.Level == "error") {
			return printable(strings.ReplaceAll(l.Text, "\n", " ")), ""
		}
	}
	return "", ""
}

var lastWords = regexp.MustCompile(`^(?:panic: |fatal error: |memory allocation of )`)

// pieces joins what was written in pieces, up to an empty one or a line that is another matter.
func pieces(log []Line) string {
	var b strings.Builder
	for i, l := range log {
		if i > 0 && (strings.TrimSpace(l.Text) == "" || strings.HasPrefix(l.Text, "note: ") || b.Len() > 1000) {
			break
		}
		b.WriteString(l.Text)
	}
	return strings.ReplaceAll(b.String(), "\n", " ")
}
