// Package elastic talks to an Elasticsearch cluster.
//
// [Connect] gives a [Client], which repeats what an overloaded or absent server did not do, and [Client.Open] a [PointInTime] to read
// from. Package ingest/index/elastic keeps the index of a case with it. It uses the requests of go-elasticsearch (package esapi) and its transport,
// not its client: that pulls in the typed API, two minutes of compiling for nothing that is used here.
package elastic
