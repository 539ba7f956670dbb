// Package browse lets a person on a terminal leaf through a report: from the incidents to one of them, from its evidence to the lines around
// it, to its runbook.
//
// [New] makes a [Model] of a report; keys and sizes go into its Update, screens come out of its View, and nothing else happens: the package
// opens no file and knows no flags. What it shows is laid out and escaped by package reports; the only thing that it sends to the terminal
// besides is a text for the clipboard, which is the escaped one, so nobody pastes what was not seen. [Run] puts a model on a terminal.
// It is the only place that knows bubbletea.
package browse

import (
	"context"
	"errors"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"

	"github.com/wasmortem/wasmortem/analyze"
)

// Options say how a report is shown.
type Options struct {
	Title string // what the report is about, for the first line
	Color bool   // without it, no attribute at all is used
	// Page reads lines around a record: raw physical ones, and the number of the first. It is called on a goroutine of its own, and its context
	// ends when the reader has gone elsewhere. nil: there is no more than the report keeps.
	Page func(ctx context.Context, e *analyze.Evidence) (first int64, lines []string, err error)
}

// ErrInterrupted says that the reader pressed Ctrl-C, where q would have been a regular end.
var ErrInterrupted = errors.New("interrupted")

// Run shows a model on a terminal until the reader has seen enough or ctx ends. Keys come from in, which has to be a terminal too. Whatever
// happens, the terminal is left as it was found.
func Run(ctx context.Context, m *Model, in, out *os.File, environ []string) error {
	p := tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithEnvironment(environ), tea.WithoutSignalHandler())
	_, err := p.Run()
	m.leave()
	switch {
	case m.interrupted, ctx.Err() != nil:
		return ErrInterrupted
	case err != nil:
		return fmt.Errorf("showing the report on the terminal: %w", err)
	}
	return nil
}
