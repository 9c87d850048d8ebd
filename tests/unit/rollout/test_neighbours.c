/* SPDX-License-Identifier: Apache-2.0 */
/* The graph of neighbours: degrees, sites, connectedness, stability. */
#include "base/mem.h"
#include "base/rng.h"
#include "coordinator/core/neighbours.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void join(struct neighbours *g, uint32_t node, uint32_t site, bool thin, bool closed)
{
	struct neighbours_node about = {.site = site, .thin = thin, .closed = closed};

	assert_int_equal(neighbours_join(g, node, &about), 0);
}

static struct neighbours *create(uint32_t nodes, uint32_t sites, uint64_t seed)
{
	struct neighbours *g = neighbours_create(nodes, seed);

	for (uint32_t i = 0; i < nodes; i++)
		join(g, i, i % sites, false, false);
	return g;
}

static bool is_linked(struct neighbours *g, uint32_t a, uint32_t b, struct neighbour *ret)
{
	struct neighbour items[NEIGHBOURS_MAX];
	size_t count = neighbours_of(g, a, items);

	for (size_t i = 0; i < count; i++)
		if (items[i].node == b) {
			*ret = items[i];
			return true;
		}
	return false;
}

/* Links are mutual, no node is its own neighbour, exactly one of two dials. */
static void check(struct neighbours *g, uint32_t nodes)
{
	for (uint32_t a = 0; a < nodes; a++) {
		struct neighbour items[NEIGHBOURS_MAX], back = {0};
		size_t count = neighbours_of(g, a, items);

		for (size_t i = 0; i < count; i++) {
			assert_int_not_equal(items[i].node, a);
			assert_true(is_linked(g, items[i].node, a, &back));
			assert_int_not_equal(items[i].dial, back.dial);
			assert_int_equal(items[i].far, back.far);
			for (size_t k = 0; k < i; k++)
				assert_int_not_equal(items[i].node, items[k].node);
		}
	}
}

/* Steps from node `from` to the farthest; UINT32_MAX: not all are reached. */
static uint32_t eccentricity(struct neighbours *g, uint32_t nodes, uint32_t from)
{
	AUTO_FREE uint32_t *queue = mem_array(nodes, sizeof(*queue));
	AUTO_FREE uint32_t *steps = mem_array(nodes, sizeof(*steps));
	uint32_t first = 0, count = 1;

	queue[0] = from;
	steps[from] = 1;
	for (; first < count; first++) {
		struct neighbour items[NEIGHBOURS_MAX];
		size_t links = neighbours_of(g, queue[first], items);

		for (size_t i = 0; i < links; i++)
			if (!steps[items[i].node]) {
				steps[items[i].node] = steps[queue[first]] + 1;
				queue[count++] = items[i].node;
			}
	}
	return count == nodes ? steps[queue[count - 1]] - 1 : UINT32_MAX;
}

static void a_small_fleet_is_complete(void **state)
{
	for (uint32_t nodes = 1; nodes <= NEIGHBOURS_ALL; nodes++) {
		struct neighbours *g = create(nodes, 2, nodes);
		struct neighbour items[NEIGHBOURS_MAX];

		for (uint32_t i = 0; i < nodes; i++)
			assert_int_equal(neighbours_of(g, i, items), nodes - 1);
		assert_false(neighbours_is_sparse(g));
		check(g, nodes);
		neighbours_free(g);
	}
}

static void a_large_fleet_is_regular_and_near(void **state)
{
	static const uint32_t fleets[] = {NEIGHBOURS_ALL + 1, 30, 100, 1000, 3000};

	for (size_t i = 0; i < ARRAY_SIZE(fleets); i++) {
		struct neighbours *g = create(fleets[i], 1, i + 1);
		struct neighbour items[NEIGHBOURS_MAX];

		for (uint32_t node = 0; node < fleets[i]; node++)
			assert_in_range(neighbours_of(g, node, items), NEIGHBOURS_LEAST,
					NEIGHBOURS_MOST);
		assert_true(neighbours_is_sparse(g));
		check(g, fleets[i]);
		assert_in_range(eccentricity(g, fleets[i], 0), 2, 6);
		neighbours_free(g);
	}
}

static void the_same_seed_draws_the_same_graph(void **state)
{
	struct neighbours *a = create(200, 3, 9), *b = create(200, 3, 9), *c = create(200, 3, 10);
	struct neighbour x[NEIGHBOURS_MAX], y[NEIGHBOURS_MAX];
	uint32_t other = 0;

	memset(x, 0, sizeof(x));
	memset(y, 0, sizeof(y));
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(neighbours_of(a, i, x), neighbours_of(b, i, y));
		for (uint32_t k = 0; k < NEIGHBOURS_LEAST; k++) {
			assert_int_equal(x[k].node, y[k].node);
			assert_int_equal(x[k].dial, y[k].dial);
		}
		neighbours_of(c, i, y);
		other += x[0].node != y[0].node;
	}
	assert_true(other > 100);
	neighbours_free(a);
	neighbours_free(b);
	neighbours_free(c);
}

static void a_site_is_among_itself_with_a_few_links_to_others(void **state)
{
	enum { NODES = 300, SITES = 3 };
	struct neighbours *g = create(NODES, SITES, 4);
	uint32_t across = 0, within = 0;

	for (uint32_t i = 0; i < NODES; i++) {
		struct neighbour items[NEIGHBOURS_MAX];
		size_t count = neighbours_of(g, i, items);

		assert_in_range(count, NEIGHBOURS_LEAST, NEIGHBOURS_MAX);
		for (size_t k = 0; k < count; k++) {
			across += items[k].node % SITES != i % SITES;
			within += items[k].node % SITES == i % SITES;
			assert_false(items[k].far);
		}
	}
	assert_in_range(across, 2 * SITES * 2, within / 5);
	assert_in_range(eccentricity(g, NODES, 0), 2, 10);
	neighbours_free(g);
}

static void small_sites_take_the_rest_from_elsewhere(void **state)
{
	enum { NODES = 120 };
	struct neighbours *g = create(NODES, 40, 4); /* sites of three */
	struct neighbour items[NEIGHBOURS_MAX], link = {0};

	for (uint32_t i = 0; i < NODES; i++) {
		assert_in_range(neighbours_of(g, i, items), NEIGHBOURS_LEAST, NEIGHBOURS_MOST + 2);
		assert_true(is_linked(g, i, (i + 40) % NODES, &link));
		assert_true(is_linked(g, i, (i + 80) % NODES, &link));
	}
	check(g, NODES);
	neighbours_free(g);
}

static void a_thin_site_has_a_few_far_links(void **state)
{
	enum { NODES = 100, THIN = 30 };
	struct neighbours *g = neighbours_create(NODES, 1);
	uint32_t far = 0;

	for (uint32_t i = 0; i < NODES; i++)
		join(g, i, i < THIN, i < THIN, false);
	for (uint32_t i = 0; i < THIN; i++) {
		struct neighbour items[NEIGHBOURS_MAX];
		size_t count = neighbours_of(g, i, items);

		for (size_t k = 0; k < count; k++) {
			assert_int_equal(items[k].far, items[k].node >= THIN);
			far += items[k].far;
		}
	}
	assert_in_range(far, 1, 2 * NEIGHBOURS_FAR);
	neighbours_free(g);
}

static uint32_t drain_changed(struct neighbours *g)
{
	uint32_t node, count = 0;

	while (neighbours_next_changed(g, &node))
		count++;
	return count;
}

static void joining_and_leaving_disturb_few(void **state)
{
	enum { NODES = 500 };
	struct neighbours *g = create(NODES, 1, 3);
	struct neighbour items[NEIGHBOURS_MAX];
	struct rng rng = {77};

	assert_int_equal(drain_changed(g), NODES);
	for (int i = 0; i < 2000; i++) {
		uint32_t node = (uint32_t)rng_below(&rng, NODES);

		neighbours_leave(g, node);
		assert_true(drain_changed(g) <= 2 * NEIGHBOURS_MOST + 2);
		join(g, node, 0, false, false);
		assert_true(drain_changed(g) <= NEIGHBOURS_DEGREE + 3);
	}
	check(g, NODES);
	for (uint32_t i = 0; i < NODES; i++)
		assert_in_range(neighbours_of(g, i, items), NEIGHBOURS_LEAST, NEIGHBOURS_MOST);
	assert_in_range(eccentricity(g, NODES, 5), 2, 6);
	neighbours_free(g);
}

static void a_fleet_that_shrinks_is_complete_again(void **state)
{
	struct neighbours *g = create(60, 2, 3);
	struct neighbour items[NEIGHBOURS_MAX];
	struct neighbours_node about = {0};

	assert_int_equal(neighbours_join(g, 3, &about), -EEXIST);
	for (uint32_t i = 59; i >= 10; i--)
		neighbours_leave(g, i);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(neighbours_of(g, i, items), 9);
	neighbours_leave(g, 30); /* was not there */
	check(g, 60);
	neighbours_free(g);
}

static void who_cannot_be_reached_dials_or_is_replaced(void **state)
{
	struct neighbours *g = create(100, 1, 3);
	struct neighbour items[NEIGHBOURS_MAX], link = {0};
	size_t count = neighbours_of(g, 0, items);
	uint32_t other = items[0].node, dialler = items[0].dial ? 0 : other;

	drain_changed(g);
	assert_true(neighbours_failed(g, dialler, other + 0 - dialler, false));
	assert_true(is_linked(g, 0, other, &link)); /* the other one tries */
	assert_int_not_equal(link.dial, items[0].dial);
	assert_int_equal(drain_changed(g), 2);
	assert_true(neighbours_failed(g, other + 0 - dialler, dialler, false));
	assert_false(is_linked(g, 0, other, &link)); /* neither could */
	assert_in_range(neighbours_of(g, 0, items), count - 1, NEIGHBOURS_MOST);
	assert_false(neighbours_failed(g, 0, other, false));
	check(g, 100);
	neighbours_free(g);
}

static void behind_a_firewall_a_node_dials(void **state)
{
	enum { NODES = 60 };
	struct neighbours *g = create(NODES, 1, 8);
	struct neighbour items[NEIGHBOURS_MAX];
	size_t count = neighbours_of(g, 0, items);
	uint32_t told = 0;

	for (size_t i = 0; i < count && told < NEIGHBOURS_CLOSED; i++)
		if (!items[i].dial) {
			assert_true(neighbours_failed(g, items[i].node, 0, false));
			told++;
		}
	assert_int_equal(told, NEIGHBOURS_CLOSED);
	count = neighbours_of(g, 0, items);
	assert_true(count >= NEIGHBOURS_LEAST);
	for (size_t i = 0; i < count; i++)
		assert_true(items[i].dial);
	check(g, NODES);
	neighbours_free(g);
}

static void two_that_cannot_be_dialled_are_no_neighbours(void **state)
{
	enum { NODES = 80 };
	struct neighbours *g = neighbours_create(NODES, 1);

	for (uint32_t i = 0; i < NODES; i++)
		join(g, i, 0, false, i % 2);
	for (uint32_t i = 1; i < NODES; i += 2) {
		struct neighbour items[NEIGHBOURS_MAX];
		size_t count = neighbours_of(g, i, items);

		assert_true(count >= NEIGHBOURS_LEAST);
		for (size_t k = 0; k < count; k++) {
			assert_int_equal(items[k].node % 2, 0);
			assert_true(items[k].dial);
		}
	}
	neighbours_free(g);
}

static void a_liar_is_left_for_good(void **state)
{
	struct neighbours *g = create(100, 1, 3);
	struct neighbour items[NEIGHBOURS_MAX], link = {0};
	uint32_t liar = 50;
	size_t count = neighbours_of(g, liar, items);

	for (size_t i = 0; i < count; i++) {
		assert_true(neighbours_failed(g, items[i].node, liar, true));
		assert_false(is_linked(g, items[i].node, liar, &link));
	}
	check(g, 100);
	neighbours_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_fleet_is_complete),
		cmocka_unit_test(a_large_fleet_is_regular_and_near),
		cmocka_unit_test(the_same_seed_draws_the_same_graph),
		cmocka_unit_test(a_site_is_among_itself_with_a_few_links_to_others),
		cmocka_unit_test(small_sites_take_the_rest_from_elsewhere),
		cmocka_unit_test(a_thin_site_has_a_few_far_links),
		cmocka_unit_test(joining_and_leaving_disturb_few),
		cmocka_unit_test(a_fleet_that_shrinks_is_complete_again),
		cmocka_unit_test(who_cannot_be_reached_dials_or_is_replaced),
		cmocka_unit_test(behind_a_firewall_a_node_dials),
		cmocka_unit_test(two_that_cannot_be_dialled_are_no_neighbours),
		cmocka_unit_test(a_liar_is_left_for_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
