/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What turns the chunks of one release into those of another (docs/adr/0011-deltas.md). A delta is
 * a chunk's coded form against a base chunk (protocol/coding/coding.h); deltas of neighbouring
 * chunks stand one behind the other in an object. A set lists the objects for one pair of releases
 * and is an object itself. Neither is signed: whoever applies a delta checks the result's digest.
 */
#pragma once

#include "covey/ids.h"

struct delta_item {
	struct digest chunk; /* of the target: what comes out */
	struct digest base;  /* chunk of the base release that goes in */
	uint64_t size;	     /* of the coded form */
};

struct delta_object {
	struct digest digest;
	uint64_t size;	/* its items', together */
	uint32_t items; /* the next so many of the set's */
};

struct delta_set {
	struct digest target, base; /* releases */
	struct delta_object *objects;
	size_t objects_count;
	struct delta_item *items;
	size_t items_count;
};
