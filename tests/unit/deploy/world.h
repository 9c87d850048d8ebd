/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node in virtual time for the core's tests: it performs what deploy_decide() asks for, with
 * latencies, containers that misbehave as a test says, clients with connections, a journal, crashes
 * of the agent and reboots. Everything that it does is one line of `log`, so a test is a trace that
 * people can read.
 */
#pragma once

#include "agent/core/node.h"
#include "base/rng.h"
#include "base/str.h"

enum { WORLD_DEPLOYMENTS = 3, WORLD_RELEASES = 8, WORLD_NEVER_READY = 1 << 30 };

struct behaviour { /* of a release's container; times from its start; 0: does not happen */
	uint64_t ready_ms, exit_ms, sour_ms;
	bool start_fails, smoke_fails, fetch_fails, preflight_fails, unpack_fails;
	bool silent; /* probes get no answer at all, not even a failure */
};

struct world_slot { /* what the helper has */
	struct digest release; /* zero: empty */
	bool alive;
	uint64_t started_ms;
	uint64_t connections;
	uint64_t leave_ms; /* the connections end then; 0: they last while the map leads here */
	uint64_t probe_ms; /* next probe */
	uint64_t count_ms; /* next connection count */
	uint64_t close_ms; /* what clients still hold is reset then */
	struct { /* the helper's one job at a time for this slot */
		enum deploy_slot_effect kind;
		struct digest release;
		bool kill;
		uint64_t done_ms;
	} job;
	uint64_t smoke_ms;
	struct digest smoked; /* passed its smoke tests here, since it was last stopped */
};

struct world_deployment {
	char name[LIMIT_NAME + 1];
	struct world_slot slots[COLOUR_COUNT];
	bool open;
	enum colour colour;
	uint64_t fetch_ms, preflight_ms, unpack_ms, route_ms; /* when it is done; 0: none */
	struct digest fetching;
	enum deploy_route_effect routing;
	enum colour routing_colour;
	uint64_t dark_ms; /* clients got no answer though something was committed */
	uint64_t dark_since;
	struct deploy_record saved;
	bool is_saved;
};

struct world {
	struct node_core *core;
	uint64_t now, unix_ms;
	struct rng rng;
	uint64_t latency_ms;	/* of everything; with jitter when `jitter` */
	bool jitter;
	uint64_t connections_last_ms; /* after the map has moved away */
	bool link_down;		/* fetches do not come on */
	bool route_fails;
	bool blind;		/* the node cannot ask anybody */
	uint32_t resets;	/* connections that a stop has cut */
	uint32_t closed;	/* ... and those that outlived a drain */
	uint32_t switches_max;	/* most switches seen at once */
	struct behaviour behaviour[WORLD_RELEASES];
	struct world_deployment deployments[WORLD_DEPLOYMENTS];
	struct desired_state desired;
	struct assignment assignments[WORLD_DEPLOYMENTS];
	uint64_t saved_epoch, saved_generation;
	struct str log;
	void (*check)(struct world *w); /* after every event, when it was written down */
	void (*check_effects)(struct world *w, int i, const struct deploy_effects *effects);
	bool trace; /* the log tells phases as well */
	bool lose_next_write; /* the agent dies before it wrote what the next event did */
};

extern const struct digest R0, R1, R2, R3, R4; /* R0: none */

void world_init(struct world *w, uint64_t seed);
void world_free(struct world *w);
/* The assignment of deployment i, to be changed before world_desire(). */
struct assignment *world_assignment(struct world *w, int i);
void world_desire(struct world *w); /* next generation to the core */
void world_run(struct world *w, uint64_t ms);
void world_event(struct world *w, int i, struct deploy_event event);
void world_all(struct world *w, enum deploy_event_kind kind);
void world_restart(struct world *w); /* agent dies and comes back */
void world_reboot(struct world *w);
void world_exit(struct world *w, int i, enum colour colour); /* its container ends now */
const struct deploy *world_deploy(const struct world *w, int i);
struct deployment_report world_report(const struct world *w, int i);
int world_release(const struct digest *digest); /* 1 for R1 ... */
bool world_answers(const struct world *w, int i, const struct digest *release);
/* The log since the last call. */
const char *world_log(struct world *w);
