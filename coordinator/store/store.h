/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the coordinator remembers, as operations on records, so that SQLite today and PostgreSQL
 * later stand behind the same calls (one conformance suite, tests/unit/store). Records are plain
 * structs; encoded bodies are opaque here. Pointers in a record handed to a callback are borrowed
 * for the call. A callback that returns non-zero ends the walk, and that value is returned.
 *
 * Every change happens between begin and commit. What commit acknowledged survives a power cut;
 * what it did not is gone as a whole after the next open. After any failed change the caller
 * must roll back. Errors: -ENOENT no such record, -EEXIST key taken, -EBUSY another process owns
 * the store, -EUCLEAN damaged, -ENOTSUP from a newer version, -ENOSPC, -EIO.
 */
#pragma once

#include "base/err.h"
#include "covey/ids.h"

struct store;

struct store_node {
	struct node_id id;
	char name[LIMIT_NAME + 1]; /* unique */
	struct public_key link_key, sign_key;
	bool pending, cordoned, revoked;
	uint64_t joined_ms, last_seen_ms;
	char agent_version[LIMIT_SHORT_TEXT + 1];
	struct label *labels; /* ordered by key */
	size_t labels_count;
	struct bytes inventory; /* encoded */
};

struct store_token {
	char id[LIMIT_SHORT_TEXT + 1];
	struct bytes secret;
	uint32_t uses_left;
	bool approval; /* nodes that join with it wait for `node approve` */
	uint64_t created_ms, expires_ms;
	struct bytes labels; /* JSON object */
};

struct store_release {
	struct digest digest; /* of the signed payload */
	char model[LIMIT_NAME + 1];
	char version[LIMIT_VERSION + 1]; /* (model, version) is unique */
	char arch[LIMIT_SHORT_TEXT + 1];
	uint64_t size, pushed_ms;
	struct bytes manifest; /* the signed envelope */
};

struct store_deployment {
	char name[LIMIT_NAME + 1];
	struct bytes spec;  /* encoded deployment_spec of the last rollout that completed; of the
			       first one while none has */
	struct digest base; /* last completed release; zero: none yet */
	uint64_t created_ms, changed_ms;
};

struct store_rollout {
	struct rollout_id id;
	char deployment[LIMIT_NAME + 1];
	uint64_t number; /* counts the coordinator's rollouts: order of creation */
	struct digest from, to;
	struct bytes spec;     /* encoded deployment_spec */
	struct bytes snapshot; /* encoded plan and what else the machine was created from */
	bool ended;
	char state[LIMIT_SHORT_TEXT + 1]; /* as `-o json` shows it; the journal is the truth */
	uint64_t created_ms, ended_ms;
};

struct store_journal { /* one event of a rollout's machine */
	struct rollout_id rollout;
	uint64_t sequence; /* 1, 2, ... for each rollout */
	uint64_t at_ms;
	struct bytes event; /* encoded */
};

struct store_delta { /* how nodes with one release come to another */
	struct digest target, base; /* releases; both must be there, and take the row with them */
	struct digest set; /* zero: none is worth it */
	uint64_t bytes;	   /* of the set and its objects */
};

struct store_report { /* a node's last committed status */
	struct node_id node;
	uint64_t boot_epoch, sequence;
	struct bytes status; /* encoded node_status */
};

struct store_desired { /* what a node was last told */
	struct node_id node;
	uint64_t epoch, generation;
	struct digest digest; /* of the body without epoch and generation */
};

struct store_event { /* the operators' event log */
	uint64_t sequence; /* given by the store on append: 1, 2, ... */
	uint64_t at_ms;
	char kind[LIMIT_SHORT_TEXT + 1];
	char deployment[LIMIT_NAME + 1];
	char rollout[ROLLOUT_ID_TEXT_MAX];
	char node[LIMIT_NAME + 1];
	char text[LIMIT_REASON_TEXT + 1];
};

struct store_audit { /* one operator action; hash covers the previous one's hash */
	uint64_t sequence; /* 1, 2, ... */
	uint64_t at_ms;
	char who[LIMIT_SHORT_TEXT + 1];
	char from[LIMIT_SHORT_TEXT + 1];
	char verb[LIMIT_SHORT_TEXT + 1];
	char what[LIMIT_REASON_TEXT + 1];
	char outcome[LIMIT_REASON_TEXT + 1];
	struct digest hash;
};

struct store_observation { /* one observation_record of a node, and the order of its commit */
	struct node_id node;
	uint64_t boot_epoch, sequence; /* with the node: unique */
	char deployment[LIMIT_NAME + 1];
	struct digest release;
	struct rollout_id rollout; /* of the order in force; zero: none */
	uint64_t received_ms;
	struct bytes record; /* encoded */
	uint64_t id; /* given by the store on append; rises */
};

struct store_mark { /* newest observation of a node that was ever committed; outlives its row */
	struct node_id node;
	uint64_t boot_epoch, sequence;
};

struct store_baseline { /* learned in production; fixed once for each deployment and release */
	char deployment[LIMIT_NAME + 1];
	struct digest release;
	struct digest id; /* of the body */
	uint64_t learned_ms;
	struct bytes body; /* encoded */
};

typedef int store_node_fn(void *arg, const struct store_node *node);
typedef int store_token_fn(void *arg, const struct store_token *token);
typedef int store_release_fn(void *arg, const struct store_release *release);
typedef int store_digest_fn(void *arg, const struct digest *digest);
typedef int store_delta_fn(void *arg, const struct store_delta *delta);
typedef int store_deployment_fn(void *arg, const struct store_deployment *deployment);
typedef int store_rollout_fn(void *arg, const struct store_rollout *rollout);
typedef int store_journal_fn(void *arg, const struct store_journal *journal);
typedef int store_report_fn(void *arg, const struct store_report *report);
typedef int store_desired_fn(void *arg, const struct store_desired *desired);
typedef int store_event_fn(void *arg, const struct store_event *event);
typedef int store_audit_fn(void *arg, const struct store_audit *audit);
struct store_judgement { /* one entry of a rollout's judge */
	struct rollout_id rollout;
	uint64_t sequence; /* 1, 2, ... for each rollout */
	struct bytes entry; /* encoded */
};

struct store_watch { /* what is watched of a deployment after its rollouts */
	char deployment[LIMIT_NAME + 1];
	uint64_t seen; /* id of the newest observation in it */
	struct bytes body; /* encoded */
};

typedef int store_judgement_fn(void *arg, const struct store_judgement *judgement);
typedef int store_watch_fn(void *arg, const struct store_watch *watch);
typedef int store_observation_fn(void *arg, const struct store_observation *observation);
typedef int store_mark_fn(void *arg, const struct store_mark *mark);
typedef int store_baseline_fn(void *arg, const struct store_baseline *baseline);

/* `put` inserts or replaces by key. `remove` of what is not there is 0. Walks are ordered by key
 * unless said otherwise. */
struct store_ops {
	void (*close)(struct store *s);
	int (*begin)(struct store *s, struct err *err);
	int (*commit)(struct store *s, struct err *err);
	void (*rollback)(struct store *s); /* harmless outside of a transaction */

	int (*meta_put)(struct store *s, const char *key, uint64_t value, struct err *err);
	int (*meta_get)(struct store *s, const char *key, uint64_t *ret_value, struct err *err);

	int (*node_put)(struct store *s, const struct store_node *node, struct err *err);
	int (*node_seen)(struct store *s, const struct node_id *id, uint64_t last_seen_ms,
			 struct err *err);
	int (*node_remove)(struct store *s, const struct node_id *id, struct err *err);
	int (*node_each)(struct store *s, store_node_fn *fn, void *arg, struct err *err);

	int (*token_put)(struct store *s, const struct store_token *token, struct err *err);
	int (*token_remove)(struct store *s, const char *id, struct err *err);
	int (*token_each)(struct store *s, store_token_fn *fn, void *arg, struct err *err);

	/* -EEXIST when model@version is another digest. Objects are added one by one. */
	int (*release_put)(struct store *s, const struct store_release *release, struct err *err);
	int (*release_object)(struct store *s, const struct digest *release,
			      const struct digest *object, struct err *err);
	int (*release_remove)(struct store *s, const struct digest *digest, struct err *err);
	int (*release_each)(struct store *s, store_release_fn *fn, void *arg, struct err *err);
	/* Calls fn with that one; -ENOENT. */
	int (*release_get)(struct store *s, const struct digest *digest, store_release_fn *fn,
			   void *arg, struct err *err);
	/* Releases that contain the object: none means that it may go. */
	int (*object_releases)(struct store *s, const struct digest *object, store_digest_fn *fn,
			       void *arg, struct err *err);

	int (*delta_put)(struct store *s, const struct store_delta *delta, struct err *err);
	int (*delta_each)(struct store *s, store_delta_fn *fn, void *arg, struct err *err);

	int (*deployment_put)(struct store *s, const struct store_deployment *deployment,
			      struct err *err);
	int (*deployment_remove)(struct store *s, const char *name, struct err *err);
	int (*deployment_each)(struct store *s, store_deployment_fn *fn, void *arg,
			       struct err *err);

	/* By number, oldest first. deployment NULL: all. */
	int (*rollout_put)(struct store *s, const struct store_rollout *rollout, struct err *err);
	int (*rollout_end)(struct store *s, const struct rollout_id *id, const char *state,
			   uint64_t ended_ms, struct err *err);
	int (*rollout_remove)(struct store *s, const struct rollout_id *id, struct err *err);
	int (*rollout_each)(struct store *s, const char *deployment, store_rollout_fn *fn,
			    void *arg, struct err *err);
	/* Calls fn with that one; -ENOENT. */
	int (*rollout_get)(struct store *s, const struct rollout_id *id, store_rollout_fn *fn,
			   void *arg, struct err *err);
	int (*journal_append)(struct store *s, const struct store_journal *journal,
			      struct err *err); /* -EEXIST: that sequence is taken */
	int (*journal_each)(struct store *s, const struct rollout_id *rollout,
			    store_journal_fn *fn, void *arg, struct err *err);

	int (*report_put)(struct store *s, const struct store_report *report, struct err *err);
	int (*report_each)(struct store *s, store_report_fn *fn, void *arg, struct err *err);
	int (*desired_put)(struct store *s, const struct store_desired *desired, struct err *err);
	int (*desired_each)(struct store *s, store_desired_fn *fn, void *arg, struct err *err);

	int (*event_append)(struct store *s, const struct store_event *event,
			    uint64_t *ret_sequence, struct err *err);
	/* Those after `since`, at most limit. */
	int (*event_each)(struct store *s, uint64_t since, uint64_t limit, store_event_fn *fn,
			  void *arg, struct err *err);
	int (*event_last)(struct store *s, uint64_t *ret_sequence, struct err *err); /* 0: none */
	int (*event_trim)(struct store *s, uint64_t keep_from, struct err *err);
	int (*audit_append)(struct store *s, const struct store_audit *audit, struct err *err);
	int (*audit_each)(struct store *s, uint64_t since, store_audit_fn *fn, void *arg,
			  struct err *err);

	/* -EEXIST: that name is taken. */
	int (*observation_append)(struct store *s, const struct store_observation *observation,
				  struct err *err);
	/* Of a deployment, those after `since` (an id), at most limit, in the order of commit. */
	int (*observation_each)(struct store *s, const char *deployment, uint64_t since,
				uint64_t limit, store_observation_fn *fn, void *arg,
				struct err *err);
	/* The id after which a deployment's last `count` begin. */
	int (*observation_tail)(struct store *s, const char *deployment, uint64_t count,
				uint64_t *ret_since, struct err *err);
	int (*observation_last)(struct store *s, uint64_t *ret_id, struct err *err); /* 0: none */
	int (*observation_trim)(struct store *s, uint64_t up_to_id, struct err *err); /* marks stay */
	int (*mark_put)(struct store *s, const struct store_mark *mark, struct err *err);
	int (*mark_each)(struct store *s, store_mark_fn *fn, void *arg, struct err *err);
	/* -EEXIST: that release of that deployment has one. */
	int (*baseline_put)(struct store *s, const struct store_baseline *baseline,
			    struct err *err);
	int (*baseline_remove)(struct store *s, const char *deployment, struct err *err);
	int (*baseline_each)(struct store *s, store_baseline_fn *fn, void *arg, struct err *err);

	/* -EEXIST: that sequence is taken. They go with their rollout. */
	int (*judgement_append)(struct store *s, const struct store_judgement *judgement,
				struct err *err);
	int (*judgement_each)(struct store *s, const struct rollout_id *rollout,
			      store_judgement_fn *fn, void *arg, struct err *err);
	int (*watch_put)(struct store *s, const struct store_watch *watch, struct err *err);
	int (*watch_remove)(struct store *s, const char *deployment, struct err *err);
	int (*watch_each)(struct store *s, store_watch_fn *fn, void *arg, struct err *err);
};

struct store { /* first member of every implementation */
	const struct store_ops *ops;
};

/* Called before each statement of a change; a negative answer makes the statement fail with it.
 * For the tests that crash the coordinator between any two statements. */
typedef int store_fault_fn(void *arg, const char *statement);

/* Opens or creates the database (":memory:" for a private one), checks it, brings it to this
 * version. -EBUSY: another coordinator has it open. */
int store_sqlite_open(const char *path, struct store **ret_store,
		      struct err *err) COVEY_MUST_CHECK;
void store_sqlite_on_statement(struct store *store, store_fault_fn *fn, void *arg);
/* Makes `to` an exact copy of `from`, as a backup is, and as one is restored; what `to` held is
 * gone. No coordinator may use `to` meanwhile. */
int store_sqlite_copy(struct store *from, struct store *to, struct err *err) COVEY_MUST_CHECK;

static inline void store_close(struct store *store)
{
	store->ops->close(store);
}
COVEY_DEFINE_CLEANUP(struct store *, store_close)
