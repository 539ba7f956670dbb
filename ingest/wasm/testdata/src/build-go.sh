#!/bin/sh
# Rebuilds the Go test module. See README.md.
set -eu
cd "$(dirname "$0")/barge"
out=$(mktemp)
GOOS=wasip1 GOARCH=wasm GOWORK=off GOFLAGS= go build -trimpath -buildvcs=false -buildmode=c-shared -o "$out" .
cd ..
go run ./pack "$out" ../barge.wasm.gz -bodies '^main\.|^proxy_|^runtime\.(abort|exit|fatalpanic|gopanic|goPanicIndex|panicCheck1|printpanics|throw)$'
rm "$out"
