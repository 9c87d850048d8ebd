#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Neighbours that misbehave, a full disk, a node that is revoked: nobody else is kept from finishing.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/peers_lib.sh"

peers_fleet

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
		sum=$(got n5)
		[ "$sum" -le 8 ]
		ok "who takes without confirming gets little ($sum MiB)"
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
sum=$(($(got n5) - before))
! has 5 1.0.11 && [ $sum -le 4 ]
ok "and it gets no more ($sum MiB after)"
end_rollout 20
