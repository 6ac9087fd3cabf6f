#!/bin/sh
# tests/run_units.sh - systemd's own opinion of our units
# SPDX-License-Identifier: MIT
#
# Usage: run_units.sh BUILD UNIT...
# systemd-analyze wants the program where the unit says it is, so copies that name the built one are checked.
set -eu

program=$(readlink -f "$1/rationd")
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/units"
for unit in "$@"; do
	sed "s,/usr/sbin/rationd,$program," "$unit" >"$dir/units/${unit##*/}"
done
# Warnings leave the exit status 0; those about the machine's own units are not ours.
status=0
systemd-analyze verify --man=no "$dir"/units/* >"$dir/said" 2>&1 || status=1
if grep -qF -e "$dir" -e rationd "$dir/said"; then
	status=1
fi
[ $status -eq 0 ] || cat "$dir/said"

# 0 is a locked cell, 10 the whole machine.
for unit in "$dir"/units/*.service; do
	systemd-analyze security --no-pager --offline=yes --threshold=15 "$unit" | tail -n 1 || status=1
done
exit $status
