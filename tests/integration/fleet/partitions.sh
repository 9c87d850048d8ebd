#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Links that carry one way only, links that are open on one side, daemons that stand still for longer
# than the fleet waits: latency, and nothing else. Clients are served all the time.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/proof.sh"

SILENCE=45 # seconds: more than LIMIT_SILENCE_MS

deaf() { # node, input | output: what it is sent, or what it sends, on Covey's ports is lost
	local port=dport
	[ "$2" = input ] && port=sport
	nsenter "--net=/run/netns/$FLEET_NETNS-$1" nft -f - <<-NFT
		table inet cut {
			chain cut { type filter hook $2 priority -300; tcp $port $FLEET_PORT-$((FLEET_PORT + 3)) drop; }
		}
	NFT
}
heal() { nsenter "--net=/run/netns/$FLEET_NETNS-$1" nft delete table inet cut; }
node_state_is() { # node, state
	fleet_covey node ls -o json | jq -e --arg n "$1" --arg s "$2" '.[] | select(.name == $n) | .state == $s' >/dev/null
}

# A rollout begins while something is wrong, which is then put right.
trouble() { # title, how it begins, how it ends [what must be seen meanwhile]
	local title=$1 begin=$2 end=$3 seen=${4:-true} version=7.0.$((ROUND += 1)) old=$SERVED bad=0
	remember
	round_release good "$version" >/dev/null
	insist 60 fleet_covey release push -f "$WORK/$version/release.yaml"
	load_begin
	eval "$begin"
	fleet_covey --timeout 5s apply -y --detach -f "$(round_deployment good "$version")" >/dev/null 2>&1
	eval "$seen" || { bad=1; echo "# not seen: $seen"; }
	eval "$end"
	insist 120 apply_once "$(round_deployment good "$version")" "$version" || bad=1
	wait_for 180 state_is completed || { bad=1; echo "# it ended $(rollout_field '.state, .reason.text' | tr '\n' ' ')"; }
	SERVED=$version
	wait_for 120 slots_are "$version" "$NODES" && wait_for 20 all_serve "$version" ||
		{ bad=1; echo "# not all nodes serve $version: $(fleet_covey node ls -o json | jq -c .)"; }
	load_end
	load_is_fine good "$old" "$version" || bad=1
	remembered || bad=1
	fleet_lives || { bad=1; echo "# a daemon has ended"; }
	rm -rf "$WORK/$version"
	[ $bad = 0 ]
	ok "$title"
}

pause() { sleep "$1"; } # seconds
stop() { kill -STOP "$(daemon_pid "$1" "$2")"; }
go_on() { kill -CONT "$(daemon_pid "$1" "$2")"; }

NODES=3
scenario_fleet $NODES
round_first
ok "1.0.0 goes out"

trouble "what a node sends is lost" "deaf n1 output" "pause 5; heal n1"
trouble "what a node is sent is lost" "deaf n2 input" "pause 5; heal n2"
trouble "the coordinator dies while a node cannot hear it: a link that is open on one side" \
	"deaf n2 input; daemon_kill co coordinator; daemon_start co coordinator" "pause 3; heal n2"
trouble "an agent and a helper stand still" "stop n1 agent; stop n2 helper" "pause 5; go_on n1 agent; go_on n2 helper"
everything || exit 0

trouble "an agent and a helper stand still for longer than the fleet waits" \
	"stop n1 agent; stop n2 helper" "pause $SILENCE; go_on n1 agent; go_on n2 helper" \
	"wait_for 90 node_state_is n1 unreachable"
trouble "one node is deaf, another one dumb, until both count as unreachable" \
	"deaf n1 output; deaf n3 input" "heal n1; heal n3" \
	"wait_for 90 node_state_is n1 unreachable && wait_for 90 node_state_is n3 unreachable"
trouble "the coordinator stands still for longer than the fleet waits" \
	"stop co coordinator" "pause $SILENCE; go_on co coordinator"
