# SPDX-License-Identifier: Apache-2.0
# From a fault in the serving release to the old slot answering, as a client sees it: the release's
# process is killed in its bake, a client asks every millisecond. The old slot is warm. What is
# measured holds the notice of the exit, the verdict, its record on disk and the map change.

BENCH_ROUNDS=${BENCH_ROUNDS:-50}

bench_latency() {
	bench_fleet 1
	local round gaps=$BENCH_WORK/gaps
	for ((round = 0; round < BENCH_ROUNDS; round++)); do bench_one_gap "$round" >>"$gaps"; done
	say "| rounds | median ms | p99 ms | worst ms | failed requests: median, worst |"
	say "|---|---|---|---|---|"
	say "| $BENCH_ROUNDS | $(cut -d' ' -f1 "$gaps" | bench_percentile 50) | $(cut -d' ' -f1 "$gaps" | bench_percentile 99) | $(cut -d' ' -f1 "$gaps" | bench_percentile 100) | $(cut -d' ' -f2 "$gaps" | bench_percentile 50), $(cut -d' ' -f2 "$gaps" | bench_percentile 100) |"
}

bench_one_gap() { # round; prints "gap_ms failed_requests"
	local id client
	if [ "$1" = 0 ]; then
		bench_apply 2.0.0 60s --detach
	else
		id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
		bench_push "2.0.$1" 2.0.0 ""
		bench_apply "2.0.$1" 60s --detach
	fi
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	until fleet_covey rollout show "$id" -o json | jq -e '.nodes[0].state == "baking"' >/dev/null; do sleep 0.05; done
	nsenter "--net=/run/netns/$FLEET_NETNS-co" "$COVEY_SOURCE/bench/gap.py" "$(fleet_address 1)" 8080 2 >"$BENCH_WORK/gap" &
	client=$!
	sleep 0.7
	kill -9 "$(cat "$FLEET_RUN/n1/helper/slots/digits-$(bench_colour)/pid")"
	wait $client
	fleet_covey rollout watch "$id" >/dev/null 2>&1 || [ $? = 3 ]
	cat "$BENCH_WORK/gap"
}

bench_colour() { # of the slot that clients reach
	fleet_covey node ls -o json | jq -r '.[0].slots[] | select(.state == "serving").colour'
}
