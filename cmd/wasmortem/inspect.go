package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze/inspect"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/reports/escape"
)

func (a *app) inspectCommand() *cobra.Command {
	var format, output string
	var modules, binaries []string
	cmd := &cobra.Command{Use: "inspect FILE", Short: "Say what a module or a core dump is and what it tells",
		Long: `Reads a wasm module or a wasm core dump, also one inside an archive or a container image, and says what it is and what it tells.
Of a module: where it comes from, what it needs, what one would see if it failed. Of a core dump: where each thread stood, and why.
A core dump becomes readable with --module: names, lines of source, and where the stack ends. Modules are matched by what the frames
prove, never by their names.
Of an ELF core dump (of Envoy, after a native crash): the signal that came first, whether a plugin was running, what each thread did, what the memories
of the plugins given with --module say. --binary gives names and lines; programs are matched by build id.

Exit status: 0 done, whatever the file is; 2 wrong command line; 3 a path that does not exist or cannot be read.`,
		Example: "  wasmortem inspect plugin.wasm\n  wasmortem inspect image.tar --format json\n  wasmortem inspect plugin.coredump --module build/\n  wasmortem inspect core.zst --binary envoy --binary envoy.debug --module plugin.wasm",
		Args:    exactly(1, "inspect: which file? (see: wasmortem inspect --help)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.inspect(cmd.Context(), args[0], modules, binaries, format, output)
		}}
	a.pageFlags(cmd, &format, &output)
	cmd.Flags().StringArrayVar(&modules, "module", nil, "module, or folder or archive of modules, that a core dump may come from (repeatable)")
	cmd.Flags().StringArrayVar(&binaries, "binary", nil, "program, library or debug file, or folder of them, for ELF core dumps (repeatable); matched by build id, not by name")
	return cmd
}

// pageFlags adds --format and --output to a command that writes a page.
func (a *app) pageFlags(cmd *cobra.Command, format, output *string, more ...string) {
	names := append([]string{"table", "markdown", "json"}, more...)
	about := strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
	cmd.Flags().StringVar(format, "format", "", about+" (default: table on a terminal, else markdown)")
	_ = cmd.Flags().SetAnnotation("format", values, names)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVarP(output, "output", "o", "", "write to this file instead of standard output")
}

// pageFormat is the format that a command with pageFlags writes.
func (a *app) pageFormat(cmd string, format, output string, more ...string) (string, error) {
	if format == "" {
		format = "markdown"
		if output == "" && isTerminal(a.out) {
			format = "table"
		}
	}
	names := append([]string{"table", "markdown", "json"}, more...)
	for _, n := range names {
		if n == format {
			return format, nil
		}
	}
	return "", usage("%s: unknown format %q (want one of %s)", cmd, format, strings.Join(names, ", "))
}

func (a *app) inspect(ctx context.Context, path string, modules, binaries []string, format, output string) error {
	format, err := a.pageFormat("inspect", format, output)
	if err != nil {
		return err
	}
	set, err := a.loadRules(nil)
	if err != nil {
		return err
	}
	if err := missing(slices.Concat([]string{path}, modules, binaries)); err != nil {
		return err
	}
	if err := writable(output); err != nil {
		return err
	}
	given, err := symbolize.Open(ctx, set, modules, a.warnPath)
	if err != nil {
		return unreadablePath(ctx, err)
	}
	if len(modules) > 0 && len(given.Builds()) == 0 {
		a.warn("no module was found in " + strings.Join(modules, ", "))
	}
	r, err := inspect.Read(ctx, path, inspect.Options{Modules: given, Binaries: binaries, Limits: archive.Default(), Stdin: interruptible(ctx, a.in)})
	if err != nil {
		return unreadablePath(ctx, err)
	}
	if err := a.write(output, func(w io.Writer) error { return reports.WriteInspection(w, r, format, a.reportOptions(output)) }); err != nil {
		return err
	}
	for _, w := range r.Warnings {
		a.warn(w)
	}
	if len(r.Files) == 0 {
		a.warn(fmt.Sprintf("nothing to inspect in %s: no module or core dump among its %d files", path, r.Passed))
	}
	return nil
}

// warn tells something on stderr that a person may overlook in the result. It may quote names from an archive.
func (a *app) warn(text string) { fmt.Fprintln(a.err, "wasmortem: "+escape.Line(text)) }

func (a *app) warnPath(path, text string) { a.warn(path + ": " + text) }
