#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Live traffic decides: a release that is wrong more often and one that is slower are caught and
# taken back; noise that all nodes see is drift and calls the hook, and is no fault of the release;
# without traffic there is no evidence. Periods of a second instead of a minute.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

NODES=4
hook=$WORK/hook.sock
FLEET_COORDINATOR_CONF="observe_period = 1s
drift_window = 5s
hook_socket = $hook
hook_cooldown = 1h"

deployment() { # version, bake of the canary; further lines from standard input
	{
		printf 'drain: 1s\nkeep_warm: 5s\nmax_unavailable: 4\n'
		printf 'deadlines: {node: 60s, stage: 150s, rollout: 5m}\n'
		printf 'strategy: {canary: {stages: [{nodes: 1, bake: %s}, {percent: 100, bake: 1s}]}}\n' "$2"
		cat
	} | make_deployment "$1"
}

push() { # version, command's further arguments
	local command='command: [/server'
	[ -z "$2" ] || command+=", $2"
	fleet_covey release push -f "$(make_release "$1" 2.0.0 "s#^model:.*#&\n$command]#")" >/dev/null
}

traffic() { # seconds, noise: to all nodes, in the background
	local addresses=()
	for n in $(seq $NODES); do addresses+=("$(fleet_address "$n")"); done
	nsenter "--net=/run/netns/$FLEET_NETNS-co" "$COVEY_SOURCE/tests/integration/fleet/traffic.py" \
		"$DIGITS/golden/held-out.txt" 40 "$1" "$2" "${addresses[@]}" >"$WORK/traffic.log" 2>&1 &
	TRAFFIC=$!
}
no_traffic() {
	kill "$TRAFFIC" 2>/dev/null
	wait "$TRAFFIC" 2>/dev/null
	true
}

settle() { # version: on every node, without a bake to speak of
	expect 0 "$1 is on all nodes" fleet_covey apply -y -f "$(deployment "$1" 200ms </dev/null)"
}

all_serve() { # version
	local n
	for n in $(seq $NODES); do wait_for 15 serves "$n" "$1" || return 1; done
}

gate() { # metric, jq filter
	rollout_field ".gates[] | select(.metric == \"$1\") | $2"
}

scenario_fleet $NODES

# ---- no traffic ----
push 2.0.0 ""
settle 2.0.0
push 2.0.1 ""
expect 0 "without traffic a stage passes on health" \
	fleet_covey apply -y -f "$(deployment 2.0.1 2s </dev/null)"
[ "$(rollout_field .evidence)" = none ]
ok "and the rollout says evidence: none"
[ "$(gate error_rate .verdict)" = none ]
ok "and so does each gate"
push 2.0.2 ""
expect 2 "a deadline that no evidence can meet is refused" \
	fleet_covey lint -f "$(deployment 2.0.2 2s <<<'gates: [{metric: error_rate, require: evidence, deadline: 90s}]')"
said 'deployment-2.0.2.yaml.*gates\[0\]: deadline: 1m30s is too short' "with file, gate and what to write"
expect 5 "a gate that requires evidence holds and asks" \
	fleet_covey apply -y -f "$(deployment 2.0.2 1s <<<'gates: [{metric: error_rate, require: evidence, deadline: 6s}]')"
rollout_field .reason.text | grep -q 'requires evidence'
ok "and says why ($(rollout_field .reason.text))"
id=$(rollout_field .id)
fleet_covey rollout abort -y "$id" >/dev/null
all_serve 2.0.1
ok "aborted: every node has the old release"

# ---- three times as often wrong ----
push 2.1.0 "--wrong, 5%"
settle 2.1.0
traffic 400 0
sleep 20 # history: what these nodes are used to
push 2.2.0 "--wrong, 25%"
plan=$(fleet_covey plan -f "$(deployment 2.2.0 60s <<<'gates: [{metric: label_error, require: evidence}]')")
grep -qE 'evidence: label_error needs about [0-9]+m' <<<"$plan"
ok "plan says how long evidence takes ($(grep -o 'evidence: .*' <<<"$plan"))"
expect 3 "a release that is wrong three times as often is taken back" \
	fleet_covey apply -y -f "$(deployment 2.2.0 90s <<<'gates: [{metric: label_error}, {metric: error_rate}]')"
[ "$(rollout_field .reason.check)" = label_error ]
ok "by its labels ($(rollout_field .reason.text))"
all_serve 2.1.0
ok "every node answers with the old release"
[ "$(gate label_error .verdict)" = fail ] && [ "$(gate label_error '.ln_e >= .ln_e_fail')" = true ] &&
	[ "$(gate label_error '.ratio > 1.5 and .ratio_lo > 1 and .observations > 0')" = true ]
ok "rollout show has the numbers ($(gate label_error .text))"
fleet_covey rollout show "$(rollout_field .id)" -o json >"$WORK/ended.json"
fleet_covey gate replay "$WORK/ended.json" -o json >"$WORK/replay.json"
jq -e --slurpfile r "$WORK/replay.json" '
	[.gates[] | {metric, verdict, ln_e}] == [$r[0][] | {metric, verdict, ln_e: .ln_e_halt}] or
	([.gates[], $r[0][]] | group_by(.metric) | all(.[0].verdict == .[1].verdict and
		(((.[0].ln_e // 0) - (.[1].ln_e_halt // .[1].ln_e // 0)) | fabs) < 1e-6))' "$WORK/ended.json" >/dev/null
ok "gate replay says the same of the rollout's file"

# ---- a fifth slower ----
push 2.3.0 "--wrong, 5%, --delay, 20ms"
push 2.3.1 "--wrong, 5%, --delay, 24ms"
expect 0 "a release that takes 20 ms is on all nodes" fleet_covey apply -y \
	-f "$(deployment 2.3.0 200ms <<<'gates: [{metric: latency, dry_run: true}]')"
sleep 15
expect 3 "a release that is 20 % slower is taken back" \
	fleet_covey apply -y -f "$(deployment 2.3.1 90s </dev/null)"
[ "$(rollout_field .reason.check)" = latency ]
ok "by its latency ($(rollout_field .reason.text))"
all_serve 2.3.0
ok "every node answers with the old release"
no_traffic

# ---- noise on every camera ----
systemd-socket-activate --accept --inetd -l "$hook" \
	"$COVEY_BUILD/coordinator/covey-hook" --config "$WORK/hook.conf" 2>"$WORK/listener.log" &
LISTENER=$!
printf '#!/bin/sh\ncat >>%s/hooked.json\n' "$WORK" >"$WORK/retrain"
chmod +x "$WORK/retrain"
echo "command = $WORK/retrain" >"$WORK/hook.conf"
traffic 90 5
push 2.4.0 "--wrong, 5%, --delay, 20ms"
expect 0 "a good release goes out while every camera is noisy" \
	fleet_covey apply -y -f "$(deployment 2.4.0 10s </dev/null)"
[ "$(rollout_field .state)" = completed ]
ok "and is not blamed"
drifts() { fleet_covey drift show digits -o json | jq -e '.[0].drifting' >/dev/null; }
wait_for 40 drifts
ok "the noise is drift"
fleet_covey events -o json | jq -e '[.[] | select(.kind == "drift")] | length > 0' >/dev/null
ok "and an event"
# Noise makes more answers wrong as well: whichever was seen first called.
hooked() {
	jq -es '.[0] | (.features | length > 0) and
		if .why == "drift" then .drifting else .labels.alarm end' "$WORK/hooked.json" >/dev/null
}
wait_for 20 hooked
ok "the retrain hook has the evidence ($(jq -rs '.[0].why' "$WORK/hooked.json" 2>/dev/null))"
sleep 6
[ "$(jq -s length "$WORK/hooked.json")" = 1 ]
ok "once in its cool-down"
fleet_covey drift show digits >"$WORK/drift.txt"
grep -q '^  ink: drifts' "$WORK/drift.txt" && grep -q '█' "$WORK/drift.txt" && grep -q 'n3 ' "$WORK/drift.txt"
ok "drift show draws baseline and now, by site and node"
no_traffic
kill $LISTENER 2>/dev/null
