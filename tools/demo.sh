# SPDX-License-Identifier: Apache-2.0
# The main job in front of your eyes: five nodes, a first model, a better one, two bad ones.

DEMO_RELEASES=$COVEY_SOURCE/examples/digits/releases

demo_main() {
	need_root
	deps_install
	build_plain
	fleet_image
	[ ! -e "$FLEET_RUN/switch" ] || fleet_down
	trap demo_end EXIT
	demo_title "A fleet of five nodes comes up, each with its own network, joined by a one-time token"
	fleet_up --nodes 5
	fleet_covey node ls

	demo_title "digits@1.0.0 is signed, pushed and rolled out: one canary node first, then the rest"
	demo_roll_out 1.0.0 0
	demo_ask
	demo_title "digits@2.0.0, a better model: only what changed is moved; clients notice nothing"
	demo_load_start
	demo_roll_out 2.0.0 0
	demo_load_end
	demo_ask
	demo_title "digits@3.0.0 has damaged weights: it starts, and answers wrongly. Smoke tests see it"
	demo_roll_out 3.0.0 3
	demo_ask
	demo_title "digits@3.1.0 crashes after 20 s: the canary node goes back by itself while it bakes"
	demo_load_start
	demo_roll_out 3.1.0 3
	demo_load_end
	demo_ask
	demo_title "What happened"
	fleet_covey rollout ls
	fleet_covey node ls
	say ""
	say "Two good releases went out, two bad ones came back by themselves."
}

demo_title() {
	say ""
	say "== $1"
}

demo_roll_out() { # version, the exit code that tells the expected end
	local code=0
	fleet_covey release push -f "$DEMO_RELEASES/$1/release.yaml"
	fleet_covey apply -y -f "$DEMO_RELEASES/$1/deployment.yaml" || code=$?
	[ "$code" = "$2" ] || {
		fleet_covey events | tail -n 20
		die 1 "demo: rolling out digits@$1 ended with exit code $code instead of $2"
	}
	say "covey apply ended with exit code $code"
}

# What a client of each node gets: the port never changes.
demo_ask() {
	local node
	for node in 1 2 3 4 5; do
		printf 'n%s answers: ' "$node"
		nsenter "--net=/run/netns/$FLEET_NETNS-co" curl -s --max-time 2 "http://$(fleet_address "$node"):8080/classify" \
			--data-binary "@$COVEY_SOURCE/examples/digits/golden/seven.json" || true
		say ""
	done
}

# A client that asks every node all the time and counts answers, one new connection a request.
demo_load_start() {
	nsenter "--net=/run/netns/$FLEET_NETNS-co" bash -c '
		good=0 bad=0
		trap "echo \$good answered, \$bad failed; exit" TERM
		while :; do
			for address in "$@"; do
				if curl -sf --max-time 2 -o /dev/null "http://$address:8080/healthz"; then
					good=$((good + 1))
				else
					bad=$((bad + 1))
				fi
			done
			sleep 0.02
		done' load $(for i in 1 2 3 4 5; do fleet_address "$i"; done) >"$COVEY_BUILD/demo-load.txt" &
	DEMO_LOAD=$!
}

demo_load_end() {
	kill -TERM "$DEMO_LOAD"
	wait "$DEMO_LOAD" || true
	say "requests of a client meanwhile: $(cat "$COVEY_BUILD/demo-load.txt")"
	DEMO_LOAD=
}

demo_end() {
	[ -z "${DEMO_LOAD:-}" ] || kill -TERM "$DEMO_LOAD" 2>/dev/null || true
	fleet_down
}
