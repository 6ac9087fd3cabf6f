#!/bin/sh
# tests/run_tests.sh - run test programs and checks, print what failed, sum up
# SPDX-License-Identifier: MIT
#
# Usage: run_tests.sh JOBS FILE
# FILE has one test a line:
#
#	criterion PROGRAM	counts the tests that Criterion reports
#	program PROGRAM		counts as one, unless it says "Tested: N | Passing: N |" as Criterion does
#	check NAME COMMAND...	so does a command for sh
#
# What failed is printed in full; the last line is the sum. A program that is not there, crashes, runs out of
# time ($RATION_TEST_SECONDS, 120) or runs no test has failed, and so has one that a sanitizer complains about,
# whether in itself or in a process it started. The exit status is 0 if all passed and some ran.
set -u

seconds=${RATION_TEST_SECONDS:-120}
export LC_ALL=C.UTF-8

# The sanitizers of gcc 12 and clang 14 do not know address spaces with more than 28 random bits.
fixed=
read -r bits 2>/dev/null </proc/sys/vm/mmap_rnd_bits || bits=28
if [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then
	fixed='setarch -R'
fi

bounded() {
	# shellcheck disable=SC2086 # two words or none
	timeout -k 5 "$seconds" $fixed "$@" </dev/null
}

# verdict STATUS: sets passed and failed as for one test. The sanitizers write into files of their own, because
# Criterion forgets how the process of a test that passed ended: leaks are found only then.
verdict() {
	passed=0 failed=1
	if cat "$log".* >>"$log" 2>/dev/null; then
		echo "(exit status $1, and the sanitizers' reports above)" >>"$log"
	elif [ "$1" -eq 0 ]; then
		passed=1 failed=0
	elif [ $(($(date +%s) - began)) -ge "$seconds" ]; then
		echo "(out of time after $seconds s)" >>"$log"
	else
		echo "(exit status $1)" >>"$log"
	fi
}

built() {
	[ -x "$1" ] || echo "($1 was not built)" >"$log"
	[ -x "$1" ]
}

# sum: "TESTED PASSED" of a program that counts as Criterion does
sum() {
	sed -n 's/.*Tested: \([0-9]*\) | Passing: \([0-9]*\) | .*/\1 \2/p' "$log" | tail -n 1
}

run_criterion() {
	built "$1" || return
	bounded "$1" --color=never --verbose >"$log" 2>&1
	verdict $?
	skipped=$(grep -c '^\[SKIP\]' "$log")
	[ "$skipped" -eq 0 ] || note=", $skipped skipped"
	count "$(sum)"
}

# count SUM: a program that fails although its tests passed (a leak, say) is one failure more.
count() {
	tested=${1% *} passed=${1#* }
	if [ "${tested:-0}" -eq 0 ]; then
		passed=0 failed=1
		echo "(no test ran to its end)" >>"$log"
	elif [ "$tested" -ne "$passed" ]; then
		failed=$((tested - passed))
	fi
}

run_program() {
	built "$1" || return
	bounded "$1" >"$log" 2>&1
	verdict $?
	[ -z "$(sum)" ] || count "$(sum)"
}

run_check() {
	bounded sh -c "$1" >"$log" 2>&1
	verdict $?
}

show() {
	what=ok
	[ "$failed" -eq 0 ] || what=FAIL
	printf '  %-5s %-32s %3s passed' $what "$name" "$passed"
	[ "$failed" -eq 0 ] || printf ', %s failed' "$failed"
	printf '%s (%s s)\n' "$note" "$took"
	[ "$failed" -eq 0 ] || grep -v '^\[\(RUN \|PASS\)\]' "$log" | sed 's/^/        /'
}

# run_one DIR NUMBER LINE: leaves "passed failed" in DIR/NUMBER.
run_one() {
	log=$1/$2.log passed=0 failed=1 note='' began=$(date +%s)
	export ASAN_OPTIONS="log_path=$log:${ASAN_OPTIONS:-strict_string_checks=1}"
	export UBSAN_OPTIONS="log_path=$log:print_stacktrace=1"
	export TSAN_OPTIONS="log_path=$log:${TSAN_OPTIONS:-halt_on_error=1}"
	rest=${3#* }
	case $3 in
	criterion*) name=${rest##*/} && run_criterion "$rest" ;;
	program*) name=${rest##*/} && run_program "$rest" ;;
	check*) name=${rest%% *} && run_check "${rest#* }" ;;
	*) name=$3 && echo "(what is this?)" >"$log" && verdict 1 ;;
	esac
	took=$(($(date +%s) - began))
	echo "$passed $failed" >"$1/$2"
	show | flock "$1/lock" cat
}

if [ "$1" = --one ]; then
	run_one "$2" "$3" "$4"
	exit 0
fi

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

count=0
while IFS= read -r line; do
	count=$((count + 1))
	printf '%s\0%s\0%s\0' "$dir" $count "$line"
done <"$2" >"$dir/lines"
xargs -0 -r -n 3 -P "$1" "$0" --one <"$dir/lines"

total_passed=0 total_failed=0
while [ $count -gt 0 ]; do
	passed=0 failed=1
	[ ! -s "$dir/$count" ] || read -r passed failed <"$dir/$count"
	total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed))
	count=$((count - 1))
done
echo "$total_passed passed, $total_failed failed"
[ $total_failed -eq 0 ] && [ $total_passed -gt 0 ]
