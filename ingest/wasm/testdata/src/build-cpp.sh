#!/bin/sh
# Rebuilds the C++ test modules with clang and wasm-ld 14 of Debian 12. See README.md.
set -eu
cd "$(dirname "$0")/ferry"
for v in 4 5; do
	clang --target=wasm32 -nostdlib -fno-exceptions -fno-rtti -O2 -ffunction-sections "-gdwarf-$v" "-ffile-prefix-map=$PWD=/build/ferry" \
		-Wl,--no-entry -Wl,--gc-sections -o ferry.wasm ferry.cc load.cc
	gzip -9 -n -c ferry.wasm >"../../ferry.dwarf$v.wasm.gz"
done
rm ferry.wasm
