/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delta sets on the node (internal to the chunk store): the list of a set, which of its objects
 * still have to come, and the step from an object to chunks of the release that it is for. What
 * came stays in <dir>/deltas for a day, for neighbours. Memory: the list, one object, a few chunks.
 */
#pragma once

#include "agent/chunks/stage.h"
#include "protocol/coding/coding.h"
#include "protocol/delta_set.h"

struct delta_stage { /* a set that a release waits for */
	struct delta_stage *next;
	struct digest id;     /* of the set */
	struct digest target; /* the release that it is for */
	bool opened;	      /* the list is here */
	struct delta_set set;
	bool *done;	      /* for each object */
	size_t left;
};

struct deltas {
	const struct store_files *files;
	struct delta_stage *first;
	struct coding *coding; /* while there is a set */
};

struct delta_source { /* of the chunks that go in */
	void *context;
	/* Verified; ret_data is the caller's. -ENOENT, -EBADMSG. */
	int (*read)(void *context, const struct digest *chunk, struct bytes *ret_data);
};

struct delta_stage *deltas_find(const struct deltas *deltas, const struct digest *set);
struct delta_stage *deltas_add(struct deltas *deltas, const struct digest *set,
			       const struct digest *target);
void deltas_drop(struct deltas *deltas, struct delta_stage *stage);

/* Takes the list, and looks which objects lie here already. -EBADMSG: it is not that set. */
int deltas_open(struct deltas *deltas, struct delta_stage *stage, const void *data, size_t size,
		struct err *err) COVEY_MUST_CHECK;
/* Objects that have to come. */
void deltas_missing(const struct delta_stage *stage, struct wanted_object *ret_items, size_t max,
		    size_t *ret_count);
/* data's digest was verified already. Chunks go to `to`, the stage of the target. -ESTALE: no chunk
 * came of some of it, which are then fetched whole; the object is done all the same. */
int deltas_put(struct deltas *deltas, struct delta_stage *stage, struct stage *to,
	       const struct delta_source *source, const struct digest *digest,
	       const struct bytes *data, struct err *err) COVEY_MUST_CHECK;

/* ---- for neighbours ---- */

/* The objects of a set that lies here; free *ret_chunks. -ENOENT. */
int deltas_chunks(const struct store_files *files, const struct digest *set,
		  struct chunk_ref **ret_chunks, size_t *ret_count,
		  struct err *err) COVEY_MUST_CHECK;
bool deltas_are_whole(const struct store_files *files, const struct digest *set);
/* One object of exactly this size, not verified. -ENOENT. */
int deltas_read(const struct store_files *files, const struct digest *object, void *buffer,
		size_t size) COVEY_MUST_CHECK;
/* Removes what is a day old, or everything. */
void deltas_sweep(const struct store_files *files, uint64_t unix_ms, bool all);
