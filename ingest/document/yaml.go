package document

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxMerged is how many values merge keys may copy. More than a handful is no configuration but an attack.
const maxMerged = 10_000

// yamlMarks are the top-level keys that make a YAML document worth parsing.
var yamlMarks = map[string]bool{
	"apiVersion": true, "kind": true,
	"static_resources": true, "dynamic_resources": true, "layered_runtime": true, "bootstrap_extensions": true, "admin": true,
	"staticResources": true, "dynamicResources": true, "layeredRuntime": true, "bootstrapExtensions": true,
	"configs": true, "resources": true, "bootstrap": true, "ecds_filters": true, "ecdsFilters": true,
	"typed_config": true, "typedConfig": true, "vm_config": true, "vmConfig": true, "@type": true,
	"filter_chains": true, "filterChains": true, "command_line_options": true, "commandLineOptions": true,
}

// configMarks are the words of which a piece of a configuration dump has one when there is anything to find in it.
var configMarks = []string{"wasm", "Wasm", "bootstrap", "error_state", "errorState"}

// yamlKey matches a line that starts a member: indentation or list dashes, a key, a colon, a value.
var yamlKey = regexp.MustCompile(`^([ -]*)(?:"([^"]*)"|'([^']*)'|([A-Za-z_@][A-Za-z0-9_.@/-]*)):(?:[ \t]+(.*))?$`)

// yamlMember splits a line into the indentation, the key and the value of the member that starts on it.
func yamlMember(line []byte) (indent int, key, value string, ok bool) {
	if len(line) > 4096 {
		line = line[:4096]
	}
	m := yamlKey.FindSubmatch(bytes.TrimRight(line, "\r\n"))
	if m == nil {
		return 0, "", "", false
	}
	value, _, _ = strings.Cut(string(m[5]), " #")
	return len(m[1]), string(m[2]) + string(m[3]) + string(m[4]), strings.Trim(strings.TrimSpace(value), `"'`), true
}

// looksYAML wants the first line that says anything to be a member or a list item, and a known key somewhere at the outermost level.
func looksYAML(head []byte) bool {
	first := true
	for len(head) > 0 {
		line := head[:lineLength(head)]
		head = head[len(line):]
		if !significant(line) {
			continue
		}
		indent, key, _, ok := yamlMember(line)
		if first && !ok {
			return false
		}
		first = false
		if ok && yamlMarks[key] && (indent == 0 || line[0] == '-' || line[0] == ' ' && indent <= 4) {
			return true
		}
	}
	return false
}

// significant says whether a line is more than a comment, a directive or a document marker.
func significant(line []byte) bool {
	text := bytes.TrimSpace(line)
	return len(text) > 0 && text[0] != '#' && text[0] != '%' && !marker(line)
}

// marker recognises the lines between YAML documents. They stand at the very left, where no scalar can: cutting there is safe.
func marker(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("---")) && !bytes.HasPrefix(line, []byte("...")) {
		return false
	}
	rest := bytes.TrimLeft(line[3:], " \t\r\n")
	return len(rest) == 0 || (len(line) > 3 && rest[0] == '#')
}

// piece is a part of a YAML file that is parsed by itself: a document, or an item of a long list. `kubectl get all -A -o yaml` is one
// document of many megabytes; taken whole it would need twenty times its size.
type piece struct {
	start, end int
	indent     int    // of its keys; an item's dash counts as indentation
	version    string // its apiVersion and kind, as its text shows them
	kind       string
	marked     bool // has a top-level key of yamlMarks
	list       int  // where the member with the items starts, or -1
}

// readYAML reads all documents of a file. The first has to be recognised, or the file is no document.
func (c *collector) readYAML() bool {
	recognised := false
	for start := bom(c.data); start < len(c.data); {
		end, next := c.yamlDocument(start)
		p := c.survey(start, end, 0)
		start = next
		if p.start == p.end {
			continue
		}
		ok := c.piece(p, !recognised)
		if !recognised && !ok {
			return false
		}
		recognised = true
	}
	return recognised
}

// yamlDocument finds where the document at start ends and where the next one starts.
func (c *collector) yamlDocument(start int) (end, next int) {
	for pos := start; pos < len(c.data); {
		n := lineLength(c.data[pos:])
		if marker(c.data[pos : pos+n]) {
			return pos, pos + n
		}
		pos += n
	}
	return len(c.data), len(c.data)
}

// survey reads the top-level keys of a piece from its text. dash is how many bytes of its first line are list dashes.
func (c *collector) survey(start, end, dash int) piece {
	p := piece{start: start, end: end, indent: -1, list: -1}
	for pos := start; pos < end; {
		line := c.data[pos : pos+min(lineLength(c.data[pos:]), end-pos)]
		if p.indent < 0 && significant(line) {
			p.start, p.indent = pos, indentation(line[min(dash, len(line)):])+dash
		}
		// Below the first line a dash at this column belongs to the value of the key before: kubectl does not indent lists.
		if p.indent >= 0 && p.indent < len(line) && (pos == p.start || indentation(line) == p.indent && line[p.indent] != '-') {
			p.note(line[p.indent:], pos)
		}
		pos += len(line)
	}
	if p.indent < 0 {
		p.start = end
	}
	return p
}

// note keeps what a top-level line tells.
func (p *piece) note(line []byte, pos int) {
	_, key, value, ok := yamlMember(line)
	if !ok {
		return
	}
	p.marked = p.marked || yamlMarks[key]
	switch {
	case key == "apiVersion":
		p.version = value
	case key == "kind":
		p.kind = value
	case value == "" && (key == "items" || key == "configs" || key == "resources"):
		p.list = pos
	}
}

func indentation(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

// piece reads one piece. The first of a file decides what the file is, so it is parsed even when nothing in it can be of interest.
func (c *collector) piece(p piece, first bool) bool {
	object := validVersion(p.version) && validKind(p.kind)
	if !object && !p.marked && c.data[min(p.start+p.indent, p.end-1)] != '-' {
		return false
	}
	if p.list >= 0 && (strings.HasSuffix(p.kind, "List") || !object) {
		if items := c.items(p); len(items) > 0 {
			return c.pieces(p, items, first)
		}
	}
	if object && !first && !interesting(p.kind) {
		return true
	}
	return c.parsePiece(p, "", first)
}

// pieces reads the items of a list one by one.
func (c *collector) pieces(list piece, items []piece, first bool) bool {
	hint := strings.TrimSuffix(list.kind, "List")
	if first && list.kind != "" {
		c.doc.Kind = KindObject
	}
	for i, item := range items {
		if i > 0 && c.doc.Kind == KindConfig && !containsAny(c.data[item.start:item.end], configMarks) {
			continue
		}
		kind := item.kind
		if kind == "" {
			kind = hint
		}
		if c.doc.Kind == KindObject && i > 0 && !interesting(kind) {
			continue
		}
		if ok := c.parsePiece(item, hint, first && i == 0); !ok && first && i == 0 {
			return false
		}
	}
	return true
}

// items cuts the block list below p.list at its dashes. It returns nil when the list is written in another way.
func (c *collector) items(p piece) []piece {
	var items []piece
	pos := p.list + lineLength(c.data[p.list:])
	start, dash := -1, -1
	cut := func(end int) {
		if start >= 0 {
			items = append(items, c.survey(start, end, dash+2))
		}
	}
	for pos < p.end {
		line := c.data[pos : pos+min(lineLength(c.data[pos:]), p.end-pos)]
		at := indentation(line)
		item := bytes.HasPrefix(line[at:], []byte("- ")) && len(bytes.TrimSpace(line)) > 1
		switch {
		case !significant(line):
		case dash < 0 && item && at >= p.indent:
			dash = at
			start = pos
		case dash < 0:
			return nil
		case at == dash && item:
			cut(pos)
			start = pos
		case at <= dash:
			cut(pos)
			return items
		}
		pos += len(line)
	}
	cut(p.end)
	return items
}

// parsePiece parses a piece and takes its parts. With first, the piece has to be a document, and decides of which kind.
func (c *collector) parsePiece(p piece, hint string, first bool) bool {
	t, err := c.parseYAML(p)
	if err != nil {
		if first && errors.Is(err, errFull) {
			c.doc.Kind = c.kindByText(p)
		}
		return c.doc.Kind != ""
	}
	switch {
	case t.isObjects(root) || hint != "" && t.get(root, "metadata") != none:
		if first {
			c.doc.Kind = KindObject
		}
		if c.doc.Kind == KindObject {
			c.object(t, root, hint)
		}
		return true
	case t.isEnvoy(root) && (first || c.doc.Kind == KindConfig):
		c.doc.Kind = KindConfig
		c.envoy(t)
		return true
	}
	return false
}

// kindByText says what a piece is that is too large to be parsed.
func (c *collector) kindByText(p piece) string {
	switch head := c.data[p.start:min(p.end, p.start+maxHead)]; {
	case validVersion(p.version) && validKind(p.kind):
		return KindObject
	case bytes.Contains(head, []byte("type.googleapis.com/envoy.")) && !bytes.Contains(head, []byte("envoy.data.")):
		return KindConfig
	}
	return ""
}

// parseYAML parses a piece; when it is broken, what stands before the line that is complained about.
func (c *collector) parseYAML(p piece) (*tree, error) {
	text := bytes.Clone(c.data[p.start:p.end])
	for i := 0; i < p.indent && i < len(text); i++ {
		text[i] = ' ' // the dash of the item; everything keeps its column
	}
	t, err := yamlTree(text)
	if err != nil {
		line := 1 + bytes.Count(c.data[:p.start], []byte{'\n'})
		if errors.Is(err, errFull) {
			c.warn("line %d: this document has more than %d values and was not read", line, maxNodes)
			return nil, err
		}
		c.warn("line %d: %s: the rest of this document was not read", line+yamlErrorLine(err)-1, yamlErrorText(err))
		for try := 0; try < 3 && err != nil; try++ {
			text = text[:lineStart(text, yamlErrorLine(err)-1-try)]
			t, err = yamlTree(text)
		}
	}
	if err == nil && len(t.nodes) == 0 {
		err = errSyntax
	}
	if err != nil {
		return nil, err
	}
	if t.deep {
		c.warn("what is nested deeper than %d levels was left out", maxDepth)
	}
	if t.aliases {
		c.warn("YAML aliases were not followed")
	}
	offset := int32(p.start)
	t.move(func(off int32) int32 { return off + offset })
	return t, nil
}

var errorLine = regexp.MustCompile(`line (\d+): `)

func yamlErrorLine(err error) int {
	if m := errorLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

func yamlErrorText(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	return clean(errorLine.ReplaceAllString(text, ""))
}

// lineStart is the offset of the n-th line, counted from 1.
func lineStart(text []byte, n int) int {
	pos := 0
	for ; n > 1 && pos < len(text); n-- {
		pos += lineLength(text[pos:])
	}
	return pos
}

// yamlTree parses one YAML document. Aliases are not followed, so that a small file cannot become a large tree.
func yamlTree(text []byte) (t *tree, err error) {
	if estimate(text) > maxNodes {
		return nil, errFull
	}
	defer func() {
		if r := recover(); r != nil { // the parser has panicked on hostile input before (CVE-2022-28948)
			t, err = nil, fmt.Errorf("line 1: %v", r)
		}
	}()
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	c := &yamlConverter{text: text, breaks: yamlBreaks(text), long: map[int][]int32{}, t: &tree{}}
	if document.Kind == yaml.DocumentNode && len(document.Content) == 1 {
		n := document.Content[0]
		c.value(n, slot{parent: none, prev: none, at: c.position(n), end: int32(len(text))}, 0)
	}
	return c.t, nil
}

// estimate is a quick upper bound for the number of values. It counts what separates them; text that looks like it counts too.
func estimate(text []byte) int {
	n := 2
	for _, two := range []string{": ", ":\n", ":\r", ":\t", ", ", ",\n", ",\r"} {
		n += 2 * bytes.Count(text, []byte(two))
	}
	for _, one := range []string{"- ", "-\n", "-\r", "-\t", "[", "{", "? "} {
		n += bytes.Count(text, []byte(one))
	}
	// A comma without a space separates only between brackets, where one long line may hold everything.
	if commas := bytes.Count(text, []byte{','}); commas > 200_000 {
		n += 2 * commas
	}
	return n
}

// yamlBreaks lists where the lines start as the parser counts them: it also ends a line at a lone CR, NEL, LS and PS.
func yamlBreaks(text []byte) []int32 {
	starts := []int32{0}
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\r':
			if i+1 < len(text) && text[i+1] == '\n' {
				continue
			}
		case '\n':
		case 0xc2:
			if !bytes.HasPrefix(text[i:], []byte("\u0085")) {
				continue
			}
			i++
		case 0xe2:
			if !bytes.HasPrefix(text[i:], []byte("\u2028")) && !bytes.HasPrefix(text[i:], []byte("\u2029")) {
				continue
			}
			i += 2
		default:
			continue
		}
		starts = append(starts, int32(i+1))
	}
	return starts
}

type yamlConverter struct {
	text   []byte
	breaks []int32
	long   map[int][]int32 // for each long line that was asked for: the offset of each character, nil when all are ASCII
	t      *tree
	merged int // values and merges that merge keys have cost
}

// slot is the place in the tree where a value goes, and the bytes it covers.
type slot struct {
	parent, prev ref
	key          string
	at, end      int32
	pinned       bool // comes from a merge key: everything in it stands where the key stands
}

// position is the offset of a node. The parser counts columns in characters.
func (c *yamlConverter) position(n *yaml.Node) int32 {
	if n.Line < 1 || n.Line > len(c.breaks) || n.Column < 1 {
		return int32(len(c.text))
	}
	start, end := c.breaks[n.Line-1], int32(len(c.text))
	if n.Line < len(c.breaks) {
		end = c.breaks[n.Line]
	}
	columns := c.columns(n.Line, start, end)
	switch {
	case columns == nil:
		return min(start+int32(n.Column)-1, end)
	case n.Column <= len(columns):
		return columns[n.Column-1]
	}
	return end
}

// columns is the offset of each character of a line, nil when all are ASCII. A whole document may stand on one line, and every value
// in it asks: for long lines the answer is kept.
func (c *yamlConverter) columns(line int, start, end int32) []int32 {
	if end-start < 200 {
		return characters(c.text[start:end], start)
	}
	columns, known := c.long[line]
	if !known {
		columns = characters(c.text[start:end], start)
		c.long[line] = columns
	}
	return columns
}

func characters(line []byte, start int32) []int32 {
	if !slices.ContainsFunc(line, func(b byte) bool { return b >= utf8.RuneSelf }) {
		return nil
	}
	columns := make([]int32, 0, len(line))
	for i := 0; i < len(line); {
		columns = append(columns, start+int32(i))
		_, size := utf8.DecodeRune(line[i:])
		i += size
	}
	return columns
}

// value converts n into slot s and returns its node.
func (c *yamlConverter) value(n *yaml.Node, s slot, depth int) ref {
	start := s.at
	if !s.pinned {
		start = min(max(c.position(n), s.at), s.end)
	}
	at := s.at
	if !s.pinned {
		at = int32(back(c.text, int(s.at)))
	}
	made := node{key: s.key, at: at, start: start, end: s.end}
	if s.pinned {
		if c.merged++; c.merged > maxMerged {
			c.t.aliases = true
			return s.prev
		}
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil || n.Alias.Kind != yaml.ScalarNode {
			c.t.aliases = true
			return c.t.push(s.parent, s.prev, made)
		}
		n = n.Alias
	}
	if depth > maxDepth {
		c.t.deep = true
		return c.t.push(s.parent, s.prev, made)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if !isNull(n) {
			made.shape, made.text = shapeScalar, n.Value
		}
		if n.Style&yaml.LiteralStyle != 0 {
			made.style = styleLiteral
		}
		return c.t.push(s.parent, s.prev, made)
	case yaml.SequenceNode:
		made.shape = shapeArray
		r := c.t.push(s.parent, s.prev, made)
		c.items(n, r, s, depth)
		return r
	case yaml.MappingNode:
		made.shape = shapeObject
		r := c.t.push(s.parent, s.prev, made)
		c.members(n, r, s, depth)
		return r
	}
	return c.t.push(s.parent, s.prev, made)
}

func isNull(n *yaml.Node) bool {
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	}
	return false
}

func (c *yamlConverter) items(n *yaml.Node, parent ref, s slot, depth int) {
	prev := none
	for i, item := range n.Content {
		in := slot{parent: parent, prev: prev, at: s.at, end: s.end, pinned: s.pinned}
		if !s.pinned {
			in.at = c.position(item)
			if i+1 < len(n.Content) {
				in.end = int32(back(c.text, int(c.position(n.Content[i+1]))))
			}
			in.end = max(in.end, in.at)
		}
		prev = c.value(item, in, depth+1)
	}
}

// members converts the members of a mapping. Those of merge keys go last, where a lookup finds them only when the mapping itself has
// no such key.
func (c *yamlConverter) members(n *yaml.Node, parent ref, s slot, depth int) {
	prev := none
	var merges []slot
	var sources []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		in := slot{parent: parent, at: s.at, end: s.end, pinned: s.pinned, key: key.Value}
		if !s.pinned {
			in.at = c.position(key)
			if i+2 < len(n.Content) {
				in.end = int32(back(c.text, int(c.position(n.Content[i+2]))))
			}
			in.end = max(in.end, in.at)
		}
		if key.Kind != yaml.ScalarNode {
			continue
		}
		if key.Value == "<<" && key.Style == 0 {
			merges, sources = append(merges, in), append(sources, value)
			continue
		}
		in.prev = prev
		prev = c.value(value, in, depth+1)
	}
	for i, source := range sources {
		prev = c.merge(source, merges[i], prev, depth)
	}
}

// merge copies the members of the mapping, or of the mappings in the list, that a merge key names.
func (c *yamlConverter) merge(source *yaml.Node, s slot, prev ref, depth int) ref {
	if c.merged++; c.merged > maxMerged || depth > maxDepth {
		c.t.aliases = true
		return prev
	}
	if source.Kind == yaml.AliasNode {
		source = source.Alias
	}
	if source.Kind == yaml.SequenceNode {
		for _, item := range source.Content {
			prev = c.merge(item, s, prev, depth+1)
		}
	}
	if source.Kind != yaml.MappingNode {
		return prev
	}
	s.at, s.pinned = int32(back(c.text, int(s.at))), true
	for i := 0; i+1 < len(source.Content); i += 2 {
		key, value := source.Content[i], source.Content[i+1]
		if key.Value == "<<" && key.Style == 0 {
			prev = c.merge(value, s, prev, depth+1)
			continue
		}
		in := s
		in.prev, in.key = prev, key.Value
		prev = c.value(value, in, depth+1)
	}
	return prev
}
