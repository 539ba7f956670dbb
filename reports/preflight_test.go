package reports

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wasmortem/wasmortem/analyze/preflight"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules/host"
)

// preflighted is two modules and something that is none on three hosts.
func preflighted(t *testing.T) *preflight.Report {
	t.Helper()
	const fixtures = "../ingest/wasm/testdata/"
	r := &preflight.Report{Schema: preflight.Schema, Warnings: []string{"image.tar: 2 links skipped"}}
	var all []wasm.Found
	for _, n := range []string{"toll.stripped", "parcel"} {
		err := wasm.Find(context.Background(), []string{fixtures + n + ".wasm.gz"}, archive.Limits{}, func(f wasm.Found) error {
			f.Path = "image.tar!" + n + ".wasm"
			all = append(all, f)
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
	}
	all = append(all, wasm.Found{Path: "page.wasm", Err: errors.New("an HTML page, not a module")})
	for _, f := range all {
		m := preflight.New(f)
		for _, text := range []string{"envoy:1.30", "envoy:1.36.2", "istio:1.29"} {
			h, err := host.ParseHost(text)
			if err != nil {
				t.Fatal(err)
			}
			r.Results = append(r.Results, m.On(h))
		}
	}
	return r
}

func TestPreflight(t *testing.T) {
	r := preflighted(t)
	for _, format := range []string{"table", "markdown", "json", "sarif", "junit"} {
		var b bytes.Buffer
		if err := WritePreflight(&b, r, format, "1.2.3", Options{}); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("testdata", "preflight", "modules."+format+".golden"), b.String())
	}
}

// What a module imports is shown and not obeyed.
func TestPreflightHostile(t *testing.T) {
	evil := "\x1b[31m]`|\n# title\u202e@all ]]>"
	r := &preflight.Report{Warnings: []string{evil}, Results: []preflight.Result{{Module: evil, Host: "envoy 1.36", Verdict: evil, Unknowns: []string{evil}, SHA256: "x",
		Findings: []preflight.Finding{{Check: "imports", Cause: "missing-import", Severity: "error", Blocks: true, Subject: evil, Text: evil, Says: evil, Details: []string{evil}, Source: evil}}}}}
	for _, format := range []string{"table", "markdown", "json", "sarif", "junit"} {
		var b bytes.Buffer
		if err := WritePreflight(&b, r, format, "", Options{}); err != nil {
			t.Fatal(err)
		}
		if s := b.String(); strings.ContainsAny(s, "\x1b\u202e") || format == "markdown" && strings.Contains(s, "\n# title") {
			t.Errorf("%s: %s", format, s)
		}
	}
}
