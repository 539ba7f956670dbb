package serve

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// metrics are counters in Prometheus' text format: a dozen lines do not need its client library.
type metrics struct {
	mu       sync.Mutex
	counters map[string]float64 // name{label="value"} → value
	acks     [len(ackBounds) + 1]int64
	ackSum   float64
}

// ackBounds are the upper bounds of the histogram, in seconds. Slack gives up after three.
var ackBounds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3}

func (m *metrics) add(name, label, value string, n float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counters == nil {
		m.counters = map[string]float64{}
	}
	m.counters[fmt.Sprintf("wasmortem_serve_%s{%s=%q}", name, label, value)] += n
}

func (m *metrics) acknowledged(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, _ := slices.BinarySearch(ackBounds[:], d.Seconds())
	m.acks[at]++
	m.ackSum += d.Seconds()
}

var help = []struct{ name, kind, text string }{
	{"requests_total", "counter", "requests that were acknowledged, by kind"},
	{"duplicates_total", "counter", "deliveries of a request that was there already, by kind"},
	{"refused_total", "counter", "what was not let in, by reason"},
	{"done_total", "counter", "requests that are finished, by outcome"},
	{"slack_calls_total", "counter", "calls of Slack's API, by result"},
	{"analysis_seconds_total", "counter", "time spent on analyses, by result"},
}

func (m *metrics) write(w io.Writer, waiting, active int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.counters))
	for _, h := range help {
		name := "wasmortem_serve_" + h.name
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, h.text, name, h.kind)
		for _, n := range names {
			if len(n) > len(name) && n[:len(name)+1] == name+"{" {
				fmt.Fprintf(w, "%s %g\n", n, m.counters[n])
			}
		}
	}
	fmt.Fprintf(w, "# HELP wasmortem_serve_waiting requests that wait\n# TYPE wasmortem_serve_waiting gauge\nwasmortem_serve_waiting %d\n", waiting)
	fmt.Fprintf(w, "# HELP wasmortem_serve_active requests that are worked on\n# TYPE wasmortem_serve_active gauge\nwasmortem_serve_active %d\n", active)
	const ack = "wasmortem_serve_ack_seconds"
	fmt.Fprintf(w, "# HELP %s from a request's arrival to its acknowledgement\n# TYPE %s histogram\n", ack, ack)
	total := int64(0)
	for i, b := range ackBounds {
		total += m.acks[i]
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", ack, b, total)
	}
	total += m.acks[len(ackBounds)]
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", ack, total, ack, m.ackSum, ack, total)
}
