package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/cmd/wasmortem/internal/serve"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/ingest/redact"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, state, api                    string
	teams, channels, users, watch, stores []string
	workers, perUser, waiting, files      int
	megabytes                             int64
	timeout, keep                         time.Duration
	rules, modules, binaries              []string
	redact                                redactFlags
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer requests for post-mortems in Slack",
		Long: `Runs a Slack app: mention it in a message with files, drop files into a watched channel, use the shortcut of a message or /postmortem, and the
post-mortem comes into the thread. Requests are kept in a journal before they are acknowledged: what was acknowledged is answered once,
also after a crash. docs/slack.md has the way there step by step, with the manifest of the app.

Secrets are read from the environment, or from files that it names (SLACK_BOT_TOKEN_FILE and so on):

  SLACK_BOT_TOKEN       the bot's token (xoxb-…)
  SLACK_APP_TOKEN       a token of the app (xapp-…) switches Socket Mode on: no port has to be reachable
  SLACK_SIGNING_SECRET  switches on what Slack sends over HTTP to /slack/events, /slack/commands and /slack/interactive

/healthz and /metrics (Prometheus) answer at --listen, without credentials: do not publish them.`,
		Example: `  wasmortem serve --watch C0123456789
  wasmortem serve --listen :8080 --allow-channel C0123456789 --module /srv/plugins
  wasmortem serve --store https://logs.example.com/bundles/`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8080", "address for Slack's deliveries, /healthz and /metrics")
	fl.StringVar(&f.state, "state", "", "folder for the journal and kept reports; one server each (default: $STATE_DIRECTORY, else wasmortem in the user's state folder)")
	fl.StringArrayVar(&f.teams, "allow-team", nil, "workspace (T…) that may ask (repeatable; default: the bot's own)")
	fl.StringArrayVar(&f.channels, "allow-channel", nil, "channel (C…) that may ask (repeatable; default: all the bot is in)")
	fl.StringArrayVar(&f.users, "allow-user", nil, "user (U…) who may ask (repeatable; default: all)")
	fl.StringArrayVar(&f.watch, "watch", nil, "channel (C…) in which every file is a request (repeatable)")
	fl.StringArrayVar(&f.stores, "store", nil, "https address below which files may be fetched when somebody gives a link, without credentials (repeatable)")
	fl.IntVar(&f.workers, "workers", 2, "requests to work on at once")
	fl.IntVar(&f.perUser, "per-user", 1, "of these, how many of one user")
	fl.IntVar(&f.waiting, "max-waiting", 1000, "requests that may wait; more are not acknowledged")
	fl.IntVar(&f.files, "max-files", 20, "files of one request")
	fl.Int64Var(&f.megabytes, "max-file", 1024, "size of one file in MB")
	fl.DurationVar(&f.timeout, "timeout", 15*time.Minute, "time for one analysis")
	fl.DurationVar(&f.keep, "keep", 30*24*time.Hour, "how long reports are kept, for the buttons below them")
	fl.StringArrayVar(&f.rules, "rules", nil, "rules file or folder to add (repeatable)")
	fl.StringArrayVar(&f.modules, "module", nil, "wasm module, or folder or archive with modules, for source lines of stacks (repeatable); matched by code, not by name")
	fl.StringArrayVar(&f.binaries, "binary", nil, "program, library or debug file, or folder of them, for ELF core dumps (repeatable); matched by build id")
	fl.StringVar(&f.api, "slack-api", "", "address of Slack's API, for tests")
	_ = fl.MarkHidden("slack-api")
	f.redact.add(cmd, "everything that leaves")
	f.redact.on = true
	fl.Lookup("redact").DefValue = "true"
	return cmd
}

func (a *app) serve(ctx context.Context, f serveFlags) error {
	c := serve.Config{API: f.api, State: f.state, Teams: f.teams, Channels: f.channels, Users: f.users, Watch: f.watch, Stores: f.stores,
		Workers: f.workers, PerUser: f.perUser, MaxWaiting: f.waiting, MaxFiles: f.files, MaxFile: f.megabytes << 20, Timeout: f.timeout, Keep: f.keep}
	for _, s := range []struct {
		name string
		to   *string
	}{{"SLACK_BOT_TOKEN", &c.BotToken}, {"SLACK_APP_TOKEN", &c.AppToken}, {"SLACK_SIGNING_SECRET", &c.SigningSecret}} {
		var err error
		file, _ := a.env(s.name + "_FILE")
		if *s.to, err = a.secret(file, s.name); err != nil {
			return err
		}
	}
	switch {
	case c.BotToken == "":
		return usage("serve: SLACK_BOT_TOKEN is not set (docs/slack.md says where to get it)")
	case c.AppToken == "" && c.SigningSecret == "":
		return usage("serve: set SLACK_APP_TOKEN for Socket Mode, or SLACK_SIGNING_SECRET for HTTP (docs/slack.md)")
	case f.workers < 1 || f.perUser < 1 || f.waiting < 1 || f.files < 1 || f.megabytes < 1:
		return usage("serve: --workers, --per-user, --max-waiting, --max-files and --max-file want numbers above 0")
	}
	for _, s := range f.stores {
		if !strings.HasPrefix(s, "https://") {
			return usage("--store %s: want an address that begins with https://", s)
		}
	}
	if c.State == "" {
		var err error
		if c.State, err = a.stateFolder(); err != nil {
			return err
		}
	}
	if err := missing(append(append([]string{}, f.modules...), f.binaries...)); err != nil {
		return err
	}
	o := analyze.Options{}
	var err error
	if o.Rules, err = a.loadRules(f.rules); err != nil {
		return err
	}
	o.Version, o.Commit = buildVersion()
	hide, err := f.redact.redactor()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	c.Log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.err, time.Now().UTC().Format(time.RFC3339)+" "+format+"\n", args...)
	}
	c.Analyze = func(ctx context.Context, paths []string, progress func(string)) (*analyze.Report, error) {
		return forSlack(ctx, paths, progress, o, f, hide)
	}
	s, err := serve.New(c)
	if err != nil {
		return status{exitUnreadable, err}
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return usage("--listen: %v", err)
	}
	c.Log("listening on %s", l.Addr())
	if hide == nil {
		c.Log("redaction is off: what logs hold of secrets goes to Slack")
	}
	if err := s.Run(ctx, l); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// forSlack makes the report of one request.
func forSlack(ctx context.Context, paths []string, progress func(string), o analyze.Options, f serveFlags, hide *redact.Redactor) (*analyze.Report, error) {
	o.Binaries = analyze.NewBinaries(o.Rules)
	var notes []string
	if err := o.Binaries.Open(ctx, f.modules, func(path, msg string) { notes = append(notes, filepath.Base(path)+": "+msg) }); err != nil {
		return nil, err
	}
	o.Binaries.Programs(f.binaries)
	files := 0
	corpus := ingest.Files(paths, ingest.Options{Binary: o.Binaries.Take, Progress: func(*ingest.Input) {
		files++
		progress(fmt.Sprintf("Reading… %d files so far.", files))
	}})
	r, err := analyze.Run(ctx, corpus, o)
	if ctx.Err() != nil || r == nil {
		return nil, err
	}
	r.Stats.Skipped = append(append(r.Stats.Skipped, corpus.Notes()...), notes...)
	if err != nil { // a path that could not be opened
		r.Stats.Skipped = append(r.Stats.Skipped, err.Error())
	}
	if hide != nil {
		r.Redact(hide.Again())
	}
	return r, nil
}

// stateFolder is where a server keeps its journal unless it is told: systemd's choice, else the user's.
func (a *app) stateFolder() (string, error) {
	if dir, _ := a.env("STATE_DIRECTORY"); dir != "" {
		return dir, nil
	}
	if dir, _ := a.env("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "wasmortem"), nil
	}
	if dir, _ := a.env("HOME"); dir != "" {
		return filepath.Join(dir, ".local", "state", "wasmortem"), nil
	}
	return "", usage("serve: give --state FOLDER")
}
