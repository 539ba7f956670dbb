package analyze

import (
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
		if r := native.Region(a, s.from, s.to); r != "" {
			f.Captures["region"] = r
		}
	}
}
