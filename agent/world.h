/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything outside the node's shell, as one table of functions: clocks, the link, the helper,
 * probes, the data channel, the chunk store. main.c fills it with the real things, the simulator
 * with fakes. No function calls back into the agent before it returned: answers come later through
 * the agent_on_...() functions of agent.h. Nothing here blocks for long.
 */
#pragma once

#include "agent/helper/api.h"
#include "agent/peer_ops.h"
#include "agent/store_ops.h"
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
