# SPDX-License-Identifier: Apache-2.0
# What the scenarios about exchange share: a fleet of five behind shaped links, releases that nobody
# has seen, bytes on the links, who has what.

MIB=32
RATE=100mbit
ROGUE=$COVEY_BUILD/tests/integration/fleet/rogue_peer

steps() {
	cat <<YAML
drain: 1s
keep_warm: 1s
strategy: {canary: {stages: [{percent: 100, bake: 1s}]}}
max_unavailable: 100%
failures: {percent: 100, nodes: 10, unreachable: 100%}
deadlines: {node: 120s, stage: 4m, rollout: 5m}
YAML
}
# A release whose model folder has MIB MiB that nobody has seen before.
large_release() { # version
	local folder=$WORK/$1
	make_release "$1" 1.0.0 "s#^files: .*#files: $WORK/$1/model#" >/dev/null
	cp -r "$DIGITS/releases/1.0.0/model" "$folder/model"
	head -c $((MIB << 20)) /dev/urandom >"$folder/model/weights.bin"
	fleet_covey release push -f "$folder/release.yaml" >/dev/null
}
begin() { # version: pushes it and lets it go out
	large_release "$1"
	for host in co n1 n2 n3 n4 n5 n6; do
		[ ! -e "$FLEET_RUN/$host" ] || eval "tx_$host=$(traffic "$host" tx) rx_$host=$(traffic "$host" rx)"
	done
	steps | make_deployment "$1" >/dev/null
	fleet_covey apply -y --detach -f "$WORK/deployment-$1.yaml" >/dev/null
}
sent() { # host: MiB since the beginning
	local name=tx_$1
	echo $((($(traffic "$1" tx) - ${!name}) >> 20))
}
got() {
	local name=rx_$1
	echo $((($(traffic "$1" rx) - ${!name}) >> 20))
}
# Asks the node itself, so that it also works while the coordinator is away.
has() { # node, version
	local digest
	digest=$(cat "$WORK/digest-$2")
	fleet_exec "n$1" -- "$COVEY_BUILD/agent/covey-agent" status -o json | jq -e --arg d "$digest" \
		'.deployments[] | select((.target == $d and .staged) or .release == $d or any(.slots[]; .release == $d))' >/dev/null
}
all_have() { # version, nodes
	local version=$1 n
	shift
	for n in "$@"; do has "$n" "$version" || return 1; done
}
note_digest() { fleet_covey release show "digits@$1" -o json | jq -r .digest >"$WORK/digest-$1"; }
peers_of() { fleet_exec "n$1" -- "$COVEY_BUILD/agent/covey-agent" peers -o json; }
gets() { [ "$(got "n$1")" -ge "$2" ]; }
end_rollout() {
	local id
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	wait_for "${1:-60}" eval '[ "$(rollout_field .state)" = completed ]' && return
	fleet_covey rollout abort -y "$id" >/dev/null 2>&1
	wait_for 30 eval 'rollout_field .state | grep -qE "aborted|rolled_back|completed"'
}
kill_agent() { kill "-$2" "$(cat "$FLEET_RUN/n$1/agent.pid")" 2>/dev/null; }
start_agent() {
	fleet_daemon "n$1" agent "$COVEY_BUILD/agent/covey-agent" --config "$FLEET_STATE/n$1/agent.conf"
}
copies_are_right() { # version
	local want n
	want=$(sha256sum <"$WORK/$1/model/weights.bin")
	for n in 1 2 3 4 5; do
		find "$FLEET_STATE/n$n/agent/blobs" -type f -size "$((MIB << 20))c" -exec sh -c 'sha256sum <"$1"' _ {} \; |
			grep -qF "$want" || return 1
	done
}

peers_fleet() {
	local end
	scenario_fleet 5 --rate $RATE
	for end in "$FLEET_NETNS-sw co" "$FLEET_NETNS-co eth0"; do
		tc -n ${end% *} qdisc add dev ${end#* } root tbf rate $RATE burst 128kb latency 60ms
	done
}
