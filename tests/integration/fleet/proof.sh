# SPDX-License-Identifier: Apache-2.0
# What the scenarios about faults share: rounds of rollouts on a fleet with clients, and after each
# round the same questions. Sourced after lib.sh.
#
# A round changes the deployment `digits` of all nodes to a release that nobody has seen before, so
# that every step from fetch to commit happens, and ends as its kind says:
#	good  completed                  green    completed, blue-green
#	smoke rolled_back before a client saw it (wrong answers)
#	crash rolled_back from the bake  abort    aborted by the operator in the bake
#	stop  completed, stop-first      remove   the deployment is removed and comes back
#	strict as good, the odd nodes first: when n1 of two fails, all goes back

# The default suite runs a part; COVEY_PROOF=all runs everything (`./dev soak kills`).

STRIKE=$COVEY_BUILD/tests/integration/strike/covey-strike
NODES=0      # of this fleet
SERVED=      # the version that all nodes serve
ROUND=0
ACTIONS=0    # operators' actions that were acknowledged
LOAD_PID=

everything() { [ "${COVEY_PROOF:-}" = all ]; }

# ---- daemons ----

daemon_pid() { cat "$FLEET_RUN/$1/$2.pid"; } # host, program

daemon_database() { # host, program
	case $2 in
	coordinator) echo "$FLEET_STATE/co/state/coordinator.db" ;;
	agent) echo "$FLEET_STATE/$1/agent/journal.db" ;;
	esac
}

daemon_start() { # host, program [command before it ...]
	local host=$1 program=$2 config=$FLEET_STATE/$1/agent.conf path=agent/covey-agent
	shift 2
	case $program in
	coordinator) config=$FLEET_STATE/co/coordinator.conf path=coordinator/covey-coordinator ;;
	helper) path=agent/helper/covey-helper ;;
	esac
	fleet_daemon "$host" "$program" "$@" "$COVEY_BUILD/$path" --config "$config"
}

daemon_kill() { kill -9 "$(daemon_pid "$1" "$2")" 2>/dev/null; }

# What a supervisor does: it starts again whatever ended, and says so in a file.
daemon_revive() { # host, program
	daemon_kill "$1" "$2"
	sleep 0.1
	daemon_start "$1" "$2"
}

fleet_lives() {
	local node
	kill -0 "$(daemon_pid co coordinator)" || return 1
	for node in $(seq "$NODES"); do
		kill -0 "$(daemon_pid "n$node" agent)" && kill -0 "$(daemon_pid "n$node" helper)" || return 1
	done
}

# ---- one strike: host:program:step:moment[:all] ----
# step: with "/" for ":"; `worker/start/7` takes a worker of the helper, with `all` the helper too.

strike() { # strike, file for its result
	local host program step moment all options=()
	IFS=: read -r host program step moment all <<<"$1"
	step=${step//\//:}
	[ "$program" = helper ] || options+=(--database "$(daemon_database "$host" "$program")")
	[ -z "$all" ] || options+=(--all)
	"$STRIKE" --pid "$(daemon_pid "$host" "$program")" --at "$step" --when "$moment" --seconds 90 \
		"${options[@]}" >"$2" 2>&1 || return 0
	case $step/$all in
	worker:*/) ;; # the helper lives
	*) daemon_revive "$host" "$program" ;;
	esac
}

strikes_begin() { # strike ...: returns when all are attached
	local n=0 one
	STRIKE_PIDS=()
	for one in "$@"; do
		n=$((n + 1))
		: >"$WORK/strike-$n"
		strike "$one" "$WORK/strike-$n" &
		STRIKE_PIDS+=($!)
	done
	for one in $(seq $n); do
		wait_for 20 grep -q . "$WORK/strike-$one"
	done
}

# A line of diagnosis for each strike that did not happen. What is left of a slot is stopped after the
# rollout has ended, so some come a moment later.
strikes_end() { # strike ...
	local n=0 one missed=0
	for one in "$@"; do
		n=$((n + 1))
		if ! wait_for 30 grep -q struck "$WORK/strike-$n"; then
			kill "${STRIKE_PIDS[$((n - 1))]}" $(pgrep -P "${STRIKE_PIDS[$((n - 1))]}") 2>/dev/null
			missed=1
			echo "# $one did not come: $(tr '\n' ' ' <"$WORK/strike-$n")"
		fi
	done
	[ $n = 0 ] || wait "${STRIKE_PIDS[@]}" 2>/dev/null
	return $missed
}

# ---- clients ----

load_begin() {
	local addresses=() node
	for node in $(seq "$NODES"); do addresses+=("$(fleet_address "$node")"); done
	nsenter "--net=/run/netns/$FLEET_NETNS-co" python3 "$(dirname "${BASH_SOURCE[0]}")/load.py" \
		"$DIGITS/golden/seven.json" 7 "${addresses[@]}" >"$WORK/load" &
	LOAD_PID=$!
}

load_end() {
	kill "$LOAD_PID" && wait "$LOAD_PID"
	LOAD_PID=
}

# kind: what the clients were promised
load_is_fine() { # kind, old version, new version
	local filter=".failed == 0 and .wrong == 0"
	case $1 in
	crash | stop | remove) filter=".wrong == 0" ;; # it crashes, or nobody serves for a while
	smoke) filter="$filter and (.releases | keys == [\"digits@$2\"])" ;;
	esac
	jq -e "$filter and .requests > 0 and (.releases | keys - [\"digits@$2\", \"digits@$3\"] == [])" \
		"$WORK/load" >/dev/null || { echo "# clients: $(jq -c . "$WORK/load")"; return 1; }
}

# ---- rounds ----

round_release() { # kind, version -> release.yaml
	local kind=$1 version=$2 from=2.0.0 script=""
	[ "$kind" = smoke ] && from=3.0.0
	[ "$kind" = crash ] && script='s#^model:.*#&\ncommand: [/server, --crash-after, 1500ms]#'
	make_release "$version" $from "$script" >/dev/null
	cp -r "$DIGITS/releases/$from/model" "$WORK/$version/model"
	head -c "${ROUND_BYTES:-300000}" /dev/urandom >"$WORK/$version/model/extra-$version"
	# A machine that is busy with everything else must not make a server look unhealthy.
	sed -i "s#^files:.*#files: $WORK/$version/model#; s#timeout: 500ms#timeout: 5s#" \
		"$WORK/$version/release.yaml"
	echo "$WORK/$version/release.yaml"
}

round_deployment() { # kind, version -> deployment.yaml
	local bake=400ms swap=start-first strategy may_fail=1
	case $1 in
	smoke | crash) may_fail=$((NODES - 1)) ;; # every node comes to its failure
	esac
	case $1 in
	crash) bake=30s ;;
	abort) bake=40s ;;
	stop) swap=stop-first ;;
	esac
	strategy="{canary: {stages: [{nodes: 1, bake: $bake}, {percent: 100, bake: $bake}]}}"
	[[ $1 = smoke || $1 = crash ]] && strategy="{canary: {stages: [{percent: 100, bake: $bake}]}}"
	[ "$1" = strict ] && strategy=${strategy/nodes: 1,/nodes: 1, where: site=paris,} # n1
	[ "$1" = green ] && strategy="{blue_green: {promote: auto, bake: $bake}}"
	make_deployment "$2" <<YAML
swap: $swap
drain: 500ms
keep_warm: 0s
strategy: $strategy
max_unavailable: $NODES
failures: {nodes: $may_fail, percent: 100, unreachable: 100%}
deadlines: {node: 90s, stage: 3m, rollout: 5m}
gates: [{metric: latency, dry_run: true}]
YAML
}

# An operator asks until the answer comes: the coordinator may be struck in the middle.
insist() { # seconds, command ...
	local end=$(($(date +%s) + $1)) code=0
	shift
	until "$@" >"$WORK/out" 2>"$WORK/err"; do
		code=$?
		[ $code = 1 ] || [ $code = 7 ] || [ $code = 6 ] || return $code
		[ "$(date +%s)" -lt "$end" ] || { sed 's/^/# /' "$WORK/err"; return 1; }
		sleep 0.2
	done
	ACTIONS=$((ACTIONS + 1))
}

newest_to() { # version: the newest rollout's id, when it leads there
	fleet_covey rollout ls -o json | jq -er --arg r "digits@$1" \
		'sort_by(.started_at) | .[-1] | select(.to == $r or .release == $r) | .id'
}
apply_once() { # deployment.yaml, version: whether it came to be, not whether an answer came
	newest_to "$2" >"$WORK/id" 2>/dev/null && return 0
	fleet_covey --timeout 20s apply -y --detach -f "$1" >"$WORK/apply" 2>&1
	newest_to "$2" >"$WORK/id" || return 1
}
abort_once() { # rollout
	[[ $(rollout_field .state) =~ ^(rolling_back|aborted)$ ]] || fleet_covey rollout abort -y "$1"
}
state_is() { [ "$(rollout_field .state)" = "$1" ]; }
canary_bakes() { rollout_field '[.nodes[].state] | any(. == "baking" or . == "serving")' | grep -q true; }

slots_are() { # version, count: of slots that serve it, and of slots with anything else
	fleet_covey node ls -o json | jq -e --arg r "digits@$1" --argjson n "$2" \
		'([.[] | select(.state == "online")] | length) == $n
		 and ([.[].slots[] | select(.release == $r and .state == "serving")] | length) == $n' >/dev/null
}
all_serve() { # version
	local node
	for node in $(seq "$NODES"); do serves "$node" "$1" || return 1; done
}
nobody_serves() {
	local node
	for node in $(seq "$NODES"); do
		[ -z "$(label_at "$node")" ] || return 1
	done
}
no_slots() { fleet_covey node ls -o json | jq -e '[.[].slots[]] | length == 0' >/dev/null; }

# What was acknowledged once is there for ever: ended rollouts and operators' actions at the
# coordinator, outcomes on the nodes.
remember() {
	local node
	wait_for 60 fleet_covey version
	fleet_covey rollout ls -o json | jq -S 'sort_by(.id) | map({key: .id, value: .state}) | from_entries' \
		>"$WORK/rollouts"
	for node in $(seq "$NODES"); do
		fleet_exec "n$node" -- "$COVEY_BUILD/agent/covey-agent" history -o json >"$WORK/history-$node"
	done
}
remembered() {
	local node
	fleet_covey rollout ls -o json | jq -e --slurpfile old "$WORK/rollouts" \
		'(map({key: .id, value: .state}) | from_entries) as $new
		 | $old[0] | to_entries | all(.value == $new[.key])' >/dev/null ||
		{ echo "# ended rollouts changed"; return 1; }
	for node in $(seq "$NODES"); do
		fleet_exec "n$node" -- "$COVEY_BUILD/agent/covey-agent" history -o json |
			jq -e --slurpfile old "$WORK/history-$node" '. as $new | $old[0] | all(. as $o | $new | index($o))' \
				>/dev/null || { echo "# n$node forgot an outcome"; return 1; }
	done
	audit_entries || { echo "# the audit log has $AUDIT entries, $ACTIONS were acknowledged"; return 1; }
}
audit_entries() { # at least as many as were acknowledged
	local copy=$WORK/audit.db database
	database=$(daemon_database co coordinator)
	cp "$database" "$copy" && cp "$database-wal" "$copy-wal"
	AUDIT=$(python3 -c 'import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(
		"SELECT count(*) FROM audit").fetchone()[0])' "$copy")
	rm -f "$copy"*
	[ "$AUDIT" -ge "$ACTIONS" ]
}

round_first() { # the release that everything starts from
	insist 30 fleet_covey release push -f "$(make_release 1.0.0 1.0.0 's#timeout: 500ms#timeout: 5s#')" &&
		insist 60 fleet_covey apply -y -f "$(round_deployment good 1.0.0)" && all_serve 1.0.0
	SERVED=1.0.0
}

round_goes() { # kind, version: until it has ended as it should
	local kind=$1 version=$2
	if [ "$kind" = remove ]; then
		insist 60 fleet_covey deployment rm -y digits && wait_for 60 nobody_serves &&
			wait_for 60 no_slots || return 1
	fi
	insist 60 apply_once "$(round_deployment "$kind" "$version")" "$version" || return 1
	case $kind in
	good | green | stop | remove) wait_for 120 state_is completed && SERVED=$version ;;
	smoke | crash) wait_for 120 state_is rolled_back ;;
	abort)
		wait_for 90 canary_bakes && insist 60 abort_once "$(cat "$WORK/id")" &&
			wait_for 120 state_is aborted
		;;
	esac
}

# The whole round: strikes before it begins, all questions after it. One test.
round() { # kind, strike ...
	local kind=$1 version=5.0.$((ROUND += 1)) old=$SERVED bad=0
	shift
	remember
	round_release "$kind" "$version" >/dev/null
	load_begin
	strikes_begin "$@"
	insist 60 fleet_covey release push -f "$WORK/$version/release.yaml" || bad=1
	round_goes "$kind" "$version" || { bad=1; echo "# it ended $(rollout_field '.state, .reason.text' | tr '\n' ' ')"; }
	strikes_end "$@" || bad=1
	wait_for 60 slots_are "$SERVED" "$NODES" && wait_for 10 all_serve "$SERVED" ||
		{ bad=1; echo "# not all nodes serve $SERVED: $(fleet_covey node ls -o json | jq -c .)"; }
	load_end
	load_is_fine "$kind" "$old" "$version" || bad=1
	remembered || bad=1
	fleet_lives || { bad=1; echo "# a daemon has ended"; }
	rm -rf "$WORK/$version"
	[ $bad = 0 ]
	ok "$kind: $*"
}
