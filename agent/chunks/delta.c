/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delta is a promise: only the digest of what comes out of it counts. So a base that is not here,
 * a delta that was made wrong or one that was made to harm cost what was fetched, and the chunk is
 * then fetched whole like any other that is missing.
 */
#include "agent/chunks/delta.h"

#include "base/mem.h"

struct delta_stage *delta_stage_create(const struct digest *set, const struct digest *target)
{
	struct delta_stage *stage = mem_alloc(sizeof(*stage));

	stage->id = *set;
	stage->target = *target;
	return stage;
}

void delta_stage_free(struct delta_stage *stage)
{
	codec_free(&codec_delta_set, &stage->set);
	free(stage->done);
	free(stage);
}

/* Of an object the first delta stands for all: what is here is here in runs. */
static bool is_needed(const struct delta_source *source, const struct delta_item *first)
{
	return !source->has(source->context, &first->chunk) &&
	       source->has(source->context, &first->base);
}

int delta_stage_open(struct delta_stage *stage, const void *data, size_t size,
		     const struct delta_source *source, struct err *err)
{
	const struct delta_item *item;
	int r = delta_set_open(data, size, &stage->id, &stage->set, err);

	if (r < 0)
		return r;
	if (!digest_equal(&stage->set.target, &stage->target)) {
		codec_free(&codec_delta_set, &stage->set);
		return err_set(err, -EBADMSG, "a delta set is for another release");
	}
	stage->opened = true;
	stage->done = mem_array(stage->set.objects_count + 1, sizeof(*stage->done));
	item = stage->set.items;
	for (size_t i = 0; i < stage->set.objects_count; i++) {
		stage->done[i] = !is_needed(source, item);
		stage->left += !stage->done[i];
		item += stage->set.objects[i].items;
	}
	return 0;
}

void delta_stage_missing(const struct delta_stage *stage, struct wanted_object *ret_items,
			 size_t max, size_t *ret_count)
{
	size_t count = 0;

	for (size_t i = 0; i < stage->set.objects_count && count < max; i++)
		if (!stage->done[i])
			ret_items[count++] =
				(struct wanted_object){OBJECT_CHUNK, stage->set.objects[i].digest,
						       stage->set.objects[i].size};
	*ret_count = count;
}

/* 0, -ESTALE, or what the stage of the target says. */
static int apply(struct stage *to, struct coding *coding, const struct delta_source *source,
		 const struct delta_item *item, const uint8_t *data, struct err *err)
{
	AUTO_FREE uint8_t *chunk = NULL;
	struct bytes base = {0};
	struct digest digest;
	size_t size = 0;
	int r = coding_size(data, (size_t)item->size, LIMIT_CHUNK, &size);

	if (r == 0)
		r = source->read(source->context, &item->base, &base);
	if (r < 0)
		return -ESTALE;
	chunk = mem_resize(NULL, size, 1);
	r = coding_decode(coding, data, (size_t)item->size, base.data, base.size, chunk);
	free(base.data);
	if (r < 0)
		return -ESTALE;
	digest_of(&digest, chunk, size);
	if (!digest_equal(&digest, &item->chunk))
		return -ESTALE;
	return stage_put(to, &item->chunk, chunk, size, err);
}

static int apply_all(struct stage *to, struct coding *coding, const struct delta_source *source,
		     const struct delta_item *items, size_t count, const uint8_t *data,
		     struct err *err)
{
	size_t stale = 0;

	for (size_t i = 0; i < count; i++) {
		int r = apply(to, coding, source, &items[i], data, err);

		if (r < 0 && r != -ESTALE)
			return r;
		stale += r == -ESTALE;
		data += items[i].size;
	}
	return stale == 0 ? 0
			  : err_set(err, -ESTALE, "%zu of %zu deltas did not give the chunk that "
				    "they are for: it is fetched whole", stale, count);
}

int delta_stage_put(struct delta_stage *stage, struct stage *to, struct coding *coding,
		    const struct delta_source *source, const struct digest *digest,
		    const struct bytes *data, struct err *err)
{
	const struct delta_item *items = stage->set.items;

	for (size_t i = 0; i < stage->set.objects_count; i++) {
		const struct delta_object *object = &stage->set.objects[i];
		int r;

		if (!stage->done[i] && object->size == data->size &&
		    digest_equal(&object->digest, digest)) {
			r = apply_all(to, coding, source, items, object->items, data->data, err);
			if (r < 0 && r != -ESTALE)
				return r;
			stage->done[i] = true;
			stage->left--;
			return r;
		}
		items += object->items;
	}
	return 0;
}
