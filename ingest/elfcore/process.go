package elfcore

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/wasmortem/wasmortem/ingest/elf"
)

// Entries of the auxiliary vector (include/uapi/linux/auxvec.h).
const (
	atPHDR        = 3
	atRandom      = 25
	atSysinfoEHDR = 33
)

// findModules makes modules of mappings and reads their headers, which the kernel dumps for every mapped program and library.
func (c *Core) findModules() {
	byPath := map[string]*Module{}
	for i := range c.Mappings {
		m := &c.Mappings[i]
		x := byPath[m.Path]
		if x == nil || m.Offset == 0 && x.header == nil && x.Base > m.Start {
			x = &Module{Path: m.Path, Base: m.Start - m.Offset}
			byPath[m.Path] = x
			c.Modules = append(c.Modules, x)
		}
		x.End = max(x.End, m.End)
	}
	if v := c.aux[atSysinfoEHDR]; v != 0 {
		if s := c.segment(v); s != nil {
			c.Modules = append(c.Modules, &Module{Path: "[vdso]", Base: v, End: s.End()})
		}
	}
	at := c.aux[atPHDR]
	if s := c.segment(at); at >= elf.HeaderSize && s != nil && c.mapping(at) == nil {
		c.Modules = append(c.Modules, &Module{Path: cmp.Or(c.Command, "the program"), Base: at - elf.HeaderSize, End: s.End()})
	}
	run := c.running()
	kept := c.Modules[:0]
	for _, m := range c.Modules {
		h, err := elf.HeaderAt(c.ReadAt, m.Base)
		if err == nil {
			m.header, m.Bias = h, m.Base-h.Base()
			m.BuildID = h.BuildIDAt(c.ReadAt, m.Bias)
			for i := range h.Segments {
				if s := &h.Segments[i]; s.Type == elf.PTLoad && s.Memory < 1<<40 && m.Path != "[vdso]" {
					m.End = max(m.End, m.Bias+s.Addr+s.Memory)
				}
			}
		} else {
			m.Bias = m.Base
		}
		m.Program = at >= m.Base && at < m.End
		if (err == nil || run[m.Path] || m.Program) && len(kept) < maxModules {
			kept = append(kept, m) // others are data: locales, caches
		}
	}
	c.Modules = kept
	slices.SortFunc(c.Modules, func(a, b *Module) int { return cmp.Compare(a.Base, b.Base) })
}

// running lists the files of which some mapping may be executed.
func (c *Core) running() map[string]bool {
	run := map[string]bool{}
	for i := range c.Mappings {
		if s := c.segment(c.Mappings[i].Start); s != nil && s.Executable {
			run[c.Mappings[i].Path] = true
		}
	}
	return run
}

// maxModules is how many programs and libraries are told apart.
const maxModules = 4096

// Module finds the program or library that an address lies in, nil when it is in none.
func (c *Core) Module(addr uint64) *Module {
	for _, m := range c.Modules {
		if addr < m.Base || addr >= m.End {
			continue
		}
		if x := c.mapping(addr); x != nil && x.Path != m.Path {
			continue
		}
		return m
	}
	return nil
}

// Uses says whether a program or library of the build id was loaded.
func (c *Core) Uses(buildID string) bool {
	for _, m := range c.Modules {
		if m.BuildID == buildID && buildID != "" {
			return true
		}
	}
	return false
}

func (c *Core) mapping(addr uint64) *Mapping {
	i, _ := slices.BinarySearchFunc(c.Mappings, addr, func(m Mapping, a uint64) int {
		if m.End <= a {
			return -1
		}
		return 1
	})
	if i == len(c.Mappings) || addr < c.Mappings[i].Start {
		return nil
	}
	return &c.Mappings[i]
}

// Generated says whether an address is code that no file holds: compiled while the process ran, as V8 does with wasm. Where the dump has lost which
// files were mapped, nothing is.
func (c *Core) Generated(addr uint64) bool {
	s := c.segment(addr)
	return len(c.Mappings) > 0 && s != nil && s.Executable && c.mapping(addr) == nil && c.Module(addr) == nil
}

// Executable says whether an address lies where code may run.
func (c *Core) Executable(addr uint64) bool {
	s := c.segment(addr)
	return s != nil && s.Executable
}

// Bounds of the command line and environment.
const (
	maxStrings = 1 << 14
	maxArg     = 256
	aboveAux   = 256 << 10 // how far below AT_RANDOM the vectors are looked for
)

// readArgs finds the command line and the environment at the upper end of the first stack, where the kernel put them: a count, pointers, a
// zero, pointers to the environment, a zero, and the auxiliary vector, which a note repeats.
func (c *Core) readArgs() {
	random := c.aux[atRandom]
	s := c.segment(random)
	if s == nil || len(c.auxBytes) < 32 {
		return
	}
	start := max(s.Start, random-min(random, aboveAux))
	b := make([]byte, random-start)
	b = b[:c.ReadAt(b, start)]
	at := bytes.LastIndex(b, c.auxBytes[:32])
	if at < 0 || at%8 != int((8-start%8)%8) {
		return
	}
	var env []uint64
	i := at - 16 // over the zero behind the environment
	for ; i >= 0 && le.Uint64(b[i:]) != 0 && len(env) < maxStrings; i -= 8 {
		env = append(env, le.Uint64(b[i:]))
	}
	var args []uint64
	for i -= 8; i >= 0 && len(args) < maxStrings; i -= 8 {
		v := le.Uint64(b[i:])
		if v == uint64(len(args)) {
			slices.Reverse(args)
			c.takeArgs(args)
			break
		}
		args = append(args, v)
	}
	for _, p := range env {
		name, value, ok := strings.Cut(c.text(p, 1024), "=")
		if !ok {
			continue
		}
		c.EnvNames = append(c.EnvNames, name)
		switch name {
		case "POD_NAME":
			c.Pod = value
		case "POD_NAMESPACE":
			c.Namespace = value
		}
	}
	slices.Sort(c.EnvNames)
}

// takeArgs reads the arguments. Envoy's bootstrap may be one of them, with whatever secrets it holds.
func (c *Core) takeArgs(pointers []uint64) {
	if len(pointers) == 0 {
		return
	}
	var args []string
	hide := false
	for _, p := range pointers {
		a := c.text(p, maxArg+1)
		flag, _, given := strings.Cut(a, "=")
		secret := flag == "--config-yaml" || strings.Contains(flag, "token") || strings.Contains(flag, "password") || strings.Contains(flag, "secret")
		switch {
		case hide:
			a = "(not shown)"
		case secret && given:
			a = flag + "=(not shown)"
		case len(a) > maxArg:
			a = a[:maxArg] + "…"
		}
		hide = secret && !given && strings.HasPrefix(flag, "-")
		args = append(args, a)
	}
	c.Args, c.ArgsCut = args, false
}

// text reads a string of the process, at most limit bytes.
func (c *Core) text(addr uint64, limit int) string {
	b := make([]byte, limit)
	return cString(b[:c.ReadAt(b, addr)])
}

// Name is the file name of a module.
func (m *Module) Name() string { return m.Path[strings.LastIndexByte(m.Path, '/')+1:] }

// Link is the link address of an address in memory.
func (m *Module) Link(addr uint64) uint64 { return addr - m.Bias }

func (m *Module) String() string {
	return fmt.Sprintf("%s (%s)", m.Path, cmp.Or(m.BuildID, "no build id"))
}
