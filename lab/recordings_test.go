package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/internal/testkit"
	"github.com/wasmortem/wasmortem/rules"
)

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	testkit.Golden(t, file, string(got), *update)
}

var update = flag.Bool("update", false, "write golden files and docs/verified.md")

const recordings = "../testdata/lab"

func index(t testing.TB) *Index {
	t.Helper()
	x, err := loadIndex(recordings)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Recordings) == 0 {
		t.Skip("no recordings below testdata/lab; `go run ./lab run` makes them")
	}
	return x
}

// TestRecordings runs the tool over every recording. The golden counts right, wrong and missed ones per version and dialect, and names
// each that is not right with what was said instead.
func TestRecordings(t *testing.T) {
	x := index(t)
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]map[string]int{}
	var notes []string
	for i := range x.Recordings {
		r := &x.Recordings[i]
		paths := []string{filepath.Join(recordings, r.File)}
		if r.Stats != "" {
			paths = append(paths, filepath.Join(recordings, r.Stats))
		}
		report, err := analyze.Run(context.Background(), ingest.Files(paths, ingest.Options{}), analyze.Options{Rules: set})
		if err != nil {
			t.Errorf("%s: %v", r.File, err)
			continue
		}
		group := r.Envoy + " " + r.Dialect
		if counts[group] == nil {
			counts[group] = map[string]int{}
		}
		v := verdict(r.Accept, report)
		counts[group][v]++
		if v != "right" {
			notes = append(notes, fmt.Sprintf("%-12s %-58s want %-38s got %s", v, r.File, strings.Join(r.Accept, "|"), said(report)))
		}
		for _, c := range r.Contributing {
			if v == "right" && !contributes(report, c) {
				counts[group]["without "+c]++
				notes = append(notes, fmt.Sprintf("%-12s %-58s without %s: %s", "incomplete", r.File, c, said(report)))
			}
		}
	}
	golden(t, "testdata/recordings.golden", tally(counts, notes))
}

// contributes says whether the id stands beside the root cause, or is it.
func contributes(report *analyze.Report, id string) bool {
	return slices.ContainsFunc(report.Incidents, func(i analyze.Incident) bool {
		return rules.Parent(i.RootCause) == id || slices.ContainsFunc(i.Contributing, func(c string) bool { return rules.Parent(c) == id })
	})
}

func tally(counts map[string]map[string]int, notes []string) []byte {
	var out bytes.Buffer
	total := map[string]int{}
	for _, group := range sorted(counts) {
		fmt.Fprintf(&out, "%-20s", group)
		for _, v := range sorted(counts[group]) {
			fmt.Fprintf(&out, " %s %d;", v, counts[group][v])
			total[v] += counts[group][v]
		}
		out.WriteByte('\n')
	}
	fmt.Fprintf(&out, "%-20s", "all")
	for _, v := range sorted(total) {
		fmt.Fprintf(&out, " %s %d;", v, total[v])
	}
	sort.Strings(notes)
	fmt.Fprintf(&out, "\n\n%s\n", strings.Join(notes, "\n"))
	return out.Bytes()
}

// TestRecordingsAreClean keeps the recording machine out of the test data, and the test data small.
func TestRecordingsAreClean(t *testing.T) {
	x := index(t)
	foreign := regexp.MustCompile(`/root/|/work/|/tmp/|/home/|wasmortem-lab|crates\.io|[a-z0-9.-]+\.(?:internal|corp)\b`)
	var size int64
	known := map[string]bool{indexName: true}
	for _, r := range x.Recordings {
		for _, f := range []string{r.File, r.Stats} {
			if f == "" {
				continue
			}
			known[f] = true
			info, err := os.Stat(filepath.Join(recordings, f))
			if err != nil {
				t.Error(err)
				continue
			}
			size += info.Size()
			data, err := readRecording(filepath.Join(recordings, f))
			if err != nil {
				t.Errorf("%s: %v", f, err)
			}
			if at := foreign.FindIndex(data); at != nil {
				t.Errorf("%s holds %q", f, data[max(0, at[0]-40):min(len(data), at[1]+40)])
			}
		}
	}
	if size > 8<<20 {
		t.Errorf("recordings take %d bytes, want at most 8 MiB", size)
	}
	files, _ := filepath.Glob(recordings + "/*/*")
	for _, f := range files {
		if name, _ := filepath.Rel(recordings, f); !known[filepath.ToSlash(name)] {
			t.Errorf("%s is not in %s", name, indexName)
		}
	}
}

// TestMatrix keeps scenarios and recordings together.
func TestMatrix(t *testing.T) {
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	x := index(t)
	for i := range m.Scenarios {
		s := &m.Scenarios[i]
		for _, v := range s.versions(m) {
			if x.find(s.ID, v, "default") == nil {
				t.Errorf("%s has no recording on Envoy %s", s.ID, v)
			}
		}
	}
	for _, r := range x.Recordings {
		if !slices.ContainsFunc(m.Scenarios, func(s Scenario) bool { return s.ID == r.Scenario }) {
			t.Errorf("%s: no scenario %s", r.File, r.Scenario)
		}
	}
}

// TestBreadth is what the recordings are to cover: many scenarios on many versions, and each of them in every dialect somewhere.
func TestBreadth(t *testing.T) {
	m, err := loadMatrix(".")
	if err != nil {
		t.Fatal(err)
	}
	x := index(t)
	wide := 0
	for i := range m.Scenarios {
		id := m.Scenarios[i].ID
		versions := map[string][]string{} // dialect → versions
		for _, r := range x.Recordings {
			if r.Scenario == id {
				versions[r.Dialect] = append(versions[r.Dialect], r.Envoy)
			}
		}
		if len(versions["default"]) >= 4 {
			wide++
		}
		for _, d := range m.Dialects {
			if len(versions[d.Name]) == 0 {
				t.Errorf("%s has no recording in the dialect %s", id, d.Name)
			}
		}
	}
	if wide < 45 {
		t.Errorf("%d scenarios are recorded on four versions or more, want 45", wide)
	}
}
