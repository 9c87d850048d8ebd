/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything outside the coordinator's shell, as a table of functions: clock, randomness, links,
 * the online key, object files. main.c fills it with the real ones, the simulator with its own.
 * Functions may be called from any entry point of coordinator.h, never re-enter the shell, and
 * do not block beyond a file's fsync. `user` is handed to each of them. No member may be NULL.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"
#include "protocol/manifest.h"

/* Called for each object that is stored; changed_ms is when it was last put (unix ms). */
typedef int world_object_fn(void *arg, const struct digest *digest, uint64_t size,
			    uint64_t changed_ms);

struct coordinator_world {
	void *user;

	/* Unix ms that never goes back while the process lives. */
	uint64_t (*now_ms)(void *user);
	/* Unpredictable bytes: ids, token secrets. */
	void (*random)(void *user, void *data, size_t size);

	/* Sends one encoded message to a node. Best effort: whatever is lost is sent again because
	 * the node's heartbeat shows an old generation. */
	void (*send_to_agent)(void *user, const struct node_id *node, const void *data,
			      size_t size);
	/* Sends one encoded message, heap memory, over the data channel. 0: it is freed when it was
	 * sent; else it still belongs to the caller: -EHOSTUNREACH, -EAGAIN. */
	int (*send_data)(void *user, const struct node_id *node, void *data, size_t size);
	/* Answers request of `client` (coordinator_on_control); data is a whole encoded
	 * msg_control_reply. A client that is gone is no error. */
	void (*control_reply)(void *user, uint64_t client, const void *data, size_t size);
	/* coordinator_tick() is wanted at this time (unix ms); replaces the time before. */
	void (*arm_timer)(void *user, uint64_t at_ms);

	/* Hands one JSON object to whoever listens for retraining (docs/JUDGEMENT.md), without
	 * waiting for what it does. -ENOENT: nobody is configured or listens. */
	int (*hook)(void *user, const char *json, struct err *err);

	/* Adds the online key's signature (SIGNED_IDENTITY) over envelope->payload. */
	int (*sign_identity)(void *user, struct envelope *envelope, struct err *err);

	/* Objects by digest. put: durable when it returns, idempotent, the shell has checked the
	 * digest; -ENOSPC with a sentence when the disk is full. get: -ENOENT when it is not there,
	 * -EBADMSG when its bytes no longer have that digest; data belongs to the caller. */
	/* Also renews changed_ms: whoever asks is about to build on it. */
	bool (*object_has)(void *user, const struct digest *digest);
	int (*object_put)(void *user, const struct digest *digest, const void *data, size_t size,
			  struct err *err);
	int (*object_get)(void *user, const struct digest *digest, struct bytes *ret_data,
			  struct err *err);
	/* As it lies there, unchecked, for a receiver that checks it. -ENOENT: not, or not as long. */
	int (*object_peek)(void *user, const struct digest *digest, void *buffer, size_t size);
	int (*object_remove)(void *user, const struct digest *digest, struct err *err);
	/* Calls fn for each object until it returns non-zero; fn may not put, but may remove. */
	int (*object_each)(void *user, world_object_fn *fn, void *arg, struct err *err);
};
