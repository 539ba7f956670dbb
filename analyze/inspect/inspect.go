// Package inspect says what a binary is and what it tells: a wasm module, a wasm core dump.
//
// What goes in is a path; [Read] walks it as [archive.Walk] does, so a module in a layer of a container image is found too, and
// recognises files by their first bytes. What comes out is a [Report] of plain values, whose JSON is described by
// inspect.schema.json ([JSONSchema]). Files of a folder or an archive that are none of ours are passed over; a path that names one file is always
// answered, if only with what it is instead.
//
// [OfModule] and [OfCoreDump] do the same for what is read already. A core dump says nothing about which build it comes from, so the
// modules that are given are held against its frames (package symbolize): lines of source, and whether the stack or the memory was
// exhausted, are told only by a module that the frames agree with.
//
// What the package does not do: it runs nothing, opens no path that a file names, and does not judge whether a module would load
// somewhere (package preflight).
//
// To add a kind of file, add a row to kinds and a field to [File].
package inspect

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/wasmortem/wasmortem/analyze/native"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/elf"
	"github.com/wasmortem/wasmortem/ingest/elfcore"
	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// Schema names the form of the JSON.
const Schema = "wasmortem.inspect/1"

//go:embed inspect.schema.json
var jsonSchema []byte

// JSONSchema returns the JSON Schema (draft 2020-12) of a [Report]. Objects are open: later versions may have more fields.
func JSONSchema() []byte { return bytes.Clone(jsonSchema) }

// Report is what was found under one path.
type Report struct {
	Schema   string   `json:"schema"`
	Files    []File   `json:"files"`
	Passed   int      `json:"passed_over"` // files of a folder or an archive that are of no kind known here
	Warnings []string `json:"warnings"`    // what was skipped or cut, with its path
}

// File is one file. One of the fields behind Error is set, or none when the file is of no kind known here.
type File struct {
	Path     string    `json:"path"` // "image.tar!blobs/sha256/…!plugin.wasm" inside archives
	Kind     string    `json:"kind"` // wasm-module, wasm-coredump, elf-core, unknown
	Bytes    int64     `json:"bytes"`
	Error    string    `json:"error,omitempty"` // why it could not be read, or not to its end; what there is is told even so
	Module   *Module   `json:"module,omitempty"`
	CoreDump *CoreDump `json:"coredump,omitempty"`
	// Process is what a core dump of a native process, of Envoy mostly, tells.
	Process *native.Process `json:"process,omitempty"`
}

// Options are what helps to read a file.
type Options struct {
	Modules  *symbolize.Symbolizer // given modules, for core dumps and to find twins; nil for none
	Binaries []string              // files and folders with programs and libraries, for core dumps of native processes
	Limits   archive.Limits
	Stdin    io.Reader
}

// content is what a file holds.
type content struct {
	io.Reader
	at   io.ReaderAt // nil for what can only be read once
	size int64
}

// kinds are the kinds of files, told apart by their first bytes.
var kinds = []struct {
	is   func(head []byte) bool
	read func(ctx context.Context, f *File, c content, o Options)
}{
	{func(head []byte) bool { return bytes.HasPrefix(head, []byte("\x00asm")) }, readWasm},
	{elfcore.Is, readCore},
}

// maxFiles bounds the list: a folder of builds has dozens.
const maxFiles = 1000

// Read reads what stands under path. The error is for a path that cannot be opened, and for an end of ctx.
func Read(ctx context.Context, path string, o Options) (*Report, error) {
	rep := &Report{Schema: Schema, Files: []File{}, Warnings: []string{}}
	warn := func(path, msg string) {
		if len(rep.Warnings) < maxFiles {
			rep.Warnings = append(rep.Warnings, path+": "+msg)
		}
	}
	err := archive.Walk(ctx, path, o.Stdin, o.Limits, func(e archive.Entry) error {
		r := bufio.NewReaderSize(e.R, headSize)
		head, err := r.Peek(headSize)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		f := File{Path: e.Path, Kind: "unknown", Bytes: max(e.Size, int64(len(head)))}
		for _, k := range kinds {
			if !k.is(head) {
				continue
			}
			if len(rep.Files) == maxFiles {
				warn(e.Path, fmt.Sprintf("more than %d files: not inspected", maxFiles))
				return nil
			}
			c := content{Reader: r, size: e.Size}
			c.at, _ = e.R.(io.ReaderAt)
			k.read(ctx, &f, c, o)
			rep.Files = append(rep.Files, f)
			return ctx.Err()
		}
		switch {
		case e.Path != path && err == nil:
			rep.Passed++
		case err != nil:
			f.Error = err.Error()
			rep.Files = append(rep.Files, f)
		default:
			f.Error = What(head)
			rep.Files = append(rep.Files, f)
		}
		return ctx.Err()
	}, warn)
	return rep, err
}

// headSize is how much of a file decides what it is.
const headSize = 512

// What says what a file is that is no module, by its first bytes: one sentence without a full stop.
func What(head []byte) string {
	text := strings.ToLower(string(bytes.TrimLeft(head, " \t\r\n\ufeff")))
	_, err := wasm.Parse(head)
	switch {
	case strings.HasPrefix(text, "<!doctype html") || strings.HasPrefix(text, "<html"):
		return "an HTML page, not a module: what was saved is the answer of a web server, often an error or a login page"
	case strings.HasPrefix(text, `{"errors"`) || strings.HasPrefix(text, `{"error"`) || strings.HasPrefix(text, `{"message"`):
		return "a JSON answer that tells an error, not a module: a registry or an API refused the download"
	case strings.HasPrefix(text, "version https://git-lfs"):
		return "a pointer of Git LFS, not the file itself: fetch it with git lfs pull"
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return "an ELF file, but no core dump: programs and libraries are given with --binary to inspect a core dump"
	case err != nil:
		return err.Error()
	}
	return "not known"
}

func readWasm(_ context.Context, f *File, r content, o Options) {
	data, err := io.ReadAll(io.LimitReader(r, wasm.MaxFile+1))
	f.Bytes, f.Kind = max(f.Bytes, int64(len(data))), "wasm-module"
	if len(data) > wasm.MaxFile {
		f.Error = fmt.Sprintf("larger than %d MiB: not read", wasm.MaxFile>>20)
		return
	}
	m, perr := wasm.Parse(data)
	switch {
	case err != nil:
		f.Error = err.Error()
	case perr != nil:
		f.Error = perr.Error()
	}
	switch {
	case m == nil:
		f.Kind = "unknown"
	case wasm.IsCoreDump(m):
		f.Kind, f.CoreDump = "wasm-coredump", OfCoreDump(wasm.NewCoreDump(m), o.Modules)
	default:
		f.Module = OfModule(m)
		f.Module.Twins = twins(m, f.Path, o.Modules)
	}
}

// readCore reads a core dump of a native process. Programs are looked for when it is known which builds are asked for.
func readCore(ctx context.Context, f *File, r content, o Options) {
	f.Kind = "elf-core"
	var c *elfcore.Core
	var err error
	if r.at != nil && r.size > 0 {
		c, err = elfcore.Open(r.at, r.size)
	} else {
		c, err = elfcore.Read(ctx, r)
	}
	if err != nil {
		f.Error = err.Error()
		return
	}
	f.Bytes = max(f.Bytes, c.Bytes)
	set, err := elf.Find(ctx, o.Binaries, c.Uses)
	if err != nil {
		f.Error = err.Error()
	}
	defer set.Close()
	var modules []native.Module
	if o.Modules != nil {
		for _, b := range o.Modules.Builds() {
			modules = append(modules, native.Module{Path: b.Path, Module: b.Module})
		}
	}
	f.Process = native.OfCore(c, set, modules)
}

// twins finds the given modules with the same code: the build that a stripped module comes from.
func twins(m *wasm.Module, path string, given *symbolize.Symbolizer) []Twin {
	list := []Twin{}
	code := m.CodeHash()
	if given == nil || code == "" {
		return list
	}
	for _, b := range given.Builds() {
		if b.Code == code && b.Path != path {
			list = append(list, Twin{Path: b.Path, Names: b.Module.HasNames(), DWARF: b.Module.HasDWARF()})
		}
	}
	return list
}

// valid makes a name from a file one that JSON can hold.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
