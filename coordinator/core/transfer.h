/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long links need at least for what a plan moves: pure. With exchange all nodes have theirs no
 * sooner than max{ D/u_o, max F_i/r_i, sum F_i/(u_o + sum r_i) }: D bytes leave the origin at least
 * once, node i needs F_i (Kumar, Ross: "Peer-assisted file distribution: the minimum distribution
 * time", IEEE HotWeb 2006); without it, max{ sum F_i/u_o, max F_i/r_i }. A node's link is taken to
 * carry as much up as down. Bytes, bytes a second, milliseconds.
 */
#pragma once

#include <stdint.h>

enum { TRANSFER_UNKNOWN = -1 };

struct transfer { /* all zero: nothing moves */
	uint64_t origin_bytes, origin_rate; /* D, u_o; rate 0: not known */
	uint64_t bytes, rates;		    /* of the nodes that were added, together */
	uint64_t slowest_ms;		    /* of the nodes whose rate is known */
	uint32_t nodes, unknown;	    /* that need bytes; whose rate is not known */
};

/* rate 0: not known; the node's own link is then left out, its bytes are not. */
void transfer_add(struct transfer *transfer, uint64_t bytes, uint64_t rate);
/* Both: TRANSFER_UNKNOWN where the rates that are known say nothing. What is not known is taken for
 * as fast as need be. */
int64_t transfer_exchange_ms(const struct transfer *transfer);
int64_t transfer_alone_ms(const struct transfer *transfer); /* from the origin; needs its rate */
