package analyze

import (
	"strconv"

	"github.com/wasmortem/wasmortem/analyze/native"
	"github.com/wasmortem/wasmortem/rules"
)

// maxStack is how many frames a report shows.
const maxStack = 64

// stack is the guest's stack of the first trap that has frames, or the native one.
func (b *builder) stack(f *failure) []Frame {
	out := []Frame{}
	for _, x := range f.all() {
		if x.Trap == nil || len(x.Trap.Frames) == 0 {
			continue
		}
		for _, fr := range x.Trap.Frames {
			if len(out) < maxStack {
				out = append(out, Frame{Index: fr.Index, Offset: fr.Offset, Function: fr.Function, Kind: fr.Kind})
			}
		}
		return out
	}
	return b.native(f)
}

// native collects the frames that Envoy logged one record each, after the signal that the failure is about.
func (b *builder) native(f *failure) []Frame {
	out := []Frame{}
	if p := rules.Parent(f.cause.ID); p != "native-crash" && p != "native-crash-in-wasm" && p != "process-out-of-memory" && p != "watchdog-kill" {
		return out
	}
	frames := b.set.Rule("native-frame")
	if frames == nil || len(f.findings) == 0 || len(f.findings[0].Anchors) == 0 {
		return out
	}
	at := f.findings[0].Anchors[0]
	for _, g := range b.matches.Groups() {
		if g.Rule != frames || g.Proxy != at.Proxy {
			continue
		}
		last := -1
		for _, x := range g.Kept() {
			i, err := strconv.Atoi(x.Captures["index"])
			if err != nil || i <= last || len(out) == maxStack || x.Record.Thread != at.Record.Thread && x.Record.Thread != "" && at.Record.Thread != "" {
				if last >= 0 && err == nil && i <= last {
					return out // the next backtrace begins
				}
				continue
			}
			if x.Record.Line < at.Record.Line && x.Record.Input == at.Record.Input && !x.Record.Input.NewestFirst() {
				continue
			}
			last = i
			name := x.Captures["frame"]
			out = append(out, Frame{Index: i, Offset: x.Captures["address"], Function: rules.Demangle(name), Kind: native.Kind(name, "")})
		}
	}
	return out
}
