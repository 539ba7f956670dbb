package analyze

import "github.com/wasmortem/wasmortem/ingest/redact"

// Redaction is what was taken out of a report before it was shown.
type Redaction struct {
	Kinds []redact.Count `json:"kinds"` // how often, and how many different values; each string of the report counts
}

// Redact takes secrets out of every string of the report that may come from an input: the analysis has seen them, nobody after it will. Evidence
// is the redacted line from then on, and says so ([Evidence.Redacted]); its line numbers and offsets stay those of the input.
func (r *Report) Redact(x *redact.Redactor) {
	for i := range r.Incidents {
		for j := range r.Incidents[i].Evidence {
			r.Incidents[i].Evidence[j].redact(x)
		}
	}
	x.All(&r.Incidents)
	x.All(&r.Inputs)
	x.All(&r.Stats)
	r.Redaction = &Redaction{Kinds: x.Counts()}
}

// redact sees the lines together: a key may lie over several of them.
func (e *Evidence) redact(x *redact.Redactor) {
	lines := append(append(append([]string{}, e.Before...), e.Text), e.After...)
	out := x.Lines(lines)
	n := len(e.Before)
	e.Redacted = out[n] != e.Text
	e.Before, e.Text, e.After = out[:n:n], out[n], out[n+1:]
}
