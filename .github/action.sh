#!/usr/bin/env bash
# What action.yml runs: preflight and replay, told as annotations of a GitHub workflow. The exit status is 1 when a proxy would not load the module or
# a scenario did not end as it says, 2 when something could not be done.
#
# What a plugin or a module says is never printed as it is: a line that begins with :: would be a command to the runner.
set -uo pipefail
: "${MODULE:?}" "${HOSTS=}" "${SCENARIOS=}" "${SARIF:=wasmortem.sarif}"
wasmortem=${WASMORTEM:-wasmortem}
summary=${GITHUB_STEP_SUMMARY:-/dev/null}
status=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# escapes of workflow commands: for messages, and for properties, where a colon and a comma mean something, too
jq_escape='def m: gsub("%";"%25")|gsub("\r";"%0D")|gsub("\n";"%0A"); def p: m|gsub(":";"%3A")|gsub(",";"%2C");'

worse() { if [ "$1" -gt "$status" ]; then status=$1; fi; }
# rank is 0 for exit statuses that are fine, 1 for a finding, 2 for what could not be done.
rank() { case $1 in 0) echo 0 ;; 1) echo 1 ;; *) echo 2 ;; esac; }
cannot() { jq -nr --rawfile e "$2" "$jq_escape"' "::error title=" + ($t|p) + "::" + ($e[0:2000]|m)' --arg t "$1"; }

if [ -n "$HOSTS" ]; then
  args=()
  for h in $HOSTS; do args+=(--host "$h"); done
  "$wasmortem" preflight "$MODULE" "${args[@]}" --format sarif --output "$SARIF" 2>"$work/err"
  rc=$(rank $?)
  worse "$rc"
  if [ "$rc" = 2 ]; then
    cannot "wasmortem preflight" "$work/err"
  else
    jq -r "$jq_escape"'
      .runs[].results[] | (if .level == "error" then "error" elif .level == "warning" then "warning" else "notice" end) as $kind
      | (.locations[0].physicalLocation.artifactLocation.uri // "") as $file
      | "::" + $kind + " " + (if $file == "" then "" else "file=" + ($file|p) + "," end) + "title=" + ("preflight: " + .ruleId|p) + "::" + (.message.text|m)' "$SARIF"
    "$wasmortem" preflight "$MODULE" "${args[@]}" --format markdown 2>/dev/null >>"$summary"
  fi
fi

if [ -n "$SCENARIOS" ]; then
  shopt -s nullglob
  # shellcheck disable=SC2206 # a pattern is what is wanted
  files=($SCENARIOS)
  [ ${#files[@]} -gt 0 ] || { echo "no file matches $SCENARIOS" >"$work/err"; cannot "wasmortem replay" "$work/err"; worse 2; }
  for f in "${files[@]}"; do
    "$wasmortem" replay "$MODULE" --scenario "$f" --format json >"$work/out" 2>"$work/err"
    rc=$(rank $?)
    worse "$rc"
    case $rc in
    0) jq -nr --arg f "$f" "$jq_escape"' "::notice file=" + ($f|p) + ",title=replay::" + ("ended as " + $f + " says"|m)' ;;
    1) jq -r --arg f "$f" "$jq_escape"'
        ((.failure.location // "") | capture("^(?<file>[^:]+):(?<line>[0-9]+)")? // {file: $f, line: "1"}) as $at
        | "::error file=" + ($at.file|p) + ",line=" + $at.line + ",title=" + ("replay: " + $f|p) + "::"
          + (([.reasons[]?] + [.failure.message // empty, .failure.text // empty] | join("\n"))[0:2000]|m)' "$work/out" ;;
    *) cannot "wasmortem replay $f" "$work/err" ;;
    esac
  done
fi
exit "$status"
