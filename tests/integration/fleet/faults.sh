#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Processes that are killed, links that are cut: the fleet converges, clients are served.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

steps() { # bake
	cat <<YAML
drain: 1s
keep_warm: 30s
strategy: {canary: {stages: [{nodes: 1, bake: $1}, {percent: 100, bake: 1s}]}}
max_unavailable: 2
deadlines: {node: 60s, stage: 2m, rollout: 5m}
YAML
}
newest() { fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id'; }
state_is() { [ "$(rollout_field .state)" = "$1" ]; }
node_state() { rollout_field ".nodes[] | select(.node == \"$1\") | .state"; }
node_state_is() { [ "$(node_state "$1")" = "$2" ]; }
canary() { rollout_field '[.nodes[] | select(.stage == 0)][0].node'; }
kill_daemon() { # host, program
	kill -9 "$(cat "$FLEET_RUN/$1/$2.pid")" 2>/dev/null
}
restart() { # host, program
	case $2 in
	coordinator) fleet_daemon co coordinator "$COVEY_BUILD/coordinator/covey-coordinator" --config "$FLEET_STATE/co/coordinator.conf" ;;
	agent) fleet_daemon "$1" agent "$COVEY_BUILD/agent/covey-agent" --config "$FLEET_STATE/$1/agent.conf" ;;
	helper) fleet_daemon "$1" helper "$COVEY_BUILD/agent/helper/covey-helper" --config "$FLEET_STATE/$1/agent.conf" ;;
	esac
}
container_pids() { cat "$FLEET_RUN"/n*/helper/slots/*/pid | sort | tr '\n' ' '; } # of this fleet alone

scenario_fleet 2
for v in 1.0.0 2.0.0; do
	expect 0 "push $v" fleet_covey release push -f "$(make_release $v $v)"
done
expect 0 "1.0.0 goes out" fleet_covey apply -y -f "$(steps 1s | make_deployment 1.0.0)"

# ---- containers outlive their keepers ----
before=$(container_pids)
kill_daemon n1 agent; kill_daemon n1 helper
serves 1 1.0.0
ok "n1 serves while agent and helper are dead"
restart n1 helper; restart n1 agent
fleet_wait_online 2
[ "$(container_pids)" = "$before" ]
# spec: NODE-25
ok "the containers are the same as before"

# ---- kill -9 at moments of a rollout, back and forth between two good releases ----
targets=(2.0.0 1.0.0)
round=0
for victim in agent helper coordinator agent helper coordinator agent helper; do
	version=${targets[$((round % 2))]}
	delay=0.$((RANDOM % 10))$((RANDOM % 10))
	expect 0 "$version starts" fleet_covey apply -y --detach -f "$(steps 1s | make_deployment "$version")"
	sleep "$delay"
	host=$([ $victim = coordinator ] && echo co || canary)
	kill_daemon "$host" $victim
	sleep 0.3
	restart "$host" $victim
	wait_for 60 state_is completed
	ok "kill -9 of the $victim after ${delay}s: $version completes"
	serves 1 "$version" && serves 2 "$version"
	ok "both nodes serve $version"
	round=$((round + 1))
done

# ---- alone with a bad release ----
expect 0 "push a release that crashes after 4 s" fleet_covey release push -f \
	"$(make_release 3.1.0 2.0.0 's#^model:.*#&\ncommand: [/server, --crash-after, 4s]#')"
fleet_covey apply -y --detach -f "$(steps 20s | make_deployment 3.1.0)" >/dev/null
node=$(canary)
wait_for 20 node_state_is "$node" baking
ok "the canary $node bakes the bad release"
fleet_link "$node" down
alone() { nsenter "--net=/run/netns/$FLEET_NETNS-$node" curl -s --max-time 1 http://127.0.0.1:8080/classify \
	--data-binary "@$DIGITS/golden/seven.json" | grep -q 'digits@1.0.0'; }
wait_for 15 alone
# spec: NODE-6
ok "$node goes back by itself while the coordinator cannot be reached"
fleet_link "$node" up
wait_for 60 state_is rolled_back
# spec: NODE-26
ok "the outcome arrives when the link is back, and the rollout is rolled back"
reason=$(rollout_field .reason.text)
[ "$(rollout_field .reason.check)" = exited ]
ok "its reason is the exit ($reason)"
