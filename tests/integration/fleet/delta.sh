#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A new version of a model moves only what changed: two nodes that hold different versions come to
# the same new one over a few percent of its bytes; a base that was damaged costs its chunks whole.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

rollout_to() { # deployment, node, version
	local file=$WORK/deployment-$1-$3.yaml
	cat >"$file" <<YAML
deployment: $1
release: digits@$3
nodes: "on=$2"
drain: 1s
keep_warm: 5s
strategy: {rolling: {batch: 100%, bake: 1s}}
max_unavailable: 1
deadlines: {node: 60s, stage: 80s, rollout: 3m}
YAML
	expect 0 "$1 goes to $3 on $2" fleet_covey apply -y -f "$file"
}

received() { # node number: bytes that its link brought
	nsenter "--net=/run/netns/$FLEET_NETNS-n$1" awk -F'[: ]+' '$2 == "lo" {next} NR > 2 {n += $3} END {print n}' /proc/net/dev
}

moved() { # node number, percent of the large file that may have come since $before
	local bytes=$(($(received "$1") - before))
	echo "# n$1 received $bytes bytes of $((MIB << 20))"
	[ $((bytes * 100)) -lt $(($2 * (MIB << 20))) ]
}

same_file() { # node number, version
	local sum
	sum=$(sha256sum <"$WORK/model-$2/large.safetensors")
	find "$FLEET_STATE/n$1" -path '*/blobs/*' -size +7M -exec sha256sum {} + | grep "^${sum%% *}" >/dev/null
}

scenario_fleet 2
for node in 1 2; do expect 0 "n$node is labelled" fleet_covey node label "n$node" "on=n$node"; done
for version in "1.0.0 0 0" "1.5.0 5 20"; do
	set -- $version
	expect 0 "release $1 is pushed" fleet_covey release push -f "$(large_release "$1" "$2" "$3")"
done
rollout_to one n1 1.0.0
rollout_to two n2 1.5.0
same_file 1 1.0.0 && same_file 2 1.5.0
ok "each node holds its own version"

expect 0 "release 2.0.0 is pushed" fleet_covey release push -f "$(large_release 2.0.0 9 10)"
grep -qE '^  large.safetensors: .* are new, [0-9]+ of 3[0-9] chunks$' "$WORK/out" &&
	grep -qE '^  the fleet has [0-9.]+ MiB of [0-9.]+ MiB, [0-9]+ of [0-9]+ chunks, on 2 nodes$' "$WORK/out"
ok "the push says what is new, and what the fleet has"
expect 0 "release 2.0.0 is pushed again" fleet_covey release push -f "$WORK/2.0.0/release.yaml" -o json
jq -e '.new_bytes == 0 and .new_objects == 0 and .fleet.nodes == 2 and .fleet.chunks < .fleet.release_chunks and
	.fleet.bytes < .fleet.release_bytes' "$WORK/out" >/dev/null
ok "a second push sends nothing, and says so in JSON"
plan_says() { # node, jq expression on the plan
	sed "s/^deployment: .*/deployment: $1/; s/on=.*\"/on=$2\"/; s/^release: .*/release: digits@2.0.0/" \
		"$WORK/deployment-one-1.0.0.yaml" >"$WORK/plan.yaml"
	fleet_covey plan -f "$WORK/plan.yaml" -o json | jq -e "$3" >/dev/null
}
wait_for 20 plan_says one n1 '.deltas_pending | not'
plan_says one n1 '.bytes_total < 200000 and .chunk_bytes_total > 8000000'
ok "the plan counts what deltas save"
fleet_covey plan -f "$WORK/plan.yaml" --rate 8mbit >"$WORK/out"
grep -qE 'deltas save [78]' "$WORK/out" && grep -qE 'time at 976.6 KiB/s a link: .* where nodes exchange' "$WORK/out"
ok "the plan says bytes and time to people"
fleet_covey plan -f "$WORK/plan.yaml" --rate 8mbit --origin-rate 4mbit -o json |
	jq -e '.time | .alone_ms >= .exchange_ms and .origin_rate == 500000 and .rates_unknown == 0' >/dev/null
ok "... and to programs, with a coordinator behind a thinner link"
plan_says one n1 'if .nodes[0].rate > 0 then .time.exchange_ms >= 0 else .time.rates_unknown == 1 end'
ok "without being told it counts with the rates that were measured, if there are any"
for at in "one 1" "two 2"; do
	set -- $at
	before=$(received "$2")
	rollout_to "$1" "n$2" 2.0.0
	moved "$2" 3
	ok "n$2 received a few percent of the model"
	same_file "$2" 2.0.0
	ok "n$2 holds exactly the new weights"
done
grep -q 'deltas take' "$FLEET_STATE"/*/coordinator.log
ok "the coordinator says what the deltas take"

# Bases that are not what they were (which of the two is used is not said): what would be made of one
# is refused, and comes whole.
find "$FLEET_STATE/n1" -path '*/blobs/*' -size +7M >"$WORK/bases"
while read -r base; do
	printf 'xxxx' | dd of="$base" bs=1 seek=3000000 conv=notrunc status=none
done <"$WORK/bases"
[ "$(wc -l <"$WORK/bases")" = 2 ]
ok "a byte of each base on n1 is damaged"
expect 0 "release 3.0.0 is pushed" fleet_covey release push -f "$(large_release 3.0.0 11 10)"
before=$(received 1)
rollout_to one n1 3.0.0
moved 1 5
ok "n1 received the damaged chunk whole, and the rest as deltas"
same_file 1 3.0.0
ok "n1 holds exactly the new weights"
grep -q 'did not give the chunk' "$FLEET_STATE"/n1/*.log
ok "n1 says that a delta was of no use"

# Other kinds of numbers: blocks of GGUF, integers of one and four bytes.
numbers() { # folder, seed of changes, per mille changed: some 4 MiB of each kind
	python3 - "$@" <<'PYTHON'
import json, random, struct, sys
folder, seed, share = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
base, draw = random.Random(5), random.Random(seed)
def changed(size, unit):  # of each unit that changes, its lowest byte by a step
    data = bytearray(base.randbytes(size))
    for _ in range(size // unit * share // 1000):
        at = draw.randrange(size // unit) * unit
        data[at] = (data[at] + draw.choice((1, 255))) % 256
    return bytes(data)
small, wide, blocks = changed(2 << 20, 1), changed(2 << 20, 4), changed(4096 * 1728 // 32 * 18, 18)
head = json.dumps({"a": {"dtype": "I8", "shape": [2 << 20], "data_offsets": [0, 2 << 20]},
                   "b": {"dtype": "I32", "shape": [1 << 19], "data_offsets": [2 << 20, 4 << 20]}})
open(folder + "/whole.safetensors", "wb").write(struct.pack("<Q", len(head)) + head.encode() + small + wide)
head = b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"t" + struct.pack("<IQQIQ", 2, 4096, 1728, 2, 0)
open(folder + "/blocks.gguf", "wb").write(head + bytes(-len(head) % 32) + blocks)
PYTHON
}
kinds_release() { # version, seed, per mille
	mkdir -p "$WORK/model-$1"
	cp "$DIGITS/releases/1.0.0/model/"* "$WORK/model-$1/"
	numbers "$WORK/model-$1" "$2" "$3"
	make_release "$1" 1.0.0 "s#^files: .*#files: $WORK/model-$1#"
}
expect 0 "release 4.0.0 is pushed" fleet_covey release push -f "$(kinds_release 4.0.0 0 0)"
rollout_to two n2 4.0.0
expect 0 "release 4.1.0 is pushed" fleet_covey release push -f "$(kinds_release 4.1.0 3 10)"
before=$(received 2)
rollout_to two n2 4.1.0
moved 2 5
ok "n2 received a few percent of blocks and integers"
for file in whole.safetensors blocks.gguf; do
	sum=$(sha256sum <"$WORK/model-4.1.0/$file")
	find "$FLEET_STATE/n2" -path '*/blobs/*' -size +3M -exec sha256sum {} + | grep "^${sum%% *}" >/dev/null
	ok "n2 holds exactly the new $file"
done
