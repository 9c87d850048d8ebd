# SPDX-License-Identifier: Apache-2.0
# From `covey apply` to the first canary container running, files on the nodes already: five nodes.

BENCH_ROUNDS=${BENCH_ROUNDS:-20}

bench_start() {
	bench_fleet 5
	bench_apply 2.0.0 200ms # now both releases lie on every node
	local round times=$BENCH_WORK/times versions=(1.0.0 2.0.0)
	for ((round = 0; round < BENCH_ROUNDS; round++)); do
		sleep 2 # keep_warm is a minute: the idle slot still runs the other release ...
		bench_push "9.0.$round" 1.0.0 "" # ... so a new one is made of files that are there
		bench_prefetch "9.0.$round"
		bench_one_start "9.0.$round" >>"$times"
	done
	say "| rounds | median ms | p90 ms | worst ms |"
	say "|---|---|---|---|"
	say "| $BENCH_ROUNDS | $(bench_percentile 50 <"$times") | $(bench_percentile 90 <"$times") | $(bench_percentile 100 <"$times") |"
}

bench_prefetch() { :; } # the same layers and model files: every byte is on the node already

bench_one_start() { # version
	local began id before
	before=$(pgrep -fc '^/server' || true)
	began=$(date +%s%N)
	bench_apply "$1" 200ms --detach
	until [ "$(pgrep -fc '^/server')" -gt "$before" ] || [ $((($(date +%s%N) - began) / 1000000)) -gt 10000 ]; do sleep 0.005; done
	echo $((($(date +%s%N) - began) / 1000000))
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	fleet_covey rollout watch "$id" >/dev/null
}
