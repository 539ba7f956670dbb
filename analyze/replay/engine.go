package replay

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// pageSize is that of linear memories, in bytes.
const pageSize = 64 << 10

// program is a compiled module with its imports linked to the stub host. Instances of it share nothing.
type program struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	counted  bool // calls are counted, see depth
}

// compile compiles a module. With counted, every call of a function is counted, which is slow but can end a recursion with a backtrace.
func compile(ctx context.Context, m *wasm.Module, imports []linked, memory uint32, counted bool) (p *program, err error) {
	data, err := prepare(m)
	if err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("compiling the module: the engine failed: %v", r)
		}
	}()
	if counted {
		ctx = experimental.WithFunctionListenerFactory(ctx, depthFactory{})
	}
	features := api.CoreFeaturesV2 | experimental.CoreFeaturesExtendedConst | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesThreads
	config := wazero.NewRuntimeConfig().WithDebugInfoEnabled(true).WithCloseOnContextDone(true).WithMemoryLimitPages(memory).WithCoreFeatures(features)
	p = &program{runtime: wazero.NewRuntimeWithConfig(ctx, config), counted: counted}
	if p.compiled, err = p.runtime.CompileModule(ctx, data); err != nil {
		p.close()
		return nil, fmt.Errorf("compiling the module: %s", printable(err.Error()))
	}
	if len(imports) > 0 {
		host := p.runtime.NewHostModuleBuilder("h")
		for i, f := range p.compiled.ImportedFunctions() {
			l := &imports[i]
			host.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
				hostOf(ctx).enter(ctx, mod, l, stack)
			}), f.ParamTypes(), f.ResultTypes()).WithName(fmt.Sprint(i)).Export(fmt.Sprint(i))
		}
		if _, err = host.Instantiate(ctx); err != nil {
			p.close()
			return nil, fmt.Errorf("linking the module: %s", printable(err.Error()))
		}
	}
	return p, nil
}

func (p *program) close() { _ = p.runtime.Close(context.Background()) }

type hostKey struct{}

func hostOf(ctx context.Context) *host { return ctx.Value(hostKey{}).(*host) }

// instance is a running copy of a program.
type instance struct {
	module api.Module
	memory *linearMemory
	host   *host
	time   time.Duration // of one callback
}

// instantiate makes an instance. The start section runs in it, so that it may trap; the error is then a *trap.
func (p *program) instantiate(ctx context.Context, h *host, limit time.Duration) (in *instance, err error) {
	in = &instance{host: h, time: limit, memory: &linearMemory{}}
	ctx = context.WithValue(ctx, hostKey{}, h)
	ctx = experimental.WithMemoryAllocator(ctx, in.memory)
	// The engine asks the instance whether it was closed at every loop and function. It then tells this function, on the goroutine of the
	// guest; an error thrown from here becomes a trap at the place where the guest was.
	ctx = experimental.WithCloseNotifier(ctx, experimental.CloseNotifyFunc(func(context.Context, uint32) {
		if h.running {
			panic(&stop{kind: Hang, text: fmt.Sprintf("did not return within %s", limit)})
		}
	}))
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h.running = true
	defer func() { h.running = false }()
	err = guarded(func() (err error) {
		in.module, err = p.runtime.InstantiateModule(limited, p.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		return err
	})
	return in, err
}

func (in *instance) close() {
	if in.module != nil {
		_ = guarded(func() error { return in.module.Close(context.Background()) })
	}
	in.memory.Free()
}

// call calls an exported function. The error is a *trap for everything that the guest did.
func (in *instance) call(ctx context.Context, name string, args ...uint64) (result uint64, err error) {
	f := in.module.ExportedFunction(name)
	if f == nil {
		return 0, fmt.Errorf("calling %s: the module does not export it", printable(name))
	}
	limited, cancel := context.WithTimeout(context.WithValue(ctx, hostKey{}, in.host), in.time)
	defer cancel()
	was := in.host.running
	in.host.running = true
	defer func() { in.host.running = was }()
	err = guarded(func() error {
		results, err := f.Call(limited, args...)
		if len(results) > 0 {
			result = results[0]
		}
		return err
	})
	if err != nil && ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return result, err
}

// guarded turns what the engine gives or throws into a *trap.
func guarded(f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *stop:
			err = &trap{stop: r}
		default:
			err = &trap{text: fmt.Sprintf("the engine failed: %v", r), detail: string(debug.Stack())}
		}
	}()
	if err = f(); err != nil {
		return newTrap(err)
	}
	return nil
}

// stop is thrown by the host through the guest, which it ends.
type stop struct {
	kind   Kind
	text   string
	inner  *trap // of a call that the host made meanwhile, whose frames stand above
	export string
}

func (s *stop) Error() string { return s.text }

// trap is the end of a guest.
type trap struct {
	stop   *stop // nil when the guest trapped by itself
	text   string
	detail string
	frames []place
	cut    bool // more frames may have been there
}

// place is where a frame of the guest stood.
type place struct {
	function uint32
	offset   uint64 // from the start of the Code section's payload
}

func (t *trap) Error() string { return t.text }

// overflow says whether the engine ended a recursion, which it does without a backtrace.
func (t *trap) overflow() bool { return t.stop == nil && strings.Contains(t.text, "stack overflow") }

// maxFrames is how many frames wazero tells: 30, of which the outermost or the host's own may be none of the guest's.
const maxFrames = 29

var (
	engineFrame = regexp.MustCompile(`^\t\.\$(\d+)\(`)
	engineLine  = regexp.MustCompile(`^\t\t(0x[0-9a-f]+): `)
)

// newTrap reads what wazero says. Its text is ours alone: [prepare] removed every name that the module chose.
func newTrap(err error) *trap {
	t := &trap{}
	var s *stop
	if errors.As(err, &s) {
		t.stop, t.text = s, s.text
		if s.inner != nil {
			t.frames, t.cut = s.inner.frames, s.inner.cut
			t.text = s.inner.text
		}
	}
	head, trace, _ := strings.Cut(err.Error(), "wasm stack trace:\n")
	if t.stop == nil {
		t.text = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(head), "(recovered by wazero)"))
	}
	frame := false
	for line := range strings.Lines(trace) {
		line = strings.TrimRight(line, "\n")
		if m := engineFrame.FindStringSubmatch(line); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 32)
			t.frames = append(t.frames, place{function: uint32(n)})
			frame = true
			continue
		}
		if m := engineLine.FindStringSubmatch(line); m != nil && frame {
			t.frames[len(t.frames)-1].offset, _ = strconv.ParseUint(m[1], 0, 64)
		}
		frame = false
	}
	t.cut = t.cut || len(t.frames) >= maxFrames
	return t
}

// depthFactory counts calls, so that a recursion can be ended where it is.
type depthFactory struct{}

func (depthFactory) NewFunctionListener(api.FunctionDefinition) experimental.FunctionListener {
	return depthListener{}
}

type depthListener struct{}

func (depthListener) Before(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	h := hostOf(ctx)
	h.depth++
	h.deepest = max(h.deepest, h.depth)
	if h.maxDepth > 0 && h.depth > h.maxDepth {
		h.depth = 0
		panic(&stop{kind: Trap, text: "wasm error: stack overflow"})
	}
}

func (depthListener) After(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64) {
	hostOf(ctx).depth--
}

func (depthListener) Abort(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ error) {
	hostOf(ctx).depth--
}
