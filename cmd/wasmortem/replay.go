package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/analyze/replay"
	"github.com/wasmortem/wasmortem/analyze/symbolize"
	"github.com/wasmortem/wasmortem/ingest/archive"
	"github.com/wasmortem/wasmortem/ingest/wasm"
	"github.com/wasmortem/wasmortem/reports/escape"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	pluginConfig, vmConfig, body, scenario, from, incident, coredump, format, envoy string
	headers, responseHeaders, modules, rules                                        []string
	minimize                                                                        bool
}

func (a *app) replayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay MODULE",
		Short: "Run a plugin offline until it fails as recorded",
		Long: `Runs a proxy-wasm module under a stub of Envoy: the same callbacks in the same order, the same status for each host call in each callback, and
shows the plugin's log, how it ended, the whole stack with source lines, and whether that is the failure of the report (--from) or of the
scenario (expect). Nothing of the plugin touches this machine: it sees no file, no network and no real clock, and is ended when it hangs.

docs/replay.md explains scenario files.

Exit status: 0 it failed as recorded (without a record: it failed at all); 1 it did not, or in another way; 2 wrong command line or scenario;
3 a file that does not exist or is no module.`,
		Example: `  wasmortem replay plugin.wasm --plugin-config @config.json --header ':path: /checkout' --header 'authorization: x'
  wasmortem analyze istio-proxy.log --format json | wasmortem replay plugin.wasm --from - --plugin-config @config.json
  wasmortem replay plugin.wasm --scenario failure.yaml --minimize
  wasmortem replay plugin.wasm --scenario failure.yaml --coredump plugin.core`,
		Args: exactly(1, "replay: which module? (see: wasmortem replay --help)"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.replay(cmd, args[0], f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.pluginConfig, "plugin-config", "", "the plugin's configuration: TEXT, or @FILE")
	fl.StringVar(&f.vmConfig, "vm-config", "", "the VM's configuration: TEXT, or @FILE")
	fl.StringArrayVar(&f.headers, "header", nil, "a header of the request, 'NAME: VALUE' (repeatable; :path and the like too)")
	fl.StringArrayVar(&f.responseHeaders, "response-header", nil, "a header of the upstream's response, 'NAME: VALUE' (repeatable)")
	fl.StringVar(&f.body, "body", "", "the body of the request: TEXT, or @FILE")
	fl.StringVar(&f.scenario, "scenario", "", "a scenario file, docs/replay.md; the other flags change its last request")
	fl.StringVar(&f.from, "from", "", "a report of analyze --format json, whose failure is to be reproduced (- for standard input)")
	fl.StringVar(&f.incident, "incident", "", "which incident of the report, by the beginning of its id (default: the first that can be replayed)")
	fl.StringVar(&f.envoy, "envoy", "", "the Envoy to imitate (default: of the report, or "+replay.DefaultEnvoy+")")
	fl.BoolVar(&f.minimize, "minimize", false, "reduce requests and configuration to what still fails, and print the scenario")
	fl.StringVar(&f.coredump, "coredump", "", "write a wasm core dump of the failed instance to this file")
	fl.StringArrayVar(&f.modules, "module", nil, "other builds of the module with debug information, matched by code (file or folder, repeatable)")
	fl.StringArrayVar(&f.rules, "rules", nil, "rules file or folder to add (repeatable)")
	formatFlag(cmd, &f.format)
	return cmd
}

func (a *app) replay(cmd *cobra.Command, path string, f replayFlags) error {
	ctx := cmd.Context()
	sc, notes, err := a.replayScenario(cmd, f)
	if err != nil {
		return err
	}
	set, err := a.loadRules(f.rules)
	if err != nil {
		return err
	}
	if err := missing(append([]string{path}, f.modules...)); err != nil {
		return err
	}
	if err := writable(f.coredump); err != nil {
		return err
	}
	found, err := a.oneModule(ctx, path)
	if err != nil {
		return err
	}
	sym, err := symbolize.Open(ctx, set, f.modules, func(path, msg string) { fmt.Fprintf(a.err, "wasmortem: %s: %s\n", escape.Line(path), escape.Line(msg)) })
	if err != nil {
		return status{exitUnreadable, err}
	}
	x, err := replay.Open(set, found.Path, found.Module, sym)
	if err != nil {
		return status{exitUnreadable, err}
	}
	defer x.Close()
	for _, n := range notes {
		fmt.Fprintln(a.err, "wasmortem:", escape.Line(n))
	}
	if f.minimize {
		small, trials, err := x.Minimize(ctx, sc)
		if err != nil {
			return replayError(ctx, err, exitFound)
		}
		fmt.Fprintf(a.err, "wasmortem: reduced in %d replays\n", trials)
		sc = small
	}
	res, err := x.Run(ctx, sc, f.coredump != "")
	if err != nil {
		return replayError(ctx, err, exitUnreadable)
	}
	if f.coredump != "" && res.CoreDump() != nil {
		if err := os.WriteFile(f.coredump, res.CoreDump(), 0o600); err != nil {
			return status{exitUnreadable, fmt.Errorf("writing the core dump: %w", err)}
		}
	} else if f.coredump != "" {
		fmt.Fprintln(a.err, "wasmortem: no core dump: no instance failed")
	}
	out := struct {
		*replay.Result
		Scenario *replay.Scenario `json:"scenario"`
	}{res, sc}
	if err := a.textOrJSON(f.format, out, func() error { return a.printReplay(res, sc, f) }); err != nil {
		return err
	}
	if !res.Verdict.Good() {
		return status{exitFound, nil}
	}
	return nil
}

func replayError(ctx context.Context, err error, code int) error {
	if ctx.Err() != nil {
		return status{exitInterrupted, nil}
	}
	return status{code, err}
}

// oneModule reads the module, also out of an archive.
func (a *app) oneModule(ctx context.Context, path string) (wasm.Found, error) {
	var all []wasm.Found
	err := wasm.Find(ctx, []string{path}, archive.Default(), func(f wasm.Found) error {
		if f.Module != nil && wasm.IsCoreDump(f.Module) {
			return nil
		}
		all = append(all, f)
		return nil
	}, func(path, msg string) { fmt.Fprintf(a.err, "wasmortem: %s: %s\n", escape.Line(path), escape.Line(msg)) })
	switch {
	case err != nil:
		return wasm.Found{}, status{exitUnreadable, err}
	case len(all) == 0:
		return wasm.Found{}, status{exitUnreadable, fmt.Errorf("%s is no wasm module, and holds none", path)}
	case len(all) > 1:
		var names []string
		for _, f := range all[:min(len(all), 10)] {
			names = append(names, escape.Line(f.Path))
		}
		return wasm.Found{}, usage("replay: %s holds %d modules; unpack the one that failed: %s", path, len(all), strings.Join(names, ", "))
	case all[0].Module == nil || errors.Is(all[0].Err, wasm.ErrTruncated):
		return wasm.Found{}, status{exitUnreadable, fmt.Errorf("reading %s: %w", escape.Line(all[0].Path), all[0].Err)}
	}
	return all[0], nil
}

// replayScenario puts together what the file, the report and the flags say; flags win.
func (a *app) replayScenario(cmd *cobra.Command, f replayFlags) (sc *replay.Scenario, notes []string, err error) {
	sc = &replay.Scenario{}
	if f.scenario != "" {
		data, err := a.readInput(f.scenario, replay.MaxScenario)
		if err != nil {
			return nil, nil, status{exitUnreadable, fmt.Errorf("reading the scenario: %w", err)}
		}
		if sc, err = replay.ParseScenario(data); err != nil {
			return nil, nil, usage("scenario %s: %v", f.scenario, err)
		}
	}
	for _, t := range []struct {
		flag, value string
		to          *string
	}{{"plugin-config", f.pluginConfig, &sc.PluginConfig}, {"vm-config", f.vmConfig, &sc.VMConfig}, {"envoy", f.envoy, &sc.Envoy}} {
		if !cmd.Flags().Changed(t.flag) {
			continue
		}
		if *t.to, err = a.textOrFile(t.flag, t.value); err != nil {
			return nil, nil, err
		}
	}
	if f.from != "" {
		if notes, err = a.fromReport(f.from, f.incident, sc); err != nil {
			return nil, nil, err
		}
	}
	headers, err := parseHeaders("--header", f.headers)
	if err != nil {
		return nil, nil, err
	}
	response, err := parseHeaders("--response-header", f.responseHeaders)
	if err != nil {
		return nil, nil, err
	}
	if len(headers)+len(response) > 0 || cmd.Flags().Changed("body") {
		if len(sc.Requests) == 0 {
			sc.Requests = []replay.Request{{}}
		}
		last := &sc.Requests[len(sc.Requests)-1]
		last.Headers, last.Response.Headers = replaced(last.Headers, headers), replaced(last.Response.Headers, response)
		if cmd.Flags().Changed("body") {
			text, err := a.textOrFile("body", f.body)
			if err != nil {
				return nil, nil, err
			}
			last.Body = replay.Body(text)
		}
	}
	if err := sc.Check(); err != nil {
		return nil, nil, usage("%v", err)
	}
	return sc, notes, nil
}

func parseHeaders(flag string, list []string) (replay.Headers, error) {
	var out replay.Headers
	for _, text := range list {
		h, err := replay.ParseHeader(text)
		if err != nil {
			return nil, usage("%s: %v", flag, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// replaced takes new headers in place of old ones of the same name.
func replaced(old, more replay.Headers) replay.Headers {
	var out replay.Headers
	for _, h := range old {
		keep := true
		for _, n := range more {
			keep = keep && n.Name != h.Name
		}
		if keep {
			out = append(out, h)
		}
	}
	return append(out, more...)
}

func (a *app) fromReport(path, incident string, sc *replay.Scenario) ([]string, error) {
	data, err := a.readInput(path, 256<<20)
	if err != nil {
		return nil, status{exitUnreadable, fmt.Errorf("reading the report: %w", err)}
	}
	var r analyze.Report
	if err := json.Unmarshal(data, &r); err != nil || r.Schema != analyze.Schema {
		return nil, usage("--from %s: no report of wasmortem analyze --format json", path)
	}
	notes, err := replay.FromReport(&r, incident, sc)
	if err != nil {
		return nil, usage("--from %s: %v", path, err)
	}
	return notes, nil
}

// textOrFile is the value of a flag: itself, or what the file after an @ holds.
func (a *app) textOrFile(flag, value string) (string, error) {
	name, file := strings.CutPrefix(value, "@")
	if !file {
		return value, nil
	}
	data, err := a.readInput(name, 64<<20)
	if err != nil {
		return "", status{exitUnreadable, fmt.Errorf("--%s: %w", flag, err)}
	}
	return string(data), nil
}

// readInput reads a file, or standard input for -.
func (a *app) readInput(path string, limit int64) ([]byte, error) {
	in := a.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, limit>>20)
	}
	return data, err
}

// shownLines and shownFrames bound what the text shows; JSON has everything.
const (
	shownLines  = 40
	shownFrames = 60
)

func (a *app) printReplay(r *replay.Result, sc *replay.Scenario, f replayFlags) error {
	w := &strings.Builder{}
	abi := "no proxy-wasm version"
	if r.ABI != "" {
		abi = "proxy-wasm " + escape.Line(r.ABI)
	}
	fmt.Fprintf(w, "replay of %s (%s, as under Envoy %s)\n", escape.Line(r.Module), abi, escape.Line(r.Envoy))
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", escape.Line(warning))
	}
	printReplayLog(w, r)
	printReplayFailure(w, r)
	if f.minimize {
		data, err := sc.YAML()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\nsmallest scenario that still fails so:\n%s", escape.Text(string(data)))
	}
	fmt.Fprintf(w, "\nverdict: %s\n", r.Verdict)
	for _, reason := range r.Reasons {
		fmt.Fprintf(w, "  %s\n", escape.Line(reason))
	}
	if f.coredump != "" && r.CoreDump() != nil {
		fmt.Fprintf(w, "core dump: %s\n", escape.Line(f.coredump))
	}
	_, err := io.WriteString(a.out, w.String())
	return err
}

func printReplayLog(w io.Writer, r *replay.Result) {
	if len(r.Log) == 0 {
		return
	}
	fmt.Fprintf(w, "\nlog:\n")
	log := r.Log
	if hidden := int64(len(log)-shownLines) + r.LogDropped; hidden > 0 {
		fmt.Fprintf(w, "  … %d lines before\n", hidden)
		log = log[max(len(log)-shownLines, 0):]
	}
	for _, l := range log {
		who := ""
		if l.Source != "plugin" {
			who = " (" + l.Source + ")"
		}
		fmt.Fprintf(w, "  [%s]%s %s\n", l.Level, who, escape.Line(l.Text))
	}
}

func printReplayFailure(w io.Writer, r *replay.Result) {
	for _, s := range r.Stuck {
		fmt.Fprintf(w, "\nstuck: %s\n", escape.Line(s))
	}
	f := r.Failure
	if f == nil {
		fmt.Fprintf(w, "\nnothing failed: %d callbacks, %d host calls\n", r.CallbackAll, r.HostCallAll)
		return
	}
	where := "while the plugin was loaded"
	if f.Callback != "" {
		where = "in " + escape.Line(f.Callback)
	}
	fmt.Fprintf(w, "\n%s %s: %s\n", f.Kind, where, escape.Line(f.Text))
	if f.Message != "" {
		fmt.Fprintf(w, "  %s\n", escape.Line(f.Message))
	}
	if f.Location != "" {
		fmt.Fprintf(w, "  at %s\n", escape.Line(f.Location))
	}
	if len(r.HostCalls) > 0 {
		last := r.HostCalls[len(r.HostCalls)-1]
		fmt.Fprintf(w, "  last host call: %s%v → %d (%s)\n", escape.Line(last.Call), last.Arguments, last.Result, escape.Line(last.Phase))
	}
	if r.Stack == nil {
		return
	}
	fmt.Fprintf(w, "\nstack:\n")
	for i, frame := range r.Stack.Frames {
		if i == shownFrames {
			fmt.Fprintf(w, "  … %d more\n", len(r.Stack.Frames)-i)
			break
		}
		printReplayFrame(w, &frame)
	}
	if f.Cut {
		fmt.Fprintf(w, "  … the engine tells no more than %d frames\n", f.Frames)
	}
}

func printReplayFrame(w io.Writer, frame *symbolize.Frame) {
	number := fmt.Sprintf("%3d %9s", frame.Index, frame.Offset)
	if frame.Inlined {
		number = strings.Repeat(" ", 7) + "inline"
	}
	place := ""
	if at := frame.Location(); at != "" {
		place = "  " + escape.Line(at)
	}
	fmt.Fprintf(w, "  %s  %-7s %s%s\n", number, frame.Kind, escape.Line(frame.Function), place)
}
