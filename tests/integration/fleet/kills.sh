#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 at named steps of the node's pipeline and of a rollout, found from outside (../strike).
# Each line is a round: its kind (proof.sh) and who is struck where. Some forty strikes by default;
# COVEY_PROOF=all strikes each daemon at each of its steps and moments; COVEY_ROUND=N goes on with the
# Nth of them.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/proof.sh"

default_rounds() {
	cat <<'TEXT'
good n1:agent:desired:lost n2:agent:fetching:written n3:agent:rows:torn n4:agent:rename/object:before co:coordinator:plan:written
good n1:agent:sync/chunks:after n2:agent:rename/blob:after n3:agent:staged:acted n4:agent:preflight:lost co:coordinator:canary:lost
good n1:agent:unpacking:written n2:agent:starting:lost n3:agent:starting:acted n4:agent:readying:torn co:coordinator:soaking:written
good n1:agent:smoking:acted n2:agent:switching:written n3:agent:switching:acted n4:agent:baking:lost co:coordinator:desired:acted
good n1:agent:idle:lost n2:agent:outcome/completed:acted n3:helper:received/preflight:after n4:helper:hand/unpack:after co:coordinator:completed:written
good n1:helper:received/start:after n2:helper:worker/start/12:before n3:helper:worker/start/40:before:all n4:helper:answer/start:before co:coordinator:report:lost
good n1:helper:hand/traffic:after n2:helper:worker/traffic/6:before:all n3:helper:answer/traffic:before n4:helper:received/stop:after co:coordinator:widening:torn
smoke n1:agent:smoking:written n2:helper:hand/stop:after co:coordinator:rolling_back:lost
crash n1:agent:reverting:written n2:agent:outcome/rolled_back:acted n3:helper:received/traffic:after co:coordinator:rolled_back:written
abort co:coordinator:aborted:acted
green n1:agent:proven:written n2:agent:proven:acted co:coordinator:ended:lost
stop n1:agent:stopping:written n2:agent:stopping:acted n3:helper:worker/stop/8:before:all
remove n1:agent:removing:written n2:agent:gone:lost co:coordinator:audit:written
TEXT
}

# Every step of every daemon at every moment that makes sense there, four or five in a round.
commits="lost torn written after acted"
calls="before after"
agent_good="desired fetching rows staged preflight unpacking starting readying smoking switching baking
idle outcome/completed"
agent_files="rename/object sync/chunks rename/blob sync/blob sync/chunks sync/object"
coordinator_good="plan staging audit desired rows report canary soaking widening completed ended release"
ops="preflight unpack start traffic stop prune"

at_nodes() { # kind, program, steps, moments: over the nodes in turn
	local kind=$1 program=$2 steps=$3 moments=$4 step moment
	for moment in $moments; do
		for step in $steps; do
			echo "$kind n$((1 + (N += 1) % NODES)):$program:$step:$moment"
		done
	done
}
at_coordinator() { # kind, steps, moments
	local step moment
	for step in $2; do
		for moment in $3; do echo "$1 co:coordinator:$step:$moment"; done
	done
}
workers() { # kind, operation, calls that it makes
	local kind=$1 operation=$2 call
	for call in $(seq "$3"); do
		echo "$kind n$((1 + (N += 1) % NODES)):helper:worker/$operation/$call:before$([ $((call % 2)) = 0 ] && echo :all)"
	done
}
helpers() { # kind, steps of the helper, operations
	local step
	for step in $2; do
		at_nodes "$1" helper "$(printf "$step/%s " $3)" "$([ "$step" = received ] && echo after || echo $calls)"
	done
}
all_strikes() {
	local N=0
	at_nodes good agent "$agent_good" "$commits"
	at_nodes good agent "$agent_files" "$calls"
	at_coordinator good "$coordinator_good" "$commits"
	at_coordinator good "sync/object rename/object" "$calls"
	helpers good "received hand answer" "$ops"
	workers good preflight 7
	workers good unpack 10
	workers good start 57
	workers good traffic 11
	workers good prune 1
	at_nodes smoke agent "smoking idle veto" "$commits"
	at_nodes crash agent "reverting outcome/rolled_back" "$commits"
	at_coordinator crash "rolling_back rolled_back" "$commits"
	at_coordinator abort "rolling_back aborted" "$commits"
	at_nodes green agent "proven" "$commits"
	at_nodes stop agent "stopping" "$commits"
	workers stop stop 12
	at_nodes remove agent "removing gone" "$commits"
}
# One strike a host and round, so that none hides another: those of a kind are dealt out in turn.
all_rounds() {
	all_strikes | awk '
		function flush(kind) { if (line[kind] != "") print kind line[kind]; line[kind] = ""; split("", used) }
		{
			split($2, part, ":"); host = $1 part[1]
			queue[host, ++last[host]] = $2
			if (!(host in first)) { first[host] = 1; order[++hosts] = host; kind[host] = $1 }
		}
		END {
			do {
				left = 0; split("", row)
				for (i = 1; i <= hosts; i++) {
					h = order[i]
					if (first[h] > last[h]) continue
					row[kind[h]] = row[kind[h]] " " queue[h, first[h]++]; left = 1
				}
				for (k in row) print k row[k]
			} while (left)
		}'
}

NODES=4
scenario_fleet $NODES
round_first
ok "1.0.0 goes out"
if everything; then
	round smoke # every node has a veto, so that what is removed leaves a record
	all_rounds | tail -n "+${COVEY_ROUND:-1}" >"$WORK/rounds"
else
	default_rounds >"$WORK/rounds"
fi
while read -r kind strikes <&3; do
	round "$kind" $strikes
done 3<"$WORK/rounds"
