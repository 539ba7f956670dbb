package replay

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
)

// Recorded is a failure that is to be reproduced. What is empty is not compared.
type Recorded struct {
	Cause    string   `yaml:"cause,omitempty" json:"cause,omitempty"`       // slug of the incident's root cause
	Kind     Kind     `yaml:"kind,omitempty" json:"kind,omitempty"`         // default trap
	Callback string   `yaml:"callback,omitempty" json:"callback,omitempty"` // "proxy_on_request_headers"
	Trap     string   `yaml:"trap,omitempty" json:"trap,omitempty"`         // class of the rules' dictionary `traps`
	Location string   `yaml:"location,omitempty" json:"location,omitempty"` // of the panic: "src/lib.rs:18:57"
	Offsets  []string `yaml:"offsets,omitempty" json:"offsets,omitempty"`   // of the backtrace from the start of the file, as Envoy printed them, innermost first
	None     bool     `yaml:"none,omitempty" json:"none,omitempty"`         // nothing may fail
}

var hexOffset = regexp.MustCompile(`^0x[0-9a-fA-F]{1,16}$`)

func (r *Recorded) check() (errs []error) {
	if r.Kind != "" && !slices.Contains([]Kind{Trap, Hang, Refused, Crash, Load, Stuck}, r.Kind) {
		errs = append(errs, fmt.Errorf("expect.kind: no kind %q (want trap, hang, refused, crash, load or stuck)", r.Kind))
	}
	for _, o := range r.Offsets {
		if !hexOffset.MatchString(o) {
			errs = append(errs, fmt.Errorf("expect.offsets: %q is no offset (want 0x17d70)", o))
		}
	}
	if r.None && (r.Callback != "" || r.Trap != "" || r.Kind != "" || len(r.Offsets) > 0 || r.Location != "") {
		errs = append(errs, errors.New("expect: either none, or a failure"))
	}
	return errs
}

// Verdict says what a replay means.
type Verdict string

// The verdicts.
const (
	Reproduced    Verdict = "reproduced"      // it failed as recorded
	Failed        Verdict = "failed"          // it failed; nothing was given to compare with
	Another       Verdict = "another-failure" // it failed, but not as recorded
	NotReproduced Verdict = "not-reproduced"  // it did not fail
	Passed        Verdict = "passed"          // it did not fail, as expected
)

// Good says whether a verdict is what one wanted from a replay.
func (v Verdict) Good() bool { return v == Reproduced || v == Failed || v == Passed }

// judge compares what happened with what was recorded.
func (x *Machine) judge(res *Result, want *Recorded) {
	res.Recorded = want
	f := res.Failure
	switch {
	case want != nil && want.None:
		res.Verdict = Passed
		if f != nil {
			res.Verdict = Another
			res.because("nothing was to fail, but it did")
		}
		return
	case f == nil:
		res.Verdict = NotReproduced
		res.because("the scenario ran to its end, and nothing failed")
		x.otherBuild(res, want)
		return
	case want == nil:
		res.Verdict = Failed
		return
	}
	if f.Kind == Crash && strings.HasPrefix(want.Cause, "native-crash") {
		res.Verdict = Reproduced
		res.because("the call that brings down or hangs Envoy itself was made in %s", f.Callback)
		return
	}
	same := true
	differ := func(format string, args ...any) { same = false; res.because(format, args...) }
	kind := want.Kind
	if kind == "" {
		kind = Trap
	}
	if f.Kind != kind {
		differ("another kind of failure: recorded %s, here %s", kind, f.Kind)
	}
	if want.Callback != "" && f.Callback != want.Callback {
		differ("another callback: recorded %s, here %s", want.Callback, orNone(f.Callback))
	} else if want.Callback != "" {
		res.because("the same callback, %s", f.Callback)
	}
	if want.Trap != "" && !sameTrap(want.Trap, f.Trap) {
		differ("another trap: recorded %s, here %s", want.Trap, orNone(f.Trap))
	} else if want.Trap != "" {
		res.because("the same trap, %s", want.Trap)
	}
	if len(want.Offsets) > 0 && kind != Hang {
		if text, equal := x.compare(want, f); equal {
			res.because("%s", text)
		} else {
			differ("%s", text)
		}
	}
	if want.Location != "" && f.Location != "" && len(want.Offsets) == 0 {
		if !strings.HasSuffix(f.Location, want.Location) && !strings.HasSuffix(want.Location, f.Location) {
			differ("another place: recorded %s, here %s", want.Location, f.Location)
		} else {
			res.because("the same place, %s", f.Location)
		}
	}
	res.Verdict = Reproduced
	if !same {
		res.Verdict = Another
		x.otherBuild(res, want)
	}
}

// otherBuild says so when the recorded offsets cannot be of this module.
func (x *Machine) otherBuild(res *Result, want *Recorded) {
	if want == nil || len(want.Offsets) == 0 {
		return
	}
	t := symbolize.Backtrace{Trap: want.Trap}
	for i, o := range want.Offsets {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(o), "0x"), 16, 64)
		if err != nil {
			return
		}
		t.Frames = append(t.Frames, symbolize.Logged{Index: i, Text: o, Offset: n, HasOffset: true, FunctionIndex: -1})
	}
	alone := symbolize.New(x.set)
	alone.Add(x.Path, x.Module, nil)
	if s := alone.Stack(t); s.Verdict == symbolize.Mismatch && len(s.Proof) > 0 {
		res.because("%s", s.Proof[0])
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (r *Result) because(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

// sameTrap compares classes. wazero has one word for a null function and for an index outside of the table.
func sameTrap(want, got string) bool {
	return want == got || got == "table" && want == "indirect-call"
}

// compare holds the recorded offsets against those of the replay, frame by frame.
func (x *Machine) compare(want *Recorded, f *Failure) (string, bool) {
	var here []uint64
	for _, p := range f.places {
		here = append(here, p.offset+uint64(x.Module.CodeOffset))
	}
	var there []uint64
	for _, o := range want.Offsets {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(o), "0x"), 16, 64)
		if err != nil {
			return "the recorded offset " + printable(o) + " is none", false
		}
		there = append(there, n)
	}
	if want.Trap == "stack-overflow" && f.Trap == "stack-overflow" {
		return recursion(there, here)
	}
	for i, o := range there {
		switch {
		case i >= len(here) && f.Cut:
			return fmt.Sprintf("the same offsets in the %d frames that can be compared", i), true
		case i >= len(here):
			return fmt.Sprintf("the recorded backtrace has %d frames, here are %d", len(there), len(here)), false
		case here[i] != o:
			return fmt.Sprintf("frame %d differs: recorded %#x, here %#x (%d frames before it are the same)", i, o, here[i], i), false
		}
	}
	return fmt.Sprintf("the same offsets in all %d recorded frames", len(there)), true
}

// recursion compares two overflows of the engine's stack. How deep they went, and in which function of the cycle and at which of its instructions the
// engine noticed, is the engine's business; the calls are the guest's.
func recursion(there, here []uint64) (string, bool) {
	if len(here) == 0 {
		return "the engine told no frames of the overflow", false
	}
	for i, o := range there {
		if i > 0 && !slices.Contains(here, o) {
			return fmt.Sprintf("frame %d of the recursion differs: %#x does not occur here", i, o), false
		}
	}
	return fmt.Sprintf("the same calls in the %d recorded frames of the recursion", max(len(there)-1, 0)), true
}
