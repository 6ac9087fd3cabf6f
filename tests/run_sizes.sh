#!/bin/sh
# tests/run_sizes.sh - how long functions are; fails if one has more than 80 lines
# SPDX-License-Identifier: MIT
#
# Usage: run_sizes.sh FILE.c...
ctags -x --c-kinds=f --fields=+ne --_xformat='%{end} %n %F %N' "$@" |
	awk '{print $1 - $2 + 1, $3, $4}' | sort -n |
	awk '{ size[NR] = $1; if ($1 > 80) { print $2 ": " $3 " has " $1 " lines, at most 80 are allowed"; long++ } }
	     END { printf "functions: %d, lines: median %d, p90 %d, longest %d\n", NR, size[int((NR + 1) / 2)],
		   size[int(NR * 0.9 + 0.99)], size[NR]; exit long > 0 }'
