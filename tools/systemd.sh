# SPDX-License-Identifier: Apache-2.0
# Covey as an administrator has it: Debian packages, and nodes that are booted Debian systems
# (systemd-nspawn) in the fleet's network namespaces. Nothing here is needed by the plain suite.

SYSTEMD_PACKAGES="debhelper scdoc debootstrap systemd-container dbus"
SYSTEMD_CACHE=${COVEY_CACHE:-/var/cache/covey-dev}
SYSTEMD_BASE=$SYSTEMD_CACHE/bookworm-1 # the number changes with what is in it
# What the base system holds besides systemd: what Covey's packages depend on, and the tests' tools.
SYSTEMD_INCLUDE="systemd systemd-sysv dbus procps curl jq iproute2 nftables runc conmon libzmq5
libsodium23 libmsgpackc2 libsqlite3-0 libcyaml1 libyaml-0-2 libarchive13 libcurl4 libnftables1
libjansson4 libssl3 libsmartcols1 libmicrohttpd12 libseccomp2 libinih1"

# ---- packages ----

# Into build/package/VERSION/; a version that is there and newer than every source stays.
package_main() {
	local version
	version=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$COVEY_SOURCE/meson.build" | head -1)
	[ "${1:-}" != --version ] || version=$2
	[[ $version =~ ^[0-9][0-9a-z.+~]*$ ]] || die 2 "dev package: \`$version\` is not a version of Debian"
	need_root
	COVEY_PACKAGES="$COVEY_PACKAGES $SYSTEMD_PACKAGES" deps_install
	package_build "$version"
	say "packages of Covey $version are in $(package_folder "$version")"
}

package_folder() { echo "$COVEY_BUILD/package/$1"; }

package_sources() { # what belongs to the project, whether it is under git or not
	cd "$COVEY_SOURCE"
	git ls-files -co --exclude-standard 2>/dev/null || find . -path './build*' -prune -o -type f -print
}

package_is_fresh() { # version
	local stamp
	stamp=$(package_folder "$1")/stamp
	[ -f "$stamp" ] || return 1
	[ -z "$(package_sources | grep -E '\.(c|h|sql|py|in|conf|scd|catalog|sysusers|tmpfiles|socket|build)$|^packaging/' |
		(cd "$COVEY_SOURCE" && xargs -d '\n' sh -c 'find "$@" -newer "$0" 2>/dev/null' "$stamp") | head -1)" ]
}

package_build() { # version
	local folder stamp log
	package_is_fresh "$1" && return 0
	folder=$(package_folder "$1")
	log=$COVEY_BUILD/package-$1.log
	say "building Debian packages of Covey $1 ..."
	rm -rf "$folder"
	mkdir -p "$folder/covey"
	stamp=$(mktemp "$folder/stamp.XXXXXX") # as old as the sources that go in
	package_sources | (cd "$COVEY_SOURCE" && xargs -d '\n' ls -d 2>/dev/null || true) |
		tar -C "$COVEY_SOURCE" -c --no-recursion --files-from=- | tar -x -C "$folder/covey"
	cp -a "$folder/covey/packaging/debian" "$folder/covey/debian"
	sed "s/@VERSION@/$1/; s/@DATE@/$(date -R)/" "$folder/covey/debian/changelog.in" >"$folder/covey/debian/changelog"
	rm "$folder/covey/debian/changelog.in"
	sed -i "s/^  version: '.*',\$/  version: '$1',/" "$folder/covey/meson.build"
	(cd "$folder/covey" && DEB_BUILD_OPTIONS="nocheck parallel=2 noautodbgsym" dpkg-buildpackage -us -uc -b) >"$log" 2>&1 || {
		grep -E -A3 'error:|FAILED' "$log" | cut -c1-200 | head -40 >&2
		die 1 "dev package: the packages could not be built; the whole log is $log"
	}
	rm -rf "$folder/covey"
	mv "$stamp" "$folder/stamp"
}
