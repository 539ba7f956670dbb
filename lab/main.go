// The crash lab: real Envoys, real plugins, one failure each.
//
//	go run ./lab list
//	go run ./lab run [-scenario ID,ID] [-version V,V] [-dialect D,D] [-missing] [-dry]
//	go run ./lab fixes
//	go run ./lab measure
//	go run ./lab probe [-version V,V]
//	go run ./lab check [-version V]
//
// See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		if s := (skipped{}); errors.As(err, &s) {
			os.Exit(77)
		}
		os.Exit(1)
	}
}

func command(args []string) error {
	if len(args) == 0 {
		args = []string{"help"}
	}
	f := flag.NewFlagSet("lab", flag.ContinueOnError)
	scenario := f.String("scenario", "", "only these `ids`, separated by commas; a trailing * matches the rest")
	version := f.String("version", "", "only these Envoy `versions`")
	dialect := f.String("dialect", "", "only these `dialects` (default: default everywhere, all on the reference version)")
	dry := f.Bool("dry", false, "run, but record nothing")
	missing := f.Bool("missing", false, "only what has no recording yet")
	keep := f.Bool("keep", false, "keep the folders of runs that went well, too")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	l, err := newLab()
	if err != nil {
		return err
	}
	switch args[0] {
	case "list":
		return l.list(split(*scenario))
	case "run":
		return l.runAll(plan{scenarios: split(*scenario), versions: split(*version), dialects: split(*dialect), dry: *dry, keep: *keep, missing: *missing})
	case "fixes":
		return l.fixes()
	case "measure":
		return l.measure()
	case "probe":
		return l.probe(split(*version))
	case "check":
		return l.check(split(*version))
	}
	return fmt.Errorf("usage: lab list|run|fixes|measure|probe|check [flags]; see lab/README.md")
}

// newLab finds the repository by its go.mod and the cache by the environment.
func newLab() (*lab, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for ; ; root = filepath.Dir(root) {
		if _, err := os.Stat(filepath.Join(root, "lab", "scenarios.yaml")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return nil, fmt.Errorf("run me inside the repository")
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "lab")
	m, err := loadMatrix(dir)
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "wasmortem-lab")
	return &lab{Matrix: m, dir: dir, cache: cache, envoys: &envoys{cache: cache},
		build: &builder{dir: dir, cache: cache, modules: m.Modules, failed: map[string]error{}}}, nil
}

func (l *lab) recordings() string { return filepath.Join(filepath.Dir(l.dir), "testdata", "lab") }

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (l *lab) list(only []string) error {
	for i := range l.Scenarios {
		if s := &l.Scenarios[i]; chosen(only, s.ID) {
			fmt.Printf("%-28s %-24s %-34s %s\n", s.ID, strings.Join(s.Accept, "|"), strings.Join(s.versions(l.Matrix), " "), s.Title)
		}
	}
	return nil
}

func chosen(only []string, name string) bool {
	return len(only) == 0 || slices.ContainsFunc(only, func(o string) bool {
		prefix, all := strings.CutSuffix(o, "*")
		return o == name || all && strings.HasPrefix(name, prefix)
	})
}

// plan is what one `lab run` does.
type plan struct {
	scenarios, versions, dialects []string
	dry, keep, missing            bool
}

type job struct {
	scenario *Scenario
	version  string
	dialect  Dialect
}

func (l *lab) jobs(p plan) []job {
	var jobs []job
	for i := range l.Scenarios {
		s := &l.Scenarios[i]
		if !chosen(p.scenarios, s.ID) {
			continue
		}
		versions := s.versions(l.Matrix)
		for _, v := range versions {
			// Every dialect on the reference version; a scenario that is not for that one has them on its last.
			reference := v == l.Reference || !slices.Contains(versions, l.Reference) && v == versions[len(versions)-1]
			for _, d := range l.Dialects {
				byDefault := d.Name == "default" || reference
				if chosen(p.versions, v) && (p.dialects == nil && byDefault || p.dialects != nil && chosen(p.dialects, d.Name)) {
					jobs = append(jobs, job{s, v, d})
				}
			}
		}
	}
	return jobs
}

// maxEnvoys run at once.
const maxEnvoys = 2

// runAll runs every job of the plan and tells at the end what went wrong, with the place of each log.
func (l *lab) runAll(p plan) error {
	begin := time.Now()
	index, err := loadIndex(l.recordings())
	if err != nil {
		return err
	}
	r := &recorder{dir: l.recordings(), cache: l.cache, index: index}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	jobs := l.jobs(p)
	if p.missing {
		jobs = slices.DeleteFunc(jobs, func(j job) bool { return index.find(j.scenario.ID, j.version, j.dialect.Name) != nil })
	}
	if err := l.buildAll(jobs); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Printf("plugins ready after %s, %d runs\n", time.Since(begin).Round(time.Second), len(jobs))
	var mu sync.Mutex
	var failed []string
	queue := make(chan job)
	var wg sync.WaitGroup
	for range maxEnvoys {
		wg.Go(func() {
			for j := range queue {
				note, bad := l.one(r, j, p)
				mu.Lock()
				fmt.Println(note)
				if bad {
					failed = append(failed, note)
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	wg.Wait()
	if !p.dry {
		r.relabel(l.Matrix)
		if err := r.prune(l.Matrix); err != nil {
			return err
		}
	}
	fmt.Printf("%d runs in %s, %d not as wanted\n", len(jobs), time.Since(begin).Round(time.Second), len(failed))
	if len(failed) > 0 {
		return fmt.Errorf("not as wanted:\n  %s", strings.Join(failed, "\n  "))
	}
	return nil
}

func (l *lab) buildAll(jobs []job) error {
	for _, j := range jobs {
		if _, err := l.envoys.binary(j.version); err != nil {
			return err
		}
		for _, name := range j.scenario.modules() {
			if _, err := l.build.module(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// one runs a job. A run that is not as wanted is not recorded; its folder stays for reading.
func (l *lab) one(r *recorder, j job, p plan) (note string, bad bool) {
	begin := time.Now()
	name := fmt.Sprintf("%s/%s.%s", j.version, j.scenario.ID, j.dialect.Name)
	o, err := l.run(j.scenario, j.version, j.dialect)
	if err != nil {
		return fmt.Sprintf("%-52s ERROR %v", name, err), true
	}
	if why := o.differs(j.scenario, j.dialect); why != "" {
		return fmt.Sprintf("%-52s WRONG %s (%s)", name, why, o.log), true
	}
	if !p.dry {
		if err := r.record(j.scenario, j.version, j.dialect, o); err != nil {
			return fmt.Sprintf("%-52s ERROR %v", name, err), true
		}
	}
	if !p.keep {
		_ = os.RemoveAll(o.site.dir)
	}
	return fmt.Sprintf("%-52s ok    %s exit %d %.1fs", name, strings.Join(o.codes, " "), o.exit, time.Since(begin).Seconds()), false
}
