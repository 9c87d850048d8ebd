/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the chunk store do again and again: bring objects, seal, look at the disk. */
#pragma once

#include "fleetless.h"

enum { BATCH = 64, CHUNK = 70000 };

int store_setup(void **state); /* *state: a node */
int store_teardown(void **state);

/* What the origin has; the test fails where it has nothing. */
const struct node_object *store_object(const struct node *node, const struct digest *digest);
/* Brings at most `most` objects; returns how many it brought, or a negative errno. */
int store_bring(struct node *node, const struct digest *release, size_t most);
int store_seal(struct node *node, const struct digest *release);
bool store_is_sealed(struct node *node, const struct digest *release);
/* Every blob on the disk is what its name says. */
void store_check_blobs(const struct node *node);
size_t store_files_in(const struct node *node, const char *folder);
