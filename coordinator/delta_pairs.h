/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunk of a release is made against which chunk of another: the same place in the tensor
 * with the same key (name, type, shape), wherever it lies; outside of tensors the same place in the
 * file of the same path. Layers are left alone: what is alike in them is equal chunks already.
 * Pure: lists in, pairs out.
 */
#pragma once

#include "covey/release.h"

struct delta_side { /* one of the two releases; owns both */
	struct release release;
	struct chunk_index *indices; /* for each blob; layers: empty */
	uint64_t **offsets;	     /* of each chunk in its blob */
};

struct delta_pair { /* a chunk that only the target has */
	struct chunk_ref chunk, base; /* base.size 0: it has none */
	struct element element;	      /* width 0: not known */
};

struct delta_pairs;

/* Releases must have their files' indices; borrows both while it lives. */
struct delta_pairs *delta_pairs_create(const struct delta_side *target,
				       const struct delta_side *base);
void delta_pairs_free(struct delta_pairs *pairs);
/* The next chunk in the order of the target's files, each digest once; false: that was all. */
bool delta_pairs_next(struct delta_pairs *pairs, struct delta_pair *ret_pair);

void delta_side_free(struct delta_side *side);
/* Fills offsets, once release and indices are there. */
void delta_side_count(struct delta_side *side);
