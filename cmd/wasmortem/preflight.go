package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze/inspect"
	"github.com/wasmortem/wasmortem/analyze/preflight"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/reports"
	"github.com/wasmortem/wasmortem/rules/host"
)

func (a *app) preflightCommand() *cobra.Command {
	var format, output string
	var hosts []string
	cmd := &cobra.Command{Use: "preflight MODULE --host HOST", Short: "Say whether a proxy would load a module, and what one would see if it failed",
		Long: `Holds a module against what a proxy registers, requires and allows, without running it: all unresolved imports at once with the dependency that
usually brings each, wrong types, missing exports, what would trap at the start, memory, features of the engine; and whether a later
failure would leave a backtrace and the reason of a panic in the log. MODULE may be inside an archive or a container image.

HOST is envoy:1.36, envoy:1.36.2, istio:1.28, or all (every Envoy of the table). Each finding says where the fact comes from and on which Envoys it
was checked.

Exit status: 0 it would load on all of them; 1 it would not; 2 wrong command line; 3 a path that does not exist, or no module in it.`,
		Example: "  wasmortem preflight plugin.wasm --host envoy:1.36 --host istio:1.24\n  wasmortem preflight image.tar --host all --format sarif --output preflight.sarif",
		Args:    exactly(1, "preflight: which module? (see: wasmortem preflight --help)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.preflight(cmd.Context(), args[0], hosts, format, output)
		}}
	a.pageFlags(cmd, &format, &output, "sarif", "junit")
	cmd.Flags().StringArrayVar(&hosts, "host", nil, "envoy:VERSION, istio:VERSION or all (repeatable)")
	names := []string{"all"}
	for _, h := range host.Hosts() {
		names = append(names, strings.Replace(h.Name, " ", ":", 1))
	}
	_ = cmd.RegisterFlagCompletionFunc("host", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// parseHosts reads --host; all mistakes are told at once.
func parseHosts(list []string) ([]host.Host, error) {
	if len(list) == 0 {
		return nil, usage("preflight: on which proxy? Give --host envoy:1.36, --host istio:1.28 or --host all")
	}
	var out []host.Host
	var bad []string
	for _, text := range list {
		if text == "all" {
			out = append(out, host.Hosts()...)
			continue
		}
		h, err := host.ParseHost(text)
		if err != nil {
			bad = append(bad, err.Error())
			continue
		}
		out = append(out, h)
	}
	if len(bad) > 0 {
		return nil, usage("--host: %s", strings.Join(bad, "; "))
	}
	var distinct []host.Host
	for _, h := range out {
		if !slices.ContainsFunc(distinct, func(x host.Host) bool { return x.Name == h.Name }) {
			distinct = append(distinct, h)
		}
	}
	return distinct, nil
}

func (a *app) preflight(ctx context.Context, path string, names []string, format, output string) error {
	format, err := a.pageFormat("preflight", format, output, "sarif", "junit")
	if err != nil {
		return err
	}
	hosts, err := parseHosts(names)
	if err != nil {
		return err
	}
	if err := missing([]string{path}); err != nil {
		return err
	}
	if err := writable(output); err != nil {
		return err
	}
	r := &preflight.Report{Schema: preflight.Schema, Results: []preflight.Result{}, Warnings: []string{}}
	found, err := a.modulesIn(ctx, path, func(path, msg string) { r.Warnings = append(r.Warnings, path+": "+msg) })
	if err != nil {
		return unreadablePath(ctx, err)
	}
	for _, f := range found {
		m := preflight.New(f)
		for _, h := range hosts {
			r.Results = append(r.Results, m.On(h))
		}
	}
	for _, w := range r.Warnings {
		a.warn(w)
	}
	if len(r.Results) == 0 {
		return status{exitUnreadable, fmt.Errorf("there is no module in %s", path)}
	}
	v, _ := buildVersion()
	if err := a.write(output, func(w io.Writer) error { return reports.WritePreflight(w, r, format, v, a.reportOptions(output)) }); err != nil {
		return err
	}
	if !r.Loads() {
		return status{exitFound, nil}
	}
	return nil
}

// modulesIn finds the modules of a path, core dumps left out. A path that names one file is always answered, whatever it is.
func (a *app) modulesIn(ctx context.Context, path string, warn func(path, msg string)) ([]wasm.Found, error) {
	var found []wasm.Found
	err := archive.Walk(ctx, path, interruptible(ctx, a.in), archive.Default(), func(e archive.Entry) error {
		r := bufio.NewReaderSize(e.R, 512)
		head, _ := r.Peek(512)
		is := bytes.HasPrefix(head, []byte("\x00asm"))
		if !is && e.Path != path {
			return ctx.Err()
		}
		if !is {
			what := fmt.Errorf("%s", inspect.What(head))
			if len(head) == 0 {
				what = wasm.ErrEmpty
			}
			found = append(found, wasm.Found{Path: e.Path, Err: what})
			return ctx.Err()
		}
		data, err := io.ReadAll(io.LimitReader(r, wasm.MaxFile+1))
		if len(data) > wasm.MaxFile {
			warn(e.Path, fmt.Sprintf("larger than %d MiB: not read", wasm.MaxFile>>20))
			return nil
		}
		m, perr := wasm.Parse(data)
		if err != nil {
			warn(e.Path, err.Error())
			perr = fmt.Errorf("%w: %w", wasm.ErrTruncated, err)
		}
		if m == nil || !wasm.IsCoreDump(m) {
			found = append(found, wasm.Found{Path: e.Path, Module: m, Err: perr})
		}
		return ctx.Err()
	}, warn)
	return found, err
}
