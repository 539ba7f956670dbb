package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
	"github.com/wasmortem/wasmortem/rules"
)

// symbolizeFlags are the flags of symbolize.
type symbolizeFlags struct {
	format, output string
	modules, rules []string
	binaries       []string
}

func (a *app) symbolizeCommand() *cobra.Command {
	var f symbolizeFlags
	cmd := &cobra.Command{
		Use:   "symbolize --module M [FILE…]",
		Short: "Say which lines of source a backtrace went through",
		Long: `Reads a log, or a backtrace that somebody pasted, and says for every wasm backtrace in it which functions, files and lines it went through,
and which function of the plugin's own code failed. Backtraces of V8 (Envoy), wasmtime, WAMR and wazero are known, and wasm core dumps.
Without FILE it reads standard input.

Every frame is held against the code of a module before any line is told: offsets into another build give lines that look right. What was stripped for
production is paired with the build that has debug information by the sha256 of its Code section. Give all builds there are, files, folders or
archives; those inside FILE are used as well.

The addresses that Envoy itself logs when it crashes get names with --binary: its program, or the debug file, of the build id that its version line
begins with.`,
		Example: `  wasmortem symbolize --module plugin.debug.wasm envoy.log
  kubectl logs deploy/checkout -c istio-proxy | wasmortem symbolize --module plugin.wasm --module builds/
  wasmortem symbolize --binary envoy.debug envoy.log
  wasmortem symbolize bug-report.tar.gz --format json`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.symbolize(cmd.Context(), args, f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "", "table, markdown or json (default: table on a terminal, else markdown)")
	fl.StringVarP(&f.output, "output", "o", "", "write to this file instead of standard output")
	fl.StringArrayVar(&f.modules, "module", nil, "module, or folder or archive with modules (repeatable)")
	fl.StringArrayVar(&f.binaries, "binary", nil, "program or debug file of Envoy, or folder of them, for native backtraces (repeatable); matched by build id")
	fl.StringArrayVar(&f.rules, "rules", nil, "rules file or folder to add (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "markdown", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) symbolize(ctx context.Context, paths []string, f symbolizeFlags) error {
	format, err := a.chooseFormat(f.format, f.output)
	if err != nil {
		return err
	}
	set, err := a.loadDictionaries(f.rules)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	if err := missing(slices.Concat(f.modules, f.binaries, paths)); err != nil {
		return err
	}
	if paths, err = distinctPaths(paths); err != nil {
		return err
	}
	if err := writable(f.output); err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // what lives is about as large as the modules
	r, err := a.traces(ctx, set, f.modules, paths)
	if err != nil {
		return err
	}
	if err := r.Programs(ctx, f.binaries); err != nil {
		return unreadablePath(ctx, err)
	}
	answer := r.Answer()
	switch {
	case len(answer.Backtraces) == 0 && len(answer.Native) > 0:
	case len(answer.Backtraces) == 0:
		fmt.Fprintln(a.err, "wasmortem: no wasm backtrace found, and no panic that names its place; Envoy prints no backtrace of a module without a name section")
	case len(answer.Modules) == 0 && len(f.modules) > 0:
		fmt.Fprintf(a.err, "wasmortem: no module was found in %s, so no lines are known: nothing there begins as a wasm module does\n", escape.Line(strings.Join(f.modules, ", ")))
	case len(answer.Modules) == 0:
		fmt.Fprintln(a.err, "wasmortem: no module was found, so no lines are known; give it with --module")
	}
	return a.write(f.output, func(w io.Writer) error {
		return reports.WriteSymbols(w, answer, format.Name, a.reportOptions(f.output))
	})
}

// traces reads all modules and texts.
func (a *app) traces(ctx context.Context, set *rules.Set, modules, paths []string) (*symbolize.Reader, error) {
	s, err := symbolize.Open(ctx, set, modules, a.tell)
	if err != nil {
		return nil, unreadablePath(ctx, err)
	}
	r := symbolize.NewReader(s)
	for _, p := range paths {
		if err := r.Read(ctx, p, interruptible(ctx, a.in)); err != nil {
			return nil, unreadablePath(ctx, err)
		}
	}
	return r, nil
}

// tell says what was skipped.
func (a *app) tell(path, msg string) {
	fmt.Fprintf(a.err, "wasmortem: %s: %s\n", escape.Line(path), escape.Line(msg))
}

func unreadablePath(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return status{exitInterrupted, nil}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return err
	}
	return status{exitUnreadable, err}
}
