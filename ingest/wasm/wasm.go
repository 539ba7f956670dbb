// Package wasm reads WebAssembly modules and wasm core dumps that come from strangers.
//
// What goes in is the whole file in memory: [Parse] gives a [Module], [ParseCoreDump] a [CoreDump]. What comes out keeps the file
// offset of everything, because that is what backtraces speak of: V8 and wasmtime print offsets from the start of the file, DWARF
// and wazero count from the start of the Code section's payload ([Module.CodeOffset]). [Find] looks for modules in files, folders
// and archives.
//
// Nothing in a module is believed. Counts are checked against the bytes left before anything is allocated, there is no recursion,
// what V8 would refuse for its size is not read, and what comes out takes at most a small multiple of the file. A module that is cut
// off or damaged gives what could be read, [Module.Problems] says what could not, and Parse returns the first of these as its error.
// Slices of the result point into the data that was given; names are copied out of it when they are asked for.
//
// What the package does not do: it does not validate code, and runs none; [Module.Instructions] only finds where instructions begin.
// Components (layer 1) and text modules are recognised and refused. DWARF is read by package dwarf, and put together with backtraces
// by package symbolize.
package wasm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"
	"strings"
)

// Reasons why something is no module that can be read. They are wrapped with what was found.
var (
	ErrNotWasm   = errors.New("not a wasm module")
	ErrComponent = errors.New("a component, not a module")
	ErrTruncated = errors.New("cut off")
	ErrEmpty     = fmt.Errorf("%w: the file is empty", ErrNotWasm)
)

// What is read at most, the same as V8 accepts; a module with more is refused by the proxy as well.
const (
	maxSize     = 1 << 30
	maxEntries  = 1_000_000 // types, imports, functions, exports, globals
	maxSegments = 100_000   // data segments, tables, memories
	maxSections = 65_536
)

// SectionID names a section. Custom sections have a name besides.
type SectionID byte

// The sections of a core module.
const (
	Custom SectionID = iota
	TypeSection
	ImportSection
	FunctionSection
	TableSection
	MemorySection
	GlobalSection
	ExportSection
	StartSection
	ElementSection
	CodeSection
	DataSection
	DataCountSection
	TagSection
)

var sectionNames = [...]string{"custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"}

func (id SectionID) String() string {
	if int(id) < len(sectionNames) {
		return sectionNames[id]
	}
	return fmt.Sprintf("section %d", byte(id))
}

// Section is one section as it lies in the file.
type Section struct {
	ID        SectionID
	Name      string // of a custom section
	Start     int    // file offset of the id byte
	Offset    int    // file offset of the payload; for a custom section, of what follows its name
	End       int    // file offset after the payload, at most the end of the file
	Truncated bool   // the section claims more bytes than there are
}

// Size is what the section takes in the file, header included.
func (s *Section) Size() int { return s.End - s.Start }

// Label is how people name the section: "code", or `custom "name"`.
func (s *Section) Label() string {
	if s.ID == Custom {
		return fmt.Sprintf("custom %q", s.Name)
	}
	return s.ID.String()
}

// ValType is the type of a value. Reference types of the GC proposal are all told as 0x63 and 0x64.
type ValType byte

// The value types that proxies use.
const (
	I32 ValType = 0x7f
	I64 ValType = 0x7e
	F32 ValType = 0x7d
	F64 ValType = 0x7c
)

func (t ValType) String() string {
	switch t {
	case I32:
		return "i32"
	case I64:
		return "i64"
	case F32:
		return "f32"
	case F64:
		return "f64"
	case 0x7b:
		return "v128"
	case 0x70:
		return "funcref"
	case 0x6f:
		return "externref"
	case 0x69:
		return "exnref"
	}
	if t >= 0x63 && t <= 0x74 {
		return "ref"
	}
	return fmt.Sprintf("type %#x", byte(t))
}

// FuncType is the signature of a function. An entry of the type section that is no function has neither parameters nor results.
type FuncType struct{ Params, Results []ValType }

// String writes the signature as Envoy's messages do: "i32 i32 -> i32".
func (f FuncType) String() string {
	list := func(t []ValType) string {
		if len(t) == 0 {
			return "void"
		}
		s := make([]string, len(t))
		for i := range t {
			s[i] = t[i].String()
		}
		return strings.Join(s, " ")
	}
	return list(f.Params) + " -> " + list(f.Results)
}

// Equal says whether two signatures are the same.
func (f FuncType) Equal(g FuncType) bool {
	same := func(a, b []ValType) bool {
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	return same(f.Params, g.Params) && same(f.Results, g.Results)
}

// Kind is what an import or export is.
type Kind byte

// The kinds.
const (
	FunctionKind Kind = iota
	TableKind
	MemoryKind
	GlobalKind
	TagKind
)

func (k Kind) String() string {
	switch k {
	case FunctionKind:
		return "function"
	case TableKind:
		return "table"
	case MemoryKind:
		return "memory"
	case GlobalKind:
		return "global"
	case TagKind:
		return "tag"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

// Import is something that the host has to provide.
type Import struct {
	Module, Name string
	Kind         Kind
	Type         uint32 // of a function: index into Types, see [Module.TypeOf]
}

// Export is something that the host may use. Index counts in the index space of its kind, imported things first.
type Export struct {
	Name  string
	Kind  Kind
	Index uint32
}

// Limits is the size of a memory (in pages, of 64 KiB unless PageSize says otherwise) or of a table (in elements).
type Limits struct {
	Min, Max uint64
	HasMax   bool
	Shared   bool
	Is64     bool
	PageSize uint64 // of a memory, in bytes
	Imported bool
}

// Const is the value of an initialiser: a number, or a reference to something that is only known to the host.
type Const struct {
	Known bool // Bits is the value
	Bits  uint64
	Ref   string // what it is otherwise: "global 3", "function 7", "computed"
}

// Global is a global variable.
type Global struct {
	Type     ValType
	Mutable  bool
	Imported bool
	Init     Const
}

// Function is a function that the module defines.
type Function struct {
	Index       uint32 // in the function index space, imported functions first
	Type        uint32 // index into Types
	Offset, End uint32 // file offsets of the body: from its declaration of locals, after its length, to behind its last instruction
}

// Data is a data segment.
type Data struct {
	Memory      uint32
	Active      bool   // copied into memory when the module starts
	Address     uint64 // where to; meaningful when Placed
	Placed      bool   // active, and its address is a plain number
	Offset, End uint32 // file offsets of its bytes
}

// Producer is an entry of the producers section.
type Producer struct {
	Field   string // language, processed-by, sdk
	Name    string // rustc
	Version string // "1.95.0 (59807616e 2026-04-14)"
}

// Problem is something that could not be read, or that is not as it should be.
type Problem struct {
	Offset int // in the file
	Text   string
	Err    error // ErrTruncated, or nil
}

func (p Problem) Error() string { return fmt.Sprintf("at %#x: %s", p.Offset, p.Text) }

// Unwrap gives the reason.
func (p Problem) Unwrap() error { return p.Err }

// Module is a core module. Index spaces of tables, memories and globals begin with what is imported.
type Module struct {
	Data     []byte // the file
	Sections []Section

	Types             []FuncType
	Imports           []Import
	Exports           []Export
	Tables            []Limits
	Memories          []Limits
	Globals           []Global
	Functions         []Function // in order of their index, which is also that of their offsets
	ImportedFunctions int
	Start             *uint32 // function that runs when the module is instantiated
	Elements          int     // element segments
	Segments          []Data

	// CodeOffset is the file offset of the Code section's payload, which DWARF and wazero count from; 0 when there is no code.
	CodeOffset int

	Producers         []Producer
	Features          []string // of target_features, with their sign: "+bulk-memory"
	BuildID           []byte   // of the custom section build_id
	ExternalDebugInfo string   // where the build put the debug information; shown, never opened
	SourceMap         string   // of sourceMappingURL; shown, never opened

	Problems []Problem

	names   names
	declare []uint32 // types of the function section
}

var magic = []byte("\x00asm")

// Parse reads a module. When data begins with the header of a core module, the result holds all that could be read, even when the
// error is not nil: it is then the first of Problems. The module keeps data.
func Parse(data []byte) (*Module, error) {
	if err := header(data); err != nil {
		return nil, err
	}
	m := &Module{Data: data}
	m.sections()
	m.finish()
	if len(m.Problems) > 0 {
		return m, m.Problems[0]
	}
	return m, nil
}

// header says what is wrong with the first bytes.
func header(b []byte) error {
	switch {
	case len(b) == 0:
		return ErrEmpty
	case len(b) < 8 && bytes.HasPrefix(magic, b[:min(4, len(b))]):
		return fmt.Errorf("%w: %d bytes, not even the header of 8", ErrTruncated, len(b))
	case bytes.HasPrefix(bytes.TrimLeft(b[:min(len(b), 256)], " \t\r\n"), []byte("(module")):
		return fmt.Errorf("%w: this is the text format; assemble it first: wat2wasm FILE", ErrNotWasm)
	case !bytes.HasPrefix(b, magic):
		return fmt.Errorf("%w: it begins with %q", ErrNotWasm, b[:min(len(b), 8)])
	case len(b) > maxSize:
		return fmt.Errorf("%w: %d bytes, and no engine loads more than 1 GiB", ErrNotWasm, len(b))
	}
	version, layer := binary.LittleEndian.Uint16(b[4:]), binary.LittleEndian.Uint16(b[6:])
	switch {
	case layer == 1:
		return fmt.Errorf("%w: layer 1, version %#x; proxies load core modules only, so build for wasm32-wasip1 and not for wasip2", ErrComponent, version)
	case layer != 0 || version != 1:
		return fmt.Errorf("%w: version %d, layer %d", ErrNotWasm, version, layer)
	}
	return nil
}

func (m *Module) problem(offset int, format string, args ...any) {
	if len(m.Problems) < 100 {
		m.Problems = append(m.Problems, Problem{Offset: offset, Text: fmt.Sprintf(format, args...)})
	}
}

// FileHash is the sha256 of the file, hex.
func (m *Module) FileHash() string { return hash(m.Data) }

// CodeHash is the sha256 of the Code section's payload, hex: the same for a build and its stripped twin, because stripping leaves
// code alone. Empty when there is no code, or not all of it.
func (m *Module) CodeHash() string {
	s := m.Section(CodeSection)
	if s == nil || s.Truncated {
		return ""
	}
	return hash(m.Data[s.Offset:s.End])
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Section finds the first section with that id.
func (m *Module) Section(id SectionID) *Section {
	for i := range m.Sections {
		if m.Sections[i].ID == id {
			return &m.Sections[i]
		}
	}
	return nil
}

// Custom gives the content of the first custom section of that name, nil when there is none.
func (m *Module) Custom(name string) []byte {
	for i := range m.Sections {
		if s := &m.Sections[i]; s.ID == Custom && s.Name == name {
			return m.Data[s.Offset:s.End:s.End]
		}
	}
	return nil
}

// HasNames says whether the module names its functions: without that, Envoy prints no backtrace at all.
func (m *Module) HasNames() bool { return len(m.names.functions) > 0 }

// HasDWARF says whether the module carries debug information.
func (m *Module) HasDWARF() bool {
	return len(m.Custom(".debug_info")) > 0 && len(m.Custom(".debug_abbrev")) > 0
}

// FunctionAt finds the function whose body holds a file offset.
func (m *Module) FunctionAt(offset uint64) (f Function, ok bool) {
	i := sort.Search(len(m.Functions), func(i int) bool { return uint64(m.Functions[i].End) > offset })
	if i < len(m.Functions) && uint64(m.Functions[i].Offset) <= offset {
		return m.Functions[i], true
	}
	return f, false
}

// Function finds a function that the module defines by its index.
func (m *Module) Function(index uint32) (f Function, ok bool) {
	i := int64(index) - int64(m.ImportedFunctions)
	if i < 0 || i >= int64(len(m.Functions)) {
		return f, false
	}
	return m.Functions[i], true
}

// FunctionImport finds an imported function by its index.
func (m *Module) FunctionImport(index uint32) (im Import, ok bool) {
	if int64(index) >= int64(m.ImportedFunctions) {
		return im, false
	}
	for _, im := range m.Imports {
		if im.Kind != FunctionKind {
			continue
		}
		if index == 0 {
			return im, true
		}
		index--
	}
	return im, false
}

// TypeOf is the signature of a function, imported or defined. ok is false when the module does not tell.
func (m *Module) TypeOf(index uint32) (t FuncType, ok bool) {
	var ti uint32
	if im, is := m.FunctionImport(index); is {
		ti = im.Type
	} else if i := int64(index) - int64(m.ImportedFunctions); i >= 0 && i < int64(len(m.declare)) {
		ti = m.declare[i]
	} else {
		return t, false
	}
	if int64(ti) >= int64(len(m.Types)) {
		return t, false
	}
	return m.Types[ti], true
}

// Export finds an export by its name.
func (m *Module) Export(name string) (e Export, ok bool) {
	for _, e := range m.Exports {
		if e.Name == name {
			return e, true
		}
	}
	return e, false
}

// abiMarker begins the name of the exported function by which a plugin says what it was built for.
const abiMarker = "proxy_abi_version_"

// ABIVersions lists the proxy-wasm versions that the module claims, as "0.2.1". A plugin has one; without it, no proxy loads it.
func (m *Module) ABIVersions() []string {
	var out []string
	for _, e := range m.Exports {
		if v, ok := strings.CutPrefix(e.Name, abiMarker); ok && e.Kind == FunctionKind {
			out = append(out, strings.ReplaceAll(v, "_", "."))
		}
	}
	return out
}
