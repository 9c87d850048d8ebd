#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clocks that jump, a database that is an old copy, bits that flipped: what is damaged is refused with
# a sentence, what runs goes on, and the fleet finds back.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/proof.sh"

jump() { echo "$1" >"$WORK/clock"; } # seconds from what is right
# The sanitizers' runtime must come first where it is linked in.
with_clock() { # program -> command before it
	local clock=$COVEY_BUILD/tests/integration/strike/libcovey-test-clock.so
	echo env "LD_PRELOAD=$(ldd "$1" | awk -v last="$clock" '/libasan/ {printf "%s:", $3} END {print last}')" \
		"COVEY_TEST_CLOCK=$WORK/clock"
}
DAY=86400
restart() { # host, program [command before it ...]
	daemon_kill "$1" "$2"
	daemon_start "$@"
}
good_round() { # title: a rollout of a new release completes, clients are served
	local version=8.0.$((ROUND += 1)) old=$SERVED bad=0 during=${2:-true}
	remember
	round_release good "$version" >/dev/null
	load_begin
	insist 60 fleet_covey release push -f "$WORK/$version/release.yaml" || bad=1
	insist 60 apply_once "$(round_deployment good "$version")" "$version" || bad=1
	eval "$during"
	wait_for 120 state_is completed || { bad=1; echo "# it ended $(rollout_field '.state, .reason.text' | tr '\n' ' ')"; }
	SERVED=$version
	wait_for 60 slots_are "$version" "$NODES" && wait_for 20 all_serve "$version" ||
		{ bad=1; echo "# not all nodes serve $version: $(fleet_covey node ls -o json | jq -c .)"; }
	load_end
	load_is_fine good "$old" "$version" || bad=1
	remembered || bad=1
	fleet_lives || { bad=1; echo "# a daemon has ended"; }
	[ $bad = 0 ]
	ok "$1"
}

flip() { # file, offset: one bit
	python3 - "$1" "$2" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(int(sys.argv[2]))
    byte = file.read(1)[0]
    file.seek(int(sys.argv[2]))
    file.write(bytes([byte ^ 0x10]))
PY
}
epoch_of() { # node: of the desired state that it follows, from a copy of its journal
	local copy=$WORK/journal.db journal=$FLEET_STATE/$1/agent/journal.db
	cp "$journal" "$copy" && cp "$journal-wal" "$copy-wal" 2>/dev/null
	python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute("SELECT epoch FROM node").fetchone()[0])' "$copy"
	rm -f "$copy"*
}
says() { tail -n 5 "$FLEET_STATE/$1/$2.log" | grep -qE -- "$3"; } # host, program, pattern

NODES=2
scenario_fleet $NODES
round_first
ok "1.0.0 goes out"

# ---- clocks ----
jump 0
restart co coordinator $(with_clock "$COVEY_BUILD/coordinator/covey-coordinator")
restart n1 agent $(with_clock "$COVEY_BUILD/agent/covey-agent")
fleet_wait_online $NODES
good_round "clocks jump a day ahead in the middle of a rollout" "sleep 0.7; jump $DAY"
good_round "and two days back" "sleep 0.7; jump -$DAY"
restart co coordinator $(with_clock "$COVEY_BUILD/coordinator/covey-coordinator")
restart n1 agent $(with_clock "$COVEY_BUILD/agent/covey-agent")
good_round "daemons that start with the clock a day behind go on"
jump $((30 * DAY))
restart co coordinator $(with_clock "$COVEY_BUILD/coordinator/covey-coordinator")
good_round "and with one that is a month ahead"
fleet_covey events --lines 5 | grep -q "$(date -u -d '+30 days' +%Y-%m)"
ok "which it believes"
restart co coordinator
restart n1 agent
good_round "and when it is right again, behind what was written down"

# ---- an old database ----
fleet_stop_daemon co coordinator
cp -r "$FLEET_STATE/co/state" "$WORK/backup"
before=$SERVED
cp "$WORK/rollouts" "$WORK/rollouts-before"
daemon_start co coordinator
good_round "a rollout that the backup does not know"
was=$(epoch_of n1)
fleet_stop_daemon co coordinator
rm -rf "$FLEET_STATE/co/state"
cp -r "$WORK/backup" "$FLEET_STATE/co/state"
daemon_start co coordinator
SERVED=$before
wait_for 60 slots_are "$before" $NODES && wait_for 20 all_serve "$before"
ok "an old database restored: the nodes go to what it declares"
[ "$(epoch_of n1)" -gt "$was" ]
ok "its epoch has risen"
ACTIONS=0
good_round "and the next rollout completes"

# ---- flipped bits ----
# The next release has a file in common with this one, and its bytes lie on the disks already.
shared=$WORK/shared name=$(b2sum -l 256 "$WORK/$SERVED/model/extra-$SERVED" | cut -d' ' -f1)
cp "$WORK/$SERVED/model/extra-$SERVED" "$shared"
for node in $(seq $NODES); do flip "$FLEET_STATE/n$node/agent/blobs/$name" 1000; done
version=8.1.0
round_release good $version >/dev/null
cp "$shared" "$WORK/$version/model/shared"
fleet_covey release push -f "$WORK/$version/release.yaml" >/dev/null
fleet_covey apply -y --detach -f "$(round_deployment good $version)" >/dev/null
wait_for 120 state_is rolled_back
ok "a bit of a file on the nodes' disks has flipped: no release runs with it"
rollout_field .reason.text | grep -q 'digest\|not what'
ok "the reason names it"
all_serve "$SERVED"
ok "the one before goes on"
fleet_covey rollout retry "$(newest_to $version)" >/dev/null && wait_for 120 state_is completed && all_serve $version
ok "retry fetches it again and completes"
cmp -s "$FLEET_STATE/n1/agent/blobs/$name" "$shared"
ok "and the disk has the right bytes"
SERVED=$version

version=9.0.0
round_release good $version >/dev/null
fleet_covey release push -f "$WORK/$version/release.yaml" >/dev/null
object=$(find "$FLEET_STATE/co/state/objects" -size +250k -newer "$WORK/$version/release.yaml" | head -n 1)
flip "$object" 1000
fleet_covey apply -y --detach -f "$(round_deployment good $version)" >/dev/null
sleep 5
all_serve "$SERVED" && ! state_is completed
ok "a bit of an object at the coordinator has flipped: nobody runs it"
fleet_covey release push -f "$WORK/$version/release.yaml" >/dev/null
wait_for 120 state_is completed && wait_for 30 all_serve $version
ok "pushing the release again mends it, and the rollout goes on"
SERVED=$version

daemon_kill n1 agent
sleep 0.2
rm -f "$FLEET_STATE/n1/agent/journal.db-shm"
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()' \
	"$FLEET_STATE/n1/agent/journal.db"
cp "$FLEET_STATE/n1/agent/journal.db" "$WORK/journal"
python3 - "$FLEET_STATE/n1/agent/journal.db" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(4096)
    file.write(bytes(200))
PY
daemon_start n1 agent
wait_for 20 says n1 agent 'journal .* is damaged .*: move it away and start the agent again'
ok "a damaged journal: the agent does not start and says what to do"
serves 1 "$SERVED"
ok "its containers go on"
mv "$FLEET_STATE/n1/agent/journal.db" "$WORK/damaged.db"
rm -f "$FLEET_STATE"/n1/agent/journal.db-*
restart n1 agent
fleet_wait_online $NODES
: >"$WORK/history-1"
good_round "moved away: what runs is adopted, and the next rollout completes"

fleet_stop_daemon co coordinator
cp "$FLEET_STATE/co/state/coordinator.db" "$WORK/good.db"
python3 - "$FLEET_STATE/co/state/coordinator.db" <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(3 * 4096)
    file.write(bytes(300))
PY
daemon_start co coordinator
wait_for 20 says co coordinator 'damaged .*restore a backup'
ok "a damaged database: the coordinator does not start and says what to do"
all_serve "$SERVED"
ok "the nodes go on serving"
cp "$WORK/good.db" "$FLEET_STATE/co/state/coordinator.db"
daemon_start co coordinator
good_round "with the good one everything goes on"
