#!/bin/sh
# tests/run_tests.sh - run test programs and checks, print what failed, sum up
# SPDX-License-Identifier: MIT
#
# Usage: run_tests.sh JOBS FILE
# FILE has one test a line: "criterion PROGRAM" counts the tests that Criterion reports, "check NAME COMMAND..." counts as
# one. Each gets $RATION_TEST_SECONDS (180). What failed is printed in full; the last line is the sum. A program that
# crashes, runs out of time or runs no test has failed.
set -u

seconds=${RATION_TEST_SECONDS:-180}

# One line of FILE: run it, leave "passed failed" in $2 and its output in $2.log.
run_one() {
	line=$1 out=$2
	kind=${line%% *}
	rest=${line#* }
	case $kind in
	criterion)
		timeout -k 5 "$seconds" "$rest" >"$out.log" 2>&1 </dev/null
		status=$?
		sum=$(sed -n 's/.*Tested: \([0-9]*\) | Passing: \([0-9]*\) | Failing: \([0-9]*\) | Crashing: \([0-9]*\).*/\2 \1/p' "$out.log" | tail -1)
		passed=${sum% *} tested=${sum#* }
		if [ -z "$sum" ] || [ "$tested" -eq 0 ]; then
			echo "0 1" >"$out"
			echo "(ended with status $status without a sum)" >>"$out.log"
		elif [ "$status" -ne 0 ] && [ "$passed" -eq "$tested" ]; then
			echo "$passed 1" >"$out"
			echo "(ended with status $status)" >>"$out.log"
		else
			echo "$passed $((tested - passed))" >"$out"
		fi
		name=$(basename "$rest")
		;;
	check)
		name=${rest%% *}
		timeout -k 5 "$seconds" sh -c "${rest#* }" >"$out.log" 2>&1 </dev/null
		if [ $? -eq 0 ]; then echo "1 0"; else echo "0 1"; fi >"$out"
		;;
	esac
	read -r passed failed <"$out"
	if [ "$failed" -eq 0 ]; then
		printf '  ok    %-28s %s passed\n' "$name" "$passed"
	else
		printf '  FAIL  %-28s %s passed, %s failed\n' "$name" "$passed" "$failed"
		sed 's/^/        /' "$out.log"
	fi
}

if [ "$1" = --one ]; then
	run_one "$2" "$3"
	exit 0
fi

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
n=0
while IFS= read -r line; do
	n=$((n + 1))
	printf '%s\0%s\0' "$line" "$dir/$n"
done <"$2" | xargs -0 -r -n 2 -P "$1" "$0" --one

passed=0 failed=0
for out in "$dir"/*; do
	case $out in *.log) continue ;; esac
	[ -f "$out" ] || continue
	read -r p f <"$out"
	passed=$((passed + p)) failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
