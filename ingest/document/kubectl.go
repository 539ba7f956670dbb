package document

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The text that kubectl prints for people: tables of events, and `kubectl describe`. Its times are mostly ages ("5m ago"), which say
// nothing without the time of printing; such parts have no time.

// eventsHeader is the first line of `kubectl get events`, also with -A and -o wide, and of `kubectl events`.
var eventsHeader = regexp.MustCompile(`^(?:NAMESPACE +)?LAST SEEN +TYPE +REASON +OBJECT +(?:SUBOBJECT +SOURCE +)?MESSAGE\b`)

// looksTable allows for the command in front of its output.
func looksTable(text []byte) bool { return headerLine(text) >= 0 }

// headerLine is where the header of the table starts, -1 when there is none.
func headerLine(text []byte) int {
	pos := 0
	for range 3 {
		line := text[pos : pos+lineLength(text[pos:])]
		if eventsHeader.Match(line) {
			return pos
		}
		if !bytes.HasPrefix(line, []byte("$ ")) && !bytes.HasPrefix(line, []byte("# ")) && len(bytes.TrimSpace(line)) > 0 {
			return -1
		}
		pos += len(line)
	}
	return -1
}

// readEvents reads a table of events. It is printed again, header included, for each -n that a script asks for.
func (c *collector) readEvents() bool {
	pos := len(c.data) - len(bytes.TrimLeft(c.data[bom(c.data):], " \t\r\n"))
	pos += headerLine(c.data[pos:])
	var columns table
	for pos < len(c.data) {
		line := c.data[pos : pos+lineLength(c.data[pos:])]
		if eventsHeader.Match(line) {
			columns = newTable(line)
		} else if cells := columns.cells(line); cells["REASON"] != "" && cells["OBJECT"] != "" {
			c.add(eventRow(cells).part(), pos, pos+len(line), pos)
		}
		pos += len(line)
	}
	return true
}

// repeated matches the age of an event that came more than once: `3m12s (x14 over 25m)`.
var repeated = regexp.MustCompile(`\(x(\d+)\b`)

// eventRow reads a row of a table of events; the columns of `kubectl describe` have other names.
func eventRow(cells map[string]string) event {
	e := event{
		namespace: cells["NAMESPACE"], kind: cells["TYPE"], reason: cells["REASON"], message: cells["MESSAGE"], count: cells["COUNT"],
		field: cells["SUBOBJECT"],
	}
	e.involved, e.name, _ = strings.Cut(cells["OBJECT"], "/")
	if m := repeated.FindStringSubmatch(cells["LAST SEEN"] + cells["AGE"]); m != nil && e.count == "" {
		e.count = m[1]
	}
	// "kubelet, node-3": who said it and where.
	if _, host, ok := strings.Cut(cells["SOURCE"]+cells["FROM"], ", "); ok {
		e.node = host
	}
	return e
}

// table is where the columns of a table start, counted in characters: kubectl pads by characters, not bytes.
type table struct {
	names  []string
	starts []int
}

var columnName = regexp.MustCompile(`\S+(?: \S+)*`)

func newTable(header []byte) table {
	var t table
	for _, m := range columnName.FindAllIndex(bytes.TrimRight(header, "\r\n "), -1) {
		t.names = append(t.names, strings.ToUpper(string(header[m[0]:m[1]])))
		t.starts = append(t.starts, m[0])
	}
	return t
}

// cells cuts a row at the columns. A row that is not aligned with the header is cut at wide gaps instead: `kubectl get -w` aligns each
// batch by itself.
func (t table) cells(line []byte) map[string]string {
	cells := map[string]string{}
	if len(line) > 1<<16 {
		return cells
	}
	text := []rune(strings.TrimRight(string(line), "\r\n "))
	for i, start := range t.starts {
		if i > 0 && start < len(text) && start > 0 && text[start-1] != ' ' {
			return t.gaps(string(text))
		}
	}
	for i, start := range t.starts {
		end := len(text)
		if i+1 < len(t.starts) {
			end = min(end, t.starts[i+1])
		}
		if start < end {
			cells[t.names[i]] = strings.TrimSpace(string(text[start:end]))
		}
	}
	return cells
}

var gap = regexp.MustCompile(` {2,}`)

// gaps cuts a row at wide gaps. When a column is empty that gives too few cells; then those up to the object are sure, and the
// longest of the others is the message.
func (t table) gaps(line string) map[string]string {
	cells := map[string]string{}
	found := gap.Split(strings.TrimSpace(line), len(t.names))
	sure := len(found)
	if object := slices.Index(t.names, "OBJECT"); sure < len(t.names) && object >= 0 {
		sure = min(sure, object+1)
	}
	for i, cell := range found[:sure] {
		cells[t.names[i]] = cell
	}
	for _, cell := range found[sure:] {
		if len(cell) > len(cells["MESSAGE"]) {
			cells["MESSAGE"] = cell
		}
	}
	return cells
}

var describeLine = regexp.MustCompile(`^([A-Z][A-Za-z ]*): +\S`)

// looksDescribe wants the head of `kubectl describe pod` or `kubectl describe node`: the name and the line below it, or, where the beginning is lost
// (a terminal's scrollback, a dropped line), two other headings in kubectl's order whose values stand in one column.
func looksDescribe(text []byte) bool {
	first, column, next := describeHeading(text[:min(len(text), 4096)])
	second, below, _ := describeHeading(next)
	if first == "" || second == "" || column != below {
		return false
	}
	return slices.Index(headings, second) > slices.Index(headings, first)
}

// describeHeading cuts the first line off: a heading with a value, and the column in which that starts.
func describeHeading(text []byte) (name string, column int, rest []byte) {
	n := lineLength(text)
	m := describeLine.FindSubmatchIndex(text[:n])
	if m == nil || !slices.Contains(headings, string(text[m[2]:m[3]])) {
		return "", 0, nil
	}
	return string(text[m[2]:m[3]]), m[1], text[n:]
}

// readDescribe reads the objects of `kubectl describe` one after the other.
func (c *collector) readDescribe() bool {
	d := &describer{c: c, values: map[string]string{}, at: map[string]int{}}
	for pos := bom(c.data); pos < len(c.data); {
		end := pos + lineLength(c.data[pos:])
		d.line(pos, end)
		pos = end
	}
	d.flush(len(c.data))
	return d.known
}

// describer reads the text line by line. What a line means follows from its indentation and from the headings above it.
type describer struct {
	c       *collector
	known   bool   // something was seen that only a pod or a node has
	start   int    // of the object
	where   string // the top-level heading: "Containers", "Annotations", "Events", …
	pod     pod
	values  map[string]string // top-level values, and annotations and labels by their own key
	at      map[string]int    // where they stand
	images  []container       // name and image of each container, to find the proxy
	flags   [][]string        // and its arguments
	columns table

	box   *container // the container being read
	word  string     // "container", "init container"
	boxAt int
	inner string // the heading inside it: "State", "Last State", "Limits", "Args"
	now   end
	last  end
}

// end is a state of a container as printed: the word beside `State:` and the lines below.
type end struct {
	state, reason, exit, started, finished, message string
	top, at                                         int // where it starts, and where it gives its reason
}

var (
	topHeading = regexp.MustCompile(`^([A-Z][A-Za-z ]*):(?:\s+(.*))?$`)
	subLine    = regexp.MustCompile(`^([A-Za-z][A-Za-z ]*):(?:\s+(.*))?$`)
	// The top-level headings of a pod and of a node that matter, in the order in which kubectl prints them.
	headings = []string{
		"Name", "Namespace", "Roles", "Priority", "Service Account", "Node", "Start Time", "Labels", "Annotations", "CreationTimestamp", "Taints",
		"Lease", "Status", "Reason", "Message", "IP", "IPs", "Controlled By", "Init Containers", "Containers", "Ephemeral Containers",
		"Conditions", "Volumes", "QoS Class", "Node-Selectors", "Tolerations", "Addresses", "Capacity", "Allocatable", "System Info",
		"Allocated resources", "Events",
	}
)

func (d *describer) line(pos, end int) {
	line := strings.TrimRight(string(d.c.data[pos:min(end, pos+maxHead)]), "\r\n")
	indent := indentation([]byte(line))
	text := line[indent:]
	if m := topHeading.FindStringSubmatch(line); m != nil && d.isHeading(m[1], pos) {
		d.heading(m[1], m[2], pos)
		return
	}
	if d.opensContainers(text, indent, end) {
		d.where, d.word, d.known = "Init Containers", "container", true // their heading is lost; that of other containers may follow
	}
	switch d.where {
	case "Labels", "Annotations":
		d.note(text, pos)
	case "Init Containers", "Containers", "Ephemeral Containers":
		d.container(indent, text, pos)
	case "Conditions":
		d.condition(line, pos, end)
	case "Events":
		d.event(line, pos, end)
	}
}

// isHeading says whether a line at the very left is a heading. The lines of a termination message stand there too, so it has to be one
// that may follow the one before.
func (d *describer) isHeading(name string, pos int) bool {
	if name == "Name" {
		_, _, next := describeHeading(d.c.data[pos:])
		second, _, _ := describeHeading(next)
		return (second == "Namespace" || second == "Roles") && looksDescribe(d.c.data[pos:])
	}
	return slices.Index(headings, name) > slices.Index(headings, d.where)
}

func (d *describer) heading(name, value string, pos int) {
	if name == "Name" {
		d.flush(pos)
		*d = describer{c: d.c, known: d.known, start: pos, values: map[string]string{}, at: map[string]int{}}
	}
	d.closeContainer(pos)
	d.where, d.columns = name, table{}
	value = strings.TrimSpace(value)
	d.values[name], d.at[name] = value, pos
	switch name {
	case "Labels", "Annotations":
		d.note(value, pos)
	case "Containers", "Init Containers", "Ephemeral Containers":
		d.word = strings.ToLower(strings.TrimSuffix(name, "s"))
		d.known = true
	case "Name":
		d.pod.name = value
	case "Namespace":
		d.pod.namespace = value
	case "Node":
		d.pod.node, _, _ = strings.Cut(value, "/")
	case "Status":
		d.pod.phase, _, _ = strings.Cut(value, " ")
	}
}

// note keeps a label (`app=web`) or an annotation (`sidecar.istio.io/logLevel: debug`).
func (d *describer) note(text string, pos int) {
	if len(d.values) > 1000 {
		return
	}
	key, value, ok := strings.Cut(text, ":")
	if d.where == "Labels" {
		key, value, ok = strings.Cut(text, "=")
	}
	if ok && !slices.Contains(headings, key) {
		d.values[key], d.at[key] = strings.TrimSpace(value), pos
	}
}

// opensContainers says whether a container begins at a line outside of any list of them: its name, and its id below it.
func (d *describer) opensContainers(text string, indent, end int) bool {
	return indent == 2 && strings.HasSuffix(text, ":") && !strings.HasSuffix(d.where, "Containers") && bytes.HasPrefix(d.c.data[end:], []byte("    Container ID: "))
}

// open begins a container. Its name is empty when that line is lost.
func (d *describer) open(name string, pos int) {
	d.closeContainer(pos)
	d.box = &container{pod: d.pod, word: d.word, name: name}
	d.boxAt, d.inner = pos, ""
	d.flags = append(d.flags, nil)
}

func (d *describer) container(indent int, text string, pos int) {
	if indent == 2 && strings.HasSuffix(text, ":") {
		d.open(strings.TrimSuffix(text, ":"), pos)
		return
	}
	// The id is the first that kubectl prints of a container.
	if indent == 4 && strings.HasPrefix(text, "Container ID:") && (d.box == nil || d.inner != "") {
		d.open("", pos)
	}
	if d.box == nil {
		return
	}
	m := subLine.FindStringSubmatch(text)
	switch {
	case indent == 4 && m != nil:
		d.inner = m[1]
		d.attribute(m[1], strings.TrimSpace(m[2]), pos)
	case indent == 6 && (d.inner == "Args" || d.inner == "Command"):
		last := len(d.flags) - 1
		d.flags[last] = append(d.flags[last], text)
	case indent == 6 && m != nil:
		d.detail(m[1], strings.TrimSpace(m[2]), pos)
	}
}

func (d *describer) attribute(name, value string, pos int) {
	switch name {
	case "Image":
		d.box.image = value
	case "Ready":
		d.box.ready = value
	case "Restart Count":
		d.box.restarts = value
	case "State":
		d.now = end{state: value, top: pos, at: pos}
	case "Last State":
		d.last = end{state: value, top: pos, at: pos}
	}
}

// detail is a line below State, Last State or Limits.
func (d *describer) detail(name, value string, pos int) {
	if d.inner == "Limits" && name == "memory" {
		d.box.limit = value
	}
	e := &d.now
	if d.inner == "State" && (name == "Reason" && e.reason != "" || name == "Exit Code" && e.state != "Terminated" && e.state != "") {
		d.inner, d.last = "Last State", end{state: "Terminated", top: pos, at: pos} // whose line is lost: a second reason, an exit of what waits or runs
	}
	switch d.inner {
	case "Last State":
		e = &d.last
	case "State":
	default:
		return
	}
	switch name {
	case "Reason":
		e.reason, e.at = value, pos
	case "Exit Code":
		e.exit = value
	case "Started":
		e.started = describeTime(value)
	case "Finished":
		e.finished = describeTime(value)
	case "Message":
		e.message = value
	}
}

// describeTime rewrites `Mon, 02 Jan 2006 15:04:05 -0700` as the API has it.
func describeTime(s string) string {
	t, err := time.Parse(time.RFC1123Z, s)
	if err != nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// closeContainer adds the parts of the container that ends at pos.
func (d *describer) closeContainer(pos int) {
	b := d.box
	if b == nil {
		return
	}
	d.images = append(d.images, *b)
	d.box = nil
	now, last := d.now, d.last
	d.now, d.last = end{}, end{}
	put := func(e end, state string, start int) {
		s := *b
		s.state, s.reason, s.exit, s.started, s.finished, s.message = state, e.reason, e.exit, e.started, e.finished, e.message
		d.c.add(s.part(), start, pos, e.at)
	}
	if now.state == "Waiting" {
		b.waiting = now.reason
	}
	switch {
	case now.state == "Terminated":
		put(now, "terminated", d.boxAt)
		if last.state == "Terminated" && last.at > now.at {
			put(last, "last-terminated", last.top)
		}
	case last.state == "Terminated":
		put(last, "last-terminated", d.boxAt)
	case now.state == "Waiting":
		e := now
		e.reason = ""
		put(e, "waiting", d.boxAt)
	case now.state == "Running":
		put(now, "running", d.boxAt)
	}
}

// condition is a row of the conditions of a node.
func (d *describer) condition(line string, pos, end int) {
	if !d.isNode() {
		return
	}
	if strings.HasPrefix(strings.TrimSpace(line), "Type ") {
		d.columns = newTable([]byte(line))
		return
	}
	cells := d.columns.cells([]byte(line))
	if cells["REASON"] == "" || strings.HasPrefix(cells["TYPE"], "--") {
		return
	}
	d.known = true
	n := condition{node: d.pod.name, name: cells["TYPE"], status: cells["STATUS"], reason: cells["REASON"], message: cells["MESSAGE"]}
	if p, ok := n.part(); ok {
		if t, err := time.Parse(time.RFC1123Z, cells["LASTTRANSITIONTIME"]); err == nil {
			p.Time = t.UTC()
		}
		d.c.add(p, pos, end, pos)
	}
}

// event is a row of the table at the end. All are about the object described.
func (d *describer) event(line string, pos, end int) {
	if strings.HasPrefix(strings.TrimSpace(line), "Type ") {
		d.columns = newTable([]byte(line))
		return
	}
	cells := d.columns.cells([]byte(line))
	if cells["REASON"] == "" || strings.HasPrefix(cells["TYPE"], "--") {
		return
	}
	d.known = true
	e := eventRow(cells)
	e.name, e.namespace = d.pod.name, d.pod.namespace
	switch {
	case d.isNode():
		e.involved = "Node"
	case len(d.images) > 0:
		e.involved, e.node = "Pod", cmp.Or(e.node, d.pod.node)
	}
	d.c.add(e.part(), pos, end, pos)
}

func (d *describer) isNode() bool {
	_, ok := d.values["Roles"]
	return ok
}

// flush adds the part of the pod that ends at pos.
func (d *describer) flush(pos int) {
	d.closeContainer(pos)
	if d.isNode() || len(d.images) == 0 {
		return
	}
	v := d.values
	p := Part{Kind: "object", Namespace: d.pod.namespace, Pod: d.pod.name, Node: d.pod.node, Fields: fields{}}
	f := fields(p.Fields)
	f.set("object", "pod")
	f.set("object_name", d.pod.name)
	f.set("app", cmp.Or(v["app"], v["app.kubernetes.io/name"], v["service.istio.io/canonical-name"]))
	f.set("phase", d.pod.phase)
	f.set("reason", v["Reason"])
	f.set("event_message", v["Message"])
	flags := map[string]string{}
	if i := proxyIndex(len(d.images), func(i int) (string, string) { return d.images[i].name, d.images[i].image }); i >= 0 {
		f.set("image", d.images[i].image)
		flags = arguments(d.flags[i])
	}
	f.set("log_level", wasmLevel(flags["level"], flags["component"], v["sidecar.istio.io/logLevel"], v["sidecar.istio.io/componentLogLevel"]))
	f.set("concurrency", flags["concurrency"])
	p.Message = podMessage(d.pod, f)
	best := d.start
	for _, key := range []string{"Reason", "sidecar.istio.io/componentLogLevel", "sidecar.istio.io/logLevel"} {
		if at, ok := d.at[key]; ok {
			best = at
			break
		}
	}
	d.c.add(p, d.start, pos, best)
}
