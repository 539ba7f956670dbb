package replay

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/rules"
)

// endings says for causes whose failure is no trap what kind it is.
var endings = map[string]Kind{
	"guest-hang": Hang, "watchdog-kill": Hang, "configure-rejected": Refused, "vm-start-rejected": Refused, "stream-stuck": Stuck, "native-crash-in-wasm": Crash,
	"native-crash": Crash, "missing-malloc": Load, "missing-import": Load, "import-type-mismatch": Load, "unknown-abi": Load, "export-signature": Load, "module-corrupt": Load,
}

// Replayable says whether a replay can reproduce such a cause at all.
func Replayable(cause string) bool {
	parent := rules.Parent(cause)
	if _, there := endings[parent]; there {
		return parent != "native-crash"
	}
	return slices.Contains([]string{"start-trap", "configure-panic", "guest-panic", "guest-panic-swallowed", "hostcall-misuse", "guest-out-of-memory", "stack-overflow",
		"memory-out-of-bounds", "arithmetic-trap", "indirect-call-trap", "empty-backtrace"}, parent)
}

// FromReport takes an incident of a report for a replay: into sc, what is known of the proxy, the plugin and the request, as far as sc does not say
// it already; and the failure that was recorded. id chooses the incident by its fingerprint, or the beginning of it; empty means the first
// that can be replayed. notes say what was taken and what is not known.
func FromReport(r *analyze.Report, id string, sc *Scenario) (notes []string, err error) {
	inc, err := choose(r, id)
	if err != nil {
		return nil, err
	}
	s := &inc.Subject
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	note("incident %s: %s", inc.ID, inc.Title)
	take := func(to *string, from string) {
		if *to == "" {
			*to = from
		}
	}
	if _, known := parseVersion(s.EnvoyVersion); known {
		take(&sc.Envoy, s.EnvoyVersion)
	} else if sc.Envoy == "" {
		note("the report does not tell Envoy's version: %s is imitated", DefaultEnvoy)
	}
	take(&sc.Plugin.Name, s.Plugin)
	take(&sc.Plugin.RootID, s.RootID)
	take(&sc.Plugin.VMID, s.VMID)
	if sc.Expect == nil {
		sc.Expect = recordedOf(inc)
	}
	if sc.PluginConfig == "" {
		note("the report does not tell the plugin's configuration: none is given to it (--plugin-config)")
	}
	if sc.Requests == nil {
		if q, where := requestOf(inc); q != nil {
			sc.Requests = []Request{*q}
			note("the request is taken from %s", where)
		} else {
			note("the report does not tell the request: GET / is sent (--header, --body)")
		}
	}
	return notes, nil
}

func choose(r *analyze.Report, id string) (*analyze.Incident, error) {
	var ids []string
	for i := range r.Incidents {
		inc := &r.Incidents[i]
		ids = append(ids, inc.ID+" "+inc.RootCause)
		if id != "" && strings.HasPrefix(inc.ID, id) || id == "" && Replayable(inc.RootCause) {
			return inc, nil
		}
	}
	switch {
	case len(ids) == 0:
		return nil, fmt.Errorf("the report has no incident")
	case id != "":
		return nil, fmt.Errorf("the report has no incident %s; it has %s", printable(id), printable(strings.Join(ids, ", ")))
	}
	return nil, fmt.Errorf("no incident of the report is one that a replay can reproduce; it has %s", printable(strings.Join(ids, ", ")))
}

// recordedOf is the failure of an incident.
func recordedOf(inc *analyze.Incident) *Recorded {
	parent := rules.Parent(inc.RootCause)
	w := &Recorded{Cause: inc.RootCause, Kind: endings[parent], Callback: inc.Subject.Callback, Trap: inc.Subject.Trap, Location: inc.Subject.Location}
	switch w.Kind {
	case "":
		w.Kind = Trap
	case Crash, Load, Hang, Stuck:
		w.Callback, w.Trap, w.Location = "", "", "" // of a crash, what the log names is a consequence
		return w
	}
	last := -1
	for _, f := range inc.Stack {
		if f.Index != last && hexOffset.MatchString(f.Offset) {
			w.Offsets = append(w.Offsets, f.Offset)
			last = f.Index
		}
	}
	return w
}

var (
	accessLine   = regexp.MustCompile(`"([A-Z]{3,10}) (/[^" ]*) HTTP/[0-9.]+" (\d{1,3}) `)
	accessKey    = regexp.MustCompile(`"(method|path|authority|response_code|user_agent)":\s*"?((?:[^"\\,}]|\\.)*)"?`)
	dumpedHeader = regexp.MustCompile(`'(:?[A-Za-z0-9_-]+)', '([^'\n]*)'`)
	quotedAtEnd  = regexp.MustCompile(`"([^"]*)"`)
)

// requestOf finds the request that failed: the headers that Envoy dumps when it crashes, or the first entry of the access log that failed.
func requestOf(inc *analyze.Incident) (*Request, string) {
	for i := range inc.Evidence {
		e := &inc.Evidence[i]
		if _, dump, found := strings.Cut(e.Message, "requestHeaders():"); found {
			q := &Request{}
			for _, m := range dumpedHeader.FindAllStringSubmatch(dump, 200) {
				q.Headers = append(q.Headers, Header{strings.ToLower(m[1]), m[2]})
			}
			if len(q.Headers) > 0 {
				return q, fmt.Sprintf("what Envoy dumped: %s:%d", e.Source, e.Line)
			}
		}
	}
	for i := range inc.Evidence {
		e := &inc.Evidence[i]
		if q := fromAccess(e.Text); q != nil {
			return q, fmt.Sprintf("the access log: %s:%d", e.Source, e.Line)
		}
	}
	return nil, ""
}

// fromAccess reads an entry of an access log that failed.
func fromAccess(line string) *Request {
	if m := accessLine.FindStringSubmatchIndex(line); m != nil {
		method, path, code := line[m[2]:m[3]], line[m[4]:m[5]], line[m[6]:m[7]]
		if code < "400" && code != "0" {
			return nil
		}
		q := &Request{Headers: Headers{{":method", method}, {":path", path}}}
		// Envoy's default and Istio's format end with user agent, request id, authority and upstream.
		if quoted := quotedAtEnd.FindAllStringSubmatch(line[m[7]:], -1); len(quoted) >= 4 {
			for i, name := range []string{"user-agent", "x-request-id", ":authority"} {
				if v := quoted[len(quoted)-4+i][1]; v != "-" && v != "" {
					q.Headers = append(q.Headers, Header{name, v})
				}
			}
		}
		return q
	}
	q := &Request{}
	failed := false
	for _, m := range accessKey.FindAllStringSubmatch(line, 20) {
		switch name, v := m[1], m[2]; {
		case name == "response_code":
			failed = v >= "400" || v == "0"
		case v == "-" || v == "":
		case name == "user_agent":
			q.Headers = append(q.Headers, Header{"user-agent", v})
		default:
			q.Headers = append(q.Headers, Header{":" + name, v})
		}
	}
	if !failed || len(q.Headers) == 0 {
		return nil
	}
	return q
}
