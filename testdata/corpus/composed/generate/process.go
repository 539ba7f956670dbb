package main

import (
	"fmt"
	"time"
)

var (
	streamFrames = []string{"", "proxy_wasm::ContextBase::onLog()", "Envoy::Extensions::Common::Wasm::Context::log()", "Envoy::Http::ConnectionManagerImpl::ActiveStream::~ActiveStream()",
		"Envoy::Event::DispatcherImpl::clearDeferredDeleteList()", "Envoy::Event::DispatcherImpl::run()", "Envoy::Server::WorkerImpl::threadRoutine()", "Envoy::Thread::ThreadImplPosix::ThreadImplPosix()::{lambda()#1}::__invoke()", "start_thread"}
	plainFrames = []string{"__restore_rt", "Envoy::Upstream::HostImpl::~HostImpl()", "Envoy::Upstream::EdsClusterImpl::onConfigUpdate()", "Envoy::Config::GrpcSubscriptionImpl::onConfigUpdate()",
		"Envoy::Config::NewGrpcMuxImpl::onDiscoveryResponse()", "Envoy::Grpc::AsyncStreamImpl::onData()", "Envoy::Event::DispatcherImpl::run()", "Envoy::Server::InstanceImpl::run()", "Envoy::MainCommonBase::run()", "main", "__libc_start_main"}
)

// The process itself ends.
var processCases = []testCase{
	{"crash-wasm-symbols-then-uf", label{
		Accept: []string{"native-crash-in-wasm"}, Contributing: []string{"upstream-unreachable"}, Envoy: "1.25.2", Packed: "bug-report", Dialect: "istio-tabs-thread",
		Why:     "Envoy dies in its wasm host code at a configuration update; while the pod restarts, two callers log 503 UF: one incident.",
		BasedOn: "https://github.com/envoyproxy/envoy-wasm/issues/615, https://github.com/istio/istio/issues/33091",
	}, func(k *kit) {
		s := newScene(k, "1.25.2", "2023-06-06 06:00:00", 2).mesh("shop", "inventory", false).plug("shop.tags", "", "")
		s.start().traffic(30)
		died := s.now
		s.crash(s.workers[0], "Segmentation fault", "0x58", streamFrames...)
		s.died("signal: segmentation fault (core dumped)")
		s.wait(8 * time.Second)
		s.start().traffic(15)
		m := []member{{"bug-report/proxies/shop/" + s.pod + "/istio-proxy.log", bare(s.lines(istioTabs))}}
		for _, name := range []string{"cart", "front"} {
			c := newScene(k, "1.25.2", "2023-06-06 06:00:01", 2).mesh("shop", name, false)
			c.start()
			for c.now.Before(died) {
				c.wait(2 * time.Second)
				c.done(c.hit())
			}
			c.mixed(9, 0.8, func() request {
				return c.upstream(503, "UF", "upstream_reset_before_response_started{connection_failure}", "delayed_connect_error:_111", "outbound|8080||inventory.shop.svc.cluster.local")
			})
			c.traffic(12)
			m = append(m, member{"bug-report/proxies/shop/" + c.pod + "/istio-proxy.log", bare(c.lines(istioTabs))})
		}
		k.count(m...)
		k.file("bug-report.tar.gz", gz(tarball(m...)))
	}},
	{"crash-stripped-jit-addresses", label{
		Accept: []string{"native-crash-in-wasm", "native-crash"}, Envoy: "1.34.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "Addresses only; several lie outside Envoy's mapping, in generated code, right after a plugin's line on the same thread.",
		BasedOn: "https://github.com/Kuadrant/kuadrant-operator/issues/2112",
	}, func(k *kit) {
		s := newScene(k, "1.34.0", "2025-09-20 09:00:00", 2).mesh("api", "gateway", true).plug("api.auth-shim", "", "")
		s.start().traffic(60)
		w := s.workers[0]
		s.say(w, "warning", "auth server answered after stream was reset")
		s.crash(w, "Segmentation fault", "0x0", "0x7f1c2a842520", "", "", "0x1f3ac5e0b1c2", "0x1f3ac5e0a7e4", "0x1f3ac5e04411", "", "", "", "", "", "", "0x7f1c2a894ac3", "0x7f1c2a926850")
		s.died("signal: segmentation fault (core dumped)")
		k.file("istio-proxy-previous.log", bare(s.lines(istioTabs)))
	}},
	{"crash-pure-virtual", label{
		Accept: []string{"native-crash-in-wasm", "native-crash"}, Envoy: "1.21.1", Packed: "plain", Dialect: "istio-tabs-old",
		Why:     "libc++ prints a bare line, then the process aborts inside the wasm context.",
		BasedOn: "https://github.com/istio/istio/issues/28175, https://github.com/tetratelabs/proxy-wasm-go-sdk/issues/261",
	}, func(k *kit) {
		s := newScene(k, "1.21.1", "2022-04-20 20:00:00", 2).mesh("log", "shipper", false).plug("log.sink", "", "")
		s.start().traffic(60)
		s.raw("libc++abi: Pure virtual function called!")
		s.crash(s.workers[1], "Aborted", "0x53900000015", "__restore_rt", "abort", "__cxa_pure_virtual", "Envoy::Extensions::Common::Wasm::Context::getProperty()", "proxy_wasm::exports::get_property()", "v8::internal::wasm::WasmCallCFunction", "Envoy::Event::DispatcherImpl::run()", "start_thread")
		s.died("signal: aborted (core dumped)")
		k.file("proxy.log", bare(s.lines(istioOld)))
	}},
	{"crash-panic-not-implemented", label{
		Accept: []string{"native-crash-in-wasm", "native-crash"}, Envoy: "1.24.0", Packed: "plain", Dialect: "default",
		Why:     "A property the host never implemented ends in Envoy's own PANIC and abort; the request dump follows.",
		BasedOn: "https://github.com/envoyproxy/envoy/issues/24188",
	}, func(k *kit) {
		s := newScene(k, "1.24.0", "2022-11-24 03:00:00", 2).plug("props", "", "")
		s.start().traffic(70)
		w := s.workers[0]
		s.logAt(w, "critical", "assert", "extensions/filters/common/expr/context.h:95", "panic: not implemented")
		s.crash(w, "Aborted", "0x6500000001", "__restore_rt", "Envoy::Extensions::Filters::Common::Expr::HeadersWrapper<>::ListKeys()", "Envoy::Extensions::Common::Wasm::serializeValue()", "Envoy::Extensions::Common::Wasm::Context::getProperty()", "proxy_wasm::exports::get_property()", "start_thread")
		s.raw("ActiveStream 0x56509d3b1e00, stream_id_: 16794530381289454614&filter_manager_: \n  FilterManager 0x56509d3b1e78, state_.has_1xx_headers_: 0\n  filter_manager_callbacks_.requestHeaders(): \n    ':authority', 'orders.example.com'\n    ':path', '/orders/7'\n    ':method', 'GET'")
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"crash-single-entry", label{
		Accept: []string{"native-crash-in-wasm"}, Envoy: "1.39.2", Packed: "plain", Dialect: "json",
		Why:     "With --log-stacktrace-single-entry the whole native backtrace is one record, here in JSON.",
		BasedOn: "CATALOG.md NC-02",
	}, func(k *kit) {
		s := newScene(k, "1.39.2", "2026-09-09 09:09:00", 2).plug("wfs", "", "")
		s.start().traffic(60)
		text := "Backtrace (use tools/stack_decode.py to get line numbers):\nEnvoy version: " + s.hex(40) + "/1.39.2/Clean/RELEASE/BoringSSL\nAddress mapping: 55f0a1c00000-55f0a6400000 /usr/local/bin/envoy"
		for i, f := range []string{"__restore_rt", "Envoy::Extensions::Common::Wasm::Context::onResolveDns()", "Envoy::Extensions::Common::Wasm::Wasm::resolveQueue()", "proxy_wasm::exports::call_foreign_function()", "v8::internal::(anonymous namespace)::Invoke()", "start_thread"} {
			text += fmt.Sprintf("\n#%d: %s [0x55f0a2%06x]", i, f, s.r.Intn(1<<24))
		}
		s.logAt(s.workers[0], "critical", "backtrace", "./source/server/backtrace.h:161", "Caught Segmentation fault, suspect faulting address 0x8")
		s.logAt(s.workers[0], "critical", "backtrace", "./source/server/backtrace.h:172", text)
		k.file("envoy.json", bare(s.lines(envoyJSON)))
	}},
	{"crash-no-wasm-frames", label{
		Accept: []string{"native-crash"}, Decoy: true, Envoy: "1.30.2", Packed: "kboth", Dialect: "istio-tabs-thread",
		Why:     "A healthy plugin is loaded, but the process dies in cluster discovery: no frame of wasm.",
		BasedOn: "public incident 10-decoy-native",
	}, func(k *kit) {
		s := newScene(k, "1.30.2", "2024-08-20 20:20:00", 2).mesh("crm", "contacts", false).plug("crm.locale", "", "")
		s.chatter = func(s *scene) string { return "locale " + pick(s, "de", "fr", "cs") }
		s.start().traffic(60)
		s.crash(s.main, "Segmentation fault", "0x10", plainFrames...)
		s.died("signal: segmentation fault (core dumped)")
		k.file("contacts.txt", kboth(s.lines(istioTabs)))
	}},
	{"crash-exit-139-objects-only", label{
		Accept: []string{"native-crash", "native-crash-in-wasm"}, Envoy: "1.31.5", Packed: "pod-list", Dialect: "k8s",
		Why:     "Only a list of pods was saved: three proxies ended with 139 (a segmentation fault), their logs are gone.",
		BasedOn: "CATALOG.md NC-16",
		Expect:  &expected{Pods: 3},
	}, func(k *kit) {
		var pods []string
		for i := range 5 {
			s := newScene(k, "1.31.5", "2025-01-30 10:00:00", 2).mesh("edge", "front-proxy", true)
			s.istio = false
			c := ctr{name: "envoy", image: s.proxyImage(), ready: true}
			if i < 3 {
				at := s.now.Add(time.Duration(-400+i*40) * time.Second)
				c.restarts, c.last = 2+i, &ended{139, "Error", at.Add(-time.Hour), at}
			}
			pods = append(pods, podYAML(s, "  ", c))
		}
		k.file("pods.yaml", podList(pods...))
	}},
	{"oom-agent-and-pod-list", label{
		Accept: []string{"process-out-of-memory"}, Envoy: "1.36.2", Packed: "pod-list", Dialect: "istio-tabs-thread",
		Why:     "The agent guesses, the pod object proves: the sidecar ran into its memory limit.",
		BasedOn: "CATALOG.md IA-06, NC-16",
		Expect:  &expected{Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.36.2", "2026-03-17 08:00:00", 4).mesh("etl", "loader", false).plug("etl.enrich", "", "")
		s.start().traffic(90)
		s.agent("warning", "", "Envoy may have been out of memory killed. Check memory usage and limits.")
		s.died("signal: killed")
		k.file("previous/loader.log", bare(s.lines(istioTabs)))
		end := &ended{137, "OOMKilled", s.now.Add(-40 * time.Minute), s.now}
		other := newScene(k, "1.36.2", "2026-03-17 08:05:00", 2).mesh("etl", "writer", false)
		app := ctr{name: "app", image: "registry.example.com/etl/app:4", ready: true}
		k.file("pods.yaml", podList(podYAML(s, "  ", ctr{name: "istio-proxy", image: s.proxyImage(), ready: true, restarts: 1, last: end, limit: "256Mi"}, app), podYAML(other, "  ", ctr{name: "istio-proxy", image: s.proxyImage(), ready: true}, app)))
	}},
	{"oom-describe-and-events", label{
		Accept: []string{"process-out-of-memory"}, Envoy: "1.29.3", Packed: "describe", Dialect: "k8s",
		Why:     "No log at all: describe says OOMKilled for the proxy container, the events say back-off.",
		BasedOn: "CATALOG.md NC-16",
		Expect:  &expected{Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.29.3", "2024-06-24 10:00:00", 2).mesh("img", "resizer", false)
		end := &ended{137, "OOMKilled", s.now.Add(-7 * time.Minute), s.now}
		k.file("describe.txt", []byte(describe(s, []string{"Warning  BackOff    90s (x12 over 14m)     kubelet  Back-off restarting failed container istio-proxy in pod " + s.pod + "_img"},
			ctr{name: "istio-proxy", image: s.proxyImage(), restarts: 5, last: end, waiting: "CrashLoopBackOff", limit: "128Mi"}, ctr{name: "resizer", image: "registry.example.com/img/resizer:9", ready: true})))
		k.file("events.txt", events(event("img", "14m", "Normal", "Pulled", s.pod, "Container image already present on machine"), event("img", "90s", "Warning", "BackOff", s.pod, "Back-off restarting failed container istio-proxy in pod "+s.pod+"_img")))
	}},
	{"oom-v8-fatal", label{
		Accept: []string{"process-out-of-memory", "native-crash-in-wasm"}, Envoy: "1.28.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "V8 cannot allocate and ends the process: a bare block on stderr, then Envoy's crash handler with V8 frames.",
		BasedOn: "https://github.com/envoyproxy/envoy/issues/19720; CATALOG.md NC-14",
	}, func(k *kit) {
		s := newScene(k, "1.28.1", "2024-02-07 11:00:00", 8).mesh("edge", "ingress", true).plug("edge.a", "", "")
		s.start().traffic(50)
		s.raw("\n\n#\n# Fatal error in , line 0\n# Fatal process out of memory: Zone\n#\n#\n#\n#FailureMessage Object: 0x7fff2b0c5d90")
		s.crash(s.workers[3], "Illegal instruction", "0x55f3c1d0f2a2", "__restore_rt", "v8::base::OS::Abort()", "V8_Fatal()", "v8::internal::V8::FatalProcessOutOfMemory()", "v8::internal::Zone::Expand()", "v8::internal::wasm::WasmFullDecoder<>::DecodeOp()", "wasm::Module::make()", "proxy_wasm::v8::V8::load()", "proxy_wasm::WasmBase::load()", "Envoy::Extensions::Common::Wasm::createWasm()", "start_thread")
		s.died("signal: illegal instruction (core dumped)")
		k.file("ingress.log", bare(s.lines(istioTabs)))
	}},
	{"oom-envoy-new-handler", label{
		Accept: []string{"process-out-of-memory"}, Envoy: "1.35.4", Packed: "plain", Dialect: "default",
		Why:     "operator new fails: Envoy's own out of memory panic and abort.",
		BasedOn: "CATALOG.md NC-09",
	}, func(k *kit) {
		s := newScene(k, "1.35.4", "2026-01-02 02:00:00", 2)
		s.start().traffic(90)
		s.logAt(s.workers[0], "critical", "assert", "exe/main_common.cc:68", "panic: out of memory")
		s.crash(s.workers[0], "Aborted", "0x53900000001", "__restore_rt", "abort", "Envoy::(anonymous namespace)::oomHandler()", "operator new()", "Envoy::Buffer::OwnedImpl::add()", "Envoy::Http::Http2::ConnectionImpl::onData()", "start_thread")
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"watchdog-multikill-in-plugin", label{
		Accept: []string{"watchdog-kill", "guest-hang"}, Contributing: []string{"guest-hang"}, Envoy: "1.33.0", Packed: "plain", Dialect: "default",
		Why:     "Two workers loop in a plugin until the watchdog kills Envoy; the stack of the killed thread runs through the engine.",
		BasedOn: "CATALOG.md NC-12, NC-13",
	}, func(k *kit) {
		s := newScene(k, "1.33.0", "2025-02-28 14:00:00", 4).plug("regex", "", "")
		s.pod, s.ns, s.node = "edge-"+s.word(5), "edge", "node-1"
		s.start().traffic(90)
		s.wait(60 * time.Second)
		s.log("error", "misc", "server/guarddog_impl.cc:168", "Watchdog MULTIKILL as 2 threads are stuck.")
		s.log("error", "misc", "common/watchdog/abort_action.cc:57", fmt.Sprintf("Watchdog AbortAction terminating thread with tid %d.", s.workers[1]))
		s.crash(s.workers[1], "Aborted", "0x1", "__restore_rt", "0x2c7f3b1804f1", "0x2c7f3b1802aa", "v8::internal::Execution::CallWasm()", "wasm::Func::call()", "proxy_wasm::v8::V8::getModuleFunctionImpl<>()", "proxy_wasm::ContextBase::onRequestHeaders()", "Envoy::Http::FilterManager::decodeHeaders()", "start_thread")
		k.file("envoy-previous.log", bare(s.lines(plainEnvoy)))
		k.file("pod.yaml", []byte(podYAML(s, "", ctr{name: "envoy", image: s.proxyImage(), ready: true, restarts: 1, last: &ended{134, "Error", s.now.Add(-3 * time.Minute), s.now}})))
	}},
	{"watchdog-kill-without-wasm", label{
		Accept: []string{"watchdog-kill"}, Decoy: true, Envoy: "1.28.5", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A starved node: the watchdog ends Envoy, no plugin is configured and no frame is of wasm.",
		BasedOn: "CATALOG.md NC-12, NC-13",
	}, func(k *kit) {
		s := newScene(k, "1.28.5", "2024-09-09 02:00:00", 2).mesh("batch", "runner", false)
		s.start().traffic(70)
		s.wait(40 * time.Second)
		s.log("error", "misc", "server/guarddog_impl.cc:168", "Watchdog MULTIKILL as 3 threads are stuck.")
		s.log("error", "misc", "common/watchdog/abort_action.cc:57", fmt.Sprintf("Watchdog AbortAction terminating thread with tid %d.", s.main))
		s.crash(s.main, "Aborted", "0x1", "__restore_rt", "epoll_wait", "event_base_loop", "Envoy::Event::DispatcherImpl::run()", "Envoy::Server::InstanceImpl::run()", "main")
		s.died("signal: aborted (core dumped)")
		k.file("runner.log", bare(s.lines(istioTabs)))
	}},
	{"guest-panic-then-native-crash", label{
		Accept:    []string{"guest-panic", "native-crash-in-wasm"},
		Incidents: []sub{{podOne, []string{"guest-panic"}}, {podOne, []string{"native-crash-in-wasm", "native-crash"}}}, Envoy: "1.34.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A plugin panics; hours later, at a configuration update, Envoy crashes natively in the clean-up of the dead context.",
		BasedOn: "https://github.com/envoyproxy/envoy/pull/38865",
	}, func(k *kit) {
		s := newScene(k, "1.34.1", "2025-07-30 07:00:00", 2).mesh("news", "reader", false).plug("news.paywall", "", "")
		s.pod = podOne
		s.start().traffic(40)
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/paywall.rs:77:39:\ncalled `Option::unwrap()` on a `None` value")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "unwrap_failed"), s.method("paywall::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(50, 0.5, s.refused)
		s.wait(3 * time.Hour)
		s.mixed(20, 0.5, s.refused)
		s.crash(w, "Segmentation fault", "0x18", "__restore_rt", "Envoy::Http::AsyncRequestImpl::cancel()", "Envoy::Extensions::Common::Wasm::Context::~Context()", "proxy_wasm::WasmBase::~WasmBase()", "Envoy::ThreadLocal::InstanceImpl::SlotImpl::~SlotImpl()", "Envoy::Event::DispatcherImpl::run()", "start_thread")
		s.died("signal: segmentation fault (core dumped)")
		k.file("reader.log", bare(s.lines(istioTabs)))
	}},
}

// upstream is a request whose upstream failed.
func (s *scene) upstream(code int, flags, details, fail, cluster string) request {
	q := s.hit()
	q.code, q.flags, q.details, q.fail, q.tx, q.ms, q.upMs = code, flags, details, fail, 91, 5+s.r.Intn(40), -1
	if cluster != "" {
		q.cluster = cluster
		q.authority = "10.0.0.9:8080"
	}
	return q
}
