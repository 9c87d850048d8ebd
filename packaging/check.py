#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what is written twice: event ids with the journal's catalogs, keys of configurations and
YAML files with their manual pages and the shipped files, verbs with manual page and completion.

usage: check.py SOURCE COMPLETION COVEY (prints TAP)
"""
import pathlib
import re
import subprocess
import sys

source, completion, covey = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
count = 0


def read(path):
    return (source / path).read_text(encoding="utf-8")


def check(what, missing):
    global count
    count += 1
    missing = sorted(missing)
    print(f"{'not ' if missing else ''}ok {count} - {what}")
    for item in missing:
        print(f"# {item}")


def events():
    ids = dict(re.findall(r'^#define (LOG_ID_\w+) "([0-9a-f]{32})"$', read("base/log_ids.h"), re.M))
    entries = re.findall(r"^-- ([0-9a-f]{32})$", read("systemd/covey-agent.catalog") +
                         read("systemd/covey-coordinator.catalog"), re.M)
    code = "".join(p.read_text() for f in ("agent", "coordinator") for p in (source / f).rglob("*.c"))
    check("there are events", [] if len(ids) > 10 else ["base/log_ids.h"])
    check("each event has one entry in a catalog, and no entry is left over",
          set(ids.values()) ^ set(entries) | {e for e in entries if entries.count(e) > 1})
    check("each event is used", [name for name in ids if not re.search(rf"\b{name}\b", code)])


def config(name, path, keys, shipped):
    page = read(f"docs/man/{name}.5.scd")
    check(f"{name}(5) has every key of {path}", [k for k in keys if f"*{k}*" not in page])
    named = re.findall(r"^# (\w+) =|^(\w+) =", read(shipped), re.M)
    check(f"{shipped} names only keys that there are", {a or b for a, b in named} - set(keys))


def configs():
    keys = re.findall(r'^\s*\{"\w+", "(\w+)", FIELD', read("agent/config.c"), re.M)
    check("agent/config.c has a table of keys", [] if len(keys) > 10 else ["agent/config.c"])
    config("agent.conf", "agent/config.c", keys, "packaging/agent.conf")
    keys = re.findall(r'str_equal\(name, "(\w+)"\)', read("coordinator/config.c"))
    check("coordinator/config.c has keys", [] if len(keys) > 5 else ["coordinator/config.c"])
    config("coordinator.conf", "coordinator/config.c", keys, "packaging/coordinator.conf")


def yaml_files():
    for kind in ("release", "deployment"):
        keys = re.findall(r'\.key = "(\w+)"', read(f"coordinator/cli/yml_{kind}.c"))
        page = read(f"docs/man/{kind}.yaml.5.scd")
        check(f"{kind}.yaml(5) has every key", [k for k in keys if f"*{k}" not in page] or
              ([] if len(keys) > 10 else [f"coordinator/cli/yml_{kind}.c"]))


def verbs():
    table = re.findall(r'^\s*\{"([a-z ]+)", ', read("coordinator/cli/verbs.c"), re.M)
    page, script = read("docs/man/covey.1.scd"), pathlib.Path(completion).read_text()
    check("there is a table of verbs", [] if len(table) > 20 else ["coordinator/cli/verbs.c"])
    check("covey(1) has every verb", [v for v in table if not re.search(rf"\*{v}\b", page)])
    check("the completion has every verb", [v for v in table if f"['{v}']=" not in script])
    done = subprocess.run(["bash", "-c", f'. "$1"; COMP_WORDS=(covey rollout p); COMP_CWORD=2; _covey;'
                           ' echo "${COMPREPLY[@]}"; COMP_WORDS=(covey apply --al); COMP_CWORD=2; _covey;'
                           ' echo "${COMPREPLY[@]}"; COMP_WORDS=(covey apply -o ""); COMP_CWORD=3; _covey;'
                           ' echo "${COMPREPLY[@]}"', "bash", completion],
                          capture_output=True, text=True, check=False).stdout.split("\n")
    check("and completes verbs, options and values",
          [] if done[:3] == ["pause promote", "--allow-removal", "table wide json"] else done)


def units():
    for unit in ("covey-agent.service.in", "covey-helper.service.in", "covey-coordinator.service.in",
                 "covey-hook@.service.in"):
        text = read(f"systemd/{unit}")
        page = re.search(r"man:([\w-]+)\(8\)", text)
        check(f"{unit}: program and manual page are there",
              [] if page and (source / f"docs/man/{page[1]}.8.scd").exists() and
              re.search(r"^ExecStart=@(SBINDIR|LIBEXECDIR)@/", text, re.M) else [unit])


events()
configs()
yaml_files()
verbs()
units()
print(f"1..{count}")
