// Command pack makes a test module small enough to be kept: pack IN OUT.wasm.gz [-drop SECTION]… [-bodies REGEX].
//
// It removes custom sections of the names given, and, with -bodies, puts `unreachable` and `nop`s of the same length in place of all
// function bodies but those whose function's name matches. Offsets before and within the Code section stay what they were.
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

func main() {
	in, out, args := os.Args[1], os.Args[2], os.Args[3:]
	data, err := os.ReadFile(in)
	check(err)
	m, err := wasm.Parse(data)
	check(err)
	var drop []string
	for ; len(args) > 1; args = args[2:] {
		switch args[0] {
		case "-drop":
			drop = append(drop, args[1])
		case "-bodies":
			blank(m, regexp.MustCompile(args[1]))
		default:
			check(fmt.Errorf("unknown flag %s", args[0]))
		}
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, err = z.Write(data[:8])
	check(err)
	for _, s := range m.Sections {
		if s.ID == wasm.Custom && slices.Contains(drop, s.Name) {
			continue
		}
		_, err = z.Write(data[s.Start:s.End])
		check(err)
	}
	check(z.Close())
	check(os.WriteFile(out, b.Bytes(), 0o644))
	fmt.Println(out, b.Len())
}

func blank(m *wasm.Module, keep *regexp.Regexp) {
	for _, f := range m.Functions {
		if keep.MatchString(m.FunctionName(f.Index)) {
			continue
		}
		b := m.Data[f.Offset:f.End]
		for i := range b {
			b[i] = 0x01 // nop
		}
		b[0], b[len(b)-1] = 0x00, 0x0b // no locals; end
		if len(b) > 2 {
			b[1] = 0x00 // unreachable
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}
