/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pairs of releases have a delta set, and which get one. A pair is wanted when a node that
 * must have the target says that it holds the base, when a release is pushed and a deployment of
 * its model serves another, and when a plan is made. Nothing else is made: the number of pairs is
 * that of the bases in the fleet. Work goes on between events, a step at a time with a pause as
 * long as the step, so that nodes and operators are answered meanwhile. What was wanted is not
 * written down: whoever still wants it after a restart asks again.
 */
#include "coordinator/delta_work.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "coordinator/exchange.h"
#include "protocol/delta_set.h"

enum { RETRY_MS = 500, PAUSE_MIN_MS = 1 };

static struct shell_delta *find(const struct coordinator *c, const struct digest *target,
				const struct digest *base)
{
	for (size_t i = 0; i < c->deltas_count; i++)
		if (digest_equal(&c->deltas[i].record.target, target) &&
		    digest_equal(&c->deltas[i].record.base, base))
			return &c->deltas[i];
	return NULL;
}

static struct shell_delta *insert(struct coordinator *c, const struct store_delta *record)
{
	MEM_GROW(c->deltas, &c->deltas_cap, c->deltas_count);
	c->deltas[c->deltas_count] = (struct shell_delta){.record = *record};
	return &c->deltas[c->deltas_count++];
}

static int load(void *arg, const struct store_delta *record)
{
	insert(arg, record)->state = SHELL_DELTA_MADE;
	return 0;
}

int deltas_load(struct coordinator *c, struct err *err)
{
	return c->store->ops->delta_each(c->store, load, c, err);
}

void deltas_free_all(struct coordinator *c)
{
	if (c->delta_work)
		delta_work_free(c->delta_work);
	free(c->deltas);
}

void deltas_forget(struct coordinator *c, const struct digest *release)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->deltas_count; i++)
		if (!digest_equal(&c->deltas[i].record.target, release) &&
		    !digest_equal(&c->deltas[i].record.base, release))
			c->deltas[kept++] = c->deltas[i];
	c->deltas_count = kept;
	if (c->delta_work && delta_work_is_about(c->delta_work, release)) {
		delta_work_free(c->delta_work);
		c->delta_work = NULL;
	}
}

/* ---- what is wanted ---- */

const struct shell_delta *deltas_want(struct coordinator *c, const struct digest *target,
				      const struct digest *base)
{
	const struct store_release *to = artifacts_find(c, target), *from = artifacts_find(c, base);
	struct shell_delta *delta = find(c, target, base);

	if (delta)
		return delta;
	if (!to || !from || to == from || !str_equal(to->model, from->model))
		return NULL;
	delta = insert(c, &(struct store_delta){.target = *target, .base = *base});
	delta->state = SHELL_DELTA_WANTED;
	return delta;
}

void deltas_want_for(struct coordinator *c, const struct store_release *release)
{
	for (size_t i = 0; i < c->deployments_count; i++)
		(void)deltas_want(c, &release->digest, &c->deployments[i]->record.base);
}

/* A node that has the base anyway: with the deltas the target would give the base away. */
static bool is_held_by(const struct shell_node *node, const struct digest *release)
{
	if (desired_has_release(node, release))
		return true;
	for (size_t i = 0; i < node->status.deployments_count; i++)
		for (size_t s = 0; s < COLOUR_COUNT; s++)
			if (digest_equal(&node->status.deployments[i].slots[s].release, release))
				return true;
	return false;
}

static bool is_served_by(const struct shell_node *node, const struct digest *release)
{
	for (size_t i = 0; i < node->status.deployments_count; i++)
		if (digest_equal(&node->status.deployments[i].release, release))
			return true;
	return false;
}

/* The base to make deltas from: what the node serves, or else the first that it holds. */
static const struct shell_delta *want_for(struct coordinator *c, const struct shell_node *node,
					  const struct msg_get *get)
{
	const struct shell_delta *delta = NULL;

	for (size_t i = 0; !delta && i < get->held_count; i++)
		if (is_served_by(node, &get->held[i].digest))
			delta = deltas_want(c, &get->digest, &get->held[i].digest);
	for (size_t i = 0; !delta && i < get->held_count; i++)
		if (is_held_by(node, &get->held[i].digest))
			delta = deltas_want(c, &get->digest, &get->held[i].digest);
	return delta;
}

/* Other bases count if their deltas were made for somebody else. */
void deltas_answer(struct coordinator *c, const struct shell_node *node, const struct msg_get *get,
		   struct msg_object *object)
{
	struct store_delta best = {0};
	const struct shell_delta *delta = want_for(c, node, get);

	if (delta && delta->state == SHELL_DELTA_WANTED)
		object->retry_ms = RETRY_MS;
	for (size_t i = 0; i < get->held_count; i++) {
		delta = find(c, &get->digest, &get->held[i].digest);
		if (delta && !digest_is_zero(&delta->record.set) &&
		    is_held_by(node, &get->held[i].digest) &&
		    (digest_is_zero(&best.set) || delta->record.bytes < best.bytes))
			best = delta->record;
	}
	if (digest_is_zero(&best.set) || object->retry_ms)
		return;
	object->missing = false;
	object->data = (struct bytes){mem_copy(best.set.bytes, DIGEST_SIZE), DIGEST_SIZE};
}

const struct store_delta *deltas_for(const struct coordinator *c, const struct shell_node *node,
				     const struct digest *target)
{
	const struct store_delta *best = NULL;

	for (size_t i = 0; i < c->deltas_count; i++) {
		const struct store_delta *delta = &c->deltas[i].record;

		if (digest_equal(&delta->target, target) && !digest_is_zero(&delta->set) &&
		    is_held_by(node, &delta->base) && (!best || delta->bytes < best->bytes))
			best = delta;
	}
	return best;
}

bool deltas_objects(struct coordinator *c, const struct digest *set,
		    struct chunk_ref **ret_chunks, size_t *ret_count)
{
	struct delta_set list = {0};
	struct bytes data = {0};
	bool known = false;

	for (size_t i = 0; i < c->deltas_count; i++)
		known |= digest_equal(&c->deltas[i].record.set, set);
	if (!known || c->world.object_get(c->world.user, set, &data, NULL) < 0)
		return false;
	known = delta_set_open(data.data, data.size, set, &list, NULL) == 0;
	free(data.data);
	*ret_chunks = mem_array(list.objects_count + 1, sizeof(**ret_chunks));
	*ret_count = list.objects_count;
	for (size_t i = 0; i < list.objects_count; i++)
		(*ret_chunks)[i] = (struct chunk_ref){list.objects[i].digest, list.objects[i].size};
	codec_free(&codec_delta_set, &list);
	return known;
}

bool deltas_may_have(const struct coordinator *c, const struct shell_node *node,
		     const struct digest *set)
{
	for (size_t i = 0; i < c->deltas_count; i++)
		if (digest_equal(&c->deltas[i].record.set, set) &&
		    desired_has_release(node, &c->deltas[i].record.target))
			return true;
	return false;
}

/* ---- making ---- */

static void end(struct coordinator *c, struct shell_delta *delta, int r, const struct err *err)
{
	char target[SHELL_TEXT_RELEASE], base[SHELL_TEXT_RELEASE], size[STR_SIZE_MAX];

	if (c->delta_work)
		delta_work_free(c->delta_work);
	c->delta_work = NULL;
	delta->state = r < 0 ? SHELL_DELTA_FAILED : SHELL_DELTA_MADE;
	exchange_changed(c);
	artifacts_name(c, &delta->record.target, target);
	artifacts_name(c, &delta->record.base, base);
	str_format_size(size, delta->record.bytes);
	if (r < 0)
		log_warning("no deltas from %s to %s: %s", base, target, err_text(err, r));
	else if (digest_is_zero(&delta->record.set))
		log_info("%s to %s: no delta is worth it", base, target);
	else
		log_info("%s to %s: deltas take %s", base, target, size);
}

static struct shell_delta *next_wanted(const struct coordinator *c)
{
	for (size_t i = 0; i < c->deltas_count; i++)
		if (c->deltas[i].state == SHELL_DELTA_WANTED)
			return &c->deltas[i];
	return NULL;
}

void deltas_step(struct coordinator *c)
{
	struct shell_delta *delta = next_wanted(c);
	uint64_t before = shell_now(c);
	struct err err = {0};
	int r = 0;

	if (!delta || before < c->delta_step_ms)
		return;
	if (!c->delta_work)
		r = delta_work_begin(c, &delta->record.target, &delta->record.base, &c->delta_work,
				     &err);
	if (r == 0)
		r = delta_work_step(c, c->delta_work, &delta->record, &err);
	if (r != -EAGAIN)
		end(c, delta, r, &err);
	c->delta_step_ms = 2 * shell_now(c) - before + PAUSE_MIN_MS;
}

uint64_t deltas_deadline(const struct coordinator *c)
{
	return next_wanted(c) ? c->delta_step_ms : UINT64_MAX;
}
