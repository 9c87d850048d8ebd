/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of store.h on what nodes measured: records, how far each node's were committed, and
 * baselines that were learned.
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
RECORD(observation);
RECORD(mark);
RECORD(baseline);
WALK(observation, store_observation)
WALK(mark, store_mark)
WALK(baseline, store_baseline)

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
