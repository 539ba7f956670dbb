//go:build !linux && !darwin

package replay

import "github.com/tetratelabs/wazero/experimental"

// linearMemory is the guest's memory. It grows by copying.
type linearMemory struct {
	space []byte
	limit uint64
}

// Allocate implements [experimental.MemoryAllocator].
func (m *linearMemory) Allocate(_, limit uint64) experimental.LinearMemory {
	m.limit = limit
	return m
}

// Reallocate gives size bytes that begin with those before; nil when there may not be so many.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > m.limit {
		return nil
	}
	if size > uint64(cap(m.space)) {
		m.space = append(make([]byte, 0, size), m.space...)
	}
	m.space = m.space[:size]
	return m.space
}

// Free gives the memory back. It may be called twice.
func (m *linearMemory) Free() { m.space = nil }
