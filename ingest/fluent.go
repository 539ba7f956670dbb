package ingest

import "bytes"

// stripFluent takes a line out of what Fluent Bit's output `stdout` prints: `[0] TAG: [[1700000000.123, {}], {"log"=>"text", …}]`, before
// Fluent Bit 2.1 `[0] TAG: [1700000000.123, {"log"=>"text", …}]`. Texts stand between quotes as they are, so one ends where the next key
// begins; newer versions put a backslash before a quote.
func stripFluent(b []byte, m *meta) ([]byte, bool) {
	i := 1
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i > 6 || !bytes.HasPrefix(b[i:], []byte("] ")) {
		return b, false
	}
	open := bytes.Index(b[i:min(len(b), 600)], []byte(": ["))
	if open < 0 {
		return b, false
	}
	r := bytes.TrimPrefix(b[i+open+3:], []byte{'['})
	comma := bytes.IndexByte(r[:min(len(r), 40)], ',')
	body := bytes.Index(r[:min(len(r), 600)], []byte(`{"`))
	if comma < 0 || body < 0 {
		return b, false
	}
	at, timed := parseEpoch(r[:comma])
	var text []byte
	f := meta{}
	found, rank := false, 9
	for r = r[body+1:]; ; {
		key, value, rest, ok := fluentMember(r)
		if !ok {
			break
		}
		switch string(key) {
		case "log", "message", "MESSAGE", "msg":
			if k := len(key); !found || k < rank { // `log` before the others
				text, found, rank = value, true, k
			}
		case "stream":
			f.stream = value
		case "_p", "logtag":
			f.runtime, f.partial = true, string(value) == "P"
		case "pod_name":
			f.pod = value
		case "namespace_name":
			f.namespace = value
		case "container_name":
			f.container = value
		case "host", "hostname", "_HOSTNAME":
			f.node = value
		}
		r = rest
	}
	if !timed || !found {
		return b, false
	}
	f.time = at
	*m = f
	return bytes.TrimRight(text, "\r\n"), true
}

// fluentMember reads `"key"=>value` and gives what follows it. The members of an inner object count as those of the outer one.
func fluentMember(r []byte) (key, value, rest []byte, ok bool) {
	arrow := bytes.Index(r, []byte(`"=>`))
	if arrow < 1 {
		return nil, nil, nil, false
	}
	key = r[bytes.LastIndexByte(r[:arrow], '"')+1 : arrow]
	r = r[arrow+3:]
	if len(r) == 0 || r[0] != '"' { // a number, an inner object
		return key, nil, r, true
	}
	r = r[1:]
	for i := 0; i < len(r); i++ {
		if r[i] != '"' {
			continue
		}
		switch after := r[i+1:]; {
		case i > 0 && r[i-1] == '\\':
		case len(after) == 0, after[0] == '}' && len(bytes.Trim(after, "}]")) == 0, fluentKey(after):
			return key, fluentText(r[:i]), after, true
		}
	}
	return key, fluentText(r), nil, true
}

// fluentKey recognises `, "key"=>`, also behind the end of an inner object.
func fluentKey(b []byte) bool {
	b, ok := bytes.CutPrefix(bytes.TrimLeft(b, "}"), []byte(`, "`))
	end := bytes.IndexByte(b[:min(len(b), 80)], '"')
	return ok && end > 0 && bytes.HasPrefix(b[end:], []byte(`"=>`))
}

// fluentText removes the escapes of a text that has them: then no quote stands in it without one.
func fluentText(v []byte) []byte {
	bare := 0
	for i, c := range v {
		if c == '"' && (i == 0 || v[i-1] != '\\') {
			bare++
		}
	}
	if bare > 0 || bytes.IndexByte(v, '\\') < 0 {
		return v
	}
	return unescapeJSON(v)
}
