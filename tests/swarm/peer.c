/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's shell in the swarm: messages to the cores and back, as agent/core/fetch.h and
 * agent/core/serve.h ask for. A connection's slot in serve is its place in wires[]; slot 0 is the
 * origin's. Its id as a source is the number of the wire.
 */
#include "tests/swarm/swarm.h"

#include <assert.h>

enum { RELEASE = 0 };

static uint32_t slot_for(const struct swarm_node *n)
{
	for (uint32_t i = 1; i < SWARM_SLOTS; i++)
		if (n->wires[i] == SWARM_NONE)
			return i;
	return SWARM_NONE;
}

static uint32_t wire_between(const struct swarm *s, uint32_t a, uint32_t b)
{
	for (uint32_t i = 0; i < SWARM_SLOTS; i++) {
		uint32_t wire = s->nodes[a].wires[i];

		if (wire != SWARM_NONE &&
		    (s->wires[wire].node[0] == b || s->wires[wire].node[1] == b))
			return wire;
	}
	return SWARM_NONE;
}

static bool wants(const struct swarm_node *n)
{
	return n->here && !n->killed && !n->revoked && !n->full && !n->done;
}

/* ---- asking ---- */

static void ask(struct swarm *s, uint32_t node, const struct fetch_request *q)
{
	uint32_t side = s->wires[q->source].node[1] == node;

	watch_request(s, q->source, side, q);
	bucket_take(&s->nodes[node].bucket, q->size, swarm_ms(s));
	links_say(s, SAY_REQUEST, q->source, side, q->chunk, fetch_is_behind(s->nodes[node].fetch));
}

static void blame(struct swarm *s, uint32_t node)
{
	struct fetch_blame b;

	while (fetch_next_blame(s->nodes[node].fetch, &b)) {
		uint32_t other = s->wires[b.source].node[s->wires[b.source].node[0] == node];
		const struct swarm_node *n = &s->nodes[other];

		s->blamed[b.fault]++;
		if ((b.fault == FETCH_BAD && !n->corrupt) || (b.fault == FETCH_LIAR && !n->liar))
			watch_violation(s, "node %u blames node %u, which is honest", node, other);
		if (b.fault == FETCH_STALLED || other == 0)
			continue;
		watch_broken(s, b.source, s->wires[b.source].node[1] == node);
		neighbours_failed(s->graph, node, other, true);
		peer_break(s, b.source);
	}
}

/* True: it did something, and waits for another time than before. */
static bool fetch_step(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	struct fetch_request q;
	bool asked = false;

	if (!wants(n))
		return false;
	while (fetch_next_cancel(n->fetch, &q)) {
		uint32_t side = s->wires[q.source].node[1] == node;

		watch_closed(s, q.source, side, q.chunk);
		links_say(s, SAY_CANCEL, q.source, side, q.chunk, 0);
	}
	blame(s, node);
	while ((bucket_allows(&n->bucket, swarm_ms(s)) || s->bug == BUG_RATE_DOWN) &&
	       fetch_next(n->fetch, swarm_ms(s), rng_next(&s->rng), &q)) {
		ask(s, node, &q);
		asked = true;
	}
	return asked;
}

static void serve_step(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	struct serve_send send;

	while (!n->killed && serve_next(n->serve, swarm_ms(s), &send)) {
		uint32_t wire = n->wires[send.neighbour];
		uint32_t side = s->wires[wire].node[1] == node;

		watch_send(s, wire, side, send.chunk);
		links_send(s, wire, side, send.chunk, n->corrupt);
	}
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void arm(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	uint64_t now = swarm_ms(s), at = serve_deadline(n->serve, now);

	if (wants(n)) {
		at = earlier(at, fetch_deadline(n->fetch));
		if (!bucket_allows(&n->bucket, now))
			at = earlier(at, bucket_ready_ms(&n->bucket, now));
	}
	if (at == UINT64_MAX)
		return;
	at = (at > now ? at : now + 1) * SWARM_MS;
	if (at >= n->timer_at)
		return;
	n->timer_at = at;
	links_at(s, at, AT_TIMER, node, 0, 0, 0);
}

void peer_step(struct swarm *s, uint32_t node)
{
	if (s->nodes[node].killed || !s->nodes[node].here)
		return;
	fetch_step(s, node);
	serve_step(s, node);
	arm(s, node);
}

/* ---- connections ---- */

static void add_source(struct swarm_node *n, uint32_t wire, enum fetch_kind kind)
{
	int r = fetch_add_source(n->fetch, wire, kind);

	assert(r == 0); /* wires have numbers of their own, and the graph has a bound */
}

static void greet(struct swarm *s, uint32_t wire, uint32_t side)
{
	const struct wire *w = &s->wires[wire];
	struct swarm_node *n = &s->nodes[w->node[side]], *other = &s->nodes[w->node[!side]];

	add_source(n, wire, FETCH_PEER);
	if (s->bug == BUG_CREDIT)
		fetch_set_credit(n->fetch, wire, 64 << 20);
	if (n->site != other->site)
		fetch_set_role(n->fetch, wire, FETCH_RESERVE);
	serve_join(n->serve, w->slot[side]);
	serve_assign(n->serve, w->slot[side], RELEASE, true);
	fetch_done_bits(other->fetch, s->bits);
	if (other->liar)
		memset(s->bits, 0xff, s->chunks / 8 + 1);
	fetch_have_bits(n->fetch, wire, s->bits, (s->chunks + 7) / 8);
}

static void connect_nodes(struct swarm *s, uint32_t a, uint32_t b)
{
	uint32_t sa = slot_for(&s->nodes[a]), sb = slot_for(&s->nodes[b]), wire;

	if (sa == SWARM_NONE || sb == SWARM_NONE)
		return;
	wire = links_connect(s, a, b);
	s->wires[wire].slot[0] = sa;
	s->wires[wire].slot[1] = sb;
	s->nodes[a].wires[sa] = s->nodes[b].wires[sb] = wire;
	greet(s, wire, 0);
	greet(s, wire, 1);
}

static bool is_neighbour(const struct neighbour *items, size_t count, uint32_t node)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].node == node)
			return true;
	return false;
}

static void rewire(struct swarm *s, uint32_t node)
{
	struct neighbour items[NEIGHBOURS_MAX];
	size_t count = neighbours_of(s->graph, node, items);
	struct swarm_node *n = &s->nodes[node];

	fetch_set_all(n->fetch, !neighbours_is_sparse(s->graph));
	serve_set_all(n->serve, !neighbours_is_sparse(s->graph));
	for (uint32_t i = 1; i < SWARM_SLOTS; i++) {
		uint32_t wire = n->wires[i], other;

		if (wire == SWARM_NONE)
			continue;
		other = s->wires[wire].node[s->wires[wire].node[0] == node];
		if (!is_neighbour(items, count, other) && s->bug != BUG_STRANGER)
			peer_break(s, wire);
	}
	for (size_t i = 0; i < count; i++)
		if (wire_between(s, node, items[i].node) == SWARM_NONE)
			connect_nodes(s, node, items[i].node);
}

void peer_rewire(struct swarm *s)
{
	uint32_t node;

	while (neighbours_next_changed(s->graph, &node)) {
		rewire(s, node);
		if (s->now > SWARM_START)
			peer_step(s, node);
	}
}

void peer_break(struct swarm *s, uint32_t wire)
{
	if (!s->wires[wire].up)
		return;
	s->wires[wire].up = false;
	links_say(s, SAY_DOWN, wire, 0, 0, 0);
}

static void broken(struct swarm *s, uint32_t wire, uint32_t side)
{
	uint32_t node = s->wires[wire].node[side], slot = s->wires[wire].slot[side];
	struct swarm_node *n = &s->nodes[node];

	watch_broken(s, wire, side);
	if (node == 0) {
		if (!s->origin_gone)
			seeding_leave(s->seeding, s->wires[wire].node[1], swarm_ms(s));
		watch_left(s, s->wires[wire].node[1]);
		return;
	}
	fetch_remove_source(n->fetch, wire);
	n->wires[slot] = SWARM_NONE;
	if (slot)
		serve_leave(n->serve, slot);
	peer_step(s, node);
}

void peer_start(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];
	struct neighbours_node about = {.site = n->site, .thin = n->site > 0};
	int r = neighbours_join(s->graph, node, &about);

	assert(r == 0);
	n->here = true;
	if (!s->origin_gone) {
		n->wires[0] = links_connect(s, 0, node);
		seeding_join(s->seeding, node, n->site);
		add_source(n, n->wires[0], FETCH_ORIGIN);
		fetch_set_role(n->fetch, n->wires[0], FETCH_SEED);
	}
}

/* ---- hearing ---- */

static void on_request(struct swarm *s, uint32_t wire, uint32_t side, uint32_t chunk)
{
	uint32_t node = s->wires[wire].node[!side], slot = s->wires[wire].slot[!side];
	struct swarm_node *n = &s->nodes[node];
	enum serve_verdict verdict;

	if (n->liar || (!fetch_is_done(n->fetch, chunk) && !n->corrupt)) {
		links_say(s, SAY_MISSING, wire, side, chunk, 0);
		return;
	}
	verdict = serve_ask(n->serve, slot, RELEASE, chunk, s->sizes[chunk]);
	if (verdict == SERVE_OVERRUN && s->bug == BUG_NONE)
		watch_violation(s, "node %u refuses an honest request", node);
	if (verdict != SERVE_QUEUED)
		links_say(s, SAY_REFUSED, wire, side, chunk, 0);
	peer_step(s, node);
}

/* Whoever lacks it hears it, and who sent it, with how much came. */
static void on_have(struct swarm *s, const struct swarm_event *event)
{
	const struct swarm_node *n = &s->nodes[event->a];
	const struct wire *via = &s->wires[event->b];
	uint32_t side = via->node[0] == event->a, from = via->node[side];

	if (via->up && from == 0)
		origin_taken(s, event->a, event->d);
	if (via->up && from && !s->nodes[from].killed) {
		if (!serve_taken(s->nodes[from].serve, via->slot[side], event->d, swarm_ms(s)))
			watch_violation(s, "node %u does not believe what node %u took", from,
					event->a);
		serve_step(s, from);
		arm(s, from);
	}
	for (uint32_t i = 1; event->c != SWARM_NONE && i < SWARM_SLOTS; i++) {
		uint32_t wire = n->wires[i], other;

		if (wire == SWARM_NONE || !s->wires[wire].up ||
		    (wire != event->b && !fetch_lacks(n->fetch, wire, (uint32_t)event->c)))
			continue;
		other = s->wires[wire].node[s->wires[wire].node[0] == event->a];
		fetch_have(s->nodes[other].fetch, wire, (uint32_t)event->c);
		if (fetch_step(s, other))
			arm(s, other);
	}
}

static void finish(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];

	for (uint32_t c = 0; c < s->chunks; c++)
		if (!(n->watch.good[c / 64] >> (c % 64) & 1))
			watch_violation(s, "node %u is complete without chunk %u", node, c);
	n->done = true;
	n->finish = s->now;
	s->unfinished -= !n->excused;
}

static void on_arrive(struct swarm *s, uint32_t wire, uint32_t side, uint32_t flagged)
{
	uint32_t node = s->wires[wire].node[side], chunk = flagged & ~CHUNK_BAD;
	struct swarm_node *n = &s->nodes[node];
	struct wire_side *me = &s->wires[wire].side[side];
	bool bad = flagged & CHUNK_BAD, taken = false;

	if (!s->wires[wire].up || n->killed)
		return;
	me->taken += s->sizes[chunk];
	n->watch.bytes_in += s->sizes[chunk];
	watch_closed(s, wire, side, chunk);
	if (bad && s->bug != BUG_UNVERIFIED) {
		fetch_received_bad(n->fetch, wire);
	} else if (!n->full) {
		taken = fetch_received(n->fetch, wire, chunk, swarm_ms(s)) == FETCH_TAKEN;
		n->watch.bytes_duplicate += taken ? 0 : s->sizes[chunk];
	}
	if (taken)
		watch_taken(s, node, chunk, bad);
	links_say(s, SAY_HAVE, node, wire, taken ? chunk : SWARM_NONE, me->taken);
	if (!n->done && !n->full && fetch_state(n->fetch) == FETCH_COMPLETE) {
		peer_step(s, node); /* cancels what is under way */
		finish(s, node);
	}
	if (s->bug == BUG_TWICE && taken) { /* forgets to cancel */
		fetch_source_down(n->fetch, wire);
		fetch_source_up(n->fetch, wire);
	}
	peer_step(s, node);
}

static void on_timer(struct swarm *s, const struct swarm_event *event)
{
	struct swarm_node *n = &s->nodes[event->a];

	if (event->at != n->timer_at)
		return;
	n->timer_at = UINT64_MAX;
	if (event->a == 0) {
		if (!s->origin_gone)
			origin_step(s);
		return;
	}
	if (wants(n))
		fetch_tick(n->fetch, swarm_ms(s), rng_next(&s->rng));
	peer_step(s, event->a);
}

/* What was said to a node about a request of its own. */
static void on_answer(struct swarm *s, const struct swarm_event *event)
{
	uint32_t node = s->wires[event->a].node[event->b], chunk = (uint32_t)event->c;
	struct swarm_node *n = &s->nodes[node];
	bool neighbour = seeding_is_neighbour(s->seeding, node);

	if (n->killed)
		return;
	if (event->kind != SAY_ALL_OUT)
		watch_closed(s, event->a, event->b, chunk);
	if (event->kind == SAY_MISSING)
		fetch_received_missing(n->fetch, event->a, chunk);
	if (event->kind == SAY_REFUSED)
		fetch_received_refusal(n->fetch, event->a, chunk, swarm_ms(s));
	if (event->kind == SAY_LATER)
		fetch_received_later(n->fetch, event->a, chunk, swarm_ms(s));
	if (event->kind == SAY_ALL_OUT) {
		while (watch_closed(s, event->a, event->b, FETCH_ANY))
			;
		fetch_set_role(n->fetch, event->a, neighbour ? FETCH_NEIGHBOUR : FETCH_RESERVE);
	}
	peer_step(s, node);
}

void peer_hear(struct swarm *s, const struct swarm_event *event)
{
	const struct wire *w = &s->wires[event->a]; /* unless it names a node */

	switch ((enum swarm_kind)event->kind) {
	case SAY_REQUEST:
	case SAY_CANCEL:
		if (!w->up || s->nodes[w->node[!event->b]].killed)
			break;
		if (w->node[!event->b] == 0)
			origin_hear(s, event);
		else if (event->kind == SAY_REQUEST)
			on_request(s, event->a, event->b, (uint32_t)event->c);
		else
			serve_cancel(s->nodes[w->node[!event->b]].serve, w->slot[!event->b],
				     RELEASE, (uint32_t)event->c);
		break;
	case SAY_MISSING:
	case SAY_REFUSED:
	case SAY_LATER:
	case SAY_ALL_OUT:
		if (w->up)
			on_answer(s, event);
		break;
	case SAY_HAVE:
		on_have(s, event);
		break;
	case SAY_DOWN:
		broken(s, event->a, 0);
		broken(s, event->a, 1);
		peer_rewire(s);
		break;
	case AT_UPLINK:
		links_on_uplink(s, event->a);
		break;
	case AT_SITE:
		links_on_site(s, event);
		break;
	case AT_ARRIVE:
		on_arrive(s, event->a, event->b, (uint32_t)event->c);
		break;
	case AT_TIMER:
		on_timer(s, event);
		break;
	case AT_FAULT:
		peer_fault(s, &s->about->faults[event->a], event->b);
		break;
	}
}

/* ---- faults ---- */

static void excuse(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];

	s->unfinished -= !n->done && !n->excused;
	n->excused = true;
}

static void go_away(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];

	n->done = true;
	for (uint32_t i = 0; i < SWARM_SLOTS; i++)
		if (n->wires[i] != SWARM_NONE && (s->bug != BUG_STRANGER || n->killed))
			peer_break(s, n->wires[i]);
	neighbours_leave(s->graph, node);
}

static void lie(struct swarm *s, uint32_t node)
{
	s->nodes[node].liar = true;
	for (uint32_t i = 1; i < SWARM_SLOTS; i++) {
		uint32_t wire = s->nodes[node].wires[i];

		for (uint32_t c = 0; wire != SWARM_NONE && c < s->chunks; c++) {
			uint32_t other = s->wires[wire].node[s->wires[wire].node[0] == node];

			fetch_have(s->nodes[other].fetch, wire, c);
		}
	}
}

/* A full disk takes nothing more: the node gives up, and the rest is not waited for. */
static void fill_disk(struct swarm *s, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];

	for (uint32_t i = 0; i < SWARM_SLOTS; i++) {
		uint32_t wire = n->wires[i];

		if (wire == SWARM_NONE)
			continue;
		fetch_source_down(n->fetch, wire);
		watch_broken(s, wire, s->wires[wire].node[1] == node);
	}
	n->full = n->done = true;
	if (n->wires[0] != SWARM_NONE) /* an agent that fetches nothing leaves the data channel */
		peer_break(s, n->wires[0]);
}

void peer_fault(struct swarm *s, const struct fault *fault, uint32_t node)
{
	struct swarm_node *n = &s->nodes[node];

	if (fault->kind != FAULT_ORIGIN)
		excuse(s, node);
	switch (fault->kind) {
	case FAULT_KILL:
		n->killed = true;
		go_away(s, node);
		break;
	case FAULT_STALL:
		n->stalled = true;
		break;
	case FAULT_CORRUPT:
		n->corrupt = true;
		break;
	case FAULT_LIE:
		lie(s, node);
		break;
	case FAULT_REVOKE:
		n->revoked = true;
		go_away(s, node);
		break;
	case FAULT_ORIGIN:
		s->origin_gone = true;
		for (uint32_t i = 1; i <= s->about->nodes; i++)
			if (s->nodes[i].here && s->nodes[i].wires[0] != SWARM_NONE)
				peer_break(s, s->nodes[i].wires[0]);
		break;
	case FAULT_JOIN:
		peer_start(s, node);
		break;
	case FAULT_FULL:
		fill_disk(s, node);
		break;
	case FAULT_CLOSE:
		serve_set_limits(n->serve, false, 0, swarm_ms(s));
		break;
	}
	peer_rewire(s);
	peer_step(s, node);
}
