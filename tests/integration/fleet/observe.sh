#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What real servers in real containers say arrives at the coordinator: all of it, once, also from a
# node that was away, whose agent was killed, and whose server went mad.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

deployment() { # version
	printf 'drain: 1s\nstrategy: {canary: {stages: [{nodes: 1, bake: 1s}, {percent: 100, bake: 1s}]}}\n%s\n' \
		'max_unavailable: 2' | make_deployment "$1"
}

seen() { # jq filter over the records of all nodes
	fleet_covey observations digits --lines 1000 -o json | jq -r "$1"
}
total() { # node, member: summed over its records that clients reached
	seen "[.[] | select(.node == \"$1\" and .serving) | .$2] | add // 0"
}
is_total() { # node, member, value
	[ "$(total "$1" "$2")" = "$3" ]
}
# What n1's journal keeps of requests, from a copy of it: attempted is field 1 of counts, field 15.
kept() {
	local copy=$WORK/journal.db journal=$FLEET_STATE/n1/agent/journal.db
	cp "$journal" "$copy" && cp "$journal-wal" "$copy-wal" && python3 - "$copy" <<'PY'
import sqlite3, sys

def value(b, at):
    """msgpack, as far as records need it: the value, and where the next one begins."""
    c, at = b[at], at + 1
    if c < 0x80:
        return c, at
    if c in (0xc2, 0xc3):
        return c == 0xc3, at
    if c in (0xcc, 0xcd, 0xce, 0xcf):
        size = 1 << (c - 0xcc)
        return int.from_bytes(b[at:at + size], "big"), at + size
    if c & 0xe0 == 0xa0:
        return None, at + (c & 31)
    if c in (0xc4, 0xc5, 0xd9, 0xda):
        size = 1 + (c in (0xc5, 0xda))
        return None, at + size + int.from_bytes(b[at:at + size], "big")
    pairs = c & 0xf0 == 0x80 or c == 0xde
    count = c & 15
    if c in (0xdc, 0xde):
        count, at = int.from_bytes(b[at:at + 2], "big"), at + 2
    items = []
    for _ in range(count * (2 if pairs else 1)):
        item, at = value(b, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if pairs else items), at

rows = sqlite3.connect(sys.argv[1]).execute("SELECT record FROM observations")
print(sum(value(row[0], 0)[0].get(15, {}).get(1, 0) for row in rows))
PY
	rm -f "$copy"*
}
is_kept() { [ "$(kept 2>/dev/null)" = "$1" ]; }
ask() { # node number, requests, curl's further arguments
	local number=$1 requests=$2
	shift 2
	nsenter "--net=/run/netns/$FLEET_NETNS-n$number" curl -s -o /dev/null --max-time 5 "$@" \
		--data-binary "@$DIGITS/golden/seven.json" "http://127.0.0.1:8080/classify?[1-$requests]"
}

scenario_fleet 2
metrics='s#^lineage#observe: {metrics: /metrics, counters: ["digits_feedback_total{label=\\"wrong\\"}"]}\n&#'
fleet_covey release push -f "$(make_release 1.0.0 1.0.0 "$metrics")" >/dev/null
expect 0 "a release without a baseline goes out" fleet_covey apply -y -f "$(deployment 1.0.0)"
sleep 3 # what was said while it baked is told
before1=$(total n1 attempted) before2=$(total n2 attempted)

# ---- counting ----
ask 1 300 -H 'X-Label: 7'
ask 1 20 -H 'X-Label: 3'
ask 1 5 --request GET
ask 2 200
wait_for 15 is_total n1 attempted $((before1 + 320))
ok "every request of n1 is told once (320)"
wait_for 15 is_total n2 attempted $((before2 + 200))
ok "every request of n2 is told once (200)"
is_total n1 labels_right 300 && is_total n1 labels_wrong 20
ok "feedback is told: 300 right, 20 wrong"
wait_for 15 is_total n1 'counters["digits_feedback_total{label=\"wrong\"}"]' 20
ok "a counter of /metrics is read as well"
[ "$(seen '[.[] | select(.latency.p50_us == null and .latencies > 0)] | length')" = 0 ]
ok "latencies come as a histogram"

# ---- away ----
fleet_link n1 down
ask 1 100
sleep 5
ask 1 50
wait_for 60 is_kept 150
ok "what a node without network counts is in its journal"
touch "$WORK/killed"
kill -9 "$(cat "$FLEET_RUN/n1/agent.pid")" # its journal has them
fleet_daemon n1 agent "$COVEY_BUILD/agent/covey-agent" --config "$FLEET_STATE/n1/agent.conf"
listens_again() { # what is said before is lost
	[ -n "$(find "$FLEET_RUN/n1/observe" -name observe.sock -newer "$WORK/killed")" ]
}
wait_for 30 listens_again
ask 1 30
sleep 3
is_total n1 attempted $((before1 + 320))
ok "nothing arrives from a node without network"
fleet_link n1 up
wait_for 60 is_total n1 attempted $((before1 + 500))
ok "what happened meanwhile arrives when it is back, also over a kill -9 of the agent (180)"
sleep 8
is_total n1 attempted $((before1 + 500))
ok "and is not counted again"

# ---- a baseline is learned ----
ask 2 1000
has_baseline() { [ "$(seen '[.[] | select(.baseline != null)] | length')" -gt 0 ]; }
wait_for 20 has_baseline || ask 2 10
ask 1 20
ask 2 20
wait_for 20 has_baseline
ok "nodes learn what production looks like, one baseline for both"
[ "$(seen '[.[].baseline | values] | unique | length')" = 1 ]
ok "it is the same on every node"

# ---- a server that goes mad ----
flood() { # node number: a process in the container's namespaces that sends as fast as it can
	local path=$FLEET_RUN/n$1/observe/digits-$2/observe.sock
	timeout 60 python3 - "$path" <<'PY' # it ends after 6 s
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setblocking(False)
rubbish = [b"\xff" * 8192, b"x" * 100, b"status=200 x.a=" + b"9" * 3000, os.urandom(500)]
end, sent = time.time() + 6, 0
while time.time() < end:
    try:
        s.sendto(rubbish[sent % 4], sys.argv[1])
        sent += 1
    except OSError:
        pass
print(sent)
PY
}
colour=$(seen '[.[] | select(.node == "n2" and .serving)] | last.slot')
agent=$(cat "$FLEET_RUN/n2/agent.pid")
memory() { awk '/^Pss:/ {print $2}' "/proc/$agent/smaps_rollup"; }
was=$(memory)
flood 2 "$colour" >"$WORK/sent" &
sleep 2
fleet_covey node ls -o json | jq -e '.[] | select(.name == "n2").state == "online"' >/dev/null
ok "the node stays online while its server floods it"
serves 2 1.0.0
ok "and serves"
wait
sleep 5
[ $(($(memory) - was)) -lt 2048 ]
ok "the agent is no larger than before by 2 MB (from $was kB)"
# Half of what it sends is rubbish; what comes too fast is counted unread.
counts_flood() {
	told="$(total n2 rubbish) and $(total n2 dropped) unread of $(cat "$WORK/sent")"
	[ $(($(total n2 rubbish) + $(total n2 dropped))) -ge $(($(cat "$WORK/sent") / 2)) ]
}
[ "$(cat "$WORK/sent")" -gt 0 ] && wait_for 30 counts_flood
ok "rubbish is counted: $told"
kill -0 "$agent"
ok "the same agent runs"

# ---- the release's own baseline, a crash ----
fleet_covey release push -f "$(make_release 2.0.0 2.0.0)" >/dev/null
expect 0 "a release with a baseline goes out" fleet_covey apply -y -f "$(deployment 2.0.0)"
while read -r _ body; do
	nsenter "--net=/run/netns/$FLEET_NETNS-n1" curl -s -o /dev/null --data "$body" http://127.0.0.1:8080/classify
done <"$DIGITS/golden/held-out.txt"
features() {
	seen '[.[] | select(.node == "n1" and .release == "digits@2.0.0" and .serving) | .features[] |
		select(.name == "ink") | .bins | add] | add // 0'
}
told_all() { [ "$(features)" -ge 100 ]; }
wait_for 15 told_all
ok "features are counted against the release's own baseline, by name"
fleet_covey release push -f "$(make_release 2.9.0 2.0.0 's#^model:.*#&\ncommand: [/server, --crash-after, 1s]#')" >/dev/null
fleet_covey apply -y -f "$(deployment 2.9.0)" >/dev/null 2>&1
crashed() { [ "$(seen '[.[] | select(.release == "digits@2.9.0") | .crashes] | add // 0')" -ge 1 ]; }
wait_for 15 crashed
ok "a crash is told, with its attempt"
[ "$(seen '[.[] | select(.crashes > .attempted)] | length')" = 0 ]
ok "no record has more crashes than attempts"
