#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nodes give each other what the coordinator gives once; and whatever happens to some of them, the
# others finish.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

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

scenario_fleet 5 --rate $RATE
for end in "$FLEET_NETNS-sw co" "$FLEET_NETNS-co eth0"; do
	tc -n ${end% *} qdisc add dev ${end#* } root tbf rate $RATE burst 128kb latency 60ms
done

# ---- once from the origin, the rest from each other ----
begin 1.0.1
note_digest 1.0.1
wait_for 60 all_have 1.0.1 1 2 3 4 5
ok "five nodes have the release"
[ "$(sent co)" -le $((MIB * 125 / 100 + 2)) ]
ok "the origin sent it about once: $(sent co) MiB of $MIB MiB for five nodes"
copies_are_right 1.0.1
ok "each copy has the right bytes"
end_rollout
closed() { [ "$(peers_of 1 | jq '.neighbours | length')" = 0 ] && ! ip netns exec $FLEET_NETNS-n1 ss -Htln | grep -q :7410; }
wait_for 20 closed
ok "when nobody fetches any more, no socket for neighbours is left"

# ---- killed ----
begin 1.0.2
note_digest 1.0.2
wait_for 30 gets 2 $((MIB / 4))
kill_agent 2 KILL
wait_for 60 all_have 1.0.2 1 3 4 5
ok "a node is killed in the middle: the others finish"
start_agent 2
wait_for 60 has 2 1.0.2
ok "the killed node goes on where it was: $(got n2) MiB in all"
[ "$(got n2)" -le $((MIB * 130 / 100 + 3)) ]
ok "and fetches little of it twice"
end_rollout

# ---- stopped ----
begin 1.0.3
note_digest 1.0.3
wait_for 30 gets 3 $((MIB / 4))
kill_agent 3 STOP
wait_for 60 all_have 1.0.3 1 2 4 5
ok "a node stops in the middle: the others finish"
kill_agent 3 CONT
wait_for 60 has 3 1.0.3
ok "when it goes on, it finishes, too"
end_rollout

# ---- the coordinator is gone ----
begin 1.0.4
note_digest 1.0.4
# 5 % are headers: by then each chunk was given out.
all_out() { [ $((($(traffic co tx) - tx_co) >> 10)) -ge $((MIB * 1024 * 107 / 100)) ]; }
wait_for 30 all_out
kill -9 "$(cat "$FLEET_RUN/co/coordinator.pid")"
all_have 1.0.4 1 2 3 4 5 && echo "# everybody was done already"
wait_for 60 all_have 1.0.4 1 2 3 4 5
ok "the coordinator is killed in the middle: the nodes finish from each other"
fleet_daemon co coordinator "$COVEY_BUILD/coordinator/covey-coordinator" --config "$FLEET_STATE/co/coordinator.conf"
fleet_wait_online 5
end_rollout 120
ok "and the rollout ends when it is back"

# ---- peer: off ----
printf '\n[peers]\npeer = off\n' >>"$FLEET_STATE/n5/agent.conf"
fleet_stop_daemon n5 agent
start_agent 5
fleet_wait_online 5
sleep 3
begin 1.0.5
note_digest 1.0.5
wait_for 60 all_have 1.0.5 1 2 3 4 5
ok "a node with peer: off gets the release, too"
[ "$(sent n5)" -le 2 ]
ok "and gives nothing ($(sent n5) MiB sent)"
fleet_covey node show n5 | grep -q "peer: off in agent.conf"
ok "covey node show says so"
end_rollout
sed -i '/^\[peers\]/,$d' "$FLEET_STATE/n5/agent.conf"
fleet_stop_daemon n5 agent
start_agent 5

# ---- behind a firewall ----
ip netns exec $FLEET_NETNS-n4 nft 'add table inet fw; add chain inet fw in { type filter hook input priority 0; policy accept; }; add rule inet fw in tcp dport 7410 drop'
fleet_wait_online 5
sleep 3
MIB=64
begin 1.0.6
note_digest 1.0.6
wait_for 90 all_have 1.0.6 1 2 3 4 5
ok "a node that nobody can connect to gets the release, and so do the others"
says_unreachable() { fleet_covey node show n4 -o json | jq -e '.peers.troubles[] | select(.fault == "unreachable")'; }
wait_for 30 says_unreachable
ok "covey node show says that it cannot be reached"
MIB=32
end_rollout
ip netns exec $FLEET_NETNS-n4 nft delete table inet fw

# ---- one that sends other bytes, one that lies, one that hoards ----
round=7
for mode in bad lie stall hoard; do
	fleet_stop_daemon n5 agent
	fleet_daemon n5 rogue "$ROGUE" "$FLEET_STATE/n5/agent.conf" $mode
	fleet_wait_online 5
	sleep 1
	begin 1.0.$round
	note_digest 1.0.$round
	wait_for 60 all_have 1.0.$round 1 2 3 4
	ok "a neighbour that goes bad ($mode) keeps nobody from finishing"
	case $mode in
	bad) pattern='sent bytes that are not the chunk' ;;
	lie) pattern='says that it has chunks which it then does not give' ;;
	*) pattern= ;;
	esac
	if [ -n "$pattern" ]; then
		named() { fleet_covey events -o json | jq -se 'flatten | .[] | select(.node == "n5" and (.text | test("'"$pattern"'")))'; }
		wait_for 10 named
		ok "it is named in the events"
	fi
	[ $mode = hoard ] || { grep -q asked "$FLEET_STATE/n5/rogue.log"; ok "it was asked for chunks"; }
	if [ $mode = hoard ]; then
		[ "$(got n5)" -le 8 ]
		ok "who takes without confirming gets little ($(got n5) MiB)"
	fi
	fleet_stop_daemon n5 rogue
	: >"$FLEET_STATE/n5/rogue.log"
	end_rollout 1
	round=$((round + 1))
done
start_agent 5
fleet_wait_online 5

# ---- a full disk ----
mkdir -p "$FLEET_STATE/n4/agent/parts"
fleet_stop_daemon n4 agent
mount -t tmpfs -o size=8m full "$FLEET_STATE/n4/agent/parts"
start_agent 4
fleet_wait_online 5
sleep 1
begin 1.0.20
note_digest 1.0.20
wait_for 60 all_have 1.0.20 1 2 3 5
ok "a node's disk is full: the others finish"
complains() { grep -q "No space left" "$FLEET_STATE/n4/agent.log"; }
wait_for 20 complains
ok "it says so"
fleet_stop_daemon n4 agent
umount "$FLEET_STATE/n4/agent/parts"
start_agent 4
end_rollout 1

# ---- revoked in the middle ----
begin 1.0.11
note_digest 1.0.11
wait_for 30 gets 5 $((MIB / 8))
fleet_covey node revoke -y n5 >/dev/null
before=$(got n5)
wait_for 60 all_have 1.0.11 1 2 3 4
ok "a node is revoked in the middle: the others finish"
! has 5 1.0.11 && [ $(($(got n5) - before)) -le 4 ]
ok "and it gets no more ($(($(got n5) - before)) MiB after)"
end_rollout 20

# ---- late ----
fleet_node_join 6 $RATE
begin_tx=$(traffic co tx)
fleet_node_start 6
wait_for 90 has 6 1.0.11
ok "a node that joins later gets the release"
[ $((($(traffic co tx) - begin_tx) >> 20)) -le $((MIB / 2 + 2)) ]
ok "mostly from the others ($((($(traffic co tx) - begin_tx) >> 20)) MiB from the origin)"
