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
		bench_one_start "9.0.$round" >>"$times"
	done
	say "| rounds | median ms | p90 ms | worst ms |"
	say "|---|---|---|---|"
	say "| $BENCH_ROUNDS | $(bench_percentile 50 <"$times") | $(bench_percentile 90 <"$times") | $(bench_percentile 100 <"$times") |"
}

bench_one_start() { # version
	local began id
	touch "$BENCH_WORK/stamp"
	began=$(date +%s%N)
	bench_apply "$1" 200ms --detach
	until bench_started || [ $((($(date +%s%N) - began) / 1000000)) -gt 10000 ]; do sleep 0.002; done
	echo $((($(date +%s%N) - began) / 1000000))
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	fleet_covey rollout watch "$id" >/dev/null
}

bench_started() { # a container has written its process id since the stamp
	[ -n "$(find "$FLEET_RUN"/n*/helper/slots/*/pid -newer "$BENCH_WORK/stamp" 2>/dev/null)" ]
}
