// Package index keeps a case: what was read once, so that it can be searched, ordered in time and analysed again without the source.
//
// [Open] gives a [Case], a directory. [Case.IngestFiles] (or [Case.Ingest], for any corpus) fills it; [Case.Search] and
// [Case.Timeline] give records, exactly; [Case.Corpus] gives the blocks back, so that package analyze works on a case as on files.
// [ResolveCase] finds the directory of a name.
//
// The search engine stands behind the interface [Index], whose promises package indextest tests. It only says where to look: which
// stretches of 64 lines may hold an answer. Whether they do is decided here, on the records themselves. Therefore every engine gives the same
// answers, a phrase needs no positions, and a case whose index was lost still answers, only more slowly.
//
// # Query language
//
// The syntax is that of bleve's query strings. A query is a list of clauses, separated by blanks. A clause with + must hold, one with -
// must not; of the others at least one must hold, unless there is one with + (then they are of no account: hits come in order of time, not of
// relevance). There are no AND, OR and parentheses.
//
//	panicked                    records with that word
//	"memory access out of"      records with these words in this order, next to each other
//	src/lib.rs:15:51            the same: words with nothing but signs between them are taken as a phrase
//	proxy_on_*  unreach?ble     * is any run of letters, ? any one
//	/proxy_on_(request|response)_headers/   a regular expression (RE2) on whole words
//	unreachble~  unreachble~2   at most one, or two, wrong letters
//	level:error                 a field instead of the text; quotes, *, ?, /…/ and ~ as above
//	status:>=500                >, >=, <, <= on status, time and level
//	time:>="2026-11-22T14:50:00Z"   also 2026-11-22 14:50:09.970, 2026-11-22T14:50, 2026-11-22; without a zone it is UTC
//	+level:>=warning +logger:wasm -text:"no tenants"
//	\+ \- \" \: \\              the sign itself
//
// Fields: text (meant when none is named), time, level, logger, pod, namespace, container, node, thread, kind (text, log, access, agent, stat,
// object, config), status and flags (of access log entries; any one of UF,URX), source (words of the input's path). Case does not matter.
// time:"2026-11-22T14:50" is the whole minute. A boost (^2) is read and ignored.
//
// A word is a run of letters, digits and underscores. A compound one is also found by its parts: handleAllocError by "alloc",
// proxy_on_tick by "tick", a mangled Rust or C++ symbol by every name in it. The text of a record is its physical lines as they stand in the
// input, wrapper included, and its message (continuation lines joined, JSON escapes undone); a phrase may run over the end of a line.
// A record that tells no time counts as written when the one before it was.
//
// # A case on disk
//
//	case.json        what is in it: inputs and their state; see [state]. Written anew and renamed: it is the truth about the rest.
//	blocks/000001    blocks, each one a zstd frame, appended; what lies beyond the end that case.json tells does not count
//	blocks/table     one entry of 108 bytes for each block, appended; see [entry]
//	index/           the engine's
//	lock             held while the case is open
//
// An input counts when case.json lists it: that is the last thing written. A process killed at any moment leaves the case as it was at
// that last moment. Of the input that it was reading, case.json tells every few seconds how many blocks are there, see [begun]. Nobody finds them; the next ingest compares
// the bytes that it reads with them, and as long as they are equal neither packs nor indexes anything. If the index does not hold what case.json
// lists (it was removed, or damaged and then removed), opening the case for writing makes it again from the blocks.
//
// What this package does not do: it keeps no binaries (a module or core dump is listed, its bytes are not kept), and it keeps one
// version of a file, the last one seen.
package index
