/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the coordinator's shell share: the state that was loaded from the store, and
 * the few calls between subjects. Private to this folder.
 *
 * Rule of order: a change is committed to the store first (shell_begin .. shell_end), then made in
 * memory, then followed by shell_settle(), which finds out what must be true outside and does it.
 */
#pragma once

#include "coordinator/coordinator.h"
#include "coordinator/core/fleet.h"
#include "coordinator/judge/lookout.h"
#include "protocol/coding/coding.h"
#include "protocol/enrol.h"
#include "protocol/message.h"
#include "protocol/spec.h"

enum { SHELL_TROUBLES = 8 };

struct shell_trouble { /* what another node has against it */
	struct node_id by;
	enum peer_fault fault;
	char text[LIMIT_SHORT_TEXT + 1];
	uint64_t at_ms; /* 0: none */
};

struct shell_node {
	struct store_node record; /* labels owned; inventory bytes owned */
	struct inventory inventory;
	struct node_status status; /* last committed one; owned */
	bool has_status;
	bool takes_coded;	  /* as its newest request for a seed said */
	uint64_t fetch_rate;	  /* bytes a second, as it last said; 0: it never fetched */
	uint64_t seen_ms;	  /* newest message; written to the store in batches */
	uint64_t seen_written_ms; /* what the store has of it */
	bool silent;		  /* as last decided by the leases */
	bool linked;		  /* has subscribed or beaten since this start */
	uint64_t known_epoch, known_generation; /* echoed by the agent */
	struct desired_state desired; /* what it must do; body owned */
	struct digest desired_digest; /* of the body, epoch and generation left out */
	bool desired_made;	      /* false: only epoch, generation, digest are known */
	struct store_mark observed;   /* newest of its observations that is committed */

	uint32_t slot;		 /* its place in coordinator.slots */
	char seen_at[64];	 /* address from which its link comes */
	bool has_peering;	 /* it has said how it takes part in exchange: */
	struct msg_peer_report peering; /* owned */
	struct shell_trouble *troubles; /* the newest SHELL_TROUBLES; NULL: none */
	uint64_t exchanging, fetching; /* releases in exchange, a bit each */
	struct digest neighbours_told; /* of its list; zero: an empty one */
	bool neighbours_due;	       /* tell it again */
};

struct shell_deployment {
	struct store_deployment record; /* its spec bytes stay empty here */
	struct deployment_spec spec;	/* as store_deployment.spec says */
};

struct shell_judging;
struct shell_watch;

struct shell_rollout { /* the newest rollout of each deployment, ended or not */
	struct store_rollout head; /* without the bytes */
	struct deployment_spec spec;
	struct rollout *machine;
	struct rollout_effects effects; /* goals: machine->nodes_capacity */
	uint64_t sequence;		/* of the newest journal entry */
	bool deadline_known;		/* ... as of deadline_change */
	uint64_t deadline_change, deadline_ms;
	struct shell_judging *judging; /* NULL: not read yet, or nothing was judged */
	bool touched; /* fed in the transaction that is open */
	bool stale;   /* that transaction failed: memory is ahead of the journal */
};

struct shell_feed { /* an event on its way into one machine */
	struct shell_rollout *rollout;
	struct rollout_event event;
};

enum shell_delta_state { SHELL_DELTA_WANTED, SHELL_DELTA_MADE, SHELL_DELTA_FAILED };

struct shell_delta { /* a pair of releases; the first that is WANTED is being made */
	struct store_delta record;
	enum shell_delta_state state;
};

struct control_call;
struct delta_work;

struct coordinator {
	struct coordinator_world world;
	struct store *store;
	struct bytes root_envelope;
	struct root_document root;
	struct coding *coding;

	struct shell_node **nodes; /* by id */
	size_t nodes_count, nodes_cap;
	struct shell_node **slots; /* a node keeps its place; NULL: free */
	size_t slots_count, slots_cap;
	struct exchange *exchange; /* exchange.h; NULL: no release is in exchange */
	uint64_t exchange_due_ms, exchange_made_ms;
	struct shell_deployment **deployments; /* by name */
	size_t deployments_count, deployments_cap;
	struct shell_rollout **rollouts; /* live ones, one for each deployment at most */
	size_t rollouts_count, rollouts_cap;
	struct store_rollout *history; /* heads of all, oldest first; without the bytes */
	size_t history_count, history_cap;
	struct store_release *releases; /* by digest; without the manifest */
	size_t releases_count, releases_cap;
	struct store_token *tokens; /* owned bytes */
	size_t tokens_count, tokens_cap;

	uint64_t observe_period_ms;
	struct shell_delta *deltas;
	size_t deltas_count, deltas_cap;
	struct delta_work *delta_work; /* NULL: none has begun */
	uint64_t delta_step_ms;	       /* not before this time */
	uint64_t origin_rate;	       /* seeds_rate() of the exchange before */

	bool frozen;
	uint64_t time_offset_ms; /* fleet time = world time + this: never behind the journal */
	uint64_t started_ms;
	uint64_t rollout_number;
	size_t machines_before; /* under way when they last were compared with each other */

	struct shell_inbox *inbox; /* statuses that are not committed yet */
	size_t inbox_count;
	struct shell_observed *observed; /* observations that are not committed yet */
	size_t observed_count;
	struct lookout_policy drift;
	struct shell_watch **watches; /* of deployments that were observed */
	size_t watches_count, watches_cap;
	bool observations_fresh; /* some were committed since the judges last looked */
	uint64_t observations_trimmed; /* up to this id, by us */
	struct shell_baseline *baselines; /* ids, of those that anybody asked for */
	size_t baselines_count, baselines_cap;
	bool fleet_changed;	 /* machines may not know what the fleet is now */
	bool unsettled;		 /* a machine was fed since they were last reconciled */
	bool dirty;		 /* desired states may differ from what they should be */
	uint64_t reconciled_ms;	 /* when machines were last compared with the fleet */
	uint64_t settled_ms;	 /* when they were last made */
	uint64_t lease_check_ms; /* when the next lease may run out */
	uint64_t seen_flush_ms;	 /* when last_seen is next written */
	uint64_t sweep_ms;	 /* when objects that nobody needs are next looked for */
	uint64_t retry_ms;	 /* the store failed: try again then; 0: it did not */

	struct store_event *pending_events;
	size_t pending_events_count, pending_events_cap;
	uint64_t events_sequence; /* newest that is in the store */
	struct store_audit audit_head, audit_next;

	uint64_t change, woken_change; /* counts what waiting requests may wait for */
	struct control_call **waiting; /* long polls and log requests */
	size_t waiting_count, waiting_cap;
	uint64_t logs_id;
	uint64_t enrol_minute;
	uint32_t enrol_count;
};

enum { SHELL_TEXT_RELEASE = LIMIT_NAME + LIMIT_VERSION + 2 };

/* ---- coordinator.c ---- */
uint64_t shell_now(const struct coordinator *c); /* fleet time, unix ms */
int shell_begin(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
/* Commits when r is 0, else rolls back; 0, or the first error. */
int shell_end(struct coordinator *c, int r, struct err *err) COVEY_MUST_CHECK;
/* A change of the store failed outside of any request: log, try again in a second. */
void shell_store_failed(struct coordinator *c, int r, const struct err *err);
/* What an operator asks is judged by the present: everything that happened before has had its
 * consequences, or the request is refused. */
int shell_catch_up(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
/* Makes true outside what the state says: machines fed until nothing moves, desired states pushed,
 * waiting requests answered, the timer armed. The last call of every entry point. */
void shell_settle(struct coordinator *c);

/* ---- agents.c ---- */
int agents_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
struct shell_node *agents_find(const struct coordinator *c, const struct node_id *id);
struct shell_node *agents_insert(struct coordinator *c, const struct store_node *record);
void agents_remove(struct coordinator *c, const struct node_id *id);
void agents_free_all(struct coordinator *c);
/* Replaces a node's record after it was committed; deep copy. */
void agents_set_record(struct shell_node *node, const struct store_node *record);
bool agents_may_change(const struct shell_node *node); /* neither pending, cordoned nor revoked */
const char *agents_state(const struct shell_node *node);
const struct deployment_report *agents_report(const struct shell_node *node,
					      const char *deployment);
/* Does what the node said with this epoch and generation answer its newest desired state? */
bool agents_is_newest(struct coordinator *c, const struct shell_node *node, uint64_t epoch,
		      uint64_t generation);
bool agents_is_current(struct coordinator *c, const struct shell_node *node); /* its status */
/* Takes the echo; raises the node's epoch when it knows a newer desired state than the store. */
void agents_check_future(struct coordinator *c, struct shell_node *node, uint64_t epoch,
			 uint64_t generation);
void agents_acknowledge(struct coordinator *c, const struct shell_node *node, bool send_status);
/* Looks at the leases when it is time; true when somebody fell silent. */
void agents_check_leases(struct coordinator *c, uint64_t now_ms);
void agents_flush_seen(struct coordinator *c, bool all);
void agents_send(struct coordinator *c, const struct node_id *node, enum message_type type,
		 const void *body);
bool agents_matches(const struct shell_node *node, const char *selector);

/* ---- reports.c ---- */
/* Lays a status (stolen) into the inbox; reports_take() commits and acknowledges what lies there. */
void reports_add(struct coordinator *c, struct shell_node *node, struct node_status *status);
void reports_take(struct coordinator *c);
/* A heartbeat says that the known status answers a newer desired state: tells the machines. */
int reports_confirm(struct coordinator *c, struct shell_node *node,
		    struct err *err) COVEY_MUST_CHECK;
void reports_free_all(struct coordinator *c);

/* ---- observations.c ---- */
int observations_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
/* Lays a message (stolen) into the inbox; observations_take() commits and acknowledges it. */
void observations_add(struct coordinator *c, const struct shell_node *node,
		      struct msg_observed *message);
void observations_take(struct coordinator *c);
void observations_free_all(struct coordinator *c);
/* A deployment's committed records after `since` (an id, store.h), oldest commit first, at most
 * limit of them. Both are borrowed for the call; non-zero ends the walk and is returned. */
typedef int observations_fn(void *arg, const struct store_observation *row,
			    const struct observation_record *record);
int observations_each(struct coordinator *c, const char *deployment, uint64_t since,
		      uint64_t limit, observations_fn *fn, void *arg,
		      struct err *err) COVEY_MUST_CHECK;

/* ---- judging.c ---- */
void judging_take(struct coordinator *c); /* new observations, and periods that are over */
uint64_t judging_deadline(const struct coordinator *c);
void judging_free(struct shell_judging *judging);

/* ---- watching.c ---- */
int watching_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void watching_free_all(struct coordinator *c);
void watching_take(struct coordinator *c); /* new observations */
void watching_drop(struct coordinator *c, const char *deployment); /* after watch_remove */

/* ---- baselines.c ---- */
int baselines_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void baselines_free_all(struct coordinator *c);
/* The release's own, from its manifest, else what was learned for it in this deployment, else 0. */
struct digest baselines_of(struct coordinator *c, const char *deployment,
			   const struct digest *release);
/* The bytes of one that baselines_of() named; caller: free(ret_body->data). */
int baselines_read(struct coordinator *c, const struct digest *id, struct bytes *ret_body,
		   struct err *err) COVEY_MUST_CHECK;
/* Inside a transaction: fixes what nodes propose where there is none yet. */
int baselines_propose(struct coordinator *c, const struct msg_observed *message,
		      struct err *err) COVEY_MUST_CHECK;
void baselines_drop(struct coordinator *c, const char *deployment); /* after baseline_remove */
void baselines_forget(struct coordinator *c); /* that transaction failed: reads them anew */
/* Sends the ordered baseline to a node whose records were counted against another one. */
void baselines_send(struct coordinator *c, const struct shell_node *node,
		    const struct msg_observed *message);

/* ---- desired.c ---- */
void desired_update(struct coordinator *c);
/* What the nodes of a deployment count against; ro: its rollout under way, or NULL. */
struct digest desired_baseline(struct coordinator *c, const char *deployment,
			       const struct shell_rollout *ro);
/* Would desired_update() leave the node's desired state as it is? */
bool desired_stays(struct coordinator *c, const struct shell_node *node);
void desired_push(struct coordinator *c, struct shell_node *node);
/* Is this release assigned to the node? */
bool desired_has_release(const struct shell_node *node, const struct digest *release);

/* ---- exchange.c: who exchanges chunks with whom ---- */
void exchange_add(struct coordinator *c, struct shell_node *node); /* gives it a slot */
void exchange_remove(struct coordinator *c, struct shell_node *node);
void exchange_linked(struct coordinator *c, struct shell_node *node, const char *from);
void exchange_report(struct coordinator *c, struct shell_node *node,
		     const struct msg_peer_report *report);
void exchange_changed(struct coordinator *c); /* lists may have to be others */
void exchange_update(struct coordinator *c, uint64_t now_ms);
void exchange_free_all(struct coordinator *c);
/* tcp://address:port that others connect to, or "". */
void exchange_endpoint(const struct shell_node *node, char dst[LIMIT_ENDPOINT + 1]);

/* ---- seeds.c: what the origin gives to those who exchange ---- */
void seeds_start(struct coordinator *c);
void seeds_stop(struct coordinator *c);
void seeds_open(struct coordinator *c, uint32_t at);
void seeds_close(struct coordinator *c, uint32_t at);
void seeds_left(struct coordinator *c, uint32_t slot);
/* The node has all of it: its neighbours need nothing of it from the origin. */
void seeds_held(struct coordinator *c, const struct shell_node *node, uint32_t at);
void seeds_message(struct coordinator *c, struct shell_node *node, const struct message *message);
void seeds_step(struct coordinator *c);
uint64_t seeds_deadline(const struct coordinator *c);
/* What the origin's own link carried when it was last busy, bytes a second; 0: it never was. */
uint64_t seeds_rate(const struct coordinator *c);

/* ---- rollouts.c ---- */
int rollouts_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void rollouts_free_all(struct coordinator *c);
bool rollouts_under_way(const struct shell_rollout *ro);
struct shell_rollout *rollouts_of(const struct coordinator *c, const char *deployment);
struct shell_rollout *rollouts_find(const struct coordinator *c, const struct rollout_id *id);
/* Loads any rollout from the store by replaying its journal; rollouts_unload() ends it. */
int rollouts_read(struct coordinator *c, const struct rollout_id *id,
		  struct shell_rollout **ret_rollout, struct err *err) COVEY_MUST_CHECK;
void rollouts_unload(struct shell_rollout *ro);
COVEY_DEFINE_CLEANUP(struct shell_rollout *, rollouts_unload)
/* Those that are under way, for the core's functions; free() the list. */
const struct rollout **rollouts_machines(const struct coordinator *c, struct shell_rollout ***ret,
					 size_t *ret_count);
/* Inside a transaction: writes the event. Afterwards rollouts_apply() must follow. */
int rollouts_journal(struct coordinator *c, const struct shell_feed *feed,
		     struct err *err) COVEY_MUST_CHECK;
void rollouts_apply(struct coordinator *c, const struct shell_feed *feed);
/* Journal and apply in a transaction of its own, if it is admitted. 1: applied; 0: not admitted. */
int rollouts_feed(struct coordinator *c, struct shell_rollout *ro,
		  const struct rollout_event *event, struct err *err) COVEY_MUST_CHECK;
/* The events that a node's known status makes, at most one for each live rollout. */
size_t rollouts_of_status(struct coordinator *c, const struct shell_node *node,
			  const struct node_status *status, bool current, struct shell_feed *feeds,
			  size_t max);

/* ---- reconcile.c ---- */
/* Feeds every event that follows from the state of the fleet and the time, until none is left. */
int rollouts_reconcile(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
uint64_t rollouts_deadline(const struct coordinator *c);

/* ---- plans.c: what apply, undo and retry start ---- */
struct rollout_wish { /* borrowed */
	const struct deployment_spec *spec; /* checked, release resolved */
	bool supersede, allow_removal;
	uint64_t attempt_at_least;
};
int plans_make(struct coordinator *c, const struct deployment_spec *spec, struct plan *ret_plan,
	       struct err *err) COVEY_MUST_CHECK;
/* Starts a rollout; *ret_id zero when nothing has to change. call: for the audit log. */
int plans_apply(struct control_call *call, const struct rollout_wish *wish,
		struct rollout_id *ret_id) COVEY_MUST_CHECK;

/* ---- artifacts.c ---- */
int artifacts_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void artifacts_free_all(struct coordinator *c);
const struct store_release *artifacts_find(const struct coordinator *c,
					   const struct digest *digest);
const struct store_release *artifacts_named(const struct coordinator *c, const char *model,
					    const char *version);
/* "model@version", or the digest's text where the release is gone. */
void artifacts_name(const struct coordinator *c, const struct digest *digest,
		    char dst[SHELL_TEXT_RELEASE]);
/* Why a release may not go: sets the sentence, -EBUSY; 0 when nothing refers to it. */
int artifacts_in_use(const struct coordinator *c, const struct digest *digest,
		     struct err *err) COVEY_MUST_CHECK;
int artifacts_put(struct control_call *call, struct digest *ret_digest, bool *ret_created,
		  struct err *err) COVEY_MUST_CHECK;
int artifacts_remove(struct control_call *call, const struct digest *digest,
		     struct err *err) COVEY_MUST_CHECK;
int artifacts_manifest(struct coordinator *c, const struct digest *digest, struct bytes *ret_data,
		       struct err *err) COVEY_MUST_CHECK;
/* The decoded release and its envelope; free with release_free and codec_free. */
int artifacts_open(struct coordinator *c, const struct digest *digest, struct release *ret_release,
		   struct envelope *ret_envelope, struct err *err) COVEY_MUST_CHECK;
/* The chunks of one blob; free with codec_free(&codec_chunk_index). */
int artifacts_index(struct coordinator *c, const struct digest *digest,
		    struct chunk_index *ret_index, struct err *err) COVEY_MUST_CHECK;
/* Removes objects that no release refers to and that nobody brought in the last 24 h. */
void artifacts_sweep(struct coordinator *c);

/* ---- deltas.c ---- */
int deltas_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void deltas_free_all(struct coordinator *c);
void deltas_forget(struct coordinator *c, const struct digest *release); /* it was removed */
/* The pair, which is made soon if it was not known; NULL: there cannot be one. */
const struct shell_delta *deltas_want(struct coordinator *c, const struct digest *target,
				      const struct digest *base);
/* ... for every base that a deployment serves. */
void deltas_want_for(struct coordinator *c, const struct store_release *release);
/* A node's question about get->digest, which it may have. */
void deltas_answer(struct coordinator *c, const struct shell_node *node, const struct msg_get *get,
		   struct msg_object *object);
/* The set that the node would be told of now; NULL: none. */
const struct store_delta *deltas_for(const struct coordinator *c, const struct shell_node *node,
				     const struct digest *target);
/* The objects of a set, as chunks; false: it is none, or cannot be read. */
bool deltas_objects(struct coordinator *c, const struct digest *set,
		    struct chunk_ref **ret_chunks, size_t *ret_count);
bool deltas_may_have(const struct coordinator *c, const struct shell_node *node,
		     const struct digest *set);
void deltas_step(struct coordinator *c);
uint64_t deltas_deadline(const struct coordinator *c);

/* ---- enrol.c ---- */
int enrol_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;
void enrol_free_all(struct coordinator *c);

/* A signed record of what the coordinator vouches for about the node. */
int enrol_identity(struct coordinator *c, const struct shell_node *node, uint64_t life_ms,
		   struct bytes *ret_document, struct err *err) COVEY_MUST_CHECK;

/* ---- events.c ---- */
void events_add(struct coordinator *c, const char *kind, const char *deployment,
		const struct rollout_id *rollout, const char *node, const char *format, ...)
	__attribute__((format(printf, 6, 7)));
void events_flush(struct coordinator *c);
int events_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK;

/* ---- audit.c ---- */
int audit_load(struct coordinator *c, struct err *err) COVEY_MUST_CHECK; /* checks the chain */
/* Inside a transaction. After its commit audit_committed(), else the entry is forgotten. */
int audit_append(struct coordinator *c, const char *who, const char *from, const char *verb,
		 const char *what, const char *outcome, struct err *err) COVEY_MUST_CHECK;
void audit_committed(struct coordinator *c);

/* ---- control.c ---- */
void control_wake(struct coordinator *c); /* asks every waiting request again */
uint64_t control_deadline(const struct coordinator *c);
void control_free_all(struct coordinator *c);
void control_logs(struct coordinator *c, const struct node_id *node, const struct msg_logs *logs);
