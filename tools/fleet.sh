# SPDX-License-Identifier: Apache-2.0
# The development fleet: one network namespace for the switch, one for the coordinator, one for
# each node. Nodes run the real agent, the real helper and real containers; only the machine is
# shared. Sockets live in /run/covey-NAME (their paths must be short), state in
# build/fleet-NAME.

. "$COVEY_SOURCE/tools/systemd.sh" # nodes that are booted systems

FLEET_NAME=${COVEY_FLEET:-dev} # several fleets can be up side by side
FLEET_RUN=/run/covey-$FLEET_NAME
FLEET_STATE=$COVEY_BUILD/fleet-$FLEET_NAME
FLEET_NETNS=covey-$FLEET_NAME
FLEET_NET=10.77
FLEET_PORT=7400
read -ra FLEET_WRAP <<<"${COVEY_WRAP:-}" # put before Covey's programs (valgrind)

fleet_main() {
	local command=${1:-}
	[ $# -gt 0 ] && shift
	case $command in
	up) fleet_up "$@" ;;
	down) need_root && fleet_down ;;
	env) fleet_env ;;
	exec) fleet_exec "$@" ;;
	cut) need_root && fleet_link "${1:?usage: ./dev fleet cut NODE}" down ;;
	heal) need_root && fleet_link "${1:?usage: ./dev fleet heal NODE}" up ;;
	*) die 2 "dev fleet: say up, env, exec, cut, heal or down" ;;
	esac
}

fleet_up() {
	local nodes=5 rate= booted=
	while [ $# -gt 0 ]; do
		case $1 in
		--nodes) nodes=$2 && shift 2 ;;
		--rate) rate=$2 && shift 2 ;;
		--systemd) booted=1 && shift ;;
		*) die 2 "dev fleet up: \`$1\` is unknown; there are --nodes N, --rate 100mbit and --systemd" ;;
		esac
	done
	[[ $nodes =~ ^[0-9]+$ ]] && [ "$nodes" -ge 1 ] && [ "$nodes" -le 200 ] ||
		die 2 "dev fleet up: --nodes takes a number from 1 to 200"
	need_root
	deps_install
	[ -x "$COVEY_BUILD/agent/covey-agent" ] || build_plain
	[ ! -e "$FLEET_RUN/switch" ] || die 1 "dev fleet up: a fleet is up already; \`./dev fleet down\` ends it"
	local i
	if [ -n "$booted" ]; then
		systemd_fleet_up "$nodes" "$rate"
	else
		fleet_switch_up
		fleet_coordinator_up
		for ((i = 1; i <= nodes; i++)); do fleet_node_join "$i" "$rate"; done
		for ((i = 1; i <= nodes; i++)); do fleet_node_start "$i"; done
	fi
	fleet_wait_online "$nodes"
	say "a coordinator and $nodes nodes are up; \`eval \"\$(./dev fleet env)\"\` lets \`covey\` talk to them"
}

fleet_env() {
	cat <<TEXT
export COVEY_COORDINATOR=ipc://$FLEET_RUN/co/coordinator.sock
export COVEY_HOME=$FLEET_STATE/operator
export PATH=$COVEY_BUILD/coordinator/cli:$COVEY_BUILD/agent:\$PATH
TEXT
}

fleet_exec() {
	local node=${1:?usage: ./dev fleet exec NODE -- COMMAND}
	shift
	[ "${1:-}" = -- ] && shift
	[ -e "$FLEET_RUN/$node" ] || die 2 "dev fleet exec: there is no node $node"
	if systemd_is_booted "$node"; then
		systemd_exec "$node" "$@"
		return
	fi
	COVEY_AGENT_CONFIG=$FLEET_STATE/$node/agent.conf nsenter "--net=/run/netns/$FLEET_NETNS-$node" "$@"
}

fleet_link() { # node, up|down
	[ -e "$FLEET_RUN/$1" ] || die 2 "dev fleet: there is no node $1"
	ip -n $FLEET_NETNS-sw link set "$1" "$2"
}

# ---- network ----

fleet_switch_up() {
	mkdir -p "$FLEET_RUN" "$FLEET_STATE"
	ip netns add $FLEET_NETNS-sw
	touch "$FLEET_RUN/switch"
	ip -n $FLEET_NETNS-sw link add br0 type bridge
	ip -n $FLEET_NETNS-sw link set br0 up
}

fleet_host_up() { # name, address, rate or ""
	local name=$1 address=$2 rate=$3
	ip netns add "$FLEET_NETNS-$name"
	mkdir -p "$FLEET_RUN/$name" "$FLEET_STATE/$name"
	ip -n $FLEET_NETNS-sw link add "$name" type veth peer name eth0 netns "$FLEET_NETNS-$name"
	ip -n $FLEET_NETNS-sw link set "$name" master br0 up
	ip -n "$FLEET_NETNS-$name" addr add "$address/16" dev eth0
	ip -n "$FLEET_NETNS-$name" link set lo up
	# what systemd sets on a machine; a fresh namespace has 10
	nsenter "--net=/run/netns/$FLEET_NETNS-$name" sysctl -qw net.unix.max_dgram_qlen=512
	ip -n "$FLEET_NETNS-$name" link set eth0 up
	[ -n "$rate" ] || return 0
	tc -n $FLEET_NETNS-sw qdisc add dev "$name" root tbf rate "$rate" burst 128kb latency 60ms
	tc -n "$FLEET_NETNS-$name" qdisc add dev eth0 root tbf rate "$rate" burst 128kb latency 60ms
}

fleet_address() { # node number
	echo "$FLEET_NET.$((1 + $1 / 250)).$((1 + $1 % 250))"
}

# ---- processes ----

# Starts a daemon in a namespace, detached, its output in a log. (nsenter, because `ip netns exec`
# would also hide the control groups behind a fresh /sys.)
fleet_daemon() { # host, program name, command ...
	local host=$1 name=$2
	shift 2
	setsid nsenter "--net=/run/netns/$FLEET_NETNS-$host" "$@" >>"$FLEET_STATE/$host/$name.log" 2>&1 </dev/null &
	echo $! >"$FLEET_RUN/$host/$name.pid"
	disown
}

fleet_stop_daemon() { # host, program name
	local file=$FLEET_RUN/$1/$2.pid pid
	[ -f "$file" ] || return 0
	pid=$(cat "$file")
	kill "$pid" 2>/dev/null || true
	for _ in $(seq 50); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$pid" 2>/dev/null || true
	rm -f "$file"
}

fleet_coordinator_up() {
	local state=$FLEET_STATE/co/state
	fleet_host_up co "$FLEET_NET.0.1" ""
	mkdir -p "$state" "$FLEET_STATE/operator"
	cat >"$FLEET_STATE/co/coordinator.conf" <<TEXT
[coordinator]
state_dir = $state
listen = $FLEET_NET.0.1
port = $FLEET_PORT
socket = $FLEET_RUN/co/coordinator.sock
group = root
observe_period = 2s
${FLEET_COORDINATOR_CONF:-}
TEXT
	COVEY_HOME=$FLEET_STATE/operator "${FLEET_WRAP[@]}" "$COVEY_BUILD/coordinator/cli/covey" init --dir "$state" \
		--endpoint "tcp://$FLEET_NET.0.1:$FLEET_PORT" >"$FLEET_STATE/co/init.log"
	fleet_daemon co coordinator "${FLEET_WRAP[@]}" "$COVEY_BUILD/coordinator/covey-coordinator" \
		--config "$FLEET_STATE/co/coordinator.conf"
	for _ in $(seq 100); do
		fleet_covey version >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	tail -n 5 "$FLEET_STATE/co/coordinator.log" >&2
	die 1 "dev fleet: the coordinator does not answer; its log is $FLEET_STATE/co/coordinator.log"
}

fleet_covey() {
	COVEY_COORDINATOR=ipc://$FLEET_RUN/co/coordinator.sock COVEY_HOME=$FLEET_STATE/operator \
		"${FLEET_WRAP[@]}" "$COVEY_BUILD/coordinator/cli/covey" "$@"
}

fleet_node_join() { # number, rate
	local node=n$1 sites=(lyon paris) site
	site=${sites[$(($1 % 2))]}
	fleet_host_up "$node" "$(fleet_address "$1")" "$2"
	cat >"$FLEET_STATE/$node/agent.conf" <<TEXT
[agent]
name = $node
state_dir = $FLEET_STATE/$node/agent
run_dir = $FLEET_RUN/$node
trust_dir = $FLEET_STATE/$node/trust
user = root

[helper]
state_dir = $FLEET_STATE/$node/helper
socket = $FLEET_RUN/$node/helper.sock
group = root
instance = $FLEET_NAME$node
TEXT
	fleet_covey token create --label "site=$site" --ttl 1h --uses 1 |
		fleet_exec "$node" -- "${FLEET_WRAP[@]}" "$COVEY_BUILD/agent/covey-agent" join - \
			--config "$FLEET_STATE/$node/agent.conf" >"$FLEET_STATE/$node/join.log" 2>&1 || {
		cat "$FLEET_STATE/$node/join.log" >&2
		die 1 "dev fleet: node $node could not join"
	}
}

fleet_node_start() { # number
	local node=n$1
	fleet_daemon "$node" helper "${FLEET_WRAP[@]}" "$COVEY_BUILD/agent/helper/covey-helper" \
		--config "$FLEET_STATE/$node/agent.conf"
	fleet_daemon "$node" agent "${FLEET_WRAP[@]}" "$COVEY_BUILD/agent/covey-agent" \
		--config "$FLEET_STATE/$node/agent.conf"
}

fleet_wait_online() { # count
	local online=0
	for _ in $(seq 300); do
		online=$(fleet_covey node ls -o json 2>/dev/null |
			jq '[.[] | select(.state == "online")] | length' 2>/dev/null || echo 0)
		[ "$online" -ge "$1" ] && return 0
		sleep 0.2
	done
	die 1 "dev fleet: only $online of $1 nodes are online after a minute; logs are in $FLEET_STATE/n*/agent.log"
}

# The container image of the example, which scenarios, demo and benchmarks serve.
fleet_image() {
	local image=$COVEY_BUILD/digits-image server=$COVEY_BUILD/examples/digits/digits-server
	[ ! "$image" -nt "$server" ] || return 0
	rm -rf "$image"
	"$COVEY_SOURCE/examples/digits/build-image.py" --server "$server" "$image" >/dev/null
}
# ---- end ----

# Everything that the fleet started lives in its namespaces: whatever has a process there ends.
fleet_down() {
	local host netns pids
	for host in "$FLEET_RUN"/*/; do
		[ -d "$host" ] || continue
		host=$(basename "$host")
		if systemd_is_booted "$host"; then systemd_halt "$host"; fi
		fleet_stop_daemon "$host" agent
		fleet_stop_daemon "$host" coordinator
		fleet_stop_daemon "$host" helper
	done
	pkill -KILL -f "conmon .*$FLEET_STATE/n[0-9]+/helper" 2>/dev/null || true
	pkill -KILL -f "covey-[a-z]+ --config $FLEET_STATE/" 2>/dev/null || true # whom no pid file knows
	fleet_kill_containers
	for netns in $(ip netns list | awk -v p="^$FLEET_NETNS-(sw|co|n[0-9]+)$" '$1 ~ p {print $1}'); do
		pids=$(ip netns pids "$netns" 2>/dev/null) && [ -n "$pids" ] && kill -9 $pids 2>/dev/null
		true
	done
	fleet_unmount
	for netns in $(ip netns list | awk -v p="^$FLEET_NETNS-(sw|co|n[0-9]+)$" '$1 ~ p {print $1}'); do
		ip netns del "$netns"
	done
	find /sys/fs/cgroup -depth -type d -path "*/covey/${FLEET_NAME}n[0-9]*" -exec rmdir {} + 2>/dev/null || true
	rm -rf "$FLEET_RUN" "$FLEET_STATE"
}

# Without their supervisor nobody else would: their control groups know them.
fleet_kill_containers() {
	local pids
	pids=$(find /sys/fs/cgroup -path "*/covey/${FLEET_NAME}n[0-9]*" -name cgroup.procs \
		-exec cat {} + 2>/dev/null | sort -u)
	[ -z "$pids" ] || kill -9 $pids 2>/dev/null || true
}

# Slots end when their processes are gone; then mounts of the fleet's folders can go.
fleet_unmount() {
	local pids mount
	for mount in $(awk -v a="$FLEET_STATE/" -v b="$FLEET_RUN/" \
		'index($5, a) == 1 || index($5, b) == 1 {print $5}' /proc/self/mountinfo | sort -r); do
		pids=$(lsns -t net -no PID,NSFS 2>/dev/null | awk -v m="$mount" 'index($0, m) {print $1}')
		[ -n "$pids" ] && kill -9 $pids 2>/dev/null
		umount -l "$mount" 2>/dev/null || true
	done
}
