//go:build js

// A Go program built for a browser (GOOS=js): it imports from gojs, which no Envoy has.
package main

func main() {}

//go:wasmexport proxy_abi_version_0_2_1
func abi() {}
