#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the digits server on free ports with every model and every fault: test.sh SERVER. Prints TAP.
set -u
server=$(realpath "${1:?usage: test.sh SERVER}")
cd "$(dirname "$(realpath "$0")")" || exit 1
unset COVEY_OBSERVE COVEY_RELEASE
tmp=$(mktemp -d)
pid='' count=0 failed=0
trap '[ -n "$pid" ] && kill -KILL "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT

check() {   # check DESCRIPTION COMMAND...
    local text=$1 word=ok
    shift
    count=$((count + 1))
    "$@" || { word='not ok'; failed=$((failed + 1)); }
    echo "$word $count - $text"
    [ "$word" = ok ] || sed 's/^/# /' "$tmp/log"
}

start() {   # start VERSION [OPTION]...: sets pid and url
    local version=$1
    shift
    : >"$tmp/log"
    PORT=0 COVEY_RELEASE=digits@$version "$server" \
        --model "releases/$version/model/model.safetensors" "$@" 2>"$tmp/log" &
    pid=$!
    for _ in $(seq 200); do
        url=http://127.0.0.1:$(sed -n 's/.* listens on port //p' "$tmp/log")
        [ "$url" = http://127.0.0.1: ] || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
    return 1
}

stop() {    # the exit code is the server's; a second is all it has
    local begin=${EPOCHREALTIME/./} code
    kill -TERM "$pid"
    wait "$pid"
    code=$?
    pid=
    [ $((${EPOCHREALTIME/./} - begin)) -lt 1000000 ] && [ "$code" = 0 ]
}

gone_with() { wait "$pid"; local code=$?; pid=; [ "$code" = "$1" ]; }
status() { curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$@"; }
status_is() { local want=$1; shift; [ "$(status "$@")" = "$want" ]; }
classify() { curl -s --max-time 5 --data-binary "@$1" "$url/classify"; }
label_of() { sed -n 's/.*"label": *\([0-9]*\).*/\1/p'; }
golden_labels() { for g in zero three seven; do classify "golden/$g.json" | label_of; done | xargs; }
expected_labels() { for g in zero three seven; do label_of <"golden/$g.expected.json"; done | xargs; }
# printf turns each "LABEL BODY" line into one transfer of a single curl: one process, 100 requests.
held_out_right() {
    local first=1
    while read -r _ body; do
        [ "$first" ] || echo next
        first=
        printf 'url = "%s/classify"\ndata-raw = "%s"\n' "$url" "${body//\"/\\\"}"
    done <golden/held-out.txt >"$tmp/curl"
    curl -s -K "$tmp/curl" | label_of | paste -d' ' - <(cut -d' ' -f1 golden/held-out.txt) |
        awk '$1 == $2 { n++ } END { print n + 0 }'
}

test_version() {    # VERSION RIGHT_AT_LEAST RIGHT_AT_MOST, goldens: = or !=
    local right
    check "$1 starts" start "$1"
    check "$1 is healthy" status_is 200 "$url/healthz"
    check "$1 golden labels $4 expected" test "$(golden_labels)" "$4" "$(expected_labels)"
    right=$(held_out_right)
    check "$1 has $right of 100 right, expected $2 to $3" test "$right" -ge "$2" -a "$right" -le "$3"
    check "$1 names its release" grep -q "digits@$1" <(curl -s "$url/")
    check "$1 stops within a second" stop
}

test_requests() {
    local big
    start 2.0.0
    big=$(printf '%09000d' 0)
    check "answer has label, score, release" grep -qxE \
        '\{"label":7,"score":[01]\.[0-9]+,"release":"digits@2.0.0"\}' <(classify golden/seven.json)
    check "not JSON: 400" status_is 400 -d 'seven' "$url/classify"
    check "63 pixels: 400" status_is 400 -d "{\"pixels\":[$(seq -s, 63 | tr 1-9 1)]}" "$url/classify"
    check "pixel of 17: 400" status_is 400 "$url/classify" \
        -d "$(sed 's/\[0/[17/' golden/seven.json)"
    check "no body: 400" status_is 400 -X POST "$url/classify"
    check "9000 bytes: 413" status_is 413 -d "$big" "$url/classify"
    check "GET /classify: 405" status_is 405 "$url/classify"
    check "unknown path: 404" status_is 404 "$url/nothing"
    check "IPv6 too, where there is any" test "$(ls /proc/net/if_inet6 2>/dev/null)" = '' -o \
        "$(status "${url/127.0.0.1/[::1]}/healthz")" = 200
    check "stops" stop
}

test_in_flight() {  # a request whose body comes after SIGTERM, beside an idle kept-alive connection
    local body reply
    start 2.0.0
    body=$(cat golden/seven.json)
    exec 3<>"/dev/tcp/127.0.0.1/${url##*:}" 4<>"/dev/tcp/127.0.0.1/${url##*:}"
    printf 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n' >&4
    read -r -t 2 reply <&4
    printf 'POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' "${#body}" >&3
    sleep 0.1
    kill -TERM "$pid"
    sleep 0.2
    check "refuses new connections after SIGTERM" status_is 000 "$url/healthz"
    printf '%s' "$body" >&3
    reply=$(timeout 2 cat <&3)
    exec 3>&- 4>&-
    check "finishes the request in flight" grep -q '"label":7' <<<"$reply"
    check "and then exits with 0" gone_with 0
}

test_faults() {
    start 2.0.0 --never-ready
    check "--never-ready: healthz 503" status_is 503 "$url/healthz"
    check "--never-ready: stops" stop
    start 2.0.0 --unhealthy-after 300ms
    check "--unhealthy-after: healthy before" status_is 200 "$url/healthz"
    sleep 0.4
    check "--unhealthy-after: healthz 503" status_is 503 "$url/healthz"
    check "--unhealthy-after: still classifies" test "$(golden_labels)" = "$(expected_labels)"
    stop
    start 2.0.0 --crash-after 300ms
    check "--crash-after: healthy before" status_is 200 "$url/healthz"
    check "--crash-after: exits with 134" gone_with 134
    local begin=${EPOCHREALTIME/./}
    start 2.0.0 --start-delay 500ms
    check "--start-delay: opens late" test $((${EPOCHREALTIME/./} - begin)) -ge 500000
    stop
    PORT=0 "$server" --model releases/2.0.0/model/model.safetensors --start-delay 1m 2>"$tmp/log" &
    pid=$!
    sleep 0.1
    check "--start-delay: can be stopped meanwhile" stop
}

test_shares() {     # 200 classifications; the first 32 are spared
    local got
    seven_times_200() {
        curl -s -o /dev/null -w "$1\n" --data-binary @golden/seven.json "$url/classify?[1-200]"
    }
    start 2.0.0 --errors 20%
    got=$(seven_times_200 '%{http_code}' | grep -c 500)
    check "--errors 20%: $got of 200" test "$got" -ge 17 -a "$got" -le 55
    stop
    start 2.0.0 --slow 20%
    got=$(seven_times_200 '%{time_total}' | awk '$1 >= 0.02' | wc -l)
    check "--slow 20%: $got of 200" test "$got" -ge 17 -a "$got" -le 80
    check "--slow: stops" stop
}

test_observations() {
    local socket=$tmp/observe
    python3 - "$socket" >"$tmp/observed" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(10)
for _ in range(8):
    print(s.recv(1000).decode().rstrip())
PY
    local listener=$!
    for _ in $(seq 100); do [ -S "$socket" ] && break; sleep 0.05; done
    COVEY_OBSERVE=$socket start 2.0.0
    golden_labels >/dev/null
    status -d nonsense "$url/classify" >/dev/null
    wait "$listener"
    check "observes three answers" test 3 = "$(grep -cxE \
        'end latency_us=[0-9]+ status=200 class=[037] score=[01][0-9.]* x.ink=0[0-9.]+ x.top=0[0-9.]+ x.border=0[0-9.]*' \
        "$tmp/observed")"
    check "observes a refusal" grep -qxE 'end latency_us=[0-9]+ status=400' "$tmp/observed"
    check "tells of each that it begins" test 4 = "$(grep -cx begin "$tmp/observed")"
    check "answers with the listener gone" test "$(golden_labels)" = "$(expected_labels)"
    stop
}

test_feedback_and_metrics() {
    start 2.0.0 --wrong 50%
    for label in 7 7 3; do
        curl -s -o "$tmp/answer" -H "X-Label: $label" --data-binary @golden/seven.json "$url/classify"
    done
    check "feedback: 200" status_is 200 -d '{"right": false}' "$url/feedback"
    check "feedback that is none: 400" status_is 400 -d '{"right": 7}' "$url/feedback"
    curl -s "$url/metrics" >"$tmp/metrics"
    check "metrics: requests" grep -qx 'digits_requests_total{code="200"} 3' "$tmp/metrics"
    check "metrics: right" grep -qx 'digits_feedback_total{label="right"} 2' "$tmp/metrics"
    check "metrics: wrong" grep -qx 'digits_feedback_total{label="wrong"} 2' "$tmp/metrics"
    check "metrics: all latencies" grep -qx 'digits_latency_seconds_bucket{le="+Inf"} 3' "$tmp/metrics"
    local got
    got=$(curl -s --data-binary @golden/seven.json "$url/classify?[1-200]" | grep -vc '"label":7')
    check "--wrong 50%: $got of 200" test "$got" -ge 60 -a "$got" -le 125
    stop
    start 2.0.0 --delay 5ms
    got=$(curl -s -o "$tmp/answer" -w '%{time_total}\n' --data-binary @golden/seven.json "$url/classify")
    check "--delay 5ms: $got s" awk "BEGIN {exit !($got >= 0.005)}"
    stop
}

test_bad_starts() {
    head -c 300 releases/2.0.0/model/model.safetensors >"$tmp/short"
    : >"$tmp/empty"
    head -c 4000 /dev/zero | tr '\0' '\377' >"$tmp/noise"
    for file in short empty noise missing; do
        check "$file model file: exits with 1" test 1 = \
            "$(PORT=0 "$server" --model "$tmp/$file" 2>"$tmp/log"; echo $?)"
    done
    check "unknown option: exits with 2" test 2 = "$("$server" --what 2>"$tmp/log"; echo $?)"
    check "bad time: exits with 2" test 2 = "$("$server" --crash-after 20 2>"$tmp/log"; echo $?)"
}

test_version 1.0.0 75 92 =
for version in 2.0.0 2.1.0 2.2.0 3.1.0; do
    test_version "$version" 93 100 =
done
test_version 3.0.0 0 10 !=
test_requests
test_in_flight
test_faults
test_shares
test_observations
test_feedback_and_metrics
test_bad_starts
echo "1..$count"
[ "$failed" = 0 ]
