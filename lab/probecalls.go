package main

// The calls of the probe, named and ordered as in rules/host/phases.yaml.

const (
	present       = "x-probe" // a header the probe itself writes
	pathDo        = "/callout"
	unknownMetric = 9996 // of a counter, by its lowest two bits; one that ends in 3 is no metric at all and gives BadArgument
)

func goodHTTP(token int) hostCall {
	return httpCall("good", "backend", pairs(":method", "GET", ":path", pathDo, ":authority", "backend.example.com"), 5000, token)
}

func goodGRPC(token int) hostCall {
	return hostCall{name: "proxy_grpc_stream(good)", fn: "proxy_grpc_stream", args: []arg{str(grpcService("backend")), str("probe.Service"), str("Method"), pairs("x-sent", "1"), n(token)}}
}

func httpCall(what, cluster string, headers arg, timeout, token int) hostCall {
	return hostCall{name: "proxy_http_call(" + what + ")", fn: "proxy_http_call", args: []arg{str(cluster), headers, str(""), pairs(), n(timeout), n(token)}}
}

// grpcService is an envoy.config.core.v3.GrpcService that names a cluster.
func grpcService(cluster string) string {
	inner := string(append([]byte{0x0a}, text(cluster)...))
	return string(append([]byte{0x0a}, text(inner)...))
}

func grpcCall(what, service string) hostCall {
	return hostCall{name: "proxy_grpc_call(" + what + ")", fn: "proxy_grpc_call",
		args: []arg{str(service), str("probe.Service"), str("Method"), pairs(), str("hi"), n(1000), n(outValue)}}
}

func grpcStream(what, service string) hostCall {
	return hostCall{name: "proxy_grpc_stream(" + what + ")", fn: "proxy_grpc_stream", args: []arg{str(service), str("probe.Service"), str("Method"), pairs(), n(outValue)}}
}

func foreign(what, name string, argument arg) hostCall {
	return hostCall{name: "proxy_call_foreign_function(" + what + ")", fn: "proxy_call_foreign_function", args: []arg{str(name), argument, n(outValue), n(outSize)}}
}

// stateArguments is SetEnvoyFilterStateArguments of source/extensions/common/wasm/ext/set_envoy_filter_state.proto.
func stateArguments(path, value string) string {
	return string(append(append([]byte{0x0a}, text(path)...), append([]byte{0x12}, text(value)...)...))
}

var headerMaps = []struct {
	name, present string
}{
	{"RequestHeaders", ":path"}, {"RequestTrailers", "x-qtrl"}, {"ResponseHeaders", ":status"}, {"ResponseTrailers", "x-rtrl"},
	{"GrpcInitialMetadata", "x-init"}, {"GrpcTrailingMetadata", "x-rtrl"}, {"HttpCallResponseHeaders", ":status"}, {"HttpCallResponseTrailers", "x-rtrl"},
}

var buffers = []string{"HttpRequestBody", "HttpResponseBody", "DownstreamData", "UpstreamData", "HttpCallResponseBody", "GrpcReceiveBuffer",
	"VmConfiguration", "PluginConfiguration", "CallData"}

var tcpCallbacks = []string{"proxy_on_context_create(tcp)", "proxy_on_new_connection", "proxy_on_downstream_data", "proxy_on_upstream_data",
	"proxy_on_downstream_connection_close", "proxy_on_upstream_connection_close", "proxy_on_done(tcp)", "proxy_on_log(tcp)", "proxy_on_delete(tcp)"}

// quietCalls leave the stream as it is, so that all can be made in one callback.
func quietCalls() []hostCall {
	var list []hostCall
	add := func(name, fn string, args ...arg) *hostCall {
		list = append(list, hostCall{name: name, fn: fn, args: args})
		return &list[len(list)-1]
	}
	for i, m := range headerMaps {
		add("proxy_get_header_map_value("+m.name+",present-key)", "proxy_get_header_map_value", n(i), str(m.present), n(outValue), n(outSize))
		add("proxy_get_header_map_value("+m.name+",missing-key)", "proxy_get_header_map_value", n(i), str("x-nosuch"), n(outValue), n(outSize))
		add("proxy_get_header_map_pairs("+m.name+")", "proxy_get_header_map_pairs", n(i), n(outValue), n(outSize)).values = true
		add("proxy_get_header_map_size("+m.name+")", "proxy_get_header_map_size", n(i), n(outSize))
		add("proxy_add_header_map_value("+m.name+")", "proxy_add_header_map_value", n(i), str(present), str("1"))
		add("proxy_replace_header_map_value("+m.name+")", "proxy_replace_header_map_value", n(i), str(present), str("2"))
		add("proxy_remove_header_map_value("+m.name+")", "proxy_remove_header_map_value", n(i), str(present))
		// What was read is written back; the addresses outlive the clearing of outValue on the stack.
		list = append(list, hostCall{name: "proxy_set_header_map_pairs(" + m.name + ",same)", fn: "proxy_set_header_map_pairs",
			before: []hostCall{{fn: "proxy_get_header_map_pairs", args: []arg{n(i), n(outThird), n(outFourth)}}},
			args:   []arg{n(i), held(outThird), held(outFourth)}})
	}
	add("proxy_get_header_map_value(type=8)", "proxy_get_header_map_value", n(8), str(":path"), n(outValue), n(outSize))
	for i, b := range buffers {
		add("proxy_get_buffer_bytes("+b+",0,1M)", "proxy_get_buffer_bytes", n(i), n(0), n(1<<20), n(outValue), n(outSize)).values = true
		add("proxy_get_buffer_status("+b+")", "proxy_get_buffer_status", n(i), n(outSize), n(outThird))
		add("proxy_set_buffer_bytes("+b+",prepend)", "proxy_set_buffer_bytes", n(i), n(0), n(0), str("x"))
		add("proxy_set_buffer_bytes("+b+",start=1)", "proxy_set_buffer_bytes", n(i), n(1), n(0), str("y"))
		if i < 2 {
			add("proxy_get_buffer_bytes("+b+",start=5,len=0xffffffff)", "proxy_get_buffer_bytes", n(i), n(5), n(-1), n(outValue), n(outSize)).values = true
			add("proxy_get_buffer_bytes("+b+",start=9999,len=5)", "proxy_get_buffer_bytes", n(i), n(9999), n(5), n(outValue), n(outSize)).values = true
		}
	}
	add("proxy_get_buffer_bytes(type=9)", "proxy_get_buffer_bytes", n(9), n(0), n(10), n(outValue), n(outSize))
	get := func(name, segments string) {
		add("proxy_get_property("+name+")", "proxy_get_property", path(segments), n(outValue), n(outSize))
	}
	for _, p := range [][2]string{
		{"request.path", "request/path"}, {"request.headers.x-do", "request/headers/x-do"}, {"request.total_size", "request/total_size"},
		{"request.duration", "request/duration"}, {"request.time", "request/time"}, {"response.code", "response/code"},
		{"response.headers.:status", "response/headers/:status"}, {"response.trailers.x-rtrl", "response/trailers/x-rtrl"},
		{"response.code_details", "response/code_details"}, {"response.flags", "response/flags"}, {"source.address", "source/address"},
		{"source.port", "source/port"}, {"destination.port", "destination/port"}, {"connection.id", "connection/id"}, {"connection.mtls", "connection/mtls"},
		{"connection.requested_server_name", "connection/requested_server_name"}, {"connection_id", "connection_id"},
		{"upstream.address", "upstream/address"}, {"metadata", "metadata"}, {"metadata.filter_metadata", "metadata/filter_metadata"},
		{"filter_state", "filter_state"}, {"filter_state.wasm.k", "filter_state/wasm.k"}, {"plugin_name", "plugin_name"},
		{"plugin_root_id", "plugin_root_id"}, {"plugin_vm_id", "plugin_vm_id"}, {"cluster_name", "cluster_name"}, {"cluster_metadata", "cluster_metadata"},
		{"route_name", "route_name"}, {"route_metadata", "route_metadata"}, {"listener_direction", "listener_direction"},
		{"listener_metadata", "listener_metadata"}, {"upstream_host_metadata", "upstream_host_metadata"}, {"node", "node"}, {"node.id", "node/id"},
		{"node.metadata", "node/metadata"}, {"node.nosuchfield", "node/nosuchfield"}, {"xds.cluster_name", "xds/cluster_name"},
		{"xds.route_name", "xds/route_name"}, {"xds.node", "xds/node"}, {"xds.filter_chain_name", "xds/filter_chain_name"},
		{"xds.listener_direction", "xds/listener_direction"}, {"<dotted string 'request.path'>", "request.path"}, {"<empty path>", ""},
		{"nosuchthing", "nosuchthing"}, {"wasm-set k", "k"}, {"request (whole map)", "request"}, {"connection (whole map)", "connection"}, {"xds (whole map)", "xds"},
	} {
		get(p[0], p[1])
	}
	add("proxy_set_property(k)", "proxy_set_property", path("k"), str("v"))
	get("k after set", "k")
	add("proxy_get_shared_data(missing)", "proxy_get_shared_data", str("nosuch"), n(outValue), n(outSize), n(outThird))
	add("proxy_set_shared_data(cas=0)", "proxy_set_shared_data", str("kept"), str("v"), n(0))
	add("proxy_get_shared_data(present)", "proxy_get_shared_data", str("kept"), n(outValue), n(outSize), n(outThird))
	add("proxy_set_shared_data(stale cas)", "proxy_set_shared_data", str("kept"), str("v"), n(77777))
	add("proxy_set_shared_data(new key,cas=77)", "proxy_set_shared_data", perCallback("new"), str("v"), n(77))
	add("proxy_resolve_shared_queue(missing)", "proxy_resolve_shared_queue", str(""), str("nosuch"), n(outValue))
	add("proxy_register_shared_queue(q1)", "proxy_register_shared_queue", str("q1"), n(queueID))
	add("proxy_enqueue_shared_queue(token=9999)", "proxy_enqueue_shared_queue", n(9999), str("item"))
	add("proxy_dequeue_shared_queue(token=9999)", "proxy_dequeue_shared_queue", n(9999), n(outValue), n(outSize))
	add("proxy_dequeue_shared_queue(empty)", "proxy_dequeue_shared_queue", held(queueID), n(outValue), n(outSize))
	enqueue := add("proxy_enqueue_shared_queue(q1)", "proxy_enqueue_shared_queue", held(queueID), str("item"))
	enqueue.only = []string{"proxy_on_request_headers"}
	enqueue.after = []hostCall{{fn: "proxy_dequeue_shared_queue", args: []arg{held(queueID), n(outValue), n(outSize)}}}
	add("proxy_dequeue_shared_queue(ready token)", "proxy_dequeue_shared_queue", held(parameters+4), n(outValue), n(outSize)).only = []string{"proxy_on_queue_ready"}
	add("proxy_define_metric(counter)", "proxy_define_metric", n(0), str("probe_counter"), n(counterID))
	add("proxy_define_metric(gauge)", "proxy_define_metric", n(1), str("probe_gauge"), n(gaugeID))
	add("proxy_define_metric(histogram)", "proxy_define_metric", n(2), str("probe_histogram"), n(histogram))
	add("proxy_define_metric(type=3)", "proxy_define_metric", n(3), str("probe_other"), n(outValue))
	add("proxy_increment_metric(counter,+1)", "proxy_increment_metric", held(counterID), long(1))
	add("proxy_increment_metric(counter,0)", "proxy_increment_metric", held(counterID), long(0))
	add("proxy_increment_metric(counter,-1)", "proxy_increment_metric", held(counterID), long(-1))
	add("proxy_increment_metric(gauge,-1)", "proxy_increment_metric", held(gaugeID), long(-1))
	add("proxy_increment_metric(histogram,1)", "proxy_increment_metric", held(histogram), long(1))
	add("proxy_increment_metric(unknown id)", "proxy_increment_metric", n(unknownMetric), long(1))
	add("proxy_record_metric(histogram)", "proxy_record_metric", held(histogram), long(1))
	add("proxy_record_metric(counter)", "proxy_record_metric", held(counterID), long(1))
	add("proxy_record_metric(unknown id)", "proxy_record_metric", n(unknownMetric), long(1))
	add("proxy_get_metric(counter)", "proxy_get_metric", held(counterID), n(outValue))
	add("proxy_get_metric(histogram)", "proxy_get_metric", held(histogram), n(outValue))
	add("proxy_get_metric(unknown id)", "proxy_get_metric", n(unknownMetric), n(outValue))
	add("proxy_set_tick_period_milliseconds(500)", "proxy_set_tick_period_milliseconds", n(500))
	add("proxy_get_current_time_nanoseconds", "proxy_get_current_time_nanoseconds", n(outValue))
	add("proxy_get_log_level", "proxy_get_log_level", n(outValue))
	add("proxy_log(level=6)", "proxy_log", n(6), str("level 6"))
	add("proxy_set_effective_context(9999)", "proxy_set_effective_context", n(9999))
	add("proxy_set_effective_context(own id)", "proxy_set_effective_context", ownContext())
	add("proxy_set_effective_context(stream)", "proxy_set_effective_context", held(streamID)).only = []string{"proxy_on_http_call_response"}
	list[len(list)-1].after = []hostCall{{fn: "proxy_set_effective_context", args: []arg{ownContext()}}}
	add("proxy_get_status", "proxy_get_status", n(outThird), n(outValue), n(outSize))

	list = append(list, foreign("nosuch", "nosuch", str("")), foreign("clear_route_cache", "clear_route_cache", str("")), foreign("compress", "compress", str("aaaaaaaaaaaaaaaa")))
	uncompress := foreign("uncompress", "uncompress", func(c *code) { c.load(outThird); c.load(outFourth) })
	uncompress.before = []hostCall{{fn: "proxy_call_foreign_function", args: []arg{str("compress"), str("aaaaaaaaaaaaaaaa"), n(outThird), n(outFourth)}}}
	list = append(list, uncompress, foreign("uncompress,garbage", "uncompress", str("garbage")),
		foreign("verify_signature,empty", "verify_signature", str("")), foreign("verify_signature,garbage", "verify_signature", str("garbage")), foreign("sign,empty", "sign", str("")),
		foreign("set_envoy_filter_state,unknown key", "set_envoy_filter_state", str(stateArguments("nosuch.key", "v"))),
		foreign("set_envoy_filter_state,envoy.tcp_proxy.cluster", "set_envoy_filter_state", str(stateArguments("envoy.tcp_proxy.cluster", "tcp"))))
	declared := foreign("declare_property,dup", "declare_property", str(stateArguments("dup", "")[:5]))
	once := declared
	declared.before = []hostCall{once}
	list = append(list, declared)

	create := foreign("expr_create", "expr_create", str("request.path"))
	create.keep = func(c *code) {
		c.when(func() { c.load(outValue) }, func() { c.store(exprToken, func() { c.load(outValue); c.op(0x28, 2, 0) }) })
	}
	evaluate := func(what string) hostCall {
		return foreign(what, "expr_evaluate", func(c *code) { c.i32(exprToken); c.i32(4) })
	}
	deleted := evaluate("expr_evaluate,deleted")
	deleted.before = []hostCall{foreign("", "expr_delete", func(c *code) { c.i32(exprToken); c.i32(4) })}
	list = append(list, create, evaluate("expr_evaluate request.path"), deleted, foreign("expr_create,bad syntax", "expr_create", str("request.(")))

	ending := []string{"proxy_on_done(root)", "proxy_on_delete(root)"}
	host := httpCall("'host' instead of :authority", "backend", pairs(":method", "GET", ":path", pathDo, "host", "backend.example.com"), 5000, outValue)
	host.not = ending
	good := goodHTTP(outValue)
	good.not = ending
	list = append(list,
		httpCall("unknown cluster", "no-such-cluster", pairs(":method", "GET", ":path", pathDo, ":authority", "a"), 5000, outValue),
		httpCall("no :method", "backend", pairs(":path", pathDo, ":authority", "a"), 5000, outValue),
		httpCall("no :path", "backend", pairs(":method", "GET", ":authority", "a"), 5000, outValue),
		httpCall("no :authority", "backend", pairs(":method", "GET", ":path", pathDo), 5000, outValue),
		host, httpCall("empty header map", "backend", pairs(), 5000, outValue),
		httpCall("timeout=0x80000000", "backend", pairs(":method", "GET", ":path", pathDo, ":authority", "a"), -1<<31, outValue),
		httpCall("cluster without endpoints", "empty", pairs(":method", "GET", ":path", pathDo, ":authority", "a"), 5000, outValue),
		good,
		grpcCall("unknown cluster name", "no-such-cluster"), grpcCall("GrpcService proto;unknown cluster", grpcService("no-such-cluster")),
		grpcCall("cluster without endpoints", grpcService("empty")), grpcStream("unknown cluster name", "no-such-cluster"))
	begins := []string{"proxy_on_request_headers"}
	goodCall := grpcCall("good", grpcService("backend"))
	goodStream := goodGRPC(outThird)
	send := hostCall{name: "proxy_grpc_send(good)", fn: "proxy_grpc_send", args: []arg{held(outThird), str("hi"), n(0)}}
	refused := httpCall("connection refused", "refused", pairs(":method", "GET", ":path", pathDo, ":authority", "a"), 1000, outValue)
	slow := httpCall("timeout=200ms;slow backend", "backend", pairs(":method", "GET", ":path", "/slow", ":authority", "a"), 200, outValue)
	for _, h := range []*hostCall{&goodCall, &goodStream, &send, &refused, &slow} {
		h.only = begins
		list = append(list, *h)
	}
	const callID, streamToken = 9999<<2 | 1, 9999<<2 | 2
	add("proxy_grpc_send(token=odd/call)", "proxy_grpc_send", n(callID), str("hi"), n(0))
	add("proxy_grpc_send(token=9999x4+?)", "proxy_grpc_send", n(streamToken), str("hi"), n(0))
	add("proxy_grpc_cancel(unknown stream token)", "proxy_grpc_cancel", n(streamToken))
	add("proxy_grpc_close(unknown stream token)", "proxy_grpc_close", n(streamToken))
	add("proxy_grpc_close(unknown call token)", "proxy_grpc_close", n(callID))
	add("proxy_grpc_cancel(token=0)", "proxy_grpc_cancel", n(0))
	add("proxy_grpc_cancel(token=3)", "proxy_grpc_cancel", n(3))
	add("proxy_continue_stream(type=4)", "proxy_continue_stream", n(4))
	add("proxy_close_stream(type=4)", "proxy_close_stream", n(4))
	add("proxy_continue_stream(Downstream)", "proxy_continue_stream", n(2)).not = tcpCallbacks
	add("proxy_close_stream(Upstream)", "proxy_close_stream", n(3)).not = tcpCallbacks
	add("proxy_close_stream(Downstream)", "proxy_close_stream", n(2)).not = tcpCallbacks
	add("proxy_continue_stream(Upstream)", "proxy_continue_stream", n(3))
	add("proxy_done", "proxy_done")
	return list
}

// loudCalls do something to the stream or to Envoy, or matter in one place only.
func loudCalls() []hostCall {
	response := func(what string, status int, headers arg) hostCall {
		return hostCall{name: "proxy_send_local_response(" + what + ")", fn: "proxy_send_local_response",
			args: []arg{n(status), str("probe"), str("local"), headers, n(-1)}}
	}
	headers := func(name, fn string, args ...arg) hostCall { return hostCall{name: name, fn: fn, args: args} }
	local := pairs("x-local", "1")
	hostWith := func(cluster, path string, timeout int, what string) hostCall {
		return httpCall(what, cluster, pairs(":method", "GET", ":path", path, ":authority", "a"), timeout, outValue)
	}
	list := []hostCall{
		response("418", 418, local), response("600", 600, local), response("0", 0, local),
		hostWith("backend", "/slow", 200, "slow backend; timeout 200 ms"),
		grpcStream("cluster without endpoints", grpcService("empty")), grpcCall(`cluster=""`, ""), grpcCall(`cluster="auth-grpc"`, "auth-grpc"),
		grpcCall(`cluster="users"`, "users"), grpcStream(`cluster="inventory"`, "inventory"),
		grpcCall("GrpcService google_grpc", string(append([]byte{0x12}, text(string(append([]byte{0x0a}, text("127.0.0.1:1")...)))...))),
		headers("proxy_remove_header_map_value(:path)", "proxy_remove_header_map_value", n(0), str(":path")),
		headers("proxy_remove_header_map_value(:method)", "proxy_remove_header_map_value", n(0), str(":method")),
		headers("proxy_set_header_map_pairs(RequestHeaders; empty)", "proxy_set_header_map_pairs", n(0), pairs()),
		headers("proxy_remove_header_map_value(:status)", "proxy_remove_header_map_value", n(2), str(":status")),
		headers("proxy_set_header_map_pairs(ResponseHeaders; empty)", "proxy_set_header_map_pairs", n(2), pairs()),
		headers("proxy_replace_header_map_value(:status=abc)", "proxy_replace_header_map_value", n(2), str(":status"), str("abc")),
		headers("proxy_add_header_map_value(value with CRLF)", "proxy_add_header_map_value", n(0), str("x-bad"), str("a\r\nb")),
		headers("proxy_add_header_map_value(value with NUL)", "proxy_add_header_map_value", n(0), str("x-bad"), str("a\x00b")),
		headers("proxy_set_buffer_bytes(HttpRequestBody; replace all)", "proxy_set_buffer_bytes", n(0), n(0), n(-1), str("new")),
		headers("proxy_set_buffer_bytes(HttpResponseBody; replace all)", "proxy_set_buffer_bytes", n(1), n(0), n(-1), str("new")),
		headers("proxy_get_buffer_bytes(HttpRequestBody)", "proxy_get_buffer_bytes", n(0), n(0), n(1<<20), n(outValue), n(outSize)),
		headers("proxy_get_buffer_bytes(len=0xffffffff)", "proxy_get_buffer_bytes", n(0), n(0), n(-1), n(outValue), n(outSize)),
		headers("proxy_set_property(pointer outside memory)", "proxy_set_property", path("k"), n(0x7fff0000), n(16)),
		headers("proxy_log(level=7)", "proxy_log", n(7), str("level 7")),
		headers("proxy_set_effective_context(last stream id)", "proxy_set_effective_context", held(streamID)),
		headers("proxy_get_header_map_value(RequestHeaders :path)", "proxy_get_header_map_value", n(0), str(":path"), n(outValue), n(outSize)),
	}
	for i, name := range []string{"Request", "Response"} {
		list = append(list, headers("proxy_continue_stream("+name+")", "proxy_continue_stream", n(i)), headers("proxy_close_stream("+name+")", "proxy_close_stream", n(i)))
	}
	return append(list, quietCalls()...)
}
