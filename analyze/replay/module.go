package replay

import (
	"errors"
	"fmt"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// maxModule bounds the modules that are compiled: the engine takes some twenty times their size in memory.
const maxModule = 64 << 20

// prepare writes the module anew for the engine, so that what it prints about a failure can be trusted and is complete:
//
//   - Imported functions are called "h" and a number. A module may import one name with two signatures, which the engine could not link, and
//     may choose names that look like frames of a backtrace.
//   - Names and debug information are left out for the same reason; the engine then prints function numbers.
//   - One line of made-up debug information covers the whole Code section. wazero keeps and prints offsets only for modules that have some.
//   - An imported memory or table becomes the module's own: V8 makes those for the module, whatever their names (hosts.yaml, memory_table).
//
// The Code section stays as it is, so that offsets from its start stay true.
func prepare(m *wasm.Module) ([]byte, error) {
	if len(m.Data) > maxModule {
		return nil, fmt.Errorf("the module has %d MiB, more than the %d that are compiled", len(m.Data)>>20, maxModule>>20)
	}
	out := append([]byte{}, m.Data[:8]...)
	own := memorySection(m)
	for i := range m.Sections {
		s := &m.Sections[i]
		if s.Truncated {
			return nil, fmt.Errorf("the module is cut off in its section %s", s.Label())
		}
		if own != nil && s.ID != wasm.Custom && s.ID > wasm.MemorySection && s.ID < wasm.TagSection {
			out, own = section(out, wasm.MemorySection, own), nil
		}
		switch s.ID {
		case wasm.Custom:
		case wasm.ImportSection:
			body, err := importSection(m)
			if err != nil {
				return nil, err
			}
			out = section(out, s.ID, body)
		default:
			out = section(out, s.ID, m.Data[s.Offset:s.End])
		}
	}
	for _, t := range m.Tables {
		if t.Imported {
			return nil, errors.New("the module imports a table, which replay cannot provide")
		}
	}
	return lineTable(out), nil
}

// importSection lists the imported functions under the names that [program.link] provides.
func importSection(m *wasm.Module) ([]byte, error) {
	var body []byte
	n := 0
	for _, im := range m.Imports {
		switch im.Kind {
		case wasm.FunctionKind:
			body = append(body, 1, 'h')
			body = text(body, fmt.Sprint(n))
			body = append(body, byte(wasm.FunctionKind))
			body = number(body, uint64(im.Type))
			n++
		case wasm.MemoryKind, wasm.TableKind:
		default:
			return nil, fmt.Errorf("a missing import, for which Envoy refuses the module: %s.%s (a %s)", printable(im.Module), printable(im.Name), im.Kind)
		}
	}
	return append(number(nil, uint64(n)), body...), nil
}

// memorySection defines the memory that the module imports; nil when it imports none.
func memorySection(m *wasm.Module) []byte {
	if len(m.Memories) != 1 || !m.Memories[0].Imported {
		return nil
	}
	l := m.Memories[0]
	flags := byte(0)
	if l.HasMax {
		flags |= 1
	}
	if l.Shared {
		flags |= 2
	}
	body := number([]byte{1, flags}, l.Min)
	if l.HasMax {
		body = number(body, l.Max)
	}
	return body
}

// codeEnd is the offset up to which the line table reaches: no Code section is larger.
const codeEnd = 0x7fffff00

// lineTable appends debug information of one compile unit with one line, DWARF 4: "a program from 1 to codeEnd". Address 0 counts as dead code.
func lineTable(out []byte) []byte {
	u32 := func(b []byte, n uint32) []byte { return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) }
	abbrev := []byte{1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0} // compile unit: stmt_list, low_pc, high_pc as a length
	unit := []byte{4, 0}                                                      // version
	unit = u32(unit, 0)                                                       // abbreviations
	unit = append(unit, 4, 1)                                                 // bytes of an address; the first abbreviation
	unit = u32(unit, 0)                                                       // lines
	unit = u32(unit, 1)
	unit = u32(unit, codeEnd-1)
	head := []byte{1, 1, 1, 0, 1, 1} // units of a byte, statements, lines from 0, one opcode beyond none
	head = append(head, 0)           // no folders
	head = append(head, 'w', 0, 0, 0, 0, 0)
	program := u32([]byte{0, 5, 2}, 1) // address 1
	program = append(program, 1)       // a row
	program = append(program, 2)       // advance
	program = number(program, codeEnd-1)
	program = append(program, 0, 1, 1) // the end
	head[5] = 13                       // standard opcodes end at 12
	lengths := []byte{0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1}
	head = append(append(append([]byte{}, head[:6]...), lengths...), head[6:]...)
	lines := []byte{4, 0}
	lines = u32(lines, uint32(len(head)))
	lines = append(append(lines, head...), program...)
	for _, s := range []struct {
		name string
		data []byte
	}{
		{".debug_abbrev", abbrev},
		{".debug_info", append(u32(nil, uint32(len(unit))), unit...)},
		{".debug_line", append(u32(nil, uint32(len(lines))), lines...)},
		{".debug_str", []byte{0}},
	} {
		out = section(out, wasm.Custom, append(text(nil, s.name), s.data...))
	}
	return out
}

func section(out []byte, id wasm.SectionID, body []byte) []byte {
	out = append(out, byte(id))
	return append(number(out, uint64(len(body))), body...)
}

func text(b []byte, s string) []byte { return append(number(b, uint64(len(s))), s...) }

// number appends an unsigned LEB128.
func number(b []byte, n uint64) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// signed appends a signed LEB128.
func signed(b []byte, n int64) []byte {
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}
