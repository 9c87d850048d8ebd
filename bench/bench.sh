# SPDX-License-Identifier: Apache-2.0
# Benchmarks: each prints a table that docs/BENCHMARKS.md can take as it is, with its machine.

bench_main() {
	local name=${1:-ls} names
	[ $# -gt 0 ] && shift
	names=$(cd "$COVEY_SOURCE/bench" && ls -- *.sh | sed 's/\.sh$//' | grep -vx bench)
	if [ "$name" = ls ]; then
		say "$(echo $names)"
		return
	fi
	grep -qx -- "$name" <<<"$names" ||
		die 2 "dev bench: there is no benchmark \`$name\`; \`./dev bench ls\` lists them"
	need_root
	deps_install
	build_plain
	. "$COVEY_SOURCE/bench/$name.sh"
	bench_machine
	"bench_$name" "$@"
}

bench_machine() {
	say "machine: $(nproc) cores ($(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo)), $(free -g | awk '/Mem:/ {print $2}') GiB, Linux $(uname -r | cut -d. -f1-2), load $(cut -d' ' -f1 /proc/loadavg)"
}

# A fleet with the digits releases 1.0.0 and 2.0.0 pushed and 1.0.0 running.
bench_fleet() { # nodes
	COVEY_FLEET=bench
	FLEET_NAME=bench FLEET_RUN=/run/covey-bench FLEET_STATE=$COVEY_BUILD/fleet-bench FLEET_NETNS=covey-bench
	BENCH_WORK=$(mktemp -d)
	trap 'fleet_down; rm -rf "$BENCH_WORK"' EXIT
	fleet_up --nodes "$1"
	fleet_image
	local version
	for version in 1.0.0 2.0.0; do bench_push "$version" "$version" ""; done
	bench_apply 1.0.0 1s
}

bench_push() { # version, example, sed script
	local folder=$BENCH_WORK/$1 digits=$COVEY_SOURCE/examples/digits
	mkdir -p "$folder"
	sed -e "s#^version: .*#version: $1#" -e "s#\.\./\.\./\(golden\|baseline\)#$digits/\1#" \
		-e "s#^image: .*#image: $COVEY_BUILD/digits-image#" -e "s#cpus: 0.5#cpus: 2#" \
		-e "s#^files: .*#files: $digits/releases/$2/model#" -e "$3" \
		"$digits/releases/$2/release.yaml" >"$folder/release.yaml"
	fleet_covey release push -f "$folder/release.yaml" >/dev/null
}

bench_deployment() { # version, bake
	cat >"$BENCH_WORK/deployment.yaml" <<TEXT
deployment: digits
release: digits@$1
nodes: all
drain: ${BENCH_DRAIN:-1s}
keep_warm: 1m
strategy: {canary: {stages: [{nodes: 1, bake: $2}, {percent: 100, bake: 200ms}]}}
max_unavailable: 100%
deadlines: {node: 60s, stage: 5m, rollout: 10m}
TEXT
}

bench_apply() { # version, bake, further arguments
	bench_deployment "$1" "$2"
	shift 2
	fleet_covey apply -y -f "$BENCH_WORK/deployment.yaml" "$@" >/dev/null
}

# Counts requests and failures that wrk saw: "requests failed rate".
bench_wrk_result() { # wrk's output
	awk '/requests in/ {n = $1} /Socket errors/ {gsub(",", ""); bad += $4 + $6 + $8 + $10}
	     /Non-2xx/ {bad += $NF} /Requests\/sec/ {rate = $2}
	     END {printf "%d %d %.0f\n", n, bad, rate}' "$1"
}

bench_percentile() { # percent; numbers on stdin
	sort -n | awk -v p="$1" '{v[NR] = $1} END {i = int((NR * p + 99) / 100); print v[i < 1 ? 1 : i]}'
}
