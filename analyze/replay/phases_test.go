package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/wasmortem/wasmortem/ingest/wasm"
	envoy "github.com/wasmortem/wasmortem/rules/host"
)

// probing is a plugin with every callback of HTTP; each asks what probe points to what to call and to return.
func probing(tb testing.TB, probe *func(h *host, g guest) uint64) *Machine {
	tb.Helper()
	p := plugin{imports: []string{"probe :i"}, body: []byte{0x10, 0}, called: true, exports: map[string]string{}, pages: 4}
	for name, sigs := range callbackParams {
		if strings.HasPrefix(name, "proxy_on_") && name != "proxy_on_memory_allocate" && name != "proxy_on_request_headers" && name != "proxy_on_context_create" {
			p.exports[name] = sigs[0]
		}
	}
	m, err := wasm.Parse(p.bytes())
	if err != nil {
		tb.Fatal(err)
	}
	x := open(tb, m)
	x.imports[0].call = func(h *host, g guest, _ []uint64) status { return status((*probe)(h, g)) }
	return x
}

// place names the callback that runs as the table of measurements does.
func placeOf(h *host, effective bool) string {
	s := h.current.stream
	switch h.phase {
	case "root_context_create":
		return "proxy_on_context_create(root)"
	case "stream_context_create":
		return "proxy_on_context_create"
	case "done(root)", "delete(root)":
		return "proxy_on_" + h.phase
	case "done(stream)", "delete(stream)":
		return "proxy_on_" + strings.TrimSuffix(h.phase, "(stream)")
	case "request_body":
		if s.ending[0] {
			return "proxy_on_request_body(end)"
		}
	case "response_body":
		if s.ending[1] {
			return "proxy_on_response_body(end)"
		}
	case "http_call_response":
		if effective {
			return "proxy_on_http_call_response(stream)"
		}
	}
	return "proxy_on_" + h.phase
}

// writer puts arguments into the guest's memory.
type writer struct {
	g  guest
	at uint32
}

func (w *writer) put(b []byte) []uint64 {
	at := w.at
	w.g.mod.Memory().Write(at, b)
	w.at += uint32(len(b))
	return []uint64{uint64(at), uint64(len(b))}
}

const out = 512 // where results go

// probes are calls of the table, as (name, arguments).
func probes(w *writer) map[string]func(h *host) status {
	all := map[string]func(h *host) status{}
	call := func(name string, run func(*host, guest, []uint64) status, args ...any) {
		var flat []uint64
		for _, a := range args {
			switch a := a.(type) {
			case string:
				flat = append(flat, w.put([]byte(a))...)
			case []byte:
				flat = append(flat, w.put(a)...)
			case int:
				flat = append(flat, uint64(a))
			}
		}
		all[name] = func(h *host) status { return run(h, w.g, flat) }
	}
	for kind, name := range []string{"RequestHeaders", "RequestTrailers", "ResponseHeaders", "ResponseTrailers", "GrpcInitialMetadata", "GrpcTrailingMetadata",
		"HttpCallResponseHeaders", "HttpCallResponseTrailers"} {
		call("proxy_get_header_map_value("+name+",present-key)", getHeader, kind, "x-here", out, out+4)
		call("proxy_get_header_map_value("+name+",missing-key)", getHeader, kind, "x-missing", out, out+4)
		call("proxy_get_header_map_pairs("+name+")", getHeaders, kind, out, out+4)
		call("proxy_get_header_map_size("+name+")", headersSize, kind, out)
		call("proxy_add_header_map_value("+name+")", addHeader, kind, "x-new", "1")
		call("proxy_replace_header_map_value("+name+")", replaceHeader, kind, "x-new", "2")
		call("proxy_remove_header_map_value("+name+")", removeHeader, kind, "x-new")
	}
	call("proxy_get_header_map_value(type=8)", getHeader, 8, "x-here", out, out+4)
	for kind, name := range []string{"HttpRequestBody", "HttpResponseBody", "DownstreamData", "UpstreamData", "HttpCallResponseBody", "GrpcReceiveBuffer", "VmConfiguration",
		"PluginConfiguration", "CallData"} {
		call("proxy_get_buffer_bytes("+name+",0,1M)", getBuffer, kind, 0, 1<<20, out, out+4)
		call("proxy_get_buffer_status("+name+")", bufferStatus, kind, out, out+4)
		call("proxy_set_buffer_bytes("+name+",prepend)", setBuffer, kind, 0, 0, "p")
		call("proxy_set_buffer_bytes("+name+",start=1)", setBuffer, kind, 1, 0, "p")
	}
	call("proxy_get_buffer_bytes(type=9)", getBuffer, 9, 0, 10, out, out+4)
	for _, key := range []string{"request.path", "request.headers.x-do", "response.code", "source.address", "source.port", "destination.port", "connection.id", "plugin_name", "plugin_root_id",
		"plugin_vm_id", "node.id", "node", "nosuchthing", "cluster_name", "listener_direction"} {
		call("proxy_get_property("+key+")", getProperty, strings.ReplaceAll(key, ".", "\x00"), out, out+4)
	}
	call("proxy_get_property(<dotted string 'request.path'>)", getProperty, "request.path", out, out+4)
	call("proxy_get_property(<empty path>)", getProperty, "", out, out+4)
	call("proxy_get_property(request (whole map))", getProperty, "request", out, out+4)
	call("proxy_get_property(connection (whole map))", getProperty, "connection", out, out+4)
	call("proxy_get_property(xds (whole map))", getProperty, "xds", out, out+4)
	call("proxy_set_property(k)", setProperty, "k", "v")
	call("proxy_get_shared_data(missing)", getShared, "missing", out, out+4, out+8)
	call("proxy_set_shared_data(cas=0)", setShared, "shared", "v", 0)
	call("proxy_resolve_shared_queue(missing)", resolveQueue, "", "missing", out)
	call("proxy_register_shared_queue(q1)", registerQueue, "q1", out)
	call("proxy_enqueue_shared_queue(token=9999)", enqueue, 9999, "x")
	call("proxy_dequeue_shared_queue(token=9999)", dequeue, 9999, out, out+4)
	call("proxy_define_metric(counter)", defineMetric, 0, "c", out)
	call("proxy_define_metric(type=3)", defineMetric, 3, "c", out)
	call("proxy_increment_metric(unknown id)", incrementMetric, 9999, 1)
	call("proxy_record_metric(unknown id)", recordMetric, 9999, 1)
	call("proxy_get_metric(unknown id)", getMetric, 9999, out)
	call("proxy_get_current_time_nanoseconds", currentTime, out)
	call("proxy_get_log_level", logLevel, out)
	call("proxy_log(level=6)", proxyLog, 6, "x")
	call("proxy_set_effective_context(9999)", effectiveContext, 9999)
	call("proxy_get_status", getStatus, out, out+4, out+8)
	call("proxy_call_foreign_function(nosuch)", foreignFunction, "nosuch", "", out, out+4)
	good := encodePairs([]header{{":method", "GET"}, {":path", "/"}, {":authority", "x"}})
	http := func(name, cluster string, pairs []byte, timeout int) {
		call("proxy_http_call("+name+")", httpCall, cluster, pairs, "", "", timeout, out)
	}
	http("good", "never", good, 0)
	http("unknown cluster", "unknown", good, 100)
	http("no :method", "never", encodePairs([]header{{":path", "/"}, {":authority", "x"}}), 100)
	http("no :path", "never", encodePairs([]header{{":method", "GET"}, {":authority", "x"}}), 100)
	http("no :authority", "never", encodePairs([]header{{":path", "/"}, {":method", "GET"}}), 100)
	http("'host' instead of :authority", "never", encodePairs([]header{{":path", "/"}, {":method", "GET"}, {"host", "x"}}), 0)
	http("empty header map", "never", nil, 100)
	http("timeout=0x80000000", "never", good, 0x80000000)
	http("cluster without endpoints", "noendpoints", good, 100)
	call("proxy_grpc_call(unknown cluster name)", grpcCall, "no_such", "s", "m", "", "", 100, out)
	call("proxy_grpc_call(cluster without endpoints)", grpcCall, "noendpoints", "s", "m", "", "", 100, out)
	call("proxy_grpc_stream(unknown cluster name)", grpcStream, "no_such", "s", "m", "", out)
	call("proxy_grpc_send(token=odd/call)", grpcSend, 4001, "x", 0)
	call("proxy_grpc_send(token=9999x4+?)", grpcSend, 39998, "x", 0)
	call("proxy_grpc_cancel(unknown stream token)", grpcEnd, 39998)
	call("proxy_grpc_close(unknown call token)", grpcEnd, 39997)
	call("proxy_grpc_cancel(token=0)", grpcEnd, 0)
	call("proxy_grpc_cancel(token=3)", grpcEnd, 3)
	call("proxy_continue_stream(type=4)", continueStream, 4)
	call("proxy_close_stream(type=4)", closeStream, 4)
	call("proxy_continue_stream(Downstream)", continueStream, 2)
	call("proxy_continue_stream(Upstream)", continueStream, 3)
	call("proxy_close_stream(Upstream)", closeStream, 3)
	call("proxy_close_stream(Downstream)", closeStream, 2)
	call("proxy_done", proxyDone)
	return all
}

// probed is the scenario under which the table was measured: everything has a body and trailers, and there are answers to calls.
func probed(version string, trailers bool) *Scenario {
	here := Headers{{"x-here", "1"}}
	sc := &Scenario{Envoy: version, PluginConfig: "plugin", VMConfig: "vm", Plugin: Plugin{Name: "probe", RootID: "root", VMID: "vm"}, Clusters: []string{"good", "never", "noendpoints"},
		Calls: []Call{
			{Cluster: "good", Answer: Answer{Headers: here, Body: Body("answer"), Trailers: here}},
			{Cluster: "never", Answer: Answer{Outcome: "timeout"}},
			{Cluster: "noendpoints", Answer: Answer{Outcome: "refused"}},
		}}
	q := Request{Headers: here, Body: Body("hello body"), Chunks: 2, Response: Response{Headers: here, Body: Body("hello response"), Chunks: 2}}
	if trailers {
		q.Trailers, q.Response.Trailers = here, here
	}
	sc.Requests = []Request{q}
	return sc
}

// The stub answers every call in every callback with the status that a real Envoy gave, on both versions that were measured.
func TestStatusesAreEnvoys(t *testing.T) {
	seen := map[string]bool{}
	checked := 0
	for _, version := range []string{"1.36.2", "1.40.0"} {
		for _, trailers := range []bool{true, false} {
			asked := false
			probe := func(h *host, g guest) uint64 {
				check := func(effective bool) {
					place := placeOf(h, effective)
					seen[place] = true
					w := &writer{g: g, at: 4096}
					all := probes(w)
					for _, name := range envoy.Cases("") {
						run := all[name]
						want, known := envoy.Status(name, place, version)
						if strings.HasPrefix(name, "proxy_get_header_map_value(ResponseTrailers,present") && place == "proxy_on_log" {
							continue // what came back hung on who had made the trailers, which the table does not tell
						}
						if run == nil || !known || len(want.Statuses) != 1 {
							continue
						}
						checked++
						now := h.current
						g.put32(out, 0xdead)
						got := run(h)
						h.current = now
						if int(got) != want.Statuses[0] {
							t.Errorf("Envoy %s, %s in %s: %d, want %d", version, name, place, got, want.Statuses[0])
						}
						if at, _ := g.mod.Memory().ReadUint32Le(out); want.Empty && got == ok && at != 0 && !strings.Contains(name, "buffer_status") {
							t.Errorf("Envoy %s, %s in %s: a value at %#x, want the null pointer", version, name, place, at)
						}
					}
				}
				check(false)
				w := &writer{g: g, at: 20_000}
				pairs := w.put(encodePairs([]header{{":method", "GET"}, {":path", "/"}, {":authority", "x"}}))
				cluster := w.put([]byte("good"))
				switch h.phase {
				case "vm_start", "configure":
					return 1
				case "request_headers":
					httpCall(h, g, slices.Concat(cluster, pairs, []uint64{0, 0, 0, 0, 100, out}))
					grpcStream(h, g, slices.Concat(cluster, cluster, cluster, []uint64{0, 0, out}))
					registerQueue(h, g, append(w.put([]byte("q")), out))
					enqueue(h, g, append([]uint64{1}, pairs...))
					setTick(h, g, []uint64{10})
				case "http_call_response":
					if asked {
						break
					}
					asked = true
				case "done(root)":
					return 1
				}
				return 0
			}
			res := mustRun(t, probing(t, &probe), probed(version, trailers))
			if res.Failure != nil {
				t.Fatalf("the probe failed: %+v", res.Failure)
			}
		}
	}
	for _, place := range envoy.ProbedCallbacks() {
		tcp := strings.Contains(place, "tcp") || strings.Contains(place, "stream_data") || strings.Contains(place, "connection") || strings.HasSuffix(place, "stream)")
		if !seen[place] && !tcp {
			t.Errorf("the replay never came to %s", place)
		}
	}
	if checked < 4000 {
		t.Errorf("%d calls were compared, want at least 4000", checked)
	}
}

// effectCalls are the calls of the table's effects that the replay knows.
func effectCall(do string, g guest) (func(*host, guest, []uint64) status, []uint64) {
	w := &writer{g: g, at: 4096}
	pairs := w.put(encodePairs([]header{{":method", "GET"}, {":path", "/"}, {":authority", "x"}}))
	cluster := func(name string) []uint64 { return w.put([]byte(name)) }
	grpc := func(name string) []uint64 {
		return slices.Concat(cluster(name), cluster("s"), cluster("m"), []uint64{0, 0, 0, 0, 100, out})
	}
	stream := func(name string) []uint64 {
		return slices.Concat(cluster(name), cluster("s"), cluster("m"), []uint64{0, 0, out})
	}
	http := func(name string) []uint64 {
		return slices.Concat(cluster(name), pairs, []uint64{0, 0, 0, 0, 100, out})
	}
	kinds := map[string]uint64{"Request": 0, "Response": 1, "Downstream": 2, "Upstream": 3}
	for name, n := range kinds {
		switch do {
		case "proxy_continue_stream(" + name + ")":
			return continueStream, []uint64{n}
		case "proxy_close_stream(" + name + ")":
			return closeStream, []uint64{n}
		}
	}
	for _, name := range []string{"", "auth-grpc", "users", "inventory"} {
		switch do {
		case fmt.Sprintf("proxy_grpc_call(cluster=%q)", name):
			return grpcCall, grpc(name)
		case fmt.Sprintf("proxy_grpc_stream(cluster=%q)", name):
			return grpcStream, stream(name)
		}
	}
	switch do {
	case "proxy_send_local_response(418)":
		return localResponse, []uint64{418, 0, 0, 0, 0, 0, 0, 0xffffffff}
	case "proxy_http_call(good)":
		return httpCall, http("good")
	case "proxy_http_call(cluster without endpoints)":
		return httpCall, http("noendpoints")
	case "proxy_grpc_call(cluster without endpoints)":
		return grpcCall, grpc("noendpoints")
	case "proxy_grpc_stream(cluster without endpoints)":
		return grpcStream, stream("noendpoints")
	case "proxy_get_header_map_value(RequestHeaders :path)":
		return getHeader, append([]uint64{0}, append(w.put([]byte(":path")), out, out+4)...)
	case "proxy_get_header_map_pairs(RequestHeaders)":
		return getHeaders, []uint64{0, out, out + 4}
	case "proxy_remove_header_map_value(:path)":
		return removeHeader, append([]uint64{0}, w.put([]byte(":path"))...)
	case "proxy_set_buffer_bytes(HttpRequestBody; replace all)":
		return setBuffer, append([]uint64{0, 0, 0xffffffff}, w.put([]byte("new"))...)
	case "proxy_get_buffer_bytes(HttpRequestBody)":
		return getBuffer, []uint64{0, 0, 1 << 20, out, out + 4}
	}
	return nil, nil
}

// What crashes or hangs Envoy ends the replay as such, and nothing else does; streams that Envoy left stalled stay paused.
func TestEffectsAreEnvoys(t *testing.T) {
	compared, fatal := 0, 0
	memory := memoryOf(t)
	var probe func(h *host, g guest) uint64
	x := probing(t, &probe)
	for _, version := range []string{"1.36.2", "1.40.0"} {
		for _, e := range envoy.Effects("", version) {
			if strings.Contains(e.Callback, "connection") || strings.Contains(e.Callback, "stream_data") || e.Gives == "data" || e.Gives == "closed" {
				continue
			}
			known := true
			for _, do := range e.Do {
				run, _ := effectCall(do, guest{mod: memory})
				known = known && (run != nil || strings.HasPrefix(do, "return "))
			}
			if !known {
				continue
			}
			compared++
			var got []int
			rest, used := e.Do, false
			probe = func(h *host, g guest) uint64 {
				place := placeOf(h, false)
				here := place == e.Callback || place == e.Callback+"(end)"
				if e.Then != "" && used && len(rest) > 0 && (place == e.Then || place+"(stream)" == e.Then) {
					here = true
					effectiveContext(h, g, []uint64{2})
				} else if used {
					if result, again := strings.CutPrefix(e.Do[0], "return "); here && again {
						return decimal(result) // of each piece of a body
					}
					here = false
				}
				if here {
					used = true
					for len(rest) > 0 {
						do := rest[0]
						rest = rest[1:]
						if result, is := strings.CutPrefix(do, "return "); is {
							return decimal(result)
						}
						run, args := effectCall(do, g)
						got = append(got, int(run(h, g, args)))
						if e.Then != "" && strings.HasPrefix(do, "proxy_http_call") && len(rest) > 0 && !strings.HasPrefix(rest[0], "return") {
							break // the rest comes with the answer
						}
					}
				}
				switch h.phase {
				case "vm_start", "configure", "done(root)":
					return 1
				}
				if h.phase == "request_headers" && strings.HasPrefix(e.Callback, "proxy_on_tick") {
					setTick(h, g, []uint64{1})
				}
				return 0
			}
			sc := probed(version, !strings.HasSuffix(e.Callback, "(end)"))
			res := mustRun(t, x, sc)
			label := fmt.Sprintf("Envoy %s, %v in %s then %q", version, e.Do, e.Callback, e.Then)
			crashed := res.Failure != nil && res.Failure.Kind == Crash
			if crashed != e.Fatal() {
				t.Errorf("%s: %+v, want what gives %s", label, res.Failure, e.Gives)
			}
			if e.Fatal() {
				fatal++
				continue
			}
			if res.Failure != nil && res.Failure.Kind != Stuck {
				t.Errorf("%s: %+v", label, res.Failure)
			}
			if stalled := len(res.Stuck) > 0; used && stalled != (e.Gives == "stall") {
				t.Errorf("%s: stuck %q, want what gives %s", label, res.Stuck, e.Gives)
			}
			if used && !slices.Equal(got, e.Statuses) {
				t.Errorf("%s: answers %v, want %v", label, got, e.Statuses)
			}
		}
	}
	if compared < 100 || fatal < 20 {
		t.Errorf("%d effects were compared, %d of them fatal", compared, fatal)
	}
}

// memoryOf is a guest's module that only has memory.
func memoryOf(tb testing.TB) api.Module {
	tb.Helper()
	probe := func(*host, guest) uint64 { return 1 }
	x := probing(tb, &probe)
	p, err := x.program(context.Background(), 16, false)
	if err != nil {
		tb.Fatal(err)
	}
	in, err := p.instantiate(context.Background(), newHost(&Scenario{}, "0.2.1"), time.Second)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(in.close)
	return in.module
}

// Cluster names that are protobuf messages: those of the table, and ordinary ones.
func TestEmptyGrpcService(t *testing.T) {
	for name, want := range map[string]bool{"": true, "users": true, "auth-grpc": true, "inventory": true, "email": true, "media": true, "no_such": false, "noendpoints": false,
		"outbound|80||users.default.svc.cluster.local": false, "\x0a\x00": false} {
		if got := emptyGrpcService([]byte(name)); got != want {
			t.Errorf("emptyGrpcService(%q) = %v, want %v", name, got, want)
		}
	}
}
