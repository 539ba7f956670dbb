package ingest

import (
	"context"
	"iter"
)

// Corpus is where blocks come from: files, a kept case, a log store.
//
// Promises, tested for every implementation (ingest/laws_test.go, ingest/index/case_test.go): Blocks yields every block that may contain one of the literals, and may leave out blocks that
// contain none; blocks of one input come in order of offset, inputs in a fixed order; the records that can be cut from a block do
// not depend on which blocks were left out or on how the input was divided. Inputs is complete when Blocks was drained, and
// then tells the exact bytes, lines and times of every input whether its blocks were yielded or not.
type Corpus interface {
	// Blocks yields blocks until the corpus is exhausted or ctx ends. A non-nil error concerns the whole corpus (no path could be
	// opened); trouble with one input is told in its Err and stops nothing. The caller releases each block.
	Blocks(ctx context.Context, literals [][]byte) iter.Seq2[*Block, error]
	Inputs() []*Input
}

// Parallel is a [Corpus] whose inputs can be read at the same time.
type Parallel interface {
	Corpus
	// Parts yields the corpus in parts: all blocks of the first, then all of the second and so on are what Blocks yields. Parts may be read
	// by different goroutines at the same time. Every part has to be read, or begun and left, and no part may wait for one that
	// comes after it.
	Parts(ctx context.Context, literals [][]byte) iter.Seq[iter.Seq2[*Block, error]]
}
