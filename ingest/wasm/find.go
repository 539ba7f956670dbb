package wasm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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

// ErrTooLarge is for files larger than [MaxFile].
var ErrTooLarge = fmt.Errorf("larger than %d MiB: not read as a wasm module", MaxFile>>20)

// Looks says whether a file with these first bytes is a wasm module, a core dump or a component.
func Looks(head []byte) bool { return bytes.HasPrefix(head, magic) }

// ReadModule is [Parse] for a file that is still to be read, into at most [MaxFile] bytes of memory. The error may also be that of the reader,
// and then what came of the file may be incomplete.
func ReadModule(r io.Reader) (*Module, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if len(data) > MaxFile {
		return nil, ErrTooLarge
	}
	m, perr := Parse(data)
	if err != nil {
		perr = err
	}
	return m, perr
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
			if head, _ := r.Peek(len(magic)); !Looks(head) {
				return nil
			}
			m, err := ReadModule(r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if errors.Is(err, ErrTooLarge) {
				warn(e.Path, err.Error())
				return nil
			}
			return visit(Found{Path: e.Path, Module: m, Err: err})
		}, warn)
		if err != nil {
			return err
		}
	}
	return nil
}
