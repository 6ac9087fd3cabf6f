#!/bin/sh
# tests/run_symbols.sh - the libraries show what the headers declare, nothing else, and need what they may
# SPDX-License-Identifier: MIT
#
# Usage: run_symbols.sh BUILD
set -eu

build=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

# same WHAT: $dir/is is $dir/wanted, or else say how they differ.
same() {
	if ! diff "$dir/wanted" "$dir/is" >"$dir/diff"; then
		echo "$1 (< wanted, > is):"
		cat "$dir/diff"
		status=1
	fi
}

# What the public headers declare as visible: the name before the first parenthesis after the attributes.
# shellcheck disable=SC2020 # characters, each to a newline
cat include/ration/*.h | gcc -E -P -Iinclude - | tr '\n' ' ' | tr ';{}' '\n\n\n' |
	sed -n '/visibility("default")/{
		s/__attribute__((\([^()]\|([^()]*)\)*))//g
		s/^[^(]*[ *]\(ration_[a-z0-9_]*\) *(.*/\1/p
	}' | sort -u >"$dir/declared"
[ -s "$dir/declared" ] || {
	echo "the headers declare nothing"
	exit 1
}

for library in libration libration-embed libration-http; do
	nm -D --defined-only "$build/$library.so" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort >"$dir/$library.so"
	nm -g --defined-only "$build/$library.a" | awk 'NF == 3 { print $3 }' | sort >"$dir/$library.a"
	cp "$dir/$library.so" "$dir/wanted"
	cp "$dir/$library.a" "$dir/is"
	same "$library.a does not show what $library.so shows"
	# Versioned all, so that a later layout of the library can live beside this one.
	nm -D --defined-only "$build/$library.so" | awk '$2 != "A" && $3 !~ /@@RATION_0\.1$/' >"$dir/is"
	: >"$dir/wanted"
	same "$library.so has symbols without a version"
done
cp "$dir/declared" "$dir/wanted"
sort "$dir"/*.so >"$dir/is"
same "the libraries do not show what the headers declare"

# libration: libc (and its loader) only
objdump -p "$build/libration.so" | awk '$1 == "NEEDED" && $2 !~ /^(libc|ld-)/ { print $2 }' >"$dir/is"
: >"$dir/wanted"
same "libration needs more than libc"
exit $status
