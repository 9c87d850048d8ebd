#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is refused and where; what waits and says so; nodes that come late, leave, or try again.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

steps() {
	cat <<'YAML'
drain: 1s
keep_warm: 5s
strategy: {rolling: {batch: 3, bake: 1s}}
max_unavailable: 3
deadlines: {node: 20s, stage: 60s, rollout: 3m}
YAML
}
newest() { fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id'; }
state_is() { [ "$(rollout_field .state)" = "$1" ]; }
serves_at() { # node number, port, version
	nsenter "--net=/run/netns/$FLEET_NETNS-co" curl -s --max-time 2 \
		"http://$(fleet_address "$1"):$2/classify" --data-binary "@$DIGITS/golden/seven.json" |
		grep -q "\"digits@$3\""
}
listen_on() { # node number, port: a program of the node's own
	nsenter "--net=/run/netns/$FLEET_NETNS-n$1" python3 -c "
import socket, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('', $2)); s.listen(); time.sleep(300)" &
	LISTENER=$!
	wait_for 5 eval "nsenter --net=/run/netns/$FLEET_NETNS-n$1 ss -Htln | grep -q ':$2 '"
}

scenario_fleet 3
for v in 1.0.0 2.0.0; do
	expect 0 "push $v" fleet_covey release push -f "$(make_release $v $v)"
done
expect 0 "1.0.0 goes out" fleet_covey apply -y -f "$(steps | make_deployment 1.0.0)"

# ---- refused before anything starts ----
file=$(make_release 5.0.0 2.0.0 's#^serve: .*#serve: {port: 80, container_port: 8000}#')
expect 2 "a privileged port is refused by lint" fleet_covey lint -f "$file"
said 'privileged_port' "the sentence says how to allow it"
expect 2 "and when it is pushed" fleet_covey release push -f "$file"
other=$([ "$(uname -m)" = x86_64 ] && echo aarch64 || echo x86_64)
"$DIGITS/build-image.py" --server "$COVEY_BUILD/examples/digits/digits-server" --machine "$other" \
	"$WORK/foreign" >/dev/null
file=$(make_release 5.1.0 2.0.0 "s#^image: .*#image: $WORK/foreign#")
# spec: REL-11
expect 2 "an image for another architecture is refused when it is pushed" fleet_covey release push -f "$file"
said 'arm64|amd64' "the sentence names the architecture"

# ---- refused by one node ----
expect 0 "push a release on port 8081" fleet_covey release push \
	-f "$(make_release 2.1.0 2.0.0 's#^serve: .*#serve: {port: 8081, container_port: 8000}#')"
listen_on 2 8081
expect 3 "a port that is taken on n2 sends the rollout back" fleet_covey apply -y -f "$(steps | make_deployment 2.1.0)"
reason=$(rollout_field .reason.text)
[ "$(rollout_field '"\(.reason.phase) \(.reason.node) \(.reason.check)"')" = "preflight n2 port" ]
ok "its reason is n2's pre-flight ($reason)"
rollout_field .reason.text | grep -q 'listens on port 8081'
# spec: SLOT-11
ok "the sentence names the port"
for node in 1 2 3; do
	wait_for 10 serves_at $node 8080 1.0.0
	ok "n$node serves 1.0.0"
done
expect 0 "with failures {nodes: 1} the others go on" fleet_covey apply -y \
	-f "$( (steps; echo 'failures: {nodes: 1}') | make_deployment 2.1.0)"
serves_at 1 8081 2.1.0 && serves_at 3 8081 2.1.0 && serves_at 2 8080 1.0.0
ok "n1 and n3 serve 2.1.0, n2 stays on 1.0.0"
expect 0 "the release that n2 never left, again for all" fleet_covey apply -y -f "$(steps | make_deployment 1.0.0)"
serves_at 1 8080 1.0.0 && serves_at 2 8080 1.0.0 && serves_at 3 8080 1.0.0
ok "all nodes serve 1.0.0"
expect 0 "and 2.1.0 once more, without n2" fleet_covey apply -y -f "$( (steps; echo 'failures: {nodes: 1}') | make_deployment 2.1.0)"
kill "$LISTENER" && wait "$LISTENER" 2>/dev/null
sleep 1
serves_at 2 8080 1.0.0
# spec: NODE-11
ok "the port is free, but n2 does not try by itself what it once rolled back"
expect 0 "retry" fleet_covey rollout retry "$(newest)"
wait_for 20 serves_at 2 8081 2.1.0
ok "n2 serves 2.1.0 after retry"
wait_for 20 state_is completed
ok "all nodes have it"
expect 0 "back to 1.0.0" fleet_covey apply -y -f "$(steps | make_deployment 1.0.0)"

# ---- the way back where the node bars the old release ----
cold() { [ "$(fleet_covey node show n2 -o json | jq '[.slots[] | select(.state != "empty")] | length')" = 1 ]; }
wait_for 20 cold # a warm slot would be taken as it is, without a look at the port
listen_on 2 8081
expect 0 "2.1.0 goes out without n2, which rolls it back" fleet_covey apply -y \
	-f "$( (steps; echo 'failures: {nodes: 1}') | make_deployment 2.1.0)"
kill "$LISTENER" && wait "$LISTENER" 2>/dev/null
expect 0 "push 2.3.0" fleet_covey release push -f "$(make_release 2.3.0 2.0.0)"
slow=$(steps | sed 's/^strategy: .*/strategy: {canary: {stages: [{nodes: 1, bake: 1s, where: "site=lyon"}, {nodes: 1, bake: 5m}]}}/
s/^deadlines: .*/deadlines: {node: 6m, stage: 9m, rollout: 9m}/' | make_deployment 2.3.0)
expect 0 "a slow rollout of 2.3.0 starts with n2" fleet_covey apply -y --detach -f "$slow"
second_stage_runs() { [ "$(rollout_field '.stages[1].state')" != pending ]; }
wait_for 20 second_stage_runs && serves_at 2 8080 2.3.0
ok "n2 has committed 2.3.0"
expect 0 "abort" fleet_covey rollout abort "$(newest)"
wait_for 30 state_is aborted && serves_at 2 8080 1.0.0
# spec: NODE-14
ok "n2 is back on 1.0.0, which it served before: it bars what the others went back to"
serves_at 1 8081 2.1.0 && serves_at 3 8081 2.1.0
ok "n1 and n3 serve 2.1.0"
expect 0 "back to 1.0.0" fleet_covey apply -y -f "$(steps | make_deployment 1.0.0)"

# ---- waiting ----
hour=$(($(date -u +%s) / 3600 % 24))
closed=$(printf '%02d:00-%02d:00' $(((hour + 2) % 24)) $(((hour + 3) % 24)))
expect 0 "a rollout outside of its switching window starts" fleet_covey apply -y --detach \
	-f "$( (steps; echo "windows: {switch: \"$closed\", timezone: UTC}") | make_deployment 2.0.0)"
sleep 2
serves 1 1.0.0 && serves 2 1.0.0 && serves 3 1.0.0
ok "nothing is switched"
fleet_covey rollout show "$(newest)" >"$WORK/show"
grep -q 'waits for its switching window' "$WORK/show" || sed 's/^/# /' "$WORK/show"
grep -q 'waits for its switching window' "$WORK/show"
ok "the rollout says that it waits for its window"
expect 0 "freeze" fleet_covey freeze
expect 0 "a new declaration takes its place" fleet_covey apply -y --detach --supersede -f "$(steps | make_deployment 2.0.0)"
sleep 2
serves 1 1.0.0 && serves 2 1.0.0 && serves 3 1.0.0
# spec: ROLL-19
ok "nothing is switched while the fleet is frozen"
fleet_covey rollout show "$(newest)" >"$WORK/show"
grep -qi 'froz' "$WORK/show" || sed 's/^/# /' "$WORK/show"
grep -qi 'froz' "$WORK/show"
ok "the rollout says so"
expect 0 "unfreeze" fleet_covey unfreeze
expect 0 "and the rollout completes" fleet_covey rollout watch --timeout 40s "$(newest)"
serves 1 2.0.0 && serves 2 2.0.0 && serves 3 2.0.0
ok "all nodes serve 2.0.0"

# ---- who takes part ----
file=$(steps | sed 's/^max_unavailable: .*/max_unavailable: 1/' | make_deployment 2.0.0)
sed -i 's/^nodes: .*/nodes: "site=lyon"/' "$file"
# spec: ROLL-22
expect 1 "taking it from two nodes needs a word" fleet_covey apply -y -f "$file"
said 'allow-removal' "the sentence says which"
expect 0 "with --allow-removal it is done" fleet_covey apply -y --allow-removal -f "$file"
gone() { ! label_at "$1" | grep -q digits; }
wait_for 20 gone 1 && wait_for 20 gone 3 && serves 2 2.0.0
# spec: NODE-18
ok "n1 and n3 serve nothing, n2 serves"
expect 0 "all nodes again" fleet_covey apply -y -f "$(steps | make_deployment 2.0.0)"
slow=$(steps | sed 's/^strategy: .*/strategy: {canary: {stages: [{nodes: 1, bake: 60s}, {percent: 100, bake: 1s}]}}/;s/^deadlines: .*/deadlines: {node: 100s, stage: 3m, rollout: 9m}/' | make_deployment 1.0.0)
expect 0 "a slow rollout of 1.0.0 starts" fleet_covey apply -y --detach -f "$slow"
fleet_node_join 4 "" && fleet_node_start 4
wait_for 40 serves 4 2.0.0
# spec: ROLL-8
ok "n4, which joins meanwhile, gets the last completed release"
fleet_covey rollout promote --full "$(newest)" >/dev/null
wait_for 30 serves 4 1.0.0
ok "and the new one when its stage opens"
expect 0 "the rollout completes" fleet_covey rollout watch --timeout 40s "$(newest)"

# ---- a coordinator that lies ----
expect 0 "push 2.2.0" fleet_covey release push -f "$(make_release 2.2.0 2.0.0)"
fleet_stop_daemon co coordinator
python3 - "$FLEET_STATE/co/state" <<'PY'
import glob, sqlite3, sys
for path in glob.glob(sys.argv[1] + "/*.db"):
    with sqlite3.connect(path) as db:
        for digest, manifest in db.execute("SELECT digest, manifest FROM releases WHERE version = '2.2.0'").fetchall():
            forged = manifest[:-1] + bytes([manifest[-1] ^ 1])
            db.execute("UPDATE releases SET manifest = ? WHERE digest = ?", (forged, digest))
            print("forged")
PY
fleet_daemon co coordinator "$COVEY_BUILD/coordinator/covey-coordinator" --config "$FLEET_STATE/co/coordinator.conf"
wait_for 10 fleet_covey version
ok "the coordinator runs again, with a manifest that was tampered with"
fleet_wait_online 4
expect 3 "nodes refuse it" fleet_covey apply -y -f "$(steps | make_deployment 2.2.0)"
echo "# $(rollout_field '.reason | "\(.phase)/\(.check): \(.text)"')"
rollout_field .reason.text | grep -qi 'sign'
# spec: TRUST-2
ok "the reason speaks of the signature"
for node in 1 2 3 4; do
	serves $node 1.0.0
	ok "n$node serves 1.0.0"
done

# ---- leaving ----
leave() { # node number, option ...
	local node=n$1
	shift
	fleet_exec "$node" -- "$COVEY_BUILD/agent/covey-agent" leave "$@" --config "$FLEET_STATE/$node/agent.conf"
}
clean() { # node number
	local state=$FLEET_STATE/n$1/agent file
	for file in link.key sign.key identity.doc journal.db blobs releases; do
		[ ! -e "$state/$file" ] || { echo "# $file is left"; return 1; }
	done
	gone "$1" && [ ! -e "$FLEET_STATE/n$1/trust/root.doc" ]
}
knows() { fleet_covey node ls -o json | jq -e --arg n "$1" 'any(.[]; .name == $n)' >/dev/null; }
expect 1 "leave is refused while the agent runs" leave 3
said 'stop it first' "the sentence says what to do"
fleet_stop_daemon n3 agent
serves 3 1.0.0
ok "n3 serves without its agent"
expect 0 "n3 leaves" leave 3
clean 3
# spec: SERV-8
ok "n3 serves nothing and has no keys"
! knows n3
ok "the coordinator does not know n3 any more"
expect 1 "leaving twice is an error" leave 3
fleet_link n4 down
fleet_stop_daemon n4 agent
expect 0 "n4 leaves while the coordinator is away" leave 4 --keep
grep -q 'node rm' "$WORK/out"
ok "it says what is left to do"
[ -e "$FLEET_STATE/n4/trust/root.doc" ] && rm "$FLEET_STATE/n4/trust/root.doc"
ok "--keep keeps the trust root"
fleet_link n4 up
clean 4
ok "n4 serves nothing and has no keys"
fleet_covey token create --label site=paris --ttl 1h --uses 1 >"$WORK/token"
expect 0 "n3 joins again" fleet_exec n3 -- "$COVEY_BUILD/agent/covey-agent" join --file "$WORK/token" \
	--config "$FLEET_STATE/n3/agent.conf"
[ "$(fleet_covey node show n3 -o json | jq -r .state)" = unreachable ]
ok "it is unreachable until its agent has come"
fleet_daemon n3 agent "$COVEY_BUILD/agent/covey-agent" --config "$FLEET_STATE/n3/agent.conf"
wait_for 30 serves 3 1.0.0
ok "and serves again"
