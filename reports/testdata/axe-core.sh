#!/bin/sh
# Fetches axe-core, the accessibility checker that the tests of the HTML report run inside Chromium, and prints where its script is:
#
#   AXE_CORE=$(reports/testdata/axe-core.sh) go test ./reports -run Page
#
# It is not in the repository: it is another project's program (MPL 2.0), and only a test wants it.
set -eu
version=4.14.1
dir=${TMPDIR:-/tmp}/wasmortem-axe-core-$version
script=$dir/node_modules/axe-core/axe.min.js
[ -f "$script" ] || npm install --prefix "$dir" --no-audit --no-fund --ignore-scripts --silent "axe-core@$version" >&2
echo "$script"
