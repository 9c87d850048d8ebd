# SPDX-License-Identifier: Apache-2.0
# What observations cost a node: a server says 50,000 of them a second through the socket of its
# slot, the agent has one core. Beside it, the same lines to a socket that a Python program reads and
# adds up, which is what one would write without an agent.

. "$COVEY_SOURCE/bench/footprint.sh" # bench_pss, bench_ticks

bench_observe() {
	local seconds=${1:-10} agent socket
	bench_fleet 1
	bench_apply 1.0.0 200ms
	sleep 3
	agent=$(pgrep -f "covey-agent --config $FLEET_STATE/n1")
	socket=$(ls "$FLEET_RUN"/n1/observe/*/observe.sock | head -n 1)
	taskset -cp 1 "$agent" >/dev/null
	renice -n -15 "$agent" >/dev/null # the machine has other work; a node's core is its own
	say "| observations a second | features | a datagram | sent | not counted (of these, the server could not send) | the agent's core | PSS before, after (kB) |"
	say "|---|---|---|---|---|---|---|"
	bench_observe_learn "$agent" "$socket" 100
	bench_observe_run "$agent" "$socket" 5000 0 1
	bench_observe_run "$agent" "$socket" 50000 0 1
	bench_observe_run "$agent" "$socket" 50000 10 1
	bench_observe_run "$agent" "$socket" 50000 100 1
	bench_observe_peer
}

# Rate, features, lines a datagram.
bench_observe_run() {
	local agent=$1 socket=$2 before after pss sent lost counted was
	was=$(bench_observe_counted)
	pss=$(bench_pss "$agent")
	before=$(bench_ticks "$agent")
	read -r sent lost < <(COVEY_OBSERVE=$socket nice -n -15 taskset -c 0 "$COVEY_BUILD/bench/observe-load" "$3" "$seconds" "$4" "$5")
	sleep 4 # the period ends, the record goes
	after=$(bench_ticks "$agent")
	counted=$(bench_observe_counted)
	say "| $3 | $4 | $5 | $sent | $((sent - (counted - was))) ($lost) | $(awk -v a="$before" -v b="$after" -v s="$seconds" 'BEGIN {printf "%.0f %%", (b - a) / 1e7 / s}') | $pss, $(bench_pss "$agent") |"
}

bench_observe_counted() {
	fleet_covey observations digits --lines 1000 -o json | jq '[.[].attempted] | add // 0'
}

# The agent learns a baseline with so many features, and counts against it from then on.
bench_observe_learn() { # agent, socket, features
	COVEY_OBSERVE=$2 "$COVEY_BUILD/bench/observe-load" 2000 2 "$3" 1 >/dev/null
	for _ in $(seq 100); do
		COVEY_OBSERVE=$2 "$COVEY_BUILD/bench/observe-load" 1000 1 "$3" 1 >/dev/null
		[ "$(fleet_covey observations digits --lines 1 -o json | jq '.[0].features | length')" -ge "$3" ] || continue
		sleep 8 # the last of these are counted
		return 0
	done
	say "no baseline was learned"
}

bench_observe_peer() {
	local pid before after sent lost socket=$BENCH_WORK/peer.sock
	nice -n -15 taskset -c 1 python3 - "$socket" >"$BENCH_WORK/peer" <<'PY' &
import os, signal, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
sums, lines = {}, 0
def end(*_):
    print(lines, flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    for line in s.recv(8192).decode().split("\n"):
        lines += line != "" and not line.startswith("lost")
        for field in line.split():
            name, _, value = field.partition("=")
            sums[name] = sums.get(name, 0) + (float(value) if name != "class" else 1)
PY
	pid=$!
	sleep 1
	before=$(bench_ticks "$pid")
	read -r sent lost < <(COVEY_OBSERVE=$socket nice -n -15 taskset -c 0 "$COVEY_BUILD/bench/observe-load" 50000 "$seconds" 0 1)
	after=$(bench_ticks "$pid")
	kill -TERM "$pid"
	wait "$pid" 2>/dev/null || true
	say "| 50000 (Python) | 0 | 1 | $sent | $((sent - $(cat "$BENCH_WORK/peer"))) ($lost) | $(awk -v a="$before" -v b="$after" -v s="$seconds" 'BEGIN {printf "%.0f %%", (b - a) / 1e7 / s}') | |"
}
