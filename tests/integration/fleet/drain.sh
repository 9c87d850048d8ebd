#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A swap drains: an open connection finishes on the old slot; one that outlives `drain` is closed.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

steps() {
	cat <<'YAML'
drain: 3s
keep_warm: 60s
strategy: {canary: {stages: [{nodes: 1, bake: 500ms}]}}
deadlines: {node: 40s, stage: 80s, rollout: 3m}
YAML
}

scenario_fleet 1
for v in 1.0.0 2.0.0; do
	expect 0 "push $v" fleet_covey release push -f "$(make_release $v $v)"
done
expect 0 "1.0.0 goes out" fleet_covey apply -y -f "$(steps | make_deployment 1.0.0)"

# One connection, a request every 200 ms for 12 s; prints the release that answered, or the error.
nsenter "--net=/run/netns/$FLEET_NETNS-co" python3 - "$(fleet_address 1)" >"$WORK/client" <<'PY' &
import http.client, sys, time
connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=2)
end = time.monotonic() + 12
while time.monotonic() < end:
    try:
        connection.request("GET", "/")
        print(connection.getresponse().read().decode().split("@")[-1].strip(), flush=True)
    except OSError as error:
        print(type(error).__name__, flush=True)
        break
    time.sleep(0.2)
PY
client=$!
sleep 1
expect 0 "2.0.0 goes out" fleet_covey apply -y -f "$(steps | make_deployment 2.0.0)"
serves 1 2.0.0
ok "new connections reach 2.0.0"
before=$(wc -l <"$WORK/client")
sleep 1
[ "$(wc -l <"$WORK/client")" -gt "$before" ] && [ "$(tail -n 1 "$WORK/client")" = 1.0.0 ]
# spec: NODE-10
ok "the open connection goes on with 1.0.0 while the old slot drains"
wait $client
! grep -q 2.0.0 "$WORK/client"
ok "it never changed to the other release"
last=$(tail -n 1 "$WORK/client")
[ "$last" = ConnectionResetError ]
ok "it is reset when the drain is over ($last)"
grep -q '1 connections outlived the drain' "$FLEET_STATE/n1/agent.log"
# spec: NODE-10
ok "the node says how many outlived the drain"
[ "$(fleet_covey node ls -o json | jq -r '[.[0].slots[].state] | sort | join(" ")')" = "serving warm" ]
ok "the old slot stays warm"
