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

#include <errno.h>

#include <sys/types.h>

enum { BOOT_ID_TEXT_MAX = 40 };
/* Sources of chunks: the coordinator; neighbours have the numbers from 1 to LIMIT_NEIGHBOURS. */
enum { SOURCE_ORIGIN = 0 };

struct agent_probe { /* one probe of one slot; borrowed texts live for the call only */
	uint64_t id;		/* comes back with agent_on_probe() */
	enum health_kind kind;	/* HTTP or TCP; commands go through the helper's EXEC */
	const char *address;	/* "10.90.1.2", or "127.0.0.1" with network: host */
	uint32_t port;
	const char *http_path;	/* HEALTH_HTTP */
	uint64_t timeout_ms;
};

enum probe_answer {
	PROBE_BAD,
	PROBE_GOOD,
	PROBE_LOST, /* the node could not ask, for want of something of its own: nobody is to blame */
};

/* error: errno of an attempt to ask. */
static inline bool probe_is_lost(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS ||
	       error == EAGAIN || error == EADDRNOTAVAIL || error == ECANCELED;
}

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
	uint64_t size; /* of the object; 0 with MANIFEST, DELTAS, SET: not known */
};

struct stage_progress {
	bool manifest;			  /* the signed manifest is here and was verified */
	bool complete;			  /* every chunk is here: seal() comes next */
	bool looked; /* where each chunk is, is known: what was not listed is here */
	uint64_t bytes_done, bytes_total; /* of content; 0 before the manifest is here */
};

/*
 * The chunk store as the shell sees it. One release is "staged" in four steps: its signed manifest,
 * the indices of its blobs, their chunks, the seal. Errors: -ENOSPC, -EIO, -EBADMSG (the bytes are
 * not what the digest says), -EKEYREJECTED (manifest not signed as the root document wants).
 */
struct chunk_store_ops {
	void *context; /* first argument of every function */
	/* Lists up to max objects that are missing: first the manifest, then indices, then DELTAS
	 * (whether there are any), then a SET if there is one, then chunks, never mixed. A set is
	 * for the store like a release of its own, which comes before the one that it is for. What another blob on the disk already holds is copied on the way and not
	 * listed. ret_count 0 and not complete: call again (it copies in bounded steps). Objects
	 * given to put() that are not on the platter yet count as here. */
	int (*missing)(void *context, const struct digest *release, struct wanted_object *ret_items,
		       size_t max, size_t *ret_count, struct stage_progress *ret_progress,
		       struct err *err);
	/* Verifies data against the digest and keeps it for `release`. DELTAS: data is the set's
	 * digest. DELTAS and SET without data: there is none, or it is given up. -ESTALE: an object
	 * with deltas is done with, but not all of it was of use. */
	int (*put)(void *context, const struct digest *release, enum object_kind kind,
		   const struct digest *digest, const void *data, size_t size, struct err *err);
	/* All chunks of the release, in the order of its manifest and indices, with repetitions; free
	 * *ret_chunks. -ENOENT: the manifest or an index is not here. */
	int (*chunks)(void *context, const struct digest *release, struct chunk_ref **ret_chunks,
		      size_t *ret_count, struct err *err);
	/* Reads one chunk of the release, of exactly this size, from where it lies: written, not
	 * verified again. -ENOENT: not here. */
	int (*read)(void *context, const struct digest *release, const struct digest *chunk,
		    void *buffer, size_t size, struct err *err);
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

/* The two connections of a pair of neighbours: chunks go over the second, everything else over the
 * first. */
enum peer_way { PEER_NEWS, PEER_DATA, PEER_WAYS };

struct peer_place { /* a neighbour and its number here, 1..LIMIT_NEIGHBOURS */
	uint32_t number;
	const struct msg_neighbour *of; /* borrowed for the call */
};

struct peer_links { /* what is to be */
	struct bytes identity; /* borrowed; our record, shown to neighbours */
	const struct peer_place *places;
	size_t count;
};

/*
 * Connections to neighbours. One is there only after both sides have proved who they are; until then
 * nothing is heard of it. Answers: agent_on_peer_...().
 */
struct peer_ops {
	void *context; /* first argument of every function */
	/* Makes it so, soon: whoever is not in it is a stranger; what stays is not disturbed. Without
	 * places there is no socket. */
	void (*set)(void *context, const struct peer_links *links);
	/* 0; -ENOTCONN; -EAGAIN: its queue is full. Copies. */
	int (*send)(void *context, uint32_t peer, enum peer_way way, const void *data, size_t size);
	/* The same for heap memory, without a copy: on success it is freed by whom it was given to. */
	int (*send_owned)(void *context, uint32_t peer, enum peer_way way, void *data, size_t size);
	/* It misbehaves: its connections end, and no other is made until set() has left it out. */
	void (*drop)(void *context, uint32_t peer);
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
	/* One message to the origin on the data channel -> agent_on_origin(). As get(). NULL: the origin
	 * is asked by digest only. */
	int (*tell_origin)(void *context, const void *data, size_t size);
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
	struct peer_ops peers; /* set NULL: this node exchanges nothing */
};
