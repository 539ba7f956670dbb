package ingest

import "bytes"

// csvColumns says what the columns of a table are. The zero value is a time, then anything, then the text.
type csvColumns struct {
	text, pod, namespace, container, node int // numbers of columns from 1, 0 when there is none; text 0 is the last
}

// parseColumns reads the first line of a table.
func parseColumns(l []byte) (c csvColumns) {
	n := 0
	for rest, more := l, true; more; {
		var name []byte
		name, rest, more = csvField(rest)
		n++
		var w jsonWalker
		k := w.spell(0, name)
		switch string(bytes.TrimPrefix(w.path[:min(k, len(w.path))], []byte("kubernetes"))) {
		case "message", "log", "raw", "line", "content", "textpayload":
			c.text = n
		case "podname", "pod":
			c.pod = n
		case "namespacename", "namespace":
			c.namespace = n
		case "containername", "container":
			c.container = n
		case "nodename", "node", "host", "hostname":
			c.node = n
		}
	}
	if c.text == n {
		c.text = 0
	}
	return c
}

// csvField splits off a field; quotes are removed, doubled ones inside stay.
func csvField(b []byte) (field, rest []byte, more bool) {
	if len(b) == 0 || b[0] != '"' {
		return bytes.Cut(b, []byte{','})
	}
	b = b[1:]
	end := cellEnd(b)
	if end+1 < len(b) && b[end+1] == ',' {
		return b[:end], b[end+2:], true
	}
	return b[:end], nil, false
}

// cellEnd finds the quote that ends a cell, or the end of the line when the cell goes on in the next.
func cellEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] == '"' {
			if i+1 == len(b) || b[i+1] != '"' {
				return i
			}
			i++
		}
	}
	return len(b)
}

// strip reads one line of a table whose first column is a time. A line without one is a part of the cell of another: a cell may hold
// the lines of a record.
func (c csvColumns) strip(b []byte, m *meta) ([]byte, bool) {
	first, rest, more := csvField(b)
	t, zoned, _, ok := parseTime(first)
	if !ok {
		t, _, ok = parseViewerTime(first)
	}
	if !ok || !more {
		m.inCell = true
		return undouble(b[:cellEnd(b)]), false
	}
	var l meta
	var field []byte
	for n := 2; ; n++ {
		field, rest, more = csvField(rest)
		switch n {
		case c.pod:
			l.pod = field
		case c.namespace:
			l.namespace = field
		case c.container:
			l.container = field
		case c.node:
			l.node = field
		}
		if n == c.text || !more {
			break
		}
	}
	m.pod, m.namespace, m.container, m.node = l.pod, l.namespace, l.container, l.node
	m.time, m.unzoned, m.yearless = t, !zoned, false
	return undouble(field), true
}

// undouble makes one of two quotes.
func undouble(b []byte) []byte {
	if !bytes.Contains(b, []byte(`""`)) {
		return b
	}
	return bytes.ReplaceAll(b, []byte(`""`), []byte(`"`))
}
