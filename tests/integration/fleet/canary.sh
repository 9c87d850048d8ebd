#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A good release goes out canary-first; bad ones come back, each for its own reason.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

steps() {
	cat <<'YAML'
drain: 1s
keep_warm: 5s
strategy: {canary: {stages: [{nodes: 1, bake: 3s}, {percent: 100, bake: 1s}]}}
max_unavailable: 3
deadlines: {node: 40s, stage: 80s, rollout: 3m}
YAML
}

scenario_fleet 3
for version in 1.0.0 2.0.0; do
	expect 0 "release $version is pushed" fleet_covey release push -f "$(make_release $version $version)"
	expect 0 "release $version is rolled out" fleet_covey apply -y -f "$(steps | make_deployment $version)"
	for node in 1 2 3; do
		serves $node $version
		ok "n$node serves $version to clients outside"
	done
	nsenter "--net=/run/netns/$FLEET_NETNS-n1" curl -s --max-time 2 http://127.0.0.1:8080/healthz | grep -q ok
	# spec: SLOT-4
	ok "n1 serves on 127.0.0.1 as well"
	[ "$(rollout_field .state)" = completed ]
	ok "the rollout is completed"
done
fleet_covey node show n1 -o json | jq -r .inventory.runtime | grep -q '; user namespaces$'
ok "n1 gives containers user ids of their own, and says so"
# spec: ROLL-16
expect 0 "applying what runs changes nothing" fleet_covey apply -y -f "$WORK/deployment-2.0.0.yaml"

log_arrived() {
	rollout_field '.nodes[] | select(.state == "rolled_back").reason.log' | grep -q 'digits-server'
}
bad() { # version, example, sed script, phase pattern, check pattern, description, bake
	fleet_covey release push -f "$(make_release "$1" "$2" "$3")" >/dev/null
	expect 3 "$6 is rolled back" fleet_covey apply -y -f "$(steps | sed "s/bake: 3s/bake: ${7:-3s}/" | make_deployment "$1")"
	reason=$(rollout_field '.reason | "\(.phase)/\(.check): \(.text)"')
	[[ $reason =~ ^$4.*/$5.*: ]]
	ok "$6: the reason names phase $4 and check $5 ($reason)"
	[ "$(rollout_field .state)" = rolled_back ]
	ok "$6: state rolled_back"
	wait_for 5 log_arrived
	# spec: NODE-27
	ok "$6: the failed node's reason carries its container's last lines"
	for node in 1 2 3; do
		wait_for 10 serves $node 2.0.0
		ok "$6: n$node answers with 2.0.0"
	done
}

bad 3.0.0 3.0.0 "" smoke smoke "damaged weights"
bad 3.1.0 2.0.0 's#^model:.*#&\ncommand: [/server, --crash-after, 1s]#' '.' 'exited' "a crash while it bakes"
bad 3.2.0 2.0.0 's#^model:.*#&\ncommand: [/server, --never-ready]#;s#start_period: .*#start_period: 2s#' '.' '.' "never ready"
bad 3.3.0 2.0.0 's#^model:.*#&\ncommand: [/server, --unhealthy-after, 5s]#' 'bake' 'health' "unhealthy in its bake" 10s
# spec: CLI-2
expect 2 "an unknown key is refused" fleet_covey lint -f "$(steps | sed 's/drain/drian/' | make_deployment 2.0.0)"
said 'deployment-2.0.0.yaml:4.*drian' "the sentence names file, line and key"
