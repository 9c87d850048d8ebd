#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nodes give each other what the coordinator gives once; and whatever keeps some of them from it, the
# others finish.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/peers_lib.sh"

peers_fleet

# ---- once from the origin, the rest from each other ----
begin 1.0.1
note_digest 1.0.1
wait_for 60 all_have 1.0.1 1 2 3 4 5
ok "five nodes have the release"
sum=$(sent co)
[ "$sum" -le $((MIB * 160 / 100 + 2)) ] # busy processors keep nodes from each other, not from it
ok "the origin sent it about once: $sum MiB of $MIB MiB for five nodes"
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
ok "the killed node goes on where it was"
sum=$(got n2)
[ "$sum" -le $((MIB * 130 / 100 + 3)) ]
ok "and fetches little of it twice ($sum MiB in all)"
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
# The origin is three times as fast as the others: everything is out long before everybody has it.
origin_rate() {
	tc -n $FLEET_NETNS-sw qdisc change dev co root tbf rate "$1" burst 256kb latency 60ms
	tc -n $FLEET_NETNS-co qdisc change dev eth0 root tbf rate "$1" burst 256kb latency 60ms
}
# 5 % are headers, the image is another MiB.
all_out() { [ $((($(traffic co tx) - tx_co) >> 10)) -ge $(((MIB + 1) * 1024 * 107 / 100)) ]; }
origin_rate 300mbit
begin 1.0.4
note_digest 1.0.4
wait_for 30 all_out
kill -9 "$(cat "$FLEET_RUN/co/coordinator.pid")"
! all_have 1.0.4 1 2 3 4 5
ok "the coordinator is killed when each chunk is out and not everybody has them all"
wait_for 60 all_have 1.0.4 1 2 3 4 5
ok "the nodes finish from each other"
origin_rate $RATE
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
sum=$(sent n5)
[ "$sum" -le 2 ]
ok "and gives nothing ($sum MiB sent)"
fleet_covey node show n5 | grep -q "peer: off in agent.conf"
ok "covey node show says so"
end_rollout
sed -i '/^\[peers\]/,$d' "$FLEET_STATE/n5/agent.conf"
fleet_stop_daemon n5 agent
start_agent 5

# ---- behind a firewall ----
# n1 does not listen, so it is the one that has to connect to n4.
printf '\n[peers]\npeer_port = 0\n' >>"$FLEET_STATE/n1/agent.conf"
fleet_stop_daemon n1 agent
start_agent 1
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
sed -i '/^\[peers\]/,$d' "$FLEET_STATE/n1/agent.conf"
fleet_stop_daemon n1 agent
start_agent 1
fleet_wait_online 5

# ---- late ----
fleet_node_join 6 $RATE
begin_tx=$(traffic co tx)
fleet_node_start 6
wait_for 90 has 6 1.0.6
ok "a node that joins later gets the release"
sum=$((($(traffic co tx) - begin_tx) >> 20))
[ $sum -le 32 ]
ok "mostly from the others ($sum MiB of 64 from the origin)"
