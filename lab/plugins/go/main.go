//go:build wasip1

// A Proxy-Wasm plugin in plain Go, without an SDK: the callbacks of ABI 0.2.1 as exports, the host calls it needs as imports. The
// plugin configuration says how it fails (panic, nil-map, overflow), the path /boom says when.
package main

import (
	"fmt"
	"strings"
	"unsafe"
)

func main() {}

//go:wasmimport env proxy_get_buffer_bytes
func getBuffer(kind, start, size int32, data, length unsafe.Pointer) int32

//go:wasmimport env proxy_get_header_map_value
func getHeader(kind int32, key unsafe.Pointer, keyLen int32, data, length unsafe.Pointer) int32

//go:wasmimport env proxy_log
func proxyLog(level int32, text unsafe.Pointer, length int32) int32

var (
	mode  string
	kept  = map[uint32][]byte{} // what the host asked for, until it is read
	count map[string]int        // never made: the nil map of mode nil-map
)

//go:wasmexport proxy_abi_version_0_2_1
func abi() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) uint32 {
	b := make([]byte, max(size, 1))
	at := uint32(uintptr(unsafe.Pointer(&b[0])))
	kept[at] = b
	return at
}

//go:wasmexport proxy_on_vm_start
func vmStart(id, size int32) int32 { return 1 }

//go:wasmexport proxy_on_configure
func configure(id, size int32) int32 {
	var at, n uint32
	if getBuffer(7, 0, size, unsafe.Pointer(&at), unsafe.Pointer(&n)) == 0 {
		mode = take(at, n)
	}
	say(2, "configured "+mode)
	return 1
}

//go:wasmexport proxy_on_context_create
func contextCreate(id, root int32) {}

//go:wasmexport proxy_on_request_headers
func requestHeaders(id, headers, end int32) int32 {
	if path := header(":path"); strings.HasPrefix(path, "/boom") {
		handle(path)
	}
	return 0
}

//go:noinline
func handle(path string) {
	switch mode {
	case "panic":
		panic(fmt.Sprintf("no rule for %s", path))
	case "nil-map":
		count[path]++
	case "index":
		say(2, strings.Split(path, "/")[len(mode)])
	}
}

func header(name string) string {
	var at, n uint32
	key := []byte(name)
	if getHeader(0, unsafe.Pointer(&key[0]), int32(len(key)), unsafe.Pointer(&at), unsafe.Pointer(&n)) != 0 {
		return ""
	}
	return take(at, n)
}

func take(at, n uint32) string {
	b := kept[at]
	delete(kept, at)
	if uint32(len(b)) < n {
		return ""
	}
	return string(b[:n])
}

func say(level int32, text string) {
	proxyLog(level, unsafe.Pointer(unsafe.StringData(text)), int32(len(text)))
}
