#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# System calls that fail, by strace, in the middle of a rollout: a full disk, a disk that cannot be
# read or written, no memory, no descriptors, no processes. Clients are served all the time, one
# sentence says what is wrong, and when the fault is gone things go on, or `retry` makes them.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/proof.sh"

# What starts a daemon again when it has ended, as systemd does.
supervise() {
	local node
	while sleep 0.2 && kill -0 $$; do
		kill -0 "$(daemon_pid co coordinator)" 2>/dev/null || daemon_start co coordinator
		for node in $(seq "$NODES"); do
			kill -0 "$(daemon_pid "n$node" helper)" 2>/dev/null || daemon_start "n$node" helper
			kill -0 "$(daemon_pid "n$node" agent)" 2>/dev/null || daemon_start "n$node" agent
		done
	done
}

# A fault is one word or more: call:error=E, call:retval=N, as strace has them, or -P FILE.
inject() { # host, program, fault ...
	local host=$1 program=$2 calls= options=() pid word
	shift 2
	for word in "$@"; do
		[[ $word == *:* ]] && options+=(-e "inject=$word") && calls+=${calls:+,}${word%%:*}
		[[ $word == /* ]] && options+=(-P "$word")
	done
	pid=$(daemon_pid "$host" "$program")
	for word in "$FLEET_STATE"/*/*.log; do stat -c %s "$word" >"$WORK/from-$(basename "$(dirname "$word")")-$(basename "$word")"; done
	strace -f -qq -o "$WORK/strace" -e "trace=$calls" "${options[@]}" -p "$pid" 2>"$WORK/strace.err" &
	STRACE=$!
	wait_for 10 is_traced "$pid"
}
is_traced() { ! grep -q 'TracerPid:.0$' "/proc/$1/status"; }
eject() {
	kill -INT "$STRACE" 2>/dev/null
	wait "$STRACE" 2>/dev/null
	STRACE=
}
logged() { # pattern: in any log since the fault began, or said to the operator
	local log from line
	line=$(for log in "$FLEET_STATE"/*/*.log; do
		from=$(cat "$WORK/from-$(basename "$(dirname "$log")")-$(basename "$log")" 2>/dev/null)
		tail -c "+$((${from:-0} + 1))" "$log"
	done | cat - "$WORK/apply" | grep -a -E -- "$1" | head -n 1)
	echo "$line"
	[ -n "$line" ]
}
injected() { grep -q INJECTED "$WORK/strace"; }

log_of() { echo "$(daemon_database "$1" "$2")-wal"; } # host, program: of its database
part_of() { # version: of its largest file, on its way to the disk of n1
	echo "$FLEET_STATE/n1/agent/parts/$(b2sum -l 256 "$WORK/$1/model/extra-$1" | cut -d' ' -f1).part"
}

# The node has told its failure: what else the fault hits, like a look at the rules, is not this.
goes_back() { [[ $(rollout_field .state) =~ ^(rolling_back|rolled_back)$ ]]; }

# What the rollout does when the fault is gone: it completes by itself, or it was rolled back and
# `retry` leads to the end. What is tried a few times may have been given up by then: either is right.
has_ended() { [[ $(rollout_field .state) =~ ^(completed|rolled_back)$ ]]; }
ends() { # completed | retried | tried, sentence
	local end=$1
	if [ "$end" = tried ]; then
		wait_for 120 has_ended || return 1
		if state_is rolled_back; then rollout_field .reason.text | grep -qE -- "$2" || return 1; end=retried; fi
	fi
	if [ "$end" = retried ]; then
		wait_for 120 state_is rolled_back && wait_for 20 all_serve "$SERVED" &&
			insist 30 fleet_covey rollout retry "$(cat "$WORK/id")" || return 1
	fi
	wait_for 120 state_is completed
}

# One fault on one daemon while a rollout begins.
fault() { # title, host, program, sentence, completed | retried | tried, fault ...
	local title=$1 host=$2 program=$3 sentence=$4 end=$5 bad=0 old=$SERVED
	local version=6.0.$((ROUND += 1))
	shift 5
	remember
	round_release good "$version" >/dev/null
	[ "$host" = co ] || insist 60 fleet_covey release push -f "$WORK/$version/release.yaml"
	load_begin
	inject "$host" "$program" "${@//PART/$(part_of "$version")}"
	{
		[ "$host" != co ] || fleet_covey --timeout 10s release push -f "$WORK/$version/release.yaml"
		fleet_covey --timeout 10s apply -y --detach -f "$(round_deployment strict "$version")"
	} >"$WORK/apply" 2>&1
	wait_for 60 logged "$sentence" || { bad=1; echo "# no sentence /$sentence/"; }
	SENTENCE=$(logged "$sentence")
	[ "$end" != retried ] || wait_for 60 goes_back || { bad=1; echo "# the rollout does not go back"; }
	eject
	wait_for 20 fleet_lives
	insist 60 fleet_covey release push -f "$WORK/$version/release.yaml"
	insist 60 apply_once "$(round_deployment strict "$version")" "$version" || bad=1
	ends "$end" "$sentence" || { bad=1; echo "# it ended $(rollout_field '.state, .reason.text' | tr '\n' ' ')"; }
	SERVED=$version
	wait_for 60 slots_are "$version" "$NODES" && wait_for 10 all_serve "$version" ||
		{ bad=1; echo "# not all nodes serve $version"; }
	load_end
	load_is_fine good "$old" "$version" || bad=1
	remembered || bad=1
	injected || { bad=1; echo "# nothing was injected"; }
	rm -rf "$WORK/$version"
	[ $bad = 0 ]
	ok "$title: $SENTENCE"
}

NODES=2
scenario_fleet $NODES
round_first
ok "1.0.0 goes out"
supervise &
SUPERVISOR=$!
STRACE=
trap 'kill $SUPERVISOR; eject; scenario_end' EXIT
NO_MEMORY="mmap:error=ENOMEM brk:retval=0"
LARGE=12000000 # bytes of a file that no heap holds by chance: each of its chunks needs more memory
# What the C library says, libzmq, and the runtime of the sanitizers where it is linked in.
MEMORY_SAYS="[Oo]ut of memory|OUT OF MEMORY|Cannot allocate memory|Failed to mmap|failed to allocate"

NO_DESCRIPTORS=$(echo {openat,socket,accept4,eventfd2,epoll_create1,pipe2}:error=EMFILE)

fault "agent, journal, disk full" n1 agent 'journal.*full: nothing is changed until' completed \
	pwrite64:error=ENOSPC "$(log_of n1 agent)"
fault "agent, chunks, EIO" n1 agent 'Input/output error' tried fdatasync:error=EIO PART
ROUND_BYTES=$LARGE fault "agent, no memory" n1 agent "$MEMORY_SAYS" completed $NO_MEMORY
fault "agent, no descriptors" n1 agent 'its health cannot be asked.*Too many open files' completed $NO_DESCRIPTORS
fault "coordinator, database, disk full" co coordinator 'disk.*full' completed \
	pwrite64:error=ENOSPC "$(log_of co coordinator)"
fault "helper, no processes" n1 helper 'Resource temporarily unavailable' retried \
	{clone,clone3,fork,vfork}:error=EAGAIN
everything || exit 0

fault "agent, journal, EIO" n1 agent 'journal.*I/O error: nothing is changed until' completed \
	fdatasync:error=EIO "$(log_of n1 agent)"
fault "agent, chunks, disk full" n1 agent 'No space left' tried pwrite64:error=ENOSPC PART
fault "agent, final name, EIO" n1 agent 'Input/output error' tried renameat:error=EIO
fault "coordinator, database, EIO" co coordinator 'I/O error' completed \
	fdatasync:error=EIO "$(log_of co coordinator)"
fault "coordinator, objects, EIO" co coordinator 'Input/output error' completed {fsync,renameat}:error=EIO
ROUND_BYTES=$LARGE fault "coordinator, no memory" co coordinator "$MEMORY_SAYS" completed $NO_MEMORY
fault "coordinator, no descriptors" co coordinator 'Too many open files' completed $NO_DESCRIPTORS
fault "helper, no descriptors" n1 helper 'Too many open files' retried {socketpair,openat}:error=EMFILE
fault "helper, EIO" n1 helper 'Input/output error' retried {fsync,rename,renameat}:error=EIO
fault "helper, disk full" n1 helper 'No space left' retried {mkdir,mkdirat}:error=ENOSPC
fault "helper, no memory" n1 helper "$MEMORY_SAYS|covey-worker-[a-z]+ ended without an answer" retried $NO_MEMORY
