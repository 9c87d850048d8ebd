# SPDX-License-Identifier: Apache-2.0
# What an idle node costs: resident memory (PSS) of all Covey processes on it, CPU time and wake-ups
# a second with one model served and an HTTP probe every 2 s. One agent on the machine.

bench_footprint() {
	local seconds=${1:-60} pids agent helper
	bench_fleet 1
	bench_push 5.0.0 2.0.0 's#interval: .*#interval: 2s#'
	bench_apply 5.0.0 200ms
	sleep 65 # keep_warm is over, the old slot is gone
	agent=$(pgrep -f "covey-agent --config $FLEET_STATE/n1")
	helper=$(pgrep -f "covey-helper --config $FLEET_STATE/n1")
	local before after wake_before wake_after
	before=$(bench_ticks $agent $helper) wake_before=$(bench_switches $agent $helper)
	sleep "$seconds"
	after=$(bench_ticks $agent $helper) wake_after=$(bench_switches $agent $helper)
	say "| process | PSS kB |"
	say "|---|---|"
	say "| covey-agent | $(bench_pss "$agent") |"
	say "| covey-helper | $(bench_pss "$helper") |"
	say ""
	say "over $seconds s: $(awk -v a="$before" -v b="$after" -v s="$seconds" 'BEGIN {printf "%.3f %% of a core", (b - a) / 1e7 / s}'), $(awk -v a="$wake_before" -v b="$wake_after" -v s="$seconds" 'BEGIN {printf "%.2f wake-ups a second", (b - a) / s}')"
}

bench_pss() { awk '/^Pss:/ {print $2}' "/proc/$1/smaps_rollup"; }

# Nanoseconds on a CPU, all threads.
bench_ticks() {
	local pid total=0
	for pid in "$@"; do
		total=$((total + $(cat /proc/"$pid"/task/*/schedstat | awk '{s += $1} END {printf "%.0f", s}')))
	done
	echo $total
}

# Voluntary context switches, all threads: each is one sleep that was woken.
bench_switches() {
	local pid total=0
	for pid in "$@"; do
		total=$((total + $(cat /proc/"$pid"/task/*/status | awk '/^voluntary/ {s += $2} END {print s}')))
	done
	echo $total
}
