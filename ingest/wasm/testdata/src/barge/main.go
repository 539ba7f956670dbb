// Command barge is a plugin in Go without an SDK: it fails in the ways that Go fails.
package main

//go:wasmexport proxy_abi_version_0_2_1
func abi() {}

type tow struct{ barges []int32 }

//go:noinline
func (t *tow) weigh(i int32) int32 { return t.barges[i] }

//go:noinline
func (t *tow) sum(n int32) (s int32) {
	for i := range n {
		s += t.weigh(i)
	}
	return s
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(id, headers, end int32) int32 {
	t := &tow{barges: []int32{5, 6, 7}}
	return t.sum(headers)
}

func main() {}
