# SPDX-License-Identifier: Apache-2.0
# The default test suite: gcc with sanitizers for what runs, clang for a second opinion.

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
	say "building with clang into $COVEY_BUILD_CLANG ..."
	CC=clang build_into "$COVEY_BUILD_CLANG" -Dwerror=true
	local result=0
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1
	export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	meson test -C "$COVEY_BUILD_TEST" --no-rebuild --print-errorlogs "$@" || result=$?
	test_summary
	return "$result"
}

# Counts what meson recorded, and closes with the one line that a reader looks for.
test_summary() {
	python3 - "$COVEY_BUILD_TEST/meson-logs/testlog.json" <<'PY'
import json, sys
passed = failed = skipped = 0
for line in open(sys.argv[1]):
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
