#!/bin/sh
# Fuzzes the targets one after the other, each for SECONDS, and keeps a small corpus:
#
#   fuzz/run.sh SECONDS [TARGET…]
#
# Needs a nightly toolchain and `cargo install cargo-fuzz`. Failing inputs are in fuzz/artifacts. Copy them to
# fuzz/seeds/TARGET, which a test replays. The address sanitizer is off because none of the code under
# test is unsafe; FUZZ_SANITIZER=address turns it on.
set -eu
seconds=$1
shift
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- pipeline interpolation overrides manifest events index record tree
failed=
for target; do
  mkdir -p "work/$target" "seeds/$target"
  cargo +nightly fuzz run --fuzz-dir . -s "${FUZZ_SANITIZER:-none}" "$target" "work/$target" "seeds/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=4096 -print_final_stats=1 \
    > "work/$target.log" 2>&1 || failed="$failed $target"
  tail -n 12 "work/$target.log" | grep -E 'stat::(number_of_executed_units|average_exec)|SUMMARY|Test unit' | sed "s/^/$target: /"
done
[ -z "$failed" ] || { echo "failures in:$failed; see fuzz/work/TARGET.log and fuzz/artifacts" >&2; exit 1; }
