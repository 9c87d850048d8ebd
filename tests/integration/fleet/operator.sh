#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an operator does: join, refuse, pause, resume, promote, abort, undo, retry, remove.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

# A slow canary, so that there is time to do something to it.
slow() {
	cat <<'YAML'
drain: 1s
keep_warm: 30s
strategy: {canary: {stages: [{nodes: 1, bake: 60s}, {percent: 100, bake: 1s}]}}
max_unavailable: 3
deadlines: {node: 100s, stage: 3m, rollout: 10m}
YAML
}
quick() { slow | sed 's/bake: 60s/bake: 1s/'; }
newest() { fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id'; }
state_is() { [ "$(rollout_field .state)" = "$1" ]; }
canary_bakes() { [ "$(rollout_field '[.nodes[] | select(.state == "baking" or .state == "serving")] | length')" -ge 1 ]; }
canary() { rollout_field '[.nodes[] | select(.stage == 0)][0].node'; }

join() { # stdin: a join string
	"$COVEY_BUILD/agent/covey-agent" join - --config "$FLEET_STATE/stranger/agent.conf"
}
stranger() {
	rm -rf "$FLEET_STATE/stranger"
	mkdir -p "$FLEET_STATE/stranger"
	sed "s#$FLEET_STATE/n1#$FLEET_STATE/stranger#; s#name = n1#name = stranger#" \
		"$FLEET_STATE/n1/agent.conf" >"$FLEET_STATE/stranger/agent.conf"
}
at_coordinator() { nsenter "--net=/run/netns/$FLEET_NETNS-co" "$@"; }
export -f join

scenario_fleet 3
make_release 1.0.0 1.0.0 "" >/dev/null
make_release 2.0.0 2.0.0 "" >/dev/null
for v in 1.0.0 2.0.0; do
	expect 0 "push $v" fleet_covey release push -f "$WORK/$v/release.yaml"
done
# spec: REL-2
expect 0 "pushing again is fine and sends nothing" fleet_covey release push -f "$WORK/2.0.0/release.yaml" -o json
expect 0 "1.0.0 goes out" fleet_covey apply -y -f "$(quick | make_deployment 1.0.0)"

# ---- joining ----
token=$(fleet_covey token create --label site=a --ttl 1h --uses 1)
stranger
# spec: TRUST-8
expect 1 "a wrong secret is refused" at_coordinator bash -c \
	"sed 's/....\$/0000/' <<<'$token' | $COVEY_BUILD/agent/covey-agent join - --config '$FLEET_STATE/stranger/agent.conf'"
said 'token' "the sentence speaks of the token"
stranger
used=$(fleet_covey token create --ttl 1h --uses 1)
expect 0 "a good token is taken" at_coordinator bash -c \
	"$COVEY_BUILD/agent/covey-agent join - --config '$FLEET_STATE/stranger/agent.conf' <<<'$used'"
stranger
# spec: TRUST-8
expect 1 "a used-up token is refused" at_coordinator bash -c \
	"$COVEY_BUILD/agent/covey-agent join - --config '$FLEET_STATE/stranger/agent.conf' <<<'$used'"
said 'used' "the sentence says used up"
expired=$(fleet_covey token create --ttl 1s --uses 1)
sleep 1.5
# spec: TRUST-8
expect 1 "an expired token is refused" at_coordinator bash -c \
	"$COVEY_BUILD/agent/covey-agent join - --config '$FLEET_STATE/stranger/agent.conf' <<<'$expired'"
said 'expired' "the sentence says expired"
other=$(sed -E 's/^(covey1:.*:)[0-9a-f]{64}(:[0-9a-f]+:[0-9a-f]+)$/\1c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00\2/' <<<"$token")
# spec: TRUST-8
expect 1 "a coordinator with another key is refused" at_coordinator bash -c \
	"$COVEY_BUILD/agent/covey-agent join - --config '$FLEET_STATE/stranger/agent.conf' <<<'$other'"
said 'key' "the sentence speaks of the key"
expect 0 "the stranger that joined is removed again" fleet_covey node rm -y stranger

# ---- a rollout in the operator's hand ----
expect 0 "2.0.0 starts, detached" fleet_covey apply -y --detach -f "$(slow | make_deployment 2.0.0)"
wait_for 20 canary_bakes
ok "the canary bakes"
first=$(canary)
# spec: ROLL-15
expect 1 "a second apply is refused" fleet_covey apply -y --detach -f "$(quick | make_deployment 1.0.0)"
said "$(newest | cut -c1-8)" "the sentence names the rollout that runs"
expect 0 "pause" fleet_covey rollout pause "$(newest)"
wait_for 5 state_is paused
ok "the rollout is paused"
expect 5 "following a paused rollout ends with: waits for a person" fleet_covey rollout watch "$(newest)"
expect 0 "resume, with a shortened id" fleet_covey rollout resume "$(newest | cut -c1-6)"
expect 0 "abort" fleet_covey rollout abort -y "$(newest)"
wait_for 20 state_is aborted
ok "the rollout is aborted"
wait_for 10 serves "${first#n}" 1.0.0
ok "the canary is back on 1.0.0"
expect 4 "watching an aborted rollout ends with 4" fleet_covey rollout watch "$(newest)"
expect 0 "2.0.0 again: nothing blocks what an operator aborted" fleet_covey apply -y --detach -f "$WORK/deployment-2.0.0.yaml"
wait_for 20 canary_bakes
ok "the canary bakes again"
[ "$(canary)" = "$first" ]
# spec: ROLL-10
ok "the draw of the canary is the same for the same release"
expect 0 "promote ends the wait" fleet_covey rollout promote "$(newest)"
expect 0 "and the rollout completes" fleet_covey rollout watch --timeout 2m "$(newest)"
for node in 1 2 3; do
	serves $node 2.0.0
	ok "n$node serves 2.0.0"
done
# spec: ROLL-12
expect 0 "undo is a rollout of its own" fleet_covey rollout undo -y --detach "$(newest)"
expect 0 "promote --full" fleet_covey rollout promote --full "$(newest)"
expect 0 "undo completes" fleet_covey rollout watch --timeout 2m "$(newest)"
for node in 1 2 3; do
	serves $node 1.0.0
	ok "n$node serves 1.0.0 again"
done

# ---- late and leaving nodes ----
expect 0 "removing nodes asks for --allow-removal" fleet_covey node label n3 hw=old
deployment=$(quick | make_deployment 1.0.0)
sed -i 's/^nodes: all/nodes: "hw!=old"/; s/^max_unavailable: .*/max_unavailable: 20%/' "$deployment"
expect 0 "plan names the node that leaves" fleet_covey plan -f "$deployment" -o json
jq -e '.removed | length == 1' "$WORK/out" >/dev/null
ok "plan: one node is removed"
fleet_node_join 4 "" && fleet_node_start 4
wait_for 40 serves 4 1.0.0
ok "a node that joins later gets the deployment's release"

# ---- the end ----
# spec: REL-9
expect 1 "a release that is in use is not removed" fleet_covey release rm -y digits@1.0.0
expect 0 "the deployment is removed" fleet_covey deployment rm -y digits
gone() { ! label_at 1 | grep -q digits; }
wait_for 30 gone
ok "nothing answers any more"
empty() { [ "$(fleet_covey deployment ls -o json | jq length)" = 0 ]; }
wait_for 30 empty
ok "the deployment is gone when its nodes are empty"
