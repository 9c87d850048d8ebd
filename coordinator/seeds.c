/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origin of releases that nodes exchange: their requests for numbered chunks go through the
 * seeding core, which says what is sent to whom next. A chunk goes from the disk into one message.
 * Everything here can be forgotten: a node that is refused asks for what it lacks by digest.
 */
#include "coordinator/exchange.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/chunk_data.h"

/* ---- refusals ---- */

static void refuse(struct coordinator *c, const struct shell_node *node,
		   const struct msg_refuse *refusal)
{
	struct bytes data = {0};

	if (message_encode(MESSAGE_SEED_REFUSE, refusal, &data, NULL) < 0)
		return;
	if (c->world.send_data(c->world.user, &node->record.id, data.data, data.size) < 0)
		free(data.data);
}

/* What it has asked for will not come: it asks by digest, and begins anew with an offer. */
static void dismiss(struct coordinator *c, uint32_t slot, uint32_t at)
{
	const struct shell_node *node = exchange_node(c, slot);
	const struct msg_refuse refusal = {.reason = REFUSAL_RELEASE,
					   .release = c->exchange->releases[at].release};

	if (node)
		refuse(c, node, &refusal);
}

/* ---- life ---- */

void seeds_start(struct coordinator *c)
{
	struct exchange *x = c->exchange;
	uint64_t seed = 0;

	for (uint32_t slot = 0; slot < c->slots_count; slot++) {
		const struct shell_node *node = c->slots[slot];
		bool known = false;

		if (!node || !exchange_is_thin(node) || x->sites_count == EXCHANGE_SITES)
			continue;
		for (uint32_t i = 0; i < x->sites_count; i++)
			known |= str_equal(x->sites[i], exchange_site(node));
		if (!known)
			STR_CUT(x->sites[x->sites_count++], exchange_site(node));
	}
	c->world.random(c->world.user, &seed, sizeof(seed));
	x->seeding = seeding_create(x->slots, x->sites_count + 1, seed);
	x->joined = mem_array(x->slots, sizeof(bool));
}

uint64_t seeds_rate(const struct coordinator *c)
{
	uint64_t rate = c->exchange ? seeding_rate(c->exchange->seeding) : 0;

	return rate ? rate : c->origin_rate;
}

void seeds_stop(struct coordinator *c)
{
	c->origin_rate = seeds_rate(c);
	seeding_free(c->exchange->seeding);
	free(c->exchange->joined);
}

void seeds_open(struct coordinator *c, uint32_t at)
{
	const struct chunk_list *list = c->exchange->releases[at].list;

	seeding_open(c->exchange->seeding, at, chunk_list_sizes(list), chunk_list_count(list));
}

void seeds_close(struct coordinator *c, uint32_t at)
{
	if (!c->exchange->releases[at].list)
		return;
	for (uint32_t slot = 0; slot < c->exchange->slots; slot++)
		if (c->exchange->joined[slot])
			dismiss(c, slot, at);
	seeding_close(c->exchange->seeding, at);
}

void seeds_left(struct coordinator *c, uint32_t slot)
{
	struct exchange *x = c->exchange;

	if (!x || slot >= x->slots || !x->joined[slot])
		return;
	seeding_leave(x->seeding, slot, shell_now(c));
	x->joined[slot] = false;
}

/* ---- sending ---- */

/* The node checks it, and asks by digest for what is not right: then we look, too (artifacts.c). */
static int read_chunk(struct coordinator *c, const struct shell_node *node,
		      const struct release_exchange *x, uint32_t chunk, struct bytes *ret_message)
{
	size_t size = chunk_list_sizes(x->list)[chunk], used;
	AUTO_FREE uint8_t *message = mem_resize(NULL, 1, CHUNK_DATA_HEAD_MAX + size);
	int r;

	used = chunk_data_head(message, MESSAGE_SEED_CHUNK, &x->release, chunk, size);
	r = c->world.object_peek(c->world.user, chunk_list_digest(x->list, chunk), message + used,
				 size);
	if (r < 0) {
		log_error("a chunk cannot be served: %s", strerror(-r));
		return r;
	}
	*ret_message = (struct bytes){TAKE_PTR(message), used + size};
	if (node->takes_coded)
		chunk_data_shrink(c->coding, MESSAGE_SEED_CHUNK,
				  &(struct chunk_data){.release = x->release, .chunk = chunk}, used,
				  ret_message);
	return 0;
}

static void send_one(struct coordinator *c, const struct seeding_send *send)
{
	const struct release_exchange *x = &c->exchange->releases[send->release];
	const struct shell_node *node = exchange_node(c, send->node);
	struct msg_refuse refusal = {.reason = REFUSAL_MISSING,
				     .release = x->release,
				     .chunk = send->chunk};
	struct bytes message = {0};
	int r = 0;

	if (!node)
		return;
	if (send->chunk == SEEDING_ANY) {
		refusal = (struct msg_refuse){
			.reason = REFUSAL_ALL_OUT,
			.release = x->release,
			.any = true,
			.neighbour = seeding_is_neighbour(c->exchange->seeding, send->node)};
		refuse(c, node, &refusal);
		return;
	}
	if (read_chunk(c, node, x, send->chunk, &message) < 0) {
		refuse(c, node, &refusal);
		return;
	}
	r = c->world.send_data(c->world.user, &node->record.id, message.data, message.size);
	if (r == 0)
		return;
	free(message.data);
	seeds_left(c, send->node); /* it is gone, and begins anew when it is back */
}

void seeds_step(struct coordinator *c)
{
	struct seeding_send send;

	while (c->exchange && seeding_next(c->exchange->seeding, shell_now(c), &send))
		send_one(c, &send);
}

uint64_t seeds_deadline(const struct coordinator *c)
{
	return c->exchange ? seeding_deadline(c->exchange->seeding, shell_now(c)) : UINT64_MAX;
}

/* ---- requests ---- */

static uint32_t group_of(const struct exchange *x, const struct shell_node *node)
{
	for (uint32_t i = 0; exchange_is_thin(node) && i < x->sites_count; i++)
		if (str_equal(x->sites[i], exchange_site(node)))
			return i + 1;
	return 0;
}

void seeds_held(struct coordinator *c, const struct shell_node *node, uint32_t at)
{
	struct exchange *x = c->exchange;
	const struct chunk_list *list = x->releases[at].list;
	uint32_t group = group_of(x, node);
	size_t size = (chunk_list_count(list) + 7) / 8;
	AUTO_FREE uint8_t *bits = NULL;

	if (seeding_left(x->seeding, at, group) == 0)
		return;
	bits = mem_alloc(size);
	memset(bits, 0xff, size);
	if (!x->joined[node->slot])
		seeding_join(x->seeding, node->slot, group);
	(void)!seeding_have(x->seeding, node->slot, at, bits, size);
	if (!x->joined[node->slot])
		seeding_leave(x->seeding, node->slot, shell_now(c));
}

/* The release's place, when the node takes part in its exchange. */
static struct release_exchange *admit(struct coordinator *c, const struct shell_node *node,
				      const struct digest *release, uint32_t *ret_at)
{
	struct release_exchange *x = exchange_find(c, release, ret_at);

	return x && x->list && node->slot < c->exchange->slots && !node->record.revoked &&
			       !node->record.pending &&
			       (desired_has_release(node, release) ||
				deltas_may_have(c, node, release))
		       ? x
		       : NULL;
}

static void on_offer(struct coordinator *c, const struct shell_node *node,
		     const struct msg_offer *offer)
{
	struct msg_refuse refusal = {.reason = REFUSAL_RELEASE, .release = offer->release};
	struct exchange *x = c->exchange;
	uint32_t at;

	if (!admit(c, node, &offer->release, &at)) {
		refuse(c, node, &refusal);
		return;
	}
	if (offer->first)
		seeds_left(c, node->slot);
	if (!x->joined[node->slot] && !offer->first) { /* it speaks to a past of ours */
		refuse(c, node, &refusal);
		return;
	}
	if (!x->joined[node->slot]) {
		seeding_join(x->seeding, node->slot, group_of(x, node));
		x->joined[node->slot] = true;
	}
	if (seeding_have(x->seeding, node->slot, at, offer->bitmap.data, offer->bitmap.size) < 0)
		refuse(c, node, &refusal);
}

/* Who says that it took more than it was sent counts from another beginning: it begins anew. */
static void taken(struct coordinator *c, const struct shell_node *node, uint64_t total)
{
	struct exchange *x = c->exchange;

	if (!x || node->slot >= x->slots || !x->joined[node->slot] ||
	    seeding_taken(x->seeding, node->slot, total, shell_now(c)))
		return;
	log_info("node %s says that it took more than it was sent", node->record.name);
	seeds_left(c, node->slot);
	for (uint32_t at = 0; at < SEEDING_RELEASES; at++)
		if (x->releases[at].used)
			dismiss(c, node->slot, at);
}

static void on_request(struct coordinator *c, struct shell_node *node,
		       const struct msg_request *request)
{
	static const enum refusal reasons[] = {[SEEDING_ALL_OUT] = REFUSAL_ALL_OUT,
					       [SEEDING_LATER] = REFUSAL_LATER,
					       [SEEDING_REFUSED] = REFUSAL_BUSY};
	struct msg_refuse refusal = {.reason = REFUSAL_RELEASE,
				     .release = request->release,
				     .chunk = request->chunk,
				     .any = request->any};
	struct exchange *x = c->exchange;
	enum seeding_answer answer = SEEDING_REFUSED;
	uint32_t at;

	node->takes_coded = request->takes_coded;
	taken(c, node, request->taken);
	if (admit(c, node, &request->release, &at) && x->joined[node->slot]) {
		seeding_behind(x->seeding, node->slot, request->behind);
		answer = seeding_ask(x->seeding, node->slot, at,
				     request->any ? SEEDING_ANY : request->chunk, shell_now(c));
		if (answer == SEEDING_QUEUED)
			return;
		refusal.reason = reasons[answer];
		refusal.neighbour = seeding_is_neighbour(x->seeding, node->slot);
	}
	refuse(c, node, &refusal);
}

static void on_cancel(struct coordinator *c, const struct shell_node *node,
		      const struct msg_request *request)
{
	uint32_t at;

	taken(c, node, request->taken);
	if (admit(c, node, &request->release, &at) && c->exchange->joined[node->slot])
		seeding_cancel(c->exchange->seeding, node->slot, at,
			       request->any ? SEEDING_ANY : request->chunk);
}

void seeds_message(struct coordinator *c, struct shell_node *node, const struct message *message)
{
	switch ((int)message->type) {
	case MESSAGE_SEED_OFFER:
		on_offer(c, node, message->body);
		break;
	case MESSAGE_SEED_REQUEST:
		on_request(c, node, message->body);
		break;
	case MESSAGE_SEED_CANCEL:
		on_cancel(c, node, message->body);
		break;
	case MESSAGE_SEED_TAKEN:
		taken(c, node, ((const struct msg_taken *)message->body)->taken);
		break;
	default:
		return;
	}
	seeds_step(c);
	if (c->exchange)
		c->world.arm_timer(c->world.user, coordinator_deadline(c));
}
