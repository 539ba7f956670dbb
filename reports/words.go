package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
)

// percent is a confidence as people write it. Only a certainty is 100 %.
func percent(c float64) string {
	switch p := math.Round(c * 100); {
	case c < 1 && p >= 100:
		return "over 99 %"
	case c > 0 && p <= 0:
		return "under 1 %"
	default:
		return strconv.Itoa(int(p)) + " %"
	}
}

// likelihoods are the words for a confidence, from high to low: the first whose bound is reached.
var likelihoods = []struct {
	atLeast float64
	words   string
}{
	{0.97, "almost certain"},
	{0.85, "very likely"},
	{0.65, "likely"},
	{0.40, "possible"},
	{0.15, "a guess"},
}

func likelihood(c float64) string {
	for _, l := range likelihoods {
		if c >= l.atLeast {
			return l.words
		}
	}
	return "a weak guess"
}

// severities are the meanings of CONTRACT's words, for readers who do not know them.
var severities = map[analyze.Severity]string{
	analyze.Critical: "the process died, or all requests of a listener or worker fail",
	analyze.Error:    "a plugin failed and requests fail",
	analyze.Warning:  "degraded or refused",
	analyze.Info:     "a remark, nothing failed",
}

// split returns the failures and the remarks of a report, each in the report's order.
func split(r *analyze.Report) (failures, remarks []*analyze.Incident) {
	for i := range r.Incidents {
		if in := &r.Incidents[i]; in.Severity.Rank() > 0 {
			failures = append(failures, in)
		} else {
			remarks = append(remarks, in)
		}
	}
	return failures, remarks
}

// count is "1 line", "12,345 lines". The plural is the noun with an s unless it is given.
func count[N int | int64](n N, noun string, plural ...string) string {
	if n != 1 {
		noun += "s"
		if len(plural) > 0 {
			noun = plural[0]
		}
	}
	return grouped(int64(n)) + " " + noun
}

// times is "once", "20 times".
func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return grouped(n) + " times"
}

// grouped writes a number with a comma between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
}

// size writes a number of bytes with two significant digits or more.
func size(n int64) string {
	units := []string{"kB", "MB", "GB", "TB"}
	if n < 1000 {
		return count(n, "byte")
	}
	v, u := float64(n)/1000, 0
	for v >= 999.5 && u < len(units)-1 {
		v, u = v/1000, u+1
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %s", v, units[u])
	}
	return fmt.Sprintf("%.0f %s", v, units[u])
}

const dayLayout = "2006-01-02"

// clock is the time of day in UTC to the millisecond, or to the second when no more was logged: three digits or none, so that times
// below each other can be compared.
func clock(t *analyze.Time) string {
	switch {
	case t == nil:
		return ""
	case t.Nanosecond() < int(time.Millisecond):
		return t.UTC().Format("15:04:05")
	}
	return t.UTC().Format("15:04:05.000")
}

func day(t *analyze.Time) string { return t.UTC().Format(dayLayout) }

func moment(t *analyze.Time) string {
	if t == nil {
		return ""
	}
	return day(t) + " " + clock(t) + " UTC"
}

// second is a point in time for a list.
func second(t *analyze.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(dayLayout + " 15:04:05")
}

// span is "2025-03-04 02:17:04.118 – 02:17:32.9 UTC": the day of the end only when it is another. Empty when no end is known.
func span(from, to *analyze.Time) string {
	switch {
	case from == nil && to == nil:
		return ""
	case from == nil:
		return "until " + moment(to)
	case to == nil:
		return "from " + moment(from)
	case from.Equal(to.Time):
		return moment(from)
	}
	end := clock(to)
	if day(from) != day(to) {
		end = day(to) + " " + end
	}
	return day(from) + " " + clock(from) + " – " + end + " UTC"
}

// lasted is how long it took from the first to the last sight, empty when there is no telling or it is nothing.
func lasted(from, to *analyze.Time) string {
	if from == nil || to == nil || !to.After(from.Time) {
		return ""
	}
	return duration(to.Sub(from.Time))
}

// duration writes a duration with the two units that matter.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(1, d.Milliseconds()))
	case d < time.Minute:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

// some names the first n of a list and counts the rest: "a, b, c and 17 more".
func some(list []string, n int) string {
	if len(list) <= n {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:n], ", ") + " and " + grouped(int64(len(list)-n)) + " more"
}

// runtimeNames is "Envoy 1.37.0, Istio 1.29.1, engine v8", as far as known.
func runtimeNames(s analyze.Subject) string {
	var names []string
	for _, n := range []struct{ prefix, value string }{{"Envoy ", s.EnvoyVersion}, {"Istio ", s.IstioVersion}, {"engine ", s.Engine}} {
		if n.value != "" {
			names = append(names, n.prefix+n.value)
		}
	}
	return strings.Join(names, ", ")
}

// where is the file position of a frame, empty when it is not known.
func where(f analyze.Frame) string {
	if f.File == "" {
		return ""
	}
	s := f.File
	for _, n := range []int{f.Line, f.Column} {
		if n == 0 {
			break
		}
		s += ":" + strconv.Itoa(n)
	}
	return s
}

// position is the place of an evidence line, as editors understand it.
func position(e analyze.Evidence) string {
	source := cmp.Or(e.Source, "unnamed input")
	if e.Line == 0 {
		return source
	}
	return source + ":" + strconv.FormatInt(e.Line, 10)
}

// onceEach leaves out evidence of a record that another rule or role has shown already.
func onceEach(list []analyze.Evidence) []analyze.Evidence {
	type record struct {
		source string
		offset int64
		line   int64
	}
	seen := map[record]bool{}
	return slices.DeleteFunc(slices.Clone(list), func(e analyze.Evidence) bool {
		r := record{e.Source, e.Offset, e.Line}
		again := seen[r]
		seen[r] = true
		return again
	})
}

// alsoBy names the rules that matched the same record for the same role, e's own first.
func alsoBy(in *analyze.Incident, e analyze.Evidence) []string {
	rules := []string{e.Rule}
	for _, o := range in.Evidence {
		if o.Source == e.Source && o.Offset == e.Offset && o.Line == e.Line && o.Role == e.Role && !slices.Contains(rules, o.Rule) {
			rules = append(rules, o.Rule)
		}
	}
	return rules
}

// ofRole returns the evidence with one of the roles, in the report's order.
func ofRole(in *analyze.Incident, roles ...string) []analyze.Evidence {
	var found []analyze.Evidence
	for _, e := range in.Evidence {
		if slices.Contains(roles, e.Role) {
			found = append(found, e)
		}
	}
	return found
}

// working returns the steps that are worth doing, and those that are published elsewhere and were found wrong.
func working(steps []analyze.Step) (do, dont []analyze.Step) {
	for _, s := range steps {
		if s.Status == "disproved" {
			dont = append(dont, s)
		} else {
			do = append(do, s)
		}
	}
	return do, dont
}

// badges are the words that say where a step comes from and whether it was tried.
func badges(s analyze.Step) []string {
	var b []string
	if s.Origin == "guide" {
		b = append(b, "documented")
	}
	switch {
	case s.Status == "verified" && len(s.VerifiedOn) > 0:
		b = append(b, "verified on Envoy "+strings.Join(s.VerifiedOn, ", "))
	case s.Status == "disproved" && s.Caveat != "":
		b = append(b, "disproved: "+strings.TrimRight(s.Caveat, "."))
	case s.Status == "advice":
		b = append(b, "general advice")
	default:
		b = append(b, s.Status)
	}
	return b
}

// note is the caveat of a step unless a badge tells it already.
func note(s analyze.Step) string {
	if s.Status == "disproved" {
		return ""
	}
	return s.Caveat
}

// amount says how much was read: "23 inputs, 12,345 lines, 1.2 MB".
func amount(r *analyze.Report) string {
	return count(inputsTotal(r), "input") + ", " + count(r.Stats.Lines, "line") + ", " + size(r.Stats.Bytes)
}

// kinds counts the inputs of every kind, the most frequent first: "20 envoy-log, 2 access-log, 1 unknown". It is empty when not all
// inputs are listed.
func kinds(r *analyze.Report) string {
	if len(r.Inputs) < inputsTotal(r) {
		return ""
	}
	number := map[string]int{}
	var order []string
	for _, in := range r.Inputs {
		kind := cmp.Or(in.Kind, "unknown")
		if number[kind]++; number[kind] == 1 {
			order = append(order, kind)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return number[b] - number[a] })
	for i, k := range order {
		order[i] = grouped(int64(number[k])) + " " + k
	}
	return strings.Join(order, ", ")
}

func inputsTotal(r *analyze.Report) int { return max(r.InputsTotal, len(r.Inputs)) }

// covered is the time that the inputs span, to the second.
func covered(r *analyze.Report) string {
	var first, last *analyze.Time
	for _, in := range r.Inputs {
		if in.First != nil && (first == nil || in.First.Before(first.Time)) {
			first = in.First
		}
		if in.Last != nil && (last == nil || in.Last.After(last.Time)) {
			last = in.Last
		}
	}
	return cmp.Or(span(toSecond(first), toSecond(last)), "no time known")
}

func toSecond(t *analyze.Time) *analyze.Time {
	if t == nil {
		return nil
	}
	return analyze.NewTime(t.Truncate(time.Second))
}

// doubt is something that limits what the report can say.
type doubt struct{ path, what string } // path is empty when no single input is meant

// doubts are unreadable inputs, then warnings, then what was skipped.
func doubts(r *analyze.Report) []doubt {
	var list []doubt
	for _, in := range r.Inputs {
		if in.Error != "" {
			list = append(list, doubt{in.Path, cond(in.Lines > 0, "read in part", "not read") + ", " + in.Error})
		}
	}
	for _, in := range r.Inputs {
		for _, w := range in.Warnings {
			list = append(list, doubt{in.Path, w})
		}
	}
	for _, s := range r.Stats.Skipped {
		list = append(list, doubt{"", s})
	}
	return list
}

func cond[T any](b bool, yes, no T) T {
	if b {
		return yes
	}
	return no
}

// blind says why finding nothing means nothing; it is empty when something was looked at.
func blind(r *analyze.Report) string {
	read := func(in analyze.Input) bool { return in.Error == "" || in.Lines > 0 }
	switch {
	case inputsTotal(r) == 0:
		return "there was no input"
	case !slices.ContainsFunc(r.Inputs, read):
		return "none of the inputs could be read (" + count(inputsTotal(r), "input") + ")"
	case r.Stats.Bytes == 0:
		return "the input is empty (" + count(inputsTotal(r), "input") + ")"
	case r.Stats.Lines == 0:
		return "no line of text was found (" + amount(r) + ")"
	}
	return ""
}

// verdict is the sentence about a report without failures. It does not call healthy what nobody could look at, or not to its end.
func verdict(r *analyze.Report) string {
	if why := blind(r); why != "" {
		return "Nothing can be said: " + why + "."
	}
	s := "No failure found in " + amount(r) + ", " + covered(r) + "."
	if slices.ContainsFunc(r.Inputs, func(in analyze.Input) bool { return in.Error != "" }) {
		s += " Not everything could be read."
	}
	return s
}

// redaction says what was taken out of the report; empty when nothing was to be.
func redaction(r *analyze.Report) string {
	if r.Redaction == nil {
		return ""
	}
	if len(r.Redaction.Kinds) == 0 {
		return "Redacted: nothing that looks like a secret was found. Offsets are those of the inputs."
	}
	var list []string
	for _, k := range r.Redaction.Kinds {
		list = append(list, grouped(k.Count)+" "+k.Kind+" ("+grouped(int64(k.Distinct))+" different)")
	}
	return "Redacted: " + strings.Join(list, ", ") + ". Tokens stand in their place, equal ones for equal values; evidence is the redacted line, its line numbers and offsets are those of the inputs."
}

// overrides is what was in force besides the rules that come with the tool.
func overrides(t analyze.Tool) string {
	if len(t.Overrides) == 0 {
		return "no overrides"
	}
	return "overrides: " + strings.Join(t.Overrides, ", ")
}

// upTo returns at most n elements and how many were left out.
func upTo[T any](list []T, n int) ([]T, int) {
	if len(list) <= n {
		return list, 0
	}
	return list[:n], len(list) - n
}
