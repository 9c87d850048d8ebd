# SPDX-License-Identifier: Apache-2.0
# What every development command needs: messages, packages, builds.

die() { # exit code, sentence
	echo "$2" >&2
	exit "$1"
}

say() { printf '%s\n' "$*"; }

need_root() {
	[ "$(id -u)" = 0 ] || die 1 "dev: this command makes network namespaces and containers: run it with sudo"
}

# Debian packages: first what a build needs, then what running and testing need.
COVEY_PACKAGES="gcc meson ninja-build pkg-config libzmq3-dev libsodium-dev libmsgpack-dev
libsqlite3-dev libsystemd-dev libyaml-dev libarchive-dev libcurl4-openssl-dev libnftables-dev
libjansson-dev libssl-dev libsmartcols-dev libmicrohttpd-dev libseccomp-dev libinih-dev
libzstd-dev libcmocka-dev
runc crun conmon nftables iproute2 procps jq curl python3 busybox-static kmod
clang llvm valgrind wrk strace afl++ zstd"

deps_install() {
	local missing=() package
	for package in $COVEY_PACKAGES; do
		dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
			missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die 1 "dev: these Debian packages are missing: ${missing[*]}; run \`sudo ./dev deps\` once"
	say "installing ${#missing[@]} Debian packages ..."
	local log
	log=$(mktemp)
	{
		apt-get update &&
			DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
	} >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		die 1 "dev: apt-get could not install the packages; the whole log is in $log"
	}
	rm -f "$log"
}

build_into() { # folder, meson arguments
	local folder=$1 log
	shift
	log=$folder.log
	mkdir -p "$(dirname "$folder")"
	if [ ! -f "$folder/build.ninja" ]; then
		meson setup "$folder" "$COVEY_SOURCE" "$@" >"$log" 2>&1 || {
			tail -n 30 "$log" >&2
			die 1 "dev: the build could not be configured; the whole log is in $log"
		}
	fi
	ninja -C "$folder" >"$log" 2>&1 || {
		grep -E -A8 'error|warning|FAILED' "$log" | head -60 >&2
		die 1 "dev: the build failed; the whole log is in $log"
	}
}

build_plain() {
	say "building into $COVEY_BUILD ..."
	build_into "$COVEY_BUILD" -Dwerror=true -Dtests=disabled
}
