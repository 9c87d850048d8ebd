#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The medians of bench/distribution.sh as a table for docs/BENCHMARKS.md."""
import collections
import json
import statistics
import sys


def bound(row):
    """Seconds in which everybody can have it: the seed, the slowest download, all uplinks together."""
    bits, nodes = row["bytes"] * 8, row["nodes"]
    seed, up, down = (row[key] * 1e6 for key in ("seed_rate", "up", "down"))
    return max(bits / seed, bits / down, nodes * bits / (seed + nodes * up))


def main():
    runs = collections.defaultdict(list)
    for line in open(sys.argv[1]):
        row = json.loads(line)
        runs[row["case"], row["tool"]].append(row)
    print("| case | tool | first | median | last | share of bound | seed sent / F | CPU s | right |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (case, tool), rows in runs.items():
        done = [row for row in rows if row["last"] is not None]
        name = f"{case}: {rows[0]['nodes']} nodes, {rows[0]['up']}/{rows[0]['down']} Mbit, {rows[0]['bytes'] >> 20} MiB"
        if not done:
            print(f"| {name} | {tool} | - | - | not all finished | - | - | - | no |")
            continue
        mid = {key: statistics.median(row[key] for row in done) for key in ("first", "median", "last", "seed_sent", "cpu")}
        print(f"| {name} | {tool} | {mid['first']:.2f} | {mid['median']:.2f} | {mid['last']:.2f} | "
              f"{bound(rows[0]) / mid['last']:.2f} | {mid['seed_sent'] / rows[0]['bytes']:.2f} | {mid['cpu']:.1f} | "
              f"{'yes' if all(row['right'] for row in rows) else 'no'} |")


main()
