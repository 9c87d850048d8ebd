#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dependencies point one way: fails when a file includes what its component may not see."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])

# component (longest prefix wins): prefixes that its quoted includes may start with
ALLOWED = {
    "base/": ["base/"],
    "include/": ["covey/"],
    "evidence/": ["base/", "covey/", "evidence/"],
    "protocol/": ["base/", "covey/", "evidence/", "protocol/"],
    "protocol/coding/": ["base/", "covey/", "protocol/coding/"],
    "protocol/transport/": ["base/", "covey/", "protocol/"],
    "coordinator/core/": ["base/", "covey/", "evidence/", "coordinator/core/"],
    # the field table of the journal's events: data about the core's structs, no calls
    "coordinator/core/record": ["base/", "covey/", "coordinator/core/", "protocol/codec"],
    "agent/core/": ["base/", "covey/", "agent/core/"],
    "coordinator/store/": ["base/", "covey/", "protocol/", "coordinator/store/"],
    "coordinator/stats/": ["base/", "coordinator/stats/"],
    "coordinator/judge/": ["base/", "covey/", "coordinator/stats/", "coordinator/judge/"],
    "coordinator/judge/record": ["base/", "covey/", "coordinator/judge/", "protocol/codec"],
    "coordinator/cli/": ["base/", "covey/", "evidence/", "protocol/", "coordinator/cli/",
                         "coordinator/judge/", "coordinator/stats/"],
    "coordinator/": ["base/", "covey/", "evidence/", "protocol/", "coordinator/"],
    # adapters see the interface that they fill, agent/world.h, and nothing else of the shell
    "agent/chunks/": ["base/", "covey/", "protocol/", "agent/chunks/", "agent/journal", "agent/peer_ops.h",
                      "agent/store_ops.h", "agent/world.h"],
    "agent/probe/": ["base/", "covey/", "protocol/", "agent/probe/", "agent/world.h"],
    "agent/traffic/": ["base/", "covey/", "agent/traffic/", "agent/helper/api.h"],
    "agent/helper/": ["base/", "covey/", "protocol/", "agent/helper/", "agent/traffic/", "agent/config.h"],
    "agent/observe/": ["base/", "covey/", "evidence/", "agent/observe/"],
    "agent/": ["base/", "covey/", "evidence/", "protocol/", "agent/"],
}
# headers that a shell, or one file, may see and others may not
ONLY = {
    "sqlite3.h": ["coordinator/store/store_sqlite", "agent/journal", "agent/sql"],
    "zmq.h": ["protocol/transport/", "coordinator/main", "agent/main", "agent/cli/", "coordinator/cli/"],
    "archive.h": ["agent/helper/", "coordinator/cli/"],
    "nftables/libnftables.h": ["agent/helper/", "agent/traffic/"],
    "curl/curl.h": ["coordinator/hook/", "agent/probe/"],
    "zstd.h": ["protocol/coding/"],
}
# the transport is a shell's business; the pure protocol never sees it
FORBIDDEN = {"protocol/": ["protocol/transport/"]}


def component(path):
    matches = [c for c in ALLOWED if path.startswith(c)]
    return max(matches, key=len) if matches else None


def main():
    bad = []
    for file in sorted(ROOT.rglob("*.[ch]")):
        path = file.relative_to(ROOT).as_posix()
        part = component(path)
        if part is None:
            continue
        here = path.rsplit("/", 1)[0] + "/"
        for line in re.findall(r'^\s*#\s*include\s*([<"][^>"]+[>"])', file.read_text(), re.M):
            name = line[1:-1]
            if line[0] == '"':
                full = name if "/" in name else here + name
                if name.startswith("covey/"):
                    full = name
                if not any(full.startswith(p) for p in ALLOWED[part]):
                    bad.append(f"{path}: may not include {name}")
                if part in FORBIDDEN and any(full.startswith(p) for p in FORBIDDEN[part]):
                    bad.append(f"{path}: may not include {name}")
            if name in ONLY and not any(path.startswith(p) for p in ONLY[name]):
                bad.append(f"{path}: only {', '.join(ONLY[name])} may include {name}")
    print("\n".join(bad) if bad else "includes point one way")
    return 1 if bad else 0


sys.exit(main())
