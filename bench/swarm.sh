# SPDX-License-Identifier: Apache-2.0
# The schedulers of the exchange between nodes, in the simulator: shares of what the links allow.
# `--nodes 1000` leaves the ten thousand out, which take minutes.

bench_swarm() {
	say "simulated links, virtual time; no sockets, no disk, no cryptography"
	"$COVEY_BUILD/tests/swarm/covey-swarm" --table "$@"
}
