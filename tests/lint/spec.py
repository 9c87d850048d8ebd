#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Specification and tests name each other.

docs/spec/*.md holds one sentence a line, "- **NODE-7** ...". A test says which sentences it shows
by a comment with "spec: NODE-7, NODE-9" above it. Every number is given once and without a gap,
every sentence is named by a test, and no test names a sentence that there is not.
"""

import pathlib
import re
import sys

SENTENCE = re.compile(r"^- \*\*([A-Z]+)-(\d+)\*\* \S")
NAMED = re.compile(r"\bspec: ((?:[A-Z]+-\d+(?:, )?)+)")


def sentences(folder, complain):
    found = {}
    for path in sorted(folder.glob("*.md")):
        last = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = SENTENCE.match(line)
            if line.startswith("- **") and not match:
                complain(f"{path.name}:{number}: a sentence begins with - **AREA-number**")
            if not match:
                continue
            area, count = match[1], int(match[2])
            if count != last.get(area, 0) + 1:
                complain(f"{path.name}:{number}: {area}-{count} does not follow {area}-{last.get(area, 0)}")
            last[area] = count
            if f"{area}-{count}" in found:
                complain(f"{path.name}:{number}: {area}-{count} is there twice")
            found[f"{area}-{count}"] = f"{path.name}:{number}"
    return found


def named_by_tests(folder, known, complain):
    named = set()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".c", ".h", ".sh", ".py", ".build") or path.name == "spec.py":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for match in NAMED.finditer(line):
                for name in match[1].rstrip(", ").split(", "):
                    named.add(name)
                    if name not in known:
                        complain(f"{path.relative_to(folder)}:{number}: there is no sentence {name}")
    return named


def main():
    root = pathlib.Path(sys.argv[1])
    faults = []
    known = sentences(root / "docs/spec", faults.append)
    named = named_by_tests(root / "tests", known, faults.append)
    faults += [f"{place}: no test names {name}" for name, place in known.items() if name not in named]
    for fault in faults:
        print(fault)
    print(f"{len(known)} sentences, {len(named)} named by tests, {len(faults)} faults")
    return 1 if faults or not known else 0


if __name__ == "__main__":
    sys.exit(main())
