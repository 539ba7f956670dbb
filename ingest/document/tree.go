package document

import (
	"bytes"
	"iter"
	"strings"
)

// tree is a JSON or YAML value with the position of everything in it. Values live in one slice and are linked by index: a document
// of 32 MiB has a million of them, and a pointer each would cost more than the document.
type tree struct {
	nodes   []node
	deep    bool // something below maxDepth was left out
	aliases bool // a YAML alias was not followed
}

// ref is the index of a node; none stands for "not there", and every method accepts it.
type ref int32

const (
	none ref = -1
	root ref = 0
)

type shape uint8

const (
	shapeNull shape = iota
	shapeScalar
	shapeObject
	shapeArray
)

// style tells how a text was written, which decides how a position inside it maps to one in the file.
type style uint8

const (
	styleOther   style = iota
	styleJSON          // a JSON string: escapes shift the positions
	styleLiteral       // a YAML literal block: same lines, indented
)

type node struct {
	shape       shape
	style       style
	key         string // of an object's member
	text        string // of a scalar
	at          int32  // where it starts: the key of a member, else the value; moved to the start of the line when only indentation precedes
	start, end  int32  // where the value starts, and the first byte that no longer belongs to it
	first, next ref    // first child, next sibling
}

// push adds a node behind the child prev of parent.
func (t *tree) push(parent, prev ref, n node) ref {
	n.first, n.next = none, none
	t.nodes = append(t.nodes, n)
	r := ref(len(t.nodes) - 1)
	switch {
	case prev != none:
		t.nodes[prev].next = r
	case parent != none:
		t.nodes[parent].first = r
	}
	return r
}

// each yields the children of n.
func (t *tree) each(n ref) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		if n == none {
			return
		}
		for k := t.nodes[n].first; k != none; k = t.nodes[k].next {
			if !yield(k) {
				return
			}
		}
	}
}

// get follows the path of keys from n. A key with an underscore also finds the camel case that protobuf JSON has.
func (t *tree) get(n ref, path ...string) ref {
	for _, key := range path {
		n = t.member(n, key)
	}
	return n
}

func (t *tree) member(n ref, key string) ref {
	if !t.is(n, shapeObject) {
		return none
	}
	for k := range t.each(n) {
		if keyIs(t.nodes[k].key, key) {
			return k
		}
	}
	return none
}

// object is get for a member that has to be an object.
func (t *tree) object(n ref, path ...string) ref {
	if m := t.get(n, path...); t.is(m, shapeObject) {
		return m
	}
	return none
}

// text is the scalar at the path; empty when there is none.
func (t *tree) text(n ref, path ...string) string {
	if m := t.get(n, path...); m != none {
		return t.nodes[m].text
	}
	return ""
}

func (t *tree) is(n ref, s shape) bool { return n != none && t.nodes[n].shape == s }

// filled says whether n holds anything: a non-empty text, an object or array with members.
func (t *tree) filled(n ref) bool {
	return n != none && (t.nodes[n].first != none || t.nodes[n].text != "")
}

// best is the position of the first of the candidates that exists, else that of n.
func (t *tree) best(n ref, candidates ...ref) int {
	for _, r := range candidates {
		if r != none {
			return int(t.nodes[r].at)
		}
	}
	return int(t.nodes[n].at)
}

// move carries every position over to another text.
func (t *tree) move(f func(int32) int32) {
	for i := range t.nodes {
		n := &t.nodes[i]
		n.at, n.start, n.end = f(n.at), f(n.start), f(n.end)
	}
}

// keyIs compares the key of a document with a name; a name with an underscore ignores case and underscores.
func keyIs(key, name string) bool {
	if key == name {
		return true
	}
	if len(key) >= len(name) || strings.IndexByte(name, '_') < 0 {
		return false
	}
	i := 0
	for j := 0; j < len(name); j++ {
		if name[j] == '_' {
			continue
		}
		if i == len(key) || key[i]|0x20 != name[j]|0x20 {
			return false
		}
		i++
	}
	return i == len(key)
}

// back moves off to the start of its line when only indentation and the dashes of YAML lists precede it.
func back(data []byte, off int) int {
	for i := off; i > 0; i-- {
		switch data[i-1] {
		case ' ', '\t', '-':
		case '\n':
			return i
		default:
			return off
		}
	}
	return 0
}

// embedded maps positions in the text of n, which is a document of its own, to positions in data.
func (t *tree) embedded(data []byte, n ref) func(int32) int32 {
	v := &t.nodes[n]
	switch v.style {
	case styleJSON:
		if m := jsonPositions(data, int(v.start), int(v.end), len(v.text)); m != nil {
			return func(off int32) int32 { return m[off] }
		}
	case styleLiteral:
		if m := literalPositions(data, int(v.start), int(v.end), v.text); m != nil {
			return m
		}
	}
	// Folded and quoted YAML breaks lines where the text has none: all that can be said is where the value is.
	at, end, last := v.at, v.end, int32(len(v.text))
	return func(off int32) int32 {
		if off >= last {
			return end
		}
		return at
	}
}

// literalPositions finds the lines of a YAML literal block below its indicator. Its lines are those of text with indentation in front.
func literalPositions(data []byte, start, end int, text string) func(int32) int32 {
	type pair struct{ inner, outer, size int32 }
	var pairs []pair
	rest, inner, outer := text, 0, start+lineLength(data[start:end])
	for rest != "" {
		if outer >= end {
			return nil
		}
		line, more, _ := strings.Cut(rest, "\n")
		length := lineLength(data[outer:end])
		raw := bytes.TrimRight(data[outer:outer+length], "\r\n")
		if !bytes.HasSuffix(raw, []byte(line)) {
			return nil
		}
		pairs = append(pairs, pair{int32(inner), int32(outer + len(raw) - len(line)), int32(len(line))})
		inner, outer, rest = inner+len(line)+1, outer+length, more
	}
	return func(off int32) int32 {
		lo, hi := 0, len(pairs)
		for lo < hi {
			if mid := (lo + hi) / 2; pairs[mid].inner <= off {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == 0 {
			return int32(start)
		}
		p := pairs[lo-1]
		if lo == len(pairs) && off > p.inner+p.size {
			return int32(end)
		}
		return p.outer + min(off-p.inner, p.size)
	}
}

// lineLength is the length of the first line of b, newline included.
func lineLength(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}
