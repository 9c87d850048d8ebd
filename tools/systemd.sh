# SPDX-License-Identifier: Apache-2.0
# Covey as an administrator has it: Debian packages, and nodes that are booted Debian systems
# (systemd-nspawn) in the fleet's network namespaces. Nothing here is needed by the plain suite.

SYSTEMD_PACKAGES="debhelper scdoc debootstrap systemd-container dbus"
SYSTEMD_CACHE=${COVEY_CACHE:-/var/cache/covey-dev}
SYSTEMD_BASE=$SYSTEMD_CACHE/bookworm-1 # the number changes with what is in it
# What the base system holds besides systemd: what Covey's packages depend on, and the tests' tools.
SYSTEMD_INCLUDE="systemd systemd-sysv dbus procps curl jq iproute2 nftables runc conmon libzmq5
libsodium23 libmsgpackc2 libsqlite3-0 libyaml-0-2 libarchive13 libcurl4 libnftables1
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

# ---- the base system: made once, shared by all nodes as the lower half of an overlay ----

systemd_base() {
	[ -d "$SYSTEMD_BASE" ] && return 0
	local log=$SYSTEMD_BASE.log packages
	packages=$(echo $SYSTEMD_INCLUDE | tr ' ' ,)
	mkdir -p "$SYSTEMD_CACHE"
	say "making a Debian system in $SYSTEMD_BASE (once) ..."
	rm -rf "$SYSTEMD_BASE.new"
	debootstrap --variant=minbase --include="$packages" bookworm "$SYSTEMD_BASE.new" \
		http://deb.debian.org/debian >"$log" 2>&1 || {
		tail -n 5 "$log" >&2
		die 1 "dev: debootstrap failed; the whole log is $log"
	}
	rm -rf "$SYSTEMD_BASE.new"/var/cache/apt/archives/*.deb "$SYSTEMD_BASE.new"/var/lib/apt/lists/*
	mv "$SYSTEMD_BASE.new" "$SYSTEMD_BASE"
}

# ---- booted systems ----

systemd_root() { echo "$FLEET_STATE/$1/root"; }

systemd_is_booted() { [ -e "$FLEET_RUN/$1/nspawn.pid" ]; } # host

# The host's PID 1, as this machine numbers it.
systemd_leader() { # host
	local keeper nspawn
	keeper=$(cat "$FLEET_RUN/$1/nspawn.pid" 2>/dev/null) || return 1
	nspawn=$(pgrep -P "$keeper" -x systemd-nspawn) && pgrep -P "$nspawn" -x systemd
}

systemd_exec() { # host, command ...
	local leader
	leader=$(systemd_leader "$1") || die 1 "dev fleet: $1 is not up"
	shift
	nsenter -t "$leader" -m -u -i -n -p -C -r -w env -i HOME=/root TERM=dumb \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Each system has a control group of its own: in a common one they would take each other's units and
# slots for theirs.
systemd_group() { # host
	local unified=/sys/fs/cgroup
	[ ! -d $unified/unified ] || unified=$unified/unified
	echo "$unified/$FLEET_NETNS-$1"
}

# Runs until the system is switched off; a reboot (133) starts it again. nspawn filters system
# calls that a container runtime needs, and keeps /proc/sys/net read-only unless told.
systemd_keep() { # host
	local code=133
	mkdir -p "$(systemd_group "$1")"
	echo $BASHPID >"$(systemd_group "$1")/cgroup.procs"
	while [ $code = 133 ]; do
		code=0
		SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=network \
			systemd-nspawn --quiet -D "$(systemd_root "$1")" --machine="$FLEET_NETNS-$1" --boot \
			--register=no --keep-unit --link-journal=no --console=pipe \
			--network-namespace-path="/run/netns/$FLEET_NETNS-$1" --capability=all \
			--system-call-filter="@keyring bpf" || code=$?
	done
}

# nspawn gives each boot an id by a mount of a deleted file over the kernel's. A sandboxed unit does
# not get that mount and would take a reboot for none, so the id goes there by another way.
systemd_boot_id() { # root
	local units=$1/etc/systemd/system
	mkdir -p "$units/covey-agent.service.d"
	cat >"$units/boot-id.service" <<'TEXT'
[Service]
Type=oneshot
ExecStart=cp /proc/sys/kernel/random/boot_id /run/boot-id
TEXT
	cat >"$units/covey-agent.service.d/nspawn.conf" <<'TEXT'
[Unit]
Wants=boot-id.service
After=boot-id.service
[Service]
BindReadOnlyPaths=/run/boot-id:/proc/sys/kernel/random/boot_id
TEXT
}

systemd_boot() { # host
	local folder=$FLEET_STATE/$1 root
	root=$(systemd_root "$1")
	if ! mountpoint -q "$root"; then
		mkdir -p "$folder"/{upper,work,root}
		mount -t overlay overlay \
			-o "lowerdir=$SYSTEMD_BASE,upperdir=$folder/upper,workdir=$folder/work" "$root"
		echo "$1" >"$root/etc/hostname"
		printf '127.0.0.1 localhost %s\n::1 localhost\n' "$1" >"$root/etc/hosts"
		rm -f "$root/etc/machine-id"
		systemd-id128 new >"$root/etc/machine-id"
		mkdir -p "$root/var/log/journal"
		systemd_boot_id "$root"
	fi
	systemd_keep "$1" >>"$folder/console.log" 2>&1 </dev/null &
	echo $! >"$FLEET_RUN/$1/nspawn.pid"
	disown
}

systemd_wait() { # host: until it is up
	local state
	for _ in $(seq 150); do
		state=$(systemd_exec "$1" systemctl is-system-running 2>/dev/null) || true
		case $state in running | degraded) return 0 ;; esac
		sleep 0.2
	done
	die 1 "dev fleet: $1 does not boot (${state:-no answer}); its console is $FLEET_STATE/$1/console.log"
}

systemd_install() { # host, version, package ...
	local host=$1 version=$2 package root files=()
	root=$(systemd_root "$host")
	shift 2
	mkdir -p "$root/root/packages"
	for package in "$@"; do
		cp "$(package_folder "$version")/${package}_${version}_"*.deb "$root/root/packages/"
		files+=("/root/packages/$(basename "$(package_folder "$version")/${package}_${version}_"*.deb)")
	done
	systemd_exec "$host" env DEBIAN_FRONTEND=noninteractive dpkg -i "${files[@]}" \
		>>"$FLEET_STATE/$host/install.log" 2>&1 || {
		tail -n 20 "$FLEET_STATE/$host/install.log" >&2
		die 1 "dev fleet: $* $version could not be installed on $host"
	}
}

# Whatever runs in it ends; the network namespace stays the fleet's.
systemd_halt() { # host
	local keeper leader
	keeper=$(cat "$FLEET_RUN/$1/nspawn.pid") || return 0
	leader=$(systemd_leader "$1") && kill -s RTMIN+4 "$leader" 2>/dev/null
	for _ in $(seq 100); do
		kill -0 "$keeper" 2>/dev/null || break
		sleep 0.2
	done
	if kill -0 "$keeper" 2>/dev/null; then
		kill -9 "$keeper" 2>/dev/null || true
		leader=$(pgrep -f -- "--machine=$FLEET_NETNS-$1 ") && kill -9 $leader 2>/dev/null || true
	fi
	rm -f "$FLEET_RUN/$1/nspawn.pid"
	find "$(systemd_group "$1")" -depth -type d -exec rmdir {} + 2>/dev/null || true
}

# ---- the fleet ----

SYSTEMD_VERSION= # of the packages on the fleet

systemd_fleet_up() { # nodes, rate
	local i version
	COVEY_PACKAGES="$COVEY_PACKAGES $SYSTEMD_PACKAGES" deps_install
	version=$(sed -n "s/^ *version: '\(.*\)',$/\1/p" "$COVEY_SOURCE/meson.build" | head -1)
	SYSTEMD_VERSION=$version
	package_build "$version"
	systemd_base
	fleet_switch_up
	fleet_host_up co "$FLEET_NET.0.1" ""
	systemd_boot co
	for ((i = 1; i <= $1; i++)); do
		fleet_host_up "n$i" "$(fleet_address "$i")" "$2"
		systemd_boot "n$i"
	done
	systemd_coordinator_up "$version"
	for ((i = 1; i <= $1; i++)); do systemd_node_join "$i" "$version"; done
}

systemd_coordinator_up() { # version
	systemd_wait co
	systemd_install co "$1" covey covey-coordinator
	systemd_exec co covey init --endpoint "tcp://$FLEET_NET.0.1:$FLEET_PORT" >"$FLEET_STATE/co/init.log"
	systemd_exec co systemctl start covey-coordinator
	cp -a "$(systemd_root co)/root/.config/covey" "$FLEET_STATE/operator"
	systemd_link_socket
}

# The local socket of the coordinator where the plain fleet has it.
systemd_link_socket() {
	ln -sfn "/proc/$(systemd_leader co)/root/run/covey/coordinator/control.sock" \
		"$FLEET_RUN/co/coordinator.sock"
}

systemd_node_join() { # number, version
	local node=n$1 sites=(lyon paris) site
	site=${sites[$(($1 % 2))]}
	systemd_wait "$node"
	systemd_install "$node" "$2" covey-agent
	fleet_covey token create --label "site=$site" --ttl 1h --uses 1 |
		systemd_exec "$node" covey-agent join - >"$FLEET_STATE/$node/join.log" 2>&1 || {
		cat "$FLEET_STATE/$node/join.log" >&2
		die 1 "dev fleet: node $node could not join"
	}
	systemd_exec "$node" systemctl enable --now covey-agent >>"$FLEET_STATE/$node/install.log" 2>&1 ||
		die 1 "dev fleet: covey-agent does not start on $node; \`./dev fleet exec $node -- journalctl -xe\`"
}

# ---- tests: `./dev test --systemd [NAME ...]` ----

systemd_test_main() {
	local script name failed=0 passed=0 result
	need_root
	COVEY_PACKAGES="$COVEY_PACKAGES $SYSTEMD_PACKAGES" deps_install
	build_plain
	for script in "$COVEY_SOURCE"/tests/integration/systemd/*.sh; do
		name=$(basename "$script" .sh)
		[ "$name" != lib ] || continue
		[ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
		say "# $name"
		result=0
		timeout 900 bash "$script" >"$COVEY_BUILD/systemd-$name.tap" 2>&1 || result=$?
		grep -vE '^(ok|1\.\.)' "$COVEY_BUILD/systemd-$name.tap" | tail -n 60 || true
		passed=$((passed + $(sed -n '/^ok/p' "$COVEY_BUILD/systemd-$name.tap" | wc -l)))
		failed=$((failed + $(sed -n '/^not ok/p' "$COVEY_BUILD/systemd-$name.tap" | wc -l)))
		[ $result -eq 0 ] || grep -q '^not ok' "$COVEY_BUILD/systemd-$name.tap" || failed=$((failed + 1))
	done
	say "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}
