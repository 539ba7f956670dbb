package replay

import (
	"encoding/binary"

	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// coreDump writes the state of a failed instance as a core dump of the tool conventions (Coredump.md): a module whose memory, globals and data are
// those of the instance, with the stack in custom sections. Pages of zeros are left out. The engine does not tell locals, so frames have none.
func coreDump(x *Machine, r *run) []byte {
	out := []byte{0, 'a', 's', 'm', 1, 0, 0, 0}
	name := x.Module.Name()
	if name == "" {
		name = r.h.sc.Plugin.Name
	}
	out = section(out, wasm.Custom, text(append(text(nil, "core"), 0), printable(name)))
	out = section(out, wasm.Custom, text(append(text(nil, "coremodules"), 1, 0), printable(name)))

	internal, _ := r.in.module.(experimental.InternalModule)
	globals, count := []byte(nil), 0
	instance := append(text(nil, "coreinstances"), 1, 0, 0)
	mem := r.in.module.Memory()
	if mem != nil {
		instance = append(instance, 1, 0)
	} else {
		instance = append(instance, 0)
	}
	for i := range x.Module.Globals {
		g := &x.Module.Globals[i]
		bits := uint64(0)
		if internal != nil && i < internal.NumGlobal() {
			bits = internal.Global(i).Get()
		}
		mutable := byte(0)
		if g.Mutable {
			mutable = 1
		}
		switch g.Type {
		case wasm.I32:
			globals = signed(append(globals, byte(g.Type), mutable, 0x41), int64(int32(bits)))
		case wasm.I64:
			globals = signed(append(globals, byte(g.Type), mutable, 0x42), int64(bits))
		case wasm.F32:
			globals = binary.LittleEndian.AppendUint32(append(globals, byte(g.Type), mutable, 0x43), uint32(bits))
		case wasm.F64:
			globals = binary.LittleEndian.AppendUint64(append(globals, byte(g.Type), mutable, 0x44), bits)
		default: // a vector or a reference: its place in the index space has to stay
			globals = append(globals, byte(wasm.I32), mutable, 0x41, 0)
		}
		globals = append(globals, 0x0b)
		count++
	}
	instance = number(instance, uint64(count))
	for i := range count {
		instance = number(instance, uint64(i))
	}
	out = section(out, wasm.Custom, instance)

	var data []byte
	segments := 0
	if mem != nil {
		pages := mem.Size() / pageSize
		limits := number([]byte{1, 1}, uint64(pages))
		out = section(out, wasm.MemorySection, number(limits, uint64(maxPages(x.Module, r.h.sc))))
		data, segments = dataSegments(mem.Read, mem.Size())
	}
	if count > 0 {
		out = section(out, wasm.GlobalSection, append(number(nil, uint64(count)), globals...))
	}
	if segments > 0 {
		out = section(out, wasm.DataSection, append(number(nil, uint64(segments)), data...))
	}

	stack := text(append(text(nil, "corestack"), 0), "main")
	var frames []byte
	n := 0
	if r.failure.trap != nil {
		for _, p := range r.failure.trap.frames {
			f, there := x.Module.Function(p.function)
			at := p.offset + uint64(x.Module.CodeOffset)
			if !there || at < uint64(f.Offset) || at > uint64(f.End) {
				continue
			}
			frames = number(number(append(frames, 0, 0), uint64(p.function)), at-uint64(f.Offset))
			frames = append(frames, 0, 0)
			n++
		}
	}
	return section(out, wasm.Custom, append(number(stack, uint64(n)), frames...))
}

// maxPages is how far the memory could have grown.
func maxPages(m *wasm.Module, sc *Scenario) uint32 {
	pages := uint32(16384)
	if sc.Limits.Memory > 0 {
		pages = uint32(sc.Limits.Memory) << 20 / pageSize
	}
	if len(m.Memories) > 0 && m.Memories[0].HasMax && m.Memories[0].Max < uint64(pages) {
		pages = uint32(m.Memories[0].Max)
	}
	return pages
}

// dataSegments writes what of a memory is not zero, in runs of whole blocks.
func dataSegments(read func(at, n uint32) ([]byte, bool), size uint32) (out []byte, n int) {
	const block = 4096
	var begin, end uint32
	flush := func() {
		if b, there := read(begin, end-begin); there && end > begin {
			out = signed(append(out, 0, 0x41), int64(int32(begin)))
			out = append(number(append(out, 0x0b), uint64(len(b))), b...)
			n++
		}
	}
	for at := uint64(0); at < uint64(size); at += block {
		b, _ := read(uint32(at), uint32(min(block, uint64(size)-at)))
		if zero(b) {
			continue
		}
		if uint32(at) != end || end == 0 || end-begin >= 16<<20 {
			flush()
			begin = uint32(at)
		}
		end = uint32(at) + uint32(len(b))
	}
	flush()
	return out, n
}

func zero(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
