#!/bin/sh
# tests/model/mutate.sh - is a mistake in src/shm found by exploring every interleaving?
# SPDX-License-Identifier: MIT
#
# Usage: mutate.sh BUILD PATCH AREA...
# Applies PATCH (-p1, against the top of the project) to a copy of the sources below BUILD, compiles it and
# explores the scenarios of each AREA until a violation is found. The exit status is 0 if one was.
# $MODEL_CC is the compiler with its flags but for where headers are; BUILD holds the areas' objects, engine.a and shm.a.
set -u

build=$1 patch=$2
shift 2
name=$(basename "$patch" .patch)
dir=$build/mutants/$name

fail() {
	echo "$name: $*"
	exit 2
}

rm -rf "$dir"
mkdir -p "$dir" || exit 2
cp -r src include "$dir/" || exit 2
patch -s -p1 -d "$dir" --no-backup-if-mismatch <"$patch" || fail "the patch does not apply"

# What only changes a .c file is compiled alone; with a header everything is.
changed=$(diff -rq src "$dir/src" | sed -n 's/^Files \(.*\) and .* differ$/\1/p')
[ -n "$changed" ] || fail "the patch changes nothing"
case $changed in
*.h*) changed=$(echo src/shm/*.c) engine="$(echo tests/model/*.c)" ;;
*) engine= ;;
esac

# shellcheck disable=SC2086 # lists of files
compile() {
	MODEL_CC="$MODEL_CC -I$dir/include -I$dir/src"
	for c in $changed; do
		$MODEL_CC -c -o "$dir/$(basename "$c" .c).o" "$dir/$c" || return
	done
	for c in $engine; do
		$MODEL_CC -c -o "$dir/model_$(basename "$c" .c).o" "$c" || return
	done
}
compile || fail "it does not compile"

# An area's own object, whether it had to be compiled again or not, and all that it needs.
link() {
	own=$build/tests/model/$1.o rest="$build/engine.a $build/shm.a"
	if [ -n "$engine" ]; then
		own=$dir/model_$1.o rest=
		for e in $MODEL_ENGINE; do
			rest="$rest $dir/model_$e.o"
		done
	fi
	# shellcheck disable=SC2046,SC2086
	$MODEL_CC -o "$dir/$1" "$own" $(for c in $changed; do echo "$dir/$(basename "$c" .c).o"; done) $rest
}

found= late=
for area; do
	link "$area" || fail "it does not link"
	timeout "${RATION_MODEL_SECONDS:-600}" "$dir/$area" --hunt >"$dir/$area.log" 2>&1
	status=$?
	if [ $status -eq 1 ] && grep -q 'violation:' "$dir/$area.log"; then
		found=$area
		break
	elif [ $status -gt 128 ]; then
		echo "    violation: an actor crashed, status $status" >>"$dir/$area.log"
		found=$area
		break
	fi
	[ $status -ne 124 ] || late="$late ($area was not explored to its end)"
done
if [ -z "$found" ]; then
	echo "$name: NOT FOUND by $*$late"
	exit 1
fi
echo "$name: found by $found:"
sed -n '/violation:/,$p' "$dir/$found.log" | head -n 60
