package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/analyze"
)

var update = flag.Bool("update", false, "write the scene and the golden files")

// analyzed runs the program over the scene from the top of the repository, so that paths are those of the README.
func analyzed(t *testing.T, format string) string {
	t.Helper()
	t.Chdir(filepath.Join("..", ".."))
	var out, errs bytes.Buffer
	none := func(string) (string, bool) { return "", false }
	code := run(context.Background(), []string{"analyze", sceneDir, "--format", format}, streams{in: strings.NewReader(""), out: &out, err: &errs}, none)
	if code != exitDone || errs.Len() > 0 {
		t.Fatalf("analyze %s --format %s gave %d and said %s", sceneDir, format, code, errs.String())
	}
	return out.String()
}

// One incident, all twenty pods, the right beginning, in the right order, with something to do next.
func TestScene(t *testing.T) {
	var r analyze.Report
	if err := json.Unmarshal([]byte(analyzed(t, "json")), &r); err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, in := range r.Incidents {
		found = append(found, fmt.Sprintf("%s (%s, %d pods)", in.RootCause, in.Severity, len(in.Subject.Pods)))
	}
	if len(found) != 1 {
		t.Fatalf("found %s, want one incident", strings.Join(found, "; "))
	}
	in := r.Incidents[0]
	list := sidecars()
	slices.SortFunc(list, func(a, b *sidecar) int { return int(a.after - b.after) })
	var want, got, names []string
	for _, s := range list {
		want = append(want, s.pod()+" at "+began.Add(s.after).Truncate(time.Millisecond).Format(time.RFC3339Nano))
		names = append(names, s.pod())
	}
	for _, s := range in.Spread {
		at := "no time"
		if s.FirstSeen != nil {
			at = s.FirstSeen.Truncate(time.Millisecond).Format(time.RFC3339Nano)
		}
		got = append(got, s.Pod+" at "+at)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the spread is\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	slices.Sort(names)
	if !slices.Equal(in.Subject.Pods, names) {
		t.Errorf("the pods are\n\t%s\nwant\n\t%s", strings.Join(in.Subject.Pods, "\n\t"), strings.Join(names, "\n\t"))
	}
	if want := []string{"payments", "shop"}; !slices.Equal(in.Subject.Namespaces, want) {
		t.Errorf("the namespaces are %v, want %v", in.Subject.Namespaces, want)
	}
	if in.FirstSeen == nil || !in.FirstSeen.Truncate(time.Microsecond).Equal(began) {
		t.Errorf("it began at %v, want %v", in.FirstSeen, began)
	}
	if in.Count != 20 {
		t.Errorf("it was seen %d times, want 20", in.Count)
	}
	if len(in.Unknowns) < 2 || len(in.Runbook.Steps) < 3 {
		t.Errorf("%d unknowns and %d steps are too few for somebody who knows nothing yet", len(in.Unknowns), len(in.Runbook.Steps))
	}
	for _, u := range in.Unknowns {
		checkCommand(t, u.Command)
	}
}

// checkCommand makes sure that a command asks for a pod in the namespace it is in.
func checkCommand(t *testing.T, command string) {
	t.Helper()
	for _, s := range sidecars() {
		if m := namespaceFlag.FindStringSubmatch(command); strings.Contains(command, s.pod()) && m != nil && m[1] != s.namespace {
			t.Errorf("%s is in %s, but a command is: %s", s.pod(), s.namespace, command)
		}
	}
}

var namespaceFlag = regexp.MustCompile(` -n (\S+)`)

// What the program says about the scene, as a whole. The runbook has its own tests and is left out, so that a better step does not
// change these files.
func TestSceneGolden(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for format, file := range map[string]string{"table": "scene-0217.table", "markdown": "scene-0217.md", "json": "scene-0217.json"} {
		t.Run(format, func(t *testing.T) {
			got := settled(t, format, analyzed(t, format))
			path := filepath.Join(here, "testdata", file+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("analyze %s --format %s is not %s:\n%s\nread the difference and run go test ./cmd/wasmortem -run TestScene -update", sceneDir, format, path, difference(got, string(want)))
			}
		})
	}
}

var (
	steps  = regexp.MustCompile(`(?s)(\nDo first[^\n]*\n).*?(\n\nNot known yet)`)
	advice = regexp.MustCompile(`(?s)(\nDo first: )[^\n]*(.*\n## What to do\n).*?(\n## Inputs)`)
	tool   = regexp.MustCompile("wasmortem `[^`]*`, commit `[^`]*`, rules `[^`]*`")
)

// settled takes out of an output what is told elsewhere or changes with every build.
func settled(t *testing.T, format, out string) string {
	t.Helper()
	switch format {
	case "table":
		return steps.ReplaceAllString(out, "${1}  (the runbook)${2}")
	case "markdown":
		out = advice.ReplaceAllString(out, "${1}(the runbook)${2}\n(the runbook)\n${3}")
		return tool.ReplaceAllString(out, "wasmortem (version)")
	}
	var r map[string]any
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	r["tool"] = "(version)"
	delete(r["stats"].(map[string]any), "seconds")
	for _, in := range r["incidents"].([]any) {
		in.(map[string]any)["runbook"] = "(the runbook)"
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// difference is the first line in which two texts differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\ngot  %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return "one is longer than the other"
}
