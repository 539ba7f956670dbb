package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ended is how a container stopped.
type ended struct {
	code     int
	reason   string
	from, to time.Time
}

// ctr is a container of a pod.
type ctr struct {
	name, image string
	ready       bool
	restarts    int
	last        *ended // lastState.terminated
	now         *ended // state.terminated
	waiting     string // reason it waits for
	limit       string
}

// podYAML is one pod as kubectl prints it; indent is put before each line.
func podYAML(s *scene, indent string, list ...ctr) string {
	var b strings.Builder
	p := func(format string, a ...any) { b.WriteString(indent + fmt.Sprintf(format, a...) + "\n") }
	p("apiVersion: v1")
	p("kind: Pod")
	p("metadata:")
	p("  creationTimestamp: %q", s.now.Add(-72*time.Hour).Format(time.RFC3339))
	p("  labels:")
	p("    app: %s", s.service)
	p("  name: %s", s.pod)
	p("  namespace: %s", s.ns)
	p("spec:")
	p("  containers:")
	for _, c := range list {
		p("  - image: %s", c.image)
		p("    name: %s", c.name)
		p("    resources:")
		p("      limits:")
		p("        cpu: \"2\"")
		p("        memory: %s", orElse(c.limit, "1Gi"))
	}
	p("  nodeName: %s", s.node)
	p("  restartPolicy: Always")
	p("status:")
	p("  containerStatuses:")
	for _, c := range list {
		p("  - containerID: containerd://%s", s.hex(64))
		p("    image: %s", c.image)
		if c.last != nil {
			p("    lastState:")
			p("      terminated:")
			yamlEnd(p, c.last)
		} else {
			p("    lastState: {}")
		}
		p("    name: %s", c.name)
		p("    ready: %v", c.ready)
		p("    restartCount: %d", c.restarts)
		p("    started: %v", c.waiting == "")
		p("    state:")
		switch {
		case c.now != nil:
			p("      terminated:")
			yamlEnd(p, c.now)
		case c.waiting != "":
			p("      waiting:")
			p("        message: back-off 2m40s restarting failed container=%s pod=%s_%s", c.name, s.pod, s.ns)
			p("        reason: %s", c.waiting)
		default:
			p("      running:")
			p("        startedAt: %q", s.now.Add(-time.Hour).Format(time.RFC3339))
		}
	}
	p("  hostIP: 10.0.4.17")
	p("  phase: Running")
	p("  podIP: 10.20.30.40")
	p("  qosClass: Burstable")
	return b.String()
}

func yamlEnd(p func(string, ...any), e *ended) {
	p("        exitCode: %d", e.code)
	p("        finishedAt: %q", e.to.Format(time.RFC3339))
	p("        reason: %s", e.reason)
	p("        startedAt: %q", e.from.Format(time.RFC3339))
}

// podList is kubectl get pods -o yaml; pods are printed with the indent of list items.
func podList(pods ...string) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nitems:\n")
	for _, p := range pods {
		b.WriteString("- " + strings.TrimPrefix(p, "  "))
	}
	b.WriteString("kind: List\nmetadata:\n  resourceVersion: \"\"\n")
	return []byte(b.String())
}

// describe is kubectl describe pod.
func describe(s *scene, events []string, list ...ctr) string {
	var b strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) }
	day := func(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 +0000") }
	p("Name:             %s", s.pod)
	p("Namespace:        %s", s.ns)
	p("Priority:         0")
	p("Service Account:  %s", s.service)
	p("Node:             %s/10.0.4.17", s.node)
	p("Start Time:       %s", day(s.now.Add(-72*time.Hour)))
	p("Labels:           app=%s", s.service)
	p("Status:           Running")
	p("IP:               10.20.30.40")
	p("Containers:")
	for _, c := range list {
		p("  %s:", c.name)
		p("    Container ID:   containerd://%s", s.hex(64))
		p("    Image:          %s", c.image)
		p("    Port:           15090/TCP")
		switch {
		case c.waiting != "":
			p("    State:          Waiting")
			p("      Reason:       %s", c.waiting)
		default:
			p("    State:          Running")
			p("      Started:      %s", day(s.now.Add(-time.Hour)))
		}
		if c.last != nil {
			p("    Last State:     Terminated")
			p("      Reason:       %s", c.last.reason)
			p("      Exit Code:    %d", c.last.code)
			p("      Started:      %s", day(c.last.from))
			p("      Finished:     %s", day(c.last.to))
		}
		p("    Ready:          %s", map[bool]string{true: "True", false: "False"}[c.ready])
		p("    Restart Count:  %d", c.restarts)
		p("    Limits:")
		p("      cpu:     2")
		p("      memory:  %s", orElse(c.limit, "1Gi"))
		p("    Environment:    <none>")
	}
	p("Conditions:")
	p("  Type              Status")
	p("  Initialized       True ")
	p("  Ready             %s ", map[bool]string{true: "True", false: "False"}[list[0].ready])
	p("QoS Class:                   Burstable")
	if len(events) == 0 {
		p("Events:                      <none>")
		return b.String()
	}
	p("Events:")
	p("  Type     Reason     Age                    From     Message")
	p("  ----     ------     ----                   ----     -------")
	for _, e := range events {
		p("  %s", e)
	}
	return b.String()
}

// event is one line of kubectl get events -A.
func event(ns, age, typ, reason, object, message string) string {
	return fmt.Sprintf("%-12s %-9s %-9s %-12s %-44s %s", ns, age, typ, reason, "pod/"+object, message)
}

func events(list ...string) []byte {
	return []byte(fmt.Sprintf("%-12s %-9s %-9s %-12s %-44s %s\n", "NAMESPACE", "LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE") + strings.Join(list, "\n") + "\n")
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// proxyImage is the image of the proxy's container.
func (s *scene) proxyImage() string {
	if s.istio {
		return "docker.io/istio/proxyv2:" + s.istioVersion()
	}
	return "docker.io/envoyproxy/envoy:v" + s.version()
}

// stats is a part of Envoy's /stats.
func stats(kv ...any) []byte {
	var b strings.Builder
	for i := 0; i+1 < len(kv); i += 2 {
		b.WriteString(kv[i].(string) + ": " + strconv.Itoa(kv[i+1].(int)) + "\n")
	}
	return []byte(b.String())
}
