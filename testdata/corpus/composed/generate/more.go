package main

import (
	"fmt"
	"strings"
	"time"
)

// A second batch: other shapes of the same failures, other look-alikes, other places where the only evidence stands.
var moreCases = []testCase{
	{"decoy-plugin-forwards-panic-text", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.35.0", Packed: "plain", Dialect: "default",
		Why:     "A plugin forwards other programs' last words at level error; it goes on logging on the same thread, no request fails.",
		BasedOn: "CAUSES.md (a guest that logs is not a failure)",
	}, func(k *kit) {
		s := newScene(k, "1.35.0", "2025-10-06 10:00:00", 2).plug("collector", "", "")
		s.start()
		for i := range 44 {
			s.wait(600 * time.Millisecond)
			s.done(s.hit())
			if i%8 == 3 {
				s.say(s.workers[i%2], "error", "agent 12 reports: thread 'main' panicked at src/main.rs:3:5: boom")
			}
			if i%3 == 1 {
				s.say(s.workers[i%2], "info", "batch stored")
			}
		}
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
	}},
	{"decoy-plugin-says-panic-first", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.34.1", Packed: "kprefix", Dialect: "istio-tabs-thread",
		Why:     "A trading plugin begins its messages with `panic:` and `fatal error:`; it means prices.",
		BasedOn: "CAUSES.md (a guest that logs is not a failure)",
	}, func(k *kit) {
		s := newScene(k, "1.34.1", "2025-08-01 10:00:00", 2).mesh("trade", "quotes", false).plug("trade.breaker", "", "")
		s.wasmInfo = true
		s.start()
		for i := range 38 {
			s.wait(600 * time.Millisecond)
			s.done(s.hit())
			if i%10 == 3 {
				s.say(s.workers[0], "warning", pick(s, "panic: feed 7 is stale, circuit breaker opened", "fatal error: feed 7 dropped, using last price"))
			}
			if i%4 == 1 {
				s.say(s.workers[0], "info", "price updated")
			}
		}
		k.file("quotes.log", kprefix(s.lines(istioTabs)))
	}},
	{"decoy-api-gateway-oomkilled", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.33.2", Packed: "pod-list", Dialect: "istio-tabs-thread",
		Why:     "The application container is called api-gateway and is a Java program; it is OOMKilled, the sidecar is not.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.33.2", "2025-04-09 09:00:00", 2).mesh("apps", "api-gateway", false).plug("apps.tag", "", "")
		s.chatter = func(*scene) string { return "tagged" }
		s.start().traffic(25)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
		end := &ended{137, "OOMKilled", s.now.Add(-time.Hour), s.now.Add(-time.Minute)}
		k.file("pod.yaml", []byte(podYAML(s, "", ctr{name: "api-gateway", image: "registry.example.com/apps/spring-api-gateway:5", ready: true, restarts: 2, last: end, limit: "768Mi"}, ctr{name: "istio-proxy", image: s.proxyImage(), ready: true})))
	}},
	{"decoy-database-proxy-139", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.36.0", Packed: "pod-list", Dialect: "istio-tabs-thread",
		Why:     "Another program, a database proxy, ended by a segmentation fault in the same pod.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.36.0", "2026-02-09 09:00:00", 2).mesh("apps", "billing", false).plug("apps.tag", "", "")
		s.chatter = func(*scene) string { return "tagged" }
		s.start().traffic(25)
		k.file("istio-proxy.log", bare(s.lines(istioTabs)))
		end := &ended{139, "Error", s.now.Add(-time.Hour), s.now.Add(-time.Minute)}
		k.file("pod.yaml", []byte(podYAML(s, "", ctr{name: "billing", image: "registry.example.com/apps/billing:5", ready: true}, ctr{name: "sql-proxy", image: "registry.example.com/tools/sql-auth-proxy:2.8", ready: true, restarts: 1, last: end}, ctr{name: "istio-proxy", image: s.proxyImage(), ready: true})))
	}},
	{"decoy-direct-response-json", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.33.0", Packed: "plain", Dialect: "json",
		Why:     "A maintenance page (503 with a body, no flag, no upstream) in a JSON access log without details, beside a healthy plugin.",
		BasedOn: "CATALOG.md section 7",
	}, func(k *kit) {
		s := newScene(k, "1.33.0", "2025-03-30 22:00:00", 2).plug("hdr", "", "")
		s.chatter = func(*scene) string { return "header added" }
		s.start()
		s.mixed(80, 0.4, func() request {
			q := s.refused()
			q.path, q.tx = "/legacy/cart", 512
			return q
		})
		k.file("envoy.json", bare(s.lines(envoyJSON)))
	}},
	{"decoy-plugin-recovers-its-panic", label{
		Accept: []string{"none"}, Decoy: true, Envoy: "1.37.0", Packed: "plain", Dialect: "istio-json-122",
		Why:     "A Go plugin recovers a panic itself and logs it with a stack; it serves on.",
		BasedOn: "Go's recover",
	}, func(k *kit) {
		s := newScene(k, "1.37.0", "2026-05-15 10:00:00", 2).mesh("apps", "cart", false).plug("apps.promo", "", "")
		s.wasmInfo = true
		s.start()
		for i := range 40 {
			s.wait(600 * time.Millisecond)
			s.done(s.hit())
			if i%15 == 7 {
				s.say(s.workers[0], "error", "recovered from panic: runtime error: index out of range [3] with length 2, promo skipped")
			}
			if i%4 == 1 {
				s.say(s.workers[0], "info", "promo applied")
			}
		}
		k.file("cart.json", bare(s.lines(istioJSON)))
	}},
	{"two-import-and-lua", label{
		Accept:    []string{"missing-import", "lua-script-error"},
		Incidents: []sub{{podOne, []string{"missing-import"}}, {podTwo, []string{"lua-script-error"}}}, Envoy: "1.32.2", Packed: "tar.gz", Dialect: "istio-tabs-thread",
		Why:     "A plugin does not load in one pod, a Lua script fails in another.",
		BasedOn: "CATALOG.md LD-01; public incident 11-decoy-lookalike ([error][lua])",
	}, twoPods("1.32.2", istioTabs, func(s *scene) {
		s.engine(s.main, "Failed to load Wasm module due to a missing import: wasi_snapshot_preview1.fd_pread")
		s.vmFailed(s.main, "Failed to initialize Wasm code")
		s.closed()
		s.nack(ecds, s.unable())
		s.traffic(20)
	}, func(s *scene) {
		for range 9 {
			s.traffic(4)
			s.logAt(s.workers[0], "error", "lua", "extensions/filters/http/lua/lua_filter.cc:932", `script log: [string "function envoy_on_request(handle)..."]:9: attempt to call method 'header' (a nil value)`)
		}
	})},
	{"two-panic-and-control-plane", label{
		Accept:    []string{"guest-panic", "control-plane-unavailable"},
		Incidents: []sub{{podOne, []string{"guest-panic"}}, {podTwo, []string{"control-plane-unavailable"}}}, Envoy: "1.34.2", Packed: "tar.gz", Dialect: "istio-tabs-thread",
		Why:     "A plugin panics in one pod; another pod never gets its configuration.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173, IA-08",
	}, twoPods("1.34.2", istioTabs, func(s *scene) {
		w := s.workers[0]
		s.say(w, "critical", "panicked at src/lib.rs:12:30:\ninvalid tenant")
		s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "expect_failed"), s.method("tenant::F", "HttpContext", "on_http_request_headers"))...)
		s.mixed(30, 0.5, s.refused)
	}, func(s *scene) {
		for range 20 {
			s.wait(2 * time.Second)
			s.log("warning", "config", "extensions/config_subscription/grpc/grpc_stream.h:152", `StreamAggregatedResources gRPC config stream to xds-grpc closed since 61s ago: 14, connection error: desc = "transport: Error while dialing: dial tcp 10.96.0.9:15012: connect: connection refused"`)
			s.agent("warning", "", "Envoy proxy is NOT ready: config not received from XDS server (is Istiod running?): cds updates: 0 successful, 0 rejected; lds updates: 0 successful, 0 rejected")
		}
	})},
	{"crash-and-callers-one-stream", label{
		Accept: []string{"native-crash-in-wasm"}, Envoy: "1.31.0", Packed: "kprefix", Dialect: "default",
		Why:     "One proxy of three crashes in its wasm code; the two others log 503 UF to it for some seconds, all in one stream: one incident.",
		BasedOn: "https://github.com/envoyproxy/envoy-wasm/issues/615",
	}, func(k *kit) {
		var all [][]pline
		for i, name := range []string{"ledger", "front", "batch"} {
			s := newScene(k, "1.31.0", "2024-11-11 11:11:0"+fmt.Sprint(i), 2).plug("tags", "", "")
			s.service, s.ns, s.pod = name, "fin", name+"-0"
			s.start().traffic(25)
			if i == 0 {
				s.crash(s.workers[0], "Segmentation fault", "0x58", streamFrames...)
				s.wait(20 * time.Second)
				s.start().traffic(8)
			} else {
				s.mixed(9, 0.9, func() request { return s.upstream(503, "UF", "", "", "") })
				s.traffic(8)
			}
			all = append(all, s.lines(plainEnvoy))
		}
		k.file("stream.log", kprefix(merge(all...)))
	}},
	{"stuck-idle-istio", label{
		Accept: []string{"stream-stuck"}, Envoy: "1.31.1", Packed: "kboth", Dialect: "istio-tabs-thread",
		Why:     "Paused requests end with 408 stream_idle_timeout after five minutes.",
		BasedOn: "https://github.com/tetratelabs/proxy-wasm-go-sdk/issues/158",
		Expect:  &expected{Pods: 1},
	}, func(k *kit) {
		s := newScene(k, "1.31.1", "2024-12-05 09:00:00", 2).mesh("docs", "upload", true).plug("docs.av", "", "")
		s.wasmInfo = true
		s.start()
		for i := range 44 {
			s.wait(1500 * time.Millisecond)
			q := s.hit()
			if i < 20 || i%4 != 0 {
				s.done(q)
				continue
			}
			s.say(pick(s, s.workers...), "info", "body buffered, waiting for verdict")
			q.method, q.code, q.flags, q.details, q.rx, q.tx, q.ms, q.upMs, q.upstream, q.uLocal = "POST", 408, "SI", "stream_idle_timeout", 51200, 0, 300001, -1, "-", "-"
			q.start = s.now
			s.add(record{kind: access, acc: &q, at: s.now.Add(300 * time.Second)})
		}
		k.file("upload.txt", kboth(s.lines(istioTabs)))
	}},
	{"fail-closed-unknown-access-format", label{
		Accept: []string{"fail-closed", "log-black-hole"}, Envoy: "1.33.1", Packed: "plain", Dialect: "custom-pipes",
		Why:     "An access log of the operator's own making names wasm_fail_stream; nothing else is there.",
		BasedOn: "CATALOG.md AL-01",
	}, func(k *kit) {
		s := newScene(k, "1.33.1", "2025-05-25 15:00:00", 2)
		s.mixed(50, 0.5, s.refused)
		k.file("access.log", bare(s.lines(pipes)))
	}},
	{"fail-closed-ecs-access", label{
		Accept: []string{"fail-closed", "log-black-hole"}, Envoy: "1.36.4", Packed: "plain", Dialect: "json-ecs",
		Why:     "The same in JSON after Elastic's schema, whose keys are nobody else's.",
		BasedOn: "CATALOG.md AL-01",
	}, func(k *kit) {
		s := newScene(k, "1.36.4", "2026-04-25 15:00:00", 2)
		s.start().traffic(20)
		s.mixed(30, 0.5, s.refused)
		k.file("edge.ecs.json", bare(s.lines(ecsJSON)))
	}},
	{"panic-gelf", label{
		Accept: []string{"guest-panic"}, Envoy: "1.35.3", Packed: "gelf", Dialect: "istio-tabs-thread",
		Why:     "Each line in a GELF message of a log server.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173",
		Expect:  &expected{Plugin: "tour.price", Callback: "proxy_on_request_headers", Location: "src/price.rs:5:12"},
	}, func(k *kit) {
		s := newScene(k, "1.35.3", "2025-12-28 08:00:00", 2).mesh("tour", "booking", false).plug("tour.price", "", "")
		s.start().traffic(12)
		s.unwrapNone("price", "src/price.rs:5:12")
		s.mixed(16, 0.5, s.refused)
		gelf := eachLine(func(l pline) string {
			return pairs("version", "1.1", "host", l.s.node, "short_message", l.text, "timestamp", raws(fmt.Sprintf("%.3f", float64(l.at.UnixMilli())/1000)), "level", 6, "_pod", l.s.pod, "_namespace", l.s.ns, "_container", l.s.container)
		})
		k.file("gelf.json", gelf(s.lines(istioTabs)))
	}},
	{"panic-ecs-nested", label{
		Accept: []string{"guest-panic"}, Envoy: "1.38.2", Packed: "plain", Dialect: "json-ecs-nested",
		Why:     "Elastic's schema with nested objects instead of dotted keys.",
		BasedOn: "CATALOG.md SDK-RS-PANIC173",
		Expect:  &expected{Plugin: "fare", Callback: "proxy_on_request_headers", Location: "src/fare.rs:71:33"},
	}, func(k *kit) {
		s := newScene(k, "1.38.2", "2026-07-17 08:00:00", 2).plug("fare", "", "")
		s.start().traffic(25)
		s.unwrapNone("fare", "src/fare.rs:71:33")
		s.mixed(25, 0.5, s.refused)
		nested := ecsJSON
		nested.proxy = func(_ *scene, r record) string {
			return pairs("@timestamp", r.at.Format(accTS), "message", r.text, "log", raws(pairs("level", r.level, "logger", r.logger, "origin", raws(pairs("file", raws(pairs("name", r.file, "line", r.line)))))),
				"process", raws(pairs("thread", raws(pairs("id", r.thread)))), "service", raws(pairs("name", "edge")))
		}
		k.file("edge.json", bare(s.lines(nested)))
	}},
	{"panic-wrapped-columns", label{
		Accept: []string{"guest-panic"}, Envoy: "1.32.1", Packed: "terminal", Dialect: "istio-spaces",
		Why:     "Copied from a terminal of 120 columns that broke long lines.",
		BasedOn: "brief: plain paste",
	}, func(k *kit) {
		s := newScene(k, "1.32.1", "2025-01-12 08:00:00", 2).mesh("tour", "seats", false).plug("tour.map", "", "")
		s.traffic(10)
		s.unwrapNone("map", "src/map.rs:18:44")
		s.mixed(15, 0.5, s.refused)
		var out strings.Builder
		for _, l := range s.lines(istioSpaces) {
			t := l.text
			for len(t) > 120 {
				out.WriteString(t[:120] + "\n")
				t = t[120:]
			}
			out.WriteString(t + "\n")
		}
		k.file("paste.txt", []byte(out.String()))
	}},
	{"oom-kernel-log", label{
		Accept: []string{"process-out-of-memory"}, Envoy: "", Packed: "dmesg", Dialect: "kernel",
		Why:     "Only the node's kernel log was kept: the cgroup's limit killed envoy.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.34.0", "2025-09-01 10:00:00", 1)
		up := 88121.0
		line := func(text string) { up += s.r.Float64() * 30; s.raw(fmt.Sprintf("[%12.6f] %s", up, text)) }
		for range 80 {
			line(pick(s, "IPv6: ADDRCONF(NETDEV_CHANGE): veth"+s.hex(8)+": link becomes ready", "cni0: port 7(veth"+s.hex(8)+") entered forwarding state", "eth0: Caught tx_queue_len zero misconfig"))
		}
		line("wrk:worker_1 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=968")
		line("memory: usage 262144kB, limit 262144kB, failcnt 5120")
		line("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-" + s.hex(16) + ".scope,mems_allowed=0,task=envoy,pid=22317,uid=1337")
		line("Memory cgroup out of memory: Killed process 22317 (envoy) total-vm:1482340kB, anon-rss:251020kB, file-rss:41220kB, shmem-rss:0kB, UID:1337 pgtables:1204kB oom_score_adj:968")
		for range 20 {
			line("cni0: port 7(veth" + s.hex(8) + ") entered disabled state")
		}
		k.file("dmesg.txt", bare(s.lines(plainEnvoy)))
	}},
	{"oom-systemd-unit", label{
		Accept: []string{"process-out-of-memory"}, Envoy: "1.33.0", Packed: "journald", Dialect: "default",
		Why:     "Envoy as a service of systemd: its last lines, then the unit was killed by the OOM killer.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.33.0", "2025-03-21 03:00:00", 2).plug("cache", "", "")
		s.node = "edge-9"
		s.chatter = func(s *scene) string { return "cached " + fmt.Sprint(1000+s.r.Intn(9000)) + " objects" }
		s.start().traffic(35)
		data := string(journal(s.lines(plainEnvoy)))
		ts := s.now.Add(time.Second).Format("2006-01-02T15:04:05-0700")
		data += ts + " edge-9 systemd[1]: envoy.service: A process of this unit has been killed by the OOM killer.\n" +
			ts + " edge-9 systemd[1]: envoy.service: Main process exited, code=killed, status=9/KILL\n" +
			ts + " edge-9 systemd[1]: envoy.service: Failed with result 'oom-kill'.\n"
		k.file("journal.txt", []byte(data))
	}},
	{"crash-systemd-unit", label{
		Accept: []string{"native-crash", "native-crash-in-wasm"}, Envoy: "1.33.0", Packed: "journald", Dialect: "default",
		Why:     "Envoy as a service of systemd ended by SIGSEGV; its own crash handler printed nothing.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.33.0", "2025-03-22 03:00:00", 2)
		s.node = "edge-9"
		s.start().traffic(35)
		data := string(journal(s.lines(plainEnvoy)))
		ts := s.now.Add(time.Second).Format("2006-01-02T15:04:05-0700")
		data += ts + " edge-9 systemd[1]: envoy.service: Main process exited, code=dumped, status=11/SEGV\n" +
			ts + " edge-9 systemd[1]: envoy.service: Failed with result 'core-dump'.\n" +
			ts + " edge-9 systemd-coredump[9917]: Process 812 (envoy) of user 101 dumped core.\n"
		k.file("journal.txt", []byte(data))
	}},
	{"crash-compose-exit-code", label{
		Accept: []string{"native-crash", "native-crash-in-wasm"}, Envoy: "1.29.0", Packed: "compose", Dialect: "default",
		Why:     "docker compose reports that the proxy exited with code 139; the log just stops.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.29.0", "2024-03-24 03:00:00", 2).plug("auth", "", "")
		s.service = "envoy"
		s.chatter = func(*scene) string { return "token ok" }
		s.start().traffic(25)
		k.file("compose.log", append(compose(s.lines(plainEnvoy)), "envoy-1 exited with code 139\n"...))
	}},
	{"oom-docker-inspect", label{
		Accept: []string{"process-out-of-memory"}, Envoy: "1.30.0", Packed: "docker-inspect", Dialect: "default",
		Why:     "docker inspect of the proxy says OOMKilled.",
		BasedOn: "CATALOG.md NC-16",
	}, func(k *kit) {
		s := newScene(k, "1.30.0", "2024-05-24 03:00:00", 2)
		s.start().traffic(35)
		k.file("envoy.log", bare(s.lines(plainEnvoy)))
		end := s.now.Format(time.RFC3339Nano)
		k.file("inspect.json", []byte("[\n    {\n        \"Id\": \""+s.hex(64)+"\",\n        \"Created\": \""+end+"\",\n        \"Path\": \"/docker-entrypoint.sh\",\n        \"State\": {\n            \"Status\": \"exited\",\n            \"Running\": false,\n            \"OOMKilled\": true,\n            \"Dead\": false,\n            \"Pid\": 0,\n            \"ExitCode\": 137,\n            \"Error\": \"\",\n            \"FinishedAt\": \""+end+"\"\n        },\n        \"Name\": \"/edge-envoy\",\n        \"RestartCount\": 0,\n        \"Config\": {\n            \"Image\": \"envoyproxy/envoy:v1.30.0\"\n        }\n    }\n]\n"))
	}},
	{"checksum-controller-json", label{
		Accept: []string{"module-checksum"}, Envoy: "", Packed: "plain", Dialect: "controller-json",
		Why:     "The controller of a gateway finds another digest than the policy pins; its JSON log keeps the reason under a key of its own.",
		BasedOn: "CATALOG.md IA-13",
	}, func(k *kit) {
		s := newScene(k, "1.35.0", "2025-10-02 10:00:00", 1)
		line := func(level, name, msg string, kv ...any) {
			s.wait(700 * time.Millisecond)
			s.raw(pairs(append([]any{"level", level, "ts", s.now.Format("2006-01-02T15:04:05.000Z"), "logger", name, "caller", "runner/runner.go:142", "msg", msg, "runner", "gateway-api"}, kv...)...))
		}
		for i := range 38 {
			line("info", "gateway-api", "reconciled gateway", "generation", i)
		}
		for range 2 {
			line("error", "wasm-cache", "failed to get Wasm module", "url", "https://artifacts.example.com/quota.wasm", "error", "module downloaded from https://artifacts.example.com/quota.wasm has checksum "+s.hex(64)+", which does not match: "+s.hex(64))
		}
		k.file("controller.log", bare(s.lines(plainEnvoy)))
	}},
	{"nack-seen-by-istiod-only", label{
		Accept: []string{"config-rejected"}, Envoy: "", Packed: "plain", Dialect: "istiod",
		Why:     "Only the control plane's log: proxies reject a plugin's configuration, why is not known here.",
		BasedOn: "CATALOG.md IA-03",
	}, func(k *kit) {
		s := newScene(k, "1.34.0", "2025-07-08 07:10:00", 1)
		for i := range 6 {
			s.wait(11 * time.Second)
			s.agent("warning", "delta", fmt.Sprintf("ADS:ECDS: ACK ERROR cart-6d9f8b7c5-%s.shop-%d Internal:Unable to create Wasm plugin shop.promo", s.word(5), 20+i))
		}
		k.file("discovery.log", append(istiod(k, "2025-07-08 07:00:00", 70), bare(s.lines(istioTabs))...))
	}},
	{"fetch-fail-open", label{
		Accept: []string{"module-fetch-failed"}, Envoy: "1.36.0", Packed: "plain", Dialect: "istio-tabs-thread",
		Why:     "The module cannot be fetched and the policy is to let requests pass: nobody notices, but the plugin is not there.",
		BasedOn: "CATALOG.md IA-01",
	}, func(k *kit) {
		s := newScene(k, "1.36.0", "2026-01-19 07:00:00", 2).mesh("web", "blog", false).plug("web.stats", "", "")
		s.start().traffic(25)
		s.agent("error", "wasm", "error in converting the wasm config to local: cannot fetch Wasm module oci://registry.example.com/web/stats:1.0.0: could not fetch Wasm OCI image: could not fetch manifest: Get \"https://registry.example.com/v2/\": dial tcp: lookup registry.example.com on 10.96.0.10:53: no such host. applying allow RBAC filter")
		s.traffic(20)
		k.file("blog.log", bare(s.lines(istioTabs)))
	}},
}

// unwrapNone is a panic on the first worker, at a place.
func (s *scene) unwrapNone(crate, at string) {
	w := s.workers[0]
	s.say(w, "critical", "panicked at "+at+":\ncalled `Option::unwrap()` on a `None` value")
	s.trap(w, "proxy_on_request_headers", "RuntimeError: unreachable", s.panicFrames(false, s.rust("core", "option", "unwrap_failed"), s.method(crate+"::F", "HttpContext", "on_http_request_headers"))...)
}
