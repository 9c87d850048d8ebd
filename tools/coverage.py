#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py SOURCE BUILD WANTED FILE...: a table of line coverage, from what gcov counted.

One source may have been compiled into several libraries: a line counts when any of them ran it.
Fails when less than WANTED percent of all lines were reached.
"""
import collections
import json
import pathlib
import subprocess
import sys

source, build, wanted, files = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]


def count(file):
    """line -> how often it ran"""
    lines = collections.Counter()
    stem = "_".join(file.split("/")[-1:])
    for data in build.rglob("*" + stem + ".gcda"):
        out = subprocess.run(["gcov", "--json-format", "--stdout", str(data)], cwd=build, capture_output=True, check=True)
        for text in out.stdout.splitlines():
            for entry in json.loads(text)["files"]:
                path = (build / entry["file"]).resolve()
                if path == pathlib.Path(source, file).resolve():
                    for line in entry["lines"]:
                        lines[line["line_number"]] += line["count"]
    return lines


def ranges(numbers):
    """[1, 2, 3, 7] -> "1-3 7" """
    out = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return " ".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in out)


def main():
    reached = total = 0
    print("%-36s %6s %7s  %s" % ("file", "lines", "reached", "not reached"))
    for file in files:
        lines = count(file)
        ran = sum(n > 0 for n in lines.values())
        reached, total = reached + ran, total + len(lines)
        missed = ranges(sorted(n for n in lines if lines[n] == 0))
        print("%-36s %6d %6.1f%%  %s" % (file, len(lines), 100 * ran / max(len(lines), 1), missed))
    share = 100 * reached / max(total, 1)
    print("%-36s %6d %6.1f%%" % ("total", total, share))
    return 0 if share >= wanted else 1


sys.exit(main())
