/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell's part about neighbours (exchanging.c, talking.c, serving.c): one struct, and who does
 * what. A neighbour has a number from 1 to LIMIT_NEIGHBOURS: as a source of the fetch scheduler,
 * less one as a slot of the serving side. Not for others.
 */
#pragma once

#include "agent/agent.h"
#include "agent/core/fetch.h"
#include "agent/core/serve.h"
#include "protocol/chunk_list.h"

struct fetch_job;

enum { SHELL_SHARES = 2 * LIMIT_DEPLOYMENTS_PER_NODE, SHELL_FRESH = 32 };

struct fresh { /* a chunk that came, and from whom */
	uint32_t chunk, source;
};

struct shared { /* a release that neighbours may be given; its place is its number for serve.h */
	bool used;
	struct digest release;
	struct chunk_list *list; /* NULL: not known yet */
	bool complete;		 /* all of it lies here */
	struct fresh fresh[SHELL_FRESH]; /* what neighbours did not hear of yet */
	uint32_t fresh_count;
	uint64_t told_ms; /* when they last heard of any */
};

struct peer_news { /* what a neighbour said that it has of a share */
	uint32_t chunks;
	uint8_t *bits; /* NULL: nothing was said */
};

struct peer_state { /* a neighbour; its place is its number - 1 */
	bool used, up;
	struct msg_neighbour of;
	uint64_t shares;  /* that it may be given and give, a bit each */
	uint64_t offered; /* of which it knows what we have */
	struct peer_news news[SHELL_SHARES];
	uint64_t taken; /* bytes of chunks over the connection of now */
	bool owes;	/* it does not know of all of them */
	bool takes_coded;
	uint64_t got, given; /* bytes, since it is a neighbour */
	enum peer_fault fault;
	char complaint[LIMIT_SHORT_TEXT + 1]; /* "": none */
};

struct exchange { /* lives while there are neighbours */
	struct peer_state peers[LIMIT_NEIGHBOURS];
	struct shared shares[SHELL_SHARES];
	struct serve *serve;
};

struct peering { /* what is there without neighbours, too */
	struct agent_peering options;
	struct msg_neighbours told; /* the coordinator's newest word; owned */
	bool open;		    /* by the window */
	uint64_t window_ms;	    /* look again */
	char problem[LIMIT_SHORT_TEXT + 1]; /* why nobody can connect here */
	bool report_due;
	struct exchange *exchange;
};

/* exchanging.c: who the neighbours are, as sources of what is fetched. */
void exchanging_start(struct agent *agent, const struct agent_peering *options);
void exchanging_neighbours(struct agent *agent, const struct msg_neighbours *neighbours);
/* A fetch of a whole release began; all its chunks are here; they were not what they should be. */
void exchanging_started(struct agent *agent, struct fetch_job *job);
void exchanging_complete(struct agent *agent, struct fetch_job *job);
void exchanging_spoiled(struct agent *agent, const struct digest *release);
void exchanging_blame(struct agent *agent, struct fetch_job *job, const struct fetch_blame *blame);
void exchanging_drop(struct agent *agent, uint32_t peer, enum peer_fault fault, const char *text);
void exchanging_step(struct agent *agent, uint64_t now_ms); /* after each event */
uint64_t exchanging_deadline(const struct agent *agent);
void exchanging_free(struct agent *agent);
struct peer_state *exchanging_peer(const struct agent *agent, uint32_t peer); /* NULL: none */
bool exchanging_may_give(const struct agent *agent, const struct peer_state *peer,
			 const struct digest *release, size_t *ret_share);
void exchanging_apply_news(struct fetch_job *job, uint32_t peer, const struct peer_news *news);

/* talking.c: what is said and heard. */
/* Encodes and sends; false: it was not taken. */
bool talking_send(struct agent *agent, uint32_t peer, enum message_type type, const void *body);
int talking_ask(struct agent *agent, struct fetch_job *job,
		const struct fetch_request *request) COVEY_MUST_CHECK;
void talking_cancel(struct agent *agent, struct fetch_job *job,
		    const struct fetch_request *request);
/* The chunk came from the source: those who lack it hear so soon, and who sent it. */
void talking_have(struct agent *agent, struct fetch_job *job, uint32_t source, uint32_t chunk);
void talking_flush(struct agent *agent, struct fetch_job *job); /* ... now */
void talking_heard(struct agent *agent, uint32_t peer, enum peer_way way, const void *data,
		   size_t size);
void talking_step(struct agent *agent, uint64_t now_ms);
uint64_t talking_deadline(const struct agent *agent);

/* serving.c: what neighbours are given. */
void serving_shares(struct agent *agent); /* the list of neighbours has changed */
void serving_load(struct agent *agent);	  /* what lies here may have changed */
void serving_joined(struct agent *agent, uint32_t peer);
void serving_left(struct agent *agent, uint32_t peer);
struct shared *serving_find(const struct agent *agent, const struct digest *release,
			    size_t *ret_at);
void serving_request(struct agent *agent, uint32_t peer, const struct msg_request *request);
void serving_cancel(struct agent *agent, uint32_t peer, const struct msg_request *request);
void serving_taken(struct agent *agent, uint32_t peer, uint64_t taken);
void serving_step(struct agent *agent, uint64_t now_ms);
uint64_t serving_deadline(const struct agent *agent);
