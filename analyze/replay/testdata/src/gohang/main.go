//go:build wasip1

// A plugin whose request callback never returns: the table of its cache is full, and looking a key up goes round for ever. It has nothing
// but the runtime, to be small.
package main

import "unsafe"

func main() {}

//go:wasmimport env proxy_log
func proxyLog(level int32, text unsafe.Pointer, length int32) int32

//go:wasmexport proxy_abi_version_0_2_1
func abi() {}

var kept [][]byte

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 {
	b := make([]byte, max(size, 1))
	kept = append(kept, b)
	return uint32(uintptr(unsafe.Pointer(&b[0])))
}

//go:wasmexport proxy_on_vm_start
func vmStart(id, size int32) int32 { return 1 }

//go:wasmexport proxy_on_configure
func configure(id, size int32) int32 {
	for i := range table {
		table[i] = uint32(i) + 1
	}
	return 1
}

//go:wasmexport proxy_on_context_create
func contextCreate(id, root int32) {}

var table [64]uint32

//go:noinline
func lookup(key uint32) int {
	for i := key % uint32(len(table)); ; i = (i + 1) % uint32(len(table)) {
		if table[i] == key || table[i] == 0 {
			return int(i)
		}
	}
}

//go:wasmexport proxy_on_request_headers
func requestHeaders(id, headers, end int32) int32 {
	text := "looking for a free place"
	proxyLog(2, unsafe.Pointer(unsafe.StringData(text)), int32(len(text)))
	return int32(lookup(1000)) & 0
}
