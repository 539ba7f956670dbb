package main

import (
	"fmt"
	"strings"
	"time"
)

// Inputs where no plugin is to blame.
var decoyCases = []testCase{
	{"decoy-waf-critical-json", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.34.2", Packed: "plain", Dialect: "istio-json-122",
		Why:     "A firewall plugin reports attacks at critical and answers 403: it works.",
		BasedOn: "https://github.com/corazawaf/coraza-proxy-wasm/issues/208",
	}, func(k *kit) {
		s := newScene(k, "1.34.2", "2025-09-05 05:00:00", 2).mesh("waf", "ingress", true).plug("waf.coraza", "", "")
		s.start()
		for i := range 55 {
			s.wait(600 * time.Millisecond)
			if i%4 != 1 {
				s.done(s.hit())
				continue
			}
			w := pick(s, s.workers...)
			s.say(w, "critical", `[client "`+s.ip()+`"] Coraza: Access denied (phase 2). Inbound Anomaly Score Exceeded (Total Score: 15) [file "@owasp_crs/REQUEST-949-BLOCKING-EVALUATION.conf"] [line "11358"] [id "949110"] [severity "emergency"] [uri "/?id=1%20or%20panic"] [unique_id "`+s.word(16)+`"]`)
			q := s.hit()
			q.path, q.code, q.details, q.tx, q.ms, q.upMs, q.upstream = "/?id=1%20or%20panic", 403, "coraza", 0, 1, -1, "-"
			s.done(q)
		}
		k.file("ingress.json", bare(s.lines(istioJSON)))
	}},
	{"decoy-waf-rule-text-panicked", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.27.3", Packed: "ktimes", Dialect: "istio-tabs-thread",
		Why:     "The firewall quotes the attacker's payload, which holds words like panicked, unreachable and out of memory.",
		BasedOn: "https://github.com/corazawaf/coraza-proxy-wasm/issues/208",
	}, func(k *kit) {
		s := newScene(k, "1.27.3", "2024-02-05 05:00:00", 2).mesh("waf", "front", true).plug("waf.coraza", "", "")
		s.start()
		for i := range 90 {
			s.wait(600 * time.Millisecond)
			s.done(s.hit())
			if i%9 == 1 {
				s.say(pick(s, s.workers...), "critical", `[client "`+s.ip()+`"] Coraza: Warning. Rust/Go Error Leakage [file "@owasp_crs/RESPONSE-950-DATA-LEAKAGES.conf"] [line "2101"] [id "950140"] [data "Matched Data: thread 'main' panicked at src/main.rs:4:5: found within RESPONSE_BODY: fatal error: out of memory; unreachable"] [severity "critical"]`)
			}
		}
		k.file("front.txt", ktimes(s.lines(istioTabs)))
	}},
	{"decoy-plugin-says-panicked", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.36.0", Packed: "plain", Dialect: "default",
		Why:     "A plugin that forwards events writes `panicked`, `panic:` and `abort:` at info and warning about something else; no trap follows.",
		BasedOn: "USER-ASKS.md 6; CAUSES.md (a guest that logs is not a failure)",
	}, func(k *kit) {
		s := newScene(k, "1.36.0", "2026-01-20 10:00:00", 2).plug("events", "", "")
		n := 0
		s.chatter = func(s *scene) string {
			n++
			return []string{"forwarded event: thread 'worker-3' panicked at src/job.rs:14:9", "backend reported panic: runtime error: index out of range, retrying", "batch 17 done, 0 failed", "client sent abort: user cancelled at: checkout", "recovered, nothing panicked today"}[n%5]
		}
		s.start().traffic(140)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-plugin-says-oom-import", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.31.1", Packed: "kprefix", Dialect: "istio-tabs-thread",
		Why:     "Warnings of a healthy plugin about stock keeping: out of memory cards, unreachable shops, a missing import licence.",
		BasedOn: "CAUSES.md (not wasm)",
	}, func(k *kit) {
		s := newScene(k, "1.31.1", "2024-11-20 10:00:00", 2).mesh("retail", "stock", false).plug("retail.stock", "", "")
		s.start()
		for i := range 100 {
			s.wait(700 * time.Millisecond)
			s.done(s.hit())
			if i%6 == 2 {
				s.say(pick(s, s.workers...), "warning", pick(s, "item 4471 out of memory cards in aisle 7", "shop 12 unreachable, using cached price", "order held: missing import licence for LT", "Failed to load price list, keeping the previous one", "stack overflow shelf 3: 140 boxes"))
			}
		}
		k.file("stock.log", kprefix(s.lines(istioTabs)))
	}},
	{"decoy-url-says-failed", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.33.3", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "Somebody searches a forum for the text of a wasm crash: it stands in paths and user agents of ordinary 200s and 404s.",
		BasedOn: "brief: words of a failure inside an access log",
	}, func(k *kit) {
		s := newScene(k, "1.33.3", "2025-05-15 10:00:00", 2).mesh("forum", "search", true)
		s.start()
		for i := range 110 {
			s.wait(700 * time.Millisecond)
			q := s.hit()
			if i%5 == 0 {
				q.path = pick(s, "/search?q=Function:%20proxy_on_request_headers%20failed:%20Uncaught%20RuntimeError:%20unreachable", "/t/panicked-at-src-lib-rs", "/t/wasm_fail_stream/88", "/t/Wasm%20VM%20failed%20Failed%20to%20initialize%20Wasm%20code", "/tags/OOMKilled?sort=segmentation+fault")
				q.ua = pick(s, "Function: x failed bot/1.0", "panicked/2.1 (+https://www.example.com/bot)", "curl/8.5.0")
				q.code = pick(s, 200, 200, 404)
			}
			s.done(q)
		}
		k.file("search.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-upstream-flags-mix", label{
		Accept: []string{"none", "upstream-unreachable"}, Decoy: true, Envoy: "1.35.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "503 and 504 with UF, UC, UH, URX and UT: a rollout of the upstream went wrong, the plugin is healthy.",
		BasedOn: "CATALOG.md section 7",
	}, func(k *kit) {
		s := newScene(k, "1.35.1", "2025-11-27 10:00:00", 2).mesh("shop", "front", true).plug("shop.ab", "", "")
		s.chatter = func(s *scene) string { return "bucket " + pick(s, "a", "b") }
		s.start().traffic(40)
		s.mixed(90, 0.6, func() request {
			c := "outbound|8080||orders.shop.svc.cluster.local"
			switch s.r.Intn(5) {
			case 0:
				return s.upstream(503, "UF", "upstream_reset_before_response_started{connection_failure}", "delayed_connect_error:_111", c)
			case 1:
				return s.upstream(503, "UC", "upstream_reset_before_response_started{connection_termination}", "", c)
			case 2:
				q := s.upstream(503, "UH", "no_healthy_upstream", "", c)
				q.upstream, q.ms, q.tx = "-", 0, 19
				return q
			case 3:
				return s.upstream(503, "UF,URX", "upstream_reset_before_response_started{connection_failure}", "delayed_connect_error:_111", c)
			default:
				q := s.upstream(504, "UT", "response_timeout", "", c)
				q.ms = 15000
				return q
			}
		})
		k.file("front.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-uh-default-format", label{
		Accept: []string{"none", "upstream-unreachable"}, Decoy: true, Envoy: "1.29.5", Packed: "gz", Dialect: "default",
		Why:     "503 UH within 0 ms without an upstream host looks like a dead plugin, but the flag says that no host is healthy.",
		BasedOn: "CATALOG.md section 7",
	}, func(k *kit) {
		s := newScene(k, "1.29.5", "2024-08-09 10:00:00", 2).plug("hdr", "", "")
		s.chatter = func(*scene) string { return "header added" }
		s.start().traffic(60)
		s.mixed(80, 0.9, func() request {
			q := s.upstream(503, "UH", "no_healthy_upstream", "", "")
			q.upstream, q.ms, q.tx = "-", 0, 19
			return q
		})
		data := bare(s.lines(plainEnvoy))
		k.count(member{data: data})
		k.file("envoy.log.gz", gz(data))
	}},
	{"decoy-rbac-policy-403", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.36.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "An AuthorizationPolicy denies a few callers, with the same details a failed module fetch would give, but the agent reports no failed fetch and other callers pass.",
		BasedOn: "CATALOG.md AL-04",
	}, func(k *kit) {
		s := newScene(k, "1.36.1", "2026-02-01 10:00:00", 2).mesh("vault", "keys", false).plug("vault.audit", "", "")
		s.chatter = func(*scene) string { return "audited" }
		s.start()
		s.mixed(120, 0.25, func() request { q := s.denied(); q.path = "/admin/rotate"; return q })
		k.file("keys.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-ext-authz-uaex", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.32.2", Packed: "plain", Dialect: "istio-json-122",
		Why:     "An external authorizer denies: 403 with UAEX and ext_authz_denied.",
		BasedOn: "CATALOG.md section 7",
	}, func(k *kit) {
		s := newScene(k, "1.32.2", "2025-02-14 10:00:00", 2).mesh("id", "api", true).plug("id.stamp", "", "")
		s.start()
		s.mixed(70, 0.4, func() request {
			q := s.denied()
			q.flags, q.details, q.ms = "UAEX", "ext_authz_denied", 4
			return q
		})
		k.file("api.json", bare(s.lines(istioJSON)))
	}},
	{"decoy-rate-limit-429", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.30.1", Packed: "plain", Dialect: "default",
		Why:     "A rate limit plugin and the rate limit filter both answer 429.",
		BasedOn: "CATALOG.md section 7 (RL)",
	}, func(k *kit) {
		s := newScene(k, "1.30.1", "2024-07-30 10:00:00", 2).plug("limiter", "", "")
		s.chatter = func(s *scene) string { return "tenant " + s.word(3) + " over limit, replying 429" }
		s.start()
		s.mixed(140, 0.5, func() request {
			q := s.denied()
			q.code, q.flags, q.tx = 429, pick(s, "RL", "-"), 18
			return q
		})
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-maintenance-direct-response", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.34.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A maintenance route answers 503 itself (direct_response) while a Lua filter adds a header; nothing failed.",
		BasedOn: "https://github.com/proxy-wasm/proxy-wasm-rust-sdk/issues/66 (direct_response)",
	}, func(k *kit) {
		s := newScene(k, "1.34.0", "2025-08-11 22:00:00", 2).mesh("shop", "legacy", true)
		s.start()
		s.mixed(120, 0.5, func() request {
			q := s.refused()
			q.path, q.details, q.tx, q.route, q.cluster = "/legacy/cart", "direct_response", 44, "maintenance", ""
			return q
		})
		k.file("legacy.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-direct-response-default-format", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.37.0", Packed: "plain", Dialect: "default",
		Why:     "The same in the stock access log, which has no details: 503 without flag or upstream in 0 ms, but always with the same 44 bytes and only on one path.",
		BasedOn: "CATALOG.md section 7 (default access log)",
	}, func(k *kit) {
		s := newScene(k, "1.37.0", "2026-04-30 22:00:00", 2).plug("hdr", "", "")
		s.chatter = func(*scene) string { return "header added" }
		s.start()
		s.mixed(140, 0.4, func() request {
			q := s.refused()
			q.path, q.tx = "/legacy/cart", 44
			return q
		})
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-fault-injection-fi", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.33.1", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A chaos test aborts a third of the requests: 503 FI, fault_filter_abort.",
		BasedOn: "CATALOG.md section 7 (FI)",
	}, func(k *kit) {
		s := newScene(k, "1.33.1", "2025-04-04 10:00:00", 2).mesh("chaos", "victim", false).plug("chaos.tag", "", "")
		s.chatter = func(*scene) string { return "tagged" }
		s.start()
		s.mixed(120, 0.33, func() request {
			q := s.refused()
			q.flags, q.details, q.tx = "FI", "fault_filter_abort", 18
			return q
		})
		k.file("victim.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-lua-runtime-error", label{
		Accept: []string{"none", "lua-script-error"}, Decoy: true, Envoy: "1.35.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A Lua script indexes nil at every request; a wasm plugin beside it is healthy.",
		BasedOn: "public incident 11-decoy-lookalike ([error][lua])",
	}, func(k *kit) {
		s := newScene(k, "1.35.0", "2025-10-10 10:00:00", 2).mesh("blog", "render", false).plug("blog.cdn", "", "")
		s.chatter = func(*scene) string { return "cache key built" }
		s.start()
		for range 25 {
			s.traffic(4)
			s.logAt(pick(s, s.workers...), "error", "lua", "extensions/filters/http/lua/lua_filter.cc:932", `script log: [string "function envoy_on_request(handle)..."]:4: attempt to index local 'cookie' (a nil value)`)
		}
		k.file("render.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-lua-load-refused", label{
		Accept: []string{"none", "lua-script-error", "config-rejected"}, Decoy: true, Envoy: "1.26.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A listener is refused because its Lua script does not compile.",
		BasedOn: "public incident 11-decoy-lookalike (script load error)",
	}, func(k *kit) {
		s := newScene(k, "1.26.0", "2023-08-08 08:00:00", 2).mesh("blog", "render", false)
		s.start().traffic(50)
		for range 3 {
			s.nack("type.googleapis.com/envoy.config.listener.v3.Listener", "Error adding/updating listener(s) 10.20.30.40_8080: script load error: [string \"function envoy_on_response(handle)...\"]:7: '=' expected near 'end'\n")
			s.traffic(20)
		}
		k.file("render.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-xds-blips", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.31.2", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The control plane ends each stream after 30 minutes and the proxy reconnects at once: routine.",
		BasedOn: "public incident 11-decoy-lookalike (transport is closing then reconnect)",
	}, func(k *kit) {
		s := newScene(k, "1.31.2", "2024-12-01 00:00:00", 2).mesh("core", "users", false).plug("core.mask", "", "")
		s.chatter = func(*scene) string { return "masked" }
		s.start()
		for i := range 8 {
			s.traffic(12)
			s.wait(29 * time.Minute)
			if i%2 == 0 {
				s.log("warning", "config", "extensions/config_subscription/grpc/grpc_stream.h:190", "StreamAggregatedResources gRPC config stream closed: 0, ")
			} else {
				s.log("warning", "config", "extensions/config_subscription/grpc/grpc_stream.h:190", "DeltaAggregatedResources gRPC config stream closed: 13, ")
			}
			s.agent("info", "xdsproxy", "connected to delta upstream XDS server: istiod.istio-system.svc:15012", "id", fmt.Sprint(i+2))
		}
		k.file("users.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-drain-with-503", label{
		Accept: []string{"none", "upstream-unreachable"}, Decoy: true, Envoy: "1.29.0", Packed: "ktimes", Dialect: "istio-tabs-thread",
		Why:     "A pod is terminated: draining, some 503 UC and UF while its application has already gone, Envoy is aborted by its agent.",
		BasedOn: "CATALOG.md IA-07",
	}, func(k *kit) {
		s := newScene(k, "1.29.0", "2024-04-25 10:00:00", 2).mesh("shop", "mail", false).plug("shop.sign", "", "")
		s.chatter = func(*scene) string { return "signed" }
		s.start().traffic(80)
		s.agent("info", "", "Status server has successfully terminated")
		s.agent("info", "", "Agent draining Proxy for termination")
		s.agent("info", "", "Agent draining proxy for 5s, then waiting for active connections to terminate...")
		s.mixed(12, 0.5, func() request {
			return s.upstream(503, "UF", "upstream_reset_before_response_started{connection_failure}", "delayed_connect_error:_111", "")
		})
		s.agent("info", "", "There are no more active connections. terminating proxy...")
		s.agent("warning", "", "Aborting proxy")
		s.agent("info", "", "Envoy exited normally")
		s.agent("info", "", "Agent has successfully terminated")
		k.file("mail.txt", ktimes(s.lines(istioTabs)))
	}},
	{"decoy-sigterm-plain-envoy", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.38.0", Packed: "docker-json", Dialect: "default",
		Why:     "An ordinary stop of a healthy proxy, then an ordinary start.",
		BasedOn: "recorded/healthy",
	}, func(k *kit) {
		s := newScene(k, "1.38.0", "2026-05-20 10:00:00", 2).plug("hdr", "", "")
		s.chatter = func(*scene) string { return "header added" }
		for range 2 {
			s.start().traffic(50)
			s.log("warning", "main", "server/server.cc:1007", "caught ENVOY_SIGTERM")
			s.log("info", "main", "server/server.cc:1148", "shutting down server instance")
			s.log("info", "main", "server/server.cc:1088", "main dispatch loop exited")
			s.log("info", "main", "server/server.cc:1140", "exiting")
			s.wait(2 * time.Second)
		}
		k.file("abc-json.log", docker(s.lines(plainEnvoy)))
	}},
	{"decoy-async-fetch-succeeds", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.37.1", Packed: "plain", Dialect: "default",
		Why:     "While the module is being fetched the plugin is reported as failed to load; 1.4 s later it is there and serves.",
		BasedOn: "https://github.com/istio/istio/issues/44840; USER-ASKS.md 7",
	}, func(k *kit) {
		s := newScene(k, "1.37.1", "2026-05-08 10:00:00", 2).plug("policy-shim", "", "")
		s.chatter = func(*scene) string { return "allowed" }
		s.startEnvoy()
		s.log("warning", "wasm", "extensions/common/wasm/wasm.cc:348", "Wasm remote code fetch is unstable and may cause a crash")
		s.log("warning", "wasm", "extensions/common/wasm/wasm.cc:364", "createWasm: failed to load (in progress) from https://artifacts.example.com/shim.wasm")
		s.closed()
		s.wait(1400 * time.Millisecond)
		for _, t := range append([]int{s.main}, s.workers...) {
			s.sayRoot(t, "info", "configured with 3 policies")
		}
		s.ready()
		s.traffic(130)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-application-stack-traces", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.33.0", Packed: "kboth", Dialect: "istio-tabs-thread",
		Why:     "Java, Go and Node applications throw, panic and run out of memory beside healthy proxies; only the containers differ.",
		BasedOn: "brief: application containers collected with the proxy",
	}, func(k *kit) {
		var all [][]pline
		for i, app := range []string{"java", "golang", "node"} {
			s := newScene(k, "1.33.0", "2025-03-03 10:00:0"+fmt.Sprint(i), 2).mesh("apps", app+"-svc", false).plug("apps.tag", "", "")
			s.chatter = func(*scene) string { return "tagged" }
			s.start().traffic(30)
			a := newScene(k, "1.33.0", "2025-03-03 10:00:1"+fmt.Sprint(i), 1).mesh("apps", app, false)
			a.pod, a.container = s.pod, "app"
			for range 3 {
				a.wait(9 * time.Second)
				a.raw(appTrace[app])
			}
			all = append(all, s.lines(istioTabs), a.lines(istioTabs))
		}
		k.file("all-containers.log", kboth(merge(all...)))
	}},
	{"decoy-other-container-go-panic", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.34.4", Packed: "pod-list", Dialect: "istio-tabs-thread",
		Why:     "The application crashes with a Go panic (exit 2) and restarts; its sidecar and the plugin are fine.",
		BasedOn: "brief: a Go panic of another container",
	}, func(k *kit) {
		s := newScene(k, "1.34.4", "2025-09-09 09:00:00", 2).mesh("apps", "worker", false).plug("apps.tag", "", "")
		s.chatter = func(*scene) string { return "tagged" }
		s.start().traffic(60)
		k.file("worker/istio-proxy.log", bare(s.lines(istioTabs)))
		k.file("worker/app-previous.log", []byte("2025/09/09 09:00:31 listening on :8080\n"+appTrace["golang"]+"\n"))
		end := &ended{2, "Error", s.now.Add(-time.Hour), s.now}
		k.file("worker/pod.yaml", []byte(podYAML(s, "", ctr{name: "app", image: "registry.example.com/apps/worker:3", ready: true, restarts: 4, last: end}, ctr{name: "istio-proxy", image: s.proxyImage(), ready: true})))
	}},
	{"decoy-application-oomkilled", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.32.0", Packed: "describe", Dialect: "istio-tabs-thread",
		Why:     "The Java application of the pod is OOMKilled; the proxy's container never restarted.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.32.0", "2025-01-09 09:00:00", 2).mesh("apps", "report", false).plug("apps.tag", "", "")
		s.chatter = func(*scene) string { return "tagged" }
		s.start().traffic(60)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
		end := &ended{137, "OOMKilled", s.now.Add(-time.Hour), s.now}
		k.file("describe.txt", []byte(describe(s, []string{"Normal   Pulled     3m (x4 over 2h)        kubelet  Container image \"registry.example.com/apps/report:8\" already present on machine"},
			ctr{name: "report", image: "registry.example.com/apps/report:8", ready: true, restarts: 4, last: end, limit: "512Mi"}, ctr{name: "istio-proxy", image: s.proxyImage(), ready: true})))
	}},
	{"decoy-healthy-pod-yaml", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.35.2", Packed: "pod-list", Dialect: "k8s",
		Why:     "Three healthy pods and ordinary events of a rollout.",
		BasedOn: "brief: restartCount 0",
	}, func(k *kit) {
		var pods, ev []string
		for range 3 {
			s := newScene(k, "1.35.2", "2025-12-12 12:00:00", 2).mesh("web", "home", false)
			pods = append(pods, podYAML(s, "  ", ctr{name: "istio-proxy", image: s.proxyImage(), ready: true}, ctr{name: "home", image: "registry.example.com/web/home:77", ready: true}))
			old := "home-" + s.word(10) + "-" + s.word(5)
			ev = append(ev, event("web", "4m", "Normal", "Scheduled", s.pod, "Successfully assigned web/"+s.pod+" to "+s.node), event("web", "4m", "Normal", "Started", s.pod, "Started container istio-proxy"),
				event("web", "4m", "Warning", "Unhealthy", s.pod, "Startup probe failed: HTTP probe failed with statuscode: 503"), event("web", "3m", "Normal", "Killing", old, "Stopping container istio-proxy"),
				event("web", "3m", "Warning", "Unhealthy", old, "Readiness probe failed: HTTP probe failed with statuscode: 503"))
		}
		k.file("pods.yaml", podList(pods...))
		k.file("events.txt", events(ev...))
	}},
	{"decoy-istiod-warnings", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.34.0", Packed: "plain", Dialect: "istiod",
		Why:     "Only the control plane's log, with warnings of every day.",
		BasedOn: "CATALOG.md section 6",
	}, func(k *kit) {
		base := strings.TrimSuffix(string(istiod(k, "2025-07-07 07:00:00", 150)), "\n")
		var out []string
		for i, l := range strings.Split(base, "\n") {
			out = append(out, l)
			ts, _, _ := strings.Cut(l, "\t")
			switch i % 30 {
			case 7:
				out = append(out, ts+"\twarn\tserviceentry\tstatic endpoint 10.4.4.4 of api.example.com shadows a cluster service")
			case 16:
				out = append(out, ts+"\twarn\tads\tADS: \"10.8.3.2:51234\" old-job-x2v9k.default-41 terminated rpc error: code = Canceled desc = context canceled")
			case 25:
				out = append(out, ts+"\twarn\tmodel\tfound 2 conflicting DestinationRules for host api.default.svc.cluster.local, merging")
			}
		}
		k.file("discovery.log", []byte(strings.Join(out, "\n")+"\n"))
	}},
	{"decoy-liveness-kill-during-deploy", label{
		Accept: []string{"none", "process-out-of-memory"}, Decoy: true, Envoy: "1.28.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "During a rollout the kubelet kills a draining sidecar: the agent guesses at memory, as it does for every SIGKILL.",
		BasedOn: "CATALOG.md IA-06 (a guess: any SIGKILL), IA-07",
	}, func(k *kit) {
		s := newScene(k, "1.28.0", "2024-01-25 10:00:00", 2).mesh("shop", "menu", false).plug("shop.tag", "", "")
		s.chatter = func(*scene) string { return "tagged" }
		s.start().traffic(80)
		s.agent("info", "", "Agent draining Proxy for termination")
		s.agent("info", "", "Graceful termination period is 30s, starting...")
		s.traffic(8)
		s.wait(30 * time.Second)
		s.agent("info", "", "Graceful termination period complete, terminating remaining proxies.")
		s.agent("warning", "", "Aborting proxy")
		s.agent("warning", "", "Envoy may have been out of memory killed. Check memory usage and limits.")
		s.died("signal: killed")
		s.agent("warning", "", "Aborted proxy instance")
		k.file("menu.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-duplicate-domain", label{
		Accept: []string{"none", "config-rejected"}, Decoy: true, Envoy: "1.22.5", Packed: "plain", Dialect: "istio-tabs-old",
		Why:     "A route table is refused for a duplicate domain.",
		BasedOn: "public incident 11-decoy-lookalike (Duplicate entry of domain)",
	}, func(k *kit) {
		s := newScene(k, "1.22.5", "2022-12-20 10:00:00", 2).mesh("shop", "web", true).plug("shop.tag", "", "")
		s.start().traffic(50)
		for range 4 {
			s.nack("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "Only unique values for domains are permitted. Duplicate entry of domain www.example.com")
			s.traffic(15)
		}
		k.file("web.log", bare(s.lines(istioOld)))
	}},
	{"decoy-expired-certificate", label{
		Accept: []string{"none", "control-plane-unavailable"}, Decoy: true, Envoy: "1.31.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The control plane's certificate has expired; the proxy never gets configured.",
		BasedOn: "public incident 11-decoy-lookalike (CERTIFICATE_VERIFY_FAILED)",
	}, func(k *kit) {
		s := newScene(k, "1.31.0", "2024-10-26 10:00:00", 2).mesh("core", "auth", false)
		s.startAgent()
		for i := range 50 {
			s.wait(2 * time.Second)
			if i%2 == 0 {
				s.agent("warning", "", "Envoy proxy is NOT ready: config not received from XDS server (is Istiod running?): cds updates: 0 successful, 0 rejected; lds updates: 0 successful, 0 rejected")
			}
			s.agent("warning", "xdsproxy", `upstream [1] terminated with unexpected error rpc error: code = Unavailable desc = connection error: desc = "transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2024-10-26T10:01:00Z is after 2024-10-25T00:00:00Z"`)
			s.log("warning", "config", "extensions/config_subscription/grpc/grpc_stream.h:152", `StreamAggregatedResources gRPC config stream to xds-grpc closed since 41s ago: 14, connection error: desc = "transport: authentication handshake failed: CERTIFICATE_VERIFY_FAILED"`)
		}
		k.file("auth.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-overload-om", label{
		Accept: []string{"none", "process-out-of-memory"}, Decoy: true, Envoy: "1.36.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The overload manager sheds load near its heap limit: 503 OM, overload.",
		BasedOn: "CATALOG.md NC-15",
	}, func(k *kit) {
		s := newScene(k, "1.36.0", "2026-01-28 10:00:00", 2).mesh("promo", "landing", true).plug("promo.ab", "", "")
		s.chatter = func(*scene) string { return "bucket a" }
		s.start().traffic(40)
		s.mixed(80, 0.7, func() request {
			q := s.refused()
			q.flags, q.details, q.tx = "OM", "overload", 16
			return q
		})
		k.file("landing.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-plugin-answers-503", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.33.4", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "A circuit-breaker plugin answers 503 on purpose, with a body and details of its own.",
		BasedOn: "proxy_send_local_response sets the details",
	}, func(k *kit) {
		s := newScene(k, "1.33.4", "2025-06-26 10:00:00", 2).mesh("shop", "pay", false).plug("shop.breaker", "", "")
		s.chatter = func(*scene) string { return "circuit open for bank-b, replying 503" }
		s.start()
		s.mixed(120, 0.3, func() request {
			q := s.refused()
			q.details, q.tx, q.path = "circuit_open", 27, "/pay/bank-b"
			return q
		})
		k.file("pay.log", bare(s.lines(istioTabs)))
	}},
	{"decoy-trace-level-healthy", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.32.1", Packed: "plain", Dialect: "default",
		Why:     "A healthy plugin at trace level: host calls return 1 (not found) and 2 now and then, the plugin copes.",
		BasedOn: "CATALOG.md TR-STRACE",
	}, func(k *kit) {
		s := newScene(k, "1.32.1", "2025-01-15 10:00:00", 1).plug("geo", "", "")
		s.start()
		w := s.workers[0]
		tr := func(t string) { s.logAt(w, "trace", "wasm", "extensions/common/wasm/wasm_vm.cc:44", t) }
		for i := range 25 {
			tr(fmt.Sprintf("[host->vm] proxy_on_request_headers(%d, 9, 1)", i+2))
			tr("[vm->host] env.proxy_get_header_map_value(0, 71088, 6, 5263, 5259)")
			tr("[vm<-host] env.proxy_get_header_map_value return: 1")
			tr("[vm->host] env.proxy_get_property(71120, 12, 5263, 5259)")
			tr(fmt.Sprintf("[vm<-host] env.proxy_get_property return: %d", 1+i%2))
			tr("[host<-vm] proxy_on_request_headers return: 0")
			s.traffic(2)
		}
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-grpc-status-500-upstream", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.29.4", Packed: "plain", Dialect: "istio-json-117",
		Why:     "The application itself answers 500 and 503; both come from the upstream.",
		BasedOn: "public incident 11-decoy-lookalike (500 via_upstream)",
	}, func(k *kit) {
		s := newScene(k, "1.29.4", "2024-07-17 10:00:00", 2).mesh("crm", "deals", false).plug("crm.tag", "", "")
		s.start()
		s.mixed(70, 0.4, func() request { q := s.hit(); q.code, q.tx = pick(s, 500, 503), 0; return q })
		k.file("deals.json", bare(s.lines(istioJSON17)))
	}},
	{"decoy-dynamic-module-refused", label{
		Accept: []string{"none", "config-rejected"}, Decoy: true, Envoy: "1.36.2", Packed: "plain", Dialect: "default",
		Why:     "A dynamic module (a shared library, not wasm) does not load; Envoy exits.",
		BasedOn: "public incident 11-decoy-lookalike (Failed to load dynamic module)",
	}, func(k *kit) {
		s := newScene(k, "1.36.2", "2026-02-28 10:00:00", 2)
		s.startEnvoy()
		s.exit1("Failed to load dynamic module: Failed to initialize dynamic module")
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-nr-dc-dpe", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.37.2", Packed: "loki-jsonl", Dialect: "istio-tabs-thread",
		Why:     "Scanners and impatient clients: 404 NR, 400 DPE and single DC after a second or two.",
		BasedOn: "CATALOG.md section 7 (flags)",
	}, func(k *kit) {
		s := newScene(k, "1.37.2", "2026-06-06 06:00:00", 2).mesh("web", "www", true).plug("web.bot", "", "")
		s.chatter = func(*scene) string { return "score 0.2" }
		s.start()
		s.mixed(70, 0.4, func() request {
			q := s.refused()
			switch s.r.Intn(3) {
			case 0:
				q.code, q.flags, q.details, q.path, q.cluster = 404, "NR", "route_not_found", "/wp-login.php", ""
			case 1:
				q.code, q.flags, q.details, q.tx = 400, "DPE", "http1.codec_error", 11
			default:
				q.code, q.flags, q.details, q.ms, q.upstream = 0, "DC", "downstream_remote_disconnect", 900+s.r.Intn(1500), s.peers[0]
			}
			return q
		})
		k.file("www.jsonl", loki(s.lines(istioTabs)))
	}},
	{"decoy-healthy-ecs-json", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.38.3", Packed: "plain", Dialect: "json-ecs",
		Why:     "A healthy proxy in Elastic's schema, whose plugin logs errors of the business kind.",
		BasedOn: "recorded/healthy",
	}, func(k *kit) {
		s := newScene(k, "1.38.3", "2026-07-01 10:00:00", 2).plug("orders", "", "")
		s.start()
		for i := range 90 {
			s.wait(time.Second)
			s.done(s.hit())
			if i%8 == 1 {
				s.say(pick(s, s.workers...), "error", pick(s, "order 4411 failed validation: amount missing", "upstream returned 404 for coupon, ignoring", "token expired, asking client to log in again"))
			}
		}
		k.file("edge.ecs.json", bare(s.lines(ecsJSON)))
	}},
}

// appTrace are last words of applications, by language.
var appTrace = map[string]string{
	"java":   "2025-03-03 10:01:12.331 ERROR 1 --- [nio-8080-exec-7] o.a.c.c.C.[dispatcherServlet] : Servlet.service() threw exception\njava.lang.OutOfMemoryError: Java heap space\n\tat java.base/java.util.Arrays.copyOf(Arrays.java:3537)\n\tat com.example.report.Builder.append(Builder.java:88)\nCaused by: java.lang.StackOverflowError\n\t... 41 more",
	"golang": "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x6f1a2c]\n\ngoroutine 41 [running]:\nmain.(*handler).ServeHTTP(0x0, {0x8b1f40, 0xc0001d2000}, 0xc0001c6100)\n\t/src/main.go:88 +0x2c\nnet/http.serverHandler.ServeHTTP({0xc0001a4000?}, {0x8b1f40, 0xc0001d2000}, 0xc0001c6100)\n\t/usr/local/go/src/net/http/server.go:3210 +0x8e\nexit status 2",
	"node":   "\n<--- Last few GCs --->\n\n[1:0x5b2c9d0]   812345 ms: Mark-sweep 2043.1 (2083.6) -> 2042.9 (2084.1) MB, 1340.1 / 0.0 ms  allocation failure\n\n<--- JS stacktrace --->\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0xb090e0 node::Abort() [node]\n 2: 0xa1b70e  [node]\n 3: 0xce1890 v8::Utils::ReportOOMFailure(v8::internal::Isolate*, char const*, bool) [node]",
}
