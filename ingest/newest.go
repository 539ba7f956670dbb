package ingest

import (
	"bytes"
	"slices"
)

// Log viewers export newest first, and do it in two ways: by record, each with its lines in the order of writing, or by physical
// line, where those of a record are reversed too (`tac`, and every viewer that takes a line for a record). The numbers of a
// backtrace's frames tell which, and so do lines that announce more.

// verdict says how the lines of a record stand in a newest-first export.
type verdict int8

const (
	undecided verdict = iota
	upright           // as they were written
	reversed
)

// judge decides about a run of lines without a header, given in the order of the file, between two that have one (nil when there is none).
func judge(above []byte, run [][]byte, below []byte) verdict {
	for i := 1; i < len(run); i++ {
		a, b := frameIndex(run[i-1]), frameIndex(run[i])
		switch {
		case a >= 0 && b == a+1, b == 0 && opensMore(run[i-1]):
			return upright
		case b >= 0 && a == b+1, a == 0 && opensMore(run[i]):
			return reversed
		}
	}
	switch a, b := above != nil && opensMore(above), below != nil && opensMore(below); {
	case a && !b:
		return upright
	case b && !a:
		return reversed
	}
	return undecided
}

// maxRun is how many lines of a run are looked at in each direction.
const maxRun = looseLines

// run collects the lines without a header above or below l, nearest first, and the line with a header that ends them.
func (b *Block) run(l *line, up bool) (texts [][]byte, end *line) {
	cur := *l
	for range maxRun {
		n, ok := b.sibling(&cur, l.start, up)
		if !ok {
			return texts, nil
		}
		if n.classify() != classPlain {
			return texts, &n
		}
		texts = append(texts, n.text)
		cur = n
	}
	return texts, nil
}

// orient decides, in a newest-first export, where the lines are that belong to the record of at: up says that they stand as they were
// written, alone that it has none.
func (b *Block) orient(at *line) (up, alone bool) {
	above, over := b.run(at, true)
	below, under := b.run(at, false)
	slices.Reverse(above)
	if at.classify() == classPlain {
		run := append(append(above, at.text), below...)
		return b.Input.decide(judge(textOf(over), run, textOf(under))) == upright, false
	}
	if len(below) == 0 && len(above) == 0 {
		return true, false
	}
	if len(below) > 0 && b.Input.decide(judge(at.text, below, textOf(under))) == upright {
		return true, false
	}
	// Nothing below belongs to it. What stands above does, unless that belongs to the record further above.
	mine := len(above) > 0 && b.Input.decide(judge(textOf(over), above, at.text)) == reversed
	return false, !mine
}

// decide falls back to what the head of the input showed, and else to the reversed order, which is more frequent.
func (in *Input) decide(v verdict) verdict {
	if v != undecided {
		return v
	}
	if in.byRecord {
		return upright
	}
	return reversed
}

func textOf(l *line) []byte {
	if l == nil || l.class == classAccess || l.class == classSingle {
		return nil
	}
	return bytes.TrimRight(l.text, " ")
}

// judgeAll decides for all runs of a sample; undecided when there is no trap or panic in it.
func judgeAll(texts [][]byte, heads []bool) verdict {
	score := 0
	for i := 0; i < len(texts); {
		if heads[i] {
			i++
			continue
		}
		j := i
		for j < len(texts) && !heads[j] {
			j++
		}
		var above, below []byte
		if i > 0 {
			above = texts[i-1]
		}
		if j < len(texts) {
			below = texts[j]
		}
		switch judge(above, texts[i:j], below) {
		case upright:
			score++
		case reversed:
			score--
		}
		i = j
	}
	switch {
	case score > 0:
		return upright
	case score < 0:
		return reversed
	}
	return undecided
}
