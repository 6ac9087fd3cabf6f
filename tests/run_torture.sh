#!/bin/sh
# tests/run_torture.sh - the long forms of the tests that kill, refuse and scribble
# SPDX-License-Identifier: MIT
#
# Usage: run_torture.sh BUILD SECONDS
# Each takes an equal part of the time. The last line has the figures of all; the exit status is 0 if nothing was wrong.
set -eu
export LC_ALL=C.UTF-8
build=$1 seconds=$2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
set -- "$build"/asan/tests/test_torture "$build"/asan/tests/test_faults
part=$((seconds / $#))
figures= status=0
for program in "$@"; do
	RATION_TORTURE_FOR=$part RATION_FAULTS_FOR=$part RATION_BUILD=$build/asan \
		"$program" --color=never --verbose >"$log" 2>&1 || status=1
	[ $status -eq 0 ] || cat "$log"
	figures="$figures${figures:+; }$(sed -n 's/^figures: //p' "$log")"
done
echo "torture: $figures"
exit $status
