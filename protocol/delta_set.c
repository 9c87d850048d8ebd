/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that follows from the sums is checked here, once, so that nobody else has to count. */
#include "protocol/delta_set.h"

#include "protocol/codec_fields.h"
#include "protocol/codec_tables.h"
#include "protocol/digest.h"

#define THIS struct delta_item
static const struct codec_field delta_item_fields[] = {
	F_FIXED(1, chunk),
	F_FIXED(2, base),
	F_U64(3, size),
};
CODEC_STRUCT(delta_item);
#undef THIS

#define THIS struct delta_object
static const struct codec_field delta_object_fields[] = {
	F_FIXED(1, digest),
	F_U64(2, size),
	F_U32(3, items),
};
CODEC_STRUCT(delta_object);
#undef THIS

#define THIS struct delta_set
static const struct codec_field delta_set_fields[] = {
	F_FIXED(1, target),
	F_FIXED(2, base),
	F_LIST(3, objects, delta_object, LIMIT_DELTAS),
	F_LIST(4, items, delta_item, LIMIT_DELTAS),
};
CODEC_STRUCT(delta_set);
#undef THIS

static bool adds_up(const struct delta_set *set)
{
	size_t at = 0;

	for (size_t i = 0; i < set->objects_count; i++) {
		const struct delta_object *object = &set->objects[i];
		uint64_t size = 0;

		if (object->size > LIMIT_CHUNK || object->items == 0 ||
		    object->items > set->items_count - at)
			return false;
		for (uint32_t k = 0; k < object->items; k++, at++) {
			if (set->items[at].size == 0 || set->items[at].size > LIMIT_CHUNK)
				return false;
			size += set->items[at].size;
		}
		if (size != object->size)
			return false;
	}
	return at == set->items_count;
}

int delta_set_open(const void *data, size_t size, const struct digest *expected,
		   struct delta_set *ret_set, struct err *err)
{
	struct digest digest;
	int r;

	digest_of(&digest, data, size);
	if (!digest_equal(&digest, expected))
		return err_set(err, -EBADMSG, "a delta set is not what its digest says");
	r = codec_decode(&codec_delta_set, data, size, ret_set, err);
	if (r < 0)
		return -EBADMSG;
	if (adds_up(ret_set))
		return 0;
	codec_free(&codec_delta_set, ret_set);
	return err_set(err, -EBADMSG, "the objects and deltas of a set do not fit each other");
}
