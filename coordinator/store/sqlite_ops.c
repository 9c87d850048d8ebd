/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations of store.h on SQLite: each is a statement of sql/ with a record's columns, or a
 * few values, as its parameters. Tables of columns say how a struct and a row correspond, so that
 * nothing is bound or read by hand.
 */
#include "coordinator/store/sqlite.h"

#include "base/mem.h"

#include <stddef.h>

static const struct column node_columns[] = {
	COL(FIXED, store_node, id),	   COL(STR, store_node, name),
	COL(FIXED, store_node, link_key),  COL(FIXED, store_node, sign_key),
	COL(BOOL, store_node, pending),	   COL(BOOL, store_node, cordoned),
	COL(BOOL, store_node, revoked),	   COL(U64, store_node, joined_ms),
	COL(U64, store_node, last_seen_ms), COL(STR, store_node, agent_version),
	COL(BYTES, store_node, inventory),
};
static const struct column token_columns[] = {
	COL(STR, store_token, id),	   COL(BYTES, store_token, secret),
	COL(U32, store_token, uses_left),  COL(BOOL, store_token, approval),
	COL(U64, store_token, created_ms), COL(U64, store_token, expires_ms),
	COL(BYTES, store_token, labels),
};
static const struct column release_columns[] = {
	COL(FIXED, store_release, digest), COL(STR, store_release, model),
	COL(STR, store_release, version),  COL(STR, store_release, arch),
	COL(U64, store_release, size),	   COL(U64, store_release, pushed_ms),
	COL(BYTES, store_release, manifest),
};
static const struct column delta_columns[] = {
	COL(FIXED, store_delta, target), COL(FIXED, store_delta, base),
	COL(FIXED, store_delta, set),	 COL(U64, store_delta, bytes),
};
static const struct column deployment_columns[] = {
	COL(STR, store_deployment, name),	COL(BYTES, store_deployment, spec),
	COL(FIXED, store_deployment, base),	COL(U64, store_deployment, created_ms),
	COL(U64, store_deployment, changed_ms),
};
static const struct column rollout_columns[] = {
	COL(FIXED, store_rollout, id),	  COL(STR, store_rollout, deployment),
	COL(U64, store_rollout, number),  COL(FIXED, store_rollout, from),
	COL(FIXED, store_rollout, to),	  COL(BYTES, store_rollout, spec),
	COL(BYTES, store_rollout, snapshot), COL(BOOL, store_rollout, ended),
	COL(STR, store_rollout, state),	  COL(U64, store_rollout, created_ms),
	COL(U64, store_rollout, ended_ms),
};
static const struct column journal_columns[] = {
	COL(FIXED, store_journal, rollout),
	COL(U64, store_journal, sequence),
	COL(U64, store_journal, at_ms),
	COL(BYTES, store_journal, event),
};
static const struct column report_columns[] = {
	COL(FIXED, store_report, node),
	COL(U64, store_report, boot_epoch),
	COL(U64, store_report, sequence),
	COL(BYTES, store_report, status),
};
static const struct column desired_columns[] = {
	COL(FIXED, store_desired, node),
	COL(U64, store_desired, epoch),
	COL(U64, store_desired, generation),
	COL(FIXED, store_desired, digest),
};
/* The sequence comes last: it is a result, not a parameter of event_append. */
static const struct column event_columns[] = {
	COL(U64, store_event, at_ms),	 COL(STR, store_event, kind),
	COL(STR, store_event, deployment), COL(STR, store_event, rollout),
	COL(STR, store_event, node),	 COL(STR, store_event, text),
	COL(U64, store_event, sequence),
};
static const struct column audit_columns[] = {
	COL(U64, store_audit, sequence), COL(U64, store_audit, at_ms),
	COL(STR, store_audit, who),	 COL(STR, store_audit, from),
	COL(STR, store_audit, verb),	 COL(STR, store_audit, what),
	COL(STR, store_audit, outcome),	 COL(FIXED, store_audit, hash),
};
static const struct column label_columns[] = {
	COL(STR, label, key),
	COL(STR, label, value),
};

RECORD(node);
RECORD(token);
RECORD(release);
RECORD(delta);
RECORD(deployment);
RECORD(rollout);
RECORD(journal);
RECORD(report);
RECORD(desired);
RECORD(event);
RECORD(audit);
static const struct record label_record = {label_columns, ARRAY_SIZE(label_columns),
					   sizeof(struct label)};
static const struct column digest_columns[] = {{COLUMN_FIXED, 0, DIGEST_SIZE}};
static const struct record digest_record = {digest_columns, 1, sizeof(struct digest)};
static const struct column u64_columns[] = {{COLUMN_U64, 0, 0}};
static const struct record u64_record = {u64_columns, 1, sizeof(uint64_t)};

WALK(token, store_token)
WALK(release, store_release)
WALK(digest, digest)
WALK(delta, store_delta)
WALK(deployment, store_deployment)
WALK(rollout, store_rollout)
WALK(journal, store_journal)
WALK(report, store_report)
WALK(desired, store_desired)
WALK(event, store_event)
WALK(audit, store_audit)

static int run_record(struct store *s, enum sql sql, const struct record *record, const void *row,
		      struct err *err)
{
	return sqlite_run_record(s, sql, record, record->count, row, err);
}

static int run_fixed(struct store *s, enum sql sql, const void *data, size_t size, struct err *err)
{
	const struct sql_value key = VALUE_FIXED(data, size);

	return sqlite_run(s, sql, &key, 1, err);
}

static int run_text(struct store *s, enum sql sql, const char *text, struct err *err)
{
	const struct sql_value key = VALUE_STR(text);

	return sqlite_run(s, sql, &key, 1, err);
}

static int each(struct store *s, enum sql sql, const struct record *record, sqlite_row_fn *fn,
		void *walk, struct err *err)
{
	return sqlite_each(s, sql, NULL, 0, record, fn, walk, err);
}

/* The one record with this key; -ENOENT when no row came. */
static int get(struct store *s, enum sql sql, const void *key, size_t key_size,
	       const struct record *record, sqlite_row_fn *fn, void *walk, const size_t *count,
	       struct err *err)
{
	const struct sql_value value = VALUE_FIXED(key, key_size);
	int r = sqlite_each(s, sql, &value, 1, record, fn, walk, err);

	return r == 0 && *count == 0 ? -ENOENT : r;
}

static int op_begin(struct store *s, struct err *err)
{
	return sqlite_run(s, SQL_BEGIN, NULL, 0, err);
}

static int op_commit(struct store *s, struct err *err)
{
	return sqlite_run(s, SQL_COMMIT, NULL, 0, err);
}

static int op_meta_put(struct store *s, const char *key, uint64_t value, struct err *err)
{
	const struct sql_value values[] = {VALUE_STR(key), VALUE_U64(&value)};

	return sqlite_run(s, SQL_META_PUT, values, 2, err);
}

static int u64_row(void *ret_value, void *row)
{
	*(uint64_t *)ret_value = *(const uint64_t *)row;
	return 1;
}

static int op_meta_get(struct store *s, const char *key, uint64_t *ret_value, struct err *err)
{
	const struct sql_value values[] = {VALUE_STR(key)};
	int r = sqlite_each(s, SQL_META_GET, values, 1, &u64_record, u64_row, ret_value, err);

	if (r == 0)
		return -ENOENT;
	return r < 0 ? r : 0;
}

static int label_put(struct store *s, const struct node_id *id, const struct label *label,
		     struct err *err)
{
	const struct sql_value values[] = {VALUE_FIXED(id->bytes, NODE_ID_SIZE),
					   VALUE_STR(label->key), VALUE_STR(label->value)};

	return sqlite_run(s, SQL_LABEL_PUT, values, ARRAY_SIZE(values), err);
}

static int op_node_put(struct store *s, const struct store_node *node, struct err *err)
{
	int r = run_record(s, SQL_NODE_PUT, &node_record, node, err);

	if (r == 0)
		r = run_fixed(s, SQL_LABEL_CLEAR, node->id.bytes, NODE_ID_SIZE, err);
	for (size_t i = 0; r == 0 && i < node->labels_count; i++)
		r = label_put(s, &node->id, &node->labels[i], err);
	return r;
}

static int op_node_seen(struct store *s, const struct node_id *id, uint64_t last_seen_ms,
			struct err *err)
{
	const struct sql_value values[] = {VALUE_FIXED(id->bytes, NODE_ID_SIZE),
					   VALUE_U64(&last_seen_ms)};

	return sqlite_run(s, SQL_NODE_SEEN, values, 2, err);
}

static int op_node_remove(struct store *s, const struct node_id *id, struct err *err)
{
	return run_fixed(s, SQL_NODE_REMOVE, id->bytes, NODE_ID_SIZE, err);
}

struct node_walk {
	struct store *store;
	store_node_fn *fn;
	void *arg;
	struct err *err;
	struct label labels[LIMIT_LABELS];
	size_t count;
};

static int label_row(void *arg, void *row)
{
	struct node_walk *walk = arg;

	if (walk->count == LIMIT_LABELS)
		return -EUCLEAN;
	walk->labels[walk->count++] = *(const struct label *)row;
	return 0;
}

static int node_row(void *arg, void *row)
{
	struct node_walk *walk = arg;
	struct store_node *node = row;
	const struct sql_value key = VALUE_FIXED(node->id.bytes, NODE_ID_SIZE);
	int r;

	walk->count = 0;
	r = sqlite_each(walk->store, SQL_LABEL_EACH, &key, 1, &label_record, label_row, walk,
			walk->err);
	if (r != 0)
		return r;
	node->labels = walk->labels;
	node->labels_count = walk->count;
	return walk->fn(walk->arg, node);
}

static int op_node_each(struct store *s, store_node_fn *fn, void *arg, struct err *err)
{
	AUTO_FREE struct node_walk *walk = mem_alloc(sizeof(*walk));

	walk->store = s;
	walk->fn = fn;
	walk->arg = arg;
	walk->err = err;
	return each(s, SQL_NODE_EACH, &node_record, node_row, walk, err);
}

static int op_token_put(struct store *s, const struct store_token *token, struct err *err)
{
	return run_record(s, SQL_TOKEN_PUT, &token_record, token, err);
}

static int op_token_remove(struct store *s, const char *id, struct err *err)
{
	return run_text(s, SQL_TOKEN_REMOVE, id, err);
}

static int op_token_each(struct store *s, store_token_fn *fn, void *arg, struct err *err)
{
	return each(s, SQL_TOKEN_EACH, &token_record, token_row, &(struct token_walk){fn, arg, 0},
		    err);
}

static int op_release_put(struct store *s, const struct store_release *release, struct err *err)
{
	return run_record(s, SQL_RELEASE_PUT, &release_record, release, err);
}

static int op_release_object(struct store *s, const struct digest *release,
			     const struct digest *object, struct err *err)
{
	const struct sql_value values[] = {VALUE_FIXED(release->bytes, DIGEST_SIZE),
					   VALUE_FIXED(object->bytes, DIGEST_SIZE)};

	return sqlite_run(s, SQL_RELEASE_OBJECT, values, 2, err);
}

static int op_release_remove(struct store *s, const struct digest *digest, struct err *err)
{
	return run_fixed(s, SQL_RELEASE_REMOVE, digest->bytes, DIGEST_SIZE, err);
}

static int op_release_each(struct store *s, store_release_fn *fn, void *arg, struct err *err)
{
	return each(s, SQL_RELEASE_EACH, &release_record, release_row,
		    &(struct release_walk){fn, arg, 0}, err);
}

static int op_release_get(struct store *s, const struct digest *digest, store_release_fn *fn,
			  void *arg, struct err *err)
{
	struct release_walk walk = {fn, arg, 0};

	return get(s, SQL_RELEASE_GET, digest->bytes, DIGEST_SIZE, &release_record, release_row,
		   &walk, &walk.count, err);
}

static int op_object_releases(struct store *s, const struct digest *object, store_digest_fn *fn,
			      void *arg, struct err *err)
{
	const struct sql_value key = VALUE_FIXED(object->bytes, DIGEST_SIZE);

	return sqlite_each(s, SQL_OBJECT_RELEASES, &key, 1, &digest_record, digest_row,
			   &(struct digest_walk){fn, arg, 0}, err);
}

static int op_delta_put(struct store *s, const struct store_delta *delta, struct err *err)
{
	return run_record(s, SQL_DELTA_PUT, &delta_record, delta, err);
}

static int op_delta_each(struct store *s, store_delta_fn *fn, void *arg, struct err *err)
{
	return each(s, SQL_DELTA_EACH, &delta_record, delta_row,
		    &(struct delta_walk){fn, arg, 0}, err);
}

static int op_deployment_put(struct store *s, const struct store_deployment *deployment,
			     struct err *err)
{
	return run_record(s, SQL_DEPLOYMENT_PUT, &deployment_record, deployment, err);
}

static int op_deployment_remove(struct store *s, const char *name, struct err *err)
{
	return run_text(s, SQL_DEPLOYMENT_REMOVE, name, err);
}

static int op_deployment_each(struct store *s, store_deployment_fn *fn, void *arg,
			      struct err *err)
{
	return each(s, SQL_DEPLOYMENT_EACH, &deployment_record, deployment_row,
		    &(struct deployment_walk){fn, arg, 0}, err);
}

static int op_rollout_put(struct store *s, const struct store_rollout *rollout, struct err *err)
{
	return run_record(s, SQL_ROLLOUT_PUT, &rollout_record, rollout, err);
}

static int op_rollout_end(struct store *s, const struct rollout_id *id, const char *state,
			  uint64_t ended_ms, struct err *err)
{
	const struct sql_value values[] = {VALUE_FIXED(id->bytes, ROLLOUT_ID_SIZE),
					   VALUE_STR(state), VALUE_U64(&ended_ms)};

	return sqlite_run(s, SQL_ROLLOUT_END, values, ARRAY_SIZE(values), err);
}

static int op_rollout_remove(struct store *s, const struct rollout_id *id, struct err *err)
{
	return run_fixed(s, SQL_ROLLOUT_REMOVE, id->bytes, ROLLOUT_ID_SIZE, err);
}

static int op_rollout_each(struct store *s, const char *deployment, store_rollout_fn *fn,
			   void *arg, struct err *err)
{
	const struct sql_value key = VALUE_STR(deployment ? deployment : "");

	return sqlite_each(s, SQL_ROLLOUT_EACH, &key, 1, &rollout_record, rollout_row,
			   &(struct rollout_walk){fn, arg, 0}, err);
}

static int op_rollout_get(struct store *s, const struct rollout_id *id, store_rollout_fn *fn,
			  void *arg, struct err *err)
{
	struct rollout_walk walk = {fn, arg, 0};

	return get(s, SQL_ROLLOUT_GET, id->bytes, ROLLOUT_ID_SIZE, &rollout_record, rollout_row,
		   &walk, &walk.count, err);
}

static int op_journal_append(struct store *s, const struct store_journal *journal,
			     struct err *err)
{
	return run_record(s, SQL_JOURNAL_APPEND, &journal_record, journal, err);
}

static int op_journal_each(struct store *s, const struct rollout_id *rollout,
			   store_journal_fn *fn, void *arg, struct err *err)
{
	const struct sql_value key = VALUE_FIXED(rollout->bytes, ROLLOUT_ID_SIZE);

	return sqlite_each(s, SQL_JOURNAL_EACH, &key, 1, &journal_record, journal_row,
			   &(struct journal_walk){fn, arg, 0}, err);
}

static int op_report_put(struct store *s, const struct store_report *report, struct err *err)
{
	return run_record(s, SQL_REPORT_PUT, &report_record, report, err);
}

static int op_report_each(struct store *s, store_report_fn *fn, void *arg, struct err *err)
{
	return each(s, SQL_REPORT_EACH, &report_record, report_row, &(struct report_walk){fn, arg, 0},
		    err);
}

static int op_desired_put(struct store *s, const struct store_desired *desired, struct err *err)
{
	return run_record(s, SQL_DESIRED_PUT, &desired_record, desired, err);
}

static int op_desired_each(struct store *s, store_desired_fn *fn, void *arg, struct err *err)
{
	return each(s, SQL_DESIRED_EACH, &desired_record, desired_row,
		    &(struct desired_walk){fn, arg, 0}, err);
}

static int op_event_append(struct store *s, const struct store_event *event,
			   uint64_t *ret_sequence, struct err *err)
{
	int r = sqlite_run_record(s, SQL_EVENT_APPEND, &event_record, event_record.count - 1, event,
				  err);

	if (r == 0)
		*ret_sequence = sqlite_last_row(s);
	return r;
}

static int op_event_each(struct store *s, uint64_t since, uint64_t limit, store_event_fn *fn,
			 void *arg, struct err *err)
{
	const struct sql_value values[] = {VALUE_U64(&since), VALUE_U64(&limit)};

	return sqlite_each(s, SQL_EVENT_EACH, values, 2, &event_record, event_row,
			   &(struct event_walk){fn, arg, 0}, err);
}

static int op_event_last(struct store *s, uint64_t *ret_sequence, struct err *err)
{
	int r = sqlite_each(s, SQL_EVENT_LAST, NULL, 0, &u64_record, u64_row, ret_sequence, err);

	return r < 0 ? r : 0;
}

static int op_event_trim(struct store *s, uint64_t keep_from, struct err *err)
{
	const struct sql_value value = VALUE_U64(&keep_from);

	return sqlite_run(s, SQL_EVENT_TRIM, &value, 1, err);
}

static int op_audit_append(struct store *s, const struct store_audit *audit, struct err *err)
{
	return run_record(s, SQL_AUDIT_APPEND, &audit_record, audit, err);
}

static int op_audit_each(struct store *s, uint64_t since, store_audit_fn *fn, void *arg,
			 struct err *err)
{
	const struct sql_value value = VALUE_U64(&since);

	return sqlite_each(s, SQL_AUDIT_EACH, &value, 1, &audit_record, audit_row,
			   &(struct audit_walk){fn, arg, 0}, err);
}

const struct store_ops sqlite_ops = {
	.close = sqlite_close,
	.begin = op_begin,
	.commit = op_commit,
	.rollback = sqlite_rollback,
	.meta_put = op_meta_put,
	.meta_get = op_meta_get,
	.node_put = op_node_put,
	.node_seen = op_node_seen,
	.node_remove = op_node_remove,
	.node_each = op_node_each,
	.token_put = op_token_put,
	.token_remove = op_token_remove,
	.token_each = op_token_each,
	.release_put = op_release_put,
	.release_object = op_release_object,
	.release_remove = op_release_remove,
	.release_each = op_release_each,
	.release_get = op_release_get,
	.object_releases = op_object_releases,
	.delta_put = op_delta_put,
	.delta_each = op_delta_each,
	.deployment_put = op_deployment_put,
	.deployment_remove = op_deployment_remove,
	.deployment_each = op_deployment_each,
	.rollout_put = op_rollout_put,
	.rollout_end = op_rollout_end,
	.rollout_remove = op_rollout_remove,
	.rollout_each = op_rollout_each,
	.rollout_get = op_rollout_get,
	.journal_append = op_journal_append,
	.journal_each = op_journal_each,
	.report_put = op_report_put,
	.report_each = op_report_each,
	.desired_put = op_desired_put,
	.desired_each = op_desired_each,
	.event_append = op_event_append,
	.event_each = op_event_each,
	.event_last = op_event_last,
	.event_trim = op_event_trim,
	.audit_append = op_audit_append,
	.audit_each = op_audit_each,
	.observation_append = sqlite_observation_append,
	.observation_each = sqlite_observation_each,
	.observation_tail = sqlite_observation_tail,
	.observation_last = sqlite_observation_last,
	.observation_trim = sqlite_observation_trim,
	.mark_put = sqlite_mark_put,
	.mark_each = sqlite_mark_each,
	.baseline_put = sqlite_baseline_put,
	.baseline_remove = sqlite_baseline_remove,
	.baseline_each = sqlite_baseline_each,
	.judgement_append = sqlite_judgement_append,
	.judgement_each = sqlite_judgement_each,
	.watch_put = sqlite_watch_put,
	.watch_remove = sqlite_watch_remove,
	.watch_each = sqlite_watch_each,
};
