#!/usr/bin/env bash
# Runs every fuzzer of a build folder for some seconds: scripts/fuzz.sh build/fuzz 20 [name ...]. What it found and
# kept lies in <build>/corpus/<name>; an input that fails is written to <build>/crash-..., and its fuzzer is named.
set -uo pipefail
build=$1
seconds=$2
shift 2
# Arrow and librdkafka keep memory until the process ends.
export ASAN_OPTIONS=detect_leaks=0
failed=()
if [ $# -eq 0 ]; then
  for fuzzer in "$build"/*_fuzz; do set -- "$@" "$(basename "$fuzzer")"; done
fi
for name in "$@"; do
  mkdir -p "$build/corpus/$name"
  seeds=()
  [ -d "tests/fuzz/$name" ] && seeds=("tests/fuzz/$name")  # some begin with nothing
  if "$build/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
    -artifact_prefix="$build/crash-$name-" "$build/corpus/$name" "${seeds[@]}" >"$build/$name.log" 2>&1; then
    echo "$name: $(grep -c . <(ls "$build/corpus/$name")) inputs kept, $(grep -aoE '^Done [0-9]+ runs' "$build/$name.log")"
  else
    tail -40 "$build/$name.log"
    failed+=("$name")
  fi
done
[ ${#failed[@]} -eq 0 ] || { echo "fuzzers that found something: ${failed[*]}"; exit 1; }
