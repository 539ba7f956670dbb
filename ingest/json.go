package ingest

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// maxJSONDepth is how deep the members of an object are looked at. Envelopes nest three deep (`resource.labels.pod_name`).
const maxJSONDepth = 5

// jsonWalk reads one JSON object that fills b and hands out its members, those of nested objects too. It reports whether b is one
// object, as far as it looks: numbers and words inside are not checked. encoding/json takes ten times as long.
//
// path names a member: its keys from the outside in, in lower case and without `_`, `-`, `.`, `@`, `:` and blanks, because every shipper
// spells them differently: `kubernetes.pod_name`, `{"kubernetes":{"pod":{"name":…}}}` and `kubernetesPodName` are all
// "kubernetespodname". It is valid during the call only. value is the text as it stands, quotes included. For an object, what
// visit returns says what becomes of its members.
func jsonWalk(b []byte, visit func(path, value []byte) jsonStep) bool {
	w := jsonWalker{b: b, visit: visit}
	return len(b) >= 2 && b[0] == '{' && w.object(0, 1) && w.space() == len(b)
}

// jsonStep says what becomes of the members of an object that was visited.
type jsonStep uint8

const (
	jsonSkip  jsonStep = iota // they are not visited
	jsonEnter                 // they are visited, their paths begin with that of the object
	jsonFlat                  // they are visited as if they stood in the place of the object
)

type jsonWalker struct {
	b     []byte
	i     int
	path  [96]byte
	visit func(path, value []byte) jsonStep
}

// space skips white space and gives the position after it.
func (w *jsonWalker) space() int {
	for w.i < len(w.b) && (w.b[w.i] == ' ' || w.b[w.i] == '\t' || w.b[w.i] == '\n' || w.b[w.i] == '\r') {
		w.i++
	}
	return w.i
}

// next skips white space and takes one of the bytes wanted, 0 when there is another.
func (w *jsonWalker) next(wanted string) byte {
	if i := w.space(); i < len(w.b) {
		for j := range len(wanted) {
			if w.b[i] == wanted[j] {
				w.i++
				return wanted[j]
			}
		}
	}
	return 0
}

// object reads an object whose path is w.path[:n].
func (w *jsonWalker) object(n, depth int) bool {
	if w.next("{") == 0 {
		return false
	}
	if w.next("}") != 0 {
		return true
	}
	for {
		key, ok := w.text()
		if !ok || w.next(":") == 0 {
			return false
		}
		if !w.value(n, w.spell(n, key), depth) {
			return false
		}
		switch w.next(",}") {
		case '}':
			return true
		case 0:
			return false
		}
	}
}

// spell appends a key to the path and gives the new length, or more than there is room for: such a member is skipped.
func (w *jsonWalker) spell(n int, key []byte) int {
	for _, c := range key {
		switch {
		case c == '_' || c == '-' || c == '.' || c == '@' || c == ':' || c == ' ':
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if n >= len(w.path) {
			return n + 1
		}
		w.path[n] = c
		n++
	}
	return n
}

// text reads a string and gives what stands between its quotes.
func (w *jsonWalker) text() ([]byte, bool) {
	if w.next(`"`) == 0 {
		return nil, false
	}
	end := stringEnd(w.b[w.i:])
	if end < 0 {
		return nil, false
	}
	s := w.b[w.i : w.i+end]
	w.i += end + 1
	return s, true
}

// value reads the value of the member with path w.path[:n] and hands it out. outer is the length of the path of its object.
func (w *jsonWalker) value(outer, n, depth int) bool {
	start := w.space()
	if start >= len(w.b) {
		return false
	}
	known := n <= len(w.path)
	switch c := w.b[start]; c {
	case '"':
		if _, ok := w.text(); !ok {
			return false
		}
	case '{', '[':
		if !w.skip() {
			return false
		}
		if !known || c == '[' || depth >= maxJSONDepth {
			return true
		}
		step, end := w.visit(w.path[:n], w.b[start:w.i]), w.i
		if step == jsonSkip {
			return true
		}
		if step == jsonFlat {
			n = outer
		}
		w.i = start
		return w.object(n, depth+1) && w.i == end
	default:
		for w.i < len(w.b) && !jsonEnds(w.b[w.i]) {
			w.i++
		}
		if w.i == start {
			return false
		}
	}
	if known {
		w.visit(w.path[:n], w.b[start:w.i])
	}
	return true
}

func jsonEnds(c byte) bool {
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '"' || c == ':'
}

// skip passes over an object or array by its brackets, without recursion: nesting may be as deep as a line is long.
func (w *jsonWalker) skip() bool {
	for depth := 0; w.i < len(w.b); w.i++ {
		switch w.b[w.i] {
		case '"':
			end := stringEnd(w.b[w.i+1:])
			if end < 0 {
				return false
			}
			w.i += end + 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				w.i++
				return true
			}
		}
	}
	return false
}

// jsonText gives the text of a value: a string unescaped, a number as it stands. null and everything else is nil.
func jsonText(v []byte) []byte {
	switch {
	case len(v) >= 2 && v[0] == '"':
		return unescapeJSON(v[1 : len(v)-1])
	case len(v) > 0 && (v[0] == '-' || '0' <= v[0] && v[0] <= '9'):
		return v
	}
	return nil
}

// stringEnd finds the quote that ends a JSON string whose first quote was consumed, -1 when there is none.
func stringEnd(s []byte) int {
	for i := 0; ; {
		q := bytes.IndexByte(s[i:], '"')
		if q < 0 {
			return -1
		}
		e := bytes.IndexByte(s[i:i+q], '\\')
		if e < 0 {
			return i + q
		}
		if i += e + 2; i > len(s) {
			return -1
		}
	}
}

// unescapeJSON undoes the escapes of a JSON string body. What is no valid escape is kept as it stands. Without escapes the
// result is s itself.
func unescapeJSON(s []byte) []byte {
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i >= 0 {
		out = append(out, s[:i]...)
		s = s[i:]
		if len(s) == 1 {
			break
		}
		n := 2
		switch c := s[1]; c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case '"', '\\', '/', '\'':
			out = append(out, c)
		case 'u':
			var r rune
			if r, n = unescapeRune(s); n > 0 {
				out = utf8.AppendRune(out, r)
				break
			}
			n = 2
			fallthrough
		default:
			out = append(out, '\\', c)
		}
		s = s[n:]
		i = bytes.IndexByte(s, '\\')
	}
	return append(out, s...)
}

// unescapeRune reads `\u00e9` or a pair of surrogates at the start of s; n is 0 when it is not well formed.
func unescapeRune(s []byte) (r rune, n int) {
	if r = hex4(s); r < 0 {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if low := hex4(s[6:]); low >= 0 {
		if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
			return both, 12
		}
	}
	return utf8.RuneError, 6
}

// hex4 reads the four digits of `\u00e9`, -1 when it is none.
func hex4(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	r := rune(0)
	for _, c := range s[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}
