package ingest

import (
	"bytes"
	"slices"
	"sort"
)

// Tools put a thousand things in front of the lines of a log: `grep -n` a number, `grep -r` a file, `cat -n`, `nl` and editors a number
// in a column, `ts` a time, a build server a time in brackets, and half of all log viewers something of their own. They have one thing in
// common: it looks alike on every line, and behind it stands a header. So the head of an input shows what it is, and lines without a header
// (the frames of a backtrace) are freed of it by its look alone.

// lead is the look of what stands in front of lines: `7: ` for a number, `a` for a word that changes, every other byte for itself.
type lead struct {
	parts []leadPart
	n     int // lines of the sample that have it
}

type leadPart struct {
	kind byte   // 'd' digits, 'w' a word, ' ' padding (any number of blanks), '=' text
	text []byte // for '='
}

const (
	maxLead  = 160 // bytes of a lead
	maxLeads = 12  // different ones of an input; the words of names have more or fewer parts
)

// leads finds what stands in front of the headers of a sample. The times and words of a log's own header are no lead: what is cut off must
// make a header of a line that has none.
func findLeads(sample [][]byte) []lead {
	var found []lead
	probed, clear := 0, 0
	for _, l := range sample {
		if probed++; probed > 400 {
			break
		}
		if clearHeader(l) {
			clear++
			continue
		}
		at := headerBehind(l)
		if at <= 0 {
			continue
		}
		parts := leadOf(l[:at])
		if parts == nil {
			continue
		}
		known := slices.IndexFunc(found, func(f lead) bool { return sameLook(f.parts, parts) })
		if known < 0 {
			found = append(found, lead{parts: parts, n: 1})
			continue
		}
		found[known].n++
		found[known].generalize(parts)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].n > found[j].n })
	if clear*4 > probed { // most lines have a header of their own
		return nil
	}
	found = slices.DeleteFunc(found, func(f lead) bool { return !f.telling() || f.n*50 < found[0].n })
	return found[:min(len(found), maxLeads)]
}

// headerBehind gives the first position at which a header of a known dialect begins, when something stands before it; -1 when none does. A
// header begins behind a blank or a mark, never in a word.
func headerBehind(l []byte) int {
	if t := element(l); len(t) > 0 && t[0] == '{' {
		return -1 // a value in an object is no header behind something
	}
	for i := 1; i < len(l) && i < maxLead; i++ {
		switch c := l[i]; {
		case c != '[' && c != '{' && (c < '0' || c > '9'):
			continue
		case isWord(l[i-1:i]) && l[i-1] != '-':
			continue
		}
		if l[i] == '{' && l[len(l)-1] == '}' && jsonWalk(l[i:], func([]byte, []byte) jsonStep { return jsonSkip }) {
			return i
		}
		if clearHeader(l[i:]) {
			return i
		}
	}
	return -1
}

// clearHeader is knownHeader for a place in the middle of a line, where an access log entry in a free order of fields is found all too easily.
func clearHeader(l []byte) bool {
	var h head
	if !parseHead(l, &h, false) {
		return false
	}
	switch h.dialect {
	case "text", "agent-json":
		return false
	case "access":
		return l[0] == '['
	case "envoy":
		return h.level != LevelUnknown || h.logger != nil // else it is a time in brackets, and could be a build server's
	}
	return true
}

// leadOf takes what stands in front of a header apart.
func leadOf(b []byte) []leadPart {
	var parts []leadPart
	for i := 0; i < len(b); {
		j := i
		switch c := b[i]; {
		case c == ' ' || c == '\t':
			for j < len(b) && b[j] == c {
				j++
			}
			if c == ' ' && (j-i > 1 || i == 0) && j < len(b) && '0' <= b[j] && b[j] <= '9' { // a number in a column
				parts = append(parts, leadPart{kind: ' '})
			} else {
				parts = append(parts, leadPart{kind: '=', text: b[i:j]})
			}
		case leadWord(c):
			number := true
			for j < len(b) && leadWord(b[j]) {
				number = number && '0' <= b[j] && b[j] <= '9'
				j++
			}
			if number {
				parts = append(parts, leadPart{kind: 'd'})
			} else {
				parts = append(parts, leadPart{kind: '=', text: b[i:j]})
			}
		default:
			j++
			parts = append(parts, leadPart{kind: '=', text: b[i:j]})
		}
		i = j
	}
	if i := len(b) - 1; i < 0 || leadWord(b[i]) {
		return nil // nothing ends it
	}
	return parts
}

// leadWord says which bytes make a word. A dash is none: it stands between the parts of names, and behind the numbers of `grep -C`.
func leadWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '/' || c >= 0x80
}

func isWordPart(p *leadPart) bool {
	return p.kind == 'd' || p.kind == 'w' || p.kind == '=' && leadWord(p.text[0])
}

// sameLook reports whether two leads differ in their words only.
func sameLook(a, b []leadPart) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if isWordPart(x) && isWordPart(y) {
			continue
		}
		if x.kind != y.kind || !bytes.Equal(x.text, y.text) {
			return false
		}
	}
	return true
}

// generalize makes a lead fit other parts of the same look too.
func (f *lead) generalize(parts []leadPart) {
	for i := range parts {
		x, y := &f.parts[i], &parts[i]
		if x.kind == '=' && (y.kind != '=' || !bytes.Equal(x.text, y.text)) || x.kind == 'd' && y.kind != 'd' {
			*x = leadPart{kind: 'w'}
		}
	}
}

// telling reports whether a lead can be told from the words of a message: a word and a blank could be anything.
func (f *lead) telling() bool {
	marks, words := 0, 0
	for i := range f.parts {
		switch p := &f.parts[i]; {
		case p.kind == 'w':
			words++
		case p.kind == 'd', p.kind == ' ', leadWord(p.text[0]), p.text[0] == '\t':
			marks++
		case p.text[0] != ' ':
			marks += 2
		}
	}
	return marks > words
}

// match gives the length of a lead at the start of b, 0 when b has another or none.
func (f *lead) match(b []byte) int {
	i := 0
	for k := range f.parts {
		p := &f.parts[k]
		switch p.kind {
		case ' ':
			for i < len(b) && b[i] == ' ' {
				i++
			}
		case 'd', 'w':
			start := i
			for i < len(b) && leadWord(b[i]) && (p.kind == 'w' || '0' <= b[i] && b[i] <= '9') {
				i++
			}
			if i == start {
				return 0
			}
		default:
			rest := b[min(i, len(b)):]
			if !bytes.HasPrefix(rest, p.text) {
				// Editors and tools cut the blanks at the end of a line.
				if k == len(f.parts)-1 && len(rest) == 0 && (p.text[0] == ' ' || p.text[0] == '\t') {
					return i
				}
				return 0
			}
			i += len(p.text)
		}
	}
	return i
}

// stripLead removes what stands in front of a line, and takes from it who wrote the line and when.
func (in *Input) stripLead(b []byte, m *meta) ([]byte, bool) {
	for k := range in.leads {
		n := in.leads[k].match(b)
		if n == 0 {
			continue
		}
		leadTells(b[:n], m)
		return b[n:], true
	}
	return b, false
}

// leadTells reads a pod, a file or a time from a lead.
func leadTells(b []byte, m *meta) {
	s := bytes.TrimLeft(b, " [(<")
	if t, zoned, _, ok := parseTime(s); ok {
		m.time, m.unzoned, m.yearless = t, !zoned, false
	} else if t, _, ok := parseYearless(s); ok && parseMonth(s) > 0 {
		m.time, m.unzoned, m.yearless = t, true, true
	}
	for len(s) > 0 {
		n := k8sName(s)
		if n > 5 && bytes.IndexByte(s[:n], '.') < 0 && looksLikePod(s[:n]) && s[0] > '9' {
			m.pod = s[:n]
			return
		}
		if i := bytes.IndexByte(s[:n], '.'); i > 0 && looksLikePod(s[:i]) && s[0] > '9' { // a file that is named like its pod
			m.pod = s[:i]
			return
		}
		s = s[max(n, 1):]
	}
}
