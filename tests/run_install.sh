#!/bin/sh
# tests/run_install.sh - install, build a program against what was installed, uninstall
# SPDX-License-Identifier: MIT
#
# Usage: run_install.sh BUILD MAKE...
set -eu

build=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$@" B="$build" DESTDIR="$dir/root" PREFIX=/opt/ration install
for file in bin/ration sbin/rationd lib/libration.so.0 lib/libration.a include/ration/ration.h; do
	[ -e "$dir/root/opt/ration/$file" ] || {
		echo "$file was not installed"
		exit 1
	}
done
"$dir/root/opt/ration/bin/ration" --version
"$dir/root/opt/ration/sbin/rationd" --version

export PKG_CONFIG_PATH="$dir/root/opt/ration/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$dir/root"
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1
cat >"$dir/user.c" <<'END'
#include <ration/http.h>
#include <ration/ration.h>
#include <stdio.h>

int main(void)
{
	struct ration *ration = NULL;
	struct ration_http *engine = NULL;
	struct ration_error error;

	ration_http_free(&engine);
	if (ration_embed("/nonexistent/policy.yaml", &ration, &error) >= 0)
		return 1;
	puts(error.text);
	return ration_attach("/nonexistent/ration.sock", 0, &ration, &error) != RATION_ESUPERVISOR;
}
END
packages='libration-http libration-embed libration'
# shellcheck disable=SC2046,SC2086 # lists of words
gcc -Wall -Werror -o "$dir/shared" "$dir/user.c" $(pkg-config --cflags --libs $packages)
LD_LIBRARY_PATH="$dir/root/opt/ration/lib" "$dir/shared"
rm "$dir"/root/opt/ration/lib/*.so*
unset PKG_CONFIG_SYSROOT_DIR
# shellcheck disable=SC2046,SC2086
gcc -Wall -Werror -o "$dir/static" "$dir/user.c" -I"$dir/root/opt/ration/include" \
	-L"$dir/root/opt/ration/lib" -lration-http -lration-embed -lration \
	$(pkg-config --libs $(sed -n 's/^Requires.private: //p' "$PKG_CONFIG_PATH"/*.pc))
"$dir/static"

"$@" B="$build" DESTDIR="$dir/root" PREFIX=/opt/ration uninstall
left=$(find "$dir/root" ! -type d)
[ -z "$left" ] || {
	echo "left behind:"
	echo "$left"
	exit 1
}
