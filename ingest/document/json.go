package document

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonMarks are the keys of which at least one is near the start of every JSON document that is read here. A log that carries such a
// document inside a string has them with a backslash before the closing quote.
var jsonMarks = []string{
	`"apiVersion"`, `"@type"`, `"configs"`, `"ecds_filters"`, `"ecdsFilters"`, `"bootstrap"`, `"command_line_options"`, `"commandLineOptions"`,
	`"static_resources"`, `"staticResources"`, `"dynamic_resources"`, `"dynamicResources"`, `"layered_runtime"`, `"layeredRuntime"`,
	`"bootstrap_extensions"`, `"bootstrapExtensions"`, `"vm_config"`, `"vmConfig"`, `"typed_config"`, `"typedConfig"`,
	`"filter_chains"`, `"filterChains"`, `"admin"`,
	`"OOMKilled"`, `"CONTAINER_EXITED"`, `"CONTAINER_RUNNING"`, `"containerArn"`,
}

var (
	errCut    = errors.New("cut off")
	errSyntax = errors.New("not JSON")
	errFull   = errors.New("too many values")
)

// readJSON reads one JSON value, or several when all of them are Kubernetes objects (`kubectl get -w -o json`, concatenated files).
func (c *collector) readJSON() bool {
	src := string(c.data)
	pos := skipSpace(src, bom(c.data))
	for n := 0; pos < len(src); n++ {
		t, end, err := readValue(src, pos, maxNodes)
		object := t.isObjects(root)
		switch {
		case object && (n == 0 || c.doc.Kind == KindObject):
			c.doc.Kind = KindObject
			c.object(t, root, "")
		case t.isEngine(root) && (n == 0 || c.doc.Kind == KindObject):
			c.doc.Kind = KindObject
			c.engine(t, root)
		case n == 0 && t.isEnvoy(root):
			c.doc.Kind = KindConfig
		case n == 0 || err == nil || errors.Is(err, errSyntax):
			return false
		}
		// What is left is a further value that is no object only because the file, or the budget, ends in its middle.
		c.jsonDoubt(t, end, err)
		if err != nil {
			c.configuration(t)
			return true
		}
		pos = skipSpace(src, end)
		if c.doc.Kind == KindConfig {
			c.configuration(t)
			return pos == len(src)
		}
	}
	return true
}

// configuration walks t when the document is an Envoy configuration.
func (c *collector) configuration(t *tree) {
	if c.doc.Kind == KindConfig {
		c.envoy(t)
	}
}

func (c *collector) jsonDoubt(t *tree, end int, err error) {
	if t.deep {
		c.warn("what is nested deeper than %d levels was left out", maxDepth)
	}
	line := 1 + bytes.Count(c.data[:end], []byte{'\n'})
	switch {
	case errors.Is(err, errCut):
		c.warn("cut off at line %d: the document is not complete", line)
	case errors.Is(err, errFull):
		c.warn("only the first %d values were read, up to line %d", maxNodes, line)
	case err != nil:
		c.warn("line %d is no valid JSON: nothing was read from there on", line)
	}
}

// readValue reads the value at pos. On an error it returns what was read so far, which is a proper tree, and where it stopped.
// It does not recurse: the depth of a hostile document costs heap, not stack.
func readValue(src string, pos, budget int) (*tree, int, error) {
	r := &jsonReader{src: src, pos: pos, budget: budget, t: &tree{}}
	err := r.read()
	for _, open := range r.open {
		r.t.nodes[open.node].end = int32(r.pos)
	}
	if len(r.t.nodes) == 0 {
		r.t.push(none, none, node{at: int32(pos), start: int32(pos), end: int32(r.pos)})
	}
	return r.t, r.pos, err
}

type jsonReader struct {
	src    string
	pos    int
	budget int
	t      *tree
	open   []bracket
}

// bracket is an object or array that has not ended, and the last child it got.
type bracket struct {
	node, last ref
	close      byte
}

func (r *jsonReader) read() error {
	for {
		key, at, err := r.key()
		if err != nil {
			return err
		}
		opened, err := r.value(key, at)
		if err != nil {
			return err
		}
		if opened {
			empty, err := r.closeEmpty()
			if err != nil {
				return err
			}
			if !empty {
				continue
			}
		}
		done, err := r.follow()
		if done || err != nil {
			return err
		}
	}
}

// key reads `"name":` when an object is open. It returns where the member starts.
func (r *jsonReader) key() (string, int, error) {
	at, err := r.peek()
	if err != nil || len(r.open) == 0 || r.open[len(r.open)-1].close == ']' {
		return "", r.pos, err
	}
	start := r.pos
	if at != '"' {
		return "", start, errSyntax
	}
	key, err := r.str()
	if err != nil {
		return "", start, err
	}
	if err := r.expect(':'); err != nil {
		return "", start, err
	}
	return key, start, nil
}

// value reads a scalar, or only the opening bracket of a container.
func (r *jsonReader) value(key string, at int) (opened bool, err error) {
	first, err := r.peek()
	if err != nil {
		return false, err
	}
	if len(r.t.nodes) >= r.budget {
		return false, errFull
	}
	n := node{key: key, at: int32(backJSON(r.src, at)), start: int32(r.pos)}
	switch first {
	case '{', '[':
		if len(r.open) == maxDepth {
			r.t.deep = true
			if err := r.skip(); err != nil {
				return false, err
			}
			break
		}
		r.enter(n, first)
		return true, nil
	case '"':
		n.shape, n.style = shapeScalar, styleJSON
		if n.text, err = r.str(); err != nil {
			return false, err
		}
	default:
		if n.text, err = r.literal(); err != nil {
			return false, err
		}
		if n.shape = shapeScalar; n.text == "null" {
			n.shape, n.text = shapeNull, ""
		}
	}
	n.end = int32(r.pos)
	r.hang(n)
	return false, nil
}

func (r *jsonReader) enter(n node, b byte) {
	n.shape = shapeObject
	if b == '[' {
		n.shape = shapeArray
	}
	r.pos++
	n.end = int32(r.pos)
	r.open = append(r.open, bracket{node: r.hang(n), last: none, close: b + 2}) // in ASCII the closing bracket follows two later
}

// hang adds n below the innermost open container.
func (r *jsonReader) hang(n node) ref {
	if len(r.open) == 0 {
		return r.t.push(none, none, n)
	}
	top := &r.open[len(r.open)-1]
	top.last = r.t.push(top.node, top.last, n)
	return top.last
}

// closeEmpty ends the container just opened when it has no content.
func (r *jsonReader) closeEmpty() (bool, error) {
	b, err := r.peek()
	if err != nil || b != r.open[len(r.open)-1].close {
		return false, err
	}
	r.pop()
	return true, nil
}

// follow reads what comes after a value: commas and closing brackets. It is done when the outermost value has ended.
func (r *jsonReader) follow() (done bool, err error) {
	for len(r.open) > 0 {
		b, err := r.peek()
		if err != nil {
			return false, err
		}
		switch b {
		case ',':
			r.pos++
			return false, nil
		case r.open[len(r.open)-1].close:
			r.pop()
		default:
			return false, errSyntax
		}
	}
	return true, nil
}

func (r *jsonReader) pop() {
	r.pos++
	last := len(r.open) - 1
	r.t.nodes[r.open[last].node].end = int32(r.pos)
	r.open = r.open[:last]
}

// peek skips white space and shows the next byte.
func (r *jsonReader) peek() (byte, error) {
	if r.pos = skipSpace(r.src, r.pos); r.pos == len(r.src) {
		return 0, errCut
	}
	return r.src[r.pos], nil
}

func (r *jsonReader) expect(b byte) error {
	got, err := r.peek()
	if err == nil && got != b {
		err = errSyntax
	}
	if err == nil {
		r.pos++
	}
	return err
}

// str reads a string and undoes its escapes.
func (r *jsonReader) str() (string, error) {
	start, escaped := r.pos+1, false
	for i := start; i < len(r.src); i++ {
		switch b := r.src[i]; {
		case b == '"':
			r.pos = i + 1
			if !escaped {
				return r.src[start:i], nil
			}
			return unescape(r.src[start:i], nil), nil
		case b == '\\':
			escaped = true
			i++
		case b < ' ' && b != '\t':
			r.pos = i
			return "", errSyntax
		}
	}
	r.pos = len(r.src)
	return "", errCut
}

// literal reads a number, true, false or null.
func (r *jsonReader) literal() (string, error) {
	i := r.pos
	for i < len(r.src) && (isAlnum(r.src[i]) || strings.IndexByte("+-.", r.src[i]) >= 0) {
		i++
	}
	word := r.src[r.pos:i]
	if i == len(r.src) && len(r.open) > 0 {
		r.pos = i
		return "", errCut
	}
	if word != "true" && word != "false" && word != "null" {
		if word == "" || (word[0] != '-' && (word[0] < '0' || word[0] > '9')) {
			return "", errSyntax
		}
		if _, err := strconv.ParseFloat(word, 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			return "", errSyntax
		}
	}
	r.pos = i
	return word, nil
}

// skip passes over a container without reading it.
func (r *jsonReader) skip() error {
	for level := 0; ; {
		b, err := r.peek()
		if err != nil {
			return err
		}
		if b == '"' {
			if _, err := r.str(); err != nil {
				return err
			}
			continue
		}
		r.pos++
		switch b {
		case '{', '[':
			level++
		case '}', ']':
			if level--; level == 0 {
				return nil
			}
		}
	}
}

// unescape undoes the escapes of a JSON string. When each is not nil it is told, for each byte of the result, where in s it came from.
func unescape(s string, each func(from int)) string {
	var b strings.Builder
	note := func(from int, text string) {
		b.WriteString(text)
		if each != nil {
			for range len(text) {
				each(from)
			}
		}
	}
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			note(i, s[i:i+1])
			i++
			continue
		}
		text, size := escape(s[i:])
		note(i, text)
		i += size
	}
	return b.String()
}

var escapes = map[byte]string{'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t"}

// escape reads the escape that s starts with: what it means and how long it is.
func escape(s string) (string, int) {
	if s[1] != 'u' {
		if e, ok := escapes[s[1]]; ok {
			return e, 2
		}
		return s[1:2], 2
	}
	r, ok := hex4(s)
	if !ok {
		return string(utf8.RuneError), 2
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(s[6:]); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return string(both), 12
			}
		}
		return string(utf8.RuneError), 6
	}
	return string(r), 6
}

// hex4 reads `\uXXXX`.
func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(v), err == nil
}

// jsonPositions tells, for each byte of the text of the JSON string at start, and for its end, where in data it stands.
func jsonPositions(data []byte, start, end, length int) []int32 {
	if end-start < 2 || end > len(data) {
		return nil
	}
	m := make([]int32, 0, length+1)
	unescape(string(data[start+1:end-1]), func(from int) { m = append(m, int32(start+1+from)) })
	if len(m) != length {
		return nil
	}
	return append(m, int32(end-1))
}

func backJSON(s string, off int) int {
	for i := off; i > 0; i-- {
		switch s[i-1] {
		case ' ', '\t':
		case '\n':
			return i
		default:
			return off
		}
	}
	return 0
}

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

func isAlnum(b byte) bool {
	return 'a' <= b|0x20 && b|0x20 <= 'z' || '0' <= b && b <= '9'
}
