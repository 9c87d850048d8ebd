# SPDX-License-Identifier: Apache-2.0
# The default test suite: gcc with sanitizers for what runs; clang for a second opinion on the
# warnings and, optimised, for the simulator.

COVEY_BUILD_TEST=$COVEY_SOURCE/build-test
COVEY_BUILD_CLANG=$COVEY_SOURCE/build-clang

test_main() {
	if [ "${1:-}" = --systemd ]; then
		. "$COVEY_SOURCE/tools/systemd.sh"
		shift
		systemd_test_main "$@"
		return
	fi
	need_root
	deps_install
	say "building with sanitizers into $COVEY_BUILD_TEST ..."
	build_into "$COVEY_BUILD_TEST" -Dwerror=true -Db_sanitize=address,undefined -Db_lundef=false
	build_clang
	local result=0
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	meson test -C "$COVEY_BUILD_TEST" --no-rebuild --print-errorlogs "$@" || result=$?
	if [ $# -eq 0 ]; then
		meson test -C "$COVEY_BUILD_CLANG" --no-rebuild --print-errorlogs --suite sim || result=$?
	fi
	[ $# -eq 0 ] || rm -f "$COVEY_BUILD_CLANG/meson-logs/testlog.json"
	test_summary "$COVEY_BUILD_TEST" "$COVEY_BUILD_CLANG"
	return "$result"
}

# Counts what meson recorded, and closes with the one line that a reader looks for.
test_summary() { # build folders
	python3 - "$@" <<'PY'
import json, os, sys
passed = failed = skipped = 0
logs = [folder + "/meson-logs/testlog.json" for folder in sys.argv[1:]]
for line in (line for log in logs if os.path.exists(log) for line in open(log)):
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

# Fresh seeds for some minutes; each batch adds a line to build/soak.log, and goes on where the last
# one stopped.
soak_main() {
	local minutes=${1:-10} log=$COVEY_BUILD/soak.log end seed result=0
	[[ $minutes =~ ^[0-9]+$ ]] || die 2 "dev soak: say how many minutes, a whole number"
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
