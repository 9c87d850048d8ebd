/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices when somebody else changes or flushes our nftables table: the kernel tells every change
 * of the rule set over netlink, with the name of the program that made it. No polling; our own
 * worker's changes are known by its name.
 */
#pragma once

#include "agent/helper/loop.h"

struct rules {
	struct loop_source source;
	char table[32];
	char worker[16]; /* name of the program whose changes are ours (at most 15 characters) */
	bool touched;    /* by the transaction that is being told now */
	void (*changed)(void *context);
	void *context;
};

/* changed() is called for each foreign transaction that touches the table. */
int rules_open(struct rules *rules, struct loop *loop, const char *table, const char *worker,
               void (*changed)(void *context), void *context, struct err *err) COVEY_MUST_CHECK;
void rules_close(struct rules *rules, struct loop *loop);

/* One packet of the kernel's; true: a foreign transaction that touched the table is complete. */
bool rules_take(struct rules *rules, const void *data, size_t size);
