#!/bin/sh
# tests/run_fuzz.sh - run one fuzz target: a fixed number of times, always the same, or for some time
# SPDX-License-Identifier: MIT
#
# Usage: run_fuzz.sh DIRECTORY NAME runs NUMBER
#        run_fuzz.sh DIRECTORY NAME for SECONDS
# DIRECTORY has the target as tests/fuzz_NAME, and gets what it begins with as seeds/; what a long run finds is kept in
# corpus-NAME, and an input that breaks something in crash-*. The last line says how often it ran.
set -eu
export LC_ALL=C
directory=$1 name=$2 how=$3 number=$4

tests/fuzz_seeds.py "$directory/seeds.$$"
trap 'rm -rf "$directory/seeds.$$"' EXIT
set -- -timeout=10 -rss_limit_mb=2048 -max_len=8192 -verbosity=0 -print_final_stats=1 \
	"-artifact_prefix=$directory/" "-dict=$directory/seeds.$$/words"
if [ "$how" = runs ]; then
	set -- "$@" -seed=1 "-runs=$number" "$directory/seeds.$$/$name"
else
	mkdir -p "$directory/corpus-$name"
	set -- "$@" "-max_total_time=$number" "$directory/corpus-$name" "$directory/seeds.$$/$name"
fi
status=0
"$directory/tests/fuzz_$name" "$@" 2>"$directory/$name.log" || status=$?
if [ "$status" -ne 0 ]; then
	cat "$directory/$name.log"
	exit "$status"
fi
echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$directory/$name.log") executions"
