package analyze_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
)

// A core dump in a file is not read from its start to its end: 256 GiB, most of them a hole, take no time.
func TestCoreInAFile(t *testing.T) {
	packed, err := os.ReadFile("../ingest/elfcore/testdata/kill.core.zst")
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := ruleSet(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "core.1")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	look := func() *analyze.Report {
		b := analyze.NewBinaries(set)
		r, err := analyze.Run(context.Background(), ingest.Files([]string{dir}, ingest.Options{Binary: b.Take}), analyze.Options{Rules: set, Binaries: b})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	small := look()
	if len(small.Incidents) != 1 || small.Incidents[0].Confidence >= 0.5 || small.Incidents[0].Severity != analyze.Warning || len(small.Incidents[0].Explained) == 0 {
		t.Errorf("a core dump of a program that is no Envoy: %+v, want one guess, and that it is no Envoy", small.Incidents)
	}
	const long = 256 << 30
	if err := os.Truncate(path, long); err != nil {
		t.Skip("no files with holes here: ", err)
	}
	r := look()
	if r.Inputs[0].Bytes != long || r.Inputs[0].Kind != "elf-core" || len(r.Incidents) != len(small.Incidents) || len(r.Incidents) == 0 {
		t.Errorf("%d bytes, kind %s, %d incidents; want %d bytes, elf-core, %d incidents", r.Inputs[0].Bytes, r.Inputs[0].Kind, len(r.Incidents), int64(long), len(small.Incidents))
	}
}
