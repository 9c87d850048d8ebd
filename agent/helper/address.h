/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which addresses, ids and ports a slot has. A slot's number comes from its name (hash, then the
 * next free one) and is written down, so that it stays over restarts and reboots. Slot n of subnet S has
 * the four addresses from S+4n: +1 the node's end, +2 the slot's. IPv6: fd.. unique local
 * addresses (RFC 4193) whose global id comes from the instance, one /64 a slot.
 */
#pragma once

#include "agent/helper/worker.h"

enum { ADDRESS_SLOTS_MAX = 16384, ADDRESS6_MAX = 46 };

struct address {
	uint32_t index;
	char node4[16], slot4[16];
	char node6[ADDRESS6_MAX], slot6[ADDRESS6_MAX];
};

/* "10.213.0.0/16", "fd..::/48" */
void address_subnet4(const struct agent_config *config, char dst[24]);
void address_subnet6(const struct agent_config *config, char dst[ADDRESS6_MAX]);
void address_of(const struct agent_config *config, uint32_t index, struct address *ret_address);
uint32_t address_slots(const struct agent_config *config); /* how many the subnet holds */

/* The slot's number; a new one is written down before it is used. -EADDRNOTAVAIL: all taken. */
int address_claim(struct worker *worker, const struct slot_name *slot, uint32_t *ret_index,
                  struct err *err) COVEY_MUST_CHECK;
/* The number that the slot has already; -ENOENT: none. */
int address_find(struct worker *worker, const struct slot_name *slot, uint32_t *ret_index,
                 struct err *err) COVEY_MUST_CHECK;
/* The slot's range of ids (idmap.h). -EADDRNOTAVAIL. */
int address_claim_ids(struct worker *worker, const struct slot_name *slot, uint32_t *ret_range,
                      struct err *err) COVEY_MUST_CHECK;
/* The slot's PORT with network: host, on which nobody listens now. -EADDRNOTAVAIL. */
int address_claim_port(struct worker *worker, const struct slot_name *slot, uint32_t *ret_port,
                       struct err *err) COVEY_MUST_CHECK;

/* The subnet must not overlap with a route or an address that the node has already, other than
 * our own interfaces. -EADDRINUSE and a sentence that names it. */
int address_check_overlap(const struct agent_config *config, struct err *err) COVEY_MUST_CHECK;
bool address_ipv6(void); /* does this node have IPv6? */
