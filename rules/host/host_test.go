package host

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The sentences are for people and may be put better at any time; what a reader has to learn from them is fixed here, in single words.

func TestExplainStatus(t *testing.T) {
	for _, c := range []struct {
		name           string
		status         int
		call, callback string
		first          string   // beginning of the first sentence
		says           []string // somewhere in what is said
		not            string   // nowhere
	}{
		{"callout without an answer: envoyproxy/envoy#26485", 2, "get_http_call_response_header", "proxy_on_http_call_response",
			"BadArgument (2): the callout ended without an answer", []string{"num_headers is 0", "unexpected status: 2"}, "Copy"},
		{"the same from a frame of the stack", 2, "proxy_wasm::traits::Context::get_http_call_response_header::hae036e37be49bc68", "proxy_on_http_call_response",
			"BadArgument (2): the callout ended without an answer", nil, ""},
		{"a trailer that the answer does not have", 2, "get_http_call_response_trailer", "proxy_on_http_call_response",
			"BadArgument (2): the answer has no trailers", nil, ""},
		{"request headers in the response: proxy-wasm-rust-sdk#155", 2, "get_http_request_header", "proxy_on_http_response_body",
			"BadArgument (2): the request headers are gone in this phase (proxy_on_response_body)", []string{"proxy_on_request_headers", "Copy the header"}, "Go SDK"},
		{"the same in Go", 2, "GetHttpRequestHeader", "OnHttpResponseBody",
			"BadArgument (2): the request headers are gone in this phase (proxy_on_response_body)", []string{"types.ErrorStatusBadArgument"}, "Rust SDK"},
		{"response headers in the request", 2, "get_http_response_header", "on_http_request_headers",
			"BadArgument (2): the response headers do not exist yet in this phase (proxy_on_request_headers)", nil, ""},
		{"request headers in a tick", 2, "get_http_request_header_bytes", "proxy_on_tick",
			"BadArgument (2): there is no stream in this phase (proxy_on_tick)", nil, ""},
		{"request headers in the right phase", 2, "get_http_request_header", "proxy_on_request_headers",
			"BadArgument (2): the phase is right", []string{"resume_http_request"}, ""},
		{"request headers when a callout is answered", 2, "get_http_request_header", "proxy_on_http_call_response",
			"BadArgument (2): the request headers are not there in this phase", []string{"still paused"}, ""},
		{"no response to log: proxy-wasm-rust-sdk#82", 2, "get_http_response_header", "proxy_on_log",
			"BadArgument (2): this is the log of a TCP stream", []string{"1.18", "envoyproxy/envoy#15224"}, ""},
		{"changing headers in the log", 2, "set_http_response_header", "proxy_on_log",
			"BadArgument (2): the response headers can no longer be changed in this phase", nil, "1.18"},
		{"body written too early", 2, "set_http_request_body", "proxy_on_request_headers",
			"BadArgument (2): the request body cannot be changed yet in this phase", []string{"content-length"}, ""},
		{"body written in the middle", 2, "set_http_response_body", "proxy_on_response_body",
			"BadArgument (2): the phase is right", []string{"0 < start < size"}, ""},
		{"Go's not found is the host's Ok: istio/istio#52740", 1, "GetHttpResponseHeaders", "OnHttpResponseBody",
			"NotFound (1): the response headers are gone in this phase", []string{"the Go SDK reports that as not found"}, ""},
		{"which argument is bad: envoyproxy/envoy#24067", 2, "proxy_http_call", "",
			"BadArgument (2): one of these", []string{"cluster", ":authority", "outbound|80||", "Rust SDK", "Go SDK"}, ""},
		{"callout that could not start", 10, "dispatch_http_call", "",
			"InternalFailure (10): the request could not be started", []string{"no healthy endpoint"}, ""},
		{"internal failure of who knows what", 10, "", "",
			"InternalFailure (10): ", []string{"endpoint", "capability_restriction_config"}, ""},
		{"restricted capability", 10, "get_http_request_header", "proxy_on_request_headers",
			"InternalFailure (10): the plugin's capability_restriction_config", nil, ""},
		{"gRPC target", 4, "open_grpc_stream", "", "ParseFailure (4): ", []string{"cluster"}, ""},
		{"memory: envoyproxy/envoy#33600", 6, "GetHttpRequestBody", "", "InvalidMemoryAccess (6): ", []string{"memory", `"unknown status code: 6"`}, ""},
		{"resuming upstream: proxy-wasm-rust-sdk#255", 12, "resume_upstream", "", "Unimplemented (12): ", []string{"Not possible in Envoy"}, ""},
		{"status without a call", 2, "", "proxy_on_response_body", "BadArgument (2): ", []string{"read and change the response body", "wrong phase"}, ""},
		{"status without anything", 2, "", "", "BadArgument (2): ", []string{"wrong phase", "unknown cluster"}, ""},
		{"a general function says less, the phase says more", 2, "proxy_wasm::hostcalls::get_map_value", "proxy_on_http_call_response",
			"BadArgument (2): the context has no such header map now", []string{"num_headers is 0"}, ""},
		{"set_property in a tick", 1, "set_property", "proxy_on_tick", "NotFound (1): there is no stream", []string{`"unexpected status: 1"`}, ""},
		{"foreign function", 2, "verify_signature", "", "BadArgument (2): the argument is not that protobuf", []string{"PEM"}, ""},
		{"unknown call and callback", 8, "frobnicate", "proxy_on_frobnicate", "CasMismatch (8): the shared value was changed", nil, ""},
		{"a number that this call does not give", 7, "proxy_log", "", "Empty (7): ", []string{"not known to give"}, ""},
		{"Ok that is empty", 0, "get_http_request_headers", "proxy_on_response_body", "Ok (0): the answer is empty: the request headers are gone", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ExplainStatus(c.status, c.call, c.callback)
			said(t, got, c.first, c.says, c.not)
		})
	}
	for _, n := range []int{-1, 13, 404, 1 << 30} {
		if got := ExplainStatus(n, "proxy_log", "proxy_on_log"); len(got) != 0 {
			t.Errorf("ExplainStatus(%d) = %q; want nothing: there is no such status", n, got)
		}
	}
}

func TestExplainImport(t *testing.T) {
	for _, c := range []struct {
		name  string
		first string
		says  []string
		not   string
	}{
		{"wasi_snapshot_preview1.sched_yield", "Envoy registers wasi_snapshot_preview1.sched_yield since 1.33 (Istio 1.25), by backport also 1.32.13", []string{"Go wasip1", "nottinygc"}, ""},
		{"sched_yield", "Envoy registers wasi_snapshot_preview1.sched_yield since 1.33", []string{"restricted_callback"}, ""},
		{"wasi_snapshot_preview1::fd_readdir", "Envoy registers wasi_snapshot_preview1.fd_readdir since 1.39", []string{"std::fs::read_dir", "net/http"}, ""},
		{"wasi_unstable.fd_readdir", "Envoy registers wasi_unstable.fd_readdir since 1.39", []string{"std::fs::read_dir"}, ""},
		{"wasi_snapshot_preview1.fd_filestat_set_times", "Envoy registers wasi_snapshot_preview1.fd_filestat_set_times since 1.39", []string{"not in our tables"}, ""},
		{"wasi_snapshot_preview1.path_link", "Envoy registers wasi_snapshot_preview1.path_link since 1.39", []string{"one parameter too few", "no Envoy loads"}, ""},
		{"wasi_snapshot_preview1.proc_raise", "No Envoy from 1.17 to 1.40 registers wasi_snapshot_preview1.proc_raise", []string{"raise()"}, ""},
		{"__wbindgen_throw", "No Envoy from 1.17 to 1.40 registers __wbindgen_throw", []string{"wasm-bindgen", "wasm32-wasip1", "cargo tree"}, ""},
		{"__wbindgen_placeholder__.__wbindgen_describe", "No Envoy", []string{"wasm-bindgen"}, ""},
		{"wbg.__wbindgen_throw", "No Envoy", []string{"wasm-bindgen"}, ""},
		{"env.proxy_get_header", "No Envoy from 1.17 to 1.40 registers env.proxy_get_header; the host call is named proxy_get_header_map_value", nil, "not known"},
		{"env::proxy_get_header", "No Envoy from 1.17 to 1.40 registers env.proxy_get_header; the host call is named proxy_get_header_map_value", nil, ""},
		{"env.proxy_get_shared", "No Envoy", []string{"a similar name is proxy_get_shared_data"}, ""},
		{"env.proxy_dispatch_http_call", "No Envoy", []string{"proxy_http_call"}, ""},
		{"env.abort", "No Envoy from 1.17 to 1.40 registers env.abort", []string{"AssemblyScript", "abort_proc_exit", "Emscripten"}, ""},
		{"env.emscripten_memcpy_big", "No Envoy", []string{"STANDALONE_WASM"}, "restricted_callback"},
		{"env.emscripten_notify_memory_growth", "Envoy registers env.emscripten_notify_memory_growth since 1.23 (Istio 1.15)", []string{"restricted_callback", "1.37"}, ""},
		{"env.proxy_redis_init", "No Envoy from 1.17 to 1.40 registers env.proxy_redis_init; Higress does", nil, ""},
		{"env.proxy_get_log_level", "Envoy registers env.proxy_get_log_level only for modules that export proxy_abi_version_0_2_1.", nil, ""},
		{"env.proxy_get_configuration", "Envoy registers env.proxy_get_configuration only for modules that export proxy_abi_version_0_1_0.", []string{"two SDK versions"}, ""},
		{"env.proxy_continue_stream", "Envoy registers env.proxy_continue_stream only for modules that export proxy_abi_version_0_2_0 or proxy_abi_version_0_2_1.", nil, ""},
		{"env.proxy_log", "Every Envoy from 1.17 on registers env.proxy_log", nil, ""},
		{"env.fd_readdir", "No Envoy", []string{"exists as wasi_snapshot_preview1.fd_readdir"}, ""},
		{"gojs.runtime.wasmExit", "No Envoy", []string{"GOOS=wasip1"}, ""},
		{"wasi:http/types@0.2.0.[method]fields.get", "No Envoy", []string{"wasm32-wasip2"}, ""},
		{"env.frobnicate", "No Envoy from 1.17 to 1.40 registers env.frobnicate", []string{"not known"}, ""},
		{"acme.start", "No Envoy from 1.17 to 1.40 registers acme.start", []string{"not known"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) { said(t, ExplainImport(c.name), c.first, c.says, c.not) })
	}
	if got := ExplainImport(" "); len(got) != 0 {
		t.Errorf("ExplainImport of nothing = %q; want nothing", got)
	}
}

func TestVersionsOfIstioAndEnvoy(t *testing.T) {
	for _, c := range []struct{ istio, envoy string }{
		{"1.20.0", "1.28"}, {"1.20-alpha", "1.28"}, {"1.20.0-abc-Clean", "1.28"}, {"1.9", "1.17"}, {"1.30.2", "1.38"}, {"v1.25", "1.33"},
		{"1.31.0", ""}, {"1.8.0", ""}, {"unknown", ""}, {"", ""}, {"12", ""},
	} {
		if got, ok := EnvoyOfIstio(c.istio); got != c.envoy || ok != (c.envoy != "") {
			t.Errorf("EnvoyOfIstio(%q) = %q, %v; want %q", c.istio, got, ok, c.envoy)
		}
	}
	for _, c := range []struct{ envoy, istio string }{
		{"1.28.1-dev", "1.20"}, {"d1d4b2f6d6/1.36.3-dev/Clean/RELEASE/BoringSSL", "1.28"}, {"1.17", "1.9"}, {"1.39.3", ""}, {"", ""},
	} {
		if got, ok := IstioOfEnvoy(c.envoy); got != c.istio || ok != (c.istio != "") {
			t.Errorf("IstioOfEnvoy(%q) = %q, %v; want %q", c.envoy, got, ok, c.istio)
		}
	}
}

func TestBadPairs(t *testing.T) {
	for _, c := range []struct {
		envoy, istio, sdk string
		want              string // words of the only sentence; empty: none
	}{
		{"1.28.0", "", "Go 1.24", "sched_yield"},
		{"", "1.24.0", "github.com/proxy-wasm/proxy-wasm-go-sdk", "sched_yield"},
		{"1.32.12", "", "go1.24", "sched_yield"},
		{"1.32.13", "", "go1.24", ""},
		{"1.36.2", "1.20", "Go 1.25", "poll_oneoff"}, // Envoy's own version counts more
		{"1.39.0", "", "Go 1.25", ""},
		{"1.28.0", "", "tetratelabs/proxy-wasm-go-sdk v0.22.0", ""},
		{"1.28.0", "", "proxy-wasm-go-sdk v0.24.0", ""}, // only Tetrate's SDK has such a release
		{"1.28.0", "", "TinyGo 0.28", ""},
		{"1.20.1", "", "TinyGo 0.21", "path_open"},
		{"1.28.0", "", "TinyGo 0.28 with nottinygc", "sched_yield"},
		{"1.38.0", "", "TinyGo 0.25, google.golang.org/protobuf", "fd_filestat_get"},
		{"", "", "/usr/local/cargo/registry/src/github.com-1ecc6299db9ec823/proxy-wasm-0.2.3/src/hostcalls.rs", "0.2.4"},
		{"1.40.0", "", "proxy-wasm 0.2.4", ""},
		{"1.40.0", "", "proxy-wasm 0.1.2", "wee_alloc"},
		{"1.40.0", "", "proxy-wasm", ""}, // its release is not known
		{"", "", "Go 1.24", ""},          // nor is Envoy's
		{"1.10", "", "", ""},
		{"1.28.0", "", "mongo 1.0", ""},
	} {
		got := BadPairs(c.envoy, c.istio, c.sdk)
		if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
			t.Errorf("BadPairs(%q, %q, %q) = %q; want one about %q", c.envoy, c.istio, c.sdk, got, c.want)
		}
	}
}

func TestCrashes(t *testing.T) {
	for _, c := range []struct {
		call string
		n    int
		says string
	}{
		{"send_http_response", 3, "proxy_on_log"},
		{"proxy_send_local_response", 3, "SIGSEGV"},
		{"resume_http_response", 1, "resume_http_request"},
		{"resume_http_request", 0, ""},
		{"close_downstream", 0, ""},
		{"dispatch_grpc_call", 2, "panic: unset oneof"},
		{"dispatch_http_call", 1, "100% CPU"},
		{"get_http_request_header", 0, ""},
		{"", 0, ""},
	} {
		got := Crashes(c.call)
		if len(got) != c.n || !strings.Contains(strings.Join(got, "\n"), c.says) {
			t.Errorf("Crashes(%q) = %q; want %d with %q", c.call, got, c.n, c.says)
		}
	}
}

func TestCallsIn(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []string
		want []string
	}{
		{"the stack of envoyproxy/envoy#26485", []string{"rust_panic", "core::panicking::panic_fmt::h4604b1046aee56d6",
			"proxy_wasm::hostcalls::get_map_value::hd558eeeb4c0fe6a0", "proxy_wasm::traits::Context::get_http_call_response_header::hae036e37be49bc68"},
			[]string{"get_http_call_response_header", "get_map_value"}},
		{"mangled", []string{"_ZN10proxy_wasm9hostcalls13set_map_value17h0123456789abcdefE", "_RNvNtCs5bGc_10proxy_wasm9hostcalls8get_map"}, []string{"set_map_value", "get_map"}},
		{"Go", []string{"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm.GetHttpRequestHeader", "proxywasm.getMapValue", "proxywasm/internal.ProxyGetHeaderMapValue",
			"proxywasm.MetricCounter.Increment", "proxywasm.GetVMConfiguration"},
			[]string{"GetHttpRequestHeader", "GetVMConfiguration", "getMapValue", "MetricCounter.Increment", "proxy_get_header_map_value"}},
		{"a line of the trace log", []string{"[vm<-host] env.proxy_http_call return: 2"}, []string{"proxy_http_call"}},
		{"functions of the plugin that happen to be called so", []string{"my_plugin::get_property", "main.done", "log::Log::log", "cache.getMap", "my_plugin::hostcall"}, nil},
		{"the SDK's logger is no host call", []string{"<proxy_wasm::logger::Logger as log::Log>::log", "proxy_wasm::dispatcher::Dispatcher::on_done"}, nil},
		{"but these are", []string{"proxy_wasm::hostcalls::log", "proxy_wasm::traits::Context::done", "proxy_wasm::traits::Context::get_property"}, []string{"log", "done", "get_property"}},
		{"a longer name is another one", []string{"get_http_request_header_or_default", "proxy_log_everything"}, nil},
		{"nothing", nil, nil},
	} {
		if got := CallsIn(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%s: CallsIn(%q) = %q; want %q", c.name, c.in, got, c.want)
		}
	}
}

// said checks the sentences of one lookup: their form, the beginning, and what has to be in them.
func said(t *testing.T, got []string, first string, says []string, not string) {
	t.Helper()
	form(t, got)
	if len(got) == 0 || !strings.HasPrefix(got[0], first) {
		t.Fatalf("said %q; want it to begin with %q", got, first)
	}
	all := strings.Join(got, "\n")
	for _, s := range says {
		if !strings.Contains(all, s) {
			t.Errorf("said %q; want %q in it", got, s)
		}
	}
	if not != "" && strings.Contains(all, not) {
		t.Errorf("said %q; want no %q in it", got, not)
	}
}

// form checks that all are sentences, and none is said twice.
func form(t *testing.T, got []string) {
	t.Helper()
	for i, s := range got {
		if s == "" || strings.TrimSpace(s) != s || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\uFFFD") || !strings.HasSuffix(s, ".") && !strings.HasSuffix(s, "…") || strings.HasSuffix(s, "..") {
			t.Errorf("not a sentence: %q", s)
		}
		if slices.Contains(got[:i], s) {
			t.Errorf("said twice: %q", s)
		}
	}
}

// TestEveryAnswerIsInSentences asks every status of every function in every callback.
func TestEveryAnswerIsInSentences(t *testing.T) {
	k := knowledge()
	calls := []string{""}
	for _, c := range k.calls.Hostcalls {
		calls = append(calls, slices.Concat([]string{c.Name}, c.Rust, c.Go)...)
	}
	for _, f := range k.calls.Foreign {
		calls = append(calls, f.Name)
	}
	callbacks := []string{""}
	for _, c := range k.calls.Callbacks {
		callbacks = append(callbacks, c.Name)
	}
	for _, s := range k.calls.Statuses {
		for _, c := range calls {
			for _, cb := range callbacks {
				got := ExplainStatus(s.Number, c, cb)
				if len(got) < 1 || len(got) > maxSentences || !strings.HasPrefix(got[0], s.Name+" (") {
					t.Fatalf("ExplainStatus(%d, %q, %q) = %q; want 1 to %d sentences about %s", s.Number, c, cb, got, maxSentences, s.Name)
				}
				form(t, got)
			}
		}
	}
}

// FuzzLookups: whatever a log says, nothing panics, and what is said is said in sentences.
func FuzzLookups(f *testing.F) {
	for _, s := range []string{"", "get_http_request_header", "env.proxy_get_header", "wasi:x", "1.20.0-abc", "proxy-wasm 0.2.3", "::", ".", "…", "\xff", "a.b::c"} {
		f.Add(2, s, "proxy_on_log")
	}
	f.Fuzz(func(t *testing.T, status int, name, callback string) {
		form(t, ExplainStatus(status, name, callback))
		ExplainImport(name)
		CallsIn([]string{name, callback})
		Crashes(name)
		BadPairs(name, callback, name)
		EnvoyOfIstio(name)
		IstioOfEnvoy(name)
	})
}

// TestParseHost reads what people give as --host, and says what is known instead.
func TestParseHost(t *testing.T) {
	for text, want := range map[string]string{
		"envoy:1.36": "envoy 1.36/1.36/", "Envoy:v1.36.2": "envoy 1.36.2/1.36/1.36.2", "istio:1.24": "istio 1.24/1.32/", "istio:1.24.3": "istio 1.24.3/1.32/",
		"envoy:1.28.1-dev": "envoy 1.28.1/1.28/1.28.1", "istio:1.20-alpha.abc-Clean": "istio 1.20/1.28/",
		"envoy": "!", "envoy:": "!", "envoy:1": "!", "envoy:1.99": "!", "istio:1.31": "!", "nginx:1.36": "!", "envoy:1.36;x": "!", "": "!",
	} {
		h, err := ParseHost(text)
		got := h.Name + "/" + h.Envoy + "/" + h.Patch
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("ParseHost(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
}

// TestHostTable: some rows that were seen on real Envoys.
func TestHostTable(t *testing.T) {
	for _, c := range []struct {
		host, module, name, abi string
		signature               string
	}{
		{"envoy:1.20", "wasi_snapshot_preview1", "path_open", "0_2_1", ""},
		{"envoy:1.21", "wasi_unstable", "path_open", "0_2_1", "i32 i32 i32 i32 i32 i64 i64 i32 i32 -> i32"},
		{"envoy:1.32", "wasi_snapshot_preview1", "sched_yield", "0_2_1", ""},
		{"envoy:1.32.13", "wasi_snapshot_preview1", "sched_yield", "0_2_1", "void -> i32"},
		{"envoy:1.32.12", "wasi_snapshot_preview1", "sched_yield", "0_2_1", ""},
		{"envoy:1.40", "env", "sched_yield", "0_2_1", ""},
		{"envoy:1.36", "env", "proxy_continue_stream", "0_1_0", ""},
		{"envoy:1.36", "env", "proxy_continue_stream", "0_2_0", "i32 -> i32"},
		{"envoy:1.36", "env", "proxy_get_log_level", "0_2_0", ""},
		{"envoy:1.36", "env", "proxy_log", "", "i32 i32 i32 -> i32"},
	} {
		h, err := ParseHost(c.host)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := h.Function(c.module, c.name, c.abi); got != c.signature || ok != (c.signature != "") {
			t.Errorf("%s: %s.%s is %q, want %q", c.host, c.module, c.name, got, c.signature)
		}
	}
	for _, h := range Hosts() {
		n, f := h.Frames()
		if want := map[bool]int{true: 20, false: 10}[h.Since("1.39")]; n != want || f.Source == "" || f.Checked == "" {
			t.Errorf("%s keeps %d frames, want %d (%+v)", h.Name, n, want, f)
		}
		if len(h.Runs()) > 0 != (h.Envoy == "1.36" || h.Envoy == "1.37" || h.Envoy == "1.39" || h.Envoy == "1.40") {
			t.Errorf("%s was run on %v", h.Name, h.Runs())
		}
		for name := range knowledge().hosts.Envoy.Features.Shipped {
			if since, has, known, _ := h.Feature(name); len(h.Runs()) > 0 && (!has || !known) {
				t.Errorf("%s, which was run, lacks %s (since V8 %s, has %s)", h.Name, name, since, h.V8())
			}
		}
	}
}
