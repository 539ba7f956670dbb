package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) collectCommand() *cobra.Command {
	var namespace, selector, output, format string
	cmd := &cobra.Command{Use: "collect", Short: "Print a script that collects what a post-mortem needs",
		Long: `Prints a shell script and never runs it: read it, then run it where kubectl works. It only reads from the cluster:
current and previous logs, statistics, configuration dump, pod objects, events, plugin objects.`,
		Example: "  wasmortem collect --namespace shop --selector app=checkout > collect.sh\n  less collect.sh && sh collect.sh",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return a.collect(namespace, selector, output, format) }}
	formatFlag(cmd, &format)
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "namespace of the proxies")
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector of the pods, such as app=checkout (default: all pods of the namespace)")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this file instead of standard output")
	return cmd
}

var (
	namespaceName = regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$`)
	selectorText  = regexp.MustCompile(`^[A-Za-z0-9._/,=!() -]*$`)
)

func (a *app) collect(namespace, selector, output, format string) error {
	if !namespaceName.MatchString(namespace) {
		return usage("collect: %q is no name of a namespace", namespace)
	}
	if !selectorText.MatchString(selector) {
		return usage("collect: %q is no label selector", selector)
	}
	set, err := a.loadRules(nil)
	if err != nil {
		return err
	}
	type piece struct {
		ID      string `json:"id"`
		Title   string `json:"title"`
		Command string `json:"command"`
	}
	var pieces []piece
	fill := strings.NewReplacer("{namespace}", namespace, "{selector}", selector)
	for _, c := range set.Collect {
		pieces = append(pieces, piece{c.ID, c.Title, fill.Replace(c.Command)})
	}
	return a.write(output, func(w io.Writer) error {
		b := &app{streams: streams{out: w}}
		return b.textOrJSON(format, pieces, func() error {
			fmt.Fprintf(w, "#!/bin/sh\n# Collects what a post-mortem of wasm plugins needs. Made by wasmortem; read it before you run it.\n# It only reads from the cluster, and writes into one new folder here.\nset -u\n")
			for _, c := range pieces {
				if _, err := fmt.Fprintf(w, "\n# %s\n%s\n", c.Title, strings.TrimRight(c.Command, "\n")); err != nil {
					return err
				}
			}
			return nil
		})
	})
}
