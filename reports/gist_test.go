package reports

import (
	"testing"

	"github.com/wasmortem/wasmortem/analyze"
)

func TestGist(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"Envoy's own format",
			"[2026-11-22 14:50:07.999][32314][critical][wasm] [source/extensions/common/wasm/context.cc:1160] wasm log auth_gate: panicked at src/lib.rs:35:94:",
			"wasm log auth_gate: panicked at src/lib.rs:35:94:"},
		{"Istio with file and thread",
			"2026-11-22T14:50:07.628095Z\terror\tenvoy wasm source/extensions/common/wasm/wasm_vm.cc:38\tFunction: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable\tthread=32288",
			"Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable"},
		{"Istio 1.16 with a kubectl prefix",
			"[pod/a-1/istio-proxy] 2022-05-18T10:18:02.435407Z\terror\tenvoy wasm\tWasm VM failed Failed to initialize Wasm code",
			"Wasm VM failed Failed to initialize Wasm code"},
		{"the Istio agent",
			"2023-07-06T00:00:00.000000Z\terror\tEnvoy exited with error: signal: segmentation fault (core dumped)",
			"Envoy exited with error: signal: segmentation fault (core dumped)"},
		{"the Istio agent with a scope",
			"2025-10-14T02:17:03.980114Z\tinfo\tcache\tfetching image edge/national-crypto", "fetching image edge/national-crypto"},
		{"JSON", `{"level":"error","time":"2026-11-22T14:50:07.628Z","scope":"envoy wasm","msg":"Function: f failed","thread":"12"}`,
			`Function: f failed","thread":"12"}`},
		{"access log in JSON", `2026-11-22T14:50:07.635Z stdout F {"authority":"a:80","duration":1,"method":"GET","path":"/x","response_code":503,"response_code_details":"wasm_fail_stream","response_flags":"-"}`,
			"GET /x 503 - wasm_fail_stream"},
		{"JSON that is cut off", `{"authority":"a","response_code":503,"respon`, `{"authority":"a","response_code":503,"respon`},
		{"access log", `[2026-11-22T14:50:07.635Z] "GET /orders/1 HTTP/1.1" 503 - wasm_fail_stream`,
			`"GET /orders/1 HTTP/1.1" 503 - wasm_fail_stream`},
		{"no known format", "Last State: Terminated  Reason: OOMKilled", "Last State: Terminated  Reason: OOMKilled"},
		{"nothing but a head", "2026-11-22T14:50:07.6Z\terror\tenvoy wasm\t", "2026-11-22T14:50:07.6Z error envoy wasm"},
	} {
		if got := gist(analyze.Evidence{Text: c.in}); got != c.want {
			t.Errorf("%s: gist gave %q, want %q", c.why, got, c.want)
		}
	}
}

func TestGistOfMessage(t *testing.T) {
	for _, c := range []struct{ why, in, want string }{
		{"one line", "Wasm VM failed Failed to load Wasm code", "Wasm VM failed Failed to load Wasm code"},
		{"Rust 1.73 and later", "wasm log g: panicked at src/lib.rs:1:2:\ncalled `Option::unwrap()` on a `None` value\nnote: run with `RUST_BACKTRACE=1`",
			"wasm log g: panicked at src/lib.rs:1:2: called `Option::unwrap()` on a `None` value"},
		{"a trap and its backtrace", "Function: f failed: Uncaught RuntimeError: unreachable\nProxy-Wasm plugin in-VM backtrace:\n  0:  0x1 - abort",
			"Function: f failed: Uncaught RuntimeError: unreachable"},
		{"nothing but colons", "a:\nb:\nc:\nd:\ne:", "a: b: c: d:"},
		{"blank lines before it", "\n\n# Fatal process out of memory", "# Fatal process out of memory"},
		{"something to obey", "a\tb\x1b[2J", `a b\x1b[2J`},
		{"no message", " \n ", "the raw line"},
	} {
		if got := gist(analyze.Evidence{Message: c.in, Text: "the raw line"}); got != c.want {
			t.Errorf("%s: gist gave %q, want %q", c.why, got, c.want)
		}
	}
}
