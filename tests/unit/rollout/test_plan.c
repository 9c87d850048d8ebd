/* SPDX-License-Identifier: Apache-2.0 */
/* Who changes when: shares, selectors, strata, and that plan and apply agree. */
#include "coordinator/core/plan.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "coordinator/core/record.h"
#include "trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum { NODES_MAX = 400, LABELS = 3 };

struct fixture {
	struct deployment_spec spec;
	struct fleet_node nodes[NODES_MAX];
	struct label labels[NODES_MAX][LABELS];
	size_t count;
	struct plan plan;
};

/* Sites in turn over `sites`; ring=1 on every fourth node. */
static struct fixture *begin(size_t count, size_t sites)
{
	struct fixture *f = mem_alloc(sizeof(*f));

	deployment_spec_defaults(&f->spec);
	STR_CUT(f->spec.name, "ocr");
	STR_CUT(f->spec.selector, "all");
	f->spec.release = trace_digest(2);
	f->count = count;
	for (size_t i = 0; i < count; i++) {
		struct label *labels = f->labels[i];

		STR_CUT(labels[0].key, "site");
		snprintf(labels[0].value, sizeof(labels[0].value), "s%zu", i % sites);
		STR_CUT(labels[1].key, "ring");
		STR_CUT(labels[1].value, i % 4 ? "2" : "1");
		STR_CUT(labels[2].key, "number");
		snprintf(labels[2].value, sizeof(labels[2].value), "%zu", i);
		f->nodes[i] = (struct fleet_node){.id = trace_node_id((uint32_t)i + 1),
						  .labels = labels,
						  .labels_count = LABELS,
						  .reachable = true,
						  .member = true,
						  .release = trace_digest(1)};
	}
	return f;
}

static void make(struct fixture *f)
{
	struct err err = {0};

	plan_free(&f->plan);
	if (plan_make(&f->spec, f->nodes, f->count, &f->plan, &err) < 0)
		fail_msg("%s", err.text);
}

static void end(struct fixture *f)
{
	plan_free(&f->plan);
	deployment_spec_free(&f->spec);
	free(f);
}

static size_t index_of(const struct fixture *f, const struct plan_node *node)
{
	for (size_t i = 0; i < f->count; i++)
		if (node_id_equal(&f->nodes[i].id, &node->id))
			return i;
	fail_msg("a node that nobody gave");
	return 0;
}

/* Each node in exactly one stage, stages cover all nodes, in order. */
static void check_whole(const struct fixture *f)
{
	const struct plan *plan = &f->plan;
	bool seen[NODES_MAX] = {false};
	uint32_t next = 0;

	for (size_t s = 0; s < plan->stages_count; s++) {
		assert_int_equal(plan->stages[s].first, next);
		assert_true(plan->stages[s].count > 0);
		next += plan->stages[s].count;
		for (uint32_t i = plan->stages[s].first; i < next; i++) {
			size_t node = index_of(f, &plan->nodes[i]);

			assert_int_equal(plan->nodes[i].stage, s);
			assert_false(seen[node]);
			seen[node] = true;
		}
	}
	assert_int_equal(next, plan->nodes_count);
}

static void set_stages(struct fixture *f, const struct stage_spec *stages, size_t count)
{
	free(f->spec.stages);
	f->spec.stages = mem_copy(stages, count * sizeof(*stages));
	f->spec.stages_count = count;
}

static void expect_sizes(const struct fixture *f, const uint32_t *sizes, size_t count)
{
	assert_int_equal(f->plan.stages_count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(f->plan.stages[i].count, sizes[i]);
}

#define SIZES(f, ...)                                                                              \
	do {                                                                                       \
		static const uint32_t sizes[] = {__VA_ARGS__};                                     \
		expect_sizes((f), sizes, ARRAY_SIZE(sizes));                                       \
	} while (0)

static void test_defaults(void **state)
{
	struct fixture *f = begin(10, 3);

	make(f);
	check_whole(f);
	SIZES(f, 1, 2, 2, 2, 2, 1);
	assert_string_equal(f->plan.stages[0].name, "canary-1");
	assert_true(f->plan.stages[0].canary);
	assert_int_equal(f->plan.stages[0].bake_ms, 300000);
	assert_string_equal(f->plan.stages[1].name, "batch-1");
	assert_int_equal(f->plan.max_unavailable, 2);
	assert_int_equal(plan_changes(&f->plan), 10);
	end(f);
}

static void test_shares_round_towards_caution(void **state)
{
	assert_int_equal(share_up((struct share){true, 10}, 5), 1);
	assert_int_equal(share_up((struct share){true, 20}, 11), 3);
	assert_int_equal(share_up((struct share){true, 100}, 7), 7);
	assert_int_equal(share_up((struct share){false, 9}, 4), 4);
	assert_int_equal(share_up((struct share){false, 3}, 0), 0);
	assert_int_equal(share_down((struct share){true, 20}, 4), 0);
	assert_int_equal(share_down((struct share){true, 20}, 11), 2);
	assert_int_equal(share_down((struct share){false, 9}, 4), 4);
}

static void test_percent_is_of_those_that_match_where(void **state)
{
	struct fixture *f = begin(100, 5);
	struct stage_spec stages[] = {
		{.nodes = {.value = 2}, .bake_ms = 1},
		{.nodes = {.percent = true, .value = 20}, .bake_ms = 2, .where = "ring=1"},
		{.nodes = {.percent = true, .value = 100}, .bake_ms = 3, .where = "ring=1"},
	};

	f->spec.batch = (struct share){.percent = true, .value = 50};
	set_stages(f, stages, ARRAY_SIZE(stages));
	make(f);
	check_whole(f);
	assert_int_equal(f->plan.stages[0].count, 2);
	assert_int_equal(f->plan.stages[1].count, 5); /* 20 % of 25 */
	assert_int_equal(f->plan.stages[2].bake_ms, 3);
	for (uint32_t i = f->plan.stages[1].first;
	     i < f->plan.stages[2].first + f->plan.stages[2].count; i++)
		assert_int_equal(index_of(f, &f->plan.nodes[i]) % 4, 0);
	for (uint32_t i = f->plan.stages[3].first; i < f->plan.nodes_count; i++)
		assert_int_not_equal(index_of(f, &f->plan.nodes[i]) % 4, 0);
	end(f);
}

static void test_order_of_input_does_not_matter(void **state)
{
	struct fixture *f = begin(60, 4);
	struct plan first;
	struct rng rng = {.state = 5};

	f->nodes[7].release = f->spec.release;
	f->nodes[9].cordoned = true;
	make(f);
	codec_copy(&codec_plan, &first, &f->plan);
	for (size_t i = f->count; i > 1; i--) {
		size_t j = (size_t)rng_below(&rng, i);
		struct fleet_node node = f->nodes[i - 1];

		f->nodes[i - 1] = f->nodes[j];
		f->nodes[j] = node;
	}
	make(f);
	assert_true(codec_equal(&codec_plan, &first, &f->plan));
	codec_free(&codec_plan, &first);
	end(f);
}

/* spec: ROLL-10 */
static void test_seed_is_name_and_release(void **state)
{
	struct fixture *f = begin(100, 1);
	struct digest a = trace_digest(1), b = trace_digest(2);
	struct node_id canary;

	assert_true(plan_seed("ocr", &a) == plan_seed("ocr", &a));
	assert_true(plan_seed("ocr", &a) != plan_seed("ocr", &b));
	assert_true(plan_seed("ocr", &a) != plan_seed("ocs", &a));
	make(f);
	canary = f->plan.nodes[0].id;
	f->spec.release = trace_digest(9);
	make(f);
	assert_false(node_id_equal(&canary, &f->plan.nodes[0].id)); /* another draw */
	end(f);
}

/* Every prefix holds each site in its share, up to rounding. */
static void test_sites_are_spread(void **state)
{
	struct fixture *f = begin(100, 5);
	struct stage_spec stages[] = {{.nodes = {.value = 10}, .bake_ms = 1}};
	uint32_t sites[5] = {0};

	set_stages(f, stages, 1);
	make(f);
	for (uint32_t i = 0; i < 10; i++)
		sites[index_of(f, &f->plan.nodes[i]) % 5]++;
	for (size_t i = 0; i < 5; i++)
		assert_true(sites[i] >= 1 && sites[i] <= 3);
	end(f);
}

/* Over many releases each node is a canary about as often as any other. */
static void test_draw_is_fair(void **state)
{
	struct fixture *f = begin(10, 3);
	uint32_t times[10] = {0};

	for (uint32_t i = 0; i < 2000; i++) {
		memcpy(f->spec.release.bytes, &i, sizeof(i));
		make(f);
		times[index_of(f, &f->plan.nodes[0])]++;
	}
	for (size_t i = 0; i < 10; i++) /* 200 expected, deviation 13 */
		assert_in_range(times[i], 130, 270);
	end(f);
}

static void test_nodes_on_the_release_are_done(void **state)
{
	struct fixture *f = begin(10, 1);

	for (size_t i = 0; i < 4; i++)
		f->nodes[i].release = f->spec.release;
	make(f);
	check_whole(f);
	SIZES(f, 1, 2, 2, 1 + 4);
	assert_int_equal(plan_changes(&f->plan), 6);
	assert_false(f->plan.nodes[0].already);
	assert_true(f->plan.nodes[9].already);
	for (size_t i = 4; i < 10; i++)
		f->nodes[i].release = f->spec.release;
	make(f);
	SIZES(f, 10);
	assert_int_equal(plan_changes(&f->plan), 0);
	end(f);
}

static void test_cordoned_and_removed(void **state)
{
	struct fixture *f = begin(10, 1);

	STR_CUT(f->spec.selector, "ring=2");
	f->nodes[1].cordoned = true;
	f->nodes[4].member = false;
	make(f);
	assert_int_equal(f->plan.nodes_count, 6);
	assert_int_equal(f->plan.excluded_count, 1);
	assert_true(node_id_equal(&f->plan.excluded[0].id, &f->nodes[1].id));
	assert_int_equal(f->plan.removed_count, 2); /* nodes 0 and 8; 4 never had it */
	assert_int_equal(f->plan.max_unavailable, 1);
	assert_int_equal(plan_check_removal(&f->plan, false, NULL), -EPERM);
	assert_int_equal(plan_check_removal(&f->plan, true, NULL), 0);
	f->nodes[8].member = false;
	make(f);
	assert_int_equal(plan_check_removal(&f->plan, false, NULL), 0);
	end(f);
}

static void test_canaries_are_drawn_from_those_that_answer(void **state)
{
	struct fixture *f = begin(10, 3);

	for (size_t i = 0; i < 10; i++)
		f->nodes[i].reachable = i == 6;
	for (uint8_t release = 2; release < 20; release++) {
		f->spec.release = trace_digest(release);
		make(f);
		assert_int_equal(index_of(f, &f->plan.nodes[0]), 6);
	}
	end(f);
}

static void test_blue_green_is_a_plan_with_a_switch(void **state)
{
	struct fixture *f = begin(10, 3);

	f->spec.strategy = STRATEGY_BLUE_GREEN;
	f->spec.promote = PROMOTE_MANUAL;
	make(f);
	assert_int_equal(f->plan.stages_count, 2);
	assert_int_equal(f->plan.stages[0].step, STEP_PREPARE);
	assert_int_equal(f->plan.stages[0].count, 10);
	assert_int_equal(f->plan.stages[1].step, STEP_SWITCH);
	assert_int_equal(f->plan.stages[1].count, 10);
	assert_int_equal(f->plan.stages[1].max_in_change, 10);
	assert_true(f->plan.stages[1].wait_promote);
	f->spec.swap = SWAP_STOP_FIRST;
	assert_int_equal(plan_make(&f->spec, f->nodes, f->count, &f->plan, NULL), -EINVAL);
	end(f);
}

static void test_nothing_to_plan(void **state)
{
	struct fixture *f = begin(3, 1);
	struct err err = {0};

	STR_CUT(f->spec.selector, "site=elsewhere");
	assert_int_equal(plan_make(&f->spec, f->nodes, f->count, &f->plan, &err), -EINVAL);
	assert_non_null(strstr(err.text, "site=elsewhere"));
	assert_int_equal(plan_make(&f->spec, f->nodes, 0, &f->plan, &err), -EINVAL);
	end(f);
}

/* A stored plan comes back as it was. */
static void test_plan_survives_the_store(void **state)
{
	struct fixture *f = begin(30, 4);
	struct bytes bytes;
	struct plan back;

	f->nodes[3].cordoned = true;
	STR_CUT(f->spec.per_label, "site");
	f->spec.per_label_nodes = 2;
	make(f);
	assert_int_equal(codec_encode(&codec_plan, &f->plan, LIMIT_AGENT_MESSAGE, &bytes, NULL), 0);
	assert_int_equal(codec_decode(&codec_plan, bytes.data, bytes.size, &back, NULL), 0);
	assert_true(codec_equal(&codec_plan, &f->plan, &back));
	assert_int_equal(back.stages[0].max_in_change_per_group, 2);
	assert_true(back.nodes[0].group[0] == 's');
	free(bytes.data);
	codec_free(&codec_plan, &back);
	end(f);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_defaults),
	cmocka_unit_test(test_shares_round_towards_caution),
	cmocka_unit_test(test_percent_is_of_those_that_match_where),
	cmocka_unit_test(test_order_of_input_does_not_matter),
	cmocka_unit_test(test_seed_is_name_and_release),
	cmocka_unit_test(test_sites_are_spread),
	cmocka_unit_test(test_draw_is_fair),
	cmocka_unit_test(test_nodes_on_the_release_are_done),
	cmocka_unit_test(test_cordoned_and_removed),
	cmocka_unit_test(test_canaries_are_drawn_from_those_that_answer),
	cmocka_unit_test(test_blue_green_is_a_plan_with_a_switch),
	cmocka_unit_test(test_nothing_to_plan),
	cmocka_unit_test(test_plan_survives_the_store),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
