package replay

import (
	"encoding/binary"
	"slices"
)

// WASI as proxy-wasm-cpp-host has it (src/exports.cc): a log, a clock, random numbers, environment variables. No file, no socket, no process; the
// errors are the ones that Envoy gives (hosts.yaml, wasi_errno).
const (
	wasiBadF   status = 8
	wasiInval  status = 28
	wasiNoEnt  status = 44
	wasiNoSys  status = 52
	wasiNotDir status = 20
	wasiNotSup status = 58
)

func fixed(s status) func(*host, guest, []uint64) status {
	return func(*host, guest, []uint64) status { return s }
}

// ofLog answers 0 for standard output and error, which are the log, and an error for everything else.
func ofLog(_ *host, _ guest, a []uint64) status {
	if a[0] == 1 || a[0] == 2 {
		return ok
	}
	return wasiBadF
}

func fdWrite(h *host, g guest, a []uint64) status {
	if a[0] != 1 && a[0] != 2 {
		return wasiBadF
	}
	mem := g.mod.Memory()
	if mem == nil || a[2] > 1<<20 {
		return wasiInval
	}
	var line []byte
	written := uint32(0)
	for i := range uint32(a[2]) {
		at, in := mem.ReadUint32Le(uint32(a[1]) + 8*i)
		n, in2 := mem.ReadUint32Le(uint32(a[1]) + 8*i + 4)
		if !in || !in2 {
			return 21 // EFAULT
		}
		part, in := mem.Read(at, n)
		if !in {
			return 21
		}
		written += n
		line = append(line, part[:min(len(part), max(maxLine+2-len(line), 0))]...)
	}
	if written > 0 {
		if n := len(line); line[n-1] == '\n' {
			line = line[:n-1]
		}
		h.say("plugin", map[uint64]string{1: "info", 2: "error"}[a[0]], line)
	}
	if !g.put32(a[3], written) {
		return 21
	}
	return ok
}

func fdStat(_ *host, g guest, a []uint64) status {
	if a[0] != 1 && a[0] != 2 {
		return wasiBadF
	}
	mem := g.mod.Memory()
	stat := make([]byte, 24)
	stat[0] = 2                                   // a character device
	binary.LittleEndian.PutUint64(stat[8:], 1<<6) // rights: fd_write
	if mem == nil || !mem.Write(uint32(a[1]), stat) {
		return 21
	}
	return ok
}

func clockTime(h *host, g guest, a []uint64) status {
	if a[0] > 1 {
		return wasiNotSup
	}
	if !g.put64(a[2], h.clock()) {
		return 21
	}
	return ok
}

func clockRes(_ *host, g guest, a []uint64) status {
	if a[0] > 1 {
		return wasiNotSup
	}
	if !g.put64(a[1], 1) {
		return 21
	}
	return ok
}

// randomGet gives the numbers of splitmix64 from the scenario's seed: the same in every replay.
func randomGet(h *host, g guest, a []uint64) status {
	if a[1] > 64<<10 {
		return wasiInval
	}
	b := make([]byte, 0, a[1]+8)
	for uint64(len(b)) < a[1] {
		h.random += 0x9e3779b97f4a7c15
		z := h.random
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		b = binary.LittleEndian.AppendUint64(b, z^z>>31)
	}
	mem := g.mod.Memory()
	if mem == nil || !mem.Write(uint32(a[0]), b[:a[1]]) {
		return 21
	}
	return ok
}

func (h *host) environment() []string {
	var list []string
	for k, v := range h.sc.Environment {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

func environSizes(h *host, g guest, a []uint64) status {
	n := 0
	list := h.environment()
	for _, e := range list {
		n += len(e) + 1
	}
	if !g.put32(a[0], uint32(len(list))) || !g.put32(a[1], uint32(n)) {
		return 21
	}
	return ok
}

func environGet(h *host, g guest, a []uint64) status {
	at := uint32(a[1])
	mem := g.mod.Memory()
	for i, e := range h.environment() {
		if mem == nil || !g.put32(a[0]+4*uint64(i), at) || !mem.WriteString(at, e+"\x00") {
			return 21
		}
		at += uint32(len(e)) + 1
	}
	return ok
}

func argsSizes(_ *host, g guest, a []uint64) status {
	if !g.put32(a[0], 0) || !g.put32(a[1], 0) {
		return 21
	}
	return ok
}

// procExit returns, as Envoy's does: the guest goes on, usually into `unreachable`.
func procExit(h *host, _ guest, a []uint64) status {
	h.warn("exit", "the plugin calls proc_exit(%d): Envoy ignores that, and the plugin goes on", int32(a[0]))
	return ok
}

// pollOneoff succeeds from Envoy 1.39 on, at once: a plugin cannot sleep.
func pollOneoff(h *host, g guest, a []uint64) status {
	if h.version.before(1, 39) {
		return wasiNoSys
	}
	if !g.put32(a[3], uint32(a[2])) {
		return 21
	}
	return ok
}

// isWASI says whether an import belongs to WASI, under the two names that Envoy registers.
func isWASI(module string) bool {
	return module == "wasi_snapshot_preview1" || module == "wasi_unstable"
}

// allowedAtStart are the calls that _initialize, _start and main may make (hosts.yaml, restricted_at_start). Anything else traps from Envoy 1.24 on.
func (h *host) allowedAtStart(l *linked) bool {
	switch l.name {
	case "proxy_log":
		return l.module == "env"
	case "fd_write", "args_sizes_get", "args_get", "environ_sizes_get", "environ_get", "fd_prestat_get", "fd_prestat_dir_name", "clock_time_get", "random_get":
		return true
	case "fd_fdstat_get", "fd_fdstat_set_flags":
		return !h.version.before(1, 33)
	case "emscripten_notify_memory_growth":
		return !h.version.before(1, 37)
	case "sched_yield", "fd_read", "fd_seek", "fd_close", "path_open", "proc_exit":
		return false
	}
	return isWASI(l.module) && !h.version.before(1, 39)
}

// restricted says whether Envoy would throw out the guest for this call.
func (h *host) restricted(l *linked) bool {
	if h.version.before(1, 24) {
		return false
	}
	return h.allocating || h.starting && !h.allowedAtStart(l)
}

func (h *host) restriction() string {
	if h.allocating {
		return "while the proxy allocates memory in the plugin"
	}
	return "while the plugin starts (_initialize, _start, main)"
}
