# SPDX-License-Identifier: Apache-2.0
# The default test suite: gcc with sanitizers for what runs; clang for a second opinion on the
# warnings and, optimised, for the simulator and for bounds of memory, which sanitizers hide; gcc
# once more as packages are built, since it sees more when it optimises. With --valgrind: the unit
# and integration tests and a canary rollout under valgrind, in a build without sanitizers.

COVEY_BUILD_TEST=$COVEY_SOURCE/build-test
COVEY_BUILD_CLANG=$COVEY_SOURCE/build-clang
COVEY_BUILD_RELEASE=$COVEY_SOURCE/build-release
COVEY_BUILD_VALGRIND=$COVEY_SOURCE/build-valgrind

test_main() {
	set -- "${@/: /_ }" # as meson has the names
	if [ "${1:-}" = --systemd ]; then
		. "$COVEY_SOURCE/tools/systemd.sh"
		shift
		systemd_test_main "$@"
		return
	fi
	if [ "${1:-}" = --valgrind ]; then
		shift
		valgrind_test_main "$@"
		return
	fi
	local only=(--no-suite more)
	if [ "${1:-}" = --more ]; then
		shift
		only=(--suite more)
	fi
	[ $# -eq 0 ] || only=()
	need_root
	deps_install
	say "building with sanitizers into $COVEY_BUILD_TEST ..."
	build_into "$COVEY_BUILD_TEST" -Dwerror=true -Db_sanitize=address,undefined -Db_lundef=false
	build_clang
	say "building with gcc, for speed, into $COVEY_BUILD_RELEASE ..."
	build_into "$COVEY_BUILD_RELEASE" -Dwerror=true -Dbuildtype=release -Ddebug=false -Dtests=disabled
	local result=0
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	meson test -C "$COVEY_BUILD_TEST" --no-rebuild --print-errorlogs "${only[@]}" "$@" || result=$?
	if [ "${only[*]}" = "--no-suite more" ]; then
		meson test -C "$COVEY_BUILD_CLANG" --no-rebuild --print-errorlogs --suite sim --suite memory || result=$?
	fi
	[ "${only[*]}" = "--no-suite more" ] || rm -f "$COVEY_BUILD_CLANG/meson-logs/testlog.json"
	test_summary "$COVEY_BUILD_TEST/meson-logs/testlog.json" "$COVEY_BUILD_CLANG/meson-logs/testlog.json"
	return "$result"
}

# Everything that is ours and runs is watched; what is not (containers' runtime, shells) is not.
# Scenarios are scripts: they put COVEY_WRAP before each program of the fleet.
valgrind_test_main() {
	local result=0 logs=$COVEY_BUILD_VALGRIND/meson-logs broker tests
	need_root
	deps_install
	say "building for valgrind into $COVEY_BUILD_VALGRIND ..."
	build_into "$COVEY_BUILD_VALGRIND" -Dwerror=true -Doptimization=1 -Ddebug=true
	rm -f "$logs"/testlog*
	export COVEY_BUILD=$COVEY_BUILD_VALGRIND COVEY_VALGRIND
	COVEY_VALGRIND=$(mktemp -d)
	"$COVEY_BUILD/tests/valgrind/covey-syscall-broker" "$COVEY_VALGRIND/broker" &
	broker=$!
	until [ -S "$COVEY_VALGRIND/broker" ]; do sleep 0.1; done
	mapfile -t tests < <(valgrind_tests "$@")
	[ ${#tests[@]} -eq 0 ] || meson test -C "$COVEY_BUILD" --no-rebuild --print-errorlogs \
		--timeout-multiplier 20 --wrapper "$COVEY_SOURCE/tools/valgrind.sh" "${tests[@]}" || result=$?
	mapfile -t tests < <(valgrind_scenarios "$@")
	[ ${#tests[@]} -eq 0 ] || COVEY_WRAP="$COVEY_SOURCE/tools/valgrind.sh --exec" meson test -C "$COVEY_BUILD" \
		--no-rebuild --print-errorlogs --timeout-multiplier 20 --logbase scenario "${tests[@]}" || result=$?
	"$COVEY_SOURCE/tools/valgrind.sh" --report || result=$?
	kill $broker
	rm -rf "$COVEY_VALGRIND"
	test_summary "$logs"/testlog-valgrind.sh.json "$logs"/scenario.json
	return "$result"
}

# All programs of the default suite but the simulators, whose many runs say nothing new here; or
# those that were asked for.
valgrind_tests() { # names
	if [ $# -gt 0 ]; then
		printf '%s\n' "$@" | grep -v '^fleet_ ' || true
	else
		meson test -C "$COVEY_BUILD" --list 2>/dev/null | sed -n 's|^covey[^ ]* / ||p' |
			grep -vE '^(lint_|fleet_|sim_|judge_ |digits$|packaging$)'
	fi
}

valgrind_scenarios() { # names
	if [ $# -gt 0 ]; then
		printf '%s\n' "$@" | grep '^fleet_ ' || true
	else
		echo 'fleet_ canary'
	fi
}

# Counts what meson recorded, and closes with the one line that a reader looks for.
test_summary() { # meson's logs
	python3 - "$@" <<'PY'
import json, os, sys
passed = failed = skipped = 0
for line in (line for log in sys.argv[1:] if os.path.exists(log) for line in open(log)):
    result = json.loads(line)["result"]
    if result in ("OK", "EXPECTEDFAIL"):
        passed += 1
    elif result == "SKIP":
        skipped += 1
    else:
        failed += 1
tail = f", {skipped} skipped" if skipped else ""
print(f"{passed} passed, {failed} failed{tail}")
PY
}

build_clang() {
	say "building with clang, for speed, into $COVEY_BUILD_CLANG ..."
	CC=clang build_into "$COVEY_BUILD_CLANG" -Dwerror=true -Dbuildtype=release -Ddebug=true
}
