// Package dwarf finds the source lines of places in the code of a wasm module, from debug information that comes from strangers.
//
// What goes in is the content of the .debug_ sections ([Open]). What comes out of [Data.Lookup] is, for an address, the function, file,
// line and column, and those of all functions that were inlined there, innermost first. Addresses are what DWARF in wasm means by
// them: offsets from the start of the Code section's payload.
//
// Versions 2 to 5 are read. Units are found by their ranges and read only when an address falls into them; then an index of
// intervals answers each question by binary search. Functions that the linker dropped have no address, but keep their debug
// information with an address of 0 or of almost 2^32: they are left out.
//
// The standard library's debug/dwarf gives the same answers (a test compares them), but builds every entry with all its attributes
// and is, by its own words, not hardened against what is made to exhaust it. Here nothing is copied until it is shown, the
// number of things kept is bounded by the number of bytes given, and so is the work: lists that many entries point to
// are paid for each time. What was left out because of that is told by [Data.Problems].
//
// What the package does not do: types, variables, split DWARF (whose other half is in another file), and native programs.
package dwarf

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Sections is the content of the sections .debug_info, .debug_abbrev and so on. Only the first two are necessary.
type Sections struct {
	Info, Abbrev, Line, LineStr, Str, StrOffsets, Addr, Ranges, Rnglists []byte
}

// Location is a place in the source.
type Location struct {
	Function string // as the linker knows it, mangled; else as it is written in the source; empty when not known
	File     string // as the compiler was called, made absolute with the directory it ran in
	Dir      string // the directory the compiler ran in, which File may begin with
	Line     int    // 0 when not known
	Column   int
	Inlined  bool // into the next location
}

// Data is debug information, ready for questions. It may be used by several goroutines.
type Data struct {
	s     Sections
	units []unit
	index []segment // units by address

	mu       sync.Mutex
	tables   map[tableKey]*table
	lines    map[uint64]*lineTable
	unranged bool // units that do not tell their ranges were read

	work     int // what may still be done
	abbrevs  int // how many abbreviations and their attributes may still be kept
	ranges   int // how many ranges may still be kept
	rows     int // how many rows, files and directories of line tables may still be kept
	problems []string
}

// ErrNone says that there is no debug information.
var ErrNone = errors.New("no debug information")

// Open reads the headers of all units. The sections are kept. Damage in one unit does not hurt the others; the error is for data of
// which nothing can be used.
func Open(s Sections) (*Data, error) {
	if len(s.Info) == 0 || len(s.Abbrev) == 0 {
		return nil, ErrNone
	}
	total := len(s.Info) + len(s.Abbrev) + len(s.Line) + len(s.Ranges) + len(s.Rnglists)
	d := &Data{s: s, tables: map[tableKey]*table{}, lines: map[uint64]*lineTable{}}
	d.work = 1<<20 + 16*total
	d.abbrevs = 64 + len(s.Abbrev)/2
	d.ranges = 64 + (len(s.Info)+len(s.Ranges)+len(s.Rnglists))/3
	d.rows = 64 + len(s.Line)
	d.readUnits()
	if len(d.units) == 0 {
		return nil, fmt.Errorf("reading debug information: %s", strings.Join(append(d.problems, "no unit can be read"), "; "))
	}
	return d, nil
}

// Problems says what of the debug information was not used, and why.
func (d *Data) Problems() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.problems)
}

func (d *Data) problem(format string, args ...any) {
	p := fmt.Sprintf(format, args...)
	if len(d.problems) < 20 && !slices.Contains(d.problems, p) {
		d.problems = append(d.problems, p)
	}
}

// spend says whether there is work left for n more steps.
func (d *Data) spend(n int) bool {
	before := d.work
	if d.work -= n; d.work >= 0 {
		return true
	}
	if d.work = -1; before >= 0 {
		d.problem("the debug information is built so that reading it would take too long: it was read in part")
	}
	return false
}

// maxInlined bounds how many functions are told for one address. Compilers stop long before.
const maxInlined = 256

// Lookup finds what stands at an address, innermost function first. It gives nil when the debug information says nothing about it.
// All but the last are inlined; the last may be without a function when only a line is known.
func (d *Data) Lookup(pc uint64) []Location {
	d.mu.Lock()
	defer d.mu.Unlock()
	if pc == 0 || pc >= 1<<32-16 {
		return nil
	}
	u := d.unitAt(uint32(pc))
	if u == nil {
		return nil
	}
	d.load(u)
	dir := d.text(u, u.compDir)
	at := Location{Dir: dir}
	if r := u.lines.find(uint32(pc)); r != nil {
		at.File, at.Line, at.Column = d.file(u, uint64(r.file)), int(r.line), int(r.column)
	}
	var out []Location
	for s := find(u.index, uint32(pc)); s >= 0 && len(out) < maxInlined; s = u.scopes[s].parent {
		e, ok := d.entryAt(u, uint64(u.scopes[s].entry))
		if !ok {
			break
		}
		at.Function, at.Inlined = d.functionName(u, e), u.scopes[s].inlined
		out = append(out, at)
		if !at.Inlined {
			return out
		}
		at = Location{Dir: dir, File: d.file(u, e.number(callFile)), Line: int(int32(e.number(callLine))), Column: int(uint16(e.number(callColumn)))}
	}
	if len(out) == 0 && at.Line == 0 && at.File == "" {
		return nil
	}
	if len(out) > 0 { // inlined into what is not told
		at.Function, at.Inlined = "", false
	}
	return append(out, at)
}

// Find gives addresses whose answer has a location at that place in the source, at most a hundred, in order: code that comes from there, or from
// functions that were inlined there. The file is the end of a path, of whole parts: "src/lib.rs" finds /home/me/gate/src/lib.rs. A column of 0
// stands for any.
func (d *Data) Find(file string, line, column int) []uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	file = strings.ReplaceAll(file, `\`, "/")
	var out []uint64
	add := func(u *unit, at uint64, number uint64) {
		if len(out) == 100 {
			return
		}
		if p := strings.ReplaceAll(d.file(u, number), `\`, "/"); p == file || strings.HasSuffix(p, "/"+file) {
			out = append(out, at)
		}
	}
	seen := map[*lineTable]bool{}
	for i := range d.units {
		u := &d.units[i]
		d.load(u)
		if u.lines == nil {
			continue
		}
		if !seen[u.lines] {
			seen[u.lines] = true
			for j := range u.lines.rows {
				if r := &u.lines.rows[j]; int(r.line) == line && (column == 0 || int(r.column) == column) {
					add(u, uint64(r.address), uint64(r.file))
				}
			}
		}
		first := u.firsts()
		for j := range u.scopes {
			if !u.scopes[j].inlined || first[j] == 0 {
				continue
			}
			if e, ok := d.entryAt(u, uint64(u.scopes[j].entry)); ok && int(e.number(callLine)) == line && (column == 0 || int(e.number(callColumn)) == column) {
				add(u, uint64(first[j]), e.number(callFile))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// firsts gives, for each scope, the first address that belongs to it or to one that is inlined into it; 0 when there is none.
func (u *unit) firsts() []uint32 {
	first := make([]uint32, len(u.scopes))
	for _, s := range u.index {
		for x := s.owner; x >= 0 && first[x] == 0; x = u.scopes[x].parent {
			first[x] = s.lo
		}
	}
	return first
}

// unitAt finds the unit that an address belongs to.
func (d *Data) unitAt(pc uint32) *unit {
	if !d.unranged {
		d.unranged = true
		d.findUnranged()
	}
	if i := find(d.index, pc); i >= 0 {
		return &d.units[i]
	}
	return nil
}

// segment says who owns the addresses from lo up to the next segment; -1 is nobody.
type segment struct {
	lo    uint32
	owner int32
}

// interval is a range of addresses that somebody owns.
type interval struct {
	lo, hi uint32
	owner  int32
}

// find gives the owner of an address, -1 when there is none.
func find(index []segment, pc uint32) int32 {
	i := sort.Search(len(index), func(i int) bool { return index[i].lo > pc })
	if i == 0 {
		return -1
	}
	return index[i-1].owner
}

// paint turns intervals into segments. Where intervals overlap, the later one in the list wins: a function inlined into another
// comes after it.
func paint(list []interval) []segment {
	order := make([]int32, len(list))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(int64(list[a].lo) - int64(list[b].lo)) })
	out := make([]segment, 0, len(list))
	emit := func(at uint32, owner int32) {
		if n := len(out); n > 0 && out[n-1].lo == at {
			out = out[:n-1]
		}
		if n := len(out); n > 0 && out[n-1].owner == owner {
			return
		}
		out = append(out, segment{at, owner})
	}
	var open latest
	for i := 0; i < len(order) || len(open) > 0; {
		if len(open) > 0 && (i == len(order) || list[open[0]].hi <= list[order[i]].lo) {
			at := list[open[0]].hi
			for len(open) > 0 && list[open[0]].hi <= at {
				open.pop()
			}
			if len(open) > 0 {
				emit(at, list[open[0]].owner)
			} else {
				emit(at, -1)
			}
			continue
		}
		at := list[order[i]].lo
		for ; i < len(order) && list[order[i]].lo == at; i++ {
			open.push(order[i])
		}
		for list[open[0]].hi <= at { // never empty: what was just pushed ends later
			open.pop()
		}
		emit(at, list[open[0]].owner)
	}
	return out
}

// latest is a heap with the greatest number on top.
type latest []int32

func (h *latest) push(x int32) {
	l := append(*h, x)
	for i := len(l) - 1; i > 0; {
		p := (i - 1) / 2
		if l[p] >= l[i] {
			break
		}
		l[p], l[i] = l[i], l[p]
		i = p
	}
	*h = l
}

func (h *latest) pop() {
	l := *h
	n := len(l) - 1
	l[0] = l[n]
	l = l[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && l[c+1] > l[c] {
			c++
		}
		if l[i] >= l[c] {
			break
		}
		l[i], l[c] = l[c], l[i]
		i = c
	}
	*h = l
}
