/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire between a slot and the node: a veth pair whose one end lies in the container's network
 * namespace, as eth0. Namespace and wire die with the container; slotnet_down() only makes sure.
 */
#pragma once

#include "agent/helper/address.h"
#include "base/str.h"

#include <sys/types.h>

struct slotnet {
	char interface[INTERFACE_MAX]; /* on the node */
	struct address address;
	char subnet4[24], subnet6[ADDRESS6_MAX];
	bool ipv6;
};

void slotnet_plan(const struct agent_config *config, uint32_t index, bool egress,
                  struct slotnet *ret_net);
/* Input for `ip -batch`: the node's half and the slot's half. */
void slotnet_node_batch(const struct slotnet *net, pid_t container, struct str *ret_text);
void slotnet_slot_batch(const struct slotnet *net, struct str *ret_text);

/* Connects the namespace of process `container`, which has no eth0 yet. */
int slotnet_up(struct worker *worker, const struct slotnet *net, pid_t container,
               struct err *err) COVEY_MUST_CHECK;
/* 0 also when there was nothing. */
int slotnet_down(struct worker *worker, uint32_t index, struct err *err) COVEY_MUST_CHECK;
/* Connections that the node still tracks to a slot are forgotten: what clients send on them is
 * answered with a reset by whoever serves now. Returns how many, also those that had ended. */
int slotnet_forget(const char *address4, const char *address6);
