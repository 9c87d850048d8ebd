/* SPDX-License-Identifier: Apache-2.0 */
/* The origin's shell in the swarm: messages to coordinator/core/seeding.h and back. Its slot for a
 * connection is the node's number. */
#include "tests/swarm/swarm.h"

static uint32_t wire_of(const struct swarm *s, uint32_t node)
{
	return s->nodes[node].wires[0];
}

void origin_hear(struct swarm *s, const struct swarm_event *event)
{
	uint32_t node = s->wires[event->a].node[event->b], chunk = (uint32_t)event->c;

	if (s->origin_gone)
		return;
	if (event->kind == SAY_CANCEL) {
		seeding_cancel(s->seeding, node, 0, chunk);
		return;
	}
	seeding_behind(s->seeding, node, event->d);
	switch (seeding_ask(s->seeding, node, 0, chunk, swarm_ms(s))) {
	case SEEDING_QUEUED:
		break;
	case SEEDING_ALL_OUT:
		links_say(s, SAY_ALL_OUT, event->a, event->b, chunk, 0);
		break;
	case SEEDING_LATER:
		links_say(s, SAY_LATER, event->a, event->b, chunk, 0);
		break;
	case SEEDING_REFUSED:
		links_say(s, SAY_REFUSED, event->a, event->b, chunk, 0);
		break;
	}
	origin_step(s);
}

void origin_taken(struct swarm *s, uint32_t node, uint64_t total)
{
	if (s->origin_gone)
		return;
	if (!seeding_taken(s->seeding, node, total, swarm_ms(s)))
		watch_violation(s, "the origin does not believe what node %u took", node);
	origin_step(s);
}

void origin_step(struct swarm *s)
{
	struct seeding_send send;
	uint64_t deadline;

	while (seeding_next(s->seeding, swarm_ms(s), &send)) {
		uint32_t wire = wire_of(s, send.node);

		if (send.chunk == SEEDING_ANY) {
			links_say(s, SAY_ALL_OUT, wire, 1, FETCH_ANY, 0);
			continue;
		}
		if (send.fresh)
			watch_fresh(s, send.node, send.chunk);
		if (s->bug == BUG_SEED) { /* forgets what is out */
			seeding_close(s->seeding, 0);
			seeding_open(s->seeding, 0, s->sizes, s->chunks);
		}
		watch_send(s, wire, 0, send.chunk);
		links_send(s, wire, 0, send.chunk, false);
	}
	deadline = seeding_deadline(s->seeding, swarm_ms(s));
	if (deadline == UINT64_MAX)
		return;
	deadline = (deadline > swarm_ms(s) ? deadline : swarm_ms(s) + 1) * SWARM_MS;
	if (deadline >= s->nodes[0].timer_at)
		return;
	s->nodes[0].timer_at = deadline;
	links_at(s, deadline, AT_TIMER, 0, 0, 0, 0);
}
