package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Fix is an entry of fixes.yaml: one step of a runbook, and how it was put to the test. Exactly one of After, Toolchain, Validate,
// Measured and Probed is set.
type Fix struct {
	Causes []string `yaml:"causes,flow"` // ids of rules.yaml; shared:ID is an entry of its shared_steps
	Step   string   `yaml:"step"`        // the title there
	Origin string   `yaml:"origin"`      // guide | ours
	Status string   `yaml:"status"`      // what the test shows when it goes as described: verified | disproved
	Before string   `yaml:"before"`      // scenario without the step; may be empty
	After  string   `yaml:"after"`       // scenario with it
	// Toolchain runs a program over a few files.
	Toolchain *Check `yaml:"toolchain"`
	// Validate runs `envoy --mode validate` on the configurations of two scenarios.
	Validate *struct {
		Refuses string `yaml:"refuses"`
		Accepts string `yaml:"accepts"`
	} `yaml:"validate"`
	// Measured compares two configurations of measured.yaml: Less makes fewer VMs and takes no more memory than Than, on every version.
	Measured *struct {
		Less string `yaml:"less"` // "what, concurrency N"
		Than string `yaml:"than"`
	} `yaml:"measured"`
	// Probed compares two calls of probed.yaml in one callback: the one is refused, the other answered, on every version.
	Probed *struct {
		In       string `yaml:"in"`
		Refused  string `yaml:"refused"`
		Answered string `yaml:"answered"`
	} `yaml:"probed"`
	Note string `yaml:"note"` // what was and was not tested, or what must be added
}

// Untried is an entry of untried.yaml: a step without a test, and why.
type Untried struct {
	Cause string `yaml:"cause"`
	Step  string `yaml:"step"`
	Why   string `yaml:"why"`
}

func loadUntried(dir string) ([]Untried, error) {
	data, err := os.ReadFile(filepath.Join(dir, "untried.yaml"))
	if err != nil {
		return nil, err
	}
	var list []Untried
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	err = d.Decode(&list)
	return list, err
}

// Check is a program and what must come of it.
type Check struct {
	Copy  string            `yaml:"copy"` // folder under plugins to start from
	Files map[string]string `yaml:"files"`
	Run   []string          `yaml:"run"`
	Env   map[string]string `yaml:"env"`
	Fails bool              `yaml:"fails"`
	Says  string            `yaml:"says"` // a line of its output, as a regular expression
}

// Verified is an entry of verified.yaml.
type Verified struct {
	Causes     []string `yaml:"causes,flow"`
	Step       string   `yaml:"step"`
	Origin     string   `yaml:"origin"`
	Status     string   `yaml:"status"`
	VerifiedOn []string `yaml:"verified_on,omitempty,flow"` // Envoy versions; empty for what is the toolchain's alone
	Before     *Proof   `yaml:"before,omitempty"`
	After      *Proof   `yaml:"after,omitempty"`
	Toolchain  string   `yaml:"toolchain,omitempty"` // the program's own line
	Note       string   `yaml:"note,omitempty"`
}

// Proof points into a recording.
type Proof struct {
	Scenario string   `yaml:"scenario"`
	File     string   `yaml:"file"`
	Codes    []string `yaml:"http_codes,flow"`
	Exit     int      `yaml:"exit"`
	Line     int      `yaml:"line,omitempty"`
	Text     string   `yaml:"text,omitempty"`
}

func loadFixes(dir string) ([]Fix, error) {
	data, err := os.ReadFile(filepath.Join(dir, "fixes.yaml"))
	if err != nil {
		return nil, err
	}
	var list []Fix
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("reading fixes.yaml: %w", err)
	}
	return list, nil
}

// fixes writes verified.yaml: pairs of scenarios from what is recorded, the rest by running it.
func (l *lab) fixes() error {
	list, err := loadFixes(l.dir)
	if err != nil {
		return err
	}
	x, err := loadIndex(l.recordings())
	if err != nil {
		return err
	}
	var out []Verified
	var bad []string
	for i := range list {
		v, err := l.fix(&list[i], x)
		if err != nil {
			bad = append(bad, fmt.Sprintf("%s: %v", list[i].Step, err))
			fmt.Printf("FAILED    %s: %v\n", list[i].Step, err)
			continue
		}
		fmt.Printf("%-9s %s %s\n", v.Status, v.Step, strings.Join(v.VerifiedOn, " "))
		out = append(out, *v)
	}
	data, err := yaml.Marshal(out)
	if err != nil {
		return err
	}
	head := "# Written by `go run ./lab fixes`: what became of the steps of the runbooks when they were tried. See lab/README.md.\n"
	if err := os.WriteFile(filepath.Join(l.dir, "verified.yaml"), append([]byte(head), data...), 0o644); err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d steps did not go as fixes.yaml says:\n  %s", len(bad), strings.Join(bad, "\n  "))
	}
	return nil
}

func (l *lab) fix(f *Fix, x *Index) (*Verified, error) {
	v := &Verified{Causes: f.Causes, Step: f.Step, Origin: f.Origin, Status: f.Status, Note: strings.TrimSpace(f.Note)}
	switch {
	case f.Toolchain != nil:
		line, err := l.toolchain(f.Toolchain)
		v.Toolchain = line
		return v, err
	case f.Validate != nil:
		for _, version := range l.Versions {
			if err := l.validate(version, f.Validate.Refuses, f.Validate.Accepts); err != nil {
				return nil, err
			}
			v.VerifiedOn = append(v.VerifiedOn, version)
		}
		v.Toolchain = fmt.Sprintf("envoy --mode validate: exit status 1 for %s, 0 for %s", f.Validate.Refuses, f.Validate.Accepts)
		return v, nil
	case f.Measured != nil:
		line, err := l.measuredLess(f.Measured.Less, f.Measured.Than)
		v.Toolchain, v.VerifiedOn = line, l.Versions
		return v, err
	case f.Probed != nil:
		line, err := l.probedAnswers(f.Probed.In, f.Probed.Refused, f.Probed.Answered)
		v.Toolchain, v.VerifiedOn = line, l.Versions
		return v, err
	}
	p, versions, err := l.proof(f.After, x)
	if err != nil {
		return nil, err
	}
	v.After, v.VerifiedOn = p, versions
	if f.Before == "" {
		return v, nil
	}
	p, failed, err := l.proof(f.Before, x)
	if err != nil {
		return nil, err
	}
	v.Before = p
	// A step that is a newer Envoy fails on others than it is verified on; every other one on the same.
	both := slices.DeleteFunc(slices.Clone(versions), func(version string) bool { return !slices.Contains(failed, version) })
	if len(both) > 0 {
		v.VerifiedOn = both
	}
	return v, nil
}

// proof finds the recordings of a scenario, which are there only when the run was as wanted, and the line that tells.
func (l *lab) proof(id string, x *Index) (*Proof, []string, error) {
	i := slices.IndexFunc(l.Scenarios, func(s Scenario) bool { return s.ID == id })
	if i < 0 {
		return nil, nil, fmt.Errorf("no scenario %s", id)
	}
	sc := &l.Scenarios[i]
	var versions []string
	var best *Recording
	for _, v := range sc.versions(l.Matrix) {
		if r := x.find(id, v, "default"); r != nil {
			versions = append(versions, v)
			if best == nil || v == l.Reference {
				best = r
			}
		}
	}
	if best == nil {
		return nil, nil, fmt.Errorf("%s is not recorded", id)
	}
	p := &Proof{Scenario: id, File: best.File, Codes: best.Codes, Exit: best.Exit}
	if len(sc.Says) > 0 {
		data, err := readRecording(filepath.Join(l.recordings(), best.File))
		if err != nil {
			return nil, nil, err
		}
		for n, line := range strings.Split(string(data), "\n") {
			if strings.Contains(line, sc.Says[0]) {
				p.Line, p.Text = n+1, line[:min(len(line), 300)]
				break
			}
		}
	}
	return p, versions, nil
}

// measuredLess holds a claim about VMs and memory against measured.yaml.
func (l *lab) measuredLess(less, than string) (string, error) {
	numbers, err := loadMeasured(l.dir)
	if err != nil {
		return "", err
	}
	find := func(what, version string) *VMCount {
		i := slices.IndexFunc(numbers.VMs, func(c VMCount) bool {
			return c.Envoy == version && what == fmt.Sprintf("%s, concurrency %d", c.What, c.Concurrency)
		})
		if i < 0 {
			return nil
		}
		return &numbers.VMs[i]
	}
	var a, b *VMCount
	for _, v := range l.Versions {
		if a, b = find(less, v), find(than, v); a == nil || b == nil {
			return "", fmt.Errorf("measured.yaml does not have %q and %q on Envoy %s", less, than, v)
		}
		if a.Created >= b.Created || a.RSSMiB > b.RSSMiB {
			return "", fmt.Errorf("envoy %s: %s makes %d VMs in %d MiB, %s %d in %d", v, less, a.Created, a.RSSMiB, than, b.Created, b.RSSMiB)
		}
	}
	return fmt.Sprintf("%s: %d VMs, %d MiB; %s: %d VMs, %d MiB (Envoy %s)", than, b.Created, b.RSSMiB, less, a.Created, a.RSSMiB, a.Envoy), nil
}

// probedAnswers holds a claim about two calls against probed.yaml.
func (l *lab) probedAnswers(callback, refused, answered string) (string, error) {
	p, err := loadProbed(l.dir)
	if err != nil {
		return "", err
	}
	for _, v := range p.Envoys {
		if no, yes := p.answer(refused, callback, v), p.answer(answered, callback, v); no == "" || no == "0" || yes != "0" {
			return "", fmt.Errorf("envoy %s answers %q to %s and %q to %s", v, no, refused, yes, answered)
		}
	}
	return fmt.Sprintf("in %s: %s %s, %s 0", callback, refused, p.answer(refused, callback, p.Envoys[0]), answered), nil
}

// toolchain gives the line of the program's output that tells.
func (l *lab) toolchain(c *Check) (string, error) {
	dir, err := os.MkdirTemp(filepath.Join(l.cache), "check-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if c.Copy != "" {
		if err := copyTree(filepath.Join(l.dir, "plugins", c.Copy), dir); err != nil {
			return "", err
		}
	}
	for name, content := range c.Files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	cmd := exec.Command(c.Run[0], c.Run[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CARGO_TERM_COLOR=never", "CARGO_TARGET_DIR="+filepath.Join(l.cache, "target", "checks"))
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil && !c.Fails:
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.Run, " "), err, tail(string(out), 15))
	case err == nil && c.Fails:
		return "", fmt.Errorf("%s succeeded, want failure\n%s", strings.Join(c.Run, " "), tail(string(out), 15))
	}
	line := regexp.MustCompile(`(?m)^.*` + c.Says + `.*$`).FindString(string(out))
	if line == "" {
		return "", fmt.Errorf("%s: output does not say %q\n%s", strings.Join(c.Run, " "), c.Says, tail(string(out), 15))
	}
	return strings.TrimSpace(strings.ReplaceAll(line, dir, ".")), nil
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// validate wants exit status 1 for the one and 0 for the other.
func (l *lab) validate(version, refuses, accepts string) error {
	binary, err := l.envoys.binary(version)
	if err != nil {
		return err
	}
	for id, want := range map[string]int{refuses: 1, accepts: 0} {
		i := slices.IndexFunc(l.Scenarios, func(s Scenario) bool { return s.ID == id })
		if i < 0 {
			return fmt.Errorf("no scenario %s", id)
		}
		s, err := l.site(&l.Scenarios[i])
		if err != nil {
			return err
		}
		config, err := s.bootstrap(&l.Scenarios[i], l.Dialects[0])
		if err != nil {
			return err
		}
		p, err := start(binary, []string{"-c", config, "--mode", "validate", "--base-id", itoa(s.admin)}, s.dir, 0)
		if err != nil {
			return err
		}
		p.wait(maxRun / 2)
		if got := p.stop(); got != want {
			return fmt.Errorf("envoy %s --mode validate on %s: exit status %d, want %d (%s)", version, id, got, want, p.log.Name())
		}
		_ = os.RemoveAll(s.dir)
	}
	return nil
}

// Uncovered are steps of rules.yaml that claim something testable and have no entry in verified.yaml.
func uncovered(rules []byte, list []Verified) ([]string, error) {
	var file struct {
		Shared map[string][]step `yaml:"shared_steps"`
		Causes map[string]struct {
			Steps []step `yaml:"steps"`
		} `yaml:"causes"`
	}
	if err := yaml.Unmarshal(rules, &file); err != nil {
		return nil, err
	}
	covered := map[string]bool{}
	for _, v := range list {
		for _, c := range v.Causes {
			covered[c+"\x00"+v.Step] = true
		}
	}
	var missing []string
	add := func(place string, steps []step) {
		for _, s := range steps {
			if s.Title != "" && s.Status != "advice" && !covered[place+"\x00"+s.Title] {
				missing = append(missing, place+": "+s.Title)
			}
		}
	}
	for id, steps := range file.Shared {
		add("shared:"+id, steps)
	}
	for id, c := range file.Causes {
		add(id, c.Steps)
	}
	sort.Strings(missing)
	return missing, nil
}

type step struct {
	Title      string   `yaml:"title"`
	Status     string   `yaml:"status"`
	VerifiedOn []string `yaml:"verified_on"`
}
