#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a program under valgrind's memcheck, with those of its children that are Covey's.
#
#   valgrind.sh PROGRAM ...         runs it, then prints what was found; 99 when that is anything
#   valgrind.sh --exec PROGRAM ...  becomes it (the process id stays); --report looks afterwards
#   valgrind.sh --report [FOLDER]   prints what was found, 99 when that is anything
#
# COVEY_BUILD names the build, COVEY_VALGRIND a folder for what valgrind writes, with the broker's
# socket in it (tests/valgrind). A process that has nothing to complain about writes nothing.
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Descriptors that were open at the start, valgrind's own among them, are nobody's leak; locks are
# held to the end on purpose.
findings() { # file
	awk '
		/^==[0-9]+== (FILE DESCRIPTORS: |Open )/ {
			block = /Open/ && !/\.lock$/ ? $0 : ""; open = 1; next
		}
		open && /^==[0-9]+== *$/ { if (block != "") print block; open = 0; block = ""; next }
		open { if (/<inherited from parent>/) block = ""; else if (block != "") block = block "\n" $0; next }
		{ print }
		END { if (block != "") print block }
	' "$1"
}

report() { # folder
	local file text found=0
	for file in "$1"/*.log; do
		[ -s "$file" ] || continue
		text=$(findings "$file" | grep -vE '^==[0-9]+== *$') || continue
		echo "--- $(head -n 1 "${file%.log}.command" 2>/dev/null || basename "$file")" >&2
		echo "$text" >&2
		found=99
	done
	return $found
}

become() { # folder, program, arguments
	local folder=$1
	shift
	export COVEY_PATIENCE=20 # time limits in tests
	export COVEY_SYSCALL_BROKER=$COVEY_VALGRIND/broker
	export LD_PRELOAD=$COVEY_BUILD/tests/valgrind/covey-newer-syscalls.so
	exec valgrind --quiet --vgdb=no --error-exitcode=99 --num-callers=25 \
		--leak-check=full --errors-for-leak-kinds=definite,indirect,possible --track-fds=yes \
		--child-silent-after-fork=yes --trace-children=yes \
		--trace-children-skip='/usr/*,/bin/*,/sbin/*,/lib/*,/tmp/covey-*,/dev/shm/covey-ht-*,/run/covey-ht-*' \
		--suppressions="$source/tests/valgrind/libraries.supp" --log-file="$folder/%p.log" "$@"
}

case ${1:-} in
--exec)
	shift
	become "$COVEY_VALGRIND" "$@"
	;;
--report) report "${2:-$COVEY_VALGRIND}" ;;
*)
	folder=$(mktemp -d "$COVEY_VALGRIND/XXXXXX")
	code=0
	(become "$folder" "$@") || code=$?
	report "$folder" || code=$?
	exit $code
	;;
esac
