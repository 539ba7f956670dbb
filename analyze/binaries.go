package analyze

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/rules"
)

// Binaries are the wasm modules and core dumps of an analysis: those given apart, with [Binaries.Open], and those that lie among its
// inputs, which [Binaries.Take] gets as [ingest.Options].Binary. [Run] uses them for the stacks of incidents. They are held in memory, all
// together at most 512 MiB; what is more is not used, which its warnings say.
type Binaries struct {
	mu    sync.Mutex // an interrupted analysis does not wait for the reading of its inputs
	sym   *symbolize.Symbolizer
	dumps []dumped
	cores []cored
	bytes int
	given []Input

	programs []string // where programs and libraries are
}

// dumped is a core dump.
type dumped struct {
	path string
	*wasm.CoreDump
}

// maxBinaries bounds the memory of all modules and core dumps together.
const maxBinaries = 512 << 20

// NewBinaries holds nothing yet.
func NewBinaries(set *rules.Set) *Binaries { return &Binaries{sym: symbolize.New(set)} }

// Open takes modules and core dumps from files, folders and archives. warn, which may be nil, is told what was skipped. A path that cannot be
// opened is an error.
func (b *Binaries) Open(ctx context.Context, paths []string, warn func(path, msg string)) error {
	err := wasm.Find(ctx, paths, archive.Limits{}, func(f wasm.Found) error {
		in := Input{Path: f.Path, Kind: "wasm-module", Warnings: []string{}}
		if f.Module == nil {
			in.Error = f.Err.Error()
		} else {
			in.Bytes = int64(len(f.Module.Data))
			in.Kind, in.Warnings = b.add(f.Path, f.Module, f.Err)
		}
		b.given = append(b.given, in)
		return nil
	}, warn)
	if err != nil {
		return fmt.Errorf("looking for modules: %w", err)
	}
	return nil
}

// Take reads an input that is a module or a core dump, and corrects its kind.
func (b *Binaries) Take(in *ingest.Input, r io.Reader) {
	if in.Kind == "elf-core" {
		b.takeCore(in, r)
		return
	}
	if in.Kind != "wasm-module" && in.Kind != "wasm-coredump" {
		return
	}
	m, err := wasm.ReadModule(r)
	switch {
	case errors.Is(err, wasm.ErrTooLarge):
		in.Warnings = append(in.Warnings, err.Error())
	case m == nil:
		in.Warnings = append(in.Warnings, "not used: "+err.Error())
	default:
		var warnings []string
		in.Kind, warnings = b.add(in.Path, m, err)
		in.Warnings = append(in.Warnings, warnings...)
	}
}

// add keeps a module or core dump, unless there are too many.
func (b *Binaries) add(path string, m *wasm.Module, err error) (kind string, warnings []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	kind, warnings = "wasm-module", []string{}
	if err != nil {
		warnings = append(warnings, err.Error())
	}
	if wasm.IsCoreDump(m) {
		kind = "wasm-coredump"
	}
	if b.bytes+len(m.Data) > maxBinaries {
		return kind, append(warnings, fmt.Sprintf("not used: the modules and core dumps before it take %d MiB already", b.bytes>>20))
	}
	if kind == "wasm-coredump" {
		b.dumps = append(b.dumps, dumped{path, wasm.NewCoreDump(m)})
		b.bytes += len(m.Data)
	} else if b.sym.Add(path, m, err) {
		b.bytes += len(m.Data)
	}
	return kind, warnings
}

// given lists the modules that were given apart, except those that are inputs as well.
func (r *Report) given(b *Binaries) {
	if b == nil {
		return
	}
	listed := map[string]bool{}
	for i := range r.Inputs {
		listed[r.Inputs[i].Path] = true
	}
	for _, in := range b.given {
		if listed[in.Path] {
			continue
		}
		r.InputsTotal++
		r.Stats.Bytes += in.Bytes
		if len(r.Inputs) < MaxInputs {
			r.Inputs = append(r.Inputs, in)
		}
	}
}
