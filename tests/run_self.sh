#!/bin/sh
# tests/run_self.sh - the runner tells what passed from what did not
# SPDX-License-Identifier: MIT
set -eu

runner=$(readlink -f "$(dirname "$0")/run_tests.sh")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

# program NAME COMMANDS...: a program that does that
program() {
	printf '#!/bin/sh\n%s\n' "$2" >"$1"
	chmod +x "$1"
}

# expect SUM LINE: what the runner says of a list with that line alone, and its exit status
expect() {
	printf '%s\n' "$2" >list
	status=0
	RATION_TEST_SECONDS=2 "$runner" 2 list >said || status=$?
	sum=$(tail -n 1 said)
	wanted=1
	case $1 in
	'0 passed, 0 failed') ;;
	*', 0 failed') wanted=0 ;;
	esac
	[ "$sum" = "$1" ] && [ $status -eq $wanted ] && return
	echo "'$2' gives '$sum', status $status; wanted: '$1', status $wanted"
	exit 1
}

sum='[====] Synthesis: Tested: 3 | Passing: %d | Failing: %d | Crashing: 0 \\n'
program good "printf '$sum' 3 0"
program bad "printf '$sum' 1 2; exit 1"
program leaky "printf '$sum' 3 0; exit 23"
program reported "printf '$sum' 3 0; log=\${ASAN_OPTIONS%%:*}; echo oops >\"\${log#log_path=}.1\""
program none "echo 'Tested: 0 | Passing: 0 | Failing: 0 | Crashing: 0'"
program silent "exit 0"
program crash "kill -SEGV \$\$"
program dies "printf '$sum' 3 0; kill -KILL \$\$"
program slow "printf '$sum' 3 0; sleep 30"

expect '3 passed, 0 failed' 'criterion ./good'
expect '1 passed, 2 failed' 'criterion ./bad'
expect '3 passed, 1 failed' 'criterion ./leaky'
expect '3 passed, 1 failed' 'criterion ./reported'
expect '3 passed, 1 failed' 'criterion ./dies'
expect '3 passed, 1 failed' 'criterion ./slow'
for program in none silent crash missing; do
	expect '0 passed, 1 failed' "criterion ./$program"
done
expect '1 passed, 0 failed' 'program ./silent'
expect '3 passed, 0 failed' 'program ./good'
expect '0 passed, 1 failed' 'program ./crash'
expect '1 passed, 0 failed' 'check name test 1 -eq 1'
expect '0 passed, 1 failed' 'check name echo no; false'
expect '0 passed, 1 failed' 'nonsense'
: >list
if "$runner" 2 list >said; then
	echo "no tests at all are a success"
	exit 1
fi
[ "$(cat said)" = '0 passed, 0 failed' ]
