/* SPDX-License-Identifier: Apache-2.0 */
/* Releases on their way to the disk: wrong, interrupted, bounded, at their time. */
#include "shell_steps.h"

#include "base/mem.h"
#include "base/str.h"

/* spec: TRUST-3 */
static void corrupt_chunk_never_reaches_the_disk(void **state)
{
	struct node *node = *state;
	struct digest first;

	node_start(node);
	first = steps_install(node);
	{
		size_t before = node->objects_count;
		struct digest second = node_release(node, "2.0.0", 100, 3, 5000);
		struct assignment a = node_assignment(&first, &second, GOAL_SERVE);

		node->objects[before].corrupt = true; /* a chunk of the first blob */
		node_desire(node, 2, &a, 1);
	}
	steps_went_back(node, &first, "fetch", "digest");
	assert_int_equal(node->asked[HELPER_START], 1);
}

static void chunk_that_is_whole_again_is_fetched_again(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t before;

	node_start(node);
	first = steps_install(node);
	before = node->objects_count;
	second = node_release(node, "2.0.0", 100, 3, 5000);
	node->objects[before].corrupt = true;
	a = node_assignment(&first, &second, GOAL_SERVE);
	node_desire(node, 2, &a, 1);
	node_run(node, 1000);
	node->objects[before].corrupt = false;
	assert_true(node_run_until(node, NODE_STATE_BAKING, 60000));
	assert_digest_equal(node_reached(node), second);
}

/* spec: TRUST-1 */
static void manifest_of_a_stranger_is_refused(void **state)
{
	struct node *node = *state;
	struct sign_key own = node->key;
	struct digest first, second;
	struct assignment a;

	node_start(node);
	first = steps_install(node);
	sign_key_generate(&node->key);
	second = node_release(node, "2.0.0", 100, 3, 5000);
	node->key = own;
	a = node_assignment(&first, &second, GOAL_SERVE);
	node_desire(node, 2, &a, 1);
	steps_went_back(node, &first, "fetch", "signature");
}

/* Whatever was verified once is not fetched again: after cuts of the channel and kills. */
/* spec: REL-3 */
static void fetch_goes_on_where_it_was(void **state)
{
	struct node *node = *state;
	struct digest first;
	struct assignment a;
	size_t objects;

	node_start(node);
	first = node_release(node, "1.0.0", 1, 20, 5000);
	objects = node->objects_count - 1; /* without the manifest */
	a = node_assignment(NULL, &first, GOAL_FETCH);
	node_desire(node, 1, &a, 1);
	for (int i = 0; i < 6; i++) {
		node_run(node, 45);
		if (i % 2 == 0) {
			node->origin_up = false;
			node->origin_cut = true;
			agent_on_source(node->agent, SOURCE_ORIGIN, false);
			node_run(node, 300);
			node->origin_cut = false;
			node->origin_up = true;
			agent_on_source(node->agent, SOURCE_ORIGIN, true);
		} else {
			node_restart_agent(node);
			node_start(node);
		}
	}
	assert_true(node_run_until(node, NODE_STATE_STAGED, 5000));
	/* what was under way at a cut or a kill is asked for again: at most four each time */
	assert_in_range(node->chunk_gets, objects, objects + 6 * LIMIT_FETCH_REQUESTS);
}

static void full_queue_of_the_channel_is_waited_for(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 20, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);

	node_start(node);
	node->busy_gets = 10;
	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 30000));
	assert_int_equal(node->busy_gets, 0);
}

static void same_content_is_not_fetched_twice(void **state)
{
	struct node *node = *state;
	struct digest first, second;
	struct assignment a;
	size_t gets;

	node_start(node);
	first = steps_install(node);
	gets = node->chunk_gets;
	second = node_release(node, "1.0.1", 1, 3, 5000); /* the same files */
	a = node_assignment(&first, &second, GOAL_FETCH);
	node_desire(node, 2, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 30000));
	assert_int_equal(node->chunk_gets, gets);
}

static void fetch_keeps_to_the_rate(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 20, 5000); /* 300 kB */
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);
	uint64_t began;

	node->fetch_rate = 50000;
	node_restart_agent(node);
	node_start(node);
	began = node->now_ms;
	node_desire(node, 1, &a, 1);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 60000));
	assert_in_range(node->now_ms - began, 4500, 8000);
}

/* spec: NODE-29 */
static void download_waits_for_its_window(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 3, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);

	/* unix_start_ms and now_ms together: 2025-06-15 15:23:20 UTC, 17:23:20 in Paris */
	STR_CUT(a.windows.download, "17:30-18:00");
	STR_CUT(a.windows.timezone, "Europe/Paris");
	node_start(node);
	node_desire(node, 1, &a, 1);
	node_run(node, 5 * 60000);
	assert_int_equal(node->gets, 0);
	assert_true(node_run_until(node, NODE_STATE_STAGED, 3 * 60000));
}

static int (*real_put)(void *context, const struct digest *release, enum object_kind kind,
		       const struct digest *digest, const void *data, size_t size,
		       struct err *err);

static int put_finds_no_room(void *context, const struct digest *release, enum object_kind kind,
			     const struct digest *digest, const void *data, size_t size,
			     struct err *err)
{
	return kind == OBJECT_CHUNK
		       ? err_set(err, -ENOSPC, "the disk is full")
		       : real_put(context, release, kind, digest, data, size, err);
}

/* Nor is the coordinator asked for the same chunk again and again. */
static void full_disk_is_given_time(void **state)
{
	struct node *node = *state;
	struct digest first = node_release(node, "1.0.0", 1, 3, 5000);
	struct assignment a = node_assignment(NULL, &first, GOAL_FETCH);

	node_start(node);
	real_put = node->world.store.put;
	node->world.store.put = put_finds_no_room;
	node_desire(node, 1, &a, 1);
	node_run(node, 3000);
	assert_in_range(node->chunk_gets, 1, 40);
	node->world.store.put = real_put;
	assert_true(node_run_until(node, NODE_STATE_STAGED, 200000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STEPS_TEST(corrupt_chunk_never_reaches_the_disk),
		STEPS_TEST(chunk_that_is_whole_again_is_fetched_again),
		STEPS_TEST(manifest_of_a_stranger_is_refused),
		STEPS_TEST(fetch_goes_on_where_it_was),
		STEPS_TEST(full_queue_of_the_channel_is_waited_for),
		STEPS_TEST(same_content_is_not_fetched_twice),
		STEPS_TEST(fetch_keeps_to_the_rate),
		STEPS_TEST(download_waits_for_its_window),
		STEPS_TEST(full_disk_is_given_time),
	};

	return cmocka_run_group_tests_name("agent shell: fetching", tests, NULL, NULL);
}
