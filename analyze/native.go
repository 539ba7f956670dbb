package analyze

import (
	"regexp"
	"strconv"

	"github.com/wasmortem/wasmortem/analyze/native"
	"github.com/wasmortem/wasmortem/rules"
)

// regions tells for each frame of a native backtrace where its address lies, as the capture `region`: binary, library, or jit. Envoy prints
// the range of its own code (`Address mapping`, since 1.30); executable memory that is neither that nor a library is what V8 compiled.
func regions(set *rules.Set, m *rules.Matches) {
	mapping, frame := set.Rule("address-mapping"), set.Rule("native-frame")
	if mapping == nil || frame == nil {
		return
	}
	type span struct{ from, to uint64 }
	last := map[string]span{}
	for _, f := range m.Kept(mapping) {
		from, err1 := strconv.ParseUint(f.Captures["from"], 16, 64)
		to, err2 := strconv.ParseUint(f.Captures["to"], 16, 64)
		if err1 == nil && err2 == nil {
			last[f.Proxy+"/"+f.Record.Thread] = span{from, to}
		}
	}
	for _, f := range m.Kept(frame) {
		s, ok := last[f.Proxy+"/"+f.Record.Thread]
		a, err := strconv.ParseUint(f.Captures["address"], 0, 64)
		if !ok || err != nil {
			continue
		}
		if r := native.Region(a, s.from, s.to); r != "" && (r != "jit" || f.Captures["frame"] == "") { // compiled code has no symbols
			f.Captures["region"] = r
		}
	}
}

// Headers of a dumped request whose values a report does not repeat, and the raw bytes that Envoy had read.
var (
	secretHeader = regexp.MustCompile(`(?i)'([^'\n]*(?:authorization|cookie|token|secret|password|session|signature|credential|api-?key|client-cert)[^'\n]*)', '[^\n]*`)
	rawContents  = regexp.MustCompile(`contents: "[^\n]*`)
)

// redactDump takes secrets out of the request that Envoy dumps when it crashes. What is left is enough to replay it.
func redactDump(dump string) string {
	return rawContents.ReplaceAllString(secretHeader.ReplaceAllString(dump, "'$1', '(redacted)'"), "contents: (redacted)")
}
