/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delta set on its way (internal to the chunk store): its list, which of its objects still have
 * to come, and the step from an object to chunks of the release that it is for. Nothing of it is
 * kept on disk: what was made of it is. Memory: the list, one object, a few chunks.
 */
#pragma once

#include "agent/chunks/stage.h"
#include "protocol/coding/coding.h"
#include "protocol/delta_set.h"

struct delta_stage {
	struct delta_stage *next;
	struct digest id;     /* of the set */
	struct digest target; /* the release that it is for */
	bool opened;	      /* the list is here */
	struct delta_set set;
	bool *done;	      /* for each object: it came, or is not needed */
	size_t left;
};

struct delta_source { /* of the chunks that go in */
	void *context;
	/* As chunk_store_read(). */
	int (*read)(void *context, const struct digest *chunk, struct bytes *ret_data);
	/* Is the chunk durable on this node's disk? Cheap. */
	bool (*has)(void *context, const struct digest *chunk);
};

struct delta_stage *delta_stage_create(const struct digest *set, const struct digest *target);
void delta_stage_free(struct delta_stage *stage);

/* Takes the list, and finds out what is needed of it. -EBADMSG: it is not that set. */
int delta_stage_open(struct delta_stage *stage, const void *data, size_t size,
		     const struct delta_source *source, struct err *err) COVEY_MUST_CHECK;
/* Objects that have to come. */
void delta_stage_missing(const struct delta_stage *stage, struct wanted_object *ret_items,
			 size_t max, size_t *ret_count);
/* data's digest was verified already. Chunks go to `to`, the stage of the target. -ESTALE: no chunk
 * came of some of it, which are then fetched whole; the object is done all the same. */
int delta_stage_put(struct delta_stage *stage, struct stage *to, struct coding *coding,
		    const struct delta_source *source, const struct digest *digest,
		    const struct bytes *data, struct err *err) COVEY_MUST_CHECK;
