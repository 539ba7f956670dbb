package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/licences.md")

const page = "../docs/licences.md"

// The page lists what is linked, and all of it may be linked.
func TestLicences(t *testing.T) {
	list, err := linked()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 20 {
		t.Fatalf("only %d modules", len(list))
	}
	permissive := []string{"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC0-1.0"}
	for _, m := range list {
		for _, id := range m.licences {
			if !slices.Contains(permissive, id) {
				t.Errorf("%s is under %s, which is not permissive", m.Path, id)
			}
		}
	}
	var b bytes.Buffer
	if err := writePage(&b, list); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(page); err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("docs/licences.md is not what is linked, %v: go test ./supply -update", err)
	}
}

func TestLicenceTexts(t *testing.T) {
	const bsd = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted"
	for text, want := range map[string]string{
		"                                 Apache License\n                           Version 2.0, January 2004": "Apache-2.0",
		bsd: "BSD-2-Clause", bsd + " ...\nNeither the name of X": "BSD-3-Clause",
		"MIT and Apache\nPermission is hereby granted, free of charge, to any person obtaining\na copy ...\nLicensed under the Apache License, Version 2.0": "Apache-2.0 MIT",
		"Permission is hereby granted, free of charge, to any person obtaining a copy":                                                                      "MIT",
		"All rights reserved":                  "",
		"GNU GENERAL PUBLIC LICENSE Version 3": "",
	} {
		if got := strings.Join(licencesOf(text), " "); got != want {
			t.Errorf("%.60q is %q, want %q", text, got, want)
		}
	}
}

// The bill of materials of a built program lists every module in it, with its hash, and is the same twice.
func TestSBOM(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	program := filepath.Join(t.TempDir(), "wasmortem")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/wasmortem/wasmortem/cmd/wasmortem")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var one, two bytes.Buffer
	if err := run([]string{"sbom", program}, &one); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{"sbom", program}, &two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Errorf("it is not the same twice, %v", err)
	}
	var b bom
	if err := json.Unmarshal(one.Bytes(), &b); err != nil {
		t.Fatal(err)
	}
	list, err := linked()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range b.Components {
		if names[c.Ref] {
			t.Errorf("%s is listed twice", c.Ref)
		}
		names[c.Ref] = true
		if c.Name != "std" && (len(c.Hashes) != 1 || len(c.Hashes[0].Content) != 64 || len(c.Licences) == 0 && slices.ContainsFunc(list, func(m module) bool { return m.Path == c.Name })) {
			t.Errorf("%s has hashes %v and licences %v", c.Name, c.Hashes, c.Licences)
		}
		if !regexp.MustCompile(`^pkg:golang/[a-zA-Z0-9./_-]+@[a-zA-Z0-9.%+-]+$`).MatchString(c.PURL) {
			t.Errorf("%s has the purl %s", c.Name, c.PURL)
		}
	}
	if !strings.Contains(one.String(), `"name": "github.com/spf13/cobra"`) {
		t.Error("cobra is not listed")
	}
	if b.Format != "CycloneDX" || len(b.Components) < 20 || len(b.Dependencies) != 1 || len(b.Dependencies[0].On) != len(b.Components) {
		t.Errorf("%d components, dependencies %d", len(b.Components), len(b.Dependencies))
	}
	for _, bad := range [][]string{{"sbom", "main.go"}, {"sbom"}, nil} {
		if run(bad, &one) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
