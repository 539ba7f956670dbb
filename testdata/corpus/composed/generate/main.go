// Generate writes the composed corpus: labelled inputs put together from the format strings of Envoy, the Istio agent, the engines and the
// SDKs, in many dialects and packagings. The same program writes the same bytes: every case draws from a generator seeded by its name.
//
// Run it from the root of the module:
//
//	go run ./testdata/corpus/composed/generate
//
// A case is a function in load.go, run.go, process.go, many.go or decoys.go that plays a [scene] and hands the files to a [kit]. Dialects
// are in dialect.go, wrappers and archives in wrap.go. Names, addresses, ids and times are invented.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"sort"
)

const (
	maxFile  = 400 << 10
	maxTotal = 6 << 20
)

// label is label.json; the corpus README describes its fields.
type label struct {
	Accept       []string  `json:"accept"`
	Contributing []string  `json:"contributing,omitempty"`
	Decoy        bool      `json:"decoy"`
	Incidents    []sub     `json:"incidents,omitempty"`
	Envoy        string    `json:"envoy"`
	Packed       string    `json:"packed"`
	Dialect      string    `json:"dialect"`
	Why          string    `json:"why"`
	BasedOn      string    `json:"based_on"`
	Expect       *expected `json:"expect,omitempty"`
}

// sub is one of several separate incidents of an input.
type sub struct {
	Pod    string   `json:"pod"`
	Accept []string `json:"accept"`
}

// expected is what the logs say outright about the first incident; empty means not said.
type expected struct {
	Plugin   string `json:"plugin,omitempty"`
	Callback string `json:"callback,omitempty"`
	Location string `json:"location,omitempty"`
	Pods     int    `json:"pods,omitempty"` // how many the incident names
}

type testCase struct {
	name string
	label
	make func(*kit)
}

// kit collects the files of one case.
type kit struct {
	r     *rand.Rand
	files map[string][]byte
	plain int // bytes before compression
}

// newKit draws from a source seeded by name.
func newKit(name string) *kit {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &kit{r: rand.New(rand.NewSource(int64(h.Sum64()))), files: map[string][]byte{}}
}

func (k *kit) file(name string, data []byte) {
	if _, ok := k.files[name]; ok {
		log.Panicf("%s written twice", name)
	}
	k.files[name] = data
}

func main() {
	log.SetFlags(0)
	out := flag.String("o", "testdata/corpus/composed", "`directory` the cases are written to")
	list := flag.Bool("list", false, "print the cases and write nothing")
	matrix := flag.String("matrix", "", "write every dialect in every wrapper to this `directory` instead")
	flag.Parse()
	if *matrix != "" {
		if err := writeMatrix(*matrix); err != nil {
			log.Fatal(err)
		}
		return
	}

	cases := slices.Concat(loadCases, runCases, processCases, manyCases, decoyCases, moreCases)
	sort.Slice(cases, func(i, j int) bool { return cases[i].name < cases[j].name })
	total := 0
	for i, c := range cases {
		if i > 0 && cases[i-1].name == c.name {
			log.Fatalf("%s stands twice", c.name)
		}
		n, err := write(c, *out, *list)
		if err != nil {
			log.Fatalf("%s: %v", c.name, err)
		}
		total += n
		if *list {
			fmt.Printf("%7d  %-44s %v\n", n, c.name, c.Accept)
		}
	}
	fmt.Printf("%d cases, %d bytes before compression\n", len(cases), total)
	if total > maxTotal {
		log.Fatalf("more than %d bytes", maxTotal)
	}
}

// write plays one case and returns the size of what it logged.
func write(c testCase, out string, dry bool) (int, error) {
	k := newKit(c.name)
	c.make(k)
	size := k.plain
	for name, data := range k.files {
		if len(data) > maxFile {
			return 0, fmt.Errorf("%s has %d bytes", name, len(data))
		}
		if k.plain == 0 {
			size += len(data)
		}
	}
	if dry {
		return size, nil
	}
	dir := filepath.Join(out, c.name)
	if err := os.RemoveAll(dir); err != nil {
		return 0, err
	}
	for name, data := range k.files {
		p := filepath.Join(dir, "input", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return 0, err
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			return 0, err
		}
	}
	data, err := json.MarshalIndent(c.label, "", " ")
	if err != nil {
		return 0, err
	}
	return size, os.WriteFile(filepath.Join(dir, "label.json"), append(data, '\n'), 0o644)
}
