#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Reboots: of a node that serves, without a network; of a node in the middle of its bake.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

field_is() { [ "$(rollout_field "$1")" = "$2" ]; }

scenario_systemd 2
for version in 1.0.0 2.0.0; do
	expect 0 "$version is pushed" fleet_covey release push -f "$(release_for $version $version)"
done
expect 0 "1.0.0 goes out" fleet_covey apply -y -f "$(steps 1s | make_deployment 1.0.0)"

# ---- a committed slot, and no network ----
fleet_link n1 down
reboot_node n1
ok "n1 reboots with its network cut"
wait_for 30 local_answer n1
# spec: NODE-20
ok "it serves on its own machine before the network is there"
on n1 covey-agent status -o json | jq -e '.linked == false' >/dev/null
ok "and it is not linked"
expect 0 "covey-agent health says that all is well" on n1 covey-agent health
fleet_link n1 up
wait_for 60 serves 1 1.0.0
ok "clients outside are served when the network is back"
wait_for 90 fleet_wait_online 2
ok "n1 is linked again"

# ---- in the middle of the bake ----
expect 0 "2.0.0 starts" fleet_covey apply -y --detach -f "$(steps 12s | make_deployment 2.0.0)"
canary=$(rollout_field '[.nodes[] | select(.stage == 0)][0].node')
wait_for 40 field_is ".nodes[] | select(.node == \"$canary\") | .state" baking
ok "the canary $canary bakes"
reboot_node "$canary"
ok "$canary reboots in its bake"
wait_for 40 local_answer "$canary"
ok "it serves again"
wait_for 120 field_is .state completed
# spec: NODE-21
ok "the bake starts again and the rollout completes"
serves 1 2.0.0 && serves 2 2.0.0
ok "both nodes serve 2.0.0"
! on "$canary" covey-agent history | grep -q rolled_back
ok "the reboot did not count against the release"

# ---- the coordinator ----
reboot_node co
ok "the coordinator's machine reboots"
wait_for 60 systemd_link_socket
wait_for 90 fleet_wait_online 2
ok "all nodes are linked again"
expect 0 "applying what runs changes nothing" fleet_covey apply -y -f "$WORK/deployment-2.0.0.yaml"
