#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The medians of bench/distribution.sh as a table for docs/BENCHMARKS.md."""
import collections
import json
import statistics
import sys


GOODPUT = 0.954  # of a link's rate: tbf counts the frames' heads, too


def bound(row):
    """Seconds in which everybody can have it: the seed, the slowest download, all uplinks together."""
    bits, nodes = row["bytes"] * 8 / GOODPUT, row["nodes"]
    seed, up, down = (row[key] * 1e6 for key in ("seed_rate", "up", "down"))
    site = row.get("site_rate", 0) * 1e6
    return max(bits / seed, bits / down, nodes * bits / (seed + nodes * up), bits / site if site else 0)


def title(row):
    text = f"{row['nodes']} nodes, {row['up']}/{row['down']} Mbit, {row['bytes'] >> 20} MiB"
    if row["seed_rate"] != row["up"]:
        text += f", seed {row['seed_rate']}"
    return text + (f", sites behind {row['site_rate']}" if row.get("site_rate") else "")


def main():
    runs = collections.defaultdict(list)
    for line in open(sys.argv[1]):
        row = json.loads(line)
        runs[row["case"], row["tool"]].append(row)
    print("| case | tool | runs | first | median | last | share of bound | seed sent / F | thin link / F | CPU s | idle | right |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    costs = [row for row in map(json.loads, open(sys.argv[1])) if "agent_core" in row]
    for (case, tool), rows in runs.items():
        done = [row for row in rows if row["last"] is not None]
        name = title(rows[0])
        if not done:
            print(f"| {name} | {tool} | {len(rows)} | - | - | not all finished | - | - | - | - | - | no |")
            continue
        mid = {key: statistics.median(row[key] for row in done) for key in ("first", "median", "last", "seed_sent", "site_sent", "cpu", "idle")}
        print(f"| {name} | {tool} | {len(done)} | {mid['first']:.2f} | {mid['median']:.2f} | {mid['last']:.2f} | "
              f"{bound(rows[0]) / mid['last']:.2f} | {mid['seed_sent'] / rows[0]['bytes']:.2f} | "
              f"{format(mid['site_sent'] / rows[0]['bytes'], '.2f') if mid['site_sent'] else ''} | {mid['cpu']:.1f} | "
              f"{100 * mid['idle']:.0f} % | "
              f"{'yes' if all(row['right'] for row in rows) else 'no'} |")
    if costs:
        print("\n| case | one node's agent: share of a core | PSS MB, most | received MB/s |\n|---|---|---|---|")
    for case in dict.fromkeys(row["case"] for row in costs):
        mid = {key: statistics.median(row[key] for row in costs if row["case"] == case)
               for key in ("agent_core", "agent_pss_kb", "agent_mb_s")}
        print(f"| {case} | {100 * mid['agent_core']:.1f} % | {mid['agent_pss_kb'] / 1024:.1f} | {mid['agent_mb_s']:.1f} |")


if __name__ == "__main__":
    main()
