#!/bin/sh
# tests/run_units.sh - systemd's own opinion of our units
# SPDX-License-Identifier: MIT
#
# Usage: run_units.sh BUILD
# systemd-analyze wants the program where the unit says it is, so the units are checked as copies that name the built one.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
program=$(readlink -f "$1/rationd")
for unit in rationd.service rationd.socket; do
	sed "s,/usr/sbin/rationd,$program," "systemd/$unit" >"$dir/$unit"
done
said=$(systemd-analyze verify --man=no "$dir/rationd.service" "$dir/rationd.socket" 2>&1) || {
	echo "$said"
	exit 1
}
if [ -n "$said" ]; then
	echo "$said"
	exit 1
fi
systemd-analyze security --offline=yes --threshold=15 "$dir/rationd.service" | tail -1
