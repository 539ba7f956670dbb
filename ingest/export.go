package ingest

import (
	"bytes"
	"context"
	"io"
	"sort"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/archive"
)

// A log may come as values inside JSON: an answer of Loki or Elasticsearch, batches of OTLP, a CloudWatch subscription, rows of a query, the
// `stdout` of some automation, or one string with a whole log in it. Where each text has a physical line of its own the line is read as it
// stands (see [stripJSON], [stripMember]). Where many share one, the document is a container: its members are the logs of the writers it
// names, and lines and offsets count in those.
//
// No platform is known by name. What counts is the structure: texts that stand at one place of it (`/data/result/*/values/*/1`), some of
// which begin like a record, are a log.

// exportDepth is how deep values nest in a document.
const exportDepth = 40

// leaf is a string of a document.
type leaf struct {
	path  string // keys and `*`, see [exportScan.array]
	value []byte // between the quotes, escapes as they stand
	ids   ids
}

// ids is what a document says about the writer of a leaf.
type ids struct{ namespace, pod, container string }

// exportScan reads JSON values one after another and hands out their strings. It stops where the text is no JSON any more, or ends.
type exportScan struct {
	b      []byte
	i      int
	looked int  // bytes read to find names
	cut    bool // b is the beginning of more: a string that does not end is one all the same
	leafs  func(*leaf)
}

func (s *exportScan) space() byte {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
	if s.i == len(s.b) {
		return 0
	}
	return s.b[s.i]
}

// run reads all values. whole reports that nothing but values stood there.
func (s *exportScan) run() (whole bool) {
	for s.space() != 0 {
		if !s.value("", &ids{}, 0, false) {
			return false
		}
		if s.space() == ',' {
			s.i++
		}
	}
	return true
}

func (s *exportScan) text() ([]byte, bool) {
	if s.space() != '"' {
		return nil, false
	}
	end := stringEnd(s.b[s.i+1:])
	if end < 0 {
		if !s.cut {
			return nil, false
		}
		v := s.b[s.i+1:]
		s.i = len(s.b)
		return v, true
	}
	v := s.b[s.i+1 : s.i+1+end]
	s.i += end + 2
	return v, true
}

func (s *exportScan) value(path string, w *ids, depth int, inArray bool) bool {
	switch c := s.space(); {
	case depth > exportDepth || c == 0:
		return false
	case c == '{':
		return s.object(path, w, depth)
	case c == '[':
		return s.array(path, w, depth, inArray)
	case c == '"':
		v, ok := s.text()
		if ok {
			s.leafs(&leaf{path, v, *w})
		}
		return ok
	default:
		start := s.i
		for s.i < len(s.b) && !jsonEnds(s.b[s.i]) {
			s.i++
		}
		return s.i > start
	}
}

// object reads an object. What it says about the writer holds for all of it, so it is looked at twice.
func (s *exportScan) object(path string, w *ids, depth int) bool {
	own := *w
	if end := s.ids(&own); end {
		w = &own
	}
	s.i++
	if s.space() == '}' {
		s.i++
		return true
	}
	for {
		key, ok := s.text()
		if !ok || s.space() != ':' {
			return false
		}
		s.i++
		if !s.value(path+"/"+string(key[:min(len(key), 64)]), w, depth+1, false) {
			return false
		}
		switch s.space() {
		case ',':
			s.i++
		case '}':
			s.i++
			return true
		default:
			return false
		}
	}
}

// array reads an array. Its elements share a place, unless it is a row of another array: there the place in the row counts.
func (s *exportScan) array(path string, w *ids, depth int, row bool) bool {
	s.i++
	if s.space() == ']' {
		s.i++
		return true
	}
	for n := 0; ; n++ {
		p := path + "/*"
		if row {
			p = path + "/" + string(rune('0'+min(n, 60)))
		}
		if !s.value(p, w, depth+1, true) {
			return false
		}
		switch s.space() {
		case ',':
			s.i++
		case ']':
			s.i++
			return true
		default:
			return false
		}
	}
}

// ids looks ahead in the object at s.i for keys that name the writer: its own members, those of objects in it that hold labels, and lists of
// `{"key": …, "value": …}`. It reports whether there are any.
func (s *exportScan) ids(w *ids) (found bool) {
	o := s.b[s.i:min(len(s.b), s.i+4096)] // names stand at the beginning of large objects
	if s.looked += len(o); s.looked > 64*len(s.b)+1<<20 {
		return false // nothing but small objects inside each other
	}
	sub := jsonWalker{b: o, visit: func(path, v []byte) jsonStep {
		if len(v) > 0 && v[0] == '{' {
			switch string(path) {
			case "stream", "labels", "resource", "source", "fields", "kubernetes", "k8s", "result", "metadata", "tags":
				return jsonFlat
			case "pod", "container", "namespace":
				return jsonEnter
			}
			return jsonSkip
		}
		p := bytes.TrimPrefix(bytes.TrimPrefix(path, []byte("kubernetes")), []byte("k8s"))
		var to *string
		switch string(p) {
		case "pod", "podname", "logstream":
			to = &w.pod
		case "namespace", "namespacename", "podnamespace":
			to = &w.namespace
		case "container", "containername":
			to = &w.container
		default:
			return jsonSkip
		}
		if v := jsonText(v); isName(v) {
			*to, found = string(v), true
		}
		return jsonSkip
	}}
	sub.object(0, 1) // as far as it goes: the rest may be cut off
	if i := bytes.Index(o, []byte(`"attributes"`)); i >= 0 && i < 64 {
		for _, k := range []struct {
			key string
			to  *string
		}{{`"k8s.pod.name"`, &w.pod}, {`"k8s.namespace.name"`, &w.namespace}, {`"k8s.container.name"`, &w.container}} {
			if v := attribute(o, k.key); isName(v) {
				*k.to, found = string(v), true
			}
		}
	}
	return found
}

// attribute reads the value of `{"key":"NAME","value":{"stringValue":"…"}}`.
func attribute(o []byte, name string) []byte {
	i := bytes.Index(o, []byte(name))
	if i < 0 {
		return nil
	}
	r := o[i+len(name):]
	const key = `"stringValue"`
	j := bytes.Index(r[:min(len(r), 120)], []byte(key))
	if j < 0 {
		return nil
	}
	r = bytes.TrimLeft(r[j+len(key):], ": \t\n\r")
	if len(r) == 0 || r[0] != '"' {
		return nil
	}
	if end := stringEnd(r[1:]); end >= 0 {
		return r[1 : end+1]
	}
	return nil
}

// isName reports whether a value may stand in the path of a member.
func isName(v []byte) bool {
	return len(v) > 0 && len(v) < 254 && k8sName(v) == len(v) && v[0] != '.'
}

// placeTexts counts, for one place of a document, the lines that begin like a record.
type placeTexts struct {
	heads int
	first string
}

// exportPlaces finds the places of a document at which logs stand; heads is how many lines there begin a record.
func exportPlaces(sample []byte) (places map[string]bool, heads int) {
	by := map[string]*placeTexts{}
	var order []string
	s := exportScan{b: sample, cut: true, leafs: func(l *leaf) {
		x := by[l.path]
		if x == nil {
			x = &placeTexts{}
			by[l.path] = x
			order = append(order, l.path)
		}
		text := unescapeJSON(l.value)
		if bytes.Count(text, newline) > 3 { // a whole log, with wrappers of its own
			var in Input
			in.detect(text)
			if x.heads += in.known; in.known > 0 && x.first == "" {
				x.first = string(text[:min(len(text), 200)])
			}
			return
		}
		for line := range bytes.Lines(text) {
			line = bytes.TrimRight(line, "\r\n")
			if known, _, _ := knownHeader(bytes.TrimLeft(line, "`")); known {
				if x.heads++; x.first == "" {
					x.first = string(line)
				}
			}
		}
	}}
	s.run()
	sort.SliceStable(order, func(i, j int) bool { return by[order[i]].heads > by[order[j]].heads })
	places = map[string]bool{}
	seen := map[string]bool{}
	for _, p := range order {
		x := by[p]
		if x.heads == 0 || x.heads*20 < by[order[0]].heads || seen[x.first] {
			continue
		}
		seen[x.first], places[p] = true, true
		heads += x.heads
	}
	return places, heads
}

// member is one log of an export.
type member struct {
	name string
	text []byte
}

// exportMembers reads the logs out of a document, each writer's by itself, in the order of the document.
func exportMembers(data []byte, places map[string]bool) (list []member, whole bool) {
	at := map[string]int{}
	s := exportScan{b: data, leafs: func(l *leaf) {
		if !places[l.path] {
			return
		}
		name := l.ids.name()
		if name == "" {
			name = placeName(l.path)
		}
		i, ok := at[name]
		if !ok {
			i = len(list)
			at[name] = i
			list = append(list, member{name: name})
		}
		m := &list[i]
		m.text = append(m.text, unescapeJSON(l.value)...)
		if n := len(m.text); n == 0 || m.text[n-1] != '\n' {
			m.text = append(m.text, '\n')
		}
	}}
	whole = s.run()
	return list, whole
}

// name is the path of a member in a form that [identify] reads.
func (w *ids) name() string {
	file := w.container
	if file == "" {
		file = "log"
	}
	switch {
	case w.pod != "" && w.namespace != "":
		return "namespaces/" + w.namespace + "/pods/" + w.pod + "/" + file + ".log"
	case w.pod != "":
		return w.pod + "/" + file + ".log"
	}
	return ""
}

// placeName calls a member by the last key above its texts.
func placeName(path string) string {
	for _, k := range strings.Split(path, "/") {
		if k != "" && k != "*" && !strings.ContainsAny(k, ` !:\`) && len(k) > 1 {
			path = k
		}
	}
	path = strings.Trim(path, "/*")
	if path == "" {
		path = "text"
	}
	return path + ".log"
}

// escapedLog undoes the escapes of a log that stands in one line of something that is no JSON: a string of Python or YAML, a value in logfmt.
func escapedLog(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c != '\\' || i+1 == len(data) {
			out = append(out, c)
			continue
		}
		i++
		switch data[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
		case '"', '\'', '\\':
			out = append(out, data[i])
		default:
			out = append(out, '\\', data[i])
		}
	}
	return out
}

// container says how an input holds logs that have to be taken out before they can be read.
type container struct {
	places   map[string]bool // of texts in JSON values, see [exportPlaces]
	escaped  bool            // one line of text with the ends of lines escaped
	wrapping wrapping        // broken lines
}

// is reports whether there is anything to take out.
func (k *container) is() bool { return k.places != nil || k.escaped || k.wrapping.columns > 0 }

// findContainer decides from the sample of an input whether it is a container of logs. seen is how many lines of the sample begin a record
// when it is read as lines, guessed that they do so behind something that was only guessed.
func findContainer(sample []byte, seen int, guessed bool) (k container) {
	t := bytes.TrimLeft(bytes.TrimPrefix(sample, byteOrderMark), " \t\r\n")
	if len(t) == 0 {
		return k
	}
	if k.wrapping = detectWrapping(t); k.wrapping.columns > 0 {
		return k
	}
	enough := func(heads int) bool { return heads > seen || guessed && heads*2 >= seen && heads > 0 }
	if c := t[0]; c == '{' || c == '[' || c == '"' {
		if places, heads := exportPlaces(t); enough(heads) {
			k.places = places
			return k
		}
	}
	if n := bytes.Count(t, []byte(`\n`)); n > 2*bytes.Count(t, newline) && n > 0 {
		heads := 0
		for i, l := range bytes.Split(t, []byte(`\n`)) {
			if known, _, _ := knownHeader(l); i > 0 && known {
				heads++
			}
		}
		k.escaped = heads > 1 && enough(heads)
	}
	return k
}

// unpack takes the logs out of a container.
func (k *container) unpack(data []byte) (list []member, whole bool) {
	switch {
	case k.places != nil:
		return exportMembers(data, k.places)
	case k.escaped:
		return []member{{"text.log", escapedLog(data)}}, true
	}
	return []member{{"unwrapped.log", k.wrapping.undo(data)}}, true
}

// readContainer reads the members of a container of logs. ok is false when it is none after all: then rest is what has to be read instead.
func (c *FileCorpus) readContainer(ctx context.Context, path string, in *Input, k *container, whole io.Reader, yield func(*Block) bool) (rest io.Reader, ok bool, err error) {
	data, err := io.ReadAll(io.LimitReader(whole, MaxDocument+1))
	rest = io.MultiReader(bytes.NewReader(data), whole)
	if len(data) > MaxDocument || err != nil {
		in.warn("a log inside another text, which is larger than 32 MiB or cut off: read as it stands")
		return rest, false, err
	}
	list, complete := k.unpack(data)
	if len(list) == 0 {
		return rest, false, nil
	}
	c.inputs = c.inputs[:len(c.inputs)-1]
	if !complete {
		c.note(path + ": the JSON ends before it is complete; what stands before that was read")
	}
	for _, m := range list {
		if err := c.readLog(ctx, archive.Entry{Path: path + "!" + m.name, R: bytes.NewReader(m.text)}, k.wrapping.columns > 0, yield); err != nil {
			return nil, true, err
		}
	}
	return nil, true, nil
}
