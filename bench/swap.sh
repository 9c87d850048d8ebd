# SPDX-License-Identifier: Apache-2.0
# Swaps, undos and rollbacks of a release that still answers, under load on the node's port: new
# connections for every request, then keep-alive. What counts is the number of failed requests.

BENCH_SWAPS=${BENCH_SWAPS:-20}

bench_swap() {
	bench_fleet 1
	sysctl -qw net.netfilter.nf_conntrack_max=1048576 2>/dev/null || true
	nsenter "--net=/run/netns/$FLEET_NETNS-co" sysctl -qw net.ipv4.tcp_tw_reuse=1 \
		net.ipv4.ip_local_port_range="1024 65535"
	say "| load | change | changes | requests | requests/s | failed |"
	say "|---|---|---|---|---|---|"
	local mode change
	for mode in ${1:-close keep-alive}; do
		for change in ${2:-swap undo rollback}; do bench_swap_under "$mode" "$change"; done
	done
}

bench_swap_under() { # close|keep-alive, kind
	local header=() out=$BENCH_WORK/wrk.txt done=0
	BENCH_DRAIN=5s # connections that outlive it are closed: that is the rule, not a failure
	[ "$1" = close ] && header=(-H "Connection: close")
	nsenter "--net=/run/netns/$FLEET_NETNS-co" wrk -t1 -c32 -d600s "${header[@]}" \
		"http://$(fleet_address 1):8080/healthz" >"$out" 2>&1 &
	local load=$!
	sleep 1
	for ((done = 0; done < BENCH_SWAPS; done++)); do "bench_one_$2" "$done"; done
	sleep 1
	kill -INT $load
	wait $load || true
	read -r requests failed rate < <(bench_wrk_result "$out")
	say "| $1 | $2 | $BENCH_SWAPS | $requests | $rate | $failed |"
}

bench_one_swap() {
	local versions=(2.0.0 1.0.0)
	bench_apply "${versions[$(($1 % 2))]}" 200ms
}

bench_one_undo() {
	local id
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	fleet_covey rollout undo -y "$id" >/dev/null
}

# The release answers, the operator takes it back in its bake.
bench_one_rollback() {
	local id
	bench_apply "$(bench_other)" 60s --detach
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	until fleet_covey rollout show "$id" -o json | jq -e '.nodes[0].state == "baking"' >/dev/null; do sleep 0.05; done
	fleet_covey rollout abort -y "$id" >/dev/null 2>&1
	fleet_covey rollout watch "$id" >/dev/null 2>&1 || [ $? = 4 ]
}

bench_other() { # the release that does not serve now
	fleet_covey deployment show digits -o json | jq -r 'if .release == "digits@1.0.0" then "2.0.0" else "1.0.0" end'
}
