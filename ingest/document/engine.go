package document

import (
	"cmp"
	"strings"
)

// What container engines print about one container: `docker inspect`, `podman inspect`, `crictl inspect`, `aws ecs describe-tasks`. They know
// no pods, but how a process ended they say like Kubernetes.

// isEngine says whether n is what an engine prints: an object, or an array of them.
func (t *tree) isEngine(n ref) bool {
	if t.is(n, shapeArray) {
		n = t.nodes[n].first
	}
	return t.isDocker(n) || t.isCRI(n) || t.is(t.get(n, "tasks"), shapeArray) && t.get(t.nodes[t.get(n, "tasks")].first, "containers") != none
}

func (t *tree) isDocker(n ref) bool {
	return t.get(n, "State", "OOMKilled") != none && t.get(n, "State", "ExitCode") != none
}

func (t *tree) isCRI(n ref) bool {
	return strings.HasPrefix(t.text(n, "status", "state"), "CONTAINER_") && t.get(n, "status", "metadata", "name") != none
}

// engine takes the parts of what an engine prints.
func (c *collector) engine(t *tree, n ref) {
	if t.is(n, shapeArray) {
		for item := range t.each(n) {
			c.engine(t, item)
		}
		return
	}
	switch {
	case t.isDocker(n):
		c.docker(t, n)
	case t.isCRI(n):
		s := t.get(n, "status")
		k := container{word: "container", name: t.text(s, "metadata", "name"), image: t.text(s, "image", "image")}
		k.pod.name, k.namespace = t.text(s, "labels", "io.kubernetes.pod.name"), t.text(s, "labels", "io.kubernetes.pod.namespace")
		k.state = map[string]string{"CONTAINER_RUNNING": "running", "CONTAINER_EXITED": "terminated"}[t.text(s, "state")]
		k.reason, k.exit, k.message = t.text(s, "reason"), t.text(s, "exitCode"), t.text(s, "message")
		k.started, k.finished = t.text(s, "startedAt"), t.text(s, "finishedAt")
		c.put(t, k.part(), s, t.get(s, "reason"), t.get(s, "exitCode"), t.get(s, "state"))
	default:
		for task := range t.each(t.get(n, "tasks")) {
			for s := range t.each(t.get(task, "containers")) {
				k := container{word: "container", name: t.text(s, "name"), image: t.text(s, "image"), state: "running"}
				if k.exit, k.reason = t.text(s, "exitCode"), t.text(s, "reason"); k.exit != "" {
					k.state = "terminated"
				}
				k.finished = t.text(task, "stoppedAt")
				c.put(t, k.part(), s, t.get(s, "reason"), t.get(s, "exitCode"), t.get(s, "name"))
			}
		}
	}
}

// docker reads one container of `docker inspect`. It has a state of its own and no list of earlier ones.
func (c *collector) docker(t *tree, n ref) {
	s := t.get(n, "State")
	k := container{word: "container", name: strings.TrimPrefix(t.text(n, "Name"), "/"), image: cmp.Or(t.text(n, "Config", "Image"), t.text(n, "ImageName"))}
	k.restarts, k.state = t.text(n, "RestartCount"), "terminated"
	if t.text(s, "Running") == "true" {
		k.state = "running"
	}
	k.exit, k.message = t.text(s, "ExitCode"), t.text(s, "Error")
	k.started, k.finished = t.text(s, "StartedAt"), t.text(s, "FinishedAt")
	if limit := t.text(n, "HostConfig", "Memory"); limit != "0" {
		k.limit = limit
	}
	best := t.get(s, "ExitCode")
	if t.text(s, "OOMKilled") == "true" && k.state != "running" {
		k.reason, best = "OOMKilled", t.get(s, "OOMKilled")
	}
	c.put(t, k.part(), n, best)
}
