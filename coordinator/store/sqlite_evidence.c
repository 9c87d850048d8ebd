/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of store.h on what nodes measured: records, how far each node's were committed,
 * baselines that were learned; and on what was concluded: the judge's journal, watches.
 */
#include "coordinator/store/sqlite.h"

#include "base/mem.h"

/* The id comes last: it is a result, not a parameter of observation_append. */
static const struct column observation_columns[] = {
	COL(FIXED, store_observation, node),	   COL(U64, store_observation, boot_epoch),
	COL(U64, store_observation, sequence),	   COL(STR, store_observation, deployment),
	COL(FIXED, store_observation, release),	   COL(FIXED, store_observation, rollout),
	COL(U64, store_observation, received_ms),  COL(BYTES, store_observation, record),
	COL(U64, store_observation, id),
};
static const struct column mark_columns[] = {
	COL(FIXED, store_mark, node),
	COL(U64, store_mark, boot_epoch),
	COL(U64, store_mark, sequence),
};
static const struct column baseline_columns[] = {
	COL(STR, store_baseline, deployment), COL(FIXED, store_baseline, release),
	COL(FIXED, store_baseline, id),	      COL(U64, store_baseline, learned_ms),
	COL(BYTES, store_baseline, body),
};
static const struct column judgement_columns[] = {
	COL(FIXED, store_judgement, rollout),
	COL(U64, store_judgement, sequence),
	COL(BYTES, store_judgement, entry),
};
static const struct column watch_columns[] = {
	COL(STR, store_watch, deployment),
	COL(U64, store_watch, seen),
	COL(BYTES, store_watch, body),
};
RECORD(observation);
RECORD(mark);
RECORD(baseline);
RECORD(judgement);
RECORD(watch);
WALK(observation, store_observation)
WALK(mark, store_mark)
WALK(baseline, store_baseline)
WALK(judgement, store_judgement)
WALK(watch, store_watch)

static const struct column id_columns[] = {{COLUMN_U64, 0, 0}};
static const struct record id_record = {id_columns, 1, sizeof(uint64_t)};

int sqlite_observation_append(struct store *s, const struct store_observation *observation,
			      struct err *err)
{
	return sqlite_run_record(s, SQL_OBSERVATION_APPEND, &observation_record,
				 observation_record.count - 1, observation, err);
}

int sqlite_observation_each(struct store *s, const char *deployment, uint64_t since,
			    uint64_t limit, store_observation_fn *fn, void *arg, struct err *err)
{
	const struct sql_value values[] = {VALUE_STR(deployment), VALUE_U64(&since),
					   VALUE_U64(&limit)};

	return sqlite_each(s, SQL_OBSERVATION_EACH, values, ARRAY_SIZE(values),
			   &observation_record, observation_row,
			   &(struct observation_walk){fn, arg, 0}, err);
}

static int take_id(void *ret_id, void *row)
{
	*(uint64_t *)ret_id = *(const uint64_t *)row;
	return 0;
}

int sqlite_observation_tail(struct store *s, const char *deployment, uint64_t count,
			    uint64_t *ret_since, struct err *err)
{
	const struct sql_value values[] = {VALUE_STR(deployment), VALUE_U64(&count)};

	return sqlite_each(s, SQL_OBSERVATION_TAIL, values, ARRAY_SIZE(values), &id_record, take_id,
			   ret_since, err);
}

int sqlite_observation_last(struct store *s, uint64_t *ret_id, struct err *err)
{
	return sqlite_each(s, SQL_OBSERVATION_LAST, NULL, 0, &id_record, take_id, ret_id, err);
}

int sqlite_observation_trim(struct store *s, uint64_t up_to_id, struct err *err)
{
	const struct sql_value value = VALUE_U64(&up_to_id);

	return sqlite_run(s, SQL_OBSERVATION_TRIM, &value, 1, err);
}

int sqlite_mark_put(struct store *s, const struct store_mark *mark, struct err *err)
{
	return sqlite_run_record(s, SQL_OBSERVATION_MARK_PUT, &mark_record, mark_record.count,
				 mark, err);
}

int sqlite_mark_each(struct store *s, store_mark_fn *fn, void *arg, struct err *err)
{
	return sqlite_each(s, SQL_OBSERVATION_MARK_EACH, NULL, 0, &mark_record, mark_row,
			   &(struct mark_walk){fn, arg, 0}, err);
}

int sqlite_baseline_put(struct store *s, const struct store_baseline *baseline, struct err *err)
{
	return sqlite_run_record(s, SQL_BASELINE_PUT, &baseline_record, baseline_record.count,
				 baseline, err);
}

int sqlite_baseline_remove(struct store *s, const char *deployment, struct err *err)
{
	const struct sql_value value = VALUE_STR(deployment);

	return sqlite_run(s, SQL_BASELINE_REMOVE, &value, 1, err);
}

int sqlite_baseline_each(struct store *s, store_baseline_fn *fn, void *arg, struct err *err)
{
	return sqlite_each(s, SQL_BASELINE_EACH, NULL, 0, &baseline_record, baseline_row,
			   &(struct baseline_walk){fn, arg, 0}, err);
}

int sqlite_judgement_append(struct store *s, const struct store_judgement *judgement,
			    struct err *err)
{
	return sqlite_run_record(s, SQL_JUDGEMENT_APPEND, &judgement_record,
				 judgement_record.count, judgement, err);
}

int sqlite_judgement_each(struct store *s, const struct rollout_id *rollout,
			  store_judgement_fn *fn, void *arg, struct err *err)
{
	const struct sql_value key = VALUE_FIXED(rollout, ROLLOUT_ID_SIZE);

	return sqlite_each(s, SQL_JUDGEMENT_EACH, &key, 1, &judgement_record, judgement_row,
			   &(struct judgement_walk){fn, arg, 0}, err);
}

int sqlite_watch_put(struct store *s, const struct store_watch *watch, struct err *err)
{
	return sqlite_run_record(s, SQL_WATCH_PUT, &watch_record, watch_record.count, watch, err);
}

int sqlite_watch_remove(struct store *s, const char *deployment, struct err *err)
{
	const struct sql_value value = VALUE_STR(deployment);

	return sqlite_run(s, SQL_WATCH_REMOVE, &value, 1, err);
}

int sqlite_watch_each(struct store *s, store_watch_fn *fn, void *arg, struct err *err)
{
	return sqlite_each(s, SQL_WATCH_EACH, NULL, 0, &watch_record, watch_row,
			   &(struct watch_walk){fn, arg, 0}, err);
}
