#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every row of docs/RELIABILITY.md says fault, promise and test, and each test that it names exists.

    reliability.py SOURCE BUILD

The third column holds tests, separated by "; ": the name of a test of meson, or "name / case" with a
function of its source or words of its script, or a command of ./dev in backquotes.
"""

import json
import pathlib
import re
import sys


def load(root, build):
    """name of a test -> the files that it is made from."""
    info = pathlib.Path(build, "meson-info")
    sources = {}
    for target in json.loads((info / "intro-targets.json").read_text()):
        for output in target["filename"]:
            sources[output] = [s for group in target["target_sources"] for s in group.get("sources", [])]
    tests = {}
    for test in json.loads((info / "intro-tests.json").read_text()):
        program = test["cmd"][0]
        # meson shows colons as underscores, and knows its own folders
        tests[test["name"].replace("_ ", ": ")] = sources.get(program, [program])
    for path in (root / "tests").rglob("meson.build"):  # some are in other builds only
        for name in re.findall(r"^\s*test\('([^']+)'", path.read_text(), re.M):
            tests.setdefault(name, [])
    return tests


def rows(path):
    """The lines of the first table, without its head."""
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("|---"):
            inside = True
        elif inside and line.startswith("|"):
            yield number, [cell.strip() for cell in line.strip("|").split("|")]
        elif inside:
            return


def fault_of(named, tests, commands):
    """What is wrong with one name, or None."""
    if named.startswith("`"):
        command = named.strip("`")
        return None if re.search(rf"^  {command.removeprefix('./dev ')}\b", commands, re.M) else \
            f"there is no command {named}"
    name, _, case = named.partition(" / ")
    if name not in tests:
        return f"there is no test {name!r}"
    if case:
        text = "".join(pathlib.Path(s).read_text() for s in tests[name] if pathlib.Path(s).is_file())
        pattern = rf"\b{case}\b" if re.fullmatch(r"\w+", case) else re.escape(case)
        if not re.search(pattern, text):
            return f"{name} has no {case!r}"
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    tests, commands = load(root, sys.argv[2]), (root / "dev").read_text()
    faults, count = [], 0
    for number, cells in rows(root / "docs/RELIABILITY.md"):
        count += 1
        if len(cells) != 3 or not all(cells):
            faults.append(f"line {number}: a row is fault, promise, test")
            continue
        wrong = (fault_of(named, tests, commands) for named in cells[2].split("; "))
        faults += [f"line {number}: {text}" for text in wrong if text]
    for fault in faults:
        print(f"docs/RELIABILITY.md, {fault}")
    print(f"{count} rows, {len(faults)} faults")
    return 1 if faults or not count else 0


if __name__ == "__main__":
    sys.exit(main())
