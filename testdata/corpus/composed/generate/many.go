package main

import (
	"fmt"
	"strings"
	"time"
)

// Several proxies, several failures, long cascades.
var manyCases = []testCase{
	{"twenty-sidecars-stripped", label{
		Accept: []string{"guest-panic-swallowed", "empty-backtrace"}, Contributing: []string{"empty-backtrace"}, Envoy: "1.36.3", Packed: "tar.gz", Dialect: "istio-tabs-thread",
		Why:     "02:17 at night: within 30 seconds the plugin traps in all of 20 sidecars, without a name or a word: one incident.",
		BasedOn: "FIELD-GUIDE.md, the incident behind the guide",
		Expect:  &expected{Callback: "proxy_on_request_headers", Pods: 20},
	}, func(k *kit) {
		var m []member
		for i := range 20 {
			s := newScene(k, "1.36.3", "2026-03-08 02:16:20", 2).mesh("pay", "checkout", false).plug("pay.gm-jwt", "", "")
			s.start().traffic(5)
			for s.now.Before(time.Date(2026, 3, 8, 2, 17, 2+i*29/20, 0, time.UTC)) {
				s.wait(3 * time.Second)
				s.done(s.hit())
			}
			for _, w := range s.workers {
				s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable")
			}
			s.mixed(12, 1, s.refused)
			m = append(m, member{"sidecars/" + s.pod + "/istio-proxy.log", bare(s.lines(istioTabs))})
		}
		k.count(m...)
		k.file("sidecars-0217.tar.gz", gz(tarball(m...)))
	}},
	{"twenty-sidecars-guide-line", label{
		Accept: []string{"empty-backtrace", "guest-panic-swallowed"}, Envoy: "1.30.0", Packed: "tar.gz", Dialect: "default",
		Why:     "The guide's own scene word for word: 20 sidecars end within 30 seconds, each with the single line `wasm backtrace empty`, and restart.",
		BasedOn: "FIELD-GUIDE.md, the incident behind the guide",
		Expect:  &expected{Pods: 20},
	}, func(k *kit) {
		var m []member
		for i := range 20 {
			s := newScene(k, "1.30.0", "2025-03-08 02:16:50", 2).plug("gm_jwt", "", "")
			s.pod, s.ns = "checkout-5d8f-"+s.word(5), "pay"
			s.start()
			s.wait(time.Duration(i*1400) * time.Millisecond)
			s.traffic(4)
			s.logAt(s.workers[0], "critical", "wasm", "extensions/common/wasm/wasm_vm.cc:38", "wasm backtrace empty")
			s.log("warning", "main", "server/server.cc:1007", "caught ENVOY_SIGTERM")
			s.log("info", "main", "server/server.cc:1148", "shutting down server instance")
			s.log("info", "main", "server/server.cc:1140", "exiting")
			m = append(m, member{"pay/" + s.pod + ".log", bare(s.lines(plainEnvoy))})
		}
		k.count(m...)
		k.file("sidecars.tar.gz", gz(tarball(m...)))
	}},
	{"five-pods-one-panic", label{
		Accept: []string{"guest-panic"}, Envoy: "1.35.1", Packed: "kboth", Dialect: "istio-tabs-thread",
		Why:     "One panic in five of six pods of a deployment within a minute, all in one stream.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173",
		Expect:  &expected{Plugin: "geo.locate", Callback: "proxy_on_request_headers", Location: "src/db.rs:140:9", Pods: 5},
	}, func(k *kit) {
		var all [][]pline
		for i := range 6 {
			s := newScene(k, "1.35.1", "2025-11-25 18:00:0"+fmt.Sprint(i), 2).mesh("geo", "locate", false).plug("geo.locate", "", "")
			s.start().traffic(10 + i*2)
			if i != 3 {
				w := s.workers[i%2]
				s.say(w, "critical", "panicked at src/db.rs:140:9:\nindex out of bounds: the len is 256 but the index is 256")
				s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "panicking", "panic_bounds_check"), s.rust("locate", "db", "row"), s.method("locate::F", "HttpContext", "on_http_request_headers"))...)
				s.mixed(14, 0.5, s.refused)
			} else {
				s.traffic(14)
			}
			all = append(all, s.lines(istioTabs))
		}
		k.file("kubectl.log", kboth(merge(all...)))
	}},
	{"reload-same-place-thirty-times", label{
		Accept: []string{"guest-panic"}, Envoy: "1.36.4", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "FAIL_RELOAD brings the plugin back after every trap: thirty traps at one place on both workers are one incident.",
		BasedOn: "CATALOG.md section 1 (7), ST-02",
		Expect:  &expected{Plugin: "chat.filter", Callback: "proxy_on_request_body", Location: "src/emoji.rs:19:28"},
	}, func(k *kit) {
		s := newScene(k, "1.36.4", "2026-04-21 21:00:00", 2).mesh("chat", "rooms", false).plug("chat.filter", "filter", "")
		s.start().traffic(20)
		for i := range 30 {
			w := s.workers[i%2]
			s.say(w, "critical", "panicked at src/emoji.rs:19:28:\nbyte index "+fmt.Sprint(3+i)+" is out of bounds of `ok`")
			s.trap(w, "proxy_on_request_body", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "str", "slice_error_fail"), s.method("emoji::F", "HttpContext", "on_http_request_body"))...)
			s.done(s.refused())
			s.traffic(2)
			s.sayRoot(w, "warning", "configured 14 rooms")
			s.traffic(1)
		}
		k.file("rooms.log", bare(s.lines(istioTabs)))
		k.file("stats.txt", stats("wasm.chat.filter.vm_reload_backoff", 11, "wasm.chat.filter.vm_reload_failure", 0, "wasm.chat.filter.vm_reload_success", 29, "wasm.envoy.wasm.runtime.v8.active", 4, "wasm.envoy.wasm.runtime.v8.created", 33))
	}},
	{"two-plugins-two-panics", label{
		Accept:    []string{"guest-panic"},
		Incidents: []sub{{podOne, []string{"guest-panic"}}, {podOne, []string{"guest-panic"}}}, Envoy: "1.32.4", Packed: "kprefix", Dialect: "default",
		Why:     "Two plugins of one proxy panic at different places and at different times.",
		BasedOn: "CONTRACT.md (two panics at different places have two ids)",
	}, func(k *kit) {
		s := newScene(k, "1.32.4", "2025-05-07 05:00:00", 2).plug("auth", "", "auth_vm")
		s.pod, s.ns = podOne, "apps"
		s.start().traffic(50)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/auth.rs:10:20:\ncalled `Option::unwrap()` on a `None` value")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "unwrap_failed"), s.method("auth::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(60, 0.4, s.refused)
		s.plug("trace", "", "trace_vm")
		s.wait(20 * time.Minute)
		w = s.workers[1]
		s.say(w, "critical", "panicked at src/trace.rs:301:7:\nattempt to divide by zero")
		s.trap(w, "proxy_on_log", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "panicking", "panic"), s.method("trace::F", "HttpContext", "on_log"))...)
		s.mixed(60, 0.9, s.refused)
		k.file("kubectl.log", kprefix(s.lines(plainEnvoy)))
	}},
	{"two-places-one-plugin", label{
		Accept:    []string{"guest-panic"},
		Incidents: []sub{{podOne, []string{"guest-panic"}}, {podOne, []string{"guest-panic"}}}, Envoy: "1.37.0", Packed: "plain", Dialect: "istio-json-122",
		Why:     "With FAIL_RELOAD one plugin panics in its header hook at noon and somewhere else in the evening: two defects.",
		BasedOn: "CONTRACT.md (two panics at different places have two ids)",
	}, func(k *kit) {
		s := newScene(k, "1.37.0", "2026-05-29 12:00:00", 2).mesh("shop", "search", false).plug("shop.rank", "", "")
		s.pod = podOne
		s.start().traffic(15)
		w := s.workers[0]
		for range 3 {
			s.say(w, "critical", "panicked at src/query.rs:52:13:\ncalled `Option::unwrap()` on a `None` value")
			s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "unwrap_failed"), s.method("rank::F", "HttpContext", "on_http_request_headers"))...)
			s.done(s.refused())
			s.traffic(4)
		}
		s.wait(7 * time.Hour)
		s.traffic(8)
		for range 2 {
			s.say(w, "critical", "panicked at src/score.rs:9:41:\nattempt to multiply with overflow")
			s.trap(w, "proxy_on_response_body", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "panicking", "panic"), s.method("rank::F", "HttpContext", "on_http_response_body"))...)
			s.done(s.refused())
			s.traffic(4)
		}
		k.file("search.log", bare(s.lines(istioJSON)))
	}},
	{"two-panic-and-listener-refused", label{
		Accept:    []string{"guest-panic", "config-rejected"},
		Incidents: []sub{{podOne, []string{"guest-panic"}}, {podTwo, []string{"config-rejected"}}}, Envoy: "1.33.2", Packed: "tar.gz", Dialect: "istio-tabs-thread",
		Why:     "A plugin panics in one pod; another pod refuses a route table for a duplicate domain that has nothing to do with it.",
		BasedOn: "public incidents 2-guest-panic and 11-decoy-lookalike",
	}, twoPods("1.33.2", istioTabs, func(s *scene) {
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/lib.rs:31:9:\nheader `x-tenant` is not there")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "expect_failed"), s.method("tenant::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(40, 0.5, s.refused)
	}, func(s *scene) {
		for range 3 {
			s.nack("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "Only unique values for domains are permitted. Duplicate entry of domain www.example.com")
			s.traffic(12)
		}
	})},
	{"two-import-and-oom", label{
		Accept:    []string{"missing-import", "process-out-of-memory"},
		Incidents: []sub{{podOne, []string{"missing-import"}}, {podTwo, []string{"process-out-of-memory"}}}, Envoy: "1.31.3", Packed: "tar.gz", Dialect: "istio-json-122",
		Why:     "One sidecar cannot load a plugin, and another one is killed for memory.",
		BasedOn: "CATALOG.md LD-01, IA-06",
	}, twoPods("1.31.3", istioJSON, func(s *scene) {
		s.engine(s.main, "Failed to load Wasm module due to a missing import: wasi_snapshot_preview1.sched_yield")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.notReady(4)
		s.traffic(15)
	}, func(s *scene) {
		s.traffic(20)
		s.agent("warning", "", "Envoy may have been out of memory killed. Check memory usage and limits.")
		s.died("signal: killed")
	})},
	{"two-oob-and-upstream", label{
		Accept:    []string{"memory-out-of-bounds", "upstream-unreachable"},
		Incidents: []sub{{podOne, []string{"memory-out-of-bounds"}}, {podTwo, []string{"upstream-unreachable"}}}, Envoy: "1.30.5", Packed: "tar.gz", Dialect: "istio-tabs-thread",
		Why:     "A plugin reads beyond its memory in one pod; at another time and place a database is down.",
		BasedOn: "CATALOG.md TR-V8-OOB, section 7",
	}, twoPods("1.30.5", istioTabs, func(s *scene) {
		s.trap(s.workers[1], "proxy_on_response_body", "RuntimeError: memory access out of bounds", "inflate_fast", "Inflater::next(unsigned int)", "proxy_on_response_body")
		s.mixed(40, 0.5, s.refused)
	}, func(s *scene) {
		s.mixed(70, 0.7, func() request {
			return s.upstream(503, "UF,URX", "upstream_reset_before_response_started{connection_failure}", "delayed_connect_error:_111", "outbound|5432||store.data.svc.cluster.local")
		})
	})},
	{"one-panic-two-dialects", label{
		Accept: []string{"guest-panic"}, Envoy: "1.36.2", Packed: "tar.gz", Dialect: "istio-tabs-thread+istio-json-122",
		Why:     "The same panic in two pods, one of which logs text and the other JSON: one incident.",
		BasedOn: "CONTRACT.md (the same failure in three formats has one id)",
		Expect:  &expected{Plugin: "hub.sync", Callback: "proxy_on_response_headers", Location: "src/sync.rs:61:27", Pods: 2},
	}, func(k *kit) {
		var m []member
		for i, d := range []dialect{istioTabs, istioJSON} {
			s := newScene(k, "1.36.2", fmt.Sprintf("2026-01-30 08:0%d:00", i), 2).mesh("hub", "relay", false).plug("hub.sync", "", "")
			s.start().traffic(20)
			w := s.workers[i]
			s.say(w, "critical", "panicked at src/sync.rs:61:27:\ncalled `Option::unwrap()` on a `None` value")
			s.trap(w, "proxy_on_response_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "unwrap_failed"), s.method("sync::F", "HttpContext", "on_http_response_headers"))...)
			s.mixed(20, 0.5, s.refused)
			m = append(m, member{"relay/" + s.pod + ".log", bare(s.lines(d))})
		}
		k.count(m...)
		k.file("relay.tgz", gz(tarball(m...)))
	}},
	{"crash-loop-one-place", label{
		Accept: []string{"native-crash-in-wasm"}, Envoy: "1.27.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "Five crashes of one process at one place within half an hour, each followed by a restart: one incident.",
		BasedOn: "https://github.com/istio/istio/issues/33091",
	}, func(k *kit) {
		s := newScene(k, "1.27.2", "2024-01-11 06:00:00", 2).mesh("bid", "auction", false).plug("bid.floor", "", "")
		for range 5 {
			s.start().traffic(8)
			s.crash(s.workers[0], "Segmentation fault", "0x28", "", "Envoy::Extensions::Common::Wasm::createWasm()", "Envoy::Extensions::HttpFilters::Wasm::FilterConfig::FilterConfig()", "Envoy::Server::FilterChainManagerImpl::addFilterChains()", "Envoy::Event::DispatcherImpl::run()", "start_thread")
			s.died("signal: segmentation fault (core dumped)")
			s.wait(5 * time.Minute)
		}
		k.file("auction.log", bare(s.lines(istioTabs)))
	}},
	{"recovers-by-itself", label{
		Accept: []string{"memory-out-of-bounds"}, Envoy: "1.27.7", Packed: "plain", Dialect: "istio-spaces",
		Why:     "A vendor's proxy brings the virtual machine back after each of eight traps at one place: one incident.",
		BasedOn: "CATALOG.md OT-HIG-1",
		Expect:  &expected{Callback: "proxy_on_response_body"},
	}, func(k *kit) {
		s := newScene(k, "1.27.7", "2025-08-18 08:00:00", 2).mesh("hg", "gateway", true).plug("hg.ai-cache", "", "")
		s.wasmInfo = true
		s.start().traffic(20)
		for i := range 8 {
			w := s.workers[i%2]
			s.engine(w, "Function: proxy_on_response_body failed: Exception: out of bounds memory access")
			s.done(s.refused())
			s.wait(time.Second)
			s.logAt(w, "info", "wasm", "extensions/common/wasm/wasm.cc:520", "wasm vm recover from crash success")
			s.traffic(8)
		}
		k.file("gateway.log", bare(s.lines(istioSpaces)))
	}},
	{"cascade-trap-503-liveness", label{
		Accept: []string{"guest-panic"}, Contributing: []string{"fail-closed"}, Envoy: "1.28.4", Packed: "rotated", Dialect: "istio-tabs-thread",
		Why:     "One panic, two hours of refused requests over three rotated files, then somebody restarts the pod; the panic is in the oldest file.",
		BasedOn: "USER-ASKS.md 1; https://github.com/envoyproxy/envoy/issues/16726",
		Expect:  &expected{Plugin: "edu.grade", Callback: "proxy_on_request_headers", Location: "src/lib.rs:203:52"},
	}, func(k *kit) {
		s := newScene(k, "1.28.4", "2024-05-27 09:00:00", 1).mesh("edu", "grades", false).plug("edu.grade", "", "")
		s.start().traffic(50)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/lib.rs:203:52:\ncalled `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(true, s.rust("core", "result", "unwrap_failed"), s.method("grade::F", "HttpContext", "on_http_request_headers"))...)
		var data [][]byte
		for range 2 {
			s.mixed(55, 1, s.refused)
			data = append(data, bare(s.lines(istioTabs)))
			s.recs = nil
			s.wait(50 * time.Minute)
		}
		s.mixed(30, 1, s.refused)
		s.agent("info", "", "Agent draining Proxy for termination")
		s.agent("info", "", "Graceful termination period is 5s, starting...")
		s.wait(5 * time.Second)
		s.agent("info", "", "Graceful termination period complete, terminating remaining proxies.")
		s.agent("warning", "", "Aborting proxy")
		s.agent("info", "", "Aborted proxy instance")
		s.wait(9 * time.Second)
		s.start().traffic(15)
		data = append(data, bare(s.lines(istioTabs)))
		for _, d := range data {
			k.count(member{data: d})
		}
		k.file("istio-proxy.log.2.gz", gz(data[0]))
		k.file("istio-proxy.log.1", data[1])
		k.file("istio-proxy.log", data[2])
	}},
	{"cascade-shared-vm", label{
		Accept: []string{"guest-panic"}, Contributing: []string{"fail-closed"}, Envoy: "1.34.3", Packed: "plain", Dialect: "default",
		Why:     "Three plugins share one virtual machine; when one panics, the others fail too, and `already borrowed` lines follow as a consequence.",
		BasedOn: "CATALOG.md section 1 (7); https://github.com/proxy-wasm/proxy-wasm-rust-sdk/issues/255",
		Expect:  &expected{Plugin: "alpha", Callback: "proxy_on_request_headers", Location: "src/alpha.rs:44:17"},
	}, func(k *kit) {
		s := newScene(k, "1.34.3", "2025-08-28 16:00:00", 1).plug("alpha", "alpha", "shared")
		s.chatter = func(s *scene) string { return "ok" }
		s.start().traffic(50)
		s.chatter = nil
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/alpha.rs:44:17:\nexplicit panic")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("alpha", "decide"), s.method("alpha::F", "HttpContext", "on_http_request_headers"))...)
		s.sayAs(w, "critical", "panicked at /src/proxy-wasm-0.2.2/src/dispatcher.rs:137:44:\nalready borrowed: BorrowMutError", "beta", "beta", "shared")
		s.trap(w, "proxy_on_done", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "cell", "panic_already_borrowed"), s.rust("proxy_wasm", "dispatcher", "Dispatcher", "on_done"))...)
		s.mixed(70, 1, s.refused)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
}

// The pods of inputs with two incidents; labels name them.
const (
	podOne = "tenants-7d9c8b6f5-x4kzp"
	podTwo = "images-6c8d7f9b4-q2mnw"
)

// twoPods is an archive of two pods, each with a failure of its own.
func twoPods(version string, d dialect, one, two func(*scene)) func(*kit) {
	return func(k *kit) {
		var m []member
		for i, pod := range []string{podOne, podTwo} {
			service, _, _ := strings.Cut(pod, "-")
			s := newScene(k, version, fmt.Sprintf("2025-06-16 16:%d0:00", 1+i), 2).mesh("apps", service, false).plug("apps."+service, "", "")
			s.pod = pod
			s.start().traffic(20)
			if i == 0 {
				one(s)
			} else {
				two(s)
			}
			m = append(m, member{"case/apps/" + s.pod + "/istio-proxy.log", bare(s.lines(d))})
		}
		k.count(m...)
		k.file("case.tar.gz", gz(tarball(m...)))
	}
}
