// Command supply tells what a build of wasmortem is made of.
//
//	go run ./supply licences                       the page docs/licences.md
//	go run ./supply sbom wasmortem >wasmortem.cdx.json   the CycloneDX 1.6 bill of materials of a built program
//
// The page lists the modules that are linked on any platform that is released, each with the licence that its own files state. The bill of materials says what
// the linker wrote into the program, and needs nothing else: no network, no clock, no random number, so that the same program gives the same bytes.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "supply:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "licences":
		list, err := linked()
		if err != nil {
			return err
		}
		return writePage(out, list)
	case len(args) == 2 && args[0] == "sbom":
		return writeSBOM(out, args[1])
	}
	return errors.New("want: licences, or sbom PROGRAM")
}

// module is a module that is linked, and what its licence is.
type module struct {
	Path, Version, Dir string
	licences           []string // SPDX identifiers
}

// platforms are those of releases.
var platforms = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"}

// linked lists the modules that wasmortem is made of, by path.
func linked() ([]module, error) {
	var list []module
	for _, p := range platforms {
		cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "github.com/wasmortem/wasmortem/cmd/wasmortem")
		system, arch, _ := strings.Cut(p, "/")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("listing the packages for %s: %w", p, err)
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			if len(f) != 3 || slices.ContainsFunc(list, func(m module) bool { return m.Path == f[0] }) {
				continue
			}
			m := module{Path: f[0], Version: f[1], Dir: f[2]}
			if m.licences, err = licencesIn(m.Dir); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Path, err)
			}
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return list, nil
}

// texts are sentences that only one licence has.
var texts = []struct {
	id string
	is *regexp.Regexp
}{
	{"Apache-2.0", regexp.MustCompile(`Apache License,?\s+Version 2\.0`)},
	{"MPL-2.0", regexp.MustCompile(`Mozilla Public License,? [Vv]ersion 2\.0`)},
	{"BSD-3-Clause", regexp.MustCompile(`(?s)Redistribution and use in source and binary forms.*(?:Neither the name|names of its contributors|name of .{0,80} may not be used)`)},
	{"BSD-2-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms`)},
	{"MIT", regexp.MustCompile(`Permission is hereby granted, free of charge, to any person obtaining\s+a copy`)},
	{"ISC", regexp.MustCompile(`Permission to use, copy, modify, and(?:/or)? distribute this software`)},
	{"CC0-1.0", regexp.MustCompile(`CC0 1\.0 Universal`)},
}

var licenceFile = regexp.MustCompile(`(?i)^(?:licen[cs]e|copying|copyright)(?:[-._].*)?$`)

// licencesIn reads the licences at the top of a module.
func licencesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		ids = append(ids, licencesOf(string(text))...)
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return nil, errors.New("no licence is known in its files: look, and teach `texts`")
	}
	return ids, nil
}

func licencesOf(text string) (ids []string) {
	for _, l := range texts {
		if l.id == "BSD-2-Clause" && slices.Contains(ids, "BSD-3-Clause") {
			continue
		}
		if l.is.MatchString(text) {
			ids = append(ids, l.id)
		}
	}
	return ids
}

func writePage(w io.Writer, list []module) error {
	count := map[string]int{}
	var b strings.Builder
	for _, m := range list {
		ids := strings.Join(m.licences, ", ")
		count[ids]++
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Path, m.Version, ids)
	}
	_, err := fmt.Fprintf(w, `# Licences

wasmortem is under the [Apache License 2.0](../LICENSE). A released program holds the Go standard library (BSD-3-Clause) and the %d modules below, all
under permissive licences. `+"`go run ./supply licences`"+` writes this page from the files of the modules; a test keeps it true.
Where two licences stand, parts of the module are under each.

| module | version | licence |
|---|---|---|
%s`, len(list), b.String())
	return err
}

// The parts of CycloneDX 1.6 that are used. https://cyclonedx.org/docs/1.6/json/
type (
	bom struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Component  component  `json:"component"`
		Properties []property `json:"properties"`
	}
	component struct {
		Type     string     `json:"type"`
		Ref      string     `json:"bom-ref"`
		Name     string     `json:"name"`
		Version  string     `json:"version"`
		PURL     string     `json:"purl"`
		Hashes   []hash     `json:"hashes,omitempty"`
		Licences []licensed `json:"licenses,omitempty"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licensed struct {
		Licence struct {
			ID string `json:"id"`
		} `json:"license"`
	}
	dependency struct {
		Ref string   `json:"ref"`
		On  []string `json:"dependsOn,omitempty"`
	}
	property struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// writeSBOM tells what the linker wrote into a program. The hash of a module is that of go.sum (h1), its licence what the module cache holds, if it does.
func writeSBOM(w io.Writer, program string) error {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading %s: %w", program, err)
	}
	data, err := os.ReadFile(program) //nolint:gosec // the program that was named on the command line
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	known, _ := linked() // without the modules at hand, no licences are told
	main := component{Type: "application", Name: "wasmortem", Version: info.Main.Version, PURL: purl(info.Main.Path, info.Main.Version), Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}}, Licences: licences("Apache-2.0")}
	main.Ref = main.PURL
	b := bom{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: []component{}, Metadata: metadata{Component: main, Properties: []property{{"wasmortem:go", info.GoVersion}}}}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "CGO_ENABLED", "vcs.revision", "vcs.modified", "-trimpath":
			b.Metadata.Properties = append(b.Metadata.Properties, property{"wasmortem:" + s.Key, s.Value})
		}
	}
	std := component{Type: "library", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"), PURL: purl("std", strings.TrimPrefix(info.GoVersion, "go")), Licences: licences("BSD-3-Clause")}
	std.Ref = std.PURL
	b.Components = append(b.Components, std)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := component{Type: "library", Name: m.Path, Version: m.Version, PURL: purl(m.Path, m.Version)}
		c.Ref = c.PURL
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(raw) == sha256.Size {
			c.Hashes = []hash{{"SHA-256", hex.EncodeToString(raw)}}
		}
		if i := slices.IndexFunc(known, func(k module) bool { return k.Path == m.Path && k.Version == m.Version }); i >= 0 {
			c.Licences = licences(known[i].licences...)
		}
		b.Components = append(b.Components, c)
	}
	top := dependency{Ref: main.Ref}
	for i := range b.Components {
		top.On = append(top.On, b.Components[i].Ref)
	}
	b.Dependencies = []dependency{top}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(b)
}

// purl names a module as https://github.com/package-url/purl-spec does.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + url.PathEscape(version)
}

func licences(ids ...string) (list []licensed) {
	for _, id := range ids {
		var l licensed
		l.Licence.ID = id
		list = append(list, l)
	}
	return list
}
