#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What bench/distribution.sh measured as a chart: the share of the bound that the last node reached.

    bench/distribution_chart.py RESULTS.jsonl >docs/distribution.svg
"""
import collections
import json
import statistics
import sys

from distribution_table import bound, title

COLOURS = {"covey": "#1b6ca8", "aria2": "#c77d28", "libtorrent": "#5f8f4e", "transmission": "#9a4f8f", "http": "#8a8a8a"}
WIDTH, LABEL, BAR, GAP, HEAD = 820, 300, 14, 16, 44


def medians(path):
    """(case title) -> tool -> (median of the last node's seconds, bound)."""
    runs = collections.defaultdict(list)
    for line in open(path):
        row = json.loads(line)
        if row["last"] is not None:
            runs[title(row), row["tool"]].append((row["last"], bound(row)))
    cases = collections.defaultdict(dict)
    for (case, tool), values in runs.items():
        cases[case][tool] = statistics.median(last for last, _ in values), values[0][1]
    return cases


def main():
    cases, parts, y = medians(sys.argv[1]), [], HEAD
    room = WIDTH - LABEL - 90
    for case, tools in cases.items():
        parts.append(f'<text x="{LABEL - 8}" y="{y + BAR * len(tools) / 2 + 4}" text-anchor="end">{case}</text>')
        for tool, (last, least) in tools.items():
            width = room * least / last
            parts.append(f'<rect x="{LABEL}" y="{y + 1}" width="{width:.1f}" height="{BAR - 2}" fill="{COLOURS[tool]}"/>')
            parts.append(f'<text x="{LABEL + width + 5:.1f}" y="{y + BAR - 3}">{least / last:.2f}, {last:.1f} s</text>')
            y += BAR
        y += GAP
    grid = [f'<line x1="{LABEL + room * share}" y1="{HEAD - 6}" x2="{LABEL + room * share}" y2="{y - GAP + 4}" stroke="#ccc"/>'
            for share in (0, 0.25, 0.5, 0.75, 1)]
    legend = [f'<rect x="{LABEL + 105 * i}" y="10" width="10" height="10" fill="{colour}"/>'
              f'<text x="{LABEL + 105 * i + 14}" y="19">{tool}</text>' for i, (tool, colour) in enumerate(COLOURS.items())]
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" font-family="sans-serif" font-size="11">')
    print(f'<rect width="{WIDTH}" height="{y}" fill="white"/>')
    print(f'<text x="{LABEL - 8}" y="19" text-anchor="end">share of the bound, last node</text>')
    print("\n".join(legend + grid + parts))
    print("</svg>")


main()
