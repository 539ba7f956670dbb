package reports

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze/inspect"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/rules"
)

// Goldens of the pages about a stripped module with its twin, and about a core dump with and without its module.
func TestInspection(t *testing.T) {
	const fixtures = "../ingest/wasm/testdata/"
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file  string
		given []string
	}{
		"module":          {"toll.stripped.wasm", []string{"toll.wasm"}},
		"coredump":        {"parcel-index.coredump", []string{"parcel.wasm"}},
		"coredump-alone":  {"parcel-wild.coredump", nil},
		"coredump-others": {"parcel-wild.coredump", []string{"toll.wasm"}},
	} {
		var paths []string
		for _, g := range c.given {
			paths = append(paths, fixtures+g+".gz")
		}
		given, err := symbolize.Open(context.Background(), set, paths, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := inspect.Read(context.Background(), fixtures+c.file+".gz", inspect.Options{Modules: given})
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []string{"table", "markdown"} {
			var b bytes.Buffer
			if err := WriteInspection(&b, r, format, Options{}); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "inspect", name+"."+format+".golden"), b.String())
		}
	}
}

// What a module calls itself is shown and not obeyed.
func TestInspectionHostile(t *testing.T) {
	evil := "\x1b[31m]`|\n# title\u202e<b>@all"
	r := &inspect.Report{Files: []inspect.File{{Path: evil, Kind: "wasm-module", Error: evil, Module: &inspect.Module{
		Name: evil, ABI: []string{evil}, Language: inspect.Guess{Value: evil, Why: evil}, Imports: []inspect.Import{{Module: evil, Name: evil, Kind: evil}}, ImportsTotal: 1,
		Sections: []inspect.Section{{Name: evil}}, Problems: []inspect.Problem{{Text: evil}}, GoModules: []string{evil}, Producers: []inspect.Producer{{Field: evil, Name: evil}},
		Twins: []inspect.Twin{{Path: evil}}, Start: evil,
	}}}}
	for _, format := range []string{"table", "markdown", "json"} {
		var b bytes.Buffer
		if err := WriteInspection(&b, r, format, Options{}); err != nil {
			t.Fatal(err)
		}
		if s := b.String(); strings.ContainsAny(s, "\x1b\u202e") || strings.Contains(s, "\n# title") {
			t.Errorf("%s: %s", format, s)
		}
	}
}
