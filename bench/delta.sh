# SPDX-License-Identifier: Apache-2.0
# What a new version of a model costs on the wire, against tools that make deltas of files.

DELTA_CHUNK=262144 # as a push cuts models under 256 MiB

delta_median() { sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

delta_share() { # file or folder with what would move, the new file
	local bytes size
	bytes=$(find "$1" -type f -printf '%s\n' | awk '{n += $1} END {print n}')
	size=$(stat -c %s "$2")
	awk -v b="$bytes" -v s="$size" 'BEGIN {printf "%.4f", b / s}'
}

# Each prints the share of the full size that moves. xdelta3 with its slowest level and a window as
# large as the files, zstd with its default level (a high one takes minutes and wins nothing here).
delta_xdelta3() { # base, new
	xdelta3 -e -f -q -9 -S lzma -B 134217728 -s "$1" "$2" out && delta_share out "$2"
}
delta_zstd() {
	zstd -q -f -3 --long=27 --patch-from="$1" "$2" -o out && delta_share out "$2"
}
delta_rsync() {
	rm -rf copy out out.sh && mkdir copy && cp "$1" copy/model && touch -d '1 hour ago' copy/model
	ln -f "$2" model && rsync --only-write-batch=out -a --no-whole-file model copy/model >/dev/null && delta_share out "$2"
}
delta_casync() { # the chunks that a store with the base does not have
	rm -rf old.castr new.castr
	casync make --store=old.castr old.caibx "$1" >/dev/null
	casync make --store=new.castr new.caibx "$2" >/dev/null
	(cd new.castr && find . -type f | while read -r f; do [ -e "../old.castr/$f" ] && rm "$f"; done)
	delta_share new.castr "$2"
}
delta_bsdiff() {
	bsdiff "$1" "$2" out && delta_share out "$2"
}

# Three runs, medians: share | MB/s made | MB/s applied | KiB at most, of both together.
delta_covey() { # base or -, new, bytes of a number
	local run column runs="" row="" at
	for run in 1 2 3; do
		runs+=$("$COVEY_BUILD/bench/delta-coding" "$2" "$1" "$3" $DELTA_CHUNK)$'\n'
	done
	for column in 1 2 3 4; do
		at=$(awk -v c=$column 'NF {print $c}' <<<"$runs" | delta_median)
		row+="$at | "
	done
	printf '%s' "${row% | }"
}

delta_row() { # name, base or -, new, bytes of a number
	local tool row
	row="| $1 | $(delta_covey "$2" "$3" "$4")"
	for tool in $DELTA_TOOLS; do
		row+=" | $([ "$2" = - ] || delta_$tool "$2" "$3" || true)"
	done
	say "$row |"
}

delta_models() { # MiB, tensors
	local step
	"$COVEY_BUILD/bench/delta-model" base bf16 "$1" "$2" 1 2>/dev/null
	for step in 0.0125 0.08 0.82; do
		"$COVEY_BUILD/bench/delta-model" v$step bf16 "$1" "$2" 1 $step 2>/dev/null
	done
	"$COVEY_BUILD/bench/delta-model" vtwo bf16 "$1" "$2" 1 0.055 2 2>/dev/null
}

delta_rows() { # what they are
	local tool
	say ""
	say "| $1 | Covey | MB/s made | MB/s applied | KiB |$(for tool in $DELTA_TOOLS; do printf ' %s |' $tool; done)"
	say "|---|---|---|---|---|$(for tool in $DELTA_TOOLS; do printf -- '---|'; done)"
}

delta_table() { # MiB, tensors
	delta_models "$1" "$2"
	delta_rows "BF16, $1 MiB"
	delta_row "1.25 % changed" base v0.0125 2
	delta_row "8 %" base v0.08 2
	delta_row "82 %" base v0.82 2
	delta_row "2 of $2 tensors" base vtwo 2
	delta_row "without a base" - base 2
}

delta_trained() {
	delta_rows "a trained network"
	/usr/bin/python3 "$COVEY_SOURCE/bench/delta_train.py" . >trained
	delta_row "BF16" before.bf16 after.bf16 2
	delta_row "F32" before.f32 after.f32 4
	say "$(cat trained)"
}

# From push to disk: a node that serves the base, on a real fleet.
delta_fleet() {
	bench_fleet 1
	cd "$BENCH_WORK" || exit 1
	delta_models 128 32
	say ""
	say "| one node, BF16, 128 MiB | s from push to deltas | s from apply to its bake's end | bytes over its link | agent's CPU s | agent's peak MB |"
	say "|---|---|---|---|---|---|"
	delta_push 11.0.0 base
	bench_apply 11.0.0 1s
	delta_follow "1.25 % changed" 12.0.0 v0.0125
	delta_follow "82 % more" 13.0.0 v0.82
}

delta_push() { # version, its weights
	local folder=$BENCH_WORK/model-$1
	mkdir -p "$folder"
	cp "$COVEY_SOURCE/examples/digits/releases/1.0.0/model/"* "$folder/"
	mv "$2" "$folder/large.safetensors"
	bench_push "$1" 1.0.0 "s#^files: .*#files: $folder#"
}

delta_follow() { # name, version, its weights: what a step from the release before costs the node
	local made before started agent cpu
	agent=$(cat "$FLEET_RUN/n1/agent.pid")
	delta_push "$2" "$3"
	started=$(date +%s%N)
	until grep -q "to digits@$2: deltas take" "$FLEET_STATE/co/coordinator.log"; do sleep 0.05; done
	made=$(delta_since "$started")
	before=$(delta_received) cpu=$(delta_cpu "$agent") started=$(date +%s%N)
	echo 5 >"/proc/$agent/clear_refs" # the peak starts anew
	bench_apply "$2" 1s
	say "| $1 | $made | $(delta_since "$started") | $(($(delta_received) - before)) | $(awk -v a="$cpu" -v b="$(delta_cpu "$agent")" 'BEGIN {printf "%.2f", b - a}') | $(awk '/VmHWM/ {printf "%.1f", $2 / 1024}' "/proc/$agent/status") |"
}

delta_since() { awk -v a="$1" -v b="$(date +%s%N)" 'BEGIN {printf "%.1f", (b - a) / 1e9}'; }

delta_cpu() { awk -v hz="$(getconf CLK_TCK)" '{print ($14 + $15) / hz}' "/proc/$1/stat"; } # process: seconds

delta_received() {
	nsenter "--net=/run/netns/$FLEET_NETNS-n1" awk -F'[: ]+' 'NR > 2 && $2 != "lo" {n += $3} END {print n}' /proc/net/dev
}

bench_delta() { # rows, speed or fleet; all of them
	local part DELTA_TOOLS="xdelta3 zstd rsync casync bsdiff"
	COVEY_PACKAGES+=" xdelta3 bsdiff casync rsync zstd python3-sklearn"
	deps_install
	ninja -C "$COVEY_BUILD" bench/delta-model bench/delta-coding >/dev/null
	BENCH_WORK=$(mktemp -d)
	trap 'rm -rf "$BENCH_WORK"' EXIT
	for part in ${@:-rows speed fleet}; do
		case $part in
		rows) (cd "$BENCH_WORK" && delta_table 32 32 && delta_trained) ;;
		speed) (cd "$BENCH_WORK" && DELTA_TOOLS="" delta_table 128 32) ;;
		fleet) delta_fleet ;;
		*) die 2 "dev bench delta: say rows, speed or fleet, or nothing for all" ;;
		esac
	done
}
