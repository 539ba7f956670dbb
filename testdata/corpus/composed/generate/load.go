package main

import (
	"fmt"
	"time"
)

// Modules that do not load, plugins that refuse to start.
var loadCases = []testCase{
	{"malloc-istio-nack", label{
		Accept: []string{"missing-malloc"}, Envoy: "1.32.2", Packed: "ktimes", Dialect: "istio-tabs-thread",
		Why:     "The module exports no allocator; the extension update is refused and the gateway never gets ready.",
		BasedOn: "CATALOG.md LD-10, LD-30, IA-08",
		Expect:  &expected{Plugin: "edge.header-tagger"},
	}, func(k *kit) {
		s := newScene(k, "1.32.2", "2025-02-03 09:12:01", 2).mesh("edge", "ingress-east", true).plug("edge.header-tagger", "header_tagger", "")
		s.start().traffic(60)
		for range 3 {
			s.vmFailed(s.main, "Wasm module is missing malloc function.")
			s.vmFailed(s.main, "Failed to initialize Wasm code")
			s.closed()
			s.nack(ecds, s.unable())
			s.notReady(3)
			s.traffic(15)
		}
		k.file("kubectl-logs.txt", ktimes(s.lines(istioTabs)))
	}},
	{"malloc-free-oldest-wording", label{
		Accept: []string{"missing-malloc"}, Envoy: "1.14.1", Packed: "plain", Dialect: "istio-tabs-17",
		Why:     "The oldest wording: the host wants malloc and free and finds neither.",
		BasedOn: "https://github.com/proxy-wasm/proxy-wasm-rust-sdk/issues/3",
	}, func(k *kit) {
		s := newScene(k, "1.14.1", "2020-05-11 10:02:00", 2).mesh("default", "httpbin", false).plug("hello", "hello_root", "")
		s.start().traffic(50)
		s.log("error", "wasm", "extensions/common/wasm/wasm.cc:292", "WASM missing malloc/free")
		s.log("warning", "config", "common/config/grpc_subscription_impl.cc:87", "gRPC config for type.googleapis.com/envoy.api.v2.Listener rejected: Error adding/updating listener(s) virtualInbound: Unable to create Wasm HTTP filter hello")
		s.traffic(60)
		k.file("sidecar.log", bare(s.lines(istio16)))
	}},
	{"malloc-hides-import", label{
		Accept: []string{"missing-import", "missing-malloc"}, Envoy: "1.17.0", Packed: "plain", Dialect: "default",
		Why:     "The error speaks of malloc, but the trace lines before it name an import this host does not offer.",
		BasedOn: "https://github.com/proxy-wasm/proxy-wasm-cpp-sdk/issues/57",
	}, func(k *kit) {
		s := newScene(k, "1.17.0", "2021-03-02 15:40:07", 2).plug("", "geo", "geo_vm")
		s.startEnvoy()
		for _, f := range []string{"env.proxy_log", "env.proxy_get_property", "env.proxy_get_header_map_value", "wasi_snapshot_preview1.proc_exit", "env.proxy_continue_stream"} {
			s.log("trace", "wasm", "extensions/common/wasm/wasm_vm.cc:71", "[wasm] link: "+f)
		}
		s.log("trace", "wasm", "extensions/common/wasm/wasm_vm.cc:71", "Failed to load Wasm module due to a missing import: env.getentropy")
		s.vmFailed(s.main, "Wasm module is missing malloc function.")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.exit1("Unable to create Wasm HTTP filter ")
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"import-wbindgen-compose", label{
		Accept: []string{"missing-import"}, Envoy: "1.36.2", Packed: "compose", Dialect: "default",
		Why:     "A crate for browsers drags in wasm-bindgen placeholders; the container restarts four times.",
		BasedOn: "https://github.com/otomato-gh/proxy-wasm-rust/issues/1",
		Expect:  &expected{Plugin: "jwt_lite"},
	}, func(k *kit) {
		s := newScene(k, "1.36.2", "2026-01-14 18:20:00", 2).plug("jwt_lite", "", "")
		s.service = "gateway"
		for range 4 {
			s.startEnvoy()
			s.engine(s.main, "Failed to load Wasm module due to a missing import: __wbindgen_placeholder__.__wbindgen_describe")
			s.vmFailed(s.main, "Failed to initialize Wasm code")
			s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:616", "Plugin jwt_lite failed to load")
			s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:467", "Plugin configured to fail closed failed to load")
			s.exit1("Unable to create Wasm plugin jwt_lite")
			s.raw("gateway-1 exited with code 1")
			s.wait(3 * time.Second)
		}
		app := newScene(k, "1.36.2", "2026-01-14 18:20:01", 1)
		app.service = "backend"
		for i := range 20 {
			app.wait(time.Second)
			app.raw(fmt.Sprintf("%s INFO listening, %d requests so far", app.now.Format(time.RFC3339), i*3))
		}
		k.file("compose.log", compose(merge(s.lines(plainEnvoy), app.lines(plainEnvoy))))
	}},
	{"import-three-at-once", label{
		Accept: []string{"missing-import"}, Envoy: "1.20.1", Packed: "kprefix", Dialect: "istio-tabs-old",
		Why:     "This V8 names every missing import; the update is refused again and again, about every second.",
		BasedOn: "https://github.com/envoyproxy/envoy/issues/20483, https://github.com/proxy-wasm/proxy-wasm-cpp-host/issues/287",
	}, func(k *kit) {
		s := newScene(k, "1.20.1", "2022-03-23 15:38:10", 4).mesh("shop", "catalog", false).plug("", "body_filter", "")
		s.start().traffic(40)
		for range 12 {
			s.wait(time.Second)
			for _, f := range []string{"fd_prestat_get", "fd_prestat_dir_name", "path_open"} {
				s.engine(s.main, "Failed to load Wasm module due to a missing import: wasi_snapshot_preview1."+f)
			}
			s.vmFailed(s.main, "Failed to initialize Wasm code")
			s.closed()
			s.nack(ecds, s.unable())
			s.traffic(2)
		}
		k.file("logs.txt", kprefix(s.lines(istioOld)))
	}},
	{"import-wasmtime-json", label{
		Accept: []string{"missing-import"}, Envoy: "1.39.1", Packed: "plain", Dialect: "json",
		Why:     "wasmtime's own words for an import nobody offers, in JSON with keys of the operator's choice.",
		BasedOn: "CATALOG.md LD-03",
		Expect:  &expected{Plugin: "tenant-router"},
	}, func(k *kit) {
		s := newScene(k, "1.39.1", "2026-08-30 05:00:11", 2).plug("tenant-router", "", "")
		s.startEnvoy()
		s.engine(s.main, "Failed to create new Wasm instance: unknown import: `env::proxy_get_header` has not been defined")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.exit1(s.unable())
		k.file("envoy.json", bare(s.lines(envoyJSON)))
	}},
	{"import-wamr-escaped", label{
		Accept: []string{"missing-import"}, Envoy: "1.34.0", Packed: "gz", Dialect: "escaped",
		Why:     "An Emscripten system call became an import of env; the engine is WAMR and line breaks are escaped.",
		BasedOn: "CATALOG.md LD-01; public incident with __syscall_pipe",
	}, func(k *kit) {
		s := newScene(k, "1.34.0", "2025-06-02 11:00:00", 2).plug("transcoder", "", "")
		s.start()
		s.traffic(70)
		s.engine(s.main, "Failed to load Wasm module due to a missing import: env.__syscall_pipe")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.log("warning", "config", "common/listener_manager/lds_api.cc:125", "Error adding/updating listener(s) edge_https: "+s.unable()+"\n")
		s.traffic(70)
		data := bare(s.lines(escaped))
		k.count(member{data: data})
		k.file("edge-proxy.log.gz", gz(data))
	}},
	{"import-vendor-call-json", label{
		Accept: []string{"missing-import"}, Envoy: "1.27.7", Packed: "plain", Dialect: "istio-json-117",
		Why:     "The module was built for a vendor's Envoy and calls a host function the stock proxy lacks.",
		BasedOn: "CATALOG.md LD-01 (vendor host calls)",
	}, func(k *kit) {
		s := newScene(k, "1.27.7", "2024-09-19 13:30:00", 2).mesh("gateway-system", "gateway", true).plug("gateway-system.ai-proxy", "", "")
		s.start().traffic(35)
		s.engine(s.main, "Failed to load Wasm module due to a missing import: env.proxy_inject_encoded_data_to_filter_chain")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.nack(ecds, "Unable to create Wasm HTTP filter gateway-system.ai-proxy")
		s.notReady(4)
		s.traffic(20)
		k.file("gateway.json.log", bare(s.lines(istioJSON17)))
	}},
	{"import-type-for-function", label{
		Accept: []string{"import-type-mismatch"}, Envoy: "1.30.4", Packed: "docker-json", Dialect: "default",
		Why:     "Twelve parameters wanted, ten offered; the wording of an engine other than V8.",
		BasedOn: "CATALOG.md LD-02",
	}, func(k *kit) {
		s := newScene(k, "1.30.4", "2024-08-01 07:14:00", 2).plug("grpc-quota", "", "")
		s.startEnvoy()
		s.engine(s.main, "Failed to load Wasm module due to an import type mismatch for function env.proxy_grpc_call, want: i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32, but host exports: i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 -> i32")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:471", "Plugin configured to fail closed failed to load")
		s.exit1("Unable to create Wasm HTTP filter grpc-quota")
		k.file("3f0a-json.log", docker(s.lines(plainEnvoy)))
	}},
	{"import-type-wasmtime", label{
		Accept: []string{"import-type-mismatch"}, Envoy: "1.40.0", Packed: "syslog", Dialect: "default",
		Why:     "wasmtime explains an incompatible import over several lines, and syslog prefixes each of them.",
		BasedOn: "CATALOG.md LD-03",
	}, func(k *kit) {
		s := newScene(k, "1.40.0", "2026-10-03 22:10:40", 2).plug("audit", "", "")
		s.node = "edge-7"
		s.startEnvoy()
		s.engine(s.main, "Failed to create new Wasm instance: incompatible import type for `env::proxy_http_call`\n\nCaused by:\n    types incompatible: expected type `(func (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32))`, found type `(func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32))`")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.exit1(s.unable())
		k.file("messages", syslog(s.lines(plainEnvoy)))
	}},
	{"abi-component-json", label{
		Accept: []string{"unknown-abi"}, Envoy: "1.36.1", Packed: "plain", Dialect: "istio-json-122",
		Why:     "A component was pushed instead of a proxy-wasm module; the JSON keys are those of Istio 1.22 and later.",
		BasedOn: "CATALOG.md LD-07, LD-09",
		Expect:  &expected{Plugin: "payments.token-check"},
	}, func(k *kit) {
		s := newScene(k, "1.36.1", "2026-02-20 08:01:00", 2).mesh("payments", "ledger", false).plug("payments.token-check", "", "")
		s.start().traffic(30)
		s.vmFailed(s.main, "Missing or unknown Proxy-Wasm ABI version")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(25)
		k.file("istio-proxy.json", bare(s.lines(istioJSON)))
	}},
	{"abi-chat-quote", label{
		Accept: []string{"unknown-abi"}, Envoy: "1.25.9", Packed: "quoted", Dialect: "istio-spaces",
		Why:     "Eight lines pasted into a chat with quote marks; tabs became spaces.",
		BasedOn: "https://github.com/solo-io/proxy-runtime/issues/64",
	}, func(k *kit) {
		s := newScene(k, "1.25.9", "2023-05-02 14:00:31", 2).mesh("default", "web", false).plug("", "", "")
		s.vmFailed(s.main, "Missing or unknown Proxy-Wasm ABI version")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.closed()
		s.nack(ecds, "Unable to create Wasm HTTP filter ")
		note := "hey, since the last push our AssemblyScript filter does not come up any more. this is all I get:\n\n"
		k.file("message.txt", []byte(note+string(quoted(s.lines(istioSpaces)))+"\nany idea? it worked with asc 0.19\n"))
	}},
	{"export-bad-signature", label{
		Accept: []string{"export-signature"}, Envoy: "1.33.4", Packed: "stern", Dialect: "istio-tabs-thread",
		Why:     "The module claims ABI 0.2 but its header callback takes two arguments.",
		BasedOn: "CATALOG.md LD-11",
	}, func(k *kit) {
		s := newScene(k, "1.33.4", "2025-05-20 06:00:00", 2).mesh("iot", "ingest", false).plug("iot.stamp", "", "")
		s.start().traffic(60)
		s.engine(s.main, "Bad function signature for: proxy_on_request_headers, want: i32 i32 i32 -> i32, but the module exports: i32 i32 -> i32")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(60)
		k.file("stern.txt", stern(s.lines(istioTabs)))
	}},
	{"export-bad-signature-wamr", label{
		Accept: []string{"export-signature"}, Envoy: "1.38.0", Packed: "journald-json", Dialect: "default",
		Why:     "A hand-written module returns nothing from its configure hook; exported from the journal as JSON.",
		BasedOn: "CATALOG.md LD-11",
	}, func(k *kit) {
		s := newScene(k, "1.38.0", "2026-05-12 03:10:00", 2).plug("mini", "", "")
		s.node = "edge-2"
		s.startEnvoy()
		s.engine(s.main, "Bad function signature for: proxy_on_configure, want: i32 i32 -> i32, but the module exports: i32 i32 -> void")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.exit1(s.unable())
		k.file("journal.json", journalJSON(s.lines(plainEnvoy)))
	}},
	{"corrupt-html-page", label{
		Accept: []string{"module-corrupt", "module-fetch-failed"}, Envoy: "1.35.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The artefact server answers 200 with a login page; the agent finds no wasm in it and denies all requests.",
		BasedOn: "CATALOG.md IA-01, IA-02, AL-04",
	}, func(k *kit) {
		s := newScene(k, "1.35.1", "2025-11-18 12:00:00", 2).mesh("shop", "cart", false).plug("shop.promo", "", "")
		s.start().traffic(40)
		s.agent("info", "wasm", "fetching Wasm module https://artifacts.example.com/promo/latest.wasm")
		s.agent("error", "wasm", "error in converting the wasm config to local: cannot fetch Wasm module https://artifacts.example.com/promo/latest.wasm: fetched Wasm binary from https://artifacts.example.com/promo/latest.wasm is invalid. applying deny RBAC filter")
		s.mixed(70, 1, s.denied)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
	}},
	{"corrupt-truncated-file", label{
		Accept: []string{"module-corrupt"}, Envoy: "1.31.0", Packed: "plain", Dialect: "custom-pipes",
		Why:     "A half-copied file; the operator's own log format separates fields with bars.",
		BasedOn: "CATALOG.md LD-09",
	}, func(k *kit) {
		s := newScene(k, "1.31.0", "2024-11-06 19:30:00", 2).plug("limits", "", "")
		s.startEnvoy()
		s.vmFailed(s.main, "Failed to parse corrupted Wasm module")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:471", "Plugin configured to fail closed failed to load")
		s.exit1("Unable to create Wasm HTTP filter limits")
		k.file("edge.log", bare(s.lines(pipes)))
	}},
	{"corrupt-unknown-feature", label{
		Accept: []string{"module-corrupt"}, Envoy: "1.19.1", Packed: "tar.gz", Dialect: "default",
		Why:     "A new toolchain emits features this V8 does not know; it refuses without a reason.",
		BasedOn: "CATALOG.md LD-08",
	}, func(k *kit) {
		s := newScene(k, "1.19.1", "2023-01-10 09:00:00", 2).plug("rewriter", "", "")
		s.startEnvoy()
		s.vmFailed(s.main, "Failed to load Wasm bytecode")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:471", "Plugin configured to fail closed failed to load")
		s.exit1("Unable to create Wasm HTTP filter rewriter")
		m := []member{{"logs/envoy.stderr", bare(s.lines(plainEnvoy))}, {"logs/README", []byte("rewriter 0.9, built with the new compiler\n")}}
		k.count(m...)
		k.file("logs.tar.gz", gz(tarball(m...)))
	}},
	{"corrupt-wasmtime-reason", label{
		Accept: []string{"module-corrupt"}, Envoy: "1.39.2", Packed: "vector-json", Dialect: "default",
		Why:     "wasmtime says where the module is broken; every line sits in a shipper's JSON.",
		BasedOn: "CATALOG.md LD-08b",
	}, func(k *kit) {
		s := newScene(k, "1.39.2", "2026-09-14 10:10:00", 2).plug("geo", "", "")
		s.pod, s.ns, s.node = "edge-7c5d9f-"+s.word(5), "edge", "node-2"
		s.startEnvoy()
		s.engine(s.main, "Failed to load Wasm module: failed to parse WebAssembly module\n\nCaused by:\n    Invalid input WebAssembly code at offset 41873: unexpected end-of-file")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.closed()
		s.exit1(s.unable())
		k.file("edge.ndjson", vector(s.lines(plainEnvoy)))
	}},
	{"not-found-local-file", label{
		Accept: []string{"module-not-found"}, Envoy: "1.28.3", Packed: "describe", Dialect: "default",
		Why:     "The volume with the module was never mounted; the pod crash-loops.",
		BasedOn: "https://github.com/openclarity/apiclarity/issues/375",
	}, func(k *kit) {
		s := newScene(k, "1.28.3", "2024-03-22 10:00:00", 2).plug("trace-agent", "", "")
		s.pod, s.ns, s.node = "traces-6d5f8b-"+s.word(5), "apis", "node-5"
		s.startEnvoy()
		s.exit1("Invalid path: /plugins/http-trace-filter.wasm")
		k.file("previous.log", bare(s.lines(plainEnvoy)))
		end := &ended{1, "Error", s.now.Add(-time.Second), s.now}
		k.file("describe.txt", []byte(describe(s, []string{"Warning  BackOff    2m (x9 over 4m)        kubelet  Back-off restarting failed container envoy in pod " + s.pod}, ctr{name: "envoy", image: s.proxyImage(), restarts: 6, last: end, waiting: "CrashLoopBackOff"})))
	}},
	{"not-found-lds-update", label{
		Accept: []string{"module-not-found"}, Envoy: "1.24.7", Packed: "plain", Dialect: "istio-tabs-old",
		Why:     "An EnvoyFilter names a file that is not in the image; the listener is refused, the old one serves on.",
		BasedOn: "https://github.com/openclarity/apiclarity/issues/375",
	}, func(k *kit) {
		s := newScene(k, "1.24.7", "2023-03-01 16:00:00", 2).mesh("apis", "profile", false).plug("trace", "", "")
		s.start().traffic(60)
		for range 3 {
			s.nack("type.googleapis.com/envoy.config.listener.v3.Listener", "Error adding/updating listener(s) virtualInbound: Invalid path: /var/local/lib/wasm-filters/http-trace-filter.wasm\n")
			s.notReady(2)
			s.traffic(20)
		}
		k.file("istio-proxy.log", bare(s.lines(istioOld)))
	}},
	{"not-found-404-deny", label{
		Accept: []string{"module-not-found", "module-fetch-failed"}, Envoy: "1.34.3", Packed: "cri", Dialect: "istio-tabs-thread",
		Why:     "The module's URL answers 404; since Istio 1.25 the agent turns that into a deny filter, so clients see 403.",
		BasedOn: "CATALOG.md IA-01, IA-02, AL-04",
	}, func(k *kit) {
		s := newScene(k, "1.34.3", "2025-08-08 08:00:00", 2).mesh("media", "thumbs", false).plug("media.resize", "", "")
		s.start().traffic(25)
		s.agent("error", "wasm", "error in converting the wasm config to local: cannot fetch Wasm module https://plugins.example.com/resize/2.1.0.wasm: wasm module download failed after 5 attempts, last error: wasm module download request failed: status code 404. applying deny RBAC filter")
		s.mixed(60, 1, s.denied)
		k.file("0.log", cri(s.lines(istioTabs)))
	}},
	{"fetch-unauthorized-403-storm", label{
		Accept: []string{"module-fetch-failed"}, Envoy: "1.36.0", Packed: "bug-report", Dialect: "istio-tabs-thread",
		Why:     "The pull secret is missing: the registry answers 401, the agent applies a deny filter in two pods, all clients get 403.",
		BasedOn: "https://github.com/networking-incubator/coraza-kubernetes-operator/pull/232",
		Expect:  &expected{Pods: 2},
	}, func(k *kit) {
		var m []member
		for range 2 {
			s := newScene(k, "1.36.0", "2026-01-09 07:30:00", 2).mesh("waf", "ingress-public", true).plug("waf.coraza", "", "")
			s.start().traffic(20)
			s.agent("info", "wasm", "fetching image waf/coraza from registry registry.example.com with tag 0.6.0")
			s.agent("error", "wasm", "error in converting the wasm config to local: cannot fetch Wasm module oci://registry.example.com/waf/coraza:0.6.0: could not fetch Wasm OCI image: could not fetch manifest: GET https://registry.example.com/v2/waf/coraza/manifests/0.6.0: unexpected status code 401 Unauthorized. applying deny RBAC filter")
			s.mixed(45, 1, s.denied)
			m = append(m, member{"bug-report/proxies/waf/" + s.pod + "/istio-proxy.log", bare(s.lines(istioTabs))})
		}
		m = append(m, member{"bug-report/istio/istio-system/istiod-6f9c7d-k2x8p/discovery.log", istiod(k, "2026-01-09 07:29:00", 40)},
			member{"bug-report/versions", []byte("client version: 1.28.0\ncontrol plane version: 1.28.0\n")})
		k.count(m...)
		k.file("bug-report.tar.gz", gz(tarball(m...)))
	}},
	{"fetch-retry-limit-forever", label{
		Accept: []string{"module-fetch-failed"}, Contributing: []string{"fail-closed"}, Envoy: "1.33.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "Envoy fetches the module itself, gives up after its retries and never tries again; every request is refused from then on.",
		BasedOn: "CATALOG.md LD-21, LD-16; public incident 7-fetch-ecds",
		Expect:  &expected{Plugin: "policy-shim"},
	}, func(k *kit) {
		s := newScene(k, "1.33.0", "2025-03-10 02:00:00", 2).mesh("gateway", "edge-istio", true).plug("policy-shim", "", "")
		s.start()
		s.log("warning", "wasm", "extensions/common/wasm/wasm.cc:348", "Wasm remote code fetch is unstable and may cause a crash")
		s.wait(31 * time.Second)
		s.log("warning", "wasm", "extensions/common/wasm/remote_async_datasource.cc:35", "Retry limit exceeded for fetching data from remote data source.")
		s.closed()
		s.mixed(110, 1, s.refused)
		k.file("gateway.log", bare(s.lines(istioTabs)))
	}},
	{"fetch-manifest-unknown", label{
		Accept: []string{"module-fetch-failed", "module-not-found"}, Envoy: "1.30.1", Packed: "kboth", Dialect: "istio-tabs-thread",
		Why:     "A tag that was never pushed; before Istio 1.25 the agent answers with a NACK and the listener stays in warming.",
		BasedOn: "CATALOG.md IA-02; https://github.com/istio/istio/issues/41450",
	}, func(k *kit) {
		s := newScene(k, "1.30.1", "2024-07-15 09:45:00", 2).mesh("users", "profile", false).plug("users.mask", "", "")
		s.start().traffic(50)
		for range 4 {
			s.agent("info", "wasm", "fetching image users/mask from registry registry.example.com with tag 1.4.0-rc2")
			s.wait(300 * time.Millisecond)
			s.agent("error", "wasm", "cannot fetch Wasm module oci://registry.example.com/users/mask:1.4.0-rc2: could not fetch Wasm OCI image: could not fetch manifest: GET https://registry.example.com/v2/users/mask/manifests/1.4.0-rc2: MANIFEST_UNKNOWN: manifest unknown; map[Tag:1.4.0-rc2]")
			s.notReady(2)
			s.traffic(10)
		}
		k.file("kubectl.txt", kboth(s.lines(istioTabs)))
	}},
	{"fetch-oci-wrong-layout", label{
		Accept: []string{"module-fetch-failed", "module-corrupt"}, Envoy: "1.37.0", Packed: "zst", Dialect: "istio-json-122",
		Why:     "The image has one layer of the wrong media type, so the agent cannot find a module in it.",
		BasedOn: "https://github.com/higress-group/higress/issues/4528",
	}, func(k *kit) {
		s := newScene(k, "1.37.0", "2026-04-02 11:00:00", 2).mesh("ai", "chat", true).plug("ai.quota", "", "")
		s.start().traffic(25)
		s.agent("error", "wasm", "error in converting the wasm config to local: cannot fetch Wasm module oci://registry.example.com/ai/quota:2.0.0: could not fetch Wasm binary: the given image is in invalid format as an OCI image: 2 errors occurred:\n\t* could not parse as compat variant: invalid media type application/vnd.wasm.content.layer.v1+wasm (expect application/vnd.oci.image.layer.v1.tar+gzip)\n\t* could not parse as oci variant: number of layers must be 2 but got 1\n\n. applying deny RBAC filter")
		s.mixed(40, 1, s.denied)
		data := bare(s.lines(istioJSON))
		k.count(member{data: data})
		k.file("chat.json.zst", zst(data))
	}},
	{"fetch-size-limit-controller", label{
		Accept: []string{"module-fetch-failed"}, Envoy: "1.35.0", Packed: "plain", Dialect: "controller-json",
		Why:     "The controller of a gateway refuses a module above its size limit; only its own log tells.",
		BasedOn: "CATALOG.md IA-13; https://github.com/istio/istio/issues/59322",
	}, func(k *kit) {
		s := newScene(k, "1.35.0", "2025-10-01 10:00:00", 1)
		line := func(level, name, msg string, kv ...any) {
			s.wait(700 * time.Millisecond)
			s.raw(pairs(append([]any{"level", level, "ts", s.now.Format("2006-01-02T15:04:05.000Z"), "logger", name, "caller", "runner/runner.go:142", "msg", msg, "runner", "gateway-api"}, kv...)...))
		}
		for i := range 60 {
			line("info", "gateway-api", "reconciled gateway", "generation", i)
		}
		for range 3 {
			line("error", "wasm-cache", "failed to get Wasm module", "url", "https://artifacts.example.com/ml-guard.wasm", "error", "wasm module size exceeds maximum size 268435456")
			line("error", "gateway-api", "failed to translate EnvoyExtensionPolicy", "name", "edge/ml-guard", "error", "failed to get Wasm module https://artifacts.example.com/ml-guard.wasm after 5 attempts")
			for i := range 10 {
				line("info", "gateway-api", "reconciled gateway", "generation", 60+i)
			}
		}
		k.file("envoy-gateway.log", bare(s.lines(plainEnvoy)))
	}},
	{"checksum-differs", label{
		Accept: []string{"module-checksum"}, Envoy: "1.34.1", Packed: "stackdriver", Dialect: "istio-tabs-thread",
		Why:     "A mutable tag moved while the digest stayed pinned; exported from a cloud log viewer.",
		BasedOn: "https://github.com/istio/istio/issues/38989; CATALOG.md IA-02",
	}, func(k *kit) {
		s := newScene(k, "1.34.1", "2025-07-11 15:00:00", 2).mesh("pay", "cards", false).plug("pay.tokenize", "", "")
		s.start().traffic(15)
		s.agent("error", "wasm", "error in converting the wasm config to local: cannot fetch Wasm module https://artifacts.example.com/tokenize.wasm: module downloaded from https://artifacts.example.com/tokenize.wasm has checksum "+s.hex(64)+", which does not match: "+s.hex(64)+". applying deny RBAC filter")
		s.mixed(35, 1, s.denied)
		k.file("logs-export.json", stackdriver(s.lines(istioTabs)))
	}},
	{"checksum-not-given", label{
		Accept: []string{"module-checksum", "config-rejected"}, Envoy: "1.29.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A remote source without sha256 fails validation.",
		BasedOn: "https://github.com/istio/istio/issues/47227",
	}, func(k *kit) {
		s := newScene(k, "1.29.1", "2024-04-22 12:00:00", 2).mesh("blog", "posts", false).plug("blog.feed", "", "")
		s.start().traffic(50)
		for range 3 {
			s.nack(ecds, "Proto constraint validation failed (WasmValidationError.Config: embedded message failed validation | caused by PluginConfigValidationError.VmConfig: embedded message failed validation | caused by VmConfigValidationError.Code: embedded message failed validation | caused by AsyncDataSourceValidationError.Remote: embedded message failed validation | caused by RemoteDataSourceValidationError.Sha256: value length must be at least 1 characters)")
			s.traffic(15)
		}
		k.file("proxy.log", bare(s.lines(istioTabs)))
	}},
	{"config-duplicate-environment", label{
		Accept: []string{"config-rejected"}, Envoy: "1.34.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A plugin's VM configuration names an environment variable twice; Envoy refuses the configuration before it looks at the module.",
		BasedOn: "CATALOG.md LD-27",
	}, func(k *kit) {
		s := newScene(k, "1.34.2", "2025-08-04 08:00:00", 2).mesh("blog", "posts", false).plug("blog.feed", "", "")
		s.start().traffic(40)
		for range 4 {
			s.nack(ecds, "Key REGION is duplicated in envoy.extensions.wasm.v3.VmConfig.environment_variables for blog.feed. All the keys must be unique.")
			s.traffic(12)
		}
		k.file("posts.log", bare(s.lines(istioTabs)))
	}},
	{"import-nginx-host", label{
		Accept: []string{"missing-import"}, Envoy: "", Packed: "plain", Dialect: "nginx",
		Why:     "Another proxy-wasm host, built on nginx and wasmtime, in its own error log.",
		BasedOn: "https://github.com/apache/apisix-ingress-controller/issues/1004; CATALOG.md OT-APISIX",
	}, func(k *kit) {
		s := newScene(k, "1.30.0", "2022-05-07 07:12:00", 1)
		line := func(level, text string) {
			s.wait(900 * time.Millisecond)
			s.raw(s.now.Format("2006/01/02 15:04:05") + " [" + level + "] 50#50: " + text)
		}
		for i := range 60 {
			line(pick(s, "info", "notice", "warn"), fmt.Sprintf("*%d client closed connection while waiting for request, client: %s, server: 0.0.0.0:9080", i, s.ip()))
		}
		for range 3 {
			line("error", "failed to new instance: unknown import: `env::proxy_continue_stream` has not been defined")
			line("error", "*77 [lua] wasm.lua:61: failed to load wasm plugin tagger: failed to new instance, client: 10.4.4.2, server: _")
		}
		k.file("error.log", bare(s.lines(plainEnvoy)))
	}},
	{"runtime-not-compiled-static", label{
		Accept: []string{"runtime-unavailable"}, Envoy: "1.29.4", Packed: "journald", Dialect: "default",
		Why:     "The configuration asks for wasmtime, the image has V8 only.",
		BasedOn: "CATALOG.md LD-15",
	}, func(k *kit) {
		s := newScene(k, "1.29.4", "2024-06-04 21:00:00", 2).plug("sampler", "", "")
		s.node = "edge-1"
		s.startEnvoy()
		s.log("warning", "wasm", "extensions/common/wasm/wasm_vm.cc:86", "Failed to create Wasm VM using envoy.wasm.runtime.wasmtime runtime. Envoy was compiled without support for it")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:471", "Plugin configured to fail closed failed to load")
		s.exit1("Unable to create Wasm HTTP filter sampler")
		k.file("journal.txt", journal(s.lines(plainEnvoy)))
	}},
	{"runtime-not-compiled-xds", label{
		Accept: []string{"runtime-unavailable"}, Envoy: "1.37.3", Packed: "fluent-bit", Dialect: "istio-json-122",
		Why:     "The same by xDS, with the engine WAMR, in JSON inside a shipper's JSON.",
		BasedOn: "CATALOG.md LD-15",
		Expect:  &expected{Plugin: "ads.bid-filter"},
	}, func(k *kit) {
		s := newScene(k, "1.37.3", "2026-06-18 04:00:00", 2).mesh("ads", "bidder", false).plug("ads.bid-filter", "", "")
		s.start().traffic(18)
		s.log("warning", "wasm", "extensions/common/wasm/wasm_vm.cc:86", "Failed to create Wasm VM using envoy.wasm.runtime.wamr runtime. Envoy was compiled without support for it")
		s.vmFailed(s.main, "Failed to load Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(12)
		k.file("fluent.ndjson", fluentBit(s.lines(istioJSON)))
	}},
	{"start-constructor-traps", label{
		Accept: []string{"start-trap"}, Envoy: "1.34.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A global constructor of a C++ plugin aborts inside _initialize.",
		BasedOn: "CATALOG.md TR-00, LD-05",
		Expect:  &expected{Callback: "_initialize"},
	}, func(k *kit) {
		s := newScene(k, "1.34.2", "2025-09-02 13:00:00", 2).mesh("maps", "tiles", false).plug("maps.quota", "", "")
		s.start().traffic(50)
		s.trap(s.main, "_initialize", "RuntimeError: unreachable", "abort", "std::__2::__throw_length_error(char const*)", "__cxx_global_var_init.7", "_GLOBAL__sub_I_quota.cc", "__wasm_call_ctors", "_initialize")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(60)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
	}},
	{"start-trap-wasmtime", label{
		Accept: []string{"start-trap"}, Envoy: "1.39.0", Packed: "plain", Dialect: "json-ecs",
		Why:     "The start code of a Go module hits unreachable under wasmtime; the log follows the Elastic schema.",
		BasedOn: "CATALOG.md TR-WT-FORMAT",
		Expect:  &expected{Callback: "_initialize"},
	}, func(k *kit) {
		s := newScene(k, "1.39.0", "2026-07-20 16:00:00", 2).plug("go-tags", "", "")
		s.startEnvoy()
		s.trapWasmtime(s.main, "_initialize", "wasm `unreachable` instruction executed", "runtime.abort", "runtime.fatalthrow", "runtime.throw", "runtime.schedinit", "_rt0_wasm_wasip1_lib")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.exit1(s.unable())
		k.file("edge-proxy.ecs.json", bare(s.lines(ecsJSON)))
	}},
	{"vm-start-refused", label{
		Accept: []string{"vm-start-rejected"}, Envoy: "1.28.0", Packed: "plain", Dialect: "default",
		Why:     "The plugin returns false from its start hook because the VM configuration is empty.",
		BasedOn: "CATALOG.md LD-12",
	}, func(k *kit) {
		s := newScene(k, "1.28.0", "2024-01-17 12:20:00", 2).plug("cache", "cache_root", "cache_vm")
		s.startEnvoy()
		s.sayRoot(s.main, "warning", "vm_config.configuration is empty, refusing to start")
		s.vmFailed(s.main, "Failed to start base Wasm")
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:471", "Plugin configured to fail closed failed to load")
		s.exit1("Unable to create Wasm HTTP filter cache")
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"vm-start-refused-worker", label{
		Accept: []string{"vm-start-rejected"}, Envoy: "1.37.1", Packed: "loki-jsonl", Dialect: "istio-tabs-thread",
		Why:     "The canary on the main thread starts, the copies on the workers refuse; queried from Loki.",
		BasedOn: "CATALOG.md LD-12",
	}, func(k *kit) {
		s := newScene(k, "1.37.1", "2026-05-05 05:05:00", 3).mesh("geo", "lookup", false).plug("geo.enrich", "geo_root", "")
		s.start().traffic(25)
		for _, t := range s.workers {
			s.sayRoot(t, "error", "shared database is locked by another worker")
			s.vmFailed(t, "Failed to start thread-local Wasm")
			s.logAt(t, "critical", "wasm", "extensions/common/wasm/wasm.cc:467", "Plugin configured to fail closed failed to load")
		}
		s.mixed(40, 1, s.refused)
		k.file("query.jsonl", loki(s.lines(istioTabs)))
	}},
	{"configure-refused-go", label{
		Accept: []string{"configure-rejected"}, Envoy: "1.32.5", Packed: "bug-report", Dialect: "istio-tabs-thread",
		Why:     "A Go plugin cannot parse its configuration: refused in the proxy, NACK in istiod, never ready.",
		BasedOn: "CATALOG.md LD-13, IA-03, IA-08",
		Expect:  &expected{Plugin: "api.rate-tier"},
	}, func(k *kit) {
		s := newScene(k, "1.32.5", "2025-04-01 10:00:00", 2).mesh("api", "front", false).plug("api.rate-tier", "", "")
		s.wasmInfo = true
		s.start().traffic(30)
		pod := s.pod
		for range 3 {
			s.sayRoot(s.main, "critical", "error parsing plugin config: invalid character '}' looking for beginning of object key string")
			s.vmFailed(s.main, "Failed to configure base Wasm plugin")
			s.closed()
			s.nack(ecds, "Unable to create Wasm HTTP filter api.rate-tier")
			s.notReady(3)
			s.traffic(8)
		}
		d := newScene(k, "1.32.5", "2025-04-01 10:00:40", 1)
		for range 3 {
			d.wait(7 * time.Second)
			d.agent("warning", "delta", "ADS:ECDS: ACK ERROR "+pod+".api-12 Internal:Unable to create Wasm HTTP filter api.rate-tier")
		}
		m := []member{{"bug-report/proxies/api/" + pod + "/istio-proxy.log", bare(s.lines(istioTabs))},
			{"bug-report/istio/istio-system/istiod-59c7-zz4kd/discovery.log", append(istiod(k, "2025-04-01 09:58:00", 30), bare(d.lines(istioTabs))...)},
			{"bug-report/versions", []byte("control plane version: 1.24.5\n")}}
		k.count(m...)
		k.file("bug-report.tgz", gz(tarball(m...)))
	}},
	{"configure-refused-canary-old", label{
		Accept: []string{"configure-rejected"}, Envoy: "1.21.0", Packed: "cloudwatch", Dialect: "default",
		Why:     "The plugin wants JSON and is given a protobuf Struct; the answer of a cloud log API holds the lines.",
		BasedOn: "https://github.com/higress-group/higress/issues/112",
	}, func(k *kit) {
		s := newScene(k, "1.21.0", "2022-12-14 10:36:00", 2).plug("", "basic_auth", "")
		s.startEnvoy()
		s.sayRoot(s.main, "warning", "[extensions/basic_auth/plugin.cc:61]::onConfigure() cannot parse plugin configuration JSON string: ")
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.log("critical", "wasm", "extensions/common/wasm/wasm.cc:471", "Plugin configured to fail closed failed to load")
		s.exit1("Unable to create Wasm HTTP filter ")
		k.file("events.json", cloudWatch(s.lines(plainEnvoy)))
	}},
	{"configure-panic-old-rust", label{
		Accept: []string{"configure-panic"}, Envoy: "1.24.1", Packed: "plain", Dialect: "istio-tabs-old",
		Why:     "unwrap on a JSON error while the configuration is read; the toolchain is older than 1.73.",
		BasedOn: "CATALOG.md SDK-RS-PANIC, TR-00",
		Expect:  &expected{Callback: "proxy_on_configure", Location: "src/config.rs:41:60"},
	}, func(k *kit) {
		s := newScene(k, "1.24.1", "2023-02-11 18:00:00", 2).mesh("docs", "reader", false).plug("docs.locale", "", "")
		s.start().traffic(45)
		s.sayRoot(s.main, "critical", "panicked at 'called `Result::unwrap()` on an `Err` value: Error(\"EOF while parsing a value\", line: 1, column: 0)', src/config.rs:41:60")
		s.trap(s.main, "proxy_on_configure", "RuntimeError: unreachable", s.panicFrames(true, s.rust("core", "result", "unwrap_failed"), s.method("locale::Root", "RootContext", "on_configure"), s.rust("proxy_wasm", "dispatcher", "Dispatcher", "on_configure"))...)
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(60)
		k.file("istio-proxy.log", bare(s.lines(istioOld)))
	}},
	{"configure-panic-go-fragments", label{
		Accept: []string{"configure-panic"}, Envoy: "1.36.4", Packed: "plain", Dialect: "default",
		Why:     "A Go 1.24 plugin dereferences nil in its configure hook; the runtime prints its panic in twenty fragments.",
		BasedOn: "CATALOG.md SDK-GO-PANIC",
		Expect:  &expected{Plugin: "go_auth", Callback: "proxy_on_configure"},
	}, func(k *kit) {
		s := newScene(k, "1.36.4", "2026-03-03 03:03:00", 2).plug("go_auth", "", "go_vm")
		s.startEnvoy()
		s.goPanic(s.main, true, "runtime error: invalid memory address or nil pointer dereference", "[signal SIGSEGV: segmentation violation]")
		s.trap(s.main, "proxy_on_configure", "RuntimeError: unreachable", "runtime.abort", "runtime.fatalpanic", "runtime.gopanic", "runtime.panicmem", "runtime.sigpanic", "main.(*pluginContext).OnPluginStart", "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/internal.proxyOnConfigure", "wasm_pc_f_loop", "proxy_on_configure")
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.closed()
		s.exit1(s.unable())
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"configure-panic-wasmtime", label{
		Accept: []string{"configure-panic"}, Envoy: "1.39.3", Packed: "describe", Dialect: "default",
		Why:     "A configuration without `rules` under wasmtime; the pod crash-loops with status 1.",
		BasedOn: "CATALOG.md TR-WT-FORMAT, SDK-RS-PANIC173",
		Expect:  &expected{Plugin: "rules", Callback: "proxy_on_configure", Location: "src/config.rs:15:51"},
	}, func(k *kit) {
		s := newScene(k, "1.39.3", "2026-10-27 10:00:00", 2).plug("rules", "rules", "")
		s.pod, s.ns, s.node = "edge-58b9d-"+s.word(5), "edge", "node-3"
		s.startEnvoy()
		s.sayRoot(s.main, "critical", "panicked at src/config.rs:15:51:\nplugin configuration must be JSON: Error(\"missing field `rules`\", line: 1, column: 2)")
		s.trapWasmtime(s.main, "proxy_on_configure", "wasm `unreachable` instruction executed", "__rust_start_panic", "rust_panic", "_RNvNtCset5xJoy1xWQ_3std9panicking15panic_with_hook", "_RNvCsfLfy6EI15iL_7___rustc17rust_begin_unwind", "_RNvNtCsdHhIpgkcIfN_4core9panicking9panic_fmt", "_RNvNtCsdHhIpgkcIfN_4core6result13unwrap_failed", "_$LT$rules..Root$u20$as$u20$proxy_wasm..traits..RootContext$GT$::on_configure::h0011223344556677", "proxy_on_configure")
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.closed()
		s.exit1(s.unable())
		k.file("previous.log", bare(s.lines(plainEnvoy)))
		k.file("describe.txt", []byte(describe(s, nil, ctr{name: "envoy", image: s.proxyImage(), restarts: 3, last: &ended{1, "Error", s.now.Add(-time.Second), s.now}, waiting: "CrashLoopBackOff"})))
	}},
	{"configure-panic-utf16", label{
		Accept: []string{"configure-panic"}, Envoy: "1.38.2", Packed: "utf16", Dialect: "istio-tabs-thread",
		Why:     "expect on a missing key while the configuration is read; redirected to a file by PowerShell (UTF-16).",
		BasedOn: "CATALOG.md SDK-RS-PANIC173",
		Expect:  &expected{Callback: "proxy_on_configure", Location: "src/lib.rs:22:14"},
	}, func(k *kit) {
		s := newScene(k, "1.38.2", "2026-06-30 09:00:00", 2).mesh("hr", "people", false).plug("hr.redact", "", "")
		s.start().traffic(25)
		s.sayRoot(s.main, "critical", "panicked at src/lib.rs:22:14:\nconfiguration has no key `fields`")
		s.trap(s.main, "proxy_on_configure", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "expect_failed"), s.method("redact::Root", "RootContext", "on_configure"), "proxy_on_configure")...)
		s.vmFailed(s.main, "Failed to configure base Wasm plugin")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(25)
		k.file("people.log", utf16le(s.lines(istioTabs)))
	}},
}

// denied is a request refused by the filter the agent puts in place of a plugin it could not fetch.
func (s *scene) denied() request {
	q := s.hit()
	q.code, q.details, q.tx, q.ms, q.upMs, q.upstream, q.uLocal = 403, "rbac_access_denied_matched_policy[none]", 19, 0, -1, "-", "-"
	return q
}

// goPanic prints a panic of Go's runtime as it arrives: one record per write.
func (s *scene) goPanic(thread int, root bool, parts ...string) {
	say := s.say
	if root {
		say = s.sayRoot
	}
	list := []string{"panic: "}
	for _, p := range parts {
		list = append(list, p, "")
	}
	list = append(list, "", "goroutine ", "1", " [", "running", "]:", "", "main.", "(*httpContext).", "OnHttpRequestHeaders", "(...)", "", "\t", "/src/main.go", ":", "88", " +", "0x1f", "")
	for _, t := range list {
		say(thread, "error", t)
	}
}

// istiod is an ordinary log of the control plane.
func istiod(k *kit, start string, n int) []byte {
	s := newScene(k, "1.30.0", start, 1)
	for i := range n {
		s.wait(time.Duration(300+s.r.Intn(4000)) * time.Millisecond)
		node := fmt.Sprintf("app-%d-%s.default", i%7, s.word(5))
		switch i % 5 {
		case 0:
			s.agent("info", "ads", "Push debounce stable["+fmt.Sprint(i)+"] 1 for config ServiceEntry/default/api: 100.1ms since last change, 100.1ms since last push, full=true")
		case 1:
			s.agent("info", "ads", "XDS: Pushing Services:41 ConnectedEndpoints:19 Version:2026-01-09T07:29:00Z/"+fmt.Sprint(i))
		case 2:
			s.agent("info", "ads", "CDS: PUSH request for node:"+node+" resources:88 size:81.2kB cached:81/84")
		case 3:
			s.agent("info", "ads", "LDS: PUSH request for node:"+node+" resources:31 size:96.0kB")
		case 4:
			s.agent("info", "validationServer", "configuration is valid")
		}
	}
	return bare(s.lines(istioTabs))
}
