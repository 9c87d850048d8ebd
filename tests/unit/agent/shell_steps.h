/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that tests of the node's shell have in common, on a node without a machine. */
#pragma once

#include "fleetless.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define assert_digest_equal(a, b)                                                                  \
	do {                                                                                       \
		struct digest left = (a), right = (b);                                             \
		assert_memory_equal(left.bytes, right.bytes, DIGEST_SIZE);                         \
	} while (0)

#define STEPS_TEST(name) cmocka_unit_test_setup_teardown(name, steps_setup, steps_teardown)

int steps_setup(void **state); /* *state: the node, not started */
int steps_teardown(void **state);

/* 1.0.0 serves and is committed. */
struct digest steps_install(struct node *node);
/* 2.0.0 is to follow; what the node's bad_... say happens to it. Its digest. */
struct digest steps_bad(struct node *node, const struct digest *first);
/* The change ends rolled back for this reason, and `first` serves as if nothing had been. */
void steps_went_back(struct node *node, const struct digest *first, const char *phase,
		     const char *check);
