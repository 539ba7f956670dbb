#!/bin/sh
# Builds the programs and makes the dumps that are committed here. Needs gcc, aarch64-linux-gnu-gcc, qemu-aarch64, zstd, and a kernel that writes
# dumps into the working folder (/proc/sys/kernel/core_pattern is "core"). The dumps differ in addresses and process ids each time, so the
# goldens have to be renewed (go test ./ingest/elfcore -update).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
flags="-O1 -g -gz=none -nostdlib -static -ffreestanding -fno-stack-protector -fasynchronous-unwind-tables -Wl,--build-id -Wl,--eh-frame-hdr -fdebug-prefix-map=$here=."
gcc $flags -fomit-frame-pointer "$here/fault.c" -o fault
aarch64-linux-gnu-gcc $flags -Wl,-z,separate-code "$here/fault.c" -o fault.aarch64
ulimit -c unlimited
ulimit -s 256
for how in read kill plain deep; do
  rm -f core*
  env -i POD_NAME=checkout-1 POD_NAMESPACE=shop API_TOKEN=hunter2 ./fault "$how" || true
  zstd -q -19 -f core* -o "$here/$how.core.zst"
  rm -f core* qemu*.core
  env -i POD_NAME=checkout-1 POD_NAMESPACE=shop API_TOKEN=hunter2 qemu-aarch64 ./fault.aarch64 "$how" || true
  mv qemu*.core arm.core 2>/dev/null || mv core* arm.core
  zstd -q -19 -f arm.core -o "$here/$how.aarch64.core.zst"
done
zstd -q -19 -f fault -o "$here/fault.zst"
zstd -q -19 -f fault.aarch64 -o "$here/fault.aarch64.zst"
