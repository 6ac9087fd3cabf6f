#!/bin/sh
# bench/run.sh - run all benchmarks; options are passed on to each (--rounds N, --json)
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."

# The benchmarks' servers end with them; what they leave when interrupted lies here.
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/ration-bench.XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

status=0
for bench in "${RATION_BUILD:-build}"/bench/bench_*; do
	case $bench in
	*.o | *.d) continue ;;
	esac
	"$bench" "$@" || status=1
done
exit $status
