/* SPDX-License-Identifier: Apache-2.0 */
/* The cases and their bars. */
#include "tests/swarm/swarm.h"
#include "base/cleanup.h"

#define KIB(n) ((n) * 1024u)
#define MIB(n) ((uint64_t)(n) << 20)

const struct swarm_case swarm_bars[] = {
	{.name = "8 nodes, 100/100 Mbit, 256 MiB", .nodes = 8, .chunk = KIB(256), .size = MIB(256),
	 .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 1, .least_share = .92,
	 .most_origin = 1.1, .most_duplicate = .02},
	{.name = "8 nodes, chunks of 1 MiB", .nodes = 8, .chunk = KIB(1024), .size = MIB(256),
	 .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 1, .least_share = .92,
	 .most_origin = 1.1, .most_duplicate = .02},
	{.name = "16 nodes, 100/100 Mbit, 256 MiB", .nodes = 16, .chunk = KIB(256),
	 .size = MIB(256), .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 1,
	 .least_share = .90, .most_origin = 1.1, .most_duplicate = .02},
	{.name = "20 nodes, 50/50 Mbit, 128 MiB", .nodes = 20, .chunk = KIB(256), .size = MIB(128),
	 .seed_mbit = 50, .up_mbit = 50, .down_mbit = 50, .latency_ms = 1, .least_share = .85,
	 .most_origin = 1.1, .most_duplicate = .02},
	{.name = "8 nodes, seed 100, nodes 25/100 Mbit", .nodes = 8, .chunk = KIB(256),
	 .size = MIB(256), .seed_mbit = 100, .up_mbit = 25, .down_mbit = 100, .latency_ms = 1,
	 .least_share = .94, .most_duplicate = .02},
	{.name = "8 nodes, 100/100 Mbit, 8 MiB", .nodes = 8, .chunk = KIB(256), .size = MIB(8),
	 .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 1, .most_seconds = 1.5,
	 .most_duplicate = .02},
	{.name = "8 nodes, 20 ms, 256 MiB", .nodes = 8, .chunk = KIB(256), .size = MIB(256),
	 .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 20, .least_share = .90,
	 .most_origin = 1.1, .most_duplicate = .02},
	{.name = "2 x 8 nodes behind 20 Mbit, 64 MiB", .nodes = 16, .chunk = KIB(256),
	 .size = MIB(64), .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 5,
	 .sites = 2, .site_mbit = 20, .most_site = 1.05, .least_share = .9,
	 .most_duplicate = .02},
	{.name = "1,000 nodes, 100/100 Mbit, 256 MiB", .nodes = 1000, .chunk = KIB(256),
	 .size = MIB(256), .seed_mbit = 100, .up_mbit = 100, .down_mbit = 100, .latency_ms = 1,
	 .least_share = 1 / 1.10, .most_origin = 1.1, .most_duplicate = .02},
	{.name = "10,000 nodes, 100/100 Mbit, 256 MiB", .nodes = 10000, .chunk = KIB(256),
	 .segment = KIB(128), .size = MIB(256), .seed_mbit = 100, .up_mbit = 100,
	 .down_mbit = 100, .latency_ms = 1, .least_share = 1 / 1.15, .most_origin = 1.1,
	 .most_duplicate = .02},
};
const size_t swarm_bars_count = ARRAY_SIZE(swarm_bars);
