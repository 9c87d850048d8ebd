# SPDX-License-Identifier: Apache-2.0
# What the exchange of chunks costs beside its cryptography: one node fetches from the coordinator
# over links without a limit, between two network namespaces; then a program does nothing but send
# as many frames of the same size through CURVE, the same way. Both ends share this machine's cores.
#
#   ./dev bench exchange [--runs 3] [--mib 960]

EXCHANGE_FRAME=$((256 << 10)) # what files under 1 GiB are cut into

bench_exchange() {
	local runs=3 mib=960 run
	while [ $# -gt 0 ]; do
		case $1 in
		--runs) runs=$2 && shift 2 ;;
		--mib) mib=$2 && shift 2 ;;
		*) die 2 "dev bench exchange: \`$1\` is unknown; there are --runs and --mib" ;;
		esac
	done
	. "$COVEY_SOURCE/bench/distribution.sh"
	ninja -C "$COVEY_BUILD" bench/curve-copy >/dev/null
	DISTRIBUTION_RESULTS=$COVEY_BUILD/bench-exchange.jsonl
	: >"$DISTRIBUTION_RESULTS"
	say "| Covey MB/s | CURVE alone MB/s | share | agent's PSS MB, most |"
	say "|---|---|---|---|"
	for ((run = 1; run <= runs; run++)); do
		distribution_race unlimited covey 1 0 0 0 "$mib" >/dev/null
		exchange_row "$(exchange_curve "$mib")"
	done
}

# Prints the MB/s of the frames alone.
exchange_curve() { # MiB
	local frames=$((($1 << 20) / EXCHANGE_FRAME)) endpoint=tcp://$FLEET_NET.0.1:7499 program=$COVEY_BUILD/bench/curve-copy
	fleet_switch_up
	fleet_host_up co "$FLEET_NET.0.1" ""
	fleet_host_up n1 "$(fleet_address 1)" ""
	nsenter "--net=/run/netns/$FLEET_NETNS-co" "$program" send "$endpoint" $frames $EXCHANGE_FRAME &
	nsenter "--net=/run/netns/$FLEET_NETNS-n1" "$program" receive "$endpoint" $frames $EXCHANGE_FRAME
	wait $!
	fleet_down
}

exchange_row() { # MB/s of CURVE alone
	tail -n 1 "$DISTRIBUTION_RESULTS" | jq -r --argjson curve "$1" '"| \(.agent_mb_s) | \($curve) | " +
		"\(.agent_mb_s / $curve * 100 | round) % | \(.agent_pss_kb / 1024 | round) |"'
}
