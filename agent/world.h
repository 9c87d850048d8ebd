/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything outside the node's shell, as one table of functions: clocks, the link, the helper,
 * probes, the data channel, the chunk store. main.c fills it with the real things, the simulator
 * with fakes. No function calls back into the agent before it returned: answers come later through
 * the agent_on_...() functions of agent.h. Nothing here blocks for long.
 */
#pragma once

#include "agent/helper/api.h"
#include "base/err.h"
#include "base/log.h"
#include "covey/message.h"
#include "covey/release.h"

#include <sys/types.h>

enum { BOOT_ID_TEXT_MAX = 40 };
enum { SOURCE_ORIGIN = 0 }; /* sources of chunks: the coordinator; peers have other numbers */

struct agent_probe { /* one probe of one slot; borrowed texts live for the call only */
	uint64_t id;		/* comes back with agent_on_probe() */
	enum health_kind kind;	/* HTTP or TCP; commands go through the helper's EXEC */
	const char *address;	/* "10.90.1.2", or "127.0.0.1" with network: host */
	uint32_t port;
	const char *http_path;	/* HEALTH_HTTP */
	uint64_t timeout_ms;
};

struct agent_smoke { /* all smoke tests of a release against one slot */
	uint64_t id; /* comes back with agent_on_smoke() */
	struct digest release;
	const char *address;
	uint32_t port;
	uint64_t timeout_ms; /* for all tests together */
};

struct wanted_object { /* something that a release needs before it is complete on disk */
	enum object_kind kind; /* MANIFEST for the signed envelope; CHUNK for chunks and indices */
	struct digest digest;
	uint64_t size; /* of the object; 0 with MANIFEST: not known */
};

struct stage_progress {
	bool manifest;			  /* the signed manifest is here and was verified */
	bool complete;			  /* every chunk is here: seal() comes next */
	uint64_t bytes_done, bytes_total; /* of content; 0 before the manifest is here */
};

/*
 * The chunk store as the shell sees it. One release is "staged" in four steps: its signed manifest,
 * the indices of its blobs, their chunks, the seal. Errors: -ENOSPC, -EIO, -EBADMSG (the bytes are
 * not what the digest says), -EKEYREJECTED (manifest not signed as the root document wants).
 */
struct chunk_store_ops {
	void *context; /* first argument of every function */
	/* Lists up to max objects that are missing: first the manifest, then indices, then chunks,
	 * never mixed. What another blob on the disk already holds is copied on the way and not
	 * listed. ret_count 0 and not complete: call again (it copies in bounded steps). Objects
	 * given to put() that are not on the platter yet count as here. */
	int (*missing)(void *context, const struct digest *release, struct wanted_object *ret_items,
		       size_t max, size_t *ret_count, struct stage_progress *ret_progress,
		       struct err *err);
	/* Verifies data against the digest and keeps it for `release`. */
	int (*put)(void *context, const struct digest *release, enum object_kind kind,
		   const struct digest *digest, const void *data, size_t size, struct err *err);
	/* Verifies whole contents, makes them durable under their final names. One bounded step a
	 * call: 0 done, -EAGAIN call again, -EBADMSG: a content was wrong and is forgotten. */
	int (*seal)(void *context, const struct digest *release, struct err *err);
	/* 0 and the manifest of a release (release_free()), or -ENOENT. */
	int (*release)(void *context, const struct digest *release, struct release *ret_release,
		       struct err *err);
	/* True when the release lies sealed on the disk. */
	bool (*sealed)(void *context, const struct digest *release);
	/* The helper found the release damaged on the disk (EBADMSG): it counts as not sealed until
	 * seal() has read all of it again; what is wrong is fetched anew. */
	void (*suspect)(void *context, const struct digest *release);
	/* Keeps these releases; others go, oldest first, while the quota or the free space asks.
	 * ret_dropped: releases went, whose unpacked forms the helper may forget. */
	int (*prune)(void *context, const struct digest_item *keep, size_t keep_count,
		     bool *ret_dropped, struct err *err);
	/* Forgets buffers and open files when no fetch is under way. */
	void (*idle)(void *context);
};

struct agent_world {
	void *context; /* first argument of every function below */
	uint64_t (*now_ms)(void *context);  /* CLOCK_BOOTTIME: deadlines */
	uint64_t (*unix_ms)(void *context); /* for records and windows */
	uint64_t (*random)(void *context);
	void (*boot_id)(void *context, char ret_text[BOOT_ID_TEXT_MAX]); /* changes with a reboot */
	void (*inventory)(void *context, struct inventory *ret_inventory); /* all but runtime */
	/* One message to the coordinator. Lost messages are repaired by repetition; -ENOTCONN. */
	int (*send)(void *context, const void *data, size_t size);
	/* One packet to the helper -> agent_on_helper(). -ENOTCONN: comes again after
	 * agent_on_helper_up(). */
	int (*helper)(void *context, const struct helper_request *request);
	void (*probe)(void *context, const struct agent_probe *probe); /* -> agent_on_probe() */
	void (*smoke)(void *context, const struct agent_smoke *smoke); /* -> agent_on_smoke() */
	/* GET of http_path, all of the answer -> agent_on_scraped(). */
	void (*scrape)(void *context, const struct agent_probe *probe);
	/* Forget a probe, scrape or smoke test: no answer comes any more. Unknown ids are fine. */
	void (*cancel)(void *context, uint64_t id);
	/* Ask a source for an object -> agent_on_object(). -ENOTCONN: opens the way to the source;
	 * agent_on_source() says when it is there. */
	int (*get)(void *context, uint32_t source, const struct wanted_object *object);
	/* Nothing to fetch for now: close the data channel, give memory back. */
	void (*get_idle)(void *context);
	/* Nothing was heard for LIMIT_SILENCE_MS although the link looks up: connect anew. */
	void (*relink)(void *context);
	/* The coordinator will not talk to us: come back after a long while. */
	void (*refused)(void *context, const char *text);
	/* The datagram socket by which the server in a slot says what it observes, opened anew ->
	 * agent_on_observed(handle). -ENOENT: the helper has not made its folder yet. */
	int (*observe_open)(void *context, const char *deployment, enum colour colour,
			    uint64_t handle);
	/* The next datagram's size; -EAGAIN: none waits; -EMSGSIZE: it was larger, and is gone. */
	ssize_t (*observe_read)(void *context, uint64_t handle, void *data, size_t size);
	void (*observe_close)(void *context, uint64_t handle); /* unknown handles are fine */
	bool (*memory_is_short)(void *context); /* asked with each heartbeat */
	/* Call agent_tick() at this time (now_ms's clock); UINT64_MAX: never. Replaces the last. */
	void (*arm)(void *context, uint64_t at_ms);
	void (*log)(void *context, enum log_level level, const char *text);
	/* What operators look for; NULL: it goes to log() as any line. */
	void (*event)(void *context, const struct log_event *event, const char *text);
	struct chunk_store_ops store;
};
