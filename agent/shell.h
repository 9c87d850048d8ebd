/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The insides of the shell (agent.c, recording.c, perform.c, helping.c, fetching.c, seeds.c,
 * keeping.c, reporting.c; exchange.h has the rest): one struct, and who does what. Not for others.
 */
#pragma once

#include "agent/agent.h"
#include "agent/core/fetch.h"
#include "agent/core/node.h"
#include "agent/exchange.h"
#include "agent/observe/metrics.h"
#include "agent/outbox.h"
#include "base/bucket.h"
#include "protocol/chunk_list.h"

enum {
	SHELL_ROUNDS = 200,	    /* the fuse: more rounds of decisions for one event are a bug */
	SHELL_PROBE_STARTING_MS = 250, /* between probes until the first answer */
	SHELL_CONNECTIONS_MS = 1000,
	SHELL_RETRY_MIN_MS = 1000,  /* STOP, LIST and the journal after a failure */
	SHELL_RETRY_MAX_MS = 30000,
	SHELL_SMOKE_MS = 10000,	    /* for each smoke test */
	SHELL_PROBE_SLACK_MS = 5000, /* an answer that comes later than this never comes */
	SHELL_STRAYS_MS = 60000,    /* slots that nobody knows are looked at again */
	SHELL_HELPER_WAIT_MS = 15000, /* a helper that is away longer than this is reported around */
};

struct release_facts { /* of a manifest on disk, what the shell needs all the time */
	struct digest digest;
	struct deploy_health health;
	enum health_kind kind;
	char *http_path; /* may be NULL */
	uint32_t port;	 /* clients' */
	size_t smokes;
	struct digest baseline; /* its own; zero: none */
	struct release_observe observe;
};

struct watch { /* the observations of what runs in a slot */
	uint64_t handle; /* of its socket; 0: not open */
	uint64_t open_at_ms; /* try again */
	struct digest release;
	uint64_t started_ms; /* the server, or when we met it */
	bool adopted;	     /* it ran before this agent did */
	struct tally *tally;
	struct digest wanted; /* baseline that was last looked for */
	struct digest baseline; /* that it counts against */
	uint64_t end_ms; /* of the period, once something was counted */
	double tokens;
	uint64_t tokens_ms;
	uint64_t scrape_id, scrape_at_ms;
	struct metrics *metrics; /* the last look; NULL: none */
	struct learn *learn;	/* NULL: there is a baseline, or it is not the time */
	struct bytes proposal; /* what was learned; sent along until one is ordered */
};

struct slot_work { /* what is under way for one slot; nothing of it survives a restart */
	uint64_t request_id; /* START, STOP or UNPACK at the helper; 0: none */
	enum helper_op op;
	struct digest release; /* that it speaks of */
	bool kill;
	uint32_t stop_failures;
	uint64_t stop_at_ms; /* not tried again before */
	char address[64];    /* of what runs in it */
	uint32_t probe_port;
	uint64_t probe_id;   /* under way; 0: none */
	uint64_t probe_at_ms; /* the next one */
	uint64_t probe_late_ms; /* no answer is expected any more */
	bool blind;	     /* the last probe could not be asked, and that was said */
	uint64_t smoke_id;
	struct digest probed; /* that probe and smoke test speak of */
	uint64_t connections_id, connections_at_ms;
	uint64_t close_id;
	struct watch *watch; /* NULL: nothing runs */
};

struct work { /* beside each deployment of the core */
	char deployment[LIMIT_NAME + 1];
	struct slot_work slots[COLOUR_COUNT];
	uint64_t preflight_id, unpack_id;
	struct digest preflight, unpack;
	struct digest mended; /* found damaged on the disk once, and fetched again */
	bool windows_told, download_open, switch_open;
	struct window_spec windows_of; /* that they were told of */
	uint64_t windows_at_ms;	       /* look again */
	enum outcome_kind last_kind; /* newest outcome that is in the history */
	uint64_t last_at_unix_ms;
	struct digest last_release;
};

struct pending { /* a request to the helper that has no answer yet */
	uint64_t id;
	enum helper_op op;
	char deployment[LIMIT_NAME + 1];
	enum colour colour;
	struct digest release;
	bool then_start;  /* UNPACK for a slot that wants to start */
	uint64_t logs_id; /* LOGS: of the coordinator's question */
};

struct traffic { /* the map, as it was last asked for */
	uint64_t request_id;
	struct helper_route routes[LIMIT_DEPLOYMENTS_PER_NODE];
	size_t count;
	bool repeat; /* ask again, whatever the core says: the helper was away */
};

struct chunk_data;
struct coding;

struct fetch_job { /* one release on its way to the disk */
	struct fetch_job *next;
	struct digest release;
	bool wanted;
	struct chunk_list *list; /* of what is asked for: indices, a part, or all of the release */
	struct fetch *fetch;	 /* over the list */
	bool whole;		 /* the list is the release's: its numbers are what neighbours mean */
	bool seed;		 /* the origin is asked as a seed (seeds.c) */
	bool manifest;		 /* one object is missing: the manifest, or one about deltas */
	struct wanted_object single; /* ... this one */
	uint32_t asks;		 /* for it */
	uint64_t patience_ms;	 /* how long deltas are waited for; 0: they were not asked for */
	bool is_set;		 /* `release` is a delta set, which a release waits for */
	struct digest waits_for; /* the set that comes first; zero: none */
	bool sealing;
	uint32_t busy; /* sources that take nothing now, a bit each, and when to try again */
	uint64_t busy_ms;
	uint32_t failures;
	uint64_t at_ms; /* the next step; UINT64_MAX: waits for an event */
	struct stage_progress progress;
	uint64_t bytes_before; /* were here when the fetch over all chunks began */
	uint64_t told_ms, told_bytes;
	uint64_t from_origin, from_peers, rate;
};

struct seeds { /* the connection to the origin, as seeds.c uses it */
	bool began;	/* an offer was made over it */
	uint64_t taken; /* bytes of chunks that came over it */
	bool owes;	/* the origin does not know of all of them */
};

struct reporting {
	uint64_t sequence, acked;
	struct digest told; /* of what the newest sequence says */
	bool due;	    /* something is to be sent */
	uint64_t sent_ms, resend_ms, progress_ms, heartbeat_ms;
	uint64_t heard_ms; /* the coordinator said anything */
	uint32_t sends; /* of the newest sequence without an answer */
};

struct observing {
	struct outbox *box;
	size_t watches;
	bool resumed; /* slots that ran before us are watched by now */
	uint64_t send_ms; /* not before; UINT64_MAX: nothing to send */
	uint32_t sends;	  /* without an answer */
	char *datagram;	  /* OBSERVE_DATAGRAM_MAX, while anybody is watched */
};

struct agent {
	const struct agent_world *world;
	struct coding *coding; /* of chunks on their way; NULL while there are none */
	struct journal *journal;
	struct node_core *core;
	char name[LIMIT_NAME + 1];
	uint64_t boot_epoch;
	uint64_t epoch, generation; /* of desired state, as the journal has it */
	bool rebooted;
	struct inventory inventory;
	char runtime[LIMIT_SHORT_TEXT + 1];

	bool link_up, helper_up, started;
	bool resumed;	 /* the helper's list was taken over */
	bool leaving, let_go; /* out of the fleet; the coordinator has said that it knows */
	uint64_t start_ms;
	bool again;	 /* the core heard something: write down and decide again */
	bool heard;	 /* ... since we last looked whether that is news for the coordinator */
	bool journal_broken; /* the last commit failed: everything is to be written again */
	uint32_t journal_failures;
	uint64_t journal_at_ms;

	struct work *works[2 * LIMIT_DEPLOYMENTS_PER_NODE]; /* as the core: half are tombstones */
	size_t works_count;
	struct pending *pending;
	size_t pending_count, pending_cap;
	uint64_t last_id;
	uint64_t list_at_ms; /* ask for the list (again); UINT64_MAX: no */
	struct traffic traffic;
	struct release_facts *facts;
	size_t facts_count, facts_cap;
	struct fetch_job *jobs;
	struct seeds seeds;
	struct bucket fetch_bucket; /* what may be asked for */
	struct peering peering;
	struct digest kept; /* of the list of releases that were kept when we last pruned */
	uint64_t prune_at_ms;
	struct reporting reporting;
	struct observing observing;
	uint64_t armed_ms;
};

/* agent.c */
uint64_t agent_now(const struct agent *agent);
void shell_log(const struct agent *agent, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void shell_event(const struct agent *agent, const struct log_event *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
struct work *shell_work(struct agent *agent, const char *deployment); /* makes it; never NULL */
/* Tells the core about one deployment; sets `again`. Fills in the clocks. */
void shell_tell(struct agent *agent, const char *deployment, struct deploy_event event);
void shell_tell_all(struct agent *agent, struct deploy_event event);
/* Facts of a release that lies on disk, or NULL. */
const struct release_facts *shell_facts(struct agent *agent, const struct digest *release);
/* After something about chunks: what follows from it, without asking the core where nothing did. */
void shell_exchange_turn(struct agent *agent);
static inline uint64_t shell_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* recording.c: what changed goes into the journal. False: it could not be written, so nothing may be
 * done about it yet. */
bool recording_write(struct agent *agent);
void recording_note(struct work *work, const struct deploy_outcome *last); /* is in the history */

/* perform.c: decides and performs for all deployments until `again` or done. */
void perform_all(struct agent *agent);
uint64_t perform_deadline(const struct agent *agent);
/* Of all that, only the health probes of what runs: while the journal cannot be written. */
void perform_probes(struct agent *agent);
uint64_t perform_probes_deadline(const struct agent *agent);
/* Is the window open now? Closed, when nobody can read it. */
bool perform_window(const char *window, const char *timezone, uint64_t unix_ms);
/* A probe by EXEC or by the world ended. */
void perform_probed(struct agent *agent, uint64_t id, enum probe_answer answer, const char *text);

/* helping.c: requests to the helper and what comes back. */
/* 0: the request is under way, ret_id says as which. */
int helping_send(struct agent *agent, struct helper_request *request, const struct pending *about,
		 uint64_t *ret_id) COVEY_MUST_CHECK;
void helping_up(struct agent *agent);
void helping_down(struct agent *agent);
void helping_reply(struct agent *agent, const struct helper_reply *reply);
void helping_tick(struct agent *agent, uint64_t now_ms);
bool helping_under_way(const struct agent *agent, uint64_t id);

/* coded.c: gives memory back with coded_idle(). */
struct coding *coded_coder(struct agent *agent);
/* A chunk that came takes its own form; free() what it returns after use. */
uint8_t *coded_restore(struct agent *agent, struct chunk_data *data);
void coded_idle(struct agent *agent);

/* sets.c */
/* The job goes on when the set is done, or given up. */
void sets_wait(struct agent *agent, struct fetch_job *job, const struct digest *set);
void sets_keep(struct agent *agent, const struct fetch_job *job); /* that it waits for */
void sets_end(struct agent *agent, struct fetch_job *set);
void sets_give_up(struct agent *agent, struct fetch_job *set, const char *text);
/* Nobody answers the question for deltas: it is not asked again. */
bool sets_unanswered(struct agent *agent, struct fetch_job *job);
/* There are none, or not yet. */
void sets_missing(struct agent *agent, struct fetch_job *job, const struct msg_object *object);

/* fetching.c: brings wanted releases to the disk. */
void fetching_want(struct agent *agent, const struct digest *release);
void fetching_begin(struct agent *agent); /* before the wishes are collected */
void fetching_end(struct agent *agent);	  /* drops what nobody wished for */
void fetching_step(struct agent *agent, uint64_t now_ms);
void fetching_source(struct agent *agent, bool up);
void fetching_object(struct agent *agent, const struct msg_object *object);
/* A chunk of the job's list came from a source, not verified yet. False: these are other bytes. */
bool fetching_take(struct agent *agent, struct fetch_job *job, uint32_t source, uint32_t chunk,
		   const void *data, size_t size) COVEY_MUST_CHECK;
/* A source takes no requests until then: those that it has are given back. */
void fetching_rest(struct fetch_job *job, uint32_t source, uint64_t until_ms);
struct fetch_job *fetching_find(const struct agent *agent, const struct digest *release);
uint64_t fetching_deadline(const struct agent *agent);
void fetching_free(struct agent *agent);

/* seeds.c: the coordinator as a seed, for jobs whose list is the whole release. */
void seeds_use(struct agent *agent, struct fetch_job *job, bool on);
int seeds_offer(struct agent *agent, struct fetch_job *job) COVEY_MUST_CHECK;
int seeds_ask(struct agent *agent, struct fetch_job *job,
	      const struct fetch_request *request) COVEY_MUST_CHECK;
void seeds_cancel(struct agent *agent, struct fetch_job *job, const struct fetch_request *request);
void seeds_confirm(struct agent *agent);
void seeds_lost(struct agent *agent); /* the connection */

/* keeping.c. The disk rule: what the core keeps stays, the rest may go. */
void fetching_prune(struct agent *agent, bool must);

/* reporting.c: what the coordinator hears. */
void reporting_link_up(struct agent *agent);
void reporting_tick(struct agent *agent, uint64_t now_ms); /* heartbeats */
void reporting_update(struct agent *agent, uint64_t now_ms); /* after every turn */
void reporting_heard(struct agent *agent); /* any message came */
void reporting_ack(struct agent *agent, const struct msg_ack *ack);
void reporting_peers(struct agent *agent); /* what is to be known about exchange */
void reporting_logs(struct agent *agent, uint64_t id, const char *text, const char *error);
uint64_t reporting_deadline(const struct agent *agent);
int reporting_send(const struct agent *agent, enum message_type type, const void *body);

/* observing.c: what model servers say, counted, and sent on as records. */
int observing_open(struct agent *agent, struct err *err) COVEY_MUST_CHECK;
void observing_free(struct agent *agent);
void observing_forget(struct agent *agent, struct work *work); /* before work is freed */
void observing_update(struct agent *agent, uint64_t now_ms);   /* after every turn */
/* Reads what a slot's server sent; true: the deadline may have changed. */
bool observing_read(struct agent *agent, uint64_t handle, uint64_t *ret_pause_ms);
/* The container of a slot ended by itself; to be told before the core hears of it. */
void observing_exited(struct agent *agent, const char *deployment, enum colour colour,
		      const struct digest *release);
void observing_smoked(struct agent *agent, struct work *work, enum colour colour, bool ok);
void observing_acknowledged(struct agent *agent, const struct msg_observed_ack *ack);
void observing_baseline(struct agent *agent, const struct msg_baseline *baseline);
void observing_link(struct agent *agent, bool up);
void observing_stop(struct agent *agent);
uint64_t observing_deadline(const struct agent *agent);

/* For what is counted into a tally where nothing was counted yet: its period begins now. */
void observing_begin_if_clean(struct agent *agent, struct watch *watch);

/* observing_metrics.c */
void observing_scrape(struct agent *agent, const struct slot_work *slot, struct watch *watch,
		      uint64_t now_ms);
bool observing_scraped(struct agent *agent, uint64_t id, const char *data, size_t size);

/* observing_baseline.c */
/* Which one the slot is to count against; with a digest that is not zero, *ret_baseline. */
struct digest observing_choose(struct agent *agent, const struct deploy *deploy,
			       struct watch *watch, struct baseline *ret_baseline);
void observing_learn(struct agent *agent, const struct deploy *deploy, struct watch *watch,
		     enum colour colour);
void observing_propose(const struct agent *agent, struct msg_observed *message);
