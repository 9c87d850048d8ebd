# SPDX-License-Identifier: Apache-2.0
# What runs for as long as one likes, adds up in build/soak*.log and goes on where it stopped:
#	soak [MINUTES]              the simulator on fresh seeds
#	soak kills                  kill -9 of each daemon at each of its steps and moments, all injected
#	                            faults, partitions and damage
#	soak random [KILLS [CONTAINERS [RUNTIMES]]]  random kills of real processes, some of them of
#	                            containers and conmon, some of runc

. "$COVEY_SOURCE/tools/test.sh"
. "$COVEY_SOURCE/tools/fleet.sh"

soak_main() {
	case ${1:-10} in
	kills) soak_kills ;;
	random) shift && soak_random "$@" ;;
	*) soak_simulator "$@" ;;
	esac
}

soak_simulator() { # minutes
	local minutes=${1:-10} log=$COVEY_BUILD/soak.log end seed result=0
	[[ $minutes =~ ^[0-9]+$ ]] || die 2 "dev soak: say how many minutes, a whole number, or kills or random"
	deps_install
	build_clang
	mkdir -p "$COVEY_BUILD"
	end=$(($(date +%s) + minutes * 60))
	while [ "$(date +%s)" -lt $end ]; do
		seed=$(awk '{s = $1} END {print s + 0}' "$log" 2>/dev/null || echo 0)
		[ "$seed" -ge 1000000 ] || seed=1000000
		"$COVEY_BUILD_CLANG/tests/sim/covey-sim" --seed "$seed" --count 50 2>/dev/null |
			grep '^#' >"$log.part" || true
		cat "$log.part"
		echo "$((seed + 50)) $(date -u +%FT%TZ) $(tail -n 1 "$log.part")" >>"$log"
		grep -q 'seed [0-9]*, ' "$log.part" && result=1
	done
	rm -f "$log.part"
	return $result
}

soak_kills() {
	need_root
	deps_install
	build_into "$COVEY_BUILD" -Dwerror=true -Dtests=enabled
	local scenario result=0
	for scenario in kills injected partitions damage; do
		COVEY_PROOF=all COVEY_FLEET=k$$ "$COVEY_SOURCE/tests/integration/fleet/$scenario.sh" |
			tee -a "$COVEY_BUILD/soak-kills.log" || result=1
	done
	return $result
}

# The seed is the number of storms so far, so that each run brings new ones.
soak_random() { # kills, of them containers, runtimes
	local kills=${1:-200} tenth=$((${1:-200} / 10)) log=$COVEY_BUILD/soak-random.log result=0
	local containers=${2:-$tenth} runtimes=${3:-$tenth}
	[[ $kills =~ ^[0-9]+$ && $containers =~ ^[0-9]+$ && $runtimes =~ ^[0-9]+$ ]] ||
		die 2 "dev soak random: say how many kills, how many of them of containers and how many of runc"
	need_root
	deps_install
	build_into "$COVEY_BUILD" -Dwerror=true -Dtests=enabled
	fleet_image
	fleet_up --nodes 4
	export COVEY_SOURCE COVEY_BUILD FLEET_RUN FLEET_STATE FLEET_NETNS FLEET_NAME
	python3 "$COVEY_SOURCE/tests/integration/fleet/soak.py" --kills "$kills" --containers "$containers" \
		--runtimes "$runtimes" --seed "$(($(wc -l <"$log" 2>/dev/null || echo 0) + 1))" --log "$log" || result=$?
	soak_summary "$log"
	[ $result != 0 ] || fleet_down # a finding leaves the fleet as it is
	return $result
}

soak_summary() { # log: all runs so far
	jq -rs '"\(map(.kills | add // 0) | add) kills (\(map(.kills | to_entries[]) | group_by(.key)
		| map("\(.[0].key) \(map(.value) | add)") | join(", "))) in \(map(select(.ended)) | length) storms, "
		+ "\(map(.requests // 0) | add) requests, \(map(.findings) | add) findings"' "$1"
}
