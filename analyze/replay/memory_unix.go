//go:build linux || darwin

package replay

import (
	"github.com/tetratelabs/wazero/experimental"
	"golang.org/x/sys/unix"
)

// linearMemory is the guest's memory: address space for all that it may ever take, of which only the pages that were touched cost anything.
// Growing it by copying, as the engine does by itself, would take a multiple of it.
type linearMemory struct{ space []byte }

// Allocate implements [experimental.MemoryAllocator].
func (m *linearMemory) Allocate(_, limit uint64) experimental.LinearMemory {
	m.Free()
	space, err := unix.Mmap(-1, 0, int(max(limit, 1)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err == nil {
		m.space = space
	}
	return m
}

// Reallocate gives the first size bytes; nil when there are not so many.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.space)) {
		return nil
	}
	return m.space[:size:size]
}

// Free gives the memory back. It may be called twice.
func (m *linearMemory) Free() {
	if m.space != nil {
		_ = unix.Munmap(m.space)
		m.space = nil
	}
}
