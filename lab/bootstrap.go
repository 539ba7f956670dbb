package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

type object = map[string]any

// site is what one run owns: its folder and its ports.
type site struct {
	dir      string // the run's own folder; in a recording it reads /etc/envoy
	admin    int
	listener int
	backend  int
	sums     map[string]string // module name → sha256
	files    map[string]string // module name → path
}

// bootstrap writes envoy.json (and lds.json) for a scenario and gives the former's path. ${backend}, ${dir} and ${sha256:MODULE} in a
// scenario stand for what only the run knows.
func (s *site) bootstrap(sc *Scenario, d Dialect) (string, error) {
	config := object{
		"admin":            object{"address": address(s.admin)},
		"static_resources": object{"listeners": []any{s.httpListener(sc, d)}, "clusters": s.clusters(sc)},
	}
	if sc.Dynamic {
		config["node"] = object{"id": "lab", "cluster": "lab"}
		config["static_resources"] = object{"clusters": s.clusters(sc)}
		config["dynamic_resources"] = object{"lds_config": object{"resource_api_version": "V3",
			"path_config_source": object{"path": filepath.Join(s.dir, "lds.json")}}}
		if err := s.sendListener(sc, d); err != nil {
			return "", err
		}
	}
	maps.Copy(config, sc.Bootstrap)
	return s.write("envoy.json", config)
}

// sendListener writes lds.json as Envoy wants it to notice a change: by a move.
func (s *site) sendListener(sc *Scenario, d Dialect) error {
	listener := s.httpListener(sc, d)
	listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener"
	file, err := s.write("lds.json.new", object{"resources": []any{listener}})
	if err != nil {
		return err
	}
	return os.Rename(file, filepath.Join(s.dir, "lds.json"))
}

func (s *site) write(name string, v any) (string, error) {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return "", err
	}
	words := []string{"${backend}", itoa(s.backend), "${dir}", s.dir, "${admin}", itoa(s.admin)}
	for name, sum := range s.sums {
		words = append(words, "${sha256:"+name+"}", sum)
	}
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(strings.NewReplacer(words...).Replace(string(data))), 0o644)
}

func (s *site) httpListener(sc *Scenario, d Dialect) object {
	filters := []any{}
	for _, f := range sc.Before {
		filters = append(filters, f)
	}
	for i := range sc.Plugins {
		filters = append(filters, s.wasmFilter(&sc.Plugins[i]))
	}
	for _, f := range sc.After {
		filters = append(filters, f)
	}
	filters = append(filters, object{"name": "envoy.filters.http.router", "typed_config": object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}})
	access := object{"@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}
	if d.Access != nil {
		access["log_format"] = d.Access
	}
	route := object{"match": object{"prefix": "/"}, "direct_response": object{"status": 200, "body": object{"inline_string": "ok\n"}}}
	if sc.Route != nil {
		route = object{"match": object{"prefix": "/"}}
		maps.Copy(route, sc.Route)
	}
	manager := object{
		"@type":        "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix":  "ingress_http",
		"access_log":   []any{object{"name": "envoy.access_loggers.stdout", "typed_config": access}},
		"http_filters": filters,
		"route_config": object{"virtual_hosts": []any{object{"name": "all", "domains": []any{"*"}, "routes": []any{route}}}},
	}
	return object{"name": "ingress", "address": address(s.listener),
		"filter_chains": []any{object{"filters": []any{object{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}}}}}
}

func (s *site) wasmFilter(p *Plugin) object {
	vm := object{"vm_id": p.VM, "runtime": "envoy.wasm.runtime.v8", "code": s.code(p)}
	if p.VMConfig != nil {
		vm["configuration"] = stringValue(*p.VMConfig)
	}
	maps.Copy(vm, p.VMFields)
	config := object{"name": p.Name, "root_id": p.Name, "vm_config": vm}
	if p.Config != nil {
		config["configuration"] = stringValue(*p.Config)
	}
	maps.Copy(config, p.Filter)
	return object{"name": "envoy.filters.http.wasm", "typed_config": object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": config}}
}

func (s *site) code(p *Plugin) object {
	if p.Remote == "" {
		return object{"local": object{"filename": or(s.files[p.Module], filepath.Join(s.dir, "wasm", "missing.wasm"))}}
	}
	sum := s.sums[p.Module]
	if p.SHA != nil {
		sum = *p.SHA
	}
	remote := object{"http_uri": object{"uri": "http://modules.example.com" + p.Remote, "cluster": "backend", "timeout": "1s"}, "sha256": sum}
	if p.Retry != nil {
		remote["retry_policy"] = p.Retry
	}
	return object{"remote": remote}
}

func (s *site) clusters(sc *Scenario) []any {
	list := []any{object{"name": "backend", "type": "STATIC", "connect_timeout": "1s", "load_assignment": object{"cluster_name": "backend",
		"endpoints": []any{object{"lb_endpoints": []any{object{"endpoint": object{"address": address(s.backend)}}}}}}}}
	for _, c := range sc.Clusters {
		list = append(list, c)
	}
	return list
}

func address(port int) object {
	return object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}
}

func stringValue(s string) object {
	return object{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": s}
}
