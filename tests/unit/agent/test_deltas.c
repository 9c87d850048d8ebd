/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta sets in the chunk store: when they are asked for, what comes of their objects, and that
 * whatever is wrong with them costs nothing but the chunks' coming whole.
 */
#include "fleetless.h"

#include "base/mem.h"
#include "base/str.h"
#include "protocol/coding/coding.h"
#include "protocol/delta_set.h"
#include "protocol/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { CHUNK = 70000, ITEMS = 64, ROUNDS = 1000 };

/* What is wrong with the delta of every third chunk. */
enum wrong { RIGHT, OTHER_BYTES, NO_BASE, CUT, NOT_CODED };

struct place {
	struct node node;
	struct digest base, target, set;
	struct delta_set list;
	struct bytes list_bytes;
	struct bytes objects[ITEMS];
	struct chunk_ref chunks[ITEMS]; /* of the target's files and layer, without repetitions */
	size_t count;
};

static const struct node_object *object(const struct place *p, const struct digest *digest)
{
	for (size_t i = 0; i < p->node.objects_count; i++)
		if (digest_equal(&p->node.objects[i].digest, digest))
			return &p->node.objects[i];
	fail_msg("the store asks for something that nobody has");
	return NULL;
}

static int put(struct place *p, const struct digest *of, enum object_kind kind,
	       const struct digest *digest, const struct bytes *data)
{
	struct chunk_store_ops *store = &p->node.world.store;

	return store->put(store->context, of, kind, digest, data ? data->data : NULL,
			  data ? data->size : 0, NULL);
}

/* What the store wants next; it copies in steps, so it is asked until it says something. */
static size_t missing(struct place *p, const struct digest *of, struct wanted_object *items,
		      struct stage_progress *progress)
{
	struct chunk_store_ops *store = &p->node.world.store;
	size_t count = 0;

	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(store->missing(store->context, of, items, ITEMS, &count, progress,
						NULL), 0);
		if (progress->complete || (count > 0 && (progress->looked || !progress->manifest ||
							 items[0].kind != OBJECT_CHUNK)))
			return count;
		for (size_t k = 0; k < count && items[k].size != CHUNK; k++) /* indices */
			assert_int_equal(put(p, of, OBJECT_CHUNK, &items[k].digest,
					     &object(p, &items[k].digest)->data), 0);
	}
	fail_msg("the store never says what it wants");
	return 0;
}

/* Fetches whatever is missing, without deltas. Returns how many chunks came. */
static size_t fetch(struct place *p, const struct digest *release)
{
	struct wanted_object items[ITEMS];
	struct stage_progress progress;
	size_t chunks = 0;

	for (;;) {
		size_t count = missing(p, release, items, &progress);

		if (progress.complete)
			return chunks;
		for (size_t i = 0; i < count; i++) {
			if (items[i].kind == OBJECT_DELTAS) {
				assert_int_equal(put(p, release, OBJECT_DELTAS, release, NULL), 0);
				continue;
			}
			chunks += items[i].size == CHUNK;
			assert_int_equal(put(p, release, items[i].kind, &items[i].digest,
					     &object(p, &items[i].digest)->data), 0);
		}
	}
}

static void seal(struct place *p, const struct digest *release)
{
	struct chunk_store_ops *store = &p->node.world.store;
	int r;

	do
		r = store->seal(store->context, release, NULL);
	while (r == -EAGAIN);
	assert_int_equal(r, 0);
}

/* ---- a set ---- */

static void code(const struct place *p, const struct chunk_ref *chunk, enum wrong wrong,
		 struct coding *coding, struct bytes *ret_delta)
{
	AUTO_FREE uint8_t *data = mem_copy(object(p, &chunk->digest)->data.data, chunk->size);
	const struct coding_chunk coded = {.data = data, .size = chunk->size};

	if (wrong == OTHER_BYTES)
		data[chunk->size / 2] ^= 1;
	ret_delta->data = mem_resize(NULL, chunk->size + CODING_HEAD, 1);
	ret_delta->size = coding_encode(coding, &coded, ret_delta->data);
	if (wrong == CUT)
		ret_delta->size /= 2;
	if (wrong == NOT_CODED)
		ret_delta->data[0] = 0xff;
}

/* One object for each chunk of the target. */
static void make_set(struct place *p, enum wrong wrong)
{
	struct coding *coding = coding_create();

	p->list = (struct delta_set){.target = p->target, .base = p->base};
	p->list.objects = mem_array(p->count, sizeof(*p->list.objects));
	p->list.items = mem_array(p->count, sizeof(*p->list.items));
	p->list.objects_count = p->list.items_count = p->count;
	for (size_t i = 0; i < p->count; i++) {
		enum wrong here = i % 3 == 0 ? wrong : RIGHT;
		struct delta_item *item = &p->list.items[i];

		code(p, &p->chunks[i], here, coding, &p->objects[i]);
		item->chunk = p->chunks[i].digest;
		item->size = p->objects[i].size;
		/* any chunk that is here is a base for a form that does not look at it */
		digest_of(&item->base, "nobody has this", 15);
		if (here != NO_BASE)
			item->base = p->node.objects[0].digest;
		p->list.objects[i] = (struct delta_object){.size = item->size, .items = 1};
		digest_of(&p->list.objects[i].digest, p->objects[i].data, p->objects[i].size);
	}
	assert_int_equal(codec_encode(&codec_delta_set, &p->list, LIMIT_OBJECT, &p->list_bytes,
				      NULL), 0);
	digest_of(&p->set, p->list_bytes.data, p->list_bytes.size);
	coding_free(coding);
}

static int setup(void **state)
{
	struct place *p = mem_alloc(sizeof(*p));
	size_t before;

	node_create(&p->node);
	p->base = node_release(&p->node, "1.0.0", 1, 3, CHUNK);
	fetch(p, &p->base);
	seal(p, &p->base);
	before = p->node.objects_count;
	p->target = node_release(&p->node, "2.0.0", 50, 4, CHUNK);
	for (size_t i = before; i < p->node.objects_count; i++)
		if (p->node.objects[i].data.size == CHUNK)
			p->chunks[p->count++] =
				(struct chunk_ref){p->node.objects[i].digest, CHUNK};
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	node_destroy(&p->node);
	codec_free(&codec_delta_set, &p->list);
	free(p->list_bytes.data);
	for (size_t i = 0; i < ITEMS; i++)
		free(p->objects[i].data);
	free(p);
	return 0;
}

/* Up to the set: manifest, indices, the question. */
static void ask(struct place *p)
{
	const struct bytes name = {p->set.bytes, DIGEST_SIZE};
	struct wanted_object items[ITEMS];
	struct stage_progress progress;

	assert_int_equal(missing(p, &p->target, items, &progress), 1);
	assert_int_equal(items[0].kind, OBJECT_MANIFEST);
	assert_int_equal(put(p, &p->target, OBJECT_MANIFEST, &p->target,
			     &object(p, &p->target)->data), 0);
	assert_int_equal(missing(p, &p->target, items, &progress), 1);
	assert_int_equal(items[0].kind, OBJECT_DELTAS);
	assert_true(digest_equal(&items[0].digest, &p->target));
	assert_int_equal(put(p, &p->target, OBJECT_DELTAS, &p->target, &name), 0);
	assert_int_equal(missing(p, &p->target, items, &progress), 1);
	assert_int_equal(items[0].kind, OBJECT_SET);
	assert_true(digest_equal(&items[0].digest, &p->set));
}

/* All objects of the set. Returns how many were of no use. */
static size_t take_set(struct place *p)
{
	struct chunk_store_ops *store = &p->node.world.store;
	struct wanted_object items[ITEMS];
	struct stage_progress progress;
	size_t stale = 0, count;

	count = missing(p, &p->set, items, &progress);
	assert_int_equal(count, 1);
	assert_int_equal(items[0].kind, OBJECT_SET);
	assert_int_equal(put(p, &p->set, OBJECT_SET, &p->set, &p->list_bytes), 0);
	assert_int_equal(missing(p, &p->set, items, &progress), p->count);
	assert_false(progress.complete);
	for (size_t i = 0; i < p->count; i++) {
		int r = put(p, &p->set, OBJECT_CHUNK, &p->list.objects[i].digest, &p->objects[i]);

		assert_true(r == 0 || r == -ESTALE);
		stale += r == -ESTALE;
	}
	(void)missing(p, &p->set, items, &progress);
	assert_true(progress.complete);
	assert_int_equal(store->seal(store->context, &p->set, NULL), 0);
	return stale;
}

static void deltas_bring_everything(void **state)
{
	struct place *p = *state;
	struct chunk_store_ops *store = &p->node.world.store;
	AUTO_FREE struct chunk_ref *refs = NULL;
	AUTO_FREE uint8_t *buffer = mem_alloc(CHUNK + CODING_HEAD);
	size_t count = 0;

	make_set(p, RIGHT);
	ask(p);
	assert_int_equal(take_set(p), 0);
	assert_int_equal(fetch(p, &p->target), 0);
	seal(p, &p->target);
	assert_true(store->sealed(store->context, &p->target));
	/* neighbours may have the set's objects from here */
	assert_true(store->sealed(store->context, &p->set));
	assert_int_equal(store->chunks(store->context, &p->set, &refs, &count, NULL), 0);
	assert_int_equal(count, p->count);
	assert_int_equal(store->read(store->context, &p->set, &refs[1].digest, buffer,
				     (size_t)refs[1].size, NULL), 0);
	assert_memory_equal(buffer, p->objects[1].data, p->objects[1].size);
}

static void useless_deltas(struct place *p, enum wrong wrong)
{
	size_t third = (p->count + 2) / 3;

	make_set(p, wrong);
	ask(p);
	assert_int_equal(take_set(p), third);
	assert_int_equal(fetch(p, &p->target), third); /* whole, and nothing else */
	seal(p, &p->target);
	assert_true(p->node.world.store.sealed(p->node.world.store.context, &p->target));
}

static void wrong_deltas_cost_their_chunks(void **state)
{
	useless_deltas(*state, OTHER_BYTES);
}

static void missing_bases_cost_their_chunks(void **state)
{
	useless_deltas(*state, NO_BASE);
}

static void cut_deltas_cost_their_chunks(void **state)
{
	useless_deltas(*state, CUT);
}

static void what_is_no_delta_costs_its_chunk(void **state)
{
	useless_deltas(*state, NOT_CODED);
}

static void set_that_is_spoiled_is_refused(void **state)
{
	struct place *p = *state;
	struct bytes spoiled;

	make_set(p, RIGHT);
	ask(p);
	spoiled = (struct bytes){mem_copy(p->list_bytes.data, p->list_bytes.size),
				 p->list_bytes.size};
	spoiled.data[spoiled.size / 2] ^= 1;
	assert_int_equal(put(p, &p->set, OBJECT_SET, &p->set, &spoiled), -EBADMSG);
	free(spoiled.data);
	/* given up: the chunks come whole */
	assert_int_equal(put(p, &p->set, OBJECT_SET, &p->set, NULL), 0);
	assert_int_equal(fetch(p, &p->target), p->count);
}

static void objects_that_are_spoiled_are_refused(void **state)
{
	struct place *p = *state;
	struct wanted_object items[ITEMS];
	struct stage_progress progress;

	make_set(p, RIGHT);
	ask(p);
	assert_int_equal(put(p, &p->set, OBJECT_SET, &p->set, &p->list_bytes), 0);
	p->objects[0].data[20] ^= 1;
	assert_int_equal(put(p, &p->set, OBJECT_CHUNK, &p->list.objects[0].digest, &p->objects[0]),
			 -EBADMSG);
	assert_int_equal(missing(p, &p->set, items, &progress), p->count);
}

static void set_is_not_asked_for_without_a_base(void **state)
{
	struct place *p = *state;
	struct chunk_store_ops *store = &p->node.world.store;
	struct wanted_object items[ITEMS];
	struct stage_progress progress;

	/* the base is not sealed any more */
	store->suspect(store->context, &p->base);
	assert_int_equal(missing(p, &p->target, items, &progress), 1);
	assert_int_equal(put(p, &p->target, OBJECT_MANIFEST, &p->target,
			     &object(p, &p->target)->data), 0);
	assert_int_equal(missing(p, &p->target, items, &progress), p->count);
	assert_int_equal(items[0].kind, OBJECT_CHUNK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
		T(deltas_bring_everything),
		T(wrong_deltas_cost_their_chunks),
		T(missing_bases_cost_their_chunks),
		T(cut_deltas_cost_their_chunks),
		T(what_is_no_delta_costs_its_chunk),
		T(set_that_is_spoiled_is_refused),
		T(objects_that_are_spoiled_are_refused),
		T(set_is_not_asked_for_without_a_base),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
