// Package ingest turns whatever was pulled from a broken mesh into records that rules can be asked about.
//
// What goes in is a list of paths: files, directories, archives, standard input. What comes out are [Input]s, one for each
// unpacked member, and their content as [Block]s: at most [BlockSize] bytes, cut at a newline, with the byte offset and the line
// number of their first line. Nothing is parsed until somebody asks: [Block.RecordAt] cuts and parses the [Record] around an
// offset, with its wrapper removed and its continuation lines joined, and [Block.Joined] adds the fragments that a guest wrote
// as several records. That is the whole contract with the packages above: they find a place that interests them and ask for
// the record there; nobody sees every record.
//
// Call [Files] (or [index.Open] for a kept case) to get a [Corpus], range over [Corpus.Blocks], and read [Corpus.Inputs] afterwards.
//
// The head of an input, 64 KiB, decides how its lines are read: what kubectl, a container runtime, a log shipper or a person has put around
// them (wrapper.go, envelope.go, table.go), whether the newest line comes first (newest.go), from which zone times without one are.
// Each line then tells its dialect by itself (dialect.go, access.go, stat.go): a file may hold several. What a record is, and how far it
// reaches, is written in cut.go. testdata/dialects has a file for everything that is understood, with the records found in it.
//
// What this package does not do: it knows no failure and no rule, writes nothing, and never keeps a whole log in memory. The
// exceptions are structured documents (a Kubernetes object, an Envoy configuration), which have to be read whole to be understood
// and are limited to [MaxDocument].
package ingest
