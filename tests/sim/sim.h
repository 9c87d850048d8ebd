/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet in one process, one thread, from one seed: the real coordinator's shell with SQLite in
 * memory, real agents with their journals, the real codec; only what lies outside of the two
 * world.h tables is made up here: link, data channel, helper, model servers, disk, clock.
 *
 * watch_*.c look at everything from outside and say what must never be.
 */
#pragma once

#include "agent/agent.h"
#include "agent/core/deploy_table.h"
#include "platter.h"
#include "base/rng.h"
#include "coordinator/coordinator.h"
#include "coordinator/core/rollout_table.h"
#include "protocol/digest.h"
#include "protocol/manifest.h"

enum {
	SIM_DEPLOYMENTS = 2,
	SIM_VERSIONS = 12,
	SIM_CHUNKS = 2,	    /* of a version: one that its model's versions share, one of its own */
	SIM_CHUNK_SIZE = 64,
	SIM_CHUNK_SIZE_ON_DISK = 3000,
	SIM_NODES_MAX = 1100,
	SIM_SENT = 8,	    /* desired states that are remembered for each node */
	SIM_CHECK_EVERY = 200, /* events of each node between two comparisons with the store */
};
#define SIM_EPOCH_MS UINT64_C(1800000000000) /* 2027-01-15 08:00 UTC: when each run begins */

/* How a version behaves wherever it runs. */
enum sim_behaviour {
	SIM_GOOD,
	SIM_PARTLY,	  /* answers wrongly on some nodes */
	SIM_SMOKE_FAILS,  /* answers wrongly */
	SIM_NEVER_READY,
	SIM_CRASHES,	  /* some seconds after its start */
	SIM_SOURS,	  /* unhealthy some time after its start */
	SIM_NO_PREFLIGHT, /* the node says that it cannot run here */
};

struct sim_version {
	uint32_t deployment;
	enum sim_behaviour behaviour;
	uint64_t after_ms; /* CRASHES, SOURS */
	struct release release;
	struct digest digest;	/* of the release */
	struct bytes envelope;	/* signed */
	struct bytes index, chunks[SIM_CHUNKS]; /* the objects of its one layer */
	struct digest index_digest, chunk_digests[SIM_CHUNKS];
	char name[32];		/* "m@1.0.0" */
};

struct sim_held { /* what a node's disk holds of a version */
	bool manifest, index, chunks[SIM_CHUNKS], sealed, unpacked;
	bool wrong; /* bytes were kept that are not what their digest says */
	bool rotten, doubted; /* its own chunk went bad on the disk; it is to be read again */
};

struct sim_slot {
	bool exists, running;
	uint32_t version;
	uint64_t started_ms, ready_after_ms;
	uint64_t life; /* counts starts: an exit belongs to one life */
	uint64_t busy_until_ms; /* the helper answers a slot's requests in order */
	uint32_t exit_code;
	uint64_t handle;  /* of the socket by which its server is heard; 0: not */
	uint32_t waiting; /* observations in it */
};

/* Why clients cannot reach a deployment on a node. */
enum sim_out {
	SIM_SERVES,
	SIM_NEVER_SERVED,
	SIM_OUT_BY_CHANGE,  /* Covey changes it: counts against max_unavailable */
	SIM_OUT_ON_WAY_BACK,
	SIM_OUT_REMOVED,    /* the deployment is not for this node any more */
	SIM_OUT_BY_RELEASE, /* it exited */
	SIM_OUT_BY_FAULT,   /* something that was injected */
};

struct sim_place { /* one deployment on one node, as its clients and its helper see it */
	struct sim_slot slots[COLOUR_COUNT];
	bool route_open;
	enum colour route;
	enum sim_out out;
	unsigned phase; /* as last traced */
};

struct sim_sent { /* a desired state that the coordinator sent */
	uint64_t epoch, generation, hash;
};

struct storage; /* storage.c */

/* Where a process is killed while it handles something. */
enum sim_moment {
	MOMENT_NONE,
	MOMENT_BEFORE, /* nothing of it is done */
	MOMENT_WRITES, /* before it has written anything down */
	MOMENT_COMMIT, /* while it writes */
	MOMENT_WRITTEN, /* it is written down, and nothing else is done about it */
	MOMENT_DONE,   /* all of it is done */
	MOMENT_COUNT
};

struct sim_doom { /* of a process */
	bool now;  /* dies when it has handled this */
	bool mute; /* what it says and asks for from now on goes nowhere */
	enum platter_cut cut;
};

struct sim_node {
	struct sim *sim;
	uint32_t index;
	struct node_id id;
	char name[LIMIT_NAME + 1];
	struct sign_key sign_key;
	struct public_key link_key;
	struct journal *journal;
	struct storage *storage; /* NULL: the journal is in memory, the disk is disk.c's */
	struct sim_doom doom;
	uint64_t acked_boot, acked_sequence; /* of its status: what the coordinator said it has */
	struct agent_world world;
	struct agent *agent; /* NULL while the process is dead */
	bool joined;
	bool retired;	     /* revoked or removed: its machine is gone */
	uint64_t life;	     /* counts the agent's starts; what was meant for an older one is lost */
	uint64_t boots;
	uint64_t armed_ms;
	int64_t skew_ms;     /* of its unix clock */
	bool link_up;
	uint64_t link_life;
	bool helper_up;
	uint64_t helper_life;
	/* faults, until these times */
	uint64_t cut_to_ms, cut_from_ms; /* messages to, from the coordinator are lost */
	uint64_t disk_full_ms, slow_ms;
	struct sim_held held[SIM_VERSIONS];
	struct sim_place places[SIM_DEPLOYMENTS];
	bool smoked[SIM_VERSIONS];     /* passed its smoke tests here, once */
	uint64_t said; /* observations of its servers, ever */
	uint64_t vetoed[SIM_VERSIONS]; /* attempt + 1 at which the node rolled it back; 0: no */
	/* what it was told */
	struct sim_sent sent[SIM_SENT], last_sent;
	unsigned sent_count;
	struct rollout_id told[SIM_DEPLOYMENTS]; /* newest rollout that it was told to serve ... */
	uint64_t told_attempt[SIM_DEPLOYMENTS];	 /* ... in this attempt */
};

enum { SIM_TALKERS = 6 }; /* nodes whose servers say what they do */

enum sim_event_kind {
	SIM_TO_COORDINATOR, SIM_TO_NODE, SIM_DATA_GET, SIM_OBJECT, SIM_HELPER, SIM_HELPER_UP,
	SIM_PROBE, SIM_SMOKE, SIM_SOURCE, SIM_AGENT_TICK, SIM_AGENT_START, SIM_COORDINATOR_TICK,
	SIM_COORDINATOR_START, SIM_LINK_UP, SIM_RELINK, SIM_EXIT, SIM_FAULT, SIM_OPERATOR,
	SIM_JOIN, SIM_PERSON,
};

struct sim_event {
	uint64_t at_ms, sequence;
	enum sim_event_kind kind;
	uint32_t node;
	uint64_t life; /* of the node or of the coordinator that it is meant for */
	uint64_t id;   /* probe, smoke; place, slot and life for EXIT; the helper's life */
	bool ok;
	struct bytes data; /* owned */
	struct helper_reply *reply; /* owned */
};

enum sim_fault {
	FAULT_AGENT_CRASH, FAULT_REBOOT, FAULT_COORDINATOR_CRASH, FAULT_STATEMENT_CRASH,
	FAULT_STORE_FULL, FAULT_CUT, FAULT_HELPER_RESTART, FAULT_DISK_FULL, FAULT_SLOW,
	FAULT_CLOCK, FAULT_RESTORE, FAULT_POWER, FAULT_COUNT
};

struct sim_weather { /* what a seed has of what can go wrong: drawn once */
	unsigned faults[FAULT_COUNT]; /* weights */
	uint64_t gap_ms;	      /* mean time between two faults */
	double lost, doubled, late, stale; /* shares of messages */
	double helper_fails, put_fails, corrupt, rots;
	bool operator_acts;
	uint64_t operator_gap_ms;
	bool clock_of_coordinator;
};

struct sim_options {
	uint64_t seed;
	uint32_t nodes; /* 0: drawn, 3..100 */
	const char *planted; /* a bug of planted.c, or NULL */
	bool trace;
	bool on_disk;	     /* the processes' files are real */
	const char *dir;     /* ... below this folder; made and removed by sim_seed() */
	bool kills, cuts;    /* nothing but kills at named points; nothing but power cuts */
};

enum sim_end { SIM_COMPLETED, SIM_ROLLED_BACK, SIM_ABORTED, SIM_STUCK, SIM_END_COUNT };

struct sim_watch; /* watch_fleet.c */

struct sim {
	struct sim_options options;
	struct rng rng;	      /* faults, delays, the operator */
	struct sim_weather weather;
	uint64_t now_ms;
	struct sim_event *queue; /* heap by (at, sequence) */
	size_t queue_count, queue_cap;
	uint64_t sequence;
	uint64_t events;      /* handled */
	uint64_t still;	      /* events since the clock moved */
	uint64_t hash;	      /* over all that happened: two runs of a seed agree */
	bool quiet;	      /* no more faults */
	bool has_trouble;     /* ... and there were some */
	struct sim_node *nodes;
	struct sim_node **by_id; /* sorted */
	uint32_t nodes_count, joined_count;
	struct sim_version versions[SIM_VERSIONS];
	const char *selectors[SIM_DEPLOYMENTS];
	struct sign_key release_key, online_key;
	struct bytes root;    /* signed */
	struct root_document root_document;
	struct storage *storage; /* of the coordinator; NULL: its store is in memory */
	struct sim_doom doom;
	char acked[SIM_DEPLOYMENTS][ROLLOUT_ID_TEXT_MAX]; /* newest rollout that an operator knows */
	unsigned kills_at[MOMENT_COUNT][DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT];
	unsigned power_cuts;
	struct store *store, *backup;
	bool has_backup;
	struct coordinator *coordinator;
	uint64_t coordinator_life;
	uint64_t coordinator_armed_ms;
	int64_t coordinator_skew_ms;
	uint64_t statement_left; /* crash at this statement of the store; 0: no */
	bool crash_wanted;
	uint64_t store_full_ms; /* until then */
	struct sim_object *objects; /* of the coordinator's disk */
	size_t objects_count, objects_cap;
	struct msg_control_reply reply; /* the last */
	unsigned persons[SIM_DEPLOYMENTS]; /* how often a person had to help in peace */
	struct sim_watch *watch;
	struct digest planted_next[SIM_DEPLOYMENTS]; /* newest that was told */
	char broken[512];     /* the first invariant that broke; "" : none */
};

struct sim_object {
	struct digest digest;
	struct bytes data;
};

extern const char *const sim_deployments[SIM_DEPLOYMENTS]; /* names; the models are called alike */

/* queue.c */
void sim_push(struct sim *sim, uint64_t delay_ms, const struct sim_event *event);
bool sim_pop(struct sim *sim, struct sim_event *ret_event);
void sim_event_free(struct sim_event *event);
void sim_queue_free(struct sim *sim);

/* fleet.c: setting up and taking down */
int sim_create(const struct sim_options *options, struct sim **ret_sim) COVEY_MUST_CHECK;
void sim_free(struct sim *sim);
int sim_version_of(const struct sim *sim, const struct digest *release); /* or -1 */
struct sim_node *sim_node_of(const struct sim *sim, const struct node_id *id);
/* Enrols the next machine that has not joined, and starts its agent; false: it did not work now. */
bool sim_join(struct sim *sim);
void sim_join_again(struct sim_node *node); /* a machine that the coordinator has forgotten */

/* operator.c: what people do. */
/* A request, answered at once: its exit code; the answer is in sim->reply. */
uint32_t sim_control(struct sim *sim, const char *verb, const char *body, const struct bytes *blob);
/* Applies a version with a policy drawn from the seed; the exit code. gentle: short bakes. */
uint32_t sim_apply(struct sim *sim, uint32_t version, bool supersede, bool gentle);
uint32_t sim_draw_version(struct sim *sim, uint32_t deployment);
void sim_operator_acts(struct sim *sim); /* anything, at any time */
void sim_person_helps(struct sim *sim);	 /* in peace: ends what waits for a person */

/* origin.c: the coordinator and its world */
void sim_coordinator_start(struct sim *sim);
void sim_coordinator_crash(struct sim *sim);
/* After each call into the coordinator: a crash between two statements takes effect. */
bool sim_coordinator_settle(struct sim *sim); /* true: it died */
uint64_t sim_coordinator_now(const struct sim *sim); /* unix ms of its clock */

/* node.c: a node's agent, its links and its clocks */
void sim_node_start(struct sim_node *node);
void sim_node_crash(struct sim_node *node);  /* the agent alone; containers go on */
void sim_node_settle(struct sim_node *node); /* after each call into the agent */
void sim_node_reboot(struct sim_node *node); /* all of it */
void sim_node_link_down(struct sim_node *node);
void sim_node_event(struct sim_node *node, struct sim_event *event);
void sim_node_retire(struct sim_node *node); /* the machine is switched off for good */

/* disk.c: the chunk store of a node */
struct chunk_store_ops sim_disk(struct sim_node *node);

/* storage.c: what lies on real files, on a platter that forgets what was not synced */
int storage_of_node(struct sim_node *node) COVEY_MUST_CHECK; /* makes the folder */
int storage_of_coordinator(struct sim *sim) COVEY_MUST_CHECK;
int storage_open_node(struct sim_node *node, struct err *err) COVEY_MUST_CHECK;
int storage_open_coordinator(struct sim *sim, struct err *err) COVEY_MUST_CHECK;
/* The process is gone: its files are closed, and are then what was left of them. */
void storage_close_node(struct sim_node *node, enum platter_cut cut);
void storage_close_coordinator(struct sim *sim, enum platter_cut cut);
void storage_free(struct storage *storage);
struct chunk_store_ops storage_ops(struct sim_node *node);
struct object_files *storage_objects(struct sim *sim);
void storage_seen(struct sim_node *node); /* after each call: what is written down is acknowledged */
struct platter *storage_platter(struct storage *storage);

/* acked.c: what the coordinator has acknowledged */
void acked_message(struct sim_node *node, const struct bytes *data);
void acked_apply(struct sim *sim, uint32_t deployment);
void acked_check(struct sim *sim); /* after its start */

/* points.c: kills at named points */
void point_of_node(struct sim_node *node); /* before a call into its agent */
void point_of_coordinator(struct sim *sim);
/* What it does now has no effect: it died during this call. */
bool point_passed(const struct sim_doom *doom, struct storage *storage);
void point_power_cut(struct sim *sim); /* of any machine, at any write */
unsigned points_print(const unsigned counts[MOMENT_COUNT][DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT]);

/* helper.c: containers, traffic and model servers of a node */
int sim_helper(void *context, const struct helper_request *request);
void sim_probe(void *context, const struct agent_probe *probe);
void sim_smoke(void *context, const struct agent_smoke *smoke);
void sim_helper_down(struct sim_node *node); /* comes up again by itself */
void sim_slot_exit(struct sim_node *node, uint64_t id);

/* fault.c */
void sim_weather_draw(struct sim *sim);
void sim_fault(struct sim *sim);
void sim_mend(struct sim *sim); /* everything, and nothing new breaks */

/* run.c */
void sim_step(struct sim *sim, struct sim_event *event);
/* Until `until_ms`, or every rollout has ended where asked, or an invariant broke. */
void sim_run(struct sim *sim, uint64_t until_ms, bool until_ended);
void sim_break(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_hash(struct sim *sim, const void *data, size_t size);
uint64_t sim_delay(struct sim *sim); /* of a message */
bool sim_chance(struct sim *sim, double share); /* never in peace */
static inline uint64_t sim_between(struct sim *sim, uint64_t least, uint64_t most)
{
	return least + rng_below(&sim->rng, most - least + 1);
}

/* watch_fleet.c: what must hold, seen from the coordinator */
/* talk.c */
int sim_observe_open(void *context, const char *deployment, enum colour colour, uint64_t handle);
ssize_t sim_observe_read(void *context, uint64_t handle, void *data, size_t size);
void sim_observe_close(void *context, uint64_t handle);
void sim_talk(struct sim_node *node);
void watch_observed(struct sim *sim); /* talk.c: never more than was said */
void watch_create(struct sim *sim);
void watch_free(struct sim *sim);
void watch_coordinator(struct sim *sim); /* after each call into it */
/* The coordinator died or could not write: what it had done in memory may not have happened. */
void watch_lost(struct sim *sim);
void watch_restored(struct sim *sim);	 /* an old database: what was seen since is forgotten */
void watch_desired(struct sim *sim, struct sim_node *node, const struct desired_state *desired);
void watch_store(struct sim *sim); /* memory against store: costs a full load */
bool watch_ended(struct sim *sim); /* has every rollout ended? */
const char *watch_state(struct sim *sim, uint32_t deployment); /* "" : there was none */
/* Does the fleet serve what the rollouts' ends say? False and a sentence: not (yet). */
bool watch_end(struct sim *sim, char text[512]);
/* Id of the newest rollout; false: there is none. */
bool watch_rollout(struct sim *sim, uint32_t deployment, char ret_id[ROLLOUT_ID_TEXT_MAX]);
/* More nodes out of service than the policy allows? */
void watch_budget(struct sim *sim, uint32_t deployment);

/* watch_node.c: what must hold on a node */
void watch_node(struct sim_node *node);	   /* after each call into its agent */
void watch_journal(struct sim_node *node); /* memory against journal */
void watch_place(struct sim_node *node, uint32_t deployment, enum sim_out why);
void watch_hit(struct sim_node *node);	   /* a fault: what is out now is out because of it */
void watch_start(struct sim_node *node, const struct helper_request *request, int version);
void watch_route(struct sim_node *node, const struct helper_route *route, int version);
/* It has committed this version, and another one before that it could go back to. */
bool watch_could_return(const struct sim_node *node, uint32_t deployment, int version);
bool watch_gave_up(const struct sim_node *node, uint32_t deployment); /* says FAILED, and why */
bool watch_has_committed(const struct sim_node *node, uint32_t deployment);
/* It rolled this version back and will not run it again by itself. */
bool watch_bars(const struct sim_node *node, uint32_t deployment, int version);
bool watch_idle(const struct sim_node *node, uint32_t deployment); /* nothing is under way */

/* planted.c: bugs that the watch must find */
bool planted(const struct sim *sim, const char *name);
void planted_early(struct sim *sim, struct sim_node *node, struct desired_state *desired);
/* On the way, behind the watch; true: it changed something. */
bool planted_late(struct sim *sim, struct desired_state *desired);
void planted_step(struct sim *sim); /* after each event */
void planted_node(struct sim_node *node);
int planted_run(void); /* each of them, as TAP; exit code */
/* main.c */
struct sim_result {
	bool good;
	char broken[512]; /* "" : good */
	enum sim_end end; /* of the first deployment's newest rollout */
	uint32_t nodes;
	uint64_t events, hash;
	unsigned kills_at[MOMENT_COUNT][DEPLOY_PHASE_COUNT + ROLLOUT_STATE_COUNT];
	unsigned power_cuts;
};
void sim_seed(const struct sim_options *options, struct sim_result *ret_result);
