// Package elastic talks to an Elasticsearch cluster, and reads the logs that a shipper has put there.
//
// [Connect] gives a [Client], which repeats what an overloaded or absent server did not do, and [Client.Open] a [PointInTime] to read
// from. Package ingest/index/elastic keeps the index of a case with it.
//
// [Client.Corpus] gives the documents of a pattern of indices as an [ingest.Corpus]: each file or container that wrote is an input, its documents in order are
// its lines, and only those travel that may hold a literal (pushdown.go says why no other can), with their surroundings. What fields the documents have is found
// out (fields.go). A document is the text of its message and nothing else: a shipper that takes JSON lines apart, or drops what it parsed, leaves
// something else than the file. All is read from one point in time, so that a run does not see documents come.
//
// It uses the requests of go-elasticsearch (package esapi) and its transport,
// not its client: that pulls in the typed API, two minutes of compiling for nothing that is used here.
package elastic
