# SPDX-License-Identifier: Apache-2.0
# Scenarios on booted Debian systems with Covey's packages installed. As the plain fleet's lib.sh,
# but `scenario_systemd NODES` brings the systems up and `on HOST COMMAND` runs inside.

. "$(dirname "${BASH_SOURCE[0]}")/../fleet/lib.sh"

scenario_systemd() { # nodes
	trap scenario_systemd_end EXIT
	fleet_image
	fleet_up --systemd --nodes "$1" >"$WORK/up.log" 2>&1 || {
		cat "$WORK/up.log"
		echo "Bail out! the systems do not come up"
		exit 1
	}
	SYSTEMD_VERSION=$(systemd_exec n1 dpkg-query -W -f '${Version}' covey-agent)
}

scenario_systemd_end() {
	local code=$? host
	if [ "$TAP_FAILED" -gt 0 ] || [ $code -ne 0 ]; then
		for host in co n1 n2; do
			systemd_is_booted "$host" || continue
			echo "# --- journal of $host"
			systemd_exec "$host" journalctl --no-pager -q -o short-monotonic -u 'covey*' -n 40 | sed 's/^/# /'
		done
	fi
	(exit $code)
	scenario_end
}

on() { systemd_exec "$@" </dev/null; }

# In systemd-nspawn there are no control groups that limit memory or CPU.
release_for() { # version, example version, sed script or ""
	make_release "$1" "$2" "/^resources:/d;${3:-}"
}

steps() { # bake
	cat <<YAML
drain: 1s
keep_warm: 5s
strategy: {canary: {stages: [{nodes: 1, bake: $1}, {percent: 100, bake: 1s}]}}
max_unavailable: 2
deadlines: {node: 90s, stage: 3m, rollout: 5m}
YAML
}

unit_is_active() { [ "$(on "$1" systemctl is-active "$2")" = active ]; } # host, unit
container_of() { on "$1" pgrep -x server | tr '\n' ' '; }                 # host
local_answer() { on "$1" curl -s --max-time 2 http://127.0.0.1:8080/healthz | grep -q ok; }
reboot_node() { # host
	local before
	before=$(systemd_leader "$1")
	on "$1" systemctl reboot >/dev/null 2>&1
	wait_for 60 rebooted "$1" "$before"
}
rebooted() { # host, PID 1 before
	local now
	now=$(systemd_leader "$1") && [ -n "$now" ] && [ "$now" != "$2" ]
}
# An event of base/log_ids.h in a host's journal, with the catalog's words for it.
told() { # host, name, pattern
	local id
	id=$(sed -n "s/^#define LOG_ID_$2 \"\(.*\)\"/\1/p" "$COVEY_SOURCE/base/log_ids.h")
	on "$1" journalctl --no-pager -q -x "MESSAGE_ID=$id" >"$WORK/told" 2>&1
	grep -qE -- "$3" "$WORK/told" && grep -q '^░░ Defined-By: Covey' "$WORK/told"
}
security_at_most() { # host, unit, tenths
	local figure
	figure=$(on "$1" systemd-analyze security --no-pager --offline=true "/lib/systemd/system/$2" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
	echo "# systemd-analyze security $2: $figure"
	[ -n "$figure" ] && [ "$(echo "$figure" | tr -d .)" -le "$3" ]
}
