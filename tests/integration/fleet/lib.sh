# SPDX-License-Identifier: Apache-2.0
# Scenarios on a real fleet print TAP. A scenario sources this file, calls `scenario_fleet NODES`,
# then checks; the fleet goes away however it ends.

COVEY_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
export COVEY_BUILD=${COVEY_BUILD:?the build folder}
COVEY_FLEET=${COVEY_FLEET:-t$$}
. "$COVEY_SOURCE/tools/common.sh"
. "$COVEY_SOURCE/tools/fleet.sh"
TAP=0
TAP_FAILED=0
WORK=$(mktemp -d)
DIGITS=$COVEY_SOURCE/examples/digits

scenario_fleet() { # nodes, further options of fleet_up
	local nodes=$1
	shift
	trap scenario_end EXIT
	fleet_image
	fleet_up --nodes "$nodes" "$@" >"$WORK/up.log" 2>&1 || {
		cat "$WORK/up.log"
		echo "Bail out! the fleet does not come up"
		exit 1
	}
}

scenario_end() {
	local code=$?
	echo "1..$TAP"
	if [ "$TAP_FAILED" -gt 0 ] || [ $code -ne 0 ]; then
		for log in "$FLEET_STATE"/*/*.log; do
			[ -s "$log" ] && { echo "# --- $log" && tail -n 25 "$log" | sed 's/^/# /'; }
		done
	fi
	fleet_down
	rm -rf "$WORK"
	[ $code -ne 0 ] || [ "$TAP_FAILED" -eq 0 ] || exit 1
}

# The description must hold no $(...): that would be the last command.
ok() { # description; checks the last command's result
	local result=$?
	TAP=$((TAP + 1))
	if [ $result -eq 0 ]; then
		echo "ok $TAP - $1"
	else
		echo "not ok $TAP - $1"
		TAP_FAILED=$((TAP_FAILED + 1))
	fi
}

expect() { # exit code, description, command ...
	local want=$1 what=$2 code=0
	shift 2
	"$@" >"$WORK/out" 2>"$WORK/err" || code=$?
	[ "$code" = "$want" ] || sed 's/^/# /' "$WORK/out" "$WORK/err"
	[ "$code" = "$want" ]
	ok "$what (exit code $want)"
}

said() { # pattern, description: what the last `expect` wrote to stderr
	grep -qE -- "$1" "$WORK/err" || sed 's/^/# stderr: /' "$WORK/err"
	grep -qE -- "$1" "$WORK/err"
	ok "$2"
}

wait_for() { # seconds, command ...: until it succeeds
	local end=$(($(date +%s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $end ] || return 1
		sleep 0.1
	done
}

# A release of the digits model, made from an example's with other lines on top.
make_release() { # version, example version, sed script or ""
	local folder=$WORK/$1
	mkdir -p "$folder"
	sed -e "s#^version: .*#version: $1#" -e "s#\.\./\.\./\(golden\|baseline\)#$DIGITS/\1#" \
		-e "s#^image: .*#image: $COVEY_BUILD/digits-image#" \
		-e "s#^files: .*#files: $DIGITS/releases/$2/model#" -e "${3:-}" \
		"$DIGITS/releases/$2/release.yaml" >"$folder/release.yaml"
	echo "$folder/release.yaml"
}

# A deployment of it; further YAML lines come from standard input.
make_deployment() { # version
	local file=$WORK/deployment-$1.yaml
	printf 'deployment: digits\nrelease: digits@%s\nnodes: all\n' "$1" >"$file"
	cat >>"$file"
	echo "$file"
}

traffic() { # host, tx or rx: bytes over its link so far
	ip netns exec "$FLEET_NETNS-$1" awk -v way="$2" '$1 == "eth0:" {print way == "rx" ? $2 : $10}' /proc/net/dev
}

label_at() { # node number: what a client outside is answered
	nsenter "--net=/run/netns/$FLEET_NETNS-co" curl -s --max-time 2 \
		"http://$(fleet_address "$1"):8080/classify" --data-binary "@$DIGITS/golden/seven.json"
}

serves() { # node number, version
	label_at "$1" | grep -q "\"digits@$2\""
}

rollout_field() { # jq filter on the newest rollout
	local id
	id=$(fleet_covey rollout ls -o json | jq -r 'sort_by(.started_at) | .[-1].id')
	fleet_covey rollout show "$id" -o json | jq -r "$1"
}

MIB=8
# A model that is worth a delta, beside the digits model.
weights() { # file, seed of changes, per mille changed: 8 MiB of BF16 in four tensors
	python3 - "$@" <<'PYTHON'
import json, random, struct, sys
path, seed, share = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data, size = bytearray(random.Random(1).randbytes(8 << 20)), 2 << 20
for at in range(1, len(data), 2):  # exponents of weights around 0.02
    data[at] = 0x3C | data[at] & 0x83
draw = random.Random(seed)
for _ in range(len(data) // 2 * share // 1000):
    data[2 * draw.randrange(len(data) // 2)] ^= 1
head = json.dumps({f"layer.{i}": {"dtype": "BF16", "shape": [1024, 1024],
                                  "data_offsets": [i * size, (i + 1) * size]} for i in range(4)})
open(path, "wb").write(struct.pack("<Q", len(head)) + head.encode() + data)
PYTHON
}

large_release() { # version, seed, per mille changed: its release.yaml
	mkdir -p "$WORK/model-$1"
	cp "$DIGITS/releases/1.0.0/model/"* "$WORK/model-$1/"
	weights "$WORK/model-$1/large.safetensors" "$2" "$3"
	make_release "$1" 1.0.0 "s#^files: .*#files: $WORK/model-$1#"
}
