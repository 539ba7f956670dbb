package inspect

import (
	"fmt"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// maxList bounds each list of a [Module]; its total is told beside it. No plugin comes near.
const maxList = 5000

// Module is what a wasm module tells about itself.
type Module struct {
	Name      string   `json:"name,omitempty"` // what it calls itself
	SHA256    string   `json:"sha256"`         // of the file
	Code      string   `json:"code_sha256,omitempty"`
	BuildID   string   `json:"build_id,omitempty"`
	ABI       []string `json:"abi_versions"` // proxy-wasm versions that it claims: "0.2.1"
	Language  Guess    `json:"language"`
	Compiler  Guess    `json:"compiler"`
	SDK       Guess    `json:"sdk"`
	Also      []Guess  `json:"also"` // other tools that left their mark
	Names     bool     `json:"names"`
	DWARF     bool     `json:"dwarf"`
	GoTable   bool     `json:"go_table"` // Go's own table of functions and lines, which stands for DWARF
	DebugInfo string   `json:"external_debug_info,omitempty"`
	SourceMap string   `json:"source_map,omitempty"`

	Sections     []Section  `json:"sections"`
	Imports      []Import   `json:"imports"`
	ImportsTotal int        `json:"imports_total"`
	Exports      []Export   `json:"exports"`
	ExportsTotal int        `json:"exports_total"`
	Memories     []Limits   `json:"memories"`
	Tables       []Limits   `json:"tables"`
	Globals      int        `json:"globals"`
	Functions    int        `json:"functions"` // those that it defines
	Start        string     `json:"start,omitempty"`
	Data         uint64     `json:"data_bytes"`
	CodeOffset   int        `json:"code_offset,omitempty"` // what DWARF and wazero count from; V8 and wasmtime count from the start of the file
	Producers    []Producer `json:"producers"`
	Features     []string   `json:"target_features"`
	GoModules    []string   `json:"go_modules"` // of a Go program: "path version"
	Twins        []Twin     `json:"twins"`      // given modules with the same code
	Problems     []Problem  `json:"problems"`
}

// Guess is what the module seems to be made of, and why.
type Guess struct {
	Value   string `json:"value,omitempty"`
	Version string `json:"version,omitempty"`
	Why     string `json:"why,omitempty"`
}

// Section is a section as it lies in the file.
type Section struct {
	Name      string `json:"name"` // `code`, `custom "name"`
	Offset    int    `json:"offset"`
	Bytes     int    `json:"bytes"` // with its header
	Truncated bool   `json:"truncated,omitempty"`
}

// Import is something that the host has to provide.
type Import struct {
	Module string `json:"module"`
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Type   string `json:"type,omitempty"` // of a function: "i32 i32 -> i32"
}

// Export is something that the host may use.
type Export struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Type string `json:"type,omitempty"`
}

// Limits is the size of a memory or of a table.
type Limits struct {
	Min      uint64  `json:"min"` // pages of a memory, elements of a table
	Max      *uint64 `json:"max,omitempty"`
	PageSize uint64  `json:"page_size,omitempty"` // of a memory, bytes
	Imported bool    `json:"imported,omitempty"`
	Shared   bool    `json:"shared,omitempty"`
	Is64     bool    `json:"is64,omitempty"`
}

// Producer is an entry of the producers section.
type Producer struct {
	Field   string `json:"field"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Twin is a given module with the same Code section.
type Twin struct {
	Path  string `json:"path"`
	Names bool   `json:"names"`
	DWARF bool   `json:"dwarf"`
}

// Problem is something that could not be read.
type Problem struct {
	Offset int    `json:"offset"`
	Text   string `json:"text"`
}

// OfModule says what a module tells. Twins are not looked for.
func OfModule(m *wasm.Module) *Module {
	origin := m.Origin()
	_, table := m.GoTable()
	out := &Module{
		Name: valid(m.Name()), SHA256: m.FileHash(), Code: m.CodeHash(), BuildID: m.BuildIDHex(), ABI: []string{},
		Language: guess(origin.Language), Compiler: guess(origin.Compiler), SDK: guess(origin.SDK), Also: []Guess{},
		Names: m.HasNames(), DWARF: m.HasDWARF(), GoTable: table, DebugInfo: valid(m.ExternalDebugInfo), SourceMap: valid(m.SourceMap),
		Sections: []Section{}, Imports: []Import{}, ImportsTotal: len(m.Imports), Exports: []Export{}, ExportsTotal: len(m.Exports),
		Memories: limits(m.Memories), Tables: limits(m.Tables), Globals: len(m.Globals), Functions: len(m.Functions), CodeOffset: m.CodeOffset,
		Producers: []Producer{}, Features: []string{}, GoModules: []string{}, Twins: []Twin{}, Problems: []Problem{},
	}
	for _, v := range first(m.ABIVersions()) {
		out.ABI = append(out.ABI, valid(v))
	}
	for _, g := range origin.Also {
		out.Also = append(out.Also, guess(g))
	}
	for i := range first(m.Sections) {
		s := &m.Sections[i]
		out.Sections = append(out.Sections, Section{valid(s.Label()), s.Start, s.Size(), s.Truncated})
	}
	for _, im := range first(m.Imports) {
		x := Import{valid(im.Module), valid(im.Name), im.Kind.String(), ""}
		if im.Kind == wasm.FunctionKind && int64(im.Type) < int64(len(m.Types)) {
			x.Type = m.Types[im.Type].String()
		}
		out.Imports = append(out.Imports, x)
	}
	for _, e := range first(m.Exports) {
		x := Export{valid(e.Name), e.Kind.String(), ""}
		if t, ok := m.TypeOf(e.Index); ok && e.Kind == wasm.FunctionKind {
			x.Type = t.String()
		}
		out.Exports = append(out.Exports, x)
	}
	if m.Start != nil {
		out.Start = valid(m.Describe(*m.Start))
	}
	for _, s := range m.Segments {
		out.Data += uint64(s.End - s.Offset)
	}
	for _, p := range first(m.Producers) {
		out.Producers = append(out.Producers, Producer{valid(p.Field), valid(p.Name), valid(p.Version)})
	}
	for _, f := range first(m.Features) {
		out.Features = append(out.Features, valid(f))
	}
	if info, ok := m.GoBuild(); ok {
		if info.Main.Path != "" {
			out.GoModules = append(out.GoModules, valid(strings.TrimSpace(info.Main.Path+" "+info.Main.Version)))
		}
		for _, d := range first(info.Deps) {
			if d.Replace != nil {
				d = d.Replace
			}
			out.GoModules = append(out.GoModules, valid(strings.TrimSpace(d.Path+" "+d.Version)))
		}
	}
	for _, p := range m.Problems {
		out.Problems = append(out.Problems, Problem{p.Offset, valid(p.Text)})
	}
	return out
}

// first cuts a list to what is told of it.
func first[T any](list []T) []T { return list[:min(len(list), maxList)] }

func guess(g wasm.Guess) Guess { return Guess{valid(g.Value), valid(g.Version), valid(g.Why)} }

func limits(list []wasm.Limits) []Limits {
	out := []Limits{}
	for _, l := range first(list) {
		x := Limits{Min: l.Min, PageSize: l.PageSize, Imported: l.Imported, Shared: l.Shared, Is64: l.Is64}
		if l.HasMax {
			x.Max = &l.Max
		}
		out = append(out, x)
	}
	return out
}

// Pages words the size of a memory: "17 pages (1.1 MiB), at most 16,384".
func (l *Limits) Pages() string {
	size := l.PageSize
	if size == 0 {
		size = 65536
	}
	s := fmt.Sprintf("%d pages (%s)", l.Min, bytesOf(l.Min, size))
	if l.Max != nil {
		s += fmt.Sprintf(", at most %d (%s)", *l.Max, bytesOf(*l.Max, size))
	} else {
		s += ", no maximum of its own"
	}
	for _, x := range []struct {
		is   bool
		word string
	}{{l.Imported, "imported"}, {l.Shared, "shared"}, {l.Is64, "64-bit"}, {size != 65536, fmt.Sprintf("pages of %d bytes", size)}} {
		if x.is {
			s += ", " + x.word
		}
	}
	return s
}

func bytesOf(pages, size uint64) string {
	if pages > 1<<50/size {
		return "more than any machine has"
	}
	n := pages * size
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.4g GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
