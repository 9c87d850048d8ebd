/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which request may run now. Pure: requests with the same key run one after the other in the order
 * in which they came, those with different keys side by side, a bounded number at once and a
 * bounded number altogether. Items are known by their place in the array.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUEUE_MAX = 64, QUEUE_RUNNING_MAX = 8, QUEUE_KEY_MAX = 80 };

enum queue_state { QUEUE_FREE, QUEUE_WAITING, QUEUE_RUNNING };

struct queue_item {
	enum queue_state state;
	bool needs_rules; /* waits until the firewall's rules stand */
	uint64_t order;
	char key[QUEUE_KEY_MAX];
};

struct queue {
	struct queue_item items[QUEUE_MAX];
	uint64_t order;
	size_t running;
};

/* -EBUSY: full. */
int queue_add(struct queue *queue, const char *key, bool needs_rules,
              size_t *ret_place) COVEY_MUST_CHECK;
/* Picks the oldest one that may run and marks it as running. False: none. */
bool queue_next(struct queue *queue, bool rules, size_t *ret_place);
void queue_remove(struct queue *queue, size_t place);
/* Is there an item with this key, running or waiting? */
bool queue_has(const struct queue *queue, const char *key);
