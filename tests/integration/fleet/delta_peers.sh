#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Deltas are exchanged like chunks: of four nodes with the same base the coordinator feeds little
# more than one.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

sent() { # bytes that the coordinator's machine sent
	nsenter "--net=/run/netns/$FLEET_NETNS-co" awk -F'[: ]+' 'NR > 2 && $2 != "lo" {n += $11} END {print n}' /proc/net/dev
}

deployment() { # version
	make_deployment "$1" <<'YAML'
drain: 1s
keep_warm: 5s
strategy: {rolling: {batch: 100%, bake: 1s}}
max_unavailable: 4
deadlines: {node: 100s, stage: 180s, rollout: 5m}
YAML
}

same_file() { # node number, version
	local sum
	sum=$(sha256sum <"$WORK/model-$2/large.safetensors")
	find "$FLEET_STATE/n$1" -path '*/blobs/*' -size +7M -exec sha256sum {} + | grep "^${sum%% *}" >/dev/null
}

scenario_fleet 4 --rate 20mbit
expect 0 "release 1.0.0 is pushed" fleet_covey release push -f "$(large_release 1.0.0 0 0)"
expect 0 "release 1.0.0 is rolled out" fleet_covey apply -y -f "$(deployment 1.0.0)"
expect 0 "release 2.0.0 is pushed" fleet_covey release push -f "$(large_release 2.0.0 7 800)"
wait_for 30 grep -q 'deltas take' "$FLEET_STATE/co/coordinator.log"
ok "its deltas are made before anybody asks"
bytes=$(fleet_covey plan -f "$(deployment 2.0.0)" -o json | jq .origin_bytes)
before=$(sent)
expect 0 "release 2.0.0 is rolled out" fleet_covey apply -y -f "$WORK/deployment-2.0.0.yaml"
after=$(($(sent) - before))
echo "# the coordinator sent $after bytes; a node needs $bytes"
[ $after -lt $((bytes * 5 / 2)) ]
ok "the coordinator sent far less than four nodes need"
for node in 1 2 3 4; do
	same_file $node 2.0.0
	ok "n$node holds exactly the new weights"
done
