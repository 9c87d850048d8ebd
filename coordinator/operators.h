/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may use the operators' channel over the network: a file of lines "role key name", the role
 * one of viewer, operator, admin, the key 64 hex digits. # begins a comment.
 */
#pragma once

#include "coordinator/coordinator.h"

struct operator_entry {
	enum operator_role role;
	struct public_key key;
	char name[LIMIT_SHORT_TEXT + 1];
};

struct operators {
	struct operator_entry *entries;
	size_t count, cap;
};

/* A file that is not there is an empty list. -EINVAL with file and line; *ret_operators is then
 * left as it was. */
int operators_load(const char *path, struct operators *ret_operators,
		   struct err *err) COVEY_MUST_CHECK;
void operators_free(struct operators *operators);
const struct operator_entry *operators_find(const struct operators *operators,
					    const struct public_key *key); /* NULL: nobody */
