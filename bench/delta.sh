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

# Each prints the share of the full size that moves.
delta_xdelta3() { # base, new
	xdelta3 -e -f -q -9 -S lzma -s "$1" "$2" out && delta_share out "$2"
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
delta_bsdiff() { # nine times the file in memory, and most of a minute
	[ "${DELTA_BSDIFF:-yes}" = yes ] && bsdiff "$1" "$2" out && delta_share out "$2"
}

delta_row() { # name, base, new, width
	local run covey=() encode=() decode=() tool row="| $1"
	for run in 1 2 3; do
		read -r share enc dec _ < <("$COVEY_BUILD/bench/delta-coding" "$3" "$2" "$4" $DELTA_CHUNK)
		covey+=("$share") encode+=("$enc") decode+=("$dec")
	done
	row+=" | $(printf '%s\n' "${covey[@]}" | delta_median)"
	row+=" | $(printf '%s\n' "${encode[@]}" | delta_median) / $(printf '%s\n' "${decode[@]}" | delta_median)"
	for tool in xdelta3 zstd rsync casync bsdiff; do
		row+=" | $([ "$2" = - ] || delta_$tool "$2" "$3" || true)"
	done
	say "$row |"
}

delta_peak() { # base, new: peak memory of one process that does both
	"$COVEY_BUILD/bench/delta-coding" "$2" "$1" 2 "$3" | awk '{print $4}'
}

# From push to disk: a node that has the base, on a real fleet.
delta_fleet() {
	local version before after started
	for version in 11.0.0 12.0.0; do
		mkdir -p "$BENCH_WORK/model-$version"
		cp "$COVEY_SOURCE/examples/digits/releases/1.0.0/model/"* "$BENCH_WORK/model-$version/"
	done
	cp base "$BENCH_WORK/model-11.0.0/large.safetensors"
	cp v0.0125 "$BENCH_WORK/model-12.0.0/large.safetensors"
	for version in 11.0.0 12.0.0; do
		bench_push $version 1.0.0 "s#^files: .*#files: $BENCH_WORK/model-$version#"
		[ $version = 12.0.0 ] || bench_apply $version 1s
	done
	before=$(delta_received)
	started=$(date +%s%N)
	bench_apply 12.0.0 1s
	after=$(($(date +%s%N) - started))
	say "one node that serves the base, 1.25 % changed, from \`covey apply\` to the end of its bake of 1 s: $(awk -v n=$after 'BEGIN {printf "%.1f", n / 1e9}') s, $(($(delta_received) - before)) bytes over its link; agent's peak memory since its start: $(awk '/VmHWM/ {print $2 " " $3}' "/proc/$(pgrep -f "covey-agent.*bench" | head -1)/status")"
}

delta_received() {
	nsenter "--net=/run/netns/$FLEET_NETNS-n1" awk -F'[: ]+' 'NR > 2 && $2 != "lo" {n += $3} END {print n}' /proc/net/dev
}

bench_delta() {
	local work step
	COVEY_PACKAGES+=" xdelta3 bsdiff casync rsync zstd python3-sklearn"
	deps_install
	ninja -C "$COVEY_BUILD" bench/delta-model bench/delta-coding >/dev/null
	bench_fleet 1
	work=$BENCH_WORK
	cd "$work" || exit 1
	"$COVEY_BUILD/bench/delta-model" base bf16 128 32 1 2>/dev/null
	for step in 0.0125 0.08 0.82; do "$COVEY_BUILD/bench/delta-model" v$step bf16 128 32 1 $step; done
	"$COVEY_BUILD/bench/delta-model" v2of32 bf16 128 32 1 0.055 2
	say "| BF16, 128 MiB | Covey | MB/s made / applied | xdelta3 | zstd | rsync | casync | bsdiff |"
	say "|---|---|---|---|---|---|---|---|"
	delta_row "1.25 % changed" base v0.0125 2
	DELTA_BSDIFF=no
	delta_row "8 %" base v0.08 2
	delta_row "82 %" base v0.82 2
	delta_row "2 of 32 tensors" base v2of32 2
	delta_row "without a base" - base 2
	say "peak memory, encoder and decoder together: $(delta_peak base v0.82 $DELTA_CHUNK) KiB; with chunks of 4 MiB: $(delta_peak base v0.82 4194304) KiB"
	DELTA_BSDIFF=yes
	/usr/bin/python3 "$COVEY_SOURCE/bench/delta_train.py" .
	delta_row "trained on, BF16" before.bf16 after.bf16 2
	delta_row "trained on, F32" before.f32 after.f32 4
	delta_fleet
}
