/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunk by chunk the target is read and coded against its base. What is not much smaller so is left
 * out: the chunk travels as it is. Objects are closed when a delta more would make them large, so
 * that thin changes share a message, and no node has to do much at once. Objects are content-
 * addressed: making a set twice gives the same ones.
 */
#include "coordinator/delta_work.h"

#include "base/mem.h"
#include "base/str.h"
#include "coordinator/delta_pairs.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

enum {
	STEP_BYTES = 4 << 20,	    /* of the target, in one step */
	OBJECT_BYTES = 64 << 10,    /* of deltas in an object, */
	OBJECT_TARGET = 8 << 20,    /* and of what they make */
	WORTH_PERCENT = 60,	    /* of the chunk; more: it travels as it is */
};

struct delta_work {
	struct delta_side target, base;
	struct delta_pairs *pairs;
	struct delta_set set;
	size_t objects_cap, items_cap;
	struct str object;     /* deltas that have no object yet */
	uint64_t object_target; /* bytes that they make */
	uint32_t object_items;
	uint64_t bytes; /* of all objects */
};

void delta_work_free(struct delta_work *work)
{
	if (work->pairs)
		delta_pairs_free(work->pairs);
	delta_side_free(&work->target);
	delta_side_free(&work->base);
	codec_free(&codec_delta_set, &work->set);
	str_free(&work->object);
	free(work);
}

COVEY_DEFINE_CLEANUP(struct delta_work *, delta_work_free)

bool delta_work_is_about(const struct delta_work *work, const struct digest *release)
{
	return digest_equal(&work->set.target, release) || digest_equal(&work->set.base, release);
}

/* ---- beginning ---- */

static int load_side(struct coordinator *c, const struct digest *digest, struct delta_side *side,
		     struct err *err)
{
	struct envelope envelope;
	int r = artifacts_open(c, digest, &side->release, &envelope, err);

	if (r < 0)
		return r;
	codec_free(&codec_envelope, &envelope);
	side->indices = mem_array(side->release.blobs_count + 1, sizeof(*side->indices));
	for (size_t i = 0; r == 0 && i < side->release.blobs_count; i++)
		if (side->release.blobs[i].kind == BLOB_FILE)
			r = artifacts_index(c, &side->release.blobs[i].index, &side->indices[i], err);
	if (r == 0)
		delta_side_count(side);
	return r;
}

int delta_work_begin(struct coordinator *c, const struct digest *target, const struct digest *base,
		     struct delta_work **ret_work, struct err *err)
{
	COVEY_CLEANUP(delta_work_free_p) struct delta_work *work = mem_alloc(sizeof(*work));
	int r;

	work->set.target = *target;
	work->set.base = *base;
	r = load_side(c, target, &work->target, err);
	if (r == 0)
		r = load_side(c, base, &work->base, err);
	if (r < 0)
		return r;
	work->pairs = delta_pairs_create(&work->target, &work->base);
	*ret_work = TAKE_PTR(work);
	return 0;
}

/* ---- objects ---- */

static int close_object(struct coordinator *c, struct delta_work *work, struct err *err)
{
	struct delta_object object = {.size = work->object.size, .items = work->object_items};
	int r;

	if (object.items == 0)
		return 0;
	digest_of(&object.digest, work->object.data, work->object.size);
	r = c->world.object_put(c->world.user, &object.digest, work->object.data, work->object.size,
				err);
	if (r < 0)
		return r;
	MEM_GROW(work->set.objects, &work->objects_cap, work->set.objects_count);
	work->set.objects[work->set.objects_count++] = object;
	work->bytes += object.size;
	str_free(&work->object);
	work->object_items = 0;
	work->object_target = 0;
	return 0;
}

static int add_item(struct coordinator *c, struct delta_work *work, const struct delta_pair *pair,
		    const uint8_t *data, size_t size, struct err *err)
{
	int r = 0;

	if (work->object.size + size > OBJECT_BYTES ||
	    work->object_target + pair->chunk.size > OBJECT_TARGET)
		r = close_object(c, work, err);
	if (r < 0)
		return r;
	MEM_GROW(work->set.items, &work->items_cap, work->set.items_count);
	work->set.items[work->set.items_count++] =
		(struct delta_item){pair->chunk.digest, pair->base.digest, size};
	str_add_bytes(&work->object, data, size);
	work->object_items++;
	work->object_target += pair->chunk.size;
	return 0;
}

static int make_delta(struct coordinator *c, struct delta_work *work, const struct delta_pair *pair,
		      struct err *err)
{
	struct bytes chunk = {0}, base = {0};
	uint8_t *data = NULL;
	size_t size;
	int r = c->world.object_get(c->world.user, &pair->chunk.digest, &chunk, err);

	if (r == 0)
		r = c->world.object_get(c->world.user, &pair->base.digest, &base, err);
	if (r == 0 && chunk.size > 0) {
		const struct coding_chunk coding = {chunk.data, chunk.size, base.data, base.size,
						    pair->element};

		data = mem_resize(NULL, chunk.size + CODING_HEAD, 1);
		size = coding_encode(c->coding, &coding, data);
		if (coding_needs_base(data) && size * 100 <= WORTH_PERCENT * chunk.size)
			r = add_item(c, work, pair, data, size, err);
	}
	free(chunk.data);
	free(base.data);
	free(data);
	return r;
}

/* ---- the end ---- */

static int store_set(struct coordinator *c, const struct delta_work *work,
		     const struct store_delta *delta, struct err *err)
{
	const struct store_ops *ops = c->store->ops;
	const struct digest *target = &work->set.target;
	int r = shell_begin(c, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < work->set.objects_count; i++)
		r = ops->release_object(c->store, target, &work->set.objects[i].digest, err);
	if (r == 0 && !digest_is_zero(&delta->set))
		r = ops->release_object(c->store, target, &delta->set, err);
	if (r == 0)
		r = ops->delta_put(c->store, delta, err);
	return shell_end(c, r, err);
}

static int finish(struct coordinator *c, struct delta_work *work, struct store_delta *ret_delta,
		  struct err *err)
{
	struct store_delta delta = {.target = work->set.target, .base = work->set.base};
	struct bytes data = {0};
	int r = close_object(c, work, err);

	if (r == 0 && work->set.objects_count > 0) {
		r = codec_encode(&codec_delta_set, &work->set, LIMIT_OBJECT, &data, err);
		if (r == 0) {
			digest_of(&delta.set, data.data, data.size);
			delta.bytes = work->bytes + data.size;
			r = c->world.object_put(c->world.user, &delta.set, data.data, data.size,
						err);
		}
		free(data.data);
	}
	if (r == 0)
		r = store_set(c, work, &delta, err);
	if (r == 0)
		*ret_delta = delta;
	return r;
}

int delta_work_step(struct coordinator *c, struct delta_work *work, struct store_delta *ret_delta,
		    struct err *err)
{
	uint64_t done = 0;
	struct delta_pair pair;

	while (work->set.items_count < LIMIT_DELTAS && delta_pairs_next(work->pairs, &pair)) {
		int r = 0;

		if (pair.base.size > 0)
			r = make_delta(c, work, &pair, err);
		if (r < 0)
			return r;
		done += pair.chunk.size;
		if (done >= STEP_BYTES)
			return -EAGAIN;
	}
	return finish(c, work, ret_delta, err);
}
