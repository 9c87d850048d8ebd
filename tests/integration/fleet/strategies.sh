#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ways to change a fleet (blue-green, rolling, stop-first), ways to listen (host network), and
# nodes that cannot take a release while the others do.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

steps() { # strategy, swap
	cat <<YAML
swap: ${2:-start-first}
drain: 1s
keep_warm: 30s
strategy: $1
max_unavailable: 3
deadlines: {node: 40s, stage: 80s, rollout: 3m}
YAML
}
newest() { fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id'; }
state_is() { [ "$(rollout_field .state)" = "$1" ]; }
slots() { # version, slot state: on how many nodes
	fleet_covey node ls -o json | jq --arg r "digits@$1" --arg s "$2" \
		'[.[].slots[] | select(.release == $r and .state == $s)] | length'
}
slots_are() { [ "$(slots "$1" "$2")" = "$3" ]; }
all_serve() { serves 1 "$1" && serves 2 "$1" && serves 3 "$1"; }
processes() { # node number: of its containers, as the control groups know them
	find /sys/fs/cgroup -path "*/covey/${FLEET_NAME}n$1/*" -name cgroup.procs \
		-exec cat {} + 2>/dev/null | sort -nu
}
# Every node is asked all the time; a line for each answer: milliseconds, node, release.
watch_node() {
	while :; do
		echo "$(($(date +%s%N) / 1000000)) n$1 $(label_at "$1" | grep -o 'digits@[0-9.]*')"
		sleep 0.05
	done >"$WORK/labels-n$1"
}
watched() { # command that changes something
	local watchers=() code=0
	for node in 1 2 3; do
		watch_node $node &
		watchers+=($!)
	done
	"$@" || code=1
	sleep 1
	kill "${watchers[@]}" && wait "${watchers[@]}" 2>/dev/null
	cat "$WORK"/labels-n? | grep ' n.* digits@\|[0-9] n. *$' | sort -n >"$WORK/labels"
	return $code
}
first_answers() { # version: when each node gave it first
	awk -v v="digits@$1" '$3 == v && !($2 in at) {at[$2] = $1} END {for (n in at) print at[n]}' \
		"$WORK/labels" | sort -n
}
unanswered() { awk 'NF < 3' "$WORK/labels" | wc -l; }

scenario_fleet 3
for v in 1.0.0 2.0.0; do
	expect 0 "push $v" fleet_covey release push -f "$(make_release $v $v)"
done

# ---- blue-green ----
expect 0 "first install, blue-green, promoted by itself" \
	fleet_covey apply -y -f "$(steps '{blue_green: {promote: auto, bake: 1s}}' | make_deployment 1.0.0)"
all_serve 1.0.0
ok "all nodes serve 1.0.0"
expect 0 "2.0.0 with manual promotion starts" fleet_covey apply -y --detach \
	-f "$(steps '{blue_green: {promote: manual, bake: 1s}}' | make_deployment 2.0.0)"
wait_for 20 slots_are 2.0.0 warm 3
ok "green is proven and idle on all nodes"
sleep 1
all_serve 1.0.0 && slots_are 1.0.0 serving 3
ok "blue serves on all nodes until somebody promotes"
expect 5 "following it ends with: waits for a person" fleet_covey rollout watch "$(newest)"
promote() {
	fleet_covey rollout promote "$(newest)" >/dev/null && wait_for 15 all_serve 2.0.0
}
watched promote
ok "promote: all nodes serve 2.0.0"
spread=$(first_answers 2.0.0 | awk 'NR == 1 {a = $1} {b = $1} END {print NR == 3 ? b - a : 99999}')
[ "$spread" -lt 1500 ]
# spec: ROLL-17
ok "they switched together, within ${spread} ms"
asked=$(wc -l <"$WORK/labels")
[ "$(unanswered)" = 0 ]
ok "no request went without an answer ($asked asked)"
wait_for 20 state_is completed
ok "the rollout completes"
slots_are 1.0.0 warm 3
# spec: ROLL-17
ok "blue stays warm"
for node in 1 2 3; do processes $node; done >"$WORK/before"
undo() {
	fleet_covey rollout undo -y --detach "$(newest)" >/dev/null && wait_for 20 slots_are 1.0.0 warm 3 &&
		fleet_covey rollout promote "$(newest)" >/dev/null
	wait_for 15 all_serve 1.0.0
}
watched undo
ok "undo: all nodes serve 1.0.0 again"
for node in 1 2 3; do processes $node; done >"$WORK/after"
[ -s "$WORK/before" ] && cmp -s "$WORK/before" "$WORK/after"
ok "it was a change of the map: the same processes run as before"
[ "$(unanswered)" = 0 ]
ok "no request went without an answer"
wait_for 20 state_is completed
ok "the undo completes"

# ---- rolling ----
rolling() {
	steps '{rolling: {batch: 2, bake: 1s}}' | sed 's/^max_unavailable: .*/&\nmax_unavailable_per: {label: site, nodes: 1}/'
}
file=$(rolling | make_deployment 2.0.0)
expect 0 "plan of a rolling update" fleet_covey plan -f "$file" -o json
jq -e '.stages | length == 2' "$WORK/out" >/dev/null
ok "three nodes in batches of two are two stages"
roll() { fleet_covey apply -y -f "$file" >"$WORK/roll" 2>&1; }
watched roll
ok "rolling completes"
all_serve 2.0.0
ok "all nodes serve 2.0.0"
[ "$(unanswered)" = 0 ]
ok "no request went without an answer"
rollout_field '.nodes[] | "\(.node) \(.stage)"' >"$WORK/stages"
n1n3=$(awk '$1 == "n1" || $1 == "n3" {print $2}' "$WORK/stages" | sort -u | wc -l)
[ "$n1n3" = 2 ]
ok "n1 and n3, of one site, are never changed at the same time"
gap=$(first_answers 2.0.0 | awk 'NR == 1 {a = $1} {b = $1} END {print NR == 3 ? b - a : 0}')
[ "$gap" -ge 1000 ]
# spec: ROLL-18
ok "the second batch waited for the first one's bake (${gap} ms)"

# ---- stop-first ----
listing() { # node number: pid, slot and command line of each process
	processes "$1" | while read -r pid; do
		echo "$pid $(grep -o 'digits-[a-z]*' "/proc/$pid/cgroup" 2>/dev/null | head -1)" \
			"$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
	done
}
servers() { listing "$1" | grep -c ' /server'; }
one_server() { slots_are 1.0.0 warm 0 && [ "$(servers 1)" = 1 ]; }
wait_for 90 one_server
ok "the warm slot of the rollout before is gone"
most=0 least=9
file=$(steps '{rolling: {batch: 3, bake: 1s}}' stop-first | make_deployment 1.0.0)
fleet_covey apply -y -f "$file" >"$WORK/stop" 2>&1 &
applying=$!
while kill -0 $applying 2>/dev/null; do
	now=$(servers 1)
	[ "$now" -le $most ] || most=$now
	[ "$now" -ge $least ] || least=$now
	[ "$now" -le 1 ] || listing 1 >"$WORK/two"
done
wait $applying
ok "stop-first completes"
all_serve 1.0.0
ok "all nodes serve 1.0.0"
[ $most -eq 1 ] || sed 's/^/# /' "$WORK/two"
[ $most -eq 1 ]
# spec: NODE-16
ok "n1 never ran two servers (from $least to $most)"

# ---- network: host ----
expect 0 "push a release for the host's network" fleet_covey release push \
	-f "$(make_release 4.0.0 2.0.0 's#^serve: .*#serve: {port: 8080, network: host}#')"
expect 0 "it goes out" fleet_covey apply -y -f "$(steps '{rolling: {batch: 3, bake: 1s}}' | make_deployment 4.0.0)"
all_serve 4.0.0
ok "all nodes serve 4.0.0"
listens() { nsenter "--net=/run/netns/$FLEET_NETNS-n1" ss -Htln | awk '{print $4}' | grep -v ':8080$' | grep -q ':[0-9]'; }
listens
# spec: SLOT-17
ok "the server listens in the node's own network, on the PORT that it was given"
expect 0 "and back to a slot of its own" fleet_covey apply -y \
	-f "$(steps '{rolling: {batch: 3, bake: 1s}}' | make_deployment 2.0.0)"
all_serve 2.0.0
ok "all nodes serve 2.0.0"
