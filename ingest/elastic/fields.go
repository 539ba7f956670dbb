package elastic

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/elastic/go-elasticsearch/v8/esapi"
)

// Roles are what is needed of a document, in the order in which names are tried: those of the Elastic Common Schema as Filebeat and
// Elastic Agent fill it, then those of Fluent Bit and Fluentd (also with the dots that they replace), OpenTelemetry, and what is seen besides.
var roles = []struct {
	name  string
	tried []string
}{
	{"message", []string{"message", "log", "event.original", "body.text", "body", "msg", "line"}},
	{"time", []string{"@timestamp", "time", "timestamp"}},
	{"file", []string{"log.file.path", "filename", "file", "source", "tag"}},
	{"generation", []string{"log.file.fingerprint", "log.file.inode"}},
	{"offset", []string{"log.offset", "offset"}},
	{"pod", []string{"kubernetes.pod.name", "kubernetes.pod_name", "resource.attributes.k8s.pod.name", "k8s.pod.name"}},
	{"namespace", []string{"kubernetes.namespace", "kubernetes.namespace_name", "resource.attributes.k8s.namespace.name", "k8s.namespace.name"}},
	{"container", []string{"kubernetes.container.name", "kubernetes.container_name", "resource.attributes.k8s.container.name", "k8s.container.name"}},
	{"node", []string{"kubernetes.node.name", "kubernetes.host", "host.name", "host.hostname", "agent.hostname", "resource.attributes.k8s.node.name"}},
}

// Roles lists what [Options.Fields] may map.
func Roles() []string {
	var list []string
	for i := range roles {
		list = append(list, roles[i].name)
	}
	return list
}

// fields are the fields of documents, empty where there is none.
type fields struct {
	message                                           target
	time, offset                                      string
	file, generation, pod, namespace, container, node string // those that can be sorted by: "log.file.path.keyword"
	read                                              string // _source name of the message
}

// capability is what the server says of a field: its families of types.
type capability map[string]struct {
	Searchable, Aggregatable bool
}

// discover finds out which fields the documents have.
func (c *Client) discover(ctx context.Context, pattern string, own map[string]string) (f fields, err error) {
	var out struct {
		Indices []string
		Fields  map[string]capability
	}
	yes := true
	err = c.Do(ctx, func() Request {
		return &esapi.FieldCapsRequest{Index: []string{pattern}, Fields: []string{"*"}, AllowNoIndices: &yes, FilterPath: []string{"indices", "fields.*.*.searchable", "fields.*.*.aggregatable"}}
	}, &out)
	if err != nil {
		return f, fmt.Errorf("looking at the fields of %s: %w", pattern, err)
	}
	if len(out.Indices) == 0 {
		return f, fmt.Errorf("no index at %s is named %s", c.Address, pattern)
	}
	for role := range own {
		if !slices.Contains(Roles(), role) {
			return f, fmt.Errorf("there is no role %q for a field (want one of %s)", role, strings.Join(Roles(), ", "))
		}
	}
	names := map[string]string{}
	for _, r := range roles {
		tried := r.tried
		if own[r.name] != "" {
			tried = []string{own[r.name]}
		}
		for _, n := range tried {
			if got := usable(r.name, n, out.Fields); got != "" {
				names[r.name] = got
				break
			}
		}
		if own[r.name] != "" && names[r.name] == "" {
			return f, fmt.Errorf("%s has no field %s that could serve as %s", pattern, own[r.name], r.name)
		}
	}
	if names["message"] == "" || names["time"] == "" {
		return f, fmt.Errorf("the documents of %s have no field that is known for a log line and its time (tried %s; %s): name them, as in --elastic-field message=NAME", pattern,
			strings.Join(roles[0].tried, ", "), strings.Join(roles[1].tried, ", "))
	}
	m := out.Fields[names["message"]]
	_, text := m["text"]
	_, keyword := m["keyword"]
	return fields{message: target{names["message"], text, keyword}, read: names["message"], time: names["time"], offset: names["offset"],
		file: names["file"], generation: names["generation"], pod: names["pod"], namespace: names["namespace"], container: names["container"], node: names["node"]}, nil
}

// usable gives the name under which a field can be used in a role: searched as a message, else sorted by.
func usable(role, name string, all map[string]capability) string {
	has := func(n string, families ...string) bool {
		for _, f := range families {
			if k, ok := all[n][f]; ok && (k.Aggregatable || role == "message" && k.Searchable) {
				return true
			}
		}
		return false
	}
	switch role {
	case "message":
		if has(name, "text", "keyword") {
			return name
		}
	case "time":
		if has(name, "date", "date_nanos") {
			return name
		}
	case "offset":
		if has(name, "long", "integer", "unsigned_long", "double") {
			return name
		}
	default:
		for _, n := range []string{name, name + ".keyword"} {
			if _, text := all[n]["text"]; !text && has(n, "keyword", "constant_keyword") {
				return n
			}
		}
	}
	return ""
}

// standard reports whether a text field is taken apart by the standard analyser in all indices. why says what stands against it.
func (c *Client) standard(ctx context.Context, pattern, field string) (ok bool, why string) {
	type mapped struct {
		Mappings map[string]struct {
			Mapping map[string]struct{ Type, Analyzer string }
		}
	}
	var out map[string]mapped
	err := c.Do(ctx, func() Request {
		return &esapi.IndicesGetFieldMappingRequest{Index: []string{pattern}, Fields: []string{field}}
	}, &out)
	if err != nil {
		return false, "its mapping cannot be read: " + err.Error()
	}
	for index, m := range out {
		for _, f := range m.Mappings {
			for _, k := range f.Mapping {
				if k.Analyzer != "" && k.Analyzer != "standard" {
					return false, fmt.Sprintf("in %s it is analysed by %s", index, k.Analyzer)
				}
			}
		}
	}
	var settings map[string]any
	err = c.Do(ctx, func() Request {
		return &esapi.IndicesGetSettingsRequest{Index: []string{pattern}, FilterPath: []string{"*.settings.index.analysis.analyzer.default*", "*.settings.index.analysis.analyzer.standard"}}
	}, &settings)
	if err != nil && !IsStatus(err, http.StatusForbidden) {
		return false, "its settings cannot be read: " + err.Error()
	}
	for index := range settings {
		return false, index + " has a default analyser of its own"
	}
	return true, ""
}
