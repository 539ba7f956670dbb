package replay

import (
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// hostCall is a function that the stub offers. Its signature is written in letters: i for i32, I for i64; before the colon the parameters.
type hostCall struct {
	signature string
	run       func(*host, guest, []uint64) status
}

// envCalls are those of module env for all versions of the interface (proxy-wasm-cpp-host, exports.h, FOR_ALL_HOST_FUNCTIONS).
var envCalls = map[string]hostCall{
	"proxy_log":                          {"iii:i", proxyLog},
	"proxy_get_log_level":                {"i:i", logLevel},
	"proxy_get_current_time_nanoseconds": {"i:i", currentTime},
	"proxy_set_tick_period_milliseconds": {"i:i", setTick},
	"proxy_set_effective_context":        {"i:i", effectiveContext},
	"proxy_done":                         {":i", proxyDone},
	"proxy_get_status":                   {"iii:i", getStatus},
	"proxy_get_configuration":            {"ii:i", getConfiguration},
	"proxy_get_property":                 {"iiii:i", getProperty},
	"proxy_set_property":                 {"iiii:i", setProperty},
	"proxy_get_header_map_value":         {"iiiii:i", getHeader},
	"proxy_get_header_map_pairs":         {"iii:i", getHeaders},
	"proxy_get_header_map_size":          {"ii:i", headersSize},
	"proxy_set_header_map_pairs":         {"iii:i", setHeaders},
	"proxy_add_header_map_value":         {"iiiii:i", addHeader},
	"proxy_replace_header_map_value":     {"iiiii:i", replaceHeader},
	"proxy_remove_header_map_value":      {"iii:i", removeHeader},
	"proxy_get_buffer_bytes":             {"iiiii:i", getBuffer},
	"proxy_get_buffer_status":            {"iii:i", bufferStatus},
	"proxy_set_buffer_bytes":             {"iiiii:i", setBuffer},
	"proxy_send_local_response":          {"iiiiiiii:i", localResponse},
	"proxy_continue_stream":              {"i:i", continueStream},
	"proxy_continue_request":             {":i", continueRequest},
	"proxy_continue_response":            {":i", continueResponse},
	"proxy_close_stream":                 {"i:i", closeStream},
	"proxy_clear_route_cache":            {":i", nothing},
	"proxy_http_call":                    {"iiiiiiiiii:i", httpCall},
	"proxy_grpc_call":                    {"iiiiiiiiiiii:i", grpcCall},
	"proxy_grpc_stream":                  {"iiiiiiiii:i", grpcStream},
	"proxy_grpc_send":                    {"iiii:i", grpcSend},
	"proxy_grpc_close":                   {"i:i", grpcEnd},
	"proxy_grpc_cancel":                  {"i:i", grpcEnd},
	"proxy_get_shared_data":              {"iiiii:i", getShared},
	"proxy_set_shared_data":              {"iiiii:i", setShared},
	"proxy_register_shared_queue":        {"iii:i", registerQueue},
	"proxy_resolve_shared_queue":         {"iiiii:i", resolveQueue},
	"proxy_enqueue_shared_queue":         {"iii:i", enqueue},
	"proxy_dequeue_shared_queue":         {"iii:i", dequeue},
	"proxy_define_metric":                {"iiii:i", defineMetric},
	"proxy_increment_metric":             {"iI:i", incrementMetric},
	"proxy_record_metric":                {"iI:i", recordMetric},
	"proxy_get_metric":                   {"ii:i", getMetric},
	"proxy_call_foreign_function":        {"iiiiii:i", foreignFunction},
	"envoy_resolve_dns":                  {"iii:i", resolveDNS},
	"emscripten_notify_memory_growth":    {"i:", nothing},
	"pthread_equal":                      {"ii:i", func(_ *host, _ guest, a []uint64) status { return map[bool]status{true: 1}[a[0] == a[1]] }},
}

// wasiCalls are those of WASI, under both of its names.
var wasiCalls = map[string]hostCall{
	"fd_write":                {"iiii:i", fdWrite},
	"clock_time_get":          {"iIi:i", clockTime},
	"clock_res_get":           {"ii:i", clockRes},
	"random_get":              {"ii:i", randomGet},
	"environ_sizes_get":       {"ii:i", environSizes},
	"environ_get":             {"ii:i", environGet},
	"args_sizes_get":          {"ii:i", argsSizes},
	"args_get":                {"ii:i", fixed(ok)},
	"proc_exit":               {"i:", procExit},
	"sched_yield":             {":i", fixed(ok)},
	"poll_oneoff":             {"iiii:i", pollOneoff},
	"fd_fdstat_get":           {"ii:i", fdStat},
	"fd_fdstat_set_flags":     {"ii:i", fixed(wasiNoSys)},
	"fd_fdstat_set_rights":    {"iII:i", ofLog},
	"fd_prestat_get":          {"ii:i", fixed(wasiBadF)},
	"fd_prestat_dir_name":     {"iii:i", fixed(wasiNoSys)},
	"fd_read":                 {"iiii:i", fixed(wasiNoSys)},
	"fd_seek":                 {"iIii:i", fixed(ok)},
	"fd_close":                {"i:i", fixed(ok)},
	"fd_advise":               {"iIIi:i", fixed(ok)},
	"fd_allocate":             {"iII:i", ofLog},
	"fd_datasync":             {"i:i", ofLog},
	"fd_sync":                 {"i:i", ofLog},
	"fd_tell":                 {"ii:i", ofLog},
	"fd_filestat_get":         {"ii:i", fixed(wasiBadF)},
	"fd_filestat_set_size":    {"iI:i", ofLog},
	"fd_filestat_set_times":   {"iIIi:i", ofLog},
	"fd_pread":                {"iiiIi:i", fixed(wasiNoSys)},
	"fd_pwrite":               {"iiiIi:i", func(h *host, g guest, a []uint64) status { return fdWrite(h, g, []uint64{a[0], a[1], a[2], a[4]}) }},
	"fd_readdir":              {"iiiIi:i", fixed(wasiNotDir)},
	"fd_renumber":             {"ii:i", fixed(wasiNotSup)},
	"path_open":               {"iiiiiIIii:i", fixed(wasiNoEnt)},
	"path_create_directory":   {"iii:i", fixed(wasiNotSup)},
	"path_filestat_get":       {"iiiii:i", fixed(wasiNotSup)},
	"path_filestat_set_times": {"iiiiIIi:i", fixed(wasiNotSup)},
	"path_link":               {"iiiiii:i", fixed(wasiNotSup)},
	"path_readlink":           {"iiiiii:i", fixed(wasiNotSup)},
	"path_remove_directory":   {"iii:i", fixed(wasiNotSup)},
	"path_rename":             {"iiiiii:i", fixed(wasiNotSup)},
	"path_symlink":            {"iiii:i", fixed(wasiNotSup)},
	"path_unlink_file":        {"iii:i", fixed(wasiNotSup)},
	"sock_accept":             {"iii:i", fixed(wasiNotSup)},
	"sock_recv":               {"iiiiii:i", fixed(wasiNotSup)},
	"sock_send":               {"iiiii:i", fixed(wasiNotSup)},
	"sock_shutdown":           {"ii:i", fixed(wasiNotSup)},
}

// linked is an import with what answers it.
type linked struct {
	module, name    string
	params, results []api.ValueType
	capability      string // the name that a capability restriction has for it; empty when it cannot be restricted
	call            func(*host, guest, []uint64) status
	why             string // without call: why not
}

func (l *linked) label() string { return printable(l.module) + "." + printable(l.name) }

// link finds an answer for each imported function.
func link(m *wasm.Module) []linked {
	var list []linked
	for _, im := range m.Imports {
		if im.Kind != wasm.FunctionKind {
			continue
		}
		l := linked{module: im.Module, name: im.Name}
		signature := "?"
		if int(im.Type) < len(m.Types) {
			t := m.Types[im.Type]
			l.params, l.results = types(t.Params), types(t.Results)
			signature = letters(t.Params) + ":" + letters(t.Results)
		}
		var c hostCall
		there := false
		switch {
		case im.Module == "env":
			c, there = envCalls[im.Name]
		case isWASI(im.Module):
			c, there = wasiCalls[im.Name]
		}
		switch {
		case !there:
			l.why = "no Envoy has it, and refuses the module (missing import)"
		case c.signature != signature:
			l.why = fmt.Sprintf("Envoy has it with another signature, and refuses the module (import type mismatch, %s)", im.Name)
		default:
			l.call = c.run
			l.capability = im.Name
		}
		list = append(list, l)
	}
	return list
}

func types(list []wasm.ValType) []api.ValueType {
	out := make([]api.ValueType, len(list))
	for i, t := range list {
		out[i] = api.ValueType(t)
	}
	return out
}

func letters(list []wasm.ValType) string {
	var b strings.Builder
	for _, t := range list {
		switch t {
		case wasm.I32:
			b.WriteByte('i')
		case wasm.I64:
			b.WriteByte('I')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}
