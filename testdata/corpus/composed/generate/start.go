package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// start is everything up to the first request.
func (s *scene) start() *scene {
	if s.istio {
		s.startAgent()
		return s
	}
	s.startEnvoy()
	s.ready()
	return s
}

// startEnvoy is the beginning of an Envoy up to the loading of listeners.
func (s *scene) startEnvoy() {
	line := func(n int) string { return "server/server.cc:" + strconv.Itoa(n+(s.envoy-139)*6) }
	s.log("info", "main", line(467), "initializing epoch 0 (base id=0, hot restart version=11."+strconv.Itoa(s.envoy-35)+")")
	s.log("info", "main", line(469), "statically linked extensions:")
	for _, e := range extensions {
		s.log("info", "main", line(471), "  "+e)
	}
	if s.envoy >= 120 {
		s.log("info", "main", line(531), "HTTP header map info:")
		s.log("info", "main", line(534), "  request header map: 664 bytes: :authority,:method,:path,:protocol,:scheme,accept,accept-encoding,authorization,content-length,content-type,cookie,expect,host,te,user-agent,x-forwarded-for,x-request-id")
		s.log("info", "main", line(534), "  response trailer map: 144 bytes: grpc-message,grpc-status")
	}
	s.log("info", "main", line(796), "admin address: 127.0.0.1:9901")
	s.log("info", "main", line(968), "runtime: {}")
	s.log("info", "config", "server/configuration_impl.cc:181", "loading tracing configuration")
	s.log("info", "config", "server/configuration_impl.cc:132", "loading 0 static secret(s)")
	s.log("info", "config", "server/configuration_impl.cc:138", "loading 3 cluster(s)")
	s.wait(40 * time.Millisecond)
	s.log("info", "config", "server/configuration_impl.cc:148", "loading 1 listener(s)")
}

// ready is the rest of a start: workers run.
func (s *scene) ready() {
	s.log("info", "config", "server/configuration_impl.cc:164", "loading stats configuration")
	s.log("info", "runtime", "common/runtime/runtime_impl.cc:567", "RTDS has finished initialization")
	s.log("info", "upstream", "common/upstream/cluster_manager_impl.cc:250", "cm init: all clusters initialized")
	if s.envoy >= 120 {
		s.log("warning", "main", "server/server.cc:1038", "There is no configured limit to the number of allowed active downstream connections. Configure a limit in `envoy.resource_monitors.global_downstream_max_connections` resource monitor.")
	}
	s.log("info", "main", "server/server.cc:1057", "all clusters initialized. initializing init manager")
	s.log("info", "config", "server/listener_manager_impl.cc:834", "all dependencies initialized. starting workers")
	s.log("info", "main", "server/server.cc:1077", "starting main dispatch loop")
	s.wait(700 * time.Millisecond)
}

// startAgent is pilot-agent and the Envoy below it.
func (s *scene) startAgent() {
	for _, f := range []string{`concurrency="0"`, `domain="` + s.ns + `.svc.cluster.local"`, `log_as_json="false"`, `log_output_level="default:info"`,
		`proxyComponentLogLevel="misc:error"`, `proxyLogLevel="warning"`, `serviceCluster="istio-proxy"`, `stsPort="0"`} {
		s.agent("info", "", "FLAG: --"+f)
	}
	v := s.istioVersion()
	s.agent("info", "", "Version "+v+"-"+s.hex(40)+"-Clean")
	typ := map[bool]string{true: "router", false: "sidecar"}[s.gateway]
	if s.envoy >= 130 {
		s.agent("info", "", "Proxy role", "ips", "[10.20.30.40]", "type", typ, "id", s.pod+"."+s.ns, "domain", s.ns+".svc.cluster.local")
	} else {
		s.agent("info", "", "Proxy role: ips=[10.20.30.40], type="+typ+", id="+s.pod+"."+s.ns+", domain="+s.ns+".svc.cluster.local")
	}
	s.agent("info", "", "Apply proxy config from env {}")
	s.agent("info", "", fmt.Sprintf("Effective config: binaryPath: /usr/local/bin/envoy\nconcurrency: %d\nconfigPath: ./etc/istio/proxy\ndiscoveryAddress: istiod.istio-system.svc:15012\ndrainDuration: 45s\nproxyAdminPort: 15000\nserviceCluster: istio-proxy\nstatusPort: 15020\nterminationDrainDuration: 5s\n", len(s.workers)))
	s.agent("info", "", "JWT policy is third-party-jwt")
	s.wait(120 * time.Millisecond)
	s.agent("info", "", "CA Endpoint istiod.istio-system.svc:15012, provider Citadel")
	s.agent("info", "", "Opening status port 15020")
	s.agent("info", "xdsproxy", `Initializing with upstream address "istiod.istio-system.svc:15012" and cluster "Kubernetes"`)
	s.agent("info", "sds", "Starting SDS grpc server")
	s.agent("info", "", "Starting proxy agent")
	level := "warning --component-log-level misc:error"
	if s.wasmInfo || s.chatter != nil {
		level = "warning --component-log-level misc:error,wasm:info"
	}
	s.agent("info", "", fmt.Sprintf("Envoy command: [-c etc/istio/proxy/envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 --file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l %s --concurrency %d]", level, len(s.workers)))
	s.wait(600 * time.Millisecond)
	if s.envoy >= 120 {
		s.log("warning", "main", "server/server.cc:1038", "There is no configured limit to the number of allowed active downstream connections. Configure a limit in `envoy.resource_monitors.global_downstream_max_connections` resource monitor.")
	}
	s.agent("info", "xdsproxy", "connected to upstream XDS server: istiod.istio-system.svc:15012")
	s.agent("info", "cache", "generated new workload certificate", "latency", "403.976310ms", "ttl", "23h59m59.832806024s")
	s.agent("info", "cache", "Root cert has changed, start rotating root cert")
	s.agent("info", "ads", "ADS: new connection for node:"+s.pod+"."+s.ns+"-1")
	s.agent("info", "ads", "SDS: PUSH request for node:"+s.pod+"."+s.ns+" resources:1 size:4.0kB resource:default")
	s.wait(1300 * time.Millisecond)
	s.agent("info", "", "Readiness succeeded in 2.214744650s")
	s.agent("info", "", "Envoy proxy is ready")
	s.wait(900 * time.Millisecond)
}

// notReady is the readiness probe of a proxy whose listeners were refused.
func (s *scene) notReady(n int) {
	for range n {
		s.wait(2 * time.Second)
		s.agent("warning", "", "Envoy proxy is NOT ready: config received from XDS server, but was rejected: cds updates: 1 successful, 0 rejected; lds updates: 0 successful, 1 rejected")
	}
}

// died is what the agent says when its Envoy ends.
func (s *scene) died(how string) {
	if s.envoy >= 124 {
		s.agent("error", "", "Envoy exited with error: "+how)
		return
	}
	s.agent("error", "", "Epoch 0 exited with error: "+how)
	s.agent("info", "", "No more active epochs, terminating")
}

// crash is a native crash: signal, address and frames. A frame without a name is an address only.
func (s *scene) crash(thread int, signal, address string, frames ...string) {
	at := func(text string) {
		s.logAt(thread, "critical", "backtrace", "./source/server/backtrace.h:127", text)
	}
	at("Caught " + signal + ", suspect faulting address " + address)
	at("Backtrace (use tools/stack_decode.py to get line numbers):")
	tls := "BoringSSL"
	at("Envoy version: " + s.hex(40) + "/" + s.version() + "/Clean/RELEASE/" + tls)
	base := 0x55d000000000 + s.r.Int63n(0x100000)<<12
	if s.envoy >= 130 {
		at(fmt.Sprintf("Address mapping: %x-%x /usr/local/bin/envoy", base, base+0x4a00000))
	}
	for i, f := range frames {
		addr := base + s.r.Int63n(0x4000000)
		switch {
		case strings.HasPrefix(f, "0x"):
			at(fmt.Sprintf("#%d: [%s]", i, f))
		case f == "":
			at(fmt.Sprintf("#%d: [0x%x]", i, addr))
		default:
			at(fmt.Sprintf("#%d: %s [0x%x]", i, f, addr))
		}
	}
}

var extensions = []string{
	"envoy.filters.http: envoy.bandwidth_limit, envoy.buffer, envoy.cors, envoy.ext_authz, envoy.ext_proc, envoy.fault, envoy.filters.http.jwt_authn, envoy.filters.http.local_ratelimit, envoy.filters.http.lua, envoy.filters.http.rbac, envoy.filters.http.router, envoy.filters.http.wasm",
	"envoy.wasm.runtime: envoy.wasm.runtime.null, envoy.wasm.runtime.v8",
	"envoy.guarddog_actions: envoy.watchdog.abort_action, envoy.watchdog.profile_action",
	"envoy.resource_monitors: envoy.resource_monitors.fixed_heap, envoy.resource_monitors.injected_resource",
	"envoy.bootstrap: envoy.bootstrap.internal_listener, envoy.bootstrap.wasm, envoy.extensions.network.socket_interface.default_socket_interface",
	"envoy.access_loggers: envoy.access_loggers.file, envoy.access_loggers.http_grpc, envoy.access_loggers.stderr, envoy.access_loggers.stdout, envoy.access_loggers.wasm",
	"envoy.retry_priorities: envoy.retry_priorities.previous_priorities",
	"envoy.clusters: envoy.cluster.eds, envoy.cluster.logical_dns, envoy.cluster.original_dst, envoy.cluster.static, envoy.cluster.strict_dns",
	"envoy.tracers: envoy.tracers.datadog, envoy.tracers.opentelemetry, envoy.tracers.zipkin",
	"envoy.transport_sockets.upstream: envoy.transport_sockets.alts, envoy.transport_sockets.raw_buffer, envoy.transport_sockets.tls",
	"envoy.filters.network: envoy.echo, envoy.ext_authz, envoy.filters.network.http_connection_manager, envoy.filters.network.tcp_proxy, envoy.filters.network.wasm",
}
