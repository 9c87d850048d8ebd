#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""seeds.py SOURCE FUZZ-SEEDS FOLDER: makes the seeds of every target anew.

Texts and archives are made here, encodings by the program fuzz-seeds. What the fuzzers found
(corpus/TARGET/found-*, and what `./dev fuzz --keep` chose) is not touched.
"""
import gzip
import hashlib
import io
import json
import pathlib
import re
import subprocess
import sys
import tarfile

SOURCE, PROGRAM, FOLDER = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
HEX = "%064x" % 7
PART = b"\n%%\n"


def save(target, name, *parts):
    folder = FOLDER / target
    folder.mkdir(parents=True, exist_ok=True)
    parts = [p.encode() if isinstance(p, str) else p for p in parts]
    (folder / name).write_bytes(PART.join(parts))


def tar(*entries, form=tarfile.USTAR_FORMAT):
    """Entries: (name, kind, content or target), kind as in tarfile, and what else to set."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, data, *more in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, 0o755, 1700000000
            if kind == tarfile.REGTYPE:
                info.size = len(data)
            elif kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = data
            for key, value in more[0].items() if more else ():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data) if kind == tarfile.REGTYPE else None)
    # the end marker without tar's padding to 10 KiB
    text = out.getvalue()
    return text[: len(text.rstrip(b"\0")) // 512 * 512 + 512 + 1024]


def layers():
    f, d, s, h = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    deep = "/".join(["d" * 60] * 6) + "/file"
    return {
        "plain": tar(("etc/", d, ""), ("etc/passwd", f, b"root:x:0:0::/:/bin/sh\n"), ("server", f, b"x" * 600)),
        "links": tar(("a", f, b"1"), ("b", h, "a"), ("c", s, "a"), ("d", s, "/etc/passwd")),
        "whiteouts": tar(("x/", d, ""), ("x/.wh..wh..opq", f, b""), ("x/.wh.gone", f, b""), ("x/gone", f, b"")),
        "traversal": tar(("../secret", f, b"x")),
        "absolute": tar(("/mnt/secret", f, b"x")),
        "through-link": tar(("l", s, ".."), ("l/secret", f, b"x")),
        "hard-link-out": tar(("l", h, "../secret")),
        "device": tar(("null", tarfile.CHRTYPE, "", {"devmajor": 1, "devminor": 3})),
        "pipe": tar(("p", tarfile.FIFOTYPE, "")),
        "setuid": tar(("su", f, b"x", {"mode": 0o6755, "uid": 1000, "gid": 1000})),
        "pax": tar((deep, f, b"x"), ("ü" * 60, f, b"y"), form=tarfile.PAX_FORMAT),
        "gnu": tar((deep, f, b"x"), ("l", s, deep), form=tarfile.GNU_FORMAT),
        "replaced": tar(("a", f, b"1"), ("a/", d, ""), ("a/b", f, b""), ("a/b", s, "c")),
        "root": tar(("./", d, ""), (".", d, ""), ("./a", f, b"")),
        "name-link": tar(("l\udcff", s, "x"), ("l\udcff/secret", f, b"x")),
        "name-hard-link": tar(("f\udcff", f, b"x"), ("h", h, "f\udcff")),
        "whiteout-entered": tar(("x/.wh.gone", f, b""), ("x/gone/file", f, b"x")),
        "link-to-whiteout": tar((".wh.x", f, b""), ("h", h, ".wh.x")),
        "below-file": tar(("a", f, b"1"), ("a/b", f, b"2")),
        "below-pipe": tar(("a", f, b"1"), ("a", tarfile.FIFOTYPE, ""), ("a/b", f, b"2")),
        "folder-replaced": tar(("a/b", f, b"1"), ("a", f, b"2")),
        "folder-linked-over": tar(("a/b", f, b"1"), ("c", f, b""), ("a", h, "c")),
        "link-to-nothing": tar(("l", s, "")),
        "owner": tar(("a", f, b"1", {"uid": 2**32 - 1}), form=tarfile.GNU_FORMAT),
        "empty": b"",
    }


def image_parts(layer):
    """config, manifest and index of an OCI layout with the marks of target_layout.c."""
    config = ('{"os":"linux","architecture":"amd64","config":{"User":"1000","WorkingDir":"/srv",'
              '"Entrypoint":["/server"],"Cmd":["--port"],"Env":["PATH=/bin"]},'
              '"rootfs":{"type":"layers","diff_ids":[@diff]}}')
    manifest = '{"schemaVersion":2,"config":{@config},"layers":[{@layer}]}'
    index = ('{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",'
             '@manifest,"platform":{"os":"linux","architecture":"amd64"}}]}')
    return layer, config, manifest, index


def make_images():
    f = tarfile.REGTYPE
    for name, layer in layers().items():
        save("unpack", name, layer)
        save("layout", name, *image_parts(layer))
    layer = layers()["plain"]
    save("inflate", "gzip", gzip.compress(layer, mtime=0))
    save("inflate", "plain", layer)
    zstd = subprocess.run(["zstd", "-q", "-c"], input=layer, capture_output=True, check=True)
    save("inflate", "zstd", zstd.stdout)
    packed = gzip.compress(layer, mtime=0)
    save("inflate", "damaged", packed[:40] + b"?" + packed[41:])
    save("layout", "gzip", packed, *image_parts(layer)[1:])
    nested = '{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json",@manifest}]}'
    save("layout", "nested", *image_parts(layer)[:3], nested)
    # whole archives
    sha = lambda data: hashlib.sha256(data).hexdigest()
    config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Cmd": ["/server"]},
                         "rootfs": {"diff_ids": ["sha256:" + sha(layer)]}}).encode()
    manifest = json.dumps([{"Config": sha(config) + ".json", "Layers": ["l/layer.tar"]}]).encode()
    docker = tar((sha(config) + ".json", f, config), ("manifest.json", f, manifest), ("l/layer.tar", f, layer))
    save("image", "docker", docker)
    save("image", "docker-link", tar((sha(config) + ".json", f, config), ("manifest.json", f, manifest),
                                     ("k/layer.tar", f, layer), ("l/layer.tar", tarfile.SYMTYPE, "../k/layer.tar")))
    save("image", "gzip", gzip.compress(docker, mtime=0))
    describe = lambda data: {"digest": "sha256:" + sha(data), "size": len(data)}
    oci_manifest = json.dumps({"config": describe(config), "layers": [describe(layer)]}).encode()
    platform = {"os": "linux", "architecture": "amd64"}
    index = json.dumps({"manifests": [{**describe(oci_manifest), "platform": platform}]}).encode()
    blob = lambda data: ("blobs/sha256/" + sha(data), f, data)
    save("image", "oci", tar(("index.json", f, index), blob(oci_manifest), blob(config), blob(layer)))
    save("image", "neither", tar(("a", f, b"b")))


RELEASE = """model: ocr
version: 2.1.0
image: ./image
files: ./model
command: [/server, --fast, 20%]
env: {THREADS: "2", EMPTY: ""}
serve: {port: 80, container_port: 8000, protocol: grpc, network: host, privileged_port: true, egress: allow}
resources: {memory: 64MiB, cpus: 0.5, pids: 100, devices: [/dev/nvidia0]}
health: {command: [/bin/check, -q], interval: 500ms, timeout: 500ms, failures: 3, start_period: 10s}
smoke:
  - name: zero
    request: {method: POST, path: /classify, body_file: expected.json, content_type: application/json}
    expect: {status: 200, json: {label: 0, p: [0.5, null, true]}, tolerance: 0.1}
  - name: text
    request: {method: GET, path: /}
    expect: {contains: "ok"}
lineage: {code: "train.py", data: "sklearn", metrics: {accuracy: 0.972}}
observe: {metrics: /metrics, requests: http_total, errors: 'http_total{code="5"}', counters: [a, b], score: [0, 1]}
"""
DEPLOYMENT = """deployment: reader
release: ocr@2.1.0
nodes: "site in (lyon,paris),hw!=old,!edge"
swap: stop-first
drain: 5s
keep_warm: 1m
strategy:
  canary:
    stages:
      - {nodes: 1, bake: 25s, where: ring=1}
      - {percent: 50, bake: 5s}
max_unavailable: 20%
max_unavailable_per: {label: site, nodes: 1}
failures: {nodes: 1, percent: 10, unreachable: 20%}
deadlines: {node: 90s, stage: 30m, rollout: 5h}
windows: {download: "22:00-06:00", switch: "Mon-Fri 01:00-05:00", timezone: Europe/Paris}
gates:
  - {metric: errors, tolerance: 1, margin: 2, weight: 1, critical: true, require: evidence, min_bake: 1m}
  - {metric: latency, absolute: true, slo: 0.01, dry_run: true, deadline: 1h}
on_inconclusive: hold
"""


BASELINE = """observations: 10
features:
  ink: {edges: [0, 2.5, 9], counts: [3, 7], under: 1, over: 0, nan: 2}
  site: {values: {lyon: 5, "a \\"b\\"": 3}, unseen: 4, missing: 2}
"""


def make_yaml():
    save("release_yaml", "all", RELEASE, '{"label": 0}')
    save("deployment_yaml", "all", DEPLOYMENT)
    for folder in sorted(pathlib.Path(SOURCE, "examples/digits/releases").iterdir()):
        release = re.sub(r"[./]*/golden/\w+", "expected", (folder / "release.yaml").read_text())
        save("release_yaml", "digits-" + folder.name, release, "{}")
        save("deployment_yaml", "digits-" + folder.name, (folder / "deployment.yaml").read_text())
    for strategy in ("{blue_green: {promote: manual}}", "{rolling: {batch: 20%, bake: 1m}}"):
        text = DEPLOYMENT.split("strategy:")[0] + "strategy: " + strategy + "\n"
        save("deployment_yaml", strategy[1:5], text)
    save("deployment_yaml", "anchors", "a: &a [*a]\nb: *a\n")
    save("deployment_yaml", "two", "---\ndeployment: a\n---\ndeployment: b\n")


def make_texts():
    for i, text in enumerate(("site in (lyon,paris),hw!=old,ring=1", "gpu,!edge", "all", "a notin (b)", "x==y")):
        save("selector", "s%d" % i, text, "site=lyon\nring=1\ngpu=\nx=y")
    for i, text in enumerate(("22:00-06:00", "Mon-Fri 01:00-05:00", "Sat,Sun 00:00-24:00", "", "Sun-Mon 23:59-00:00")):
        save("window", "w%d" % i, text)
    values = ("500ms", "2s", "5m", "24h", "7d", "0", "64KiB", "2GiB", "18446744073709551615", "blake2b:" + HEX, HEX,
              HEX[:32], HEX[:16], "edge-1.lyon", "2.1.0+b_1", "caf\u00e9", b"\xff\xc0\x80")
    for i, text in enumerate(values):
        save("values", "v%d" % i, text)
    save("join", "ip", "covey1:10.0.0.1:7400:%s:%s:%s" % (HEX, HEX[:16], HEX))
    save("join", "ip6", "covey1:[fd00::1]:7400:%s:%s:%s" % (HEX, HEX[:16], HEX))
    save("join", "endpoint", "tcp://host:65533")
    save("keyfile", "public", "covey public key 1\npublic %s\n" % HEX)
    # RFC 7748, section 6.1; RFC 8032, section 7.1
    save("keyfile", "link", "covey link key 1\npublic 8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a\n"
         "secret 77076d0a7318a57d3c16c17251b26645b52a0c0a8c2f1b2c4d7f2b0a1b1b2a2a\n")
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    save("keyfile", "sign", "covey sign key 1\npublic %s\nsecret %s%s\n" % (public, seed, public))
    save("passwd", "name", "model:video", "root:x:0:0::/:\nmodel:x:1000:1000::/:\n", "video:x:44:model,root\n")
    save("passwd", "number", "1000", "model:x:1000:100::/:\n", "audio:x:29:model\nx:y\n")
    save("passwd", "root", "", "", "")
    line = "2026-01-02T03:04:05.678901234+00:00 std%s %s %s\n"
    save("log", "lines", b"\x02\xff" + "".join(line % x for x in
         (("out", "F", "one"), ("err", "P", "tw"), ("err", "F", "o"), ("out", "F", "\x1b[31mred"))).encode())
    save("log", "short", b"\x01\x08" + "".join(line % ("out", "F", "word" * n) for n in range(9)).encode())


def make_config():
    save("config_agent", "all", """[agent]
name=edge-1
state_dir=/var/lib/covey/agent
labels=site=lyon,ring=1
[helper]
runtime=crun
subnet=10.0.0.0/16
host_ports=21000-21999
allow_devices=/dev/a,/dev/b
cgroup_parent=/covey
instance=a1
[disk]
quota=10GiB
reserve=10%
[fetch]
rate=1MiB
""", "[agent]\nlabels=\nlabels=gpu=yes\n")
    save("config_agent", "empty", "", "; nothing\n")
    save("config_coordinator", "all", "state_dir = /srv\nlisten = ::\nport = 7400\nsocket = /run/s\ngroup = root\n"
         "io_threads = 4\nlog_level = debug\n", "# who\nadmin %s alice\nviewer %s b c\n" % (HEX, HEX.replace("0", "1")))
    save("config_fleet", "all", "[fleet]\nendpoint = tcp://10.0.0.1:7400\nserver_key = %s\n" % HEX)


def make_probes():
    save("probe", "ok", "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n")
    save("probe", "pieces", "HTTP/1.", "0 30", "1 Moved\r\n")
    save("probe", "sick", "HTTP/1.1 503\r\n")
    save("probe", "long", "H" * 600)
    expected = '{"label": 7, "p": [0.5, {"a": null}], "text": "x"}'
    head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    save("scrape", "ok", head + "a 1\nb 2\n")
    save("scrape", "pieces", head[:5], head[5:20], head[20:] + "a 1\n")
    save("scrape", "missing", "HTTP/1.1 404 Not Found\r\n\r\n")
    wishes = 'http_total\nhttp_total{code="5*"}\nseconds\ntokens{kind="in"}'
    look = ('# HELP\nhttp_total{code="200",path="/"} %d 17\nhttp_total{code="503"} %d\nseconds_bucket{le="0.1"} %d\n'
            'seconds_bucket{le="+Inf"} %d\ntokens{kind="in",a="x\\"y"} %d.5\n')
    save("metrics", "rise", wishes, look % (10, 1, 8, 11, 100), look % (30, 2, 20, 32, 300))
    save("metrics", "reset", wishes, look % (10, 1, 8, 11, 100), look % (3, 0, 2, 3, 7))
    save("smoke", "same", b"\x07" + expected.encode(), "label", expected, expected)
    save("smoke", "near", b"\x09" + b"[1, 2.5]", "", "", "[1.25, 2.75]")
    save("smoke", "text", b"\x02", "ok", "", "it is ok")
    save("smoke", "worker", '\x00{"ok":false,"test":"zero","text":"a \\u00e9 \\"b\\""}')
    save("smoke", "worker-ok", '\x00{"ok":true}')
    gates = ({"test": "rate_ratio", "periods": [[1000, 1000, 12, 10]], "tolerance": 1.1, "margin": 2},
             {"test": "exact", "periods": [[100, 1000, 3, 10], [50, 500, 1, 5]]},
             {"test": "hierarchical", "events": [3, 40], "pi0": 0.1, "m": 50},
             {"test": "absolute", "n": 1000, "x": 3, "slo": 0.01},
             {"test": "drift", "baseline": [10, 20, 30], "window": [9, 22, 28], "alpha": 0.001},
             {"test": "sr", "p0": 0.01, "outcomes": "0010100011", "threshold": 1000})
    for gate in gates:
        save("gate", gate["test"], json.dumps(gate))


def make_tensors():
    def file(header):
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text
    tensor = lambda a, b: {"dtype": "F32", "shape": [1], "data_offsets": [a, b]}
    save("tensors", "two", b"\x40\x10" + file({"a": tensor(0, 400000), "b": tensor(400000, 5000000),
                                                  "__metadata__": {"format": "pt"}}))
    save("tensors", "large", b"\xff\xff" + file({str(i): tensor(i * 600000, i * 600000 + 600000) for i in range(9)}))
    save("tensors", "wrong", b"\x01\x00" + file({"a": tensor(-1, 1 << 62)}))


    u64, u32, text = (lambda n: n.to_bytes(8, "little")), (lambda n: n.to_bytes(4, "little")), None
    text = lambda t: u64(len(t)) + t.encode()
    for version in (2, 3):
        gguf = (b"GGUF" + u32(version) + u64(2) + u64(3) + text("general.alignment") + u32(4) + u32(32)
                + text("names") + u32(9) + u32(8) + u64(2) + text("a") + text("b") + text("flag") + u32(7) + b"\x01"
                + text("w") + u32(2) + u64(256) + u64(100) + u32(0) + u64(0)
                + text("q") + u32(1) + u64(6400) + u32(2) + u64(102400))
        save("tensors", "gguf-%d" % version, b"\x10\x01" + gguf + bytes(64))
    field = lambda n, data: bytes([n << 3 | 2]) + varint(len(data)) + data
    number = lambda n, v: bytes([n << 3]) + varint(v)
    entry = lambda k, v: field(13, field(1, k) + field(2, v))
    inside = number(1, 4) + number(2, 1) + field(8, b"inside") + field(9, bytes(4000))
    beside = (number(1, 4000) + number(2, 1) + field(8, b"beside") + entry(b"location", b"weights.bin")
              + entry(b"offset", b"0") + entry(b"length", b"16000") + number(14, 1))
    save("tensors", "onnx", b"\x10\x00" + number(1, 8) + field(7, field(5, inside) + field(5, beside)))


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def make_observations():
    save("csv", "plain", 'ink,site,"a ""b"""\r\n1,lyon,\n\n2.5,"x\ny",z\n')
    save("csv", "column", 'a\n""\nb\n')
    save("baseline_yaml", "two", BASELINE)
    save("observation", "line", "latency_us=1830 status=200 class=7 score=0.93 x.ink=0.21 x.site=lyon\n")
    save("observation", "two", "begin\n", "end status=500\nlabel=wrong\n", "begin\nbegin\n", "crash")
    save("observation", "strange", "n=1000000 lost=5 latency_us=1e9 x.ink=nan x.ink=inf y=1 score=2\nend\nstatus=timeout")


def make_coding():
    import struct
    base = struct.pack("<300f", *(i * 0.01 - 1 for i in range(300)))
    near = bytearray(base)
    for i in range(0, 1200, 160):
        near[i] ^= 3
    save("coding", "floats", b"\x06" + base, bytes(near))
    save("coding", "unknown", b"\x08" + base, b"hello " * 50)
    save("coding", "alone", b"\x01", bytes(range(256)) * 2)
    for method in range(8):
        coded = bytes([method, 0x84, 0, 0]) + (1200).to_bytes(4, "little")
        stream = lambda data: len(data).to_bytes(4, "little") * 2 + data
        save("coding", "method-%d" % method, b"\x06" + base, coded + stream(bytes(near)) + stream(b"\x01\x02"))


def make_frames():
    key = "a" * 32
    for domain in ("agents", "enrol", "nowhere"):
        save("zmq", "zap-" + domain, "\x00", "1.0", "1", domain, "127.0.0.1", "", "CURVE", key)
    save("zmq", "zap-null", "\x00", "1.0", "1", "agents", "127.0.0.1", "", "NULL")
    save("zmq", "message", "\x01hello")
    save("zmq", "parts", "\x01a", "b", "c")


def make_control():
    requests = {
        "version": {},
        "status": {},
        "events": {"since": 0, "limit": 5, "wait_ms": 10},
        "logs": {"node": "edge-1", "deployment": "reader", "lines": 5},
        "freeze": {"reason": "x"},
        "unfreeze": {},
        "token.create": {"ttl_ms": 1000, "uses": 2, "labels": {"a": "b"}, "approval": True},
        "token.ls": {},
        "token.rm": {"id": "00"},
        "node.ls": {"selector": "site=lyon"},
        "node.show": {"node": "edge-1"},
        "node.label": {"node": "edge-1", "set": {"a": "b"}, "remove": ["site"]},
        "node.cordon": {"node": "edge-2"},
        "node.uncordon": {"node": "edge-2"},
        "node.approve": {"node": "edge-1"},
        "node.revoke": {"node": "edge-3"},
        "node.rm": {"node": "edge-3", "force": True},
        "object.missing": {"digests": ["blake2b:" + HEX]},
        "object.get": {"digest": "blake2b:" + HEX},
        "release.get": {"release": "ocr@1.0.0"},
        "release.ls": {"model": "ocr"},
        "release.show": {"release": "ocr@2.0.0"},
        "release.rm": {"release": "ocr@2.0.0"},
        "rollout.ls": {},
        "rollout.show": {"rollout": "1", "since": "x", "wait_ms": 10},
        "rollout.pause": {"rollout": "1"},
        "rollout.resume": {"rollout": "1"},
        "rollout.promote": {"rollout": "1", "full": True},
        "rollout.abort": {"rollout": "1"},
        "rollout.retry": {"rollout": "1", "node": "edge-1"},
        "rollout.undo": {"rollout": "1"},
        "deployment.ls": {},
        "deployment.show": {"deployment": "reader"},
        "deployment.history": {"deployment": "reader"},
        "deployment.rm": {"deployment": "reader"},
    }
    for verb, body in requests.items():
        save("control", verb, verb + "\n" + json.dumps(body) + "\n")
    save("control", "several", *(verb + "\n" + json.dumps(requests[verb]) for verb in
                                 ("freeze", "rollout.pause", "node.revoke", "unfreeze", "rollout.resume", "deployment.rm")), "wait\n")


def make_shown():
    nodes = [{"name": "edge-1", "state": "baking", "bytes_done": 10, "bytes_total": 100, "reason": {"text": "\u001b[2J"}}]
    rollout = {"id": HEX[:16], "number": 3, "deployment": "reader", "release": "ocr@2.0.0", "state": "rolling",
               "created": "2027-01-01T00:00:00.000Z", "stages": [{"name": "canary-1", "state": "baking", "nodes": nodes}],
               "nodes": nodes, "text": "waits", "labels": {"a": "b"}, "list": ["x"],
               "slots": [{"colour": "blue", "state": "serving", "release": HEX}]}
    done = dict(rollout, state="completed", stages=[{"name": "canary-1", "state": "passed", "nodes": []}])
    save("show", "rollout", json.dumps(rollout), json.dumps(done))
    save("show", "table", json.dumps([rollout, {"id": None, "labels": {}, "list": []}]))


# A dictionary holds the words that a parser's source has in quotes.
WORDS = {
    "release_yaml": ["coordinator/cli/yml_release.c", "coordinator/cli/yml_values.c"],
    "deployment_yaml": ["coordinator/cli/yml_deployment.c", "coordinator/cli/yml_values.c"],
    "baseline_yaml": ["coordinator/cli/yml_baseline.c"],
    "observation": ["agent/observe/observation.c"],
    "metrics": ["agent/observe/metrics.c"],
    "control": sorted(p.relative_to(SOURCE).as_posix() for p in pathlib.Path(SOURCE).glob("coordinator/control*.c")),
    "config_agent": ["agent/config.c"],
    "config_coordinator": ["coordinator/config.c", "coordinator/operators.c"],
    "config_fleet": ["coordinator/cli/config.c"],
    "gate": ["coordinator/cli/cmd_gate.c"],
    "layout": ["coordinator/cli/image.c", "coordinator/cli/image_oci.c", "coordinator/cli/image_source.c"],
    "image": ["coordinator/cli/image_archive.c", "coordinator/cli/image_oci.c", "coordinator/cli/image_source.c"],
    "show": ["coordinator/cli/tree.c", "coordinator/cli/output.c", "coordinator/cli/cmd_rollout.c"],
    "selector": ["base/selector.c"],
    "window": ["base/window.c"],
    "values": ["base/str.c", "protocol/digest.c"],
    "keyfile": ["protocol/transport/keyfile.c"],
    "zmq": ["protocol/transport/zap.h", "protocol/transport/zap.c"],
    "helper": ["agent/helper/record.c"],
}


def make_dictionaries():
    folder = FOLDER.parent / "dict"
    folder.mkdir(exist_ok=True)
    for target, files in WORDS.items():
        text = "".join(pathlib.Path(SOURCE, file).read_text() for file in files)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        words = {w for w in re.findall(r'"([^"\\%\n]{2,40})"', text) if " " not in w.strip()}
        (folder / target).write_text("".join('"%s"\n' % w for w in sorted(words)) + '"\\x0a%%\\x0a"\n')


def main():
    subprocess.run([PROGRAM, FOLDER], check=True)
    make_dictionaries()
    for make in (make_images, make_yaml, make_texts, make_config, make_probes, make_tensors, make_observations, make_coding, make_frames,
                 make_control, make_shown):
        make()


main()
