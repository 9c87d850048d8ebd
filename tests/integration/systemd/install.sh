#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an administrator does: install, join, enable. Then a good release goes out and a bad one
# comes back, and the journal says so.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

scenario_systemd 2
for unit in covey-agent.service covey-helper.service covey-helper.socket; do
	unit_is_active n1 $unit
	ok "$unit is active on n1"
done
unit_is_active co covey-coordinator.service
ok "covey-coordinator.service is active"
[ "$(on n1 systemctl show -P WatchdogUSec covey-agent)" = 1min ] &&
	[ "$(on n1 systemctl show -P WatchdogUSec covey-helper)" = 1min ] &&
	[ "$(on co systemctl show -P WatchdogUSec covey-coordinator)" = 1min ]
# spec: SERV-1
ok "agent, helper and coordinator are watched"
[ "$(on n1 ps -o user= -C covey-agent)" = covey-a+ ] || [ "$(on n1 ps -o user= -C covey-agent)" = covey-agent ]
# spec: SERV-1
ok "the agent runs as its own user"
[ "$(on n1 stat -c '%U:%G %a' /run/covey/helper.sock)" = "root:covey-agent 660" ] &&
	[ "$(on co stat -c '%G %a' /run/covey/coordinator/control.sock)" = "covey 660" ] &&
	[ "$(on co stat -c '%U %a' /var/lib/covey/coordinator)" = "covey-coordinator 700" ]
ok "sockets and state belong to whom they should"
# spec: SERV-6
expect 7 "a user outside the group covey does not get at the coordinator" \
	on co setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/tmp covey status
expect 0 "a member of the group covey does" \
	on co setpriv --reuid=nobody --regid=nogroup --groups=covey env HOME=/tmp covey status
security_at_most n1 covey-agent.service 15
# spec: SERV-2
ok "covey-agent.service: exposure 1.5 or better"
security_at_most co covey-coordinator.service 15
# spec: SERV-2
ok "covey-coordinator.service: exposure 1.5 or better"
security_at_most n1 covey-helper.service 60
# spec: SERV-2
ok "covey-helper.service: exposure 6.0 or better"
security_at_most co covey-hook@.service 15
# spec: SERV-2
ok "covey-hook@.service: exposure 1.5 or better"

# ---- good, then bad ----
for version in 1.0.0 2.0.0; do
	expect 0 "$version is pushed" fleet_covey release push -f "$(release_for $version $version)"
	expect 0 "$version goes out" fleet_covey apply -y -f "$(steps 2s | make_deployment $version)"
	serves 1 $version && serves 2 $version
	ok "both nodes serve $version"
done
on n1 systemctl list-units --no-legend --plain 'covey-*.scope' | grep -q running
# spec: SERV-3
ok "the container's supervisor is in a scope of its own"
on n1 sh -c 'grep -q "covey-.*\.scope" /proc/$(pgrep -x conmon | head -1)/cgroup'
ok "conmon is in that scope's control group"
scope=$(on n1 systemctl list-units --no-legend --plain 'covey-*.scope' | sed -n '1s/ .*//p')
on n1 systemctl show -P Before "$scope" | grep covey-helper.service | grep -q covey-agent.service
ok "it ends after agent and helper when the node goes down"
expect 0 "a release that crashes is pushed" fleet_covey release push -f \
	"$(release_for 3.1.0 2.0.0 's#^model:.*#&\ncommand: [/server, --crash-after, 1s]#')"
expect 3 "it is rolled back" fleet_covey apply -y -f "$(steps 20s | make_deployment 3.1.0)"
wait_for 10 serves 1 2.0.0 && wait_for 10 serves 2 2.0.0
ok "both nodes serve 2.0.0 again"
canary=$(rollout_field '[.nodes[] | select(.stage == 0)][0].node')
told "$canary" COMPLETED 'digits: [0-9a-f]+ completed'
ok "the node's journal tells what was committed, with an explanation"
told "$canary" ROLLED_BACK 'digits: [0-9a-f]+ rolled back: .*exit code'
ok "and what was taken back"
grep -q 'covey rollout retry' "$WORK/told"
# spec: SERV-7
ok "the catalog says what to do"
on "$canary" journalctl -q --no-pager -t covey COVEY_DEPLOYMENT=digits | grep -q 'listens on port'
ok "what the container printed is in the journal"
told co NODE_JOINED 'node joined n1' && told co ROLLOUT 'rolled_back' && told co NODE_FAILED 'digits'
ok "the coordinator's journal tells who joined and how the rollout ended"
for node in n1 n2; do
	[ "$(fleet_covey node show $node -o json | jq -r .peers.state)" = open ]
	# spec: SERV-9
	ok "neighbours may connect to $node"
	[ "$(on $node systemctl show -P NRestarts covey-agent covey-helper | sort -u | tr -d '\n')" = 0 ]
	ok "no daemon of $node has ended"
done

# ---- drift calls the hook ----
retrain() { # on the coordinator's machine: a command that keeps what it gets
	on co sh -c 'cat >/usr/local/bin/retrain <<"TEXT"
#!/bin/sh
id -un >/var/lib/covey-hook/user
cat >>/var/lib/covey-hook/evidence.json
TEXT
chmod 755 /usr/local/bin/retrain
echo "command = /usr/local/bin/retrain" >/etc/covey/hook.conf
mkdir -p /etc/covey/coordinator.conf.d
printf "[coordinator]\nobserve_period = 1s\ndrift_window = 5s\n" >/etc/covey/coordinator.conf.d/fast.conf
systemctl enable --now covey-hook.socket && systemctl restart covey-coordinator'
}
called() { on co jq -es '.[0] | .drifting and .deployment == "digits"' /var/lib/covey-hook/evidence.json; }
retrain >"$WORK/retrain" 2>&1 && wait_for 60 fleet_wait_online 2
ok "a command for the hook is configured"
timeout 120 nsenter "--net=/run/netns/$FLEET_NETNS-co" "$COVEY_SOURCE/tests/integration/fleet/traffic.py" \
	"$DIGITS/golden/held-out.txt" 40 100 5 "$(fleet_address 1)" "$(fleet_address 2)" >"$WORK/traffic" 2>&1 &
TRAFFIC=$!
wait_for 100 called
ok "noise on every camera: the coordinator calls the hook with the evidence"
kill $TRAFFIC
[ "$(on co cat /var/lib/covey-hook/user)" = covey-hook ]
# spec: SERV-9
ok "which runs as a user of its own"

# ---- the keepers die, containers do not ----
before=$(container_of n1)
on n1 systemctl kill --kill-who=main -s KILL covey-helper.service
wait_for 10 told n1 HELPER_LOST 'helper'
ok "a helper that is killed is told"
wait_for 15 unit_is_active n1 covey-helper.service
on n1 systemctl restart covey-helper.service covey-agent.service
wait_for 15 unit_is_active n1 covey-agent.service
[ -n "$before" ] && [ "$(container_of n1)" = "$before" ] && serves 1 2.0.0
ok "containers outlive helper and agent"
on n1 nft delete table inet "$(on n1 nft -j list tables | jq -r '.nftables[].table.name // empty' | grep covey_)"
wait_for 5 serves 1 2.0.0 && wait_for 5 told n1 RULES_CHANGED 'changed by somebody else'
# spec: SLOT-10
ok "rules that were flushed are back within 5 s, and told"
