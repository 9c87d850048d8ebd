/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The array is small, so every question is a walk over it: an item is blocked by any older item of
 * its key, whatever that one's state is.
 */
#include "agent/helper/queue.h"

#include "base/str.h"

#include <assert.h>

int queue_add(struct queue *queue, const char *key, bool needs_rules, size_t *ret_place)
{
	for (size_t i = 0; i < QUEUE_MAX; i++) {
		struct queue_item *item = &queue->items[i];

		if (item->state != QUEUE_FREE)
			continue;
		*item = (struct queue_item){QUEUE_WAITING, needs_rules, ++queue->order, ""};
		if (STR_SET(item->key, key)) {
			item->state = QUEUE_FREE;
			return -EINVAL;
		}
		*ret_place = i;
		return 0;
	}
	return -EBUSY;
}

static bool is_blocked(const struct queue *queue, const struct queue_item *item)
{
	for (size_t i = 0; i < QUEUE_MAX; i++) {
		const struct queue_item *other = &queue->items[i];

		if (other->state != QUEUE_FREE && other->order < item->order &&
		    str_equal(other->key, item->key))
			return true;
	}
	return false;
}

bool queue_next(struct queue *queue, bool rules, size_t *ret_place)
{
	struct queue_item *best = NULL;

	if (queue->running >= QUEUE_RUNNING_MAX)
		return false;
	for (size_t i = 0; i < QUEUE_MAX; i++) {
		struct queue_item *item = &queue->items[i];

		if (item->state != QUEUE_WAITING || (item->needs_rules && !rules) ||
		    (best && best->order < item->order) || is_blocked(queue, item))
			continue;
		best = item;
	}
	if (!best)
		return false;
	best->state = QUEUE_RUNNING;
	queue->running++;
	*ret_place = (size_t)(best - queue->items);
	return true;
}

void queue_remove(struct queue *queue, size_t place)
{
	assert(queue->items[place].state != QUEUE_FREE);
	if (queue->items[place].state == QUEUE_RUNNING)
		queue->running--;
	queue->items[place].state = QUEUE_FREE;
}

bool queue_has(const struct queue *queue, const char *key)
{
	for (size_t i = 0; i < QUEUE_MAX; i++)
		if (queue->items[i].state != QUEUE_FREE && str_equal(queue->items[i].key, key))
			return true;
	return false;
}
