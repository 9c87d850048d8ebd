/* SPDX-License-Identifier: Apache-2.0 */
/* The order of things: a binary heap by time, then by the order in which they were pushed. */
#include "sim.h"

#include "base/mem.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->sequence < b->sequence;
}

void sim_push(struct sim *sim, uint64_t delay_ms, const struct sim_event *event)
{
	size_t i = sim->queue_count;
	struct sim_event new = *event;

	new.at_ms = sim->now_ms + delay_ms;
	new.sequence = ++sim->sequence;
	MEM_GROW(sim->queue, &sim->queue_cap, sim->queue_count);
	sim->queue_count++;
	for (; i > 0 && before(&new, &sim->queue[(i - 1) / 2]); i = (i - 1) / 2)
		sim->queue[i] = sim->queue[(i - 1) / 2];
	sim->queue[i] = new;
}

bool sim_pop(struct sim *sim, struct sim_event *ret_event)
{
	struct sim_event last;
	size_t i = 0, child;

	if (sim->queue_count == 0)
		return false;
	*ret_event = sim->queue[0];
	last = sim->queue[--sim->queue_count];
	while ((child = 2 * i + 1) < sim->queue_count) {
		if (child + 1 < sim->queue_count &&
		    before(&sim->queue[child + 1], &sim->queue[child]))
			child++;
		if (!before(&sim->queue[child], &last))
			break;
		sim->queue[i] = sim->queue[child];
		i = child;
	}
	sim->queue[i] = last;
	return true;
}

void sim_event_free(struct sim_event *event)
{
	free(event->data.data);
	if (event->reply)
		codec_free(&codec_helper_reply, event->reply);
	free(event->reply);
}

void sim_queue_free(struct sim *sim)
{
	for (size_t i = 0; i < sim->queue_count; i++)
		sim_event_free(&sim->queue[i]);
	free(sim->queue);
}
