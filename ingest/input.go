package ingest

import "time"

// Input is one unpacked member: a file, a member of an archive, standard input. It is shared by all its blocks and records;
// everything but the head (Path, Identity, wrappers) is complete only after its last block was handed out.
type Input struct {
	Path     string // "bundle.tar.gz!proxies/a.log" inside archives; "-" for standard input
	Kind     string // one of the kinds of the report contract: "envoy-log", "access-log", "stats", …
	Format   string // how its lines are read, wrappers first: "cri+envoy", "istio-json"; empty for binaries
	Bytes    int64  // size unpacked, as far as it was read
	Lines    int64  // exact; a last line without newline counts
	First    time.Time
	Last     time.Time
	Warnings []string // what was skipped, cut or guessed, in words for the user
	Err      string   // why it could not be read, or not to its end
	SHA256   string   // of the unpacked bytes, hex; only when asked for ([Options.Hash])
	Identity Identity // what the path tells; records may tell more

	order    order
	byRecord bool      // newest first, but the lines of a record in the order of writing, see newest.go
	wrappers []wrapper // the doubtful ones, outermost first
	columns  csvColumns
	leads    []lead
	table    bool      // the lines are rows, see [csvColumns]
	spaced   bool      // every other line is empty but for marks of quotation: it separates nothing
	known    int       // lines of the sample that begin a record in a known dialect
	headed   bool      // lines with a header are the rule: those without one continue the record before
	doc      []span    // records of a structured document, by offset
	ref      time.Time // a time of the input that names its year, for those that do not
	skew     time.Duration
}

// Identity is who wrote the lines, as far as a path or an object tells.
type Identity struct {
	Cluster, Namespace, Pod, Container, Node string
}

// order is the order of lines in a file. Log viewers export newest first, by record or by physical line.
type order uint8

const (
	oldestFirst order = iota
	newestFirst
)

// NewestFirst reports whether the input lists its records from the newest to the oldest.
func (in *Input) NewestFirst() bool { return in.order == newestFirst }

// IsDocument reports whether the input is a structured document: its records are parts that may lie anywhere in it.
func (in *Input) IsDocument() bool { return in.doc != nil }

// Skew is what has to be added to times without a zone to make them UTC: a whole number of quarter hours, found by comparing
// them with zoned times of the same input. Zero when both agree or nothing can be compared.
func (in *Input) Skew() time.Duration { return in.skew }

// warn appends a warning once.
func (in *Input) warn(s string) {
	for _, w := range in.Warnings {
		if w == s {
			return
		}
	}
	if len(in.Warnings) < 20 {
		in.Warnings = append(in.Warnings, s)
	}
}
