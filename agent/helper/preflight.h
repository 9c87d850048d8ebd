/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can this release run on this node, in this deployment? Asked before anything that runs is
 * touched. The first check that fails is named (reply.check) with one sentence. A release that may
 * run but about which a person should know something has error 0, and check and text.
 *
 * manifest system runtime disk memory limits devices port subnet: refusals
 * firewall: a warning
 */
#pragma once

#include "agent/helper/worker.h"

int preflight_check(struct worker *worker, struct err *err) COVEY_MUST_CHECK;
/* HELLO: which runtime there is. */
int preflight_hello(struct worker *worker, struct err *err) COVEY_MUST_CHECK;

/* The chain of a `nft -j list chains` answer that drops forwarded packets by default and is not in
 * the table `ours`: "inet filter forward", or "" when there is none. */
void preflight_foreign_drop(const char *json, const char *ours, char *dst, size_t dst_size);
