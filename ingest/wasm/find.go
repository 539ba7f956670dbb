package wasm

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/wasmortem/wasmortem/ingest/archive"
)

// MaxFile is how large a file [Find] reads into memory.
const MaxFile = 256 << 20

// Found is a file that begins like a wasm module: one, a core dump, a component, or a damaged one.
type Found struct {
	Path   string  // "bundle.tar.gz!app/plugin.wasm"
	Module *Module // nil when the file is none that can be read
	Err    error   // what [Parse] said
}

// Find looks for wasm files in files, folders and archives, also in the layers of container images, and calls visit for each in the
// order of [archive.Walk]. Files are recognised by their first bytes. warn is told of what was skipped or cut. A path that cannot be
// opened ends the search with an error.
func Find(ctx context.Context, paths []string, lim archive.Limits, visit func(Found) error, warn func(path, msg string)) error {
	if warn == nil {
		warn = func(string, string) {}
	}
	for _, p := range paths {
		err := archive.Walk(ctx, p, nil, lim, func(e archive.Entry) error {
			r := bufio.NewReader(e.R)
			if head, _ := r.Peek(len(magic)); !bytes.Equal(head, magic) {
				return nil
			}
			data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
			if len(data) > MaxFile {
				warn(e.Path, fmt.Sprintf("larger than %d MiB: not read as a wasm module", MaxFile>>20))
				return nil
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			m, perr := Parse(data)
			if err != nil { // the archive is damaged, and what came of the file may be incomplete
				warn(e.Path, err.Error())
				perr = err
			}
			return visit(Found{Path: e.Path, Module: m, Err: perr})
		}, warn)
		if err != nil {
			return err
		}
	}
	return nil
}
