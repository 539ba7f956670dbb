package ingest

import "bytes"

// csvColumns says what the columns of a table are. The zero value is a time, then anything, then the text.
type csvColumns struct {
	text, pod, namespace, container, node, time int    // numbers of columns from 1, 0 when there is none; text 0 is the last
	n                                           int    // of columns, 0 when the first line did not name the one with the text
	names                                       []byte // the first line
}

// parseColumns reads the first line of a table.
func parseColumns(l []byte) (c csvColumns) {
	n, named := 0, false
	for rest, more := l, true; more; {
		var name []byte
		name, rest, more = csvField(rest)
		n++
		name, _, _ = bytes.Cut(name, []byte(" [")) // `TimeGenerated [UTC]`
		var w jsonWalker
		k := w.spell(0, name)
		switch string(bytes.TrimPrefix(w.path[:min(k, len(w.path))], []byte("kubernetes"))) {
		case "message", "log", "raw", "line", "content", "textpayload", "logmessage", "logentry", "body", "msg", "text", "jsonpayloadmessage":
			if !named {
				c.text, named = n, true
			}
		case "podname", "pod", "k8spodname":
			c.pod = n
		case "namespacename", "namespace", "podnamespace":
			c.namespace = n
		case "containername", "container":
			c.container = n
		case "nodename", "node", "host", "hostname", "computer":
			c.node = n
		case "time", "timestamp", "date", "timegenerated", "datetime", "ts", "tsns":
			if c.time == 0 {
				c.time = n
			}
		}
	}
	if named && n > 1 && len(l) < 1000 && !bytes.ContainsAny(l, "{}=:") { // names, not values
		c.n, c.names = n, append([]byte(nil), l...)
	}
	if c.text == n {
		c.text = 0
	}
	return c
}

// row takes a line of a table with named columns apart. ok is false when the line is inside a cell: it does not have all columns, and no
// text that begins here goes on in the next line.
func (c csvColumns) row(b []byte) (f [16][]byte, ok bool) {
	text := c.text
	if text == 0 {
		text = c.n
	}
	for n := 1; n <= c.n && n <= len(f); n++ {
		open := len(b) > 0 && b[0] == '"' && cellEnd(b[1:]) == len(b)-1
		var more bool
		f[n-1], b, more = csvField(b)
		switch {
		case open && n == text:
			return f, n > 1 || hasHeader(undouble(f[0]))
		case open, more != (n < c.n):
			return f, false
		}
	}
	return f, c.n <= len(f)
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
	if c.n > 0 {
		if bytes.Equal(b, c.names) {
			m.frame = true
			return b, false
		}
		if f, ok := c.row(b); ok {
			return c.cells(&f, m), true
		}
	}
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

// fits reports whether most lines of a sample are rows of a table with these columns.
func (c csvColumns) fits(sample [][]byte) bool {
	rows := 0
	for _, l := range sample {
		if _, ok := c.row(l); c.n > 1 && ok {
			rows++
		}
	}
	return rows*10 >= len(sample)*6
}

// cells takes what the columns of a row tell, and gives the text.
func (c csvColumns) cells(f *[16][]byte, m *meta) []byte {
	cell := func(n int) []byte {
		if n < 1 || n > len(f) {
			return nil
		}
		return f[n-1]
	}
	m.pod, m.namespace, m.container, m.node = cell(c.pod), cell(c.namespace), cell(c.container), cell(c.node)
	at := cell(c.time)
	if t, zoned, _, ok := parseTime(at); ok {
		m.time, m.unzoned, m.yearless = t, !zoned, false
	} else if t, _, ok := parseViewerTime(at); ok {
		m.time, m.unzoned, m.yearless = t, true, false
	} else if t, ok := parseEpoch(at); ok {
		m.time, m.unzoned, m.yearless = t, false, false
	}
	if c.text == 0 {
		return undouble(cell(c.n))
	}
	return undouble(cell(c.text))
}

// undouble makes one of two quotes.
func undouble(b []byte) []byte {
	if !bytes.Contains(b, []byte(`""`)) {
		return b
	}
	return bytes.ReplaceAll(b, []byte(`""`), []byte(`"`))
}
