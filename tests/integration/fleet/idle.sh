#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A node that serves, asks for its model's health and is linked, while nothing happens: agent and
# helper write nothing, so that a disk may sleep. The kernel counts (write_bytes in /proc/PID/io).
set -uo pipefail
. "$(dirname "$0")/lib.sh"

IDLE=30 # seconds: several probes, heartbeats and periods of observation

written() { # program: bytes that it caused to be sent to a disk
	awk '$1 == "write_bytes:" {print $2}' "/proc/$(cat "$FLEET_RUN/n1/$1.pid")/io"
}
both() { echo "$(written agent) $(written helper)"; }
at_rest() { # nothing was written for a while: the change is over
	local before
	before=$(both)
	sleep 4
	[ "$(both)" = "$before" ]
}

scenario_fleet 1
fleet_covey release push -f "$(make_release 1.0.0 1.0.0)" >/dev/null
expect 0 "a release goes out" fleet_covey apply -y -f "$(printf '%s\n' 'drain: 1s' 'keep_warm: 1s' \
	'strategy: {canary: {stages: [{nodes: 1, bake: 1s}]}}' | make_deployment 1.0.0)"
wait_for 60 at_rest
ok "the node comes to rest"
before=$(both)
touch "$WORK/began"
sleep $IDLE
after=$(both)
[ "$after" = "$before" ]
# spec: NODE-31
ok "agent and helper write nothing in $IDLE s (bytes before: $before, after: $after)"
changed=$(find "$FLEET_STATE/n1" -xdev -type f -newer "$WORK/began" | head -n 5)
[ -z "$changed" ] || echo "# changed: $changed"
[ -z "$changed" ]
ok "no file of the node has changed"
serves 1 1.0.0 && fleet_covey node ls -o json | jq -e '.[0].state == "online"' >/dev/null
ok "it serves and is linked"
fleet_covey release push -f "$(make_release 1.0.1 1.0.0)" >/dev/null
fleet_covey apply -y --detach -f "$(make_deployment 1.0.1 </dev/null)" >/dev/null
changes() { [ "$(written agent)" != "${after% *}" ]; }
wait_for 20 changes
ok "a new release is written: the kernel counts"
