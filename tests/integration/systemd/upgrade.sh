#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# spec: SERV-4
# Packages go from one version to the next and back under load: no request is lost, the containers
# are the same. Purging them leaves nothing behind.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

client_start() { # a new connection each time, until client_end
	cat >"$WORK/client.py" <<'PY'
import http.client, sys, time
good = bad = 0
while not __import__("os").path.exists(sys.argv[3]):
    try:
        c = http.client.HTTPConnection(sys.argv[1], 8080, timeout=2)
        c.request("GET", "/healthz")
        if c.getresponse().status == 200:
            good += 1
        else:
            bad += 1
        c.close()
    except OSError as e:
        bad += 1
        print("#", time.time(), e)
    time.sleep(0.005)
open(sys.argv[2], "w").write(f"{good} {bad}\n")
PY
	rm -f "$WORK/stop" "$WORK/counted"
	nsenter "--net=/run/netns/$FLEET_NETNS-co" python3 "$WORK/client.py" "$(fleet_address 1)" \
		"$WORK/counted" "$WORK/stop" &
	CLIENT=$!
}
client_end() { # description
	local good bad
	touch "$WORK/stop"
	wait $CLIENT
	read -r good bad <"$WORK/counted"
	echo "# $good requests, $bad lost"
	[ "$good" -gt 50 ] && [ "$bad" -eq 0 ]
	ok "$1: no request is lost"
}
versions() { on "$1" covey-agent version | grep -q "$2"; }
leftovers() { # host: what Covey left on it
	on "$1" sh -c '
		ls -d /var/lib/covey /var/lib/covey-hook /etc/covey /run/covey /usr/libexec/covey 2>/dev/null
		nft list tables | grep covey
		ls /sys/fs/cgroup | grep -x covey
		ip -o link | grep -E ": cv[a-z]{6}[de]"
		ip route show table all | grep 10.213
		for name in conmon server covey-agent covey-helper; do pgrep -x -l $name; done
		systemctl list-units --all --no-legend --plain "covey*"
		getent passwd | grep covey
		getent group | grep covey
		ls -d /etc/systemd/system/*/covey* /etc/systemd/system/covey* 2>/dev/null | grep -v "/covey-agent.service.d$"
		[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 0 ] || echo "forwarding is on"'
}

scenario_systemd 1
next=$SYSTEMD_VERSION+next
package_build "$next" >"$WORK/build.log" 2>&1
ok "version $next is built"
expect 0 "1.0.0 is pushed" fleet_covey release push -f "$(release_for 1.0.0 1.0.0)"
expect 0 "1.0.0 goes out" fleet_covey apply -y -f "$(steps 1s | make_deployment 1.0.0)"
before=$(container_of n1)
client_start
for version in "$next" "$SYSTEMD_VERSION"; do
	was=$(on n1 systemctl show -P MainPID covey-helper.service covey-agent.service | tr '\n' ' ')
	systemd_install n1 "$version" covey-agent
	ok "covey-agent $version is installed"
	wait_for 20 versions n1 "$version"
	ok "it says so"
	sleep 2
	now=$(on n1 systemctl show -P MainPID covey-helper.service covey-agent.service | tr '\n' ' ')
	[ "${was%% *}" != "${now%% *}" ] && [ "${was##* }" != "$now" ] && [ "$was" != "$now" ]
	ok "helper and agent were restarted ($was-> $now)"
	systemd_install co "$version" covey covey-coordinator
	wait_for 20 systemd_link_socket
	wait_for 60 fleet_wait_online 1
	ok "with the coordinator at $version the node is linked"
done
client_end "upgrade and downgrade"
[ -n "$before" ] && [ "$(container_of n1)" = "$before" ]
# spec: SERV-3
ok "the container is the same"
expect 0 "covey-agent health" on n1 covey-agent health

# ---- remove, install again, purge ----
[ "$(leftovers n1 | grep -cE 'table inet covey_|conmon|server$|: cv|/var/lib/covey|10\.213')" -ge 6 ]
ok "what will be looked for is there now"
expect 0 "covey-agent is removed" on n1 dpkg -r covey-agent
[ -z "$(container_of n1)" ] && ! on n1 nft list tables | grep -q covey
ok "containers and rules are gone, state stays"
[ -e "$(systemd_root n1)/var/lib/covey/trust/root.doc" ]
ok "the node's identity is kept"
systemd_install n1 "$SYSTEMD_VERSION" covey-agent
wait_for 60 serves 1 1.0.0
ok "installed again, it serves what it served"
expect 0 "covey-agent is purged" on n1 dpkg --purge covey-agent
left=$(leftovers n1)
[ -z "$left" ] || echo "$left" | sed 's/^/# left: /'
[ -z "$left" ]
# spec: SERV-5
ok "nothing is left behind on the node"
expect 0 "the coordinator is purged" on co dpkg --purge covey-coordinator covey
left=$(leftovers co)
[ -z "$left" ] || echo "$left" | sed 's/^/# left: /'
[ -z "$left" ]
ok "nothing is left behind on the coordinator's machine"
