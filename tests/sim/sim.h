/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet in one process, one thread, from one seed: the real coordinator's shell with SQLite in
 * memory, real agents with their journals, the real codec; only what lies outside of the two
 * world.h tables is made up here: link, data channel, helper, model servers, disk, clock.
 */
#pragma once

#include "agent/agent.h"
#include "base/rng.h"
#include "coordinator/coordinator.h"
#include "protocol/manifest.h"

enum { SIM_VERSIONS = 7, SIM_NODES_MAX = 1000 };

/* How a version behaves wherever it runs. */
enum sim_behaviour {
	SIM_GOOD,
	SIM_SMOKE_FAILS,  /* answers wrongly */
	SIM_NEVER_READY,
	SIM_CRASHES,	  /* some seconds after its start */
	SIM_SOURS,	  /* unhealthy some time after its start */
	SIM_NO_PREFLIGHT, /* the node says that it cannot run here */
};

struct sim_version {
	enum sim_behaviour behaviour;
	uint64_t after_ms; /* CRASHES, SOURS */
	struct release release;
	struct digest digest;	/* of the release */
	struct bytes envelope;	/* signed */
	struct bytes index, chunk; /* the objects of its one layer */
	struct digest index_digest, chunk_digest;
	char name[32];		/* "m@1.0.0" */
};

struct sim_held { /* what a node's disk holds of a version */
	bool manifest, index, chunk, sealed;
};

struct sim_slot {
	bool exists, running;
	uint32_t version;
	uint64_t started_ms;
	uint64_t life; /* counts starts: an exit belongs to one life */
	uint32_t exit_code;
};

struct sim_node {
	struct sim *sim;
	uint32_t index;
	struct node_id id;
	char name[LIMIT_NAME + 1];
	struct journal *journal;
	struct agent_world world;
	struct agent *agent; /* NULL while the process is dead */
	uint64_t life;	     /* counts the agent's starts; what was meant for an older one is lost */
	uint64_t boots;
	uint64_t armed_ms;
	bool link_up, relink;
	bool cut_to, cut_from; /* partition: messages to, from the coordinator are lost */
	struct sim_held held[SIM_VERSIONS];
	struct sim_slot slots[COLOUR_COUNT];
	bool route_open;
	enum colour route;
	bool smoked[SIM_VERSIONS]; /* passed its smoke tests here, once */
	uint64_t vetoed[SIM_VERSIONS]; /* attempt + 1 at which the node rolled it back; 0: never */
};

enum sim_event_kind {
	SIM_TO_COORDINATOR, SIM_TO_NODE, SIM_DATA_GET, SIM_OBJECT, SIM_HELPER, SIM_PROBE,
	SIM_SMOKE, SIM_SOURCE, SIM_AGENT_TICK, SIM_AGENT_START, SIM_COORDINATOR_TICK,
	SIM_COORDINATOR_START, SIM_LINK_UP, SIM_EXIT, SIM_FAULT, SIM_OPERATOR,
};

struct sim_event {
	uint64_t at_ms, sequence;
	enum sim_event_kind kind;
	uint32_t node;
	uint64_t life; /* of the node or of the coordinator that it is meant for */
	uint64_t id;   /* probe, smoke; slot and life for EXIT */
	bool ok;
	struct bytes data; /* owned */
	struct helper_reply *reply; /* owned */
};

struct sim_options {
	uint64_t seed;
	uint32_t nodes; /* 0: drawn, 3..100 */
	bool trace;
	bool faults;
};

enum sim_end { SIM_COMPLETED, SIM_ROLLED_BACK, SIM_ABORTED, SIM_STUCK, SIM_PAUSED, SIM_END_COUNT };

struct sim {
	struct sim_options options;
	struct rng rng;	      /* faults, delays, the operator */
	uint64_t now_ms;
	struct sim_event *queue; /* heap by (at, sequence) */
	size_t queue_count, queue_cap;
	uint64_t sequence;
	uint64_t events;      /* handled */
	uint64_t hash;	      /* over all that happened: two runs of a seed agree */
	bool quiet;	      /* no more faults */
	struct sim_node *nodes;
	uint32_t nodes_count;
	struct sim_version versions[SIM_VERSIONS];
	struct sign_key release_key, online_key;
	struct bytes root;    /* signed */
	struct root_document root_document;
	struct store *store;
	struct coordinator *coordinator;
	uint64_t coordinator_life;
	uint64_t coordinator_armed_ms;
	uint64_t statement_left; /* crash at this statement of the store; 0: no */
	bool crash_wanted;
	struct sim_object *objects; /* of the coordinator's disk */
	size_t objects_count, objects_cap;
	struct msg_control_reply reply; /* the last */
	char broken[512];     /* the first invariant that broke; "" : none */
	uint32_t to;	      /* version that the last apply wanted */
};

struct sim_object {
	struct digest digest;
	struct bytes data;
};

/* queue.c */
void sim_push(struct sim *sim, uint64_t delay_ms, const struct sim_event *event);
bool sim_pop(struct sim *sim, struct sim_event *ret_event);
void sim_queue_free(struct sim *sim);

/* fleet.c: setting up and taking down */
int sim_create(const struct sim_options *options, struct sim **ret_sim) COVEY_MUST_CHECK;
void sim_free(struct sim *sim);
int sim_version_of(const struct sim *sim, const struct digest *release);
/* A request of the operator, answered at once: its exit code; the answer is in sim->reply. */
uint32_t sim_control(struct sim *sim, const char *verb, const char *body, const struct bytes *blob);
/* Applies a version with a policy drawn from the seed; the exit code. */
uint32_t sim_apply(struct sim *sim, uint32_t version, bool supersede);
/* State of the newest rollout, "" when there is none; its id in ret_id (may be NULL). */
void sim_rollout(struct sim *sim, char ret_state[32], char ret_id[ROLLOUT_ID_TEXT_MAX]);

/* origin.c: the coordinator and its world */
void sim_coordinator_start(struct sim *sim);
void sim_coordinator_crash(struct sim *sim);
/* After each call into the coordinator: a crash between two statements takes effect. */
void sim_coordinator_settle(struct sim *sim);

/* node.c: a node's agent and its world */
void sim_node_start(struct sim_node *node);
void sim_node_crash(struct sim_node *node);  /* the agent alone; containers go on */
void sim_node_reboot(struct sim_node *node); /* all of it */
void sim_node_event(struct sim_node *node, struct sim_event *event);

/* run.c */
void sim_step(struct sim *sim, struct sim_event *event);
/* Until nothing is left before `until_ms`, or a rollout has ended where asked, or an invariant broke. */
void sim_run(struct sim *sim, uint64_t until_ms, bool until_ended);
bool sim_rollout_ended(struct sim *sim);
void sim_break(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_hash(struct sim *sim, const void *data, size_t size);
/* After the end: does the fleet serve what the rollout's end says? */
void sim_check_end(struct sim *sim, const char *state, uint32_t from);
uint64_t sim_delay(struct sim *sim); /* of a message */
bool sim_chance(struct sim *sim, double share);
