package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/rules"
)

// Exit statuses, as scripts rely on them.
const (
	exitDone        = 0   // done, whatever was found
	exitFound       = 1   // something at or above --fail-on
	exitUsage       = 2   // wrong command line, invalid rules or configuration
	exitUnreadable  = 3   // a path that does not exist, or nothing could be read
	exitInterrupted = 130 // Ctrl-C, after what was found so far was printed
)

// streams is where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// app is what commands share.
type app struct {
	streams
	env  func(string) (string, bool)
	conf *viper.Viper

	shipped *rules.Set // once loaded: help and completion of several commands need it as well
}

// status is an error that carries its exit status.
type status struct {
	code int
	err  error // nil: nothing to print
}

func (s status) Error() string {
	if s.err == nil {
		return fmt.Sprintf("exit %d", s.code)
	}
	return s.err.Error()
}

func (s status) Unwrap() error { return s.err }

func usage(format string, args ...any) error { return status{exitUsage, fmt.Errorf(format, args...)} }

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, s streams, env func(string) (string, bool)) int {
	a := &app{streams: s, env: env, conf: viper.New()}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	var st status
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &st):
		if st.err != nil {
			fmt.Fprintln(s.err, "wasmortem:", st.err)
		}
		return st.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.As(err, new(*fs.PathError)): // such as standard output on a full disk
		fmt.Fprintln(s.err, "wasmortem:", err)
		return exitUnreadable
	}
	fmt.Fprintln(s.err, "wasmortem:", err)
	fmt.Fprintln(s.err, "Try: wasmortem --help")
	return exitUsage
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "wasmortem",
		Short: "Post-mortem analysis of Envoy and Istio proxies whose wasm plugins fail",
		Long: `wasmortem reads what you pulled from a broken mesh - logs, kubectl output, archives, statistics, pod objects -
and says what failed first, why, how sure that is, and what to do.

  wasmortem analyze bug-report.tar.gz              the main job: incidents and runbooks
  kubectl logs POD -c istio-proxy | wasmortem analyze -
  wasmortem browse bug-report.tar.gz               the same, screen by screen on a terminal
  wasmortem ingest logs/ --case monday             keep them, to search and to analyse again
  wasmortem search 'panicked' --case monday        exact records, in order of time
  wasmortem symbolize --module plugin.wasm log     source lines of a backtrace
  wasmortem runbook missing-import                 what to do about a cause
  wasmortem preflight plugin.wasm --host all       would these proxies load it, what would one see if it failed
  wasmortem inspect plugin.wasm                    what a module or a core dump is and tells
  wasmortem collect --namespace shop               a script that collects what a post-mortem needs

Every flag can be set in the environment (WASMORTEM_FORMAT=json) or in a configuration file (--config).`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.PersistentFlags().String("config", "", "configuration file (YAML, TOML or JSON); default: wasmortem.yaml in the user's configuration folder, if there")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.configure(cmd) }
	v, c := buildVersion()
	root.Version = strings.TrimSpace(v + " " + c)
	root.SetVersionTemplate("wasmortem {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text, _, _ := strings.Cut(err.Error(), ": strconv.") // nobody needs to know how we read numbers
		return usage("%s (see: %s --help)", text, cmd.CommandPath())
	})
	for _, c := range []*cobra.Command{
		a.analyzeCommand(), a.browseCommand(), a.ingestCommand(), a.searchCommand(), a.timelineCommand(),
		a.symbolizeCommand(), a.replayCommand(),
		a.inspectCommand(), a.preflightCommand(),
		a.rulesCommand(), a.runbookCommand(),
		a.collectCommand(), a.serveCommand(),
		a.compareCommand(),
		a.versionCommand(),
	} {
		root.AddCommand(c)
	}
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			c.Args = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage("completion: no shell %q (want bash, zsh, fish or powershell)", args[0])
				}
				return nil
			}
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// values is the annotation of a flag that lists what it may be. A value from the environment or the configuration file that a command
// does not know is no mistake: `format: table` is meant for those that have tables.
const values = "values"

// known reports whether some command has a flag of this name.
func known(cmd *cobra.Command, name string) bool {
	if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
		return true
	}
	for _, c := range cmd.Commands() {
		if known(c, name) {
			return true
		}
	}
	return false
}

// configure lets environment and configuration file stand in for flags that were not given. Flags win, then the environment.
func (a *app) configure(cmd *cobra.Command) error {
	v := a.conf
	v.SetEnvPrefix("WASMORTEM")
	v.SetEnvKeyReplacer(strings.NewReplacer("-", "_"))
	v.AutomaticEnv()
	file, _ := cmd.Flags().GetString("config")
	if file == "" {
		file = v.GetString("config")
	}
	if file != "" {
		v.SetConfigFile(file)
		if err := v.ReadInConfig(); err != nil {
			return usage("reading configuration %s: %v", file, err)
		}
	} else if dir, err := os.UserConfigDir(); err == nil {
		v.SetConfigFile(filepath.Join(dir, "wasmortem", "wasmortem.yaml"))
		if err := v.ReadInConfig(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return usage("reading configuration %s: %v", v.ConfigFileUsed(), err)
		}
	}
	for _, key := range v.AllKeys() {
		if !known(cmd.Root(), key) {
			return usage("configuration %s: there is no flag %q", v.ConfigFileUsed(), key)
		}
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if list := f.Annotations[values]; list != nil && !slices.Contains(list, v.GetString(f.Name)) && !writesReports(cmd) {
			return
		}
		if f.Changed || f.Name == "help" || f.Name == "config" || !v.IsSet(f.Name) || failed != nil {
			return
		}
		val := v.GetString(f.Name)
		if s, ok := f.Value.(pflag.SliceValue); ok {
			if err := s.Replace(v.GetStringSlice(f.Name)); err != nil {
				failed = usage("setting %s: %v", f.Name, err)
			}
			return
		}
		if err := cmd.Flags().Set(f.Name, val); err != nil {
			failed = usage("setting %s to %q from environment or configuration: %v", f.Name, val, err)
		}
	})
	return failed
}

// writesReports reports whether a command writes reports: there, an unknown format is a mistake wherever it comes from.
func writesReports(cmd *cobra.Command) bool {
	return cmd.Name() == "analyze" || cmd.Name() == "runbook" || cmd.Name() == "compare" || cmd.Name() == "symbolize"
}

// formatFlag adds --format to a command that has only text and JSON.
func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "text", "text or json")
	_ = cmd.Flags().SetAnnotation("format", values, []string{"text", "json"})
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// textOrJSON writes a result in one of the two formats that every command has.
func (a *app) textOrJSON(format string, v any, text func() error) error {
	switch format {
	case "json":
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "text":
		return text()
	}
	return usage("unknown format %q (want text or json)", format)
}

// loadRules compiles the shipped rules and those that --rules adds.
func (a *app) loadRules(paths []string) (*rules.Set, error) {
	if len(paths) == 0 && a.shipped != nil {
		return a.shipped, nil
	}
	files := []rules.File{{Name: "rules.yaml", Data: wasmortem.Rules}}
	for _, p := range paths {
		more, err := ruleFiles(p)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	set, err := rules.Load(files...)
	if err != nil {
		return nil, usage("the rules have mistakes:\n%v", err)
	}
	if len(paths) == 0 {
		a.shipped = set
	}
	return set, nil
}

// loadDictionaries gives a set that tells traps and frames apart and has no rules, unless --rules adds some. It takes a tenth of the time.
func (a *app) loadDictionaries(paths []string) (*rules.Set, error) {
	head, _, cut := bytes.Cut(wasmortem.Rules, []byte("\ncauses:"))
	if len(paths) > 0 || a.shipped != nil || !cut {
		return a.loadRules(paths)
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: head})
	if err != nil {
		return nil, usage("the rules have mistakes:\n%v", err)
	}
	return set, nil
}

// ruleFiles reads one rules file, or all *.yaml of a folder.
func ruleFiles(path string) ([]rules.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, status{exitUnreadable, fmt.Errorf("reading rules: %w", err)}
	}
	names := []string{path}
	if info.IsDir() {
		names, _ = filepath.Glob(filepath.Join(path, "*.y*ml"))
		if len(names) == 0 {
			return nil, usage("reading rules: no *.yaml in folder %s", path)
		}
	}
	var files []rules.File
	for _, n := range names {
		info, err := os.Stat(n)
		if err == nil && info.Size() > rules.MaxFile {
			return nil, usage("reading rules: %s is larger than %d MiB", n, rules.MaxFile>>20)
		}
		data, err := os.ReadFile(n)
		if err != nil {
			return nil, status{exitUnreadable, fmt.Errorf("reading rules: %w", err)}
		}
		files = append(files, rules.File{Name: n, Data: data})
	}
	return files, nil
}

// version and commit are stamped by the release build (-ldflags "-X main.version=…"); otherwise Go's build information tells.
var version, commit string

func buildVersion() (v, c string) {
	v, c = version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && c == "" {
				c = s.Value
			}
		}
	}
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	return v, c
}
