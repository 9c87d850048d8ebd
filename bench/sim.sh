# SPDX-License-Identifier: Apache-2.0
# The simulator's speed: events a second, seeds of small fleets and of a thousand nodes.

bench_sim() {
	local sim=$COVEY_BUILD/tests/sim/covey-sim
	say "| run | seconds |"
	say "|---|---|"
	say "| 300 seeds, 3 to 100 nodes | $(bench_seconds "$sim" --seed 1 --count 300) |"
	say "| 10 seeds, 1000 nodes | $(bench_seconds "$sim" --seed 1 --count 10 --nodes 1000) |"
}

bench_seconds() {
	local began
	began=$(date +%s%N)
	"$@" >/dev/null 2>&1
	awk -v a="$began" -v b="$(date +%s%N)" 'BEGIN {printf "%.1f", (b - a) / 1e9}'
}
