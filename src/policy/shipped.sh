#!/bin/sh
# src/policy/shipped.sh - adapters as C: the table that shipped.h declares
# SPDX-License-Identifier: MIT
#
# Usage: shipped.sh FILE.yaml... >vendors.c
set -eu
export LC_ALL=C

echo '/* made by src/policy/shipped.sh */'
echo '#include "policy/shipped.h"'
n=0
for file; do
	echo "static const char text_$n[] ="
	sed -e 's/[\\"]/\\&/g' -e 's/^/"/' -e 's/$/\\n"/' "$file"
	echo ';'
	n=$((n + 1))
done
echo 'const struct shipped_adapter shipped_adapters[] = {'
n=0
for file; do
	name=${file##*/}
	echo "{\"${name%.yaml}\", text_$n, sizeof(text_$n) - 1},"
	n=$((n + 1))
done
echo '{0}, };'
