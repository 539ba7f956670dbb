package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"go.yaml.in/yaml/v3"
)

// Recording is one line of lab-index.yaml: a run, what it printed, and what is right to say about it.
type Recording struct {
	File         string   `yaml:"file"` // VERSION/SCENARIO.DIALECT.log.zst
	Scenario     string   `yaml:"scenario"`
	Title        string   `yaml:"title"`
	Envoy        string   `yaml:"envoy"`
	Dialect      string   `yaml:"dialect"`
	Accept       []string `yaml:"accept,flow"`
	Contributing []string `yaml:"contributing,omitempty,flow"`
	Decoy        bool     `yaml:"decoy,omitempty"`
	Codes        []string `yaml:"http_codes,flow"`
	Exit         int      `yaml:"exit"`
	Stats        string   `yaml:"stats,omitempty"` // /stats of the same run
}

// Index is testdata/lab/lab-index.yaml.
type Index struct {
	Recordings []Recording `yaml:"recordings"`
}

const indexName = "lab-index.yaml"

func loadIndex(dir string) (*Index, error) {
	data, err := os.ReadFile(filepath.Join(dir, indexName))
	if errors.Is(err, fs.ErrNotExist) {
		return &Index{}, nil
	}
	if err != nil {
		return nil, err
	}
	x := &Index{}
	return x, yaml.Unmarshal(data, x)
}

// find gives the recording of a scenario, nil when there is none.
func (x *Index) find(scenario, version, dialect string) *Recording {
	for i := range x.Recordings {
		if r := &x.Recordings[i]; r.Scenario == scenario && r.Envoy == version && r.Dialect == dialect {
			return r
		}
	}
	return nil
}

// recorder writes recordings and keeps the index in order.
type recorder struct {
	mu    sync.Mutex
	dir   string
	cache string
	index *Index
}

func (r *recorder) record(sc *Scenario, version string, d Dialect, o *outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	raw, err := os.ReadFile(o.log)
	if err != nil {
		return err
	}
	rec := Recording{File: filepath.ToSlash(filepath.Join(version, sc.ID+"."+d.Name+".log.zst")), Scenario: sc.ID, Title: sc.Title, Envoy: version,
		Dialect: d.Name, Accept: sc.Accept, Contributing: sc.Contributing, Decoy: sc.Decoy, Codes: o.codes, Exit: o.exit}
	if err := r.write(rec.File, r.clean(raw, o.site)); err != nil {
		return err
	}
	if sc.Stats && o.stats != "" {
		rec.Stats = strings.TrimSuffix(rec.File, ".log.zst") + ".stats.txt.zst"
		if err := r.write(rec.Stats, r.clean([]byte(o.stats), o.site)); err != nil {
			return err
		}
	}
	if old := r.index.find(sc.ID, version, d.Name); old != nil {
		*old = rec
	} else {
		r.index.Recordings = append(r.index.Recordings, rec)
	}
	return r.save()
}

func (r *recorder) save() error {
	list := r.index.Recordings
	sort.Slice(list, func(i, j int) bool { return list[i].File < list[j].File })
	data, err := yaml.Marshal(r.index)
	if err != nil {
		return err
	}
	head := "# Written by `go run ./lab run`: what was recorded, and what is right to say about it. See lab/README.md.\n"
	file := filepath.Join(r.dir, indexName)
	if err := os.WriteFile(file+".new", append([]byte(head), data...), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file) // an interrupted run leaves the old index whole
}

// prune drops recordings of scenarios that are gone.
func (r *recorder) prune(m *Matrix) error {
	known := map[string]*Scenario{}
	for i := range m.Scenarios {
		known[m.Scenarios[i].ID] = &m.Scenarios[i]
	}
	var kept []Recording
	for _, rec := range r.index.Recordings {
		if sc := known[rec.Scenario]; sc != nil && sc.on(rec.Envoy) {
			kept = append(kept, rec)
			continue
		}
		for _, f := range []string{rec.File, rec.Stats} {
			if f != "" {
				_ = os.Remove(filepath.Join(r.dir, f))
			}
		}
	}
	r.index.Recordings = kept
	return r.save()
}

// Labels come from scenarios.yaml: relabel carries a change there into the index without another run.
func (r *recorder) relabel(m *Matrix) {
	for i := range m.Scenarios {
		sc := &m.Scenarios[i]
		for j := range r.index.Recordings {
			if rec := &r.index.Recordings[j]; rec.Scenario == sc.ID {
				rec.Title, rec.Accept, rec.Contributing, rec.Decoy = sc.Title, sc.Accept, sc.Contributing, sc.Decoy
			}
		}
	}
}

func (r *recorder) write(name string, data []byte) error {
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		return err
	}
	return os.WriteFile(file, w.EncodeAll(data, nil), 0o644)
}

// clean makes the machine's folders those of a container; nothing else of a recording is touched.
func (r *recorder) clean(raw []byte, s *site) []byte {
	raw = bytes.ReplaceAll(raw, []byte(s.dir), []byte("/etc/envoy"))
	raw = bytes.ReplaceAll(raw, []byte(r.cache+"/envoy"), []byte("/opt/envoy"))
	raw = envoyPath.ReplaceAll(raw, []byte("/usr/local/bin/envoy"))
	return bytes.ReplaceAll(raw, []byte(r.cache), []byte("/var/cache/envoy"))
}

var envoyPath = regexp.MustCompile(`/opt/envoy/[0-9.]+/lib/python[0-9.]+/site-packages/envoy/_bin/envoy`)

func readRecording(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.DecodeAll(data, nil)
}
