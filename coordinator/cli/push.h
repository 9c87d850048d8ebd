/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending a packed release: ask which objects are missing, send those, then the manifest. Nothing
 * is remembered here; an interrupted push asks again and goes on where it stopped.
 */
#pragma once

#include "coordinator/cli/client.h"
#include "coordinator/cli/pack.h"

struct push_blob { /* chunks that are this blob's: one that is in two is counted with the first */
	uint64_t objects, bytes, new_objects, new_bytes;
};

struct push_result {
	uint64_t objects, bytes;         /* of the release, each once */
	uint64_t new_objects, new_bytes; /* that were sent */
	struct push_blob *blobs;         /* in the order of the pack's; owned */
	json_t *answer;                  /* of release.put; owned */
};

int push_send(struct cli *cli, struct client *client, const struct pack *pack,
              struct push_result *ret_result);
/* A line on a terminal that is overwritten; "" ends it. Nothing elsewhere. */
void push_progress(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
