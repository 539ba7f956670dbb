package main

import (
	"fmt"
	"strings"
	"time"
)

// Plugins that fail while they run.
var runCases = []testCase{
	{"panic-old-rust-expect", label{
		Accept: []string{"guest-panic"}, Contributing: []string{"fail-closed"}, Envoy: "1.22.2", Packed: "kprefix", Dialect: "istio-tabs-old",
		Why:     "expect() on a header; old Rust on an Envoy that still prints mangled names; one of two workers refuses from then on.",
		BasedOn: "CATALOG.md SDK-RS-PANIC, AL-01",
		Expect:  &expected{Callback: "proxy_on_request_headers", Location: "src/lib.rs:74:10", Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.22.2", "2022-11-08 09:00:00", 2).mesh("store", "basket", false).plug("store.session", "session_root", "")
		s.start().traffic(70)
		w := s.workers[1]
		s.say(w, "critical", "panicked at 'no session header: NotFound', src/lib.rs:74:10")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(true, s.rust("core", "option", "expect_failed"), s.method("session::Filter", "HttpContext", "on_http_request_headers"), s.rust("proxy_wasm", "dispatcher", "Dispatcher", "on_http_request_headers"), "proxy_on_request_headers")...)
		s.done(s.refused())
		s.mixed(80, 0.5, s.refused)
		k.file("basket.log", kprefix(s.lines(istioOld)))
	}},
	{"panic-refcell-json", label{
		Accept: []string{"guest-panic"}, Envoy: "1.35.2", Packed: "plain", Dialect: "istio-json-122",
		Why:     "A callout's answer re-enters the plugin while its RefCell is borrowed.",
		BasedOn: "https://github.com/proxy-wasm/proxy-wasm-rust-sdk/issues/43",
		Expect:  &expected{Callback: "proxy_on_http_call_response", Location: "src/cache.rs:119:31"},
	}, func(k *kit) {
		s := newScene(k, "1.35.2", "2025-12-02 17:00:00", 2).mesh("auth", "gatekeeper", true).plug("auth.opa", "", "")
		s.start().traffic(30)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/cache.rs:119:31:\nRefCell already borrowed")
		s.trap(w, "proxy_on_http_call_response", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "cell", "panic_already_borrowed"), s.method("opa::Filter", "Context", "on_http_call_response"), "proxy_on_http_call_response")...)
		s.mixed(40, 0.5, s.refused)
		k.file("gatekeeper.log", bare(s.lines(istioJSON)))
	}},
	{"panic-wasip1-default-hook", label{
		Accept: []string{"guest-panic"}, Envoy: "1.38.1", Packed: "plain", Dialect: "default",
		Why:     "No set_log_level, target wasip1: the standard hook writes to stderr, so the panic stands at level error, its text one line down.",
		BasedOn: "CATALOG.md SDK-RS-PANIC-WASI",
		Expect:  &expected{Plugin: "mask", Callback: "proxy_on_response_body", Location: "src/mask.rs:57:31"},
	}, func(k *kit) {
		s := newScene(k, "1.38.1", "2026-06-01 12:30:00", 2).plug("mask", "mask_root", "mask_vm")
		s.chatter = func(s *scene) string { return "masked " + fmt.Sprint(s.r.Intn(9)) + " fields" }
		s.start().traffic(70)
		w := s.workers[0]
		s.say(w, "error", "\nthread '<unnamed>' (1) panicked at src/mask.rs:57:31:\nbyte index 4096 is not a char boundary; it is inside 'é' (bytes 4095..4097) of `{\"name\":`")
		s.say(w, "error", "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n")
		s.trap(w, "proxy_on_response_body", "RuntimeError: unreachable", "abort", "_RNvNtNtNtNtCset5xJoy1xWQ_3std3sys3pal4wasi7helpers14abort_internal", "_RNvNtCset5xJoy1xWQ_3std7process5abort", "_RNvCsfLfy6EI15iL_7___rustc12___rust_abort", "_RNvCsfLfy6EI15iL_7___rustc18___rust_start_panic", "_RNvCsfLfy6EI15iL_7___rustc10rust_panic", "_RNvNtCset5xJoy1xWQ_3std9panicking15panic_with_hook", "_RNCNvNtCset5xJoy1xWQ_3std9panicking13panic_handler0B5_", "_RINvNtNtCset5xJoy1xWQ_3std3sys9backtrace26___rust_end_short_backtraceNCNvNtB6_9panicking13panic_handler0zEB6_", "_RNvCsfLfy6EI15iL_7___rustc17rust_begin_unwind")
		s.mixed(70, 0.5, s.refused)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"panic-tinygo-info-text", label{
		Accept: []string{"guest-panic"}, Envoy: "1.19.2", Packed: "plain", Dialect: "default",
		Why:     "TinyGo prints its panic to stdout, so it is an info line; the frames name the function.",
		BasedOn: "CATALOG.md SDK-TG-PANIC; https://github.com/tetratelabs/proxy-wasm-go-sdk/issues/201",
		Expect:  &expected{Callback: "proxy_on_tick"},
	}, func(k *kit) {
		s := newScene(k, "1.19.2", "2022-02-02 02:02:02", 2).plug("quota", "quota_root", "quota_vm")
		s.chatter = func(s *scene) string { return "tenant " + s.word(4) + " has " + fmt.Sprint(s.r.Intn(500)) + " left" }
		s.start().traffic(60)
		w := s.workers[1]
		s.sayRoot(w, "info", "panic: runtime error: nil pointer dereference")
		s.trap(w, "proxy_on_tick", "RuntimeError: unreachable", "runtime._panic", "runtime.runtimePanic", "runtime.nilPanic", "main.(*rootContext).OnTick", "proxy_on_tick")
		s.mixed(80, 0.5, s.refused)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"panic-go-fragments-index", label{
		Accept: []string{"guest-panic"}, Envoy: "1.36.3", Packed: "filebeat", Dialect: "istio-tabs-thread",
		Why:     "Go 1.24: about twenty one-word records, then the trap; every line in a shipper's JSON, another worker logs in between.",
		BasedOn: "CATALOG.md SDK-GO-PANIC",
		Expect:  &expected{Plugin: "search.rank", Callback: "proxy_on_request_headers", Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.36.3", "2026-02-14 20:20:00", 2).mesh("search", "rank", false).plug("search.rank", "", "")
		s.chatter = func(s *scene) string { return "bucket " + s.word(2) }
		s.start().traffic(25)
		w, other := s.workers[0], s.workers[1]
		s.goPanic(w, false, "runtime error: index out of range [5] with length 0")
		s.say(other, "info", "bucket zz")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", "runtime.abort", "runtime.fatalpanic", "runtime.gopanic", "runtime.goPanicIndex", "main.(*httpContext).OnHttpRequestHeaders", "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/internal.proxyOnRequestHeaders", "wasm_pc_f_loop", "proxy_on_request_headers")
		s.mixed(40, 0.5, s.refused)
		k.file("filebeat.ndjson", filebeat(s.lines(istioTabs)))
	}},
	{"panic-assemblyscript-abort", label{
		Accept: []string{"guest-panic"}, Envoy: "1.25.4", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "AssemblyScript's abort names file, line and column, then runs into unreachable.",
		BasedOn: "CATALOG.md SDK-AS-ABORT",
		Expect:  &expected{Callback: "proxy_on_response_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.25.4", "2023-07-07 07:07:00", 2).mesh("cms", "pages", false).plug("cms.headers", "add_header", "")
		s.start().traffic(50)
		w := s.workers[1]
		s.say(w, "critical", "abort: Index out of range at: ~lib/array.ts(114:42)")
		s.trap(w, "proxy_on_response_headers", "RuntimeError: unreachable", "assembly/index/AddHeader#onResponseHeaders", "~lib/@solo-io/proxy-runtime/runtime/Context#onResponseHeaders", "export:~lib/@solo-io/proxy-runtime/exports/proxy_on_response_headers")
		s.mixed(70, 0.5, s.refused)
		k.file("pages.log", bare(s.lines(istioTabs)))
	}},
	{"panic-cpp-check-result", label{
		Accept: []string{"guest-panic", "hostcall-misuse"}, Envoy: "1.31.2", Packed: "plain", Dialect: "custom-logfmt",
		Why:     "The C++ SDK logs the text of the failed expression and aborts.",
		BasedOn: "CATALOG.md SDK-CPP-CHECK",
		Expect:  &expected{Callback: "proxy_on_grpc_close"},
	}, func(k *kit) {
		s := newScene(k, "1.31.2", "2024-12-24 23:00:00", 2).plug("opa-cpp", "opa", "")
		s.start().traffic(60)
		w := s.workers[0]
		s.say(w, "critical", "proxy_get_status(&code, &value_ptr, &value_size)")
		s.trap(w, "proxy_on_grpc_close", "RuntimeError: unreachable", "abort", "logAbort(std::__2::basic_string_view<char, std::__2::char_traits<char>>)", "getStatus()", "GrpcHandler::onRemoteClose()", "proxy_on_grpc_close")
		s.mixed(80, 0.5, s.refused)
		k.file("edge.logfmt", bare(s.lines(logfmt)))
	}},
	{"panic-wamr", label{
		Accept: []string{"guest-panic"}, Envoy: "1.32.0", Packed: "plain", Dialect: "istio-spaces",
		Why:     "WAMR prints no frames; the panic line before it says where. Copied from a terminal, so tabs are spaces.",
		BasedOn: "CATALOG.md TR-WAMR-UNREACHABLE",
		Expect:  &expected{Callback: "proxy_on_request_body", Location: "src/body.rs:208:17"},
	}, func(k *kit) {
		s := newScene(k, "1.32.0", "2025-01-21 01:00:00", 2).mesh("forms", "upload", true).plug("forms.scan", "", "")
		s.start().traffic(60)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/body.rs:208:17:\nattempt to subtract with overflow")
		s.engine(w, "Function: proxy_on_request_body failed: Exception: unreachable")
		s.mixed(60, 0.5, s.refused)
		k.file("upload.txt", bare(s.lines(istioSpaces)))
	}},
	{"panic-wasmtime-split-pods", label{
		Accept: []string{"guest-panic"}, Envoy: "1.39.3", Packed: "stern", Dialect: "default",
		Why:     "The same panic under wasmtime in three of four pods, interleaved in one stream: one incident.",
		BasedOn: "CATALOG.md TR-WT-FORMAT",
		Expect:  &expected{Plugin: "claims", Callback: "proxy_on_request_headers", Location: "src/claims.rs:33:48", Pods: 3},
	}, func(k *kit) {
		var all [][]pline
		for i := range 4 {
			s := newScene(k, "1.39.3", "2026-10-10 10:10:0"+fmt.Sprint(i), 2).plug("claims", "", "")
			s.service, s.ns = "edge", "edge"
			s.pod = "edge-86d4f7b9c-" + s.word(5)
			s.start().traffic(20)
			if i != 2 {
				w := s.workers[i%2]
				s.say(w, "critical", "panicked at src/claims.rs:33:48:\ncalled `Option::unwrap()` on a `None` value")
				s.trapWasmtime(w, "proxy_on_request_headers", "wasm `unreachable` instruction executed", "__rust_start_panic", "rust_panic", "_RNvNtCset5xJoy1xWQ_3std9panicking15panic_with_hook", "_RNvCsfLfy6EI15iL_7___rustc17rust_begin_unwind", "_RNvNtCsdHhIpgkcIfN_4core9panicking9panic_fmt", "_RNvNtCsdHhIpgkcIfN_4core6option13unwrap_failed", "_$LT$claims..Filter$u20$as$u20$proxy_wasm..traits..HttpContext$GT$::on_http_request_headers::h0b1c2d3e4f5a6b7c", "proxy_on_request_headers")
				s.mixed(30, 0.5, s.refused)
			} else {
				s.traffic(30)
			}
			all = append(all, s.lines(plainEnvoy))
		}
		k.file("stern.log", stern(merge(all...)))
	}},
	{"panic-newest-first-table", label{
		Accept: []string{"guest-panic"}, Envoy: "1.33.1", Packed: "csv-newest-first", Dialect: "istio-tabs-thread",
		Why:     "A table exported from a log viewer, newest first: each physical line is a row of its own, so the record stands upside down.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173; public incident with descending order",
		Expect:  &expected{Callback: "proxy_on_request_headers", Location: "src/filter.rs:91:22", Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.33.1", "2025-03-15 06:00:00", 2).mesh("news", "feed", false).plug("news.ab", "", "")
		s.start().traffic(60)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/filter.rs:91:22:\ncalled `Result::unwrap()` on an `Err` value: Utf8Error { valid_up_to: 3, error_len: Some(1) }")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "result", "unwrap_failed"), s.method("ab::Filter", "HttpContext", "on_http_request_headers"))...)
		s.mixed(60, 0.5, s.refused)
		k.file("discover.csv", newestFirst(kibanaCSV)(s.lines(istioTabs)))
	}},
	{"panic-glog-format", label{
		Accept: []string{"guest-panic"}, Envoy: "1.34.4", Packed: "aws-tail", Dialect: "custom-glog",
		Why:     "A glog-like format without logger names, streamed by a cloud's log command.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173",
		Expect:  &expected{Callback: "proxy_on_request_headers", Location: "src/router.rs:12:5"},
	}, func(k *kit) {
		s := newScene(k, "1.34.4", "2025-10-31 00:10:00", 2).plug("router", "", "router_vm")
		s.start().traffic(60)
		w := s.workers[1]
		s.say(w, "critical", "panicked at src/router.rs:12:5:\nassertion `left == right` failed\n  left: 3\n right: 2")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "panicking", "assert_failed_inner"), s.rust("router", "pick"), s.method("router::Http", "HttpContext", "on_http_request_headers"))...)
		s.mixed(60, 0.5, s.refused)
		k.file("aws.txt", awsTail(s.lines(glog)))
	}},
	{"panic-pasted-markdown", label{
		Accept: []string{"guest-panic"}, Envoy: "1.32.3", Packed: "markdown", Dialect: "default",
		Why:     "A bug report with two log excerpts in fenced blocks between sentences.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173",
		Expect:  &expected{Callback: "proxy_on_request_headers", Location: "src/lib.rs:64:18"},
	}, func(k *kit) {
		s := newScene(k, "1.32.3", "2025-02-02 11:00:00", 2).plug("hdr", "", "")
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/lib.rs:64:18:\nrange end index 12 out of range for slice of length 7")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "slice", "index", "slice_end_index_len_fail"), s.rust("hdr", "cut"), s.method("hdr::F", "HttpContext", "on_http_request_headers"))...)
		b := newScene(k, "1.32.3", "2025-02-02 11:00:03", 2)
		b.done(s.refused())
		b.done(s.refused())
		var body strings.Builder
		body.WriteString("### What happened?\n\nAfter a client sent a short header the proxy logged\n\n```\n")
		body.Write(bare(s.lines(plainEnvoy)))
		body.WriteString("```\n\nand from then on about half of the requests fail:\n\n```text\n")
		body.Write(bare(b.lines(plainEnvoy)))
		body.WriteString("```\n\n### Version\n\nenvoyproxy/envoy:v1.32.3, proxy-wasm 0.2.2\n\n### Expected\n\nOnly the bad request fails.\n")
		k.file("issue.md", []byte(body.String()))
	}},
	{"panic-rfc5424-reversed", label{
		Accept: []string{"guest-panic"}, Envoy: "1.37.3", Packed: "syslog-newest-first", Dialect: "default",
		Why:     "Syslog of RFC 5424, newest record first.",
		BasedOn: "public incident with descending order",
		Expect:  &expected{Plugin: "tariff", Callback: "proxy_on_request_headers", Location: "src/tariff.rs:8:30"},
	}, func(k *kit) {
		s := newScene(k, "1.37.3", "2026-06-21 12:00:00", 2).plug("tariff", "", "")
		s.node = "edge-4"
		s.start().traffic(50)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/tariff.rs:8:30:\nattempt to divide by zero")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "panicking", "panic"), s.method("tariff::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(60, 0.5, s.refused)
		k.file("syslog-export.txt", newestFirst(syslogNew)(s.lines(plainEnvoy)))
	}},
	{"panic-go-poll-oneoff", label{
		Accept: []string{"guest-panic", "guest-panic-swallowed"}, Envoy: "1.35.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "Go's network poller gets an answer it cannot use and the runtime ends itself (fatal error, panic during panic).",
		BasedOn: "https://github.com/golang/go/issues/78513",
		Expect:  &expected{Callback: "proxy_on_http_call_response"},
	}, func(k *kit) {
		s := newScene(k, "1.35.2", "2025-12-09 09:00:00", 2).mesh("tele", "probe", false).plug("tele.probe", "", "")
		s.start().traffic(50)
		w := s.workers[1]
		for _, t := range []string{"errno=", "52", " len(pollsubs)=", "1", "", "fatal error: ", "poll_oneoff failed", "", "panic during panic", ""} {
			s.say(w, "error", t)
		}
		s.trap(w, "proxy_on_http_call_response", "RuntimeError: unreachable", "runtime.abort", "runtime.dieFromSignal", "runtime.crash", "runtime.fatalthrow.func1", "runtime.fatalthrow", "runtime.throw", "runtime.netpoll", "runtime.findRunnable", "runtime.schedule", "wasm_pc_f_loop")
		s.mixed(60, 0.5, s.refused)
		k.file("probe.log", bare(s.lines(istioTabs)))
	}},
	{"arith-json-116-old-v8", label{
		Accept: []string{"arithmetic-trap"}, Envoy: "1.20.4", Packed: "kprefix", Dialect: "istio-json-116",
		Why:     "JSON of Istio before 1.17, without caller and thread; remainder by zero.",
		BasedOn: "CATALOG.md TR-V8-REM0",
		Expect:  &expected{Callback: "proxy_on_request_headers", Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.20.4", "2022-05-25 05:00:00", 2).mesh("play", "lobby", false).plug("play.shard", "", "")
		s.start().traffic(25)
		s.trap(s.workers[0], "proxy_on_request_headers", "RuntimeError: remainder by zero", "shard_of", "proxy_on_request_headers")
		s.mixed(35, 0.5, s.refused)
		k.file("lobby.log", kprefix(s.lines(istioJSON16)))
	}},
	{"swallowed-rust-frames", label{
		Accept: []string{"guest-panic-swallowed", "guest-panic"}, Envoy: "1.29.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "wasm32-unknown-unknown without set_log_level: nothing is said, only the frames of a panic (unwrap_failed) are there.",
		BasedOn: "CATALOG.md SDK-RS-PANIC-WASI, section 11 (3)",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.29.2", "2024-05-16 14:00:00", 2).mesh("bank", "transfer", false).plug("bank.sign", "", "")
		s.start().traffic(60)
		w := s.workers[0]
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(true, s.rust("core", "panicking", "panic"), s.rust("sign", "canonical"), s.method("sign::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(70, 0.5, s.refused)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
	}},
	{"swallowed-c-trap", label{
		Accept: []string{"guest-panic-swallowed"}, Envoy: "1.36.5", Packed: "plain", Dialect: "default",
		Why:     "A hand-written C plugin calls __builtin_trap; nothing is logged.",
		BasedOn: "CATALOG.md TR-V8-UNREACHABLE",
		Expect:  &expected{Callback: "proxy_on_response_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.36.5", "2026-05-01 05:00:00", 2).plug("tiny", "", "")
		s.start().traffic(60)
		s.trap(s.workers[1], "proxy_on_response_headers", "RuntimeError: unreachable", "check_invariants", "proxy_on_response_headers")
		s.mixed(70, 0.5, s.refused)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"swallowed-stripped-wamr", label{
		Accept: []string{"guest-panic-swallowed", "empty-backtrace"}, Envoy: "1.33.2", Packed: "zip-in-tar", Dialect: "istio-json-122",
		Why:     "No text, no frames: WAMR and a stripped module.",
		BasedOn: "CATALOG.md TR-WAMR-UNREACHABLE, section 1 (10)",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.33.2", "2025-04-18 04:00:00", 2).mesh("chat", "relay", false).plug("chat.spam", "", "")
		s.start().traffic(25)
		s.engine(s.workers[0], "Function: proxy_on_request_headers failed: Exception: unreachable")
		s.mixed(30, 0.5, s.refused)
		m := member{"proxies/chat/" + s.pod + "/istio-proxy.log", bare(s.lines(istioJSON))}
		k.count(m)
		k.file("upload.tar", tarball(member{"ticket-881/logs.zip", zipped(m)}, member{"ticket-881/note.txt", []byte("see zip\n")}))
	}},
	{"trap-without-names", label{
		Accept: []string{"guest-panic-swallowed", "empty-backtrace"}, Contributing: []string{"empty-backtrace"}, Envoy: "1.37.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The module was stripped, so Envoy prints no backtrace at all.",
		BasedOn: "CATALOG.md section 1 (10); FIELD-GUIDE.md D4",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.37.2", "2026-05-22 15:00:00", 2).mesh("travel", "quotes", false).plug("travel.fx", "", "")
		s.start().traffic(50)
		s.trap(s.workers[0], "proxy_on_request_headers", "RuntimeError: unreachable")
		s.mixed(70, 0.5, s.refused)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
	}},
	{"misuse-unknown-cluster", label{
		Accept: []string{"hostcall-misuse", "guest-panic"}, Envoy: "1.34.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A callout to a cluster that does not exist returns BadArgument; the plugin unwraps it.",
		BasedOn: "https://github.com/envoyproxy/envoy/issues/24067; CATALOG.md SDK-RS-STATUS",
		Expect:  &expected{Callback: "proxy_on_request_headers", Location: "src/lib.rs:88:10"},
	}, func(k *kit) {
		s := newScene(k, "1.34.0", "2025-06-20 10:00:00", 2).mesh("id", "login", false).plug("id.introspect", "", "")
		s.start().traffic(50)
		w := s.workers[1]
		s.say(w, "critical", "panicked at src/lib.rs:88:10:\ncalled `Result::unwrap()` on an `Err` value: BadArgument")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "result", "unwrap_failed"), s.method("introspect::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(60, 0.5, s.refused)
		k.file("login.log", bare(s.lines(istioTabs)))
	}},
	{"misuse-redis-no-trap", label{
		Accept: []string{"hostcall-misuse"}, Envoy: "1.27.5", Packed: "plain", Dialect: "istio-json-117",
		Why:     "The host refuses a call because the service name matches no cluster; no trap, the plugin answers 500 itself.",
		BasedOn: "public incident 12-hostcall-misuse (error status returned by host: bad argument)",
	}, func(k *kit) {
		s := newScene(k, "1.27.5", "2024-11-02 08:00:00", 2).mesh("gw", "gateway", true).plug("gw.cluster-key-rate-limit", "", "")
		s.start().traffic(20)
		for range 25 {
			s.wait(900 * time.Millisecond)
			w := pick(s, s.workers...)
			s.say(w, "error", "[cluster-key-rate-limit] [http-call] redis call failed: error status returned by host: bad argument")
			q := s.hit()
			q.code, q.details, q.tx, q.ms, q.upMs, q.upstream = 500, "cluster-key-rate-limit.redis_error", 21, 1, -1, "-"
			s.done(q)
		}
		k.file("gateway.log", bare(s.lines(istioJSON17)))
	}},
	{"misuse-restricted-capability", label{
		Accept: []string{"hostcall-misuse", "guest-panic"}, Envoy: "1.30.0", Packed: "plain", Dialect: "default",
		Why:     "The capability list forbids callouts; the call returns InternalFailure and the SDK panics.",
		BasedOn: "CATALOG.md LD-32",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.30.0", "2024-07-01 16:00:00", 2).plug("calls", "", "")
		s.start().traffic(50)
		w := s.workers[0]
		s.logAt(w, "error", "wasm", "extensions/common/wasm/wasm_vm.cc:38", "Attempted call to restricted proxy-wasm capability: proxy_http_call")
		s.say(w, "critical", "panicked at /usr/local/cargo/registry/src/github.com-1ecc6299db9ec823/proxy-wasm-0.2.1/src/hostcalls.rs:779:23:\nunexpected status: 10")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(true, s.rust("proxy_wasm", "hostcalls", "dispatch_http_call"), s.method("calls::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(70, 0.5, s.refused)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"misuse-reply-from-body", label{
		Accept: []string{"hostcall-misuse", "guest-panic"}, Envoy: "1.23.1", Packed: "plain", Dialect: "istio-tabs-old",
		Why:     "A local reply from the body hook is refused with status 2; old Rust puts text and place into one line.",
		BasedOn: "public incident 12-hostcall-misuse (hook proxy_on_request_body)",
		Expect:  &expected{Callback: "proxy_on_request_body"},
	}, func(k *kit) {
		s := newScene(k, "1.23.1", "2023-01-05 12:00:00", 2).mesh("waf", "shield", true).plug("waf.inspect", "", "")
		s.start().traffic(60)
		w := s.workers[0]
		s.say(w, "critical", "panicked at 'unexpected status: 2', /usr/local/cargo/registry/src/github.com-1ecc6299db9ec823/proxy-wasm-0.1.4/src/hostcalls.rs:658:23")
		s.trap(w, "proxy_on_request_body", "RuntimeError: unreachable")
		s.mixed(60, 0.5, s.refused)
		k.file("shield.log", bare(s.lines(istioOld)))
	}},
	{"guest-oom-tinygo-malloc", label{
		Accept: []string{"guest-out-of-memory"}, Envoy: "1.17.1", Packed: "plain", Dialect: "default",
		Why:     "TinyGo cannot grow its heap when the host copies headers in; this Envoy prints no plugin prefix.",
		BasedOn: "https://github.com/envoyproxy/envoy/issues/14856",
		Expect:  &expected{Callback: "malloc"},
	}, func(k *kit) {
		s := newScene(k, "1.17.1", "2021-03-30 19:36:00", 2).plug("ctr", "ctr", "")
		s.start().traffic(80)
		w := s.workers[0]
		s.say(w, "info", "panic: runtime error: out of memory")
		s.trap(w, "malloc", "RuntimeError: unreachable", "runtime._panic", "runtime.runtimePanic", "runtime.alloc", "malloc")
		s.mixed(80, 0.5, s.refused)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"guest-oom-gc-warnings", label{
		Accept: []string{"guest-out-of-memory", "configure-panic"}, Envoy: "1.33.5", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The collector of a firewall plugin cannot expand its heap while it reads its rules.",
		BasedOn: "https://github.com/corazawaf/coraza-proxy-wasm/issues/234",
		Expect:  &expected{Callback: "proxy_on_configure"},
	}, func(k *kit) {
		s := newScene(k, "1.33.5", "2025-06-09 13:13:00", 2).mesh("waf", "ingress", true).plug("waf.coraza-filter", "", "")
		s.wasmInfo = true
		s.start().traffic(30)
		for i := range 6 {
			s.sayRoot(s.main, "error", fmt.Sprintf("GC Warning: Failed to expand heap by %d KiB\n", 131072>>i))
		}
		s.sayRoot(s.main, "error", "GC Warning: Out of Memory! Heap size: 706 MiB. Returning NULL!\n")
		s.sayRoot(s.main, "info", "panic: ")
		s.sayRoot(s.main, "info", "runtime error: out of memory")
		s.trap(s.main, "proxy_on_configure", "RuntimeError: unreachable", "runtime._panic", "runtime.alloc", "bytes.(*Buffer).grow", "github.com/corazawaf/coraza/v3/internal/seclang.(*Parser).FromFile", "proxy_on_configure")
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(40)
		k.file("ingress.log", bare(s.lines(istioTabs)))
	}},
	{"guest-oom-rust-frames", label{
		Accept: []string{"guest-out-of-memory"}, Envoy: "1.28.2", Packed: "rotated", Dialect: "default",
		Why:     "No text at all, but the frames are those of an allocation failure; the log was rotated in between.",
		BasedOn: "CATALOG.md SDK-RS-OOM",
		Expect:  &expected{Callback: "proxy_on_request_body"},
	}, func(k *kit) {
		s := newScene(k, "1.28.2", "2024-02-29 02:29:00", 2).plug("archive", "", "")
		s.start().traffic(80)
		older := bare(s.lines(plainEnvoy))
		s.recs = nil
		s.traffic(30)
		w := s.workers[1]
		s.trap(w, "proxy_on_request_body", "RuntimeError: unreachable", "__rust_start_panic", s.rust("std", "alloc", "rust_oom"), "__rust_alloc_error_handler", s.rust("alloc", "alloc", "handle_alloc_error"), s.rust("alloc", "raw_vec", "handle_error"), s.rust("archive", "Buffer", "push"), s.method("archive::F", "HttpContext", "on_http_request_body"))
		s.mixed(60, 0.5, s.refused)
		newer := bare(s.lines(plainEnvoy))
		k.count(member{data: older}, member{data: newer})
		k.file("envoy.log.1.gz", gz(older))
		k.file("envoy.log", newer)
	}},
	{"guest-oom-wamr", label{
		Accept: []string{"guest-out-of-memory"}, Envoy: "1.35.3", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "WAMR's own words for an exhausted memory.",
		BasedOn: "CATALOG.md TR-WAMR-OOM",
		Expect:  &expected{Callback: "proxy_on_response_body"},
	}, func(k *kit) {
		s := newScene(k, "1.35.3", "2025-12-20 20:00:00", 2).mesh("video", "player", true).plug("video.drm", "", "")
		s.start().traffic(50)
		s.engine(s.workers[0], "Function: proxy_on_response_body failed: Exception: allocate memory failed")
		s.mixed(70, 0.5, s.refused)
		k.file("player.log", bare(s.lines(istioTabs)))
	}},
	{"stack-rangeerror-on-log", label{
		Accept: []string{"stack-overflow"}, Envoy: "1.27.1", Packed: "docker-json", Dialect: "istio-tabs-thread",
		Why:     "V8's RangeError in the log hook: the first access line still says 200.",
		BasedOn: "https://github.com/istio/istio/issues/49972",
		Expect:  &expected{Callback: "proxy_on_log"},
	}, func(k *kit) {
		s := newScene(k, "1.27.1", "2024-03-13 13:13:00", 2).mesh("ledger", "book", false).plug("ledger.audit", "", "")
		s.start().traffic(40)
		s.trap(s.workers[0], "proxy_on_log", "RangeError: Maximum call stack size exceeded")
		q := s.hit()
		q.details = "wasm_fail_stream"
		s.done(q)
		s.mixed(60, 0.5, s.refused)
		k.file("c1-json.log", docker(s.lines(istioTabs)))
	}},
	{"stack-wasmtime-exhausted", label{
		Accept: []string{"stack-overflow"}, Envoy: "1.40.1", Packed: "plain", Dialect: "json",
		Why:     "Unbounded recursion under wasmtime.",
		BasedOn: "CATALOG.md TR-WT-STACK",
		Expect:  &expected{Callback: "proxy_on_request_body"},
	}, func(k *kit) {
		s := newScene(k, "1.40.1", "2026-11-01 01:00:00", 2).plug("json-depth", "", "")
		s.start().traffic(40)
		var f []string
		for range 18 {
			f = append(f, "json_depth::walk::h11aa22bb33cc44dd")
		}
		s.trapWasmtime(s.workers[1], "proxy_on_request_body", "call stack exhausted", f...)
		s.mixed(50, 0.5, s.refused)
		k.file("envoy.ndjson", bare(s.lines(envoyJSON)))
	}},
	{"stack-shadow-old-envoy", label{
		Accept: []string{"stack-overflow"}, Envoy: "1.26.4", Packed: "plain", Dialect: "istio-json-117",
		Why:     "The shadow stack of a Rust plugin runs below address 0: out of bounds with one frame repeated.",
		BasedOn: "recorded/stack-overflow",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.26.4", "2023-10-10 10:00:00", 2).mesh("ml", "infer", false).plug("ml.shape", "", "")
		s.start().traffic(25)
		var f []string
		name := s.rust("shape", "Node", "depth")
		for range 10 {
			f = append(f, name)
		}
		s.trap(s.workers[0], "proxy_on_request_headers", "RuntimeError: memory access out of bounds", f...)
		s.mixed(40, 0.5, s.refused)
		k.file("infer.log", bare(s.lines(istioJSON17)))
	}},
	{"oob-wasmtime", label{
		Accept: []string{"memory-out-of-bounds"}, Envoy: "1.39.3", Packed: "cri", Dialect: "default",
		Why:     "A wild pointer under wasmtime; the record has an empty line in its middle.",
		BasedOn: "CATALOG.md TR-WT-OOB",
		Expect:  &expected{Callback: "proxy_on_request_body"},
	}, func(k *kit) {
		s := newScene(k, "1.39.3", "2026-10-20 12:00:00", 2).plug("codec", "", "")
		s.pod, s.ns = "edge-0", "edge"
		s.start().traffic(50)
		s.trapWasmtime(s.workers[0], "proxy_on_request_body", "out of bounds memory access", "memcpy", "Decoder::take(unsigned char*, unsigned int)", "CodecContext::onRequestBody(unsigned int, bool)", "proxy_on_request_body")
		s.mixed(70, 0.5, s.refused)
		k.file("edge-0_edge_envoy-4c1d.log", cri(s.lines(plainEnvoy)))
	}},
	{"oob-wamr-istio", label{
		Accept: []string{"memory-out-of-bounds"}, Envoy: "1.27.6", Packed: "plain", Dialect: "istio-spaces",
		Why:     "One line, no frames: WAMR in a vendor's proxy.",
		BasedOn: "https://github.com/envoyproxy/envoy/issues/39532",
		Expect:  &expected{Callback: "proxy_on_response_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.27.6", "2025-05-19 05:00:00", 2).mesh("hg", "gateway", true).plug("", "", "")
		s.start().traffic(60)
		s.engine(s.workers[0], "Function: proxy_on_response_headers failed: Exception: out of bounds memory access")
		s.mixed(60, 0.5, s.refused)
		k.file("gateway.txt", bare(s.lines(istioSpaces)))
	}},
	{"oob-cpp-demangled", label{
		Accept: []string{"memory-out-of-bounds"}, Envoy: "1.25.0", Packed: "kprefix", Dialect: "default",
		Why:     "A use after free in a C++ plugin.",
		BasedOn: "CATALOG.md TR-V8-OOB",
		Expect:  &expected{Callback: "proxy_on_done"},
	}, func(k *kit) {
		s := newScene(k, "1.25.0", "2023-02-20 10:00:00", 2).plug("meter", "meter", "")
		s.pod, s.ns = "proxy-"+s.word(5), "default"
		s.start().traffic(60)
		s.trap(s.workers[0], "proxy_on_done", "RuntimeError: memory access out of bounds", "std::__2::__tree_remove<std::__2::__tree_node_base<void*>*>(std::__2::__tree_node_base<void*>*, std::__2::__tree_node_base<void*>*)", "MeterRoot::drop(unsigned int)", "MeterContext::onDone()", "proxy_on_done")
		s.mixed(60, 0.5, s.refused)
		k.file("kubectl.log", kprefix(s.lines(plainEnvoy)))
	}},
	{"arith-overflow-wasmtime", label{
		Accept: []string{"arithmetic-trap"}, Envoy: "1.39.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "Signed division overflow under wasmtime.",
		BasedOn: "CATALOG.md TR-WT-INTOVF",
		Expect:  &expected{Callback: "proxy_on_response_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.39.1", "2026-09-01 09:00:00", 2).mesh("stat", "agg", false).plug("stat.ratio", "", "")
		s.start().traffic(50)
		s.trapWasmtime(s.workers[1], "proxy_on_response_headers", "integer overflow", "ratio", "proxy_on_response_headers")
		s.mixed(60, 0.5, s.refused)
		k.file("agg.log", bare(s.lines(istioTabs)))
	}},
	{"arith-float-v8", label{
		Accept: []string{"arithmetic-trap"}, Envoy: "1.32.1", Packed: "plain", Dialect: "escaped",
		Why:     "NaN converted to an integer; line breaks are escaped in the log.",
		BasedOn: "CATALOG.md TR-V8-FLOAT",
		Expect:  &expected{Callback: "proxy_on_log"},
	}, func(k *kit) {
		s := newScene(k, "1.32.1", "2024-12-12 12:00:00", 2).plug("latency", "", "")
		s.start().traffic(60)
		s.trap(s.workers[1], "proxy_on_log", "RuntimeError: float unrepresentable in integer range", "Histogram::bucket(double)", "LatencyContext::onLog()", "proxy_on_log")
		s.mixed(70, 0.5, s.refused)
		k.file("envoy.log", bare(s.lines(escaped)))
	}},
	{"arith-remainder-wamr", label{
		Accept: []string{"arithmetic-trap"}, Envoy: "1.34.5", Packed: "crlf", Dialect: "default",
		Why:     "Integer division by zero in WAMR's words; DOS line ends.",
		BasedOn: "CATALOG.md TR-WAMR-DIV0",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.34.5", "2025-11-11 11:00:00", 2).plug("shard", "", "")
		s.start().traffic(60)
		s.engine(s.workers[1], "Function: proxy_on_request_headers failed: Exception: integer divide by zero")
		s.mixed(60, 0.5, s.refused)
		k.file("envoy.txt", crlf(s.lines(plainEnvoy)))
	}},
	{"indirect-call-v8", label{
		Accept: []string{"indirect-call-trap"}, Envoy: "1.31.4", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A virtual call through a freed object.",
		BasedOn: "CATALOG.md TR-V8-SIG",
		Expect:  &expected{Callback: "proxy_on_http_call_response"},
	}, func(k *kit) {
		s := newScene(k, "1.31.4", "2024-12-30 10:00:00", 2).mesh("ship", "rates", false).plug("ship.zone", "", "")
		s.start().traffic(50)
		s.trap(s.workers[0], "proxy_on_http_call_response", "RuntimeError: null function or function signature mismatch", "ZoneRoot::answer(unsigned int)", "RootContext::onHttpCallResponse(unsigned int, unsigned int, unsigned long, unsigned int)", "proxy_on_http_call_response")
		s.mixed(60, 0.5, s.refused)
		k.file("rates.log", bare(s.lines(istioTabs)))
	}},
	{"indirect-call-wasmtime", label{
		Accept: []string{"indirect-call-trap"}, Envoy: "1.39.2", Packed: "plain", Dialect: "custom-pipes",
		Why:     "A table element that was never initialised, under wasmtime, in an unknown format.",
		BasedOn: "CATALOG.md TR-WT-NULLELT",
		Expect:  &expected{Callback: "proxy_on_request_headers"},
	}, func(k *kit) {
		s := newScene(k, "1.39.2", "2026-09-30 03:00:00", 2).plug("dispatch", "", "")
		s.start().traffic(60)
		s.trapWasmtime(s.workers[0], "proxy_on_request_headers", "uninitialized element", "call_handler", "proxy_on_request_headers")
		s.mixed(70, 0.5, s.refused)
		k.file("edge.log", bare(s.lines(pipes)))
	}},
	{"indirect-call-old-v8", label{
		Accept: []string{"indirect-call-trap"}, Envoy: "1.18.3", Packed: "plain", Dialect: "istio-tabs-old",
		Why:     "The old wording of a bad table index.",
		BasedOn: "CATALOG.md TR-V8-TABLE",
		Expect:  &expected{Callback: "proxy_on_context_create"},
	}, func(k *kit) {
		s := newScene(k, "1.18.3", "2021-09-09 09:00:00", 2).mesh("bus", "tickets", false).plug("bus.fare", "", "")
		s.start().traffic(60)
		s.trap(s.workers[0], "proxy_on_context_create", "RuntimeError: table index is out of bounds", "dlcall", "proxy_on_context_create")
		s.mixed(60, 0.5, s.refused)
		k.file("tickets.log", bare(s.lines(istioOld)))
	}},
	{"hang-one-worker-silent", label{
		Accept: []string{"guest-hang"}, Envoy: "1.33.3", Packed: "plain", Dialect: "default",
		Why:     "A plugin loops for ever on one worker: its watchdog counters climb, its clients give up after ten seconds, it never logs again.",
		BasedOn: "CATALOG.md ST-06, NC-12",
	}, func(k *kit) {
		s := newScene(k, "1.33.3", "2025-05-05 17:00:00", 2).plug("glob", "", "")
		s.chatter = func(s *scene) string { return "matched " + s.word(3) }
		s.start().traffic(70)
		stuck, alive := s.workers[0], s.workers[1]
		s.say(stuck, "info", "expanding pattern {a,{b,{c,{d,e}}}}* against 48211 paths")
		s.chatter = nil
		for i := range 90 {
			s.wait(time.Second)
			s.done(s.hit())
			if i%4 == 1 {
				s.say(alive, "info", "matched "+s.word(3))
			}
			if i%5 == 4 {
				q := s.hit()
				q.code, q.flags, q.details, q.tx, q.ms, q.upMs, q.upstream = 0, "DC", "downstream_remote_disconnect", 0, 10000, -1, "-"
				q.start = s.now.Add(-10 * time.Second)
				s.add(record{kind: access, acc: &q})
			}
		}
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
		k.file("stats.txt", stats("server.concurrency", 2, "server.main_thread.watchdog_mega_miss", 0, "server.main_thread.watchdog_miss", 0, "server.uptime", 190, "server.worker_0.watchdog_mega_miss", 88, "server.worker_0.watchdog_miss", 441, "server.worker_1.watchdog_mega_miss", 0, "server.worker_1.watchdog_miss", 0, "wasm.envoy.wasm.runtime.v8.active", 4, "wasm.envoy.wasm.runtime.v8.created", 4))
	}},
	{"hang-prometheus-json", label{
		Accept: []string{"guest-hang"}, Envoy: "1.34.4", Packed: "plain", Dialect: "istio-json-122",
		Why:     "The same kind of hang in a sidecar: Prometheus statistics show one worker missing its watchdog, its clients give up after 15 s.",
		BasedOn: "CATALOG.md ST-06",
	}, func(k *kit) {
		s := newScene(k, "1.34.4", "2025-09-16 16:00:00", 2).mesh("rules", "engine", false).plug("rules.match", "", "")
		s.start().traffic(15)
		s.say(s.workers[1], "warning", "rule 118: matching 60211 bytes against (x+x+)+y")
		for i := range 40 {
			s.wait(time.Second)
			s.done(s.hit())
			if i%3 == 2 {
				q := s.hit()
				q.code, q.flags, q.details, q.tx, q.ms, q.upMs, q.upstream, q.uLocal = 0, "DC", "downstream_remote_disconnect", 0, 15001, -1, "-", "-"
				q.start = s.now.Add(-15 * time.Second)
				s.add(record{kind: access, acc: &q})
			}
		}
		k.file("engine.log", bare(s.lines(istioJSON)))
		k.file("stats.prom", []byte("# TYPE envoy_server_uptime gauge\nenvoy_server_uptime{} 412\n# TYPE envoy_server_worker_0_watchdog_mega_miss counter\nenvoy_server_worker_0_watchdog_mega_miss{} 0\n# TYPE envoy_server_worker_0_watchdog_miss counter\nenvoy_server_worker_0_watchdog_miss{} 1\n# TYPE envoy_server_worker_1_watchdog_mega_miss counter\nenvoy_server_worker_1_watchdog_mega_miss{} 57\n# TYPE envoy_server_worker_1_watchdog_miss counter\nenvoy_server_worker_1_watchdog_miss{} 288\n# TYPE envoy_wasm_envoy_wasm_runtime_v8_active gauge\nenvoy_wasm_envoy_wasm_runtime_v8_active{} 4\n"))
	}},
	{"trap-wazero-host", label{
		Accept: []string{"guest-panic-swallowed", "guest-panic"}, Envoy: "", Packed: "plain", Dialect: "mosn",
		Why:     "A host on wazero: its own words and stack layout.",
		BasedOn: "CATALOG.md TR-WZ-UNREACHABLE, OT-MOSN",
	}, func(k *kit) {
		s := newScene(k, "1.30.0", "2024-04-04 04:04:00", 1)
		line := func(level, text string) {
			s.wait(700 * time.Millisecond)
			s.raw(s.now.Format("2006-01-02 15:04:05,000") + " [" + level + "] " + text)
		}
		for i := range 70 {
			line("INFO", fmt.Sprintf("[downstream] request %d done in %d ms", i, 1+s.r.Intn(20)))
		}
		line("ERROR", "[proxywasm][filter][v1] ProxyOnRequestHeaders action: 0, err: wasm error: unreachable\nwasm stack trace:\n\t.runtime.abort()\n\t.runtime.fatalpanic(i32)\n\t.main.decide(i32,i32) i32\n\t.proxy_on_request_headers(i32,i32,i32) i32")
		for i := range 30 {
			line("INFO", fmt.Sprintf("[downstream] request %d done in %d ms", 70+i, 1+s.r.Intn(20)))
		}
		k.file("mosn.log", bare(s.lines(plainEnvoy)))
	}},
	{"stuck-callout-never-answers", label{
		Accept: []string{"stream-stuck"}, Envoy: "1.29.0", Packed: "plain", Dialect: "istio-json-117",
		Why:     "The plugin pauses a request for a callout and forgets to resume it when the answer is an error; the client's timeout ends it.",
		BasedOn: "https://github.com/tetratelabs/proxy-wasm-go-sdk/issues/278",
	}, func(k *kit) {
		s := newScene(k, "1.29.0", "2024-04-10 10:00:00", 2).mesh("auth", "portal", true).plug("auth.oidc", "", "")
		s.wasmInfo = true
		s.start()
		for i := range 60 {
			s.wait(800 * time.Millisecond)
			q := s.hit()
			if i < 20 || i%3 != 0 {
				s.done(q)
				continue
			}
			s.say(pick(s, s.workers...), "info", "token not cached, calling issuer, pausing request")
			q.code, q.flags, q.details, q.tx, q.ms, q.upMs, q.upstream, q.uLocal = 0, "DC", "downstream_remote_disconnect", 0, 30000+s.r.Intn(3), -1, "-", "-"
			q.start = s.now
			s.add(record{kind: access, acc: &q, at: s.now.Add(30 * time.Second)})
		}
		k.file("portal.log", bare(s.lines(istioJSON17)))
	}},
	{"stuck-idle-timeout-408", label{
		Accept: []string{"stream-stuck"}, Envoy: "1.36.1", Packed: "plain", Dialect: "default",
		Why:     "Uploads the plugin pauses and never resumes end at the stream idle timeout; everything else is fine.",
		BasedOn: "https://github.com/tetratelabs/proxy-wasm-go-sdk/issues/158",
	}, func(k *kit) {
		s := newScene(k, "1.36.1", "2026-02-25 09:00:00", 2).plug("scan", "", "")
		s.start()
		for i := range 110 {
			s.wait(1500 * time.Millisecond)
			q := s.hit()
			if i < 30 || i%4 != 0 {
				s.done(q)
				continue
			}
			w := pick(s, s.workers...)
			s.say(w, "info", "on_http_request_body: returning Pause, waiting for scanner verdict")
			q.method, q.path, q.code, q.flags, q.details, q.rx, q.tx, q.ms, q.upMs, q.upstream = "POST", "/upload", 408, "SI", "stream_idle_timeout", 51200, 0, 300000, -1, "-"
			q.start = s.now
			s.add(record{kind: access, acc: &q, at: s.now.Add(300 * time.Second)})
		}
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"fail-closed-tail-only", label{
		Accept: []string{"fail-closed", "log-black-hole"}, Envoy: "1.30.3", Packed: "ktimes", Dialect: "istio-tabs-thread",
		Why:     "Only the last lines were kept: half of the requests are refused with wasm_fail_stream, the reason is long gone.",
		BasedOn: "CATALOG.md AL-01; https://github.com/istio/istio/issues/54490",
	}, func(k *kit) {
		s := newScene(k, "1.30.3", "2024-09-01 11:00:00", 2).mesh("pets", "adopt", false)
		s.mixed(150, 0.5, s.refused)
		k.file("tail.txt", ktimes(s.lines(istioTabs)))
	}},
	{"black-hole-json-access", label{
		Accept: []string{"log-black-hole", "fail-closed"}, Envoy: "1.35.0", Packed: "plain", Dialect: "json",
		Why:     "The wasm logger is off and the JSON access log has no details: 503 without flag, upstream or duration is all there is.",
		BasedOn: "recorded/log-black-hole; CATALOG.md AL-01",
	}, func(k *kit) {
		s := newScene(k, "1.35.0", "2025-10-20 10:00:00", 2)
		s.start().traffic(60)
		s.mixed(120, 0.55, s.refused)
		k.file("access.json", bare(s.lines(envoyJSON)))
		k.file("stats.txt", stats("cluster.orders.upstream_rq_200", 118, "http.ingress.downstream_rq_2xx", 118, "http.ingress.downstream_rq_5xx", 66, "server.live", 1, "wasm.envoy.wasm.runtime.v8.active", 4, "wasm.envoy.wasm.runtime.v8.created", 4))
	}},
	{"black-hole-whole-listener", label{
		Accept: []string{"log-black-hole", "fail-closed"}, Envoy: "1.37.4", Packed: "plain", Dialect: "istio-json-122",
		Why:     "The first request after a deployment kills every worker's virtual machine; Envoy logs nothing, the JSON access log says wasm_fail_stream.",
		BasedOn: "https://github.com/istio/istio/issues/38215",
	}, func(k *kit) {
		s := newScene(k, "1.37.4", "2026-07-07 17:00:00", 2).mesh("tax", "filing", false)
		s.start().traffic(25)
		s.mixed(45, 1, s.refused)
		k.file("filing.log", bare(s.lines(istioJSON)))
	}},
}
