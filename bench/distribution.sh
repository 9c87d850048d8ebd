# SPDX-License-Identifier: Apache-2.0
# The same file to every node of a fleet, with Covey and with others in turn, over links that are
# shaped on both sides (tbf), everything in memory. BitTorrent runs unencrypted, Covey encrypted.
#
#   ./dev bench distribution [--case NAME] [--tools "covey aria2"] [--runs 3]

# name: nodes, seed's rate, nodes' up, nodes' down (mbit), MiB; sites, the rate of each site's link
declare -A DISTRIBUTION_CASES=(
	[small]="8 100 100 100 8"
	[medium]="8 100 100 100 32"
	[eight]="8 100 100 100 256"
	[sixteen]="16 100 100 100 256"
	[twenty]="20 50 50 50 128"
	[asymmetric]="8 100 25 100 256"
	[sites]="8 100 100 100 32 2 20"
)
DISTRIBUTION_PACKAGES="aria2 python3-libtorrent transmission-daemon nginx-light"

bench_distribution() {
	local cases="small medium eight sixteen twenty asymmetric sites" tools="covey aria2 libtorrent transmission http" runs=3
	while [ $# -gt 0 ]; do
		case $1 in
		--case) cases=$2 && shift 2 ;;
		--tools) tools=$2 && shift 2 ;;
		--runs) runs=$2 && shift 2 ;;
		*) die 2 "dev bench distribution: \`$1\` is unknown; there are --case, --tools and --runs" ;;
		esac
	done
	distribution_install
	local name tool run
	DISTRIBUTION_RESULTS=$COVEY_BUILD/bench-distribution.jsonl
	: >"$DISTRIBUTION_RESULTS"
	for name in $cases; do
		[ -n "${DISTRIBUTION_CASES[$name]:-}" ] || die 2 "dev bench distribution: there is no case $name"
		for ((run = 1; run <= runs; run++)); do
			for tool in $tools; do distribution_race "$name" "$tool" ${DISTRIBUTION_CASES[$name]}; done
		done
	done
	/usr/bin/python3 "$COVEY_SOURCE/bench/distribution_table.py" "$DISTRIBUTION_RESULTS"
}

distribution_install() {
	local package missing=
	for package in $DISTRIBUTION_PACKAGES; do
		dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=" $package"
	done
	[ -z "$missing" ] || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >/dev/null ||
		die 1 "dev bench distribution: these packages are missing:$missing"
}

distribution_shape() { # host, up, down; 0: without a limit
	[ "$2" != 0 ] || return 0
	tc -n "$FLEET_NETNS-$1" qdisc add dev eth0 root tbf rate "$2mbit" burst 128kb latency 60ms
	tc -n "$FLEET_NETNS-sw" qdisc add dev "$1" root tbf rate "$3mbit" burst 128kb latency 60ms
}

# Each site is a bridge of its own behind a thin link; the port "siteN" is the end towards it.
distribution_sites() { # sites, rate, nodes
	local i sw=$FLEET_NETNS-sw
	for ((i = 0; i < $1; i++)); do
		ip -n $sw link add brs$i type bridge
		ip -n $sw link set brs$i up
		ip -n $sw link add site$i type veth peer name up$i
		ip -n $sw link set site$i master br0 up
		ip -n $sw link set up$i master brs$i up
		tc -n $sw qdisc add dev site$i root tbf rate "$2mbit" burst 32kb latency 60ms
		tc -n $sw qdisc add dev up$i root tbf rate "$2mbit" burst 32kb latency 60ms
	done
	for ((i = 1; i <= $3; i++)); do ip -n $sw link set "n$i" master brs$((i % $1)); done
}

distribution_race() { # case, tool, nodes, seed rate, up, down, MiB, sites, rate of a site
	local name=$1 tool=$2 nodes=$3 seed=$4 up=$5 down=$6 mib=$7 sites=${8:-0} thin=${9:-0} i
	FLEET_NAME=${COVEY_BENCH_FLEET:-bench}
	FLEET_RUN=/run/covey-$FLEET_NAME FLEET_STATE=/dev/shm/covey-$FLEET_NAME FLEET_NETNS=covey-$FLEET_NAME
	BENCH_WORK=/dev/shm/covey-race-$FLEET_NAME
	trap 'fleet_down; rm -rf "$BENCH_WORK"' EXIT
	fleet_down
	rm -rf "$BENCH_WORK"
	mkdir -p "$BENCH_WORK"
	head -c $((mib << 20)) /dev/urandom >"$BENCH_WORK/payload.bin"
	fleet_switch_up
	if [ "$tool" = covey ]; then
		distribution_fleet "$nodes" "$sites" >"$BENCH_WORK/fleet.log" 2>&1 || { cat "$BENCH_WORK/fleet.log" && die 1 "the fleet does not come up"; }
	else
		fleet_host_up co "$FLEET_NET.0.1" ""
		for ((i = 1; i <= nodes; i++)); do fleet_host_up "n$i" "$(fleet_address "$i")" ""; done
	fi
	[ "$sites" = 0 ] || distribution_sites "$sites" "$thin" "$nodes"
	distribution_shape co "$seed" "$seed"
	for ((i = 1; i <= nodes; i++)); do distribution_shape "n$i" "$up" "$down"; done
	/usr/bin/python3 "$COVEY_SOURCE/bench/race.py" "$tool" --nodes "$nodes" --netns "$FLEET_NETNS" --seed "$FLEET_NET.0.1" \
		--work "$BENCH_WORK/race" --payload "$BENCH_WORK/payload.bin" --fleet "$FLEET_NAME" --state "$FLEET_STATE" --sites "$sites" \
		--covey "$COVEY_BUILD/coordinator/cli/covey" --deployment "$BENCH_WORK/deployment.yaml" |
		jq -c --arg case "$name" --argjson seed_rate "$seed" --argjson up "$up" --argjson down "$down" --argjson site_rate "$thin" \
			'. + {case: $case, seed_rate: $seed_rate, up: $up, down: $down, site_rate: $site_rate}' | tee -a "$DISTRIBUTION_RESULTS"
	fleet_down
}

# A fleet whose nodes fetch the payload as a file of a release, all in the first stage. The window
# for switching is closed: nodes that are done start no containers on the processors that the others
# still need.
distribution_fleet() { # nodes, sites (the labels: fleet_node_join)
	local digits=$COVEY_SOURCE/examples/digits i hour
	hour=$(($(date -u +%s) / 3600 % 24))
	fleet_image
	fleet_coordinator_up
	export COVEY_COORDINATOR=ipc://$FLEET_RUN/co/coordinator.sock COVEY_HOME=$FLEET_STATE/operator
	for ((i = 1; i <= $1; i++)); do fleet_node_join "$i" ""; done
	for ((i = 1; i <= $1; i++)); do fleet_node_start "$i"; done
	fleet_wait_online "$1"
	for ((i = 1; $2 > 0 && i <= $1; i++)); do fleet_covey node label "n$i" link=thin; done
	cp -r "$digits/releases/1.0.0/model" "$BENCH_WORK/model"
	ln "$BENCH_WORK/payload.bin" "$BENCH_WORK/model/payload.bin"
	sed -e "s#\.\./\.\./golden#$digits/golden#" -e "s#^image: .*#image: $COVEY_BUILD/digits-image#" \
		-e "s#^files: .*#files: $BENCH_WORK/model#" "$digits/releases/1.0.0/release.yaml" >"$BENCH_WORK/release.yaml"
	fleet_covey release push -f "$BENCH_WORK/release.yaml"
	cat >"$BENCH_WORK/deployment.yaml" <<TEXT
deployment: digits
release: digits@1.0.0
nodes: all
strategy: {canary: {stages: [{percent: 100, bake: 1h}]}}
windows: {switch: "$(printf '%02d:00-%02d:00' $(((hour + 2) % 24)) $(((hour + 3) % 24)))", timezone: UTC}
max_unavailable: 100%
deadlines: {node: 30m, stage: 2h, rollout: 3h}
TEXT
	sleep 4
}
