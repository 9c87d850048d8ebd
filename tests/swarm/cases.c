/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cases and their bars. A case with faults is held against what is possible with the capacity
 * that is left, over the nodes that have none: that is what "nobody else is slower by more than the
 * lost capacity" means.
 */
#include "base/cleanup.h"
#include "tests/swarm/swarm.h"

#define KIB(n) ((n)*1024u)
#define MIB(n) ((uint64_t)(n) << 20)
#define LINKS(seed, up, down, latency) \
	.seed_mbit = (seed), .up_mbit = (up), .down_mbit = (down), .latency_ms = (latency)
#define CHUNKS(mib, kib) .size = MIB(mib), .chunk = KIB(kib)
#define BARS(share) .least_share = (share), .most_duplicate = .02
#define FEW(share) BARS(share), .most_origin = 1.1

const struct swarm_case swarm_bars[] = {
	{.name = "8 nodes, 100/100 Mbit, 256 MiB",
	 .nodes = 8,
	 CHUNKS(256, 256),
	 LINKS(100, 100, 100, 1),
	 FEW(.92)},
	{.name = "the same, chunks of 1 MiB",
	 .nodes = 8,
	 CHUNKS(256, 1024),
	 LINKS(100, 100, 100, 1),
	 FEW(.92)},
	{.name = "the same, 20 ms away",
	 .nodes = 8,
	 CHUNKS(256, 256),
	 LINKS(100, 100, 100, 20),
	 FEW(.92)},
	{.name = "16 nodes, 100/100 Mbit, 256 MiB",
	 .nodes = 16,
	 CHUNKS(256, 256),
	 LINKS(100, 100, 100, 1),
	 FEW(.90)},
	{.name = "20 nodes, 50/50 Mbit, 128 MiB",
	 .nodes = 20,
	 CHUNKS(128, 256),
	 LINKS(50, 50, 50, 1),
	 FEW(.85)},
	{.name = "8 nodes, seed 100, nodes 25/100 Mbit, 256 MiB",
	 .nodes = 8,
	 CHUNKS(256, 256),
	 LINKS(100, 25, 100, 1),
	 BARS(.94)},
	{.name = "8 nodes, 100/100 Mbit, 8 MiB",
	 .nodes = 8,
	 CHUNKS(8, 256),
	 LINKS(100, 100, 100, 1),
	 .most_seconds = 1.5,
	 FEW(0)},
	{.name = "2 sites of 8 behind 20 Mbit, 64 MiB",
	 .nodes = 16,
	 CHUNKS(64, 256),
	 LINKS(100, 100, 100, 5),
	 .sites = 2,
	 .site_mbit = 20,
	 .most_site = 1.05,
	 BARS(.90)},
	{.name = "60 nodes, 100/100 Mbit, 64 MiB",
	 .nodes = 60,
	 CHUNKS(64, 256),
	 LINKS(100, 100, 100, 1),
	 FEW(.80)},
	{.name = "1,000 nodes, 100/100 Mbit, 256 MiB",
	 .nodes = 1000,
	 CHUNKS(256, 256),
	 LINKS(100, 100, 100, 1),
	 FEW(1 / 1.10)},
	{.name = "10,000 nodes, 100/100 Mbit, 256 MiB",
	 .nodes = 10000,
	 CHUNKS(256, 256),
	 .segment = KIB(128),
	 LINKS(100, 100, 100, 1),
	 FEW(1 / 1.15)},
};
const size_t swarm_bars_count = ARRAY_SIZE(swarm_bars);

#define SIXTEEN .nodes = 16, CHUNKS(128, 256), LINKS(100, 100, 100, 2)

const struct swarm_case swarm_faults[] = {
	{.name = "two nodes killed", SIXTEEN, .faults = {{FAULT_KILL, 1, 2, 40}}, FEW(.90)},
	{.name = "two nodes stall", SIXTEEN, .faults = {{FAULT_STALL, 1, 2, 30}}, BARS(.78)},
	{.name = "a node sends wrong bytes",
	 SIXTEEN,
	 .faults = {{FAULT_CORRUPT, 1, 1, 10}},
	 BARS(.85),
	 .names = 1u << FETCH_BAD},
	{.name = "a node lies in HAVE",
	 SIXTEEN,
	 .faults = {{FAULT_LIE, 1, 1, 10}},
	 BARS(.85),
	 .names = 1u << FETCH_LIAR},
	{.name = "a node is revoked", SIXTEEN, .faults = {{FAULT_REVOKE, 1, 1, 40}}, FEW(.90)},
	{.name = "the origin is killed",
	 .nodes = 8,
	 CHUNKS(256, 256),
	 LINKS(100, 25, 100, 2),
	 .faults = {{FAULT_ORIGIN, 1, 1, 45}},
	 BARS(.85)},
	{.name = "a node at a tenth of the rate",
	 SIXTEEN,
	 .slow = 1,
	 .slow_divisor = 10,
	 BARS(.82)},
	{.name = "a node joins late", SIXTEEN, .faults = {{FAULT_JOIN, 16, 1, 50}}, FEW(.90)},
	{.name = "full disks on half of the nodes",
	 SIXTEEN,
	 .faults = {{FAULT_FULL, 1, 8, 50}},
	 BARS(.85)},
	{.name = "half of the nodes stop serving",
	 SIXTEEN,
	 .faults = {{FAULT_CLOSE, 1, 8, 0}},
	 BARS(.85)},
	{.name = "limits of 40 up, 60 down",
	 SIXTEEN,
	 .limit_up_mbit = 40,
	 .limit_down_mbit = 60,
	 BARS(.85)},
	{.name = "60 nodes, everything at once",
	 .nodes = 60,
	 CHUNKS(64, 256),
	 LINKS(100, 100, 100, 2),
	 .slow = 2,
	 .slow_divisor = 10,
	 .faults = {{FAULT_KILL, 3, 3, 30},
		    {FAULT_STALL, 6, 2, 30},
		    {FAULT_CORRUPT, 8, 2, 10},
		    {FAULT_LIE, 10, 2, 20},
		    {FAULT_REVOKE, 12, 1, 50},
		    {FAULT_JOIN, 13, 3, 40},
		    {FAULT_FULL, 16, 4, 40}},
	 BARS(.45),
	 .names = 1u << FETCH_BAD | 1u << FETCH_LIAR},
};
const size_t swarm_faults_count = ARRAY_SIZE(swarm_faults);

#define SMALL .nodes = 8, CHUNKS(32, 256), LINKS(100, 100, 100, 2)

const struct swarm_case swarm_planted[BUG_COUNT] = {
	[BUG_UNVERIFIED] = {.name = "bytes are used unverified",
			    SMALL,
			    .faults = {{FAULT_CORRUPT, 1, 1, 10}}},
	[BUG_CREDIT] = {.name = "a node asks for more than its credit", SMALL},
	[BUG_RATE_UP] = {.name = "the limit for sending is forgotten", SMALL, .limit_up_mbit = 20},
	[BUG_RATE_DOWN] = {.name = "the limit for fetching is forgotten",
			   SMALL,
			   .limit_down_mbit = 20},
	[BUG_TWICE] = {.name = "a chunk is asked for twice", SMALL},
	[BUG_STRANGER] = {.name = "a revoked node is served",
			  SMALL,
			  .faults = {{FAULT_REVOKE, 1, 1, 30}}},
	[BUG_SEED] = {.name = "the origin forgets what is out", SMALL},
};
