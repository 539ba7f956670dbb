package preflight

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// judged are the features whose use the validator understands; a module with others is not judged.
var judged = []string{"sign-ext", "sat-float", "bulk-memory", "multi-value", "reference-types", "simd128", "tail-call", "extended-const", "threads", "exceptions"}

// validate holds the code against the rules of WebAssembly, which every engine does before it loads a module: our own reader only finds where
// things are. The validator is wazero's, whose interpreter compiles and runs nothing of the guest. known is false when it cannot tell.
func validate(m *wasm.Module, c code) (problem error, known bool) {
	if !boundable(m) || slices.ContainsFunc(c.features, func(f string) bool { return !slices.Contains(judged, f) }) || c.unread > 0 {
		return nil, false
	}
	if f, n := mostLocals(m); n > maxLocals {
		return fmt.Errorf("function %d has %d locals, and V8 accepts %d", f, n, maxLocals), true
	}
	defer func() { // a stranger's module must not end a post-mortem, whatever a library thinks of it
		if recover() != nil {
			problem, known = nil, false
		}
	}()
	ctx := context.Background()
	all := api.CoreFeaturesV2 | experimental.CoreFeaturesThreads | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst |
		experimental.CoreFeaturesExceptionHandling
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(all).WithDebugInfoEnabled(false))
	defer r.Close(ctx)
	_, err := r.CompileModule(ctx, plainSections(m))
	if err == nil {
		return nil, true
	}
	// What wazero lacks is not what is wrong.
	for _, word := range []string{"not supported", "unsupported", "disabled", "feature", "at most one", "multiple memories"} {
		if strings.Contains(err.Error(), word) {
			return nil, false
		}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(strings.ToValidUTF8(text[:min(len(text), 300)], "\ufffd")), true
}

// The validator takes memory for whatever a count claims, and many times what the code takes. So it gets only what was counted before.
const (
	maxCode   = 16 << 20
	maxLocals = 50_000 // kV8MaxWasmFunctionLocals
)

// boundable says whether every count of the module was held against the bytes that are there.
func boundable(m *wasm.Module) bool {
	if len(m.Problems) > 0 {
		return false
	}
	if s := m.Section(wasm.CodeSection); s != nil && s.Size() > maxCode {
		return false
	}
	s := m.Section(wasm.ElementSection)
	if s == nil {
		return true
	}
	r := cursor{b: m.Data[s.Offset:s.End]}
	for range r.count() {
		r.element()
	}
	return !r.bad && len(r.b) == 0
}

// mostLocals is the function with the most locals.
func mostLocals(m *wasm.Module) (function uint32, n uint64) {
	for _, f := range m.Functions {
		r := cursor{b: m.Data[f.Offset:f.End]}
		var sum uint64
		for range r.count() {
			sum += r.uint()
			r.skip(1) // reference types of the GC proposal are longer; modules with those are not judged
		}
		if sum > n {
			function, n = f.Index, sum
		}
	}
	return function, n
}

// cursor reads what the reader of modules leaves alone.
type cursor struct {
	b   []byte
	bad bool
}

func (r *cursor) skip(n int) {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[n:]
}

func (r *cursor) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *cursor) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<32-1 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is how many entries follow, each of one byte at least.
func (r *cursor) count() uint64 {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return n
}

// element reads over an element segment (core specification, binary format, element section).
func (r *cursor) element() {
	flags := r.uint()
	if flags > 7 {
		r.bad = true
	}
	if flags&1 == 0 {
		if flags&2 != 0 {
			r.uint()
		}
		r.expression()
	}
	if flags&3 != 0 {
		r.skip(1)
	}
	for range r.count() {
		if flags&4 != 0 {
			r.expression()
		} else {
			r.uint()
		}
		if r.bad {
			return
		}
	}
}

// expression reads over a constant expression.
func (r *cursor) expression() {
	for !r.bad {
		switch r.byte() {
		case 0x0b:
			return
		case 0x23, 0xd0, 0xd2, 0x41, 0x42: // an index, a type, a number
			for !r.bad && r.byte()&0x80 != 0 {
			}
		case 0x43:
			r.skip(4)
		case 0x44:
			r.skip(8)
		case 0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e: // sums and products
		default:
			r.bad = true
		}
	}
}

// plainSections is the module without custom sections: no engine refuses a module because of one.
func plainSections(m *wasm.Module) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for i := range m.Sections {
		s := &m.Sections[i]
		if s.ID == wasm.Custom {
			continue
		}
		out = binary.AppendUvarint(append(out, byte(s.ID)), uint64(s.End-s.Offset))
		out = append(out, m.Data[s.Offset:s.End]...)
	}
	return out
}

// invalid is the finding for code that breaks the rules.
func (c *checker) invalid() {
	switch {
	case c.judgement.problem != nil:
		c.add(Finding{Check: "code", Cause: "module-corrupt", Severity: Error, Blocks: true, Text: fmt.Sprintf("Its code breaks the rules of WebAssembly, so every engine refuses it: %s.", strings.TrimSuffix(c.judgement.problem.Error(), ".")),
			Says: "Failed to load Wasm bytecode", Details: []string{"Look which tool rewrote it last: `wasm-tools validate plugin.wasm`."}, Source: "WebAssembly core specification, validation"})
	case !c.judgement.known && len(c.m.Problems) == 0:
		c.unknown("Whether its code is valid is not known: it is too large for the validator here, or uses features that it does not judge.")
	}
}
