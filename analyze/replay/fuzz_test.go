package replay

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/wasmortem/wasmortem/ingest/wasm"
)

// Whatever pointers, lengths and numbers a guest hands to any host call, in any order and any callback, the host stays whole: no panic but the
// one that ends a guest, no byte of another's memory, bounded memory.
func FuzzHostCalls(f *testing.F) {
	names := slices.Concat(slices.Sorted(maps.Keys(envCalls)), slices.Sorted(maps.Keys(wasiCalls)))
	find := func(name string) hostCall {
		if c, there := envCalls[name]; there {
			return c
		}
		return wasiCalls[name]
	}
	for i, name := range names {
		seed := []byte{byte(i), byte(i >> 8)}
		for range find(name).signature {
			seed = binary.LittleEndian.AppendUint32(seed, 0xfffffff0)
		}
		f.Add(seed)
		f.Add(slices.Concat(seed, []byte{byte(i), byte(i >> 8), 0, 16, 0, 0, 8, 0, 0, 0, 0, 2, 0, 0, 4, 2, 0, 0}))
	}
	var probe func(h *host, g guest) uint64
	x := probing(f, &probe)
	f.Fuzz(func(t *testing.T, data []byte) {
		left := data
		take := func(n int) uint64 {
			if len(left) < n {
				left = nil
				return 0
			}
			var b [8]byte
			copy(b[:], left[:n])
			left = left[n:]
			return binary.LittleEndian.Uint64(b[:])
		}
		stored := int64(0)
		probe = func(h *host, g guest) uint64 {
			for n := 0; n < 8 && len(left) > 0; n++ {
				c := find(names[int(take(2))%len(names)])
				var args []uint64
				for _, l := range c.signature {
					switch l {
					case 'i':
						args = append(args, take(4))
					case 'I':
						args = append(args, take(8))
					case ':':
						c.run(h, g, args)
					}
				}
			}
			stored = max(stored, h.stored)
			return take(1) % 5
		}
		sc := probed("1.40.0", true)
		sc.Limits = Limits{Memory: 1, Callback: Duration(10 * time.Second)}
		sc.Properties, sc.Environment = map[string]string{"node.id": "x"}, map[string]string{"A": "b"}
		res, err := x.Run(context.Background(), sc, false)
		if err != nil {
			t.Fatal(err)
		}
		if f := res.Failure; f != nil && f.Kind == Trap {
			t.Fatalf("the probe cannot trap, but: %+v", f)
		}
		if stored > maxStored+(8<<20) || len(res.Warnings) > 200 {
			t.Fatalf("%d bytes stored, %d warnings", stored, len(res.Warnings))
		}
	})
}

// Whatever module is written anew is one that can be read, with the same code.
func FuzzPrepare(f *testing.F) {
	f.Add(plugin{imports: []string{"proxy_log iii:i"}, body: []byte{0x41, 0}}.bytes())
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\x0f\x01\x03env\x06memory\x02\x01\x01\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := wasm.Parse(data)
		if m == nil || err != nil {
			return
		}
		link(m)
		out, err := prepare(m)
		if err != nil {
			return
		}
		again, err := wasm.Parse(out)
		if again == nil {
			t.Fatalf("what was written is no module: %v", err)
		}
		if m.CodeHash() != again.CodeHash() {
			t.Fatal("the code differs")
		}
	})
}
