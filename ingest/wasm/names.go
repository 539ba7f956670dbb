package wasm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// names is what the name section tells, as places in the file: a module may have a hundred thousand names, and a report shows ten.
type names struct {
	module    nameRef
	functions []nameRef // by index
	globals   []nameRef
}

type nameRef struct{ index, offset, length uint32 }

// custom reads the custom sections that are known. Each of them may be wrong without harm to the rest.
func (m *Module) custom(s *Section, r *reader) {
	if s.Name != ".debug_info" && m.hasEarlier(s) {
		return
	}
	switch s.Name {
	case "name":
		m.readNames(r)
	case "producers":
		for range r.count(2, 100, "fields of producers") {
			field := r.text()
			n := r.count(2, 10_000, "producers")
			m.Producers = slices.Grow(m.Producers, n)
			for range n {
				p := Producer{Field: field, Name: r.text(), Version: r.text()}
				if r.err != nil {
					return
				}
				m.Producers = append(m.Producers, p)
			}
		}
	case "target_features":
		for range r.count(2, 10_000, "features") {
			f := string(rune(r.byte())) + r.text()
			if r.err != nil {
				return
			}
			m.Features = append(m.Features, f)
		}
	case "build_id":
		m.BuildID = r.take(uint64(r.u32()))
	case "external_debug_info":
		m.ExternalDebugInfo = r.text()
	case "sourceMappingURL":
		m.SourceMap = r.text()
	}
}

// hasEarlier says whether a section of the same name stands before: the first one counts.
func (m *Module) hasEarlier(s *Section) bool {
	switch s.Name {
	case "name", "producers", "target_features", "build_id", "external_debug_info", "sourceMappingURL":
	default:
		return false
	}
	for i := range m.Sections {
		if x := &m.Sections[i]; x.ID == Custom && x.Name == s.Name {
			return x.Start < s.Start
		}
	}
	return false
}

// readNames reads the name section. Names of locals and the like are skipped.
func (m *Module) readNames(r *reader) {
	for r.more() {
		id := r.byte()
		at := r.at()
		body := r.take(uint64(r.u32()))
		if r.err != nil {
			return
		}
		sub := &reader{b: body, base: r.at() - len(body)}
		switch id {
		case 0:
			o, n := sub.skipText()
			m.names.module = nameRef{0, o, n}
		case 1:
			m.names.functions = sub.nameMap(m.names.functions)
		case 7:
			m.names.globals = sub.nameMap(m.names.globals)
		}
		if sub.err != nil {
			r.err = &Problem{Offset: at, Text: fmt.Sprintf("names of kind %d: %s", id, sub.err.Text), Err: sub.err.Err}
			return
		}
	}
}

func (r *reader) nameMap(list []nameRef) []nameRef {
	n := r.count(2, 2*maxEntries, "names")
	if list == nil {
		list = make([]nameRef, 0, n)
	}
	for range n {
		i := r.u32()
		o, l := r.skipText()
		if r.err != nil {
			break
		}
		if len(list) < 2*maxEntries {
			list = append(list, nameRef{i, o, l})
		}
	}
	return list
}

// sort puts names in order of their index, which they are in unless a tool was careless. Of two names for one thing the first counts.
func (n *names) sort() {
	for _, l := range [][]nameRef{n.functions, n.globals} {
		by := func(a, b nameRef) int { return int(int64(a.index) - int64(b.index)) }
		if !slices.IsSortedFunc(l, by) {
			slices.SortStableFunc(l, by)
		}
	}
}

func (m *Module) lookup(list []nameRef, index uint32) string {
	i, ok := slices.BinarySearchFunc(list, index, func(n nameRef, x uint32) int { return int(int64(n.index) - int64(x)) })
	if !ok {
		return ""
	}
	return m.string(list[i])
}

func (m *Module) string(n nameRef) string {
	b := m.Data[n.offset : n.offset+n.length]
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// Name is what the module calls itself in its name section.
func (m *Module) Name() string { return m.string(m.names.module) }

// FunctionName is the name of a function as its name section has it, mangled as the compiler wrote it; empty when there is none.
func (m *Module) FunctionName(index uint32) string { return m.lookup(m.names.functions, index) }

// FunctionsNamed gives the functions whose name, as the name section has it, contains a word.
func (m *Module) FunctionsNamed(word string) iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, n := range m.names.functions {
			if bytes.Contains(m.Data[n.offset:n.offset+n.length], []byte(word)) && !yield(n.index) {
				return
			}
		}
	}
}

// GlobalName is the name of a global, such as "__stack_pointer"; empty when the module does not tell.
func (m *Module) GlobalName(index uint32) string { return m.lookup(m.names.globals, index) }

// Describe names a function by the best that is known of it: its name, that of its export or import, or its number as Envoy
// prints it.
func (m *Module) Describe(index uint32) string {
	if n := m.FunctionName(index); n != "" {
		return n
	}
	for _, e := range m.Exports {
		if e.Kind == FunctionKind && e.Index == index {
			return e.Name
		}
	}
	if im, ok := m.FunctionImport(index); ok {
		return im.Module + "." + im.Name
	}
	return fmt.Sprintf("unknown(function index:%d)", index)
}

// BuildIDHex is the build id in hex, empty when the module has none.
func (m *Module) BuildIDHex() string { return hex.EncodeToString(m.BuildID) }
