#!/bin/sh
# Rebuilds the Rust test modules. See README.md. Takes a minute or two on one core.
set -eu
cd "$(dirname "$0")/toll"
cargo_home=${CARGO_HOME:-$HOME/.cargo}
map="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/build/toll"
target=$(mktemp -d)
build() { # NAME FLAGS…
	name=$1
	shift
	RUSTFLAGS="$map $*" CARGO_TARGET_DIR=$target cargo build -q -j1 --release --locked --target wasm32-wasip1
	go run ../pack "$target/wasm32-wasip1/release/toll.wasm" "../../$name.wasm.gz" \
		-drop .debug_loc -drop .debug_loclists -drop .debug_names
}
build toll
build toll.names -C strip=debuginfo
build toll.stripped -C strip=symbols
build toll.dwarf5 -C dwarf-version=5
build toll.lines -C debuginfo=line-tables-only
rm -rf "$target"
