# SPDX-License-Identifier: Apache-2.0
# The fuzz targets of tests/fuzz, one after the other. What an engine learns is kept in
# build-fuzz/corpus/TARGET, so that the next run goes on from there; every run adds one line to
# build-fuzz/fuzz.log. Inputs that fail are in build-fuzz/findings/TARGET.

FUZZ_BUILD=${COVEY_FUZZ:-$COVEY_SOURCE/build-fuzz}
FUZZ_LOG=$FUZZ_BUILD/fuzz.log
FUZZ_SEEDS=$COVEY_SOURCE/tests/fuzz/corpus
FUZZ_KEEP=16       # inputs of a target that --keep adds at most
FUZZ_KEEP_SIZE=8k  # ... each smaller than this

fuzz_usage() {
	cat <<'TEXT'
usage: ./dev fuzz [TARGET...] [--minutes N | --seconds N] [--afl]

Each target for N minutes (1), with clang's libFuzzer, or with AFL++. Without a name: all of them.

  ./dev fuzz ls        the targets, and what each one has run so far
  ./dev fuzz --seeds   makes the seeds of tests/fuzz/corpus anew
  ./dev fuzz --keep    adds inputs that reach more than the seeds do to tests/fuzz/corpus
TEXT
}

fuzz_build() { # engine
	local folder=$FUZZ_BUILD
	[ "$1" = libfuzzer ] || folder=$FUZZ_BUILD-afl
	if [ ! -f "$folder/build.ninja" ]; then
		local cc=clang sanitize=address,undefined
		[ "$1" = libfuzzer ] || { cc=afl-clang-fast sanitize=address; }
		AFL_QUIET=1 CC=$cc meson setup "$folder" "$COVEY_SOURCE" -Dfuzz="$1" \
			-Db_sanitize=$sanitize -Db_lundef=false >"$folder.log" 2>&1 || {
			tail -n 30 "$folder.log" >&2
			die 1 "dev: the fuzz targets could not be configured; the whole log is in $folder.log"
		}
	fi
	AFL_QUIET=1 ninja -C "$folder" fuzz-targets >"$folder.log" 2>&1 || {
		grep -E -A8 'error|FAILED' "$folder.log" | head -60 >&2
		die 1 "dev: the fuzz targets could not be built; the whole log is in $folder.log"
	}
}

# On a busy machine the seconds of CPU say more than those on the wall.
fuzz_log() { # target, engine, seconds, seconds of CPU, executions, coverage, inputs, findings
	printf '%s %s %s seconds=%s cpu=%s executions=%s coverage=%s inputs=%s findings=%s\n' \
		"$(date -u +%FT%TZ)" "$@" | tee -a "$FUZZ_LOG"
}

fuzz_cpu() { # seconds of all processes that this shell has waited for
	awk '{print int(($16 + $17) / 100)}' /proc/$$/stat
}

fuzz_count() { find "$1" -type f 2>/dev/null | wc -l; }

# libFuzzer goes on after a finding no longer than it takes to write it down: it is started again
# until the time is over. Leaks, time-outs (a minute: the machine may be busy) and 2 GiB of memory count as findings.
fuzz_libfuzzer() { # target, seconds
	local corpus=$FUZZ_BUILD/corpus/$1 findings=$FUZZ_BUILD/findings/$1 out=$FUZZ_BUILD/runs/$1
	local dict=$COVEY_SOURCE/tests/fuzz/dict/$1 end=$(($(date +%s) + $2)) left before
	local executions=0 coverage=0 cpu n
	mkdir -p "$corpus" "$findings" "$FUZZ_BUILD/runs"
	before=$(fuzz_count "$findings")
	cpu=$(fuzz_cpu)
	while left=$((end - $(date +%s))) && [ $left -gt 0 ]; do
		"$FUZZ_BUILD/tests/fuzz/fuzz-$1" -max_total_time=$left -timeout=60 -report_slow_units=60 -rss_limit_mb=2048 \
			-print_final_stats=1 -artifact_prefix="$findings/" \
			$([ -f "$dict" ] && echo "-dict=$dict") "$corpus" "$FUZZ_SEEDS/$1" >"$out" 2>&1 || true
		n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out" | tail -n 1)
		executions=$((executions + ${n:-0}))
		n=$(grep -aoE ' cov: [0-9]+' "$out" | tail -n 1 | tr -dc 0-9)
		[ "${n:-0}" -le "$coverage" ] || coverage=$n
		[ $(($(fuzz_count "$findings") - before)) -lt 20 ] || break # it cannot go on by itself
	done
	fuzz_log "$1" libfuzzer "$2" $(($(fuzz_cpu) - cpu)) "$executions" "$coverage" "$(fuzz_count "$corpus")" \
		$(($(fuzz_count "$findings") - before))
	[ "$(fuzz_count "$findings")" = "$before" ] || {
		grep -aE 'ERROR|Assertion|runtime error|SUMMARY' "$out" | head -5
		return 1
	}
}

fuzz_afl() { # target, seconds
	local corpus=$FUZZ_BUILD/corpus/$1 state=$FUZZ_BUILD/afl/$1 findings=$FUZZ_BUILD/findings/$1
	local dict=$COVEY_SOURCE/tests/fuzz/dict/$1 input=- stats=$FUZZ_BUILD/afl/$1/default/fuzzer_stats
	local cpu found
	cpu=$(fuzz_cpu)
	mkdir -p "$corpus" "$findings" "$FUZZ_BUILD/runs"
	[ -d "$state" ] || {
		input=$FUZZ_BUILD/afl/$1.in
		rm -rf "$input" && mkdir -p "$input"
		find "$FUZZ_SEEDS/$1" "$corpus" -type f -size -64k -size +0 -exec cp -t "$input" {} +
	}
	AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1 \
		AFL_IGNORE_SEED_PROBLEMS=1 ASAN_OPTIONS=abort_on_error=1:symbolize=0:detect_leaks=0 \
		afl-fuzz -V "$2" -m none -t 10000 -i "$input" -o "$state" \
		$([ -f "$dict" ] && echo -x "$dict") \
		-- "$FUZZ_BUILD-afl/tests/fuzz/fuzz-$1" >"$FUZZ_BUILD/runs/$1.afl" 2>&1 || true
	[ -f "$stats" ] || die 1 "dev: afl-fuzz did not start: $(tail -n 3 "$FUZZ_BUILD/runs/$1.afl")"
	found=$(find "$state/default/crashes" "$state/default/hangs" -name 'id*' 2>/dev/null | wc -l)
	find "$state/default/crashes" "$state/default/hangs" -name 'id*' -exec cp -t "$findings" {} + 2>/dev/null
	find "$state/default/queue" -maxdepth 1 -name 'id*' -exec cp -t "$corpus" {} +
	fuzz_log "$1" afl "$2" $(($(fuzz_cpu) - cpu)) "$(sed -n 's/^execs_done *: //p' "$stats")" \
		"$(sed -n 's/^edges_found *: //p' "$stats")" "$(fuzz_count "$corpus")" "$found"
	[ "$found" = 0 ]
}

# Of all that was learnt, what reaches code that the seeds do not: small files first.
fuzz_keep() { # target
	local into=$FUZZ_BUILD/keep/$1 from=$FUZZ_BUILD/keep/$1.from file name
	rm -rf "$into" "$from" "$into.control" && mkdir -p "$into" "$from" "$FUZZ_BUILD/corpus/$1"
	find "$FUZZ_BUILD/corpus/$1" -type f ! -size +"$FUZZ_KEEP_SIZE" -exec cp -t "$from" {} +
	cp -r "$FUZZ_SEEDS/$1/." "$into"
	"$FUZZ_BUILD/tests/fuzz/fuzz-$1" -merge=1 -merge_control_file="$into.control" "$into" "$from" \
		>/dev/null 2>&1 || return 1
	for file in $(cd "$into" && ls -Sr); do
		[ ! -e "$FUZZ_SEEDS/$1/$file" ] || continue
		name=kept-${file:0:12}
		[ "$(find "$FUZZ_SEEDS/$1" -name 'kept-*' | wc -l)" -lt "$FUZZ_KEEP" ] || break
		cp "$into/$file" "$FUZZ_SEEDS/$1/$name"
	done
}

fuzz_seeds() {
	build_into "$COVEY_BUILD" -Dwerror=true
	ninja -C "$COVEY_BUILD" tests/fuzz/fuzz-seeds >/dev/null
	python3 "$COVEY_SOURCE/tests/fuzz/seeds.py" "$COVEY_SOURCE" "$COVEY_BUILD/tests/fuzz/fuzz-seeds" "$FUZZ_SEEDS"
}

fuzz_list() {
	local target
	for target in "$FUZZ_SEEDS"/*/; do
		target=$(basename "$target")
		awk -v target="$target" '$2 == target {
			for (i = 4; i <= NF; i++) { split($i, p, "="); v[p[1]] = p[2] }
			seconds += v["seconds"]; cpu += v["cpu"]; executions += v["executions"]; findings += v["findings"]
			if (v["coverage"] > coverage) coverage = v["coverage"]
		} END {
			printf "%-20s %6.1f minutes (CPU %5.1f) %12d executions %7d edges %3d findings\n",
				target, seconds / 60, cpu / 60, executions, coverage, findings
		}' "$FUZZ_LOG" 2>/dev/null || printf '%-20s\n' "$target"
	done
}

fuzz_main() {
	local engine=libfuzzer seconds=60 action=run targets=() target result=0
	while [ $# -gt 0 ]; do
		case $1 in
		--minutes | --seconds)
			[[ ${2:-} =~ ^[0-9]+$ ]] || die 2 "dev fuzz: $1 takes a whole number"
			seconds=$(($2 * ($([ "$1" = --minutes ] && echo 60 || echo 1))))
			shift
			;;
		--afl) engine=afl ;;
		--keep | --seeds) action=${1#--} ;;
		ls) action=ls ;;
		-h | --help) fuzz_usage && return ;;
		-*) die 2 "dev fuzz: there is no option $1" ;;
		*)
			[ -d "$FUZZ_SEEDS/$1" ] || die 2 "dev fuzz: there is no target $1; \`./dev fuzz ls\` lists them"
			targets+=("$1")
			;;
		esac
		shift
	done
	[ "$action" != ls ] || { fuzz_list && return; }
	deps_install
	[ "$action" != seeds ] || { fuzz_seeds && return; }
	[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls "$FUZZ_SEEDS")
	say "building the fuzz targets for $engine ..."
	fuzz_build "$engine"
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
	for target in "${targets[@]}"; do
		if [ "$action" = keep ]; then
			fuzz_keep "$target" || result=1
		else
			"fuzz_$engine" "$target" "$seconds" || result=1
		fi
	done
	[ "$action" = keep ] || fuzz_list
	return $result
}
