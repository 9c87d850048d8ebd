/* SPDX-License-Identifier: Apache-2.0 */
/* The order of things: a binary heap by time, then by the order in which they were pushed. */
#include "sim.h"

#include "base/mem.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->sequence < b->sequence;
}

static void swap(struct sim *sim, size_t i, size_t j)
{
	struct sim_event event = sim->queue[i];

	sim->queue[i] = sim->queue[j];
	sim->queue[j] = event;
}

void sim_push(struct sim *sim, uint64_t delay_ms, const struct sim_event *event)
{
	size_t i = sim->queue_count;

	MEM_GROW(sim->queue, &sim->queue_cap, sim->queue_count);
	sim->queue[i] = *event;
	sim->queue[i].at_ms = sim->now_ms + delay_ms;
	sim->queue[i].sequence = ++sim->sequence;
	sim->queue_count++;
	for (; i > 0 && before(&sim->queue[i], &sim->queue[(i - 1) / 2]); i = (i - 1) / 2)
		swap(sim, i, (i - 1) / 2);
}

bool sim_pop(struct sim *sim, struct sim_event *ret_event)
{
	size_t i = 0, child;

	if (sim->queue_count == 0)
		return false;
	*ret_event = sim->queue[0];
	sim->queue[0] = sim->queue[--sim->queue_count];
	while ((child = 2 * i + 1) < sim->queue_count) {
		if (child + 1 < sim->queue_count &&
		    before(&sim->queue[child + 1], &sim->queue[child]))
			child++;
		if (!before(&sim->queue[child], &sim->queue[i]))
			break;
		swap(sim, i, child);
		i = child;
	}
	return true;
}

void sim_queue_free(struct sim *sim)
{
	for (size_t i = 0; i < sim->queue_count; i++) {
		free(sim->queue[i].data.data);
		if (sim->queue[i].reply)
			codec_free(&codec_helper_reply, sim->queue[i].reply);
		free(sim->queue[i].reply);
	}
	free(sim->queue);
}
