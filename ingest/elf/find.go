package elf

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Set is the programs and libraries that were given, by build id. A program may come in two files: what ran, and what was split off it
// (NAME.debug). Files without a build id are not used, because nothing proves what they belong to.
type Set struct {
	Notes []string // what was left out, and why

	byID  map[string][]*File
	files []*os.File
	count int
}

// maxGiven is how many files below the given folders are looked at.
const maxGiven = 100_000

// maxKept bounds the files of a set, all of which are open.
const maxKept = 4096

// Find looks for ELF programs and libraries in files and folders. want, when it is not nil, says which build ids are of interest; others are
// closed again. Links are not followed.
func Find(ctx context.Context, paths []string, want func(buildID string) bool) (*Set, error) {
	s := &Set{byID: map[string][]*File{}}
	seen := 0
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("reading %s: %w", p, err)
		}
		if !info.IsDir() {
			if err := s.add(p, want, true); err != nil {
				s.Close()
				return nil, err
			}
			continue
		}
		err = filepath.WalkDir(p, func(path string, d fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				s.note("%s cannot be read: %v", path, err)
				return nil
			case !d.Type().IsRegular():
				return nil
			}
			if seen++; seen > maxGiven {
				s.note("%s has more than %d files: the rest was not looked at", p, maxGiven)
				return fs.SkipAll
			}
			return s.add(path, want, false)
		})
		if err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) note(format string, args ...any) {
	if len(s.Notes) < 20 {
		s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
	}
}

// add opens a file. named says that a person named it, who wants to know why it is of no use.
func (s *Set) add(path string, want func(string) bool, named bool) error {
	r, err := os.Open(path)
	if err != nil {
		s.note("%s cannot be read: %v", path, err)
		return nil
	}
	keep := false
	defer func() {
		if !keep {
			_ = r.Close()
		}
	}()
	info, err := r.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := Open(path, r, info.Size())
	switch {
	case err != nil:
		if named {
			s.note("%s is no program or library: %v", path, strings.TrimPrefix(err.Error(), "reading "+path+": "))
		}
	case f.Type == CoreDump:
		if named {
			s.note("%s is a core dump and no program", path)
		}
	case f.BuildID == "":
		if named {
			s.note("%s has no build id: nothing can prove that it belongs to a dump, so it is not used", path)
		}
	case want != nil && !want(f.BuildID):
		if named {
			s.note("%s has build id %s, which nothing here asks for", path, f.BuildID)
		}
	case s.count == maxKept:
		s.note("more than %d programs and libraries were given: %s is left out", maxKept, path)
	default:
		keep = true
		s.count++
		s.files = append(s.files, r)
		s.byID[f.BuildID] = append(s.byID[f.BuildID], f)
	}
	return nil
}

// Close closes the files.
func (s *Set) Close() {
	if s == nil {
		return
	}
	for _, f := range s.files {
		_ = f.Close()
	}
}

// Files lists what there is for a build id: usually one, or a program and its debug file.
func (s *Set) Files(buildID string) []*File {
	if s == nil || buildID == "" {
		return nil
	}
	return s.byID[buildID]
}

// IDs lists the build ids.
func (s *Set) IDs() []string {
	if s == nil {
		return nil
	}
	out := make([]string, 0, len(s.byID))
	for id := range s.byID {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Frames gives the call frame information for a build id, nil when no file has it.
func (s *Set) Frames(buildID string) *Frames {
	for _, f := range s.Files(buildID) {
		if x := f.Frames(); x != nil {
			return x
		}
	}
	return nil
}

// Symbolize names what stands at a link address, innermost function first: source lines where a file has them, else the function of the symbol
// table. start is where the outermost of them begins, 0 when not known.
func (s *Set) Symbolize(buildID string, addr uint64) (at []Location, start uint64) {
	files := s.Files(buildID)
	for _, f := range files {
		if f.HasLines() && len(at) == 0 {
			at = f.Lines(addr)
		}
	}
	order := slices.Clone(files)
	slices.SortStableFunc(order, func(a, b *File) int { return rank(a) - rank(b) })
	for _, f := range order {
		name, begin, ok := f.Function(addr)
		if !ok {
			continue
		}
		if len(at) == 0 {
			at = []Location{{Function: name}}
		} else if last := &at[len(at)-1]; last.Function == "" || strings.HasPrefix(name, "_Z") || strings.HasPrefix(name, "_R") {
			last.Function = name
		}
		return at, begin
	}
	return at, 0
}

// rank puts files with all symbols before those that only name what they export.
func rank(f *File) int {
	if f.HasSymbols() {
		return 0
	}
	return 1
}
