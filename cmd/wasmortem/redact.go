package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/wasmortem/wasmortem/ingest/redact"
)

// redactFlags are the flags of commands that show or keep what stands in logs.
type redactFlags struct {
	on       bool
	key      string
	patterns []string
}

func (f *redactFlags) add(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&f.on, "redact", false, "take secrets and personal data out of "+what+": keys, tokens, Authorization, cookies, passwords, e-mail and IP addresses")
	cmd.Flags().StringVar(&f.key, "redact-key", "", "with it, equal values have equal tokens in several runs; better given as WASMORTEM_REDACT_KEY (default: a random one for each run)")
	cmd.Flags().StringArrayVar(&f.patterns, "redact-pattern", nil, "KIND=REGEXP: also take out what the first group matches, or all of it (repeatable)")
}

// redactor is nil when nothing is to be taken out.
func (f *redactFlags) redactor() (*redact.Redactor, error) {
	var patterns []redact.Pattern
	for _, s := range f.patterns {
		p, err := redact.ParsePattern(s)
		if err != nil {
			return nil, usage("--redact-pattern: %v", err)
		}
		patterns = append(patterns, p)
	}
	if !f.on {
		return nil, nil
	}
	return redact.New([]byte(f.key), patterns...)
}

// stream is what ingest.Options.Redact wants.
func stream(x *redact.Redactor) func(io.Reader) io.Reader {
	if x == nil {
		return nil
	}
	return x.Reader
}

// tellRedacted says on stderr how much was taken out.
func (a *app) tellRedacted(x *redact.Redactor) {
	if x == nil {
		return
	}
	total := int64(0)
	text := ""
	for _, c := range x.Counts() {
		total += c.Count
		text += fmt.Sprintf(", %d %s (%d different)", c.Count, c.Kind, c.Distinct)
	}
	if total == 0 {
		fmt.Fprintln(a.err, "wasmortem: redacted nothing: nothing that looks like a secret was found")
		return
	}
	fmt.Fprintf(a.err, "wasmortem: redacted %s\n", text[2:])
}
